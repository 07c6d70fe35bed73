//! A join of events of many dates, each to the table as of its own date: which copies serve the
//! dates, and the one build side that is made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Schema, SchemaRef};
use chrono::NaiveDate;

use crate::commands::Workspace;
use crate::commands::backfill::{BuildSource, Need, Needs};
use crate::domain::days::to_days;
use crate::domain::schema::unify;
use crate::engine::as_of::TableHistory;
use crate::engine::intervals::Intervals;
use crate::engine::join::{JoinColumns, JoinSpec, JoinTable, Timed};
use crate::engine::join_input::intervals::of_intervals;
use crate::engine::join_input::snapshots::{DatedSnapshot, versions_of_snapshots};
use crate::error::{Context, Error, Kind, Result};
use crate::parallel::decoding_threads;
use crate::storage::Batches;

/// A join whose events have known dates.
pub(super) struct DatedJoin {
    pub(super) spec: JoinSpec,
    pub(super) history: TableHistory,
    /// The observed date that serves each date of the events.
    pub(super) served: BTreeMap<NaiveDate, NaiveDate>,
}

impl DatedJoin {
    /// Finds the observed date that serves each date. `leave_out` is a hint to begin at a date.
    ///
    /// # Errors
    /// The refusal of the first date that none serves, with the number of all such dates.
    pub(super) fn new(
        spec: JoinSpec,
        history: TableHistory,
        dates: impl IntoIterator<Item = NaiveDate>,
        leave_out: impl Fn(NaiveDate) -> String,
    ) -> Result<Self> {
        let mut served = BTreeMap::new();
        let mut refused: Vec<(NaiveDate, Error)> = Vec::new();
        for date in dates {
            match history.resolve(date) {
                Ok(observed) => {
                    served.insert(date, observed);
                }
                Err(error) if error.kind() == Kind::Refused => refused.push((date, error)),
                Err(error) => return Err(error),
            }
        }
        let count = refused.len();
        let dates = served.len() + count;
        let last_refused = refused.last().map(|(date, _)| *date);
        let Some((_, error)) = refused.into_iter().next() else {
            return Ok(DatedJoin {
                spec,
                history,
                served,
            });
        };
        // The events may begin before the table does.
        let first = served.keys().next().copied();
        let error = match first.filter(|first| last_refused < Some(*first)) {
            Some(first) => error.hint(leave_out(first)),
            None => error,
        };
        if dates == 1 {
            return Err(error);
        }
        let have = if count == 1 { "has" } else { "have" };
        Err(error.within(format!(
            "{count} of {dates} dates of the events {have} no snapshot"
        )))
    }

    /// The copies that serve the events, ascending.
    pub(super) fn observed(&self) -> Vec<NaiveDate> {
        let observed: BTreeSet<NaiveDate> = self.served.values().copied().collect();
        observed.into_iter().collect()
    }

    /// What each date needs of the table.
    pub(super) fn needs(&self) -> Result<Vec<Need>> {
        let needs = Needs::new(&self.spec, &self.history, true);
        self.served.keys().map(|date| needs.of(*date)).collect()
    }

    /// The columns that the join needs of the table: those that it had on one of the dates, in the
    /// types that hold all of them.
    pub(super) fn columns(&self, needs: &[Need]) -> Result<JoinColumns> {
        let table = &self.history.table;
        let mut all: SchemaRef = Arc::new(Schema::empty());
        for need in needs {
            all = unify(&all, need.schema())
                .map_err(|clash| clash.refusal(table.name.as_str(), need.observed))?
                .0;
        }
        JoinColumns::of(&self.spec, &table.name, &table.key, &all)
    }

    /// The versions of the table's rows on the dates that serve the events: from intervals if they
    /// have all of them, or else from snapshots. Nothing if they are too large to be held.
    fn versions(
        &self,
        workspace: &Workspace<'_>,
        needs: &[Need],
        columns: &Arc<JoinColumns>,
    ) -> Result<Option<Timed>> {
        let observed = self.observed();
        if let Some(intervals) = intervals_of_all(needs) {
            return of_intervals(intervals, columns, &observed).map(Some);
        }
        let table = &self.history.table;
        let snapshots = self.history.snapshots_of(&observed);
        let snapshots: Vec<DatedSnapshot> = snapshots.map_err(|error| match error.kind() {
            // A date that only the intervals know, beside one that they do not.
            Kind::Refused => error.hint(format!(
                "asof compact {}, so that intervals have every date",
                table.name
            )),
            _ => error,
        })?;
        let limit = Some(workspace.memory.for_rows_of_all_dates());
        versions_of_snapshots(
            table,
            &snapshots,
            columns,
            workspace.memory,
            decoding_threads(),
            limit,
        )
    }

    /// The build side of all dates; nothing if it is too large to be held.
    pub(super) fn build(
        &self,
        workspace: &Workspace<'_>,
        needs: &[Need],
        columns: &Arc<JoinColumns>,
    ) -> Result<Option<JoinTable>> {
        let Some(versions) = self.versions(workspace, needs, columns)? else {
            return Ok(None);
        };
        let limit = workspace.memory.for_rows_of_all_dates();
        let name = &self.history.table.name;
        JoinTable::build(columns, versions, Some(limit))
            .map_err(|error| error.within(format!("table {name}")))
    }

    /// The copy that serves each day.
    pub(super) fn served_days(&self) -> ServedDays {
        let first = self.served.keys().next().map_or(0, |date| to_days(*date));
        let mut observed = Vec::new();
        for (date, serving) in &self.served {
            let at = usize::try_from(to_days(*date) - first).unwrap_or_default();
            observed.resize(at, None);
            observed.push(Some(to_days(*serving)));
        }
        ServedDays { first, observed }
    }

    /// Events whose dates, which are their last column, are those of the snapshots that serve them.
    pub(super) fn as_observed(&self, events: Batches, place: String) -> Batches {
        let served = self.served_days();
        Box::new(events.map(move |batch| {
            let batch = batch?;
            let mut columns = batch.columns().to_vec();
            let dates = columns.pop().ok_or_else(|| changed(&place))?;
            let days = dates.as_primitive::<Date32Type>();
            if days.values().iter().any(|day| served.of(*day).is_none()) {
                return Err(changed(&place));
            }
            let observed = days.unary::<_, Date32Type>(|day| served.of(day).unwrap_or(day));
            columns.push(Arc::new(observed));
            RecordBatch::try_new(batch.schema(), columns)
                .io_context(|| "cannot add the dates of rows".into())
        }))
    }
}

/// For each day from the first date of the events to the last one, the day of the copy that serves
/// it.
pub(super) struct ServedDays {
    first: i32,
    observed: Vec<Option<i32>>,
}

impl ServedDays {
    /// The day of the copy that serves a day; nothing for a day without events.
    pub(super) fn of(&self, day: i32) -> Option<i32> {
        let at = usize::try_from(day.checked_sub(self.first)?).ok()?;
        *self.observed.get(at)?
    }
}

/// The intervals, if they serve all dates.
pub(super) fn intervals_of_all(needs: &[Need]) -> Option<&Intervals> {
    let mut first = None;
    for need in needs {
        let BuildSource::Intervals(intervals) = &need.source else {
            return None;
        };
        first.get_or_insert(intervals.as_ref());
    }
    first
}

pub(super) fn changed(place: &str) -> Error {
    Error::io(format!("{place}: the events changed while they were read")).hint("run it again")
}
