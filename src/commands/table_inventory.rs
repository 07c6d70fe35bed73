//! Looking at one table without stopping at what is damaged: what `verify` and `status` begin with.
//!
//! Read: one listing of the snapshots, the footer of the intervals, and, if the key stands nowhere
//! else, footers of snapshots from the last one backwards until one can be read. No rows.

use super::Workspace;
use crate::engine::intervals::Intervals;
use crate::engine::table::Table;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::FormatRule;
use crate::storage::lake::Lake;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::Found;
use crate::storage::parquet::footer::{Content, SnapshotFooter};
use crate::storage::parquet::object::ParquetObject;

/// A table as it was found.
pub(super) struct Inspected {
    /// The table; its key is empty if nothing that can be read names one.
    pub(super) table: Table,
    /// Its snapshots. Unlike with [`Table::find`], a date may have several files.
    pub(super) found: Found,
    /// Where its intervals are or would be; nothing without a lake.
    pub(super) intervals_path: Option<Location>,
    /// Its intervals, or why they cannot be read.
    pub(super) intervals: Result<Option<Intervals>>,
}

/// Looks at a table.
///
/// # Errors
/// What concerns the table as a whole: a wrong configuration, a folder that cannot be listed.
pub(super) fn inspect(workspace: &Workspace<'_>, name: &TableName) -> Result<Inspected> {
    let intervals_path = workspace
        .has_lake()
        .then(|| workspace.intervals_path(name, None))
        .transpose()?;
    let intervals = intervals_path.as_ref().map_or(Ok(None), Intervals::open);
    let recorded = intervals
        .as_ref()
        .ok()
        .and_then(Option::as_ref)
        .map(|intervals| intervals.footer.key.clone());
    let (table, found) = table(workspace, name, recorded.unwrap_or_default())?;
    Ok(Inspected {
        table,
        found,
        intervals_path,
        intervals,
    })
}

fn table(
    workspace: &Workspace<'_>,
    name: &TableName,
    recorded: Vec<String>,
) -> Result<(Table, Found)> {
    let config = workspace.table_config(name);
    if config.snapshots.is_some() || !config.key.is_empty() || !recorded.is_empty() {
        let key = if config.key.is_empty() {
            recorded
        } else {
            Vec::new()
        };
        let table = workspace.table(name, &key)?;
        let found = table.find_any(None)?;
        return Ok((table, found));
    }
    let root = workspace.lake()?.snapshots(name);
    let mut table = Table {
        name: name.clone(),
        key: Vec::new(),
        key_is_given: false,
        root,
        layout: Lake::layout()?,
        own: true,
        types: config.type_rules(name.as_str())?,
        format: FormatRule::default(),
        dated: None,
        dedup: None,
        dedup_is_given: false,
    };
    let found = table.find_any(None)?;
    let footers = found
        .partitions
        .values()
        .rev()
        .filter_map(|objects| footer_of(&objects[0]).ok().flatten());
    table.key = footers
        .map(|footer| footer.key)
        .find(|key| !key.is_empty())
        .unwrap_or_default();
    Ok((table, found))
}

/// What a snapshot in the lake says of itself; nothing if asof did not write it.
///
/// # Errors
/// A failure if it cannot be opened; a refusal if it is not a valid or complete Parquet file.
pub(super) fn footer_of(object: &Object) -> Result<Option<SnapshotFooter>> {
    match ParquetObject::open_listed(object)?
        .footer()?
        .map(|footer| footer.content)
    {
        Some(Content::Snapshot(footer)) => Ok(Some(footer)),
        _ => Ok(None),
    }
}

/// An error's sentence without the table and date that a report names beside it.
pub(super) fn sentence(error: &Error, table: &TableName) -> String {
    let whole = error.to_string();
    let Some(rest) = whole.strip_prefix(&format!("table {table}, ")) else {
        return whole;
    };
    match rest.split_once(": ") {
        Some((date, what)) if crate::model::parse_date(date).is_ok() => what.to_owned(),
        _ => whole,
    }
}
