//! What a compaction reads, where it begins, and who takes its rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::interval_columns::START;
use super::settings::Settings;
use crate::engine::intervals::Intervals;
use crate::engine::table::SnapshotTable;
use crate::engine::table_part::TablePart;
use crate::error::Result;
use crate::memory::MemoryBudget;
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::ObservedWire;

/// Dates with the objects of their snapshots, ascending.
pub type Snapshots<'a> = &'a [(NaiveDate, Vec<Object>)];

/// Who takes the rows of a pass.
pub trait Sink {
    /// Rows will follow; those of an earlier call, if there was one, are void. `table` has every
    /// column of the snapshots, and `schema` the selected ones with the interval's two.
    ///
    /// # Errors
    /// Whatever keeps the sink from taking such rows.
    fn begin(&mut self, table: &SchemaRef, schema: &SchemaRef) -> Result<()>;

    /// The next rows, in order of key and start.
    ///
    /// # Errors
    /// Whatever the sink fails with.
    fn write(&mut self, rows: RecordBatch) -> Result<()>;
}

/// Intervals that are reused, as far as they still agree with the snapshots.
pub struct Base {
    /// The intervals.
    pub intervals: Arc<Intervals>,
    /// How many of their snapshots still agree; at least one.
    pub kept: usize,
}

impl Base {
    /// The snapshots that still agree.
    pub fn observed(&self) -> &[ObservedWire] {
        &self.intervals.footer.observed[..self.kept]
    }

    /// The date of the last of them.
    pub fn last(&self) -> NaiveDate {
        self.intervals.footer.observed[self.kept - 1].date
    }

    /// Whether all of the intervals are reused.
    pub fn is_whole(&self) -> bool {
        self.kept == self.intervals.footer.observed.len()
    }
}

/// A pass over snapshots; see the module.
pub struct Pass<'a> {
    /// The table.
    pub table: &'a SnapshotTable,
    /// What its intervals depend on.
    pub settings: &'a Settings,
    /// The intervals that are reused.
    pub base: Option<&'a Base>,
    /// The part of the table that is wanted, in the place of what the settings select.
    pub part: Option<&'a TablePart>,
    /// About how much memory may be used.
    pub memory: MemoryBudget,
    /// How many threads decode.
    pub threads: usize,
    /// Told how many of the snapshots are done.
    pub step: &'a (dyn Fn(u64, u64) + Sync),
}

impl Pass<'_> {
    /// The columns of the result, of those that were seen.
    pub(super) fn kept(&self, schema: &SchemaRef) -> SchemaRef {
        self.part
            .map_or_else(|| schema.clone(), |part| part.kept(schema))
    }

    /// Whether fingerprints and columns are those of whole snapshots, of which a part is wanted.
    pub(super) fn observes_part(&self) -> bool {
        self.part.is_some_and(|part| part.observes)
    }

    /// The dates that the base stands for.
    pub(super) fn base_dates(&self) -> Vec<NaiveDate> {
        self.base
            .into_iter()
            .flat_map(Base::observed)
            .map(|observed| observed.date)
            .collect()
    }

    /// The order of the rows while the pass runs: key, then start.
    pub(super) fn order(&self) -> Vec<String> {
        let mut order = self.settings.comparison.key.clone();
        order.push(START.to_owned());
        order
    }
}
