//! Looking at the columns of tables and events, and checking the settings against them.

use std::io;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::{CheckedPart, NotChecked, ProjectPart};
use crate::commands::Workspace;
use crate::commands::backfill::{EventDates, configured_events};
use crate::commands::check::{
    CheckOptions, date_of_source, latest_copy, latest_events, missing_key_columns, no_rows,
    pinned_by, source_on,
};
use crate::commands::lookup::unconfigured;
use crate::commands::shown_columns::shown_columns;
use crate::commands::snapshot::keep_names;
use crate::commands::sources::STANDARD_INPUT;
use crate::domain::missing_column::names_missing_column;
use crate::domain::schema::unify;
use crate::engine::column_guards::{ColumnCounter, SnapshotTime};
use crate::engine::dated::Dated;
use crate::engine::selection::Selection;
use crate::engine::table::{SnapshotTable, dedup};
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::{self, HEAD_FILES, LayoutColumns, TypeRules};
use crate::storage::lake::LakeRoot;
use crate::storage::lake::location::Object;

/// A part that was looked at, with the columns that were found.
pub(super) struct FoundPart {
    pub(super) part: CheckedPart,
    pub(super) schema: Option<SchemaRef>,
}

/// The columns of a part, and where they are from.
struct FoundColumns {
    schema: SchemaRef,
    /// The types that the table had before; nothing of external tables and of events.
    pinned: SchemaRef,
    /// Nothing of a source with the present state alone.
    date: Option<NaiveDate>,
    /// How many files there are; nothing of a database.
    files: Option<u64>,
    notes: Vec<String>,
}

impl FoundColumns {
    fn of_files(schema: SchemaRef, date: Option<NaiveDate>, files: &[Object]) -> Self {
        FoundColumns {
            schema,
            pinned: SchemaRef::new(Schema::empty()),
            date,
            files: Some(files.len() as u64),
            notes: Vec::new(),
        }
    }

    /// Every column that the table has, or had before.
    fn known(&self) -> SchemaRef {
        let is_gone = |field: &&std::sync::Arc<Field>| self.schema.index_of(field.name()).is_err();
        let gone = self.pinned.fields().iter().filter(is_gone);
        let fields = self.schema.fields().iter().chain(gone).cloned();
        SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The columns, with the types that they had before where only values tell.
    fn typed(&self) -> SchemaRef {
        let fields = self.schema.fields().iter().map(|field| {
            let pinned = self.pinned.field_with_name(field.name());
            match (field.data_type(), pinned) {
                (DataType::Null, Ok(pinned)) => pinned.clone(),
                _ => field.as_ref().clone(),
            }
        });
        SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Adds what was found to a part.
    fn added_to(self, part: CheckedPart, key: Vec<String>, problems: Vec<Error>) -> FoundPart {
        let schema = self.typed();
        let what = format!("{} {}", part.part.in_words(), part.name);
        let mut notes = self.notes;
        if let Some(files) = self.files.filter(|files| *files > HEAD_FILES as u64) {
            notes.push(format!(
                "{what}: the columns are those of the first {HEAD_FILES} of {files} files"
            ));
        }
        let part = CheckedPart {
            date: self.date,
            files: self.files,
            key,
            columns: shown_columns(&schema),
            notes,
            ..part
        };
        FoundPart {
            part: part.with_problems(problems),
            schema: Some(schema),
        }
    }
}

/// Looks at a table of asof.toml. Without a lake nothing is known of earlier snapshots.
pub(super) fn look_at_table(workspace: &Workspace<'_>, name: &str, has_lake: bool) -> FoundPart {
    let part = CheckedPart::new(ProjectPart::Table, name);
    let without_columns = |part: CheckedPart| FoundPart { part, schema: None };
    let name: TableName = match name.parse() {
        Ok(name) => name,
        Err(error) => return without_columns(part.with_problems([error])),
    };
    let config = workspace.table_config(&name);
    let part = CheckedPart {
        source: config.snapshots.clone().or(config.source.clone()),
        key: config.key.clone(),
        ..part
    };
    let found = match (&config.snapshots, config.source.as_deref()) {
        (Some(_), _) => copies(workspace, &name),
        (None, Some(STANDARD_INPUT)) => {
            return without_columns(part.skipped(NotChecked::StandardInput));
        }
        (None, Some(_)) => own(workspace, &name, has_lake),
        (None, None) => return without_columns(part.skipped(NotChecked::NoSource)),
    };
    match found {
        Ok((table, found)) => {
            let problems = problems_of(workspace, &table, &found);
            let notes = names_of_nothing(workspace, &table, &found);
            let found = FoundColumns {
                notes: [found.notes.clone(), notes].concat(),
                ..found
            };
            found.added_to(part, table.key, problems)
        }
        Err(error) => without_columns(part.with_problems([error])),
    }
}

/// A table's source.
fn own(
    workspace: &Workspace<'_>,
    name: &TableName,
    has_lake: bool,
) -> Result<(SnapshotTable, FoundColumns)> {
    let today = workspace.clock.today();
    let options = CheckOptions {
        name: name.to_string(),
        ..CheckOptions::default()
    };
    let date = date_of_source(workspace, name, &options)?;
    let stdin = &mut io::empty();
    let mut source = source_on(workspace, name, date, &options, stdin)?;
    let table = if has_lake {
        workspace.table_with_any_key(name, &[])?
    } else {
        let config = workspace.table_config(name);
        let here = workspace.here(".")?;
        let table = unconfigured(name.clone(), config.key, here, LakeRoot::layout()?);
        SnapshotTable {
            dedup: config.dedup,
            own: true,
            ..table
        }
    };
    let last = match has_lake {
        true => table.find_latest(today)?.pop_last(),
        false => None,
    };
    let pinned = pinned_by(&table, last)?;
    let rules = TypeRules {
        pinned: Some(pinned.clone()),
        ..workspace.table_types(name)?
    };
    let rows = source.read(&rules)?;
    let (rows, _) = keep_names(Some(&pinned), rows);
    let files = source.files().map(|files| files.objects.len() as u64);
    let found = FoundColumns {
        schema: rows.schema,
        pinned,
        date,
        files,
        notes: Vec::new(),
    };
    Ok((table, found))
}

/// The latest copy of an external table.
fn copies(workspace: &Workspace<'_>, name: &TableName) -> Result<(SnapshotTable, FoundColumns)> {
    let mut table = workspace.table_with_any_key(name, &[])?;
    if let Some(dated) = table.dated.take() {
        let found = first_rows(&dated)?;
        return Ok((table, found));
    }
    let what = format!("table {name}");
    let (date, files) = latest_copy(workspace, &table, &CheckOptions::default())?;
    let rules = TypeRules {
        external: true,
        layout: LayoutColumns::of_table(&table.layout),
        ..table.types.clone()
    };
    let at = |error: Error| error.within(format!("{what}, {date}"));
    let format = table.format_of(&files).map_err(at)?;
    let rows = source::read(&files, format, &rules, None).map_err(at)?;
    let found = FoundColumns::of_files(rows.schema, Some(date), &files);
    Ok((table, found))
}

/// The first rows of files that have rows of many dates.
fn first_rows(dated: &Dated) -> Result<FoundColumns> {
    let head = dated.head()?;
    if head.dates.is_empty() {
        return Err(no_rows(&dated.place, None));
    }
    Ok(FoundColumns::of_files(head.schema, None, &head.files))
}

/// Looks at events of asof.toml.
pub(super) fn look_at_events(workspace: &Workspace<'_>, name: &str) -> FoundPart {
    let config = workspace.config.events.get(name);
    let part = CheckedPart {
        source: config
            .map(|config| config.path.clone())
            .filter(|path| !path.is_empty()),
        ..CheckedPart::new(ProjectPart::Events, name)
    };
    if part.source.is_none() {
        let part = part.skipped(NotChecked::NoPath);
        return FoundPart { part, schema: None };
    }
    match columns_of_events(workspace, name) {
        Ok(found) => found.added_to(part, Vec::new(), Vec::new()),
        Err(error) => FoundPart {
            part: part.with_problems([error]),
            schema: None,
        },
    }
}

fn columns_of_events(workspace: &Workspace<'_>, name: &str) -> Result<FoundColumns> {
    let place = configured_events(workspace, name)?;
    let what = format!("events {name}");
    match &place.dates {
        EventDates::Layout(layout) => {
            let (date, files) = latest_events(workspace, &place, layout, &CheckOptions::default())?;
            let rules = TypeRules {
                layout: LayoutColumns::of_events(layout),
                ..place.types.clone()
            };
            let at = |error: Error| error.within(format!("{what}, {date}"));
            let format = place.format.of(&files).map_err(at)?;
            let rows = source::read(&files, format, &rules, None).map_err(at)?;
            Ok(FoundColumns::of_files(rows.schema, Some(date), &files))
        }
        EventDates::Column(dates) => first_rows(&place.dated_by(workspace, dates.clone())),
    }
}

/// What is wrong with the settings of a table, as far as its columns tell.
fn problems_of(
    workspace: &Workspace<'_>,
    table: &SnapshotTable,
    found: &FoundColumns,
) -> Vec<Error> {
    let config = workspace.table_config(&table.name);
    let today = workspace.clock.today();
    let what = format!("table {}", table.name);
    let schema = &found.schema;
    let mut problems = missing_key_columns(table, schema, &what);
    if table.key.is_empty() {
        problems.push(table.key_is_unknown());
    } else if problems.is_empty()
        && let Some(rule) = &table.dedup
    {
        let checked = dedup::check(table, rule, schema, &format!("{what}: the source"));
        problems.extend(checked.err());
    }
    if let Err(clash) = unify(&found.pinned, schema) {
        problems.push(clash.refusal(table.name.as_str(), today));
    }
    let time = SnapshotTime::of(workspace.clock, today, workspace.clock.now());
    let guards = config.guards().map(|guards| guards.columns);
    for guard in guards.unwrap_or_default() {
        let guard = std::slice::from_ref(&guard);
        let memory = workspace.memory;
        let counter = ColumnCounter::new(guard, table, schema, &found.pinned, time, memory);
        problems.extend(counter.err());
    }
    let selection = Selection::new(config.condition, &config.select, &table.key);
    let selected = selection.check(&found.known(), table).err();
    // Not an option of this command.
    let reworded = |error: Error| error.reworded(|text| text.replace("--where ", "where = "));
    problems.extend(selected.map(reworded));
    problems
}

/// Columns that settings name and that the table neither has nor had: they change nothing.
fn names_of_nothing(
    workspace: &Workspace<'_>,
    table: &SnapshotTable,
    found: &FoundColumns,
) -> Vec<String> {
    let config = workspace.table_config(&table.name);
    let known = found.known();
    let of_setting = |setting: &'static str, names: Vec<String>| {
        let missing = names
            .into_iter()
            .filter(|name| known.index_of(name).is_err());
        let names = format!("table {}: '{setting}' names", table.name);
        let told = missing.map(|name| {
            let error = names_missing_column(&names, &name, &known, "the source");
            format!("{error}; {}", error.hints().join("; "))
        });
        told.collect::<Vec<_>>()
    };
    let ignored = of_setting("ignore", config.ignore);
    ignored
        .into_iter()
        .chain(of_setting("track", config.track))
        .collect()
}
