use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;
use crate::commands::compact::{CompactOptions, CompactionMode, compact};
use crate::commands::testing::{TestLake, date, verdict};
use crate::commands::verify::Verdict;
use crate::domain::scd2::Scd2Preset;
use crate::engine::intervals::Intervals;
use crate::engine::scd2::testing::{DailyRows, daily_rows};
use crate::error::Kind;
use crate::storage::lake::location::Location;
use crate::storage::parquet::object::ParquetObject;

fn write_parquet(path: &Path, rows: &RecordBatch) {
    let file = std::fs::File::create(path).expect("a file");
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
    writer.write(rows).expect("written");
    writer.close().expect("closed");
}

fn options(preset: Scd2Preset, history: &DailyRows) -> AdoptOptions {
    let mut options = AdoptOptions {
        table: "item".to_owned(),
        preset: Some(preset),
        key: vec!["id".to_owned()],
        from: Some(history.date(0)),
        to: Some(history.last()),
        write: true,
        ..AdoptOptions::default()
    };
    options.source.place = Some("versions.parquet".to_owned());
    options
}

fn adopted(lake: &TestLake, options: &AdoptOptions) -> Result<AdoptReport> {
    adopt_table(&lake.workspace(), options, &mut std::io::empty())
}

fn rows_of(batches: impl Iterator<Item = Result<RecordBatch>>) -> BTreeMap<i64, Option<i64>> {
    let mut rows = BTreeMap::new();
    for batch in batches {
        let batch = batch.expect("rows");
        let ids = batch.column_by_name("id").expect("ids");
        let ids = ids.as_primitive::<Int64Type>();
        let values = batch.column_by_name("value").expect("values");
        for row in 0..batch.num_rows() {
            let value = values.as_primitive::<Int64Type>();
            let value = value.is_valid(row).then(|| value.value(row));
            rows.insert(ids.value(row), value);
        }
    }
    rows
}

/// What the intervals of the lake give for a date.
fn of_intervals(lake: &TestLake, day: chrono::NaiveDate) -> BTreeMap<i64, Option<i64>> {
    let path = Location::local(lake.intervals());
    let intervals = Intervals::open_existing(&path).expect("intervals");
    rows_of(intervals.as_of(day, None).expect("rows"))
}

/// What the copy of a date holds.
fn of_copy(lake: &TestLake, day: chrono::NaiveDate) -> BTreeMap<i64, Option<i64>> {
    let object = Location::local(lake.object(&day.to_string()));
    let object = ParquetObject::open(&object).expect("a copy");
    rows_of(object.read(None).expect("rows"))
}

/// Takes the copy of a night as asof itself does.
fn next_night(lake: &TestLake, day: chrono::NaiveDate, rows: &BTreeMap<i64, Option<i64>>) {
    let line = |(id, value): (&i64, &Option<i64>)| {
        format!(
            "{id},{}\n",
            value.map_or_else(String::new, |value| value.to_string())
        )
    };
    let lines: String = rows.iter().map(line).collect();
    lake.take(&day.to_string(), &format!("id,value\n{lines}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_day_of_an_adopted_history_is_as_it_was(history in daily_rows(), which in 0usize..4) {
        let preset = Scd2Preset::ALL[which];
        prop_assume!(!history.is_empty());
        let lake = TestLake::new();
        write_parquet(&lake.path().join("versions.parquet"), &history.table(preset));
        let wanted = options(preset, &history);
        let report = adopted(&lake, &wanted).expect("adopted");
        prop_assert_eq!(report.outcome, AdoptOutcome::Adopted, "{:?}", report.problems);
        prop_assert_eq!(report.intervals, history.intervals());
        for (day, rows) in history.days.iter().enumerate() {
            prop_assert_eq!(&of_intervals(&lake, history.date(day)), rows, "{:?} {}", preset, day);
        }
        prop_assert_eq!(&of_copy(&lake, history.last()), history.days.last().expect("a day"));
        prop_assert_eq!(verdict(&lake), Verdict::Ok);
        let again = adopted(&lake, &wanted).expect("adopted");
        prop_assert_eq!(again.outcome, AdoptOutcome::AlreadyAdopted);
        // The nights go on from there.
        let mut rows = history.days.last().expect("a day").clone();
        rows.insert(1, Some(7));
        rows.insert(9, Some(9));
        let night = history.last() + chrono::Days::new(1);
        next_night(&lake, night, &rows);
        let done = compact(&lake.workspace(), &["item".to_owned()], &CompactOptions::default());
        let mode = done.expect("compacted")[0].mode;
        prop_assert_eq!(mode, CompactionMode::Incremental);
        prop_assert_eq!(&of_intervals(&lake, night), &rows);
        for (day, rows) in history.days.iter().enumerate() {
            prop_assert_eq!(&of_intervals(&lake, history.date(day)), rows);
        }
        prop_assert_eq!(verdict(&lake), Verdict::Ok);
        let later = adopted(&lake, &wanted).expect("adopted");
        prop_assert_eq!(later.outcome, AdoptOutcome::AlreadyAdopted);
    }

    #[test]
    fn expanded_copies_are_the_days_and_compact_to_the_same_bytes(history in daily_rows(), which in 0usize..4, changed: bool) {
        let preset = Scd2Preset::ALL[which];
        prop_assume!(!history.is_empty());
        let lake = TestLake::new();
        write_parquet(&lake.path().join("versions.parquet"), &history.table(preset));
        let wanted = AdoptOptions {
            expand: true,
            dates: if changed { AdoptedDates::Changed } else { AdoptedDates::Every },
            ..options(preset, &history)
        };
        let report = adopted(&lake, &wanted).expect("adopted");
        let mut before = None;
        let mut copies = 0;
        for (day, rows) in history.days.iter().enumerate() {
            let is_copied = !changed || before != Some(rows) || day == 0 || day + 1 == history.days.len();
            before = Some(rows);
            if is_copied {
                copies += 1;
                prop_assert_eq!(&of_copy(&lake, history.date(day)), rows);
            }
            prop_assert_eq!(&of_intervals(&lake, history.date(day)), rows);
        }
        prop_assert_eq!(report.copies.len(), copies);
        prop_assert_eq!(verdict(&lake), Verdict::Ok);
        let incremental = std::fs::read(lake.intervals()).expect("read");
        lake.compact_with("item", &CompactOptions { full: true, ..CompactOptions::default() });
        prop_assert_eq!(incremental, std::fs::read(lake.intervals()).expect("read"));
        let again = adopted(&lake, &wanted).expect("adopted");
        prop_assert_eq!(again.outcome, AdoptOutcome::AlreadyAdopted);
    }
}

/// A lake and a source of versions in CSV.
fn csv(lines: &str) -> (TestLake, AdoptOptions) {
    let lake = TestLake::new();
    std::fs::write(lake.path().join("versions.csv"), lines).expect("written");
    let mut options = AdoptOptions {
        table: "item".to_owned(),
        preset: Some(Scd2Preset::Sqlmesh),
        key: vec!["id".to_owned()],
        write: true,
        ..AdoptOptions::default()
    };
    options.source.place = Some("versions.csv".to_owned());
    (lake, options)
}

const VERSIONS: &str = "id,value,valid_from,valid_to\n\
    1,10,2024-01-01 10:00:00,2024-01-03 23:30:00\n\
    1,11,2024-01-03 23:30:00,\n\
    2,20,2024-01-02 01:00:00,2024-01-03 00:00:00\n";

#[test]
fn the_time_zone_decides_the_day() {
    for (zone, switched) in [("UTC", "2024-01-03"), ("Europe/Berlin", "2024-01-04")] {
        let (lake, mut options) = csv(VERSIONS);
        options.timezone = Some(zone.to_owned());
        adopted(&lake, &options).expect("adopted");
        let rows = of_intervals(&lake, date("2024-01-03"));
        let expected = if switched == "2024-01-03" { 11 } else { 10 };
        assert_eq!(rows.get(&1), Some(&Some(expected)), "{zone}");
        // Midnight in UTC is one in the morning in Berlin.
        assert!(!rows.contains_key(&2));
    }
}

#[test]
fn names_in_another_case_are_found() {
    let (lake, mut options) = csv(&VERSIONS.replace("valid_", "VALID_"));
    options.leave_out = vec!["not_there".to_owned()];
    let error = adopted(&lake, &options).expect_err("the column is not there");
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    options.leave_out.clear();
    adopted(&lake, &options).expect("adopted");
    let path = Location::local(lake.intervals());
    let schema = Intervals::open_existing(&path)
        .expect("intervals")
        .table_schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["id", "value"]);
}

#[test]
fn without_a_range_history_begins_with_the_first_start_and_ends_with_the_last_change() {
    let (lake, options) = csv(VERSIONS);
    let report = adopted(&lake, &options).expect("adopted");
    assert_eq!(
        (report.from, report.to, report.dates),
        (Some(date("2024-01-01")), Some(date("2024-01-03")), 3)
    );
}

#[test]
fn what_began_before_the_first_run_is_there_on_the_day_before_the_first_change() {
    let first = "1,10,1970-01-01 00:00:00,2024-01-03 23:30:00";
    let (lake, options) =
        csv(&VERSIONS.replace("1,10,2024-01-01 10:00:00,2024-01-03 23:30:00", first));
    let report = adopted(&lake, &options).expect("adopted");
    assert_eq!(report.from, Some(date("2024-01-01")));
    assert_eq!(
        of_intervals(&lake, date("2024-01-01")).get(&1),
        Some(&Some(10))
    );
    let (lake, mut options) = csv("id,value,valid_from,valid_to\n1,10,1970-01-01 00:00:00,\n");
    let error = adopted(&lake, &options).expect_err("nobody knows when");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.hints()[0].starts_with("--from"), "{error:?}");
    options.from = Some(date("2024-01-02"));
    let report = adopted(&lake, &options).expect("adopted");
    assert_eq!((report.from, report.dates), (Some(date("2024-01-02")), 1));
}

#[test]
fn a_table_of_which_the_lake_knows_something_else_is_refused() {
    let (lake, mut options) = csv(VERSIONS);
    lake.take("2024-01-02", "id,value\n1,5\n");
    let error = adopted(&lake, &options).expect_err("a copy stands");
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert_eq!(
        error.hints()[0],
        "--to 2024-01-01, to adopt the dates before it"
    );
    options.to = Some(date("2024-01-01"));
    adopted(&lake, &options).expect("adopted");
    lake.compact("item");
    assert_eq!(
        of_intervals(&lake, date("2024-01-02")).get(&1),
        Some(&Some(5))
    );
    assert_eq!(
        of_intervals(&lake, date("2024-01-01")).get(&1),
        Some(&Some(10))
    );
    assert_eq!(verdict(&lake), Verdict::Ok);
    options.to = None;
    let error = adopted(&lake, &options).expect_err("other intervals stand");
    assert_eq!(error.kind(), Kind::Refused, "{error}");
}

#[test]
fn an_adoption_that_was_killed_is_finished_by_the_next_one() {
    let (lake, options) = csv(VERSIONS);
    adopted(&lake, &options).expect("adopted");
    std::fs::remove_dir_all(lake.path().join("lake/item/snapshots")).expect("removed");
    let report = adopted(&lake, &options).expect("adopted");
    assert_eq!(report.outcome, AdoptOutcome::Adopted);
    assert_eq!(report.copies, [date("2024-01-01"), date("2024-01-03")]);
    let expanding = AdoptOptions {
        expand: true,
        ..options
    };
    std::fs::remove_dir_all(lake.path().join("lake")).expect("removed");
    adopted(&lake, &expanding).expect("adopted");
    std::fs::remove_file(lake.intervals()).expect("removed");
    lake.forget("item", "2024-01-02");
    lake.compact("item");
    let report = adopted(&lake, &expanding).expect("adopted");
    assert_eq!(report.copies, [date("2024-01-02")]);
    assert_eq!(of_intervals(&lake, date("2024-01-02")).len(), 2);
    assert_eq!(verdict(&lake), Verdict::Ok);
}

#[test]
fn a_table_whose_intervals_leave_something_out_needs_its_copies() {
    let (mut lake, mut options) = csv(VERSIONS);
    let config = crate::config::TableConfig {
        ignore: vec!["value".to_owned()],
        ..Default::default()
    };
    lake.config.tables.insert("item".to_owned(), config);
    let error = adopted(&lake, &options).expect_err("refused");
    assert_eq!(
        (error.kind(), error.hints()[0].starts_with("--expand")),
        (Kind::Usage, true)
    );
    options.expand = true;
    adopted(&lake, &options).expect("adopted");
    let intervals = Intervals::open_existing(&Location::local(lake.intervals()));
    assert_eq!(intervals.expect("intervals").footer.ignore, ["value"]);
    assert_eq!(of_copy(&lake, date("2024-01-03")).get(&1), Some(&Some(11)));
    assert_eq!(verdict(&lake), Verdict::Ok);
}
