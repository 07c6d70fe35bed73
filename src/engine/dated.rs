//! Rows of many dates in the same files, told apart by a column: a table's copies, or events.
//!
//! Everything after this module expects one set of files for each date. So the rows are split by
//! the day of their date column into a private temporary folder: `2024-09-13/000000.arrow`. From
//! there on they are read like any other.
//!
//! | rows | the date column | what tells whether a date has changed |
//! | --- | --- | --- |
//! | copies of a table | is left out: the date of a copy is not an attribute of its rows | their fingerprint, as for every external copy |
//! | events | stays | their fingerprint, since the file that they share changes whenever another date comes |
//!
//! **Who reads what.** The input is decoded once for a range of dates, in any order. A chunk of
//! rows is gathered, sorted by day, and written as one file for each day in it. Sorted input
//! therefore gives few files, and unsorted input one for each day and chunk. Rows of one day keep
//! their order. Row groups of Parquet outside the range are skipped by their statistics. A layout
//! narrows the files that are read.
//!
//! **What is held.** One chunk, and a sorted copy of it; on disk, every row of the range once,
//! compressed.

mod column;
mod splitter;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_128;

pub(super) use self::column::day_of;
pub use self::column::{DateColumn, NamedBy};
use self::column::{InRange, within_range};
use self::splitter::{PREFIX, Splitter, sweep_temporary};
use crate::domain::digest::RowSum;
use crate::domain::layout::Layout;
use crate::domain::missing_column::names_missing_column;
use crate::domain::staleness::EventsInput;
use crate::error::{Context, Error, Result};
use crate::interrupt::{Temporary, temporary};
use crate::memory::{DATED_BYTES, MemoryBudget};
use crate::model::DateRange;
use crate::source::{self, Format, FormatRule, LayoutColumns, SourceRows, TypeRules, files_of};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::{self, Found};
use crate::storage::parquet::object::RowCondition;
use crate::storage::parquet::stored_types::arrow_name;

/// The layout of the temporary folder. A folder's name without `=` adds no column to its rows.
const LAYOUT: &str = "%Y-%m-%d";

/// What the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsOf {
    /// Copies of a table.
    Copies,
    /// Events.
    Events,
}

/// Files whose rows have dates in a column.
#[derive(Debug)]
pub struct Dated {
    /// A file, a folder or a pattern.
    pub root: Location,
    /// The layout of the files, if only those of the range are to be read.
    pub layout: Option<Layout>,
    /// Their format.
    pub format: FormatRule,
    /// The types of their columns.
    pub types: TypeRules,
    /// Which column tells the date.
    pub column: DateColumn,
    /// What the rows are.
    pub rows_of: RowsOf,
    /// What errors call them, with their place.
    pub place: String,
    /// How many bytes are gathered before they are written.
    pub chunk: usize,
    /// What was split so far. Whoever reads files of a split may still do so when a wider one was
    /// made.
    splits: Mutex<Vec<Arc<Split>>>,
}

/// Rows split by date, in a temporary folder that is removed with this value.
#[derive(Debug)]
pub struct Split {
    folder: Temporary<TempDir>,
    /// The dates that were looked for; all if `None`.
    range: Option<DateRange>,
    /// The rows of each date, and the columns that they have. Only of events.
    sums: BTreeMap<NaiveDate, RowSum>,
    columns: String,
    /// The column that tells the date.
    column: DateColumn,
    /// Where the rows are from.
    root: Location,
}

impl Dated {
    /// Nothing is read yet.
    pub fn new(
        root: Location,
        layout: Option<Layout>,
        format: FormatRule,
        types: TypeRules,
        column: DateColumn,
        rows_of: RowsOf,
    ) -> Self {
        let place = format!("'{root}'");
        Dated {
            root,
            layout,
            format,
            types,
            column,
            rows_of,
            place,
            chunk: DATED_BYTES,
            splits: Mutex::default(),
        }
    }

    /// The same, in messages that name a place, and with a share of the memory that may be used.
    #[must_use]
    pub fn within(self, place: String, memory: MemoryBudget) -> Self {
        Dated {
            place,
            chunk: memory.for_rows_of_many_dates(),
            ..self
        }
    }

    /// The layout of the split rows.
    ///
    /// # Errors
    /// None in practice: the layout is a constant.
    pub fn split_layout() -> Result<Layout> {
        Layout::parse(LAYOUT)
    }

    /// The rules by which split rows are read: their columns have types.
    pub fn split_types(&self) -> TypeRules {
        let mut types = TypeRules {
            layout: LayoutColumns::default(),
            pinned: None,
            csv: Arc::default(),
            csv_is_given: false,
            ..self.types.clone()
        };
        types.declared.clear();
        types
    }

    /// The format of split rows.
    pub fn split_format(&self) -> FormatRule {
        FormatRule {
            declared: Some(Format::Arrow),
            ..self.format.clone()
        }
    }

    /// The files of each date in a range, or of all dates.
    ///
    /// # Errors
    /// A usage error for a column that is absent; a refusal for nulls, with their count, and for
    /// values that are not dates.
    pub fn find(&self, range: Option<DateRange>) -> Result<Found> {
        let split = self.split(range)?;
        split.find(range)
    }

    /// The rows of a range, split by date. They are split once, unless a wider range is asked for
    /// later.
    ///
    /// # Errors
    /// As [`Dated::find`].
    pub fn split(&self, range: Option<DateRange>) -> Result<Arc<Split>> {
        let mut splits = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_covered = |split: &&Arc<Split>| match (split.range, range) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(range)) => wide.contains(range.from()) && wide.contains(range.to()),
        };
        if let Some(split) = splits.iter().find(is_covered) {
            return Ok(split.clone());
        }
        let split = Arc::new(self.split_files(&self.files(range)?, range)?);
        splits.push(split.clone());
        Ok(split)
    }

    fn files(&self, range: Option<DateRange>) -> Result<Vec<Object>> {
        let Some(layout) = &self.layout else {
            return files_of(&self.root);
        };
        // A folder of a month has the dates of all of it, and the day of an instant may be the one
        // beside that of its folder. A range that is open at one end has millions of dates.
        let around = range
            .filter(|range| range.len() < LONGEST)
            .map(|range| layout.around(range.widened(1)));
        let found = partitions::find(&self.root, layout, around)?;
        Ok(found.partitions.into_values().flatten().collect())
    }

    fn split_files(&self, files: &[Object], range: Option<DateRange>) -> Result<Split> {
        sweep_temporary();
        let folder = temporary(|| tempfile::Builder::new().prefix(PREFIX).tempdir());
        let folder =
            folder.temporary_context(|| "cannot make a temporary folder (TMPDIR)".into())?;
        let empty = Split {
            folder,
            range,
            sums: BTreeMap::new(),
            columns: String::new(),
            column: self.column.clone(),
            root: self.root.clone(),
        };
        if files.is_empty() {
            return Ok(empty);
        }
        let OpenedFiles {
            rows,
            at,
            rules,
            format,
        } = self.open(files)?;
        let batches = match range {
            Some(range) if format == Format::Parquet => source::read_columns(
                files,
                format,
                &rules,
                &names(&rows.schema),
                Some(self.in_range(range, &rows.schema)),
            )?,
            _ => rows.batches,
        };
        let folder = empty.folder.path();
        let mut splitter = self.splitter(at, &rows.schema, range, folder)?;
        splitter.run(batches, self.chunk)?;
        let columns = splitter
            .schema
            .fields()
            .iter()
            .map(|field| format!("{} {}\n", field.name(), arrow_name(field.data_type())))
            .collect();
        let sums = splitter.sums.unwrap_or_default();
        Ok(Split {
            sums,
            columns,
            ..empty
        })
    }

    /// What splits rows of a schema, whose date column is at an index, into a folder.
    fn splitter<'a>(
        &'a self,
        at: usize,
        schema: &SchemaRef,
        range: Option<DateRange>,
        folder: &'a Path,
    ) -> Result<Splitter<'a>> {
        let is_kept = |other: &usize| *other != at || self.rows_of == RowsOf::Events;
        let kept: Vec<usize> = (0..schema.fields().len()).filter(is_kept).collect();
        let without = || "cannot leave out the date column".into();
        let schema = Arc::new(schema.project(&kept).io_context(without)?);
        Ok(Splitter {
            column: &self.column,
            range,
            at,
            kept,
            schema,
            place: &self.place,
            folder,
            chunks: 0,
            nulls: 0,
            sums: (self.rows_of == RowsOf::Events).then(BTreeMap::new),
        })
    }

    /// Opens files, and finds their date column.
    fn open(&self, files: &[Object]) -> Result<OpenedFiles> {
        let column = &self.column;
        let place = self.place.as_str();
        let format = self.format.of(files)?;
        let mut rules = self.types.clone();
        if column.format.is_some() && !format.carries_types() {
            // `20240913` and `13092024` are text in a format, whatever type they would be without
            // it.
            rules
                .declared
                .entry(column.name.clone())
                .or_insert(DataType::Utf8);
        }
        let rows = source::read(files, format, &rules, None)?;
        let at = rows.schema.index_of(&column.name).map_err(|_| {
            names_missing_column("dates are in", &column.name, &rows.schema, "the file")
                .within(place)
        })?;
        column.check(rows.schema.field(at).data_type(), place)?;
        Ok(OpenedFiles {
            rows,
            at,
            rules,
            format,
        })
    }

    /// A condition that leaves out rows of files that are outside the range. What it lets through
    /// is still to be filtered.
    fn in_range(&self, range: DateRange, schema: &Schema) -> Arc<dyn RowCondition> {
        let data_type = schema
            .field_with_name(&self.column.name)
            .map_or(DataType::Null, |field| field.data_type().clone());
        Arc::new(InRange {
            column: self.column.clone(),
            columns: vec![self.column.name.clone()],
            range,
            data_type,
        })
    }

    /// Reads the date column alone, to know which dates there are.
    ///
    /// # Errors
    /// As [`Dated::find`].
    pub fn survey(&self, range: Option<DateRange>) -> Result<Survey> {
        let mut survey = Survey {
            files: self.files(range)?,
            range,
            dates: BTreeMap::new(),
        };
        if survey.files.is_empty() {
            return Ok(survey);
        }
        let OpenedFiles {
            rows,
            rules,
            format,
            ..
        } = self.open(&survey.files)?;
        let condition = range.map(|range| self.in_range(range, &rows.schema));
        let (mut nulls, mut days): (u64, BTreeMap<i32, u64>) = (0, BTreeMap::new());
        for batch in source::read_columns(
            &survey.files,
            format,
            &rules,
            std::slice::from_ref(&self.column.name),
            condition,
        )? {
            let of_batch = self.column.days(batch?.column(0), &self.place)?;
            nulls += of_batch.null_count() as u64;
            for day in of_batch.iter().flatten() {
                *days.entry(day).or_default() += 1;
            }
        }
        self.column.refuse_nulls(nulls, &self.place)?;
        for (day, rows) in days {
            let date = self.column.date(day, &self.place)?;
            if range.is_none_or(|range| range.contains(date)) {
                survey.dates.insert(date, rows);
            }
        }
        Ok(survey)
    }

    /// Opens the first files, and reads the dates of their first rows.
    ///
    /// # Errors
    /// As [`Dated::find`].
    pub fn head(&self) -> Result<DatedHead> {
        let files = self.files(None)?;
        if files.is_empty() {
            return Ok(DatedHead {
                files,
                schema: SchemaRef::new(Schema::empty()),
                dates: BTreeSet::new(),
            });
        }
        let OpenedFiles { mut rows, at, .. } = self.open(&files)?;
        let mut dates = BTreeSet::new();
        if let Some(batch) = rows.batches.next() {
            let days = self.column.days(batch?.column(at), &self.place)?;
            self.column
                .refuse_nulls(days.null_count() as u64, &self.place)?;
            for day in days.iter().flatten() {
                dates.insert(self.column.date(day, &self.place)?);
            }
        }
        Ok(DatedHead {
            files,
            schema: rows.schema,
            dates,
        })
    }

    /// The rows of a survey in their order. Batches end with a column of dates that is not in the
    /// schema.
    ///
    /// # Errors
    /// As [`Dated::find`].
    pub fn rows(&self, survey: &Survey) -> Result<SourceRows> {
        let OpenedFiles {
            rows,
            at,
            rules,
            format,
        } = self.open(&survey.files)?;
        let batches = match survey.range {
            Some(range) => {
                let condition = self.in_range(range, &rows.schema);
                source::read_columns(
                    &survey.files,
                    format,
                    &rules,
                    &names(&rows.schema),
                    Some(condition),
                )?
            }
            None => rows.batches,
        };
        let range = survey.range;
        let (column, place, schema) =
            (self.column.clone(), self.place.clone(), rows.schema.clone());
        let mut fields = schema.fields().to_vec();
        // No column of theirs has this name.
        fields.push(Arc::new(Field::new("\u{1}date", DataType::Date32, false)));
        let with_dates: SchemaRef = Arc::new(Schema::new(fields));
        let add = move |batch: Result<RecordBatch>| {
            let batch = batch?;
            let days = column.days(batch.column(at), &place)?;
            column.refuse_nulls(days.null_count() as u64, &place)?;
            let mask = range.map(|range| within_range(&days, range));
            let columns = batch
                .columns()
                .iter()
                .cloned()
                .chain([Arc::new(days) as ArrayRef])
                .collect();
            let rows = RecordBatch::try_new(with_dates.clone(), columns)
                .io_context(|| "cannot add the dates of rows".into())?;
            match mask {
                Some(mask) => {
                    filter_record_batch(&rows, &mask).io_context(|| "cannot select rows".into())
                }
                None => Ok(rows),
            }
        };
        Ok(SourceRows {
            schema,
            batches: Box::new(batches.map(add)),
            count: None,
        })
    }

    /// An error about split rows, as one about the input, which is what the user knows.
    pub fn reword(&self, error: Error) -> Error {
        let splits = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        splits
            .iter()
            .fold(error, |error, split| split.reword(error))
    }
}

/// The dates of rows that have not been read.
#[derive(Debug)]
pub struct Survey {
    /// The files that have them.
    pub files: Vec<Object>,
    /// The dates that were asked for; all if `None`.
    pub range: Option<DateRange>,
    /// How many rows each date has.
    pub dates: BTreeMap<NaiveDate, u64>,
}

/// What the first rows tell.
#[derive(Debug)]
pub struct DatedHead {
    /// All files.
    pub files: Vec<Object>,
    /// Their columns.
    pub schema: SchemaRef,
    /// The dates of the first rows.
    pub dates: BTreeSet<NaiveDate>,
}

/// Files whose date column was found.
struct OpenedFiles {
    rows: SourceRows,
    /// The index of the date column.
    at: usize,
    /// The rules by which the rows are read.
    rules: TypeRules,
    format: Format,
}

fn names(schema: &Schema) -> Vec<String> {
    schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

impl Split {
    /// The files of each date in a range, or of all dates.
    ///
    /// # Errors
    /// A failure to list the temporary folder.
    pub fn find(&self, range: Option<DateRange>) -> Result<Found> {
        partitions::find(
            &Location::local(self.folder.path()),
            &Dated::split_layout()?,
            range,
        )
    }

    /// What the rows of a date are, whichever files they came from. Only of events.
    pub fn identity(&self, date: NaiveDate) -> Option<EventsInput> {
        let sum = self.sums.get(&date)?;
        // A column without values adds nothing to the sum.
        let content = format!("{}\n{}", sum.fingerprint(), self.columns);
        let etag = format!("{:032x}", xxh3_128(content.as_bytes()));
        Some(EventsInput {
            path: format!("{}={date}", self.column.name),
            size: sum.rows(),
            etag,
        })
    }

    /// An error about the split rows, as one about the input, which is what the user knows.
    pub fn reword(&self, error: Error) -> Error {
        let folder = self.folder.path().display().to_string();
        let rewrite = |text: String| text.replace(&folder, &self.root.to_string());
        error.reworded(rewrite).with_hints(rewrite)
    }
}

/// How many days a range has at most, if files are looked for by its dates.
const LONGEST: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::fs::File;

    use arrow::array::Date32Array;
    use chrono_tz::Tz;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::model::parse_date;
    use crate::storage::lake::partitions::local_object;
    use crate::storage::parquet::object::ParquetObject;

    fn column() -> DateColumn {
        DateColumn {
            name: "d".to_owned(),
            format: None,
            zone: Tz::UTC,
            named_by: NamedBy::Options("--"),
        }
    }

    #[test]
    fn only_row_groups_that_may_hold_the_range_are_decoded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let days: Vec<i32> = (0..365).flat_map(|day| [19_723 + day; 10]).collect();
        let schema = Arc::new(Schema::new(vec![
            Field::new("d", DataType::Date32, true),
            Field::new("id", DataType::Int32, true),
        ]));
        let ids = arrow::array::Int32Array::from_iter_values(0..3650);
        let rows = RecordBatch::try_new(
            schema.clone(),
            vec![Arc::new(Date32Array::from(days)), Arc::new(ids)],
        )
        .expect("rows");
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(10))
            .build();
        let mut writer = ArrowWriter::try_new(
            File::create(&path).expect("a file"),
            schema,
            Some(properties),
        )
        .expect("a writer");
        writer.write(&rows).expect("written");
        writer.close().expect("closed");
        let date = |text: &str| parse_date(text).expect("a date");
        let range = DateRange::new(date("2024-03-01"), date("2024-03-07")).expect("a range");
        let condition: Arc<dyn RowCondition> = Arc::new(InRange {
            column: column(),
            columns: vec!["d".to_owned()],
            data_type: DataType::Date32,
            range,
        });
        let object =
            ParquetObject::open_listed(&local_object(&path).expect("a file")).expect("opened");
        assert_eq!(
            object.groups_where(Some(&condition)).len(),
            7,
            "of 365 row groups"
        );
        let files = [local_object(&path).expect("a file")];
        let format = FormatRule {
            declared: Some(Format::Parquet),
            ..FormatRule::default()
        };
        let root = files[0].location.clone();
        let dated = Dated::new(
            root,
            None,
            format,
            TypeRules::default(),
            column(),
            RowsOf::Copies,
        );
        let found = dated.find(Some(range)).expect("found");
        assert_eq!(found.dates(), range.dates().collect::<Vec<_>>());
    }
}
