//! A run of a job over the dates of a range.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::ad_hoc_outputs::AdHocOutput;
use super::date::DateRun;
use super::executors::{self, Executor};
use super::job::ResolvedJob;
use super::options::BackfillOptions;
use super::report::{BackfillReport, DateReport, first_hints, usage_error_of_all};
use super::schema::Turns;
use crate::commands::Workspace;
use crate::commands::engine::Engine;
use crate::domain::staleness::DateState;
use crate::error::{Error, Kind, Result};
use crate::storage::lake::commit::{sweep, sweep_found};
use crate::storage::lake::paths;

/// How large the stack of a worker is: a query plan is walked recursively.
const STACK: usize = 16 << 20;

/// A run of a job, which all of its dates share.
pub(super) struct RangeRun<'a> {
    pub(super) job: &'a ResolvedJob,
    pub(super) workspace: &'a Workspace<'a>,
    pub(super) options: &'a BackfillOptions,
    pub(super) executor: Box<dyn Executor + 'a>,
    /// The turns in which the schemas of outputs are compared.
    pub(super) turns: Turns,
    /// Whether other dates will ask for the same tables.
    pub(super) many: bool,
    /// How many dates run in parallel.
    workers: usize,
}

/// A date of the range, before it is run.
struct PlannedDate {
    date: NaiveDate,
    state: Result<DateState>,
    /// Whether its state is one of those that are asked for.
    is_taken: bool,
}

impl PlannedDate {
    /// The state, or the failure to find it.
    fn state(&self) -> Result<DateState> {
        match &self.state {
            Ok(state) => Ok(state.clone()),
            Err(error) => Err(error.duplicate()),
        }
    }
}

impl ResolvedJob {
    /// Runs the dates of a range.
    ///
    /// # Errors
    /// Whatever keeps the job from starting, and a mistake of the job for which every date fails;
    /// another failure of a date is in its report.
    pub(super) fn run(
        &self,
        workspace: &Workspace<'_>,
        options: &BackfillOptions,
    ) -> Result<BackfillReport> {
        if !options.dry_run {
            self.sweep(workspace);
        }
        let dates = self.dates(options.range);
        if options.accept {
            return Ok(self.report(workspace, options, self.accept(&dates, options.dry_run)));
        }
        let orphans = match options.dates {
            Some(_) => Vec::new(),
            None => self.orphans(&dates),
        };
        if dates.is_empty() {
            self.check_events(options.range, orphans.len(), options.only)?;
        }
        self.tell_of_other_padding(workspace);
        let (planned, run) = RangeRun::plan(self, workspace, options, dates)?;
        if options.dry_run {
            run.check_first(&planned)?;
        }
        let mut reports = run.run_dates(&planned)?;
        if let Some(error) = usage_error_of_all(&reports) {
            return Err(error);
        }
        run.run_untyped_again(&mut reports);
        if !options.dry_run && reports.iter().any(DateReport::has_output) {
            AdHocOutput::remember(self, workspace);
        }
        reports.extend(self.remove_orphans(orphans, options));
        reports.sort_by_key(|report| report.date);
        self.warn_of_leakage(workspace, &reports);
        self.warn_of_first_days(workspace, &reports);
        self.tell_of_path_columns(workspace, &reports);
        Ok(self.report(workspace, options, reports))
    }

    /// Removes what interrupted writers left among the outputs and the records of failures.
    fn sweep(&self, workspace: &Workspace<'_>) {
        let now = workspace.clock.now();
        sweep_found(&self.leftovers, now);
        sweep(&paths::failures(&self.output, &self.name), now);
    }

    fn report(
        &self,
        workspace: &Workspace<'_>,
        options: &BackfillOptions,
        dates: Vec<DateReport>,
    ) -> BackfillReport {
        let detected = self
            .events
            .iter()
            .map(|events| (events.name.clone(), events.types.observed.detected()))
            .filter(|(_, detected)| !detected.is_empty())
            .collect();
        let rules = self
            .tables
            .iter()
            .map(|(name, history)| (name.clone(), history.rule.in_words()))
            .collect();
        let without_events = match (&options.dates, self.events.is_empty()) {
            (None, false) => (options.range.len() - dates.len()) as u64,
            _ => 0,
        };
        BackfillReport {
            job: self.name.clone(),
            output: workspace.shown(&self.output),
            layout: self.layout.to_string(),
            rules,
            known_at: self.known_at,
            without_events,
            hints: first_hints(dates.iter().flat_map(|date| &date.hints)),
            dates,
            detected,
            store_requests: None,
        }
    }
}

impl<'a> RangeRun<'a> {
    /// Finds where each date stands, and sets up what the dates to run share. A cluster is reached
    /// only if there are such dates.
    ///
    /// # Errors
    /// A failure to reach the cluster, and a usage error for a job that it cannot run.
    fn plan(
        job: &'a ResolvedJob,
        workspace: &'a Workspace<'a>,
        options: &'a BackfillOptions,
        dates: Vec<NaiveDate>,
    ) -> Result<(Vec<PlannedDate>, Self)> {
        let mut kept: Vec<(NaiveDate, SchemaRef)> = Vec::new();
        let mut to_run: Vec<NaiveDate> = Vec::new();
        let states = job.states_and_schemas(&dates);
        let planned: Vec<PlannedDate> = dates
            .into_iter()
            .zip(states)
            .filter_map(|(date, found)| {
                let is_covered = options.covers(date);
                let takes = |(state, _): &(DateState, _)| options.only.takes(state);
                let is_taken = is_covered && found.as_ref().is_ok_and(takes);
                if is_taken && !options.dry_run {
                    to_run.push(date);
                } else if let Ok((_, Some(schema))) = &found {
                    kept.push((date, schema.clone()));
                }
                is_covered.then(|| PlannedDate {
                    date,
                    state: found.map(|(state, _)| state),
                    is_taken,
                })
            })
            .collect();
        let types = job.output_types(kept.iter().map(|(date, schema)| (*date, schema)));
        let many = planned.len() > 1;
        let workers = options
            .workers
            .unwrap_or_else(|| job.work.workers())
            .clamp(1, planned.len().max(1));
        let is_idle = planned.iter().all(|date| !date.is_taken);
        let run = RangeRun {
            executor: match &options.engine {
                Engine::Spark(remote) if !is_idle => {
                    executors::on_spark(job, workspace, remote.as_ref())?
                }
                _ => executors::local(job, workspace, &to_run, many, workers),
            },
            turns: Turns::new(types, to_run.into_iter()),
            job,
            workspace,
            options,
            many,
            workers,
        };
        Ok((planned, run))
    }

    /// Checks the first date that would be run, if its events are text. Text is read whole to know
    /// its types: once is enough to find a mistake of the job.
    fn check_first(&self, dates: &[PlannedDate]) -> Result<()> {
        let Some(first) = dates.iter().find(|date| date.is_taken) else {
            return Ok(());
        };
        let mut run = DateRun::new(self, first.date);
        if run.reads_text()?
            && let Err(error) = run.check()
            && error.kind() == Kind::Usage
        {
            return Err(error);
        }
        Ok(())
    }

    /// Runs the dates on as many threads as there are workers; reports come in any order.
    fn run_dates(&self, dates: &[PlannedDate]) -> Result<Vec<DateReport>> {
        let next = AtomicUsize::new(0);
        let reports = Mutex::new(Vec::with_capacity(dates.len()));
        let doing = format!("backfill {}", self.job.name);
        let work = || {
            while let Some(report) = self.run_next(dates, &next) {
                let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                reports.push(report);
                let done = reports.len() as u64;
                drop(reports);
                let progress = self.workspace.progress;
                progress.step(&doing, done, dates.len() as u64);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.workers {
                let spawned = std::thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, work);
                if let Err(error) = spawned {
                    self.workspace
                        .progress
                        .note(&format!("a worker could not be started: {error}"));
                }
            }
        });
        let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        if reports.len() < dates.len() {
            return Err(Error::io("no worker could be started"));
        }
        Ok(reports)
    }

    /// Runs the next date that no worker has taken; `None` if there is none left.
    fn run_next(&self, dates: &[PlannedDate], next: &AtomicUsize) -> Option<DateReport> {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let planned = dates.get(at)?;
        let turn = self.turns.of(planned.date);
        if let Some(later) = dates.get(at + self.workers) {
            self.executor.prepare(planned.date, later.date);
        }
        let report = DateRun::new(self, planned.date).run(planned.state());
        drop(turn);
        self.executor.finished(planned.date);
        Some(report)
    }

    /// Runs the dates again that have a column without values, to which a later date gave a type.
    fn run_untyped_again(&self, reports: &mut [DateReport]) {
        for report in reports {
            let is_missed = report
                .schema
                .as_ref()
                .is_some_and(|schema| self.turns.missed(schema));
            if is_missed {
                let state = report.was.clone().unwrap_or(DateState::Missing);
                *report = DateRun::new(self, report.date).run(Ok(state));
            }
        }
    }
}
