//! How text writes numbers, dates and timestamps, where that differs from the spelling that asof
//! reads.
//!
//! A [`Notation`] rewrites a value into the spelling of [`super::text`], which then decides whether
//! the value is of a type. So `1.234,50` with a decimal comma is held to the same rules as
//! `1234.50`. The rewriting is exact or fails:
//!
//! | written | with | read as |
//! | --- | --- | --- |
//! | `1.234,50` | `decimal = ","`, `thousands = "."` | `1234.50` |
//! | `12,34` | `thousands = ","` | not a number: groups have three digits |
//! | `31.01.2024` | `date_format = "%d.%m.%Y"` | `2024-01-31` |
//! | `31.01.24` | `date_format = "%d.%m.%Y"` | not a date: a year has four digits |
//!
//! A format replaces the standard spelling. With `date_format = "%d.%m.%Y"`, `2024-01-31` is not a
//! date. Text that is not a number, date or timestamp in this notation stays text, as it was
//! written.

use std::borrow::Cow;
use std::fmt::Write as _;

use arrow::array::{Array, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use chrono::format::{Fixed, Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};

use super::text::{self, Moment};

/// How numbers, dates and timestamps are written.
#[derive(Clone, Debug, Default)]
pub struct Notation {
    /// What stands before the fraction, if not a point.
    pub decimal: Option<char>,
    /// What separates groups of three digits.
    pub thousands: Option<char>,
    /// The format of dates.
    pub date: Option<TimeFormat>,
    /// The format of timestamps.
    pub timestamp: Option<TimeFormat>,
}

/// A format of dates or timestamps in the specifiers of strftime.
#[derive(Clone, Debug)]
pub struct TimeFormat {
    items: Vec<Item<'static>>,
    has_fraction: bool,
}

impl TimeFormat {
    /// Reads a format of dates.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_dates(format: &str) -> Result<Self, String> {
        let parsed = TimeFormat::parse(format)?;
        let sample = NaiveDate::from_ymd_opt(2024, 11, 23).unwrap_or_default();
        match written(sample.format_with_items(parsed.items.iter()))
            .and_then(|text| parsed.date(&text))
        {
            Some(read) if read == sample => Ok(parsed),
            _ => Err("a date format has year, month and day, such as %d.%m.%Y".to_owned()),
        }
    }

    /// Reads a format of timestamps.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_timestamps(format: &str) -> Result<Self, String> {
        let parsed = TimeFormat::parse(format)?;
        let sample = NaiveDate::from_ymd_opt(2024, 11, 23)
            .and_then(|day| day.and_hms_opt(14, 15, 0))
            .unwrap_or_default()
            .and_utc();
        let text = written(sample.fixed_offset().format_with_items(parsed.items.iter()));
        match text
            .and_then(|text| parsed.timestamp(&text))
            .as_deref()
            .and_then(Moment::parse)
        {
            Some(read) if read.seconds == sample.timestamp() => Ok(parsed),
            _ => Err(
                "a timestamp format has year, month, day, hour and minute, such as %d.%m.%Y \
                 %H:%M:%S"
                    .to_owned(),
            ),
        }
    }

    fn parse(format: &str) -> Result<Self, String> {
        // Python writes a fraction as `.%f`. Here `%f` alone would be a number of nanoseconds.
        let format = format.replace(".%f", "%.f");
        if format.contains("%f") {
            return Err("'%f' needs a point before it, as in %S.%f".to_owned());
        }
        if format.contains("%Z") {
            return Err("'%Z' does not identify an instant: use %z".to_owned());
        }
        let items = StrftimeItems::new(&format)
            .parse_to_owned()
            .map_err(|_| "it has an unknown specifier".to_owned())?;
        let is_fraction = |item: &Item<'_>| {
            use Fixed::{Nanosecond, Nanosecond3, Nanosecond6, Nanosecond9};
            matches!(
                item,
                Item::Fixed(Nanosecond | Nanosecond3 | Nanosecond6 | Nanosecond9)
            )
        };
        Ok(TimeFormat {
            has_fraction: items.iter().any(is_fraction),
            items,
        })
    }

    fn parsed(&self, text: &str) -> Option<Parsed> {
        // Digits beyond nanoseconds would be dropped.
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        if self.has_fraction && text.split('.').skip(1).any(|fraction| digits(fraction) > 9) {
            return None;
        }
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).ok()?;
        Some(parsed)
    }

    fn date(&self, text: &str) -> Option<NaiveDate> {
        let date = self.parsed(text)?.to_naive_date().ok()?;
        has_four_digits(date).then_some(date)
    }

    /// A timestamp in the standard spelling: in UTC if the format has an offset.
    fn timestamp(&self, text: &str) -> Option<String> {
        let parsed = self.parsed(text)?;
        if parsed.offset().is_some() {
            let instant: DateTime<Utc> = parsed.to_datetime().ok()?.to_utc();
            return has_four_digits(instant.date_naive())
                .then(|| instant.format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string());
        }
        let local: NaiveDateTime = parsed.to_naive_datetime_with_offset(0).ok()?;
        has_four_digits(local.date()).then(|| local.format("%Y-%m-%dT%H:%M:%S%.9f").to_string())
    }
}

/// What is formatted; `None` for a specifier that the value has nothing for.
fn written(formatted: impl std::fmt::Display) -> Option<String> {
    let mut text = String::new();
    write!(text, "{formatted}").ok()?;
    Some(text)
}

/// Whether a year has four digits: `24` under `%Y` would be the year 24.
fn has_four_digits(date: NaiveDate) -> bool {
    (1000..=9999).contains(&date.year())
}

impl Notation {
    /// Whether values are written as asof reads them.
    pub fn is_standard(&self) -> bool {
        self.decimal.is_none()
            && self.thousands.is_none()
            && self.date.is_none()
            && self.timestamp.is_none()
    }

    /// A number in the standard spelling; `None` for text that is not a number in this notation.
    pub fn number<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        let is_plain = self.decimal.is_none() && self.thousands.is_none();
        if is_plain || !text.bytes().any(|byte| byte.is_ascii_digit()) {
            return Some(Cow::Borrowed(text));
        }
        let (sign, unsigned) = text
            .strip_prefix('-')
            .map_or(("", text), |unsigned| ("-", unsigned));
        let (mantissa, exponent) =
            unsigned.split_at(unsigned.find(['e', 'E']).unwrap_or(unsigned.len()));
        let (whole, fraction) = match mantissa.split_once(self.decimal.unwrap_or('.')) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let whole: Cow<'_, str> = match self.thousands {
            Some(separator) if whole.contains(separator) => {
                let mut groups = whole.split(separator);
                let is_first_right = groups
                    .next()
                    .is_some_and(|group| (1..=3).contains(&group.len()));
                if !is_first_right || !groups.all(|group| group.len() == 3) {
                    return None;
                }
                whole.split(separator).collect::<String>().into()
            }
            _ => whole.into(),
        };
        if !are_digits(&whole) || !fraction.is_none_or(are_digits) {
            return None;
        }
        let (point, fraction) = fraction.map_or(("", ""), |fraction| (".", fraction));
        Some(format!("{sign}{whole}{point}{fraction}{exponent}").into())
    }

    /// A date or timestamp; `None` for text that is neither in this notation.
    pub fn moment(&self, text: &str) -> Option<Moment> {
        if self.date.is_none() && self.timestamp.is_none() {
            return Moment::parse(text);
        }
        Moment::parse(&self.standard_moment(text)?)
    }

    fn standard_moment<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        if let Some(date) = self.date.as_ref().and_then(|format| format.date(text)) {
            return Some(date.format("%Y-%m-%d").to_string().into());
        }
        if let Some(timestamp) = self
            .timestamp
            .as_ref()
            .and_then(|format| format.timestamp(text))
        {
            return Some(timestamp.into());
        }
        let replaced = match Moment::parse(text)?.has_time {
            true => &self.timestamp,
            false => &self.date,
        };
        replaced.is_none().then_some(Cow::Borrowed(text))
    }

    /// A value of a type in the standard spelling; `None` for text that this notation does not have
    /// for the type.
    fn standard<'a>(&self, text: &'a str, to: &DataType) -> Option<Cow<'a, str>> {
        match to {
            DataType::Date32 | DataType::Timestamp(..) => self.standard_moment(text),
            to if to.is_numeric() => self.number(text),
            _ => Some(Cow::Borrowed(text)),
        }
    }

    /// Whether text holds a value of a canonical type.
    pub fn fits(&self, text: &str, to: &DataType) -> bool {
        match self.is_standard() {
            true => text::fits(text, to),
            false => self
                .standard(text, to)
                .is_some_and(|text| text::fits(&text, to)),
        }
    }

    /// A column of text with every value in the standard spelling of a type.
    ///
    /// # Errors
    /// The first row whose text this notation does not have for the type.
    pub fn standard_column(
        &self,
        texts: &StringArray,
        to: &DataType,
    ) -> Result<StringArray, usize> {
        let mut standard = StringBuilder::with_capacity(texts.len(), texts.values().len());
        for (row, text) in texts.iter().enumerate() {
            standard.append_option(
                text.map(|text| self.standard(text, to).ok_or(row))
                    .transpose()?,
            );
        }
        Ok(standard.finish())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use proptest::prelude::*;

    use super::*;

    fn numbers(decimal: char, thousands: Option<char>) -> Notation {
        Notation {
            decimal: Some(decimal),
            thousands,
            ..Notation::default()
        }
    }

    fn days(format: &str) -> Notation {
        Notation {
            date: Some(TimeFormat::of_dates(format).expect("a format")),
            ..Notation::default()
        }
    }

    fn times(format: &str) -> Notation {
        Notation {
            timestamp: Some(TimeFormat::of_timestamps(format).expect("a format")),
            ..Notation::default()
        }
    }

    #[test]
    fn numbers_are_rewritten_exactly_or_are_none() {
        let comma = numbers(',', None);
        let grouped = numbers(',', Some('.'));
        let english = numbers('.', Some(','));
        let narrow = numbers(',', Some('\u{202f}'));
        for (notation, text, expected) in [
            (&comma, "1,50", Some("1.50")),
            (&comma, "-1,5e-3", Some("-1.5e-3")),
            (&comma, "7", Some("7")),
            (&comma, "1.5", None),
            (&comma, "1,2,3", None),
            (&comma, "NaN", Some("NaN")),
            (&grouped, "1.234.567,5", Some("1234567.5")),
            (&grouped, "1234,5", Some("1234.5")),
            (&grouped, "1.5", None),
            (&grouped, "1234.567", None),
            (&grouped, ".123", None),
            (&grouped, "1..234", None),
            (&grouped, "1,234.567", None),
            (&english, "1,234.5", Some("1234.5")),
            (&english, "12,34", None),
            (&english, "12,34,567", None),
            (&narrow, "1\u{202f}234", Some("1234")),
        ] {
            assert_eq!(notation.number(text).as_deref(), expected, "{text}");
        }
        assert!(!grouped.fits("001.234", &DataType::Int64), "a code");
        assert!(
            !comma.fits("1.5", &DataType::Float64)
                && !comma.fits("1.5", &DataType::Decimal128(5, 2))
        );
        assert!(
            comma.fits("0,10", &DataType::Decimal128(5, 2)) && comma.fits("1.5", &DataType::Utf8)
        );
    }

    #[test]
    fn formats_read_what_they_say_and_nothing_else() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        for (notation, text, to, expected) in [
            (
                days("%d.%m.%Y"),
                "31.01.2024",
                &DataType::Date32,
                Some("2024-01-31"),
            ),
            (days("%d.%m.%Y"), "31.02.2024", &DataType::Date32, None),
            (days("%d.%m.%Y"), "31.01.24", &DataType::Date32, None),
            (days("%d.%m.%Y"), "2024-01-31", &DataType::Date32, None),
            (
                days("%m/%d/%Y"),
                "1/31/2024",
                &DataType::Date32,
                Some("2024-01-31"),
            ),
            (days("%m/%d/%Y"), "31/1/2024", &DataType::Date32, None),
            (
                days("%d-%b-%Y"),
                "31-JAN-2024",
                &DataType::Date32,
                Some("2024-01-31"),
            ),
            (
                days("%Y%m%d"),
                "20240131",
                &DataType::Date32,
                Some("2024-01-31"),
            ),
            (
                days("%d.%m.%Y"),
                "2024-01-31 10:00:00",
                &local,
                Some("2024-01-31 10:00:00"),
            ),
            (
                times("%d.%m.%Y %H:%M"),
                "31.01.2024 10:05",
                &local,
                Some("2024-01-31T10:05:00.000000000"),
            ),
            (times("%d.%m.%Y %H:%M"), "2024-01-31 10:05:00", &local, None),
            (
                times("%d.%m.%Y %H:%M"),
                "2024-01-31",
                &DataType::Date32,
                Some("2024-01-31"),
            ),
            (
                times("%d.%m.%Y %H:%M:%S.%f"),
                "31.01.2024 10:05:06.5",
                &local,
                Some("2024-01-31T10:05:06.500000000"),
            ),
            (
                times("%d.%m.%Y %H:%M:%S.%f"),
                "31.01.2024 10:05:06.123456789",
                &nanos,
                Some("2024-01-31T10:05:06.123456789"),
            ),
            (
                times("%d.%m.%Y %H:%M:%S.%f"),
                "31.01.2024 10:05:06.1234567891234",
                &nanos,
                None,
            ),
            (
                times("%Y%m%d%H%M%S"),
                "20240131100506",
                &local,
                Some("2024-01-31T10:05:06.000000000"),
            ),
            (
                times("%m/%d/%Y %I:%M %p"),
                "1/31/2024 1:05 pm",
                &local,
                Some("2024-01-31T13:05:00.000000000"),
            ),
            (
                times("%d.%m.%Y %H:%M %z"),
                "31.01.2024 10:05 +0200",
                &utc,
                Some("2024-01-31T08:05:00.000000000Z"),
            ),
        ] {
            let standard = notation.standard(text, to);
            assert_eq!(standard.as_deref(), expected, "{text}");
            assert_eq!(notation.fits(text, to), expected.is_some(), "{text}");
        }
        for format in ["%d.%m", "%H:%M", "%d.%m.%Y %H:%M", "%d.%m.%Y %Q", "day"] {
            assert!(TimeFormat::of_dates(format).is_err(), "{format}");
        }
        for format in [
            "%d.%m.%Y",
            "%d.%m.%Y %I:%M",
            "%d.%m.%Y %H:%M:%S%f",
            "%d.%m.%Y %H:%M %Z",
        ] {
            assert!(TimeFormat::of_timestamps(format).is_err(), "{format}");
        }
    }

    proptest! {
        #[test]
        fn a_number_in_another_notation_is_the_same_number(whole in any::<i64>(), fraction in "[0-9]{0,6}", grouped in any::<bool>()) {
            let digits = whole.unsigned_abs().to_string();
            let point = if fraction.is_empty() { "" } else { "." };
            let sign = if whole < 0 { "-" } else { "" };
            let plain = format!("{sign}{digits}{point}{fraction}");
            let mut written = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if grouped && at > 0 && (digits.len() - at).is_multiple_of(3) {
                    written.push('.');
                }
                written.push(digit);
            }
            let written = format!("{sign}{written}{}{fraction}", point.replace('.', ","));
            let notation = numbers(',', Some('.'));
            let number = notation.number(&written);
            prop_assert_eq!(number.as_deref(), Some(plain.as_str()));
        }

        #[test]
        fn a_date_in_another_notation_is_the_same_date(days in -354_285i32..2_932_896) {
            let date = NaiveDate::from_num_days_from_ce_opt(719_163 + days).expect("a date");
            for format in ["%d.%m.%Y", "%m/%d/%Y", "%e-%b-%Y", "%Y%m%d", "%A, %d %B %Y"] {
                let written = date.format(format).to_string();
                let moment = self::days(format).moment(&written);
                prop_assert_eq!(moment.map(|moment| moment.seconds), Some(i64::from(days) * 86_400), "{}", written);
            }
        }
    }
}
