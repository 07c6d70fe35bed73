//! Compacts external copies that the command line names: files of one date each, under a layout, or
//! rows of many dates, which a column tells apart.

use super::existing::Existing;
use super::settings::CompactOptions;
use super::{CompactReport, Workspace, run};
use crate::commands::forbidden_places::Destination;
use crate::config::{TableConfig, zone};
use crate::domain::dedup::Dedup;
use crate::domain::layout::Layout;
use crate::engine::dated::{DateColumn, Dated, NamedBy};
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::source::FormatRule;
use crate::storage::lake::location::Location;

/// Dated copies that another tool wrote, given on the command line.
pub(super) fn external(
    workspace: &Workspace<'_>,
    tables: &[String],
    root: &str,
    options: &CompactOptions,
) -> Result<CompactReport> {
    if options.layout.is_none() && options.date_column.is_none() {
        return Err(no_dates());
    }
    let Some(out) = &options.out else {
        return Err(Error::usage(
            "--snapshots needs a place for the intervals: asof never writes among external copies",
        )
        .hint("--out FILE.parquet"));
    };
    let layout = options.layout.as_deref().map(Layout::parse).transpose()?;
    let name = name_of(workspace, tables, out)?;
    let path = workspace.intervals_path(&name, Some(out))?;
    let root = workspace.here(root)?;
    refuse_to_write_into(&root, layout.as_ref(), &path, out)?;
    refuse_place(workspace, &name, &path)?;
    let existing = Existing::at(&path, &name, options)?;
    let config = workspace.table_config(&name);
    let key = key_of(options, &config, &existing)?;
    let dedup = dedup_of(options, &config, &existing)?;
    let declared = options.source_format.or(config.source_format);
    let format = FormatRule {
        declared,
        option: "--source-format parquet|csv|tsv|ndjson|arrow|avro".to_owned(),
    };
    let types = workspace.table_types(&name)?;
    let table = |layout| SnapshotTable {
        name,
        key,
        key_is_given: true,
        root,
        layout,
        own: false,
        types,
        format,
        dated: None,
        dedup,
        dedup_is_given: true,
        has_source_of_dates: false,
    };
    let table = match (layout, &options.date_column) {
        (layout, Some(column)) => {
            let zone = options
                .timezone
                .as_deref()
                .map_or_else(|| workspace.config.zone(), zone)?;
            let named_by = NamedBy::Options("--");
            let column = DateColumn {
                name: column.clone(),
                format: options.date_format.clone(),
                zone,
                named_by,
            };
            workspace.dated_table(table(Dated::split_layout()?), layout, column)
        }
        (Some(layout), None) => table(layout),
        (None, None) => return Err(no_dates()),
    };
    run(workspace, table, &path, existing, options)
}

/// The name of the table: the one that is given, or that of the object of intervals.
fn name_of(workspace: &Workspace<'_>, tables: &[String], out: &str) -> Result<TableName> {
    match tables {
        [] => {
            let name = workspace.here(out)?.name();
            name.rsplit_once('.')
                .map_or(name.as_str(), |(stem, _)| stem)
                .parse()
        }
        [name] => name.parse(),
        _ => Err(Error::usage("--snapshots requires exactly one table name")),
    }
}

/// The key columns: as given, else as configured, else those of the existing intervals.
fn key_of(
    options: &CompactOptions,
    config: &TableConfig,
    existing: &Existing,
) -> Result<Vec<String>> {
    let key = [&options.key, &config.key]
        .into_iter()
        .find(|key| !key.is_empty())
        .cloned();
    let key = key.or_else(|| {
        existing
            .intervals
            .as_ref()
            .map(|existing| existing.footer.key.clone())
    });
    key.ok_or_else(|| {
        Error::usage("--snapshots needs the key columns").hint("--key COLUMN[,COLUMN]")
    })
}

/// The rule for duplicate keys: as given, else as configured, else that of the existing intervals.
fn dedup_of(
    options: &CompactOptions,
    config: &TableConfig,
    existing: &Existing,
) -> Result<Option<Dedup>> {
    let recorded = || {
        existing
            .footer
            .as_ref()
            .and_then(|footer| footer.dedup.as_ref())
            .map(|rule| rule.parse())
            .transpose()
    };
    options
        .dedup
        .clone()
        .or(config.dedup.clone())
        .map_or_else(recorded, |rule| Ok(Some(rule)))
}

/// Refuses a place that the command line names for intervals, if they would be taken for something
/// else there. In the lake they may be where the intervals of their table are.
pub(super) fn refuse_place(
    workspace: &Workspace<'_>,
    name: &TableName,
    path: &Location,
) -> Result<()> {
    let destination = Destination {
        place: path,
        object: path,
        what: "the file",
        hint: "--out FILE.parquet, in another folder",
    };
    let folder = |file: &Location| file.parent().map(|folder| folder.resolved());
    let is_own = workspace.has_lake() && folder(&workspace.lake()?.intervals(name)) == folder(path);
    if !is_own {
        destination.check_tables(workspace)?;
    }
    destination.check_configured_events(workspace)
}

/// The error for copies of which nothing tells the dates.
fn no_dates() -> Error {
    Error::usage("--snapshots needs the layout of the copies, or the column that holds their dates")
        .hint("--layout 'snapshot_date=%Y-%m-%d'")
        .hint("--date-column snapshot_date")
}

/// Refuses a place for intervals that would be taken for one of the files that are read, or that is
/// a folder of theirs.
fn refuse_to_write_into(
    root: &Location,
    layout: Option<&Layout>,
    path: &Location,
    out: &str,
) -> Result<()> {
    let is_among = match layout {
        Some(layout) => path
            .resolved()
            .below(&root.resolved())
            .is_some_and(|below| {
                let parts: Vec<&str> = below.split('/').collect();
                let is_copy = parts.len() >= layout.depth()
                    && layout.date(&parts[..layout.depth()].join("/")).is_some();
                is_copy || !out.ends_with(".parquet")
            }),
        None => path.is_read_by(root),
    };
    if is_among {
        return Err(Error::usage(format!(
            "--out '{out}' is among the copies in '{root}', into which asof never writes"
        ))
        .hint("--out FILE.parquet, in another folder"));
    }
    Ok(())
}
