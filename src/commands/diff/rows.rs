//! The differences between two states of a table as rows, for programs.
//!
//! | column | holds |
//! | --- | --- |
//! | `change` | `added`, `removed` or `changed` |
//! | each column of the key | the key |
//! | `changed_columns` | of a changed row, the names of the columns that differ; else null |
//! | `before` | the other columns on the first date, as a struct; null if the row was added |
//! | `after` | the other columns on the second date, as a struct; null if the row was removed |
//!
//! A column of the key that has one of these names gets the suffix `_<table>`.
//!
//! Memory: the differences. While they are gathered, a few batches of each state besides.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ListBuilder, RecordBatch, StringArray, StringBuilder, StructArray,
    new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use crate::domain::diff::Difference;
use crate::domain::missing_column::missing_column;
use crate::engine::table::SnapshotTable;
use crate::error::{Context, Error, Result};
use crate::storage::parquet::BATCH_ROWS;

/// How many batches of the states are held for rows that have not been taken out of them.
const BATCHES: usize = 32;
const CHANGE: &str = "change";
const CHANGED_COLUMNS: &str = "changed_columns";
const BEFORE: &str = "before";
const AFTER: &str = "after";

/// Where a row is: the batch, from 1, and the row in it; or nowhere.
type DifferencePlace = (usize, usize);
const NOWHERE: DifferencePlace = (0, 0);

/// Differences as rows; see the module.
pub(crate) struct DifferenceRows {
    /// The columns of the rows.
    pub(crate) schema: SchemaRef,
    /// The rows, in the order of the key.
    pub(crate) batches: Vec<RecordBatch>,
    key: Vec<Field>,
    attributes: Vec<Field>,
    held: Vec<RecordBatch>,
    waiting: Vec<FoundDifference>,
}

/// A difference whose rows have not been taken out of their batches.
struct FoundDifference {
    change: &'static str,
    changed: Option<Vec<usize>>,
    before: DifferencePlace,
    after: DifferencePlace,
}

impl DifferenceRows {
    /// No differences between states of a schema. `attributes` are the compared columns that are
    /// not of the key.
    ///
    /// # Errors
    /// A usage error for a key whose columns cannot be told from the others.
    pub(super) fn new(
        schema: &SchemaRef,
        table: &SnapshotTable,
        attributes: &[String],
    ) -> Result<Self> {
        let what = format!("table {}", table.name);
        let fields = |names: &[String]| -> Result<Vec<Field>> {
            let field = |name: &String| {
                let field = schema.field_with_name(name).cloned();
                field.map_err(|_| missing_column(name, schema, &what))
            };
            names.iter().map(field).collect()
        };
        let key = fields(&table.key)?;
        let attributes = fields(attributes)?;
        let state = DataType::Struct(attributes.iter().cloned().map(Arc::new).collect());
        let names = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        let mut all = vec![Field::new(CHANGE, DataType::Utf8, true)];
        for field in &key {
            let is_taken =
                [CHANGE, CHANGED_COLUMNS, BEFORE, AFTER].contains(&field.name().as_str());
            let name = match is_taken {
                true => format!("{}_{}", field.name(), table.name),
                false => field.name().clone(),
            };
            if is_taken && table.key.contains(&name) {
                return Err(Error::usage(format!(
                    "{what}: the differences would have two columns '{name}'"
                )));
            }
            all.push(field.clone().with_name(name));
        }
        all.extend([
            Field::new(CHANGED_COLUMNS, names, true),
            Field::new(BEFORE, state.clone(), true),
            Field::new(AFTER, state, true),
        ]);
        Ok(DifferenceRows {
            schema: Arc::new(Schema::new(all)),
            batches: Vec::new(),
            key,
            attributes,
            held: Vec::new(),
            waiting: Vec::new(),
        })
    }

    /// Adds a difference; `changed` are the columns in which a changed row differs, as places among
    /// the columns that are not of the key.
    ///
    /// # Errors
    /// None is expected.
    pub(super) fn push(&mut self, difference: &Difference<'_>, changed: &[usize]) -> Result<()> {
        let waiting = match *difference {
            Difference::Added(batch, row) => FoundDifference {
                change: "added",
                changed: None,
                before: NOWHERE,
                after: self.place(batch, row),
            },
            Difference::Removed(batch, row) => FoundDifference {
                change: "removed",
                changed: None,
                before: self.place(batch, row),
                after: NOWHERE,
            },
            Difference::Changed((old, old_row), (new, new_row)) => FoundDifference {
                change: "changed",
                changed: Some(changed.to_vec()),
                before: self.place(old, old_row),
                after: self.place(new, new_row),
            },
        };
        self.waiting.push(waiting);
        if self.waiting.len() >= BATCH_ROWS || self.held.len() >= BATCHES {
            self.flush()?;
        }
        Ok(())
    }

    /// Where a row is among the batches that are held.
    fn place(&mut self, batch: &RecordBatch, row: usize) -> DifferencePlace {
        let is_it = |held: &RecordBatch| {
            let columns = held.columns().iter().zip(batch.columns());
            held.num_rows() == batch.num_rows()
                && columns
                    .into_iter()
                    .all(|(one, other)| Arc::ptr_eq(one, other))
        };
        // Both sides come in order, so it is one of the last ones.
        let at = self.held.iter().rposition(is_it).unwrap_or_else(|| {
            self.held.push(batch.clone());
            self.held.len() - 1
        });
        (at + 1, row)
    }

    /// Takes the rows that wait out of their batches.
    ///
    /// # Errors
    /// None is expected.
    pub(super) fn flush(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let take = |field: &Field, places: &[DifferencePlace]| -> Result<ArrayRef> {
            let nothing = new_null_array(field.data_type(), 1);
            let mut values: Vec<&dyn Array> = vec![nothing.as_ref()];
            for batch in &held {
                let column = batch.column_by_name(field.name());
                let column = column.ok_or_else(|| Error::internal("a state lacks a column"))?;
                values.push(column.as_ref());
            }
            interleave(&values, places).internal_context(|| "cannot gather differences".into())
        };
        let state = |of: fn(&FoundDifference) -> DifferencePlace| -> Result<ArrayRef> {
            let places: Vec<DifferencePlace> = waiting.iter().map(of).collect();
            let columns = self.attributes.iter().map(|field| take(field, &places));
            let nulls: NullBuffer = places.iter().map(|place| *place != NOWHERE).collect();
            let fields: Fields = self.attributes.iter().cloned().map(Arc::new).collect();
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let state =
                StructArray::try_new_with_length(fields, columns, Some(nulls), places.len());
            Ok(Arc::new(
                state.internal_context(|| "cannot gather differences".into())?,
            ))
        };
        let changes = waiting.iter().map(|waiting| waiting.change);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(changes))];
        let with_key = |waiting: &FoundDifference| match waiting.after {
            NOWHERE => waiting.before,
            after => after,
        };
        let places: Vec<DifferencePlace> = waiting.iter().map(with_key).collect();
        for field in &self.key {
            columns.push(take(field, &places)?);
        }
        let mut names = ListBuilder::new(StringBuilder::new());
        for waiting in &waiting {
            let changed = waiting.changed.as_ref();
            names.append_option(changed.map(|changed| {
                let names = changed.iter().map(|at| Some(self.attributes[*at].name()));
                names.collect::<Vec<_>>()
            }));
        }
        columns.push(Arc::new(names.finish()));
        columns.push(state(|waiting| waiting.before)?);
        columns.push(state(|waiting| waiting.after)?);
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .internal_context(|| "cannot gather differences".into())?;
        self.batches.push(batch);
        Ok(())
    }
}
