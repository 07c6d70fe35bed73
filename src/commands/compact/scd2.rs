//! The table that `asof compact` also writes for a warehouse, if that is asked for: the intervals
//! with the columns of [`WarehouseColumns`].
//!
//! It is an object of its own. The intervals are as they always are, and no command reads this one.
//! It depends on the intervals alone: its footer says from which it was made, and a compaction that
//! finds it made from the same ones leaves it as it is.
//!
//! What is wanted comes from the command line, then from `scd2` in `asof.toml`, then from the footer
//! of the object that stands. Without a path it is in the lake, beside the intervals, where a
//! compaction finds it again without being told.

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::settings::CompactOptions;
use crate::commands::Workspace;
use crate::commands::forbidden_places::Destination;
use crate::config::Scd2Config;
use crate::domain::digest::Fingerprint;
use crate::domain::warehouse_columns::WarehouseColumns;
use crate::engine::intervals::Intervals;
use crate::engine::warehouse::{WarehouseCounts, warehouse_rows, warehouse_schema};
use crate::error::{Context, Error, Result};
use crate::model::TableName;
use crate::storage::lake::commit::{Published, Staged, sweep};
use crate::storage::lake::location::Location;
use crate::storage::lake::standing::Standing;
use crate::storage::parquet::footer::{Content, Footer, IntervalsFooter, Scd2Footer};
use crate::storage::parquet::object::ParquetObject;
use crate::storage::parquet::writer::ObjectWriter;

/// What the command line says of the table for a warehouse. An empty name takes back what an
/// earlier run was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scd2Options {
    /// Where it goes.
    pub path: Option<String>,
    /// The column that marks current rows.
    pub current_column: Option<String>,
    /// The column of versions.
    pub version_column: Option<String>,
    /// The column of surrogate keys.
    pub surrogate_key: Option<String>,
    /// The column that marks records of deletions.
    pub deleted_column: Option<String>,
}

impl Scd2Options {
    fn is_given(&self) -> bool {
        *self != Scd2Options::default()
    }
}

/// How the table for a warehouse ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scd2Outcome {
    /// It was written.
    Written,
    /// It would be.
    Planned,
    /// It stands as it would be written.
    UpToDate,
}

/// The table for a warehouse.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Scd2Report {
    /// How it ended.
    pub outcome: Scd2Outcome,
    /// The object.
    pub path: String,
    /// How many rows it has; not known of what was not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// How many of them are records of deletions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_records: Option<u64>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A table for a warehouse that is to be written.
pub(super) struct Scd2Table<'a> {
    workspace: &'a Workspace<'a>,
    name: &'a TableName,
    pub(super) columns: WarehouseColumns,
    path: Location,
    standing: Standing,
    footer: Option<Scd2Footer>,
    dry_run: bool,
}

impl<'a> Scd2Table<'a> {
    /// Decides whether there is to be such a table, with which columns, and where. `intervals` is
    /// where the intervals go.
    ///
    /// # Errors
    /// A usage error for a place that it cannot have.
    pub(super) fn plan(
        workspace: &'a Workspace<'a>,
        name: &'a TableName,
        intervals: &Location,
        options: &CompactOptions,
    ) -> Result<Option<Self>> {
        let given = &options.scd2;
        let is_in_lake = options.out.is_none() && options.snapshots.is_none();
        let config = workspace.table_config(name).scd2.filter(|_| is_in_lake);
        let Some(path) = place(workspace, name, intervals, options, config.as_ref())? else {
            return Ok(None);
        };
        let standing = path.standing()?;
        let footer = match standing {
            Standing::Nothing => None,
            _ => Some(standing_footer(workspace, name, &path)?),
        };
        if !given.is_given() && config.is_none() && footer.is_none() {
            return Ok(None);
        }
        let known = footer.as_ref().map(Scd2Footer::columns);
        Ok(Some(Scd2Table {
            columns: decide(
                given,
                &config.unwrap_or_default(),
                &known.unwrap_or_default(),
            ),
            workspace,
            name,
            path,
            standing,
            footer,
            dry_run: options.dry_run,
        }))
    }

    /// Writes it from intervals that stand, unless it was made from them before.
    pub(super) fn write(&self, intervals: &Location) -> Result<Scd2Report> {
        let report = Scd2Report {
            outcome: Scd2Outcome::Planned,
            path: self.workspace.shown(&self.path),
            rows: None,
            deletion_records: None,
            bytes: None,
        };
        if self.dry_run {
            return Ok(report);
        }
        let intervals = Intervals::open_existing(intervals)?;
        let others = intervals.object().schema().fields().iter();
        self.columns.check(
            self.name.as_str(),
            others.map(|field| field.name().as_str()),
        )?;
        let footer = self.footer_of(&intervals.footer, WarehouseCounts::default())?;
        if let Some(stands) = self.footer.as_ref().filter(|stands| stands.is_of(&footer)) {
            return Ok(Scd2Report {
                outcome: Scd2Outcome::UpToDate,
                rows: Some(stands.rows),
                deletion_records: self.deletions(stands.deletion_records),
                ..report
            });
        }
        if let Some(folder) = self.path.parent() {
            sweep(&folder, self.workspace.clock.now());
        }
        let staged = Staged::create(&self.path)?;
        let schema = warehouse_schema(&intervals, &self.columns);
        let mut sorted_by = intervals.footer.key.clone();
        sorted_by.push(intervals.convention.start_column.clone());
        let mut writer = ObjectWriter::create(staged.writer()?, &schema, &sorted_by, &self.path)?;
        let mut out = |rows| writer.write(rows);
        let counts = warehouse_rows(&intervals, &self.columns, &mut out)?;
        let footer = self.footer_of(&intervals.footer, counts)?;
        let bytes = writer.finish(&Footer::new(Content::Scd2(footer)))?;
        if staged.publish_in_place_of(&self.standing)? == Published::Exists {
            let what = format!(
                "table {}: another writer published '{}' first",
                self.name, report.path
            );
            return Err(Error::conflict(what).hint("run the same command again"));
        }
        Ok(Scd2Report {
            outcome: Scd2Outcome::Written,
            rows: Some(counts.rows),
            deletion_records: self.deletions(counts.deletions),
            bytes: Some(bytes),
            ..report
        })
    }

    /// What its footer says, if it is made from intervals and has as many rows.
    fn footer_of(
        &self,
        intervals: &IntervalsFooter,
        counts: WarehouseCounts,
    ) -> Result<Scd2Footer> {
        Ok(Scd2Footer {
            table: self.name.to_string(),
            key: intervals.key.clone(),
            rows: counts.rows,
            deletion_records: counts.deletions,
            convention: intervals.convention.clone(),
            current_column: self.columns.current.clone(),
            version_column: self.columns.version.clone(),
            surrogate_key: self.columns.surrogate_key.clone(),
            deleted_column: self.columns.deleted.clone(),
            made_from: made_from(intervals)?,
            asof_version: env!("CARGO_PKG_VERSION").into(),
        })
    }

    fn deletions(&self, count: u64) -> Option<u64> {
        self.columns.deleted.as_ref().map(|_| count)
    }
}

/// Where the table goes; nothing if nobody asks for one.
fn place(
    workspace: &Workspace<'_>,
    name: &TableName,
    intervals: &Location,
    options: &CompactOptions,
    config: Option<&Scd2Config>,
) -> Result<Option<Location>> {
    let given = &options.scd2;
    let is_in_lake = options.out.is_none() && options.snapshots.is_none();
    let path = match (&given.path, config.and_then(|config| config.path.as_ref())) {
        (Some(path), _) => file(workspace.here(path)?, name, path)?,
        (None, Some(path)) => file(workspace.configured(path)?, name, path)?,
        (None, None) if is_in_lake => return Ok(Some(workspace.lake()?.scd2(name))),
        (None, None) if given.is_given() => {
            let what = "columns for a warehouse are in a file of their own, beside the intervals";
            return Err(Error::usage(what).hint("--scd2 FILE.parquet"));
        }
        (None, None) => return Ok(None),
    };
    if workspace.has_lake() && path.resolved() == workspace.lake()?.scd2(name).resolved() {
        return Ok(Some(path));
    }
    if path.resolved() == intervals.resolved() {
        let what = format!("'{path}' is the file of the intervals");
        return Err(Error::usage(what).hint("--scd2 FILE.parquet, for another file"));
    }
    let destination = Destination {
        place: &path,
        object: &path,
        what: "the file",
        hint: "--scd2 FILE.parquet, in another folder",
    };
    destination.check_tables(workspace)?;
    destination.check_configured_events(workspace)?;
    Ok(Some(path))
}

/// A Parquet file, or the one of the table in a folder.
fn file(path: Location, name: &TableName, written: &str) -> Result<Location> {
    match path.ending().as_str() {
        "parquet" => Ok(path),
        "csv" | "tsv" | "json" | "ndjson" | "jsonl" | "arrow" | "ipc" | "feather" => {
            let what = format!("'{written}': a table for a warehouse is Parquet");
            Err(Error::usage(what).hint("--scd2 FILE.parquet, or a folder"))
        }
        _ => Ok(path.join(&format!("{name}.parquet"))),
    }
}

/// The footer of the table that stands.
///
/// # Errors
/// A usage error if something else stands there.
fn standing_footer(
    workspace: &Workspace<'_>,
    name: &TableName,
    path: &Location,
) -> Result<Scd2Footer> {
    let shown = workspace.shown(path);
    let object = ParquetObject::open(path).and_then(|object| object.footer());
    let content = match object {
        Ok(footer) => footer.map(|footer| footer.content),
        Err(error) if error.is_damage() => {
            return Err(error.hint(format!(
                "delete '{shown}'; asof compact {name} writes it again"
            )));
        }
        Err(error) => return Err(error),
    };
    match content {
        Some(Content::Scd2(footer)) if footer.table == name.as_str() => Ok(footer),
        _ => {
            let what = format!("'{shown}' is not what asof compact wrote of table {name}");
            Err(Error::usage(what).hint("--scd2 FILE.parquet, for another file"))
        }
    }
}

/// The names of the columns: of the command line, else of the configuration, else those that stand.
fn decide(given: &Scd2Options, config: &Scd2Config, known: &WarehouseColumns) -> WarehouseColumns {
    let name = |given: &Option<String>, config: &Option<String>, known: &Option<String>| {
        let name = given.as_ref().or(config.as_ref()).or(known.as_ref());
        name.filter(|name| !name.is_empty()).cloned()
    };
    WarehouseColumns {
        current: name(
            &given.current_column,
            &config.current_column,
            &known.current,
        ),
        version: name(
            &given.version_column,
            &config.version_column,
            &known.version,
        ),
        surrogate_key: name(
            &given.surrogate_key,
            &config.surrogate_key,
            &known.surrogate_key,
        ),
        deleted: name(
            &given.deleted_column,
            &config.deleted_column,
            &known.deleted,
        ),
    }
}

/// What tells intervals from others: their footer, without what is recorded of proofs.
fn made_from(footer: &IntervalsFooter) -> Result<Fingerprint> {
    let mut footer = footer.clone();
    for observed in &mut footer.observed {
        observed.proven = None;
    }
    footer.asof_version = String::new();
    let json = serde_json::to_vec(&footer).internal_context(|| "a footer".into())?;
    Ok(Fingerprint(xxh3_128(&json)))
}
