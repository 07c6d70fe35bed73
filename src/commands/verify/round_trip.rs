//! The round trip: for an observed date, the expansion of the intervals is the snapshot.
//!
//! Sums of row digests decide. Only a date that fails is read a second time, to name its keys.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::snapshots::{SnapshotCheck, SnapshotFindings};
use super::{Finding, ProblemKind, Verification};
use crate::domain::canonical_types::in_microseconds;
use crate::domain::cast::quoted;
use crate::domain::diff::{Difference, KeyedBatch, diff};
use crate::domain::digest::RowSum;
use crate::domain::key_order::KeyEncoder;
use crate::domain::schema::{unify, with_types};
use crate::engine::digests::{digests_by_column, row_digests};
use crate::engine::intervals::Intervals;
use crate::engine::selection::SelectedRows;
use crate::engine::table::{SnapshotTable, show_key};
use crate::error::Result;
use crate::storage::sorter::sort;

/// How many dates that fail the round trip are read a second time.
const SECOND_LOOKS: usize = 5;

impl Verification<'_> {
    /// Holds the expansion of an observed date against its snapshot.
    pub(super) fn round_trip(
        &mut self,
        intervals: &Intervals,
        at: usize,
        job: &SnapshotCheck<'_>,
        look: &SnapshotFindings,
        expanded: RowSum,
    ) {
        let stands = look.recorded.unwrap_or_else(|| look.whole.fingerprint());
        let observed = &intervals.footer.observed[at];
        let types_of =
            |schema: SchemaRef| (self.table.as_declared(&schema) == schema).then_some(());
        if intervals.schema_of(at).ok().and_then(types_of).is_none() {
            let what = format!(
                "the types of table {} were declared since; asof compact {0}",
                self.table.name
            );
            return self.problem(Some(job.date), ProblemKind::Stale, what);
        }
        if !observed.is(stands) {
            let what = format!(
                "the snapshot of {} was rewritten since; asof compact {}",
                job.date, self.table.name
            );
            return self.problem(Some(job.date), ProblemKind::Stale, what);
        }
        if look.compared.fingerprint() == expanded.fingerprint() {
            self.proof.round_trips += 1;
            return;
        }
        let mut what = format!(
            "the intervals give {} rows that are not the snapshot's {}",
            expanded.rows(),
            look.compared.rows()
        );
        if self.second_looks < SECOND_LOOKS {
            self.second_looks += 1;
            let named = second_look(self.table, intervals, job);
            what = format!(
                "{what}: {}",
                named.unwrap_or_else(|error| format!("but the keys cannot be determined: {error}"))
            );
        }
        self.problem(Some(job.date), ProblemKind::RoundTrip, what);
    }

    /// Holds the expansion of a date without a snapshot against what was recorded of it.
    pub(super) fn pruned_round_trip(&mut self, intervals: &Intervals, at: usize, expanded: RowSum) {
        let recorded = &intervals.footer.observed[at];
        if intervals.footer.condition.is_some() {
            // What was recorded is of all rows.
            self.proof.unchecked += 1;
            return;
        }
        let same_rows = expanded.rows() == recorded.rows;
        match (intervals.compares_all(), same_rows) {
            (true, true) if expanded.fingerprint() == recorded.fingerprint => {
                self.proof.round_trips += 1;
                self.proof.pruned += 1;
            }
            (false, true) => self.proof.counted_only += 1,
            (_, same_rows) => {
                let what = if same_rows {
                    "the rows of the intervals do not match the recorded fingerprint".to_owned()
                } else {
                    format!(
                        "the intervals give {} rows, and {} were recorded",
                        expanded.rows(),
                        recorded.rows
                    )
                };
                self.problem(
                    Some(recorded.date),
                    ProblemKind::RoundTrip,
                    format!("{what}; the snapshot is no longer in the lake"),
                );
            }
        }
    }
}

/// Names up to five keys by which the intervals differ from a snapshot.
fn second_look(
    table: &SnapshotTable,
    intervals: &Intervals,
    job: &SnapshotCheck<'_>,
) -> Result<String> {
    let snapshot = table.open(job.date, job.objects, job.pinned.as_ref())?;
    let selection = intervals.selection();
    let selected = SelectedRows::new(&selection)?;
    let own = selection.kept(&snapshot.schema);
    let (schema, _) = unify(&intervals.table_schema(), &own)
        .map_err(|clash| clash.refusal(table.name.as_str(), job.date))?;
    // Intervals are in the unit that holds every timestamp.
    let known = intervals.table_schema();
    let coarser = |name: &str| {
        let known = known.field_with_name(name).ok()?.data_type();
        let wide = schema.field_with_name(name).ok()?.data_type();
        (*known == in_microseconds(wide)).then_some(known)
    };
    let schema = with_types(&schema, coarser);
    let key = &intervals.footer.key;
    let names = intervals.comparison().columns(&schema);
    let encoder = KeyEncoder::new(&schema, key)?;
    let keyed = |batch: Result<RecordBatch>| -> Result<KeyedBatch> {
        let batch = batch?;
        let digests = row_digests(&batch, names.iter().map(String::as_str))?;
        KeyedBatch::new(&encoder, batch, digests)
    };
    let mut expanded = sort(intervals.as_of(job.date, None)?, key, &schema)?.map(keyed);
    let stands = snapshot
        .read(None)?
        .map(move |batch| Ok(selected.of(&batch?)?.0));
    let mut stands = sort(Box::new(stands), key, &schema)?.map(keyed);
    let mut differing = Finding::default();
    diff(&mut expanded, &mut stands, |difference| {
        differing.add(|| match difference {
            Difference::Added(batch, row) => {
                format!("{} is missing in the intervals", show_key(batch, key, row))
            }
            Difference::Removed(batch, row) => {
                format!("{} is only in the intervals", show_key(batch, key, row))
            }
            Difference::Changed(ours, theirs) => {
                format!(
                    "{} differs in {}",
                    show_key(theirs.0, key, theirs.1),
                    differing_columns(ours, theirs, &names)
                )
            }
        });
        Ok(())
    })?;
    Ok(differing.sentence(["key", "keys"]))
}

/// `price (21, and 22 in the snapshot)`, for each column in which two rows differ.
fn differing_columns(
    ours: (&RecordBatch, usize),
    theirs: (&RecordBatch, usize),
    names: &[String],
) -> String {
    let digests = |(batch, row): (&RecordBatch, usize)| {
        digests_by_column(&batch.slice(row, 1), names.iter().map(String::as_str)).ok()
    };
    let value = |(batch, row): (&RecordBatch, usize), name: &str| match batch.column_by_name(name) {
        Some(column) if column.is_valid(row) => quoted(column, row),
        _ => "null".to_owned(),
    };
    let (Some(our_cells), Some(their_cells)) = (digests(ours), digests(theirs)) else {
        return String::new();
    };
    let cells = our_cells.iter().zip(&their_cells);
    let differing = names
        .iter()
        .zip(cells)
        .filter(|(_, (our, their))| our != their);
    differing
        .map(|(name, _)| {
            format!(
                "{name} ({}, and {} in the snapshot)",
                value(ours, name),
                value(theirs, name)
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}
