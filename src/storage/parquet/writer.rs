//! Writing a Parquet object: the same bytes for the same rows.
//!
//! Bytes depend on the rows, their order and the schema alone: batches are cut anew into pieces of
//! one size before they reach the encoder, whatever size they came in. Only where a text column's
//! dictionary fills up do they also depend on whether its texts came as dictionaries.
//!
//! Rows are sorted by key, row groups hold 65,536 rows, pages hold 8,192, so that a point look-up
//! reads one row group's key and one page of each other column.
//!
//! What the encoder does with a column is decided by a sample of the first piece:
//!
//! - A column whose values are nearly all different is *varied* and gets no dictionary. Other
//!   dictionaries end at 64 KiB: one would have to be read whole for a single row.
//! - Integers, dates and timestamps that are too many for a dictionary are written as packed
//!   differences, which are smaller than plain ones and take far less time to compress. If they are
//!   varied and in no order their packed differences look random: compressing those takes time and
//!   saves nothing, so they are left as they are.
//! - A column without any value is one of text, and the footer says so.
//! - Row groups and pages carry statistics. Objects without a key, which are outputs, have none of
//!   a text in no order: the least and the greatest of thousands of texts exclude next to nothing,
//!   and comparing them took a tenth of the time of a backfill.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::kernels::cmp::lt_eq;
use arrow::compute::{BatchCoalescer, cast, take};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use hashbrown::HashSet;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::domain::canonical_types::written;
use crate::domain::cast::cast_exactly;
use crate::domain::digest::cell_digests;
use crate::error::{Context, Error, Result};
use crate::storage::lake::commit::write_error;
use crate::storage::lake::location::Location;
use crate::storage::parquet::BATCH_ROWS;
use crate::storage::parquet::encoder::Encoder;
use crate::storage::parquet::footer::{ColumnWire, Footer, KEY};
use crate::storage::parquet::stored_types::arrow_name;

/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 65_536;
/// A dictionary of a column in a row group ends when it has so many bytes.
pub const DICTIONARY_BYTES: usize = 64 << 10;
/// How hard zstd tries. With integers packed before, a higher level takes longer and gives no
/// smaller objects.
const ZSTD_LEVEL: i32 = 1;
/// How many values of a column say how it is written.
const SAMPLE: usize = 1024;

/// Writes rows of one schema to a Parquet file; see the module for what its bytes depend on.
pub struct ObjectWriter {
    state: FileState,
    /// The columns that the file has in another type, by index.
    untyped: Vec<(usize, FieldRef)>,
    /// A piece that was begun, in the types that rows come in.
    pieces: Option<BatchCoalescer>,
    target: Location,
    rows: u64,
}

/// A file, before and after its first piece.
enum FileState {
    Unbegun(File, SchemaRef, Vec<String>),
    Begun(Box<Encoder>),
    /// The file could not be begun.
    Failed,
}

impl ObjectWriter {
    /// Begins a file of rows sorted by `sorted_by`; `target` is where it will stand, which errors
    /// name.
    ///
    /// # Errors
    /// A refusal if Parquet has no such types.
    pub fn create(
        file: File,
        schema: &SchemaRef,
        sorted_by: &[String],
        target: &Location,
    ) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| {
            Arc::new(
                field
                    .as_ref()
                    .clone()
                    .with_data_type(written(field.data_type())),
            )
        });
        let in_file: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let untyped = schema
            .fields()
            .iter()
            .enumerate()
            .filter(|(at, field)| field.data_type() != in_file.field(*at).data_type());
        let untyped = untyped.map(|(at, field)| (at, field.clone())).collect();
        ArrowSchemaConverter::new()
            .convert(&in_file)
            .map_err(|error| unfit(target, &error))?;
        Ok(ObjectWriter {
            state: FileState::Unbegun(file, in_file, sorted_by.to_vec()),
            untyped,
            pieces: None,
            target: target.clone(),
            rows: 0,
        })
    }

    /// The encoder, which the first piece decides how to set.
    fn encoder(&mut self, first: &RecordBatch) -> Result<&mut Encoder> {
        if let FileState::Unbegun(..) = self.state
            && let FileState::Unbegun(file, schema, key) =
                std::mem::replace(&mut self.state, FileState::Failed)
        {
            let mut properties = WriterProperties::builder()
                .set_created_by(concat!("asof ", env!("CARGO_PKG_VERSION")).into())
                .set_compression(Compression::ZSTD(
                    ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default(),
                ))
                .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                .set_data_page_row_count_limit(BATCH_ROWS)
                .set_write_batch_size(BATCH_ROWS)
                .set_dictionary_page_size_limit(DICTIONARY_BYTES)
                .set_sorting_columns(sorting(&schema, &key));
            for (field, column) in schema.fields().iter().zip(first.columns()) {
                let path = || ColumnPath::from(vec![field.name().clone()]);
                let is_integral = is_integral(field.data_type());
                let look = ColumnSample::at(column)?;
                if is_integral {
                    properties =
                        properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
                }
                if look.is_varied {
                    properties = properties.set_column_dictionary_enabled(path(), false);
                }
                if look.is_varied && !look.ascends && is_integral {
                    properties =
                        properties.set_column_compression(path(), Compression::UNCOMPRESSED);
                }
                if key.is_empty() && !look.ascends && field.data_type() == &DataType::Utf8 {
                    properties =
                        properties.set_column_statistics_enabled(path(), EnabledStatistics::None);
                }
            }
            let encoder = Encoder::new(file, &schema, properties.build(), ROW_GROUP_ROWS)
                .map_err(|error| unfit(&self.target, &error))?;
            self.state = FileState::Begun(Box::new(encoder));
        }
        match &mut self.state {
            FileState::Begun(encoder) => Ok(encoder),
            _ => Err(Error::internal("a file has no encoder")),
        }
    }

    /// Appends rows. Columns may be dictionaries of what the schema says, the same in every batch.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        // What fills a piece that was begun is copied, and what begins the next one; pieces between
        // are not.
        let begun = self
            .pieces
            .as_ref()
            .map_or(0, BatchCoalescer::get_buffered_rows);
        let mut at = if begun == 0 {
            0
        } else {
            (BATCH_ROWS - begun).min(batch.num_rows())
        };
        self.gather(batch.slice(0, at))?;
        while batch.num_rows() - at >= BATCH_ROWS {
            self.encode(batch.slice(at, BATCH_ROWS))?;
            at += BATCH_ROWS;
        }
        self.gather(batch.slice(at, batch.num_rows() - at))
    }

    /// Appends to the piece that was begun, which has room for them.
    fn gather(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let pieces = self
            .pieces
            .get_or_insert_with(|| BatchCoalescer::new(rows.schema(), BATCH_ROWS));
        pieces
            .push_batch(rows)
            .io_context(|| format!("cannot write '{}'", self.target))?;
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        while let Some(piece) = self
            .pieces
            .as_mut()
            .and_then(BatchCoalescer::next_completed_batch)
        {
            self.encode(piece)?;
        }
        Ok(())
    }

    fn encode(&mut self, mut piece: RecordBatch) -> Result<()> {
        if !self.untyped.is_empty() {
            let mut fields = piece.schema_ref().fields().to_vec();
            let mut columns = piece.columns().to_vec();
            for (at, field) in &self.untyped {
                let in_file = written(field.data_type());
                columns[*at] = cast_exactly(&columns[*at], &in_file, field.name())?;
                fields[*at] = Arc::new(field.as_ref().clone().with_data_type(in_file));
            }
            let options = RecordBatchOptions::new().with_row_count(Some(piece.num_rows()));
            let converted =
                RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
            piece = converted.internal_context(|| format!("cannot write '{}'", self.target))?;
        }
        let written = self.encoder(&piece)?.write(piece);
        written.map_err(|error| failure(error, &self.target))
    }

    /// How many rows were appended.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file with its footer, and returns its size in bytes.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn finish(self, footer: &Footer) -> Result<u64> {
        let column = |(_, field): &(usize, FieldRef)| ColumnWire {
            name: field.name().clone(),
            data_type: arrow_name(field.data_type()),
        };
        let footer = Footer {
            untyped: self.untyped.iter().map(column).collect(),
            ..footer.clone()
        };
        let footer = KeyValue::new(KEY.to_owned(), footer.to_json()?);
        self.end(footer)
    }

    /// Ends a file that is for other programs, and for a while, and says nothing of what it is.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn finish_plain(self) -> Result<u64> {
        self.end(KeyValue::new("asof.relation".to_owned(), None))
    }

    fn end(mut self, footer: KeyValue) -> Result<u64> {
        if let Some(pieces) = &mut self.pieces {
            pieces
                .finish_buffered_batch()
                .io_context(|| format!("cannot write '{}'", self.target))?;
        }
        self.drain()?;
        if let FileState::Unbegun(_, schema, _) = &self.state {
            let none = RecordBatch::new_empty(schema.clone());
            self.encoder(&none)?;
        }
        let FileState::Begun(encoder) = self.state else {
            return Err(Error::internal("a file has no encoder"));
        };
        encoder
            .finish(footer)
            .map_err(|error| failure(error, &self.target))
    }
}

fn unfit(target: &Location, error: &ParquetError) -> Error {
    Error::refused(format!("'{target}' cannot hold these columns: {error}"))
}

/// What a sample says of a column.
struct ColumnSample {
    /// Nearly all values are different, so that a dictionary would be full soon and of no use.
    is_varied: bool,
    /// Most values are followed by one that is no less, or one of both is null.
    ascends: bool,
}

impl ColumnSample {
    /// A sample is spread over the column.
    fn at(column: &ArrayRef) -> Result<Self> {
        if column.data_type().is_nested() || column.len() < SAMPLE {
            return Ok(ColumnSample {
                is_varied: false,
                ascends: true,
            });
        }
        let step = column.len() / SAMPLE;
        let places = UInt32Array::from_iter_values(
            (0..SAMPLE).filter_map(|at| u32::try_from(at * step).ok()),
        );
        let doing = || "cannot look at rows".to_owned();
        let mut sample = take(column, &places, None).internal_context(doing)?;
        // The same values are to give the same bytes, however they come.
        if let DataType::Dictionary(_, values) = column.data_type() {
            sample = cast(&sample, values).internal_context(doing)?;
        }
        let distinct: HashSet<u128> = cell_digests(&sample)?.into_iter().collect();
        let is_varied = distinct.len() > SAMPLE - SAMPLE / 20;
        let in_order = || {
            lt_eq(&sample.slice(0, SAMPLE - 1), &sample.slice(1, SAMPLE - 1))
                .map_or(0, |pairs| pairs.len() - pairs.false_count())
        };
        Ok(ColumnSample {
            is_varied,
            ascends: in_order() > SAMPLE / 4 * 3,
        })
    }
}

fn failure(error: ParquetError, target: &Location) -> Error {
    let inner = match error {
        ParquetError::External(inner) => inner,
        error => return Error::io(format!("cannot write '{target}': {error}")).caused_by(error),
    };
    match inner.downcast::<std::io::Error>() {
        Ok(error) => write_error(*error, target),
        Err(other) => Error::io(format!(
            "cannot write '{target}': {}",
            ParquetError::External(other)
        )),
    }
}

/// Whether values of a type are integers in Parquet, of 32 or 64 bits.
fn is_integral(data_type: &DataType) -> bool {
    let time = matches!(
        data_type,
        DataType::Date32 | DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_)
    );
    time || data_type.is_integer()
}

/// What a footer says of the order of rows; nothing if a column has more than one leaf, since the
/// index of a column is not that of its leaf then.
fn sorting(schema: &Schema, key: &[String]) -> Option<Vec<SortingColumn>> {
    let columns = key
        .iter()
        .filter_map(|name| i32::try_from(schema.index_of(name).ok()?).ok());
    let columns: Vec<SortingColumn> = columns
        .map(|column_idx| SortingColumn {
            column_idx,
            descending: false,
            nulls_first: true,
        })
        .collect();
    let is_flat = schema
        .fields()
        .iter()
        .all(|field| !field.data_type().is_nested());
    (columns.len() == key.len() && !columns.is_empty() && is_flat).then_some(columns)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;

    use std::path::Path;

    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    fn batch(range: std::ops::Range<i64>) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]);
        let names =
            StringArray::from_iter_values(range.clone().map(|id| format!("name {}", id % 97)));
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from_iter_values(range)),
                Arc::new(names),
            ],
        )
        .expect("a batch")
    }

    fn written(folder: &Path, name: &str, sizes: &[i64]) -> Vec<u8> {
        let path = folder.join(name);
        let schema = batch(0..1).schema();
        let mut writer = ObjectWriter::create(
            File::create(&path).expect("a file"),
            &schema,
            &["id".into()],
            &Location::local(&path),
        )
        .expect("a writer");
        let mut start = 0;
        for size in sizes.iter().cycle() {
            let end = (start + size).min(20_000);
            writer.write(batch(start..end)).expect("written");
            start = end;
            if start == 20_000 {
                break;
            }
        }
        writer.finish(&Footer::sample()).expect("finished");
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
    fn columns_without_values_are_written_as_text_and_read_as_they_were() {
        use arrow::array::{ArrayRef, ListArray, NullArray, StructArray};
        use arrow::buffer::OffsetBuffer;

        use crate::storage::parquet::object::ParquetObject;
        let item = Arc::new(Field::new("item", DataType::Null, true));
        let lists = ListArray::new(
            item,
            OffsetBuffer::from_lengths([2, 0, 1]),
            Arc::new(NullArray::new(3)),
            None,
        );
        let inner = vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Null, true),
        ];
        let structs = StructArray::new(
            inner.into(),
            vec![
                Arc::new(Int64Array::from(vec![1, 2, 3])),
                Arc::new(NullArray::new(3)),
            ],
            None,
        );
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            ("never", Arc::new(NullArray::new(3))),
            ("lists", Arc::new(lists)),
            ("structs", Arc::new(structs)),
        ];
        let schema = Arc::new(Schema::new(
            columns
                .iter()
                .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
                .collect::<Vec<_>>(),
        ));
        let rows = RecordBatch::try_new(
            schema.clone(),
            columns.iter().map(|(_, column)| column.clone()).collect(),
        )
        .expect("rows");
        let folder = tempfile::tempdir().expect("a folder");
        let path = Location::local(folder.path().join("x"));
        let file = File::create(path.as_local().expect("a path")).expect("a file");
        let mut writer =
            ObjectWriter::create(file, &schema, &["id".into()], &path).expect("a writer");
        writer.write(rows.clone()).expect("written");
        writer.finish(&Footer::sample()).expect("finished");
        let object = ParquetObject::open(&path).expect("it opens");
        assert_eq!(object.schema(), &schema);
        assert_eq!(
            object
                .footer()
                .expect("it reads")
                .expect("a footer")
                .content,
            Footer::sample().content
        );
        let read: Vec<RecordBatch> = object
            .read(None)
            .expect("a stream")
            .collect::<Result<_>>()
            .expect("rows");
        assert_eq!(read, std::slice::from_ref(&rows));
        let some: Vec<RecordBatch> = object
            .read(Some(&["never".into()]))
            .expect("a stream")
            .collect::<Result<_>>()
            .expect("rows");
        assert_eq!(some, [rows.project(&[1]).expect("a column")]);
        let reader = SerializedFileReader::new(
            File::open(path.as_local().expect("a path")).expect("a file"),
        )
        .expect("Parquet");
        let types: Vec<String> = reader
            .metadata()
            .file_metadata()
            .schema_descr()
            .columns()
            .iter()
            .map(|c| c.physical_type().to_string())
            .collect();
        assert_eq!(
            types,
            ["INT64", "BYTE_ARRAY", "BYTE_ARRAY", "INT64", "BYTE_ARRAY"]
        );
    }

    #[test]
    fn varied_integers_in_no_order_are_not_compressed_and_texts_of_outputs_in_no_order_have_no_statistics()
     {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let random = |row: u64| {
            row.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_right(29)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        let integers = |of: &dyn Fn(u64) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                (0..20_000).map(|row| i64::try_from(of(row) >> 1).expect("63 bits")),
            ))
        };
        let texts = |of: &dyn Fn(u64) -> u64| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(
                (0..20_000).map(|row| format!("{:020}", of(row))),
            ))
        };
        let columns = [
            ("text", texts(&random)),
            ("ordered_text", texts(&|row| row + random(row) % 2)),
            ("few_texts", texts(&|row| random(row) % 7)),
            ("one_text", texts(&|_| 7)),
            (
                "rare_text",
                Arc::new(
                    (0..20_000_u64)
                        .map(|row| (random(row) % 9 == 0).then_some("rare"))
                        .collect::<StringArray>(),
                ) as ArrayRef,
            ),
            ("number", integers(&random)),
            (
                "ordered_number",
                integers(&|row| 100 * row + random(row) % 100),
            ),
            ("few_numbers", integers(&|row| random(row) % 7)),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, column)| (name, column, true)),
        )
        .expect("a batch");
        let facts = |key: &[String]| -> Vec<(String, bool, bool)> {
            let file = File::create(&path).expect("a file");
            let mut writer =
                ObjectWriter::create(file, &batch.schema(), key, &Location::local(&path))
                    .expect("a writer");
            writer.write(batch.clone()).expect("written");
            writer.finish(&Footer::sample()).expect("finished");
            let reader =
                SerializedFileReader::new(File::open(&path).expect("a file")).expect("it opens");
            let facts = reader
                .metadata()
                .row_group(0)
                .columns()
                .iter()
                .map(|column| {
                    let is_compressed = column.compression() != Compression::UNCOMPRESSED;
                    (
                        column.column_path().string(),
                        is_compressed,
                        column.statistics().is_some(),
                    )
                });
            facts.collect()
        };
        let expected = |is_output: bool| {
            let columns = [
                ("text", true, !is_output),
                ("ordered_text", true, true),
                ("few_texts", true, !is_output),
                ("one_text", true, true),
                ("rare_text", true, true),
                ("number", false, true),
                ("ordered_number", true, true),
                ("few_numbers", true, true),
            ];
            columns.map(|(name, compressed, statistics)| (name.to_owned(), compressed, statistics))
        };
        assert_eq!(facts(&["ordered_number".to_owned()]), expected(false));
        assert_eq!(facts(&[]), expected(true));
    }

    #[test]
    fn texts_give_the_same_bytes_in_a_dictionary_and_without_one_and_varied_ones_get_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let few = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
        // Of as many texts as a join has in a dictionary at most, and of too many.
        for (distinct, is_varied) in [(97, false), (3_000, false), (1 << 40, true)] {
            let names: ArrayRef =
                Arc::new(StringArray::from_iter_values((0..20_000_u64).map(|row| {
                    let random = row
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_right(29)
                        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    format!("name {}", (random >> 20) % distinct)
                })));
            let written = |name: &str, names: ArrayRef| {
                let path = folder.path().join(name);
                let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
                let file = File::create(&path).expect("a file");
                let mut writer = ObjectWriter::create(file, &schema, &[], &Location::local(&path))
                    .expect("a writer");
                for (from, length) in [(0, 5_000), (5_000, 15_000)] {
                    let batch = RecordBatch::try_from_iter([("name", names.slice(from, length))])
                        .expect("a batch");
                    writer.write(batch).expect("written");
                }
                writer.finish(&Footer::sample()).expect("finished");
                std::fs::read(path).expect("the bytes")
            };
            let plain = written("plain", names.clone());
            assert!(plain == written("dictionary", cast(&names, &few).expect("few")));
            let reader =
                SerializedFileReader::new(File::open(folder.path().join("plain")).expect("a file"))
                    .expect("it opens");
            let column = reader.metadata().row_group(0).column(0);
            assert_eq!(column.dictionary_page_offset().is_none(), is_varied);
        }
    }
}
