//! One date of a job: whether it is to be run, its events, and its output, written whole or not at
//! all.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use chrono::NaiveDate;

use super::build_side_cache::Sides;
use super::job::{EventsSource, Job, Work, recorded_in};
use super::schema::{Turns, refusal};
use super::{BackfillOptions, DateAction, DateReport};
use crate::commands::Workspace;
use crate::domain::cast::cast_exactly;
use crate::domain::path_columns::PathColumns;
use crate::domain::staleness::{DateState, Inputs};
use crate::error::{Context, Error, Kind, Result};
use crate::model::DateRange;
use crate::source::{self, Format, TypeRules};
use crate::storage::lake::commit::{Staged, sweep};
use crate::storage::lake::location::{Location, Object};
use crate::storage::parquet::footer::{Content, Footer, OutputFooter};
use crate::storage::parquet::writer::ObjectWriter;
use crate::storage::{Batches, within};

/// The work on one date, with all that it needs to know.
pub(super) struct DateRun<'a> {
    pub(super) job: &'a Job,
    pub(super) workspace: &'a Workspace<'a>,
    options: &'a BackfillOptions,
    /// How many dates run in parallel.
    #[cfg_attr(
        not(feature = "sql"),
        allow(dead_code, reason = "queries share the memory")
    )]
    pub(super) workers: usize,
    /// Whether other dates will ask for the same tables.
    pub(super) many: bool,
    /// The build sides, of a join.
    pub(super) sides: Option<&'a Sides<'a>>,
    turns: &'a Turns,
    pub(super) date: NaiveDate,
    pub(super) report: DateReport,
}

/// What the dates of a run share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    /// How many dates run in parallel.
    pub(super) workers: usize,
    /// Whether other dates will ask for the same tables.
    pub(super) many: bool,
    /// The build sides, of a join.
    pub(super) sides: Option<&'a Sides<'a>>,
    /// The turns in which schemas are compared.
    pub(super) turns: &'a Turns,
}

impl<'a> DateRun<'a> {
    pub(super) fn new(
        job: &'a Job,
        workspace: &'a Workspace<'a>,
        options: &'a BackfillOptions,
        shared: Shared<'a>,
        date: NaiveDate,
    ) -> Self {
        let Shared {
            workers,
            many,
            sides,
            turns,
        } = shared;
        DateRun {
            job,
            workspace,
            options,
            workers,
            many,
            sides,
            turns,
            date,
            report: DateReport::new(date),
        }
    }

    /// Does the work; a failure is told in the report, and remembered beside the outputs.
    pub(super) fn run(mut self, state: Result<DateState>) -> DateReport {
        match state
            .and_then(|state| self.attempt(state))
            .map_err(|error| self.job.reword(error))
        {
            Ok(action) => {
                self.report.action = action;
                if action == DateAction::Written {
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

    fn attempt(&mut self, state: DateState) -> Result<DateAction> {
        let inputs = self.job.inputs(self.date)?;
        let served = self
            .job
            .tables
            .iter()
            .map(|(name, history)| Ok((name.clone(), history.resolve(self.date)?)));
        self.report.tables = served.collect::<Result<_>>()?;
        let taken = self.options.only.takes(&state);
        let up_to_date = state == DateState::UpToDate;
        self.report.was = Some(state);
        match (taken, up_to_date, self.options.dry_run) {
            (false, true, _) => return Ok(DateAction::UpToDate),
            (false, false, _) => return Ok(DateAction::Skipped),
            (true, _, true) => {
                if !self.reads_text()? {
                    self.check()?;
                }
                return Ok(DateAction::Planned);
            }
            (true, _, false) => {}
        }
        self.write(inputs)?;
        Ok(DateAction::Written)
    }

    /// Checks the job against the columns and types of the date's inputs.
    ///
    /// # Errors
    /// What the run would fail with before it computes a row.
    pub(super) fn check(&mut self) -> Result<()> {
        let job = self.job;
        match &job.work {
            Work::Sql(sql) => self.check_sql(sql),
            // What a program makes of its relations is its own affair.
            Work::Command(_) => Ok(()),
            Work::Join(spec, table) => self.check_join(spec, table),
        }
    }

    /// Whether the date's events are text, whose types are known only once they are read whole.
    pub(super) fn reads_text(&self) -> Result<bool> {
        for events in &self.job.events {
            let objects = events
                .found
                .partitions
                .get(&self.date)
                .map(Vec::as_slice)
                .unwrap_or_default();
            if !objects.is_empty() && !events.format.of(objects)?.carries_types() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn write(&mut self, inputs: Inputs) -> Result<()> {
        let path = self.job.path(self.date);
        if let Some(folder) = path.parent() {
            sweep(&folder, self.workspace.clock.now());
        }
        self.refuse_other_files(&path)?;
        let mut output = Output {
            job: self.job,
            turns: self.turns,
            date: self.date,
            path: &path,
            staged: None,
            writer: None,
            columns: None,
            schema: None,
            typed: Vec::new(),
            sources: Vec::new(),
        };
        let job = self.job;
        match &job.work {
            Work::Sql(sql) => self.write_sql(sql, &mut output)?,
            Work::Command(work) => self.write_command(work, &mut output)?,
            Work::Join(spec, table) => self.write_join(spec, table, &mut output)?,
        }
        let Output {
            staged: Some(staged),
            writer: Some(writer),
            columns,
            schema,
            ..
        } = output
        else {
            return Err(Error::internal("there was nothing to write"));
        };
        self.report.left_to_path = columns
            .iter()
            .flat_map(PathColumns::names)
            .map(str::to_owned)
            .collect();
        let rows = writer.rows();
        let asof_version = env!("CARGO_PKG_VERSION").into();
        let footer = OutputFooter {
            job_name: job.name.clone(),
            date: self.date,
            rows,
            inputs,
            asof_version,
        };
        writer.finish(&Footer::new(Content::Output(footer)))?;
        staged.publish_over()?;
        self.report.rows = Some(rows);
        self.report.schema = schema;
        Ok(())
    }

    #[cfg(not(feature = "sql"))]
    fn write_sql(&mut self, _: &str, _: &mut Output<'_>) -> Result<()> {
        Err(super::resolve::without_sql())
    }

    #[cfg(not(feature = "sql"))]
    fn check_sql(&mut self, _: &str) -> Result<()> {
        Err(super::resolve::without_sql())
    }

    /// Refuses a partition that holds what is not this job's: other files, since whoever reads it
    /// would count rows twice, or an object of its name that asof did not write.
    fn refuse_other_files(&self, own: &Location) -> Result<()> {
        let standing = self.job.standing(self.date)?;
        if let Some(unrecognized) = standing.iter().find(|object| object.location != *own) {
            let what = format!(
                "'{}' is in the output's partition and was not written by this job",
                unrecognized.location
            );
            return Err(Error::refused(what).hint("remove it, or choose another --out or output"));
        }
        standing.first().map(recorded_in).transpose().map(|_| ())
    }

    /// Opens the events of the date. Texts may come as dictionaries, but for the columns `plain`,
    /// if those are told. Text is read in the types of `followed`, if those are told: what is
    /// inferred from one date's values may be another one.
    pub(super) fn events_of(
        &self,
        events: &EventsSource,
        plain: Option<&[String]>,
        followed: Option<SchemaRef>,
    ) -> Result<EventRows> {
        let date = self.date;
        let objects = events
            .found
            .partitions
            .get(&date)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if objects.is_empty() {
            let error = Error::refused(format!(
                "events {} have {} of {date}",
                events.name,
                events.nothing()
            ));
            return Err(error.hint(events.hint_of(DateRange::single(date))));
        }
        let mut types = TypeRules {
            pinned: followed,
            ..events.types.clone()
        };
        if let Some(keys) = plain {
            types.layout = types
                .layout
                .clone()
                .without(self.left_to_output(events, keys));
        }
        let place = format!("events {}, {date}", events.name);
        let at = |error: Error| error.within(&place);
        let format = events.format.of(objects).map_err(at)?;
        let rows = match plain {
            Some(plain) => source::read_as_dictionaries(objects, format, &types, plain),
            None => source::read(objects, format, &types, None),
        };
        let source::Rows { schema, batches } = rows.map_err(at)?;
        Ok(EventRows {
            objects: objects.to_vec(),
            format,
            schema,
            batches: within(batches, place),
        })
    }

    /// The columns of the events' folders that a join leaves out, but for its keys: what the output
    /// has in its own path with the same value, which would be added to every row and left to the
    /// path again; and parts of the date, such as a month, which the date has.
    fn left_to_output(&self, events: &EventsSource, keys: &[String]) -> Vec<String> {
        let path = self.job.layout.path(self.date);
        let has = |name: &str, value: String| {
            path.split('/')
                .any(|part| part.split_once('=') == Some((name, value.as_str())))
        };
        let parts = events.layout.date_names().into_iter();
        let is_left = |name: &str, template: &str| {
            let value = self.date.format(template).to_string();
            has(name, value.clone()) || NaiveDate::parse_from_str(&value, template).is_err()
        };
        parts
            .filter(|(name, template)| !keys.contains(name) && is_left(name, template))
            .map(|(name, _)| name)
            .collect()
    }
}

/// A date's events.
pub(super) struct EventRows {
    pub(super) objects: Vec<Object>,
    pub(super) format: Format,
    pub(super) schema: SchemaRef,
    pub(super) batches: Batches,
}

/// A date's output on its way.
pub(super) struct Output<'a> {
    job: &'a Job,
    turns: &'a Turns,
    date: NaiveDate,
    path: &'a Location,
    staged: Option<Staged>,
    writer: Option<ObjectWriter>,
    columns: Option<PathColumns>,
    /// The columns of the object.
    schema: Option<SchemaRef>,
    /// The columns without values that take a type from other outputs, by index.
    typed: Vec<(usize, FieldRef)>,
    /// The columns of what the output is made from, each with its section of asof.toml, for hints.
    pub(super) sources: Vec<(String, SchemaRef)>,
}

/// A batch whose columns without values have types.
fn with_types(batch: RecordBatch, typed: &[(usize, FieldRef)]) -> Result<RecordBatch> {
    if typed.is_empty() {
        return Ok(batch);
    }
    let mut fields = batch.schema_ref().fields().to_vec();
    let mut columns = batch.columns().to_vec();
    for (at, field) in typed {
        (columns[*at], fields[*at]) = (
            cast_exactly(&columns[*at], field.data_type(), field.name())?,
            field.clone(),
        );
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::new(Schema::new(fields)), columns, &options)
        .io_context(|| "cannot write rows".into())
}

impl Output<'_> {
    /// Begins the object, unless it is begun.
    pub(super) fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        if self.writer.is_none() {
            let columns = PathColumns::of(schema, &self.job.layout, self.date);
            let admitted = self
                .turns
                .admit(columns.schema(), self.date)
                .map_err(|clash| refusal(&clash, &self.sources, &self.job.work))?;
            let differs = |at: &usize| admitted.field(*at) != columns.schema().field(*at);
            self.typed = (0..admitted.fields().len())
                .filter(differs)
                .map(|at| (at, admitted.fields()[at].clone()))
                .collect();
            let staged = Staged::create(self.path)?;
            self.writer = Some(ObjectWriter::create(
                staged.writer()?,
                &admitted,
                &[],
                self.path,
            )?);
            self.schema = Some(admitted);
            (self.staged, self.columns) = (Some(staged), Some(columns));
        }
        Ok(())
    }

    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        match (&mut self.writer, &self.columns) {
            (Some(writer), Some(columns)) => {
                let batch = columns
                    .leave(batch)
                    .map_err(|error| error.hint(self.job.other_layout()))?;
                writer.write(with_types(batch, &self.typed)?)
            }
            _ => Err(Error::internal("the output was not begun")),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.writer.as_ref().map_or(0, ObjectWriter::rows)
    }
}
