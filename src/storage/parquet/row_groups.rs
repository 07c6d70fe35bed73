//! Row groups as they are written: how many rows they have, and how their columns are encoded, in
//! pages, with dictionaries, compression and statistics.
//!
//! Rows are sorted by key, row groups hold 65,536 rows, pages hold 8,192, so that a point look-up
//! reads one row group's key and one page of each other column. Row groups of more than 1,024
//! columns hold fewer rows, at most 2^24 values.
//!
//! What the encoder does with a column is decided by a sample of the first piece:
//!
//! - A column whose values are nearly all different is *varied* and gets no dictionary. Other
//!   dictionaries end at 64 KiB: one would have to be read whole for a single row.
//! - Integers, dates and timestamps that are too many for a dictionary are written as packed
//!   differences, which are smaller than plain ones and take far less time to compress. If they are
//!   varied and in no order their packed differences look random: compressing those takes time and
//!   saves nothing, so they are left as they are.
//! - A column without any value is one of text, and the footer says so.
//! - Row groups and pages carry statistics. Objects without a key, which are outputs, have none of
//!   a text in no order: the least and the greatest of thousands of texts exclude next to nothing,
//!   and comparing them took a tenth of the time of a backfill.

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::lt_eq;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Schema};
use hashbrown::HashSet;
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

/// How a file of rows sorted by `key` is encoded whose first piece is this one.
pub(super) fn properties(
    schema: &Schema,
    key: &[String],
    first: &RecordBatch,
) -> Result<WriterProperties> {
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
    for (field, column) in schema.fields().iter().zip(first.columns()) {
        let path = || ColumnPath::from(vec![field.name().clone()]);
        let is_integral = is_integral(field.data_type());
        let look = ColumnSample::at(column)?;
        if is_integral {
            properties = properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
        if look.is_varied {
            properties = properties.set_column_dictionary_enabled(path(), false);
        }
        if look.is_varied && !look.ascends && is_integral {
            properties = properties.set_column_compression(path(), Compression::UNCOMPRESSED);
        }
        if key.is_empty() && !look.ascends && field.data_type() == &DataType::Utf8 {
            properties = properties.set_column_statistics_enabled(path(), EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}

/// What a sample says of a column.
struct ColumnSample {
    /// Nearly all values are different, so that a dictionary would be full soon and of no use.
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
        let distinct: HashSet<u128> = cell_digests(&sample)?.into_iter().collect();
        let is_varied = distinct.len() > SAMPLE - SAMPLE / 20;
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
    use super::*;

    #[test]
    fn row_groups_of_many_columns_have_fewer_rows() {
        let rows = [1, 1024, 1025, 16_000, 100_000, 1 << 30].map(group_rows);
        assert_eq!(rows, [65_536, 65_536, 8192, 1024, 128, 1]);
        assert!(rows.iter().all(|rows| rows.is_power_of_two()));
    }
}
