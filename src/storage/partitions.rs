//! Finding partitions: the objects of each date of a range, by guided descent.
//!
//! Only folders that lead to a date of the range are opened ([`crate::domain::layout::Search`]), and
//! every listing is counted. Names that begin with `_` or `.` are no data. A date's folder may hold any
//! number of files, in folders of its own too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use chrono::NaiveDate;

use crate::domain::layout::{Layout, Search};
use crate::domain::staleness::EventsInput;
use crate::error::{Context, Error, Result};
use crate::model::DateRange;

/// One file of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the root, with `/`.
    pub relative: String,
    /// Its size in bytes.
    pub size: u64,
    /// What changes when it is rewritten: here its modification time.
    pub etag: String,
}

impl Object {
    /// Its identity, as footers record it.
    pub fn identity(&self) -> EventsInput {
        EventsInput { path: self.relative.clone(), size: self.size, etag: self.etag.clone() }
    }
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The files of each date, by path; no date without files.
    pub partitions: BTreeMap<NaiveDate, Vec<Object>>,
    /// How many listings it took.
    pub requests: u64,
    /// Names at a leaf that are no date of the layout, up to five, for hints.
    pub strangers: Vec<String>,
}

impl Found {
    /// The dates that have files, ascending.
    pub fn dates(&self) -> Vec<NaiveDate> {
        self.partitions.keys().copied().collect()
    }
}

/// Whether a name is data, by the convention that every engine follows.
pub fn is_data(name: &str) -> bool {
    !name.starts_with(['_', '.'])
}

/// Finds the partitions of a range, or all of them.
///
/// # Errors
/// A usage error if `root` is not a folder; a failure if a folder cannot be read.
pub fn find(root: &Path, layout: &Layout, range: Option<DateRange>) -> Result<Found> {
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(Error::usage(format!("'{}' is a file, not a folder of partitions", root.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::usage(format!("there is no folder '{}'", root.display())));
        }
        Err(error) => return Err(Error::io(format!("cannot read '{}': {error}", root.display()))),
    }
    let search = layout.search(range);
    let mut found = Found::default();
    descend(&search, root, "", 0, &mut found)?;
    Ok(found)
}

fn descend(search: &Search<'_>, folder: &Path, prefix: &str, level: usize, found: &mut Found) -> Result<()> {
    for (name, path, is_dir) in list(folder, found)? {
        let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if level + 1 < search.depth() {
            if is_dir && search.opens(level, &relative) {
                descend(search, &path, &relative, level + 1, found)?;
            }
            continue;
        }
        let Some(date) = search.leaf(&relative) else {
            if found.strangers.len() < 5 && !search.is_date(&relative) {
                found.strangers.push(relative);
            }
            continue;
        };
        let mut objects = Vec::new();
        gather(&path, &relative, is_dir, &mut objects, found)?;
        if !objects.is_empty() {
            found.partitions.insert(date, objects);
        }
    }
    Ok(())
}

/// The data names in a folder, sorted, each with its path and whether it is a folder.
fn list(folder: &Path, found: &mut Found) -> Result<Vec<(String, PathBuf, bool)>> {
    found.requests += 1;
    let doing = || format!("cannot list '{}'", folder.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).io_context(doing)? {
        let entry = entry.io_context(doing)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_data(&name) {
            let path = entry.path();
            let kind = entry.file_type().io_context(doing)?;
            let is_dir = if kind.is_symlink() { path.is_dir() } else { kind.is_dir() };
            entries.push((name, path, is_dir));
        }
    }
    entries.sort();
    Ok(entries)
}

fn gather(path: &Path, relative: &str, is_dir: bool, objects: &mut Vec<Object>, found: &mut Found) -> Result<()> {
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
pub fn object(path: &Path, relative: &str) -> Result<Object> {
    let metadata = fs::metadata(path).io_context(|| format!("cannot read '{}'", path.display()))?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let etag = modified.map_or_else(|| "0".to_owned(), |time| format!("{:x}", time.as_nanos()));
    Ok(Object { path: path.to_owned(), relative: relative.to_owned(), size: metadata.len(), etag })
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
        let root = lake(&["2022/01/01/a", "2023/12/31/a", "2023/12/31/b", "2024/01/01/h=3/a", "2024/01/02/a", "2025/01/01/a"]);
        let layout = Layout::parse("%Y/%m/%d").expect("a layout");
        let date = |text| parse_date(text).expect("a date");
        let range = DateRange::new(date("2023-12-31"), date("2024-01-01")).expect("a range");
        let found = find(root.path(), &layout, Some(range)).expect("found");
        assert_eq!(found.dates(), [date("2023-12-31"), date("2024-01-01")]);
        let paths: Vec<&str> = found.partitions.values().flatten().map(|object| object.relative.as_str()).collect();
        assert_eq!(paths, ["2023/12/31/a", "2023/12/31/b", "2024/01/01/h=3/a"]);
        assert_eq!(found.requests, 8, "root, 2 years, 2 months, 2 days, 1 hour");
        assert_eq!(find(root.path(), &layout, None).expect("all").dates().len(), 5);
    }

    #[test]
    fn what_is_not_data_is_not_seen() {
        let root = lake(&["dt=2024-01-01/_SUCCESS", "dt=2024-01-01/.x.tmp", "_dt=2024-01-02/a", "dt=2024-01-03/a", "other/a"]);
        let layout = Layout::parse("dt=%Y-%m-%d").expect("a layout");
        let found = find(root.path(), &layout, None).expect("found");
        assert_eq!(found.dates(), [parse_date("2024-01-03").expect("a date")]);
        assert_eq!(found.strangers, ["other"]);
    }

    #[test]
    fn a_layout_may_end_in_a_file_name() {
        let root = lake(&["2024-01-01.csv.gz", "2024-01-02.csv", "readme.md"]);
        let found = find(root.path(), &Layout::parse("%Y-%m-%d.csv.gz").expect("a layout"), None).expect("found");
        assert_eq!(found.dates().len(), 1);
    }
}
