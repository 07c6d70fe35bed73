//! The outputs of a job as they stand, whenever they were written, and the same once more, in
//! another place.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::job::{ResolvedJob, layout_of, object_of};
use super::job_output::JobOutput;
use super::options::BackfillOptions;
use super::report::BackfillReport;
use super::resolve::find_job;
use crate::commands::Workspace;
use crate::domain::layout::Layout;
use crate::engine::as_of::RowSource;
use crate::error::Result;
use crate::model::DateRange;
use crate::parallel::{self, object_threads};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::find_if_there;

/// A job's outputs, by date.
///
/// # Errors
/// A usage error for a job that there is not; a failure to list them.
pub(in crate::commands) fn outputs_of(
    workspace: &Workspace<'_>,
    name: &str,
) -> Result<BTreeMap<NaiveDate, JobOutput>> {
    let config = find_job(workspace, name)?;
    outputs_below(
        &workspace.configured(&config.output)?,
        &layout_of(config)?,
        name,
    )
}

/// A job's outputs below a root, by date.
///
/// # Errors
/// A failure to list them; a refusal of an `_asof.json` that is damaged.
pub(super) fn outputs_below(
    root: &Location,
    layout: &Layout,
    job: &str,
) -> Result<BTreeMap<NaiveDate, JobOutput>> {
    let found = find_if_there(root, layout, None).map_err(|error| error.within("the output"))?;
    let dates: Vec<(NaiveDate, Vec<Object>)> = found.partitions.into_iter().collect();
    let threads = object_threads(root.store().is_some());
    let outputs = parallel::map(threads, &dates, |(date, files)| {
        let output = JobOutput::among(&object_of(root, layout, job, *date), files)?;
        Ok(output.map(|output| (*date, output)))
    });
    outputs.into_iter().filter_map(Result::transpose).collect()
}

impl ResolvedJob {
    /// Resolves a job to look at its outputs. Intervals that are damaged are passed over: whoever
    /// looks at the table tells of them.
    ///
    /// # Errors
    /// As [`ResolvedJob::resolve`].
    pub(in crate::commands) fn resolve_to_look(
        workspace: &Workspace<'_>,
        name: &str,
        range: DateRange,
    ) -> Result<Self> {
        let options = BackfillOptions::of_range(range);
        match ResolvedJob::resolve(workspace, name, &options) {
            Err(error) if error.is_damage() => {
                let options = BackfillOptions {
                    using: RowSource::Snapshots,
                    ..options
                };
                ResolvedJob::resolve(workspace, name, &options).map_err(|_| error)
            }
            resolved => resolved,
        }
    }

    /// Runs the dates of a range as if there were no output yet, and writes below another root.
    ///
    /// # Errors
    /// As [`ResolvedJob::run`].
    pub(in crate::commands) fn run_anew(
        mut self,
        workspace: &Workspace<'_>,
        range: DateRange,
        root: &Location,
    ) -> Result<BackfillReport> {
        self.output = root.clone();
        self.outputs.clear();
        self.failures.clear();
        self.run(workspace, &BackfillOptions::of_range(range))
    }

    /// The object of a date below [`ResolvedJob::run_anew`]'s root.
    pub(in crate::commands) fn object_below(&self, root: &Location, date: NaiveDate) -> Location {
        object_of(root, &self.layout, &self.name, date)
    }
}
