//! The rows of each side of a comparison, in the types of both.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use chrono::NaiveDate;

use super::attributes;
use super::rows::DifferenceRows;
use crate::domain::cast::{as_text_of, conform};
use crate::domain::diff::KeyedBatch;
use crate::domain::key_order::{KeyEncoder, KeySequence, KeyStep};
use crate::domain::schema::{TypeClash, TypeClashes};
use crate::engine::as_of::AsOfTable;
use crate::engine::digests::row_digests;
use crate::engine::table::{SnapshotTable, show_key};
use crate::error::{Context, Result};
use crate::memory::SORTER_BYTES;
use crate::storage::Batches;
use crate::storage::sorter::Sorter;

/// What both sides are read by.
pub(super) struct Side<'a> {
    pub(super) table: &'a SnapshotTable,
    pub(super) schema: &'a SchemaRef,
    pub(super) compared: Vec<String>,
    pub(super) encoder: KeyEncoder,
    /// The columns whose types have nothing in common.
    pub(super) clashes: TypeClashes,
}

impl Side<'_> {
    /// The rows of a state in the order of the key, counted. Those of a copy that was refused may
    /// have keys with nulls, and keys that stand twice.
    pub(super) fn open<'s>(
        &'s self,
        as_of: &AsOfTable,
        is_refused: bool,
        rows: &'s Cell<u64>,
    ) -> Result<impl Iterator<Item = Result<KeyedBatch>> + use<'s>> {
        let date = as_of.observed;
        let mut sequence = KeySequence::default();
        Ok(self.sorted(as_of, is_refused)?.map(move |batch| {
            let keyed = self
                .keyed(&batch?)
                .map_err(|error| error.within(format!("table {}, {date}", self.table.name)))?;
            rows.set(rows.get() + keyed.digests.len() as u64);
            if !is_refused {
                self.refuse_duplicates(&keyed, &mut sequence, date)?;
            }
            Ok(keyed)
        }))
    }

    /// The rows of a state, in any order, with the named columns in the types of both sides.
    pub(super) fn read(&self, as_of: &AsOfTable, columns: &[String]) -> Result<Batches> {
        let has = |name: &&String| as_of.schema.field_with_name(name).is_ok();
        let present: Vec<String> = columns.iter().filter(has).cloned().collect();
        let fields = columns.iter().map(|name| {
            let field = self.schema.field_with_name(name);
            field
                .cloned()
                .internal_context(|| "a column is missing".into())
        });
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        let clashes = self.clashes.clone();
        let batches = as_of.read(&present)?;
        Ok(Box::new(batches.map(move |batch| {
            conform(&settled(&clashes, &batch?)?, &schema)
        })))
    }

    /// Gathers all differences as rows.
    pub(super) fn difference_rows(&self) -> Result<DifferenceRows> {
        let table = self.table;
        DifferenceRows::new(self.schema, table, &attributes(&self.compared, &table.key))
    }

    fn keyed(&self, batch: &RecordBatch) -> Result<KeyedBatch> {
        let settled = settled(&self.clashes, batch)?;
        let digests = row_digests(&settled, self.compared.iter().map(String::as_str))?;
        KeyedBatch::new(&self.encoder, conform(&settled, self.schema)?, digests)
    }

    /// The rows of a state in the order of the key; keys with nulls are refused, unless the copy
    /// was.
    fn sorted(&self, as_of: &AsOfTable, is_refused: bool) -> Result<Batches> {
        let table = self.table;
        let is_of_key = |clash: &TypeClash| table.key.contains(&clash.column);
        // As text, keys have another order.
        let keys_are_settled = self.clashes.0.iter().any(is_of_key);
        if as_of.is_sorted_by_key() && !keys_are_settled {
            return as_of.read_in_schema_order(None);
        }
        let date = as_of.observed;
        let mut schema = as_of.schema.clone();
        let mut sorter = Sorter::new(&table.key, SORTER_BYTES);
        for batch in as_of.read_in_schema_order(None)? {
            let batch = match keys_are_settled {
                true => settled(&self.clashes, &batch?)?,
                false => batch?,
            };
            if !is_refused {
                table.keys(&batch, date)?;
            }
            schema = batch.schema();
            sorter.push(batch)?;
        }
        sorter.finish(&schema)
    }

    /// Refuses the first key that stands twice; no merge has an answer for it.
    fn refuse_duplicates(
        &self,
        keyed: &KeyedBatch,
        sequence: &mut KeySequence,
        date: NaiveDate,
    ) -> Result<()> {
        let steps = sequence.steps(&keyed.keys);
        match steps.iter().position(|step| *step == KeyStep::Repeats) {
            None => Ok(()),
            Some(row) => {
                let shown = [show_key(&keyed.batch, &self.table.key, row)];
                Err(self.table.duplicate_keys(date, 1, &shown))
            }
        }
    }
}

/// The rows with the columns as text whose types have nothing in common. A text that is a value of
/// the type that the column had is that value: `1.50` and `1.5` do not differ.
fn settled(clashes: &TypeClashes, batch: &RecordBatch) -> Result<RecordBatch> {
    let mut batch = batch.clone();
    for clash in &clashes.0 {
        let Ok(at) = batch.schema_ref().index_of(&clash.column) else {
            continue;
        };
        let typed = [&clash.from, &clash.to]
            .into_iter()
            .find(|data_type| *data_type != &DataType::Utf8);
        let column = as_text_of(batch.column(at), typed, &clash.column)?;
        batch = with_column(&batch, at, column)?;
    }
    Ok(batch)
}

/// The batch with another column in the place of one.
fn with_column(batch: &RecordBatch, at: usize, column: ArrayRef) -> Result<RecordBatch> {
    let mut fields: Vec<FieldRef> = batch.schema_ref().fields().to_vec();
    let field = fields[at].as_ref().clone();
    fields[at] = Arc::new(field.with_data_type(column.data_type().clone()));
    let mut columns = batch.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .internal_context(|| "cannot compare a column as text".into())
}
