//! `asof status JOB`: which outputs are done, and which are missing, stale, failed or orphaned.
//!
//! Read: a listing of the events' partitions of the range, the footers of the outputs and of the
//! snapshots that would serve them. No rows.

use chrono::{Days, NaiveDate};
use serde::Serialize;

use super::Workspace;
use super::backfill::ResolvedJob;
use crate::domain::staleness::DateState;
use crate::error::Result;
use crate::model::DateRange;

/// The outputs of one job.
#[derive(Clone, Debug, Serialize)]
pub struct JobStatus {
    /// The job.
    pub job: String,
    /// The root of its outputs.
    pub output: String,
    /// The range that was looked at.
    #[serde(flatten)]
    pub range: DateRange,
    /// Every date of the range that has events or an orphaned output, ascending.
    pub dates: Vec<JobDate>,
}

/// One date of a job.
#[derive(Clone, Debug, Serialize)]
pub struct JobDate {
    /// The date.
    pub date: NaiveDate,
    /// Where it stands.
    #[serde(flatten)]
    pub state: DateState,
}

impl JobStatus {
    /// Whether the output of every date that has events is up to date, and no other is there.
    pub fn is_up_to_date(&self) -> bool {
        self.dates
            .iter()
            .all(|date| date.state == DateState::UpToDate)
    }

    /// How many dates are in a state.
    pub fn count(&self, state: &str) -> u64 {
        self.dates
            .iter()
            .filter(|date| date.state.name() == state)
            .count() as u64
    }
}

/// Looks at a job's dates: by default those of the ten years before `to`, which is today by
/// default.
///
/// # Errors
/// Whatever keeps the job from being planned.
pub fn job_status(
    workspace: &Workspace<'_>,
    name: &str,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> Result<JobStatus> {
    let to = to.unwrap_or_else(|| workspace.clock.today().max(from.unwrap_or(NaiveDate::MIN)));
    let from = from.unwrap_or_else(|| to - Days::new(3650));
    let range = DateRange::new(from, to)?;
    super::backfill::find_job(workspace, name)?;
    let job = ResolvedJob::resolve_to_look(workspace, name, range)?;
    let dates = job.dates(range);
    let orphans = job
        .orphans(&dates)
        .into_iter()
        .map(|(date, found)| (date, found.map(|()| DateState::Orphaned)));
    let states = dates
        .iter()
        .copied()
        .zip(job.states(&dates))
        .chain(orphans)
        .map(|(date, state)| {
            // A date that cannot be planned, for want of a snapshot, would fail if it were run.
            let state = state.unwrap_or_else(|error| DateState::Failed(error.to_string()));
            JobDate { date, state }
        });
    let mut dates: Vec<JobDate> = states.collect();
    dates.sort_by_key(|date| date.date);
    Ok(JobStatus {
        job: name.to_owned(),
        output: job.shown_output(workspace),
        range,
        dates,
    })
}
