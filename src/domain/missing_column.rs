//! The error for a column that a table, a file or a query does not have. For a column of a key,
//! `engine/table/key_errors.rs` adds how a key is declared.

use arrow::datatypes::Schema;

use crate::error::{Error, listed};

/// The error for a column that is not there: `what` has none of that name. The hint is the column
/// that was probably meant, or else the columns there are.
pub fn missing_column(name: &str, schema: &Schema, what: &str) -> Error {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let error = Error::usage(format!("{what} has no column '{name}'"));
    error.hint_nearest(name, names.iter().copied(), || {
        format!("its columns are {}", listed(&names))
    })
}
