//! What has a name at a moment: nothing, or one version of an object.
//!
//! Whoever replaces an object that others replace too looks first at what stands, then reads it,
//! and at last publishes in the place of just that version ([`super::commit`]).

use std::fs;
use std::io;

use crate::error::{Context, Result};
use crate::storage::lake::file_identity::FileIdentity;
use crate::storage::lake::location::{Location, Place};
use crate::storage::object_store::service::ObjectFacts;

/// What has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// A file on a local disk.
    File(FileIdentity),
    /// An object in a store.
    Version(ObjectFacts),
}

impl Standing {
    /// Whether the same content has the name as when another look was taken at it.
    pub fn has_content_of(&self, other: &Standing) -> bool {
        match (self, other) {
            (Standing::File(now), Standing::File(other)) => now.has_content_of(other),
            (now, other) => now == other,
        }
    }
}

impl Location {
    /// What has this name now.
    ///
    /// # Errors
    /// A failure of the disk or the store.
    pub fn standing(&self) -> Result<Standing> {
        match self.place() {
            Place::Local(path) => match fs::metadata(path) {
                Ok(metadata) => Ok(Standing::File(FileIdentity::of(&metadata))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Standing::Nothing),
                Err(error) => Err(error).io_context(|| format!("cannot read '{self}'")),
            },
            Place::Remote(store, key) => Ok(store
                .head(key)?
                .map_or(Standing::Nothing, Standing::Version)),
        }
    }
}
