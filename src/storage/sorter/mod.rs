//! Rows by key in bounded memory.
//!
//! Rows are gathered up to a budget, sorted (`order`), and spilled as a run to an unnamed
//! temporary file, which the system removes even if the process is killed; in the end the runs are
//! merged (`merge`). Rows that came in order are left as they are. Rows of equal keys stay in the
//! order in which they came. All of it is done on all processors.
//!
//! Memory: the budget, which counts rows and what their order takes; keys of which more than a few
//! bytes differ once more while they are sorted; and while merging a few batches a run, of two
//! megabytes at most, however wide rows are.

mod gather;
mod merge;
mod order;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use self::gather::{in_order, sorted};
pub use self::merge::merge;
use self::order::{BYTES_PER_ROW, order};
use super::Batches;
use crate::domain::canonical_types::in_microseconds;
use crate::domain::cast::conform;
use crate::domain::key_order::KeyEncoder;
use crate::domain::schema::unify;
use crate::error::Result;
use crate::memory::SORTER_BYTES;
use crate::parallel::{each, processors};
use crate::phases::Phase;
use crate::storage::parquet::BATCH_ROWS;
use crate::storage::temporary_rows::{TemporaryFile, TemporaryRows};

/// About how large a batch of a run is at most: while runs are merged, each holds one.
const RUN_BATCH_BYTES: usize = 2 << 20;

/// Gathers rows, in any order, and gives them back sorted.
pub struct Sorter {
    keys: Vec<String>,
    budget: usize,
    schema: Option<SchemaRef>,
    gathered: Vec<RecordBatch>,
    bytes: usize,
    runs: Vec<TemporaryFile>,
}

impl Sorter {
    /// A sorter by the named columns, ascending.
    pub fn new(keys: &[String], budget: usize) -> Self {
        Sorter {
            keys: keys.to_owned(),
            budget,
            schema: None,
            gathered: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
        }
    }

    /// Takes rows; their schema may be wider than that of the rows before.
    ///
    /// # Errors
    /// A failure of the temporary disk; a refusal if types do not widen.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let wide = match &self.schema {
            None => batch.schema(),
            Some(schema) if schema == batch.schema_ref() => schema.clone(),
            Some(schema) => {
                unify(schema, batch.schema_ref())
                    .map_err(|clash| clash.refusal("?", "?"))?
                    .0
            }
        };
        self.schema = Some(wide);
        self.bytes += batch.get_array_memory_size() + batch.num_rows() * BYTES_PER_ROW;
        self.gathered.push(batch);
        if self.bytes > self.budget {
            self.spill()?;
        }
        Ok(())
    }

    /// Sorts what is gathered.
    fn sorted(&mut self, schema: &SchemaRef) -> Result<Batches> {
        self.bytes = 0;
        let gathered = std::mem::take(&mut self.gathered);
        let encoder = Arc::new(KeyEncoder::new(schema, &self.keys)?);
        let target = schema.clone();
        let by_batch = encoder.clone();
        let batches = each(gathered.into_iter().map(Ok), move |batch| {
            Phase::Sort.spend(|| sorted(&by_batch, conform(&batch, &target)?))
        })?;
        let (batches, seen): (Vec<_>, Vec<_>) =
            batches.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let order = Phase::Sort.spend(|| order(&encoder, &batches, &seen, processors()))?;
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let rows = (RUN_BATCH_BYTES.saturating_mul(count) / bytes.max(1)).clamp(1, BATCH_ROWS);
        in_order(batches, order, rows)
    }

    /// The columns of a run: timestamps in microseconds, where nanoseconds do not hold all that is
    /// gathered.
    fn run_schema(&self) -> Option<SchemaRef> {
        let wide = self.schema.as_ref()?;
        let coarse: Vec<_> = wide
            .fields()
            .iter()
            .map(|field| {
                field
                    .as_ref()
                    .clone()
                    .with_data_type(in_microseconds(field.data_type()))
            })
            .collect();
        let coarse = Arc::new(Schema::new(coarse));
        let fits = |batch: &RecordBatch| batch.schema_ref() == wide || conform(batch, wide).is_ok();
        let is_wide = coarse.fields() == wide.fields() || self.gathered.iter().all(fits);
        Some(if is_wide { wide.clone() } else { coarse })
    }

    fn spill(&mut self) -> Result<()> {
        let Some(schema) = self.run_schema() else {
            return Ok(());
        };
        let doing = "cannot spill rows to the temporary folder (TMPDIR)";
        let mut run = TemporaryRows::new(&schema, doing)?;
        for batch in self.sorted(&schema)? {
            run.write(&batch?)?;
        }
        self.runs.push(run.finish()?);
        Ok(())
    }

    /// The columns of all rows so far, or `None` if there were no rows.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// All rows, sorted, brought into `schema`.
    ///
    /// # Errors
    /// A failure of the temporary disk.
    pub fn finish(mut self, schema: &SchemaRef) -> Result<Batches> {
        if self.runs.is_empty() {
            return self.sorted(schema);
        }
        if !self.gathered.is_empty() {
            self.spill()?;
        }
        let mut streams: Vec<Batches> = Vec::with_capacity(self.runs.len());
        for run in self.runs {
            let rows = run.read(1 << 18, "cannot read spilled rows")?;
            let schema = schema.clone();
            streams.push(Box::new(rows.map(move |batch| conform(&batch?, &schema))));
        }
        merge(streams, schema, &self.keys)
    }
}

/// The rows in order of the key, brought into one schema.
///
/// # Errors
/// A failure or refusal of reading, spilling or widening.
pub fn sort(rows: Batches, key: &[String], schema: &SchemaRef) -> Result<Batches> {
    let mut sorter = Sorter::new(key, SORTER_BYTES);
    for batch in rows {
        sorter.push(conform(&batch?, schema)?)?;
    }
    sorter.finish(schema)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    fn rows(batches: Batches) -> Vec<(i64, String)> {
        batches
            .flat_map(|batch| {
                let batch = batch.expect("a batch");
                let ids = batch.column(0).as_primitive::<Int64Type>().clone();
                let tags = batch.column(1).as_string::<i32>().clone();
                (0..batch.num_rows())
                    .map(move |row| (ids.value(row), tags.value(row).to_owned()))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn batch(values: &[(i64, String)]) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(
            values.iter().map(|(id, _)| *id),
        ));
        let tags: ArrayRef = Arc::new(StringArray::from_iter_values(
            values.iter().map(|(_, tag)| tag),
        ));
        RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("tag", tags, true)])
            .expect("a batch")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn spilled_or_not_rows_come_sorted_and_stable(ids in prop::collection::vec(-50i64..50, 0..400), size in 1usize..60, budget in prop::sample::select(vec![0usize, 4000, 1 << 30])) {
            let values: Vec<(i64, String)> = ids.iter().enumerate().map(|(at, id)| (*id, format!("{at}"))).collect();
            let mut sorter = Sorter::new(&["id".to_owned()], budget);
            for chunk in values.chunks(size) {
                sorter.push(batch(chunk)).expect("taken");
            }
            let mut expected = values.clone();
            expected.sort_by_key(|(id, _)| *id);
            let schema = batch(&[]).schema();
            prop_assert_eq!(rows(sorter.finish(&schema).expect("sorted")), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn keys_that_differ_late_or_in_length_are_sorted_too(keys in prop::collection::vec(("[ab]{0,3}(common beginning){0,3}[ab]{0,12}", -2i64..2), 0..300), size in 1usize..60, budget in prop::sample::select(vec![0usize, 9000, 1 << 30])) {
            let mut values: Vec<(i64, String)> = keys.into_iter().map(|(tag, id)| (id, tag)).collect();
            let mut sorter = Sorter::new(&["tag".to_owned(), "id".to_owned()], budget);
            for chunk in values.chunks(size) {
                sorter.push(batch(chunk)).expect("taken");
            }
            values.sort_by(|(one, tag), (other, other_tag)| (tag, one).cmp(&(other_tag, other)));
            let schema = batch(&[]).schema();
            prop_assert_eq!(rows(sorter.finish(&schema).expect("sorted")), values);
        }
    }

    #[test]
    fn a_run_holds_timestamps_that_nanoseconds_do_not() {
        use arrow::array::{TimestampMicrosecondArray, TimestampNanosecondArray};
        use arrow::datatypes::TimestampMicrosecondType;
        let of = |ids: Vec<i64>, at: ArrayRef| {
            let ids: ArrayRef = Arc::new(Int64Array::from(ids));
            RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("at", at, true)])
                .expect("a batch")
        };
        let far = 253_402_214_400_000_000; // 9999-12-31
        let coarse = of(
            vec![3, 1],
            Arc::new(TimestampMicrosecondArray::from(vec![far, 7])),
        );
        let fine = of(
            vec![2],
            Arc::new(TimestampNanosecondArray::from(vec![5_000])),
        );
        for (first, budget) in [
            (true, 0),
            (false, 0),
            (true, 1500),
            (false, 1500),
            (true, 1 << 30),
            (false, 1 << 30),
        ] {
            let mut sorter = Sorter::new(&["id".to_owned()], budget);
            let batches = if first {
                [coarse.clone(), fine.clone()]
            } else {
                [fine.clone(), coarse.clone()]
            };
            batches
                .into_iter()
                .for_each(|batch| sorter.push(batch).expect("taken"));
            let sorted: Vec<RecordBatch> = sorter
                .finish(&coarse.schema())
                .expect("sorted")
                .collect::<Result<_>>()
                .expect("rows");
            let values = sorted.iter().flat_map(|batch| {
                batch
                    .column(1)
                    .as_primitive::<TimestampMicrosecondType>()
                    .values()
                    .to_vec()
            });
            assert_eq!(values.collect::<Vec<_>>(), [7, 5, far], "{first} {budget}");
        }
    }

    #[test]
    fn zeros_are_one_key_and_so_are_nans() {
        let keys: ArrayRef = Arc::new(Float64Array::from(vec![
            0.0,
            -0.0,
            f64::NAN,
            -f64::NAN,
            1.0,
        ]));
        let batch =
            RecordBatch::try_from_iter_with_nullable([("id", keys, true)]).expect("a batch");
        let rows = KeyEncoder::new(&batch.schema(), &["id".to_owned()])
            .expect("floats")
            .encode(&batch)
            .expect("encoded");
        assert!(
            rows.row(0) == rows.row(1) && rows.row(2) == rows.row(3) && rows.row(0) < rows.row(4)
        );
    }

    #[test]
    fn a_column_may_widen_between_runs() {
        let mut sorter = Sorter::new(&["id".to_owned()], 0);
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![5, -1]));
        let tags: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        sorter
            .push(
                RecordBatch::try_from_iter_with_nullable([
                    ("id", narrow, true),
                    ("tag", tags, true),
                ])
                .expect("a batch"),
            )
            .expect("taken");
        sorter
            .push(batch(&[(1 << 40, "c".into()), (0, "d".into())]))
            .expect("taken");
        let schema = sorter.schema().expect("rows").clone();
        let tags: Vec<String> = rows(sorter.finish(&schema).expect("sorted"))
            .into_iter()
            .map(|(_, tag)| tag)
            .collect();
        assert_eq!(tags, ["b", "d", "a", "c"]);
    }
}
