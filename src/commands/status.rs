//! `asof status`: what exists of each table, what is missing, and what no longer agrees.
//!
//! Read: one listing of each table's snapshots and superseded objects, and the footers of the
//! intervals and of asof's own snapshots, once each. No rows. Memory: a few words a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::Serialize;

use super::Workspace;
use super::lookup::inventory;
use super::pruned::restoring;
use super::shown_columns::ShownColumn;
use super::shown_columns::shown_columns;
use super::snapshot::{RefusedCopy, refused_copies};
use crate::domain::digest::Fingerprint;
use crate::domain::gaps::gaps;
use crate::engine::as_of::{TableInventory, footer_of, schema_on, sentence};
use crate::engine::intervals::Intervals;
use crate::error::{Result, word};
use crate::model::{DateRange, TableName};
use crate::parallel::{self, object_threads};
use crate::source::Format;
use crate::storage::lake::LakeRoot;
use crate::storage::lake::aside::AsideCopy;
use crate::storage::lake::partitions::find_if_there;
use crate::storage::parquet::footer::{ObservedWire, SnapshotFooter};

/// What exists.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// One a table.
    pub tables: Vec<TableStatus>,
}

/// What exists of one table.
#[derive(Clone, Debug, Serialize)]
pub struct TableStatus {
    /// The table.
    pub table: TableName,
    /// Its key; empty if nothing that can be read names one.
    pub key: Vec<String>,
    /// Whether its snapshots are asof's own, or another tool's.
    pub own: bool,
    /// The root of its snapshots.
    pub root: String,
    /// Their layout.
    pub layout: String,
    /// The dates that have a snapshot, in the lake or only in the intervals; ascending.
    pub observed: Vec<NaiveDate>,
    /// The first of them.
    pub first: Option<NaiveDate>,
    /// The last of them.
    pub last: Option<NaiveDate>,
    /// The dates between them that have none, in runs.
    pub gaps: Vec<DateRange>,
    /// How many those are.
    pub missing_days: u64,
    /// How many snapshots the lake has.
    pub snapshots: u64,
    /// Their size.
    pub bytes: u64,
    /// Their rows; not known of an external table, nor if a footer cannot be read.
    pub rows: Option<u64>,
    /// The columns of the last snapshot and their types; of another tool's, those that the
    /// intervals know.
    pub columns: Vec<ShownColumn>,
    /// The last snapshot of the lake.
    pub last_snapshot: Option<LastSnapshot>,
    /// How many snapshots were replaced and are kept aside.
    pub superseded: u64,
    /// The snapshots that somebody dropped, until they are restored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<DroppedCopy>,
    /// The copies that a check refused, until they are published or discarded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<WaitingCopy>,
    /// The intervals.
    pub intervals: Option<IntervalsStatus>,
    /// The dates whose snapshots the intervals do not know.
    pub not_compacted: Vec<NaiveDate>,
    /// The dates whose snapshots were rewritten since they were compacted; not known of an external
    /// lake, which has no footers.
    pub stale: Option<Vec<NaiveDate>>,
    /// The dates whose snapshots were dropped since they were compacted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped_since: Vec<NaiveDate>,
    /// The dates that the intervals know in other types than those that are declared now.
    pub retyped: Vec<NaiveDate>,
    /// The dates that only the intervals know.
    pub pruned: Vec<NaiveDate>,
    /// Those of them whose snapshots `asof prune` deleted, since the intervals give them back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<NaiveDate>,
    /// The command that writes snapshots of those dates again, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_with: Option<String>,
    /// What cannot be read.
    pub unreadable: Vec<UnreadableObject>,
}

impl TableStatus {
    /// Whether every snapshot can be read, the intervals, if there are any, are of all of them as
    /// they are now, and no date has only a refused copy.
    pub fn is_up_to_date(&self) -> bool {
        let is_compacted = self.intervals.is_none() || self.not_compacted.is_empty();
        let is_stale = self.stale.as_ref().is_some_and(|dates| !dates.is_empty());
        let agrees = !is_stale && self.retyped.is_empty() && self.dropped_since.is_empty();
        let is_waiting = self.refused.iter().any(|copy| !copy.has_snapshot);
        self.unreadable.is_empty() && is_compacted && agrees && !is_waiting
    }
}

/// A copy that a check refused.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingCopy {
    /// The copy.
    #[serde(flatten)]
    pub copy: RefusedCopy,
    /// Whether its date has a snapshot all the same: a later run read the source again.
    pub has_snapshot: bool,
    /// The command that compares it with the snapshot before it, or shows it if there is none.
    pub look_with: String,
    /// The command that publishes it, once what was refused is settled; it replaces the snapshot of
    /// its date, if there is one.
    pub publish_with: String,
    /// The command that removes it.
    pub discard_with: String,
}

/// A snapshot that was dropped.
#[derive(Clone, Debug, Serialize)]
pub struct DroppedCopy {
    /// Its date.
    pub snapshot_date: NaiveDate,
    /// When it was dropped.
    pub dropped_at: DateTime<Utc>,
    /// The object.
    pub path: String,
    /// The command that brings it back.
    pub restore_with: String,
}

/// The last snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct LastSnapshot {
    /// Its date.
    pub snapshot_date: NaiveDate,
    /// Its rows.
    pub rows: u64,
    /// How many more rows its source had, which `dedup` dropped; absent without such a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_rows: Option<u64>,
    /// Its content.
    pub fingerprint: Fingerprint,
}

/// A table's intervals.
#[derive(Clone, Debug, Serialize)]
pub struct IntervalsStatus {
    /// The object.
    pub path: String,
    /// How many snapshots they stand for.
    pub snapshots: u64,
    /// The first of those.
    pub from: Option<NaiveDate>,
    /// The last of them.
    pub to: Option<NaiveDate>,
    /// How many intervals there are.
    pub intervals: u64,
    /// Their size.
    pub bytes: u64,
    /// `carry`, `error` or `split`.
    pub gaps: &'static str,
    /// The condition that selects the rows as of a date.
    pub condition: String,
    /// The condition that rows met; the others count as absent.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub selected_rows: Option<String>,
    /// The selected columns, if not all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
}

/// An object that cannot be read.
#[derive(Clone, Debug, Serialize)]
pub struct UnreadableObject {
    /// Its date; none for the intervals.
    pub date: Option<NaiveDate>,
    /// Why, in words.
    pub what: String,
}

/// Looks at the tables.
///
/// # Errors
/// A usage error for a table that is unknown, and what concerns a table as a whole; an object that
/// cannot be read stands in the report.
pub fn status(workspace: &Workspace<'_>, tables: &[String]) -> Result<StatusReport> {
    let names = workspace.tables(tables)?;
    let tables = names
        .iter()
        .map(|name| Ok(TableLook::at(workspace, name)?.status))
        .collect::<Result<_>>()?;
    Ok(StatusReport { tables })
}

/// A table as it stands, and what was read to tell.
pub(super) struct TableLook {
    /// Everything that exists of it.
    pub(super) inventory: TableInventory,
    /// What each snapshot of the lake says of itself, of those that can be read.
    pub(super) footers: BTreeMap<NaiveDate, SnapshotFooter>,
    /// The dates whose snapshots were replaced, with how often.
    pub(super) superseded: BTreeMap<NaiveDate, u64>,
    /// How it stands.
    pub(super) status: TableStatus,
}

impl TableLook {
    /// Looks at a table.
    ///
    /// # Errors
    /// What concerns the table as a whole; an object that cannot be read stands in the status.
    pub(super) fn at(workspace: &Workspace<'_>, name: &TableName) -> Result<Self> {
        let inventory = inventory(workspace, name)?;
        let mut unreadable = Vec::new();
        let footers = footers(&inventory, &mut unreadable);
        let superseded = superseded(workspace, &inventory)?;
        let status = table(workspace, &inventory, &footers, unreadable)?;
        Ok(TableLook {
            status: TableStatus {
                superseded: superseded.values().sum(),
                ..status
            },
            inventory,
            footers,
            superseded,
        })
    }
}

fn table(
    workspace: &Workspace<'_>,
    inventory: &TableInventory,
    footers: &BTreeMap<NaiveDate, SnapshotFooter>,
    mut unreadable: Vec<UnreadableObject>,
) -> Result<TableStatus> {
    let TableInventory { table, found, .. } = inventory;
    let intervals = inventory.intervals.as_ref().ok().and_then(Option::as_ref);
    if let Err(error) = &inventory.intervals {
        unreadable.push(UnreadableObject {
            date: None,
            what: error.to_string(),
        });
    }
    let dates = Dates::of(inventory, footers, intervals);
    if let (Some(_), Some(what)) = (intervals, inventory.nothing_found()) {
        unreadable.push(UnreadableObject { date: None, what });
    }
    let restore_with = intervals
        .and_then(|intervals| restoring(workspace, &inventory.table, intervals, &dates.pruned));
    let bytes = found.partitions.values().flatten();
    let is_whole = table.own && footers.len() == found.partitions.len();
    Ok(TableStatus {
        table: table.name.clone(),
        key: table.key.clone(),
        own: table.own,
        root: workspace.shown(&table.root),
        layout: table.layout.to_string(),
        first: dates.observed.first().copied(),
        last: dates.observed.last().copied(),
        gaps: missing(&dates.observed)?,
        missing_days: gaps(&dates.observed).map(|gap| u64::from(gap.days())).sum(),
        observed: dates.observed,
        snapshots: found.partitions.len() as u64,
        bytes: bytes.map(|object| object.size).sum(),
        rows: is_whole.then(|| footers.values().map(|footer| footer.rows).sum()),
        columns: last_columns(inventory),
        last_snapshot: last_snapshot(inventory, footers),
        superseded: 0,
        dropped: dropped(workspace, inventory),
        dropped_since: inventory.dropped_since(),
        refused: match table.own {
            true => refused(workspace, inventory)?,
            false => Vec::new(),
        },
        intervals: intervals.map(|intervals| intervals_status(workspace, intervals)),
        not_compacted: dates.not_compacted,
        retyped: dates.retyped,
        stale: table.own.then_some(dates.stale),
        derived: derived(&dates.pruned, intervals),
        pruned: dates.pruned,
        restore_with,
        unreadable,
    })
}

/// The dates of a table, and those that its snapshots and intervals disagree about.
struct Dates {
    /// Those of snapshots and of intervals, ascending.
    observed: Vec<NaiveDate>,
    /// Those that the intervals do not have.
    not_compacted: Vec<NaiveDate>,
    /// Those whose columns have other types now than the intervals have.
    retyped: Vec<NaiveDate>,
    /// Those whose snapshot is another than the one that the intervals are from.
    stale: Vec<NaiveDate>,
    /// Those that only the intervals have.
    pruned: Vec<NaiveDate>,
}

impl Dates {
    fn of(
        inventory: &TableInventory,
        footers: &BTreeMap<NaiveDate, SnapshotFooter>,
        intervals: Option<&Intervals>,
    ) -> Self {
        let TableInventory { table, found, .. } = inventory;
        let seen = intervals.map_or(&[][..], |intervals| &intervals.footer.observed);
        let dropped = inventory.dropped_since();
        let known: BTreeMap<NaiveDate, &ObservedWire> = seen
            .iter()
            .filter(|seen| !dropped.contains(&seen.date))
            .map(|seen| (seen.date, seen))
            .collect();
        let copies = found.partitions.keys();
        let all: BTreeSet<NaiveDate> = copies.clone().chain(known.keys()).copied().collect();
        let has_other_types = |date: &NaiveDate| {
            let schema = intervals.and_then(|intervals| schema_on(intervals, *date).ok());
            schema.is_some_and(|schema| table.as_declared(&schema) != schema)
        };
        let is_stale = |(date, footer): &(&NaiveDate, &SnapshotFooter)| {
            known
                .get(date)
                .is_some_and(|known| !known.is(footer.fingerprint))
        };
        Dates {
            observed: all.into_iter().collect(),
            not_compacted: copies
                .filter(|date| !known.contains_key(date))
                .copied()
                .collect(),
            retyped: known.keys().copied().filter(has_other_types).collect(),
            stale: footers
                .iter()
                .filter(is_stale)
                .map(|(date, _)| *date)
                .collect(),
            pruned: known
                .keys()
                .filter(|date| !found.partitions.contains_key(date))
                .copied()
                .collect(),
        }
    }
}

/// The dates whose snapshots were deleted because the intervals were proven to give them back.
fn derived(pruned: &[NaiveDate], intervals: Option<&Intervals>) -> Vec<NaiveDate> {
    let is_derived = |date: &&NaiveDate| {
        let observed = intervals.and_then(|intervals| intervals.snapshot(**date));
        observed.is_some_and(ObservedWire::is_proven)
    };
    pruned.iter().filter(is_derived).copied().collect()
}

/// What the last snapshot says of itself; nothing if it cannot be read.
fn last_snapshot(
    inventory: &TableInventory,
    footers: &BTreeMap<NaiveDate, SnapshotFooter>,
) -> Option<LastSnapshot> {
    let last = inventory.found.partitions.keys().next_back()?;
    let footer = footers.get(last)?;
    Some(LastSnapshot {
        snapshot_date: *last,
        rows: footer.rows,
        dropped_rows: footer.dropped_rows,
        fingerprint: footer.fingerprint,
    })
}

/// What each snapshot of the lake says of itself.
fn footers(
    inventory: &TableInventory,
    unreadable: &mut Vec<UnreadableObject>,
) -> BTreeMap<NaiveDate, SnapshotFooter> {
    let mut footers = BTreeMap::new();
    let own = inventory.table.own.then_some(&inventory.found.partitions);
    let dates: Vec<_> = own.into_iter().flatten().collect();
    let read = parallel::map(
        object_threads(inventory.table.root.store().is_some()),
        &dates,
        |(_, objects)| footer_of(&objects[0]),
    );
    for ((date, objects), footer) in dates.into_iter().zip(read) {
        let what = match footer {
            _ if objects.len() > 1 => format!(
                "expected one snapshot file, found {}: {}",
                objects.len(),
                objects[1].location
            ),
            Ok(Some(footer)) => {
                footers.insert(*date, footer);
                continue;
            }
            Ok(None) => format!("'{}' was not written by asof snapshot", objects[0].location),
            Err(error) => sentence(&error, &inventory.table.name),
        };
        unreadable.push(UnreadableObject {
            date: Some(*date),
            what,
        });
    }
    footers
}

/// The columns of the last snapshot, or, where only reading rows would tell them, those that the
/// intervals know.
fn last_columns(inventory: &TableInventory) -> Vec<ShownColumn> {
    let TableInventory {
        table,
        found,
        intervals,
        ..
    } = inventory;
    let last = found.partitions.last_key_value().filter(|(_, objects)| {
        table.own || table.format_of(objects).is_ok_and(Format::carries_types)
    });
    let opened = last.and_then(|(date, objects)| table.open(*date, objects, None).ok());
    let schema = opened.map(|snapshot| snapshot.schema).or_else(|| {
        let intervals = intervals.as_ref().ok()?.as_ref()?;
        let last = intervals.footer.observed.len().checked_sub(1)?;
        intervals
            .schema_of(last)
            .ok()
            .map(|schema| table.as_declared(&schema))
    });
    schema.as_ref().map(shown_columns).unwrap_or_default()
}

fn missing(observed: &[NaiveDate]) -> Result<Vec<DateRange>> {
    gaps(observed)
        .map(|gap| DateRange::new(gap.before + Days::new(1), gap.after - Days::new(1)))
        .collect()
}

/// The dates whose objects were replaced and are kept aside, with how many.
fn superseded(
    workspace: &Workspace<'_>,
    inventory: &TableInventory,
) -> Result<BTreeMap<NaiveDate, u64>> {
    if !inventory.table.own {
        return Ok(BTreeMap::new());
    }
    let root = workspace.lake()?.superseded(&inventory.table.name);
    let found = find_if_there(&root, &LakeRoot::layout()?, None)?.partitions;
    let counted = |(date, objects): (NaiveDate, Vec<_>)| (date, objects.len() as u64);
    Ok(found.into_iter().map(counted).collect())
}

/// The copies that a check refused.
fn refused(workspace: &Workspace<'_>, inventory: &TableInventory) -> Result<Vec<WaitingCopy>> {
    let TableInventory { table, found, .. } = inventory;
    let name = word(table.name.as_str());
    let waiting = |copy: RefusedCopy| {
        let date = copy.snapshot_date;
        let has_snapshot = found.partitions.contains_key(&date);
        let has_previous = found.partitions.range(..date).next().is_some();
        WaitingCopy {
            has_snapshot,
            look_with: match has_previous {
                true => format!("asof diff {name} --refused {date}"),
                false => format!("asof show {name} {date} --refused"),
            },
            publish_with: match has_snapshot {
                true => format!("asof snapshot {name} --publish {date} --if-exists replace"),
                false => format!("asof snapshot {name} --publish {date}"),
            },
            discard_with: format!("asof snapshot {name} --discard {date}"),
            copy,
        }
    };
    let copies = refused_copies(workspace, &table.name)?;
    Ok(copies.into_iter().map(waiting).collect())
}

/// The snapshots that somebody dropped.
fn dropped(workspace: &Workspace<'_>, inventory: &TableInventory) -> Vec<DroppedCopy> {
    let table = word(inventory.table.name.as_str());
    let dropped = |copy: &AsideCopy| DroppedCopy {
        snapshot_date: copy.date,
        dropped_at: copy.when,
        path: workspace.shown(&copy.object.location),
        restore_with: format!("asof restore {table} {}", copy.date),
    };
    inventory.dropped.iter().map(dropped).collect()
}

fn intervals_status(workspace: &Workspace<'_>, intervals: &Intervals) -> IntervalsStatus {
    let observed = &intervals.footer.observed;
    IntervalsStatus {
        path: workspace.shown(intervals.location()),
        snapshots: observed.len() as u64,
        from: observed.first().map(|observed| observed.date),
        to: observed.last().map(|observed| observed.date),
        intervals: intervals.rows(),
        bytes: intervals.bytes(),
        gaps: intervals.footer.gaps.read().name(),
        condition: intervals.convention.condition("D"),
        selected_rows: intervals.footer.condition.clone(),
        select: intervals.footer.select.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::{TestLake, date, table_status};
    use crate::config::TableConfig;

    #[test]
    fn snapshots_are_counted_and_gaps_named() {
        let status = table_status(&TestLake::filled());
        assert_eq!(
            status.observed,
            [date("2024-01-01"), date("2024-01-02"), date("2024-01-05")]
        );
        assert_eq!(
            (status.first, status.last),
            (Some(date("2024-01-01")), Some(date("2024-01-05")))
        );
        assert_eq!(
            status.gaps,
            [DateRange::new(date("2024-01-03"), date("2024-01-04")).expect("a range")]
        );
        assert_eq!(
            (status.missing_days, status.snapshots, status.rows),
            (2, 3, Some(9))
        );
        assert_eq!((status.key, status.own), (vec!["id".to_owned()], true));
        assert_eq!(status.root, "lake/item/snapshots");
        assert!(status.bytes > 0 && status.intervals.is_none());
        assert_eq!(status.not_compacted.len(), 3);
        let last = status.last_snapshot.expect("a last one");
        assert_eq!((last.snapshot_date, last.rows), (date("2024-01-05"), 4));
    }

    #[test]
    fn what_the_intervals_know_is_held_against_the_lake() {
        let lake = TestLake::filled();
        lake.compact("item");
        lake.take("2024-01-02", "id,price\n1,10\n2,22\n");
        lake.take("2024-01-06", "id,price\n1,10\n");
        lake.forget("item", "2024-01-01");
        let status = table_status(&lake);
        assert_eq!(status.stale, Some(vec![date("2024-01-02")]));
        assert_eq!(status.not_compacted, [date("2024-01-06")]);
        assert_eq!(status.pruned, [date("2024-01-01")]);
        assert_eq!(
            (status.superseded, status.snapshots, status.observed.len()),
            (1, 3, 4)
        );
        let intervals = status.intervals.expect("intervals");
        assert_eq!(
            (intervals.snapshots, intervals.to, intervals.gaps),
            (3, Some(date("2024-01-05")), "carry")
        );
        assert_eq!(intervals.condition, "active_start <= D AND active_end >= D");
    }

    #[test]
    fn an_object_that_cannot_be_read_is_named_and_the_others_still_count() {
        let lake = TestLake::filled();
        lake.compact("item");
        std::fs::write(lake.object("2024-01-05"), "PAR1").expect("cut");
        std::fs::write(lake.intervals(), "PAR1").expect("cut");
        let status = table_status(&lake);
        let dates: Vec<Option<NaiveDate>> = status
            .unreadable
            .iter()
            .map(|unreadable| unreadable.date)
            .collect();
        assert_eq!(dates, [Some(date("2024-01-05")), None]);
        assert_eq!(
            (status.snapshots, status.rows, status.key),
            (3, None, vec!["id".to_owned()])
        );
        assert!(status.last_snapshot.is_none());
    }

    #[test]
    fn an_external_table_has_no_footers_to_tell_rows_by() {
        let mut lake = TestLake::new();
        for day in ["2024-01-01", "2024-01-02"] {
            std::fs::create_dir_all(lake.path().join("raw")).expect("a folder");
            std::fs::write(lake.path().join(format!("raw/{day}.csv")), "id,n\n1,2\n")
                .expect("written");
        }
        let config = TableConfig {
            key: vec!["id".into()],
            snapshots: Some("raw".into()),
            layout: Some("%Y-%m-%d.csv".into()),
            ..TableConfig::default()
        };
        lake.config.tables.insert("item".into(), config);
        let status = table_status(&lake);
        assert_eq!(
            (status.own, status.snapshots, status.rows, status.stale),
            (false, 2, None, None)
        );
        assert_eq!(status.layout, "%Y-%m-%d.csv");
    }
}
