//! Rows in the order that was found, put together on all processors.
//!
//! Each batch is sorted by itself first, while it is in the processor's cache. Then the rows that
//! come next are neighbours in each of them, and putting rows in order reads memory forward, as a
//! merge does, where it would jump for every value otherwise.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, take_record_batch};
use arrow::datatypes::DataType;

use super::order::{BatchKeys, RowPlace, order_of_batch};
use crate::domain::key_order::KeyEncoder;
use crate::error::{Context, Result};
use crate::parallel::{OrderedPool, Task, flatten, processors};
use crate::phases::Phase;
use crate::storage::Batches;

/// How many batches are put together at a time, so that many rows of each batch are neighbours.
const AT_A_TIME: usize = 8;

/// A batch in the order of its keys, and what was seen of them.
///
/// # Errors
/// An internal failure.
pub(super) fn sorted(encoder: &KeyEncoder, batch: RecordBatch) -> Result<(RecordBatch, BatchKeys)> {
    let (places, seen) = order_of_batch(encoder, &batch)?;
    let Some(places) = places else {
        return Ok((batch, seen));
    };
    let row = |place: &RowPlace| u32::try_from(place.indices().1).ok();
    let rows: UInt32Array = places.iter().map(row).collect();
    let sorted = take_record_batch(&batch, &rows);
    let sorted = sorted.internal_context(|| "cannot put rows in order".into())?;
    Ok((sorted, seen))
}

/// The rows of batches in an order, or as they are if there is none; at most `rows` in a batch.
///
/// # Errors
/// A failure to start a thread.
pub(super) fn in_order(
    batches: Vec<RecordBatch>,
    order: Option<Vec<RowPlace>>,
    rows: usize,
) -> Result<Batches> {
    let Some(order) = order else {
        let pieces = batches
            .into_iter()
            .flat_map(move |batch| pieces(batch, rows));
        return Ok(Box::new(pieces.map(Ok)));
    };
    let batches = Arc::new(batches);
    let order = Arc::new(order);
    let at_once = rows * AT_A_TIME;
    let count = order.len().div_ceil(at_once);
    let tasks = (0..count).map(move |number| -> Task<Vec<RecordBatch>> {
        let batches = batches.clone();
        let order = order.clone();
        Box::new(move || {
            let end = ((number + 1) * at_once).min(order.len());
            let places = &order[number * at_once..end];
            let gathered = Phase::Sort.spend(|| gather(&batches, places))?;
            Ok(pieces(gathered, rows).collect())
        })
    });
    if count < 2 {
        return Ok(Box::new(flatten(tasks.map(|task| task()))));
    }
    let threads = processors();
    Ok(Box::new(flatten(OrderedPool::new(
        threads,
        threads + 1,
        tasks,
    )?)))
}

/// A batch in pieces of at most so many rows.
fn pieces(batch: RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    (0..batch.num_rows())
        .step_by(rows)
        .map(move |at| batch.slice(at, rows.min(batch.num_rows() - at)))
}

fn gather(batches: &[RecordBatch], places: &[RowPlace]) -> Result<RecordBatch> {
    let schema = batches[0].schema();
    let indices: Vec<(usize, usize)> = places.iter().map(|place| place.indices()).collect();
    let columns = (0..schema.fields().len()).map(|column| {
        let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(column)).collect();
        gather_column(&arrays, &indices)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .internal_context(|| "cannot put rows in order".into())
}

fn gather_column(arrays: &[&ArrayRef], indices: &[(usize, usize)]) -> Result<ArrayRef> {
    // Arrow would append one truth value after the other.
    let is_boolean = |array: &&ArrayRef| array.data_type() == &DataType::Boolean;
    if arrays
        .iter()
        .all(|array| is_boolean(array) && array.null_count() == 0)
    {
        let values: Vec<&BooleanArray> = arrays.iter().map(|array| array.as_boolean()).collect();
        let value = |at: usize| {
            let (array, row) = indices[at];
            values[array].value(row)
        };
        let gathered = BooleanBuffer::collect_bool(indices.len(), value);
        return Ok(Arc::new(BooleanArray::new(gathered, None)));
    }
    let arrays: Vec<_> = arrays.iter().map(|array| array.as_ref()).collect();
    interleave(&arrays, indices).internal_context(|| "cannot put rows in order".into())
}
