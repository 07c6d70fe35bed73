//! Which copies of a table stay when the others are pruned: the rules of `restic forget`.
//!
//! `daily = 7` keeps the last copy of each of the last 7 days that have one, and so do `weekly`,
//! `monthly` and `yearly`; days without a copy do not count. `last = 7` keeps the last 7 copies,
//! and `within = "90d"` those whose dates are less than 90 days before the newest. A copy stays if
//! one rule keeps it. The newest copy and the oldest always stay.
//!
//! What the rules keep does not change if they are applied to it again. So a run that is repeated,
//! or that was interrupted, ends with the same copies.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, Months, NaiveDate};
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result, shorten};

/// The rules: `keep` of a table in `asof.toml`, and the options `--keep-...`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepRules {
    /// How many of the last copies stay.
    pub last: Option<KeepCount>,
    /// Of how many days the last copy stays.
    pub daily: Option<KeepCount>,
    /// Of how many calendar weeks, from Monday to Sunday.
    pub weekly: Option<KeepCount>,
    /// Of how many months.
    pub monthly: Option<KeepCount>,
    /// Of how many years.
    pub yearly: Option<KeepCount>,
    /// How long before the newest copy all copies stay.
    pub within: Option<KeepSpan>,
}

/// Why a copy stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepReason {
    /// It is one of the last.
    Last,
    /// It is the last of its day.
    Daily,
    /// It is the last of its week.
    Weekly,
    /// It is the last of its month.
    Monthly,
    /// It is the last of its year.
    Yearly,
    /// It is young enough.
    Within,
    /// It is the newest, and no rule keeps it.
    Newest,
    /// It is the oldest, and no rule keeps it.
    Oldest,
}

impl KeepReason {
    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            KeepReason::Last => "last",
            KeepReason::Daily => "daily",
            KeepReason::Weekly => "weekly",
            KeepReason::Monthly => "monthly",
            KeepReason::Yearly => "yearly",
            KeepReason::Within => "within",
            KeepReason::Newest => "newest",
            KeepReason::Oldest => "oldest",
        }
    }
}

impl KeepRules {
    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == KeepRules::default()
    }

    /// Why each of some dates stays, if it does. The dates are those of copies, ascending.
    pub fn reasons(&self, dates: &[NaiveDate]) -> Vec<Vec<KeepReason>> {
        let mut reasons = vec![Vec::new(); dates.len()];
        let (Some(oldest), Some(newest)) = (dates.first(), dates.last()) else {
            return reasons;
        };
        for (reason, count) in self.counts() {
            let mut left = count.map_or(0, KeepCount::most);
            let mut before = None;
            for (date, reasons) in dates.iter().zip(&mut reasons).rev() {
                let bucket = Some(reason.bucket(*date));
                if left > 0 && bucket != before {
                    reasons.push(reason);
                    left -= 1;
                    before = bucket;
                }
            }
        }
        for (date, reasons) in dates.iter().zip(&mut reasons) {
            if self.within.is_some_and(|span| *date > span.before(*newest)) {
                reasons.push(KeepReason::Within);
            }
            match date {
                _ if !reasons.is_empty() => {}
                date if date == newest => reasons.push(KeepReason::Newest),
                date if date == oldest => reasons.push(KeepReason::Oldest),
                _ => {}
            }
        }
        reasons
    }

    fn counts(&self) -> [(KeepReason, Option<KeepCount>); 5] {
        [
            (KeepReason::Last, self.last),
            (KeepReason::Daily, self.daily),
            (KeepReason::Weekly, self.weekly),
            (KeepReason::Monthly, self.monthly),
            (KeepReason::Yearly, self.yearly),
        ]
    }
}

impl KeepReason {
    /// What copies that a rule takes for one have in common. A table has one copy a day at most.
    fn bucket(self, date: NaiveDate) -> (i32, u32) {
        match self {
            KeepReason::Weekly => (date.iso_week().year(), date.iso_week().week()),
            KeepReason::Monthly => (date.year(), date.month()),
            KeepReason::Yearly => (date.year(), 0),
            _ => (date.year(), date.ordinal()),
        }
    }
}

impl fmt::Display for KeepRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts().into_iter();
        let counts = counts.filter_map(|(reason, count)| Some((reason, count?.to_string())));
        let within = self
            .within
            .map(|span| (KeepReason::Within, span.to_string()));
        let rules: Vec<String> = counts
            .chain(within)
            .map(|(reason, value)| format!("{} {value}", reason.name()))
            .collect();
        f.write_str(&rules.join(", "))
    }
}

/// How many copies a rule keeps: 1 or more, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepCount {
    /// So many.
    Of(u32),
    /// All that there are.
    Unlimited,
}

impl KeepCount {
    fn most(self) -> u32 {
        match self {
            KeepCount::Of(count) => count,
            KeepCount::Unlimited => u32::MAX,
        }
    }

    fn of(number: u64) -> Option<Self> {
        let number = u32::try_from(number).ok().filter(|number| *number > 0);
        number.map(KeepCount::Of)
    }
}

impl FromStr for KeepCount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let count = match text {
            "unlimited" => Some(KeepCount::Unlimited),
            number => number.parse().ok().and_then(KeepCount::of),
        };
        count.ok_or_else(|| {
            Error::usage(format!("'{}' is not a number of copies", shorten(text)))
                .hint("a number of 1 or more, or unlimited")
        })
    }
}

impl fmt::Display for KeepCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepCount::Of(count) => write!(f, "{count}"),
            KeepCount::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// Reads a number or `unlimited`.
struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = KeepCount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of 1 or more, or \"unlimited\"")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> std::result::Result<KeepCount, E> {
        KeepCount::of(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> std::result::Result<KeepCount, E> {
        let count = u64::try_from(number).ok().and_then(KeepCount::of);
        count.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<KeepCount, E> {
        match text {
            "unlimited" => Ok(KeepCount::Unlimited),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for KeepCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

/// A span of the calendar, written as restic does: `90d`, `6m`, `1y6m`, and also `2w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KeepSpan {
    months: u32,
    days: u32,
}

impl KeepSpan {
    /// The date this long before another.
    pub fn before(self, date: NaiveDate) -> NaiveDate {
        let earlier = date.checked_sub_months(Months::new(self.months));
        earlier
            .and_then(|date| date.checked_sub_days(Days::new(u64::from(self.days))))
            .unwrap_or(NaiveDate::MIN)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut span = KeepSpan::default();
        let mut rest = text;
        while !rest.is_empty() {
            let unit = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u32 = rest[..unit].parse().ok()?;
            let (months, days) = match rest.as_bytes()[unit] {
                b'y' => (number.checked_mul(12)?, 0),
                b'm' => (number, 0),
                b'w' => (0, number.checked_mul(7)?),
                b'd' => (0, number),
                _ => return None,
            };
            span.months = span.months.checked_add(months)?;
            span.days = span.days.checked_add(days)?;
            rest = &rest[unit + 1..];
        }
        (!text.is_empty()).then_some(span)
    }
}

impl FromStr for KeepSpan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        KeepSpan::parse(text).ok_or_else(|| {
            Error::usage(format!("'{}' is not a span of time", shorten(text)))
                .hint("a span is written 90d, 2w, 6m, 2y or 1y6m")
        })
    }
}

impl fmt::Display for KeepSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.months / 12, 'y'),
            (self.months % 12, 'm'),
            (self.days, 'd'),
        ];
        if *self == KeepSpan::default() {
            return f.write_str("0d");
        }
        let mut given = parts.iter().filter(|(number, _)| *number > 0);
        given.try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl Serialize for KeepSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeepSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| {
            serde::de::Error::custom(format!("{error} ({})", error.hints().join("; ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{DateRange, parse_date};

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn rules(text: &str) -> KeepRules {
        toml::from_str(text).expect("rules")
    }

    /// The dates that stay, with their reasons.
    fn kept(text: &str, dates: &[NaiveDate]) -> Vec<(String, String)> {
        let reasons = rules(text).reasons(dates);
        let kept = dates.iter().zip(reasons);
        kept.filter(|(_, reasons)| !reasons.is_empty())
            .map(|(date, reasons)| {
                let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
                (date.to_string(), names.join(", "))
            })
            .collect()
    }

    fn days(from: &str, to: &str) -> Vec<NaiveDate> {
        let range = DateRange::new(date(from), date(to)).expect("a range");
        range.dates().collect()
    }

    /// The copies of twelve Sundays that restic's manual has as its example.
    fn sundays() -> Vec<NaiveDate> {
        let days = days("2019-09-01", "2019-11-17");
        days.into_iter().step_by(7).collect()
    }

    #[test]
    fn the_last_four_days_of_restics_twelve_sundays_stay_and_the_oldest() {
        let expected = [
            ("2019-09-01", "oldest"),
            ("2019-10-27", "daily"),
            ("2019-11-03", "daily"),
            ("2019-11-10", "daily"),
            ("2019-11-17", "daily"),
        ];
        let expected = expected.map(|(date, why)| (date.to_owned(), why.to_owned()));
        assert_eq!(kept("daily = 4", &sundays()), expected);
        let of_weeks = kept("weekly = 4", &sundays());
        assert_eq!(of_weeks.len(), 5, "{of_weeks:?}");
        assert_eq!(kept("daily = 99", &sundays()).len(), 12);
    }

    #[test]
    fn of_restics_hundred_years_of_daily_copies_the_documented_numbers_stay() {
        let all = days("1924-01-01", "2023-12-31");
        let all_rules = "daily = 7\nweekly = 5\nmonthly = 12\nyearly = 75";
        let kept = kept(all_rules, &all);
        let with = |name: &str| {
            let has = |(_, why): &&(String, String)| why.split(", ").any(|one| one == name);
            kept.iter().filter(has).count()
        };
        assert_eq!(
            ["daily", "weekly", "monthly", "yearly", "oldest"].map(with),
            [7, 5, 12, 75, 1]
        );
        let only = |name: &str| kept.iter().filter(|(_, why)| why == name).count();
        // Seven dailies include one weekly at least; the last of the year is a month's last, too.
        assert_eq!(only("weekly"), 4);
        assert_eq!(only("monthly"), 11);
        assert_eq!(only("yearly"), 74);
    }

    #[test]
    fn a_span_is_counted_back_from_the_newest_copy_and_not_from_today() {
        let all = days("2024-01-01", "2024-03-31");
        for (span, first) in [
            ("7d", "2024-03-25"),
            ("1w", "2024-03-25"),
            ("1m", "2024-03-01"),
            ("1m1d", "2024-02-29"),
            ("1y", "2024-01-01"),
        ] {
            let kept = kept(&format!("within = '{span}'"), &all);
            let within: Vec<_> = kept.iter().filter(|(_, why)| why == "within").collect();
            assert_eq!(within[0].0, first, "{span}");
        }
    }

    #[test]
    fn a_copy_stays_if_one_rule_keeps_it_and_the_newest_and_the_oldest_always_stay() {
        let all = days("2024-02-27", "2024-03-03");
        let why: Vec<String> = kept("last = 2\nmonthly = 2", &all)
            .into_iter()
            .map(|(date, why)| format!("{date} {why}"))
            .collect();
        let expected = [
            "2024-02-27 oldest",
            "2024-02-29 monthly",
            "2024-03-02 last",
            "2024-03-03 last, monthly",
        ];
        assert_eq!(why, expected);
        let none = kept("", &all);
        assert_eq!(none.len(), 2);
        assert_eq!(
            (none[0].1.as_str(), none[1].1.as_str()),
            ("oldest", "newest")
        );
        assert!(rules("last = 1").reasons(&[]).is_empty());
        // The last days of 2024 are of the first week of 2025.
        let turn = days("2024-12-29", "2025-01-02");
        let weeks = kept("weekly = 2", &turn);
        assert_eq!(
            (weeks[0].0.as_str(), weeks[1].0.as_str()),
            ("2024-12-29", "2025-01-02")
        );
    }

    #[test]
    fn rules_are_read_and_shown() {
        let all = "last = 7\ndaily = 30\nweekly = 1\nmonthly = 24\nyearly = 'unlimited'\nwithin = '1y6m2w'";
        assert_eq!(
            rules(all).to_string(),
            "last 7, daily 30, weekly 1, monthly 24, yearly unlimited, within 1y6m14d"
        );
        assert!(rules("").is_empty() && !rules("last = 1").is_empty());
        for wrong in [
            "last = 0",
            "last = -1",
            "last = 1.5",
            "last = '7'",
            "last = true",
            "hourly = 1",
            "within = 90",
            "within = ''",
            "within = '90'",
            "within = 'd'",
            "within = '1h'",
            "within = '99999999999d'",
        ] {
            assert!(toml::from_str::<KeepRules>(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "-1", "1.5", "", "all"] {
            assert!(wrong.parse::<KeepCount>().is_err(), "{wrong}");
        }
        assert_eq!("0d".parse::<KeepSpan>().expect("a span").to_string(), "0d");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_kept_again(
            steps in prop::collection::vec(1_u64..60, 1..60),
            last in 0_u32..4, daily in 0_u32..4, weekly in 0_u32..4, monthly in 0_u32..4,
            yearly in 0_u32..4, within in 0_u32..100,
        ) {
            let count = |number: u32| KeepCount::of(u64::from(number));
            let rules = KeepRules {
                last: count(last),
                daily: count(daily),
                weekly: count(weekly),
                monthly: count(monthly),
                yearly: count(yearly),
                within: (within > 0).then_some(KeepSpan { months: 0, days: within }),
            };
            let first = date("2020-02-28");
            let dates: Vec<NaiveDate> = steps
                .iter()
                .scan(first, |date, step| {
                    *date = *date + Days::new(*step);
                    Some(*date)
                })
                .collect();
            let stay = |dates: &[NaiveDate]| -> Vec<NaiveDate> {
                let reasons = rules.reasons(dates);
                let kept = dates.iter().zip(&reasons).filter(|(_, why)| !why.is_empty());
                kept.map(|(date, _)| *date).collect()
            };
            let kept = stay(&dates);
            prop_assert_eq!(stay(&kept), kept.clone());
            // An interrupted run has deleted some of the others.
            let some: Vec<NaiveDate> = dates
                .iter()
                .copied()
                .enumerate()
                .filter(|(at, date)| at % 3 > 0 || kept.contains(date))
                .map(|(_, date)| date)
                .collect();
            prop_assert_eq!(stay(&some), kept.clone());
            prop_assert!(kept.contains(&dates[0]) && kept.contains(&dates[dates.len() - 1]));
        }
    }
}
