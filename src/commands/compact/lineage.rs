//! What a compaction reads and writes, for OpenLineage.

use super::{CompactOptions, CompactReport};
use crate::commands::Workspace;
use crate::commands::shown_columns::shown_columns;
use crate::commands::workspace::{OpenRun, dataset_at};
use crate::domain::lineage::LineageDataset;
use crate::engine::intervals::Intervals;
use crate::error::Error;
use crate::model::TableName;
use crate::storage::lake::location::Location;

/// A run of which OpenLineage is told, with its datasets.
pub(super) struct CompactRun<'a> {
    run: OpenRun<'a>,
    snapshots: LineageDataset,
    intervals: LineageDataset,
    path: Location,
}

impl<'a> CompactRun<'a> {
    /// Tells that a table is being compacted; nothing if nobody asks for events, or if nothing is
    /// to be written.
    pub(super) fn start(
        workspace: &'a Workspace<'_>,
        name: &TableName,
        options: &CompactOptions,
    ) -> Option<Self> {
        if options.dry_run {
            return None;
        }
        let run = workspace.lineage_run("COMPACT", format!("compact.{name}"), None)?;
        let table = workspace.configured_table(name).ok()?;
        let path = workspace
            .intervals_path(name, options.out.as_deref())
            .ok()?;
        let snapshots = dataset_at(&table.root);
        let intervals = dataset_at(&path);
        run.start(
            std::slice::from_ref(&snapshots),
            std::slice::from_ref(&intervals),
        );
        Some(CompactRun {
            run,
            snapshots,
            intervals,
            path,
        })
    }

    /// Sends the event that ends the run: complete, or failed.
    pub(super) fn end(self, ended: &Result<&CompactReport, &Error>) {
        let CompactRun {
            run,
            mut snapshots,
            mut intervals,
            path,
        } = self;
        if let Ok(report) = ended {
            snapshots.rows = Some(report.snapshot_rows);
            snapshots.files = Some(report.snapshots);
            intervals.rows = Some(report.intervals);
            intervals.bytes = Some(report.bytes);
            intervals.files = Some(1);
            let written = Intervals::open(&path).ok().flatten();
            let columns = written.map(|written| shown_columns(written.object().schema()));
            intervals.columns = columns
                .unwrap_or_default()
                .into_iter()
                .map(|column| (column.name, column.data_type))
                .collect();
        }
        let failure = ended.err().map(Error::to_string);
        run.end(&[snapshots], &[intervals], failure.as_deref());
    }
}
