//! What is said of a column's values, on one side or on two.
//!
//! | | |
//! | --- | --- |
//! | a value | what is not null; NaN is one value, 0.0 and -0.0 are one: [`super::digest`] |
//! | least, greatest | in the order of the type: numbers by value, text and bytes by their bytes, `false` before `true`; NaN is left out; lists, structs and maps have none |
//! | mean | of integers, floats and decimals, as a float of 64 bits; NaN is left out |
//! | most frequent | by their number, and those of one number as they appear |

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

/// What is said of a column's values, and how often the most frequent ones occur.
#[derive(Clone, Debug)]
pub struct ColumnStatistics {
    /// Of each side: one state of a table, or two that are compared.
    pub sides: Vec<SideStatistics>,
    /// The values that are among the most frequent ones of a side; those that occur most often on
    /// all sides together come first.
    pub frequent: ArrayRef,
    /// For each of them, how often it occurs on each side.
    pub counts: Vec<Vec<u64>>,
}

/// What is said of a column's values on one side.
#[derive(Clone, Debug, Default)]
pub struct SideStatistics {
    /// How many rows there are.
    pub rows: u64,
    /// In how many of them the column is null.
    pub nulls: u64,
    /// In how many of them a float is not a number.
    pub nans: u64,
    /// How many different values there are.
    pub distinct: u64,
    /// The least value, as a column of one row.
    pub min: Option<ArrayRef>,
    /// The greatest value, likewise.
    pub max: Option<ArrayRef>,
    /// The mean. None without a value, and if the sum is not finite.
    pub mean: Option<f64>,
}

/// Whether values of a type have a least and a greatest.
pub fn has_order(data_type: &DataType) -> bool {
    !data_type.is_nested() && !data_type.is_null()
}

/// Whether values of a type have a mean.
pub fn has_mean(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
