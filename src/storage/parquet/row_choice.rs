//! Which rows of an object are decoded, and how bytes come to the decoder.

use arrow::array::RecordBatch;
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderBuilder, RowFilter, RowSelection};
use parquet::arrow::push_decoder::ParquetPushDecoder;
use parquet::errors::ParquetError;

use crate::error::Result;
use crate::storage::lake::read::ObjectReader;

/// Which rows are to be read; by default all.
#[derive(Default)]
pub(super) struct RowChoice {
    pub(super) groups: Option<Vec<usize>>,
    pub(super) selection: Option<RowSelection>,
    pub(super) filter: Option<RowFilter>,
    /// How many rows a batch has, if not the usual number.
    pub(super) batch_rows: Option<usize>,
}

impl RowChoice {
    /// Whether every row of the row groups is to be read.
    pub(super) fn is_all(&self) -> bool {
        self.selection.is_none() && self.filter.is_none()
    }

    pub(super) fn narrow<T>(self, mut builder: ArrowReaderBuilder<T>) -> ArrowReaderBuilder<T> {
        if let Some(groups) = self.groups {
            builder = builder.with_row_groups(groups);
        }
        if let Some(rows) = self.batch_rows {
            builder = builder.with_batch_size(rows);
        }
        if let Some(selection) = self.selection {
            builder = builder.with_row_selection(selection);
        }
        match self.filter {
            Some(filter) => builder.with_row_filter(filter),
            None => builder,
        }
    }
}

/// The rows of an object whose bytes are fetched as the decoder asks for them: a row group at a
/// time.
pub(super) struct FetchedRows {
    reader: ObjectReader,
    decoder: ParquetPushDecoder,
}

impl FetchedRows {
    pub(super) fn new(reader: ObjectReader, decoder: ParquetPushDecoder) -> Self {
        FetchedRows { reader, decoder }
    }

    fn pull(&mut self) -> Result<Option<RecordBatch>, ParquetError> {
        loop {
            match self.decoder.try_decode()? {
                DecodeResult::Data(batch) => return Ok(Some(batch)),
                DecodeResult::Finished => return Ok(None),
                DecodeResult::NeedsData(ranges) => {
                    let bytes = self
                        .reader
                        .fetch(&ranges)
                        .map_err(|error| ParquetError::External(Box::new(error)))?;
                    self.decoder.push_ranges(ranges, bytes)?;
                }
            }
        }
    }
}

impl Iterator for FetchedRows {
    type Item = Result<RecordBatch, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pull().transpose()
    }
}
