//! What is to be adopted, decided before any row is read, and the dates that follow from the rows.

use std::collections::BTreeMap;
use std::io::Read;

use arrow::datatypes::{Schema, SchemaRef};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;

use super::options::{AdoptOptions, AdoptedDates};
use crate::commands::Workspace;
use crate::commands::compact::settings_of;
use crate::commands::sources::find_source;
use crate::config::zone;
use crate::domain::days::{from_days, to_days};
use crate::domain::digest::RowSum;
use crate::domain::gaps::gaps;
use crate::domain::missing_column::names_missing_column;
use crate::domain::scd2::{DayWindow, Scd2Preset, Scd2Shape, VersionEnd};
use crate::engine::compaction::Settings;
use crate::engine::scd2::{GatheredVersions, Scd2Columns, column_of};
use crate::engine::selection::Selection;
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::{SnapshotSource, SourceRows};
use crate::storage::parquet::footer::ObservedWire;

/// The most days of which the lake is to know a table: a hundred years.
const MOST_DAYS: i32 = 36_525;

/// What is to be adopted.
pub(super) struct AdoptPlan {
    /// The table that it becomes.
    pub(super) table: SnapshotTable,
    pub(super) preset: Option<Scd2Preset>,
    shape: Scd2Shape,
    /// Columns that the command line names, each with its option: they must be there.
    named: Vec<(String, &'static str)>,
    pub(super) zone: Tz,
    /// How intervals are written. They compare every column.
    pub(super) settings: Settings,
    pub(super) today: NaiveDate,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    dates: AdoptedDates,
    pub(super) expands: bool,
}

impl AdoptPlan {
    pub(super) fn new(workspace: &Workspace<'_>, options: &AdoptOptions) -> Result<Self> {
        let name: TableName = options.table.parse()?;
        let table = table_of(workspace, &name, options)?;
        let mut settings = settings_of(workspace, &table, None)?;
        let is_whole = settings.comparison.covers_all() && settings.selection.is_whole();
        if !is_whole && options.write && !options.expand {
            let what = format!(
                "table {name}: asof.toml leaves rows or columns of it out of the intervals, and \
                 without copies nothing else has them"
            );
            return Err(Error::usage(what).hint("--expand, to write a copy of each date"));
        }
        settings.comparison.ignore.clear();
        settings.comparison.track.clear();
        settings.selection = Selection::default();
        let zone = match &options.timezone {
            Some(name) => zone(name)?,
            None => workspace.config.zone()?,
        };
        let today = workspace.clock.today();
        if let Some(to) = options.to.filter(|to| *to > today) {
            let what = format!("--to {to} is after today, {today}, and nothing is known of it");
            return Err(Error::usage(what).hint(format!("--to {today}")));
        }
        Ok(AdoptPlan {
            shape: shape_of(options)?,
            named: named(options),
            preset: options.preset,
            table,
            zone,
            settings,
            today,
            from: options.from,
            to: options.to,
            dates: options.dates,
            expands: options.expand,
        })
    }

    /// Where the versions are.
    pub(super) fn source<'s>(
        &self,
        workspace: &Workspace<'_>,
        options: &AdoptOptions,
        stdin: &'s mut dyn Read,
    ) -> Result<Box<dyn SnapshotSource + 's>> {
        find_source(
            workspace,
            &self.table.name,
            self.today,
            &options.source,
            stdin,
        )
    }

    /// The columns that tell of versions.
    pub(super) fn columns(&self, schema: &Schema, source: &str) -> Result<Scd2Columns> {
        let what = format!("'{source}'");
        for (name, option) in &self.named {
            if column_of(schema, name).is_none() {
                return Err(names_missing_column(option, name, schema, &what));
            }
        }
        let found = Scd2Columns::of(schema, &self.shape, self.zone, &self.table.key, &what);
        let columns = found.map_err(|error| match likely_preset(schema, self.preset) {
            Some(preset) => error.hint(format!("--preset {}", preset.name())),
            None => error,
        })?;
        self.settings.check(columns.table(), &self.table)?;
        Ok(columns)
    }

    /// The rows, of which none has a key that is too long.
    pub(super) fn checked(&self, rows: SourceRows) -> SourceRows {
        let (table, today) = (self.table.clone(), self.today);
        let check = move |batch| {
            let batch = batch?;
            table.check_key_lengths(today, &batch)?;
            Ok(batch)
        };
        SourceRows {
            batches: Box::new(rows.batches.map(check)),
            ..rows
        }
    }

    /// The days of which the lake is to know the table; nothing if no version tells one.
    ///
    /// # Errors
    /// A usage error for a range without days, or with too many.
    pub(super) fn window(&self, versions: &GatheredVersions) -> Result<Option<DayWindow>> {
        let from = self.from.map(to_days);
        let to = self.to.map(to_days);
        let known = versions.days;
        // What began at an unknown time held on the day before the first change.
        let first = known.map(|(first, _)| match versions.has_unknown_starts {
            true => first - 1,
            false => first,
        });
        let last = known.map(|(_, last)| last);
        let (Some(first), Some(last)) = (from.or(first), to.or(last).or(from)) else {
            if versions.has_unknown_starts {
                let what = format!(
                    "table {}: all versions begin before the first run, and nothing says when \
                     that was",
                    self.table.name
                );
                return Err(Error::refused(what).hint("--from DATE, the date of the first run"));
            }
            return Ok(None);
        };
        if first > last {
            let (first, last) = (from_days(first)?, from_days(last)?);
            let what = format!("the range from {first} to {last} has no dates");
            return Err(Error::usage(what).hint(format!("--from {last}")));
        }
        if last - first >= MOST_DAYS {
            let (first, last) = (from_days(first)?, from_days(last)?);
            let years = (last - first).num_days() / 365;
            let what = format!(
                "table {}: the versions reach from {first} to {last}, over {years} years",
                self.table.name
            );
            let hint = "--from DATE, where history begins; earlier versions count from then on";
            return Err(Error::refused(what).hint(hint));
        }
        Ok(Some(DayWindow { first, last }))
    }

    /// The dates that the intervals observe, with the rows that the versions have on each.
    ///
    /// # Errors
    /// A refusal of gaps that the table does not accept.
    pub(super) fn observed(
        &self,
        window: DayWindow,
        steps: BTreeMap<i32, RowSum>,
    ) -> Result<Vec<ObservedWire>> {
        let mut running = RowSum::default();
        let mut observed = Vec::new();
        for day in window.first..=window.last {
            let step = steps.get(&day).copied().unwrap_or_default();
            running.merge(step);
            let is_changed = step != RowSum::default() || day == window.first;
            if self.dates == AdoptedDates::Every || is_changed || day == window.last {
                let fingerprint = running.fingerprint();
                observed.push(ObservedWire {
                    date: from_days(day)?,
                    rows: running.rows(),
                    fingerprint,
                    stored: None,
                    schema: 0,
                    dropped_rows: 0,
                    proven: (!self.expands).then_some(fingerprint),
                    pruned_bytes: None,
                });
            }
        }
        let dates: Vec<NaiveDate> = observed.iter().map(|observed| observed.date).collect();
        let policy = self.settings.policy;
        policy.check(self.table.name.as_str(), &dates)?;
        if let Some(gap) = gaps(&dates).find(|gap| !policy.joins(gap.before, gap.after)) {
            let what = format!(
                "table {}: gaps = \"split\" would end all intervals on {}, the day before {}, on \
                 which nothing changed",
                self.table.name,
                gap.before,
                gap.before + Days::new(1)
            );
            return Err(Error::usage(what).hint("--dates every"));
        }
        Ok(observed)
    }

    /// The types of all columns that the intervals have, on every date.
    pub(super) fn schemas(table: &SchemaRef) -> Vec<SchemaRef> {
        vec![table.clone()]
    }
}

/// The table that the versions become, with its key.
fn table_of(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &AdoptOptions,
) -> Result<SnapshotTable> {
    let mut table = workspace.configured_table(name)?;
    if !table.own {
        let what = format!("table {name} is external: 'snapshots' in asof.toml are its copies");
        return Err(Error::usage(what).hint("choose another name for the table"));
    }
    if !options.key.is_empty() {
        if !table.key.is_empty() && table.key != options.key {
            let what = format!(
                "table {name}: --key {} contradicts asof.toml, which has {}",
                options.key.join(","),
                table.key.join(",")
            );
            return Err(Error::usage(what).hint("leave out --key"));
        }
        table.key.clone_from(&options.key);
        table.key_is_given = true;
    }
    if table.key.is_empty() {
        let what = format!("table {name}: versions of one row are told by its key");
        return Err(Error::usage(what).hint("--key COLUMN[,COLUMN]"));
    }
    // Text of one file has no earlier copies to agree with.
    table.types.is_alone = true;
    Ok(table)
}

/// How the versions are written: by the preset, and by the options that overrule it.
fn shape_of(options: &AdoptOptions) -> Result<Scd2Shape> {
    let mut shape = match (options.preset, &options.start_column, &options.end_column) {
        (Some(preset), _, _) => preset.shape(),
        (None, Some(_), Some(_)) => Scd2Shape {
            plain_is_utc: false,
            epoch_is_unknown: false,
            ..Scd2Preset::Sqlmesh.shape()
        },
        (None, _, _) => {
            let presets = Scd2Preset::ALL.map(Scd2Preset::name).join("|");
            let what = "nothing says which columns hold the start and the end of versions";
            return Err(Error::usage(what)
                .hint(format!("--preset {presets}"))
                .hint("--start-column COLUMN --end-column COLUMN"));
        }
    };
    let given = |own: &mut String, given: &Option<String>| {
        if let Some(given) = given {
            own.clone_from(given);
        }
    };
    given(&mut shape.start_column, &options.start_column);
    given(&mut shape.end_column, &options.end_column);
    match options.end.as_deref() {
        None => {}
        Some("exclusive") => shape.end = VersionEnd::Exclusive,
        Some("inclusive") => shape.end = VersionEnd::Inclusive,
        Some(other) => {
            let what = format!("an end is inclusive or exclusive, and not '{other}'");
            return Err(Error::usage(what).hint("--end inclusive"));
        }
    }
    if let Some(open_end) = options.open_end {
        shape.open_from = open_end;
    }
    if options.deleted_column.is_some() {
        shape.deleted_column.clone_from(&options.deleted_column);
    }
    shape.left_out.extend(options.leave_out.iter().cloned());
    Ok(shape)
}

/// Columns that the command line names and that no preset does.
fn named(options: &AdoptOptions) -> Vec<(String, &'static str)> {
    let deleted = options.deleted_column.iter();
    let deleted = deleted.map(|name| (name.clone(), "--deleted-column names the"));
    let left_out = options.leave_out.iter();
    let left_out = left_out.map(|name| (name.clone(), "--leave-out names the"));
    deleted.chain(left_out).collect()
}

/// Another preset whose columns a table has.
fn likely_preset(schema: &Schema, given: Option<Scd2Preset>) -> Option<Scd2Preset> {
    let has = |name: &str| {
        let mut fields = schema.fields().iter();
        fields.any(|field| field.name().eq_ignore_ascii_case(name))
    };
    let fits = |preset: &Scd2Preset| {
        let shape = preset.shape();
        Some(*preset) != given && has(&shape.start_column) && has(&shape.end_column)
    };
    Scd2Preset::ALL.into_iter().find(fits)
}
