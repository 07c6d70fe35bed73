//! Writing a Parquet object: the same bytes for the same rows.
//!
//! Bytes depend on the rows, their order and the schema alone: batches are cut anew into pieces of
//! one size before they reach the encoder, whatever size they came in. Only where a text column's
//! dictionary fills up do they also depend on whether its texts came as dictionaries.
//!
//! How columns are encoded is decided in `row_groups`.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

pub use super::row_groups::DICTIONARY_BYTES;
use super::row_groups::{encoding, group_rows};
use crate::domain::canonical_types::written;
use crate::domain::cast::cast_exactly;
use crate::error::{Context, Error, Result};
use crate::interrupt::check_cancelled;
use crate::storage::lake::commit::write_error;
use crate::storage::lake::location::Location;
use crate::storage::parquet::BATCH_ROWS;
use crate::storage::parquet::encoder::Encoder;
use crate::storage::parquet::footer::{ColumnWire, Footer, KEY};
use crate::storage::parquet::stored_types::arrow_name;

/// Writes rows of one schema to a Parquet file; see the module for what its bytes depend on.
pub struct ObjectWriter {
    state: FileState,
    /// The columns that the file has in another type, by index.
    untyped: Vec<(usize, FieldRef)>,
    /// The columns of text without statistics, by index, and the bytes of their texts so far.
    unmeasured: Vec<(usize, u64)>,
    /// The columns of the file.
    in_file: SchemaRef,
    /// A piece that was begun, in the types that rows come in.
    pieces: Option<BatchCoalescer>,
    /// How many rows a piece has, and a row group, which is some pieces.
    piece_rows: usize,
    group_rows: usize,
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
        let group_rows = group_rows(schema.fields().len());
        Ok(ObjectWriter {
            piece_rows: BATCH_ROWS.min(group_rows),
            group_rows,
            state: FileState::Unbegun(file, in_file.clone(), sorted_by.to_vec()),
            untyped,
            unmeasured: Vec::new(),
            in_file,
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
            let encoding = encoding(&schema, &key, first)?;
            let encoder = Encoder::new(file, &schema, encoding.properties, self.group_rows)
                .map_err(|error| unfit(&self.target, &error))?;
            self.unmeasured = encoding
                .without_statistics
                .iter()
                .map(|at| (*at, 0))
                .collect();
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
        check_cancelled()?;
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
            (self.piece_rows - begun).min(batch.num_rows())
        };
        self.gather(batch.slice(0, at))?;
        while batch.num_rows() - at >= self.piece_rows {
            self.encode(batch.slice(at, self.piece_rows))?;
            at += self.piece_rows;
        }
        self.gather(batch.slice(at, batch.num_rows() - at))
    }

    /// Appends to the piece that was begun, which has room for them.
    fn gather(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let piece_rows = self.piece_rows;
        let pieces = self
            .pieces
            .get_or_insert_with(|| BatchCoalescer::new(rows.schema(), piece_rows));
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
        self.encoder(&piece)?;
        for (at, bytes) in &mut self.unmeasured {
            *bytes += text_bytes(piece.column(*at));
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
    pub fn finish(mut self, footer: &Footer) -> Result<u64> {
        self.encode_rest()?;
        let column = |(_, field): &(usize, FieldRef)| ColumnWire {
            name: field.name().clone(),
            data_type: arrow_name(field.data_type()),
        };
        let text_bytes =
            |(at, bytes): &(usize, u64)| (self.in_file.field(*at).name().clone(), *bytes);
        let footer = Footer {
            untyped: self.untyped.iter().map(column).collect(),
            text_bytes: self.unmeasured.iter().map(text_bytes).collect(),
            ..footer.clone()
        };
        let footer = KeyValue::new(KEY.to_owned(), footer.to_json()?);
        self.end(footer)
    }

    /// Ends a file that is for other programs, and for a while, and says nothing of what it is.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn finish_plain(mut self) -> Result<u64> {
        self.encode_rest()?;
        self.end(KeyValue::new("asof.relation".to_owned(), None))
    }

    /// Encodes what no piece was full of.
    fn encode_rest(&mut self) -> Result<()> {
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
        Ok(())
    }

    fn end(self, footer: KeyValue) -> Result<u64> {
        let FileState::Begun(encoder) = self.state else {
            return Err(Error::internal("a file has no encoder"));
        };
        encoder
            .finish(footer)
            .map_err(|error| failure(error, &self.target))
    }
}

/// How many bytes the texts of a column have, which may be in a dictionary.
fn text_bytes(column: &ArrayRef) -> u64 {
    let length =
        |texts: &StringArray, at: usize| u64::try_from(texts.value_length(at)).unwrap_or(0);
    if let Some(texts) = column.as_string_opt::<i32>() {
        let offsets = texts.value_offsets();
        let bytes = offsets[texts.len()] - offsets[0];
        return u64::try_from(bytes).unwrap_or(0);
    }
    let Some(dictionary) = column.as_any_dictionary_opt() else {
        return 0;
    };
    let Some(texts) = dictionary.values().as_string_opt::<i32>() else {
        return 0;
    };
    if texts.is_empty() {
        return 0;
    }
    let places = dictionary.normalized_keys();
    let places = places.iter().enumerate();
    let places = places.filter(|(row, _)| dictionary.keys().is_valid(*row));
    places.map(|(_, place)| length(texts, *place)).sum()
}

fn unfit(target: &Location, error: &ParquetError) -> Error {
    Error::refused(format!("'{target}' cannot hold these columns: {error}"))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow::array::Int64Array;
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field};
    use parquet::basic::Compression;
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
    fn integers_whose_differences_vary_are_not_compressed_and_texts_in_no_order_have_no_statistics()
    {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        // A step of SplitMix64.
        let random = |row: u64| {
            let mut bits = row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ (bits >> 31)
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
                "regular_number",
                integers(&|row| 100 * row + random(row) % 100),
            ),
            (
                "ordered_number",
                integers(&|row| (row << 40) + (random(row) >> 24)),
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
                        column.statistics().is_some() && column.column_index_offset().is_some(),
                    )
                });
            facts.collect()
        };
        let expected = |key: Option<&str>| {
            let columns = [
                ("text", true, key == Some("text")),
                ("ordered_text", true, true),
                ("few_texts", true, false),
                ("one_text", true, true),
                ("rare_text", true, true),
                ("number", false, true),
                ("regular_number", true, true),
                ("ordered_number", false, true),
                ("few_numbers", true, true),
            ];
            columns.map(|(name, compressed, statistics)| (name.to_owned(), compressed, statistics))
        };
        for key in [None, Some("text"), Some("ordered_number")] {
            let columns: Vec<String> = key.iter().map(|&name: &&str| name.to_owned()).collect();
            assert_eq!(facts(&columns), expected(key));
        }
    }

    #[test]
    fn texts_give_the_same_bytes_in_a_dictionary_and_without_one_and_varied_ones_get_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let few = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
        // Of as many texts as a join has in a dictionary at most, and of too many.
        for (distinct, is_varied) in [(97, false), (3_000, false), (9_000, true), (1 << 40, true)] {
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

    #[test]
    fn an_object_says_how_large_its_texts_are_in_memory() {
        use crate::storage::parquet::object::ParquetObject;
        let folder = tempfile::tempdir().expect("a folder");
        for (length, distinct) in [(500, 100), (2, 7), (40, 1 << 40)] {
            let path = Location::local(folder.path().join(format!("{length}")));
            // Each is followed by a lesser one as often as by a greater one.
            let texts = (0..20_000_u64).map(|row| {
                let bits = (row ^ (row >> 3)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                format!("{:0length$}", (bits ^ (bits >> 29)) % distinct)
            });
            let texts = StringArray::from_iter_values(texts);
            let bytes = texts.value_data().len() + 4 * texts.len();
            let texts: ArrayRef = Arc::new(texts);
            let few = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            let texts = match distinct {
                7 => cast(&texts, &few).expect("a dictionary"),
                _ => texts,
            };
            let rows = RecordBatch::try_from_iter([("text", texts)]).expect("rows");
            let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
            let file = File::create(path.as_local().expect("a path")).expect("a file");
            let mut writer = ObjectWriter::create(file, &schema, &[], &path).expect("a writer");
            writer.write(rows).expect("written");
            writer.finish(&Footer::sample()).expect("finished");
            let object = ParquetObject::open(&path).expect("it opens");
            let footer = object.footer().expect("it reads").expect("a footer");
            assert!(footer.text_bytes.contains_key("text"), "{length}");
            let said = object.bytes_in_memory(None) as f64;
            assert!(
                (0.9..1.2).contains(&(said / bytes as f64)),
                "{said} {bytes}"
            );
        }
    }

    #[test]
    fn the_bytes_of_texts_are_counted_in_a_dictionary_and_without_one() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("one"),
            None,
            Some(""),
            Some("three"),
            Some("one"),
        ]));
        let few = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let dictionary = cast(&texts, &few).expect("a dictionary");
        assert_eq!([text_bytes(&texts), text_bytes(&dictionary)], [11, 11]);
        assert_eq!(text_bytes(&dictionary.slice(1, 3)), 5);
        assert_eq!(text_bytes(&texts.slice(1, 3)), 5);
        assert_eq!(text_bytes(&dictionary.slice(1, 0)), 0);
        let none = arrow::array::new_null_array(&few, 2);
        assert_eq!(text_bytes(&none), 0);
    }
}
