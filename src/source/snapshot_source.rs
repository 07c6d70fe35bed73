//! [`SnapshotSource`]: where the rows of one snapshot come from.
//!
//! A source is found before anything is read ([`FileSource`], [`StandardInput`]), so that a wrong
//! path or format is refused before the lake is touched. It is then read as one table. A
//! source that is not made of files, such as a database, has no [`FilesRead`] and decides the types
//! of its columns itself.

use std::io::Read;

use tempfile::TempPath;

use super::files::stage;
use super::{Format, SourceRows, TypeRules, read};
use crate::error::Result;
use crate::interrupt::Temporary;
use crate::storage::lake::location::Object;
use crate::storage::lake::partitions::local_object;

/// The schemes of databases.
const DATABASES: [&str; 5] = ["sqlite", "postgres", "postgresql", "mysql", "mariadb"];

/// Whether a source is a database, by the scheme of its URL.
pub fn is_database(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(scheme, _)| DATABASES.contains(&scheme))
}

/// Where the rows of one snapshot come from.
pub trait SnapshotSource {
    /// The source as the user gave it. Reports show it and footers record it, so it never holds a
    /// password.
    fn name(&self) -> &str;

    /// Reads the rows, in canonical types and in the source's own order. The rows may be read from
    /// the source while they are consumed, so it has to outlive them. A source may be read again.
    ///
    /// # Errors
    /// A failure to read; a refusal of a value that its column's type does not hold.
    fn read(&mut self, rules: &TypeRules) -> Result<SourceRows>;

    /// The files that [`read`](Self::read) read; none of a source that is not made of files.
    fn files(&self) -> Option<FilesRead<'_>>;

    /// The source as it is on the date of the snapshot, if placeholders of the date stand in it:
    /// the path, or the URL of the database. Such a source has a state for each date.
    fn of_date(&self) -> Option<&str> {
        None
    }
}

/// The files that a source was read from.
#[derive(Clone, Copy, Debug)]
pub struct FilesRead<'a> {
    /// The files, in the order of their rows.
    pub objects: &'a [Object],
    /// Their format.
    pub format: Format,
    /// Whether they are a copy of standard input, whose path means nothing to a user.
    pub is_standard_input: bool,
}

/// A path, a glob or a folder, on a disk or in a store.
#[derive(Debug)]
pub struct FileSource {
    /// The source as the user gave it.
    pub name: String,
    /// The files that it names.
    pub objects: Vec<Object>,
    /// Their format.
    pub format: Format,
    /// The path of the date, if the source has a state for each.
    pub of_date: Option<String>,
}

impl SnapshotSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, rules: &TypeRules) -> Result<SourceRows> {
        read(&self.objects, self.format, rules, None)
    }

    fn files(&self) -> Option<FilesRead<'_>> {
        Some(FilesRead {
            objects: &self.objects,
            format: self.format,
            is_standard_input: false,
        })
    }

    fn of_date(&self) -> Option<&str> {
        self.of_date.as_deref()
    }
}

/// Standard input, which is set aside in a temporary file.
pub struct StandardInput<'a> {
    input: &'a mut dyn Read,
    format: Format,
    staged: Vec<Object>,
    /// Removes the file when the source is dropped.
    file: Option<Temporary<TempPath>>,
}

impl<'a> StandardInput<'a> {
    /// Standard input that holds one table in a format.
    pub fn new(input: &'a mut dyn Read, format: Format) -> Self {
        StandardInput {
            input,
            format,
            staged: Vec::new(),
            file: None,
        }
    }
}

impl SnapshotSource for StandardInput<'_> {
    fn name(&self) -> &str {
        "-"
    }

    fn read(&mut self, rules: &TypeRules) -> Result<SourceRows> {
        if self.file.is_none() {
            let file = stage(self.input)?;
            self.staged = vec![local_object(&file)?];
            self.file = Some(file);
        }
        read(&self.staged, self.format, rules, Some("standard input"))
    }

    fn files(&self) -> Option<FilesRead<'_>> {
        Some(FilesRead {
            objects: &self.staged,
            format: self.format,
            is_standard_input: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_told_from_a_path_by_its_scheme() {
        for text in ["sqlite:shop.db", "postgres://h/d", "mariadb://h"] {
            assert!(is_database(text), "{text}");
        }
        for text in ["shop.db", "sqlite", "s3://b/sqlite:x", "./sqlite:x", "-"] {
            assert!(!is_database(text), "{text}");
        }
    }
}
