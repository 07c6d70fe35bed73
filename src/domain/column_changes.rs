//! How often each column changed over a table's history, told by its intervals.
//!
//! A key changes a column on a date if it was there on the observed date before, with another value
//! in the column. So a key that comes, goes or returns changes no column, and a gap without copies
//! is no absence. Values differ as rows do: [`super::column_differ`].
//!
//! The rows come in the order of key and start, so a change lies between neighbours: one pass, and
//! of the rows before only the last.

use arrow::array::{ArrayRef, RecordBatch};
use chrono::NaiveDate;

use super::column_differ::{BLOCK, differ};
use super::interval::Interval;
use super::schema::columns_by_name;
use crate::error::{Error, Result};

/// How often a column changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ColumnChangeCount {
    /// How many keys changed it at least once.
    pub keys: u64,
    /// How often it changed, of all keys together.
    pub changes: u64,
    /// The last date on which a key changed it.
    pub last: Option<NaiveDate>,
}

/// Counts the changes of some columns while intervals pass.
pub struct ChangeCounter<'a> {
    key: &'a [String],
    columns: &'a [String],
    /// The observed dates, ascending, up to the last that counts.
    observed: &'a [NaiveDate],
    counts: Vec<ColumnChangeCount>,
    /// The number of the last key, from 1, that changed each column.
    last_keys: Vec<u64>,
    /// How many keys there were so far.
    keys: u64,
    last: Option<(RecordBatch, Interval)>,
}

/// A pair of neighbours: whether the first row of the batch follows the last one of another.
struct Neighbours<'a> {
    before: &'a RecordBatch,
    after: &'a RecordBatch,
    /// The row of `before` that the first row of `after` follows.
    first: (usize, usize),
    rows: usize,
}

impl<'a> ChangeCounter<'a> {
    /// For the named columns of a table; `observed` are the dates that count, ascending.
    pub fn new(key: &'a [String], columns: &'a [String], observed: &'a [NaiveDate]) -> Self {
        ChangeCounter {
            key,
            columns,
            observed,
            counts: vec![ColumnChangeCount::default(); columns.len()],
            last_keys: vec![0; columns.len()],
            keys: 0,
            last: None,
        }
    }

    /// Takes the next rows with their intervals, which begin on dates that count.
    ///
    /// # Errors
    /// A refusal for a type that cannot be compared; an internal failure if a key column is missing.
    pub fn see(&mut self, rows: &RecordBatch, intervals: &[Interval]) -> Result<()> {
        let Some(last) = intervals.last() else {
            return Ok(());
        };
        match self.last.take() {
            None => self.keys = 1,
            Some((before, interval)) => self.compare(
                &Neighbours {
                    before: &before,
                    after: rows,
                    first: (0, 0),
                    rows: 1,
                },
                &[interval, intervals[0]],
            )?,
        }
        self.compare(
            &Neighbours {
                before: rows,
                after: rows,
                first: (0, 1),
                rows: rows.num_rows() - 1,
            },
            intervals,
        )?;
        self.last = Some((rows.slice(rows.num_rows() - 1, 1), *last));
        Ok(())
    }

    /// How many keys there were, and how often each column changed.
    pub fn finish(self) -> (u64, Vec<ColumnChangeCount>) {
        (self.keys, self.counts)
    }

    /// Compares rows with the ones before; the interval of the row before the first comes first.
    fn compare(&mut self, pair: &Neighbours<'_>, intervals: &[Interval]) -> Result<()> {
        let differ_in = |names: &[String]| {
            let (before, after) = (columns_by_name(pair.before), columns_by_name(pair.after));
            let both = names.iter().map(|name| {
                let both = before.get(name.as_str()).zip(after.get(name.as_str()));
                both.map(|(one, other)| ((*one).clone(), (*other).clone()))
            });
            both.collect::<Vec<Option<(ArrayRef, ArrayRef)>>>()
        };
        let keys = differ_in(self.key);
        let keys = keys.iter().map(|key| match key {
            Some((one, other)) => differ(one, other),
            None => Err(Error::internal("a key column of the intervals is missing")),
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let columns = differ_in(self.columns);
        let columns = columns
            .iter()
            .map(|both| both.as_ref().map(|(one, other)| differ(one, other)));
        let columns = columns.map(Option::transpose).collect::<Result<Vec<_>>>()?;
        let mut numbers = [0; BLOCK];
        for begin in (0..pair.rows).step_by(BLOCK) {
            let length = BLOCK.min(pair.rows - begin);
            let at = (pair.first.0 + begin, pair.first.1 + begin);
            let other_key = keys
                .iter()
                .fold(0, |mask, differ| mask | differ(at.0, at.1, length));
            let mut follows = 0u64;
            for (row, number) in numbers.iter_mut().enumerate().take(length) {
                if other_key >> row & 1 == 1 {
                    self.keys += 1;
                } else if self.is_next(&intervals[begin + row], &intervals[begin + row + 1]) {
                    follows |= 1 << row;
                }
                *number = self.keys;
            }
            if follows == 0 {
                continue;
            }
            for (column, differ) in columns.iter().enumerate() {
                let Some(differ) = differ else { continue };
                let mut changed = differ(at.0, at.1, length) & follows;
                while changed != 0 {
                    let row = changed.trailing_zeros() as usize;
                    changed &= changed - 1;
                    self.count(column, numbers[row], intervals[begin + row + 1].start);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, column: usize, key: u64, date: NaiveDate) {
        let count = &mut self.counts[column];
        count.changes += 1;
        count.last = count.last.max(Some(date));
        if std::mem::replace(&mut self.last_keys[column], key) != key {
            count.keys += 1;
        }
    }

    /// Whether an interval begins on the first observed date after the one before has ended.
    fn is_next(&self, before: &Interval, after: &Interval) -> bool {
        let Some(end) = before.end else {
            return false;
        };
        let next = self.observed.partition_point(|date| *date <= end);
        self.observed.get(next) == Some(&after.start)
    }
}
