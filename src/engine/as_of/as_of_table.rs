//! The table on one observed date: its columns, and reading its rows.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use chrono::NaiveDate;

use super::columns::schema_on;
use super::history::TableHistory;
use super::{RowSource, select};
use crate::domain::cast::conform;
use crate::domain::schema::by_name;
use crate::engine::intervals::Intervals;
use crate::engine::table::{Snapshot, SnapshotTable, convert};
use crate::error::{Context, Result};
#[cfg(feature = "spark")]
use crate::source::Format;
use crate::storage::Batches;
use crate::storage::lake::location::Object;
use crate::storage::parquet::object::{ParquetObject, RowCondition};

/// What serves the rows of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The snapshot of the date.
    Snapshot,
    /// The intervals, for a date that has no snapshot any more.
    Intervals,
}

/// A table as of one observed date; its rows have not been read.
#[derive(Clone)]
pub struct AsOfTable {
    /// The observed date.
    pub observed: NaiveDate,
    /// The columns that the snapshot had, in the types that are declared for the table.
    pub schema: SchemaRef,
    /// How many rows it has, if a footer told that.
    pub count: Option<u64>,
    table: Box<SnapshotTable>,
    rows: RowsOnDate,
}

#[derive(Clone)]
enum RowsOnDate {
    Snapshot {
        objects: Vec<Object>,
        /// The snapshot as it was opened to learn its columns; the first read takes it.
        opened: Arc<Mutex<Option<Snapshot>>>,
    },
    Intervals {
        intervals: Arc<Intervals>,
        /// The columns that the intervals recorded of the snapshot.
        recorded: SchemaRef,
    },
}

impl TableHistory {
    /// The intervals, if they are to serve this date; `many` says that other dates will be asked
    /// for too.
    ///
    /// # Errors
    /// A failure or refusal of reading a footer.
    pub fn intervals_for(&self, observed: NaiveDate, many: bool) -> Result<Option<Arc<Intervals>>> {
        let Some(intervals) = self
            .intervals
            .as_ref()
            .filter(|_| self.using != RowSource::Snapshots)
        else {
            return Ok(None);
        };
        let Some(recorded) = intervals.fingerprint(observed) else {
            return Ok(None);
        };
        let recorded_schema = schema_on(intervals, observed)?;
        let has_declared_types = self.table.as_declared(&recorded_schema) == recorded_schema;
        if self.using == RowSource::Intervals || !self.snapshots.contains_key(&observed) {
            if !has_declared_types {
                let error = self.table.refuse(
                    observed,
                    "the intervals have other types than those that are declared",
                );
                return Err(error.hint(format!("asof compact {}", self.table.name)));
            }
            return Ok(Some(intervals.clone()));
        }
        if !has_declared_types {
            return Ok(None);
        }
        if !many || !self.table.own || !intervals.compares_all() {
            return Ok(None);
        }
        Ok((self.facts(observed)?.fingerprint == recorded).then(|| intervals.clone()))
    }

    /// The table as of an observed date, exactly as its snapshot was.
    ///
    /// # Errors
    /// A failure or refusal of reading a footer.
    pub fn as_of(&self, observed: NaiveDate, many: bool) -> Result<AsOfTable> {
        if let Some(intervals) = self.intervals_for(observed, many)? {
            let schema = schema_on(&intervals, observed)?;
            let recorded = schema.clone();
            return Ok(AsOfTable {
                observed,
                schema,
                count: intervals.snapshot(observed).map(|seen| seen.rows),
                table: Box::new(self.table.clone()),
                rows: RowsOnDate::Intervals {
                    intervals,
                    recorded,
                },
            });
        }
        let objects = self
            .snapshots
            .get(&observed)
            .ok_or_else(|| self.table.refuse(observed, "there is no snapshot"))?;
        let snapshot = self
            .table
            .open(observed, objects, self.pinned(observed)?.as_ref())?;
        let count = snapshot.count();
        let schema = snapshot.schema;
        Ok(AsOfTable {
            count,
            ..AsOfTable::of_snapshot(&self.table, observed, schema, objects.clone(), None)
        })
    }

    /// The table as of an observed date, as well as it can be read: values that the intervals hold
    /// in another type than the declared one are converted. `pinned` are types for text formats,
    /// for a date before which the intervals know none.
    ///
    /// # Errors
    /// A refusal if the snapshot is damaged.
    pub fn latest(&self, observed: NaiveDate, pinned: Option<&SchemaRef>) -> Result<AsOfTable> {
        if let Some(objects) = self.snapshots.get(&observed) {
            let known = self.pinned(observed)?;
            let snapshot = self
                .table
                .open(observed, objects, known.as_ref().or(pinned))?;
            return Ok(AsOfTable::of_snapshot(
                &self.table,
                observed,
                snapshot.schema.clone(),
                objects.clone(),
                Some(snapshot),
            ));
        }
        let intervals = self
            .published
            .as_ref()
            .filter(|intervals| intervals.snapshot(observed).is_some())
            .ok_or_else(|| self.table.refuse(observed, "there is no snapshot"))?;
        let recorded = schema_on(intervals, observed)?;
        Ok(AsOfTable {
            observed,
            schema: self.table.as_declared(&recorded),
            count: None,
            table: Box::new(self.table.clone()),
            rows: RowsOnDate::Intervals {
                intervals: intervals.clone(),
                recorded,
            },
        })
    }
}

impl AsOfTable {
    /// A snapshot whose columns are known; `opened` if it is open already.
    pub(super) fn of_snapshot(
        table: &SnapshotTable,
        observed: NaiveDate,
        schema: SchemaRef,
        objects: Vec<Object>,
        opened: Option<Snapshot>,
    ) -> Self {
        AsOfTable {
            observed,
            schema,
            count: None,
            table: Box::new(table.clone()),
            rows: RowsOnDate::Snapshot {
                objects,
                opened: Arc::new(Mutex::new(opened)),
            },
        }
    }

    /// What serves the rows.
    pub fn origin(&self) -> Origin {
        match self.rows {
            RowsOnDate::Snapshot { .. } => Origin::Snapshot,
            RowsOnDate::Intervals { .. } => Origin::Intervals,
        }
    }

    /// The intervals, if they serve the rows.
    pub fn intervals(&self) -> Option<&Intervals> {
        match &self.rows {
            RowsOnDate::Snapshot { .. } => None,
            RowsOnDate::Intervals { intervals, .. } => Some(intervals),
        }
    }

    /// The files of the snapshot, if it serves the rows.
    pub fn objects(&self) -> &[Object] {
        match &self.rows {
            RowsOnDate::Snapshot { objects, .. } => objects,
            RowsOnDate::Intervals { .. } => &[],
        }
    }

    /// Whether the rows are known to come in the order of the table's key.
    pub fn is_sorted_by_key(&self) -> bool {
        match &self.rows {
            RowsOnDate::Snapshot { opened, .. } => opened
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .is_some_and(|snapshot| snapshot.is_sorted_by(&self.table.key)),
            RowsOnDate::Intervals {
                intervals,
                recorded,
            } => intervals.footer.key == self.table.key && *recorded == self.schema,
        }
    }

    /// Whether no key stands twice, because asof checked that when it wrote the rows. It is known
    /// until the rows are read. A copy that was refused may have such keys all the same.
    pub fn has_unique_keys(&self) -> bool {
        let is_managed = self.table.own || self.origin() == Origin::Intervals;
        is_managed && self.is_sorted_by_key()
    }

    /// The columns that the intervals do not compare, if they serve the rows: the values of these
    /// columns are those of each interval's first day, and so perhaps not those of the date.
    pub fn not_compared(&self) -> Vec<String> {
        match &self.rows {
            RowsOnDate::Snapshot { .. } => Vec::new(),
            RowsOnDate::Intervals { intervals, .. } => {
                intervals.comparison().not_compared(&self.schema)
            }
        }
    }

    /// The Parquet object in the lake that holds these rows exactly as they are read, if
    /// there is one.
    ///
    /// # Errors
    /// A failure or refusal of reading its footer.
    pub fn plain_object(&self) -> Result<Option<Object>> {
        let RowsOnDate::Snapshot { objects, .. } = &self.rows else {
            return Ok(None);
        };
        let is_plain = self.plain_parquet()?.is_some();
        Ok(objects.first().filter(|_| is_plain).cloned())
    }

    /// Whether the rows are those of Parquet files of another tool as they are, but for columns
    /// that folders hold.
    ///
    /// # Errors
    /// A refusal of files of several formats.
    #[cfg(feature = "spark")]
    pub fn is_plain_parquet(&self) -> Result<bool> {
        let RowsOnDate::Snapshot { objects, .. } = &self.rows else {
            return Ok(false);
        };
        let table = &self.table;
        let is_as_it_is = !table.own && table.dated.is_none() && table.dedup.is_none();
        let is_converted = !table.types.declared.is_empty();
        Ok(is_as_it_is && !is_converted && table.format.of(objects)? == Format::Parquet)
    }

    /// The table, with the rules by which its files are read.
    #[cfg(feature = "spark")]
    pub fn table(&self) -> &SnapshotTable {
        &self.table
    }

    /// The same object, opened.
    ///
    /// # Errors
    /// As [`AsOfTable::plain_object`].
    pub fn plain_parquet(&self) -> Result<Option<ParquetObject>> {
        let RowsOnDate::Snapshot { objects, .. } = &self.rows else {
            return Ok(None);
        };
        if objects.len() != 1 || !self.table.own {
            return Ok(None);
        }
        let snapshot = self.table.open(self.observed, objects, None)?;
        match *snapshot.stored_schema() == self.schema {
            true => snapshot.into_object(),
            false => Ok(None),
        }
    }

    /// The rows, with the named columns in the order of the names; a name that the snapshot did
    /// not have is left out. Own snapshots and intervals come in order of the key.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read(&self, columns: &[String]) -> Result<Batches> {
        self.read_columns(columns, false)
    }

    /// Reads the rows as [`AsOfTable::read`] does, on all processors where that is possible, for
    /// whoever reads nothing else meanwhile.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read_alone(&self, columns: &[String]) -> Result<Batches> {
        self.read_columns(columns, true)
    }

    fn read_columns(&self, columns: &[String], is_alone: bool) -> Result<Batches> {
        let own = by_name(&self.schema);
        let fields: Vec<FieldRef> = columns
            .iter()
            .filter_map(|name| own.get(name.as_str()).copied().cloned())
            .collect();
        let present: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let batches = match &self.rows {
            RowsOnDate::Intervals {
                intervals,
                recorded,
            } if *recorded == self.schema => intervals.as_of(self.observed, Some(&present))?,
            RowsOnDate::Snapshot { .. } if is_alone => {
                self.snapshot()?.read_alone(Some(&present))?
            }
            _ => self.read_in_schema_order(Some(&present))?,
        };
        Ok(Box::new(
            batches.map(move |batch| conform(&batch?, &schema)),
        ))
    }

    /// The rows, with the named columns or all of them, in the order of the schema.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read_in_schema_order(&self, columns: Option<&[String]>) -> Result<Batches> {
        match &self.rows {
            RowsOnDate::Snapshot { .. } => self.snapshot()?.read(columns),
            RowsOnDate::Intervals {
                intervals,
                recorded,
            } => {
                let rows = intervals.as_of(self.observed, columns)?;
                let recorded = match columns {
                    None => recorded.clone(),
                    Some(columns) => select(recorded, columns),
                };
                Ok(self.in_declared_types(rows, recorded))
            }
        }
    }

    /// The rows for which a condition holds, with the named columns in the order of the schema;
    /// decodes as little else as that needs.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read_where(
        &self,
        columns: &[String],
        condition: Arc<dyn RowCondition>,
    ) -> Result<Batches> {
        match &self.rows {
            RowsOnDate::Snapshot { .. } => self.snapshot()?.read_where(columns, condition),
            RowsOnDate::Intervals {
                intervals,
                recorded,
            } if *recorded == self.schema => {
                intervals.as_of_where(self.observed, Some(columns), Some(condition))
            }
            RowsOnDate::Intervals { .. } => {
                let selected = select(&self.schema, columns);
                let all = self.read_in_schema_order(None)?;
                Ok(Box::new(all.map(move |batch| -> Result<RecordBatch> {
                    let batch = batch?;
                    let rows = filter_record_batch(&batch, &condition.holds(&batch)?)
                        .io_context(|| "cannot select rows".into())?;
                    conform(&rows, &selected)
                })))
            }
        }
    }

    /// The snapshot: as it was opened to learn its columns, or opened again.
    fn snapshot(&self) -> Result<Snapshot> {
        let RowsOnDate::Snapshot { objects, opened } = &self.rows else {
            return Err(self.table.refuse(self.observed, "there is no snapshot"));
        };
        let opened = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        match opened {
            Some(snapshot) => Ok(snapshot),
            None => self.table.open(self.observed, objects, Some(&self.schema)),
        }
    }

    /// Rows of intervals in the columns of the snapshot and the types that are declared.
    fn in_declared_types(&self, rows: Batches, recorded: SchemaRef) -> Batches {
        let table = self.table.name.clone();
        let schema = self.schema.clone();
        let observed = self.observed;
        Box::new(
            rows.map(move |batch| {
                convert(&conform(&batch?, &recorded)?, &table, observed, &schema)
            }),
        )
    }
}
