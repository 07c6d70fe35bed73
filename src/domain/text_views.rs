//! Texts as views: each value says where its text begins in a shared buffer.
//!
//! A view of a decoded page or dictionary costs no copy of the text, and polars has its texts as
//! views too. asof's own rules and files have texts one after the other, so views are only for
//! those who take rows away.

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

/// The columns of a batch in the order of a schema of [`with_views`].
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
        .internal_context(|| "cannot view texts".into())
}
