//! What is refused of a database, in words that every driver shares.

use super::DatabaseRelation;
use super::stream::Asked;
use crate::error::{Error, shorten};

impl Asked {
    /// The refusal of a table that the database does not have.
    pub(super) fn no_table<'a>(
        &self,
        table: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Error {
        let error = Error::usage(format!("there is no table or view '{table}'"));
        let otherwise = || self.options.other.to_owned();
        error.hint_nearest(table, known, otherwise)
    }

    /// The refusal of a query, or of reading a table, in the words of the database.
    pub(super) fn refused(&self, why: &str) -> Error {
        match &self.relation {
            DatabaseRelation::Table(table) => {
                Error::usage(format!("cannot read '{table}': {why}")).hint(self.options.other)
            }
            DatabaseRelation::Query(query) => {
                let query = shorten(
                    query
                        .split_whitespace()
                        .collect::<Vec<_>>()
                        .join(" ")
                        .as_str(),
                );
                Error::usage(format!("the query \"{query}\" fails: {why}"))
                    .hint("correct the query; it is written in the database's own SQL")
            }
        }
    }

    /// The refusal of a value that its column does not hold; `row` counts from one.
    pub(super) fn no_value(&self, column: &str, row: u64, what: &str) -> Error {
        Error::refused(format!("row {row}: column '{column}' {what}"))
    }
}
