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
//! Memory: the sorter's budget, which is a quarter of what may be used, and a few batches of this
//! snapshot and of the previous one.

mod adopt;
mod hook;
mod input;
mod keep;
mod lineage;
mod plan;
mod previous;
mod publish;
mod refused;
mod replaced;
mod take;
mod unchanged;
mod write;

use std::io::Read;

use chrono::{DateTime, NaiveDate, Utc};

pub(super) use self::input::{count_null_keys, keep_names};
pub use self::refused::RefusedCopy;
pub(super) use self::refused::{refused_copies, refused_object};

use self::adopt::adopt;
use self::lineage::SnapshotRun;
use self::plan::{Decision, SnapshotPlan, decide};
use self::refused::discard;
use self::take::take;
use super::Workspace;
use super::shown_columns::ShownColumn;
use super::sources::{GivenSource, find_source};
use crate::domain::dedup::Dedup;
use crate::domain::digest::Fingerprint;
use crate::domain::hash_compaction::Changes;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::ReadAs;
use crate::storage::lake::location::Location;
use crate::storage::object_store::http::RequestCounts;

/// How to treat a snapshot that exists.
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
    pub source: GivenSource,
    /// The key columns, if not those of the configuration or of the last snapshot.
    pub key: Vec<String>,
    /// Which row of a key counts, if not that of the configuration.
    pub dedup: Option<Dedup>,
    /// How to treat a snapshot that exists.
    pub if_exists: IfExists,
    /// Whether the source really holds the state of a past date.
    pub backdate: bool,
    /// Whether guards are overridden.
    pub force: bool,
    /// The date of a refused copy that is to be published.
    pub publish: Option<NaiveDate>,
    /// The date of a refused copy that is to be removed.
    pub discard: Option<NaiveDate>,
    /// The layout of dated copies below the source, each of which becomes the snapshot of its date.
    pub adopt: Option<String>,
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
    /// A refused copy was removed.
    Discarded,
}

/// Whether the source of a snapshot that is kept was written to since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceSince {
    /// A file of the source was written after the snapshot was.
    Written,
    /// No file of the source was.
    NotWritten,
    /// The source does not tell: it is a database, standard input, or in an object store.
    Unknown,
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

/// The copy of the same date that is replaced, and what changed since.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct SinceReplacedCopy {
    /// Its rows.
    pub rows: u64,
    /// What changed.
    #[serde(flatten)]
    pub changes: Changes,
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
    /// When its rows were read; nothing if asof did not take it.
    pub taken_at: Option<DateTime<Utc>>,
    /// Whether the source was written to since, if today's snapshot is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_since: Option<SourceSince>,
    /// The command that compares the source with the snapshot, unless it was not written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare_with: Option<String>,
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
    /// What changed since the copy that it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_replaced: Option<SinceReplacedCopy>,
    /// The date of the snapshot before, if that is damaged and was not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<NaiveDate>,
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
    /// Large changes that no guard limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unguarded: Vec<String>,
    /// What object stores were asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests: Option<RequestCounts>,
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
    if let Some(layout) = &options.adopt {
        return adopt(workspace, &names[0], layout, options);
    }
    let mut reports = Vec::new();
    for (done, name) in (0u64..).zip(&names) {
        workspace
            .progress
            .step(&format!("snapshot {name}"), done, names.len() as u64);
        let (report, store_requests) = workspace.counting(|| {
            let stdin = &mut *stdin;
            let decision = decide(workspace, name, options, |date| {
                find_source(workspace, name, date, &options.source, stdin)
            });
            match decision? {
                Decision::Keep(report) => Ok(*report),
                Decision::Discard(date) => discard(workspace, name, date),
                Decision::Take(mut plan) => take_and_tell(workspace, &mut plan, options),
            }
        })?;
        reports.push(SnapshotReport {
            store_requests,
            ..report
        });
    }
    Ok(reports)
}

/// Takes a snapshot, and tells those of it who asked to be told.
fn take_and_tell(
    workspace: &Workspace<'_>,
    plan: &mut SnapshotPlan<'_>,
    options: &SnapshotOptions,
) -> Result<SnapshotReport> {
    let run = SnapshotRun::start(workspace, plan, options);
    let taken = take(workspace, plan, options).map_err(|refused| {
        hook::tell(workspace, plan, options, &refused);
        refused.error
    });
    if let Some(run) = run {
        run.end(&taken);
    }
    taken
}

/// The tables to take: those named, or all that have a source.
fn named(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &SnapshotOptions,
) -> Result<Vec<TableName>> {
    if tables.len() != 1 && (options.publish.is_some() || options.discard.is_some()) {
        return Err(
            Error::usage("--publish and --discard require exactly one table name")
                .hint("asof status, to see the refused copies"),
        );
    }
    if tables.len() != 1 && options.adopt.is_some() {
        return Err(Error::usage("--adopt requires exactly one table name")
            .hint("asof snapshot TABLE --source DIR --adopt 'date=%Y-%m-%d'"));
    }
    let option = options.source.option_of_one_table();
    let one_table =
        |option: &str| Error::usage(format!("{option} requires exactly one table name"));
    if tables.is_empty() {
        let all: Vec<TableName> = workspace
            .config
            .tables
            .iter()
            .filter(|(_, table)| table.source.is_some())
            .map(|(name, _)| name.parse())
            .collect::<Result<_>>()?;
        return match (all.as_slice(), option) {
            ([], _) => Err(
                Error::usage("no table is named, and asof.toml has none with a source")
                    .hint("asof snapshot TABLE --source FILE --key COLUMN"),
            ),
            (_, Some(option)) => {
                Err(one_table(option).hint(format!("asof snapshot TABLE {option} ...")))
            }
            _ => Ok(all),
        };
    }
    if let Some(option) = option.filter(|_| tables.len() > 1) {
        return Err(one_table(option));
    }
    if options.source.place.is_some() {
        return tables.iter().map(|name| name.parse()).collect();
    }
    tables.iter().map(|name| workspace.known(name)).collect()
}

/// The report of a snapshot that stands as it did.
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
        taken_at: None,
        source_since: None,
        compare_with: None,
        rows: None,
        bytes: None,
        fingerprint: None,
        schema: Vec::new(),
        since: None,
        since_replaced: None,
        not_compared: None,
        left_to_path: Vec::new(),
        detected: Vec::new(),
        dedup: None,
        dropped_rows: None,
        forced: Vec::new(),
        unguarded: Vec::new(),
        store_requests: None,
    }
}
