//! Row groups as they are written: how many rows they have, and how their columns are encoded, in
//! pages, with dictionaries, compression and statistics.
//!
//! Rows are sorted by key, row groups hold 65,536 rows, pages hold 8,192, so that a point look-up
//! reads one row group's key and one page of each other column. Row groups of more than 1,024
//! columns hold fewer rows, at most 2^24 values.
//!
//! What the encoder does with a column is decided by a sample of the first piece:
//!
//! - Dictionaries end at 64 KiB: one would have to be read whole for a single row. A column whose
//!   values are nearly all different, or whose dictionary would be full before the row group is, is
//!   *varied* and gets none: a dictionary that overflows takes longer to write than none, and the
//!   file is larger.
//! - Integers, dates and timestamps without a dictionary are written as packed differences, which
//!   are smaller than plain ones and take far less time to compress. If the column is varied, and
//!   so are the differences of neighbours, packed differences look random: compressing those takes
//!   time and saves nothing, so they are left as they are.
//! - A column without any value is one of text, and the footer says so.
//! - Row groups and pages carry statistics. A text in no order that is not in the key has none: the
//!   least and the greatest of thousands of texts exclude next to nothing, and finding them took
//!   half of the time in which a column of few distinct texts is encoded. The footer says how many
//!   bytes such texts have, which are told by statistics otherwise.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::kernels::cmp::lt_eq;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, Schema, UInt64Type};
use hashbrown::{HashMap, HashSet};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::domain::digest::cell_digests;
use crate::error::{Context, Result};
use crate::storage::parquet::BATCH_ROWS;
use crate::storage::parquet::seal::SEALED;

/// Rows in a row group.
pub(super) const ROW_GROUP_ROWS: usize = 65_536;
/// A table of more columns is wide: its row groups have fewer rows, and are encoded a column at a
/// time.
pub(super) const WIDE_COLUMNS: usize = 1024;
/// How many values a row group of a wide table has at most: 128 MiB of numbers.
const WIDE_VALUES: usize = 1 << 24;
/// A dictionary of a column in a row group ends when it has so many bytes.
pub const DICTIONARY_BYTES: usize = 64 << 10;
/// How hard zstd tries. With integers packed before, a higher level takes longer and gives no
/// smaller objects.
const ZSTD_LEVEL: i32 = 1;
/// How many values of a column say how it is written.
const SAMPLE: usize = 1024;

/// How many rows a row group of so many columns has.
pub(super) fn group_rows(columns: usize) -> usize {
    if columns <= WIDE_COLUMNS {
        return ROW_GROUP_ROWS;
    }
    let rows = (WIDE_VALUES / columns).max(1);
    // A power of two, as the pieces are that it is written in.
    1 << rows.ilog2()
}

/// How a file is encoded.
pub(super) struct FileEncoding {
    pub(super) properties: WriterProperties,
    /// The columns that have no statistics, by index.
    pub(super) without_statistics: Vec<usize>,
}

/// How a file of rows sorted by `key` is encoded whose first piece is this one.
pub(super) fn encoding(
    schema: &Schema,
    key: &[String],
    first: &RecordBatch,
) -> Result<FileEncoding> {
    let mut without_statistics = Vec::new();
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("asof {}{SEALED}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(
            ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default(),
        ))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(BATCH_ROWS)
        .set_write_batch_size(BATCH_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_sorting_columns(sorting(schema, key));
    for (at, (field, column)) in schema.fields().iter().zip(first.columns()).enumerate() {
        let path = || ColumnPath::from(vec![field.name().clone()]);
        let is_integral = is_integral(field.data_type());
        let look = ColumnSample::at(column)?;
        if is_integral {
            properties = properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
        if look.is_varied {
            properties = properties.set_column_dictionary_enabled(path(), false);
        }
        if look.is_varied && is_integral && differences_vary(column)? {
            properties = properties.set_column_compression(path(), Compression::UNCOMPRESSED);
        }
        let is_in_key = key.contains(field.name());
        if !is_in_key && !look.ascends && field.data_type() == &DataType::Utf8 {
            properties = properties.set_column_statistics_enabled(path(), EnabledStatistics::None);
            without_statistics.push(at);
        }
    }
    Ok(FileEncoding {
        properties: properties.build(),
        without_statistics,
    })
}

/// What a sample says of a column.
struct ColumnSample {
    /// Nearly all values are different, or a dictionary of them would be full soon.
    is_varied: bool,
    /// Most values are followed by one that is not less, or one of the two is null.
    ascends: bool,
}

impl ColumnSample {
    /// A sample is spread over the column.
    fn at(column: &ArrayRef) -> Result<Self> {
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

/// How many bytes the texts of a column have, which may be in a dictionary.
pub(super) fn text_bytes(column: &ArrayRef) -> u64 {
    let length =
        |texts: &StringArray, at: usize| u64::try_from(texts.value_length(at)).unwrap_or(0);
    if let Some(texts) = column.as_string_opt::<i32>() {
        let offsets = texts.value_offsets();
        let bytes = offsets[texts.len()] - offsets[0];
        return u64::try_from(bytes).unwrap_or(0);
    }
    let Some(dictionary) = column.as_any_dictionary_opt() else {
        return 0;
    };
    let Some(texts) = dictionary.values().as_string_opt::<i32>() else {
        return 0;
    };
    if texts.is_empty() {
        return 0;
    }
    let places = dictionary.normalized_keys();
    let places = places.iter().enumerate();
    let places = places.filter(|(row, _)| dictionary.keys().is_valid(*row));
    places.map(|(_, place)| length(texts, *place)).sum()
}

/// Whether nearly all differences between neighbours are distinct, at the beginning of a column of
/// integers.
fn differences_vary(column: &ArrayRef) -> Result<bool> {
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

/// Whether values of a type are integers in Parquet, of 32 or 64 bits.
fn is_integral(data_type: &DataType) -> bool {
    let time = matches!(
        data_type,
        DataType::Date32 | DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_)
    );
    time || data_type.is_integer()
}

/// What a footer says of the order of rows; nothing if a column has more than one leaf, since the
/// index of a column is not that of its leaf then.
fn sorting(schema: &Schema, key: &[String]) -> Option<Vec<SortingColumn>> {
    let columns = key
        .iter()
        .filter_map(|name| i32::try_from(schema.index_of(name).ok()?).ok());
    let columns: Vec<SortingColumn> = columns
        .map(|column_idx| SortingColumn {
            column_idx,
            descending: false,
            nulls_first: true,
        })
        .collect();
    let is_flat = schema
        .fields()
        .iter()
        .all(|field| !field.data_type().is_nested());
    (columns.len() == key.len() && !columns.is_empty() && is_flat).then_some(columns)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Decimal128Array, Int32Array, Int64Array, UInt64Array};
    use arrow::datatypes::TimeUnit;

    use super::*;

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

    #[test]
    fn the_bytes_of_texts_are_counted_in_a_dictionary_and_without_one() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("one"),
            None,
            Some(""),
            Some("three"),
            Some("one"),
        ]));
        let few = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let dictionary = cast(&texts, &few).expect("a dictionary");
        assert_eq!([text_bytes(&texts), text_bytes(&dictionary)], [11, 11]);
        assert_eq!(text_bytes(&dictionary.slice(1, 3)), 5);
        assert_eq!(text_bytes(&texts.slice(1, 3)), 5);
        assert_eq!(text_bytes(&dictionary.slice(1, 0)), 0);
        let none = arrow::array::new_null_array(&few, 2);
        assert_eq!(text_bytes(&none), 0);
    }

    #[test]
    fn row_groups_of_many_columns_have_fewer_rows() {
        let rows = [1, 1024, 1025, 16_000, 100_000, 1 << 30].map(group_rows);
        assert_eq!(rows, [65_536, 65_536, 8192, 1024, 128, 1]);
        assert!(rows.iter().all(|rows| rows.is_power_of_two()));
    }
}
