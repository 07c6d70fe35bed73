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

use arrow::buffer::BooleanBuffer;
use chrono::{Datelike, NaiveDate};

use super::interval::Interval;
use super::join_key_index::JoinKeyIndex;
pub use super::join_key_index::NO_ROW;
use super::join_keys::GatheredKeys;
pub use super::join_keys::{JoinKeys, KeyKind};
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
/// A row, as long as it holds, and where its key stands.
#[derive(Clone, Copy)]
struct RowVersion {
    start: i32,
    end: i32,
    place: u32,
}

/// Gathers versions, and makes the index of them.
pub struct VersionsBuilder {
    keys: GatheredKeys,
    versions: Vec<RowVersion>,
}

/// The versions of each key; see the module.
pub struct Versions {
    places: JoinKeyIndex,
    /// How many places there are.
    count: usize,
    versions: Vec<RowVersion>,
}

/// The row of each key that holds on a date.
pub struct VersionsOn<'a> {
    places: &'a JoinKeyIndex,
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
        VersionsBuilder {
            keys: GatheredKeys::new(kind),
            versions: Vec::new(),
        }
    }

    /// How its keys are held.
    pub fn kind(&self) -> KeyKind {
        self.keys.kind()
    }

    /// Adds the versions of the next rows. Versions of one key come in order of their start.
    ///
    /// # Errors
    /// A refusal of a key that is null, and of more rows than are counted.
    pub fn push(&mut self, keys: &JoinKeys, intervals: &[Interval]) -> Result<()> {
        self.keys.push(keys)?;
        let version = |interval: &Interval| RowVersion {
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
        self.versions.len() * (size_of::<RowVersion>() + each)
    }

    /// The index.
    ///
    /// # Errors
    /// A refusal if two versions of one key hold at once: the table is damaged.
    pub fn finish(self) -> Result<Versions> {
        let VersionsBuilder { keys, mut versions } = self;
        let places = versions.iter_mut().map(|version| &mut version.place);
        let (places, count) = JoinKeyIndex::of(&keys, places);
        drop(keys);
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

impl Versions {
    /// How many versions there are.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether there are no versions.
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
    pub fn probe(&self, kind: JoinKind, keys: &JoinKeys, days: &[i32]) -> Matches {
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

impl VersionsOn<'_> {
    /// How keys are held, and how those of events must be.
    pub fn kind(&self) -> KeyKind {
        self.places.kind()
    }

    /// Probes with the events' keys and says which events stay, and which row each meets. A key
    /// that is null meets none.
    pub fn probe(&self, kind: JoinKind, keys: &JoinKeys) -> Matches {
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
        Array, ArrayRef, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
        StringArray, UInt64Array,
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
                let keys = JoinKeys::of(kind, &[keys(&[Some(key * apart)])]).expect("keys");
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
            &JoinKeys::of(on.kind(), std::slice::from_ref(events)).expect("keys"),
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
                builder.push(&JoinKeys::of(kind, &[keys(&table)]).expect("keys"), &intervals).expect("no nulls");
                let versions = builder.finish().expect("versions of one key do not overlap");
                let columns = keys(&events.iter().map(|(key, _)| key_of(*key)).collect::<Vec<_>>());
                let days: Vec<i32> = events.iter().map(|(_, day)| super::day(after(*day))).collect();
                let found = versions.on_each().probe(JoinKind::Left, &JoinKeys::of(kind, &[columns]).expect("keys"), &days);
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
                builder.push(&JoinKeys::of(kind, std::slice::from_ref(&table)).expect("keys"), &vec![always; table.len()]).expect("no nulls");
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
