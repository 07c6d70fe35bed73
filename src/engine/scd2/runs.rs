//! Versions to intervals: those of a key that follow one another with the same attributes are one
//! run, whose row is that of the first of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;

use crate::domain::days::{from_days, to_days};
use crate::domain::interval::Convention;
use crate::engine::compaction::interval_schema;
use crate::error::{Context, Result};

/// Where the row of a run is.
#[derive(Clone, Copy, Debug)]
enum RunRow {
    /// It was kept from an earlier batch.
    Held,
    /// In the batch at hand.
    At(u32),
}

/// A run of versions.
#[derive(Clone, Copy, Debug)]
struct Run {
    row: RunRow,
    digest: u128,
    start: i32,
    after: Option<i32>,
}

/// Gathers runs of versions, and gives the rows of intervals in the same order.
pub(super) struct Runs<'a> {
    convention: &'a Convention,
    schema: SchemaRef,
    /// Takes rows of intervals.
    out: &'a mut dyn FnMut(RecordBatch) -> Result<()>,
    open: Option<Run>,
    /// The row of the open run, if it is of an earlier batch.
    held: Option<RecordBatch>,
    /// Runs that are finished, in the batch at hand.
    closed: Vec<Run>,
    /// How many intervals there are, and how many of them are open.
    pub(super) intervals: u64,
    pub(super) open_intervals: u64,
}

impl<'a> Runs<'a> {
    pub(super) fn new(
        table: &SchemaRef,
        convention: &'a Convention,
        out: &'a mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Self {
        Runs {
            schema: interval_schema(table, convention),
            convention,
            out,
            open: None,
            held: None,
            closed: Vec::new(),
            intervals: 0,
            open_intervals: 0,
        }
    }

    /// Adds a version that holds on some days, at a row of the batch at hand.
    pub(super) fn add(&mut self, row: u32, digest: u128, (start, after): (i32, Option<i32>)) {
        // The digest covers the key.
        if let Some(open) = &mut self.open
            && open.digest == digest
            && open.after == Some(start)
        {
            open.after = after;
            return;
        }
        self.close();
        self.open = Some(Run {
            row: RunRow::At(row),
            digest,
            start,
            after,
        });
    }

    fn close(&mut self) {
        if let Some(run) = self.open.take() {
            self.intervals += 1;
            self.open_intervals += u64::from(run.after.is_none());
            self.closed.push(run);
        }
    }

    /// Gives the intervals whose rows are in the batch, of which these are the table's columns. The
    /// row of the open run is kept.
    pub(super) fn batch_ends(&mut self, rows: &RecordBatch) -> Result<()> {
        self.give(rows)?;
        if let Some(open) = &mut self.open
            && let RunRow::At(row) = open.row
        {
            let own = take_record_batch(rows, &UInt32Array::from(vec![row]));
            self.held = Some(own.internal_context(|| "cannot keep a row".into())?);
            open.row = RunRow::Held;
        }
        Ok(())
    }

    /// Gives the last interval.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.close();
        let Some(held) = self.held.clone() else {
            return Ok(());
        };
        self.give(&held.slice(0, 0))
    }

    fn give(&mut self, rows: &RecordBatch) -> Result<()> {
        let closed = std::mem::take(&mut self.closed);
        let (held, here): (Vec<Run>, Vec<Run>) = closed
            .into_iter()
            .partition(|run| matches!(run.row, RunRow::Held));
        // The row of a run that is still open stays.
        if !held.is_empty()
            && let Some(row) = self.held.take()
        {
            self.write(&row, &held)?;
        }
        let places = here.iter().filter_map(|run| match run.row {
            RunRow::At(row) => Some(row),
            RunRow::Held => None,
        });
        let places: UInt32Array = places.map(Some).collect();
        if here.is_empty() {
            return Ok(());
        }
        let taken = take_record_batch(rows, &places);
        self.write(
            &taken.internal_context(|| "cannot choose rows".into())?,
            &here,
        )
    }

    fn write(&mut self, rows: &RecordBatch, runs: &[Run]) -> Result<()> {
        let starts: Date32Array = runs.iter().map(|run| Some(run.start)).collect();
        let end = |run: &Run| -> Result<Option<i32>> {
            let last = run.after.map(|after| from_days(after - 1)).transpose()?;
            Ok(self.convention.encode(last).map(to_days))
        };
        let ends = runs.iter().map(end).collect::<Result<Date32Array>>()?;
        let own: [ArrayRef; 2] = [Arc::new(starts), Arc::new(ends)];
        let columns = rows.columns().iter().cloned().chain(own).collect();
        let intervals = RecordBatch::try_new(self.schema.clone(), columns);
        (self.out)(intervals.internal_context(|| "cannot make intervals".into())?)
    }
}
