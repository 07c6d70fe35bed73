//! What a snapshot did to the rows of a part of a table, from its recorded changes
//! ([`crate::engine::changes`]).
//!
//! Rows that do not meet the part's condition are as if they were not there, so a change may be a
//! row that comes or goes; one in columns that are not compared is none.
//!
//! Memory: a row for each key that is edited.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{take_arrays, take_record_batch};
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::decode::RowShape;
use super::ranges::Boundaries;
use crate::domain::cast::conform;
use crate::domain::column_differ::differ;
use crate::domain::key_order::KeyOrder;
use crate::domain::merge_compaction::Edit;
use crate::engine::changes::RecordedChanges;
use crate::engine::table::convert;
use crate::error::{Context, Error, Result};
use crate::phases::Phase;

/// The edits of one date, in order of the key.
pub(super) struct DayEdits {
    keys: Vec<ArrayRef>,
    edits: Vec<Edit>,
    /// The rows of the keys: those of the snapshot, or the last ones of keys that went.
    rows: RecordBatch,
    /// Where ranges begin and end.
    cuts: Vec<usize>,
}

/// The edits of one date in one range.
pub(super) struct EditsOfRange<'a> {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) edits: &'a [Edit],
    pub(super) rows: RecordBatch,
}

impl DayEdits {
    /// `schema` has the columns of the snapshot, and `appeared` are the positions, among the
    /// compared columns, of those that the snapshot before did not have.
    pub(super) fn of(
        shape: &RowShape,
        recorded: &RecordedChanges,
        date: NaiveDate,
        schema: &SchemaRef,
        appeared: &[usize],
    ) -> Result<Self> {
        // Both sides of a part that observes have the columns of the snapshot: otherwise it is
        // decoded.
        let own = match &shape.part {
            Some(part) if part.observes => {
                convert(&recorded.rows, &shape.table.name, date, schema)?
            }
            _ => recorded.rows.clone(),
        };
        let (rows, chosen) = match &shape.part {
            None => (own, None),
            Some(part) => Phase::Query.spend(|| (part.rows)(&own))?,
        };
        let pairs = recorded.pairs()?;
        check_order(&shape.table.key_columns(&recorded.rows, date)?, &pairs)?;
        let positions = positions_among_chosen(recorded.rows.num_rows(), chosen.as_ref());
        let rows = conform(&rows, &shape.wide)?;
        let columns = shape.compared.iter().map(|at| rows.column(*at));
        let differs = columns
            .map(|column| differ(column, column))
            .collect::<Result<Vec<_>>>()?;
        let mut edits = Vec::new();
        let mut places = Vec::new();
        for (before, after) in pairs {
            let before = before.and_then(|row| positions[row]);
            let after = after.and_then(|row| positions[row]);
            let (edit, place) = match (before, after) {
                (None, None) => continue,
                (None, Some(after)) => (Edit::Added, after),
                (Some(before), None) => (Edit::Removed, before),
                (Some(before), Some(after)) => {
                    let differing = |at: &usize| differs[*at](before, after, 1) != 0;
                    let known = (0..differs.len())
                        .filter(|at| !appeared.contains(at))
                        .any(|at| differing(&at));
                    match (known, appeared.iter().any(differing)) {
                        (true, _) => (Edit::Changed, after),
                        (false, true) => (Edit::ChangedByNewColumns, after),
                        (false, false) => continue,
                    }
                }
            };
            edits.push(edit);
            places.push(u32::try_from(place).unwrap_or(u32::MAX));
        }
        let places = UInt32Array::from(places);
        let doing = || "cannot take rows".to_owned();
        let keys =
            take_arrays(&shape.table.key_columns(&rows, date)?, &places, None).io_context(doing)?;
        let rows = take_record_batch(&rows, &places).io_context(doing)?;
        let cuts = vec![0, edits.len()];
        Ok(DayEdits {
            keys,
            edits,
            rows,
            cuts,
        })
    }

    /// About how many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        let keys: usize = self
            .keys
            .iter()
            .map(|key| key.get_array_memory_size())
            .sum();
        (self.rows.get_array_memory_size() + keys) as u64
    }

    /// Finds where ranges begin and end.
    pub(super) fn cut(&mut self, boundaries: &Boundaries) -> Result<()> {
        self.cuts = boundaries.cut(&self.keys)?;
        Ok(())
    }

    /// Those of a range.
    pub(super) fn of_range(&self, range: usize) -> EditsOfRange<'_> {
        let from = self.cuts[range];
        let to = self.cuts[range + 1];
        EditsOfRange {
            keys: self
                .keys
                .iter()
                .map(|key| key.slice(from, to - from))
                .collect(),
            edits: &self.edits[from..to],
            rows: self.rows.slice(from, to - from),
        }
    }
}

/// Refuses images of a row that have two keys, and keys that do not ascend: sums of digests know
/// neither of pairs nor of order.
fn check_order(keys: &[ArrayRef], pairs: &[(Option<usize>, Option<usize>)]) -> Result<()> {
    let order = KeyOrder::of(keys, keys)?;
    let is_pair = |pair: &(Option<usize>, Option<usize>)| match pair {
        (Some(before), Some(after)) => order.compare(*before, *after).is_eq(),
        _ => true,
    };
    let key = |pair: &(Option<usize>, Option<usize>)| pair.0.or(pair.1).unwrap_or(0);
    let ascend = pairs
        .windows(2)
        .all(|two| order.compare(key(&two[0]), key(&two[1])).is_lt());
    if ascend && pairs.iter().all(is_pair) {
        Ok(())
    } else {
        Err(Error::refused("changes are not in order of the key"))
    }
}

/// The position of each row among the chosen ones, if it is chosen.
fn positions_among_chosen(rows: usize, chosen: Option<&BooleanArray>) -> Vec<Option<usize>> {
    match chosen {
        None => (0..rows).map(Some).collect(),
        Some(chosen) => {
            let mut next = 0..;
            chosen
                .iter()
                .map(|chosen| {
                    if chosen == Some(true) {
                        next.next()
                    } else {
                        None
                    }
                })
                .collect()
        }
    }
}
