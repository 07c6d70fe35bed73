//! Everything that the bytes of intervals depend on besides the snapshots.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

use super::facts::CompactionFacts;
use crate::domain::compared_columns::Comparison;
use crate::domain::dedup::Dedup;
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::Convention;
use crate::domain::missing_column::missing_column;
use crate::engine::intervals::{Intervals, write_schema};
use crate::engine::selection::Selection;
use crate::engine::table::SnapshotTable;
use crate::error::Result;
use crate::storage::parquet::footer::{Content, Footer, IntervalsFooter};

/// Everything that the bytes of intervals depend on, besides the snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What a missing date means.
    pub policy: GapPolicy,
    /// How ends are written.
    pub convention: Convention,
    /// Which columns' changes end an interval, and the key.
    pub comparison: Comparison,
    /// Which rows and columns there are.
    pub selection: Selection,
}

impl Settings {
    /// The settings that existing intervals were made with.
    pub fn of(intervals: &Intervals) -> Self {
        let convention = intervals.convention.clone();
        let comparison = intervals.comparison();
        Settings {
            policy: intervals.footer.gaps.read(),
            convention,
            comparison,
            selection: intervals.selection(),
        }
    }

    /// Refuses columns that no snapshot has, and columns of the table that are named as the
    /// interval's.
    ///
    /// # Errors
    /// A usage error that names the column.
    pub fn check(&self, schema: &SchemaRef, table: &SnapshotTable) -> Result<()> {
        for name in self.comparison.ignore.iter().chain(&self.comparison.track) {
            if schema.field_with_name(name).is_err() {
                return Err(missing_column(
                    name,
                    schema,
                    &format!("table {}", table.name),
                ));
            }
        }
        self.selection.check(schema, table)?;
        let kept = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| self.selection.keeps(name));
        self.convention.check_columns(table.name.as_str(), kept)
    }

    /// What the footer of intervals says that a compaction made with these settings. `types` are
    /// those that were declared.
    pub fn footer(
        &self,
        table: &SnapshotTable,
        facts: &CompactionFacts,
        types: &BTreeMap<String, String>,
    ) -> Footer {
        let Settings {
            policy,
            convention,
            comparison,
            selection,
        } = self;
        Footer::new(Content::Intervals(IntervalsFooter {
            table: table.name.to_string(),
            key: comparison.key.clone(),
            intervals: facts.intervals,
            convention: convention.into(),
            gaps: (*policy).into(),
            ignore: comparison.ignore.clone(),
            track: comparison.track.clone(),
            condition: selection.condition.clone(),
            select: selection.select.clone(),
            observed: facts.observed.clone(),
            schemas: facts
                .schemas
                .iter()
                .map(|schema| write_schema(schema))
                .collect(),
            types: types.clone(),
            dedup: table
                .dedup
                .as_ref()
                .filter(|_| !table.own)
                .map(Dedup::to_string),
            asof_version: env!("CARGO_PKG_VERSION").into(),
        }))
    }
}
