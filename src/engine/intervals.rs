//! A table's intervals, opened: what they were made from, and their rows as of a date.

mod rows;

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;

pub use self::rows::IntervalBatch;
pub(super) use self::rows::split;
use self::rows::{OnDate, split_all};
use crate::domain::cast::cast_exactly;
use crate::domain::compared_columns::Comparison;
use crate::domain::days::to_days;
use crate::domain::digest::Fingerprint;
use crate::domain::interval::{Convention, Interval};
use crate::domain::schema::{columns_by_name, unify};
use crate::engine::selection::Selection;
use crate::error::{Context, Error, Result};
use crate::parallel::{OrderedPool, Task};
use crate::storage::Batches;
use crate::storage::lake::aside::AsideCopy;
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::{ColumnWire, Content, IntervalsFooter, ObservedWire};
pub use crate::storage::parquet::footer::{read_schema, write_schema};
use crate::storage::parquet::object::{ParquetObject, RowCondition};

/// An intervals object whose footer has been read.
pub struct Intervals {
    object: Arc<ParquetObject>,
    /// What its footer says.
    pub footer: IntervalsFooter,
    /// How its ends are written.
    pub convention: Convention,
    /// The dates whose snapshots were dropped after the intervals were made from them. If there is
    /// a snapshot of such a date, it was taken again since.
    pub dropped: BTreeSet<NaiveDate>,
    /// The schemas of the footer, once somebody had to know.
    schemas: Vec<OnceLock<SchemaRef>>,
}

impl Intervals {
    /// Opens an object, or says that there is none.
    ///
    /// # Errors
    /// A refusal if it is damaged or is not what asof compact wrote.
    pub fn open(path: &Location) -> Result<Option<Self>> {
        if !path.exists()? {
            return Ok(None);
        }
        Intervals::open_existing(path).map(Some)
    }

    /// Opens an object that is there.
    ///
    /// # Errors
    /// As [`Intervals::open`].
    pub fn open_existing(path: &Location) -> Result<Self> {
        let object = ParquetObject::open(path)?;
        let Some(Content::Intervals(footer)) = object.footer()?.map(|footer| footer.content) else {
            return Err(Error::refused(format!(
                "'{path}' was not written by asof compact"
            )));
        };
        let convention = footer.convention.read();
        for column in [&convention.start_column, &convention.end_column] {
            let data_type = object
                .schema()
                .field_with_name(column)
                .map(|field| field.data_type().clone());
            if data_type.ok() != Some(DataType::Date32) {
                return Err(Error::refused(format!(
                    "'{path}' has no date column '{column}', which its footer names"
                )));
            }
        }
        let schemas = vec![OnceLock::new(); footer.schemas.len()];
        Ok(Intervals {
            object: Arc::new(object),
            footer,
            convention,
            dropped: BTreeSet::new(),
            schemas,
        })
    }

    /// Notes which of the snapshots that they were made from somebody dropped since.
    pub fn mark_dropped(&mut self, copies: &[AsideCopy]) {
        let is_dropped = |observed: &&ObservedWire| {
            let mut of_date = copies.iter().filter(|copy| copy.date == observed.date);
            of_date.any(|copy| copy.may_be(|content| observed.is(content)))
        };
        let dropped = self.footer.observed.iter().filter(is_dropped);
        self.dropped = dropped.map(|observed| observed.date).collect();
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        self.object.location()
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.object.size()
    }

    /// Its size in rows.
    pub fn rows(&self) -> u64 {
        self.object.rows()
    }

    /// The dates of the snapshots it was made from, ascending.
    pub fn observed(&self) -> Vec<NaiveDate> {
        self.footer
            .observed
            .iter()
            .map(|observed| observed.date)
            .collect()
    }

    /// The dates that they can serve: those of the snapshots that nobody dropped, ascending.
    pub fn served(&self) -> Vec<NaiveDate> {
        let mut observed = self.observed();
        observed.retain(|date| !self.dropped.contains(date));
        observed
    }

    /// The same intervals, which serve some dates and no others, as if the other snapshots had been
    /// dropped.
    #[must_use]
    pub fn serving_only(mut self, dates: &[NaiveDate]) -> Self {
        self.dropped = self.observed().into_iter().collect();
        self.dropped.retain(|date| !dates.contains(date));
        self
    }

    /// The content of the snapshot of a date, in the types that it was read with.
    pub fn fingerprint(&self, date: NaiveDate) -> Option<Fingerprint> {
        self.snapshot(date).map(|observed| observed.fingerprint)
    }

    /// The columns that snapshots before one of the observed ones had with values and that it
    /// lacks, in the types that they had last.
    ///
    /// # Errors
    /// A refusal if the footer names a type that is unknown.
    pub fn absent_on(&self, observed: usize) -> Result<Vec<ColumnWire>> {
        let own = self.schema_of(observed)?;
        let mut absent: Vec<Field> = Vec::new();
        let own = own.fields().iter();
        let mut names: HashSet<String> = own.map(|field| field.name().clone()).collect();
        let mut known = BTreeSet::new();
        for (index, before) in self.footer.observed.iter().enumerate().take(observed).rev() {
            if !known.insert(before.schema) {
                continue;
            }
            for field in self
                .schema_of(index)?
                .fields()
                .iter()
                .filter(|field| field.data_type() != &DataType::Null)
            {
                if names.insert(field.name().clone()) {
                    absent.push(field.as_ref().clone());
                }
            }
        }
        Ok(write_schema(&Schema::new(absent)))
    }

    /// What is recorded of the snapshot of a date.
    pub fn snapshot(&self, date: NaiveDate) -> Option<&ObservedWire> {
        self.footer
            .observed
            .iter()
            .find(|observed| observed.date == date)
    }

    /// Whether they hold every value of every snapshot: all rows and columns are selected, and no
    /// column was left out of the comparison. The values of one that was are those of each
    /// interval's first day.
    pub fn compares_all(&self) -> bool {
        self.comparison().covers_all() && self.is_whole()
    }

    /// The rows and columns that they are of.
    pub fn selection(&self) -> Selection {
        Selection {
            condition: self.footer.condition.clone(),
            select: self.footer.select.clone(),
        }
    }

    /// Whether they are of all rows and columns. Otherwise they do not tell how the table was on a
    /// date.
    pub fn is_whole(&self) -> bool {
        self.footer.condition.is_none() && self.footer.select.is_empty()
    }

    /// Every column of the snapshots they were made from, in the first of its types.
    ///
    /// # Errors
    /// A refusal if the footer names a type that is unknown.
    pub fn every_column(&self) -> Result<SchemaRef> {
        let mut every: Vec<Arc<Field>> = Vec::new();
        for columns in &self.footer.schemas {
            for field in read_schema(columns)?.fields() {
                if !every.iter().any(|known| known.name() == field.name()) {
                    every.push(field.clone());
                }
            }
        }
        Ok(Arc::new(Schema::new(every)))
    }

    /// The columns that were compared.
    pub fn comparison(&self) -> Comparison {
        let footer = &self.footer;
        Comparison {
            key: footer.key.clone(),
            ignore: footer.ignore.clone(),
            track: footer.track.clone(),
        }
    }

    /// The table's columns, without the interval's two.
    pub fn table_schema(&self) -> SchemaRef {
        let fields = self
            .object
            .schema()
            .fields()
            .iter()
            .filter(|field| !self.is_own_column(field.name()))
            .cloned();
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn is_own_column(&self, name: &str) -> bool {
        name == self.convention.start_column || name == self.convention.end_column
    }

    /// The object itself, whose rows are in order of key and start.
    pub fn object(&self) -> &Arc<ParquetObject> {
        &self.object
    }

    /// A range of rows with their intervals. `columns` are the table's to be read.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read_rows(
        &self,
        columns: Option<&[String]>,
        rows: &Range<u64>,
    ) -> Result<impl Iterator<Item = Result<IntervalBatch>> + Send + use<>> {
        let wanted = self.with_own_columns(columns);
        let batches = self.object.read_rows(wanted.as_deref(), rows)?;
        Ok(self.split(batches))
    }

    /// Every row with its interval, in order of key and start. `columns` are the table's to be
    /// read.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read(
        &self,
        columns: Option<&[String]>,
    ) -> Result<impl Iterator<Item = Result<IntervalBatch>> + Send + use<>> {
        self.read_where(columns, None)
    }

    /// The same, of the rows for which a condition over the table's columns holds.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read_where(
        &self,
        columns: Option<&[String]>,
        condition: Option<Arc<dyn RowCondition>>,
    ) -> Result<impl Iterator<Item = Result<IntervalBatch>> + Send + use<>> {
        let wanted = self.with_own_columns(columns);
        let batches = self.object.read_where(wanted.as_deref(), condition)?;
        Ok(self.split(batches))
    }

    /// The same, by a number of threads, each of which reads a row group; as many row groups and
    /// one more are held.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read_where_by(
        &self,
        threads: usize,
        columns: Option<&[String]>,
        condition: Option<Arc<dyn RowCondition>>,
    ) -> Result<Box<dyn Iterator<Item = Result<IntervalBatch>> + Send>> {
        if threads < 2 {
            return Ok(Box::new(self.read_where(columns, condition)?));
        }
        let wanted = self.with_own_columns(columns);
        let groups = self.object.groups_where(condition.as_ref());
        let object = Arc::new(self.object.held(condition.is_some())?);
        let task = |group: usize| -> Task<Vec<IntervalBatch>> {
            let object = object.clone();
            let condition = condition.clone();
            let wanted = wanted.clone();
            let convention = self.convention.clone();
            let path = self.location().to_string();
            Box::new(move || {
                let batches =
                    object.read_groups_where(wanted.as_deref(), condition, vec![group])?;
                split_all(batches, convention, path).collect()
            })
        };
        let tasks: Vec<_> = groups.into_iter().map(task).collect();
        let groups = OrderedPool::new(threads.min(tasks.len()), threads + 1, tasks)?;
        Ok(Box::new(groups.flat_map(|group| match group {
            Ok(batches) => batches.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })))
    }

    /// Columns of the table with the interval's two.
    fn with_own_columns(&self, columns: Option<&[String]>) -> Option<Vec<String>> {
        let own = [&self.convention.start_column, &self.convention.end_column];
        columns.map(|columns| columns.iter().chain(own).cloned().collect())
    }

    fn split(
        &self,
        batches: Batches,
    ) -> impl Iterator<Item = Result<IntervalBatch>> + Send + use<> {
        split_all(
            batches,
            self.convention.clone(),
            self.location().to_string(),
        )
    }

    /// How many of them are open.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn count_open(&self) -> Result<u64> {
        let open = |batch: IntervalBatch| {
            batch
                .intervals
                .iter()
                .filter(|interval| interval.end.is_none())
                .count() as u64
        };
        self.read(Some(&[]))?.map(|batch| batch.map(open)).sum()
    }

    /// The rows that hold on a date, without the interval's columns, in order of the key.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn as_of(&self, date: NaiveDate, columns: Option<&[String]>) -> Result<Batches> {
        self.as_of_where(date, columns, None)
    }

    /// The same, of those for which a condition over the table's columns holds.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn as_of_where(
        &self,
        date: NaiveDate,
        columns: Option<&[String]>,
        condition: Option<Arc<dyn RowCondition>>,
    ) -> Result<Batches> {
        let convention = self.convention.clone();
        let on_the_date = condition.map(|condition| -> Arc<dyn RowCondition> {
            Arc::new(OnDate::new(condition, convention, date))
        });
        Ok(Box::new(self.read_where(columns, on_the_date)?.map(
            move |batch| {
                let batch = batch?;
                let holds: BooleanArray = batch
                    .intervals
                    .iter()
                    .map(|interval| Some(interval.holds(date)))
                    .collect();
                filter_record_batch(&batch.rows, &holds).io_context(|| "cannot select rows".into())
            },
        )))
    }

    /// The columns that were known when the snapshot at an index was the last one, with the
    /// interval's two.
    ///
    /// # Errors
    /// A refusal if the footer names a type that is unknown.
    pub fn known_schema(&self, last: usize) -> Result<SchemaRef> {
        let selection = self.selection();
        let mut table: SchemaRef = Arc::new(Schema::empty());
        let mut known = BTreeSet::new();
        for (index, observed) in self.footer.observed.iter().enumerate().take(last + 1) {
            if known.insert(observed.schema) {
                let schema = selection.kept(&self.schema_of(index)?);
                table = unify(&table, &schema)
                    .map_err(|clash| clash.refusal(&self.footer.table, observed.date))?
                    .0;
            }
        }
        let own = [&self.convention.start_column, &self.convention.end_column]
            .map(|name| Field::new(name, DataType::Date32, true));
        Ok(Arc::new(Schema::new(
            table
                .fields()
                .iter()
                .cloned()
                .chain(own.map(Arc::new))
                .collect::<Vec<_>>(),
        )))
    }

    /// The rows as they were known when the snapshot at an index was the last one: those that start
    /// up to its date. What held on its date is open, whatever ended it later. `columns` are those
    /// of [`Intervals::known_schema`].
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn known_on(&self, last: usize, columns: &[String]) -> Result<Batches> {
        let schema = self.known_schema(last)?;
        let names: HashSet<&String> = columns.iter().collect();
        let wanted = schema
            .fields()
            .iter()
            .filter(|field| names.contains(field.name()))
            .cloned();
        let wanted = Arc::new(Schema::new(wanted.collect::<Vec<_>>()));
        let of_table: Vec<String> = columns
            .iter()
            .filter(|name| !self.is_own_column(name))
            .cloned()
            .collect();
        let date = self
            .footer
            .observed
            .get(last)
            .map(|observed| observed.date)
            .unwrap_or_default();
        let convention = self.convention.clone();
        Ok(Box::new(self.read(Some(&of_table))?.map(move |batch| {
            let IntervalBatch { rows, intervals } = batch?;
            let known: BooleanArray = intervals
                .iter()
                .map(|interval| Some(interval.start <= date))
                .collect();
            let rows =
                filter_record_batch(&rows, &known).io_context(|| "cannot select rows".into())?;
            let known = || intervals.iter().filter(|interval| interval.start <= date);
            let starts: Date32Array = known()
                .map(|interval| Some(to_days(interval.start)))
                .collect();
            let end = |interval: &Interval| {
                convention
                    .encode(interval.end.filter(|end| *end < date))
                    .map(to_days)
            };
            let ends: Date32Array = known().map(end).collect();
            let (starts, ends): (ArrayRef, ArrayRef) = (Arc::new(starts), Arc::new(ends));
            let own = columns_by_name(&rows);
            let columns = wanted.fields().iter().map(|field| {
                let name = field.name();
                match own.get(name.as_str()) {
                    _ if *name == convention.start_column => Ok(starts.clone()),
                    _ if *name == convention.end_column => Ok(ends.clone()),
                    Some(column) => cast_exactly(column, field.data_type(), name),
                    None => Ok(new_null_array(field.data_type(), rows.num_rows())),
                }
            });
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            RecordBatch::try_new_with_options(
                wanted.clone(),
                columns.collect::<Result<_>>()?,
                &options,
            )
            .io_context(|| "cannot bring rows into one schema".into())
        })))
    }

    /// Rows of the table with their intervals as two columns, as the object has them.
    ///
    /// # Errors
    /// An internal failure if the rows do not have the table's columns.
    pub fn with_intervals(&self, rows: &RecordBatch, spans: &[Interval]) -> Result<RecordBatch> {
        let starts: Date32Array = spans.iter().map(|span| Some(to_days(span.start))).collect();
        let end = |span: &Interval| self.convention.encode(span.end).map(to_days);
        let ends: Date32Array = spans.iter().map(end).collect();
        let own = columns_by_name(rows);
        let column = |field: &Arc<Field>| -> Result<ArrayRef> {
            match field.name() {
                name if *name == self.convention.start_column => Ok(Arc::new(starts.clone())),
                name if *name == self.convention.end_column => Ok(Arc::new(ends.clone())),
                name => own.get(name.as_str()).copied().cloned().ok_or_else(|| {
                    Error::internal(format!("the intervals' column '{name}' was not read"))
                }),
            }
        };
        let schema = self.object.schema();
        let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
        RecordBatch::try_new(schema.clone(), columns)
            .internal_context(|| "cannot put rows and intervals together".into())
    }

    /// The schema of the snapshot at an index of the observed ones.
    ///
    /// # Errors
    /// A refusal if the footer names a type that is unknown.
    pub fn schema_of(&self, observed: usize) -> Result<SchemaRef> {
        let index = self
            .footer
            .observed
            .get(observed)
            .map_or(usize::MAX, |observed| observed.schema);
        let (Some(columns), Some(schema)) =
            (self.footer.schemas.get(index), self.schemas.get(index))
        else {
            return Err(Error::refused(format!(
                "'{}': its footer lacks a schema",
                self.location()
            )));
        };
        if let Some(known) = schema.get() {
            return Ok(known.clone());
        }
        let read = read_schema(columns)?;
        Ok(schema.get_or_init(|| read).clone())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Fields, TimeUnit};

    use super::*;

    #[test]
    fn every_kind_of_schema_reads_back_from_the_wire() {
        let utc = Some("UTC".into());
        let inner = Fields::from(vec![
            Field::new("a b", DataType::Int64, true),
            Field::new("c", DataType::Utf8, true),
        ]);
        let list = DataType::List(Arc::new(Field::new(
            "item",
            DataType::Struct(inner.clone()),
            true,
        )));
        let entries = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Int64, true),
        ]);
        let map = DataType::Map(
            Arc::new(Field::new("entries", DataType::Struct(entries), false)),
            false,
        );
        let types = [
            DataType::Null,
            DataType::Decimal128(10, 2),
            DataType::Timestamp(TimeUnit::Microsecond, utc),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Duration(TimeUnit::Second),
            DataType::Binary,
            DataType::Struct(inner),
            list,
            map,
        ];
        let schema = Schema::new(
            types
                .into_iter()
                .enumerate()
                .map(|(at, data_type)| Field::new(format!("c{at}"), data_type, true))
                .collect::<Vec<_>>(),
        );
        assert_eq!(
            read_schema(&write_schema(&schema))
                .expect("it reads")
                .as_ref(),
            &schema
        );
    }
}
