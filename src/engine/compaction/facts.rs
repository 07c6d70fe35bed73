//! What a compaction found out.

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use serde::Serialize;

use crate::domain::hash_compaction::Changes;
use crate::storage::parquet::footer::ObservedWire;

/// What one snapshot changed.
#[derive(Clone, Debug, Serialize)]
pub struct DayChanges {
    /// Its date.
    pub date: NaiveDate,
    /// What changed against the snapshot before.
    #[serde(flatten)]
    pub changes: Changes,
}

/// What a pass found out.
#[derive(Debug, Default)]
pub struct CompactionFacts {
    /// Every snapshot that the intervals stand for, ascending.
    pub observed: Vec<ObservedWire>,
    /// The schemas that those snapshots had.
    pub schemas: Vec<SchemaRef>,
    /// The dates that were taken, with what each changed.
    pub days: Vec<DayChanges>,
    /// How many snapshots were decoded.
    pub decoded: u64,
    /// How many were not, since it is known what they changed.
    pub by_changes: u64,
    /// How many were unchanged, and not read.
    pub unchanged: u64,
    /// How many intervals there are.
    pub intervals: u64,
    /// How many of them are open.
    pub open: u64,
    /// The columns whose types, inferred from text, are not one type: nothing was given to the
    /// sink, and the pass is to be done again with these columns as text.
    pub as_text: Vec<String>,
}
