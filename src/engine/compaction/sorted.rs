//! The pass over snapshots that are sorted by the key: range of keys by range of keys, each snapshot decoded once.
//!
//! All footers are read first, so that the table's columns are known before a row is. Then, for each range of keys
//! ([`super::ranges`]), the rows of every snapshot in it are merged with those of the one before ([`crate::domain::merge`]), in order of the dates.
//! The ends of a range's intervals are known when its last snapshot has been merged: its rows, nearly all of which are in order, are put in order and handed on,
//! and the next range begins. The order of keys and starts over the whole is the order of the ranges.
//!
//! Decoding is nearly all of the work, and nothing in it depends on the order of the dates: threads decode the next snapshots of the range, and the first of the
//! next one, while this thread merges ([`super::super::ahead`]).
//!
//! Memory: two decoded ranges a thread and three more, each of about [`RANGE_BYTES`], or less with a small budget; the sorter's budget for the rows that open
//! intervals in a range; and the footers of all snapshots, which is all that grows with their number. It does not depend on how many keys there are.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::{BatchCoalescer, concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use chrono::NaiveDate;

use super::ranges::{Boundaries, SortedObject, partition_point};
use super::{Base, CompactionFacts, DayChanges, Ending, Part, Pass, Sink, Snapshots, with_interval, with_number};
use crate::domain::cast::conform;
use crate::domain::compact::Changes;
use crate::domain::digest::{Fingerprint, RowSum};
use crate::domain::interval::Interval;
use crate::domain::merge::{KeyOrder, Merge, MergeError, SortedRows};
use crate::engine::ahead::{Ahead, Task};
use crate::engine::intervals::{IntervalBatch, to_days};
use crate::engine::table::{Snapshot, Table, all_digests, duplicate_keys, show_key};
use crate::error::{Context, Error, Result};
use crate::phases::Phase;
use crate::storage::Batches;
use crate::storage::object::BATCH_ROWS;
use crate::storage::sorter::{BUDGET, Sorter, one_zero};

/// The most that a range of one snapshot should have in memory, in bytes.
const RANGE_BYTES: u64 = 32 << 20;
/// The most rows in a range, and the least.
const RANGE_ROWS: std::ops::RangeInclusive<u64> = 256..=524_288;
/// How often ranges that are too large are divided.
const DIVISIONS: usize = 64;

/// Does the pass, unless a snapshot is no single Parquet object, or is not sorted by the key: then nothing that the sink was given counts.
pub(super) fn run(pass: &Pass<'_>, days: Snapshots<'_>, sink: &mut dyn Sink) -> Result<Option<CompactionFacts>> {
    let Some(opened) = open(pass, days)? else { return Ok(None) };
    let Some(plan) = Plan::new(pass, opened)? else { return Ok(None) };
    plan.run(pass, sink)
}

/// A snapshot whose footer has been read.
struct Opened {
    date: NaiveDate,
    schema: SchemaRef,
    known: Option<(u64, Fingerprint)>,
    object: crate::storage::object::ParquetObject,
}

/// Reads every footer; nothing, if a snapshot cannot be read by ranges of the key.
fn open(pass: &Pass<'_>, days: Snapshots<'_>) -> Result<Option<Vec<Opened>>> {
    let single = |objects: &[_]| objects.len() == 1 && (pass.table.own || crate::source::is_parquet(objects).unwrap_or(false));
    if !days.iter().all(|(_, objects)| single(objects)) {
        return Ok(None);
    }
    let task = |(date, objects): &(NaiveDate, Vec<_>)| -> Task<Option<Opened>> {
        let (table, date, objects) = (pass.table.clone(), *date, objects.clone());
        Box::new(move || open_one(&table, date, table.open(date, &objects, None)?))
    };
    let waiting = if pass.table.root.store().is_some() { 16 } else { pass.threads };
    let opened = Ahead::new(waiting, 2 * waiting, days.iter().map(task))?;
    opened.collect()
}

fn open_one(table: &Table, date: NaiveDate, snapshot: Snapshot) -> Result<Option<Opened>> {
    let schema = snapshot.schema.clone();
    let footer = snapshot.footer.as_ref();
    let known = footer.map(|footer| (footer.rows, footer.fingerprint));
    // Its rows are in the order of the key that it was written with.
    if footer.is_some_and(|footer| footer.key != table.key) {
        return Ok(None);
    }
    let Some(object) = snapshot.into_object()? else { return Ok(None) };
    if let Some((rows, _)) = known.filter(|(rows, _)| *rows != object.rows()) {
        let error = table.refuse(date, format!("its footer says {rows} rows, and there are {}", object.rows()));
        return Err(error.hint(format!("asof verify {}", table.name)));
    }
    Ok(Some(Opened { date, schema, known, object }))
}

/// A snapshot of the pass.
struct Day {
    date: NaiveDate,
    rows: u64,
    known: Option<Fingerprint>,
    schema: SchemaRef,
    /// Positions, among the compared columns, of those that the snapshot before did not have.
    appeared: Vec<usize>,
    /// Its rows; nothing if they are known to be those of the snapshot before.
    source: Option<Arc<Source>>,
}

/// An object with the rows at which ranges begin.
struct Source {
    sorted: Arc<SortedObject>,
    cuts: Vec<u64>,
}

/// What threads need to know to decode a range of a snapshot.
struct Shape {
    table: Table,
    /// The columns of the result.
    wide: SchemaRef,
    /// The part of the table that is wanted; all of it if nothing.
    part: Option<Part>,
    /// The positions in `wide` of the compared columns beside the key.
    compared: Vec<usize>,
}

struct Plan<'a> {
    days: Vec<Day>,
    base: Option<(&'a Base, Vec<u64>)>,
    boundaries: Boundaries,
    shape: Arc<Shape>,
    facts: CompactionFacts,
}

impl<'a> Plan<'a> {
    fn new(pass: &Pass<'a>, opened: Vec<Opened>) -> Result<Option<Self>> {
        let mut observing = pass.observing()?;
        for Opened { date, schema, object, known } in &opened {
            observing.saw(*date, object.rows(), known.map_or(Fingerprint(0), |(_, fingerprint)| fingerprint), schema)?;
        }
        let Some(table_schema) = observing.schema.clone() else { return Ok(None) };
        let wide: SchemaRef = match pass.part {
            None => table_schema,
            Some(part) => {
                let fields = table_schema.fields().iter().filter(|field| part.columns.contains(field.name()));
                Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
            }
        };
        let key = &pass.settings.comparison.key;
        if key.iter().any(|key| wide.field_with_name(key).is_ok_and(|field| field.data_type().is_nested())) {
            return Ok(None);
        }
        let covers = |name: &String| pass.settings.comparison.covers(name) && !key.contains(name);
        let compared: Vec<usize> = (0..wide.fields().len()).filter(|at| covers(wide.field(*at).name())).collect();
        let shape = Shape { table: pass.table.clone(), wide: wide.clone(), part: pass.part.cloned(), compared };
        let mut days = Vec::with_capacity(opened.len());
        let mut sorted: Vec<Option<SortedObject>> = Vec::new();
        let mut before = pass.base.map(|base| (base.last(), Some(base.observed()[base.kept - 1].fingerprint)));
        let mut schema_before = pass.base.map(|base| base.intervals.schema_of(base.kept - 1)).transpose()?;
        for Opened { date, schema, known, object } in opened {
            let (rows, known) = (object.rows(), known.map(|(_, fingerprint)| fingerprint));
            let same =
                before.is_some_and(|(last, fingerprint)| known.is_some() && known == fingerprint && pass.settings.policy.joins(last, date));
            let has = |schema: &Schema, at: usize| schema.field_with_name(wide.field(at).name()).is_ok();
            let appeared = |before: &SchemaRef| {
                let new = |at: &usize| has(&schema, shape.compared[*at]) && !has(before, shape.compared[*at]);
                (0..shape.compared.len()).filter(new).collect()
            };
            let appeared = schema_before.as_ref().map(appeared).unwrap_or_default();
            sorted.push(if same { None } else { Some(SortedObject::new(Arc::new(object), key, &schema, &wide, true)?) });
            (before, schema_before) = (Some((date, known)), Some(schema.clone()));
            days.push(Day { date, rows, known, schema, appeared, source: None });
        }
        let base = pass
            .base
            .map(|base| SortedObject::new(base.intervals.object().clone(), key, &base.intervals.table_schema(), &wide, false))
            .transpose()?;
        // Keys that are not kept may be of a wider type than those that are.
        let fields = |schema: &Schema| key.iter().map(|key| schema.field_with_name(key).ok().cloned()).collect::<Vec<_>>();
        if pass.base.is_some_and(|base| !base.is_whole() && fields(&base.intervals.table_schema()) != fields(&wide)) {
            return Ok(None);
        }
        let base = base.map(Arc::new);
        let sorted: Vec<Option<Arc<SortedObject>>> = sorted.into_iter().map(|sorted| sorted.map(Arc::new)).collect();
        let all: Vec<Arc<SortedObject>> = base.iter().chain(sorted.iter().flatten()).cloned().collect();
        let Some((boundaries, cuts)) = cut(pass, &all)? else { return Ok(None) };
        let mut cuts = cuts.into_iter();
        let base = pass.base.zip(base.and_then(|_| cuts.next()));
        for (day, sorted) in days.iter_mut().zip(sorted) {
            day.source = sorted.and_then(|sorted| Some(Arc::new(Source { sorted, cuts: cuts.next()? })));
        }
        Ok(Some(Plan { days, base, boundaries, shape: Arc::new(shape), facts: observing.facts }))
    }
}

/// How many rows of a range keep what is held within the budget.
fn rows_of_a_range(pass: &Pass<'_>, objects: &[Arc<SortedObject>]) -> u64 {
    let held = 8 * (2 * pass.threads as u64 + 2);
    let range_bytes = (pass.memory.0 / held).min(RANGE_BYTES);
    let columns = pass.part.map(|part| part.columns.as_slice());
    let row_bytes = |sorted: &Arc<SortedObject>| sorted.object.bytes_in_memory(columns) / sorted.object.rows().max(1);
    let row_bytes = objects.iter().map(row_bytes).max().unwrap_or(0).max(1);
    (range_bytes / row_bytes).clamp(*RANGE_ROWS.start(), *RANGE_ROWS.end())
}

/// Divides the keys into ranges, and says where they lie in each object; nothing, if one cannot be read by ranges.
///
/// Ranges are chosen by the largest object. Where the keys of others are not among its own, as in a table that keeps the last month only, ranges would be as
/// large as those: the largest of them is divided by its own keys, until none is much too large.
pub(super) fn cut(pass: &Pass<'_>, objects: &[Arc<SortedObject>]) -> Result<Option<(Boundaries, Vec<Vec<u64>>)>> {
    let rows_each = rows_of_a_range(pass, objects);
    let rows_of_groups = |sorted: &Arc<SortedObject>| sorted.object.rows() / sorted.object.group_starts().len().max(1) as u64;
    let is_coarse = |sorted: &Arc<SortedObject>| !sorted.object.knows_its_pages() && rows_of_groups(sorted) > 4 * rows_each;
    if objects.iter().any(is_coarse) {
        return Ok(None);
    }
    let mut boundaries = match objects.iter().max_by_key(|sorted| sorted.object.rows()) {
        Some(largest) => Boundaries::none().with(largest, &(0..largest.object.rows()), rows_each)?,
        None => Boundaries::none(),
    };
    let mut divisions = 0;
    loop {
        // Where the ranges lie in each object is looked up side by side.
        let shared = Arc::new(boundaries);
        let task = |sorted: &Arc<SortedObject>| -> Task<Option<Vec<u64>>> {
            let (sorted, boundaries) = (sorted.clone(), shared.clone());
            Box::new(move || sorted.cut(&boundaries))
        };
        let cuts: Option<Vec<Vec<u64>>> = Ahead::new(pass.threads, 2 * pass.threads, objects.iter().map(task))?.collect::<Result<_>>()?;
        let Some(cuts) = cuts else { return Ok(None) };
        boundaries = Arc::into_inner(shared).ok_or_else(|| Error::io("keys of ranges are still in use"))?;
        let ranges = cuts.iter().zip(objects).flat_map(|(cuts, sorted)| cuts.windows(2).map(move |ends| (sorted, ends[0]..ends[1])));
        let largest = ranges.max_by_key(|(_, rows)| rows.end - rows.start);
        match largest.filter(|(_, rows)| rows.end - rows.start > 2 * rows_each && divisions < DIVISIONS) {
            Some((sorted, rows)) => boundaries = boundaries.with(sorted, &rows, rows_each)?,
            None => return Ok(Some((boundaries, cuts))),
        }
        divisions += 1;
    }
}

/// Columns in the types that are declared for them: a foreign file may have others.
fn conform_to(batch: &RecordBatch, declared: &SchemaRef) -> Result<RecordBatch> {
    let own = batch.schema_ref();
    let is_declared = |field: &FieldRef| declared.field_with_name(field.name()).is_ok_and(|known| known.data_type() == field.data_type());
    if own.fields().iter().all(is_declared) {
        return Ok(batch.clone());
    }
    let fields = declared.fields().iter().filter(|field| own.field_with_name(field.name()).is_ok());
    conform(batch, &Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>())))
}

/// The rows of one range: of the intervals that are taken over, or of a snapshot.
enum Decoded {
    Base(Vec<Resumed>),
    Day(Rows),
}

/// Intervals that are taken over.
struct Resumed {
    rows: RecordBatch,
    starts: ArrayRef,
    /// When each ended; nothing for those that are open.
    ends: Vec<Option<NaiveDate>>,
    /// The rows of those that are open.
    open: SortedRows,
}

/// A range of a snapshot.
#[derive(Default)]
struct Rows {
    batches: Vec<RecordBatch>,
    rows: Vec<SortedRows>,
    sum: RowSum,
}

impl Shape {
    /// Decodes a range of a snapshot.
    fn decode(&self, date: NaiveDate, schema: &SchemaRef, known: bool, source: &Source, range: usize) -> Result<Rows> {
        let mut decoded = Rows::default();
        let within = |error: Error| error.within(format!("table {}, {date}", self.table.name));
        for batch in source.sorted.object.read_rows(self.columns(), &(source.cuts[range]..source.cuts[range + 1]))? {
            let mut own = conform_to(&batch?, schema).map_err(within)?;
            match &self.part {
                Some(part) => own = Phase::Query.spend(|| (part.rows)(&own))?,
                None if !known => decoded.sum.add(&all_digests(&own)?),
                None => {}
            }
            let rows = conform(&own, &self.wide).map_err(within)?;
            decoded.rows.push(self.sorted_rows(&rows, self.table.key_columns(&rows, date)?));
            decoded.batches.push(rows);
        }
        Ok(decoded)
    }

    fn columns(&self) -> Option<&[String]> {
        self.part.as_ref().map(|part| part.columns.as_slice())
    }

    /// The intervals of a batch that begin before `last` is over, as they were on that date.
    fn resumed(&self, batch: IntervalBatch, last: NaiveDate) -> Result<Resumed> {
        let select = |taken: BooleanArray, rows: &RecordBatch| filter_record_batch(rows, &taken).io_context(|| "cannot select rows".into());
        let is_kept = |interval: &Interval| interval.start <= last;
        let (mut rows, mut intervals) = (batch.rows, batch.intervals);
        // What is not kept may have values that do not fit the types of what is.
        if !intervals.iter().all(is_kept) {
            rows = select(intervals.iter().map(|interval| Some(is_kept(interval))).collect(), &rows)?;
            intervals.retain(is_kept);
        }
        let rows = conform(&rows, &self.wide)?;
        let ends: Vec<Option<NaiveDate>> = intervals.iter().map(|interval| interval.end.filter(|_| !interval.holds(last))).collect();
        let open = select(ends.iter().map(|end| Some(end.is_none())).collect(), &rows)?;
        let keys = self.table.key_columns(&open, last)?;
        let starts = Arc::new(Date32Array::from_iter_values(intervals.iter().map(|interval| to_days(interval.start))));
        Ok(Resumed { rows, starts, ends, open: self.sorted_rows(&open, keys) })
    }

    fn sorted_rows(&self, rows: &RecordBatch, keys: Vec<ArrayRef>) -> SortedRows {
        SortedRows { keys, values: self.compared.iter().map(|at| rows.column(*at).clone()).collect() }
    }
}

impl Plan<'_> {
    /// What threads are to decode, in the order in which it is needed.
    fn parts(&self) -> impl Iterator<Item = Task<Decoded>> + '_ {
        (0..self.boundaries.ranges()).flat_map(move |range| {
            let base = self.base.iter().map(move |(base, cuts)| -> Task<Decoded> {
                let (intervals, rows) = (base.intervals.clone(), cuts[range]..cuts[range + 1]);
                let shape = self.shape.clone();
                let last = base.last();
                let task = move || {
                    let batches = intervals.read_rows(shape.columns(), &rows)?;
                    batches.map(|batch| shape.resumed(batch?, last)).collect::<Result<_>>().map(Decoded::Base)
                };
                Box::new(task)
            });
            let days = self.days.iter().filter_map(move |day| {
                let (source, shape, schema) = (day.source.clone()?, self.shape.clone(), day.schema.clone());
                let (date, known) = (day.date, day.known.is_some());
                let task: Task<Decoded> = Box::new(move || shape.decode(date, &schema, known, &source, range).map(Decoded::Day));
                Some(task)
            });
            base.chain(days)
        })
    }

    fn run(mut self, pass: &Pass<'_>, sink: &mut dyn Sink) -> Result<Option<CompactionFacts>> {
        let convention = &pass.settings.convention;
        let wide = self.shape.wide.clone();
        let schema = with_interval(&wide, convention);
        sink.begin(&wide, &schema)?;
        let mut facts = std::mem::take(&mut self.facts);
        let mut changes = vec![Changes::default(); self.days.len()];
        let mut sums = vec![RowSum::default(); self.days.len()];
        let mut parts = Ahead::new(pass.threads, 2 * pass.threads + 1, self.parts())?;
        let mut next = || parts.next().unwrap_or_else(|| Err(Error::io("there was less to decode than planned")));
        let total = self.days.len() as u64;
        let steps = total * self.boundaries.ranges() as u64;
        for range in 0..self.boundaries.ranges() {
            let mut merge = Merge::after(pass.settings.policy, pass.base_dates());
            let mut gathered = Gathered::new(pass, &wide);
            if self.base.is_some() {
                let Decoded::Base(batches) = next()? else { return Err(Error::io("parts came out of order")) };
                for Resumed { rows, starts, ends, open } in batches {
                    let first = merge.intervals();
                    merge.resume(&ends, open).map_err(out_of_order)?;
                    gathered.resumed(&rows, starts, first)?;
                }
            }
            for (number, day) in self.days.iter().enumerate() {
                let done = (range as u64 * total + number as u64) * total / steps.max(1);
                (pass.step)(done, total);
                if day.source.is_none() {
                    if !merge.unchanged(day.date) {
                        return Err(Error::io(format!("nothing precedes the snapshot of {}", day.date)));
                    }
                    continue;
                }
                let Decoded::Day(decoded) = next()? else { return Err(Error::io("parts came out of order")) };
                let some = |rows: &&SortedRows| !rows.is_empty();
                let bounds = [decoded.rows.iter().find(some), decoded.rows.iter().rfind(some)];
                for rows in bounds.into_iter().flatten() {
                    if !self.boundaries.hold(range, &rows.keys)? {
                        return Ok(None);
                    }
                }
                sums[number].merge(decoded.sum);
                let first = merge.intervals();
                let taken = match Phase::Compare.spend(|| merge.take(day.date, decoded.rows, &day.appeared)) {
                    Ok(taken) => taken,
                    Err(MergeError::Unordered) => return Ok(None),
                    Err(MergeError::Failed(error)) => return Err(error.within(format!("table {}, {}", pass.table.name, day.date))),
                    Err(MergeError::Duplicate { piece, row }) => {
                        let key = &pass.settings.comparison.key;
                        let shown = vec![show_key(&decoded.batches[piece], key, row)];
                        return Err(duplicate_keys(&pass.table.name, key, day.date, 1, &shown));
                    }
                };
                changes[number].add(&taken.changes);
                gathered.opened(day.date, first, &decoded.batches, taken.opened)?;
            }
            facts.intervals += merge.intervals();
            facts.open += merge.live();
            let ending = Ending::new(schema.clone(), convention, vec![(0, merge.finish())]);
            for batch in gathered.finish()? {
                sink.write(ending.put(&batch?)?)?;
            }
        }
        for ((day, changes), sum) in self.days.iter().zip(changes).zip(sums) {
            let observed = facts.observed.iter_mut().find(|observed| observed.date == day.date);
            if let Some(observed) = observed.filter(|_| day.known.is_none()) {
                (observed.fingerprint, observed.rows) = (sum.fingerprint(), day.rows);
            }
            facts.days.push(DayChanges { date: day.date, changes });
            if day.source.is_some() {
                facts.decoded += 1;
            } else {
                facts.unchanged += 1;
            }
        }
        Ok(Some(facts))
    }
}

/// What is wrong with intervals that cannot be taken over.
fn out_of_order(error: MergeError) -> Error {
    let wrong = |what: &str| Error::refused(what).hint("asof verify").hint("asof compact --full");
    match error {
        MergeError::Failed(error) => error,
        MergeError::Duplicate { .. } => wrong("two intervals of one key are open"),
        MergeError::Unordered => wrong("the intervals are not in the order of the key"),
    }
}

/// The rows of a range that open intervals, with the number of each.
///
/// Nearly all of them are in order as they come: those of the intervals that are taken over, or else of the first snapshot. They are kept apart
/// as the run, into which the others are woven if they are few.
struct Gathered {
    run: Vec<RecordBatch>,
    run_rows: usize,
    others: usize,
    sorter: Sorter,
    /// Small pieces, on their way to the sorter.
    small: BatchCoalescer,
    /// The key and the first date.
    order: Vec<String>,
    schema: SchemaRef,
}

/// The others are woven into the run if it has this many times as many rows.
const WOVEN: usize = 8;

impl Gathered {
    fn new(pass: &Pass<'_>, wide: &SchemaRef) -> Self {
        let (schema, order) = (with_number(wide), pass.order());
        let sorter = Sorter::new(&order, pass.memory.share(8).min(BUDGET));
        let small = BatchCoalescer::new(schema.clone(), BATCH_ROWS);
        Gathered { run: Vec::new(), run_rows: 0, others: 0, sorter, small, order, schema }
    }

    /// Rows of intervals that are taken over, which are numbered from `first` on.
    fn resumed(&mut self, rows: &RecordBatch, starts: ArrayRef, first: u64) -> Result<()> {
        let rows = self.numbered(rows, starts, first)?;
        let ascend = Phase::Sort.spend(|| ascend(self.run.last(), &rows, &self.order))?;
        if !ascend {
            return Err(out_of_order(MergeError::Unordered));
        }
        self.run_rows += rows.num_rows();
        self.run.push(rows);
        Ok(())
    }

    /// The rows of a snapshot that opened intervals, which are numbered from `first` on.
    fn opened(&mut self, date: NaiveDate, mut first: u64, batches: &[RecordBatch], opened: Vec<Vec<u32>>) -> Result<()> {
        // Of a first snapshot all rows.
        let begins = self.run.is_empty() && first == 0;
        for (batch, opened) in batches.iter().zip(opened) {
            let count = opened.len();
            if count == 0 {
                continue;
            }
            let starts: ArrayRef = Arc::new(Date32Array::from(vec![to_days(date); count]));
            let rows = if count == batch.num_rows() {
                self.numbered(batch, starts, first)?
            } else {
                let rows = take_record_batch(batch, &UInt32Array::from(opened)).io_context(|| "cannot set rows aside".into())?;
                self.numbered(&rows, starts, first)?
            };
            first += count as u64;
            if begins {
                self.run_rows += count;
                self.run.push(rows);
            } else {
                self.others += count;
                self.push(rows)?;
            }
        }
        Ok(())
    }

    /// Rows with their first dates and numbers.
    fn numbered(&self, rows: &RecordBatch, starts: ArrayRef, first: u64) -> Result<RecordBatch> {
        let first = u32::try_from(first).map_err(|_| Error::refused("there are too many intervals"))?;
        let numbers: ArrayRef = Arc::new(UInt32Array::from_iter_values((first..).take(rows.num_rows())));
        let mut columns = rows.columns().to_vec();
        columns.extend([starts, numbers]);
        RecordBatch::try_new(self.schema.clone(), columns).io_context(|| "cannot set rows aside".into())
    }

    fn push(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() >= BATCH_ROWS / 4 {
            return self.sorter.push(rows);
        }
        self.small.push_batch(rows).io_context(|| "cannot set rows aside".into())?;
        while let Some(rows) = self.small.next_completed_batch() {
            self.sorter.push(rows)?;
        }
        Ok(())
    }

    /// The rows in order of key and start.
    fn finish(mut self) -> Result<Batches> {
        let doing = || "cannot set rows aside".to_owned();
        self.small.finish_buffered_batch().io_context(doing)?;
        while let Some(rows) = self.small.next_completed_batch() {
            self.sorter.push(rows)?;
        }
        if self.others.saturating_mul(WOVEN) > self.run_rows {
            for rows in std::mem::take(&mut self.run) {
                self.sorter.push(rows)?;
            }
            return self.sorter.finish(&self.schema);
        }
        let others = self.sorter.finish(&self.schema)?.collect::<Result<Vec<_>>>()?;
        let others = concat_batches(&self.schema, &others).io_context(doing)?;
        let mut next = 0;
        let last = self.run.len();
        let order = self.order;
        Ok(Box::new(
            self.run.into_iter().enumerate().map(move |(at, run)| weave(&run, &others, &mut next, at + 1 == last, &order)).flat_map(
                |pieces| match pieces {
                    Ok(pieces) => pieces.into_iter().filter(|piece| piece.num_rows() > 0).map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                },
            ),
        ))
    }
}

/// The columns that rows are ordered by.
fn ordered_by(rows: &RecordBatch, order: &[String]) -> Vec<ArrayRef> {
    order.iter().filter_map(|name| rows.column_by_name(name)).map(one_zero).collect()
}

/// Whether rows are in order, and come after those before them.
fn ascend(before: Option<&RecordBatch>, rows: &RecordBatch, order: &[String]) -> Result<bool> {
    let columns = ordered_by(rows, order);
    let within = KeyOrder::of(&columns, &columns)?;
    let mut ascend = (1..rows.num_rows()).all(|row| within.compare(row - 1, row) == Ordering::Less);
    if let Some(before) = before.filter(|before| before.num_rows() > 0 && rows.num_rows() > 0) {
        ascend &= KeyOrder::of(&ordered_by(before, order), &columns)?.compare(before.num_rows() - 1, 0) == Ordering::Less;
    }
    Ok(ascend)
}

/// Pieces of a run with those of the others, from the `next` on, that come before the run's last row, or, behind the `last` run, all of them.
fn weave(run: &RecordBatch, others: &RecordBatch, next: &mut usize, last: bool, order: &[String]) -> Result<Vec<RecordBatch>> {
    Phase::Sort.spend(|| {
        let key_order = KeyOrder::of(&ordered_by(run, order), &ordered_by(others, order))?;
        let (mut pieces, mut at) = (Vec::new(), 0);
        while *next < others.num_rows() {
            let before = |row: usize, other: usize| key_order.compare(row, other) == Ordering::Less;
            let place = at + partition_point(run.num_rows() - at, |row| before(at + row, *next));
            if place == run.num_rows() && !last {
                break;
            }
            let first = *next;
            while *next < others.num_rows() && (place == run.num_rows() || !before(place, *next)) {
                *next += 1;
            }
            pieces.extend([run.slice(at, place - at), others.slice(first, *next - first)]);
            at = place;
        }
        pieces.push(run.slice(at, run.num_rows() - at));
        Ok(pieces)
    })
}
