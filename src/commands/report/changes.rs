//! What changed on each day of a table: from intervals, and from recorded changes.
//!
//! An interval that begins is a key that was added, or whose row changed; one that ends is a key
//! that was removed, unless another one begins on the next observed date. So one pass over the
//! intervals, which are in the order of key and start, tells what changed on each of their dates.
//! It tells nothing of a date whose snapshot is another one now, or whose predecessor is. What
//! `asof snapshot` recorded beside the snapshots, verified by their fingerprints, tells of those.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use chrono::NaiveDate;

#[cfg(feature = "frames")]
use super::most_changed::{ColumnTally, KeyTally};
use super::{ChangedColumn, ChangedKey};
use crate::commands::cells::Cells;
use crate::commands::status::{TableLook, UnreadableObject};
use crate::domain::compared_columns::Comparison;
use crate::domain::digest::Fingerprint;
use crate::domain::interval::Interval;
use crate::domain::missing_column::missing_column;
use crate::engine::changes::{self, ChangeType, RecordedChanges};
use crate::engine::digests::key_digests;
use crate::engine::intervals::{IntervalBatch, Intervals};
use crate::error::{Context, Result};
use crate::memory::MemoryBudget;
use crate::model::DateRange;
use crate::parallel::decoding_threads;

/// How many keys were added, changed and removed on a date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DayCounts {
    pub(super) added: u64,
    pub(super) changed: u64,
    pub(super) removed: u64,
}

/// What changed in a table.
#[derive(Default)]
pub(super) struct TableChanges {
    /// By date, of those for which it is known.
    pub(super) by_date: BTreeMap<NaiveDate, DayCounts>,
    pub(super) columns: Option<Vec<ChangedColumn>>,
    pub(super) keys: Option<Vec<ChangedKey>>,
    /// The intervals, if their rows cannot be read.
    pub(super) unreadable: Option<UnreadableObject>,
    /// What to do about dates for which it is not known.
    pub(super) unknown_because: Option<String>,
    /// The columns that were not compared, in words.
    pub(super) not_compared: Option<String>,
}

/// What changed in a table on each of its dates.
pub(super) fn changes_of(look: &TableLook, memory: MemoryBudget) -> Result<TableChanges> {
    let intervals = look
        .inventory
        .intervals
        .as_ref()
        .ok()
        .and_then(Option::as_ref);
    let whole = intervals.filter(|intervals| intervals.is_whole());
    let key = &look.inventory.table.key;
    let comparison = whole.map_or_else(
        || Comparison {
            key: key.clone(),
            ignore: Vec::new(),
            track: Vec::new(),
        },
        Intervals::comparison,
    );
    let not_compared = comparison.not_compared_in_words();
    let answered = whole.map_or_else(BTreeSet::new, |intervals| dates_told_by(intervals, look));
    let mut tally = Tally::new(key, &comparison, memory);
    let mut unreadable = None;
    if let Some(intervals) = whole.filter(|_| !answered.is_empty()) {
        tally.by_date = answered
            .iter()
            .map(|date| (*date, DayCounts::default()))
            .collect();
        if let Err(error) = tally.see_intervals(intervals) {
            unreadable = Some(UnreadableObject {
                date: None,
                what: error.to_string(),
            });
            tally = Tally::new(key, &comparison, memory);
        }
    }
    tally.see_recorded(look, memory)?;
    let unknown_because = unknown_because(look, &tally.by_date, unreadable.is_some());
    let by_date = std::mem::take(&mut tally.by_date);
    let (columns, keys) = tally.most_changed()?;
    Ok(TableChanges {
        by_date,
        columns,
        keys,
        unreadable,
        unknown_because,
        not_compared,
    })
}

/// Why it is not known of some dates what changed, and what to do about it.
fn unknown_because(
    look: &TableLook,
    known: &BTreeMap<NaiveDate, DayCounts>,
    is_unreadable: bool,
) -> Option<String> {
    let name = &look.status.table;
    let mut dates = look.status.observed.iter().skip(1);
    if dates.all(|date| known.contains_key(date)) {
        return None;
    }
    let unreadable = format!("the intervals cannot be read: asof verify {name}");
    Some(match &look.inventory.intervals {
        _ if is_unreadable => unreadable,
        Err(_) => unreadable,
        Ok(None) => format!("the table has no intervals: asof compact {name}"),
        Ok(Some(intervals)) if !intervals.is_whole() => format!(
            "the intervals are of {}, and not of all rows and columns",
            intervals.selection().in_words()
        ),
        Ok(Some(_)) => format!("the intervals are out of date: asof compact {name}"),
    })
}

/// The dates for which the intervals tell what changed since the observed date before.
fn dates_told_by(intervals: &Intervals, look: &TableLook) -> BTreeSet<NaiveDate> {
    let known: BTreeMap<NaiveDate, (usize, _)> = intervals
        .footer
        .observed
        .iter()
        .enumerate()
        .map(|(at, known)| (known.date, (at, known)))
        .collect();
    let place = |date: &NaiveDate| {
        let (at, known) = known.get(date)?;
        let is_same = look
            .footers
            .get(date)
            .is_none_or(|footer| known.is(footer.fingerprint));
        (is_same && !look.status.retyped.contains(date)).then_some(*at)
    };
    let pairs = look.status.observed.windows(2);
    let told = pairs.filter_map(|pair| {
        let [before, date] = pair else { return None };
        (place(before)? + 1 == place(date)?).then_some(*date)
    });
    told.collect()
}

/// What changed, while it is counted.
struct Tally {
    key: Vec<String>,
    comparison: Comparison,
    by_date: BTreeMap<NaiveDate, DayCounts>,
    #[cfg(feature = "frames")]
    columns: ColumnTally,
    #[cfg(feature = "frames")]
    keys: KeyTally,
}

/// What happened to a key on a date.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyEvent {
    Added,
    Changed,
    Removed,
}

/// The columns and the keys that changed most, if they were counted.
type MostChanged = (Option<Vec<ChangedColumn>>, Option<Vec<ChangedKey>>);

impl Tally {
    #[cfg_attr(
        not(feature = "frames"),
        allow(unused_variables, reason = "nothing is held")
    )]
    fn new(key: &[String], comparison: &Comparison, memory: MemoryBudget) -> Self {
        Tally {
            key: key.to_vec(),
            comparison: comparison.clone(),
            by_date: BTreeMap::new(),
            #[cfg(feature = "frames")]
            columns: ColumnTally::default(),
            #[cfg(feature = "frames")]
            keys: KeyTally::new(key.len(), memory.for_changed_keys()),
        }
    }

    /// The columns and keys that changed most.
    #[cfg(feature = "frames")]
    fn most_changed(self) -> Result<MostChanged> {
        Ok((Some(self.columns.finish()?), self.keys.finish()?))
    }

    #[cfg(not(feature = "frames"))]
    fn most_changed(self) -> Result<MostChanged> {
        Ok((None, None))
    }

    /// The columns of a batch that are compared, without the key.
    fn attributes(&self, rows: &RecordBatch) -> Vec<String> {
        let mut columns = self.comparison.columns(rows.schema_ref());
        columns.retain(|name| !self.key.contains(name) && rows.column_by_name(name).is_some());
        columns
    }

    fn key_columns(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column = |name: &String| {
            let column = rows.column_by_name(name).cloned();
            column.ok_or_else(|| missing_column(name, rows.schema_ref(), "the intervals"))
        };
        self.key.iter().map(column).collect()
    }

    /// Counts what happened to the key of a row, if the date is one of those that are told.
    fn count(
        &mut self,
        event: KeyEvent,
        date: NaiveDate,
        keys: &KeysOfBatch,
        row: usize,
    ) -> Result<()> {
        let Some(day) = self.by_date.get_mut(&date) else {
            return Ok(());
        };
        match event {
            KeyEvent::Added => day.added += 1,
            KeyEvent::Changed => day.changed += 1,
            KeyEvent::Removed => day.removed += 1,
        }
        #[cfg(feature = "frames")]
        self.keys.see(
            keys.digests[row].unwrap_or_default(),
            &keys.columns,
            row,
            date,
        )?;
        #[cfg(not(feature = "frames"))]
        let _ = (keys, row);
        Ok(())
    }

    #[cfg_attr(
        not(feature = "frames"),
        allow(unused_variables, clippy::unused_self, reason = "nothing is held")
    )]
    fn count_column(&mut self, name: &str, date: NaiveDate) {
        #[cfg(feature = "frames")]
        if self.by_date.contains_key(&date) {
            self.columns.see(name, date);
        }
    }

    /// Counts what the intervals tell.
    fn see_intervals(&mut self, intervals: &Intervals) -> Result<()> {
        let observed = intervals.observed();
        let mut tail: Option<IntervalBatch> = None;
        let schema = intervals.table_schema();
        let compared = self.comparison.columns(&schema);
        let wanted = schema.fields().iter().map(|field| field.name());
        let wanted = wanted.filter(|name| self.key.contains(name) || compared.contains(name));
        let wanted: Vec<String> = wanted.cloned().collect();
        for batch in intervals.read_where_by(decoding_threads(), Some(&wanted), None)? {
            let batch = batch?;
            if batch.intervals.is_empty() {
                continue;
            }
            let is_first = tail.is_none();
            let batch = joined(tail.take(), batch)?;
            self.see_batch(&batch, is_first, &observed)?;
            let last = batch.intervals.len() - 1;
            tail = Some(IntervalBatch {
                rows: batch.rows.slice(last, 1),
                intervals: vec![batch.intervals[last]],
            });
        }
        if let Some(tail) = tail {
            let keys = KeysOfBatch::of(self.key_columns(&tail.rows)?)?;
            self.see_end(&tail.intervals[0], &observed, &keys, 0)?;
        }
        Ok(())
    }

    /// Counts the changes between the rows of a batch, of which the first one was seen already
    /// unless it is the first of all.
    fn see_batch(
        &mut self,
        batch: &IntervalBatch,
        is_first: bool,
        observed: &[NaiveDate],
    ) -> Result<()> {
        let IntervalBatch { rows, intervals } = batch;
        let keys = KeysOfBatch::of(self.key_columns(rows)?)?;
        let is_same_key = |row: usize| keys.digests[row - 1] == keys.digests[row];
        let meets =
            |row: usize| is_same_key(row) && meet(&intervals[row - 1], &intervals[row], observed);
        let attributes = self.attributes(rows);
        let compared = ComparedPairs::of(
            rows,
            &attributes,
            (1..intervals.len()).filter(|row| meets(*row)),
        )?;
        if is_first {
            self.see_begin(&intervals[0], observed, &keys, 0)?;
        }
        for row in 1..intervals.len() {
            if !meets(row) {
                self.see_end(&intervals[row - 1], observed, &keys, row - 1)?;
                self.see_begin(&intervals[row], observed, &keys, row)?;
                continue;
            }
            let date = intervals[row].start;
            let mut is_changed = false;
            for column in compared.differing(row) {
                is_changed = true;
                self.count_column(&attributes[column], date);
            }
            if is_changed {
                self.count(KeyEvent::Changed, date, &keys, row)?;
            }
        }
        Ok(())
    }

    /// Counts a key that was added, unless it was there from the first.
    fn see_begin(
        &mut self,
        interval: &Interval,
        observed: &[NaiveDate],
        keys: &KeysOfBatch,
        row: usize,
    ) -> Result<()> {
        if observed
            .first()
            .is_some_and(|first| *first < interval.start)
        {
            self.count(KeyEvent::Added, interval.start, keys, row)?;
        }
        Ok(())
    }

    /// Counts a key that was removed, unless it is still there.
    fn see_end(
        &mut self,
        interval: &Interval,
        observed: &[NaiveDate],
        keys: &KeysOfBatch,
        row: usize,
    ) -> Result<()> {
        if let Some(date) = interval.end.and_then(|end| next_after(end, observed)) {
            self.count(KeyEvent::Removed, date, keys, row)?;
        }
        Ok(())
    }

    /// Counts what was recorded beside the snapshots, of dates of which the intervals tell nothing.
    fn see_recorded(&mut self, look: &TableLook, memory: MemoryBudget) -> Result<()> {
        let observed = &look.status.observed;
        let is_open = |pair: &&[NaiveDate]| !self.by_date.contains_key(&pair[1]);
        let open: Vec<&[NaiveDate]> = observed.windows(2).filter(is_open).collect();
        let (Some(first), Some(last)) = (open.first(), open.last()) else {
            return Ok(());
        };
        let table = &look.inventory.table;
        let found = changes::find(table, DateRange::new(first[1], last[1])?)?;
        let limit = memory.for_recorded_changes();
        for pair in open {
            let Some((before, after)) = fingerprints(look, pair) else {
                continue;
            };
            if before == after {
                self.by_date.insert(pair[1], DayCounts::default());
                continue;
            }
            let object = found
                .partitions
                .get(&pair[1])
                .and_then(|objects| objects.first());
            let read =
                object.and_then(|object| changes::read(table, object, before, after, limit as u64));
            if let Some(recorded) = read {
                self.by_date.insert(pair[1], DayCounts::default());
                self.see_recorded_day(pair[1], &recorded)?;
            }
        }
        Ok(())
    }

    fn see_recorded_day(&mut self, date: NaiveDate, recorded: &RecordedChanges) -> Result<()> {
        let rows = &recorded.rows;
        let keys = KeysOfBatch::of(self.key_columns(rows)?)?;
        let attributes = self.attributes(rows);
        let is_postimage = |row: &usize| recorded.types[*row] == ChangeType::UpdatePostimage;
        let compared = ComparedPairs::of(
            rows,
            &attributes,
            (1..recorded.types.len()).filter(is_postimage),
        )?;
        for pair in recorded.pairs()? {
            match pair {
                (None, Some(row)) => self.count(KeyEvent::Added, date, &keys, row)?,
                (Some(row), None) => self.count(KeyEvent::Removed, date, &keys, row)?,
                (Some(_), Some(row)) => {
                    let differing: Vec<usize> = compared.differing(row).collect();
                    for column in &differing {
                        self.count_column(&attributes[*column], date);
                    }
                    // A row that differs in columns that are not compared alone did not change.
                    if !differing.is_empty() {
                        self.count(KeyEvent::Changed, date, &keys, row)?;
                    }
                }
                (None, None) => {}
            }
        }
        Ok(())
    }
}

/// What the footers of two snapshots say of their content.
fn fingerprints(look: &TableLook, pair: &[NaiveDate]) -> Option<(Fingerprint, Fingerprint)> {
    let of = |date: &NaiveDate| look.footers.get(date).map(|footer| footer.fingerprint);
    Some((of(pair.first()?)?, of(pair.last()?)?))
}

/// The first observed date after one.
fn next_after(date: NaiveDate, observed: &[NaiveDate]) -> Option<NaiveDate> {
    observed
        .get(observed.partition_point(|seen| *seen <= date))
        .copied()
}

/// Whether an interval begins on the observed date after the end of the one before.
fn meet(before: &Interval, after: &Interval, observed: &[NaiveDate]) -> bool {
    let next = before.end.and_then(|end| next_after(end, observed));
    next == Some(after.start)
}

/// A batch with the last row of the one before in front of it.
fn joined(tail: Option<IntervalBatch>, batch: IntervalBatch) -> Result<IntervalBatch> {
    let Some(mut tail) = tail else {
        return Ok(batch);
    };
    tail.intervals.extend(batch.intervals);
    Ok(IntervalBatch {
        rows: concat_batches(batch.rows.schema_ref(), [&tail.rows, &batch.rows])
            .io_context(|| "cannot put rows together".into())?,
        intervals: tail.intervals,
    })
}

/// The keys of a batch.
struct KeysOfBatch {
    #[cfg_attr(
        not(feature = "frames"),
        allow(dead_code, reason = "only rankings show keys")
    )]
    columns: Vec<ArrayRef>,
    digests: Vec<Option<u128>>,
}

impl KeysOfBatch {
    fn of(columns: Vec<ArrayRef>) -> Result<Self> {
        let digests = key_digests(&columns)?;
        Ok(KeysOfBatch { columns, digests })
    }
}

/// Rows that are compared with the row right before each.
struct ComparedPairs {
    cells: Cells,
    /// Where a row and the one before are among the cells.
    places: BTreeMap<usize, (usize, usize)>,
}

impl ComparedPairs {
    fn of(
        rows: &RecordBatch,
        columns: &[String],
        pairs: impl Iterator<Item = usize>,
    ) -> Result<Self> {
        let mut taken: Vec<u64> = Vec::new();
        let mut places = BTreeMap::new();
        for row in pairs {
            if taken.last() != Some(&(row as u64 - 1)) {
                taken.push(row as u64 - 1);
            }
            taken.push(row as u64);
            places.insert(row, (taken.len() - 2, taken.len() - 1));
        }
        let taken = take_record_batch(rows, &UInt64Array::from(taken))
            .io_context(|| "cannot select rows".into())?;
        Ok(ComparedPairs {
            cells: Cells::of(&taken, columns)?,
            places,
        })
    }

    /// The positions of the columns in which a row differs from the one before.
    fn differing(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let place = self.places.get(&row).copied();
        place
            .into_iter()
            .flat_map(|(before, after)| self.cells.differing(before, &self.cells, after))
    }
}
