//! The keys of a join: as integers where that is the same rule, else as digests.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::digest::{key_digests, whole_decimal};
use crate::error::{Error, Result};

/// How keys are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// As the integers that they are.
    Integers,
    /// As digests.
    Digests,
}

impl KeyKind {
    /// How the keys of a table are held whose key columns have these types.
    pub fn of(types: &[&DataType]) -> Self {
        use DataType as T;
        match types {
            [T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32] => {
                KeyKind::Integers
            }
            _ => KeyKind::Digests,
        }
    }
}

/// JoinKeys of rows or of events. One with a null is null, and so is one that no key of a table can
/// be equal to.
pub enum JoinKeys {
    /// Of one column.
    Integers(Int64Array),
    /// Of any columns.
    Digests(Vec<Option<u128>>),
}

impl JoinKeys {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        match self {
            JoinKeys::Integers(keys) => keys.len(),
            JoinKeys::Digests(keys) => keys.len(),
        }
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that stand in columns.
    ///
    /// # Errors
    /// A refusal for a type that cannot be compared.
    pub fn of(kind: KeyKind, columns: &[ArrayRef]) -> Result<Self> {
        match (kind, columns) {
            (KeyKind::Integers, [column]) => Ok(JoinKeys::Integers(integers(column))),
            _ => Ok(JoinKeys::Digests(key_digests(columns)?)),
        }
    }
}

/// The integers that values are equal to; a value that is equal to none is null.
fn integers(column: &ArrayRef) -> Int64Array {
    fn whole<T: ArrowPrimitiveType>(column: &ArrayRef) -> Int64Array
    where
        T::Native: Into<i64>,
    {
        let values: &PrimitiveArray<T> = column.as_primitive();
        values.unary(Into::into)
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().clone(),
        DataType::Int8 => whole::<Int8Type>(column),
        DataType::Int16 => whole::<Int16Type>(column),
        DataType::Int32 => whole::<Int32Type>(column),
        DataType::UInt8 => whole::<UInt8Type>(column),
        DataType::UInt16 => whole::<UInt16Type>(column),
        DataType::UInt32 => whole::<UInt32Type>(column),
        DataType::UInt64 => column
            .as_primitive::<UInt64Type>()
            .unary_opt(|value| i64::try_from(value).ok()),
        DataType::Float32 => column
            .as_primitive::<Float32Type>()
            .unary_opt(|value| whole_number(f64::from(value))),
        DataType::Float64 => column.as_primitive::<Float64Type>().unary_opt(whole_number),
        DataType::Decimal128(_, scale) => {
            let whole =
                |value| whole_decimal(value, *scale).and_then(|whole| i64::try_from(whole).ok());
            column.as_primitive::<Decimal128Type>().unary_opt(whole)
        }
        _ => Int64Array::new_null(column.len()),
    }
}

/// The integer that a float is.
fn whole_number(value: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a whole number from -2^63 up to, and without, 2^63"
    )]
    (value.fract() == 0.0 && (-BEYOND..BEYOND).contains(&value)).then_some(value as i64)
}

/// The keys of a table, gathered batch by batch.
pub(super) enum GatheredKeys {
    Integers(Vec<i64>),
    Digests(Vec<u128>),
}

impl GatheredKeys {
    pub(super) fn new(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Integers => GatheredKeys::Integers(Vec::new()),
            KeyKind::Digests => GatheredKeys::Digests(Vec::new()),
        }
    }

    pub(super) fn kind(&self) -> KeyKind {
        match self {
            GatheredKeys::Integers(_) => KeyKind::Integers,
            GatheredKeys::Digests(_) => KeyKind::Digests,
        }
    }

    /// Adds the keys of the next rows.
    ///
    /// # Errors
    /// A refusal of a key that is null.
    pub(super) fn push(&mut self, keys: &JoinKeys) -> Result<()> {
        let null = || Error::refused("a key is null").hint("asof verify");
        match (self, keys) {
            (GatheredKeys::Integers(all), JoinKeys::Integers(keys)) if keys.null_count() == 0 => {
                all.extend_from_slice(keys.values());
            }
            (GatheredKeys::Digests(all), JoinKeys::Digests(keys)) => {
                for key in keys {
                    all.push(key.ok_or_else(null)?);
                }
            }
            _ => return Err(null()),
        }
        Ok(())
    }
}
