//! How long the rows of a table have been the same.
//!
//! A replica that is dead answers with the same rows every night. What is read: if the rows are
//! those of the snapshot before, one listing and the footers of the snapshots of the days that
//! `max_unchanged` allows, of the last one before them, and of the intervals. Otherwise nothing.

use chrono::NaiveDate;

use super::plan::SnapshotPlan;
use crate::commands::Workspace;
use crate::domain::digest::Fingerprint;
use crate::domain::guard::UnchangedRows;
use crate::engine::as_of::footer_of;
use crate::engine::table::Partitions;
use crate::error::{Error, Result};
use crate::model::DateRange;
use crate::parallel;
use crate::storage::parquet::footer::SnapshotFooter;

/// Since when the rows, whose content is `fingerprint`, have been the same, if that is longer than
/// the guard allows. A damaged snapshot is passed over. Of a date whose snapshot is gone, the
/// intervals tell.
///
/// # Errors
/// A failure to list the snapshots or to read their footers.
pub(super) fn unchanged_rows(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    before: Option<&SnapshotFooter>,
    fingerprint: Fingerprint,
) -> Result<Option<UnchangedRows>> {
    let SnapshotPlan { table, date, .. } = plan;
    let Some(limit) = plan.guards.max_unchanged else {
        return Ok(None);
    };
    if before.is_none_or(|before| before.fingerprint != fingerprint) {
        return Ok(None);
    }
    // The last date that is too long ago.
    let Some(long_ago) = limit.before(*date).pred_opt() else {
        return Ok(None);
    };
    let found = table.find_latest(long_ago)?;
    let Some((first, _)) = found.range(..=long_ago).next_back() else {
        return Ok(None);
    };
    let range = DateRange::new(*first, date.pred_opt().unwrap_or(*first))?;
    let mut snapshots = table.find(Some(range))?.partitions;
    let gone = gone(workspace, plan, range, &snapshots);
    let since = gone.iter().map(|(date, _)| *date).chain([*first]);
    let since = since.filter(|date| *date <= long_ago).max();
    let since = since.unwrap_or(*first);
    snapshots.retain(|date, _| *date >= since);
    let is_other =
        |(date, content): &(NaiveDate, Fingerprint)| *date >= since && *content != fingerprint;
    if gone.iter().any(is_other) {
        return Ok(None);
    }
    let snapshots: Vec<_> = snapshots.into_iter().collect();
    let is_same = |(_, objects): &(_, Vec<_>)| -> Result<bool> {
        let Some(object) = objects.first() else {
            return Ok(true);
        };
        match footer_of(object) {
            Ok(footer) => Ok(footer.is_none_or(|footer| footer.fingerprint == fingerprint)),
            Err(error) if error.is_damage() => Ok(true),
            Err(error) => Err(error),
        }
    };
    let same = parallel::map(table.footer_threads(), &snapshots, is_same);
    let are_all = same
        .into_iter()
        .try_fold(true, |all, one| Ok::<bool, Error>(all && one?))?;
    Ok(are_all.then(|| UnchangedRows {
        since,
        days: (*date - since).num_days(),
    }))
}

/// The dates of a range whose snapshots are gone, with their content, as the intervals tell.
fn gone(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    range: DateRange,
    there: &Partitions,
) -> Vec<(NaiveDate, Fingerprint)> {
    // Damaged intervals are a matter of other commands.
    let Ok(Some(intervals)) = workspace.intervals(&plan.table.name) else {
        return Vec::new();
    };
    let served = intervals.served().into_iter();
    served
        .filter(|date| range.contains(*date) && !there.contains_key(date))
        .filter_map(|date| Some((date, intervals.fingerprint(date)?)))
        .collect()
}
