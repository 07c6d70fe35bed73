//! Columns and their types as reports show them, and those that a command names.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::domain::missing_column::missing_column;
use crate::domain::type_names::type_name;
use crate::error::{Error, Result};

/// A column and its type, as users know it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ShownColumn {
    /// Its name.
    pub name: String,
    /// The name of its type.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// The columns of a schema with the names of their types.
pub(super) fn shown_columns(schema: &SchemaRef) -> Vec<ShownColumn> {
    let shown = |field: &Arc<Field>| ShownColumn {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
    };
    schema.fields().iter().map(shown).collect()
}

/// The named columns, in the order of their names; all if none is named.
///
/// # Errors
/// A usage error for a name that the schema does not have, or that is there twice.
pub(crate) fn selected_columns(
    select: &[String],
    schema: &SchemaRef,
    what: &str,
) -> Result<SchemaRef> {
    if select.is_empty() {
        return Ok(schema.clone());
    }
    let mut fields = Vec::with_capacity(select.len());
    for (at, name) in select.iter().enumerate() {
        if select[..at].contains(name) {
            return Err(Error::usage(format!("column '{name}' is selected twice")));
        }
        fields.push(
            schema
                .field_with_name(name)
                .map_err(|_| missing_column(name, schema, what))?
                .clone(),
        );
    }
    Ok(Arc::new(Schema::new(fields)))
}
