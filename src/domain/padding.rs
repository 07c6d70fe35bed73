//! Paths that are of a layout but for the padding of months and days: tools that take partitions
//! for integers write `month=1/day=3`.

use chrono::NaiveDate;
use chrono::format::{Parsed, StrftimeItems};

use super::folder_search::FolderSearch;
use super::layout::Layout;
use crate::model::DateRange;

/// The layouts that differ only in whether months and days have two digits, first the one that
/// differs in both.
pub fn other_paddings(layout: &Layout) -> Vec<Layout> {
    let mut templates = vec![layout.to_string()];
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
        if template != layout.to_string() && !others.contains(&template) {
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
fn is_padded_otherwise(layout: &Layout, level: usize, name: &str) -> bool {
    let component = layout.component(level);
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

/// The layout, of [`other_paddings`], in which a path at `level` leads to a date that
/// is asked for.
pub fn padded_otherwise(
    layout: &Layout,
    level: usize,
    path: &str,
    range: Option<DateRange>,
) -> Option<Layout> {
    if !is_padded_otherwise(layout, level, path.rsplit('/').next().unwrap_or(path)) {
        return None;
    }
    other_paddings(layout).into_iter().find(|other| {
        let search = FolderSearch::new(other, range);
        if level + 1 < other.depth() {
            search.opens(level, path)
        } else {
            search.leaf(path).is_some()
        }
    })
}

#[cfg(test)]
mod tests {
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
            padded_otherwise(&layout, level, path, Some(range)).map(|layout| layout.to_string())
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
        let by_day_of_year = Layout::parse("%Y/%j").expect("a layout");
        assert!(other_paddings(&by_day_of_year).is_empty());
    }
}
