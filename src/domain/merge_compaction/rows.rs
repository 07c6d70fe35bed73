//! Rows in the order of the key, and what is wrong with rows that are not.

use arrow::array::{Array, ArrayRef};

use crate::domain::key_order::{KeyStep, KeySteps};
use crate::error::{Error, Result};

/// Rows of a snapshot, in the order of the key.
#[derive(Clone)]
pub struct SortedRows {
    /// The key columns, without nulls; at least one.
    pub keys: Vec<ArrayRef>,
    /// The other columns that are compared, the same for every snapshot; an absent one is all null.
    pub values: Vec<ArrayRef>,
}

impl SortedRows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.keys.first().map_or(0, |key| key.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of a snapshot with the interval that the last snapshot's row of the same key is part of, or
/// [`GONE`].
pub(super) struct PresentRows {
    pub(super) rows: SortedRows,
    pub(super) intervals: Vec<u32>,
}

/// What stands for the interval of a key that the last snapshot lacks; no interval has this number.
pub(super) const GONE: u32 = u32::MAX;

/// Why a snapshot was not taken.
#[derive(Debug)]
pub enum MergeError {
    /// The row of these pieces has the key of the row before it.
    Duplicate {
        /// The piece.
        piece: usize,
        /// The row in it.
        row: usize,
    },
    /// A row has a key that is less than that of the row before it.
    Unordered,
    /// Edits are none of the last snapshot, or rows not those that it has.
    Unfit,
    /// There are too many intervals, or values that cannot be compared.
    Failed(Error),
}

impl From<Error> for MergeError {
    fn from(error: Error) -> Self {
        MergeError::Failed(error)
    }
}

/// How the keys of rows follow one another, and those of the rows before.
pub(super) fn steps_of(
    before: Option<&SortedRows>,
    rows: &SortedRows,
) -> Result<KeySteps, MergeError> {
    Ok(KeySteps::new(
        before.map(|before| before.keys.as_slice()),
        &rows.keys,
    )?)
}

/// Refuses a row of a piece whose key repeats or descends.
pub(super) fn in_order(steps: &KeySteps, row: usize, piece: usize) -> Result<(), MergeError> {
    match steps.to(row) {
        KeyStep::Ascends => Ok(()),
        KeyStep::Repeats => Err(MergeError::Duplicate { piece, row }),
        KeyStep::Descends => Err(MergeError::Unordered),
    }
}
