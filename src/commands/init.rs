//! `asof init`: a commented `asof.toml`, to be edited, and the schema that editors check it with.
//!
//! The schema is that of this program, and is a file beside asof.toml: it needs no network, and no
//! other version of asof disagrees with it. A line at the top of asof.toml names it for Taplo and
//! Even Better TOML. Without `--schema`, asof does not write the schema, and leaves out the line.

use std::io::Write as _;

use serde::Serialize;

use super::Workspace;
use crate::config::FILE_NAME;
use crate::error::{Error, Result};
use crate::storage::lake::commit::{Published, Staged, write_error};
use crate::storage::lake::location::Location;

/// The file, with the common settings as comments.
pub const TEMPLATE: &str = include_str!("init.toml");

/// The JSON Schema of the file.
pub const SCHEMA: &str = include_str!("../../docs/asof.schema.json");

/// The name of the schema's file.
const SCHEMA_NAME: &str = "asof.schema.json";

/// The line of asof.toml that names its schema for editors.
pub const SCHEMA_LINE: &str = "#:schema ./asof.schema.json";

/// What `asof init` wrote.
#[derive(Debug, Serialize)]
pub struct InitReport {
    /// The path of the new configuration; nothing if there was one already.
    pub written: Option<String>,
    /// The path of the schema, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Whether the configuration names the schema.
    pub names_schema: bool,
}

/// Writes the file into the current folder; with `schema`, its JSON Schema too, and then a file
/// that stands there already stays as it is.
///
/// # Errors
/// A usage error if there is a file already and no schema is asked for.
pub fn init(workspace: &Workspace<'_>, schema: bool) -> Result<InitReport> {
    let path = Location::local(workspace.folder.join(FILE_NAME));
    let text = match schema {
        true => format!("{SCHEMA_LINE}\n{TEMPLATE}"),
        false => TEMPLATE.to_owned(),
    };
    let published = staged(&path, &text)?.publish_new()?;
    let exists = matches!(published, Published::Exists);
    if exists && !schema {
        return Err(Error::usage(format!("{FILE_NAME} already exists here"))
            .hint(format!("edit {FILE_NAME}")));
    }
    let schema = match schema {
        true => {
            let path = Location::local(workspace.folder.join(SCHEMA_NAME));
            staged(&path, SCHEMA)?.publish_over()?;
            Some(workspace.shown(&path))
        }
        false => None,
    };
    let names_schema = schema.is_some() && (!exists || is_named_in(&path)?);
    Ok(InitReport {
        written: (!exists).then(|| workspace.shown(&path)),
        schema,
        names_schema,
    })
}

fn staged(path: &Location, text: &str) -> Result<Staged> {
    let staged = Staged::create(path)?;
    let written = staged.writer()?.write_all(text.as_bytes());
    written.map_err(|error| write_error(error, path))?;
    Ok(staged)
}

/// Whether a configuration names a schema already.
fn is_named_in(path: &Location) -> Result<bool> {
    let text = path.read_small()?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().any(|line| line.starts_with("#:schema")))
}
