//! Rows by key in bounded memory.
//!
//! Rows are gathered up to a budget, sorted, and spilled as a run to an unnamed temporary file,
//! which the system removes even if the process is killed; in the end the runs are merged. Rows of
//! equal keys stay in the order in which they came.
//!
//! Memory: the budget, once more for the sort's keys and order, and while merging one batch a run,
//! of two megabytes at most, however wide rows are.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::row::Rows;

use super::Batches;
use crate::domain::canonical_types::in_microseconds;
use crate::domain::cast::conform;
use crate::domain::key::KeyEncoder;
use crate::domain::schema::unify;
use crate::error::{Context, Result};
use crate::phases::Phase;
use crate::storage::parquet::BATCH_ROWS;

/// What a sorter gathers before it spills, in bytes of Arrow buffers.
pub const BUDGET: usize = 128 << 20;

/// About how large a batch of a run is at most: while runs are merged, each holds one.
const RUN_BATCH_BYTES: usize = 2 << 20;

/// Gathers rows, in any order, and gives them back sorted.
pub struct Sorter {
    keys: Vec<String>,
    budget: usize,
    schema: Option<SchemaRef>,
    gathered: Vec<RecordBatch>,
    bytes: usize,
    runs: Vec<File>,
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
        self.bytes += batch.get_array_memory_size();
        self.gathered.push(batch);
        if self.bytes > self.budget {
            self.spill()?;
        }
        Ok(())
    }

    /// Sorts what is gathered.
    fn sorted(&mut self, schema: &SchemaRef) -> Result<SortedBatches> {
        Phase::Sort.spend(|| self.sort_gathered(schema))
    }

    fn sort_gathered(&mut self, schema: &SchemaRef) -> Result<SortedBatches> {
        self.bytes = 0;
        let batches = std::mem::take(&mut self.gathered)
            .iter()
            .map(|batch| conform(batch, schema))
            .collect::<Result<Vec<_>>>()?;
        let encoder = KeyEncoder::new(schema, &self.keys)?;
        let keys = batches
            .iter()
            .map(|batch| encoder.encode(batch))
            .collect::<Result<Vec<_>>>()?;
        let mut order: Vec<(u32, u32)> =
            Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for (number, batch) in (0u32..).zip(&batches) {
            order.extend((0u32..).take(batch.num_rows()).map(|row| (number, row)));
        }
        let key = |at: &(u32, u32)| keys[at.0 as usize].row(at.1 as usize);
        if !order.is_sorted_by(|a, b| key(a) <= key(b)) {
            order.sort_by(|a, b| key(a).cmp(&key(b)));
        }
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let rows =
            (RUN_BATCH_BYTES.saturating_mul(order.len()) / bytes.max(1)).clamp(1, BATCH_ROWS);
        Ok(SortedBatches {
            batches,
            order,
            rows,
            next: 0,
        })
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
        let doing = || "cannot spill rows to the temporary folder (TMPDIR)".to_owned();
        let file = tempfile::tempfile().io_context(doing)?;
        let mut writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), &schema)
            .io_context(doing)?;
        for batch in self.sorted(&schema)? {
            writer.write(&batch?).io_context(doing)?;
        }
        writer.finish().io_context(doing)?;
        let mut file = writer
            .into_inner()
            .io_context(doing)?
            .into_inner()
            .map_err(|error| error.into_error())
            .io_context(doing)?;
        file.rewind().io_context(doing)?;
        self.runs.push(file);
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
            return Ok(Box::new(self.sorted(schema)?));
        }
        if !self.gathered.is_empty() {
            self.spill()?;
        }
        let mut streams: Vec<Batches> = Vec::with_capacity(self.runs.len());
        for run in self.runs {
            let doing = || "cannot read spilled rows".to_owned();
            let reader = StreamReader::try_new(BufReader::with_capacity(1 << 18, run), None)
                .io_context(doing)?;
            let schema = schema.clone();
            streams.push(Box::new(
                reader.map(move |batch| conform(&batch.io_context(doing)?, &schema)),
            ));
        }
        merge(streams, schema, &self.keys)
    }
}

/// Rows of batches in a given order, a batch at a time.
struct SortedBatches {
    batches: Vec<RecordBatch>,
    order: Vec<(u32, u32)>,
    /// How many rows a batch has.
    rows: usize,
    next: usize,
}

impl Iterator for SortedBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = (self.next + self.rows).min(self.order.len());
        let chunk = &self.order[self.next..end];
        if chunk.is_empty() {
            return None;
        }
        self.next = end;
        let indices: Vec<(usize, usize)> = chunk
            .iter()
            .map(|(batch, row)| (*batch as usize, *row as usize))
            .collect();
        Some(Phase::Sort.spend(|| gather(&self.batches, &indices)))
    }
}

fn gather(batches: &[RecordBatch], indices: &[(usize, usize)]) -> Result<RecordBatch> {
    let references: Vec<&RecordBatch> = batches.iter().collect();
    interleave_record_batch(&references, indices)
        .internal_context(|| "cannot put rows in order".into())
}

/// Merges streams that are each sorted by `keys`; rows of equal keys come in the order of the
/// streams.
///
/// # Errors
/// Whatever the streams fail with.
pub fn merge(streams: Vec<Batches>, schema: &SchemaRef, keys: &[String]) -> Result<Batches> {
    let encoder = KeyEncoder::new(schema, keys)?;
    let mut merge = RunMerge {
        encoder,
        runs: Vec::new(),
        heap: BinaryHeap::new(),
    };
    for stream in streams {
        let number = merge.runs.len();
        merge.runs.push(SortedRun {
            stream,
            current: None,
            row: 0,
        });
        merge.refill(number)?;
    }
    Ok(Box::new(merge))
}

struct SortedRun {
    stream: Batches,
    current: Option<(RecordBatch, Rows)>,
    row: usize,
}

/// The head of a run; the greatest in the heap is the smallest key, of the first run.
struct RunHead {
    key: Box<[u8]>,
    run: usize,
}

impl Ord for RunHead {
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.key, other.run).cmp(&(&self.key, self.run))
    }
}

impl PartialOrd for RunHead {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RunHead {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for RunHead {}

struct RunMerge {
    encoder: KeyEncoder,
    runs: Vec<SortedRun>,
    heap: BinaryHeap<RunHead>,
}

impl RunMerge {
    /// Loads the next batch of a run that is used up, and puts its head into the heap.
    fn refill(&mut self, number: usize) -> Result<()> {
        let run = &mut self.runs[number];
        while run
            .current
            .as_ref()
            .is_none_or(|(batch, _)| run.row >= batch.num_rows())
        {
            run.row = 0;
            run.current = None;
            let Some(batch) = run.stream.next().transpose()? else {
                return Ok(());
            };
            let keys = self.encoder.encode(&batch)?;
            run.current = Some((batch, keys));
        }
        if let Some((_, keys)) = &run.current {
            self.heap.push(RunHead {
                key: keys.row(run.row).data().into(),
                run: number,
            });
        }
        Ok(())
    }

    /// The next rows, up to a batch; stops where a run needs another batch, so that each run holds
    /// one.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut indices: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
        let mut used_up = None;
        while indices.len() < BATCH_ROWS {
            let Some(head) = self.heap.pop() else { break };
            let run = &mut self.runs[head.run];
            indices.push((head.run, run.row));
            run.row += 1;
            if run
                .current
                .as_ref()
                .is_some_and(|(batch, _)| run.row < batch.num_rows())
            {
                self.refill(head.run)?;
            } else {
                used_up = Some(head.run);
                break;
            }
        }
        if indices.is_empty() {
            return Ok(None);
        }
        let mut place = vec![usize::MAX; self.runs.len()];
        let mut batches = Vec::new();
        for (number, run) in self.runs.iter().enumerate() {
            if let Some((batch, _)) = &run.current {
                place[number] = batches.len();
                batches.push(batch.clone());
            }
        }
        indices.iter_mut().for_each(|(run, _)| *run = place[*run]);
        let merged = gather(&batches, &indices)?;
        if let Some(number) = used_up {
            self.refill(number)?;
        }
        Ok(Some(merged))
    }
}

impl Iterator for RunMerge {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        Phase::Sort.spend(|| self.next_batch()).transpose()
    }
}

/// The rows in order of the key, brought into one schema.
///
/// # Errors
/// A failure or refusal of reading, spilling or widening.
pub fn sort(rows: Batches, key: &[String], schema: &SchemaRef) -> Result<Batches> {
    let mut sorter = Sorter::new(key, BUDGET);
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
