//! Versions of a table's rows over a window of dates, from its snapshots: each snapshot is read
//! once, and a row is given once for as long as it stays the same.
//!
//! That is a compaction ([`crate::engine::compaction`]) of the columns that a join needs and of the
//! rows for which its condition holds. A snapshot whose footer has the fingerprint of the one
//! before is not read.
//!
//! Memory: that of a compaction, and the versions themselves.

use std::sync::Arc;

use chrono::NaiveDate;

use crate::domain::digest::Fingerprint;
use crate::engine::compaction::compact_in_memory;
use crate::engine::join::{JoinColumns, Timed};
use crate::engine::table::SnapshotTable;
use crate::engine::table_part::TablePart;
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;
use crate::storage::lake::location::Object;

/// A snapshot that is to be read.
pub struct DatedSnapshot {
    /// Its date.
    pub date: NaiveDate,
    /// Where it is.
    pub objects: Vec<Object>,
    /// Its content, as it is stored.
    pub fingerprint: Fingerprint,
}

/// The versions of snapshots, which come in order of their dates; nothing, if they are more than
/// `limit` bytes. Of dates that have no snapshot here nothing is said.
///
/// # Errors
/// A failure or refusal of reading any of the snapshots; a refusal for a key that stands twice in
/// one.
pub fn versions_of_snapshots(
    table: &SnapshotTable,
    snapshots: &[DatedSnapshot],
    columns: &Arc<JoinColumns>,
    memory: MemoryBudget,
    threads: usize,
    limit: Option<usize>,
) -> Result<Option<Timed>> {
    let days: Vec<_> = snapshots
        .iter()
        .map(|snapshot| (snapshot.date, snapshot.objects.clone()))
        .collect();
    let matching = columns.clone();
    let names = Some(columns.names());
    let part = TablePart {
        columns: names.clone(),
        kept: names,
        rows: Arc::new(move |batch| matching.matching(batch)),
        observes: false,
    };
    let Some((rows, facts)) = compact_in_memory(table, &days, &part, memory, threads, limit)?
    else {
        return Ok(None);
    };
    // Of external snapshots a part does not tell it.
    let told = snapshots.iter().zip(&facts.observed).filter(|_| table.own);
    let replaced = told
        .into_iter()
        .find(|(snapshot, observed)| !observed.is(snapshot.fingerprint));
    if let Some((snapshot, _)) = replaced {
        return Err(Error::io(format!(
            "table {}, {}: the snapshot was replaced while being read",
            table.name, snapshot.date
        ))
        .hint("run it again"));
    }
    Ok(Some(Box::new(
        rows.into_iter()
            .map(|batch| Ok((batch.rows, batch.intervals))),
    )))
}
