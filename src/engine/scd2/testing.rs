//! Histories of a table, and the SCD type 2 tables that tools would have made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::take_record_batch;
use chrono::{Days, NaiveDate};
use proptest::prelude::*;

use crate::domain::scd2::Scd2Preset;

/// The first day of every history.
pub(crate) fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 3, 29).expect("a date")
}

/// The rows of a table on each day: the value of each key that is there. A value may be null.
#[derive(Clone, Debug)]
pub(crate) struct DailyRows {
    pub(crate) days: Vec<BTreeMap<i64, Option<i64>>>,
    /// When the tool looked on each day, in seconds.
    seconds: Vec<i64>,
    /// Whether it found another value first, and the right one a minute later.
    hesitates: Vec<bool>,
    /// What puts the rows of the table in an order.
    seed: u64,
}

/// What is there of a key on a day.
fn cell() -> impl Strategy<Value = Option<Option<i64>>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(None)),
        5 => (0i64..3).prop_map(|value| Some(Some(value))),
    ]
}

/// Up to nine days of up to four keys.
pub(crate) fn daily_rows() -> impl Strategy<Value = DailyRows> {
    let days = prop::collection::vec(prop::collection::vec(cell(), 4), 1..9);
    let seconds = prop::collection::vec(0i64..86_300, 9);
    let hesitates = prop::collection::vec(any::<bool>(), 9);
    (days, seconds, hesitates, any::<u64>()).prop_map(|(days, seconds, hesitates, seed)| {
        let day = |cells: Vec<Option<Option<i64>>>| {
            let cells = (1..).zip(cells);
            cells
                .filter_map(|(key, cell)| Some((key, cell?)))
                .collect::<BTreeMap<i64, Option<i64>>>()
        };
        DailyRows {
            days: days.into_iter().map(day).collect(),
            seconds,
            hesitates,
            seed,
        }
    })
}

/// A row of an SCD type 2 table; times are microseconds.
#[derive(Clone, Debug)]
struct VersionRow {
    id: i64,
    value: Option<i64>,
    start: i64,
    end: Option<i64>,
    is_deleted: bool,
    /// Whether it ended since the key was deleted.
    ends_deleted: bool,
}

const SECOND: i64 = 1_000_000;

impl DailyRows {
    /// The date of a day.
    pub(crate) fn date(&self, day: usize) -> NaiveDate {
        first_day() + Days::new(day as u64)
    }

    /// The last date.
    pub(crate) fn last(&self) -> NaiveDate {
        self.date(self.days.len() - 1)
    }

    /// Whether there is no row on any day.
    pub(crate) fn is_empty(&self) -> bool {
        self.days.iter().all(BTreeMap::is_empty)
    }

    /// How many intervals there are.
    pub(crate) fn intervals(&self) -> u64 {
        let mut count = 0;
        for (at, day) in self.days.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| &self.days[before]);
            let is_new = |(key, value): &(&i64, &Option<i64>)| {
                before.and_then(|before| before.get(key)) != Some(value)
            };
            count += day.iter().filter(is_new).count() as u64;
        }
        count
    }

    fn looked(&self, day: usize) -> i64 {
        let days = (self.date(day) - NaiveDate::default()).num_days();
        (days * 86_400 + self.seconds[day]) * SECOND
    }

    /// The versions that a tool writes down.
    fn versions(&self, preset: Scd2Preset) -> Vec<VersionRow> {
        let mut rows = Vec::new();
        for key in 1..=4 {
            let mut current: Option<VersionRow> = None;
            for day in 0..self.days.len() {
                let found = self.days[day].get(&key).copied();
                let known = current.as_ref().filter(|row| !row.is_deleted);
                if found == known.map(|row| row.value) {
                    continue;
                }
                let mut at = self.looked(day);
                let mut close = |current: &mut Option<VersionRow>, at: i64, deleted: bool| {
                    if let Some(mut row) = current.take() {
                        (row.end, row.ends_deleted) = (Some(at), deleted);
                        rows.push(row);
                    }
                };
                let row = |value: Option<i64>, start: i64, is_deleted: bool| VersionRow {
                    id: key,
                    value,
                    start,
                    end: None,
                    is_deleted,
                    ends_deleted: false,
                };
                let before = current.clone();
                if self.hesitates[day] {
                    close(&mut current, at, false);
                    current = Some(row(Some(99), at, false));
                    at += 60 * SECOND;
                }
                close(&mut current, at, found.is_none());
                current = match (found, before, preset) {
                    (Some(value), ..) => Some(row(value, at, false)),
                    (None, Some(before), Scd2Preset::Dbt) => Some(row(before.value, at, true)),
                    _ => None,
                };
            }
            rows.extend(current);
        }
        let order = |row: &VersionRow| {
            let mixed = (row.id as u64 ^ (row.start as u64).rotate_left(17)) ^ self.seed;
            mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
        };
        rows.sort_by_key(order);
        rows
    }

    /// The table that a tool makes.
    pub(crate) fn table(&self, preset: Scd2Preset) -> RecordBatch {
        let mut rows = self.versions(preset);
        let first = self.looked(0);
        let forever = 253_402_300_799_999 * 1_000;
        for row in &mut rows {
            row.end = match (preset, row.end) {
                (Scd2Preset::Fivetran, None) => Some(forever),
                (Scd2Preset::Fivetran, Some(end)) if !row.ends_deleted => Some(end - 1_000),
                (_, end) => end,
            };
            if preset == Scd2Preset::Sqlmesh && row.start == first {
                row.start = 0;
            }
        }
        let times = |times: Vec<Option<i64>>| -> ArrayRef {
            let times = TimestampMicrosecondArray::from(times);
            match preset {
                Scd2Preset::Dbt | Scd2Preset::Sqlmesh => Arc::new(times),
                _ => Arc::new(times.with_timezone("UTC")),
            }
        };
        let starts = times(rows.iter().map(|row| Some(row.start)).collect());
        let ends = times(rows.iter().map(|row| row.end).collect());
        let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.id));
        let values: Int64Array = rows.iter().map(|row| row.value).collect();
        let shape = preset.shape();
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("id".to_owned(), Arc::new(ids)),
            ("value".to_owned(), Arc::new(values)),
            (shape.start_column, starts),
            (shape.end_column, ends),
        ];
        for (at, name) in shape.left_out.into_iter().enumerate() {
            let texts = (0..rows.len()).map(|row| format!("{at}-{row}"));
            columns.push((name, Arc::new(StringArray::from_iter_values(texts))));
        }
        if let Some(name) = shape.deleted_column {
            let marks = rows
                .iter()
                .map(|row| if row.is_deleted { "True" } else { "False" });
            columns.push((name, Arc::new(StringArray::from_iter_values(marks))));
        }
        if let Some(name) = shape.current_column {
            let marks: BooleanArray = rows
                .iter()
                .map(|row| Some(row.end.is_none_or(|end| end == forever)))
                .collect();
            columns.push((name, Arc::new(marks)));
        }
        let columns = columns
            .into_iter()
            .map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns).expect("rows")
    }
}

/// The named rows of a table.
pub(crate) fn rows_of(table: &RecordBatch, rows: &[u32]) -> RecordBatch {
    take_record_batch(table, &UInt32Array::from(rows.to_vec())).expect("rows")
}
