//! How a build side is built.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::cache::BuildWindow;
use super::needs::{BuildSource, Need, Needs};
use crate::engine::join::{JoinTable, of_one_date};
use crate::engine::join_input::intervals::of_intervals;
use crate::engine::join_input::snapshots::versions_of_snapshots;
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;

/// The most dates that one build side serves from intervals, which are read whole for each.
const FROM_INTERVALS: usize = 64;
/// The most dates that one build side serves from snapshots, each of which is read once.
const FROM_SNAPSHOTS: usize = 64;

/// Builds the build sides of one job.
pub(in crate::commands::backfill) struct Builder<'a> {
    needs: Needs<'a>,
    /// What the dates need that are to be run. A date is not here if its need fails already, or is
    /// known only from reading rows.
    planned: BTreeMap<NaiveDate, Need>,
    workers: usize,
    memory: MemoryBudget,
    /// The most bytes of a build side that serves more than one date.
    limit: usize,
}

impl<'a> Builder<'a> {
    /// The builder for a job that runs `dates`.
    pub(super) fn new(
        needs: Needs<'a>,
        dates: impl Iterator<Item = NaiveDate>,
        workers: usize,
        memory: MemoryBudget,
    ) -> Self {
        let planned = dates
            .filter(|date| needs.is_known_by_footers(*date))
            .filter_map(|date| Some((date, needs.of(date).ok()?)))
            .collect();
        Builder {
            needs,
            planned,
            workers,
            memory,
            limit: memory.for_a_build_side(),
        }
    }

    /// The error of a build side, with the command that says which keys it is about.
    fn explain(&self, error: Error, observed: NaiveDate) -> Error {
        let table = &self.needs.history.table;
        // `verify` reads asof's own snapshots whole, `compact` those of another tool.
        let command = if table.own { "verify" } else { "compact" };
        let hint = |hint: String| {
            if hint == "asof verify" {
                format!("asof {command} {}", table.name)
            } else {
                hint
            }
        };
        error
            .with_hints(hint)
            .within(format!("table {}, {observed}", table.name))
    }
}

impl BuildWindow for Builder<'_> {
    type Need = Need;
    type Side = JoinTable;

    fn need(&self, date: NaiveDate) -> Result<Need> {
        match self.planned.get(&date) {
            Some(need) => Ok(need.clone()),
            None => self.needs.of(date),
        }
    }

    fn is_planned(&self, date: NaiveDate) -> bool {
        self.planned.contains_key(&date)
    }

    fn window(&self, date: NaiveDate, need: &Need, most: usize) -> Vec<NaiveDate> {
        let reach = match &need.source {
            BuildSource::Intervals(_) => FROM_INTERVALS,
            BuildSource::Snapshot => FROM_SNAPSHOTS,
            BuildSource::ExternalCopy(_) => 1,
        };
        self.planned
            .range(date..)
            .take(reach.min(most))
            .filter(|(_, other)| other.agrees(need))
            .map(|(date, _)| *date)
            .collect()
    }

    fn build(&self, dates: &BTreeSet<NaiveDate>, need: &Need) -> Result<Option<JoinTable>> {
        let observed: BTreeSet<NaiveDate> = dates
            .iter()
            .filter_map(|date| self.planned.get(date))
            .map(|need| need.observed)
            .chain([need.observed])
            .collect();
        let observed: Vec<NaiveDate> = observed.into_iter().collect();
        let history = self.needs.history;
        // Dates that one snapshot serves cannot do with less.
        let limit = (observed.len() > 1).then_some(self.limit);
        let rows = match &need.source {
            BuildSource::Intervals(intervals) => of_intervals(intervals, &need.columns, &observed)?,
            BuildSource::Snapshot if observed.len() > 1 => {
                let snapshots = history.snapshots_of(&observed)?;
                match versions_of_snapshots(
                    &history.table,
                    &snapshots,
                    &need.columns,
                    self.memory,
                    self.workers,
                    limit,
                )? {
                    Some(versions) => versions,
                    None => return Ok(None),
                }
            }
            BuildSource::Snapshot => of_one_date(
                history
                    .as_of(need.observed, false)?
                    .read(&need.columns.names())?,
            ),
            BuildSource::ExternalCopy(as_of) => of_one_date(as_of.read(&need.columns.names())?),
        };
        JoinTable::build(&need.columns, rows, limit)
            .map_err(|error| self.explain(error, need.observed))
    }
}
