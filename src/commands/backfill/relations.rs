//! What a name in a job gives of a table on a date.

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::date::DateRun;
use super::job::{JobRelation, View};
use crate::engine::asof::{AsOfTable, Copies, KnownIntervals, TableHistory};
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::storage::Batches;
use crate::storage::lake::location::Object;

/// Rows of a table.
#[derive(Clone)]
pub(super) enum TableRows {
    /// Those as of the date.
    AsOf(AsOfTable),
    /// Those of copies up to the date.
    Copies(Copies),
    /// The intervals as they were known on the date.
    Known(KnownIntervals),
}

impl TableRows {
    pub(super) fn schema(&self) -> &SchemaRef {
        match self {
            TableRows::AsOf(as_of) => &as_of.schema,
            TableRows::Copies(copies) => &copies.schema,
            TableRows::Known(known) => &known.schema,
        }
    }

    /// The rows with the named columns; names that there are not are left out.
    pub(super) fn read(&self, columns: &[String]) -> Result<Batches> {
        match self {
            TableRows::AsOf(as_of) => as_of.read(columns),
            TableRows::Copies(copies) => copies.read(columns),
            TableRows::Known(known) => known.read(columns),
        }
    }

    /// The Parquet object that holds these rows and no others, in these types.
    pub(super) fn plain_object(&self) -> Result<Option<Object>> {
        match self {
            TableRows::AsOf(as_of) => as_of.plain_object(),
            TableRows::Copies(_) | TableRows::Known(_) => Ok(None),
        }
    }
}

impl<'a> DateRun<'a> {
    /// The rows of a table that a relation has on the date, with the table's history and the
    /// observed date that serves.
    pub(super) fn table_rows(
        &mut self,
        relation: &JobRelation,
        table: &TableName,
        view: View,
    ) -> Result<(TableRows, &'a TableHistory, NaiveDate)> {
        let job = self.job;
        let history = job
            .tables
            .get(table.as_str())
            .ok_or_else(|| Error::internal(format!("table {table} is not known")))?;
        let serving = history.resolve(self.date)?;
        let rows = match view {
            View::AsOf => TableRows::AsOf(history.as_of(serving, self.many)?),
            View::Snapshots => TableRows::Copies(history.copies(
                &job.copies_read(relation, history, serving, self.date)?,
                serving,
            )?),
            View::Intervals => TableRows::Known(history.known_on(serving)?),
        };
        let from_intervals = match &rows {
            TableRows::AsOf(as_of) => as_of.from_intervals(),
            TableRows::Known(known) => known.is_published(history),
            TableRows::Copies(_) => false,
        };
        let using = self
            .report
            .using
            .entry(table.to_string())
            .or_insert("snapshots");
        if from_intervals {
            *using = "intervals";
        }
        Ok((rows, history, serving))
    }
}
