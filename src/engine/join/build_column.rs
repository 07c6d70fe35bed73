//! One column of a join's build side, from which the rows that events meet are taken.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_empty_array, new_null_array};
use arrow::compute::{cast, concat, interleave, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::storage::parquet::writer::DICTIONARY_BYTES;

/// The most bytes of a text that may be in a dictionary.
const MOST_SHORT: i32 = 64;

/// A column of the build side. It is one array, unless its text is more than one array holds.
pub(super) struct BuildColumn {
    parts: Vec<ArrayRef>,
    /// The number of each part's first row.
    starts: Vec<u32>,
}

impl BuildColumn {
    /// The column of parts, in their order.
    pub(super) fn of(parts: Vec<ArrayRef>, data_type: &DataType) -> Self {
        let parts = packed(&parts).unwrap_or(parts);
        let parts = if parts.is_empty() {
            vec![new_empty_array(data_type)]
        } else {
            parts
        };
        let parts = match parts.as_slice() {
            [whole] => vec![of_few_texts(whole).unwrap_or_else(|| whole.clone())],
            _ => parts,
        };
        let starts = parts.iter().scan(0u32, |next, part| {
            let start = *next;
            *next = start.saturating_add(u32::try_from(part.len()).unwrap_or(u32::MAX));
            Some(start)
        });
        let starts = starts.collect();
        BuildColumn { parts, starts }
    }

    /// The values of rows by number, null where there is no row.
    pub(super) fn rows(&self, rows: &UInt32Array) -> Result<ArrayRef, ArrowError> {
        let data_type = self.parts[0].data_type();
        if rows.null_count() == rows.len() && self.parts.iter().all(|part| part.is_empty()) {
            return Ok(new_null_array(data_type, rows.len()));
        }
        if let [whole] = self.parts.as_slice() {
            return take(whole, rows, None);
        }
        let null = new_null_array(data_type, 1);
        let sources: Vec<&dyn Array> = self
            .parts
            .iter()
            .chain([&null])
            .map(AsRef::as_ref)
            .collect();
        let place = |row: Option<u32>| match row {
            None => (self.parts.len(), 0),
            Some(row) => {
                let part = self.starts.partition_point(|start| *start <= row) - 1;
                (part, (row - self.starts[part]) as usize)
            }
        };
        interleave(&sources, &rows.iter().map(place).collect::<Vec<_>>())
    }
}

/// A dictionary of texts, if they are short and so few that no dictionary of the output can be
/// full, and no page for its bytes.
///
/// Where dictionaries and pages end would else depend on whether texts come in a dictionary, and so
/// on what other dates the build side serves.
fn of_few_texts(texts: &ArrayRef) -> Option<ArrayRef> {
    let offsets = texts.as_string_opt::<i32>()?.value_offsets();
    let is_short = offsets
        .windows(2)
        .all(|ends| ends[1] - ends[0] <= MOST_SHORT);
    // Fails if there are more texts than numbers for them.
    let few = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
    let dictionary = if is_short {
        cast(texts, &few).ok()?
    } else {
        return None;
    };
    let distinct = dictionary.as_any_dictionary().values().as_string::<i32>();
    // Each has its length before it.
    let bytes = distinct.value_data().len() + 4 * distinct.len();
    (bytes < DICTIONARY_BYTES).then_some(dictionary)
}

/// As few arrays as hold the parts; `None` if these are not fewer.
fn packed(parts: &[ArrayRef]) -> Option<Vec<ArrayRef>> {
    if parts.len() < 2 {
        return None;
    }
    let sources: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    if let Ok(whole) = concat(&sources) {
        return Some(vec![whole]);
    }
    let (one, other) = parts.split_at(parts.len() / 2);
    let halves = [one, other].map(|half| packed(half).unwrap_or_else(|| half.to_vec()));
    Some(halves.concat())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn rows_are_taken_from_any_number_of_parts() {
        use arrow::array::StringArray;
        let parts: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["a", "b"])),
            Arc::new(StringArray::from(vec!["c", "d", "e"])),
        ];
        let rows = UInt32Array::from(vec![Some(4), None, Some(1), Some(2)]);
        let apart = BuildColumn {
            parts: parts.clone(),
            starts: vec![0, 2],
        };
        let whole = BuildColumn::of(parts, &DataType::Utf8);
        assert_eq!(
            (whole.parts.len(), whole.starts.as_slice()),
            (1, [0].as_slice())
        );
        let expected: ArrayRef = Arc::new(StringArray::from(vec![
            Some("e"),
            None,
            Some("b"),
            Some("c"),
        ]));
        for (column, is_dictionary) in [(apart, false), (whole, true)] {
            let texts = column.rows(&rows).expect("rows");
            assert_eq!(
                matches!(texts.data_type(), DataType::Dictionary(..)),
                is_dictionary
            );
            assert_eq!(&cast(&texts, &DataType::Utf8).expect("texts"), &expected);
            assert_eq!(
                column
                    .rows(&UInt32Array::new_null(2))
                    .expect("nulls")
                    .logical_null_count(),
                2
            );
        }
        let none = BuildColumn::of(Vec::new(), &DataType::Utf8);
        assert_eq!(
            none.rows(&UInt32Array::new_null(2))
                .expect("nulls")
                .logical_null_count(),
            2
        );
    }

    #[test]
    fn texts_that_are_long_or_many_are_no_dictionary() {
        use arrow::array::StringArray;
        let column = |texts: Vec<String>| {
            BuildColumn::of(vec![Arc::new(StringArray::from(texts))], &DataType::Utf8)
        };
        let is_dictionary =
            |column: &BuildColumn| matches!(column.parts[0].data_type(), DataType::Dictionary(..));
        assert!(is_dictionary(&column(vec!["x".repeat(64); 3])));
        assert!(!is_dictionary(&column(vec![
            "x".repeat(65),
            "y".to_owned()
        ])));
        // 4 bytes each, and 4 for the length.
        let numbers = |count: u32| {
            (1_000..1_000 + count)
                .map(|number| number.to_string())
                .chain(["1000".to_owned()])
                .collect()
        };
        assert!(is_dictionary(&column(numbers(8_191))));
        assert!(!is_dictionary(&column(numbers(8_192))));
        assert!(!is_dictionary(&column(
            (0..70_000).map(|number| number.to_string()).collect()
        )));
    }
}
