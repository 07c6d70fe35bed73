//! Columns and their types as reports show them.

use arrow::datatypes::SchemaRef;

use crate::domain::type_names::type_name;

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
    let shown = |field: &std::sync::Arc<arrow::datatypes::Field>| ShownColumn {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
    };
    schema.fields().iter().map(shown).collect()
}
