//! Rows and bytes of each observed date.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::changes::DayCounts;
use super::{DaysTable, PrunedVolume};
use crate::commands::status::TableLook;

/// What is known of each observed date, and what pruning has saved.
pub(super) fn days_of(
    look: &TableLook,
    changes: &BTreeMap<NaiveDate, DayCounts>,
) -> (DaysTable, PrunedVolume) {
    let inventory = &look.inventory;
    let intervals = inventory.intervals.as_ref().ok().and_then(Option::as_ref);
    let known = intervals.map(|intervals| &intervals.footer.observed);
    let known: BTreeMap<NaiveDate, _> = known
        .into_iter()
        .flatten()
        .map(|known| (known.date, known))
        .collect();
    let mut days = DaysTable::default();
    let mut pruned = PrunedVolume::default();
    for date in &look.status.observed {
        let objects = inventory.found.partitions.get(date);
        let footer = look.footers.get(date);
        let known = known.get(date);
        let change = changes.get(date);
        let pruned_bytes = match (objects, known) {
            (None, Some(known)) if known.is_proven() => {
                pruned.snapshots += 1;
                pruned.of_unknown_size += u64::from(known.pruned_bytes.is_none());
                known.pruned_bytes
            }
            _ => None,
        };
        pruned.bytes += pruned_bytes.unwrap_or(0);
        days.date.push(*date);
        days.rows.push(
            footer
                .map(|footer| footer.rows)
                .or(known.map(|known| known.rows)),
        );
        days.bytes
            .push(objects.map(|objects| objects.iter().map(|object| object.size).sum()));
        days.pruned_bytes.push(pruned_bytes);
        days.added.push(change.map(|change| change.added));
        days.changed.push(change.map(|change| change.changed));
        days.removed.push(change.map(|change| change.removed));
    }
    if pruned.snapshots == pruned.of_unknown_size {
        days.pruned_bytes.clear();
    }
    (days, pruned)
}
