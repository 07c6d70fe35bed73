//! Rows that are set aside in the types that they are expected to have.
//!
//! Memory: a batch; in the end, those that are copied on all processors.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::sync::Arc;

use arrow::array::{Array, MutableArrayData, RecordBatch, make_array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::SPILL;
use crate::error::{Context, Result};
use crate::parallel::each;
use crate::storage::Batches;

/// Rows in a temporary file.
pub(super) struct TypedAside {
    schema: SchemaRef,
    writer: StreamWriter<BufWriter<File>>,
}

impl TypedAside {
    /// A file for rows of a schema.
    pub(super) fn new(schema: SchemaRef) -> Result<Self> {
        let file = tempfile::tempfile().temporary_context(|| SPILL.into())?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), &schema)
            .temporary_context(|| SPILL.into())?;
        Ok(TypedAside { schema, writer })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows).temporary_context(|| SPILL.into())
    }

    /// The rows, in the order in which they were written.
    pub(super) fn into_rows(mut self) -> Result<Batches> {
        self.writer.finish().temporary_context(|| SPILL.into())?;
        let file = self
            .writer
            .into_inner()
            .temporary_context(|| SPILL.into())?
            .into_inner();
        let mut file = file
            .map_err(|error| error.into_error())
            .temporary_context(|| SPILL.into())?;
        file.rewind().temporary_context(|| SPILL.into())?;
        let reader = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None)
            .temporary_context(|| SPILL.into())?;
        let rows = reader.map(|batch| batch.temporary_context(|| SPILL.into()));
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
