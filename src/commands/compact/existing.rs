//! The intervals that an earlier compaction left.

use super::CompactOptions;
use crate::engine::intervals::Intervals;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::IntervalsFooter;

/// What an earlier compaction left at a place.
pub(super) struct Existing {
    /// The intervals, unless everything is read anew.
    pub(super) intervals: Option<Intervals>,
    /// What they were made with, as far as that can be read.
    pub(super) footer: Option<IntervalsFooter>,
}

impl Existing {
    pub(super) fn at(path: &Location, table: &TableName, options: &CompactOptions) -> Result<Self> {
        if options.full {
            let footer = existing(path, table)
                .ok()
                .flatten()
                .map(|existing| existing.footer);
            return Ok(Existing {
                intervals: None,
                footer,
            });
        }
        let intervals = existing(path, table)?;
        Ok(Existing {
            footer: intervals.as_ref().map(|existing| existing.footer.clone()),
            intervals,
        })
    }
}

/// The intervals that stand at a place, which must be those of the table.
fn existing(path: &Location, table: &TableName) -> Result<Option<Intervals>> {
    let existing = Intervals::open(path)
        .map_err(|error| error.hint(format!("asof compact {table} --full")))?;
    match existing {
        Some(other) if other.footer.table != table.as_str() => {
            let what = format!(
                "'{path}' holds the intervals of table {}, not of {table}",
                other.footer.table
            );
            Err(Error::usage(what).hint("--out FILE, to write somewhere else"))
        }
        existing => Ok(existing),
    }
}
