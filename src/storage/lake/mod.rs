//! The lake: where files lie, how they are found, read and committed.
//!
//! | file | rule |
//! | --- | --- |
//! | [`location`] | what a user may write for a place on a disk or in a store |
//! | [`paths`] | every path that asof gives a name of its own |
//! | [`folders`] | what lies in a folder, and which objects a pattern names |
//! | [`partitions`] | the objects of a layout's dates |
//! | `local_search`, `store_search` | how they are found on a disk, and in a store, by few listings |
//! | [`found`] | what was found: by date, and paths that nearly match |
//! | [`local_files`] | the files in a folder of a disk |
//! | [`file_identity`] | whether a file is still the one that was found |
//! | `wildcards` | the values of a layout's wildcards |
//! | [`table_format`] | tables of Delta Lake, Iceberg and Hudi are refused |
//! | [`read`] | bytes of an object, of the version that was listed |
//! | [`checksums`] | the checksums of an object's bytes, by blocks |
//! | [`file_at`] | a file that is read a page at a time |
//! | [`commit`] | the old object or the new one, whole |
//! | [`aside`] | snapshots that are put aside, and brought back |
//! | [`deletion`] | snapshots that are deleted, since the intervals give them back |
//! | [`standing`] | which version of an object has a name |
//! | [`conditional_writes`] | whether a store honours the conditions of writes |
//! | [`hints`] | small files that save work and are never needed |
//! | [`fingerprint_cache`] | the fingerprints of files that have not changed |
//!
//! One date is one object with one name. There is no catalog that could disagree with the data:
//! list the lake and you know it.

pub mod aside;
pub mod checksums;
pub mod commit;
pub mod conditional_writes;
pub mod deletion;
pub mod file_at;
pub mod file_identity;
pub mod fingerprint_cache;
pub mod folders;
pub mod found;
pub mod hints;
pub mod local_files;
mod local_search;
pub mod location;
pub mod partitions;
pub mod paths;
pub mod read;
pub mod standing;
pub mod stays;
mod store_search;
pub mod table_format;
mod wildcards;

use std::sync::OnceLock;

use crate::error::{Context, Error, Result};
use crate::model::TableName;
use crate::storage::lake::location::Location;

/// The folder of a table's snapshots.
const SNAPSHOTS: &str = "snapshots";
/// The folder of a table's intervals.
const INTERVALS: &str = "intervals";
/// The folder of a table's copies that a check refused.
const REFUSED: &str = "_refused";
/// The folder of a table's snapshots that somebody dropped.
const DROPPED: &str = "_dropped";

/// The root under which asof keeps its tables.
#[derive(Clone, Debug)]
pub struct LakeRoot {
    root: Location,
    folders: OnceLock<Vec<String>>,
}

impl LakeRoot {
    /// The lake at a folder, which need not be there yet.
    ///
    /// # Errors
    /// A usage error if something that is not a folder stands there, or a folder that is not a
    /// lake.
    pub fn open(root: &Location) -> Result<Self> {
        let lake = LakeRoot {
            root: root.clone(),
            folders: OnceLock::new(),
        };
        if let Some(path) = root.as_local() {
            match std::fs::metadata(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(lake),
                Err(error) => {
                    return Err(error).io_context(|| format!("cannot read the lake '{root}'"));
                }
                Ok(metadata) if !metadata.is_dir() => {
                    return Err(Error::usage(format!("'{root}' is a file, not a lake")));
                }
                Ok(_) => {}
            }
        }
        let names = lake.folders()?;
        let mut has_other_folders = false;
        for name in names {
            // Asked before the other question: a writer of the first snapshot makes the folder of
            // the table, and then what is in it.
            let is_empty = lake.is_empty_folder(name);
            if lake.is_table(name)? {
                return Ok(lake);
            }
            has_other_folders |= !is_empty;
        }
        if !has_other_folders {
            return Ok(lake);
        }
        Err(Error::usage(format!(
            "'{root}' is not a lake: no folder in it has snapshots"
        ))
        .hint("--lake DIR, where DIR is empty, new, or was filled by 'asof snapshot'")
        .hint(
            "to read dated copies that another tool wrote: asof compact --snapshots PATH \
             --layout 'snapshot_date=%Y-%m-%d' --key COLUMN --out FILE",
        ))
    }

    /// The folder itself.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// The folders in it, listed once.
    fn folders(&self) -> Result<&[String]> {
        if let Some(names) = self.folders.get() {
            return Ok(names);
        }
        let names = self
            .root
            .folders()
            .map_err(|error| error.within("the lake"))?;
        Ok(self.folders.get_or_init(|| names))
    }

    /// Whether there is nothing in a folder on a disk; an object store has no empty folders.
    fn is_empty_folder(&self, name: &str) -> bool {
        let folder = self.root.join(name);
        folder
            .as_local()
            .and_then(|path| std::fs::read_dir(path).ok())
            .is_some_and(|mut entries| entries.next().is_none())
    }

    fn is_table(&self, name: &str) -> Result<bool> {
        let folder = self.root.join(name);
        Ok(folder.join(SNAPSHOTS).is_folder()?
            || folder.join(INTERVALS).is_folder()?
            || folder.join(REFUSED).is_folder()?
            || folder.join(DROPPED).is_folder()?)
    }

    /// The names of the tables, sorted.
    ///
    /// # Errors
    /// A failure if the lake cannot be listed.
    pub fn tables(&self) -> Result<Vec<TableName>> {
        let mut tables = Vec::new();
        for name in self.folders()? {
            if let Ok(table) = name.parse()
                && self.is_table(name)?
            {
                tables.push(table);
            }
        }
        Ok(tables)
    }

    /// Whether the table has anything in the lake.
    ///
    /// # Errors
    /// A failure if the lake cannot be listed.
    pub fn has(&self, table: &TableName) -> Result<bool> {
        self.is_table(table.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_of_other_things_is_no_lake() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(
            LakeRoot::open(&Location::local(root.path())).is_ok(),
            "an empty folder may become one"
        );
        assert!(LakeRoot::open(&Location::local(root.path().join("new"))).is_ok());
        fs::create_dir_all(root.path().join("item")).expect("a folder");
        assert!(
            LakeRoot::open(&Location::local(root.path())).is_ok(),
            "another writer may be about to make its first snapshot"
        );
        fs::create_dir_all(root.path().join("photos/2024")).expect("a folder");
        assert_eq!(
            LakeRoot::open(&Location::local(root.path()))
                .expect_err("no lake")
                .kind(),
            crate::error::Kind::Usage
        );
        fs::create_dir_all(root.path().join("item/snapshots")).expect("a folder");
        let lake = LakeRoot::open(&Location::local(root.path())).expect("a lake");
        assert_eq!(
            lake.tables().expect("tables"),
            ["item".parse().expect("a name")]
        );
        fs::write(root.path().join("file"), "").expect("a file");
        assert!(LakeRoot::open(&Location::local(root.path().join("file"))).is_err());
    }
}
