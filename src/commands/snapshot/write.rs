//! Writing the rows, and comparing them with the previous snapshot's in the same pass.

use std::sync::Arc;

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
use crate::model::TableName;
use crate::parallel::each;
use crate::storage::Batches;
use crate::storage::parquet::writer::ObjectWriter;
use crate::storage::sorter::sort;

/// What was found out while rows were written.
pub(super) struct WrittenRows {
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
) -> Result<WrittenRows> {
    let keying = Arc::new(Keying {
        encoder: KeyEncoder::new(comparison, &table.key)?,
        table: table.name.clone(),
        comparison: comparison.clone(),
    });
    let mut sum = RowSum::default();
    let mut sum_before = RowSum::default();
    let mut duplicates = DuplicateKeys::default();
    let mut later = keying.clone().each(sorted, date)?.map(|rows| {
        let (keyed, batch) = rows?;
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
            let rows = previous.read_alone()?;
            let rows = if same_key {
                rows
            } else {
                sort(rows, &table.key, comparison)?
            };
            let mut earlier = keying.each(rows, before)?.map(|rows| {
                let (keyed, _) = rows?;
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
    Ok(WrittenRows {
        sum,
        sum_before,
        changes,
    })
}

/// What is worked out of each batch before it is compared.
struct Keying {
    encoder: KeyEncoder,
    table: TableName,
    /// The types in which both snapshots are compared.
    comparison: SchemaRef,
}

impl Keying {
    /// The batches of a date, each with its keys and digests, which are made on all processors.
    fn each(
        self: Arc<Self>,
        rows: Batches,
        date: NaiveDate,
    ) -> Result<impl Iterator<Item = Result<(KeyedBatch, RecordBatch)>>> {
        each(rows, move |batch| {
            let digests = all_digests(&batch)?;
            let compared = convert(&batch, &self.table, date, &self.comparison)?;
            let compared = conform(&compared, &self.comparison)?;
            let keyed = KeyedBatch::new(&self.encoder, compared, digests)?;
            Ok((keyed, batch))
        })
    }
}
