//! Dropping and restoring on small lakes.

use super::*;
use crate::commands::compact::{CompactOptions, compact};
use crate::commands::expand::{ExpandOptions, expand};
use crate::commands::lookup::latest_states;

use crate::commands::testing::{TestLake, date, table_status, verdict};
use crate::commands::verify::Verdict;
use crate::error::Kind;

/// The three copies of [`TestLake::filled`].
const DAYS: [(&str, &str); 3] = [
    ("2024-01-01", "id,price\n1,10\n2,20\n3,30\n"),
    ("2024-01-02", "id,price\n1,10\n2,21\n"),
    (
        "2024-01-05",
        "id,price,tag\n1,10,\n2,21,x\n3,30.5,\n4,40,\n",
    ),
];

fn drop_of(lake: &TestLake, day: &str) -> Result<DropReport> {
    let options = DropOptions {
        table: "item".into(),
        date: date(day),
        dry_run: false,
    };
    drop_snapshot(&lake.workspace(), &options)
}

fn dropped(lake: &TestLake, day: &str) -> DropReport {
    drop_of(lake, day).expect("dropped")
}

fn restore_of(lake: &TestLake, day: &str, copy: Option<&str>) -> Result<RestoreReport> {
    let options = RestoreOptions {
        table: "item".into(),
        date: date(day),
        copy: copy.map(str::to_owned),
        dry_run: false,
    };
    restore(&lake.workspace(), &options)
}

/// The date whose copy serves a date, as `asof show` has it.
fn served_by(lake: &TestLake, day: &str) -> Option<NaiveDate> {
    let history = latest_states(&lake.workspace(), "item", &[date(day)]).ok()?;
    history.latest_until(date(day))
}

fn asides(lake: &TestLake) -> Vec<String> {
    let mut names = Vec::new();
    for root in ["_dropped", "superseded"] {
        let folder = lake.path().join("lake/item").join(root);
        let days = std::fs::read_dir(&folder).into_iter().flatten();
        for day in days.map(|day| day.expect("an entry").path()) {
            for file in std::fs::read_dir(day).expect("a folder") {
                let name = file.expect("an entry").file_name();
                names.push(format!("{root}/{}", name.to_string_lossy()));
            }
        }
    }
    names.sort();
    names
}

#[test]
fn intervals_are_made_as_if_a_dropped_copy_had_never_been_there() {
    for (at, (day, _)) in DAYS.iter().enumerate() {
        let lake = TestLake::filled();
        lake.compact("item");
        assert!(dropped(&lake, day).is_compacted);
        assert_eq!(verdict(&lake), Verdict::OutOfDate);
        let before = table_status(&lake);
        assert_eq!(before.dropped_since, [date(day)]);
        assert!(!before.is_up_to_date() && before.pruned.is_empty());
        assert!(!before.observed.contains(&date(day)));
        lake.compact("item");
        assert_eq!(verdict(&lake), Verdict::Ok);
        assert!(table_status(&lake).is_up_to_date());
        let never = TestLake::new();
        for (other, (day, csv)) in DAYS.iter().enumerate() {
            if other != at {
                never.take(day, csv);
            }
        }
        never.compact("item");
        let bytes = |lake: &TestLake| std::fs::read(lake.intervals()).expect("intervals");
        assert!(bytes(&lake) == bytes(&never), "without {day}");
    }
}

#[test]
fn a_dropped_copy_serves_no_date_before_the_intervals_are_recomputed_and_after() {
    let lake = TestLake::filled();
    lake.compact("item");
    dropped(&lake, "2024-01-02");
    for _ in 0..2 {
        assert_eq!(served_by(&lake, "2024-01-02"), Some(date("2024-01-01")));
        assert_eq!(served_by(&lake, "2024-01-05"), Some(date("2024-01-05")));
        let options = ExpandOptions {
            table: "item".into(),
            from: date("2024-01-01"),
            to: date("2024-01-05"),
            out: "copies".into(),
            dry_run: false,
            intervals: None,
        };
        let expanded = expand(&lake.workspace(), &options).expect("expanded");
        let dates: Vec<NaiveDate> = expanded.dates.iter().map(|day| day.snapshot_date).collect();
        assert_eq!(dates, [date("2024-01-01"), date("2024-01-05")]);
        lake.compact("item");
    }
}

#[test]
fn a_restored_copy_is_the_snapshot_that_it_was() {
    let lake = TestLake::filled();
    lake.compact("item");
    let intervals = std::fs::read(lake.intervals()).expect("intervals");
    let snapshot = std::fs::read(lake.object("2024-01-02")).expect("a snapshot");
    for recomputes in [false, true] {
        dropped(&lake, "2024-01-02");
        if recomputes {
            lake.compact("item");
        }
        let restored = restore_of(&lake, "2024-01-02", None).expect("restored");
        assert_eq!(restored.outcome, RestoreOutcome::Restored);
        assert_eq!(restored.put_aside_by, Some(PutAsideBy::Drop));
        lake.compact("item");
        assert!(std::fs::read(lake.object("2024-01-02")).expect("it") == snapshot);
        assert!(std::fs::read(lake.intervals()).expect("intervals") == intervals);
        assert_eq!(asides(&lake), [] as [String; 0]);
        let again = restore_of(&lake, "2024-01-02", None).expect("nothing to do");
        assert_eq!(again.outcome, RestoreOutcome::AlreadyExists);
    }
}

#[test]
fn dropping_twice_is_dropping_once() {
    let lake = TestLake::filled();
    let first = dropped(&lake, "2024-01-05");
    let again = dropped(&lake, "2024-01-05");
    assert_eq!(
        (first.outcome, again.outcome),
        (DropOutcome::Dropped, DropOutcome::AlreadyDropped)
    );
    assert_eq!((first.path, first.copy), (again.path, again.copy));
    let error = drop_of(&lake, "2024-01-03").expect_err("there is none");
    assert_eq!(error.kind(), Kind::Usage);
}

#[test]
fn a_copy_that_only_the_intervals_know_is_not_dropped_and_keeps_its_rows() {
    let lake = TestLake::filled();
    lake.compact("item");
    lake.forget("item", "2024-01-01");
    let error = drop_of(&lake, "2024-01-01").expect_err("it is not there");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error.hints()[0].starts_with("asof expand item"),
        "{error:?}"
    );
    assert_eq!(served_by(&lake, "2024-01-01"), Some(date("2024-01-01")));
}

#[test]
fn rows_that_only_the_intervals_know_do_not_go_with_a_copy_before_them() {
    let lake = TestLake::filled();
    lake.compact("item");
    lake.forget("item", "2024-01-05");
    dropped(&lake, "2024-01-02");
    let compacted = |lake: &TestLake| {
        let options = CompactOptions::default();
        compact(&lake.workspace(), &["item".to_owned()], &options)
    };
    let error = compacted(&lake).expect_err("the last copy is needed");
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(served_by(&lake, "2024-01-05"), Some(date("2024-01-05")));
    // What the hint says.
    assert!(
        error.hints()[0].starts_with(
            "asof expand item --from 2024-01-05 --to 2024-01-05 --out lake/item/snapshots"
        ),
        "{error:?}"
    );
    let options = ExpandOptions {
        table: "item".into(),
        from: date("2024-01-01"),
        to: date("2024-01-05"),
        out: "lake/item/snapshots".into(),
        dry_run: false,
        intervals: None,
    };
    expand(&lake.workspace(), &options).expect("expanded");
    assert!(!lake.object("2024-01-02").exists(), "it is dropped");
    compacted(&lake).expect("intervals");
    assert_eq!(verdict(&lake), Verdict::Ok);
}

#[test]
fn a_copy_that_is_taken_again_and_pruned_is_not_taken_for_the_dropped_one() {
    let lake = TestLake::filled();
    let (day, csv) = DAYS[1];
    dropped(&lake, day);
    lake.take(day, csv);
    assert!(
        asides(&lake)[0].starts_with("superseded/"),
        "{:?}",
        asides(&lake)
    );
    lake.compact("item");
    lake.forget("item", day);
    lake.compact("item");
    assert_eq!(served_by(&lake, day), Some(date(day)));
    assert_eq!(verdict(&lake), Verdict::Ok);
}

#[test]
fn the_only_copy_can_be_dropped_and_restored() {
    let lake = TestLake::new();
    let (day, csv) = DAYS[0];
    lake.take(day, csv);
    lake.compact("item");
    dropped(&lake, day);
    assert_eq!(served_by(&lake, day), None);
    let error = compact(
        &lake.workspace(),
        &["item".to_owned()],
        &CompactOptions::default(),
    );
    let error = error.expect_err("nothing to compact");
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(
        error.hints(),
        ["asof restore item 2024-01-01, to have a copy back that was dropped"]
    );
    restore_of(&lake, day, None).expect("restored");
    lake.compact("item");
    assert_eq!(verdict(&lake), Verdict::Ok);
}

#[test]
fn of_several_copies_one_is_named() {
    let lake = TestLake::filled();
    let (day, csv) = DAYS[1];
    lake.take(day, "id,price\n1,99\n");
    assert_eq!(asides(&lake).len(), 1);
    let error = restore_of(&lake, day, None).expect_err("there is a snapshot");
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.hints()[0],
        "asof drop item 2024-01-02, to put that one aside"
    );
    dropped(&lake, day);
    let error = restore_of(&lake, day, None).expect_err("there are two");
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(error.hints().len(), 2);
    for hint in error.hints() {
        assert!(
            hint.contains(", to restore ") && hint.contains(" taken "),
            "{hint}"
        );
    }
    // Both were put aside in one second, so the whole name is needed.
    let name = error
        .hints()
        .iter()
        .find(|hint| hint.contains(" replaced "))
        .and_then(|hint| {
            hint.split("--copy ")
                .nth(1)?
                .split(',')
                .next()
                .map(str::to_owned)
        })
        .expect("a name");
    assert!(restore_of(&lake, day, Some("1999")).is_err());
    let restored = restore_of(&lake, day, Some(&name)).expect("restored");
    assert_eq!(restored.put_aside_by, Some(PutAsideBy::Replacement));
    let never = TestLake::new();
    never.take(day, csv);
    let content = |lake: &TestLake| {
        let path = Location::local(lake.object(day));
        footer_at(&path)
            .expect("it reads")
            .map(|footer| footer.fingerprint)
    };
    assert_eq!(content(&lake), content(&never));
    assert_eq!(asides(&lake).len(), 1);
}

#[test]
fn a_run_that_was_killed_halfway_is_finished_by_the_next() {
    let lake = TestLake::filled();
    let (day, _) = DAYS[1];
    // After the copy had its new name, and before the old one was gone.
    let report = dropped(&lake, day);
    let aside = lake.path().join(&report.path);
    let snapshot = lake.object(day);
    std::fs::create_dir_all(snapshot.parent().expect("a folder")).expect("made");
    std::fs::hard_link(&aside, &snapshot).expect("linked");
    assert_eq!(dropped(&lake, day).outcome, DropOutcome::Dropped);
    assert_eq!(asides(&lake).len(), 1);
    assert!(!snapshot.exists());
    std::fs::create_dir_all(snapshot.parent().expect("a folder")).expect("made");
    std::fs::hard_link(&aside, &snapshot).expect("linked");
    let restored = restore_of(&lake, day, None).expect("restored");
    assert_eq!(restored.outcome, RestoreOutcome::Restored);
    assert_eq!(asides(&lake), [] as [String; 0]);
    assert!(snapshot.exists());
}

#[test]
fn a_damaged_copy_is_dropped_and_not_restored() {
    let lake = TestLake::filled();
    lake.compact("item");
    let (day, csv) = DAYS[1];
    std::fs::write(lake.object(day), "no Parquet").expect("written");
    let report = dropped(&lake, day);
    assert_eq!(report.copy, CopyFacts::default());
    assert_eq!(table_status(&lake).dropped_since, [date(day)]);
    lake.compact("item");
    assert_eq!(verdict(&lake), Verdict::Ok);
    let error = restore_of(&lake, day, None).expect_err("it is damaged");
    assert_eq!(error.kind(), Kind::Refused);
    lake.take(day, csv);
    lake.compact("item");
    assert_eq!(verdict(&lake), Verdict::Ok);
}

#[test]
fn an_external_table_is_refused() {
    let lake = TestLake::new();
    let workspace = lake.external("item", "id", &[("2024-01-01", "id\n1\n")]);
    let options = DropOptions {
        table: "item".into(),
        date: date("2024-01-01"),
        dry_run: false,
    };
    let error = drop_snapshot(&workspace, &options).expect_err("refused");
    assert_eq!(error.kind(), Kind::Usage);
}

#[test]
fn a_dry_run_moves_nothing() {
    let lake = TestLake::filled();
    let (day, _) = DAYS[0];
    let workspace = lake.workspace();
    let mut options = DropOptions {
        table: "item".into(),
        date: date(day),
        dry_run: true,
    };
    let planned = drop_snapshot(&workspace, &options).expect("a plan");
    assert_eq!(planned.outcome, DropOutcome::Planned);
    assert!(lake.object(day).exists() && asides(&lake).is_empty());
    options.dry_run = false;
    let done = drop_snapshot(&workspace, &options).expect("dropped");
    assert_eq!(planned.path, done.path);
    let options = RestoreOptions {
        table: "item".into(),
        date: date(day),
        copy: None,
        dry_run: true,
    };
    let planned = restore(&workspace, &options).expect("a plan");
    assert_eq!(planned.outcome, RestoreOutcome::Planned);
    assert!(!lake.object(day).exists() && asides(&lake).len() == 1);
}

#[test]
fn what_the_next_copy_changed_since_a_dropped_one_is_not_replayed() {
    // Enough rows for changes to be recorded beside the snapshots.
    let rows = |changed: &str| {
        let ids = 0..10_000;
        ids.fold("id,price\n".to_owned(), |text, id| {
            let price = if id == 7 { changed } else { "1" };
            text + &format!("{id},{price}\n")
        })
    };
    let lake = TestLake::new();
    for (day, changed) in [("01", "2"), ("02", "3"), ("03", "2")] {
        lake.take(&format!("2024-01-{day}"), &rows(changed));
    }
    assert!(lake.path().join("lake/item/_changes").is_dir());
    lake.compact("item");
    dropped(&lake, "2024-01-02");
    lake.compact("item");
    assert_eq!(verdict(&lake), Verdict::Ok);
    let intervals = table_status(&lake).intervals.expect("intervals");
    assert_eq!((intervals.snapshots, intervals.intervals), (2, 10_000));
    lake.take("2024-01-02", &rows("5"));
    assert!(matches!(
        compact(
            &lake.workspace(),
            &["item".into()],
            &CompactOptions::default()
        )
        .as_deref(),
        Ok([_])
    ));
    assert_eq!(verdict(&lake), Verdict::Ok);
}
