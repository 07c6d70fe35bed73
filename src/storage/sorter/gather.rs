//! Rows in the order that was found, a batch at a time, put together on all processors.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use super::order::Place;
use crate::error::{Context, Result};
use crate::parallel::{OrderedPool, Task, processors};
use crate::phases::Phase;
use crate::storage::Batches;

/// From so many batches on they are put together by several threads.
const WORTH_THREADS: usize = 4;

/// The rows of batches in an order, or as they are if there is none; at most `rows` in a batch.
///
/// # Errors
/// A failure to start a thread.
pub(super) fn in_order(
    batches: Vec<RecordBatch>,
    order: Option<Vec<Place>>,
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
    let count = order.len().div_ceil(rows);
    let tasks = (0..count).map(move |number| -> Task<RecordBatch> {
        let batches = batches.clone();
        let order = order.clone();
        Box::new(move || {
            let end = ((number + 1) * rows).min(order.len());
            Phase::Sort.spend(|| gather(&batches, &order[number * rows..end]))
        })
    });
    if count < WORTH_THREADS {
        return Ok(Box::new(tasks.map(|task| task())));
    }
    let threads = processors();
    Ok(Box::new(OrderedPool::new(threads, threads + 2, tasks)?))
}

/// A batch in pieces of at most so many rows.
fn pieces(batch: RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    (0..batch.num_rows())
        .step_by(rows)
        .map(move |at| batch.slice(at, rows.min(batch.num_rows() - at)))
}

fn gather(batches: &[RecordBatch], places: &[Place]) -> Result<RecordBatch> {
    let references: Vec<&RecordBatch> = batches.iter().collect();
    let indices: Vec<(usize, usize)> = places.iter().map(|place| place.indices()).collect();
    interleave_record_batch(&references, &indices)
        .internal_context(|| "cannot put rows in order".into())
}
