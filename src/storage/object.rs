//! One Parquet object: reading it, and writing the same bytes for the same rows.
//!
//! **Reading.** Types are made canonical at this edge, so that the rest of the program knows one
//! text type and one list type. Only the columns that are asked for are read. With a [`RowCondition`], row groups whose statistics exclude it are
//! passed over, of the others its own columns are decoded, and of the rest only the pages in which a row was found.
//!
//! In a store what is read is what is transferred: a row group's columns at a time, neighbours in one request.
//!
//! **Writing.** Bytes depend on the rows, their order and the schema alone: batches are cut
//! anew into pieces of one size before they reach the encoder, whatever size they came in. Rows are sorted by
//! key, row groups hold 65,536 rows and carry statistics, pages hold 8,192, so that a point look-up reads one row group's key
//! and one page of each other column. A dictionary ends at 64 KiB: it would have to be read whole for a single row. A column whose values, in a sample of the first piece, are
//! nearly all different gets none. Integers, dates and timestamps that
//! are too many for a dictionary are written as packed differences, which are smaller than plain ones and take far less time to compress.

use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{BatchCoalescer, cast, take};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::DecodeResult;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    RowFilter, RowSelection,
};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData, SortingColumn,
};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::Batches;
use super::encoder::Encoder;
use super::footer::{Footer, KEY};
use super::location::{Location, Object};
use super::read::{FileAt, ObjectReader};
use crate::domain::cast::cast_exactly;
use crate::domain::digest::cell_digests;
use crate::domain::schema::canonical_schema;
use crate::error::{Context, Error, Result};
use crate::phases::Phase;

/// Rows in a batch that is read or written.
pub const BATCH_ROWS: usize = 8192;
/// Rows in a batch of a range that is read at once: a larger one costs fewer allocations.
const RANGE_BATCH_ROWS: usize = 32_768;
/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 65_536;
/// A dictionary of a column in a row group ends when it has so many bytes.
pub const DICTIONARY_BYTES: usize = 64 << 10;
/// How hard zstd tries. With integers packed before, a higher level takes longer and gives no smaller objects.
const ZSTD_LEVEL: i32 = 1;
/// How many values of a column say whether it gets a dictionary.
const SAMPLE: usize = 1024;

/// A Parquet file whose footer has been read.
pub struct ParquetObject {
    reader: ObjectReader,
    metadata: ArrowReaderMetadata,
    /// The metadata with where each page lies, once somebody had to know.
    pages: OnceLock<ArrowReaderMetadata>,
    schema: SchemaRef,
}

/// Which rows are wanted.
pub trait RowCondition: Send + Sync {
    /// The columns that it looks at.
    fn columns(&self) -> &[String];

    /// Of each row group whether it may hold a row that is wanted, by its statistics.
    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool>;

    /// Which rows of a batch, which has the columns of [`RowCondition::columns`] that the object has, are wanted.
    ///
    /// # Errors
    /// A refusal if a value cannot be computed.
    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray>;
}

/// The least and the greatest value of columns in each row group, as far as the object says.
pub struct GroupStatistics<'a> {
    object: &'a ParquetObject,
}

impl GroupStatistics<'_> {
    /// How many row groups there are.
    pub fn len(&self) -> usize {
        self.metadata().num_row_groups()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns of the object, in canonical types.
    pub fn schema(&self) -> &SchemaRef {
        &self.object.schema
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.object.metadata.metadata()
    }

    /// What a converter says of a column, in its canonical type.
    fn values(&self, column: &str, of: impl Fn(&StatisticsConverter<'_>) -> parquet::errors::Result<ArrayRef>) -> Option<ArrayRef> {
        let converter = StatisticsConverter::try_new(column, self.object.metadata.schema(), self.object.metadata.parquet_schema()).ok()?;
        let field = self.object.schema.field_with_name(column).ok()?;
        let values = of(&converter).ok()?;
        if field.data_type() == values.data_type() { Some(values) } else { cast_exactly(&values, field.data_type(), column).ok() }
    }

    /// The least value of a column in each row group.
    pub fn mins(&self, column: &str) -> Option<ArrayRef> {
        self.values(column, |converter| converter.row_group_mins(self.metadata().row_groups()))
    }

    /// The greatest value of a column in each row group.
    pub fn maxes(&self, column: &str) -> Option<ArrayRef> {
        self.values(column, |converter| converter.row_group_maxes(self.metadata().row_groups()))
    }

    /// How many nulls a column has in each row group.
    pub fn null_counts(&self, column: &str) -> Option<ArrayRef> {
        let converter = StatisticsConverter::try_new(column, self.object.metadata.schema(), self.object.metadata.parquet_schema()).ok()?;
        // An object that counts none may still have some.
        let converter = converter.with_missing_null_counts_as_zero(false);
        Some(Arc::new(converter.row_group_null_counts(self.metadata().row_groups()).ok()?))
    }

    /// How many rows each row group has.
    pub fn row_counts(&self) -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(
            self.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)),
        ))
    }
}

impl ParquetObject {
    /// Opens an object and reads its footer, not its rows.
    ///
    /// # Errors
    /// A failure if it cannot be opened; a refusal if it is no whole Parquet file.
    pub fn open(location: &Location) -> Result<Self> {
        ParquetObject::of(ObjectReader::open(location)?)
    }

    /// Opens an object that a listing found.
    ///
    /// # Errors
    /// As [`ParquetObject::open`].
    pub fn open_listed(object: &Object) -> Result<Self> {
        ParquetObject::of(ObjectReader::open_listed(object)?)
    }

    fn of(mut reader: ObjectReader) -> Result<Self> {
        let location = reader.location().clone();
        let location = &location;
        let decoder = ParquetMetaDataPushDecoder::try_new(reader.size()).map_err(|error| unreadable(location, &error))?;
        let metadata = decode(&reader, decoder.with_page_index_policy(PageIndexPolicy::Skip))?;
        let metadata =
            ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(|error| unreadable(location, &error))?;
        let schema = canonical_schema(metadata.schema(), &format!("'{location}'"))?;
        reader.release();
        Ok(ParquetObject { reader, metadata, pages: OnceLock::new(), schema })
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        self.reader.location()
    }

    /// Its columns, in canonical types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.reader.size()
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
        entry.map(Footer::from_json).transpose().map_err(|error| error.within(format!("'{}'", self.location())))
    }

    /// Reads the named columns of every row, in the file's order of rows and columns; all columns if `None`.
    ///
    /// # Errors
    /// A failure if the object cannot be read any more.
    pub fn read(&self, columns: Option<&[String]>) -> Result<Batches> {
        self.read_where(columns, None)
    }

    /// Reads the rows for which a condition holds.
    ///
    /// # Errors
    /// As [`ParquetObject::read`].
    pub fn read_where(&self, columns: Option<&[String]>, condition: Option<Arc<dyn RowCondition>>) -> Result<Batches> {
        let Some(condition) = condition else { return self.decode(self.metadata.clone(), columns, Wanted::default()) };
        let statistics = GroupStatistics { object: self };
        let groups = condition.may_hold(&statistics).into_iter().enumerate().filter(|(_, may)| *may).map(|(group, _)| group).collect();
        let schema = self.projected(Some(condition.columns()))?;
        let looked_at = self.mask(condition.columns());
        let predicate: Box<dyn ArrowPredicate> = Box::new(ArrowPredicateFn::new(looked_at, move |batch| {
            let rows = to_canonical(&batch, &schema).and_then(|batch| condition.holds(&batch));
            rows.map_err(|error| ArrowError::ExternalError(Box::new(error)))
        }));
        let filter = Some(RowFilter::new(vec![predicate]));
        self.decode(self.pages()?, columns, Wanted { groups: Some(groups), filter, ..Wanted::default() })
    }

    /// The rows that a decoder gives, once it is told which; in canonical types.
    fn decode(&self, metadata: ArrowReaderMetadata, columns: Option<&[String]>, wanted: Wanted) -> Result<Batches> {
        let (schema, location) = (self.projected(columns)?, self.location().clone());
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, ParquetError>> + Send> = match self.reader.file()? {
            Some(file) => {
                let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(FileAt::new(file), metadata);
                let rows = wanted.narrow(self.with_columns(builder, columns)).build().map_err(|error| unreadable(&location, &error))?;
                Box::new(rows.map(|batch| batch.map_err(ParquetError::from)))
            }
            None => {
                let builder = ParquetPushDecoderBuilder::new_with_metadata(metadata);
                let decoder = wanted.narrow(self.with_columns(builder, columns)).build().map_err(|error| unreadable(&location, &error))?;
                Box::new(Pulled { reader: self.reader.clone(), decoder })
            }
        };
        Ok(Box::new(Phase::Decode.each(batches.map(move |batch| {
            let batch = batch.map_err(|error| unreadable(&location, &error))?;
            to_canonical(&batch, &schema).map_err(|error| error.within(format!("'{location}'")))
        }))))
    }

    /// Reads the named columns, or all, of a range of rows.
    ///
    /// Of a row group that is wanted in part, pages that are outside of the range are not decoded, and in a store not transferred.
    ///
    /// # Errors
    /// As [`ParquetObject::read`].
    pub fn read_rows(&self, columns: Option<&[String]>, rows: &Range<u64>) -> Result<Batches> {
        let mut groups = Vec::new();
        let mut start = 0;
        let mut first = None;
        let mut end = 0;
        for (number, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            let group_end = start + u64::try_from(group.num_rows()).unwrap_or(0);
            if start < rows.end && rows.start < group_end {
                first.get_or_insert(start);
                end = group_end;
                groups.push(number);
            }
            start = group_end;
        }
        let Some(first) = first else { return Ok(Box::new(std::iter::empty())) };
        let in_part = rows.start > first || rows.end < end;
        let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let selection = in_part.then(|| {
            let wanted = count(rows.start.max(first) - first)..count(rows.end.min(end) - first);
            RowSelection::from_consecutive_ranges(std::iter::once(wanted), count(end - first))
        });
        let metadata = if in_part { self.pages()? } else { self.metadata.clone() };
        self.decode(metadata, columns, Wanted { groups: Some(groups), selection, batch_rows: Some(RANGE_BATCH_ROWS), ..Wanted::default() })
    }

    /// The number of rows before each row group that has any.
    pub fn group_starts(&self) -> Vec<u64> {
        let mut rows = 0;
        let mut starts = Vec::new();
        for group in self.metadata.metadata().row_groups().iter().filter(|group| group.num_rows() > 0) {
            starts.push(rows);
            rows += u64::try_from(group.num_rows()).unwrap_or(0);
        }
        starts
    }

    /// Whether a few rows can be read without decoding, or in a store transferring, the whole row group that they are in.
    pub fn knows_its_pages(&self) -> bool {
        self.metadata
            .metadata()
            .row_groups()
            .iter()
            .flat_map(RowGroupMetaData::columns)
            .all(|column| column.offset_index_offset().is_some())
    }

    /// The least value of a column in each row group, if its type is one whose statistics are never cut short, and all are there.
    pub fn exact_mins(&self, column: &str) -> Option<ArrayRef> {
        let numeric = |data_type: &DataType| data_type.is_integer() || matches!(data_type, DataType::Date32 | DataType::Timestamp(..));
        let field = self.schema.field_with_name(column).ok().filter(|field| numeric(field.data_type()))?;
        let mins = GroupStatistics { object: self }.mins(column)?;
        (mins.data_type() == field.data_type() && mins.null_count() == 0 && mins.len() == self.group_starts().len()).then_some(mins)
    }

    /// About how many bytes the named columns, or all, have in memory, as far as the object says.
    pub fn bytes_in_memory(&self, columns: Option<&[String]>) -> u64 {
        let wanted = |column: &&ColumnChunkMetaData| {
            let root = column.column_path().parts().first();
            columns.is_none_or(|columns| root.is_some_and(|root| columns.contains(root)))
        };
        let column = |column: &ColumnChunkMetaData| {
            // A dictionary may be of long texts: without a size they are taken to have this many bytes each.
            let unknown = if column.column_type() == Type::BYTE_ARRAY { 32 * column.num_values() } else { 0 };
            let text = column.unencoded_byte_array_data_bytes().map_or(unknown, |bytes| bytes + 4 * column.num_values());
            let width = match column.column_type() {
                Type::BOOLEAN | Type::BYTE_ARRAY => 0,
                Type::INT32 | Type::FLOAT => 4,
                Type::INT64 | Type::DOUBLE => 8,
                Type::INT96 | Type::FIXED_LEN_BYTE_ARRAY => 16,
            };
            u64::try_from((width * column.num_values()).max(text).max(column.uncompressed_size())).unwrap_or(0)
        };
        self.metadata.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns).filter(wanted).map(column).sum()
    }

    /// The metadata with where each page lies, read once.
    fn pages(&self) -> Result<ArrowReaderMetadata> {
        if let Some(pages) = self.pages.get() {
            return Ok(pages.clone());
        }
        let pages = self.with_pages()?;
        Ok(self.pages.get_or_init(|| pages).clone())
    }

    /// The metadata with where each page lies.
    fn with_pages(&self) -> Result<ArrowReaderMetadata> {
        let metadata = self.metadata.metadata().as_ref().clone();
        let decoder = ParquetMetaDataPushDecoder::try_new_with_metadata(self.reader.size(), metadata)
            .map_err(|error| unreadable(self.location(), &error))?;
        let decoder = decoder.with_column_index_policy(PageIndexPolicy::Skip).with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = decode(&self.reader, decoder)?;
        ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(|error| unreadable(self.location(), &error))
    }

    /// The positions of columns in the file.
    fn positions(&self, columns: &[String]) -> Vec<usize> {
        (0..self.schema.fields().len()).filter(|index| columns.contains(self.schema.field(*index).name())).collect()
    }

    /// The schema of the named columns.
    fn projected(&self, columns: Option<&[String]>) -> Result<SchemaRef> {
        let Some(columns) = columns else { return Ok(self.schema.clone()) };
        Ok(Arc::new(self.schema.project(&self.positions(columns)).io_context(|| format!("cannot read '{}'", self.location()))?))
    }

    fn mask(&self, columns: &[String]) -> ProjectionMask {
        ProjectionMask::roots(self.metadata.parquet_schema(), self.positions(columns))
    }

    fn with_columns<T>(&self, builder: ArrowReaderBuilder<T>, columns: Option<&[String]>) -> ArrowReaderBuilder<T> {
        let builder = builder.with_batch_size(BATCH_ROWS);
        match columns {
            Some(columns) => builder.with_projection(self.mask(columns)),
            None => builder,
        }
    }
}

/// Which rows are to be read; by default all.
#[derive(Default)]
struct Wanted {
    groups: Option<Vec<usize>>,
    selection: Option<RowSelection>,
    filter: Option<RowFilter>,
    /// How many rows a batch has, if not the usual number.
    batch_rows: Option<usize>,
}

impl Wanted {
    fn narrow<T>(self, mut builder: ArrowReaderBuilder<T>) -> ArrowReaderBuilder<T> {
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

/// Runs a decoder of metadata on the bytes that it asks for.
fn decode(reader: &ObjectReader, mut decoder: ParquetMetaDataPushDecoder) -> Result<ParquetMetaData> {
    loop {
        match decoder.try_decode().map_err(|error| unreadable(reader.location(), &error))? {
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::Finished => return Err(damaged(reader.location(), &"it has no footer")),
            DecodeResult::NeedsData(ranges) => {
                let bytes = reader.fetch(&ranges)?;
                decoder.push_ranges(ranges, bytes).map_err(|error| unreadable(reader.location(), &error))?;
            }
        }
    }
}

/// The rows of an object in a store, whose bytes are fetched as the decoder asks for them.
struct Pulled {
    reader: ObjectReader,
    decoder: ParquetPushDecoder,
}

impl Pulled {
    fn pull(&mut self) -> Result<Option<RecordBatch>, ParquetError> {
        loop {
            match self.decoder.try_decode()? {
                DecodeResult::Data(batch) => return Ok(Some(batch)),
                DecodeResult::Finished => return Ok(None),
                DecodeResult::NeedsData(ranges) => {
                    let bytes = self.reader.fetch(&ranges).map_err(|error| ParquetError::External(Box::new(error)))?;
                    self.decoder.push_ranges(ranges, bytes)?;
                }
            }
        }
    }
}

impl Iterator for Pulled {
    type Item = Result<RecordBatch, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pull().transpose()
    }
}

/// An error of our own that a library carried, or else what the library says of the file.
fn unreadable(location: &Location, error: &(impl std::error::Error + 'static)) -> Error {
    let mut deeper: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = deeper {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.duplicate();
        }
        // Arrow hides what it carries from `source`.
        deeper = match error.downcast_ref::<ArrowError>() {
            Some(ArrowError::ExternalError(inner)) => Some(inner.as_ref()),
            _ => match error.downcast_ref::<ParquetError>() {
                Some(ParquetError::External(inner)) => Some(inner.as_ref()),
                _ => None,
            },
        };
    }
    damaged(location, error)
}

fn damaged(location: &Location, why: &dyn std::fmt::Display) -> Error {
    let why = why.to_string();
    Error::refused(format!("'{location}' is no whole Parquet file: {}", why.trim_start_matches("Parquet error: ")))
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
    state: State,
    /// A piece that was begun, in the types that rows come in.
    pieces: Option<BatchCoalescer>,
    target: Location,
    rows: u64,
}

/// A file, before and after its first piece.
enum State {
    Unbegun(File, SchemaRef, Option<Vec<SortingColumn>>),
    Begun(Box<Encoder>),
    /// It could not be begun.
    Failed,
}

impl ObjectWriter {
    /// Begins a file of rows sorted by `sorted_by`; `target` is where it will stand, which errors name.
    ///
    /// # Errors
    /// A refusal if Parquet has no such types.
    pub fn create(file: File, schema: &SchemaRef, sorted_by: &[String], target: &Location) -> Result<Self> {
        let sorting = sorted_by.iter().filter_map(|name| i32::try_from(schema.index_of(name).ok()?).ok());
        let sorting: Vec<SortingColumn> =
            sorting.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true }).collect();
        let sorting = (sorting.len() == sorted_by.len() && !sorting.is_empty() && flat(schema)).then_some(sorting);
        ArrowSchemaConverter::new().convert(schema).map_err(|error| unfit(target, &error))?;
        Ok(ObjectWriter { state: State::Unbegun(file, schema.clone(), sorting), pieces: None, target: target.clone(), rows: 0 })
    }

    /// The encoder, which the first piece decides how to set.
    fn encoder(&mut self, first: &RecordBatch) -> Result<&mut Encoder> {
        if let State::Unbegun(..) = self.state
            && let State::Unbegun(file, schema, sorting) = std::mem::replace(&mut self.state, State::Failed)
        {
            let mut properties = WriterProperties::builder()
                .set_created_by(concat!("asof ", env!("CARGO_PKG_VERSION")).into())
                .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default()))
                .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                .set_data_page_row_count_limit(BATCH_ROWS)
                .set_write_batch_size(BATCH_ROWS)
                .set_dictionary_page_size_limit(DICTIONARY_BYTES)
                .set_sorting_columns(sorting);
            for (field, column) in schema.fields().iter().zip(first.columns()) {
                let path = || ColumnPath::from(vec![field.name().clone()]);
                if is_integral(field.data_type()) {
                    properties = properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
                }
                if is_varied(column)? {
                    properties = properties.set_column_dictionary_enabled(path(), false);
                }
            }
            let encoder = Encoder::new(file, &schema, properties.build(), ROW_GROUP_ROWS).map_err(|error| unfit(&self.target, &error))?;
            self.state = State::Begun(Box::new(encoder));
        }
        match &mut self.state {
            State::Begun(encoder) => Ok(encoder),
            _ => Err(Error::io(format!("cannot write '{}'", self.target))),
        }
    }

    /// Appends rows. Columns may be dictionaries of what the schema says, the same in every batch.
    ///
    /// # Errors
    /// A failure of the disk.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        // What fills a piece that was begun is copied, and what begins the next one; pieces between are not.
        let begun = self.pieces.as_ref().map_or(0, BatchCoalescer::get_buffered_rows);
        let mut at = if begun == 0 { 0 } else { (BATCH_ROWS - begun).min(batch.num_rows()) };
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
        let pieces = self.pieces.get_or_insert_with(|| BatchCoalescer::new(rows.schema(), BATCH_ROWS));
        pieces.push_batch(rows).io_context(|| format!("cannot write '{}'", self.target))?;
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        while let Some(piece) = self.pieces.as_mut().and_then(BatchCoalescer::next_completed_batch) {
            self.encode(piece)?;
        }
        Ok(())
    }

    fn encode(&mut self, piece: RecordBatch) -> Result<()> {
        let written = self.encoder(&piece)?.write(piece);
        written.map_err(|error| failure(&error, &self.target))
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
        if let Some(pieces) = &mut self.pieces {
            pieces.finish_buffered_batch().io_context(|| format!("cannot write '{}'", self.target))?;
        }
        self.drain()?;
        if let State::Unbegun(_, schema, _) = &self.state {
            let none = RecordBatch::new_empty(schema.clone());
            self.encoder(&none)?;
        }
        let footer = KeyValue::new(KEY.to_owned(), footer.to_json()?);
        let State::Begun(encoder) = self.state else { return Err(Error::io(format!("cannot write '{}'", self.target))) };
        encoder.finish(footer).map_err(|error| failure(&error, &self.target))
    }
}

fn unfit(target: &Location, error: &ParquetError) -> Error {
    Error::refused(format!("'{target}' cannot hold these columns: {error}"))
}

/// Whether the values of a column are nearly all different, so that a dictionary would be full soon and of no use; by a sample that is spread over it.
fn is_varied(column: &ArrayRef) -> Result<bool> {
    if column.data_type().is_nested() || column.len() < SAMPLE {
        return Ok(false);
    }
    let step = column.len() / SAMPLE;
    let places = UInt32Array::from_iter_values((0..SAMPLE).filter_map(|at| u32::try_from(at * step).ok()));
    let doing = || "cannot look at rows".to_owned();
    let mut sample = take(column, &places, None).io_context(doing)?;
    // The same values are to give the same bytes, however they come.
    if let DataType::Dictionary(_, values) = column.data_type() {
        sample = cast(&sample, values).io_context(doing)?;
    }
    let mut digests = cell_digests(&sample)?;
    digests.sort_unstable();
    digests.dedup();
    Ok(digests.len() > SAMPLE - SAMPLE / 20)
}

fn failure(error: &ParquetError, target: &Location) -> Error {
    if let ParquetError::External(inner) = error
        && let Some(error) = inner.downcast_ref::<std::io::Error>()
    {
        return super::commit::write_error(error, target);
    }
    Error::io(format!("cannot write '{target}': {error}"))
}

/// Whether values of a type are integers in Parquet, of 32 or 64 bits.
fn is_integral(data_type: &DataType) -> bool {
    let time = matches!(data_type, DataType::Date32 | DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_));
    time || data_type.is_integer()
}

/// Whether every column is one leaf, so that the index of a column is the index of its leaf.
fn flat(schema: &Schema) -> bool {
    schema.fields().iter().all(|field| !field.data_type().is_nested())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;

    use std::path::Path;

    use super::*;

    fn batch(range: std::ops::Range<i64>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)]);
        let names = StringArray::from_iter_values(range.clone().map(|id| format!("name {}", id % 97)));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from_iter_values(range)), Arc::new(names)]).expect("a batch")
    }

    fn written(folder: &Path, name: &str, sizes: &[i64]) -> Vec<u8> {
        let path = folder.join(name);
        let schema = batch(0..1).schema();
        let mut writer =
            ObjectWriter::create(File::create(&path).expect("a file"), &schema, &["id".into()], &Location::local(&path)).expect("a writer");
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
    fn texts_give_the_same_bytes_in_a_dictionary_and_without_one_and_varied_ones_get_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let few = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
        // Of as many texts as a join has in a dictionary at most, and of too many.
        for (distinct, is_varied) in [(97, false), (3_000, false), (1 << 40, true)] {
            let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..20_000_u64).map(|row| {
                let random = row.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                format!("name {}", (random >> 20) % distinct)
            })));
            let written = |name: &str, names: ArrayRef| {
                let path = folder.path().join(name);
                let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
                let file = File::create(&path).expect("a file");
                let mut writer = ObjectWriter::create(file, &schema, &[], &Location::local(&path)).expect("a writer");
                for (from, length) in [(0, 5_000), (5_000, 15_000)] {
                    let batch = RecordBatch::try_from_iter([("name", names.slice(from, length))]).expect("a batch");
                    writer.write(batch).expect("written");
                }
                writer.finish(&Footer::sample()).expect("finished");
                std::fs::read(path).expect("the bytes")
            };
            let plain = written("plain", names.clone());
            assert!(plain == written("dictionary", cast(&names, &few).expect("few")));
            let object = ParquetObject::open(&Location::local(folder.path().join("plain"))).expect("it opens");
            let column = object.metadata.metadata().row_group(0).column(0);
            assert_eq!(column.dictionary_page_offset().is_none(), is_varied);
        }
    }

    #[test]
    fn an_object_reads_back_with_its_footer_and_only_the_columns_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        written(folder.path(), "a", &[20_000]);
        let object = ParquetObject::open(&Location::local(folder.path().join("a"))).expect("it opens");
        assert_eq!((object.rows(), object.footer().expect("it reads")), (20_000, Some(Footer::sample())));
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
        let error = ParquetObject::open(&Location::local(&path)).err().expect("truncated");
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert!(error.to_string().contains("cut' is no whole Parquet file"), "{error}");
    }
}
