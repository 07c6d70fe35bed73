//! Reusing existing intervals as far as they agree with the snapshots that are found.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::CompactionMode;
use super::differences::IntervalComparison;
use super::plan::Compaction;
use crate::domain::dedup::Dedup;
use crate::domain::missing_column::missing_column;
use crate::engine::compaction::{Base, Settings};
use crate::engine::intervals::Intervals;
use crate::engine::table::Partitions;
use crate::error::Result;

impl Compaction<'_> {
    /// Takes over as much of existing intervals as still agrees with the lake.
    pub(super) fn take_over(
        &mut self,
        existing: Intervals,
        partitions: &Partitions,
        pruned: &[NaiveDate],
    ) -> Result<()> {
        if Settings::of(&existing) != self.settings
            || existing.footer.dedup != self.dedup().map(Dedup::to_string)
        {
            self.refuse_pruned("a compaction with other settings", pruned)?;
            let why = "the settings differ from those of the existing intervals";
            let note = format!("{}: {why}; all snapshots are read", self.table.name);
            self.workspace.progress.note(&note);
            self.differs = Some(why.to_owned());
            return Ok(());
        }
        let (kept, reason) = self.agreeing(&existing, partitions, pruned)?;
        self.mode = CompactionMode::Incremental;
        if let Some(reason) = reason {
            let needed: Vec<NaiveDate> = pruned
                .iter()
                .copied()
                .filter(|date| kept == 0 || *date > existing.footer.observed[kept - 1].date)
                .collect();
            self.refuse_pruned("a recomputation", &needed)?;
            let from = existing.footer.observed[kept..]
                .first()
                .map(|observed| observed.date);
            self.mode = if kept == 0 {
                CompactionMode::Full
            } else {
                CompactionMode::Recomputed
            };
            self.workspace.progress.note(&format!(
                "{}: {reason}; intervals are recomputed from {}",
                self.table.name,
                from.map_or_else(|| "there".to_owned(), |from| from.to_string())
            ));
            self.differs = Some(reason);
        }
        if kept > 0 {
            self.base = Some(Base {
                intervals: Arc::new(existing),
                kept,
            });
        }
        Ok(())
    }

    /// How many of the first dates of existing intervals agree with the lake, and why the next one
    /// does not, if there is one.
    fn agreeing(
        &mut self,
        existing: &Intervals,
        partitions: &Partitions,
        pruned: &[NaiveDate],
    ) -> Result<(usize, Option<String>)> {
        let mut comparison = IntervalComparison {
            table: &self.table,
            types: &self.types,
            recall: &mut self.recall,
        };
        comparison.agreeing(existing, partitions, pruned)
    }

    /// Refuses a declared type of a column that no date has. `asof snapshot` looks at its source;
    /// of another tool's files a column may be absent on some dates.
    pub(super) fn check_declared(&self, schema: &SchemaRef) -> Result<()> {
        let is_absent = |name: &&String| !self.table.own && schema.field_with_name(name).is_err();
        match self.types.keys().find(is_absent) {
            Some(name) => Err(missing_column(
                name,
                schema,
                &format!("table {}", self.table.name),
            )),
            None => Ok(()),
        }
    }
}
