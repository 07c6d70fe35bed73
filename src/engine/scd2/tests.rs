use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use chrono_tz::Tz;
use proptest::prelude::*;

use super::testing::{DailyRows, daily_rows, rows_of};
use super::*;
use crate::domain::days::to_days;
use crate::domain::interval::Convention;
use crate::domain::scd2::{DayWindow, Scd2Preset, VersionEnd};
use crate::engine::intervals::split;
use crate::memory::MemoryBudget;
use crate::source::SourceRows;

fn source(table: &RecordBatch, size: usize) -> SourceRows {
    let table = table.clone();
    let starts = (0..table.num_rows()).step_by(size.max(1));
    let pieces: Vec<_> = starts
        .map(|start| Ok(table.slice(start, size.min(table.num_rows() - start))))
        .collect();
    SourceRows {
        schema: table.schema(),
        batches: Box::new(pieces.into_iter()),
        count: None,
    }
}

/// The audit of a table, and its intervals; it is read in pieces of a size.
fn walked(
    table: &RecordBatch,
    columns: &Scd2Columns,
    window: DayWindow,
    size: usize,
) -> (WalkedVersions, Vec<RecordBatch>) {
    let rows = source(table, size);
    let mut gathered =
        gather(rows, columns, None, MemoryBudget(64 << 20), &|_| ()).expect("gathered");
    let sorted: Vec<RecordBatch> = gathered.sorted.map(|batch| batch.expect("rows")).collect();
    let pieces = sorted.into_iter().flat_map(move |batch| {
        let starts = (0..batch.num_rows()).step_by(size);
        let piece = |start| Ok(batch.slice(start, size.min(batch.num_rows() - start)));
        starts.map(piece).collect::<Vec<_>>()
    });
    gathered.sorted = Box::new(pieces);
    let mut intervals = Vec::new();
    let mut out = |rows| {
        intervals.push(rows);
        Ok(())
    };
    let convention = Convention::default();
    let walked = walk(gathered, columns, window, &convention, &mut out).expect("walked");
    (walked, intervals)
}

fn columns_of(table: &RecordBatch, preset: Scd2Preset) -> Scd2Columns {
    let key = ["id".to_owned()];
    Scd2Columns::of(&table.schema(), &preset.shape(), Tz::UTC, &key, "'x'").expect("columns")
}

fn window_of(history: &DailyRows) -> DayWindow {
    DayWindow {
        first: to_days(history.date(0)),
        last: to_days(history.last()),
    }
}

/// The rows of intervals on a day.
fn on_day(
    intervals: &[RecordBatch],
    history: &DailyRows,
    day: usize,
) -> BTreeMap<i64, Option<i64>> {
    let mut rows = BTreeMap::new();
    for batch in intervals {
        let batch = split(batch, &Convention::default()).expect("intervals");
        let ids = batch.rows.column(0).as_primitive::<Int64Type>();
        let values = batch.rows.column(1).as_primitive::<Int64Type>();
        for (row, interval) in batch.intervals.iter().enumerate() {
            if interval.holds(history.date(day)) {
                let value = values.is_valid(row).then(|| values.value(row));
                assert!(rows.insert(ids.value(row), value).is_none(), "twice");
            }
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_any_tool_wrote_down_gives_each_day_back(history in daily_rows(), size in 1usize..9) {
        for preset in Scd2Preset::ALL {
            let table = history.table(preset);
            let columns = columns_of(&table, preset);
            let (walked, intervals) = walked(&table, &columns, window_of(&history), size);
            let gone_keys = walked.findings.count(AuditKind::DeletedKey);
            let (problems, _) = walked.findings.into_parts();
            prop_assert!(problems.is_empty(), "{:?}: {:?}", preset, problems);
            for (day, rows) in history.days.iter().enumerate() {
                prop_assert_eq!(&on_day(&intervals, &history, day), rows, "{:?}, day {}", preset, day);
            }
            prop_assert_eq!(walked.intervals, history.intervals());
            let last = history.days.last().cloned().unwrap_or_default();
            prop_assert_eq!(walked.open, last.len() as u64);
            let known: BTreeSet<i64> =
                history.days.iter().flat_map(BTreeMap::keys).copied().collect();
            let gone = known.iter().filter(|key| !last.contains_key(key)).count() as u64;
            prop_assert_eq!(gone_keys, gone);
        }
    }

    #[test]
    fn a_row_that_is_there_twice_is_found(history in daily_rows(), which in any::<prop::sample::Index>()) {
        for preset in Scd2Preset::ALL {
            let table = history.table(preset);
            if table.num_rows() == 0 {
                continue;
            }
            let mut rows: Vec<u32> = (0..).take(table.num_rows()).collect();
            rows.push(rows[which.index(rows.len())]);
            let columns = columns_of(&table, preset);
            let (walked, _) = walked(&rows_of(&table, &rows), &columns, window_of(&history), 3);
            prop_assert_eq!(walked.findings.count(AuditKind::Duplicate), 1);
        }
    }
}

/// Key, name, start and end.
type DayRow<'a> = (Option<&'a str>, &'a str, Option<i32>, Option<i32>);

/// A table of days; an end may be open.
fn of_days(rows: &[DayRow<'_>]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>());
    let names: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>());
    let starts: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Date32Array>());
    let ends: ArrayRef = Arc::new(rows.iter().map(|row| row.3).collect::<Date32Array>());
    RecordBatch::try_from_iter_with_nullable([
        ("id", ids, true),
        ("name", names, true),
        ("valid_from", starts, true),
        ("valid_to", ends, true),
    ])
    .expect("rows")
}

fn counts(table: &RecordBatch, end: VersionEnd) -> Vec<(AuditKind, u64)> {
    let shape = crate::domain::scd2::Scd2Shape {
        end,
        ..Scd2Preset::Sqlmesh.shape()
    };
    let key = ["id".to_owned()];
    let columns = Scd2Columns::of(&table.schema(), &shape, Tz::UTC, &key, "'x'").expect("columns");
    let window = DayWindow { first: 1, last: 20 };
    let (walked, _) = walked(table, &columns, window, 2);
    let (problems, facts) = walked.findings.into_parts();
    let all = problems.into_iter().chain(facts);
    all.map(|finding| (finding.kind, finding.count)).collect()
}

#[test]
fn what_is_wrong_is_counted_by_kind() {
    let table = of_days(&[
        (Some("a"), "one", Some(1), Some(5)),
        (Some("a"), "two", Some(4), None),
        (Some("b"), "one", Some(3), Some(2)),
        (Some("b"), "two", Some(3), Some(3)),
        (None, "one", Some(1), None),
        (Some("c"), "one", None, None),
        (Some("d"), "one", Some(1), Some(2)),
        (Some("d"), "one", Some(2), Some(4)),
        (Some("d"), "one", Some(6), Some(8)),
    ]);
    use AuditKind as K;
    assert_eq!(
        counts(&table, VersionEnd::Exclusive),
        [
            (K::NullKey, 1),
            (K::NullStart, 1),
            (K::EndBeforeStart, 1),
            (K::Overlap, 1),
            (K::Absence, 1),
            (K::DeletedKey, 1),
            (K::Empty, 1),
            (K::Unchanged, 1),
        ]
    );
    // The last day of one is the first of the other.
    let inclusive = counts(&table, VersionEnd::Inclusive);
    assert!(inclusive.contains(&(K::Overlap, 2)), "{inclusive:?}");
}
