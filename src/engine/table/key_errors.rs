//! What is said of keys that are wrong: an unknown key, a column that is not there, nulls, and
//! duplicates; with the hint that says where the key is named.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use chrono::NaiveDate;

use super::{SnapshotTable, show_row};
use crate::domain::missing_column::missing_column;
use crate::error::{Context, Error, Result, toml_key};

impl SnapshotTable {
    /// The error for a table whose key nothing tells.
    pub fn key_is_unknown(&self) -> Error {
        Error::usage(format!("the key of table {} is unknown", self.name)).hint(format!(
            "[tables.{}] key = [\"COLUMN\"] in asof.toml",
            toml_key(self.name.as_str())
        ))
    }

    /// The error for a key column that is not there.
    pub fn no_key_column(&self, key: &str, schema: &Schema, what: &str) -> Error {
        let error =
            missing_column(key, schema, what).hint(self.key_hint("COLUMN[,COLUMN]", "\"COLUMN\""));
        if self.key_is_given {
            error
        } else {
            error.into_refusal()
        }
    }

    /// Refuses rows of a batch whose key is longer than it may be.
    ///
    /// # Errors
    /// A refusal that shows the beginning of the first such key.
    pub fn check_key_lengths(&self, date: NaiveDate, batch: &RecordBatch) -> Result<()> {
        let columns = self
            .key
            .iter()
            .filter_map(|key| batch.schema_ref().index_of(key).ok());
        let keys = batch.project(&columns.collect::<Vec<_>>());
        let keys = keys.internal_context(|| "cannot select the key".into())?;
        let Some(row) = self.types.limits.first_long_key(&keys) else {
            return Ok(());
        };
        Err(self.long_key(date, &show_row(&keys, row)))
    }

    /// The refusal of a key that is too long.
    pub fn long_key(&self, date: NaiveDate, shown: &str) -> Error {
        let what = format!("table {}, {date}, {shown}", self.name);
        self.types.limits.long_key(&what)
    }

    /// The refusal of null keys.
    pub fn null_keys(&self, date: NaiveDate, count: u64, shown: &[String]) -> Error {
        let rows = if count == 1 { "row has" } else { "rows have" };
        let hint = self.key_hint("COLUMN[,COLUMN]", "\"COLUMN\"");
        self.refuse(
            date,
            format!(
                "{count} {rows} a null in the key ({}): {}",
                self.key.join(", "),
                shown.join("; ")
            ),
        )
        .hint(format!(
            "correct the source, or choose a key without nulls: {hint}"
        ))
    }

    /// The refusal of duplicate keys.
    pub fn duplicate_keys(&self, date: NaiveDate, count: u64, shown: &[String]) -> Error {
        let what = if count == 1 {
            "duplicate key".to_owned()
        } else {
            format!("{count} duplicate keys")
        };
        let hint = self.key_hint("COLUMN,COLUMN", "\"COLUMN\", \"COLUMN\"");
        let error = self
            .refuse(
                date,
                format!("{what} ({}): {}", self.key.join(", "), shown.join("; ")),
            )
            .hint(format!(
                "correct the source, or add columns that make the key unique: {hint}"
            ));
        if self.own {
            error
        } else {
            error.hint(self.latest_hint())
        }
    }

    /// What to write to choose another key: the option, if the command line has it and so overrules
    /// the configuration.
    pub(super) fn key_hint(&self, option: &str, configured: &str) -> String {
        if self.key_is_given {
            format!("--key {option}")
        } else {
            format!(
                "[tables.{}] key = [{configured}] in asof.toml",
                toml_key(self.name.as_str())
            )
        }
    }
}
