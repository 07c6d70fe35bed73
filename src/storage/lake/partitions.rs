//! Finding partitions: the objects of each date of a range.
//!
//! On a local disk by descent (`local_search`), in an object store by the keys of the range
//! (`store_search`). Every listing is counted. Names that begin with `_` or `.` are not data. A
//! date's folder may hold any number of files, in folders of its own too. Wildcards (`wildcards`)
//! are replaced by their values first.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

pub use super::found::{Found, OtherPadding};
pub use super::local_files::{local_object, local_objects_below};
use super::local_search::find_on_disk;
use super::store_search::{find_in_store, refuse_nothing};
use crate::domain::layout::Layout;
use crate::domain::padding::other_paddings;
use crate::error::{Kind, Result};
use crate::model::DateRange;
use crate::storage::lake::location::{Location, Object, Place};
use crate::storage::object_store::search::Strategy;

/// The most dates of a range that are looked through for one without a partition.
const MOST_DATES: usize = 36_600;
/// Finds the partitions of a range, or all of them, to be read.
///
/// # Errors
/// A usage error if there is no folder `root`; a refusal if it is a table of another format; a
/// failure if it cannot be listed.
pub fn find(root: &Location, layout: &Layout, range: Option<DateRange>) -> Result<Found> {
    let mut found = find_by(Strategy::Guided, root, layout, range)?;
    if root.store().is_some() && !found.partitions.is_empty() {
        found.requests += root.refuse_table()?;
        if let Some(range) = range {
            find_other_padding(root, layout, range, &mut found)?;
        }
    }
    Ok(found)
}

/// Finds the latest partition that is not after a date, and what lies near it: the month before the
/// date, then the year, then all. If none is early enough, all there are.
///
/// # Errors
/// What `find` fails with.
pub fn find_latest(
    date: NaiveDate,
    find: impl Fn(Option<DateRange>) -> Result<Found>,
) -> Result<BTreeMap<NaiveDate, Vec<Object>>> {
    let mut to = date;
    for days in [31, 366] {
        let from = date
            .checked_sub_days(Days::new(days))
            .unwrap_or(NaiveDate::MIN);
        let Ok(range) = DateRange::new(from, to) else {
            break;
        };
        let found = find(Some(range))?.partitions;
        if !found.is_empty() {
            return Ok(found);
        }
        to = from.pred_opt().unwrap_or(from);
    }
    Ok(find(None)?.partitions)
}

/// Finds the partitions of a range, or all of them, by a strategy.
///
/// # Errors
/// As [`find`].
pub fn find_by(
    strategy: Strategy,
    root: &Location,
    layout: &Layout,
    range: Option<DateRange>,
) -> Result<Found> {
    match root.place() {
        Place::Local(path) => find_on_disk(strategy, root, path, layout, range),
        Place::Remote(..) => {
            let mut found = find_in_store(strategy, root, layout, range)?;
            if found.partitions.is_empty() && found.unrecognized_paths.is_empty() {
                refuse_nothing(root, layout, &mut found)?;
            }
            Ok(found)
        }
    }
}

/// [`find`] in the lake, where a table need not have a folder yet.
///
/// # Errors
/// A failure if a folder cannot be listed.
pub fn find_if_there(root: &Location, layout: &Layout, range: Option<DateRange>) -> Result<Found> {
    match root.place() {
        Place::Local(path) if !path.exists() => Ok(Found::default()),
        Place::Local(path) => match find(root, layout, range) {
            // Another process may have removed a folder that it made and did not use, and a third
            // may have made it again.
            Err(error) if !path.exists() || error.kind() == Kind::Usage && !path.is_file() => {
                Ok(Found::default())
            }
            found => found,
        },
        Place::Remote(..) => find_in_store(Strategy::Guided, root, layout, range),
    }
}

/// Looks for the first date of a range that has no partition in the other padding of a layout: one
/// request.
fn find_other_padding(
    root: &Location,
    layout: &Layout,
    range: DateRange,
    found: &mut Found,
) -> Result<()> {
    if layout.wildcard().is_some() {
        return Ok(());
    }
    let Some(other) = other_paddings(layout).into_iter().next() else {
        return Ok(());
    };
    let mut missing = range
        .dates()
        .take(MOST_DATES)
        .filter(|date| !found.partitions.contains_key(date));
    let Some(path) =
        missing.find_map(|date| Some(other.path(date)).filter(|path| *path != layout.path(date)))
    else {
        return Ok(());
    };
    found.requests += 1;
    if !root.join(&path).some_below(1)?.is_empty() {
        found.other_padding = Some(OtherPadding {
            path,
            layout: other.to_string(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::parse_date;

    fn lake(paths: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for path in paths {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, "x").expect("a file");
        }
        root
    }

    #[test]
    fn only_folders_of_the_range_are_opened() {
        let root = lake(&[
            "2022/01/01/a",
            "2023/12/31/a",
            "2023/12/31/b",
            "2024/01/01/h=3/a",
            "2024/01/02/a",
            "2025/01/01/a",
        ]);
        let layout = Layout::parse("%Y/%m/%d").expect("a layout");
        let date = |text| parse_date(text).expect("a date");
        let range = DateRange::new(date("2023-12-31"), date("2024-01-01")).expect("a range");
        let found = find(&Location::local(root.path()), &layout, Some(range)).expect("found");
        assert_eq!(found.dates(), [date("2023-12-31"), date("2024-01-01")]);
        let paths: Vec<&str> = found
            .partitions
            .values()
            .flatten()
            .map(|object| object.relative.as_str())
            .collect();
        assert_eq!(paths, ["2023/12/31/a", "2023/12/31/b", "2024/01/01/h=3/a"]);
        assert_eq!(found.requests, 8, "root, 2 years, 2 months, 2 days, 1 hour");
        assert_eq!(
            find(&Location::local(root.path()), &layout, None)
                .expect("all")
                .dates()
                .len(),
            5
        );
    }

    #[test]
    fn what_is_not_data_is_not_seen() {
        let root = lake(&[
            "dt=2024-01-01/_SUCCESS",
            "dt=2024-01-01/.x.tmp",
            "_dt=2024-01-02/a",
            "dt=2024-01-03/a",
            "other/a",
        ]);
        let layout = Layout::parse("dt=%Y-%m-%d").expect("a layout");
        let found = find(&Location::local(root.path()), &layout, None).expect("found");
        assert_eq!(found.dates(), [parse_date("2024-01-03").expect("a date")]);
        assert_eq!(found.unrecognized_paths, ["other"]);
    }

    #[test]
    fn a_layout_may_end_in_a_file_name() {
        let root = lake(&["2024-01-01.csv.gz", "2024-01-02.csv", "readme.md"]);
        let found = find(
            &Location::local(root.path()),
            &Layout::parse("%Y-%m-%d.csv.gz").expect("a layout"),
            None,
        )
        .expect("found");
        assert_eq!(found.dates().len(), 1);
    }
}
