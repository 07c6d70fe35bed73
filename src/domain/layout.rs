//! Layouts: the template between a date and a path.
//!
//! A layout is a path in chrono's strftime, such as `snapshot_date=%Y-%m-%d`,
//! `year=%Y/month=%m/day=%d` or `%Y-%m-%d.csv.gz`. It must be readable backwards: every path has
//! one date. The last component may name a folder or a file.
//!
//! What a layout may have besides a date, to read what other tools write:
//!
//! | layout | a date's files are |
//! | --- | --- |
//! | `country=*/date=%Y-%m-%d` | those of all countries: `*` is any text within a component |
//! | `orders_%Y-%m-%d_*.csv` | all files of these names |
//! | `date=%Y-%m-%d/hour=%H`, `%Y-%m-%d-%H.csv` | those of all hours |
//! | `month=%Y-%m` | those of the month, for its first day; of a year alone, for January 1 |
//!
//! A layout has two parts. The *dated* part ends with the last specifier of the date; its path is
//! the same for all files of a date, but for wildcards. The rest is a pattern: of what follows in
//! the same component, and of the components below.
//!
//! A wildcard before the date scatters a date over as many places as the wildcard has values. A
//! search lists the values, which are few, and puts each in the place of its wildcard
//! ([`Layout::with_value`]). What results is a layout without one, and is searched as any other.
//!
//! Invariants of a [`Layout`]: it has at least one component, no component is empty, `.` or `..`,
//! none begins with `_` or `.`. Of a layout of days, `date(path(d)) == Some(d)` for every date of
//! four-digit years; of months and years, for every first day.

mod parse;

use std::fmt;

use chrono::format::{Parsed, StrftimeItems};
use chrono::{Datelike, NaiveDate};
use glob::{MatchOptions, Pattern};

use self::parse::is_date;
use crate::error::Result;
use crate::model::DateRange;

/// The template between a date and a path; see the module for its invariants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    template: String,
    /// The template up to the last specifier of the date.
    dated: String,
    /// The components of the dated part.
    components: Vec<String>,
    /// The levels of the dated part that are wildcards, with their patterns.
    wildcards: Vec<(usize, Pattern)>,
    /// What follows the date in its component.
    tail: Option<Pattern>,
    /// The components below.
    below: Vec<Pattern>,
    unit: Unit,
}

/// The time that a partition is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Day,
    Month,
    Year,
}

impl Unit {
    /// The date that names the partition in which a date is.
    fn first(self, date: NaiveDate) -> NaiveDate {
        let first = match self {
            Unit::Day => Some(date),
            Unit::Month => date.with_day(1),
            Unit::Year => date.with_day(1).and_then(|date| date.with_month(1)),
        };
        first.unwrap_or(date)
    }
}

/// `*` stays within a component, and a name that begins with `.` or `_` is never data.
const WITHIN: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

impl Layout {
    /// asof's own layout of snapshots.
    pub const SNAPSHOTS: &'static str = "snapshot_date=%Y-%m-%d";

    /// Whether every date has one path, below which is nothing but what is of that date.
    fn is_plain(&self) -> bool {
        self.wildcards.is_empty()
            && self.tail.is_none()
            && self.below.is_empty()
            && self.unit == Unit::Day
    }

    /// The range of the partitions in which the dates of a range are: whole months, if partitions
    /// are of months.
    pub fn around(&self, range: DateRange) -> DateRange {
        DateRange::new(self.unit.first(range.from()), range.to()).unwrap_or(range)
    }

    /// The first level that is a wildcard, with the pattern of its names.
    pub fn wildcard(&self) -> Option<(usize, &Pattern)> {
        self.wildcards
            .first()
            .map(|(level, pattern)| (*level, pattern))
    }

    /// Whether a name can be the value of a wildcard.
    pub fn is_value(pattern: &Pattern, name: &str) -> bool {
        pattern.matches_with(name, WITHIN)
    }

    /// The layout in which the first wildcard is a name that it matches.
    ///
    /// # Errors
    /// A usage error if the name makes no layout.
    pub fn with_value(&self, name: &str) -> Result<Layout> {
        let Some((level, _)) = self.wildcard() else {
            return Ok(self.clone());
        };
        let mut components: Vec<String> = self.template.split('/').map(str::to_owned).collect();
        components[level] = name.replace('%', "%%");
        let mut layout = Layout::parse(&components.join("/"))?;
        // A star in a name is a letter.
        layout.wildcards.retain(|(other, _)| *other != level);
        Ok(layout)
    }

    /// The part of the layout above a level, as the paths of the dates of a range have it, or as a
    /// template if there is no range.
    pub fn folders_above(&self, level: usize, range: Option<DateRange>) -> Vec<String> {
        let Some(range) = range.filter(|_| level > 0) else {
            return vec![self.components[..level].join("/")];
        };
        let mut folders: Vec<String> = Vec::new();
        for date in range.dates() {
            let path = self.path(date);
            let end = component_ends(&path).nth(level - 1).unwrap_or(path.len());
            if folders.last().is_none_or(|last| *last != path[..end]) {
                folders.push(path[..end].to_owned());
            }
        }
        folders.sort();
        folders.dedup();
        folders
    }

    /// Whether a date's path goes on with what only a pattern tells, in the same component.
    pub fn has_tail(&self) -> bool {
        self.tail.is_some()
    }

    /// Whether files are of the layout only if the components below the date match patterns.
    pub fn has_below(&self) -> bool {
        !self.below.is_empty()
    }

    /// Whether the path of a file below a date's is of the layout.
    pub fn takes_below(&self, path: &str) -> bool {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        self.below.iter().all(|pattern| {
            parts
                .next()
                .is_some_and(|part| pattern.matches_with(part, WITHIN))
        })
    }

    /// The names that components of the date have, such as `date` of `date=%Y-%m-%d`, each with the
    /// template of its value.
    pub fn date_names(&self) -> Vec<(String, String)> {
        let parts = self
            .template
            .split('/')
            .filter_map(|part| part.split_once('='));
        let dated = parts.filter(|(_, value)| StrftimeItems::new(value).any(|item| is_date(&item)));
        dated
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn try_path(&self, date: NaiveDate) -> Option<String> {
        use std::fmt::Write;
        let mut path = String::new();
        write!(path, "{}", date.format(&self.dated))
            .ok()
            .map(|()| path)
    }

    /// The path of a date, with `/` between components; of a layout with a pattern behind the date,
    /// what every path of it begins with.
    pub fn path(&self, date: NaiveDate) -> String {
        self.try_path(date).unwrap_or_default()
    }

    /// The date of a path of as many components as the dated part has. Written for that date it
    /// would be the same path, but for wildcards.
    pub fn date(&self, path: &str) -> Option<NaiveDate> {
        let mut path = std::borrow::Cow::Borrowed(path);
        if !self.wildcards.is_empty() {
            let mut parts: Vec<&str> = path.split('/').collect();
            for (level, pattern) in &self.wildcards {
                let part = parts
                    .get_mut(*level)
                    .filter(|part| Layout::is_value(pattern, part))?;
                *part = &self.components[*level];
            }
            path = parts.join("/").into();
        }
        let (date, rest) = self.dated_part(&path)?;
        let is_whole = match &self.tail {
            None => rest.is_empty(),
            Some(tail) => !rest.contains('/') && tail.matches_with(rest, WITHIN),
        };
        is_whole.then_some(date)
    }

    /// The date that a path begins with, and what follows.
    fn dated_part<'p>(&self, path: &'p str) -> Option<(NaiveDate, &'p str)> {
        let mut parsed = Parsed::new();
        let rest =
            chrono::format::parse_and_remainder(&mut parsed, path, StrftimeItems::new(&self.dated))
                .ok()?;
        match self.unit {
            Unit::Day => {}
            Unit::Month => parsed.set_day(1).ok()?,
            Unit::Year => parsed.set_day(1).and_then(|()| parsed.set_month(1)).ok()?,
        }
        let date = parsed.to_naive_date().ok()?;
        let is_written_so = path.strip_suffix(rest) == Some(self.path(date).as_str());
        (is_written_so && (0..10_000).contains(&date.year())).then_some((date, rest))
    }

    /// How many components the path of a date has.
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// The template of a level of the dated part.
    pub(super) fn component(&self, level: usize) -> &str {
        &self.components[level]
    }

    /// Whether a name could stand at `level`: it begins and ends with the literal text there.
    pub fn could_stand(&self, level: usize, name: &str) -> bool {
        let component = &self.components[level];
        let head = component.split(['%', '*']).next().unwrap_or_default();
        name.starts_with(head)
    }
}

/// The byte offsets at which the components of a path end.
pub(super) fn component_ends(path: &str) -> impl Iterator<Item = usize> + '_ {
    path.match_indices('/')
        .map(|(at, _)| at)
        .chain(std::iter::once(path.len()))
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    #[test]
    fn common_layouts_read_back() {
        for (template, path) in [
            ("snapshot_date=%Y-%m-%d", "snapshot_date=2024-03-05"),
            ("year=%Y/month=%m/day=%d", "year=2024/month=03/day=05"),
            ("%Y/%m/items_%Y%m%d.csv.gz", "2024/03/items_20240305.csv.gz"),
            ("%Y/%-m/%-d", "2024/3/5"),
            ("%Y-%j", "2024-065"),
            ("/dt=%F/", "dt=2024-03-05"),
        ] {
            let layout = Layout::parse(template).expect(template);
            assert_eq!(layout.path(date("2024-03-05")), path);
            assert_eq!(layout.date(path), Some(date("2024-03-05")));
        }
    }

    #[test]
    fn a_layout_that_cannot_be_read_back_is_refused() {
        for template in [
            "%m/%d",
            "",
            "%Y//%m/%d",
            "%H/%Y-%m-%d",
            "%H-%Y-%m-%d",
            "%Q",
            "%D",
            "_x/%F",
            "a",
            "*",
            "%Y%-m%-d",
            "../%F",
            "%y-%m-%d",
            "%G-W%V",
            "*_%Y-%m-%d",
            "%c",
            "%Y/*%m/%d",
        ] {
            let error = Layout::parse(template).expect_err(template);
            assert_eq!(error.kind(), crate::error::Kind::Usage, "{template}");
        }
    }

    #[test]
    fn a_layout_may_have_wildcards_hours_and_months() {
        // Each with a path, the parts below, and the date that they are of.
        let cases = [
            (
                "country=*/date=%Y-%m-%d",
                "country=US/date=2024-03-05",
                "",
                Some("2024-03-05"),
            ),
            (
                "country=*/date=%Y-%m-%d",
                "country=US/date=2024-3-5",
                "",
                None,
            ),
            (
                "country=*/date=%Y-%m-%d",
                "region=US/date=2024-03-05",
                "",
                None,
            ),
            (
                "*/%Y/%m/%d",
                "any thing/2024/03/05",
                "a.csv",
                Some("2024-03-05"),
            ),
            ("*/%Y/%m/%d", ".hidden/2024/03/05", "a.csv", None),
            (
                "year=%Y/c=*/day=%j",
                "year=2024/c=%3A/day=065",
                "",
                Some("2024-03-05"),
            ),
            ("x[1]=*/%F", "x[1]=a/2024-03-05", "", Some("2024-03-05")),
            (
                "date=%Y-%m-%d/hour=%H",
                "date=2024-03-05",
                "hour=07/a.parquet",
                Some("2024-03-05"),
            ),
            (
                "date=%Y-%m-%d/hour=%H",
                "date=2024-03-05",
                "hour=7/a.parquet",
                None,
            ),
            (
                "date=%Y-%m-%d/hour=%H",
                "date=2024-03-05",
                "a.parquet",
                None,
            ),
            (
                "date=%Y-%m-%d/*.csv",
                "date=2024-03-05",
                "a.csv",
                Some("2024-03-05"),
            ),
            ("date=%Y-%m-%d/*.csv", "date=2024-03-05", "a.txt", None),
            ("%Y-%m-%d-%H", "2024-03-05-23", "a.csv", Some("2024-03-05")),
            ("%Y-%m-%d-%H", "2024-03-05-x", "a.csv", None),
            ("%Y-%m-%d-%H", "2024-03-05", "a.csv", None),
            ("%Y%m%d%H.csv", "2024030523.csv", "", Some("2024-03-05")),
            (
                "orders_%Y%m%d_*.csv",
                "orders_20240305_a-1.csv",
                "",
                Some("2024-03-05"),
            ),
            ("orders_%Y%m%d_*.csv", "orders_20240305.csv", "", None),
            ("orders_%Y%m%d_*.csv", "orders_20240305_a.csv.bak", "", None),
            ("month=%Y-%m", "month=2024-03", "a.csv", Some("2024-03-01")),
            ("%Y/%m", "2024/03", "", Some("2024-03-01")),
            ("%Y/%m", "2024/13", "", None),
            ("y=%Y", "y=2024", "", Some("2024-01-01")),
        ];
        for (template, path, below, expected) in cases {
            let layout = Layout::parse(template).expect(template);
            let found = layout.date(path).filter(|_| layout.takes_below(below));
            assert_eq!(found, expected.map(date), "{template}, {path}, {below}");
            assert!(
                Layout::parse_written(template).is_err(),
                "{template} is not written"
            );
        }
        assert!(Layout::parse_written("date=%Y-%m-%d").is_ok());
    }

    #[test]
    fn a_value_takes_the_place_of_a_wildcard() {
        let layout = Layout::parse("a=*/%Y/b=*/%m/%d").expect("a layout");
        assert_eq!(
            layout
                .wildcard()
                .map(|(level, pattern)| (level, pattern.as_str().to_owned())),
            Some((0, "a=*".to_owned()))
        );
        let first = layout.with_value("a=50%").expect("a layout");
        assert_eq!(first.wildcard().map(|(level, _)| level), Some(2));
        let range = DateRange::new(date("2023-12-30"), date("2024-01-02")).expect("a range");
        assert_eq!(
            first.folders_above(2, Some(range)),
            ["a=50%/2023", "a=50%/2024"]
        );
        let both = first.with_value("b=x*y").expect("a layout");
        assert!(both.wildcard().is_none(), "a star in a name is a letter");
        assert_eq!(both.path(date("2024-03-05")), "a=50%/2024/b=x*y/03/05");
        assert_eq!(
            both.date("a=50%/2024/b=x*y/03/05"),
            Some(date("2024-03-05"))
        );
    }

    #[test]
    fn the_names_of_a_date_are_told() {
        let names = |template: &str| Layout::parse(template).expect(template).date_names();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            names("country=*/date=%Y-%m-%d/hour=%H"),
            [pair("date", "%Y-%m-%d")]
        );
        assert_eq!(
            names("year=%Y/month=%m/%d"),
            [pair("year", "%Y"), pair("month", "%m")]
        );
    }

    #[test]
    fn a_path_that_is_nearly_a_date_is_none() {
        let layout = Layout::parse("dt=%Y-%m-%d").expect("a layout");
        for path in [
            "dt=2024-3-05",
            "dt=2024-02-30",
            "dt=2024-03-05x",
            "2024-03-05",
            "dt= 2024-03-05",
            "dt=+2024-03-05",
        ] {
            assert_eq!(layout.date(path), None, "{path}");
        }
    }
}
