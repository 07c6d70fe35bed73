//! What a program that embeds asof reads of a table's past, compared with what it published.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Date32Type, Int64Type};
use chrono::NaiveDate;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{JoinAsOf, Lake, Table};
use crate::commands::compact::CompactOptions;
use crate::commands::snapshot::SnapshotOptions;
use crate::domain::days::to_days;
use crate::domain::join::JoinKind;
use crate::error::{Kind, Result};
use crate::source::GivenRows;

/// The texts of keys on each of some days that follow one another.
type History = Vec<BTreeMap<i64, Option<String>>>;

fn new_lake() -> (TempDir, Lake) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lake");
    let lake = Lake::open(path.to_str().expect("a path")).expect("a lake");
    (folder, lake)
}

fn day(number: usize) -> NaiveDate {
    let first = NaiveDate::from_ymd_opt(2024, 2, 27).expect("a date");
    first + chrono::Days::new(number as u64)
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
}

/// Publishes the rows of each day, not in the order of the key.
fn publish(table: &Table<'_>, history: &History) {
    for (number, rows) in history.iter().enumerate() {
        let ids = Int64Array::from_iter_values(rows.keys().rev().copied());
        let texts = StringViewArray::from_iter(rows.values().rev().cloned());
        let rows = batch([("id", Arc::new(ids)), ("text", Arc::new(texts))]);
        let given = GivenRows::new(rows.schema(), vec![Ok(rows)]);
        let options = SnapshotOptions::new().date(day(number)).key(["id"]);
        let report = table.snapshot_rows(given, &options.backdate(true));
        report.expect("a snapshot");
    }
}

fn texts(column: &dyn Array) -> Vec<Option<String>> {
    let texts = column.as_string::<i32>().iter();
    texts.map(|text| text.map(str::to_owned)).collect()
}

fn histories() -> impl Strategy<Value = History> {
    let text = proptest::option::of("[ab]");
    let rows = proptest::collection::btree_map(0i64..6, text, 1..6);
    proptest::collection::vec(rows, 1..5)
}

fn check_dates(table: &Table<'_>, history: &History) {
    let days: Vec<_> = (0..history.len()).map(day).collect();
    assert_eq!(table.dates().expect("dates"), days);
    for (number, rows) in history.iter().enumerate() {
        let as_of = table.as_of(day(number)).expect("rows");
        let read = as_of.read(&["text"]).expect("rows");
        let read = read.flat_map(|batch| texts(batch.expect("a batch").column(0)));
        assert!(read.eq(rows.values().cloned()));
    }
}

fn check_differences(table: &Table<'_>, history: &History) {
    let (first, last) = (&history[0], &history[history.len() - 1]);
    let diff = table
        .diff(day(0), day(history.len() - 1))
        .expect("differences");
    let of_key = |key: i64| match (first.get(&key), last.get(&key)) {
        (None, Some(_)) => Some(("added", key)),
        (Some(_), None) => Some(("removed", key)),
        (Some(old), Some(new)) if old != new => Some(("changed", key)),
        _ => None,
    };
    let expected: Vec<_> = (0..6).filter_map(of_key).collect();
    let rows = concat_batches(diff.schema(), diff.batches()).expect("one batch");
    let kinds = rows["change"].as_string::<i32>().iter().flatten();
    let keys = rows["id"].as_primitive::<Int64Type>().values().iter();
    assert!(kinds.zip(keys.copied()).eq(expected.iter().copied()));
    for (side, state) in [("before", first), ("after", last)] {
        let side = rows[side].as_struct();
        let values = texts(side.column(0));
        for (row, (_, key)) in expected.iter().enumerate() {
            assert_eq!(side.is_valid(row), state.contains_key(key));
            assert_eq!(values[row], state.get(key).cloned().flatten());
        }
    }
}

fn check_join(table: &Table<'_>, history: &History, events: &[(i64, usize)], how: JoinKind) {
    let keys = Int64Array::from_iter_values(events.iter().map(|(key, _)| *key));
    let dates = Date32Array::from_iter_values(events.iter().map(|(_, at)| to_days(day(*at))));
    let given = batch([("key", Arc::new(keys)), ("at", Arc::new(dates))]);
    let half = events.len() / 2;
    let halves = vec![given.slice(0, half), given.slice(half, events.len() - half)];
    let join = JoinAsOf::new("at").on([("key", "id")]).how(how);
    let joined = table
        .join_as_of(given.schema(), halves, &join)
        .expect("a join");
    let found = joined
        .read()
        .expect("rows")
        .collect::<Result<Vec<_>>>()
        .expect("rows");
    let found = concat_batches(joined.schema(), &found).expect("one batch");
    let kept = |(key, at): &&(i64, usize)| {
        let meets = history[*at].contains_key(key);
        match how {
            JoinKind::Left => true,
            JoinKind::Inner | JoinKind::Semi => meets,
            JoinKind::Anti => !meets,
        }
    };
    let expected: Vec<_> = events.iter().filter(kept).collect();
    let keys: Vec<i64> = expected.iter().map(|(key, _)| *key).collect();
    assert_eq!(found["key"].as_primitive::<Int64Type>().values()[..], keys);
    let days: Vec<i32> = expected.iter().map(|(_, at)| to_days(day(*at))).collect();
    assert_eq!(found["at"].as_primitive::<Date32Type>().values()[..], days);
    assert_eq!(found.num_columns(), if how.adds_columns() { 3 } else { 2 });
    if how.adds_columns() {
        let text = |(key, at): &&(i64, usize)| history[*at].get(key).cloned().flatten();
        let expected: Vec<_> = expected.iter().map(text).collect();
        assert_eq!(texts(&found["text"]), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_program_reads_back_what_it_published(
        history in histories(),
        events in proptest::collection::vec((0i64..8, 0usize..5), 0..40),
        is_compacted: bool,
    ) {
        let (_folder, lake) = new_lake();
        let table = lake.table("item").expect("a table");
        publish(&table, &history);
        if is_compacted {
            table.compact(&CompactOptions::new()).expect("intervals");
        }
        check_dates(&table, &history);
        check_differences(&table, &history);
        let events: Vec<_> = events.into_iter().filter(|(_, at)| *at < history.len()).collect();
        for how in [JoinKind::Left, JoinKind::Inner, JoinKind::Semi, JoinKind::Anti] {
            check_join(&table, &history, &events, how);
        }
    }
}

#[test]
fn the_history_of_a_key_is_its_intervals() {
    let (_folder, lake) = new_lake();
    let table = lake.table("item").expect("a table");
    let row = |text: &str| BTreeMap::from([(1, Some(text.to_owned())), (2, None)]);
    publish(&table, &vec![row("a"), row("b"), row("b")]);
    let error = table.history(["1"]).expect_err("no intervals");
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(error.hints(), ["asof compact item"]);
    table.compact(&CompactOptions::new()).expect("intervals");

    let history = table.history(["1"]).expect("a history");
    let rows = concat_batches(history.schema(), history.batches()).expect("one batch");
    assert_eq!(
        texts(&rows["text"]),
        [Some("a".to_owned()), Some("b".to_owned())]
    );
    let starts = rows["active_start"].as_primitive::<Date32Type>();
    assert_eq!(starts.values()[..], [to_days(day(0)), to_days(day(1))]);
    assert_eq!(
        table.history(["7"]).expect_err("no such key").kind(),
        Kind::Refused
    );
    assert_eq!(
        table.history(["x"]).expect_err("no number").kind(),
        Kind::Usage
    );

    let intervals = table.intervals().expect("intervals");
    assert_eq!(
        intervals.condition(),
        "active_start <= D AND active_end >= D"
    );
    assert_eq!(intervals.read(&["text"], None).expect("rows").count(), 1);
    let error = intervals.projected(&["txet"]).expect_err("no such column");
    assert_eq!(error.hints(), ["did you mean 'text'?"]);
}

#[test]
fn rows_and_a_source_at_once_are_refused() {
    let (_folder, lake) = new_lake();
    let rows = batch([("id", Arc::new(StringArray::from(vec!["a"])))]);
    let given = || GivenRows::new(rows.schema(), vec![Ok(rows.clone())]);
    let table = lake.table("item").expect("a table");
    let options = SnapshotOptions::new().key(["id"]);
    let error = table.snapshot_rows(given(), &options.clone().source("item.csv"));
    assert!(error.expect_err("both").to_string().contains("'item.csv'"));
    table.snapshot_rows(given(), &options).expect("a snapshot");
    // It is kept, and no command could name the rows.
    let report = table.snapshot_rows(given(), &options).expect("kept");
    assert_eq!(report.compare_with, None);
}
