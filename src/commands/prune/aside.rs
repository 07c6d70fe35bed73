//! Deleting copies that are not snapshots: those that were replaced, and those that a check
//! refused.
//!
//! No command reads them but `restore`, `show --refused` and `snapshot --publish`. Nothing gives
//! them back, so they go only if that is asked for:
//!
//! - all replaced copies. With `--keep-within`, those stay that were replaced within that span
//!   before the date of the newest snapshot;
//! - refused copies of dates that have a snapshot, in the lake or in the intervals, and damaged ones.
//!   A refused copy of a date without a snapshot is all that there is of the night.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::stays::StaysOfPruned;
use super::{AsideKind, PruneOptions, PruneOutcome, PruneReport, PrunedCopy};
use crate::commands::Workspace;
use crate::commands::snapshot::refused_objects;
use crate::commands::verify::damage_of_refused;
use crate::engine::table::SnapshotTable;
use crate::error::{Result, word};
use crate::storage::lake::aside::aside_below;
use crate::storage::lake::location::{Location, Object};

/// Deletes the copies that the options name, or plans to.
pub(super) fn prune_copies(
    workspace: &Workspace<'_>,
    options: &PruneOptions,
    report: &mut PruneReport,
) -> Result<()> {
    let table = workspace.table_with_any_key(&report.table, &[])?;
    let lake = workspace.lake()?;
    let snapshots = table.find_any(None)?.dates();
    let mut found = Vec::new();
    if options.superseded {
        found.extend(superseded(workspace, options, report, &snapshots)?);
    }
    if options.refused {
        found.extend(refused(workspace, report, &table, &snapshots)?);
    }
    let above = lake.superseded(&table.name).parent();
    let above = above.unwrap_or_else(|| lake.root().clone());
    let is_recorded = |copy: &PrunedCopy| {
        copy.outcome == PruneOutcome::NotReached && copy.kind == AsideKind::Superseded
    };
    let recorded = found.iter().filter(|(_, copy)| is_recorded(copy));
    let dates: Vec<NaiveDate> = recorded.map(|(_, copy)| copy.snapshot_date).collect();
    let stays = StaysOfPruned::of(workspace, &table, &dates)?;
    for (object, mut copy) in found {
        if copy.outcome == PruneOutcome::NotReached {
            let recorded = match copy.kind {
                AsideKind::Superseded => stays.record(&object, copy.snapshot_date),
                AsideKind::Refused => Ok(()),
            };
            let deleted = recorded.and_then(|()| delete(&object, &above));
            copy.outcome = match deleted {
                Ok(()) => PruneOutcome::Pruned,
                Err(_) => PruneOutcome::NotReached,
            };
            report.copies.push(copy);
            deleted?;
        } else {
            report.copies.push(copy);
        }
    }
    Ok(())
}

fn delete(object: &Object, above: &Location) -> Result<()> {
    object.location.remove()?;
    object.location.remove_empty_folders(above);
    Ok(())
}

/// The copies that were replaced.
fn superseded(
    workspace: &Workspace<'_>,
    options: &PruneOptions,
    report: &PruneReport,
    snapshots: &[NaiveDate],
) -> Result<Vec<(Object, PrunedCopy)>> {
    let root = workspace.lake()?.superseded(&report.table);
    let within = options.keep.within.zip(snapshots.last());
    let within = within.map(|(span, newest)| (span, span.before(*newest)));
    let copies = aside_below(&root, None)?.into_iter();
    let copies = copies.map(|copy| {
        let replaced = copy.when.format("replaced %Y-%m-%d %H:%M UTC").to_string();
        let young = within.filter(|(_, before)| copy.when.date_naive() > *before);
        let (outcome, reason) = match young {
            Some((span, _)) => (PruneOutcome::Kept, format!("{replaced}, within {span}")),
            None => (PruneOutcome::to_be_deleted(report.dry_run), replaced),
        };
        let planned = PrunedCopy {
            kind: AsideKind::Superseded,
            snapshot_date: copy.date,
            path: workspace.shown(&copy.object.location),
            outcome,
            reason,
            bytes: copy.object.size,
        };
        (copy.object, planned)
    });
    Ok(copies.collect())
}

/// The copies that a check refused.
fn refused(
    workspace: &Workspace<'_>,
    report: &PruneReport,
    table: &SnapshotTable,
    snapshots: &[NaiveDate],
) -> Result<Vec<(Object, PrunedCopy)>> {
    let mut served: BTreeSet<NaiveDate> = snapshots.iter().copied().collect();
    // Damaged intervals serve no date.
    let intervals = workspace.intervals(&table.name).ok().flatten();
    served.extend(intervals.iter().flat_map(|intervals| intervals.served()));
    let name = word(table.name.as_str());
    let copies = refused_objects(workspace, &table.name, None)?.into_iter();
    let copies = copies.map(|(date, object)| {
        let is_served = served.contains(&date);
        let is_damaged = || damage_of_refused(table, date, &object).is_some();
        let (goes, reason) = match () {
            () if is_served => (true, "refused; the date has a snapshot".to_owned()),
            () if is_damaged() => (true, "refused, and damaged".to_owned()),
            () => (
                false,
                format!(
                    "refused; the date has no other copy: asof snapshot {name} --discard {date} \
                     removes it"
                ),
            ),
        };
        let planned = PrunedCopy {
            kind: AsideKind::Refused,
            snapshot_date: date,
            path: workspace.shown(&object.location),
            outcome: match goes {
                true => PruneOutcome::to_be_deleted(report.dry_run),
                false => PruneOutcome::Kept,
            },
            reason,
            bytes: object.size,
        };
        (object, planned)
    });
    Ok(copies.collect())
}
