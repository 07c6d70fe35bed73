//! Partitions on a local disk, by descent: only folders that lead to a date of the range are opened
//! ([`crate::domain::folder_search`]).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use chrono::NaiveDate;

use crate::domain::file_names::{ICEBERG_FOLDER, is_data};
use crate::domain::folder_search::FolderSearch;
use crate::domain::layout::Layout;
use crate::error::{Context, Error, Result};
use crate::model::DateRange;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::Found;
use crate::storage::lake::table_format::{format_of_names, refusal, refuse_tables};
use crate::storage::lake::wildcards::without_wildcards;
use crate::storage::object_store::search::Strategy;

/// Finds the partitions of a range, or all of them, below the folder `path`, which is `root`.
pub(super) fn find_on_disk(
    strategy: Strategy,
    root: &Location,
    path: &Path,
    layout: &Layout,
    range: Option<DateRange>,
) -> Result<Found> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(Error::usage(format!(
                "'{root}' is a file, not a folder of partitions"
            )));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::usage(format!("there is no folder '{root}'")));
        }
        Err(error) => return Err(error).io_context(|| format!("cannot read '{root}'")),
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
    for objects in found.partitions.values_mut() {
        objects.sort_by(|one, other| one.relative.cmp(&other.relative));
    }
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
    search: FolderSearch<'a>,
    layout: &'a Layout,
    range: Option<DateRange>,
}

impl<'a> Descent<'a> {
    fn new(layout: &'a Layout, range: Option<DateRange>) -> Self {
        Descent {
            search: FolderSearch::new(layout, range),
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
                found.see_unrecognized(relative);
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
pub(super) fn list(folder: &Path, found: &mut Found) -> Result<Vec<(String, PathBuf, bool)>> {
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
