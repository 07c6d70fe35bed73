//! Digests: when two rows are the same, and when two snapshots are.
//!
//! Two rows are the same when every attribute `IS NOT DISTINCT FROM` its peer: null equals null,
//! NaN equals NaN, 0.0 equals -0.0, lists and structs by value, text by bytes. Instead of holding
//! rows to compare them, asof holds a 128-bit digest of each, built so that equal rows have equal
//! digests *across schema changes*:
//!
//! - a value is hashed as the member of its family, not as its encoding: `5` as int32, int64,
//!   float64 and decimal is one value, midnight as a date and as a timestamp is one value. So
//!   widening a column changes no digest;
//! - a cell's hash is seeded by its column's name, and a null adds nothing. So a column that is
//!   absent and one that is all null give the same digest, in whatever order columns stand.
//!
//! Cells are xxh3-128 hashes and add up modulo 2^128; a row's digest is the xxh3-128 of that sum,
//! so that values cannot trade places between rows. A snapshot's [`Fingerprint`] is the hash of the
//! sum of its rows' digests and of their count: independent of row order and of file encoding. It
//! is made to tell apart what happens, not to withstand somebody who constructs collisions.
//!
//! Work goes column by column over a batch: one pass over each column's buffers, one `u128` a row.

use std::fmt;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, ListArray, MapArray, PrimitiveArray,
    RecordBatch, StructArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128, xxh3_128_with_seed};

use super::schema::columns_by_name;
use crate::error::{Error, Result};

/// Families of values; values of different families are never equal.
mod family {
    pub(super) const BOOL: u64 = 0x9e37_79b9_7f4a_7c15;
    pub(super) const INTEGER: u64 = 0xbf58_476d_1ce4_e5b9;
    pub(super) const FRACTION: u64 = 0x94d0_49bb_1331_11eb;
    pub(super) const TEXT: u64 = 0xd6e8_feb8_6659_fd93;
    pub(super) const BINARY: u64 = 0xa076_1d64_78bd_642f;
    pub(super) const CALENDAR: u64 = 0xe703_7ed1_a0b4_28db;
    pub(super) const INSTANT: u64 = 0x8ebc_6af0_9c88_c6e3;
    pub(super) const TIME: u64 = 0x5899_65cc_7537_4cc3;
    pub(super) const DURATION: u64 = 0x1d8e_4e27_c47d_124f;
    pub(super) const DECIMAL: u64 = 0xeb44_acca_b455_d165;
    pub(super) const LIST: u64 = 0x2d35_8dcc_aa6c_78a5;
    pub(super) const STRUCT: u64 = 0x8bb8_4b93_962e_acc9;
}

/// The content hash of a snapshot's typed rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = (text.len() == 32)
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        parsed
            .map(Fingerprint)
            .ok_or_else(|| Error::refused(format!("'{text}' is not a fingerprint")))
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Sums the digests of rows into a fingerprint; rows can be taken away again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSum {
    sum: u128,
    rows: u64,
}

impl RowSum {
    /// A sum that was told.
    pub fn of(sum: u128, rows: u64) -> Self {
        RowSum { sum, rows }
    }

    /// The sum of the digests.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Adds rows by their digests.
    pub fn add(&mut self, digests: &[u128]) {
        for digest in digests {
            self.sum = self.sum.wrapping_add(*digest);
        }
        self.rows = self.rows.wrapping_add(digests.len() as u64);
    }

    /// Takes one row away that was added, here or in the sum that this one is added to.
    pub fn take(&mut self, digest: u128) {
        self.sum = self.sum.wrapping_sub(digest);
        self.rows = self.rows.wrapping_sub(1);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: RowSum) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.rows = self.rows.wrapping_add(other.rows);
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The fingerprint of exactly these rows.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut bytes = [0u8; 24];
        bytes[..16].copy_from_slice(&self.sum.to_le_bytes());
        bytes[16..].copy_from_slice(&self.rows.to_le_bytes());
        Fingerprint(xxh3_128(&bytes))
    }
}

/// One digest a row over the named columns of a batch whose types are canonical, or dictionaries of
/// such values; a name that the batch lacks counts as null. The order of names does not matter.
///
/// # Errors
/// A refusal for a column whose type is not canonical.
pub fn row_digests<'a>(
    batch: &RecordBatch,
    columns: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<u128>> {
    let own = columns_by_name(batch);
    let mut sums = vec![0u128; batch.num_rows()];
    for name in columns {
        if let Some(column) = own.get(name) {
            add_cells(column, xxh3_64(name.as_bytes()), &mut sums)?;
        }
    }
    seal(&mut sums, 0);
    Ok(sums)
}

/// For each of the named columns, one digest a cell, as [`cell_digests`] gives them. Cells of a
/// column that the batch lacks are null.
///
/// # Errors
/// A refusal for a column whose type is not canonical.
pub fn digests_by_column<'a>(
    batch: &RecordBatch,
    columns: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Vec<u128>>> {
    let own = columns_by_name(batch);
    let digests = |name| match own.get(name) {
        Some(column) => cell_digests(column),
        None => Ok(vec![0; batch.num_rows()]),
    };
    columns.into_iter().map(digests).collect()
}

/// One digest a row over key columns, by position: columns of two tables that hold the same typed
/// tuple give the same digest whatever they are called. A row with a null gives `None`.
///
/// # Errors
/// A refusal for a column whose type is not canonical.
pub fn key_digests(columns: &[ArrayRef]) -> Result<Vec<Option<u128>>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let mut sums = vec![0u128; rows];
    for (position, column) in columns.iter().enumerate() {
        add_cells(column, xxh3_64(&(position as u64).to_le_bytes()), &mut sums)?;
    }
    seal(&mut sums, 0);
    let nulls: Vec<_> = columns
        .iter()
        .filter_map(|column| column.logical_nulls())
        .collect();
    let any_null = |row: usize| nulls.iter().any(|nulls| nulls.is_null(row));
    Ok(sums
        .into_iter()
        .enumerate()
        .map(|(row, sum)| (!any_null(row)).then_some(sum))
        .collect())
}

/// One digest a cell of a column, zero for a null.
///
/// # Errors
/// A refusal for a column whose type is not canonical.
pub fn cell_digests(column: &ArrayRef) -> Result<Vec<u128>> {
    let mut cells = vec![0u128; column.len()];
    add_cells(column, 0, &mut cells)?;
    Ok(cells)
}

/// Whether values of the two types can ever be equal, so that a join on them makes sense.
pub fn comparable(one: &DataType, other: &DataType) -> bool {
    let number =
        |t: &DataType| t.is_integer() || matches!(t, DataType::Float32 | DataType::Float64);
    let whole = |t: &DataType| t.is_integer() || matches!(t, DataType::Decimal128(_, ..=0));
    let decimal = |t: &DataType| matches!(t, DataType::Decimal128(..));
    let exact = |one: &DataType, other: &DataType| {
        (number(one) && (number(other) || whole(other))) || (whole(one) && decimal(other))
    };
    super::widening::widen(one, other).is_some() || exact(one, other) || exact(other, one)
}

/// Turns sums of cells into digests, so that sums of digests no longer split into cells.
fn seal(sums: &mut [u128], seed: u64) {
    for sum in sums {
        *sum = xxh3_128_with_seed(&sum.to_le_bytes(), seed);
    }
}

/// Adds the hash of each non-null cell to its row's sum.
fn add_cells(column: &ArrayRef, seed: u64, sums: &mut [u128]) -> Result<()> {
    let array = column.as_ref();
    match array.data_type() {
        DataType::Null => {}
        DataType::Boolean => {
            let values: &BooleanArray = array.as_boolean();
            each(values, sums, |row| {
                hash(&[u8::from(values.value(row))], seed ^ family::BOOL)
            });
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            each(values, sums, |row| {
                hash(values.value(row).as_bytes(), seed ^ family::TEXT)
            });
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            each(values, sums, |row| {
                hash(values.value(row), seed ^ family::BINARY)
            });
        }
        DataType::Dictionary(..) => add_dictionary(array, seed, sums)?,
        data_type if data_type.is_numeric() => add_numbers(array, seed, sums)?,
        data_type if data_type.is_temporal() => add_times(array, seed, sums)?,
        _ => add_nested(array, seed, sums)?,
    }
    Ok(())
}

/// Adds the cells of a dictionary, each value of which is hashed once; they are those of its
/// values.
fn add_dictionary(array: &dyn Array, seed: u64, sums: &mut [u128]) -> Result<()> {
    let dictionary = array
        .as_dictionary_opt::<Int32Type>()
        .ok_or_else(|| not_canonical(array))?;
    let mut cells = vec![0u128; dictionary.values().len()];
    add_cells(dictionary.values(), seed, &mut cells)?;
    let keys = dictionary.keys();
    each(keys, sums, |row| {
        usize::try_from(keys.value(row)).map_or(0, |key| cells[key])
    });
    Ok(())
}

fn add_numbers(array: &dyn Array, seed: u64, sums: &mut [u128]) -> Result<()> {
    match array.data_type() {
        DataType::Int8 => integers::<Int8Type>(array, seed, sums),
        DataType::Int16 => integers::<Int16Type>(array, seed, sums),
        DataType::Int32 => integers::<Int32Type>(array, seed, sums),
        DataType::Int64 => integers::<Int64Type>(array, seed, sums),
        DataType::UInt8 => integers::<UInt8Type>(array, seed, sums),
        DataType::UInt16 => integers::<UInt16Type>(array, seed, sums),
        DataType::UInt32 => integers::<UInt32Type>(array, seed, sums),
        DataType::UInt64 => integers::<UInt64Type>(array, seed, sums),
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            each(values, sums, |row| {
                hash_float(f64::from(values.value(row)), seed)
            });
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            each(values, sums, |row| hash_float(values.value(row), seed));
        }
        DataType::Decimal128(_, scale) => {
            let values: &Decimal128Array = array.as_primitive();
            each(values, sums, |row| {
                hash_decimal(values.value(row), *scale, seed)
            });
        }
        _ => return Err(not_canonical(array)),
    }
    Ok(())
}

fn add_times(array: &dyn Array, seed: u64, sums: &mut [u128]) -> Result<()> {
    use DataType::{Date32, Duration, Time32, Time64, Timestamp};
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    const MILLION: i128 = 1_000_000;
    let seed = seed
        ^ match array.data_type() {
            Timestamp(_, Some(_)) => family::INSTANT,
            Time32(_) | Time64(_) => family::TIME,
            Duration(_) => family::DURATION,
            _ => family::CALENDAR,
        };
    match array.data_type() {
        Date32 => scaled::<Date32Type>(array, 86_400_000 * MILLION, seed, sums),
        Timestamp(Millisecond, _) => scaled::<TimestampMillisecondType>(array, MILLION, seed, sums),
        Timestamp(Microsecond, _) => scaled::<TimestampMicrosecondType>(array, 1_000, seed, sums),
        Timestamp(Nanosecond, _) => scaled::<TimestampNanosecondType>(array, 1, seed, sums),
        Time32(Millisecond) => scaled::<Time32MillisecondType>(array, MILLION, seed, sums),
        Time64(Nanosecond) => scaled::<Time64NanosecondType>(array, 1, seed, sums),
        Duration(Second) => scaled::<DurationSecondType>(array, 1_000 * MILLION, seed, sums),
        Duration(Millisecond) => scaled::<DurationMillisecondType>(array, MILLION, seed, sums),
        Duration(Microsecond) => scaled::<DurationMicrosecondType>(array, 1_000, seed, sums),
        Duration(Nanosecond) => scaled::<DurationNanosecondType>(array, 1, seed, sums),
        _ => return Err(not_canonical(array)),
    }
    Ok(())
}

fn add_nested(array: &dyn Array, seed: u64, sums: &mut [u128]) -> Result<()> {
    let span = |offsets: &[i32], row: usize| offsets[row] as usize..offsets[row + 1] as usize;
    match array.data_type() {
        DataType::List(_) => {
            let lists: &ListArray = array.as_list();
            let offsets = lists.value_offsets();
            add_lists(lists, lists.values(), |row| span(offsets, row), seed, sums)
        }
        DataType::Map(_, _) => {
            let maps: &MapArray = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(maps.entries().clone());
            let offsets = maps.value_offsets();
            add_lists(maps, &entries, |row| span(offsets, row), seed, sums)
        }
        DataType::Struct(_) => {
            let inner = struct_digests(array.as_struct())?;
            each(array, sums, |row| {
                hash(&inner[row].to_le_bytes(), seed ^ family::STRUCT)
            });
            Ok(())
        }
        _ => Err(not_canonical(array)),
    }
}

fn not_canonical(array: &dyn Array) -> Error {
    Error::refused(format!(
        "values of type {} cannot be compared",
        super::type_names::type_name(array.data_type())
    ))
}

/// Adds `cell(row)` to the sum of every row that is not null.
fn each(array: &(impl Array + ?Sized), sums: &mut [u128], cell: impl Fn(usize) -> u128) {
    assert_eq!(array.len(), sums.len(), "one sum a row");
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => sums
            .iter_mut()
            .enumerate()
            .for_each(|(row, sum)| *sum = sum.wrapping_add(cell(row))),
        Some(nulls) => nulls
            .valid_indices()
            .for_each(|row| sums[row] = sums[row].wrapping_add(cell(row))),
    }
}

fn hash(bytes: &[u8], seed: u64) -> u128 {
    xxh3_128_with_seed(bytes, seed)
}

fn hash_integer(value: i128, seed: u64) -> u128 {
    // Nearly every integer fits eight bytes, which hash faster than sixteen.
    match i64::try_from(value) {
        Ok(short) => hash(&short.to_le_bytes(), seed ^ family::INTEGER),
        Err(_) => hash(&value.to_le_bytes(), seed ^ family::INTEGER),
    }
}

/// A float that is a whole number is that number; every NaN is one value, and so are both zeros.
fn hash_float(value: f64, seed: u64) -> u128 {
    const WHOLE_BELOW: f64 = 18_446_744_073_709_551_616.0;
    if value.fract() == 0.0 && value.abs() < WHOLE_BELOW {
        #[allow(clippy::cast_possible_truncation, reason = "a whole number below 2^64")]
        return hash_integer(value as i128, seed);
    }
    let bits = if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    };
    hash(&bits.to_le_bytes(), seed ^ family::FRACTION)
}

/// The integer that a decimal is, if it is one.
pub(super) fn whole_decimal(value: i128, scale: i8) -> Option<i128> {
    let power = 10i128.checked_pow(u32::from(scale.unsigned_abs()))?;
    if scale <= 0 {
        value.checked_mul(power)
    } else {
        (value % power == 0).then_some(value / power)
    }
}

/// A decimal that is a whole number is that number; any other is hashed without the zeros that its
/// scale appends.
fn hash_decimal(mut value: i128, mut scale: i8, seed: u64) -> u128 {
    if let Some(whole) = whole_decimal(value, scale) {
        return hash_integer(whole, seed);
    }
    while value != 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    let mut bytes = [0u8; 17];
    bytes[..16].copy_from_slice(&value.to_le_bytes());
    bytes[16] = scale.to_le_bytes()[0];
    hash(&bytes, seed ^ family::DECIMAL)
}

fn integers<T: ArrowPrimitiveType>(array: &dyn Array, seed: u64, sums: &mut [u128])
where
    T::Native: Into<i128>,
{
    let values: &PrimitiveArray<T> = array.as_primitive();
    each(values, sums, |row| {
        hash_integer(values.value(row).into(), seed)
    });
}

/// Temporal values in nanoseconds, so that every unit agrees.
fn scaled<T: ArrowPrimitiveType>(array: &dyn Array, nanoseconds: i128, seed: u64, sums: &mut [u128])
where
    T::Native: Into<i128>,
{
    let values: &PrimitiveArray<T> = array.as_primitive();
    each(values, sums, |row| {
        hash(
            &(values.value(row).into() * nanoseconds).to_le_bytes(),
            seed,
        )
    });
}

/// A list is its elements in order, nulls among them, and so differs from every shorter one.
fn add_lists(
    lists: &dyn Array,
    elements: &ArrayRef,
    span: impl Fn(usize) -> std::ops::Range<usize>,
    seed: u64,
    sums: &mut [u128],
) -> Result<()> {
    let mut inner = vec![0u128; elements.len()];
    add_cells(elements, family::LIST, &mut inner)?;
    let mut bytes = Vec::new();
    for (row, sum) in sums.iter_mut().enumerate() {
        if lists.is_null(row) {
            continue;
        }
        bytes.clear();
        inner[span(row)]
            .iter()
            .for_each(|digest| bytes.extend_from_slice(&digest.to_le_bytes()));
        *sum = sum.wrapping_add(hash(&bytes, seed ^ family::LIST));
    }
    Ok(())
}

/// A struct is its fields by name, nulls adding nothing, as a row is.
fn struct_digests(values: &StructArray) -> Result<Vec<u128>> {
    let mut sums = vec![0u128; values.len()];
    for (field, column) in values.fields().iter().zip(values.columns()) {
        add_cells(column, xxh3_64(field.name().as_bytes()), &mut sums)?;
    }
    seal(&mut sums, family::STRUCT);
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date32Array, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
        UInt64Array,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Fields, Schema};

    use super::*;

    fn digests(columns: Vec<(&str, ArrayRef)>) -> Vec<u128> {
        let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .expect("a batch");
        row_digests(&batch, names.iter().map(String::as_str)).expect("canonical types")
    }

    fn column(values: impl Array + 'static) -> Vec<u128> {
        digests(vec![("c", Arc::new(values))])
    }

    #[test]
    fn null_equals_null_nan_equals_nan_and_zero_equals_minus_zero() {
        let odd_nan = f64::from_bits(f64::NAN.to_bits() | 1);
        let d = column(Float64Array::from(vec![
            None,
            None,
            Some(f64::NAN),
            Some(odd_nan),
            Some(0.0),
            Some(-0.0),
            Some(1.5),
            Some(-1.5),
        ]));
        assert!(d[0] == d[1] && d[2] == d[3] && d[4] == d[5]);
        let distinct: std::collections::HashSet<u128> = d.iter().copied().collect();
        assert_eq!(distinct.len(), 5);
    }

    #[test]
    fn a_number_is_the_same_in_every_width() {
        let values = [0i32, 1, -1, i32::MAX, i32::MIN];
        let narrow = column(Int32Array::from(values.to_vec()));
        assert_eq!(
            narrow,
            column(Int64Array::from(
                values.iter().map(|v| i64::from(*v)).collect::<Vec<_>>()
            ))
        );
        assert_eq!(
            narrow,
            column(Float64Array::from(
                values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
            ))
        );
        assert_eq!(
            column(UInt64Array::from(vec![7])),
            column(Int64Array::from(vec![7]))
        );
        assert_ne!(
            column(UInt64Array::from(vec![u64::MAX])),
            column(Int64Array::from(vec![-1]))
        );
        let beyond = 9_223_372_036_854_775_808u64;
        #[allow(clippy::cast_precision_loss)]
        let float = beyond as f64;
        assert_eq!(
            column(UInt64Array::from(vec![beyond])),
            column(Float64Array::from(vec![float]))
        );
    }

    #[test]
    fn midnight_is_the_same_as_a_date_and_as_a_timestamp_of_any_unit() {
        let micros = 19_000i64 * 86_400_000_000;
        let date = column(Date32Array::from(vec![19_000]));
        assert_eq!(date, column(TimestampMicrosecondArray::from(vec![micros])));
        assert_eq!(
            date,
            column(arrow::array::TimestampMillisecondArray::from(vec![
                micros / 1000
            ]))
        );
        assert_ne!(
            date,
            column(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"))
        );
        assert_ne!(
            date,
            column(TimestampMicrosecondArray::from(vec![micros + 1]))
        );
    }

    #[test]
    fn a_dictionary_has_the_digests_of_its_values() {
        let texts = StringArray::from(vec![Some("b"), None, Some("a"), Some("b"), Some("")]);
        let few = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let few = arrow::compute::cast(&texts, &few).expect("few");
        assert_eq!(
            cell_digests(&few).expect("canonical"),
            cell_digests(&(Arc::new(texts) as ArrayRef)).expect("canonical")
        );
    }

    #[test]
    fn families_are_never_equal() {
        let all = [
            column(Int64Array::from(vec![1])),
            column(StringArray::from(vec!["1"])),
            column(BooleanArray::from(vec![true])),
            column(Date32Array::from(vec![1])),
            column(arrow::array::BinaryArray::from(vec![b"1".as_slice()])),
            column(
                Decimal128Array::from(vec![15])
                    .with_precision_and_scale(10, 1)
                    .expect("a decimal"),
            ),
            column(Float64Array::from(vec![1.5])),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().map(|d| d[0]).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_decimal_does_not_depend_on_its_scale() {
        let decimal = |value: i128, scale: i8| {
            column(
                Decimal128Array::from(vec![value])
                    .with_precision_and_scale(20, scale)
                    .expect("a decimal"),
            )
        };
        assert_eq!(decimal(45_000, 2), decimal(450, 0));
        assert_eq!(decimal(0, 2), decimal(0, 5));
        assert_eq!(decimal(4_550, 3), decimal(455, 2));
        assert_ne!(decimal(45, 1), decimal(45, 2));
    }

    #[test]
    fn a_decimal_that_is_a_whole_number_is_that_number() {
        let decimal = |value: i128, precision, scale| {
            column(
                Decimal128Array::from(vec![value])
                    .with_precision_and_scale(precision, scale)
                    .expect("a decimal"),
            )
        };
        for whole in [0, 1, -1, i64::MAX, i64::MIN] {
            let integer = column(Int64Array::from(vec![whole]));
            assert_eq!(decimal(whole.into(), 38, 0), integer);
            assert_eq!(decimal(i128::from(whole) * 100, 38, 2), integer);
        }
        assert_eq!(
            decimal(u64::MAX.into(), 20, 0),
            column(UInt64Array::from(vec![u64::MAX]))
        );
        assert_eq!(decimal(5, 1, -2), column(Int64Array::from(vec![500])));
        assert_ne!(decimal(5, 2, 1), column(Int64Array::from(vec![5])));
        let all_digits = 99_999_999_999_999_999_999_999_999_999_999_999_999;
        assert_ne!(decimal(all_digits, 38, 0), decimal(all_digits - 1, 38, 0));
    }

    #[test]
    fn an_absent_column_is_a_column_of_nulls_and_order_does_not_matter() {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let name: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let empty: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>, None]));
        let plain = digests(vec![("id", id.clone()), ("name", name.clone())]);
        assert_eq!(
            plain,
            digests(vec![
                ("name", name.clone()),
                ("lid", empty),
                ("id", id.clone())
            ])
        );
        assert_ne!(plain, digests(vec![("id", name), ("name", id)]));
    }

    #[test]
    fn values_cannot_trade_places_between_rows_or_columns() {
        let sum = |ids: Vec<i64>, names: Vec<&str>| {
            let mut sum = RowSum::default();
            sum.add(&digests(vec![
                ("id", Arc::new(Int64Array::from(ids))),
                ("name", Arc::new(StringArray::from(names))),
            ]));
            sum.fingerprint()
        };
        assert_eq!(
            sum(vec![1, 2], vec!["a", "b"]),
            sum(vec![2, 1], vec!["b", "a"]),
            "row order does not matter"
        );
        assert_ne!(
            sum(vec![1, 2], vec!["a", "b"]),
            sum(vec![1, 2], vec!["b", "a"]),
            "which row holds a value does"
        );
        assert_ne!(
            sum(vec![1, 1], vec!["a", "a"]),
            sum(vec![1], vec!["a"]),
            "the count does"
        );
    }

    #[test]
    fn lists_and_structs_are_compared_by_value() {
        let list = |values: Vec<Option<i64>>, offsets: Vec<i32>| {
            let field = Arc::new(Field::new("item", DataType::Int64, true));
            column(ListArray::new(
                field,
                OffsetBuffer::new(offsets.into()),
                Arc::new(Int64Array::from(values)),
                None,
            ))
        };
        let d = list(
            vec![
                Some(1),
                Some(2),
                Some(1),
                Some(2),
                Some(2),
                Some(1),
                None,
                None,
                None,
            ],
            vec![0, 2, 4, 6, 6, 7, 9],
        );
        assert_eq!(d[0], d[1]);
        let distinct: std::collections::HashSet<u128> = d.iter().copied().collect();
        assert_eq!(distinct.len(), 5, "[1,2], [2,1], [], [null], [null,null]");

        let fields = Fields::from(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Int64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), Some(2), None, None])),
            Arc::new(Int64Array::from(vec![Some(2), Some(1), None, None])),
        ];
        let nulls = vec![true, true, true, false].into();
        let d = column(StructArray::new(fields, columns, Some(nulls)));
        let distinct: std::collections::HashSet<u128> = d.iter().copied().collect();
        assert_eq!(distinct.len(), 4, "a struct of nulls is not a null struct");
    }

    #[test]
    fn keys_are_tuples_and_never_joined_text() {
        let keys = |a: Vec<&str>, b: Vec<&str>| {
            key_digests(&[
                Arc::new(StringArray::from(a)),
                Arc::new(StringArray::from(b)),
            ])
            .expect("text")
        };
        assert_ne!(keys(vec!["ab"], vec!["c"]), keys(vec!["a"], vec!["bc"]));
        assert_ne!(keys(vec!["a"], vec!["b"]), keys(vec!["b"], vec!["a"]));
        let with_null =
            key_digests(&[Arc::new(Int64Array::from(vec![Some(1), None]))]).expect("integers");
        assert!(with_null[0].is_some() && with_null[1].is_none());
        let never_a_value =
            key_digests(&[Arc::new(arrow::array::NullArray::new(2))]).expect("nulls");
        assert_eq!(never_a_value, [None, None]);
    }

    #[test]
    fn a_sum_forgets_a_row_that_is_taken_away() {
        let rows = column(Int64Array::from(vec![1, 2, 3]));
        let mut all = RowSum::default();
        let mut two = RowSum::default();
        all.add(&rows);
        all.take(rows[1]);
        two.add(&[rows[2], rows[0]]);
        assert_eq!(all, two);
        assert_eq!(
            all.fingerprint()
                .to_string()
                .parse::<Fingerprint>()
                .expect("hex"),
            two.fingerprint()
        );
    }

    #[test]
    fn a_type_that_is_not_canonical_is_refused_rather_than_guessed() {
        let schema = Schema::new(vec![Field::new("c", DataType::LargeUtf8, true)]);
        let batch = RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(arrow::array::LargeStringArray::from(vec!["a"]))],
        )
        .expect("a batch");
        assert!(row_digests(&batch, ["c"]).is_err());
    }
}
