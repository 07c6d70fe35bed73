//! Compaction of snapshots that are sorted by the key: an ordered merge of each with the one
//! before.
//!
//! [`MergeCompaction`] holds the last snapshot's rows, in the order of the key, and the number of
//! the interval that each is part of. The next snapshot is walked beside it. Where both have the
//! same keys, as for nearly all rows, values are compared column by column
//! ([`super::column_differ`]); where keys differ, the lesser one is gone, or is new. Rows are
//! compared by their values: no row is hashed.
//!
//! A snapshot of which it is known what it changed is not walked: [`MergeCompaction::apply`] looks
//! up no other keys than those of its [`Edit`]s. The rows that are held are then no longer those of
//! the last snapshot, only their intervals are. So before a snapshot is walked again,
//! [`MergeCompaction::settle`] is given the rows of the last one.
//!
//! **What is verified.** The walk verifies that keys ascend and that none is a duplicate: a row
//! with the key of the next row of a sorted snapshot is in order, and any other is compared with
//! the row before it.
//!
//! Memory: the compared columns of two snapshots, or, if the caller goes by ranges of keys, of one
//! range of them; 4 bytes a row for its interval's number, and 4 per interval ever opened
//! ([`super::interval_ends`]); the keys that edits added.
//!
//! Invariants: those of [`super::hash_compaction`], which gives the same intervals.

mod lookup;
mod rows;
#[cfg(test)]
mod tests;
mod walk;

use arrow::array::ArrayRef;
use chrono::NaiveDate;

use self::lookup::{EditedKeys, KeyLookup};
use self::rows::{GONE, PresentRows, in_order, steps_of};
pub use self::rows::{MergeError, SortedRows};
use self::walk::SnapshotWalk;
use super::gaps::GapPolicy;
use super::hash_compaction::Changes;
use super::interval_ends::{Ends, Ledger};
use crate::error::{Error, Result};

/// The state of a pass over sorted snapshots; see the module.
pub struct MergeCompaction {
    ledger: Ledger,
    present: Vec<PresentRows>,
    /// What edits did since rows were last taken.
    edited: Option<EditedKeys>,
}

/// What a snapshot did to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The key was absent before.
    Added,
    /// The key is gone.
    Removed,
    /// The row of the key is another one.
    Changed,
    /// The row of the key differs in newly appeared columns only.
    ChangedByNewColumns,
}

impl Edit {
    /// Ends and opens intervals of an edited key: `interval` is that of its row, or [`GONE`]. Says
    /// whether one is opened.
    fn apply(
        self,
        interval: &mut u32,
        ledger: &mut Ledger,
        merged: &mut MergedSnapshot,
    ) -> Result<bool, MergeError> {
        if (*interval == GONE) != (self == Edit::Added) {
            return Err(MergeError::Unfit);
        }
        if self != Edit::Added {
            ledger.close(*interval);
            merged.closed.push(*interval);
        }
        let changes = &mut merged.changes;
        match self {
            Edit::Added => changes.added += 1,
            Edit::Removed => changes.removed += 1,
            Edit::Changed => changes.changed += 1,
            Edit::ChangedByNewColumns => {
                changes.changed += 1;
                changes.by_new_columns += 1;
            }
        }
        if self == Edit::Removed {
            *interval = GONE;
            return Ok(false);
        }
        *interval = ledger.open()?;
        Ok(true)
    }
}

/// What became of a snapshot's rows.
#[derive(Debug, Default)]
pub struct MergedSnapshot {
    /// How many keys came, changed and went.
    pub changes: Changes,
    /// The rows of each piece that open intervals, ascending; intervals are numbered in this order.
    pub opened: Vec<Vec<u32>>,
    /// The intervals that ended with the snapshot before.
    pub closed: Vec<u32>,
}

impl MergeCompaction {
    /// A pass that continues after `observed`, to which [`MergeCompaction::resume`] gives the
    /// intervals.
    pub fn after(policy: GapPolicy, observed: Vec<NaiveDate>) -> Self {
        MergeCompaction {
            ledger: Ledger::after(policy, observed),
            present: Vec::new(),
            edited: None,
        }
    }

    /// Takes over intervals of an earlier pass in order of key and start: for each its end, as in
    /// [`Ledger::resume`], and for those that are open, in `open`, their rows.
    ///
    /// # Errors
    /// A refusal if two open intervals have one key, or keys do not ascend.
    pub fn resume(
        &mut self,
        ends: &[Option<NaiveDate>],
        open: SortedRows,
    ) -> Result<(), MergeError> {
        let mut intervals = Vec::with_capacity(open.len());
        for end in ends {
            let number = self.ledger.resume(*end)?;
            if end.is_none() {
                intervals.push(number);
            }
        }
        let steps = steps_of(self.present.last().map(|present| &present.rows), &open)?;
        (0..open.len()).try_for_each(|row| in_order(&steps, row, 0))?;
        if !open.is_empty() {
            self.present.push(PresentRows {
                rows: open,
                intervals,
            });
        }
        Ok(())
    }

    /// Takes the snapshot of `date`, which is after every earlier one, in pieces that follow one
    /// another.
    ///
    /// `appeared` are the positions, among [`SortedRows::values`], of columns that the snapshot
    /// before did not have.
    ///
    /// # Errors
    /// A key that stands twice, or keys that do not ascend; the pass is then of no further use.
    pub fn take(
        &mut self,
        date: NaiveDate,
        pieces: Vec<SortedRows>,
        appeared: &[usize],
    ) -> Result<MergedSnapshot, MergeError> {
        let closed = if self.ledger.splits_before(date) {
            self.close_all()
        } else {
            Vec::new()
        };
        if self.edited.is_some() {
            return Err(Error::internal("the rows of the last snapshot are not known").into());
        }
        let before = std::mem::take(&mut self.present);
        let mut walk = SnapshotWalk {
            ledger: &mut self.ledger,
            before: &before,
            piece: 0,
            row: 0,
            appeared,
            changes: Changes::default(),
            closed,
        };
        let mut taken = MergedSnapshot::default();
        let mut after: Vec<PresentRows> = Vec::with_capacity(pieces.len());
        for (number, rows) in pieces.into_iter().enumerate() {
            let (intervals, opened) =
                walk.take(number, &rows, after.last().map(|present| &present.rows))?;
            taken.opened.push(opened);
            if !rows.is_empty() {
                after.push(PresentRows { rows, intervals });
            }
        }
        walk.leave_rest();
        (taken.changes, taken.closed) = (walk.changes, walk.closed);
        self.present = after;
        self.ledger.observe(date);
        Ok(taken)
    }

    /// Ends every open interval, and forgets the rows of the last snapshot.
    fn close_all(&mut self) -> Vec<u32> {
        let others = self
            .edited
            .take()
            .into_iter()
            .flat_map(|edited| edited.others.into_values());
        let open: Vec<u32> = std::mem::take(&mut self.present)
            .into_iter()
            .flat_map(|present| present.intervals)
            .chain(others)
            .filter(|interval| *interval != GONE)
            .collect();
        open.iter()
            .for_each(|interval| self.ledger.close(*interval));
        open
    }

    /// Takes the snapshot of `date` without its rows, which are those of the snapshot before; see
    /// [`HashCompaction::unchanged`](super::hash_compaction::HashCompaction::unchanged).
    pub fn unchanged(&mut self, date: NaiveDate) -> bool {
        let extends = self.ledger.extends_to(date);
        if extends {
            self.ledger.observe(date);
        }
        extends
    }

    /// Takes the snapshot of `date` by what it did to the one before: an edit for each of some
    /// keys, which ascend.
    ///
    /// The rows that open intervals are given by their positions among the edits, as if those were
    /// one piece.
    ///
    /// # Errors
    /// Edits that do not fit the snapshot before, and edits after a gap that ends intervals; the
    /// pass is then of no further use.
    pub fn apply(
        &mut self,
        date: NaiveDate,
        keys: &[ArrayRef],
        edits: &[Edit],
    ) -> Result<MergedSnapshot, MergeError> {
        if !self.ledger.extends_to(date) {
            return Err(MergeError::Unfit);
        }
        if self.edited.is_none() {
            self.edited = Some(EditedKeys::of(keys)?);
        }
        let Some(edited) = &mut self.edited else {
            return Err(MergeError::Unfit);
        };
        let encoded = edited.encode(keys)?;
        let places = KeyLookup::new(&self.present, keys).places(edits.len())?;
        let mut merged = MergedSnapshot {
            opened: vec![Vec::new()],
            ..MergedSnapshot::default()
        };
        for (at, (edit, place)) in edits.iter().zip(places).enumerate() {
            let interval = match place {
                Some((piece, row)) => &mut self.present[piece].intervals[row],
                None => edited
                    .others
                    .entry(encoded.row(at).as_ref().into())
                    .or_insert(GONE),
            };
            if edit.apply(interval, &mut self.ledger, &mut merged)? {
                merged.opened[0].push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        self.ledger.observe(date);
        Ok(merged)
    }

    /// Takes the rows of the last snapshot, of which only the edits are known, in pieces that
    /// follow one another.
    ///
    /// # Errors
    /// Rows that are not in order, or have other keys than that snapshot; the pass is then of no
    /// further use.
    pub fn settle(&mut self, pieces: Vec<SortedRows>) -> Result<(), MergeError> {
        let present = self.open_intervals();
        let Some(mut edited) = self.edited.take() else {
            return Err(MergeError::Unfit);
        };
        let before = std::mem::take(&mut self.present);
        let mut after: Vec<PresentRows> = Vec::with_capacity(pieces.len());
        for (number, rows) in pieces
            .into_iter()
            .enumerate()
            .filter(|(_, rows)| !rows.is_empty())
        {
            let steps = steps_of(after.last().map(|present| &present.rows), &rows)?;
            let encoded = edited.encode(&rows.keys)?;
            let places = KeyLookup::new(&before, &rows.keys).places(rows.len())?;
            let mut intervals = Vec::with_capacity(rows.len());
            for (row, place) in places.into_iter().enumerate() {
                in_order(&steps, row, number)?;
                intervals.push(match place {
                    Some((piece, row)) => before[piece].intervals[row],
                    None => edited
                        .others
                        .get(encoded.row(row).as_ref())
                        .copied()
                        .unwrap_or(GONE),
                });
            }
            after.push(PresentRows { rows, intervals });
        }
        self.present = after;
        let all_are_known = self
            .present
            .iter()
            .flat_map(|present| &present.intervals)
            .all(|interval| *interval != GONE);
        if all_are_known && self.open_intervals() == present {
            Ok(())
        } else {
            Err(MergeError::Unfit)
        }
    }

    /// How many intervals there are.
    pub fn intervals(&self) -> u64 {
        self.ledger.intervals()
    }

    /// How many intervals are open: one for each key that is present in the last snapshot.
    pub fn open_intervals(&self) -> u64 {
        let others = self.edited.iter().flat_map(|edited| edited.others.values());
        let intervals = self
            .present
            .iter()
            .flat_map(|present| &present.intervals)
            .chain(others);
        intervals.filter(|interval| **interval != GONE).count() as u64
    }

    /// The ends of all intervals, by number; rows are let go.
    pub fn finish(self) -> Ends {
        self.ledger.finish()
    }
}
