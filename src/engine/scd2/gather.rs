//! Reading a table once: what can be put in order is set aside, sorted; the rest is counted.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;

use super::audit::{AuditKind, Scd2Findings, example};
use super::columns::{RowTime, Scd2Columns};
use crate::domain::scd2::VersionTime;
use crate::engine::table::show_row;
use crate::error::{Context, Result};
use crate::memory::MemoryBudget;
use crate::source::SourceRows;
use crate::storage::Batches;
use crate::storage::sorter::Sorter;

/// The versions of a table, sorted by key and beginning, and what was found on the way.
pub struct GatheredVersions {
    /// The versions that hold at some time and have a key.
    pub(super) sorted: Batches,
    /// The columns of all rows.
    pub schema: SchemaRef,
    /// How many rows there are.
    pub rows: u64,
    /// What was found.
    pub findings: Scd2Findings,
    /// The first day on which something begins or ends, and the last one, of those that are known.
    pub days: Option<(i32, i32)>,
    /// Whether versions began before the tool's first run.
    pub has_unknown_starts: bool,
}

/// Reads the rows to their end. What begins or ends after `today` is found wrong; if there is no
/// today, the future counts. `step` is told how many rows were read.
///
/// # Errors
/// A failure or refusal of reading; a refusal of instants beyond the calendar.
pub fn gather(
    rows: SourceRows,
    columns: &Scd2Columns,
    today: Option<i32>,
    memory: MemoryBudget,
    step: &dyn Fn(u64),
) -> Result<GatheredVersions> {
    let schema = rows.schema.clone();
    let mut sorter = Sorter::new(&columns.order(&schema), memory.for_sorting_a_source());
    let mut gathering = VersionGathering {
        columns,
        today,
        findings: Scd2Findings::default(),
        days: None,
        has_unknown_starts: false,
    };
    let mut read = 0;
    for batch in rows.batches {
        let batch = batch?;
        let kept = gathering.judge(&batch)?;
        let kept =
            filter_record_batch(&batch, &kept).internal_context(|| "cannot select rows".into())?;
        sorter.push(kept)?;
        read += batch.num_rows() as u64;
        step(read);
    }
    let VersionGathering {
        findings,
        days,
        has_unknown_starts,
        ..
    } = gathering;
    Ok(GatheredVersions {
        sorted: sorter.finish(&schema)?,
        schema,
        rows: read,
        findings,
        days,
        has_unknown_starts,
    })
}

struct VersionGathering<'a> {
    columns: &'a Scd2Columns,
    today: Option<i32>,
    findings: Scd2Findings,
    days: Option<(i32, i32)>,
    has_unknown_starts: bool,
}

impl VersionGathering<'_> {
    /// Which rows can be put in order.
    fn judge(&mut self, batch: &RecordBatch) -> Result<BooleanArray> {
        let times = self.columns.times(batch)?;
        let nulls = null_keys(batch, &self.columns.key);
        let currents = self.columns.currents(batch)?;
        let rows = times.into_iter().enumerate();
        let kept = rows.map(|(row, time)| {
            let has_key = self.has_key(batch, row, nulls[row]);
            let time = self.usable(batch, row, time);
            let (Some(time), true) = (time, has_key) else {
                return false;
            };
            if let Some(currents) = &currents {
                self.check_mark(batch, row, currents[row], &time);
            }
            self.see(batch, row, &time)
        });
        Ok(kept.map(Some).collect())
    }

    fn has_key(&mut self, batch: &RecordBatch, row: usize, is_null: bool) -> bool {
        if is_null {
            let key = &self.columns.key;
            let column = key.iter().find(|name| {
                let column = batch.column_by_name(name);
                column.is_some_and(|column| is_null_at(column, row))
            });
            let column = column.or(key.first()).cloned().unwrap_or_default();
            self.findings.add(AuditKind::NullKey, || {
                let mut found = example(batch, key, row, &column, None);
                found.key = show_row(batch, row);
                found
            });
        }
        !is_null
    }

    /// The time of a version that holds at some instant.
    fn usable(&mut self, batch: &RecordBatch, row: usize, time: RowTime) -> Option<VersionTime> {
        let shape = self.columns.shape();
        let key = &self.columns.key;
        let start = || {
            let start = example(batch, key, row, &shape.start_column, None);
            format!("it starts at {}", start.value)
        };
        let Some(time) = time else {
            self.findings.add(AuditKind::NullStart, || {
                example(batch, key, row, &shape.start_column, None)
            });
            return None;
        };
        let kind = match () {
            () if time.is_backwards() => AuditKind::EndBeforeStart,
            () if time.is_empty() => AuditKind::Empty,
            () => return Some(time),
        };
        self.findings.add(kind, || {
            example(batch, key, row, &shape.end_column, Some(start()))
        });
        None
    }

    fn check_mark(
        &mut self,
        batch: &RecordBatch,
        row: usize,
        is_current: bool,
        time: &VersionTime,
    ) {
        if is_current == time.after.is_none() {
            return;
        }
        let shape = self.columns.shape();
        let column = shape.current_column.clone().unwrap_or_default();
        self.findings.add(AuditKind::WrongCurrentMark, || {
            let end = example(batch, &self.columns.key, row, &shape.end_column, None);
            let note = format!("{} is {}", shape.end_column, end.value);
            example(batch, &self.columns.key, row, &column, Some(note))
        });
    }

    /// Notes the days of a version; says whether it is put in order.
    fn see(&mut self, batch: &RecordBatch, row: usize, time: &VersionTime) -> bool {
        let shape = self.columns.shape();
        let key = &self.columns.key;
        let is_unknown = time.start_day == i32::MIN;
        if is_unknown {
            self.has_unknown_starts = true;
            self.findings.add(AuditKind::UnknownStart, || {
                example(batch, key, row, &shape.start_column, None)
            });
        }
        let starts = (!is_unknown).then_some((time.start_day, &shape.start_column));
        let ends = time.after_day.map(|day| (day, &shape.end_column));
        for (day, column) in starts.into_iter().chain(ends) {
            if self.today.is_some_and(|today| day > today) {
                self.findings
                    .add(AuditKind::Future, || example(batch, key, row, column, None));
                continue;
            }
            let (first, last) = self.days.unwrap_or((day, day));
            self.days = Some((first.min(day), last.max(day)));
        }
        true
    }
}

fn is_null_at(column: &arrow::array::ArrayRef, row: usize) -> bool {
    let nulls = column.logical_nulls();
    nulls.is_some_and(|nulls| nulls.is_null(row))
}

/// Which rows have a null in their key.
fn null_keys(batch: &RecordBatch, key: &[String]) -> Vec<bool> {
    let mut null = vec![false; batch.num_rows()];
    let columns = key.iter().filter_map(|name| batch.column_by_name(name));
    for nulls in columns.filter_map(|column| column.logical_nulls()) {
        let rows = null.iter_mut().enumerate();
        rows.for_each(|(row, null)| *null |= nulls.is_null(row));
    }
    null
}
