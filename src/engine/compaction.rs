//! The one pass of a compaction over a table's snapshots, from files to sorted rows with their ends.
//!
//! A [`Pass`] begins with the [`Base`], the part of existing intervals that still agrees with the snapshots; it
//! takes every later snapshot in order of its date, and gives the rows of all intervals, in order of key and start.
//!
//! A snapshot whose footer has the fingerprint of the one before it is not decoded; every other one is decoded once,
//! by a thread of its own that runs a few batches ahead.
//!
//! Memory: digests per key ([`crate::domain::compact`]). A row that opens an interval goes, with the
//! interval's number and first date, to the sorter, which spills; when all ends are known the rows are
//! merged with those of the base, and each gets its end.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow::array::{ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, UInt32Type};
use chrono::NaiveDate;
use serde::Serialize;

use super::intervals::{Intervals, to_days};
use super::table::{Table, all_digests, duplicate_keys, show_key};
use crate::domain::cast::conform;
use crate::domain::compact::{Changes, Compaction, Ends, TakeError};
use crate::domain::comparison::Comparison;
use crate::domain::digest::{Fingerprint, RowSum, row_digests};
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::Convention;
use crate::domain::schema::unify;
use crate::error::{Context, Error, Result};
use crate::source::no_column;
use crate::storage::Batches;
use crate::storage::footer::ObservedWire;
use crate::storage::location::Object;
use crate::storage::sorter::{BUDGET, Sorter, merge};

/// The sorter's columns beside the table's: the interval's first date and number.
const START: &str = "\u{1}start";
const NUMBER: &str = "\u{1}number";

/// Everything that the bytes of intervals depend on, besides the snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What a missing date means.
    pub policy: GapPolicy,
    /// How ends are written.
    pub convention: Convention,
    /// Which columns' changes end an interval, and the key.
    pub comparison: Comparison,
}

impl Settings {
    /// The settings that existing intervals were made with.
    pub fn of(intervals: &Intervals) -> Self {
        Settings { policy: intervals.footer.gaps.read(), convention: intervals.convention.clone(), comparison: intervals.comparison() }
    }

    /// Refuses columns that no snapshot has, and columns of the table that are named as the interval's.
    ///
    /// # Errors
    /// A usage error that names the column.
    pub fn check(&self, schema: &Schema, table: &Table) -> Result<()> {
        for name in self.comparison.ignore.iter().chain(&self.comparison.track) {
            if schema.field_with_name(name).is_err() {
                return Err(no_column(name, schema, &format!("table {}", table.name)));
            }
        }
        self.convention.check_columns(table.name.as_str(), schema.fields().iter().map(|field| field.name().as_str()))
    }
}

/// Intervals that are taken over, as far as they still agree with the snapshots.
pub struct Base {
    /// The intervals.
    pub intervals: Intervals,
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

    /// Whether all of the intervals are taken over.
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
#[derive(Default)]
pub struct CompactionFacts {
    /// Every snapshot that the intervals stand for, ascending.
    pub observed: Vec<ObservedWire>,
    /// The schemas that those snapshots had.
    pub schemas: Vec<SchemaRef>,
    /// The dates that were taken, with what each changed.
    pub days: Vec<DayChanges>,
    /// How many snapshots were decoded.
    pub decoded: u64,
    /// How many were known to equal the one before.
    pub unchanged: u64,
    /// How many intervals there are.
    pub intervals: u64,
    /// How many of them are open.
    pub open: u64,
}

/// The intervals that a pass gives.
pub struct Compacted {
    /// What is known of them.
    pub facts: CompactionFacts,
    /// The table's columns.
    pub table_schema: SchemaRef,
    /// The columns of the rows: the table's, then the interval's two.
    pub schema: SchemaRef,
    /// The rows, in order of key and start.
    pub rows: Batches,
}

/// A pass over snapshots; see the module.
pub struct Pass<'a> {
    table: &'a Table,
    settings: &'a Settings,
    base: Option<&'a Base>,
    compaction: Compaction,
    sorter: Sorter,
    schema: Option<SchemaRef>,
    last_schema: Option<SchemaRef>,
    facts: CompactionFacts,
}

impl<'a> Pass<'a> {
    /// Begins a pass, and resumes the intervals that are taken over.
    ///
    /// # Errors
    /// A failure or refusal of reading them.
    pub fn begin(table: &'a Table, settings: &'a Settings, base: Option<&'a Base>) -> Result<Self> {
        let mut pass = Pass {
            table,
            settings,
            base,
            compaction: Compaction::new(settings.policy),
            sorter: Sorter::new(&order(settings), BUDGET),
            schema: None,
            last_schema: None,
            facts: CompactionFacts::default(),
        };
        if let Some(base) = base {
            pass.resume(base)?;
        }
        Ok(pass)
    }

    fn resume(&mut self, base: &Base) -> Result<()> {
        for (index, observed) in base.observed().iter().enumerate() {
            self.saw(observed.date, observed.rows, observed.fingerprint, &base.intervals.schema_of(index)?)?;
        }
        let observed = base.observed().iter().map(|observed| observed.date).collect();
        self.compaction = Compaction::after(self.settings.policy, observed);
        let last = base.last();
        let compared = self.settings.comparison.columns(&base.intervals.table_schema());
        for batch in base.intervals.read(None)? {
            let batch = batch?;
            let keys = self.table.keys(&batch.rows, last)?;
            let rows = row_digests(&batch.rows, compared.iter().map(String::as_str))?;
            for (row, interval) in batch.intervals.iter().enumerate().filter(|(_, interval)| interval.start <= last) {
                let ended = interval.end.filter(|_| !interval.holds(last));
                self.compaction.resume(keys[row], rows[row], ended)?;
            }
        }
        Ok(())
    }

    /// Records a snapshot and folds its schema into the table's.
    fn saw(&mut self, date: NaiveDate, rows: u64, fingerprint: Fingerprint, schema: &SchemaRef) -> Result<()> {
        let schemas = &mut self.facts.schemas;
        let index = schemas.iter().position(|known| known == schema).unwrap_or_else(|| {
            schemas.push(schema.clone());
            schemas.len() - 1
        });
        self.schema = Some(match &self.schema {
            None => schema.clone(),
            Some(wide) => unify(wide, schema).map_err(|clash| clash.refusal(self.table.name.as_str(), date))?.0,
        });
        self.last_schema = Some(schema.clone());
        self.facts.observed.push(ObservedWire { date, rows, fingerprint, schema: index });
        Ok(())
    }

    /// Takes the snapshot of a date, later than all before, and gives its fingerprint.
    ///
    /// # Errors
    /// A failure or refusal of reading it; a refusal of keys that are null or stand twice.
    pub fn take(&mut self, date: NaiveDate, objects: &[Object]) -> Result<Fingerprint> {
        let snapshot = self.table.open(date, objects, self.schema.as_ref())?;
        let schema = snapshot.schema.clone();
        if let Some(wide) = &self.schema {
            unify(wide, &schema).map_err(|clash| clash.refusal(self.table.name.as_str(), date))?;
        }
        let known = snapshot.footer.as_ref().map(|footer| (footer.rows, footer.fingerprint));
        if let (Some((rows, fingerprint)), Some(last)) = (known, self.facts.observed.last())
            && fingerprint == last.fingerprint
            && self.compaction.unchanged(date)
        {
            self.facts.unchanged += 1;
            self.facts.days.push(DayChanges { date, changes: Changes::default() });
            self.saw(date, rows, fingerprint, &schema)?;
            return Ok(fingerprint);
        }
        let digesting = self.digesting(date, &schema, known.is_some());
        let batches = snapshot.read(None)?;
        self.compaction.begin(date);
        let sum = self.take_rows(&digesting, batches)?;
        let changes = self.compaction.end(date);
        self.facts.days.push(DayChanges { date, changes });
        self.facts.decoded += 1;
        let (rows, fingerprint) = known.unwrap_or_else(|| (sum.rows(), sum.fingerprint()));
        if rows != sum.rows() {
            let error = self.table.refuse(date, format!("its footer says {rows} rows, and there are {}", sum.rows()));
            return Err(error.hint(format!("asof verify {}", self.table.name)));
        }
        self.saw(date, rows, fingerprint, &schema)?;
        Ok(fingerprint)
    }

    fn digesting(&self, date: NaiveDate, schema: &SchemaRef, fingerprint_known: bool) -> Digesting<'a> {
        let comparison = &self.settings.comparison;
        let appeared = |last: &&SchemaRef| schema.fields().iter().any(|field| last.field_with_name(field.name()).is_err());
        Digesting {
            table: self.table,
            date,
            compared: comparison.columns(schema),
            compared_before: self.last_schema.as_ref().filter(appeared).map(|last| comparison.columns(last)),
            fingerprint_known,
        }
    }

    /// Takes the rows of a snapshot, which a thread decodes and digests a few batches ahead.
    fn take_rows(&mut self, digesting: &Digesting<'_>, batches: Batches) -> Result<RowSum> {
        let mut sum = RowSum::default();
        std::thread::scope(|scope| {
            let (send, digested): (_, Receiver<Result<Digested>>) = sync_channel(4);
            scope.spawn(move || {
                for batch in batches {
                    let digested = batch.and_then(|batch| digesting.digest(batch));
                    let failed = digested.is_err();
                    if send.send(digested).is_err() || failed {
                        return;
                    }
                }
            });
            for digested in digested {
                let digested = digested?;
                sum.merge(digested.sum);
                self.take_batch(digesting.date, &digested)?;
            }
            Ok::<_, Error>(())
        })?;
        Ok(sum)
    }

    fn take_batch(&mut self, date: NaiveDate, digested: &Digested) -> Result<()> {
        let first = self.compaction.intervals();
        let mut opened = Vec::new();
        match self.compaction.take(&digested.keys, &digested.rows, digested.without_new.as_deref(), &mut opened) {
            Ok(()) => {}
            Err(TakeError::Duplicate(row)) => {
                let key = &self.settings.comparison.key;
                let shown = vec![show_key(&digested.batch, key, row)];
                return Err(duplicate_keys(&self.table.name, key, date, 1, &shown));
            }
            Err(TakeError::Full(error)) => return Err(error),
        }
        if opened.is_empty() {
            return Ok(());
        }
        let doing = || "cannot set rows aside".to_owned();
        let count = opened.len();
        let rows = take_record_batch(&digested.batch, &UInt32Array::from(opened)).io_context(doing)?;
        let first = u32::try_from(first).map_err(|_| Error::refused("there are too many intervals"))?;
        let starts: ArrayRef = Arc::new(Date32Array::from(vec![to_days(date); count]));
        let numbers: ArrayRef = Arc::new(UInt32Array::from_iter_values((first..).take(count)));
        self.sorter.push(append(&rows, starts, numbers)?)
    }

    /// Ends the pass.
    ///
    /// # Errors
    /// A refusal if there was no snapshot; a failure of the sorter or of reading the base.
    pub fn finish(mut self) -> Result<Compacted> {
        let table_schema = self.schema.ok_or_else(|| Error::refused(format!("table {} has no snapshots", self.table.name)))?;
        let inner = with_number(&table_schema);
        let new = self.sorter.finish(&inner)?;
        let rows = match self.base {
            None => new,
            Some(base) => merge(vec![resumed_rows(base, &inner)?, new], &inner, &order(self.settings))?,
        };
        (self.facts.intervals, self.facts.open) = (self.compaction.intervals(), self.compaction.live());
        let ending = Ending {
            schema: with_interval(&table_schema, &self.settings.convention),
            table_columns: table_schema.fields().len(),
            ends: self.compaction.finish(),
            convention: self.settings.convention.clone(),
        };
        let schema = ending.schema.clone();
        let rows = Box::new(rows.map(move |batch| ending.put(&batch?)));
        Ok(Compacted { facts: self.facts, table_schema, schema, rows })
    }
}

/// The order of the rows while the pass runs: key, then start.
fn order(settings: &Settings) -> Vec<String> {
    let mut order = settings.comparison.key.clone();
    order.push(START.to_owned());
    order
}

/// How the batches of one snapshot are digested.
struct Digesting<'a> {
    table: &'a Table,
    date: NaiveDate,
    compared: Vec<String>,
    /// The compared columns of the snapshot before, if new ones appeared since.
    compared_before: Option<Vec<String>>,
    fingerprint_known: bool,
}

/// A batch of a snapshot with all that the pass needs of it.
struct Digested {
    batch: RecordBatch,
    keys: Vec<u128>,
    rows: Vec<u128>,
    without_new: Option<Vec<u128>>,
    sum: RowSum,
}

impl Digesting<'_> {
    fn digest(&self, batch: RecordBatch) -> Result<Digested> {
        let keys = self.table.keys(&batch, self.date)?;
        let rows = row_digests(&batch, self.compared.iter().map(String::as_str))?;
        let before = self.compared_before.as_ref();
        let without_new = before.map(|before| row_digests(&batch, before.iter().map(String::as_str))).transpose()?;
        let compares_all = self.compared.len() == batch.num_columns();
        let mut sum = RowSum::default();
        if self.fingerprint_known || compares_all {
            sum.add(&rows);
        } else {
            sum.add(&all_digests(&batch)?);
        }
        Ok(Digested { batch, keys, rows, without_new, sum })
    }
}

/// The table's columns with the sorter's two.
fn with_number(schema: &Schema) -> SchemaRef {
    with_fields(schema, [Field::new(START, DataType::Date32, true), Field::new(NUMBER, DataType::UInt32, true)])
}

/// The table's columns with the interval's two.
fn with_interval(schema: &Schema, convention: &Convention) -> SchemaRef {
    with_fields(schema, [&convention.start_column, &convention.end_column].map(|name| Field::new(name, DataType::Date32, true)))
}

fn with_fields(schema: &Schema, more: [Field; 2]) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().cloned().chain(more.map(Arc::new)).collect::<Vec<_>>()))
}

fn append(rows: &RecordBatch, starts: ArrayRef, numbers: ArrayRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.extend([starts, numbers]);
    RecordBatch::try_new(with_number(rows.schema_ref()), columns).io_context(|| "cannot set rows aside".into())
}

/// The rows of intervals that are taken over, numbered as they were resumed.
fn resumed_rows(base: &Base, schema: &SchemaRef) -> Result<Batches> {
    let mut number = 0u32;
    let (last, schema) = (base.last(), schema.clone());
    Ok(Box::new(base.intervals.read(None)?.map(move |batch| {
        let batch = batch?;
        let taken: BooleanArray = batch.intervals.iter().map(|interval| Some(interval.start <= last)).collect();
        let rows = filter_record_batch(&batch.rows, &taken).io_context(|| "cannot select rows".into())?;
        let starts: Date32Array =
            batch.intervals.iter().filter(|interval| interval.start <= last).map(|interval| Some(to_days(interval.start))).collect();
        let first = number;
        number += u32::try_from(rows.num_rows()).unwrap_or(0);
        let numbers = UInt32Array::from_iter_values(first..number);
        conform(&append(&rows, Arc::new(starts), Arc::new(numbers))?, &schema)
    })))
}

/// Puts the interval's columns in the place of the sorter's.
struct Ending {
    schema: SchemaRef,
    table_columns: usize,
    ends: Ends,
    convention: Convention,
}

impl Ending {
    fn put(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let numbers = batch.column_by_name(NUMBER).ok_or_else(|| Error::io("rows lost their numbers"))?.as_primitive::<UInt32Type>();
        let starts = batch.column_by_name(START).ok_or_else(|| Error::io("rows lost their dates"))?.as_primitive::<Date32Type>();
        let mut written = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let end = self.ends.end(numbers.value(row));
            if let Some(end) = end
                && to_days(end) < starts.value(row)
            {
                return Err(Error::io(format!("an interval would end on {end}, before it starts")));
            }
            written.push(self.convention.encode(end).map(to_days));
        }
        let mut columns: Vec<ArrayRef> = batch.columns()[..self.table_columns].to_vec();
        columns.push(Arc::new(starts.clone()));
        columns.push(Arc::new(Date32Array::from(written)));
        RecordBatch::try_new(self.schema.clone(), columns).io_context(|| "cannot write intervals".into())
    }
}
