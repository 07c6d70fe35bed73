//! Diff: what changed between two snapshots, by one merge of two streams sorted by key.
//!
//! Memory: the current batch of each side.

use arrow::array::RecordBatch;
use arrow::row::Rows;

use super::hash_compaction::Changes;
use super::key_order::KeyEncoder;
use crate::error::Result;

/// A batch sorted by key, with the sortable encoding of its keys and the digests of its rows.
pub struct KeyedBatch {
    /// The rows.
    pub batch: RecordBatch,
    /// The keys of the rows, encoded so that bytes sort as keys do; made by one converter on both
    /// sides.
    pub keys: Rows,
    /// The digests of their compared columns.
    pub digests: Vec<u128>,
}

impl KeyedBatch {
    /// A batch with its keys encoded; `digests` are those of its rows.
    ///
    /// # Errors
    /// An internal failure to encode keys.
    pub fn new(encoder: &KeyEncoder, batch: RecordBatch, digests: Vec<u128>) -> Result<Self> {
        Ok(KeyedBatch {
            keys: encoder.encode(&batch)?,
            digests,
            batch,
        })
    }
}

/// One difference; each side is a batch and a row in it.
pub enum Difference<'a> {
    /// A key that only the later snapshot has.
    Added(&'a RecordBatch, usize),
    /// A key that only the earlier one has.
    Removed(&'a RecordBatch, usize),
    /// A key whose rows are not the same: earlier, later.
    Changed((&'a RecordBatch, usize), (&'a RecordBatch, usize)),
}

/// A stream of batches and the place in it.
struct Cursor<'a> {
    batches: &'a mut dyn Iterator<Item = Result<KeyedBatch>>,
    current: Option<KeyedBatch>,
    row: usize,
}

impl<'a> Cursor<'a> {
    fn open(batches: &'a mut dyn Iterator<Item = Result<KeyedBatch>>) -> Result<Self> {
        let mut cursor = Cursor {
            batches,
            current: None,
            row: 0,
        };
        cursor.refill()?;
        Ok(cursor)
    }

    /// Moves to the next batch that has rows once the current one is used up.
    fn refill(&mut self) -> Result<()> {
        while self
            .current
            .as_ref()
            .is_none_or(|current| self.row >= current.digests.len())
        {
            self.row = 0;
            self.current = self.batches.next().transpose()?;
            if self.current.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<()> {
        self.row += 1;
        self.refill()
    }
}

/// Calls `see` for each difference, in order of keys, and counts them.
///
/// # Errors
/// Whatever a stream or `see` fails with.
pub fn diff(
    earlier: &mut dyn Iterator<Item = Result<KeyedBatch>>,
    later: &mut dyn Iterator<Item = Result<KeyedBatch>>,
    mut see: impl FnMut(Difference<'_>) -> Result<()>,
) -> Result<Changes> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let mut changes = Changes::default();
    let mut old = Cursor::open(earlier)?;
    let mut new = Cursor::open(later)?;
    loop {
        let order = match (&old.current, &new.current) {
            (None, None) => return Ok(changes),
            (Some(_), None) => Less,
            (None, Some(_)) => Greater,
            (Some(a), Some(b)) => a.keys.row(old.row).cmp(&b.keys.row(new.row)),
        };
        match (order, &old.current, &new.current) {
            (Less, Some(a), _) => {
                changes.removed += 1;
                see(Difference::Removed(&a.batch, old.row))?;
            }
            (Greater, _, Some(b)) => {
                changes.added += 1;
                see(Difference::Added(&b.batch, new.row))?;
            }
            (Equal, Some(a), Some(b)) if a.digests[old.row] != b.digests[new.row] => {
                changes.changed += 1;
                see(Difference::Changed(
                    (&a.batch, old.row),
                    (&b.batch, new.row),
                ))?;
            }
            _ => {}
        }
        if order != Greater {
            old.advance()?;
        }
        if order != Less {
            new.advance()?;
        }
    }
}

/// Counts what changed between an earlier snapshot and a later one that is seen batch by batch, on
/// its way to somewhere else.
pub struct ChangeCount {
    earlier: Box<dyn Iterator<Item = Result<KeyedBatch>>>,
    current: Option<KeyedBatch>,
    row: usize,
    changes: Changes,
}

impl ChangeCount {
    /// Nothing of the later snapshot has been seen.
    pub fn new(earlier: Box<dyn Iterator<Item = Result<KeyedBatch>>>) -> Self {
        ChangeCount {
            earlier,
            current: None,
            row: 0,
            changes: Changes::default(),
        }
    }

    /// Moves to the next batch that has rows once the current one is used up; says whether there is
    /// a row.
    fn refill(&mut self) -> Result<bool> {
        while self
            .current
            .as_ref()
            .is_none_or(|current| self.row >= current.digests.len())
        {
            self.row = 0;
            self.current = self.earlier.next().transpose()?;
            if self.current.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next batch of the later snapshot.
    ///
    /// # Errors
    /// Whatever the earlier snapshot fails with.
    pub fn see(&mut self, later: &KeyedBatch) -> Result<()> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        for (row, digest) in later.digests.iter().enumerate() {
            loop {
                let order = match self.refill()? {
                    false => Greater,
                    true => self.current.as_ref().map_or(Greater, |current| {
                        current.keys.row(self.row).cmp(&later.keys.row(row))
                    }),
                };
                match order {
                    Less => self.changes.removed += 1,
                    Greater => self.changes.added += 1,
                    Equal => {
                        let is_same = |current: &KeyedBatch| current.digests[self.row] == *digest;
                        let is_same = self.current.as_ref().is_some_and(is_same);
                        self.changes.changed += u64::from(!is_same);
                    }
                }
                self.row += usize::from(order != Greater);
                if order != Less {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What changed; the later snapshot has no more rows.
    ///
    /// # Errors
    /// Whatever the earlier snapshot fails with.
    pub fn finish(mut self) -> Result<Changes> {
        while self.refill()? {
            self.changes.removed += 1;
            self.row += 1;
        }
        Ok(self.changes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::{DataType, Int64Type};
    use arrow::row::{RowConverter, SortField};
    use proptest::prelude::*;

    use super::*;

    /// Batches of `size` rows from keys and values.
    fn batches(
        converter: &RowConverter,
        rows: &BTreeMap<i64, i64>,
        size: usize,
    ) -> Vec<Result<KeyedBatch>> {
        let entries: Vec<(i64, i64)> = rows.iter().map(|(key, value)| (*key, *value)).collect();
        entries
            .chunks(size)
            .map(|chunk| {
                let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(
                    chunk.iter().map(|(key, _)| *key),
                ));
                let rows = converter
                    .convert_columns(std::slice::from_ref(&keys))
                    .expect("integers");
                let batch = RecordBatch::try_from_iter([("id", keys)]).expect("a batch");
                Ok(KeyedBatch {
                    batch,
                    keys: rows,
                    digests: chunk.iter().map(|(_, value)| *value as u128).collect(),
                })
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_merge_finds_what_maps_differ_in(
            old in prop::collection::btree_map(-20i64..20, 0i64..3, 0..30),
            new in prop::collection::btree_map(-20i64..20, 0i64..3, 0..30),
            size in 1usize..7,
        ) {
            let converter = RowConverter::new(vec![SortField::new(DataType::Int64)]).expect("integers");
            let id = |batch: &RecordBatch, row: usize| batch.column(0).as_primitive::<Int64Type>().value(row);
            let mut seen = Vec::new();
            let mut left = batches(&converter, &old, size).into_iter();
            let mut right = batches(&converter, &new, size + 1).into_iter();
            let changes = diff(&mut left, &mut right, |difference| {
                seen.push(match difference {
                    Difference::Added(batch, row) => (id(batch, row), '+'),
                    Difference::Removed(batch, row) => (id(batch, row), '-'),
                    Difference::Changed(before, after) => {
                        assert_eq!(id(before.0, before.1), id(after.0, after.1));
                        (id(before.0, before.1), '~')
                    }
                });
                Ok(())
            }).expect("no errors");
            let mut count = ChangeCount::new(Box::new(batches(&converter, &old, size).into_iter()));
            for batch in batches(&converter, &new, size + 1) {
                count.see(&batch.expect("a batch")).expect("no errors");
            }
            prop_assert_eq!(count.finish().expect("no errors"), changes);
            let mut expected = Vec::new();
            for key in -20..20 {
                match (old.get(&key), new.get(&key)) {
                    (Some(_), None) => expected.push((key, '-')),
                    (None, Some(_)) => expected.push((key, '+')),
                    (Some(a), Some(b)) if a != b => expected.push((key, '~')),
                    _ => {}
                }
            }
            prop_assert_eq!(&seen, &expected);
            let count = |sign: char| expected.iter().filter(|(_, s)| *s == sign).count() as u64;
            prop_assert_eq!((changes.added, changes.removed, changes.changed), (count('+'), count('-'), count('~')));
        }
    }
}
