//! The walk of a snapshot along the one before, row by row.

use std::cmp::Ordering;

use super::rows::{MergeError, PresentRows, SortedRows, in_order, steps_of};
use crate::domain::column_differ::{BLOCK, Differ, differ};
use crate::domain::hash_compaction::Changes;
use crate::domain::interval_ends::Ledger;
use crate::domain::key_order::KeyOrder;
use crate::error::{Error, Result};

/// The way of one snapshot along the one before.
pub(super) struct SnapshotWalk<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) before: &'a [PresentRows],
    /// Where it stands in the snapshot before.
    pub(super) piece: usize,
    pub(super) row: usize,
    pub(super) appeared: &'a [usize],
    pub(super) changes: Changes,
    pub(super) closed: Vec<u32>,
}

impl SnapshotWalk<'_> {
    /// Takes one piece; `last` are the rows before it. Gives the interval of each row, and which
    /// rows open theirs.
    pub(super) fn take(
        &mut self,
        number: usize,
        rows: &SortedRows,
        last: Option<&SortedRows>,
    ) -> Result<(Vec<u32>, Vec<u32>), MergeError> {
        let steps = steps_of(last, rows)?;
        let mut intervals = Vec::with_capacity(rows.len());
        let mut opened = Vec::new();
        let mut row = 0;
        while row < rows.len() {
            let before = self.before;
            let Some(live) = before.get(self.piece) else {
                for row in row..rows.len() {
                    in_order(&steps, row, number)?;
                    self.add(row, &mut intervals, &mut opened)?;
                }
                break;
            };
            let pair = PiecePair::new(&live.rows, rows, self.appeared)?;
            while row < rows.len() && self.row < live.rows.len() {
                let most = (live.rows.len() - self.row).min(rows.len() - row);
                let run = pair.run_of_equal_keys(self.row, row, most);
                if run > 0 {
                    self.compare(live, &pair, row, run, &mut intervals, &mut opened)?;
                    (self.row, row) = (self.row + run, row + run);
                    continue;
                }
                match pair.order.compare(self.row, row) {
                    Ordering::Less => {
                        self.close(live.intervals[self.row]);
                        self.changes.removed += 1;
                        self.row += 1;
                    }
                    Ordering::Greater => {
                        in_order(&steps, row, number)?;
                        self.add(row, &mut intervals, &mut opened)?;
                        row += 1;
                    }
                    Ordering::Equal => {
                        return Err(Error::internal("keys differ and are in no order").into());
                    }
                }
            }
            if self.row == live.rows.len() {
                (self.piece, self.row) = (self.piece + 1, 0);
            }
        }
        Ok((intervals, opened))
    }

    fn close(&mut self, interval: u32) {
        self.ledger.close(interval);
        self.closed.push(interval);
    }

    /// A key that was not there before.
    fn add(&mut self, row: usize, intervals: &mut Vec<u32>, opened: &mut Vec<u32>) -> Result<()> {
        intervals.push(self.ledger.open()?);
        opened.push(u32::try_from(row).unwrap_or(u32::MAX));
        self.changes.added += 1;
        Ok(())
    }

    /// Compares the values of rows whose keys are the same.
    fn compare(
        &mut self,
        live: &PresentRows,
        pair: &PiecePair<'_>,
        row: usize,
        run: usize,
        intervals: &mut Vec<u32>,
        opened: &mut Vec<u32>,
    ) -> Result<()> {
        let first = intervals.len();
        intervals.extend_from_slice(&live.intervals[self.row..self.row + run]);
        for at in (0..run).step_by(BLOCK) {
            let length = BLOCK.min(run - at);
            let known = pair.known.iter().fold(0, |mask, differ| {
                mask | differ(self.row + at, row + at, length)
            });
            let new = pair.appeared.iter().fold(0, |mask, differ| {
                mask | differ(self.row + at, row + at, length)
            });
            let mut changed = known | new;
            self.changes.changed += u64::from(changed.count_ones());
            self.changes.by_new_columns += u64::from((new & !known).count_ones());
            while changed != 0 {
                let offset = at + changed.trailing_zeros() as usize;
                self.close(intervals[first + offset]);
                intervals[first + offset] = self.ledger.open()?;
                opened.push(u32::try_from(row + offset).unwrap_or(u32::MAX));
                changed &= changed - 1;
            }
        }
        Ok(())
    }

    /// What the snapshot before has after the last row is gone.
    pub(super) fn leave_rest(&mut self) {
        while let Some(live) = self.before.get(self.piece) {
            for interval in &live.intervals[self.row..] {
                self.close(*interval);
                self.changes.removed += 1;
            }
            (self.piece, self.row) = (self.piece + 1, 0);
        }
    }
}

/// Rows of two snapshots, walked together.
struct PiecePair<'a> {
    keys: Vec<Differ<'a>>,
    order: KeyOrder,
    known: Vec<Differ<'a>>,
    appeared: Vec<Differ<'a>>,
}

impl<'a> PiecePair<'a> {
    fn new(
        one: &'a SortedRows,
        other: &'a SortedRows,
        appeared: &[usize],
    ) -> Result<Self, MergeError> {
        let order = KeyOrder::of(&one.keys, &other.keys)?;
        let mut pair = PiecePair {
            keys: Vec::new(),
            order,
            known: Vec::new(),
            appeared: Vec::new(),
        };
        for (one, other) in one.keys.iter().zip(&other.keys) {
            pair.keys.push(differ(one, other)?);
        }
        for (position, (one, other)) in one.values.iter().zip(&other.values).enumerate() {
            let columns = if appeared.contains(&position) {
                &mut pair.appeared
            } else {
                &mut pair.known
            };
            columns.push(differ(one, other)?);
        }
        Ok(pair)
    }

    /// How many rows from `i` and `j` on have the same keys, `most` at most.
    fn run_of_equal_keys(&self, i: usize, j: usize, most: usize) -> usize {
        let mut run = 0;
        while run < most {
            let length = BLOCK.min(most - run);
            let differing = self
                .keys
                .iter()
                .fold(0, |mask, differ| mask | differ(i + run, j + run, length));
            if differing != 0 {
                return run + differing.trailing_zeros() as usize;
            }
            run += length;
        }
        run
    }
}
