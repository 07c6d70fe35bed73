//! Digests of rows, keys and cells ([`crate::domain::digest`]), with the time that they take
//! charged to [`Phase::Hash`].

use arrow::array::{ArrayRef, RecordBatch};

use crate::domain::digest;
use crate::error::Result;
use crate::phases::Phase;

/// One digest a row over the named columns of a batch; see [`digest::row_digests`].
///
/// # Errors
/// A refusal for a column whose type is not canonical.
pub fn row_digests<'a>(
    batch: &RecordBatch,
    columns: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<u128>> {
    Phase::Hash.spend(|| digest::row_digests(batch, columns))
}

/// One digest a row over key columns, `None` where one is null; see [`digest::key_digests`].
///
/// # Errors
/// A refusal for a column whose type is not canonical.
pub fn key_digests(columns: &[ArrayRef]) -> Result<Vec<Option<u128>>> {
    Phase::Hash.spend(|| digest::key_digests(columns))
}

/// For each of the named columns, one digest a cell; see [`digest::digests_by_column`].
///
/// # Errors
/// A refusal for a column whose type is not canonical.
pub fn digests_by_column<'a>(
    batch: &RecordBatch,
    columns: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Vec<u128>>> {
    Phase::Hash.spend(|| digest::digests_by_column(batch, columns))
}
