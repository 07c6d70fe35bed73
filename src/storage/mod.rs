//! All I/O on lakes: where things lie, how they are found, read, staged and committed.
//!
//! | module | does |
//! | --- | --- |
//! | [`lake`] | places on a disk or in a store, the paths of the lake, its partitions, and commits |
//! | [`object_store`] | buckets and containers: requests, listings, conditional writes |
//! | [`parquet`] | Parquet objects and their footers |
//! | [`sorter`] | rows by key in bounded memory |
//! | [`temporary_rows`] | rows in a temporary file |
//!
//! asof reads external copies where they are and never writes among them.

pub mod lake;
pub mod object_store;
pub mod parquet;
pub mod sorter;
pub mod temporary_rows;

use arrow::array::RecordBatch;

use crate::error::Result;

/// A stream of batches of one schema.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Batches whose errors begin with `context: `.
pub fn within(batches: Batches, context: String) -> Batches {
    Box::new(batches.map(move |batch| batch.map_err(|error| error.within(&context))))
}
