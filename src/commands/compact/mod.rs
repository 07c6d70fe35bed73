//! `asof compact`: snapshots to intervals, losslessly, in order of their dates.
//!
//! **The pass.** [`crate::engine::compaction`] says what is read and what is held. A dry run plans
//! and stops before it.
//!
//! **Incremental.** The intervals' footer records every snapshot they were made from. The longest
//! run of dates that still agree is reused: ended intervals keep their ends and open ones are
//! resumed. The result is the same bytes as a full run. A rewritten or late date is noticed by its
//! fingerprint, and the run begins there. Fingerprints are remembered beside the intervals
//! ([`crate::storage::lake::fingerprint_cache`]): one more night must not cost a look at every
//! snapshot there is.
//!
//! **Pruned.** A date that the intervals know and the lake no longer has is kept as it is; a run
//! that would need its rows is refused.

mod external;
mod notes;
#[cfg(all(test, feature = "sql"))]
mod selection_tests;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;
use serde::Serialize;

pub use self::settings::CompactOptions;
use super::Workspace;
use crate::domain::dedup::Dedup;
use crate::domain::digest::Fingerprint;
use crate::domain::gaps::gaps;
use crate::domain::schema::unify;
use crate::domain::spelling::twins;
use crate::domain::type_names::type_name;
pub use crate::engine::compaction::DayChanges;
use crate::engine::compaction::{Base, CompactionFacts, Pass, Settings, Sink};
use crate::engine::intervals::Intervals;
use crate::engine::table::{Partitions, Table};
use crate::error::{Error, Result};
use crate::model::{DateRange, TableName};
use crate::parallel::{OrderedPool, Task, decoding_threads};
use crate::source::{ReadAs, no_column};
use crate::storage::lake::commit::{Staged, sweep};
use crate::storage::lake::fingerprint_cache::FingerprintRecall;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::Found;
use crate::storage::object_store::http::RequestCounts;
use crate::storage::parquet::footer::IntervalsFooter;
use crate::storage::parquet::writer::ObjectWriter;

/// How intervals were computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CompactionMode {
    /// From all of the snapshots.
    Full,
    /// From the existing intervals and the newer snapshots.
    Incremental,
    /// From the existing intervals up to the first difference, and the snapshots from there on.
    Recomputed,
    /// Not at all: the existing intervals are what a run would give.
    UpToDate,
}

impl CompactionMode {
    /// The name in JSON and text.
    pub fn name(self) -> &'static str {
        match self {
            CompactionMode::Full => "full",
            CompactionMode::Incremental => "incremental",
            CompactionMode::Recomputed => "recomputed",
            CompactionMode::UpToDate => "up_to_date",
        }
    }
}

/// What happened to one table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CompactReport {
    /// The table.
    pub table: TableName,
    /// How the intervals were computed.
    pub mode: CompactionMode,
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
    /// How many were read from change files.
    pub by_changes: u64,
    /// How many were not read, because they equal the day before's.
    pub unchanged: u64,
    /// The rows of all those snapshots.
    pub snapshot_rows: u64,
    /// Which row of a key was kept, such as `latest by updated_at`; absent without such a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup: Option<String>,
    /// How many rows were dropped by that rule, in all of the snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_rows: Option<u64>,
    /// How many intervals there are.
    pub intervals: u64,
    /// How many of them are open.
    pub open: u64,
    /// The size of the object.
    pub bytes: u64,
    /// The dates that were read, with what each changed.
    pub days: Vec<DayChanges>,
    /// The condition that rows met; the others count as absent.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub selected_rows: Option<String>,
    /// The selected columns, if not all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
    /// The columns that change in nearly every row on every date, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volatile_columns: Vec<String>,
    /// How the files of text are written, where that was detected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detected: Vec<ReadAs>,
    /// The condition that selects the rows as of a date.
    pub condition: String,
    /// What object stores were asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests: Option<RequestCounts>,
}

/// Compacts the tables, one after the other.
///
/// # Errors
/// Whatever refuses or fails; what was written before stands.
pub fn compact(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &CompactOptions,
) -> Result<Vec<CompactReport>> {
    if let Some(root) = &options.snapshots {
        let (report, store_requests) =
            workspace.counting(|| external::external(workspace, tables, root, options))?;
        return Ok(vec![CompactReport {
            store_requests,
            ..report
        }]);
    }
    if options.layout.is_some() {
        return Err(Error::usage("--layout requires --snapshots"));
    }
    let mut names = workspace.tables(tables)?;
    if tables.is_empty() {
        // A table that asof.toml names and that has no snapshot yet is not a failure of the others.
        let lake = workspace.lake()?;
        let mut with_snapshots = Vec::new();
        for name in &names {
            if workspace.table_config(name).snapshots.is_some() || lake.has(name)? {
                with_snapshots.push(name.clone());
            }
        }
        if !with_snapshots.is_empty() {
            names = with_snapshots;
        }
    }
    if names.len() > 1 && options.out.is_some() {
        return Err(Error::usage("--out requires exactly one table name")
            .hint(format!("asof compact {} --out PATH", names[0])));
    }
    names
        .iter()
        .map(|name| {
            let (report, store_requests) = workspace.counting(|| one(workspace, name, options))?;
            Ok(CompactReport {
                store_requests,
                ..report
            })
        })
        .collect()
}

/// The settings with which the intervals of a table are made, if the command line says nothing of
/// them.
///
/// # Errors
/// A usage error for a word of the configuration that is unknown.
pub(super) fn settings_of(
    workspace: &Workspace<'_>,
    table: &Table,
    existing: Option<&Intervals>,
) -> Result<Settings> {
    let config = workspace.table_config(&table.name);
    settings::decide(
        &table.key,
        &CompactOptions::default(),
        &config,
        existing.map(|existing| &existing.footer),
    )
}

/// One table's compaction.
fn one(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &CompactOptions,
) -> Result<CompactReport> {
    let path = workspace.intervals_path(name, options.out.as_deref())?;
    let existing = Existing::at(&path, name, options)?;
    let mut key = options.key.clone();
    if key.is_empty() && workspace.table_config(name).key.is_empty() {
        key = existing
            .intervals
            .as_ref()
            .map(|existing| existing.footer.key.clone())
            .unwrap_or_default();
    }
    let mut table = workspace.table(name, &key)?;
    if table.own && options.source_format.is_some() {
        return Err(Error::usage(format!(
            "--source-format applies to external tables only; {name} is a managed table"
        )));
    }
    if table.own && table.types.csv_is_given {
        return Err(Error::usage(format!(
            "--csv applies to external tables only; {name} is a managed table"
        ))
        .hint("leave out --csv"));
    }
    table.format.declared = options.source_format.or(table.format.declared);
    run(workspace, table, &path, existing, options)
}

/// Plans a compaction and does it. Where types that were inferred from text are not one type, that
/// is seen on the way; the columns are text then, and all begins anew.
fn run(
    workspace: &Workspace<'_>,
    mut table: Table,
    path: &Location,
    mut existing: Existing,
    options: &CompactOptions,
) -> Result<CompactReport> {
    // Not those of columns that give way to text: that is found out from the files.
    let declared: BTreeMap<String, String> = table
        .types
        .declared
        .iter()
        .map(|(name, data_type)| (name.clone(), type_name(data_type)))
        .collect();
    loop {
        let name = table.name.clone();
        let planned = Run::plan(
            workspace,
            table.clone(),
            declared.clone(),
            path.clone(),
            existing,
            options,
        )?;
        match planned.apply()? {
            Done::Report(report) => return Ok(*report),
            Done::AsText(columns) => {
                let (noun, are) = if columns.len() == 1 {
                    ("column", "is")
                } else {
                    ("columns", "are")
                };
                let columns_named = columns
                    .iter()
                    .map(|column| format!("'{column}'"))
                    .collect::<Vec<_>>()
                    .join(", ");
                workspace.progress.note(&format!(
                    "{name}: {noun} {columns_named} {are} read as \
                     text, since the values of some dates are"
                ));
                table
                    .types
                    .declared
                    .extend(columns.into_iter().map(|column| (column, DataType::Utf8)));
                existing = Existing::at(path, &name, options)?;
            }
        }
    }
}

/// How an attempt ended.
enum Done {
    /// The table is compacted.
    Report(Box<CompactReport>),
    /// It would be with these columns as text.
    AsText(Vec<String>),
}

/// What an earlier compaction left at a place.
struct Existing {
    /// The intervals, unless everything is read anew.
    intervals: Option<Intervals>,
    /// What they were made with, as far as that can be read.
    footer: Option<IntervalsFooter>,
}

impl Existing {
    fn at(path: &Location, table: &TableName, options: &CompactOptions) -> Result<Self> {
        if options.full {
            let footer = existing(path, table)
                .ok()
                .flatten()
                .map(|existing| existing.footer);
            return Ok(Existing {
                intervals: None,
                footer,
            });
        }
        let intervals = existing(path, table)?;
        Ok(Existing {
            footer: intervals.as_ref().map(|existing| existing.footer.clone()),
            intervals,
        })
    }
}

/// The intervals that stand at a place, which must be those of the table.
fn existing(path: &Location, table: &TableName) -> Result<Option<Intervals>> {
    let existing = Intervals::open(path)
        .map_err(|error| error.hint(format!("asof compact {table} --full")))?;
    match existing {
        Some(other) if other.footer.table != table.as_str() => {
            let what = format!(
                "'{path}' holds the intervals of table {}, not of {table}",
                other.footer.table
            );
            Err(Error::usage(what).hint("--out FILE, to write somewhere else"))
        }
        existing => Ok(existing),
    }
}

/// One compaction, planned.
struct Run<'a> {
    workspace: &'a Workspace<'a>,
    table: Table,
    settings: Settings,
    path: Location,
    base: Option<Base>,
    /// The snapshots to take, ascending.
    new: Vec<(NaiveDate, Vec<Object>)>,
    mode: CompactionMode,
    recall: FingerprintRecall,
    /// The types that are declared, by column.
    types: BTreeMap<String, String>,
    dry_run: bool,
}

impl<'a> Run<'a> {
    fn plan(
        workspace: &'a Workspace<'a>,
        table: Table,
        types: BTreeMap<String, String>,
        path: Location,
        existing: Existing,
        options: &CompactOptions,
    ) -> Result<Self> {
        let config = workspace.table_config(&table.name);
        let settings = settings::decide(&table.key, options, &config, existing.footer.as_ref())?;
        // Text that is not a condition is refused before anything is read.
        settings.selection.part()?;
        let existing = existing.intervals;
        let range = options.range()?;
        let outside = |date: &NaiveDate| range.is_some_and(|range| !range.contains(*date));
        // What the range leaves out is dropped from the intervals, and must be had again from the
        // lake.
        let left_out: Vec<NaiveDate> = existing
            .iter()
            .flat_map(Intervals::observed)
            .filter(outside)
            .collect();
        // A range that is open at one end has millions of dates: what there is is filtered instead.
        let is_narrow = left_out.is_empty()
            && (table.dated.is_some() || options.from.is_some() && options.to.is_some());
        let mut found = table.find(range.filter(|_| is_narrow))?;
        let lost: Vec<NaiveDate> = left_out
            .into_iter()
            .filter(|date| !found.partitions.contains_key(date))
            .collect();
        found.partitions.retain(|date, _| !outside(date));
        let dates = found.dates();
        if let Some(other) = found.other_padding.as_ref().filter(|_| !dates.is_empty()) {
            workspace
                .progress
                .note(&format!("table {}: {other}, and is not read", table.name));
        }
        if dates.is_empty() && existing.is_none() {
            return Err(no_snapshots(&table, range, &found));
        }
        let mut read_with = types.clone();
        if table.types.csv_as_text {
            // No column has this name.
            read_with.insert(String::new(), "csv_types = text".to_owned());
        }
        if !table.own && !table.types.csv.is_default() {
            read_with.insert(",".to_owned(), table.types.csv.in_words());
        }
        if let Some(rule) = table.dedup.as_ref().filter(|_| !table.own) {
            read_with.insert(",dedup".to_owned(), rule.to_string());
        }
        let recall = FingerprintRecall::beside(&path, read_with);
        let new = Vec::new();
        let dry_run = options.dry_run;
        let mut run = Run {
            workspace,
            table,
            settings,
            path,
            base: None,
            new,
            mode: CompactionMode::Full,
            recall,
            types,
            dry_run,
        };
        let mut observed = dates.clone();
        if let Some(existing) = existing {
            run.refuse_pruned("a compaction of this range", &lost)?;
            let pruned = existing
                .observed()
                .into_iter()
                .filter(|date| !found.partitions.contains_key(date) && !outside(date));
            let pruned: Vec<NaiveDate> = pruned.collect();
            observed.extend(&pruned);
            observed.sort();
            run.take_over(existing, &found.partitions, &pruned)?;
        } else if options.full {
            run.refuse_to_lose()?;
        }
        let kept = run.base.as_ref().map(Base::last);
        run.new = found
            .partitions
            .into_iter()
            .filter(|(date, _)| kept.is_none_or(|kept| *date > kept))
            .collect();
        run.settings
            .policy
            .check(run.table.name.as_str(), &observed)?;
        Ok(run)
    }

    /// Refuses a full compaction over intervals that know dates which the lake no longer has.
    fn refuse_to_lose(&self) -> Result<()> {
        match Intervals::open(&self.path) {
            Ok(None) => Ok(()),
            Ok(Some(existing)) => {
                let all = self.table.find(None)?;
                let lost: Vec<NaiveDate> = existing
                    .observed()
                    .into_iter()
                    .filter(|date| !all.partitions.contains_key(date))
                    .collect();
                self.refuse_pruned("a full compaction", &lost)
            }
            Err(error)
                if self
                    .workspace
                    .intervals_path(&self.table.name, None)
                    .ok()
                    .as_ref()
                    != Some(&self.path) =>
            {
                // Elsewhere it may be anything, and whose it is cannot be told.
                Err(error.hint(format!(
                    "rm '{}', if it is not needed",
                    self.workspace.shown(&self.path)
                )))
            }
            Err(error) => {
                let note = format!(
                    "{}: the existing intervals cannot be read ({error}); data that existed only \
                     in them is lost",
                    self.table.name
                );
                self.workspace.progress.note(&note);
                Ok(())
            }
        }
    }

    fn refuse_pruned(&self, what: &str, dates: &[NaiveDate]) -> Result<()> {
        let [first, ..] = dates else { return Ok(()) };
        let more = if dates.len() > 1 {
            format!(" and {} more", dates.len() - 1)
        } else {
            String::new()
        };
        let name = &self.table.name;
        let what = format!(
            "table {name}: {what} needs the snapshot of {first}{more}, which was removed and \
             exists only in the intervals"
        );
        let mut error = Error::refused(what);
        let last = dates[dates.len() - 1];
        if !self.table.own {
            // asof never writes among external copies.
            error = error.hint(format!(
                "put the copies of {first} to {last} back, if they should be there"
            ));
        } else if Intervals::open(&self.path)
            .ok()
            .flatten()
            .is_none_or(|existing| existing.is_whole())
        {
            let root = self.workspace.shown(&self.table.root);
            error = error.hint(format!(
                "asof expand {name} --from {first} --to {last} --out '{root}', to have them back"
            ));
        }
        Err(error.hint("--out FILE, to write intervals of the remaining snapshots elsewhere"))
    }

    /// Takes over as much of existing intervals as still agrees with the lake.
    fn take_over(
        &mut self,
        existing: Intervals,
        partitions: &Partitions,
        pruned: &[NaiveDate],
    ) -> Result<()> {
        if Settings::of(&existing) != self.settings
            || existing.footer.dedup != self.dedup().map(Dedup::to_string)
        {
            self.refuse_pruned("a compaction with other settings", pruned)?;
            self.workspace.progress.note(&format!(
                "{}: the settings differ from those of the intervals that exist; \
                 all snapshots are read",
                self.table.name
            ));
            return Ok(());
        }
        let mut kept = 0;
        let mut reason = None;
        if self.table.own {
            self.read_fingerprints(&existing, partitions)?;
        }
        // A column whose type is declared no longer, and that was read in that type.
        let undeclared = |name: &&String| {
            existing.footer.types.contains_key(*name) && !self.types.contains_key(*name)
        };
        let undeclared: Vec<&String> = existing.footer.types.keys().filter(undeclared).collect();
        for (index, observed) in existing.footer.observed.iter().enumerate() {
            let before = index
                .checked_sub(1)
                .map(|before| existing.footer.observed[before].date);
            let latest = partitions.range(..observed.date).next_back();
            if let Some((late, _)) =
                latest.filter(|(date, _)| before.is_none_or(|before| **date > before))
            {
                reason = Some(format!("the snapshot of {late} is new"));
                break;
            }
            let schema = existing.schema_of(index)?;
            if let Some(why) = self.other_types(&schema, &undeclared) {
                reason = Some(why);
                break;
            }
            if let Some(objects) = partitions.get(&observed.date) {
                // Text is read with the types that it had in the pass.
                if !observed.is(self.fingerprint(observed.date, objects, Some(&schema))?) {
                    reason = Some(format!("the snapshot of {} was rewritten", observed.date));
                    break;
                }
            } else if !pruned.contains(&observed.date) {
                reason = Some(format!(
                    "the snapshot of {} is outside of the range",
                    observed.date
                ));
                break;
            }
            kept = index + 1;
        }
        self.mode = CompactionMode::Incremental;
        if let Some(reason) = reason {
            let needed: Vec<NaiveDate> = pruned
                .iter()
                .copied()
                .filter(|date| kept == 0 || *date > existing.footer.observed[kept - 1].date)
                .collect();
            self.refuse_pruned("a recomputation", &needed)?;
            let from = existing.footer.observed[kept..]
                .first()
                .map(|observed| observed.date);
            self.mode = if kept == 0 {
                CompactionMode::Full
            } else {
                CompactionMode::Recomputed
            };
            self.workspace.progress.note(&format!(
                "{}: {reason}; intervals are recomputed from {}",
                self.table.name,
                from.map_or_else(|| "there".to_owned(), |from| from.to_string())
            ));
        }
        if kept > 0 {
            self.base = Some(Base {
                intervals: Arc::new(existing),
                kept,
            });
        }
        Ok(())
    }

    /// Refuses a declared type of a column that no date has. `asof snapshot` looks at its source;
    /// of another tool's files a column may be absent on some dates.
    fn check_declared(&self, schema: &SchemaRef) -> Result<()> {
        let is_absent = |name: &&String| !self.table.own && schema.field_with_name(name).is_err();
        match self.types.keys().find(is_absent) {
            Some(name) => Err(no_column(
                name,
                schema,
                &format!("table {}", self.table.name),
            )),
            None => Ok(()),
        }
    }

    /// Why the types of a snapshot in the intervals are not those that it would be read with now,
    /// if they are not.
    fn other_types(&self, schema: &SchemaRef, undeclared: &[&String]) -> Option<String> {
        let declared = self.table.as_declared(schema);
        let differs = schema
            .fields()
            .iter()
            .zip(declared.fields())
            .find(|(known, declared)| known.data_type() != declared.data_type());
        if let Some((known, declared)) = differs {
            let known_type = type_name(known.data_type());
            let declared = type_name(declared.data_type());
            return Some(format!(
                "column '{}' is {declared} now, and {known_type} in the intervals",
                known.name()
            ));
        }
        let undeclared = undeclared
            .iter()
            .find(|name| schema.field_with_name(name).is_ok())?;
        Some(format!(
            "the type of column '{undeclared}' is no longer declared"
        ))
    }

    /// Reads, in parallel, the footers of the snapshots that intervals were made from, as far as
    /// they are there and it is not known what they say.
    fn read_fingerprints(&mut self, existing: &Intervals, partitions: &Partitions) -> Result<()> {
        let there = existing
            .footer
            .observed
            .iter()
            .filter_map(|observed| Some((observed.date, partitions.get(&observed.date)?)));
        let unknown: Vec<_> = there
            .filter(|(date, objects)| self.recall.recall(*date, objects).is_none())
            .collect();
        let task = |(date, objects): &(NaiveDate, &Vec<Object>)| -> Task<Option<Fingerprint>> {
            let table = self.table.clone();
            let date = *date;
            let objects = (*objects).clone();
            // A snapshot that cannot be read is read again, and refused, when it is needed.
            Box::new(move || Ok(table.fingerprint(date, &objects, None).ok()))
        };
        let threads = self.table.footer_threads();
        let read: Vec<Option<Fingerprint>> =
            OrderedPool::new(threads, 2 * threads, unknown.iter().map(task))?
                .collect::<Result<_>>()?;
        for ((date, objects), fingerprint) in unknown.into_iter().zip(read) {
            if let Some(fingerprint) = fingerprint {
                self.recall.learn(date, objects, fingerprint);
            }
        }
        Ok(())
    }

    fn fingerprint(
        &mut self,
        date: NaiveDate,
        objects: &[Object],
        pinned: Option<&SchemaRef>,
    ) -> Result<Fingerprint> {
        if let Some(known) = self.recall.recall(date, objects) {
            return Ok(known);
        }
        let fingerprint = self.table.fingerprint(date, objects, pinned)?;
        self.recall.learn(date, objects, fingerprint);
        Ok(fingerprint)
    }

    fn apply(mut self) -> Result<Done> {
        if self.new.is_empty() && self.base.as_ref().is_some_and(Base::is_whole) {
            self.mode = CompactionMode::UpToDate;
            self.base
                .iter()
                .try_for_each(|base| self.check_declared(&base.intervals.every_column()?))?;
            if !self.dry_run {
                self.recall.save();
            }
            return Ok(Done::Report(Box::new(self.report(None, 0)?)));
        }
        if self.dry_run {
            return Ok(Done::Report(Box::new(self.report(None, 0)?)));
        }
        let mut output = Output {
            run: &self,
            staged: None,
            writer: None,
        };
        let pass = Pass {
            table: &self.table,
            settings: &self.settings,
            base: self.base.as_ref(),
            part: None,
            memory: self.workspace.memory,
            threads: decoding_threads(),
            step: &|done, total| {
                self.workspace
                    .progress
                    .step(&format!("compact {}", self.table.name), done, total)
            },
        };
        let facts = pass.run(&self.new, &mut output)?;
        if !facts.as_text.is_empty() {
            return Ok(Done::AsText(facts.as_text));
        }
        self.note_new_columns(&facts);
        self.note_twins(&facts)?;
        let bytes = output.finish(&facts)?;
        if let (0, Some(condition)) = (facts.intervals, &self.settings.selection.condition) {
            self.workspace.progress.note(&format!(
                "{}: no row of any snapshot meets the condition {condition}",
                self.table.name
            ));
        }
        let volatile_columns = self.note_volatile_columns(&facts);
        for (date, objects) in &self.new {
            if let Some(observed) = facts
                .observed
                .iter()
                .find(|observed| observed.date == *date)
            {
                self.recall.learn(
                    *date,
                    objects,
                    observed.stored.unwrap_or(observed.fingerprint),
                );
            }
        }
        self.recall.save();
        Ok(Done::Report(Box::new(CompactReport {
            volatile_columns,
            ..self.report(Some(&facts), bytes)?
        })))
    }

    /// The rule by which rows of external copies are dropped; those of asof's own have been dropped
    /// before.
    fn dedup(&self) -> Option<&Dedup> {
        self.table.dedup.as_ref().filter(|_| !self.table.own)
    }

    /// Says so if columns differ only in case, as when an external table's tool changed the case of
    /// a name.
    fn note_twins(&self, facts: &CompactionFacts) -> Result<()> {
        let mut all: SchemaRef = Arc::new(Schema::empty());
        for schema in &facts.schemas {
            all = unify(&all, &self.settings.selection.kept(schema))
                .map_err(|clash| clash.refusal(self.table.name.as_str(), "its intervals"))?
                .0;
        }
        if let Some((one, other)) = twins(&all) {
            self.workspace.progress.note(&format!(
                "{}: columns '{one}' and '{other}' differ only in case, and are two columns of \
                 the intervals; Spark, Hive and BigQuery cannot distinguish them",
                self.table.name
            ));
        }
        Ok(())
    }

    /// What happened, or, without facts of a pass, what stands or would be done.
    fn report(&self, passed: Option<&CompactionFacts>, bytes: u64) -> Result<CompactReport> {
        let base = self.base.as_ref().map(Base::observed);
        let planned = || {
            base.into_iter()
                .flatten()
                .map(|seen| seen.date)
                .chain(self.new.iter().map(|(date, _)| *date))
                .collect()
        };
        let dates: Vec<NaiveDate> = passed.map_or_else(planned, |passed| {
            passed.observed.iter().map(|seen| seen.date).collect()
        });
        let observed = passed.map_or(base.unwrap_or_default(), |passed| &passed.observed);
        let standing = || self.base.as_ref().map_or(0, |base| base.intervals.rows());
        let open = match (passed, &self.base, &self.settings.selection.condition) {
            (Some(passed), ..) => passed.open,
            (None, Some(base), Some(_)) => base.intervals.count_open()?,
            (None, ..) => observed.last().map_or(0, |last| last.rows),
        };
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
            by_changes: passed.map_or(0, |passed| passed.by_changes),
            unchanged: passed.map_or(0, |passed| passed.unchanged),
            dedup: self.dedup().map(Dedup::to_string),
            dropped_rows: self
                .dedup()
                .map(|_| observed.iter().map(|observed| observed.dropped_rows).sum()),
            snapshot_rows: observed.iter().map(|observed| observed.rows).sum(),
            intervals: passed.map_or_else(standing, |passed| passed.intervals),
            open,
            bytes: if passed.is_some() {
                bytes
            } else {
                self.base.as_ref().map_or(0, |base| base.intervals.bytes())
            },
            days: passed.map(|passed| passed.days.clone()).unwrap_or_default(),
            selected_rows: self.settings.selection.condition.clone(),
            select: self.settings.selection.select.clone(),
            volatile_columns: Vec::new(),
            detected: self.table.types.observed.detected(),
            condition: self.settings.convention.condition("D"),
            store_requests: None,
        })
    }
}

/// The object of intervals on its way.
struct Output<'a> {
    run: &'a Run<'a>,
    staged: Option<Staged>,
    writer: Option<ObjectWriter>,
}

impl Sink for Output<'_> {
    fn begin(&mut self, table: &SchemaRef, schema: &SchemaRef) -> Result<()> {
        let Run {
            settings,
            path,
            workspace,
            ..
        } = self.run;
        settings.check(table, &self.run.table)?;
        self.run.check_declared(table)?;
        if let Some(folder) = path.parent() {
            sweep(&folder, workspace.clock.now());
        }
        (self.writer, self.staged) = (None, None);
        let staged = Staged::create(path)?;
        let mut sorted_by = self.run.table.key.clone();
        sorted_by.push(settings.convention.start_column.clone());
        self.writer = Some(ObjectWriter::create(
            staged.writer()?,
            schema,
            &sorted_by,
            path,
        )?);
        self.staged = Some(staged);
        Ok(())
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.writer.as_mut().map_or_else(
            || Err(Error::internal("nothing was begun")),
            |writer| writer.write(rows),
        )
    }
}

impl Output<'_> {
    /// Publishes the object whole; gives its size.
    fn finish(self, facts: &CompactionFacts) -> Result<u64> {
        let (Some(staged), Some(writer)) = (self.staged, self.writer) else {
            return Err(Error::internal("nothing was begun"));
        };
        if writer.rows() != facts.intervals {
            let counted = format!(
                "{} intervals were counted and {} written",
                facts.intervals,
                writer.rows()
            );
            return Err(Error::internal(format!(
                "table {}: {counted}",
                self.run.table.name
            )));
        }
        let bytes = writer.finish(&self.run.settings.footer(
            &self.run.table,
            facts,
            &self.run.types,
        ))?;
        staged.publish_over()?;
        Ok(bytes)
    }
}

fn no_snapshots(table: &Table, range: Option<DateRange>, found: &Found) -> Error {
    let within = range.map_or(String::new(), |range| format!(" from {range}"));
    let error = Error::refused(format!(
        "table {} has no snapshots{within} to compact",
        table.name
    ));
    if let Some(other) = &found.other_padding {
        return error.hint(format!(
            "--layout '{}' reads '{}'",
            other.layout, other.path
        ));
    }
    match found.unrecognized_paths.as_slice() {
        [] if range.is_some() => {
            error.hint("choose another range with --from and --to, or leave them out")
        }
        [] if !table.own => error.hint(table.filling()),
        [] => error.hint(format!(
            "asof snapshot {} --source FILE --key COLUMN",
            table.name
        )),
        unrecognized_paths => error.hint(format!(
            "'{}' does not match the layout '{}'",
            unrecognized_paths[0], table.layout
        )),
    }
}
