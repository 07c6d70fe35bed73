//! What changed since the copy that is being replaced, beside what changed since the date before.
//! `publish` then moves that copy to `superseded/`.
//!
//! It is read while the new rows are written, a batch at a time. One that cannot be compared, since
//! it is damaged or has other types, is what replacements are for, and keeps nobody from replacing
//! it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::plan::SnapshotPlan;
use super::write::{Keying, in_order};
use crate::domain::cast::conform;
use crate::domain::diff::{ChangeCount, KeyedBatch};
use crate::domain::hash_compaction::Changes;
use crate::domain::schema::unify;
use crate::engine::table::convert;
use crate::error::{Error, Kind, Result};
use crate::model::DateRange;

/// The copy that is replaced, on its way through.
pub(super) struct ReplacedCopy {
    rows: u64,
    keying: Arc<Keying>,
    /// What changed so far; nothing if the copy turned out not to be comparable.
    count: Option<ChangeCount>,
}

/// The rows of the replaced copy, and what changed since.
pub(super) type SinceReplaced = (u64, Changes);

impl ReplacedCopy {
    /// Opens the copy; nothing if none is replaced, or it cannot be compared.
    pub(super) fn open(plan: &SnapshotPlan<'_>, new: &SchemaRef) -> Option<Self> {
        let SnapshotPlan { table, date, .. } = plan;
        if !plan.replaces {
            return None;
        }
        let found = table.find(Some(DateRange::single(*date))).ok()?;
        let objects = found.partitions.get(date)?;
        let snapshot = table.open(*date, objects, None).ok()?;
        let rows = snapshot.footer.as_ref()?.rows;
        let has = |key: &String| snapshot.schema.field_with_name(key).is_ok();
        if !table.key.iter().all(has) {
            return None;
        }
        let (comparison, _) = unify(&snapshot.schema, new).ok()?;
        let keying = Arc::new(Keying::new(table, *date, &comparison).ok()?);
        let earlier = in_order(snapshot, &table.key, &comparison).ok()?;
        let earlier = keying.clone().each(earlier, *date).ok()?;
        let earlier = earlier.map(|rows| rows.map(|(keyed, _)| keyed));
        Some(ReplacedCopy {
            rows,
            keying,
            count: Some(ChangeCount::new(Box::new(earlier))),
        })
    }

    /// The next of the new rows.
    ///
    /// # Errors
    /// A failure to read the copy.
    pub(super) fn see(&mut self, later: &KeyedBatch) -> Result<()> {
        let Some(count) = &mut self.count else {
            return Ok(());
        };
        let Keying {
            encoder,
            table,
            comparison,
            date,
            ..
        } = &*self.keying;
        let seen = convert(&later.batch, table, *date, comparison)
            .and_then(|batch| conform(&batch, comparison))
            .and_then(|batch| KeyedBatch::new(encoder, batch, later.digests.clone()))
            .and_then(|batch| count.see(&batch));
        if let Err(error) = seen {
            self.count = None;
            return not_comparable(error);
        }
        Ok(())
    }

    /// What changed; nothing if the copy cannot be compared.
    ///
    /// # Errors
    /// A failure to read the copy.
    pub(super) fn finish(self) -> Result<Option<SinceReplaced>> {
        match self.count.map(ChangeCount::finish) {
            None => Ok(None),
            Some(Ok(changes)) => Ok(Some((self.rows, changes))),
            Some(Err(error)) => not_comparable(error).map(|()| None),
        }
    }
}

/// Passes over a refusal of rows that stand in a copy.
fn not_comparable(error: Error) -> Result<()> {
    match error.kind() {
        Kind::Refused => Ok(()),
        _ => Err(error),
    }
}
