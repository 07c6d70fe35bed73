//! The intervals that an earlier compaction left.

use super::CompactOptions;
use crate::engine::intervals::Intervals;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::storage::lake::location::Location;
use crate::storage::lake::standing::Standing;
use crate::storage::parquet::footer::IntervalsFooter;

/// What an earlier compaction left at a place.
pub(super) struct Existing {
    /// What stood there before anything was read: what is published takes its place and no other's.
    pub(super) standing: Standing,
    /// The intervals, unless everything is read anew.
    pub(super) intervals: Option<Intervals>,
    /// What they were made with, as far as that can be read.
    pub(super) footer: Option<IntervalsFooter>,
}

impl Existing {
    pub(super) fn at(path: &Location, table: &TableName, options: &CompactOptions) -> Result<Self> {
        let standing = path.standing()?;
        if options.full {
            let footer = existing(path, &standing, table)
                .ok()
                .flatten()
                .map(|existing| existing.footer);
            return Ok(Existing {
                standing,
                intervals: None,
                footer,
            });
        }
        let intervals = existing(path, &standing, table)?;
        Ok(Existing {
            standing,
            footer: intervals.as_ref().map(|existing| existing.footer.clone()),
            intervals,
        })
    }
}

/// The intervals that stand at a place, which must be those of the table.
fn existing(path: &Location, standing: &Standing, table: &TableName) -> Result<Option<Intervals>> {
    if matches!(standing, Standing::Nothing) {
        return Ok(None);
    }
    let existing = Intervals::open_existing(path)
        .map_err(|error| error.hint(format!("asof compact {table} --full")))?;
    if existing.footer.table != table.as_str() {
        let what = format!(
            "'{path}' holds the intervals of table {}, not of {table}",
            existing.footer.table
        );
        return Err(Error::usage(what).hint("--out FILE, to write somewhere else"));
    }
    Ok(Some(existing))
}
