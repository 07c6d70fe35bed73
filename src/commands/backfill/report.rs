//! What a backfill reports of each job and date.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::domain::staleness::DateState;
use crate::error::{Error, Kind};
use crate::source::ReadAs;
use crate::storage::object_store::http::RequestCounts;

/// What became of one date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DateAction {
    /// Its output was written.
    Written,
    /// Its output is what a run would give.
    UpToDate,
    /// Its output was accepted as one of the changed job.
    Accepted,
    /// A dry run would accept its output.
    PlannedAcceptance,
    /// A dry run would write its output.
    Planned,
    /// It is in a state that `--only` leaves out.
    Skipped,
    /// Its output was removed, since its events are gone.
    Removed,
    /// A dry run would remove its output.
    PlannedRemoval,
    /// It failed.
    Failed,
}

/// Where the rows of a table came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServedBy {
    /// A snapshot.
    Snapshots,
    /// The intervals.
    Intervals,
}

impl ServedBy {
    /// The word that reports use.
    pub fn name(self) -> &'static str {
        match self {
            ServedBy::Snapshots => "snapshots",
            ServedBy::Intervals => "intervals",
        }
    }
}

/// What happened to one date.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DateReport {
    /// The date.
    pub date: NaiveDate,
    /// Where it stood before.
    pub was: Option<DateState>,
    /// What the run did.
    pub action: DateAction,
    /// The rows of the output, if it was written.
    pub rows: Option<u64>,
    /// The events that were read, if it was a join.
    pub events: Option<u64>,
    /// Those of them that met a row.
    pub matched: Option<u64>,
    /// The snapshot that served each table.
    pub tables: BTreeMap<String, NaiveDate>,
    /// Where the rows of each table came from.
    pub using: BTreeMap<String, ServedBy>,
    /// The columns that were left to the path, which has their value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_to_path: Vec<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// The columns of the output, if it was written.
    #[serde(skip)]
    pub(super) schema: Option<SchemaRef>,
    /// What kind of failure that was.
    #[serde(skip)]
    pub(super) kind: Option<Kind>,
    /// What to try.
    #[serde(skip)]
    pub(super) hints: Vec<String>,
}

impl DateReport {
    /// Whether the date has an output that is current.
    pub(super) fn has_output(&self) -> bool {
        matches!(
            self.action,
            DateAction::Written | DateAction::UpToDate | DateAction::Accepted
        )
    }

    pub(super) fn new(date: NaiveDate) -> Self {
        DateReport {
            date,
            was: None,
            action: DateAction::Failed,
            rows: None,
            events: None,
            matched: None,
            tables: BTreeMap::new(),
            using: BTreeMap::new(),
            left_to_path: Vec::new(),
            error: None,
            schema: None,
            kind: None,
            hints: Vec::new(),
        }
    }

    pub(super) fn failed(self, error: &Error) -> Self {
        DateReport {
            error: Some(error.to_string()),
            kind: Some(error.kind()),
            hints: error.hints().to_vec(),
            action: DateAction::Failed,
            ..self
        }
    }
}

/// What happened to one job.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BackfillReport {
    /// The job.
    pub job: String,
    /// Where its outputs are.
    pub output: String,
    /// Their layout.
    pub layout: String,
    /// How each table is looked up, in words.
    pub rules: BTreeMap<String, String>,
    /// The time at which the copies stood that were read, if it is not that of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_at: Option<DateTime<Utc>>,
    /// Every date of the range that has events or an orphaned output.
    pub dates: Vec<DateReport>,
    /// How many dates of the range have neither.
    pub without_events: u64,
    /// How the text of events is written, where that was detected, by the events' names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub detected: BTreeMap<String, Vec<ReadAs>>,
    /// What to try, for the failures.
    pub hints: Vec<String>,
    /// What object stores were asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests: Option<RequestCounts>,
}

impl BackfillReport {
    /// How many dates ended in this way.
    pub fn count(&self, action: DateAction) -> usize {
        self.dates
            .iter()
            .filter(|date| date.action == action)
            .count()
    }

    /// What the scheduler should do, if some dates failed: what all of them ask for if nothing
    /// was published, and otherwise to run the rest again.
    pub fn failure(&self) -> Option<Kind> {
        let kinds: Vec<Kind> = self.dates.iter().filter_map(|date| date.kind).collect();
        let first = *kinds.first()?;
        let others_stand = self.dates.iter().any(|date| date.kind.is_none());
        Some(if others_stand || kinds.iter().any(|kind| *kind != first) {
            Kind::Partial
        } else {
            first
        })
    }
}

/// The mistake of the job itself, if every date fails for it.
pub(super) fn usage_error_of_all(reports: &[DateReport]) -> Option<Error> {
    let first = reports.first()?;
    let alike = reports
        .iter()
        .all(|report| report.kind == Some(Kind::Usage) && report.error == first.error);
    let error = Error::usage(first.error.clone().filter(|_| alike)?);
    Some(
        first
            .hints
            .iter()
            .fold(error, |error, hint| error.hint(hint.clone())),
    )
}

/// The first three different hints of the dates.
pub(super) fn first_hints<'h>(of_dates: impl Iterator<Item = &'h String>) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for hint in of_dates {
        if !hints.contains(hint) && hints.len() < 3 {
            hints.push(hint.clone());
        }
    }
    hints
}
