//! Rows of many dates in the same files, told apart by a column: a table's copies, or events.
//!
//! Everything after this module expects one set of files for each date. So the rows are split by the day of their date
//! column into a private temporary folder: `2024-09-13/000000.arrow`. From there on they are read like any other.
//!
//! | rows | the date column | what tells whether a date has changed |
//! | --- | --- | --- |
//! | copies of a table | is left out: the date of a copy is not an attribute of its rows | their fingerprint, as for every external copy |
//! | events | stays | their fingerprint, since the file that they share changes whenever another date comes |
//!
//! **Who reads what.** The input is decoded once for a range of dates, in any order. A chunk of rows is gathered, sorted by
//! day, and written as one file for each day in it. Sorted input therefore gives few files, and unsorted input one
//! for each day and chunk. Rows of one day keep their order. Row groups of Parquet outside the range are skipped
//! by their statistics. A layout narrows the files that are read.
//!
//! **What is held.** One chunk, and a sorted copy of it; on disk, every row of the range once, compressed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, SchemaRef, TimeUnit, UInt64Type};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::cast::display;
use crate::domain::digest::{RowSum, row_digests};
use crate::domain::layout::Layout;
use crate::domain::schema::type_name;
use crate::domain::staleness::EventsInput;
use crate::domain::text::timestamp;
use crate::error::{Context, Error, Result, shorten, toml_key, word};
use crate::model::{DateRange, MemoryBudget};
use crate::source::{self, Format, FormatRule, LayoutColumns, Rows, TypeRules, files_of, no_column};
use crate::storage::Batches;
use crate::storage::location::{Location, Object};
use crate::storage::object::{GroupStatistics, RowCondition};
use crate::storage::partitions::{self, Found};

/// The layout of the temporary folder. A folder's name without `=` adds no column to its rows.
const LAYOUT: &str = "%Y-%m-%d";

/// The column that tells the date of a row.
#[derive(Clone, Debug)]
pub struct DateColumn {
    /// Its name.
    pub name: String,
    /// The format of its text; by default `YYYY-MM-DD`.
    pub format: Option<String>,
    /// The zone in which the day of an instant lies.
    pub zone: Tz,
    /// Where the column is named, for hints.
    pub named_by: NamedBy,
}

/// Where a date column is named.
#[derive(Clone, Debug)]
pub enum NamedBy {
    /// By options that begin with this, such as `--events-`.
    Options(&'static str),
    /// In this section of asof.toml, such as `events.clicks`.
    Section(String),
}

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
    /// What was split so far. Whoever reads files of a split may still do so when a wider one was made.
    splits: Mutex<Vec<Arc<Split>>>,
}

/// Rows split by date, in a temporary folder that is removed with this value.
#[derive(Debug)]
pub struct Split {
    folder: TempDir,
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
    pub fn new(root: Location, layout: Option<Layout>, format: FormatRule, types: TypeRules, column: DateColumn, rows_of: RowsOf) -> Self {
        let place = format!("'{root}'");
        Dated { root, layout, format, types, column, rows_of, place, chunk: CHUNK, splits: Mutex::default() }
    }

    /// The same, in messages that name a place, and with a share of the memory that may be used.
    #[must_use]
    pub fn within(self, place: String, memory: MemoryBudget) -> Self {
        Dated { place, chunk: memory.share(16).min(CHUNK), ..self }
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
        let mut types =
            TypeRules { layout: LayoutColumns::default(), pinned: None, csv: Arc::default(), csv_is_given: false, ..self.types.clone() };
        types.declared.clear();
        types
    }

    /// The format of split rows.
    pub fn split_format(&self) -> FormatRule {
        FormatRule { declared: Some(Format::Arrow), ..self.format.clone() }
    }

    /// The files of each date in a range, or of all dates.
    ///
    /// # Errors
    /// A usage error for a column that is absent; a refusal for nulls, with their count, and for values that are not dates.
    pub fn find(&self, range: Option<DateRange>) -> Result<Found> {
        let split = self.split(range)?;
        split.find(range)
    }

    /// The rows of a range, split by date. They are split once, unless a wider range is asked for later.
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
        let Some(layout) = &self.layout else { return files_of(&self.root) };
        // A folder of a month has the dates of all of it, and the day of an instant may be the one beside that of its folder. A range that is
        // open at one end has millions of dates.
        let around = range.filter(|range| range.len() < LONGEST).map(|range| layout.around(range.widened(1)));
        let found = partitions::find(&self.root, layout, around)?;
        Ok(found.partitions.into_values().flatten().collect())
    }

    fn split_files(&self, files: &[Object], range: Option<DateRange>) -> Result<Split> {
        let (column, place) = (&self.column, self.place.as_str());
        sweep_temporary();
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir();
        let folder = folder.io_context(|| "cannot make a temporary folder (TMPDIR)".into())?;
        let (column_of, root) = (column.clone(), self.root.clone());
        let empty = Split { folder, range, sums: BTreeMap::new(), columns: String::new(), column: column_of, root };
        if files.is_empty() {
            return Ok(empty);
        }
        let Opened { rows, at, rules, format } = self.open(files)?;
        let batches = match range {
            Some(range) if format == Format::Parquet => {
                source::read_columns(files, format, &rules, &names(&rows.schema), Some(self.in_range(range, &rows.schema)))?
            }
            _ => rows.batches,
        };
        let is_kept = |other: &usize| *other != at || self.rows_of == RowsOf::Events;
        let kept: Vec<usize> = (0..rows.schema.fields().len()).filter(is_kept).collect();
        let schema = Arc::new(rows.schema.project(&kept).io_context(|| "cannot leave out the date column".into())?);
        let sums = (self.rows_of == RowsOf::Events).then(BTreeMap::new);
        let mut splitter = Splitter { column, range, at, kept, schema, place, folder: empty.folder.path(), chunks: 0, nulls: 0, sums };
        splitter.run(batches, self.chunk)?;
        let columns = splitter.schema.fields().iter().map(|field| format!("{} {}\n", field.name(), field.data_type())).collect();
        let sums = splitter.sums.unwrap_or_default();
        Ok(Split { sums, columns, ..empty })
    }

    /// Opens files, and finds their date column.
    fn open(&self, files: &[Object]) -> Result<Opened> {
        let (column, place) = (&self.column, self.place.as_str());
        let format = self.format.of(files)?;
        let mut rules = self.types.clone();
        if column.format.is_some() && !format.carries_types() {
            // `20240913` and `13092024` are text in a format, whatever type they would be without it.
            rules.declared.entry(column.name.clone()).or_insert(DataType::Utf8);
        }
        let rows = source::read(files, format, &rules, None)?;
        let at = rows.schema.index_of(&column.name).map_err(|_| no_column(&column.name, &rows.schema, place))?;
        column.check(rows.schema.field(at).data_type(), place)?;
        Ok(Opened { rows, at, rules, format })
    }

    /// A condition that leaves out rows of files that are outside the range. What it lets through is still to be filtered.
    fn in_range(&self, range: DateRange, schema: &Schema) -> Arc<dyn RowCondition> {
        let data_type = schema.field_with_name(&self.column.name).map_or(DataType::Null, |field| field.data_type().clone());
        Arc::new(InRange { column: self.column.clone(), columns: vec![self.column.name.clone()], range, data_type })
    }

    /// Reads the date column alone, to know which dates there are.
    ///
    /// # Errors
    /// As [`Dated::find`].
    pub fn survey(&self, range: Option<DateRange>) -> Result<Survey> {
        let mut survey = Survey { files: self.files(range)?, range, dates: BTreeMap::new() };
        if survey.files.is_empty() {
            return Ok(survey);
        }
        let Opened { rows, rules, format, .. } = self.open(&survey.files)?;
        let condition = range.map(|range| self.in_range(range, &rows.schema));
        let (mut nulls, mut days): (u64, BTreeMap<i32, u64>) = (0, BTreeMap::new());
        for batch in source::read_columns(&survey.files, format, &rules, std::slice::from_ref(&self.column.name), condition)? {
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

    /// The rows of a survey in their order. Batches end with a column of dates that is not in the schema.
    ///
    /// # Errors
    /// As [`Dated::find`].
    pub fn rows(&self, survey: &Survey) -> Result<Rows> {
        let Opened { rows, at, rules, format } = self.open(&survey.files)?;
        let batches = match survey.range {
            Some(range) => {
                let condition = self.in_range(range, &rows.schema);
                source::read_columns(&survey.files, format, &rules, &names(&rows.schema), Some(condition))?
            }
            None => rows.batches,
        };
        let range = survey.range;
        let (column, place, schema) = (self.column.clone(), self.place.clone(), rows.schema.clone());
        let mut fields = schema.fields().to_vec();
        // No column of theirs has this name.
        fields.push(Arc::new(Field::new("\u{1}date", DataType::Date32, false)));
        let with_dates: SchemaRef = Arc::new(Schema::new(fields));
        let add = move |batch: Result<RecordBatch>| {
            let batch = batch?;
            let days = column.days(batch.column(at), &place)?;
            column.refuse_nulls(days.null_count() as u64, &place)?;
            let mask = range.map(|range| within_range(&days, range));
            let columns = batch.columns().iter().cloned().chain([Arc::new(days) as ArrayRef]).collect();
            let rows = RecordBatch::try_new(with_dates.clone(), columns).io_context(|| "cannot add the dates of rows".into())?;
            match mask {
                Some(mask) => filter_record_batch(&rows, &mask).io_context(|| "cannot select rows".into()),
                None => Ok(rows),
            }
        };
        Ok(Rows { schema, batches: Box::new(batches.map(add)) })
    }

    /// An error about split rows, as one about the input, which is what the user knows.
    pub fn reword(&self, error: Error) -> Error {
        let splits = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        splits.iter().fold(error, |error, split| split.reword(error))
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

/// Files whose date column was found.
struct Opened {
    rows: Rows,
    /// The index of the date column.
    at: usize,
    /// The rules by which the rows are read.
    rules: TypeRules,
    format: Format,
}

fn names(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

impl Split {
    /// The files of each date in a range, or of all dates.
    ///
    /// # Errors
    /// A failure to list the temporary folder.
    pub fn find(&self, range: Option<DateRange>) -> Result<Found> {
        partitions::find(&Location::local(self.folder.path()), &Dated::split_layout()?, range)
    }

    /// What the rows of a date are, whichever files they came from. Only of events.
    pub fn identity(&self, date: NaiveDate) -> Option<EventsInput> {
        let sum = self.sums.get(&date)?;
        // A column without values adds nothing to the sum.
        let content = format!("{}\n{}", sum.fingerprint(), self.columns);
        let etag = format!("{:032x}", xxh3_128(content.as_bytes()));
        Some(EventsInput { path: format!("{}={date}", self.column.name), size: sum.rows(), etag })
    }

    /// An error about the split rows, as one about the input, which is what the user knows.
    pub fn reword(&self, error: Error) -> Error {
        let folder = self.folder.path().display().to_string();
        let rewrite = |text: String| text.replace(&folder, &self.root.to_string());
        error.reworded(rewrite).with_hints(rewrite)
    }
}

impl NamedBy {
    /// What to write for a setting of the column, such as `date-format`.
    fn setting(&self, name: &str, value: &str) -> String {
        match self {
            NamedBy::Options(prefix) => format!("{prefix}{name} {}", word(value)),
            NamedBy::Section(section) => format!("[{section}] {} = \"{value}\" in asof.toml", name.replace('-', "_")),
        }
    }
}

impl DateColumn {
    /// All that says which rows are of which date.
    pub fn in_json(&self) -> serde_json::Value {
        serde_json::json!([self.name, self.format, self.zone.name()])
    }

    /// Refuses types that have no day, and a format that gives none.
    fn check(&self, data_type: &DataType, place: &str) -> Result<()> {
        let name = &self.name;
        if let Some(format) = self.format.as_ref().filter(|_| !matches!(data_type, DataType::Date32 | DataType::Timestamp(..))) {
            let day = NaiveDate::default();
            // What a wrong format writes, or panics at, is no date.
            let is_known = StrftimeItems::new(format).all(|item| item != Item::Error);
            let written = is_known.then(|| day.and_time(NaiveTime::MIN).format(format).to_string());
            if written.and_then(|text| NaiveDate::parse_from_str(&text, format).ok()) != Some(day) {
                let what = format!("{place}: the format '{format}' of column '{name}' does not have a year, a month and a day");
                return Err(Error::usage(what).hint(self.named_by.setting("date-format", "%d/%m/%Y")));
            }
        }
        let what = type_name(data_type);
        match (data_type, &self.format) {
            (DataType::Date32 | DataType::Timestamp(..), Some(_)) => {
                let what = format!("{place}: column '{name}' is {what}, and a date format is one of text");
                Err(Error::usage(what).hint("leave out the date format"))
            }
            (DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8 | DataType::Null, _) => Ok(()),
            (integers, Some(_)) if integers.is_integer() => Ok(()),
            (other, _) => {
                let error = Error::usage(format!("{place}: column '{name}' is {what}, and dates are a date, a timestamp or text"));
                let digits = self.named_by.setting("date-format", "%Y%m%d");
                Err(match other {
                    integers if integers.is_integer() => error.hint(format!("{digits}, if its digits are a date")),
                    numbers if numbers.is_numeric() => {
                        let integers = format!("types = {{ {} = \"int64\" }} in asof.toml", toml_key(name));
                        error.hint(format!("{integers}, and {digits}, if its digits are a date"))
                    }
                    _ => error.hint("write a date, a timestamp or text in the source"),
                })
            }
        }
    }

    fn refuse_nulls(&self, nulls: u64, place: &str) -> Result<()> {
        if nulls == 0 {
            return Ok(());
        }
        let rows = if nulls == 1 { "row has" } else { "rows have" };
        Err(Error::refused(format!("{place}: {nulls} {rows} a null in the date column '{}'", self.name))
            .hint("correct the source: every row has a date"))
    }

    fn date(&self, day: i32, place: &str) -> Result<NaiveDate> {
        let date = Date32Type::to_naive_date_opt(day).filter(|date| (1..=9999).contains(&date.year()));
        date.ok_or_else(|| {
            Error::refused(format!("{place}: column '{}' has a date outside of the years 0001 to 9999", self.name))
                .hint("correct the source, or the time zone in which the day of an instant lies")
        })
    }

    fn not_a_date(&self, text: &str, format: &str, place: &str) -> Error {
        let text = shorten(text);
        let what = format!("{place}: column '{}': '{text}' is not a valid date in the format '{format}'", self.name);
        Error::refused(what).hint(match self.format {
            Some(_) => "correct the value, or the date format".to_owned(),
            None if timestamp(&text, TimeUnit::Microsecond, false).is_some() || timestamp(&text, TimeUnit::Microsecond, true).is_some() => {
                format!("types = {{ {} = \"timestamp\" }} in asof.toml", toml_key(&self.name))
            }
            None => format!("{}, or the format that the column has", self.named_by.setting("date-format", "%d/%m/%Y")),
        })
    }

    /// The day of each value.
    ///
    /// # Errors
    /// A refusal that names the first text that is not a date.
    fn days(&self, values: &ArrayRef, place: &str) -> Result<Date32Array> {
        let failed = || format!("{place}: column '{}'", self.name);
        match values.data_type() {
            integers if integers.is_integer() => self.days(&cast(values, &DataType::Utf8).io_context(failed)?, place),
            DataType::Utf8 => {
                let format = self.format.as_deref().unwrap_or("%Y-%m-%d");
                let days = values.as_string::<i32>().iter().map(|text| match text {
                    None => Ok(None),
                    Some(text) => match NaiveDate::parse_from_str(text.trim(), format) {
                        Ok(date) => Ok(Some(Date32Type::from_naive_date(date))),
                        Err(_) => Err(self.not_a_date(text, format, place)),
                    },
                });
                days.collect()
            }
            DataType::Timestamp(unit, zone) => {
                let per_second = match unit {
                    TimeUnit::Second => 1,
                    TimeUnit::Millisecond => 1_000,
                    TimeUnit::Microsecond => 1_000_000,
                    TimeUnit::Nanosecond => 1_000_000_000,
                };
                let instants = cast(values, &DataType::Int64).io_context(failed)?;
                let instants = instants.as_primitive::<Int64Type>();
                let zone = zone.is_some().then_some(self.zone);
                let days = (0..instants.len()).map(|row| {
                    if instants.is_null(row) {
                        return Ok(None);
                    }
                    let instant = DateTime::<Utc>::from_timestamp(instants.value(row).div_euclid(per_second), 0)
                        .ok_or_else(|| Error::refused(format!("{}: '{}' has no day", failed(), display(values, row))))?;
                    let local = match zone {
                        None => Some(instant.naive_utc()),
                        Some(zone) => {
                            let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
                            instant.naive_utc().checked_add_offset(offset)
                        }
                    };
                    let no_day = || Error::refused(format!("{}: '{}' has no day", failed(), display(values, row)));
                    let date = local.ok_or_else(no_day)?.date();
                    Ok(Some(Date32Type::from_naive_date(date)))
                });
                days.collect()
            }
            _ => Ok(cast(values, &DataType::Date32).io_context(failed)?.as_primitive::<Date32Type>().clone()),
        }
    }
}

/// Rows whose date lies in a range, or is null: nulls are counted and refused.
///
/// It knows the days of values as a file has them, and lets through the rows of a file in which they have another type.
struct InRange {
    column: DateColumn,
    columns: Vec<String>,
    range: DateRange,
    /// The type of the column over all files.
    data_type: DataType,
}

impl InRange {
    /// Whether values of a type are those that are read, and come in the order of their days.
    fn is_told_by(&self, data_type: &DataType) -> bool {
        match (data_type, &self.data_type) {
            (DataType::Date32, DataType::Date32) => true,
            (DataType::Timestamp(_, one), DataType::Timestamp(_, other)) => one.is_some() == other.is_some(),
            _ => false,
        }
    }
}

/// Which days lie in a range, or are null.
fn within_range(days: &Date32Array, range: DateRange) -> BooleanArray {
    let (from, to) = (Date32Type::from_naive_date(range.from()), Date32Type::from_naive_date(range.to()));
    days.iter().map(|day| Some(day.is_none_or(|day| from <= day && day <= to))).collect()
}

impl RowCondition for InRange {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool> {
        let all = vec![true; groups.len()];
        let name = &self.column.name;
        let is_ordered = groups.schema().field_with_name(name).is_ok_and(|field| self.is_told_by(field.data_type()));
        let (Some(mins), Some(maxes), Some(nulls)) = (groups.mins(name), groups.maxes(name), groups.null_counts(name)) else {
            return all;
        };
        let (Ok(mins), Ok(maxes), true) = (self.column.days(&mins, ""), self.column.days(&maxes, ""), is_ordered) else {
            return all;
        };
        let nulls = nulls.as_primitive::<UInt64Type>();
        let (from, to) = (Date32Type::from_naive_date(self.range.from()), Date32Type::from_naive_date(self.range.to()));
        // A clock that is set back soon after midnight shows the day before once more.
        let slack = i32::from(self.column.zone != Tz::UTC);
        let may = |group: usize| {
            let is_known = mins.is_valid(group) && maxes.is_valid(group) && nulls.is_valid(group);
            !is_known || nulls.value(group) > 0 || (mins.value(group) - slack <= to && maxes.value(group) + slack >= from)
        };
        (0..groups.len()).map(may).collect()
    }

    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let all = || BooleanArray::from(vec![true; batch.num_rows()]);
        let Some(values) = batch.column_by_name(&self.column.name).filter(|values| self.is_told_by(values.data_type())) else {
            return Ok(all());
        };
        // A value without a day is refused where it can be named.
        Ok(self.column.days(values, "").map_or_else(|_| all(), |days| within_range(&days, self.range)))
    }
}

/// Rows on their way into the folders of their dates.
struct Splitter<'a> {
    column: &'a DateColumn,
    range: Option<DateRange>,
    /// The index of the date column.
    at: usize,
    /// The indices of the columns that stay.
    kept: Vec<usize>,
    /// Those columns.
    schema: SchemaRef,
    place: &'a str,
    folder: &'a Path,
    chunks: usize,
    nulls: u64,
    /// The rows of each date, if they are wanted.
    sums: Option<BTreeMap<NaiveDate, RowSum>>,
}

impl Splitter<'_> {
    fn run(&mut self, batches: Batches, chunk: usize) -> Result<()> {
        let (mut held, mut days, mut bytes): (Vec<RecordBatch>, Vec<i32>, usize) = (Vec::new(), Vec::new(), 0);
        for batch in batches {
            let batch = batch?;
            let of_batch = self.column.days(batch.column(self.at), self.place)?;
            self.nulls += of_batch.null_count() as u64;
            if self.nulls > 0 {
                // Nothing will come of it: only the nulls are still counted.
                held.clear();
                continue;
            }
            days.extend(of_batch.values().iter());
            bytes += batch.get_array_memory_size();
            held.push(batch.project(&self.kept).io_context(|| "cannot leave out the date column".into())?);
            if bytes >= chunk {
                self.write(&held, &days)?;
                held.clear();
                days.clear();
                bytes = 0;
            }
        }
        self.column.refuse_nulls(self.nulls, self.place)?;
        if held.is_empty() { Ok(()) } else { self.write(&held, &days) }
    }

    /// Writes a chunk as one file for each of its days.
    fn write(&mut self, held: &[RecordBatch], days: &[i32]) -> Result<()> {
        let doing = || "cannot split rows by date in the temporary folder (TMPDIR)".to_owned();
        let rows = concat_batches(&self.schema, held).io_context(doing)?;
        let mut order: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for (row, day) in (0..).zip(days) {
            order.entry(*day).or_default().push(row);
        }
        for (day, of_day) in order {
            let date = self.column.date(day, self.place)?;
            if self.range.is_some_and(|range| !range.contains(date)) {
                continue;
            }
            let folder = self.folder.join(date.format(LAYOUT).to_string());
            std::fs::create_dir_all(&folder).io_context(doing)?;
            let file = File::create(folder.join(format!("{:06}.arrow", self.chunks))).io_context(doing)?;
            let options =
                IpcWriteOptions::default().try_with_compression(Some(arrow::ipc::CompressionType::LZ4_FRAME)).io_context(doing)?;
            let mut writer = FileWriter::try_new_with_options(BufWriter::new(file), &self.schema, options).io_context(doing)?;
            for part in of_day.chunks(ROWS) {
                let part = take_record_batch(&rows, &UInt32Array::from(part.to_vec())).io_context(doing)?;
                if let Some(sums) = &mut self.sums {
                    let columns = self.schema.fields().iter().map(|field| field.name().as_str());
                    sums.entry(date).or_default().add(&row_digests(&part, columns)?);
                }
                writer.write(&part).io_context(doing)?;
            }
            writer.finish().io_context(doing)?;
        }
        self.chunks += 1;
        Ok(())
    }
}

/// Removes what killed processes left more than a day ago. Nothing is said of a failure.
fn sweep_temporary() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > DAY) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// How the names of temporary folders begin.
const PREFIX: &str = "asof-dates-";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The rows of one batch of a split file.
const ROWS: usize = 8192;
/// How many days a range has at most, if files are looked for by its dates.
const LONGEST: usize = 100_000;
/// How many bytes are gathered at most.
const CHUNK: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use arrow::array::{StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::model::parse_date;
    use crate::storage::object::ParquetObject;
    use crate::storage::partitions::local_object;

    fn column(format: Option<&str>, zone: Tz) -> DateColumn {
        DateColumn { name: "d".to_owned(), format: format.map(str::to_owned), zone, named_by: NamedBy::Options("--") }
    }

    #[test]
    fn the_day_of_a_value_is_the_one_that_is_written_or_the_one_in_the_zone() {
        let zoned = |seconds: i64| Arc::new(TimestampSecondArray::from(vec![seconds]).with_timezone("UTC")) as ArrayRef;
        let cases: [(ArrayRef, Option<&str>, Tz, &str); 8] = [
            (Arc::new(Date32Array::from(vec![-1])), None, Tz::UTC, "1969-12-31"),
            (Arc::new(TimestampMicrosecondArray::from(vec![-1])), None, Tz::UTC, "1969-12-31"),
            (Arc::new(TimestampNanosecondArray::from(vec![86_400_000_000_000])), None, Tz::Europe__Berlin, "1970-01-02"),
            (zoned(86_399), None, Tz::UTC, "1970-01-01"),
            (zoned(86_399), None, Tz::Europe__Berlin, "1970-01-02"),
            (zoned(3_600), None, Tz::America__New_York, "1969-12-31"),
            (Arc::new(StringArray::from(vec!["2024-09-13"])), None, Tz::UTC, "2024-09-13"),
            (Arc::new(StringArray::from(vec!["13/09/2024"])), Some("%d/%m/%Y"), Tz::UTC, "2024-09-13"),
        ];
        for (values, format, zone, expected) in cases {
            let days = column(format, zone).days(&values, "x").expect("a day");
            assert_eq!(days.value_as_date(0).map(|day| day.to_string()).as_deref(), Some(expected), "{values:?}, {zone}");
        }
        let wrong: ArrayRef = Arc::new(StringArray::from(vec!["2024-02-30"]));
        let error = column(None, Tz::UTC).days(&wrong, "table t, 'x.csv'").expect_err("February has 29 days");
        assert_eq!(error.to_string(), "table t, 'x.csv': column 'd': '2024-02-30' is not a valid date in the format '%Y-%m-%d'");
    }

    #[test]
    fn only_row_groups_that_may_hold_the_range_are_decoded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let days: Vec<i32> = (0..365).flat_map(|day| [19_723 + day; 10]).collect();
        let schema = Arc::new(Schema::new(vec![Field::new("d", DataType::Date32, true), Field::new("id", DataType::Int32, true)]));
        let ids = arrow::array::Int32Array::from_iter_values(0..3650);
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Date32Array::from(days)), Arc::new(ids)]).expect("rows");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
        let mut writer = ArrowWriter::try_new(File::create(&path).expect("a file"), schema, Some(properties)).expect("a writer");
        writer.write(&rows).expect("written");
        writer.close().expect("closed");
        let date = |text: &str| parse_date(text).expect("a date");
        let range = DateRange::new(date("2024-03-01"), date("2024-03-07")).expect("a range");
        let condition: Arc<dyn RowCondition> =
            Arc::new(InRange { column: column(None, Tz::UTC), columns: vec!["d".to_owned()], data_type: DataType::Date32, range });
        let object = ParquetObject::open_listed(&local_object(&path).expect("a file")).expect("opened");
        assert_eq!(object.groups_where(Some(&condition)).len(), 7, "of 365 row groups");
        let files = [local_object(&path).expect("a file")];
        let format = FormatRule { declared: Some(Format::Parquet), ..FormatRule::default() };
        let root = files[0].location.clone();
        let dated = Dated::new(root, None, format, TypeRules::default(), column(None, Tz::UTC), RowsOf::Copies);
        let found = dated.find(Some(range)).expect("found");
        assert_eq!(found.dates(), range.dates().collect::<Vec<_>>());
    }
}
