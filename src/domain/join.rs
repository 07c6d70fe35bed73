//! The as-of join: one key table with its versions, probed by the events of any date.
//!
//! A [`Versions`] maps a key to the versions of its row, each over an interval. Rows themselves stay where the caller has
//! them; the index answers with row numbers. It is built once for the dates of a window and probed, read-only, by each
//! date's events, on as many threads as there are. A probe goes from the key to its latest version, and from there back
//! to the one that holds on the date.
//!
//! When two keys are equal is said in [`super::digest`]. A key of one integer column is held as that integer, which
//! is the same rule without the digest: an event's float meets it if it is that whole number. All others are held as digests.
//!
//! Memory: 12 bytes a version; a key takes 4 bytes times its share of the range where integers lie close, and otherwise the map's
//! entry, 16 bytes for an integer and 32 for a digest, with its slack.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use chrono::{Datelike, NaiveDate};
use hashbrown::HashMap;

use super::digest::key_digests;
use super::interval::Interval;
use crate::error::{Error, Result};

/// What an as-of join keeps of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JoinKind {
    /// Events that have a row, with its columns.
    Inner,
    /// Every event exactly once, with nulls where there is no row.
    Left,
    /// Events that have a row, without its columns.
    Semi,
    /// Events that have no row, without its columns.
    Anti,
}

impl JoinKind {
    /// Whether the output has the table's columns.
    pub fn adds_columns(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left)
    }
}

/// The end of a version that is open.
const NO_END: i32 = i32::MAX;
/// In the place of a row's number: there is none.
const NONE: u32 = u32::MAX;
/// An array over a range of integers is used if the range is at most this many times their number.
const SPARSEST: u64 = 8;

/// How keys are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// As the integers that they are.
    Integers,
    /// As digests.
    Digests,
}

impl KeyKind {
    /// How the keys of a table are held whose key columns have these types.
    pub fn of(types: &[&DataType]) -> Self {
        use DataType as T;
        match types {
            [T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32] => KeyKind::Integers,
            _ => KeyKind::Digests,
        }
    }
}

/// Keys of rows or of events. One with a null is null, and so is one that no key of a table can be equal to.
pub enum Keys {
    /// Of one column.
    Integers(Int64Array),
    /// Of any columns.
    Digests(Vec<Option<u128>>),
}

impl Keys {
    /// The keys that stand in columns.
    ///
    /// # Errors
    /// A refusal for a type that cannot be compared.
    pub fn of(kind: KeyKind, columns: &[ArrayRef]) -> Result<Self> {
        match (kind, columns) {
            (KeyKind::Integers, [column]) => Ok(Keys::Integers(integers(column))),
            _ => Ok(Keys::Digests(key_digests(columns)?)),
        }
    }
}

/// The integers that values are equal to; a value that is equal to none is null.
fn integers(column: &ArrayRef) -> Int64Array {
    fn whole<T: ArrowPrimitiveType>(column: &ArrayRef) -> Int64Array
    where
        T::Native: Into<i64>,
    {
        let values: &PrimitiveArray<T> = column.as_primitive();
        values.unary(Into::into)
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().clone(),
        DataType::Int8 => whole::<Int8Type>(column),
        DataType::Int16 => whole::<Int16Type>(column),
        DataType::Int32 => whole::<Int32Type>(column),
        DataType::UInt8 => whole::<UInt8Type>(column),
        DataType::UInt16 => whole::<UInt16Type>(column),
        DataType::UInt32 => whole::<UInt32Type>(column),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().unary_opt(|value| i64::try_from(value).ok()),
        DataType::Float32 => column.as_primitive::<Float32Type>().unary_opt(|value| whole_number(f64::from(value))),
        DataType::Float64 => column.as_primitive::<Float64Type>().unary_opt(whole_number),
        _ => Int64Array::new_null(column.len()),
    }
}

/// The integer that a float is.
fn whole_number(value: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation, reason = "a whole number from -2^63 up to, and without, 2^63")]
    (value.fract() == 0.0 && (-BEYOND..BEYOND).contains(&value)).then_some(value as i64)
}

/// A row, as long as it holds, and the version of its key before it.
#[derive(Clone, Copy)]
struct Version {
    start: i32,
    end: i32,
    before: u32,
}

/// Gathers versions, and makes the index of them.
pub struct VersionsBuilder {
    keys: Gathered,
    versions: Vec<Version>,
}

enum Gathered {
    Integers(Vec<i64>),
    Digests(Vec<u128>),
}

/// The versions of each key; see the module.
pub struct Versions {
    latest: Latest,
    versions: Vec<Version>,
}

/// The row of each key's latest version.
enum Latest {
    /// By the key's distance from the least one.
    Close(i64, Vec<u32>),
    Integers(HashMap<i64, u32>),
    Digests(HashMap<u128, u32>),
}

fn day(date: NaiveDate) -> i32 {
    date.num_days_from_ce()
}

impl VersionsBuilder {
    /// An index of keys of this kind.
    pub fn new(kind: KeyKind) -> Self {
        let keys = match kind {
            KeyKind::Integers => Gathered::Integers(Vec::new()),
            KeyKind::Digests => Gathered::Digests(Vec::new()),
        };
        VersionsBuilder { keys, versions: Vec::new() }
    }

    /// How its keys are held.
    pub fn kind(&self) -> KeyKind {
        match self.keys {
            Gathered::Integers(_) => KeyKind::Integers,
            Gathered::Digests(_) => KeyKind::Digests,
        }
    }

    /// Adds the versions of the next rows. Versions of one key come in order of their start.
    ///
    /// # Errors
    /// A refusal of a key that is null, and of more rows than are counted.
    pub fn push(&mut self, keys: &Keys, intervals: &[Interval]) -> Result<()> {
        let null = || Error::refused("a key is null").hint("asof verify");
        match (&mut self.keys, keys) {
            (Gathered::Integers(all), Keys::Integers(keys)) if keys.null_count() == 0 => all.extend_from_slice(keys.values()),
            (Gathered::Digests(all), Keys::Digests(keys)) => {
                for key in keys {
                    all.push(key.ok_or_else(null)?);
                }
            }
            _ => return Err(null()),
        }
        let version = |interval: &Interval| Version { start: day(interval.start), end: interval.end.map_or(NO_END, day), before: NONE };
        self.versions.extend(intervals.iter().map(version));
        if self.versions.len() >= NONE as usize {
            return Err(Error::refused("more than 4,294,967,294 versions in one join"));
        }
        Ok(())
    }

    /// The size of what was gathered and of the index that will be made of it, in bytes, at most about.
    pub fn bytes(&self) -> usize {
        let each = match self.kind() {
            KeyKind::Integers => size_of::<i64>() + 40,
            KeyKind::Digests => size_of::<u128>() + 70,
        };
        self.versions.len() * (size_of::<Version>() + each)
    }

    /// The index.
    ///
    /// # Errors
    /// A refusal if two versions of one key hold at once: the table is damaged.
    pub fn finish(self) -> Result<Versions> {
        let VersionsBuilder { keys, mut versions } = self;
        let mut link = |row: usize, before: Option<u32>| {
            let before = before.filter(|before| *before != NONE);
            if let Some(before) = before {
                if versions[before as usize].end >= versions[row].start {
                    return Err(Error::refused("two rows of one key hold on one date").hint("asof verify"));
                }
                versions[row].before = before;
            }
            Ok(())
        };
        let rows = 0u32..;
        let latest = match keys {
            Gathered::Integers(keys) => {
                let (least, greatest) =
                    keys.iter().fold((i64::MAX, i64::MIN), |(least, greatest), key| (least.min(*key), greatest.max(*key)));
                let range = if keys.is_empty() { 0 } else { greatest.abs_diff(least) };
                match usize::try_from(range) {
                    Ok(length) if range < SPARSEST * keys.len() as u64 => {
                        let mut latest = vec![NONE; length + 1];
                        for (row, key) in rows.zip(&keys) {
                            let place = &mut latest[close(*key, least)];
                            link(row as usize, Some(std::mem::replace(place, row)))?;
                        }
                        Latest::Close(least, latest)
                    }
                    _ => {
                        let mut latest = HashMap::with_capacity(keys.len());
                        for (row, key) in rows.zip(&keys) {
                            link(row as usize, latest.insert(*key, row))?;
                        }
                        Latest::Integers(latest)
                    }
                }
            }
            Gathered::Digests(keys) => {
                let mut latest = HashMap::with_capacity(keys.len());
                for (row, key) in rows.zip(&keys) {
                    link(row as usize, latest.insert(*key, row))?;
                }
                Latest::Digests(latest)
            }
        };
        Ok(Versions { latest, versions })
    }
}

/// Where a key stands in an array that begins with the least one; out of the array for one below.
fn close(key: i64, least: i64) -> usize {
    #[allow(clippy::cast_sign_loss, reason = "a key below the least wraps, and is beyond every array")]
    usize::try_from(key.wrapping_sub(least) as u64).unwrap_or(usize::MAX)
}

impl Versions {
    /// How its keys are held, and how those of events must be.
    pub fn kind(&self) -> KeyKind {
        match self.latest {
            Latest::Close(..) | Latest::Integers(_) => KeyKind::Integers,
            Latest::Digests(_) => KeyKind::Digests,
        }
    }

    /// How many versions there are.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// The row of each key's latest version. The loops are small and do nothing else, so that the processor waits for many look-ups at once.
    fn latest(&self, keys: &Keys) -> Vec<u32> {
        fn each(keys: &Int64Array, row: impl Fn(i64) -> Option<u32>) -> Vec<u32> {
            match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => keys.values().iter().map(|key| row(*key).unwrap_or(NONE)).collect(),
                Some(_) => keys.iter().map(|key| key.and_then(&row).unwrap_or(NONE)).collect(),
            }
        }
        match (&self.latest, keys) {
            (Latest::Close(least, latest), Keys::Integers(keys)) => each(keys, |key| latest.get(close(key, *least)).copied()),
            (Latest::Integers(latest), Keys::Integers(keys)) => each(keys, |key| latest.get(&key).copied()),
            (Latest::Digests(latest), Keys::Digests(keys)) => {
                keys.iter().map(|key| key.and_then(|key| latest.get(&key).copied()).unwrap_or(NONE)).collect()
            }
            (_, Keys::Integers(keys)) => vec![NONE; keys.len()],
            (_, Keys::Digests(keys)) => vec![NONE; keys.len()],
        }
    }

    /// Of a version and those of its key before it, the one that holds on a day.
    fn holding(&self, mut row: u32, day: i32) -> u32 {
        while let Some(version) = self.versions.get(row as usize) {
            if version.start <= day {
                return if day <= version.end { row } else { NONE };
            }
            row = version.before;
        }
        NONE
    }

    /// Probes with the events' keys and says which events stay, by index in their order, and which
    /// row each meets. A key that is null meets none.
    pub fn probe(&self, kind: JoinKind, keys: &Keys, date: NaiveDate) -> Matches {
        let mut rows = self.latest(keys);
        let day = day(date);
        rows.iter_mut().for_each(|row| *row = self.holding(*row, day));
        let found = rows.iter().filter(|row| **row != NONE).count();
        let matched = found as u64;
        if found == rows.len() && kind != JoinKind::Anti || kind == JoinKind::Left {
            let nulls = (found < rows.len()).then(|| rows.iter().map(|row| *row != NONE).collect::<NullBuffer>());
            rows.iter_mut().filter(|row| **row == NONE).for_each(|row| *row = 0);
            return Matches { events: None, rows: UInt32Array::new(rows.into(), nulls), matched };
        }
        let stays = |row: &u32| (*row == NONE) == (kind == JoinKind::Anti);
        let events = (0u32..).zip(&rows).filter(|(_, row)| stays(row)).map(|(event, _)| event).collect();
        rows.retain(stays);
        let nulls = (kind == JoinKind::Anti).then(|| NullBuffer::new_null(rows.len()));
        Matches { events: Some(events), rows: UInt32Array::new(rows.into(), nulls), matched }
    }
}

/// The outcome of a probe.
#[derive(Debug, PartialEq)]
pub struct Matches {
    /// The events that stay, ascending; `None` for all of them.
    pub events: Option<Vec<u32>>,
    /// The row that each of them meets; null for none.
    pub rows: UInt32Array,
    /// How many events met a row, whether they stay or not.
    pub matched: u64,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Float64Array, Int32Array, StringArray, UInt64Array};
    use proptest::prelude::*;

    use super::*;
    use crate::model::parse_date;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn keys(keys: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(keys.to_vec()))
    }

    /// An index by integers that lie close, one by integers that do not, and one by digests.
    fn indices(rows: &[(i64, Interval)]) -> [(Result<Versions>, i64); 3] {
        [(KeyKind::Integers, 1), (KeyKind::Integers, 1 << 40), (KeyKind::Digests, 1)].map(|(kind, apart)| {
            let mut builder = VersionsBuilder::new(kind);
            for (key, interval) in rows {
                let keys = Keys::of(kind, &[keys(&[Some(key * apart)])]).expect("keys");
                builder.push(&keys, &[*interval]).expect("not null");
            }
            (builder.finish(), apart)
        })
    }

    fn span(start: &str, end: Option<&str>) -> Interval {
        Interval { start: date(start), end: end.map(date) }
    }

    fn versions() -> [(Versions, i64); 3] {
        let rows =
            [(1, span("2024-01-01", Some("2024-01-03"))), (2, span("2024-01-02", Some("2024-01-02"))), (1, span("2024-01-05", None))];
        indices(&rows).map(|(versions, apart)| (versions.expect("in order"), apart))
    }

    fn probe(versions: &Versions, kind: JoinKind, events: &ArrayRef, date: NaiveDate) -> Matches {
        versions.probe(kind, &Keys::of(versions.kind(), std::slice::from_ref(events)).expect("keys"), date)
    }

    #[test]
    fn each_date_meets_the_version_that_held() {
        for (versions, apart) in versions() {
            let find = |key: i64, day: &str| {
                let found = probe(&versions, JoinKind::Left, &keys(&[Some(key * apart)]), date(day));
                found.rows.iter().next().flatten()
            };
            let rows: Vec<Option<u32>> = (1..=6).map(|day| find(1, &format!("2024-01-0{day}"))).collect();
            assert_eq!(rows, [Some(0), Some(0), Some(0), None, Some(2), Some(2)]);
            assert_eq!(find(1, "2023-12-31"), None);
            assert_eq!(find(2, "2024-01-02"), Some(1));
            assert_eq!(find(2, "2024-01-03"), None);
            assert_eq!((find(3, "2024-01-02"), find(-3, "2024-01-02")), (None, None));
        }
    }

    #[test]
    fn each_kind_keeps_its_events_in_their_order() {
        for (versions, apart) in versions() {
            let events = keys(&[Some(2 * apart), None, Some(apart), Some(3 * apart), Some(2 * apart)]);
            let probe = |kind| probe(&versions, kind, &events, date("2024-01-02"));
            assert_eq!(probe(JoinKind::Left).events, None);
            assert_eq!(probe(JoinKind::Left).rows, UInt32Array::from(vec![Some(1), None, Some(0), None, Some(1)]));
            assert_eq!(probe(JoinKind::Inner).events, Some(vec![0, 2, 4]));
            assert_eq!(probe(JoinKind::Semi), probe(JoinKind::Inner));
            assert_eq!(probe(JoinKind::Anti).events, Some(vec![1, 3]));
            assert_eq!(probe(JoinKind::Anti).matched, 3);
        }
    }

    #[test]
    fn versions_that_overlap_are_refused() {
        let first = (2, span("2024-01-02", None));
        for (versions, _) in indices(&[first, (1, first.1), (2, span("2024-02-01", None))]) {
            assert!(versions.is_err(), "the one before is open");
        }
    }

    /// Numbers around which types and equality are delicate.
    fn number() -> impl Strategy<Value = f64> {
        let delicate = [0.0, -0.0, 0.5, 5.0, -5.0, 9_007_199_254_740_992.0, 9.3e18, -9.3e18, 9_223_372_036_854_775_808.0, f64::NAN];
        prop_oneof![proptest::sample::select(delicate.to_vec()), (-20i32..20).prop_map(f64::from)]
    }

    proptest! {
        #[test]
        fn integers_meet_what_their_digests_meet(
            table in proptest::collection::btree_set(prop_oneof![-20i64..20, Just(i64::MAX), Just(i64::MIN), Just(1 << 53), Just((1 << 53) + 1)], 0..20),
            events in proptest::collection::vec(proptest::option::of(number()), 1..40),
        ) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "values of every type are wanted")]
            let columns: [ArrayRef; 6] = [
                Arc::new(Float64Array::from(events.clone())),
                Arc::new(Float32Array::from_iter(events.iter().map(|value| value.map(|value| value as f32)))),
                Arc::new(Int64Array::from_iter(events.iter().map(|value| value.map(|value| value as i64)))),
                Arc::new(Int32Array::from_iter(events.iter().map(|value| value.map(|value| value as i32)))),
                Arc::new(UInt64Array::from_iter(events.iter().map(|value| value.map(|value| value as u64)))),
                Arc::new(StringArray::from_iter(events.iter().map(|value| value.map(|value| value.to_string())))),
            ];
            let always = Interval { start: NaiveDate::MIN, end: None };
            let table: ArrayRef = Arc::new(Int64Array::from_iter_values(table));
            let index = |kind| {
                let mut builder = VersionsBuilder::new(kind);
                builder.push(&Keys::of(kind, std::slice::from_ref(&table)).expect("keys"), &vec![always; table.len()]).expect("no nulls");
                builder.finish().expect("no key stands twice")
            };
            let (integers, digests) = (index(KeyKind::Integers), index(KeyKind::Digests));
            for column in columns {
                for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Anti] {
                    let (one, other) = (probe(&integers, kind, &column, NaiveDate::MAX), probe(&digests, kind, &column, NaiveDate::MAX));
                    prop_assert_eq!(one, other);
                }
            }
        }
    }
}
