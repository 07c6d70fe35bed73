//! Parquet objects: read, written, and what their footers say.
//!
//! | file | does |
//! | --- | --- |
//! | [`footer`] | the wire format of what a footer says |
//! | [`object`] | reading an object: which columns, which rows, and in which types |
//! | `facts` | what an object says of its rows, without reading them |
//! | `metadata` | the footer of a Parquet file, read and checked |
//! | [`statistics`] | which row groups may hold a row that is wanted |
//! | `row_choice` | which rows are decoded, and how bytes come to the decoder |
//! | `dictionaries` | texts that are decoded once a row group |
//! | [`writer`] | writing one: the same bytes for the same rows |
//! | `row_groups` | row groups, pages, dictionaries, compression and statistics |
//! | `encoder` | encodes row groups in parallel |
//! | [`folder_record`] | what a folder of another engine's files says of itself |
//! | `seal` | the checksums of an object, in the object |
//! | [`stored_types`] | the names of types on disk |
//! | [`untrusted`] | decoders of files that may be damaged |
//! | [`embedded_schema`] | Arrow schemas that files carry |
//! | `int96` | the unit in which INT96 is read |

mod column_sample;
mod dictionaries;
pub mod embedded_schema;
mod encoder;
mod facts;
pub mod folder_record;
pub mod footer;
mod int96;
mod metadata;
pub mod object;
mod row_choice;
mod row_groups;
mod seal;
pub mod statistics;
pub mod stored_types;
pub mod untrusted;
pub mod writer;

/// Rows in a batch that is read or written.
pub const BATCH_ROWS: usize = 8192;
