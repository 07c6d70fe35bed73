//! The pass over snapshots that are sorted by the key: range of keys by range of keys, each
//! snapshot decoded once.
//!
//! All footers are read first, so that the table's columns are known before a row is. Then, for
//! each range of keys ([`super::ranges`]), the rows of every snapshot in it are merged with those
//! of the one before ([`crate::domain::merge_compaction`]), in order of the dates. The ends of a
//! range's intervals are known when its last snapshot has been merged: its rows, nearly all of
//! which are in order, are put in order and handed on, and the next range begins. The order of keys
//! and starts over the whole is the order of the ranges.
//!
//! Of a snapshot whose changes are recorded those are applied instead ([`super::edits`]). If the
//! next one must be decoded, its rows are decoded too, so that there are rows to compare with.
//!
//! Decoding is nearly all of the work, and nothing in it depends on the order of the dates: threads
//! decode the next snapshots of the range, and the first of the next one, while this thread merges
//! ([`super::super::ahead`]).
//!
//! Memory: two decoded ranges a thread and three more, and as many pieces of a range as threads
//! while its rows are put in order, each of about [`RANGE_BYTES`], or less with a small budget; of
//! a range of an external table 16 bytes an interval, for digests; the sorter's budget for the rows
//! that open intervals in a range; the recorded changes that are applied, up to an eighth of what
//! may be used, beyond which snapshots are decoded; and the footers of all snapshots, which is all
//! that grows with their number. It does not depend on how many keys there are.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::{filter, filter_record_batch, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::change_replay::{DayEdits, EditsOfRange};
use super::range_output::Gathered;
use super::ranges::{Boundaries, SortedObject};
use super::{
    Base, CompactionFacts, DayChanges, Ending, Part, Pass, Sink, Snapshots, with_interval,
};
use crate::domain::cast::conform;
use crate::domain::digest::{Fingerprint, RowSum};
use crate::domain::hash_compaction::Changes;
use crate::domain::interval::Interval;
use crate::domain::merge_compaction::{Merge, MergeError, SortedRows, Taken};
use crate::engine::changes;
use crate::engine::intervals::{IntervalBatch, to_days};
use crate::engine::table::{Snapshot, Table, all_digests, convert, show_key};
use crate::engine::units::{UnitSource, settle};
use crate::error::{Context, Error, Result};
use crate::model::DateRange;
use crate::parallel::{OrderedPool, Task};
use crate::phases::Phase;
use crate::source::Format;
use crate::storage::parquet::footer::ObservedWire;

/// The most that a range of one snapshot should have in memory, in bytes.
const RANGE_BYTES: u64 = 12 << 20;
/// The most rows in a range, and the least.
const RANGE_ROWS: std::ops::RangeInclusive<u64> = 256..=524_288;
/// How often ranges that are too large are divided.
const DIVISIONS: usize = 64;

/// Does the pass, unless a snapshot is not a single Parquet object, or is not sorted by the key:
/// then nothing that the sink was given counts.
pub(super) fn run(
    pass: &Pass<'_>,
    days: Snapshots<'_>,
    sink: &mut dyn Sink,
) -> Result<Option<CompactionFacts>> {
    let Some(opened) = open(pass, days)? else {
        return Ok(None);
    };
    let Some(plan) = Plan::new(pass, opened)? else {
        return Ok(None);
    };
    plan.run(pass, sink)
}

/// A snapshot whose footer has been read.
struct Opened {
    date: NaiveDate,
    schema: SchemaRef,
    /// The content of its rows as they are read, if the footer tells it, and as they are stored.
    known: Option<Fingerprint>,
    stored: Option<Fingerprint>,
    object: crate::storage::parquet::object::ParquetObject,
}

/// Reads every footer; nothing, if a snapshot cannot be read by ranges of the key.
fn open(pass: &Pass<'_>, days: Snapshots<'_>) -> Result<Option<Vec<Opened>>> {
    let single = |objects: &[_]| {
        objects.len() == 1
            && pass
                .table
                .format_of(objects)
                .is_ok_and(|format| format == Format::Parquet)
    };
    if !days.iter().all(|(_, objects)| single(objects)) {
        return Ok(None);
    }
    let task = |(date, objects): &(NaiveDate, Vec<_>)| -> Task<Option<Opened>> {
        let table = pass.table.clone();
        let date = *date;
        let objects = objects.clone();
        Box::new(move || open_one(&table, date, table.open(date, &objects, None)?))
    };
    let waiting = pass.table.footer_threads();
    let opened = OrderedPool::new(waiting, 2 * waiting, days.iter().map(task))?;
    opened.collect()
}

fn open_one(table: &Table, date: NaiveDate, snapshot: Snapshot) -> Result<Option<Opened>> {
    let schema = snapshot.schema.clone();
    let footer = snapshot.footer.as_ref();
    let known = snapshot.fingerprint();
    let stored = footer.map(|footer| footer.fingerprint);
    let recorded_rows = footer.map(|footer| footer.rows);
    // Its rows are in the order of the key that it was written with.
    if footer.is_some_and(|footer| footer.key != table.key) {
        return Ok(None);
    }
    let Some(object) = snapshot.into_object()? else {
        return Ok(None);
    };
    if let Some(rows) = recorded_rows.filter(|rows| *rows != object.rows()) {
        let error = table.refuse(
            date,
            format!(
                "its footer says {rows} rows, and there are {}",
                object.rows()
            ),
        );
        return Err(error.hint(format!("asof verify {}", table.name)));
    }
    Ok(Some(Opened {
        date,
        schema,
        known,
        stored,
        object,
    }))
}

/// A snapshot of the pass.
struct Day {
    date: NaiveDate,
    rows: u64,
    known: Option<Fingerprint>,
    schema: SchemaRef,
    /// Positions, among the compared columns, of those that the snapshot before did not have.
    appeared: Vec<usize>,
    /// Whether its rows have to be looked at: those of a part may be others, since the columns are
    /// not those of the snapshot before.
    is_looked_at: bool,
    /// What it did to the snapshot before, if that is known.
    edits: Option<DayEdits>,
    /// Its rows. Nothing if they are known: by the edits, or because they are those of the snapshot
    /// before. Beside edits: the next snapshot is compared with them.
    source: Option<Arc<Source>>,
}

/// An object with the rows at which ranges begin.
struct Source {
    sorted: Arc<SortedObject>,
    cuts: Vec<u64>,
}

/// What threads need to know to decode a range of a snapshot.
pub(super) struct Shape {
    pub(super) table: Table,
    /// The columns of the result.
    pub(super) wide: SchemaRef,
    /// The part of the table that is wanted; all of it if nothing.
    pub(super) part: Option<Part>,
    /// The positions in `wide` of the compared columns beside the key.
    pub(super) compared: Vec<usize>,
}

struct Plan<'a> {
    days: Vec<Day>,
    base: Option<(&'a Base, Vec<u64>)>,
    boundaries: Boundaries,
    shape: Arc<Shape>,
    /// Every column of the snapshots.
    every: SchemaRef,
    /// Whether fingerprints that no footer tells are worked out from the rows that changed: all
    /// columns are compared.
    sums_by_changes: bool,
    facts: CompactionFacts,
}

/// The digests of the rows of one range, by the interval that each opened, and the sum of those of
/// the last snapshot. So a row is hashed once, and not once a day.
#[derive(Default)]
struct Running {
    digests: Vec<u128>,
    sum: RowSum,
}

impl Running {
    /// Rows of intervals that are reused, and when each ended.
    fn resumed(&mut self, rows: &RecordBatch, ends: &[Option<NaiveDate>]) -> Result<()> {
        let digests = all_digests(rows)?;
        digests
            .iter()
            .zip(ends)
            .filter(|(_, end)| end.is_none())
            .for_each(|(digest, _)| self.sum.add(&[*digest]));
        self.digests.extend(digests);
        Ok(())
    }

    /// What a snapshot did.
    fn taken(&mut self, batches: &[RecordBatch], taken: &Taken) -> Result<()> {
        taken
            .closed
            .iter()
            .for_each(|interval| self.sum.take(self.digests[*interval as usize]));
        for (batch, opened) in batches
            .iter()
            .zip(&taken.opened)
            .filter(|(_, opened)| !opened.is_empty())
        {
            let rows = if opened.len() == batch.num_rows() {
                batch.clone()
            } else {
                take_record_batch(batch, &UInt32Array::from(opened.clone()))
                    .io_context(|| "cannot look at rows".into())?
            };
            let digests = all_digests(&rows)?;
            self.sum.add(&digests);
            self.digests.extend(digests);
        }
        Ok(())
    }
}

impl<'a> Plan<'a> {
    fn new(pass: &Pass<'a>, opened: Vec<Opened>) -> Result<Option<Self>> {
        let mut observing = pass.observing()?;
        for Opened {
            date,
            schema,
            object,
            known,
            stored,
        } in &opened
        {
            let (fingerprint, stored) = match (known, stored) {
                (Some(fingerprint), _) => (*fingerprint, None),
                (None, stored) => (Fingerprint(0), *stored),
            };
            observing.saw(
                ObservedWire {
                    date: *date,
                    rows: object.rows(),
                    fingerprint,
                    stored,
                    schema: 0,
                    dropped_rows: 0,
                },
                schema,
            )?;
        }
        let Some(table_schema) = observing.schema.clone() else {
            return Ok(None);
        };
        let wide = pass.kept(&table_schema);
        let days = opened
            .iter()
            .map(|opened| UnitSource::of_object(opened.date, &opened.schema, &opened.object));
        let base = pass
            .base
            .map(|base| UnitSource::of_intervals(&base.intervals, base.last()));
        let wide = settle(
            &pass.table.name,
            &wide,
            &base.into_iter().chain(days).collect::<Vec<_>>(),
        )?;
        let key = &pass.settings.comparison.key;
        if key.iter().any(|key| {
            wide.field_with_name(key)
                .is_ok_and(|field| field.data_type().is_nested())
        }) {
            return Ok(None);
        }
        let covers = |name: &String| pass.settings.comparison.covers(name) && !key.contains(name);
        let compared: Vec<usize> = (0..wide.fields().len())
            .filter(|at| covers(wide.field(*at).name()))
            .collect();
        let shape = Arc::new(Shape {
            table: pass.table.clone(),
            wide: wide.clone(),
            part: pass.part.cloned(),
            compared,
        });
        let mut days = Vec::with_capacity(opened.len());
        let mut objects = Vec::with_capacity(opened.len());
        let mut schema_before = pass
            .base
            .map(|base| base.intervals.schema_of(base.kept - 1))
            .transpose()?;
        for Opened {
            date,
            schema,
            known,
            object,
            ..
        } in opened
        {
            let rows = object.rows();
            let has =
                |schema: &Schema, at: usize| schema.field_with_name(wide.field(at).name()).is_ok();
            let appeared = |before: &SchemaRef| {
                let new = |at: &usize| {
                    has(&schema, shape.compared[*at]) && !has(before, shape.compared[*at])
                };
                (0..shape.compared.len()).filter(new).collect()
            };
            let appeared = schema_before.as_ref().map(appeared).unwrap_or_default();
            let is_looked_at = pass.observes_part() && schema_before.as_ref() != Some(&schema);
            schema_before = Some(schema.clone());
            objects.push(object);
            days.push(Day {
                date,
                rows,
                known,
                schema,
                appeared,
                is_looked_at,
                edits: None,
                source: None,
            });
        }
        find_edits(pass, &shape, &mut days)?;
        let is_read = which_are_read(pass, &days);
        let mut sorted: Vec<Option<SortedObject>> = Vec::with_capacity(days.len());
        for ((day, object), is_read) in days.iter().zip(objects).zip(is_read) {
            let object =
                is_read.then(|| SortedObject::new(Arc::new(object), key, &day.schema, &wide, true));
            sorted.push(object.transpose()?);
        }
        let base = pass
            .base
            .map(|base| {
                SortedObject::new(
                    base.intervals.object().clone(),
                    key,
                    &base.intervals.table_schema(),
                    &wide,
                    false,
                )
            })
            .transpose()?;
        // Keys that are not kept may be of a wider type than those that are.
        let fields = |schema: &Schema| {
            key.iter()
                .map(|key| schema.field_with_name(key).ok().cloned())
                .collect::<Vec<_>>()
        };
        if pass.base.is_some_and(|base| {
            !base.is_whole() && fields(&base.intervals.table_schema()) != fields(&wide)
        }) {
            return Ok(None);
        }
        let base = base.map(Arc::new);
        let sorted: Vec<Option<Arc<SortedObject>>> = sorted
            .into_iter()
            .map(|sorted| sorted.map(Arc::new))
            .collect();
        let all: Vec<Arc<SortedObject>> = base
            .iter()
            .chain(sorted.iter().flatten())
            .cloned()
            .collect();
        let Some((boundaries, cuts)) = cut(pass, &all)? else {
            return Ok(None);
        };
        let mut cuts = cuts.into_iter();
        let base = pass.base.zip(base.and_then(|_| cuts.next()));
        for (day, sorted) in days.iter_mut().zip(sorted) {
            day.source = sorted.and_then(|sorted| {
                Some(Arc::new(Source {
                    sorted,
                    cuts: cuts.next()?,
                }))
            });
            day.edits
                .iter_mut()
                .try_for_each(|edits| edits.cut(&boundaries))?;
        }
        let sums_by_changes = pass.part.is_none()
            && days.iter().any(|day| day.known.is_none())
            && pass.settings.comparison.covers_all();
        let every = observing.every.unwrap_or_else(|| wide.clone());
        Ok(Some(Plan {
            days,
            base,
            boundaries,
            shape,
            every,
            sums_by_changes,
            facts: observing.facts,
        }))
    }
}

/// The date and content of the snapshot before each, if there is one and intervals go on from it.
fn before_each<'a>(
    pass: &'a Pass<'_>,
    days: &'a [Day],
) -> impl Iterator<Item = Option<(NaiveDate, Option<Fingerprint>)>> + 'a {
    let base = pass.base.map(|base| {
        (
            base.last(),
            Some(base.observed()[base.kept - 1].fingerprint),
        )
    });
    let befores = std::iter::once(base).chain(days.iter().map(|day| Some((day.date, day.known))));
    befores
        .zip(days)
        .map(|(before, day)| before.filter(|(last, _)| pass.settings.policy.joins(*last, day.date)))
}

/// Whether a snapshot is known to have the rows of the one before.
fn is_same(day: &Day, before: Option<(NaiveDate, Option<Fingerprint>)>) -> bool {
    day.known.is_some() && !day.is_looked_at && before.is_some_and(|(_, known)| known == day.known)
}

/// Reads what is recorded of changes, as far as it helps and there is room for it.
fn find_edits(pass: &Pass<'_>, shape: &Arc<Shape>, days: &mut [Day]) -> Result<()> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return Ok(());
    };
    let limit = pass.memory.share(8) as u64;
    // Without them snapshots are decoded, whatever the reason.
    let mut found = changes::find(pass.table, DateRange::new(first.date, last.date)?)
        .unwrap_or_default()
        .partitions;
    let waiting = pass.table.footer_threads();
    let limit_each = limit / (2 * waiting as u64);
    let befores: Vec<_> = before_each(pass, days).collect();
    let wanted: Vec<(usize, Task<Option<DayEdits>>)> = days
        .iter()
        .zip(befores)
        .enumerate()
        .filter_map(|(number, (day, before))| {
            let object = found
                .remove(&day.date)
                .filter(|_| !day.is_looked_at)?
                .into_iter()
                .next()?;
            let before = before.filter(|before| !is_same(day, Some(*before)))?.1?;
            let after = day.known?;
            let shape = shape.clone();
            let date = day.date;
            let schema = day.schema.clone();
            let appeared = day.appeared.clone();
            let task: Task<Option<DayEdits>> = Box::new(move || {
                let Some(recorded) =
                    changes::read(&shape.table, &object, before, after, limit_each)
                else {
                    return Ok(None);
                };
                Ok(DayEdits::of(&shape, &recorded, date, &schema, &appeared).ok())
            });
            Some((number, task))
        })
        .collect();
    let (numbers, tasks): (Vec<usize>, Vec<_>) = wanted.into_iter().unzip();
    let mut held = 0;
    for (number, edits) in numbers
        .into_iter()
        .zip(OrderedPool::new(waiting, 2 * waiting, tasks)?)
    {
        let Ok(Some(edits)) = edits else { continue };
        held += edits.bytes();
        if held > limit {
            break;
        }
        days[number].edits = Some(edits);
    }
    Ok(())
}

/// Which snapshots are decoded: those that are not known, and those that such a one is compared
/// with.
fn which_are_read(pass: &Pass<'_>, days: &[Day]) -> Vec<bool> {
    let mut is_read = vec![false; days.len()];
    // The last one of which only the edits are known, since rows were decoded.
    let mut unsettled: Option<usize> = None;
    for (number, (day, before)) in days.iter().zip(before_each(pass, days)).enumerate() {
        if is_same(day, before) {
            continue;
        }
        if day.edits.is_some() {
            unsettled = Some(number);
            continue;
        }
        is_read[number] = true;
        // After a gap that ends all intervals nothing is compared.
        if let Some(unsettled) = unsettled.take().filter(|_| before.is_some()) {
            is_read[unsettled] = true;
        }
    }
    is_read
}

/// How many rows of a range keep what is held within the budget.
fn rows_of_a_range(pass: &Pass<'_>, objects: &[Arc<SortedObject>]) -> u64 {
    let held = 8 * (2 * pass.threads as u64 + 2);
    let range_bytes = (pass.memory.0 / held).min(RANGE_BYTES);
    let columns = pass.part.and_then(|part| part.columns.as_deref());
    let row_bytes = |sorted: &Arc<SortedObject>| {
        sorted.object.bytes_in_memory(columns) / sorted.object.rows().max(1)
    };
    let row_bytes = objects.iter().map(row_bytes).max().unwrap_or(0).max(1);
    (range_bytes / row_bytes).clamp(*RANGE_ROWS.start(), *RANGE_ROWS.end())
}

/// Divides the keys into ranges, and says where they lie in each object; nothing, if one cannot be
/// read by ranges.
///
/// Ranges are chosen by the largest object. Where the keys of others are not among its own, as in a
/// table that keeps the last month only, ranges would be as large as those: the largest of them is
/// divided by its own keys, until none is much too large.
pub(super) fn cut(
    pass: &Pass<'_>,
    objects: &[Arc<SortedObject>],
) -> Result<Option<(Boundaries, Vec<Vec<u64>>)>> {
    let rows_each = rows_of_a_range(pass, objects);
    let rows_of_groups = |sorted: &Arc<SortedObject>| {
        sorted.object.rows() / sorted.object.group_starts().len().max(1) as u64
    };
    let is_coarse = |sorted: &Arc<SortedObject>| {
        !sorted.object.knows_its_pages() && rows_of_groups(sorted) > 4 * rows_each
    };
    if objects.iter().any(is_coarse) {
        return Ok(None);
    }
    let mut boundaries = match objects.iter().max_by_key(|sorted| sorted.object.rows()) {
        Some(largest) => {
            Boundaries::none().with(largest, &(0..largest.object.rows()), rows_each)?
        }
        None => Boundaries::none(),
    };
    let mut divisions = 0;
    loop {
        // Where the ranges lie in each object is looked up in parallel.
        let shared = Arc::new(boundaries);
        let task = |sorted: &Arc<SortedObject>| -> Task<Option<Vec<u64>>> {
            let sorted = sorted.clone();
            let boundaries = shared.clone();
            Box::new(move || sorted.cut(&boundaries))
        };
        let cuts: Option<Vec<Vec<u64>>> =
            OrderedPool::new(pass.threads, 2 * pass.threads, objects.iter().map(task))?
                .collect::<Result<_>>()?;
        let Some(cuts) = cuts else { return Ok(None) };
        boundaries = Arc::into_inner(shared)
            .ok_or_else(|| Error::internal("keys of ranges are still in use"))?;
        let ranges = cuts
            .iter()
            .zip(objects)
            .flat_map(|(cuts, sorted)| cuts.windows(2).map(move |ends| (sorted, ends[0]..ends[1])));
        let largest = ranges.max_by_key(|(_, rows)| rows.end - rows.start);
        match largest
            .filter(|(_, rows)| rows.end - rows.start > 2 * rows_each && divisions < DIVISIONS)
        {
            Some((sorted, rows)) => boundaries = boundaries.with(sorted, &rows, rows_each)?,
            None => return Ok(Some((boundaries, cuts))),
        }
        divisions += 1;
    }
}

/// The rows of one range: of the intervals that are reused, or of a snapshot.
enum Decoded {
    Base(Vec<Resumed>),
    Day(Rows),
}

/// Intervals that are reused.
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
    fn decode(
        &self,
        date: NaiveDate,
        schema: &SchemaRef,
        hashed: bool,
        source: &Source,
        range: usize,
    ) -> Result<Rows> {
        let mut decoded = Rows::default();
        let within = |error: Error| error.within(format!("table {}, {date}", self.table.name));
        let columns = self
            .part
            .as_ref()
            .and_then(|part| part.columns.as_deref())
            .filter(|_| !hashed);
        for batch in source
            .sorted
            .object
            .read_rows(columns, &(source.cuts[range]..source.cuts[range + 1]))?
        {
            let mut own = convert(&batch?, &self.table.name, date, schema)?;
            if hashed {
                decoded.sum.add(&all_digests(&own)?);
            }
            if let Some(part) = &self.part {
                let chosen = Phase::Query.spend(|| (part.rows)(&own));
                own = chosen
                    .map_err(|error| if part.observes { within(error) } else { error })?
                    .0;
            }
            let rows = conform(
                &convert(&own, &self.table.name, date, &self.wide)?,
                &self.wide,
            )
            .map_err(within)?;
            decoded
                .rows
                .push(self.sorted_rows(&rows, self.table.key_columns(&rows, date)?));
            decoded.batches.push(rows);
        }
        Ok(decoded)
    }

    /// The columns of the result, if they are not all columns.
    fn kept(&self) -> Option<&[String]> {
        self.part.as_ref().and_then(|part| part.kept.as_deref())
    }

    /// The intervals of a batch that begin before `last` is over, as they were on that date. Values
    /// of those that are open are taken along if rows are to be compared with them.
    fn resumed(&self, batch: IntervalBatch, last: NaiveDate, with_values: bool) -> Result<Resumed> {
        let select = |taken: BooleanArray, rows: &RecordBatch| {
            filter_record_batch(rows, &taken).io_context(|| "cannot select rows".into())
        };
        let is_kept = |interval: &Interval| interval.start <= last;
        let mut rows = batch.rows;
        let mut intervals = batch.intervals;
        // What is not kept may have values that do not fit the types of what is.
        if !intervals.iter().all(is_kept) {
            rows = select(
                intervals
                    .iter()
                    .map(|interval| Some(is_kept(interval)))
                    .collect(),
                &rows,
            )?;
            intervals.retain(is_kept);
        }
        let rows = conform(&rows, &self.wide)?;
        let ends: Vec<Option<NaiveDate>> = intervals
            .iter()
            .map(|interval| interval.end.filter(|_| !interval.holds(last)))
            .collect();
        let is_open: BooleanArray = ends.iter().map(|end| Some(end.is_none())).collect();
        let open = if with_values {
            let open = select(is_open, &rows)?;
            self.sorted_rows(&open, self.table.key_columns(&open, last)?)
        } else {
            let keys = self.table.key_columns(&rows, last)?;
            let keys = keys
                .iter()
                .map(|key| filter(key, &is_open))
                .collect::<Result<_, _>>()
                .io_context(|| "cannot select rows".into())?;
            SortedRows {
                keys,
                values: Vec::new(),
            }
        };
        let starts = Arc::new(Date32Array::from_iter_values(
            intervals.iter().map(|interval| to_days(interval.start)),
        ));
        Ok(Resumed {
            rows,
            starts,
            ends,
            open,
        })
    }

    fn sorted_rows(&self, rows: &RecordBatch, keys: Vec<ArrayRef>) -> SortedRows {
        SortedRows {
            keys,
            values: self
                .compared
                .iter()
                .map(|at| rows.column(*at).clone())
                .collect(),
        }
    }
}

impl Plan<'_> {
    /// What threads are to decode, in the order in which it is needed.
    fn parts(&self) -> impl Iterator<Item = Task<Decoded>> + '_ {
        // Edits are compared with nothing, nor is a snapshot that has the rows of the one before.
        let with_values = self
            .days
            .iter()
            .find(|day| day.edits.is_some() || day.source.is_some())
            .is_some_and(|day| day.edits.is_none());
        (0..self.boundaries.ranges()).flat_map(move |range| {
            let base = self.base.iter().map(move |(base, cuts)| -> Task<Decoded> {
                let intervals = base.intervals.clone();
                let rows = cuts[range]..cuts[range + 1];
                let shape = self.shape.clone();
                let last = base.last();
                let task = move || {
                    let batches = intervals.read_rows(shape.kept(), &rows)?;
                    batches
                        .map(|batch| shape.resumed(batch?, last, with_values))
                        .collect::<Result<_>>()
                        .map(Decoded::Base)
                };
                Box::new(task)
            });
            let days = self.days.iter().filter_map(move |day| {
                let (source, shape, schema) =
                    (day.source.clone()?, self.shape.clone(), day.schema.clone());
                let is_known = day.known.is_some() || self.sums_by_changes;
                let date = day.date;
                let hashed = !is_known && self.shape.part.as_ref().is_none_or(|part| part.observes);
                let task: Task<Decoded> = Box::new(move || {
                    shape
                        .decode(date, &schema, hashed, &source, range)
                        .map(Decoded::Day)
                });
                Some(task)
            });
            base.chain(days)
        })
    }

    fn run(mut self, pass: &Pass<'_>, sink: &mut dyn Sink) -> Result<Option<CompactionFacts>> {
        let convention = &pass.settings.convention;
        let wide = self.shape.wide.clone();
        let schema = with_interval(&wide, convention);
        sink.begin(&self.every, &schema)?;
        let mut facts = std::mem::take(&mut self.facts);
        let mut changes = vec![Changes::default(); self.days.len()];
        let mut sums = vec![RowSum::default(); self.days.len()];
        let mut parts = OrderedPool::new(pass.threads, 2 * pass.threads + 1, self.parts())?;
        let mut next = || {
            parts
                .next()
                .unwrap_or_else(|| Err(Error::internal("there was less to decode than planned")))
        };
        let total = self.days.len() as u64;
        let steps = total * self.boundaries.ranges() as u64;
        for range in 0..self.boundaries.ranges() {
            let mut merge = Merge::after(pass.settings.policy, pass.base_dates());
            let mut gathered = Gathered::new(pass, &wide);
            let mut running = self.sums_by_changes.then(Running::default);
            if self.base.is_some() {
                let Decoded::Base(batches) = next()? else {
                    return Err(Error::internal("parts came out of order"));
                };
                for Resumed {
                    rows,
                    starts,
                    ends,
                    open,
                } in batches
                {
                    let first = merge.intervals();
                    running
                        .iter_mut()
                        .try_for_each(|running| running.resumed(&rows, &ends))?;
                    merge.resume(&ends, open).map_err(out_of_order)?;
                    gathered.resumed(&rows, starts, first)?;
                }
            }
            for (number, day) in self.days.iter().enumerate() {
                let done = (range as u64 * total + number as u64) * total / steps.max(1);
                (pass.step)(done, total);
                if day.source.is_none() && day.edits.is_none() {
                    if !merge.unchanged(day.date) {
                        return Err(Error::internal(format!(
                            "nothing precedes the snapshot of {}",
                            day.date
                        )));
                    }
                    continue;
                }
                let first = merge.intervals();
                if let Some(edits) = &day.edits {
                    let EditsOfRange { keys, edits, rows } = edits.of_range(range);
                    let taken = match Phase::Compare.spend(|| merge.apply(day.date, &keys, edits)) {
                        Ok(taken) => taken,
                        Err(error) => return Err(misfit(pass, day.date, error)),
                    };
                    changes[number].add(&taken.changes);
                    gathered.opened(day.date, first, &[rows], taken.opened)?;
                }
                if day.source.is_none() {
                    continue;
                }
                let Decoded::Day(decoded) = next()? else {
                    return Err(Error::internal("parts came out of order"));
                };
                let some = |rows: &&SortedRows| !rows.is_empty();
                let bounds = [
                    decoded.rows.iter().find(some),
                    decoded.rows.iter().rfind(some),
                ];
                for rows in bounds.into_iter().flatten() {
                    if !self.boundaries.hold(range, &rows.keys)? {
                        return Ok(None);
                    }
                }
                if day.edits.is_some() {
                    Phase::Compare
                        .spend(|| merge.settle(decoded.rows))
                        .map_err(|error| misfit(pass, day.date, error))?;
                    continue;
                }
                let taken = match Phase::Compare
                    .spend(|| merge.take(day.date, decoded.rows, &day.appeared))
                {
                    Ok(taken) => taken,
                    Err(MergeError::Unordered) => return Ok(None),
                    Err(MergeError::Duplicate { piece, row }) => {
                        let key = &pass.settings.comparison.key;
                        let shown = vec![show_key(&decoded.batches[piece], key, row)];
                        return Err(pass.table.duplicate_keys(day.date, 1, &shown));
                    }
                    Err(error) => return Err(misfit(pass, day.date, error)),
                };
                changes[number].add(&taken.changes);
                sums[number].merge(match &mut running {
                    None => decoded.sum,
                    Some(running) => {
                        running.taken(&decoded.batches, &taken)?;
                        running.sum
                    }
                });
                gathered.opened(day.date, first, &decoded.batches, taken.opened)?;
            }
            facts.intervals += merge.intervals();
            facts.open += merge.live();
            let ending = Ending::new(schema.clone(), convention, vec![(0, merge.finish())]);
            for batch in gathered.finish(ending, pass.threads)? {
                sink.write(batch?)?;
            }
        }
        for ((day, changes), sum) in self.days.iter().zip(changes).zip(sums) {
            let observed = facts
                .observed
                .iter_mut()
                .find(|observed| observed.date == day.date);
            if let Some(observed) = observed.filter(|_| day.known.is_none()) {
                (observed.fingerprint, observed.rows) = (sum.fingerprint(), day.rows);
            }
            facts.days.push(DayChanges {
                date: day.date,
                changes,
            });
            match (&day.source, &day.edits) {
                (Some(_), _) => facts.decoded += 1,
                (None, Some(_)) => facts.by_changes += 1,
                (None, None) => facts.unchanged += 1,
            }
        }
        Ok(Some(facts))
    }
}

/// The error for a snapshot that cannot be taken.
fn misfit(pass: &Pass<'_>, date: NaiveDate, error: MergeError) -> Error {
    let within = format!("table {}, {date}", pass.table.name);
    match error {
        MergeError::Failed(error) => error.within(within),
        _ => {
            let error = Error::refused(format!(
                "{within}: what is recorded of its changes does not fit the rows of the snapshots"
            ));
            error.hint(format!("asof verify {}", pass.table.name))
        }
    }
}

/// What is wrong with intervals that cannot be reused.
pub(super) fn out_of_order(error: MergeError) -> Error {
    let wrong = |what: &str| {
        Error::refused(what)
            .hint("asof verify")
            .hint("asof compact --full")
    };
    match error {
        MergeError::Failed(error) => error,
        MergeError::Unfit => wrong("the intervals are not those of the snapshots"),
        MergeError::Duplicate { .. } => wrong("two intervals of one key are open"),
        MergeError::Unordered => wrong("the intervals are not in the order of the key"),
    }
}
