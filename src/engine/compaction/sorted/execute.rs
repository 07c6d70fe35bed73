//! The pass itself: range by range, the rows of each snapshot are merged with those of the one
//! before.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::change_replay::{DayEdits, EditsOfRange};
use super::decode::{DecodedIntervals, DecodedRange, DecodedSnapshot};
use super::plan::PassPlan;
use super::range_output::RangeOutput;
use super::refusals::{misfit, out_of_order};
use super::skipping::PlannedSnapshot;
use crate::domain::digest::RowSum;
use crate::domain::hash_compaction::Changes;
use crate::domain::merge_compaction::{MergeCompaction, MergeError, MergedSnapshot, SortedRows};
use crate::engine::compaction::facts::{CompactionFacts, DayChanges};
use crate::engine::compaction::interval_columns::{IntervalEnding, with_interval};
use crate::engine::compaction::pass::{Pass, Sink};
use crate::engine::table::{all_digests, show_key};
use crate::error::{Context, Error, Result};
use crate::parallel::{OrderedPool, Task};
use crate::phases::Phase;
use crate::storage::Batches;

/// Does what is planned; nothing, if a snapshot turns out not to be sorted by the key: then nothing
/// that the sink was given counts.
pub(super) fn run(
    pass: &Pass<'_>,
    mut plan: PassPlan<'_>,
    sink: &mut dyn Sink,
) -> Result<Option<CompactionFacts>> {
    let schema = with_interval(&plan.shape.wide, &pass.settings.convention);
    sink.begin(&plan.every, &schema)?;
    let facts = std::mem::take(&mut plan.facts);
    let tasks: Tasks<'_> = Box::new(tasks(&plan));
    let mut execution = PassExecution {
        pass,
        plan: &plan,
        schema,
        facts,
        changes: vec![Changes::default(); plan.snapshots.len()],
        sums: vec![RowSum::default(); plan.snapshots.len()],
        decoded: OrderedPool::new(pass.threads, 2 * pass.threads + 1, tasks)?,
    };
    for range in 0..plan.boundaries.ranges() {
        let Some(rows) = execution.run_range(range)? else {
            return Ok(None);
        };
        for batch in rows {
            sink.write(batch?)?;
        }
    }
    Ok(Some(execution.finish()))
}

type Tasks<'a> = Box<dyn Iterator<Item = Task<DecodedRange>> + 'a>;

/// What threads are to decode, in the order in which it is needed.
fn tasks<'a>(plan: &'a PassPlan<'_>) -> impl Iterator<Item = Task<DecodedRange>> + 'a {
    // Edits are compared with nothing, nor is a snapshot that has the rows of the one before.
    let with_values = plan
        .snapshots
        .iter()
        .find(|snapshot| snapshot.edits.is_some() || snapshot.source.is_some())
        .is_some_and(|snapshot| snapshot.edits.is_none());
    (0..plan.boundaries.ranges()).flat_map(move |range| {
        let base = plan.base.iter().map(move |(base, cuts)| {
            let intervals = base.intervals.clone();
            let rows = cuts[range]..cuts[range + 1];
            let shape = plan.shape.clone();
            let last = base.last();
            let task: Task<DecodedRange> = Box::new(move || {
                let batches = intervals.read_rows(shape.kept(), &rows)?;
                batches
                    .map(|batch| shape.resumed(batch?, last, with_values))
                    .collect::<Result<_>>()
                    .map(DecodedRange::Intervals)
            });
            task
        });
        let snapshots = plan
            .snapshots
            .iter()
            .filter_map(move |snapshot| task_of(plan, snapshot, range));
        base.chain(snapshots)
    })
}

/// The decoding of a range of a snapshot, if it is decoded at all.
fn task_of(
    plan: &PassPlan<'_>,
    snapshot: &PlannedSnapshot,
    range: usize,
) -> Option<Task<DecodedRange>> {
    let source = snapshot.source.clone()?;
    let shape = plan.shape.clone();
    let schema = snapshot.schema.clone();
    let date = snapshot.date;
    let is_known = snapshot.known.is_some() || plan.sums_by_changes;
    let hashed = !is_known && shape.part.as_ref().is_none_or(|part| part.observes);
    Some(Box::new(move || {
        shape
            .decode(date, &schema, hashed, &source, range)
            .map(DecodedRange::Snapshot)
    }))
}

/// A pass on its way.
struct PassExecution<'p> {
    pass: &'p Pass<'p>,
    plan: &'p PassPlan<'p>,
    /// The columns of the result.
    schema: SchemaRef,
    facts: CompactionFacts,
    /// What each snapshot changed, over the ranges so far.
    changes: Vec<Changes>,
    /// The rows of each snapshot, over the ranges so far.
    sums: Vec<RowSum>,
    decoded: OrderedPool<DecodedRange, Tasks<'p>>,
}

/// One range on its way.
struct RangeMerge {
    range: usize,
    merge: MergeCompaction,
    output: RangeOutput,
    /// The digests of the range's rows, if sums are worked out from changes.
    digests: Option<RangeDigests>,
}

impl PassExecution<'_> {
    /// Merges the snapshots in a range, and gives the rows of its intervals; nothing, if rows are
    /// not sorted by the key.
    fn run_range(&mut self, range: usize) -> Result<Option<Batches>> {
        let pass = self.pass;
        let mut merge = RangeMerge {
            range,
            merge: MergeCompaction::after(pass.settings.policy, pass.base_dates()),
            output: RangeOutput::new(pass, &self.plan.shape.wide),
            digests: self.plan.sums_by_changes.then(RangeDigests::default),
        };
        if self.plan.base.is_some() {
            self.resume(&mut merge)?;
        }
        for number in 0..self.plan.snapshots.len() {
            self.report_progress(range, number);
            if !self.take_snapshot(&mut merge, number)? {
                return Ok(None);
            }
        }
        self.facts.intervals += merge.merge.intervals();
        self.facts.open += merge.merge.open_intervals();
        let ends = vec![(0, merge.merge.finish())];
        let ending = IntervalEnding::new(self.schema.clone(), &pass.settings.convention, ends);
        merge.output.finish(ending, pass.threads).map(Some)
    }

    fn report_progress(&self, range: usize, number: usize) {
        let total = self.plan.snapshots.len() as u64;
        let steps = total * self.plan.boundaries.ranges() as u64;
        let done = (range as u64 * total + number as u64) * total / steps.max(1);
        (self.pass.step)(done, total);
    }

    /// Begins a range with the intervals that are reused.
    fn resume(&mut self, state: &mut RangeMerge) -> Result<()> {
        let DecodedRange::Intervals(batches) = self.next_decoded()? else {
            return Err(Error::internal("parts came out of order"));
        };
        for DecodedIntervals {
            rows,
            starts,
            ends,
            open,
        } in batches
        {
            let first = state.merge.intervals();
            if let Some(digests) = &mut state.digests {
                digests.resume(&rows, &ends)?;
            }
            state.merge.resume(&ends, open).map_err(out_of_order)?;
            state.output.resumed(&rows, starts, first)?;
        }
        Ok(())
    }

    /// Takes a snapshot into a range; false, if its rows are not sorted by the key.
    fn take_snapshot(&mut self, state: &mut RangeMerge, number: usize) -> Result<bool> {
        let snapshot = &self.plan.snapshots[number];
        if snapshot.source.is_none() && snapshot.edits.is_none() {
            return if state.merge.unchanged(snapshot.date) {
                Ok(true)
            } else {
                let date = snapshot.date;
                Err(Error::internal(format!(
                    "nothing precedes the snapshot of {date}"
                )))
            };
        }
        if let Some(edits) = &snapshot.edits {
            self.replay(state, number, edits)?;
        }
        if snapshot.source.is_none() {
            return Ok(true);
        }
        let DecodedRange::Snapshot(decoded) = self.next_decoded()? else {
            return Err(Error::internal("parts came out of order"));
        };
        if !self.lies_in_range(&decoded, state.range)? {
            return Ok(false);
        }
        if snapshot.edits.is_some() {
            // Its changes were replayed: the rows are for the next snapshot to be compared with.
            Phase::Compare
                .spend(|| state.merge.settle(decoded.rows))
                .map_err(|error| misfit(self.pass, snapshot.date, error))?;
            return Ok(true);
        }
        self.merge(state, number, decoded)
    }

    /// Applies what is recorded of a snapshot's changes.
    fn replay(&mut self, state: &mut RangeMerge, number: usize, edits: &DayEdits) -> Result<()> {
        let date = self.plan.snapshots[number].date;
        let first = state.merge.intervals();
        let EditsOfRange { keys, edits, rows } = edits.of_range(state.range);
        let merged = Phase::Compare
            .spend(|| state.merge.apply(date, &keys, edits))
            .map_err(|error| misfit(self.pass, date, error))?;
        self.changes[number].add(&merged.changes);
        state.output.opened(date, first, &[rows], merged.opened)
    }

    /// Merges decoded rows with those of the snapshot before; false, if they do not ascend.
    fn merge(
        &mut self,
        state: &mut RangeMerge,
        number: usize,
        decoded: DecodedSnapshot,
    ) -> Result<bool> {
        let snapshot = &self.plan.snapshots[number];
        let first = state.merge.intervals();
        let take = || {
            state
                .merge
                .take(snapshot.date, decoded.rows, &snapshot.appeared)
        };
        let merged = match Phase::Compare.spend(take) {
            Ok(merged) => merged,
            Err(MergeError::Unordered) => return Ok(false),
            Err(MergeError::Duplicate { piece, row }) => {
                let key = &self.pass.settings.comparison.key;
                let shown = vec![show_key(&decoded.batches[piece], key, row)];
                return Err(self.pass.table.duplicate_keys(snapshot.date, 1, &shown));
            }
            Err(error) => return Err(misfit(self.pass, snapshot.date, error)),
        };
        self.changes[number].add(&merged.changes);
        self.sums[number].merge(match &mut state.digests {
            None => decoded.sum,
            Some(digests) => {
                digests.take(&decoded.batches, &merged)?;
                digests.sum
            }
        });
        let opened = merged.opened;
        state
            .output
            .opened(snapshot.date, first, &decoded.batches, opened)?;
        Ok(true)
    }

    fn next_decoded(&mut self) -> Result<DecodedRange> {
        self.decoded
            .next()
            .unwrap_or_else(|| Err(Error::internal("there was less to decode than planned")))
    }

    /// Whether the first and last decoded keys lie in the range that was asked for.
    fn lies_in_range(&self, decoded: &DecodedSnapshot, range: usize) -> Result<bool> {
        let has_rows = |rows: &&SortedRows| !rows.is_empty();
        let first = decoded.rows.iter().find(has_rows);
        let last = decoded.rows.iter().rfind(has_rows);
        for rows in first.into_iter().chain(last) {
            if !self.plan.boundaries.hold(range, &rows.keys)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The facts, once all ranges are done.
    fn finish(self) -> CompactionFacts {
        let mut facts = self.facts;
        for ((snapshot, changes), sum) in
            self.plan.snapshots.iter().zip(self.changes).zip(self.sums)
        {
            let date = snapshot.date;
            if snapshot.known.is_none()
                && let Some(observed) = facts.observed.iter_mut().find(|seen| seen.date == date)
            {
                observed.fingerprint = sum.fingerprint();
                observed.rows = snapshot.rows;
            }
            facts.days.push(DayChanges { date, changes });
            match (&snapshot.source, &snapshot.edits) {
                (Some(_), _) => facts.decoded += 1,
                (None, Some(_)) => facts.by_changes += 1,
                (None, None) => facts.unchanged += 1,
            }
        }
        facts
    }
}

/// The digests of the rows of one range, by the interval that each opened, and the sum of those of
/// the last snapshot. So a row is hashed once, and not once a day.
#[derive(Default)]
struct RangeDigests {
    of_intervals: Vec<u128>,
    sum: RowSum,
}

impl RangeDigests {
    /// Takes the rows of intervals that are reused, and when each ended.
    fn resume(&mut self, rows: &RecordBatch, ends: &[Option<NaiveDate>]) -> Result<()> {
        let digests = all_digests(rows)?;
        for (digest, end) in digests.iter().zip(ends) {
            if end.is_none() {
                self.sum.add(&[*digest]);
            }
        }
        self.of_intervals.extend(digests);
        Ok(())
    }

    /// Takes what became of a snapshot's rows.
    fn take(&mut self, batches: &[RecordBatch], merged: &MergedSnapshot) -> Result<()> {
        for interval in &merged.closed {
            self.sum.take(self.of_intervals[*interval as usize]);
        }
        for (batch, opened) in batches.iter().zip(&merged.opened) {
            if opened.is_empty() {
                continue;
            }
            let rows = if opened.len() == batch.num_rows() {
                batch.clone()
            } else {
                take_record_batch(batch, &UInt32Array::from(opened.clone()))
                    .io_context(|| "cannot look at rows".into())?
            };
            let digests = all_digests(&rows)?;
            self.sum.add(&digests);
            self.of_intervals.extend(digests);
        }
        Ok(())
    }
}
