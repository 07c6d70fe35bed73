//! Compacts external copies that the command line names: files of one date each, under a layout, or rows of many dates,
//! which a column tells apart.

use super::settings::CompactOptions;
use super::{CompactReport, Existing, Workspace, run};
use crate::config::zone;
use crate::domain::layout::Layout;
use crate::engine::dated::{DateColumn, split};
use crate::engine::table::Table;
use crate::error::{Error, Result};
use crate::model::{DateRange, TableName};
use crate::source::{Format, FormatRule, LayoutColumns, TypeRules, files_of};
use crate::storage::location::Location;
use crate::storage::partitions;

/// Dated copies that another tool wrote, given on the command line.
pub(super) fn external(workspace: &Workspace<'_>, tables: &[String], root: &str, options: &CompactOptions) -> Result<CompactReport> {
    if options.layout.is_none() && options.date_column.is_none() {
        return Err(Error::usage("--snapshots needs the layout of the copies, or the column that holds their dates")
            .hint("--layout 'snapshot_date=%Y-%m-%d'")
            .hint("--date-column snapshot_date"));
    }
    let Some(out) = &options.out else {
        return Err(
            Error::usage("--snapshots needs a place for the intervals: asof never writes among external copies").hint("--out FILE.parquet")
        );
    };
    let layout = options.layout.as_deref().map(Layout::parse).transpose()?;
    let name: TableName = match tables {
        [] => {
            let name = workspace.here(out)?.name();
            name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem).parse()?
        }
        [name] => name.parse()?,
        _ => return Err(Error::usage("--snapshots goes with the name of one table")),
    };
    let path = workspace.intervals_path(&name, Some(out))?;
    let root = workspace.here(root)?;
    refuse_to_write_into(&root, layout.as_ref(), &path, out)?;
    let existing = Existing::at(&path, &name, options)?;
    let config = workspace.table_config(&name);
    let key = [&options.key, &config.key].into_iter().find(|key| !key.is_empty()).cloned();
    let key = key.or_else(|| existing.intervals.as_ref().map(|existing| existing.footer.key.clone()));
    let key = key.ok_or_else(|| Error::usage("--snapshots needs the key columns").hint("--key COLUMN[,COLUMN]"))?;
    let declared = options.source_format.or(config.source_format);
    let format = FormatRule { declared, option: "--source-format parquet|csv|tsv|ndjson|arrow".to_owned() };
    let types = workspace.table_types(&name)?;
    match (layout, &options.date_column) {
        (Some(layout), None) => {
            let table = Table { name, key, key_is_given: true, root, layout, own: false, types, format };
            run(workspace, table, &path, existing, options)
        }
        (layout, column) => {
            let zone = options.timezone.as_deref().map_or_else(|| workspace.config.zone(), zone)?;
            let name_of_column = column.clone().unwrap_or_default();
            let column = DateColumn { name: name_of_column, format: options.date_format.clone(), zone };
            let input = Input { root, layout, types, format, column };
            dated(workspace, name, key, input, &path, existing, options)
        }
    }
}

/// Rows of many dates, told apart by a column.
struct Input {
    root: Location,
    /// The layout of their files, if only those of the range are to be read.
    layout: Option<Layout>,
    types: TypeRules,
    format: FormatRule,
    column: DateColumn,
}

/// Compacts rows of many dates: they are split by date first, in one pass.
fn dated(
    workspace: &Workspace<'_>,
    name: TableName,
    key: Vec<String>,
    input: Input,
    path: &Location,
    existing: Existing,
    options: &CompactOptions,
) -> Result<CompactReport> {
    let Input { root, layout, mut types, format, column } = input;
    let range = options.range()?;
    // Dates that only the intervals might know are looked for in the whole input, before they are dropped.
    let is_within = |range: &DateRange| {
        existing.footer.as_ref().is_none_or(|footer| footer.observed.iter().all(|observed| range.contains(observed.date)))
    };
    let range = range.filter(is_within);
    let files = match &layout {
        None => files_of(&root)?,
        Some(layout) => {
            // The date of a folder is no attribute of the rows, unless it is the very date column.
            let names = layout.date_names().into_iter().map(|(name, _)| name).filter(|name| *name != column.name);
            types.layout = LayoutColumns::of_events(layout).without(names.collect());
            let is_closed = options.from.is_some() && options.to.is_some();
            // A folder of a month has the dates of all of it.
            let around = range.filter(|_| is_closed).map(|range| layout.around(range));
            let found = partitions::find(&root, layout, around)?;
            found.partitions.into_values().flatten().collect()
        }
    };
    let place = format!("table {name}, '{}'", workspace.shown(&root));
    if files.is_empty() {
        return Err(Error::refused(format!("{place}: no file has a date of the range")).hint("--layout LAYOUT, of the files' paths"));
    }
    let file_format = format.of(&files)?;
    let split = split(&files, file_format, &types, &column, range, workspace.memory.share(16).min(64 << 20), &place)?;
    let shown = workspace.shown(&root);
    types.declared.remove(&column.name);
    types.layout = LayoutColumns::default();
    let format = FormatRule { declared: Some(Format::Arrow), ..format };
    let table = Table { name, key, key_is_given: true, root: split.root(), layout: split.layout()?, own: false, types, format };
    run(workspace, table, path, existing, options).map_err(|error| split.reword(error, &shown))
}

/// Refuses a place for intervals that would be taken for one of the files that are read, or that is a folder of theirs.
fn refuse_to_write_into(root: &Location, layout: Option<&Layout>, path: &Location, out: &str) -> Result<()> {
    let is_among = match layout {
        Some(layout) => path.below(root).is_some_and(|below| {
            let parts: Vec<&str> = below.split('/').collect();
            let is_copy = parts.len() >= layout.depth() && layout.date(&parts[..layout.depth()].join("/")).is_some();
            is_copy || !out.ends_with(".parquet")
        }),
        // A folder stands for all that is below it, and a pattern for what it matches.
        None => {
            let is_matched = || glob::Pattern::new(&root.to_string()).is_ok_and(|pattern| pattern.matches(&path.to_string()));
            path == root || path.below(root).is_some() || is_matched()
        }
    };
    if is_among {
        return Err(Error::usage(format!("--out '{out}' lies among the copies in '{root}', into which asof never writes"))
            .hint("--out FILE.parquet, in another folder"));
    }
    Ok(())
}
