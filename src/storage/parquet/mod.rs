//! Parquet objects: read, written, and what their footers say.
//!
//! | file | does |
//! | --- | --- |
//! | [`footer`] | the wire format of what a footer says |
//! | [`object`] | reading an object |
//! | [`writer`] | writing one: the same bytes for the same rows |
//! | `encoder` | encodes row groups in parallel |
//! | [`stored_types`] | the names of types on disk |
//! | [`untrusted`] | decoders of files that may be damaged |
//! | [`embedded_schema`] | Arrow schemas that files carry |
//! | `int96` | the unit in which INT96 is read |

pub mod embedded_schema;
mod encoder;
pub mod footer;
mod int96;
pub mod object;
pub mod stored_types;
pub mod untrusted;
pub mod writer;
