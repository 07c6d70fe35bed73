//! Canonical types: the one type that stands for all encodings of a value.
//!
//! Text is text whether offsets are 32 or 64 bits wide, views or dictionaries; a time zone is a way
//! of printing an instant. What is left is [`canonical`]. Types that no Parquet reader shares
//! (intervals, unions) are refused. A file has [`written`] types, in which a column without values
//! is text.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::type_names::type_name;
use crate::error::{Error, Result};

/// The type that stands for all encodings of `data_type`, or `None` if asof does not take it.
pub fn canonical(data_type: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match data_type {
        T::Null | T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 => data_type.clone(),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 | T::Float32 | T::Float64 => data_type.clone(),
        T::Float16 => T::Float32,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date32 | T::Date64 => T::Date32,
        T::Time32(_) => T::Time32(TimeUnit::Millisecond),
        T::Time64(_) => T::Time64(TimeUnit::Nanosecond),
        T::Timestamp(unit, zone) => {
            let unit = if *unit == TimeUnit::Second {
                TimeUnit::Millisecond
            } else {
                *unit
            };
            T::Timestamp(unit, zone.as_ref().map(|_| "UTC".into()))
        }
        T::Duration(unit) => T::Duration(*unit),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale) => T::Decimal128(*precision, *scale),
        T::Dictionary(_, values) => canonical(values)?,
        T::RunEndEncoded(_, values) => canonical(values.data_type())?,
        T::List(item)
        | T::LargeList(item)
        | T::FixedSizeList(item, _)
        | T::ListView(item)
        | T::LargeListView(item) => T::List(Arc::new(Field::new(
            "item",
            canonical(item.data_type())?,
            true,
        ))),
        T::Struct(fields) => T::Struct(canonical_fields(fields)?),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => {
                let key = Field::new("key", canonical(pair[0].data_type())?, false);
                let value = Field::new("value", canonical(pair[1].data_type())?, true);
                T::Map(
                    Arc::new(Field::new(
                        "entries",
                        T::Struct(Fields::from(vec![key, value])),
                        false,
                    )),
                    false,
                )
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn canonical_fields(fields: &Fields) -> Option<Fields> {
    fields
        .iter()
        .map(|field| {
            Some(Field::new(
                field.name(),
                canonical(field.data_type())?,
                true,
            ))
        })
        .collect()
}

/// The schema with every type canonical, every column nullable, and no metadata.
///
/// # Errors
/// A refusal that names a column whose type asof does not take, or a name that stands twice.
pub fn canonical_schema(schema: &Schema, what: &str) -> Result<SchemaRef> {
    let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
    let mut names = std::collections::HashSet::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if !names.insert(field.name()) {
            return Err(Error::refused(format!(
                "{what} has two columns named '{}'",
                field.name()
            )));
        }
        let data_type = canonical(field.data_type()).ok_or_else(|| {
            Error::refused(format!(
                "{what}: column '{}' is {}, a type that asof does not keep",
                field.name(),
                type_name(field.data_type())
            ))
        })?;
        fields.push(Field::new(field.name(), data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The type that a file has for a column: where there was no value yet, text, since readers trip
/// over Parquet's type without values.
pub fn written(data_type: &DataType) -> DataType {
    use DataType as T;
    let inside = |field: &Field| field.clone().with_data_type(written(field.data_type()));
    match data_type {
        T::Null => T::Utf8,
        T::List(item) => T::List(Arc::new(inside(item))),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| inside(field)).collect()),
        T::Map(entries, sorted) => T::Map(Arc::new(inside(entries)), *sorted),
        other => other.clone(),
    }
}

/// The type with timestamps in microseconds where it has them in nanoseconds.
pub fn in_microseconds(data_type: &DataType) -> DataType {
    use DataType as T;
    let inside = |field: &Field| {
        field
            .clone()
            .with_data_type(in_microseconds(field.data_type()))
    };
    match data_type {
        T::Timestamp(TimeUnit::Nanosecond, zone) => {
            T::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        T::List(item) => T::List(Arc::new(inside(item))),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| inside(field)).collect()),
        T::Map(entries, sorted) => T::Map(Arc::new(inside(entries)), *sorted),
        other => other.clone(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every canonical type without parameters or nested types, and some decimals.
    pub(crate) fn every_type() -> Vec<DataType> {
        use DataType as T;
        let mut types = vec![
            T::Null,
            T::Boolean,
            T::Int8,
            T::Int16,
            T::Int32,
            T::Int64,
            T::UInt8,
            T::UInt16,
            T::UInt32,
            T::UInt64,
            T::Float32,
            T::Float64,
            T::Utf8,
            T::Binary,
            T::Date32,
            T::Decimal128(10, 2),
            T::Decimal128(12, 4),
            T::Duration(TimeUnit::Second),
        ];
        for unit in [
            TimeUnit::Millisecond,
            TimeUnit::Microsecond,
            TimeUnit::Nanosecond,
        ] {
            types.push(T::Timestamp(unit, None));
            types.push(T::Timestamp(unit, Some("UTC".into())));
        }
        types
    }

    #[test]
    fn encodings_of_one_thing_are_one_type() {
        use DataType as T;
        let dictionary = T::Dictionary(Box::new(T::Int32), Box::new(T::LargeUtf8));
        assert_eq!(canonical(&dictionary), Some(T::Utf8));
        let paris = T::Timestamp(TimeUnit::Second, Some("Europe/Paris".into()));
        assert_eq!(
            canonical(&paris),
            Some(T::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))
        );
        let list = T::LargeList(Arc::new(Field::new("element", T::Utf8View, false)));
        assert_eq!(
            canonical(&list),
            Some(T::List(Arc::new(Field::new("item", T::Utf8, true))))
        );
        assert_eq!(
            canonical(&T::Interval(arrow::datatypes::IntervalUnit::DayTime)),
            None
        );
    }
}
