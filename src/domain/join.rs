//! The as-of join: one key table with its versions, probed by the events of any date.
//!
//! A [`Versions`] maps the digest of a key to the versions of its row, each over an interval. Rows
//! themselves stay where the caller has them; the index answers with row numbers. It is built
//! once for a range of dates and probed, read-only, by each date's events, on as many threads as there are.
//!
//! Memory: per key 28 bytes and the map's slack, per version 12.

use chrono::NaiveDate;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

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

#[derive(Clone, Copy)]
struct Span {
    first: u32,
    count: u32,
}

/// The versions of each key; see the module.
#[derive(Default)]
pub struct Versions {
    keys: HashMap<u128, Span>,
    starts: Vec<i32>,
    ends: Vec<i32>,
}

fn day(date: NaiveDate) -> i32 {
    use chrono::Datelike;
    date.num_days_from_ce()
}

impl Versions {
    /// Adds the next row's version. Rows of one key follow one another, in order of their start.
    ///
    /// # Errors
    /// A refusal if the rows of a key are apart, or overlap: the table is damaged.
    pub fn push(&mut self, key: u128, interval: Interval) -> Result<()> {
        let row = u32::try_from(self.starts.len()).map_err(|_| Error::refused("more than 4,294,967,295 versions in one join"))?;
        match self.keys.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Span { first: row, count: 1 });
            }
            Entry::Occupied(mut entry) => {
                let span = entry.get_mut();
                let adjacent = span.first + span.count == row;
                if !adjacent || self.ends[row as usize - 1] >= day(interval.start) {
                    return Err(Error::refused("two rows of one key hold on one date").hint("asof verify"));
                }
                span.count += 1;
            }
        }
        self.starts.push(day(interval.start));
        self.ends.push(interval.end.map_or(NO_END, day));
        Ok(())
    }

    /// How many versions there are: the number of the next row.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The row that holds for a key on a date.
    pub fn find(&self, key: u128, date: NaiveDate) -> Option<u32> {
        let span = self.keys.get(&key)?;
        let starts = &self.starts[span.first as usize..(span.first + span.count) as usize];
        let date = day(date);
        let before = starts.partition_point(|start| *start <= date);
        let row = span.first + u32::try_from(before).ok()?.checked_sub(1)?;
        (date <= self.ends[row as usize]).then_some(row)
    }

    /// Probes with the events' keys and says which events stay, by index in their order, and which
    /// row each meets. A key with a null meets none.
    pub fn probe(&self, kind: JoinKind, keys: &[Option<u128>], date: NaiveDate) -> Matches {
        let mut matches = Matches::default();
        for (event, key) in keys.iter().enumerate() {
            let row = key.and_then(|key| self.find(key, date));
            let stays = match kind {
                JoinKind::Left => true,
                JoinKind::Inner | JoinKind::Semi => row.is_some(),
                JoinKind::Anti => row.is_none(),
            };
            matches.matched += u64::from(row.is_some());
            if stays {
                matches.events.push(u32::try_from(event).unwrap_or(u32::MAX));
                matches.rows.push(row);
            }
        }
        matches
    }
}

/// The outcome of a probe; `events` and `rows` are of one length.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// The events that stay, ascending.
    pub events: Vec<u32>,
    /// The row that each of them meets.
    pub rows: Vec<Option<u32>>,
    /// How many events met a row, whether they stay or not.
    pub matched: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn versions() -> Versions {
        let mut versions = Versions::default();
        let span = |start: &str, end: Option<&str>| Interval { start: date(start), end: end.map(date) };
        versions.push(1, span("2024-01-01", Some("2024-01-03"))).expect("in order");
        versions.push(1, span("2024-01-05", None)).expect("in order");
        versions.push(2, span("2024-01-02", Some("2024-01-02"))).expect("in order");
        versions
    }

    #[test]
    fn each_date_meets_the_version_that_held() {
        let versions = versions();
        let rows: Vec<Option<u32>> = (1..=6).map(|day| versions.find(1, date(&format!("2024-01-0{day}")))).collect();
        assert_eq!(rows, [Some(0), Some(0), Some(0), None, Some(1), Some(1)]);
        assert_eq!(versions.find(1, date("2023-12-31")), None);
        assert_eq!(versions.find(2, date("2024-01-02")), Some(2));
        assert_eq!(versions.find(2, date("2024-01-03")), None);
        assert_eq!(versions.find(3, date("2024-01-02")), None);
    }

    #[test]
    fn each_kind_keeps_its_events_in_their_order() {
        let versions = versions();
        let keys = [Some(2), None, Some(1), Some(3), Some(2)];
        let probe = |kind| versions.probe(kind, &keys, date("2024-01-02"));
        assert_eq!(probe(JoinKind::Left).events, [0, 1, 2, 3, 4]);
        assert_eq!(probe(JoinKind::Left).rows, [Some(2), None, Some(0), None, Some(2)]);
        assert_eq!(probe(JoinKind::Inner).events, [0, 2, 4]);
        assert_eq!(probe(JoinKind::Semi), probe(JoinKind::Inner));
        assert_eq!(probe(JoinKind::Anti).events, [1, 3]);
        assert_eq!(probe(JoinKind::Anti).matched, 3);
    }

    #[test]
    fn versions_that_overlap_or_are_apart_are_refused() {
        let mut versions = versions();
        let open = Interval { start: date("2024-01-03"), end: None };
        assert!(versions.push(1, open).is_err(), "rows of key 2 lie between");
        versions.push(2, open).expect("after the first");
        assert!(versions.push(2, Interval { start: date("2024-02-01"), end: None }).is_err(), "the one before is open");
    }
}
