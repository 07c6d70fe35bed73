//! Row groups encoded in parallel, and written in their order.
//!
//! Encoding is most of the work of writing. The row groups of a Parquet file do not depend on one
//! another, so each is encoded by a thread of its own while the next one is filled; the bytes are
//! those that one thread would have written.
//!
//! What encodes a column holds buffers of up to a megabyte, however few its rows are. So a row
//! group of more than [`WIDE_COLUMNS`] columns is encoded a column at a time, once it has all of
//! its rows, which are few then. The bytes are the same.
//!
//! Memory: at most [`QUEUED`] bytes of rows wait to be encoded, or one batch if that is more; and
//! the encoded row groups that are not written yet, of which there are as many as processors at
//! most, and hardly more than two if rows are wide; and the rows of each such row group whose
//! columns are encoded one at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;

use crate::parallel::processors;
use crate::phases::Phase;
use crate::storage::parquet::row_groups::WIDE_COLUMNS;
use crate::storage::parquet::seal::SealedFile;

/// How many bytes of rows may wait to be encoded.
const QUEUED: usize = 32 << 20;

/// A Parquet file whose row groups are encoded in parallel; see the module.
pub(crate) struct Encoder {
    writer: SerializedFileWriter<SealedFile>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    group_rows: usize,
    most: usize,
    begun: usize,
    filling: Option<Group>,
    encoding: VecDeque<Group>,
    queued: Arc<Queued>,
    /// Whether a row group is missing.
    failed: bool,
}

/// A row group on its way.
struct Group {
    rows: usize,
    batches: Sender<Waiting>,
    thread: JoinHandle<Result<Vec<ArrowColumnChunk>>>,
}

/// How many bytes of rows wait.
#[derive(Default)]
struct Queued {
    bytes: Mutex<usize>,
    fewer: Condvar,
}

/// Rows that wait; they are counted as long as they are there, whoever lets them go.
struct Waiting {
    batch: RecordBatch,
    bytes: usize,
    queued: Arc<Queued>,
}

impl Waiting {
    /// Waits until there is room.
    fn new(batch: RecordBatch, queued: &Arc<Queued>) -> Self {
        let bytes = batch.columns().iter().map(|column| own_bytes(column)).sum();
        let held = queued.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = queued
            .fewer
            .wait_while(held, |held| *held > 0 && *held + bytes > QUEUED)
            .unwrap_or_else(PoisonError::into_inner);
        *held += bytes;
        drop(held);
        Waiting {
            batch,
            bytes,
            queued: queued.clone(),
        }
    }
}

/// The bytes of an array's own rows: pieces of one batch share its memory, and arrays share
/// dictionaries.
fn own_bytes(array: &dyn Array) -> usize {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => own_bytes(dictionary.keys()),
        None => array.to_data().get_slice_memory_size().unwrap_or(0),
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        *self
            .queued
            .bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.queued.fewer.notify_all();
    }
}

impl Encoder {
    /// Begins a file whose row groups have `group_rows` rows.
    pub(crate) fn new(
        file: File,
        schema: &SchemaRef,
        properties: WriterProperties,
        group_rows: usize,
    ) -> Result<Self> {
        let file = SealedFile::new(file);
        let (writer, factory) = ArrowWriter::try_new(file, schema.clone(), Some(properties))?
            .into_serialized_writer()?;
        let most = processors();
        let filling = None;
        let encoding = VecDeque::new();
        let queued = Arc::default();
        Ok(Encoder {
            writer,
            factory,
            schema: schema.clone(),
            group_rows,
            most,
            begun: 0,
            filling,
            encoding,
            queued,
            failed: false,
        })
    }

    /// Appends rows, which must not go beyond the end of a row group.
    pub(crate) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let mut group = match self.filling.take() {
            Some(group) => group,
            None => self.begin()?,
        };
        group.rows += batch.num_rows();
        // If the thread has failed nobody takes the rows, and its error is met when the group is
        // appended.
        let _ = group.batches.send(Waiting::new(batch, &self.queued));
        if group.rows < self.group_rows {
            self.filling = Some(group);
        } else {
            self.encoding.push_back(close(group));
        }
        while self
            .encoding
            .front()
            .is_some_and(|group| group.thread.is_finished())
        {
            self.append()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Group> {
        while self.encoding.len() >= self.most {
            self.append()?;
        }
        let (batches, waiting) = channel();
        let schema = self.schema.clone();
        let thread = std::thread::Builder::new().name("encode".to_owned());
        let thread = if schema.fields().len() > WIDE_COLUMNS {
            let properties = self.writer.properties().clone();
            thread.spawn(move || encode_by_column(&schema, &properties, &waiting))?
        } else {
            let columns = self.factory.create_column_writers(self.begun)?;
            thread.spawn(move || encode(columns, &schema, &waiting))?
        };
        self.begun += 1;
        Ok(Group {
            rows: 0,
            batches,
            thread,
        })
    }

    /// Writes the first of the row groups that are being encoded, once it is.
    fn append(&mut self) -> Result<()> {
        let Some(Group { thread, .. }) = self.encoding.pop_front() else {
            return Ok(());
        };
        self.failed = true;
        let chunks = thread.join().unwrap_or_else(|_| {
            Err(ParquetError::General(
                "a thread of asof panicked".to_owned(),
            ))
        })?;
        Phase::Write.spend(|| {
            let mut group = self.writer.next_row_group()?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut group)?;
            }
            group.close().map(|_| ())
        })?;
        self.failed = false;
        Ok(())
    }

    /// Ends the file, gives it its checksums, and returns its size in bytes.
    pub(crate) fn finish(mut self, footer: KeyValue) -> Result<u64> {
        self.encoding.extend(self.filling.take().map(close));
        while !self.encoding.is_empty() {
            self.append()?;
        }
        if self.failed {
            return Err(ParquetError::General(
                "rows are missing after a failure".to_owned(),
            ));
        }
        self.writer.append_key_value_metadata(footer);
        Phase::Write.spend(|| {
            self.writer.flush()?;
            self.writer.inner_mut().hold_back();
            self.writer.finish()?;
            let of_checksums = self.writer.inner_mut().seal()?;
            Ok(self.writer.bytes_written() as u64 + of_checksums)
        })
    }
}

impl Drop for Encoder {
    /// No thread outlives the file that it works for.
    fn drop(&mut self) {
        self.encoding.extend(self.filling.take().map(close));
        for group in self.encoding.drain(..) {
            let _ = group.thread.join();
        }
    }
}

/// Lets a row group's thread know that there are no more rows.
fn close(group: Group) -> Group {
    Group {
        batches: channel().0,
        ..group
    }
}

fn encode(
    mut columns: Vec<ArrowColumnWriter>,
    schema: &SchemaRef,
    waiting: &Receiver<Waiting>,
) -> Result<Vec<ArrowColumnChunk>> {
    for rows in waiting {
        Phase::Encode.spend(|| {
            let mut leaves = columns.iter_mut();
            for (field, column) in schema.fields().iter().zip(rows.batch.columns()) {
                append(&mut leaves, field, column)?;
            }
            Ok::<_, ParquetError>(())
        })?;
    }
    Phase::Encode.spend(|| columns.into_iter().map(ArrowColumnWriter::close).collect())
}

/// The same a column at a time.
fn encode_by_column(
    schema: &SchemaRef,
    properties: &WriterPropertiesPtr,
    waiting: &Receiver<Waiting>,
) -> Result<Vec<ArrowColumnChunk>> {
    // They do not count as waiting any more: whoever sends rows would wait for the group to end.
    let rows: Vec<RecordBatch> = waiting.iter().map(|rows| rows.batch.clone()).collect();
    Phase::Encode.spend(|| {
        let mut chunks = Vec::with_capacity(schema.fields().len());
        for (at, field) in schema.fields().iter().enumerate() {
            let mut columns = column_writers(field, properties)?;
            for rows in &rows {
                append(&mut columns.iter_mut(), field, rows.column(at))?;
            }
            for column in columns {
                chunks.push(column.close()?);
            }
        }
        Ok(chunks)
    })
}

/// What encodes the leaves of one column.
fn column_writers(
    field: &FieldRef,
    properties: &WriterPropertiesPtr,
) -> Result<Vec<ArrowColumnWriter>> {
    let schema: SchemaRef = Arc::new(Schema::new(vec![field.clone()]));
    let in_file = ArrowSchemaConverter::new()
        .convert(&schema)?
        .root_schema_ptr();
    // Nothing is written to it: a writer of columns is made for a file.
    let nowhere = SerializedFileWriter::new(std::io::sink(), in_file, properties.clone())?;
    ArrowRowGroupWriterFactory::new(&nowhere, schema).create_column_writers(0)
}

/// Appends the values of one column to what encodes its leaves.
fn append<'a>(
    leaves: &mut impl Iterator<Item = &'a mut ArrowColumnWriter>,
    field: &FieldRef,
    column: &ArrayRef,
) -> Result<()> {
    for leaf in compute_leaves(field, column)? {
        let writer = leaves.next().ok_or_else(|| {
            ParquetError::General("there are more leaves than columns".to_owned())
        })?;
        writer.write(&leaf)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn rows(from: i64, to: i64) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(
            (from..to).map(|id| format!("name {}", id % 97)),
        ));
        let lists = (from..to)
            .map(|id| (id % 3 > 0).then(|| vec![Some(id); usize::try_from(id % 4).unwrap_or(0)]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        RecordBatch::try_from_iter_with_nullable([
            ("id", ids, true),
            ("name", names, true),
            ("list", lists, true),
        ])
        .expect("a batch")
    }

    #[test]
    fn the_bytes_are_those_that_one_thread_writes_and_checksums() {
        compare_with_one_thread(rows);
    }

    #[test]
    fn the_bytes_of_many_columns_are_those_that_one_thread_writes_and_checksums() {
        compare_with_one_thread(|from, to| {
            let narrow = rows(from, to.min(from + 2));
            let columns = (0..WIDE_COLUMNS).map(|at| {
                let column = narrow.column(at % narrow.num_columns()).clone();
                (format!("c{at}"), column, true)
            });
            let nested = ("list".to_owned(), narrow.column(2).clone(), true);
            RecordBatch::try_from_iter_with_nullable(columns.chain([nested])).expect("a batch")
        });
    }

    /// Compares 38 batches in row groups of four with the bytes of one thread.
    fn compare_with_one_thread(rows: impl Fn(i64, i64) -> RecordBatch) {
        let group_rows = 4 * rows(0, 250).num_rows();
        let folder = tempfile::tempdir().expect("a folder");
        let properties = || {
            WriterProperties::builder()
                .set_max_row_group_row_count(Some(group_rows))
                .build()
        };
        let file = |name: &str| File::create(folder.path().join(name)).expect("a file");
        let footer = || KeyValue::new("key".to_owned(), "value".to_owned());
        let schema = rows(0, 1).schema();
        let mut encoder =
            Encoder::new(file("several"), &schema, properties(), group_rows).expect("an encoder");
        let mut one =
            ArrowWriter::try_new(file("one"), schema, Some(properties())).expect("a writer");
        for from in (0..9500).step_by(250) {
            encoder.write(rows(from, from + 250)).expect("written");
            one.write(&rows(from, from + 250)).expect("written");
        }
        one.append_key_value_metadata(footer());
        one.close().expect("closed");
        let size = encoder.finish(footer()).expect("finished");
        let read = |name: &str| std::fs::read(folder.path().join(name)).expect("the bytes");
        let (mut several, one) = (read("several"), read("one"));
        assert_eq!(several.len() as u64, size);
        let footer = one.len()
            - 8
            - u32::from_le_bytes(one[one.len() - 8..][..4].try_into().expect("four")) as usize;
        several.drain(footer..footer + several.len() - one.len());
        assert_eq!(several, one);
    }
}
