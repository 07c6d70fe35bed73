//! Intervals with the columns that warehouses expect ([`WarehouseColumns`]), as batches of rows.
//!
//! The rows are those of the intervals, in their order; a record of a deletion follows the interval
//! after which the key was absent. They depend on the intervals alone, so an incremental compaction
//! gives the same rows as a full one.
//!
//! Memory: a batch, and a row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::compaction::interval_schema;
use super::intervals::{IntervalBatch, Intervals};
use crate::domain::days::to_days;
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::{Convention, Interval};
use crate::domain::key_order::{KeyEncoder, KeySequence, KeyStep};
use crate::domain::surrogate_key::{key_texts, surrogate_key};
use crate::domain::warehouse_columns::WarehouseColumns;
use crate::error::{Context, Result};

/// The columns of a table in a warehouse: those of the table, the interval's two, and the others.
pub fn warehouse_schema(intervals: &Intervals, columns: &WarehouseColumns) -> SchemaRef {
    let own = interval_schema(&intervals.table_schema(), &intervals.convention);
    let typed = [
        (&columns.current, DataType::Boolean),
        (&columns.version, DataType::Int64),
        (&columns.surrogate_key, DataType::Utf8),
        (&columns.deleted, DataType::Boolean),
    ];
    let more = typed.into_iter().filter_map(|(name, data_type)| {
        let field = Field::new(name.as_ref()?, data_type, true);
        Some(Arc::new(field))
    });
    let fields = own.fields().iter().cloned().chain(more);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// How many rows there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarehouseCounts {
    /// All of them.
    pub rows: u64,
    /// Those that are records of deletions.
    pub deletions: u64,
}

/// Gives the rows of intervals with the columns that are wanted, in the order of key and start.
///
/// # Errors
/// A failure or refusal of reading; a usage error for a key that has no surrogate key; what `out`
/// fails with.
pub fn warehouse_rows(
    intervals: &Intervals,
    columns: &WarehouseColumns,
    out: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<WarehouseCounts> {
    let table = intervals.table_schema();
    let encoder = KeyEncoder::new(&table, &intervals.footer.key)?;
    let mut export = Export {
        schema: warehouse_schema(intervals, columns),
        columns,
        key: &intervals.footer.key,
        convention: &intervals.convention,
        policy: intervals.footer.gaps.read(),
        observed: intervals.observed(),
        out,
        last: None,
        counts: WarehouseCounts::default(),
    };
    let mut keys = KeySequence::default();
    for batch in intervals.read(None)? {
        let batch = batch?;
        let steps = keys.steps(&encoder.encode(&batch.rows)?);
        export.batch(&batch, &steps)?;
    }
    export.finish()?;
    intervals.object().verify_unread()?;
    Ok(export.counts)
}

/// A row that is given.
#[derive(Clone, Copy)]
struct WarehouseRow {
    /// The row of the batch that has its values.
    at: u32,
    interval: Interval,
    version: i64,
    is_deletion: bool,
}

/// The last row of the batch before.
struct LastRow {
    values: RecordBatch,
    row: WarehouseRow,
}

struct Export<'a> {
    schema: SchemaRef,
    columns: &'a WarehouseColumns,
    key: &'a [String],
    convention: &'a Convention,
    policy: GapPolicy,
    observed: Vec<NaiveDate>,
    out: &'a mut dyn FnMut(RecordBatch) -> Result<()>,
    last: Option<LastRow>,
    counts: WarehouseCounts,
}

impl Export<'_> {
    fn batch(&mut self, batch: &IntervalBatch, steps: &[KeyStep]) -> Result<()> {
        let mut rows: Vec<WarehouseRow> = Vec::with_capacity(batch.intervals.len());
        for (at, (interval, step)) in (0..).zip(batch.intervals.iter().zip(steps)) {
            let next = (*step == KeyStep::Repeats).then_some(interval);
            let before = rows.last().copied().or_else(|| {
                let last = self.last.as_ref();
                last.map(|last| last.row)
            });
            let deletion = before.and_then(|before| self.deletion(&before, next));
            let version = match (next, before) {
                (Some(_), Some(before)) => before.version + 1 + i64::from(deletion.is_some()),
                _ => 1,
            };
            match (deletion, at) {
                // Its values are those of the batch before.
                (Some(deletion), 0) => self.give_held(deletion)?,
                (deletion, _) => rows.extend(deletion),
            }
            rows.push(WarehouseRow {
                at,
                interval: *interval,
                version,
                is_deletion: false,
            });
        }
        self.give(&batch.rows, &rows)?;
        if let Some(row) = rows.last().copied() {
            let values = take_record_batch(&batch.rows, &UInt32Array::from(vec![row.at]));
            self.last = Some(LastRow {
                values: values.internal_context(|| "cannot keep a row".into())?,
                row,
            });
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let last = self.last.as_ref().map(|last| last.row);
        match last.and_then(|last| self.deletion(&last, None)) {
            Some(deletion) => self.give_held(deletion),
            None => Ok(()),
        }
    }

    /// The record of a deletion after a row, if there is to be one; `next` is the key's next
    /// interval.
    fn deletion(&self, row: &WarehouseRow, next: Option<&Interval>) -> Option<WarehouseRow> {
        self.columns.deleted.as_ref()?;
        let end = row.interval.end?;
        let after = self.observed.partition_point(|date| *date <= end);
        let start = *self.observed.get(after)?;
        if next.is_some_and(|next| next.start <= start) {
            return None;
        }
        let end = next.and_then(|next| {
            let back = self.observed.partition_point(|date| *date < next.start);
            let last = self.observed.get(back.checked_sub(1)?)?;
            Some(self.policy.run_end(*last, next.start))
        });
        Some(WarehouseRow {
            at: row.at,
            interval: Interval { start, end },
            version: row.version + 1,
            is_deletion: true,
        })
    }

    /// Gives a row whose values are those of the last row of the batch before.
    fn give_held(&mut self, row: WarehouseRow) -> Result<()> {
        match self.last.take() {
            Some(last) => self.give(&last.values, &[WarehouseRow { at: 0, ..row }]),
            None => Ok(()),
        }
    }

    fn give(&mut self, values: &RecordBatch, rows: &[WarehouseRow]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let places: UInt32Array = rows.iter().map(|row| Some(row.at)).collect();
        let values = take_record_batch(values, &places);
        let values = values.internal_context(|| "cannot choose rows".into())?;
        let mut columns = values.columns().to_vec();
        let starts: Date32Array = rows
            .iter()
            .map(|row| Some(to_days(row.interval.start)))
            .collect();
        let end = |row: &WarehouseRow| self.convention.encode(row.interval.end).map(to_days);
        columns.push(Arc::new(starts));
        columns.push(Arc::new(rows.iter().map(end).collect::<Date32Array>()));
        columns.extend(self.more(&values, rows)?);
        self.counts.rows += rows.len() as u64;
        self.counts.deletions += rows.iter().filter(|row| row.is_deletion).count() as u64;
        let given = RecordBatch::try_new(self.schema.clone(), columns);
        (self.out)(given.internal_context(|| "cannot make rows".into())?)
    }

    /// The columns that are wanted beside the interval's.
    fn more(&self, values: &RecordBatch, rows: &[WarehouseRow]) -> Result<Vec<ArrayRef>> {
        let mut more: Vec<ArrayRef> = Vec::new();
        if self.columns.current.is_some() {
            let is_current = |row: &WarehouseRow| row.interval.end.is_none() && !row.is_deletion;
            let marks = rows.iter().map(|row| Some(is_current(row)));
            more.push(Arc::new(marks.collect::<BooleanArray>()));
        }
        if self.columns.version.is_some() {
            let versions = rows.iter().map(|row| row.version);
            more.push(Arc::new(Int64Array::from_iter_values(versions)));
        }
        if self.columns.surrogate_key.is_some() {
            more.push(Arc::new(self.surrogate_keys(values, rows)?));
        }
        if self.columns.deleted.is_some() {
            let marks = rows.iter().map(|row| Some(row.is_deletion));
            more.push(Arc::new(marks.collect::<BooleanArray>()));
        }
        Ok(more)
    }

    fn surrogate_keys(&self, values: &RecordBatch, rows: &[WarehouseRow]) -> Result<StringArray> {
        let columns = self.key.iter().filter_map(|name| {
            let column = values.column_by_name(name)?;
            Some(key_texts(name, column))
        });
        let texts = columns.collect::<Result<Vec<_>>>()?;
        let keys = rows.iter().enumerate().map(|(at, row)| {
            let key = texts.iter().map(|column| column[at].as_str());
            surrogate_key(key, row.interval.start)
        });
        Ok(StringArray::from_iter_values(keys))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Date32Type, Int64Type};
    use chrono::Days;
    use proptest::prelude::*;

    use super::*;

    fn day(number: u64) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date") + Days::new(number)
    }

    /// On which of the observed days each key is there, and the intervals that follow: a key has the
    /// same row while it is there.
    fn intervals_of(
        keys: &[Vec<bool>],
        observed: &[NaiveDate],
        policy: GapPolicy,
    ) -> Vec<(i64, Interval)> {
        let mut intervals = Vec::new();
        for (key, days) in (0..).zip(keys) {
            let mut open: Option<NaiveDate> = None;
            for at in 0..observed.len() {
                let is_there = days[at];
                let joins = at == 0 || policy.joins(observed[at - 1], observed[at]);
                if let (Some(start), true) = (open, !is_there || !joins) {
                    let end = Some(policy.run_end(observed[at - 1], observed[at]));
                    intervals.push((key, Interval { start, end }));
                    open = None;
                }
                if is_there {
                    open = open.or(Some(observed[at]));
                }
            }
            intervals.extend(open.map(|start| (key, Interval { start, end: None })));
        }
        intervals
    }

    /// The rows that are given, if the intervals come in pieces of a size.
    fn given(
        intervals: &[(i64, Interval)],
        observed: &[NaiveDate],
        policy: GapPolicy,
        size: usize,
    ) -> RecordBatch {
        let names = |name: &str| Some(name.to_owned());
        let columns = WarehouseColumns {
            current: names("current"),
            version: names("version"),
            surrogate_key: names("sk"),
            deleted: names("deleted"),
        };
        let table: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let convention = Convention::default();
        let own = interval_schema(&table, &convention);
        let more = [
            ("current", DataType::Boolean),
            ("version", DataType::Int64),
            ("sk", DataType::Utf8),
            ("deleted", DataType::Boolean),
        ];
        let more = more.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
        let fields = own.fields().iter().cloned().chain(more);
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut rows = Vec::new();
        let mut out = |batch| {
            rows.push(batch);
            Ok(())
        };
        let key = ["id".to_owned()];
        let mut export = Export {
            schema: schema.clone(),
            columns: &columns,
            key: &key,
            convention: &convention,
            policy,
            observed: observed.to_vec(),
            out: &mut out,
            last: None,
            counts: WarehouseCounts::default(),
        };
        let encoder = KeyEncoder::new(&table, &key).expect("integers");
        let mut keys = KeySequence::default();
        for piece in intervals.chunks(size) {
            let ids = Int64Array::from_iter_values(piece.iter().map(|(id, _)| *id));
            let batch = IntervalBatch {
                rows: RecordBatch::try_new(table.clone(), vec![Arc::new(ids)]).expect("rows"),
                intervals: piece.iter().map(|(_, interval)| *interval).collect(),
            };
            let steps = keys.steps(&encoder.encode(&batch.rows).expect("encoded"));
            export.batch(&batch, &steps).expect("given");
        }
        export.finish().expect("given");
        concat_batches(&schema, &rows).expect("one batch")
    }

    proptest! {
        #[test]
        fn a_key_has_a_row_on_each_day_since_it_was_first_seen(
            keys in prop::collection::vec(prop::collection::vec(any::<bool>(), 6), 1..4),
            gaps in prop::collection::vec(1u64..3, 6),
            splits: bool,
            size in 1usize..6,
        ) {
            let policy = if splits { GapPolicy::Split } else { GapPolicy::CARRY };
            let ends = gaps.iter().scan(0, |day, gap| { *day += gap; Some(*day) });
            let observed: Vec<NaiveDate> = ends.map(day).collect();
            let intervals = intervals_of(&keys, &observed, policy);
            let rows = given(&intervals, &observed, policy, 1_000);
            prop_assert_eq!(&given(&intervals, &observed, policy, size), &rows);
            let starts = rows.column(1).as_primitive::<Date32Type>();
            let ends = rows.column(2).as_primitive::<Date32Type>();
            for (key, days) in (0i64..).zip(&keys) {
                let of_key: Vec<usize> = (0..rows.num_rows())
                    .filter(|row| rows.column(0).as_primitive::<Int64Type>().value(*row) == key)
                    .collect();
                let versions = rows.column(4).as_primitive::<Int64Type>();
                let versions: Vec<i64> = of_key.iter().map(|row| versions.value(*row)).collect();
                prop_assert_eq!(versions, (1..).take(of_key.len()).collect::<Vec<i64>>());
                for (at, date) in observed.iter().enumerate() {
                    let date = to_days(*date);
                    let holds: Vec<usize> = of_key
                        .iter()
                        .copied()
                        .filter(|row| starts.value(*row) <= date && date <= ends.value(*row))
                        .collect();
                    let is_known = days[..=at].contains(&true);
                    prop_assert_eq!(holds.len(), usize::from(is_known));
                    if let [row] = holds.as_slice() {
                        let is_deleted = rows.column(6).as_boolean().value(*row);
                        prop_assert_eq!(is_deleted, !days[at]);
                        let is_last = at + 1 == observed.len();
                        let is_current = rows.column(3).as_boolean().value(*row);
                        prop_assert!(!is_last || is_current == days[at]);
                    }
                }
            }
        }
    }
}
