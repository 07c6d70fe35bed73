//! Everything that exists of one table, without stopping at what is damaged: what `verify` and
//! `status` begin with.
//!
//! Read: one listing of the snapshots and one of dropped ones, the footer of the intervals, and, if
//! nothing else tells the key, footers of snapshots from the last one backwards until one can be
//! read. No rows.

use chrono::NaiveDate;

use crate::engine::intervals::Intervals;
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Kind, Result};
use crate::model::TableName;
use crate::storage::lake::aside::AsideCopy;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::Found;
use crate::storage::parquet::footer::{Content, SnapshotFooter};
use crate::storage::parquet::object::ParquetObject;

/// A table as it was found, damaged or not.
pub struct TableInventory {
    /// The table; its key is empty if nothing that can be read names one.
    pub table: SnapshotTable,
    /// Its snapshots. Unlike with [`SnapshotTable::find`], a date may have several files.
    pub found: Found,
    /// Where its intervals are or would be; nothing without a lake.
    pub intervals_path: Option<Location>,
    /// Its intervals, or why they cannot be read.
    pub intervals: Result<Option<Intervals>>,
    /// Its copies that somebody dropped, by date and time.
    pub dropped: Vec<AsideCopy>,
}

impl TableInventory {
    /// Takes the inventory of a table whose key, if it is empty, is looked up.
    ///
    /// # Errors
    /// What concerns the table as a whole: an external table without a key, a folder that cannot be
    /// listed.
    pub fn take(
        mut table: SnapshotTable,
        intervals_path: Option<Location>,
        dropped: Vec<AsideCopy>,
    ) -> Result<Self> {
        let mut intervals = intervals_path.as_ref().map_or(Ok(None), Intervals::open);
        if let Ok(Some(intervals)) = &mut intervals {
            intervals.mark_dropped(&dropped);
        }
        if let (true, Ok(Some(intervals))) = (table.key.is_empty(), &intervals) {
            table.key.clone_from(&intervals.footer.key);
        }
        if table.key.is_empty() && !table.own {
            return Err(table.key_is_unknown());
        }
        let found = match table.find_any(None) {
            // Whoever looks at intervals is told of it as a problem of theirs.
            Err(error) if error.kind() == Kind::Usage && matches!(intervals, Ok(Some(_))) => {
                Found::default()
            }
            found => found?,
        };
        if table.key.is_empty() {
            table.key = last_readable_key(&found);
        }
        Ok(TableInventory {
            table,
            found,
            intervals_path,
            intervals,
            dropped,
        })
    }

    /// The dates whose snapshots were dropped and are not there again, and that the intervals still
    /// have, ascending.
    pub fn dropped_since(&self) -> Vec<NaiveDate> {
        let intervals = self.intervals.as_ref().ok().and_then(Option::as_ref);
        let dropped = intervals.into_iter().flat_map(|known| &known.dropped);
        dropped
            .filter(|date| !self.found.partitions.contains_key(date))
            .copied()
            .collect()
    }

    /// That no copy of another tool is found, which is a wrong path or a wrong layout rather than a
    /// new table once there are intervals. asof's own snapshots may be pruned, and a file of
    /// intervals is read without copies.
    pub fn nothing_found(&self) -> Option<String> {
        let table = &self.table;
        (self.intervals_path.is_some() && !table.own && self.found.partitions.is_empty()).then(
            || {
                let root = &table.root;
                format!("no copy is found in '{root}' any more; {}", table.filling())
            },
        )
    }
}

/// The key in the last footer that can be read; empty if none can.
fn last_readable_key(found: &Found) -> Vec<String> {
    let objects = found.partitions.values().rev();
    let footers = objects.filter_map(|objects| footer_of(&objects[0]).ok().flatten());
    footers
        .map(|footer| footer.key)
        .find(|key| !key.is_empty())
        .unwrap_or_default()
}

/// The key that the last snapshot of a table in the lake names; empty if there is none.
///
/// # Errors
/// A failure of listing the snapshots or reading one. One that is damaged is passed over.
pub fn last_key(table: &SnapshotTable, today: NaiveDate) -> Result<Vec<String>> {
    if !table.own {
        return Ok(Vec::new());
    }
    for objects in table.find_latest(today)?.values().rev() {
        let Some(object) = objects.first() else {
            continue;
        };
        // Whatever exists there now: it may be replaced at this moment.
        let footer = ParquetObject::open(&object.location).and_then(|object| object.footer());
        match footer.map(|footer| footer.map(|footer| footer.content)) {
            Ok(Some(Content::Snapshot(footer))) => return Ok(footer.key),
            Err(error) if error.kind() == Kind::Io => return Err(error),
            _ => {}
        }
    }
    Ok(Vec::new())
}

/// What a snapshot in the lake says of itself; nothing if asof did not write it.
///
/// # Errors
/// A failure if it cannot be opened; a refusal if it is not a valid or complete Parquet file.
pub fn footer_of(object: &Object) -> Result<Option<SnapshotFooter>> {
    match ParquetObject::open_listed(object)?
        .footer()?
        .map(|footer| footer.content)
    {
        Some(Content::Snapshot(footer)) => Ok(Some(footer)),
        _ => Ok(None),
    }
}

/// An error's sentence without the table and date that a report names beside it.
pub fn sentence(error: &Error, table: &TableName) -> String {
    let whole = error.to_string();
    let Some(rest) = whole.strip_prefix(&format!("table {table}, ")) else {
        return whole;
    };
    match rest.split_once(": ") {
        Some((date, what)) if crate::model::parse_date(date).is_ok() => what.to_owned(),
        _ => whole,
    }
}
