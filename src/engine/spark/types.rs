//! The types that Spark has, beside those of asof.
//!
//! | asof | Spark | its output is |
//! | --- | --- | --- |
//! | `bool`, `int8` to `int64`, `float32`, `float64`, `text`, `binary`, `date`, `decimal` | the same | the same |
//! | `timestamp(us)`, `timestamp(us, UTC)` | `TIMESTAMP_NTZ`, `TIMESTAMP_LTZ` | the same |
//! | `timestamp(s)`, `timestamp(ms)` with or without UTC | the same two | in `us` |
//! | `uint8`, `uint16`, `uint32`, `uint64` | `SMALLINT`, `INT`, `BIGINT`, `DECIMAL(20, 0)` | that type |
//! | lists, structs, maps | `ARRAY`, `STRUCT`, `MAP` | the same |
//! | `timestamp(ns)`, `time`, `duration` | none: refused | |
//!
//! No value changes: a type that is another one holds every value.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, SchemaRef, TimeUnit};
use spark_connect_proto as proto;
use spark_connect_proto::data_type::Kind;

use super::relation::spark_name;
use crate::domain::type_names::type_name;
use crate::error::{Error, Result};

/// The digits of Spark's decimals.
const DIGITS: u8 = 38;

/// The name of a type in Spark's DDL; `None` if Spark has no type with its values.
pub fn spark_type(data_type: &DataType) -> Option<String> {
    use DataType as T;
    let name = match data_type {
        T::Boolean => "BOOLEAN",
        T::Int8 => "TINYINT",
        T::Int16 | T::UInt8 => "SMALLINT",
        T::Int32 | T::UInt16 => "INT",
        T::Int64 | T::UInt32 => "BIGINT",
        T::UInt64 => "DECIMAL(20, 0)",
        T::Float32 => "FLOAT",
        T::Float64 => "DOUBLE",
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null => "STRING",
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "BINARY",
        T::Date32 => "DATE",
        T::Timestamp(TimeUnit::Nanosecond, _) => return None,
        T::Timestamp(_, None) => "TIMESTAMP_NTZ",
        // In a session without zones by default, TIMESTAMP would be the other one.
        T::Timestamp(_, Some(_)) => "TIMESTAMP_LTZ",
        T::Dictionary(_, values) => return spark_type(values),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            let has = *p <= DIGITS && (0..=*p as i8).contains(s);
            return has.then(|| format!("DECIMAL({p}, {s})"));
        }
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => {
            return Some(format!("ARRAY<{}>", spark_type(item.data_type())?));
        }
        T::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                let of = spark_type(field.data_type())?;
                Some(format!("{}: {of}", spark_name(field.name())))
            });
            return Some(format!(
                "STRUCT<{}>",
                fields.collect::<Option<Vec<_>>>()?.join(", ")
            ));
        }
        T::Map(entries, _) => {
            let T::Struct(pair) = entries.data_type() else {
                return None;
            };
            let of = |at: usize| spark_type(pair.get(at)?.data_type());
            return Some(format!("MAP<{}, {}>", of(0)?, of(1)?));
        }
        _ => return None,
    };
    Some(name.to_owned())
}

/// Columns in Spark's DDL.
///
/// # Errors
/// A refusal of a column of a type that Spark does not have.
pub fn columns_ddl(columns: &SchemaRef) -> Result<String> {
    let columns = columns.fields().iter().map(|field| {
        let of = spark_type(field.data_type()).ok_or_else(|| {
            let found = type_name(field.data_type());
            let name = field.name();
            let what = format!("column '{name}' is {found}, which cannot be handed to Spark");
            Error::refused(what).hint("run the job on this machine: --engine local")
        })?;
        Ok(format!("{} {of}", spark_name(field.name())))
    });
    Ok(columns.collect::<Result<Vec<_>>>()?.join(", "))
}

/// The type of a result of Spark as it is read back from the Parquet file that Spark writes;
/// `None` for a type that asof does not have.
pub fn arrow_type(data_type: &proto::DataType) -> Option<DataType> {
    use DataType as T;
    Some(match data_type.kind.as_ref()? {
        Kind::Null(_) => T::Null,
        Kind::Boolean(_) => T::Boolean,
        Kind::Byte(_) => T::Int8,
        Kind::Short(_) => T::Int16,
        Kind::Integer(_) => T::Int32,
        Kind::Long(_) => T::Int64,
        Kind::Float(_) => T::Float32,
        Kind::Double(_) => T::Float64,
        Kind::Decimal(decimal) => {
            let precision = u8::try_from(decimal.precision.unwrap_or(10)).ok()?;
            T::Decimal128(precision, i8::try_from(decimal.scale.unwrap_or(0)).ok()?)
        }
        Kind::String(_) | Kind::Char(_) | Kind::VarChar(_) => T::Utf8,
        Kind::Binary(_) => T::Binary,
        Kind::Date(_) => T::Date32,
        Kind::Timestamp(_) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::TimestampNtz(_) => T::Timestamp(TimeUnit::Microsecond, None),
        Kind::Array(array) => {
            let item = arrow_type(array.element_type.as_deref()?)?;
            T::List(Arc::new(Field::new("item", item, true)))
        }
        Kind::Struct(fields) => T::Struct(fields_of(fields)?),
        Kind::Map(map) => {
            let key = Field::new("key", arrow_type(map.key_type.as_deref()?)?, false);
            let value = Field::new("value", arrow_type(map.value_type.as_deref()?)?, true);
            let entries = T::Struct(vec![key, value].into());
            T::Map(Arc::new(Field::new("entries", entries, false)), false)
        }
        _ => return None,
    })
}

fn fields_of(fields: &proto::data_type::Struct) -> Option<Fields> {
    let fields = fields.fields.iter().map(|field| {
        let of = arrow_type(field.data_type.as_ref()?)?;
        Some(Field::new(&field.name, of, true))
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::type_names::parse_type;

    fn named(name: &str) -> Option<String> {
        spark_type(&parse_type(name).expect(name))
    }

    #[test]
    fn every_type_has_a_spark_type_that_holds_its_values_or_none() {
        let same = |name: &str, spark: &str| assert_eq!(named(name).as_deref(), Some(spark));
        same("int8", "TINYINT");
        same("uint8", "SMALLINT");
        same("uint64", "DECIMAL(20, 0)");
        same("decimal(38, 10)", "DECIMAL(38, 10)");
        same("timestamp(ms)", "TIMESTAMP_NTZ");
        same("timestamp(us, UTC)", "TIMESTAMP_LTZ");
        same("list<struct<a: text>>", "ARRAY<STRUCT<`a`: STRING>>");
        same("map<text, int32>", "MAP<STRING, INT>");
        for none in ["timestamp(ns)", "time", "duration(us)", "list<time>"] {
            assert_eq!(named(none), None, "{none}");
        }
    }
}
