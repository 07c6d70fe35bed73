//! Intervals of a condition and of selected columns, over random histories.
//!
//! The model is a walk over the copies: on each of them a key has a row, or none if the row does
//! not meet the condition. Runs of copies with the same row are the intervals.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use proptest::prelude::*;

use super::{CompactOptions, compact};
use crate::commands::testing::{TestLake, date};
use crate::commands::verify::{VerifyOptions, verify};
use crate::config::TableConfig;
use crate::domain::cast::display;
use crate::engine::intervals::Intervals;
use crate::storage::lake::location::Location;

/// The rows of a copy: a key with a status, which may be null, and a price.
type Copy = BTreeMap<i64, (Option<&'static str>, u8)>;
/// Copies by the day they are labelled with.
type History = BTreeMap<u64, Copy>;
/// A condition in SQL and as the model has it.
type Case = (Option<&'static str>, fn(Option<&str>, u8) -> bool);

const CASES: [Case; 6] = [
    (None, |_, _| true),
    (Some("status = 'A'"), |status, _| status == Some("A")),
    (Some("status is null or price > 3"), |status, price| {
        status.is_none() || price > 3
    }),
    (Some("not (status = 'A')"), |status, _| {
        status.is_some_and(|status| status != "A")
    }),
    (Some("price / 2 = 1"), |_, price| price == 2 || price == 3),
    (Some("id is null"), |_, _| false),
];
const SELECTIONS: [&[&str]; 5] = [
    &[],
    &["id"],
    &["status"],
    &["price", "id"],
    &["price", "status"],
];

fn day(number: u64) -> NaiveDate {
    date("2024-01-01") + Days::new(number)
}

fn csv(copy: &Copy) -> String {
    let row = |(id, (status, price)): (&i64, &(Option<&str>, u8))| {
        format!("{id},{},{price}\n", status.unwrap_or_default())
    };
    format!(
        "id,status,price\n{}",
        copy.iter().map(row).collect::<String>()
    )
}

fn copies() -> impl Strategy<Value = Copy> {
    let row = (
        proptest::option::weighted(0.8, proptest::sample::select(vec!["A", "P"])),
        0u8..6,
    );
    proptest::collection::btree_map(0i64..5, row, 1..5)
}

/// The columns of the result.
fn columns(select: &[&str]) -> Vec<&'static str> {
    ["id", "status", "price"]
        .into_iter()
        .filter(|name| select.is_empty() || *name == "id" || select.contains(name))
        .collect()
}

fn model(history: &History, case: Case, select: &[&str], splits: bool) -> Vec<String> {
    let days: Vec<u64> = history.keys().copied().collect();
    let shown = |id: i64, number: u64| {
        let (status, price) = history[&number]
            .get(&id)
            .filter(|(status, price)| case.1(*status, *price))?;
        let cell = |name: &&str| match *name {
            "id" => id.to_string(),
            "status" => status.unwrap_or("null").to_owned(),
            _ => price.to_string(),
        };
        Some(
            columns(select)
                .iter()
                .map(cell)
                .collect::<Vec<_>>()
                .join("|"),
        )
    };
    let mut rows = Vec::new();
    for id in 0..5 {
        let mut first = 0;
        for at in 0..days.len() {
            let now = shown(id, days[at]);
            let next = days.get(at + 1);
            let goes_on = next
                .is_some_and(|next| shown(id, *next) == now && (!splits || *next == days[at] + 1));
            if goes_on {
                continue;
            }
            if let Some(now) = now {
                let end = next.map_or_else(
                    || "now".to_owned(),
                    |next| day(if splits { days[at] } else { next - 1 }).to_string(),
                );
                rows.push(format!("{now} {} {end}", day(days[first])));
            }
            first = at + 1;
        }
    }
    rows
}

/// The intervals of the lake, as the model writes them.
fn given(lake: &TestLake, select: &[&str]) -> Vec<String> {
    let intervals = Intervals::open(&Location::local(lake.intervals()))
        .expect("opened")
        .expect("there");
    let names: Vec<String> = intervals
        .table_schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, columns(select));
    let mut rows = Vec::new();
    for batch in intervals.read(None).expect("read") {
        let batch = batch.expect("rows");
        for (row, interval) in batch.intervals.iter().enumerate() {
            let cell = |column: &arrow::array::ArrayRef| {
                let is_null = column
                    .logical_nulls()
                    .is_some_and(|nulls| nulls.is_null(row));
                if is_null {
                    "null".to_owned()
                } else {
                    display(column, row)
                }
            };
            let cells: Vec<String> = batch.rows.columns().iter().map(cell).collect();
            let end = interval
                .end
                .map_or_else(|| "now".to_owned(), |end| end.to_string());
            rows.push(format!("{} {} {end}", cells.join("|"), interval.start));
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_key_is_present_while_its_row_meets_the_condition(
        history in proptest::collection::btree_map(0u64..9, copies(), 1..7),
        (case, select) in (proptest::sample::select(CASES.to_vec()), proptest::sample::select(SELECTIONS.to_vec())),
        splits in any::<bool>(),
        (rewritten, other) in (any::<proptest::sample::Index>(), copies()),
    ) {
        let mut lake = TestLake::new();
        let config = TableConfig {
            key: vec!["id".into()],
            gaps: splits.then(|| "split".to_owned()),
            condition: case.0.map(str::to_owned),
            select: select.iter().map(|name| (*name).to_owned()).collect(),
            ..TableConfig::default()
        };
        lake.config.tables.insert("item".into(), config);
        let mut history = history;
        // One copy after the other, and then one of them rewritten.
        let rewritten = *rewritten.get(&history.keys().copied().collect::<Vec<_>>());
        let mut known = History::new();
        let steps: Vec<(u64, Copy)> = history.clone().into_iter().chain([(rewritten, other.clone())]).collect();
        history.insert(rewritten, other);
        for (number, copy) in steps {
            lake.take(&day(number).to_string(), &csv(&copy));
            known.insert(number, copy);
            lake.compact("item");
            prop_assert_eq!(given(&lake, select), model(&known, case, select, splits), "after {}", day(number));
        }
        let incremental = std::fs::read(lake.intervals()).expect("intervals");
        lake.compact_with("item", &CompactOptions { full: true, ..CompactOptions::default() });
        prop_assert!(incremental == std::fs::read(lake.intervals()).expect("intervals"), "a full \
         run gives other bytes");
        let report = verify(&lake.workspace(), &VerifyOptions::default()).expect("verified");
        prop_assert_eq!(&report.problems, &vec![]);
        prop_assert_eq!(report.tables[0].round_trips, history.len() as u64);
        let again = compact(&lake.workspace(), &["item".to_owned()], &CompactOptions::default()).expect("compacted").remove(0);
        let open = given(&lake, select).iter().filter(|row| row.ends_with(" now")).count() as u64;
        prop_assert_eq!((again.mode.name(), again.open), ("up_to_date", open));
    }
}

/// What was compacted with options, by what a later run is told.
#[test]
fn a_condition_and_a_selection_are_kept_until_they_are_taken_back() {
    let lake = TestLake::new();
    for (number, price) in [(0, 1), (1, 2), (2, 2)] {
        lake.take(
            &day(number).to_string(),
            &format!("id,status,price\n1,A,{price}\n2,P,{price}\n"),
        );
    }
    let with = |condition: Option<&str>, select: &[&str], full: bool| {
        let select = select.iter().map(|name| (*name).to_owned()).collect();
        let options = CompactOptions {
            condition: condition.map(str::to_owned),
            select,
            full,
            ..CompactOptions::default()
        };
        let report = compact(&lake.workspace(), &["item".to_owned()], &options)
            .expect("compacted")
            .remove(0);
        (
            report.mode.name(),
            report.selected_rows,
            report.select,
            report.intervals,
        )
    };
    let text = |text: &str| Some(text.to_owned());
    let names = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(with(None, &[], false), ("full", None, vec![], 4));
    let of_active = ("full", text("status = 'A'"), names(&["id"]), 1);
    assert_eq!(with(Some("status = 'A'"), &["id"], false), of_active);
    assert_eq!(
        with(None, &[], false),
        ("up_to_date", of_active.1.clone(), of_active.2.clone(), 1)
    );
    assert_eq!(with(None, &[], true), of_active);
    assert_eq!(
        with(None, &["price", "price"], false),
        ("full", text("status = 'A'"), names(&["id", "price"]), 2)
    );
    assert_eq!(
        with(Some(""), &[], false),
        ("full", None, names(&["id", "price"]), 4)
    );
    assert_eq!(with(None, &[""], false), ("full", None, vec![], 4));
    assert_eq!(with(None, &[], false).0, "up_to_date");
}
