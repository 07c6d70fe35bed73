//! Duplicate keys among rows that are sorted by the key, counted and shown.

use arrow::array::RecordBatch;
use arrow::row::Rows;
use chrono::NaiveDate;

use super::table::{SnapshotTable, show_key};
use crate::domain::key_order::{KeySequence, KeyStep};
use crate::error::Error;

/// How many duplicate keys an error shows.
const SHOWN: usize = 5;

/// The keys that several rows have.
#[derive(Default)]
pub struct DuplicateKeys {
    sequence: KeySequence,
    last_repeats: bool,
    count: u64,
    shown: Vec<String>,
}

impl DuplicateKeys {
    /// Looks at the next rows, with their encoded keys.
    pub fn look(&mut self, rows: &RecordBatch, keys: &Rows, key: &[String]) {
        for (row, step) in self.sequence.steps(keys).into_iter().enumerate() {
            let repeats = step == KeyStep::Repeats;
            if repeats && !self.last_repeats {
                self.count += 1;
                if self.shown.len() < SHOWN {
                    self.shown.push(show_key(rows, key, row));
                }
            }
            self.last_repeats = repeats;
        }
    }

    /// The error for the rows of a date, if a key repeats.
    pub fn refusal(&self, table: &SnapshotTable, date: NaiveDate) -> Option<Error> {
        (self.count > 0).then(|| table.duplicate_keys(date, self.count, &self.shown))
    }
}
