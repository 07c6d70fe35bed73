//! [`Table`]: one slowly changing table, and its [`Rows`] as of a date.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::{Lake, only};
use crate::commands::Workspace;
use crate::commands::compact::{CompactOptions, CompactReport, compact};
use crate::commands::lookup::latest_states;
use crate::commands::show::matching;
use crate::commands::shown_columns::selected_columns;
use crate::commands::snapshot::{SnapshotOptions, SnapshotReport, snapshot, snapshot_rows};
use crate::commands::verify::{VerifyOptions, VerifyReport, verify};
use crate::domain::text_views::{as_views, with_views};
use crate::engine::as_of::AsOfTable;
use crate::engine::expression::Condition;
use crate::error::Result;
use crate::model::TableName;
use crate::source::GivenRows;

/// One slowly changing table of a [`Lake`].
#[derive(Clone, Debug)]
pub struct Table<'a> {
    pub(super) lake: &'a Lake,
    name: TableName,
}

impl<'a> Table<'a> {
    pub(super) fn new(lake: &'a Lake, name: TableName) -> Self {
        Table { lake, name }
    }

    /// The name of the table.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Publishes a copy of the table under a date, as `asof snapshot` does. A date that has a
    /// snapshot keeps it, unless the options say otherwise.
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error if no source or key is known, or if the date is past
    /// and [`backdate`](SnapshotOptions::backdate) is not set; a
    /// [`Refused`](crate::Kind::Refused) error for a duplicate key, a value that does not fit its
    /// column's type, or a guard; a [`Conflict`](crate::Kind::Conflict) if another writer published
    /// first. In each case nothing was published.
    pub fn snapshot(&self, options: &SnapshotOptions) -> Result<SnapshotReport> {
        let workspace = self.lake.workspace()?;
        snapshot(
            &workspace,
            self.name.as_str(),
            options,
            &mut std::io::empty(),
        )
    }

    /// Publishes rows that the program holds as the copy of the table under a date, as
    /// [`snapshot`](Self::snapshot) does with those of a file.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot); a [`Usage`](crate::Kind::Usage) error if the options name a
    /// source; a [`Refused`](crate::Kind::Refused) error for a column of a type that no table has.
    pub fn snapshot_rows(
        &self,
        rows: GivenRows,
        options: &SnapshotOptions,
    ) -> Result<SnapshotReport> {
        snapshot_rows(&self.lake.workspace()?, self.name(), options, rows)
    }

    /// Brings the table's intervals up to date with its snapshots, as `asof compact` does. Only
    /// snapshots that are new or were replaced are read.
    ///
    /// # Errors
    /// A [`Refused`](crate::Kind::Refused) error for a duplicate key or for a gap that the policy
    /// does not allow; a failure to read or write. The intervals that were there stay.
    pub fn compact(&self, options: &CompactOptions) -> Result<CompactReport> {
        let workspace = self.lake.workspace()?;
        only(compact(&workspace, &[self.name.to_string()], options)?)
    }

    /// Checks every snapshot against its fingerprint, and that the intervals give back every
    /// snapshot, as `asof verify` does.
    ///
    /// # Errors
    /// A failure to read the lake. What does not hold is in the report:
    /// [`is_ok`](VerifyReport::is_ok).
    pub fn verify(&self) -> Result<VerifyReport> {
        verify(
            &self.lake.workspace()?,
            &VerifyOptions::of(&[self.name.to_string()]),
        )
    }

    /// The table as of a date: the latest copy whose label is not after it. If the snapshot is no
    /// longer there, its rows come from the intervals.
    ///
    /// No row is read before [`Rows::read`] is called.
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error for a table that is not known; a
    /// [`Refused`](crate::Kind::Refused) error for a date before the first snapshot.
    pub fn as_of(&self, date: NaiveDate) -> Result<Rows> {
        self.rows_on(&self.lake.workspace()?, date)
    }

    /// The table as of today, in the time zone of `asof.toml` or else in UTC.
    ///
    /// # Errors
    /// As [`as_of`](Self::as_of).
    pub fn latest(&self) -> Result<Rows> {
        let workspace = self.lake.workspace()?;
        let today = workspace.clock.today();
        self.rows_on(&workspace, today)
    }

    fn rows_on(&self, workspace: &Workspace<'_>, date: NaiveDate) -> Result<Rows> {
        let history = latest_states(workspace, self.name(), &[date])?;
        let observed = history.resolve_latest(date, |first| {
            format!("the first snapshot of {} is that of {first}", self.name)
        })?;
        Ok(Rows(history.latest(observed, None)?))
    }
}

/// The rows of a [`Table`] as of a date.
pub struct Rows(AsOfTable);

impl Rows {
    /// The label of the copy that the rows are from.
    pub fn snapshot_date(&self) -> NaiveDate {
        self.0.observed
    }

    /// The columns that the table had on that date.
    pub fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }

    /// Reads the rows in batches, in the order of the key for a managed table; of the columns only
    /// those that are named, or all if none is. Row groups are decoded on all processors, a few
    /// ahead of whoever takes the batches.
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error for a column that the table did not have; a failure to
    /// read, at once or with a batch.
    pub fn read(
        &self,
        columns: &[&str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        self.read_where(columns, None)
    }

    /// Reads the rows as [`read`](Self::read) does, but only those for which a condition over any
    /// columns holds, such as `status = 'ACTIVE' AND price > 2`. It needs the feature `sql`. Of
    /// Parquet, row groups and pages without such a row are not read.
    ///
    /// # Errors
    /// As [`read`](Self::read); a [`Usage`](crate::Kind::Usage) error for a condition that is
    /// wrong.
    pub fn read_where(
        &self,
        columns: &[&str],
        condition: Option<&str>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let schema = self.projected(columns)?;
        if condition.is_some() {
            return matching(&self.0, condition, &schema);
        }
        let fields = schema.fields().iter();
        let names: Vec<String> = fields.map(|field| field.name().clone()).collect();
        self.0.read_alone(&names)
    }

    /// Reads the rows as [`read`](Self::read) does, but returns text columns as
    /// [`Utf8View`](arrow::datatypes::DataType::Utf8View), with their schema. Text in lists and
    /// structs stays as it is.
    ///
    /// Text from a snapshot in the lake is not copied, and a batch is a whole row group, unless its
    /// rows are wide. Rows from intervals or from an external table come in the batches of
    /// [`read`](Self::read), and are converted.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_views(
        &self,
        columns: &[&str],
    ) -> Result<(
        SchemaRef,
        impl Iterator<Item = Result<RecordBatch>> + Send + use<>,
    )> {
        let schema = self.projected(columns)?;
        let fields = schema.fields().iter();
        let names: Vec<String> = fields.map(|field| field.name().clone()).collect();
        let batches = match self.0.plain_parquet()? {
            Some(object) => object.with_views()?.read_on_all_processors(Some(&names))?,
            None => self.0.read_alone(&names)?,
        };
        let viewed = with_views(&schema);
        let schema = viewed.clone();
        Ok((schema, batches.map(move |batch| as_views(&batch?, &viewed))))
    }

    /// The schema of the named columns, in the order of their names, or of all.
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error for a column that the table did not have.
    pub fn projected(&self, columns: &[&str]) -> Result<SchemaRef> {
        let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let what = format!("the table as of {}", self.0.observed);
        selected_columns(&names, &self.0.schema, &what)
    }

    /// Checks a condition without reading a row.
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error that says what is wrong with it.
    pub fn check_condition(&self, condition: &str) -> Result<()> {
        Condition::parse(condition, &self.0.schema).map(|_| ())
    }

    /// The columns whose values may be those of an earlier date: only the intervals still know this
    /// date, and they do not compare these columns. Empty, unless `ignore` or `track` is set.
    pub fn not_compared(&self) -> Vec<String> {
        self.0.not_compared()
    }
}
