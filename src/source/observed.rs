//! What was found out of how text is written, for reports and notes.

use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::compression::Compression;

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
        let delimiter = self.delimiter.map(|delimiter| if delimiter == '\t' { "tab".to_owned() } else { format!("'{delimiter}'") });
        let words = self.detected.iter().map(|what| match *what {
            "delimiter" => format!("delimiter {}", delimiter.as_deref().unwrap_or_default()),
            what => format!("{what} {}", self.encoding),
        });
        (!self.detected.is_empty()).then(|| words.collect::<Vec<_>>().join(", "))
    }
}

/// How the files of one table or of one kind of events were read: each way once. Clones are of the same.
#[derive(Clone, Debug, Default)]
pub struct Observed(Arc<Mutex<Vec<ReadAs>>>);

impl Observed {
    pub(super) fn note(&self, read_as: ReadAs) {
        let Ok(mut seen) = self.0.lock() else { return };
        if !seen.contains(&read_as) {
            seen.push(read_as);
        }
    }

    /// What was seen so far.
    pub fn all(&self) -> Vec<ReadAs> {
        self.0.lock().map(|seen| seen.clone()).unwrap_or_default()
    }

    /// What was detected so far.
    pub fn detected(&self) -> Vec<ReadAs> {
        let mut all = self.all();
        all.retain(|read_as| !read_as.detected.is_empty());
        all
    }
}
