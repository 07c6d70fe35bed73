//! The as-of join of a date's events: the table side built once, events streamed past it.
//!
//! The table side holds the columns that the output needs, of the rows that hold on some date that is asked
//! for. From a snapshot it serves one date; from intervals, every date whose snapshot had the same columns.
//! Events are read a batch at a time and keep their order.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{interleave, take_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::expression::Condition;
use super::intervals::Intervals;
use crate::domain::cast::conform;
use crate::domain::digest::{comparable, key_digests};
use crate::domain::interval::Interval;
use crate::domain::join::{JoinKind, Versions};
use crate::domain::schema::type_name;
use crate::error::{Context, Error, Result};
use crate::model::TableName;
use crate::source::no_column;
use crate::storage::Batches;

/// What to join on, keep and add.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct JoinSpec {
    /// Pairs of an events column and a key column of the table.
    pub on: Vec<(String, String)>,
    /// What is kept.
    pub how: JoinKind,
    /// A condition over the table's columns, applied before the join.
    pub condition: Option<String>,
    /// The table's columns to add; all but the key if empty.
    pub select: Vec<String>,
}

impl JoinSpec {
    /// Reads `events_column=table_column`, or one name for both.
    ///
    /// # Errors
    /// A usage error for an empty name.
    pub fn parse_on(text: &str) -> Result<(String, String)> {
        let (events, table) = text.split_once('=').unwrap_or((text, text));
        let (events, table) = (events.trim(), table.trim());
        if events.is_empty() || table.is_empty() {
            return Err(Error::usage(format!("'{text}' is no pair of columns")).hint("--on events_column=table_column"));
        }
        Ok((events.to_owned(), table.to_owned()))
    }

    /// Refuses a join that could meet more than one row: the pairs must cover the key, and nothing else.
    ///
    /// # Errors
    /// A usage error that names the key.
    pub fn check_key(&self, table: &TableName, key: &[String]) -> Result<()> {
        let mut joined: Vec<&String> = self.on.iter().map(|(_, column)| column).collect();
        let mut key: Vec<&String> = key.iter().collect();
        joined.sort();
        key.sort();
        if joined == key {
            return Ok(());
        }
        let names = key.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let pairs = key.iter().map(|name| format!("--on EVENTS_COLUMN={name}")).collect::<Vec<_>>().join(" ");
        Err(Error::usage(format!("a join with table {table} must be on its key ({names}), so that an event meets one row at most"))
            .hint(pairs)
            .hint("write the job in SQL to join on other columns"))
    }

    /// The table's columns that the output has, in their order.
    fn selected(&self, schema: &Schema, key: &[String]) -> Vec<String> {
        if !self.how.adds_columns() {
            return Vec::new();
        }
        if self.select.is_empty() {
            return schema.fields().iter().map(|field| field.name()).filter(|name| !key.contains(name)).cloned().collect();
        }
        self.select.clone()
    }
}

/// The table side of a join.
pub struct JoinTable {
    versions: Versions,
    batches: Vec<RecordBatch>,
    places: Vec<(u32, u32)>,
    schema: SchemaRef,
    key_types: Vec<Field>,
}

/// Rows with the interval in which each holds.
type Timed = Box<dyn Iterator<Item = Result<(RecordBatch, Vec<Interval>)>> + Send>;

impl JoinTable {
    /// The table side of one date, from rows of a snapshot.
    ///
    /// `schema` is that of the table with every column that the job names.
    ///
    /// # Errors
    /// A usage error for a column or condition that is wrong; a refusal for rows that share a key.
    pub fn of_snapshot(
        spec: &JoinSpec,
        table: &TableName,
        key: &[String],
        schema: &SchemaRef,
        rows: impl FnOnce(&[String]) -> Result<Batches>,
    ) -> Result<Self> {
        let always = Interval { start: NaiveDate::MIN, end: None };
        Self::build(spec, table, key, schema, |columns| {
            Ok(Box::new(rows(columns)?.map(move |batch| {
                let batch = batch?;
                let intervals = vec![always; batch.num_rows()];
                Ok((batch, intervals))
            })))
        })
    }

    /// The table side of every one of `dates`, whose snapshots all had the columns of `schema`.
    ///
    /// # Errors
    /// As [`JoinTable::of_snapshot`].
    pub fn of_intervals(
        spec: &JoinSpec,
        table: &TableName,
        key: &[String],
        schema: &SchemaRef,
        intervals: &Intervals,
        dates: &[NaiveDate],
    ) -> Result<Self> {
        let dates = dates.to_vec();
        Self::build(spec, table, key, schema, |columns| {
            Ok(Box::new(intervals.read(Some(columns))?.map(move |batch| {
                let batch = batch?;
                let wanted: Vec<u32> = (0u32..)
                    .zip(&batch.intervals)
                    .filter(|(_, interval)| {
                        let from = dates.partition_point(|date| *date < interval.start);
                        dates.get(from).is_some_and(|date| interval.holds(*date))
                    })
                    .map(|(row, _)| row)
                    .collect();
                let kept = wanted.iter().map(|row| batch.intervals[*row as usize]).collect();
                let rows = take_record_batch(&batch.rows, &UInt32Array::from(wanted)).io_context(|| "cannot select rows".into())?;
                Ok((rows, kept))
            })))
        })
    }

    fn build(
        spec: &JoinSpec,
        table: &TableName,
        key: &[String],
        schema: &SchemaRef,
        rows: impl FnOnce(&[String]) -> Result<Timed>,
    ) -> Result<Self> {
        let what = format!("table {table}");
        let selected = spec.selected(schema, key);
        let field = |name: &String| schema.field_with_name(name).cloned().map_err(|_| no_column(name, schema, &what));
        let fields = selected.iter().map(field).collect::<Result<Vec<_>>>()?;
        let key_types = spec.on.iter().map(|(_, column)| field(column)).collect::<Result<Vec<_>>>()?;
        let condition = spec.condition.as_ref().map(|text| Condition::parse(text, schema)).transpose()?;
        let everything: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut needed: Vec<String> = selected.iter().chain(spec.on.iter().map(|(_, column)| column)).cloned().collect();
        if condition.is_some() {
            needed = everything;
        }
        let read_schema: SchemaRef =
            Arc::new(Schema::new(schema.fields().iter().filter(|field| needed.contains(field.name())).cloned().collect::<Vec<_>>()));
        let mut built = JoinTable {
            versions: Versions::default(),
            batches: Vec::new(),
            places: Vec::new(),
            schema: Arc::new(Schema::new(fields)),
            key_types,
        };
        for timed in rows(&needed)? {
            let (batch, intervals) = timed?;
            let batch = conform(&batch, &read_schema)?;
            built.add(&batch, &intervals, spec, condition.as_ref()).map_err(|error| error.within(&what))?;
        }
        Ok(built)
    }

    fn add(&mut self, batch: &RecordBatch, intervals: &[Interval], spec: &JoinSpec, condition: Option<&Condition>) -> Result<()> {
        let mask = condition.map(|condition| condition.mask(batch)).transpose()?;
        let keys = key_digests(&spec.on.iter().filter_map(|(_, column)| batch.column_by_name(column).cloned()).collect::<Vec<_>>())?;
        let number = u32::try_from(self.batches.len()).map_err(|_| Error::refused("the table is too large for one join"))?;
        for (row, (key, interval)) in (0u32..).zip(keys.iter().zip(intervals)) {
            let Some(key) = key else { return Err(Error::refused("a key is null").hint("asof verify")) };
            if mask.as_ref().is_none_or(|mask| mask.value(row as usize)) {
                self.versions.push(*key, *interval)?;
                self.places.push((number, row));
            }
        }
        self.batches.push(conform(batch, &self.schema)?);
        Ok(())
    }

    /// The columns of a join's output: every events column, then the selected ones; a name that clashes gets
    /// the suffix `_<table>`.
    ///
    /// # Errors
    /// A usage error if the events lack a column, types can never be equal, or a suffixed name clashes too.
    pub fn output_schema(&self, spec: &JoinSpec, events: &Schema, events_name: &str, table: &TableName) -> Result<SchemaRef> {
        for ((column, _), key) in spec.on.iter().zip(&self.key_types) {
            let field = events.field_with_name(column).map_err(|_| no_column(column, events, &format!("events {events_name}")))?;
            if !comparable(field.data_type(), key.data_type()) {
                return Err(Error::usage(format!(
                    "events column '{column}' is {} and column '{}' of table {table} is {}: they never match",
                    type_name(field.data_type()),
                    key.name(),
                    type_name(key.data_type())
                ))
                .hint(format!("[events.{events_name}.types] {column} = \"{}\"", type_name(key.data_type()))));
            }
        }
        let mut fields: Vec<Field> = events.fields().iter().map(|field| field.as_ref().clone()).collect();
        for field in self.schema.fields() {
            let taken = |name: &str| fields.iter().any(|field| field.name() == name);
            let name = if taken(field.name()) { format!("{}_{table}", field.name()) } else { field.name().clone() };
            if taken(&name) {
                return Err(
                    Error::usage(format!("the output would have two columns '{name}'")).hint("--select COLUMN,..., without that column")
                );
            }
            fields.push(field.as_ref().clone().with_name(name));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Joins a batch of events of a date, and says how many of them met a row.
    ///
    /// # Errors
    /// A refusal for a key type that cannot be compared.
    pub fn join(&self, spec: &JoinSpec, events: &RecordBatch, date: NaiveDate, output: &SchemaRef) -> Result<(RecordBatch, u64)> {
        let keys = key_digests(&spec.on.iter().filter_map(|(column, _)| events.column_by_name(column).cloned()).collect::<Vec<_>>())?;
        let matches = self.versions.probe(spec.how, &keys, date);
        let kept = take_record_batch(events, &UInt32Array::from(matches.events)).io_context(|| "cannot select events".into())?;
        let mut columns = kept.columns().to_vec();
        let nothing = self.batches.len();
        let places: Vec<(usize, usize)> = matches
            .rows
            .iter()
            .map(|row| row.map_or((nothing, 0), |row| (self.places[row as usize].0 as usize, self.places[row as usize].1 as usize)))
            .collect();
        for (at, field) in self.schema.fields().iter().enumerate() {
            let null = new_null_array(field.data_type(), 1);
            let sources: Vec<&dyn arrow::array::Array> =
                self.batches.iter().map(|batch| batch.column(at).as_ref()).chain(std::iter::once(null.as_ref())).collect();
            let column: ArrayRef = interleave(&sources, &places).io_context(|| "cannot join rows".into())?;
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let joined = RecordBatch::try_new_with_options(output.clone(), columns, &options).io_context(|| "cannot join rows".into())?;
        Ok((joined, matches.matched))
    }
}
