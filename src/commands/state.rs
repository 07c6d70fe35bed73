//! The states of a table that can be had: its snapshots, and those that only its intervals still
//! know.
//!
//! Both look alike from here on: a date, columns, and rows. What is read to open them is a listing
//! of the snapshots shortly before the dates that are asked for, and the footer of the intervals;
//! of one state its footer, and then its rows a batch at a time.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;

use super::Workspace;
use crate::domain::asof::latest;
use crate::domain::cast::{conform, display};
use crate::engine::digests::row_digests;
use crate::engine::intervals::Intervals;
use crate::engine::table::{Partitions, Snapshot, Table, convert};
use crate::error::{Context, Error, Result};
use crate::model::TableName;
use crate::storage::Batches;
use crate::storage::parquet::object::RowCondition;

/// What served a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The snapshot of its date.
    Snapshot,
    /// The intervals, which know a date that has no snapshot any more.
    Intervals,
}

/// A table with the observed dates that matter for some dates.
pub(super) struct States {
    pub(super) table: Table,
    pub(super) intervals: Option<Intervals>,
    snapshots: Partitions,
    observed: Vec<NaiveDate>,
}

/// The table on one observed date; its rows have not been read.
pub(super) struct State<'a> {
    pub(super) date: NaiveDate,
    pub(super) origin: Origin,
    pub(super) schema: SchemaRef,
    /// Whether its rows come in the order of the table's key.
    pub(super) by_key: bool,
    content: StateContent<'a>,
}

enum StateContent<'a> {
    Snapshot(Box<Snapshot>),
    /// Intervals with the columns that they recorded of the snapshot.
    Intervals {
        intervals: &'a Intervals,
        recorded: SchemaRef,
        table: TableName,
    },
}

impl States {
    /// Finds the intervals of a table, and the snapshots that hold on some dates.
    ///
    /// # Errors
    /// A usage error if there is no such table; a refusal if it has no state at all, or its
    /// intervals are damaged.
    pub(super) fn open(workspace: &Workspace<'_>, name: &str, dates: &[NaiveDate]) -> Result<Self> {
        let name = workspace.known(name)?;
        let intervals = workspace.intervals(&name)?;
        let key = match &intervals {
            Some(intervals) if workspace.table_config(&name).key.is_empty() => {
                intervals.footer.key.clone()
            }
            _ => Vec::new(),
        };
        let table = workspace.table(&name, &key)?;
        let mut snapshots = Partitions::new();
        for date in dates {
            snapshots.extend(table.find_latest(*date)?);
        }
        let mut observed: Vec<NaiveDate> = snapshots.keys().copied().collect();
        // Intervals of some rows or columns do not tell how the table was.
        observed.extend(
            intervals
                .iter()
                .filter(|intervals| intervals.is_whole())
                .flat_map(Intervals::observed),
        );
        observed.sort();
        observed.dedup();
        if observed.is_empty() {
            return Err(
                Error::refused(format!("table {name} has no snapshots")).hint(table.filling())
            );
        }
        Ok(States {
            table,
            intervals,
            snapshots,
            observed,
        })
    }

    /// The latest observed date that is not after `date`.
    pub(super) fn latest_until(&self, date: NaiveDate) -> Option<NaiveDate> {
        latest(&self.observed, date)
    }

    /// The observed date whose state holds on `date`: the latest not after it. `again` is the
    /// command with another date.
    ///
    /// # Errors
    /// A refusal that names the first observed date if that is later.
    pub(super) fn resolve(
        &self,
        date: NaiveDate,
        again: impl FnOnce(NaiveDate) -> String,
    ) -> Result<NaiveDate> {
        self.latest_until(date).ok_or_else(|| {
            let first = self.observed[0];
            Error::refused(format!(
                "table {}: {date} is before the first snapshot ({first})",
                self.table.name
            ))
            .hint(again(first))
        })
    }

    /// The state of an observed date. `pinned` are types for text formats, if the intervals know
    /// none.
    ///
    /// # Errors
    /// A refusal if the snapshot is damaged.
    pub(super) fn at(&self, date: NaiveDate, pinned: Option<&SchemaRef>) -> Result<State<'_>> {
        if let Some(objects) = self.snapshots.get(&date) {
            let known = self.known_schema(date)?;
            let snapshot = self.table.open(date, objects, known.as_ref().or(pinned))?;
            let by_key = snapshot.is_sorted_by(&self.table.key);
            let schema = snapshot.schema.clone();
            return Ok(State {
                date,
                origin: Origin::Snapshot,
                schema,
                by_key,
                content: StateContent::Snapshot(Box::new(snapshot)),
            });
        }
        let none = || self.table.refuse(date, "there is no snapshot");
        let intervals = self.intervals.as_ref().ok_or_else(none)?;
        let index = intervals
            .observed()
            .binary_search(&date)
            .map_err(|_| none())?;
        let recorded = intervals.schema_of(index)?;
        let schema = self.table.as_declared(&recorded);
        let by_key = intervals.footer.key == self.table.key && schema == recorded;
        let content = StateContent::Intervals {
            intervals,
            recorded,
            table: self.table.name.clone(),
        };
        Ok(State {
            date,
            origin: Origin::Intervals,
            schema,
            by_key,
            content,
        })
    }

    /// The columns that the intervals know of a date, or of the last one before it.
    fn known_schema(&self, date: NaiveDate) -> Result<Option<SchemaRef>> {
        let Some(intervals) = &self.intervals else {
            return Ok(None);
        };
        let until = intervals.observed().partition_point(|seen| *seen <= date);
        until
            .checked_sub(1)
            .map(|index| intervals.schema_of(index))
            .transpose()
    }
}

impl State<'_> {
    /// Reads the named columns, or all of them.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub(super) fn read(self, columns: Option<&[String]>) -> Result<Batches> {
        let (intervals, recorded, table) = match self.content {
            StateContent::Snapshot(snapshot) => return snapshot.read(columns),
            StateContent::Intervals {
                intervals,
                recorded,
                table,
            } => (intervals, recorded, table),
        };
        let recorded = match columns {
            None => recorded,
            Some(columns) => project(&recorded, |name| {
                columns.iter().any(|column| column == name)
            }),
        };
        let date = self.date;
        let schema = self.schema;
        let rows = intervals
            .as_of(date, columns)?
            .map(move |batch| convert(&conform(&batch?, &recorded)?, &table, date, &schema));
        Ok(Box::new(rows))
    }

    /// Reads the named columns of the rows for which a condition holds, and as little else as that
    /// needs.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub(super) fn read_where(
        self,
        columns: &[String],
        condition: Arc<dyn RowCondition>,
    ) -> Result<Batches> {
        match self.content {
            StateContent::Snapshot(snapshot) => snapshot.read_where(columns, condition),
            StateContent::Intervals {
                intervals,
                ref recorded,
                ..
            } if *recorded == self.schema => {
                intervals.as_of_where(self.date, Some(columns), Some(condition))
            }
            StateContent::Intervals { .. } => {
                let columns = columns.to_vec();
                Ok(Box::new(self.read(None)?.map(move |batch| {
                    let batch = batch?;
                    let rows = filter_record_batch(&batch, &condition.holds(&batch)?)
                        .io_context(|| "cannot select rows".into())?;
                    conform(
                        &rows,
                        &project(rows.schema_ref(), |name| {
                            columns.iter().any(|column| column == name)
                        }),
                    )
                })))
            }
        }
    }

    /// The columns whose values are those of each interval's first day, and so perhaps not those of
    /// the date.
    pub(super) fn not_compared(&self) -> Vec<String> {
        match self.content {
            StateContent::Snapshot(_) => Vec::new(),
            StateContent::Intervals { intervals, .. } => {
                let comparison = intervals.comparison();
                let names = self.schema.fields().iter().map(|field| field.name());
                names
                    .filter(|name| !comparison.covers(name))
                    .cloned()
                    .collect()
            }
        }
    }
}

/// The columns that `keep` accepts, in their order.
pub(super) fn project(schema: &Schema, keep: impl Fn(&str) -> bool) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .filter(|field| keep(field.name()))
        .cloned();
    std::sync::Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A value as text, or none if it is null.
pub(super) fn cell(column: &dyn Array, row: usize) -> Option<String> {
    let null = column.data_type() == &DataType::Null || column.is_null(row);
    (!null).then(|| display(column, row))
}

/// One column's value on either side of a change, as text; null is none.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ColumnChange {
    /// The column.
    pub name: String,
    /// Its value before.
    pub old: Option<String>,
    /// Its value after.
    pub new: Option<String>,
}

/// A batch with the digest of every cell of some columns: 16 bytes a cell.
pub(super) struct Cells {
    pub(super) batch: RecordBatch,
    digests: Vec<Vec<u128>>,
}

impl Cells {
    /// Digests the named columns.
    ///
    /// # Errors
    /// A refusal for a type that cannot be compared.
    pub(super) fn of(batch: &RecordBatch, columns: &[String]) -> Result<Self> {
        let digests = columns
            .iter()
            .map(|name| row_digests(batch, [name.as_str()]))
            .collect::<Result<_>>()?;
        Ok(Cells {
            batch: batch.clone(),
            digests,
        })
    }

    /// Whether these are the cells of `batch`, and not of one that is merely equal.
    pub(super) fn are_of(&self, batch: &RecordBatch) -> bool {
        self.batch
            .columns()
            .iter()
            .zip(batch.columns())
            .all(|(one, other)| std::sync::Arc::ptr_eq(one, other))
    }

    /// The positions, among the digested columns, of those in which two rows differ.
    pub(super) fn differing<'a>(
        &'a self,
        row: usize,
        other: &'a Cells,
        other_row: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let pairs = self.digests.iter().zip(&other.digests).enumerate();
        pairs
            .filter(move |(_, (old, new))| old[row] != new[other_row])
            .map(|(at, _)| at)
    }
}
