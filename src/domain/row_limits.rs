//! Limits: how long a row and a key may be, and how many columns a table may have.
//!
//! A row is held in memory as a whole, and several times over: as text, as values, and in a batch
//! that is sorted or encoded. So the limit of a row follows from the memory that may be used, and
//! whoever raises it gives that memory. It is the limit of a field and of a line, too: no field is
//! longer than its row.
//!
//! Every format is held to the same limits. Text is refused before more than a row is in memory,
//! however it is compressed. Files that carry their types are looked at a batch at a time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{ArrowNativeType, DataType};

use crate::error::{Error, Result, shorten};
use crate::memory::MemoryBudget;

/// The most that any limit of bytes may be raised to: arrays of text hold two of it.
pub const MOST_BYTES: u64 = 1 << 30;
/// Which part of the memory a row may have.
const ROWS_IN_MEMORY: u64 = 32;
/// The bytes that a key may have by default.
const KEY_BYTES: u64 = 1 << 20;
/// The columns that a table may have by default.
const COLUMNS: usize = 100_000;

/// The bytes that the name of a column may have: it is in every footer and in many messages.
const NAME_BYTES: usize = 4 << 10;

/// How much of a source is taken for a row, a key and a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of a row: of CSV its record, of JSON its object, of other files its values.
    pub row_bytes: u64,
    /// The bytes of a row's key.
    pub key_bytes: u64,
    /// The columns of a table, and the fields of one nested column.
    pub columns: usize,
}

impl Limits {
    /// The limits with which an amount of memory suffices.
    pub fn of(memory: MemoryBudget) -> Self {
        Limits {
            row_bytes: (memory.0 / ROWS_IN_MEMORY).min(MOST_BYTES),
            key_bytes: KEY_BYTES,
            columns: COLUMNS,
        }
    }

    /// The refusal of a row at a place, which ends with its line or its number.
    pub fn long_row(&self, place: &str, column: Option<&str>) -> Error {
        let column = column.map(|column| format!(", column '{column}'"));
        let error = Error::refused(format!(
            "{place}{}: the row is longer than {}",
            column.unwrap_or_default(),
            shown(self.row_bytes)
        ));
        raise_bytes(error, "max_row", self.row_bytes)
    }

    /// The refusal of a key, in words.
    pub fn long_key(&self, what: &str) -> Error {
        let error = Error::refused(format!(
            "{what}: the key is longer than {}",
            shown(self.key_bytes)
        ));
        raise_bytes(error, "max_key", self.key_bytes)
    }

    /// Refuses more columns than a table may have, and empty names.
    ///
    /// # Errors
    /// A refusal that names the place.
    pub fn check_columns<'a>(
        &self,
        place: &str,
        mut names: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<()> {
        let columns = names.len();
        if columns <= self.columns {
            return match names.find(|name| name.len() > NAME_BYTES) {
                None => Ok(()),
                Some(name) => Err(Error::refused(format!(
                    "{place}: the name of a column is longer than {}: '{}'",
                    shown(NAME_BYTES as u64),
                    shorten(name)
                ))
                .hint("shorten the name in the source")),
            };
        }
        Err(Error::refused(format!(
            "{place}: there are {columns} columns, and the most is {}",
            self.columns
        ))
        .hint(format!("[limits] max_columns = {columns} in asof.toml")))
    }

    /// The refusal of objects that have more fields together than there may be.
    pub fn too_many_fields(&self, place: &str, fields: usize) -> Error {
        let error = Error::refused(format!(
            "{place}: the objects up to here have {fields} different fields, and the most is {}",
            self.columns
        ));
        let raised = self.columns.saturating_mul(2);
        error.hint(format!("[limits] max_columns = {raised} in asof.toml"))
    }

    /// The first row of a batch that is too long, and the name of its longest column.
    pub fn first_long_row<'a>(&self, batch: &'a RecordBatch) -> Option<(usize, &'a str)> {
        let (row, column) = first_longer(batch.columns(), self.row_bytes)?;
        Some((row, batch.schema_ref().fields().get(column)?.name()))
    }

    /// The first row whose key is too long.
    pub fn first_long_key(&self, keys: &RecordBatch) -> Option<usize> {
        first_longer(keys.columns(), self.key_bytes).map(|(row, _)| row)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::of(MemoryBudget::default())
    }
}

/// An amount of bytes as asof.toml has it.
fn shown(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{}MiB", bytes >> 20)
    } else if bytes.is_multiple_of(1 << 10) {
        format!("{}KiB", bytes >> 10)
    } else {
        format!("{bytes}B")
    }
}

/// The hint that a limit of bytes can be raised, if it can.
fn raise_bytes(error: Error, setting: &str, bytes: u64) -> Error {
    if bytes >= MOST_BYTES {
        return error.hint("keep long values in files of their own, and their paths in the table");
    }
    let twice = shown(bytes.saturating_mul(2).min(MOST_BYTES));
    error.hint(format!("[limits] {setting} = \"{twice}\" in asof.toml"))
}

/// The first row whose values in some columns have more bytes than `most`, and the number of the
/// column that has the most of them. Values of a fixed width do not count.
fn first_longer(columns: &[ArrayRef], most: u64) -> Option<(usize, usize)> {
    let all: u64 = columns.iter().map(bytes_of).sum();
    if all <= most {
        return None;
    }
    let rows = columns.first().map_or(0, |column| column.len());
    let mut lengths = vec![0u64; rows];
    for column in columns {
        add_lengths(column, &mut lengths);
    }
    let row = lengths.iter().position(|length| *length > most)?;
    let own = |column: &ArrayRef| {
        let mut length = [0];
        add_lengths(&column.slice(row, 1), &mut length);
        length[0]
    };
    let longest = (0..columns.len()).max_by_key(|at| own(&columns[*at]))?;
    Some((row, longest))
}

/// The bytes of the values of an array.
fn bytes_of(column: &ArrayRef) -> u64 {
    let items = |offsets: &[i32], items: &ArrayRef| {
        let first = offsets.first().map_or(0, |first| first.as_usize());
        bytes_of(&items.slice(first, spanned(offsets)))
    };
    match column.data_type() {
        DataType::Utf8 => spanned(column.as_string::<i32>().value_offsets()) as u64,
        DataType::Binary => spanned(column.as_binary::<i32>().value_offsets()) as u64,
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            items(lists.value_offsets(), lists.values())
        }
        DataType::Map(..) => {
            let maps = column.as_map();
            let entries: ArrayRef = Arc::new(maps.entries().clone());
            items(maps.value_offsets(), &entries)
        }
        DataType::Struct(_) => column.as_struct().columns().iter().map(bytes_of).sum(),
        fixed => (fixed.primitive_width().unwrap_or(0) * column.len()) as u64,
    }
}

/// How many bytes or items lie between the first and the last offset.
fn spanned(offsets: &[i32]) -> usize {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => last.as_usize() - first.as_usize(),
        _ => 0,
    }
}

/// Adds the bytes of each value of an array, if their width varies.
fn add_lengths(column: &ArrayRef, lengths: &mut [u64]) {
    let mut add_spans = |offsets: &[i32]| {
        for (length, offsets) in lengths.iter_mut().zip(offsets.windows(2)) {
            *length += spanned(offsets) as u64;
        }
    };
    match column.data_type() {
        DataType::Utf8 => add_spans(column.as_string::<i32>().value_offsets()),
        DataType::Binary => add_spans(column.as_binary::<i32>().value_offsets()),
        nested if nested.is_nested() => {
            for (row, length) in lengths.iter_mut().enumerate() {
                *length += bytes_of(&column.slice(row, 1));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let ids = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
        let names = Arc::new(StringArray::from(vec![
            Some("pen"),
            None,
            Some("a long name"),
        ]));
        let notes = Arc::new(StringArray::from(vec!["note", "a longer note", "x"]));
        RecordBatch::try_from_iter([("id", ids), ("name", names), ("note", notes)])
            .expect("a batch")
    }

    #[test]
    fn the_first_row_that_is_too_long_is_found_with_its_longest_column() {
        let batch = batch();
        let at = |row_bytes| Limits {
            row_bytes,
            ..Limits::default()
        };
        assert_eq!(at(13).first_long_row(&batch), None);
        assert_eq!(at(12).first_long_row(&batch), Some((1, "note")));
        assert_eq!(at(6).first_long_row(&batch), Some((0, "note")));
        let later = batch.slice(2, 1);
        assert_eq!(at(12).first_long_row(&later), None);
        assert_eq!(at(11).first_long_row(&later), Some((0, "name")));
    }

    #[test]
    fn a_nested_value_counts_as_a_whole() {
        use arrow::array::ListArray;
        use arrow::datatypes::Int64Type;
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1)]),
            Some(vec![Some(1); 1000]),
        ]);
        let batch = RecordBatch::try_from_iter([("list", Arc::new(lists) as ArrayRef)]);
        let limits = Limits {
            row_bytes: 4000,
            ..Limits::default()
        };
        assert_eq!(
            limits.first_long_row(&batch.expect("a batch")),
            Some((1, "list"))
        );
    }

    #[test]
    fn a_limit_follows_from_memory_and_a_hint_raises_it() {
        let limits = Limits::of(MemoryBudget(512 << 20));
        let error = limits.long_row("'x.csv', line 3", Some("note"));
        assert_eq!(
            error.to_string(),
            "'x.csv', line 3, column 'note': the row is longer than 16MiB"
        );
        assert_eq!(error.hints(), ["[limits] max_row = \"32MiB\" in asof.toml"]);
        let most = Limits::of(MemoryBudget(1 << 40));
        assert_eq!(most.row_bytes, MOST_BYTES);
        assert!(most.long_row("x", None).hints()[0].starts_with("keep long values"));
    }
}
