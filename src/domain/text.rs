//! Text as typed values: exactly the value that is written, or none.
//!
//! Every value that comes as text, from CSV, from a JSON string or number, from a text column that
//! is now declared to be of another type, or as a key on the command line, is read here.
//!
//! | type | text that is read | text that is not |
//! | --- | --- | --- |
//! | integers | `0`, `-12` | `007`, `+1`, `-0`, `12E3`, `1.0`, what is out of range |
//! | floats | `450`, `0.10`, `.5`, `1e-3`, `NaN`, `-inf` | `007`, `1.`, digits that the float would round, overflow |
//! | decimals | `1.20`, `.5`, `1E-3` | `01.20`, more digits than the type has |
//! | `bool` | `true`, `FALSE` | `t`, `1` |
//! | `date` | `2024-01-31`, a timestamp without zone at midnight | any other time of day |
//! | `time` | `10:00`, `10:00:00.123456789` | `24:00:00`, digits finer than the type's unit |
//! | timestamps | a date; `2024-01-31 10:00:00.5`, also with `T` | digits finer than the unit; a zone in a zoneless type, and the reverse |
//! | timestamps in UTC | `2024-01-31T10:00:00Z`, `+02:00`, ` UTC`, ` Europe/Paris` | a local time that the zone skips or repeats |
//! | `binary` | hexadecimal digits, as asof prints it | anything else |
//! | lists, structs, maps | JSON of that type ([`json`]) | anything else |
//!
//! A float is read where it keeps every digit that is written: as many digits of the float, rounded
//! as decimals, are the same digits. So what a program wrote for a float reads back, whether it
//! wrote the shortest form or 17 digits, and a number with more digits than the float holds does
//! not.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanArray, PrimitiveArray,
    PrimitiveBuilder, StringArray, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
pub mod json;
mod numbers;
mod times;

pub use self::numbers::{Number, boolean, decimal, float32, float64, integer, is_whole};
use self::times::time_in_milliseconds;
pub use self::times::{Moment, date, time, timestamp};

/// Whether text holds a value of a canonical type.
pub fn fits(text: &str, to: &DataType) -> bool {
    use DataType as T;
    match to {
        T::Utf8 => true,
        T::Boolean => boolean(text).is_some(),
        T::Int8 => integer::<i8>(text).is_some(),
        T::Int16 => integer::<i16>(text).is_some(),
        T::Int32 => integer::<i32>(text).is_some(),
        T::Int64 => integer::<i64>(text).is_some(),
        T::UInt8 => integer::<u8>(text).is_some(),
        T::UInt16 => integer::<u16>(text).is_some(),
        T::UInt32 => integer::<u32>(text).is_some(),
        T::UInt64 => integer::<u64>(text).is_some(),
        T::Float32 => float32(text).is_some(),
        T::Float64 => float64(text).is_some(),
        T::Decimal128(precision, scale) => decimal(text, *precision, *scale).is_some(),
        T::Date32 => date(text).is_some(),
        T::Time32(TimeUnit::Millisecond) => time_in_milliseconds(text).is_some(),
        T::Time64(TimeUnit::Nanosecond) => time(text).is_some(),
        T::Timestamp(unit, zone) => timestamp(text, *unit, zone.is_some()).is_some(),
        T::Binary => hexadecimal(text).is_some(),
        T::List(_) | T::Struct(_) | T::Map(..) => json::parse(text)
            .is_ok_and(|value| json::column(std::iter::once(Some(Cow::Owned(value))), to).is_ok()),
        _ => false,
    }
}

/// Reads a column of text as a canonical type; null stays null.
///
/// # Errors
/// The first row whose text holds no value of the type.
pub fn column(texts: &StringArray, to: &DataType) -> Result<ArrayRef, usize> {
    use DataType as T;
    match to {
        T::Utf8 => Ok(Arc::new(texts.clone())),
        T::Boolean => booleans(texts),
        T::Int8 => primitives::<Int8Type>(texts, integer),
        T::Int16 => primitives::<Int16Type>(texts, integer),
        T::Int32 => primitives::<Int32Type>(texts, integer),
        T::Int64 => primitives::<Int64Type>(texts, integer),
        T::UInt8 => primitives::<UInt8Type>(texts, integer),
        T::UInt16 => primitives::<UInt16Type>(texts, integer),
        T::UInt32 => primitives::<UInt32Type>(texts, integer),
        T::UInt64 => primitives::<UInt64Type>(texts, integer),
        T::Float32 => primitives::<Float32Type>(texts, float32),
        T::Float64 => primitives::<Float64Type>(texts, float64),
        T::Decimal128(precision, scale) => decimals(texts, *precision, *scale),
        T::Date32 => primitives::<Date32Type>(texts, date),
        T::Time32(TimeUnit::Millisecond) => {
            primitives::<Time32MillisecondType>(texts, time_in_milliseconds)
        }
        T::Time64(TimeUnit::Nanosecond) => primitives::<Time64NanosecondType>(texts, time),
        T::Timestamp(unit, zone) => timestamps(texts, *unit, zone.clone()),
        T::Binary => binaries(texts),
        T::List(_) | T::Struct(_) | T::Map(..) => nested(texts, to),
        _ => match (0..texts.len()).find(|row| texts.is_valid(*row)) {
            None => Ok(new_null_array(to, texts.len())),
            Some(row) => Err(row),
        },
    }
}

/// The values of the rows that are not null, each read by `read`.
fn values<'a, V>(
    texts: &'a StringArray,
    read: impl Fn(&'a str) -> Option<V> + 'a,
) -> impl Iterator<Item = Result<Option<V>, usize>> + 'a {
    texts
        .iter()
        .enumerate()
        .map(move |(row, text)| text.map(|text| read(text).ok_or(row)).transpose())
}

fn primitives<T: ArrowPrimitiveType>(
    texts: &StringArray,
    read: impl Fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef, usize> {
    Ok(Arc::new(primitive_array::<T>(texts, read)?))
}

/// The values in just the memory that they need.
fn primitive_array<T: ArrowPrimitiveType>(
    texts: &StringArray,
    read: impl Fn(&str) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>, usize> {
    let mut array = PrimitiveBuilder::<T>::with_capacity(texts.len());
    for value in values(texts, read) {
        array.append_option(value?);
    }
    Ok(array.finish())
}

fn booleans(texts: &StringArray) -> Result<ArrayRef, usize> {
    Ok(Arc::new(
        values(texts, boolean).collect::<Result<BooleanArray, _>>()?,
    ))
}

fn decimals(texts: &StringArray, precision: u8, scale: i8) -> Result<ArrayRef, usize> {
    primitive_array::<Decimal128Type>(texts, |text| decimal(text, precision, scale))?
        .with_precision_and_scale(precision, scale)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|_| 0)
}

fn timestamps(
    texts: &StringArray,
    unit: TimeUnit,
    zone: Option<Arc<str>>,
) -> Result<ArrayRef, usize> {
    let in_utc = zone.is_some();
    macro_rules! of {
        ($type:ty) => {{
            let array = primitive_array::<$type>(texts, |text| timestamp(text, unit, in_utc))?;
            Ok(Arc::new(array.with_timezone_opt(zone)) as ArrayRef)
        }};
    }
    match unit {
        TimeUnit::Microsecond => of!(TimestampMicrosecondType),
        TimeUnit::Nanosecond => of!(TimestampNanosecondType),
        TimeUnit::Second | TimeUnit::Millisecond => of!(TimestampMillisecondType),
    }
}

fn binaries(texts: &StringArray) -> Result<ArrayRef, usize> {
    let mut builder = BinaryBuilder::with_capacity(texts.len(), texts.values().len() / 2);
    for value in values(texts, hexadecimal) {
        builder.append_option(value?);
    }
    Ok(Arc::new(builder.finish()))
}

fn nested(texts: &StringArray, to: &DataType) -> Result<ArrayRef, usize> {
    let values = values(texts, |text| json::parse(text).ok()).collect::<Result<Vec<_>, _>>()?;
    json::column(
        values.iter().map(|value| value.as_ref().map(Cow::Borrowed)),
        to,
    )
}

/// Bytes from pairs of hexadecimal digits.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            if let [high, low] = pair {
                Some(digit(*high)? << 4 | digit(*low)?)
            } else {
                None
            }
        })
        .collect()
}
#[cfg(test)]
mod tests {
    use arrow::array::Decimal128Array;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::cast::display;
    use crate::domain::type_names::parse_type;

    #[test]
    fn whole_numbers_are_what_programs_write() {
        for text in ["0", "-1", "10", "9223372036854775807"] {
            assert!(is_whole(text), "{text}");
        }
        for text in ["", "-", "007", "+1", "-0", "1.0", "1e5", " 1", "0x1", "१"] {
            assert!(!is_whole(text), "{text}");
        }
        assert_eq!(
            (
                integer::<i8>("-128"),
                integer::<i8>("128"),
                integer::<u64>("-1")
            ),
            (Some(-128), None, None)
        );
    }

    #[test]
    fn a_float_keeps_every_digit_that_is_written() {
        for text in [
            "0.1",
            "0.10000000000000001",
            "0.1000000000000000055511151231257827",
            "1.7976931348623157e308",
            "5e-324",
            "100000000000000000000",
        ] {
            assert!(float64(text).is_some(), "{text}");
        }
        for text in [
            "0.1000000000000000000000001",
            "9007199254740993",
            "1e400",
            "1e-400",
            "1.",
            "01.5",
            "+1.5",
            "1_000",
            "--1",
        ] {
            assert!(float64(text).is_none(), "{text}");
        }
        // Both are written for the float between them, by Rust and by Python.
        assert!(float64("1001062356315512.3").is_some() && float64("1001062356315512.2").is_some());
        assert!(float64("-0.0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
        assert!(
            float32("0.1").is_some() && float32("16777217").is_none() && float32("1e39").is_none()
        );
        assert!(
            float64("NaN").is_some_and(f64::is_nan)
                && float64("-Infinity") == Some(f64::NEG_INFINITY)
                && float64("nano").is_none()
        );
    }

    #[test]
    fn a_decimal_is_exact() {
        assert_eq!(decimal("-1.20", 10, 2), Some(-120));
        assert_eq!(decimal("1.200", 10, 2), Some(120));
        assert_eq!(decimal("1.5E+3", 10, 0), Some(1500));
        assert_eq!(
            decimal("99999999999999999999999999999999999999", 38, 0),
            Some(10i128.pow(38) - 1)
        );
        for (text, precision, scale) in [
            ("1.205", 10, 2),
            ("100", 4, 2),
            ("1e38", 38, 0),
            ("01", 5, 0),
            ("", 5, 0),
            ("1e999999999", 38, 0),
        ] {
            assert_eq!(decimal(text, precision, scale), None, "{text}");
        }
        assert_eq!(
            Number::parse("0.00120").and_then(|number| number.decimal_digits()),
            Some((0, 4))
        );
        assert_eq!(
            Number::parse("1200e-1").and_then(|number| number.decimal_digits()),
            Some((3, 0))
        );
    }

    #[test]
    fn a_moment_loses_neither_digits_nor_its_zone() {
        let us = TimeUnit::Microsecond;
        assert_eq!(timestamp("1970-01-01T00:00:00.5", us, false), Some(500_000));
        assert_eq!(timestamp("1969-12-31 23:59:59.999999", us, false), Some(-1));
        assert_eq!(
            timestamp("2024-01-01T10:00:00+05:00", us, true),
            timestamp("2024-01-01 05:00:00Z", us, true)
        );
        assert_eq!(
            timestamp("2024-01-01 10:00:00 America/New_York", us, true),
            timestamp("2024-01-01 15:00:00+00", us, true)
        );
        assert_eq!(
            timestamp("9999-12-31 23:59:59.999999", us, false),
            Some(253_402_300_799_999_999)
        );
        for text in [
            "9999-12-31 23:59:59.9999999",
            "2024-01-01T10:00:00+05:00",
            "2024-13-01 00:00:00",
            "2024-01-01 24:00:00",
            "0000-01-01 00:00:00",
        ] {
            assert_eq!(timestamp(text, us, false), None, "{text}");
        }
        for text in [
            "2024-03-31 02:30:00 Europe/Paris",
            "2024-10-27 02:30:00 Europe/Paris",
            "2024-01-01 10:00:00",
            "2024-01-01 10:00:00 Nowhere",
        ] {
            assert_eq!(timestamp(text, us, true), None, "{text}");
        }
        assert_eq!(
            timestamp("2300-01-01 00:00:00", TimeUnit::Nanosecond, false),
            None
        );
        assert_eq!(
            (
                date("2024-01-31T00:00:00"),
                date("2024-01-31T10:00:00"),
                date("2024-01-31T00:00:00Z")
            ),
            (Some(19_753), None, None)
        );
        assert_eq!(
            (
                time("10:00"),
                time("24:00:00"),
                time_in_milliseconds("10:00:00.0005")
            ),
            (Some(36_000_000_000_000), None, None)
        );
    }

    #[test]
    fn what_fits_is_what_is_read() {
        let types = [
            "bool",
            "int8",
            "uint64",
            "float32",
            "float64",
            "decimal(5, 2)",
            "date",
            "time",
            "time(ms)",
            "timestamp",
            "timestamp(ns)",
        ];
        let types = types.iter().chain(&[
            "timestamp_utc",
            "binary",
            "list<int64>",
            "struct<a: text>",
            "map<text, bool>",
            "duration(us)",
        ]);
        let texts = [
            "true",
            "1",
            "-5",
            "300",
            "1.5",
            "1.239",
            "2024-01-31",
            "2024-01-31 10:00:00",
            "2024-01-31T10:00:00.123456789Z",
            "10:00:00.5",
        ];
        let texts = texts
            .iter()
            .chain(&["ff00", "[1]", "{\"a\":\"x\"}", "{\"a\":true}", "", "x"]);
        for name in types {
            let data_type = parse_type(name).expect(name);
            for text in texts.clone() {
                let read = column(&StringArray::from(vec![Some(*text), None]), &data_type);
                assert_eq!(read.is_ok(), fits(text, &data_type), "{text} as {name}");
                assert!(read.is_err() || read.expect("read").is_null(1));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn what_is_printed_reads_back(bits in any::<u64>(), whole in any::<i64>(), digits in any::<i128>(), scale in 0i8..=38) {
            let float = f64::from_bits(bits);
            for text in [format!("{float}"), format!("{float:e}"), format!("{float:.16e}")] {
                let read = float64(&text);
                prop_assert!(read.is_some_and(|read| read.to_bits() == bits || read.is_nan() && float.is_nan()), "{}", text);
            }
            prop_assert_eq!(integer::<i64>(&whole.to_string()), Some(whole));
            let digits = digits % 10i128.pow(38);
            let decimals = Decimal128Array::from(vec![digits]).with_precision_and_scale(38, scale).expect("a decimal");
            prop_assert_eq!(decimal(&display(&decimals, 0), 38, scale), Some(digits));
            for unit in [TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
                let most = match unit { TimeUnit::Nanosecond => i64::MAX, TimeUnit::Microsecond => 253_402_300_799_999_999, _ => 253_402_300_799_999 };
                let count = if unit == TimeUnit::Nanosecond { whole } else { whole.rem_euclid(most) };
                let to = DataType::Timestamp(unit, None);
                let moment = arrow::compute::cast(&arrow::array::Int64Array::from(vec![count]), &to).expect("a timestamp");
                let read = column(&StringArray::from(vec![display(&moment, 0)]), &to).expect("it \
                 reads back");
                prop_assert_eq!(read.as_ref(), moment.as_ref());
            }
        }
    }
}
