//! Placeholders: what stands for the date in a job's SQL, and in the source of a table that has a
//! state for each date.
//!
//! | placeholder | in SQL | in quotes, and in a path |
//! | --- | --- | --- |
//! | `{date}`, `{yesterday}` | `DATE '2024-01-31'` | `2024-01-31` |
//! | `{start}`, `{end}`, in jobs only | `TIMESTAMPTZ '2024-01-31T00:00:00Z'` | `2024-01-31T00:00:00Z` |
//! | `{date:%Y%m%d}`, any of them | the formatted text, `20240131` | the same |
//!
//! Names are read in either case. The day begins at `{start}` and ends before `{end}`, in the time
//! zone of the job. Of SQL, `sql` has the rules.

#[cfg(any(feature = "sql", feature = "databases"))]
pub mod sql;

use std::fmt::Write as _;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::error::{Error, Result};

/// The date that a job runs for, in its time zone.
#[derive(Clone, Copy, Debug)]
pub struct JobDay {
    /// The date.
    pub date: NaiveDate,
    /// The time zone in which the day begins and ends.
    pub zone: Tz,
}

impl JobDay {
    /// A date whose day begins and ends at midnight in UTC.
    pub fn utc(date: NaiveDate) -> Self {
        JobDay {
            date,
            zone: Tz::UTC,
        }
    }

    /// When the day begins: at midnight, or at the first moment after it that the zone has.
    pub fn start(&self) -> DateTime<Tz> {
        begin(self.date, self.zone)
    }

    /// When the next day begins.
    pub fn end(&self) -> DateTime<Tz> {
        begin(self.date + Days::new(1), self.zone)
    }
}

fn begin(date: NaiveDate, zone: Tz) -> DateTime<Tz> {
    let midnight = date.and_time(NaiveTime::MIN);
    // Some zones skip midnight, and Samoa skipped a whole day.
    let quarters = (0..=4 * 25).map(|quarter| midnight + TimeDelta::minutes(15 * quarter));
    let first = quarters
        .filter_map(|time| zone.from_local_datetime(&time).earliest())
        .next();
    first.unwrap_or_else(|| zone.from_utc_datetime(&midnight))
}

/// What a placeholder stands for.
#[derive(Clone, Copy)]
enum PlaceholderValue {
    Date(NaiveDate),
    Time(DateTime<Tz>),
}

impl PlaceholderValue {
    /// The value of a name, which may be written in either case.
    fn of(name: &str, day: JobDay) -> Option<PlaceholderValue> {
        Some(match name.to_ascii_lowercase().as_str() {
            "date" => PlaceholderValue::Date(day.date),
            "yesterday" => PlaceholderValue::Date(day.date - Days::new(1)),
            "start" => PlaceholderValue::Time(day.start()),
            "end" => PlaceholderValue::Time(day.end()),
            _ => return None,
        })
    }

    fn text(self) -> String {
        match self {
            PlaceholderValue::Date(date) => date.to_string(),
            PlaceholderValue::Time(time) => time
                .with_timezone(&Utc)
                .to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }

    /// The text of a format; `what` has the placeholder.
    fn formatted(self, format: &str, what: &str) -> Result<String> {
        let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
        let mut text = String::new();
        let done = match self {
            _ if items.contains(&Item::Error) => Err(std::fmt::Error),
            PlaceholderValue::Date(date) => {
                write!(text, "{}", date.format_with_items(items.iter()))
            }
            PlaceholderValue::Time(time) => {
                write!(text, "{}", time.format_with_items(items.iter()))
            }
        };
        done.map_err(|_| {
            Error::usage(format!(
                "{what}: '{format}' is not a format of a {}",
                if matches!(self, PlaceholderValue::Date(_)) {
                    "date"
                } else {
                    "time"
                }
            ))
            .hint(
                "a format is written as in strftime, such as {date:%Y%m%d} or \
                 {start:%Y-%m-%d %H:%M:%S}",
            )
        })?;
        Ok(text)
    }
}

/// The placeholders of a source, for hints.
const KNOWN_IN_SOURCES: &str =
    "the placeholders of a source are {date} and {yesterday}, and with a format {date:%Y%m%d}";

/// A placeholder of a text: where it stands, and what is between its braces.
struct PlacedName<'t> {
    start: usize,
    end: usize,
    name: &'t str,
    format: Option<&'t str>,
}

/// The names in braces, with or without a format. `${VARIABLE}` is none, and neither are braces
/// around anything else, such as `{a,b}`.
fn placed(text: &str) -> impl Iterator<Item = PlacedName<'_>> {
    text.match_indices('{').filter_map(|(start, _)| {
        let (inside, _) = text[start + 1..].split_once('}')?;
        let (name, format) = inside
            .split_once(':')
            .map_or((inside, None), |(name, format)| (name, Some(format)));
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let is_variable = text[..start].ends_with('$');
        (is_name && !is_variable).then_some(PlacedName {
            start,
            end: start + inside.len() + 2,
            name,
            format,
        })
    })
}

/// Whether a text has a name in braces, which may be a placeholder.
pub fn has_names_in_braces(text: &str) -> bool {
    placed(text).next().is_some()
}

/// The path, the URL or the name of a source with the values of a date in the places of its
/// placeholders; nothing if it has none.
///
/// # Errors
/// A usage error for another name in braces, and for a wrong format. `what` is the source.
pub fn bind_name(text: &str, date: NaiveDate, what: &str) -> Result<Option<String>> {
    let day = JobDay::utc(date);
    let mut bound = String::with_capacity(text.len());
    let mut from = 0;
    for PlacedName {
        start,
        end,
        name,
        format,
    } in placed(text)
    {
        let value = PlaceholderValue::of(name, day)
            .filter(|value| matches!(value, PlaceholderValue::Date(_)))
            .filter(|_| format.is_none_or(|format| format.contains('%')));
        let Some(value) = value else {
            let inside = &text[start..end];
            return Err(
                Error::usage(format!("{what}: there is no placeholder {inside}"))
                    .hint(KNOWN_IN_SOURCES)
                    .hint(format!("[{{]{}, for a brace in a name", &inside[1..])),
            );
        };
        bound.push_str(&text[from..start]);
        match format {
            Some(format) => bound.push_str(&value.formatted(format, what)?),
            None => bound.push_str(&value.text()),
        }
        from = end;
    }
    bound.push_str(&text[from..]);
    Ok((from > 0).then_some(bound))
}

/// A path with placeholders as a place to search: what is above the first of them, and a layout
/// below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatedPath {
    /// The folder, as the path has it.
    pub above: String,
    /// The template of a layout.
    pub layout: String,
    /// By how many days the date of the path is before the one that it stands for.
    pub days_before: u64,
}

/// How a path with placeholders is searched for the dates that there are; nothing if it has no
/// placeholder, or such that are of several dates.
pub fn dated_path(text: &str) -> Option<DatedPath> {
    let first = placed(text).next()?;
    let slash = text[..first.start].rfind('/');
    let below = slash.map_or(0, |slash| slash + 1);
    let mut layout = String::new();
    let mut from = below;
    for PlacedName {
        start,
        end,
        name,
        format,
    } in placed(text)
    {
        if !name.eq_ignore_ascii_case(first.name) {
            return None;
        }
        layout += &text[from..start].replace('%', "%%");
        layout += format.unwrap_or("%Y-%m-%d");
        from = end;
    }
    layout += &text[from..].replace('%', "%%");
    Some(DatedPath {
        above: match slash {
            None => ".".to_owned(),
            Some(0) => "/".to_owned(),
            Some(slash) => text[..slash].to_owned(),
        },
        layout,
        days_before: u64::from(first.name.eq_ignore_ascii_case("yesterday")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    fn bound(text: &str) -> Result<Option<String>> {
        let date = parse_date("2024-03-01").expect("a date");
        bind_name(text, date, &format!("the source '{text}'"))
    }

    #[test]
    fn the_date_takes_the_place_of_its_name_in_a_path() {
        for (text, expected) in [
            ("exports/item_{date}.csv", "exports/item_2024-03-01.csv"),
            ("s3://b/{DATE:%Y/%m/%d}/*", "s3://b/2024/03/01/*"),
            ("{yesterday}-{date:%d}.csv", "2024-02-29-01.csv"),
            ("${date}/{date}", "${date}/2024-03-01"),
        ] {
            assert_eq!(bound(text).expect(text).as_deref(), Some(expected));
        }
        for text in [
            "item.csv",
            "${VAR}/item.csv",
            "{a,b}.csv",
            "{}",
            "{ date }",
            "x{",
            "{3F25-04E0}/item.csv",
            "[{]date}.csv",
        ] {
            assert_eq!(bound(text).expect(text), None, "{text}");
            assert_eq!(dated_path(text), None, "{text}");
        }
    }

    #[test]
    fn another_name_in_braces_is_no_path() {
        for (text, name) in [
            ("{ds}.csv", "{ds}"),
            ("{{ds}}.csv", "{ds}"),
            ("{start}.csv", "{start}"),
            ("{date}/{prod}/x.csv", "{prod}"),
            ("{date:ymd}.csv", "{date:ymd}"),
        ] {
            let error = bound(text).expect_err(text);
            let what = format!("the source '{text}': there is no placeholder {name}");
            assert_eq!(error.to_string(), what);
            assert_eq!(error.hints()[0], KNOWN_IN_SOURCES);
            let literal = error.hints()[1].split(',').next().unwrap_or_default();
            let written = text.replace(name, literal).replace("{date}", "x");
            assert!(!written.contains(name), "{written}");
        }
        let error = bound("{date:%H}.csv").expect_err("a date has no hour");
        assert!(
            error
                .to_string()
                .ends_with("'%H' is not a format of a date")
        );
    }

    #[test]
    fn a_path_with_dates_is_a_layout_below_a_folder() {
        let path = |above: &str, layout: &str, days_before| DatedPath {
            above: above.to_owned(),
            layout: layout.to_owned(),
            days_before,
        };
        for (text, expected) in [
            ("in/item_{date}.csv", path("in", "item_%Y-%m-%d.csv", 0)),
            ("{date}.csv", path(".", "%Y-%m-%d.csv", 0)),
            ("/{date:%Y/%m/%d}/*.csv", path("/", "%Y/%m/%d/*.csv", 0)),
            ("s3://b/50%_{Yesterday}", path("s3://b", "50%%_%Y-%m-%d", 1)),
        ] {
            assert_eq!(dated_path(text), Some(expected), "{text}");
        }
        assert_eq!(dated_path("{date}/{yesterday}.csv"), None);
    }
}
