//! Looking up the keys of edits among the rows of the last snapshot.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashMap;

use super::rows::PresentRows;
use crate::domain::key_order::{KeyOrder, gallop};
use crate::error::{Context, Error, Result};

/// The keys that edits touched and that the rows lack.
pub(super) struct EditedKeys {
    /// Encodes keys.
    encoder: RowConverter,
    /// The intervals, or [`GONE`], of the keys that the rows lack.
    pub(super) others: HashMap<Box<[u8]>, u32>,
}

impl EditedKeys {
    /// Nothing, for keys of the types of these.
    pub(super) fn of(keys: &[ArrayRef]) -> Result<Self> {
        let fields = keys
            .iter()
            .map(|key| SortField::new(key.data_type().clone()))
            .collect();
        let encoder = RowConverter::new(fields)
            .map_err(|error| Error::refused(format!("keys cannot be compared: {error}")))?;
        Ok(EditedKeys {
            encoder,
            others: HashMap::new(),
        })
    }

    pub(super) fn encode(&mut self, keys: &[ArrayRef]) -> Result<Rows> {
        self.encoder
            .convert_columns(keys)
            .internal_context(|| "cannot encode keys".into())
    }
}

/// Looks up keys, which ascend.
pub(super) struct KeyLookup<'a> {
    present: &'a [PresentRows],
    keys: &'a [ArrayRef],
    /// Where it stands: no row before this one has a key that is still to come.
    piece: usize,
    row: usize,
    /// Of the piece's keys with those that are looked up.
    order: Option<KeyOrder>,
}

impl<'a> KeyLookup<'a> {
    /// A lookup of `keys` among rows that are present.
    pub(super) fn new(present: &'a [PresentRows], keys: &'a [ArrayRef]) -> Self {
        KeyLookup {
            present,
            keys,
            piece: 0,
            row: 0,
            order: None,
        }
    }

    /// The piece and row of each of `count` keys, or nothing.
    pub(super) fn places(mut self, count: usize) -> Result<Vec<Option<(usize, usize)>>> {
        (0..count).map(|key| self.place(key)).collect()
    }

    fn place(&mut self, key: usize) -> Result<Option<(usize, usize)>> {
        while let Some(present) = self.present.get(self.piece) {
            if self.order.is_none() {
                self.order = Some(KeyOrder::of(&present.rows.keys, self.keys)?);
            }
            let Some(order) = &self.order else {
                return Ok(None);
            };
            let rows = present.rows.len();
            let is_less = |row: usize| order.compare(row, key) == Ordering::Less;
            let from = gallop(self.row, rows, is_less);
            if from < rows {
                self.row = from;
                return Ok(
                    (order.compare(from, key) == Ordering::Equal).then_some((self.piece, from))
                );
            }
            (self.piece, self.row, self.order) = (self.piece + 1, 0, None);
        }
        Ok(None)
    }
}
