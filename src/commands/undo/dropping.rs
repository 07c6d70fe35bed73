//! Moving a snapshot aside.

use chrono::NaiveDate;

use super::{CopyFacts, DropOptions, DropOutcome, DropReport, footer_at, from_intervals, managed};
use crate::commands::Workspace;
use crate::domain::digest::Fingerprint;
use crate::engine::intervals::Intervals;
use crate::error::{Error, Result, word};
use crate::model::{DateRange, TableName};
use crate::storage::lake::LakeRoot;
use crate::storage::lake::aside::{AsideCopy, aside_below, is_being_dropped, overtaken, put_aside};
use crate::storage::lake::deletion::is_being_pruned;
use crate::storage::lake::location::Location;
use crate::storage::lake::partitions::find_if_there;
use crate::storage::lake::paths;

/// Moves the snapshot of a date below `_dropped/`.
///
/// # Errors
/// A usage error for an external table, and for a date that never had a snapshot; a refusal if only
/// the intervals have its rows, or if they do not have those of the snapshot that replaced a pruned
/// one; a conflict if another writer replaces the snapshot meanwhile.
pub fn drop_snapshot(workspace: &Workspace<'_>, options: &DropOptions) -> Result<DropReport> {
    let table = managed(workspace, &options.table)?;
    let date = options.date;
    let lake = workspace.lake()?;
    let snapshot = lake.snapshot(&table, date);
    // In this order: whoever drops it meanwhile gives the copy its new name first.
    if is_being_pruned(&snapshot)? {
        return Err(Error::conflict(format!(
            "table {table}: asof prune is deleting the snapshot of {date}, or was killed while it did"
        ))
        .hint(format!("asof prune {}", word(table.as_str()))));
    }
    let is_taken = snapshot.is_taken()?;
    let dropped = aside_below(&lake.dropped(&table), Some(DateRange::single(date)))?;
    let alone = check_alone(lake, &table, date);
    alone.map_err(|error| overtaken(&snapshot, error))?;
    let intervals = workspace.intervals(&table).ok().flatten();
    if !is_taken {
        let Some(copy) = dropped.last() else {
            return Err(not_there(workspace, &table, date));
        };
        let mut report = report(workspace, &table, date, &copy.object.location);
        report.copy = CopyFacts::of(footer_at(&copy.object.location)?.as_ref());
        report.is_compacted = intervals.is_some_and(|known| known.dropped.contains(&date));
        return Ok(report);
    }
    let footer = match is_being_dropped(&snapshot)? {
        true => None,
        false => footer_at(&snapshot)?,
    };
    let content = footer.as_ref().map(|footer| footer.fingerprint);
    if let Some(known) = &intervals {
        check_not_behind(known, &table, date, content)?;
    }
    let aside = place(workspace, lake, &table, date, content, &dropped)?;
    let report = DropReport {
        outcome: match options.dry_run {
            true => DropOutcome::Planned,
            false => DropOutcome::Dropped,
        },
        copy: CopyFacts::of(footer.as_ref()),
        is_compacted: intervals.is_some_and(|known| known.snapshot(date).is_some()),
        ..report(workspace, &table, date, &aside)
    };
    if options.dry_run {
        return Ok(report);
    }
    workspace.check_writes_below(lake.root())?;
    put_aside(&snapshot, &aside, |place| {
        // The marker of another drop is not a damaged snapshot.
        Ok(place.is_taken()? && !is_being_dropped(place)? && footer_at(place)? == footer)
    })?;
    // The folder of the date stays: others may be listing it, or about to write into it.
    Ok(report)
}

/// Refuses to drop a snapshot that replaced a pruned one if the intervals still hold the pruned
/// rows: after the drop, reads of that date would return those rows.
fn check_not_behind(
    known: &Intervals,
    table: &TableName,
    date: NaiveDate,
    content: Option<Fingerprint>,
) -> Result<()> {
    let observed = known.snapshot(date).filter(|observed| observed.is_proven());
    match (observed, content) {
        (Some(observed), Some(content)) if !observed.is(content) => Err(Error::refused(format!(
            "table {table}: the intervals still have the rows that the snapshot of {date} replaced, \
             and reads of that date would return them after the drop"
        ))
        .hint(format!(
            "asof compact {}, to take the snapshot in",
            word(table.as_str())
        ))),
        _ => Ok(()),
    }
}

/// Where the copy goes. A run that was killed may have put it there already.
fn place(
    workspace: &Workspace<'_>,
    lake: &LakeRoot,
    table: &TableName,
    date: NaiveDate,
    content: Option<Fingerprint>,
    dropped: &[AsideCopy],
) -> Result<Location> {
    let snapshot = lake.snapshot(table, date);
    if is_being_dropped(&snapshot)?
        && let Some(copy) = dropped.last()
    {
        return Ok(copy.object.location.clone());
    }
    let footer = footer_at(&snapshot)?;
    for copy in dropped
        .iter()
        .filter(|copy| Some(copy.fingerprint) == content)
    {
        if footer_at(&copy.object.location)? == footer {
            return Ok(copy.object.location.clone());
        }
    }
    let content = content.unwrap_or(Fingerprint(0));
    let root = lake.dropped(table);
    Ok(paths::aside(&root, date, workspace.clock.moment(), content))
}

/// Refuses a date of which there are several files: which of them is the snapshot is not known.
fn check_alone(lake: &LakeRoot, table: &TableName, date: NaiveDate) -> Result<()> {
    let range = Some(DateRange::single(date));
    let found = find_if_there(&lake.snapshots(table), &LakeRoot::layout()?, range)?;
    match found.partitions.get(&date).map(Vec::as_slice) {
        Some([_, other, ..]) => Err(Error::refused(format!(
            "table {table}, {date}: expected one snapshot file, found more: '{}'",
            other.location
        ))
        .hint("remove the file that asof did not write")),
        _ => Ok(()),
    }
}

/// The refusal of a date without a snapshot.
fn not_there(workspace: &Workspace<'_>, table: &TableName, date: NaiveDate) -> Error {
    let known = workspace.intervals(table).ok().flatten();
    if known.is_none_or(|known| known.snapshot(date).is_none()) {
        return Error::usage(format!("table {table} has no snapshot of {date}"))
            .hint(format!("asof status {}", word(table.as_str())));
    }
    let error = Error::refused(format!(
        "table {table}: the snapshot of {date} was removed and exists only in the intervals, so it \
         cannot be moved aside"
    ));
    match from_intervals(workspace, table, date) {
        Some(command) => error
            .hint(format!("{command}, to have it back"))
            .hint(format!(
                "asof drop {} {date}, to drop it then",
                word(table.as_str())
            )),
        None => error,
    }
}

/// The report of a snapshot that was dropped before.
fn report(
    workspace: &Workspace<'_>,
    table: &TableName,
    date: NaiveDate,
    aside: &Location,
) -> DropReport {
    DropReport {
        table: table.clone(),
        snapshot_date: date,
        outcome: DropOutcome::AlreadyDropped,
        path: workspace.shown(aside),
        copy: CopyFacts::default(),
        is_compacted: false,
        restore_with: format!("asof restore {} {date}", word(table.as_str())),
    }
}
