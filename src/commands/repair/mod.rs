//! `asof repair`: recomputes what was made from copies that changed since, and nothing else.
//!
//! **Plan.** The intervals of each table are compared with the copies, by footers. A table is
//! compacted if they no longer agree with a copy of the dates in question. Of each job of
//! asof.toml, the dates are run whose outputs such a copy decides
//! ([`RepairScope`](crate::domain::repair::RepairScope)), and that are stale or failed. Without
//! dates, every copy is in question.
//!
//! **Apply.** Tables first, so that jobs read intervals that are up to date, then jobs. Each is the
//! run of `asof compact` or `asof backfill`, with their plans, locks and reports. What fails of one
//! stops no other. A rerun finds nothing to do, except for what failed.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Workspace;
use super::backfill::{
    AffectedDates, BackfillReport, JobChanges, JobPlaces, affected_dates, backfill_job,
};
use super::compact::{ChangedCopy, CompactOptions, CompactReport, changed_copies, compact};
use crate::domain::repair::RepairScope;
use crate::error::{Error, Kind, Result, word};
use crate::model::{DateRange, TableName};

/// What `asof repair` is asked for.
#[derive(Clone, Debug, Default)]
pub struct RepairOptions {
    /// The dates of the copies that changed; every date if there are none.
    pub dates: Vec<DateRange>,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

impl RepairOptions {
    fn scope(&self) -> RepairScope {
        match self.dates.as_slice() {
            [] => RepairScope::Every,
            dates => RepairScope::Of(dates.to_vec()),
        }
    }
}

/// What was repaired, or would be.
#[derive(Debug, Serialize)]
pub struct RepairReport {
    /// The dates of the copies that it was about; empty for every date.
    pub dates: Vec<DateRange>,
    /// Whether nothing was written because a dry run was asked for.
    pub dry_run: bool,
    /// The tables whose intervals no longer agreed with a copy of these dates.
    pub tables: Vec<TableRepair>,
    /// The jobs that have outputs which such a copy decides.
    pub jobs: Vec<JobRepair>,
}

/// What was done about the intervals of one table.
#[derive(Debug, Serialize)]
pub struct TableRepair {
    /// The table.
    pub table: TableName,
    /// The copies that the intervals did not agree with.
    pub changed: Vec<ChangedCopy>,
    /// What the compaction did, or would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction: Option<CompactReport>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// What was done about the outputs of one job.
#[derive(Debug, Serialize)]
pub struct JobRepair {
    /// The job.
    pub job: String,
    /// What the run did about the dates that are affected, or would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill: Option<BackfillReport>,
    /// Why the job could not be planned or begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

impl JobRepair {
    /// What the scheduler should do about it, if something failed.
    pub fn failure(&self) -> Option<Kind> {
        let of_dates = self.backfill.as_ref().and_then(BackfillReport::failure);
        self.error.as_ref().map(Error::kind).or(of_dates)
    }
}

impl RepairReport {
    /// Why intervals and jobs could not be repaired; not the failures of single dates.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        let of_tables = self.tables.iter().filter_map(|table| table.error.as_ref());
        let of_jobs = self.jobs.iter().filter_map(|job| job.error.as_ref());
        of_tables.chain(of_jobs)
    }

    /// What the scheduler should do, if something failed: what all failures ask for if nothing was
    /// repaired, and otherwise to run the rest again.
    pub fn failure(&self) -> Option<Kind> {
        let of_tables = self.tables.iter();
        let of_tables = of_tables.map(|table| table.error.as_ref().map(Error::kind));
        let outcomes = of_tables.chain(self.jobs.iter().map(JobRepair::failure));
        let outcomes: Vec<Option<Kind>> = outcomes.collect();
        let first = outcomes.iter().flatten().next().copied()?;
        let are_alike = outcomes.iter().all(|outcome| *outcome == Some(first));
        Some(if are_alike { first } else { Kind::Partial })
    }
}

/// Recomputes the intervals and outputs that the copies of some dates decide, as far as those have
/// changed.
///
/// # Errors
/// A failure to look into the lake. What fails of a table or a job is in the report.
pub fn repair(workspace: &Workspace<'_>, options: &RepairOptions) -> Result<RepairReport> {
    let plan = RepairPlan::of(workspace, &options.scope())?;
    Ok(RepairReport {
        dates: options.dates.clone(),
        dry_run: options.dry_run,
        tables: plan
            .tables
            .into_iter()
            .map(|table| table.apply(workspace, options))
            .collect(),
        jobs: plan
            .jobs
            .into_iter()
            .map(|job| job.apply(workspace, options))
            .collect(),
    })
}

/// What is to be repaired.
struct RepairPlan {
    tables: Vec<PlannedTable>,
    jobs: Vec<PlannedJob>,
}

/// A table to compact, or why its intervals cannot be compared with the copies.
struct PlannedTable {
    table: TableName,
    changed: Result<Vec<ChangedCopy>>,
}

/// The dates of a job to run, or why they cannot be found.
struct PlannedJob {
    job: String,
    dates: Result<AffectedDates>,
}

impl RepairPlan {
    fn of(workspace: &Workspace<'_>, scope: &RepairScope) -> Result<Self> {
        let mut tables = Vec::new();
        if workspace.has_lake() {
            for table in workspace.tables(&[])? {
                let changed = changed_copies(workspace, &table).map(|mut changed| {
                    changed.retain(|copy| scope.covers(copy.snapshot_date));
                    changed
                });
                if !matches!(&changed, Ok(changed) if changed.is_empty()) {
                    tables.push(PlannedTable { table, changed });
                }
            }
        }
        let mut changes = JobChanges {
            scope: scope.clone(),
            outputs: BTreeSet::new(),
        };
        let mut jobs = Vec::new();
        for job in jobs_in_order(workspace) {
            let Some(dates) = affected_dates(workspace, job, &changes).transpose() else {
                continue;
            };
            let outputs = dates.iter().flat_map(|dates| &dates.outputs);
            changes.outputs.extend(outputs.cloned());
            let job = job.clone();
            jobs.push(PlannedJob { job, dates });
        }
        Ok(RepairPlan { tables, jobs })
    }
}

/// The jobs of asof.toml, each after those whose outputs are its events. Jobs that feed each other
/// in a circle are in the order of their names.
fn jobs_in_order<'a>(workspace: &'a Workspace<'_>) -> Vec<&'a String> {
    let jobs = workspace.config.jobs.keys();
    // A job that is described wrongly tells so when it is planned.
    let mut waiting: Vec<(&String, Option<JobPlaces>)> = jobs
        .map(|job| (job, JobPlaces::of(workspace, job).ok()))
        .collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_fed = |job: &Option<JobPlaces>| {
            let others = waiting.iter().filter_map(|(_, places)| places.as_ref());
            let mut others = others.filter(|other| {
                let is_itself = job.as_ref().is_some_and(|job| std::ptr::eq(job, *other));
                !is_itself
            });
            others.any(|other| job.as_ref().is_some_and(|job| other.feed(job)))
        };
        let next = waiting.iter().position(|(_, places)| !is_fed(places));
        let (job, _) = waiting.remove(next.unwrap_or(0));
        ordered.push(job);
    }
    ordered
}

impl PlannedTable {
    fn apply(self, workspace: &Workspace<'_>, options: &RepairOptions) -> TableRepair {
        let PlannedTable { table, changed } = self;
        let compact_options = CompactOptions {
            dry_run: options.dry_run,
            ..CompactOptions::default()
        };
        let (changed, compacted) = match changed {
            Ok(changed) => {
                let names = [table.to_string()];
                (changed, compact(workspace, &names, &compact_options))
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        let (reports, error) = match compacted {
            Ok(reports) => (reports, None),
            Err(error) => (Vec::new(), Some(named(error, format!("table {table}")))),
        };
        TableRepair {
            table,
            changed,
            compaction: reports.into_iter().next(),
            error,
        }
    }
}

impl PlannedJob {
    fn apply(self, workspace: &Workspace<'_>, options: &RepairOptions) -> JobRepair {
        let PlannedJob { job, dates } = self;
        let run = |dates: AffectedDates| {
            let backfill_options = dates.options(options.dry_run);
            let mut report = backfill_job(workspace, &job, &backfill_options)?;
            for hint in &mut report.hints {
                *hint = hint_of_repair(hint, &job, backfill_options.range);
            }
            Ok(report)
        };
        match dates.and_then(run) {
            Ok(report) => JobRepair {
                job,
                backfill: Some(report),
                error: None,
            },
            Err(error) => JobRepair {
                error: Some(named(error, format!("job {job}"))),
                job,
                backfill: None,
            },
        }
    }
}

/// A hint of a backfill, as one that works after a repair, which has no options of jobs.
fn hint_of_repair(hint: &str, job: &str, range: DateRange) -> String {
    if hint.starts_with("--") {
        let (from, to) = (range.from(), range.to());
        return format!("asof backfill {} --from {from} --to {to} {hint}", word(job));
    }
    hint.replace("another --out or output", "another output")
}

/// An error that says what it is about.
fn named(error: Error, what: String) -> Error {
    match error.to_string().contains(&what) {
        true => error,
        false => error.within(what),
    }
}
