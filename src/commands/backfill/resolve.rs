//! From what the configuration or the command line says of a job to a [`ResolvedJob`]: its work,
//! events and tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[cfg(feature = "sql")]
use chrono::NaiveDate;

use super::events::{EventsPlace, ad_hoc_events, configured_events};
use super::executors::command::{CommandDefinition, CommandWork, variable};
use super::executors::input_files::InputFile;
use super::job::{ResolvedJob, Work, layout_of, object_of};
use super::job_hash::JobHash;
use super::options::{AdHoc, BackfillOptions};
use super::relations::{JobRelation, Reads, RelationFinder, View};
use super::schema::around;
use crate::commands::Workspace;
use crate::commands::compact::settings_of;
use crate::commands::forbidden_places::Destination;
use crate::commands::known_copies::known_history;
use crate::config::JobConfig;
use crate::domain::join::JoinKind;
use crate::engine::as_of::{HistorySettings, RowSource, TableHistory};
use crate::engine::command::{Program, parse_timeout};
use crate::engine::join::JoinSpec;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{DateRange, TableName};
use crate::parallel::decoding_threads;
use crate::storage::lake::location::Location;
use crate::storage::lake::partitions;

/// A job of the configuration, or a usage error with the nearest name.
pub(in crate::commands) fn find_job<'a>(
    workspace: &'a Workspace<'_>,
    name: &str,
) -> Result<&'a JobConfig> {
    workspace.config.jobs.get(name).ok_or_else(|| {
        let error = Error::usage(format!("there is no job '{name}'"));
        let names: Vec<&str> = workspace.config.jobs.keys().map(String::as_str).collect();
        error.hint_nearest(name, names.iter().copied(), || match names.as_slice() {
            [] => format!("[jobs.{name}] in asof.toml"),
            names => format!("the jobs are {}", names.join(", ")),
        })
    })
}

impl ResolvedJob {
    /// Resolves a job of the configuration, or, if the options describe one, that.
    ///
    /// # Errors
    /// A usage error for what is missing, unknown or excluded; a failure if events or snapshots
    /// cannot be listed.
    pub(in crate::commands) fn resolve(
        workspace: &Workspace<'_>,
        name: &str,
        options: &BackfillOptions,
    ) -> Result<Self> {
        let described = DescribedJob::of(workspace, name, options)?;
        let within = |error: Error| described.within(error);
        let layout = layout_of(described.config)?;
        let resolved = described.work()?;
        let zone = described.config.zone(&workspace.config).map_err(within)?;
        let DescribedJob { name, output, .. } = &described;
        let object = object_of(output, &layout, name, options.range.from());
        refuse_inputs_as_output(workspace, output, &object, &resolved.events)?;
        let mut job = ResolvedJob {
            failures: ResolvedJob::failures_below(output, name)?,
            name: name.clone(),
            is_ad_hoc: described.ad_hoc.is_some(),
            work: resolved.work,
            output: output.clone(),
            layout,
            outputs: BTreeMap::new(),
            leftovers: Vec::new(),
            nearest: Vec::new(),
            events: Vec::new(),
            tables: BTreeMap::new(),
            relations: resolved.relations,
            zone,
            hash: JobHash::default(),
            known_at: options.known_at,
        };
        job.find_tables(workspace, resolved.tables, options)?;
        job.find_events(workspace, resolved.events, options.range)?;
        if described.config.timezone.is_none()
            && let Some(zone) = job.zone_of_events()
        {
            job.zone = zone;
        }
        job.hash = job.hash();
        job.find_outputs(options.range)?;
        Ok(job)
    }

    fn find_tables(
        &mut self,
        workspace: &Workspace<'_>,
        tables: Vec<TableName>,
        options: &BackfillOptions,
    ) -> Result<()> {
        for table in tables {
            let views: Vec<View> = self
                .relations
                .iter()
                .filter_map(|relation| view_of(relation, &table))
                .collect();
            let history = history(workspace, &table, &views, options)?;
            self.tables.insert(table.to_string(), history);
        }
        Ok(())
    }

    fn find_events(
        &mut self,
        workspace: &Workspace<'_>,
        events: Vec<EventsPlace>,
        range: DateRange,
    ) -> Result<()> {
        for events in events {
            let followed = self.text_keys(range.to());
            let found = events.search(workspace, range, followed)?;
            self.events.push(found);
        }
        Ok(())
    }

    /// Finds the outputs of the range, and the nearest ones before and after it.
    fn find_outputs(&mut self, range: DateRange) -> Result<()> {
        let looked_at = around(range, &self.events)?;
        let found = partitions::find_if_there(&self.output, &self.layout, Some(looked_at))
            .map_err(|error| error.within("the output"))?;
        let outside = found
            .partitions
            .iter()
            .filter(|(date, _)| !range.contains(**date));
        let (before, after): (Vec<_>, Vec<_>) =
            outside.partition(|(date, _)| **date < range.from());
        self.nearest = self.nearest_outputs(before.last().copied(), after.first().copied());
        self.leftovers = found.leftovers;
        self.outputs = found.partitions;
        self.outputs.retain(|date, _| range.contains(*date));
        Ok(())
    }
}

/// What asof.toml or the command line says of a job.
pub(super) struct DescribedJob<'a> {
    workspace: &'a Workspace<'a>,
    pub(super) config: &'a JobConfig,
    /// What the command line says, if it describes the job.
    ad_hoc: Option<&'a AdHoc>,
    name: String,
    pub(super) output: Location,
}

impl<'a> DescribedJob<'a> {
    pub(super) fn of(
        workspace: &'a Workspace<'_>,
        name: &str,
        options: &'a BackfillOptions,
    ) -> Result<Self> {
        let (config, ad_hoc) = match &options.ad_hoc {
            Some(ad_hoc) => (&ad_hoc.job, Some(ad_hoc)),
            None => (find_job(workspace, name)?, None),
        };
        if config.output.is_empty() {
            return Err(
                Error::usage("the job has no output").hint(if ad_hoc.is_some() {
                    "--out DIR"
                } else {
                    "output = \"DIR\""
                }),
            );
        }
        let own = place(workspace, ad_hoc, &config.output)?;
        let output = match &options.out {
            Some(out) => workspace.here(out)?,
            None => own.clone(),
        };
        if options.known_at.is_some() && ad_hoc.is_none() && is_own_output(&own, &output) {
            return Err(Error::usage(format!(
                "job {name}: with --known-at, outputs go to another place than the job's own \
                 '{}', which has the results of now",
                workspace.shown(&own)
            ))
            .hint("--out DIR"));
        }
        if output.as_local().is_some_and(Path::is_file) {
            let what = format!("the job's output '{}' is a file", config.output);
            return Err(Error::usage(what).hint("a job writes into a folder: one object per date"));
        }
        let name = if name.is_empty() {
            name_of(&output)
        } else {
            name.to_owned()
        };
        Ok(DescribedJob {
            workspace,
            config,
            ad_hoc,
            name,
            output,
        })
    }

    /// An error with the name of the job, if asof.toml names it.
    pub(super) fn within(&self, error: Error) -> Error {
        match self.ad_hoc {
            Some(_) => error,
            None => error.within(format!("job {}", self.name)),
        }
    }

    /// What the job does, with the events and tables that it reads.
    pub(super) fn work(&self) -> Result<ResolvedWork> {
        let config = self.config;
        let within = |error: Error| self.within(error);
        let sql = match (&config.sql, &config.sql_file) {
            (Some(sql), None) => Some(sql.clone()),
            (None, Some(file)) => Some(read_sql(&place(self.workspace, self.ad_hoc, file)?)?),
            (None, None) => None,
            _ => {
                let what = "'sql' and 'sql_file' exclude one another";
                return Err(within(Error::usage(what)));
            }
        };
        match sql {
            _ if !config.command.is_empty() => resolve_command(self.workspace, config),
            Some(sql) => resolve_sql(self.workspace, sql, &config.names, self.ad_hoc),
            None if !config.names.is_empty() => Err(Error::usage(
                "'names' applies to jobs with SQL or a command; this job is a join",
            )),
            None => resolve_join(self.workspace, config, self.ad_hoc),
        }
        .map_err(within)
    }
}

/// Whether outputs below a root would be among the own outputs of the job.
fn is_own_output(own: &Location, output: &Location) -> bool {
    let (own, output) = (own.resolved(), output.resolved());
    own == output || output.is_within(&own) || own.is_within(&output)
}

/// A place that a job names: from the current folder on the command line, and otherwise from the
/// folder of asof.toml.
fn place(workspace: &Workspace<'_>, ad_hoc: Option<&AdHoc>, text: &str) -> Result<Location> {
    match ad_hoc {
        Some(_) => workspace.here(text),
        None => workspace.configured(text),
    }
}

/// Refuses an output in a place that the job, or another, reads: it would be taken for a table's or
/// for events. `object` is one of the files that would be written.
pub(in crate::commands) fn refuse_inputs_as_output(
    workspace: &Workspace<'_>,
    output: &Location,
    object: &Location,
    events: &[EventsPlace],
) -> Result<()> {
    let destination = Destination {
        place: output,
        object,
        what: "the output",
        hint: "choose another --out or output",
    };
    for events in events {
        destination.check_events(&events.name, &events.root)?;
    }
    destination.check_tables(workspace)
}

/// The query of a file.
fn read_sql(file: &Location) -> Result<String> {
    let wrong = |why: &dyn std::fmt::Display| Error::usage(format!("cannot read '{file}': {why}"));
    let bytes = file.read_small().map_err(|error| match error.kind() {
        Kind::Io => wrong(
            &error
                .to_string()
                .trim_start_matches(&format!("cannot read '{file}': ")),
        ),
        _ => error,
    })?;
    let bytes = bytes.ok_or_else(|| wrong(&"there is no such file"))?;
    String::from_utf8(bytes).map_err(|error| wrong(&error))
}

/// The name of a job that has none: that of its output's folder.
fn name_of(output: &Location) -> String {
    let name = output.name();
    if name.parse::<TableName>().is_ok() {
        name
    } else {
        "backfill".to_owned()
    }
}

/// What a relation reads of a table.
pub(super) fn view_of(relation: &JobRelation, table: &TableName) -> Option<View> {
    match &relation.reads {
        Reads::Table(name, view) if name == table => Some(*view),
        _ => None,
    }
}

/// The past of a table, as far as the views of it need it: all copies up to the last date for its
/// history, and otherwise those that may serve one of the dates.
pub(in crate::commands) fn history(
    workspace: &Workspace<'_>,
    name: &TableName,
    views: &[View],
    options: &BackfillOptions,
) -> Result<TableHistory> {
    let (mut rule, _) = workspace.as_of_rule(name);
    rule.tolerance = options.tolerance.unwrap_or(rule.tolerance);
    rule.lag = options.lag.unwrap_or(rule.lag);
    if let Some(at) = options.known_at {
        let history = known_history(workspace, name, rule, at)?;
        return with_settings(workspace, name, views, history);
    }
    let table = workspace.table(name, &[])?;
    let labels = DateRange::new(
        rule.earliest(options.range.from()),
        rule.label(options.range.to()),
    )?;
    let reads_history = views.iter().any(|view| View::HISTORY.contains(view));
    let snapshots = match (options.using, reads_history) {
        (RowSource::Intervals, _) => BTreeMap::new(),
        (_, false) => table.find(Some(labels))?.partitions,
        (_, true) => {
            let mut all = table.find(None)?.partitions;
            all.retain(|date, _| *date <= labels.to());
            all
        }
    };
    // Of external text they also tell the types that it was compacted with.
    let intervals = if options.using == RowSource::Snapshots && table.own {
        None
    } else {
        workspace.intervals(name)?
    };
    let history = TableHistory::new(table, rule, snapshots, intervals, options.using)?;
    with_settings(workspace, name, views, history)
}

/// A history with the settings of the table's intervals, if a view reads intervals.
fn with_settings(
    workspace: &Workspace<'_>,
    name: &TableName,
    views: &[View],
    history: TableHistory,
) -> Result<TableHistory> {
    if !views.contains(&View::Intervals) {
        return Ok(history);
    }
    let existing = workspace.intervals(name).ok().flatten();
    let settings = settings_of(workspace, &history.table, existing.as_ref())?;
    Ok(history.with_settings(HistorySettings {
        settings,
        memory: workspace.memory,
        threads: decoding_threads(),
    }))
}

/// A job's work with the events and tables that it reads.
pub(in crate::commands) struct ResolvedWork {
    pub(super) work: Work,
    pub(super) events: Vec<EventsPlace>,
    pub(super) tables: Vec<TableName>,
    pub(super) relations: Vec<JobRelation>,
}

impl ResolvedWork {
    /// The parts of a join.
    pub(in crate::commands) fn into_join(mut self) -> Option<(JoinSpec, TableName, EventsPlace)> {
        match (self.work, self.events.pop()) {
            (Work::Join(spec, table), Some(events)) => Some((spec, table, events)),
            _ => None,
        }
    }
}

/// A join, with the events and the table that it reads.
///
/// # Errors
/// A usage error for what is missing or unknown.
pub(in crate::commands) fn resolve_join(
    workspace: &Workspace<'_>,
    config: &JobConfig,
    ad_hoc: Option<&AdHoc>,
) -> Result<ResolvedWork> {
    let Some(table) = &config.table else {
        return Err(
            Error::usage("the job has neither SQL nor a table to join").hint(if ad_hoc.is_some() {
                "--table T, or --sql FILE"
            } else {
                "table = \"T\", or sql = \"...\""
            }),
        );
    };
    let table = workspace.known(table)?;
    let events = events_to_join(workspace, config, ad_hoc)?;
    let spec = join_spec(config)?;
    spec.check_key(&table, &workspace.table(&table, &[])?.key)?;
    Ok(ResolvedWork {
        relations: vec![
            JobRelation {
                name: events.name.clone(),
                reads: Reads::Events(events.name.clone()),
            },
            JobRelation {
                name: table.to_string(),
                reads: Reads::Table(table.clone(), View::AsOf),
            },
        ],
        work: Work::Join(spec, table.clone()),
        events: vec![events],
        tables: vec![table],
    })
}

fn events_to_join(
    workspace: &Workspace<'_>,
    config: &JobConfig,
    ad_hoc: Option<&AdHoc>,
) -> Result<EventsPlace> {
    let described = ad_hoc.and_then(|ad_hoc| Some((ad_hoc, ad_hoc.events.as_ref()?)));
    match (described, ad_hoc, config.events.as_slice()) {
        (Some((ad_hoc, events)), ..) => ad_hoc_events(workspace, ad_hoc, events),
        (None, None, [name]) => configured_events(workspace, name),
        (None, None, [_, _, ..]) => {
            Err(Error::usage("a join has one table of events").hint("events = \"NAME\""))
        }
        (None, Some(_), _) => {
            Err(Error::usage("the job has no events to join")
                .hint("--events PATH --events-layout L"))
        }
        (None, None, []) => {
            Err(Error::usage("the job has no events to join").hint("events = \"NAME\""))
        }
    }
}

pub(super) fn join_spec(config: &JobConfig) -> Result<JoinSpec> {
    if config.on.is_empty() {
        return Err(Error::usage("the join has no columns to join on")
            .hint("--on events_column=table_column"));
    }
    let on = config
        .on
        .iter()
        .map(|pair| JoinSpec::parse_on(pair))
        .collect::<Result<Vec<_>>>()?;
    let spec = JoinSpec {
        on,
        how: config.how.unwrap_or(JoinKind::Left),
        condition: config.condition.clone(),
        select: config.select.clone(),
    };
    if !spec.how.adds_columns() && !spec.select.is_empty() {
        return Err(
            Error::usage("a semi or anti join adds no columns, and --select names some")
                .hint("--how inner, or no --select"),
        );
    }
    Ok(spec)
}

/// A program, with the events and tables that it is given.
fn resolve_command(workspace: &Workspace<'_>, config: &JobConfig) -> Result<ResolvedWork> {
    let found = relations_of_command(workspace, config)?;
    let folder = std::path::absolute(&workspace.config.base)
        .io_context(|| "cannot find the folder of asof.toml".into())?;
    let inputs = config
        .inputs
        .iter()
        .map(|file| InputFile::read(workspace.configured(file)?))
        .collect::<Result<Vec<_>>>()?;
    let timeout = config
        .timeout
        .as_deref()
        .map(parse_timeout)
        .transpose()
        .map_err(|error| error.within("'timeout'"))?;
    let hashes = inputs.iter().map(|input| input.hash.clone());
    let definition = CommandDefinition {
        command: config.command.clone(),
        inputs: config.inputs.iter().cloned().zip(hashes).collect(),
        relations: found.relations().iter().map(variable).collect(),
    };
    let program = Program {
        arguments: config.command.clone(),
        folder,
        timeout,
        input: None,
    };
    Ok(found.resolved(Work::Command(CommandWork {
        program,
        inputs,
        definition,
    })))
}

/// The events and tables that a program is given, each with a variable of its own.
fn relations_of_command<'a>(
    workspace: &'a Workspace<'a>,
    config: &JobConfig,
) -> Result<RelationFinder<'a>> {
    let mut finder = RelationFinder::new(workspace, None)?;
    let own = |name: &String| config.names.get(name).unwrap_or(name).clone();
    for name in &config.events {
        if let Reads::Table(..) = finder.add(name.clone(), &own(name), "'events' names")? {
            let what = format!("'events' names '{name}', which is a table");
            return Err(Error::usage(what).hint(format!("tables = [\"{name}\"]")));
        }
    }
    for name in &config.tables {
        if let Reads::Events(_) = finder.add(name.clone(), &own(name), "'tables' names")? {
            let what = format!("'tables' names '{name}', which are events");
            return Err(Error::usage(what).hint(format!("events = [\"{name}\"]")));
        }
    }
    let is_read = |name: &&String| config.events.contains(name) || config.tables.contains(name);
    if let Some(unread) = config.names.keys().find(|name| !is_read(name)) {
        return Err(Error::usage(format!(
            "'names' defines '{unread}', which is neither in 'events' nor in 'tables'"
        )));
    }
    let mut variables = BTreeSet::new();
    let is_twice = |relation: &&JobRelation| {
        let is_new = variables.insert(variable(relation).to_ascii_uppercase());
        !is_new
    };
    if let Some(twice) = finder.relations().iter().find(is_twice) {
        let what = format!("two relations would share the variable {}", variable(twice));
        return Err(Error::usage(what)
            .hint("names = { NAME = \"RELATION\" } gives one of them another name"));
    }
    Ok(finder)
}

#[cfg(not(feature = "sql"))]
pub(super) fn without_sql() -> Error {
    Error::usage("the job is SQL, and this asof was built without it")
        .hint("cargo install asof --features sql")
}

#[cfg(not(feature = "sql"))]
fn resolve_sql(
    _: &Workspace<'_>,
    _: String,
    _: &BTreeMap<String, String>,
    _: Option<&AdHoc>,
) -> Result<ResolvedWork> {
    Err(without_sql())
}

/// Every name in the query that it does not define is events, a table or the history of one.
#[cfg(feature = "sql")]
fn resolve_sql(
    workspace: &Workspace<'_>,
    sql: String,
    names: &BTreeMap<String, String>,
    ad_hoc: Option<&AdHoc>,
) -> Result<ResolvedWork> {
    use crate::domain::placeholders::JobDay;
    use crate::domain::placeholders::sql::{SqlOf, bind};
    use crate::engine::sql::references;

    let mut finder = RelationFinder::new(workspace, ad_hoc)?;
    let referenced = references(&bind(&sql, JobDay::utc(NaiveDate::default()), SqlOf::Job)?)?;
    if let Some(unread) = names.keys().find(|name| !referenced.contains(name)) {
        let error = Error::usage(format!(
            "'names' defines '{unread}', which the job's SQL does not read"
        ));
        return Err(
            error.hint_nearest(unread, referenced.iter().map(String::as_str), || {
                format!("it reads {}", referenced.join(", "))
            }),
        );
    }
    for name in referenced {
        let own = names.get(&name).unwrap_or(&name).clone();
        finder.add(name, &own, "the job's SQL reads")?;
    }
    Ok(finder.resolved(Work::Sql(sql)))
}
