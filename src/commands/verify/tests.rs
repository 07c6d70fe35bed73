//! The proofs of `asof verify`: intact lakes pass, and each kind of damage is found and named.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array};

use super::*;
use crate::commands::compact::CompactOptions;
use crate::commands::testing::{TestLake, date, pick, rewrite};
use crate::config::TableConfig;
use crate::domain::days::to_days;
use crate::storage::parquet::footer::{Content, Footer, IntervalsFooter, SnapshotFooter};

fn compacted() -> TestLake {
    let lake = TestLake::filled();
    lake.compact("item");
    lake
}

fn verified(lake: &TestLake) -> VerifyReport {
    verify(&lake.workspace(), &VerifyOptions::default()).expect("a report")
}

/// Date, kind and words of each problem.
fn problems(lake: &TestLake) -> Vec<(Option<String>, ProblemKind, String)> {
    let report = verified(lake);
    let mut kinds = report.problems.iter().map(|problem| problem.kind);
    assert_eq!(report.is_ok(), kinds.all(|kind| kind == ProblemKind::Stale));
    report
        .problems
        .into_iter()
        .map(|problem| {
            (
                problem.date.map(|date| date.to_string()),
                problem.kind,
                problem.what,
            )
        })
        .collect()
}

fn kinds(lake: &TestLake) -> Vec<(Option<String>, ProblemKind)> {
    problems(lake)
        .into_iter()
        .map(|(date, kind, _)| (date, kind))
        .collect()
}

fn on(day: &str) -> Option<String> {
    Some(day.to_owned())
}

/// A batch with one column put in the place of another of the same name.
fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let at = batch.schema().index_of(name).expect("a column");
    let mut columns = batch.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(batch.schema(), columns).expect("a batch")
}

fn with_date(batch: &RecordBatch, name: &str, row: usize, day: &str) -> RecordBatch {
    let column = batch.column_by_name(name).expect("a column");
    let days = column
        .as_any()
        .downcast_ref::<Date32Array>()
        .expect("dates");
    let changed = days.iter().enumerate().map(|(at, was)| {
        if at == row {
            Some(to_days(date(day)))
        } else {
            was
        }
    });
    with(batch, name, Arc::new(changed.collect::<Date32Array>()))
}

fn snapshot_footer(footer: &mut Footer) -> &mut SnapshotFooter {
    let Content::Snapshot(footer) = &mut footer.content else {
        panic!("a snapshot")
    };
    footer
}

fn intervals_footer(footer: &mut Footer) -> &mut IntervalsFooter {
    let Content::Intervals(footer) = &mut footer.content else {
        panic!("intervals")
    };
    footer
}

#[test]
fn a_lake_that_asof_wrote_is_ok() {
    let lake = compacted();
    let report = verified(&lake);
    assert!(report.is_ok(), "{:?}", report.problems);
    let proof = &report.tables[0];
    assert_eq!(
        (
            proof.snapshots,
            proof.rows,
            proof.intervals,
            proof.round_trips
        ),
        (3, 9, Some(7), 3)
    );
    assert!(proof.unrecognized_paths.is_empty() && proof.leftovers.is_empty());
}

#[test]
fn every_convention_and_gap_policy_makes_a_round_trip() {
    for options in [
        CompactOptions {
            gaps: Some("split".into()),
            ..CompactOptions::default()
        },
        CompactOptions {
            end: Some("exclusive".into()),
            open_end: Some("null".into()),
            ..CompactOptions::default()
        },
        CompactOptions {
            track: vec!["price".into()],
            ..CompactOptions::default()
        },
        CompactOptions {
            ignore: vec!["tag".into()],
            ..CompactOptions::default()
        },
    ] {
        let lake = TestLake::filled();
        lake.compact_with("item", &options);
        let report = verified(&lake);
        assert!(report.is_ok(), "{options:?}: {:?}", report.problems);
        assert_eq!(report.tables[0].round_trips, 3);
    }
}

#[test]
fn random_histories_make_the_round_trip_and_intervals_that_lose_a_row_do_not() {
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let lake = TestLake::new();
    let mut day = date("2024-01-01");
    for _ in 0..12 {
        let rows: Vec<String> = (0..8)
            .map(|id| (id, random(4)))
            .filter(|(_, n)| *n > 0)
            .map(|(id, n)| format!("{id},{}", n / 2))
            .collect();
        lake.take(
            &day.to_string(),
            &format!("id,n\n9,0\n{}\n", rows.join("\n")),
        );
        day = day + chrono::Days::new(1 + random(3));
        if random(3) == 0 {
            lake.compact("item");
        }
    }
    lake.compact("item");
    let report = verified(&lake);
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!(report.tables[0].round_trips, 12);
    rewrite(
        &lake.intervals(),
        |batch| batch.slice(1, batch.num_rows() - 1),
        |footer| intervals_footer(footer).intervals -= 1,
    );
    assert!(
        kinds(&lake)
            .iter()
            .any(|(_, kind)| *kind == ProblemKind::RoundTrip)
    );
}

#[test]
fn a_truncated_snapshot_is_unreadable_and_the_others_are_still_proven() {
    let lake = compacted();
    let bytes = std::fs::read(lake.object("2024-01-05")).expect("bytes");
    std::fs::write(lake.object("2024-01-05"), &bytes[..bytes.len() / 2]).expect("cut");
    assert_eq!(kinds(&lake), [(on("2024-01-05"), ProblemKind::Unreadable)]);
    assert_eq!(verified(&lake).tables[0].round_trips, 2);
}

#[test]
fn without_intervals_the_key_comes_from_the_last_footer_that_can_be_read() {
    let lake = TestLake::filled();
    std::fs::write(lake.object("2024-01-05"), "PAR1").expect("cut");
    assert_eq!(kinds(&lake), [(on("2024-01-05"), ProblemKind::Unreadable)]);
    let report = verified(&lake);
    assert_eq!(
        (
            report.tables[0].snapshots,
            report.tables[0].intervals,
            report.tables[0].not_compacted
        ),
        (2, None, 3)
    );
}

#[test]
fn another_dates_object_is_found_by_its_footer() {
    let lake = compacted();
    std::fs::copy(lake.object("2024-01-01"), lake.object("2024-01-02")).expect("copied");
    let problems = problems(&lake);
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (&problems[0].0, problems[0].1),
        (&on("2024-01-02"), ProblemKind::Footer)
    );
    assert!(
        problems[0]
            .2
            .ends_with("says that it is item of 2024-01-01"),
        "{}",
        problems[0].2
    );
}

#[test]
fn a_row_that_was_changed_inside_a_snapshot_is_found_and_its_key_and_column_named() {
    let lake = compacted();
    rewrite(
        &lake.object("2024-01-02"),
        |batch| with(&batch, "price", Arc::new(Int64Array::from(vec![10, 22]))),
        |_| {},
    );
    let problems = problems(&lake);
    assert_eq!(
        (problems[0].1, problems[1].1),
        (ProblemKind::Footer, ProblemKind::RoundTrip)
    );
    assert!(
        problems[0].2.starts_with("its footer says fingerprint "),
        "{}",
        problems[0].2
    );
    assert_eq!(
        problems[1].2,
        "the intervals give 2 rows that are not the snapshot's 2: 1 key: id=2 differs in price \
         (21.0, and 22.0 in the snapshot)"
    );
}

#[test]
fn a_row_that_lacks_in_a_snapshot_is_found_by_its_count() {
    let lake = compacted();
    rewrite(
        &lake.object("2024-01-05"),
        |batch| batch.slice(0, 3),
        |_| {},
    );
    let problems = problems(&lake);
    assert_eq!(problems[0].2, "its footer says 4 rows, and there are 3");
    assert!(
        problems[1]
            .2
            .ends_with("1 key: id=4 is only in the intervals"),
        "{}",
        problems[1].2
    );
}

#[test]
fn keys_that_are_unsorted_twice_or_null_are_found() {
    let damage: [(&[u32], &str); 2] = [
        (
            &[1, 0, 2, 3],
            "1 row has a key below that of the row before it: id=1",
        ),
        (
            &[0, 1, 1, 1],
            "2 rows have the key of the row before them: id=2; id=2",
        ),
    ];
    for (rows, expected) in damage {
        let lake = TestLake::filled();
        rewrite(
            &lake.object("2024-01-05"),
            |batch| pick(&batch, rows),
            |_| {},
        );
        let problems = problems(&lake);
        assert_eq!(
            (problems[0].1, problems[0].2.as_str()),
            (ProblemKind::Keys, expected)
        );
    }
    let lake = TestLake::filled();
    rewrite(
        &lake.object("2024-01-02"),
        |batch| {
            with(
                &batch,
                "id",
                Arc::new(Int64Array::from(vec![None, Some(2)])),
            )
        },
        |_| {},
    );
    assert_eq!(kinds(&lake)[0], (on("2024-01-02"), ProblemKind::Keys));
    assert!(
        problems(&lake)[0]
            .2
            .starts_with("1 row has a null in the key")
    );
}

#[test]
fn a_rewritten_snapshot_is_stale_and_says_what_to_type() {
    let lake = compacted();
    lake.take("2024-01-02", "id,price\n1,10\n2,99\n");
    let found = problems(&lake);
    assert_eq!(
        found,
        [(
            on("2024-01-02"),
            ProblemKind::Stale,
            "the snapshot of 2024-01-02 was rewritten since; asof compact item".to_owned()
        )]
    );
    let report = verified(&lake);
    assert_eq!(report.tables[0].round_trips, 2);
    let item = Subject::Table(report.tables[0].table.clone());
    assert_eq!(
        (report.verdict(&item), report.is_ok()),
        (Verdict::OutOfDate, true)
    );
    lake.compact("item");
    assert_eq!(verified(&lake).verdict(&item), Verdict::Ok);
}

#[test]
fn a_snapshot_that_is_not_compacted_yet_is_no_problem() {
    let lake = compacted();
    lake.take("2024-01-06", "id,price\n1,10\n");
    let report = verified(&lake);
    assert!(report.is_ok());
    assert_eq!(
        (
            report.tables[0].snapshots,
            report.tables[0].not_compacted,
            report.tables[0].round_trips
        ),
        (4, 1, 3)
    );
}

#[test]
fn a_pruned_snapshot_is_compared_with_what_was_recorded() {
    let lake = compacted();
    lake.forget("item", "2024-01-01");
    let report = verified(&lake);
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!(
        (report.tables[0].round_trips, report.tables[0].pruned),
        (3, 1)
    );
    rewrite(
        &lake.intervals(),
        |batch| with_price(&batch, 0, 11.0),
        |_| {},
    );
    assert!(kinds(&lake).contains(&(on("2024-01-01"), ProblemKind::RoundTrip)));
}

#[test]
fn a_pruned_snapshot_with_columns_that_are_not_compared_is_counted_only() {
    let lake = TestLake::filled();
    lake.compact_with(
        "item",
        &CompactOptions {
            track: vec!["price".into()],
            ..CompactOptions::default()
        },
    );
    lake.forget("item", "2024-01-01");
    let report = verified(&lake);
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!(
        (report.tables[0].round_trips, report.tables[0].counted_only),
        (2, 1)
    );
}

fn with_price(batch: &RecordBatch, row: usize, price: f64) -> RecordBatch {
    let column = batch.column_by_name("price").expect("a column");
    let prices = column
        .as_any()
        .downcast_ref::<Float64Array>()
        .expect("floats");
    let changed = prices
        .iter()
        .enumerate()
        .map(|(at, was)| if at == row { Some(price) } else { was });
    with(batch, "price", Arc::new(changed.collect::<Float64Array>()))
}

#[test]
fn truncated_intervals_are_unreadable_and_snapshots_are_still_read() {
    let lake = compacted();
    let bytes = std::fs::read(lake.intervals()).expect("bytes");
    std::fs::write(lake.intervals(), &bytes[..bytes.len() - 9]).expect("cut");
    assert_eq!(kinds(&lake), [(None, ProblemKind::Unreadable)]);
    assert_eq!(verified(&lake).tables[0].snapshots, 3);
}

#[test]
fn intervals_that_overlap_are_found() {
    let lake = compacted();
    // The rows are 1, 2 (20), 2 (21), 2 (21, x), 3 (30), 3 (30.5), 4: the first of 2 now runs over
    // the second.
    rewrite(
        &lake.intervals(),
        |batch| with_date(&batch, "active_end", 1, "2024-01-04"),
        |_| {},
    );
    let found = problems(&lake);
    assert!(
        found
            .iter()
            .any(|(_, kind, what)| *kind == ProblemKind::Intervals
                && what
                    == "1 interval begins before the key's previous interval ends: id=2 from \
             2024-01-02 to 2024-01-04"),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|(date, kind, _)| (date, *kind) == (&on("2024-01-02"), ProblemKind::RoundTrip)),
        "{found:?}"
    );
}

#[test]
fn intervals_that_miss_a_row_are_found_and_the_key_named() {
    let lake = compacted();
    rewrite(
        &lake.intervals(),
        |batch| batch.slice(0, batch.num_rows() - 1),
        |_| {},
    );
    let found = problems(&lake);
    assert_eq!(
        (found[0].1, found[0].2.as_str()),
        (
            ProblemKind::Footer,
            "the footer says 7 intervals, and there are 6"
        )
    );
    assert_eq!(
        (found[1].0.clone(), found[1].1),
        (on("2024-01-05"), ProblemKind::RoundTrip)
    );
    assert!(
        found[1]
            .2
            .ends_with("1 key: id=4 is missing in the intervals"),
        "{}",
        found[1].2
    );
}

#[test]
fn intervals_with_a_wrong_value_are_found_on_every_date_it_holds() {
    let lake = compacted();
    rewrite(
        &lake.intervals(),
        |batch| with_price(&batch, 0, 11.0),
        |_| {},
    );
    let found = problems(&lake);
    assert_eq!(found.len(), 3);
    assert!(
        found[0]
            .2
            .ends_with("id=1 differs in price (11.0, and 10.0 in the snapshot)"),
        "{}",
        found[0].2
    );
}

#[test]
fn an_end_that_was_altered_is_found_even_where_no_snapshot_tells() {
    let lake = TestLake::new();
    lake.take("2024-01-01", "id,price\n1,10\n2,20\n");
    lake.take("2024-01-05", "id,price\n1,10\n");
    lake.compact("item");
    rewrite(
        &lake.intervals(),
        |batch| with_date(&batch, "active_end", 1, "2024-01-03"),
        |_| {},
    );
    assert_eq!(
        problems(&lake),
        [(
            None,
            ProblemKind::Intervals,
            "1 interval ends where no snapshot ends it: id=2 from 2024-01-01 to 2024-01-03"
                .to_owned()
        )]
    );
    rewrite(
        &lake.intervals(),
        |batch| with_date(&batch, "active_end", 1, "9999-12-31"),
        |_| {},
    );
    assert_eq!(kinds(&lake), [(on("2024-01-05"), ProblemKind::RoundTrip)]);
    rewrite(
        &lake.intervals(),
        |batch| with_date(&batch, "active_end", 1, "2023-12-31"),
        |_| {},
    );
    assert!(
        problems(&lake)
            .iter()
            .any(|(_, _, what)| what.starts_with("1 interval ends before it starts"))
    );
}

#[test]
fn intervals_out_of_order_or_beginning_on_no_observed_date_are_found() {
    let lake = compacted();
    rewrite(
        &lake.intervals(),
        |batch| pick(&batch, &[0, 2, 1, 3, 4, 5, 6]),
        |_| {},
    );
    let found = problems(&lake);
    assert_eq!(found.len(), 1, "the rows are the same: {found:?}");
    assert!(
        found[0]
            .2
            .starts_with("1 interval is not in the order of key and start: id=2 from 2024-01-01"),
        "{}",
        found[0].2
    );
    let lake = compacted();
    rewrite(
        &lake.intervals(),
        |batch| with_date(&batch, "active_start", 6, "2024-01-04"),
        |_| {},
    );
    assert!(
        problems(&lake)[0]
            .2
            .starts_with("1 interval starts on a date without a snapshot: id=4")
    );
}

#[test]
fn an_external_table_makes_the_round_trip_without_footers_and_in_any_order() {
    let mut lake = TestLake::new();
    let raw = lake.path().join("raw");
    std::fs::create_dir_all(&raw).expect("a folder");
    std::fs::write(raw.join("2024-01-01.csv"), "code,n\n007,2\n001,1\n").expect("written");
    std::fs::write(raw.join("2024-01-02.csv"), "code,n\n001,1\n007,2.5\n").expect("written");
    let config = TableConfig {
        key: vec!["code".into()],
        snapshots: Some("raw".into()),
        layout: Some("%Y-%m-%d.csv".into()),
        ..TableConfig::default()
    };
    lake.config.tables.insert("item".into(), config);
    lake.compact("item");
    let report = verified(&lake);
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!(
        (report.tables[0].round_trips, report.tables[0].intervals),
        (2, Some(3))
    );
    std::fs::write(raw.join("2024-01-02.csv"), "code,n\n001,1\n007,3\n").expect("written");
    assert_eq!(kinds(&lake), [(on("2024-01-02"), ProblemKind::Stale)]);
    std::fs::write(raw.join("2024-01-02.csv"), "code,n\n001,1\n007,\"3\n").expect("written");
    assert_eq!(kinds(&lake).len(), 1);
}

#[test]
fn unrecognized_paths_and_leftovers_are_told_and_are_no_problem() {
    let lake = compacted();
    let root = lake.path().join("lake/item/snapshots");
    std::fs::create_dir_all(root.join("old")).expect("a folder");
    std::fs::write(root.join("snapshot_date=2024-01-02/.asof-x.tmp"), "").expect("a leftover");
    let report = verified(&lake);
    assert!(report.is_ok());
    assert_eq!(report.tables[0].unrecognized_paths, ["old"]);
    assert_eq!(
        report.tables[0].leftovers,
        ["lake/item/snapshots/snapshot_date=2024-01-02/.asof-x.tmp"]
    );
    std::fs::copy(
        lake.object("2024-01-02"),
        root.join("snapshot_date=2024-01-02/copy.parquet"),
    )
    .expect("copied");
    let found = problems(&lake);
    assert_eq!((found.len(), found[0].1), (1, ProblemKind::Unreadable));
    assert!(
        found[0]
            .2
            .starts_with("expected one snapshot file, found 2"),
        "{}",
        found[0].2
    );
}

#[test]
fn a_footer_that_says_less_than_the_rows_is_found() {
    let lake = TestLake::filled();
    rewrite(
        &lake.object("2024-01-01"),
        |batch| batch,
        |footer| snapshot_footer(footer).rows = 2,
    );
    assert_eq!(
        problems(&lake)[0].2,
        "its footer says 2 rows, and there are 3"
    );
}

#[test]
fn a_lake_without_any_snapshot_is_not_called_ok() {
    let mut lake = TestLake::new();
    lake.config.tables.insert(
        "item".into(),
        TableConfig {
            key: vec!["id".into()],
            ..TableConfig::default()
        },
    );
    let error =
        verify(&lake.workspace(), &VerifyOptions::default()).expect_err("nothing to verify");
    assert_eq!(error.kind(), crate::error::Kind::Refused);
    assert_eq!(
        error.to_string(),
        "table item has no snapshots: nothing to verify"
    );
}
