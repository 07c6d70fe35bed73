//! The files that a command is made of: `inputs` in `asof.toml`.
//!
//! The hash of each is part of the job's definition, which every footer records. So a date's rows
//! must come from these contents. For each date the files are hashed before the program starts, and
//! again when it has ended. On a local disk they must also be the same files, untouched: a file
//! that was changed and restored fails the date, too.

use std::fs;

use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};
use crate::storage::lake::file_identity::FileIdentity;
use crate::storage::lake::location::Location;

/// A file that a command is made of, with the hash of its content.
pub(in crate::commands::backfill) struct InputFile {
    location: Location,
    pub(in crate::commands::backfill) hash: String,
}

impl InputFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A usage error if there is none; a failure to read it.
    pub(in crate::commands::backfill) fn read(location: Location) -> Result<Self> {
        let hash = hash_of(&location)?.ok_or_else(|| {
            Error::usage(format!("'inputs' names '{location}', which is not a file"))
                .hint("inputs are files, relative to the folder of asof.toml")
        })?;
        Ok(InputFile { location, hash })
    }

    /// Which file it is now, on a local disk.
    ///
    /// # Errors
    /// A failure if its content is another one than was read.
    fn identity(&self) -> Result<Option<FileIdentity>> {
        let metadata = self.location.as_local().map(fs::metadata);
        // Whatever cannot be looked at cannot be hashed either.
        let identity = metadata.and_then(|metadata| Some(FileIdentity::of(&metadata.ok()?)));
        if hash_of(&self.location)?.as_ref() == Some(&self.hash) {
            Ok(identity)
        } else {
            Err(self.changed("since the run began"))
        }
    }

    fn changed(&self, when: &str) -> Error {
        Error::io(format!(
            "'{}', one of the command's inputs, was changed {when}",
            self.location
        ))
        .hint("run it again")
    }
}

/// Which files the inputs are now.
///
/// # Errors
/// A failure that names a file whose content has changed.
pub(super) fn identities_of(inputs: &[InputFile]) -> Result<Vec<Option<FileIdentity>>> {
    inputs.iter().map(InputFile::identity).collect()
}

/// Refuses inputs that were touched since their identities were taken, even if their content is the
/// same by now.
///
/// # Errors
/// A failure that names the file.
pub(super) fn refuse_touched(inputs: &[InputFile], before: &[Option<FileIdentity>]) -> Result<()> {
    let after = identities_of(inputs)?;
    let mut files = inputs.iter().zip(before.iter().zip(&after));
    match files.find(|(_, (before, after))| before != after) {
        Some((input, _)) => Err(input.changed("while the command ran")),
        None => Ok(()),
    }
}

/// The hash of a file's content, or `None` if the file does not exist.
fn hash_of(file: &Location) -> Result<Option<String>> {
    if file.is_folder()? {
        return Ok(None);
    }
    let bytes = file.read_small()?;
    Ok(bytes.map(|bytes| format!("{:032x}", xxh3_128(&bytes))))
}
