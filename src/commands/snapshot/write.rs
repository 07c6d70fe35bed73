//! Writing the rows, and comparing them with the previous snapshot's in the same pass.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use crate::domain::cast::conform;
use crate::domain::diff::{KeyedBatch, diff};
use crate::domain::digest::RowSum;
use crate::domain::hash_compaction::Changes;
use crate::domain::key::KeyEncoder;
use crate::engine::changes::ChangesWriter;
use crate::engine::duplicate_keys::DuplicateKeys;
use crate::engine::table::{Snapshot, Table, all_digests, convert};
use crate::error::Result;
use crate::storage::Batches;
use crate::storage::parquet::writer::ObjectWriter;
use crate::storage::sorter::sort;

/// What was found out while rows were written.
pub(super) struct Written {
    pub(super) sum: RowSum,
    /// That of the previous snapshot.
    pub(super) sum_before: RowSum,
    /// What changed since then.
    pub(super) changes: Option<Changes>,
}

/// Writes sorted rows, and compares them with the previous snapshot's in the same pass, both in the
/// types of `comparison`.
pub(super) fn write(
    table: &Table,
    date: NaiveDate,
    sorted: Batches,
    previous: Option<Snapshot>,
    comparison: &SchemaRef,
    writer: &mut ObjectWriter,
    mut recorder: Option<&mut ChangesWriter>,
) -> Result<Written> {
    let encoder = KeyEncoder::new(comparison, &table.key)?;
    let keyed = |batch: &RecordBatch, date: NaiveDate| -> Result<KeyedBatch> {
        let digests = all_digests(batch)?;
        let batch = conform(&convert(batch, &table.name, date, comparison)?, comparison)?;
        KeyedBatch::new(&encoder, batch, digests)
    };
    let mut sum = RowSum::default();
    let mut sum_before = RowSum::default();
    let mut duplicates = DuplicateKeys::default();
    let mut later = sorted.map(|batch| {
        let batch = batch?;
        let keyed = keyed(&batch, date)?;
        sum.add(&keyed.digests);
        duplicates.look(&keyed.batch, &keyed.keys, &table.key);
        writer.write(batch)?;
        Ok(keyed)
    });
    let changes = match previous {
        None => {
            later.try_for_each(|batch| batch.map(|_: KeyedBatch| ()))?;
            None
        }
        Some(previous) => {
            // It is sorted by its own key, which need not be today's.
            let same_key = previous.is_sorted_by(&table.key);
            let before = previous.date;
            let rows = previous.read(None)?;
            let rows = if same_key {
                rows
            } else {
                sort(rows, &table.key, comparison)?
            };
            let mut earlier = rows.map(|batch| {
                let keyed = keyed(&batch?, before)?;
                sum_before.add(&keyed.digests);
                Ok(keyed)
            });
            Some(diff(&mut earlier, &mut later, |difference| {
                recorder
                    .iter_mut()
                    .for_each(|recorder| recorder.see(&difference));
                Ok(())
            })?)
        }
    };
    drop(later);
    if let Some(error) = duplicates.refusal(table, date) {
        return Err(error.hint(table.latest_hint()));
    }
    Ok(Written {
        sum,
        sum_before,
        changes,
    })
}
