//! What is told of a compaction.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::CompactReport;
use super::plan::Compaction;
use crate::domain::column_case::twins;
use crate::domain::dedup::Dedup;
use crate::domain::gaps::gaps;
use crate::domain::schema::unify;
use crate::engine::compaction::{Base, CompactionFacts};
use crate::error::Result;

impl Compaction<'_> {
    /// The rule by which rows of external copies are dropped; those of asof's own have been dropped
    /// before.
    pub(super) fn dedup(&self) -> Option<&Dedup> {
        self.table.dedup.as_ref().filter(|_| !self.table.own)
    }

    /// Says so if columns differ only in case, as when an external table's tool changed the case of
    /// a name.
    pub(super) fn note_twins(&self, facts: &CompactionFacts) -> Result<()> {
        let mut all: SchemaRef = Arc::new(Schema::empty());
        for schema in &facts.schemas {
            all = unify(&all, &self.settings.selection.kept(schema))
                .map_err(|clash| clash.refusal(self.table.name.as_str(), "its intervals"))?
                .0;
        }
        if let Some((one, other)) = twins(&all) {
            self.workspace.progress.note(&format!(
                "{}: columns '{one}' and '{other}' differ only in case, and are two columns of \
                 the intervals; Spark, Hive and BigQuery cannot distinguish them",
                self.table.name
            ));
        }
        Ok(())
    }

    /// What happened, or, without facts of a pass, what stands or would be done.
    pub(super) fn report(
        &self,
        passed: Option<&CompactionFacts>,
        bytes: u64,
    ) -> Result<CompactReport> {
        let base = self.base.as_ref().map(Base::observed);
        let planned = || {
            base.into_iter()
                .flatten()
                .map(|seen| seen.date)
                .chain(self.new.iter().map(|(date, _)| *date))
                .collect()
        };
        let dates: Vec<NaiveDate> = passed.map_or_else(planned, |passed| {
            passed.observed.iter().map(|seen| seen.date).collect()
        });
        let observed = passed.map_or(base.unwrap_or_default(), |passed| &passed.observed);
        let standing = || self.base.as_ref().map_or(0, |base| base.intervals.rows());
        let open = match (passed, &self.base, &self.settings.selection.condition) {
            (Some(passed), ..) => passed.open,
            (None, Some(base), Some(_)) => base.intervals.count_open()?,
            (None, ..) => observed.last().map_or(0, |last| last.rows),
        };
        Ok(CompactReport {
            table: self.table.name.clone(),
            mode: self.mode,
            dry_run: self.dry_run,
            path: self.workspace.shown(&self.path),
            from: dates.first().copied(),
            to: dates.last().copied(),
            snapshots: dates.len() as u64,
            gap_days: gaps(&dates).map(|gap| u64::from(gap.days())).sum(),
            decoded: passed.map_or(0, |passed| passed.decoded),
            by_changes: passed.map_or(0, |passed| passed.by_changes),
            unchanged: passed.map_or(0, |passed| passed.unchanged),
            dedup: self.dedup().map(Dedup::to_string),
            dropped_rows: self
                .dedup()
                .map(|_| observed.iter().map(|observed| observed.dropped_rows).sum()),
            snapshot_rows: observed.iter().map(|observed| observed.rows).sum(),
            intervals: passed.map_or_else(standing, |passed| passed.intervals),
            open,
            bytes: if passed.is_some() {
                bytes
            } else {
                self.base.as_ref().map_or(0, |base| base.intervals.bytes())
            },
            days: passed.map(|passed| passed.days.clone()).unwrap_or_default(),
            selected_rows: self.settings.selection.condition.clone(),
            select: self.settings.selection.select.clone(),
            volatile_columns: Vec::new(),
            detected: self.table.types.observed.detected(),
            condition: self.settings.convention.condition("D"),
            scd2: None,
            store_requests: None,
        })
    }
}
