//! Rows in a temporary file: they are written once, and read from their beginning.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::Batches;
use crate::error::{Context, Result};

/// A temporary file that rows are written to.
pub struct TemporaryRows {
    writer: StreamWriter<BufWriter<File>>,
    /// What errors say of writing it.
    doing: &'static str,
}

impl TemporaryRows {
    /// A file for rows of a schema. `doing` says what cannot be done if it cannot be written.
    ///
    /// # Errors
    /// A failure of the temporary folder.
    pub fn new(schema: &Schema, doing: &'static str) -> Result<Self> {
        let file = tempfile::tempfile().temporary_context(|| doing.into())?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), schema)
            .temporary_context(|| doing.into())?;
        Ok(TemporaryRows { writer, doing })
    }

    /// Writes the rows that come next.
    ///
    /// # Errors
    /// A failure of the temporary folder.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let doing = self.doing;
        self.writer.write(rows).temporary_context(|| doing.into())
    }

    /// The file with all rows.
    ///
    /// # Errors
    /// A failure of the temporary folder.
    pub fn finish(mut self) -> Result<TemporaryFile> {
        let doing = || self.doing.to_owned();
        self.writer.finish().temporary_context(doing)?;
        let buffer = self.writer.into_inner().temporary_context(doing)?;
        let file = buffer.into_inner().map_err(|error| error.into_error());
        let mut file = file.temporary_context(doing)?;
        file.rewind().temporary_context(doing)?;
        Ok(TemporaryFile(file))
    }
}

/// A temporary file with rows.
pub struct TemporaryFile(File);

impl TemporaryFile {
    /// Reads the rows, `buffer` bytes at a time. `doing` says what cannot be done if they cannot be
    /// read.
    ///
    /// # Errors
    /// A failure of the temporary folder.
    pub fn read(self, buffer: usize, doing: &'static str) -> Result<Batches> {
        let file = BufReader::with_capacity(buffer, self.0);
        let reader = StreamReader::try_new(file, None).io_context(|| doing.into())?;
        Ok(Box::new(
            reader.map(move |batch| batch.io_context(|| doing.into())),
        ))
    }
}
