//! Rows that are set aside in the types that they are expected to have.
//!
//! Memory: a batch; in the end, those that are copied on all processors.

use std::sync::Arc;

use arrow::array::{Array, MutableArrayData, RecordBatch, make_array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::SPILL;
use crate::error::{Context, Result};
use crate::parallel::each;
use crate::storage::Batches;
use crate::storage::temporary_rows::TemporaryRows;

/// Rows on their way to a temporary file.
pub(super) struct TypedAside {
    schema: SchemaRef,
    rows: TemporaryRows,
}

impl TypedAside {
    /// A file for rows of a schema.
    pub(super) fn new(schema: SchemaRef) -> Result<Self> {
        let rows = TemporaryRows::new(&schema, SPILL)?;
        Ok(TypedAside { schema, rows })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.rows.write(rows)
    }

    /// The rows, in the order in which they were written.
    pub(super) fn into_rows(self) -> Result<Batches> {
        let rows = self
            .rows
            .finish()?
            .read(1 << 20, "cannot read rows that were set aside")?;
        Ok(Box::new(each(rows, |batch| own(&batch))?))
    }
}

/// The batch with columns of its own. Those of a file share a buffer, and each would count, and
/// keep, all of it.
fn own(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| {
        let data = column.to_data();
        let mut own = MutableArrayData::new(vec![&data], false, data.len());
        own.try_extend(0, 0, data.len())?;
        Ok(make_array(own.freeze()))
    });
    let columns = columns.collect::<std::result::Result<Vec<Arc<dyn Array>>, ArrowError>>();
    columns
        .and_then(|columns| RecordBatch::try_new(batch.schema(), columns))
        .internal_context(|| "cannot copy rows".into())
}
