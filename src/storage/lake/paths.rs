//! Every path that asof gives a name of its own.
//!
//! ```text
//! <lake>/<table>/snapshots/snapshot_date=2024-09-13/<table>.parquet
//! <lake>/<table>/intervals/<table>.parquet
//! <lake>/<table>/scd2/<table>.parquet                      the intervals as a warehouse expects them
//! <lake>/<table>/intervals/_<table>.json                   fingerprints of the snapshots' files
//! <lake>/<table>/superseded/snapshot_date=2024-09-13/<when>-<fingerprint>.parquet
//! <lake>/<table>/_dropped/snapshot_date=2024-09-13/<when>-<fingerprint>.parquet
//! <lake>/<table>/_stays/snapshot_date=2024-09-13/...json   when a restored or pruned copy stood
//! <lake>/<table>/_refused/snapshot_date=2024-09-13/<table>.parquet   a copy that a check refused
//! <lake>/<table>/_changes/snapshot_date=2024-09-13/...     what each snapshot changed
//! <lake or output>/_asof/store.json                        whether the store is safe
//! <lake>/_asof/ad_hoc/<hash>.json                          where a job of a command line writes
//! <lake or output>/_asof/probe-<random>                    an object that tests that
//! <output>/_asof/failed/<job>/2024-09-13.json              why a date failed
//! <folder>/_asof.lock                                      held while an object is replaced
//! ```
//!
//! Readers skip names that begin with `_` or `.` ([`crate::domain::file_names`], which also has the
//! names of files that are not published yet).

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use super::{DROPPED, INTERVALS, LakeRoot, REFUSED, SNAPSHOTS};
use crate::domain::digest::Fingerprint;
use crate::domain::layout::Layout;
use crate::error::Result;
use crate::model::TableName;
use crate::storage::lake::location::Location;

/// The column that the folders of snapshots hold: the date of each.
pub const SNAPSHOT_DATE: &str = "snapshot_date";
/// How the name of a snapshot that was put aside says when, in UTC.
pub(super) const WHEN: &str = "%Y%m%dT%H%M%SZ";

impl LakeRoot {
    fn table(&self, table: &TableName) -> Location {
        self.root().join(table.as_str())
    }

    /// The root of a table's snapshots.
    pub fn snapshots(&self, table: &TableName) -> Location {
        self.table(table).join(SNAPSHOTS)
    }

    /// The layout of snapshots in every lake of asof's.
    ///
    /// # Errors
    /// None in practice.
    pub fn layout() -> Result<Layout> {
        Layout::parse(Layout::SNAPSHOTS)
    }

    /// The object of one snapshot.
    pub fn snapshot(&self, table: &TableName, date: NaiveDate) -> Location {
        partition(&self.snapshots(table), date).join(&format!("{table}.parquet"))
    }

    /// The object of a table's intervals.
    pub fn intervals(&self, table: &TableName) -> Location {
        self.table(table)
            .join(INTERVALS)
            .join(&format!("{table}.parquet"))
    }

    /// The intervals of a table as a warehouse expects them.
    pub fn scd2(&self, table: &TableName) -> Location {
        self.table(table)
            .join("scd2")
            .join(&format!("{table}.parquet"))
    }

    /// The root of a table's snapshots that others replaced.
    pub fn superseded(&self, table: &TableName) -> Location {
        self.table(table).join("superseded")
    }

    /// The root of a table's copies that a check refused.
    pub fn refused(&self, table: &TableName) -> Location {
        self.table(table).join(REFUSED)
    }

    /// Where a copy goes that a check refused.
    pub fn refused_snapshot(&self, table: &TableName, date: NaiveDate) -> Location {
        partition(&self.refused(table), date).join(&format!("{table}.parquet"))
    }

    /// The root of what is recorded of copies that were restored or pruned.
    pub fn stays(&self, table: &TableName) -> Location {
        self.table(table).join("_stays")
    }

    /// The root of a table's snapshots that somebody dropped.
    pub fn dropped(&self, table: &TableName) -> Location {
        self.table(table).join(DROPPED)
    }
}

/// Where a snapshot goes that is put aside, below the root of such snapshots.
pub fn aside(
    root: &Location,
    date: NaiveDate,
    when: DateTime<Utc>,
    fingerprint: Fingerprint,
) -> Location {
    let name = format!("{}-{fingerprint}.parquet", when.format(WHEN));
    partition(root, date).join(&name)
}

/// When a snapshot was put aside and what its content is, by the name of its object.
pub fn read_aside(name: &str) -> Option<(DateTime<Utc>, Fingerprint)> {
    let (when, fingerprint) = name.strip_suffix(".parquet")?.split_once('-')?;
    let when = NaiveDateTime::parse_from_str(when, WHEN).ok()?;
    Some((when.and_utc(), fingerprint.parse().ok()?))
}

/// The folder of a date, by [`Layout::SNAPSHOTS`].
pub fn partition(root: &Location, date: NaiveDate) -> Location {
    root.join(&format!("{SNAPSHOT_DATE}={date}"))
}

/// The root of what a table's snapshots changed, by the root of the snapshots.
pub fn changes(snapshots: &Location) -> Option<Location> {
    Some(snapshots.parent()?.join("_changes"))
}

/// The cache of the fingerprints of the snapshots that intervals were made from.
pub fn fingerprint_cache(intervals: &Location) -> Location {
    let name = intervals.name();
    let table = name.strip_suffix(".parquet").unwrap_or(&name);
    intervals.sibling(&format!("_{table}.json"))
}

/// The folder of what asof notes for itself.
fn notes(root: &Location) -> Location {
    root.join("_asof")
}

/// What was found out about the store of a lake or an output.
pub fn store_facts(root: &Location) -> Location {
    notes(root).join("store.json")
}

/// How the names of objects begin that test whether a store honours conditions.
pub(super) fn probes(root: &Location) -> Location {
    notes(root).join("probe-")
}

/// The folder of what a lake remembers of the outputs of ad-hoc jobs.
pub fn ad_hoc_outputs(lake: &Location) -> Location {
    notes(lake).join("ad_hoc")
}

/// The folder of the failures of a job.
pub fn failures(output: &Location, job: &str) -> Location {
    notes(output).join("failed").join(job)
}

/// Why a job failed on a date.
pub fn failure(output: &Location, job: &str, date: NaiveDate) -> Location {
    failures(output, job).join(&format!("{date}.json"))
}

/// The file whose lock a process holds while it replaces a file of the same folder.
pub(super) fn replacement_lock(target: &Path) -> PathBuf {
    target.with_file_name("_asof.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_lakes_have() {
        let root = Location::local("/lake");
        let lake = LakeRoot::open(&root).expect("a lake that is not there yet");
        let table: TableName = "item".parse().expect("a name");
        let date = NaiveDate::from_ymd_opt(2024, 9, 13).expect("a date");
        let when = date.and_hms_opt(1, 2, 3).expect("a time").and_utc();
        let folder = "/lake/item";
        let of_date = "snapshot_date=2024-09-13";
        for (path, expected) in [
            (
                lake.snapshot(&table, date),
                format!("{folder}/snapshots/{of_date}/item.parquet"),
            ),
            (
                lake.intervals(&table),
                format!("{folder}/intervals/item.parquet"),
            ),
            (
                fingerprint_cache(&lake.intervals(&table)),
                format!("{folder}/intervals/_item.json"),
            ),
            (
                aside(&lake.superseded(&table), date, when, Fingerprint(10)),
                format!(
                    "{folder}/superseded/{of_date}/20240913T010203Z-{}.parquet",
                    Fingerprint(10)
                ),
            ),
            (
                changes(&lake.snapshots(&table)).expect("it has a parent"),
                format!("{folder}/_changes"),
            ),
            (store_facts(&root), "/lake/_asof/store.json".into()),
            (
                failure(&root, "daily", date),
                "/lake/_asof/failed/daily/2024-09-13.json".into(),
            ),
        ] {
            assert_eq!(path.to_string(), expected);
        }
    }

    #[test]
    fn the_name_of_a_snapshot_that_was_put_aside_tells_when_and_its_content() {
        let date = NaiveDate::from_ymd_opt(2024, 9, 13).expect("a date");
        let when = date.and_hms_opt(1, 2, 3).expect("a time").and_utc();
        let name = aside(&Location::local("/x"), date, when, Fingerprint(10)).name();
        assert_eq!(read_aside(&name), Some((when, Fingerprint(10))));
        for other in ["item.parquet", "20240913T010203Z-10.parquet", "x-y.parquet"] {
            assert_eq!(read_aside(other), None, "{other}");
        }
    }
}
