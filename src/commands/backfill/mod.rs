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
//! Memory: for a join two build sides (`build_sides`), shared by all threads; a batch of events for
//! each thread. For SQL what the query needs, up to its share of the memory that may be used.

mod accept;
mod ad_hoc_outputs;
mod affected;
mod bound;
mod build_sides;
mod date;
mod engine_plan;
mod events;
mod executors;
#[cfg(all(test, feature = "sql"))]
mod history_tests;
mod job;
mod job_hash;
mod job_output;
mod lineage;
mod options;
mod orphans;
mod output;
mod outputs;
mod plan_job;
mod relations;
mod report;
mod resolve;
mod run;
mod schema;
mod states;
mod warnings;

pub(super) use self::ad_hoc_outputs::AdHocOutput;
pub(super) use self::affected::{AffectedDates, JobChanges, JobPlaces, affected_dates};
pub(super) use self::build_sides::{BuildSource, Need, Needs};
pub(super) use self::events::{EventDates, EventsPlace, configured_events};
pub(super) use self::job::{ResolvedJob, layout_of};
pub(super) use self::job_output::{JobOutput, OutputFolder};

pub use self::engine_plan::{
    CopyPlan, DatePlan, EnginePlan, FilePlan, PlannedWork, RelationFiles, RelationPlan,
    plan_for_engine,
};
use self::lineage::BackfillRun;
pub use self::options::{AdHoc, BackfillOptions, DatesInColumn};
pub(super) use self::outputs::outputs_of;
pub(super) use self::plan_job::{JobPlan, check_settings_of_job, plan_job};
pub(super) use self::relations::View;
pub use self::report::{BackfillReport, DateAction, DateReport, ServedBy};
pub(super) use self::resolve::{find_job, history, refuse_inputs_as_output, resolve_join};
use super::Workspace;
use crate::engine::as_of::RowSource;
use crate::error::{Error, Result, word};

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
    check_options(&configured, options)?;
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
        .map(|name| backfill_job(workspace, name, options))
        .collect()
}

/// Refuses options that contradict each other.
fn check_options(jobs: &[String], options: &BackfillOptions) -> Result<()> {
    if options.known_at.is_none() {
        return Ok(());
    }
    if options.using == RowSource::Intervals {
        let what = "--using intervals cannot answer --known-at: intervals are of the copies of now";
        return Err(Error::usage(what).hint("--using auto"));
    }
    match (jobs, &options.out) {
        _ if options.ad_hoc.is_some() => Ok(()),
        ([_], Some(_)) | ([], _) => Ok(()),
        ([job, ..], _) => {
            let what = "--known-at requires the name of one job, and --out DIR: what a job's own \
                        output has is never replaced by what was known at another time";
            let hint = format!("asof backfill {} --out DIR", word(job));
            Err(Error::usage(what).hint(hint))
        }
    }
}

/// Runs one job, and tells OpenLineage of it. The name is empty if the options describe the job.
///
/// # Errors
/// Whatever keeps the job from starting; a date's failure is in the report.
pub(super) fn backfill_job(
    workspace: &Workspace<'_>,
    name: &str,
    options: &BackfillOptions,
) -> Result<BackfillReport> {
    let (report, store_requests) = workspace.counting(|| {
        let job = ResolvedJob::resolve(workspace, name, options)?;
        let run = BackfillRun::start(workspace, &job, options);
        let ended = job.run(workspace, options);
        if let Some(run) = run {
            run.end(&ended);
        }
        ended
    })?;
    Ok(BackfillReport {
        store_requests,
        ..report
    })
}
