//! Reading snapshots: each is whole, in the order of its key, and has what its footer says.
//!
//! Each snapshot is read once, by one of a few threads; beside the problems the sums of its rows
//! are kept, for the round trip.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::{Finding, ProblemKind, null_keys};
use crate::domain::compared_columns::Comparison;
use crate::domain::digest::{Fingerprint, RowSum};
use crate::domain::key_order::{KeyEncoder, KeySequence, KeyStep};
use crate::engine::as_of::{TableInventory, sentence};
use crate::engine::digests::row_digests;
use crate::engine::intervals::Intervals;
use crate::engine::selection::{SelectedRows, Selection};
use crate::engine::table::{Snapshot, SnapshotTable, all_digests, convert, show_key};
use crate::error::{Error, Result};
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::SnapshotFooter;
use crate::storage::parquet::object::ParquetObject;

/// One snapshot to be read.
pub(super) struct SnapshotCheck<'a> {
    pub(super) date: NaiveDate,
    pub(super) objects: &'a [Object],
    /// The types of the snapshots before, for text formats.
    pub(super) pinned: Option<SchemaRef>,
}

/// The snapshots to be read: all of asof's own, and of an external table those that the intervals
/// were made from.
pub(super) fn jobs<'a>(
    inventory: &'a TableInventory,
    intervals: Option<&Intervals>,
) -> Vec<SnapshotCheck<'a>> {
    let partitions = &inventory.found.partitions;
    if inventory.table.own {
        return partitions
            .iter()
            .map(|(date, objects)| SnapshotCheck {
                date: *date,
                objects,
                pinned: None,
            })
            .collect();
    }
    let mut jobs = Vec::new();
    for (at, date) in intervals
        .map(Intervals::observed)
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        if let Some(objects) = partitions.get(&date) {
            jobs.push(SnapshotCheck {
                date,
                objects,
                pinned: intervals.and_then(|intervals| intervals.schema_of(at).ok()),
            });
        }
    }
    jobs
}

/// What of a snapshot is compared with intervals.
pub(super) struct Compared {
    comparison: Comparison,
    selection: Selection,
    /// Selects its rows and columns; nothing if all are selected.
    rows: Option<SelectedRows>,
}

impl Compared {
    /// What intervals are compared with.
    ///
    /// # Errors
    /// A usage error for a condition that is not an expression.
    pub(super) fn new(intervals: &Intervals) -> Result<Self> {
        let selection = intervals.selection();
        let rows = if selection.is_whole() {
            None
        } else {
            Some(SelectedRows::new(&selection)?)
        };
        Ok(Compared {
            comparison: intervals.comparison(),
            selection,
            rows,
        })
    }

    /// The names of the compared columns.
    fn columns(&self, schema: &SchemaRef) -> Vec<String> {
        self.comparison.columns(&self.selection.kept(schema))
    }
}

/// What reading a snapshot showed.
#[derive(Default)]
pub(super) struct SnapshotFindings {
    pub(super) problems: Vec<(ProblemKind, String)>,
    /// Whether it was read to its end.
    pub(super) complete: bool,
    /// Whether it carries checksums, if it is asof's own.
    pub(super) has_checksums: Option<bool>,
    /// The fingerprint that its footer says.
    pub(super) recorded: Option<Fingerprint>,
    /// The sum of its rows over all columns.
    pub(super) whole: RowSum,
    /// The sum of its selected rows over the compared columns.
    pub(super) compared: RowSum,
}

/// Reads a snapshot to its end, or as far as it can be read.
pub(super) fn look(
    table: &SnapshotTable,
    job: &SnapshotCheck<'_>,
    compared: Option<&Compared>,
) -> SnapshotFindings {
    let mut look = SnapshotFindings::default();
    if let Err((kind, error)) = look.read(table, job, compared) {
        look.problems.push((kind, sentence(&error, &table.name)));
    }
    look
}

/// Opens a snapshot; what keeps it from being read is a problem of its footer if it is whole.
fn open(table: &SnapshotTable, job: &SnapshotCheck<'_>) -> Result<Snapshot, (ProblemKind, Error)> {
    if table.own && job.objects.len() > 1 {
        let what = format!(
            "expected one snapshot file, found {}: {}",
            job.objects.len(),
            job.objects[1].location
        );
        return Err((ProblemKind::Unreadable, Error::refused(what)));
    }
    table
        .open(job.date, job.objects, job.pinned.as_ref())
        .map_err(|error| {
            let is_whole = table.own && ParquetObject::open_listed(&job.objects[0]).is_ok();
            let kind = if is_whole {
                ProblemKind::Footer
            } else {
                ProblemKind::Unreadable
            };
            (kind, error)
        })
}

impl SnapshotFindings {
    fn read(
        &mut self,
        table: &SnapshotTable,
        job: &SnapshotCheck<'_>,
        compared: Option<&Compared>,
    ) -> Result<(), (ProblemKind, Error)> {
        let unreadable = |error: Error| (ProblemKind::Unreadable, error);
        let snapshot = open(table, job)?;
        let schema = snapshot.schema.clone();
        let stored = snapshot.stored_schema().clone();
        let footer = snapshot.footer.clone();
        self.has_checksums = snapshot.has_checksums();
        snapshot.verify_unread().map_err(unreadable)?;
        self.recorded = footer.as_ref().map(|footer| footer.fingerprint);
        let key = footer
            .as_ref()
            .map_or(&table.key, |footer| &footer.key)
            .clone();
        let mut order =
            KeyFindings::new(&stored, key).map_err(|error| (ProblemKind::Footer, error))?;
        let selected = compared.and_then(|compared| compared.rows.as_ref());
        let names = compared.map(|compared| compared.columns(&schema));
        let names = names.filter(|names| selected.is_some() || names.len() < schema.fields().len());
        for batch in snapshot.read_stored().map_err(unreadable)? {
            let batch = batch.map_err(unreadable)?;
            self.whole.add(&all_digests(&batch).map_err(unreadable)?);
            if names.is_some() || schema != stored {
                let mut read =
                    convert(&batch, &table.name, job.date, &schema).map_err(unreadable)?;
                if let Some(selected) = selected {
                    read = selected.of(&read).map_err(unreadable)?.0;
                }
                let digests = match &names {
                    Some(names) => row_digests(&read, names.iter().map(String::as_str)),
                    None => all_digests(&read),
                };
                self.compared.add(&digests.map_err(unreadable)?);
            }
            if table.own {
                order.look(&batch).map_err(unreadable)?;
            }
        }
        if names.is_none() && schema == stored {
            self.compared = self.whole;
        }
        self.complete = true;
        self.problems
            .extend(order.in_words().map(|what| (ProblemKind::Keys, what)));
        if let Some(footer) = &footer {
            self.compare_with(footer);
        }
        Ok(())
    }

    /// Compares the rows with what the footer says of them.
    fn compare_with(&mut self, footer: &SnapshotFooter) {
        let rows = self.whole.rows();
        let fingerprint = self.whole.fingerprint();
        if rows != footer.rows {
            self.problems.push((
                ProblemKind::Footer,
                format!("its footer says {} rows, and there are {rows}", footer.rows),
            ));
        } else if fingerprint != footer.fingerprint {
            let what = format!(
                "its footer says fingerprint {}, and its rows give {fingerprint}",
                footer.fingerprint
            );
            self.problems.push((ProblemKind::Footer, what));
        }
    }
}

/// Holds the rows of a snapshot against its key: none null, strictly ascending.
struct KeyFindings {
    key: Vec<String>,
    encoder: KeyEncoder,
    sequence: KeySequence,
    null: Finding,
    twice: Finding,
    unsorted: Finding,
}

impl KeyFindings {
    fn new(schema: &SchemaRef, key: Vec<String>) -> Result<Self> {
        let encoder = KeyEncoder::new(schema, &key)?;
        Ok(KeyFindings {
            key,
            encoder,
            sequence: KeySequence::default(),
            null: Finding::default(),
            twice: Finding::default(),
            unsorted: Finding::default(),
        })
    }

    fn look(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.key.is_empty() || batch.num_rows() == 0 {
            return Ok(());
        }
        let keys = self.encoder.encode(batch)?;
        let nulls = null_keys(batch, &self.key);
        let steps = self.sequence.steps(&keys);
        for (row, (is_null, step)) in nulls.into_iter().zip(steps).enumerate() {
            let show = || show_key(batch, &self.key, row);
            if is_null {
                self.null.add(show);
            }
            match step {
                KeyStep::Ascends => {}
                KeyStep::Repeats => self.twice.add(show),
                KeyStep::Descends => self.unsorted.add(show),
            }
        }
        Ok(())
    }

    fn in_words(&self) -> impl Iterator<Item = String> {
        [
            (
                &self.null,
                ["row has a null in the key", "rows have a null in the key"],
            ),
            (
                &self.twice,
                [
                    "row has the key of the row before it",
                    "rows have the key of the row before them",
                ],
            ),
            (
                &self.unsorted,
                [
                    "row has a key below that of the row before it",
                    "rows have a key below that of the row before them",
                ],
            ),
        ]
        .into_iter()
        .filter(|(finding, _)| finding.count > 0)
        .map(|(finding, what)| finding.sentence(what))
    }
}
