//! The two columns beside the table's: while a pass runs, an interval's first date and number; in
//! its result, the interval's start and end.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, UInt32Type};
use chrono::NaiveDate;

use crate::domain::days::to_days;
use crate::domain::interval::Convention;
use crate::domain::interval_ends::Ends;
use crate::error::{Context, Error, Result};

/// The sorter's columns beside the table's: the interval's first date and number.
pub(super) const START: &str = "\u{1}start";
pub(super) const NUMBER: &str = "\u{1}number";

/// The table's columns with the sorter's two.
pub(super) fn with_number(schema: &Schema) -> SchemaRef {
    with_fields(
        schema,
        [
            Field::new(START, DataType::Date32, true),
            Field::new(NUMBER, DataType::UInt32, true),
        ],
    )
}

/// The table's columns with the interval's two.
pub fn with_interval(schema: &Schema, convention: &Convention) -> SchemaRef {
    with_fields(
        schema,
        [&convention.start_column, &convention.end_column]
            .map(|name| Field::new(name, DataType::Date32, true)),
    )
}

fn with_fields(schema: &Schema, more: [Field; 2]) -> SchemaRef {
    Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .cloned()
            .chain(more.map(Arc::new))
            .collect::<Vec<_>>(),
    ))
}

/// Puts the interval's columns in the place of the sorter's.
pub(super) struct IntervalEnding {
    schema: SchemaRef,
    /// Ends, each for the intervals from a number on, ascending.
    ends: Vec<(u32, Ends)>,
    /// How an end is written, by the index of the last snapshot, for each of them; the last is that
    /// of open ones.
    written: Vec<Vec<Option<i32>>>,
}

impl IntervalEnding {
    pub(super) fn new(schema: SchemaRef, convention: &Convention, ends: Vec<(u32, Ends)>) -> Self {
        let write = |end: Option<NaiveDate>| convention.encode(end).map(to_days);
        let of = |ends: &Ends| {
            (0..ends.observed())
                .map(|index| write(ends.of_observed(index)))
                .chain([write(None)])
                .collect()
        };
        let written = ends.iter().map(|(_, ends)| of(ends)).collect();
        IntervalEnding {
            schema,
            ends,
            written,
        }
    }

    pub(super) fn put(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (mut columns, own) = {
            let (table, own) = batch.columns().split_at(batch.num_columns() - 2);
            (table.to_vec(), own)
        };
        let starts = own[0].as_primitive::<Date32Type>();
        let numbers = own[1].as_primitive::<UInt32Type>();
        let mut written = Vec::with_capacity(batch.num_rows());
        for (number, start) in numbers.values().iter().zip(starts.values()) {
            let part = self.ends.partition_point(|(first, _)| first <= number) - 1;
            let (first, ends) = &self.ends[part];
            let last_seen = ends.last_seen(number - first);
            if let Some(end) = last_seen.and_then(|index| ends.of_observed(index))
                && to_days(end) < *start
            {
                return Err(Error::internal(format!(
                    "an interval would end on {end}, before it starts"
                )));
            }
            written.push(self.written[part][last_seen.unwrap_or(ends.observed())]);
        }
        columns.push(own[0].clone());
        columns.push(Arc::new(Date32Array::from(written)) as ArrayRef);
        RecordBatch::try_new(self.schema.clone(), columns)
            .io_context(|| "cannot write intervals".into())
    }
}
