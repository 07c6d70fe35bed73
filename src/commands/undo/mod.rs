//! `asof drop` and `asof restore`: take a snapshot out of the lake, and put it back.
//!
//! A dropped snapshot is moved below `_dropped/`, where no reader takes it for a snapshot. Its date
//! is then one without a snapshot: intervals that were made from it are out of date, and no longer
//! serve it; so are the outputs that it served. The next compaction recomputes the intervals from
//! that date on.
//!
//! `restore` brings back a dropped copy, or one that a replacement put aside below `superseded/`.
//! It moves the copy: what was put aside is the snapshot again, byte for byte.
//!
//! Nothing deletes what was put aside.

mod dropping;
mod restoring;
#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

pub use self::dropping::drop_snapshot;
pub use self::restoring::restore;

use super::Workspace;
use super::pruned::restoring;
use crate::domain::digest::Fingerprint;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::storage::lake::aside::overtaken;
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::{Content, SnapshotFooter};
use crate::storage::parquet::object::ParquetObject;

/// What `asof drop` is asked for.
#[derive(Clone, Debug)]
pub struct DropOptions {
    /// The table.
    pub table: String,
    /// The date of the snapshot.
    pub date: NaiveDate,
    /// Whether nothing is to be moved.
    pub dry_run: bool,
}

/// What `asof restore` is asked for.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The table.
    pub table: String,
    /// The date of the snapshot.
    pub date: NaiveDate,
    /// Which of several copies: the beginning of its name, which is the time at which it was put
    /// aside, such as `20240913T020000Z`.
    pub copy: Option<String>,
    /// Whether nothing is to be moved.
    pub dry_run: bool,
}

/// How a drop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropOutcome {
    /// The snapshot was moved.
    Dropped,
    /// An earlier run moved it.
    AlreadyDropped,
    /// It would be moved.
    Planned,
}

/// What became of the snapshot of a date.
#[derive(Clone, Debug, Serialize)]
pub struct DropReport {
    /// The table.
    pub table: TableName,
    /// The date.
    pub snapshot_date: NaiveDate,
    /// How it ended.
    pub outcome: DropOutcome,
    /// Where the copy is now, or would be.
    pub path: String,
    /// What the copy says of itself.
    #[serde(flatten)]
    pub copy: CopyFacts,
    /// Whether the intervals were made from the copy, and are out of date.
    pub is_compacted: bool,
    /// The command that undoes it.
    pub restore_with: String,
}

/// How a restoration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreOutcome {
    /// The copy is the snapshot of its date again.
    Restored,
    /// The date has a snapshot, and no copy of it was put aside.
    AlreadyExists,
    /// The copy would be restored.
    Planned,
}

/// Why a copy was put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PutAsideBy {
    /// `asof drop`.
    Drop,
    /// `asof snapshot --if-exists replace`.
    Replacement,
}

/// What became of a copy that was put aside.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport {
    /// The table.
    pub table: TableName,
    /// The date.
    pub snapshot_date: NaiveDate,
    /// How it ended.
    pub outcome: RestoreOutcome,
    /// The snapshot.
    pub path: String,
    /// Where the copy was; nothing if there was none.
    pub from: Option<String>,
    /// Why it was there.
    pub put_aside_by: Option<PutAsideBy>,
    /// Since when.
    pub put_aside_at: Option<DateTime<Utc>>,
    /// What the snapshot says of itself.
    #[serde(flatten)]
    pub copy: CopyFacts,
}

/// What a copy says of itself; nothing if it is damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopyFacts {
    /// Its rows.
    pub rows: Option<u64>,
    /// When they were read.
    pub taken_at: Option<DateTime<Utc>>,
    /// Its content.
    pub fingerprint: Option<Fingerprint>,
}

impl CopyFacts {
    fn of(footer: Option<&SnapshotFooter>) -> Self {
        CopyFacts {
            rows: footer.map(|footer| footer.rows),
            taken_at: footer.and_then(|footer| footer.taken_at),
            fingerprint: footer.map(|footer| footer.fingerprint),
        }
    }
}

/// A table of the lake, which must be one whose snapshots asof keeps.
pub(super) fn managed(workspace: &Workspace<'_>, name: &str) -> Result<TableName> {
    let table = workspace.known(name)?;
    if workspace.table_config(&table).snapshots.is_some() {
        return Err(Error::usage(format!(
            "table {table} is external: asof never removes or writes its copies"
        ))
        .hint("use the tool that writes the copies"));
    }
    Ok(table)
}

/// The command that writes the copy of a date again from the intervals, if they have its rows.
fn from_intervals(workspace: &Workspace<'_>, table: &TableName, date: NaiveDate) -> Option<String> {
    let known = workspace.intervals(table).ok().flatten()?;
    known.snapshot(date)?;
    let table = workspace.table(table, &known.footer.key).ok()?;
    restoring(workspace, &table, &known, &[date])
}

/// What a snapshot says of itself; nothing if it is damaged, or asof did not write it.
fn footer_at(path: &Location) -> Result<Option<SnapshotFooter>> {
    let opened = ParquetObject::open(path).and_then(|object| object.footer());
    match opened {
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(overtaken(path, error)),
        Ok(footer) => Ok(match footer.map(|footer| footer.content) {
            Some(Content::Snapshot(footer)) => Some(footer),
            _ => None,
        }),
    }
}
