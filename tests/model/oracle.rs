//! The model: what must come of a history, said as plainly as it can be.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use super::history::{How, Policy, Row, Snapshot};
use super::value::Value;

/// One interval; an end of `None` is open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval {
    pub(super) key: Vec<Value>,
    pub(super) start: NaiveDate,
    pub(super) end: Option<NaiveDate>,
    pub(super) row: Row,
}

impl Interval {
    fn holds(&self, date: NaiveDate) -> bool {
        self.start <= date && self.end.is_none_or(|end| date <= end)
    }
}

/// The cells of a row that count and are not null: an absent column is a column of nulls.
pub(super) fn part(row: &Row, counts: impl Fn(&str) -> bool) -> Row {
    row.iter()
        .filter(|(name, value)| counts(name) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The intervals of snapshots, by key and start.
pub(super) fn intervals(
    snapshots: &[Snapshot],
    policy: Policy,
    counts: impl Fn(&str) -> bool,
) -> Vec<Interval> {
    let mut found = Vec::new();
    for (at, snapshot) in snapshots.iter().enumerate() {
        for (key, row) in &snapshot.rows {
            let held = |snapshot: &Snapshot| {
                snapshot
                    .rows
                    .get(key)
                    .is_some_and(|other| part(other, &counts) == part(row, &counts))
            };
            if at > 0 && held(&snapshots[at - 1]) && !divides(policy, &snapshots[at - 1], snapshot)
            {
                continue;
            }
            let mut last = at;
            while last + 1 < snapshots.len()
                && held(&snapshots[last + 1])
                && !divides(policy, &snapshots[last], &snapshots[last + 1])
            {
                last += 1;
            }
            let end = snapshots.get(last + 1).map(|next| match policy {
                Policy::Split => snapshots[last].date,
                _ => next.date - Days::new(1),
            });
            found.push(Interval {
                key: key.clone(),
                start: snapshot.date,
                end,
                row: part(row, |_| true),
            });
        }
    }
    found.sort();
    found
}

fn divides(policy: Policy, before: &Snapshot, after: &Snapshot) -> bool {
    policy == Policy::Split && before.date + Days::new(1) < after.date
}

/// The columns of all snapshots, in order of their first appearance.
pub(super) fn columns(snapshots: &[Snapshot]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in snapshots.iter().flat_map(|snapshot| &snapshot.columns) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// What intervals give back of a date.
pub(super) fn expand(intervals: &[Interval], snapshot: &Snapshot) -> BTreeMap<Vec<Value>, Row> {
    let has = |name: &str| snapshot.columns.iter().any(|(column, _)| column == name);
    intervals
        .iter()
        .filter(|interval| interval.holds(snapshot.date))
        .map(|one| (one.key.clone(), part(&one.row, has)))
        .collect()
}

/// The snapshot that serves the events of a date.
pub(super) fn as_of(
    snapshots: &[Snapshot],
    date: NaiveDate,
    lag: u32,
    tolerance: u32,
) -> Option<&Snapshot> {
    let label = date - Days::new(lag.into());
    let found = snapshots
        .iter()
        .rev()
        .find(|snapshot| snapshot.date <= label)?;
    (label - found.date <= chrono::Duration::days(tolerance.into())).then_some(found)
}

/// An event: the key it asks for, and its cells.
pub(super) struct Event {
    pub(super) key: Vec<Value>,
    pub(super) row: Row,
}

/// The join of a date's events with a snapshot; `renamed` gives the output's name of each column
/// that is added.
pub(super) fn join(
    events: &[Event],
    how: How,
    snapshot: &Snapshot,
    renamed: &BTreeMap<String, String>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for event in events {
        let met = if event.key.iter().any(Value::is_null) {
            None
        } else {
            snapshot.rows.get(&event.key)
        };
        let stays = match how {
            How::Left => true,
            How::Inner | How::Semi => met.is_some(),
            How::Anti => met.is_none(),
        };
        if stays {
            let mut row = part(&event.row, |_| true);
            for (name, value) in met
                .filter(|_| matches!(how, How::Left | How::Inner))
                .into_iter()
                .flatten()
            {
                if let Some(name) = renamed.get(name).filter(|_| !value.is_null()) {
                    row.insert(name.clone(), value.clone());
                }
            }
            rows.push(row);
        }
    }
    rows
}
