//! The pass over snapshots in any format and order: a map from the digests of keys to those of
//! rows.
//!
//! Snapshots are opened and decoded one after the other, each by a thread of its own that runs a
//! few batches ahead, since the types of text depend on the snapshots before. Each row's digest
//! says whether it opens an interval ([`crate::domain::hash_compaction`]).
//!
//! Memory: 40 bytes a key that is alive and the map's slack. If that is more than half of the
//! budget, the pass begins anew for a half of all keys, by their digests, and then for the other;
//! or for quarters. Every such part reads every snapshot once.

mod digest;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow::array::{ArrayRef, BooleanArray, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use self::digest::{DigestedBatch, PARTS, SnapshotDigester, part_of};
use super::facts::{CompactionFacts, DayChanges};
use super::interval_columns::{IntervalEnding, with_interval, with_number};
use super::observer::SnapshotObserver;
use super::pass::{Base, Pass, Sink, Snapshots};
use crate::domain::cast::conform;
use crate::domain::days::to_days;
use crate::domain::digest::{Fingerprint, RowSum};
use crate::domain::hash_compaction::{Changes, HashCompaction, TakeError};
use crate::domain::interval_ends::Ends;
use crate::domain::schema::{TypeClash, TypeClashes, unify};
use crate::engine::digests::row_digests;
use crate::engine::table::{Snapshot, SnapshotTable, show_key};
use crate::engine::units::{UnitSource, settle};
use crate::error::{Context, Error, Result};
use crate::phases::Phase;
use crate::source::Format;
use crate::storage::Batches;
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::{ObservedWire, SnapshotFooter};
use crate::storage::sorter::{Sorter, merge};

/// Does the pass, in as many parts as the budget needs.
pub(super) fn run(
    pass: &Pass<'_>,
    days: Snapshots<'_>,
    sink: &mut dyn Sink,
) -> Result<CompactionFacts> {
    let mut parts = 1;
    loop {
        let attempt = Attempt::new(pass, days, parts)?;
        match attempt.run(sink)? {
            Some(facts) => return Ok(facts),
            None => parts *= 2,
        }
    }
}

/// A pass in a number of parts.
struct Attempt<'a> {
    pass: &'a Pass<'a>,
    days: Snapshots<'a>,
    parts: u32,
    observing: SnapshotObserver<'a>,
    sorter: Sorter,
    /// How many intervals the parts before have.
    first: u32,
}

impl<'a> Attempt<'a> {
    fn new(pass: &'a Pass<'a>, days: Snapshots<'a>, parts: u32) -> Result<Self> {
        let sorter = Sorter::new(&pass.order(), pass.memory.for_sorting_intervals());
        Ok(Attempt {
            pass,
            days,
            parts,
            observing: SnapshotObserver::new(pass)?,
            sorter,
            first: 0,
        })
    }

    /// All parts; nothing, if one needs more memory than there is.
    fn run(mut self, sink: &mut dyn Sink) -> Result<Option<CompactionFacts>> {
        let mut ends: Vec<(u32, Ends)> = Vec::new();
        let mut facts = CompactionFacts::default();
        for part in 0..self.parts {
            let Some(compaction) = self.part(part, &mut facts)? else {
                return Ok((!facts.as_text.is_empty()).then_some(facts));
            };
            facts.intervals += compaction.intervals();
            facts.open += compaction.open_intervals();
            let first = self.first;
            let count = u32::try_from(compaction.intervals()).ok();
            self.first = count
                .and_then(|count| first.checked_add(count))
                .ok_or_else(|| Error::refused("there are too many intervals"))?;
            ends.push((first, compaction.finish()));
        }
        let SnapshotObserver {
            schema,
            every,
            facts: observed,
            ..
        } = self.observing;
        (facts.observed, facts.schemas) = (observed.observed, observed.schemas);
        let table = schema.ok_or_else(|| {
            Error::refused(format!("table {} has no snapshots", self.pass.table.name))
        })?;
        let table = settled(self.pass, self.days, &facts, &self.pass.kept(&table))?;
        let inner = with_number(&table);
        let new = self.sorter.finish(&inner)?;
        let rows = match self.pass.base {
            None => new,
            Some(base) => {
                let firsts = ends.iter().map(|(first, _)| *first).collect();
                merge(
                    vec![resumed_rows(self.pass.table, base, &inner, firsts)?, new],
                    &inner,
                    &self.pass.order(),
                )?
            }
        };
        let schema = with_interval(&table, &self.pass.settings.convention);
        sink.begin(every.as_ref().unwrap_or(&table), &schema)?;
        let ending = IntervalEnding::new(schema, &self.pass.settings.convention, ends);
        for batch in rows {
            sink.write(ending.put(&batch?)?)?;
        }
        Ok(Some(facts))
    }
}

/// The table's columns in units that hold the values of all snapshots.
fn settled(
    pass: &Pass<'_>,
    days: Snapshots<'_>,
    facts: &CompactionFacts,
    table: &SchemaRef,
) -> Result<SchemaRef> {
    let schema_on = |date: NaiveDate| {
        facts
            .observed
            .iter()
            .find(|observed| observed.date == date)
            .map(|observed| observed.schema)
    };
    let mut sources: Vec<UnitSource<'_>> = pass
        .base
        .iter()
        .map(|base| UnitSource::of_intervals(&base.intervals, base.last()))
        .collect();
    for (date, objects) in days {
        let schema = schema_on(*date).and_then(|index| facts.schemas.get(index));
        sources.extend(
            schema.map(|schema| UnitSource::of_snapshot(pass.table, *date, objects, schema)),
        );
    }
    settle(&pass.table.name, table, &sources)
}

/// The columns of a snapshot that text would settle, of those whose types clash: those of another
/// tool's CSV, whose types are inferred from values.
fn inferred(pass: &Pass<'_>, days: Snapshots<'_>, clashes: &TypeClashes) -> Vec<String> {
    let is_text =
        |objects: &[Object]| matches!(pass.table.format_of(objects), Ok(Format::Csv | Format::Tsv));
    let gives_way = |clash: &TypeClash| {
        let is_declared = pass.table.types.declared.contains_key(&clash.column);
        !is_declared && !clash.from.is_nested() && !clash.to.is_nested()
    };
    if pass.table.own
        || !days.iter().all(|(_, objects)| is_text(objects))
        || !clashes.0.iter().all(gives_way)
    {
        return Vec::new();
    }
    clashes.0.iter().map(|clash| clash.column.clone()).collect()
}

impl Attempt<'_> {
    /// The keys of one part; nothing, if they need more memory than there is.
    fn part(&mut self, part: u32, facts: &mut CompactionFacts) -> Result<Option<HashCompaction>> {
        let mut compaction =
            HashCompaction::after(self.pass.settings.policy, self.pass.base_dates());
        if !self.resume(part, &mut compaction)? {
            return Ok(None);
        }
        let total = self.days.len() as u64;
        let parts = u64::from(self.parts);
        let mut seen = SnapshotObserver::new(self.pass)?;
        for (number, (date, objects)) in (0u64..).zip(self.days) {
            (self.pass.step)((u64::from(part) * total + number) / parts, total);
            let Some(changes) =
                self.take(part, &mut compaction, &mut seen, facts, *date, objects)?
            else {
                return Ok(None);
            };
            match facts.days.iter_mut().find(|day| day.date == *date) {
                Some(day) => day.changes.add(&changes),
                None => facts.days.push(DayChanges {
                    date: *date,
                    changes,
                }),
            }
        }
        self.observing = seen;
        Ok(Some(compaction))
    }

    /// Whether the keys fit into memory so far; the smallest part has to.
    fn fits(&self, compaction: &HashCompaction) -> bool {
        compaction.bytes() <= self.pass.memory.for_digests() || self.parts == PARTS
    }

    /// Takes over intervals; says whether they fit into memory.
    fn resume(&self, part: u32, compaction: &mut HashCompaction) -> Result<bool> {
        let Some(base) = self.pass.base else {
            return Ok(true);
        };
        let last = base.last();
        let compared = self
            .pass
            .settings
            .comparison
            .columns(&base.intervals.table_schema());
        for batch in base.intervals.read(None)? {
            let batch = batch?;
            let keys = self.pass.table.keys(&batch.rows, last)?;
            let rows = row_digests(&batch.rows, compared.iter().map(String::as_str))?;
            for (row, interval) in batch
                .intervals
                .iter()
                .enumerate()
                .filter(|(_, interval)| interval.start <= last)
            {
                if part_of(keys[row], self.parts) == part {
                    compaction.resume(
                        keys[row],
                        rows[row],
                        interval.end.filter(|_| !interval.holds(last)),
                    )?;
                }
            }
            if !self.fits(compaction) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the snapshot of a date, later than all before; nothing, if its keys need more memory
    /// than there is.
    fn take(
        &mut self,
        part: u32,
        compaction: &mut HashCompaction,
        seen: &mut SnapshotObserver<'_>,
        facts: &mut CompactionFacts,
        date: NaiveDate,
        objects: &[Object],
    ) -> Result<Option<Changes>> {
        let table = self.pass.table;
        let snapshot = table.open(date, objects, seen.schema.as_ref())?;
        let schema = match self.pass.part {
            Some(part) if !part.observes => part.kept(&snapshot.schema),
            _ => snapshot.schema.clone(),
        };
        if let Some(Err(clashes)) = seen
            .schema
            .as_ref()
            .map(|wide| unify(wide, &seen.of_interest(&schema)))
        {
            facts.as_text = inferred(self.pass, self.days, &clashes);
            return if facts.as_text.is_empty() {
                Err(clashes.refusal(table.name.as_str(), date))
            } else {
                Ok(None)
            };
        }
        if let Some(observed) = self.equal_to_last(&snapshot, &schema, seen)
            && compaction.unchanged(date)
        {
            facts.unchanged += u64::from(part == 0);
            seen.saw(observed, &schema)?;
            return Ok(Some(Changes::default()));
        }
        let known = snapshot.fingerprint();
        let footer = snapshot.footer.clone();
        let dropped = snapshot.dropped.clone();
        let is_known = known.is_some();
        let digester =
            SnapshotDigester::new(self.pass, date, seen, &schema, is_known, part..self.parts);
        compaction.begin(date);
        let whole = self.pass.observes_part() && !is_known;
        let columns = self.pass.part.and_then(|part| part.columns.as_deref());
        let batches = snapshot.read(columns.filter(|_| !whole))?;
        let Some(sum) = self.take_rows(compaction, &digester, batches)? else {
            return Ok(None);
        };
        let changes = compaction.end(date);
        facts.decoded += u64::from(part == 0);
        let mut observed = self.observed(date, footer.as_ref(), known, sum)?;
        observed.dropped_rows = dropped.map_or(0, |dropped| dropped.rows());
        seen.saw(observed, &schema)?;
        Ok(Some(changes))
    }

    /// What is recorded of a snapshot whose footer tells that it equals the last one.
    fn equal_to_last(
        &self,
        snapshot: &Snapshot,
        schema: &SchemaRef,
        seen: &SnapshotObserver<'_>,
    ) -> Option<ObservedWire> {
        let fingerprint = snapshot.fingerprint()?;
        let footer = snapshot.footer.as_ref()?;
        let is_equal = seen.facts.observed.last()?.fingerprint == fingerprint
            && (!self.pass.observes_part() || seen.has_columns_of_last(schema));
        is_equal.then_some(ObservedWire {
            date: snapshot.date,
            rows: footer.rows,
            fingerprint,
            stored: None,
            schema: 0,
            dropped_rows: 0,
            proven: None,
            pruned_bytes: None,
        })
    }

    /// What is recorded of a snapshot whose rows were read; refuses one that has other rows than
    /// its footer says.
    fn observed(
        &self,
        date: NaiveDate,
        footer: Option<&SnapshotFooter>,
        known: Option<Fingerprint>,
        sum: RowSum,
    ) -> Result<ObservedWire> {
        let table = self.pass.table;
        let rows = footer.map_or(sum.rows(), |footer| footer.rows);
        if rows != sum.rows() && self.pass.part.is_none() {
            let error = table.refuse(
                date,
                format!("its footer says {rows} rows, and there are {}", sum.rows()),
            );
            return Err(error.hint(format!("asof verify {}", table.name)));
        }
        Ok(ObservedWire {
            date,
            rows,
            fingerprint: known.unwrap_or_else(|| sum.fingerprint()),
            stored: footer
                .filter(|_| known.is_none())
                .map(|footer| footer.fingerprint),
            schema: 0,
            dropped_rows: 0,
            proven: None,
            pruned_bytes: None,
        })
    }

    /// Takes the rows of a snapshot, which a thread decodes and digests a few batches ahead.
    fn take_rows(
        &mut self,
        compaction: &mut HashCompaction,
        digester: &SnapshotDigester<'_>,
        batches: Batches,
    ) -> Result<Option<RowSum>> {
        let mut sum = RowSum::default();
        std::thread::scope(|scope| {
            let (send, digested): (_, Receiver<Result<DigestedBatch>>) = sync_channel(4);
            scope.spawn(move || {
                for batch in batches {
                    let digested = batch.and_then(|batch| digester.digest(batch));
                    let failed = digested.is_err();
                    if send.send(digested).is_err() || failed {
                        return;
                    }
                }
            });
            for digested in digested {
                let digested = digested?;
                sum.merge(digested.sum);
                self.take_batch(compaction, digester.date, &digested)?;
                if !self.fits(compaction) {
                    return Ok(None);
                }
            }
            Ok::<_, Error>(Some(sum))
        })
    }

    fn take_batch(
        &mut self,
        compaction: &mut HashCompaction,
        date: NaiveDate,
        digested: &DigestedBatch,
    ) -> Result<()> {
        let first = u64::from(self.first) + compaction.intervals();
        let mut opened = Vec::new();
        let take = || {
            compaction.take(
                &digested.keys,
                &digested.rows,
                digested.without_new.as_deref(),
                &mut opened,
            )
        };
        match Phase::Compare.spend(take) {
            Ok(()) => {}
            Err(TakeError::Duplicate(row)) => {
                let key = &self.pass.settings.comparison.key;
                let shown = vec![show_key(&digested.batch, key, row)];
                return Err(self.pass.table.duplicate_keys(date, 1, &shown));
            }
            Err(TakeError::Full(error)) => return Err(error),
        }
        if opened.is_empty() {
            return Ok(());
        }
        let doing = || "cannot write rows to a temporary file".to_owned();
        let count = opened.len();
        let rows =
            take_record_batch(&digested.batch, &UInt32Array::from(opened)).io_context(doing)?;
        let first =
            u32::try_from(first).map_err(|_| Error::refused("there are too many intervals"))?;
        let starts: ArrayRef = Arc::new(Date32Array::from(vec![to_days(date); count]));
        let numbers: ArrayRef = Arc::new(UInt32Array::from_iter_values((first..).take(count)));
        self.sorter.push(append(&rows, starts, numbers)?)
    }
}

fn append(rows: &RecordBatch, starts: ArrayRef, numbers: ArrayRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.extend([starts, numbers]);
    RecordBatch::try_new(with_number(rows.schema_ref()), columns)
        .io_context(|| "cannot write rows to a temporary file".into())
}

/// The rows of intervals that are reused, numbered as they were resumed: in each part from its
/// first number on.
fn resumed_rows(
    table: &SnapshotTable,
    base: &Base,
    schema: &SchemaRef,
    mut next: Vec<u32>,
) -> Result<Batches> {
    let last = base.last();
    let schema = schema.clone();
    let table = table.clone();
    Ok(Box::new(base.intervals.read(None)?.map(move |batch| {
        let batch = batch?;
        let taken: BooleanArray = batch
            .intervals
            .iter()
            .map(|interval| Some(interval.start <= last))
            .collect();
        let rows =
            filter_record_batch(&batch.rows, &taken).io_context(|| "cannot select rows".into())?;
        let starts: Date32Array = batch
            .intervals
            .iter()
            .filter(|interval| interval.start <= last)
            .map(|interval| Some(to_days(interval.start)))
            .collect();
        let parts = u32::try_from(next.len()).unwrap_or(PARTS);
        let mut number = |part: u32| {
            let number = &mut next[part as usize];
            *number += 1;
            *number - 1
        };
        let numbers = match parts {
            1 => UInt32Array::from_iter_values((0..rows.num_rows()).map(|_| number(0))),
            parts => UInt32Array::from_iter_values(
                table
                    .keys(&rows, last)?
                    .into_iter()
                    .map(|key| number(part_of(key, parts))),
            ),
        };
        conform(
            &append(&rows, Arc::new(starts), Arc::new(numbers))?,
            &schema,
        )
    })))
}
