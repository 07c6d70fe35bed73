//! From what the configuration or the command line says of a job to a [`Job`]: its work, events and
//! tables.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
#[cfg(feature = "sql")]
use chrono::NaiveDate;
use xxhash_rust::xxh3::xxh3_128;

use super::command::{CommandWork, Definition, variable};
use super::job::{EventsSource, Job, JobRelation, Reads, View, Work, object_of};
use super::schema::around;
use super::{AdHoc, BackfillOptions, DatesInColumn};
use crate::commands::Workspace;
use crate::commands::compact::settings_of;
use crate::config::{JobConfig, zone};
use crate::domain::join::JoinKind;
use crate::domain::layout::Layout;
use crate::engine::asof::{HistorySettings, RowSource, TableHistory};
use crate::engine::command::{Program, parse_duration};
use crate::engine::dated::{DateColumn, Dated, NamedBy, RowsOf};
use crate::engine::join::JoinSpec;
use crate::error::{Context, Error, Kind, Result, toml_key};
use crate::model::{DateRange, TableName};
use crate::parallel::decoding_threads;
use crate::source::{Format, FormatRule, LayoutColumns, TypeRules};
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

impl Job {
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
        let (config, ad_hoc) = match &options.ad_hoc {
            Some(ad_hoc) => (&ad_hoc.job, Some(ad_hoc)),
            None => (find_job(workspace, name)?, None),
        };
        let place = |text: &str| {
            if ad_hoc.is_some() {
                workspace.here(text)
            } else {
                workspace.configured(text)
            }
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
        let output = place(&config.output)?;
        let name = if name.is_empty() {
            name_of(&output)
        } else {
            name.to_owned()
        };
        let within = |error: Error| {
            if ad_hoc.is_some() {
                error
            } else {
                error.within(format!("job {name}"))
            }
        };
        let layout = Layout::parse_written(config.layout.as_deref().unwrap_or("date=%Y-%m-%d"))?;
        let sql = match (&config.sql, &config.sql_file) {
            (Some(sql), None) => Some(sql.clone()),
            (None, Some(file)) => {
                let path = place(file)?;
                Some(read_sql(&path)?)
            }
            (None, None) => None,
            _ => {
                return Err(within(Error::usage(
                    "'sql' and 'sql_file' exclude one another",
                )));
            }
        };
        let Resolved {
            work,
            events,
            tables,
            relations,
        } = match sql {
            _ if !config.command.is_empty() => {
                resolve_command(workspace, config).map_err(within)?
            }
            Some(sql) => resolve_sql(workspace, sql, &config.names, ad_hoc).map_err(within)?,
            None if !config.names.is_empty() => {
                return Err(within(Error::usage(
                    "'names' applies to SQL jobs only; this job is a join",
                )));
            }
            None => resolve_join(workspace, config, ad_hoc).map_err(within)?,
        };
        let zone = config.zone(&workspace.config).map_err(within)?;
        let object = object_of(&output, &layout, &name, options.range.from());
        refuse_inputs_as_output(workspace, &output, &object, &events)?;
        let mut job = Job {
            failures: Job::failures_below(&output, &name)?,
            name,
            is_ad_hoc: ad_hoc.is_some(),
            work,
            output,
            layout,
            outputs: BTreeMap::new(),
            nearest: Vec::new(),
            events: Vec::new(),
            tables: BTreeMap::new(),
            relations,
            zone,
            hash: String::new(),
        };
        for table in tables {
            let views: Vec<View> = job
                .relations
                .iter()
                .filter_map(|relation| view_of(relation, &table))
                .collect();
            job.tables.insert(
                table.to_string(),
                history(workspace, &table, &views, options)?,
            );
        }
        for events in events {
            let followed = job.text_keys(options.range.to());
            job.events
                .push(events.search(workspace, options.range, followed)?);
        }
        if config.timezone.is_none()
            && let Some(zone) = job.zone_of_events()
        {
            job.zone = zone;
        }
        job.hash = job.hash();
        let looked_at = around(options.range, &job.events)?;
        let found = partitions::find_if_there(&job.output, &job.layout, Some(looked_at))
            .map_err(|error| error.within("the output"))?;
        let outside = found
            .partitions
            .iter()
            .filter(|(date, _)| !options.range.contains(**date));
        let (before, after): (Vec<_>, Vec<_>) =
            outside.partition(|(date, _)| **date < options.range.from());
        job.nearest = job.nearest_outputs(before.last().copied(), after.first().copied());
        job.outputs = found.partitions;
        job.outputs.retain(|date, _| options.range.contains(*date));
        Ok(job)
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
    let is_read_by = |source: &Location| output.is_read_by(source) || object.is_read_by(source);
    let refused = |what: String| {
        Err(Error::usage(format!("the output '{output}' is {what}"))
            .hint("choose another --out or output"))
    };
    if let Some(events) = events.iter().find(|events| is_read_by(&events.root)) {
        return refused(format!("among the events {}", events.name));
    }
    if workspace.has_lake() {
        let lake = workspace.lake()?;
        if output.is_within(lake.root()) {
            return refused("in the lake, among tables".to_owned());
        }
    }
    for (name, config) in &workspace.config.tables {
        if let Some(snapshots) = &config.snapshots
            && is_read_by(&workspace.configured(snapshots)?)
        {
            return refused(format!("among the snapshots of table {name}"));
        }
    }
    Ok(())
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
fn view_of(relation: &JobRelation, table: &TableName) -> Option<View> {
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
    let table = workspace.table(name, &[])?;
    let (mut rule, _) = workspace.as_of_rule(name);
    rule.tolerance = options.tolerance.unwrap_or(rule.tolerance);
    rule.lag = options.lag.unwrap_or(rule.lag);
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
    let settings = match views.contains(&View::Intervals) {
        true => {
            let existing = workspace.intervals(name).ok().flatten();
            let settings = settings_of(workspace, &table, existing.as_ref())?;
            Some(HistorySettings {
                settings,
                memory: workspace.memory,
                threads: decoding_threads(),
            })
        }
        false => None,
    };
    // Of external text they also tell the types that it was compacted with.
    let intervals = if options.using == RowSource::Snapshots && table.own {
        None
    } else {
        workspace.intervals(name)?
    };
    let history = TableHistory::new(table, rule, snapshots, intervals, options.using)?;
    Ok(match settings {
        Some(settings) => history.with_settings(settings),
        None => history,
    })
}

/// Events whose place is known, and whose partitions have not been looked for.
#[derive(Clone)]
pub(in crate::commands) struct EventsPlace {
    pub(in crate::commands) name: String,
    pub(in crate::commands) root: Location,
    pub(in crate::commands) dates: EventDates,
    pub(in crate::commands) format: FormatRule,
    pub(in crate::commands) types: TypeRules,
}

/// What tells the date of events.
#[derive(Clone)]
pub(in crate::commands) enum EventDates {
    /// The path of their file.
    Layout(Layout),
    /// A column.
    Column(Column),
}

/// A column of dates, and a layout that narrows the files that are read, if there is one.
#[derive(Clone)]
pub(in crate::commands) struct Column(
    pub(in crate::commands) DateColumn,
    pub(in crate::commands) Option<Layout>,
);

impl EventDates {
    /// What a layout and a column say; nothing if there is neither.
    fn of(layout: Option<&str>, column: Option<DateColumn>) -> Result<Option<Self>> {
        let layout = layout.map(Layout::parse).transpose()?;
        Ok(match (column, layout) {
            (Some(column), layout) => Some(EventDates::Column(Column(column, layout))),
            (None, Some(layout)) => Some(EventDates::Layout(layout)),
            (None, None) => None,
        })
    }

    /// The column, if it is one.
    pub(in crate::commands) fn into_column(self) -> Option<Column> {
        match self {
            EventDates::Layout(_) => None,
            EventDates::Column(column) => Some(column),
        }
    }

    fn layout(&self) -> Option<&Layout> {
        match self {
            EventDates::Layout(layout) => Some(layout),
            EventDates::Column(Column(_, layout)) => layout.as_ref(),
        }
    }
}

impl EventsPlace {
    /// Finds the events of a range. Those whose dates are in a column are split by date.
    ///
    /// `followed` are types that text is read in, whatever its values are.
    fn search(
        self,
        workspace: &Workspace<'_>,
        range: DateRange,
        followed: Option<SchemaRef>,
    ) -> Result<EventsSource> {
        let EventsPlace {
            name,
            root,
            dates,
            format,
            mut types,
        } = self;
        types.layout = dates
            .layout()
            .map(LayoutColumns::of_events)
            .unwrap_or_default();
        match dates {
            EventDates::Layout(layout) => {
                let at = |error: Error| error.within(format!("events {name}"));
                let found = partitions::find(&root, &layout, Some(range)).map_err(at)?;
                // What is wrong for every date keeps the job from starting.
                if let Some(objects) = found
                    .partitions
                    .values()
                    .next()
                    .filter(|_| types.csv_is_given)
                {
                    types
                        .check_csv(format.of(objects)?, &format!("'{}'", objects[0].location))
                        .map_err(at)?;
                }
                Ok(EventsSource {
                    name,
                    root,
                    layout,
                    found,
                    format,
                    types,
                    dated: None,
                })
            }
            EventDates::Column(Column(column, layout)) => {
                let place = format!("events {name}, '{}'", workspace.shown(&root));
                types.pinned = followed;
                let dated = Dated::new(root.clone(), layout, format, types, column, RowsOf::Events)
                    .within(place, workspace.memory);
                let split = dated.split(Some(range))?;
                let found = split.find(Some(range))?;
                let layout = Dated::split_layout()?;
                let format = dated.split_format();
                let types = dated.split_types();
                Ok(EventsSource {
                    name,
                    root,
                    layout,
                    found,
                    format,
                    types,
                    dated: Some((dated, split)),
                })
            }
        }
    }
}

/// A job's work with the events and tables that it reads.
pub(in crate::commands) struct Resolved {
    work: Work,
    events: Vec<EventsPlace>,
    tables: Vec<TableName>,
    relations: Vec<JobRelation>,
}

impl Resolved {
    /// The parts of a join.
    pub(in crate::commands) fn into_join(mut self) -> Option<(JoinSpec, TableName, EventsPlace)> {
        match (self.work, self.events.pop()) {
            (Work::Join(spec, table), Some(events)) => Some((spec, table, events)),
            _ => None,
        }
    }
}

/// The events of a section of asof.toml.
///
/// # Errors
/// A usage error for events that are not there, or of which nothing tells the dates.
pub(in crate::commands) fn configured_events(
    workspace: &Workspace<'_>,
    name: &str,
) -> Result<EventsPlace> {
    let Some(config) = workspace.config.events.get(name) else {
        let error = Error::usage(format!("there are no events '{name}'"));
        return Err(error.hint_nearest(
            name,
            workspace.config.events.keys().map(String::as_str),
            || {
                format!(
                    "[events.{}] path = \"DIR\", layout = \"date=%Y-%m-%d\" in asof.toml",
                    toml_key(name)
                )
            },
        ));
    };
    if config.path.is_empty() {
        return Err(
            Error::usage(format!("[events.{name}] has no path")).hint(format!(
                "[events.{}] path = \"DIR\", layout = \"date=%Y-%m-%d\" in asof.toml",
                toml_key(name)
            )),
        );
    }
    let section = format!("events.{}", toml_key(name));
    let column = workspace.date_column(
        config.date_column.as_ref(),
        config.date_format.as_ref(),
        config.timezone.as_deref(),
        section,
    )?;
    let layout = Some(config.layout.as_str()).filter(|layout| !layout.is_empty());
    let missing = || {
        Error::usage(format!(
            "[events.{name}] has neither a layout nor a date column"
        ))
    };
    Ok(EventsPlace {
        name: name.to_owned(),
        root: workspace.configured(&config.path)?,
        dates: EventDates::of(layout, column)?.ok_or_else(missing)?,
        format: FormatRule {
            declared: config.format,
            option: format!(
                "[events.{}] format = \"parquet\" in asof.toml; or csv, tsv, ndjson, arrow, avro",
                toml_key(name)
            ),
        },
        types: workspace.event_types(name, Some(config))?,
    })
}

/// The date column that the command line names for events; nothing if it names none.
fn ad_hoc_column(workspace: &Workspace<'_>, dates: &DatesInColumn) -> Result<Option<DateColumn>> {
    let Some(name) = &dates.column else {
        return Ok(None);
    };
    let zone = dates
        .timezone
        .as_deref()
        .map_or_else(|| workspace.config.zone(), zone)?;
    Ok(Some(DateColumn {
        name: name.clone(),
        format: dates.format.clone(),
        zone,
        named_by: NamedBy::Options("--events-"),
    }))
}

/// The events of an ad hoc job: a configured name, or a path with its layout.
fn ad_hoc_events(workspace: &Workspace<'_>, ad_hoc: &AdHoc, events: &str) -> Result<EventsPlace> {
    let is_configured = workspace
        .config
        .events
        .get(events)
        .is_some_and(|config| !config.path.is_empty());
    let dates = &ad_hoc.events_dates;
    if ad_hoc.events_layout.is_none() && is_configured {
        let mut configured = configured_events(workspace, events)?;
        // Its zone is that of the configured events, unless the command line names one.
        let timezone = workspace
            .config
            .events
            .get(events)
            .and_then(|config| config.timezone.clone());
        let dates = DatesInColumn {
            timezone: dates.timezone.clone().or(timezone),
            ..dates.clone()
        };
        if let Some(column) = ad_hoc_column(workspace, &dates)? {
            configured.dates =
                EventDates::Column(Column(column, configured.dates.layout().cloned()));
        }
        return Ok(configured);
    }
    let column = ad_hoc_column(workspace, dates)?;
    let Some(dates) = EventDates::of(ad_hoc.events_layout.as_deref(), column)? else {
        let what = format!("cannot tell which date each event in '{events}' belongs to");
        return Err(Error::usage(what)
            .hint("--events-layout 'date=%Y-%m-%d', if the path has the date")
            .hint("--events-date-column COLUMN, if a column has the date"));
    };
    let root = workspace.here(events)?;
    let name = name_of_events(&root);
    // What asof.toml says of events of this name holds wherever they are.
    let config = workspace.config.events.get(&name);
    let declared = ad_hoc
        .events_format
        .or(config.and_then(|config| config.format));
    let format = FormatRule {
        declared,
        option: "--events-format parquet|csv|tsv|ndjson|arrow|avro".to_owned(),
    };
    let types = workspace.event_types(&name, config)?;
    Ok(EventsPlace {
        name,
        root,
        dates,
        format,
        types,
    })
}

/// The name of events that the command line places: that of their folder or file, without its
/// ending.
fn name_of_events(root: &Location) -> String {
    let name = root.name();
    let stem = match Format::of(root) {
        Some(_) => name.split('.').next().unwrap_or_default(),
        None => name.as_str(),
    };
    let is_usable = !stem.is_empty() && !stem.contains(['*', '?', '[']);
    if is_usable {
        stem.to_owned()
    } else {
        "events".to_owned()
    }
}

pub(in crate::commands) fn resolve_join(
    workspace: &Workspace<'_>,
    config: &JobConfig,
    ad_hoc: Option<&AdHoc>,
) -> Result<Resolved> {
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
    let events = match (ad_hoc, config.events.as_slice()) {
        (
            Some(AdHoc {
                events: Some(events),
                ..
            }),
            _,
        ) => ad_hoc_events(workspace, ad_hoc.unwrap_or(&AdHoc::default()), events)?,
        (None, [name]) => configured_events(workspace, name)?,
        (None, [_, _, ..]) => {
            return Err(Error::usage("a join has one table of events").hint("events = \"NAME\""));
        }
        _ => {
            return Err(
                Error::usage("the job has no events to join").hint(if ad_hoc.is_some() {
                    "--events PATH --events-layout L"
                } else {
                    "events = \"NAME\""
                }),
            );
        }
    };
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
    spec.check_key(&table, &workspace.table(&table, &[])?.key)?;
    Ok(Resolved {
        work: Work::Join(spec, table.clone()),
        events: vec![events],
        tables: vec![table],
        relations: Vec::new(),
    })
}

/// A program, with the events and tables that it is given.
fn resolve_command(workspace: &Workspace<'_>, config: &JobConfig) -> Result<Resolved> {
    let mut relations = Relations::new(workspace, None)?;
    let given = config
        .events
        .iter()
        .map(|name| (name, true))
        .chain(config.tables.iter().map(|name| (name, false)));
    for (name, is_events) in given {
        let own = config.names.get(name).unwrap_or(name);
        let what = if is_events {
            "'events' names"
        } else {
            "'tables' names"
        };
        relations.add(name.clone(), own, what)?;
        let found = relations.relations.last().map(|relation| &relation.reads);
        match (found, is_events) {
            (Some(Reads::Events(_)), false) => {
                return Err(
                    Error::usage(format!("'tables' names '{name}', which are events"))
                        .hint(format!("events = [\"{name}\"]")),
                );
            }
            (Some(Reads::Table(..)), true) => {
                return Err(
                    Error::usage(format!("'events' names '{name}', which is a table"))
                        .hint(format!("tables = [\"{name}\"]")),
                );
            }
            _ => {}
        }
    }
    if let Some(unread) = config
        .names
        .keys()
        .find(|name| !config.events.contains(name) && !config.tables.contains(name))
    {
        return Err(Error::usage(format!(
            "'names' has the name '{unread}', which is neither in 'events' nor in 'tables'"
        )));
    }
    let mut variables = BTreeSet::new();
    if let Some(twice) = relations
        .relations
        .iter()
        .find(|relation| !variables.insert(variable(relation).to_ascii_uppercase()))
    {
        let what = format!("two relations would share the variable {}", variable(twice));
        return Err(Error::usage(what)
            .hint("names = { NAME = \"RELATION\" } gives one of them another name"));
    }
    let folder = std::path::absolute(&workspace.config.base)
        .io_context(|| "cannot find the folder of asof.toml".into())?;
    let inputs = config
        .inputs
        .iter()
        .map(|file| Ok((file.clone(), content_of(&workspace.configured(file)?)?)))
        .collect::<Result<_>>()?;
    let timeout = config
        .timeout
        .as_deref()
        .map(parse_duration)
        .transpose()
        .map_err(|error| error.within("'timeout'"))?;
    let definition = Definition {
        command: config.command.clone(),
        inputs,
        relations: relations.relations.iter().map(variable).collect(),
    };
    let program = Program {
        arguments: config.command.clone(),
        folder,
        timeout,
    };
    Ok(relations.resolved(Work::Command(CommandWork {
        program,
        definition,
    })))
}

/// The hash of a file that a program is made of.
fn content_of(file: &Location) -> Result<String> {
    let missing = || {
        Error::usage(format!("'inputs' names '{file}', which is not a file"))
            .hint("inputs are files, from the folder of asof.toml")
    };
    if file.is_folder()? {
        return Err(missing());
    }
    let bytes = file.read_small()?.ok_or_else(missing)?;
    Ok(format!("{:032x}", xxh3_128(&bytes)))
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
) -> Result<Resolved> {
    Err(without_sql())
}

/// Every name in the query that it does not define is events, a table or the history of one.
#[cfg(feature = "sql")]
fn resolve_sql(
    workspace: &Workspace<'_>,
    sql: String,
    names: &BTreeMap<String, String>,
    ad_hoc: Option<&AdHoc>,
) -> Result<Resolved> {
    use crate::engine::sql::{JobDay, bind, references};

    let mut relations = Relations::new(workspace, ad_hoc)?;
    let referenced = references(&bind(&sql, JobDay::utc(NaiveDate::default()))?)?;
    if let Some(unread) = names.keys().find(|name| !referenced.contains(name)) {
        let error = Error::usage(format!(
            "'names' has the name '{unread}', which the job's SQL does not read"
        ));
        return Err(
            error.hint_nearest(unread, referenced.iter().map(String::as_str), || {
                format!("it reads {}", referenced.join(", "))
            }),
        );
    }
    for name in referenced {
        let own = names.get(&name).unwrap_or(&name).clone();
        relations.add(name, &own, "the job's SQL reads")?;
    }
    Ok(relations.resolved(Work::Sql(sql)))
}

/// The relations of a job, while they are looked for.
struct Relations<'a> {
    workspace: &'a Workspace<'a>,
    /// The events that the command line describes.
    given: Option<EventsPlace>,
    known: Vec<TableName>,
    events: Vec<EventsPlace>,
    tables: Vec<TableName>,
    relations: Vec<JobRelation>,
}

impl<'a> Relations<'a> {
    fn new(workspace: &'a Workspace<'a>, ad_hoc: Option<&AdHoc>) -> Result<Self> {
        let given = match ad_hoc.and_then(|ad_hoc| Some((ad_hoc, ad_hoc.events.as_ref()?))) {
            Some((ad_hoc, events)) => Some(ad_hoc_events(workspace, ad_hoc, events)?),
            None => None,
        };
        let known = workspace.tables(&[]).unwrap_or_default();
        Ok(Relations {
            workspace,
            given,
            known,
            events: Vec::new(),
            tables: Vec::new(),
            relations: Vec::new(),
        })
    }

    /// Adds a relation by its own name: that of events or a table, or a table's with `_snapshots`
    /// or `_intervals`. A table of that very name comes first.
    fn add(&mut self, name: String, own: &str, what: &str) -> Result<()> {
        let is_given = self.given.as_ref().is_some_and(|given| given.name == own);
        let table = |view: View| {
            let table = own.strip_suffix(view.suffix())?;
            self.known
                .iter()
                .find(|known| known.as_str() == table)
                .map(|table| (table.clone(), view))
        };
        let reads = if is_given || self.workspace.config.events.contains_key(own) {
            if !self.events.iter().any(|events| events.name == own) {
                self.events.push(match &self.given {
                    Some(given) if is_given => given.clone(),
                    _ => configured_events(self.workspace, own)?,
                });
            }
            Reads::Events(own.to_owned())
        } else if let Some((table, view)) = [View::AsOf, View::Snapshots, View::Intervals]
            .into_iter()
            .find_map(table)
        {
            if !self.tables.contains(&table) {
                self.tables.push(table.clone());
            }
            Reads::Table(table, view)
        } else {
            let events = self
                .workspace
                .config
                .events
                .keys()
                .map(String::as_str)
                .chain(self.given.as_ref().map(|given| given.name.as_str()));
            let mut names: Vec<&str> = events
                .chain(self.known.iter().map(TableName::as_str))
                .collect();
            names.dedup();
            let error = Error::usage(format!(
                "{what} '{own}', which is neither a table nor events"
            ));
            let histories: Vec<String> = self
                .known
                .iter()
                .flat_map(|table| View::HISTORY.map(|view| format!("{table}{}", view.suffix())))
                .collect();
            return Err(error.hint_nearest(
                own,
                names
                    .iter()
                    .copied()
                    .chain(histories.iter().map(String::as_str)),
                || {
                    format!(
                        "known are {}; a table's history is read as TABLE_snapshots or \
                         TABLE_intervals",
                        names.join(", ")
                    )
                },
            ));
        };
        self.relations.push(JobRelation { name, reads });
        Ok(())
    }

    fn resolved(self, work: Work) -> Resolved {
        Resolved {
            work,
            events: self.events,
            tables: self.tables,
            relations: self.relations,
        }
    }
}
