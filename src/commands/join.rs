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

mod dated_join;
mod given;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use self::dated_join::{DatedJoin, changed, intervals_of_all};
use super::Workspace;
use super::backfill::{AdHoc, BackfillOptions, Need, ServedBy, View};
use super::backfill::{history, refuse_inputs_as_output, resolve_join};
use crate::domain::join::JoinKind;
use crate::domain::staleness::{Inputs, StateFilter, TableInput};
use crate::domain::type_names::type_name;
use crate::engine::as_of::RowSource;
use crate::engine::dated::{Dated, Survey};
use crate::engine::join::JoinTable;
use crate::error::{Error, Kind, Result};
use crate::model::{DateRange, DaySpan, TableName};
use crate::parallel::{self, object_threads};
use crate::source::ReadAs;
use crate::storage::lake::commit::{Staged, sweep};
use crate::storage::lake::location::{Location, Object};
use crate::storage::object_store::http::RequestCounts;
use crate::storage::parquet::footer::{Content, Footer, JoinFooter};
use crate::storage::parquet::object::ParquetObject;
use crate::storage::parquet::writer::ObjectWriter;
use crate::storage::{Batches, within};

pub(crate) use self::given::{GivenEvents, GivenJoin, GivenJoinOptions};

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
    dated: DatedJoin,
    events_name: String,
    events: Dated,
    survey: Survey,
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
        let dates = survey.dates.keys().copied();
        let dated = DatedJoin::new(spec, history, dates, |first| {
            format!("--from {first}, to leave out earlier events")
        })?;
        Ok(JoinRun {
            dated,
            events_name: place.name,
            events,
            survey,
            output,
        })
    }

    fn run(mut self, workspace: &Workspace<'_>, options: &JoinOptions) -> Result<JoinReport> {
        let inputs = self.inputs(options)?;
        let recorded = recorded(&self.output)?;
        let needs = self.dated.needs()?;
        let columns = Arc::new(self.dated.columns(&needs)?);
        let spec = &self.dated.spec;
        self.events.types.pinned = needs.last().map(|need| need.columns.text_keys(spec));
        let mut report = self.planned(workspace, &needs);
        if let Some(footer) = recorded.filter(|footer| footer.inputs == inputs) {
            report.action = JoinAction::UpToDate;
            report.rows = Some(footer.rows);
            return Ok(report);
        }
        let rows = self.events.rows(&self.survey)?;
        let name = &self.dated.history.table.name;
        let schema = columns.output_schema(spec, &rows.schema, &self.events_name, name)?;
        report.detected = self.events.types.observed.detected();
        if options.dry_run {
            return Ok(report);
        }
        let table = self.dated.build(workspace, &needs, &columns)?;
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
            table: self.dated.history.table.name.clone(),
            rule: self.dated.history.rule.in_words(),
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

    /// What the output would be made from now.
    fn inputs(&self, options: &JoinOptions) -> Result<Inputs> {
        let DatedJoin { spec, history, .. } = &self.dated;
        let table = &history.table;
        let read = parallel::map(
            object_threads(table.root.store().is_some()),
            &self.dated.observed(),
            |date| {
                let fingerprint = history.facts(*date)?.fingerprint;
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
            "join": spec,
            "table": [table.name.as_str()],
            "key": table.key,
            "rule": history.rule.in_words(),
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

    fn too_large(&self) -> Error {
        let name = &self.dated.history.table.name;
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
        let events = self.dated.as_observed(events, self.events.place.clone());
        let events = within(events, self.events.place.clone());
        let mut joined = side.join(&self.dated.spec, events, schema);
        for batch in &mut joined {
            writer.write(batch?)?;
        }
        let read = joined.read;
        let matched = joined.matched;
        let rows = writer.rows();
        if read != self.survey.dates.values().sum::<u64>() {
            return Err(changed(&self.events.place));
        }
        if self.dated.spec.how == JoinKind::Left && rows != read {
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
