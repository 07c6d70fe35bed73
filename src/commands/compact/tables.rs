//! What a run over several tables did: a failure of one stops no other.

use serde::Serialize;

use super::CompactReport;
use crate::error::{Error, Kind};
use crate::model::TableName;

/// A table that could not be compacted.
#[derive(Debug, Serialize)]
#[serde(tag = "mode", rename = "failed")]
#[non_exhaustive]
pub struct FailedCompaction {
    /// The table.
    pub table: TableName,
    /// Why, and what to try.
    pub error: Error,
}

/// What happened to one table of several.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum TableCompaction {
    /// It has intervals.
    Done(Box<CompactReport>),
    /// It failed.
    Failed(FailedCompaction),
}

/// What a run did about each of its tables, in their order.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct CompactionRun {
    /// The tables.
    pub tables: Vec<TableCompaction>,
}

impl CompactionRun {
    /// The tables that have intervals.
    pub fn reports(&self) -> impl Iterator<Item = &CompactReport> {
        self.tables.iter().filter_map(|table| match table {
            TableCompaction::Done(report) => Some(report.as_ref()),
            TableCompaction::Failed(_) => None,
        })
    }

    /// The tables that failed.
    pub fn failures(&self) -> impl Iterator<Item = &FailedCompaction> {
        self.tables.iter().filter_map(|table| match table {
            TableCompaction::Done(_) => None,
            TableCompaction::Failed(failed) => Some(failed),
        })
    }

    /// What the scheduler should do, if some tables failed: what all of them ask for if nothing was
    /// compacted, and otherwise to run the rest again.
    pub fn failure(&self) -> Option<Kind> {
        let first = self.failures().next()?.error.kind();
        let is_of_all = self.reports().next().is_none()
            && self.failures().all(|failed| failed.error.kind() == first);
        Some(if is_of_all { first } else { Kind::Partial })
    }
}
