//! The error for a column that a table, a file or a query does not have. For a column of a key,
//! `engine/table/key_errors.rs` adds how a key is declared.

use arrow::datatypes::Schema;

use crate::error::{Error, listed};

/// The error for a column that is not there: `what` has none of that name. The hint is the column
/// that was probably meant, or else the columns there are.
pub fn missing_column(name: &str, schema: &Schema, what: &str) -> Error {
    with_names(
        Error::usage(format!("{what} has no column '{name}'")),
        name,
        schema,
    )
}

/// The error for a column that a setting or an option names, as `names` says, and that `what` does
/// not have. The hints are as for [`missing_column`].
pub fn names_missing_column(names: &str, name: &str, schema: &Schema, what: &str) -> Error {
    let error = Error::usage(format!(
        "{names} column '{name}', and {what} has no such column"
    ));
    with_names(error, name, schema)
}

fn with_names(error: Error, name: &str, schema: &Schema) -> Error {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    error.hint_nearest(name, names.iter().copied(), || {
        format!("its columns are {}", listed(&names))
    })
}
