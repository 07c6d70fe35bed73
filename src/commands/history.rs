//! `asof history`: every interval of one key.
//!
//! What is read: of the intervals the key columns of the row groups that may hold the key, by their
//! statistics, which are few since they lie in the order of the key; and of the other columns the
//! pages in which it is. The snapshots are listed and not read. Only for a key that is not there,
//! the key column is read once for keys like it.
//!
//! A file that is named gets these rows as the intervals have them.
//!
//! Memory: a batch, and the intervals of the key.

mod near_keys;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, Scalar, StringArray};
use arrow::compute::concat_batches;
use arrow::compute::kernels::cmp::{gt, lt};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::{Days, NaiveDate};

use self::near_keys::{key_columns, not_there};
use super::Workspace;
use super::cells::{Cells, ColumnChange, cell};
use super::lookup::{intervals_file, open_intervals};
use super::out_file::{OutFile, OutTarget};
use crate::domain::cast::{cast_exactly, display};
use crate::domain::interval::Interval;
use crate::domain::missing_column::missing_column;
use crate::domain::schema::columns_by_name;
use crate::domain::type_names::type_name;
use crate::engine::digests::key_digests;
use crate::engine::intervals::Intervals;
use crate::error::{Context, Error, Result, shorten};
use crate::model::{DateRange, TableName};
use crate::storage::parquet::object::{GroupStatistics, RowCondition};

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct HistoryOptions {
    /// The table.
    pub table: String,
    /// The key as text, a value a key column.
    pub key: Vec<String>,
    /// The file to write the key's rows of the intervals to.
    pub out: Option<String>,
}

/// A key column and its value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeyValue {
    /// The column.
    pub name: String,
    /// The value.
    pub value: String,
}

/// How an interval began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It is the key's first.
    FirstSeen,
    /// The row became another one.
    Changed,
    /// The key had been away.
    Returned,
    /// The same row, after dates without snapshots at which intervals are split.
    Reappeared,
}

/// One interval of the key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct HistoryInterval {
    /// Its first date.
    pub start: NaiveDate,
    /// Its last date; none while it is open.
    pub end: Option<NaiveDate>,
    /// How it began.
    pub event: Event,
    /// Of a changed row the columns that ended the interval before; of another one all that are not
    /// null.
    pub values: Vec<ColumnChange>,
}

/// Dates on which the key was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Absence {
    /// The first date.
    pub from: NaiveDate,
    /// The last date; none if it has not come back.
    pub to: Option<NaiveDate>,
}

/// All that is known of one key.
#[derive(Clone, Debug, serde::Serialize)]
pub struct HistoryReport {
    /// The table.
    pub table: TableName,
    /// The key.
    pub key: Vec<KeyValue>,
    /// The first date that the intervals know.
    pub first_observed: NaiveDate,
    /// The last one; an open interval promises nothing past it.
    pub last_observed: NaiveDate,
    /// How many snapshots are newer than that, so that `asof compact` would add them.
    pub newer_snapshots: u64,
    /// The intervals, in order.
    pub intervals: Vec<HistoryInterval>,
    /// When it was away since it was first seen.
    pub absent: Vec<Absence>,
    /// The file that the rows were written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// The condition that rows met; the others count as absent.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub selected_rows: Option<String>,
    /// The selected columns, if not all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
}

/// Reads every interval of one key.
///
/// # Errors
/// A usage error for a table that there is not, or a key of the wrong number of values or types; a
/// refusal if there are no intervals or the key is not in them.
pub fn history(workspace: &Workspace<'_>, options: &HistoryOptions) -> Result<HistoryReport> {
    let out = options.out.as_deref();
    let out = out
        .map(|out| OutTarget::parse(workspace, out))
        .transpose()?;
    let OpenIntervals {
        table: name,
        intervals,
        is_file,
    } = intervals_of(workspace, &options.table)?;
    if let Some(out) = &out {
        let root = match is_file {
            true => intervals.location().clone(),
            false => workspace.table(&name, &intervals.footer.key)?.root,
        };
        out.prepare(workspace, Some(&intervals), &root)?;
    }
    let key = parse_key(&name, &intervals, &options.key)?;
    let observed = intervals.observed();
    let ([first, ..], [.., last]) = (observed.as_slice(), observed.as_slice()) else {
        return Err(no_intervals(&name));
    };
    let (rows, spans) = read(&intervals, &key)?;
    if spans.is_empty() {
        return Err(not_there(&name, &intervals, &options.key, &observed));
    }
    if let Some(out) = &out {
        write_rows(out, &intervals, &rows, &spans)?;
    }
    let shown = intervals
        .footer
        .key
        .iter()
        .zip(&key)
        .map(|(name, value)| KeyValue {
            name: name.clone(),
            value: display(value, 0),
        });
    Ok(HistoryReport {
        key: shown.collect(),
        first_observed: *first,
        last_observed: *last,
        newer_snapshots: if is_file {
            0
        } else {
            newer(workspace, &name, &intervals, *last, None)?
        },
        intervals: tell(&intervals, &rows, &spans, &observed)?,
        absent: absences(&spans, &observed),
        out: out.map(|out| out.shown(workspace)),
        selected_rows: intervals.footer.condition.clone(),
        select: intervals.footer.select.clone(),
        table: name,
    })
}

/// The intervals of a table, or of a file.
pub(crate) struct OpenIntervals {
    /// The table.
    pub(crate) table: TableName,
    /// Its intervals.
    pub(crate) intervals: Intervals,
    is_file: bool,
}

/// The intervals that a name on the command line stands for.
///
/// # Errors
/// A usage error for a table that there is not, or that has no intervals; a refusal if they are
/// damaged.
pub(crate) fn intervals_of(workspace: &Workspace<'_>, name: &str) -> Result<OpenIntervals> {
    if let Some(file) = intervals_file(workspace, name)? {
        let file = open_intervals(&file)?;
        return Ok(OpenIntervals {
            table: file.table.name,
            intervals: file.intervals,
            is_file: true,
        });
    }
    let table = workspace.known(name)?;
    let intervals = workspace.intervals(&table)?;
    let intervals = intervals.ok_or_else(|| no_intervals(&table))?;
    if let Some(date) = intervals.dropped.first() {
        workspace.progress.note(&format!(
            "{table}: the snapshot of {date} was dropped since the intervals were made from it; \
             asof compact {table}"
        ));
    }
    Ok(OpenIntervals {
        table,
        intervals,
        is_file: false,
    })
}

fn no_intervals(table: &TableName) -> Error {
    Error::usage(format!("table {table} has no intervals")).hint(format!("asof compact {table}"))
}

/// The rows of one key, with the columns in which the intervals have their first and last dates; in
/// the order of these dates.
///
/// # Errors
/// As [`history`].
pub(crate) fn history_rows(
    workspace: &Workspace<'_>,
    options: &HistoryOptions,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let OpenIntervals {
        table, intervals, ..
    } = intervals_of(workspace, &options.table)?;
    let wanted = KeyCondition::of(&intervals, &parse_key(&table, &intervals, &options.key)?)?;
    let object = intervals.object();
    let rows = object.read_where(None, Some(Arc::new(wanted)))?;
    let rows: Vec<RecordBatch> = rows.collect::<Result<_>>()?;
    if rows.iter().all(|batch| batch.num_rows() == 0) {
        return Err(not_there(
            &table,
            &intervals,
            &options.key,
            &intervals.observed(),
        ));
    }
    Ok((object.schema().clone(), rows))
}

/// The key in the types of the key columns, a column of one row each.
fn parse_key(
    table: &TableName,
    intervals: &Intervals,
    written: &[String],
) -> Result<Vec<ArrayRef>> {
    let names = &intervals.footer.key;
    let schema = intervals.table_schema();
    if names.len() != written.len() {
        let values = if written.len() == 1 {
            "value was"
        } else {
            "values were"
        };
        let columns = if names.len() == 1 {
            "column"
        } else {
            "columns"
        };
        let arguments: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
        return Err(Error::usage(format!(
            "the key of table {table} has {} {columns} ({}), and {} {values} given",
            names.len(),
            names.join(", "),
            written.len()
        ))
        .hint(format!("asof history {table} {}", arguments.join(" "))));
    }
    let parse = |(name, text): (&String, &String)| {
        let field = schema.field_with_name(name).map_err(|_| {
            missing_column(name, &schema, &format!("the intervals of table {table}"))
        })?;
        let typed = match field.data_type() {
            DataType::Binary => bytes(text)
                .map(|bytes| Arc::new(BinaryArray::from(vec![bytes.as_slice()])) as ArrayRef),
            other => cast_exactly(
                &(Arc::new(StringArray::from(vec![text.as_str()])) as ArrayRef),
                other,
                name,
            )
            .ok(),
        };
        typed.ok_or_else(|| not_of_type(table, name, field.data_type(), text))
    };
    names.iter().zip(written).map(parse).collect()
}

/// The bytes that hexadecimal digits stand for, as `asof show` prints them, or those of a UUID with
/// its hyphens.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let is_uuid = text.len() == 36
        && [8, 13, 18, 23]
            .iter()
            .all(|at| text.as_bytes()[*at] == b'-');
    let digits = if is_uuid {
        text.replace('-', "")
    } else {
        text.to_owned()
    };
    hex::decode(digits).ok()
}

fn not_of_type(table: &TableName, name: &str, data_type: &DataType, text: &str) -> Error {
    let error = Error::usage(format!(
        "table {table}: the key column '{name}' is {}, and '{}' is not a valid value",
        type_name(data_type),
        shorten(text)
    ));
    match data_type {
        DataType::Binary => error
            .hint("write bytes as hexadecimal digits, such as 00ff, or a UUID with its hyphens"),
        _ => error,
    }
}

/// The rows of a key with their intervals, in order; none if it is not there.
fn read(intervals: &Intervals, key: &[ArrayRef]) -> Result<(RecordBatch, Vec<Interval>)> {
    let wanted = KeyCondition::of(intervals, key)?;
    let mut rows = Vec::new();
    let mut spans = Vec::new();
    for batch in intervals.read_where(None, Some(Arc::new(wanted)))? {
        let batch = batch?;
        rows.push(batch.rows);
        spans.extend(batch.intervals);
    }
    let rows = concat_batches(&intervals.table_schema(), &rows)
        .io_context(|| "cannot put rows together".into())?;
    Ok((rows, spans))
}

/// Writes the rows of a key as the intervals have them, with their two columns.
fn write_rows(
    out: &OutTarget,
    intervals: &Intervals,
    rows: &RecordBatch,
    spans: &[Interval],
) -> Result<()> {
    let rows = intervals.with_intervals(rows, spans)?;
    let mut file = OutFile::create(out, &rows.schema())?;
    file.write(rows)?;
    file.publish()
}

/// That a row has a key.
struct KeyCondition {
    names: Vec<String>,
    /// A column of one value each.
    values: Vec<ArrayRef>,
    digest: Option<u128>,
}

impl KeyCondition {
    /// The condition of a key, a column of one value each.
    fn of(intervals: &Intervals, key: &[ArrayRef]) -> Result<Self> {
        Ok(KeyCondition {
            names: intervals.footer.key.clone(),
            values: key.to_vec(),
            digest: key_digests(key)?.first().copied().flatten(),
        })
    }
}

impl RowCondition for KeyCondition {
    fn columns(&self) -> &[String] {
        &self.names
    }

    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool> {
        let mut may = vec![true; groups.len()];
        for (name, value) in self.names.iter().zip(&self.values) {
            // Statistics leave NaN out.
            let (Some(mins), Some(maxes), false) = (
                groups.mins(name),
                groups.maxes(name),
                value.data_type().is_floating(),
            ) else {
                continue;
            };
            let value = Scalar::new(value.clone());
            let (Ok(above), Ok(below)) = (lt(&value, &mins), gt(&value, &maxes)) else {
                continue;
            };
            for (group, may) in may.iter_mut().enumerate() {
                *may &= !(above.is_valid(group) && above.value(group)
                    || below.is_valid(group) && below.value(group));
            }
        }
        may
    }

    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let digests = key_digests(&key_columns(batch, &self.names)?)?;
        Ok(digests
            .iter()
            .map(|digest| Some(digest.is_some() && *digest == self.digest))
            .collect())
    }
}

/// The snapshots that are newer than the intervals, of those up to a date.
pub(super) fn newer(
    workspace: &Workspace<'_>,
    name: &TableName,
    intervals: &Intervals,
    last: NaiveDate,
    until: Option<NaiveDate>,
) -> Result<u64> {
    // Not to the end of time: some searches go through all dates of a range.
    let year_ahead = workspace.clock.today().max(last) + Days::new(366);
    let until = until.unwrap_or(year_ahead).min(year_ahead);
    let newer = DateRange::new(last.succ_opt().unwrap_or(last), until)?;
    let dates = workspace
        .table(name, &intervals.footer.key)?
        .find(Some(newer))?
        .dates();
    Ok(dates.iter().filter(|date| **date > last).count() as u64)
}

/// The intervals, each with what began it.
fn tell(
    intervals: &Intervals,
    rows: &RecordBatch,
    spans: &[Interval],
    observed: &[NaiveDate],
) -> Result<Vec<HistoryInterval>> {
    let attributes = names(rows.schema_ref(), |name| {
        !intervals.footer.key.contains(name)
    });
    let comparison = intervals.comparison();
    let compared = names(rows.schema_ref(), |name| {
        comparison.covers(name) && !intervals.footer.key.contains(name)
    });
    let cells = Cells::of(rows, &compared)?;
    let columns = columns_by_name(rows);
    let value = |name: &String, row: usize| {
        columns
            .get(name.as_str())
            .and_then(|column| cell(column, row))
    };
    let all = |row: usize| {
        let of = |name: &String| {
            Some(ColumnChange {
                name: name.clone(),
                old: None,
                new: Some(value(name, row)?),
            })
        };
        attributes.iter().filter_map(of).collect::<Vec<_>>()
    };
    let changed = |row: usize| {
        let of = |at: usize| ColumnChange {
            name: compared[at].clone(),
            old: value(&compared[at], row - 1),
            new: value(&compared[at], row),
        };
        cells
            .differing(row - 1, &cells, row)
            .map(of)
            .collect::<Vec<_>>()
    };
    let told = |(row, span): (usize, &Interval)| {
        let (event, values) = match row
            .checked_sub(1)
            .map(|before| away(&spans[before], Some(span), observed))
        {
            None => (Event::FirstSeen, all(row)),
            Some(Some(_)) => (Event::Returned, all(row)),
            Some(None) => match changed(row) {
                same if same.is_empty() => (Event::Reappeared, all(row)),
                values => (Event::Changed, values),
            },
        };
        HistoryInterval {
            start: span.start,
            end: span.end,
            event,
            values,
        }
    };
    Ok(spans.iter().enumerate().map(told).collect())
}

fn names(schema: &SchemaRef, keep: impl Fn(&String) -> bool) -> Vec<String> {
    Schema::fields(schema)
        .iter()
        .map(|field| field.name())
        .filter(|name| keep(name))
        .cloned()
        .collect()
}

/// When the key was away after an interval: from the first snapshot without it to the day before
/// the next interval. A gap without snapshots says nothing of the key.
fn away(span: &Interval, next: Option<&Interval>, observed: &[NaiveDate]) -> Option<Absence> {
    let end = span.end?;
    let from = observed
        .get(observed.partition_point(|date| *date <= end))
        .copied();
    match next {
        None => Some(Absence {
            from: from.or(end.checked_add_days(Days::new(1)))?,
            to: None,
        }),
        Some(next) => from.filter(|from| *from < next.start).map(|from| Absence {
            from,
            to: next.start.pred_opt(),
        }),
    }
}

/// All dates on which the key was away since it was first seen.
fn absences(spans: &[Interval], observed: &[NaiveDate]) -> Vec<Absence> {
    (0..spans.len())
        .filter_map(|at| away(&spans[at], spans.get(at + 1), observed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::compact::CompactOptions;
    use crate::commands::testing::{TestLake, date};
    use crate::error::Kind;

    fn options(key: &[&str]) -> HistoryOptions {
        HistoryOptions {
            table: "item".into(),
            key: key.iter().map(|value| (*value).to_owned()).collect(),
            out: None,
        }
    }

    fn of(lake: &TestLake, key: &[&str]) -> HistoryReport {
        history(&lake.workspace(), &options(key)).expect("a history")
    }

    /// `2024-01-01..2024-01-02 changed: price 10→11`, a line an interval.
    fn lines(report: &HistoryReport) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let line = |interval: &HistoryInterval| {
            let end = interval.end.map_or(String::new(), |end| end.to_string());
            let event = serde_json::to_string(&interval.event).expect("text");
            let values = interval
                .values
                .iter()
                .map(|value| format!(" {} {}→{}", value.name, text(&value.old), text(&value.new)));
            format!(
                "{}..{end} {}:{}",
                interval.start,
                event.trim_matches('"'),
                values.collect::<String>()
            )
        };
        report.intervals.iter().map(line).collect()
    }

    fn absent(report: &HistoryReport) -> Vec<(String, Option<String>)> {
        report
            .absent
            .iter()
            .map(|absence| {
                (
                    absence.from.to_string(),
                    absence.to.map(|to| to.to_string()),
                )
            })
            .collect()
    }

    #[test]
    fn a_key_changes_goes_returns_and_goes_for_good() {
        let lake = TestLake::new();
        let days = [
            "1,10,\n2,1,a\n",
            "1,10,b\n",
            "2,2,a\n",
            "2,2,a\n1,10,b\n",
            "2,2,a\n",
        ];
        for (day, rows) in (1..).zip(days) {
            lake.snapshot(
                "item",
                &format!("2024-01-0{day}"),
                "id",
                &format!("id,price,tag\n{rows}"),
            );
        }
        lake.compact("item");
        let report = of(&lake, &["1"]);
        let expected = [
            "2024-01-01..2024-01-01 first_seen: price -→10",
            "2024-01-02..2024-01-02 changed: tag -→b",
            "2024-01-04..2024-01-04 returned: price -→10 tag -→b",
        ];
        assert_eq!(lines(&report), expected);
        assert_eq!(
            absent(&report),
            [
                ("2024-01-03".to_owned(), Some("2024-01-03".to_owned())),
                ("2024-01-05".into(), None)
            ]
        );
        assert_eq!(
            (
                report.first_observed,
                report.last_observed,
                report.newer_snapshots
            ),
            (date("2024-01-01"), date("2024-01-05"), 0)
        );
        assert_eq!(
            report.key,
            [KeyValue {
                name: "id".into(),
                value: "1".into()
            }]
        );
        let report = of(&lake, &["2"]);
        assert_eq!(
            lines(&report)[1],
            "2024-01-03.. returned: price -→2 tag -→a"
        );
        assert_eq!(
            absent(&report),
            [("2024-01-02".to_owned(), Some("2024-01-02".to_owned()))]
        );
    }

    #[test]
    fn a_missing_date_is_no_absence() {
        for (gaps, expected) in [("carry", 1), ("split", 2)] {
            let lake = TestLake::new();
            for day in ["2024-01-01", "2024-01-02", "2024-01-05"] {
                lake.snapshot("item", day, "id", "id,tag\n1,a\n");
            }
            lake.compact_with(
                "item",
                &CompactOptions {
                    gaps: Some(gaps.into()),
                    ..CompactOptions::default()
                },
            );
            let report = of(&lake, &["1"]);
            assert_eq!(
                (report.intervals.len(), absent(&report)),
                (expected, vec![]),
                "{gaps}"
            );
            assert_eq!(
                report
                    .intervals
                    .last()
                    .map(|last| last.event == Event::Reappeared),
                Some(gaps == "split")
            );
        }
    }

    #[test]
    fn snapshots_that_are_not_compacted_yet_are_counted() {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", "id\n1\n");
        lake.compact("item");
        lake.snapshot("item", "2024-01-02", "id", "id\n1\n");
        lake.snapshot("item", "2024-01-03", "id", "id\n1\n");
        assert_eq!(of(&lake, &["1"]).newer_snapshots, 2);
    }

    #[test]
    fn a_column_that_is_not_compared_is_no_change() {
        let lake = TestLake::new();
        for (day, tag) in [("2024-01-01", "a"), ("2024-01-02", "b")] {
            lake.snapshot(
                "item",
                day,
                "id",
                &format!("id,tag,loaded\n1,{tag},{day}\n"),
            );
        }
        lake.compact_with(
            "item",
            &CompactOptions {
                ignore: vec!["loaded".into()],
                ..CompactOptions::default()
            },
        );
        assert_eq!(
            lines(&of(&lake, &["1"]))[1],
            "2024-01-02.. changed: tag a→b"
        );
    }

    #[test]
    fn a_key_of_several_columns_is_found_in_the_order_of_the_key() {
        let lake = TestLake::new();
        lake.snapshot(
            "item",
            "2024-01-01",
            "region,id",
            "id,region,tag\n1,2,x\n2,1,y\n",
        );
        lake.compact("item");
        assert_eq!(
            lines(&of(&lake, &["2", "1"])),
            ["2024-01-01.. first_seen: tag -→x"]
        );
        let error = history(&lake.workspace(), &options(&["2"])).expect_err("a value lacks");
        assert_eq!(
            error.to_string(),
            "the key of table item has 2 columns (region, id), and 1 value was given"
        );
        assert_eq!(
            (error.kind(), error.hints()[0].as_str()),
            (Kind::Usage, "asof history item REGION ID")
        );
    }

    #[test]
    fn a_key_of_another_type_is_refused_with_the_column() {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", "id\n1\n");
        lake.compact("item");
        let error = history(&lake.workspace(), &options(&["x7"])).expect_err("no number");
        assert_eq!(
            error.to_string(),
            "table item: the key column 'id' is int64, and 'x7' is not a valid value"
        );
        assert_eq!(error.kind(), Kind::Usage);
        let error = history(&lake.workspace(), &options(&["7"])).expect_err("not there");
        assert_eq!(
            error.to_string(),
            "table item never had the key id=7 from 2024-01-01 to 2024-01-01"
        );
        assert_eq!(
            (error.kind(), error.hints()[0].as_str()),
            (Kind::Refused, "asof show item --date 2024-01-01")
        );
    }

    #[test]
    fn a_key_of_bytes_is_written_as_it_is_shown() {
        use arrow::array::FixedSizeBinaryArray;
        let lake = TestLake::new();
        let uuid: [u8; 16] = std::array::from_fn(|at| u8::try_from(at * 16 + 15).expect("a byte"));
        let ids: ArrayRef =
            Arc::new(FixedSizeBinaryArray::try_from_iter([uuid, [0; 16]].iter()).expect("bytes"));
        let rows = RecordBatch::try_from_iter([("id", ids)]).expect("rows");
        let source = lake.path().join("source.parquet");
        let file = std::fs::File::create(&source).expect("a file");
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
        writer.write(&rows).expect("written");
        writer.close().expect("closed");
        lake.snapshot_of("item", "2024-01-01", "id", &source);
        lake.compact("item");
        let shown = of(&lake, &["0f1f2f3f-4f5f-6f7f-8f9f-afbfcfdfefff"]).key[0]
            .value
            .clone();
        assert_eq!(shown, "0f1f2f3f4f5f6f7f8f9fafbfcfdfefff");
        assert_eq!(lines(&of(&lake, &[&shown])).len(), 1);
        assert_eq!(lines(&of(&lake, &[&shown.to_uppercase()])).len(), 1);
        let error = history(&lake.workspace(), &options(&["0f1f2"])).expect_err("half a byte");
        assert_eq!(
            error.to_string(),
            "table item: the key column 'id' is binary, and '0f1f2' is not a valid value"
        );
    }

    #[test]
    fn keys_like_one_that_is_not_there_are_offered() {
        let lake = TestLake::new();
        lake.snapshot(
            "item",
            "2024-01-01",
            "id",
            "id\nKLAX\nKLAS\nKL X\nEDDF\nKLXX\n",
        );
        lake.compact("item");
        let error = history(&lake.workspace(), &options(&["klxa"])).expect_err("not there");
        assert_eq!(
            error.hints(),
            ["asof history item KLAX", "asof history item KLXX"]
        );
        let error = history(&lake.workspace(), &options(&["KLQX"])).expect_err("not there");
        assert_eq!(
            error.hints(),
            [
                "asof history item 'KL X'",
                "asof history item KLAX",
                "asof history item KLXX"
            ]
        );
    }

    #[test]
    fn a_table_without_intervals_is_refused_with_the_command_that_makes_them() {
        let lake = TestLake::new();
        lake.snapshot("item", "2024-01-01", "id", "id\n1\n");
        let error = history(&lake.workspace(), &options(&["1"])).expect_err("no intervals");
        assert_eq!(
            (error.to_string().as_str(), error.hints()[0].as_str()),
            ("table item has no intervals", "asof compact item")
        );
        assert_eq!(error.kind(), Kind::Usage);
    }

    #[test]
    fn a_key_is_found_wherever_its_batch_ends() {
        use std::fmt::Write;
        let lake = TestLake::new();
        for day in 1..=3 {
            let mut csv = "id,n\n".to_owned();
            (0..10_000).for_each(|id| writeln!(csv, "{id},{}", id + day).expect("text"));
            lake.snapshot("item", &format!("2024-01-0{day}"), "id", &csv);
        }
        lake.compact("item");
        for id in [0, 2730, 2731, 5461, 8191, 9999] {
            let report = of(&lake, &[&id.to_string()]);
            let values: Vec<Option<String>> = report
                .intervals
                .iter()
                .map(|interval| interval.values[0].new.clone())
                .collect();
            assert_eq!(
                values,
                (1..=3)
                    .map(|day| Some((id + day).to_string()))
                    .collect::<Vec<_>>()
            );
        }
    }
}
