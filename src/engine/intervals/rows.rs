//! Rows of intervals: the table's columns apart from the interval of each row.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Date32Type;
use chrono::NaiveDate;

use crate::domain::days::from_days;
use crate::domain::interval::{Convention, Interval};
use crate::error::{Context, Error, Result};
use crate::storage::Batches;
use crate::storage::parquet::object::{GroupStatistics, RowCondition};

/// A condition on the rows that hold on a date. It is not evaluated on others: their values may be
/// of another type, or of none that it can be computed for.
pub(super) struct OnDate {
    condition: Arc<dyn RowCondition>,
    columns: Vec<String>,
    convention: Convention,
    date: NaiveDate,
}

impl OnDate {
    pub(super) fn new(
        condition: Arc<dyn RowCondition>,
        convention: Convention,
        date: NaiveDate,
    ) -> Self {
        let mut columns = condition.columns().to_vec();
        columns.extend([
            convention.start_column.clone(),
            convention.end_column.clone(),
        ]);
        OnDate {
            condition,
            columns,
            convention,
            date,
        }
    }
}

impl RowCondition for OnDate {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool> {
        self.condition.may_hold(groups)
    }

    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let IntervalBatch { rows, intervals } = split(batch, &self.convention)?;
        let on_date: BooleanArray = intervals
            .iter()
            .map(|interval| Some(interval.holds(self.date)))
            .collect();
        let of_date =
            filter_record_batch(&rows, &on_date).io_context(|| "cannot select rows".into())?;
        let mut wanted = self
            .condition
            .holds(&of_date)?
            .iter()
            .map(|wanted| wanted == Some(true))
            .collect::<Vec<_>>()
            .into_iter();
        Ok(on_date
            .iter()
            .map(|on_date| Some(on_date == Some(true) && wanted.next().unwrap_or(false)))
            .collect())
    }
}

/// Rows of a table and the interval of each.
pub struct IntervalBatch {
    /// The table's columns.
    pub rows: RecordBatch,
    /// One a row.
    pub intervals: Vec<Interval>,
}

/// The date that was decoded last.
#[derive(Default)]
struct LastDate(Option<(i32, NaiveDate)>);

impl LastDate {
    /// As [`from_days`].
    fn date(&mut self, days: i32) -> Result<NaiveDate> {
        match self.0 {
            Some((last, date)) if last == days => Ok(date),
            _ => Ok(self.0.insert((days, from_days(days)?)).1),
        }
    }
}

/// Takes the interval's columns out of all batches; `path` is where errors say they are.
pub(super) fn split_all(
    batches: Batches,
    convention: Convention,
    path: String,
) -> impl Iterator<Item = Result<IntervalBatch>> + Send {
    batches.map(move |batch| {
        split(&batch?, &convention).map_err(|error| error.within(format!("'{path}'")))
    })
}

/// Takes the interval's columns out of rows.
///
/// # Errors
/// A refusal of rows without an interval.
pub(in crate::engine) fn split(
    batch: &RecordBatch,
    convention: &Convention,
) -> Result<IntervalBatch> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| Error::refused(format!("there is no column '{name}'")))
    };
    let starts = column(&convention.start_column)?.as_primitive::<Date32Type>();
    let ends = column(&convention.end_column)?.as_primitive::<Date32Type>();
    let mut intervals = Vec::with_capacity(batch.num_rows());
    // Neighbours often begin, and end, on one date.
    let mut start = LastDate::default();
    let mut end = LastDate::default();
    for row in 0..batch.num_rows() {
        if starts.is_null(row) {
            return Err(Error::refused(format!(
                "an interval has no {}",
                convention.start_column
            )));
        }
        let written = ends
            .is_valid(row)
            .then(|| end.date(ends.value(row)))
            .transpose()?;
        if written.is_none() && !convention.open_null {
            return Err(Error::refused(format!(
                "an interval has no {}",
                convention.end_column
            )));
        }
        intervals.push(Interval {
            start: start.date(starts.value(row))?,
            end: convention.decode(written),
        });
    }
    let keep: Vec<usize> = (0..batch.num_columns())
        .filter(|at| {
            ![&convention.start_column, &convention.end_column]
                .contains(&batch.schema_ref().field(*at).name())
        })
        .collect();
    let rows = batch
        .project(&keep)
        .io_context(|| "cannot select columns".into())?;
    Ok(IntervalBatch { rows, intervals })
}
