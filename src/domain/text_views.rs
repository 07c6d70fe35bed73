//! Text columns as string views (`Utf8View`).
//!
//! A view points into a decoded page or dictionary, so the text is not copied. polars stores strings
//! in the same way. asof's own code and files use `Utf8`, so only rows that leave asof are views.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::{Context, Result};

/// The schema with its columns of text as views. Texts in lists and structs stay as they are.
pub fn with_views(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let viewed = |field: &Field| field.clone().with_data_type(DataType::Utf8View);
        match field.data_type() {
            DataType::Utf8 => Arc::new(viewed(field)),
            _ => field.clone(),
        }
    });
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

/// Casts a batch to a schema of [`with_views`]. Columns that the batch lacks become nulls.
///
/// # Errors
/// None is expected.
pub fn as_views(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = schema.fields().iter().map(|field| {
        let Some(column) = batch.column_by_name(field.name()) else {
            return Ok(new_null_array(field.data_type(), batch.num_rows()));
        };
        match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type())
                .internal_context(|| format!("column '{}'", field.name())),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .internal_context(|| "cannot convert text columns to string views".into())
}
