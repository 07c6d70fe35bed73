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

mod differences;
mod existing;
mod external;
mod lineage;
mod notes;
mod output;
mod plan;
mod report;
mod reuse;
mod scd2;
#[cfg(all(test, feature = "sql"))]
mod selection_tests;
mod settings;
mod tables;

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use chrono::NaiveDate;
use serde::Serialize;

pub(super) use self::differences::changed_copies;
pub use self::differences::{ChangedCopy, CopyChange};
use self::existing::Existing;
use self::lineage::CompactRun;
use self::plan::Compaction;
use self::scd2::Scd2Table;
pub use self::scd2::{Scd2Options, Scd2Outcome, Scd2Report};
pub use self::settings::CompactOptions;
pub use self::tables::{CompactionRun, FailedCompaction, TableCompaction};
use super::Workspace;
use super::workspace::Notes;
use crate::domain::type_names::type_name;
pub use crate::engine::compaction::DayChanges;
use crate::engine::compaction::{Base, Settings};
use crate::engine::intervals::Intervals;
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::ReadAs;
use crate::storage::lake::location::Location;
use crate::storage::object_store::http::RequestCounts;

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
    /// The table for a warehouse, if there is to be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scd2: Option<Scd2Report>,
    /// What object stores were asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests: Option<RequestCounts>,
}

/// Compacts tables, one after the other. A failure of one of several stops no other, and is in the
/// report.
///
/// # Errors
/// A usage error for a table that there is not, and for options that contradict each other;
/// whatever refuses or fails if there is one table.
pub fn compact_tables(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &CompactOptions,
) -> Result<CompactionRun> {
    if options.snapshots.is_some() {
        let report = compact_external(workspace, tables, options)?;
        let tables = vec![TableCompaction::Done(Box::new(report))];
        return Ok(CompactionRun { tables });
    }
    let names = names_of(workspace, tables, options)?;
    let compacted = names
        .iter()
        .map(|name| match compact_one(workspace, name, options) {
            Ok(report) => Ok(TableCompaction::Done(Box::new(report))),
            Err(error) if names.len() == 1 => Err(error),
            Err(error) => Ok(TableCompaction::Failed(FailedCompaction {
                table: name.clone(),
                error: match error.to_string().contains(&format!("table {name}")) {
                    true => error,
                    false => error.within(format!("table {name}")),
                },
            })),
        });
    let tables = compacted.collect::<Result<_>>()?;
    Ok(CompactionRun { tables })
}

/// Compacts tables, one after the other.
///
/// # Errors
/// As [`compact_tables`], and the first failure of a table; what was written stands.
pub fn compact(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &CompactOptions,
) -> Result<Vec<CompactReport>> {
    let run = compact_tables(workspace, tables, options)?;
    let reports = run.tables.into_iter().map(|table| match table {
        TableCompaction::Done(report) => Ok(*report),
        TableCompaction::Failed(failed) => Err(failed.error),
    });
    reports.collect()
}

/// Compacts the snapshots that the options name.
fn compact_external(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &CompactOptions,
) -> Result<CompactReport> {
    let root = options.snapshots.as_deref().unwrap_or_default();
    let (report, store_requests) =
        workspace.counting(|| external::external(workspace, tables, root, options))?;
    Ok(CompactReport {
        store_requests,
        ..report
    })
}

/// The tables that are to be compacted: those named or, if none is, all that have snapshots.
fn names_of(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &CompactOptions,
) -> Result<Vec<TableName>> {
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
    Ok(names)
}

/// Compacts one table, and tells OpenLineage of it.
fn compact_one(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &CompactOptions,
) -> Result<CompactReport> {
    let run = CompactRun::start(workspace, name, options);
    let compacted = workspace.counting(|| one(workspace, name, options));
    if let Some(run) = run {
        run.end(&compacted.as_ref().map(|(report, _)| report));
    }
    let (report, store_requests) = compacted?;
    Ok(CompactReport {
        store_requests,
        ..report
    })
}

/// The settings with which the intervals of a table are made, if the command line says nothing of
/// them.
///
/// # Errors
/// A usage error for a word of the configuration that is unknown.
pub(super) fn settings_of(
    workspace: &Workspace<'_>,
    table: &SnapshotTable,
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

/// Why the intervals of a table in the lake are not those that a compaction would make of the same
/// snapshots now, if they are not. There may be newer snapshots.
///
/// # Errors
/// What a compaction refuses.
pub(super) fn out_of_date(workspace: &Workspace<'_>, name: &TableName) -> Result<Option<String>> {
    let notes = Notes::new(workspace.progress);
    let workspace = workspace.part(1, &notes);
    let options = CompactOptions {
        dry_run: true,
        ..CompactOptions::default()
    };
    let path = workspace.intervals_path(name, None)?;
    let (table, existing) = prepared(&workspace, name, &path, &options)?;
    let declared = declared_types(&table);
    let planned = Compaction::plan(&workspace, table, declared, path, existing, &options)?;
    if planned.base.as_ref().is_some_and(Base::is_whole) {
        return Ok(None);
    }
    let why = planned.differs;
    Ok(Some(why.unwrap_or_else(|| "there are none".to_owned())))
}

/// One table's compaction.
fn one(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &CompactOptions,
) -> Result<CompactReport> {
    let path = workspace.intervals_path(name, options.out.as_deref())?;
    if options.out.is_some() {
        external::refuse_place(workspace, name, &path)?;
    }
    let (table, existing) = prepared(workspace, name, &path, options)?;
    run(workspace, table, &path, existing, options)
}

/// A table that is to be compacted, and the intervals that stand.
fn prepared(
    workspace: &Workspace<'_>,
    name: &TableName,
    path: &Location,
    options: &CompactOptions,
) -> Result<(SnapshotTable, Existing)> {
    let mut existing = Existing::at(path, name, options)?;
    if let Some(intervals) = &mut existing.intervals {
        intervals.mark_dropped(&workspace.dropped(name)?);
    }
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
    Ok((table, existing))
}

/// Plans a compaction and does it. Where types that were inferred from text are not one type, that
/// is seen on the way; the columns are text then, and all begins anew.
fn run(
    workspace: &Workspace<'_>,
    mut table: SnapshotTable,
    path: &Location,
    mut existing: Existing,
    options: &CompactOptions,
) -> Result<CompactReport> {
    let declared = declared_types(&table);
    let name = table.name.clone();
    let scd2 = Scd2Table::plan(workspace, &name, path, options)?;
    loop {
        let mut planned = Compaction::plan(
            workspace,
            table.clone(),
            declared.clone(),
            path.clone(),
            existing,
            options,
        )?;
        planned.engine = options.engine.clone();
        planned.columns_beside = scd2.as_ref().map(|scd2| scd2.columns.clone());
        match planned.apply()? {
            Done::Report(mut report) => {
                report.scd2 = scd2.map(|scd2| scd2.write(path)).transpose()?;
                return Ok(*report);
            }
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
                     text, since some dates hold text"
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

/// The types that are declared, by column; not those of columns that give way to text, which is
/// found out from the files.
fn declared_types(table: &SnapshotTable) -> BTreeMap<String, String> {
    let declared = table.types.declared.iter();
    declared
        .map(|(name, data_type)| (name.clone(), type_name(data_type)))
        .collect()
}

/// How an attempt ended.
enum Done {
    /// The table is compacted.
    Report(Box<CompactReport>),
    /// It would be with these columns as text.
    AsText(Vec<String>),
}
