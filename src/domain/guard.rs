//! Guards: what must not be published without somebody saying so.
//!
//! A source that answers with no rows, or with half of them, is more often a broken source than a
//! true one. Guards run on the staged snapshot, before anything is published.

use std::fmt;
use std::str::FromStr;

use super::hash_compaction::Changes;
use super::schema::Drift;
use crate::error::{Error, Result};

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
    fn of(count: u64, rows: u64) -> Self {
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
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            min_rows: 1,
            max_delete: None,
            max_change: None,
            freeze_schema: false,
        }
    }
}

/// What is known about a snapshot before it is published.
pub struct Candidate<'a> {
    /// The rows of the snapshot.
    pub rows: u64,
    /// The previous snapshot's rows, and what changed since; `None` for the first.
    pub previous: Option<(u64, Changes)>,
    /// What changed in the schema.
    pub drift: &'a Drift,
}

impl Guards {
    /// The guards that a candidate breaks, in words; none if it may be published.
    pub fn broken(&self, candidate: &Candidate<'_>) -> Vec<String> {
        let mut broken = Vec::new();
        let floor = self.min_rows.max(1);
        if candidate.rows < floor {
            broken.push(match (candidate.rows, floor) {
                (0, 1) => "it has no rows".to_owned(),
                (1, floor) => format!("it has 1 row, and min_rows is {floor}"),
                (rows, floor) => format!("it has {rows} rows, and min_rows is {floor}"),
            });
        }
        if let Some((before, changes)) = candidate.previous {
            for (count, limit, verb, name) in [
                (
                    changes.removed,
                    self.max_delete,
                    if changes.removed == 1 {
                        "is gone"
                    } else {
                        "are gone"
                    },
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
                    "max_change",
                ),
            ] {
                let Some(limit) = limit else { continue };
                let share = Share::of(count, before);
                if share > limit {
                    broken.push(format!(
                        "{count} of {before} rows ({share}) {verb}, and {name} is {limit}"
                    ));
                }
            }
        }
        if self.freeze_schema && !candidate.drift.is_empty() {
            broken.push(format!(
                "{}, and the schema is frozen",
                candidate.drift.in_words()
            ));
        }
        broken
    }

    /// What a reader should know of a change that no guard limits, in words: of at least
    /// [`NOTED_ROWS`] rows and more than [`NOTED_SHARE`] of those before.
    pub fn unguarded(&self, candidate: &Candidate<'_>) -> Vec<String> {
        let Some((before, changes)) = candidate.previous else {
            return Vec::new();
        };
        let kinds = [
            (changes.removed, self.max_delete, "are gone", "max_delete"),
            (
                changes.changed,
                self.max_change,
                "have changed",
                "max_change",
            ),
        ];
        kinds
            .into_iter()
            .filter(|(count, limit, ..)| {
                limit.is_none() && *count >= NOTED_ROWS && Share::of(*count, before) > NOTED_SHARE
            })
            .map(|(count, _, what, guard)| {
                format!(
                    "{count} of {before} rows ({}) {what}; {guard} = \"{NOTED_SHARE}\" would refuse \
                     such a snapshot",
                    Share::of(count, before)
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(rows: u64, before: u64, changes: Changes, drift: &Drift) -> Candidate<'_> {
        Candidate {
            rows,
            previous: Some((before, changes)),
            drift,
        }
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
            guards.broken(&candidate(
                90,
                100,
                Changes {
                    removed,
                    changed,
                    ..Changes::default()
                },
                &drift,
            ))
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
            drift: &drift,
        };
        assert_eq!(
            Guards {
                min_rows: 0,
                ..Guards::default()
            }
            .broken(&empty),
            ["it has no rows"]
        );
        let few = Candidate {
            rows: 9,
            previous: None,
            drift: &drift,
        };
        assert_eq!(
            Guards {
                min_rows: 10,
                ..Guards::default()
            }
            .broken(&few),
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
            drift: &drift,
        };
        assert_eq!(
            guards.broken(&next),
            ["column 'lid' appears, and the schema is frozen"]
        );
        assert!(Guards::default().broken(&next).is_empty());
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
