//! A job planned against the columns of what it reads, for `asof check`: no row of an output is
//! computed, and nothing is written.
//!
//! It is planned as `backfill --dry-run` plans it, on the latest date that has all of its events
//! and a copy of each table. Without such a date, as before the first snapshot, the columns of the
//! latest events and copies are planned against, and of a table without a copy those of its source.
//! Neither reads rows for fingerprints: whether an output is stale is not the question.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use chrono_tz::Tz;

use super::events::{EventDates, EventsPlace};
use super::executors::{self, Execution};
use super::job::{ResolvedJob, Work, layout_of, object_of};
use super::options::BackfillOptions;
use super::relations::{JobRelation, Reads, View};
use super::resolve::{
    DescribedJob, ResolvedWork, history, join_spec, refuse_inputs_as_output, view_of,
};
use crate::commands::Workspace;
use crate::config::JobConfig;
use crate::domain::staleness::Inputs;
use crate::engine::command::parse_timeout;
use crate::engine::join::JoinColumns;
use crate::engine::pins::pins;
use crate::error::{Error, Result};
use crate::model::{DateRange, TableName};
use crate::source::{self, LayoutColumns, TypeRules};
use crate::storage::lake::partitions;

/// How many dates before the latest one are tried.
const TRIED: usize = 31;

/// What became of planning a job.
pub(in crate::commands) enum JobPlan {
    /// It was planned as of a date.
    OnDate(NaiveDate),
    /// It was planned against columns alone, since no date can be run yet; why, in words.
    ByColumns(String),
    /// It cannot be planned, since nothing tells the columns of these events or this table.
    Without(String),
}

/// What tells the columns of a table that has no copy yet: nothing if its source failed.
pub(in crate::commands) type ColumnsOf<'a> = &'a dyn Fn(&TableName) -> Option<SchemaRef>;

/// Checks what can be known of a job without a look at anything but asof.toml.
///
/// # Errors
/// A usage error for what is missing or wrong.
pub(in crate::commands) fn check_settings_of_job(
    workspace: &Workspace<'_>,
    job: &JobConfig,
) -> Result<()> {
    if job.output.is_empty() {
        return Err(Error::usage("the job has no output").hint("output = \"DIR\""));
    }
    workspace.configured(&job.output)?;
    layout_of(job)?;
    let timeout = job.timeout.as_deref().map(parse_timeout).transpose();
    timeout.map_err(|error| error.within("'timeout'"))?;
    if !job.command.is_empty() || job.sql_file.is_some() {
        return Ok(());
    }
    match (&job.sql, &job.table) {
        (Some(sql), _) => check_sql(sql),
        (None, Some(_)) => join_spec(job).map(|_| ()).map_err(as_settings),
        (None, None) => {
            let hint = "sql = \"...\", sql_file = \"FILE\", table = \"T\", or command = [...]";
            Err(Error::usage("the job has no query, no table to join and no command").hint(hint))
        }
    }
}

/// An error with hints for asof.toml in the place of those for the command line.
fn as_settings(error: Error) -> Error {
    error.with_hints(|hint| {
        hint.replace(
            "--on events_column=table_column",
            "on = [\"events_column=table_column\"]",
        )
        .replace("choose another --out or output", "choose another output")
    })
}

#[cfg(feature = "sql")]
fn check_sql(sql: &str) -> Result<()> {
    use crate::domain::placeholders::JobDay;
    use crate::domain::placeholders::sql::{SqlOf, bind};
    use crate::engine::sql::references;

    let day = JobDay::utc(NaiveDate::default());
    references(&bind(sql, day, SqlOf::Job)?).map(|_| ())
}

#[cfg(not(feature = "sql"))]
fn check_sql(_: &str) -> Result<()> {
    Err(super::resolve::without_sql())
}

/// Plans a job of asof.toml. `failed` are events that could not be read.
///
/// # Errors
/// What a run would fail with before it computes a row, and failures to list what it reads.
pub(in crate::commands) fn plan_job(
    workspace: &Workspace<'_>,
    name: &str,
    failed: &BTreeSet<String>,
    columns_of: ColumnsOf<'_>,
) -> Result<JobPlan> {
    let today = workspace.clock.today();
    let options = options_on(DateRange::single(today));
    let described = DescribedJob::of(workspace, name, &options)
        .map_err(|error| error.within(format!("job {name}")))?;
    let within = |error: Error| as_settings(described.within(error));
    let layout = layout_of(described.config).map_err(within)?;
    let work = described.work().map_err(as_settings)?;
    let object = object_of(&described.output, &layout, name, today);
    refuse_inputs_as_output(workspace, &described.output, &object, &work.events).map_err(within)?;
    if let Some(events) = work
        .events
        .iter()
        .find(|events| failed.contains(&events.name))
    {
        return Ok(JobPlan::Without(format!("events {}", events.name)));
    }
    let dates = dates_of(workspace, &work).map_err(within)?;
    let zone = described.config.zone(&workspace.config).map_err(within)?;
    let served = first_served(workspace, &work, &dates)?;
    match served {
        Ok(date) if is_opened_by_date(workspace, &work) => {
            plan_on(workspace, name, date).map_err(within)
        }
        served => {
            let latest = dates.last().copied().unwrap_or(today);
            let planned = PlannedByColumns {
                workspace,
                work: &work,
                columns_of,
                date: served.as_ref().copied().unwrap_or(latest),
                zone,
            };
            planned.plan(served).map_err(within)
        }
    }
}

/// Whether opening what the job reads on a date reads no more than the files of that date. Rows of
/// many dates would be split, and intervals as of the date be made.
fn is_opened_by_date(workspace: &Workspace<'_>, work: &ResolvedWork) -> bool {
    let is_by_layout = |events: &EventsPlace| matches!(events.dates, EventDates::Layout(_));
    let is_as_of = |relation: &JobRelation| match &relation.reads {
        Reads::Events(_) => true,
        Reads::Table(table, view) => *view == View::AsOf && !has_date_column(workspace, table),
    };
    work.events.iter().all(is_by_layout) && work.relations.iter().all(is_as_of)
}

fn has_date_column(workspace: &Workspace<'_>, table: &TableName) -> bool {
    workspace.table_config(table).date_column.is_some()
}

/// A dry run of a range.
fn options_on(range: DateRange) -> BackfillOptions {
    BackfillOptions {
        workers: Some(1),
        dry_run: true,
        ..BackfillOptions::of_range(range)
    }
}

/// The dates that have all of the job's events, ascending; today for a job without events.
fn dates_of(workspace: &Workspace<'_>, work: &ResolvedWork) -> Result<Vec<NaiveDate>> {
    let today = workspace.clock.today();
    let mut common: Option<BTreeSet<NaiveDate>> = None;
    for events in &work.events {
        let dates: BTreeSet<NaiveDate> = match &events.dates {
            EventDates::Layout(layout) => {
                let find = |range| partitions::find(&events.root, layout, range);
                partitions::find_latest(today, find)?.into_keys().collect()
            }
            EventDates::Column(dates) => events.dated_by(workspace, dates.clone()).head()?.dates,
        };
        common = Some(match common {
            Some(common) => common.intersection(&dates).copied().collect(),
            None => dates,
        });
    }
    Ok(common.map_or_else(|| vec![today], |dates| dates.into_iter().collect()))
}

/// The latest of some dates for which every table has a copy; or why there is none, in words.
fn first_served(
    workspace: &Workspace<'_>,
    work: &ResolvedWork,
    dates: &[NaiveDate],
) -> Result<Result<NaiveDate, String>> {
    let tried = &dates[dates.len().saturating_sub(TRIED)..];
    let (Some(first), Some(last)) = (tried.first(), tried.last()) else {
        return Ok(Err("no date has all of its events".to_owned()));
    };
    let options = options_on(DateRange::new(*first, *last)?);
    let mut histories = Vec::new();
    let split = |table: &&TableName| !has_date_column(workspace, table);
    for table in work.tables.iter().filter(split) {
        let relations = work.relations.iter();
        let views: Vec<View> = relations.filter_map(|one| view_of(one, table)).collect();
        histories.push(history(workspace, table, &views, &options)?);
    }
    let mut why = String::new();
    for date in tried.iter().rev() {
        let unserved = histories
            .iter()
            .find_map(|history| history.resolve(*date).err());
        match unserved {
            None => return Ok(Ok(*date)),
            Some(error) if why.is_empty() => why = error.to_string(),
            Some(_) => {}
        }
    }
    Ok(Err(why))
}

/// Plans the job as of a date that can be run.
fn plan_on(workspace: &Workspace<'_>, name: &str, date: NaiveDate) -> Result<JobPlan> {
    let job = ResolvedJob::resolve(workspace, name, &options_on(DateRange::single(date)))?;
    // Fingerprints of another tool's copies are worked out from all of their rows.
    let unknown = Inputs {
        job: String::new(),
        tables: BTreeMap::new(),
        events: BTreeMap::new(),
        history: BTreeMap::new(),
        known_at: None,
    };
    let bound = job.bind(date, unknown, false)?;
    let executor = executors::local(&job, workspace, &[], false, 1);
    executor
        .check(&bound, &mut Execution::default())
        .map_err(|error| job.reword(error))?;
    Ok(JobPlan::OnDate(date))
}

/// A job that is planned against columns alone.
#[cfg_attr(
    not(feature = "sql"),
    allow(dead_code, reason = "only a query has placeholders for the date")
)]
struct PlannedByColumns<'a> {
    workspace: &'a Workspace<'a>,
    work: &'a ResolvedWork,
    columns_of: ColumnsOf<'a>,
    date: NaiveDate,
    zone: Tz,
}

impl PlannedByColumns<'_> {
    /// `served` is the date on which the job can be run, or why there is none.
    fn plan(&self, served: Result<NaiveDate, String>) -> Result<JobPlan> {
        let mut relations = Vec::new();
        let mut is_certain = true;
        for relation in &self.work.relations {
            let Some(schema) = self.columns(relation)? else {
                return Ok(JobPlan::Without(relation.reads.in_words()));
            };
            let mut fields = schema.fields().iter();
            is_certain &= fields.all(|field| field.data_type() != &DataType::Null);
            relations.push((relation, schema));
        }
        match (self.check(&relations), served) {
            // Their types are known only once their values are read.
            (Err(error), _) if !is_certain => Ok(JobPlan::ByColumns(format!(
                "the types of some columns are not known yet, and without them: {error}"
            ))),
            (Err(error), _) => Err(error),
            (Ok(()), Ok(date)) => Ok(JobPlan::OnDate(date)),
            (Ok(()), Err(why)) => Ok(JobPlan::ByColumns(why)),
        }
    }

    /// Plans the work against the columns of its relations.
    fn check(&self, relations: &[(&JobRelation, SchemaRef)]) -> Result<()> {
        match &self.work.work {
            #[cfg(feature = "sql")]
            Work::Sql(sql) => {
                use std::sync::Arc;

                use crate::domain::placeholders::JobDay;
                use crate::domain::placeholders::sql::{SqlOf, bind};
                use crate::engine::sql::{Open, Relation, check};
                use crate::storage::Batches;

                let day = JobDay {
                    date: self.date,
                    zone: self.zone,
                };
                let nothing: Open = Arc::new(|_| Ok(Box::new(std::iter::empty()) as Batches));
                let relations = relations.iter().map(|(relation, schema)| {
                    let rows = Relation::new(schema.clone(), nothing.clone());
                    (relation.name.clone(), rows)
                });
                check(&bind(sql, day, SqlOf::Job)?, relations.collect())
            }
            Work::Join(spec, table) => {
                let columns = |is_events: bool| {
                    let is_it = |reads: &Reads| matches!(reads, Reads::Events(_)) == is_events;
                    let found = relations.iter().find(|(one, _)| is_it(&one.reads));
                    found.map(|(one, schema)| (one.name.as_str(), schema))
                };
                let (Some((events, of_events)), Some((_, of_table))) =
                    (columns(true), columns(false))
                else {
                    return Err(Error::usage("a join needs events and a table"));
                };
                let key = self.workspace.table(table, &[])?.key;
                JoinColumns::of(spec, table, &key, of_table)?
                    .output_schema(spec, of_events, events, table)
                    .map(|_| ())
            }
            Work::Command(_) => Ok(()),
        }
    }

    /// The columns of a relation; nothing if nothing tells them.
    fn columns(&self, relation: &JobRelation) -> Result<Option<SchemaRef>> {
        match &relation.reads {
            Reads::Events(name) => {
                let mut places = self.work.events.iter();
                let place = places.find(|events| events.name == *name);
                place.map_or(Ok(None), |place| columns_of_events(self.workspace, place))
            }
            Reads::Table(table, view) => {
                let own = match has_date_column(self.workspace, table) {
                    true => None,
                    false => self.latest_copy(table)?,
                };
                let own = own.or_else(|| (self.columns_of)(table));
                Ok(own.map(|own| self.seen_as(table, *view, &own)))
            }
        }
    }

    /// The columns of the latest copy of a table, and of one of asof's own those that it lacks.
    fn latest_copy(&self, name: &TableName) -> Result<Option<SchemaRef>> {
        let table = self.workspace.table_with_any_key(name, &[])?;
        let today = self.workspace.clock.today();
        let Some((date, objects)) = table.find_latest(today)?.pop_last() else {
            return Ok(None);
        };
        let copy = table.open(date, &objects, None)?;
        match table.own {
            true => pins(&table, &copy).map(Some),
            false => Ok(Some(copy.schema)),
        }
    }

    /// The columns that a view of a table has.
    fn seen_as(&self, name: &TableName, view: View, own: &SchemaRef) -> SchemaRef {
        let config = self.workspace.table_config(name);
        let named = |name: &Option<String>, otherwise: &str| {
            name.clone().unwrap_or_else(|| otherwise.to_owned())
        };
        let added = match view {
            View::AsOf => Vec::new(),
            View::Snapshots => vec!["snapshot_date".to_owned()],
            View::Intervals => vec![
                named(&config.start_column, "active_start"),
                named(&config.end_column, "active_end"),
            ],
        };
        let added = added
            .into_iter()
            .map(|name| Field::new(name, DataType::Date32, true));
        let fields = own.fields().iter().map(|field| field.as_ref().clone());
        SchemaRef::new(Schema::new(fields.chain(added).collect::<Vec<_>>()))
    }
}

/// The columns of the latest events; nothing if there are none.
fn columns_of_events(workspace: &Workspace<'_>, place: &EventsPlace) -> Result<Option<SchemaRef>> {
    let at = |error: Error| error.within(format!("events {}", place.name));
    match &place.dates {
        EventDates::Layout(layout) => {
            let find = |range| partitions::find(&place.root, layout, range);
            let latest = partitions::find_latest(workspace.clock.today(), find).map_err(at)?;
            let Some((_, files)) = latest.into_iter().next_back() else {
                return Ok(None);
            };
            let rules = TypeRules {
                layout: LayoutColumns::of_events(layout),
                ..place.types.clone()
            };
            let format = place.format.of(&files).map_err(at)?;
            let rows = source::read(&files, format, &rules, None).map_err(at)?;
            Ok(Some(rows.schema))
        }
        EventDates::Column(dates) => {
            let head = place.dated_by(workspace, dates.clone()).head()?;
            Ok((!head.files.is_empty()).then_some(head.schema))
        }
    }
}
