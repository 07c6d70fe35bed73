//! Which outputs a repair runs again: those whose result the copies of some dates decide, and that
//! are no longer what a run would give.
//!
//! An output depends on a copy if it was made from it, as its footer records, or if a run now would
//! read it. Of a copy that was replaced both are true. One that was dropped is recorded alone, and
//! one that came late is read by the next run alone. So a look at both sides finds every change,
//! whatever lag and tolerance were in force when the output was written.
//!
//! Only copies count. An output whose job or events have changed is stale too, but its copies are
//! what they were: `asof backfill` runs it again, and a repair leaves it alone. If both are true of
//! an output, it is repaired, and then it is the result of the job as it is now.
//!
//! A date whose last run failed is repaired if it depends on one of the copies. One that never had
//! an output and that no copy serves is left alone, since a run would fail again. An output whose
//! copy was dropped while no other serves is run, although that fails: nothing else tells that the
//! output is not to be trusted.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::as_of_rule::AsOfRule;
use super::staleness::{Inputs, TableInput};
use crate::model::DateRange;

/// The dates of the copies that a repair is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairScope {
    /// Every date.
    Every,
    /// The dates of these ranges.
    Of(Vec<DateRange>),
}

impl RepairScope {
    /// Whether the copy of a date is one of them.
    pub fn covers(&self, date: NaiveDate) -> bool {
        match self {
            RepairScope::Every => true,
            RepairScope::Of(ranges) => ranges.iter().any(|range| range.contains(date)),
        }
    }

    /// Whether it covers a date between two, both included.
    fn meets(&self, from: NaiveDate, to: NaiveDate) -> bool {
        match self {
            RepairScope::Every => true,
            RepairScope::Of(ranges) => ranges
                .iter()
                .any(|range| range.from() <= to && from <= range.to()),
        }
    }

    /// The first date; nothing if it is about every date.
    pub fn first(&self) -> Option<NaiveDate> {
        match self {
            RepairScope::Every => None,
            RepairScope::Of(ranges) => ranges.iter().map(DateRange::from).min(),
        }
    }
}

/// The labels that a job may read a table by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelWindow {
    /// How the table is looked up.
    pub rule: AsOfRule,
    /// Whether the job reads every copy up to the one that serves, and not that one alone.
    pub reads_history: bool,
}

impl LabelWindow {
    /// Whether the output of a date may depend on a copy of the scope.
    pub fn admits(&self, scope: &RepairScope, date: NaiveDate) -> bool {
        let from = match self.reads_history {
            true => NaiveDate::MIN,
            false => self.rule.earliest(date),
        };
        scope.meets(from, self.rule.label(date))
    }
}

/// What is known of the output of a date.
#[derive(Clone, Copy, Debug)]
pub struct OutputFacts<'a> {
    /// The date.
    pub date: NaiveDate,
    /// What the output was made from; nothing if there is none.
    pub recorded: Option<&'a Inputs>,
    /// What it would be made from now; nothing if that cannot be told, for want of a snapshot.
    pub now: Option<&'a Inputs>,
    /// Whether the last run of the date failed.
    pub has_failed: bool,
}

impl OutputFacts<'_> {
    /// Whether a repair of the copies of a scope runs the date again. `windows` are those of the
    /// tables that the job reads.
    pub fn is_affected(&self, scope: &RepairScope, windows: &[LabelWindow]) -> bool {
        let reads = |inputs: &Inputs| copies(inputs).any(|copy| scope.covers(copy.snapshot_date));
        let may_read = || windows.iter().any(|window| window.admits(scope, self.date));
        match (self.recorded, self.now) {
            (Some(recorded), Some(now)) => {
                let differing = differing_copies(recorded, now);
                differing.into_iter().any(|date| scope.covers(date))
                    || self.has_failed && (reads(recorded) || reads(now))
            }
            (Some(recorded), None) => reads(recorded) || self.has_failed && may_read(),
            (None, Some(now)) => self.has_failed && reads(now),
            // It failed for want of a copy, and still has none.
            (None, None) => false,
        }
    }
}

/// Every copy that inputs name.
fn copies(inputs: &Inputs) -> impl Iterator<Item = &TableInput> {
    let history = inputs.history.values().flatten();
    inputs.tables.values().chain(history)
}

/// The dates of the copies in which what an output was made from differs from what it would be
/// made from now. A table that only one of two jobs reads is a change of the job.
fn differing_copies(recorded: &Inputs, now: &Inputs) -> BTreeSet<NaiveDate> {
    let mut dates = BTreeSet::new();
    for (name, copy) in &now.tables {
        if let Some(was) = recorded.tables.get(name).filter(|was| *was != copy) {
            dates.extend([was.snapshot_date, copy.snapshot_date]);
        }
    }
    let is_one_job = recorded.job == now.job;
    let names = recorded.history.keys().chain(now.history.keys());
    for name in names.collect::<BTreeSet<_>>() {
        // A query that reads no copy of a history records none.
        let (was, is) = match (recorded.history.get(name), now.history.get(name)) {
            (Some(was), Some(is)) => (was.as_slice(), is.as_slice()),
            (was, is) if is_one_job => (
                was.map_or(&[][..], Vec::as_slice),
                is.map_or(&[][..], Vec::as_slice),
            ),
            _ => continue,
        };
        let only = |these: &[TableInput], others: &[TableInput]| -> Vec<NaiveDate> {
            let alone = these.iter().filter(|copy| !others.contains(copy));
            alone.map(|copy| copy.snapshot_date).collect()
        };
        dates.extend(only(was, is));
        dates.extend(only(is, was));
    }
    dates
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::Days;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::digest::Fingerprint;
    use crate::model::DaySpan;

    /// The copies of a table by day, with what each holds.
    type Copies = BTreeMap<u32, u8>;

    fn day(number: u32) -> NaiveDate {
        let first = NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date");
        first + Days::new(u64::from(number))
    }

    fn scope(days: &BTreeSet<u32>) -> RepairScope {
        let single = |number: &u32| DateRange::single(day(*number));
        RepairScope::Of(days.iter().map(single).collect())
    }

    /// What the output of a day is made from; nothing if no copy serves.
    fn inputs(copies: &Copies, window: LabelWindow, number: u32) -> Option<Inputs> {
        let observed: Vec<NaiveDate> = copies.keys().map(|number| day(*number)).collect();
        let serving = window.rule.resolve(&observed, day(number)).ok()?;
        let input = |(number, content): (&u32, &u8)| TableInput {
            snapshot_date: day(*number),
            fingerprint: Fingerprint(u128::from(*content)),
        };
        let visible = copies.iter().filter(|(number, _)| day(**number) <= serving);
        let mut visible: Vec<TableInput> = visible.map(input).collect();
        let mut inputs = Inputs {
            job: "j".into(),
            tables: BTreeMap::new(),
            events: BTreeMap::new(),
            history: BTreeMap::new(),
            known_at: None,
        };
        match window.reads_history {
            true => drop(inputs.history.insert("item".into(), visible)),
            false => drop(inputs.tables.insert("item".into(), visible.pop()?)),
        }
        Some(inputs)
    }

    fn window(lag: u32, tolerance: u32, reads_history: bool) -> LabelWindow {
        LabelWindow {
            rule: AsOfRule {
                lag: DaySpan(lag),
                tolerance: DaySpan(tolerance),
            },
            reads_history,
        }
    }

    proptest! {
        /// The naive rule: compute every output before and after, and see which differ.
        #[test]
        fn a_repair_runs_exactly_the_outputs_that_the_changed_copies_decide(
            before in prop::collection::btree_map(0u32..12, 0u8..3, 0..9),
            after in prop::collection::btree_map(0u32..12, 0u8..3, 0..9),
            (lag, tolerance, reads_history) in (0u32..3, 0u32..4, any::<bool>()),
        ) {
            let window = window(lag, tolerance, reads_history);
            let changed: BTreeSet<u32> = (0..12)
                .filter(|number| before.get(number) != after.get(number))
                .collect();
            for number in 0..14 {
                let (was, is) = (inputs(&before, window, number), inputs(&after, window, number));
                // Without a copy no output was written.
                let Some(was) = was else { continue };
                let facts = OutputFacts {
                    date: day(number),
                    recorded: Some(&was),
                    now: is.as_ref(),
                    has_failed: false,
                };
                let is_affected = facts.is_affected(&scope(&changed), &[window]);
                prop_assert_eq!(is_affected, is.as_ref() != Some(&was), "day {}", number);
                // Nothing is found that every date would not find, and the other dates find nothing
                // that does not read one of them.
                prop_assert_eq!(facts.is_affected(&RepairScope::Every, &[window]), is_affected);
                if is_affected {
                    prop_assert!(window.admits(&scope(&changed), day(number)));
                }
            }
        }

        /// A run that failed for want of a copy is repaired by any copy that would serve it.
        #[test]
        fn a_failed_date_is_repaired_by_every_copy_that_may_serve_it(
            copies in prop::collection::btree_map(0u32..12, 0u8..3, 0..9),
            added in 0u32..12,
            (lag, tolerance, reads_history) in (0u32..3, 0u32..4, any::<bool>()),
        ) {
            let window = window(lag, tolerance, reads_history);
            let mut more = copies.clone();
            more.insert(added, 9);
            for number in 0..14 {
                let (was, is) = (inputs(&copies, window, number), inputs(&more, window, number));
                let facts = |now| OutputFacts {
                    date: day(number),
                    recorded: None,
                    now,
                    has_failed: true,
                };
                let scope = scope(&[added].into());
                let now = facts(is.as_ref());
                if was != is {
                    prop_assert!(now.is_affected(&scope, &[window]), "day {}", number);
                }
                if now.is_affected(&scope, &[window]) {
                    prop_assert!(window.admits(&scope, day(number)), "day {}", number);
                }
                let never_run = OutputFacts { has_failed: false, ..now };
                prop_assert!(!never_run.is_affected(&RepairScope::Every, &[window]));
            }
        }
    }

    #[test]
    fn a_change_of_the_job_or_of_events_is_not_repaired() {
        let copies: Copies = [(0, 1), (1, 2)].into();
        let now = inputs(&copies, window(0, 0, false), 1).expect("served");
        let mut was = now.clone();
        was.job = "k".into();
        was.events.insert("clicks".into(), Vec::new());
        let is_affected = |recorded: &Inputs, scope: &RepairScope| {
            let facts = OutputFacts {
                date: day(1),
                recorded: Some(recorded),
                now: Some(&now),
                has_failed: false,
            };
            facts.is_affected(scope, &[])
        };
        assert!(!is_affected(&was, &RepairScope::Every));
        // Nor is a table that the job did not read then.
        was.tables.clear();
        assert!(!is_affected(&was, &RepairScope::Every));
        was.history.insert("item".into(), Vec::new());
        assert!(!is_affected(&was, &RepairScope::Every));
        // One whose copy has changed, too, is.
        let mut was = now.clone();
        was.job = "k".into();
        was.tables.get_mut("item").expect("a table").fingerprint = Fingerprint(7);
        assert!(is_affected(&was, &RepairScope::Every));
        assert!(!is_affected(&was, &scope(&[0].into())));
    }
}
