//! Staleness: which dates of a backfill are to be run.
//!
//! An output is a function of the events of its date, the tables as of that date, and the job. Its
//! footer records all three ([`Inputs`]). It is *up to date* when they are what they would be now,
//! *stale* when one differs, *missing* when there is no output; *failed* when the last run of the
//! date failed. It is *orphaned* when the date has no events any more.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use super::digest::Fingerprint;

/// Which snapshot a table was read as of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableInput {
    /// The snapshot's date.
    pub snapshot_date: NaiveDate,
    /// The snapshot's content.
    pub fingerprint: Fingerprint,
}

/// The identity of one object of the events; or of their rows of one date, if a column tells it:
/// `column=date`, how many rows there are, and what changes with their values.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsInput {
    /// The object's path below the events' root.
    pub path: String,
    /// The size of the object in bytes.
    pub size: u64,
    /// What changes when the object is rewritten.
    pub etag: String,
}

/// All that an output depends on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The hash of the job.
    pub job: String,
    /// By table name.
    pub tables: BTreeMap<String, TableInput>,
    /// By events name.
    pub events: BTreeMap<String, Vec<EventsInput>>,
    /// By table name: the copies that were read of its history, by their dates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub history: BTreeMap<String, Vec<TableInput>>,
    /// The time at which the copies stood that were read, if it was not the time of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_at: Option<DateTime<Utc>>,
}

/// Why an output is stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleReason {
    text: String,
    cause: String,
}

impl StaleReason {
    /// A reason that names no date.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        StaleReason {
            cause: text.clone(),
            text,
        }
    }

    /// What happened to a table's snapshot of a date.
    fn of_snapshot(table: &str, date: NaiveDate, what: &str) -> Self {
        StaleReason {
            text: format!("the snapshot of {table} on {date} {what}"),
            cause: format!("the snapshot of {table} {what}"),
        }
    }

    /// The same without the date of a snapshot, so that dates with one cause can be counted.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for StaleReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Where one date of a job stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum DateState {
    /// The output is what a run would give.
    UpToDate,
    /// The output is not current, for the reason that is said.
    Stale(StaleReason),
    /// There is no output.
    Missing,
    /// The last run failed, as is said.
    Failed(String),
    /// There is an output of events that are gone.
    Orphaned,
}

impl DateState {
    /// The state of a date from what its output recorded, what holds now, and why the last run
    /// failed.
    pub fn of(recorded: Option<&Inputs>, now: &Inputs, failure: Option<String>) -> DateState {
        if let Some(reason) = failure {
            return DateState::Failed(reason);
        }
        let Some(recorded) = recorded else {
            return DateState::Missing;
        };
        match difference(recorded, now) {
            None => DateState::UpToDate,
            Some(reason) => DateState::Stale(reason),
        }
    }

    /// The state's name in JSON and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            DateState::UpToDate => "up_to_date",
            DateState::Stale(_) => "stale",
            DateState::Missing => "missing",
            DateState::Failed(_) => "failed",
            DateState::Orphaned => "orphaned",
        }
    }
}

/// The first thing in which two inputs differ, in words.
fn difference(recorded: &Inputs, now: &Inputs) -> Option<StaleReason> {
    if recorded.known_at != now.known_at {
        return Some(StaleReason::new(match recorded.known_at {
            Some(at) => format!("it was made as of {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
            None => "it was made from the copies that stood when it ran".to_owned(),
        }));
    }
    if recorded.job != now.job {
        return Some(StaleReason::new("the job has changed"));
    }
    for (name, table) in &now.tables {
        match recorded.tables.get(name) {
            None => {
                let text = format!("table {name} was not part of it");
                return Some(StaleReason::new(text));
            }
            Some(was) if was.snapshot_date != table.snapshot_date => {
                return Some(StaleReason {
                    text: format!(
                        "table {name} was read as of {}, and is now as of {}",
                        was.snapshot_date, table.snapshot_date
                    ),
                    cause: format!("table {name} is now read as of another date"),
                });
            }
            Some(was) if was.fingerprint != table.fingerprint => {
                return Some(StaleReason::of_snapshot(
                    name,
                    table.snapshot_date,
                    "was rewritten",
                ));
            }
            Some(_) => {}
        }
    }
    for (name, objects) in &now.events {
        if recorded.events.get(name) != Some(objects) {
            let text = format!("the events {name} were rewritten");
            return Some(StaleReason::new(text));
        }
    }
    for (name, copies) in &now.history {
        let was = recorded
            .history
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if let Some(reason) = history_difference(name, was, copies) {
            return Some(reason);
        }
    }
    (recorded != now).then(|| StaleReason::new("its inputs have changed"))
}

/// The first copy in which the history of a table differs, in words.
fn history_difference(
    name: &str,
    recorded: &[TableInput],
    now: &[TableInput],
) -> Option<StaleReason> {
    let of = |copies: &[TableInput], date: NaiveDate| {
        copies
            .iter()
            .find(|copy| copy.snapshot_date == date)
            .map(|copy| copy.fingerprint)
    };
    let changed = now
        .iter()
        .find_map(|copy| match of(recorded, copy.snapshot_date) {
            None => Some(StaleReason::of_snapshot(name, copy.snapshot_date, "is new")),
            Some(was) if was != copy.fingerprint => Some(StaleReason::of_snapshot(
                name,
                copy.snapshot_date,
                "was rewritten",
            )),
            Some(_) => None,
        });
    let gone = || {
        recorded
            .iter()
            .find(|copy| of(now, copy.snapshot_date).is_none())
    };
    changed.or_else(|| {
        gone().map(|copy| StaleReason::of_snapshot(name, copy.snapshot_date, "is gone"))
    })
}

/// Which states a run takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateFilter {
    /// Dates whose output is up to date.
    pub up_to_date: bool,
    /// Dates without output.
    pub missing: bool,
    /// Dates whose output is out of date.
    pub stale: bool,
    /// Dates whose last run failed.
    pub failed: bool,
    /// Dates whose output is to be removed, since their events are gone.
    pub orphaned: bool,
}

impl Default for StateFilter {
    fn default() -> Self {
        StateFilter {
            up_to_date: false,
            missing: true,
            stale: true,
            failed: true,
            orphaned: true,
        }
    }
}

impl StateFilter {
    /// Nothing but orphaned outputs.
    pub const ORPHANED: StateFilter = StateFilter {
        up_to_date: false,
        missing: false,
        stale: false,
        failed: false,
        orphaned: true,
    };

    /// Whether a date in this state is run.
    pub fn takes(&self, state: &DateState) -> bool {
        match state {
            DateState::UpToDate => self.up_to_date,
            DateState::Stale(_) => self.stale,
            DateState::Missing => self.missing,
            DateState::Failed(_) => self.failed,
            DateState::Orphaned => self.orphaned,
        }
    }
}

impl std::str::FromStr for StateFilter {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> crate::error::Result<Self> {
        let mut only = StateFilter {
            orphaned: false,
            ..StateFilter::ORPHANED
        };
        for word in text.split(',').map(str::trim) {
            match word {
                "all" => {
                    only = StateFilter {
                        up_to_date: true,
                        ..StateFilter::default()
                    }
                }
                "missing" => only.missing = true,
                "stale" => only.stale = true,
                "failed" => only.failed = true,
                "orphaned" => only.orphaned = true,
                other => {
                    return Err(
                        crate::error::Error::usage(format!("unknown state '{other}'"))
                            .hint("--only missing,stale,failed,orphaned, or --only all"),
                    );
                }
            }
        }
        Ok(only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    fn inputs() -> Inputs {
        let table = TableInput {
            snapshot_date: parse_date("2024-01-05").expect("a date"),
            fingerprint: Fingerprint(7),
        };
        let events = EventsInput {
            path: "d/e.csv".into(),
            size: 9,
            etag: "1".into(),
        };
        Inputs {
            job: "j".into(),
            tables: [("item".into(), table)].into(),
            events: [("clicks".into(), vec![events])].into(),
            history: BTreeMap::new(),
            known_at: None,
        }
    }

    #[test]
    fn an_output_is_up_to_date_only_while_every_input_is_the_same() {
        let now = inputs();
        assert_eq!(
            DateState::of(Some(&inputs()), &now, None),
            DateState::UpToDate
        );
        assert_eq!(DateState::of(None, &now, None), DateState::Missing);
        assert_eq!(
            DateState::of(Some(&inputs()), &now, Some("no disk".into())),
            DateState::Failed("no disk".into())
        );
        let stale = |change: fn(&mut Inputs)| {
            let mut was = inputs();
            change(&mut was);
            match DateState::of(Some(&was), &now, None) {
                DateState::Stale(reason) => reason.to_string(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(stale(|was| was.job = "k".into()), "the job has changed");
        assert_eq!(
            stale(|was| was.tables.get_mut("item").expect("it").fingerprint = Fingerprint(8)),
            "the snapshot of item on 2024-01-05 was rewritten"
        );
        assert_eq!(
            stale(
                |was| was.tables.get_mut("item").expect("it").snapshot_date =
                    parse_date("2024-01-04").expect("a date")
            ),
            "table item was read as of 2024-01-04, and is now as of 2024-01-05"
        );
        assert_eq!(
            stale(|was| was.tables.clear()),
            "table item was not part of it"
        );
        for change in [
            |was: &mut Inputs| was.events.get_mut("clicks").expect("it")[0].etag = "2".into(),
            |was: &mut Inputs| was.events.get_mut("clicks").expect("it")[0].size = 8,
        ] {
            assert_eq!(stale(change), "the events clicks were rewritten");
        }
        assert_eq!(
            stale(|was| {
                was.tables.insert("old".into(), was.tables["item"].clone());
            }),
            "its inputs have changed"
        );
    }

    #[test]
    fn a_copy_of_the_history_counts_if_it_was_read() {
        let copy = |day: u32, content: u128| TableInput {
            snapshot_date: NaiveDate::from_ymd_opt(2024, 1, day).expect("a date"),
            fingerprint: Fingerprint(content),
        };
        let with = |copies: &[TableInput]| Inputs {
            history: [("item".into(), copies.to_vec())].into(),
            ..inputs()
        };
        let was = with(&[copy(1, 7), copy(2, 8)]);
        let state = |now: &[TableInput]| DateState::of(Some(&was), &with(now), None);
        assert_eq!(state(&[copy(1, 7), copy(2, 8)]), DateState::UpToDate);
        let reason = |now: &[TableInput]| match state(now) {
            DateState::Stale(reason) => (reason.to_string(), reason.cause().to_owned()),
            other => panic!("{other:?}"),
        };
        let of = |text: &str, cause: &str| (text.to_owned(), cause.to_owned());
        assert_eq!(
            reason(&[copy(1, 7), copy(2, 9)]),
            of(
                "the snapshot of item on 2024-01-02 was rewritten",
                "the snapshot of item was rewritten"
            )
        );
        assert_eq!(
            reason(&[copy(1, 7), copy(2, 8), copy(3, 8)]),
            of(
                "the snapshot of item on 2024-01-03 is new",
                "the snapshot of item is new"
            )
        );
        assert_eq!(
            reason(&[copy(2, 8)]),
            of(
                "the snapshot of item on 2024-01-01 is gone",
                "the snapshot of item is gone"
            )
        );
        let read = serde_json::to_string(&inputs()).expect("JSON");
        assert!(
            !read.contains("history")
                && serde_json::from_str::<Inputs>(&read).expect("it reads") == inputs()
        );
    }

    #[test]
    fn only_selects_states() {
        let states = [
            DateState::UpToDate,
            DateState::Stale(StaleReason::new("x")),
            DateState::Missing,
            DateState::Failed("x".into()),
            DateState::Orphaned,
        ];
        let taken = |text: &str| {
            states
                .clone()
                .map(|state| text.parse::<StateFilter>().expect("words").takes(&state))
        };
        assert_eq!(
            taken("missing,stale,failed,orphaned"),
            states
                .clone()
                .map(|state| StateFilter::default().takes(&state))
        );
        assert_eq!(taken("all"), [true; 5]);
        assert_eq!(taken("stale"), [false, true, false, false, false]);
        assert_eq!(taken("missing"), [false, false, true, false, false]);
        assert_eq!(taken("failed"), [false, false, false, true, false]);
        assert_eq!(
            taken("orphaned"),
            states
                .clone()
                .map(|state| StateFilter::ORPHANED.takes(&state))
        );
        assert!("up_to_date".parse::<StateFilter>().is_err());
    }
}
