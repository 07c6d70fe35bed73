//! Casts that keep every value, and batches brought into a wider schema.
//!
//! A cast that would round, cut or lose a value is refused with the value; so a type may only
//! widen, and text is read as the type that it is. Nested values are cast field by field and
//! element by element, by name. As text, a nested value is JSON.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, MapArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{
    DataType, Date64Type, Field, FieldRef, Fields, Float32Type, Float64Type, SchemaRef,
};
use arrow::json::writer::{EncoderOptions, make_encoder};

use super::canonical_types::canonical;
use super::type_names::{list_of, type_name};
use super::widening::{integer, widen};
use crate::error::{Context, Error, Result, shorten};

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
    let own = batch.schema_ref().fields();
    let at: std::collections::HashMap<&str, usize> = own
        .iter()
        .enumerate()
        .map(|(at, field)| (field.name().as_str(), at))
        .collect();
    let columns = schema
        .fields()
        .iter()
        .map(
            |field| match at.get(field.name().as_str()).map(|at| batch.column(*at)) {
                Some(column) => cast_exactly(column, field.data_type(), field.name()),
                None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            },
        )
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .internal_context(|| "cannot bring rows into one schema".into())
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
    match (column.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            cast_struct(column.as_struct(), fields, name)
        }
        (DataType::List(_), DataType::List(item)) => cast_list(column.as_list(), item, name),
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            cast_map(column.as_map(), entries, *sorted, name)
        }
        // Another encoding of a list: first as a list of the values as they are, so that each of
        // them is cast exactly.
        (
            DataType::LargeList(from)
            | DataType::FixedSizeList(from, _)
            | DataType::ListView(from)
            | DataType::LargeListView(from),
            DataType::List(_),
        ) => cast_by_way_of(column, &list_of(from.data_type().clone()), to, name),
        // A null may be among the values that keys or runs refer to.
        (DataType::Dictionary(..), _) => {
            let dictionary = column.as_any_dictionary();
            let values = take(dictionary.values().as_ref(), dictionary.keys(), None)
                .internal_context(of_column(name))?;
            cast_exactly(&values, to, name)
        }
        (DataType::RunEndEncoded(_, values), _) => {
            cast_by_way_of(column, values.data_type(), to, name)
        }
        (DataType::Date64, _) => {
            check_days(column, name)?;
            cast_values(column, to, name)
        }
        (DataType::Struct(_) | DataType::List(_) | DataType::Map(..), DataType::Utf8) => {
            as_json(column, name)
        }
        (DataType::Float32, DataType::Decimal128(..)) => {
            let floats = column.as_primitive::<Float32Type>();
            by_digits(column, floats, 1 << 24, to, name)
        }
        (DataType::Float64, DataType::Decimal128(..)) => {
            let floats = column.as_primitive::<Float64Type>();
            by_digits(column, floats, 1 << 53, to, name)
        }
        (DataType::Utf8, _) => super::text::column(column.as_string(), to)
            .map_err(|row| does_not_fit(column, row, to, name)),
        (from, _)
            if from != &DataType::Utf8
                && to != &DataType::Utf8
                && canonical(from) == Some(DataType::Utf8) =>
        {
            cast_exactly(&cast_exactly(column, &DataType::Utf8, name)?, to, name)
        }
        _ => cast_values(column, to, name),
    }
}

/// A column as text. If it is text, values of another type are written as that type's values are,
/// and all others stay as they are.
///
/// # Errors
/// A refusal of values that have no text.
pub fn as_text_of(column: &ArrayRef, typed: Option<&DataType>, name: &str) -> Result<ArrayRef> {
    let (Some(texts), Some(typed)) = (column.as_string_opt::<i32>(), typed) else {
        return cast_exactly(column, &DataType::Utf8, name);
    };
    let of_type = |text: &&str| super::text::fits(text, typed);
    let values: StringArray = texts.iter().map(|text| text.filter(of_type)).collect();
    let values: ArrayRef = Arc::new(values);
    let values = cast_exactly(&cast_exactly(&values, typed, name)?, &DataType::Utf8, name)?;
    let values = values.as_string::<i32>();
    let written = texts.iter().zip(values).map(|(text, value)| value.or(text));
    Ok(Arc::new(written.collect::<StringArray>()))
}

/// Casts values that are neither nested nor text, and looks at each.
fn cast_values(column: &ArrayRef, to: &DataType, name: &str) -> Result<ArrayRef> {
    if !may_become(column.data_type(), to) {
        return Err(cannot_be_read(column, to, name));
    }
    let lenient = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    let cast =
        cast_with_options(column, to, &lenient).map_err(|_| cannot_be_read(column, to, name))?;
    let lost = if cast.null_count() > column.null_count() {
        (0..column.len()).find(|&row| cast.is_null(row) && !column.is_null(row))
    } else {
        first_rounded(column, &cast)?
    };
    match lost {
        None => Ok(cast),
        Some(row) => Err(does_not_fit(column, row, to, name)),
    }
}

fn cast_list(list: &ListArray, item: &FieldRef, name: &str) -> Result<ArrayRef> {
    let values = cast_exactly(list.values(), item.data_type(), name)?;
    let cast = ListArray::try_new(
        item.clone(),
        list.offsets().clone(),
        values,
        list.nulls().cloned(),
    );
    cast.map(|list| Arc::new(list) as ArrayRef)
        .internal_context(of_column(name))
}

/// Casts a map. The fields of an entry go by position: tools name them as they like.
fn cast_map(map: &MapArray, entries: &FieldRef, sorted: bool, name: &str) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        let column: ArrayRef = Arc::new(map.clone());
        let to = DataType::Map(entries.clone(), sorted);
        return Err(cannot_be_read(&column, &to, name));
    };
    let pairs = map.entries().columns().iter().zip(fields);
    let columns = pairs
        .map(|(column, field)| cast_exactly(column, field.data_type(), name))
        .collect::<Result<Vec<_>>>()?;
    let pairs =
        StructArray::try_new(fields.clone(), columns, None).internal_context(of_column(name))?;
    let cast = MapArray::try_new(
        entries.clone(),
        map.offsets().clone(),
        pairs,
        map.nulls().cloned(),
        sorted,
    );
    cast.map(|map| Arc::new(map) as ArrayRef)
        .internal_context(of_column(name))
}

/// Casts a column that is another encoding of `way`.
fn cast_by_way_of(
    column: &ArrayRef,
    way: &DataType,
    to: &DataType,
    name: &str,
) -> Result<ArrayRef> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let values = cast_with_options(column, way, &strict);
    let values = values.map_err(|_| cannot_be_read(column, to, name))?;
    cast_exactly(&values, to, name)
}

/// Refuses dates in milliseconds that have a time of day.
fn check_days(column: &ArrayRef, name: &str) -> Result<()> {
    let dates = column.as_primitive::<Date64Type>();
    let is_date = |row| {
        dates.value(row) % 86_400_000 == 0 && i32::try_from(dates.value(row) / 86_400_000).is_ok()
    };
    match (0..dates.len()).find(|row| dates.is_valid(*row) && !is_date(*row)) {
        Some(row) => Err(does_not_fit(column, row, &DataType::Date32, name)),
        None => Ok(()),
    }
}

/// Floats as decimals: by the shortest digits that are the float, and not those of its binary
/// value. Of a whole number beyond `most` the last digits are not known.
fn by_digits<T>(
    column: &ArrayRef,
    floats: &PrimitiveArray<T>,
    most: i64,
    to: &DataType,
    name: &str,
) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: fmt::Display + Into<f64>,
{
    #[allow(clippy::cast_precision_loss, reason = "a power of two")]
    let is_known = |value: T::Native| value.into().abs() <= most as f64;
    if let Some(row) =
        (0..floats.len()).find(|row| floats.is_valid(*row) && !is_known(floats.value(*row)))
    {
        return Err(does_not_fit(column, row, to, name));
    }
    let digits: StringArray = floats
        .iter()
        .map(|value| value.map(|value| value.to_string()))
        .collect();
    super::text::column(&digits, to).map_err(|row| does_not_fit(column, row, to, name))
}

/// Nested values as JSON text, from which they can be read again: a value for which that fails is
/// refused, such as one with an infinity or a duration in it. A field that is null is left out.
fn as_json(column: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let from = column.data_type();
    let options = EncoderOptions::default();
    let field = Arc::new(Field::new(name, from.clone(), true));
    let mut encoder = make_encoder(&field, column.as_ref(), &options)
        .map_err(|_| cannot_be_read(column, &DataType::Utf8, name))?;
    let mut json = Vec::new();
    let mut texts = StringBuilder::with_capacity(column.len(), 0);
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        json.clear();
        encoder.encode(row, &mut json);
        texts.append_value(String::from_utf8_lossy(&json));
    }
    let texts = texts.finish();
    let read = super::text::column(&texts, from)
        .map_err(|row| does_not_fit(column, row, &DataType::Utf8, name))?;
    let before = super::digest::key_digests(std::slice::from_ref(column))?;
    let after = super::digest::key_digests(&[read])?;
    match (0..column.len()).find(|&row| before[row] != after[row]) {
        Some(row) => Err(does_not_fit(column, row, &DataType::Utf8, name)),
        None => Ok(Arc::new(texts)),
    }
}

/// Whether values of a type may be values of another, each of which is looked at then. A number is
/// neither a date nor a truth value, and an instant is not a local time; but a local time is an
/// instant where its column is declared to be of UTC.
fn may_become(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let Some(from) = canonical(from) else {
        return false;
    };
    if &from == to || widen(&from, to).as_ref() == Some(to) {
        return true;
    }
    match (&from, to) {
        (T::Null, _) => true,
        (T::Timestamp(_, was), T::Timestamp(_, zone)) => was.is_none() || zone.is_some(),
        (T::Timestamp(_, None), T::Date32) => true,
        (T::Time32(_) | T::Time64(_), T::Time32(_) | T::Time64(_))
        | (T::Duration(_), T::Duration(_)) => true,
        (
            T::Binary
            | T::Boolean
            | T::Date32
            | T::Timestamp(..)
            | T::Time32(_)
            | T::Time64(_)
            | T::Duration(_),
            T::Utf8,
        ) => true,
        (from, T::Utf8) => from.is_numeric(),
        (from, to) => from.is_numeric() && to.is_numeric(),
    }
}

fn cannot_be_read(column: &ArrayRef, to: &DataType, name: &str) -> Error {
    Error::refused(format!(
        "column '{name}' cannot be read as {} from {}",
        type_name(to),
        type_name(column.data_type())
    ))
}

fn does_not_fit(column: &ArrayRef, row: usize, to: &DataType, name: &str) -> Error {
    Error::refused(format!(
        "column '{name}': the value {} does not fit {}",
        quoted(column.as_ref(), row),
        type_name(to)
    ))
}

fn of_column(name: &str) -> impl FnOnce() -> String {
    move || format!("column '{name}'")
}

/// A struct by the names of its fields, absent ones as nulls.
fn cast_struct(values: &StructArray, fields: &Fields, name: &str) -> Result<ArrayRef> {
    let columns = fields
        .iter()
        .map(|field| match values.column_by_name(field.name()) {
            Some(column) => cast_exactly(
                column,
                field.data_type(),
                &format!("{name}.{}", field.name()),
            ),
            None => Ok(new_null_array(field.data_type(), values.len())),
        })
        .collect::<Result<Vec<_>>>()?;
    let cast = StructArray::try_new_with_length(
        fields.clone(),
        columns,
        values.nulls().cloned(),
        values.len(),
    );
    cast.map(|values| Arc::new(values) as ArrayRef)
        .internal_context(of_column(name))
}

/// The first value that a cast has rounded: what is read once more, in the type it came from or in
/// a finer one, is another value.
fn first_rounded(column: &ArrayRef, cast: &ArrayRef) -> Result<Option<usize>> {
    use DataType as T;
    let from = column.data_type();
    let to = cast.data_type();
    let by_integer = integer(from).is_some() && matches!(to, T::Float32 | T::Float64);
    let widens = canonical(from).as_ref() == Some(to) || widen(from, to).as_ref() == Some(to);
    if widens && !by_integer {
        return Ok(None);
    }
    let Some(original) = canonical(from).filter(|original| original == from) else {
        return Ok(None);
    };
    let lenient = CastOptions::default();
    let before = cast_with_options(column, &original, &lenient);
    let after = cast_with_options(cast, &original, &lenient);
    let (Ok(before), Ok(after)) = (before, after) else {
        return Ok(None);
    };
    let before = super::digest::key_digests(&[before])?;
    let after = super::digest::key_digests(&[after])?;
    Ok((0..column.len()).find(|&row| before[row].is_some() && before[row] != after[row]))
}

/// A value as an error shows it: text in quotes, at most 60 characters.
pub fn quoted(column: &dyn Array, row: usize) -> String {
    let shown = shorten(&display(column, row));
    match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => format!("'{shown}'"),
        _ => shown,
    }
}

/// A value as text; null is the empty text.
pub fn display(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) || column.data_type() == &DataType::Null {
        return String::new();
    }
    let options = arrow::util::display::FormatOptions::default().with_null("null");
    arrow::util::display::ArrayFormatter::try_new(column, &options)
        .and_then(|formatter| formatter.value(row).try_to_string())
        .unwrap_or_else(|error| format!("<{error}>"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn an_integer_becomes_a_float_only_where_it_is_exact() {
        let exact: ArrayRef = Arc::new(Int64Array::from(vec![
            Some(1 << 53),
            Some(-(1 << 53)),
            None,
        ]));
        assert!(cast_exactly(&exact, &DataType::Float64, "n").is_ok());
        for beyond in [(1i64 << 53) + 1, -(1i64 << 53) - 1] {
            let inexact: ArrayRef = Arc::new(Int64Array::from(vec![1, beyond]));
            let error = cast_exactly(&inexact, &DataType::Float64, "n").expect_err("inexact");
            assert_eq!(
                error.to_string(),
                format!("column 'n': the value {beyond} does not fit float64")
            );
        }
    }

    #[test]
    fn a_cast_never_rounds() {
        use arrow::array::{Float64Array, TimestampMicrosecondArray};
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let noon = 19_000 * 86_400_000_000 + 43_200_000_000;
        let cases: Vec<(ArrayRef, ArrayRef, DataType)> = vec![
            (
                Arc::new(StringArray::from(vec!["1.20"])),
                Arc::new(StringArray::from(vec!["1.239"])),
                DataType::Decimal128(10, 2),
            ),
            (
                Arc::new(Float64Array::from(vec![2.0])),
                Arc::new(Float64Array::from(vec![1.5])),
                DataType::Int64,
            ),
            (
                Arc::new(Int64Array::from(vec![16_777_216])),
                Arc::new(Int64Array::from(vec![16_777_217])),
                DataType::Float32,
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![0])),
                Arc::new(TimestampMicrosecondArray::from(vec![noon])),
                DataType::Date32,
            ),
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
    fn a_null_among_the_values_of_an_encoding_is_a_null() {
        use arrow::array::{DictionaryArray, Int8Array, Int32Array, RunArray, UInt16Array};
        use arrow::datatypes::{Int8Type, Int32Type, UInt16Type};
        let values = || Arc::new(StringArray::from(vec![Some("a"), None]));
        let keys = Int8Array::from(vec![Some(0), Some(1), None, Some(0)]);
        let few: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::new(keys, values()));
        let runs: ArrayRef = Arc::new(
            RunArray::<Int32Type>::try_new(
                &Int32Array::from(vec![1, 3, 4]),
                &StringArray::from(vec![Some("a"), None, Some("a")]),
            )
            .expect("runs"),
        );
        let outer = DictionaryArray::<UInt16Type>::new(
            UInt16Array::from(vec![Some(0), Some(1), Some(2), Some(3)]),
            few.clone(),
        );
        for column in [few, runs, Arc::new(outer) as ArrayRef] {
            let cast = cast_exactly(&column, &DataType::Utf8, "c").expect("it is text");
            let texts: Vec<_> = cast.as_string::<i32>().iter().collect();
            assert_eq!(
                texts,
                [Some("a"), None, None, Some("a")],
                "{}",
                column.data_type()
            );
        }
    }

    #[test]
    fn a_value_in_a_list_or_map_is_cast_as_exactly_as_one_that_is_in_none() {
        use arrow::array::{Date64Array, FixedSizeListArray, LargeListArray, TimestampSecondArray};
        use arrow::buffer::OffsetBuffer;
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
        for (values, item, is_exact) in [
            (
                Arc::new(TimestampSecondArray::from(vec![1, 253_402_300_799])) as ArrayRef,
                milliseconds.clone(),
                true,
            ),
            (
                Arc::new(TimestampSecondArray::from(vec![1, i64::MAX])),
                milliseconds,
                false,
            ),
            (
                Arc::new(Date64Array::from(vec![0, 86_400_000])),
                DataType::Date32,
                true,
            ),
            (
                Arc::new(Date64Array::from(vec![0, 86_400_001])),
                DataType::Date32,
                false,
            ),
        ] {
            let field = Arc::new(Field::new("x", values.data_type().clone(), true));
            let large = LargeListArray::new(
                field.clone(),
                OffsetBuffer::from_lengths([2]),
                values.clone(),
                None,
            );
            let fixed = FixedSizeListArray::new(field, 2, values.clone(), None);
            for column in [Arc::new(large) as ArrayRef, Arc::new(fixed)] {
                assert_eq!(
                    cast_exactly(&column, &list(item.clone()), "c").is_ok(),
                    is_exact,
                    "{}",
                    column.data_type()
                );
            }
            assert_eq!(cast_exactly(&values, &item, "c").is_ok(), is_exact);
        }
    }

    #[test]
    fn nested_values_are_json_as_text_if_that_gives_them_back() {
        use super::super::type_names::parse_type;
        let read = |types: &str, texts: &[Option<&str>]| {
            let texts = StringArray::from(texts.to_vec());
            super::super::text::column(&texts, &parse_type(types).expect("a type")).expect("values")
        };
        for (types, texts) in [
            (
                "struct<a: int64, b: text>",
                [
                    Some(r#"{"a":9223372036854775807,"b":"x\"y"}"#),
                    Some("{}"),
                    None,
                ],
            ),
            (
                "list<struct<d: decimal(38, 2)>>",
                [
                    Some(r#"[{"d":123456789012345678901234567890.12},{}]"#),
                    Some("[]"),
                    Some("[null]"),
                ],
            ),
            (
                "struct<t: timestamp(ns), u: timestamp_utc, d: date>",
                [
                    Some(
                        r#"{"t":"2024-01-31T10:00:00.000000001","u":"9999-12-31T00:00:00Z","d":"0001-01-01"}"#,
                    ),
                    None,
                    Some("{}"),
                ],
            ),
            (
                "map<text, float64>",
                [Some(r#"{"a":0.1,"b":-0.0}"#), Some("{}"), None],
            ),
            ("list<binary>", [Some(r#"["00ff"]"#), Some("[]"), None]),
        ] {
            let column = read(types, &texts);
            let text = cast_exactly(&column, &DataType::Utf8, "c")
                .unwrap_or_else(|error| panic!("{types}: {error}"));
            assert_eq!(
                text.as_string::<i32>().iter().collect::<Vec<_>>(),
                texts,
                "{types}"
            );
        }
        let infinite: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some([Some(1.0)]),
            Some([Some(f64::INFINITY)]),
        ]));
        let error =
            cast_exactly(&infinite, &DataType::Utf8, "c").expect_err("JSON has no infinity");
        assert_eq!(
            error.to_string(),
            "column 'c': the value [inf] does not fit text"
        );
    }

    #[test]
    fn a_value_that_does_not_parse_is_named() {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["12", "x7"]));
        let error = cast_exactly(&column, &DataType::Int64, "code").expect_err("no number");
        assert_eq!(
            error.to_string(),
            "column 'code': the value 'x7' does not fit int64"
        );
    }

    #[test]
    fn nested_values_are_cast_by_name() {
        use arrow::datatypes::Field;
        let fields = |fields: &[(&str, DataType)]| -> Fields {
            fields
                .iter()
                .map(|(name, t)| Field::new(*name, t.clone(), true))
                .collect()
        };
        let narrow = fields(&[("b", DataType::Utf8), ("a", DataType::Int64)]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["x"])),
            Arc::new(Int64Array::from(vec![1])),
        ];
        let values: ArrayRef = Arc::new(StructArray::new(narrow, columns, None));
        let wide = fields(&[
            ("a", DataType::Float64),
            ("b", DataType::Utf8),
            ("c", DataType::Boolean),
        ]);
        let cast = cast_exactly(&values, &DataType::Struct(wide), "s").expect("it widens");
        assert_eq!(display(cast.as_ref(), 0), "{a: 1.0, b: x, c: null}");
        let digest =
            |column: ArrayRef| super::super::digest::key_digests(&[column]).expect("canonical");
        assert_eq!(
            digest(values),
            digest(cast),
            "an absent field is a field of nulls"
        );
    }
}
