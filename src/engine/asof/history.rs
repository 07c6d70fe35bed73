//! A table's history as of a date: every copy up to the one that serves the date, and the intervals
//! as they were known then.
//!
//! Nothing later than the serving copy is visible. So what a job reads of the past is the same on
//! every run, whatever copies arrive later.
//!
//! **Copies** are read one after the other, in the order of their dates, each from its snapshot, or
//! from the intervals if only they still know it. Only the copies that a query needs are opened;
//! its columns are those of these copies, in types that hold the values of all of them.
//!
//! **Intervals** come from the published intervals as long as these were made from the copies that
//! there are, with the settings of the table. Otherwise they are computed by a compaction into a
//! temporary file, once for all dates of a run. Either way a date sees the rows that start up to
//! its serving copy, in the columns and types that were known by then. A row that still held on
//! that copy is shown as open, whatever ended it later. So both give the same rows.
//!
//! External copies in CSV and NDJSON have no types of their own, and a later copy may decide that a
//! column is text. Their intervals are therefore computed for each serving copy by itself, from the
//! copies up to it, and published ones serve only where copies are gone.
//!
//! Memory: a batch of one copy or of the intervals; for the compaction what every compaction needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::{Arc, PoisonError};

use arrow::array::{Array, ArrayRef, Date32Array, RecordBatch, RecordBatchOptions};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use tempfile::TempPath;

use super::{AsOfTable, RowSource, Source, TableHistory, schema_on};
use crate::domain::cast::{cast_exactly, display};
use crate::domain::path_columns::first_disagreeing;
use crate::domain::schema::{TypeClashes, unify};
use crate::engine::compaction::{Base, CompactionFacts, Pass, Settings, Sink};
use crate::engine::intervals::{Intervals, to_days};
use crate::engine::table::Table;
use crate::error::{Context, Error, Result};
use crate::model::MemoryBudget;

use crate::storage::lake::location::Location;
use crate::storage::parquet::object::BATCH_ROWS;
use crate::storage::parquet::writer::ObjectWriter;
use crate::storage::{Batches, within};

/// The column of a table's copies that says which copy a row is of.
pub const SNAPSHOT_DATE: &str = "snapshot_date";

/// What a history is made with, beside the table's copies.
pub struct HistorySettings {
    /// How intervals are made and written.
    pub settings: Settings,
    /// About how much memory may be used.
    pub memory: MemoryBudget,
    /// How many threads decode.
    pub threads: usize,
}

/// Intervals that were computed for a run.
pub(super) struct Computed {
    /// The last copy that they were made from.
    until: NaiveDate,
    /// Whether they serve that copy alone, since the types of text depend on the last copy.
    has_text: bool,
    intervals: Arc<Intervals>,
    /// The file that they are in.
    _file: TempPath,
}

/// Some copies of a table, opened: their columns with `snapshot_date`, and how to read them.
#[derive(Clone)]
pub struct Copies {
    /// The columns of all of them, with the label of the copy as the last one.
    pub schema: SchemaRef,
    copies: Vec<AsOfTable>,
    table: String,
}

/// The intervals as they were known on a copy.
#[derive(Clone)]
pub struct KnownIntervals {
    /// The table's columns and the interval's two.
    pub schema: SchemaRef,
    intervals: Arc<Intervals>,
    /// The place of the last copy among those that the intervals were made from.
    last: usize,
}

impl TableHistory {
    /// Makes the intervals of the table available, for jobs that read them.
    #[must_use]
    pub fn with_settings(self, settings: HistorySettings) -> Self {
        TableHistory {
            settings: Some(settings),
            ..self
        }
    }

    /// How the intervals of the table are made, if a job reads them.
    pub fn settings(&self) -> Option<&HistorySettings> {
        self.settings.as_ref()
    }

    /// The dates of the copies up to the one that serves a date, ascending.
    pub fn until(&self, serving: NaiveDate) -> &[NaiveDate] {
        &self.observed[..self.observed.partition_point(|seen| *seen <= serving)]
    }

    /// The copies of some dates. If there are no dates, the columns are those of the serving copy.
    ///
    /// # Errors
    /// A failure or refusal of opening one; a refusal of types that no type holds.
    pub fn copies(&self, dates: &[NaiveDate], serving: NaiveDate) -> Result<Copies> {
        let opened = if dates.is_empty() { &[serving] } else { dates };
        let mut table = self.table.clone();
        let name = table.name.to_string();
        let (columns, copies) = loop {
            let copies = opened
                .iter()
                .map(|date| self.copy(&table, *date))
                .collect::<Result<Vec<_>>>()?;
            match unified(copies.iter().map(|copy| (copy.observed, &copy.schema))) {
                Ok(columns) => break (columns, copies),
                Err((clashes, date)) => {
                    let clashing: Vec<&String> =
                        clashes.0.iter().map(|clash| &clash.column).collect();
                    if clashing
                        .iter()
                        .any(|column| table.types.declared.contains_key(*column))
                        || !self.has_text(opened)?
                    {
                        return Err(clashes.refusal(&name, date));
                    }
                    // As in a compaction: types that were inferred give way to text.
                    table.types.declared.extend(
                        clashing
                            .into_iter()
                            .map(|column| (column.clone(), DataType::Utf8)),
                    );
                }
            }
        };
        let copies = if dates.is_empty() { Vec::new() } else { copies };
        let fields = columns
            .fields()
            .iter()
            .filter(|field| field.name() != SNAPSHOT_DATE)
            .cloned();
        let label = Arc::new(Field::new(SNAPSHOT_DATE, DataType::Date32, true));
        let schema = Arc::new(Schema::new(fields.chain([label]).collect::<Vec<_>>()));
        Ok(Copies {
            schema,
            copies,
            table: name,
        })
    }

    /// One copy. Text is read in the types of its own values: those of other copies are not known
    /// on every date.
    fn copy(&self, table: &Table, date: NaiveDate) -> Result<AsOfTable> {
        let Some(objects) = self
            .snapshots
            .get(&date)
            .filter(|_| self.using != RowSource::Intervals)
        else {
            return self.as_of(date, false);
        };
        let schema = if table.own {
            self.columns_on(date)?
        } else {
            table.open(date, objects, None)?.schema
        };
        Ok(AsOfTable {
            observed: date,
            schema,
            source: Source::Snapshot(Box::new(table.clone()), objects.clone()),
        })
    }

    /// Whether a copy is text, whose types are inferred.
    fn has_text(&self, dates: &[NaiveDate]) -> Result<bool> {
        for objects in dates.iter().filter_map(|date| self.snapshots.get(date)) {
            if !self.table.format_of(objects)?.carries_types() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every column that was known up to the serving copy, and then those that only later copies
    /// have, in the type of the first of them.
    ///
    /// # Errors
    /// A failure or refusal of reading footers, or types that do not widen.
    pub fn columns_known(&self, serving: NaiveDate) -> Result<SchemaRef> {
        let mut all: SchemaRef = Arc::new(Schema::empty());
        let every = self.every_snapshot()?;
        let intervals = self
            .intervals
            .as_ref()
            .map(|intervals| intervals.observed())
            .unwrap_or_default();
        let dates: BTreeSet<NaiveDate> = self
            .observed
            .iter()
            .chain(every.keys())
            .chain(&intervals)
            .copied()
            .collect();
        for date in dates {
            let schema = match (every.get(&date), &self.intervals) {
                (Some(objects), _) => {
                    self.table
                        .open(date, objects, self.pinned(date)?.as_ref())?
                        .schema
                }
                (None, Some(intervals)) => self.table.as_declared(&schema_on(intervals, date)?),
                (None, None) => continue,
            };
            if date <= serving {
                all = unify(&all, &schema)
                    .map_err(|clash| clash.refusal(self.table.name.as_str(), date))?
                    .0;
            } else {
                let is_new = |field: &&Arc<Field>| all.field_with_name(field.name()).is_err();
                let fields: Vec<_> = all
                    .fields()
                    .iter()
                    .chain(schema.fields().iter().filter(is_new))
                    .cloned()
                    .collect();
                all = Arc::new(Schema::new(fields));
            }
        }
        Ok(all)
    }

    /// The same, of the columns that intervals have: those that are selected.
    ///
    /// # Errors
    /// As [`TableHistory::columns_known`].
    pub fn columns_of_intervals(&self, serving: NaiveDate) -> Result<SchemaRef> {
        let known = self.columns_known(serving)?;
        Ok(self.settings.as_ref().map_or_else(
            || known.clone(),
            |made_with| made_with.settings.selection.kept(&known),
        ))
    }

    /// The intervals as they were known on the serving copy.
    ///
    /// # Errors
    /// A refusal of gaps up to that copy, and of whatever a compaction refuses.
    pub fn known_on(&self, serving: NaiveDate) -> Result<KnownIntervals> {
        let Some(made_with) = &self.settings else {
            return Err(Error::internal(
                "the settings of the intervals are not known",
            ));
        };
        let dates = self.until(serving);
        made_with
            .settings
            .policy
            .check(self.table.name.as_str(), dates)?;
        let kept = self.kept(&made_with.settings, dates)?;
        let intervals = match (&self.published, kept == dates.len()) {
            (Some(published), true) => published.clone(),
            _ => self.computed(made_with, serving, kept)?,
        };
        let last = intervals
            .footer
            .observed
            .iter()
            .position(|seen| seen.date == serving);
        let last = last.ok_or_else(|| {
            self.table
                .refuse(serving, "the intervals do not hold the snapshot")
        })?;
        let schema = intervals.known_schema(last)?;
        Ok(KnownIntervals {
            schema,
            intervals,
            last,
        })
    }

    /// How many copies, from the first one on, the published intervals were made from as they are
    /// now.
    fn kept(&self, settings: &Settings, dates: &[NaiveDate]) -> Result<usize> {
        let Some(published) = self
            .published
            .as_ref()
            .filter(|_| self.using != RowSource::Snapshots)
        else {
            return Ok(0);
        };
        if Settings::of(published) != *settings {
            return Ok(0);
        }
        for (index, (date, seen)) in dates.iter().zip(&published.footer.observed).enumerate() {
            let schema = published.schema_of(index)?;
            if *date != seen.date || self.table.as_declared(&schema) != schema {
                return Ok(index);
            }
            let Some(objects) = self
                .snapshots
                .get(date)
                .filter(|_| self.using != RowSource::Intervals)
            else {
                continue;
            };
            if !self.table.format_of(objects)?.carries_types() {
                return Ok(index);
            }
            let facts = self.facts(*date)?;
            let same_types = facts
                .schema
                .as_ref()
                .is_none_or(|columns| *columns == schema);
            if !same_types || !(seen.is(facts.fingerprint) || seen.is(facts.stored)) {
                return Ok(index);
            }
        }
        Ok(dates.len().min(published.footer.observed.len()))
    }

    /// Intervals of the copies up to the serving one at least, of which published ones know the
    /// first `kept`.
    fn computed(
        &self,
        made_with: &HistorySettings,
        serving: NaiveDate,
        kept: usize,
    ) -> Result<Arc<Intervals>> {
        let mut computed = self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = computed
            .iter()
            .find(|known| known.until == serving || (known.until > serving && !known.has_text))
        {
            return Ok(known.intervals.clone());
        }
        let has_text = self.has_text(&self.observed)?;
        let horizon = self.horizon(serving);
        // A later copy that cannot be read is not a failure of this date.
        let whole = if has_text || horizon == serving {
            None
        } else {
            self.compute(made_with, horizon, kept).ok()
        };
        let (until, (file, intervals)) = match whole {
            Some(whole) => (horizon, whole),
            None => (serving, self.compute(made_with, serving, kept)?),
        };
        let intervals = Arc::new(intervals);
        computed.push(Computed {
            until,
            has_text,
            intervals: intervals.clone(),
            _file: file,
        });
        Ok(intervals)
    }

    fn compute(
        &self,
        made_with: &HistorySettings,
        until: NaiveDate,
        kept: usize,
    ) -> Result<(TempPath, Intervals)> {
        let dates = self.until(until);
        let gone = |date: &&NaiveDate| {
            self.using == RowSource::Intervals || !self.snapshots.contains_key(*date)
        };
        if let Some(date) = dates[kept..].iter().find(gone) {
            let what = format!(
                "the intervals have to be computed, and the snapshot of {date} is known only to \
                 the published ones"
            );
            return Err(Error::refused(format!("table {}: {what}", self.table.name))
                .hint(format!("asof compact {}", self.table.name)));
        }
        let days: Vec<_> = dates[kept..]
            .iter()
            .filter_map(|date| Some((*date, self.snapshots.get(date)?.clone())))
            .collect();
        let base = self
            .published
            .clone()
            .filter(|_| kept > 0)
            .map(|intervals| Base { intervals, kept });
        let mut table = self.table.clone();
        loop {
            let pass = Pass {
                table: &table,
                settings: &made_with.settings,
                base: base.as_ref(),
                part: None,
                memory: made_with.memory,
                threads: made_with.threads,
                step: &|_, _| {},
            };
            let mut output = Temporary::new(&table, &made_with.settings)?;
            let facts = pass.run(&days, &mut output)?;
            if facts.as_text.is_empty() {
                return output.finish(&facts);
            }
            table.types.declared.extend(
                facts
                    .as_text
                    .into_iter()
                    .map(|column| (column, DataType::Utf8)),
            );
        }
    }

    /// The last copy that a date of the run may see.
    fn horizon(&self, serving: NaiveDate) -> NaiveDate {
        self.snapshots
            .keys()
            .next_back()
            .copied()
            .unwrap_or(serving)
            .max(serving)
    }
}

/// The schema that holds all of some copies.
fn unified<'a>(
    schemas: impl Iterator<Item = (NaiveDate, &'a SchemaRef)>,
) -> Result<SchemaRef, (TypeClashes, NaiveDate)> {
    let mut all: SchemaRef = Arc::new(Schema::empty());
    for (date, schema) in schemas {
        all = unify(&all, schema).map_err(|clashes| (clashes, date))?.0;
    }
    Ok(all)
}

impl Copies {
    /// The dates of the copies.
    pub fn dates(&self) -> Vec<NaiveDate> {
        self.copies.iter().map(|copy| copy.observed).collect()
    }

    /// Only the copies of some dates, with the columns of all.
    #[must_use]
    pub fn only(&self, dates: &[NaiveDate]) -> Self {
        let copies = self
            .copies
            .iter()
            .filter(|copy| dates.contains(&copy.observed))
            .cloned()
            .collect();
        Copies {
            copies,
            ..self.clone()
        }
    }

    /// The rows of all copies, with the named columns, by date and in the order of each copy. A
    /// column that a copy does not have is null.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read(&self, columns: &[String]) -> Result<Batches> {
        let target = select(&self.schema, columns);
        let schema = target.clone();
        let copies = self.copies.clone();
        let table = self.table.clone();
        let columns = columns.to_vec();
        let batches = copies.into_iter().flat_map(move |copy| {
            let schema = schema.clone();
            let place = format!("table {table}, {}", copy.observed);
            let date = copy.observed;
            let mut wanted = columns.clone();
            if copy.schema.field_with_name(SNAPSHOT_DATE).is_ok()
                && !wanted.iter().any(|name| name == SNAPSHOT_DATE)
            {
                wanted.push(SNAPSHOT_DATE.to_owned());
            }
            match copy.read(&wanted) {
                Ok(batches) => within(
                    Box::new(batches.map(move |batch| labelled(&batch?, date, &schema))),
                    place,
                ),
                Err(error) => Box::new(std::iter::once(Err(error.within(place)))),
            }
        });
        Ok(in_even_batches(Box::new(batches), target))
    }
}

/// Rows of a copy with its label. A column of the copy that has the name of the label must agree
/// with it.
fn labelled(batch: &RecordBatch, date: NaiveDate, schema: &SchemaRef) -> Result<RecordBatch> {
    let days = to_days(date);
    if let Some(column) = batch.column_by_name(SNAPSHOT_DATE)
        && let Some(row) = first_disagreeing(column, Some(&date.to_string()), Some(date), false)?
    {
        let held = if column.is_null(row) {
            "null".to_owned()
        } else {
            display(column, row)
        };
        let what = format!(
            "the copy's own column '{SNAPSHOT_DATE}' holds {held}, and a query sees the date of \
             the copy under that name"
        );
        return Err(Error::refused(what).hint("rename the column in the source"));
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            _ if field.name() == SNAPSHOT_DATE => {
                Ok(Arc::new(Date32Array::from_value(days, batch.num_rows())) as ArrayRef)
            }
            Some(column) => cast_exactly(column, field.data_type(), field.name()),
            None => Ok(arrow::array::new_null_array(
                field.data_type(),
                batch.num_rows(),
            )),
        });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .io_context(|| "cannot bring rows into one schema".into())
}

impl KnownIntervals {
    /// Whether the intervals are those that the lake has.
    pub fn is_published(&self, history: &TableHistory) -> bool {
        history
            .published
            .as_ref()
            .is_some_and(|published| Arc::ptr_eq(published, &self.intervals))
    }

    /// The rows with the named columns, in order of key and start.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read(&self, columns: &[String]) -> Result<Batches> {
        let target = select(&self.schema, columns);
        Ok(in_even_batches(
            self.intervals.known_on(self.last, columns)?,
            target,
        ))
    }
}

/// The named columns of a schema, in its order.
fn select(schema: &SchemaRef, columns: &[String]) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .filter(|field| columns.contains(field.name()))
        .cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Batches of a fixed number of rows: the last digits of a sum of floats depend on where batches
/// end.
fn in_even_batches(mut batches: Batches, schema: SchemaRef) -> Batches {
    if schema.fields().is_empty() {
        return batches;
    }
    let mut even = Some(BatchCoalescer::new(schema, BATCH_ROWS));
    Box::new(std::iter::from_fn(move || {
        loop {
            let coalescer = even.as_mut()?;
            if let Some(batch) = coalescer.next_completed_batch() {
                return Some(Ok(batch));
            }
            let pushed = match batches.next() {
                Some(Ok(batch)) => coalescer.push_batch(batch),
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    let finished = coalescer.finish_buffered_batch();
                    let last = coalescer.next_completed_batch();
                    even = None;
                    return match finished {
                        Ok(()) => last.map(Ok),
                        Err(error) => Some(Err(Error::io(format!("cannot join rows: {error}")))),
                    };
                }
            };
            if let Err(error) = pushed {
                return Some(Err(Error::io(format!("cannot join rows: {error}"))));
            }
        }
    }))
}

/// Intervals on their way into a temporary file.
struct Temporary<'a> {
    table: &'a Table,
    settings: &'a Settings,
    file: TempPath,
    writer: Option<ObjectWriter>,
}

impl<'a> Temporary<'a> {
    fn new(table: &'a Table, settings: &'a Settings) -> Result<Self> {
        let file = tempfile::Builder::new()
            .prefix("asof-intervals-")
            .suffix(".parquet")
            .tempfile();
        let file = file
            .io_context(|| "cannot make a temporary file".into())?
            .into_temp_path();
        Ok(Temporary {
            table,
            settings,
            file,
            writer: None,
        })
    }

    fn finish(self, facts: &CompactionFacts) -> Result<(TempPath, Intervals)> {
        let footer = self.settings.footer(self.table, facts, &BTreeMap::new());
        self.writer
            .ok_or_else(|| Error::internal("nothing was begun"))?
            .finish(&footer)?;
        let intervals = Intervals::open(&Location::local(self.file.to_path_buf()))?;
        Ok((
            self.file,
            intervals.ok_or_else(|| Error::internal("the temporary intervals are gone"))?,
        ))
    }
}

impl Sink for Temporary<'_> {
    fn begin(&mut self, table: &SchemaRef, schema: &SchemaRef) -> Result<()> {
        self.settings.check(table, self.table)?;
        let file =
            File::create(&self.file).io_context(|| "cannot write a temporary file".into())?;
        let mut sorted_by = self.table.key.clone();
        sorted_by.push(self.settings.convention.start_column.clone());
        self.writer = Some(ObjectWriter::create(
            file,
            schema,
            &sorted_by,
            &Location::local(self.file.to_path_buf()),
        )?);
        Ok(())
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.writer.as_mut().map_or_else(
            || Err(Error::internal("nothing was begun")),
            |writer| writer.write(rows),
        )
    }
}
