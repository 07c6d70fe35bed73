//! Compares two columns of one type: in which rows they differ, 64 rows at a time.
//!
//! A [`Differ`] is made once for a pair of arrays and then asked about blocks of up to 64 rows; the
//! answer is a mask, whose bit `k` says that row `k` of the block differs. Rows differ when one
//! `IS DISTINCT FROM` the other, by the rules of [`super::digest`]: null equals null, NaN equals
//! NaN, 0.0 equals -0.0. Blocks that are equal, as nearly all are, are told by comparing memory.
//!
//! Types that have no such kernel (lists, structs, maps) are compared by the digests of their
//! cells.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, GenericByteArray, PrimitiveArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    ByteArrayType, DataType, Date32Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type,
    GenericBinaryType, GenericStringType, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};

use super::digest::cell_digests;
use crate::error::Result;

/// How many rows a block has at most.
pub const BLOCK: usize = 64;

/// Says of two blocks, the one that begins at a row of the first array and the one that begins at a
/// row of the second, in which of their rows they differ. The third argument is their length, at
/// most [`BLOCK`].
pub type Differ<'a> = Box<dyn Fn(usize, usize, usize) -> u64 + 'a>;

/// A comparison of two arrays of one canonical type.
///
/// # Errors
/// A refusal for a type that cannot be compared.
pub fn differ<'a>(one: &'a ArrayRef, other: &'a ArrayRef) -> Result<Differ<'a>> {
    macro_rules! primitive {
        ($type:ty) => {
            primitive::<$type>(one, other, |a, b| a == b)
        };
    }
    Ok(match one.data_type() {
        DataType::Null => Box::new(|_, _, _| 0),
        DataType::Boolean => booleans(one.as_boolean(), other.as_boolean()),
        DataType::Int8 => primitive!(Int8Type),
        DataType::Int16 => primitive!(Int16Type),
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::UInt8 => primitive!(UInt8Type),
        DataType::UInt16 => primitive!(UInt16Type),
        DataType::UInt32 => primitive!(UInt32Type),
        DataType::UInt64 => primitive!(UInt64Type),
        DataType::Float32 => {
            primitive::<Float32Type>(one, other, |a, b| a == b || a.is_nan() && b.is_nan())
        }
        DataType::Float64 => {
            primitive::<Float64Type>(one, other, |a, b| a == b || a.is_nan() && b.is_nan())
        }
        DataType::Date32 => primitive!(Date32Type),
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => primitive!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType),
        DataType::Time32(TimeUnit::Millisecond) => primitive!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Nanosecond) => primitive!(Time64NanosecondType),
        DataType::Duration(TimeUnit::Second) => primitive!(DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => primitive!(DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => primitive!(DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => primitive!(DurationNanosecondType),
        DataType::Decimal128(_, _) => primitive!(Decimal128Type),
        DataType::Utf8 => {
            byte_strings::<GenericStringType<i32>>(one.as_string(), other.as_string())
        }
        DataType::Binary => {
            byte_strings::<GenericBinaryType<i32>>(one.as_binary(), other.as_binary())
        }
        _ => {
            let one = cell_digests(one)?;
            let other = cell_digests(other)?;
            Box::new(move |i, j, n| block_mask(&one[i..i + n], &other[j..j + n], |a, b| a == b))
        }
    })
}

/// The lowest `n` bits.
fn ones(n: usize) -> u64 {
    if n >= BLOCK { u64::MAX } else { (1 << n) - 1 }
}

/// `n` bits of a buffer from a position.
fn bits(buffer: &BooleanBuffer, at: usize, n: usize) -> u64 {
    let first = buffer.offset() + at;
    let bytes = &buffer.values()[first / 8..(first + n).div_ceil(8)];
    let mut wide = [0u8; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the lowest 64 bits are wanted"
    )]
    let word = (u128::from_le_bytes(wide) >> (first % 8)) as u64;
    word & ones(n)
}

/// Which of `n` rows are not null.
fn valid(nulls: Option<&NullBuffer>, at: usize, n: usize) -> u64 {
    nulls.map_or(ones(n), |nulls| bits(nulls.inner(), at, n))
}

fn some_nulls(array: &dyn Array) -> Option<&NullBuffer> {
    array.nulls().filter(|nulls| nulls.null_count() > 0)
}

/// The rows in which two slices of one length differ.
fn block_mask<T>(one: &[T], other: &[T], same: impl Fn(&T, &T) -> bool) -> u64
where
    T: PartialEq,
{
    if one == other {
        return 0;
    }
    one.iter()
        .zip(other)
        .enumerate()
        .fold(0, |mask, (row, (a, b))| {
            mask | u64::from(!same(a, b)) << row
        })
}

/// Of two valid values whether they differ, or else whether one is null and the other is not.
fn with_nulls<'a>(
    one: &'a dyn Array,
    other: &'a dyn Array,
    values: impl Fn(usize, usize, usize) -> u64 + 'a,
) -> Differ<'a> {
    let nulls = some_nulls(one);
    let other_nulls = some_nulls(other);
    if nulls.is_none() && other_nulls.is_none() {
        return Box::new(values);
    }
    Box::new(move |i, j, n| {
        let a = valid(nulls, i, n);
        let b = valid(other_nulls, j, n);
        (values(i, j, n) & a & b) | (a ^ b)
    })
}

fn primitive<'a, T: ArrowPrimitiveType>(
    one: &'a ArrayRef,
    other: &'a ArrayRef,
    same: fn(&T::Native, &T::Native) -> bool,
) -> Differ<'a> {
    let (one, other): (&PrimitiveArray<T>, &PrimitiveArray<T>) =
        (one.as_primitive(), other.as_primitive());
    let (a, b): (&[T::Native], &[T::Native]) = (one.values(), other.values());
    with_nulls(one, other, move |i, j, n| {
        block_mask(&a[i..i + n], &b[j..j + n], same)
    })
}

fn booleans<'a>(one: &'a BooleanArray, other: &'a BooleanArray) -> Differ<'a> {
    with_nulls(one, other, move |i, j, n| {
        bits(one.values(), i, n) ^ bits(other.values(), j, n)
    })
}

fn byte_strings<'a, T: ByteArrayType<Offset = i32>>(
    one: &'a GenericByteArray<T>,
    other: &'a GenericByteArray<T>,
) -> Differ<'a> {
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    with_nulls(one, other, move |i, j, n| {
        let a = &one.value_offsets()[i..=i + n];
        let b = &other.value_offsets()[j..=j + n];
        let a_bytes = &one.value_data()[place(a[0])..place(a[n])];
        let b_bytes = &other.value_data()[place(b[0])..place(b[n])];
        let shift = b[0].wrapping_sub(a[0]);
        if a_bytes == b_bytes && a.iter().zip(b).all(|(a, b)| b.wrapping_sub(*a) == shift) {
            return 0;
        }
        let of = |bytes: &'a [u8], offsets: &[i32], row: usize| {
            &bytes[place(offsets[row] - offsets[0])..place(offsets[row + 1] - offsets[0])]
        };
        (0..n).fold(0, |mask, row| {
            mask | u64::from(of(a_bytes, a, row) != of(b_bytes, b, row)) << row
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
    };
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    /// Which rows of the second array, from `j`, differ from those of the first, from `i`.
    fn differing(one: &ArrayRef, other: &ArrayRef, i: usize, j: usize, n: usize) -> Vec<usize> {
        let differ = differ(one, other).expect("canonical types");
        let mut rows = Vec::new();
        for at in (0..n).step_by(BLOCK) {
            let mask = differ(i + at, j + at, BLOCK.min(n - at));
            rows.extend(
                (0..BLOCK)
                    .filter(|bit| mask >> bit & 1 == 1)
                    .map(|bit| at + bit),
            );
        }
        rows
    }

    /// Whether rows differ, by the digests of cells, which are the definition.
    fn by_digests(one: &ArrayRef, other: &ArrayRef, i: usize, j: usize, n: usize) -> Vec<usize> {
        let one = cell_digests(one).expect("digests");
        let other = cell_digests(other).expect("digests");
        (0..n)
            .filter(|row| one[i + row] != other[j + row])
            .collect()
    }

    fn arrays(values: &[Option<i64>]) -> Vec<ArrayRef> {
        let texts = ["", "a", "ab", "b", "a longer text than fits in a register"];
        let text = |value: &i64| texts[usize::try_from(value.rem_euclid(5)).expect("small")];
        let floats = [
            0.0,
            -0.0,
            f64::NAN,
            1.5,
            f64::from_bits(f64::NAN.to_bits() | 1),
        ];
        let float = |value: &i64| floats[usize::try_from(value.rem_euclid(5)).expect("small")];
        vec![
            Arc::new(Int64Array::from(values.to_vec())),
            Arc::new(
                values
                    .iter()
                    .map(|value| value.as_ref().map(text))
                    .collect::<StringArray>(),
            ),
            Arc::new(
                values
                    .iter()
                    .map(|value| value.as_ref().map(text).map(str::as_bytes))
                    .collect::<BinaryArray>(),
            ),
            Arc::new(
                values
                    .iter()
                    .map(|value| value.as_ref().map(float))
                    .collect::<Float64Array>(),
            ),
            Arc::new(
                values
                    .iter()
                    .map(|value| value.map(|value| value % 2 == 0))
                    .collect::<BooleanArray>(),
            ),
            Arc::new(
                values
                    .iter()
                    .map(|value| value.map(i128::from))
                    .collect::<Decimal128Array>(),
            ),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                values
                    .iter()
                    .map(|value| value.map(|value| vec![Some(value), None])),
            )),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_type_differs_where_its_digests_do(
            rows in prop::collection::vec((prop::option::weighted(0.9, 0i64..6), prop::bool::weighted(0.05), prop::option::of(0i64..6)), 1..300),
            i in 0usize..70, j in 0usize..70,
        ) {
            let one: Vec<Option<i64>> = rows.iter().map(|(value, ..)| *value).collect();
            let other: Vec<Option<i64>> = rows.iter().map(|(value, changes, new)| if *changes { *new } else { *value }).collect();
            let i = i % one.len();
            let j = j % other.len();
            for (a, b) in arrays(&one).iter().zip(&arrays(&other)) {
                let n = a.len() - i.max(j);
                prop_assert_eq!(differing(a, b, i, j, n), by_digests(a, b, i, j, n), "{:?}", a.data_type());
                let a = a.slice(i, n);
                let b = b.slice(j, n);
                prop_assert_eq!(differing(&a, &b, 0, 0, n), by_digests(&a, &b, 0, 0, n), "a slice \
                 of {:?}", a.data_type());
            }
        }
    }
}
