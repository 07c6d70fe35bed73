//! Values of PostgreSQL in its binary format, as the canonical types.

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::{DataType, TimeUnit};
use tokio_postgres::types::{FromSql, Kind, Type};

use super::decimals;
use crate::source::database::cells::ColumnCells;

/// The days from 1970-01-01, where days are counted from here, to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The bytes of a value of any type.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Type,
        bytes: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(bytes))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A type that has an exact canonical one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Bool,
    Int16,
    Int32,
    Int64,
    Oid,
    Float32,
    Float64,
    /// A number whose digits are not known yet.
    AnyDecimal,
    Decimal(u8, i8),
    /// What is text in the binary format too.
    Text,
    /// `"char"`: one byte, or none if it is zero.
    Byte,
    /// Text after the number of its version.
    JsonB,
    Uuid,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampUtc,
}

impl Scalar {
    /// The type of a column's values or items; `None` if it has no exact canonical one.
    pub(super) fn of(data_type: &Type, modifier: i32) -> Option<Self> {
        match data_type.kind() {
            Kind::Enum(_) => return Some(Scalar::Text),
            Kind::Domain(base) => return Scalar::of(base, modifier),
            _ => {}
        }
        Some(match *data_type {
            Type::BOOL => Scalar::Bool,
            Type::INT2 => Scalar::Int16,
            Type::INT4 => Scalar::Int32,
            Type::INT8 => Scalar::Int64,
            Type::OID => Scalar::Oid,
            Type::FLOAT4 => Scalar::Float32,
            Type::FLOAT8 => Scalar::Float64,
            Type::NUMERIC => decimals::of_modifier(modifier)
                .map_or(Scalar::AnyDecimal, |(precision, scale)| {
                    Scalar::Decimal(precision, scale)
                }),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => Scalar::Text,
            Type::JSON | Type::XML => Scalar::Text,
            Type::CHAR => Scalar::Byte,
            Type::JSONB => Scalar::JsonB,
            Type::UUID => Scalar::Uuid,
            Type::BYTEA => Scalar::Bytes,
            Type::DATE => Scalar::Date,
            Type::TIME => Scalar::Time,
            Type::TIMESTAMP => Scalar::Timestamp,
            Type::TIMESTAMPTZ => Scalar::TimestampUtc,
            _ if data_type.name() == "citext" => Scalar::Text,
            _ => return None,
        })
    }

    pub(super) fn data_type(self) -> DataType {
        use DataType as T;
        match self {
            Scalar::Bool => T::Boolean,
            Scalar::Int16 => T::Int16,
            Scalar::Int32 => T::Int32,
            Scalar::Int64 => T::Int64,
            Scalar::Oid => T::UInt32,
            Scalar::Float32 => T::Float32,
            Scalar::Float64 => T::Float64,
            // No column keeps this type: a pass over the values settles it before they are read.
            Scalar::AnyDecimal => T::Null,
            Scalar::Decimal(precision, scale) => T::Decimal128(precision, scale),
            Scalar::Text | Scalar::Byte | Scalar::JsonB | Scalar::Uuid => T::Utf8,
            Scalar::Bytes => T::Binary,
            Scalar::Date => T::Date32,
            Scalar::Time => T::Time64(TimeUnit::Nanosecond),
            Scalar::Timestamp => T::Timestamp(TimeUnit::Microsecond, None),
            Scalar::TimestampUtc => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// Values of one type.
pub(super) struct PostgresValues {
    pub(super) scalar: Scalar,
    cells: ColumnCells,
}

impl PostgresValues {
    pub(super) fn new(scalar: Scalar) -> Self {
        PostgresValues {
            scalar,
            cells: ColumnCells::of(&scalar.data_type()),
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Adds a value in the binary format, and says about how many bytes it takes.
    ///
    /// # Errors
    /// Why the type does not hold the value, in words that follow the name of the column.
    pub(super) fn push(&mut self, value: Option<&[u8]>) -> Result<usize, String> {
        let Some(bytes) = value else {
            self.cells.push_null();
            return Ok(1);
        };
        match &mut self.cells {
            ColumnCells::Booleans(values) => values.append_value(bytes == [1]),
            ColumnCells::Int16s(values) => values.append_value(i16::from_be_bytes(fixed(bytes)?)),
            ColumnCells::Int32s(values) => values.append_value(i32::from_be_bytes(fixed(bytes)?)),
            ColumnCells::Int64s(values) => values.append_value(i64::from_be_bytes(fixed(bytes)?)),
            ColumnCells::UInt32s(values) => values.append_value(u32::from_be_bytes(fixed(bytes)?)),
            ColumnCells::Float32s(values) => values.append_value(f32::from_be_bytes(fixed(bytes)?)),
            ColumnCells::Float64s(values) => values.append_value(f64::from_be_bytes(fixed(bytes)?)),
            ColumnCells::Decimals(values) => {
                let Scalar::Decimal(precision, scale) = self.scalar else {
                    return Err("is a number of unknown digits".to_owned());
                };
                values.append_value(decimals::decimal(bytes, precision, scale)?);
            }
            ColumnCells::Texts(texts) => push_text(texts, bytes, self.scalar)?,
            ColumnCells::Binaries(values) => values.append_value(bytes),
            ColumnCells::Dates(values) => {
                values.append_value(date(i32::from_be_bytes(fixed(bytes)?)))
            }
            ColumnCells::Times(values) => {
                values.append_value(time(i64::from_be_bytes(fixed(bytes)?))?)
            }
            ColumnCells::Timestamps(values) => {
                values.append_value(timestamp(i64::from_be_bytes(fixed(bytes)?)));
            }
            ColumnCells::Nulls(_)
            | ColumnCells::Int8s(_)
            | ColumnCells::UInt8s(_)
            | ColumnCells::UInt16s(_)
            | ColumnCells::UInt64s(_) => {
                return Err("has a type that PostgreSQL has not".to_owned());
            }
        }
        Ok(bytes.len())
    }

    /// The values so far; there are none then.
    pub(super) fn finish(&mut self) -> ArrayRef {
        self.cells.finish()
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    let wrong = |_| {
        format!(
            "holds a value of {} bytes, and {N} were expected",
            bytes.len()
        )
    };
    bytes.try_into().map_err(wrong)
}

fn push_text(texts: &mut StringBuilder, bytes: &[u8], scalar: Scalar) -> Result<(), String> {
    let bytes = match scalar {
        Scalar::Uuid => {
            let hex = hex::encode(fixed::<16>(bytes)?);
            let parts = [
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..],
            ];
            texts.append_value(parts.join("-"));
            return Ok(());
        }
        Scalar::JsonB => match bytes.split_first() {
            Some((1, text)) => text,
            _ => return Err("holds jsonb of a version that is not known".to_owned()),
        },
        Scalar::Byte if bytes == [0] => &[],
        _ => bytes,
    };
    let text = std::str::from_utf8(bytes);
    texts.append_value(text.map_err(|_| "holds text that is not UTF-8")?);
    Ok(())
}

/// A date from the days since 2000. `infinity` stays the number that stands for it, and dates
/// beyond every calendar become it, so that whoever checks dates refuses them.
fn date(days: i32) -> i32 {
    if days == i32::MIN {
        days
    } else {
        days.saturating_add(EPOCH_DAYS)
    }
}

/// An instant from the microseconds since 2000; as [`date`].
fn timestamp(microseconds: i64) -> i64 {
    if microseconds == i64::MIN {
        microseconds
    } else {
        microseconds.saturating_add(EPOCH_MICROSECONDS)
    }
}

/// A time of day from its microseconds.
fn time(microseconds: i64) -> Result<i64, String> {
    if microseconds == 86_400_000_000 {
        return Err("holds the time 24:00:00, which is not a time of the day".to_owned());
    }
    Ok(microseconds * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cast::display;

    fn shown(scalar: Scalar, bytes: &[u8]) -> Result<String, String> {
        let mut values = PostgresValues::new(scalar);
        values.push(Some(bytes))?;
        assert_eq!(values.len(), 1);
        let array = values.finish();
        assert_eq!(array.data_type(), &scalar.data_type());
        Ok(display(&array, 0))
    }

    #[test]
    fn values_are_counted_from_2000() {
        let date = |days: i32| shown(Scalar::Date, &days.to_be_bytes()).expect("a date");
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(-730_119), "0001-01-01");
        let at = |at: i64| shown(Scalar::TimestampUtc, &at.to_be_bytes()).expect("an instant");
        assert_eq!(at(1), "2000-01-01T00:00:00.000001Z");
        assert_eq!(super::date(i32::MAX), i32::MAX, "infinity");
        assert_eq!(super::date(i32::MIN), i32::MIN, "-infinity");
        assert_eq!(timestamp(i64::MAX), i64::MAX, "infinity");
        assert_eq!(timestamp(i64::MIN), i64::MIN, "-infinity");
        let time = |at: i64| shown(Scalar::Time, &at.to_be_bytes());
        assert_eq!(time(86_399_999_999).as_deref(), Ok("23:59:59.999999"));
        assert!(time(86_400_000_000).is_err());
    }

    #[test]
    fn text_is_read_out_of_its_binary_form() {
        let uuid: Vec<u8> = (0..16).collect();
        assert_eq!(
            shown(Scalar::Uuid, &uuid).as_deref(),
            Ok("00010203-0405-0607-0809-0a0b0c0d0e0f")
        );
        assert_eq!(shown(Scalar::JsonB, b"\x01{}").as_deref(), Ok("{}"));
        assert!(shown(Scalar::JsonB, b"\x02{}").is_err());
        assert_eq!(shown(Scalar::Byte, b"\x00").as_deref(), Ok(""));
        assert!(shown(Scalar::Text, b"\xff").is_err());
        assert!(shown(Scalar::Int32, b"\x00").is_err());
    }
}
