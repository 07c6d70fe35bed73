//! Which folders of a disk a range of dates needs: those that lead to a date of it.

use std::collections::HashSet;

use chrono::{Datelike, NaiveDate};

use super::layout::{Layout, component_ends};
use crate::model::DateRange;

/// A guided descent: which folders lead to a date of the range, and which leaves are one.
///
/// A folder is opened only if the path of some date of the range begins with it, so a year outside
/// the range is never opened. Size: one string for each distinct folder of the range's paths.
pub struct FolderSearch<'a> {
    layout: &'a Layout,
    wanted: Option<WantedDates>,
}

/// The dates that are asked for, and at each level above the leaves the folders that lead to them.
struct WantedDates {
    range: DateRange,
    levels: Vec<HashSet<String>>,
}

impl<'a> FolderSearch<'a> {
    /// What to open to find the dates of a range, or all dates when there is none.
    pub fn new(layout: &'a Layout, range: Option<DateRange>) -> Self {
        let wanted = range.map(|range| {
            let folders = layout.depth() - 1;
            let mut levels = vec![HashSet::new(); folders];
            // The leaves of a range are told by their dates: a range that is open at one end has
            // millions.
            let dates = range
                .dates()
                .take(if folders == 0 { 0 } else { usize::MAX });
            for date in dates.filter(|date| (0..10_000).contains(&date.year())) {
                let path = layout.path(date);
                for (level, end) in component_ends(&path).take(folders).enumerate() {
                    if !levels[level].contains(&path[..end]) {
                        levels[level].insert(path[..end].to_owned());
                    }
                }
            }
            WantedDates { range, levels }
        });
        FolderSearch { layout, wanted }
    }

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
    fn a_year_outside_the_range_is_never_opened() {
        let layout = Layout::parse("year=%Y/month=%m/day=%d").expect("a layout");
        let range = DateRange::new(date("2023-12-31"), date("2024-01-01")).expect("a range");
        let search = FolderSearch::new(&layout, Some(range));
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
            let search = FolderSearch::new(&layout, Some(range));
            for n in days {
                let path = layout.path(day(n));
                let mut found = Some(day(n));
                for (level, end) in component_ends(&path).enumerate().take(layout.depth() - 1) {
                    if !search.opens(level, &path[..end]) { found = None; }
                }
                let found = found.and_then(|_| search.leaf(&path));
                prop_assert_eq!(found, range.contains(day(n)).then(|| day(n)));
                prop_assert_eq!(FolderSearch::new(&layout, None).leaf(&path), Some(day(n)));
            }
        }
    }
}
