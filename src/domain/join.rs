//! The as-of join: one key table with its versions, probed by the events of any date.
//!
//! A [`Versions`] knows the versions of each key's row, each over an interval. Rows themselves stay
//! where the caller has them; the index answers with row numbers. It is built once for the dates of
//! a window. For a date, [`Versions::on`] gives each key the row that holds on it, in one pass over
//! the versions and without touching the keys; that is probed, read-only, by the date's events. For
//! events of many dates, [`Versions::on_each`] has the versions of each key in order, in which each
//! event searches for its own date.
//!
//! When two keys are equal is said in [`super::digest`]. A key of one integer column is held as
//! that integer, which is the same rule without the digest: an event's float or decimal meets it if
//! it is that whole number. All others are held as digests.
//!
//! A probe is a few small loops over a batch, each of which does one thing for every key and waits
//! for none, so that the processor looks many keys up at once.
//!
//! Memory: 12 bytes a version; for each key the map's entry, 16 bytes for an integer and 32 for a
//! digest, with its slack, and two bytes of a filter before it, but nothing where integers lie
//! close to one another. For each date that is being run 4 bytes a key, or a number of the range
//! that close integers lie in; for events of many dates 4 bytes a key and 4 a version.

use std::hash::{BuildHasher, Hash, RandomState};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use chrono::{Datelike, NaiveDate};
use hashbrown::HashMap;

use super::digest::{key_digests, whole_decimal};
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
pub const NO_ROW: u32 = u32::MAX;
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
            [T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32] => {
                KeyKind::Integers
            }
            _ => KeyKind::Digests,
        }
    }
}

/// Keys of rows or of events. One with a null is null, and so is one that no key of a table can be
/// equal to.
pub enum Keys {
    /// Of one column.
    Integers(Int64Array),
    /// Of any columns.
    Digests(Vec<Option<u128>>),
}

impl Keys {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Keys::Integers(keys) => keys.len(),
            Keys::Digests(keys) => keys.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

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
        DataType::UInt64 => column
            .as_primitive::<UInt64Type>()
            .unary_opt(|value| i64::try_from(value).ok()),
        DataType::Float32 => column
            .as_primitive::<Float32Type>()
            .unary_opt(|value| whole_number(f64::from(value))),
        DataType::Float64 => column.as_primitive::<Float64Type>().unary_opt(whole_number),
        DataType::Decimal128(_, scale) => {
            let whole =
                |value| whole_decimal(value, *scale).and_then(|whole| i64::try_from(whole).ok());
            column.as_primitive::<Decimal128Type>().unary_opt(whole)
        }
        _ => Int64Array::new_null(column.len()),
    }
}

/// The integer that a float is.
fn whole_number(value: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a whole number from -2^63 up to, and without, 2^63"
    )]
    (value.fract() == 0.0 && (-BEYOND..BEYOND).contains(&value)).then_some(value as i64)
}

/// A row, as long as it holds, and where its key stands.
#[derive(Clone, Copy)]
struct Version {
    start: i32,
    end: i32,
    place: u32,
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
    places: Places,
    /// How many places there are.
    count: usize,
    versions: Vec<Version>,
}

/// Where each key stands.
enum Places {
    /// At its distance from the least one.
    Close(i64),
    Integers(HashMap<i64, u32>, Filter),
    Digests(HashMap<u128, u32>, Filter),
}

/// The row of each key that holds on a date.
pub struct VersionsOn<'a> {
    places: &'a Places,
    /// By place.
    rows: Vec<u32>,
}

/// The versions of each key in order of their start, for events of many dates at a time.
pub struct VersionsOnEach<'a> {
    versions: &'a Versions,
    /// Where the versions of each place begin in `rows`, and where those of the last one end.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

/// A date as a number of days, the first of which is January 1 of the year 1.
pub fn day(date: NaiveDate) -> i32 {
    date.num_days_from_ce()
}

impl VersionsBuilder {
    /// An index of keys of this kind.
    pub fn new(kind: KeyKind) -> Self {
        let keys = match kind {
            KeyKind::Integers => Gathered::Integers(Vec::new()),
            KeyKind::Digests => Gathered::Digests(Vec::new()),
        };
        VersionsBuilder {
            keys,
            versions: Vec::new(),
        }
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
            (Gathered::Integers(all), Keys::Integers(keys)) if keys.null_count() == 0 => {
                all.extend_from_slice(keys.values())
            }
            (Gathered::Digests(all), Keys::Digests(keys)) => {
                for key in keys {
                    all.push(key.ok_or_else(null)?);
                }
            }
            _ => return Err(null()),
        }
        let version = |interval: &Interval| Version {
            start: day(interval.start),
            end: interval.end.map_or(NO_END, day),
            place: 0,
        };
        self.versions.extend(intervals.iter().map(version));
        if self.versions.len() >= NO_ROW as usize {
            return Err(Error::refused(
                "more than 4,294,967,294 versions in one join",
            ));
        }
        Ok(())
    }

    /// The size of what was gathered and of the index that will be made of it, in bytes, at most
    /// about.
    pub fn bytes(&self) -> usize {
        let each = match self.kind() {
            KeyKind::Integers => size_of::<i64>() + 44,
            KeyKind::Digests => size_of::<u128>() + 76,
        };
        self.versions.len() * (size_of::<Version>() + each)
    }

    /// The index.
    ///
    /// # Errors
    /// A refusal if two versions of one key hold at once: the table is damaged.
    pub fn finish(self) -> Result<Versions> {
        let VersionsBuilder { keys, mut versions } = self;
        let (places, count) = match keys {
            Gathered::Integers(keys) => {
                let (least, greatest) = keys
                    .iter()
                    .fold((i64::MAX, i64::MIN), |(least, greatest), key| {
                        (least.min(*key), greatest.max(*key))
                    });
                let range = if keys.is_empty() {
                    0
                } else {
                    greatest.abs_diff(least)
                };
                match u32::try_from(range) {
                    Ok(length) if range < SPARSEST * keys.len() as u64 && length < NO_ROW => {
                        for (version, key) in versions.iter_mut().zip(&keys) {
                            version.place = u32::try_from(close(*key, least)).unwrap_or(NO_ROW);
                        }
                        (Places::Close(least), length as usize + 1)
                    }
                    _ => {
                        let places = numbered(&keys, &mut versions);
                        #[allow(clippy::cast_sign_loss, reason = "bits are mixed")]
                        let filter = Filter::of(places.keys().map(|key| *key as u64));
                        let count = places.len();
                        (Places::Integers(places, filter), count)
                    }
                }
            }
            Gathered::Digests(keys) => {
                let places = numbered(&keys, &mut versions);
                #[allow(
                    clippy::cast_possible_truncation,
                    reason = "a digest is random in every part"
                )]
                let filter = Filter::of(places.keys().map(|key| *key as u64));
                let count = places.len();
                (Places::Digests(places, filter), count)
            }
        };
        let mut ends = vec![i32::MIN; count];
        for version in &versions {
            let end = &mut ends[version.place as usize];
            if *end >= version.start {
                return Err(
                    Error::refused("two rows of one key hold on one date").hint("asof verify")
                );
            }
            *end = version.end;
        }
        Ok(Versions {
            places,
            count,
            versions,
        })
    }
}

/// Numbers keys, and tells each version the number of its own.
fn numbered<K: Copy + Eq + Hash>(keys: &[K], versions: &mut [Version]) -> HashMap<K, u32> {
    let mut numbers = HashMap::new();
    for (version, key) in versions.iter_mut().zip(keys) {
        let next = u32::try_from(numbers.len()).unwrap_or(NO_ROW);
        version.place = *numbers.entry(*key).or_insert(next);
    }
    numbers
}

/// Where a key stands in an array that begins with the least one; out of the array for one below.
fn close(key: i64, least: i64) -> usize {
    #[allow(
        clippy::cast_sign_loss,
        reason = "a key below the least wraps, and is beyond every array"
    )]
    usize::try_from(key.wrapping_sub(least) as u64).unwrap_or(usize::MAX)
}

impl Versions {
    /// How many versions there are.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// The rows that hold on a date.
    pub fn on(&self, date: NaiveDate) -> VersionsOn<'_> {
        let day = day(date);
        let mut rows = vec![NO_ROW; self.count];
        for (row, version) in (0u32..).zip(&self.versions) {
            if version.start <= day && day <= version.end {
                rows[version.place as usize] = row;
            }
        }
        VersionsOn {
            places: &self.places,
            rows,
        }
    }

    /// The rows that hold on the date of each event.
    pub fn on_each(&self) -> VersionsOnEach<'_> {
        let mut starts = vec![0u32; self.count + 1];
        for version in &self.versions {
            starts[version.place as usize + 1] += 1;
        }
        for place in 0..self.count {
            starts[place + 1] += starts[place];
        }
        let mut next = starts.clone();
        let mut rows = vec![NO_ROW; self.versions.len()];
        for (row, version) in (0u32..).zip(&self.versions) {
            let at = &mut next[version.place as usize];
            rows[*at as usize] = row;
            *at += 1;
        }
        VersionsOnEach {
            versions: self,
            starts,
            rows,
        }
    }

    fn kind(&self) -> KeyKind {
        self.places.kind()
    }
}

impl VersionsOnEach<'_> {
    /// How keys are held, and how those of events must be.
    pub fn kind(&self) -> KeyKind {
        self.versions.kind()
    }

    /// Probes with the events' keys, each on its own day, and says which events stay, and which row
    /// each meets.
    pub fn probe(&self, kind: JoinKind, keys: &Keys, days: &[i32]) -> Matches {
        let row = |event: usize, place: usize| {
            // A place that is not there is that of a key out of the array.
            let ends = self
                .starts
                .get(place)
                .zip(place.checked_add(1).and_then(|next| self.starts.get(next)));
            let rows = ends
                .and_then(|(from, to)| self.rows.get(*from as usize..*to as usize))
                .unwrap_or_default();
            let version = |row: &u32| &self.versions.versions[*row as usize];
            let later = rows.partition_point(|row| version(row).start <= days[event]);
            let last = rows[..later]
                .last()
                .filter(|row| days[event] <= version(row).end);
            last.copied().unwrap_or(NO_ROW)
        };
        matches(kind, self.versions.places.met(keys, row))
    }
}

impl Places {
    fn kind(&self) -> KeyKind {
        match self {
            Places::Close(..) | Places::Integers(..) => KeyKind::Integers,
            Places::Digests(..) => KeyKind::Digests,
        }
    }

    /// The row that each key meets; `row` says which one an event meets at a key's place. A key
    /// that is null meets none.
    fn met(&self, keys: &Keys, row: impl Fn(usize, usize) -> u32) -> Vec<u32> {
        let put = |events: Vec<u32>, places: Vec<Option<u32>>| {
            let mut rows = vec![NO_ROW; keys.len()];
            for (event, place) in events.into_iter().zip(places) {
                let event = event as usize;
                rows[event] = place.map_or(NO_ROW, |place| row(event, place as usize));
            }
            rows
        };
        match (self, keys) {
            (Places::Close(least), Keys::Integers(keys)) => {
                let mut rows: Vec<u32> = keys
                    .values()
                    .iter()
                    .enumerate()
                    .map(|(event, key)| row(event, close(*key, *least)))
                    .collect();
                if let Some(nulls) = keys.nulls().filter(|nulls| nulls.null_count() > 0) {
                    for (row, is_valid) in rows.iter_mut().zip(nulls) {
                        *row = if is_valid { *row } else { NO_ROW };
                    }
                }
                rows
            }
            #[allow(clippy::cast_sign_loss, reason = "bits are mixed")]
            (Places::Integers(places, filter), Keys::Integers(keys)) => {
                let events = indices(
                    keys.values(),
                    |key| filter.may_hold(*key as u64),
                    keys.nulls(),
                );
                let found = events
                    .iter()
                    .map(|event| places.get(&keys.value(*event as usize)).copied())
                    .collect();
                put(events, found)
            }
            #[allow(
                clippy::cast_possible_truncation,
                reason = "a digest is random in every part"
            )]
            (Places::Digests(places, filter), Keys::Digests(keys)) => {
                let events = indices(
                    keys,
                    |key| key.is_some_and(|key| filter.may_hold(key as u64)),
                    None,
                );
                let found = events
                    .iter()
                    .map(|event| places.get(&keys[*event as usize]?).copied())
                    .collect();
                put(events, found)
            }
            _ => vec![NO_ROW; keys.len()],
        }
    }
}

impl VersionsOn<'_> {
    /// How keys are held, and how those of events must be.
    pub fn kind(&self) -> KeyKind {
        self.places.kind()
    }

    /// Probes with the events' keys and says which events stay, and which row each meets. A key
    /// that is null meets none.
    pub fn probe(&self, kind: JoinKind, keys: &Keys) -> Matches {
        matches(
            kind,
            self.places.met(keys, |_, place| {
                self.rows.get(place).copied().unwrap_or(NO_ROW)
            }),
        )
    }
}

/// Which events stay, from the row that each meets.
fn matches(kind: JoinKind, mut rows: Vec<u32>) -> Matches {
    let all = rows.len();
    let matched = rows.iter().filter(|row| **row != NO_ROW).count();
    let stay = match kind {
        JoinKind::Left => None,
        JoinKind::Inner | JoinKind::Semi if matched == all => None,
        JoinKind::Inner | JoinKind::Semi => {
            let stay = BooleanBuffer::collect_bool(all, |event| rows[event] != NO_ROW);
            let mut count = 0;
            for event in 0..all {
                let row = rows[event];
                rows[count] = row;
                count += usize::from(row != NO_ROW);
            }
            rows.truncate(count);
            Some(stay)
        }
        JoinKind::Anti => {
            let stay = BooleanBuffer::collect_bool(all, |event| rows[event] == NO_ROW);
            rows = vec![NO_ROW; all - matched];
            Some(stay)
        }
    };
    Matches {
        stay,
        rows,
        matched: matched as u64,
    }
}

/// The indices of the items that are wanted and not null. There is no branch that depends on an
/// item.
fn indices<T>(items: &[T], wanted: impl Fn(&T) -> bool, nulls: Option<&NullBuffer>) -> Vec<u32> {
    let mut indices = vec![0; items.len()];
    let mut count = 0;
    for (index, item) in (0u32..).zip(items) {
        indices[count] = index;
        count += usize::from(wanted(item));
    }
    indices.truncate(count);
    if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
        indices.retain(|index| nulls.is_valid(*index as usize));
    }
    indices
}

/// Which keys may be there: a bit for each, in about sixteen times as many bits as there are keys.
/// It is small enough to stay close to the processor.
struct Filter {
    bits: Vec<u64>,
    /// What a key's hash is shifted by to be the number of a bit.
    shift: u32,
    seed: u64,
}

impl Filter {
    fn of(keys: impl ExactSizeIterator<Item = u64>) -> Self {
        let bits = (keys.len() * 8)
            .next_power_of_two()
            .saturating_mul(2)
            .max(64);
        let mut filter = Filter {
            bits: vec![0; bits / 64],
            shift: 64 - bits.ilog2(),
            seed: RandomState::new().hash_one(0u8),
        };
        for key in keys {
            let bit = filter.bit(key);
            filter.bits[bit / 64] |= 1 << (bit % 64);
        }
        filter
    }

    fn bit(&self, key: u64) -> usize {
        usize::try_from((key ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift)
            .unwrap_or(0)
    }

    fn may_hold(&self, key: u64) -> bool {
        let bit = self.bit(key);
        self.bits
            .get(bit / 64)
            .is_some_and(|bits| bits >> (bit % 64) & 1 == 1)
    }
}

/// The outcome of a probe.
#[derive(Debug, PartialEq)]
pub struct Matches {
    /// Which events stay; `None` for all of them.
    pub stay: Option<BooleanBuffer>,
    /// The row that each of them meets, or [`NO_ROW`].
    pub rows: Vec<u32>,
    /// How many events met a row, whether they stay or not.
    pub matched: u64,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Decimal128Array, Float32Array, Float64Array, Int32Array, StringArray, UInt64Array,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::model::parse_date;

    use chrono::Days;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn keys(keys: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(keys.to_vec()))
    }

    /// An index by integers that lie close, one by integers that do not, and one by digests.
    fn indices(rows: &[(i64, Interval)]) -> [(Result<Versions>, i64); 3] {
        [
            (KeyKind::Integers, 1),
            (KeyKind::Integers, 1 << 40),
            (KeyKind::Digests, 1),
        ]
        .map(|(kind, apart)| {
            let mut builder = VersionsBuilder::new(kind);
            for (key, interval) in rows {
                let keys = Keys::of(kind, &[keys(&[Some(key * apart)])]).expect("keys");
                builder.push(&keys, &[*interval]).expect("not null");
            }
            (builder.finish(), apart)
        })
    }

    fn span(start: &str, end: Option<&str>) -> Interval {
        Interval {
            start: date(start),
            end: end.map(date),
        }
    }

    fn versions() -> [(Versions, i64); 3] {
        let rows = [
            (1, span("2024-01-01", Some("2024-01-03"))),
            (2, span("2024-01-02", Some("2024-01-02"))),
            (1, span("2024-01-05", None)),
        ];
        indices(&rows).map(|(versions, apart)| (versions.expect("in order"), apart))
    }

    fn probe(versions: &Versions, kind: JoinKind, events: &ArrayRef, date: NaiveDate) -> Matches {
        let on = versions.on(date);
        on.probe(
            kind,
            &Keys::of(on.kind(), std::slice::from_ref(events)).expect("keys"),
        )
    }

    #[test]
    fn each_date_meets_the_version_that_held() {
        for (versions, apart) in versions() {
            let find = |key: i64, day: &str| {
                let found = probe(
                    &versions,
                    JoinKind::Left,
                    &keys(&[Some(key * apart)]),
                    date(day),
                );
                found.rows.into_iter().next().filter(|row| *row != NO_ROW)
            };
            let rows: Vec<Option<u32>> = (1..=6)
                .map(|day| find(1, &format!("2024-01-0{day}")))
                .collect();
            assert_eq!(rows, [Some(0), Some(0), Some(0), None, Some(2), Some(2)]);
            assert_eq!(find(1, "2023-12-31"), None);
            assert_eq!(find(2, "2024-01-02"), Some(1));
            assert_eq!(find(2, "2024-01-03"), None);
            assert_eq!(
                (find(3, "2024-01-02"), find(-3, "2024-01-02")),
                (None, None)
            );
        }
    }

    #[test]
    fn each_kind_keeps_its_events_in_their_order() {
        for (versions, apart) in versions() {
            let events = keys(&[
                Some(2 * apart),
                None,
                Some(apart),
                Some(3 * apart),
                Some(2 * apart),
            ]);
            let probe = |kind| probe(&versions, kind, &events, date("2024-01-02"));
            let stay = |events: [bool; 5]| Some(BooleanBuffer::from(events.to_vec()));
            let left = Matches {
                stay: None,
                rows: vec![1, NO_ROW, 0, NO_ROW, 1],
                matched: 3,
            };
            assert_eq!(probe(JoinKind::Left), left);
            let inner = Matches {
                stay: stay([true, false, true, false, true]),
                rows: vec![1, 0, 1],
                matched: 3,
            };
            assert_eq!(
                (probe(JoinKind::Inner), probe(JoinKind::Semi)),
                (inner, probe(JoinKind::Inner))
            );
            let anti = Matches {
                stay: stay([false, true, false, true, false]),
                rows: vec![NO_ROW; 2],
                matched: 3,
            };
            assert_eq!(probe(JoinKind::Anti), anti);
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
        let delicate = [
            0.0,
            -0.0,
            0.5,
            5.0,
            -5.0,
            9_007_199_254_740_992.0,
            9.3e18,
            -9.3e18,
            9_223_372_036_854_775_808.0,
            f64::NAN,
        ];
        prop_oneof![
            proptest::sample::select(delicate.to_vec()),
            (-20i32..20).prop_map(f64::from)
        ]
    }

    proptest! {
        #[test]
        fn events_of_many_dates_meet_what_those_of_each_date_meet(
            // Of each key: how many days until the next version starts, and how many of them it
            // holds; none for all.
            table in proptest::collection::vec((0i64..12, proptest::collection::vec((1u64..5, proptest::option::of(0u64..4)), 1..6)), 0..10),
            events in proptest::collection::vec((proptest::option::of(-2i64..14), 0u64..24), 0..40),
            distance in prop_oneof![Just(1i64), Just(1_000_003)],
        ) {
            let first = date("2024-02-20");
            let after = |days: u64| first + Days::new(days);
            let mut rows: Vec<(i64, Interval)> = Vec::new();
            for (key, versions) in table.into_iter().collect::<std::collections::BTreeMap<_, _>>() {
                let mut start = 2;
                for (days, held) in versions {
                    let end = held.map_or(days - 1, |held| held.min(days - 1));
                    rows.push((key * distance, Interval { start: after(start), end: Some(after(start + end)) }));
                    start += days;
                }
                rows.push((key * distance, Interval { start: after(start), end: None }));
            }
            let key_of = |key: Option<i64>| key.map(|key| key * distance);
            for kind in [KeyKind::Integers, KeyKind::Digests] {
                let mut builder = VersionsBuilder::new(kind);
                let (table, intervals): (Vec<_>, Vec<_>) = rows.iter().copied().map(|(key, interval)| (Some(key), interval)).unzip();
                builder.push(&Keys::of(kind, &[keys(&table)]).expect("keys"), &intervals).expect("no nulls");
                let versions = builder.finish().expect("versions of one key do not overlap");
                let columns = keys(&events.iter().map(|(key, _)| key_of(*key)).collect::<Vec<_>>());
                let days: Vec<i32> = events.iter().map(|(_, day)| super::day(after(*day))).collect();
                let found = versions.on_each().probe(JoinKind::Left, &Keys::of(kind, &[columns]).expect("keys"), &days);
                let alone = events.iter().map(|(key, day)| probe(&versions, JoinKind::Left, &keys(&[key_of(*key)]), after(*day)).rows[0]);
                let alone: Vec<u32> = alone.collect();
                prop_assert_eq!(found.matched, alone.iter().filter(|row| **row != NO_ROW).count() as u64);
                prop_assert_eq!(found.rows, alone);
            }
        }

        #[test]
        fn integers_meet_what_their_digests_meet(
            table in proptest::collection::btree_set(prop_oneof![-20i64..20, Just(i64::MAX), Just(i64::MIN), Just(1 << 53), Just((1 << 53) + 1)], 0..20),
            events in proptest::collection::vec(proptest::option::of(number()), 1..40),
        ) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "values of \
             every type are wanted")]
            let decimal = |value: &Option<f64>| value.filter(|value| value.abs() < 1e20).map(|value| (value * 100.0) as i128);
            let columns: [ArrayRef; 7] = [
                Arc::new(Decimal128Array::from_iter(events.iter().map(decimal)).with_precision_and_scale(38, 2).expect("decimals")),
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
            let integers = index(KeyKind::Integers);
            let digests = index(KeyKind::Digests);
            for column in columns {
                for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Anti] {
                    let one = probe(&integers, kind, &column, NaiveDate::MAX);
                    let other = probe(&digests, kind, &column, NaiveDate::MAX);
                    prop_assert_eq!(one, other);
                }
            }
        }
    }
}
