//! Deciding whether a snapshot is to be taken, and from which files, before any of them is read.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDate, Utc};

use super::keep::{keep, keep_pruned};
use super::refused::{has_refused, refused_object};
use super::{IfExists, SnapshotOptions, SnapshotReport};
use crate::commands::Workspace;
use crate::commands::sources::is_dated;
use crate::domain::guard::Guards;
use crate::domain::type_names::parse_type;
use crate::engine::column_guards::SnapshotTime;
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Result, toml_key, word};
use crate::model::TableName;
use crate::source::{FileSource, Format, SnapshotSource};
use crate::storage::lake::commit::sweep_dates;
use crate::storage::lake::location::Location;
use crate::storage::lake::{LakeRoot, paths};

/// A snapshot that has been decided on and not been read yet.
pub(super) struct SnapshotPlan<'s> {
    pub(super) table: SnapshotTable,
    pub(super) date: NaiveDate,
    pub(super) path: Location,
    pub(super) source: Box<dyn SnapshotSource + 's>,
    pub(super) guards: Guards,
    pub(super) replaces: bool,
    /// When the rows were read, if they were read before.
    pub(super) taken_at: Option<DateTime<Utc>>,
    /// Whether somebody says, or said when the rows were read, that the source has the state of a
    /// past date.
    pub(super) backdated: bool,
}

impl SnapshotPlan<'_> {
    /// The time of the snapshot, with which the guards compare the age of its values.
    pub(super) fn time(&self, workspace: &Workspace<'_>) -> SnapshotTime {
        let taken_at = self.taken_at.unwrap_or_else(|| workspace.clock.now());
        SnapshotTime::of(workspace.clock, self.date, taken_at)
    }

    /// The table as its published copies are read: without the types that only the command line
    /// declares, which say what this copy is and not what those before it are.
    pub(super) fn as_published(&self, workspace: &Workspace<'_>) -> SnapshotTable {
        let mut table = self.table.clone();
        let given = &workspace.declared.of_tables;
        let config = workspace.config.tables.get(table.name.as_str());
        let is_of_all =
            |column: &String| config.is_some_and(|config| config.types.contains_key(column));
        table
            .types
            .declared
            .retain(|column, _| !given.contains_key(column) || is_of_all(column));
        table
    }

    /// Has files read some columns as they are, whatever types are declared for them: in their own
    /// type, or those of JSON as its text. Whether anything is different then. A database is not
    /// asked again, since others may have written to it meanwhile.
    pub(super) fn read_as_they_are(&mut self, columns: &BTreeSet<String>) -> bool {
        let Some(files) = self.source.files() else {
            return false;
        };
        let is_json = files.format == Format::Ndjson;
        let declared = &mut self.table.types.declared;
        let mut differs = false;
        for column in columns {
            let Some(was) = declared.remove(column) else {
                continue;
            };
            differs |= !is_json || was != DataType::Utf8;
            if is_json {
                declared.insert(column.clone(), DataType::Utf8);
            }
        }
        differs
    }
}

/// What is to be done for a table and a date.
pub(super) enum Decision<'s> {
    /// The date has a snapshot, which is to stand.
    Keep(Box<SnapshotReport>),
    /// The refused copy of the date is to be removed.
    Discard(NaiveDate),
    /// A snapshot is to be taken.
    Take(Box<SnapshotPlan<'s>>),
}

/// Decides what is to be done, without reading the source. `find` finds the source of a date.
pub(super) fn decide<'s>(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &SnapshotOptions,
    find: impl FnOnce(NaiveDate) -> Result<Box<dyn SnapshotSource + 's>>,
) -> Result<Decision<'s>> {
    let config = workspace.table_config(name);
    if config.snapshots.is_some() {
        return Err(Error::usage(format!(
            "table {name} is external: asof never writes its snapshots"
        ))
        .hint(format!("asof status {name}, to see those that there are")));
    }
    if let Some(date) = options.discard {
        return Ok(Decision::Discard(date));
    }
    refuse_contradictions(workspace, name, options)?;
    let lake = workspace.lake()?;
    let today = workspace.clock.today();
    if let Some(date) = options.publish {
        return publish_refused(workspace, name, date, options);
    }
    let date = date_of_label(name, options, today)?;
    let path = lake.snapshot(name, date);
    if !options.dry_run {
        sweep(workspace, lake, name, date);
    }
    let exists = path.is_taken()?;
    // The newest snapshot is never pruned, and so none of today.
    let pruned = match !exists && date < today {
        true => keep_pruned(workspace, name, date, &path),
        false => None,
    };
    match (options.if_exists, pruned) {
        (IfExists::Keep, Some(report)) => {
            workspace.progress.note(&format!(
                "{name}: no copy of {date} is stored, and the intervals give its rows"
            ));
            return Ok(Decision::Keep(Box::new(report)));
        }
        (IfExists::Error, Some(_)) => return Err(has_snapshot(name, date)),
        _ => {}
    }
    match options.if_exists {
        IfExists::Keep if exists => {
            let report = keep(workspace, name, date, options, find)?;
            return Ok(Decision::Keep(Box::new(report)));
        }
        IfExists::Error if exists => return Err(has_snapshot(name, date)),
        _ => {}
    }
    if date < today && !options.backdate && !is_dated(workspace, name, date, &options.source)? {
        return Err(is_past(workspace, name, date, exists));
    }
    let source = find(date)?;
    Ok(Decision::Take(Box::new(SnapshotPlan {
        table: table_to_take(workspace, name, &options.key, options)?,
        date,
        path,
        source,
        guards: config.guards()?,
        replaces: exists,
        taken_at: None,
        backdated: options.backdate && date < today,
    })))
}

/// The conflict with the snapshot that a date has.
fn has_snapshot(name: &TableName, date: NaiveDate) -> Error {
    Error::conflict(format!("table {name} has a snapshot of {date} already"))
        .hint("--if-exists keep, or --if-exists replace")
}

/// Refuses a key and types of the command line that asof.toml contradicts. All copies of a table
/// are read by what asof.toml says, so the copy would not fit those before and after it.
fn refuse_contradictions(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &SnapshotOptions,
) -> Result<()> {
    let Some(config) = workspace.config.tables.get(name.as_str()) else {
        return Ok(());
    };
    let section = toml_key(name.as_str());
    let contradicts = |option: &str, given: &str, declared: &str, entry: String| {
        let what = format!(
            "table {name}: {option} {given} contradicts asof.toml, which declares {declared}"
        );
        let error = Error::usage(what).hint(format!("leave out {option}"));
        Err(error.hint(format!(
            "or change it for all copies: [tables.{section}] {entry} in asof.toml"
        )))
    };
    let key = &options.key;
    if !key.is_empty() && !config.key.is_empty() && *key != config.key {
        let columns: Vec<String> = key.iter().map(|column| format!("\"{column}\"")).collect();
        return contradicts(
            "--key",
            &key.join(","),
            &format!("the key {}", config.key.join(", ")),
            format!("key = [{}]", columns.join(", ")),
        );
    }
    for (column, given) in &workspace.declared.of_tables {
        let Some(declared) = config.types.get(column) else {
            continue;
        };
        if parse_type(given) != parse_type(declared) {
            let column = toml_key(column);
            return contradicts(
                "--types",
                &format!("{column}={given}"),
                &format!("{column} as {declared}"),
                format!("types = {{ {column} = \"{given}\" }}"),
            );
        }
    }
    Ok(())
}

/// The table, by the key and the rule of duplicates that the command line names.
fn table_to_take(
    workspace: &Workspace<'_>,
    name: &TableName,
    key: &[String],
    options: &SnapshotOptions,
) -> Result<SnapshotTable> {
    let mut table = workspace.table(name, key)?;
    table.dedup_is_given = options.dedup.is_some() || !options.key.is_empty();
    table.dedup = options.dedup.clone().or(table.dedup);
    Ok(table)
}

/// Decides on making a refused copy the snapshot of its date.
fn publish_refused<'s>(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    options: &SnapshotOptions,
) -> Result<Decision<'s>> {
    let (object, footer) = refused_object(workspace, name, date)?;
    let path = workspace.lake()?.snapshot(name, date);
    let exists = path.is_taken()?;
    if exists && options.if_exists != IfExists::Replace {
        let force = if options.force { " --force" } else { "" };
        let publish = format!("asof snapshot {name} --publish {date}{force} --if-exists replace");
        let what = format!("table {name} has a snapshot of {date} already");
        return Err(Error::conflict(what)
            .hint(publish)
            .hint(format!("asof snapshot {name} --discard {date}")));
    }
    let config = workspace.table_config(name);
    let key = if options.key.is_empty() && config.key.is_empty() {
        &footer.key
    } else {
        &options.key
    };
    Ok(Decision::Take(Box::new(SnapshotPlan {
        table: table_to_take(workspace, name, key, options)?,
        date,
        path,
        source: Box::new(FileSource {
            name: footer.source.unwrap_or_default(),
            format: Format::Parquet,
            objects: vec![object],
            of_date: footer.dated_source,
        }),
        guards: config.guards()?,
        replaces: exists,
        taken_at: footer.taken_at,
        backdated: footer.backdated,
    })))
}

/// Removes what interrupted writers left in the folders of the date, and of those before it.
fn sweep(workspace: &Workspace<'_>, lake: &LakeRoot, name: &TableName, date: NaiveDate) {
    let snapshots = lake.snapshots(name);
    let roots = paths::changes(&snapshots).into_iter().chain([
        lake.superseded(name),
        lake.refused(name),
        lake.dropped(name),
        snapshots,
    ]);
    roots.for_each(|root| sweep_dates(&root, date, workspace.clock.now()));
}

/// The command that puts another snapshot in the place of a damaged one.
pub(super) fn repair(name: &TableName, date: NaiveDate, today: NaiveDate) -> String {
    let backdate = if date < today { " --backdate" } else { "" };
    format!("asof snapshot {name} --date {date} --if-exists replace{backdate}")
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

/// The refusal to label today's state as that of a past date. If a copy of that day was put aside,
/// the hints say so.
fn is_past(workspace: &Workspace<'_>, name: &TableName, date: NaiveDate, exists: bool) -> Error {
    let what = if exists {
        "replacing the snapshot of"
    } else {
        "taking a snapshot of"
    };
    let error = Error::refused(format!(
        "table {name}: {what} {date}, which is past, would label today's state as that day's"
    ))
    .hint("--backdate, if the source really holds the state of that day");
    let dated =
        "or write {date} in the source, if it has a state for each date: exports/{date}.csv";
    if exists {
        return error.hint(dated);
    }
    let table = word(name.as_str());
    // A hint is not worth a failure.
    let refused = has_refused(workspace, name, date).unwrap_or_default();
    let dropped = workspace.dropped(name).unwrap_or_default();
    let refused = refused.then(|| {
        format!(
            "asof snapshot {table} --publish {date}, to publish the copy of that day, which a check \
             refused"
        )
    });
    let dropped = dropped.iter().any(|copy| copy.date == date).then(|| {
        format!(
            "asof restore {table} {date}, to bring back the copy of that day, which was dropped"
        )
    });
    let aside: Vec<String> = refused.into_iter().chain(dropped).collect();
    match aside.is_empty() {
        true => error.hint(dated),
        false => aside.into_iter().fold(error, Error::hint),
    }
}
