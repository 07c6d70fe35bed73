//! One date of a run: whether it is to be run, and its output, written whole or not at all.

use chrono::NaiveDate;

use super::bound::BoundJob;
use super::executors::Execution;
use super::job_output::is_of_engine;
use super::output::DateOutput;
use super::report::{DateAction, DateReport};
use super::run::RangeRun;
use super::states::recorded_in;
use crate::domain::staleness::{DateState, Inputs};
use crate::error::{Error, Kind, Result};
use crate::storage::lake::commit::sweep;
use crate::storage::lake::location::{Location, Object};

/// The work on one date of a run.
pub(super) struct DateRun<'a> {
    run: &'a RangeRun<'a>,
    date: NaiveDate,
    report: DateReport,
}

impl<'a> DateRun<'a> {
    pub(super) fn new(run: &'a RangeRun<'a>, date: NaiveDate) -> Self {
        DateRun {
            run,
            date,
            report: DateReport::new(date),
        }
    }

    /// Does the work; a failure is told in the report, and kept beside the outputs.
    pub(super) fn run(mut self, state: Result<DateState>) -> DateReport {
        let job = self.run.job;
        match state
            .and_then(|state| self.attempt(state))
            .map_err(|error| job.reword(error))
        {
            Ok(action) => {
                self.report.action = action;
                if action == DateAction::Written {
                    job.forget_failure(self.date);
                }
            }
            Err(error) => {
                self.report = self.report.failed(&error);
                if !self.run.options.dry_run && error.kind() != Kind::Usage {
                    job.remember(self.date, &error);
                }
            }
        }
        self.report
    }

    fn attempt(&mut self, state: DateState) -> Result<DateAction> {
        let job = self.run.job;
        let inputs = job.inputs(self.date)?;
        let served = job
            .tables
            .iter()
            .map(|(name, history)| Ok((name.clone(), history.resolve(self.date)?)));
        self.report.tables = served.collect::<Result<_>>()?;
        let is_taken = self.run.options.only.takes(&state);
        let is_up_to_date = state == DateState::UpToDate;
        self.report.was = Some(state);
        match (is_taken, is_up_to_date) {
            (false, true) => return Ok(DateAction::UpToDate),
            (false, false) => return Ok(DateAction::Skipped),
            (true, _) => job.check_known_at(self.date)?,
        }
        if self.run.options.dry_run {
            if !self.reads_text()? {
                self.check_bound(&self.bind(inputs)?)?;
            }
            return Ok(DateAction::Planned);
        }
        self.write(&self.bind(inputs)?)?;
        Ok(DateAction::Written)
    }

    fn bind(&self, inputs: Inputs) -> Result<BoundJob<'a>> {
        self.run.job.bind(self.date, inputs, self.run.many)
    }

    /// Checks the job against the columns and types of the date's inputs.
    ///
    /// # Errors
    /// What the run would fail with before it computes a row.
    pub(super) fn check(&mut self) -> Result<()> {
        let bound = self.bind(self.run.job.inputs(self.date)?)?;
        self.check_bound(&bound)
    }

    fn check_bound(&mut self, bound: &BoundJob<'_>) -> Result<()> {
        let mut told = Execution::default();
        let checked = self.run.executor.check(bound, &mut told);
        self.report.using = told.using;
        checked
    }

    /// Whether the date's events are text, whose types are known only once they are read whole.
    pub(super) fn reads_text(&self) -> Result<bool> {
        for events in &self.run.job.events {
            let objects = events.files_of(self.date);
            if !objects.is_empty() && !events.format.of(objects)?.carries_types() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn write(&mut self, bound: &BoundJob<'_>) -> Result<()> {
        if let Some(folder) = bound.output.parent() {
            sweep(&folder, self.run.workspace.clock.now());
        }
        let replaced = self.refuse_other_files(&bound.output)?;
        let mut output = DateOutput::new(bound, &self.run.turns, replaced);
        let mut told = Execution::default();
        let executed = self.run.executor.execute(bound, &mut output, &mut told);
        self.report.using = told.using;
        self.report.events = told.events;
        self.report.matched = told.matched;
        executed?;
        self.report.left_to_path = output.left_to_path();
        let (rows, schema) = output.publish(bound)?;
        self.report.rows = Some(rows);
        self.report.schema = Some(schema);
        Ok(())
    }

    /// Refuses a partition that holds what is not this job's: other files, since whoever reads it
    /// would count rows twice, or an object of its name that asof did not write. Returns the files
    /// that an engine wrote.
    fn refuse_other_files(&self, own: &Location) -> Result<Vec<Object>> {
        let standing = self.run.job.standing(self.date)?;
        let (own_object, others): (Vec<_>, Vec<_>) = standing
            .into_iter()
            .partition(|object| object.location == *own);
        let is_known = |object: &&Object| is_of_engine(own, &object.location);
        if let Some(unrecognized) = others.iter().find(|object| !is_known(object)) {
            let what = format!(
                "'{}' is in the output's partition and was not written by this job",
                unrecognized.location
            );
            return Err(Error::refused(what).hint("remove it, or choose another --out or output"));
        }
        own_object.first().map(recorded_in).transpose()?;
        Ok(others)
    }
}
