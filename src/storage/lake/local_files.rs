//! The files in a folder of a local disk. Names that begin with `_` or `.` are not data.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::domain::file_names::{ICEBERG_FOLDER, is_data, is_staged};
use crate::error::{Context, Result};
use crate::storage::lake::file_identity::FileIdentity;
use crate::storage::lake::found::Found;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::table_format::{format_of_names, refusal};

/// A file on a local disk, outside of any search.
///
/// # Errors
/// A failure if it cannot be read.
pub fn local_object(path: &Path) -> Result<Object> {
    object(path, &path.display().to_string())
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
        if is_staged(&name) {
            found.leftovers.push(entry.path());
        }
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

/// Gathers the data files of a path, which is a file or a folder.
pub(super) fn gather(
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
    // A link that leads nowhere is there, and whoever opens it is told.
    let metadata = fs::metadata(path)
        .or_else(|error| fs::symlink_metadata(path).map_err(|_| error))
        .io_context(|| format!("cannot read '{}'", path.display()))?;
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
        file: Some(FileIdentity::of(&metadata)),
    })
}
