//! Copies of a table: several of its snapshots, read one after the other with their dates.
//!
//! Each copy comes from its snapshot, or from the intervals if only they still know it. Only the
//! copies that a query needs are opened; its columns are those of these copies, in types that hold
//! the values of all of them.
//!
//! Memory: a batch of one copy.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, RecordBatch, RecordBatchOptions};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::as_of_table::AsOfTable;
use super::history::TableHistory;
use super::{RowSource, select};
use crate::domain::cast::{cast_exactly, display};
use crate::domain::days::to_days;
use crate::domain::path_columns::first_disagreeing;
use crate::domain::schema::{TypeClashes, columns_by_name, unify};
use crate::engine::table::SnapshotTable;
use crate::error::{Context, Error, Result};
use crate::storage::lake::paths::SNAPSHOT_DATE;
use crate::storage::parquet::object::BATCH_ROWS;
use crate::storage::{Batches, within};

/// Some copies of a table, opened: their columns with `snapshot_date`, and how to read them.
#[derive(Clone)]
pub struct Copies {
    /// The columns of all of them, with the label of the copy as the last one.
    pub schema: SchemaRef,
    copies: Vec<AsOfTable>,
    table: String,
}

impl TableHistory {
    /// The copies of some dates. If there are no dates, the columns are those of the serving copy.
    ///
    /// # Errors
    /// A failure or refusal of opening one; a refusal of types that no type holds.
    pub fn copies(&self, dates: &[NaiveDate], serving: NaiveDate) -> Result<Copies> {
        let opened = if dates.is_empty() { &[serving] } else { dates };
        let mut table = self.table.clone();
        let name = table.name.to_string();
        let (columns, copies) = loop {
            let copies = opened
                .iter()
                .map(|date| self.copy(&table, *date))
                .collect::<Result<Vec<_>>>()?;
            match unified(copies.iter().map(|copy| (copy.observed, &copy.schema))) {
                Ok(columns) => break (columns, copies),
                Err((clashes, date)) => {
                    let clashing: Vec<&String> =
                        clashes.0.iter().map(|clash| &clash.column).collect();
                    if clashing
                        .iter()
                        .any(|column| table.types.declared.contains_key(*column))
                        || !self.has_text(opened)?
                    {
                        return Err(clashes.refusal(&name, date));
                    }
                    // As in a compaction: types that were inferred give way to text.
                    table.types.declared.extend(
                        clashing
                            .into_iter()
                            .map(|column| (column.clone(), DataType::Utf8)),
                    );
                }
            }
        };
        let copies = if dates.is_empty() { Vec::new() } else { copies };
        let fields = columns
            .fields()
            .iter()
            .filter(|field| field.name() != SNAPSHOT_DATE)
            .cloned();
        let label = Arc::new(Field::new(SNAPSHOT_DATE, DataType::Date32, true));
        let schema = Arc::new(Schema::new(fields.chain([label]).collect::<Vec<_>>()));
        Ok(Copies {
            schema,
            copies,
            table: name,
        })
    }

    /// One copy. Text is read in the types of its own values: those of other copies are not known
    /// on every date.
    fn copy(&self, table: &SnapshotTable, date: NaiveDate) -> Result<AsOfTable> {
        let Some(objects) = self
            .snapshots
            .get(&date)
            .filter(|_| self.using != RowSource::Intervals)
        else {
            return self.as_of(date, false);
        };
        let schema = if table.own {
            self.columns_on(date)?
        } else {
            table.open(date, objects, None)?.schema
        };
        Ok(AsOfTable::of_snapshot(
            table,
            date,
            schema,
            objects.clone(),
            None,
        ))
    }

    /// Whether a copy is text, whose types are inferred.
    pub(super) fn has_text(&self, dates: &[NaiveDate]) -> Result<bool> {
        for objects in dates.iter().filter_map(|date| self.snapshots.get(date)) {
            if !self.table.format_of(objects)?.carries_types() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The schema that holds all of some copies.
fn unified<'a>(
    schemas: impl Iterator<Item = (NaiveDate, &'a SchemaRef)>,
) -> Result<SchemaRef, (TypeClashes, NaiveDate)> {
    let mut all: SchemaRef = Arc::new(Schema::empty());
    for (date, schema) in schemas {
        all = unify(&all, schema).map_err(|clashes| (clashes, date))?.0;
    }
    Ok(all)
}

impl Copies {
    /// The dates of the copies.
    pub fn dates(&self) -> Vec<NaiveDate> {
        self.copies.iter().map(|copy| copy.observed).collect()
    }

    /// Each copy with its date.
    pub fn parts(&self) -> impl Iterator<Item = (NaiveDate, &AsOfTable)> {
        self.copies.iter().map(|copy| (copy.observed, copy))
    }

    /// Only the copies of some dates, with the columns of all.
    #[must_use]
    pub fn only(&self, dates: &[NaiveDate]) -> Self {
        let copies = self
            .copies
            .iter()
            .filter(|copy| dates.contains(&copy.observed))
            .cloned()
            .collect();
        Copies {
            copies,
            ..self.clone()
        }
    }

    /// The rows of all copies, with the named columns, by date and in the order of each copy. A
    /// column that a copy does not have is null.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read(&self, columns: &[String]) -> Result<Batches> {
        let target = select(&self.schema, columns);
        let schema = target.clone();
        let copies = self.copies.clone();
        let table = self.table.clone();
        let columns = columns.to_vec();
        let batches = copies.into_iter().flat_map(move |copy| {
            let schema = schema.clone();
            let place = format!("table {table}, {}", copy.observed);
            let date = copy.observed;
            let mut wanted = columns.clone();
            if copy.schema.field_with_name(SNAPSHOT_DATE).is_ok()
                && !wanted.iter().any(|name| name == SNAPSHOT_DATE)
            {
                wanted.push(SNAPSHOT_DATE.to_owned());
            }
            match copy.read(&wanted) {
                Ok(batches) => within(
                    Box::new(batches.map(move |batch| labelled(&batch?, date, &schema))),
                    place,
                ),
                Err(error) => Box::new(std::iter::once(Err(error.within(place)))),
            }
        });
        Ok(in_even_batches(Box::new(batches), target))
    }
}

/// Rows of a copy with its label. A column of the copy that has the name of the label must agree
/// with it.
fn labelled(batch: &RecordBatch, date: NaiveDate, schema: &SchemaRef) -> Result<RecordBatch> {
    let days = to_days(date);
    if let Some(column) = batch.column_by_name(SNAPSHOT_DATE)
        && let Some(row) = first_disagreeing(column, Some(&date.to_string()), Some(date), false)?
    {
        let held = if column.is_null(row) {
            "null".to_owned()
        } else {
            display(column, row)
        };
        let what = format!(
            "the copy's own column '{SNAPSHOT_DATE}' holds {held}, and a query sees the date of \
             the copy under that name"
        );
        return Err(Error::refused(what).hint("rename the column in the source"));
    }
    let own = columns_by_name(batch);
    let columns = schema
        .fields()
        .iter()
        .map(|field| match own.get(field.name().as_str()) {
            _ if field.name() == SNAPSHOT_DATE => {
                Ok(Arc::new(Date32Array::from_value(days, batch.num_rows())) as ArrayRef)
            }
            Some(column) => cast_exactly(column, field.data_type(), field.name()),
            None => Ok(arrow::array::new_null_array(
                field.data_type(),
                batch.num_rows(),
            )),
        });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .io_context(|| "cannot bring rows into one schema".into())
}

/// Batches of a fixed number of rows: the last digits of a sum of floats depend on where batches
/// end.
pub(super) fn in_even_batches(mut batches: Batches, schema: SchemaRef) -> Batches {
    if schema.fields().is_empty() {
        return batches;
    }
    let mut even = Some(BatchCoalescer::new(schema, BATCH_ROWS));
    Box::new(std::iter::from_fn(move || {
        loop {
            let coalescer = even.as_mut()?;
            if let Some(batch) = coalescer.next_completed_batch() {
                return Some(Ok(batch));
            }
            let pushed = match batches.next() {
                Some(Ok(batch)) => coalescer.push_batch(batch),
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    let finished = coalescer.finish_buffered_batch();
                    let last = coalescer.next_completed_batch();
                    even = None;
                    return match finished {
                        Ok(()) => last.map(Ok),
                        Err(error) => Some(Err(Error::io(format!("cannot join rows: {error}")))),
                    };
                }
            };
            if let Err(error) = pushed {
                return Some(Err(Error::io(format!("cannot join rows: {error}"))));
            }
        }
    }))
}
