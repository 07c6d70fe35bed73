//! A snapshot that exists and is kept: when it was taken, and whether its source was written to
//! since.
//!
//! The source is not read. A file on a disk was written to since if it is newer than the snapshot's
//! own file: both times are of the disks that they are on, whatever the clock of this process says.
//! Of other sources nothing is known, and the report says how to find out.

use chrono::{DateTime, NaiveDate, Utc};

use super::plan::repair;
use super::publish::being_dropped;
use super::{SnapshotOptions, SnapshotReport, SourceSince, kept};
use crate::commands::Workspace;
use crate::commands::sources::is_dated;
use crate::error::{Error, Result, word};
use crate::model::TableName;
use crate::secret::concealed;
use crate::source::{Format, SnapshotSource};
use crate::storage::lake::aside::{is_being_dropped, overtaken};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::standing::Standing;
use crate::storage::parquet::footer::Content;
use crate::storage::parquet::object::ParquetObject;

/// The report of a snapshot that exists and is to stand.
///
/// # Errors
/// A refusal if its footer is damaged; a conflict if another process is dropping it.
pub(super) fn keep<'s>(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    options: &SnapshotOptions,
    find: impl FnOnce(NaiveDate) -> Result<Box<dyn SnapshotSource + 's>>,
) -> Result<SnapshotReport> {
    let path = workspace.lake()?.snapshot(name, date);
    let today = workspace.clock.today();
    let taken_at = match taken_at(&path) {
        Err(error) if error.is_damage() && is_being_dropped(&path)? => {
            return Err(being_dropped(&path));
        }
        taken_at => taken_at.map_err(|error| unreadable(error, name, date, today))?,
    };
    let report = SnapshotReport {
        taken_at,
        ..kept(workspace, name, date, &path)
    };
    // The source of a past date's snapshot has another state by now, and is not to be taken again,
    // unless it has a state for each date.
    let is_dated = || is_dated(workspace, name, date, &options.source).unwrap_or(false);
    let is_dated = options.adopt.is_none() && is_dated();
    if date < today && !options.backdate && !is_dated || options.adopt.is_some() {
        return Ok(report);
    }
    let source = match find(date) {
        // What was of a date may be gone by now.
        Err(_) if is_dated => return Ok(report),
        source => source.ok(),
    };
    let files = source.as_ref().and_then(|source| source.files());
    let files = files.filter(|files| !files.is_standard_input);
    let since = files
        .and_then(|files| {
            let Ok(Standing::File(snapshot)) = path.standing() else {
                return None;
            };
            let written = |object: &Object| Some(object.file?.modified > snapshot.modified);
            let written: Option<Vec<bool>> = files.objects.iter().map(written).collect();
            written.map(|written| written.contains(&true))
        })
        .map_or(SourceSince::Unknown, |written| match written {
            true => SourceSince::Written,
            false => SourceSince::NotWritten,
        });
    let backdate = date < today && !is_dated;
    let label = match date < today {
        true => format!(
            " --date {date}{}",
            if backdate { " --backdate" } else { "" }
        ),
        false => String::new(),
    };
    let compare = || compare_with(name, &label, options);
    Ok(SnapshotReport {
        source_since: Some(since),
        // Rows of the calling program cannot be named on a command line.
        compare_with: (since != SourceSince::NotWritten && !options.source.is_rows).then(compare),
        ..report
    })
}

/// The report of a date whose snapshot `asof prune` deleted: the intervals give its rows, and it is
/// kept as if its snapshot were there. Nothing of any other date.
pub(super) fn keep_pruned(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    path: &Location,
) -> Option<SnapshotReport> {
    // Damaged intervals are a matter of other commands.
    let intervals = workspace.intervals(name).ok().flatten()?;
    let is_dropped = intervals.dropped.contains(&date);
    let observed = intervals.snapshot(date).filter(|_| !is_dropped)?;
    if !observed.is_proven() {
        return None;
    }
    Some(SnapshotReport {
        rows: Some(observed.rows),
        fingerprint: Some(observed.fingerprint),
        ..kept(workspace, name, date, path)
    })
}

/// The command that compares the source with the snapshot, and writes nothing.
fn compare_with(name: &TableName, label: &str, options: &SnapshotOptions) -> String {
    let given = &options.source;
    // What was typed may hold a password.
    let place = given.place.as_deref();
    let place = place.map(|place| match concealed(place) == place {
        true => place,
        false => "URL",
    });
    let given = [
        ("--source", place),
        ("--source-format", given.format.map(Format::name)),
        ("--source-table", given.table.as_deref()),
        ("--query", given.query.as_deref()),
    ];
    let given = given.into_iter().filter_map(|(option, value)| {
        let value = word(value?);
        Some(format!(" {option} {value}"))
    });
    let given: String = given.collect();
    let name = word(name.as_str());
    format!("asof snapshot {name}{given}{label} --if-exists replace --dry-run")
}

/// When the snapshot at a path was taken; nothing if asof did not take it.
///
/// # Errors
/// A refusal if its footer is damaged.
pub(super) fn taken_at(path: &Location) -> Result<Option<DateTime<Utc>>> {
    let opened = ParquetObject::open(path).and_then(|object| object.footer());
    let footer = opened.map_err(|error| overtaken(path, error))?;
    Ok(match footer.map(|footer| footer.content) {
        Some(Content::Snapshot(footer)) => footer.taken_at,
        _ => None,
    })
}

/// The refusal to keep a snapshot whose footer is damaged.
fn unreadable(error: Error, name: &TableName, date: NaiveDate, today: NaiveDate) -> Error {
    if !error.is_damage() {
        return error;
    }
    error
        .within(format!("table {name}, {date}: the snapshot cannot be kept"))
        .hint(format!(
            "{}, if the source holds the state of that day",
            repair(name, date, today)
        ))
}
