//! The ledger of a compaction: which snapshots were observed, and with which of them each interval
//! ends.
//!
//! Intervals are numbered in the order of opening, without holes. One is open until it is closed,
//! and is closed once.
//!
//! Memory: 4 bytes an interval. Limits: 2^32 - 1 intervals and snapshots.

use chrono::NaiveDate;

use super::gaps::GapPolicy;
use crate::error::{Error, Result};

/// The end of an interval that reaches the last observed date.
const OPEN: u32 = u32::MAX;

/// Observed dates and ends; see the module.
pub struct Ledger {
    policy: GapPolicy,
    observed: Vec<NaiveDate>,
    ends: Vec<u32>,
}

impl Ledger {
    /// A ledger of what was observed so far; [`Ledger::resume`] gives it the intervals.
    pub fn after(policy: GapPolicy, observed: Vec<NaiveDate>) -> Self {
        Ledger {
            policy,
            observed,
            ends: Vec::new(),
        }
    }

    /// Takes over an interval of an earlier pass: `end` is the date on which it was last observed,
    /// if it has ended.
    ///
    /// # Errors
    /// A refusal of more intervals than there are numbers.
    pub fn resume(&mut self, end: Option<NaiveDate>) -> Result<u32> {
        let number = self.open()?;
        if let Some(end) = end {
            let index = self
                .observed
                .partition_point(|date| *date <= end)
                .saturating_sub(1);
            self.ends[number as usize] = u32::try_from(index).unwrap_or(OPEN);
        }
        Ok(number)
    }

    /// Opens the next interval.
    ///
    /// # Errors
    /// A refusal of more intervals than there are numbers.
    pub fn open(&mut self) -> Result<u32> {
        let number = u32::try_from(self.ends.len())
            .ok()
            .filter(|number| *number != OPEN)
            .ok_or_else(|| {
                Error::refused(
                    "more than 4,294,967,294 intervals, which is more than one compaction holds",
                )
            })?;
        self.ends.push(OPEN);
        Ok(number)
    }

    /// Ends an interval with the last observed snapshot.
    pub fn close(&mut self, interval: u32) {
        self.ends[interval as usize] = self.today().wrapping_sub(1);
    }

    /// The index that the next snapshot has.
    pub fn today(&self) -> u32 {
        u32::try_from(self.observed.len()).unwrap_or(OPEN)
    }

    /// Whether the gap before `date`, which is after every observed date, ends every interval.
    pub fn splits_before(&self, date: NaiveDate) -> bool {
        let Some(last) = self.observed.last() else {
            return false;
        };
        assert!(*last < date, "snapshots come in order of their dates");
        !self.policy.joins(*last, date)
    }

    /// Whether open intervals go on to `date` if its snapshot equals the last one.
    pub fn extends_to(&self, date: NaiveDate) -> bool {
        !self.observed.is_empty() && !self.splits_before(date)
    }

    /// The snapshot of `date` has been taken.
    pub fn observe(&mut self, date: NaiveDate) {
        self.observed.push(date);
    }

    /// How many intervals there are.
    pub fn intervals(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The ends of all intervals, by number.
    pub fn finish(self) -> Ends {
        Ends {
            policy: self.policy,
            observed: self.observed,
            ends: self.ends,
        }
    }
}

/// Where intervals end, by number.
pub struct Ends {
    policy: GapPolicy,
    observed: Vec<NaiveDate>,
    ends: Vec<u32>,
}

impl Ends {
    /// The inclusive end of an interval, or `None` if it is open.
    pub fn end(&self, interval: u32) -> Option<NaiveDate> {
        self.of_observed(self.last_seen(interval)?)
    }

    /// The index of the snapshot with which an interval ends, or `None` if it is open.
    pub fn last_seen(&self, interval: u32) -> Option<usize> {
        Some(self.ends[interval as usize] as usize).filter(|index| *index + 1 < self.observed.len())
    }

    /// The inclusive end of intervals that end with the snapshot at an index, or `None` if that is
    /// the last one.
    pub fn of_observed(&self, index: usize) -> Option<NaiveDate> {
        let last = self.observed.get(index)?;
        let next = self.observed.get(index + 1)?;
        Some(self.policy.run_end(*last, *next))
    }

    /// How many snapshots there are.
    pub fn observed(&self) -> usize {
        self.observed.len()
    }
}
