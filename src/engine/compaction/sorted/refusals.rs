//! The errors for snapshots and intervals that cannot be merged.

use chrono::NaiveDate;

use crate::domain::merge_compaction::MergeError;
use crate::engine::compaction::pass::Pass;
use crate::error::Error;

/// The error for a snapshot that cannot be taken.
pub(super) fn misfit(pass: &Pass<'_>, date: NaiveDate, error: MergeError) -> Error {
    let within = format!("table {}, {date}", pass.table.name);
    match error {
        MergeError::Failed(error) => error.within(within),
        _ => {
            let error = Error::refused(format!(
                "{within}: what is recorded of its changes does not fit the rows of the snapshots"
            ));
            error.hint(format!("asof verify {}", pass.table.name))
        }
    }
}

/// What is wrong with intervals that cannot be reused.
pub(super) fn out_of_order(error: MergeError) -> Error {
    let wrong = |what: &str| {
        Error::refused(what)
            .hint("asof verify")
            .hint("asof compact --full")
    };
    match error {
        MergeError::Failed(error) => error,
        MergeError::Unfit => wrong("the intervals are not those of the snapshots"),
        MergeError::Duplicate { .. } => wrong("two intervals of one key are open"),
        MergeError::Unordered => wrong("the intervals are not in the order of the key"),
    }
}
