//! Tests of types across dates, through the commands that meet them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, NullArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::DataType;
use chrono::NaiveDate;
use parquet::arrow::ArrowWriter;

use super::compact::{CompactOptions, CompactReport, CompactionMode, compact};
use super::diff::{DiffOptions, diff};
use super::expand::{ExpandOptions, expand};
use super::schema::schema;
use super::show::{ShowOptions, show};
use super::snapshot::{SnapshotOptions, SnapshotReport, snapshot};
use super::testing::{TestLake, date};
use super::verify::{VerifyOptions, verify};
use super::{Workspace, history};
use crate::config::TableConfig;
use crate::domain::type_names::type_name;
use crate::engine::intervals::Intervals;
use crate::error::{Kind, Result};
use crate::storage::lake::location::Location;

fn day(number: usize) -> String {
    format!("2024-01-0{number}")
}

fn write_parquet(path: &Path, rows: &RecordBatch) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let mut writer = ArrowWriter::try_new(File::create(path).expect("a file"), rows.schema(), None)
        .expect("a writer");
    writer.write(rows).expect("written");
    writer.close().expect("closed");
}

/// Rows of a table with the keys 1, 2, ... and one more column.
fn rows(column: ArrayRef) -> RecordBatch {
    let ids: ArrayRef = Arc::new((1..=column.len() as i64).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("a", column, true)])
        .expect("rows")
}

fn take(lake: &TestLake, number: usize, source: &Path) -> Result<SnapshotReport> {
    let options = SnapshotOptions {
        date: Some(date(&day(number))),
        key: vec!["id".into()],
        backdate: true,
        ..SnapshotOptions::default()
    };
    let options = options.source(source.display().to_string());
    snapshot(&lake.workspace(), "item", &options, &mut std::io::empty())
}

fn take_text(lake: &TestLake, number: usize, ending: &str, text: &str) -> Result<SnapshotReport> {
    let source = lake.path().join(format!("source.{ending}"));
    std::fs::write(&source, text).expect("written");
    take(lake, number, &source)
}

fn take_rows(lake: &TestLake, number: usize, column: ArrayRef) -> Result<SnapshotReport> {
    let source = lake.path().join("source.parquet");
    write_parquet(&source, &rows(column));
    take(lake, number, &source)
}

fn declare(lake: &mut TestLake, column: &str, data_type: &str) {
    let config = lake.config.tables.entry("item".into()).or_default();
    config.types.insert(column.to_owned(), data_type.to_owned());
}

/// The type of the column `a`, and its values, as `show` gives them.
fn shown(workspace: &Workspace<'_>, number: usize) -> (String, Vec<Option<String>>) {
    let options = ShowOptions {
        table: "item".into(),
        date: Some(date(&day(number))),
        limit: 100,
        ..ShowOptions::default()
    };
    let report = show(workspace, &options).expect("shown");
    let at = report
        .schema
        .iter()
        .position(|column| column.name == "a")
        .expect("a column");
    (
        report.schema[at].data_type.clone(),
        report.rows.into_iter().map(|row| row[at].clone()).collect(),
    )
}

fn values(of: &[&str]) -> Vec<Option<String>> {
    of.iter().map(|value| Some((*value).to_owned())).collect()
}

fn compacted(workspace: &Workspace<'_>, full: bool) -> CompactReport {
    let options = CompactOptions {
        full,
        ..CompactOptions::default()
    };
    compact(workspace, &["item".to_owned()], &options)
        .expect("compacted")
        .remove(0)
}

/// Compacts what is new, and checks that intervals are those of a full run and reproduce every
/// snapshot.
fn compacted_alike(lake: &TestLake, workspace: &Workspace<'_>) -> CompactReport {
    let report = compacted(workspace, false);
    let incremental = std::fs::read(lake.intervals()).expect("intervals");
    assert_eq!(
        verify(workspace, &VerifyOptions::of(&["item".to_owned()]))
            .expect("verified")
            .problems,
        []
    );
    compacted(workspace, true);
    assert!(
        incremental == std::fs::read(lake.intervals()).expect("intervals"),
        "an incremental run gives the bytes of a full one"
    );
    assert_eq!(compacted(workspace, false).mode, CompactionMode::UpToDate);
    report
}

fn interval_type(lake: &TestLake) -> String {
    let intervals = Intervals::open(&Location::local(lake.intervals()))
        .expect("opened")
        .expect("there");
    type_name(
        intervals
            .table_schema()
            .field_with_name("a")
            .expect("a column")
            .data_type(),
    )
}

#[test]
fn a_declared_type_applies_to_every_snapshot() {
    // What was written first, in the type that was inferred, and what the declared type makes of
    // it.
    let cases = [
        ("text", ["7", "-12"], ["7", "-12"], "007"),
        ("text", ["1.5", "-0.25"], ["1.5", "-0.25"], "x"),
        ("text", ["true", "false"], ["true", "false"], "x"),
        (
            "text",
            ["2024-01-31", "9999-12-31"],
            ["2024-01-31", "9999-12-31"],
            "x",
        ),
        ("int64", ["x1", "x2"], ["x1", "x2"], "7"),
        ("float64", ["5", "-3"], ["5.0", "-3.0"], "1.5"),
        ("decimal(10, 2)", ["5", "-3"], ["5.00", "-3.00"], "1.25"),
    ];
    for (declared, before, after, later) in cases {
        let mut lake = TestLake::new();
        let csv = |values: [&str; 2]| format!("id,a\n1,{}\n2,{}\n", values[0], values[1]);
        take_text(&lake, 1, "csv", &csv(before)).expect("a snapshot");
        take_text(&lake, 2, "csv", &csv([before[0], before[0]])).expect("a snapshot");
        compacted(&lake.workspace(), false);
        declare(&mut lake, "a", declared);
        let workspace = lake.workspace();
        let taken = take_text(&lake, 3, "csv", &csv([before[0], later]));
        if declared == "int64" {
            // No earlier value is one: that is refused, wherever it is met.
            assert_eq!(taken.expect_err("refused").kind(), Kind::Refused);
            let error = compact(&workspace, &["item".to_owned()], &CompactOptions::default())
                .expect_err("refused");
            assert_eq!(error.kind(), Kind::Refused);
            let message = error.to_string();
            assert!(
                message.starts_with("table item, 2024-01-0")
                    && message.contains("column 'a'")
                    && message.contains("'x"),
                "{message}"
            );
            continue;
        }
        let since = taken.expect("a snapshot").since.expect("a snapshot before");
        assert_eq!(
            (since.changes.changed, since.schema),
            (1, None),
            "{declared}: {before:?}"
        );
        assert_eq!(shown(&workspace, 1), (declared.to_owned(), values(&after)));
        let report = compacted_alike(&lake, &workspace);
        assert_eq!(
            report.mode.name(),
            if declared == "text" || declared.starts_with("decimal") || declared == "float64" {
                "full"
            } else {
                "recomputed"
            }
        );
        assert_eq!(interval_type(&lake), declared);
        // One key did not change at all, and one did twice.
        assert_eq!(report.intervals, 4, "{declared}: {before:?}");
        let options = DiffOptions {
            known_at: None,
            table: "item".into(),
            from: Some(date(&day(1))),
            to: date(&day(3)),
            limit: 10,
            ..DiffOptions::default()
        };
        assert_eq!(diff(&workspace, &options).expect("compared").changed, 1);
        let told = history::history(
            &workspace,
            &history::HistoryOptions {
                table: "item".into(),
                key: vec!["1".into()],
                ..history::HistoryOptions::default()
            },
        );
        assert_eq!(told.expect("told").intervals.len(), 1);
        // Snapshots that are gone come back in the declared type, and the intervals stay what they
        // are.
        let intervals = std::fs::read(lake.intervals()).expect("intervals");
        lake.forget("item", &day(1));
        assert_eq!(
            verify(&workspace, &VerifyOptions::of(&["item".to_owned()]))
                .expect("verified")
                .problems,
            []
        );
        let out = "lake/item/snapshots".to_owned();
        let from = date(&day(1));
        let to = date(&day(1));
        let options = ExpandOptions {
            table: "item".into(),
            from,
            to,
            out,
            dry_run: false,
            intervals: None,
        };
        expand(&workspace, &options).expect("expanded");
        assert_eq!(compacted(&workspace, false).mode, CompactionMode::UpToDate);
        assert!(intervals == std::fs::read(lake.intervals()).expect("intervals"));
        assert_eq!(shown(&workspace, 1), (declared.to_owned(), values(&after)));
    }
}

#[test]
fn what_a_refusal_says_to_declare_holds_the_values_of_both_sides() {
    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, DurationSecondArray, Float32Array,
        Float64Array, Int8Array, ListArray, Time32MillisecondArray, Time64NanosecondArray,
        UInt64Array,
    };
    use arrow::datatypes::Int64Type;
    let decimals = |precision, scale| {
        Decimal128Array::from(vec![12_345])
            .with_precision_and_scale(precision, scale)
            .expect("decimals")
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![-7])),
        Arc::new(Int64Array::from(vec![i64::MIN])),
        Arc::new(UInt64Array::from(vec![u64::MAX])),
        Arc::new(Float32Array::from(vec![0.1])),
        Arc::new(Float64Array::from(vec![1e-300])),
        Arc::new(decimals(10, 2)),
        Arc::new(decimals(38, 38)),
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(StringArray::from(vec!["x"])),
        Arc::new(Date32Array::from(vec![2_932_896])),
        Arc::new(Time32MillisecondArray::from(vec![1])),
        Arc::new(Time64NanosecondArray::from(vec![1])),
        Arc::new(TimestampMillisecondArray::from(vec![1])),
        Arc::new(TimestampMicrosecondArray::from(vec![open_end()])),
        Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")),
        Arc::new(TimestampNanosecondArray::from(vec![1])),
        Arc::new(DurationSecondArray::from(vec![1])),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([
            Some(1),
            None,
        ])])),
        Arc::new(
            arrow::compute::cast(&StringArray::from(vec!["x"]), &list_of_text()).expect("a list"),
        ),
    ];
    let mut settled = 0;
    for (at, one) in columns.iter().enumerate() {
        for (number, other) in columns.iter().enumerate().skip(at + 1) {
            let (before, after) = if number % 2 == 0 {
                (one, other)
            } else {
                (other, one)
            };
            let lake = TestLake::new();
            take_rows(&lake, 1, before.clone()).expect("a snapshot");
            let Err(error) = take_rows(&lake, 2, after.clone()) else {
                continue;
            };
            let from = type_name(before.data_type());
            let to = type_name(after.data_type());
            let hint = &error.hints()[0];
            if hint == "correct the source" {
                assert!(
                    from.starts_with("list") != to.starts_with("list"),
                    "{from} and {to}"
                );
                continue;
            }
            let (section, rest) = hint.split_once("] ").expect("a section");
            let (types, _) = rest.split_once(" in asof.toml").expect("a declaration");
            let config: crate::config::Config =
                toml::from_str(&format!("{section}]\n{types}\n")).expect("TOML");
            let mut lake = lake;
            lake.config.tables = config.tables;
            take_rows(&lake, 2, after.clone())
                .unwrap_or_else(|error| panic!("{from} and {to}: {hint}: {error}"));
            let compacted = compact(
                &lake.workspace(),
                &["item".to_owned()],
                &CompactOptions::default(),
            );
            compacted.unwrap_or_else(|error| panic!("{from} and {to}: {hint}: {error}"));
            settled += 1;
        }
    }
    assert!(settled > 70, "{settled}");
}

fn list_of_text() -> DataType {
    DataType::List(Arc::new(arrow::datatypes::Field::new(
        "item",
        DataType::Utf8,
        true,
    )))
}

#[test]
fn a_declared_key_is_in_the_order_of_its_new_type() {
    let mut lake = TestLake::new();
    let csv = |ids: &[&str]| {
        format!(
            "id,a\n{}",
            ids.iter().map(|id| format!("{id},x\n")).collect::<String>()
        )
    };
    take_text(&lake, 1, "csv", &csv(&["9", "10", "2134"])).expect("a snapshot");
    declare(&mut lake, "id", "text");
    let since = take_text(&lake, 2, "csv", &csv(&["9", "10", "02134"]))
        .expect("a snapshot")
        .since
        .expect("a snapshot before");
    assert_eq!(
        (
            since.changes.added,
            since.changes.removed,
            since.changes.changed
        ),
        (1, 1, 0)
    );
    let report = compacted_alike(&lake, &lake.workspace());
    assert_eq!(report.intervals, 4);
}

#[test]
fn a_type_that_is_no_longer_declared_is_forgotten() {
    let mut lake = TestLake::new();
    take_text(&lake, 1, "csv", "id,a\n1,5\n").expect("a snapshot");
    declare(&mut lake, "a", "text");
    compacted(&lake.workspace(), false);
    assert_eq!(interval_type(&lake), "text");
    lake.config.tables.clear();
    compacted_alike(&lake, &lake.workspace());
    assert_eq!(interval_type(&lake), "int64");
}

#[test]
fn every_conflict_is_told_at_once_and_following_the_hint_settles_it() {
    let mut lake = TestLake::new();
    let source = lake.path().join("source.parquet");
    let batch = |a: ArrayRef, b: ArrayRef| {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        RecordBatch::try_from_iter_with_nullable([
            ("id", ids, true),
            ("a", a, true),
            ("b-c", b, true),
        ])
        .expect("rows")
    };
    write_parquet(
        &source,
        &batch(
            Arc::new(Int64Array::from(vec![5])),
            Arc::new(Int64Array::from(vec![7])),
        ),
    );
    take(&lake, 1, &source).expect("a snapshot");
    write_parquet(
        &source,
        &batch(
            Arc::new(StringArray::from(vec!["5"])),
            Arc::new(StringArray::from(vec!["07"])),
        ),
    );
    let error = take(&lake, 2, &source).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "table item, 2024-01-02: column 'a' changes from int64 to text, column 'b-c' changes from \
         int64 to text, none of which is a safe \
         widening"
    );
    let hint = &error.hints()[0];
    let (table, rest) = hint.split_once("] ").expect("a section");
    let (types, _) = rest.split_once(" in asof.toml").expect("a declaration");
    let config: crate::config::Config =
        toml::from_str(&format!("{table}]\n{types}\n")).expect("TOML");
    lake.config.tables = config.tables;
    let since = take(&lake, 2, &source)
        .expect("a snapshot")
        .since
        .expect("a snapshot before");
    assert_eq!(since.changes.changed, 1);
    compacted_alike(&lake, &lake.workspace());
}

#[test]
fn a_type_is_pinned_by_the_last_snapshot_with_values() {
    type Take<'a> = &'a dyn Fn(&TestLake) -> Result<SnapshotReport>;
    let without: [(&str, Take<'_>); 4] = [
        ("an absent column", &|lake| {
            take_text(lake, 2, "csv", "id\n1\n2\n")
        }),
        ("empty fields", &|lake| {
            take_text(lake, 2, "csv", "id,a\n1,\n2,\n")
        }),
        ("Parquet's null type", &|lake| {
            take_rows(lake, 2, Arc::new(NullArray::new(2)))
        }),
        ("nulls of another type", &|lake| {
            take_rows(lake, 2, Arc::new(Int64Array::from(vec![None, None])))
        }),
    ];
    for (what, second) in without {
        for (ending, text) in [
            ("csv", "id,a\n1,7\n2,8\n"),
            ("ndjson", "{\"id\":1,\"a\":\"7\"}\n{\"id\":2,\"a\":\"8\"}\n"),
        ] {
            let lake = TestLake::new();
            take_text(&lake, 1, "csv", "id,a\n1,007\n2,8\n").expect("a snapshot");
            second(&lake).expect(what);
            take_text(&lake, 3, "csv", "id\n1\n2\n").expect("a snapshot");
            let taken = take_text(&lake, 4, ending, text).expect("a snapshot");
            assert_eq!(
                taken
                    .schema
                    .iter()
                    .find(|column| column.name == "a")
                    .expect("a column")
                    .data_type,
                "text",
                "{what}"
            );
            compacted_alike(&lake, &lake.workspace());
            let error =
                take_rows(&lake, 5, Arc::new(Int64Array::from(vec![7, 8]))).expect_err("numbers");
            assert!(
                error
                    .to_string()
                    .contains("column 'a' changes from text to int64"),
                "{error}"
            );
        }
    }
}

#[test]
fn snapshots_that_do_not_tell_of_absent_columns_are_looked_through() {
    let lake = TestLake::new();
    take_text(&lake, 1, "csv", "id,a\n1,007\n").expect("a snapshot");
    for number in 2..5 {
        take_text(&lake, number, "csv", "id\n1\n").expect("a snapshot");
        super::testing::rewrite(
            &lake.object(&day(number)),
            |rows| rows,
            |footer| {
                let crate::storage::parquet::footer::Content::Snapshot(footer) =
                    &mut footer.content
                else {
                    panic!("a snapshot")
                };
                assert_eq!(footer.absent.take().expect("told").len(), 1);
            },
        );
    }
    let taken = take_text(&lake, 5, "csv", "id,a\n1,7\n").expect("a snapshot");
    assert_eq!(taken.schema[1].data_type, "text");
}

/// Timestamps as a tool writes them: the unit, and microseconds since 1970, or nanoseconds.
#[derive(Clone, Copy, Debug)]
enum Stamp {
    Milli(i64),
    Micro(i64),
    Nano(i64),
}

impl Stamp {
    fn column(self) -> ArrayRef {
        match self {
            Stamp::Milli(value) => {
                Arc::new(TimestampMillisecondArray::from(vec![Some(value), None]))
            }
            Stamp::Micro(value) => {
                Arc::new(TimestampMicrosecondArray::from(vec![Some(value), None]))
            }
            Stamp::Nano(value) => Arc::new(TimestampNanosecondArray::from(vec![Some(value), None])),
        }
    }
}

impl Stamp {
    /// Nanoseconds since 1970.
    fn instant(self) -> i128 {
        match self {
            Stamp::Milli(value) => i128::from(value) * 1_000_000,
            Stamp::Micro(value) => i128::from(value) * 1000,
            Stamp::Nano(value) => i128::from(value),
        }
    }
}

fn open_end() -> i64 {
    let date = NaiveDate::from_ymd_opt(9999, 12, 31)
        .expect("a date")
        .and_hms_opt(23, 59, 59)
        .expect("a time");
    date.and_utc().timestamp_micros()
}

/// Three days of timestamps, and the type that intervals have, or nothing if no unit holds them.
fn unit_cases() -> Vec<([Stamp; 3], Option<&'static str>)> {
    use Stamp::{Micro, Milli, Nano};
    let open = open_end();
    let second = 1_700_000_000_i64;
    let micro = Micro(second * 1_000_000);
    let nano = Nano(second * 1_000_000_000);
    let digits = Nano(second * 1_000_000_000 + 1);
    let mut cases = Vec::new();
    for (days, data_type) in [
        ([Micro(open), nano, nano], Some("timestamp(us)")),
        ([Micro(open), micro, nano], Some("timestamp(us)")),
        ([Milli(open / 1000), nano, micro], Some("timestamp(us)")),
        ([micro, digits, nano], Some("timestamp(ns)")),
        ([micro, digits, micro], Some("timestamp(ns)")),
        ([Micro(open), digits, nano], None),
        (
            [micro, Micro(open), Milli(second * 1000)],
            Some("timestamp(us)"),
        ),
    ] {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            cases.push((order.map(|at: usize| days[at]), data_type));
        }
    }
    cases
}

#[test]
fn units_of_timestamps_are_settled_by_their_values_in_the_lake() {
    for (days, data_type) in unit_cases() {
        let lake = TestLake::new();
        let workspace = lake.workspace();
        let mut refused = None;
        for (at, stamp) in days.iter().enumerate() {
            let taken = take_rows(&lake, at + 1, stamp.column());
            let done = taken.and_then(|_| {
                compact(&workspace, &["item".to_owned()], &CompactOptions::default())
            });
            if let Err(error) = done {
                refused = Some(error);
                break;
            }
        }
        match (data_type, refused) {
            (Some(_), None) => {
                compacted_alike(&lake, &workspace);
                // Values are what was given, whatever the unit.
                let shown: Vec<_> = (1..=3)
                    .map(|number| shown(&workspace, number).1[0].clone())
                    .collect();
                let given: Vec<_> = days
                    .iter()
                    .map(|stamp| super::cells::cell(&stamp.column(), 0))
                    .collect();
                assert_eq!(shown, given, "{days:?}");
                for (from, to) in [(1, 2), (1, 3), (2, 3)] {
                    let options = DiffOptions {
                        known_at: None,
                        table: "item".into(),
                        from: Some(date(&day(from))),
                        to: date(&day(to)),
                        limit: 10,
                        ..DiffOptions::default()
                    };
                    let changed = u64::from(days[from - 1].instant() != days[to - 1].instant());
                    assert_eq!(
                        diff(&workspace, &options).expect("compared").changed,
                        changed,
                        "{days:?}"
                    );
                }
            }
            (None, Some(error)) => {
                let message = error.to_string();
                assert!(
                    message.contains("table item")
                        && message.contains("column 'a'")
                        && message.contains("9999"),
                    "{days:?}: {message}"
                );
                assert!(
                    error.hints()[0].contains("a = \"text\""),
                    "{:?}",
                    error.hints()
                );
            }
            (expected, refused) => panic!("{days:?}: {expected:?}, {refused:?}"),
        }
    }
}

#[test]
fn units_of_timestamps_are_settled_by_their_values_in_external_snapshots() {
    for (days, data_type) in unit_cases() {
        for parts in 1..=2 {
            let lake = TestLake::new();
            let mut workspace = lake.workspace();
            let config = TableConfig {
                snapshots: Some("copies".into()),
                layout: Some("day=%Y-%m-%d".into()),
                key: vec!["id".into()],
                ..TableConfig::default()
            };
            workspace.config.tables.insert("item".into(), config);
            let mut refused = None;
            for (at, stamp) in days.iter().enumerate() {
                let whole = rows(stamp.column());
                for part in 0..parts {
                    let path = lake
                        .path()
                        .join(format!("copies/day={}/part-{part}.parquet", day(at + 1)));
                    let rows = if parts == 1 {
                        whole.clone()
                    } else {
                        whole.slice(part, 1)
                    };
                    write_parquet(&path, &rows);
                }
                refused =
                    compact(&workspace, &["item".to_owned()], &CompactOptions::default()).err();
                if refused.is_some() {
                    break;
                }
            }
            match (data_type, refused) {
                (Some(data_type), None) => {
                    compacted_alike(&lake, &workspace);
                    assert_eq!(interval_type(&lake), data_type, "{days:?}");
                }
                (None, Some(error)) => assert!(
                    error
                        .to_string()
                        .contains("no unit holds every timestamp of column 'a'"),
                    "{error}"
                ),
                (expected, refused) => panic!("{days:?}: {expected:?}, {refused:?}"),
            }
        }
    }
}

#[test]
fn a_type_that_was_inferred_from_text_gives_way_to_text() {
    let days = |values: &[&str]| -> Vec<(String, String)> {
        values
            .iter()
            .enumerate()
            .map(|(at, value)| (day(at + 1), format!("id,a\n1,{value}\n2,{value}\n")))
            .collect()
    };
    for values in [
        ["7", "8", "A7"],
        ["true", "x", "x"],
        ["2024-01-31", "never", "2024-02-01"],
        ["1.50", "1.5", "none"],
        ["A7", "7", "8"],
    ] {
        let lake = TestLake::new();
        for last in 1..=values.len() {
            let written = days(&values[..last]);
            let written: Vec<(&str, &str)> = written
                .iter()
                .map(|(day, csv)| (day.as_str(), csv.as_str()))
                .collect();
            let workspace = lake.external("item", "id", &written);
            compacted_alike(&lake, &workspace);
        }
        let workspace = lake.external("item", "id", &[]);
        assert_eq!(interval_type(&lake), type_name(&DataType::Utf8));
        for (at, value) in values.iter().enumerate() {
            assert_eq!(
                shown(&workspace, at + 1).1,
                super::types_tests::values(&[*value, *value]),
                "as it is written"
            );
        }
    }
}

#[test]
fn a_declared_column_may_be_absent_and_a_misspelled_one_is_told() {
    let mut lake = TestLake::new();
    declare(&mut lake, "a", "text");
    take_text(&lake, 1, "csv", "id,a\n1,007\n").expect("a snapshot");
    take_text(&lake, 2, "csv", "id\n1\n").expect("absent today");
    declare(&mut lake, "aa", "text");
    let error = take_text(&lake, 3, "csv", "id,a\n1,007\n").expect_err("misspelled");
    assert_eq!(
        (error.kind(), error.hints()[0].as_str()),
        (Kind::Usage, "its columns are id, a")
    );
    let mut external = lake.external(
        "item",
        "id",
        &[("2024-01-01", "id\n1\n"), ("2024-01-02", "id,a\n1,7\n")],
    );
    let config = external.config.tables.get_mut("item").expect("a table");
    config.types = [("a".to_owned(), "text".to_owned())].into();
    compacted(&external, true);
    assert_eq!(interval_type(&lake), "text");
    external
        .config
        .tables
        .get_mut("item")
        .expect("a table")
        .types
        .insert("aa".into(), "text".into());
    let error = compact(&external, &["item".to_owned()], &CompactOptions::default())
        .expect_err("misspelled");
    assert_eq!(error.kind(), Kind::Usage);
}

#[test]
fn columns_that_change_in_every_row_are_told() {
    let csv = |number: usize| -> String {
        let rows = (0..50).map(|id| {
            format!(
                "{id},{},2024-01-0{number}\n",
                if id == number { "new" } else { "old" }
            )
        });
        format!("id,a,loaded_at\n{}", rows.collect::<String>())
    };
    let lake = TestLake::new();
    for number in 1..=4 {
        take_text(&lake, number, "csv", &csv(number)).expect("a snapshot");
        let told = compacted(&lake.workspace(), false).volatile_columns;
        assert_eq!(
            told,
            if number < 3 {
                Vec::new()
            } else {
                vec!["loaded_at".to_owned()]
            },
            "{number} snapshots"
        );
    }
    let ignore = CompactOptions {
        ignore: vec!["loaded_at".into()],
        ..CompactOptions::default()
    };
    let report = compact(&lake.workspace(), &["item".to_owned()], &ignore)
        .expect("compacted")
        .remove(0);
    assert!(report.volatile_columns.is_empty());
}

#[test]
fn the_history_of_columns_is_told() {
    let mut lake = TestLake::new();
    take_text(&lake, 1, "csv", "id,a\n1,5\n").expect("a snapshot");
    take_text(&lake, 2, "csv", "id,a,b\n1,5.5,x\n").expect("a snapshot");
    take_text(&lake, 3, "csv", "id,b\n1,x\n").expect("a snapshot");
    compacted(&lake.workspace(), false);
    lake.forget("item", &day(1));
    declare(&mut lake, "b", "text");
    let report = schema(&lake.workspace(), "item").expect("told");
    let told: Vec<_> = report
        .columns
        .iter()
        .map(|c| {
            (
                c.name.as_str(),
                c.data_type.as_str(),
                c.key,
                c.declared,
                c.pinned,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("id", "int64", true, false, true),
            ("a", "float64", false, false, true),
            ("b", "text", false, true, false)
        ]
    );
    assert_eq!(report.columns[1].changes.len(), 3);
    assert_eq!(
        (report.snapshots, report.first, report.last),
        (3, date(&day(1)), date(&day(3)))
    );
}
