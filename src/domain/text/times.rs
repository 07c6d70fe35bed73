//! Dates, times of day and timestamps as text.

use arrow::datatypes::TimeUnit;
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// How many days after 0000-12-31 1970-01-01 is.
const DAYS_TO_1970: i32 = 719_163;

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

pub(super) fn time_in_milliseconds(text: &str) -> Option<i32> {
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

/// A point in time as text has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds from 1970-01-01: in UTC, or on an unknown clock.
    pub seconds: i64,
    /// Nanoseconds beyond the seconds.
    pub nanoseconds: u32,
    /// Whether a zone or an offset is written.
    pub in_utc: bool,
    /// Whether a time of day is written.
    pub has_time: bool,
    /// Whether the time of day has seconds.
    pub has_seconds: bool,
}

impl Moment {
    /// Reads a date, or a date and a time of day, with or without a zone. Years are 0001 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let day = day(text.get(..10)?)?;
        let rest = &text[10..];
        let midnight = i64::from(day.num_days_from_ce() - DAYS_TO_1970) * 86_400;
        if rest.is_empty() {
            return Some(Moment {
                seconds: midnight,
                nanoseconds: 0,
                in_utc: false,
                has_time: false,
                has_seconds: false,
            });
        }
        let (time, zone) = time_of_day(rest.strip_prefix(['T', ' ', 't'])?)?;
        let has_seconds = rest.as_bytes().get(6) == Some(&b':');
        let nanoseconds = time.nanosecond();
        let seconds = if zone.is_empty() {
            midnight + i64::from(time.num_seconds_from_midnight())
        } else {
            seconds_in_utc(day.and_time(time), zone)?
        };
        Some(Moment {
            seconds,
            nanoseconds,
            in_utc: !zone.is_empty(),
            has_time: true,
            has_seconds,
        })
    }

    /// The number of days from 1970-01-01 to a date, or to a midnight without a zone.
    pub fn day(&self) -> Option<i32> {
        let is_day = !self.in_utc && self.nanoseconds == 0 && self.seconds.rem_euclid(86_400) == 0;
        is_day
            .then(|| i32::try_from(self.seconds.div_euclid(86_400)).ok())
            .flatten()
    }

    /// How many units there are from 1970-01-01; `None` if that is not whole, or too many.
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
