//! Finding partitions: the objects of each date of a range.
//!
//! On a local disk by descent: only folders that lead to a date of the range are opened
//! ([`crate::domain::layout::Search`]). In an object store by the keys of the range
//! ([`super::search`]). Every listing is counted. Names that begin with `_` or `.` are not data. A
//! date's folder may hold any number of files, in folders of its own too.
//!
//! A wildcard above the date (`country=*/date=%Y-%m-%d`) has as many values as there are folders
//! that match it. They are listed, which takes a request a page, and each is searched as a layout
//! of its own. So a search costs what one without a wildcard does, for each value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use chrono::{Days, NaiveDate};
use futures::stream::{StreamExt, TryStreamExt};

use crate::domain::file_names::{ICEBERG_FOLDER, is_data};
use crate::domain::layout::{Layout, Search};
use crate::error::{Context, Error, Kind, Result};
use crate::model::DateRange;
use crate::storage::lake::location::{Location, Object, Place};
use crate::storage::lake::table_format::{format_of_names, refusal, refuse_tables};
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::guided_search::{SearchOutcome, Strategy, search};
use crate::storage::object_store::listing::{Listed, PageQuery};

/// The most dates of a range that are looked through for one without a partition.
const MOST_DATES: usize = 36_600;
/// The most values of a wildcard that are searched at a time.
const SEARCHES: usize = 4;

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The files of each date, by path; no date without files.
    pub partitions: BTreeMap<NaiveDate, Vec<Object>>,
    /// How many listings it took.
    pub requests: u64,
    /// Names at a leaf that do not match the layout, up to five, for hints.
    pub unrecognized_paths: Vec<String>,
    /// A path that leads to a date of the range in another padding than the layout's.
    pub other_padding: Option<OtherPadding>,
    /// Why the search could not go by the order of the layout, if it could not.
    pub scattered: Option<String>,
}

/// A path that is not of a layout, because its months or days are padded in another way.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OtherPadding {
    /// The path below the root.
    pub path: String,
    /// The layout that reads it.
    pub layout: String,
}

impl fmt::Display for OtherPadding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' matches the layout '{}' instead",
            self.path, self.layout
        )
    }
}

impl Found {
    fn see_other_padding(
        &mut self,
        layout: &Layout,
        level: usize,
        path: &str,
        range: Option<DateRange>,
    ) {
        if self.other_padding.is_none()
            && let Some(other) = layout.padded_otherwise(level, path, range)
        {
            self.other_padding = Some(OtherPadding {
                path: path.to_owned(),
                layout: other.to_string(),
            });
        }
    }

    /// Takes the files at the path of a date.
    fn take(&mut self, date: NaiveDate, layout: &Layout, path: &str, mut objects: Vec<Object>) {
        if layout.has_below() {
            objects.retain(|object| {
                layout.takes_below(object.relative.strip_prefix(path).unwrap_or_default())
            });
        }
        objects
            .iter_mut()
            .for_each(|object| object.below.clone_from(&object.relative));
        if !objects.is_empty() {
            self.partitions.entry(date).or_default().extend(objects);
        }
    }

    /// The dates that have files, ascending.
    pub fn dates(&self) -> Vec<NaiveDate> {
        self.partitions.keys().copied().collect()
    }
}

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

/// The same by another strategy.
///
/// # Errors
/// As [`find`].
pub fn find_by(
    strategy: Strategy,
    root: &Location,
    layout: &Layout,
    range: Option<DateRange>,
) -> Result<Found> {
    let nothing = || Error::usage(format!("there is no folder '{root}'"));
    match root.place() {
        Place::Local(path) => {
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    return Err(Error::usage(format!(
                        "'{root}' is a file, not a folder of partitions"
                    )));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(nothing()),
                Err(error) => return Err(Error::io(format!("cannot read '{root}': {error}"))),
            }
            refuse_tables(path, &mut BTreeSet::new())?;
            let mut found = Found::default();
            let layouts = match strategy {
                Strategy::Listing => vec![layout.clone()],
                _ => without_wildcards(root, layout, range, &mut found)?,
            };
            for layout in layouts {
                match (strategy, range) {
                    (Strategy::Paths, Some(range)) if !layout.has_tail() => {
                        for date in range.dates() {
                            probe(path, &layout, date, &mut found)?;
                        }
                    }
                    (Strategy::Listing, _) => {
                        descend(&Descent::new(&layout, None), path, "", 0, &mut found)?
                    }
                    _ => descend(&Descent::new(&layout, range), path, "", 0, &mut found)?,
                }
            }
            found
                .partitions
                .retain(|date, _| range.is_none_or(|range| range.contains(*date)));
            found.partitions.values_mut().for_each(|objects| {
                objects.sort_by(|one, other| one.relative.cmp(&other.relative))
            });
            Ok(found)
        }
        Place::Remote(..) => {
            let mut found = find_in_store(strategy, root, layout, range)?;
            if found.partitions.is_empty() && found.unrecognized_paths.is_empty() {
                // A search by keys sees nothing of what is of another layout: look what there is at
                // all.
                let some = root.some_below(5)?;
                found.requests += 1;
                if some.is_empty() {
                    return Err(nothing());
                }
                let mut unrecognized_paths: Vec<String> = some
                    .iter()
                    .map(|path| upper_parts(path, layout.depth()))
                    .collect();
                unrecognized_paths.retain(|path| layout.date(path).is_none());
                unrecognized_paths.dedup();
                for unrecognized in &unrecognized_paths {
                    found.see_other_padding(
                        layout,
                        unrecognized.matches('/').count(),
                        unrecognized,
                        None,
                    );
                }
                found.unrecognized_paths = unrecognized_paths;
            }
            Ok(found)
        }
    }
}

/// The layouts that a layout stands for, with each value that is there in the place of its
/// wildcards.
fn without_wildcards(
    root: &Location,
    layout: &Layout,
    range: Option<DateRange>,
    found: &mut Found,
) -> Result<Vec<Layout>> {
    let Some((level, pattern)) = layout.wildcard() else {
        return Ok(vec![layout.clone()]);
    };
    let mut values = BTreeSet::new();
    for above in folders_above(root, layout, level, range, found)? {
        for name in folders_in(root, &above, found)? {
            if Layout::is_value(pattern, &name) {
                values.insert(name);
            } else if found.unrecognized_paths.len() < 5 {
                found.unrecognized_paths.push(if above.is_empty() {
                    name
                } else {
                    format!("{above}/{name}")
                });
            }
        }
    }
    let mut layouts = Vec::new();
    for value in values {
        layouts.extend(without_wildcards(
            root,
            &layout.with_value(&value)?,
            range,
            found,
        )?);
    }
    Ok(layouts)
}

/// The folders in which the values of a wildcard at `level` are, for the dates of a range.
fn folders_above(
    root: &Location,
    layout: &Layout,
    level: usize,
    range: Option<DateRange>,
    found: &mut Found,
) -> Result<Vec<String>> {
    if range.is_some() {
        return Ok(layout.folders_above(level, range));
    }
    let mut folders = vec![String::new()];
    for level in 0..level {
        let mut next = Vec::new();
        for above in folders {
            let names = folders_in(root, &above, found)?
                .into_iter()
                .filter(|name| layout.could_stand(level, name));
            next.extend(names.map(|name| {
                if above.is_empty() {
                    name
                } else {
                    format!("{above}/{name}")
                }
            }));
        }
        folders = next;
    }
    Ok(folders)
}

/// The names of the folders in a folder below `root`; none if it is not there.
fn folders_in(root: &Location, folder: &str, found: &mut Found) -> Result<Vec<String>> {
    match root.place() {
        Place::Local(path) => {
            let path = if folder.is_empty() {
                path.clone()
            } else {
                path.join(folder)
            };
            if !path.is_dir() {
                return Ok(Vec::new());
            }
            Ok(list(&path, found)?
                .into_iter()
                .filter(|(.., is_dir)| *is_dir)
                .map(|(name, ..)| name)
                .collect())
        }
        Place::Remote(store, key) => {
            let parts = [key.as_str(), folder]
                .into_iter()
                .filter(|part| !part.is_empty())
                .map(|part| format!("{part}/"));
            let mut query = PageQuery {
                prefix: parts.collect(),
                by_folder: true,
                ..PageQuery::default()
            };
            let pages = store.pages.clone();
            let doing = format!("cannot list '{root}'");
            let (folders, requests) = store.wait(async move {
                let mut folders = Vec::new();
                let mut requests = 0;
                loop {
                    requests += 1;
                    let page = pages
                        .page(query.clone())
                        .await
                        .map_err(|error| failure(&doing, &error))?;
                    folders.extend(page.folders);
                    match page.next {
                        Some(next) => query.token = Some(next),
                        None => return Ok::<_, Error>((folders, requests)),
                    }
                }
            })?;
            found.requests += requests;
            let name = |folder: String| {
                folder
                    .trim_end_matches('/')
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            };
            Ok(folders
                .into_iter()
                .map(name)
                .filter(|name| is_data(name))
                .collect())
        }
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
    let Some(other) = layout.other_paddings().into_iter().next() else {
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

/// The first parts of a path.
fn upper_parts(path: &str, parts: usize) -> String {
    path.split('/').take(parts).collect::<Vec<_>>().join("/")
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

fn find_in_store(
    strategy: Strategy,
    root: &Location,
    layout: &Layout,
    range: Option<DateRange>,
) -> Result<Found> {
    let Place::Remote(store, key) = root.place() else {
        return Ok(Found::default());
    };
    let mut found = Found::default();
    let layouts = if strategy == Strategy::Listing {
        vec![layout.clone()]
    } else {
        without_wildcards(root, layout, range, &mut found)?
    };
    let doing = format!("cannot list '{root}'");
    let searches = layouts.into_iter().map(|layout| {
        let pages = store.pages.clone();
        let key = key.clone();
        async move { search(pages.as_ref(), &key, &layout, range, strategy).await }
    });
    let searches = futures::stream::iter(searches.collect::<Vec<_>>()).buffered(SEARCHES);
    let outcomes = store.wait(async move {
        searches
            .try_collect::<Vec<SearchOutcome>>()
            .await
            .map_err(|error| failure(&doing, &error))
    })?;
    let object = |listed: Listed| {
        let relative = listed.key[key.len()..].trim_start_matches('/').to_owned();
        let location = root.join(&relative);
        let below = relative.clone();
        Object {
            location,
            relative,
            below,
            size: listed.size,
            etag: listed.etag.unwrap_or_default(),
        }
    };
    for outcome in outcomes {
        if let Some((format, table)) = outcome.table {
            return Err(refusal(format, &Location::remote(store.clone(), table)));
        }
        for (date, objects) in outcome.partitions {
            found
                .partitions
                .entry(date)
                .or_default()
                .extend(objects.into_iter().map(object));
        }
        found.requests += outcome.requests;
        found.unrecognized_paths.extend(outcome.unrecognized_paths);
        found.scattered = found.scattered.or(outcome.scattered);
    }
    found.unrecognized_paths.truncate(5);
    Ok(found)
}

/// A file on a local disk, outside of any search.
///
/// # Errors
/// A failure if it cannot be read.
pub fn local_object(path: &Path) -> Result<Object> {
    object(path, &path.display().to_string())
}

/// Looks whether the path of a date is there, and what is in it.
fn probe(root: &Path, layout: &Layout, date: NaiveDate, found: &mut Found) -> Result<()> {
    let relative = layout.path(date);
    let path = root.join(&relative);
    let Ok(metadata) = fs::metadata(&path) else {
        found.requests += 1;
        return Ok(());
    };
    let mut objects = Vec::new();
    gather(&path, &relative, metadata.is_dir(), &mut objects, found)?;
    found.take(date, layout, &relative, objects);
    Ok(())
}

/// A search in folders of a local disk.
struct Descent<'a> {
    search: Search<'a>,
    layout: &'a Layout,
    range: Option<DateRange>,
}

impl<'a> Descent<'a> {
    fn new(layout: &'a Layout, range: Option<DateRange>) -> Self {
        Descent {
            search: layout.search(range),
            layout,
            range,
        }
    }
}

fn descend(
    descent: &Descent<'_>,
    folder: &Path,
    prefix: &str,
    level: usize,
    found: &mut Found,
) -> Result<()> {
    let search = &descent.search;
    for (name, path, is_dir) in list(folder, found)? {
        let relative = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        if level + 1 < search.depth() {
            if is_dir && search.opens(level, &relative) {
                descend(descent, &path, &relative, level + 1, found)?;
            } else if is_dir {
                found.see_other_padding(descent.layout, level, &relative, descent.range);
            }
            continue;
        }
        let Some(date) = search.leaf(&relative) else {
            if !search.is_date(&relative) {
                found.see_other_padding(descent.layout, level, &relative, descent.range);
                if found.unrecognized_paths.len() < 5 {
                    found.unrecognized_paths.push(relative);
                }
            }
            continue;
        };
        let mut objects = Vec::new();
        gather(&path, &relative, is_dir, &mut objects, found)?;
        found.take(date, descent.layout, &relative, objects);
    }
    Ok(())
}

/// The data names in a folder, sorted, each with its path and whether it is a folder.
fn list(folder: &Path, found: &mut Found) -> Result<Vec<(String, PathBuf, bool)>> {
    found.requests += 1;
    let doing = || format!("cannot list '{}'", folder.display());
    let mut entries = Vec::new();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).io_context(doing)? {
        let entry = entry.io_context(doing)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !is_data(&name) || name == ICEBERG_FOLDER {
            names.push(name.clone());
        }
        if is_data(&name) {
            let path = entry.path();
            let kind = entry.file_type().io_context(doing)?;
            let is_dir = if kind.is_symlink() {
                path.is_dir()
            } else {
                kind.is_dir()
            };
            entries.push((name, path, is_dir));
        }
    }
    if let Some(format) = format_of_names(folder, names.iter().map(String::as_str)) {
        return Err(refusal(format, &Location::local(folder)));
    }
    entries.sort();
    Ok(entries)
}

/// The data files below a folder on a local disk, at any depth.
///
/// # Errors
/// A refusal if a folder is a table of another format; a failure if it cannot be listed.
pub fn local_objects_below(folder: &Path) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let root = folder.display().to_string();
    gather(folder, &root, true, &mut objects, &mut Found::default())?;
    for object in &mut objects {
        object.below = object
            .relative
            .strip_prefix(&root)
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned();
    }
    Ok(objects)
}

fn gather(
    path: &Path,
    relative: &str,
    is_dir: bool,
    objects: &mut Vec<Object>,
    found: &mut Found,
) -> Result<()> {
    if !is_dir {
        objects.push(object(path, relative)?);
        return Ok(());
    }
    for (name, path, is_dir) in list(path, found)? {
        gather(&path, &format!("{relative}/{name}"), is_dir, objects, found)?;
    }
    Ok(())
}

/// Looks up one file.
///
/// # Errors
/// A failure if it cannot be read.
fn object(path: &Path, relative: &str) -> Result<Object> {
    let metadata = fs::metadata(path).io_context(|| format!("cannot read '{}'", path.display()))?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let etag = modified.map_or_else(|| "0".to_owned(), |time| format!("{:x}", time.as_nanos()));
    Ok(Object {
        location: Location::local(path),
        relative: relative.to_owned(),
        below: String::new(),
        size: metadata.len(),
        etag,
    })
}

#[cfg(test)]
mod tests {
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
