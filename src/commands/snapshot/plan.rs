//! Deciding whether a snapshot is to be taken, and from which files, before any of them is read.

use chrono::NaiveDate;

use super::{IfExists, SnapshotOptions};
use crate::commands::Workspace;
use crate::domain::guard::Guards;
use crate::engine::table::Table;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::{self, Format, FormatRule};
use crate::storage::lake::location::{Location, Object};

/// A snapshot that has been decided on and not been read yet.
pub(super) struct Plan {
    pub(super) table: Table,
    pub(super) date: NaiveDate,
    pub(super) path: Location,
    pub(super) source: String,
    pub(super) files: Option<Vec<Object>>,
    pub(super) format: Format,
    pub(super) guards: Guards,
    pub(super) replaces: bool,
}

/// What is to be done for a table and a date.
pub(super) enum Decision {
    /// The date has a snapshot, which is to stand.
    Keep { date: NaiveDate, path: Location },
    /// A snapshot is to be taken.
    Take(Box<Plan>),
}

/// Decides what is to be done, without reading the source.
pub(super) fn decide(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &SnapshotOptions,
) -> Result<Decision> {
    let config = workspace.table_config(name);
    if config.snapshots.is_some() {
        return Err(Error::usage(format!(
            "table {name} is external: asof never writes its snapshots"
        )));
    }
    let lake = workspace.lake()?;
    let today = workspace.clock.today();
    let date = date_of_label(name, options, today)?;
    let path = lake.snapshot(name, date);
    let exists = path.exists()?;
    match options.if_exists {
        IfExists::Keep if exists => return Ok(Decision::Keep { date, path }),
        IfExists::Error if exists => {
            return Err(
                Error::conflict(format!("table {name} has a snapshot of {date} already"))
                    .hint("--if-exists keep, or --if-exists replace"),
            );
        }
        _ => {}
    }
    if date < today && !options.backdate {
        return Err(is_past(name, date, exists));
    }
    let SourceFiles {
        source,
        files,
        format,
    } = find_source(
        workspace,
        name,
        date,
        options.source.as_deref(),
        options.source_format,
    )?;
    let mut table = workspace.table(name, &options.key)?;
    table.dedup_is_given = options.dedup.is_some() || !options.key.is_empty();
    table.dedup = options.dedup.clone().or(table.dedup);
    Ok(Decision::Take(Box::new(Plan {
        table,
        date,
        path,
        source,
        files,
        format,
        guards: config.guards()?,
        replaces: exists,
    })))
}

/// The date to label the snapshot with: the one given, which may not be in the future, or today.
fn date_of_label(
    name: &TableName,
    options: &SnapshotOptions,
    today: NaiveDate,
) -> Result<NaiveDate> {
    let date = options.date.unwrap_or(today);
    if date > today {
        return Err(Error::usage(format!(
            "table {name}: {date} is in the future; today is {today}"
        ))
        .hint(format!("--date {today}")));
    }
    Ok(date)
}

/// The refusal to label today's state as that of a past date.
fn is_past(name: &TableName, date: NaiveDate, exists: bool) -> Error {
    let what = if exists {
        "replacing the snapshot of"
    } else {
        "taking a snapshot of"
    };
    Error::refused(format!(
        "table {name}: {what} {date}, which is past, would label today's state as that day's"
    ))
    .hint("--backdate, if the source really holds the state of that day")
}

/// The files of a table's source, which have not been read.
pub(in crate::commands) struct SourceFiles {
    /// The source as it is written.
    pub(in crate::commands) source: String,
    /// Nothing of standard input.
    pub(in crate::commands) files: Option<Vec<Object>>,
    pub(in crate::commands) format: Format,
}

/// Finds the files of a table's source: the one that is `given`, or that of asof.toml.
pub(in crate::commands) fn find_source(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    given: Option<&str>,
    format: Option<Format>,
) -> Result<SourceFiles> {
    let config = workspace.table_config(name);
    let Some(source) = given.map(str::to_owned).or(config.source) else {
        return Err(Error::usage(format!("table {name} has no source"))
            .hint(format!("asof snapshot {name} --source FILE")));
    };
    let files = |place: Location| {
        source::files_of(&place).map_err(|error| error.within(format!("table {name}, {date}")))
    };
    let files = match (source.as_str(), given) {
        ("-", _) => None,
        (_, Some(given)) => Some(files(workspace.here(given)?)?),
        (configured, None) => Some(files(workspace.configured(configured)?)?),
    };
    let declared = format.or(config.source_format);
    let rule = FormatRule {
        declared,
        option: "--source-format parquet|csv|tsv|ndjson|arrow|avro".to_owned(),
    };
    let format = match (&files, declared) {
        (Some(files), _) => rule
            .of(files)
            .map_err(|error| error.within(format!("table {name}, {date}")))?,
        (None, Some(declared)) => declared,
        (None, None) => {
            return Err(Error::usage("the format of standard input is unknown").hint(rule.option));
        }
    };
    Ok(SourceFiles {
        source,
        files,
        format,
    })
}
