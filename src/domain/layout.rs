//! Layouts: the template between a date and a path, and the search that a range needs.
//!
//! A layout is a path in chrono's strftime, such as `snapshot_date=%Y-%m-%d`,
//! `year=%Y/month=%m/day=%d` or `%Y-%m-%d.csv.gz`. It must be readable backwards: every date has
//! one path and every path one date. The last component may name a folder or a file.
//!
//! Invariants of a [`Layout`]: it has at least one component, no component is empty, `.` or `..`,
//! none begins with `_` or `.`, and `date(path(d)) == Some(d)` for every date of four-digit years.

use std::collections::HashSet;
use std::fmt;

use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{Datelike, NaiveDate};

use crate::error::{Error, Result};
use crate::model::DateRange;

/// The template between a date and a path; see the module for its invariants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    template: String,
    components: Vec<String>,
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
    /// A usage error that says why the template cannot be used: an unknown specifier, a time of
    /// day, or a path that does not give its date back.
    pub fn parse(template: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::usage(format!("layout '{template}' {why}"))
                .hint("a layout is a path in strftime, such as 'snapshot_date=%Y-%m-%d' or 'year=%Y/month=%m/day=%d'")
        };
        let trimmed = template.trim_matches('/');
        let components: Vec<String> = trimmed.split('/').map(str::to_owned).collect();
        for component in &components {
            if component.is_empty() || component.starts_with(['_', '.']) {
                return Err(wrong(format!("has the component '{component}', which readers skip")));
            }
            if StrftimeItems::new(component).any(|item| matches!(item, Item::Error)) {
                return Err(wrong(format!("has a specifier in '{component}' that strftime does not know")));
            }
        }
        let layout = Layout { template: trimmed.to_owned(), components };
        for (year, month, day) in PROBES {
            let Some(probe) = NaiveDate::from_ymd_opt(year, month, day) else { continue };
            let Some(path) = layout.try_path(probe) else {
                return Err(wrong("asks for a time of day, and a partition is a date".into()));
            };
            if path.split('/').count() != layout.components.len() {
                return Err(wrong("has a specifier that writes a '/'".into()));
            }
            match layout.date(&path) {
                Some(back) if back == probe => {}
                Some(back) => return Err(wrong(format!("does not give dates back: {probe} is written '{path}', which reads as {back}"))),
                None => {
                    return Err(wrong(format!("does not give dates back: {probe} is written '{path}', which cannot be read as one date")));
                }
            }
        }
        Ok(layout)
    }

    fn try_path(&self, date: NaiveDate) -> Option<String> {
        use std::fmt::Write;
        let mut path = String::new();
        write!(path, "{}", date.format(&self.template)).ok().map(|()| path)
    }

    /// The path of a date, with `/` between components.
    pub fn path(&self, date: NaiveDate) -> String {
        self.try_path(date).unwrap_or_default()
    }

    /// The date of a path, if the path is exactly what [`Layout::path`] would write for one.
    pub fn date(&self, path: &str) -> Option<NaiveDate> {
        let date = NaiveDate::parse_from_str(path, &self.template).ok()?;
        (self.path(date) == path && (0..10_000).contains(&date.year())).then_some(date)
    }

    /// How many components a path has.
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// Whether a name could stand at `level`: it begins and ends with the literal text there.
    fn could_stand(&self, level: usize, name: &str) -> bool {
        let component = &self.components[level];
        let head = component.split('%').next().unwrap_or_default();
        name.starts_with(head)
    }

    /// The layouts that differ only in whether months and days have two digits, first the one that differs in both: tools that take partitions for integers write
    /// `month=1/day=3`.
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
        others.iter().filter_map(|template| Layout::parse(template).ok()).collect()
    }

    /// Whether a name at `level` is a part of a date, but not as this layout writes it: `month=1` for `month=01`.
    fn is_padded_otherwise(&self, level: usize, name: &str) -> bool {
        let component = &self.components[level];
        let mut parsed = Parsed::new();
        if chrono::format::parse(&mut parsed, name, StrftimeItems::new(component)).is_err() {
            return false;
        }
        let part = |value: Option<u32>| value.unwrap_or(1);
        let date = NaiveDate::from_ymd_opt(parsed.year().unwrap_or(2000), part(parsed.month()), part(parsed.day()));
        date.is_some_and(|date| date.format(component).to_string() != name)
    }

    /// The layout, of [`Layout::other_paddings`], in which a path at `level` leads to a date that is asked for.
    pub fn padded_otherwise(&self, level: usize, path: &str, range: Option<DateRange>) -> Option<Layout> {
        if !self.is_padded_otherwise(level, path.rsplit('/').next().unwrap_or(path)) {
            return None;
        }
        self.other_paddings().into_iter().find(|other| {
            let search = other.search(range);
            if level + 1 < other.depth() { search.opens(level, path) } else { search.leaf(path).is_some() }
        })
    }

    /// What to open to find the dates of a range, or all dates when there is none.
    pub fn search(&self, range: Option<DateRange>) -> Search<'_> {
        let wanted = range.map(|range| {
            let folders = self.depth() - 1;
            let mut levels = vec![HashSet::new(); folders];
            // The leaves of a range are told by their dates: a range that is open at one end has millions.
            let dates = range.dates().take(if folders == 0 { 0 } else { usize::MAX });
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
        Search { layout: self, wanted }
    }
}

/// The byte offsets at which the components of a path end.
fn component_ends(path: &str) -> impl Iterator<Item = usize> + '_ {
    path.match_indices('/').map(|(at, _)| at).chain(std::iter::once(path.len()))
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
            None => self.layout.could_stand(level, path.rsplit('/').next().unwrap_or(path)),
        }
    }

    /// Whether a leaf is of the layout, asked for or not.
    pub fn is_date(&self, path: &str) -> bool {
        self.layout.date(path).is_some()
    }

    /// The date of a leaf, if it is one that is asked for.
    pub fn leaf(&self, path: &str) -> Option<NaiveDate> {
        let wanted = |date: &NaiveDate| self.wanted.as_ref().is_none_or(|wanted| wanted.range.contains(*date));
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
            layout.padded_otherwise(level, path, Some(range)).map(|layout| layout.to_string())
        };
        let padded = "year=%Y/month=%m/day=%d";
        assert_eq!(other(padded, "year=2024/month=1").as_deref(), Some("year=%Y/month=%-m/day=%-d"));
        assert_eq!(other(padded, "year=2024/month=01/day=3").as_deref(), Some("year=%Y/month=%m/day=%-d"));
        assert_eq!(other("year=%Y/month=%-m/day=%-d", "year=2024/month=01").as_deref(), Some(padded));
        assert_eq!(other("date=%Y-%m-%d", "date=2024-1-3").as_deref(), Some("date=%Y-%-m-%-d"));
        for path in ["year=2024/month=2", "year=2024/month=01", "year=2024/month=x", "year=2024/other"] {
            assert_eq!(other(padded, path), None, "{path}");
        }
        assert!(Layout::parse("%Y/%j").expect("a layout").other_paddings().is_empty());
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
        for template in ["%Y/%m", "", "%Y//%m/%d", "%Y-%m-%d/%H", "%Q", "%D", "_x/%F", "a", "%Y%-m%-d", "../%F", "%y-%m-%d"] {
            let error = Layout::parse(template).expect_err(template);
            assert_eq!(error.kind(), crate::error::Kind::Usage, "{template}");
        }
    }

    #[test]
    fn a_path_that_is_nearly_a_date_is_none() {
        let layout = Layout::parse("dt=%Y-%m-%d").expect("a layout");
        for path in ["dt=2024-3-05", "dt=2024-02-30", "dt=2024-03-05x", "2024-03-05", "dt= 2024-03-05", "dt=+2024-03-05"] {
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
        assert_eq!(search.leaf("year=2024/month=01/day=01"), Some(date("2024-01-01")));
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
