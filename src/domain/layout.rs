//! Layouts: the template between a date and a path, and the search that a range needs.
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

use std::collections::HashSet;
use std::fmt;

use chrono::format::{Fixed, Item, Numeric, Parsed, StrftimeItems};
use chrono::{Datelike, NaiveDate};
use glob::{MatchOptions, Pattern};

use crate::error::{Error, Result};
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

/// Whether a specifier is of the time of day.
fn is_time(item: &Item<'_>) -> bool {
    use Numeric as N;
    match item {
        Item::Numeric(N::Hour | N::Hour12 | N::Minute | N::Second | N::Nanosecond, _) => true,
        Item::Fixed(fixed) => matches!(fixed, Fixed::LowerAmPm | Fixed::UpperAmPm),
        _ => false,
    }
}

/// Whether a specifier is of the date.
fn is_date(item: &Item<'_>) -> bool {
    match item {
        Item::Numeric(..) => !is_time(item),
        Item::Fixed(fixed) => {
            matches!(
                fixed,
                Fixed::ShortMonthName
                    | Fixed::LongMonthName
                    | Fixed::ShortWeekdayName
                    | Fixed::LongWeekdayName
            )
        }
        _ => false,
    }
}

/// The specifiers of a template with the literal text between them, each as it is written.
fn pieces(template: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let end = match rest.strip_prefix('%') {
            None => rest.find('%').unwrap_or(rest.len()),
            Some(specifier) => {
                let modifiers = specifier.len()
                    - specifier
                        .trim_start_matches(['-', '_', '0', ':', '.', '#', '3', '6', '9'])
                        .len();
                let letter = specifier[modifiers..]
                    .chars()
                    .next()
                    .map_or(0, char::len_utf8);
                1 + modifiers + letter
            }
        };
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// The pattern of names that a part of a template without a date stands for.
fn pattern(part: &str) -> Option<Pattern> {
    let mut text = String::new();
    for piece in pieces(part) {
        match piece {
            "%%" => text.push('%'),
            _ if piece.starts_with('%') && StrftimeItems::new(piece).all(|item| is_time(&item)) => {
                text += "[0-9][0-9]"
            }
            _ if piece.starts_with('%') => return None,
            literal => literal.chars().for_each(|c| match c {
                '?' | '[' | ']' => text += &Pattern::escape(&c.to_string()),
                c => text.push(c),
            }),
        }
    }
    // In a path, `**` would be more than one component.
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Pattern::new(&text).ok()
}

/// Dates whose paths must read back: both ends of months, leap days, one- and two-digit days.
const PROBES: [(i32, u32, u32); 10] = [
    (1999, 12, 31),
    (2000, 1, 1),
    (2000, 2, 29),
    (2007, 7, 7),
    (2010, 10, 10),
    (2019, 12, 30),
    (2021, 1, 3),
    (2024, 11, 12),
    (2024, 12, 11),
    (2099, 9, 21),
];

impl Layout {
    /// asof's own layout of snapshots.
    pub const SNAPSHOTS: &'static str = "snapshot_date=%Y-%m-%d";

    /// Reads a template.
    ///
    /// # Errors
    /// A usage error that says why the template cannot be used: an unknown specifier, a wildcard
    /// that the date follows in one component, or a path that does not give its date back.
    pub fn parse(template: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::usage(format!("layout '{template}' {why}")).hint(
                "a layout is a path in strftime, such as 'snapshot_date=%Y-%m-%d' or \
                 'year=%Y/month=%m/day=%d'",
            )
        };
        let trimmed = template.trim_matches('/');
        let all: Vec<&str> = trimmed.split('/').collect();
        for component in &all {
            if component.is_empty() || component.starts_with(['_', '.']) {
                return Err(wrong(format!(
                    "has the component '{component}', which readers skip"
                )));
            }
            if StrftimeItems::new(component).any(|item| matches!(item, Item::Error)) {
                return Err(wrong(format!(
                    "has a specifier in '{component}' that strftime does not support"
                )));
            }
        }
        let has_date = |component: &&str| StrftimeItems::new(component).any(|item| is_date(&item));
        // Without a date, the probes below say what is wrong.
        let last = all.iter().rposition(has_date).unwrap_or(all.len() - 1);
        let parts = pieces(all[last]);
        let end = parts
            .iter()
            .rposition(has_date)
            .map_or(parts.len(), |at| at + 1);
        let head = parts[..end].concat();
        let tail = parts[end..].concat();
        let is_pattern =
            |part: &str| part.contains('*') || StrftimeItems::new(part).any(|item| is_time(&item));
        let (leaf, tail) = if is_pattern(&tail) {
            (head, Some(tail))
        } else {
            (all[last].to_owned(), None)
        };
        let mut wildcards = Vec::new();
        for (level, component) in all[..last]
            .iter()
            .copied()
            .chain([leaf.as_str()])
            .enumerate()
        {
            if StrftimeItems::new(component).any(|item| is_time(&item)) {
                return Err(wrong(format!(
                    "has a time of day before the date, in '{component}'"
                )));
            }
            if component.contains('*') {
                if has_date(&component) {
                    return Err(wrong(format!(
                        "has a '*' and then a date in one component, '{component}'"
                    )));
                }
                wildcards.push((
                    level,
                    pattern(component)
                        .ok_or_else(|| wrong(format!("has a wrong pattern in '{component}'")))?,
                ));
            }
        }
        let as_pattern = |part: &str| {
            pattern(part).ok_or_else(|| wrong(format!("has a wrong pattern in '{part}'")))
        };
        let below = all[last + 1..]
            .iter()
            .map(|component| as_pattern(component))
            .collect::<Result<Vec<_>>>()?;
        let tail = tail.as_deref().map(as_pattern).transpose()?;
        let components: Vec<String> = all[..last]
            .iter()
            .map(|component| (*component).to_owned())
            .chain([leaf])
            .collect();
        let dated = components.join("/");
        let mut layout = Layout {
            template: trimmed.to_owned(),
            dated,
            components,
            wildcards,
            tail,
            below,
            unit: Unit::Day,
        };
        layout.unit = layout.unit_of_paths();
        for (year, month, day) in PROBES {
            let Some(probe) =
                NaiveDate::from_ymd_opt(year, month, day).map(|date| layout.unit.first(date))
            else {
                continue;
            };
            let Some(path) = layout.try_path(probe) else {
                return Err(wrong("cannot be written for a date".into()));
            };
            if path.split('/').count() != layout.components.len() {
                return Err(wrong("has a specifier that writes a '/'".into()));
            }
            match layout.dated_part(&path) {
                Some((back, "")) if back == probe => {}
                Some((back, "")) => {
                    return Err(wrong(format!(
                        "does not identify one date: {probe} becomes '{path}', which reads as \
                         {back}"
                    )));
                }
                _ => {
                    return Err(wrong(format!(
                        "does not identify one date: {probe} becomes '{path}', which cannot be \
                         read back"
                    )));
                }
            }
        }
        Ok(layout)
    }

    /// Reads the template of a place that asof writes to, in which every date has one path.
    ///
    /// # Errors
    /// As [`Layout::parse`]; and for a wildcard, a time of day, or a partition that is more than a
    /// date.
    pub fn parse_written(template: &str) -> Result<Self> {
        let layout = Layout::parse(template)?;
        if layout.is_plain() {
            return Ok(layout);
        }
        Err(Error::usage(format!(
            "layout '{template}' can be read, but not written: each date needs a path of its own"
        ))
        .hint("write a layout of days without wildcards, such as 'date=%Y-%m-%d'"))
    }

    /// Whether every date has one path, below which is nothing but what is of that date.
    fn is_plain(&self) -> bool {
        self.wildcards.is_empty()
            && self.tail.is_none()
            && self.below.is_empty()
            && self.unit == Unit::Day
    }

    /// What one path is of: two days that have the same path are not told apart.
    fn unit_of_paths(&self) -> Unit {
        let path = |month, day| {
            NaiveDate::from_ymd_opt(2023, month, day).and_then(|date| self.try_path(date))
        };
        let same_days = [(1, 2), (8, 9), (14, 15), (27, 28)]
            .iter()
            .all(|(one, other)| path(3, *one) == path(3, *other));
        match same_days {
            true if path(3, 1) == path(8, 1) => Unit::Year,
            true => Unit::Month,
            false => Unit::Day,
        }
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

    /// Whether a name could stand at `level`: it begins and ends with the literal text there.
    pub fn could_stand(&self, level: usize, name: &str) -> bool {
        let component = &self.components[level];
        let head = component.split(['%', '*']).next().unwrap_or_default();
        name.starts_with(head)
    }

    /// The layouts that differ only in whether months and days have two digits, first the one that
    /// differs in both: tools that take partitions for integers write `month=1/day=3`.
    pub fn other_paddings(&self) -> Vec<Layout> {
        let mut templates = vec![self.template.clone()];
        for (padded, unpadded) in [("%m", "%-m"), ("%d", "%-d")] {
            let toggled = |template: &String| match template.contains(unpadded) {
                true => template.replace(unpadded, padded),
                false => template.replace(padded, unpadded),
            };
            let others: Vec<String> = templates.iter().map(toggled).collect();
            templates.extend(others);
        }
        let mut others: Vec<String> = Vec::new();
        for template in templates.into_iter().rev() {
            if template != self.template && !others.contains(&template) {
                others.push(template);
            }
        }
        others
            .iter()
            .filter_map(|template| Layout::parse(template).ok())
            .collect()
    }

    /// Whether a name at `level` is a part of a date, but not as this layout writes it: `month=1`
    /// for `month=01`.
    fn is_padded_otherwise(&self, level: usize, name: &str) -> bool {
        let component = &self.components[level];
        let mut parsed = Parsed::new();
        if chrono::format::parse(&mut parsed, name, StrftimeItems::new(component)).is_err() {
            return false;
        }
        let part = |value: Option<u32>| value.unwrap_or(1);
        let date = NaiveDate::from_ymd_opt(
            parsed.year().unwrap_or(2000),
            part(parsed.month()),
            part(parsed.day()),
        );
        date.is_some_and(|date| date.format(component).to_string() != name)
    }

    /// The layout, of [`Layout::other_paddings`], in which a path at `level` leads to a date that
    /// is asked for.
    pub fn padded_otherwise(
        &self,
        level: usize,
        path: &str,
        range: Option<DateRange>,
    ) -> Option<Layout> {
        if !self.is_padded_otherwise(level, path.rsplit('/').next().unwrap_or(path)) {
            return None;
        }
        self.other_paddings().into_iter().find(|other| {
            let search = other.search(range);
            if level + 1 < other.depth() {
                search.opens(level, path)
            } else {
                search.leaf(path).is_some()
            }
        })
    }

    /// What to open to find the dates of a range, or all dates when there is none.
    pub fn search(&self, range: Option<DateRange>) -> Search<'_> {
        let wanted = range.map(|range| {
            let folders = self.depth() - 1;
            let mut levels = vec![HashSet::new(); folders];
            // The leaves of a range are told by their dates: a range that is open at one end has
            // millions.
            let dates = range
                .dates()
                .take(if folders == 0 { 0 } else { usize::MAX });
            for date in dates.filter(|date| (0..10_000).contains(&date.year())) {
                let path = self.path(date);
                for (level, end) in component_ends(&path).take(folders).enumerate() {
                    if !levels[level].contains(&path[..end]) {
                        levels[level].insert(path[..end].to_owned());
                    }
                }
            }
            Wanted { range, levels }
        });
        Search {
            layout: self,
            wanted,
        }
    }
}

/// The byte offsets at which the components of a path end.
fn component_ends(path: &str) -> impl Iterator<Item = usize> + '_ {
    path.match_indices('/')
        .map(|(at, _)| at)
        .chain(std::iter::once(path.len()))
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

/// A guided descent: which folders lead to a date of the range, and which leaves are one.
///
/// A folder is opened only if the path of some date of the range begins with it, so a year outside
/// the range is never opened. Size: one string for each distinct folder of the range's paths.
pub struct Search<'a> {
    layout: &'a Layout,
    wanted: Option<Wanted>,
}

/// The dates that are asked for, and at each level above the leaves the folders that lead to them.
struct Wanted {
    range: DateRange,
    levels: Vec<HashSet<String>>,
}

impl Search<'_> {
    /// The number of components a leaf has.
    pub fn depth(&self) -> usize {
        self.layout.depth()
    }

    /// Whether a folder, at `level` counted from zero, leads to a date that is asked for.
    pub fn opens(&self, level: usize, path: &str) -> bool {
        match &self.wanted {
            Some(wanted) => wanted.levels[level].contains(path),
            None => self
                .layout
                .could_stand(level, path.rsplit('/').next().unwrap_or(path)),
        }
    }

    /// Whether a leaf is of the layout, asked for or not.
    pub fn is_date(&self, path: &str) -> bool {
        self.layout.date(path).is_some()
    }

    /// The date of a leaf, if it is one that is asked for.
    pub fn leaf(&self, path: &str) -> Option<NaiveDate> {
        let wanted = |date: &NaiveDate| {
            self.wanted
                .as_ref()
                .is_none_or(|wanted| wanted.range.contains(*date))
        };
        self.layout.date(path).filter(wanted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::parse_date;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    #[test]
    fn a_path_of_another_padding_is_told() {
        let range = DateRange::new(date("2024-01-01"), date("2024-01-31")).expect("a range");
        let other = |template: &str, path: &str| {
            let layout = Layout::parse(template).expect("a layout");
            let level = path.split('/').count() - 1;
            layout
                .padded_otherwise(level, path, Some(range))
                .map(|layout| layout.to_string())
        };
        let padded = "year=%Y/month=%m/day=%d";
        assert_eq!(
            other(padded, "year=2024/month=1").as_deref(),
            Some("year=%Y/month=%-m/day=%-d")
        );
        assert_eq!(
            other(padded, "year=2024/month=01/day=3").as_deref(),
            Some("year=%Y/month=%m/day=%-d")
        );
        assert_eq!(
            other("year=%Y/month=%-m/day=%-d", "year=2024/month=01").as_deref(),
            Some(padded)
        );
        assert_eq!(
            other("date=%Y-%m-%d", "date=2024-1-3").as_deref(),
            Some("date=%Y-%-m-%-d")
        );
        for path in [
            "year=2024/month=2",
            "year=2024/month=01",
            "year=2024/month=x",
            "year=2024/other",
        ] {
            assert_eq!(other(padded, path), None, "{path}");
        }
        assert!(
            Layout::parse("%Y/%j")
                .expect("a layout")
                .other_paddings()
                .is_empty()
        );
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

    #[test]
    fn a_year_outside_the_range_is_never_opened() {
        let layout = Layout::parse("year=%Y/month=%m/day=%d").expect("a layout");
        let range = DateRange::new(date("2023-12-31"), date("2024-01-01")).expect("a range");
        let search = layout.search(Some(range));
        assert!(search.opens(0, "year=2023") && search.opens(0, "year=2024"));
        assert!(!search.opens(0, "year=2022") && !search.opens(1, "year=2024/month=02"));
        assert_eq!(
            search.leaf("year=2024/month=01/day=01"),
            Some(date("2024-01-01"))
        );
        assert_eq!(search.leaf("year=2024/month=01/day=02"), None);
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_filter_over_everything_finds(
            template in prop::sample::select(vec!["dt=%Y-%m-%d", "%Y/%m/%d", "y=%Y/%-m/x%-d.csv", "%Y/%j", "%Y%m%d"]),
            days in prop::collection::vec(0i64..2000, 0..40),
            start in 0i64..2000, len in 0i64..400,
        ) {
            let layout = Layout::parse(template).expect("a layout");
            let day = |n: i64| date("2019-06-01") + chrono::Duration::days(n);
            let range = DateRange::new(day(start), day(start + len)).expect("a range");
            let search = layout.search(Some(range));
            for n in days {
                let path = layout.path(day(n));
                let mut found = Some(day(n));
                for (level, end) in component_ends(&path).enumerate().take(layout.depth() - 1) {
                    if !search.opens(level, &path[..end]) { found = None; }
                }
                let found = found.and_then(|_| search.leaf(&path));
                prop_assert_eq!(found, range.contains(day(n)).then(|| day(n)));
                prop_assert_eq!(layout.search(None).leaf(&path), Some(day(n)));
            }
        }
    }
}
