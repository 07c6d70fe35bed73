//! The object that is staged, and what it says of itself.

use super::SnapshotOptions;
use super::plan::SnapshotPlan;
use crate::commands::Workspace;
use crate::domain::dedup::Dedup;
use crate::domain::digest::RowSum;
use crate::engine::table::dedup::Dropped;
use crate::error::Result;
use crate::storage::lake::commit::Staged;
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::{ColumnWire, SnapshotFooter};

/// The object that is staged: beside the snapshot's path, or, for a dry run, in a temporary folder.
pub(super) fn stage(plan: &SnapshotPlan<'_>, options: &SnapshotOptions) -> Result<Staged> {
    if options.dry_run {
        let name = format!("{}.parquet", plan.table.name);
        return Staged::create(&Location::local(std::env::temp_dir().join(name)));
    }
    Staged::create(&plan.path)
}

/// What the snapshot says of itself, with the columns that it lacks, and the rows that the rule of
/// duplicates dropped.
pub(super) fn footer(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    (absent, dropped): (Vec<ColumnWire>, Option<&Dropped>),
    sum: &RowSum,
) -> SnapshotFooter {
    let SnapshotPlan { table, date, .. } = plan;
    let taken_at = plan.taken_at.unwrap_or_else(|| workspace.clock.now());
    // All rows have been read: what is left to do takes a moment.
    let published_at = workspace.clock.moment();
    SnapshotFooter {
        table: table.name.to_string(),
        snapshot_date: *date,
        key: table.key.clone(),
        rows: sum.rows(),
        fingerprint: sum.fingerprint(),
        source: Some(plan.source.name().to_owned()),
        dated_source: plan.source.of_date().map(str::to_owned),
        taken_at: Some(taken_at),
        published_at: (published_at != taken_at).then_some(published_at),
        backdated: plan.backdated,
        forced: Vec::new(),
        refused: Vec::new(),
        absent: Some(absent),
        dedup: table.dedup.as_ref().map(Dedup::to_string),
        dropped_rows: dropped.map(Dropped::rows),
        not_compared: None,
        asof_version: env!("CARGO_PKG_VERSION").into(),
    }
}
