//! Recording when the copies stood that are deleted, so that `--known-at` names them and does not
//! take another copy for them.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::PruneReport;
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
    /// Those of all copies of a range, or of all dates. A plan deletes nothing, and needs none.
    ///
    /// # Errors
    /// A failure to list or read the copies.
    pub(super) fn of(
        workspace: &'a Workspace<'a>,
        table: &SnapshotTable,
        range: Option<DateRange>,
        report: &PruneReport,
    ) -> Result<Self> {
        let copies = match report.dry_run {
            true => BTreeMap::new(),
            false => copies_by_date(workspace, table, range)?,
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
