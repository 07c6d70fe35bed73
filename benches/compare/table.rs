//! A table that changes slowly, as rows of any day.
//!
//! Of `rows` rows, 0.1 % change on each day; a hundredth as many go and as many come, at random
//! keys. A key's place in the order is a number, from which its value is made.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use clap::ValueEnum;

use crate::{FIRST, Result, mix};

/// What is random, apart from columns: salts above those of any version of a row.
const CHANGES: u64 = 1 << 40;
const COMES: u64 = 2 << 40;
const GOES: u64 = 3 << 40;
const IS_ABSENT: u64 = 4 << 40;
const TEXT: u64 = 5 << 40;
const MILLISECONDS_OF_DAY: i64 = 86_400_000;
/// How many items a shop has, with the composite key.
const ITEMS_IN_SHOP: u64 = 1000;

/// What key and which columns a table has.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Shape {
    /// Key id, an integer
    Int,
    /// Key id, text such as SKU-00000c6f7a0b5ed9
    Text,
    /// Key store_id, an integer, and item, text
    Composite,
    /// Key id, an integer, and three more columns
    Narrow,
    /// Key id, an integer, with updated_at, a timestamp, instead of listed
    Source,
}

impl Shape {
    pub(crate) fn key(self) -> Vec<String> {
        let names: &[&str] = if self == Shape::Composite {
            &["store_id", "item"]
        } else {
            &["id"]
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// How many keys there are, of which about `rows` are there on a day.
pub(crate) fn keys(rows: u64) -> u64 {
    rows + rows / 100
}

/// The table on a day.
pub(crate) struct Table {
    shape: Shape,
    rows: u64,
    day: u16,
    /// The day on which the row of each key changed last.
    version: Vec<u16>,
    present: Vec<bool>,
}

impl Table {
    pub(crate) fn on_day(shape: Shape, rows: u64, day: u16) -> Result<Self> {
        let present: Vec<bool> = (0..keys(rows))
            .map(|key| !mix(key, IS_ABSENT).is_multiple_of(101))
            .collect();
        let mut table = Table {
            shape,
            rows,
            day: 0,
            version: vec![0; present.len()],
            present,
        };
        while table.day < day {
            table.next_day()?;
        }
        Ok(table)
    }

    pub(crate) fn keys(&self) -> u64 {
        keys(self.rows)
    }

    pub(crate) fn next_day(&mut self) -> Result {
        self.day += 1;
        for number in 0..self.rows / 1000 {
            let key = self.random_key(CHANGES, number)?;
            self.version[key] = self.day;
        }
        for number in 0..(self.rows / 100_000).max(1) {
            self.toggle(GOES, number)?;
            self.toggle(COMES, number)?;
        }
        Ok(())
    }

    fn random_key(&self, salt: u64, number: u64) -> Result<usize> {
        Ok(usize::try_from(
            mix(u64::from(self.day) << 32 | number, salt) % self.keys(),
        )?)
    }

    /// Lets a random key come or go, the first from there that can.
    fn toggle(&mut self, what: u64, number: u64) -> Result {
        let start = self.random_key(what, number)?;
        let mut from_there = (start..self.present.len()).chain(0..start);
        if let Some(key) = from_there.find(|key| self.present[*key] == (what == GOES)) {
            self.present[key] = what == COMES;
        }
        Ok(())
    }

    /// The rows of keys, in the order of the keys given.
    pub(crate) fn batch(&self, keys: impl IntoIterator<Item = u64>) -> Result<RecordBatch> {
        let mut present = Vec::new();
        for key in keys {
            let index = usize::try_from(key)?;
            if self.present[index] {
                present.push((key, self.version[index]));
            }
        }
        let mut columns = self.key_columns(&present);
        let name = StringArray::from_iter_values(
            present.iter().map(|(key, _)| format!("item number {key}")),
        );
        let category = StringArray::from_iter_values(
            present
                .iter()
                .map(|(key, _)| format!("category {}", mix(*key, TEXT) % 500)),
        );
        let listed = BooleanArray::from_iter(
            random(&present, 4).map(|value| Some(!value.is_multiple_of(3))),
        );
        let more: [(&str, ArrayRef); 8] = [
            ("name", Arc::new(name)),
            ("status", Arc::new(status(&present))),
            (
                "price",
                Arc::new(Float64Array::from_iter_values(
                    random(&present, 2).map(|value| (value % 1_000_000) as f64 / 100.0),
                )),
            ),
            ("stock", Arc::new(stock(&present))),
            ("category", Arc::new(category)),
            ("changed_on", Arc::new(changed_on(&present)?)),
            ("listed", Arc::new(listed)),
            ("updated_at", Arc::new(updated_at(&present)?)),
        ];
        let is_kept = |name: &str| match self.shape {
            Shape::Narrow => ["status", "price", "stock"].contains(&name),
            Shape::Source => name != "listed",
            Shape::Int | Shape::Text | Shape::Composite => name != "updated_at",
        };
        columns.extend(more.into_iter().filter(|(name, _)| is_kept(name)));
        Ok(RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )?)
    }

    fn key_columns(&self, present: &[(u64, u16)]) -> Vec<(&'static str, ArrayRef)> {
        // Text that looks random, in the order of the keys: each has a stretch of all numbers to
        // itself.
        let text = |prefix: &'static str, of: u64, place: fn(u64) -> u64| {
            let stretch = u64::MAX / of;
            let number = move |key| place(key) * stretch + mix(key, TEXT + 1) % stretch;
            Arc::new(StringArray::from_iter_values(
                present
                    .iter()
                    .map(|(key, _)| format!("{prefix}{:016x}", number(*key))),
            ))
        };
        match self.shape {
            Shape::Int | Shape::Narrow | Shape::Source => {
                vec![(
                    "id",
                    Arc::new(Int64Array::from_iter_values(
                        present.iter().map(|(key, _)| *key as i64),
                    )),
                )]
            }
            Shape::Text => vec![("id", text("SKU-", self.keys(), |key| key))],
            Shape::Composite => {
                let shops = Int32Array::from_iter_values(
                    present.iter().map(|(key, _)| (key / ITEMS_IN_SHOP) as i32),
                );
                vec![
                    ("store_id", Arc::new(shops)),
                    (
                        "item",
                        text("item-", ITEMS_IN_SHOP, |key| key % ITEMS_IN_SHOP),
                    ),
                ]
            }
        }
    }
}

/// A random number for each row, which changes with it.
fn random(present: &[(u64, u16)], salt: u64) -> impl Iterator<Item = u64> {
    present
        .iter()
        .map(move |(key, version)| mix(*key, u64::from(*version) * 16 + salt))
}

fn status(present: &[(u64, u16)]) -> StringArray {
    let name = |value: u64| match value % 4 {
        0 => "ACTIVE",
        1 => "PAUSED",
        2 => "SOLD OUT",
        _ => "GONE",
    };
    StringArray::from_iter_values(random(present, 1).map(name))
}

/// Null for one row in fifty.
fn stock(present: &[(u64, u16)]) -> Int32Array {
    random(present, 3)
        .map(|value| (!value.is_multiple_of(50)).then_some((value / 50 % 1000) as i32))
        .collect()
}

/// The day of the last change; some day of the years before if there was none.
fn changed_on(present: &[(u64, u16)]) -> Result<Date32Array> {
    let first = i32::try_from((FIRST - chrono::NaiveDate::default()).num_days())?;
    Ok(Date32Array::from_iter_values(present.iter().map(
        |(key, version)| match version {
            0 => first - 1 - (mix(*key, TEXT + 2) % 900) as i32,
            day => first + i32::from(*day),
        },
    )))
}

/// A moment of the day of the last change, in whole milliseconds.
fn updated_at(present: &[(u64, u16)]) -> Result<TimestampMicrosecondArray> {
    let days = changed_on(present)?;
    let moments = days
        .values()
        .iter()
        .zip(random(present, 5))
        .map(|(day, value)| {
            (i64::from(*day) * MILLISECONDS_OF_DAY + (value % MILLISECONDS_OF_DAY as u64) as i64)
                * 1000
        });
    Ok(TimestampMicrosecondArray::from_iter_values(moments))
}
