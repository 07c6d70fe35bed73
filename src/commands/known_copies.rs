//! The copies of a table that stood at a time, wherever they are now: among the snapshots, put
//! aside, or only in the intervals. [`crate::domain::known_at`] has the rules.
//!
//! Read: a listing each of the snapshots, the copies that were put aside and the records of stays;
//! the footers of the copies of the range, in parallel. No rows.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::Workspace;
use crate::domain::as_of_rule::AsOfRule;
use crate::domain::digest::Fingerprint;
use crate::domain::known_at::{CopiesOfDate, CopyTimes, StayEvent, StayRecord, WhatStood};
use crate::engine::as_of::{TableHistory, footer_of};
use crate::engine::intervals::Intervals;
use crate::engine::table::{Partitions, SnapshotTable};
use crate::error::{Error, Result, word};
use crate::model::{DateRange, TableName};
use crate::parallel;
use crate::storage::lake::aside::aside_below;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::stays::stays_below;
use crate::storage::parquet::footer::{ObservedWire, SnapshotFooter};

/// How many days before a date its latest copy is looked for first.
const NEAR: u64 = 31;

/// The copies of one date, and what is known of when they stood.
#[derive(Default)]
pub(super) struct DatedCopies {
    pub(super) times: CopiesOfDate,
    /// The object of each copy; nothing for one that only the intervals know.
    pub(super) objects: Vec<Option<Object>>,
    /// When a copy of the date was dropped last.
    dropped: Option<DateTime<Utc>>,
    /// Why nothing tells when a copy was published, of those that cannot be read.
    damage: BTreeMap<usize, String>,
    /// The key that the last copy names.
    key: Vec<String>,
}

impl DatedCopies {
    /// The stay of one of the copies, which ends, or goes on in another place.
    pub(super) fn stay_of(
        &self,
        object: &Location,
        date: NaiveDate,
        event: StayEvent,
        at: DateTime<Utc>,
    ) -> Option<StayRecord> {
        let mut objects = self.objects.iter();
        let is_it = |known: &Option<Object>| {
            known
                .as_ref()
                .is_some_and(|known| known.location == *object)
        };
        let copy = objects.position(is_it)?;
        let times = self.times.copies[copy];
        Some(StayRecord {
            snapshot_date: date,
            fingerprint: times.fingerprint,
            from: self.times.stands_since(copy),
            until: times.put_aside,
            event,
            at,
        })
    }

    fn add(
        &mut self,
        object: Object,
        put_aside: Option<(DateTime<Utc>, Fingerprint)>,
        footer: Result<Option<SnapshotFooter>>,
    ) -> Result<()> {
        let footer = match footer {
            Ok(footer) => footer,
            Err(error) if error.is_damage() => {
                self.damage.insert(self.objects.len(), error.to_string());
                None
            }
            Err(error) => return Err(error),
        };
        let named = put_aside.map(|(_, fingerprint)| fingerprint);
        let told = footer.as_ref().map(|footer| footer.fingerprint);
        self.times.copies.push(CopyTimes {
            fingerprint: named.or(told).unwrap_or(Fingerprint(0)),
            published: footer.as_ref().and_then(SnapshotFooter::published_at),
            put_aside: put_aside.map(|(when, _)| when),
        });
        self.objects.push(Some(object));
        if let Some(footer) = footer {
            self.key = footer.key;
        }
        Ok(())
    }

    /// Adds the copy that intervals were made from, unless it is known: somebody removed it, or an
    /// earlier program pruned it and left no record.
    ///
    /// If the last thing that happened to the date's copies was a drop, a copy that was replaced and
    /// later pruned counts as known: nothing has stood since. Otherwise the same rows may have been
    /// published again.
    fn add_removed(&mut self, observed: &ObservedWire) {
        let CopiesOfDate { copies, records } = &self.times;
        let last_aside = copies.iter().filter_map(|copy| copy.put_aside).max();
        let is_dropped = last_aside.is_some() && last_aside == self.dropped;
        let is_deletion = |record: &StayRecord| {
            record.until.is_none() || is_dropped && record.event == StayEvent::Pruned
        };
        let is_known = copies
            .iter()
            .any(|copy| copy.put_aside.is_none() || observed.is(copy.fingerprint))
            || records
                .iter()
                .any(|record| is_deletion(record) && observed.is(record.fingerprint));
        if !is_known {
            self.times.copies.push(CopyTimes {
                fingerprint: observed.fingerprint,
                published: None,
                put_aside: None,
            });
            self.objects.push(None);
        }
    }
}

/// The copies of a managed table, by date, of all dates or of a range.
///
/// # Errors
/// A failure to list or read them; a refusal if a record is damaged.
pub(super) fn copies_by_date(
    workspace: &Workspace<'_>,
    table: &SnapshotTable,
    range: Option<DateRange>,
) -> Result<BTreeMap<NaiveDate, DatedCopies>> {
    let lake = workspace.lake()?;
    let name = &table.name;
    let mut found = Vec::new();
    let mut by_date: BTreeMap<NaiveDate, DatedCopies> = BTreeMap::new();
    for (root, is_dropped) in [(lake.superseded(name), false), (lake.dropped(name), true)] {
        for copy in aside_below(&root, range)? {
            if is_dropped {
                let dropped = &mut by_date.entry(copy.date).or_default().dropped;
                *dropped = (*dropped).max(Some(copy.when));
            }
            let put_aside = Some((copy.when, copy.fingerprint));
            found.push((copy.date, copy.object, put_aside));
        }
    }
    for (date, objects) in table.find_any(range)?.partitions {
        let objects = objects.into_iter();
        found.extend(objects.map(|object| (date, object, None)));
    }
    let footers = parallel::map(table.footer_threads(), &found, |(_, object, _)| {
        footer_of(object)
    });
    for ((date, object, put_aside), footer) in found.into_iter().zip(footers) {
        let copies = by_date.entry(date).or_default();
        copies
            .add(object, put_aside, footer)
            .map_err(|error| error.within(format!("table {name}, {date}")))?;
    }
    for record in stays_below(&lake.stays(name), range)? {
        let copies = by_date.entry(record.snapshot_date).or_default();
        copies.times.records.push(record);
    }
    Ok(by_date)
}

/// A table as it was known at a time, with all of its dates.
///
/// # Errors
/// A usage error for an external table, and if nothing tells the key; a failure or refusal of
/// looking at the copies.
pub(super) fn known_history(
    workspace: &Workspace<'_>,
    name: &TableName,
    rule: AsOfRule,
    at: DateTime<Utc>,
) -> Result<TableHistory> {
    KnownTable::open(workspace, name, at)?.history(rule, None)
}

/// A table as it was known at a time, with the latest copies on or before some dates.
///
/// # Errors
/// As [`known_history`], and a refusal if the table had no copy then.
pub(super) fn known_states(
    workspace: &Workspace<'_>,
    name: &TableName,
    dates: &[NaiveDate],
    at: DateTime<Utc>,
) -> Result<TableHistory> {
    let table = KnownTable::open(workspace, name, at)?;
    if let (Some(first), Some(last)) = (dates.iter().min(), dates.iter().max()) {
        let from = first.checked_sub_days(Days::new(NEAR)).unwrap_or(*first);
        let near = table.history(AsOfRule::default(), Some(DateRange::new(from, *last)?))?;
        if near.latest_until(*first).is_some() {
            return Ok(near);
        }
    }
    let history = table.history(AsOfRule::default(), None)?;
    if history.has_no_dates() {
        return Err(
            Error::refused(format!("table {name} had no copy at {}", in_words(at))).hint(format!(
                "asof status {}, to see the copies that there are",
                word(name.as_str())
            )),
        );
    }
    Ok(history)
}

/// A table whose copies of a time are asked for.
struct KnownTable<'a> {
    workspace: &'a Workspace<'a>,
    table: SnapshotTable,
    at: DateTime<Utc>,
}

impl<'a> KnownTable<'a> {
    fn open(workspace: &'a Workspace<'_>, name: &TableName, at: DateTime<Utc>) -> Result<Self> {
        let table = workspace.configured_table(name)?;
        if !table.own {
            return Err(Error::usage(format!(
                "table {name} is external: nothing tells which of its copies stood at a time, so \
                 --known-at cannot be answered"
            ))
            .hint("leave out --known-at, to read the copies as they are now"));
        }
        Ok(KnownTable {
            workspace,
            table,
            at,
        })
    }

    /// The copies of a range, or all, that stood then.
    fn history(&self, rule: AsOfRule, range: Option<DateRange>) -> Result<TableHistory> {
        let KnownTable {
            workspace, table, ..
        } = self;
        let mut by_date = copies_by_date(workspace, table, range)?;
        let intervals = workspace.intervals(&table.name)?;
        let observed = intervals.iter().flat_map(|known| &known.footer.observed);
        for observed in observed.filter(|seen| range.is_none_or(|range| range.contains(seen.date)))
        {
            by_date
                .entry(observed.date)
                .or_default()
                .add_removed(observed);
        }
        let mut known = KnownDates::default();
        for (date, copies) in &by_date {
            known.add(self, *date, copies, intervals.as_ref());
        }
        let mut table = table.clone();
        if table.key.is_empty() {
            let of_copies = by_date.values().rev().map(|copies| &copies.key);
            let of_intervals = intervals.iter().map(|known| &known.footer.key);
            let mut keys = of_copies.chain(of_intervals).filter(|key| !key.is_empty());
            table.key = keys.next().cloned().unwrap_or_default();
        }
        if table.key.is_empty() && !by_date.is_empty() {
            return Err(table.key_is_unknown());
        }
        let KnownDates {
            snapshots,
            derived,
            unavailable,
        } = known;
        let intervals = intervals.filter(|_| !derived.is_empty());
        let intervals = intervals.map(|intervals| intervals.serving_only(&derived));
        TableHistory::known(table, rule, snapshots, intervals, unavailable)
    }

    /// Why the copy that stood is not an answer.
    fn unrecorded(&self, date: NaiveDate, damage: Option<&String>) -> Error {
        let name = &self.table.name;
        let why = match damage {
            Some(damage) => format!("its copy cannot be read: {damage}"),
            None => "nothing records when its copy was published".to_owned(),
        };
        let what = format!(
            "table {name}, {date}: what stood at {} is not known: {why}",
            in_words(self.at)
        );
        Error::refused(what).hint(self.without(date))
    }

    /// The refusal of a copy that was deleted.
    fn pruned(&self, date: NaiveDate, record: &StayRecord) -> Error {
        let StayRecord {
            fingerprint,
            from,
            until,
            at,
            ..
        } = record;
        let published = from.map_or_else(|| "at a time that is not recorded".to_owned(), in_words);
        let replaced = until.map_or_else(String::new, |until| {
            format!(", put aside {}", in_words(until))
        });
        let what = format!(
            "table {}, {date}: the copy that stood at {} was deleted by asof prune {}: published \
             {published}{replaced}, fingerprint {fingerprint}",
            self.table.name,
            in_words(self.at),
            in_words(*at)
        );
        Error::refused(what).hint(self.without(date))
    }

    /// The command that shows the copy of now.
    fn without(&self, date: NaiveDate) -> String {
        let name = word(self.table.name.as_str());
        format!("asof show {name} {date}")
    }
}

/// What stood at a time, by date.
#[derive(Default)]
struct KnownDates {
    snapshots: Partitions,
    /// The dates whose rows only the intervals have.
    derived: Vec<NaiveDate>,
    /// The dates that had a copy of which there is no answer, with the refusal.
    unavailable: BTreeMap<NaiveDate, Error>,
}

impl KnownDates {
    fn add(
        &mut self,
        table: &KnownTable<'_>,
        date: NaiveDate,
        copies: &DatedCopies,
        intervals: Option<&Intervals>,
    ) {
        let unrecorded = |copy: usize| table.unrecorded(date, copies.damage.get(&copy));
        let standing = copies.times.copies.iter();
        if standing.filter(|copy| copy.put_aside.is_none()).count() > 1 {
            let what = "expected one snapshot file, found several";
            self.unavailable
                .insert(date, table.table.refuse(date, what));
            return;
        }
        match copies.times.standing_at(table.at) {
            WhatStood::Nothing => {}
            WhatStood::Copy(copy) => match &copies.objects[copy] {
                Some(object) => {
                    self.snapshots.insert(date, vec![object.clone()]);
                }
                None => {
                    self.unavailable.insert(date, unrecorded(copy));
                }
            },
            WhatStood::Unrecorded(copy) => {
                self.unavailable.insert(date, unrecorded(copy));
            }
            WhatStood::Pruned(record) => {
                let record = &copies.times.records[record];
                if intervals.is_some_and(|intervals| gives_back(intervals, date, record)) {
                    self.derived.push(date);
                } else {
                    self.unavailable.insert(date, table.pruned(date, record));
                }
            }
        }
    }
}

/// Whether intervals give back the very rows of a copy that was deleted: nothing that they were
/// made from of this date has changed since.
fn gives_back(intervals: &Intervals, date: NaiveDate, record: &StayRecord) -> bool {
    let observed = intervals.snapshot(date);
    let is_it = observed
        .is_some_and(|observed| observed.is_proven() && observed.fingerprint == record.fingerprint);
    is_it && intervals.compares_all() && !intervals.dropped.contains(&date)
}

/// A time as messages have it.
pub(super) fn in_words(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
