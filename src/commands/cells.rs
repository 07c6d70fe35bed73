//! Values of rows as text, and which columns of two rows differ.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;

use crate::domain::cast::display;
use crate::engine::digests::digests_by_column;
use crate::error::Result;

/// A value as text, or none if it is null.
pub(super) fn cell(column: &dyn Array, row: usize) -> Option<String> {
    let null = column.data_type() == &DataType::Null || column.is_null(row);
    (!null).then(|| display(column, row))
}

/// One column's value on either side of a change, as text; null is none.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ColumnChange {
    /// The column.
    pub name: String,
    /// Its value before.
    pub old: Option<String>,
    /// Its value after.
    pub new: Option<String>,
}

/// A batch with the digest of every cell of some columns: 16 bytes a cell.
pub(super) struct Cells {
    pub(super) batch: RecordBatch,
    digests: Vec<Vec<u128>>,
}

impl Cells {
    /// Digests the named columns.
    ///
    /// # Errors
    /// A refusal for a type that cannot be compared.
    pub(super) fn of(batch: &RecordBatch, columns: &[String]) -> Result<Self> {
        Ok(Cells {
            batch: batch.clone(),
            digests: digests_by_column(batch, columns.iter().map(String::as_str))?,
        })
    }

    /// Whether these are the cells of `batch`, and not of one that is merely equal.
    pub(super) fn are_of(&self, batch: &RecordBatch) -> bool {
        self.batch
            .columns()
            .iter()
            .zip(batch.columns())
            .all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// The positions, among the digested columns, of those in which two rows differ.
    pub(super) fn differing<'a>(
        &'a self,
        row: usize,
        other: &'a Cells,
        other_row: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let pairs = self.digests.iter().zip(&other.digests).enumerate();
        pairs
            .filter(move |(_, (old, new))| old[row] != new[other_row])
            .map(|(at, _)| at)
    }
}
