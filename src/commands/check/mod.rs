//! `asof check`: what is understood of a source, without writing anything.
//!
//! What is read: the files of a table's source, of the latest copy of an external table, or of the
//! latest date of events; all of their rows, once. Of text the types of all rows decide, so a
//! sample would not tell what a snapshot does. The last snapshot in the lake is opened for its
//! types, and not read.
//!
//! What `snapshot` would refuse is found by the same code: files that cannot be read, values that
//! are not of their column's type, types that are not a safe widening, nulls in the key and
//! duplicate keys. Guards are not asked: `snapshot --dry-run` asks them.
//!
//! Memory: a batch, and the keys of all rows in a sorter of a bounded size.
//!
//! Without a name, the whole of asof.toml is checked: [`project`].

mod examine;
pub mod project;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;
use serde::Serialize;
use std::io::Read;
use std::path::Path;

use self::examine::{examine, missing_key_columns};
use super::Workspace;
use super::backfill::{EventDates, EventsPlace, configured_events};
use super::lookup::unconfigured;
use super::snapshot::keep_names;
use super::sources::{GivenSource, WrittenSource, find_source};
use crate::domain::dedup::Dedup;
use crate::domain::layout::Layout;
use crate::engine::dated::Dated;
use crate::engine::pins::pins;
use crate::engine::table::SnapshotTable;
use crate::error::{Context, Error, Result};
use crate::model::{DateRange, TableName};
use crate::source::{
    self, Dialect, Format, FormatRule, LayoutColumns, ReadAs, SnapshotSource, SourceRows, TypeRules,
};
use crate::storage::Batches;
use crate::storage::lake::LakeRoot;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions;

/// How many rows are shown.
const SHOWN: usize = 3;

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// A table, events, or a file in place of a table.
    pub name: String,
    /// The date of an external table's copy, of events, or of a source that has a state for each
    /// date; by default the latest.
    pub date: Option<NaiveDate>,
    /// Where the rows are, if not where the configuration says.
    pub source: GivenSource,
    /// The key columns, if not those of the configuration or of the last snapshot.
    pub key: Vec<String>,
    /// Which row of a key counts, if not what the configuration says.
    pub dedup: Option<Dedup>,
}

/// What tells the type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeOrigin {
    /// The command line or asof.toml.
    Declared,
    /// The last snapshot that had values in it.
    Pinned,
    /// The last snapshot, whose type was widened to hold all values.
    Widened,
    /// The values.
    Inferred,
    /// The file.
    File,
    /// The database.
    Database,
    /// The name of a folder.
    Folder,
}

/// A column as it is understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedColumn {
    /// Its name.
    pub name: String,
    /// The name of its type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// What tells the type.
    pub type_from: TypeOrigin,
    /// Whether it belongs to the key.
    pub key: bool,
    /// In how many rows it is null.
    pub nulls: u64,
}

/// What is understood of a source.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The table or the events.
    pub name: String,
    /// `table` or `events`.
    pub kind: &'static str,
    /// Where the rows are from.
    pub source: String,
    /// The date of the copy, the events or the source's state that were read; none of a source that
    /// has the present state alone.
    pub date: Option<NaiveDate>,
    /// How many files were read.
    pub files: u64,
    /// The first of them; none of standard input.
    pub first_file: Option<String>,
    /// Their size.
    pub bytes: u64,
    /// Their format; none of a source that is not made of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// What is declared of how CSV is written.
    #[serde(skip_serializing_if = "Dialect::is_default")]
    pub csv: Dialect,
    /// How the files of text are written, each way once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_as: Vec<ReadAs>,
    /// The key columns; none of events.
    pub key: Vec<String>,
    /// The columns.
    pub columns: Vec<CheckedColumn>,
    /// How many rows there are: those that were read, without those that a rule drops.
    pub rows: u64,
    /// How many rows `dedup` drops; nothing without such a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_rows: Option<u64>,
    /// The first rows as text; null is none.
    pub first_rows: Vec<Vec<Option<String>>>,
    /// What may not be as it is meant, and what to declare.
    pub notes: Vec<String>,
    /// Why a snapshot would be refused.
    pub problems: Vec<Error>,
}

/// A source whose rows have not been read.
struct Opened {
    source: String,
    date: Option<NaiveDate>,
    files: Vec<Object>,
    is_standard_input: bool,
    format: Option<Format>,
    rules: TypeRules,
    rows: SourceRows,
    /// Nothing of events.
    table: Option<SnapshotTable>,
}

impl Opened {
    /// The rows; a source is read once, so there are none the second time.
    fn take_rows(&mut self) -> SourceRows {
        let read: Batches = Box::new(std::iter::empty());
        SourceRows {
            schema: self.rows.schema.clone(),
            batches: std::mem::replace(&mut self.rows.batches, read),
            count: self.rows.count,
        }
    }

    /// The rows of files, which belong to one date or to none.
    fn of_files(
        source: String,
        date: Option<NaiveDate>,
        files: Vec<Object>,
        format: Format,
        rules: TypeRules,
    ) -> Result<Self> {
        let rows = source::read(&files, format, &rules, None)?;
        Ok(Opened {
            source,
            date,
            files,
            is_standard_input: false,
            format: Some(format),
            rules,
            rows,
            table: None,
        })
    }
}

/// Reads a source, and says how it is understood.
///
/// # Errors
/// A usage error for a name that is neither a table nor events; a failure or refusal of reading.
pub fn check(
    workspace: &Workspace<'_>,
    options: &CheckOptions,
    stdin: &mut dyn Read,
) -> Result<CheckReport> {
    let of_file = named_file(workspace, options)?;
    let options = of_file.as_ref().unwrap_or(options);
    let is_events = workspace.config.events.contains_key(&options.name);
    let is_table = workspace.config.tables.contains_key(&options.name);
    let is_job = workspace.config.jobs.contains_key(&options.name);
    if is_job && !is_events && !is_table && options.source.place.is_none() {
        let name = &options.name;
        return Err(
            Error::usage(format!("'{name}' is a job, and has no source"))
                .hint(format!("asof check --connect {name}, to plan it")),
        );
    }
    let of_tables = [
        ("--key", !options.key.is_empty()),
        ("--dedup", options.dedup.is_some()),
        ("--source-table", options.source.table.is_some()),
        ("--query", options.source.query.is_some()),
    ];
    if let Some((option, _)) = of_tables
        .iter()
        .find(|(_, is_given)| is_events && *is_given)
    {
        return Err(Error::usage(format!(
            "{option} applies to tables only; {} are events",
            options.name
        )));
    }
    let opened = match (&options.source.place, is_events) {
        (Some(source), true) => events_in(workspace, options, source)?,
        (None, true) => events(workspace, options)?,
        (_, false) => return check_table(workspace, options, stdin),
    };
    examine(workspace, options, opened)
}

/// The options for a file that is named in place of a table: the table is called as the file is.
fn named_file(workspace: &Workspace<'_>, options: &CheckOptions) -> Result<Option<CheckOptions>> {
    let file = Path::new(&options.name);
    if options.source.place.is_some() || file.extension().is_none() {
        return Ok(None);
    }
    let place = workspace.here(&options.name)?;
    // No name of a table has a slash.
    if !options.name.contains('/') && !place.as_local().is_some_and(Path::is_file) {
        return Ok(None);
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.split('.').next().unwrap_or_default();
    let name = match name.parse::<TableName>() {
        Ok(name) => name.to_string(),
        Err(_) => "source".to_owned(),
    };
    Ok(Some(CheckOptions {
        name,
        source: GivenSource {
            place: Some(options.name.clone()),
            ..options.source.clone()
        },
        ..options.clone()
    }))
}

/// Reads a table's source or the latest copy of an external table.
fn check_table(
    workspace: &Workspace<'_>,
    options: &CheckOptions,
    stdin: &mut dyn Read,
) -> Result<CheckReport> {
    let place = &options.source.place;
    let name = match place {
        Some(_) => options.name.parse()?,
        None => workspace.known(&options.name)?,
    };
    if let (None, Some(root)) = (place, &workspace.table_config(&name).snapshots) {
        return examine(workspace, options, copies(workspace, &name, root, options)?);
    }
    let as_check =
        |error: Error| error.with_hints(|hint| hint.replace("asof snapshot", "asof check"));
    let date = date_of_source(workspace, &name, options).map_err(as_check)?;
    let mut source = source_on(workspace, &name, date, options, stdin).map_err(as_check)?;
    let opened = table(workspace, &name, date, options, source.as_mut())?;
    examine(workspace, options, opened)
}

/// The date whose state of a table's source is read: the one that is asked for, or the latest that
/// there is; none of a source that has the present state.
fn date_of_source(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &CheckOptions,
) -> Result<Option<NaiveDate>> {
    let today = workspace.clock.today();
    let source = WrittenSource::of(workspace, name, today, &options.source)?;
    let Some(source) = source.filter(|source| source.of_date().is_some()) else {
        return refuse_date(options).map(|()| None);
    };
    let latest = || source.latest_date(workspace, today).unwrap_or(today);
    Ok(Some(options.date.unwrap_or_else(latest)))
}

/// A table's source on a date; the present state if there is none.
fn source_on<'s>(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: Option<NaiveDate>,
    options: &CheckOptions,
    stdin: &'s mut dyn Read,
) -> Result<Box<dyn SnapshotSource + 's>> {
    let today = workspace.clock.today();
    let found = find_source(
        workspace,
        name,
        date.unwrap_or(today),
        &options.source,
        stdin,
    );
    // The date of a snapshot is none of a source that has no dates.
    let dated = format!("table {name}, {today}: ");
    let without_date = |text: String| text.replacen(&dated, &format!("table {name}: "), 1);
    match date {
        Some(_) => found,
        None => found.map_err(|error| error.reworded(without_date)),
    }
}

/// Refuses a date where there is one state, the present one.
fn refuse_date(options: &CheckOptions) -> Result<()> {
    match options.date {
        Some(_) => Err(Error::usage(
            "--date applies to events, external tables, and sources with {date} only",
        )
        .hint("leave out --date")),
        None => Ok(()),
    }
}

/// A table with the rule for duplicate keys that the command line gives, if it gives one.
fn with_rule(table: SnapshotTable, options: &CheckOptions) -> SnapshotTable {
    let dedup_is_given = options.dedup.is_some() || !options.key.is_empty();
    SnapshotTable {
        dedup_is_given,
        dedup: options.dedup.clone().or(table.dedup),
        ..table
    }
}

/// The table whose source is read. It needs no lake: without one, there is no last snapshot.
fn source_table(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &CheckOptions,
) -> Result<SnapshotTable> {
    if workspace.has_lake() || workspace.table_config(name).snapshots.is_some() {
        return workspace.table_with_any_key(name, &options.key);
    }
    let key = match options.key.as_slice() {
        [] => workspace.table_config(name).key,
        given => given.to_vec(),
    };
    let here = workspace.here(".")?;
    Ok(unconfigured(name.clone(), key, here, LakeRoot::layout()?))
}

/// The types of a table's columns in its last snapshot; none without one.
fn pinned_by(table: &SnapshotTable, last: Option<(NaiveDate, Vec<Object>)>) -> Result<SchemaRef> {
    match last {
        Some((date, objects)) => pins(table, &table.open(date, &objects, None)?),
        None => Ok(SchemaRef::new(Schema::empty())),
    }
}

/// A table's source, on a date if it has a state for each. Its text is read in the types of the
/// last snapshot.
fn table(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: Option<NaiveDate>,
    options: &CheckOptions,
    source: &mut dyn SnapshotSource,
) -> Result<Opened> {
    let table = with_rule(source_table(workspace, name, options)?, options);
    let label = date.unwrap_or_else(|| workspace.clock.today());
    let last = if table.own {
        table.find_latest(label)?.pop_last()
    } else {
        None
    };
    let pinned = pinned_by(&table, last)?;
    let rules = TypeRules {
        pinned: Some(pinned.clone()),
        ..workspace.table_types(name)?
    };
    let rows = source
        .read(&rules)
        .map_err(|error| error.within(format!("table {name}")))?;
    let (rows, _) = keep_names(Some(&pinned), rows);
    let files = source.files();
    Ok(Opened {
        source: source.name().to_owned(),
        date,
        files: files.map_or_else(Vec::new, |files| files.objects.to_vec()),
        is_standard_input: files.is_some_and(|files| files.is_standard_input),
        format: files.map(|files| files.format),
        rules,
        rows,
        table: Some(table),
    })
}

/// The latest copy of an external table.
fn copies(
    workspace: &Workspace<'_>,
    name: &TableName,
    root: &str,
    options: &CheckOptions,
) -> Result<Opened> {
    let mut table = with_rule(workspace.table_with_any_key(name, &options.key)?, options);
    if let Some(format) = options.source.format {
        table.format.declared = Some(format);
    }
    let opened = match table.dated.take() {
        Some(dated) => of_column(&dated, root, options)?,
        None => {
            let (date, files) = latest_copy(workspace, &table, options)?;
            let layout = LayoutColumns::of_table(&table.layout);
            let rules = TypeRules {
                external: true,
                layout,
                ..table.types.clone()
            };
            let at = |error: Error| error.within(format!("table {name}, {date}"));
            let format = table.format_of(&files).map_err(at)?;
            Opened::of_files(root.to_owned(), Some(date), files, format, rules).map_err(at)?
        }
    };
    Ok(Opened {
        table: Some(table),
        ..opened
    })
}

/// The events of a section of asof.toml, of one date.
fn events(workspace: &Workspace<'_>, options: &CheckOptions) -> Result<Opened> {
    let mut place = configured_events(workspace, &options.name)?;
    place.format.declared = options.source.format.or(place.format.declared);
    let root = workspace.shown(&place.root);
    match place.dates {
        EventDates::Layout(ref layout) => {
            let (date, files) = latest_events(workspace, &place, layout, options)?;
            let rules = TypeRules {
                layout: LayoutColumns::of_events(layout),
                ..place.types
            };
            let at = |error: Error| error.within(format!("events {}, {date}", place.name));
            let format = place.format.of(&files).map_err(at)?;
            Opened::of_files(root, Some(date), files, format, rules).map_err(at)
        }
        EventDates::Column(ref dates) => {
            of_column(&place.dated_by(workspace, dates.clone()), &root, options)
        }
    }
}

/// Events that the command line places, read as asof.toml says of events of this name.
fn events_in(workspace: &Workspace<'_>, options: &CheckOptions, source: &str) -> Result<Opened> {
    refuse_date(options)?;
    let config = workspace.config.events.get(&options.name);
    let rules = workspace.event_types(&options.name, config)?;
    let at = |error: Error| error.within(format!("events {}", options.name));
    let files = source::files_of(&workspace.here(source)?).map_err(at)?;
    let declared = options
        .source
        .format
        .or(config.and_then(|config| config.format));
    let rule = FormatRule {
        declared,
        option: "--source-format parquet|csv|tsv|ndjson|arrow|avro".to_owned(),
    };
    let format = rule.of(&files).map_err(at)?;
    Opened::of_files(source.to_owned(), None, files, format, rules).map_err(at)
}

/// The rows of one date, which a column tells.
fn of_column(dated: &Dated, root: &str, options: &CheckOptions) -> Result<Opened> {
    let mut survey = dated.survey(options.date.map(DateRange::single))?;
    let Some(date) = survey.dates.keys().next_back().copied() else {
        return Err(no_rows(&dated.place, options.date));
    };
    survey.range = Some(DateRange::single(date));
    let format = dated.format.of(&survey.files)?;
    let SourceRows {
        schema,
        batches,
        count,
    } = dated.rows(&survey)?;
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let project = move |batch: Result<RecordBatch>| {
        batch?
            .project(&columns)
            .io_context(|| "cannot select columns".into())
    };
    let batches: Batches = Box::new(batches.map(project));
    Ok(Opened {
        source: root.to_owned(),
        date: Some(date),
        files: survey.files,
        is_standard_input: false,
        format: Some(format),
        rules: dated.types.clone(),
        rows: SourceRows {
            schema,
            batches,
            count,
        },
        table: None,
    })
}

/// The copy of an external table of the date that is asked for, or the latest one.
fn latest_copy(
    workspace: &Workspace<'_>,
    table: &SnapshotTable,
    options: &CheckOptions,
) -> Result<(NaiveDate, Vec<Object>)> {
    let what = format!("table {}", table.name);
    let find = |range| table.find(range);
    latest(
        workspace,
        options,
        (&table.root, &table.layout),
        &what,
        find,
    )
}

/// The files of events of the date that is asked for, or of the latest one.
fn latest_events(
    workspace: &Workspace<'_>,
    place: &EventsPlace,
    layout: &Layout,
    options: &CheckOptions,
) -> Result<(NaiveDate, Vec<Object>)> {
    let what = format!("events {}", place.name);
    let find = |range| partitions::find(&place.root, layout, range);
    latest(workspace, options, (&place.root, layout), &what, find)
}

/// The files of the date that is asked for, or of the latest one.
fn latest(
    workspace: &Workspace<'_>,
    options: &CheckOptions,
    (root, layout): (&Location, &Layout),
    what: &str,
    find: impl Fn(Option<DateRange>) -> Result<partitions::Found>,
) -> Result<(NaiveDate, Vec<Object>)> {
    let today = workspace.clock.today();
    let found = match options.date {
        Some(date) => find(Some(DateRange::single(date))).map(|found| found.partitions),
        None => partitions::find_latest(today, find),
    };
    let found = found.map_err(|error| error.within(what))?.pop_last();
    found.ok_or_else(|| match options.date {
        Some(_) => no_rows(what, options.date),
        None => Error::refused(format!(
            "{what}: '{}' has no path of a date up to {today} in the layout '{layout}'",
            workspace.shown(root)
        ))
        .hint("correct the path or the layout in asof.toml"),
    })
}

/// The refusal of a place that has no rows of a date, or none at all.
fn no_rows(what: &str, date: Option<NaiveDate>) -> Error {
    match date {
        Some(date) => Error::refused(format!("{what}: there are no rows of {date}"))
            .hint("leave out --date, to read the latest date"),
        None => Error::refused(format!("{what}: there are no rows")),
    }
}
