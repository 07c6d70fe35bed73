//! Recording the proof in the intervals, and deleting the snapshots that they give back.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::proof::{ProvenIntervals, overtaken, prove};
use super::stays::StaysOfPruned;
use super::{PruneOutcome, PruneReport};
use crate::commands::Workspace;
use crate::engine::changes;
use crate::engine::intervals::Intervals;
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Result};
use crate::interrupt::{published, uninterrupted};
use crate::storage::lake::commit::{Published, Staged};
use crate::storage::lake::deletion::{Deletion, delete_with_witness};
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::{Content, Footer, IntervalsFooter};
use crate::storage::parquet::writer::ObjectWriter;

/// The deletion of snapshots that proven intervals give back.
pub(super) struct DatesDeletion<'a> {
    workspace: &'a Workspace<'a>,
    table: &'a SnapshotTable,
    proven: ProvenIntervals,
    /// Where each stands in the report, and the snapshot as it was found; the earliest first.
    doomed: Vec<(usize, Object)>,
}

impl<'a> DatesDeletion<'a> {
    pub(super) fn new(
        workspace: &'a Workspace<'a>,
        table: &'a SnapshotTable,
        proven: ProvenIntervals,
        doomed: Vec<(usize, Object)>,
    ) -> Result<Self> {
        workspace.check_writes_below(workspace.lake()?.root())?;
        Ok(DatesDeletion {
            workspace,
            table,
            proven,
            doomed,
        })
    }

    /// Records the proof, and deletes the snapshots one by one.
    pub(super) fn run(mut self, report: &mut PruneReport) -> Result<()> {
        let doomed = std::mem::take(&mut self.doomed);
        let sizes = doomed
            .iter()
            .map(|(at, object)| (report.dates[*at].snapshot_date, object.size));
        let sizes: BTreeMap<NaiveDate, u64> = sizes.collect();
        if !self.is_recorded(&sizes) {
            self.record(&sizes)?;
        }
        let dates: Vec<NaiveDate> = sizes.into_keys().collect();
        let stays = StaysOfPruned::of(self.workspace, self.table, &dates)?;
        let doing = format!("prune {}", self.table.name);
        for (done, (at, object)) in doomed.iter().enumerate() {
            let progress = self.workspace.progress;
            progress.step(&doing, done as u64, doomed.len() as u64);
            let planned = &mut report.dates[*at];
            stays.record(object, planned.snapshot_date)?;
            match self.delete(planned.snapshot_date, object)? {
                Deletion::Done => planned.outcome = PruneOutcome::Pruned,
                Deletion::Replaced => {
                    planned.outcome = PruneOutcome::Kept;
                    planned.reason = "another process replaced or removed it first".to_owned();
                }
                Deletion::WitnessReplaced => return Err(self.overtaken()),
            }
        }
        Ok(())
    }

    fn is_recorded(&self, sizes: &BTreeMap<NaiveDate, u64>) -> bool {
        let is_recorded = |date: &NaiveDate| {
            let observed = self.proven.intervals.snapshot(*date);
            observed.is_some_and(|observed| observed.is_proven())
        };
        sizes.keys().all(is_recorded)
    }

    /// Publishes the intervals with the proof in their footer, and proves what is published. `sizes`
    /// are those of the snapshots in bytes.
    fn record(&mut self, sizes: &BTreeMap<NaiveDate, u64>) -> Result<()> {
        let name = &self.table.name;
        let mut footer = self.proven.intervals.footer.clone();
        for observed in &mut footer.observed {
            if let Some(size) = sizes.get(&observed.date) {
                observed.proven = Some(observed.fingerprint);
                observed.pruned_bytes = Some(*size);
            }
        }
        self.write(footer.clone())?;
        self.proven.standing = self.proven.path.standing()?;
        let read = || {
            let mut intervals = Intervals::open_existing(&self.proven.path)?;
            if intervals.footer != footer {
                return Err(self.overtaken());
            }
            intervals.mark_dropped(&self.workspace.dropped(name)?);
            prove(name, &intervals)?;
            Ok(intervals)
        };
        let read = read().map_err(|error| self.proven.or_overtaken(self.workspace, error))?;
        self.proven.intervals = read;
        Ok(())
    }

    /// Writes the rows of the intervals again, with another footer, in the place of those that were
    /// proven.
    fn write(&self, footer: IntervalsFooter) -> Result<()> {
        let ProvenIntervals { path, standing, .. } = &self.proven;
        let staged = self.stage(footer);
        let staged = staged.map_err(|error| self.proven.or_overtaken(self.workspace, error))?;
        uninterrupted(|| {
            if staged.publish_in_place_of(standing)? == Published::Exists {
                return Err(self.overtaken());
            }
            published(self.table.name.as_str(), None, path.as_local());
            Ok(())
        })
    }

    fn stage(&self, footer: IntervalsFooter) -> Result<Staged> {
        let ProvenIntervals {
            intervals, path, ..
        } = &self.proven;
        let object = intervals.object();
        let mut sorted_by = footer.key.clone();
        sorted_by.push(intervals.convention.start_column.clone());
        let staged = Staged::create(path)?;
        let mut writer = ObjectWriter::create(staged.writer()?, object.schema(), &sorted_by, path)?;
        for batch in object.read(None)? {
            writer.write(batch?)?;
        }
        object.verify_unread()?;
        writer.finish(&Footer::new(Content::Intervals(footer)))?;
        Ok(staged)
    }

    fn delete(&self, date: NaiveDate, object: &Object) -> Result<Deletion> {
        let ProvenIntervals {
            intervals,
            path,
            standing,
        } = &self.proven;
        if !intervals
            .snapshot(date)
            .is_some_and(|seen| seen.is_proven())
        {
            return Err(Error::internal(format!("{date} is not proven")));
        }
        changes::remove(self.table, date)?;
        let deletion = delete_with_witness(object, path, standing)?;
        if deletion == Deletion::Done {
            object.location.remove_empty_folders(&self.table.root);
        }
        Ok(deletion)
    }

    fn overtaken(&self) -> Error {
        overtaken(self.workspace, &self.table.name)
    }
}
