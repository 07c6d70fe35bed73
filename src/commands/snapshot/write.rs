//! Writing the rows, and comparing them with the previous snapshot's in the same pass.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use chrono::NaiveDate;

use super::plan::SnapshotPlan;
use super::previous::Previous;
use super::since_replaced::{ReplacedCopy, SinceReplaced};
use crate::commands::Workspace;
use crate::commands::workspace::PartState;
use crate::domain::cast::conform;
use crate::domain::diff::{KeyedBatch, diff};
use crate::domain::digest::RowSum;
use crate::domain::hash_compaction::Changes;
use crate::domain::key_order::KeyEncoder;
use crate::engine::changes::ChangesWriter;
use crate::engine::column_guards::ColumnCounter;
use crate::engine::duplicate_keys::DuplicateKeys;
use crate::engine::table::{Snapshot, SnapshotTable, all_digests, convert};
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::parallel::each;
use crate::storage::Batches;
use crate::storage::parquet::object::with_dictionaries;
use crate::storage::parquet::writer::ObjectWriter;
use crate::storage::sorter::sort;

/// What was found out while rows were written.
pub(super) struct WrittenRows {
    pub(super) sum: RowSum,
    /// That of the previous snapshot.
    pub(super) sum_before: RowSum,
    /// What changed since then.
    pub(super) changes: Option<Changes>,
    /// What changed since the copy that is replaced.
    pub(super) replaced: Option<SinceReplaced>,
    /// The refusal of keys that stand twice. All rows are written all the same.
    pub(super) duplicate_keys: Option<Error>,
    /// Why the previous snapshot was not compared to its end, if it is damaged.
    pub(super) damaged: Option<Error>,
}

/// What the rows go through as they are written.
pub(super) struct RowSinks<'a> {
    pub(super) writer: &'a mut ObjectWriter,
    /// Counts what the guards of columns are about.
    pub(super) counter: &'a mut ColumnCounter,
    /// Records what changed, if that can be proven later.
    pub(super) recorder: Option<&'a mut ChangesWriter>,
}

/// What the rows are compared with as they are written.
pub(super) struct EarlierCopies {
    /// The latest snapshot before.
    pub(super) previous: Option<Snapshot>,
    /// The copy of the same date that is replaced.
    pub(super) replaced: Option<ReplacedCopy>,
}

impl EarlierCopies {
    /// Those that a planned snapshot with these columns is compared with.
    pub(super) fn new(
        plan: &SnapshotPlan<'_>,
        previous: Option<Previous>,
        schema: &SchemaRef,
    ) -> Self {
        EarlierCopies {
            previous: previous.map(|previous| previous.snapshot),
            replaced: ReplacedCopy::open(plan, schema),
        }
    }
}

/// Writes sorted rows. Compares them in the same pass with those of the previous snapshot, both in
/// the types of `comparison`, and with the copy that is replaced. If the previous snapshot is
/// damaged, the rows are written without the comparison.
pub(super) fn write(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    sorted: Batches,
    earlier: EarlierCopies,
    comparison: &SchemaRef,
    mut sinks: RowSinks<'_>,
) -> Result<WrittenRows> {
    let EarlierCopies {
        previous,
        mut replaced,
    } = earlier;
    let SnapshotPlan { table, date, .. } = plan;
    let keying = Arc::new(Keying::new(table, *date, comparison)?);
    let mut sum = RowSum::default();
    let mut sum_before = RowSum::default();
    let mut duplicates = DuplicateKeys::default();
    let progress = workspace.progress;
    let mut later = keying.clone().each(sorted, *date)?.map(|rows| {
        let (keyed, batch) = rows?;
        sum.add(&keyed.digests);
        progress.part(table.name.as_str(), PartState::Writing(sum.rows()));
        duplicates.look(&keyed.batch, &keyed.keys, &table.key);
        replaced.iter_mut().try_for_each(|copy| copy.see(&keyed))?;
        sinks.counter.see(&batch)?;
        sinks.writer.write(batch)?;
        Ok(keyed)
    });
    let mut damaged = None;
    let mut changes = None;
    if let Some(previous) = previous {
        let before = previous.date;
        let rows = unless_damaged(in_order(previous, &table.key, comparison), &mut damaged)?;
        let mut earlier = keying.each(rows, before)?.map(|rows| {
            let (keyed, _) = rows.inspect_err(|error| {
                damaged = error.is_damage().then(|| error.duplicate());
            })?;
            sum_before.add(&keyed.digests);
            Ok(keyed)
        });
        let compared = diff(&mut earlier, &mut later, |difference| {
            sinks
                .recorder
                .iter_mut()
                .for_each(|recorder| recorder.see(&difference));
            Ok(())
        });
        drop(earlier);
        changes = match compared {
            _ if damaged.is_some() => None,
            compared => Some(compared?),
        };
    }
    // All that was not compared is written, too.
    later.try_for_each(|batch| batch.map(|_: KeyedBatch| ()))?;
    drop(later);
    let replaced = replaced.map_or(Ok(None), ReplacedCopy::finish)?;
    let duplicate_keys = duplicates.refusal(table, *date);
    Ok(WrittenRows {
        duplicate_keys: duplicate_keys.map(|error| error.hint(table.latest_hint())),
        sum,
        sum_before,
        changes,
        replaced,
        damaged,
    })
}

/// The rows that were opened; none, and `damaged` has the error, if what they are of is damaged.
fn unless_damaged(opened: Result<Batches>, damaged: &mut Option<Error>) -> Result<Batches> {
    match opened {
        Err(error) if error.is_damage() => {
            *damaged = Some(error);
            Ok(Box::new(std::iter::empty()))
        }
        opened => opened,
    }
}

/// The rows of the previous snapshot in the order of the key, with texts in dictionaries where that
/// is faster. It is sorted by its own key, which need not be today's.
pub(super) fn in_order(
    previous: Snapshot,
    key: &[String],
    comparison: &SchemaRef,
) -> Result<Batches> {
    if previous.is_sorted_by(key) {
        previous.read_alone_in_dictionaries(key)
    } else {
        sort(previous.read_alone(None)?, key, comparison)
    }
}

/// What is worked out of each batch before it is compared.
pub(super) struct Keying {
    pub(super) encoder: KeyEncoder,
    pub(super) table: TableName,
    /// The date of the new snapshot.
    pub(super) date: NaiveDate,
    /// The types in which both snapshots are compared.
    pub(super) comparison: SchemaRef,
    /// The columns of text that are not in the key, which may come in dictionaries.
    texts: HashSet<String>,
}

impl Keying {
    pub(super) fn new(
        table: &SnapshotTable,
        date: NaiveDate,
        comparison: &SchemaRef,
    ) -> Result<Self> {
        let is_text = |field: &&FieldRef| {
            field.data_type() == &DataType::Utf8 && !table.key.contains(field.name())
        };
        let texts = comparison.fields().iter().filter(is_text);
        Ok(Keying {
            encoder: KeyEncoder::new(comparison, &table.key)?,
            table: table.name.clone(),
            date,
            comparison: comparison.clone(),
            texts: texts.map(|field| field.name().clone()).collect(),
        })
    }

    /// The types in which a batch is compared: its texts stay in their dictionaries.
    fn comparison_of(&self, batch: &RecordBatch) -> SchemaRef {
        let is_kept = |field: &FieldRef| {
            matches!(field.data_type(), DataType::Dictionary(..))
                && self.texts.contains(field.name())
        };
        let own = batch.schema_ref().fields().iter();
        let texts: Vec<String> = own
            .filter(|field| is_kept(field))
            .map(|field| field.name().clone())
            .collect();
        match texts.is_empty() {
            true => self.comparison.clone(),
            false => with_dictionaries(&self.comparison, &texts),
        }
    }

    /// The batches of a date, each with its keys and digests, which are made on all processors.
    pub(super) fn each(
        self: Arc<Self>,
        rows: Batches,
        date: NaiveDate,
    ) -> Result<impl Iterator<Item = Result<(KeyedBatch, RecordBatch)>>> {
        each(rows, move |batch| {
            let digests = all_digests(&batch)?;
            let comparison = self.comparison_of(&batch);
            let compared = convert(&batch, &self.table, date, &comparison)?;
            let compared = conform(&compared, &comparison)?;
            let keyed = KeyedBatch::new(&self.encoder, compared, digests)?;
            Ok((keyed, batch))
        })
    }
}
