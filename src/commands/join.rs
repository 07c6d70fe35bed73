//! `asof join`: events of many dates joined in one pass, each to the table as of its own date.
//!
//! The date of an event is in a column ([`crate::engine::dated`]). The output is one file, in the
//! order of the events. For one file a date, which a later run can bring up to date one by one,
//! there is `asof backfill --events-date-column`.
//!
//! **Who reads what.** The date column is read first, alone: its dates say which snapshots are
//! needed. Then the build side is made of the versions of the table's rows that hold on one of
//! those dates, from intervals or from the snapshots, each of which is read once. Then the events
//! are read, a batch at a time, and each looks up the version of its key that holds on its date
//! ([`crate::domain::join`]). Text is parsed both times.
//!
//! **What is held.** The build side, which must fit half of the memory that may be used, and a
//! batch of events.
//!
//! **Rerun.** The output's footer records what it was made from: the events' files, the snapshots
//! that served their dates, and the join itself. If they are the same, nothing is written. A file
//! that asof join did not write is never replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Schema, SchemaRef};
use chrono::NaiveDate;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::Workspace;
use super::backfill::{AdHoc, BackfillOptions, BuildSource, Need, Needs, ServedBy, View};
use super::backfill::{history, refuse_inputs_as_output, resolve_join};
use crate::domain::days::to_days;
use crate::domain::join::JoinKind;
use crate::domain::schema::unify;
use crate::domain::staleness::{Inputs, StateFilter, TableInput};
use crate::domain::type_names::type_name;
use crate::engine::as_of::{RowSource, TableHistory};
use crate::engine::dated::{Dated, Survey};
use crate::engine::intervals::Intervals;
use crate::engine::join::{JoinColumns, JoinSpec, JoinTable, Timed};
use crate::engine::join_input::intervals::of_intervals;
use crate::engine::join_input::snapshots::{DatedSnapshot, versions_of_snapshots};
use crate::error::{Error, Kind, Result};
use crate::model::{DateRange, DaySpan, TableName};
use crate::parallel::{self, decoding_threads, object_threads};
use crate::source::ReadAs;
use crate::storage::lake::commit::{Staged, sweep};
use crate::storage::lake::location::{Location, Object};
use crate::storage::object_store::http::RequestCounts;
use crate::storage::parquet::footer::{Content, Footer, JoinFooter};
use crate::storage::parquet::object::ParquetObject;
use crate::storage::parquet::writer::ObjectWriter;
use crate::storage::{Batches, within};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// The join, and the events with their date column.
    pub ad_hoc: AdHoc,
    /// The dates whose events are joined; all if `None`.
    pub range: Option<DateRange>,
    /// Where the table's rows come from.
    pub using: RowSource,
    /// Overrules the table's tolerance.
    pub tolerance: Option<DaySpan>,
    /// Overrules the table's lag.
    pub lag: Option<DaySpan>,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

/// What a run did about the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinAction {
    /// It was written.
    Written,
    /// It was up to date already.
    UpToDate,
    /// A dry run: it would be written.
    Planned,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
pub struct JoinReport {
    /// The output.
    pub output: String,
    /// What the run did.
    pub action: JoinAction,
    /// The table.
    pub table: TableName,
    /// How the table is looked up, in words.
    pub rule: String,
    /// Where the table's rows came from.
    pub using: ServedBy,
    /// The first date of the events.
    pub from: NaiveDate,
    /// The last one.
    pub to: NaiveDate,
    /// How many dates the events have.
    pub dates: u64,
    /// How many events there are.
    pub events: u64,
    /// How many of them met a row, if they were joined.
    pub matched: Option<u64>,
    /// The rows of the output.
    pub rows: Option<u64>,
    /// How the files of text are written, where that was detected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detected: Vec<ReadAs>,
    /// What object stores were asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests: Option<RequestCounts>,
}

/// Joins events of many dates.
///
/// # Errors
/// A usage error for what is missing or wrong; a refusal of events without a date, of a date that
/// no snapshot serves, and of a file that something else wrote.
pub fn join(workspace: &Workspace<'_>, options: &JoinOptions) -> Result<JoinReport> {
    let (report, store_requests) =
        workspace.counting(|| JoinRun::plan(workspace, options)?.run(workspace, options))?;
    Ok(JoinReport {
        store_requests,
        ..report
    })
}

/// A join, planned.
struct JoinRun {
    spec: JoinSpec,
    history: TableHistory,
    events_name: String,
    events: Dated,
    survey: Survey,
    /// The observed date that serves each date of the events.
    served: BTreeMap<NaiveDate, NaiveDate>,
    output: Location,
}

impl JoinRun {
    fn plan(workspace: &Workspace<'_>, options: &JoinOptions) -> Result<Self> {
        let out = &options.ad_hoc.job.output;
        let output = workspace.here(out)?;
        if output.ending() != "parquet" {
            return Err(Error::usage(format!("--out '{out}' is not a Parquet file"))
                .hint("--out FILE.parquet")
                .hint(
                    "asof backfill --events-date-column COLUMN --out DIR --from D --to D, to \
                     write one file for each date",
                ));
        }
        let join = resolve_join(workspace, &options.ad_hoc.job, Some(&options.ad_hoc))?.into_join();
        let (spec, name, place) =
            join.ok_or_else(|| Error::usage("a join needs events and a table"))?;
        refuse_inputs_as_output(workspace, &output, &output, std::slice::from_ref(&place))?;
        let dates = place.dates.clone().into_column().ok_or_else(|| {
            Error::usage(format!(
                "the date column of the events {} is unknown",
                place.name
            ))
            .hint("--events-date-column COLUMN")
        })?;
        let events = place.dated_by(workspace, dates);
        let survey = events.survey(options.range)?;
        let (Some((first, _)), Some((last, _))) = (
            survey.dates.first_key_value(),
            survey.dates.last_key_value(),
        ) else {
            let within = options
                .range
                .map_or(String::new(), |range| format!(" from {range}"));
            return Err(Error::refused(format!(
                "{} has no rows{within}",
                events.place
            )));
        };
        let range = DateRange::new(*first, *last)?;
        let history = history(workspace, &name, &[View::AsOf], &options.as_backfill(range))?;
        let served = served(&history, &survey)?;
        Ok(JoinRun {
            spec,
            history,
            events_name: place.name,
            events,
            survey,
            served,
            output,
        })
    }

    fn run(mut self, workspace: &Workspace<'_>, options: &JoinOptions) -> Result<JoinReport> {
        let inputs = self.inputs(options)?;
        let recorded = recorded(&self.output)?;
        let needs = Needs::new(&self.spec, &self.history, true);
        let needs: Vec<Need> = self
            .served
            .keys()
            .map(|date| needs.of(*date))
            .collect::<Result<_>>()?;
        let columns = Arc::new(self.columns(&needs)?);
        self.events.types.pinned = needs.last().map(|need| need.text_keys(&self.spec));
        let mut report = self.planned(workspace, &needs);
        if let Some(footer) = recorded.filter(|footer| footer.inputs == inputs) {
            report.action = JoinAction::UpToDate;
            report.rows = Some(footer.rows);
            return Ok(report);
        }
        let rows = self.events.rows(&self.survey)?;
        let name = &self.history.table.name;
        let schema = columns.output_schema(&self.spec, &rows.schema, &self.events_name, name)?;
        report.detected = self.events.types.observed.detected();
        if options.dry_run {
            return Ok(report);
        }
        let versions = self.versions(workspace, &needs, &columns)?;
        let limit = workspace.memory.for_rows_of_all_dates();
        let table = JoinTable::build(&columns, versions, Some(limit))
            .map_err(|error| error.within(format!("table {name}")))?;
        let table = table.ok_or_else(|| self.too_large())?;
        let (matched, rows) = self.write(workspace, &table, rows.batches, &schema, inputs)?;
        report.action = JoinAction::Written;
        report.matched = Some(matched);
        report.rows = Some(rows);
        Ok(report)
    }

    /// The report of a join that is planned and not run.
    fn planned(&self, workspace: &Workspace<'_>, needs: &[Need]) -> JoinReport {
        let dates = &self.survey.dates;
        JoinReport {
            output: workspace.shown(&self.output),
            action: JoinAction::Planned,
            table: self.history.table.name.clone(),
            rule: self.history.rule.in_words(),
            using: match intervals_of_all(needs) {
                Some(_) => ServedBy::Intervals,
                None => ServedBy::Snapshots,
            },
            from: dates.keys().next().copied().unwrap_or_default(),
            to: dates.keys().next_back().copied().unwrap_or_default(),
            dates: dates.len() as u64,
            events: dates.values().sum(),
            matched: None,
            rows: None,
            detected: Vec::new(),
            store_requests: None,
        }
    }

    /// The copies that serve the events, ascending.
    fn observed(&self) -> Vec<NaiveDate> {
        let observed: BTreeSet<NaiveDate> = self.served.values().copied().collect();
        observed.into_iter().collect()
    }

    /// What the output would be made from now.
    fn inputs(&self, options: &JoinOptions) -> Result<Inputs> {
        let table = &self.history.table;
        let read = parallel::map(
            object_threads(table.root.store().is_some()),
            &self.observed(),
            |date| {
                let fingerprint = self.history.facts(*date)?.fingerprint;
                Ok(TableInput {
                    snapshot_date: *date,
                    fingerprint,
                })
            },
        );
        let copies = read.into_iter().collect::<Result<Vec<_>>>()?;
        let types =
            |declared: &BTreeMap<String, arrow::datatypes::DataType>| -> BTreeMap<String, String> {
                declared
                    .iter()
                    .map(|(name, data_type)| (name.clone(), type_name(data_type)))
                    .collect()
            };
        let job = serde_json::json!({
            "join": self.spec,
            "table": [table.name.as_str()],
            "key": table.key,
            "rule": self.history.rule.in_words(),
            "range": options.range.map(|range| range.to_string()),
            "date_column": self.events.column.in_json(),
            "types": [types(&self.events.types.declared), types(&table.types.declared)],
            "csv": [self.events.types.csv.in_words(), self.events.types.csv_as_text.to_string()],
            "files": [self.events.format.declared.map(|format| format.to_string()), self.events.layout.as_ref().map(ToString::to_string)],
        });
        Ok(Inputs {
            job: format!("{:032x}", xxh3_128(job.to_string().as_bytes())),
            tables: BTreeMap::new(),
            events: BTreeMap::from([(
                self.events_name.clone(),
                self.survey.files.iter().map(Object::identity).collect(),
            )]),
            history: BTreeMap::from([(table.name.to_string(), copies)]),
            known_at: None,
        })
    }

    /// The columns that the join needs of the table: those that it had on one of the dates, in the
    /// types that hold all of them.
    fn columns(&self, needs: &[Need]) -> Result<JoinColumns> {
        let table = &self.history.table;
        let mut all: SchemaRef = Arc::new(Schema::empty());
        for need in needs {
            all = unify(&all, need.schema())
                .map_err(|clash| clash.refusal(table.name.as_str(), need.observed))?
                .0;
        }
        JoinColumns::of(&self.spec, &table.name, &table.key, &all)
    }

    /// The versions of the table's rows on the dates that serve the events: from intervals if they
    /// have all of them, or else from snapshots.
    fn versions(
        &self,
        workspace: &Workspace<'_>,
        needs: &[Need],
        columns: &Arc<JoinColumns>,
    ) -> Result<Timed> {
        let observed = self.observed();
        if let Some(intervals) = intervals_of_all(needs) {
            return of_intervals(intervals, columns, &observed);
        }
        let table = &self.history.table;
        let snapshots = self.history.snapshots_of(&observed);
        let snapshots: Vec<DatedSnapshot> = snapshots.map_err(|error| match error.kind() {
            // A date that only the intervals know, beside one that they do not.
            Kind::Refused => error.hint(format!(
                "asof compact {}, so that intervals have every date",
                table.name
            )),
            _ => error,
        })?;
        let limit = Some(workspace.memory.for_rows_of_all_dates());
        let versions = versions_of_snapshots(
            table,
            &snapshots,
            columns,
            workspace.memory,
            decoding_threads(),
            limit,
        )?;
        versions.ok_or_else(|| self.too_large())
    }

    fn too_large(&self) -> Error {
        let name = &self.history.table.name;
        let what = format!(
            "table {name}: its versions on {} dates need more than half of the memory",
            self.survey.dates.len()
        );
        Error::refused(what)
            .hint("--memory SIZE, with more of it")
            .hint(
                "asof backfill --events-date-column COLUMN --out DIR --from D --to D, which \
                 takes a few dates at a time",
            )
    }

    /// Writes the output; gives how many events met a row, and how many rows there are.
    fn write(
        &self,
        workspace: &Workspace<'_>,
        table: &JoinTable,
        events: Batches,
        schema: &SchemaRef,
        inputs: Inputs,
    ) -> Result<(u64, u64)> {
        if let Some(folder) = self.output.parent() {
            sweep(&folder, workspace.clock.now());
        }
        let staged = Staged::create(&self.output)?;
        let mut writer = ObjectWriter::create(staged.writer()?, schema, &[], &self.output)?;
        let side = table.on_each();
        let mut joined = side.join(
            &self.spec,
            within(self.as_observed(events), self.events.place.clone()),
            schema,
        );
        for batch in &mut joined {
            writer.write(batch?)?;
        }
        let read = joined.read;
        let matched = joined.matched;
        let rows = writer.rows();
        if read != self.survey.dates.values().sum::<u64>() {
            return Err(changed(&self.events.place));
        }
        if self.spec.how == JoinKind::Left && rows != read {
            return Err(Error::internal(format!(
                "a left join of {read} events gave {rows} rows"
            )));
        }
        let footer = JoinFooter {
            rows,
            inputs,
            asof_version: env!("CARGO_PKG_VERSION").into(),
        };
        writer.finish(&Footer::new(Content::Join(footer)))?;
        staged.publish_over()?;
        Ok((matched, rows))
    }

    /// Events whose dates are those of the snapshots that serve them.
    fn as_observed(&self, events: Batches) -> Batches {
        let served: BTreeMap<i32, i32> = self
            .served
            .iter()
            .map(|(date, observed)| (to_days(*date), to_days(*observed)))
            .collect();
        let place = self.events.place.clone();
        Box::new(events.map(move |batch| {
            let batch = batch?;
            let mut columns = batch.columns().to_vec();
            let dates = columns.pop().ok_or_else(|| changed(&place))?;
            let days = dates.as_primitive::<Date32Type>();
            if days.values().iter().any(|day| !served.contains_key(day)) {
                return Err(changed(&place));
            }
            let observed =
                days.unary::<_, Date32Type>(|day| served.get(&day).copied().unwrap_or(day));
            columns.push(Arc::new(observed));
            RecordBatch::try_new(batch.schema(), columns)
                .map_err(|error| Error::io(format!("cannot add the dates of rows: {error}")))
        }))
    }
}

/// The intervals, if they serve all dates.
fn intervals_of_all(needs: &[Need]) -> Option<&Intervals> {
    let mut first = None;
    for need in needs {
        let BuildSource::Intervals(intervals) = &need.source else {
            return None;
        };
        first.get_or_insert(intervals.as_ref());
    }
    first
}

fn changed(place: &str) -> Error {
    Error::io(format!("{place}: the events changed while they were read")).hint("run it again")
}

impl JoinOptions {
    /// The same for a backfill of the dates of a range.
    fn as_backfill(&self, range: DateRange) -> BackfillOptions {
        BackfillOptions {
            only: StateFilter::ORPHANED,
            using: self.using,
            tolerance: self.tolerance,
            lag: self.lag,
            dry_run: self.dry_run,
            ..BackfillOptions::of_range(range)
        }
    }
}

/// The observed date that serves each date of the events.
///
/// # Errors
/// The refusal of the first date that none serves, with the number of all such dates.
fn served(history: &TableHistory, survey: &Survey) -> Result<BTreeMap<NaiveDate, NaiveDate>> {
    let (mut served, mut refused): (BTreeMap<_, _>, Vec<Error>) = (BTreeMap::new(), Vec::new());
    for date in survey.dates.keys() {
        match history.resolve(*date) {
            Ok(observed) => {
                served.insert(*date, observed);
            }
            Err(error) if error.kind() == Kind::Refused => refused.push(error),
            Err(error) => return Err(error),
        }
    }
    match refused.len() {
        0 => Ok(served),
        count => {
            let first = served.keys().next().copied();
            // The events may begin before the table does.
            let from = first.filter(|first| survey.dates.range(..*first).count() == count);
            let error = refused.swap_remove(0);
            let error = from.map_or_else(
                || error.duplicate(),
                |from| {
                    error
                        .duplicate()
                        .hint(format!("--from {from}, to leave out earlier events"))
                },
            );
            let dates = survey.dates.len();
            let have = if count == 1 { "has" } else { "have" };
            Err(if dates == 1 {
                error
            } else {
                error.within(format!(
                    "{count} of {dates} dates of the events {have} no snapshot"
                ))
            })
        }
    }
}

/// What the file at the output's place was made from; nothing if there is none.
fn recorded(output: &Location) -> Result<Option<JoinFooter>> {
    if !output.exists()? {
        return Ok(None);
    }
    let other = || {
        Error::refused(format!(
            "'{output}' was not written by asof join, and will not be replaced"
        ))
        .hint("remove it, or choose another --out")
    };
    let opened = ParquetObject::open(output).map_err(|error| {
        if error.kind() == Kind::Io {
            error
        } else {
            other()
        }
    })?;
    match opened.footer()?.map(|footer| footer.content) {
        Some(Content::Join(footer)) => Ok(Some(footer)),
        _ => Err(other()),
    }
}
