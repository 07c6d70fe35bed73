//! Time as an argument.
//!
//! Nothing below `cli` may ask what time it is: a result that depends on the clock cannot be run
//! again. `clippy.toml` bans the wall clock everywhere else, with this type as the replacement.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::error::{Error, Result};

/// One instant, read once when the process starts, and the zone in which it becomes a date.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: DateTime<Utc>,
    zone: Tz,
    /// What has passed since; nothing for a clock that stands still.
    watch: Option<Stopwatch>,
}

impl Clock {
    /// A clock that stands still at `now`; dates are those of `zone`.
    pub fn fixed(now: DateTime<Utc>, zone: Tz) -> Self {
        Clock {
            now,
            zone,
            watch: None,
        }
    }

    /// The clock of this machine, or the instant given as RFC 3339 (`ASOF_NOW`, for tests).
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn read(pinned: Option<&str>) -> Result<Self> {
        let (now, watch) = match pinned {
            None => (Utc::now(), Some(Stopwatch::start())),
            Some(text) => {
                let now = text.parse().map_err(|_| {
                    Error::usage(format!("ASOF_NOW is not a time: '{text}'"))
                        .hint("ASOF_NOW=2024-01-31T02:00:00Z")
                })?;
                (now, None)
            }
        };
        Ok(Clock {
            now,
            zone: Tz::UTC,
            watch,
        })
    }

    /// The same instant, seen in another zone.
    #[must_use]
    pub fn in_zone(self, zone: Tz) -> Self {
        Clock { zone, ..self }
    }

    /// The instant, in UTC and whole seconds.
    pub fn now(&self) -> DateTime<Utc> {
        self.now - Duration::nanoseconds(i64::from(self.now.timestamp_subsec_nanos()))
    }

    /// The instant at which something is published or put aside, in UTC and whole seconds: later
    /// than [`Clock::now`] in a run that takes long. Only for what records when a copy stood; all
    /// else of a run is of one instant.
    pub fn moment(&self) -> DateTime<Utc> {
        let passed = self.watch.map(|watch| watch.elapsed()).unwrap_or_default();
        let moment = self.now + Duration::from_std(passed).unwrap_or_default();
        moment - Duration::nanoseconds(i64::from(moment.timestamp_subsec_nanos()))
    }

    /// The date it is now in the clock's zone.
    pub fn today(&self) -> NaiveDate {
        self.date_of(self.now)
    }

    /// The time that another instant has on the clocks of the zone.
    pub fn local(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.with_timezone(&self.zone).naive_local()
    }

    /// The instant at which a date ends in the clock's zone. Where the zone skips midnight, the
    /// first instant after it.
    pub fn end_of(&self, date: NaiveDate) -> DateTime<Utc> {
        let next = date.succ_opt().unwrap_or(date);
        let hours = (0..24).filter_map(|hour| next.and_hms_opt(hour, 0, 0));
        hours
            .filter_map(|time| self.zone.from_local_datetime(&time).earliest())
            .next()
            .map_or(DateTime::<Utc>::MAX_UTC, |end| end.to_utc())
    }

    /// The date of another instant in the clock's zone.
    pub fn date_of(&self, instant: DateTime<Utc>) -> NaiveDate {
        instant.with_timezone(&self.zone).date_naive()
    }
}

/// How long something takes; for what is shown to a person, never for a result.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Begins now.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that measures time"
    )]
    pub fn start() -> Self {
        Stopwatch(std::time::Instant::now())
    }

    /// The time since.
    pub fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stands_still() {
        let clock = Clock::read(None).expect("a time");
        let (now, today) = (clock.now, clock.today());
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!((clock.now, clock.today()), (now, today));
        let in_zone = clock.in_zone(Tz::Asia__Tokyo);
        assert_eq!(in_zone.now, now, "another zone is no other instant");
    }

    #[test]
    fn the_zone_decides_the_date() {
        let clock = Clock::read(Some("2024-01-31T23:30:00Z")).expect("a time");
        assert_eq!(clock.today().to_string(), "2024-01-31");
        assert_eq!(
            clock.in_zone(Tz::Europe__Berlin).today().to_string(),
            "2024-02-01"
        );
    }

    #[test]
    fn a_day_ends_when_the_next_one_begins_in_the_zone() {
        let clock = Clock::read(Some("2024-01-31T23:30:00Z")).expect("a time");
        let end = |zone: Tz, (year, month, day)| {
            let date = NaiveDate::from_ymd_opt(year, month, day).expect("a date");
            clock.in_zone(zone).end_of(date).to_rfc3339()
        };
        assert_eq!(end(Tz::UTC, (2024, 1, 31)), "2024-02-01T00:00:00+00:00");
        assert_eq!(
            end(Tz::Europe__Berlin, (2024, 1, 31)),
            "2024-01-31T23:00:00+00:00"
        );
        // Clocks went from midnight to one.
        assert_eq!(
            end(Tz::America__Sao_Paulo, (2018, 11, 3)),
            "2018-11-04T03:00:00+00:00"
        );
    }

    /// The date at an instant in a zone.
    fn date_at(zone: Tz, instant: &str) -> String {
        let clock = Clock::read(Some(instant)).expect("a time");
        clock.in_zone(zone).today().to_string()
    }

    #[test]
    fn the_date_changes_at_midnight_of_the_zone() {
        for (zone, midnight, before, after) in [
            (Tz::UTC, "2024-03-01T00:00:00Z", "2024-02-29", "2024-03-01"),
            (
                Tz::Pacific__Kiritimati,
                "2023-12-31T10:00:00Z",
                "2023-12-31",
                "2024-01-01",
            ),
            (
                Tz::Pacific__Pago_Pago,
                "2024-01-01T11:00:00Z",
                "2023-12-31",
                "2024-01-01",
            ),
            (
                Tz::Asia__Kathmandu,
                "2024-02-28T18:15:00Z",
                "2024-02-28",
                "2024-02-29",
            ),
            // Clocks go from midnight to one o'clock: the day begins at one.
            (
                Tz::America__Santiago,
                "2024-09-08T04:00:00Z",
                "2024-09-07",
                "2024-09-08",
            ),
            // Clocks go back at midnight: the last hour of the day before comes twice.
            (
                Tz::America__Santiago,
                "2024-04-07T04:00:00Z",
                "2024-04-06",
                "2024-04-07",
            ),
            // A whole day is left out.
            (
                Tz::Pacific__Apia,
                "2011-12-30T10:00:00Z",
                "2011-12-29",
                "2011-12-31",
            ),
        ] {
            let instant: DateTime<Utc> = midnight.parse().expect("an instant");
            let moment_before = (instant - Duration::milliseconds(1)).to_rfc3339();
            assert_eq!(date_at(zone, &moment_before), before, "{zone}");
            assert_eq!(date_at(zone, midnight), after, "{zone}");
        }
        // An hour before, where it comes twice.
        assert_eq!(
            date_at(Tz::America__Santiago, "2024-04-07T03:00:00Z"),
            "2024-04-06"
        );
    }
}
