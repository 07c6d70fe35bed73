//! Digesting the batches of a snapshot, and dividing their keys into parts.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use crate::domain::digest::RowSum;
use crate::domain::schema::by_name;
use crate::engine::compaction::observer::SnapshotObserver;
use crate::engine::compaction::pass::Pass;
use crate::engine::digests::row_digests;
use crate::engine::table::{SnapshotTable, all_digests};
use crate::engine::table_part::ChooseRows;
use crate::error::{Context, Result};
use crate::phases::Phase;

/// The most parts that keys are divided into.
pub(super) const PARTS: u32 = 256;

/// Which of a number of parts a key belongs to.
pub(super) fn part_of(key: u128, parts: u32) -> u32 {
    let high = u32::try_from(key >> 120).unwrap_or(0);
    high * parts / PARTS
}

/// How the batches of one snapshot are digested.
pub(super) struct SnapshotDigester<'a> {
    table: &'a SnapshotTable,
    pub(super) date: NaiveDate,
    compared: Vec<String>,
    /// The compared columns of the snapshot before, if new ones appeared since.
    compared_before: Option<Vec<String>>,
    fingerprint_known: bool,
    /// Which rows count, if not all do.
    choose: Option<&'a ChooseRows>,
    /// Whether the sum is of the rows as they are before those are chosen.
    sums_whole: bool,
    /// The part of the keys that is taken, and how many parts there are.
    part: std::ops::Range<u32>,
}

/// A batch of a snapshot, of one part of the keys, with all that the pass needs of it.
pub(super) struct DigestedBatch {
    pub(super) batch: RecordBatch,
    pub(super) keys: Vec<u128>,
    pub(super) rows: Vec<u128>,
    pub(super) without_new: Option<Vec<u128>>,
    /// Of the rows of all parts.
    pub(super) sum: RowSum,
}

impl<'a> SnapshotDigester<'a> {
    pub(super) fn new(
        pass: &'a Pass<'_>,
        date: NaiveDate,
        seen: &SnapshotObserver<'_>,
        schema: &SchemaRef,
        fingerprint_known: bool,
        part: std::ops::Range<u32>,
    ) -> Self {
        let comparison = &pass.settings.comparison;
        let kept = pass.kept(schema);
        let before = seen
            .facts
            .observed
            .last()
            .and_then(|observed| seen.facts.schemas.get(observed.schema));
        let before = before.map(|last| pass.kept(last));
        let appeared = |last: &SchemaRef| {
            let last = by_name(last);
            let mut fields = kept.fields().iter();
            fields.any(|field| !last.contains_key(field.name().as_str()))
        };
        SnapshotDigester {
            table: pass.table,
            date,
            compared: comparison.columns(&kept),
            compared_before: before
                .filter(appeared)
                .map(|last| comparison.columns(&last)),
            fingerprint_known,
            choose: pass.part.map(|part| &part.rows),
            sums_whole: pass.observes_part(),
            part,
        }
    }

    /// Digests a batch, and leaves in it the rows that are taken.
    pub(super) fn digest(&self, batch: RecordBatch) -> Result<DigestedBatch> {
        let mut sum = RowSum::default();
        if self.sums_whole && !self.fingerprint_known {
            sum.add(&all_digests(&batch)?);
        }
        let batch = self.chosen(batch)?;
        let keys = self.table.keys(&batch, self.date)?;
        let rows = row_digests(&batch, self.compared.iter().map(String::as_str))?;
        let without_new = match &self.compared_before {
            Some(before) => Some(row_digests(&batch, before.iter().map(String::as_str))?),
            None => None,
        };
        let compares_all = self.compared.len() == batch.num_columns();
        if self.sums_whole {
            // What is known of the whole snapshot is in its footer, or was summed up.
        } else if self.fingerprint_known || compares_all {
            sum.add(&rows);
        } else {
            sum.add(&all_digests(&batch)?);
        }
        let digested = DigestedBatch {
            batch,
            keys,
            rows,
            without_new,
            sum,
        };
        if self.part.end > 1 {
            digested.of_part(&self.part)
        } else {
            Ok(digested)
        }
    }

    /// The rows that count.
    fn chosen(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some(choose) = self.choose else {
            return Ok(batch);
        };
        match Phase::Query.spend(|| choose(&batch)) {
            Ok((rows, _)) => Ok(rows),
            Err(error) if self.sums_whole => {
                Err(error.within(format!("table {}, {}", self.table.name, self.date)))
            }
            Err(error) => Err(error),
        }
    }
}

impl DigestedBatch {
    /// The rows whose keys are of one part.
    fn of_part(mut self, part: &std::ops::Range<u32>) -> Result<Self> {
        let taken: Vec<bool> = self
            .keys
            .iter()
            .map(|key| part_of(*key, part.end) == part.start)
            .collect();
        let retain = |digests: &mut Vec<u128>| {
            let mut taken = taken.iter();
            digests.retain(|_| taken.next().is_some_and(|taken| *taken));
        };
        retain(&mut self.keys);
        retain(&mut self.rows);
        self.without_new.iter_mut().for_each(retain);
        self.batch = filter_record_batch(&self.batch, &BooleanArray::from(taken))
            .io_context(|| "cannot select rows".into())?;
        Ok(self)
    }
}
