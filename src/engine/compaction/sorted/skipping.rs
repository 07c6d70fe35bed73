//! Which snapshots need not be decoded: those that equal the one before, and those of which the
//! changes are recorded.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use tracing::debug;

use super::change_replay::DayEdits;
use super::decode::{RangedObject, RowShape};
use crate::domain::digest::Fingerprint;
use crate::engine::changes;
use crate::engine::compaction::pass::Pass;
use crate::error::Result;
use crate::model::DateRange;
use crate::parallel::{OrderedPool, Task};
use crate::storage::lake::partitions::Found;

/// A snapshot of the pass.
pub(super) struct PlannedSnapshot {
    pub(super) date: NaiveDate,
    pub(super) rows: u64,
    pub(super) known: Option<Fingerprint>,
    pub(super) schema: SchemaRef,
    /// Positions, among the compared columns, of those that the snapshot before did not have.
    pub(super) appeared: Vec<usize>,
    /// Whether its rows have to be looked at: those of a part may be others, since the columns are
    /// not those of the snapshot before.
    pub(super) is_looked_at: bool,
    /// What it did to the snapshot before, if that is known.
    pub(super) edits: Option<DayEdits>,
    /// Its rows. Nothing if they are known: by the edits, or because they are those of the snapshot
    /// before. Beside edits: the next snapshot is compared with them.
    pub(super) source: Option<Arc<RangedObject>>,
}

/// The date and content of the snapshot before each, if there is one and intervals go on from it.
fn before_each<'a>(
    pass: &'a Pass<'_>,
    days: &'a [PlannedSnapshot],
) -> impl Iterator<Item = Option<(NaiveDate, Option<Fingerprint>)>> + 'a {
    let base = pass.base.map(|base| {
        (
            base.last(),
            Some(base.observed()[base.kept - 1].fingerprint),
        )
    });
    let befores = std::iter::once(base).chain(days.iter().map(|day| Some((day.date, day.known))));
    befores
        .zip(days)
        .map(|(before, day)| before.filter(|(last, _)| pass.settings.policy.joins(*last, day.date)))
}

/// Whether a snapshot is known to have the rows of the one before.
fn is_same(day: &PlannedSnapshot, before: Option<(NaiveDate, Option<Fingerprint>)>) -> bool {
    day.known.is_some() && !day.is_looked_at && before.is_some_and(|(_, known)| known == day.known)
}

/// Reads what is recorded of changes, as far as it helps and there is room for it.
pub(super) fn find_edits(
    pass: &Pass<'_>,
    shape: &Arc<RowShape>,
    days: &mut [PlannedSnapshot],
) -> Result<()> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return Ok(());
    };
    let limit = pass.memory.for_recorded_changes() as u64;
    // Without them snapshots are decoded, whatever the reason.
    let range = DateRange::new(first.date, last.date)?;
    let mut found = changes::find(pass.table, range)
        .unwrap_or_else(|error| {
            debug!(table = %pass.table.name, %error, "recorded changes are not found");
            Found::default()
        })
        .partitions;
    let waiting = pass.table.footer_threads();
    let limit_each = limit / (2 * waiting as u64);
    let befores: Vec<_> = before_each(pass, days).collect();
    let wanted: Vec<(usize, Task<Option<DayEdits>>)> = days
        .iter()
        .zip(befores)
        .enumerate()
        .filter_map(|(number, (day, before))| {
            let object = found
                .remove(&day.date)
                .filter(|_| !day.is_looked_at)?
                .into_iter()
                .next()?;
            let before = before.filter(|before| !is_same(day, Some(*before)))?.1?;
            let after = day.known?;
            let shape = shape.clone();
            let date = day.date;
            let schema = day.schema.clone();
            let appeared = day.appeared.clone();
            let task: Task<Option<DayEdits>> = Box::new(move || {
                let Some(recorded) =
                    changes::read(&shape.table, &object, before, after, limit_each)
                else {
                    return Ok(None);
                };
                let edits = DayEdits::of(&shape, &recorded, date, &schema, &appeared);
                Ok(edits
                    .inspect_err(|error| {
                        debug!(%date, %error, "recorded changes do not fit; the snapshot is read");
                    })
                    .ok())
            });
            Some((number, task))
        })
        .collect();
    let (numbers, tasks): (Vec<usize>, Vec<_>) = wanted.into_iter().unzip();
    let mut held = 0;
    for (number, edits) in numbers
        .into_iter()
        .zip(OrderedPool::new(waiting, 2 * waiting, tasks)?)
    {
        let Ok(Some(edits)) = edits else { continue };
        held += edits.bytes();
        if held > limit {
            break;
        }
        days[number].edits = Some(edits);
    }
    Ok(())
}

/// Which snapshots are decoded: those that are not known, and those that such a one is compared
/// with.
pub(super) fn which_are_read(pass: &Pass<'_>, days: &[PlannedSnapshot]) -> Vec<bool> {
    let mut is_read = vec![false; days.len()];
    // The last one of which only the edits are known, since rows were decoded.
    let mut unsettled: Option<usize> = None;
    for (number, (day, before)) in days.iter().zip(before_each(pass, days)).enumerate() {
        if is_same(day, before) {
            continue;
        }
        if day.edits.is_some() {
            unsettled = Some(number);
            continue;
        }
        is_read[number] = true;
        // After a gap that ends all intervals nothing is compared.
        if let Some(unsettled) = unsettled.take().filter(|_| before.is_some()) {
            is_read[unsettled] = true;
        }
    }
    is_read
}
