//! A key that is not in the intervals: what to say of it, and which keys are like it.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use chrono::NaiveDate;

use crate::did_you_mean::nearest;
use crate::domain::missing_column::missing_column;
use crate::engine::intervals::Intervals;
use crate::error::{Error, Result, shorten, word};
use crate::model::TableName;

/// How many keys like one that is not there are offered.
const NEAR_KEYS: usize = 3;
/// How many of them are held before all but the nearest are dropped.
const NEAR_KEYS_HELD: usize = 64;

/// The refusal of a key that no interval has.
pub(super) fn not_there(
    table: &TableName,
    intervals: &Intervals,
    written: &[String],
    observed: &[NaiveDate],
) -> Error {
    let shown: Vec<String> = intervals
        .footer
        .key
        .iter()
        .zip(written)
        .map(|(name, value)| format!("{name}={}", shorten(value)))
        .collect();
    let first = observed.first();
    let last = observed.last();
    let dates = first.zip(last).map_or(String::new(), |(first, last)| {
        format!(" from {first} to {last}")
    });
    let error = Error::refused(format!(
        "table {table} never had the key {}{dates}",
        shown.join(", ")
    ));
    match near_keys(intervals, written) {
        Ok(near) if !near.is_empty() => near.iter().fold(error, |error, key| {
            error.hint(format!("asof history {table} {}", word(key)))
        }),
        Ok(_) => error.hint(format!(
            "asof show {table} --date {}",
            last.map_or_else(String::new, NaiveDate::to_string)
        )),
        Err(failed) => failed,
    }
}

/// The keys nearest to what was written, nearest first, if the key is one column of text.
fn near_keys(intervals: &Intervals, written: &[String]) -> Result<Vec<String>> {
    let ([name], [written]) = (intervals.footer.key.as_slice(), written) else {
        return Ok(Vec::new());
    };
    if intervals
        .table_schema()
        .field_with_name(name)
        .map(|field| field.data_type().clone())
        .ok()
        != Some(DataType::Utf8)
    {
        return Ok(Vec::new());
    }
    let mut near: Vec<String> = Vec::new();
    for batch in intervals.read(Some(std::slice::from_ref(name)))? {
        let columns = key_columns(&batch?.rows, std::slice::from_ref(name))?;
        let keys = arrow::array::AsArray::as_string::<i32>(&columns[0]);
        for key in (0..keys.len()).map(|row| keys.value(row)) {
            if could_be_near(written, key)
                && near.last().is_none_or(|last| last != key)
                && nearest(written, [key]).is_some()
            {
                near.push(key.to_owned());
            }
        }
        if near.len() > NEAR_KEYS_HELD {
            near = nearest_of(written, near);
        }
    }
    Ok(nearest_of(written, near))
}

/// Whether the lengths alone do not tell two texts apart; distances are not computed for the rest.
fn could_be_near(written: &str, key: &str) -> bool {
    let one = written.chars().count();
    let other = key.chars().count();
    one.abs_diff(other) <= (written.len().max(key.len()) / 3).max(1)
}

/// The nearest of some keys, nearest first.
fn nearest_of(written: &str, mut keys: Vec<String>) -> Vec<String> {
    let mut best = Vec::new();
    while best.len() < NEAR_KEYS
        && let Some(key) = nearest(written, keys.iter().map(String::as_str)).map(str::to_owned)
    {
        keys.retain(|other| *other != key);
        best.push(key);
    }
    best
}

/// The key columns of a batch, in the order of the key.
pub(super) fn key_columns(batch: &RecordBatch, key: &[String]) -> Result<Vec<ArrayRef>> {
    let column = |name: &String| {
        batch
            .column_by_name(name)
            .cloned()
            .ok_or_else(|| missing_column(name, batch.schema_ref(), "the intervals"))
    };
    key.iter().map(column).collect()
}
