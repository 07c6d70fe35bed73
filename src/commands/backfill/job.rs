//! One job, ready to run: what its outputs are made from, and where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use super::events::EventsSource;
use super::executors::command::CommandWork;
use super::job_hash::JobHash;
use super::job_output::JobOutput;
use super::relations::JobRelation;
use crate::commands::Workspace;
use crate::config::JobConfig;
use crate::domain::layout::Layout;
use crate::domain::path_columns::renamed;
use crate::engine::as_of::TableHistory;
use crate::engine::join::JoinSpec;
use crate::engine::table::Partitions;
use crate::error::{Error, Result, word};
use crate::model::{DateRange, TableName};
use crate::parallel::processors;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::find_if_there;

/// One job, resolved.
pub(in crate::commands) struct ResolvedJob {
    pub(super) name: String,
    /// Whether the command line describes it.
    pub(super) is_ad_hoc: bool,
    pub(super) work: Work,
    pub(super) output: Location,
    pub(super) layout: Layout,
    pub(super) events: Vec<EventsSource>,
    pub(super) tables: BTreeMap<String, TableHistory>,
    /// What a query reads, by the names that it has there.
    pub(super) relations: Vec<JobRelation>,
    /// The zone in which the job's days lie.
    pub(super) zone: Tz,
    pub(super) hash: JobHash,
    /// The time at which the copies stood that are read; those of now if `None`.
    pub(super) known_at: Option<DateTime<Utc>>,
    /// What stood among the outputs of the range when the job began.
    pub(super) outputs: Partitions,
    /// What interrupted writers left among them.
    pub(super) leftovers: Vec<PathBuf>,
    /// The schemas of the nearest outputs before and after the range, if they are compared.
    pub(super) nearest: Vec<(NaiveDate, SchemaRef)>,
    /// The dates whose failure was kept when the job began.
    pub(super) failures: BTreeSet<NaiveDate>,
}

/// What a job does.
pub(super) enum Work {
    /// Runs a query.
    #[cfg(feature = "sql")]
    Sql(String),
    /// Joins its events to a table.
    Join(JoinSpec, TableName),
    /// Runs a program.
    Command(CommandWork),
}

impl Work {
    /// How many dates run in parallel, if nobody says. Each date of a join waits for the disk or
    /// the store a while, when its output is published, and needs little memory; queries share the
    /// memory that there is.
    pub(super) fn workers(&self) -> usize {
        match self {
            #[cfg(feature = "sql")]
            Work::Sql(_) => processors(),
            Work::Command(_) => processors(),
            Work::Join(..) => processors() + 2,
        }
    }
}

impl ResolvedJob {
    /// An error about what the job reads, with the names that the user knows.
    pub(super) fn reword(&self, error: Error) -> Error {
        self.events
            .iter()
            .filter_map(|events| events.dated.as_ref())
            .fold(error, |error, (dated, _)| dated.reword(error))
    }

    /// The root of the outputs, as it is shown.
    pub(in crate::commands) fn shown_output(&self, workspace: &Workspace<'_>) -> String {
        workspace.shown(&self.output)
    }

    /// What to write for outputs in a layout with other names.
    pub(super) fn other_layout(&self) -> String {
        let layout = renamed(&self.layout);
        if self.is_ad_hoc {
            format!("--out-layout {}", word(&layout))
        } else {
            format!("[jobs.{}] layout = \"{layout}\" in asof.toml", self.name)
        }
    }

    /// The object of a date.
    pub(super) fn path(&self, date: NaiveDate) -> Location {
        object_of(&self.output, &self.layout, &self.name, date)
    }

    /// The events' columns of a join that meet keys of text, as text: a date whose codes are all
    /// digits has codes all the same. Nothing is known of a table without a snapshot.
    pub(super) fn text_keys(&self, last: NaiveDate) -> Option<SchemaRef> {
        let Work::Join(spec, table) = &self.work else {
            return None;
        };
        let history = self.tables.get(table.as_str())?;
        let schema = history.columns_until(last).ok().flatten()?;
        let is_text = |column: &String| {
            schema
                .field_with_name(column)
                .is_ok_and(|field| field.data_type() == &DataType::Utf8)
        };
        let fields = spec
            .on
            .iter()
            .filter(|(_, column)| is_text(column))
            .map(|(events, _)| Field::new(events, DataType::Utf8, true));
        Some(SchemaRef::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// The zone in which the days of the events lie, if columns tell them, and in one zone.
    pub(super) fn zone_of_events(&self) -> Option<Tz> {
        let mut zones = self
            .events
            .iter()
            .filter_map(|events| Some(events.dated.as_ref()?.0.column.zone));
        let first = zones.next()?;
        zones.all(|zone| zone == first).then_some(first)
    }

    /// The places of a date's output: the object that asof would write, and the files that an
    /// engine wrote.
    pub(super) fn places(&self, date: NaiveDate) -> Result<Vec<String>> {
        let output = self.output_of(date)?;
        let files = output.iter().flat_map(JobOutput::files);
        let files = files.map(|file| file.location.to_string());
        Ok(files.chain([self.path(date).to_string()]).collect())
    }

    /// The files that stand in the output's partition of a date now.
    pub(super) fn standing(&self, date: NaiveDate) -> Result<Vec<Object>> {
        let found = find_if_there(&self.output, &self.layout, Some(DateRange::single(date)))?;
        Ok(found.partitions.into_values().flatten().collect())
    }

    /// The dates of the range that have events, ascending; a query without events runs on every
    /// date.
    pub(in crate::commands) fn dates(&self, range: DateRange) -> Vec<NaiveDate> {
        if self.events.is_empty() {
            return range.dates().collect();
        }
        let mut dates: Vec<NaiveDate> = self
            .events
            .iter()
            .flat_map(|events| events.found.partitions.keys().copied())
            .collect();
        dates.sort();
        dates.dedup();
        dates
    }
}

/// The layout of a job's outputs.
///
/// # Errors
/// A usage error for one that is not a layout.
pub(in crate::commands) fn layout_of(config: &JobConfig) -> Result<Layout> {
    Layout::parse_written(config.layout.as_deref().unwrap_or("date=%Y-%m-%d"))
}

/// The object of a date below an output.
pub(super) fn object_of(
    output: &Location,
    layout: &Layout,
    job: &str,
    date: NaiveDate,
) -> Location {
    let path = output.join(&layout.path(date));
    if path.ending() == "parquet" {
        path
    } else {
        path.join(&format!("{job}.parquet"))
    }
}
