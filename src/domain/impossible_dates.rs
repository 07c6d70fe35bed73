//! Dates and times that no calendar has: `infinity`, as DuckDB and PostgreSQL write it, and others
//! beyond every year.
//!
//! They are numbers that cannot be shown, written to CSV or compared with a date by other programs.
//! So they are refused, by name, when rows of another tool are read.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampSecondType,
};
use chrono::{DateTime, Days, NaiveDate};

use super::cast::display;
use crate::error::{Error, Result, shorten};

/// Refuses rows with a date or time that no calendar has.
///
/// # Errors
/// A refusal that names the column, the row and the value.
pub fn check_calendar(batch: &RecordBatch) -> Result<()> {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if let Some((row, value)) = beyond(column) {
            let name = field.name();
            let others = batch
                .schema_ref()
                .fields()
                .iter()
                .zip(batch.columns())
                .filter(|(other, column)| other != &field && beyond(column).is_none());
            let shown: Vec<String> = others
                .take(3)
                .map(|(field, column)| {
                    format!("{}={}", field.name(), shorten(&display(column, row)))
                })
                .collect();
            let at = if shown.is_empty() {
                String::new()
            } else {
                format!(" in the row {}", shown.join(", "))
            };
            return Err(Error::refused(format!(
                "column '{name}' holds {value}, which is not a date of the calendar,{at}"
            ))
            .hint(format!(
                "write null or 9999-12-31 in its place: CASE WHEN isfinite({name}) THEN {name} END"
            )));
        }
    }
    Ok(())
}

/// The first row with such a value, and the value in words.
fn beyond(column: &ArrayRef) -> Option<(usize, String)> {
    let first = |values: &ArrayRef, row_of: &dyn Fn(usize) -> Option<usize>| {
        let (at, value) = beyond(values)?;
        Some((row_of(at)?, value))
    };
    // The row of a list or map in which an item is.
    let row_in = |offsets: &[i32], at: usize| {
        (0..column.len()).find(|row| {
            column.is_valid(*row)
                && (offsets[*row] as usize..offsets[row + 1] as usize).contains(&at)
        })
    };
    match column.data_type() {
        DataType::Date32 => date_beyond(column),
        DataType::Date64 | DataType::Timestamp(..) => instant_beyond(column),
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            first(lists.values(), &|at| row_in(lists.value_offsets(), at))
        }
        DataType::Struct(_) => {
            let values = column.as_struct();
            values
                .columns()
                .iter()
                .find_map(|column| first(column, &|at| values.is_valid(at).then_some(at)))
        }
        DataType::Map(..) => {
            let maps = column.as_map();
            [maps.keys(), maps.values()]
                .into_iter()
                .find_map(|values| first(values, &|at| row_in(maps.value_offsets(), at)))
        }
        _ => None,
    }
}

fn date_beyond(column: &ArrayRef) -> Option<(usize, String)> {
    let days = |date: NaiveDate| date.signed_duration_since(NaiveDate::default()).num_days();
    // A day less on both sides, for times of day in any zone.
    let bounds = (
        days(NaiveDate::MIN + Days::new(1)),
        days(NaiveDate::MAX - Days::new(1)),
    );
    outside::<Date32Type>(column, bounds, i64::from(i32::MAX), "days")
}

fn instant_beyond(column: &ArrayRef) -> Option<(usize, String)> {
    let least = DateTime::<chrono::Utc>::MIN_UTC.timestamp() + 86_400;
    let greatest = DateTime::<chrono::Utc>::MAX_UTC.timestamp() - 86_400;
    let bounds = |scale: i64| (least.saturating_mul(scale), greatest.saturating_mul(scale));
    let most = i64::MAX;
    match column.data_type() {
        DataType::Date64 => outside::<Date64Type>(column, bounds(1_000), most, "milliseconds"),
        DataType::Timestamp(TimeUnit::Second, _) => {
            outside::<TimestampSecondType>(column, bounds(1), most, "seconds")
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            outside::<TimestampMillisecondType>(column, bounds(1_000), most, "milliseconds")
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            outside::<TimestampMicrosecondType>(column, bounds(1_000_000), most, "microseconds")
        }
        // Every one of those in nanoseconds is a time of a year from 1677 to 2262.
        _ => None,
    }
}

/// The first value that is less than one bound or greater than the other.
fn outside<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    bounds: (i64, i64),
    infinity: i64,
    unit: &str,
) -> Option<(usize, String)>
where
    T::Native: Into<i64>,
{
    let values: &PrimitiveArray<T> = column.as_primitive();
    let is_inside = |value: T::Native| (bounds.0..=bounds.1).contains(&value.into());
    if min(values).is_none_or(is_inside) && max(values).is_none_or(is_inside) {
        return None;
    }
    let row =
        (0..values.len()).find(|row| values.is_valid(*row) && !is_inside(values.value(*row)))?;
    let value: i64 = values.value(row).into();
    Some((
        row,
        match value {
            value if value == infinity => "infinity".to_owned(),
            value if value <= -infinity => "-infinity".to_owned(),
            value => format!("{value} {unit} since 1970-01-01"),
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date32Array, Int64Array, ListArray, StructArray, TimestampMicrosecondArray,
        TimestampNanosecondArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    use super::*;

    fn check(column: ArrayRef) -> Result<()> {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(7..7 + column.len() as i64));
        check_calendar(&RecordBatch::try_from_iter([("id", ids), ("until", column)]).expect("rows"))
    }

    #[test]
    fn every_year_that_can_be_shown_is_taken() {
        let dates = Date32Array::from(vec![
            Some(2_932_896),
            Some(-719_162),
            None,
            Some(95_000_000),
            Some(-95_000_000),
        ]);
        let times = TimestampMicrosecondArray::from(vec![
            253_402_300_799_999_999,
            -62_135_596_800_000_000,
            8_000_000_000_000_000_000,
        ]);
        let nanoseconds = TimestampNanosecondArray::from(vec![i64::MAX, i64::MIN]);
        for column in [
            Arc::new(dates) as ArrayRef,
            Arc::new(times.clone().with_timezone("UTC")),
            Arc::new(times),
            Arc::new(nanoseconds),
        ] {
            assert!(check(column.clone()).is_ok());
            for row in 0..column.len() {
                assert!(
                    !display(&column, row).contains("error"),
                    "{}",
                    display(&column, row)
                );
            }
        }
    }

    #[test]
    fn infinity_is_refused_by_name_wherever_it_is() {
        let dates = |value: i32| -> ArrayRef {
            Arc::new(Date32Array::from(vec![Some(0), None, Some(value)]))
        };
        let times = |value: i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(vec![0, 0, value]))
        };
        let lists = |values: ArrayRef| -> ArrayRef {
            let item = Arc::new(Field::new("item", values.data_type().clone(), true));
            Arc::new(ListArray::new(
                item,
                OffsetBuffer::from_lengths([0, 1, 2]),
                values,
                None,
            ))
        };
        let structs = |values: ArrayRef| -> ArrayRef {
            Arc::new(StructArray::new(
                vec![Field::new("at", values.data_type().clone(), true)].into(),
                vec![values],
                None,
            ))
        };
        for (column, value) in [
            (dates(i32::MAX), "infinity"),
            (dates(-i32::MAX), "-infinity"),
            (dates(i32::MIN), "-infinity"),
            (dates(i32::MAX - 1), "2147483646 days since 1970-01-01"),
            (times(i64::MAX), "infinity"),
            (times(-i64::MAX), "-infinity"),
            (times(i64::MIN), "-infinity"),
            (lists(dates(i32::MAX)), "infinity"),
            (structs(times(i64::MAX)), "infinity"),
            (lists(structs(dates(-i32::MAX))), "-infinity"),
        ] {
            let error = check(column).expect_err(value).to_string();
            assert_eq!(
                error,
                format!(
                    "column 'until' holds {value}, which is not a date of the calendar, in the \
                     row id=9"
                )
            );
        }
    }
}
