//! `--known-at` against a model that keeps everything in memory: random sequences of publishing,
//! replacing, dropping, restoring, compacting, pruning and expanding, and a question about every
//! moment of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;

use super::compact::{CompactOptions, compact};
use super::expand::{ExpandOptions, expand};
use super::prune::{PruneOptions, PruneOutcome, prune};
use super::show::{ShowOptions, show};
use super::snapshot::{IfExists, Outcome, SnapshotOptions, snapshot};
use super::testing::TestLake;
use super::undo::{DropOptions, RestoreOptions, drop_snapshot, restore};
use crate::domain::retention::KeepRules;
use crate::error::{Kind, Result};

/// The dates of copies. Pruning keeps the first and the last.
const DATES: u32 = 3;

/// What happens to the table. Numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Takes a copy of a date, with a value in its one row, or replaces that copy.
    Publish(u32, u32),
    Drop(u32),
    Restore(u32, usize),
    Compact,
    PruneDates,
    PruneSuperseded,
    Expand,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let date = 1..=DATES;
    let step = prop_oneof![
        6 => (date.clone(), 1u32..4).prop_map(|(date, value)| Step::Publish(date, value)),
        2 => date.clone().prop_map(Step::Drop),
        3 => (date, 0usize..3).prop_map(|(date, number)| Step::Restore(date, number)),
        3 => Just(Step::Compact),
        2 => Just(Step::PruneDates),
        1 => Just(Step::PruneSuperseded),
        1 => Just(Step::Expand),
    ];
    prop::collection::vec(step, 1..16)
}

fn date(number: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 1, number).expect("a date")
}

fn at(second: i64) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2024-06-01T12:00:00Z".parse().expect("a time");
    first + TimeDelta::seconds(second)
}

/// The value of the copy of each date.
type Copies = BTreeMap<u32, u32>;

/// A lake, and beside it what it held at every second.
struct World {
    lake: TestLake,
    now: i64,
    /// What stood from each second on.
    stood: Vec<(i64, Copies)>,
    /// The copies that were put aside, by date, with their value and the second of that.
    aside: Vec<(u32, u32, i64)>,
    /// The dates and values of copies that were deleted, and that the intervals may not have.
    deleted: BTreeSet<(u32, u32)>,
}

impl World {
    fn new() -> Self {
        World {
            lake: TestLake::new(),
            now: 0,
            stood: vec![(i64::MIN, Copies::new())],
            aside: Vec::new(),
            deleted: BTreeSet::new(),
        }
    }

    fn standing(&self) -> Copies {
        self.stood.last().expect("the first").1.clone()
    }

    fn stands(&mut self, date: u32, value: Option<u32>) {
        let mut copies = self.standing();
        match value {
            Some(value) => copies.insert(date, value),
            None => copies.remove(&date),
        };
        self.stood.push((self.now, copies));
    }

    fn has_object(&self, number: u32) -> bool {
        let date = date(number);
        self.lake.object(&date.to_string()).exists()
    }

    fn publish(&mut self, number: u32, value: u32) {
        let source = self.lake.path().join("source.csv");
        std::fs::write(&source, format!("id,v\n1,{value}\n")).expect("written");
        let options = SnapshotOptions {
            date: Some(date(number)),
            key: vec!["id".into()],
            backdate: true,
            if_exists: IfExists::Replace,
            ..SnapshotOptions::default()
        };
        let options = options.source(source.display().to_string());
        let workspace = self.lake.workspace_at(at(self.now));
        let report = snapshot(&workspace, "item", &options, &mut std::io::empty());
        match report.expect("a snapshot").outcome {
            Outcome::Replaced => {
                let old = self.standing()[&number];
                self.aside.push((number, old, self.now));
                self.stands(number, Some(value));
            }
            Outcome::Published => {
                self.forget_derived(number);
                self.stands(number, Some(value));
            }
            _ => {}
        }
    }

    /// If only the intervals have the copy of a date, another one takes its place, and the next
    /// compaction has its rows no longer.
    fn forget_derived(&mut self, number: u32) {
        if let Some(value) = self.standing().get(&number) {
            self.deleted.insert((number, *value));
        }
    }

    fn drop_copy(&mut self, number: u32) {
        if !self.has_object(number) {
            return;
        }
        let options = DropOptions {
            table: "item".into(),
            date: date(number),
            dry_run: false,
        };
        let workspace = self.lake.workspace_at(at(self.now));
        if let Err(error) = drop_snapshot(&workspace, &options) {
            // The intervals have the rows of a pruned copy until they are compacted again.
            let is_forgotten = self.deleted.iter().any(|(date, _)| *date == number);
            assert!(is_forgotten, "{error}");
            assert_eq!(error.kind(), Kind::Refused, "{error}");
            return;
        }
        let old = self.standing()[&number];
        self.aside.push((number, old, self.now));
        self.stands(number, None);
    }

    fn restore(&mut self, number: u32, which: usize) {
        let of_date = self.aside.iter().enumerate();
        let of_date: Vec<usize> = of_date
            .filter(|(_, (date, ..))| *date == number)
            .map(|(index, _)| index)
            .collect();
        if self.has_object(number) || of_date.is_empty() {
            return;
        }
        let (_, value, second) = self.aside[of_date[which % of_date.len()]];
        let options = RestoreOptions {
            table: "item".into(),
            date: date(number),
            copy: Some(at(second).format("%Y%m%dT%H%M%SZ").to_string()),
            dry_run: false,
        };
        let workspace = self.lake.workspace_at(at(self.now));
        restore(&workspace, &options).expect("restored");
        self.aside
            .retain(|(date, _, when)| (*date, *when) != (number, second));
        self.forget_derived(number);
        self.stands(number, Some(value));
    }

    fn prune(&mut self, options: &PruneOptions) {
        let workspace = self.lake.workspace_at(at(self.now));
        let run = prune(&workspace, &["item".into()], options).expect("pruned");
        let gone = run.tables[0].copies.iter();
        for copy in gone.filter(|copy| copy.outcome == PruneOutcome::Pruned) {
            // The name of its file begins with the time.
            let path = copy.path.rsplit('/').next().expect("a name");
            let of_copy = |(number, _, second): &(u32, u32, i64)| {
                let when = at(*second).format("%Y%m%dT%H%M%SZ").to_string();
                date(*number) == copy.snapshot_date && path.starts_with(&when)
            };
            let index = self.aside.iter().position(of_copy).expect("it is known");
            let (number, value, _) = self.aside.remove(index);
            self.deleted.insert((number, value));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(number, value) => self.publish(number, value),
            Step::Drop(number) => self.drop_copy(number),
            Step::Restore(number, which) => self.restore(number, which),
            Step::Compact => {
                let workspace = self.lake.workspace_at(at(self.now));
                // It is refused without a copy, and if it needs one that was pruned.
                let _ = compact(&workspace, &["item".into()], &CompactOptions::default());
            }
            Step::PruneDates if !self.standing().is_empty() => self.prune(&PruneOptions {
                keep: KeepRules {
                    last: Some("1".parse().expect("a number")),
                    ..KeepRules::default()
                },
                ..PruneOptions::default()
            }),
            Step::PruneSuperseded if !self.standing().is_empty() => self.prune(&PruneOptions {
                superseded: true,
                ..PruneOptions::default()
            }),
            Step::PruneDates | Step::PruneSuperseded => {}
            // Intervals that are out of date may still have a copy that was dropped since.
            Step::Expand if self.standing().len() < DATES as usize => {}
            Step::Expand => {
                let workspace = self.lake.workspace_at(at(self.now));
                let options = ExpandOptions {
                    table: "item".into(),
                    from: date(1),
                    to: date(DATES),
                    out: "lake/item/snapshots".into(),
                    dry_run: false,
                    intervals: None,
                };
                // It writes the copies that are gone, if there are such.
                let _ = expand(&workspace, &options);
            }
        }
    }

    /// The copy that served a date at a second, with its value.
    fn served(&self, second: i64, number: u32) -> Option<(u32, u32)> {
        let (_, copies) = self
            .stood
            .iter()
            .rev()
            .find(|(from, _)| *from <= second)
            .expect("the first");
        let copy = copies.range(..=number).next_back();
        copy.map(|(number, value)| (*number, *value))
    }

    /// What `asof show` says of a date at a second.
    fn shown(&self, second: i64, number: u32) -> Result<(u32, u32)> {
        let options = ShowOptions {
            table: "item".into(),
            date: Some(date(number)),
            known_at: Some(at(second)),
            limit: 10,
            ..ShowOptions::default()
        };
        let report = show(&self.lake.workspace_at(at(self.now)), &options)?;
        let value = report.rows[0][1].as_ref().expect("a value");
        let day = (1..=DATES).find(|number| date(*number) == report.snapshot_date);
        Ok((day.expect("a date"), value.parse().expect("a number")))
    }

    fn check(&self) -> std::result::Result<(), TestCaseError> {
        for second in 0..=self.now {
            for number in 1..=DATES {
                let served = self.served(second, number);
                let shown = self.shown(second, number);
                let place = format!("{number} at {second}: {served:?}, and {shown:?}");
                match (shown, served) {
                    (Ok(shown), Some(served)) => prop_assert_eq!(shown, served, "{}", place),
                    (Err(error), None) => {
                        prop_assert_eq!(error.kind(), Kind::Refused, "{}", place);
                    }
                    // Only of a copy that was deleted, and the refusal names it.
                    (Err(error), Some((number, value))) => {
                        prop_assert!(self.deleted.contains(&(number, value)), "{}", place);
                        let what = format!("table item, {}: the copy that stood", date(number));
                        prop_assert!(error.to_string().starts_with(&what), "{}", place);
                        prop_assert_eq!(error.kind(), Kind::Refused, "{}", place);
                    }
                    (Ok(_), None) => prop_assert!(false, "{}", place),
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_shown_is_what_stood_or_is_refused_because_it_was_deleted(steps in steps()) {
        let mut world = World::new();
        // Most steps need a table with copies.
        for number in 1..=DATES {
            world.publish(number, number);
            world.now += 1;
        }
        for step in steps {
            world.step(step);
            world.now += 1;
        }
        world.check()?;
    }
}
