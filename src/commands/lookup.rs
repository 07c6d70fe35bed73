//! What a name on the command line stands for, and what exists of it.

use chrono::{DateTime, NaiveDate, Utc};

use super::Workspace;
use super::backfill::{find_job, layout_of};
use super::known_copies::known_states;
use super::snapshot::refused_object;
use crate::did_you_mean::nearest;
use crate::domain::as_of_rule::AsOfRule;
use crate::domain::layout::Layout;
use crate::engine::as_of::{RowSource, TableHistory, TableInventory, last_key};
use crate::engine::intervals::Intervals;
use crate::engine::table::{Partitions, SnapshotTable};
use crate::error::{Error, Result, word};
use crate::model::TableName;
use crate::source::{FormatRule, TypeRules};
use crate::storage::lake::LakeRoot;
use crate::storage::lake::location::Location;
use crate::storage::lake::partitions::Found;

/// The table of a name with the latest states on or before some dates.
///
/// # Errors
/// A usage error if there is no such table; a refusal if it has no state at all, or its intervals
/// are damaged.
pub(crate) fn latest_states(
    workspace: &Workspace<'_>,
    name: &str,
    dates: &[NaiveDate],
) -> Result<TableHistory> {
    if let Some(file) = intervals_file(workspace, name)? {
        return open_intervals(&file)?.history();
    }
    let name = known_table(workspace, name)?;
    let intervals = workspace.intervals(&name)?;
    let mut table = workspace.configured_table(&name)?;
    if let (true, Some(intervals)) = (table.key.is_empty(), &intervals) {
        table.key.clone_from(&intervals.footer.key);
    }
    if table.key.is_empty() {
        table.key = last_key(&table, workspace.clock.today())?;
    }
    if table.key.is_empty() {
        return Err(table.key_is_unknown());
    }
    TableHistory::find_latest(table, intervals, dates)
}

/// The table of a name with the latest states on or before some dates, as they are now or as they
/// were known at a time.
///
/// # Errors
/// As [`latest_states`]; of a time a usage error for a file of intervals, a job or an external
/// table, and a refusal if the table had no copy then.
pub(super) fn states(
    workspace: &Workspace<'_>,
    name: &str,
    dates: &[NaiveDate],
    known_at: Option<DateTime<Utc>>,
) -> Result<TableHistory> {
    let Some(at) = known_at else {
        return latest_states(workspace, name, dates);
    };
    let is_of_table = intervals_file(workspace, name)?.is_none()
        && (is_table(workspace, name)? || !workspace.config.jobs.contains_key(name));
    if !is_of_table {
        let what = format!("--known-at applies to tables, and '{name}' is not one");
        return Err(Error::usage(what)
            .hint(format!("asof show {}", word(name)))
            .hint(format!(
                "asof backfill JOB --from {} --known-at {} --out DIR",
                at.date_naive(),
                at.format("%Y-%m-%dT%H:%M:%SZ")
            )));
    }
    known_states(workspace, &known_table(workspace, name)?, dates, at)
}

/// A table with the copy of a date that a check refused in the place of that date's snapshot, and
/// the latest states on or before some other dates.
///
/// # Errors
/// As [`latest_states`]; a usage error if the date has no refused copy.
pub(super) fn refused_state(
    workspace: &Workspace<'_>,
    name: &str,
    date: NaiveDate,
    others: &[NaiveDate],
) -> Result<TableHistory> {
    let name = known_table(workspace, name)?;
    let (object, footer) = refused_object(workspace, &name, date)?;
    let mut table = workspace.configured_table(&name)?;
    if table.key.is_empty() {
        table.key = footer.key;
    }
    // It may have been refused for a value that is not of the declared type.
    table.types.declared.clear();
    let mut snapshots = Partitions::new();
    for other in others {
        snapshots.extend(table.find_latest(*other)?);
    }
    snapshots.insert(date, vec![object]);
    let intervals = match others {
        [] => None,
        _ => workspace.intervals(&name)?,
    };
    TableHistory::new(
        table,
        AsOfRule::default(),
        snapshots,
        intervals,
        RowSource::Auto,
    )
}

/// A table that the configuration or the lake has, for commands that show the outputs of jobs too.
fn known_table(workspace: &Workspace<'_>, name: &str) -> Result<TableName> {
    workspace.known(name).map_err(|error| {
        let jobs = workspace.config.jobs.keys().map(String::as_str);
        match nearest(name, jobs) {
            Some(job) => error.hint(format!("did you mean the job '{job}'?")),
            None => error,
        }
    })
}

/// A file of intervals that is read on its own, without its lake.
pub(super) struct IntervalsFile {
    /// The table that the footer names, without snapshots.
    pub(super) table: SnapshotTable,
    /// The intervals.
    pub(super) intervals: Intervals,
}

impl IntervalsFile {
    /// The states that the intervals know.
    fn history(self) -> Result<TableHistory> {
        let using = RowSource::Intervals;
        let rule = AsOfRule::default();
        TableHistory::new(
            self.table,
            rule,
            Partitions::new(),
            Some(self.intervals),
            using,
        )
    }
}

/// The place of the file of intervals that a name on the command line is; nothing if it is the name
/// of a table. A path has a `/` or ends in `.parquet`.
///
/// # Errors
/// A usage error for a URL that is not served.
pub(super) fn intervals_file(workspace: &Workspace<'_>, name: &str) -> Result<Option<Location>> {
    let is_path = name.contains('/') || name.ends_with(".parquet");
    if !is_path || is_table(workspace, name)? {
        return Ok(None);
    }
    workspace.here(name).map(Some)
}

/// Whether asof.toml or the lake has a table of this name.
///
/// # Errors
/// A failure to look into the lake.
pub(super) fn is_table(workspace: &Workspace<'_>, name: &str) -> Result<bool> {
    Ok(workspace.config.tables.contains_key(name)
        || match name.parse::<TableName>() {
            Ok(table) if workspace.has_lake() => workspace.lake()?.has(&table)?,
            _ => false,
        })
}

/// Opens a file of intervals.
///
/// # Errors
/// A usage error if there is no such file; a refusal if it is damaged or asof compact did not write
/// it.
pub(super) fn open_intervals(file: &Location) -> Result<IntervalsFile> {
    let intervals = Intervals::open(file)?.ok_or_else(|| {
        Error::usage(format!("there is no file '{file}'"))
            .hint(format!("asof compact TABLE --out {file}, to write it"))
    })?;
    let mut table = table_of_file(file, intervals.footer.key.clone())?;
    table.name = intervals.footer.table.parse()?;
    Ok(IntervalsFile { table, intervals })
}

/// A table without snapshots, named after a file.
fn table_of_file(file: &Location, key: Vec<String>) -> Result<SnapshotTable> {
    let name = file.name();
    let stem = name.strip_suffix(".parquet").unwrap_or(&name);
    let name = stem.parse().or_else(|_| "intervals".parse())?;
    Ok(unconfigured(name, key, file.clone(), LakeRoot::layout()?))
}

/// A table of which asof.toml says nothing, and whose files asof does not change.
pub(super) fn unconfigured(
    name: TableName,
    key: Vec<String>,
    root: Location,
    layout: Layout,
) -> SnapshotTable {
    SnapshotTable {
        name,
        key,
        key_is_given: false,
        root,
        layout,
        own: false,
        types: TypeRules::default(),
        format: FormatRule::default(),
        dated: None,
        dedup: None,
        dedup_is_given: false,
        has_source_of_dates: false,
    }
}

/// What exists of a file of intervals, damaged or not.
///
/// # Errors
/// A usage error if there is no such file.
pub(super) fn inventory_of_file(file: &Location) -> Result<TableInventory> {
    let (table, intervals) = match open_intervals(file) {
        Ok(opened) => (opened.table, Ok(Some(opened.intervals))),
        Err(error) if error.kind() == crate::error::Kind::Refused => {
            (table_of_file(file, Vec::new())?, Err(error))
        }
        Err(error) => return Err(error),
    };
    Ok(TableInventory {
        table,
        found: Found::default(),
        intervals_path: None,
        intervals,
        dropped: Vec::new(),
    })
}

/// The outputs of a job of asof.toml, as if they were copies of a table.
///
/// # Errors
/// A usage error for a job that does not exist, or whose output or layout is wrong; a refusal if it
/// has no output yet.
pub(super) fn outputs_of_job(
    workspace: &Workspace<'_>,
    name: &str,
    dates: &[NaiveDate],
) -> Result<TableHistory> {
    let job = find_job(workspace, name)?;
    let root = workspace.configured(&job.output)?;
    let table = unconfigured(name.parse()?, Vec::new(), root, layout_of(job)?);
    let mut outputs = Partitions::new();
    if table.root.is_folder()? {
        for date in dates {
            outputs.extend(table.find_latest(*date)?);
        }
    }
    if outputs.is_empty() {
        let error = Error::refused(format!("job {name} has no output yet"));
        return Err(dates.iter().fold(error, |error, date| {
            error.hint(format!("asof backfill {name} --from {date} --to {date}"))
        }));
    }
    let rule = AsOfRule::default();
    TableHistory::new(table, rule, outputs, None, RowSource::Snapshots)
}

/// Everything that exists of a table, damaged or not.
///
/// # Errors
/// What concerns the table as a whole: a wrong configuration, a folder that cannot be listed.
pub(crate) fn inventory(workspace: &Workspace<'_>, name: &TableName) -> Result<TableInventory> {
    let intervals_path = workspace
        .has_lake()
        .then(|| workspace.intervals_path(name, None))
        .transpose()?;
    let dropped = workspace.dropped(name)?;
    TableInventory::take(workspace.configured_table(name)?, intervals_path, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::compact::CompactOptions;
    use crate::commands::testing::{TestLake, date};
    use crate::engine::as_of::Origin;

    fn states(lake: &TestLake, day: &str) -> TableHistory {
        latest_states(&lake.workspace(), "item", &[date(day)]).expect("states")
    }

    fn observed(history: &TableHistory, day: &str) -> String {
        let again = |first: NaiveDate| format!("again {first}");
        match history.resolve_latest(date(day), again) {
            Ok(observed) => observed.to_string(),
            Err(error) => format!("{error}; {}", error.hints().join("; ")),
        }
    }

    #[test]
    fn the_latest_state_holds_however_old_and_none_before_the_first() {
        let lake = TestLake::filled();
        let history = states(&lake, "2024-03-01");
        assert_eq!(observed(&history, "2024-03-01"), "2024-01-05");
        let history = states(&lake, "2024-01-04");
        assert_eq!(observed(&history, "2024-01-04"), "2024-01-02");
        let history = states(&lake, "2023-12-31");
        assert_eq!(
            observed(&history, "2023-12-31"),
            "table item: 2023-12-31 is before the first snapshot (2024-01-01); again 2024-01-01"
        );
    }

    #[test]
    fn a_state_is_read_more_than_once_from_a_snapshot_and_from_intervals() {
        let lake = TestLake::filled();
        lake.compact("item");
        let rows = |history: &TableHistory| {
            let as_of = history.latest(date("2024-01-01"), None).expect("opened");
            assert!(as_of.is_sorted_by_key());
            let twice = [(), ()].map(|()| {
                let batches = as_of.read_in_schema_order(None).expect("rows");
                batches.collect::<Result<Vec<_>>>().expect("read")
            });
            let [once, again] = twice;
            assert_eq!(once, again);
            (as_of.origin(), as_of.schema.clone(), once)
        };
        let of_snapshot = rows(&states(&lake, "2024-01-01"));
        lake.forget("item", "2024-01-01");
        let of_intervals = rows(&states(&lake, "2024-01-01"));
        assert_eq!(of_snapshot.0, Origin::Snapshot);
        assert_eq!(of_intervals.0, Origin::Intervals);
        assert_eq!(of_snapshot.1, of_intervals.1);
        assert_eq!(of_snapshot.2, of_intervals.2);
    }

    #[test]
    fn columns_that_are_not_compared_are_named_where_only_intervals_serve() {
        let lake = TestLake::filled();
        let options = CompactOptions {
            ignore: vec!["price".into()],
            ..CompactOptions::default()
        };
        lake.compact_with("item", &options);
        let not_compared = || {
            let history = states(&lake, "2024-01-01");
            assert_eq!(history.not_compared().as_deref(), Some("price"));
            let as_of = history.latest(date("2024-01-01"), None).expect("opened");
            as_of.not_compared()
        };
        assert!(not_compared().is_empty());
        lake.forget("item", "2024-01-01");
        assert_eq!(not_compared(), ["price"]);
    }

    #[test]
    fn an_inventory_reports_damage_and_takes_the_key_from_what_can_be_read() {
        let lake = TestLake::filled();
        lake.compact("item");
        std::fs::write(lake.intervals(), "no Parquet").expect("written");
        std::fs::write(lake.object("2024-01-05"), "no Parquet").expect("written");
        let name: TableName = "item".parse().expect("a name");
        let found = inventory(&lake.workspace(), &name).expect("an inventory");
        assert!(found.intervals.is_err());
        assert_eq!(found.table.key, ["id"]);
        assert_eq!(found.found.partitions.len(), 3);
    }
}
