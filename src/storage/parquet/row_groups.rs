//! Row groups as they are written: how many rows they have, and how their columns are encoded, in
//! pages, with dictionaries, compression and statistics.
//!
//! Rows are sorted by key, row groups hold 65,536 rows, pages hold 8,192, so that a point look-up
//! reads one row group's key and one page of each other column. Row groups of more than 1,024
//! columns hold fewer rows, at most 2^24 values.
//!
//! What the encoder does with a column is decided by a sample of the first piece, which
//! `column_sample` takes:
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

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::Result;
use crate::storage::parquet::BATCH_ROWS;
use crate::storage::parquet::column_sample::{ColumnSample, differences_vary};
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

/// Whether values of a type are integers in Parquet, of 32 or 64 bits.
pub(super) fn is_integral(data_type: &DataType) -> bool {
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
