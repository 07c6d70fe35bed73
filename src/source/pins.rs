//! The types that columns had so far, by name.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Schema};

/// Pinned types by column, in any spelling. Made once for all columns of a source, which may be
/// many.
#[derive(Default)]
pub(super) struct Pins<'a> {
    exact: HashMap<&'a str, &'a DataType>,
    /// By the names in lower case.
    spelled: HashMap<String, &'a DataType>,
}

impl<'a> Pins<'a> {
    /// The types of a schema's columns.
    pub(super) fn of_columns(schema: &'a Schema) -> Self {
        let mut pins = Pins::default();
        for field in schema.fields() {
            pins.exact.insert(field.name(), field.data_type());
            pins.spelled
                .entry(field.name().to_lowercase())
                .or_insert(field.data_type());
        }
        pins
    }

    /// The type that a column had, in this spelling if there is one.
    pub(super) fn of(&self, column: &str) -> Option<&'a DataType> {
        let exact = self.exact.get(column);
        let data_type = exact.or_else(|| self.spelled.get(&column.to_lowercase()))?;
        (**data_type != DataType::Null).then_some(*data_type)
    }
}
