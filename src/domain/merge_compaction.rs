//! Compaction of snapshots that are sorted by the key: an ordered merge of each with the one
//! before.
//!
//! [`Merge`] holds the last snapshot's rows, in the order of the key, and the number of the
//! interval that each is part of. The next snapshot is walked beside it. Where both have the same
//! keys, as for nearly all rows, values are compared column by column ([`super::columns`]); where
//! keys differ, the lesser one is gone, or is new. Rows are compared by their values: no row is
//! hashed.
//!
//! A snapshot of which it is known what it changed is not walked: [`Merge::apply`] looks up no
//! other keys than those of its [`Edit`]s. The rows that are held are then no longer those of the
//! last snapshot, only their intervals are. So before a snapshot is walked again, [`Merge::settle`]
//! is given the rows of the last one.
//!
//! **Checked, not trusted.** That keys ascend, without one standing twice, is seen by the walk
//! itself: a row with the key of the next row of a sorted snapshot is in order, and any other is
//! compared with the row before it.
//!
//! Memory: the compared columns of two snapshots, or, if the caller goes by ranges of keys, of one
//! range of them; 4 bytes a row for its interval's number, and 4 per interval ever opened
//! ([`super::ledger`]); the keys that edits added.
//!
//! Invariants: those of [`super::compact`], which gives the same intervals.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::row::{RowConverter, Rows, SortField};
use chrono::NaiveDate;
use hashbrown::HashMap;

use super::columns::{BLOCK, Differ, differ};
use super::gaps::GapPolicy;
use super::hash_compaction::Changes;
use super::interval_ends::{Ends, Ledger};
use super::key::{KeyOrder, KeyStep, KeySteps, gallop};
use crate::error::{Context, Error, Result};

/// Rows of a snapshot, in the order of the key.
#[derive(Clone)]
pub struct SortedRows {
    /// The key columns, without nulls; at least one.
    pub keys: Vec<ArrayRef>,
    /// The other columns that are compared, the same for every snapshot; an absent one is all null.
    pub values: Vec<ArrayRef>,
}

impl SortedRows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.keys.first().map_or(0, |key| key.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of a snapshot with the interval that the last snapshot's row of the same key is part of, or
/// [`GONE`].
struct Live {
    rows: SortedRows,
    intervals: Vec<u32>,
}

/// What stands for the interval of a key that the last snapshot lacks; no interval has this number.
const GONE: u32 = u32::MAX;

/// The state of a pass over sorted snapshots; see the module.
pub struct Merge {
    ledger: Ledger,
    live: Vec<Live>,
    /// What edits did since rows were last taken.
    edited: Option<Edited>,
}

/// What edits did.
struct Edited {
    /// Encodes keys.
    encoder: RowConverter,
    /// The intervals, or [`GONE`], of the keys that the rows lack.
    others: HashMap<Box<[u8]>, u32>,
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

/// Why a snapshot was not taken.
#[derive(Debug)]
pub enum MergeError {
    /// The row of these pieces has the key of the row before it.
    Duplicate {
        /// The piece.
        piece: usize,
        /// The row in it.
        row: usize,
    },
    /// A row has a key that is less than that of the row before it.
    Unordered,
    /// Edits are none of the last snapshot, or rows not those that it has.
    Unfit,
    /// There are too many intervals, or values that cannot be compared.
    Failed(Error),
}

impl From<Error> for MergeError {
    fn from(error: Error) -> Self {
        MergeError::Failed(error)
    }
}

/// What became of a snapshot's rows.
#[derive(Debug, Default)]
pub struct Taken {
    /// How many keys came, changed and went.
    pub changes: Changes,
    /// The rows of each piece that open intervals, ascending; intervals are numbered in this order.
    pub opened: Vec<Vec<u32>>,
    /// The intervals that ended with the snapshot before.
    pub closed: Vec<u32>,
}

impl Merge {
    /// A pass that continues after `observed`, to which [`Merge::resume`] gives the intervals.
    pub fn after(policy: GapPolicy, observed: Vec<NaiveDate>) -> Self {
        Merge {
            ledger: Ledger::after(policy, observed),
            live: Vec::new(),
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
        let steps = steps_of(self.live.last().map(|live| &live.rows), &open)?;
        (0..open.len()).try_for_each(|row| in_order(&steps, row, 0))?;
        if !open.is_empty() {
            self.live.push(Live {
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
    ) -> Result<Taken, MergeError> {
        let mut closed = Vec::new();
        if self.ledger.splits_before(date) {
            let others = self
                .edited
                .take()
                .into_iter()
                .flat_map(|edited| edited.others.into_values());
            let live = std::mem::take(&mut self.live);
            for interval in live
                .into_iter()
                .flat_map(|live| live.intervals)
                .chain(others)
                .filter(|interval| *interval != GONE)
            {
                self.ledger.close(interval);
                closed.push(interval);
            }
        }
        if self.edited.is_some() {
            return Err(Error::internal("the rows of the last snapshot are not known").into());
        }
        let before = std::mem::take(&mut self.live);
        let mut walk = Walk {
            ledger: &mut self.ledger,
            before: &before,
            piece: 0,
            row: 0,
            appeared,
            changes: Changes::default(),
            closed,
        };
        let mut taken = Taken::default();
        let mut after: Vec<Live> = Vec::with_capacity(pieces.len());
        for (number, rows) in pieces.into_iter().enumerate() {
            let (intervals, opened) =
                walk.take(number, &rows, after.last().map(|live| &live.rows))?;
            taken.opened.push(opened);
            if !rows.is_empty() {
                after.push(Live { rows, intervals });
            }
        }
        walk.leave_rest();
        (taken.changes, taken.closed) = (walk.changes, walk.closed);
        self.live = after;
        self.ledger.observe(date);
        Ok(taken)
    }

    /// Takes the snapshot of `date` without its rows, which are those of the snapshot before; see
    /// [`Compaction::unchanged`](super::hash_compaction::Compaction::unchanged).
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
    ) -> Result<Taken, MergeError> {
        if !self.ledger.extends_to(date) {
            return Err(MergeError::Unfit);
        }
        if self.edited.is_none() {
            self.edited = Some(Edited::of(keys)?);
        }
        let Some(edited) = &mut self.edited else {
            return Err(MergeError::Unfit);
        };
        let encoded = edited.encode(keys)?;
        let places = Search {
            live: &self.live,
            keys,
            piece: 0,
            row: 0,
            order: None,
        }
        .places(edits.len())?;
        let mut opened = Vec::new();
        let mut closed = Vec::new();
        let mut changes = Changes::default();
        for (at, (edit, place)) in edits.iter().zip(places).enumerate() {
            let interval = match place {
                Some((piece, row)) => &mut self.live[piece].intervals[row],
                None => edited
                    .others
                    .entry(encoded.row(at).as_ref().into())
                    .or_insert(GONE),
            };
            if (*interval == GONE) != (*edit == Edit::Added) {
                return Err(MergeError::Unfit);
            }
            if *edit != Edit::Added {
                self.ledger.close(*interval);
                closed.push(*interval);
            }
            *interval = GONE;
            if *edit != Edit::Removed {
                *interval = self.ledger.open()?;
                opened.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
            match edit {
                Edit::Added => changes.added += 1,
                Edit::Removed => changes.removed += 1,
                Edit::Changed => changes.changed += 1,
                Edit::ChangedByNewColumns => {
                    (changes.changed, changes.by_new_columns) =
                        (changes.changed + 1, changes.by_new_columns + 1)
                }
            }
        }
        self.ledger.observe(date);
        Ok(Taken {
            changes,
            opened: vec![opened],
            closed,
        })
    }

    /// Takes the rows of the last snapshot, of which only the edits are known, in pieces that
    /// follow one another.
    ///
    /// # Errors
    /// Rows that are not in order, or have other keys than that snapshot; the pass is then of no
    /// further use.
    pub fn settle(&mut self, pieces: Vec<SortedRows>) -> Result<(), MergeError> {
        let live = self.live();
        let Some(mut edited) = self.edited.take() else {
            return Err(MergeError::Unfit);
        };
        let before = std::mem::take(&mut self.live);
        let mut after: Vec<Live> = Vec::with_capacity(pieces.len());
        for (number, rows) in pieces
            .into_iter()
            .enumerate()
            .filter(|(_, rows)| !rows.is_empty())
        {
            let steps = steps_of(after.last().map(|live| &live.rows), &rows)?;
            let encoded = edited.encode(&rows.keys)?;
            let places = Search {
                live: &before,
                keys: &rows.keys,
                piece: 0,
                row: 0,
                order: None,
            }
            .places(rows.len())?;
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
            after.push(Live { rows, intervals });
        }
        self.live = after;
        let all_are_known = self
            .live
            .iter()
            .flat_map(|live| &live.intervals)
            .all(|interval| *interval != GONE);
        if all_are_known && self.live() == live {
            Ok(())
        } else {
            Err(MergeError::Unfit)
        }
    }

    /// How many intervals there are.
    pub fn intervals(&self) -> u64 {
        self.ledger.intervals()
    }

    /// How many keys are present in the last snapshot.
    pub fn live(&self) -> u64 {
        let others = self.edited.iter().flat_map(|edited| edited.others.values());
        let intervals = self
            .live
            .iter()
            .flat_map(|live| &live.intervals)
            .chain(others);
        intervals.filter(|interval| **interval != GONE).count() as u64
    }

    /// The ends of all intervals, by number; rows are let go.
    pub fn finish(self) -> Ends {
        self.ledger.finish()
    }
}

impl Edited {
    /// Nothing, for keys of the types of these.
    fn of(keys: &[ArrayRef]) -> Result<Self> {
        let fields = keys
            .iter()
            .map(|key| SortField::new(key.data_type().clone()))
            .collect();
        let encoder = RowConverter::new(fields)
            .map_err(|error| Error::refused(format!("keys cannot be compared: {error}")))?;
        Ok(Edited {
            encoder,
            others: HashMap::new(),
        })
    }

    fn encode(&mut self, keys: &[ArrayRef]) -> Result<Rows> {
        self.encoder
            .convert_columns(keys)
            .internal_context(|| "cannot encode keys".into())
    }
}

/// Looks up keys, which ascend.
struct Search<'a> {
    live: &'a [Live],
    keys: &'a [ArrayRef],
    /// Where it stands: no row before this one has a key that is still to come.
    piece: usize,
    row: usize,
    /// Of the piece's keys with those that are looked up.
    order: Option<KeyOrder>,
}

impl Search<'_> {
    /// The piece and row of each of `count` keys, or nothing.
    fn places(mut self, count: usize) -> Result<Vec<Option<(usize, usize)>>> {
        (0..count).map(|key| self.place(key)).collect()
    }

    fn place(&mut self, key: usize) -> Result<Option<(usize, usize)>> {
        while let Some(live) = self.live.get(self.piece) {
            if self.order.is_none() {
                self.order = Some(KeyOrder::of(&live.rows.keys, self.keys)?);
            }
            let Some(order) = &self.order else {
                return Ok(None);
            };
            let rows = live.rows.len();
            let is_less = |row: usize| order.compare(row, key) == Ordering::Less;
            let from = gallop(self.row, rows, is_less);
            if from < rows {
                self.row = from;
                return Ok(
                    (order.compare(from, key) == Ordering::Equal).then_some((self.piece, from))
                );
            }
            (self.piece, self.row, self.order) = (self.piece + 1, 0, None);
        }
        Ok(None)
    }
}

/// The way of one snapshot along the one before.
struct Walk<'a> {
    ledger: &'a mut Ledger,
    before: &'a [Live],
    /// Where it stands in the snapshot before.
    piece: usize,
    row: usize,
    appeared: &'a [usize],
    changes: Changes,
    closed: Vec<u32>,
}

impl Walk<'_> {
    /// Takes one piece; `last` are the rows before it. Gives the interval of each row, and which
    /// rows open theirs.
    fn take(
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
            let pair = Pair::new(&live.rows, rows, self.appeared)?;
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
        live: &Live,
        pair: &Pair<'_>,
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
    fn leave_rest(&mut self) {
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
struct Pair<'a> {
    keys: Vec<Differ<'a>>,
    order: KeyOrder,
    known: Vec<Differ<'a>>,
    appeared: Vec<Differ<'a>>,
}

impl<'a> Pair<'a> {
    fn new(
        one: &'a SortedRows,
        other: &'a SortedRows,
        appeared: &[usize],
    ) -> Result<Self, MergeError> {
        let order = KeyOrder::of(&one.keys, &other.keys)?;
        let mut pair = Pair {
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

/// How the keys of rows follow one another, and those of the rows before.
fn steps_of(before: Option<&SortedRows>, rows: &SortedRows) -> Result<KeySteps, MergeError> {
    Ok(KeySteps::new(
        before.map(|before| before.keys.as_slice()),
        &rows.keys,
    )?)
}

/// Refuses a row of a piece whose key repeats or descends.
fn in_order(steps: &KeySteps, row: usize, piece: usize) -> Result<(), MergeError> {
    match steps.to(row) {
        KeyStep::Ascends => Ok(()),
        KeyStep::Repeats => Err(MergeError::Duplicate { piece, row }),
        KeyStep::Descends => Err(MergeError::Unordered),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use chrono::Days;
    use proptest::prelude::*;

    use super::super::hash_compaction::Compaction;
    use super::*;

    fn day(number: usize) -> NaiveDate {
        NaiveDate::default() + Days::new(number as u64)
    }

    /// Rows (key, value); the key is two columns.
    fn piece(rows: &[(u8, u8)]) -> SortedRows {
        SortedRows {
            keys: vec![
                Arc::new(Int64Array::from_iter_values(
                    rows.iter().map(|(key, _)| i64::from(key / 4)),
                )),
                Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|(key, _)| "x".repeat(usize::from(key % 4))),
                )),
            ],
            values: vec![Arc::new(
                rows.iter()
                    .map(|(_, value)| (*value > 0).then_some(i64::from(*value)))
                    .collect::<Int64Array>(),
            )],
        }
    }

    fn pieces(rows: &[(u8, u8)], size: usize) -> Vec<SortedRows> {
        rows.chunks(size).map(piece).collect()
    }

    /// Every interval as key, value, first day and end.
    type Intervals = Vec<(u8, u8, usize, Option<NaiveDate>)>;

    /// The keys that differ, with the rows of those that are there, and what was done to them.
    fn edits(before: &BTreeMap<u8, u8>, after: &BTreeMap<u8, u8>) -> (Vec<(u8, u8)>, Vec<Edit>) {
        let keys: BTreeSet<u8> = before.keys().chain(after.keys()).copied().collect();
        let edit = |key: u8| match (before.get(&key), after.get(&key)) {
            (None, Some(value)) => Some(((key, *value), Edit::Added)),
            (Some(value), None) => Some(((key, *value), Edit::Removed)),
            (one, other) if one != other => Some(((key, *other?), Edit::Changed)),
            _ => None,
        };
        keys.into_iter().filter_map(edit).unzip()
    }

    /// Takes each snapshot by its rows, or, where `by_edits` says so and no gap comes before, by
    /// what it changed.
    fn merged(
        policy: GapPolicy,
        days: &[(usize, BTreeMap<u8, u8>)],
        size: usize,
        resume_after: usize,
        by_edits: &[bool],
    ) -> (Intervals, Vec<Changes>) {
        let mut pass = Merge::after(policy, Vec::new());
        let mut rows = Vec::new();
        let mut changes = Vec::new();
        for (index, (date, snapshot)) in days.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &days[before]);
            let joins = before.is_some_and(|(before, _)| policy.joins(day(*before), day(*date)));
            let before = before.map(|(_, rows)| rows.clone()).unwrap_or_default();
            let (taken, given, size) = if joins && by_edits[index] {
                let (given, edits) = edits(&before, snapshot);
                (
                    pass.apply(day(*date), &piece(&given).keys, &edits)
                        .expect("edits"),
                    given,
                    usize::MAX,
                )
            } else {
                if joins && pass.edited.is_some() {
                    let known: Vec<(u8, u8)> = before.into_iter().collect();
                    pass.settle(pieces(&known, size)).expect("those rows");
                }
                let given: Vec<(u8, u8)> =
                    snapshot.iter().map(|(key, value)| (*key, *value)).collect();
                (
                    pass.take(day(*date), pieces(&given, size), &[])
                        .expect("sorted"),
                    given,
                    size,
                )
            };
            changes.push(taken.changes);
            for (piece, opened) in taken.opened.iter().enumerate() {
                rows.extend(
                    opened
                        .iter()
                        .map(|row| (given[piece.wrapping_mul(size) + *row as usize], *date)),
                );
            }
            if index + 1 == resume_after {
                // Begin anew from the intervals so far.
                let ends = pass.finish();
                let mut known: Vec<_> = (0u32..)
                    .zip(&rows)
                    .map(|(number, (row, date))| (*row, *date, ends.end(number)))
                    .collect();
                known.sort();
                let observed = days[..=index].iter().map(|(date, _)| day(*date)).collect();
                pass = Merge::after(policy, observed);
                let open: Vec<(u8, u8)> = known
                    .iter()
                    .filter(|(_, _, end)| end.is_none())
                    .map(|(row, ..)| *row)
                    .collect();
                let ends: Vec<Option<NaiveDate>> = known.iter().map(|(_, _, end)| *end).collect();
                rows = known
                    .into_iter()
                    .map(|(row, date, _)| (row, date))
                    .collect();
                pass.resume(&ends, piece(&open)).expect("resumed");
            }
        }
        let ends = pass.finish();
        let mut all: Intervals = (0u32..)
            .zip(rows)
            .map(|(number, ((key, value), date))| (key, value, date, ends.end(number)))
            .collect();
        all.sort();
        (all, changes)
    }

    fn hashed(policy: GapPolicy, days: &[(usize, BTreeMap<u8, u8>)]) -> (Intervals, Vec<Changes>) {
        let mut pass = Compaction::new(policy);
        let mut rows = Vec::new();
        let mut changes = Vec::new();
        for (date, snapshot) in days {
            let (keys, values): (Vec<u128>, Vec<u128>) = snapshot
                .iter()
                .map(|(key, value)| (u128::from(*key), u128::from(*value)))
                .unzip();
            let mut opened = Vec::new();
            pass.begin(day(*date));
            pass.take(&keys, &values, None, &mut opened)
                .expect("no duplicates");
            changes.push(pass.end(day(*date)));
            rows.extend(
                opened
                    .iter()
                    .map(|row| (keys[*row as usize], values[*row as usize], *date)),
            );
        }
        let ends = pass.finish();
        let small = |value: u128| u8::try_from(value).expect("small");
        let mut all: Intervals = (0u32..)
            .zip(rows)
            .map(|(number, (key, value, date))| (small(key), small(value), date, ends.end(number)))
            .collect();
        all.sort();
        (all, changes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn a_merge_gives_the_intervals_that_a_map_gives(
            snapshots in prop::collection::vec((1usize..3, prop::collection::btree_map(0u8..200, 0u8..2, 0..200)), 1..6),
            size in 1usize..90, split in any::<bool>(), resume_after in 0usize..6,
            by_edits in prop::collection::vec(any::<bool>(), 6),
        ) {
            let mut date = 0;
            let days: Vec<(usize, BTreeMap<u8, u8>)> = snapshots.into_iter().map(|(step, rows)| { date += step; (date, rows) }).collect();
            let policy = if split { GapPolicy::Split } else { GapPolicy::CARRY };
            let (expected, changes) = hashed(policy, &days);
            let (merged, merged_changes) = merged(policy, &days, size, resume_after, &by_edits);
            prop_assert_eq!(merged, expected);
            prop_assert_eq!(merged_changes, changes);
        }
    }

    #[test]
    fn keys_that_stand_twice_or_do_not_ascend_are_noticed_wherever_they_are() {
        let sorted: Vec<(u8, u8)> = (0..200).map(|key| (key, 1)).collect();
        for at in [1usize, 63, 64, 65, 130, 199] {
            for first in [false, true] {
                let mut pass = Merge::after(GapPolicy::CARRY, Vec::new());
                if !first {
                    pass.take(day(0), pieces(&sorted, 64), &[]).expect("sorted");
                }
                let mut twice = sorted.clone();
                twice[at].0 = twice[at - 1].0;
                let found = pass
                    .take(day(1), pieces(&twice, 50), &[])
                    .expect_err("twice");
                assert!(
                    matches!(found, MergeError::Duplicate { piece, row } if piece * 50 + row == at),
                    "{at}: {found:?}"
                );

                let mut pass = Merge::after(GapPolicy::CARRY, Vec::new());
                if !first {
                    pass.take(day(0), pieces(&sorted, 64), &[]).expect("sorted");
                }
                let mut swapped = sorted.clone();
                swapped.swap(at - 1, at);
                assert!(
                    matches!(
                        pass.take(day(1), pieces(&swapped, 50), &[]),
                        Err(MergeError::Unordered)
                    ),
                    "{at}"
                );
            }
        }
    }

    #[test]
    fn a_change_in_a_column_that_appeared_is_told_from_others() {
        let rows = |values: Vec<Option<i64>>, new: Vec<Option<i64>>| SortedRows {
            keys: vec![Arc::new(Int64Array::from_iter_values(
                0..values.len() as i64,
            ))],
            values: vec![
                Arc::new(Int64Array::from(values)),
                Arc::new(Int64Array::from(new)),
            ],
        };
        let mut pass = Merge::after(GapPolicy::CARRY, Vec::new());
        pass.take(day(0), vec![rows(vec![Some(1); 4], vec![None; 4])], &[])
            .expect("sorted");
        let second = rows(
            vec![Some(1), Some(2), Some(1), Some(2)],
            vec![None, None, Some(5), Some(5)],
        );
        let taken = pass.take(day(1), vec![second], &[1]).expect("sorted");
        assert_eq!(
            taken.changes,
            Changes {
                changed: 3,
                by_new_columns: 1,
                ..Changes::default()
            }
        );
        assert_eq!(
            (taken.opened, pass.intervals(), pass.live()),
            (vec![vec![1, 2, 3]], 7, 4)
        );
    }

    #[test]
    fn edits_and_rows_that_do_not_fit_are_noticed() {
        let snapshot: Vec<(u8, u8)> = (0..40).map(|key| (2 * key, 1)).collect();
        let pass = || {
            let mut pass = Merge::after(GapPolicy::CARRY, Vec::new());
            pass.take(day(0), pieces(&snapshot, 7), &[])
                .expect("sorted");
            pass
        };
        let apply = |pass: &mut Merge, number: usize, key: u8, edit: Edit| {
            pass.apply(day(number), &piece(&[(key, 2)]).keys, &[edit])
        };
        for (key, edit) in [
            (4, Edit::Added),
            (5, Edit::Removed),
            (5, Edit::Changed),
            (200, Edit::Changed),
        ] {
            assert!(
                matches!(apply(&mut pass(), 1, key, edit), Err(MergeError::Unfit)),
                "{key} {edit:?}"
            );
        }
        let mut gone = pass();
        apply(&mut gone, 1, 4, Edit::Removed).expect("it was there");
        assert_eq!(gone.live(), 39);
        assert!(matches!(
            gone.settle(pieces(&snapshot, 40)),
            Err(MergeError::Unfit)
        ));
        let mut gone = pass();
        apply(&mut gone, 1, 4, Edit::Removed).expect("it was there");
        assert!(matches!(
            gone.take(day(2), pieces(&snapshot, 40), &[]),
            Err(MergeError::Failed(_))
        ));
        let mut first = Merge::after(GapPolicy::CARRY, Vec::new());
        assert!(matches!(
            apply(&mut first, 0, 4, Edit::Added),
            Err(MergeError::Unfit)
        ));
    }

    #[test]
    fn two_open_intervals_of_one_key_are_noticed() {
        let mut pass = Merge::after(GapPolicy::CARRY, vec![day(0)]);
        assert!(matches!(
            pass.resume(&[None, None], piece(&[(1, 1), (1, 2)])),
            Err(MergeError::Duplicate { .. })
        ));
    }
}
