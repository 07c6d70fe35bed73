//! The columns of a query of MySQL, and the arrays that they are filled into.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use mysql_async::Value;
use mysql_async::consts::{ColumnFlags, ColumnType};

use crate::domain::text;
use crate::domain::type_names::{decimal_type, type_name};
use crate::error::{Error, Result, shorten};
use crate::source::database::cells::ColumnCells;
use crate::source::database::stream::Asked;

/// The number of the character set of bytes.
const BINARY: u16 = 63;

/// A column that is filled value by value.
pub(super) struct MysqlColumn {
    pub(super) name: String,
    data_type: DataType,
    cells: ColumnCells,
}

/// The columns of a query.
///
/// # Errors
/// A refusal of a type that has no canonical one, with a query that reads its text.
pub(super) fn columns(
    described: &[mysql_async::Column],
    asked: &Asked,
) -> Result<Vec<MysqlColumn>> {
    let names: Vec<_> = described.iter().map(|column| column.name_str()).collect();
    let columns = described.iter().enumerate().map(|(at, column)| {
        let data_type = type_of(column).map_err(|what| {
            Error::refused(format!(
                "column '{}' is {what}, which has no exact type in the lake",
                names[at]
            ))
            .hint(asked.reading_text(at, &names, text_of(column)))
        })?;
        Ok(MysqlColumn {
            name: names[at].clone().into_owned(),
            cells: ColumnCells::of(&data_type),
            data_type,
        })
    });
    columns.collect()
}

/// The type of a column's values.
///
/// # Errors
/// What its own type is called, if it has no exact canonical one.
fn type_of(column: &mysql_async::Column) -> Result<DataType, String> {
    use ColumnType as C;
    use DataType as T;
    let is_unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let or = |signed: T, unsigned: T| if is_unsigned { unsigned } else { signed };
    Ok(match column.column_type() {
        C::MYSQL_TYPE_NULL => T::Null,
        C::MYSQL_TYPE_TINY => or(T::Int8, T::UInt8),
        C::MYSQL_TYPE_SHORT => or(T::Int16, T::UInt16),
        C::MYSQL_TYPE_INT24 | C::MYSQL_TYPE_LONG => or(T::Int32, T::UInt32),
        C::MYSQL_TYPE_LONGLONG => or(T::Int64, T::UInt64),
        C::MYSQL_TYPE_YEAR => T::Int16,
        C::MYSQL_TYPE_BIT if column.column_length() == 1 => T::Boolean,
        C::MYSQL_TYPE_BIT => T::UInt64,
        C::MYSQL_TYPE_FLOAT => T::Float32,
        C::MYSQL_TYPE_DOUBLE => T::Float64,
        C::MYSQL_TYPE_DECIMAL | C::MYSQL_TYPE_NEWDECIMAL => decimal(column, is_unsigned)?,
        C::MYSQL_TYPE_DATE | C::MYSQL_TYPE_NEWDATE => T::Date32,
        C::MYSQL_TYPE_TIME | C::MYSQL_TYPE_TIME2 => T::Time64(TimeUnit::Nanosecond),
        C::MYSQL_TYPE_DATETIME | C::MYSQL_TYPE_DATETIME2 => {
            T::Timestamp(TimeUnit::Microsecond, None)
        }
        C::MYSQL_TYPE_TIMESTAMP | C::MYSQL_TYPE_TIMESTAMP2 => {
            T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        C::MYSQL_TYPE_JSON | C::MYSQL_TYPE_ENUM | C::MYSQL_TYPE_SET => T::Utf8,
        C::MYSQL_TYPE_VARCHAR
        | C::MYSQL_TYPE_VAR_STRING
        | C::MYSQL_TYPE_STRING
        | C::MYSQL_TYPE_TINY_BLOB
        | C::MYSQL_TYPE_MEDIUM_BLOB
        | C::MYSQL_TYPE_LONG_BLOB
        | C::MYSQL_TYPE_BLOB => match column.character_set() {
            BINARY => T::Binary,
            _ => T::Utf8,
        },
        C::MYSQL_TYPE_GEOMETRY => return Err("a geometry".to_owned()),
        C::MYSQL_TYPE_VECTOR => return Err("a vector".to_owned()),
        other => return Err(format!("{other:?}")),
    })
}

/// SQL for the exact text of a column `{c}` whose type has no canonical one. MySQL casts a geometry
/// to null, and gives six digits of a vector's numbers.
fn text_of(column: &mysql_async::Column) -> &'static str {
    match column.column_type() {
        ColumnType::MYSQL_TYPE_GEOMETRY => "ST_AsText({c})",
        ColumnType::MYSQL_TYPE_VECTOR => "HEX({c})",
        _ => "CAST({c} AS CHAR)",
    }
}

/// The type of a column of decimals. Its length is that of its text, with a point and a sign.
fn decimal(column: &mysql_async::Column, is_unsigned: bool) -> Result<DataType, String> {
    let scale = column.decimals();
    let digits = column.column_length() - u32::from(scale > 0) - u32::from(!is_unsigned);
    let arguments = [digits.to_string(), scale.to_string()];
    decimal_type(&[&arguments[0], &arguments[1]])
        .ok_or_else(|| format!("decimal({digits}, {scale})"))
}

impl MysqlColumn {
    pub(super) fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), true)
    }

    /// The values so far; the column is empty then.
    pub(super) fn finish(&mut self) -> ArrayRef {
        self.cells.finish()
    }

    /// Adds a value, and says about how many bytes it takes.
    ///
    /// # Errors
    /// Why the column does not hold the value, in words that follow its name.
    pub(super) fn push(&mut self, value: &Value) -> Result<usize, String> {
        /// Appends what a value is as another type, if it is one.
        macro_rules! append {
            ($cells:expr, $read:expr) => {
                $cells.append_value($read.ok_or_else(|| not_held(value, &self.data_type))?)
            };
        }
        match &mut self.cells {
            cells if *value == Value::NULL => cells.push_null(),
            ColumnCells::Booleans(cells) => append!(cells, bits(value).map(|bits| bits != 0)),
            ColumnCells::Int8s(cells) => append!(cells, integer(value)),
            ColumnCells::Int16s(cells) => append!(cells, integer(value)),
            ColumnCells::Int32s(cells) => append!(cells, integer(value)),
            ColumnCells::Int64s(cells) => append!(cells, integer(value)),
            ColumnCells::UInt8s(cells) => append!(cells, integer(value)),
            ColumnCells::UInt16s(cells) => append!(cells, integer(value)),
            ColumnCells::UInt32s(cells) => append!(cells, integer(value)),
            ColumnCells::UInt64s(cells) => append!(cells, integer(value).or_else(|| bits(value))),
            ColumnCells::Float32s(cells) => append!(cells, float(value)),
            ColumnCells::Float64s(cells) => append!(cells, double(value)),
            ColumnCells::Decimals(cells) => {
                let DataType::Decimal128(precision, scale) = self.data_type else {
                    return Err(not_held(value, &self.data_type));
                };
                let number = utf8(value).and_then(|text| text::decimal(text, precision, scale));
                append!(cells, number);
            }
            ColumnCells::Texts(cells) => {
                let text = utf8(value).ok_or("holds text that is not UTF-8")?;
                cells.append_value(text);
                return Ok(text.len());
            }
            ColumnCells::Binaries(cells) => {
                append!(cells, bytes(value));
                return Ok(bytes(value).map_or(0, <[u8]>::len));
            }
            ColumnCells::Dates(cells) => append!(cells, day(value)),
            ColumnCells::Times(cells) => append!(cells, time(value)),
            ColumnCells::Timestamps(cells) => append!(cells, instant(value)),
            ColumnCells::Nulls(_) => return Err(not_held(value, &self.data_type)),
        }
        Ok(size_of::<i64>())
    }
}

/// Why a type does not hold a value.
fn not_held(value: &Value, to: &DataType) -> String {
    let shown = match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true).trim_matches('\'').to_owned(),
    };
    format!("is {}, and holds '{}'", type_name(to), shorten(&shown))
}

fn integer<T: TryFrom<i64> + TryFrom<u64>>(value: &Value) -> Option<T> {
    match value {
        Value::Int(integer) => T::try_from(*integer).ok(),
        Value::UInt(integer) => T::try_from(*integer).ok(),
        _ => None,
    }
}

/// The number that bits are, the first of which counts most.
fn bits(value: &Value) -> Option<u64> {
    let bytes = bytes(value)?;
    let number = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, number))
}

fn float(value: &Value) -> Option<f32> {
    match value {
        Value::Float(float) => Some(*float),
        _ => None,
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Double(double) => Some(*double),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn utf8(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

/// The date and time of a value; none of a zero date such as `2024-00-00`.
fn moment(value: &Value) -> Option<NaiveDateTime> {
    let Value::Date(year, month, day, hour, minute, second, microsecond) = *value else {
        return None;
    };
    let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
    date.filter(|_| year > 0)?.and_hms_micro_opt(
        hour.into(),
        minute.into(),
        second.into(),
        microsecond,
    )
}

fn day(value: &Value) -> Option<i32> {
    let since = moment(value)?.date() - NaiveDate::default();
    i32::try_from(since.num_days()).ok()
}

/// Microseconds since 1970, of the same time of day in UTC.
fn instant(value: &Value) -> Option<i64> {
    Some(moment(value)?.and_utc().timestamp_micros())
}

/// Nanoseconds since midnight; none for what is not a time of the day, such as `-01:00` or `24:00`.
fn time(value: &Value) -> Option<i64> {
    let Value::Time(false, 0, hours, minutes, seconds, microseconds) = *value else {
        return None;
    };
    let (hours, minutes, seconds) = (hours.into(), minutes.into(), seconds.into());
    let time = NaiveTime::from_hms_micro_opt(hours, minutes, seconds, microseconds)?;
    (time - NaiveTime::MIN).num_nanoseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_date_or_time_of_the_day_is_none() {
        assert_eq!(day(&Value::Date(1970, 1, 2, 0, 0, 0, 0)), Some(1));
        assert_eq!(day(&Value::Date(9999, 12, 31, 0, 0, 0, 0)), Some(2_932_896));
        for (year, month, day) in [(0, 0, 0), (2024, 0, 10), (2024, 2, 30), (0, 1, 1)] {
            assert_eq!(instant(&Value::Date(year, month, day, 0, 0, 0, 0)), None);
        }
        assert_eq!(
            instant(&Value::Date(1970, 1, 1, 0, 0, 1, 5)),
            Some(1_000_005)
        );
        assert_eq!(
            time(&Value::Time(false, 0, 23, 59, 59, 1)),
            Some(86_399_000_001_000)
        );
        assert_eq!(time(&Value::Time(true, 0, 1, 0, 0, 0)), None);
        assert_eq!(time(&Value::Time(false, 1, 0, 0, 0, 0)), None);
    }

    #[test]
    fn integers_and_bits_are_held_whole_or_not_at_all() {
        assert_eq!(integer::<u64>(&Value::UInt(u64::MAX)), Some(u64::MAX));
        assert_eq!(integer::<i8>(&Value::Int(128)), None);
        assert_eq!(integer::<u8>(&Value::Int(-1)), None);
        assert_eq!(bits(&Value::Bytes(vec![1, 0])), Some(256));
        assert_eq!(bits(&Value::Bytes(vec![0; 9])), None);
    }
}
