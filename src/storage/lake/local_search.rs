//! Partitions on a local disk, by descent: only folders that lead to a date of the range are opened
//! ([`crate::domain::folder_search`]).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chrono::NaiveDate;

use crate::domain::folder_search::FolderSearch;
use crate::domain::layout::Layout;
use crate::error::{Context, Error, Result};
use crate::model::DateRange;
use crate::storage::lake::found::Found;
use crate::storage::lake::local_files::{gather, list};
use crate::storage::lake::location::Location;
use crate::storage::lake::table_format::refuse_tables;
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
