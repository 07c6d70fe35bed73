//! What a lake holds of a table, in a few numbers: for metrics.
//!
//! What is read: one listing of the last month of snapshots, and the footers of the newest of them,
//! of the intervals and of refused copies. No rows.

use chrono::{DateTime, NaiveDate, Utc};

use super::Workspace;
use super::snapshot::refused_copies;
use crate::engine::as_of::footer_of;
use crate::error::Result;
use crate::model::TableName;

/// What there is of one table.
#[derive(Clone, Debug)]
pub struct TableFacts {
    /// The newest snapshot; none if there is none.
    pub newest: Option<NewestSnapshot>,
    /// The intervals; none if there are none.
    pub intervals: Option<IntervalFacts>,
    /// How many refused copies wait to be published or discarded.
    pub refused: u64,
}

/// The newest snapshot of a table.
#[derive(Clone, Debug)]
pub struct NewestSnapshot {
    /// Its date.
    pub date: NaiveDate,
    /// Its size.
    pub bytes: u64,
    /// Its rows; not known of an external table.
    pub rows: Option<u64>,
    /// When its rows were read; not known of an external table.
    pub taken_at: Option<DateTime<Utc>>,
}

/// The intervals of a table.
#[derive(Clone, Debug)]
pub struct IntervalFacts {
    /// How many there are.
    pub count: u64,
    /// Their size.
    pub bytes: u64,
    /// The date of the last snapshot that they know.
    pub last: Option<NaiveDate>,
}

/// Looks at a table.
///
/// # Errors
/// A usage error for a table that is unknown; a failure to list or read, or a refusal if what is
/// read is damaged.
pub fn table_facts(workspace: &Workspace<'_>, name: &str) -> Result<TableFacts> {
    let name = workspace.known(name)?;
    Ok(TableFacts {
        newest: newest(workspace, &name)?,
        intervals: workspace.intervals(&name)?.map(|intervals| IntervalFacts {
            count: intervals.rows(),
            bytes: intervals.bytes(),
            last: intervals.observed().last().copied(),
        }),
        refused: refused_copies(workspace, &name)?.len() as u64,
    })
}

fn newest(workspace: &Workspace<'_>, name: &TableName) -> Result<Option<NewestSnapshot>> {
    let table = workspace.configured_table(name)?;
    let found = table.find_latest(workspace.clock.today())?;
    let Some((date, objects)) = found.into_iter().next_back() else {
        return Ok(None);
    };
    let footer = match objects.first() {
        Some(object) if table.own => footer_of(object)?,
        _ => None,
    };
    Ok(Some(NewestSnapshot {
        date,
        bytes: objects.iter().map(|object| object.size).sum(),
        rows: footer.as_ref().map(|footer| footer.rows),
        taken_at: footer.and_then(|footer| footer.taken_at),
    }))
}
