//! Wildcards above the date.
//!
//! A wildcard (`country=*/date=%Y-%m-%d`) has as many values as there are folders that match it.
//! They are listed, which takes a request a page, and each is searched as a layout of its own. So a
//! search costs what one without a wildcard does, for each value.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::domain::file_names::is_data;
use crate::domain::layout::Layout;
use crate::error::{Error, Result};
use crate::model::DateRange;
use crate::storage::lake::found::Found;
use crate::storage::lake::local_files::list;
use crate::storage::lake::location::{Location, Place};
use crate::storage::object_store::bucket::Store;
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::listing::PageQuery;

/// The layouts that a layout stands for, with each value that is there in the place of its
/// wildcards.
pub(super) fn without_wildcards(
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
            } else {
                found.see_unrecognized(joined(&above, &name));
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
            next.extend(names.map(|name| joined(&above, &name)));
        }
        folders = next;
    }
    Ok(folders)
}

fn joined(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

/// The names of the folders in a folder below `root`; none if it is not there.
fn folders_in(root: &Location, folder: &str, found: &mut Found) -> Result<Vec<String>> {
    match root.place() {
        Place::Local(path) if folder.is_empty() => local_folders(path, found),
        Place::Local(path) => local_folders(&path.join(folder), found),
        Place::Remote(store, key) => {
            let doing = format!("cannot list '{root}'");
            let parts = [key.as_str(), folder].into_iter();
            let parts = parts.filter(|part| !part.is_empty());
            let prefix = parts.map(|part| format!("{part}/")).collect();
            let (folders, requests) = folders_below(store, prefix, doing)?;
            found.requests += requests;
            let name = |folder: &String| {
                let path = folder.trim_end_matches('/');
                path.rsplit('/').next().unwrap_or_default().to_owned()
            };
            let names = folders.iter().map(name);
            Ok(names.filter(|name| is_data(name)).collect())
        }
    }
}

fn local_folders(path: &Path, found: &mut Found) -> Result<Vec<String>> {
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    Ok(list(path, found)?
        .into_iter()
        .filter(|(.., is_dir)| *is_dir)
        .map(|(name, ..)| name)
        .collect())
}

/// The keys of the folders below a prefix, and how many requests that took.
fn folders_below(store: &Arc<Store>, prefix: String, doing: String) -> Result<(Vec<String>, u64)> {
    let mut query = PageQuery {
        prefix,
        by_folder: true,
        ..PageQuery::default()
    };
    let pages = store.pages.clone();
    store.wait(async move {
        let mut folders = Vec::new();
        let mut requests = 0;
        loop {
            requests += 1;
            let page = pages.page(query.clone()).await;
            let page = page.map_err(|error| failure(&doing, error))?;
            folders.extend(page.folders);
            match page.next {
                Some(next) => query.token = Some(next),
                None => return Ok::<_, Error>((folders, requests)),
            }
        }
    })
}
