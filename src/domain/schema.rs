//! Schemas: when two types are one type, which type may become which, and how a batch is brought
//! into a wider schema.
//!
//! **Canonical types.** Encodings of one thing are one type: text is text whether offsets are 32 or
//! 64 bits wide, views or dictionaries; a time zone is a way of printing an instant. What is left is
//! [`canonical`]. Types that no Parquet reader shares (intervals, unions) are refused.
//!
//! **Widening.** A type may become a wider one of its family, if every value survives exactly:
//! integers to wider integers, integers to `float64` as far as each value is exact, `float32` to
//! `float64`, dates to timestamps, timestamps to finer units, decimals to more digits, and null (a
//! column that never had a value) to anything. Every other change is refused with both types named.
//!
//! **Absence.** An absent column is a column of nulls, before it appears and after it goes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

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
            let unit = if *unit == TimeUnit::Second { TimeUnit::Millisecond } else { *unit };
            T::Timestamp(unit, zone.as_ref().map(|_| "UTC".into()))
        }
        T::Duration(unit) => T::Duration(*unit),
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) | T::Decimal128(precision, scale) => {
            T::Decimal128(*precision, *scale)
        }
        T::Dictionary(_, values) => canonical(values)?,
        T::RunEndEncoded(_, values) => canonical(values.data_type())?,
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) | T::LargeListView(item) => {
            T::List(Arc::new(Field::new("item", canonical(item.data_type())?, true)))
        }
        T::Struct(fields) => T::Struct(canonical_fields(fields)?),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => {
                let key = Field::new("key", canonical(pair[0].data_type())?, false);
                let value = Field::new("value", canonical(pair[1].data_type())?, true);
                T::Map(Arc::new(Field::new("entries", T::Struct(Fields::from(vec![key, value])), false)), false)
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn canonical_fields(fields: &Fields) -> Option<Fields> {
    fields.iter().map(|field| Some(Field::new(field.name(), canonical(field.data_type())?, true))).collect()
}

/// The schema with every type canonical, every column nullable, and no metadata.
///
/// # Errors
/// A refusal that names a column whose type asof does not take, or a name that stands twice.
pub fn canonical_schema(schema: &Schema, what: &str) -> Result<SchemaRef> {
    let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if fields.iter().any(|seen| seen.name() == field.name()) {
            return Err(Error::refused(format!("{what} has two columns named '{}'", field.name())));
        }
        let data_type = canonical(field.data_type()).ok_or_else(|| {
            Error::refused(format!("{what}: column '{}' is {}, a type that asof does not keep", field.name(), type_name(field.data_type())))
        })?;
        fields.push(Field::new(field.name(), data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A type's name as users know it: `int64`, `text`, `timestamp(us, UTC)`, `list<text>`.
pub fn type_name(data_type: &DataType) -> String {
    use DataType as T;
    let unit_name = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    match data_type {
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "text".into(),
        T::Boolean => "bool".into(),
        T::Date32 | T::Date64 => "date".into(),
        T::Timestamp(unit, None) => format!("timestamp({})", unit_name(unit)),
        T::Timestamp(unit, Some(_)) => format!("timestamp({}, UTC)", unit_name(unit)),
        T::Time32(_) | T::Time64(_) => "time".into(),
        T::Duration(unit) => format!("duration({})", unit_name(unit)),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => format!("decimal({p}, {s})"),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => format!("list<{}>", type_name(item.data_type())),
        T::Struct(fields) => {
            let inner: Vec<String> = fields.iter().map(|field| format!("{}: {}", field.name(), type_name(field.data_type()))).collect();
            format!("struct<{}>", inner.join(", "))
        }
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => format!("map<{}, {}>", type_name(pair[0].data_type()), type_name(pair[1].data_type())),
            other => format!("map<{}>", type_name(other)),
        },
        other => format!("{other}").to_lowercase(),
    }
}

/// The types that a configuration can declare for a column.
pub const DECLARABLE: &str = "text, bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64, date, timestamp, timestamp_utc, decimal(P, S), binary";

/// Reads a declared type; `None` if it is none of [`DECLARABLE`].
pub fn parse_type(text: &str) -> Option<DataType> {
    use DataType as T;
    let text = text.trim().to_lowercase();
    if let Some(inner) = text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = inner.split_once(',')?;
        let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        return ((1..=38).contains(&precision) && (0..=38).contains(&scale)).then_some(T::Decimal128(precision, scale));
    }
    Some(match text.as_str() {
        "text" | "string" | "varchar" => T::Utf8,
        "bool" | "boolean" => T::Boolean,
        "int8" => T::Int8,
        "int16" => T::Int16,
        "int32" | "int" | "integer" => T::Int32,
        "int64" | "bigint" => T::Int64,
        "uint8" => T::UInt8,
        "uint16" => T::UInt16,
        "uint32" => T::UInt32,
        "uint64" => T::UInt64,
        "float32" => T::Float32,
        "float64" | "double" => T::Float64,
        "date" => T::Date32,
        "timestamp" => T::Timestamp(TimeUnit::Microsecond, None),
        "timestamp_utc" | "timestamptz" => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "binary" => T::Binary,
        _ => return None,
    })
}

/// Width in bits and signedness of an integer type.
fn integer(data_type: &DataType) -> Option<(u32, bool)> {
    use DataType as T;
    Some(match data_type {
        T::Int8 => (8, true),
        T::Int16 => (16, true),
        T::Int32 => (32, true),
        T::Int64 => (64, true),
        T::UInt8 => (8, false),
        T::UInt16 => (16, false),
        T::UInt32 => (32, false),
        T::UInt64 => (64, false),
        _ => return None,
    })
}

/// The narrowest type that holds the values of both, or `None` if asof refuses to mix them.
///
/// Both are canonical. The result is the same whichever comes first.
pub fn widen(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    if one == other {
        return Some(one.clone());
    }
    match (one, other) {
        (T::Null, wide) | (wide, T::Null) => return Some(wide.clone()),
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => return Some(T::Float64),
        (T::Timestamp(a, zone_a), T::Timestamp(b, zone_b)) if zone_a == zone_b => return Some(T::Timestamp(*a.max(b), zone_a.clone())),
        (T::Date32, T::Timestamp(unit, None)) | (T::Timestamp(unit, None), T::Date32) => return Some(T::Timestamp(*unit, None)),
        (T::Duration(a), T::Duration(b)) => return Some(T::Duration(*a.max(b))),
        (T::Decimal128(p1, s1), T::Decimal128(p2, s2)) => {
            let scale = *s1.max(s2);
            let whole = (i16::from(*p1) - i16::from(*s1)).max(i16::from(*p2) - i16::from(*s2));
            let precision = u8::try_from(whole + i16::from(scale)).ok()?;
            return (precision <= 38).then_some(T::Decimal128(precision, scale));
        }
        _ => {}
    }
    match (integer(one), integer(other)) {
        (Some((bits_a, signed_a)), Some((bits_b, signed_b))) => {
            if signed_a == signed_b {
                return Some(if bits_a > bits_b { one.clone() } else { other.clone() });
            }
            let unsigned_bits = if signed_a { bits_b } else { bits_a };
            let signed_bits = if signed_a { bits_a } else { bits_b };
            match signed_bits.max(unsigned_bits * 2) {
                16 => Some(T::Int16),
                32 => Some(T::Int32),
                64 => Some(T::Int64),
                _ => None,
            }
        }
        (Some(_), None) if matches!(other, T::Float32 | T::Float64) => Some(T::Float64),
        (None, Some(_)) if matches!(one, T::Float32 | T::Float64) => Some(T::Float64),
        _ => None,
    }
}

/// What a new schema changed in the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Columns that were not there before.
    pub added: Vec<String>,
    /// Columns that are gone; they read as null from now on.
    pub absent: Vec<String>,
    /// Columns whose type became wider: name, old type, new type.
    pub widened: Vec<(String, DataType, DataType)>,
}

impl Drift {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.absent.is_empty() && self.widened.is_empty()
    }

    /// The changes in words: `column lid appears (text), column x is gone`.
    pub fn in_words(&self) -> String {
        let appeared = self.added.iter().map(|name| format!("column '{name}' appears"));
        let gone = self.absent.iter().map(|name| format!("column '{name}' is gone"));
        let wider =
            self.widened.iter().map(|(name, from, to)| format!("column '{name}' widens from {} to {}", type_name(from), type_name(to)));
        appeared.chain(gone).chain(wider).collect::<Vec<_>>().join(", ")
    }
}

/// A change of type that is no widening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeClash {
    /// The column.
    pub column: String,
    /// Its type so far.
    pub from: DataType,
    /// Its type now.
    pub to: DataType,
}

impl TypeClash {
    /// The refusal, naming the table and the date on which the type changed.
    pub fn refusal(&self, table: &str, date: impl std::fmt::Display) -> Error {
        let TypeClash { column, from, to } = self;
        Error::refused(format!(
            "table {table}, {date}: column '{column}' changes from {} to {}, which is no widening",
            type_name(from),
            type_name(to)
        ))
        .hint(format!("declare the column's type: [tables.{table}.types] {column} = \"{}\"", type_name(from)))
    }
}

/// The schema that holds both, with columns in the order of their first appearance, and what `next`
/// changed against `so_far`. Both are canonical.
///
/// # Errors
/// The first column whose types do not widen into one.
pub fn unify(so_far: &Schema, next: &Schema) -> Result<(SchemaRef, Drift), TypeClash> {
    let mut drift = Drift::default();
    let mut fields: Vec<Field> = Vec::new();
    for field in so_far.fields() {
        let Ok(now) = next.field_with_name(field.name()) else {
            drift.absent.push(field.name().clone());
            fields.push(field.as_ref().clone());
            continue;
        };
        let wide = widen(field.data_type(), now.data_type()).ok_or_else(|| TypeClash {
            column: field.name().clone(),
            from: field.data_type().clone(),
            to: now.data_type().clone(),
        })?;
        if &wide != field.data_type() {
            drift.widened.push((field.name().clone(), field.data_type().clone(), wide.clone()));
        }
        fields.push(Field::new(field.name(), wide, true));
    }
    for field in next.fields() {
        if so_far.field_with_name(field.name()).is_err() {
            drift.added.push(field.name().clone());
            fields.push(field.as_ref().clone());
        }
    }
    Ok((Arc::new(Schema::new(fields)), drift))
}

/// Brings a batch into `schema`: columns by name, absent ones as nulls, each cast exactly.
///
/// Columns that `schema` does not have are left out.
///
/// # Errors
/// A refusal that names the column and the first value that the new type cannot hold exactly.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => cast_exactly(column, field.data_type(), field.name()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| Error::io(format!("cannot bring rows into one schema: {error}")))
}

/// Casts a column, refusing values that would not survive.
///
/// # Errors
/// A refusal that names the column, the value and the type.
pub fn cast_exactly(column: &ArrayRef, to: &DataType, name: &str) -> Result<ArrayRef> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    if column.logical_null_count() == column.len() {
        return Ok(new_null_array(to, column.len()));
    }
    let lenient = CastOptions { safe: true, ..CastOptions::default() };
    let cast = cast_with_options(column, to, &lenient).map_err(|_| {
        Error::refused(format!("column '{name}' cannot be read as {} from {}", type_name(to), type_name(column.data_type())))
    })?;
    let lost = if cast.null_count() > column.null_count() {
        (0..column.len()).find(|&row| cast.is_null(row) && !column.is_null(row))
    } else {
        first_rounded(column, &cast)?
    };
    match lost {
        None => Ok(cast),
        Some(row) => {
            Err(Error::refused(format!("column '{name}': the value {} does not fit {}", quoted(column.as_ref(), row), type_name(to))))
        }
    }
}

/// The first value that a cast has rounded: what is read once more, in the type it came from or in a finer
/// one, is another value.
fn first_rounded(column: &ArrayRef, cast: &ArrayRef) -> Result<Option<usize>> {
    use DataType as T;
    let (from, to) = (column.data_type(), cast.data_type());
    let by_integer = integer(from).is_some() && matches!(to, T::Float32 | T::Float64);
    let widens = canonical(from).as_ref() == Some(to) || widen(from, to).as_ref() == Some(to);
    let finer = match (from, to) {
        _ if widens && !by_integer => return Ok(None),
        (T::Utf8, T::Decimal128(precision, scale)) => T::Decimal128(38, scale + i8::try_from(38 - precision).unwrap_or(0)),
        (T::Utf8, T::Timestamp(_, zone)) => T::Timestamp(TimeUnit::Nanosecond, zone.clone()),
        (T::Utf8, _) => return Ok(None),
        _ => from.clone(),
    };
    let (Some(original), true) = (canonical(from), canonical(&finer).as_ref() == Some(&finer)) else { return Ok(None) };
    let lenient = CastOptions::default();
    let text = matches!(from, T::Utf8);
    let (before, after) = if text {
        (cast_with_options(column, &finer, &lenient), Ok(cast.clone()))
    } else {
        (cast_with_options(column, &original, &lenient), cast_with_options(cast, &original, &lenient))
    };
    let (Ok(before), Ok(after)) = (before, after) else { return Ok(None) };
    let (before, after) = (super::digest::key_digests(&[before])?, super::digest::key_digests(&[after])?);
    Ok((0..column.len()).find(|&row| before[row].is_some() && before[row] != after[row]))
}

/// A value as an error shows it: text in quotes, at most 60 characters.
pub fn quoted(column: &dyn Array, row: usize) -> String {
    let text = display(column, row);
    let shown = if text.chars().count() > 60 { text.chars().take(57).chain("...".chars()).collect() } else { text };
    match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => format!("'{shown}'"),
        _ => shown,
    }
}

/// A value as text; null is the empty text.
pub fn display(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    let options = arrow::util::display::FormatOptions::default();
    arrow::util::display::ArrayFormatter::try_new(column, &options)
        .and_then(|formatter| formatter.value(row).try_to_string())
        .unwrap_or_else(|error| format!("<{error}>"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn every_type() -> Vec<DataType> {
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
        for unit in [TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
            types.push(T::Timestamp(unit, None));
            types.push(T::Timestamp(unit, Some("UTC".into())));
        }
        types
    }

    #[test]
    fn widening_is_symmetric_idempotent_and_upward() {
        for a in every_type() {
            assert_eq!(canonical(&a), Some(a.clone()), "{a} is canonical");
            for b in every_type() {
                let wide = widen(&a, &b);
                assert_eq!(wide, widen(&b, &a), "{a} and {b}");
                if let Some(wide) = wide {
                    assert_eq!(widen(&wide, &a).as_ref(), Some(&wide), "{a} goes into {wide}");
                    assert_eq!(widen(&wide, &b).as_ref(), Some(&wide), "{b} goes into {wide}");
                }
            }
        }
    }

    #[test]
    fn only_the_listed_widenings_are_taken() {
        use DataType as T;
        let some = [
            (T::Int32, T::Int64, T::Int64),
            (T::Int64, T::Float64, T::Float64),
            (T::Int32, T::Float32, T::Float64),
            (T::UInt32, T::Int32, T::Int64),
            (T::UInt8, T::Int64, T::Int64),
            (T::Null, T::Utf8, T::Utf8),
            (T::Date32, T::Timestamp(TimeUnit::Microsecond, None), T::Timestamp(TimeUnit::Microsecond, None)),
            (T::Decimal128(10, 2), T::Decimal128(12, 4), T::Decimal128(12, 4)),
            (T::Decimal128(10, 0), T::Decimal128(5, 4), T::Decimal128(14, 4)),
        ];
        for (a, b, wide) in some {
            assert_eq!(widen(&a, &b), Some(wide), "{a} and {b}");
        }
        let none = [
            (T::Utf8, T::Int64),
            (T::Boolean, T::Int64),
            (T::UInt64, T::Int64),
            (T::Date32, T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            (T::Timestamp(TimeUnit::Microsecond, None), T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            (T::Utf8, T::Date32),
            (T::Decimal128(10, 2), T::Float64),
            (T::Decimal128(38, 0), T::Decimal128(38, 38)),
            (T::Utf8, T::Binary),
        ];
        for (a, b) in none {
            assert_eq!(widen(&a, &b), None, "{a} and {b}");
        }
    }

    #[test]
    fn encodings_of_one_thing_are_one_type() {
        use DataType as T;
        let dictionary = T::Dictionary(Box::new(T::Int32), Box::new(T::LargeUtf8));
        assert_eq!(canonical(&dictionary), Some(T::Utf8));
        let paris = T::Timestamp(TimeUnit::Second, Some("Europe/Paris".into()));
        assert_eq!(canonical(&paris), Some(T::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))));
        let list = T::LargeList(Arc::new(Field::new("element", T::Utf8View, false)));
        assert_eq!(canonical(&list), Some(T::List(Arc::new(Field::new("item", T::Utf8, true)))));
        assert_eq!(canonical(&T::Interval(arrow::datatypes::IntervalUnit::DayTime)), None);
    }

    #[test]
    fn columns_keep_the_order_of_their_first_appearance() {
        let old = Schema::new(vec![Field::new("id", DataType::Int32, true), Field::new("gone", DataType::Utf8, true)]);
        let new = Schema::new(vec![Field::new("fresh", DataType::Utf8, true), Field::new("id", DataType::Int64, true)]);
        let (wide, drift) = unify(&old, &new).expect("it widens");
        let names: Vec<&str> = wide.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "gone", "fresh"]);
        assert_eq!(drift.in_words(), "column 'fresh' appears, column 'gone' is gone, column 'id' widens from int32 to int64");
        assert_eq!(unify(&wide, &wide).expect("itself").1, Drift::default());
    }

    #[test]
    fn an_integer_becomes_a_float_only_where_it_is_exact() {
        let exact: ArrayRef = Arc::new(Int64Array::from(vec![Some(1 << 53), Some(-(1 << 53)), None]));
        assert!(cast_exactly(&exact, &DataType::Float64, "n").is_ok());
        for beyond in [(1i64 << 53) + 1, -(1i64 << 53) - 1] {
            let inexact: ArrayRef = Arc::new(Int64Array::from(vec![1, beyond]));
            let error = cast_exactly(&inexact, &DataType::Float64, "n").expect_err("inexact");
            assert_eq!(error.to_string(), format!("column 'n': the value {beyond} does not fit float64"));
        }
    }

    #[test]
    fn a_cast_never_rounds() {
        use arrow::array::{Float64Array, TimestampMicrosecondArray};
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let noon = 19_000 * 86_400_000_000 + 43_200_000_000;
        let cases: Vec<(ArrayRef, ArrayRef, DataType)> = vec![
            (Arc::new(StringArray::from(vec!["1.20"])), Arc::new(StringArray::from(vec!["1.239"])), DataType::Decimal128(10, 2)),
            (Arc::new(Float64Array::from(vec![2.0])), Arc::new(Float64Array::from(vec![1.5])), DataType::Int64),
            (Arc::new(Int64Array::from(vec![16_777_216])), Arc::new(Int64Array::from(vec![16_777_217])), DataType::Float32),
            (Arc::new(TimestampMicrosecondArray::from(vec![0])), Arc::new(TimestampMicrosecondArray::from(vec![noon])), DataType::Date32),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1000])),
                Arc::new(TimestampMicrosecondArray::from(vec![1001])),
                milliseconds.clone(),
            ),
            (
                Arc::new(StringArray::from(vec!["2024-01-31T10:00:00.5"])),
                Arc::new(StringArray::from(vec!["2024-01-31T10:00:00.0005"])),
                milliseconds,
            ),
        ];
        for (exact, rounded, to) in cases {
            assert!(cast_exactly(&exact, &to, "c").is_ok(), "{to}");
            assert!(cast_exactly(&rounded, &to, "c").is_err(), "{to}");
        }
    }

    #[test]
    fn a_value_that_does_not_parse_is_named() {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["12", "x7"]));
        let error = cast_exactly(&column, &DataType::Int64, "code").expect_err("no number");
        assert_eq!(error.to_string(), "column 'code': the value 'x7' does not fit int64");
    }

    #[test]
    fn every_declarable_type_reads_back() {
        for name in DECLARABLE.split(", ").filter(|name| !name.contains(['(', ')'])) {
            let data_type = parse_type(name).expect(name);
            assert_eq!(canonical(&data_type), Some(data_type));
        }
        assert_eq!(parse_type("Decimal(10, 2)"), Some(DataType::Decimal128(10, 2)));
        assert_eq!(parse_type("decimal(39, 2)"), None);
    }
}
