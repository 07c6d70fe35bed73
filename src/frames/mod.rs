//! Batches of rows as polars data frames, and back.
//!
//! Values stay where they are: a frame holds the buffers of its batches, and batches hold those of
//! their frame, for as long as either lives. Only what says where a text or a list begins is
//! written anew, since polars has views and 64-bit offsets where asof has 32-bit offsets. A batch
//! is a chunk of each column, and a chunk ends a batch.
//!
//! A column has the type of polars that stands for just the same values. Where polars has none, and
//! would convert or reinterpret the column, it is refused by name.

mod bridge;
#[cfg(feature = "lazy")]
mod predicate;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, new_empty_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use polars_core::prelude::{Column, CompatLevel, DataFrame, PlSmallStr, Series};

#[cfg(feature = "lazy")]
pub use self::predicate::condition_of;

use self::bridge::{CrossingError, polars_type, to_arrow, to_polars};
use crate::domain::canonical_types::canonical;
use crate::domain::type_names::type_name;
use crate::error::{Context, Error, Result};

/// Rows as a frame, with a chunk for each batch. `what` names the rows in messages.
///
/// # Errors
/// A refusal that names a column for whose type polars has none that holds the same values; the
/// first error of a batch; a usage error for a column that stands twice.
pub fn to_frame(
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
    what: &str,
) -> Result<DataFrame> {
    check_types(schema, what)?;
    let mut columns: Vec<Vec<_>> = vec![Vec::new(); schema.fields().len()];
    let mut height = 0;
    for batch in batches {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        height += batch.num_rows();
        let fields = schema.fields().iter().zip(batch.columns());
        for (chunks, (field, column)) in columns.iter_mut().zip(fields) {
            chunks.push(polars_array(column, field)?);
        }
    }
    let columns = columns.into_iter().zip(schema.fields());
    let columns = columns.map(|(mut chunks, field)| -> Result<Column> {
        if chunks.is_empty() {
            chunks.push(polars_array(&new_empty_array(field.data_type()), field)?);
        }
        let series = Series::try_from((PlSmallStr::from(field.name().as_str()), chunks));
        Ok(series
            .internal_context(|| format!("column '{}'", field.name()))?
            .into())
    });
    DataFrame::new(height, columns.collect::<Result<_>>()?)
        .map_err(|error| Error::usage(format!("cannot make a frame of {what}: {error}")))
}

/// A frame as rows, with a batch for each chunk; where the chunks of its columns end at different
/// rows, each of their ends ends a batch. A column of categories is one of text.
///
/// # Errors
/// A refusal that names a column of a type that no table has, such as 128-bit integers.
pub fn to_batches(frame: &DataFrame) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut fields = Vec::with_capacity(frame.width());
    let mut columns = Vec::with_capacity(frame.width());
    let mut ends = BTreeSet::from([frame.height()]);
    for column in frame.columns() {
        let (field, chunks) = arrow_column(column.as_materialized_series())?;
        let mut end = 0;
        for chunk in &chunks {
            end += chunk.len();
            ends.insert(end);
        }
        fields.push(field);
        columns.push(chunks);
    }
    let schema = Arc::new(Schema::new(fields));
    let mut begin = 0;
    let mut batches = Vec::with_capacity(ends.len());
    for end in ends.into_iter().filter(|end| *end > 0) {
        let rows = columns.iter().map(|chunks| between(chunks, begin, end));
        let options = RecordBatchOptions::new().with_row_count(Some(end - begin));
        let batch = RecordBatch::try_new_with_options(schema.clone(), rows.collect(), &options);
        batches.push(batch.internal_context(|| "cannot make rows of a frame".into())?);
        begin = end;
    }
    Ok((schema, batches))
}

/// The schema of [`packed`] batches.
pub fn packed_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let packed = replaced(field.data_type(), &|leaf| match leaf {
            DataType::Utf8View => DataType::LargeUtf8,
            DataType::BinaryView => DataType::LargeBinary,
            other => other.clone(),
        });
        field.as_ref().clone().with_data_type(packed)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A batch that holds its own texts and bytes alone. Views hold all buffers that they were cut
/// from, and a file would get these with each batch.
///
/// # Errors
/// None is expected.
pub fn packed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows: UInt64Array = (0..batch.num_rows() as u64).map(Some).collect();
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| -> Result<ArrayRef> {
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        // A slice of lists holds the items of all of them.
        take(column, &rows, None)
            .and_then(|own| cast(&own, field.data_type()))
            .internal_context(|| format!("column '{}'", field.name()))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .internal_context(|| "cannot pack rows of a frame".into())
}

/// Refuses columns for whose type polars has none that holds the same values.
fn check_types(schema: &Schema, what: &str) -> Result<()> {
    let missing =
        |field: &&Arc<Field>| polars_type(&without_dictionaries(field.data_type())).is_err();
    let Some(refused) = schema.fields().iter().find(missing) else {
        return Ok(());
    };
    let data_type = refused.data_type();
    let shown = shown_type(data_type);
    let mut why = "polars has no type with these values".to_owned();
    if let Err(inside) = polars_type(&without_dictionaries(data_type))
        && inside != *data_type
    {
        why = format!("of {}, {why}", shown_type(&inside));
    }
    let others: Vec<String> = schema
        .fields()
        .iter()
        .filter(|field| !missing(field))
        .map(|field| format!("{:?}", field.name()))
        .collect();
    let error = Error::refused(format!(
        "{what}: column '{}' is {shown}: {why}",
        refused.name()
    ));
    Err(match others.is_empty() {
        true => error,
        false => error.hint(format!("name the other columns: &[{}]", others.join(", "))),
    })
}

/// The name of a type: asof's own for those that tables have, Arrow's for all others.
fn shown_type(data_type: &DataType) -> String {
    match canonical(data_type).as_ref() == Some(data_type) {
        true => type_name(data_type),
        false => data_type.to_string(),
    }
}

fn polars_array(column: &ArrayRef, field: &Field) -> Result<Box<dyn polars_arrow::array::Array>> {
    if column.data_type() != field.data_type() {
        return Err(Error::internal(format!(
            "column '{}' is {} in one batch and {} in the schema",
            field.name(),
            column.data_type(),
            field.data_type()
        )));
    }
    to_polars(&decoded(column, field.name())?)
        .internal_context(|| format!("column '{}'", field.name()))
}

/// A column of a frame: its name and type, and its chunks.
fn arrow_column(series: &Series) -> Result<(Field, Vec<ArrayRef>)> {
    let name = series.name().as_str();
    let refused = || {
        Error::refused(format!(
            "column '{name}' of the frame is {}: tables have no such type",
            series.dtype()
        ))
        .hint("cast the column to another type first")
    };
    let newest = CompatLevel::newest();
    if series.dtype().try_to_arrow(newest).is_err() {
        return Err(refused());
    }
    let field = series.dtype().to_arrow_field(series.name().clone(), newest);
    let chunks = (0..series.n_chunks()).map(|chunk| {
        let exported = series
            .to_arrow_with_field(chunk, Cow::Borrowed(&field), true)
            .internal_context(|| format!("column '{name}'"))?;
        let array = match to_arrow(exported) {
            Err(CrossingError::NoSuchType(_)) => return Err(refused()),
            crossed => crossed.internal_context(|| format!("column '{name}'"))?,
        };
        decoded(&array, name)
    });
    let chunks = chunks.collect::<Result<Vec<_>>>()?;
    let data_type = chunks.first().ok_or_else(refused)?.data_type().clone();
    Ok((Field::new(name, data_type, true), chunks))
}

/// The rows from `begin` to before `end`, which lie in one chunk.
fn between(chunks: &[ArrayRef], begin: usize, end: usize) -> ArrayRef {
    let mut first = 0;
    for chunk in chunks {
        if begin < first + chunk.len() {
            return chunk.slice(begin - first, end - begin);
        }
        first += chunk.len();
    }
    unreachable!("the end of each chunk ends a batch")
}

/// A column with its dictionaries, which are an encoding, decoded.
fn decoded(column: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let plain = without_dictionaries(column.data_type());
    match plain == *column.data_type() {
        true => Ok(column.clone()),
        false => cast(column, &plain).internal_context(|| format!("column '{name}'")),
    }
}

fn without_dictionaries(data_type: &DataType) -> DataType {
    replaced(data_type, &|leaf| match leaf {
        DataType::Dictionary(_, values) => without_dictionaries(values),
        other => other.clone(),
    })
}

/// A type with each of the types in it that are not made of others replaced.
fn replaced(data_type: &DataType, replace: &dyn Fn(&DataType) -> DataType) -> DataType {
    use DataType as T;
    let inside = |field: &Field| {
        let other = replaced(field.data_type(), replace);
        Arc::new(field.clone().with_data_type(other))
    };
    match data_type {
        T::List(item) => T::List(inside(item)),
        T::LargeList(item) => T::LargeList(inside(item)),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| inside(field)).collect()),
        leaf => replace(leaf),
    }
}

#[cfg(test)]
mod tests;
