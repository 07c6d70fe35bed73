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
//! | lists, structs, maps | JSON of that type ([`super::json`]) | anything else |
//!
//! A float is read where it keeps every digit that is written: as many digits of the float, rounded
//! as decimals, are the same digits. So what a program wrote for a float reads back, whether it
//! wrote the shortest form or 17 digits, and a number with more digits than the float holds does
//! not.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanArray, Decimal128Array,
    PrimitiveArray, StringArray, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::json;

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
    read: fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef, usize> {
    Ok(Arc::new(
        values(texts, read).collect::<Result<PrimitiveArray<T>, _>>()?,
    ))
}

fn booleans(texts: &StringArray) -> Result<ArrayRef, usize> {
    Ok(Arc::new(
        values(texts, boolean).collect::<Result<BooleanArray, _>>()?,
    ))
}

fn decimals(texts: &StringArray, precision: u8, scale: i8) -> Result<ArrayRef, usize> {
    let array: PrimitiveArray<Decimal128Type> =
        values(texts, |text| decimal(text, precision, scale)).collect::<Result<_, _>>()?;
    let array: Decimal128Array = array;
    array
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
            let array: PrimitiveArray<$type> =
                values(texts, |text| timestamp(text, unit, in_utc)).collect::<Result<_, _>>()?;
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

/// `true` or `false`, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Whether text is a whole number as a program writes it: no plus, no leading zero, no minus before
/// a lone zero.
pub fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = if digits.len() > 1 || digits.len() < text.len() {
        !digits.starts_with('0')
    } else {
        true
    };
    !digits.is_empty() && canonical && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A whole number in its canonical form.
pub fn integer<T: std::str::FromStr>(text: &str) -> Option<T> {
    is_whole(text).then(|| text.parse().ok()).flatten()
}

/// A number as text: its parts, none of which has been rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// Whether it has a minus.
    pub is_negative: bool,
    /// The digits before the point: `0`, or none that begins with a zero; empty in `.5`.
    pub whole: &'a str,
    /// The digits after the point.
    pub fraction: &'a str,
    /// The power of ten, if it is written.
    pub exponent: Option<i32>,
}

impl<'a> Number<'a> {
    /// Takes a number apart. `None` if text is not a number, or is written like a code: `007`,
    /// `+1`, `1.`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            None => (text, None),
            Some(at) => (&text[..at], Some(exponent(&text[at + 1..])?)),
        };
        let is_negative = mantissa.starts_with('-');
        let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = match mantissa.split_once('.') {
            None => (mantissa, ""),
            Some((_, "")) => return None,
            Some(parts) => parts,
        };
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_code =
            whole.len() > 1 && whole.starts_with('0') || whole.is_empty() && fraction.is_empty();
        let number = Number {
            is_negative,
            whole,
            fraction,
            exponent,
        };
        (!is_code && are_digits(whole) && are_digits(fraction)).then_some(number)
    }

    /// Its digits without zeros at either end.
    fn significant(&self) -> Cow<'a, str> {
        let whole = self.whole.trim_start_matches('0');
        let fraction = self.fraction.trim_end_matches('0');
        match (whole, fraction) {
            ("", fraction) => fraction.trim_start_matches('0').into(),
            (whole, "") => whole.trim_end_matches('0').into(),
            (whole, fraction) => format!("{whole}{fraction}").into(),
        }
    }

    /// How many digits its exact value has before and after the point, if no more than 38 of
    /// either.
    pub fn decimal_digits(&self) -> Option<(u8, u8)> {
        let significant = self.significant();
        if significant.is_empty() {
            return Some((0, 0));
        }
        // The value is 0.SIGNIFICANT times ten to the power of `point`.
        let zeros = if self.whole.trim_start_matches('0').is_empty() {
            -i64::try_from(self.fraction.len() - self.fraction.trim_start_matches('0').len())
                .ok()?
        } else {
            i64::try_from(self.whole.trim_start_matches('0').len()).ok()?
        };
        let point = zeros + i64::from(self.exponent.unwrap_or(0));
        let before = point.max(0);
        let after = (i64::try_from(significant.len()).ok()? - point).max(0);
        (before <= 38 && after <= 38)
            .then_some((u8::try_from(before).ok()?, u8::try_from(after).ok()?))
    }

    /// Its exact value times ten to the power of `scale`; `None` if that is not whole or too large.
    fn scaled(&self, scale: i32) -> Option<i128> {
        let significant = self.significant();
        if significant.is_empty() {
            return Some(0);
        }
        let trailing = if self.fraction.trim_end_matches('0').is_empty() {
            i32::try_from(self.whole.len() - self.whole.trim_end_matches('0').len()).ok()?
        } else {
            -i32::try_from(self.fraction.trim_end_matches('0').len()).ok()?
        };
        // The value is SIGNIFICANT times ten to the power of `trailing` and the exponent.
        let power = trailing
            .checked_add(self.exponent.unwrap_or(0))?
            .checked_add(scale)?;
        let digits: i128 = significant.parse().ok()?;
        let value = digits.checked_mul(10i128.checked_pow(u32::try_from(power).ok()?)?)?;
        Some(if self.is_negative { -value } else { value })
    }
}

fn exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        .then(|| text.parse::<i32>().ok())
        .flatten()
        .filter(|power| power.abs() < 1 << 20)
}

/// A decimal, as the whole number of its last digits.
pub fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let value = Number::parse(text)?.scaled(i32::from(scale))?;
    (value.unsigned_abs() < 10u128.checked_pow(u32::from(precision))?).then_some(value)
}

/// A float64 that keeps every digit; also `NaN`, `inf` and `infinity`.
pub fn float64(text: &str) -> Option<f64> {
    let Some(number) = Number::parse(text) else {
        return not_finite(text);
    };
    let value: f64 = text.parse().ok()?;
    keeps_digits(
        &number,
        value.is_normal() && number.digits_at_most(15),
        value == 0.0,
        value.is_finite(),
        |digits| match digits {
            Some(digits) => format!("{value:.digits$e}"),
            None => format!("{value:e}"),
        },
    )
    .then_some(value)
}

/// A float32 that keeps every digit; also `NaN`, `inf` and `infinity`.
pub fn float32(text: &str) -> Option<f32> {
    let Some(number) = Number::parse(text) else {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "NaN and infinities are the same in both"
        )]
        return not_finite(text).map(|value| value as f32);
    };
    let value: f32 = text.parse().ok()?;
    keeps_digits(
        &number,
        value.is_normal() && number.digits_at_most(6),
        value == 0.0,
        value.is_finite(),
        |digits| match digits {
            Some(digits) => format!("{value:.digits$e}"),
            None => format!("{value:e}"),
        },
    )
    .then_some(value)
}

impl Number<'_> {
    fn digits_at_most(&self, most: usize) -> bool {
        self.whole.len() + self.fraction.len() <= most || self.significant().len() <= most
    }
}

/// Whether a float is a number, printed with as many digits as that has, or as few as tell it from
/// other floats. The two differ where the float lies in the middle between two numbers of that many
/// digits.
fn keeps_digits(
    number: &Number<'_>,
    is_certain: bool,
    is_zero: bool,
    is_finite: bool,
    print: impl Fn(Option<usize>) -> String,
) -> bool {
    if is_certain || !is_finite {
        return is_finite;
    }
    let significant = number.significant();
    if is_zero || significant.is_empty() {
        return is_zero && significant.is_empty();
    }
    // No float has more digits than this.
    if significant.len() > 800 {
        return false;
    }
    [Some(significant.len() - 1), None]
        .into_iter()
        .any(|digits| {
            let printed = print(digits);
            printed
                .split('e')
                .next()
                .unwrap_or_default()
                .bytes()
                .filter(u8::is_ascii_digit)
                .eq(significant.bytes())
        })
}

fn not_finite(text: &str) -> Option<f64> {
    let (sign, name) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match () {
        () if is("inf") || is("infinity") => Some(sign * f64::INFINITY),
        () if is("nan") && name.len() == text.len() => Some(f64::NAN),
        () => None,
    }
}

/// A day by its number from 1970-01-01: a date, or a timestamp without zone at midnight.
pub fn date(text: &str) -> Option<i32> {
    Moment::parse(text)?.day()
}

/// A time of day in nanoseconds from midnight.
pub fn time(text: &str) -> Option<i64> {
    let (time, rest) = time_of_day(text)?;
    rest.is_empty().then(|| {
        i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond())
    })
}

fn time_in_milliseconds(text: &str) -> Option<i32> {
    let nanoseconds = time(text)?;
    (nanoseconds % 1_000_000 == 0)
        .then(|| i32::try_from(nanoseconds / 1_000_000).ok())
        .flatten()
}

/// A timestamp in units from 1970-01-01: with a zone if `in_utc`, and without one otherwise.
pub fn timestamp(text: &str, unit: TimeUnit, in_utc: bool) -> Option<i64> {
    let moment = Moment::parse(text)?;
    if moment.in_utc == in_utc {
        moment.count(unit)
    } else {
        None
    }
}

/// A point in time as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds from 1970-01-01: in UTC, or on an unknown clock.
    pub seconds: i64,
    /// Nanoseconds beyond them.
    pub nanoseconds: u32,
    /// Whether it is written with a zone or an offset.
    pub in_utc: bool,
    /// Whether it is written with a time of day.
    pub has_time: bool,
    /// Whether the time of day has seconds.
    pub has_seconds: bool,
}

impl Moment {
    /// Reads a date, or a date and a time of day, with or without a zone. Years are 0001 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let day = day(text.get(..10)?)?;
        let rest = &text[10..];
        if rest.is_empty() {
            let midnight = day.and_time(NaiveTime::MIN);
            let seconds = midnight.and_utc().timestamp();
            return Some(Moment {
                seconds,
                nanoseconds: 0,
                in_utc: false,
                has_time: false,
                has_seconds: false,
            });
        }
        let (time, zone) = time_of_day(rest.strip_prefix(['T', ' ', 't'])?)?;
        let has_seconds = rest.as_bytes().get(6) == Some(&b':');
        let local = day.and_time(time);
        let nanoseconds = time.nanosecond();
        let seconds = if zone.is_empty() {
            local.and_utc().timestamp()
        } else {
            seconds_in_utc(local, zone)?
        };
        Some(Moment {
            seconds,
            nanoseconds,
            in_utc: !zone.is_empty(),
            has_time: true,
            has_seconds,
        })
    }

    /// Its number of days from 1970-01-01, if it is a date, or midnight without a zone.
    pub fn day(&self) -> Option<i32> {
        let is_day = !self.in_utc && self.nanoseconds == 0 && self.seconds.rem_euclid(86_400) == 0;
        is_day
            .then(|| i32::try_from(self.seconds.div_euclid(86_400)).ok())
            .flatten()
    }

    /// How many units it is from 1970-01-01; `None` if that is not whole, or too many.
    pub fn count(&self, unit: TimeUnit) -> Option<i64> {
        let (per_second, nanoseconds): (i128, u32) = match unit {
            TimeUnit::Second => (1, 1_000_000_000),
            TimeUnit::Millisecond => (1_000, 1_000_000),
            TimeUnit::Microsecond => (1_000_000, 1_000),
            TimeUnit::Nanosecond => (1_000_000_000, 1),
        };
        let is_whole = self.nanoseconds.is_multiple_of(nanoseconds);
        let count =
            i128::from(self.seconds) * per_second + i128::from(self.nanoseconds / nanoseconds);
        is_whole.then(|| i64::try_from(count).ok()).flatten()
    }
}

/// `2024-01-31`.
fn day(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&bytes[..4])?)
        .ok()
        .filter(|year| *year > 0)?;
    NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..])?)
}

/// `10:00`, `10:00:00` or `10:00:00.123456789` at the start of text, and what comes after it.
fn time_of_day(text: &str) -> Option<(NaiveTime, &str)> {
    let bytes = text.as_bytes();
    if bytes.len() < 5 || bytes[2] != b':' {
        return None;
    }
    let hour = digits(&bytes[..2])?;
    let minute = digits(&bytes[3..5])?;
    if bytes.get(5) != Some(&b':') {
        return Some((NaiveTime::from_hms_opt(hour, minute, 0)?, text.get(5..)?));
    }
    let second = digits(bytes.get(6..8)?)?;
    let mut end = 8;
    let mut nanosecond = 0;
    if matches!(bytes.get(8), Some(b'.' | b',')) {
        let length = bytes[9..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let fraction = &bytes[9..9 + length];
        let (kept, beyond) = fraction.split_at(length.min(9));
        // A digit beyond nanoseconds that is not a zero would be lost.
        if kept.is_empty() || beyond.iter().any(|digit| *digit != b'0') {
            return None;
        }
        nanosecond = digits(kept)? * 10u32.pow(9 - u32::try_from(kept.len()).ok()?);
        end = 9 + length;
    }
    Some((
        NaiveTime::from_hms_nano_opt(hour, minute, second, nanosecond)?,
        text.get(end..)?,
    ))
}

/// Up to nine digits as a number.
fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |number: u32, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u32::from(byte - b'0'))
    })
}

/// Seconds in UTC of a local time in a zone: `Z`, `UTC`, `+02`, `+0200`, `+02:00`, or a name such
/// as `Europe/Paris`, whose local time must be one instant.
fn seconds_in_utc(local: NaiveDateTime, zone: &str) -> Option<i64> {
    let seconds = local.and_utc().timestamp();
    let name = zone.strip_prefix(' ').unwrap_or(zone);
    if name.eq_ignore_ascii_case("z") || name == "UTC" {
        return Some(seconds);
    }
    let sign = match name.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => {
            let zone: chrono_tz::Tz = name.parse().ok()?;
            return Some(local.and_local_timezone(zone).single()?.timestamp());
        }
    };
    let offset = name.as_bytes();
    let (hours, minutes) = match offset.len() {
        3 => (digits(&offset[1..3])?, 0),
        5 => (digits(&offset[1..3])?, digits(&offset[3..5])?),
        6 if offset[3] == b':' => (digits(&offset[1..3])?, digits(&offset[4..6])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then(|| seconds - sign * i64::from(hours * 3600 + minutes * 60))
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
