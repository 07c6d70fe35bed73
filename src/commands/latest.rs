//! What `latest` is as the date of a command that is about one date.

use chrono::NaiveDate;

use super::Workspace;
use super::snapshot::refused_copies;
use crate::error::{Error, Result};

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
