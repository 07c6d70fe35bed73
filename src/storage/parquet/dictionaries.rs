//! Texts that are decoded as dictionaries: each text once a row group.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use parquet::basic::{ConvertedType, Encoding};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::object::{ParquetObject, RowCondition};
use crate::error::Result;

/// A dictionary that has so many bytes in the object, compressed, is short.
const SHORT_DICTIONARY_BYTES: i64 = 16 << 10;

/// The text columns of which every row group has all values in a short dictionary.
pub(super) fn texts_in_dictionaries(metadata: &ParquetMetaData, schema: &SchemaRef) -> Vec<String> {
    let columns = metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns);
    let others: HashSet<&[String]> = columns
        .filter(|column| !is_all_in_short_dictionary(column))
        .map(|column| column.column_path().parts())
        .collect();
    let is_in_dictionaries = |field: &&FieldRef| {
        let is_text = field.data_type() == &DataType::Utf8;
        is_text && !others.contains([field.name().clone()].as_slice())
    };
    let texts = schema.fields().iter().filter(is_in_dictionaries);
    texts.map(|field| field.name().clone()).collect()
}

/// Whether a column is text, and every row group has all of its values in a short dictionary.
fn is_in_short_dictionary(metadata: &ParquetMetaData, name: &str) -> bool {
    let columns = metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns);
    columns
        .filter(|column| column.column_path().parts() == [name])
        .all(is_all_in_short_dictionary)
}

/// Whether texts of a row group all stand in a short dictionary.
fn is_all_in_short_dictionary(column: &ColumnChunkMetaData) -> bool {
    // The decoder makes texts of no other annotation, of JSON for one, dictionaries of bytes.
    let is_text = column.column_descr().converted_type() == ConvertedType::UTF8;
    let ends = [Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];
    let is_all = column
        .page_encoding_stats_mask()
        .is_some_and(|mask| ends.iter().any(|encoding| mask.is_only(*encoding)));
    let length = column
        .dictionary_page_offset()
        .map(|offset| column.data_page_offset() - offset);
    is_text && is_all && length.is_some_and(|length| (0..=SHORT_DICTIONARY_BYTES).contains(&length))
}

/// A schema in which the named columns are dictionaries of texts.
pub fn with_dictionaries(schema: &SchemaRef, texts: &[String]) -> SchemaRef {
    let texts: HashSet<&String> = texts.iter().collect();
    let few = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = schema
        .fields()
        .iter()
        .map(|field| match texts.contains(field.name()) {
            true => Arc::new(field.as_ref().clone().with_data_type(few())),
            false => field.clone(),
        });
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

impl ParquetObject {
    /// The same object with the named columns, which are of
    /// [`ParquetObject::texts_in_dictionaries`], as dictionaries, so that each text is decoded once
    /// a row group.
    ///
    /// # Errors
    /// As [`ParquetObject::held`].
    pub fn in_dictionaries(&self, texts: &[String]) -> Result<Self> {
        let types = with_dictionaries(self.metadata.schema(), texts);
        let mut object = self.held(false)?.decoded_as(types)?;
        object.schema = with_dictionaries(&self.schema, texts);
        Ok(object)
    }

    /// The texts that a condition takes as dictionaries and nobody else reads.
    pub(super) fn texts_to_compare(
        &self,
        condition: &dyn RowCondition,
        columns: Option<&[String]>,
    ) -> Vec<String> {
        let is_text = |name: &str| {
            let field = self.schema.field_with_name(name);
            field.is_ok_and(|field| field.data_type() == &DataType::Utf8)
        };
        // What costs most is asked last: it looks at every row group.
        let is_for_it_alone = |name: &&String| {
            condition.takes_dictionaries(name)
                && columns.is_some_and(|columns| !columns.contains(name))
                && is_text(name)
                && is_in_short_dictionary(self.metadata.metadata(), name)
        };
        let names = condition.columns().iter();
        names.filter(is_for_it_alone).cloned().collect()
    }
}
