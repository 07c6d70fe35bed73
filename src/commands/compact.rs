//! `asof compact`: snapshots to intervals, losslessly, in one ordered pass.
//!
//! **What is read.** Of each snapshot in asof's own lake first the footer, for its fingerprint and schema.
//! A snapshot whose fingerprint equals the day before's is never decoded; every other one is decoded
//! once, by a thread of its own that runs a few batches ahead.
//!
//! **What is held.** Digests per key ([`crate::domain::compact`]). A row that opens an interval goes, with
//! the interval's number and first date, to the sorter, which spills; when all ends are known the rows are
//! merged in order of key and start and each gets its end.
//!
//! **Incremental.** The intervals' footer records every snapshot they were made from. The longest
//! run of dates that still agree is taken over: the old object is one more sorted stream, in which ended
//! intervals keep their ends and open ones are resumed. The result is the same bytes as a full run. A rewritten or late
//! date is noticed by its fingerprint, and the run begins there. Foreign snapshots have no footers: a file
//! `_<name>.json` beside the intervals remembers which files gave which fingerprint, and is only a hint.
//!
//! **Pruned.** A date that the intervals know and the lake no longer has is kept as it is; a run that
//! would need its rows is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow::array::{ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, UInt32Type};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::Workspace;
use crate::config::TableConfig;
use crate::domain::compact::{Changes, Compaction, Ends, TakeError};
use crate::domain::digest::{Fingerprint, RowSum, row_digests};
use crate::domain::gaps::{GapPolicy, gaps};
use crate::domain::interval::Convention;
use crate::domain::layout::Layout;
use crate::domain::schema::{conform, unify};
use crate::domain::staleness::EventsInput;
use crate::engine::intervals::{Intervals, to_days, write_schema};
use crate::engine::table::{Partitions, Table, all_digests, duplicate_keys, show_key};
use crate::error::{Context, Error, Result};
use crate::model::{DateRange, TableName};
use crate::source::no_column;
use crate::storage::Batches;
use crate::storage::commit::{Staged, sweep};
use crate::storage::footer::{Content, Footer, IntervalsFooter, ObservedWire};
use crate::storage::object::ObjectWriter;
use crate::storage::partitions::Object;
use crate::storage::sorter::{BUDGET, Sorter, merge};

/// The sorter's columns beside the table's: the interval's first date and number.
const START: &str = "\u{1}start";
const NUMBER: &str = "\u{1}number";

/// What the command line asks for; what it leaves open, the configuration, then the intervals that exist,
/// then the defaults decide.
#[derive(Clone, Debug, Default)]
pub struct CompactOptions {
    /// The root of foreign snapshots.
    pub snapshots: Option<String>,
    /// Their layout.
    pub layout: Option<String>,
    /// The key columns.
    pub key: Vec<String>,
    /// Where the intervals go.
    pub out: Option<String>,
    /// The first date.
    pub from: Option<NaiveDate>,
    /// The last date.
    pub to: Option<NaiveDate>,
    /// `carry`, `error` or `split`.
    pub gaps: Option<String>,
    /// The most missing days in a row.
    pub max_gap: Option<u32>,
    /// The name of the column of first dates.
    pub start_column: Option<String>,
    /// The name of the column of ends.
    pub end_column: Option<String>,
    /// `inclusive` or `exclusive`.
    pub end: Option<String>,
    /// `9999-12-31` or `null`.
    pub open_end: Option<String>,
    /// Columns that are left out of the comparison.
    pub ignore: Vec<String>,
    /// The only columns that are compared.
    pub track: Vec<String>,
    /// Whether what exists is disregarded.
    pub full: bool,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

/// Everything that the bytes of intervals depend on, besides the snapshots.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    key: Vec<String>,
    policy: GapPolicy,
    convention: Convention,
    ignore: Vec<String>,
    track: Vec<String>,
}

/// What happened to one table.
#[derive(Clone, Debug, Serialize)]
pub struct CompactReport {
    /// The table.
    pub table: TableName,
    /// `full`, `incremental`, `recomputed` or `up to date`.
    pub mode: &'static str,
    /// Whether nothing was written because a dry run was asked for.
    pub dry_run: bool,
    /// The object.
    pub path: String,
    /// The first and last date of a snapshot.
    pub from: Option<NaiveDate>,
    /// The last one.
    pub to: Option<NaiveDate>,
    /// How many snapshots the intervals stand for.
    pub snapshots: u64,
    /// How many dates are missing between them.
    pub gap_days: u64,
    /// How many snapshots were decoded in this run.
    pub decoded: u64,
    /// How many were known to equal the day before's.
    pub unchanged: u64,
    /// The rows of all those snapshots.
    pub snapshot_rows: u64,
    /// How many intervals there are.
    pub intervals: u64,
    /// How many of them are open.
    pub open: u64,
    /// The size of the object.
    pub bytes: u64,
    /// The dates that were read, with what each changed.
    pub days: Vec<DayChanges>,
    /// The condition that selects the rows as of a date.
    pub condition: String,
}

/// What one snapshot changed.
#[derive(Clone, Debug, Serialize)]
pub struct DayChanges {
    /// Its date.
    pub date: NaiveDate,
    /// What changed against the snapshot before.
    #[serde(flatten)]
    pub changes: Changes,
}

/// Compacts the tables, one after the other.
///
/// # Errors
/// Whatever refuses or fails; what was written before stands.
pub fn compact(workspace: &Workspace<'_>, tables: &[String], options: &CompactOptions) -> Result<Vec<CompactReport>> {
    if let Some(root) = &options.snapshots {
        return Ok(vec![foreign(workspace, tables, root, options)?]);
    }
    if options.layout.is_some() {
        return Err(Error::usage("--layout goes with --snapshots"));
    }
    let names = workspace.tables(tables)?;
    if names.len() > 1 && options.out.is_some() {
        return Err(Error::usage("--out goes with the name of one table").hint(format!("asof compact {} --out PATH", names[0])));
    }
    names
        .iter()
        .map(|name| {
            let path = workspace.intervals_path(name, options.out.as_deref())?;
            let existing = if options.full { None } else { existing(&path)? };
            let mut key = options.key.clone();
            if key.is_empty() && workspace.table_config(name).key.is_empty() {
                key = existing.as_ref().map(|existing| existing.footer.key.clone()).unwrap_or_default();
            }
            let table = workspace.table(name, &key)?;
            Run::plan(workspace, table, path, existing, options)?.apply()
        })
        .collect()
}

/// Dated copies that another tool wrote, given on the command line.
fn foreign(workspace: &Workspace<'_>, tables: &[String], root: &str, options: &CompactOptions) -> Result<CompactReport> {
    let Some(layout) = &options.layout else {
        return Err(Error::usage("--snapshots needs the layout of the copies").hint("--layout 'snapshot_date=%Y-%m-%d'"));
    };
    let Some(out) = &options.out else {
        return Err(
            Error::usage("--snapshots needs a place for the intervals: asof never writes into a foreign lake").hint("--out FILE.parquet")
        );
    };
    let layout = Layout::parse(layout)?;
    let name: TableName = match tables {
        [] => Path::new(out).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().parse()?,
        [name] => name.parse()?,
        _ => return Err(Error::usage("--snapshots goes with the name of one table")),
    };
    let path = workspace.intervals_path(&name, Some(out))?;
    let existing = if options.full { None } else { existing(&path)? };
    let config = workspace.table_config(&name);
    let key = [&options.key, &config.key].into_iter().find(|key| !key.is_empty()).cloned();
    let key = key.or_else(|| existing.as_ref().map(|existing| existing.footer.key.clone()));
    let key = key.ok_or_else(|| Error::usage("--snapshots needs the key columns").hint("--key COLUMN[,COLUMN]"))?;
    let table = Table { name, key, root: workspace.here(root)?, layout, own: false, types: config.type_rules()? };
    Run::plan(workspace, table, path, existing, options)?.apply()
}

fn existing(path: &Path) -> Result<Option<Intervals>> {
    Intervals::open(path).map_err(|error| error.hint("asof compact --full"))
}

impl Settings {
    fn decide(key: &[String], options: &CompactOptions, config: &TableConfig, existing: Option<&IntervalsFooter>) -> Result<Self> {
        let wire = existing.map(|footer| footer.convention.clone());
        let pick = |given: &Option<String>, configured: &Option<String>, was: Option<String>, default: &str| {
            given.clone().or_else(|| configured.clone()).or(was).unwrap_or_else(|| default.to_owned())
        };
        let policy_given = options.gaps.is_some() || config.gaps.is_some() || options.max_gap.is_some() || config.max_gap.is_some();
        let policy = match existing {
            Some(footer) if !policy_given => footer.gaps.read(),
            _ => policy(options.gaps.as_deref().or(config.gaps.as_deref()), options.max_gap.or(config.max_gap))?,
        };
        let end = pick(&options.end, &config.end, wire.as_ref().map(|wire| wire.end.clone()), "inclusive");
        let open_end = pick(&options.open_end, &config.open_end, wire.as_ref().map(|wire| wire.open_end.clone()), "9999-12-31");
        if !["inclusive", "exclusive"].contains(&end.as_str()) {
            return Err(Error::usage(format!("an end is inclusive or exclusive, and not '{end}'")).hint("--end inclusive"));
        }
        if !["9999-12-31", "null"].contains(&open_end.as_str()) {
            return Err(Error::usage(format!("an open end is 9999-12-31 or null, and not '{open_end}'")).hint("--open-end null"));
        }
        let columns = |given: &[String], configured: &[String], was: Option<&Vec<String>>| match (given, configured) {
            ([], []) => was.cloned().unwrap_or_default(),
            ([], configured) => configured.to_owned(),
            (given, _) => given.to_owned(),
        };
        let ignore = columns(&options.ignore, &config.ignore, existing.map(|footer| &footer.ignore));
        let track = columns(&options.track, &config.track, existing.map(|footer| &footer.track));
        if !ignore.is_empty() && !track.is_empty() {
            return Err(Error::usage(
                "'ignore' and 'track' exclude one another: the one names what is not compared, the other all that is",
            ));
        }
        if let Some(key) = key.iter().find(|key| ignore.contains(key)) {
            return Err(Error::usage(format!("'{key}' is a key column, and cannot be ignored")));
        }
        Ok(Settings {
            key: key.to_owned(),
            policy,
            convention: Convention {
                start_column: pick(
                    &options.start_column,
                    &config.start_column,
                    wire.as_ref().map(|wire| wire.start_column.clone()),
                    "active_start",
                ),
                end_column: pick(&options.end_column, &config.end_column, wire.as_ref().map(|wire| wire.end_column.clone()), "active_end"),
                exclusive: end == "exclusive",
                open_null: open_end == "null",
            },
            ignore,
            track,
        })
    }

    fn of(footer: &IntervalsFooter) -> Self {
        Settings {
            key: footer.key.clone(),
            policy: footer.gaps.read(),
            convention: footer.convention.read(),
            ignore: footer.ignore.clone(),
            track: footer.track.clone(),
        }
    }

    /// The names of the columns whose change ends an interval.
    fn compared(&self, schema: &Schema) -> Vec<String> {
        let names = schema.fields().iter().map(|field| field.name());
        names.filter(|name| if self.track.is_empty() { !self.ignore.contains(name) } else { self.track.contains(name) }).cloned().collect()
    }

    /// Refuses columns that no snapshot has.
    fn check(&self, schema: &Schema, table: &TableName) -> Result<()> {
        for name in self.ignore.iter().chain(&self.track) {
            if schema.field_with_name(name).is_err() {
                return Err(no_column(name, schema, &format!("table {table}")));
            }
        }
        self.convention.check_columns(table.as_str(), schema.fields().iter().map(|field| field.name().as_str()))
    }
}

/// Reads a gap policy as the command line and the configuration write it.
fn policy(name: Option<&str>, max_gap: Option<u32>) -> Result<GapPolicy> {
    match (name, max_gap) {
        (None | Some("carry"), max_gap) => Ok(GapPolicy::Carry { max_gap }),
        (Some("error"), None) => Ok(GapPolicy::Error),
        (Some("split"), None) => Ok(GapPolicy::Split),
        (Some("error" | "split"), Some(_)) => Err(Error::usage("--max-gap goes with --gaps carry")),
        (Some(other), _) => Err(Error::usage(format!("'{other}' is no way to treat gaps")).hint("--gaps carry, error or split")),
    }
}

/// One compaction, planned.
struct Run<'a> {
    workspace: &'a Workspace<'a>,
    table: Table,
    settings: Settings,
    path: PathBuf,
    /// The intervals that are taken over, and of how many of their snapshots.
    base: Option<(Intervals, usize)>,
    /// The snapshots to take, ascending.
    new: Vec<(NaiveDate, Vec<Object>)>,
    mode: &'static str,
    memory: Memory,
    dry_run: bool,
}

/// What is known after the pass.
struct Passed {
    ends: Ends,
    rows: Batches,
    schema: SchemaRef,
    observed: Vec<ObservedWire>,
    schemas: Vec<SchemaRef>,
    days: Vec<DayChanges>,
    decoded: u64,
    unchanged: u64,
    intervals: u64,
    open: u64,
}

impl<'a> Run<'a> {
    fn plan(
        workspace: &'a Workspace<'a>,
        table: Table,
        path: PathBuf,
        existing: Option<Intervals>,
        options: &CompactOptions,
    ) -> Result<Self> {
        let settings = Settings::decide(
            &table.key,
            options,
            &workspace.table_config(&table.name),
            existing.as_ref().map(|existing| &existing.footer),
        )?;
        let range = range(options)?;
        let found = table.find(range)?;
        let dates = found.dates();
        if dates.is_empty() && existing.is_none() {
            let error = Error::refused(format!(
                "table {} has no snapshots{} to compact",
                table.name,
                range.map_or(String::new(), |range| format!(" from {range}"))
            ));
            return Err(match found.strangers.as_slice() {
                [] => error.hint(format!("asof snapshot {} --source FILE --key COLUMN", table.name)),
                strangers => error.hint(format!("'{}' is not of the layout '{}'", strangers[0], table.layout)),
            });
        }
        let memory = Memory::load(&path, &table);
        let mut run = Run { workspace, table, settings, path, base: None, new: Vec::new(), mode: "full", memory, dry_run: options.dry_run };
        let mut observed = dates.clone();
        if let Some(existing) = existing {
            let pruned = existing
                .observed()
                .into_iter()
                .filter(|date| !found.partitions.contains_key(date) && range.is_none_or(|range| range.contains(*date)));
            let pruned: Vec<NaiveDate> = pruned.collect();
            observed.extend(&pruned);
            observed.sort();
            run.take_over(existing, &found.partitions, &pruned)?;
        } else if options.full
            && let Some(existing) = Intervals::open(&run.path).ok().flatten()
        {
            let pruned: Vec<NaiveDate> = existing.observed().into_iter().filter(|date| !found.partitions.contains_key(date)).collect();
            run.refuse_pruned("a full compaction", &pruned)?;
        }
        let kept = run.base.as_ref().map(|(base, kept)| base.footer.observed[*kept - 1].date);
        run.new = found.partitions.into_iter().filter(|(date, _)| kept.is_none_or(|kept| *date > kept)).collect();
        run.settings.policy.check(run.table.name.as_str(), &observed)?;
        Ok(run)
    }

    fn refuse_pruned(&self, what: &str, dates: &[NaiveDate]) -> Result<()> {
        let [first, ..] = dates else { return Ok(()) };
        let more = if dates.len() > 1 { format!(" and {} more", dates.len() - 1) } else { String::new() };
        Err(Error::refused(format!(
            "table {}: {what} needs the snapshot of {first}{more}, which the lake no longer has and only the intervals know",
            self.table.name
        ))
        .hint(format!(
            "asof expand {} --from {first} --to {} --out '{}', to have them back",
            self.table.name,
            dates[dates.len() - 1],
            self.workspace.shown(&self.table.root)
        ))
        .hint("--out FILE, to write intervals of what is there to another place"))
    }

    /// Takes over as much of existing intervals as still agrees with the lake.
    fn take_over(&mut self, existing: Intervals, partitions: &Partitions, pruned: &[NaiveDate]) -> Result<()> {
        if Settings::of(&existing.footer) != self.settings {
            self.refuse_pruned("a compaction with other settings", pruned)?;
            self.workspace
                .progress
                .note(&format!("{}: the settings differ from those of the intervals that exist; all snapshots are read", self.table.name));
            return Ok(());
        }
        let mut kept = 0;
        let mut reason = None;
        // The types that text was pinned to in the pass: those of all snapshots before.
        let mut pinned: Option<SchemaRef> = None;
        for (index, observed) in existing.footer.observed.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| existing.footer.observed[before].date);
            let late = partitions.keys().copied().find(|date| *date < observed.date && before.is_none_or(|before| *date > before));
            if let Some(late) = late {
                reason = Some(format!("the snapshot of {late} is new"));
                break;
            }
            if let Some(objects) = partitions.get(&observed.date) {
                if self.fingerprint(observed.date, objects, pinned.as_ref())? != observed.fingerprint {
                    reason = Some(format!("the snapshot of {} was rewritten", observed.date));
                    break;
                }
            } else if !pruned.contains(&observed.date) {
                reason = Some(format!("the snapshot of {} is outside of the range", observed.date));
                break;
            }
            kept = index + 1;
            if !self.table.own {
                let schema = existing.schema_of(index)?;
                pinned = Some(match &pinned {
                    None => schema,
                    Some(wide) => unify(wide, &schema).map_err(|clash| clash.refusal(self.table.name.as_str(), observed.date))?.0,
                });
            }
        }
        self.mode = "incremental";
        if let Some(reason) = reason {
            let needed: Vec<NaiveDate> =
                pruned.iter().copied().filter(|date| kept == 0 || *date > existing.footer.observed[kept - 1].date).collect();
            self.refuse_pruned("a recomputation", &needed)?;
            let from = existing.footer.observed[kept..].first().map(|observed| observed.date);
            self.mode = if kept == 0 { "full" } else { "recomputed" };
            self.workspace.progress.note(&format!(
                "{}: {reason}; intervals are recomputed from {}",
                self.table.name,
                from.map_or_else(|| "there".to_owned(), |from| from.to_string())
            ));
        }
        if kept > 0 {
            self.base = Some((existing, kept));
        }
        Ok(())
    }

    fn fingerprint(&mut self, date: NaiveDate, objects: &[Object], pinned: Option<&SchemaRef>) -> Result<Fingerprint> {
        if let Some(known) = self.memory.recall(date, objects) {
            return Ok(known);
        }
        let fingerprint = self.table.fingerprint(date, objects, pinned)?;
        self.memory.learn(date, objects, fingerprint);
        Ok(fingerprint)
    }

    fn apply(mut self) -> Result<CompactReport> {
        let up_to_date = self.new.is_empty() && self.base.as_ref().is_some_and(|(base, kept)| *kept == base.footer.observed.len());
        if up_to_date {
            self.mode = "up to date";
            return self.report(None, 0);
        }
        if self.dry_run {
            return self.report(None, 0);
        }
        let mut passed = self.pass()?;
        self.settings.check(&passed.schema, &self.table.name)?;
        for (new_columns, day) in
            passed.days.iter().filter(|day| day.changes.by_new_columns > 0).map(|day| (day.changes.by_new_columns, day))
        {
            let noun = if new_columns == 1 { "interval ends" } else { "intervals end" };
            self.workspace.progress.note(&format!(
                "{}: {new_columns} {noun} before {} only because columns appear with values; --ignore COLUMN leaves a column out",
                self.table.name, day.date
            ));
        }
        if let Some(folder) = self.path.parent() {
            sweep(folder, self.workspace.clock.now());
        }
        let staged = Staged::create(&self.path)?;
        let schema = self.written_schema(&passed.schema);
        let mut sorted_by = self.settings.key.clone();
        sorted_by.push(self.settings.convention.start_column.clone());
        let mut writer = ObjectWriter::create(staged.writer()?, &schema, &sorted_by, &self.path)?;
        let rows = std::mem::replace(&mut passed.rows, Box::new(std::iter::empty()));
        for batch in rows {
            writer.write(with_ends(&batch?, &schema, &passed.schema, &passed.ends, &self.settings.convention)?)?;
        }
        if writer.rows() != passed.intervals {
            return Err(Error::io(format!(
                "table {}: {} intervals were counted and {} written",
                self.table.name,
                passed.intervals,
                writer.rows()
            )));
        }
        let footer = Footer::new(Content::Intervals(IntervalsFooter {
            table: self.table.name.to_string(),
            key: self.settings.key.clone(),
            intervals: passed.intervals,
            convention: (&self.settings.convention).into(),
            gaps: self.settings.policy.into(),
            ignore: self.settings.ignore.clone(),
            track: self.settings.track.clone(),
            observed: passed.observed.clone(),
            schemas: passed.schemas.iter().map(|schema| write_schema(schema)).collect(),
            asof_version: env!("CARGO_PKG_VERSION").into(),
        }));
        let bytes = writer.finish(&footer)?;
        staged.publish_over()?;
        self.memory.save();
        self.report(Some(&passed), bytes)
    }

    /// The one pass: resumes what is taken over, takes every new snapshot, and merges the rows.
    fn pass(&mut self) -> Result<Passed> {
        let mut state = PassState::begin(self)?;
        let total = self.new.len() as u64;
        for (done, (date, objects)) in (0u64..).zip(std::mem::take(&mut self.new)) {
            self.workspace.progress.step(&format!("compact {}", self.table.name), done, total);
            state.take(self, date, &objects)?;
        }
        state.finish(self)
    }

    fn written_schema(&self, table: &SchemaRef) -> SchemaRef {
        let mut fields: Vec<_> = table.fields().iter().cloned().collect();
        for name in [&self.settings.convention.start_column, &self.settings.convention.end_column] {
            fields.push(Arc::new(Field::new(name, DataType::Date32, true)));
        }
        Arc::new(Schema::new(fields))
    }

    fn report(&self, passed: Option<&Passed>, bytes: u64) -> Result<CompactReport> {
        let base = self.base.as_ref().map(|(base, kept)| &base.footer.observed[..*kept]);
        let planned: Vec<NaiveDate> =
            base.into_iter().flatten().map(|observed| observed.date).chain(self.new.iter().map(|(date, _)| *date)).collect();
        let dates: Vec<NaiveDate> = passed.map_or(planned, |passed| passed.observed.iter().map(|observed| observed.date).collect());
        let observed = passed.map_or_else(|| base.map(<[_]>::to_vec).unwrap_or_default(), |passed| passed.observed.clone());
        let standing = || self.base.as_ref().map_or(0, |(base, _)| base.rows());
        Ok(CompactReport {
            table: self.table.name.clone(),
            mode: self.mode,
            dry_run: self.dry_run,
            path: self.workspace.shown(&self.path),
            from: dates.first().copied(),
            to: dates.last().copied(),
            snapshots: dates.len() as u64,
            gap_days: gaps(&dates).map(|gap| u64::from(gap.days())).sum(),
            decoded: passed.map_or(0, |passed| passed.decoded),
            unchanged: passed.map_or(0, |passed| passed.unchanged),
            snapshot_rows: observed.iter().map(|observed| observed.rows).sum(),
            intervals: passed.map_or_else(standing, |passed| passed.intervals),
            open: passed.map_or_else(|| observed.last().map_or(0, |last| last.rows), |passed| passed.open),
            bytes: if passed.is_some() { bytes } else { std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len()) },
            days: passed.map(|passed| passed.days.clone()).unwrap_or_default(),
            condition: self.settings.convention.condition("D"),
        })
    }
}

fn range(options: &CompactOptions) -> Result<Option<DateRange>> {
    match (options.from, options.to) {
        (None, None) => Ok(None),
        (from, to) => {
            let first = NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default();
            let last = NaiveDate::from_ymd_opt(9998, 12, 31).unwrap_or_default();
            DateRange::new(from.unwrap_or(first), to.unwrap_or(last)).map(Some)
        }
    }
}

/// The state of a pass.
struct PassState {
    compaction: Compaction,
    sorter: Sorter,
    schema: Option<SchemaRef>,
    last_schema: Option<SchemaRef>,
    observed: Vec<ObservedWire>,
    schemas: Vec<SchemaRef>,
    days: Vec<DayChanges>,
    decoded: u64,
    unchanged: u64,
}

impl PassState {
    fn begin(run: &Run<'_>) -> Result<Self> {
        let mut keys = run.settings.key.clone();
        keys.push(START.to_owned());
        let mut state = PassState {
            compaction: Compaction::new(run.settings.policy),
            sorter: Sorter::new(&keys, BUDGET),
            schema: None,
            last_schema: None,
            observed: Vec::new(),
            schemas: Vec::new(),
            days: Vec::new(),
            decoded: 0,
            unchanged: 0,
        };
        if let Some((base, kept)) = &run.base {
            for (index, observed) in base.footer.observed[..*kept].iter().enumerate() {
                state.saw(run, observed.date, observed.rows, observed.fingerprint, &base.schema_of(index)?)?;
            }
            state.compaction = Compaction::after(run.settings.policy, base.observed()[..*kept].to_vec());
            let last = base.footer.observed[*kept - 1].date;
            let compared = run.settings.compared(&base.table_schema());
            for batch in base.read(None)? {
                let batch = batch?;
                let keys = run.table.keys(&batch.rows, last)?;
                let rows = row_digests(&batch.rows, compared.iter().map(String::as_str))?;
                for (row, interval) in batch.intervals.iter().enumerate().filter(|(_, interval)| interval.start <= last) {
                    let ended = interval.end.filter(|_| !interval.holds(last));
                    state.compaction.resume(keys[row], rows[row], ended)?;
                }
            }
        }
        Ok(state)
    }

    /// Records a snapshot and folds its schema into the table's.
    fn saw(&mut self, run: &Run<'_>, date: NaiveDate, rows: u64, fingerprint: Fingerprint, schema: &SchemaRef) -> Result<()> {
        let index = self.schemas.iter().position(|known| known == schema).unwrap_or_else(|| {
            self.schemas.push(schema.clone());
            self.schemas.len() - 1
        });
        self.schema = Some(match &self.schema {
            None => schema.clone(),
            Some(wide) => unify(wide, schema).map_err(|clash| clash.refusal(run.table.name.as_str(), date))?.0,
        });
        self.last_schema = Some(schema.clone());
        self.observed.push(ObservedWire { date, rows, fingerprint, schema: index });
        Ok(())
    }

    fn take(&mut self, run: &mut Run<'_>, date: NaiveDate, objects: &[Object]) -> Result<()> {
        let snapshot = run.table.open(date, objects, self.schema.as_ref())?;
        let schema = snapshot.schema.clone();
        if let (Some(footer), Some(last)) = (&snapshot.footer, self.observed.last())
            && footer.fingerprint == last.fingerprint
            && self.compaction.unchanged(date)
        {
            self.unchanged += 1;
            let (rows, fingerprint) = (footer.rows, footer.fingerprint);
            self.days.push(DayChanges { date, changes: Changes::default() });
            return self.saw(run, date, rows, fingerprint, &schema);
        }
        let appeared = match &self.last_schema {
            Some(last) => schema.fields().iter().any(|field| last.field_with_name(field.name()).is_err()),
            None => false,
        };
        let old_columns = self.last_schema.clone().filter(|_| appeared);
        let compared = run.settings.compared(&schema);
        let known = snapshot.footer.as_ref().map(|footer| (footer.rows, footer.fingerprint));
        let batches = snapshot.read(None)?;
        self.compaction.begin(date);
        let mut sum = RowSum::default();
        let (table, settings) = (&run.table, &run.settings);
        std::thread::scope(|scope| {
            let (send, digested): (_, Receiver<Result<Digested>>) = sync_channel(4);
            scope.spawn(move || {
                for batch in batches {
                    let digested = batch
                        .and_then(|batch| Digested::of(batch, table, settings, date, &compared, known.is_some(), old_columns.as_ref()));
                    let failed = digested.is_err();
                    if send.send(digested).is_err() || failed {
                        return;
                    }
                }
            });
            for digested in digested {
                let digested = digested?;
                sum.merge(digested.sum);
                self.take_batch(run, date, &digested)?;
            }
            Ok::<_, Error>(())
        })?;
        let changes = self.compaction.end(date);
        self.days.push(DayChanges { date, changes });
        self.decoded += 1;
        let (rows, fingerprint) = known.unwrap_or_else(|| (sum.rows(), sum.fingerprint()));
        if rows != sum.rows() {
            return Err(run
                .table
                .refuse(date, format!("its footer says {rows} rows, and there are {}", sum.rows()))
                .hint(format!("asof verify {}", run.table.name)));
        }
        run.memory.learn(date, objects, fingerprint);
        self.saw(run, date, rows, fingerprint, &schema)
    }

    fn take_batch(&mut self, run: &Run<'_>, date: NaiveDate, digested: &Digested) -> Result<()> {
        let first = self.compaction.intervals();
        let mut opened = Vec::new();
        match self.compaction.take(&digested.keys, &digested.rows, digested.without_new.as_deref(), &mut opened) {
            Ok(()) => {}
            Err(TakeError::Duplicate(row)) => {
                let shown = vec![show_key(&digested.batch, &run.settings.key, row)];
                return Err(duplicate_keys(&run.table.name, &run.settings.key, date, 1, &shown));
            }
            Err(TakeError::Full(error)) => return Err(error),
        }
        if opened.is_empty() {
            return Ok(());
        }
        let doing = || "cannot set rows aside".to_owned();
        let count = opened.len();
        let rows = take_record_batch(&digested.batch, &UInt32Array::from(opened)).io_context(doing)?;
        let first = u32::try_from(first).map_err(|_| Error::refused("there are too many intervals"))?;
        let starts: ArrayRef = Arc::new(Date32Array::from(vec![to_days(date); count]));
        let numbers: ArrayRef = Arc::new(UInt32Array::from_iter_values((first..).take(count)));
        self.sorter.push(append(&rows, starts, numbers)?)
    }

    fn finish(self, run: &Run<'_>) -> Result<Passed> {
        let schema = self.schema.ok_or_else(|| Error::refused(format!("table {} has no snapshots", run.table.name)))?;
        let inner = with_number(&schema);
        let mut keys = run.settings.key.clone();
        keys.push(START.to_owned());
        let new = self.sorter.finish(&inner)?;
        let rows = match &run.base {
            None => new,
            Some((base, kept)) => {
                let last = base.footer.observed[*kept - 1].date;
                merge(vec![resumed_rows(base, last, &inner)?, new], &inner, &keys)?
            }
        };
        let (intervals, open) = (self.compaction.intervals(), self.compaction.live());
        Ok(Passed {
            ends: self.compaction.finish(),
            rows,
            schema,
            observed: self.observed,
            schemas: self.schemas,
            days: self.days,
            decoded: self.decoded,
            unchanged: self.unchanged,
            intervals,
            open,
        })
    }
}

/// A batch of a snapshot with all that the pass needs of it.
struct Digested {
    batch: RecordBatch,
    keys: Vec<u128>,
    rows: Vec<u128>,
    without_new: Option<Vec<u128>>,
    sum: RowSum,
}

impl Digested {
    fn of(
        batch: RecordBatch,
        table: &Table,
        settings: &Settings,
        date: NaiveDate,
        compared: &[String],
        fingerprint_known: bool,
        old_columns: Option<&SchemaRef>,
    ) -> Result<Self> {
        let keys = table.keys(&batch, date)?;
        let rows = row_digests(&batch, compared.iter().map(String::as_str))?;
        let compares_all = compared.len() == batch.num_columns();
        let without_new = match old_columns {
            None => None,
            Some(old) => Some(row_digests(&batch, settings.compared(old).iter().map(String::as_str))?),
        };
        let mut sum = RowSum::default();
        if fingerprint_known || compares_all {
            sum.add(&rows);
        } else {
            sum.add(&all_digests(&batch)?);
        }
        Ok(Digested { batch, keys, rows, without_new, sum })
    }
}

/// The table's columns with the sorter's two.
fn with_number(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(START, DataType::Date32, true)));
    fields.push(Arc::new(Field::new(NUMBER, DataType::UInt32, true)));
    Arc::new(Schema::new(fields))
}

fn append(rows: &RecordBatch, starts: ArrayRef, numbers: ArrayRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.extend([starts, numbers]);
    RecordBatch::try_new(with_number(rows.schema_ref()), columns).io_context(|| "cannot set rows aside".into())
}

/// The rows of intervals that are taken over, numbered as they were resumed.
fn resumed_rows(base: &Intervals, last: NaiveDate, schema: &SchemaRef) -> Result<Batches> {
    let mut number = 0u32;
    let schema = schema.clone();
    Ok(Box::new(base.read(None)?.map(move |batch| {
        let batch = batch?;
        let taken: BooleanArray = batch.intervals.iter().map(|interval| Some(interval.start <= last)).collect();
        let rows = filter_record_batch(&batch.rows, &taken).io_context(|| "cannot select rows".into())?;
        let starts: Date32Array =
            batch.intervals.iter().filter(|interval| interval.start <= last).map(|interval| Some(to_days(interval.start))).collect();
        let first = number;
        number += u32::try_from(rows.num_rows()).unwrap_or(0);
        let numbers = UInt32Array::from_iter_values(first..number);
        conform(&append(&rows, Arc::new(starts), Arc::new(numbers))?, &schema)
    })))
}

/// Puts the interval's columns in the place of the sorter's.
fn with_ends(batch: &RecordBatch, schema: &SchemaRef, table: &SchemaRef, ends: &Ends, convention: &Convention) -> Result<RecordBatch> {
    let numbers = batch.column_by_name(NUMBER).ok_or_else(|| Error::io("rows lost their numbers"))?.as_primitive::<UInt32Type>();
    let starts = batch.column_by_name(START).ok_or_else(|| Error::io("rows lost their dates"))?.as_primitive::<Date32Type>();
    let mut written = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let end = ends.end(numbers.value(row));
        if let Some(end) = end
            && to_days(end) < starts.value(row)
        {
            return Err(Error::io(format!("an interval would end on {end}, before it starts")));
        }
        written.push(convention.encode(end).map(to_days));
    }
    let mut columns: Vec<ArrayRef> = batch.columns()[..table.fields().len()].to_vec();
    columns.push(Arc::new(starts.clone()));
    columns.push(Arc::new(Date32Array::from(written)));
    RecordBatch::try_new(schema.clone(), columns).io_context(|| "cannot write intervals".into())
}

/// Which foreign files gave which fingerprint: a hint beside the intervals, never needed.
#[derive(Default)]
struct Memory {
    path: Option<PathBuf>,
    dates: BTreeMap<NaiveDate, Remembered>,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    objects: Vec<EventsInput>,
    fingerprint: Fingerprint,
}

impl Memory {
    fn load(intervals: &Path, table: &Table) -> Self {
        if table.own {
            return Memory::default();
        }
        let name = intervals.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let path = intervals.with_file_name(format!("_{name}.json"));
        let dates = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Memory { path: Some(path), dates }
    }

    fn recall(&self, date: NaiveDate, objects: &[Object]) -> Option<Fingerprint> {
        let remembered = self.dates.get(&date)?;
        let same = remembered.objects.iter().cloned().eq(objects.iter().map(Object::identity));
        same.then_some(remembered.fingerprint)
    }

    fn learn(&mut self, date: NaiveDate, objects: &[Object], fingerprint: Fingerprint) {
        if self.path.is_some() {
            self.dates.insert(date, Remembered { objects: objects.iter().map(Object::identity).collect(), fingerprint });
        }
    }

    /// Writes the hint; a failure costs time later and nothing else.
    fn save(&self) {
        if let Some(path) = &self.path
            && let Ok(bytes) = serde_json::to_vec(&self.dates)
            && let Ok(staged) = Staged::create(path)
            && staged.writer().is_ok_and(|mut file| std::io::Write::write_all(&mut file, &bytes).is_ok())
        {
            let _ = staged.publish_over();
        }
    }
}
