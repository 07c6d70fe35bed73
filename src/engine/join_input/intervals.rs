//! The intervals' rows that hold on some dates: which they are, and reading no others.
//!
//! Most rows of a long history hold on no date of a window. Row groups and pages without one that
//! does are not decoded.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::Date32Type;
use chrono::NaiveDate;

use crate::domain::days::to_days;
use crate::domain::interval::{Convention, Interval};
use crate::engine::intervals::Intervals;
use crate::engine::join::{JoinColumns, Timed};
use crate::error::{Context, Result};
use crate::parallel::processors;
use crate::storage::parquet::object::{GroupStatistics, RowCondition};

/// The intervals' rows that hold on one of `dates`, which ascend, and for which the condition
/// holds.
///
/// # Errors
/// A failure or refusal of reading.
pub fn of_intervals(
    intervals: &Intervals,
    columns: &JoinColumns,
    dates: &[NaiveDate],
) -> Result<Timed> {
    let window = DateWindow::of(dates);
    // Most rows of a long history hold on no date of the window; of those of a short one the
    // condition tells.
    let narrow = columns.condition().is_some() || dates.len() * 2 < intervals.footer.observed.len();
    let in_window = || {
        InWindow::new(
            columns.condition(),
            intervals.convention.clone(),
            window.clone(),
        )
    };
    let condition = narrow.then(|| Arc::new(in_window()) as Arc<dyn RowCondition>);
    // The build sides of single dates are built in parallel.
    let threads = if dates.len() > 1 { processors() } else { 1 };
    Ok(Box::new(
        intervals
            .read_where_by(threads, Some(&columns.names()), condition)?
            .map(move |batch| {
                let batch = batch?;
                let end = |interval: &Interval| interval.end.map_or(i32::MAX, to_days);
                let wanted: Vec<bool> = batch
                    .intervals
                    .iter()
                    .map(|interval| window.meets(to_days(interval.start), end(interval)))
                    .collect();
                if wanted.iter().all(|wanted| *wanted) {
                    return Ok((batch.rows, batch.intervals));
                }
                let kept = batch
                    .intervals
                    .iter()
                    .zip(&wanted)
                    .filter(|(_, wanted)| **wanted)
                    .map(|(interval, _)| *interval)
                    .collect();
                let rows = filter_record_batch(&batch.rows, &BooleanArray::from(wanted))
                    .io_context(|| "cannot select rows".into())?;
                Ok((rows, kept))
            }),
    ))
}

/// Some dates, as days since 1970.
#[derive(Clone)]
struct DateWindow {
    first: i32,
    /// For each day from the first date to the last one, the next date from this day on.
    next: Arc<[i32]>,
}

impl DateWindow {
    /// Dates that ascend.
    fn of(dates: &[NaiveDate]) -> Self {
        let first = dates.first().map_or(0, |first| to_days(*first));
        let mut next = Vec::new();
        for date in dates {
            let day = to_days(*date);
            next.resize(usize::try_from(day - first).unwrap_or(0) + 1, day);
        }
        DateWindow {
            first,
            next: next.into(),
        }
    }

    /// Whether one of the dates lies from `start` to `end`.
    fn meets(&self, start: i32, end: i32) -> bool {
        let from = usize::try_from(i64::from(start) - i64::from(self.first)).unwrap_or(0);
        self.next.get(from).is_some_and(|next| *next <= end)
    }
}

/// A condition on the intervals' rows that hold on one of some dates. It is not evaluated on
/// others: their values may be of another type, or of none that it can be computed for. A row that
/// lacks its interval is wanted, so that whoever reads it refuses it.
struct InWindow {
    condition: Option<Arc<dyn RowCondition>>,
    columns: Vec<String>,
    convention: Convention,
    window: DateWindow,
}

impl InWindow {
    fn new(
        condition: Option<Arc<dyn RowCondition>>,
        convention: Convention,
        window: DateWindow,
    ) -> Self {
        let mut columns: Vec<String> = condition
            .iter()
            .flat_map(|condition| condition.columns())
            .cloned()
            .collect();
        columns.extend([
            convention.start_column.clone(),
            convention.end_column.clone(),
        ]);
        InWindow {
            condition,
            columns,
            convention,
            window,
        }
    }

    fn in_window(&self, batch: &RecordBatch) -> BooleanArray {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .and_then(|column| column.as_primitive_opt::<Date32Type>())
        };
        let (Some(starts), Some(ends)) = (
            column(&self.convention.start_column),
            column(&self.convention.end_column),
        ) else {
            return vec![true; batch.num_rows()].into();
        };
        // What stands for an open end is later than every date.
        let last = |written: i32| {
            if self.convention.exclusive {
                written.saturating_sub(1)
            } else {
                written
            }
        };
        let meets = |start: i32, end: i32| self.window.meets(start, last(end));
        if starts.null_count() == 0 && ends.null_count() == 0 {
            return BooleanBuffer::collect_bool(batch.num_rows(), |row| {
                meets(starts.value(row), ends.value(row))
            })
            .into();
        }
        let end = |row: usize| {
            if ends.is_valid(row) {
                ends.value(row)
            } else {
                i32::MAX
            }
        };
        BooleanBuffer::collect_bool(batch.num_rows(), |row| {
            starts.is_null(row) || meets(starts.value(row), end(row))
        })
        .into()
    }
}

impl RowCondition for InWindow {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool> {
        self.condition.as_ref().map_or_else(
            || vec![true; groups.len()],
            |condition| condition.may_hold(groups),
        )
    }

    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let in_window = self.in_window(batch);
        let Some(condition) = &self.condition else {
            return Ok(in_window);
        };
        let rows =
            filter_record_batch(batch, &in_window).io_context(|| "cannot select rows".into())?;
        let mask = condition.holds(&rows)?;
        let mut wanted = mask.iter().map(|wanted| wanted == Some(true));
        Ok(in_window
            .values()
            .iter()
            .map(|in_window| in_window && wanted.next() == Some(true))
            .collect::<Vec<bool>>()
            .into())
    }
}

#[cfg(test)]
mod tests {
    use chrono::Days;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_interval_is_in_a_window_if_it_holds_on_one_of_its_dates(
            days in proptest::collection::btree_set(0u64..60, 0..8),
            start in 0u64..70,
            length in proptest::option::of(0u64..70),
        ) {
            let date = |day: u64| NaiveDate::from_ymd_opt(1969, 12, 1).expect("a date") + Days::new(day);
            let dates: Vec<NaiveDate> = days.into_iter().map(date).collect();
            let interval = Interval { start: date(start), end: length.map(|length| date(start + length)) };
            let meets = DateWindow::of(&dates).meets(to_days(interval.start), interval.end.map_or(i32::MAX, to_days));
            prop_assert_eq!(meets, dates.iter().any(|date| interval.holds(*date)));
        }
    }
}
