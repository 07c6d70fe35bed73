//! Batches with their types made canonical, which is done once, where they enter the program.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::cast::cast_exactly;
use super::impossible_dates::check_calendar;
use crate::error::{Context, Result};

/// A batch with its types made canonical: `schema` is its own schema after
/// [`canonical_schema`](super::canonical_types::canonical_schema), column for column.
///
/// # Errors
/// A refusal that names the column that cannot be converted, or that has a date which no calendar
/// has.
pub fn to_canonical(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    check_calendar(batch)?;
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cast_exactly(column, field.data_type(), field.name()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .internal_context(|| "cannot convert rows".into())
}
