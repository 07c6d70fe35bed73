//! One Parquet object: reading it, and writing the same bytes for the same rows.
//!
//! **Reading.** Types are made canonical at this edge, so that the rest of the program knows one
//! text type and one list type. Only the columns that are asked for are decoded.
//!
//! **Writing.** Bytes depend on the rows, their order and the schema alone: batches are cut
//! anew into pieces of one size before they reach the encoder, whatever size they came in. Rows are sorted by
//! key, row groups hold 65,536 rows and carry statistics, so that a point look-up reads one of them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;

use super::Batches;
use super::footer::{Footer, KEY};
use crate::domain::cast::cast_exactly;
use crate::domain::schema::canonical_schema;
use crate::error::{Context, Error, Result};

/// Rows in a batch that is read or written.
pub const BATCH_ROWS: usize = 8192;
/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 65_536;

/// A Parquet file whose footer has been read.
pub struct ParquetObject {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    schema: SchemaRef,
    identity: Identity,
}

/// What tells a file from another one that has taken its name: device, inode, size, modification.
type Identity = (u64, u64, u64, i64, i64);

fn identity(file: &File) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let of = file.metadata()?;
    Ok((of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
}

impl ParquetObject {
    /// Opens a file and reads its footer, not its rows.
    ///
    /// # Errors
    /// A failure if the file cannot be opened; a refusal if it is no whole Parquet file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).io_context(|| format!("cannot open '{}'", path.display()))?;
        let identity = identity(&file).io_context(|| format!("cannot open '{}'", path.display()))?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| unreadable(path, &error))?;
        let schema = canonical_schema(metadata.schema(), &format!("'{}'", path.display()))?;
        Ok(ParquetObject { path: path.to_owned(), metadata, schema, identity })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its columns, in canonical types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// What it says of itself, if asof wrote it.
    ///
    /// # Errors
    /// A refusal if the footer is damaged or of a later version.
    pub fn footer(&self) -> Result<Option<Footer>> {
        let entries = self.metadata.metadata().file_metadata().key_value_metadata();
        let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.key == KEY)).and_then(|entry| entry.value.as_deref());
        entry.map(Footer::from_json).transpose().map_err(|error| error.within(format!("'{}'", self.path.display())))
    }

    /// Reads the named columns of every row, in the file's order of rows and columns; all columns if `None`.
    ///
    /// # Errors
    /// A failure if the file cannot be opened again.
    pub fn read(&self, columns: Option<&[String]>) -> Result<Batches> {
        let file = File::open(&self.path).io_context(|| format!("cannot open '{}'", self.path.display()))?;
        if identity(&file).io_context(|| format!("cannot open '{}'", self.path.display()))? != self.identity {
            return Err(
                Error::io(format!("'{}' was replaced while it was being read", self.path.display())).hint("run the same command again")
            );
        }
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone()).with_batch_size(BATCH_ROWS);
        let mut schema = self.schema.clone();
        if let Some(columns) = columns {
            let roots: Vec<usize> = (0..schema.fields().len()).filter(|index| columns.contains(schema.field(*index).name())).collect();
            builder = builder.with_projection(ProjectionMask::roots(self.metadata.parquet_schema(), roots.iter().copied()));
            schema = Arc::new(schema.project(&roots).io_context(|| format!("cannot read '{}'", self.path.display()))?);
        }
        let reader = builder.build().map_err(|error| unreadable(&self.path, &error))?;
        let path = self.path.clone();
        Ok(Box::new(reader.map(move |batch| {
            let batch = batch.map_err(|error| unreadable(&path, &error))?;
            to_canonical(&batch, &schema).map_err(|error| error.within(format!("'{}'", path.display())))
        })))
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::refused(format!("'{}' is no whole Parquet file: {error}", path.display()))
}

/// A batch with its types made canonical: `schema` is its own schema after
/// [`canonical_schema`], column for column.
///
/// # Errors
/// A refusal that names the column that cannot be converted.
pub fn to_canonical(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast_exactly(column, field.data_type(), field.name()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .map_err(|error| Error::io(format!("cannot convert rows: {error}")))
}

/// Writes rows of one schema to a Parquet file; see the module for what its bytes depend on.
pub struct ObjectWriter {
    writer: ArrowWriter<File>,
    pieces: BatchCoalescer,
    path: PathBuf,
    rows: u64,
}

impl ObjectWriter {
    /// Begins a file of rows sorted by `sorted_by`; `path` is what errors name.
    ///
    /// # Errors
    /// A refusal if Parquet has no such types.
    pub fn create(file: File, schema: &SchemaRef, sorted_by: &[String], path: &Path) -> Result<Self> {
        let sorting = sorted_by.iter().filter_map(|name| i32::try_from(schema.index_of(name).ok()?).ok());
        let sorting: Vec<SortingColumn> =
            sorting.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true }).collect();
        let properties = WriterProperties::builder()
            .set_created_by(concat!("asof ", env!("CARGO_PKG_VERSION")).into())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_data_page_row_count_limit(BATCH_ROWS)
            .set_sorting_columns((sorting.len() == sorted_by.len() && !sorting.is_empty() && flat(schema)).then_some(sorting))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|error| Error::refused(format!("'{}' cannot hold these columns: {error}", path.display())))?;
        Ok(ObjectWriter { writer, pieces: BatchCoalescer::new(schema.clone(), BATCH_ROWS), path: path.to_owned(), rows: 0 })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.pieces.push_batch(batch).io_context(|| format!("cannot write '{}'", self.path.display()))?;
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        while let Some(piece) = self.pieces.next_completed_batch() {
            self.writer.write(&piece).map_err(|error| self.failure(&error))?;
        }
        Ok(())
    }

    fn failure(&self, error: &parquet::errors::ParquetError) -> Error {
        let plain = Error::io(format!("cannot write '{}': {error}", self.path.display()));
        if let parquet::errors::ParquetError::External(inner) = error
            && let Some(error) = inner.downcast_ref::<std::io::Error>()
        {
            return super::commit::write_error(error, &self.path);
        }
        plain
    }

    /// How many rows were appended.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file with its footer, and returns its size in bytes.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn finish(mut self, footer: &Footer) -> Result<u64> {
        self.pieces.finish_buffered_batch().io_context(|| format!("cannot write '{}'", self.path.display()))?;
        self.drain()?;
        self.writer.append_key_value_metadata(KeyValue::new(KEY.to_owned(), footer.to_json()?));
        self.writer.finish().map_err(|error| self.failure(&error))?;
        Ok(self.writer.bytes_written() as u64)
    }
}

/// Whether every column is one leaf, so that the index of a column is the index of its leaf.
fn flat(schema: &Schema) -> bool {
    schema.fields().iter().all(|field| !field.data_type().is_nested())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::domain::digest::Fingerprint;
    use crate::storage::footer::{Content, SnapshotFooter};

    fn footer() -> Footer {
        Footer::new(Content::Snapshot(SnapshotFooter {
            table: "item".into(),
            snapshot_date: crate::model::parse_date("2024-01-01").expect("a date"),
            key: vec!["id".into()],
            rows: 20_000,
            fingerprint: Fingerprint(1),
            source: None,
            taken_at: None,
            backdated: false,
            forced: vec![],
            asof_version: "0".into(),
        }))
    }

    fn batch(range: std::ops::Range<i64>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)]);
        let names = StringArray::from_iter_values(range.clone().map(|id| format!("name {}", id % 97)));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from_iter_values(range)), Arc::new(names)]).expect("a batch")
    }

    fn written(folder: &Path, name: &str, sizes: &[i64]) -> Vec<u8> {
        let path = folder.join(name);
        let schema = batch(0..1).schema();
        let mut writer = ObjectWriter::create(File::create(&path).expect("a file"), &schema, &["id".into()], &path).expect("a writer");
        let mut start = 0;
        for size in sizes.iter().cycle() {
            let end = (start + size).min(20_000);
            writer.write(batch(start..end)).expect("written");
            start = end;
            if start == 20_000 {
                break;
            }
        }
        writer.finish(&footer()).expect("finished");
        std::fs::read(&path).expect("the bytes")
    }

    #[test]
    fn the_same_rows_give_the_same_bytes_however_they_come() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = written(folder.path(), "a", &[20_000]);
        assert_eq!(whole, written(folder.path(), "b", &[1, 8191, 77, 9000]));
        assert_eq!(whole, written(folder.path(), "c", &[300]));
    }

    #[test]
    fn an_object_reads_back_with_its_footer_and_only_the_columns_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        written(folder.path(), "a", &[20_000]);
        let object = ParquetObject::open(&folder.path().join("a")).expect("it opens");
        assert_eq!((object.rows(), object.footer().expect("it reads")), (20_000, Some(footer())));
        let read: Vec<RecordBatch> = object.read(Some(&["name".into()])).expect("a stream").collect::<Result<_>>().expect("rows");
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
        assert_eq!(read[0].num_columns(), 1);
    }

    #[test]
    fn a_truncated_file_is_refused_and_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = written(folder.path(), "a", &[20_000]);
        let path = folder.path().join("cut");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        let error = ParquetObject::open(&path).err().expect("truncated");
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert!(error.to_string().contains("cut' is no whole Parquet file"), "{error}");
    }
}
