//! All I/O on lakes: where things lie, how they are found, read, staged and committed.
//!
//! | file | does |
//! | --- | --- |
//! | [`location`] | turns a URL or path that a user wrote into a place: on a disk, or in a store |
//! | [`stores`] | opens buckets and containers by their options |
//! | [`store`] | one bucket or container: how it is reached, and what its failures mean |
//! | [`service`] | the services there are, and what is said of their objects |
//! | [`pages`] | listings, a page a request |
//! | [`http`] | counts requests, and makes the last one of an upload conditional |
//! | [`search`] | guided search in a store: pages of listings, side by side |
//! | [`partitions`] | finds the objects of a range of dates, on a disk or in a store |
//! | [`read`] | ranges of an object, or all of it |
//! | [`lake`] | knows the paths of asof's own lake |
//! | [`footer`] | the wire format of what a footer says |
//! | [`object`] | reading a Parquet object |
//! | [`writer`] | writing one: the same bytes for the same rows |
//! | `encoder` | encodes row groups side by side |
//! | [`commit`] | staging and publishing: the old object or the new one, whole |
//! | `profile` | the profiles of AWS |
//! | [`upload`] | publishing into a store by one conditional write |
//! | [`probe`] | whether a store honours conditions |
//! | [`table_format`] | folders that are tables of Delta Lake, Iceberg or Hudi |
//! | [`untrusted`] | decoders of files that may be damaged |
//! | [`embedded`] | Arrow schemas that files carry |
//! | `int96` | the unit in which INT96 is read |
//! | [`recall`] | the fingerprints of files, so that they are not read again |
//! | [`sorter`] | rows by key in bounded memory |
//!
//! asof reads foreign lakes where they are and never writes into them.

pub mod commit;
pub mod embedded;
mod encoder;
pub mod footer;
pub mod http;
mod int96;
pub mod lake;
pub mod location;
pub mod object;
pub mod pages;
pub mod partitions;
pub mod probe;
mod profile;
pub mod read;
pub mod recall;
pub mod search;
pub mod service;
pub mod sorter;
pub mod store;
pub mod stores;
pub mod table_format;
pub mod untrusted;
pub mod upload;
pub mod writer;

use arrow::array::RecordBatch;

use crate::error::Result;

/// A stream of batches of one schema.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The same batches, whose errors begin with `context: `.
pub fn within(batches: Batches, context: String) -> Batches {
    Box::new(batches.map(move |batch| batch.map_err(|error| error.within(&context))))
}
