//! What a run of `asof snapshot` reports of each table.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::commands::Workspace;
use crate::commands::shown_columns::ShownColumn;
use crate::domain::digest::Fingerprint;
use crate::domain::hash_compaction::Changes;
use crate::error::{Error, Kind};
use crate::model::TableName;
use crate::source::ReadAs;
use crate::storage::lake::location::Location;
use crate::storage::object_store::http::RequestCounts;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SinceReplacedCopy {
    /// Its rows.
    pub rows: u64,
    /// What changed.
    #[serde(flatten)]
    pub changes: Changes,
}

/// What happened to one table.
#[derive(Clone, Debug, Serialize)]
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
    /// What the user should know and is not a failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What object stores were asked for it; not counted if other tables were taken meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests: Option<RequestCounts>,
}

/// A table of a run that failed: nothing of it was published.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename = "failed")]
#[non_exhaustive]
pub struct FailedTable {
    /// The table.
    pub table: TableName,
    /// The label that its snapshot would have had.
    pub snapshot_date: NaiveDate,
    /// Why, and what to try.
    pub error: Error,
    /// What else the user should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why a run over all tables leaves one out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Another tool writes its copies.
    External,
    /// asof.toml gives it no source.
    NoSource,
    /// It is read from standard input, so it is taken alone.
    StandardInput,
}

/// A table that a run over all tables leaves out.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename = "skipped")]
#[non_exhaustive]
pub struct SkippedTable {
    /// The table.
    pub table: TableName,
    /// Why.
    pub reason: SkipReason,
}

/// What a run did about one table.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum TableResult {
    /// It has a snapshot.
    Done(Box<SnapshotReport>),
    /// It failed.
    Failed(FailedTable),
    /// It was left out.
    Skipped(SkippedTable),
}

/// What a run did about each of its tables, in the order in which they were named, or else in the
/// order of their names.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SnapshotRun {
    /// The tables.
    pub tables: Vec<TableResult>,
}

impl SnapshotRun {
    /// Whether all snapshots are of one table, as those of adopted copies are.
    pub fn is_of_one_table(&self) -> bool {
        self.tables.windows(2).all(|pair| match pair {
            [TableResult::Done(one), TableResult::Done(other)] => one.table == other.table,
            _ => false,
        })
    }

    /// The tables that failed.
    pub fn failures(&self) -> impl Iterator<Item = &FailedTable> {
        self.tables.iter().filter_map(|table| match table {
            TableResult::Failed(failed) => Some(failed),
            _ => None,
        })
    }

    /// What the scheduler should do, if some tables failed: what all of them ask for if nothing was
    /// published, and otherwise to run the rest again.
    pub fn failure(&self) -> Option<Kind> {
        let first = self.failures().next()?.error.kind();
        let is_of_all = self.tables.iter().all(|table| match table {
            TableResult::Done(_) => false,
            TableResult::Failed(failed) => failed.error.kind() == first,
            TableResult::Skipped(_) => true,
        });
        Some(if is_of_all { first } else { Kind::Partial })
    }
}

impl From<Vec<SnapshotReport>> for SnapshotRun {
    fn from(reports: Vec<SnapshotReport>) -> Self {
        let done = |report| TableResult::Done(Box::new(report));
        SnapshotRun {
            tables: reports.into_iter().map(done).collect(),
        }
    }
}

/// The report of a snapshot that stands as it did.
pub(super) fn kept(
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
        notes: Vec::new(),
        store_requests: None,
    }
}
