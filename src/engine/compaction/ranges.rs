//! Ranges of keys: sorted objects, cut at the same keys.
//!
//! A table is compacted range by range, so that what is held at a time is a range of two snapshots and not the table. [`boundaries`] takes first
//! keys of row groups of one object, and [`SortedObject::cut`] says for any other at which of its rows those keys lie. That costs the first key
//! of each row group, which statistics tell or else one page, and the key column of each row group that a boundary falls into.
//!
//! Positions in an object whose keys do not ascend mean nothing, but every row lies in one range; whoever reads the rows sees that
//! they are out of order, or outside of their range.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::datatypes::{Schema, SchemaRef};

use crate::domain::cast::conform;
use crate::domain::merge::KeyOrder;
use crate::error::{Context, Result};
use crate::storage::object::ParquetObject;
use crate::storage::sorter::one_zero;

/// An object whose rows should be sorted by the key.
pub(super) struct SortedObject {
    pub(super) object: Arc<ParquetObject>,
    key: Vec<String>,
    /// The key columns as the object has them, and as all objects of the table are to have them.
    schemas: [SchemaRef; 2],
    /// Whether a key stands once; intervals have several rows a key.
    unique: bool,
}

/// Keys at which ranges begin, other than the first: columns of the key, one row a boundary.
pub(super) struct Boundaries(Vec<ArrayRef>);

impl Boundaries {
    /// One range, of all keys.
    pub(super) fn none() -> Self {
        Boundaries(Vec::new())
    }

    /// How many ranges there are.
    pub(super) fn ranges(&self) -> usize {
        1 + self.0.first().map_or(0, |key| key.len())
    }

    /// Whether keys that ascend lie in a range.
    pub(super) fn hold(&self, range: usize, keys: &[ArrayRef]) -> Result<bool> {
        let rows = keys.first().map_or(0, |key| key.len());
        if rows == 0 || self.ranges() == 1 {
            return Ok(true);
        }
        let order = KeyOrder::of(&self.0, keys)?;
        let after_begin = range == 0 || order.compare(range - 1, 0) != Ordering::Greater;
        let before_end = range + 1 == self.ranges() || order.compare(range, rows - 1) == Ordering::Greater;
        Ok(after_begin && before_end)
    }
}

impl SortedObject {
    /// An object of a table: `own` is its schema, `wide` that of the table.
    pub(super) fn new(object: Arc<ParquetObject>, key: &[String], own: &Schema, wide: &Schema, unique: bool) -> Result<Self> {
        let of = |schema: &Schema| -> Result<SchemaRef> {
            let field = |name: &String| schema.field_with_name(name).cloned().io_context(|| format!("there is no column '{name}'"));
            Ok(Arc::new(Schema::new(key.iter().map(field).collect::<Result<Vec<_>>>()?)))
        };
        Ok(SortedObject { object, key: key.to_owned(), schemas: [of(own)?, of(wide)?], unique })
    }

    /// The keys of a range of rows.
    fn keys(&self, rows: &Range<u64>) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.key.len()];
        for batch in self.object.read_rows(Some(&self.key), rows)? {
            let batch = conform(&conform(&batch?, &self.schemas[0])?, &self.schemas[1])?;
            columns.iter_mut().zip(batch.columns()).for_each(|(column, piece)| column.push(one_zero(piece)));
        }
        columns.iter().map(|pieces| joined(pieces)).collect()
    }

    /// The first key of each row group.
    fn first_keys(&self) -> Result<Vec<ArrayRef>> {
        if let [key] = self.key.as_slice()
            && self.schemas[0] == self.schemas[1]
            && let Some(mins) = self.object.exact_mins(key).filter(|mins| mins.data_type() == self.schemas[1].field(0).data_type())
        {
            return Ok(vec![mins]);
        }
        let firsts = self.object.group_starts().into_iter().map(|start| self.keys(&(start..start + 1))).collect::<Result<Vec<_>>>()?;
        let column = |at: usize| joined(&firsts.iter().map(|keys| keys[at].clone()).collect::<Vec<_>>());
        (0..self.key.len()).map(column).collect()
    }

    /// About `ranges` ranges of about as many rows each, which begin with row groups where that comes close.
    pub(super) fn boundaries(&self, ranges: u64) -> Result<Boundaries> {
        let (starts, rows) = (self.object.group_starts(), self.object.rows());
        let each = rows.div_ceil(ranges.max(1)).max(1);
        let mut positions: Vec<u64> = Vec::new();
        let mut last = 0;
        while last + each + each / 4 < rows {
            let wanted = last + each;
            let near = starts.iter().copied().filter(|start| *start > last + each / 2 && *start <= wanted + each / 4);
            last = near.min_by_key(|start| start.abs_diff(wanted)).unwrap_or(wanted);
            positions.push(last);
        }
        if positions.is_empty() {
            return Ok(Boundaries::none());
        }
        let keys = positions.iter().map(|position| self.keys(&(*position..position + 1))).collect::<Result<Vec<_>>>()?;
        let column = |at: usize| joined(&keys.iter().map(|key| key[at].clone()).collect::<Vec<_>>());
        (0..self.key.len()).map(column).collect::<Result<_>>().map(Boundaries)
    }

    /// The rows at which ranges begin and end, one more than there are ranges.
    pub(super) fn cut(&self, boundaries: &Boundaries) -> Result<Vec<u64>> {
        let mut cuts = vec![0];
        if boundaries.ranges() > 1 && self.object.rows() > 0 {
            let starts = self.object.group_starts();
            let firsts = self.first_keys()?;
            let order = KeyOrder::of(&firsts, &boundaries.0)?;
            let mut read: BTreeMap<usize, Vec<ArrayRef>> = BTreeMap::new();
            for boundary in 0..boundaries.ranges() - 1 {
                let after = partition_point(starts.len(), |group| order.compare(group, boundary) == Ordering::Less);
                let begins_a_group = after < starts.len() && order.compare(after, boundary) == Ordering::Equal;
                let cut = if after == 0 {
                    0
                } else if begins_a_group && self.unique {
                    starts[after]
                } else {
                    let (start, end) = (starts[after - 1], starts.get(after).copied().unwrap_or_else(|| self.object.rows()));
                    if !read.contains_key(&after) {
                        read = BTreeMap::from([(after, self.keys(&(start..end))?)]);
                    }
                    let keys = &read[&after];
                    let order = KeyOrder::of(keys, &boundaries.0)?;
                    let rows = usize::try_from(end - start).unwrap_or(usize::MAX);
                    start + partition_point(rows, |row| order.compare(row, boundary) == Ordering::Less) as u64
                };
                // In an object whose keys do not ascend positions may go back; ranges do not.
                cuts.push(cut.max(cuts[cuts.len() - 1]));
            }
        } else {
            cuts.resize(boundaries.ranges(), 0);
        }
        cuts.push(self.object.rows());
        Ok(cuts)
    }
}

fn joined(pieces: &[ArrayRef]) -> Result<ArrayRef> {
    match pieces {
        [one] => Ok(one.clone()),
        pieces => concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>()).io_context(|| "cannot read keys".into()),
    }
}

/// The first of `count` indices for which a condition, which holds for none after one for which it does not, does not hold.
pub(super) fn partition_point(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from.midpoint(to);
        if holds(middle) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}
