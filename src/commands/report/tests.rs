//! What changed on each day, against `diff` and a naive model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::commands::diff::{DiffOptions, diff};
use crate::commands::testing::TestLake;
#[cfg(feature = "frames")]
use crate::commands::testing::date;
use crate::config::TableConfig;

fn report_of(lake: &TestLake) -> LakeReport {
    report(&lake.workspace(), &LakeReportOptions::default()).expect("a report")
}

fn only_table(lake: &TestLake) -> TableHistoryReport {
    report_of(lake).tables.remove(0)
}

/// Added, changed and removed by date; nothing where it is unknown.
fn counts(table: &TableHistoryReport) -> Vec<Option<(u64, u64, u64)>> {
    let days = &table.days;
    let all = days.added.iter().zip(&days.changed).zip(&days.removed);
    all.map(|((added, changed), removed)| Some(((*added)?, (*changed)?, (*removed)?)))
        .collect()
}

#[test]
fn intervals_tell_what_changed_on_each_day() {
    let lake = TestLake::filled();
    let before = only_table(&lake);
    assert_eq!(counts(&before), [None, None, None]);
    assert_eq!(before.unknown_days, 2);
    assert_eq!(
        before.unknown_because.as_deref(),
        Some("the table has no intervals: asof compact item")
    );
    lake.compact("item");
    let table = only_table(&lake);
    assert_eq!(counts(&table), [None, Some((0, 1, 1)), Some((2, 1, 0))]);
    assert_eq!(table.days.rows, [Some(3), Some(2), Some(4)]);
    assert_eq!(
        (table.unknown_days, table.unknown_because.clone()),
        (0, None)
    );
    let states: Vec<CoverageState> = table.coverage.iter().map(|run| run.state).collect();
    use CoverageState::{Gap, Observed};
    assert_eq!(states, [Observed, Gap, Observed]);
    assert_eq!(
        (table.age_days, table.gap_days, table.rows),
        (Some(148), 2, Some(4))
    );
    assert!(table.is_up_to_date);
}

#[test]
#[cfg(feature = "frames")]
fn the_columns_and_keys_that_change_most_come_first() {
    let lake = TestLake::filled();
    lake.compact("item");
    let table = only_table(&lake);
    let columns = table.most_changed_columns.expect("columns");
    let columns: Vec<_> = columns
        .iter()
        .map(|column| (&*column.name, column.changed, column.last_date))
        .collect();
    assert_eq!(
        columns,
        [
            ("tag", 1, date("2024-01-05")),
            ("price", 1, date("2024-01-02"))
        ]
    );
    let keys = table.most_changed_keys.expect("keys");
    let keys: Vec<_> = keys.iter().map(|key| (&*key.key[0], key.changes)).collect();
    assert_eq!(keys, [("2", 2), ("3", 2), ("4", 1)]);
}

#[test]
fn the_numbers_of_a_day_are_those_of_diff() {
    let lake = TestLake::filled();
    lake.compact("item");
    let table = only_table(&lake);
    let dates = table.days.date.clone();
    for (pair, told) in dates.windows(2).zip(counts(&table).into_iter().skip(1)) {
        let options = DiffOptions {
            table: "item".into(),
            from: Some(pair[0]),
            to: pair[1],
            ..DiffOptions::default()
        };
        let diff = diff(&lake.workspace(), &options).expect("a difference");
        assert_eq!(
            told,
            Some((diff.added, diff.changed, diff.removed)),
            "{pair:?}"
        );
    }
}

#[test]
fn a_rewritten_day_is_unknown_until_it_is_compacted() {
    let lake = TestLake::filled();
    lake.compact("item");
    lake.take("2024-01-02", "id,price\n1,10\n2,22\n5,1\n");
    lake.take(
        "2024-01-06",
        "id,price,tag\n1,10,\n2,21,x\n3,30.5,\n4,40,\n",
    );
    let table = only_table(&lake);
    // The last copy has the fingerprint of the one before: nothing changed.
    assert_eq!(counts(&table), [None, None, None, Some((0, 0, 0))]);
    assert_eq!(table.coverage[1].state, CoverageState::Rewritten);
    let kinds: Vec<AttentionKind> = report_of(&lake)
        .attention
        .iter()
        .map(|one| one.kind)
        .collect();
    assert_eq!(
        kinds,
        [AttentionKind::Rewritten, AttentionKind::NotCompacted]
    );
    lake.compact("item");
    let table = only_table(&lake);
    assert_eq!(
        counts(&table),
        [None, Some((1, 1, 1)), Some((2, 1, 1)), Some((0, 0, 0))]
    );
    assert_eq!(table.coverage[1].state, CoverageState::Rewritten);
    assert!(report_of(&lake).is_up_to_date);
}

#[test]
fn recorded_changes_tell_the_same_as_intervals() {
    let lake = TestLake::new();
    let csv = |day: u32| {
        let row = |id: u32| match (id + day) % 97 {
            0 => format!("{id},changed on {day},{day}\n"),
            _ => format!("{id},as it was,0\n"),
        };
        let ids = (day * 3)..(9_000 + day * 5);
        let rows: String = ids.map(row).collect();
        format!("id,text,n\n{rows}")
    };
    for day in 1..=3 {
        lake.take(&format!("2024-01-0{day}"), &csv(day));
    }
    let recorded = only_table(&lake);
    assert_eq!(recorded.unknown_days, 0, "{:?}", recorded.unknown_because);
    lake.compact("item");
    let compacted = only_table(&lake);
    assert_eq!(recorded.days, compacted.days);
    assert_eq!(
        recorded.most_changed_columns,
        compacted.most_changed_columns
    );
    assert_eq!(recorded.most_changed_keys, compacted.most_changed_keys);
    assert!(
        counts(&compacted)[1]
            .is_some_and(|(added, changed, removed)| added == 5 && changed > 100 && removed == 3)
    );
}

#[test]
fn objects_that_cannot_be_read_are_named() {
    let lake = TestLake::filled();
    lake.compact("item");
    std::fs::write(lake.object("2024-01-02"), "PAR1").expect("cut");
    let report = report_of(&lake);
    assert!(!report.is_up_to_date);
    let kinds: Vec<_> = report
        .attention
        .iter()
        .map(|one| (one.kind, one.dates))
        .collect();
    assert_eq!(kinds, [(AttentionKind::Unreadable, 1)]);
    let table = &report.tables[0];
    assert_eq!(table.coverage[1].state, CoverageState::Unreadable);
    // The intervals know what the copy had.
    assert_eq!(table.days.rows, [Some(3), Some(2), Some(4)]);
    assert_eq!(table.unknown_days, 0);
    std::fs::write(lake.intervals(), "PAR1").expect("cut");
    let report = report_of(&lake);
    assert_eq!(report.attention.len(), 2);
    assert_eq!(
        report.tables[0].unknown_because.as_deref(),
        Some("the intervals cannot be read: asof verify item")
    );
}

#[test]
fn a_page_is_not_written_among_tables() {
    let lake = TestLake::filled();
    let workspace = lake.workspace();
    for (out, what) in [
        ("lake/x.html", "in the lake"),
        ("x.txt", "does not end in .html"),
    ] {
        let error = page_target(&workspace, out).expect_err(out).to_string();
        assert!(error.contains(what), "{error}");
    }
    let place = page_target(&workspace, "x.html").expect("a place");
    write_page(&workspace, &place, "<p>").expect("written");
    write_page(&workspace, &place, "<b>").expect("written again");
    assert_eq!(
        std::fs::read_to_string(lake.path().join("x.html")).expect("read"),
        "<b>"
    );
}

/// A table on a date: the value of each key.
type State = BTreeMap<u8, (u8, Option<u8>)>;

fn states() -> impl Strategy<Value = Vec<(u8, State)>> {
    let state = prop::collection::btree_map(0..5u8, (0..2u8, prop::option::of(0..2u8)), 1..5);
    prop::collection::vec((1..3u8, state), 2..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn each_day_has_the_changes_of_a_naive_comparison(history in states(), split: bool) {
        let mut lake = TestLake::new();
        if split {
            let config = TableConfig {
                gaps: Some("split".into()),
                key: vec!["id".into()],
                ..TableConfig::default()
            };
            lake.config.tables.insert("item".into(), config);
        }
        let mut day = 0;
        for (days, state) in &history {
            day += u32::from(*days);
            let row = |(id, (a, b)): (&u8, &(u8, Option<u8>))| {
                format!("{id},{a},{}\n", b.map_or_else(String::new, |b| b.to_string()))
            };
            let rows: String = state.iter().map(row).collect();
            lake.take(&format!("2024-01-{day:02}"), &format!("id,a,b\n{rows}"));
        }
        lake.compact("item");
        let table = only_table(&lake);
        let naive: Vec<_> = history.windows(2).map(|pair| {
            let (before, after) = (&pair[0].1, &pair[1].1);
            let added = after.keys().filter(|key| !before.contains_key(key)).count() as u64;
            let removed = before.keys().filter(|key| !after.contains_key(key)).count() as u64;
            let changed = after.iter().filter(|(key, row)| before.get(key).is_some_and(|was| was != *row)).count() as u64;
            Some((added, changed, removed))
        }).collect();
        prop_assert_eq!(&counts(&table)[1..], &naive[..]);
        #[cfg(feature = "frames")]
        {
            let told: u64 = naive.iter().flatten().map(|(added, changed, removed)| added + changed + removed).sum();
            let keys = table.most_changed_keys.expect("keys");
            prop_assert_eq!(keys.iter().map(|key| key.changes).sum::<u64>(), told);
        }
    }
}
