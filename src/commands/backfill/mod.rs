//! `asof backfill`: for each date of a range, a job's events joined to the tables as of that date.
//!
//! **Plan.** The events' partitions of the range are found, each table's snapshots are resolved,
//! and what every date's output would be made from ([`Inputs`](crate::domain::staleness::Inputs))
//! is compared with what its footer says it was made from. So a rerun does only what is missing,
//! stale or failed.
//!
//! **Apply.** Dates run in parallel, each on one thread from reading to writing; a date's result
//! depends on its events, its tables and the job alone. Each date is one object, replaced
//! atomically; other dates are never touched. A failure of one date is remembered beside the
//! outputs, in `_asof/failed/`, and does not stop the others.
//!
//! Memory: for a join two build sides (`sides`), shared by all threads; a batch of events a thread.
//! For SQL what the query needs, up to its share of the memory that may be used.

mod build_side_cache;
mod command;
mod date;
#[cfg(all(test, feature = "sql"))]
mod history_tests;
mod job;
mod join;
mod orphans;
mod relations;
mod resolve;
mod schema;
#[cfg(feature = "sql")]
mod sql;
mod warnings;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use serde::Serialize;

pub(super) use self::build_side_cache::{Need, Sides, Source};
use self::date::{DateRun, Shared};
pub(super) use self::job::Job;
pub(super) use self::job::View;
use self::job::Work;
pub(super) use self::resolve::{
    Column, EventDates, configured_events, find_job, history, refuse_inputs_as_output, resolve_join,
};
use self::schema::Turns;
use super::Workspace;
use crate::config::JobConfig;
use crate::domain::staleness::{DateState, StateFilter};
use crate::engine::asof::RowSource;
use crate::error::{Error, Kind, Result};
use crate::model::{DateRange, DaySpan};
use crate::source::{Format, ReadAs};
use crate::storage::object_store::http::RequestCounts;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct BackfillOptions {
    /// The dates.
    pub range: DateRange,
    /// Which states are run.
    pub only: StateFilter,
    /// Where tables' rows come from.
    pub using: RowSource,
    /// How many dates run in parallel; nothing for what suits the job.
    pub workers: Option<usize>,
    /// Overrules the tables' tolerance.
    pub tolerance: Option<DaySpan>,
    /// Overrules the tables' lag.
    pub lag: Option<DaySpan>,
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// A job that the command line describes.
    pub ad_hoc: Option<AdHoc>,
}

/// A job that is not in the configuration.
#[derive(Clone, Debug, Default)]
pub struct AdHoc {
    /// The root of the events, or the name of configured ones.
    pub events: Option<String>,
    /// Their layout.
    pub events_layout: Option<String>,
    /// The column that holds their dates.
    pub events_dates: DatesInColumn,
    /// Their format.
    pub events_format: Option<Format>,
    /// The rest, as the configuration would have it, with paths from the current folder.
    pub job: JobConfig,
}

/// A column of dates that the command line names.
#[derive(Clone, Debug, Default)]
pub struct DatesInColumn {
    /// Its name, if one is named.
    pub column: Option<String>,
    /// The format of its text.
    pub format: Option<String>,
    /// The zone in which the day of its instants lies.
    pub timezone: Option<String>,
}

/// What a run did about one date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DateAction {
    /// The output was written.
    Written,
    /// The output was up to date already.
    UpToDate,
    /// A dry run: the output would be written.
    Planned,
    /// The date is in a state that `--only` leaves out.
    Skipped,
    /// The orphaned output was removed.
    Removed,
    /// A dry run: the orphaned output would be removed.
    PlannedRemoval,
    /// The date failed.
    Failed,
}

/// What happened to one date.
#[derive(Clone, Debug, Serialize)]
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
    /// `snapshots`, `intervals`, or both by table.
    pub using: BTreeMap<String, &'static str>,
    /// The columns that were left to the path, which has their value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_to_path: Vec<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// The columns of the output, if it was written.
    #[serde(skip)]
    schema: Option<SchemaRef>,
    /// What kind of failure that was.
    #[serde(skip)]
    kind: Option<Kind>,
    /// What to try.
    #[serde(skip)]
    hints: Vec<String>,
}

impl DateReport {
    fn new(date: NaiveDate) -> Self {
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

    fn failed(self, error: &Error) -> Self {
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
pub struct BackfillReport {
    /// The job.
    pub job: String,
    /// Where its outputs are.
    pub output: String,
    /// Their layout.
    pub layout: String,
    /// How each table is looked up, in words.
    pub rules: BTreeMap<String, String>,
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

/// Runs jobs, one after the other.
///
/// # Errors
/// Whatever keeps a job from starting; a date's failure is in its report.
pub fn backfill(
    workspace: &Workspace<'_>,
    jobs: &[String],
    options: &BackfillOptions,
) -> Result<Vec<BackfillReport>> {
    let configured: Vec<String> = match (jobs, &options.ad_hoc) {
        ([], Some(_)) => vec![String::new()],
        ([], None) => workspace.config.jobs.keys().cloned().collect(),
        (_, Some(_)) => {
            return Err(Error::usage(
                "a job is named, and another one is described by options",
            ));
        }
        (names, None) => names.to_vec(),
    };
    if configured.is_empty() {
        return Err(
            Error::usage("there is no job in asof.toml, and none is described").hint(
                "asof backfill --events DIR --events-layout 'date=%Y-%m-%d' --table T --on id \
                 --how left --out DIR --from D --to D",
            ),
        );
    }
    configured
        .iter()
        .map(|name| {
            let (report, store_requests) = workspace
                .counting(|| Job::resolve(workspace, name, options)?.run(workspace, options))?;
            Ok(BackfillReport {
                store_requests,
                ..report
            })
        })
        .collect()
}

/// The mistake of the job itself, if every date fails for it.
fn usage_error_of_all(reports: &[DateReport]) -> Option<Error> {
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

/// A state, and the schema that goes with it.
fn with_schema(
    state: Result<(DateState, Option<SchemaRef>)>,
) -> (Result<DateState>, Option<SchemaRef>) {
    match state {
        Ok((state, schema)) => (Ok(state), schema),
        Err(error) => (Err(error), None),
    }
}

impl Job {
    fn run(&self, workspace: &Workspace<'_>, options: &BackfillOptions) -> Result<BackfillReport> {
        let dates = self.dates(options.range);
        let orphans = self.orphans(&dates);
        if dates.is_empty() {
            self.check_events(options.range, orphans.len(), options.only)?;
        }
        for events in &self.events {
            if let Some(other) = &events.found.other_padding {
                workspace
                    .progress
                    .note(&format!("events {}: {other}, and is not read", events.name));
            }
        }
        let (states, schemas): (Vec<_>, Vec<_>) = self
            .states_and_schemas(&dates)
            .into_iter()
            .map(with_schema)
            .unzip();
        let runs: Vec<bool> = states
            .iter()
            .map(|state| {
                !options.dry_run && state.as_ref().is_ok_and(|state| options.only.takes(state))
            })
            .collect();
        let kept = dates
            .iter()
            .zip(&runs)
            .zip(&schemas)
            .filter(|((_, runs), _)| !**runs);
        let types = self
            .output_types(kept.filter_map(|((date, _), schema)| Some((*date, schema.as_ref()?))));
        let turns = Turns::new(
            types,
            dates
                .iter()
                .zip(&runs)
                .filter(|(_, runs)| **runs)
                .map(|(date, _)| *date),
        );
        let turns = &turns;
        let states: Vec<_> = states
            .into_iter()
            .map(|state| Mutex::new(Some(state)))
            .collect();
        let many = dates.len() > 1;
        let workers = options
            .workers
            .unwrap_or_else(|| self.work.workers())
            .clamp(1, dates.len().max(1));
        let to_run = || {
            dates
                .iter()
                .zip(&runs)
                .filter(|(_, run)| **run)
                .map(|(date, _)| *date)
        };
        let sides = match (&self.work, self.tables.values().next()) {
            (Work::Join(spec, _), Some(history)) => Some(Sides::new(
                spec,
                history,
                to_run(),
                many,
                workers,
                workspace.memory,
            )),
            _ => None,
        };
        let sides = sides.as_ref();
        let shared = Shared {
            workers,
            many,
            sides,
            turns,
        };
        if options.dry_run {
            // Text is read whole to know its types: once is enough to find a mistake of the job.
            let planned = |state: &Mutex<Option<Result<DateState>>>| {
                let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.as_ref().is_some_and(|state| {
                    state.as_ref().is_ok_and(|state| options.only.takes(state))
                })
            };
            if let Some((date, _)) = dates.iter().zip(&states).find(|(_, state)| planned(state)) {
                let mut run = DateRun::new(self, workspace, options, shared, *date);
                if run.reads_text()?
                    && let Err(error) = run.check()
                    && error.kind() == Kind::Usage
                {
                    return Err(error);
                }
            }
        }
        let next = AtomicUsize::new(0);
        let done = AtomicUsize::new(0);
        let reports = Mutex::new(Vec::with_capacity(dates.len()));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let work = || {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let (Some(date), Some(state)) = (dates.get(at), states.get(at)) else {
                            break;
                        };
                        let Some(state) =
                            state.lock().unwrap_or_else(PoisonError::into_inner).take()
                        else {
                            break;
                        };
                        let turn = turns.of(*date);
                        if let (Some(sides), Some(soon)) = (sides, dates.get(at + workers)) {
                            sides.prepare(*date, *soon);
                        }
                        let report =
                            DateRun::new(self, workspace, options, shared, *date).run(state);
                        drop(turn);
                        sides.inspect(|sides| sides.finished(*date));
                        reports
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(report);
                        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                        workspace.progress.step(
                            &format!("backfill {}", self.name),
                            done as u64,
                            dates.len() as u64,
                        );
                    }
                };
                // A query plan is walked recursively: give it room.
                let spawned = std::thread::Builder::new()
                    .stack_size(16 << 20)
                    .spawn_scoped(scope, work);
                if let Err(error) = spawned {
                    workspace
                        .progress
                        .note(&format!("a worker could not be started: {error}"));
                }
            }
        });
        let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        if reports.len() < dates.len() {
            return Err(Error::io("no worker could be started"));
        }
        if let Some(error) = usage_error_of_all(&reports) {
            return Err(error);
        }
        for report in &mut reports {
            // A later date gave a type to a column that had none.
            if report
                .schema
                .as_ref()
                .is_some_and(|schema| turns.missed(schema))
            {
                let run = DateRun::new(self, workspace, options, shared, report.date);
                *report = run.run(Ok(report.was.clone().unwrap_or(DateState::Missing)));
            }
        }
        reports.extend(self.remove_orphans(orphans, options));
        reports.sort_by_key(|report| report.date);
        self.warn_of_leakage(workspace, &reports);
        self.warn_of_first_days(workspace, &reports);
        self.tell_of_path_columns(workspace, &reports);
        let mut hints: Vec<String> = Vec::new();
        for hint in reports.iter().flat_map(|report| &report.hints) {
            if !hints.contains(hint) && hints.len() < 3 {
                hints.push(hint.clone());
            }
        }
        let detected = self
            .events
            .iter()
            .map(|events| (events.name.clone(), events.types.observed.detected()));
        let detected = detected
            .filter(|(_, detected)| !detected.is_empty())
            .collect();
        Ok(BackfillReport {
            job: self.name.clone(),
            output: workspace.shown(&self.output),
            layout: self.layout.to_string(),
            rules: self
                .tables
                .iter()
                .map(|(name, history)| (name.clone(), history.rule.in_words()))
                .collect(),
            without_events: if self.events.is_empty() {
                0
            } else {
                (options.range.len() - reports.len()) as u64
            },
            dates: reports,
            detected,
            hints,
            store_requests: None,
        })
    }
}
