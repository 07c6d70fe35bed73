//! Tables whose snapshots are told apart by a column: one file, a folder or a glob, with the date in each row.
//!
//! Everything after this module expects one set of files for each date. So the rows are split once, by the day
//! of their date column, into a private temporary folder: `2024-09-13/000000.arrow`. The column itself is left
//! out, because the date of a snapshot is not an attribute of its rows.
//!
//! **Who reads what.** The input is decoded once, in any order. A chunk of rows is gathered, sorted by day, and
//! written as one file for each day in it. Sorted input therefore gives few files, and unsorted input one for
//! each day and chunk. Rows of one day keep their order. Row groups of Parquet outside the range of dates are
//! skipped by their statistics.
//!
//! **What is held.** One chunk, and a sorted copy of it; on disk, every row of the range once, compressed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Int64Type, SchemaRef, TimeUnit, UInt64Type};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use tempfile::TempDir;

use crate::domain::cast::display;
use crate::domain::layout::Layout;
use crate::domain::schema::type_name;
use crate::error::{Context, Error, Result, shorten};
use crate::model::DateRange;
use crate::source::{self, Format, TypeRules, no_column};
use crate::storage::Batches;
use crate::storage::location::{Location, Object};
use crate::storage::object::{GroupStatistics, RowCondition};

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
}

/// Rows split by date, in a temporary folder that is removed with this value.
#[derive(Debug)]
pub struct Split {
    folder: TempDir,
}

impl Split {
    /// The root of the split rows.
    pub fn root(&self) -> Location {
        Location::local(self.folder.path())
    }

    /// The layout of the split rows.
    ///
    /// # Errors
    /// None in practice: the layout is a constant.
    pub fn layout(&self) -> Result<Layout> {
        Layout::parse(LAYOUT)
    }

    /// An error about the split rows, as one about the input, which is what the user knows.
    pub fn reword(&self, error: Error, input: &str) -> Error {
        let folder = self.folder.path().display().to_string();
        let rewrite = |text: String| text.replace(&folder, input);
        error.reworded(rewrite).with_hints(rewrite)
    }
}

/// Splits the rows of files by the day of a column. `range` limits the dates, and `chunk` the bytes that are gathered.
///
/// # Errors
/// A usage error for a column that is absent; a refusal for nulls, with their count, and for values that are not dates.
pub fn split(
    files: &[Object],
    format: Format,
    rules: &TypeRules,
    column: &DateColumn,
    range: Option<DateRange>,
    chunk: usize,
    place: &str,
) -> Result<Split> {
    let mut rules = rules.clone();
    if column.format.is_some() {
        // `20240913` and `13092024` are text in a format, whatever type they would be without it.
        rules.declared.entry(column.name.clone()).or_insert(DataType::Utf8);
    }
    let rows = source::read(files, format, &rules, None)?;
    let at = rows.schema.index_of(&column.name).map_err(|_| no_column(&column.name, &rows.schema, place))?;
    column.check(rows.schema.field(at).data_type(), place)?;
    let batches = match range {
        Some(range) if format == Format::Parquet => {
            let columns: Vec<String> = rows.schema.fields().iter().map(|field| field.name().clone()).collect();
            let condition = InRange { column: column.clone(), columns: vec![column.name.clone()], range };
            source::read_columns(files, format, &rules, &columns, Some(Arc::new(condition)))?
        }
        _ => rows.batches,
    };
    let kept: Vec<usize> = (0..rows.schema.fields().len()).filter(|other| *other != at).collect();
    let schema = Arc::new(rows.schema.project(&kept).io_context(|| "cannot leave out the date column".into())?);
    let folder = tempfile::tempdir().io_context(|| "cannot make a temporary folder (TMPDIR)".into())?;
    let mut splitter = Splitter { column, range, at, kept, schema, place, folder: folder.path(), chunks: 0, nulls: 0 };
    splitter.run(batches, chunk)?;
    Ok(Split { folder })
}

impl DateColumn {
    /// Refuses types that have no day.
    fn check(&self, data_type: &DataType, place: &str) -> Result<()> {
        match data_type {
            DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8 | DataType::Null => Ok(()),
            other => Err(Error::usage(format!(
                "{place}: column '{}' is {}, and dates are a date, a timestamp or text",
                self.name,
                type_name(other)
            ))
            .hint("--date-format '%Y%m%d', if its digits are a date")),
        }
    }

    /// The day of each value.
    ///
    /// # Errors
    /// A refusal that names the first text that is not a date.
    fn days(&self, values: &ArrayRef, place: &str) -> Result<Date32Array> {
        let failed = || format!("{place}: column '{}'", self.name);
        match values.data_type() {
            DataType::Utf8 => {
                let format = self.format.as_deref().unwrap_or("%Y-%m-%d");
                let days = values.as_string::<i32>().iter().map(|text| match text {
                    None => Ok(None),
                    Some(text) => match NaiveDate::parse_from_str(text.trim(), format) {
                        Ok(date) => Ok(Some(Date32Type::from_naive_date(date))),
                        Err(_) => Err(Error::refused(format!(
                            "{place}: column '{}': '{}' is not a valid date in the format '{format}'",
                            self.name,
                            shorten(text)
                        ))
                        .hint("--date-format '%d/%m/%Y', or the format that the column has")),
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
                    let date = zone.map_or_else(|| instant.date_naive(), |zone| instant.with_timezone(&zone).date_naive());
                    Ok(Some(Date32Type::from_naive_date(date)))
                });
                days.collect()
            }
            _ => Ok(cast(values, &DataType::Date32).io_context(failed)?.as_primitive::<Date32Type>().clone()),
        }
    }
}

/// Rows whose date lies in a range, or is null: nulls are counted and refused.
struct InRange {
    column: DateColumn,
    columns: Vec<String>,
    range: DateRange,
}

impl RowCondition for InRange {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool> {
        let all = vec![true; groups.len()];
        let name = &self.column.name;
        // The order of text is not the order of its dates.
        let is_ordered = groups
            .schema()
            .field_with_name(name)
            .is_ok_and(|field| matches!(field.data_type(), DataType::Date32 | DataType::Timestamp(..)));
        let (Some(mins), Some(maxes), Some(nulls)) = (groups.mins(name), groups.maxes(name), groups.null_counts(name)) else {
            return all;
        };
        let (Ok(mins), Ok(maxes), true) = (self.column.days(&mins, ""), self.column.days(&maxes, ""), is_ordered) else {
            return all;
        };
        let nulls = nulls.as_primitive::<UInt64Type>();
        let (from, to) = (Date32Type::from_naive_date(self.range.from()), Date32Type::from_naive_date(self.range.to()));
        let may = |group: usize| {
            let is_known = mins.is_valid(group) && maxes.is_valid(group) && nulls.is_valid(group);
            !is_known || nulls.value(group) > 0 || (mins.value(group) <= to && maxes.value(group) >= from)
        };
        (0..groups.len()).map(may).collect()
    }

    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let Some(values) = batch.column_by_name(&self.column.name) else { return Ok(BooleanArray::from(vec![true; batch.num_rows()])) };
        let days = self.column.days(values, "the date column")?;
        let (from, to) = (Date32Type::from_naive_date(self.range.from()), Date32Type::from_naive_date(self.range.to()));
        Ok(days.iter().map(|day| Some(day.is_none_or(|day| from <= day && day <= to))).collect())
    }
}

/// Rows on their way into the folders of their dates.
struct Splitter<'a> {
    column: &'a DateColumn,
    range: Option<DateRange>,
    /// The index of the date column.
    at: usize,
    /// The indices of all others.
    kept: Vec<usize>,
    /// The columns without the date.
    schema: SchemaRef,
    place: &'a str,
    folder: &'a Path,
    chunks: usize,
    nulls: u64,
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
        if self.nulls > 0 {
            let rows = if self.nulls == 1 { "row has" } else { "rows have" };
            return Err(Error::refused(format!("{}: {} {rows} a null in the date column '{}'", self.place, self.nulls, self.column.name))
                .hint("correct the source: every row of a snapshot has a date"));
        }
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
            let date = Date32Type::to_naive_date_opt(day)
                .ok_or_else(|| Error::refused(format!("{}: column '{}' has a date out of range", self.place, self.column.name)))?;
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
                writer.write(&part).io_context(doing)?;
            }
            writer.finish().io_context(doing)?;
        }
        self.chunks += 1;
        Ok(())
    }
}

/// The rows of one batch of a split file.
const ROWS: usize = 8192;

#[cfg(test)]
mod tests {
    use arrow::array::{StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray};
    use arrow::datatypes::{Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::model::parse_date;
    use crate::storage::object::ParquetObject;
    use crate::storage::partitions::local_object;

    fn column(format: Option<&str>, zone: Tz) -> DateColumn {
        DateColumn { name: "d".to_owned(), format: format.map(str::to_owned), zone }
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
        let error = column(None, Tz::UTC).days(&wrong, "table t, 'x.csv'").expect_err("there is no such day");
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
        let condition: Arc<dyn RowCondition> = Arc::new(InRange { column: column(None, Tz::UTC), columns: vec!["d".to_owned()], range });
        let object = ParquetObject::open_listed(&local_object(&path).expect("a file")).expect("opened");
        assert_eq!(object.groups_where(Some(&condition)).len(), 7, "of 365 row groups");
        let files = [local_object(&path).expect("a file")];
        let split = split(&files, Format::Parquet, &TypeRules::default(), &column(None, Tz::UTC), Some(range), 1 << 20, "x");
        let root = split.expect("split");
        let found = crate::storage::partitions::find(&root.root(), &root.layout().expect("a layout"), None).expect("found");
        assert_eq!(found.dates(), range.dates().collect::<Vec<_>>());
    }
}
