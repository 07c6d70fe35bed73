//! One date of a job: whether it is to be run, its events, and its output, written whole or not at all.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::job::{EventsSource, Job, Work, recorded_in};
use super::sides::Sides;
use super::{BackfillOptions, DateReport};
use crate::commands::Workspace;
use crate::domain::path_columns::PathColumns;
use crate::domain::staleness::{DateState, Inputs};
use crate::error::{Error, Kind, Result};
use crate::model::DateRange;
use crate::source::{self, Format};
use crate::storage::commit::{Staged, sweep};
use crate::storage::footer::{Content, Footer, OutputFooter};
use crate::storage::location::{Location, Object};
use crate::storage::writer::ObjectWriter;
use crate::storage::{Batches, within};

/// The work on one date, with all that it needs to know.
pub(super) struct DateRun<'a> {
    pub(super) job: &'a Job,
    pub(super) workspace: &'a Workspace<'a>,
    options: &'a BackfillOptions,
    /// How many dates run side by side.
    #[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "queries share the memory"))]
    pub(super) workers: usize,
    /// Whether other dates will ask for the same tables.
    #[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "a join's table sides know it"))]
    pub(super) many: bool,
    /// The table sides, of a join.
    pub(super) sides: Option<&'a Sides<'a>>,
    pub(super) date: NaiveDate,
    pub(super) report: DateReport,
}

impl<'a> DateRun<'a> {
    pub(super) fn new(
        job: &'a Job,
        workspace: &'a Workspace<'a>,
        options: &'a BackfillOptions,
        workers: usize,
        many: bool,
        sides: Option<&'a Sides<'a>>,
        date: NaiveDate,
    ) -> Self {
        DateRun { job, workspace, options, workers, many, sides, date, report: DateReport::new(date) }
    }

    /// Does the work; a failure is told in the report, and remembered beside the outputs.
    pub(super) fn run(mut self, state: Result<DateState>) -> DateReport {
        match state.and_then(|state| self.attempt(state)) {
            Ok(action) => {
                self.report.action = action;
                if action == "written" {
                    self.job.forget_failure(self.date);
                }
            }
            Err(error) => {
                self.report = self.report.failed(&error);
                if !self.options.dry_run && error.kind() != Kind::Usage {
                    self.job.remember(self.date, &error);
                }
            }
        }
        self.report
    }

    fn attempt(&mut self, state: DateState) -> Result<&'static str> {
        let inputs = self.job.inputs(self.date)?;
        self.report.tables = inputs.tables.iter().map(|(name, input)| (name.clone(), input.snapshot_date)).collect();
        let taken = self.options.only.takes(&state);
        let done = state == DateState::Done;
        self.report.was = Some(state);
        match (taken, done, self.options.dry_run) {
            (false, true, _) => return Ok("up to date"),
            (false, false, _) => return Ok("left"),
            (true, _, true) => return Ok("planned"),
            (true, _, false) => {}
        }
        self.write(inputs)?;
        Ok("written")
    }

    fn write(&mut self, inputs: Inputs) -> Result<()> {
        let path = self.job.path(self.date);
        if let Some(folder) = path.parent() {
            sweep(&folder, self.workspace.clock.now());
        }
        self.refuse_strangers(&path)?;
        let mut output = Output { job: self.job, date: self.date, path: &path, staged: None, writer: None, columns: None };
        let job = self.job;
        match &job.work {
            Work::Sql(sql) => self.write_sql(sql, &mut output)?,
            Work::Join(spec, table) => self.write_join(spec, table, &mut output)?,
        }
        let Output { staged: Some(staged), writer: Some(writer), columns, .. } = output else {
            return Err(Error::io("there was nothing to write"));
        };
        self.report.left_to_path = columns.iter().flat_map(PathColumns::names).map(str::to_owned).collect();
        let rows = writer.rows();
        let asof_version = env!("CARGO_PKG_VERSION").into();
        let footer = OutputFooter { job_name: job.name.clone(), date: self.date, rows, inputs, asof_version };
        writer.finish(&Footer::new(Content::Output(footer)))?;
        staged.publish_over()?;
        self.report.rows = Some(rows);
        Ok(())
    }

    #[cfg(not(feature = "sql"))]
    fn write_sql(&mut self, _: &str, _: &mut Output<'_>) -> Result<()> {
        Err(super::resolve::without_sql())
    }

    /// Refuses a partition that holds what is not this job's: other files, since whoever reads it would count rows twice, or an object
    /// of its name that asof did not write.
    fn refuse_strangers(&self, own: &Location) -> Result<()> {
        let standing = self.job.standing(self.date)?;
        if let Some(stranger) = standing.iter().find(|object| object.location != *own) {
            let what = format!("'{}' lies in the output's partition and was not written by this job", stranger.location);
            return Err(Error::refused(what).hint("remove it, or choose another --out or output"));
        }
        standing.first().map(recorded_in).transpose().map(|_| ())
    }

    /// Opens the events of the date. Texts may come as dictionaries, but for the columns `plain`, if those are told.
    pub(super) fn events_of(&self, events: &EventsSource, plain: Option<&[String]>) -> Result<EventRows> {
        let date = self.date;
        let objects = events.found.partitions.get(&date).map(Vec::as_slice).unwrap_or_default();
        if objects.is_empty() {
            let error = Error::refused(format!("events {} have no partition of {date}", events.name));
            return Err(error.hint(format!("{}, to see what is there", events.listing(DateRange::single(date)))));
        }
        let place = format!("events {}, {date}", events.name);
        let at = |error: Error| error.within(&place);
        let format = events.format.of(objects).map_err(at)?;
        let rows = match plain {
            Some(plain) => source::read_as_dictionaries(objects, format, &events.types, plain),
            None => source::read(objects, format, &events.types, None),
        };
        let source::Rows { schema, batches } = rows.map_err(at)?;
        Ok(EventRows { objects: objects.to_vec(), format, schema, batches: within(batches, place) })
    }
}

/// A date's events.
pub(super) struct EventRows {
    #[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "only a query reads events twice"))]
    pub(super) objects: Vec<Object>,
    #[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "only a query reads events twice"))]
    pub(super) format: Format,
    pub(super) schema: SchemaRef,
    pub(super) batches: Batches,
}

/// A date's output on its way.
pub(super) struct Output<'a> {
    job: &'a Job,
    date: NaiveDate,
    path: &'a Location,
    staged: Option<Staged>,
    writer: Option<ObjectWriter>,
    columns: Option<PathColumns>,
}

impl Output<'_> {
    /// Begins the object, unless it is begun.
    pub(super) fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        if self.writer.is_none() {
            let staged = Staged::create(self.path)?;
            let columns = PathColumns::of(schema, &self.job.layout, self.date);
            self.writer = Some(ObjectWriter::create(staged.writer()?, columns.schema(), &[], self.path)?);
            (self.staged, self.columns) = (Some(staged), Some(columns));
        }
        Ok(())
    }

    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        match (&mut self.writer, &self.columns) {
            (Some(writer), Some(columns)) => writer.write(columns.leave(batch).map_err(|error| error.hint(self.job.other_layout()))?),
            _ => Err(Error::io("the output was not begun")),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.writer.as_ref().map_or(0, ObjectWriter::rows)
    }
}
