//! Events of each day that refer to the rows of a table.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;

use crate::{Result, date_of, mix, on_all_cores, table};

const ROW_GROUP: usize = 131_072;
const MICROSECONDS: u64 = 86_400_000_000;
/// No number of items is a multiple of it, so multiplying by it shuffles them.
const PRIME: u64 = 7_368_787;

/// Writes a file of events for each day.
pub(crate) fn write(folder: &Path, days: u16, rows: u64, events: u64) -> Result {
    on_all_cores(days, |mut range| {
        range.try_for_each(|day| write_day(folder, day, rows, events))
    })
}

fn write_day(folder: &Path, day: u16, rows: u64, events: u64) -> Result {
    let date = date_of(day);
    let folder = folder.join(format!("date={date}"));
    std::fs::create_dir_all(&folder)?;
    let first = u64::from(day) * events;
    let midnight = date
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .timestamp_micros();
    let random = |salt: u64| (first..first + events).map(move |event| mix(event, salt));
    let kind = |value: u64| ["view", "cart", "order", "return"][(value % 4) as usize];
    let moment = |(number, value): (u64, u64)| {
        midnight + (number * MICROSECONDS / events + value % (MICROSECONDS / events)) as i64
    };
    let columns: [(&str, ArrayRef); 5] = [
        (
            "event_id",
            Arc::new(Int64Array::from_iter_values(
                (first..first + events).map(|event| event as i64),
            )),
        ),
        (
            "item_id",
            Arc::new(Int64Array::from_iter_values(
                random(1).map(|value| item(value, rows)),
            )),
        ),
        (
            "kind",
            Arc::new(StringArray::from_iter_values(random(2).map(kind))),
        ),
        (
            "quantity",
            Arc::new(Int32Array::from_iter_values(
                random(3).map(|value| 1 + (value % 9) as i32),
            )),
        ),
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                (0..events).zip(random(4)).map(moment),
            )),
        ),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )?;
    let mut writer = ArrowWriter::try_new(
        File::create(folder.join("events.parquet"))?,
        batch.schema(),
        Some(crate::properties(ROW_GROUP)?),
    )?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// The item of an event: some are met far more often than others, all over the table, and one in a
/// hundred is unknown.
fn item(random: u64, rows: u64) -> i64 {
    let all = table::keys(rows) + rows / 100;
    let uniform = random as f64 / u64::MAX as f64;
    let rank = ((uniform * uniform * all as f64) as u64).min(all - 1);
    (rank * PRIME % all) as i64
}
