//! What type a column of text holds, from all of its values.

use std::sync::Arc;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{DataType, TimeUnit};

use super::TypeRules;
use crate::domain::schema::{type_name, widen};
use crate::error::{Error, Result};
use crate::model::parse_date;

/// Readings of text, the most telling first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Digits as a program writes an integer: no plus, no leading zero.
    Integer,
    /// Digits as a program writes a number.
    Number,
    Bool,
    Date,
    Timestamp,
    TimestampUtc,
    /// Anything that parses as an integer: `007` too.
    LooseInteger,
    /// Anything that parses as a number.
    LooseNumber,
    /// Anything that parses as a number, but for a whole one that no float64 holds.
    LooseFloat,
}

const READINGS: [Reading; 9] = [
    Reading::Integer,
    Reading::Number,
    Reading::Bool,
    Reading::Date,
    Reading::Timestamp,
    Reading::TimestampUtc,
    Reading::LooseInteger,
    Reading::LooseNumber,
    Reading::LooseFloat,
];

impl Reading {
    fn fits(self, text: &str) -> bool {
        match self {
            Reading::Integer => plain_digits(text) && text.parse::<i64>().is_ok(),
            Reading::Number => plain_number(text) && (!plain_digits(text) || text.parse::<i64>().is_ok_and(is_exact)),
            Reading::Bool => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
            Reading::Date => text.len() == 10 && parse_date(text).is_ok(),
            Reading::Timestamp => is_timestamp(text) == Some(false),
            Reading::TimestampUtc => is_timestamp(text) == Some(true),
            Reading::LooseInteger => text.parse::<i64>().is_ok(),
            Reading::LooseNumber => text.parse::<f64>().is_ok(),
            Reading::LooseFloat => text.parse::<f64>().is_ok() && (!plain_digits(text) || text.parse::<i64>().is_ok_and(is_exact)),
        }
    }
}

/// Whether every float64 near a whole number is that number alone: a long code among numbers is text, not a rounded one.
fn is_exact(whole: i64) -> bool {
    whole.unsigned_abs() <= 1 << 53
}

fn plain_digits(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'))
}

fn plain_number(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    plain_digits(whole)
        && fraction.is_none_or(|fraction| !fraction.is_empty() && digits(fraction))
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent.trim_start_matches(['+', '-'])))
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Whether text is a date and a time of day, and if so whether it has a zone.
fn is_timestamp(text: &str) -> Option<bool> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || !matches!(bytes[10], b'T' | b' ') || bytes[13] != b':' || string_to_timestamp_nanos(text).is_err() {
        return None;
    }
    let time = &text[11..];
    Some(time.ends_with('Z') || time.contains(['+', '-']))
}

/// What the values of one column have shown so far.
#[derive(Clone, Default)]
pub(super) struct Guess {
    /// Whether there was any value.
    seen: bool,
    /// For each reading, the first value that it does not fit, and the line.
    misfit: [Option<(u64, String)>; READINGS.len()],
}

impl Guess {
    pub(super) fn see(&mut self, text: &str, line: u64) {
        self.seen = true;
        for (reading, misfit) in READINGS.iter().zip(&mut self.misfit) {
            if misfit.is_none() && !reading.fits(text) {
                *misfit = Some((line, text.to_owned()));
            }
        }
    }

    fn misfit(&self, reading: Reading) -> Option<&(u64, String)> {
        READINGS.iter().position(|other| *other == reading).and_then(|at| self.misfit[at].as_ref())
    }

    fn agrees(&self, reading: Reading) -> bool {
        self.misfit(reading).is_none()
    }

    /// What all values agree on.
    fn inferred(&self) -> DataType {
        let utc = || Some(Arc::from("UTC"));
        match () {
            () if !self.seen => DataType::Null,
            () if self.agrees(Reading::Integer) => DataType::Int64,
            () if self.agrees(Reading::Number) => DataType::Float64,
            () if self.agrees(Reading::Bool) => DataType::Boolean,
            () if self.agrees(Reading::Date) => DataType::Date32,
            () if self.agrees(Reading::Timestamp) => DataType::Timestamp(TimeUnit::Microsecond, None),
            () if self.agrees(Reading::TimestampUtc) => DataType::Timestamp(TimeUnit::Microsecond, utc()),
            () => DataType::Utf8,
        }
    }

    /// The column's type by the rules.
    ///
    /// # Errors
    /// A refusal that names the first value that is not of the previous snapshot's type.
    pub(super) fn decide(&self, column: &str, rules: &TypeRules, file: &str) -> Result<DataType> {
        if let Some(declared) = rules.declared.get(column) {
            return Ok(declared.clone());
        }
        let inferred = self.inferred();
        let Some(pinned) = rules.pinned(column) else { return Ok(inferred) };
        let reading = match pinned {
            DataType::Utf8 | DataType::Binary => return Ok(pinned.clone()),
            data_type if data_type.is_integer() => Reading::LooseInteger,
            DataType::Float32 | DataType::Float64 => Reading::LooseFloat,
            DataType::Decimal128(_, _) => Reading::LooseNumber,
            DataType::Boolean => Reading::Bool,
            DataType::Date32 => Reading::Date,
            DataType::Timestamp(_, None) => Reading::Timestamp,
            DataType::Timestamp(_, Some(_)) => Reading::TimestampUtc,
            _ => return Ok(pinned.clone()),
        };
        if !self.seen || self.agrees(reading) {
            return Ok(pinned.clone());
        }
        let is_too_long = reading == Reading::LooseFloat && inferred == DataType::Int64;
        if inferred != DataType::Utf8
            && !is_too_long
            && let Some(wide) = widen(pinned, &inferred)
        {
            return Ok(wide);
        }
        let (line, value) = self.misfit(reading).cloned().unwrap_or_default();
        let shown: String = value.chars().take(60).collect();
        let was = type_name(pinned);
        Err(Error::refused(format!("{file}, line {line}: column '{column}' was {was} in the previous snapshot, and '{shown}' is none"))
            .hint(format!(
                "correct the source; or, to change the type for good, declare it (types = {{ {column} = \"text\" }} in asof.toml) and take \
                 the earlier snapshots again, with --if-exists replace --backdate"
            )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_programs_write() {
        for number in ["0", "-1", "450.0", "1e5", "-0.5E-3", "9007199254740992"] {
            assert!(Reading::Number.fits(number), "{number}");
        }
        for text in
            ["", "-", "007", "00.5", "1.", ".5", "+1", "1e", "0x1", "NaN", "inf", "1 ", "1e999", "9007199254740993", "99999999999999999999"]
        {
            assert!(!Reading::Number.fits(text), "{text}");
        }
        assert!(!Reading::Integer.fits("9223372036854775808"));
        assert!(Reading::LooseInteger.fits("007") && Reading::LooseNumber.fits("NaN"));
    }

    #[test]
    fn a_timestamp_has_a_time_of_day() {
        assert_eq!(is_timestamp("2024-01-31 10:00:00"), Some(false));
        assert_eq!(is_timestamp("2024-01-31T10:00:00.123456Z"), Some(true));
        assert_eq!(is_timestamp("2024-01-31T10:00:00-05:00"), Some(true));
        for text in ["2024-01-31", "2024-01-31 10:00", "2024-13-31 10:00:00", "hello world, it is I", "é024-01-31 10:00:000"] {
            assert_eq!(is_timestamp(text), None, "{text}");
        }
    }
}
