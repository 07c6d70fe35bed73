//! Recording when the copies stood that are deleted, so that `--known-at` names them and does not
//! take another copy for them.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::commands::Workspace;
use crate::commands::known_copies::{DatedCopies, copies_by_date};
use crate::domain::known_at::StayEvent;
use crate::engine::table::SnapshotTable;
use crate::error::Result;
use crate::model::DateRange;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::stays::record_stay;

/// When the copies of a table stood, before some of them are deleted.
pub(super) struct StaysOfPruned<'a> {
    workspace: &'a Workspace<'a>,
    root: Location,
    copies: BTreeMap<NaiveDate, DatedCopies>,
}

impl<'a> StaysOfPruned<'a> {
    /// Those of the copies of some dates that are to be deleted.
    ///
    /// # Errors
    /// A failure to list or read the copies.
    pub(super) fn of(
        workspace: &'a Workspace<'a>,
        table: &SnapshotTable,
        dates: &[NaiveDate],
    ) -> Result<Self> {
        let copies = match (dates.iter().min(), dates.iter().max()) {
            (Some(from), Some(to)) => {
                copies_by_date(workspace, table, Some(DateRange::new(*from, *to)?))?
            }
            _ => BTreeMap::new(),
        };
        let root = workspace.lake()?.stays(&table.name);
        Ok(StaysOfPruned {
            workspace,
            root,
            copies,
        })
    }

    /// Records the stay of a copy that is about to be deleted.
    ///
    /// # Errors
    /// A failure to write the record.
    pub(super) fn record(&self, object: &Object, date: NaiveDate) -> Result<()> {
        let at = self.workspace.clock.moment();
        let copies = self.copies.get(&date);
        let stay =
            copies.and_then(|copies| copies.stay_of(&object.location, date, StayEvent::Pruned, at));
        stay.map_or(Ok(()), |stay| record_stay(&self.root, &stay))
    }
}
