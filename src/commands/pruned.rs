//! Snapshots that are gone and that the intervals still have: their dates, and how to have them
//! back.

use chrono::NaiveDate;

use super::Workspace;
use crate::engine::intervals::Intervals;
use crate::engine::table::SnapshotTable;
use crate::error::word;

/// The command that writes snapshots of these dates again. `None` without dates, if the intervals
/// do not have all rows, and for the copies of another tool, among which asof never writes.
pub(super) fn restoring(
    workspace: &Workspace<'_>,
    table: &SnapshotTable,
    intervals: &Intervals,
    dates: &[NaiveDate],
) -> Option<String> {
    let (first, last) = (dates.first()?, dates.last()?);
    (table.own && intervals.is_whole()).then(|| {
        format!(
            "asof expand {} --from {first} --to {last} --out {}",
            word(table.name.as_str()),
            word(&workspace.shown(&table.root))
        )
    })
}

/// The first and the last of some dates: `2024-03-01`, or `2024-03-01 to 2024-03-05`.
pub(crate) fn span(dates: &[NaiveDate]) -> String {
    match dates {
        [] => String::new(),
        [only] => only.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    }
}
