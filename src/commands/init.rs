//! `asof init`: a commented `asof.toml`, to be edited.

use super::Workspace;
use crate::config::FILE_NAME;
use crate::error::{Error, Result};
use crate::storage::lake::commit::{Published, Staged, write_error};
use crate::storage::lake::location::Location;

/// The file, every option of it named once.
pub const TEMPLATE: &str = include_str!("init.toml");

/// Writes the file into the current folder and returns its path.
///
/// # Errors
/// A usage error if there is one already.
pub fn init(workspace: &Workspace<'_>) -> Result<Location> {
    let path = Location::local(workspace.folder.join(FILE_NAME));
    let staged = Staged::create(&path)?;
    std::io::Write::write_all(&mut staged.writer()?, TEMPLATE.as_bytes())
        .map_err(|error| write_error(error, &path))?;
    match staged.publish_new()? {
        Published::Done => Ok(path),
        Published::Exists => Err(Error::usage(format!("{FILE_NAME} already exists here"))
            .hint(format!("edit {FILE_NAME}"))),
    }
}
