//! The cells of a column that is filled value by value.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder,
    NullBuilder, StringBuilder, Time64NanosecondBuilder, TimestampMicrosecondBuilder, UInt8Builder,
    UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, TimeUnit};

/// Values of one type.
pub(super) enum ColumnCells {
    Nulls(NullBuilder),
    Booleans(BooleanBuilder),
    Int8s(Int8Builder),
    Int16s(Int16Builder),
    Int32s(Int32Builder),
    Int64s(Int64Builder),
    UInt8s(UInt8Builder),
    UInt16s(UInt16Builder),
    UInt32s(UInt32Builder),
    UInt64s(UInt64Builder),
    Float32s(Float32Builder),
    Float64s(Float64Builder),
    Decimals(Decimal128Builder),
    Texts(StringBuilder),
    Binaries(BinaryBuilder),
    Dates(Date32Builder),
    Times(Time64NanosecondBuilder),
    Timestamps(TimestampMicrosecondBuilder),
}

/// Does the same with the builder of any type.
macro_rules! with_builder {
    ($cells:expr, $builder:ident => $do:expr) => {
        match $cells {
            ColumnCells::Nulls($builder) => $do,
            ColumnCells::Booleans($builder) => $do,
            ColumnCells::Int8s($builder) => $do,
            ColumnCells::Int16s($builder) => $do,
            ColumnCells::Int32s($builder) => $do,
            ColumnCells::Int64s($builder) => $do,
            ColumnCells::UInt8s($builder) => $do,
            ColumnCells::UInt16s($builder) => $do,
            ColumnCells::UInt32s($builder) => $do,
            ColumnCells::UInt64s($builder) => $do,
            ColumnCells::Float32s($builder) => $do,
            ColumnCells::Float64s($builder) => $do,
            ColumnCells::Decimals($builder) => $do,
            ColumnCells::Texts($builder) => $do,
            ColumnCells::Binaries($builder) => $do,
            ColumnCells::Dates($builder) => $do,
            ColumnCells::Times($builder) => $do,
            ColumnCells::Timestamps($builder) => $do,
        }
    };
}

impl ColumnCells {
    /// No cells yet. Those of a type that is not listed here are text.
    pub(super) fn of(data_type: &DataType) -> Self {
        use DataType as T;
        match data_type {
            T::Null => ColumnCells::Nulls(NullBuilder::new()),
            T::Boolean => ColumnCells::Booleans(BooleanBuilder::new()),
            T::Int8 => ColumnCells::Int8s(Int8Builder::new()),
            T::Int16 => ColumnCells::Int16s(Int16Builder::new()),
            T::Int32 => ColumnCells::Int32s(Int32Builder::new()),
            T::Int64 => ColumnCells::Int64s(Int64Builder::new()),
            T::UInt8 => ColumnCells::UInt8s(UInt8Builder::new()),
            T::UInt16 => ColumnCells::UInt16s(UInt16Builder::new()),
            T::UInt32 => ColumnCells::UInt32s(UInt32Builder::new()),
            T::UInt64 => ColumnCells::UInt64s(UInt64Builder::new()),
            T::Float32 => ColumnCells::Float32s(Float32Builder::new()),
            T::Float64 => ColumnCells::Float64s(Float64Builder::new()),
            T::Decimal128(..) => {
                ColumnCells::Decimals(Decimal128Builder::new().with_data_type(data_type.clone()))
            }
            T::Binary => ColumnCells::Binaries(BinaryBuilder::new()),
            T::Date32 => ColumnCells::Dates(Date32Builder::new()),
            T::Time64(TimeUnit::Nanosecond) => ColumnCells::Times(Time64NanosecondBuilder::new()),
            T::Timestamp(TimeUnit::Microsecond, _) => {
                let builder = TimestampMicrosecondBuilder::new();
                ColumnCells::Timestamps(builder.with_data_type(data_type.clone()))
            }
            _ => ColumnCells::Texts(StringBuilder::new()),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        with_builder!(self, builder => builder.len())
    }

    /// Adds a null.
    pub(super) fn push_null(&mut self) {
        with_builder!(self, builder => builder.append_null());
    }

    /// The cells so far; there are none then.
    pub(super) fn finish(&mut self) -> ArrayRef {
        with_builder!(self, builder => Arc::new(builder.finish()))
    }
}
