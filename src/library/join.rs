//! [`JoinAsOf`]: events in memory, each joined to a table as of its own date.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::Table;
use crate::commands::join::{GivenEvents, GivenJoin, GivenJoinOptions};
use crate::domain::join::JoinKind;
use crate::engine::as_of::RowSource;
use crate::engine::join::JoinSpec;
use crate::error::Result;
use crate::model::DaySpan;

/// How events are joined to a table as of the date of each.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
/// use asof::{JoinAsOf, Lake, SnapshotOptions};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().to_str().ok_or("a path")?;
/// # let lake = Lake::open(format!("{folder}/lake"))?;
/// let item = lake.table("item")?;
/// for (day, status) in [("2024-09-13", "ACTIVE"), ("2024-09-14", "DISABLED")] {
///     std::fs::write(format!("{folder}/item.csv"), format!("id,status\n1,{status}\n"))?;
///     let options = SnapshotOptions::new().date(day.parse()?).key(["id"]).backdate(true);
///     item.snapshot(&options.source(format!("{folder}/item.csv")))?;
/// }
/// let events = RecordBatch::try_from_iter([
///     ("item_id", Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef),
///     ("day", Arc::new(StringArray::from(vec!["2024-09-14", "2024-09-13"])) as ArrayRef),
/// ])?;
/// let join = JoinAsOf::new("day").on([("item_id", "id")]);
/// let joined = item.join_as_of(events.schema(), vec![events], &join)?;
/// for batch in joined.read()? {
///     let batch = batch?;
///     let status: Vec<_> = batch["status"].as_string::<i32>().iter().collect();
///     assert_eq!(status, [Some("DISABLED"), Some("ACTIVE")]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct JoinAsOf(GivenJoinOptions);

impl JoinAsOf {
    /// A join of events whose dates are in this column: dates, timestamps, or text. It keeps every
    /// event once, with nulls where the table has no row: [`JoinKind::Left`].
    pub fn new(date_column: impl Into<String>) -> Self {
        JoinAsOf(GivenJoinOptions {
            spec: JoinSpec {
                on: Vec::new(),
                how: JoinKind::Left,
                condition: None,
                select: Vec::new(),
            },
            date: date_column.into(),
            date_format: None,
            timezone: None,
            lag: None,
            tolerance: None,
            using: RowSource::default(),
        })
    }

    /// Sets the columns that are joined on, as pairs of the events' column and the table's. They
    /// must be the table's key.
    pub fn on<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs.into_iter();
        self.0.spec.on = pairs
            .map(|(event, table)| (event.to_owned(), table.to_owned()))
            .collect();
        self
    }

    /// Sets what the join keeps.
    pub fn how(mut self, how: JoinKind) -> Self {
        self.0.spec.how = how;
        self
    }

    /// Sets a condition on the table's columns: rows that do not meet it count as absent. It needs
    /// the feature `sql`.
    pub fn condition(mut self, condition: impl Into<String>) -> Self {
        self.0.spec.condition = Some(condition.into());
        self
    }

    /// Sets which of the table's columns are added; by default all but the key.
    pub fn select<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.0.spec.select = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the format of dates that are text, such as `%d/%m/%Y`; by default `YYYY-MM-DD`.
    pub fn date_format(mut self, format: impl Into<String>) -> Self {
        self.0.date_format = Some(format.into());
        self
    }

    /// Sets the time zone in which the day of an instant lies; by default that of `asof.toml`, or
    /// else UTC.
    pub fn timezone(mut self, zone: impl Into<String>) -> Self {
        self.0.timezone = Some(zone.into());
        self
    }

    /// Sets how many days before an event's date the label of its copy lies.
    pub fn lag(mut self, days: u32) -> Self {
        self.0.lag = Some(DaySpan(days));
        self
    }

    /// Sets how many days older than its label a copy may be.
    pub fn tolerance(mut self, days: u32) -> Self {
        self.0.tolerance = Some(DaySpan(days));
        self
    }
}

impl Table<'_> {
    /// Joins events, each to the table as of its own date. The versions of the table's rows that
    /// hold on one of the dates are read once, from intervals or copies, when this is called. The
    /// events are joined when the result is read; they are held, and not copied.
    ///
    /// # Errors
    /// A usage error for a table, column, condition or type that is wrong; a
    /// [`Refused`](crate::Kind::Refused) error for events without a date, for a date that has no
    /// copy within the tolerance, and if the versions take more than half of the memory.
    pub fn join_as_of(
        &self,
        schema: SchemaRef,
        events: Vec<RecordBatch>,
        join: &JoinAsOf,
    ) -> Result<JoinedRows> {
        let events = GivenEvents {
            schema,
            batches: events,
        };
        let workspace = self.lake.workspace()?;
        GivenJoin::new(&workspace, self.name(), events, &join.0).map(JoinedRows)
    }
}

/// Events that were joined to a table, in their order. They can be read more than once.
pub struct JoinedRows(GivenJoin);

impl JoinedRows {
    /// The columns: those of the events, as they are, and then the table's. A name that clashes
    /// has the suffix `_<table>`. The columns that are joined on are in asof's own types.
    pub fn schema(&self) -> &SchemaRef {
        self.0.schema()
    }

    /// Joins the events on all processors, and returns them in batches.
    ///
    /// # Errors
    /// A failure to start a thread; a failure with a batch.
    pub fn read(&self) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        self.0.read()
    }
}
