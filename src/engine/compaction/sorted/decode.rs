//! Decoding of one range of keys: of a snapshot, or of the intervals that are reused.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, RecordBatch};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::ranges::SortedObject;
use crate::domain::cast::conform;
use crate::domain::days::to_days;
use crate::domain::digest::RowSum;
use crate::domain::interval::Interval;
use crate::domain::merge_compaction::SortedRows;
use crate::engine::intervals::IntervalBatch;
use crate::engine::table::{SnapshotTable, all_digests, convert};
use crate::engine::table_part::TablePart;
use crate::error::{Context, Error, Result};
use crate::phases::Phase;

/// An object with the rows at which ranges begin.
pub(super) struct RangedObject {
    pub(super) sorted: Arc<SortedObject>,
    pub(super) cuts: Vec<u64>,
}

/// What threads need to know to decode a range of a snapshot.
pub(super) struct RowShape {
    pub(super) table: SnapshotTable,
    /// The columns of the result.
    pub(super) wide: SchemaRef,
    /// The part of the table that is wanted; all of it if nothing.
    pub(super) part: Option<TablePart>,
    /// The positions in `wide` of the compared columns beside the key.
    pub(super) compared: Vec<usize>,
}

/// The rows of one range: of the intervals that are reused, or of a snapshot.
pub(super) enum DecodedRange {
    Intervals(Vec<DecodedIntervals>),
    Snapshot(DecodedSnapshot),
}

/// Intervals that are reused.
pub(super) struct DecodedIntervals {
    pub(super) rows: RecordBatch,
    pub(super) starts: ArrayRef,
    /// When each ended; nothing for those that are open.
    pub(super) ends: Vec<Option<NaiveDate>>,
    /// The rows of those that are open.
    pub(super) open: SortedRows,
}

/// A range of a snapshot.
#[derive(Default)]
pub(super) struct DecodedSnapshot {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) rows: Vec<SortedRows>,
    pub(super) sum: RowSum,
}

impl RowShape {
    /// Decodes a range of a snapshot.
    pub(super) fn decode(
        &self,
        date: NaiveDate,
        schema: &SchemaRef,
        hashed: bool,
        source: &RangedObject,
        range: usize,
    ) -> Result<DecodedSnapshot> {
        let mut decoded = DecodedSnapshot::default();
        let within = |error: Error| error.within(format!("table {}, {date}", self.table.name));
        let columns = self
            .part
            .as_ref()
            .and_then(|part| part.columns.as_deref())
            .filter(|_| !hashed);
        for batch in source
            .sorted
            .object
            .read_rows(columns, &(source.cuts[range]..source.cuts[range + 1]))?
        {
            let mut own = convert(&batch?, &self.table.name, date, schema)?;
            if hashed {
                decoded.sum.add(&all_digests(&own)?);
            }
            if let Some(part) = &self.part {
                let chosen = Phase::Query.spend(|| (part.rows)(&own));
                own = chosen
                    .map_err(|error| if part.observes { within(error) } else { error })?
                    .0;
            }
            let rows = conform(
                &convert(&own, &self.table.name, date, &self.wide)?,
                &self.wide,
            )
            .map_err(within)?;
            decoded
                .rows
                .push(self.sorted_rows(&rows, self.table.key_columns(&rows, date)?));
            decoded.batches.push(rows);
        }
        Ok(decoded)
    }

    /// The columns of the result, if they are not all columns.
    pub(super) fn kept(&self) -> Option<&[String]> {
        self.part.as_ref().and_then(|part| part.kept.as_deref())
    }

    /// The intervals of a batch that begin before `last` is over, as they were on that date. Values
    /// of those that are open are taken along if rows are to be compared with them.
    pub(super) fn resumed(
        &self,
        batch: IntervalBatch,
        last: NaiveDate,
        with_values: bool,
    ) -> Result<DecodedIntervals> {
        let select = |taken: BooleanArray, rows: &RecordBatch| {
            filter_record_batch(rows, &taken).io_context(|| "cannot select rows".into())
        };
        let is_kept = |interval: &Interval| interval.start <= last;
        let mut rows = batch.rows;
        let mut intervals = batch.intervals;
        // What is not kept may have values that do not fit the types of what is.
        if !intervals.iter().all(is_kept) {
            rows = select(
                intervals
                    .iter()
                    .map(|interval| Some(is_kept(interval)))
                    .collect(),
                &rows,
            )?;
            intervals.retain(is_kept);
        }
        let rows = conform(&rows, &self.wide)?;
        let ends: Vec<Option<NaiveDate>> = intervals
            .iter()
            .map(|interval| interval.end.filter(|_| !interval.holds(last)))
            .collect();
        let is_open: BooleanArray = ends.iter().map(|end| Some(end.is_none())).collect();
        let open = if with_values {
            let open = select(is_open, &rows)?;
            self.sorted_rows(&open, self.table.key_columns(&open, last)?)
        } else {
            let keys = self.table.key_columns(&rows, last)?;
            let keys = keys
                .iter()
                .map(|key| filter(key, &is_open))
                .collect::<Result<_, _>>()
                .io_context(|| "cannot select rows".into())?;
            SortedRows {
                keys,
                values: Vec::new(),
            }
        };
        let starts = Arc::new(Date32Array::from_iter_values(
            intervals.iter().map(|interval| to_days(interval.start)),
        ));
        Ok(DecodedIntervals {
            rows,
            starts,
            ends,
            open,
        })
    }

    fn sorted_rows(&self, rows: &RecordBatch, keys: Vec<ArrayRef>) -> SortedRows {
        SortedRows {
            keys,
            values: self
                .compared
                .iter()
                .map(|at| rows.column(*at).clone())
                .collect(),
        }
    }
}
