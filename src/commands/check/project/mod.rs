//! `asof check` of the whole of asof.toml: of its settings, or, with `--connect`, of what they lead
//! to.
//!
//! **Settings.** The parser has refused unknown settings and values already. What is left is what
//! asof.toml alone tells: layouts, URLs, variables, and the SQL of jobs as SQL. Nothing is opened.
//!
//! **Connected.** Each part is looked at, and a failure of one stops no other:
//!
//! | part | what is read | what is checked |
//! | --- | --- | --- |
//! | the lake | its folders | that it is one, or may become one |
//! | a table with a source | the columns: of the first files, of the first rows of text, or of the description of a database's query | keys, `dedup`, `types`, guards, `where` and `select` against them; the types of the last snapshot |
//! | an external table | the columns of the latest copy | that the layout matches a copy; the same |
//! | events | the columns of the latest date | that the layout matches a date; `types` |
//! | a job | what planning it takes (`plan_job`) | that the query or join can be planned |
//!
//! What only all rows tell is not found: duplicate keys, or a value that is not of its column's
//! type. `asof check TABLE` reads them.
//!
//! **Time.** A database has the time that its URL gives it to connect, 30 seconds by default, for
//! all that it is asked. An object store has that of its options. Parts are looked at in parallel,
//! those of one database server no more than `[limits] max_connections` at a time.
//!
//! **Nothing is written.** Text is set aside in unnamed temporary files, as it is by every reader.
//! So whether the lake may be written to is not found out.

mod parts;
mod report;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use arrow::datatypes::SchemaRef;

use self::parts::{FoundPart, look_at_events, look_at_table};
pub use self::report::{CheckState, CheckedPart, NotChecked, ProjectPart, ProjectReport};
use self::settings::check_settings;
use crate::commands::Workspace;
use crate::commands::backfill::{JobPlan, plan_job};
use crate::commands::queue::{STACK, for_each_table, tables_at_a_time};
use crate::commands::sources::server;
use crate::error::{Error, Result};
use crate::model::TableName;

/// What the command line asks of a check of asof.toml.
#[derive(Clone, Debug, Default)]
pub struct ProjectCheckOptions {
    /// Whether what the settings lead to is looked at.
    pub connect: bool,
    /// The one table, events or job that is looked at; all parts if none is named.
    pub name: Option<String>,
}

/// A part that is looked at, by name.
type PartName = (ProjectPart, String);

/// Checks asof.toml.
///
/// # Errors
/// A usage error if there is no asof.toml, or if it has nothing of the name. All else is in the
/// report.
pub fn check_project(
    workspace: &Workspace<'_>,
    options: &ProjectCheckOptions,
) -> Result<ProjectReport> {
    let Some(file) = &workspace.config.file else {
        return Err(
            Error::usage("there is no asof.toml here, or in a folder above")
                .hint("asof init, to write one")
                .hint("asof check FILE, to see how asof reads a file"),
        );
    };
    let parts = parts_of(workspace, options)?;
    let checked = if options.connect {
        connect(workspace, &parts)
    } else {
        let checked = parts.iter().map(|part| check_settings(workspace, part));
        checked.collect()
    };
    let config = file.strip_prefix(&workspace.folder).unwrap_or(file);
    Ok(ProjectReport {
        config: Some(config.display().to_string()),
        connected: options.connect,
        parts: checked,
    })
}

/// The parts that are asked for, in the order of the report.
fn parts_of(workspace: &Workspace<'_>, options: &ProjectCheckOptions) -> Result<Vec<PartName>> {
    let config = &workspace.config;
    let tables = config.tables.keys().map(|name| (ProjectPart::Table, name));
    let events = config.events.keys().map(|name| (ProjectPart::Events, name));
    let jobs = config.jobs.keys().map(|name| (ProjectPart::Job, name));
    let named: Vec<PartName> = tables
        .chain(events)
        .chain(jobs)
        .map(|(part, name)| (part, name.clone()))
        .collect();
    let Some(name) = &options.name else {
        let lake = (ProjectPart::Lake, String::new());
        return Ok([lake].into_iter().chain(named).collect());
    };
    let is_it = |part: &&PartName| part.1 == *name;
    let found: Vec<PartName> = named.iter().filter(is_it).cloned().collect();
    if found.is_empty() {
        let names: Vec<&str> = named.iter().map(|(_, name)| name.as_str()).collect();
        let error = Error::usage(format!("asof.toml has no table, events or job '{name}'"));
        return Err(
            error.hint_nearest(name, names.iter().copied(), || match names.as_slice() {
                [] => format!("[tables.{name}] in asof.toml"),
                names => format!("it has {}", names.join(", ")),
            }),
        );
    }
    Ok(found)
}

/// Looks at parts and what they lead to.
fn connect(workspace: &Workspace<'_>, parts: &[PartName]) -> Vec<CheckedPart> {
    workspace.progress.step("check", 0, parts.len() as u64);
    let looking = workspace.part_for_columns(1, workspace.progress);
    let lake = look_at_lake(&looking);
    let of_part = |wanted: &[ProjectPart]| -> Vec<PartName> {
        let parts = parts.iter().filter(|(part, _)| wanted.contains(part));
        parts.cloned().collect()
    };
    // The lake is asked once: a store that does not answer is not waited for again.
    let mut jobs = JobsToPlan {
        workspace: &looking,
        has_lake: !lake.has_failed() && looking.has_lake(),
        lake_failed: lake.has_failed(),
        columns: BTreeMap::new(),
        failed_events: BTreeSet::new(),
    };
    let mut checked: Vec<CheckedPart> = Vec::new();
    if !of_part(&[ProjectPart::Lake]).is_empty() {
        checked.push(lake);
    }
    let sources = of_part(&[ProjectPart::Table, ProjectPart::Events]);
    for FoundPart { part, schema } in look_at_all(&looking, &sources, jobs.has_lake) {
        if part.part == ProjectPart::Table {
            jobs.columns.insert(part.name.clone(), schema);
        } else if part.has_failed() {
            jobs.failed_events.insert(part.name.clone());
        }
        checked.push(part);
    }
    let names = of_part(&[ProjectPart::Job]);
    checked.extend(jobs.plan_all(&names));
    checked
}

/// Jobs, and what was found of the tables and events that they may read.
struct JobsToPlan<'a> {
    workspace: &'a Workspace<'a>,
    has_lake: bool,
    lake_failed: bool,
    /// The columns of the tables that were looked at; nothing of those that failed.
    columns: BTreeMap<String, Option<SchemaRef>>,
    failed_events: BTreeSet<String>,
}

impl JobsToPlan<'_> {
    /// Plans jobs, one after the other, on a thread with a stack that is large enough.
    fn plan_all(&self, names: &[PartName]) -> Vec<CheckedPart> {
        let plan = || names.iter().map(|(_, name)| self.plan(name)).collect();
        thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(STACK);
            let planned = thread.spawn_scoped(scope, plan).map(|thread| thread.join());
            match planned {
                Ok(Ok(planned)) => planned,
                _ => {
                    let failed = |(part, name): &PartName| {
                        let error = Error::internal("the thread that plans jobs ended early");
                        CheckedPart::new(*part, name.clone()).with_problems([error])
                    };
                    names.iter().map(failed).collect()
                }
            }
        })
    }

    fn plan(&self, name: &str) -> CheckedPart {
        let part = CheckedPart::new(ProjectPart::Job, name);
        if self.lake_failed {
            return part.skipped(NotChecked::NeedsFailed("the lake".to_owned()));
        }
        let columns_of = |table: &TableName| self.columns_of(table);
        match plan_job(self.workspace, name, &self.failed_events, &columns_of) {
            Ok(JobPlan::OnDate(date)) => CheckedPart {
                date: Some(date),
                ..part
            },
            Ok(JobPlan::ByColumns(why)) => CheckedPart {
                notes: vec![format!("job {name}: no date can be run yet: {why}")],
                ..part
            },
            Ok(JobPlan::Without(what)) => part.skipped(NotChecked::NeedsFailed(what)),
            Err(error) => part.with_problems([error]),
        }
    }

    /// The columns of a table's source. A job that is looked at alone has tables that were not.
    fn columns_of(&self, table: &TableName) -> Option<SchemaRef> {
        match self.columns.get(table.as_str()) {
            Some(columns) => columns.clone(),
            None if self.workspace.config.tables.contains_key(table.as_str()) => {
                look_at_table(self.workspace, table.as_str(), self.has_lake).schema
            }
            None => None,
        }
    }
}

/// Lists the lake.
fn look_at_lake(workspace: &Workspace<'_>) -> CheckedPart {
    let name = workspace.lake_in_words().unwrap_or_default();
    let lake = CheckedPart::new(ProjectPart::Lake, name);
    let mut tables = workspace.config.tables.values();
    let is_copied = tables.any(|table| table.source.is_some() && table.snapshots.is_none());
    if !workspace.has_lake() && !is_copied {
        return lake.skipped(NotChecked::NoPath);
    }
    match workspace.lake().and_then(|lake| lake.tables()) {
        Ok(tables) if tables.is_empty() => CheckedPart {
            notes: vec!["the lake is empty: asof snapshot takes the first copies".to_owned()],
            ..lake
        },
        Ok(_) => lake,
        Err(error) => lake.with_problems([error]),
    }
}

/// Looks at tables and events, several at a time, and returns what was found in their order.
fn look_at_all(workspace: &Workspace<'_>, parts: &[PartName], has_lake: bool) -> Vec<FoundPart> {
    let server_of = |(part, name): &PartName| {
        let table = (*part == ProjectPart::Table).then(|| name.parse().ok());
        server(workspace, &table.flatten()?)
    };
    let servers = parts.iter().map(server_of).collect();
    let look = |number: usize| {
        let (part, name) = &parts[number];
        match part {
            ProjectPart::Table => look_at_table(workspace, name, has_lake),
            _ => look_at_events(workspace, name),
        }
    };
    let threads = tables_at_a_time(parts.len());
    let found = for_each_table(workspace, "check", servers, threads, look);
    let found = found.into_iter().zip(parts);
    found
        .map(|(found, (part, name))| {
            found.unwrap_or_else(|| FoundPart {
                part: CheckedPart::new(*part, name.clone())
                    .with_problems([Error::internal("its thread ended early")]),
                schema: None,
            })
        })
        .collect()
}
