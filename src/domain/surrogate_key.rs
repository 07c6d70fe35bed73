//! Surrogate keys: one text for each interval of a key, which stays the same whatever is added later.
//!
//! It is the MD5 of the values of the key columns, in their order, and of the start, with `|`
//! between them, in 32 lower-case hexadecimal digits. Values are written so that any SQL can write
//! them, too:
//!
//! | type | text |
//! | --- | --- |
//! | integers | decimal digits, with `-` |
//! | text | itself, with `\` before each `\` and `\|` |
//! | bool | `true`, `false` |
//! | dates, and the start | `2024-09-13` |
//! | timestamps | `2024-09-13 10:00:00`, then `.` and the fraction without zeros at its end, if there is one; in UTC if they have a time zone |
//! | decimals | decimal digits, without zeros at the end of a fraction |
//!
//! Other types, such as floats, have no text that all warehouses agree on.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, TimeUnit};
use chrono::{DateTime, NaiveDate};
use md5::{Digest, Md5};

use super::cast::display;
use super::days::from_days;
use super::type_names::type_name;
use crate::error::{Context, Error, Result};

/// The values of a key column as texts.
///
/// # Errors
/// A refusal of a type that has no text.
pub fn key_texts(name: &str, column: &ArrayRef) -> Result<Vec<String>> {
    let rows = 0..column.len();
    let failed = || format!("column '{name}'");
    Ok(match column.data_type() {
        integers if integers.is_integer() => rows.map(|row| display(column, row)).collect(),
        DataType::Boolean => rows.map(|row| display(column, row)).collect(),
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            rows.map(|row| escaped(texts.value(row))).collect()
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            let text = |row| Ok(from_days(days.value(row))?.to_string());
            rows.map(text).collect::<Result<_>>()?
        }
        DataType::Decimal128(_, scale) => {
            let numbers = column.as_primitive::<Decimal128Type>();
            rows.map(|row| decimal(numbers.value(row), *scale))
                .collect()
        }
        DataType::Timestamp(unit, _) => {
            let numbers = cast(column, &DataType::Int64).internal_context(failed)?;
            let numbers = numbers.as_primitive::<Int64Type>();
            rows.map(|row| timestamp(numbers.value(row), *unit, name))
                .collect::<Result<_>>()?
        }
        other => {
            let what = format!(
                "column '{name}' of the key is {}, which has no text that all warehouses agree on",
                type_name(other)
            );
            return Err(Error::usage(what).hint("leave out the surrogate key"));
        }
    })
}

/// The surrogate key of a row that begins on a date.
pub fn surrogate_key<'a>(key: impl IntoIterator<Item = &'a str>, start: NaiveDate) -> String {
    let mut text = String::new();
    for value in key {
        text.push_str(value);
        text.push('|');
    }
    text.push_str(&start.to_string());
    hex::encode(Md5::digest(text.as_bytes()))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|")
}

fn decimal(value: i128, scale: i8) -> String {
    let digits = value.unsigned_abs().to_string();
    let sign = if value < 0 { "-" } else { "" };
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        let zeros = if value == 0 { 0 } else { places };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

fn timestamp(value: i64, unit: TimeUnit, name: &str) -> Result<String> {
    let per_second: i64 = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let rest = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let time = DateTime::from_timestamp(value.div_euclid(per_second), 0);
    let time =
        time.ok_or_else(|| Error::refused(format!("column '{name}': {value} has no date")))?;
    let whole = time.format("%Y-%m-%d %H:%M:%S");
    let fraction = format!("{rest:09}");
    Ok(match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        fraction => format!("{whole}.{fraction}"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, StringArray,
        TimestampMicrosecondArray,
    };

    use super::*;

    fn texts(column: impl Array + 'static) -> Vec<String> {
        let column: ArrayRef = Arc::new(column);
        key_texts("k", &column).expect("texts")
    }

    #[test]
    fn values_are_written_as_documented() {
        assert_eq!(texts(Int32Array::from(vec![-7, 0])), ["-7", "0"]);
        assert_eq!(
            texts(BooleanArray::from(vec![true, false])),
            ["true", "false"]
        );
        assert_eq!(
            texts(StringArray::from(vec!["a|b", "c\\"])),
            ["a\\|b", "c\\\\"]
        );
        assert_eq!(texts(Date32Array::from(vec![0])), ["1970-01-01"]);
        let decimals = |scale: i8| {
            let values = Decimal128Array::from(vec![150, -5, 0, 1_000]);
            texts(
                values
                    .with_precision_and_scale(10, scale)
                    .expect("decimals"),
            )
        };
        assert_eq!(decimals(2), ["1.5", "-0.05", "0", "10"]);
        assert_eq!(decimals(0), ["150", "-5", "0", "1000"]);
        assert_eq!(decimals(-1), ["1500", "-50", "0", "10000"]);
        assert_eq!(
            texts(TimestampMicrosecondArray::from(vec![0, -1, 1_500_000])),
            [
                "1970-01-01 00:00:00",
                "1969-12-31 23:59:59.999999",
                "1970-01-01 00:00:01.5"
            ]
        );
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
        assert!(key_texts("k", &floats).is_err());
    }

    #[test]
    fn a_surrogate_key_is_the_md5_of_key_and_start() {
        let start = NaiveDate::from_ymd_opt(2024, 9, 13).expect("a date");
        // md5 -s '42|EU|2024-09-13'
        assert_eq!(
            surrogate_key(["42", "EU"], start),
            hex::encode(Md5::digest(b"42|EU|2024-09-13"))
        );
        assert_eq!(surrogate_key(["42"], start).len(), 32);
    }
}
