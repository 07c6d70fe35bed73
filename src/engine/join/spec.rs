//! What a join is asked for.

use arrow::datatypes::Schema;

use crate::domain::join::JoinKind;
use crate::error::{Error, Result};
use crate::model::TableName;

/// What to join on, keep and add.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct JoinSpec {
    /// Pairs of an events column and a key column of the table.
    pub on: Vec<(String, String)>,
    /// What is kept.
    pub how: JoinKind,
    /// A condition over the table's columns, applied before the join.
    pub condition: Option<String>,
    /// The table's columns to add; all but the key if empty.
    pub select: Vec<String>,
}

impl JoinSpec {
    /// Reads `events_column=table_column`, or one name for both.
    ///
    /// # Errors
    /// A usage error for an empty name.
    pub fn parse_on(text: &str) -> Result<(String, String)> {
        let (events, table) = text.split_once('=').unwrap_or((text, text));
        let events = events.trim();
        let table = table.trim();
        if events.is_empty() || table.is_empty() {
            return Err(Error::usage(format!("'{text}' is not a pair of columns"))
                .hint("--on events_column=table_column"));
        }
        Ok((events.to_owned(), table.to_owned()))
    }

    /// Refuses a join that could meet more than one row: the pairs must cover the key, and nothing
    /// else.
    ///
    /// # Errors
    /// A usage error that names the key.
    pub fn check_key(&self, table: &TableName, key: &[String]) -> Result<()> {
        let mut joined: Vec<&String> = self.on.iter().map(|(_, column)| column).collect();
        let mut key: Vec<&String> = key.iter().collect();
        joined.sort();
        key.sort();
        if joined == key {
            return Ok(());
        }
        let names = key
            .iter()
            .map(|name| name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let pairs = key
            .iter()
            .map(|name| format!("--on EVENTS_COLUMN={name}"))
            .collect::<Vec<_>>()
            .join(" ");
        Err(Error::usage(format!(
            "a join with table {table} must be on its key ({names}), so that \
             an event matches at most one row"
        ))
        .hint(pairs)
        .hint("write the job in SQL to join on other columns"))
    }

    /// The table's columns that the output has, in their order.
    pub(super) fn selected(&self, schema: &Schema, key: &[String]) -> Vec<String> {
        if !self.how.adds_columns() {
            return Vec::new();
        }
        if self.select.is_empty() {
            return schema
                .fields()
                .iter()
                .map(|field| field.name())
                .filter(|name| !key.contains(name))
                .cloned()
                .collect();
        }
        self.select.clone()
    }
}
