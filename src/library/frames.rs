//! Tables as polars data frames: [`Rows::frame`] and [`Table::snapshot_frame`].

use polars_core::prelude::DataFrame;

use super::{JoinAsOf, KeyHistory, Rows, Table, TableDiff, TableIntervals};
use crate::commands::snapshot::{SnapshotOptions, SnapshotReport};
use crate::error::{Error, Result};
use crate::frames::{to_batches, to_frame};
use crate::source::GivenRows;

impl Rows {
    /// Reads the rows into a data frame of polars, in the order of the key for a managed table; of
    /// the columns only those that are named, or all if none is. The frame holds the rows in
    /// memory, as many chunks as they were read in. It needs the feature `frames`.
    ///
    /// ```
    /// use asof::{Lake, SnapshotOptions};
    /// use polars_core::prelude::*;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path().to_str().ok_or("a path")?;
    /// let day = chrono::NaiveDate::from_ymd_opt(2024, 9, 13).unwrap_or_default();
    /// let item = df!("id" => [1i64, 2, 3], "price" => [Some(4.5), None, Some(3.0)])?;
    ///
    /// let lake = Lake::open(format!("{folder}/lake"))?;
    /// let options = SnapshotOptions::new().date(day).key(["id"]).backdate(true);
    /// lake.table("item")?.snapshot_frame(&item, &options)?;
    ///
    /// let rows = lake.table("item")?.as_of(day)?;
    /// assert!(rows.frame(&[])?.equals_missing(&item));
    /// assert_eq!(rows.frame(&["price"])?.column("price")?.f64()?.max(), Some(4.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read); a [`Refused`](crate::Kind::Refused) error for a column that polars
    /// has no type for: `time(ms)`, `duration(s)`, maps, and decimals with a negative scale. Name
    /// the other columns to read them.
    pub fn frame(&self, columns: &[&str]) -> Result<DataFrame> {
        let (schema, batches) = self.read_views(columns)?;
        let what = format!("the table as of {}", self.snapshot_date());
        to_frame(&schema, batches, &what)
    }
}

impl Table<'_> {
    /// Publishes the rows of a polars data frame as the copy of the table under a date, as
    /// [`snapshot`](Self::snapshot) does with those of a file. Categories become text. It needs the
    /// feature `frames`; there is an example at [`Rows::frame`].
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot); a [`Usage`](crate::Kind::Usage) error if the options name a
    /// source; a [`Refused`](crate::Kind::Refused) error for a column of a type that no table has,
    /// such as 128-bit integers.
    pub fn snapshot_frame(
        &self,
        frame: &DataFrame,
        options: &SnapshotOptions,
    ) -> Result<SnapshotReport> {
        let within = |error: Error| error.within(format!("table {}", self.name()));
        let (schema, batches) = to_batches(frame).map_err(within)?;
        let rows = GivenRows::new(schema, batches.into_iter().map(Ok));
        self.snapshot_rows(rows, options)
    }
}

impl Table<'_> {
    /// Joins the events of a polars data frame, each to the table as of its own date. They keep
    /// their order and columns. It needs the feature `frames`.
    ///
    /// # Errors
    /// As [`join_as_of`](Self::join_as_of); a [`Refused`](crate::Kind::Refused) error for a column
    /// of the events of a type that Arrow does not have, such as 128-bit integers.
    pub fn join_frame_as_of(&self, events: &DataFrame, join: &JoinAsOf) -> Result<DataFrame> {
        let (schema, batches) = to_batches(events)?;
        let joined = self.join_as_of(schema, batches, join)?;
        to_frame(joined.schema(), joined.read()?, "the join")
    }
}

impl TableIntervals {
    /// Reads the intervals into a data frame of polars: the named columns, or all if none is. It
    /// needs the feature `frames`.
    ///
    /// # Errors
    /// As [`read`](Self::read), and as [`Rows::frame`] for columns that polars has no type for.
    pub fn frame(&self, columns: &[&str]) -> Result<DataFrame> {
        let schema = self.projected(columns)?;
        to_frame(&schema, self.read(columns, None)?, "the intervals")
    }
}

impl KeyHistory {
    /// The rows as a data frame of polars. It needs the feature `frames`.
    ///
    /// # Errors
    /// As [`Rows::frame`] for columns that polars has no type for.
    pub fn frame(&self) -> Result<DataFrame> {
        to_frame(
            self.schema(),
            self.batches().iter().cloned().map(Ok),
            "the history",
        )
    }
}

impl TableDiff {
    /// The rows as a data frame of polars. It needs the feature `frames`.
    ///
    /// # Errors
    /// As [`Rows::frame`] for columns that polars has no type for.
    pub fn frame(&self) -> Result<DataFrame> {
        to_frame(
            self.schema(),
            self.batches().iter().cloned().map(Ok),
            "the differences",
        )
    }
}
