//! The rows of a range that open intervals, gathered in the order in which that becomes known, and
//! given in order of key and start, with their ends.
//!
//! Memory: what [`super`] says of a range.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, MutableArrayData, RecordBatch, UInt32Array, make_array};
use arrow::compute::{BatchCoalescer, concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use chrono::NaiveDate;

use super::refusals::out_of_order;
use crate::domain::days::to_days;
use crate::domain::key_order::{KeyOrder, KeyStep, KeySteps, gallop, one_zero, partition_point};
use crate::domain::merge_compaction::MergeError;
use crate::engine::compaction::interval_columns::{IntervalEnding, with_number};
use crate::engine::compaction::pass::Pass;
use crate::error::{Context, Error, Result};
use crate::parallel::{OrderedPool, Task};
use crate::phases::Phase;
use crate::storage::Batches;
use crate::storage::parquet::object::BATCH_ROWS;
use crate::storage::sorter::Sorter;

/// The rows of a range that open intervals, with the number of each.
///
/// Nearly all of them are in order as they come: those of the intervals that are reused, or
/// else of the first snapshot. They are kept apart as the run, into which the others are woven if
/// they are few.
pub(super) struct RangeOutput {
    run: Vec<RecordBatch>,
    run_rows: usize,
    others: usize,
    sorter: Sorter,
    /// Small pieces, on their way to the sorter.
    small: BatchCoalescer,
    /// The key and the first date.
    order: Vec<String>,
    schema: SchemaRef,
}

/// The others are woven into the run if it has this many times as many rows.
const WOVEN: usize = 8;

impl RangeOutput {
    pub(super) fn new(pass: &Pass<'_>, wide: &SchemaRef) -> Self {
        let schema = with_number(wide);
        let order = pass.order();
        let sorter = Sorter::new(&order, pass.memory.for_sorting_intervals());
        let small = BatchCoalescer::new(schema.clone(), BATCH_ROWS);
        RangeOutput {
            run: Vec::new(),
            run_rows: 0,
            others: 0,
            sorter,
            small,
            order,
            schema,
        }
    }

    /// Rows of intervals that are reused, which are numbered from `first` on.
    pub(super) fn resumed(
        &mut self,
        rows: &RecordBatch,
        starts: ArrayRef,
        first: u64,
    ) -> Result<()> {
        let rows = self.numbered(rows, starts, first)?;
        let ascend = Phase::Sort.spend(|| ascend(self.run.last(), &rows, &self.order))?;
        if !ascend {
            return Err(out_of_order(MergeError::Unordered));
        }
        self.run_rows += rows.num_rows();
        self.run.push(rows);
        Ok(())
    }

    /// The rows of a snapshot that opened intervals, which are numbered from `first` on.
    pub(super) fn opened(
        &mut self,
        date: NaiveDate,
        mut first: u64,
        batches: &[RecordBatch],
        opened: Vec<Vec<u32>>,
    ) -> Result<()> {
        // Of a first snapshot all rows.
        let begins = self.run.is_empty() && first == 0;
        for (batch, opened) in batches.iter().zip(opened) {
            let count = opened.len();
            if count == 0 {
                continue;
            }
            let starts: ArrayRef = Arc::new(Date32Array::from(vec![to_days(date); count]));
            let rows = if count == batch.num_rows() {
                self.numbered(batch, starts, first)?
            } else {
                let rows = take_record_batch(batch, &UInt32Array::from(opened))
                    .io_context(|| "cannot write rows to a temporary file".into())?;
                self.numbered(&rows, starts, first)?
            };
            first += count as u64;
            if begins {
                self.run_rows += count;
                self.run.push(rows);
            } else {
                self.others += count;
                self.push(rows)?;
            }
        }
        Ok(())
    }

    /// Rows with their first dates and numbers.
    fn numbered(&self, rows: &RecordBatch, starts: ArrayRef, first: u64) -> Result<RecordBatch> {
        let first =
            u32::try_from(first).map_err(|_| Error::refused("there are too many intervals"))?;
        let numbers: ArrayRef = Arc::new(UInt32Array::from_iter_values(
            (first..).take(rows.num_rows()),
        ));
        let mut columns = rows.columns().to_vec();
        columns.extend([starts, numbers]);
        RecordBatch::try_new(self.schema.clone(), columns)
            .io_context(|| "cannot write rows to a temporary file".into())
    }

    fn push(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() >= BATCH_ROWS / 4 {
            return self.sorter.push(rows);
        }
        self.small
            .push_batch(rows)
            .io_context(|| "cannot write rows to a temporary file".into())?;
        while let Some(rows) = self.small.next_completed_batch() {
            self.sorter.push(rows)?;
        }
        Ok(())
    }

    /// The rows in order of key and start, with their ends.
    pub(super) fn finish(mut self, ending: IntervalEnding, threads: usize) -> Result<Batches> {
        let doing = || "cannot write rows to a temporary file".to_owned();
        self.small.finish_buffered_batch().io_context(doing)?;
        while let Some(rows) = self.small.next_completed_batch() {
            self.sorter.push(rows)?;
        }
        if self.others.saturating_mul(WOVEN) > self.run_rows {
            for rows in std::mem::take(&mut self.run) {
                self.sorter.push(rows)?;
            }
            let rows = self.sorter.finish(&self.schema)?;
            return Ok(Box::new(rows.map(move |rows| ending.put(&rows?))));
        }
        let others = self
            .sorter
            .finish(&self.schema)?
            .collect::<Result<Vec<_>>>()?;
        let others = Arc::new(concat_batches(&self.schema, &others).io_context(doing)?);
        let (ending, order, mut next, last) =
            (Arc::new(ending), Arc::new(self.order), 0, self.run.len());
        let mut tasks: Vec<Task<RecordBatch>> = Vec::with_capacity(last);
        for (at, run) in self.run.into_iter().enumerate() {
            let from = next;
            next = if at + 1 == last {
                others.num_rows()
            } else {
                from + count_before_end(&run, &others, from, &order)?
            };
            let others = others.slice(from, next - from);
            let order = order.clone();
            let ending = ending.clone();
            tasks.push(Box::new(move || {
                let woven = Phase::Sort.spend(|| weave(&run, &others, &order))?;
                Phase::Sort.spend(|| ending.put(&woven))
            }));
        }
        Ok(Box::new(OrderedPool::new(threads, threads + 1, tasks)?))
    }
}

/// The columns that rows are ordered by.
fn ordered_by(rows: &RecordBatch, order: &[String]) -> Vec<ArrayRef> {
    order
        .iter()
        .filter_map(|name| rows.column_by_name(name))
        .map(one_zero)
        .collect()
}

/// Whether rows are in order, and come after those before them.
fn ascend(before: Option<&RecordBatch>, rows: &RecordBatch, order: &[String]) -> Result<bool> {
    let columns = ordered_by(rows, order);
    let before = before.map(|before| ordered_by(before, order));
    let steps = KeySteps::new(before.as_deref(), &columns)?;
    Ok((0..rows.num_rows()).all(|row| steps.to(row) == KeyStep::Ascends))
}

/// How many of the others, from a row on, come before the last row of a run.
fn count_before_end(
    run: &RecordBatch,
    others: &RecordBatch,
    from: usize,
    order: &[String],
) -> Result<usize> {
    let Some(last) = run.num_rows().checked_sub(1) else {
        return Ok(0);
    };
    let key_order = KeyOrder::of(&ordered_by(others, order), &ordered_by(run, order))?;
    Ok(partition_point(others.num_rows() - from, |row| {
        key_order.compare(from + row, last) == Ordering::Less
    }))
}

/// A run with others, both in order, in order.
fn weave(run: &RecordBatch, others: &RecordBatch, order: &[String]) -> Result<RecordBatch> {
    if others.num_rows() == 0 {
        return Ok(run.clone());
    }
    let key_order = KeyOrder::of(&ordered_by(run, order), &ordered_by(others, order))?;
    // Rows that stand together: the source, the first of them, and the end.
    let mut pieces: Vec<(usize, usize, usize)> = Vec::with_capacity(2 * others.num_rows() + 1);
    let mut at = 0;
    let mut next = 0;
    while next < others.num_rows() {
        let is_before = |row: usize| key_order.compare(row, next) == Ordering::Less;
        let place = gallop(at, run.num_rows(), is_before);
        if place > at {
            pieces.push((0, at, place));
        }
        let first = next;
        next += 1;
        while next < others.num_rows()
            && (place == run.num_rows() || key_order.compare(place, next) != Ordering::Less)
        {
            next += 1;
        }
        pieces.push((1, first, next));
        at = place;
    }
    pieces.push((0, at, run.num_rows()));
    let rows = run.num_rows() + others.num_rows();
    let column = |at: usize| {
        let sources = [run.column(at).to_data(), others.column(at).to_data()];
        let mut column = MutableArrayData::new(sources.iter().collect(), false, rows);
        pieces
            .iter()
            .try_for_each(|(source, from, to)| column.try_extend(*source, *from, *to))?;
        Ok(make_array(column.freeze()))
    };
    let columns = (0..run.num_columns())
        .map(column)
        .collect::<Result<_, ArrowError>>()
        .io_context(|| "cannot put rows in order".into())?;
    RecordBatch::try_new(run.schema(), columns).io_context(|| "cannot put rows in order".into())
}
