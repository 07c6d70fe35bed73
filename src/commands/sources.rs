//! Where the rows of a table's snapshot come from: found without reading any of them.

mod dated;

use std::io::Read;

use chrono::NaiveDate;

#[cfg(feature = "databases")]
use self::dated::WrittenRelation;
pub(super) use self::dated::{WrittenSource, is_dated};
use super::Workspace;
use crate::config::TableConfig;
#[cfg(feature = "databases")]
use crate::config::with_defaults;
use crate::error::{Error, Kind, Result};
use crate::model::TableName;
#[cfg(feature = "databases")]
use crate::source::database::{DatabaseRelation, DatabaseSource, DatabaseUrl, RelationOptions};
use crate::source::{
    self, FileSource, Format, FormatRule, SnapshotSource, StandardInput, is_database,
};

/// The source that is standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// What the command line says of a source; it overrules asof.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenSource {
    /// A path, a glob, the URL of a database, or `-`.
    pub place: Option<String>,
    /// The format of files.
    pub format: Option<Format>,
    /// The table of a database.
    pub table: Option<String>,
    /// The query of a database.
    pub query: Option<String>,
    /// Whether the calling program holds the rows, and `place` is but a name for them.
    pub is_rows: bool,
}

impl GivenSource {
    /// Refuses what is for databases only, for another source. What asof.toml says of its own
    /// source does not count for one that is given.
    fn check_files(&self, config: &TableConfig, written: &str) -> Result<()> {
        let given = [("--source-table", &self.table), ("--query", &self.query)];
        let configured = [
            ("'source_table'", &config.source_table),
            ("'query'", &config.query),
        ];
        let configured = configured.iter().filter(|_| self.place.is_none());
        let mut of_databases = given.iter().chain(configured);
        match of_databases.find(|(_, told)| told.is_some()) {
            None => Ok(()),
            Some((option, _)) => Err(Error::usage(format!(
                "{option} applies to databases only; '{written}' is not a database"
            ))
            .hint(format!("leave out {option}"))),
        }
    }

    /// Refuses what is for files only, for a database.
    fn check_database(&self, written: &str) -> Result<()> {
        match self.format {
            None => Ok(()),
            Some(_) => Err(Error::usage(format!(
                "--source-format applies to files only; '{written}' is a database"
            ))
            .hint("leave out --source-format")),
        }
    }
}

/// Finds a table's source on a date, the one that is `given` or that of asof.toml.
pub(super) fn find_source<'s>(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    given: &GivenSource,
    stdin: &'s mut dyn Read,
) -> Result<Box<dyn SnapshotSource + 's>> {
    let Some(source) = WrittenSource::of(workspace, name, date, given)? else {
        return Err(Error::usage(format!("table {name} has no source"))
            .hint(format!("asof snapshot {name} --source FILE")));
    };
    let within = |error: Error| error.within(format!("table {name}, {date}"));
    if is_database(&source.expanded) {
        given.check_database(&source.written)?;
        return database(workspace, (name, date), given, source).map_err(within);
    }
    let config = workspace.table_config(name);
    let checked = given.check_files(&config, &source.written);
    checked.map_err(within)?;
    let declared = given.format.or(config.source_format);
    let rule = FormatRule {
        declared,
        option: "--source-format parquet|csv|tsv|ndjson|arrow|avro".to_owned(),
    };
    if source.is_standard_input() {
        let format = declared.ok_or_else(|| {
            Error::usage("the format of standard input is unknown").hint(rule.option)
        })?;
        return Ok(Box::new(StandardInput::new(stdin, format)));
    }
    let place = source.location(workspace)?;
    let objects = source::files_of(&place).map_err(|error| match error.kind() {
        Kind::Io => within(source.with_dates(workspace, date, error)),
        _ => within(error),
    })?;
    Ok(Box::new(FileSource {
        format: rule.of(&objects).map_err(within)?,
        of_date: source.of_date(),
        name: source.written,
        objects,
    }))
}

/// Checks what asof.toml says of a table's source, and opens nothing.
///
/// # Errors
/// A usage error for a URL, a variable or an option that is wrong.
pub(super) fn check_source(workspace: &Workspace<'_>, name: &TableName) -> Result<()> {
    let config = workspace.table_config(name);
    let given = GivenSource::default();
    let today = workspace.clock.today();
    let Some(source) = WrittenSource::of(workspace, name, today, &given)? else {
        return Ok(());
    };
    if is_database(&source.expanded) {
        return database_url(workspace, &given, &source).map(|_| ());
    }
    given.check_files(&config, &source.written)?;
    if source.is_standard_input() {
        return Ok(());
    }
    source.location(workspace).map(|_| ())
}

/// The database server that a table of asof.toml is read from, as a name that is the same for all
/// of its tables; nothing of files and SQLite, and of a URL that is wrong.
#[cfg(feature = "databases")]
pub(super) fn server(workspace: &Workspace<'_>, name: &TableName) -> Option<String> {
    let written = workspace.table_config(name).source?;
    let expanded = workspace.configured_url(&written).ok()?;
    let url = is_database(&expanded).then(|| DatabaseUrl::parse(&expanded, &workspace.config.base));
    url?.ok()?.server(workspace.environment())
}

#[cfg(not(feature = "databases"))]
pub(super) fn server(_: &Workspace<'_>, _: &TableName) -> Option<String> {
    None
}

/// The URL of a database, of which nothing is opened.
#[cfg(feature = "databases")]
fn database_url(
    workspace: &Workspace<'_>,
    given: &GivenSource,
    source: &WrittenSource,
) -> Result<DatabaseUrl> {
    let folder = match given.place {
        Some(_) => &workspace.folder,
        None => &workspace.config.base,
    };
    let url = DatabaseUrl::parse(&source.expanded, folder)?;
    let written = &source.written;
    let seen = with_defaults(written);
    if is_database(&seen) && DatabaseUrl::tells_a_password(&seen) {
        let what = format!("'{written}' holds a password, which would be printed and recorded");
        return Err(Error::usage(what).hint(url.password_hint()));
    }
    Ok(url)
}

/// A table or query of a database on a date.
#[cfg(feature = "databases")]
fn database<'s>(
    workspace: &Workspace<'_>,
    (name, date): (&TableName, NaiveDate),
    given: &GivenSource,
    source: WrittenSource,
) -> Result<Box<dyn SnapshotSource + 's>> {
    let url = database_url(workspace, given, &source)?;
    if let Err(error) = url.check_file() {
        let error = error.within(format!("'{}'", source.written));
        return Err(source.with_dates(workspace, date, error));
    }
    Ok(Box::new(DatabaseSource {
        url,
        of_date: source.of_date(),
        name: source.written,
        relation: match source.relation {
            Some(WrittenRelation::Query(query)) => DatabaseRelation::Query(query),
            Some(WrittenRelation::Table(table)) => DatabaseRelation::Table(table),
            None => DatabaseRelation::Table(name.to_string()),
        },
        options: RelationOptions {
            other: "--source-table NAME, or --query 'SELECT ...'",
            query: "--query",
        },
        variables: workspace.environment().clone(),
    }))
}

#[cfg(not(feature = "databases"))]
fn database_url(_: &Workspace<'_>, _: &GivenSource, source: &WrittenSource) -> Result<()> {
    let written = &source.written;
    let what = format!("'{written}' is a database, and this asof was built without databases");
    Err(Error::usage(what).hint("cargo install asof --features databases"))
}

#[cfg(not(feature = "databases"))]
fn database<'s>(
    workspace: &Workspace<'_>,
    _: (&TableName, NaiveDate),
    given: &GivenSource,
    source: WrittenSource,
) -> Result<Box<dyn SnapshotSource + 's>> {
    database_url(workspace, given, &source)?;
    Err(Error::internal("a database cannot be read"))
}
