//! Which row groups may hold a row that is wanted, by their statistics.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::RowGroupMetaData;

use crate::domain::cast::cast_exactly;
use crate::error::Result;

/// Which rows are wanted.
pub trait RowCondition: Send + Sync {
    /// The columns that it looks at.
    fn columns(&self) -> &[String];

    /// Whether it takes a column of text in dictionaries, too.
    fn takes_dictionaries(&self, _column: &str) -> bool {
        false
    }

    /// Of each row group whether it may hold a row that is wanted, by its statistics.
    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool>;

    /// Which rows of a batch, which has the columns of [`RowCondition::columns`] that the object
    /// has, are wanted.
    ///
    /// # Errors
    /// A refusal if a value cannot be computed.
    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray>;
}

/// The least and the greatest value of columns in each row group, as far as the object says.
pub struct GroupStatistics<'a> {
    metadata: &'a ArrowReaderMetadata,
    schema: &'a SchemaRef,
}

impl<'a> GroupStatistics<'a> {
    pub(super) fn new(metadata: &'a ArrowReaderMetadata, schema: &'a SchemaRef) -> Self {
        GroupStatistics { metadata, schema }
    }

    /// How many row groups there are.
    pub fn len(&self) -> usize {
        self.groups().len()
    }

    /// Whether there are no row groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns of the object, in canonical types.
    pub fn schema(&self) -> &SchemaRef {
        self.schema
    }

    fn groups(&self) -> &[RowGroupMetaData] {
        self.metadata.metadata().row_groups()
    }

    /// What a converter says of a column, in its canonical type.
    fn values(
        &self,
        column: &str,
        of: impl Fn(&StatisticsConverter<'_>) -> parquet::errors::Result<ArrayRef>,
    ) -> Option<ArrayRef> {
        let converter = StatisticsConverter::try_new(
            column,
            self.metadata.schema(),
            self.metadata.parquet_schema(),
        )
        .ok()?;
        let field = self.schema.field_with_name(column).ok()?;
        let values = of(&converter).ok()?;
        if field.data_type() == values.data_type() {
            Some(values)
        } else {
            cast_exactly(&values, field.data_type(), column).ok()
        }
    }

    /// The least value of a column in each row group.
    pub fn mins(&self, column: &str) -> Option<ArrayRef> {
        self.values(column, |converter| converter.row_group_mins(self.groups()))
    }

    /// The greatest value of a column in each row group.
    pub fn maxes(&self, column: &str) -> Option<ArrayRef> {
        self.values(column, |converter| converter.row_group_maxes(self.groups()))
    }

    /// How many nulls a column has in each row group.
    pub fn null_counts(&self, column: &str) -> Option<ArrayRef> {
        let converter = StatisticsConverter::try_new(
            column,
            self.metadata.schema(),
            self.metadata.parquet_schema(),
        )
        .ok()?;
        // An object that counts none may still have some.
        let converter = converter.with_missing_null_counts_as_zero(false);
        Some(Arc::new(
            converter.row_group_null_counts(self.groups()).ok()?,
        ))
    }

    /// How many rows each row group has.
    pub fn row_counts(&self) -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(
            self.groups()
                .iter()
                .map(|group| u64::try_from(group.num_rows()).unwrap_or(0)),
        ))
    }
}
