//! `asof snapshot`: one dated copy of each table.
//!
//! The source is read once, into sorted runs; everything after works on those. They are merged in
//! one pass that writes the staged object, looks for keys that stand twice, sums the fingerprint
//! and counts what changed since the previous snapshot. Then the guards are asked, and only then is
//! anything published, by one write that fails if the date has an object already. What changed is
//! written beside it ([`crate::engine::changes`]), so that others need not decode the whole
//! snapshot to know.
//!
//! Re-running a night must never relabel today's state as a past day's. So a snapshot that exists
//! is kept, and a past date that has none is refused unless `backdate` says that the source holds
//! that day's state.
//!
//! Memory: the sorter's budget, a batch of this snapshot and one of the previous.

use std::io::Read;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::Workspace;
use super::schema::shown_columns;
use super::show::ShownColumn;
use crate::domain::cast::conform;
use crate::domain::dedup::Dedup;
use crate::domain::diff::{KeyedBatch, diff};
use crate::domain::digest::{Fingerprint, RowSum};
use crate::domain::guard::{Candidate, Guards};
use crate::domain::hash_compaction::Changes;
use crate::domain::key::KeyEncoder;
use crate::domain::path_columns::PathColumns;
use crate::domain::schema::{Drift, TypeClashes, unify};
use crate::domain::spelling::{respelled, twins};
use crate::engine::changes::{self, ChangesWriter};
use crate::engine::dedup::{self, Dropped};
use crate::engine::duplicate_keys::DuplicateKeys;
use crate::engine::pins::{Watch, absent_columns, pins};
use crate::engine::table::{Snapshot, Table, all_digests, convert};
use crate::engine::units::{UnitSource, settle};
use crate::error::{Context, Error, Result};
use crate::model::TableName;
use crate::source::{self, Format, FormatRule, ReadAs, Rows, TypeRules};
use crate::storage::Batches;
use crate::storage::lake::commit::{Published, Staged, sweep_partitions};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::local_object;
use crate::storage::object_store::http::RequestCounts;
use crate::storage::parquet::footer::{Content, Footer, SnapshotFooter};
use crate::storage::parquet::object::ParquetObject;
use crate::storage::parquet::writer::ObjectWriter;
use crate::storage::sorter::{BUDGET, Sorter, sort};

/// What to do with a snapshot that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IfExists {
    /// Leave it, and succeed.
    #[default]
    Keep,
    /// Put another in its place, and keep it aside.
    Replace,
    /// Fail as a conflict.
    Error,
}

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// The date of the label; today if none.
    pub date: Option<NaiveDate>,
    /// Where the rows are, if not where the configuration says.
    pub source: Option<String>,
    /// Their format.
    pub source_format: Option<Format>,
    /// The key columns, if not those of the configuration or of the last snapshot.
    pub key: Vec<String>,
    /// Which row of a key counts, if not that of the configuration.
    pub dedup: Option<Dedup>,
    /// What to do with a snapshot that exists.
    pub if_exists: IfExists,
    /// Whether the source really holds the state of a past date.
    pub backdate: bool,
    /// Whether guards are overridden.
    pub force: bool,
    /// Whether nothing is to be published.
    pub dry_run: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// The date had a snapshot, which stands as it did.
    Kept,
    /// A new object stands.
    Published,
    /// A new object stands in the place of another.
    Replaced,
    /// It would have been published.
    Planned,
}

/// The previous snapshot, and what changed since.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Since {
    /// Its date.
    pub snapshot_date: NaiveDate,
    /// Its rows.
    pub rows: u64,
    /// What changed.
    #[serde(flatten)]
    pub changes: Changes,
    /// What changed in the schema, in words.
    pub schema: Option<String>,
}

/// What happened to one table.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// The table.
    pub table: TableName,
    /// The label.
    pub snapshot_date: NaiveDate,
    /// How it ended.
    pub outcome: Outcome,
    /// The object.
    pub path: String,
    /// Its rows; not counted if it was kept.
    pub rows: Option<u64>,
    /// Its size.
    pub bytes: Option<u64>,
    /// Its content.
    pub fingerprint: Option<Fingerprint>,
    /// Its columns and their types; none of one that was kept.
    pub schema: Vec<ShownColumn>,
    /// The snapshot before.
    pub since: Option<Since>,
    /// The columns that were left to the path, which has their value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_to_path: Vec<String>,
    /// How the files of text are written, where that was detected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detected: Vec<ReadAs>,
    /// Which row of a key was kept, such as `latest by updated_at`; absent without such a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup: Option<String>,
    /// How many rows were dropped by that rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_rows: Option<u64>,
    /// The guards that were overridden.
    pub forced: Vec<String>,
    /// What object stores were asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests: Option<RequestCounts>,
}

/// A snapshot that has been decided on and not been read yet.
struct Plan {
    table: Table,
    date: NaiveDate,
    path: Location,
    source: String,
    files: Option<Vec<Object>>,
    format: Format,
    guards: Guards,
    replaces: bool,
}

/// Takes the snapshots of the tables, one after the other; the first failure ends the run, and
/// what was published before it stands.
///
/// # Errors
/// Whatever refuses or fails; see the module.
pub fn snapshot(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &SnapshotOptions,
    stdin: &mut dyn Read,
) -> Result<Vec<SnapshotReport>> {
    let names = named(workspace, tables, options)?;
    let mut reports = Vec::new();
    for (done, name) in (0u64..).zip(&names) {
        workspace
            .progress
            .step(&format!("snapshot {name}"), done, names.len() as u64);
        let (report, store_requests) =
            workspace.counting(|| match plan(workspace, name, options)? {
                Ok(plan) => apply(workspace, &plan, options, stdin),
                Err(kept) => Ok(*kept),
            })?;
        reports.push(SnapshotReport {
            store_requests,
            ..report
        });
    }
    Ok(reports)
}

/// The tables to take: those named, or all that have a source.
fn named(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &SnapshotOptions,
) -> Result<Vec<TableName>> {
    if tables.is_empty() {
        let all: Vec<TableName> = workspace
            .config
            .tables
            .iter()
            .filter(|(_, table)| table.source.is_some())
            .map(|(name, _)| name.parse())
            .collect::<Result<_>>()?;
        return match (all.as_slice(), &options.source) {
            ([], _) => Err(
                Error::usage("no table is named, and asof.toml has none with a source")
                    .hint("asof snapshot TABLE --source FILE --key COLUMN"),
            ),
            (_, Some(_)) => Err(Error::usage("--source requires exactly one table name")
                .hint("asof snapshot TABLE --source FILE")),
            _ => Ok(all),
        };
    }
    if tables.len() > 1 && options.source.is_some() {
        return Err(Error::usage("--source requires exactly one table name"));
    }
    if options.source.is_some() {
        return tables.iter().map(|name| name.parse()).collect();
    }
    tables.iter().map(|name| workspace.known(name)).collect()
}

/// Decides what is to be done, without reading the source. `Err` is a snapshot that is kept.
fn plan(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &SnapshotOptions,
) -> Result<Result<Plan, Box<SnapshotReport>>> {
    let config = workspace.table_config(name);
    if config.snapshots.is_some() {
        return Err(Error::usage(format!(
            "table {name} is external: asof never writes its snapshots"
        )));
    }
    let lake = workspace.lake()?;
    let today = workspace.clock.today();
    let date = options.date.unwrap_or(today);
    if date > today {
        return Err(Error::usage(format!(
            "table {name}: {date} is in the future; today is {today}"
        ))
        .hint(format!("--date {today}")));
    }
    let path = lake.snapshot(name, date);
    let exists = path.exists()?;
    let past = date < today;
    match options.if_exists {
        IfExists::Keep if exists => return Ok(Err(Box::new(kept(workspace, name, date, &path)))),
        IfExists::Error if exists => {
            return Err(
                Error::conflict(format!("table {name} has a snapshot of {date} already"))
                    .hint("--if-exists keep, or --if-exists replace"),
            );
        }
        _ => {}
    }
    if past && !options.backdate {
        let what = if exists {
            "replacing the snapshot of"
        } else {
            "taking a snapshot of"
        };
        return Err(Error::refused(format!(
            "table {name}: {what} {date}, which is past, would label today's state as that day's"
        ))
        .hint("--backdate, if the source really holds the state of that day"));
    }
    let SourceFiles {
        source,
        files,
        format,
    } = find_source(
        workspace,
        name,
        date,
        options.source.as_deref(),
        options.source_format,
    )?;
    let mut table = workspace.table(name, &options.key)?;
    table.dedup_is_given = options.dedup.is_some() || !options.key.is_empty();
    table.dedup = options.dedup.clone().or(table.dedup);
    Ok(Ok(Plan {
        table,
        date,
        path,
        source,
        files,
        format,
        guards: config.guards()?,
        replaces: exists,
    }))
}

/// The files of a table's source, which have not been read.
pub(super) struct SourceFiles {
    /// The source as it is written.
    pub(super) source: String,
    /// Nothing of standard input.
    pub(super) files: Option<Vec<Object>>,
    pub(super) format: Format,
}

/// Finds the files of a table's source: the one that is `given`, or that of asof.toml.
pub(super) fn find_source(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    given: Option<&str>,
    format: Option<Format>,
) -> Result<SourceFiles> {
    let config = workspace.table_config(name);
    let Some(source) = given.map(str::to_owned).or(config.source) else {
        return Err(Error::usage(format!("table {name} has no source"))
            .hint(format!("asof snapshot {name} --source FILE")));
    };
    let files = |place: Location| {
        source::files_of(&place).map_err(|error| error.within(format!("table {name}, {date}")))
    };
    let files = match (source.as_str(), given) {
        ("-", _) => None,
        (_, Some(given)) => Some(files(workspace.here(given)?)?),
        (configured, None) => Some(files(workspace.configured(configured)?)?),
    };
    let declared = format.or(config.source_format);
    let rule = FormatRule {
        declared,
        option: "--source-format parquet|csv|tsv|ndjson|arrow|avro".to_owned(),
    };
    let format = match (&files, declared) {
        (Some(files), _) => rule
            .of(files)
            .map_err(|error| error.within(format!("table {name}, {date}")))?,
        (None, Some(declared)) => declared,
        (None, None) => {
            return Err(Error::usage("the format of standard input is unknown").hint(rule.option));
        }
    };
    Ok(SourceFiles {
        source,
        files,
        format,
    })
}

fn kept(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    path: &Location,
) -> SnapshotReport {
    SnapshotReport {
        table: name.clone(),
        snapshot_date: date,
        outcome: Outcome::Kept,
        path: workspace.shown(path),
        rows: None,
        bytes: None,
        fingerprint: None,
        schema: Vec::new(),
        since: None,
        left_to_path: Vec::new(),
        detected: Vec::new(),
        dedup: None,
        dropped_rows: None,
        forced: Vec::new(),
        store_requests: None,
    }
}

/// The snapshot before, opened.
struct Previous {
    date: NaiveDate,
    objects: Vec<Object>,
    snapshot: Snapshot,
}

fn previous(table: &Table, date: NaiveDate) -> Result<Option<Previous>> {
    let found = table.find_latest(date.pred_opt().unwrap_or(date))?;
    let Some((before, objects)) = found.range(..date).next_back() else {
        return Ok(None);
    };
    Ok(Some(Previous {
        date: *before,
        objects: objects.clone(),
        snapshot: table.open(*before, objects, None)?,
    }))
}

fn apply(
    workspace: &Workspace<'_>,
    plan: &Plan,
    options: &SnapshotOptions,
    stdin: &mut dyn Read,
) -> Result<SnapshotReport> {
    let Plan { table, date, .. } = plan;
    if !options.dry_run {
        workspace.check_writes_below(workspace.lake()?.root())?;
    }
    let previous = previous(table, *date)?;
    let pinned = match &previous {
        Some(previous) => pins(table, &previous.snapshot)?,
        None => SchemaRef::new(Schema::empty()),
    };
    let rules = TypeRules {
        pinned: Some(pinned.clone()),
        ..table.types.clone()
    };
    let staged_input;
    let rows = match &plan.files {
        Some(files) => source::read(files, plan.format, &rules, None),
        None => {
            staged_input = source::stage(stdin)?;
            source::read(
                &[local_object(&staged_input)?],
                plan.format,
                &rules,
                Some("standard input"),
            )
        }
    };
    let rows = rows.map_err(|error| error.within(format!("table {}, {date}", table.name)))?;
    let (rows, respelled) = keep_names(Some(&pinned), rows);
    if let Some((one, other)) = twins(&rows.schema) {
        let note = format!(
            "{}: columns '{one}' and '{other}' differ only in case; Spark, Hive and BigQuery \
             cannot distinguish them",
            table.name
        );
        workspace.progress.note(&note);
    }
    let (rows, left_to_path) = leave_to_path(table, *date, rows)?;
    let mut watch = Watch::new(&rows.schema, &pinned, table);
    let (sorted, dropped) = gather(table, *date, rows, &mut watch)?;
    let schema = watch.schema();
    let clash = |clash: TypeClashes| clash.refusal(table.name.as_str(), date);
    unify(&pinned, &schema).map_err(clash)?;
    let (comparison, drift) = match &previous {
        None => (schema.clone(), Drift::default()),
        Some(previous) => {
            let (wide, drift) = unify(&previous.snapshot.schema, &schema).map_err(clash)?;
            (
                comparison(table, previous, &wide, watch.units(*date))?,
                Drift { respelled, ..drift },
            )
        }
    };
    let since = previous.as_ref().map(|previous| previous.date);
    let target = match options.dry_run {
        true => Location::local(std::env::temp_dir().join(format!("{}.parquet", table.name))),
        false => plan.path.clone(),
    };
    if !options.dry_run {
        let folder = plan.path.parent().unwrap_or_else(|| table.root.clone());
        let places = [
            Some((table.root.clone(), folder)),
            changes::folders(table, *date),
        ];
        places
            .into_iter()
            .flatten()
            .for_each(|(root, folder)| sweep_partitions(&root, &folder, workspace.clock.now()));
    }
    let staged = Staged::create(&target)?;
    let mut writer = ObjectWriter::create(staged.writer()?, &schema, &table.key, &plan.path)?;
    let before = previous
        .as_ref()
        .and_then(|previous| previous.snapshot.footer.clone());
    // Changes are proven by what footers say of rows as they are stored.
    let as_stored = previous
        .as_ref()
        .is_some_and(|previous| previous.snapshot.fingerprint().is_some());
    let has_key =
        |footer: &&SnapshotFooter| footer.key == table.key && as_stored && !options.dry_run;
    let mut recorder = before
        .as_ref()
        .filter(has_key)
        .and_then(|footer| ChangesWriter::new(table, *date, footer.rows, &comparison));
    let previous = previous.map(|previous| previous.snapshot);
    let Written {
        sum,
        sum_before,
        changes,
    } = write(
        table,
        *date,
        sorted,
        previous,
        &comparison,
        &mut writer,
        recorder.as_mut(),
    )?;

    let previous_counts = before.as_ref().map(|before| before.rows).zip(changes);
    let broken = plan.guards.broken(&Candidate {
        rows: sum.rows(),
        previous: previous_counts,
        drift: &drift,
    });
    if !broken.is_empty() && !options.force {
        return Err(Error::refused(format!(
            "table {}, {date}: the snapshot was not published: {}",
            table.name,
            broken.join("; ")
        ))
        .hint(
            "--force, if this is the true state of the table; the snapshot's footer will say so",
        ));
    }
    let written = SnapshotFooter {
        table: table.name.to_string(),
        snapshot_date: *date,
        key: table.key.clone(),
        rows: sum.rows(),
        fingerprint: sum.fingerprint(),
        source: Some(plan.source.clone()),
        taken_at: Some(workspace.clock.now()),
        backdated: options.backdate && *date < workspace.clock.today(),
        forced: broken.clone(),
        absent: Some(absent_columns(&pinned, &schema)),
        dedup: table.dedup.as_ref().map(Dedup::to_string),
        dropped_rows: dropped.map(|dropped| dropped.rows()),
        asof_version: env!("CARGO_PKG_VERSION").into(),
    };
    let dedup = written.dedup.clone();
    let dropped_rows = written.dropped_rows;
    let bytes = writer.finish(&Footer::new(Content::Snapshot(written.clone())))?;
    let outcome = publish(workspace, plan, options, staged, sum.fingerprint(), &schema)?;
    if outcome == Outcome::Kept {
        // Another writer was first, or the rows stand there already: what is kept is not what was
        // staged.
        return Ok(kept(workspace, &table.name, *date, &plan.path));
    }
    if let (Some(recorder), Some(before)) = (recorder, before) {
        recorder.publish(table, &before, sum_before, &written);
    }
    let since = since
        .zip(previous_counts)
        .map(|(snapshot_date, (rows, changes))| Since {
            snapshot_date,
            rows,
            changes,
            schema: (!drift.is_empty()).then(|| drift.in_words()),
        });
    Ok(SnapshotReport {
        table: table.name.clone(),
        snapshot_date: *date,
        outcome,
        path: workspace.shown(&plan.path),
        rows: Some(sum.rows()),
        bytes: Some(bytes),
        fingerprint: Some(sum.fingerprint()),
        schema: shown_columns(&schema),
        since,
        left_to_path,
        detected: table.types.observed.detected(),
        dedup,
        dropped_rows,
        forced: broken,
        store_requests: None,
    })
}

/// The rows with the names that the table has for columns whose case changed; and those columns,
/// with the names that they keep.
pub(super) fn keep_names(known: Option<&SchemaRef>, rows: Rows) -> (Rows, Vec<(String, String)>) {
    let respelled = known
        .map(|known| respelled(known, &rows.schema))
        .unwrap_or_default();
    if respelled.is_empty() {
        return (rows, respelled);
    }
    let fields = rows.schema.fields().iter().map(|field| {
        match respelled.iter().find(|(now, _)| now == field.name()) {
            Some((_, kept)) => Arc::new(field.as_ref().clone().with_name(kept)),
            None => field.clone(),
        }
    });
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let named = schema.clone();
    let rename = move |batch: Result<RecordBatch>| {
        let batch = batch?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let renamed =
            RecordBatch::try_new_with_options(named.clone(), batch.columns().to_vec(), &options);
        renamed.io_context(|| "cannot rename columns".into())
    };
    (
        Rows {
            schema,
            batches: Box::new(rows.batches.map(rename)),
        },
        respelled,
    )
}

/// The rows without the column that the path of the snapshot has too, if it has the path's value in
/// every row; and its name.
fn leave_to_path(table: &Table, date: NaiveDate, rows: Rows) -> Result<(Rows, Vec<String>)> {
    let columns = PathColumns::of(&rows.schema, &table.layout, date);
    let names: Vec<String> = columns.names().map(str::to_owned).collect();
    if let Some(name) = names.iter().find(|name| table.key.contains(name)) {
        let what = format!(
            "the key column '{name}' has the name of the partition, and all rows of a snapshot \
             have the same date"
        );
        return Err(table
            .refuse(date, what)
            .hint("leave it out of the key, or rename it in the source"));
    }
    if names.is_empty() {
        return Ok((rows, names));
    }
    let schema = columns.schema().clone();
    let leave = move |batch: Result<RecordBatch>| {
        columns
            .leave(batch?)
            .map_err(|error| error.hint("rename the column in the source, or leave it out"))
    };
    Ok((
        Rows {
            schema,
            batches: Box::new(rows.batches.map(leave)),
        },
        names,
    ))
}

/// Reads the source into sorted runs, refusing keys with nulls. If a rule says which row of a key
/// counts, the others are dropped as the runs are merged, and counted.
fn gather(
    table: &Table,
    date: NaiveDate,
    rows: Rows,
    watch: &mut Watch,
) -> Result<(Batches, Option<Dropped>)> {
    for key in &table.key {
        if rows.schema.field_with_name(key).is_err() {
            return Err(table.no_key_column(
                key,
                &rows.schema,
                &format!("table {}, {date}: the source", table.name),
            ));
        }
    }
    let order = match &table.dedup {
        None => table.key.clone(),
        Some(rule) => {
            dedup::check(
                table,
                rule,
                &rows.schema,
                &format!("table {}, {date}: the source", table.name),
            )?;
            dedup::sorted_by(table, rule)
        }
    };
    let mut sorter = Sorter::new(&order, BUDGET);
    let mut nulls = 0;
    let mut shown = Vec::new();
    for batch in rows.batches {
        let batch = batch.map_err(|error| error.within(format!("table {}, {date}", table.name)))?;
        count_null_keys(&batch, &table.key, &mut nulls, &mut shown);
        watch.see(&batch);
        sorter.push(batch)?;
    }
    if nulls > 0 {
        return Err(table.null_keys(date, nulls, &shown));
    }
    let schema = watch.schema();
    let sorted = sorter.finish(&schema)?;
    match &table.dedup {
        None => Ok((sorted, None)),
        Some(rule) => dedup::latest(table, date, rule, &schema, sorted)
            .map(|(rows, dropped)| (rows, Some(dropped))),
    }
}

/// The columns of both snapshots in types that hold the values of either.
fn comparison(
    table: &Table,
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

pub(super) fn count_null_keys(
    batch: &RecordBatch,
    key: &[String],
    nulls: &mut u64,
    shown: &mut Vec<String>,
) {
    let columns: Vec<_> = key
        .iter()
        .filter_map(|name| batch.column_by_name(name))
        .collect();
    if columns.iter().all(|column| column.null_count() == 0)
        && columns
            .iter()
            .all(|column| column.logical_null_count() == 0)
    {
        return;
    }
    for row in 0..batch.num_rows() {
        if columns.iter().any(|column| {
            column
                .logical_nulls()
                .is_some_and(|nulls| nulls.is_null(row))
        }) {
            *nulls += 1;
            if shown.len() < 5 {
                shown.push(crate::engine::table::show_row(batch, row));
            }
        }
    }
}

/// What was found out while rows were written.
struct Written {
    sum: RowSum,
    /// That of the previous snapshot.
    sum_before: RowSum,
    /// What changed since then.
    changes: Option<Changes>,
}

/// Writes sorted rows, and compares them with the previous snapshot's in the same pass, both in the
/// types of `comparison`.
fn write(
    table: &Table,
    date: NaiveDate,
    sorted: Batches,
    previous: Option<Snapshot>,
    comparison: &SchemaRef,
    writer: &mut ObjectWriter,
    mut recorder: Option<&mut ChangesWriter>,
) -> Result<Written> {
    let encoder = KeyEncoder::new(comparison, &table.key)?;
    let keyed = |batch: &RecordBatch, date: NaiveDate| -> Result<KeyedBatch> {
        let digests = all_digests(batch)?;
        let batch = conform(&convert(batch, &table.name, date, comparison)?, comparison)?;
        KeyedBatch::new(&encoder, batch, digests)
    };
    let mut sum = RowSum::default();
    let mut sum_before = RowSum::default();
    let mut duplicates = DuplicateKeys::default();
    let mut later = sorted.map(|batch| {
        let batch = batch?;
        let keyed = keyed(&batch, date)?;
        sum.add(&keyed.digests);
        duplicates.look(&keyed.batch, &keyed.keys, &table.key);
        writer.write(batch)?;
        Ok(keyed)
    });
    let changes = match previous {
        None => {
            later.try_for_each(|batch| batch.map(|_: KeyedBatch| ()))?;
            None
        }
        Some(previous) => {
            // It is sorted by its own key, which need not be today's.
            let same_key = previous.is_sorted_by(&table.key);
            let before = previous.date;
            let rows = previous.read(None)?;
            let rows = if same_key {
                rows
            } else {
                sort(rows, &table.key, comparison)?
            };
            let mut earlier = rows.map(|batch| {
                let keyed = keyed(&batch?, before)?;
                sum_before.add(&keyed.digests);
                Ok(keyed)
            });
            Some(diff(&mut earlier, &mut later, |difference| {
                recorder
                    .iter_mut()
                    .for_each(|recorder| recorder.see(&difference));
                Ok(())
            })?)
        }
    };
    drop(later);
    if let Some(error) = duplicates.refusal(table, date) {
        return Err(error.hint(table.latest_hint()));
    }
    Ok(Written {
        sum,
        sum_before,
        changes,
    })
}

/// Publishes the staged object by one conditional write.
fn publish(
    workspace: &Workspace<'_>,
    plan: &Plan,
    options: &SnapshotOptions,
    staged: Staged,
    fingerprint: Fingerprint,
    schema: &SchemaRef,
) -> Result<Outcome> {
    let Plan {
        table, date, path, ..
    } = plan;
    if options.dry_run {
        return Ok(Outcome::Planned);
    }
    let lost = || {
        Error::conflict(format!(
            "table {}: another writer published {date} first",
            table.name
        ))
    };
    if !plan.replaces {
        return match (staged.publish_new()?, options.if_exists) {
            (Published::Done, _) => Ok(Outcome::Published),
            (Published::Exists, IfExists::Keep) => Ok(Outcome::Kept),
            (Published::Exists, _) => Err(lost()),
        };
    }
    let standing = |path: &Location| -> Result<Option<SnapshotFooter>> {
        match ParquetObject::open(path)?
            .footer()?
            .map(|footer| footer.content)
        {
            Some(Content::Snapshot(footer)) => Ok(Some(footer)),
            _ => Ok(None),
        }
    };
    let old = standing(path)?;
    // Equal rows of another type are another snapshot: it may be retaken for no other reason.
    let same_columns = ParquetObject::open(path)?.schema() == schema;
    if same_columns
        && old
            .as_ref()
            .is_some_and(|old| old.fingerprint == fingerprint && old.key == table.key)
    {
        return Ok(Outcome::Kept);
    }
    let lake = workspace.lake()?;
    let old_fingerprint = old.as_ref().map_or(Fingerprint(0), |old| old.fingerprint);
    let aside =
        lake.superseded_snapshot(&table.name, *date, workspace.clock.now(), old_fingerprint);
    staged.publish_replacing(&aside, |place| {
        Ok(standing(place)?.map(|now| now.fingerprint) == old.as_ref().map(|old| old.fingerprint))
    })?;
    Ok(Outcome::Replaced)
}
