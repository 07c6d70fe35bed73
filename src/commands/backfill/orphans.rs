//! Orphaned outputs: those of dates whose events are gone.
//!
//! An output without events is not a result of the job any more, so a run removes it. It removes
//! only an object whose footer names this job, this date and these events. It reads the footer
//! again right before.

use chrono::NaiveDate;

use super::job::ResolvedJob;
use super::job_output::JobOutput;
use super::options::BackfillOptions;
use super::report::{DateAction, DateReport};
use crate::domain::staleness::{DateState, StateFilter};
use crate::error::{Error, Kind, Result};
use crate::model::DateRange;
use crate::parallel::{self, object_threads};
use crate::storage::lake::location::Object;
use crate::storage::lake::partitions;

impl ResolvedJob {
    /// The dates without events that still have an output of this job, ascending. An output that
    /// cannot be read is an error.
    pub(in crate::commands) fn orphans(&self, dates: &[NaiveDate]) -> Vec<(NaiveDate, Result<()>)> {
        // Events in another padding are not gone.
        if self.events.is_empty()
            || self
                .events
                .iter()
                .any(|events| events.found.other_padding.is_some())
        {
            return Vec::new();
        }
        let candidates = self
            .outputs
            .iter()
            .filter(|(date, _)| dates.binary_search(date).is_err());
        let candidates: Vec<(NaiveDate, &Vec<Object>)> =
            candidates.map(|(date, files)| (*date, files)).collect();
        let found = parallel::map(
            object_threads(self.output.store().is_some()),
            &candidates,
            |(date, files)| match self.made(*date, files) {
                Ok(Some(_)) => Some((*date, Ok(()))),
                Ok(None) => None,
                Err(error) => Some((*date, Err(error))),
            },
        );
        found.into_iter().flatten().collect()
    }

    /// The output among the files of a date, if this job wrote it from events of the same names.
    fn made(&self, date: NaiveDate, files: &[Object]) -> Result<Option<JobOutput>> {
        let read = || -> Result<_> {
            let output = JobOutput::among(&self.path(date), files)?;
            let recorded = output.as_ref().map(JobOutput::record).transpose()?;
            Ok(output.zip(recorded))
        };
        let (output, footer) = match read() {
            Ok(Some((output, recorded))) => (output, recorded.footer),
            Err(error) if error.kind() == Kind::Io => return Err(error),
            Ok(None) | Err(_) => return Ok(None),
        };
        let events = &footer.inputs.events;
        let same_events = events.len() == self.events.len()
            && self
                .events
                .iter()
                .all(|source| events.contains_key(&source.name));
        let is_own = footer.job_name == self.name && footer.date == date && same_events;
        Ok(is_own.then_some(output))
    }

    /// Removes orphaned outputs, if the options say so, and reports each.
    pub(super) fn remove_orphans(
        &self,
        orphans: Vec<(NaiveDate, Result<()>)>,
        options: &BackfillOptions,
    ) -> Vec<DateReport> {
        parallel::map(
            object_threads(self.output.store().is_some()),
            &orphans,
            |(date, found)| {
                let report = DateReport::new(*date);
                let done = match found {
                    Ok(()) if !options.only.takes(&DateState::Orphaned) => Ok(DateAction::Skipped),
                    Ok(()) if options.dry_run => Ok(DateAction::PlannedRemoval),
                    Ok(()) => self.remove_output(*date).map(|()| DateAction::Removed),
                    Err(error) => Err(error.duplicate()),
                };
                match done {
                    Ok(action) => DateReport {
                        was: Some(DateState::Orphaned),
                        action,
                        ..report
                    },
                    Err(error) => report.failed(&error),
                }
            },
        )
    }

    fn remove_output(&self, date: NaiveDate) -> Result<()> {
        let standing = self.standing(date)?;
        let path = self.path(date);
        if JobOutput::among(&path, &standing)?.is_none() {
            return Ok(());
        }
        let Some(output) = self.made(date, &standing)? else {
            return Err(Error::conflict(format!(
                "'{path}' was replaced while it was being removed"
            )));
        };
        output.remove()?;
        path.remove_empty_folders(&self.output);
        self.forget_failure(date);
        Ok(())
    }

    /// Refuses a run that finds no events in its whole range. That is more likely a mistake than a
    /// mass deletion, unless the run asks for nothing but orphaned outputs, and the events have
    /// partitions of other dates.
    pub(super) fn check_events(
        &self,
        range: DateRange,
        orphans: usize,
        only: StateFilter,
    ) -> Result<()> {
        if only == StateFilter::ORPHANED && orphans > 0 {
            for events in &self.events {
                let found = match &events.dated {
                    None => partitions::find(&events.root, &events.layout, None)?,
                    Some((dated, _)) => dated.find(None)?,
                };
                if found.partitions.is_empty() {
                    let what = format!(
                        "events {} have {} of any date in '{}'; no output was removed",
                        events.name,
                        events.nothing(),
                        events.root
                    );
                    return Err(Error::refused(what)
                        .hint("correct the path, the layout or the date column of the events"));
                }
            }
            return Ok(());
        }
        Err(self.no_events(range, orphans))
    }

    fn no_events(&self, range: DateRange, orphans: usize) -> Error {
        let names = self
            .events
            .iter()
            .map(|events| events.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let nothing = self
            .events
            .first()
            .map_or("no partition", |events| events.nothing());
        let kept = match orphans {
            0 => String::new(),
            1 => "; 1 output of this range was kept".to_owned(),
            many => format!("; {many} outputs of this range were kept"),
        };
        let error = Error::refused(format!("events {names} have {nothing} from {range}{kept}"));
        if let Some(other) = self
            .events
            .iter()
            .find_map(|events| events.found.other_padding.as_ref())
        {
            return error.hint(format!(
                "--events-layout '{0}', or layout = \"{0}\" in asof.toml, reads '{1}'",
                other.layout, other.path
            ));
        }
        let error = match self
            .events
            .iter()
            .flat_map(|events| &events.found.unrecognized_paths)
            .next()
        {
            Some(unrecognized) => error.hint(format!(
                "'{unrecognized}' exists, but is outside the range or does not match the layout"
            )),
            None => self
                .events
                .iter()
                .fold(error, |error, events| error.hint(events.hint_of(range))),
        };
        if orphans > 0 {
            error.hint("if their events are really gone, remove these outputs with --only orphaned")
        } else {
            error
        }
    }
}
