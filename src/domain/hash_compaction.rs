//! Compaction of snapshots in any order of rows: in order of their dates, to intervals, in one
//! pass.
//!
//! [`HashCompaction`] is fed the digests of each snapshot's rows, oldest snapshot first. It
//! answers, row by row, whether the row opens an interval, and remembers when each interval was
//! last seen. It never holds a row: the caller sets aside the rows that open intervals and joins
//! the ends to them later by the interval's number. Snapshots that are sorted by the key are
//! compacted by [`super::merge_compaction`], which needs neither digests nor a map.
//!
//! Memory: per key that is alive, its digest (16 bytes), its row's digest (16), the number of its
//! interval (4) and the snapshot it was last seen in (4); per interval ever opened, 4 bytes for its
//! end ([`super::interval_ends`]). A snapshot that equals the one before costs nothing
//! ([`HashCompaction::unchanged`]).
//!
//! Invariants: at most one open interval a key; an interval is ended once; numbers are given in the
//! order of opening, without holes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use chrono::NaiveDate;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::gaps::GapPolicy;
use super::interval_ends::{Ends, Ledger};
use crate::error::{Error, Result};

/// A key that is present.
struct PresentKey {
    row: u128,
    interval: u32,
    seen: u32,
}

/// What one snapshot changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Changes {
    /// Keys that were absent before.
    pub added: u64,
    /// Keys whose row is another one.
    pub changed: u64,
    /// Keys that are gone.
    pub removed: u64,
    /// Of the changed ones, those whose row differs in newly appeared columns only.
    pub by_new_columns: u64,
}

impl Changes {
    /// Adds those of other keys on the same date.
    pub fn add(&mut self, other: &Changes) {
        self.added += other.added;
        self.changed += other.changed;
        self.removed += other.removed;
        self.by_new_columns += other.by_new_columns;
    }
}

/// The state of a pass over snapshots; see the module.
pub struct HashCompaction {
    ledger: Ledger,
    present: HashMap<u128, PresentKey, PassThrough>,
    today: Changes,
    seen_today: u64,
}

impl HashCompaction {
    /// A pass that begins with no snapshot.
    pub fn new(policy: GapPolicy) -> Self {
        HashCompaction::after(policy, Vec::new())
    }

    /// A pass that continues after `observed`, to which [`HashCompaction::resume`] gives the
    /// intervals.
    pub fn after(policy: GapPolicy, observed: Vec<NaiveDate>) -> Self {
        HashCompaction {
            ledger: Ledger::after(policy, observed),
            present: HashMap::default(),
            today: Changes::default(),
            seen_today: 0,
        }
    }

    /// Takes over an interval of an earlier pass, numbered in the order of these calls.
    ///
    /// `end` is the date on which it was last observed if it has ended, or `None` if its row is
    /// part of the last observed snapshot. Dates must be observed ones, or days that a gap carried.
    ///
    /// # Errors
    /// An internal failure when two open intervals have one key.
    pub fn resume(&mut self, key: u128, row: u128, end: Option<NaiveDate>) -> Result<()> {
        let interval = self.ledger.resume(end)?;
        if end.is_none() {
            let seen = self.ledger.today().wrapping_sub(1);
            if self
                .present
                .insert(
                    key,
                    PresentKey {
                        row,
                        interval,
                        seen,
                    },
                )
                .is_some()
            {
                return Err(Error::refused("two intervals of one key are open").hint("asof verify"));
            }
        }
        Ok(())
    }

    /// Begins the snapshot of `date`, which is after every earlier one.
    pub fn begin(&mut self, date: NaiveDate) {
        if self.ledger.splits_before(date) {
            for (_, live) in self.present.drain() {
                self.ledger.close(live.interval);
            }
        }
        self.today = Changes::default();
        self.seen_today = 0;
    }

    /// Takes rows of the snapshot that was begun, in any order, by digests of key and row.
    ///
    /// `without_new` holds, on a date on which columns appear, the digests of the same rows without
    /// those columns. Pushes onto `opened` the index of each row that opens an interval; intervals
    /// are numbered in that order.
    ///
    /// # Errors
    /// The index of the first row whose key has already been seen in this snapshot.
    pub fn take(
        &mut self,
        keys: &[u128],
        rows: &[u128],
        without_new: Option<&[u128]>,
        opened: &mut Vec<u32>,
    ) -> Result<(), TakeError> {
        let today = self.ledger.today();
        for (index, (key, row)) in keys.iter().zip(rows).enumerate() {
            match self.present.entry(*key) {
                Entry::Vacant(entry) => {
                    let interval = self.ledger.open().map_err(TakeError::Full)?;
                    entry.insert(PresentKey {
                        row: *row,
                        interval,
                        seen: today,
                    });
                    self.today.added += 1;
                }
                Entry::Occupied(mut entry) => {
                    let live = entry.get_mut();
                    if live.seen == today {
                        return Err(TakeError::Duplicate(index));
                    }
                    live.seen = today;
                    self.seen_today += 1;
                    if live.row == *row {
                        continue;
                    }
                    self.today.changed += 1;
                    if without_new.is_some_and(|digests| digests[index] == live.row) {
                        self.today.by_new_columns += 1;
                    }
                    self.ledger.close(live.interval);
                    let interval = self.ledger.open().map_err(TakeError::Full)?;
                    *live = PresentKey {
                        row: *row,
                        interval,
                        seen: today,
                    };
                }
            }
            opened.push(u32::try_from(index).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// Ends the snapshot that was begun on `date`: keys that were not seen are gone.
    pub fn end(&mut self, date: NaiveDate) -> Changes {
        let today = self.ledger.today();
        if self.seen_today + self.today.added < self.present.len() as u64 {
            let ledger = &mut self.ledger;
            let before = self.present.len();
            self.present.retain(|_, live| {
                let present = live.seen == today;
                if !present {
                    ledger.close(live.interval);
                }
                present
            });
            self.today.removed = (before - self.present.len()) as u64;
        }
        self.ledger.observe(date);
        self.today
    }

    /// Takes the snapshot of `date` without its rows, which are those of the snapshot before.
    ///
    /// Returns false, and takes nothing, if the gap before `date` splits intervals, so that rows
    /// are needed.
    pub fn unchanged(&mut self, date: NaiveDate) -> bool {
        // `seen` is compared with the current snapshot only, so the keys need no visit.
        let extends = self.ledger.extends_to(date);
        if extends {
            self.ledger.observe(date);
        }
        extends
    }

    /// How many intervals there are.
    pub fn intervals(&self) -> u64 {
        self.ledger.intervals()
    }

    /// How many intervals are open: one for each key that is present in the last snapshot.
    pub fn open_intervals(&self) -> u64 {
        self.present.len() as u64
    }

    /// About how many bytes are held.
    pub fn bytes(&self) -> usize {
        // The map doubles when it is seven eighths full; a place is an entry and a byte.
        self.present.capacity() * 8 / 7 * (size_of::<(u128, PresentKey)>() + 1)
            + 4 * usize::try_from(self.ledger.intervals()).unwrap_or(usize::MAX / 8)
    }

    /// The ends of all intervals, by number; the keys are let go.
    pub fn finish(self) -> Ends {
        self.ledger.finish()
    }
}

/// Why rows were not taken.
#[derive(Debug)]
pub enum TakeError {
    /// The row at this index has a key that stood in the snapshot before.
    Duplicate(usize),
    /// There are too many intervals.
    Full(Error),
}

/// Digests are hashes already; they are mixed with one random word so that files cannot be built to
/// collide.
#[derive(Clone)]
struct PassThrough(u64);

impl Default for PassThrough {
    fn default() -> Self {
        PassThrough(RandomState::new().hash_one(0u8))
    }
}

impl BuildHasher for PassThrough {
    type Hasher = FoldedHasher;

    fn build_hasher(&self) -> FoldedHasher {
        FoldedHasher(self.0)
    }
}

struct FoldedHasher(u64);

impl Hasher for FoldedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0.rotate_left(8) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_u128(&mut self, value: u128) {
        #[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
        let low = value as u64;
        let high = (value >> 64) as u64;
        self.0 = (low ^ self.0).wrapping_add(high.rotate_left(32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    /// Runs snapshots, each a date and its rows (key, value), through a pass, and lists the
    /// intervals as (key, value, start, end) with `..` for an open end.
    fn intervals(policy: GapPolicy, snapshots: &[(&str, &[(u128, u128)])]) -> Vec<String> {
        let mut pass = HashCompaction::new(policy);
        let mut rows = Vec::new();
        for (day, snapshot) in snapshots {
            let (keys, values): (Vec<u128>, Vec<u128>) = snapshot.iter().copied().unzip();
            let mut opened = Vec::new();
            pass.begin(date(day));
            pass.take(&keys, &values, None, &mut opened)
                .expect("no duplicates");
            pass.end(date(day));
            rows.extend(
                opened
                    .iter()
                    .map(|row| (snapshot[*row as usize], (*day).to_owned())),
            );
        }
        let ends = pass.finish();
        let end = |number: usize| {
            ends.end(u32::try_from(number).expect("few"))
                .map_or("..".to_owned(), |end| end.to_string()[5..].to_owned())
        };
        let mut lines: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(number, ((key, value), start))| {
                format!("{key}:{value} {}/{}", &start[5..], end(number))
            })
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_unchanged_row_is_one_open_interval() {
        assert_eq!(
            intervals(
                GapPolicy::CARRY,
                &[("2024-01-01", &[(1, 7)]), ("2024-01-02", &[(1, 7)])]
            ),
            ["1:7 01-01/.."]
        );
    }

    #[test]
    fn a_to_b_to_a_is_three_intervals() {
        let days: [(&str, &[(u128, u128)]); 3] = [
            ("2024-01-01", &[(1, 7)]),
            ("2024-01-02", &[(1, 8)]),
            ("2024-01-03", &[(1, 7)]),
        ];
        assert_eq!(
            intervals(GapPolicy::CARRY, &days),
            ["1:7 01-01/01-01", "1:7 01-03/..", "1:8 01-02/01-02"]
        );
    }

    #[test]
    fn a_key_that_returns_opens_a_second_interval() {
        let days: [(&str, &[(u128, u128)]); 3] = [
            ("2024-01-01", &[(1, 7), (2, 7)]),
            ("2024-01-02", &[(2, 7)]),
            ("2024-01-03", &[(1, 7), (2, 7)]),
        ];
        assert_eq!(
            intervals(GapPolicy::CARRY, &days),
            ["1:7 01-01/01-01", "1:7 01-03/..", "2:7 01-01/.."]
        );
    }

    #[test]
    fn a_gap_carries_or_splits() {
        let days: [(&str, &[(u128, u128)]); 2] = [
            ("2024-01-01", &[(1, 7), (2, 7)]),
            ("2024-01-05", &[(1, 7), (2, 8)]),
        ];
        assert_eq!(
            intervals(GapPolicy::CARRY, &days),
            ["1:7 01-01/..", "2:7 01-01/01-04", "2:8 01-05/.."]
        );
        assert_eq!(
            intervals(GapPolicy::Split, &days),
            [
                "1:7 01-01/01-01",
                "1:7 01-05/..",
                "2:7 01-01/01-01",
                "2:8 01-05/.."
            ]
        );
    }

    #[test]
    fn the_changes_of_a_day_are_counted() {
        let mut pass = HashCompaction::new(GapPolicy::CARRY);
        let mut opened = Vec::new();
        pass.begin(date("2024-01-01"));
        pass.take(&[1, 2, 3, 5], &[7, 7, 7, 7], None, &mut opened)
            .expect("no duplicates");
        assert_eq!(
            pass.end(date("2024-01-01")),
            Changes {
                added: 4,
                ..Changes::default()
            }
        );
        pass.begin(date("2024-01-02"));
        opened.clear();
        pass.take(
            &[4, 2, 1, 5],
            &[7, 9, 8, 8],
            Some(&[7, 9, 7, 7]),
            &mut opened,
        )
        .expect("no duplicates");
        assert_eq!(opened, [0, 1, 2, 3]);
        assert_eq!(
            pass.end(date("2024-01-02")),
            Changes {
                added: 1,
                changed: 3,
                removed: 1,
                by_new_columns: 2
            }
        );
        assert_eq!((pass.open_intervals(), pass.intervals()), (4, 8));
    }

    #[test]
    fn an_unchanged_snapshot_extends_what_is_open() {
        let mut pass = HashCompaction::new(GapPolicy::CARRY);
        let mut opened = Vec::new();
        assert!(
            !pass.unchanged(date("2024-01-01")),
            "nothing to be equal to"
        );
        pass.begin(date("2024-01-01"));
        pass.take(&[1, 2], &[7, 7], None, &mut opened)
            .expect("no duplicates");
        pass.end(date("2024-01-01"));
        assert!(pass.unchanged(date("2024-01-02")));
        pass.begin(date("2024-01-03"));
        pass.take(&[1], &[7], None, &mut opened)
            .expect("no duplicates");
        assert_eq!(pass.end(date("2024-01-03")).removed, 1);
        let ends = pass.finish();
        assert_eq!((ends.end(0), ends.end(1)), (None, Some(date("2024-01-02"))));
    }

    #[test]
    fn an_unchanged_snapshot_after_a_splitting_gap_needs_its_rows() {
        let mut pass = HashCompaction::new(GapPolicy::Split);
        pass.begin(date("2024-01-01"));
        pass.take(&[1], &[7], None, &mut Vec::new())
            .expect("no duplicates");
        pass.end(date("2024-01-01"));
        assert!(!pass.unchanged(date("2024-01-03")));
        assert!(pass.unchanged(date("2024-01-02")));
    }

    #[test]
    fn a_key_that_stands_twice_in_a_snapshot_is_named_by_its_row() {
        let mut pass = HashCompaction::new(GapPolicy::CARRY);
        pass.begin(date("2024-01-01"));
        let error = pass
            .take(&[1, 2, 1], &[7, 7, 7], None, &mut Vec::new())
            .expect_err("a duplicate");
        assert!(matches!(error, TakeError::Duplicate(2)));
    }

    #[test]
    fn two_open_intervals_of_one_key_are_refused() {
        let mut pass = HashCompaction::after(GapPolicy::CARRY, vec![date("2024-01-01")]);
        pass.resume(2, 7, None).expect("open");
        assert!(pass.resume(2, 9, None).is_err());
    }

    #[test]
    fn a_resumed_pass_goes_on_where_it_stood() {
        let observed = vec![date("2024-01-01"), date("2024-01-02")];
        let mut pass = HashCompaction::after(GapPolicy::CARRY, observed);
        pass.resume(1, 7, Some(date("2024-01-01"))).expect("closed");
        pass.resume(1, 8, None).expect("open");
        pass.resume(2, 7, None).expect("open");
        let mut opened = Vec::new();
        pass.begin(date("2024-01-03"));
        pass.take(&[1], &[8], None, &mut opened)
            .expect("no duplicates");
        assert_eq!(
            pass.end(date("2024-01-03")),
            Changes {
                removed: 1,
                ..Changes::default()
            }
        );
        assert!(opened.is_empty());
        let ends = pass.finish();
        assert_eq!(
            (ends.end(0), ends.end(1), ends.end(2)),
            (Some(date("2024-01-01")), None, Some(date("2024-01-02")))
        );
    }
}
