//! What was found out of how text is written, for reports and notes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::compression::Compression;
use super::type_inference::Commas;
use crate::error::shorten;

/// How a file of text was read, as far as that is not the same for every file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadAs {
    /// How it is compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Its encoding.
    pub encoding: &'static str,
    /// Its delimiter, of CSV and TSV.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Which of these were detected and are not the default.
    pub detected: Vec<&'static str>,
}

impl ReadAs {
    /// What was detected, in words; `None` if nothing was.
    pub fn detected_in_words(&self) -> Option<String> {
        let delimiter = self.delimiter.map(|delimiter| {
            if delimiter == '\t' {
                "tab".to_owned()
            } else {
                format!("'{delimiter}'")
            }
        });
        let words = self.detected.iter().map(|what| match *what {
            "delimiter" => format!("delimiter {}", delimiter.as_deref().unwrap_or_default()),
            what => format!("{what} {}", self.encoding),
        });
        (!self.detected.is_empty()).then(|| words.collect::<Vec<_>>().join(", "))
    }
}

/// What is seen of the text of one table, or of events of one name, while its files are read.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Observed(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// Each way in which files are written, once.
    ways: Vec<ReadAs>,
    /// What may be wrong with how columns are read, by column.
    notes: BTreeMap<String, String>,
    /// The columns that folders add to the files.
    in_folders: BTreeSet<String>,
}

impl Observed {
    fn with<T: Default>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        self.0
            .lock()
            .map(|mut seen| look(&mut seen))
            .unwrap_or_default()
    }

    /// Notes how a file is written.
    pub(super) fn note(&self, read_as: ReadAs) {
        self.with(|seen| {
            if !seen.ways.contains(&read_as) {
                seen.ways.push(read_as);
            }
        });
    }

    /// Notes that a column of text may be one of numbers with commas.
    pub(super) fn note_commas(&self, column: &str, commas: Commas, example: &str) {
        let what = format!(
            "column '{column}' is text; its values look like numbers with commas, such as '{}'",
            shorten(example)
        );
        let note = match commas {
            Commas::Decimal => format!("{what}: --csv decimal=,"),
            Commas::DecimalWithThousands => format!("{what}: --csv decimal=,,thousands=."),
            Commas::Either => format!("{what}: --csv decimal=, or --csv thousands=,"),
        };
        self.with(|seen| {
            seen.notes.entry(column.to_owned()).or_insert(note);
        });
    }

    /// Notes that folders hold columns that the files do not have.
    pub(super) fn note_folders(&self, columns: impl IntoIterator<Item = String>) {
        self.with(|seen| seen.in_folders.extend(columns));
    }

    /// How the files read so far are written.
    pub fn all(&self) -> Vec<ReadAs> {
        self.with(|seen| seen.ways.clone())
    }

    /// The ways that were detected.
    pub fn detected(&self) -> Vec<ReadAs> {
        let mut all = self.all();
        all.retain(|read_as| !read_as.detected.is_empty());
        all
    }

    /// What may be wrong with how columns are read, and what to declare.
    pub fn notes(&self) -> Vec<String> {
        self.with(|seen| seen.notes.values().cloned().collect())
    }

    /// The columns that folders add to the files.
    pub fn in_folders(&self) -> BTreeSet<String> {
        self.with(|seen| seen.in_folders.clone())
    }
}
