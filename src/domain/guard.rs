//! Guards: what must not be published without somebody saying so.
//!
//! A source that answers with no rows, or with half of them, is more often a broken source than a
//! true one. Guards run on the staged snapshot, before anything is published. Those of one column
//! are in [`column`].

pub mod column;

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use serde::Serialize;

use self::column::{ColumnFacts, ColumnGuard};
use super::hash_compaction::Changes;
use super::schema::Drift;
use crate::error::{Error, Result};
use crate::model::DaySpan;

/// A share of rows, written `20%` or `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

impl FromStr for Share {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let percent = text
            .strip_suffix('%')
            .and_then(|number| number.trim().parse::<f64>().ok());
        percent
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(|percent| Share(percent / 100.0))
            .ok_or_else(|| {
                Error::usage(format!("'{text}' is not a share of rows"))
                    .hint("a share is written 20% or 0.5%")
            })
    }
}

impl Share {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a share of rows needs no more than 53 bits"
    )]
    pub(super) fn of(count: u64, rows: u64) -> Self {
        Share(count as f64 / rows.max(1) as f64)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 10_000.0).round() / 100.0)
    }
}

impl<'de> serde::Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|error: Error| {
                serde::de::Error::custom(format!("{error} ({})", error.hints().join("; ")))
            })
    }
}

/// The share of rows from which a change that no guard limits is noted: a fifth.
const NOTED_SHARE: Share = Share(0.2);

/// How many rows such a change has at least. In a table of few rows any change is a large share.
const NOTED_ROWS: u64 = 10;

/// What is limited, by the name of its setting in `asof.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardKind {
    /// The fewest rows.
    MinRows,
    /// The rows that are gone.
    MaxDelete,
    /// The rows that have changed.
    MaxChange,
    /// The columns and their types.
    Schema,
    /// How long the rows have been the same.
    MaxUnchanged,
    /// The nulls of a column.
    MaxNull,
    /// The values of a column.
    Accepted,
    /// The duplicate values of a column.
    Unique,
    /// The age of the newest value of a column.
    MaxAge,
}

/// A guard that a snapshot breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokenGuard {
    /// The guard.
    pub guard: GuardKind,
    /// The column; none of a guard of the whole table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// How many rows break it; none where rows are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// What breaks it, in words.
    pub reason: String,
}

impl BrokenGuard {
    /// A guard of the whole table that is broken.
    fn of_table(guard: GuardKind, rows: Option<u64>, reason: String) -> Self {
        BrokenGuard {
            guard,
            column: None,
            rows,
            reason,
        }
    }
}

impl fmt::Display for BrokenGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The limits of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Guards {
    /// The fewest rows a snapshot may have; never below one.
    pub min_rows: u64,
    /// The largest share of the previous snapshot's rows that may be gone.
    pub max_delete: Option<Share>,
    /// The largest share of them that may have changed.
    pub max_change: Option<Share>,
    /// Whether any change of schema is refused.
    pub freeze_schema: bool,
    /// The most days for which the rows may have been the same.
    pub max_unchanged: Option<DaySpan>,
    /// The guards of columns, by the names of the columns.
    pub columns: Vec<ColumnGuard>,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            min_rows: 1,
            max_delete: None,
            max_change: None,
            freeze_schema: false,
            max_unchanged: None,
            columns: Vec::new(),
        }
    }
}

/// Rows that have been the same since an earlier snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnchangedRows {
    /// The date of that snapshot. Those between it and this one have the same rows too.
    pub since: NaiveDate,
    /// How many days before this one it is.
    pub days: i64,
}

/// What is known about a snapshot before it is published.
pub struct Candidate<'a> {
    /// The rows of the snapshot.
    pub rows: u64,
    /// The previous snapshot's rows, and what changed since; `None` for the first.
    pub previous: Option<(u64, Changes)>,
    /// The rows of the copy that it replaces, and what changed since; `None` if it replaces none.
    pub replaced: Option<(u64, Changes)>,
    /// What changed in the schema.
    pub drift: &'a Drift,
    /// For how long the rows have been the same, if that is longer than `max_unchanged` allows.
    pub unchanged: Option<UnchangedRows>,
    /// What is known of the columns that have guards, in the order of the guards.
    pub columns: &'a [ColumnFacts],
}

impl Candidate<'_> {
    /// What the snapshot is compared with: the rows of each, what changed since, and what it is
    /// called after a number of its rows.
    fn comparisons(&self) -> impl Iterator<Item = (u64, Changes, &'static str)> {
        let previous = self.previous.map(|(rows, changes)| (rows, changes, ""));
        let replaced = self.replaced.map(|(rows, changes)| {
            let of = " of the copy that it replaces";
            (rows, changes, of)
        });
        previous.into_iter().chain(replaced)
    }
}

impl Guards {
    /// The guards that a candidate breaks; none if it may be published.
    pub fn broken(&self, candidate: &Candidate<'_>) -> Vec<BrokenGuard> {
        let mut broken = Vec::new();
        let floor = self.min_rows.max(1);
        if candidate.rows < floor {
            let reason = match (candidate.rows, floor) {
                (0, 1) => "it has no rows".to_owned(),
                (1, floor) => format!("it has 1 row, and min_rows is {floor}"),
                (rows, floor) => format!("it has {rows} rows, and min_rows is {floor}"),
            };
            broken.push(BrokenGuard::of_table(GuardKind::MinRows, None, reason));
        }
        broken.extend(self.broken_by_changes(candidate));
        if self.freeze_schema && !candidate.drift.is_empty() {
            let reason = format!("{}, and the schema is frozen", candidate.drift.in_words());
            broken.push(BrokenGuard::of_table(GuardKind::Schema, None, reason));
        }
        if let (Some(limit), Some(UnchangedRows { since, days })) =
            (self.max_unchanged, candidate.unchanged)
        {
            let reason = format!(
                "its rows are those of {since}, {days} days before, and max_unchanged is {limit}"
            );
            broken.push(BrokenGuard::of_table(GuardKind::MaxUnchanged, None, reason));
        }
        let columns = self.columns.iter().zip(candidate.columns);
        broken.extend(columns.flat_map(|(guard, facts)| guard.broken(facts)));
        broken
    }

    /// The guards against changes that a candidate breaks.
    fn broken_by_changes(&self, candidate: &Candidate<'_>) -> Vec<BrokenGuard> {
        let mut broken = Vec::new();
        for (before, changes, of) in candidate.comparisons() {
            for (count, limit, verb, kind, name) in [
                (
                    changes.removed,
                    self.max_delete,
                    if changes.removed == 1 {
                        "is gone"
                    } else {
                        "are gone"
                    },
                    GuardKind::MaxDelete,
                    "max_delete",
                ),
                (
                    changes.changed,
                    self.max_change,
                    if changes.changed == 1 {
                        "has changed"
                    } else {
                        "have changed"
                    },
                    GuardKind::MaxChange,
                    "max_change",
                ),
            ] {
                let Some(limit) = limit else { continue };
                let share = Share::of(count, before);
                if share > limit {
                    let reason = format!(
                        "{count} of {before} rows{of} ({share}) {verb}, and {name} is {limit}"
                    );
                    broken.push(BrokenGuard::of_table(kind, Some(count), reason));
                }
            }
        }
        broken
    }

    /// What a reader should know of a change that no guard limits, in words: of at least
    /// [`NOTED_ROWS`] rows and more than [`NOTED_SHARE`] of those before.
    pub fn unguarded(&self, candidate: &Candidate<'_>) -> Vec<String> {
        let mut noted = Vec::new();
        for (before, changes, of) in candidate.comparisons() {
            for (count, limit, what, guard) in [
                (changes.removed, self.max_delete, "are gone", "max_delete"),
                (
                    changes.changed,
                    self.max_change,
                    "have changed",
                    "max_change",
                ),
            ] {
                let share = Share::of(count, before);
                if limit.is_none() && count >= NOTED_ROWS && share > NOTED_SHARE {
                    noted.push(format!(
                        "{count} of {before} rows{of} ({share}) {what}; {guard} = \"{NOTED_SHARE}\" \
                         would refuse such a snapshot"
                    ));
                }
            }
        }
        noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(rows: u64, before: u64, changes: Changes, drift: &Drift) -> Candidate<'_> {
        Candidate {
            rows,
            previous: Some((before, changes)),
            replaced: None,
            drift,
            unchanged: None,
            columns: &[],
        }
    }

    fn reasons(guards: &Guards, candidate: &Candidate<'_>) -> Vec<String> {
        let broken = guards.broken(candidate);
        broken.iter().map(BrokenGuard::to_string).collect()
    }

    #[test]
    fn a_limit_is_the_most_that_passes() {
        let guards = Guards {
            max_delete: Some("20%".parse().expect("a share")),
            max_change: Some("50%".parse().expect("a share")),
            ..Guards::default()
        };
        let drift = Drift::default();
        let at = |removed, changed| {
            let changes = Changes {
                removed,
                changed,
                ..Changes::default()
            };
            reasons(&guards, &candidate(90, 100, changes, &drift))
        };
        assert!(at(20, 50).is_empty());
        assert_eq!(
            at(21, 50),
            ["21 of 100 rows (21%) are gone, and max_delete is 20%"]
        );
        assert_eq!(
            at(20, 51),
            ["51 of 100 rows (51%) have changed, and max_change is 50%"]
        );
    }

    #[test]
    fn the_copy_that_is_replaced_counts_like_the_one_before() {
        let drift = Drift::default();
        let replacing = Candidate {
            replaced: Some((
                100,
                Changes {
                    removed: 30,
                    ..Changes::default()
                },
            )),
            ..candidate(70, 70, Changes::default(), &drift)
        };
        let guards = Guards {
            max_delete: Some("20%".parse().expect("a share")),
            ..Guards::default()
        };
        assert_eq!(
            reasons(&guards, &replacing),
            ["30 of 100 rows of the copy that it replaces (30%) are gone, and max_delete is 20%"]
        );
        assert!(guards.unguarded(&replacing).is_empty());
        assert_eq!(
            Guards::default().unguarded(&replacing),
            [
                "30 of 100 rows of the copy that it replaces (30%) are gone; max_delete = \"20%\" \
              would refuse such a snapshot"
            ]
        );
    }

    #[test]
    fn a_large_change_that_no_guard_limits_is_noted() {
        let drift = Drift::default();
        let noted = |guards: &Guards, before, removed, changed| {
            let changes = Changes {
                removed,
                changed,
                ..Changes::default()
            };
            guards.unguarded(&candidate(90, before, changes, &drift))
        };
        let none = Guards::default();
        assert_eq!(
            noted(&none, 50, 46, 11),
            [
                "46 of 50 rows (92%) are gone; max_delete = \"20%\" would refuse such a snapshot",
                "11 of 50 rows (22%) have changed; max_change = \"20%\" would refuse such a snapshot",
            ]
        );
        assert!(
            noted(&none, 100, 20, 20).is_empty(),
            "a fifth is not more than a fifth"
        );
        assert!(noted(&none, 10, 9, 9).is_empty(), "a table of few rows");
        let guarded = Guards {
            max_delete: Some("100%".parse().expect("a share")),
            ..Guards::default()
        };
        assert!(noted(&guarded, 50, 46, 0).is_empty());
    }

    #[test]
    fn an_empty_snapshot_is_always_refused() {
        let drift = Drift::default();
        let empty = Candidate {
            rows: 0,
            previous: None,
            replaced: None,
            drift: &drift,
            unchanged: None,
            columns: &[],
        };
        assert_eq!(
            reasons(
                &Guards {
                    min_rows: 0,
                    ..Guards::default()
                },
                &empty
            ),
            ["it has no rows"]
        );
        let few = Candidate { rows: 9, ..empty };
        assert_eq!(
            reasons(
                &Guards {
                    min_rows: 10,
                    ..Guards::default()
                },
                &few
            ),
            ["it has 9 rows, and min_rows is 10"]
        );
        assert!(
            Guards {
                min_rows: 9,
                ..Guards::default()
            }
            .broken(&few)
            .is_empty()
        );
    }

    #[test]
    fn a_frozen_schema_refuses_any_change() {
        let drift = Drift {
            added: vec!["lid".into()],
            ..Drift::default()
        };
        let guards = Guards {
            freeze_schema: true,
            ..Guards::default()
        };
        let next = Candidate {
            rows: 1,
            previous: None,
            replaced: None,
            drift: &drift,
            unchanged: None,
            columns: &[],
        };
        assert_eq!(
            reasons(&guards, &next),
            ["column 'lid' appears, and the schema is frozen"]
        );
        assert!(Guards::default().broken(&next).is_empty());
    }

    #[test]
    fn rows_that_have_not_changed_for_too_long_are_refused() {
        let since = NaiveDate::from_ymd_opt(2024, 3, 1).expect("a date");
        let guards = Guards {
            max_unchanged: Some(DaySpan(7)),
            ..Guards::default()
        };
        let drift = Drift::default();
        let unchanged = Candidate {
            unchanged: Some(UnchangedRows { since, days: 8 }),
            ..candidate(4, 4, Changes::default(), &drift)
        };
        assert_eq!(
            reasons(&guards, &unchanged),
            ["its rows are those of 2024-03-01, 8 days before, and max_unchanged is 7d"]
        );
        assert_eq!(
            serde_json::to_value(&guards.broken(&unchanged)[0]).expect("JSON")["guard"],
            "max_unchanged"
        );
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(
            "0.5%".parse::<Share>().expect("a share").to_string(),
            "0.5%"
        );
        for wrong in ["20", "101%", "-1%", "%", "NaN%"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }
}
