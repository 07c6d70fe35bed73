//! What a sample of a column says of it, before the column is encoded: whether a dictionary would
//! overflow, whether the values ascend, and whether their differences are worth compressing.
//!
//! A sample is 1,024 values, spread over the first piece of the rows. The same values give the same
//! answers, whether they come in dictionaries or not.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::kernels::cmp::lt_eq;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use hashbrown::{HashMap, HashSet};

use crate::domain::digest::cell_digests;
use crate::error::{Context, Result};
use crate::storage::parquet::BATCH_ROWS;
use crate::storage::parquet::row_groups::DICTIONARY_BYTES;

/// How many values of a column say how it is written.
const SAMPLE: usize = 1024;

/// What a sample says of a column.
pub(super) struct ColumnSample {
    /// Nearly all values are different, or a dictionary of them would be full soon.
    pub(super) is_varied: bool,
    /// Most values are followed by one that is not less, or one of the two is null.
    pub(super) ascends: bool,
}

impl ColumnSample {
    /// A sample is spread over the column.
    pub(super) fn at(column: &ArrayRef) -> Result<Self> {
        if column.data_type().is_nested() || column.len() < SAMPLE {
            return Ok(ColumnSample {
                is_varied: false,
                ascends: true,
            });
        }
        let step = column.len() / SAMPLE;
        let places = UInt32Array::from_iter_values(
            (0..SAMPLE).filter_map(|at| u32::try_from(at * step).ok()),
        );
        let doing = || "cannot look at rows".to_owned();
        let mut sample = take(column, &places, None).internal_context(doing)?;
        // The same values are to give the same bytes, however they come.
        if let DataType::Dictionary(_, values) = column.data_type() {
            sample = cast(&sample, values).internal_context(doing)?;
        }
        let distinct = Distinct::among(cell_digests(&sample)?);
        let room = value_bytes(&sample).map(|bytes| DICTIONARY_BYTES / bytes);
        let expected = match column.len() < BATCH_ROWS {
            // There are no other rows.
            true => distinct.expected().min(column.len()),
            false => distinct.expected(),
        };
        let is_varied = are_nearly_all(distinct.seen, SAMPLE) || room.is_some_and(|n| expected > n);
        let in_order = || {
            lt_eq(&sample.slice(0, SAMPLE - 1), &sample.slice(1, SAMPLE - 1))
                .map_or(0, |pairs| pairs.len() - pairs.false_count())
        };
        Ok(ColumnSample {
            is_varied,
            ascends: in_order() > SAMPLE / 4 * 3,
        })
    }
}

/// Whether so many of some values, which were found to be different, are nearly all of them.
fn are_nearly_all(different: usize, of: usize) -> bool {
    different > of - of / 20
}

/// How many values of a sample are different.
struct Distinct {
    seen: usize,
    /// How many values occur exactly once.
    once: usize,
    /// How many values occur exactly twice.
    twice: usize,
}

impl Distinct {
    fn among(values: Vec<u128>) -> Self {
        let mut times: HashMap<u128, usize> = HashMap::with_capacity(values.len());
        for value in values {
            *times.entry(value).or_default() += 1;
        }
        let met = |times_met: usize| times.values().filter(|times| **times == times_met).count();
        Distinct {
            seen: times.len(),
            once: met(1),
            twice: met(2),
        }
    }

    /// How many different values the column has at least, by what is rare in the sample: the
    /// bias-corrected estimator of Chao (1984).
    fn expected(&self) -> usize {
        self.seen + self.once * self.once.saturating_sub(1) / (2 * (self.twice + 1))
    }
}

/// The mean size of a value in a dictionary of Parquet; `None` for types without one.
fn value_bytes(values: &ArrayRef) -> Option<usize> {
    let of_bytes = |offsets: &[i32]| {
        let bytes = offsets.last()? - offsets.first()?;
        let count = values.len() - values.null_count();
        Some(size_of::<u32>() + usize::try_from(bytes).ok()?.div_ceil(count.max(1)))
    };
    match values.data_type() {
        DataType::Utf8 => of_bytes(values.as_string::<i32>().value_offsets()),
        DataType::Binary => of_bytes(values.as_binary::<i32>().value_offsets()),
        DataType::Decimal128(..=9, _) => Some(size_of::<i32>()),
        DataType::Decimal128(..=18, _) => Some(size_of::<i64>()),
        DataType::Decimal128(..) => None,
        other => Some(other.primitive_width()?.max(size_of::<i32>())),
    }
}

/// Whether nearly all differences between neighbours are distinct, at the beginning of a column of
/// integers.
pub(super) fn differences_vary(column: &ArrayRef) -> Result<bool> {
    let doing = || "cannot look at rows".to_owned();
    let plain = match column.data_type() {
        DataType::Dictionary(_, values) => &cast(column, values).internal_context(doing)?,
        _ => column,
    };
    let integers = match plain.data_type() {
        // Differences are the same, whatever the sign is taken to be.
        DataType::UInt64 => plain
            .as_primitive::<UInt64Type>()
            .unary::<_, Int64Type>(u64::cast_signed),
        _ => {
            let wide = cast(plain, &DataType::Int64).internal_context(doing)?;
            wide.as_primitive::<Int64Type>().clone()
        }
    };
    let first: Vec<i64> = integers.iter().flatten().take(SAMPLE + 1).collect();
    let differences = first
        .windows(2)
        .map(|pair| pair[1].wrapping_sub(pair[0]))
        .collect::<HashSet<_>>();
    let pairs = first.len().saturating_sub(1);
    Ok(pairs > SAMPLE / 2 && are_nearly_all(differences.len(), pairs))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Decimal128Array, Int32Array, Int64Array, StringArray, UInt64Array,
    };
    use arrow::datatypes::TimeUnit;

    use super::*;
    use crate::storage::parquet::row_groups::is_integral;

    /// A number that looks random: a step of SplitMix64.
    fn mixed(row: usize) -> u64 {
        let mut bits = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    #[test]
    fn the_number_of_different_values_is_told_from_a_sample() {
        for distinct in [10, 500, 3_000, 8_000, 20_000] {
            let sample = (0..SAMPLE).map(|row| u128::from(mixed(row) % distinct));
            let expected = Distinct::among(sample.collect()).expected() as f64;
            let ratio = expected / distinct as f64;
            assert!((0.75..1.3).contains(&ratio), "{distinct}: {expected}");
        }
        let alike = Distinct::among(vec![7; SAMPLE]);
        assert_eq!(alike.expected(), 1);
        let different = Distinct::among((0..SAMPLE as u128).collect());
        assert!(different.expected() > 500_000);
    }

    #[test]
    fn differences_vary_unless_there_are_few() {
        let vary = |of: &dyn Fn(usize) -> Option<u64>| {
            let values = (0..BATCH_ROWS).map(|row| Some(of(row)?.cast_signed()));
            let column: ArrayRef = Arc::new(values.collect::<Int64Array>());
            differences_vary(&column).expect("integers")
        };
        assert!(!vary(&|row| Some(3 * row as u64)));
        assert!(!vary(&|row| Some(1_000 * row as u64 + mixed(row) % 100)));
        assert!(vary(&|row| Some(
            ((row as u64) << 40) + mixed(row) % (1 << 40)
        )));
        assert!(vary(&|row| Some(mixed(row))));
        assert!(vary(&|row| (row % 5 > 0).then(|| mixed(row))), "some nulls");
        assert!(
            !vary(&|row| (row % 16 == 0).then(|| mixed(row))),
            "few values"
        );
        let hashes: ArrayRef = Arc::new(UInt64Array::from_iter_values((0..BATCH_ROWS).map(mixed)));
        assert!(differences_vary(&hashes).expect("integers"));
        let seconds = (0..BATCH_ROWS).map(|row| i32::try_from(mixed(row) % 86_400).ok());
        let seconds: ArrayRef = Arc::new(seconds.collect::<Int32Array>());
        let wide = cast(&seconds, &DataType::Int64).expect("integers");
        for integral in [
            DataType::UInt32,
            DataType::Date32,
            DataType::Time32(TimeUnit::Second),
            DataType::Int64,
            DataType::UInt64,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())),
        ] {
            assert!(is_integral(&integral), "{integral}");
            let column = cast(&seconds, &integral).or_else(|_| cast(&wide, &integral));
            let column = column.expect("of that type");
            assert!(differences_vary(&column).expect("integers"), "{integral}");
        }
    }

    #[test]
    fn a_column_is_varied_if_its_dictionary_would_overflow() {
        let is_varied = |column: ArrayRef| ColumnSample::at(&column).expect("a sample").is_varied;
        let decimals = |distinct: u64, precision: u8| -> ArrayRef {
            let values = (0..BATCH_ROWS).map(|row| i128::from(mixed(row) % distinct));
            let values = Decimal128Array::from_iter_values(values);
            Arc::new(
                values
                    .with_precision_and_scale(precision, 2)
                    .expect("a decimal"),
            )
        };
        assert!(!is_varied(decimals(6_000, 9)));
        assert!(!is_varied(decimals(6_000, 18)));
        let texts = |distinct: u64, with: &dyn Fn(usize) -> bool| -> ArrayRef {
            let text = |row: usize| format!("{:036}", mixed(row) % distinct);
            let values = (0..BATCH_ROWS).map(|row| with(row).then(|| text(row)));
            Arc::new(values.collect::<StringArray>())
        };
        assert!(!is_varied(texts(1_000, &|_| true)));
        assert!(is_varied(texts(3_000, &|_| true)));
        // The 1,024 values of the sample are every eighth one.
        assert!(is_varied(texts(u64::MAX, &|row| row % 32 == 0)));
        let bytes = texts(3_000, &|_| true);
        let bytes = bytes
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(str::as_bytes));
        assert!(is_varied(Arc::new(bytes.collect::<BinaryArray>())));
    }
}
