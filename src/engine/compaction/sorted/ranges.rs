//! Ranges of keys: sorted objects, cut at the same keys.
//!
//! A table is compacted range by range, so that what is held at a time is a range of two snapshots
//! and not the table. [`Boundaries`] are first keys of row groups of one object, and
//! [`SortedObject::cut`] says for any other at which of its rows those keys lie. That costs the
//! first key of each row group, which statistics tell or else one page, and about a page of the key
//! column for each boundary.
//!
//! Positions in an object whose keys do not ascend mean nothing, but every row lies in one range;
//! whoever reads the rows sees that they are out of order, or outside of their range.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{Schema, SchemaRef};

use crate::domain::cast::conform;
use crate::domain::key_order::{KeyOrder, KeyStep, KeySteps, one_zero, partition_point};
use crate::engine::compaction::pass::Pass;
use crate::error::{Context, Error, Result};
use crate::parallel::{OrderedPool, Task};
use crate::storage::parquet::object::{BATCH_ROWS, ParquetObject};

/// How many keys are read at a time to find one.
const WINDOW: u64 = BATCH_ROWS as u64;
/// The most that a range of one snapshot should have in memory, in bytes.
const RANGE_BYTES: u64 = 12 << 20;
/// The most rows in a range, and the least.
const RANGE_ROWS: std::ops::RangeInclusive<u64> = 256..=524_288;
/// How often ranges that are too large are divided.
const DIVISIONS: usize = 64;

/// An object whose rows should be sorted by the key.
pub(in crate::engine::compaction) struct SortedObject {
    pub(super) object: Arc<ParquetObject>,
    key: Vec<String>,
    /// The key columns as the object has them, and as all objects of the table are to have them.
    schemas: [SchemaRef; 2],
    /// Whether a key stands once; intervals have several rows a key.
    unique: bool,
}

/// Keys at which ranges begin, other than the first.
pub(in crate::engine::compaction) struct Boundaries {
    /// The columns of the key, one row a boundary, ascending.
    keys: Vec<ArrayRef>,
    /// Where each lies in the object that it was taken from: its row, and how many rows there are.
    near: Vec<(u64, u64)>,
}

impl Boundaries {
    /// One range, of all keys.
    pub(super) fn none() -> Self {
        Boundaries {
            keys: Vec::new(),
            near: Vec::new(),
        }
    }

    /// With boundaries from some rows of an object, so that there are about as many of them in each
    /// range as wanted. Where it comes close ranges begin with row groups.
    pub(super) fn with(
        mut self,
        object: &SortedObject,
        rows: &Range<u64>,
        each: u64,
    ) -> Result<Self> {
        let starts = object.object.group_starts();
        let mut positions: Vec<u64> = Vec::new();
        let mut last = rows.start;
        while last + each + each / 4 < rows.end {
            let wanted = last + each;
            let near = starts
                .iter()
                .copied()
                .filter(|start| *start > last + each / 2 && *start <= wanted + each / 4);
            last = near
                .min_by_key(|start| start.abs_diff(wanted))
                .unwrap_or(wanted);
            positions.push(last);
        }
        if positions.is_empty() {
            return Ok(self);
        }
        let keys = positions
            .iter()
            .map(|position| object.keys(&(*position..position + 1)))
            .collect::<Result<Vec<_>>>()?;
        self.near.extend(
            positions
                .iter()
                .map(|position| (*position, object.object.rows())),
        );
        let column = |at: usize| {
            let pieces: Vec<ArrayRef> = self
                .keys
                .get(at)
                .into_iter()
                .chain(keys.iter().map(|key| &key[at]))
                .cloned()
                .collect();
            joined(&pieces)
        };
        let keys = (0..object.key.len())
            .map(column)
            .collect::<Result<Vec<_>>>()?;
        let order = KeyOrder::of(&keys, &keys)?;
        let mut ascending: Vec<usize> = (0..self.near.len()).collect();
        ascending.sort_by(|one, other| order.compare(*one, *other));
        ascending.dedup_by(|one, other| order.compare(*one, *other) == Ordering::Equal);
        let indices = UInt64Array::from_iter_values(ascending.iter().map(|at| *at as u64));
        let keys = keys
            .iter()
            .map(|keys| take(keys, &indices, None))
            .collect::<std::result::Result<_, _>>();
        let near = ascending.iter().map(|at| self.near[*at]).collect();
        Ok(Boundaries {
            keys: keys.io_context(|| "cannot choose keys".into())?,
            near,
        })
    }

    /// How many ranges there are.
    pub(in crate::engine::compaction) fn ranges(&self) -> usize {
        1 + self.near.len()
    }

    /// The positions, among keys that ascend, at which ranges begin and end, one more than there
    /// are ranges.
    pub(super) fn cut(&self, keys: &[ArrayRef]) -> Result<Vec<usize>> {
        let count = keys.first().map_or(0, |key| key.len());
        let mut cuts = vec![0];
        if self.ranges() > 1 {
            let order = KeyOrder::of(&self.keys, keys)?;
            let begin = |boundary: usize| {
                partition_point(count, |key| {
                    order.compare(boundary, key) == Ordering::Greater
                })
            };
            cuts.extend((0..self.near.len()).map(begin));
        }
        cuts.push(count);
        Ok(cuts)
    }

    /// Whether keys that ascend lie in a range.
    pub(super) fn hold(&self, range: usize, keys: &[ArrayRef]) -> Result<bool> {
        let rows = keys.first().map_or(0, |key| key.len());
        if rows == 0 || self.ranges() == 1 {
            return Ok(true);
        }
        let order = KeyOrder::of(&self.keys, keys)?;
        let after_begin = range == 0 || order.compare(range - 1, 0) != Ordering::Greater;
        let before_end =
            range + 1 == self.ranges() || order.compare(range, rows - 1) == Ordering::Greater;
        Ok(after_begin && before_end)
    }
}

impl SortedObject {
    /// An object of a table: `own` is its schema, `wide` that of the table.
    pub(in crate::engine::compaction) fn new(
        object: Arc<ParquetObject>,
        key: &[String],
        own: &Schema,
        wide: &Schema,
        unique: bool,
    ) -> Result<Self> {
        let of = |schema: &Schema| -> Result<SchemaRef> {
            let field = |name: &String| {
                schema
                    .field_with_name(name)
                    .cloned()
                    .io_context(|| format!("there is no column '{name}'"))
            };
            Ok(Arc::new(Schema::new(
                key.iter().map(field).collect::<Result<Vec<_>>>()?,
            )))
        };
        Ok(SortedObject {
            object,
            key: key.to_owned(),
            schemas: [of(own)?, of(wide)?],
            unique,
        })
    }

    /// The keys of a range of rows.
    fn keys(&self, rows: &Range<u64>) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.key.len()];
        for batch in self.object.read_rows(Some(&self.key), rows)? {
            let batch = conform(&conform(&batch?, &self.schemas[0])?, &self.schemas[1])?;
            columns
                .iter_mut()
                .zip(batch.columns())
                .for_each(|(column, piece)| column.push(one_zero(piece)));
        }
        columns.iter().map(|pieces| joined(pieces)).collect()
    }

    /// The first key of each row group.
    fn first_keys(&self) -> Result<Vec<ArrayRef>> {
        if let [key] = self.key.as_slice()
            && self.schemas[0] == self.schemas[1]
            && let Some(mins) = self
                .object
                .exact_mins(key)
                .filter(|mins| mins.data_type() == self.schemas[1].field(0).data_type())
        {
            return Ok(vec![mins]);
        }
        let firsts = self
            .object
            .group_starts()
            .into_iter()
            .map(|start| self.keys(&(start..start + 1)))
            .collect::<Result<Vec<_>>>()?;
        let column = |at: usize| {
            joined(
                &firsts
                    .iter()
                    .map(|keys| keys[at].clone())
                    .collect::<Vec<_>>(),
            )
        };
        (0..self.key.len()).map(column).collect()
    }

    /// The rows at which ranges begin and end, one more than there are ranges; nothing, if row
    /// groups do not ascend.
    pub(super) fn cut(&self, boundaries: &Boundaries) -> Result<Option<Vec<u64>>> {
        let mut cuts = vec![0];
        let starts = self.object.group_starts();
        if boundaries.ranges() > 1 && !starts.is_empty() {
            let firsts = self.first_keys()?;
            let steps = KeySteps::new(None, &firsts)?;
            let ascend = |group: usize| match steps.to(group) {
                KeyStep::Ascends => true,
                KeyStep::Repeats => !self.unique,
                KeyStep::Descends => false,
            };
            if !(0..starts.len()).all(ascend) {
                return Ok(None);
            }
            let order = KeyOrder::of(&firsts, &boundaries.keys)?;
            for boundary in 0..boundaries.near.len() {
                let after = partition_point(starts.len(), |group| {
                    order.compare(group, boundary) == Ordering::Less
                });
                let begins_a_group =
                    after < starts.len() && order.compare(after, boundary) == Ordering::Equal;
                let cut = if after == 0 {
                    0
                } else if begins_a_group && self.unique {
                    starts[after]
                } else {
                    let end = starts
                        .get(after)
                        .copied()
                        .unwrap_or_else(|| self.object.rows());
                    self.place(boundaries, boundary, starts[after - 1]..end)?
                };
                // In an object whose keys do not ascend positions may go back; ranges do not.
                cuts.push(cut.max(cuts[cuts.len() - 1]));
            }
        } else {
            cuts.resize(boundaries.ranges(), 0);
        }
        cuts.push(self.object.rows());
        Ok(Some(cuts))
    }

    /// The first of some rows, not empty, whose key is not less than a boundary's, or their end. It
    /// is looked for first where the boundary lies in the object that it was taken from: other
    /// days' rows are hardly at other places.
    fn place(&self, boundaries: &Boundaries, boundary: usize, rows: Range<u64>) -> Result<u64> {
        let less = |window: &Range<u64>| -> Result<u64> {
            let order = KeyOrder::of(&self.keys(window)?, &boundaries.keys)?;
            let count = usize::try_from(window.end - window.start).unwrap_or(usize::MAX);
            Ok(partition_point(count, |row| order.compare(row, boundary) == Ordering::Less) as u64)
        };
        let (position, of) = boundaries.near[boundary];
        let likely = u64::try_from(
            u128::from(position) * u128::from(self.object.rows()) / u128::from(of.max(1)),
        )
        .unwrap_or(0);
        let from = likely
            .saturating_sub(WINDOW / 2)
            .clamp(rows.start, rows.end - 1);
        let window = from..(from + WINDOW).min(rows.end);
        let found = less(&window)?;
        let (mut from, mut to) = match (
            found == 0 && window.start > rows.start,
            found == window.end - window.start && window.end < rows.end,
        ) {
            (true, _) => (rows.start, window.start),
            (_, true) => (window.end, rows.end),
            _ => return Ok(window.start + found),
        };
        while to - from > WINDOW {
            let middle = from.midpoint(to);
            if less(&(middle..middle + 1))? == 1 {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(if from == to {
            from
        } else {
            from + less(&(from..to))?
        })
    }
}

/// How many rows of a range keep what is held within the budget.
fn rows_of_a_range(pass: &Pass<'_>, objects: &[Arc<SortedObject>]) -> u64 {
    let held = 8 * (2 * pass.threads as u64 + 2);
    let range_bytes = (pass.memory.0 / held).min(RANGE_BYTES);
    let columns = pass.part.and_then(|part| part.columns.as_deref());
    let row_bytes = |sorted: &Arc<SortedObject>| {
        sorted.object.bytes_in_memory(columns) / sorted.object.rows().max(1)
    };
    let row_bytes = objects.iter().map(row_bytes).max().unwrap_or(0).max(1);
    (range_bytes / row_bytes).clamp(*RANGE_ROWS.start(), *RANGE_ROWS.end())
}

/// Divides the keys into ranges, and says where they lie in each object; nothing, if one cannot be
/// read by ranges.
///
/// Ranges are chosen by the largest object. Where the keys of others are not among its own, as in a
/// table that keeps the last month only, ranges would be as large as those: the largest of them is
/// divided by its own keys, until none is much too large.
pub(in crate::engine::compaction) fn cut(
    pass: &Pass<'_>,
    objects: &[Arc<SortedObject>],
) -> Result<Option<(Boundaries, Vec<Vec<u64>>)>> {
    let rows_each = rows_of_a_range(pass, objects);
    let rows_of_groups = |sorted: &Arc<SortedObject>| {
        sorted.object.rows() / sorted.object.group_starts().len().max(1) as u64
    };
    let is_coarse = |sorted: &Arc<SortedObject>| {
        !sorted.object.knows_its_pages() && rows_of_groups(sorted) > 4 * rows_each
    };
    if objects.iter().any(is_coarse) {
        return Ok(None);
    }
    let mut boundaries = match objects.iter().max_by_key(|sorted| sorted.object.rows()) {
        Some(largest) => {
            Boundaries::none().with(largest, &(0..largest.object.rows()), rows_each)?
        }
        None => Boundaries::none(),
    };
    let mut divisions = 0;
    loop {
        // Where the ranges lie in each object is looked up in parallel.
        let shared = Arc::new(boundaries);
        let task = |sorted: &Arc<SortedObject>| -> Task<Option<Vec<u64>>> {
            let sorted = sorted.clone();
            let boundaries = shared.clone();
            Box::new(move || sorted.cut(&boundaries))
        };
        let cuts: Option<Vec<Vec<u64>>> =
            OrderedPool::new(pass.threads, 2 * pass.threads, objects.iter().map(task))?
                .collect::<Result<_>>()?;
        let Some(cuts) = cuts else { return Ok(None) };
        boundaries = Arc::into_inner(shared)
            .ok_or_else(|| Error::internal("keys of ranges are still in use"))?;
        let ranges = cuts
            .iter()
            .zip(objects)
            .flat_map(|(cuts, sorted)| cuts.windows(2).map(move |ends| (sorted, ends[0]..ends[1])));
        let largest = ranges.max_by_key(|(_, rows)| rows.end - rows.start);
        match largest
            .filter(|(_, rows)| rows.end - rows.start > 2 * rows_each && divisions < DIVISIONS)
        {
            Some((sorted, rows)) => boundaries = boundaries.with(sorted, &rows, rows_each)?,
            None => return Ok(Some((boundaries, cuts))),
        }
        divisions += 1;
    }
}

fn joined(pieces: &[ArrayRef]) -> Result<ArrayRef> {
    match pieces {
        [one] => Ok(one.clone()),
        pieces => concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())
            .io_context(|| "cannot read keys".into()),
    }
}
