//! `asof show`: the table as of a date.
//!
//! What is read: the one snapshot that serves the date, once; or, if only the intervals still know
//! it, the intervals, once. Only the selected columns are decoded; with a condition, of Parquet,
//! its own columns of the row groups that may hold a row of it, and of the selected columns the
//! pages in which there is one. Rows come in the order of the key, those of an external snapshot in
//! the order of its files.
//!
//! Memory: a batch, the first `limit` rows as text, and of a Parquet file its row group.

use std::sync::Arc;

use super::Workspace;
use super::cells::cell;
use super::lookup::{is_table, outputs_of_job, refused_state, states};
use super::out_file::{OutFile, OutTarget};
use super::shown_columns::{ShownColumn, selected_columns, shown_columns};
use crate::domain::cast::conform;
use crate::engine::as_of::{AsOfTable, Origin, TableHistory};
use crate::engine::expression::Condition;
use crate::error::{Context, Error, Result};
use crate::model::TableName;
use crate::storage::Batches;
use crate::storage::parquet::object::RowCondition;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use chrono::{DateTime, NaiveDate, Utc};

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct ShowOptions {
    /// A table, a job, or a file of intervals.
    pub table: String,
    /// Whether the copy of the date that a check refused is shown.
    pub refused: bool,
    /// The date; if `None`, the latest.
    pub date: Option<NaiveDate>,
    /// The time at which the copies stood that are shown; those of now if `None`.
    pub known_at: Option<DateTime<Utc>>,
    /// Which rows; all if none.
    pub condition: Option<String>,
    /// Which columns, in which order; all if empty.
    pub select: Vec<String>,
    /// The file to write all rows to.
    pub out: Option<String>,
    /// How many rows the report holds.
    pub limit: usize,
}

/// The table as of a date.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ShowReport {
    /// The table.
    pub table: TableName,
    /// The date that was asked for.
    pub date: NaiveDate,
    /// The date whose state holds on it.
    pub snapshot_date: NaiveDate,
    /// What served that state.
    pub source: Origin,
    /// The time at which the copy stood, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_at: Option<DateTime<Utc>>,
    /// How many rows there are.
    pub total: u64,
    /// The columns.
    pub schema: Vec<ShownColumn>,
    /// The first rows as text; null is none.
    pub rows: Vec<Vec<Option<String>>>,
    /// The file that all rows were written to.
    pub out: Option<String>,
}

/// Reads the table as of a date, and writes it to a file if one is named.
///
/// # Errors
/// A usage error for a table, column, condition or file ending that there is not; a refusal for a
/// date before the first snapshot.
pub fn show(workspace: &Workspace<'_>, options: &ShowOptions) -> Result<ShowReport> {
    let target = options
        .out
        .as_deref()
        .map(|out| OutTarget::parse(workspace, out))
        .transpose()?;
    let asked = options.date.unwrap_or_else(|| workspace.clock.today());
    let is_job = is_job(workspace, &options.table)?;
    let history = history_of(workspace, options, asked, is_job)?;
    if let Some(target) = &target {
        target.prepare(workspace, history.intervals(), &history.table.root)?;
    }
    let date = history.resolve_latest(asked, |first| {
        format!("asof show {} --date {first}", options.table)
    })?;
    if is_job && options.date.is_some_and(|asked| asked != date) {
        return Err(no_output(&options.table, asked, date));
    }
    let as_of = history.latest(date, None)?;
    let noun = if is_job { "job" } else { "table" };
    let what = format!("{noun} {} as of {date}", history.table.name);
    let schema = selected_columns(&options.select, &as_of.schema, &what)?;
    note_first_days(workspace, &as_of, &schema);
    let mut out = target
        .as_ref()
        .map(|target| OutFile::create(target, &schema))
        .transpose()?;
    let mut total = 0;
    let mut rows = Vec::new();
    for batch in matching(&as_of, options.condition.as_deref(), &schema)? {
        let batch = batch.map_err(|error| error.within(&what))?;
        total += batch.num_rows() as u64;
        let first = batch.num_rows().min(options.limit - rows.len());
        let columns = batch.columns().iter();
        rows.extend(
            (0..first).map(|row| columns.clone().map(|column| cell(column, row)).collect()),
        );
        if let Some(out) = &mut out {
            out.write(batch)?;
        }
    }
    out.map(OutFile::publish).transpose()?;
    Ok(ShowReport {
        table: history.table.name.clone(),
        date: if is_job { date } else { asked },
        snapshot_date: date,
        source: as_of.origin(),
        known_at: options.known_at,
        total,
        schema: shown_columns(&schema),
        rows,
        out: target.map(|target| target.shown(workspace)),
    })
}

/// What has the rows of a date: copies of a table, the copy that a check refused, or outputs of a
/// job.
fn history_of(
    workspace: &Workspace<'_>,
    options: &ShowOptions,
    asked: NaiveDate,
    is_job: bool,
) -> Result<TableHistory> {
    if options.refused {
        refused_state(workspace, &options.table, asked, &[])
    } else if is_job && options.known_at.is_none() {
        outputs_of_job(workspace, &options.table, &[asked])
    } else {
        states(workspace, &options.table, &[asked], options.known_at)
    }
}

/// The refusal of a date that a job has no output of.
fn no_output(job: &str, asked: NaiveDate, latest: NaiveDate) -> Error {
    let what = format!("job {job} has no output of {asked}; the latest before it is {latest}");
    Error::refused(what)
        .hint(format!("asof backfill {job} --from {asked} --to {asked}"))
        .hint(format!("asof show {job} --date {latest}"))
}

/// Whether a name is that of a job, and not of a table.
fn is_job(workspace: &Workspace<'_>, name: &str) -> Result<bool> {
    Ok(workspace.config.jobs.contains_key(name) && !is_table(workspace, name)?)
}

/// Says so if a column that is shown may have changed without ending an interval.
fn note_first_days(workspace: &Workspace<'_>, as_of: &AsOfTable, schema: &Schema) {
    let shown: Vec<String> = as_of
        .not_compared()
        .into_iter()
        .filter(|name| schema.field_with_name(name).is_ok())
        .collect();
    if !shown.is_empty() {
        workspace.progress.note(&format!(
            "only the intervals know {}; the values of {}, which they do not compare, are those \
             of each interval's first day",
            as_of.observed,
            shown.join(", ")
        ));
    }
}

/// The rows that the condition holds for, in the columns of `schema`.
///
/// # Errors
/// A usage error for a condition that is wrong; a failure or refusal of reading.
pub(crate) fn matching(
    as_of: &AsOfTable,
    condition: Option<&str>,
    schema: &SchemaRef,
) -> Result<Batches> {
    let schema = schema.clone();
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let Some(text) = condition else {
        return as_of.read(&names);
    };
    let condition = Arc::new(Condition::parse(text, &as_of.schema)?);
    if !condition.columns().is_empty() {
        return Ok(Box::new(
            as_of
                .read_where(&names, condition)?
                .map(move |batch| conform(&batch?, &schema)),
        ));
    }
    Ok(Box::new(as_of.read_in_schema_order(None)?.map(
        move |batch| {
            let batch = batch?;
            let holds = condition.mask(&batch)?;
            conform(
                &filter_record_batch(&batch, &holds).io_context(|| "cannot select rows".into())?,
                &schema,
            )
        },
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::{TestLake, date};
    use crate::error::Kind;
    use crate::storage::lake::location::Location;
    use crate::storage::parquet::object::ParquetObject;

    /// Three days of a table, of which the second adds a column and widens another.
    fn lake() -> TestLake {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", "id,price\n2,20\n1,10\n");
        lake.snapshot(
            "item",
            "2024-01-03",
            "id",
            "id,price,tag\n1,10.5,a\n3,30,\n",
        );
        lake.snapshot("item", "2024-01-05", "id", "id,price,tag\n1,11.5,a\n");
        lake
    }

    fn options(day: &str) -> ShowOptions {
        ShowOptions {
            table: "item".into(),
            date: Some(date(day)),
            limit: 10,
            ..ShowOptions::default()
        }
    }

    fn lines(report: &ShowReport) -> Vec<String> {
        let line = |row: &Vec<Option<String>>| {
            row.iter()
                .map(|cell| cell.as_deref().unwrap_or("-"))
                .collect::<Vec<_>>()
                .join("|")
        };
        report.rows.iter().map(line).collect()
    }

    #[test]
    fn the_latest_snapshot_not_after_the_date_is_shown() {
        let lake = lake();
        let report = show(&lake.workspace(), &options("2024-01-04")).expect("shown");
        assert_eq!(
            (report.snapshot_date, report.source, report.total),
            (date("2024-01-03"), Origin::Snapshot, 2)
        );
        assert_eq!(lines(&report), ["1|10.5|a", "3|30.0|-"]);
        let types: Vec<&str> = report
            .schema
            .iter()
            .map(|column| column.data_type.as_str())
            .collect();
        assert_eq!(types, ["int64", "float64", "text"]);
    }

    #[test]
    fn a_date_before_the_first_snapshot_is_refused() {
        let error = show(&lake().workspace(), &options("2023-12-31")).expect_err("before");
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(
            error.to_string(),
            "table item: 2023-12-31 is before the first snapshot (2024-01-01)"
        );
        assert_eq!(error.hints(), ["asof show item --date 2024-01-01"]);
    }

    #[test]
    fn intervals_show_what_the_pruned_snapshot_showed() {
        let lake = lake();
        lake.compact("item");
        for day in ["2024-01-01", "2024-01-03"] {
            for select in [vec![], vec!["price".to_owned(), "id".to_owned()]] {
                let options = ShowOptions {
                    select,
                    ..options(day)
                };
                let before = show(&lake.workspace(), &options).expect("shown");
                lake.forget("item", day);
                let after = show(&lake.workspace(), &options).expect("shown");
                assert_eq!(after.source, Origin::Intervals);
                assert_eq!(
                    (before.rows, before.schema, before.total),
                    (after.rows, after.schema, after.total),
                    "{day}"
                );
                lake.recall("item", day);
            }
        }
    }

    #[test]
    fn a_table_of_which_only_the_intervals_are_left_is_shown() {
        let lake = lake();
        lake.compact("item");
        ["2024-01-01", "2024-01-03", "2024-01-05"]
            .iter()
            .for_each(|day| lake.forget("item", day));
        let report = show(&lake.workspace(), &options("2024-02-01")).expect("shown");
        assert_eq!(
            (report.snapshot_date, lines(&report)),
            (date("2024-01-05"), vec!["1|11.5|a".to_owned()])
        );
    }

    #[cfg(feature = "sql")]
    #[test]
    fn a_condition_may_use_a_column_that_is_not_selected() {
        let condition = Some("tag is null".to_owned());
        let options = ShowOptions {
            condition,
            select: vec!["price".into()],
            ..options("2024-01-03")
        };
        assert_eq!(
            lines(&show(&lake().workspace(), &options).expect("shown")),
            ["30.0"]
        );
    }

    #[test]
    fn a_column_that_is_not_there_is_refused_with_the_nearest() {
        let options = ShowOptions {
            select: vec!["pirce".into()],
            ..options("2024-01-03")
        };
        let error = show(&lake().workspace(), &options).expect_err("no column");
        assert_eq!(
            error.to_string(),
            "table item as of 2024-01-03 has no column 'pirce'"
        );
        assert_eq!(error.hints(), ["did you mean 'price'?"]);
    }

    #[test]
    fn the_report_holds_the_first_rows_and_the_file_all_of_them() {
        let lake = lake();
        let written = |name: &str| {
            let options = ShowOptions {
                out: Some(name.into()),
                limit: 1,
                ..options("2024-01-03")
            };
            let report = show(&lake.workspace(), &options).expect("shown");
            assert_eq!(
                (report.rows.len(), report.total, report.out.as_deref()),
                (1, 2, Some(name))
            );
            lake.path().join(name)
        };
        let text = |name: &str| std::fs::read_to_string(written(name)).expect("the file");
        assert_eq!(text("out/x.csv"), "id,price,tag\n1,10.5,a\n3,30.0,\n");
        let ndjson =
            "{\"id\":1,\"price\":10.5,\"tag\":\"a\"}\n{\"id\":3,\"price\":30.0,\"tag\":null}\n";
        assert_eq!(
            (text("x.ndjson").as_str(), text("x.jsonl").as_str()),
            (ndjson, ndjson)
        );
        let object = ParquetObject::open(&Location::local(written("x.parquet"))).expect("it opens");
        assert_eq!(
            (object.rows(), object.footer().expect("it reads")),
            (2, None)
        );
        assert_eq!(
            std::fs::read_dir(lake.path().join("out"))
                .expect("a folder")
                .count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_file_of_no_known_format_or_inside_the_table_is_refused() {
        let lake = lake();
        let refused = |out: &str| {
            let options = ShowOptions {
                out: Some(out.into()),
                ..options("2024-01-03")
            };
            let error = show(&lake.workspace(), &options).expect_err("refused");
            assert_eq!(error.kind(), Kind::Usage);
            error.to_string()
        };
        assert_eq!(
            refused("x.csv.gz"),
            "the name of 'x.csv.gz' does not have the ending of a format that asof writes"
        );
        assert!(
            refused("lake/item/snapshots/x.csv")
                .ends_with("is inside the lake, where tables are kept")
        );
    }

    #[cfg(feature = "sql")]
    #[test]
    fn a_failure_on_the_way_leaves_the_old_file() {
        let lake = lake();
        std::fs::write(lake.path().join("x.csv"), "old").expect("written");
        let options = ShowOptions {
            condition: Some("1 / (id - 3) > 0".into()),
            out: Some("x.csv".into()),
            ..options("2024-01-03")
        };
        assert!(
            show(&lake.workspace(), &options).is_err(),
            "a division by zero"
        );
        assert_eq!(
            std::fs::read_to_string(lake.path().join("x.csv")).expect("the file"),
            "old"
        );
    }

    #[test]
    fn external_snapshots_are_shown_where_they_are() {
        let lake = TestLake::new();
        let workspace = lake.external("item", "id", &[("2024-01-01", "id,tag\nb,1\na,2\n")]);
        let report = show(&workspace, &options("2024-01-02")).expect("shown");
        assert_eq!(
            (report.source, lines(&report)),
            (Origin::Snapshot, vec!["b|1".to_owned(), "a|2".to_owned()])
        );
    }

    #[cfg(feature = "sql")]
    #[test]
    fn a_condition_on_a_pruned_date_is_asked_of_that_dates_rows_alone() {
        let lake = TestLake::filled();
        lake.compact("item");
        lake.forget("item", "2024-01-01");
        let on_the_first = |condition: &str| {
            let options = ShowOptions {
                table: "item".into(),
                date: Some(date("2024-01-01")),
                condition: Some(condition.into()),
                limit: 9,
                ..ShowOptions::default()
            };
            show(&lake.workspace(), &options).expect("shown").total
        };
        assert_eq!(
            on_the_first("price = 10"),
            1,
            "a later price of 30.5 is not an int64"
        );
        assert_eq!(
            on_the_first("10 / (price - 21) is not null"),
            3,
            "a price of 21 is of the day after"
        );
    }
}
