//! What a table was over time: [`TableIntervals`], [`KeyHistory`] and [`TableDiff`].

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::Table;
use crate::commands::diff::{DiffOptions, DiffReport, diff_rows};
use crate::commands::history::{HistoryOptions, history_rows, intervals_of};
use crate::commands::lookup::inventory;
use crate::commands::shown_columns::selected_columns;
use crate::domain::cast::conform;
use crate::engine::expression::Condition;
use crate::engine::intervals::Intervals;
use crate::error::{Context, Result};
use crate::model::TableName;
use crate::storage::parquet::object::RowCondition;

impl Table<'_> {
    /// The dates that have a copy in the lake, or whose rows the intervals still give; ascending.
    ///
    /// # Errors
    /// A usage error for a table that is not known; a failure to list it; a refusal if its
    /// intervals are damaged.
    pub fn dates(&self) -> Result<Vec<NaiveDate>> {
        let workspace = self.lake.workspace()?;
        let found = inventory(&workspace, &workspace.known(self.name())?)?;
        let mut dates = found.found.dates();
        if let Some(intervals) = found.intervals? {
            dates.extend(intervals.served());
        }
        dates.sort();
        dates.dedup();
        Ok(dates)
    }

    /// The table's intervals, as the last [`compact`](Self::compact) left them.
    ///
    /// No row is read before [`TableIntervals::read`] is called.
    ///
    /// # Errors
    /// A usage error for a table that is not known, or that was not compacted yet; a refusal if the
    /// intervals are damaged.
    pub fn intervals(&self) -> Result<TableIntervals> {
        let workspace = self.lake.workspace()?;
        let opened = intervals_of(&workspace, self.name())?;
        Ok(TableIntervals {
            table: opened.table,
            intervals: opened.intervals,
        })
    }

    /// Every interval of one key, which is written as text, a value for each column of the key: the
    /// rows of [`intervals`](Self::intervals) that have it, of which only the row groups are read
    /// that may have it.
    ///
    /// # Errors
    /// As [`intervals`](Self::intervals); a usage error for a key of another number of values, or
    /// for a value that is not of its column's type; a refusal of a key that was never there.
    pub fn history<T: Into<String>>(&self, key: impl IntoIterator<Item = T>) -> Result<KeyHistory> {
        let options = HistoryOptions {
            table: self.name().to_owned(),
            key: key.into_iter().map(Into::into).collect(),
            out: None,
        };
        let (schema, batches) = history_rows(&self.lake.workspace()?, &options)?;
        Ok(KeyHistory { schema, batches })
    }

    /// The rows that were added, removed or changed between the table as of two dates. Each date
    /// has the latest copy that is not after it. Both states are read once, side by side; of their
    /// rows only those that differ are held.
    ///
    /// # Errors
    /// A usage error for a table that is not known; a refusal for a date before the first snapshot,
    /// and for columns whose types cannot be compared.
    pub fn diff(&self, from: NaiveDate, to: NaiveDate) -> Result<TableDiff> {
        let options = DiffOptions {
            table: self.name().to_owned(),
            from: Some(from),
            to,
            ..DiffOptions::default()
        };
        let (report, rows) = diff_rows(&self.lake.workspace()?, &options)?;
        Ok(TableDiff {
            report,
            schema: rows.schema,
            batches: rows.batches,
        })
    }
}

/// The intervals of a [`Table`]: each row once for as long as it stayed the same.
pub struct TableIntervals {
    table: TableName,
    intervals: Intervals,
}

impl TableIntervals {
    /// The table's columns, and then the two with the first and the last date of each interval,
    /// which are `active_start` and `active_end` unless `asof.toml` names others.
    pub fn schema(&self) -> SchemaRef {
        self.intervals.object().schema().clone()
    }

    /// The condition that selects the rows as of a date `D`, such as
    /// `active_start <= D AND active_end >= D`.
    pub fn condition(&self) -> String {
        self.intervals.convention.condition("D")
    }

    /// The dates of the copies that they were made from, ascending.
    pub fn observed(&self) -> Vec<NaiveDate> {
        self.intervals.observed()
    }

    /// Reads the intervals in batches, in the order of the key and the first date: the named
    /// columns, or all if none is; and only the rows for which a condition over any columns holds,
    /// which needs the feature `sql`. Row groups and pages without such a row are not read.
    ///
    /// # Errors
    /// A usage error for a column or a condition that is wrong; a failure to read, at once or with
    /// a batch.
    pub fn read(
        &self,
        columns: &[&str],
        condition: Option<&str>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let schema = self.projected(columns)?;
        let object = self.intervals.object();
        let fields = schema.fields().iter();
        let names: Vec<String> = fields.map(|field| field.name().clone()).collect();
        let condition = condition.map(|text| Condition::parse(text, object.schema()));
        let condition = condition.transpose()?.map(Arc::new);
        // One that names no column cannot choose pages by theirs.
        let (pushed, constant) = match condition {
            Some(condition) if condition.columns().is_empty() => (None, Some(condition)),
            condition => (
                condition.map(|condition| condition as Arc<dyn RowCondition>),
                None,
            ),
        };
        let rows = object.read_where(Some(&names), pushed)?;
        Ok(rows.map(move |batch| {
            let mut batch = batch?;
            if let Some(condition) = &constant {
                batch = filter_record_batch(&batch, &condition.mask(&batch)?)
                    .io_context(|| "cannot select rows".into())?;
            }
            conform(&batch, &schema)
        }))
    }

    /// Checks a condition without reading an interval.
    ///
    /// # Errors
    /// A usage error that says what is wrong with it.
    pub fn check_condition(&self, condition: &str) -> Result<()> {
        Condition::parse(condition, self.intervals.object().schema()).map(|_| ())
    }

    /// The schema of the named columns, in the order of their names, or of all.
    ///
    /// # Errors
    /// A usage error for a column that is not there.
    pub fn projected(&self, columns: &[&str]) -> Result<SchemaRef> {
        let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let what = format!("the intervals of table {}", self.table);
        selected_columns(&names, self.intervals.object().schema(), &what)
    }
}

/// Every interval of one key of a [`Table`], in order.
#[derive(Clone, Debug)]
pub struct KeyHistory {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl KeyHistory {
    /// The columns: those of [`TableIntervals::schema`].
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows, in the order of their first dates.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
}

/// What differs between a [`Table`] as of two dates.
///
/// A row for each key that differs, in the order of the key:
///
/// | column | holds |
/// | --- | --- |
/// | `change` | `added`, `removed` or `changed` |
/// | each column of the key | the key |
/// | `changed_columns` | of a changed row, the names of the columns that differ; else null |
/// | `before` | the other columns on the first date, as a struct; null if the row was added |
/// | `after` | the other columns on the second date, as a struct; null if the row was removed |
///
/// A column of the key that has one of these names gets the suffix `_<table>`.
#[derive(Clone, Debug)]
pub struct TableDiff {
    report: DiffReport,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl TableDiff {
    /// The dates of the two copies that were compared.
    pub fn snapshot_dates(&self) -> (NaiveDate, NaiveDate) {
        (self.report.from.snapshot_date, self.report.to.snapshot_date)
    }

    /// How many keys only the second state has.
    pub fn added(&self) -> u64 {
        self.report.added
    }

    /// How many keys only the first state has.
    pub fn removed(&self) -> u64 {
        self.report.removed
    }

    /// How many keys have rows that are not the same.
    pub fn changed(&self) -> u64 {
        self.report.changed
    }

    /// The columns that differ in changed rows, with the number of these rows, most of them first.
    pub fn changed_columns(&self) -> impl Iterator<Item = (&str, u64)> {
        let columns = self.report.columns.iter();
        columns.map(|column| (column.name.as_str(), column.changed))
    }

    /// The columns of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
}
