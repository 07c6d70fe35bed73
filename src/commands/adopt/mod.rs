//! `asof adopt`: an existing SCD type 2 table becomes a table of the lake.
//!
//! **The audit.** The table is read once and sorted by key and beginning
//! ([`crate::engine::scd2`]). Each version is compared with those of its key before it. What
//! contradicts itself keeps the table from being adopted; facts are told. Without `write`, nothing
//! else happens.
//!
//! **Which dates.** By default every day from the first beginning to the last change: the table says
//! how it was on each of them, and not on which of them somebody looked. With
//! [`AdoptedDates::Changed`], only those on which something changed, and the last.
//!
//! **What is written** (`write`). Intervals with the fingerprint of each date, which are summed up
//! from the versions as they were read. Before the intervals are published they are read back, and
//! must add up to these fingerprints: this is the proof of `asof prune`, and is recorded as such. So
//! these dates are like those whose copies were pruned. Of the first and the last date a copy is
//! written, too, as `asof prune` keeps the oldest and the newest: the next night is compared with
//! the last. With `expand`, a copy of every date is written from those intervals, and
//! `asof compact` makes the intervals of the lake from them, as it would from any copies.
//!
//! **Again.** The same command finds the intervals that it published, and writes what is missing.
//!
//! Memory: as [`crate::engine::scd2`], and a row group.

mod options;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod write;

pub use self::options::{AdoptOptions, AdoptedDates};
pub use self::report::{AdoptOutcome, AdoptReport};

use std::io::Read;

use self::plan::AdoptPlan;
use self::write::{Adoption, UnprovenFile};
use super::Workspace;
use crate::domain::days::to_days;
use crate::engine::scd2::{WalkedVersions, gather, walk};
use crate::error::{Error, Result};

/// Audits a table, and adopts it if that is asked for and nothing contradicts itself.
///
/// # Errors
/// A usage error for options that contradict each other or the lake; a failure or refusal of
/// reading; a conflict if another process wrote the table meanwhile. What the audit finds wrong is
/// in the report.
pub fn adopt_table(
    workspace: &Workspace<'_>,
    options: &AdoptOptions,
    stdin: &mut dyn Read,
) -> Result<AdoptReport> {
    let (mut report, store_requests) = workspace.counting(|| run(workspace, options, stdin))?;
    report.store_requests = store_requests;
    Ok(report)
}

fn run(
    workspace: &Workspace<'_>,
    options: &AdoptOptions,
    stdin: &mut dyn Read,
) -> Result<AdoptReport> {
    let plan = AdoptPlan::new(workspace, options)?;
    let within = |error: Error| error.within(format!("table {}", plan.table.name));
    let mut source = plan.source(workspace, options, stdin)?;
    let rows = source.read(&plan.table.types).map_err(within)?;
    let columns = plan.columns(&rows.schema, source.name()).map_err(within)?;
    let what = format!("adopt {}", plan.table.name);
    let count = rows.count;
    let step = |read: u64| {
        if let Some(count) = count {
            workspace.progress.step(&what, read, count);
        }
    };
    let today = options.to.is_none().then(|| to_days(plan.today));
    let gathered =
        gather(plan.checked(rows), &columns, today, workspace.memory, &step).map_err(within)?;
    let mut report = AdoptReport::new(&plan, &columns, source.name(), gathered.rows);
    let window = match plan.window(&gathered)? {
        Some(window) => window,
        None => {
            report.take_findings(gathered.findings);
            return report.without_dates(&plan);
        }
    };
    let mut temporary = UnprovenFile::new(&plan, columns.table())?;
    let mut out = |rows| temporary.write(rows);
    let walked = walk(
        gathered,
        &columns,
        window,
        &plan.settings.convention,
        &mut out,
    );
    let WalkedVersions {
        findings,
        keys,
        intervals,
        open,
        steps,
    } = walked.map_err(within)?;
    report.keys = keys;
    report.take_findings(findings);
    report.between(window)?;
    if !report.is_adoptable() {
        return Ok(report);
    }
    (report.intervals, report.current) = (intervals, open);
    let observed = plan.observed(window, steps)?;
    report.dates = observed.len() as u64;
    let file = temporary.finish(&plan, observed, columns.table(), intervals)?;
    if options.write {
        Adoption::new(workspace, &plan, file)?.run(&mut report)?;
    }
    Ok(report)
}
