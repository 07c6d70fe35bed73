//! Compaction of a table's snapshots, from files to sorted rows with their ends.
//!
//! A [`Pass`] begins with the [`Base`], the part of existing intervals that still agrees with the
//! snapshots; it takes every later snapshot in order of its date, and gives a [`Sink`] the rows of
//! all intervals, in order of key and start.
//!
//! | snapshots are | the pass | what it costs |
//! | --- | --- | --- |
//! | one Parquet object each, sorted by the key, as asof's own are | `sorted`: range of keys by range of keys, rows compared by value | decoding, little more; memory for a few ranges |
//! | anything else | `unsorted`: a map from the digests of keys to those of rows | digests of every row; memory for every key, or more passes |
//!
//! External objects are tried in order. If one is not sorted, that is seen by its row groups or on
//! the way, and the other pass begins anew.
//!
//! A snapshot whose footer has the fingerprint of the one before it is not decoded. Nor is one of
//! which it is recorded, and verified, what it changed ([`super::changes`]), if snapshots are
//! sorted: its changes are applied to what is known of the one before. A row that opens an interval
//! goes, with the interval's number and first date, to a sorter, which spills; once the ends are
//! known, each gets its own. Both passes give the same rows.

mod change_replay;
mod range_output;
mod ranges;
mod sorted;
#[cfg(test)]
mod tests;
mod unsorted;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, UInt32Type};
use chrono::NaiveDate;
use serde::Serialize;

use super::intervals::{IntervalBatch, Intervals, split, to_days, write_schema};
use super::selection::Selection;
use super::table::Table;
use crate::domain::comparison::Comparison;
use crate::domain::dedup::Dedup;
use crate::domain::gaps::GapPolicy;
use crate::domain::hash_compaction::Changes;
use crate::domain::interval::Convention;
use crate::domain::interval_ends::Ends;
use crate::domain::schema::unify;
use crate::error::{Context, Error, Result};
use crate::model::MemoryBudget;
use crate::source::no_column;
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::{Content, Footer, IntervalsFooter, ObservedWire};

/// The sorter's columns beside the table's: the interval's first date and number.
const START: &str = "\u{1}start";
const NUMBER: &str = "\u{1}number";

/// Dates with the objects of their snapshots, ascending.
pub type Snapshots<'a> = &'a [(NaiveDate, Vec<Object>)];

/// Who takes the rows of a pass.
pub trait Sink {
    /// Rows will follow; those of an earlier call, if there was one, are void. `table` has every
    /// column of the snapshots, and `schema` the selected ones with the interval's two.
    ///
    /// # Errors
    /// Whatever keeps the sink from taking such rows.
    fn begin(&mut self, table: &SchemaRef, schema: &SchemaRef) -> Result<()>;

    /// The next rows, in order of key and start.
    ///
    /// # Errors
    /// Whatever the sink fails with.
    fn write(&mut self, rows: RecordBatch) -> Result<()>;
}

/// Everything that the bytes of intervals depend on, besides the snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What a missing date means.
    pub policy: GapPolicy,
    /// How ends are written.
    pub convention: Convention,
    /// Which columns' changes end an interval, and the key.
    pub comparison: Comparison,
    /// Which rows and columns there are.
    pub selection: Selection,
}

impl Settings {
    /// The settings that existing intervals were made with.
    pub fn of(intervals: &Intervals) -> Self {
        let convention = intervals.convention.clone();
        let comparison = intervals.comparison();
        Settings {
            policy: intervals.footer.gaps.read(),
            convention,
            comparison,
            selection: intervals.selection(),
        }
    }

    /// Refuses columns that no snapshot has, and columns of the table that are named as the
    /// interval's.
    ///
    /// # Errors
    /// A usage error that names the column.
    pub fn check(&self, schema: &SchemaRef, table: &Table) -> Result<()> {
        for name in self.comparison.ignore.iter().chain(&self.comparison.track) {
            if schema.field_with_name(name).is_err() {
                return Err(no_column(name, schema, &format!("table {}", table.name)));
            }
        }
        self.selection.check(schema, table)?;
        let kept = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| self.selection.keeps(name));
        self.convention.check_columns(table.name.as_str(), kept)
    }

    /// What the footer of intervals says that a compaction made with these settings. `types` are
    /// those that were declared.
    pub fn footer(
        &self,
        table: &Table,
        facts: &CompactionFacts,
        types: &BTreeMap<String, String>,
    ) -> Footer {
        let Settings {
            policy,
            convention,
            comparison,
            selection,
        } = self;
        Footer::new(Content::Intervals(IntervalsFooter {
            table: table.name.to_string(),
            key: comparison.key.clone(),
            intervals: facts.intervals,
            convention: convention.into(),
            gaps: (*policy).into(),
            ignore: comparison.ignore.clone(),
            track: comparison.track.clone(),
            condition: selection.condition.clone(),
            select: selection.select.clone(),
            observed: facts.observed.clone(),
            schemas: facts
                .schemas
                .iter()
                .map(|schema| write_schema(schema))
                .collect(),
            types: types.clone(),
            dedup: table
                .dedup
                .as_ref()
                .filter(|_| !table.own)
                .map(Dedup::to_string),
            asof_version: env!("CARGO_PKG_VERSION").into(),
        }))
    }
}

/// Intervals that are reused, as far as they still agree with the snapshots.
pub struct Base {
    /// The intervals.
    pub intervals: Arc<Intervals>,
    /// How many of their snapshots still agree; at least one.
    pub kept: usize,
}

impl Base {
    /// The snapshots that still agree.
    pub fn observed(&self) -> &[ObservedWire] {
        &self.intervals.footer.observed[..self.kept]
    }

    /// The date of the last of them.
    pub fn last(&self) -> NaiveDate {
        self.intervals.footer.observed[self.kept - 1].date
    }

    /// Whether all of the intervals are reused.
    pub fn is_whole(&self) -> bool {
        self.kept == self.intervals.footer.observed.len()
    }
}

/// What one snapshot changed.
#[derive(Clone, Debug, Serialize)]
pub struct DayChanges {
    /// Its date.
    pub date: NaiveDate,
    /// What changed against the snapshot before.
    #[serde(flatten)]
    pub changes: Changes,
}

/// What a pass found out.
#[derive(Debug, Default)]
pub struct CompactionFacts {
    /// Every snapshot that the intervals stand for, ascending.
    pub observed: Vec<ObservedWire>,
    /// The schemas that those snapshots had.
    pub schemas: Vec<SchemaRef>,
    /// The dates that were taken, with what each changed.
    pub days: Vec<DayChanges>,
    /// How many snapshots were decoded.
    pub decoded: u64,
    /// How many were not, since it is known what they changed.
    pub by_changes: u64,
    /// How many were unchanged, and not read.
    pub unchanged: u64,
    /// How many intervals there are.
    pub intervals: u64,
    /// How many of them are open.
    pub open: u64,
    /// The columns whose types, inferred from text, are not one type: nothing was given to the
    /// sink, and the pass is to be done again with these columns as text.
    pub as_text: Vec<String>,
}

/// Chooses rows of a batch, and says which those are; nothing for all.
pub type Choose =
    Arc<dyn Fn(&RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)> + Send + Sync>;

/// A part of a table.
#[derive(Clone)]
pub struct Part {
    /// The columns that are read, those of the key among them; all of them if nothing.
    pub columns: Option<Vec<String>>,
    /// The columns of the result, of those; all of them if nothing.
    pub kept: Option<Vec<String>>,
    /// Which rows there are; in the columns that a snapshot has of those that are kept.
    pub rows: Choose,
    /// Whether the facts are of whole snapshots, their fingerprints and columns. Otherwise external
    /// snapshots have no fingerprints.
    pub observes: bool,
}

impl Part {
    /// Whether the rows of the part depend on a column.
    fn reads(&self, column: &str) -> bool {
        self.columns
            .as_ref()
            .is_none_or(|columns| columns.iter().any(|name| name == column))
    }

    /// The columns of the result.
    fn kept(&self, schema: &SchemaRef) -> SchemaRef {
        let Some(kept) = &self.kept else {
            return schema.clone();
        };
        let fields = schema
            .fields()
            .iter()
            .filter(|field| kept.contains(field.name()));
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }
}

/// A pass over snapshots; see the module.
pub struct Pass<'a> {
    /// The table.
    pub table: &'a Table,
    /// What its intervals depend on.
    pub settings: &'a Settings,
    /// The intervals that are reused.
    pub base: Option<&'a Base>,
    /// The part of the table that is wanted, in the place of what the settings select.
    pub part: Option<&'a Part>,
    /// About how much memory may be used.
    pub memory: MemoryBudget,
    /// How many threads decode.
    pub threads: usize,
    /// Told how many of the snapshots are done.
    pub step: &'a (dyn Fn(u64, u64) + Sync),
}

impl Pass<'_> {
    /// Takes the snapshots, each later than those of the base, and gives the rows of all intervals.
    ///
    /// # Errors
    /// A failure or refusal of reading; a refusal of keys that are null or stand twice, and of a
    /// table without any snapshot; what the sink fails with.
    pub fn run(&self, days: Snapshots<'_>, sink: &mut dyn Sink) -> Result<CompactionFacts> {
        let selected = if self.part.is_none() {
            self.settings.selection.part()?
        } else {
            None
        };
        let pass = Pass {
            part: self.part.or(selected.as_ref()),
            ..*self
        };
        match sorted::run(&pass, days, sink)? {
            Some(facts) => Ok(facts),
            None => unsorted::run(&pass, days, sink),
        }
    }

    /// The columns of the result, of those that were seen.
    fn kept(&self, schema: &SchemaRef) -> SchemaRef {
        self.part
            .map_or_else(|| schema.clone(), |part| part.kept(schema))
    }

    /// Whether fingerprints and columns are those of whole snapshots, of which a part is wanted.
    fn observes_part(&self) -> bool {
        self.part.is_some_and(|part| part.observes)
    }

    /// The dates that the base stands for.
    fn base_dates(&self) -> Vec<NaiveDate> {
        self.base
            .into_iter()
            .flat_map(Base::observed)
            .map(|observed| observed.date)
            .collect()
    }

    /// Facts that know of the base's snapshots.
    fn observing(&self) -> Result<Observing<'_>> {
        let part = self.part.filter(|part| part.observes);
        let mut observing = Observing {
            table: self.table,
            part,
            schema: None,
            every: None,
            facts: CompactionFacts::default(),
        };
        if let Some(base) = self.base {
            for (index, observed) in base.observed().iter().enumerate() {
                observing.saw(observed.clone(), &base.intervals.schema_of(index)?)?;
            }
        }
        Ok(observing)
    }

    /// The order of the rows while the pass runs: key, then start.
    fn order(&self) -> Vec<String> {
        let mut order = self.settings.comparison.key.clone();
        order.push(START.to_owned());
        order
    }
}

/// Rows of a part of a table, each with the interval in which it is the same, in order of key and
/// start; nothing, if they are more than `limit` bytes.
///
/// Ends are those of [`GapPolicy::CARRY`]: of dates that are not among `days` nothing is said.
///
/// # Errors
/// As [`Pass::run`].
pub fn versions(
    table: &Table,
    days: Snapshots<'_>,
    part: &Part,
    memory: MemoryBudget,
    threads: usize,
    limit: Option<usize>,
) -> Result<Option<(Vec<IntervalBatch>, CompactionFacts)>> {
    let comparison = Comparison {
        key: table.key.clone(),
        ..Comparison::default()
    };
    // Names that no column of the table has.
    let convention = Convention {
        start_column: START.to_owned(),
        end_column: NUMBER.to_owned(),
        ..Convention::default()
    };
    let settings = Settings {
        policy: GapPolicy::CARRY,
        convention,
        comparison,
        selection: Selection::default(),
    };
    let pass = Pass {
        table,
        settings: &settings,
        base: None,
        part: Some(part),
        memory,
        threads,
        step: &|_, _| {},
    };
    let mut versions = Versions {
        convention: &settings.convention,
        rows: Vec::new(),
        bytes: 0,
        limit,
    };
    match pass.run(days, &mut versions) {
        Err(_) if versions.is_full() => Ok(None),
        facts => Ok(Some((versions.rows, facts?))),
    }
}

/// Takes rows into memory, up to a limit.
struct Versions<'a> {
    convention: &'a Convention,
    rows: Vec<IntervalBatch>,
    bytes: usize,
    limit: Option<usize>,
}

impl Versions<'_> {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.bytes > limit)
    }
}

impl Sink for Versions<'_> {
    fn begin(&mut self, _table: &SchemaRef, _schema: &SchemaRef) -> Result<()> {
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        // A piece of a batch holds all of it, and all of it is shared by the pieces.
        let bytes = rows
            .columns()
            .iter()
            .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
            .sum::<usize>();
        self.bytes += bytes;
        if self.is_full() {
            return Err(Error::refused(
                "there are more versions of rows than memory for them",
            ));
        }
        self.rows.push(split(&rows, self.convention)?);
        Ok(())
    }
}

/// Facts, while snapshots are seen.
struct Observing<'a> {
    table: &'a Table,
    /// The part whose columns are of interest, of whole snapshots.
    part: Option<&'a Part>,
    /// The columns of all that was seen, as far as they are of interest.
    schema: Option<SchemaRef>,
    /// All columns of all that was seen, if only some are of interest: in the first of their types.
    every: Option<SchemaRef>,
    facts: CompactionFacts,
}

impl Observing<'_> {
    /// Records a snapshot and folds its schema into the table's.
    fn saw(&mut self, observed: ObservedWire, schema: &SchemaRef) -> Result<()> {
        let date = observed.date;
        let schemas = &mut self.facts.schemas;
        let index = schemas
            .iter()
            .position(|known| known == schema)
            .unwrap_or_else(|| {
                schemas.push(schema.clone());
                schemas.len() - 1
            });
        let read = self.of_interest(schema);
        self.schema = Some(match &self.schema {
            None => read,
            Some(wide) => {
                unify(wide, &read)
                    .map_err(|clash| clash.refusal(self.table.name.as_str(), date))?
                    .0
            }
        });
        if self.part.is_some() {
            let known = self
                .every
                .take()
                .unwrap_or_else(|| Arc::new(Schema::empty()));
            let new = schema
                .fields()
                .iter()
                .filter(|field| known.field_with_name(field.name()).is_err());
            self.every = Some(Arc::new(Schema::new(
                known
                    .fields()
                    .iter()
                    .chain(new)
                    .cloned()
                    .collect::<Vec<_>>(),
            )));
        }
        self.facts.observed.push(ObservedWire {
            schema: index,
            ..observed
        });
        Ok(())
    }

    /// The columns that the rows depend on.
    fn of_interest(&self, schema: &SchemaRef) -> SchemaRef {
        let Some(part) = self.part else {
            return schema.clone();
        };
        let fields = schema
            .fields()
            .iter()
            .filter(|field| part.reads(field.name()));
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }

    /// Whether a schema is that of the last snapshot.
    fn has_columns_of_last(&self, schema: &SchemaRef) -> bool {
        let last = self
            .facts
            .observed
            .last()
            .and_then(|observed| self.facts.schemas.get(observed.schema));
        last == Some(schema)
    }
}

/// The table's columns with the sorter's two.
fn with_number(schema: &Schema) -> SchemaRef {
    with_fields(
        schema,
        [
            Field::new(START, DataType::Date32, true),
            Field::new(NUMBER, DataType::UInt32, true),
        ],
    )
}

/// The table's columns with the interval's two.
fn with_interval(schema: &Schema, convention: &Convention) -> SchemaRef {
    with_fields(
        schema,
        [&convention.start_column, &convention.end_column]
            .map(|name| Field::new(name, DataType::Date32, true)),
    )
}

fn with_fields(schema: &Schema, more: [Field; 2]) -> SchemaRef {
    Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .cloned()
            .chain(more.map(Arc::new))
            .collect::<Vec<_>>(),
    ))
}

/// Puts the interval's columns in the place of the sorter's.
struct Ending {
    schema: SchemaRef,
    /// Ends, each for the intervals from a number on, ascending.
    ends: Vec<(u32, Ends)>,
    /// How an end is written, by the index of the last snapshot, for each of them; the last is that
    /// of open ones.
    written: Vec<Vec<Option<i32>>>,
}

impl Ending {
    fn new(schema: SchemaRef, convention: &Convention, ends: Vec<(u32, Ends)>) -> Self {
        let write = |end: Option<NaiveDate>| convention.encode(end).map(to_days);
        let of = |ends: &Ends| {
            (0..ends.observed())
                .map(|index| write(ends.of_observed(index)))
                .chain([write(None)])
                .collect()
        };
        let written = ends.iter().map(|(_, ends)| of(ends)).collect();
        Ending {
            schema,
            ends,
            written,
        }
    }

    fn put(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (mut columns, own) = {
            let (table, own) = batch.columns().split_at(batch.num_columns() - 2);
            (table.to_vec(), own)
        };
        let starts = own[0].as_primitive::<Date32Type>();
        let numbers = own[1].as_primitive::<UInt32Type>();
        let mut written = Vec::with_capacity(batch.num_rows());
        for (number, start) in numbers.values().iter().zip(starts.values()) {
            let part = self.ends.partition_point(|(first, _)| first <= number) - 1;
            let (first, ends) = &self.ends[part];
            let last_seen = ends.last_seen(number - first);
            if let Some(end) = last_seen.and_then(|index| ends.of_observed(index))
                && to_days(end) < *start
            {
                return Err(Error::internal(format!(
                    "an interval would end on {end}, before it starts"
                )));
            }
            written.push(self.written[part][last_seen.unwrap_or(ends.observed())]);
        }
        columns.push(own[0].clone());
        columns.push(Arc::new(Date32Array::from(written)) as ArrayRef);
        RecordBatch::try_new(self.schema.clone(), columns)
            .io_context(|| "cannot write intervals".into())
    }
}
