//! Pruning small lakes.

use std::path::Path;

use arrow::array::{Array, Date32Array, Int64Array, RecordBatch};
use proptest::prelude::*;

use super::applying::DatesDeletion;
use super::proof::ProvenIntervals;
use super::*;
use crate::commands::compact::CompactOptions;
use crate::commands::show::{ShowOptions, ShowReport, show};
use crate::commands::snapshot::{IfExists, Outcome, SnapshotOptions, snapshot};

use crate::commands::testing::{TestLake, date, pick, rewrite, table_status, verdict};
use crate::commands::undo::{DropOptions, drop_snapshot};
use crate::commands::verify::Verdict;
use crate::storage::parquet::footer::Content;

/// The dates of [`lake`].
const DAYS: [&str; 5] = [
    "2024-01-01",
    "2024-01-02",
    "2024-01-05",
    "2024-02-01",
    "2024-02-02",
];

/// Five compacted copies: a change, a key that goes and comes back, a new column.
fn lake() -> TestLake {
    let lake = TestLake::filled();
    lake.take("2024-02-01", "id,price,tag\n1,11,\n2,21,x\n3,30.5,\n");
    lake.take("2024-02-02", "id,price,tag\n1,11,\n2,21,x\n3,30.5,y\n");
    lake.compact("item");
    lake
}

fn keep(rules: &str) -> PruneOptions {
    PruneOptions {
        keep: toml::from_str(rules).expect("rules"),
        ..PruneOptions::default()
    }
}

fn pruned_with(lake: &TestLake, options: &PruneOptions) -> PruneReport {
    let run = prune(&lake.workspace(), &["item".to_owned()], options).expect("a run");
    run.tables.into_iter().next().expect("a table")
}

/// The rules of which nothing but the oldest and the newest copy stays.
fn pruned(lake: &TestLake) -> PruneReport {
    pruned_with(lake, &keep("last = 1"))
}

fn there(lake: &TestLake) -> Vec<&'static str> {
    let mut there = DAYS.to_vec();
    there.retain(|day| lake.object(day).exists());
    there
}

fn shown(lake: &TestLake, day: &str) -> ShowReport {
    let options = ShowOptions {
        table: "item".into(),
        date: Some(date(day)),
        limit: usize::MAX,
        ..ShowOptions::default()
    };
    show(&lake.workspace(), &options).expect("rows")
}

/// What each date shows, and not where that is read.
fn answers(lake: &TestLake) -> Vec<String> {
    let answer = |day: &&str| {
        let ShowReport {
            snapshot_date,
            total,
            schema,
            rows,
            ..
        } = shown(lake, day);
        format!("{snapshot_date} {total} {schema:?} {rows:?}")
    };
    DAYS.iter().map(answer).collect()
}

/// The report of a run that has not begun to delete the copies of some dates.
fn planned(name: &TableName, days: &[&str]) -> PruneReport {
    let mut report = PruneReport::new(name, false);
    report.dates.extend(days.iter().map(|day| PrunedDate {
        snapshot_date: date(day),
        outcome: PruneOutcome::NotReached,
        kept_by: Vec::new(),
        reason: String::new(),
        bytes: 0,
    }));
    report
}

fn outcomes(report: &PruneReport) -> Vec<PruneOutcome> {
    report.dates.iter().map(|date| date.outcome).collect()
}

#[test]
fn what_is_pruned_is_given_back_and_is_not_taken_for_removed_by_hand() {
    use PruneOutcome::{Kept, Planned, Pruned};
    let lake = lake();
    let before = answers(&lake);
    let sizes = DAYS.map(|day| lake.object(day).metadata().expect("a copy").len());
    let mut options = keep("monthly = 2");
    options.dry_run = true;
    let plan = pruned_with(&lake, &options);
    assert_eq!(outcomes(&plan), [Kept, Planned, Kept, Planned, Kept]);
    assert_eq!(there(&lake), DAYS);
    options.dry_run = false;
    let done = pruned_with(&lake, &options);
    assert!(done.error.is_none(), "{:?}", done.error);
    assert_eq!(outcomes(&done), [Kept, Pruned, Kept, Pruned, Kept]);
    assert_eq!((done.pruned, done.kept), (2, 3));
    assert_eq!(done.bytes_freed, sizes[1] + sizes[3]);
    let reasons: Vec<&str> = done.dates.iter().map(|date| date.reason.as_str()).collect();
    let given_back =
        |rows: u32| format!("no rule keeps it; the intervals give back its {rows} rows");
    let expected = [
        "oldest",
        &given_back(2),
        "monthly",
        &given_back(3),
        "monthly",
    ];
    assert_eq!(reasons, expected);
    assert_eq!(there(&lake), ["2024-01-01", "2024-01-05", "2024-02-02"]);
    let folder = lake.object("2024-01-02");
    assert!(!folder.parent().expect("a folder").exists());
    assert_eq!(answers(&lake), before);
    assert_eq!(verdict(&lake), Verdict::Ok);
    let now = table_status(&lake);
    assert!(now.is_up_to_date());
    assert_eq!(now.derived, [date("2024-01-02"), date("2024-02-01")]);
    assert_eq!((now.pruned, now.snapshots), (now.derived, 3));
    // A later compaction carries the proof on, and the same rules delete nothing more.
    lake.take("2024-02-03", "id,price,tag\n1,11,\n");
    lake.compact("item");
    assert_eq!(table_status(&lake).derived.len(), 2);
    assert_eq!(answers(&lake), before);
    let again = pruned_with(&lake, &options);
    assert_eq!(again.pruned, 1, "{again:?}");
    assert_eq!(answers(&lake), before);
}

#[test]
fn a_pruned_date_is_kept_by_a_night_that_runs_again() {
    let lake = lake();
    pruned(&lake);
    let again = |if_exists: IfExists| {
        std::fs::write(lake.path().join("source.csv"), "id,price\n9,9\n").expect("written");
        let options = SnapshotOptions {
            date: Some(date("2024-01-02")),
            backdate: true,
            if_exists,
            ..SnapshotOptions::default()
        };
        let options = options.source(lake.path().join("source.csv").display().to_string());
        snapshot(&lake.workspace(), "item", &options, &mut std::io::empty())
    };
    let kept = again(IfExists::Keep).expect("kept");
    assert_eq!((kept.outcome, kept.rows), (Outcome::Kept, Some(2)));
    let error = again(IfExists::Error).expect_err("a conflict");
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(there(&lake), ["2024-01-01", "2024-02-02"]);
}

#[test]
fn rows_that_were_pruned_do_not_come_back_when_the_copy_after_them_is_dropped() {
    let lake = lake();
    pruned(&lake);
    let day = date("2024-02-01");
    std::fs::write(lake.path().join("source.csv"), "id,price\n9,9\n").expect("written");
    let options = SnapshotOptions {
        date: Some(day),
        backdate: true,
        if_exists: IfExists::Replace,
        ..SnapshotOptions::default()
    };
    let options = options.source(lake.path().join("source.csv").display().to_string());
    snapshot(&lake.workspace(), "item", &options, &mut std::io::empty()).expect("replaced");
    let drop_it = || {
        let options = DropOptions {
            table: "item".into(),
            date: day,
            dry_run: false,
        };
        drop_snapshot(&lake.workspace(), &options)
    };
    let error = drop_it().expect_err("the intervals have the rows of the pruned copy");
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(
        error.hints(),
        ["asof compact item, to take the snapshot in"]
    );
    lake.compact("item");
    drop_it().expect("dropped");
    assert!(!table_status(&lake).derived.contains(&day));
    lake.compact("item");
    assert!(!table_status(&lake).derived.contains(&day));
}

#[test]
fn intervals_that_do_not_hold_every_value_prove_nothing() {
    let cases: [(&str, CompactOptions); 4] = [
        (
            "they leave price out of the comparison",
            CompactOptions {
                ignore: vec!["price".into()],
                ..CompactOptions::default()
            },
        ),
        (
            "they leave all but price out of the comparison",
            CompactOptions {
                track: vec!["price".into()],
                ..CompactOptions::default()
            },
        ),
        (
            "they are of price",
            CompactOptions {
                select: vec!["price".into()],
                ..CompactOptions::default()
            },
        ),
        #[cfg(feature = "sql")]
        (
            "they are of rows where id = 1",
            CompactOptions {
                condition: Some("id = 1".into()),
                ..CompactOptions::default()
            },
        ),
        #[cfg(not(feature = "sql"))]
        ("", CompactOptions::default()),
    ];
    for (why, options) in cases.into_iter().filter(|(why, _)| !why.is_empty()) {
        let lake = lake();
        lake.compact_with("item", &options);
        let report = pruned(&lake);
        let error = report.error.expect("refused");
        assert_eq!(error.kind(), Kind::Refused);
        let said = error.to_string();
        let words: Vec<&str> = why.split(' ').collect();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert_eq!(there(&lake), DAYS, "{why}");
    }
}

#[test]
fn intervals_that_are_missing_or_out_of_date_prove_nothing_and_newer_copies_stay() {
    let lake = TestLake::filled();
    let error = pruned(&lake).error.expect("no intervals");
    assert_eq!(error.hints(), ["asof compact item"]);
    lake.compact("item");
    // Not compacted yet: it stays, and what is compacted may go.
    lake.take("2024-02-01", "id,price,tag\n1,11,\n");
    lake.take("2024-02-02", "id,price,tag\n1,12,\n");
    let report = pruned(&lake);
    assert!(report.error.is_none(), "{:?}", report.error);
    assert_eq!(report.dates[3].reason, "it is not compacted yet");
    assert_eq!(there(&lake), ["2024-01-01", "2024-02-01", "2024-02-02"]);
    // A copy that was rewritten, one that came late, and other settings.
    let rewritten = lake_with(|lake| lake.take("2024-01-02", "id,price\n1,10\n2,22\n"));
    let late = lake_with(|lake| lake.take("2024-01-03", "id,price\n1,10\n2,22\n"));
    let retyped = lake_with(|lake| {
        let types = [("tag".to_owned(), "int64".to_owned())];
        let types = types.into_iter().collect();
        let config = crate::config::TableConfig {
            types,
            ..Default::default()
        };
        lake.config.tables.insert("item".into(), config);
    });
    let ignored = lake_with(|lake| {
        let config = crate::config::TableConfig {
            ignore: vec!["tag".into()],
            ..Default::default()
        };
        lake.config.tables.insert("item".into(), config);
    });
    for lake in [rewritten, late, retyped, ignored] {
        let error = pruned(&lake).error.expect("out of date");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert_eq!(there(&lake), DAYS);
    }
}

fn lake_with(change: impl FnOnce(&mut TestLake)) -> TestLake {
    let mut lake = lake();
    change(&mut lake);
    lake
}

#[test]
fn a_copy_that_a_declared_type_converts_stays() {
    let mut lake = lake();
    let config = crate::config::TableConfig {
        types: [("price".to_owned(), "text".to_owned())]
            .into_iter()
            .collect(),
        ..Default::default()
    };
    lake.config.tables.insert("item".into(), config);
    lake.compact("item");
    let report = pruned(&lake);
    assert!(report.error.is_none(), "{:?}", report.error);
    assert!(report.dates[1].reason.contains("a declared type converts"));
    assert_eq!(there(&lake), DAYS);
}

#[test]
fn a_copy_whose_footer_disagrees_stays_and_the_others_go() {
    let lake = lake();
    rewrite(
        &lake.object("2024-01-05"),
        |batch| batch,
        |footer| {
            if let Content::Snapshot(footer) = &mut footer.content {
                footer.rows += 1;
            }
        },
    );
    let report = pruned(&lake);
    let error = report.error.as_ref().expect("refused");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("2024-01-05"), "{error}");
    assert_eq!(report.dates[2].outcome, PruneOutcome::Refused);
    assert_eq!(there(&lake), ["2024-01-01", "2024-01-05", "2024-02-02"]);
}

#[test]
fn a_date_of_which_a_dropped_copy_is_kept_aside_stays() {
    let lake = lake();
    let aside = lake
        .path()
        .join("lake/item/_dropped/snapshot_date=2024-01-02");
    std::fs::create_dir_all(&aside).expect("a folder");
    // A copy that was damaged when it was dropped may be the one that the intervals are from.
    let name = format!(
        "20240309T020000Z-{}.parquet",
        crate::domain::digest::Fingerprint(0)
    );
    std::fs::write(aside.join(name), "damaged").expect("written");
    let report = pruned(&lake);
    assert!(report.dates[1].reason.contains("kept aside"), "{report:?}");
    assert!(there(&lake).contains(&"2024-01-02"));
}

#[test]
fn a_compaction_between_the_proof_and_the_deletion_keeps_the_copies() {
    let lake = lake();
    let workspace = lake.workspace();
    let name: TableName = "item".parse().expect("a name");
    let proven = ProvenIntervals::read(&workspace, &name).expect("proven");
    let table = workspace.table(&name, &[]).expect("a table");
    let found = table.find(None).expect("found").partitions;
    let doomed = |day: &str| (0, found[&date(day)][0].clone());
    let mut report = planned(&name, &["2024-01-02"]);
    lake.take("2024-02-03", "id,price,tag\n1,12,\n");
    lake.compact("item");
    let deletion = DatesDeletion::new(&workspace, &table, proven, vec![doomed("2024-01-02")]);
    let error = deletion
        .expect("it may write")
        .run(&mut report)
        .expect_err("a conflict");
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(there(&lake), DAYS);
    assert_eq!(report.dates[0].outcome, PruneOutcome::NotReached);
    assert_eq!(verdict(&lake), Verdict::Ok);
}

#[test]
fn a_copy_that_is_replaced_between_the_proof_and_the_deletion_stays() {
    let lake = lake();
    let workspace = lake.workspace();
    let name: TableName = "item".parse().expect("a name");
    let proven = ProvenIntervals::read(&workspace, &name).expect("proven");
    let table = workspace.table(&name, &[]).expect("a table");
    let found = table.find(None).expect("found").partitions;
    let mut report = planned(&name, &["2024-01-02", "2024-01-05"]);
    let doomed = report.dates.iter().enumerate();
    let doomed = doomed.map(|(at, day)| (at, found[&day.snapshot_date][0].clone()));
    let doomed = doomed.collect();
    lake.take("2024-01-02", "id,price\n1,10\n2,22\n");
    let deletion = DatesDeletion::new(&workspace, &table, proven, doomed).expect("it may write");
    deletion.run(&mut report).expect("done");
    assert_eq!(
        outcomes(&report),
        [PruneOutcome::Kept, PruneOutcome::Pruned]
    );
    assert!(there(&lake).contains(&"2024-01-02"));
}

#[test]
fn a_full_compaction_does_not_lose_what_is_pruned() {
    let lake = lake();
    let before = answers(&lake);
    pruned(&lake);
    let options = CompactOptions {
        full: true,
        ..CompactOptions::default()
    };
    let workspace = lake.workspace();
    let item = ["item".to_owned()];
    let error = crate::commands::compact::compact(&workspace, &item, &options);
    assert_eq!(error.expect_err("refused").kind(), Kind::Refused);
    assert_eq!(answers(&lake), before);
}

#[test]
fn replaced_and_refused_copies_go_if_that_is_asked_for() {
    let lake = lake();
    lake.take("2024-01-02", "id,price\n1,10\n2,22\n");
    lake.compact("item");
    let root = lake.path().join("lake/item/_refused");
    for day in ["2024-01-02", "2024-01-03", "2024-01-04"] {
        let folder = root.join(format!("snapshot_date={day}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::copy(lake.object("2024-01-05"), folder.join("item.parquet")).expect("a copy");
        rewrite(
            &folder.join("item.parquet"),
            |batch| batch,
            |footer| {
                if let Content::Snapshot(footer) = &mut footer.content {
                    footer.snapshot_date = date(day);
                }
            },
        );
    }
    let damaged = root.join("snapshot_date=2024-01-04/item.parquet");
    std::fs::write(&damaged, "PAR1").expect("damaged");
    let exists = |path: &Path| path.exists();
    let mut options = PruneOptions {
        refused: true,
        superseded: true,
        dry_run: true,
        ..PruneOptions::default()
    };
    let plan = pruned_with(&lake, &options);
    assert_eq!((plan.copies.len(), plan.dates.len()), (4, 0));
    assert!(exists(&damaged));
    options.dry_run = false;
    let done = pruned_with(&lake, &options);
    assert!(done.error.is_none(), "{:?}", done.error);
    let gone = done.copies.iter().filter(|copy| copy.outcome.is_gone());
    assert_eq!(gone.count(), 3);
    assert!(!exists(&damaged) && !exists(&lake.path().join("lake/item/superseded")));
    // All that there is of that night.
    assert!(exists(&root.join("snapshot_date=2024-01-03/item.parquet")));
    assert_eq!(there(&lake), DAYS);
    // Replaced today, which is within the span before the newest copy.
    lake.take("2024-01-02", "id,price\n1,10\n2,23\n");
    options.keep = toml::from_str("last = 99\nwithin = '1d'").expect("rules");
    let kept = pruned_with(&lake, &options);
    let of_superseded = |copy: &&PrunedCopy| copy.kind == AsideKind::Superseded;
    let mut superseded = kept.copies.iter().filter(of_superseded);
    assert!(
        superseded.all(|copy| copy.outcome == PruneOutcome::Kept),
        "{kept:?}"
    );
}

#[test]
fn there_is_no_pruning_without_a_rule_and_none_of_external_copies() {
    let lake = lake();
    let of = |lake: &TestLake, tables: &[&str], options: &PruneOptions| {
        let tables: Vec<String> = tables.iter().map(|name| (*name).to_owned()).collect();
        prune(&lake.workspace(), &tables, options).map(|run| run.tables.len())
    };
    let none = PruneOptions::default();
    for (tables, options) in [
        (vec!["item"], &none),
        (vec![], &none),
        (vec![], &keep("last = 1")),
        (vec!["itme"], &keep("last = 1")),
    ] {
        let error = of(&lake, &tables, options).expect_err("usage");
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
    let configured = lake_with(|lake| {
        let keep = Some(keep("last = 1").keep);
        let config = crate::config::TableConfig {
            keep,
            ..Default::default()
        };
        lake.config.tables.insert("item".into(), config);
    });
    assert_eq!(of(&configured, &[], &none).expect("a run"), 1);
    assert_eq!(there(&configured), ["2024-01-01", "2024-02-02"]);
    let workspace = lake.external("copies", "id", &[("2024-01-01", "id\n1\n")]);
    let error = prune(&workspace, &["copies".to_owned()], &keep("last = 1"));
    assert_eq!(error.expect_err("external").kind(), Kind::Usage);
}

/// What may be wrong with intervals that are Parquet and have checksums.
#[derive(Clone, Debug)]
enum Wrong {
    /// A row is missing.
    Missing(usize),
    /// A value is another one.
    Value(usize),
    /// An interval begins or ends on another date.
    Moved(usize, bool, i32),
    /// The footer says other rows of a date.
    Recorded(usize),
    /// A byte is another one.
    Byte(usize),
}

fn wrong() -> impl Strategy<Value = Wrong> {
    prop_oneof![
        any::<usize>().prop_map(Wrong::Missing),
        any::<usize>().prop_map(Wrong::Value),
        (
            any::<usize>(),
            any::<bool>(),
            prop_oneof![Just(-31), Just(-1), Just(1), Just(31)]
        )
            .prop_map(|(row, start, days)| Wrong::Moved(row, start, days)),
        any::<usize>().prop_map(Wrong::Recorded),
        any::<usize>().prop_map(Wrong::Byte),
    ]
}

fn with_column(batch: &RecordBatch, name: &str, column: impl Array + 'static) -> RecordBatch {
    let at = batch.schema().index_of(name).expect("a column");
    let mut columns = batch.columns().to_vec();
    columns[at] = std::sync::Arc::new(column);
    RecordBatch::try_new(batch.schema(), columns).expect("a batch")
}

fn damage(lake: &TestLake, wrong: &Wrong) {
    let path = lake.intervals();
    let as_is = |batch: RecordBatch| batch;
    match wrong.clone() {
        Wrong::Missing(row) => rewrite(
            &path,
            |batch| {
                let rows = u32::try_from(batch.num_rows()).expect("few");
                let gone = u32::try_from(row % batch.num_rows()).expect("few");
                let kept: Vec<u32> = (0..rows).filter(|row| *row != gone).collect();
                pick(&batch, &kept)
            },
            |_| {},
        ),
        Wrong::Value(row) => rewrite(
            &path,
            |batch| {
                let ids = batch.column_by_name("id").expect("the key");
                let ids = ids.as_any().downcast_ref::<Int64Array>().expect("integers");
                let row = row % ids.len();
                let changed = (0..ids.len()).map(|at| match at == row {
                    true => ids.value(at) + 100,
                    false => ids.value(at),
                });
                with_column(&batch, "id", Int64Array::from_iter_values(changed))
            },
            |_| {},
        ),
        Wrong::Moved(row, start, days) => rewrite(
            &path,
            |batch| {
                let name = if start { "active_start" } else { "active_end" };
                let dates = batch.column_by_name(name).expect("dates");
                let dates = dates.as_any().downcast_ref::<Date32Array>().expect("dates");
                let row = row % dates.len();
                let moved = (0..dates.len()).map(|at| match at == row {
                    true => dates.value(at) + days,
                    false => dates.value(at),
                });
                with_column(&batch, name, Date32Array::from_iter_values(moved))
            },
            |_| {},
        ),
        Wrong::Recorded(at) => rewrite(&path, as_is, |footer| {
            if let Content::Intervals(footer) = &mut footer.content {
                let at = at % footer.observed.len();
                footer.observed[at].rows += 1;
            }
        }),
        Wrong::Byte(at) => {
            let mut bytes = std::fs::read(&path).expect("intervals");
            let at = at % bytes.len();
            bytes[at] ^= 0x10;
            std::fs::write(&path, bytes).expect("written");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_is_pruned_by_damaged_intervals(wrong in wrong(), interrupted in any::<bool>()) {
        let lake = lake();
        if interrupted {
            // An earlier run had recorded the proof, and was killed before it deleted anything.
            rewrite(&lake.intervals(), |batch| batch, |footer| {
                if let Content::Intervals(footer) = &mut footer.content {
                    for observed in &mut footer.observed {
                        observed.proven = Some(observed.fingerprint);
                    }
                }
            });
        }
        damage(&lake, &wrong);
        let report = pruned(&lake);
        let error = report.error.expect("refused");
        prop_assert!(matches!(error.kind(), Kind::Refused), "{error}");
        prop_assert_eq!(there(&lake), DAYS);
        prop_assert!(report.dates.iter().all(|date| !date.outcome.is_gone()));
    }
}
