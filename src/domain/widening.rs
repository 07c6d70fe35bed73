//! Widening: which type may become which other, with every value kept exactly.
//!
//! A type may become a wider one of its family: integers wider integers, integers `float64` as far
//! as each value is exact, integers decimals that hold them, `float32` `float64`, dates timestamps,
//! timestamps finer units, decimals more digits, lists and structs element by element and field by
//! field (a new field is one of nulls), and null (a column that never had a value) anything. Every
//! other change is refused with both types named.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

/// Width in bits and signedness of an integer type.
pub(super) fn integer(data_type: &DataType) -> Option<(u32, bool)> {
    use DataType as T;
    Some(match data_type {
        T::Int8 => (8, true),
        T::Int16 => (16, true),
        T::Int32 => (32, true),
        T::Int64 => (64, true),
        T::UInt8 => (8, false),
        T::UInt16 => (16, false),
        T::UInt32 => (32, false),
        T::UInt64 => (64, false),
        _ => return None,
    })
}

/// The narrowest type that holds the values of both, or `None` if asof refuses to mix them.
///
/// Both are canonical. The result is the same whichever comes first, but for the order of a
/// struct's fields.
pub fn widen(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    if one == other {
        return Some(one.clone());
    }
    match (one, other) {
        (T::Null, wide) | (wide, T::Null) => return Some(wide.clone()),
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => return Some(T::Float64),
        (T::Timestamp(a, zone_a), T::Timestamp(b, zone_b)) if zone_a == zone_b => {
            return Some(T::Timestamp(*a.max(b), zone_a.clone()));
        }
        (T::Date32, T::Timestamp(unit, None)) | (T::Timestamp(unit, None), T::Date32) => {
            return Some(T::Timestamp(*unit, None));
        }
        (T::Duration(a), T::Duration(b)) => return Some(T::Duration(*a.max(b))),
        (T::Time32(_), T::Time64(unit)) | (T::Time64(unit), T::Time32(_)) => {
            return Some(T::Time64(*unit));
        }
        (T::List(a), T::List(b)) => {
            return Some(T::List(Arc::new(Field::new(
                "item",
                widen(a.data_type(), b.data_type())?,
                true,
            ))));
        }
        (T::Struct(a), T::Struct(b)) => return Some(T::Struct(widen_fields(a, b)?)),
        (T::Decimal128(p1, s1), T::Decimal128(p2, s2)) => {
            let scale = *s1.max(s2);
            let whole = (i16::from(*p1) - i16::from(*s1)).max(i16::from(*p2) - i16::from(*s2));
            let precision = u8::try_from(whole + i16::from(scale)).ok()?;
            return (precision <= 38).then_some(T::Decimal128(precision, scale));
        }
        _ => {}
    }
    match (integer(one), integer(other)) {
        (Some((bits_a, signed_a)), Some((bits_b, signed_b))) => {
            if signed_a == signed_b {
                return Some(if bits_a > bits_b {
                    one.clone()
                } else {
                    other.clone()
                });
            }
            let unsigned_bits = if signed_a { bits_b } else { bits_a };
            let signed_bits = if signed_a { bits_a } else { bits_b };
            match signed_bits.max(unsigned_bits * 2) {
                16 => Some(T::Int16),
                32 => Some(T::Int32),
                64 => Some(T::Int64),
                _ => None,
            }
        }
        (Some(integer), None) if matches!(other, T::Decimal128(..)) => with_digits(integer, other),
        (None, Some(integer)) if matches!(one, T::Decimal128(..)) => with_digits(integer, one),
        (Some(_), None) if matches!(other, T::Float32 | T::Float64) => Some(T::Float64),
        (None, Some(_)) if matches!(one, T::Float32 | T::Float64) => Some(T::Float64),
        _ => None,
    }
}

/// The decimal that also holds every integer of some bits and signedness.
fn with_digits((bits, signed): (u32, bool), decimal: &DataType) -> Option<DataType> {
    let DataType::Decimal128(precision, scale) = decimal else {
        return None;
    };
    let digits = match (bits, signed) {
        (8, _) => 3,
        (16, _) => 5,
        (32, _) => 10,
        (_, true) => 19,
        (_, false) => 20,
    };
    let scale = (*scale).max(0);
    let whole = (i16::from(*precision) - i16::from(scale)).max(digits);
    let precision = u8::try_from(whole + i16::from(scale)).ok()?;
    (precision <= 38).then_some(DataType::Decimal128(precision, scale))
}

/// The fields of both, in the order of the first and then of the second's own, each widened.
fn widen_fields(one: &Fields, other: &Fields) -> Option<Fields> {
    let peer = |field: &Field, fields: &Fields| {
        fields
            .iter()
            .find(|peer| peer.name() == field.name())
            .map(|peer| peer.data_type().clone())
    };
    let mut fields = Vec::new();
    for field in one {
        let wide = match peer(field, other) {
            Some(data_type) => widen(field.data_type(), &data_type)?,
            None => field.data_type().clone(),
        };
        fields.push(Field::new(field.name(), wide, true));
    }
    fields.extend(
        other
            .iter()
            .filter(|field| peer(field, one).is_none())
            .map(|field| field.as_ref().clone()),
    );
    Some(Fields::from(fields))
}

/// Whether values that convert exactly from one type to the other stay the same values: they have
/// equal digests, and their order does not change. Both types are canonical.
pub fn keeps_values(from: &DataType, to: &DataType) -> bool {
    widen(from, to).is_some()
}

/// A type into which the values of both convert exactly, so that declaring it settles a clash;
/// `None` if there is none.
pub(super) fn holding(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    if let Some(wide) = widen(one, other) {
        return Some(wide);
    }
    match (one, other) {
        (T::List(a), T::List(b)) => holding(a.data_type(), b.data_type())
            .map(|item| T::List(Arc::new(Field::new("item", item, true)))),
        // Bytes have no text that all programs agree on.
        (T::Binary, _) | (_, T::Binary) => None,
        _ => Some(T::Utf8),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::super::canonical_types::canonical;
    use super::super::canonical_types::tests::every_type;
    use super::*;

    #[test]
    fn widening_is_symmetric_idempotent_and_upward() {
        for a in every_type() {
            assert_eq!(canonical(&a), Some(a.clone()), "{a} is canonical");
            for b in every_type() {
                let wide = widen(&a, &b);
                assert_eq!(wide, widen(&b, &a), "{a} and {b}");
                if let Some(wide) = wide {
                    assert_eq!(
                        widen(&wide, &a).as_ref(),
                        Some(&wide),
                        "{a} goes into {wide}"
                    );
                    assert_eq!(
                        widen(&wide, &b).as_ref(),
                        Some(&wide),
                        "{b} goes into {wide}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_the_listed_widenings_are_taken() {
        use DataType as T;
        let some = [
            (T::Int32, T::Int64, T::Int64),
            (T::Int64, T::Float64, T::Float64),
            (T::Int32, T::Float32, T::Float64),
            (T::UInt32, T::Int32, T::Int64),
            (T::UInt8, T::Int64, T::Int64),
            (T::Null, T::Utf8, T::Utf8),
            (
                T::Date32,
                T::Timestamp(TimeUnit::Microsecond, None),
                T::Timestamp(TimeUnit::Microsecond, None),
            ),
            (
                T::Decimal128(10, 2),
                T::Decimal128(12, 4),
                T::Decimal128(12, 4),
            ),
            (
                T::Decimal128(10, 0),
                T::Decimal128(5, 4),
                T::Decimal128(14, 4),
            ),
        ];
        for (a, b, wide) in some {
            assert_eq!(widen(&a, &b), Some(wide), "{a} and {b}");
        }
        let none = [
            (T::Utf8, T::Int64),
            (T::Boolean, T::Int64),
            (T::UInt64, T::Int64),
            (
                T::Date32,
                T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (
                T::Timestamp(TimeUnit::Microsecond, None),
                T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (T::Utf8, T::Date32),
            (T::Decimal128(10, 2), T::Float64),
            (T::Decimal128(38, 0), T::Decimal128(38, 38)),
            (T::Utf8, T::Binary),
        ];
        for (a, b) in none {
            assert_eq!(widen(&a, &b), None, "{a} and {b}");
        }
    }

    #[test]
    fn nested_types_widen_inside() {
        let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
        let of = |fields: &[(&str, DataType)]| {
            DataType::Struct(
                fields
                    .iter()
                    .map(|(name, t)| Field::new(*name, t.clone(), true))
                    .collect(),
            )
        };
        assert_eq!(
            widen(&list(DataType::Null), &list(DataType::Utf8)),
            Some(list(DataType::Utf8))
        );
        assert_eq!(widen(&list(DataType::Int64), &list(DataType::Utf8)), None);
        let a = of(&[("x", DataType::Int32), ("y", DataType::Utf8)]);
        let b = of(&[("z", DataType::Boolean), ("x", DataType::Int64)]);
        assert_eq!(
            widen(&a, &b),
            Some(of(&[
                ("x", DataType::Int64),
                ("y", DataType::Utf8),
                ("z", DataType::Boolean)
            ]))
        );
        assert_eq!(widen(&a, &of(&[("x", DataType::Utf8)])), None);
    }
}
