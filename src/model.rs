//! The words that every layer shares: table names, dates, ranges of dates, spans of days.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{Datelike, Days, NaiveDate};

use crate::error::{Error, Result, shorten};

/// The most characters that the name of a table has.
const LONGEST_NAME: usize = 200;

/// The name of one slowly changing table: letters, digits, `_`, `-`, `.`; it begins with a letter
/// or a digit, since every engine skips names that begin with `_` or `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct TableName(String);

impl TableName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // What asof adds makes the name of a file, which has at most 255 bytes.
        if text.len() > LONGEST_NAME {
            let shown = shorten(text);
            return Err(Error::usage(format!(
                "'{shown}' cannot be the name of a table: it has {} characters",
                text.len()
            ))
            .hint(format!("a name has at most {LONGEST_NAME} characters")));
        }
        let begins_well = text
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric());
        if begins_well
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        {
            return Ok(TableName(text.to_owned()));
        }
        Err(
            Error::usage(format!("'{text}' cannot be the name of a table")).hint(
                "a name is made of letters, digits, '_', '-' and '.', and begins with a letter \
                 or a digit",
            ),
        )
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a date written `YYYY-MM-DD`, and nothing else.
///
/// # Errors
/// A usage error that shows the text, and how a [`Day`] is written.
pub fn parse_date(text: &str) -> Result<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .filter(|date| date.to_string() == text && text.len() == 10);
    match date {
        // Neither SQL nor Python has it.
        Some(date) if date.year() == 0 => Err(Error::usage(format!("'{text}' is not a date"))
            .hint("there is no year 0000: the first date is 0001-01-01")),
        Some(date) => Ok(date),
        None => Err(Error::usage(format!("'{}' is not a date", shorten(text)))
            .hint("dates are written 2024-01-31, today, yesterday, or 7d for seven days ago")),
    }
}

/// A date as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// `2024-01-31`.
    On(NaiveDate),
    /// `today`.
    Today,
    /// `yesterday`.
    Yesterday,
    /// `7d` or `1w`: that many days before today.
    Ago(DaySpan),
    /// `latest`: the latest date that there is of what is looked at, which is not after today.
    Latest,
}

impl Day {
    /// The date, if it is `today` now; of [`Day::Latest`] the last date that it can be.
    pub fn on(self, today: NaiveDate) -> NaiveDate {
        match self {
            Day::On(date) => date,
            Day::Today | Day::Latest => today,
            Day::Yesterday => DaySpan(1).before(today),
            Day::Ago(days) => days.before(today),
        }
    }
}

impl FromStr for Day {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "today" => Ok(Day::Today),
            "yesterday" => Ok(Day::Yesterday),
            date => match date.parse() {
                Ok(days) => Ok(Day::Ago(days)),
                Err(_) => parse_date(date).map(Day::On),
            },
        }
    }
}

/// The dates from `from` to `to`, both included; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DateRange {
    from: NaiveDate,
    to: NaiveDate,
}

impl DateRange {
    /// The same dates and some days on each side.
    #[must_use]
    pub fn widened(self, days: u64) -> Self {
        let from = self
            .from
            .checked_sub_days(Days::new(days))
            .unwrap_or(self.from);
        DateRange {
            from,
            to: self.to.checked_add_days(Days::new(days)).unwrap_or(self.to),
        }
    }

    /// The dates between two that may be left out; `None` if both are.
    ///
    /// # Errors
    /// A usage error if the first is after the last.
    pub fn between(from: Option<NaiveDate>, to: Option<NaiveDate>) -> Result<Option<Self>> {
        if from.is_none() && to.is_none() {
            return Ok(None);
        }
        let first = NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default();
        let last = NaiveDate::from_ymd_opt(9998, 12, 31).unwrap_or_default();
        DateRange::new(from.unwrap_or(first), to.unwrap_or(last)).map(Some)
    }

    /// # Errors
    /// A usage error when `from` is after `to`.
    pub fn new(from: NaiveDate, to: NaiveDate) -> Result<Self> {
        if from > to {
            return Err(Error::usage(format!("--from {from} is after --to {to}"))
                .hint(format!("--from {to} --to {from}")));
        }
        Ok(DateRange { from, to })
    }

    /// The range of one date.
    pub fn single(date: NaiveDate) -> Self {
        DateRange {
            from: date,
            to: date,
        }
    }

    /// The first date.
    pub fn from(&self) -> NaiveDate {
        self.from
    }

    /// The last date.
    pub fn to(&self) -> NaiveDate {
        self.to
    }

    /// Whether `date` is one of them.
    pub fn contains(&self, date: NaiveDate) -> bool {
        self.from <= date && date <= self.to
    }

    /// Every date, ascending.
    pub fn dates(&self) -> impl Iterator<Item = NaiveDate> + use<> {
        self.from.iter_days().take(self.len())
    }

    /// How many dates there are; at least one.
    #[allow(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> usize {
        usize::try_from((self.to - self.from).num_days()).unwrap_or(0) + 1
    }
}

impl fmt::Display for DateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

/// A whole number of days, written `0d`, `1d`, `90d`, or `2w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct DaySpan(pub u32);

impl DaySpan {
    /// The date this many days before `date`.
    pub fn before(self, date: NaiveDate) -> NaiveDate {
        date.checked_sub_days(Days::new(u64::from(self.0)))
            .unwrap_or(NaiveDate::MIN)
    }
}

impl FromStr for DaySpan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (number, unit) =
            text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
        let days = match (number.parse::<u32>(), unit) {
            (Ok(days), "d") => Some(days),
            (Ok(weeks), "w") => weeks.checked_mul(7),
            _ => None,
        };
        days.filter(|days| *days <= 400_000)
            .map(DaySpan)
            .ok_or_else(|| {
                Error::usage(format!("'{text}' is not a number of days"))
                    .hint("days are written 1d, 90d or 2w")
            })
    }
}

impl fmt::Display for DaySpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}d", self.0)
    }
}

impl serde::Serialize for DaySpan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for DaySpan {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| {
            serde::de::Error::custom(format!("{error} ({})", error.hints().join("; ")))
        })
    }
}

/// Reads a duration as `asof.toml` writes it: `90s`, `10m`, `2h`, `1d`, `2w`.
///
/// # Errors
/// A usage error for anything else.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let parsed = || {
        let unit = text.chars().last()?;
        let number: u64 = text[..text.len() - unit.len_utf8()].trim().parse().ok()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return None,
        };
        number.checked_mul(seconds).map(Duration::from_secs)
    };
    parsed().ok_or_else(|| {
        Error::usage(format!("'{}' is not a duration", shorten(text)))
            .hint("\"90s\", \"10m\", \"2h\" or \"1d\"")
    })
}

/// A duration of whole seconds in the largest unit of which it is a whole number, such as `36h`.
pub fn in_largest_unit(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
    let unit = units
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None if seconds == 0 => "0d".to_owned(),
        None => format!("{seconds}s"),
    }
}

/// About how long a duration is, in the two largest units that it has, such as `1d 12h`.
pub fn in_two_units(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut parts = Vec::new();
    for (unit, name) in [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
        if rest >= unit && parts.len() < 2 {
            parts.push(format!("{}{name}", rest / unit));
        }
        rest %= unit;
    }
    match parts.is_empty() {
        true => "0s".to_owned(),
        false => parts.join(" "),
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        let seconds = |text: &str| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(
            ["0s", "90s", "10m", "2h", "1d", "2w"]
                .map(seconds)
                .map(Result::ok),
            [0, 90, 600, 7200, 86_400, 1_209_600].map(Some)
        );
        for wrong in [
            "",
            "10",
            "-1s",
            "1.5h",
            "10 min",
            "m",
            "99999999999999999999s",
            "9999999999999999999d",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            [0, 90, 600, 7200, 129_600, 172_800]
                .map(|seconds| in_largest_unit(Duration::from_secs(seconds))),
            ["0d", "90s", "10m", "2h", "36h", "2d"]
        );
        assert_eq!(
            [0, 59, 90, 3600, 23_400, 86_705]
                .map(|seconds| in_two_units(Duration::from_secs(seconds))),
            ["0s", "59s", "1m 30s", "1h", "6h 30m", "1d 5m"]
        );
    }

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    #[test]
    fn a_date_is_read_strictly() {
        assert_eq!(date("2024-02-29").to_string(), "2024-02-29");
        for wrong in [
            "2024-2-9",
            "2023-02-29",
            "20240209",
            "2024-02-09T00:00",
            "+10000-01-01",
            "",
        ] {
            assert!(parse_date(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_holds_both_of_its_ends() {
        let range = DateRange::new(date("2024-02-28"), date("2024-03-01")).expect("a range");
        assert_eq!(range.len(), 3);
        assert_eq!(range.dates().last(), Some(date("2024-03-01")));
        assert!(range.contains(range.from()) && range.contains(range.to()));
        assert!(DateRange::new(date("2024-03-02"), date("2024-03-01")).is_err());
    }

    #[test]
    fn a_day_is_a_date_or_a_number_of_days_before_today() {
        let on = |text: &str| text.parse().map(|day: Day| day.on(date("2024-03-07")));
        for (text, expected) in [
            ("2024-02-29", "2024-02-29"),
            ("today", "2024-03-07"),
            ("0d", "2024-03-07"),
            ("yesterday", "2024-03-06"),
            ("1d", "2024-03-06"),
            ("7d", "2024-02-29"),
            ("1w", "2024-02-29"),
            ("400000d", "0929-01-07"),
        ] {
            assert_eq!(on(text).ok(), Some(date(expected)), "{text}");
        }
        for wrong in [
            "",
            "7",
            "d",
            "-7d",
            "7 days ago",
            "400001d",
            "7D",
            "tomorrow",
        ] {
            assert!(on(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_days_or_weeks() {
        assert_eq!("2w".parse::<DaySpan>().expect("a span"), DaySpan(14));
        assert_eq!(DaySpan(1).before(date("2024-03-01")), date("2024-02-29"));
        for wrong in ["", "d", "5", "-1d", "1m", "5é"] {
            assert!(wrong.parse::<DaySpan>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_table_name_is_never_hidden_from_readers() {
        assert!("item_2".parse::<TableName>().is_ok());
        for wrong in ["", "_item", ".item", "a/b", "a b", "ü"] {
            assert!(wrong.parse::<TableName>().is_err(), "{wrong}");
        }
    }
}
