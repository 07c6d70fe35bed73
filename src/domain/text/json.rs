//! JSON values as typed values: exactly the value that is written, or none.
//!
//! A number is kept as its digits until its type is known, so none is rounded on the way. What a
//! string or a number may become is said in [`super`]; besides, a JSON number such as `7.0`
//! or `1e3` is a whole number, and a number is never a date or a time: nothing says in what unit it
//! counts. In a text column a number keeps its digits, and a list or an object is its JSON text.
//!
//! An object's fields are matched by name. A field that the type does not have is not dropped: the
//! object does not fit.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, ArrowPrimitiveType, ListArray, MapArray, NullArray,
    PrimitiveBuilder, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, FieldRef, Fields as ArrowFields, Float64Type, Int32Type, Int64Type,
};
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};

use crate::domain::text;

/// The fields of an object, in order.
pub type Fields<'a> = Vec<(Cow<'a, str>, JsonValue<'a>)>;

/// A JSON value. Its text is that of the document, unless something in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonValue<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, by its digits.
    Number(Cow<'a, str>),
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<JsonValue<'a>>),
    /// An object, with its fields in order. No name is there twice.
    Object(Fields<'a>),
}

/// Why text is not a JSON value.
#[derive(Debug)]
pub enum Wrong {
    /// The text cannot be read; and in which field of the outermost object.
    Io(std::io::Error, Option<String>),
    /// The text is not JSON; the position is in the message.
    Syntax(String),
    /// An object has a field twice.
    Repeated(String),
}

impl From<ReaderError> for Wrong {
    fn from(error: ReaderError) -> Self {
        match error {
            ReaderError::IoError { error, .. } => Wrong::Io(error, None),
            ReaderError::SyntaxError(error) => {
                // `TrailingCommaNotEnabled` in words.
                let name = format!("{:?}", error.kind);
                let split = name.chars().flat_map(|c| {
                    c.is_uppercase()
                        .then_some(' ')
                        .into_iter()
                        .chain(c.to_lowercase())
                });
                Wrong::Syntax(split.collect::<String>().trim_start().to_owned())
            }
            other => Wrong::Syntax(other.to_string()),
        }
    }
}

impl Wrong {
    /// The same of a field of an object.
    fn in_field(self, name: &str) -> Self {
        match self {
            Wrong::Io(error, _) => Wrong::Io(error, Some(name.to_owned())),
            other => other,
        }
    }
}

/// Objects of so few fields are searched faster than their names are hashed.
const FEW_FIELDS: usize = 16;

/// The name that is there twice in an object.
pub fn repeated<'f>(fields: &'f Fields<'_>) -> Option<&'f str> {
    let mut names = fields.iter().map(|(name, _)| name.as_ref());
    if fields.len() > FEW_FIELDS {
        let mut seen = HashSet::with_capacity(fields.len());
        return names.find(|name| !seen.insert(*name));
    }
    let mut before = 0..;
    names.find(|name| {
        let before = before.next().unwrap_or(0);
        fields[..before].iter().any(|(seen, _)| seen == name)
    })
}

/// A reader of one JSON value after another.
pub fn reader<R: std::io::Read>(from: R) -> JsonStreamReader<R> {
    let settings = ReaderSettings {
        allow_multiple_top_level: true,
        restrict_number_values: false,
        track_path: false,
        ..Default::default()
    };
    JsonStreamReader::new_custom(from, settings)
}

/// Reads text that is one JSON value.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<JsonValue<'static>, Wrong> {
    let mut reader = reader(text.as_bytes());
    let value = JsonValue::read(&mut reader)?;
    if reader.has_next()? {
        Err(Wrong::Syntax("there is more than one value".into()))
    } else {
        Ok(value)
    }
}

impl JsonValue<'static> {
    /// Reads the next value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(reader: &mut impl JsonReader) -> Result<Self, Wrong> {
        Ok(match reader.peek()? {
            ValueType::Null => {
                reader.next_null()?;
                JsonValue::Null
            }
            ValueType::Boolean => JsonValue::Bool(reader.next_bool()?),
            ValueType::Number => JsonValue::Number(reader.next_number_as_string()?.into()),
            ValueType::String => JsonValue::String(reader.next_string()?.into()),
            ValueType::Array => {
                reader.begin_array()?;
                let mut items = Vec::new();
                while reader.has_next()? {
                    items.push(JsonValue::read(reader)?);
                }
                reader.end_array()?;
                JsonValue::Array(items)
            }
            ValueType::Object => {
                reader.begin_object()?;
                let mut fields = Fields::new();
                while reader.has_next()? {
                    let name = reader.next_name_owned()?;
                    let value = JsonValue::read(reader).map_err(|wrong| wrong.in_field(&name))?;
                    fields.push((name.into(), value));
                }
                reader.end_object()?;
                if let Some(name) = repeated(&fields) {
                    return Err(Wrong::Repeated(name.to_owned()));
                }
                JsonValue::Object(fields)
            }
        })
    }
}

impl JsonValue<'_> {
    /// The value as compact JSON.
    pub fn to_json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            JsonValue::Null => "null".into(),
            JsonValue::Bool(value) => value.to_string(),
            JsonValue::Number(digits) => digits.to_string(),
            JsonValue::String(text) => quoted(text),
            JsonValue::Array(items) => format!(
                "[{}]",
                items
                    .iter()
                    .map(JsonValue::to_json)
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            JsonValue::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| format!("{}:{}", quoted(name), value.to_json()));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// Reads values as a canonical type. An absent value, like `null`, is null.
///
/// # Errors
/// The first row whose value is not of the type.
pub fn column<'a>(
    values: impl Iterator<Item = Option<Cow<'a, JsonValue<'a>>>>,
    to: &DataType,
) -> Result<ArrayRef, usize> {
    let values: Vec<Option<Cow<'a, JsonValue<'a>>>> = values
        .map(|value| value.filter(|value| !matches!(value.as_ref(), JsonValue::Null)))
        .collect();
    let values: Vec<Option<&JsonValue<'a>>> = values.iter().map(|value| value.as_deref()).collect();
    nullable(&values, to)
}

/// About how long a text is.
const TEXT_BYTES: usize = 8;

/// A column of a canonical type, from values as they are read.
pub struct ColumnBuilder<'a> {
    to: DataType,
    values: KeptValues<'a>,
}

enum KeptValues<'a> {
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    /// The text of any other scalar, until all are there.
    Texts(StringBuilder),
    /// Lists, objects and maps, until all are there.
    Nested(Vec<JsonValue<'a>>),
}

impl<'a> ColumnBuilder<'a> {
    /// An empty column, of about so many rows.
    pub fn new(to: DataType, rows: usize) -> Self {
        let values = match &to {
            DataType::Int32 => KeptValues::Int32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int64 => KeptValues::Int64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float64 => KeptValues::Float64(PrimitiveBuilder::with_capacity(rows)),
            kept if kept.is_nested() || kept == &DataType::Null => KeptValues::Nested(Vec::new()),
            _ => KeptValues::Texts(StringBuilder::with_capacity(rows, rows * TEXT_BYTES)),
        };
        ColumnBuilder { to, values }
    }

    /// How many values there are.
    pub fn rows(&self) -> usize {
        match &self.values {
            KeptValues::Int32(values) => values.len(),
            KeptValues::Int64(values) => values.len(),
            KeptValues::Float64(values) => values.len(),
            KeptValues::Texts(texts) => texts.len(),
            KeptValues::Nested(values) => values.len(),
        }
    }

    /// Adds a value, and says whether it may be one of the type; `null` is null.
    #[must_use]
    pub fn add(&mut self, value: JsonValue<'a>) -> bool {
        match &mut self.values {
            KeptValues::Nested(values) => {
                values.push(value);
                true
            }
            _ => self.add_borrowed(&value),
        }
    }

    /// As [`ColumnBuilder::add`], but borrows the value; only a nested column clones it.
    #[must_use]
    pub fn add_borrowed(&mut self, value: &JsonValue<'a>) -> bool {
        if let KeptValues::Nested(values) = &mut self.values {
            values.push(value.clone());
            return true;
        }
        let text = match present(value) {
            None => None,
            Some(value) => match scalar_text(value, &self.to) {
                Some(text) => Some(text),
                None => return false,
            },
        };
        let text = text.as_deref();
        match &mut self.values {
            KeptValues::Int32(values) => add_number(values, text, text::integer),
            KeptValues::Int64(values) => add_number(values, text, text::integer),
            KeptValues::Float64(values) => add_number(values, text, text::float64),
            KeptValues::Texts(texts) => {
                texts.append_option(text);
                true
            }
            KeptValues::Nested(_) => false,
        }
    }

    /// The values, if each is of the type.
    pub fn finish(self) -> Option<ArrayRef> {
        Some(match self.values {
            KeptValues::Int32(mut values) => Arc::new(values.finish()),
            KeptValues::Int64(mut values) => Arc::new(values.finish()),
            KeptValues::Float64(mut values) => Arc::new(values.finish()),
            KeptValues::Texts(mut texts) => {
                let mut texts = texts.finish();
                if self.to == DataType::Utf8 {
                    // They stay, and so would the memory that they were not in need of.
                    texts.shrink_to_fit();
                }
                text::column(&texts, &self.to).ok()?
            }
            KeptValues::Nested(values) => {
                let values: Vec<Option<&JsonValue<'_>>> = values.iter().map(present).collect();
                nullable(&values, &self.to).ok()?
            }
        })
    }
}

/// Adds a number as it is read from a text, or a null.
fn add_number<T: ArrowPrimitiveType>(
    values: &mut PrimitiveBuilder<T>,
    text: Option<&str>,
    read: impl Fn(&str) -> Option<T::Native>,
) -> bool {
    let number = text.map(read);
    values.append_option(number.flatten());
    number != Some(None)
}

fn nullable(values: &[Option<&JsonValue<'_>>], to: &DataType) -> Result<ArrayRef, usize> {
    match to {
        DataType::Null => match values.iter().position(Option::is_some) {
            None => Ok(Arc::new(NullArray::new(values.len()))),
            Some(row) => Err(row),
        },
        DataType::List(item) => list(values, item),
        DataType::Struct(fields) => structs(values, fields),
        DataType::Map(entries, _) => map(values, entries),
        scalar => {
            let length = |value: &&JsonValue<'_>| match value {
                JsonValue::Number(text) | JsonValue::String(text) => text.len(),
                _ => 0,
            };
            let bytes = values.iter().flatten().map(length).sum();
            let mut texts = StringBuilder::with_capacity(values.len(), bytes);
            for (row, value) in values.iter().enumerate() {
                match value {
                    Some(value) => texts.append_value(scalar_text(value, scalar).ok_or(row)?),
                    None => texts.append_null(),
                }
            }
            text::column(&texts.finish(), scalar)
        }
    }
}

/// What a value is as text, from which a scalar type is read; `None` if it cannot be of the type.
fn scalar_text<'a>(value: &'a JsonValue<'_>, to: &DataType) -> Option<Cow<'a, str>> {
    Some(match value {
        JsonValue::String(text) => text.as_ref().into(),
        _ if to == &DataType::Utf8 => match value {
            JsonValue::Number(digits) => digits.as_ref().into(),
            other => other.to_json().into(),
        },
        JsonValue::Bool(truth) if to == &DataType::Boolean => truth.to_string().into(),
        JsonValue::Number(digits) if to.is_integer() && !text::is_whole(digits) => {
            text::decimal(digits, 38, 0)?.to_string().into()
        }
        JsonValue::Number(digits) if to.is_numeric() => digits.as_ref().into(),
        _ => return None,
    })
}

/// The value, unless it is `null`.
fn present<'a, 'b>(value: &'a JsonValue<'b>) -> Option<&'a JsonValue<'b>> {
    Some(value).filter(|value| !matches!(value, JsonValue::Null))
}

fn list(values: &[Option<&JsonValue<'_>>], item: &FieldRef) -> Result<ArrayRef, usize> {
    let mut items = Vec::new();
    // For each item the row that it is of.
    let mut rows = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let own: &[JsonValue<'_>] = match value {
            None => &[],
            Some(JsonValue::Array(own)) => own,
            Some(_) => return Err(row),
        };
        lengths.push(own.len());
        items.extend(own.iter().map(present));
        rows.extend(std::iter::repeat_n(row, own.len()));
    }
    let items = nullable(&items, item.data_type()).map_err(|at| rows[at])?;
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    ListArray::try_new(
        item.clone(),
        OffsetBuffer::from_lengths(lengths),
        items,
        Some(nulls),
    )
    .map(|list| Arc::new(list) as ArrayRef)
    .map_err(|_| 0)
}

fn structs(values: &[Option<&JsonValue<'_>>], fields: &ArrowFields) -> Result<ArrayRef, usize> {
    let mut columns: Vec<Vec<Option<&JsonValue<'_>>>> =
        vec![vec![None; values.len()]; fields.len()];
    let places: HashMap<&str, usize> = (0..fields.len())
        .map(|at| (fields[at].name().as_str(), at))
        .collect();
    for (row, value) in values.iter().enumerate() {
        let own = match value {
            None => continue,
            Some(JsonValue::Object(own)) => own,
            Some(_) => return Err(row),
        };
        for (name, value) in own {
            let at = places.get(name.as_ref()).ok_or(row)?;
            columns[*at][row] = present(value);
        }
    }
    let columns = columns
        .iter()
        .zip(fields)
        .map(|(values, field)| nullable(values, field.data_type()));
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new_with_length(fields.clone(), columns, Some(nulls), values.len())
        .map(|values| Arc::new(values) as ArrayRef)
        .map_err(|_| 0)
}

fn map(values: &[Option<&JsonValue<'_>>], entries: &FieldRef) -> Result<ArrayRef, usize> {
    let DataType::Struct(pair) = entries.data_type() else {
        return values.iter().position(Option::is_some).map_or(Err(0), Err);
    };
    let mut keys = Vec::new();
    let mut items = Vec::new();
    let mut rows = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let own: &[(Cow<'_, str>, JsonValue<'_>)] = match value {
            None => &[],
            Some(JsonValue::Object(own)) => own,
            Some(_) => return Err(row),
        };
        lengths.push(own.len());
        for (key, value) in own {
            keys.push(key.as_ref());
            items.push(present(value));
            rows.push(row);
        }
    }
    let keys = text::column(&StringArray::from_iter_values(keys), pair[0].data_type())
        .map_err(|at| rows[at])?;
    let items = nullable(&items, pair[1].data_type()).map_err(|at| rows[at])?;
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let pairs = StructArray::try_new(pair.clone(), vec![keys, items], None).map_err(|_| 0usize)?;
    MapArray::try_new(
        entries.clone(),
        OffsetBuffer::from_lengths(lengths),
        pairs,
        Some(nulls),
        false,
    )
    .map(|map| Arc::new(map) as ArrayRef)
    .map_err(|_| 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cast::display;
    use crate::domain::type_names::parse_type;

    /// How the value shows in a column of a type; `None` if it is not of the type.
    fn read(json: &str, to: &str) -> Option<String> {
        let value = parse(json).expect("JSON");
        let array = column(
            std::iter::once(Some(Cow::Owned(value))),
            &parse_type(to).expect("a type"),
        )
        .ok()?;
        Some(display(array.as_ref(), 0))
    }

    #[test]
    fn a_number_is_read_exactly_or_not_at_all() {
        assert_eq!(read("7.0", "int64").as_deref(), Some("7"));
        assert_eq!(read("1.5e1", "int8").as_deref(), Some("15"));
        assert_eq!(
            read("18446744073709551615", "uint64").as_deref(),
            Some("18446744073709551615")
        );
        assert_eq!(
            read("12345678901234567890123456789012345.678", "decimal(38, 3)").as_deref(),
            Some("12345678901234567890123456789012345.678")
        );
        for (json, to) in [
            ("1.9", "int64"),
            ("128", "int8"),
            ("9007199254740993", "float64"),
            ("16777217", "float32"),
            ("1e400", "float64"),
            ("1.005", "decimal(10, 2)"),
            ("1704067200", "timestamp"),
            ("19000", "date"),
            ("1", "bool"),
            ("\"1e400\"", "float64"),
            ("\"007\"", "int64"),
        ] {
            assert_eq!(read(json, to), None, "{json} as {to}");
        }
    }

    #[test]
    fn nested_values_are_matched_by_name_and_none_is_dropped() {
        assert_eq!(
            read(
                r#"{"b":["x",null],"a":1}"#,
                "struct<a: int64, b: list<text>>"
            )
            .as_deref(),
            Some("{a: 1, b: [x, null]}")
        );
        assert_eq!(read(r#"{"a":1,"c":2}"#, "struct<a: int64>"), None);
        assert_eq!(read(r#"[1, 2.5]"#, "list<int64>"), None);
        assert_eq!(
            read(r#"{"x":1,"y":null}"#, "map<text, int64>").as_deref(),
            Some("{x: 1, y: null}")
        );
        assert_eq!(
            read(r#"{"a": [1, "é\n"]}"#, "text").as_deref(),
            Some("{\"a\":[1,\"é\\n\"]}")
        );
        assert!(matches!(parse(r#"{"a":1,"a":2}"#), Err(Wrong::Repeated(name)) if name == "a"));
        assert!(parse("1 2").is_err() && parse("[1,]").is_err() && parse("NaN").is_err());
    }
}
