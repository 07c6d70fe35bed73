//! Accepting outputs after a change of the job that does not matter to them.
//!
//! An output is accepted if nothing but the job differs from what its footer recorded. Its rows are
//! written again, with the hash of the job of now, and with that of the job that made them
//! ([`OutputFooter::made_by`]). Of an engine's files only `_asof.json` is written again. So a rerun finds it up to date, and `asof verify --recompute`,
//! which compares the rows with those of a fresh run, tells whether the acceptance was right.

use chrono::NaiveDate;

use super::job::ResolvedJob;
use super::job_output::{JobOutput, OutputFolder};
use super::report::{DateAction, DateReport};
use crate::domain::staleness::{DateState, Inputs};
use crate::error::{Error, Result};
use crate::interrupt::{published, uninterrupted};
use crate::parallel::{self, object_threads};
use crate::storage::lake::commit::{Published, Staged};
use crate::storage::lake::location::Object;
use crate::storage::parquet::folder_record::FolderRecord;
use crate::storage::parquet::footer::{Content, Footer, OutputFooter};
use crate::storage::parquet::object::ParquetObject;
use crate::storage::parquet::writer::ObjectWriter;

impl ResolvedJob {
    /// Accepts the outputs of those dates that are stale for nothing but the change of the job.
    pub(super) fn accept(&self, dates: &[NaiveDate], dry_run: bool) -> Vec<DateReport> {
        let states: Vec<_> = dates.iter().copied().zip(self.states(dates)).collect();
        let threads = object_threads(self.output.store().is_some());
        parallel::map(threads, &states, |(date, state)| {
            let report = DateReport::new(*date);
            let state = match state {
                Ok(state) => state.clone(),
                Err(error) => return report.failed(&self.reword(error.duplicate())),
            };
            let mut report = DateReport {
                was: Some(state.clone()),
                ..report
            };
            match self.accept_date(*date, &state, dry_run, &mut report) {
                Ok(action) => DateReport { action, ..report },
                Err(error) => report.failed(&self.reword(error)),
            }
        })
    }

    fn accept_date(
        &self,
        date: NaiveDate,
        state: &DateState,
        dry_run: bool,
        report: &mut DateReport,
    ) -> Result<DateAction> {
        let skipped = match state {
            DateState::UpToDate => DateAction::UpToDate,
            _ => DateAction::Skipped,
        };
        let (DateState::Stale(_), Some(output)) = (state, self.output_of(date)?) else {
            return Ok(skipped);
        };
        let now = self.inputs(date)?;
        let recorded = output.record()?.footer;
        let is_of_other_job = !self.hash.is(&recorded.inputs.job);
        let of_now = Inputs {
            job: now.job.clone(),
            ..self.as_recorded_now(&recorded.inputs, &now)?
        };
        if !is_of_other_job {
            return Ok(DateAction::Skipped);
        }
        let without_the_job = DateState::of(Some(&of_now), &now, None);
        if without_the_job != DateState::UpToDate {
            // What keeps it from being accepted.
            report.was = Some(without_the_job);
            return Ok(DateAction::Skipped);
        }
        if dry_run {
            return Ok(DateAction::PlannedAcceptance);
        }
        let made_by = recorded.made_by.unwrap_or(recorded.inputs.job);
        let footer = OutputFooter {
            inputs: now,
            made_by: Some(made_by),
            ..recorded
        };
        report.rows = Some(footer.rows);
        match &output {
            JobOutput::Object(object) => self.write_again(date, object, footer)?,
            JobOutput::Folder(folder) => self.record_again(date, folder, footer)?,
        }
        Ok(DateAction::Accepted)
    }

    /// Says of the files of an engine what they are made from now.
    fn record_again(
        &self,
        date: NaiveDate,
        folder: &OutputFolder,
        output: OutputFooter,
    ) -> Result<()> {
        let record = FolderRecord {
            output,
            ..folder.record.clone()
        };
        uninterrupted(|| {
            record.publish(&folder.folder)?;
            published(&self.name, Some(date), folder.folder.as_local());
            Ok(())
        })
    }

    /// Writes the rows of an output again, with another footer.
    fn write_again(&self, date: NaiveDate, object: &Object, footer: OutputFooter) -> Result<()> {
        let path = &object.location;
        let standing = path.standing()?;
        let rows = ParquetObject::open(path)?;
        let staged = Staged::create(path)?;
        let mut writer = ObjectWriter::create(staged.writer()?, rows.schema(), &[], path)?;
        for batch in rows.read(None)? {
            writer.write(batch?)?;
        }
        rows.verify_unread()?;
        writer.finish(&Footer::new(Content::Output(footer)))?;
        uninterrupted(|| {
            if staged.publish_in_place_of(&standing)? == Published::Exists {
                return Err(Error::conflict(format!(
                    "another run wrote the output of {date} first"
                ))
                .hint("run the same command again"));
            }
            published(&self.name, Some(date), path.as_local());
            Ok(())
        })
    }
}
