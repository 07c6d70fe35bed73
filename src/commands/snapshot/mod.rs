//! `asof snapshot`: one dated copy of each table.
//!
//! [`snapshot`] takes one table, [`snapshot_rows`] one whose rows the caller holds, and
//! [`snapshot_tables`] several, in parallel.
//!
//! The source is read once, into sorted runs; everything after works on those. They are merged in
//! one pass that writes the staged object, looks for keys that stand twice, sums the fingerprint
//! and counts what changed since the previous snapshot. Then the guards are asked, and only then is
//! anything published, by one write that fails if the date has an object already. What changed is
//! written beside it ([`crate::engine::changes`]), so that others need not decode the whole
//! snapshot to know.
//!
//! Re-running a night must never relabel today's state as a past day's. So a snapshot that exists
//! is kept, and a past date that has none is refused unless `backdate` says that the source holds
//! that day's state.
//!
//! Memory: the sorter's budget, which is a quarter of what may be used, and a few batches of this
//! snapshot and of the previous one.

mod adopt;
mod hook;
mod input;
mod keep;
mod lineage;
mod plan;
mod previous;
mod publish;
mod refused;
mod report;
mod since_replaced;
mod staged;
mod tables;
mod take;
mod unchanged;
mod unfit;
mod write;

use std::io::Read;

use chrono::NaiveDate;

pub(super) use self::input::{count_null_keys, keep_names};
pub use self::refused::RefusedCopy;
pub(super) use self::refused::{refused_copies, refused_object, refused_objects};
pub use self::report::{
    FailedTable, Outcome, Since, SinceReplacedCopy, SkipReason, SkippedTable, SnapshotReport,
    SnapshotRun, SourceSince, TableResult,
};
pub use self::tables::snapshot_tables;

pub use self::adopt::adopt;
use self::lineage::SnapshotLineage;
use self::plan::{Decision, SnapshotPlan, decide};
use self::refused::discard;
use self::report::kept;
use self::take::take;
use super::Workspace;
use super::sources::{GivenSource, find_source};
use super::workspace::{Notes, PartState};
use crate::domain::dedup::Dedup;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::{GivenRows, SnapshotSource};

/// How to treat a snapshot that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IfExists {
    /// Leave it, and succeed.
    #[default]
    Keep,
    /// Put another in its place, and keep it aside.
    Replace,
    /// Fail as a conflict.
    Error,
}

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// The date of the label; today if none.
    pub date: Option<NaiveDate>,
    /// Where the rows are, if not where the configuration says.
    pub source: GivenSource,
    /// The key columns, if not those of the configuration or of the last snapshot.
    pub key: Vec<String>,
    /// Which row of a key counts, if not that of the configuration.
    pub dedup: Option<Dedup>,
    /// How to treat a snapshot that exists.
    pub if_exists: IfExists,
    /// Whether the source really holds the state of a past date.
    pub backdate: bool,
    /// Whether guards are overridden.
    pub force: bool,
    /// The date of a refused copy that is to be published.
    pub publish: Option<NaiveDate>,
    /// The date of a refused copy that is to be removed.
    pub discard: Option<NaiveDate>,
    /// The layout of dated copies below the source, each of which becomes the snapshot of its date.
    pub adopt: Option<String>,
    /// Whether nothing is to be published.
    pub dry_run: bool,
}

/// Takes the snapshot of one table.
///
/// # Errors
/// Whatever refuses or fails; see the module.
pub fn snapshot(
    workspace: &Workspace<'_>,
    table: &str,
    options: &SnapshotOptions,
    stdin: &mut dyn Read,
) -> Result<SnapshotReport> {
    let name = match options.source.place {
        Some(_) => table.parse()?,
        None => workspace.known(table)?,
    };
    run(workspace, &name, options, |workspace, date| {
        find_source(workspace, &name, date, &options.source, stdin)
    })
}

/// Takes the snapshot of one table from rows that the calling program holds, with every check and
/// guard of [`snapshot`].
///
/// # Errors
/// As [`snapshot`]; a usage error if the options name a source too, or ask for something that has
/// none.
pub fn snapshot_rows(
    workspace: &Workspace<'_>,
    table: &str,
    options: &SnapshotOptions,
    rows: GivenRows,
) -> Result<SnapshotReport> {
    let name = table.parse()?;
    let asked = options.source.place.as_deref().or_else(|| {
        let others = [
            options.adopt.is_some().then_some("adopt"),
            options.publish.is_some().then_some("publish"),
            options.discard.is_some().then_some("discard"),
        ];
        others.into_iter().flatten().next()
    });
    if let Some(other) = asked {
        let what = format!("table {name}: the rows are those of a frame, and also of '{other}'");
        return Err(Error::usage(what).hint("leave out SnapshotOptions::source"));
    }
    let mut options = options.clone();
    options.source = GivenSource {
        place: Some(rows.name().to_owned()),
        is_rows: true,
        ..GivenSource::default()
    };
    run(workspace, &name, &options, |_, _| Ok(Box::new(rows)))
}

/// Takes the snapshot of one table from the source that `find` finds, and reports what was noted.
fn run<'s>(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &SnapshotOptions,
    find: impl FnOnce(&Workspace<'_>, NaiveDate) -> Result<Box<dyn SnapshotSource + 's>>,
) -> Result<SnapshotReport> {
    let progress = workspace.progress;
    progress.step(&format!("snapshot {name}"), 0, 1);
    let notes = Notes::new(progress);
    let taken = workspace.counting(|| carry_out(&workspace.part(1, &notes), name, options, find));
    let notes = notes.into_inner();
    notes.iter().for_each(|note| progress.note(note));
    let (report, store_requests) = taken?;
    Ok(SnapshotReport {
        notes,
        store_requests,
        ..report
    })
}

/// Does what is asked for about one table.
fn carry_out<'s>(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &SnapshotOptions,
    find: impl FnOnce(&Workspace<'_>, NaiveDate) -> Result<Box<dyn SnapshotSource + 's>>,
) -> Result<SnapshotReport> {
    let decision = decide(workspace, name, options, |date| find(workspace, date));
    let report = decision.and_then(|decision| match decision {
        Decision::Keep(report) => Ok(*report),
        Decision::Discard(date) => discard(workspace, name, date),
        Decision::Take(mut plan) => take_and_tell(workspace, &mut plan, options),
    });
    workspace.progress.part(name.as_str(), PartState::Ended);
    report
}

/// Takes a snapshot, and tells those of it who asked to be told.
fn take_and_tell(
    workspace: &Workspace<'_>,
    plan: &mut SnapshotPlan<'_>,
    options: &SnapshotOptions,
) -> Result<SnapshotReport> {
    let run = SnapshotLineage::start(workspace, plan, options);
    let taken = take(workspace, plan, options).map_err(|refused| {
        hook::tell(workspace, plan, options, &refused);
        refused.error
    });
    if let Some(run) = run {
        run.end(&taken);
    }
    taken
}
