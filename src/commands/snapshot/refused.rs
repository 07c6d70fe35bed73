//! Copies that a check refused.
//!
//! A guard or a key check refuses a copy when it has been read and staged. It is then kept in the
//! lake, under `_refused/`, where no reader takes it for a snapshot, with the reasons in its
//! footer. So no night is lost: somebody looks at it (`show --refused`, `diff --refused`), and
//! publishes it under its own date or discards it.
//!
//! So does a copy whose key has nulls, or a column of which is of another type than it was
//! (`unfit`): it is kept as it arrived. A date has one refused copy, the last. A copy that could
//! not be read to its end is not kept: there is nothing to stage.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::plan::SnapshotPlan;
use super::report::kept;
use super::{Outcome, SnapshotOptions, SnapshotReport};
use crate::commands::Workspace;
use crate::domain::guard::BrokenGuard;
use crate::engine::as_of::footer_of;
use crate::error::{Error, Result};
use crate::model::{DateRange, TableName};
use crate::parallel::{self, object_threads};
use crate::storage::lake::LakeRoot;
use crate::storage::lake::commit::{Staged, write_error};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::find_if_there;
use crate::storage::parquet::footer::{Content, Footer, SnapshotFooter};

/// A copy that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedCopy {
    /// The date that it would have had.
    pub snapshot_date: NaiveDate,
    /// Why it was refused, in words.
    pub reasons: Vec<String>,
    /// Its rows.
    pub rows: u64,
    /// When they were read.
    pub taken_at: Option<DateTime<Utc>>,
}

/// The refused copies of a table, by date. One whose footer is damaged is left out: nothing can be
/// done with it.
///
/// # Errors
/// A failure to list them.
pub(in crate::commands) fn refused_copies(
    workspace: &Workspace<'_>,
    name: &TableName,
) -> Result<Vec<RefusedCopy>> {
    if !workspace.has_lake() {
        return Ok(Vec::new());
    }
    let objects = refused_objects(workspace, name, None)?;
    let remote = workspace.lake()?.root().store().is_some();
    let footers = parallel::map(object_threads(remote), &objects, |(_, object)| {
        footer_of(object)
    });
    let copies = objects.iter().zip(footers);
    Ok(copies
        .filter_map(|((date, _), footer)| {
            let footer = footer.ok()??;
            Some(RefusedCopy {
                snapshot_date: *date,
                reasons: footer.refused,
                rows: footer.rows,
                taken_at: footer.taken_at,
            })
        })
        .collect())
}

/// The objects of refused copies, of all dates or of a range.
///
/// # Errors
/// A failure to list them.
pub(in crate::commands) fn refused_objects(
    workspace: &Workspace<'_>,
    name: &TableName,
    range: Option<DateRange>,
) -> Result<Vec<(NaiveDate, Object)>> {
    let root = workspace.lake()?.refused(name);
    let found = find_if_there(&root, &LakeRoot::layout()?, range)?;
    // The folder of the date is not a column of the rows.
    let first = |(date, objects): (NaiveDate, Vec<Object>)| {
        let object = objects.into_iter().next()?;
        let below = String::new();
        Some((date, Object { below, ..object }))
    };
    Ok(found.partitions.into_iter().filter_map(first).collect())
}

/// Whether a date has a refused copy.
///
/// # Errors
/// A failure to look for it.
pub(super) fn has_refused(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
) -> Result<bool> {
    let found = refused_objects(workspace, name, Some(DateRange::single(date)))?;
    Ok(!found.is_empty())
}

/// The refused copy of a date.
///
/// # Errors
/// A usage error if there is none, with the dates that have one; a refusal if it is damaged.
pub(in crate::commands) fn refused_object(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
) -> Result<(Object, SnapshotFooter)> {
    let found = refused_objects(workspace, name, Some(DateRange::single(date)))?;
    if let Some((_, object)) = found.into_iter().next()
        && let Some(footer) = footer_of(&object)?
    {
        return Ok((object, footer));
    }
    let dates: Vec<String> = refused_copies(workspace, name)?
        .iter()
        .map(|copy| copy.snapshot_date.to_string())
        .collect();
    let error = Error::usage(format!("table {name} has no refused copy of {date}"));
    Err(match dates.as_slice() {
        [] => error.hint(format!("asof status {name}")),
        dates => error.hint(format!("refused copies: {}", dates.join(", "))),
    })
}

/// Why a snapshot was not taken. If a check refused it, what the check found, and where the copy
/// is.
pub(super) struct RefusedSnapshot {
    pub(super) error: Error,
    /// The guards that it breaks.
    pub(super) guards: Vec<BrokenGuard>,
    /// Its rows, if all of them were read.
    pub(super) rows: Option<u64>,
    /// Where the copy is kept, if it is kept.
    pub(super) path: Option<Location>,
}

impl From<Error> for Box<RefusedSnapshot> {
    fn from(error: Error) -> Self {
        Box::new(RefusedSnapshot {
            error,
            guards: Vec::new(),
            rows: None,
            path: None,
        })
    }
}

/// What publishes a refused copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WayOut {
    /// `--force`, despite its guards.
    Force,
    /// A rule that says which row of a key counts.
    Dedup,
    /// Another key.
    Key,
    /// Other types of columns.
    Types,
}

/// Why a copy that was staged is not published.
pub(super) struct PublishRefusal {
    error: Error,
    reasons: Vec<String>,
    guards: Vec<BrokenGuard>,
    rows: u64,
    way_out: WayOut,
}

impl PublishRefusal {
    /// The refusal of keys that stand twice, or of guards that are broken and not overridden.
    pub(super) fn of(
        plan: &SnapshotPlan<'_>,
        options: &SnapshotOptions,
        duplicate_keys: Option<Error>,
        rows: u64,
        broken: Vec<BrokenGuard>,
    ) -> Option<Self> {
        let place = format!("table {}, {}", plan.table.name, plan.date);
        if let Some(error) = duplicate_keys {
            return Some(PublishRefusal {
                reasons: Self::reasons(plan, std::slice::from_ref(&error)),
                guards: broken,
                rows,
                error,
                way_out: WayOut::Dedup,
            });
        }
        if broken.is_empty() || options.force {
            return None;
        }
        let reasons: Vec<String> = broken.iter().map(BrokenGuard::to_string).collect();
        let what = format!(
            "{place}: the snapshot was not published: {}",
            reasons.join("; ")
        );
        Some(PublishRefusal {
            error: Error::refused(what),
            reasons,
            guards: broken,
            rows,
            way_out: WayOut::Force,
        })
    }

    /// The refusal of rows that cannot be a snapshot of their table.
    pub(super) fn of_unfit(error: Error, rows: u64, way_out: WayOut) -> Self {
        PublishRefusal {
            error,
            reasons: Vec::new(),
            guards: Vec::new(),
            rows,
            way_out,
        }
    }

    /// Why a copy is refused, without the table and the date, which its footer has.
    pub(super) fn reasons(plan: &SnapshotPlan<'_>, refusals: &[Error]) -> Vec<String> {
        let place = format!("table {}, {}: ", plan.table.name, plan.date);
        let told = refusals.iter().map(Error::to_string);
        told.map(|told| told.strip_prefix(&place).unwrap_or(&told).to_owned())
            .collect()
    }

    /// The footer of the copy, by what it would have said of itself.
    pub(super) fn footer(reasons: Vec<String>, written: SnapshotFooter) -> Footer {
        Footer::new(Content::Snapshot(SnapshotFooter {
            refused: reasons,
            forced: Vec::new(),
            published_at: None,
            ..written
        }))
    }

    /// The footer of a copy whose rows could be compared and were not let through.
    pub(super) fn own_footer(&self, written: SnapshotFooter) -> Footer {
        Self::footer(self.reasons.clone(), written)
    }

    /// Keeps the staged copy, which is whole, and returns the error with what can be done now. If
    /// the copy cannot be kept, the error says why: the night is lost.
    pub(super) fn kept(
        self,
        workspace: &Workspace<'_>,
        plan: &SnapshotPlan<'_>,
        options: &SnapshotOptions,
        staged: &Staged,
        has_previous: bool,
    ) -> Box<RefusedSnapshot> {
        let refused = |error: Error, path: Option<Location>| {
            Box::new(RefusedSnapshot {
                error,
                guards: self.guards,
                rows: Some(self.rows),
                path,
            })
        };
        if options.dry_run {
            let force = format!("--force, {FORCE}");
            return match self.way_out {
                WayOut::Force => refused(self.error.hint(force), None),
                _ => refused(self.error, None),
            };
        }
        match keep(workspace, plan, staged) {
            Ok(path) => {
                let has_key = !workspace.table_config(&plan.table.name).key.is_empty();
                let way_out = (self.way_out, has_key);
                let error = with_next_steps(self.error, plan, way_out, has_previous);
                refused(error, Some(path))
            }
            Err(error) => {
                let note = format!("{}: the refused copy is not kept: {error}", plan.table.name);
                workspace.progress.note(&note);
                refused(self.error, None)
            }
        }
    }
}

/// What `--force` is for.
const FORCE: &str = "if this is the true state of the table; the snapshot's footer will say so";

/// The error of a refused copy that is kept, with how to look at the copy and to publish it.
/// `has_key` tells whether asof.toml declares the key.
fn with_next_steps(
    error: Error,
    plan: &SnapshotPlan<'_>,
    (way_out, has_key): (WayOut, bool),
    has_previous: bool,
) -> Error {
    let SnapshotPlan { table, date, .. } = plan;
    let name = &table.name;
    let look = match has_previous {
        true => format!("asof diff {name} --refused {date}, to compare it with the copy before"),
        false => format!("asof show {name} {date} --refused, to look at it"),
    };
    let replace = match plan.replaces {
        true => " --if-exists replace",
        false => "",
    };
    let publish = format!("asof snapshot {name} --publish {date}");
    let publish = match way_out {
        WayOut::Force => format!("{publish} --force{replace}, {FORCE}"),
        WayOut::Dedup => {
            format!("{publish} --dedup 'latest by COLUMN'{replace}, to publish it by such a rule")
        }
        WayOut::Key if has_key => {
            format!("{publish}{replace}, to publish it once asof.toml declares a key without nulls")
        }
        WayOut::Key => format!("{publish} --key COLUMN{replace}, to publish it by another key"),
        WayOut::Types => {
            format!("{publish}{replace}, to publish it once asof.toml declares a type that fits")
        }
    };
    error.hint(look).hint(publish)
}

/// Keeps a staged copy, which is whole and has its reasons, and returns where.
fn keep(workspace: &Workspace<'_>, plan: &SnapshotPlan<'_>, staged: &Staged) -> Result<Location> {
    let target = workspace
        .lake()?
        .refused_snapshot(&plan.table.name, plan.date);
    let copy = Staged::create(&target)?;
    let copied = |mut from: File, mut to: File| {
        from.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut from, &mut to)
    };
    copied(staged.writer()?, copy.writer()?).map_err(|error| write_error(error, &target))?;
    copy.publish_over().map(|_| target)
}

/// Removes the refused copy of a date.
///
/// # Errors
/// As [`refused_object`]; a failure to remove it.
pub(super) fn remove(workspace: &Workspace<'_>, name: &TableName, date: NaiveDate) -> Result<()> {
    let (object, _) = refused_object(workspace, name, date)?;
    object.location.remove()?;
    let root = workspace.lake()?.refused(name);
    object.location.remove_empty_folders(&root);
    Ok(())
}

/// Removes the refused copy that a snapshot was made from, or whose rows it has: it was published
/// with `--publish`, or its source was read again with `--force`.
///
/// # Errors
/// As [`remove`].
pub(super) fn remove_published(
    workspace: &Workspace<'_>,
    options: &SnapshotOptions,
    footer: &SnapshotFooter,
) -> Result<()> {
    if options.dry_run {
        return Ok(());
    }
    let name: TableName = footer.table.parse()?;
    let date = footer.snapshot_date;
    if options.publish.is_some() {
        return remove(workspace, &name, date);
    }
    let has_its_rows = || {
        let refused = refused_object(workspace, &name, date);
        refused.is_ok_and(|(_, refused)| refused.fingerprint == footer.fingerprint)
    };
    if options.force && has_its_rows() {
        return remove(workspace, &name, date);
    }
    Ok(())
}

/// Removes the refused copy of a date, and reports what it was.
///
/// # Errors
/// As [`remove`].
pub(super) fn discard(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
) -> Result<SnapshotReport> {
    let (object, footer) = refused_object(workspace, name, date)?;
    remove(workspace, name, date)?;
    Ok(SnapshotReport {
        outcome: Outcome::Discarded,
        taken_at: footer.taken_at,
        rows: Some(footer.rows),
        fingerprint: Some(footer.fingerprint),
        ..kept(workspace, name, date, &object.location)
    })
}
