//! What a folder of Parquet files says of itself: `_asof.json`.
//!
//! Another engine, such as Spark, writes an output as files of its own, whose footers say nothing
//! of asof. So what the footer of asof's own object would say stands beside them, with the names
//! and sizes of the files. It is published last. A folder whose files are other ones was not
//! written to its end, or was changed by others: it counts as missing.

use serde::{Deserialize, Serialize};

use super::footer::{ColumnWire, OutputFooter, VERSION};
use crate::error::{Error, Result};
use crate::storage::lake::hints::{publish_checked, read_hint};
use crate::storage::lake::location::{Location, Object};

/// The name of the file.
pub const RECORD: &str = "_asof.json";

/// What `_asof.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FolderRecord {
    /// The version of the format.
    pub format_version: u32,
    /// What the engine is, with its version.
    pub engine: String,
    /// What the footer of asof's own object would say.
    #[serde(flatten)]
    pub output: OutputFooter,
    /// The columns of the files.
    pub columns: Vec<ColumnWire>,
    /// The files, in the order of their names.
    pub files: Vec<RecordedFile>,
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// How many rows it has.
    pub rows: u64,
}

impl FolderRecord {
    /// Reads what a folder says of itself; nothing if it says nothing.
    ///
    /// # Errors
    /// A failure to read it; a refusal if it is damaged or of a later version.
    pub fn read(folder: &Location) -> Result<Option<Self>> {
        let place = folder.join(RECORD);
        let record: Option<Self> = read_hint(&place)?;
        match record {
            Some(record) if record.format_version > VERSION => Err(Error::refused(format!(
                "'{place}' has format version {}, and this asof knows {VERSION}",
                record.format_version
            ))
            .hint("use a newer asof")),
            record => Ok(record),
        }
    }

    /// Publishes it in the folder.
    ///
    /// # Errors
    /// A failure to write it.
    pub fn publish(&self, folder: &Location) -> Result<()> {
        publish_checked(&folder.join(RECORD), self)
    }

    /// Whether the files of the folder are those that it names, and no others.
    pub fn is_of(&self, files: &[Object]) -> bool {
        let mut found: Vec<(String, u64)> = files
            .iter()
            .map(|file| (file.location.name(), file.size))
            .collect();
        found.sort();
        let named = self.files.iter().map(|file| (&file.name, file.size));
        named.eq(found.iter().map(|(name, size)| (name, *size)))
    }
}
