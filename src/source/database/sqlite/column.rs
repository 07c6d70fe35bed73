//! Values of SQLite on their way into a column of one type.

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use rusqlite::types::ValueRef;

use crate::domain::text;
use crate::domain::type_names::type_name;
use crate::error::shorten;
use crate::source::database::cells::ColumnCells;

/// A column that is filled value by value.
pub(super) struct SqliteColumn {
    to: DataType,
    /// Whether values of every type are read as text of the column's type, since it is declared.
    takes_any: bool,
    cells: ColumnCells,
}

impl SqliteColumn {
    /// An empty column of a type. If the type is `declared` by the user, values of any type that
    /// are written like it are taken.
    pub(super) fn new(to: &DataType, declared: Option<&DataType>) -> Self {
        let takes_any = declared.is_some();
        let cells = match to {
            DataType::Null | DataType::Boolean | DataType::Binary => ColumnCells::of(to),
            DataType::Int64 | DataType::Float64 if !takes_any => ColumnCells::of(to),
            _ => ColumnCells::Texts(StringBuilder::new()),
        };
        SqliteColumn {
            to: to.clone(),
            takes_any,
            cells,
        }
    }

    /// Adds a value, and says about how many bytes it takes.
    ///
    /// # Errors
    /// Why the column does not hold the value, in words that follow its name.
    pub(super) fn push(&mut self, value: ValueRef<'_>) -> Result<usize, String> {
        let to = &self.to;
        match (&mut self.cells, value) {
            (cells, ValueRef::Null) => cells.push_null(),
            (ColumnCells::Booleans(values), ValueRef::Integer(value @ (0 | 1))) => {
                values.append_value(value == 1);
            }
            (ColumnCells::Booleans(values), ValueRef::Text(text)) => {
                let truth = std::str::from_utf8(text).ok().and_then(text::boolean);
                values.append_value(truth.ok_or_else(|| no_value_of(to, value))?);
            }
            (ColumnCells::Int64s(values), ValueRef::Integer(value)) => values.append_value(value),
            (ColumnCells::Float64s(values), ValueRef::Real(value)) => values.append_value(value),
            (ColumnCells::Float64s(values), ValueRef::Integer(value)) => {
                let exact = text::float64(&value.to_string());
                values.append_value(exact.ok_or_else(|| no_value(to, value, "integer"))?);
            }
            (ColumnCells::Binaries(values), ValueRef::Blob(value)) => {
                values.append_value(value);
                return Ok(value.len());
            }
            (ColumnCells::Texts(texts), value) => {
                let text =
                    text_of(value, to, self.takes_any).ok_or_else(|| no_value_of(to, value))?;
                texts.append_value(&text);
                return Ok(text.len());
            }
            _ => return Err(no_value_of(to, value)),
        }
        Ok(size_of::<i64>())
    }

    /// The values so far; the column is empty then.
    ///
    /// # Errors
    /// The first row whose value is not of the column's type, and why.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, (usize, String)> {
        let ColumnCells::Texts(texts) = &mut self.cells else {
            return Ok(self.cells.finish());
        };
        let texts = texts.finish();
        text::column(&texts, &self.to)
            .map_err(|row| (row, no_value(&self.to, texts.value(row), "text")))
    }
}

/// Why a type does not hold a value.
fn no_value_of(to: &DataType, value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => no_value(to, "null", "value"),
        ValueRef::Integer(value) => no_value(to, value, "integer"),
        ValueRef::Real(value) => no_value(to, format!("{value:?}"), "real"),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => no_value(to, text, "text"),
            Err(_) => "holds text that is not UTF-8".to_owned(),
        },
        ValueRef::Blob(blob) => no_value(to, hex::encode(blob), "blob"),
    }
}

fn no_value(to: &DataType, value: impl ToString, class: &str) -> String {
    let value = shorten(&value.to_string());
    format!("is {}, and holds the {class} '{value}'", type_name(to))
}

/// A value as text of a type, if the type takes values like it.
fn text_of(value: ValueRef<'_>, to: &DataType, takes_any: bool) -> Option<String> {
    let is_decimal = matches!(to, DataType::Decimal128(..));
    match value {
        ValueRef::Integer(value) if takes_any || is_decimal => Some(value.to_string()),
        ValueRef::Real(value) if takes_any || is_decimal => Some(format!("{value:?}")),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().map(str::to_owned),
        ValueRef::Blob(blob) if takes_any => std::str::from_utf8(blob).ok().map(str::to_owned),
        _ => None,
    }
}
