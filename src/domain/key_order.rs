//! Keys in order: how they are compared and encoded, and the one check that they ascend.
//!
//! | question | item |
//! | --- | --- |
//! | which of two keys comes first, as columns | [`KeyOrder`] |
//! | which of two keys comes first, as bytes | [`KeyEncoder`] |
//! | does a key repeat or descend | [`KeySteps`] for columns, [`KeySequence`] for encoded keys |
//! | where does a key belong among others | [`partition_point`], [`gallop`] |

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DynComparator, RecordBatch, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};

use crate::error::{Context, Error, Result};

/// How a key follows the key of the row before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// It is greater, or there is no row before it.
    Ascends,
    /// It is the same key.
    Repeats,
    /// It is less.
    Descends,
}

impl KeyStep {
    /// The step to a key, from the order of the key before it and the key.
    fn of(before: Ordering) -> Self {
        match before {
            Ordering::Less => KeyStep::Ascends,
            Ordering::Equal => KeyStep::Repeats,
            Ordering::Greater => KeyStep::Descends,
        }
    }
}

/// The steps of the keys of one piece of rows.
///
/// A step is worked out when it is asked for: whoever knows of most rows that they are in order
/// asks for the others only.
pub struct KeySteps {
    within: KeyOrder,
    first: KeyStep,
}

impl KeySteps {
    /// The steps of `keys`, the first of them from the last of `before`. Both are key columns;
    /// `before` may be absent or empty.
    ///
    /// # Errors
    /// A refusal for a type that has no order.
    pub fn new(before: Option<&[ArrayRef]>, keys: &[ArrayRef]) -> Result<Self> {
        let rows = |keys: &[ArrayRef]| keys.first().map_or(0, |key| key.len());
        let first = match before.map(|before| (before, rows(before).checked_sub(1))) {
            Some((before, Some(last))) if rows(keys) > 0 => {
                KeyStep::of(KeyOrder::of(before, keys)?.compare(last, 0))
            }
            _ => KeyStep::Ascends,
        };
        Ok(KeySteps {
            within: KeyOrder::of(keys, keys)?,
            first,
        })
    }

    /// The step to the key of a row.
    pub fn to(&self, row: usize) -> KeyStep {
        match row.checked_sub(1) {
            None => self.first,
            Some(before) => KeyStep::of(self.within.compare(before, row)),
        }
    }
}

/// The steps of encoded keys that come batch by batch.
#[derive(Default)]
pub struct KeySequence {
    last: Option<OwnedRow>,
}

impl KeySequence {
    /// The step to each key of the next batch, which one encoder made for all batches.
    pub fn steps(&mut self, keys: &Rows) -> Vec<KeyStep> {
        let count = keys.num_rows();
        let step = |row: usize| {
            let current = keys.row(row);
            match (row.checked_sub(1), &self.last) {
                (Some(before), _) => KeyStep::of(keys.row(before).cmp(&current)),
                (None, Some(last)) => KeyStep::of(last.row().cmp(&current)),
                (None, None) => KeyStep::Ascends,
            }
        };
        let steps = (0..count).map(step).collect();
        if let Some(last) = count.checked_sub(1) {
            self.last = Some(keys.row(last).owned());
        }
        steps
    }
}

/// The order of the keys of two sets of rows, column by column.
pub struct KeyOrder(Vec<DynComparator>);

impl KeyOrder {
    /// Of the rows of `one` with those of `other`; both have the same columns.
    ///
    /// # Errors
    /// A refusal for a type that has no order.
    pub fn of(one: &[ArrayRef], other: &[ArrayRef]) -> Result<Self> {
        let comparator = |(one, other): (&ArrayRef, &ArrayRef)| {
            make_comparator(one, other, SortOptions::default())
        };
        let comparators = one
            .iter()
            .zip(other)
            .map(comparator)
            .collect::<Result<_, _>>();
        comparators
            .map(KeyOrder)
            .map_err(|error| Error::refused(format!("keys cannot be compared: {error}")))
    }

    /// How a row of the first compares with a row of the second.
    pub fn compare(&self, i: usize, j: usize) -> Ordering {
        self.0
            .iter()
            .map(|compare| compare(i, j))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// The first of `count` indices for which a condition, which holds for none after one for which it
/// does not, does not hold.
pub fn partition_point(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let mut from = 0;
    let mut to = count;
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

/// The first index from `from` to `end` for which a condition, as in [`partition_point`], does not
/// hold, if that is likely near: steps grow on the way.
pub fn gallop(mut from: usize, end: usize, holds: impl Fn(usize) -> bool) -> usize {
    let mut step = 1;
    while from + step <= end && holds(from + step - 1) {
        from += step;
        step *= 2;
    }
    from + partition_point((from + step - 1).min(end) - from, |at| holds(from + at))
}

/// Encodes the key columns of batches so that bytes sort as keys do.
pub struct KeyEncoder {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl KeyEncoder {
    /// An encoder for batches of `schema`.
    ///
    /// # Errors
    /// A usage error for a column that is not there; a refusal for a type that has no order.
    pub fn new(schema: &SchemaRef, keys: &[String]) -> Result<Self> {
        let columns = keys
            .iter()
            .map(|key| {
                schema
                    .index_of(key)
                    .map_err(|_| Error::usage(format!("there is no key column '{key}'")))
            })
            .collect::<Result<Vec<_>>>()?;
        let fields = columns
            .iter()
            .map(|index| SortField::new(schema.field(*index).data_type().clone()))
            .collect();
        let converter = RowConverter::new(fields).map_err(|error| {
            Error::refused(format!(
                "rows cannot be sorted by {}: {error}",
                keys.join(", ")
            ))
        })?;
        Ok(KeyEncoder { converter, columns })
    }

    /// The keys of a batch.
    ///
    /// # Errors
    /// An internal failure.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|index| one_zero(batch.column(*index)))
            .collect();
        self.converter
            .convert_columns(&columns)
            .internal_context(|| "cannot encode keys".into())
    }
}

/// A float column with one zero and one NaN, as keys are compared; any other column as it is.
pub fn one_zero(column: &ArrayRef) -> ArrayRef {
    let floats = column.as_ref();
    match column.data_type() {
        DataType::Float32 => {
            let one = |value: f32| {
                if value.is_nan() {
                    f32::NAN
                } else {
                    value + 0.0
                }
            };
            Arc::new(
                floats
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(one),
            )
        }
        DataType::Float64 => {
            let one = |value: f64| {
                if value.is_nan() {
                    f64::NAN
                } else {
                    value + 0.0
                }
            };
            Arc::new(
                floats
                    .as_primitive::<Float64Type>()
                    .unary::<_, Float64Type>(one),
            )
        }
        _ => column.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn keys(values: &[i64]) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(values.to_vec()))]
    }

    #[test]
    fn columns_and_encoded_keys_have_the_same_steps() {
        use KeyStep::{Ascends, Descends, Repeats};
        let pieces: [&[i64]; 4] = [&[1, 2], &[], &[2, 2, 5], &[4]];
        let expected: [&[KeyStep]; 4] = [
            &[Ascends, Ascends],
            &[],
            &[Repeats, Repeats, Ascends],
            &[Descends],
        ];
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let encoder = KeyEncoder::new(&schema, &["id".to_owned()]).expect("a key");
        let mut sequence = KeySequence::default();
        let mut before: Option<Vec<ArrayRef>> = None;
        for (piece, expected) in pieces.into_iter().zip(expected) {
            let columns = keys(piece);
            let steps = KeySteps::new(before.as_deref(), &columns).expect("integers");
            let of_columns: Vec<KeyStep> = (0..piece.len()).map(|row| steps.to(row)).collect();
            assert_eq!(of_columns, expected);
            let batch = RecordBatch::try_new(schema.clone(), columns.clone()).expect("a batch");
            let encoded = encoder.encode(&batch).expect("integers");
            assert_eq!(sequence.steps(&encoded), expected);
            if !piece.is_empty() {
                before = Some(columns);
            }
        }
    }

    #[test]
    fn zeros_are_one_key_and_so_are_nans() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0, f64::NAN, -f64::NAN]));
        let keys = [one_zero(&floats)];
        let steps = KeySteps::new(None, &keys).expect("floats");
        assert_eq!(steps.to(1), KeyStep::Repeats);
        assert_eq!(steps.to(3), KeyStep::Repeats);
    }

    #[test]
    fn galloping_finds_what_bisecting_finds() {
        for from in 0..20 {
            for end in from..20 {
                for first in 0..25 {
                    let holds = |at: usize| at < first;
                    let expected = first.clamp(from, end);
                    assert_eq!(gallop(from, end, holds), expected, "{from}..{end}, {first}");
                }
            }
        }
    }
}
