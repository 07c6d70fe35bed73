//! What lies in a folder, and which objects a name or a pattern stands for.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::domain::file_names::{ICEBERG_FOLDER, TableFormat, is_data, is_iceberg_metadata};
use crate::error::{Context, Error, Result};
use crate::storage::lake::location::{Location, Object, Place};
use crate::storage::lake::table_format::refusal;
use crate::storage::object_store::bucket::Store;
use crate::storage::object_store::failures::failure;
use crate::storage::object_store::listing::{Listed, Page, PageQuery};
use crate::storage::object_store::search_outcome::without_markers;

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Whether the name is of a folder.
    pub is_folder: bool,
}

impl Location {
    /// The objects in a store that this names: the one of this name, those below the folder of this
    /// name, or, if it has `*`, `?` or `[`, those whose names it matches; `*` matches within a
    /// part, `**` across parts.
    ///
    /// # Errors
    /// A usage error for an invalid pattern; a refusal of a table of another format; a failure
    /// of the store.
    pub fn objects_like(&self) -> Result<Vec<Object>> {
        let Place::Remote(store, key) = self.place() else {
            return Ok(Vec::new());
        };
        if !key.is_empty()
            && let Some(facts) = store.head(key)?
        {
            return Ok(vec![Object {
                location: self.clone(),
                relative: key.clone(),
                below: String::new(),
                size: facts.size,
                etag: facts.etag.unwrap_or_default(),
                file: None,
            }]);
        }
        let wildcard = key.find(['*', '?', '[']);
        let prefix = wildcard.map_or_else(|| self.folder_prefix(), |at| key[..at].to_owned());
        let pattern = glob::Pattern::new(key)
            .map_err(|error| Error::usage(format!("'{self}' is not a pattern of files: {error}")));
        let pattern = wildcard.map(|_| pattern).transpose()?;
        // What lies deeper is of no interest unless the pattern goes there. A folder stands for all
        // that is below it.
        let goes_deeper =
            wildcard.is_none_or(|at| key[at..].contains('/') || key[at..].contains("**"));
        let (mut listed, folders) = self.list_all(store, prefix.clone(), !goes_deeper)?;
        refuse_listed_tables(store, &listed, &folders)?;
        if wildcard.is_none() {
            without_markers(&mut listed, 0, &prefix);
        }
        let options = glob::MatchOptions {
            require_literal_separator: true,
            ..glob::MatchOptions::default()
        };
        let is_wanted = |object: &Listed| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.matches_with(&object.key, options))
        };
        let root = prefix.rfind('/').map_or(0, |at| at + 1);
        let object = |listed: Listed| Object {
            location: Location::remote(store.clone(), &listed.key),
            below: listed.key.get(root..).unwrap_or_default().to_owned(),
            relative: listed.key,
            size: listed.size,
            etag: listed.etag.unwrap_or_default(),
            file: None,
        };
        Ok(listed.into_iter().filter(is_wanted).map(object).collect())
    }

    /// Refuses a folder of a store that is a table of another format, by the first page of its
    /// names. Returns the number of requests.
    ///
    /// # Errors
    /// A refusal that says what it is; a failure of the store.
    pub(crate) fn refuse_table(&self) -> Result<u64> {
        let Place::Remote(store, key) = self.place() else {
            return Ok(0);
        };
        let page = self.page(
            store,
            PageQuery {
                prefix: self.folder_prefix(),
                by_folder: true,
                ..PageQuery::default()
            },
        )?;
        let paths = page
            .folders
            .iter()
            .filter_map(|folder| folder.strip_prefix(key.as_str()));
        if let Some((format, _)) = paths.clone().find_map(TableFormat::of_path) {
            return Err(refusal(format, self));
        }
        if paths
            .into_iter()
            .any(|path| path.trim_matches('/') == ICEBERG_FOLDER)
        {
            self.refuse_iceberg()?;
            return Ok(2);
        }
        Ok(1)
    }

    /// Refuses a folder of a store with metadata of Iceberg in its folder `metadata`.
    fn refuse_iceberg(&self) -> Result<()> {
        match self
            .join(ICEBERG_FOLDER)
            .some_below(1000)?
            .iter()
            .any(|name| is_iceberg_metadata(name))
        {
            true => Err(refusal(TableFormat::Iceberg, self)),
            false => Ok(()),
        }
    }

    /// Every object of a store whose key begins so, and perhaps more; those in folders below only
    /// if they are wanted, or else the folders.
    fn list_all(
        &self,
        store: &Store,
        mut prefix: String,
        by_folder: bool,
    ) -> Result<(Vec<Listed>, Vec<String>)> {
        // Azure's client leaves out the object whose whole name is the prefix.
        if !store.pages.begins_after() && !prefix.ends_with('/') {
            prefix.pop();
        }
        self.pages(store, prefix, by_folder)
    }

    /// One page of a listing.
    fn page(&self, store: &Store, query: PageQuery) -> Result<Page> {
        let pages = store.pages.clone();
        let what = format!("cannot list '{self}'");
        store.wait(async move {
            let page = pages.page(query).await;
            page.map_err(|error| failure(&what, error))
        })
    }

    /// The objects and folders of all pages of a listing.
    fn pages(
        &self,
        store: &Store,
        prefix: String,
        by_folder: bool,
    ) -> Result<(Vec<Listed>, Vec<String>)> {
        let pages = store.pages.clone();
        let what = format!("cannot list '{self}'");
        store.wait(async move {
            let mut query = PageQuery {
                prefix,
                by_folder,
                ..PageQuery::default()
            };
            let mut objects = Vec::new();
            let mut folders = Vec::new();
            loop {
                let page = pages.page(query.clone()).await;
                let page = page.map_err(|error| failure(&what, error))?;
                objects.extend(page.objects);
                folders.extend(page.folders);
                match page.next {
                    Some(next) => query.token = Some(next),
                    None => return Ok((objects, folders)),
                }
            }
        })
    }

    /// Whether there is a folder with this name; in a store, whether anything has a name below it.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn is_folder(&self) -> Result<bool> {
        match self.place() {
            Place::Local(path) => Ok(path.is_dir()),
            Place::Remote(..) => Ok(!self.some_below(1)?.is_empty()),
        }
    }

    /// The paths of the first objects below this folder in a store, at most `limit`.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) fn some_below(&self, limit: usize) -> Result<Vec<String>> {
        let Place::Remote(store, _) = self.place() else {
            return Ok(Vec::new());
        };
        let prefix = self.folder_prefix();
        let query = PageQuery {
            prefix: prefix.clone(),
            limit: Some(limit),
            ..PageQuery::default()
        };
        let page = self.page(store, query)?;
        Ok(page
            .objects
            .iter()
            .filter_map(|object| object.key.strip_prefix(prefix.as_str()).map(str::to_owned))
            .collect())
    }

    /// What the keys in this folder of a store begin with.
    fn folder_prefix(&self) -> String {
        match self.place() {
            Place::Remote(_, key) if !key.is_empty() => format!("{key}/"),
            _ => String::new(),
        }
    }

    /// The names directly in this folder, sorted: folders, and objects. Those that begin with `_`
    /// or `.` are among them.
    ///
    /// # Errors
    /// A failure if it cannot be listed. A folder that is not there is empty.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = match self.place() {
            Place::Local(path) => local_entries(path, || format!("cannot list '{self}'"))?,
            Place::Remote(store, _) => {
                let prefix = self.folder_prefix();
                let (objects, folders) = self.pages(store, prefix.clone(), true)?;
                let entry = |key: &str, is_folder| {
                    let name = key.strip_prefix(prefix.as_str())?;
                    (!name.is_empty()).then(|| Entry {
                        name: name.to_owned(),
                        is_folder,
                    })
                };
                let folders = folders.iter().filter_map(|key| entry(key, true));
                let objects = objects
                    .iter()
                    .filter_map(|object| entry(&object.key, false));
                folders.chain(objects).collect()
            }
        };
        entries.sort();
        Ok(entries)
    }

    /// Removes a folder with all that is below it, if it is there.
    ///
    /// # Errors
    /// A failure of the disk or the store.
    #[cfg(feature = "spark")]
    pub fn remove_folder(&self) -> Result<()> {
        if let Place::Local(path) = self.place() {
            return match fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).io_context(|| format!("cannot remove '{self}'"))
                }
                _ => Ok(()),
            };
        }
        loop {
            let below = self.some_below(1000)?;
            if below.is_empty() {
                return Ok(());
            }
            below.iter().try_for_each(|path| self.join(path).remove())?;
        }
    }

    /// The names of the folders in this one that are data, sorted.
    ///
    /// # Errors
    /// As [`Location::entries`].
    pub fn folders(&self) -> Result<Vec<String>> {
        Ok(self
            .entries()?
            .into_iter()
            .filter(|entry| entry.is_folder && is_data(&entry.name))
            .map(|entry| entry.name)
            .collect())
    }
}

/// Refuses a table of another format among what was listed.
fn refuse_listed_tables(store: &Arc<Store>, objects: &[Listed], folders: &[String]) -> Result<()> {
    let mut paths = objects.iter().map(|object| &object.key).chain(folders);
    if let Some((format, folder)) = paths.find_map(|path| TableFormat::of_path(path)) {
        return Err(refusal(format, &Location::remote(store.clone(), folder)));
    }
    let mut folders = folders.iter();
    match folders.find_map(|folder| folder.strip_suffix("/metadata/")) {
        Some(table) => Location::remote(store.clone(), table).refuse_iceberg(),
        None => Ok(()),
    }
}

/// The names in a folder of a disk; none if there is no such folder.
fn local_entries(path: &Path, doing: impl Fn() -> String) -> Result<Vec<Entry>> {
    let found = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.io_context(&doing)?,
    };
    let mut entries = Vec::new();
    for entry in found {
        let entry = entry.io_context(&doing)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type().io_context(&doing)?;
        let is_folder = if kind.is_symlink() {
            entry.path().is_dir()
        } else {
            kind.is_dir()
        };
        entries.push(Entry { name, is_folder });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object_store::registry::Stores;

    #[test]
    fn a_folder_in_a_store_is_what_lies_below_it() {
        let store = Stores::new(Vec::new(), Default::default())
            .expect("stores")
            .in_memory("memory://test");
        let root = Location::remote(store.clone(), "lake");
        assert!(root.entries().expect("empty").is_empty() && !root.is_folder().expect("looked"));
        for key in [
            "lake/item/snapshots/a",
            "lake/item/b",
            "lake/shop/c",
            "lake/_asof/d",
            "lake/e",
            "lake2/f",
        ] {
            store.put(key, b"x".to_vec()).expect("written");
        }
        assert_eq!(root.folders().expect("listed"), ["item", "shop"]);
        assert_eq!(root.entries().expect("listed").len(), 4);
        assert!(
            root.join("item").is_folder().expect("looked")
                && !root.join("e").is_folder().expect("looked")
        );
        assert!(
            root.join("e").exists().expect("looked")
                && !root.join("item").exists().expect("looked")
        );
        root.join("e").remove().expect("removed");
        assert_eq!(root.join("e").read_small().expect("read"), None);
        assert_eq!(
            root.join("shop/c").read_small().expect("read").as_deref(),
            Some(b"x".as_slice())
        );
    }
}
