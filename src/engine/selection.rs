//! The rows and columns of a table that its intervals stand for.
//!
//! By default these are all. With a condition, a row that does not meet it counts as absent, so a
//! key is present while the condition holds. With selected columns, the others are neither compared
//! nor part of the result. The key is always selected.
//!
//! The condition is evaluated on each copy as the copy is: in its own types, and with null for a
//! column that it does not have. So what a copy contributes depends on no other copy, and one more
//! copy never changes what the intervals say of those before.
//!
//! Memory: the condition, once for each schema that the copies have.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::expression::{Condition, names_in};
use super::table::SnapshotTable;
use super::table_part::TablePart;
use crate::domain::missing_column::missing_column;
use crate::error::{Context, Result};

/// Which rows and columns of a table intervals stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// The condition that rows meet; all rows if nothing.
    pub condition: Option<String>,
    /// The columns, those of the key first; all columns if empty.
    pub select: Vec<String>,
}

impl Selection {
    /// A condition, and columns beside those of the key.
    pub fn new(condition: Option<String>, select: &[String], key: &[String]) -> Self {
        let mut others: Vec<String> = select
            .iter()
            .filter(|name| !key.contains(name))
            .cloned()
            .collect();
        others.sort();
        others.dedup();
        let select = if select.is_empty() {
            Vec::new()
        } else {
            key.iter().cloned().chain(others).collect()
        };
        Selection { condition, select }
    }

    /// Whether these are all rows and columns.
    pub fn is_whole(&self) -> bool {
        self.condition.is_none() && self.select.is_empty()
    }

    /// Whether a column is selected.
    pub fn keeps(&self, column: &str) -> bool {
        self.select.is_empty() || self.select.iter().any(|name| name == column)
    }

    /// The selected columns of a schema, in its order.
    pub fn kept(&self, schema: &SchemaRef) -> SchemaRef {
        if self.select.is_empty() {
            return schema.clone();
        }
        let fields = schema
            .fields()
            .iter()
            .filter(|field| self.keeps(field.name()))
            .cloned();
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// What the intervals are of, in words: `rows where status = 'ACTIVE', columns id, name`.
    pub fn in_words(&self) -> String {
        let rows = self
            .condition
            .as_ref()
            .map(|condition| format!("rows where {condition}"));
        let noun = if self.select.len() == 1 {
            "column"
        } else {
            "columns"
        };
        let columns =
            (!self.select.is_empty()).then(|| format!("{noun} {}", self.select.join(", ")));
        rows.into_iter()
            .chain(columns)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Refuses a condition over columns that no copy has, and selected columns that none has.
    ///
    /// # Errors
    /// A usage error that names the column.
    pub fn check(&self, schema: &SchemaRef, table: &SnapshotTable) -> Result<()> {
        if let Some(name) = self
            .select
            .iter()
            .find(|name| schema.field_with_name(name).is_err())
        {
            return Err(missing_column(
                name,
                schema,
                &format!("table {}", table.name),
            ));
        }
        let Some(condition) = &self.condition else {
            return Ok(());
        };
        Condition::parse(condition, schema)
            .map(|_| ())
            .map_err(|error| error.within(format!("table {}", table.name)))
    }

    /// The part of a table that this is; nothing if it is all of it.
    ///
    /// # Errors
    /// A usage error for a condition that is not an expression.
    pub fn part(&self) -> Result<Option<TablePart>> {
        if self.is_whole() {
            return Ok(None);
        }
        let rows = SelectedRows::new(self)?;
        let columns = (!self.select.is_empty())
            .then(|| self.select.iter().chain(&rows.named).cloned().collect());
        let kept = (!self.select.is_empty()).then(|| self.select.clone());
        Ok(Some(TablePart {
            columns,
            kept,
            rows: Arc::new(move |batch| rows.of(batch)),
            observes: true,
        }))
    }
}

/// Selects rows and columns of copies.
pub struct SelectedRows {
    selection: Selection,
    /// The names in the condition, among them those of its columns.
    named: Vec<String>,
    /// The condition, by the columns of copies.
    conditions: Mutex<Vec<(SchemaRef, Arc<Condition>)>>,
}

impl SelectedRows {
    /// Makes the condition ready.
    ///
    /// # Errors
    /// A usage error for a condition that is not an expression.
    pub fn new(selection: &Selection) -> Result<Self> {
        let named = selection
            .condition
            .as_deref()
            .map(names_in)
            .transpose()?
            .unwrap_or_default();
        Ok(SelectedRows {
            selection: selection.clone(),
            named,
            conditions: Mutex::default(),
        })
    }

    /// The selected rows and columns of a batch of a copy, and which rows those are; nothing for
    /// all.
    ///
    /// # Errors
    /// A usage error for a condition that the types of the copy do not fit; a refusal of a value
    /// that it cannot be computed for.
    pub fn of(&self, batch: &RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)> {
        let Some(text) = &self.selection.condition else {
            return Ok((self.kept(batch)?, None));
        };
        let condition = self.condition(text, batch.schema_ref())?;
        let mask = condition.mask(batch)?;
        let rows = filter_record_batch(&self.kept(batch)?, &mask)
            .io_context(|| "cannot select rows".into())?;
        Ok((rows, Some(mask)))
    }

    fn kept(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = batch.schema();
        let kept: Vec<usize> = (0..schema.fields().len())
            .filter(|at| self.selection.keeps(schema.field(*at).name()))
            .collect();
        batch
            .project(&kept)
            .io_context(|| "cannot select columns".into())
    }

    /// The condition over the columns of a copy, and nulls for those that it does not have.
    fn condition(&self, text: &str, schema: &SchemaRef) -> Result<Arc<Condition>> {
        let mut conditions = self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = conditions.iter().find(|(known, _)| known == schema) {
            return Ok(known.clone());
        }
        let is_absent = |name: &&String| schema.field_with_name(name).is_err();
        let absent = self
            .named
            .iter()
            .filter(is_absent)
            .map(|name| Arc::new(Field::new(name, DataType::Null, true)));
        let with_absent = Schema::new(
            schema
                .fields()
                .iter()
                .cloned()
                .chain(absent)
                .collect::<Vec<_>>(),
        );
        let condition = Arc::new(Condition::parse(text, &Arc::new(with_absent))?);
        conditions.push((schema.clone(), condition.clone()));
        Ok(condition)
    }
}
