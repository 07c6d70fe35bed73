//! Taking one snapshot: reading, comparing, asking the guards, publishing.

use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::input::{keep_names, leave_to_path, sort_rows};
use super::keep::taken_at;
use super::plan::SnapshotPlan;
use super::previous::{Before, DamagedSnapshot, Previous};
use super::publish::publish;
use super::refused::{self, PublishRefusal, RefusedSnapshot};
use super::report::kept;
use super::unchanged::unchanged_rows;
use super::write::{EarlierCopies, RowSinks, WrittenRows, write};
use super::{Outcome, Since, SinceReplacedCopy, SnapshotOptions, SnapshotReport};
use crate::commands::Workspace;
use crate::commands::shown_columns::shown_columns;
use crate::domain::column_case::twins;
use crate::domain::dedup::Dedup;
use crate::domain::digest::RowSum;
use crate::domain::guard::{BrokenGuard, Candidate};
use crate::domain::hash_compaction::Changes;
use crate::domain::schema::{Drift, TypeClashes, unify};
use crate::engine::changes::ChangesWriter;
use crate::engine::column_guards::ColumnCounter;
use crate::engine::pins::{Watch, absent_columns};
use crate::engine::table::SnapshotTable;
use crate::engine::table::dedup::Dropped;
use crate::engine::units::{UnitSource, settle};
use crate::error::Result;
use crate::source::{SourceRows, TypeRules};
use crate::storage::Batches;
use crate::storage::lake::commit::Staged;
use crate::storage::lake::location::Location;
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
    let before = Before::of(&plan.table, plan.date)?;
    let (input, rows) = read_input(workspace, plan, &before)?;
    publish_rows(workspace, plan, options, before, input, rows)
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
        ask_guards(plan, before.as_ref(), drift, &done, rows.counter)?;
    let unreadable = unreadable.or_else(|| Some(DamagedSnapshot::new(since?, done.damaged?)));
    let written = SnapshotFooter {
        not_compared: unreadable.map(|unreadable| unreadable.tell(workspace, plan)),
        forced: broken.iter().map(BrokenGuard::to_string).collect(),
        ..footer(workspace, plan, options, &input, sum)
    };
    if let Some(no) = PublishRefusal::of(plan, options, done.duplicate_keys, written.rows, broken) {
        writer.finish(&no.footer(written))?;
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
        unchanged: unchanged_rows(plan, before, written.sum.fingerprint())?,
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
}

/// Opens the source. Text is read as the types that are pinned.
fn open_source(
    workspace: &Workspace<'_>,
    plan: &mut SnapshotPlan<'_>,
    pinned: &SchemaRef,
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
        ..table.types.clone()
    };
    let rows = source
        .read(&rules)
        .map_err(|error| error.within(format!("table {}, {date}", table.name)))?;
    let (rows, respelled) = keep_names(Some(pinned), rows);
    note_twins(workspace, table, &rows);
    let (rows, left_to_path) = leave_to_path(table, *date, rows)?;
    Ok(OpenSource {
        rows,
        respelled,
        left_to_path,
    })
}

/// Reads the source to its end, and settles the types of its columns.
fn read_input(
    workspace: &Workspace<'_>,
    plan: &mut SnapshotPlan<'_>,
    before: &Before,
) -> Result<(SourceInput, InputRows)> {
    let pinned = before.pins(&plan.table)?;
    let OpenSource {
        rows,
        respelled,
        left_to_path,
    } = open_source(workspace, plan, &pinned)?;
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
    // A guard that does not apply is told before the source is read.
    counter(&rows.schema)?;
    let mut watch = Watch::new(&rows.schema, &pinned, table);
    let (batches, dropped) = sort_rows(workspace, table, *date, rows, &mut watch)?;
    let schema = watch.schema();
    let clash = |clash: TypeClashes| clash.refusal(table.name.as_str(), *date);
    unify(&pinned, &schema).map_err(clash)?;
    let (comparison, drift) = match before.readable() {
        None => (schema.clone(), Drift::default()),
        Some(previous) => {
            let (wide, drift) = unify(&previous.snapshot.schema, &schema).map_err(clash)?;
            (
                comparison(table, previous, &wide, watch.units(*date))?,
                Drift { respelled, ..drift },
            )
        }
    };
    let counter = counter(&schema)?;
    let input = SourceInput {
        dropped,
        absent: absent_columns(&pinned, &schema),
        schema,
        comparison,
        drift,
        left_to_path,
    };
    Ok((input, InputRows { batches, counter }))
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

/// The object that is staged: beside the snapshot's path, or, for a dry run, in a temporary folder.
fn stage(plan: &SnapshotPlan<'_>, options: &SnapshotOptions) -> Result<Staged> {
    if options.dry_run {
        let name = format!("{}.parquet", plan.table.name);
        return Staged::create(&Location::local(std::env::temp_dir().join(name)));
    }
    Staged::create(&plan.path)
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

/// What the snapshot says of itself.
fn footer(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    options: &SnapshotOptions,
    input: &SourceInput,
    sum: &RowSum,
) -> SnapshotFooter {
    let SnapshotPlan { table, date, .. } = plan;
    SnapshotFooter {
        table: table.name.to_string(),
        snapshot_date: *date,
        key: table.key.clone(),
        rows: sum.rows(),
        fingerprint: sum.fingerprint(),
        source: Some(plan.source.name().to_owned()),
        taken_at: plan.taken_at.or_else(|| Some(workspace.clock.now())),
        backdated: options.backdate && *date < workspace.clock.today(),
        forced: Vec::new(),
        refused: Vec::new(),
        absent: Some(input.absent.clone()),
        dedup: table.dedup.as_ref().map(Dedup::to_string),
        dropped_rows: input.dropped.as_ref().map(Dropped::rows),
        not_compared: None,
        asof_version: env!("CARGO_PKG_VERSION").into(),
    }
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
