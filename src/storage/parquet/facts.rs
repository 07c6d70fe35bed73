//! What an object says of its rows, without reading them.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::metadata::text_bytes;
use super::object::{ParquetObject, is_of, names};

impl ParquetObject {
    /// The number of rows before each row group that has any.
    pub fn group_starts(&self) -> Vec<u64> {
        let mut rows = 0;
        let mut starts = Vec::new();
        for group in self
            .metadata
            .metadata()
            .row_groups()
            .iter()
            .filter(|group| group.num_rows() > 0)
        {
            starts.push(rows);
            rows += u64::try_from(group.num_rows()).unwrap_or(0);
        }
        starts
    }

    /// Whether a few rows can be read without decoding, or in a store transferring, the whole row
    /// group that they are in.
    pub fn knows_its_pages(&self) -> bool {
        self.metadata
            .metadata()
            .row_groups()
            .iter()
            .flat_map(RowGroupMetaData::columns)
            .all(|column| column.offset_index_offset().is_some())
    }

    /// The least value of a column in each row group, if its type is one whose statistics are never
    /// cut short, and all are there.
    pub fn exact_mins(&self, column: &str) -> Option<ArrayRef> {
        let numeric = |data_type: &DataType| {
            data_type.is_integer()
                || matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
        };
        let field = self
            .schema
            .field_with_name(column)
            .ok()
            .filter(|field| numeric(field.data_type()))?;
        let mins = self.statistics().mins(column)?;
        (mins.data_type() == field.data_type()
            && mins.null_count() == 0
            && mins.len() == self.group_starts().len())
        .then_some(mins)
    }

    /// The least and the greatest value of a column in each row group, under the same conditions.
    pub fn value_range(&self, column: &str) -> Option<[ArrayRef; 2]> {
        let mins = self.exact_mins(column)?;
        let maxes = self.statistics().maxes(column)?;
        (maxes.data_type() == mins.data_type()
            && maxes.null_count() == 0
            && maxes.len() == mins.len())
        .then_some([mins, maxes])
    }

    /// About how many bytes the named columns, or all, have in memory, as far as the object says.
    pub fn bytes_in_memory(&self, columns: Option<&[String]>) -> u64 {
        let names = columns.map(names);
        let wanted = |column: &&ColumnChunkMetaData| is_of(column, names.as_ref());
        let text_bytes = text_bytes(&self.metadata);
        let rows = self.rows().max(1);
        let column = |column: &ColumnChunkMetaData| {
            let of_column = match column.column_path().parts() {
                [name] => text_bytes.get(name),
                _ => None,
            };
            // A dictionary may be of long texts: without a size they are taken to have this many
            // bytes each.
            let each = of_column.map_or(32, |bytes| 4 + bytes.div_ceil(rows));
            let unknown = if column.column_type() == Type::BYTE_ARRAY {
                i64::try_from(each).unwrap_or(0) * column.num_values()
            } else {
                0
            };
            let text = column
                .unencoded_byte_array_data_bytes()
                .map_or(unknown, |bytes| bytes + 4 * column.num_values());
            let width = match column.column_type() {
                Type::BOOLEAN | Type::BYTE_ARRAY => 0,
                Type::INT32 | Type::FLOAT => 4,
                Type::INT64 | Type::DOUBLE => 8,
                Type::INT96 | Type::FIXED_LEN_BYTE_ARRAY => 16,
            };
            u64::try_from(
                (width * column.num_values())
                    .max(text)
                    .max(column.uncompressed_size()),
            )
            .unwrap_or(0)
        };
        self.metadata
            .metadata()
            .row_groups()
            .iter()
            .flat_map(RowGroupMetaData::columns)
            .filter(wanted)
            .map(column)
            .sum()
    }
}
