//! What a snapshot changed, as a small object beside the snapshots, so that whoever knows the
//! snapshot before need not decode this one.
//!
//! ```text
//! <lake>/<table>/_changes/snapshot_date=2024-09-13/<table>.parquet
//! ```
//!
//! It has the rows in which the snapshot differs from the one before: those that came and went, and
//! of those that changed both. They are in order of the key, with every column, and with a column
//! `_change_type` as in Delta Lake's change data feed: `insert`, `delete`, `update_preimage` and,
//! right behind it, `update_postimage`.
//!
//! **Verified before use.** The footer tells the sum of the digests of the rows before
//! ([`RowSum`]). That sum must give the fingerprint that the earlier snapshot's footer tells, and,
//! less the rows that went and with those that came, the fingerprint that the later one's tells.
//! Otherwise the object is as if it were not there, and the snapshot is decoded. So it may be
//! deleted at any time. Whoever uses the rows also checks that they are in order, and that two
//! images have one key.
//!
//! It is written if the snapshot before has more than one batch of rows, and few changed: else
//! decoding costs no more. A failure to write it is not a failure of the snapshot.
//!
//! Memory: to write, two batches; to read, the object's rows, up to a limit that the reader sets.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use tracing::debug;

use super::table::{Snapshot, SnapshotTable, all_digests};
use crate::domain::cast::conform;
use crate::domain::diff::{Difference, KeyedBatch, diff};
use crate::domain::digest::{Fingerprint, RowSum};
use crate::domain::key_order::KeyEncoder;
use crate::domain::schema::unify;
use crate::error::{Context, Error, Result};
use crate::model::DateRange;
use crate::storage::lake::commit::Staged;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::{self, Found};
use crate::storage::lake::paths;
use crate::storage::parquet::footer::{ChangesFooter, Content, Footer, SnapshotFooter};
use crate::storage::parquet::object::{BATCH_ROWS, ParquetObject};
use crate::storage::parquet::writer::ObjectWriter;

/// The column that says what was done to a row.
pub const CHANGE_TYPE: &str = "_change_type";
/// One row in so many of the snapshot before, at most, is worth an object.
const RARE: u64 = 4;

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    /// The row of a key that came.
    Insert,
    /// The row of a key that went.
    Delete,
    /// The row of a key that changed, as it was before.
    UpdatePreimage,
    /// The same row, as it is now; it follows the other.
    UpdatePostimage,
}

impl ChangeType {
    const ALL: [ChangeType; 4] = [
        ChangeType::Insert,
        ChangeType::Delete,
        ChangeType::UpdatePreimage,
        ChangeType::UpdatePostimage,
    ];

    fn name(self) -> &'static str {
        match self {
            ChangeType::Insert => "insert",
            ChangeType::Delete => "delete",
            ChangeType::UpdatePreimage => "update_preimage",
            ChangeType::UpdatePostimage => "update_postimage",
        }
    }

    /// Whether the row is one of the later snapshot.
    fn is_later(self) -> bool {
        matches!(self, ChangeType::Insert | ChangeType::UpdatePostimage)
    }
}

/// The folder of a table's changes, if asof keeps its snapshots.
fn root(table: &SnapshotTable) -> Option<Location> {
    paths::changes(&table.root).filter(|_| table.own)
}

/// The objects of a range of dates, of a table that asof keeps.
///
/// # Errors
/// A failure if they cannot be listed.
pub fn find(table: &SnapshotTable, range: DateRange) -> Result<Found> {
    root(table).map_or_else(
        || Ok(Found::default()),
        |root| partitions::find_if_there(&root, &table.layout, Some(range)),
    )
}

/// Removes what the snapshot of a date changed, if it is recorded: before the snapshot itself is
/// deleted, which nobody will decode again.
///
/// # Errors
/// A failure of the disk or the store.
pub fn remove(table: &SnapshotTable, date: NaiveDate) -> Result<()> {
    let Some(root) = root(table) else {
        return Ok(());
    };
    let path = object(&root, table, date);
    path.remove()?;
    path.remove_empty_folders(&root);
    Ok(())
}

/// Where the changes of one snapshot are.
fn object(root: &Location, table: &SnapshotTable, date: NaiveDate) -> Location {
    paths::partition(root, date).join(&format!("{}.parquet", table.name))
}

/// The rows in which two states of a table differ, each with what was done to it, in batches.
pub struct ChangeRows {
    /// The columns of the table.
    table: SchemaRef,
    /// Those, and the column that says what was done.
    schema: SchemaRef,
    /// The batches that rows were picked from, of the state before and of the one after.
    batches: [Option<RecordBatch>; 2],
    picked: Vec<(usize, usize, ChangeType)>,
}

impl ChangeRows {
    /// For rows of a schema; nothing if it has a column of the name that says what was done.
    pub fn new(schema: &Schema) -> Option<Self> {
        if schema.field_with_name(CHANGE_TYPE).is_ok() {
            return None;
        }
        let change_type = Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, false));
        let fields = schema.fields().iter().cloned().chain([change_type]);
        Some(ChangeRows {
            table: Arc::new(schema.clone()),
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            batches: [None, None],
            picked: Vec::new(),
        })
    }

    /// The columns of the table, and behind them the one that says what was done.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes a difference; they come in order of the key. Returns the rows of those before it, once
    /// one of their batches is over.
    ///
    /// # Errors
    /// An internal failure.
    pub fn see(&mut self, difference: &Difference<'_>) -> Result<Option<RecordBatch>> {
        let rows = match difference {
            Difference::Added(batch, row) => [Some((1, *batch, *row, ChangeType::Insert)), None],
            Difference::Removed(batch, row) => [Some((0, *batch, *row, ChangeType::Delete)), None],
            Difference::Changed((before, before_row), (after, after_row)) => [
                Some((0, *before, *before_row, ChangeType::UpdatePreimage)),
                Some((1, *after, *after_row, ChangeType::UpdatePostimage)),
            ],
        };
        let is_over = rows.iter().flatten().any(|(side, batch, ..)| {
            let held = self.batches[*side].as_ref();
            held.is_some_and(|held| !Arc::ptr_eq(held.column(0), batch.column(0)))
        });
        let before = match is_over || self.picked.len() >= BATCH_ROWS {
            true => self.flush()?,
            false => None,
        };
        for (side, batch, row, change_type) in rows.into_iter().flatten() {
            self.batches[side] = Some(batch.clone());
            self.picked.push((side, row, change_type));
        }
        Ok(before)
    }

    /// The rows that were not returned yet.
    ///
    /// # Errors
    /// An internal failure.
    pub fn flush(&mut self) -> Result<Option<RecordBatch>> {
        let picked = std::mem::take(&mut self.picked);
        let batches = std::mem::take(&mut self.batches);
        if picked.is_empty() {
            return Ok(None);
        }
        let sides: Vec<usize> = (0..2).filter(|side| batches[*side].is_some()).collect();
        let batches = batches.into_iter().flatten().zip(&sides);
        let batches = batches
            .map(|(batch, side)| self.picked_from(*side, &batch, &picked))
            .collect::<Result<Vec<_>>>()?;
        let mut next = vec![0..; sides.len()];
        let place = |(side, ..): &(usize, usize, ChangeType)| {
            let held = sides.iter().position(|known| known == side)?;
            Some((held, next[held].next()?))
        };
        let places: Vec<(usize, usize)> = picked.iter().filter_map(place).collect();
        let doing = || "cannot pick rows".to_owned();
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        let rows = interleave_record_batch(&batches, &places).io_context(doing)?;
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(
            picked.iter().map(|(.., change_type)| change_type.name()),
        ));
        let columns = rows.columns().iter().cloned().chain([names]).collect();
        let rows = RecordBatch::try_new(self.schema.clone(), columns).io_context(doing)?;
        Ok(Some(rows))
    }

    /// The rows that were picked from the batch of one side, in their order and in the table's
    /// types, so no longer in dictionaries.
    fn picked_from(
        &self,
        side: usize,
        batch: &RecordBatch,
        picked: &[(usize, usize, ChangeType)],
    ) -> Result<RecordBatch> {
        let of_side = picked.iter().filter(|(of, ..)| *of == side);
        let rows = UInt64Array::from_iter_values(of_side.map(|(_, row, _)| *row as u64));
        let rows = take_record_batch(batch, &rows).io_context(|| "cannot pick rows".into())?;
        conform(&rows, &self.table)
    }

    fn clear(&mut self) {
        (self.picked, self.batches) = (Vec::new(), [None, None]);
    }
}

/// Writes the changes of one snapshot while they are found.
pub struct ChangesWriter {
    path: Location,
    differing: ChangeRows,
    most: u64,
    rows: u64,
    key: Vec<String>,
    writer: Option<(Staged, ObjectWriter)>,
    /// It failed, or there are too many.
    is_over: bool,
}

impl ChangesWriter {
    /// For the snapshot of a date, after one that has some rows. `schema` is that of the rows on
    /// both sides.
    ///
    /// Nothing, if the changes are not worth an object, or the table is none that asof keeps.
    pub fn new(
        table: &SnapshotTable,
        date: NaiveDate,
        rows_before: u64,
        schema: &Schema,
    ) -> Option<Self> {
        if rows_before <= BATCH_ROWS as u64 {
            return None;
        }
        Some(ChangesWriter {
            path: object(&root(table)?, table, date),
            differing: ChangeRows::new(schema)?,
            most: rows_before / RARE,
            rows: 0,
            key: table.key.clone(),
            writer: None,
            is_over: false,
        })
    }

    /// Takes a difference; they come in order of the key.
    pub fn see(&mut self, difference: &Difference<'_>) {
        self.rows += match difference {
            Difference::Changed(..) => 2,
            Difference::Added(..) | Difference::Removed(..) => 1,
        };
        if self.is_over || self.rows > self.most {
            self.give_up();
            return;
        }
        let seen = match self.differing.see(difference) {
            Ok(None) => Ok(()),
            Ok(Some(rows)) => self.write(rows),
            Err(error) => Err(error),
        };
        if let Err(error) = seen {
            debug!(path = %self.path, %error, "changes are not recorded");
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        (self.is_over, self.writer) = (true, None);
        self.differing.clear();
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let (_, writer) = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let staged = Staged::create(&self.path)?;
                let schema = self.differing.schema();
                let writer = ObjectWriter::create(staged.writer()?, schema, &self.key, &self.path)?;
                none.insert((staged, writer))
            }
        };
        writer.write(rows)
    }

    /// Publishes the object, unless there are no changes or too many; a failure is only logged.
    /// `sum` is that of the rows before.
    pub fn publish(
        mut self,
        table: &SnapshotTable,
        before: &SnapshotFooter,
        sum: RowSum,
        after: &SnapshotFooter,
    ) {
        let path = self.path.clone();
        let log = |error: Error| debug!(%path, %error, "changes are not recorded");
        let rest = match self.differing.flush() {
            Ok(None) => Ok(()),
            Ok(Some(rows)) => self.write(rows),
            Err(error) => Err(error),
        };
        if let Err(error) = rest {
            return log(error);
        }
        if self.is_over {
            return debug!(%path, "changes are not recorded: there are too many");
        }
        let footer = ChangesFooter {
            table: table.name.to_string(),
            snapshot_date: after.snapshot_date,
            key: table.key.clone(),
            fingerprint: after.fingerprint,
            previous_date: before.snapshot_date,
            previous_fingerprint: before.fingerprint,
            previous_rows: sum.rows(),
            previous_sum: Fingerprint(sum.sum()),
            asof_version: env!("CARGO_PKG_VERSION").into(),
        };
        if let Some((staged, writer)) = self.writer
            && let Err(error) = writer
                .finish(&Footer::new(Content::Changes(footer)))
                .and_then(|_| staged.publish_over())
        {
            log(error);
        }
    }
}

/// Records what a snapshot of a table that asof keeps changed, for lakes that were not filled by
/// `asof snapshot`; both are sorted by the table's key.
///
/// # Errors
/// A failure or refusal of reading them.
pub fn record(table: &SnapshotTable, before: Snapshot, after: Snapshot) -> Result<()> {
    let (Some(earlier), Some(later)) = (before.footer.clone(), after.footer.clone()) else {
        return Ok(());
    };
    let schema = unify(&before.schema, &after.schema)
        .map_err(|clash| clash.refusal(table.name.as_str(), after.date))?
        .0;
    let Some(mut writer) = ChangesWriter::new(table, after.date, earlier.rows, &schema) else {
        return Ok(());
    };
    let encoder = KeyEncoder::new(&schema, &table.key)?;
    let keyed = |batch: &RecordBatch, sum: &mut RowSum| -> Result<KeyedBatch> {
        let digests = all_digests(batch)?;
        sum.add(&digests);
        KeyedBatch::new(&encoder, conform(batch, &schema)?, digests)
    };
    let mut sum = RowSum::default();
    let mut ignored = RowSum::default();
    let mut befores = before.read(None)?.map(|batch| keyed(&batch?, &mut sum));
    let mut afters = after.read(None)?.map(|batch| keyed(&batch?, &mut ignored));
    diff(&mut befores, &mut afters, |difference| {
        writer.see(&difference);
        Ok(())
    })?;
    drop(befores);
    writer.publish(table, &earlier, sum, &later);
    Ok(())
}

/// The rows of a changes object, verified to be what they say.
pub struct RecordedChanges {
    /// The rows, in order of the key.
    pub rows: RecordBatch,
    /// What was done to each.
    pub types: Vec<ChangeType>,
}

/// Reads the changes from the snapshot `before` to the snapshot `after`, if they are verified, and
/// are not more than `limit` bytes in memory.
pub fn read(
    table: &SnapshotTable,
    object: &Object,
    before: Fingerprint,
    after: Fingerprint,
    limit: u64,
) -> Option<RecordedChanges> {
    // Whatever is wrong with it, the snapshot itself can be read instead.
    let path = &object.location;
    let instead = "recorded changes are passed over, and the snapshot is read";
    match read_verified(table, object, before, after, limit) {
        Ok(Some(changes)) => Some(changes),
        Ok(None) => {
            debug!(%path, "{instead}: they are too large, or not those of these two snapshots");
            None
        }
        Err(error) => {
            debug!(%path, %error, "{instead}");
            None
        }
    }
}

fn read_verified(
    table: &SnapshotTable,
    object: &Object,
    before: Fingerprint,
    after: Fingerprint,
    limit: u64,
) -> Result<Option<RecordedChanges>> {
    let object = ParquetObject::open_listed(object)?;
    let Some(Content::Changes(footer)) = object.footer()?.map(|footer| footer.content) else {
        return Ok(None);
    };
    let mut sum = RowSum::of(footer.previous_sum.0, footer.previous_rows);
    let is_of_these = footer.table == table.name.as_str()
        && footer.key == table.key
        && sum.fingerprint() == before;
    if !is_of_these || object.bytes_in_memory(None) > limit {
        return Ok(None);
    }
    let schema = object.schema().clone();
    let batches = object.read(None)?.collect::<Result<Vec<_>>>()?;
    let all = concat_batches(&schema, &batches).io_context(|| "cannot read changes".into())?;
    let at = schema
        .index_of(CHANGE_TYPE)
        .io_context(|| format!("there is no column '{CHANGE_TYPE}'"))?;
    let columns: Vec<usize> = (0..schema.fields().len())
        .filter(|column| *column != at)
        .collect();
    let rows = all
        .project(&columns)
        .io_context(|| "cannot read changes".into())?;
    let Some(names) = all.column(at).as_string_opt::<i32>() else {
        return Ok(None);
    };
    let known = |name: Option<&str>| {
        ChangeType::ALL
            .into_iter()
            .find(|change_type| name == Some(change_type.name()))
    };
    let Some(types) = names.iter().map(known).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    for (digest, change_type) in all_digests(&rows)?.into_iter().zip(&types) {
        match change_type.is_later() {
            true => sum.add(&[digest]),
            false => sum.take(digest),
        }
    }
    Ok((sum.fingerprint() == after).then_some(RecordedChanges { rows, types }))
}

impl RecordedChanges {
    /// The rows by key: the position of what the snapshot before had, and of what this one has.
    ///
    /// # Errors
    /// A refusal of images that have no pair.
    pub fn pairs(&self) -> Result<Vec<(Option<usize>, Option<usize>)>> {
        let unpaired = || Error::refused("an image of a changed row lacks the other one");
        let mut pairs = Vec::with_capacity(self.types.len());
        let mut types = self.types.iter().enumerate();
        while let Some((row, change_type)) = types.next() {
            pairs.push(match change_type {
                ChangeType::Insert => (None, Some(row)),
                ChangeType::Delete => (Some(row), None),
                ChangeType::UpdatePreimage => match types.next() {
                    Some((after, ChangeType::UpdatePostimage)) => (Some(row), Some(after)),
                    _ => return Err(unpaired()),
                },
                ChangeType::UpdatePostimage => return Err(unpaired()),
            });
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int64Array};
    use arrow::compute::cast;

    use super::*;

    fn batch(texts: &[Option<&str>], in_dictionary: bool) -> RecordBatch {
        let ids = Int64Array::from_iter_values(0..texts.len() as i64);
        let plain: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let few = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let texts = match in_dictionary {
            true => cast(&plain, &few).expect("a dictionary"),
            false => plain,
        };
        let ids: ArrayRef = Arc::new(ids);
        RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("text", texts, true)])
            .expect("a batch")
    }

    fn shown(rows: &RecordBatch) -> Vec<String> {
        let text = |at: usize, row: usize| {
            let texts = rows.column(at).as_string::<i32>();
            if texts.is_valid(row) {
                texts.value(row)
            } else {
                "null"
            }
        };
        let show = |row: usize| format!("{} {}", text(2, row), text(1, row));
        (0..rows.num_rows()).map(show).collect()
    }

    #[test]
    fn rows_are_picked_from_batches_in_dictionaries_and_without() {
        let schema = batch(&[None], false).schema();
        for (before_in, after_in) in [(true, false), (false, true), (true, true), (false, false)] {
            let before = batch(&[Some("a"), Some("b"), None, Some("a")], before_in);
            let after = batch(&[Some("c"), Some("b"), Some("d"), None], after_in);
            let later = batch(&[Some("e"), Some("a")], after_in);
            let mut picked = ChangeRows::new(&schema).expect("no column of the name");
            let mut seen = |difference| {
                let rows = picked.see(&difference).expect("picked");
                rows.as_ref().map(shown)
            };
            assert_eq!(seen(Difference::Changed((&before, 0), (&after, 0))), None);
            assert_eq!(seen(Difference::Removed(&before, 2)), None);
            assert_eq!(seen(Difference::Added(&after, 2)), None);
            assert_eq!(seen(Difference::Changed((&before, 3), (&after, 3))), None);
            let first = seen(Difference::Changed((&before, 3), (&later, 1)));
            let expected = [
                "update_preimage a",
                "update_postimage c",
                "delete null",
                "insert d",
                "update_preimage a",
                "update_postimage null",
            ];
            assert_eq!(first, Some(expected.map(str::to_owned).to_vec()));
            let rest = picked.flush().expect("picked").expect("rows");
            assert_eq!(rest.schema(), *picked.schema());
            assert_eq!(shown(&rest), ["update_preimage a", "update_postimage a"]);
            assert!(picked.flush().expect("picked").is_none());
        }
    }
}
