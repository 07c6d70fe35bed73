//! Arrays of arrow-rs as arrays of polars, and back, over the same buffers. No value is converted.
//!
//! Each library has arrays of its own, and exports and imports them by the structs of the
//! [Arrow C Data Interface](https://arrow.apache.org/docs/format/CDataInterface.html). This file
//! holds the only `unsafe` code of the crate. It uses nothing else of asof, so that
//! `tests/sanitize` can run it, and all that stands on it, under AddressSanitizer and Miri.
//!
//! # Why this is sound
//!
//! 1. *The struct is one and the same.* [`FFI_ArrowArray`] and polars' `ArrowArray` are both
//!    `repr(C)`, with the ten fields of the specification in its order. The compiler compares size
//!    and alignment, and a test compares every field. The release callbacks differ only in the type
//!    that their argument points to, and
//!    [such functions are compatible](https://doc.rust-lang.org/std/primitive.fn.html#abi-compatibility).
//! 2. *It is released once.* It moves by value from one type into the other. Neither can be cloned,
//!    and whoever has it last calls its release callback when it is dropped, also when the import
//!    fails. Structs of children belong to that callback: it frees them as what they were made as.
//! 3. *The buffers are what the type says.* The type is not the caller's word: it is that of the
//!    array that is exported, by [`polars_type`] or [`arrow_type`], and both libraries refuse to
//!    make a nested array whose children are of other types. Each arm names one layout in both
//!    libraries, and a type that has no arm is refused before anything is exported. Where a library
//!    exports a layout wrongly, there is no arm, or [`without_null_buffers`] mends it.
//! 4. *The buffers live long enough.* With each buffer, an importer keeps the struct, and its
//!    exporter's private data keeps the array. So neither side minds which is dropped first.
//! 5. *The buffers are aligned.* Arrays of arrow-rs are, as polars needs them. The views of polars
//!    may begin at any 4 bytes: arrow-rs copies a buffer that is not aligned as it needs it.
//! 6. *Nobody writes to a shared buffer.* Both libraries write only to buffers that they allocated
//!    and that have one owner. An imported buffer they did not allocate, and one that is exported
//!    belongs to the exporter's private data too.
//! 7. *Threads.* The arrays of both libraries are `Send` and `Sync`, and a release callback drops
//!    one and does nothing else. So the last owner may drop it on any thread.
//!
//! What is said of the libraries was read in arrow 59.3.2 and polars-arrow 0.55.2. Read it again,
//! and run `tests/sanitize`, when either changes.

#![allow(
    unsafe_code,
    reason = "importing from the C Data Interface is unsafe in both libraries; why it is sound here stands above"
)]

use std::error::Error as StdError;
use std::fmt;

use arrow::array::{Array, ArrayRef, make_array};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::ffi::{FFI_ArrowArray, from_ffi_and_data_type};
use polars_arrow::array::Array as PolarsArray;
use polars_arrow::datatypes::{
    ArrowDataType as PolarsType, Field as PolarsField, IntegerType, TimeUnit as PolarsUnit,
};
use polars_arrow::ffi::{ArrowArray, export_array_to_c, import_array_from_c};

const _: () = assert!(
    size_of::<FFI_ArrowArray>() == size_of::<ArrowArray>()
        && align_of::<FFI_ArrowArray>() == align_of::<ArrowArray>(),
    "both are the struct of the C Data Interface"
);

/// Why an array cannot cross.
#[derive(Debug)]
pub(super) enum CrossingError {
    /// The other library has no such type; for a nested type, the one inside that it has not.
    NoSuchType(String),
    /// The other library does not take the array.
    Import(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for CrossingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CrossingError::NoSuchType(name) => write!(f, "no type for {name}"),
            CrossingError::Import(error) => error.fmt(f),
        }
    }
}

impl StdError for CrossingError {}

/// An array of arrow-rs as one of polars, over the same buffers.
pub(super) fn to_polars(array: &dyn Array) -> Result<Box<dyn PolarsArray>, CrossingError> {
    let data = array.to_data();
    let data_type = polars_type(data.data_type())
        .map_err(|inside| CrossingError::NoSuchType(inside.to_string()))?;
    let exported = FFI_ArrowArray::new(&data);
    // SAFETY: both are the struct of the C Data Interface (1), and this one moves (2).
    let exported = unsafe { std::mem::transmute::<FFI_ArrowArray, ArrowArray>(exported) };
    // SAFETY: arrow-rs exported a valid array, and `data_type` is its own type (3) to (7).
    unsafe { import_array_from_c(exported, data_type) }
        .map_err(|error| CrossingError::Import(Box::new(error)))
}

/// An array of polars as one of arrow-rs, over the same buffers.
pub(super) fn to_arrow(array: Box<dyn PolarsArray>) -> Result<ArrayRef, CrossingError> {
    let data_type = arrow_type(array.dtype())
        .map_err(|inside| CrossingError::NoSuchType(format!("{inside:?}")))?;
    let exported = export_array_to_c(array);
    // SAFETY: both are the struct of the C Data Interface (1), and this one moves (2).
    let mut exported = unsafe { std::mem::transmute::<ArrowArray, FFI_ArrowArray>(exported) };
    without_null_buffers(&mut exported, &data_type);
    // SAFETY: polars exported a valid array, and `data_type` is its own type (3) to (7).
    let imported = unsafe { from_ffi_and_data_type(exported, data_type) };
    imported
        .map(make_array)
        .map_err(|error| CrossingError::Import(Box::new(error)))
}

/// Takes the buffer away that polars gives arrays without values: the interface has none there, and
/// arrow-rs refuses it. It is a null pointer, and the release callback does not look at the number.
fn without_null_buffers(exported: &mut FFI_ArrowArray, data_type: &DataType) {
    match data_type {
        DataType::Null => exported.n_buffers = 0,
        DataType::List(item) | DataType::LargeList(item) => {
            without_null_buffers(child(exported, 0), item.data_type());
        }
        DataType::Struct(fields) => {
            for (index, field) in fields.iter().enumerate() {
                without_null_buffers(child(exported, index), field.data_type());
            }
        }
        _ => {}
    }
}

fn child(exported: &mut FFI_ArrowArray, index: usize) -> &mut FFI_ArrowArray {
    assert!(
        index < exported.num_children(),
        "a nested type has a child for each type inside"
    );
    // SAFETY: `children` points to that many pointers to structs, which `exported` owns until it is
    // released. It is borrowed mutably, so nobody else looks at them.
    unsafe { &mut **exported.children.add(index) }
}

/// The type of polars' arrays that has the layout of a type of arrow-rs; or the type, or the one
/// inside, for which polars would have to convert values or has no type at all.
pub(super) fn polars_type(data_type: &DataType) -> Result<PolarsType, DataType> {
    use {DataType as A, PolarsType as P};
    let field = |field: &Field| -> Result<PolarsField, DataType> {
        let inside = polars_type(field.data_type())?;
        let name = field.name().as_str().into();
        Ok(PolarsField::new(name, inside, field.is_nullable()))
    };
    Ok(match data_type {
        A::Null => P::Null,
        A::Boolean => P::Boolean,
        A::Int8 => P::Int8,
        A::Int16 => P::Int16,
        A::Int32 => P::Int32,
        A::Int64 => P::Int64,
        A::UInt8 => P::UInt8,
        A::UInt16 => P::UInt16,
        A::UInt32 => P::UInt32,
        A::UInt64 => P::UInt64,
        A::Float32 => P::Float32,
        A::Float64 => P::Float64,
        A::Utf8 => P::Utf8,
        A::LargeUtf8 => P::LargeUtf8,
        A::Utf8View => P::Utf8View,
        A::Binary => P::Binary,
        A::LargeBinary => P::LargeBinary,
        A::BinaryView => P::BinaryView,
        A::Date32 => P::Date32,
        A::Time64(TimeUnit::Nanosecond) => P::Time64(PolarsUnit::Nanosecond),
        A::Timestamp(unit, None) => P::Timestamp(polars_unit(*unit, data_type)?, None),
        // Another zone is a matter of polars' time zones, which may read it as another name.
        A::Timestamp(unit, Some(zone)) if &**zone == "UTC" => {
            P::Timestamp(polars_unit(*unit, data_type)?, Some("UTC".into()))
        }
        A::Duration(unit) => P::Duration(polars_unit(*unit, data_type)?),
        A::Decimal128(precision, scale) => match usize::try_from(*scale) {
            Ok(scale) if scale <= usize::from(*precision) => {
                P::Decimal(usize::from(*precision), scale)
            }
            _ => return Err(data_type.clone()),
        },
        A::List(item) => P::List(Box::new(field(item)?)),
        A::LargeList(item) => P::LargeList(Box::new(field(item)?)),
        A::Struct(fields) => {
            let fields = fields.iter().map(|inside| field(inside));
            P::Struct(fields.collect::<Result<_, _>>()?)
        }
        other => return Err(other.clone()),
    })
}

/// The unit of times, unless it is one that polars converts.
fn polars_unit(unit: TimeUnit, data_type: &DataType) -> Result<PolarsUnit, DataType> {
    match unit {
        TimeUnit::Second => Err(data_type.clone()),
        TimeUnit::Millisecond => Ok(PolarsUnit::Millisecond),
        TimeUnit::Microsecond => Ok(PolarsUnit::Microsecond),
        TimeUnit::Nanosecond => Ok(PolarsUnit::Nanosecond),
    }
}

/// The type of arrow-rs that has the layout of a type of polars' arrays; or the type, or the one
/// inside, that asof's tables do not have.
pub(super) fn arrow_type(data_type: &PolarsType) -> Result<DataType, PolarsType> {
    use {DataType as A, PolarsType as P};
    let field = |field: &PolarsField| -> Result<Field, PolarsType> {
        let inside = arrow_type(field.dtype())?;
        Ok(Field::new(field.name.as_str(), inside, field.is_nullable))
    };
    Ok(match data_type {
        P::Null => A::Null,
        P::Boolean => A::Boolean,
        P::Int8 => A::Int8,
        P::Int16 => A::Int16,
        P::Int32 => A::Int32,
        P::Int64 => A::Int64,
        P::UInt8 => A::UInt8,
        P::UInt16 => A::UInt16,
        P::UInt32 => A::UInt32,
        P::UInt64 => A::UInt64,
        P::Float32 => A::Float32,
        P::Float64 => A::Float64,
        // Not Utf8 and Binary, nor their large kin: polars exports a slice of their offsets at
        // twice its begin, and arrow-rs would read past their end. Its texts are views.
        P::Utf8View => A::Utf8View,
        P::BinaryView => A::BinaryView,
        P::Date32 => A::Date32,
        P::Time64(PolarsUnit::Nanosecond) => A::Time64(TimeUnit::Nanosecond),
        P::Timestamp(unit, zone) => A::Timestamp(
            arrow_unit(*unit),
            zone.as_ref().map(|zone| zone.as_str().into()),
        ),
        P::Duration(unit) => A::Duration(arrow_unit(*unit)),
        P::Decimal(precision, scale) => match (u8::try_from(*precision), i8::try_from(*scale)) {
            (Ok(precision @ 1..=38), Ok(scale)) => A::Decimal128(precision, scale),
            _ => return Err(data_type.clone()),
        },
        P::LargeList(item) => A::LargeList(field(item)?.into()),
        P::Struct(fields) => A::Struct(fields.iter().map(field).collect::<Result<_, _>>()?),
        // A Categorical or an Enum.
        P::Dictionary(keys, values, _) => {
            let keys = match keys {
                IntegerType::UInt8 => A::UInt8,
                IntegerType::UInt16 => A::UInt16,
                IntegerType::UInt32 => A::UInt32,
                _ => return Err(data_type.clone()),
            };
            A::Dictionary(Box::new(keys), Box::new(arrow_type(values)?))
        }
        other => return Err(other.clone()),
    })
}

fn arrow_unit(unit: PolarsUnit) -> TimeUnit {
    match unit {
        PolarsUnit::Second => TimeUnit::Second,
        PolarsUnit::Millisecond => TimeUnit::Millisecond,
        PolarsUnit::Microsecond => TimeUnit::Microsecond,
        PolarsUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int32Array, Int64Array, LargeListArray, StringArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::compute::cast;
    use polars_arrow::array::{
        BinaryArray as PolarsBinaryArray, BooleanArray as PolarsBooleanArray, DictionaryArray,
        ListArray as PolarsListArray, PrimitiveArray, StructArray as PolarsStructArray, Utf8Array,
        Utf8ViewArray, View,
    };
    use polars_arrow::bitmap::Bitmap;
    use polars_arrow::ffi::mmap::slice_and_owner;
    use polars_arrow::offset::OffsetsBuffer;

    use super::*;

    const LONG: &str = "a name that is not inline";

    #[test]
    fn both_structs_have_the_same_fields_in_the_same_order() {
        let numbers = Int32Array::from(vec![Some(1), None, Some(3), Some(4)]).slice(1, 3);
        let exported = FFI_ArrowArray::new(&numbers.to_data());
        // Each library derives how it shows them: `Name { length: 3, null_count: 1, ... }`.
        let fields = |shown: String| shown.split_once(' ').map(|(_, fields)| fields.to_owned());
        let there = fields(format!("{exported:?}"));
        // SAFETY: this is what `to_polars` does.
        let exported = unsafe { std::mem::transmute::<FFI_ArrowArray, ArrowArray>(exported) };
        assert!(
            there
                .as_ref()
                .is_some_and(|fields| fields.contains("length: 3, null_count: 1,"))
        );
        assert_eq!(fields(format!("{exported:?}")), there);
    }

    #[test]
    fn categories_cross_as_a_dictionary() {
        let keys = PrimitiveArray::<u32>::from([Some(0), Some(1), None, Some(0), Some(1)]);
        let names = Utf8ViewArray::from_slice_values(["small", LONG]);
        let sizes =
            DictionaryArray::try_from_keys(keys, names.boxed(), false).expect("a dictionary");
        let crossed = to_arrow(sizes.sliced(1, 4).boxed()).expect("it crosses");
        let texts = cast(&crossed, &DataType::Utf8).expect("texts");
        let expected = StringArray::from(vec![Some(LONG), None, Some("small"), Some(LONG)]);
        assert_eq!(texts.to_data(), expected.to_data());
    }

    #[test]
    fn a_type_of_the_other_library_alone_is_refused() {
        for wide in [PolarsType::Int128, PolarsType::UInt128, PolarsType::Unknown] {
            let inside = PolarsField::new("item".into(), wide.clone(), true);
            let list = PolarsType::LargeList(Box::new(inside));
            assert_eq!(arrow_type(&list), Err(wide));
        }
    }

    #[test]
    fn arrays_whose_slices_polars_exports_wrongly_are_refused() {
        let texts = ["a", "b", LONG];
        for array in [
            Utf8Array::<i32>::from_slice(texts).boxed(),
            Utf8Array::<i64>::from_slice(texts).boxed(),
            PolarsBinaryArray::<i32>::from_slice(texts).boxed(),
            PolarsBinaryArray::<i64>::from_slice(texts).boxed(),
        ] {
            let refused = to_arrow(array.sliced(2, 1));
            assert!(
                matches!(refused, Err(CrossingError::NoSuchType(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn values_and_nulls_of_polars_may_begin_at_different_bits() {
        let numbers = PrimitiveArray::from_vec((0..40).collect::<Vec<i64>>());
        let bits = (0..40).map(|at| at % 3 == 0).collect::<Bitmap>();
        let flags = PolarsBooleanArray::new(PolarsType::Boolean, bits, None);
        let names: Vec<String> = (0..40).map(|at| format!("{LONG} {at}")).collect();
        let names = Utf8ViewArray::from_slice_values(&names);
        let offsets = OffsetsBuffer::try_from((0..=40).collect::<Vec<i64>>()).expect("offsets");
        let of_items = PolarsListArray::<i64>::default_datatype(PolarsType::Utf8View);
        let lists = PolarsListArray::new(of_items, offsets, names.clone().boxed(), None);
        let fields = vec![
            PolarsField::new("number".into(), PolarsType::Int64, true),
            PolarsField::new("names".into(), lists.dtype().clone(), true),
        ];
        let columns = vec![numbers.clone().boxed(), lists.clone().boxed()];
        let structs = PolarsStructArray::new(PolarsType::Struct(fields), 40, columns, None);
        for array in [
            numbers.boxed(),
            flags.boxed(),
            names.boxed(),
            lists.boxed(),
            structs.boxed(),
        ] {
            let whole = to_arrow(array.clone()).expect("it crosses");
            for (begin, nulls) in [(0, 5), (3, 0), (3, 5), (8, 3), (9, 16), (11, 11)] {
                let valid = (0..40).map(|at| at % 4 != 1).collect::<Bitmap>();
                let validity = valid.sliced(nulls, 20);
                let sliced = array.sliced(begin, 20).with_validity(Some(validity));
                let crossed = to_arrow(sliced).expect("it crosses");
                for row in 0..20 {
                    let is_null = (nulls + row) % 4 == 1;
                    assert_eq!(crossed.is_null(row), is_null, "{:?}", array.dtype());
                    if !is_null {
                        let expected = whole.slice(begin + row, 1);
                        assert_eq!(&crossed.slice(row, 1), &expected, "{:?}", array.dtype());
                    }
                }
            }
        }
    }

    #[test]
    fn views_of_polars_may_begin_at_any_four_bytes() {
        let texts = Utf8ViewArray::from_slice_values(["inline", LONG]);
        let mut words = vec![0u32; 12];
        // Four bytes after what arrow-rs aligns a view to.
        let begin = (0..4)
            .find(|begin| words[*begin..].as_ptr().align_offset(16) == 3)
            .expect("one of four");
        for (at, view) in texts.views().iter().enumerate() {
            let view = [view.length, view.prefix, view.buffer_idx, view.offset];
            words[begin + 4 * at..][..4].copy_from_slice(&view);
        }
        // SAFETY: a view is four numbers of 32 bits, and `words` owns the eight of both.
        let views = unsafe {
            let views = std::slice::from_raw_parts(words[begin..].as_ptr().cast::<View>(), 2);
            slice_and_owner(views, words)
        };
        let buffers = texts.data_buffers().clone();
        let views = views.values().clone();
        let texts = Utf8ViewArray::try_new(PolarsType::Utf8View, views, buffers, None);
        let crossed = to_arrow(texts.expect("valid views").boxed()).expect("it crosses");
        let crossed: Vec<_> = crossed.as_string_view().iter().flatten().collect();
        assert_eq!(crossed, ["inline", LONG]);
    }

    #[test]
    fn a_buffer_of_arrow_is_released_when_its_last_user_is_dropped() {
        let numbers = Int64Array::from(vec![1, 2, 3]);
        let buffer = numbers.values().inner().clone();
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let offsets = OffsetBuffer::from_lengths([1, 2]);
        let lists = LargeListArray::new(item, offsets, Arc::new(numbers), None);
        let fields = vec![Field::new("lists", lists.data_type().clone(), true)];
        let structs = StructArray::new(fields.into(), vec![Arc::new(lists)], None);
        let users = buffer.strong_count();

        let crossed = to_polars(&structs).expect("it crosses");
        assert!(buffer.strong_count() > users);
        drop(structs);
        let sliced = crossed.sliced(1, 1);
        drop(crossed);
        assert!(buffer.strong_count() > 1);
        drop(sliced);
        assert_eq!(buffer.strong_count(), 1);
    }

    #[test]
    fn a_buffer_of_polars_is_released_when_its_last_user_is_dropped() {
        let numbers = PrimitiveArray::from_vec(vec![1i64, 2, 3]);
        let buffer = numbers.values().clone();
        let offsets = OffsetsBuffer::try_from(vec![0i64, 1, 3]).expect("offsets");
        let of_items = PolarsListArray::<i64>::default_datatype(PolarsType::Int64);
        let lists = PolarsListArray::new(of_items, offsets, numbers.boxed(), None);
        let fields = vec![PolarsField::new(
            "lists".into(),
            lists.dtype().clone(),
            true,
        )];
        let columns = vec![lists.boxed()];
        let structs = PolarsStructArray::new(PolarsType::Struct(fields), 2, columns, None);
        let users = buffer.storage_refcount();

        let crossed = to_arrow(structs.clone().boxed()).expect("it crosses");
        assert!(buffer.storage_refcount() > users);
        drop(structs);
        let sliced = crossed.slice(1, 1);
        drop(crossed);
        assert!(buffer.storage_refcount() > 1);
        drop(sliced);
        assert_eq!(buffer.storage_refcount(), 1);
    }

    #[test]
    fn an_array_that_is_not_imported_is_released() {
        let numbers = Int64Array::from(vec![1, 2, 3]);
        let buffer = numbers.values().inner().clone();
        let exported = FFI_ArrowArray::new(&numbers.to_data());
        drop(numbers);
        assert_eq!(buffer.strong_count(), 2);
        // SAFETY: as in `to_polars`; the type has a child, and the array has none to be read.
        let refused = unsafe {
            let exported = std::mem::transmute::<FFI_ArrowArray, ArrowArray>(exported);
            let field = PolarsField::new("a".into(), PolarsType::Int64, true);
            import_array_from_c(exported, PolarsType::Struct(vec![field]))
        };
        assert!(refused.is_err());
        assert_eq!(buffer.strong_count(), 1);
    }
}
