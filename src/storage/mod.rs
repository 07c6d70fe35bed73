//! All I/O on lakes: where things lie, how they are found, read, staged and committed.
//!
//! | file | does |
//! | --- | --- |
//! | [`location`] | turns a URL or path that a user wrote into a place |
//! | [`partitions`] | finds the objects of a range of dates by guided search |
//! | [`lake`] | knows the paths of asof's own lake |
//! | [`footer`] | the wire format of what a footer says |
//! | [`object`] | one Parquet object: reading, and writing the same bytes for the same rows |
//! | [`commit`] | staging and publishing: the old object or the new one, whole |
//! | [`recall`] | the fingerprints of foreign files, so that they are not read again |
//! | [`sorter`] | rows by key in bounded memory |
//!
//! asof reads foreign lakes where they are and never writes into them.

pub mod commit;
pub mod footer;
pub mod lake;
pub mod location;
pub mod object;
pub mod partitions;
pub mod recall;
pub mod sorter;

use arrow::array::RecordBatch;

use crate::error::Result;

/// A stream of batches of one schema.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;
