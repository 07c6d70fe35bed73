//! asof's own lake: where things lie in it.
//!
//! ```text
//! <lake>/<table>/snapshots/snapshot_date=2024-09-13/<table>.parquet
//! <lake>/<table>/intervals/<table>.parquet
//! <lake>/<table>/superseded/snapshot_date=2024-09-13/<when>-<fingerprint>.parquet
//! ```
//!
//! One date is one object with one name. There is no catalog that could disagree with the data: list the
//! lake and you know it.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};

use super::partitions::is_data;
use crate::domain::digest::Fingerprint;
use crate::domain::layout::Layout;
use crate::error::{Context, Error, Result};
use crate::model::TableName;

/// The root under which asof keeps its tables.
#[derive(Clone, Debug)]
pub struct Lake {
    root: PathBuf,
}

impl Lake {
    /// The lake at a folder, which need not be there yet.
    ///
    /// # Errors
    /// A usage error if something that is no folder stands there, or a folder that is no lake.
    pub fn open(root: &Path) -> Result<Self> {
        let lake = Lake { root: root.to_owned() };
        match fs::metadata(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(lake),
            Err(error) => return Err(Error::io(format!("cannot read the lake '{}': {error}", root.display()))),
            Ok(metadata) if !metadata.is_dir() => return Err(Error::usage(format!("'{}' is a file, not a lake", root.display()))),
            Ok(_) => {}
        }
        let names = lake.folders()?;
        if !names.is_empty() && !names.iter().any(|name| lake.is_table(name)) {
            return Err(Error::usage(format!("'{}' is no lake: no folder in it has snapshots", root.display()))
                .hint("--lake DIR, where DIR is empty, new, or was filled by 'asof snapshot'")
                .hint("to read dated copies that another tool wrote: asof compact --snapshots PATH --layout 'snapshot_date=%Y-%m-%d' --key COLUMN --out FILE"));
        }
        Ok(lake)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folders(&self) -> Result<Vec<String>> {
        let doing = || format!("cannot list the lake '{}'", self.root.display());
        let mut names = Vec::new();
        match fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(format!("{}: {error}", doing()))),
            Ok(entries) => {
                for entry in entries {
                    if let Ok(name) = entry.io_context(doing)?.file_name().into_string()
                        && is_data(&name)
                    {
                        names.push(name);
                    }
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn is_table(&self, name: &str) -> bool {
        ["snapshots", "intervals"].iter().any(|part| self.root.join(name).join(part).is_dir())
    }

    /// The names of the tables, sorted.
    ///
    /// # Errors
    /// A failure if the lake cannot be listed.
    pub fn tables(&self) -> Result<Vec<TableName>> {
        Ok(self.folders()?.into_iter().filter(|name| self.is_table(name)).filter_map(|name| name.parse().ok()).collect())
    }

    /// Whether the table has anything in the lake.
    pub fn has(&self, table: &TableName) -> bool {
        self.is_table(table.as_str())
    }

    /// The root of a table's snapshots.
    pub fn snapshots(&self, table: &TableName) -> PathBuf {
        self.root.join(table.as_str()).join("snapshots")
    }

    /// The layout of snapshots in every lake of asof's.
    ///
    /// # Errors
    /// None in practice.
    pub fn layout() -> Result<Layout> {
        Layout::parse(Layout::SNAPSHOTS)
    }

    /// The object of one snapshot.
    pub fn snapshot(&self, table: &TableName, date: NaiveDate) -> PathBuf {
        self.snapshots(table).join(format!("snapshot_date={date}")).join(format!("{table}.parquet"))
    }

    /// The object of a table's intervals.
    pub fn intervals(&self, table: &TableName) -> PathBuf {
        self.root.join(table.as_str()).join("intervals").join(format!("{table}.parquet"))
    }

    /// Where a snapshot goes that another one replaces.
    pub fn superseded(&self, table: &TableName, date: NaiveDate, when: DateTime<Utc>, fingerprint: Fingerprint) -> PathBuf {
        let name = format!("{}-{fingerprint}.parquet", when.format("%Y%m%dT%H%M%SZ"));
        self.root.join(table.as_str()).join("superseded").join(format!("snapshot_date={date}")).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_other_things_is_no_lake() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(Lake::open(root.path()).is_ok(), "an empty folder may become one");
        assert!(Lake::open(&root.path().join("new")).is_ok());
        fs::create_dir_all(root.path().join("photos")).expect("a folder");
        assert_eq!(Lake::open(root.path()).expect_err("no lake").kind(), crate::error::Kind::Usage);
        fs::create_dir_all(root.path().join("item/snapshots")).expect("a folder");
        let lake = Lake::open(root.path()).expect("a lake");
        assert_eq!(lake.tables().expect("tables"), ["item".parse().expect("a name")]);
        fs::write(root.path().join("file"), "").expect("a file");
        assert!(Lake::open(&root.path().join("file")).is_err());
    }
}
