//! Opening a table with its snapshots and intervals, and which observed date serves a date.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::RowSource;
use super::facts::SnapshotFacts;
use super::known_intervals::{HistorySettings, RunIntervals};
use crate::domain::as_of_rule::{AsOfRule, NoSnapshot, latest};
use crate::domain::digest::Fingerprint;
use crate::engine::intervals::Intervals;
use crate::engine::table::{Partitions, SnapshotTable};
use crate::error::{Error, Result, toml_key, word};

/// A table's snapshots and intervals, from which its rows as of a date come.
pub struct TableHistory {
    /// The table.
    pub table: SnapshotTable,
    /// The lag and tolerance of [`TableHistory::resolve`].
    pub rule: AsOfRule,
    /// The snapshots that may serve the dates that are asked for, and perhaps others.
    pub(super) snapshots: Partitions,
    /// All snapshots of the table, once they were needed.
    every_snapshot: OnceLock<Partitions>,
    /// The intervals that can serve dates, because they are of all rows and columns.
    pub(super) intervals: Option<Arc<Intervals>>,
    /// The intervals of the table, whatever rows and columns they are of.
    pub(super) published: Option<Arc<Intervals>>,
    /// The dates that the snapshots or the intervals can serve, ascending.
    pub(super) observed: Vec<NaiveDate>,
    pub(super) using: RowSource,
    /// The facts by observed date. Whoever works one out holds that date's own lock meanwhile, so
    /// that no two threads read one snapshot for it.
    pub(super) facts: Mutex<BTreeMap<NaiveDate, Arc<Mutex<Option<SnapshotFacts>>>>>,
    /// The fingerprints of the rows of external copies, where they were asked for.
    pub(super) row_fingerprints: Mutex<BTreeMap<NaiveDate, Fingerprint>>,
    pub(super) every_column: Mutex<Option<SchemaRef>>,
    /// How intervals are made, for a job that reads them.
    pub(super) settings: Option<HistorySettings>,
    /// The intervals that were computed for this run.
    pub(super) computed: Mutex<Vec<RunIntervals>>,
    /// The observed dates whose copies cannot be had, each with the refusal.
    unavailable: BTreeMap<NaiveDate, Error>,
}

impl TableHistory {
    /// Puts snapshots and intervals together; `snapshots` hold those of the dates that will be
    /// asked for.
    ///
    /// # Errors
    /// A usage error if `using` asks for intervals that do not exist.
    pub fn new(
        table: SnapshotTable,
        rule: AsOfRule,
        snapshots: Partitions,
        intervals: Option<Intervals>,
        using: RowSource,
    ) -> Result<Self> {
        let published = intervals.map(Arc::new);
        let intervals = published.clone().filter(|intervals| intervals.is_whole());
        if let (RowSource::Intervals, Some(published), None) = (using, &published, &intervals) {
            let selected = published.selection().in_words();
            let what = format!(
                "the intervals of table {} are of {selected}, and cannot serve the table as of \
                 a date",
                table.name
            );
            return Err(Error::usage(what).hint("--using snapshots"));
        }
        if using == RowSource::Intervals && intervals.is_none() {
            return Err(
                Error::usage(format!("table {} has no intervals", table.name))
                    .hint(format!("asof compact {}", table.name)),
            );
        }
        let mut observed: Vec<NaiveDate> = Vec::new();
        if using != RowSource::Intervals {
            observed.extend(snapshots.keys());
        }
        if using != RowSource::Snapshots {
            observed.extend(intervals.iter().flat_map(|intervals| intervals.served()));
        }
        observed.sort();
        observed.dedup();
        Ok(TableHistory {
            table,
            rule,
            snapshots,
            every_snapshot: OnceLock::new(),
            intervals,
            published,
            observed,
            using,
            facts: Mutex::default(),
            row_fingerprints: Mutex::default(),
            every_column: Mutex::default(),
            settings: None,
            computed: Mutex::default(),
            unavailable: BTreeMap::new(),
        })
    }

    /// Puts the copies that were known at a time together: `snapshots` are all of them that exist,
    /// and the intervals serve those that were pruned. A date of `unavailable` had a copy, too, and
    /// whoever asks for it gets the refusal.
    ///
    /// # Errors
    /// None in practice.
    pub fn known(
        table: SnapshotTable,
        rule: AsOfRule,
        snapshots: Partitions,
        intervals: Option<Intervals>,
        unavailable: BTreeMap<NaiveDate, Error>,
    ) -> Result<Self> {
        let all = OnceLock::from(snapshots.clone());
        let mut history = TableHistory::new(table, rule, snapshots, intervals, RowSource::Auto)?;
        history.every_snapshot = all;
        history.observed.extend(unavailable.keys());
        history.observed.sort();
        history.observed.dedup();
        history.unavailable = unavailable;
        Ok(history)
    }

    /// Whether no date can be served.
    pub fn has_no_dates(&self) -> bool {
        self.observed.is_empty()
    }

    /// Refuses an observed date whose copy cannot be had.
    pub(super) fn available(&self, observed: NaiveDate) -> Result<NaiveDate> {
        match self.unavailable.get(&observed) {
            Some(error) => Err(error.duplicate()),
            None => Ok(observed),
        }
    }

    /// Finds the latest snapshots on or before some dates, and puts them together with the
    /// intervals.
    ///
    /// # Errors
    /// A refusal if neither snapshots nor intervals can serve any date.
    pub fn find_latest(
        table: SnapshotTable,
        intervals: Option<Intervals>,
        dates: &[NaiveDate],
    ) -> Result<Self> {
        let mut snapshots = Partitions::new();
        for date in dates {
            snapshots.extend(table.find_latest(*date)?);
        }
        let history = TableHistory::new(
            table,
            AsOfRule::default(),
            snapshots,
            intervals,
            RowSource::Auto,
        )?;
        if history.has_no_dates() {
            let table = &history.table;
            return Err(
                Error::refused(format!("table {} has no snapshots", table.name))
                    .hint(table.filling()),
            );
        }
        Ok(history)
    }

    /// The intervals of the table, if it has some.
    pub fn intervals(&self) -> Option<&Intervals> {
        self.published.as_deref()
    }

    /// All snapshots of the table. Only refusals, and columns that were absent, need those that
    /// serve no date.
    pub(super) fn every_snapshot(&self) -> Result<&Partitions> {
        if let Some(found) = self.every_snapshot.get() {
            return Ok(found);
        }
        let found = if self.using == RowSource::Intervals {
            Partitions::new()
        } else {
            self.table.find(None)?.partitions
        };
        Ok(self.every_snapshot.get_or_init(|| found))
    }

    /// Why no snapshot serves a date, of all that there are.
    fn reason(&self, date: NaiveDate) -> Result<(NoSnapshot, Option<NaiveDate>)> {
        let mut observed = self.observed.clone();
        observed.extend(self.every_snapshot()?.keys());
        observed.sort();
        observed.dedup();
        let reason = self
            .rule
            .resolve(&observed, date)
            .err()
            .unwrap_or(NoSnapshot::Before);
        Ok((reason, observed.first().copied()))
    }

    /// The observed date that serves the events of `date`.
    ///
    /// # Errors
    /// A refusal that names the table, the label that lacks, and the option that would take an
    /// older one.
    pub fn resolve(&self, date: NaiveDate) -> Result<NaiveDate> {
        let name = &self.table.name;
        let label = self.rule.label(date);
        if let Ok(observed) = self.rule.resolve(&self.observed, date) {
            return self.available(observed);
        }
        let (reason, first) = self.reason(date)?;
        Err(match reason {
            NoSnapshot::Before => match first {
                None => Error::refused(format!("table {name} has no snapshots"))
                    .hint(self.table.filling()),
                Some(first) => {
                    let error = Error::refused(format!(
                        "table {name} has no snapshot of {label} or before; its first is {first}"
                    ));
                    error.hint(match self.table.own {
                        true if self.table.has_source_of_dates => self.take_later(label),
                        true => {
                            format!(
                                "asof snapshot {name} --date {label} --backdate --source \
                                 FILE, if that day's data is still available"
                            )
                        }
                        false => self.table.filling(),
                    })
                }
            },
            NoSnapshot::TooOld(found) => {
                let age = (label - found).num_days();
                let days = if age == 1 { "day" } else { "days" };
                let error = Error::refused(format!(
                    "table {name} has no snapshot of {label}; the latest before it is {found}, \
                     {age} {days} older"
                ));
                let error = match self.table.has_source_of_dates {
                    true => error.hint(self.take_later(label)),
                    false => error,
                };
                error.hint(format!(
                    "--tolerance {age}d, or [tables.{}] tolerance = \"{age}d\", takes the \
                     older one",
                    toml_key(name.as_str())
                ))
            }
        })
    }

    /// How to take the missing snapshot of a source that has a state for each date.
    fn take_later(&self, label: NaiveDate) -> String {
        let name = word(self.table.name.as_str());
        format!(
            "asof snapshot {name} --date {label}, to take it: its source has a state for each date"
        )
    }

    /// The dates of the copies up to the one that serves a date, ascending.
    pub fn until(&self, serving: NaiveDate) -> &[NaiveDate] {
        &self.observed[..self.observed.partition_point(|seen| *seen <= serving)]
    }

    /// The latest observed date on or before `date`.
    pub fn latest_until(&self, date: NaiveDate) -> Option<NaiveDate> {
        latest(&self.observed, date)
    }

    /// The observed date whose state holds on `date`: the latest on or before it, however old.
    /// `again` is the command with another date, for a hint.
    ///
    /// # Errors
    /// A refusal that names the first observed date if that is later.
    pub fn resolve_latest(
        &self,
        date: NaiveDate,
        again: impl FnOnce(NaiveDate) -> String,
    ) -> Result<NaiveDate> {
        let found = self.latest_until(date);
        let found = found.ok_or_else(|| match self.observed.first() {
            Some(first) => Error::refused(format!(
                "table {}: {date} is before the first snapshot ({first})",
                self.table.name
            ))
            .hint(again(*first)),
            None => self.table.refuse(date, "there is no snapshot"),
        })?;
        self.available(found)
    }

    /// The columns that the intervals do not compare, in words, if there are such: their values are
    /// those of each interval's first day.
    pub fn not_compared(&self) -> Option<String> {
        self.intervals
            .as_ref()?
            .comparison()
            .not_compared_in_words()
    }
}
