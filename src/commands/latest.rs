//! What `latest` is as the date of a command that is about one date.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::Workspace;
use super::snapshot::refused_copies;
use super::undo::managed;
use crate::error::{Error, Result, word};
use crate::storage::lake::aside::aside_below;

/// The date of the latest snapshot of a table that is not after today.
///
/// # Errors
/// A usage error for a table that there is not, or that has no snapshot.
pub fn latest_snapshot(workspace: &Workspace<'_>, name: &str) -> Result<NaiveDate> {
    let name = workspace.known(name)?;
    let today = workspace.clock.today();
    let found = workspace.configured_table(&name)?.find_latest(today)?;
    let latest = found.range(..=today).next_back();
    latest.map(|(date, _)| *date).ok_or_else(|| {
        Error::usage(format!("table {name} has no snapshot yet"))
            .hint(format!("asof snapshot {name} --date today"))
    })
}

/// The date of the latest copy of a table that a check refused.
///
/// # Errors
/// A usage error for a table that there is not, or that has no refused copy.
pub fn latest_refused(workspace: &Workspace<'_>, name: &str) -> Result<NaiveDate> {
    let name = workspace.known(name)?;
    let latest = refused_copies(workspace, &name)?.pop();
    latest.map(|copy| copy.snapshot_date).ok_or_else(|| {
        Error::usage(format!("table {name} has no refused copy"))
            .hint(format!("asof status {name}"))
    })
}

/// The latest date of a table that has a copy to restore: no snapshot, and a copy that was put
/// aside. If all dates with such a copy have a snapshot, the last of them.
///
/// # Errors
/// A usage error for an external table, one that there is not, and one of which no copy was put
/// aside.
pub fn latest_put_aside(workspace: &Workspace<'_>, name: &str) -> Result<NaiveDate> {
    let table = managed(workspace, name)?;
    let lake = workspace.lake()?;
    let mut dates = BTreeSet::new();
    for root in [lake.dropped(&table), lake.superseded(&table)] {
        dates.extend(aside_below(&root, None)?.iter().map(|copy| copy.date));
    }
    for date in dates.iter().rev() {
        if !lake.snapshot(&table, *date).is_taken()? {
            return Ok(*date);
        }
    }
    dates.pop_last().ok_or_else(|| {
        Error::usage(format!("table {table}: no copy was put aside"))
            .hint(format!("asof status {}", word(table.as_str())))
    })
}
