//! `asof describe`: what the values of each column are as of a date, and how often they changed.
//!
//! What is read: the state that serves the date, once, and the intervals, once; of both only the
//! columns that are described, and the key of the intervals. If counting the values takes more
//! memory than it may, the state is read again for the columns that were left
//! ([`crate::engine::statistics`]).
//!
//! Changes come from the intervals alone ([`crate::domain::column_changes`]): copies are never
//! compared with one another. Without intervals the history of the columns is not known, and a
//! note names the command that makes it known.
//!
//! Memory: the different values of each column, up to half of `--memory`, and a few row groups.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, FieldRef};
use chrono::NaiveDate;

use super::Workspace;
use super::cells::cell;
use super::history::newer;
use super::lookup::{intervals_file, latest_states};
use super::shown_columns::selected_columns;
use crate::domain::column_changes::{ChangeCounter, ColumnChangeCount};
use crate::domain::column_statistics::{ColumnStatistics, SideStatistics};
use crate::domain::type_names::type_name;
use crate::engine::as_of::{AsOfTable, Origin};
use crate::engine::intervals::{IntervalBatch, Intervals};
use crate::engine::statistics::{StatisticsOptions, require_polars, statistics};
use crate::error::{Context, Result, word};
use crate::model::TableName;
use crate::parallel::decoding_threads;

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct DescribeOptions {
    /// The table.
    pub table: String,
    /// The date; if `None`, the latest.
    pub date: Option<NaiveDate>,
    /// Which columns, in which order; all if empty.
    pub columns: Vec<String>,
    /// How many of the most frequent values the report has of each column.
    pub top: usize,
}

/// A value and how often it occurs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FrequentValue {
    /// The value.
    pub value: String,
    /// In how many rows it is.
    pub rows: u64,
}

/// What the values of a column are.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Distribution {
    /// In how many rows it is null.
    pub nulls: u64,
    /// In how many rows it is not a number; only of floats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nans: Option<u64>,
    /// How many different values there are; null is none.
    pub distinct: u64,
    /// The least value; none of lists, structs and maps.
    pub min: Option<String>,
    /// The greatest value, likewise.
    pub max: Option<String>,
    /// The mean of numbers, as a float; none if it is not finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
}

/// One column of the table.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// The name of its type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it is one of the key.
    pub key: bool,
    /// What its values are.
    #[serde(flatten)]
    pub values: Distribution,
    /// The most frequent values, most of them first. Those of a column that is the whole key are
    /// not counted: each occurs once.
    pub frequent: Vec<FrequentValue>,
    /// How often it changed; none of a key column, of one that the intervals do not compare or do
    /// not have, and without intervals.
    pub changes: Option<ColumnChangeCount>,
}

/// The history that changes were counted in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DescribedHistory {
    /// The first date that the intervals know.
    pub first: NaiveDate,
    /// The last one up to the date.
    pub last: NaiveDate,
    /// How many dates these are.
    pub snapshots: u64,
    /// How many keys there were on any of them.
    pub keys: u64,
    /// How many snapshots are newer than the intervals, and not after the date.
    pub newer_snapshots: u64,
    /// The columns whose changes the intervals do not record.
    pub not_compared: Vec<String>,
    /// The condition that rows met; the others count as absent.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub selected_rows: Option<String>,
    /// The selected columns, if not all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
}

/// What there is to say of a table's columns.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DescribeReport {
    /// The table.
    pub table: TableName,
    /// The date that was asked for.
    pub date: NaiveDate,
    /// The date whose state holds on it.
    pub snapshot_date: NaiveDate,
    /// What served that state.
    pub source: Origin,
    /// How many rows it has.
    pub rows: u64,
    /// The key columns.
    pub key: Vec<String>,
    /// Where changes come from; none without intervals.
    pub history: Option<DescribedHistory>,
    /// The columns, in the order of the table, or in that of their names on the command line.
    pub columns: Vec<ColumnDescription>,
    /// How many columns were left out.
    pub other_columns: u64,
}

/// Describes the columns of a table as of a date.
///
/// # Errors
/// A usage error for a table or column that there is not; a refusal for a date before the first
/// snapshot, and for a column that has more different values than memory holds.
pub fn describe(workspace: &Workspace<'_>, options: &DescribeOptions) -> Result<DescribeReport> {
    require_polars("asof describe")?;
    let asked = options.date.unwrap_or_else(|| workspace.clock.today());
    let history = latest_states(workspace, &options.table, &[asked])?;
    let date = history.resolve_latest(asked, |first| {
        format!("asof describe {} --date {first}", word(&options.table))
    })?;
    let as_of = history.latest(date, None)?;
    let table = &history.table;
    let what = format!("table {} as of {date}", table.name);
    let columns = selected_columns(&options.columns, &as_of.schema, &what)?;
    let columns = columns.fields();
    let found = described(workspace, &as_of, columns, &table.key, options.top, &what)?;
    let told = match history.intervals() {
        Some(intervals) => {
            let is_file = intervals_file(workspace, &options.table)?.is_some();
            let newer = |last| match is_file {
                true => Ok(0),
                false => newer(workspace, &table.name, intervals, last, Some(date)),
            };
            told(intervals, columns, date, newer)?
        }
        None => None,
    };
    note_history(workspace, &table.name, told.as_ref().map(|(told, _)| told));
    let rows = found.first().and_then(|found| found.sides.first());
    let rows = rows.map_or(0, |side| side.rows);
    let (told, changes) = match told {
        Some((told, changes)) => (Some(told), changes),
        None => (None, vec![None; columns.len()]),
    };
    let other_columns = as_of.schema.fields().len() - columns.len();
    let columns = columns.iter().zip(&found).zip(changes);
    let columns = columns.map(|((column, found), changes)| ColumnDescription {
        name: column.name().clone(),
        data_type: type_name(column.data_type()),
        key: table.key.contains(column.name()),
        values: distribution(column.data_type(), found.sides.first()),
        frequent: frequent(found),
        changes: changes.filter(|_| !table.key.contains(column.name())),
    });
    Ok(DescribeReport {
        table: table.name.clone(),
        date: asked,
        snapshot_date: date,
        source: as_of.origin(),
        rows,
        key: table.key.clone(),
        history: told,
        columns: columns.collect(),
        other_columns: other_columns as u64,
    })
}

/// The statistics of the columns of a state.
fn described(
    workspace: &Workspace<'_>,
    as_of: &AsOfTable,
    columns: &[FieldRef],
    key: &[String],
    most: usize,
    what: &str,
) -> Result<Vec<ColumnStatistics>> {
    let unique = match key {
        [only] if as_of.has_unique_keys() => Some(only.as_str()),
        _ => None,
    };
    let options = StatisticsOptions {
        columns,
        unique,
        most,
        memory: workspace.memory,
        what,
    };
    statistics(&options, &[&|names| as_of.read(names)])
}

/// What the values of a column are, as text.
pub(super) fn distribution(data_type: &DataType, side: Option<&SideStatistics>) -> Distribution {
    let side = side.cloned().unwrap_or_default();
    let shown = |value: &Option<ArrayRef>| value.as_ref().and_then(|value| cell(value, 0));
    Distribution {
        nulls: side.nulls,
        nans: data_type.is_floating().then_some(side.nans),
        distinct: side.distinct,
        min: shown(&side.min),
        max: shown(&side.max),
        mean: side.mean,
    }
}

fn frequent(found: &ColumnStatistics) -> Vec<FrequentValue> {
    let rows = (0..found.frequent.len()).zip(&found.counts);
    let values = rows.filter_map(|(row, counts)| {
        Some(FrequentValue {
            value: cell(&found.frequent, row)?,
            rows: *counts.first()?,
        })
    });
    values.collect()
}

/// The history that a table's intervals tell up to a date, and the changes of each column; none if
/// they begin later.
fn told(
    intervals: &Intervals,
    columns: &[FieldRef],
    date: NaiveDate,
    newer: impl FnOnce(NaiveDate) -> Result<u64>,
) -> Result<Option<(DescribedHistory, Vec<Option<ColumnChangeCount>>)>> {
    let mut observed = intervals.observed();
    let last_known = observed.last().copied();
    observed.retain(|known| *known <= date);
    let ([first, ..], [.., last]) = (observed.as_slice(), observed.as_slice()) else {
        return Ok(None);
    };
    let key = &intervals.footer.key;
    let (schema, comparison) = (intervals.table_schema(), intervals.comparison());
    let has = |name: &String| schema.field_with_name(name).is_ok();
    let compared: Vec<String> = columns
        .iter()
        .map(|column| column.name())
        .filter(|name| has(name) && comparison.covers(name) && !key.contains(name))
        .cloned()
        .collect();
    let mut counter = ChangeCounter::new(key, &compared, &observed);
    let read: Vec<String> = key.iter().chain(&compared).cloned().collect();
    for batch in intervals.read_where_by(decoding_threads(), Some(&read), None)? {
        let mut batch = batch?;
        if last_known > Some(date) {
            batch = begun(batch, date)?;
        }
        counter.see(&batch.rows, &batch.intervals)?;
    }
    let (keys, counts) = counter.finish();
    let changes = columns.iter().map(|column| {
        let at = compared.iter().position(|name| name == column.name())?;
        counts.get(at).cloned()
    });
    let not_compared = columns.iter().map(|column| column.name());
    let not_compared = not_compared.filter(|name| !has(name) || !comparison.covers(name));
    let told = DescribedHistory {
        first: *first,
        last: *last,
        snapshots: observed.len() as u64,
        keys,
        newer_snapshots: match last_known < Some(date) {
            true => newer(*last)?,
            false => 0,
        },
        not_compared: not_compared.cloned().collect(),
        selected_rows: intervals.footer.condition.clone(),
        select: intervals.footer.select.clone(),
    };
    Ok(Some((told, changes.collect())))
}

/// The rows that begin up to a date.
fn begun(batch: IntervalBatch, date: NaiveDate) -> Result<IntervalBatch> {
    let starts = batch
        .intervals
        .iter()
        .map(|interval| interval.start <= date);
    let begun: BooleanArray = starts.map(Some).collect();
    Ok(IntervalBatch {
        rows: filter_record_batch(&batch.rows, &begun)
            .internal_context(|| "cannot select intervals".into())?,
        intervals: batch
            .intervals
            .into_iter()
            .filter(|interval| interval.start <= date)
            .collect(),
    })
}

/// Says so if changes are not known, or not up to the date.
fn note_history(workspace: &Workspace<'_>, table: &TableName, told: Option<&DescribedHistory>) {
    let compact = format!("asof compact {}", word(table.as_str()));
    let note = match told {
        None => {
            format!("{table}: without intervals of this date, changes are not known; {compact}")
        }
        Some(told) if told.newer_snapshots > 0 => format!(
            "{table}: changes are those up to {}, and {} newer; {compact}",
            told.last,
            match told.newer_snapshots {
                1 => "1 snapshot is".to_owned(),
                more => format!("{more} snapshots are"),
            }
        ),
        Some(_) => return,
    };
    workspace.progress.note(&note);
}
