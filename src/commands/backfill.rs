//! `asof backfill`: for each date of a range, a job's events joined to the tables as of that date.
//!
//! **Plan.** The events' partitions of the range are found, each table's snapshots are resolved, and what every
//! date's output would be made from ([`Inputs`]) is compared with what its footer says it was made from. So
//! a rerun does only what is missing, stale or failed.
//!
//! **Apply.** Dates run side by side, each on one thread from reading to writing; a date's result depends on
//! its events, its tables and the job alone. Each date is one object, replaced atomically; other dates are never
//! touched. A failure of one date is remembered beside the outputs, in `_asof/failed/`, and does not stop the others.
//!
//! Memory: for a join the table side ([`crate::engine::join`]), shared by all threads where intervals serve;
//! a batch of events a thread. For SQL what the query needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::Workspace;
use crate::config::JobConfig;
use crate::domain::join::JoinKind;
use crate::domain::layout::Layout;
use crate::domain::staleness::{DateState, Inputs, Only, TableInput};
use crate::engine::asof::{AsOfTable, TableHistory, Using, schema_on};
use crate::engine::intervals::Intervals;
use crate::engine::join::{JoinSpec, JoinTable};
use crate::error::{Error, Kind, Result, nearest};
use crate::model::{DateRange, DaySpan, TableName};
use crate::source::{self, Format, TypeRules};
use crate::storage::Batches;
use crate::storage::commit::{Staged, sweep};
use crate::storage::footer::{Content, Footer, OutputFooter};
use crate::storage::object::{ObjectWriter, ParquetObject};
use crate::storage::partitions::{self, Found, Object, is_data};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct BackfillOptions {
    /// The dates.
    pub range: DateRange,
    /// Which states are run.
    pub only: Only,
    /// Where tables' rows come from.
    pub using: Using,
    /// How many dates run side by side.
    pub workers: usize,
    /// Overrules the tables' tolerance.
    pub tolerance: Option<DaySpan>,
    /// Overrules the tables' lag.
    pub lag: Option<DaySpan>,
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// A job that the command line describes.
    pub ad_hoc: Option<AdHoc>,
}

/// A job that is not in the configuration.
#[derive(Clone, Debug, Default)]
pub struct AdHoc {
    /// The root of the events, or the name of configured ones.
    pub events: Option<String>,
    /// Their layout.
    pub events_layout: Option<String>,
    /// Their format.
    pub events_format: Option<Format>,
    /// The rest, as the configuration would have it, with paths from the current folder.
    pub job: JobConfig,
}

/// What happened to one date.
#[derive(Clone, Debug, Serialize)]
pub struct DateReport {
    /// The date.
    pub date: NaiveDate,
    /// Where it stood before.
    pub was: Option<DateState>,
    /// `written`, `up to date`, `planned`, `left`, `no events` or `failed`.
    pub action: &'static str,
    /// The rows of the output, if it was written.
    pub rows: Option<u64>,
    /// The events that were read, if it was a join.
    pub events: Option<u64>,
    /// Those of them that met a row.
    pub matched: Option<u64>,
    /// The snapshot that served each table.
    pub tables: BTreeMap<String, NaiveDate>,
    /// `snapshots`, `intervals`, or both by table.
    pub using: BTreeMap<String, &'static str>,
    /// Why it failed.
    pub error: Option<String>,
    #[serde(skip)]
    kind: Option<Kind>,
    #[serde(skip)]
    hints: Vec<String>,
}

/// What happened to one job.
#[derive(Clone, Debug, Serialize)]
pub struct BackfillReport {
    /// The job.
    pub job: String,
    /// Where its outputs are.
    pub output: String,
    /// Their layout.
    pub layout: String,
    /// How each table is looked up, in words.
    pub rules: BTreeMap<String, String>,
    /// Every date of the range that has events, and those that failed.
    pub dates: Vec<DateReport>,
    /// How many dates of the range have no events.
    pub without_events: u64,
    /// What to try, for the failures.
    pub hints: Vec<String>,
}

impl BackfillReport {
    /// How many dates ended in this way.
    pub fn count(&self, action: &str) -> usize {
        self.dates.iter().filter(|date| date.action == action).count()
    }

    /// What the scheduler should do, if some dates failed: what all of them ask for if nothing
    /// was published, and otherwise to run the rest again.
    pub fn failure(&self) -> Option<Kind> {
        let kinds: Vec<Kind> = self.dates.iter().filter_map(|date| date.kind).collect();
        let first = *kinds.first()?;
        let others_stand = self.dates.iter().any(|date| date.kind.is_none());
        Some(if others_stand || kinds.iter().any(|kind| *kind != first) { Kind::Partial } else { first })
    }
}

/// The events of a job.
struct EventsSource {
    name: String,
    found: Found,
    format: Option<Format>,
    types: TypeRules,
}

/// One job, resolved.
pub(super) struct Job {
    name: String,
    work: Work,
    output: PathBuf,
    layout: Layout,
    events: Vec<EventsSource>,
    tables: BTreeMap<String, TableHistory>,
    hash: String,
    join_tables: Mutex<BTreeMap<usize, Arc<JoinTable>>>,
}

enum Work {
    Sql(String),
    Join(JoinSpec, TableName),
}

/// Runs jobs, one after the other.
///
/// # Errors
/// Whatever keeps a job from starting; a date's failure is in its report.
pub fn backfill(workspace: &Workspace<'_>, jobs: &[String], options: &BackfillOptions) -> Result<Vec<BackfillReport>> {
    let configured: Vec<String> = match (jobs, &options.ad_hoc) {
        ([], Some(_)) => vec![String::new()],
        ([], None) => workspace.config.jobs.keys().cloned().collect(),
        (_, Some(_)) => return Err(Error::usage("a job is named, and another one is described by options")),
        (names, None) => names.to_vec(),
    };
    if configured.is_empty() {
        return Err(Error::usage("there is no job in asof.toml, and none is described")
            .hint("asof backfill --events DIR --events-layout 'date=%Y-%m-%d' --table T --on id --how left --out DIR --from D --to D"));
    }
    configured
        .iter()
        .map(|name| {
            let job = Job::resolve(workspace, name, options)?;
            job.run(workspace, options)
        })
        .collect()
}

/// A job of the configuration, or a usage error with the nearest name.
pub(super) fn find_job<'a>(workspace: &'a Workspace<'_>, name: &str) -> Result<&'a JobConfig> {
    workspace.config.jobs.get(name).ok_or_else(|| {
        let error = Error::usage(format!("there is no job '{name}'"));
        let names: Vec<&str> = workspace.config.jobs.keys().map(String::as_str).collect();
        match nearest(name, names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None if names.is_empty() => error.hint(format!("[jobs.{name}] in asof.toml")),
            None => error.hint(format!("the jobs are {}", names.join(", "))),
        }
    })
}

impl Job {
    pub(super) fn resolve(workspace: &Workspace<'_>, name: &str, options: &BackfillOptions) -> Result<Self> {
        let (config, ad_hoc) = match &options.ad_hoc {
            Some(ad_hoc) => (&ad_hoc.job, Some(ad_hoc)),
            None => (find_job(workspace, name)?, None),
        };
        let place = |text: &str| if ad_hoc.is_some() { workspace.here(text) } else { workspace.configured(text) };
        if config.output.is_empty() {
            return Err(Error::usage("the job has no output").hint(if ad_hoc.is_some() { "--out DIR" } else { "output = \"DIR\"" }));
        }
        let output = place(&config.output)?;
        let name = if name.is_empty() { name_of(&output) } else { name.to_owned() };
        let within = |error: Error| if ad_hoc.is_some() { error } else { error.within(format!("job {name}")) };
        let layout = Layout::parse(config.layout.as_deref().unwrap_or("date=%Y-%m-%d"))?;
        let sql = match (&config.sql, &config.sql_file) {
            (Some(sql), None) => Some(sql.clone()),
            (None, Some(file)) => {
                let path = place(file)?;
                Some(std::fs::read_to_string(&path).map_err(|error| Error::usage(format!("cannot read '{}': {error}", path.display())))?)
            }
            (None, None) => None,
            _ => return Err(within(Error::usage("'sql' and 'sql_file' exclude one another"))),
        };
        let (work, events, tables) = match sql {
            Some(sql) => resolve_sql(workspace, sql, ad_hoc).map_err(within)?,
            None => resolve_join(workspace, config, ad_hoc).map_err(within)?,
        };
        let mut job = Job {
            name,
            work,
            output,
            layout,
            events: Vec::new(),
            tables: BTreeMap::new(),
            hash: String::new(),
            join_tables: Mutex::default(),
        };
        for (events, root, layout, format, types) in events {
            let found = partitions::find(&root, &layout, Some(options.range)).map_err(|error| error.within(format!("events {events}")))?;
            job.events.push(EventsSource { name: events, found, format, types });
        }
        for table in tables {
            job.tables.insert(table.to_string(), history(workspace, &table, options)?);
        }
        job.hash = job.hash();
        Ok(job)
    }

    /// The hash of all that the result depends on besides events and snapshots.
    fn hash(&self) -> String {
        let work = match &self.work {
            Work::Sql(sql) => serde_json::json!({ "sql": sql.trim() }),
            Work::Join(spec, table) => serde_json::json!({ "join": spec, "table": table }),
        };
        let types: BTreeMap<&str, BTreeMap<&str, String>> = self
            .events
            .iter()
            .map(|events| {
                (
                    events.name.as_str(),
                    events.types.declared.iter().map(|(name, data_type)| (name.as_str(), data_type.to_string())).collect(),
                )
            })
            .collect();
        let keys: BTreeMap<&str, &[String]> =
            self.tables.iter().map(|(name, history)| (name.as_str(), history.table.key.as_slice())).collect();
        let document = serde_json::json!({ "work": work, "events": types, "keys": keys });
        format!("{:032x}", xxh3_128(document.to_string().as_bytes()))
    }

    /// The root of the outputs, as it is shown.
    pub(super) fn shown_output(&self, workspace: &Workspace<'_>) -> String {
        workspace.shown(&self.output)
    }

    /// The object of a date.
    fn path(&self, date: NaiveDate) -> PathBuf {
        let path = self.output.join(self.layout.path(date));
        if path.extension().is_some_and(|ending| ending == "parquet") { path } else { path.join(format!("{}.parquet", self.name)) }
    }

    fn failure_path(&self, date: NaiveDate) -> PathBuf {
        self.output.join("_asof").join("failed").join(&self.name).join(format!("{date}.json"))
    }

    /// The dates of the range that have events, ascending; a query without events runs on every date.
    pub(super) fn dates(&self, range: DateRange) -> Vec<NaiveDate> {
        if self.events.is_empty() {
            return range.dates().collect();
        }
        let mut dates: Vec<NaiveDate> = self.events.iter().flat_map(|events| events.found.partitions.keys().copied()).collect();
        dates.sort();
        dates.dedup();
        dates
    }

    /// What the output of a date would be made from now.
    fn inputs(&self, date: NaiveDate) -> Result<Inputs> {
        let mut tables = BTreeMap::new();
        for (name, history) in &self.tables {
            let snapshot_date = history.resolve(date)?;
            let fingerprint = history.facts(snapshot_date)?.fingerprint;
            tables.insert(name.clone(), TableInput { snapshot_date, fingerprint });
        }
        let objects = |events: &EventsSource| events.found.partitions.get(&date).into_iter().flatten().map(Object::identity).collect();
        let events = self.events.iter().map(|events| (events.name.clone(), objects(events))).collect();
        Ok(Inputs { job: self.hash.clone(), tables, events })
    }

    /// What the output of a date says that it was made from; `None` if there is none.
    fn recorded(&self, date: NaiveDate) -> Result<Option<Inputs>> {
        let path = self.path(date);
        if !path.exists() {
            return Ok(None);
        }
        let foreign = || {
            Error::refused(format!("'{}' was not written by asof, and will not be replaced", path.display()))
                .hint("remove it, or choose another --out or output")
        };
        match ParquetObject::open(&path).map_err(|_| foreign())?.footer()?.map(|footer| footer.content) {
            Some(Content::Output(footer)) => Ok(Some(footer.inputs)),
            _ => Err(foreign()),
        }
    }

    /// Where a date stands, and what it would be made from.
    pub(super) fn state(&self, date: NaiveDate) -> Result<(DateState, Inputs)> {
        let failure = std::fs::read(self.failure_path(date)).ok().and_then(|bytes| serde_json::from_slice::<Failure>(&bytes).ok());
        let inputs = self.inputs(date)?;
        let state = DateState::of(self.recorded(date)?.as_ref(), &inputs, failure.map(|failure| failure.reason));
        Ok((state, inputs))
    }

    fn run(&self, workspace: &Workspace<'_>, options: &BackfillOptions) -> Result<BackfillReport> {
        let dates = self.dates(options.range);
        if dates.is_empty() {
            return Err(self.no_events(options.range));
        }
        let many = dates.len() > 1;
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let reports = Mutex::new(Vec::with_capacity(dates.len()));
        let workers = options.workers.clamp(1, dates.len());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let work = || {
                    while let Some(date) = dates.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let report = self.run_date(workspace, *date, many, &dates, options);
                        reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                        workspace.progress.step(&format!("backfill {}", self.name), done as u64, dates.len() as u64);
                    }
                };
                // A query plan is walked recursively: give it room.
                let spawned = std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, work);
                if let Err(error) = spawned {
                    workspace.progress.note(&format!("a worker could not be started: {error}"));
                }
            }
        });
        let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        reports.sort_by_key(|report| report.date);
        if reports.len() < dates.len() {
            return Err(Error::io("no worker could be started"));
        }
        self.warn_of_leakage(workspace, &reports);
        let mut hints: Vec<String> = Vec::new();
        for hint in reports.iter().flat_map(|report| &report.hints) {
            if !hints.contains(hint) && hints.len() < 3 {
                hints.push(hint.clone());
            }
        }
        Ok(BackfillReport {
            job: self.name.clone(),
            output: workspace.shown(&self.output),
            layout: self.layout.to_string(),
            rules: self.tables.iter().map(|(name, history)| (name.clone(), history.rule.in_words())).collect(),
            without_events: if self.events.is_empty() { 0 } else { (options.range.len() - dates.len()) as u64 },
            dates: reports,
            hints,
        })
    }

    fn no_events(&self, range: DateRange) -> Error {
        let names = self.events.iter().map(|events| events.name.as_str()).collect::<Vec<_>>().join(", ");
        let error = Error::refused(format!("events {names} have no partition from {range}"));
        match self.events.iter().flat_map(|events| &events.found.strangers).next() {
            Some(stranger) => error.hint(format!("'{stranger}' is there, and is outside of the range or of the layout")),
            None => error.hint("asof partitions PATH --layout L --from D --to D, to see what is there"),
        }
    }

    fn run_date(
        &self,
        workspace: &Workspace<'_>,
        date: NaiveDate,
        many: bool,
        dates: &[NaiveDate],
        options: &BackfillOptions,
    ) -> DateReport {
        let mut report = DateReport {
            date,
            was: None,
            action: "failed",
            rows: None,
            events: None,
            matched: None,
            tables: BTreeMap::new(),
            using: BTreeMap::new(),
            error: None,
            kind: None,
            hints: Vec::new(),
        };
        match self.try_date(workspace, date, many, dates, options, &mut report) {
            Ok(action) => {
                report.action = action;
                if action == "written" {
                    let _ = std::fs::remove_file(self.failure_path(date));
                }
            }
            Err(error) => {
                report.error = Some(error.to_string());
                report.kind = Some(error.kind());
                report.hints = error.hints().to_vec();
                if !options.dry_run {
                    self.remember(date, &error);
                }
            }
        }
        report
    }

    fn try_date(
        &self,
        workspace: &Workspace<'_>,
        date: NaiveDate,
        many: bool,
        dates: &[NaiveDate],
        options: &BackfillOptions,
        report: &mut DateReport,
    ) -> Result<&'static str> {
        let (state, inputs) = self.state(date)?;
        report.tables = inputs.tables.iter().map(|(name, input)| (name.clone(), input.snapshot_date)).collect();
        let taken = options.only.takes(&state);
        let done = state == DateState::Done;
        report.was = Some(state);
        match (taken, done, options.dry_run) {
            (false, true, _) => return Ok("up to date"),
            (false, false, _) => return Ok("left"),
            (true, _, true) => return Ok("planned"),
            (true, _, false) => {}
        }
        self.write_date(workspace, date, many, dates, inputs, report)?;
        Ok("written")
    }

    fn write_date(
        &self,
        workspace: &Workspace<'_>,
        date: NaiveDate,
        many: bool,
        dates: &[NaiveDate],
        inputs: Inputs,
        report: &mut DateReport,
    ) -> Result<()> {
        let path = self.path(date);
        if let Some(folder) = path.parent() {
            sweep(folder, workspace.clock.now());
            self.refuse_strangers(folder, &path)?;
        }
        let mut output = Output { path: &path, staged: None, writer: None };
        match &self.work {
            Work::Sql(sql) => self.write_sql(sql, date, many, report, &mut output)?,
            Work::Join(spec, table) => self.write_join(spec, table, date, many, dates, report, &mut output)?,
        }
        let Output { staged: Some(staged), writer: Some(writer), .. } = output else { return Err(Error::io("there was nothing to write")) };
        let rows = writer.rows();
        let footer = OutputFooter { job_name: self.name.clone(), date, rows, inputs, asof_version: env!("CARGO_PKG_VERSION").into() };
        writer.finish(&Footer::new(Content::Output(footer)))?;
        staged.publish_over()?;
        report.rows = Some(rows);
        Ok(())
    }

    /// Refuses a partition that holds other files: whoever reads it would count rows twice.
    fn refuse_strangers(&self, folder: &Path, own: &Path) -> Result<()> {
        if self.path_is_leaf() {
            return Ok(());
        }
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        for entry in entries.flatten() {
            if entry.path() != own && is_data(&entry.file_name().to_string_lossy()) {
                return Err(Error::refused(format!(
                    "'{}' lies in the output's partition and was not written by this job",
                    entry.path().display()
                ))
                .hint("remove it, or choose another --out or output"));
            }
        }
        Ok(())
    }

    fn path_is_leaf(&self) -> bool {
        self.layout.to_string().ends_with(".parquet")
    }

    fn events_of(&self, events: &EventsSource, date: NaiveDate) -> Result<EventRows> {
        let objects = events.found.partitions.get(&date).map(Vec::as_slice).unwrap_or_default();
        if objects.is_empty() {
            return Err(Error::refused(format!("events {} have no partition of {date}", events.name))
                .hint("asof partitions PATH --layout L --from D --to D"));
        }
        let files: Vec<PathBuf> = objects.iter().map(|object| object.path.clone()).collect();
        let read = || {
            source::read(&files, events.format, &events.types, None)
                .map_err(|error| error.within(format!("events {}, {date}", events.name)))
        };
        let rows = read()?;
        Ok(EventRows { schema: rows.schema.clone(), rows: Mutex::new(Some(rows.batches)) })
    }

    #[allow(clippy::too_many_arguments, reason = "one date's work in all of its parts")]
    fn write_join(
        &self,
        spec: &JoinSpec,
        name: &TableName,
        date: NaiveDate,
        many: bool,
        dates: &[NaiveDate],
        report: &mut DateReport,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let (Some(history), Some(events)) = (self.tables.get(name.as_str()), self.events.first()) else {
            return Err(Error::usage("a join needs events and a table"));
        };
        let observed = history.resolve(date)?;
        let intervals = history.intervals_for(observed, many)?;
        report.using.insert(name.to_string(), if intervals.is_some() { "intervals" } else { "snapshots" });
        let key = &history.table.key;
        let table = match intervals {
            Some(intervals) => self.join_table(spec, history, &intervals, observed, dates)?,
            None => {
                let as_of = history.as_of(observed, false)?;
                let schema = with_named(&as_of.schema, spec, history)?;
                Arc::new(JoinTable::of_snapshot(spec, name, key, &schema, |columns| as_of.read(columns))?)
            }
        };
        let rows = self.events_of(events, date)?;
        let schema = table.output_schema(spec, &rows.schema, &events.name, name)?;
        let (mut read, mut matched) = (0, 0);
        output.begin(&schema)?;
        for batch in rows.take()? {
            let batch = batch?;
            read += batch.num_rows() as u64;
            let (joined, met) = table.join(spec, &batch, observed, &schema)?;
            matched += met;
            output.write(joined)?;
        }
        report.events = Some(read);
        report.matched = Some(matched);
        if spec.how == JoinKind::Left && output.rows() != read {
            return Err(Error::io(format!("a left join of {read} events gave {} rows", output.rows())));
        }
        Ok(())
    }

    /// The table side for every date whose snapshot had the same columns, built once.
    fn join_table(
        &self,
        spec: &JoinSpec,
        history: &TableHistory,
        intervals: &Intervals,
        observed: NaiveDate,
        dates: &[NaiveDate],
    ) -> Result<Arc<JoinTable>> {
        let wire = &intervals.footer.observed;
        let Some(index) = wire.iter().find(|seen| seen.date == observed).map(|seen| seen.schema) else {
            return Err(history.table.refuse(observed, "there is no snapshot"));
        };
        let mut built = self.join_tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = built.get(&index) {
            return Ok(table.clone());
        }
        let mut alike: Vec<NaiveDate> = dates
            .iter()
            .filter_map(|date| history.resolve(*date).ok())
            .filter(|date| wire.iter().any(|seen| seen.date == *date && seen.schema == index))
            .collect();
        alike.sort();
        alike.dedup();
        let schema = with_named(&schema_on(intervals, observed)?, spec, history)?;
        let table = Arc::new(JoinTable::of_intervals(spec, &history.table.name, &history.table.key, &schema, intervals, &alike)?);
        built.insert(index, table.clone());
        Ok(table)
    }

    #[cfg(not(feature = "sql"))]
    fn write_sql(&self, _: &str, _: NaiveDate, _: bool, _: &mut DateReport, _: &mut Output<'_>) -> Result<()> {
        Err(without_sql())
    }

    #[cfg(feature = "sql")]
    fn write_sql(&self, sql: &str, date: NaiveDate, many: bool, report: &mut DateReport, output: &mut Output<'_>) -> Result<()> {
        use crate::engine::sql::{Relation, bind_date, run};
        let mut relations: Vec<(String, Relation)> = Vec::new();
        for events in &self.events {
            let rows = self.events_of(events, date)?;
            // A query may scan events twice: text is read once and kept, typed files are opened again.
            let kept: Arc<Vec<RecordBatch>> = Arc::new(rows.take()?.collect::<Result<_>>()?);
            let open = Arc::new(move |columns: &[String]| select(&kept, columns));
            relations.push((events.name.clone(), Relation { schema: rows.schema.clone(), open }));
        }
        let mut tables: BTreeMap<String, AsOfTable> = BTreeMap::new();
        for (name, history) in &self.tables {
            let as_of = history.as_of(history.resolve(date)?, many)?;
            report.using.insert(name.clone(), if as_of.from_intervals() { "intervals" } else { "snapshots" });
            tables.insert(name.clone(), as_of);
        }
        let bound = bind_date(sql, date);
        let extra = self.absent_columns(&bound, &relations, &tables)?;
        for (name, as_of) in tables {
            let schema = extra.get(&name).cloned().unwrap_or_else(|| as_of.schema.clone());
            let full = schema.clone();
            let open = Arc::new(move |columns: &[String]| read_with_nulls(&as_of, columns, &full));
            relations.push((name, Relation { schema, open }));
        }
        run(&bound, relations, &mut |schema, batch| {
            output.begin(schema)?;
            output.write(batch)
        })
    }

    /// Tables' columns with those that the query names and that were absent on the date: nulls, of the
    /// type that they have elsewhere in the table's history.
    #[cfg(feature = "sql")]
    fn absent_columns(
        &self,
        sql: &str,
        relations: &[(String, crate::engine::sql::Relation)],
        tables: &BTreeMap<String, AsOfTable>,
    ) -> Result<BTreeMap<String, SchemaRef>> {
        use crate::engine::sql::{Relation, missing_column};
        let mut schemas: BTreeMap<String, SchemaRef> = tables.iter().map(|(name, as_of)| (name.clone(), as_of.schema.clone())).collect();
        let nothing: crate::engine::sql::Open = Arc::new(|_| Ok(Box::new(std::iter::empty()) as Batches));
        for _ in 0..64 {
            let mut all = relations.to_vec();
            all.extend(schemas.iter().map(|(name, schema)| (name.clone(), Relation { schema: schema.clone(), open: nothing.clone() })));
            let Some((relation, column)) = missing_column(sql, all)? else { break };
            let mut found = false;
            for (name, history) in &self.tables {
                if relation.as_ref().is_some_and(|relation| relation != name && self.tables.contains_key(relation)) {
                    continue;
                }
                let every = history.every_column()?;
                let schema = schemas[name].clone();
                if let Ok(field) = every.field_with_name(&column)
                    && schema.field_with_name(&column).is_err()
                {
                    let fields: Vec<_> = schema.fields().iter().cloned().chain([Arc::new(field.clone())]).collect();
                    schemas.insert(name.clone(), Arc::new(Schema::new(fields)));
                    found = true;
                }
            }
            if !found {
                break;
            }
        }
        Ok(schemas)
    }

    /// Keeps a failure beside the outputs, for `--only failed` and `asof status`; failing that, it is told anyway.
    fn remember(&self, date: NaiveDate, error: &Error) {
        let path = self.failure_path(date);
        let failure = Failure { date, reason: error.to_string() };
        if let Ok(bytes) = serde_json::to_vec(&failure)
            && let Ok(staged) = Staged::create(&path)
            && staged.writer().is_ok_and(|mut file| std::io::Write::write_all(&mut file, &bytes).is_ok())
        {
            let _ = staged.publish_over();
        }
    }

    /// Says so when events of a day were joined to a copy that was taken after the day had ended.
    fn warn_of_leakage(&self, workspace: &Workspace<'_>, reports: &[DateReport]) {
        for (name, history) in &self.tables {
            if workspace.as_of_rule(&history.table.name).1 || history.rule.lag != DaySpan::default() {
                continue;
            }
            let leaks = reports.iter().filter(|report| {
                let Some(observed) = report.tables.get(name).filter(|observed| **observed == report.date) else { return false };
                let taken = history.facts(*observed).ok().and_then(|facts| facts.taken_at);
                report.action == "written" && taken.is_some_and(|taken| workspace.clock.date_of(taken) > report.date)
            });
            let leaks: Vec<NaiveDate> = leaks.map(|report| report.date).collect();
            if let [first, ..] = leaks.as_slice() {
                let more = if leaks.len() > 1 { format!(" and {} more", leaks.len() - 1) } else { String::new() };
                workspace.progress.note(&format!(
                    "the snapshot of {name} labelled {first}{more} was taken after that day had ended, so its events may see later changes; \
                     [tables.{name}] lag = \"1d\" joins the copy of the day before, lag = \"0d\" says that this is meant"
                ));
            }
        }
    }
}

/// Why a date failed, kept beside the outputs.
#[derive(Serialize, Deserialize)]
struct Failure {
    date: NaiveDate,
    reason: String,
}

/// A date's events, to be read once.
struct EventRows {
    schema: SchemaRef,
    rows: Mutex<Option<Batches>>,
}

impl EventRows {
    fn take(&self) -> Result<Batches> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(|| Error::io("events were read twice"))
    }
}

/// A date's output on its way.
struct Output<'a> {
    path: &'a Path,
    staged: Option<Staged>,
    writer: Option<ObjectWriter>,
}

impl Output<'_> {
    fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        if self.writer.is_none() {
            let staged = Staged::create(self.path)?;
            self.writer = Some(ObjectWriter::create(staged.writer()?, schema, &[], self.path)?);
            self.staged = Some(staged);
        }
        Ok(())
    }

    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        match &mut self.writer {
            Some(writer) => writer.write(batch),
            None => Err(Error::io("the output was not begun")),
        }
    }

    fn rows(&self) -> u64 {
        self.writer.as_ref().map_or(0, ObjectWriter::rows)
    }
}

/// The name of a job that has none: that of its output's folder.
fn name_of(output: &Path) -> String {
    let name = output.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.parse::<TableName>().is_ok() { name } else { "backfill".to_owned() }
}

fn history(workspace: &Workspace<'_>, name: &TableName, options: &BackfillOptions) -> Result<TableHistory> {
    let table = workspace.table(name, &[])?;
    let (mut rule, _) = workspace.as_of_rule(name);
    rule.tolerance = options.tolerance.unwrap_or(rule.tolerance);
    rule.lag = options.lag.unwrap_or(rule.lag);
    let snapshots = if options.using == Using::Intervals { BTreeMap::new() } else { table.find(None)?.partitions };
    let has_lake = workspace.lake.is_some() || workspace.config.lake.is_some();
    let intervals =
        if options.using == Using::Snapshots || !has_lake { None } else { Intervals::open(&workspace.intervals_path(name, None)?)? };
    TableHistory::new(table, rule, snapshots, intervals, options.using)
}

type ResolvedEvents = (String, PathBuf, Layout, Option<Format>, TypeRules);
type Resolved = (Work, Vec<ResolvedEvents>, Vec<TableName>);

fn configured_events(workspace: &Workspace<'_>, name: &str) -> Result<ResolvedEvents> {
    let Some(config) = workspace.config.events.get(name) else {
        let error = Error::usage(format!("there are no events '{name}'"));
        let names: Vec<&str> = workspace.config.events.keys().map(String::as_str).collect();
        return Err(match nearest(name, names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("[events.{name}] path = \"DIR\", layout = \"date=%Y-%m-%d\" in asof.toml")),
        });
    };
    Ok((name.to_owned(), workspace.configured(&config.path)?, Layout::parse(&config.layout)?, config.format, config.type_rules()?))
}

/// The events of an ad hoc job: a configured name, or a path with its layout.
fn ad_hoc_events(workspace: &Workspace<'_>, ad_hoc: &AdHoc, events: &str) -> Result<ResolvedEvents> {
    if ad_hoc.events_layout.is_none() && workspace.config.events.contains_key(events) {
        return configured_events(workspace, events);
    }
    let Some(layout) = &ad_hoc.events_layout else {
        return Err(Error::usage(format!("the layout of the events in '{events}' is not known")).hint("--events-layout 'date=%Y-%m-%d'"));
    };
    let root = workspace.here(events)?;
    let name = root.file_name().map_or_else(|| "events".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok((name, root, Layout::parse(layout)?, ad_hoc.events_format, TypeRules::default()))
}

fn resolve_join(workspace: &Workspace<'_>, config: &JobConfig, ad_hoc: Option<&AdHoc>) -> Result<Resolved> {
    let Some(table) = &config.table else {
        return Err(Error::usage("the job has neither SQL nor a table to join").hint(if ad_hoc.is_some() {
            "--table T, or --sql FILE"
        } else {
            "table = \"T\", or sql = \"...\""
        }));
    };
    let table = workspace.known(table)?;
    let events = match (ad_hoc, &config.events) {
        (Some(AdHoc { events: Some(events), .. }), _) => ad_hoc_events(workspace, ad_hoc.unwrap_or(&AdHoc::default()), events)?,
        (None, Some(name)) => configured_events(workspace, name)?,
        _ => {
            return Err(Error::usage("the job has no events to join").hint(if ad_hoc.is_some() {
                "--events PATH --events-layout L"
            } else {
                "events = \"NAME\""
            }));
        }
    };
    if config.on.is_empty() {
        return Err(Error::usage("the join has no columns to join on").hint("--on events_column=table_column"));
    }
    let on = config.on.iter().map(|pair| JoinSpec::parse_on(pair)).collect::<Result<Vec<_>>>()?;
    let spec =
        JoinSpec { on, how: config.how.unwrap_or(JoinKind::Left), condition: config.condition.clone(), select: config.select.clone() };
    if !spec.how.adds_columns() && !spec.select.is_empty() {
        return Err(Error::usage("a semi or anti join adds no columns, and --select names some").hint("--how inner, or no --select"));
    }
    spec.check_key(&table, &workspace.table(&table, &[])?.key)?;
    Ok((Work::Join(spec, table.clone()), vec![events], vec![table]))
}

#[cfg(not(feature = "sql"))]
fn without_sql() -> Error {
    Error::usage("the job is SQL, and this asof was built without it").hint("cargo install asof --features sql")
}

#[cfg(not(feature = "sql"))]
fn resolve_sql(_: &Workspace<'_>, _: String, _: Option<&AdHoc>) -> Result<Resolved> {
    Err(without_sql())
}

/// Every name in the query that it does not define is events or a table.
#[cfg(feature = "sql")]
fn resolve_sql(workspace: &Workspace<'_>, sql: String, ad_hoc: Option<&AdHoc>) -> Result<Resolved> {
    let given = match ad_hoc.and_then(|ad_hoc| Some((ad_hoc, ad_hoc.events.as_ref()?))) {
        Some((ad_hoc, events)) => Some(ad_hoc_events(workspace, ad_hoc, events)?),
        None => None,
    };
    let probe = crate::engine::sql::bind_date(&sql, NaiveDate::default());
    let (mut events, mut tables) = (Vec::new(), Vec::new());
    let known = workspace.tables(&[]).unwrap_or_default();
    for name in crate::engine::sql::references(&probe)? {
        if given.as_ref().is_some_and(|given| given.0 == name) {
            events.extend(given.clone());
        } else if workspace.config.events.contains_key(&name) {
            events.push(configured_events(workspace, &name)?);
        } else if let Some(table) = known.iter().find(|table| table.as_str() == name) {
            tables.push(table.clone());
        } else {
            let names: Vec<&str> = workspace.config.events.keys().map(String::as_str).chain(known.iter().map(TableName::as_str)).collect();
            let error = Error::usage(format!("the job's SQL reads '{name}', which is neither a table nor events"));
            return Err(match nearest(&name, names.iter().copied()) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint(format!("known are {}", names.join(", "))),
            });
        }
    }
    Ok((Work::Sql(sql), events, tables))
}

/// The table's columns on a date, with those that the join names and that were absent then.
fn with_named(schema: &SchemaRef, spec: &JoinSpec, history: &TableHistory) -> Result<SchemaRef> {
    let mut named: Vec<String> = spec.select.clone();
    if let Some(condition) = &spec.condition {
        // Which columns a condition names is found by reading it against every column there ever was.
        if crate::engine::expression::Condition::parse(condition, schema).is_err() {
            let every = history.every_column()?;
            named.extend(crate::engine::expression::columns_of(condition, &every)?);
        }
    }
    let absent: Vec<&String> = named.iter().filter(|name| schema.field_with_name(name).is_err()).collect();
    if absent.is_empty() {
        return Ok(schema.clone());
    }
    let every = history.every_column()?;
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    for name in absent {
        if let Ok(field) = every.field_with_name(name)
            && !fields.iter().any(|known| known.name() == name)
        {
            fields.push(Arc::new(field.clone()));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

#[cfg(feature = "sql")]
fn select(batches: &Arc<Vec<RecordBatch>>, columns: &[String]) -> Result<Batches> {
    let (batches, columns) = (batches.clone(), columns.to_vec());
    Ok(Box::new((0..batches.len()).map(move |at| {
        let batch = &batches[at];
        let indices: Vec<usize> = columns.iter().filter_map(|name| batch.schema_ref().index_of(name).ok()).collect();
        batch.project(&indices).map_err(|error| Error::io(format!("cannot select columns: {error}")))
    })))
}

/// The table's rows with the named columns, those that were absent as nulls.
#[cfg(feature = "sql")]
fn read_with_nulls(as_of: &AsOfTable, columns: &[String], schema: &SchemaRef) -> Result<Batches> {
    let fields: Vec<_> = columns.iter().filter_map(|name| schema.field_with_name(name).ok().cloned()).collect();
    let wanted: SchemaRef = Arc::new(Schema::new(fields));
    Ok(Box::new(as_of.read(columns)?.map(move |batch| crate::domain::schema::conform(&batch?, &wanted))))
}
