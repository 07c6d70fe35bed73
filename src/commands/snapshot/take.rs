//! Taking one snapshot: reading, comparing, asking the guards, publishing.

use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::input::{SortedInput, keep_names, leave_to_path, sort_rows};
use super::keep::taken_at;
use super::plan::SnapshotPlan;
use super::previous::{Before, DamagedSnapshot, Previous};
use super::publish::publish;
use super::refused::{self, PublishRefusal, RefusedSnapshot};
use super::report::kept;
use super::staged::{footer, stage};
use super::unchanged::unchanged_rows;
use super::unfit::{UnfitRows, Unfitness, is_tried, nothing_kept};
use super::write::{EarlierCopies, RowSinks, WrittenRows, write};
use super::{Outcome, Since, SinceReplacedCopy, SnapshotOptions, SnapshotReport};
use crate::commands::Workspace;
use crate::commands::shown_columns::shown_columns;
use crate::domain::column_case::twins;
use crate::domain::guard::{BrokenGuard, Candidate};
use crate::domain::hash_compaction::Changes;
use crate::domain::schema::{Drift, TypeClashes, unify};
use crate::engine::changes::ChangesWriter;
use crate::engine::column_guards::ColumnCounter;
use crate::engine::pins::{Watch, absent_columns};
use crate::engine::table::SnapshotTable;
use crate::engine::table::dedup::Dropped;
use crate::engine::units::{UnitSource, settle};
use crate::error::{Error, Kind, Result};
use crate::source::{ExpectedTypes, MistypedColumns, SourceRows, TypeRules};
use crate::storage::Batches;
use crate::storage::parquet::footer::{ColumnWire, Content, Footer, SnapshotFooter};
use crate::storage::parquet::writer::ObjectWriter;

/// Takes the snapshot that was planned.
pub(super) fn take(
    workspace: &Workspace<'_>,
    plan: &mut SnapshotPlan<'_>,
    options: &SnapshotOptions,
) -> Result<SnapshotReport, Box<RefusedSnapshot>> {
    if !options.dry_run {
        workspace.check_writes_below(workspace.lake()?.root())?;
    }
    let before = Before::of(&plan.as_published(workspace), plan.date)?;
    match read_input(workspace, plan, options, &before)? {
        ReadSource::Fit(input, rows) => {
            publish_rows(workspace, plan, options, before, *input, rows)
        }
        ReadSource::Unfit(rows) => {
            Err(rows.keep(workspace, plan, options, before.readable().is_some()))
        }
    }
}

/// Writes the rows of the source, compares them with the snapshot before, and publishes them unless
/// a check refuses them.
fn publish_rows(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    options: &SnapshotOptions,
    before: Before,
    input: SourceInput,
    mut rows: InputRows,
) -> Result<SnapshotReport, Box<RefusedSnapshot>> {
    let SnapshotPlan { table, date, .. } = plan;
    let (previous, unreadable) = before.into_parts();
    let SourceInput { schema, drift, .. } = &input;
    let staged = stage(plan, options)?;
    let mut writer = ObjectWriter::create(staged.writer()?, schema, &table.key, &plan.path)?;
    let previous_kept = previous.as_ref().filter(|_| !options.dry_run);
    let mut recorder = recorder(table, *date, previous_kept, &input.comparison);
    let since = previous.as_ref().map(|previous| previous.date);
    let before = previous.as_ref().and_then(Previous::footer);
    let done = write(
        workspace,
        plan,
        rows.batches,
        EarlierCopies::new(plan, previous, schema),
        &input.comparison,
        RowSinks {
            writer: &mut writer,
            counter: &mut rows.counter,
            recorder: recorder.as_mut(),
        },
    )?;

    let sum = &done.sum;
    let previous_counts = before.as_ref().map(|before| before.rows).zip(done.changes);
    let GuardVerdict { broken, unguarded } =
        ask_guards(workspace, plan, before.as_ref(), drift, &done, rows.counter)?;
    let unreadable = unreadable.or_else(|| Some(DamagedSnapshot::new(since?, done.damaged?)));
    let written = SnapshotFooter {
        not_compared: unreadable.map(|unreadable| unreadable.tell(workspace, plan)),
        forced: broken.iter().map(BrokenGuard::to_string).collect(),
        ..footer(
            workspace,
            plan,
            (input.absent.clone(), input.dropped.as_ref()),
            sum,
        )
    };
    if let Some(no) = PublishRefusal::of(plan, options, done.duplicate_keys, written.rows, broken) {
        writer.finish(&no.own_footer(written))?;
        return Err(no.kept(workspace, plan, options, &staged, since.is_some()));
    }
    let bytes = writer.finish(&Footer::new(Content::Snapshot(written.clone())))?;
    let outcome = publish(workspace, plan, options, staged, sum.fingerprint(), schema)?;
    if outcome == Outcome::Kept {
        return Ok(kept_instead(workspace, plan)?);
    }
    if let (Some(recorder), Some(before), Some(_)) = (recorder, before, done.changes) {
        recorder.publish(table, &before, done.sum_before, &written);
    }
    refused::remove_published(workspace, options, &written)?;
    Ok(SnapshotReport {
        outcome,
        bytes: Some(bytes),
        since: compared(since, previous_counts, drift),
        since_replaced: done
            .replaced
            .map(|(rows, changes)| SinceReplacedCopy { rows, changes }),
        unguarded,
        ..report(workspace, plan, input, written)
    })
}

/// What the guards say of a snapshot.
struct GuardVerdict {
    /// The guards that it breaks.
    broken: Vec<BrokenGuard>,
    /// Large changes that no guard limits, in words.
    unguarded: Vec<String>,
}

/// Asks the guards about the rows that were written. `before` is the footer of the previous
/// snapshot.
fn ask_guards(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    before: Option<&SnapshotFooter>,
    drift: &Drift,
    written: &WrittenRows,
    counter: ColumnCounter,
) -> Result<GuardVerdict> {
    let candidate = Candidate {
        rows: written.sum.rows(),
        previous: before.map(|before| before.rows).zip(written.changes),
        replaced: written.replaced,
        drift,
        unchanged: unchanged_rows(workspace, plan, before, written.sum.fingerprint())?,
        columns: &counter.finish()?,
    };
    Ok(GuardVerdict {
        broken: plan.guards.broken(&candidate),
        unguarded: plan.guards.unguarded(&candidate),
    })
}

/// The report of the snapshot that stands in the place of the one that was staged: another writer
/// was first, or the rows stood there already.
fn kept_instead(workspace: &Workspace<'_>, plan: &SnapshotPlan<'_>) -> Result<SnapshotReport> {
    Ok(SnapshotReport {
        taken_at: taken_at(&plan.path)?,
        ..kept(workspace, &plan.table.name, plan.date, &plan.path)
    })
}

/// The report of a snapshot that was staged.
fn report(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    input: SourceInput,
    written: SnapshotFooter,
) -> SnapshotReport {
    let SnapshotPlan { table, date, .. } = plan;
    SnapshotReport {
        taken_at: written.taken_at,
        rows: Some(written.rows),
        fingerprint: Some(written.fingerprint),
        schema: shown_columns(&input.schema),
        not_compared: written.not_compared,
        left_to_path: input.left_to_path,
        detected: table.types.observed.detected(),
        dedup: written.dedup,
        dropped_rows: written.dropped_rows,
        forced: written.forced,
        ..kept(workspace, &table.name, *date, &plan.path)
    }
}

/// What was read of a source.
enum ReadSource {
    /// Rows that may be a snapshot.
    Fit(Box<SourceInput>, InputRows),
    /// Rows that are refused whatever the guards say.
    Unfit(UnfitRows),
}

/// The rows of a source in order of the key, and how their columns differ from those before.
struct SourceInput {
    /// Counts the rows that the rule of duplicates drops.
    dropped: Option<Dropped>,
    schema: SchemaRef,
    /// The columns of both snapshots in types that hold the values of either.
    comparison: SchemaRef,
    drift: Drift,
    /// The columns that the table has pinned and the source lacks.
    absent: Vec<ColumnWire>,
    left_to_path: Vec<String>,
}

/// The rows of a source in order of the key, and what counts them as they go by.
struct InputRows {
    batches: Batches,
    counter: ColumnCounter,
}

/// A source whose rows have the names that the table has for its columns.
struct OpenSource {
    rows: SourceRows,
    /// The columns whose names changed their case, each with the name that it keeps.
    respelled: Vec<(String, String)>,
    left_to_path: Vec<String>,
    /// The refusals of columns of text that are of another type.
    mistyped: Vec<Error>,
}

/// Opens the source. Text is read as the types that are pinned; a column that is of another type is
/// read as it is.
fn open_source(
    workspace: &Workspace<'_>,
    plan: &mut SnapshotPlan<'_>,
    pinned: &SchemaRef,
    mistyped: &MistypedColumns,
    expected: Option<&ExpectedTypes>,
) -> Result<OpenSource> {
    let SnapshotPlan {
        table,
        date,
        source,
        ..
    } = plan;
    let rules = TypeRules {
        pinned: Some(pinned.clone()),
        is_alone: true,
        mistyped: Some(mistyped.clone()),
        expected: expected.cloned(),
        ..table.types.clone()
    };
    let within = |error: Error| error.within(format!("table {}, {date}", table.name));
    let rows = source.read(&rules).map_err(within)?;
    let mistyped = mistyped.take().into_iter().map(within).collect();
    let (rows, respelled) = keep_names(Some(pinned), rows);
    if expected.is_some() {
        // When it is read again, it has been told.
        note_twins(workspace, table, &rows);
    }
    let (rows, left_to_path) = leave_to_path(table, *date, rows)?;
    Ok(OpenSource {
        rows,
        respelled,
        left_to_path,
        mistyped,
    })
}

/// Reads the source to its end. Text is first read as the types that its columns are expected to
/// have, and again if they have others. A source that carries types is read again as it is if a
/// declared one does not hold its values: then it cannot be a snapshot, but the copy can be kept.
fn read_input(
    workspace: &Workspace<'_>,
    plan: &mut SnapshotPlan<'_>,
    options: &SnapshotOptions,
    before: &Before,
) -> Result<ReadSource> {
    let mistyped = MistypedColumns::default();
    let mut expected = Some(ExpectedTypes::default());
    let mut refusals = Vec::new();
    loop {
        let types = (&mistyped, expected.as_ref());
        let error = match read_once(workspace, plan, before, types, &mut refusals) {
            Err(error) => error,
            read => return read,
        };
        let columns = mistyped.take_columns();
        if expected.take().is_some_and(|types| types.are_missed()) {
            continue;
        }
        let is_refused = error.kind() == Kind::Refused && !is_tried(options);
        let is_again = is_refused && plan.read_as_they_are(&columns);
        refusals.push(error);
        if !is_again {
            return Err(nothing_kept(refusals.swap_remove(0), options));
        }
    }
}

/// Reads the source to its end, and settles the types of its columns. It is refused for what it was
/// refused before.
fn read_once(
    workspace: &Workspace<'_>,
    plan: &mut SnapshotPlan<'_>,
    before: &Before,
    (mistyped, expected): (&MistypedColumns, Option<&ExpectedTypes>),
    refusals: &mut Vec<Error>,
) -> Result<ReadSource> {
    let pinned = before.pins(&plan.as_published(workspace))?;
    let OpenSource {
        rows,
        respelled,
        left_to_path,
        mistyped,
    } = open_source(workspace, plan, &pinned, mistyped, expected)?;
    let time = plan.time(workspace);
    let SnapshotPlan {
        table,
        date,
        guards,
        ..
    } = plan;
    let counter = |schema: &SchemaRef| {
        ColumnCounter::new(
            &guards.columns,
            table,
            schema,
            &pinned,
            time,
            workspace.memory,
        )
    };
    // A guard that does not apply is told before the source is read. A column that is not of its
    // type is told instead.
    if mistyped.is_empty() && refusals.is_empty() {
        counter(&rows.schema)?;
    }
    let mut watch = Watch::new(&rows.schema, &pinned, table);
    let SortedInput {
        batches,
        dropped,
        null_keys,
    } = sort_rows(workspace, table, *date, rows, &mut watch)?;
    let schema = watch.schema();
    let absent = absent_columns(&pinned, &schema);
    let mistyped = refusals.drain(..).chain(mistyped).collect();
    let mut why = Unfitness::new(null_keys, mistyped);
    let compared = why.unless_refused(compared_types(table, *date, before, &pinned, &watch))?;
    let Some((comparison, drift)) = compared.filter(|_| why.is_none()) else {
        return Ok(ReadSource::Unfit(UnfitRows {
            schema,
            batches,
            absent,
            why,
        }));
    };
    let counter = counter(&schema)?;
    let input = SourceInput {
        dropped,
        absent,
        schema,
        comparison,
        drift: Drift { respelled, ..drift },
        left_to_path,
    };
    Ok(ReadSource::Fit(
        Box::new(input),
        InputRows { batches, counter },
    ))
}

/// The types in which the rows that were seen are compared with the snapshot before, and what
/// changed in the schema.
///
/// # Errors
/// A refusal of types that cannot be compared with those before.
fn compared_types(
    table: &SnapshotTable,
    date: NaiveDate,
    before: &Before,
    pinned: &SchemaRef,
    seen: &Watch,
) -> Result<(SchemaRef, Drift)> {
    let schema = seen.schema();
    let clash = |clash: TypeClashes| clash.refusal(table.name.as_str(), date);
    unify(pinned, &schema).map_err(clash)?;
    let Some(previous) = before.readable() else {
        return Ok((schema, Drift::default()));
    };
    let (wide, drift) = unify(&previous.snapshot.schema, &schema).map_err(clash)?;
    let comparison = comparison(table, previous, &wide, seen.units(date))?;
    Ok((comparison, drift))
}

/// Warns of two columns whose names differ only in case.
fn note_twins(workspace: &Workspace<'_>, table: &SnapshotTable, rows: &SourceRows) {
    if let Some((one, other)) = twins(&rows.schema) {
        let note = format!(
            "{}: columns '{one}' and '{other}' differ only in case; Spark, Hive and BigQuery \
             cannot distinguish them",
            table.name
        );
        workspace.progress.note(&note);
    }
}

/// The columns of both snapshots in types that hold the values of either.
fn comparison(
    table: &SnapshotTable,
    previous: &Previous,
    wide: &SchemaRef,
    new: UnitSource<'_>,
) -> Result<SchemaRef> {
    let before = UnitSource::of_snapshot(
        table,
        previous.date,
        &previous.objects,
        &previous.snapshot.schema,
    );
    settle(&table.name, wide, &[before, new])
}

/// The writer of what changed since the previous snapshot, if that can be proven later.
fn recorder(
    table: &SnapshotTable,
    date: NaiveDate,
    previous: Option<&Previous>,
    comparison: &Schema,
) -> Option<ChangesWriter> {
    let snapshot = &previous?.snapshot;
    let footer = snapshot.footer.as_ref()?;
    // Changes are proven by what footers say of rows as they are stored.
    let as_stored = snapshot.fingerprint().is_some();
    if footer.key != table.key || !as_stored {
        return None;
    }
    ChangesWriter::new(table, date, footer.rows, comparison)
}

/// What the report says of the previous snapshot, its rows, and what changed since.
fn compared(
    before: Option<NaiveDate>,
    counts: Option<(u64, Changes)>,
    drift: &Drift,
) -> Option<Since> {
    let (rows, changes) = counts?;
    Some(Since {
        snapshot_date: before?,
        rows,
        changes,
        schema: (!drift.is_empty()).then(|| drift.in_words()),
    })
}
