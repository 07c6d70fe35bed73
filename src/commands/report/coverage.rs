//! What there is of each date of a table.

use chrono::NaiveDate;

use super::{CoverageRun, CoverageState};
use crate::commands::status::TableLook;
use crate::error::Result;
use crate::model::DateRange;

/// The state of each date from the first observed or refused one to the last, in runs.
pub(super) fn coverage_of(look: &TableLook) -> Result<Vec<CoverageRun>> {
    let status = &look.status;
    let refused = || status.refused.iter().map(|copy| copy.copy.snapshot_date);
    let dates = || status.observed.iter().copied().chain(refused());
    let (Some(first), Some(last)) = (dates().min(), dates().max()) else {
        return Ok(Vec::new());
    };
    let is_refused = |date: NaiveDate| refused().any(|refused| refused == date);
    let mut runs: Vec<CoverageRun> = Vec::new();
    for date in DateRange::new(first, last)?.dates() {
        let state = match state_of(look, date) {
            CoverageState::Gap if is_refused(date) => CoverageState::Refused,
            state => state,
        };
        match runs.last_mut() {
            Some(run) if run.state == state => run.range = DateRange::new(run.range.from(), date)?,
            _ => runs.push(CoverageRun {
                state,
                range: DateRange::single(date),
            }),
        }
    }
    Ok(runs)
}

fn state_of(look: &TableLook, date: NaiveDate) -> CoverageState {
    let status = &look.status;
    let stale = status.stale.as_deref().unwrap_or_default();
    let is_unreadable = || {
        status
            .unreadable
            .iter()
            .any(|object| object.date == Some(date))
    };
    match look.inventory.found.partitions.contains_key(&date) {
        true if is_unreadable() => CoverageState::Unreadable,
        true if look.superseded.contains_key(&date) || stale.contains(&date) => {
            CoverageState::Rewritten
        }
        true => CoverageState::Observed,
        false if status.pruned.binary_search(&date).is_ok() => CoverageState::Derived,
        false => CoverageState::Gap,
    }
}
