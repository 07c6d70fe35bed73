//! Planning which snapshots of a table go, and having them deleted.

use chrono::NaiveDate;

use super::applying::DatesDeletion;
use super::proof::{ProvenIntervals, Unproven};
use super::{PruneOutcome, PruneReport, PrunedDate};
use crate::commands::Workspace;
use crate::domain::retention::{KeepReason, KeepRules};
use crate::engine::as_of::footer_of;
use crate::engine::table::SnapshotTable;
use crate::error::Result;
use crate::parallel;
use crate::storage::lake::aside::PRUNED;
use crate::storage::lake::deletion::is_being_pruned;
use crate::storage::lake::location::Object;

/// Deletes the snapshots that no rule keeps and that the intervals give back, or plans to.
///
/// # Errors
/// A refusal if the intervals prove nothing; a conflict if they are replaced meanwhile. What was
/// deleted before stands in the report.
pub(super) fn prune_dates(
    workspace: &Workspace<'_>,
    rules: &KeepRules,
    report: &mut PruneReport,
) -> Result<()> {
    let name = report.table.clone();
    let table = workspace.table_with_any_key(&name, &[])?;
    if !report.dry_run {
        finish_interrupted(workspace, &table)?;
    }
    let snapshots: Vec<(NaiveDate, Object)> = table
        .find(None)?
        .partitions
        .into_iter()
        .filter_map(|(date, objects)| Some((date, objects.into_iter().next()?)))
        .collect();
    let dates: Vec<NaiveDate> = snapshots.iter().map(|(date, _)| *date).collect();
    let kept_by = rules.reasons(&dates);
    report.dates = snapshots
        .iter()
        .zip(kept_by)
        .map(|((date, object), kept_by)| PrunedDate {
            snapshot_date: *date,
            outcome: match kept_by.is_empty() {
                true => PruneOutcome::NotReached,
                false => PruneOutcome::Kept,
            },
            reason: in_words(&kept_by),
            kept_by,
            bytes: object.size,
        })
        .collect();
    if report.dates.iter().all(|date| !date.kept_by.is_empty()) {
        return Ok(());
    }
    let proven = ProvenIntervals::read(workspace, &name)?;
    let doomed = judge(&proven, &table, &snapshots, report);
    if report.dry_run || doomed.is_empty() {
        return Ok(());
    }
    DatesDeletion::new(workspace, &table, proven, doomed)?.run(report)
}

/// The rules that keep a copy; of one that none keeps, that.
fn in_words(kept_by: &[KeepReason]) -> String {
    let names: Vec<&str> = kept_by.iter().map(|reason| reason.name()).collect();
    match names.is_empty() {
        true => "no rule keeps it".to_owned(),
        false => names.join(", "),
    }
}

/// Says of each copy that no rule keeps whether it goes, and returns those that do.
fn judge(
    proven: &ProvenIntervals,
    table: &SnapshotTable,
    snapshots: &[(NaiveDate, Object)],
    report: &mut PruneReport,
) -> Vec<(usize, Object)> {
    let dry_run = report.dry_run;
    let candidates: Vec<usize> = (0..snapshots.len())
        .filter(|at| report.dates[*at].kept_by.is_empty())
        .collect();
    let footers = parallel::map(table.footer_threads(), &candidates, |at| {
        footer_of(&snapshots[*at].1)
    });
    let mut doomed = Vec::new();
    for (at, footer) in candidates.into_iter().zip(footers) {
        let (date, object) = &snapshots[at];
        let planned = &mut report.dates[at];
        match proven.of_snapshot(*date, object, &footer) {
            Ok(observed) => {
                let rows = match observed.rows {
                    1 => "1 row".to_owned(),
                    rows => format!("{rows} rows"),
                };
                planned.outcome = PruneOutcome::to_be_deleted(dry_run);
                planned.reason = format!("no rule keeps it; the intervals give back its {rows}");
                doomed.push((at, object.clone()));
            }
            Err(Unproven::Kept(why)) => {
                planned.outcome = PruneOutcome::Kept;
                planned.reason = why;
            }
            Err(Unproven::Refused(why)) => {
                planned.outcome = PruneOutcome::Refused;
                planned.reason = why;
            }
        }
    }
    doomed
}

/// Frees the names of snapshots that an earlier run had given up in an object store when it was
/// killed. The intervals were proven to give them back.
fn finish_interrupted(workspace: &Workspace<'_>, table: &SnapshotTable) -> Result<()> {
    if table.root.store().is_none() {
        return Ok(());
    }
    let Some(intervals) = workspace.intervals(&table.name)? else {
        return Ok(());
    };
    for (date, objects) in table.find(None)?.partitions {
        let observed = intervals.snapshot(date);
        for object in objects {
            let is_proven = observed.is_some_and(|observed| observed.is_proven());
            if is_proven && is_marker(&object)? {
                object.location.remove()?;
            }
        }
    }
    Ok(())
}

fn is_marker(object: &Object) -> Result<bool> {
    // A look at each object would be a request a date.
    let may_be = object.size == PRUNED.len() as u64;
    Ok(may_be && is_being_pruned(&object.location)?)
}
