//! One Parquet object, as it is read.
//!
//! Types are made canonical at this edge, so that the rest of the program knows one text type and
//! one list type. Only the columns that are asked for are read. With a [`RowCondition`], row groups
//! whose statistics exclude it are passed over, of the others its own columns are decoded, and of
//! the rest only the pages in which a row was found.
//!
//! In a store what is read is what is transferred: a row group's columns at a time, neighbours in
//! one request.
//!
//! An object that carries checksums (`seal`) is compared with them: its footer before it is
//! decoded, all else when it is read.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ArrowReaderBuilder, ArrowReaderMetadata,
    ParquetRecordBatchReaderBuilder, RowFilter, RowSelection,
};
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaDataPushDecoder, RowGroupMetaData,
};

pub use super::BATCH_ROWS;
use super::dictionaries::texts_in_dictionaries;
pub use super::dictionaries::with_dictionaries;
use super::metadata::{
    damaged, decode_metadata, footer_entry, footer_of, unreadable, untyped, with_types,
};
use super::row_choice::{FetchedRows, RowChoice};
pub use super::statistics::{GroupStatistics, RowCondition};
use super::{embedded_schema, int96, untrusted};
use crate::domain::canonical_batch::to_canonical;
use crate::domain::canonical_types::canonical_schema;
use crate::domain::text_views::with_views;
use crate::error::{Context, Result};
use crate::interrupt::check_cancelled;
use crate::parallel::{each, flatten};
use crate::phases::Phase;
use crate::storage::Batches;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::read::ObjectReader;
use crate::storage::parquet::footer::Footer;

/// Rows in a batch of a range that is read at once: a larger one costs fewer allocations.
const RANGE_BATCH_ROWS: usize = 32_768;
/// Rows in a batch whose texts are views: whoever reads views keeps all rows, and then a row group
/// is best one batch.
const GROUP_BATCH_ROWS: usize = 65_536;
/// About how many bytes a batch has at most, if its rows are not longer.
const BATCH_BYTES: u64 = 64 << 20;
/// A row group of a local file that has so few bytes is read at once.
const SMALL_GROUP_BYTES: i64 = 8 << 20;
/// Several row groups are decoded at a time if they have no more bytes in memory than this each.
const GROUP_DECODED_AT_ONCE: u64 = 32 << 20;

/// A Parquet file whose footer has been read.
pub struct ParquetObject {
    reader: ObjectReader,
    pub(super) metadata: ArrowReaderMetadata,
    /// The metadata with where each page lies, once somebody had to know.
    pages: OnceLock<ArrowReaderMetadata>,
    pub(super) schema: SchemaRef,
    /// The types in which its columns are decoded, if they are not those that the file suggests.
    decoded: Option<SchemaRef>,
    /// Whether its texts are decoded as views.
    has_views: bool,
}

impl ParquetObject {
    /// Opens an object and reads its footer, not its rows.
    ///
    /// # Errors
    /// A failure if it cannot be opened; a refusal if it is not a valid or complete Parquet file.
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
        let what = format!("'{location}'");
        let (parquet, checksums) =
            untrusted::decode(|why| damaged(&location, &why), || footer_of(&reader))?;
        let parquet = Arc::new(parquet);
        if let Some(checksums) = checksums {
            reader.verify_by(Arc::new(checksums));
        }
        // The decoder panics at types that it does not know.
        let unknown = |why: &str| {
            embedded_schema::unknown_type_in(&parquet, &what)
                .unwrap_or_else(|| damaged(&location, &why))
        };
        let (metadata, schema, decoded) = untrusted::decode(unknown, || {
            let unreadable = |error: &ParquetError| unreadable(&location, error);
            let units = int96::units(&parquet, &reader, &unreadable)?;
            let mut metadata =
                with_types(parquet.clone(), None).map_err(|error| unreadable(&error))?;
            let mut decoded = None;
            if !units.is_empty() {
                decoded = Some(Arc::new(int96::with_units(metadata.schema(), &units)));
                metadata = with_types(parquet.clone(), decoded.clone())
                    .map_err(|error| unreadable(&error))?;
            }
            let schema = canonical_schema(metadata.schema(), &what)?;
            let schema = untyped(&metadata, schema).map_err(|error| error.within(&what))?;
            Ok((metadata, schema, decoded))
        })?;
        reader.release();
        Ok(ParquetObject {
            reader,
            metadata,
            pages: OnceLock::new(),
            schema,
            decoded,
            has_views: false,
        })
    }

    /// The same object with its columns of text as views, which copies none of them. A view keeps
    /// the page or dictionary that it points into, so this is for reading every row.
    ///
    /// # Errors
    /// None is expected.
    pub fn with_views(self) -> Result<Self> {
        let decoded = with_views(self.metadata.schema());
        let object = self.decoded_as(decoded)?;
        // Only what is decoded as a view is one: other texts are in a dictionary or large.
        let schema = with_views(&object.schema);
        let is_view = |field: &FieldRef| {
            let decoded = object.metadata.schema().field_with_name(field.name());
            decoded.is_ok_and(|decoded| decoded.data_type() == &DataType::Utf8View)
        };
        let fields = schema.fields().iter().zip(object.schema.fields());
        let fields = fields.map(|(viewed, own)| if is_view(viewed) { viewed } else { own }.clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(ParquetObject {
            schema,
            has_views: true,
            ..object
        })
    }

    /// The same object with its columns decoded in other types; [`ParquetObject::schema`] is still
    /// to be told.
    pub(super) fn decoded_as(self, types: SchemaRef) -> Result<Self> {
        let decoded = Some(types);
        let metadata = with_types(self.metadata.metadata().clone(), decoded.clone())
            .map_err(|error| unreadable(self.location(), &error))?;
        Ok(ParquetObject {
            metadata,
            pages: OnceLock::new(),
            decoded,
            ..self
        })
    }

    /// The location of the object.
    pub fn location(&self) -> &Location {
        self.reader.location()
    }

    /// The columns of the object, in canonical types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The size of the object in bytes.
    pub fn size(&self) -> u64 {
        self.reader.size()
    }

    /// How many rows the object has.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// How many rows each row group has.
    pub fn rows_of_groups(&self) -> Vec<u64> {
        let groups = self.metadata.metadata().row_groups().iter();
        groups
            .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
            .collect()
    }

    /// What the object says of itself, if asof wrote the object.
    ///
    /// # Errors
    /// A refusal if the footer is damaged or of a later version.
    pub fn footer(&self) -> Result<Option<Footer>> {
        footer_entry(&self.metadata)
            .map(Footer::from_json)
            .transpose()
            .map_err(|error| error.within(format!("'{}'", self.location())))
    }

    /// Whether the object carries checksums.
    pub fn has_checksums(&self) -> bool {
        self.reader.checksums().is_some()
    }

    /// Reads what no reader of rows does, such as statistics of pages, and compares it with the
    /// object's checksums, if it has any.
    ///
    /// # Errors
    /// A refusal if a byte is damaged.
    pub fn verify_unread(&self) -> Result<()> {
        let Some(checksums) = self.reader.checksums() else {
            return Ok(());
        };
        let groups = self.metadata.metadata().row_groups().iter();
        let ends = groups.flat_map(RowGroupMetaData::columns).map(|column| {
            let (start, length) = column.byte_range();
            start + length
        });
        let after_rows = ends.max().unwrap_or(0);
        self.reader
            .fetch(&[0..after_rows.min(1), after_rows..checksums.covered()])
            .map(|_| ())
    }

    /// Reads the named columns of every row, in the file's order of rows and columns; all columns
    /// if `None`.
    ///
    /// # Errors
    /// A failure if the object cannot be read any more.
    pub fn read(&self, columns: Option<&[String]>) -> Result<Batches> {
        self.read_where(columns, None)
    }

    /// Reads the named columns of every row, or all columns, several row groups at a time if they
    /// are not large; for whoever reads nothing else meanwhile.
    ///
    /// # Errors
    /// As [`ParquetObject::read`].
    pub fn read_on_all_processors(&self, columns: Option<&[String]>) -> Result<Batches> {
        let groups = self.metadata.metadata().num_row_groups();
        let is_large = self.bytes_in_memory(columns) > GROUP_DECODED_AT_ONCE * groups as u64;
        if groups < 2 || is_large {
            return self.read(columns);
        }
        let object = self.held(false)?;
        let columns = columns.map(<[String]>::to_vec);
        let decoded = each((0..groups).map(Ok), move |group| {
            let rows = object.read_groups_where(columns.as_deref(), None, vec![group])?;
            rows.collect::<Result<Vec<_>>>()
        })?;
        Ok(Box::new(flatten(decoded)))
    }

    /// Reads the rows for which a condition holds.
    ///
    /// # Errors
    /// As [`ParquetObject::read`].
    pub fn read_where(
        &self,
        columns: Option<&[String]>,
        condition: Option<Arc<dyn RowCondition>>,
    ) -> Result<Batches> {
        let groups = self.groups_where(condition.as_ref());
        self.read_groups_where(columns, condition, groups)
    }

    /// The text columns of which every row group has all values in a short dictionary.
    pub fn texts_in_dictionaries(&self) -> Vec<String> {
        texts_in_dictionaries(self.metadata.metadata(), &self.schema)
    }

    pub(super) fn statistics(&self) -> GroupStatistics<'_> {
        GroupStatistics::new(&self.metadata, &self.schema)
    }

    /// The row groups that may hold a row for which a condition holds.
    pub fn groups_where(&self, condition: Option<&Arc<dyn RowCondition>>) -> Vec<usize> {
        let all = 0..self.metadata.metadata().num_row_groups();
        let Some(condition) = condition else {
            return all.collect();
        };
        let may_hold = condition.may_hold(&self.statistics());
        all.filter(|group| may_hold.get(*group) == Some(&true))
            .collect()
    }

    /// The same object, held open: whatever takes the name meanwhile, this object is read. With
    /// `with_pages`, the object knows where pages lie.
    ///
    /// # Errors
    /// A failure if another file has taken its name.
    pub fn held(&self, with_pages: bool) -> Result<Self> {
        if with_pages {
            self.pages()?;
        }
        let metadata = self.metadata.clone();
        let pages = self.pages.clone();
        let schema = self.schema.clone();
        Ok(ParquetObject {
            reader: self.reader.held()?,
            metadata,
            pages,
            schema,
            decoded: self.decoded.clone(),
            has_views: self.has_views,
        })
    }

    /// Reads the rows of row groups for which a condition holds.
    ///
    /// # Errors
    /// As [`ParquetObject::read`].
    pub fn read_groups_where(
        &self,
        columns: Option<&[String]>,
        condition: Option<Arc<dyn RowCondition>>,
        groups: Vec<usize>,
    ) -> Result<Batches> {
        let Some(condition) = condition else {
            return self.decode(
                self.metadata.clone(),
                columns,
                RowChoice {
                    groups: Some(groups),
                    ..RowChoice::default()
                },
            );
        };
        let texts = self.texts_to_compare(&*condition, columns);
        let schema = self.projected(Some(condition.columns()))?;
        let schema = with_dictionaries(&schema, &texts);
        let looked_at = self.mask(condition.columns());
        let predicate: Box<dyn ArrowPredicate> =
            Box::new(ArrowPredicateFn::new(looked_at, move |batch| {
                let rows = to_canonical(&batch, &schema).and_then(|batch| condition.holds(&batch));
                rows.map_err(|error| ArrowError::ExternalError(Box::new(error)))
            }));
        let filter = Some(RowFilter::new(vec![predicate]));
        let mut metadata = self.pages()?;
        if !texts.is_empty() {
            let hinted = with_dictionaries(metadata.schema(), &texts);
            metadata = with_types(metadata.metadata().clone(), Some(hinted))
                .map_err(|error| unreadable(self.location(), &error))?;
        }
        self.decode(
            metadata,
            columns,
            RowChoice {
                groups: Some(groups),
                filter,
                ..RowChoice::default()
            },
        )
    }

    /// The rows that a decoder gives, once it is told which; in canonical types.
    fn decode(
        &self,
        metadata: ArrowReaderMetadata,
        columns: Option<&[String]>,
        choice: RowChoice,
    ) -> Result<Batches> {
        let schema = self.projected(columns)?;
        self.decode_as(&schema, metadata, columns, choice)
    }

    /// The rows that a decoder gives, in the types of `schema`.
    fn decode_as(
        &self,
        schema: &SchemaRef,
        metadata: ArrowReaderMetadata,
        columns: Option<&[String]>,
        choice: RowChoice,
    ) -> Result<Batches> {
        let schema = schema.clone();
        let location = self.location().clone();
        let reader = self.reader.held()?;
        let file = if choice.is_all() && self.groups_are_small(columns) {
            None
        } else {
            reader.file_at()?
        };
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, ParquetError>> + Send> =
            untrusted::decode(
                |why| damaged(&location, &why),
                || match file {
                    Some(file) => {
                        let builder =
                            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
                        let rows = choice
                            .narrow(self.with_columns(builder, columns))
                            .build()
                            .map_err(|error| unreadable(&location, &error))?;
                        Ok(Box::new(rows.map(|batch| batch.map_err(ParquetError::from))) as Box<_>)
                    }
                    None => {
                        let builder = ParquetPushDecoderBuilder::new_with_metadata(metadata);
                        let decoder = choice
                            .narrow(self.with_columns(builder, columns))
                            .build()
                            .map_err(|error| unreadable(&location, &error))?;
                        Ok(Box::new(FetchedRows::new(reader.clone(), decoder)) as Box<_>)
                    }
                },
            )?;
        let place = location.clone();
        let rows = batches.map(move |batch| {
            check_cancelled()?;
            let batch = batch.map_err(|error| unreadable(&place, &error))?;
            to_canonical(&batch, &schema).map_err(|error| error.within(format!("'{place}'")))
        });
        let rows = untrusted::CheckedItems::new(rows, move |why: &str| damaged(&location, &why));
        Ok(Box::new(reader.unchanged(Phase::Decode.each(rows))))
    }

    /// Whether the bytes of the named columns are few in every row group, so that they are better
    /// had at once than a page at a time; and its rows are not, since a batch ends with its row
    /// group then.
    fn groups_are_small(&self, columns: Option<&[String]>) -> bool {
        let names = columns.map(names);
        let wanted = |column: &&ColumnChunkMetaData| is_of(column, names.as_ref());
        let bytes = |group: &RowGroupMetaData| {
            group
                .columns()
                .iter()
                .filter(wanted)
                .map(ColumnChunkMetaData::compressed_size)
                .sum::<i64>()
        };
        let groups = self.metadata.metadata().row_groups();
        let have_batches = groups.len() < 2 || self.rows() >= (groups.len() * BATCH_ROWS) as u64;
        have_batches && groups.iter().all(|group| bytes(group) <= SMALL_GROUP_BYTES)
    }

    /// Reads the named columns, or all, of a range of rows.
    ///
    /// Of a row group that is wanted in part, pages that are outside of the range are not decoded,
    /// and in a store not transferred.
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
        let Some(first) = first else {
            return Ok(Box::new(std::iter::empty()));
        };
        let in_part = rows.start > first || rows.end < end;
        let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let selection = in_part.then(|| {
            let wanted = count(rows.start.max(first) - first)..count(rows.end.min(end) - first);
            RowSelection::from_consecutive_ranges(std::iter::once(wanted), count(end - first))
        });
        let metadata = if in_part {
            self.pages()?
        } else {
            self.metadata.clone()
        };
        self.decode(
            metadata,
            columns,
            RowChoice {
                groups: Some(groups),
                selection,
                batch_rows: Some(RANGE_BATCH_ROWS),
                ..RowChoice::default()
            },
        )
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
        let decoder =
            ParquetMetaDataPushDecoder::try_new_with_metadata(self.reader.size(), metadata)
                .map_err(|error| unreadable(self.location(), &error))?;
        let decoder = decoder
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = untrusted::decode(
            |why| damaged(self.location(), &why),
            || decode_metadata(&self.reader, decoder),
        )?;
        with_types(Arc::new(metadata), self.decoded.clone())
            .map_err(|error| unreadable(self.location(), &error))
    }

    /// The positions of columns in the file.
    fn positions(&self, columns: &[String]) -> Vec<usize> {
        let names = names(columns);
        (0..self.schema.fields().len())
            .filter(|index| names.contains(self.schema.field(*index).name().as_str()))
            .collect()
    }

    /// The schema of the named columns.
    fn projected(&self, columns: Option<&[String]>) -> Result<SchemaRef> {
        let Some(columns) = columns else {
            return Ok(self.schema.clone());
        };
        Ok(Arc::new(
            self.schema
                .project(&self.positions(columns))
                .internal_context(|| format!("cannot read '{}'", self.location()))?,
        ))
    }

    fn mask(&self, columns: &[String]) -> ProjectionMask {
        ProjectionMask::roots(self.metadata.parquet_schema(), self.positions(columns))
    }

    /// How many rows of the named columns, or of all, a batch has: fewer if they are wide.
    fn batch_rows(&self, columns: Option<&[String]>) -> usize {
        let row_bytes = self.bytes_in_memory(columns) / self.rows().max(1);
        let rows = BATCH_BYTES / row_bytes.max(1);
        let most = if self.has_views {
            GROUP_BATCH_ROWS
        } else {
            BATCH_ROWS
        };
        usize::try_from(rows).map_or(most, |rows| rows.clamp(1, most))
    }

    fn with_columns<T>(
        &self,
        builder: ArrowReaderBuilder<T>,
        columns: Option<&[String]>,
    ) -> ArrowReaderBuilder<T> {
        let builder = builder.with_batch_size(self.batch_rows(columns));
        match columns {
            Some(columns) => builder.with_projection(self.mask(columns)),
            None => builder,
        }
    }
}

/// Names as a set: there may be many, and each is looked for in them.
pub(super) fn names(columns: &[String]) -> HashSet<&str> {
    columns.iter().map(String::as_str).collect()
}

/// Whether a leaf is of a column of these names, or of any if there are none.
pub(super) fn is_of(leaf: &ColumnChunkMetaData, names: Option<&HashSet<&str>>) -> bool {
    let root = leaf.column_path().parts().first();
    names.is_none_or(|names| root.is_some_and(|root| names.contains(root.as_str())))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::storage::parquet::writer::ObjectWriter;

    /// Writes 20,000 rows, and returns their bytes.
    fn written(folder: &Path, name: &str) -> Vec<u8> {
        let path = folder.join(name);
        let ids = Arc::new(Int64Array::from_iter_values(0..20_000)) as ArrayRef;
        let names = Arc::new(StringArray::from_iter_values(
            (0..20_000).map(|id| format!("name {}", id % 97)),
        )) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("id", ids), ("name", names)]).expect("rows");
        let file = File::create(&path).expect("a file");
        let mut writer = ObjectWriter::create(
            file,
            &rows.schema(),
            &["id".into()],
            &Location::local(&path),
        )
        .expect("a writer");
        writer.write(rows).expect("written");
        writer.finish(&Footer::sample()).expect("finished");
        std::fs::read(&path).expect("the bytes")
    }

    #[test]
    fn an_object_reads_back_with_its_footer_and_only_the_columns_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        written(folder.path(), "a");
        let object =
            ParquetObject::open(&Location::local(folder.path().join("a"))).expect("it opens");
        assert_eq!(
            (object.rows(), object.footer().expect("it reads")),
            (20_000, Some(Footer::sample()))
        );
        let read: Vec<RecordBatch> = object
            .read(Some(&["name".into()]))
            .expect("a stream")
            .collect::<Result<_>>()
            .expect("rows");
        assert_eq!(
            read.iter().map(RecordBatch::num_rows).sum::<usize>(),
            20_000
        );
        assert_eq!(read[0].num_columns(), 1);
    }

    #[test]
    fn a_truncated_file_is_refused_and_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = written(folder.path(), "a");
        let path = folder.path().join("cut");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        let error = ParquetObject::open(&Location::local(&path))
            .err()
            .expect("truncated");
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert!(
            error
                .to_string()
                .contains("cut' is not a valid or complete Parquet file"),
            "{error}"
        );
    }
}
