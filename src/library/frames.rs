//! Tables as polars data frames: [`Rows::frame`] and [`Table::snapshot_frame`].

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use polars_core::prelude::DataFrame;

use super::{Rows, Table};
use crate::commands::snapshot::{SnapshotOptions, SnapshotReport, snapshot};
use crate::error::{Context, Error, Result};
use crate::frames::{packed, packed_schema, to_batches, to_frame};
use crate::source::Format;
use crate::storage::parquet::BATCH_ROWS;

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
        let batches = self.read(columns)?;
        let what = format!("the table as of {}", self.snapshot_date());
        let schema = self.projected(columns)?;
        to_frame(&schema, batches, &what)
    }

    /// The schema of the named columns, in the order of their names, or of all.
    fn projected(&self, columns: &[&str]) -> Result<SchemaRef> {
        let schema = self.schema();
        if columns.is_empty() {
            return Ok(schema);
        }
        let fields = columns
            .iter()
            .map(|name| schema.field_with_name(name).cloned());
        let fields = fields.collect::<Result<Vec<_>, _>>();
        Ok(Arc::new(Schema::new(
            fields.internal_context(|| "a column is missing".into())?,
        )))
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
        let mut options = options.clone();
        if let Some(place) = &options.source.place {
            return Err(Error::usage(format!(
                "table {}: the rows are those of a frame, and the source is '{place}'",
                self.name()
            ))
            .hint("leave out SnapshotOptions::source"));
        }
        let within = |error: Error| error.within(format!("table {}", self.name()));
        let (schema, batches) = to_batches(frame).map_err(within)?;
        let schema = packed_schema(&schema);
        let doing = || "cannot set the rows of a frame aside".to_owned();
        let mut file = tempfile::tempfile().temporary_context(doing)?;
        let mut writer = StreamWriter::try_new_buffered(&file, &schema).temporary_context(doing)?;
        for batch in &batches {
            for begin in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                let piece = batch.slice(begin, BATCH_ROWS.min(batch.num_rows() - begin));
                let piece = packed(&piece, &schema)?;
                writer.write(&piece).temporary_context(doing)?;
            }
        }
        writer.finish().temporary_context(doing)?;
        drop(writer);
        file.seek(SeekFrom::Start(0)).temporary_context(doing)?;

        options.source.place = Some("-".to_owned());
        options.source.format = Some(Format::Arrow);
        let workspace = self.lake.workspace()?;
        snapshot(&workspace, self.name(), &options, &mut file).map_err(|error| {
            error.reworded(|message| message.replace("standard input", "the frame"))
        })
    }
}
