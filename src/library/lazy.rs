//! Tables as lazy frames of polars, whose filters and columns reach the Parquet reader.

use std::any::Any;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use polars_core::prelude::{
    DataFrame, PlSmallStr, PolarsError, PolarsResult, SchemaRef as PolarsSchema,
};
use polars_lazy::frame::{IntoLazy, LazyFrame, ScanArgsAnonymous};
use polars_lazy::prelude::{AnonymousScan, AnonymousScanArgs};

use super::{JoinAsOf, Rows, Table, TableIntervals};
use crate::error::{Context, Error, Result};
use crate::frames::{condition_of, to_frame};

impl Rows {
    /// Returns the rows as a lazy frame of polars. Rows are read when it is collected, and each
    /// `collect` reads them again. Only the columns that the query needs are read.
    ///
    /// It needs the feature `lazy`. With the feature `sql`, filters that compare integers, text,
    /// dates or Booleans with constants, or test for nulls, are pushed down to the Parquet reader.
    /// polars applies all other filters.
    ///
    /// ```
    /// use asof::{Lake, SnapshotOptions};
    /// use polars_core::prelude::*;
    /// use polars_lazy::dsl::{col, lit};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path().to_str().ok_or("a path")?;
    /// let day = chrono::NaiveDate::from_ymd_opt(2024, 9, 13).unwrap_or_default();
    /// let item = df!("id" => [1i64, 2, 3], "price" => [4.5, 1.0, 3.0])?;
    /// let lake = Lake::open(format!("{folder}/lake"))?;
    /// let options = SnapshotOptions::new().date(day).key(["id"]).backdate(true);
    /// lake.table("item")?.snapshot_frame(&item, &options)?;
    ///
    /// let dear = lake.table("item")?.as_of(day)?.lazy()?;
    /// let dear = dear.filter(col("id").gt(lit(1))).select([col("price").sum()]);
    /// assert_eq!(dear.collect()?.column("price")?.f64()?.get(0), Some(4.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A [`Refused`](crate::Kind::Refused) error for a column that polars has no type for, as
    /// [`frame`](Self::frame). If a read fails, `collect` returns a `PolarsError` with asof's message.
    pub fn lazy(self) -> Result<LazyFrame> {
        lazy(self)
    }
}

impl TableIntervals {
    /// The intervals as a lazy frame of polars, like [`Rows::lazy`].
    ///
    /// # Errors
    /// As [`Rows::lazy`].
    pub fn lazy(self) -> Result<LazyFrame> {
        lazy(self)
    }
}

impl Table<'_> {
    /// Joins each event to the table as of the event's date, like
    /// [`join_frame_as_of`](Self::join_frame_as_of). This is not lazy: it collects the events and
    /// joins them at once, because their dates decide which copies are read. The result is a lazy
    /// frame of rows in memory.
    ///
    /// # Errors
    /// As [`join_as_of`](Self::join_as_of); a [`Usage`](crate::Kind::Usage) error for events that
    /// cannot be collected.
    pub fn join_lazy_as_of(&self, events: LazyFrame, join: &JoinAsOf) -> Result<LazyFrame> {
        let events = events
            .collect()
            .map_err(|error| Error::usage(format!("the events cannot be collected: {error}")))?;
        Ok(self.join_frame_as_of(&events, join)?.lazy())
    }
}

type AnyBatches = Box<dyn Iterator<Item = Result<RecordBatch>>>;

/// What a lazy frame reads.
trait ScannedRows: Send + Sync + 'static {
    /// What messages call the rows.
    fn name(&self) -> String;

    /// Reads the named columns, or all, of the rows for which a condition holds.
    fn open(&self, columns: &[&str], condition: Option<&str>) -> Result<(SchemaRef, AnyBatches)>;

    /// No rows, with all columns.
    fn empty(&self) -> Result<DataFrame>;
}

impl ScannedRows for Rows {
    fn name(&self) -> String {
        format!("the table as of {}", self.snapshot_date())
    }

    fn open(&self, columns: &[&str], condition: Option<&str>) -> Result<(SchemaRef, AnyBatches)> {
        if condition.is_none() {
            let (schema, rows) = self.read_views(columns)?;
            return Ok((schema, Box::new(rows)));
        }
        let rows = self.read_where(columns, condition)?;
        Ok((self.projected(columns)?, Box::new(rows)))
    }

    fn empty(&self) -> Result<DataFrame> {
        to_frame(&self.schema(), [], &self.name())
    }
}

impl ScannedRows for TableIntervals {
    fn name(&self) -> String {
        "the intervals".to_owned()
    }

    fn open(&self, columns: &[&str], condition: Option<&str>) -> Result<(SchemaRef, AnyBatches)> {
        let rows = self.read(columns, condition)?;
        Ok((self.projected(columns)?, Box::new(rows)))
    }

    fn empty(&self) -> Result<DataFrame> {
        to_frame(&self.schema(), [], &self.name())
    }
}

fn lazy(rows: impl ScannedRows) -> Result<LazyFrame> {
    let schema = rows.empty()?.schema().clone();
    let scan = TableScan {
        rows,
        schema: schema.clone(),
    };
    let args = ScanArgsAnonymous {
        schema: Some(schema),
        name: "ASOF SCAN",
        ..ScanArgsAnonymous::default()
    };
    LazyFrame::anonymous_scan(Arc::new(scan), args)
        .internal_context(|| "cannot make a lazy frame".into())
}

/// The scan of a lazy frame.
struct TableScan<R> {
    rows: R,
    schema: PolarsSchema,
}

impl<R: ScannedRows> AnonymousScan for TableScan<R> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn scan(&self, asked: AnonymousScanArgs) -> PolarsResult<DataFrame> {
        let AnonymousScanArgs {
            n_rows,
            with_columns,
            predicate,
            ..
        } = asked;
        let mut columns: Vec<PlSmallStr> = match &with_columns {
            Some(names) => names.to_vec(),
            None => self.schema.iter_names_cloned().collect(),
        };
        if let Some(predicate) = &predicate {
            for name in polars_plan::utils::expr_to_leaf_column_names(predicate) {
                if !columns.contains(&name) {
                    columns.push(name);
                }
            }
        }
        // A count of rows needs one column.
        if columns.is_empty() {
            columns.extend(self.schema.iter_names_cloned().take(1));
        }
        // `n_rows` counts rows before the filter, so no condition is pushed down with it.
        let pushed = predicate
            .as_ref()
            .filter(|_| cfg!(feature = "sql") && n_rows.is_none());
        let condition = pushed.and_then(|predicate| condition_of(predicate, &self.schema));
        let names: Vec<&str> = columns.iter().map(PlSmallStr::as_str).collect();
        let mut frame = self
            .read(&names, condition.as_deref(), n_rows)
            .map_err(|error| PolarsError::ComputeError(in_one_text(&error).into()))?;
        if let Some(predicate) = predicate {
            // The condition may keep more rows than the filter, so polars applies all of it.
            frame = frame.lazy().filter(predicate).collect()?;
        }
        match with_columns {
            Some(names) => frame.select(names.iter().cloned()),
            None => Ok(frame),
        }
    }

    fn allows_predicate_pushdown(&self) -> bool {
        true
    }

    fn allows_projection_pushdown(&self) -> bool {
        true
    }
}

impl<R: ScannedRows> TableScan<R> {
    fn read(
        &self,
        columns: &[&str],
        condition: Option<&str>,
        first: Option<usize>,
    ) -> Result<DataFrame> {
        let (schema, batches) = self.rows.open(columns, condition)?;
        let mut left = first.unwrap_or(usize::MAX);
        let wanted = batches.map_while(|batch| {
            let batch = match batch {
                Ok(batch) if left > 0 => batch,
                Ok(_) => return None,
                Err(error) => return Some(Err(error)),
            };
            let rows = batch.num_rows().min(left);
            left -= rows;
            Some(Ok(batch.slice(0, rows)))
        });
        to_frame(&schema, wanted, &self.rows.name())
    }
}

fn in_one_text(error: &Error) -> String {
    let hints = error.hints().iter().map(|hint| format!("; hint: {hint}"));
    error.to_string() + &hints.collect::<String>()
}

#[cfg(all(test, feature = "sql"))]
mod tests {
    use chrono::NaiveDate;
    use polars_core::prelude::*;
    use polars_lazy::dsl::{Expr, col, lit};

    use super::*;
    use crate::commands::compact::CompactOptions;
    use crate::commands::snapshot::SnapshotOptions;
    use crate::library::{JoinAsOf, Lake};

    fn item() -> DataFrame {
        let mut frame = df!(
            "id" => [1i64, 2, 3, 4],
            "name" => [Some("pen"), None, Some("it's"), Some("cap")],
            "price" => [1.5, f64::NAN, 2.5, 0.5],
            "is_new" => [Some(true), Some(false), None, Some(true)],
            "day" => [19_000, 19_001, 19_002, 19_003],
        )
        .expect("a frame");
        let days = frame
            .column("day")
            .and_then(|days| days.cast(&DataType::Date));
        frame.with_column(days.expect("dates")).expect("a column");
        frame
    }

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 9, day).expect("a date")
    }

    fn with_item(check: impl FnOnce(&Table<'_>)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lake");
        let lake = Lake::open(path.to_str().expect("a path")).expect("a lake");
        let table = lake.table("item").expect("a table");
        let options = SnapshotOptions::new()
            .date(day(13))
            .key(["id"])
            .backdate(true);
        table.snapshot_frame(&item(), &options).expect("a snapshot");
        check(&table);
    }

    #[test]
    fn a_lazy_frame_gives_what_polars_gives_of_the_same_rows() {
        let epoch_day = |days: i32| lit(days).cast(DataType::Date);
        let filters: Vec<(Expr, Option<&str>)> = vec![
            (col("id").eq(lit(2)), Some("(\"id\" = 2)")),
            (lit(2).lt(col("id")), Some("(\"id\" > 2)")),
            (
                col("id").gt(lit(1)).and(col("price").gt(lit(1.0))),
                Some("(\"id\" > 1)"),
            ),
            (
                col("name").eq(lit("it's")).or(col("name").is_null()),
                Some("((\"name\" = 'it''s') OR (\"name\" IS NULL))"),
            ),
            (
                col("name").neq(lit("pen")).not(),
                Some("(NOT (\"name\" <> 'pen'))"),
            ),
            (col("is_new"), Some("(\"is_new\")")),
            (
                col("is_new").not().and(col("name").is_not_null().not()),
                Some("(NOT (\"is_new\")) AND (NOT (\"name\" IS NOT NULL))"),
            ),
            (col("day").gt_eq(epoch_day(19_002)), None),
            (col("price").gt(lit(1.0)), None),
            (col("id").eq(lit(1)).or(col("price").gt(lit(2.0))), None),
            ((col("id") % lit(2)).eq(lit(0)), None),
        ];
        with_item(|table| {
            let schema = item().schema().clone();
            for (filter, pushed) in filters {
                assert_eq!(
                    condition_of(&filter, &schema).as_deref(),
                    pushed,
                    "{filter}"
                );
                let lazy = table
                    .as_of(day(13))
                    .and_then(Rows::lazy)
                    .expect("a lazy frame");
                for query in [lazy, item().lazy()]
                    .map(|frame| {
                        let named = frame
                            .clone()
                            .filter(filter.clone())
                            .select([col("name"), col("price")]);
                        (frame.filter(filter.clone()).collect(), named.collect())
                    })
                    .windows(2)
                {
                    let ((all, named), (expected, of_names)) = (&query[0], &query[1]);
                    let frame = |collected: &PolarsResult<DataFrame>| {
                        collected.as_ref().expect("rows").clone()
                    };
                    assert!(frame(all).equals_missing(&frame(expected)), "{filter}");
                    assert!(frame(named).equals_missing(&frame(of_names)), "{filter}");
                }
            }
        });
    }

    #[test]
    fn first_rows_aggregates_and_projections_are_those_of_the_table() {
        with_item(|table| {
            let lazy = || {
                table
                    .as_of(day(13))
                    .and_then(Rows::lazy)
                    .expect("a lazy frame")
            };
            let first = lazy()
                .limit(2)
                .filter(col("id").gt(lit(1)))
                .collect()
                .expect("rows");
            assert_eq!(first.height(), 1);
            let above = col("id").gt(col("id").mean()).and(col("id").lt(lit(4)));
            let rows = lazy().filter(above).collect().expect("rows");
            assert_eq!(
                rows.column("id")
                    .expect("ids")
                    .i64()
                    .expect("integers")
                    .get(0),
                Some(3)
            );
            let sum = lazy().select([col("id").sum()]).collect().expect("a sum");
            assert_eq!(
                sum.column("id")
                    .expect("it")
                    .i64()
                    .expect("an integer")
                    .get(0),
                Some(10)
            );
            let count = lazy()
                .select([polars_lazy::dsl::len()])
                .collect()
                .expect("a count");
            assert_eq!(
                count.columns()[0].get(0).expect("it").extract::<i64>(),
                Some(4)
            );
        });
    }

    #[test]
    fn intervals_and_joins_are_lazy_frames_too() {
        with_item(|table| {
            table.compact(&CompactOptions::new()).expect("intervals");
            let intervals = table
                .intervals()
                .and_then(TableIntervals::lazy)
                .expect("a lazy frame");
            let one = intervals
                .filter(col("id").eq(lit(3)))
                .collect()
                .expect("rows");
            assert_eq!((one.height(), one.width()), (1, 7));
            let events =
                df!("item" => [3i64, 9], "day" => ["2024-09-13", "2024-09-13"]).expect("events");
            let join = JoinAsOf::new("day").on([("item", "id")]).select(["name"]);
            let joined = table
                .join_lazy_as_of(events.lazy(), &join)
                .and_then(|frame| {
                    frame
                        .collect()
                        .internal_context(|| "it is in memory".into())
                });
            let joined = joined.expect("a join");
            let names: Vec<_> = joined
                .column("name")
                .expect("names")
                .str()
                .expect("text")
                .iter()
                .collect();
            assert_eq!(names, [Some("it's"), None]);
        });
    }

    #[test]
    fn a_failure_to_read_is_one_of_polars_with_the_same_words() {
        with_item(|table| {
            let lazy = table
                .as_of(day(13))
                .and_then(Rows::lazy)
                .expect("a lazy frame");
            std::fs::remove_dir_all(
                table
                    .lake
                    .workspace()
                    .expect("it")
                    .lake()
                    .expect("it")
                    .root()
                    .as_local()
                    .expect("a path"),
            )
            .expect("removed");
            let error = lazy.collect().expect_err("it is gone");
            assert!(error.to_string().contains("item.parquet"), "{error}");
        });
    }
}
