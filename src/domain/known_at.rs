//! What was known at a time: which copy of a date stood then.
//!
//! A copy stands from its publication until it is replaced or dropped. Objects tell most of that: a
//! snapshot says when it was published, and the name of a copy that was put aside says when that
//! was. Two events leave no object that tells of them, so each leaves a *record* ([`StayRecord`]):
//! a copy that was restored did not stand for a while, and a copy that was pruned is gone.
//!
//! **One rule decides.** Of the copies of a date, one stands at a time. So at a time T only that
//! copy can stand which was the first to be put aside after T, or, if none was, the one that stands
//! now. It stood at T if it was published by then. Otherwise the date had no copy. The times at
//! which copies were put aside come first, because they are read from the clock right before the
//! step that publishes the next copy; the time of publication in a footer is a moment earlier.
//!
//! **No wrong answer.** If the copy that stood was deleted, or if nothing records when it was
//! published, that is the answer ([`WhatStood::Pruned`], [`WhatStood::Unrecorded`]), and not the copy
//! before it. A copy that was deleted by hand leaves no trace.
//!
//! Times are whole seconds. A copy that was put aside in the second of its publication never stood.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use super::digest::Fingerprint;
use crate::error::{Error, Result, shorten};
use crate::model::Day;

/// A time as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownAt {
    /// An instant.
    At(DateTime<Utc>),
    /// The end of a day: everything that was published on it was known.
    EndOf(Day),
}

impl std::str::FromStr for KnownAt {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            return Ok(KnownAt::At(instant.to_utc()));
        }
        if let Ok(day) = text.parse() {
            return Ok(KnownAt::EndOf(day));
        }
        let formats = [
            "%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%d %H:%M:%S%.f",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%d %H:%M",
        ];
        let local = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
        if let Some(local) = formats.iter().find_map(local) {
            let local = local.format("%Y-%m-%dT%H:%M:%S");
            return Err(
                Error::usage(format!("'{text}' does not say in which time zone it is")).hint(
                    format!("{local}Z for UTC, or with an offset: {local}+01:00"),
                ),
            );
        }
        Err(Error::usage(format!("'{}' is not a time", shorten(text))).hint(
            "times are written 2024-01-31T02:00:00Z or 2024-01-31T03:00:00+01:00; a date stands \
             for its end",
        ))
    }
}

/// A copy of a date that exists, in whatever place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyTimes {
    /// Its content.
    pub fingerprint: Fingerprint,
    /// When it was published, if that is recorded.
    pub published: Option<DateTime<Utc>>,
    /// When it was put aside; nothing if it is the snapshot of its date.
    pub put_aside: Option<DateTime<Utc>>,
}

impl CopyTimes {
    /// Whether it was not put aside before a time.
    fn stood_after(&self, at: DateTime<Utc>) -> bool {
        self.put_aside.is_none_or(|until| until >= at)
    }
}

/// What happened to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StayEvent {
    /// It was put aside, and is the snapshot of its date again.
    Restored,
    /// It was deleted.
    Pruned,
}

/// A stay of a copy that no object tells any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StayRecord {
    /// The date of the copy.
    pub snapshot_date: NaiveDate,
    /// Its content.
    pub fingerprint: Fingerprint,
    /// When the stay began, if that is recorded.
    pub from: Option<DateTime<Utc>>,
    /// When the copy was put aside; nothing if it stood when it was pruned.
    pub until: Option<DateTime<Utc>>,
    /// What happened to it then.
    pub event: StayEvent,
    /// When that was.
    pub at: DateTime<Utc>,
}

/// What stood at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhatStood {
    /// The date had no copy.
    Nothing,
    /// A copy, by its place among those that exist.
    Copy(usize),
    /// A copy that was deleted since, by the place of its record.
    Pruned(usize),
    /// Perhaps this copy, of which nothing says when it was published.
    Unrecorded(usize),
}

/// All that is known of the copies of one date.
#[derive(Clone, Debug, Default)]
pub struct CopiesOfDate {
    /// Those that exist.
    pub copies: Vec<CopyTimes>,
    /// The stays that they do not tell.
    pub records: Vec<StayRecord>,
}

/// A time during which a copy stood.
struct Stay {
    from: Option<DateTime<Utc>>,
    /// Nothing if it has not ended.
    until: Option<DateTime<Utc>>,
    what: WhatStood,
}

impl CopiesOfDate {
    /// Which copy stood at a time.
    pub fn standing_at(&self, at: DateTime<Utc>) -> WhatStood {
        let stays = self.stays();
        let is_after = |stay: &&Stay| stay.until.is_none_or(|until| until > at);
        let has_begun = |stay: &Stay| stay.from.map(|from| from <= at);
        // Two that end in the same second: that which had begun stood, and what is known of one
        // counts.
        let first = stays.iter().filter(is_after).min_by_key(|stay| {
            let end = stay.until.unwrap_or(DateTime::<Utc>::MAX_UTC);
            let rank = match has_begun(stay) {
                Some(true) => 0,
                Some(false) => 1,
                None => 2,
            };
            (end, rank)
        });
        let Some(stay) = first else {
            return WhatStood::Nothing;
        };
        match (has_begun(stay), stay.what) {
            (Some(true), what) => what,
            (Some(false), _) => WhatStood::Nothing,
            (None, WhatStood::Copy(copy)) => WhatStood::Unrecorded(copy),
            (None, what) => what,
        }
    }

    /// When a copy was published, or, if it was put aside and restored, restored last.
    pub fn stands_since(&self, copy: usize) -> Option<DateTime<Utc>> {
        let CopyTimes {
            fingerprint,
            published,
            put_aside,
        } = self.copies[copy];
        let restored = self.records.iter().filter(|record| {
            record.event == StayEvent::Restored
                && record.fingerprint == fingerprint
                && self.copy_restored(record) == Some(copy)
                && put_aside.is_none_or(|until| record.at <= until)
        });
        restored.map(|record| record.at).max().or(published)
    }

    /// The copy that a record of a restoration is about; nothing if it was not carried out, or if
    /// the copy is gone.
    fn copy_restored(&self, record: &StayRecord) -> Option<usize> {
        // The process was killed between the record and the move.
        if self.is_void(record) {
            return None;
        }
        let copy = self.copy_of(record)?;
        self.copies[copy].stood_after(record.at).then_some(copy)
    }

    /// The copy whose stay a restoration ended: the stay began when the copy was published, or when
    /// it was restored before.
    fn copy_of(&self, record: &StayRecord) -> Option<usize> {
        let is_it = |copy: &CopyTimes| {
            copy.fingerprint == record.fingerprint
                && copy.published == record.from
                && copy.stood_after(record.at)
        };
        let published = self.copies.iter().position(is_it);
        let copy = published.or_else(|| {
            let mut records = self.records.iter();
            let before = records.find(|before| {
                before.event == StayEvent::Restored
                    && before.fingerprint == record.fingerprint
                    && before.at < record.at
                    && Some(before.at) == record.from
            });
            before.and_then(|before| self.copy_of(before))
        })?;
        // Copies that do not say when they were published look alike.
        let is_gone = self.copies[copy].published.is_none() && self.was_deleted_since(record);
        (!is_gone).then_some(copy)
    }

    /// Whether a restored copy was deleted later.
    fn was_deleted_since(&self, record: &StayRecord) -> bool {
        let mut next = self
            .records
            .iter()
            .filter(|next| next.fingerprint == record.fingerprint && next.from == Some(record.at));
        next.any(|next| match next.event {
            StayEvent::Pruned => true,
            StayEvent::Restored => next.at > record.at && self.was_deleted_since(next),
        })
    }

    /// The copy that a record of a deletion is about, if it is there all the same: the process was
    /// killed before it deleted the copy.
    fn copy_kept(&self, record: &StayRecord) -> Option<usize> {
        let is_it = |(index, copy): &(usize, &CopyTimes)| match record.until {
            Some(_) => copy.put_aside == record.until,
            None => {
                let since = self.stands_since(*index);
                since.is_some()
                    && since == record.from
                    && copy.put_aside.is_none_or(|until| until > record.at)
            }
        };
        let copies = self.copies.iter().enumerate();
        let mut copies = copies.filter(|(_, copy)| copy.fingerprint == record.fingerprint);
        copies.find(is_it).map(|(index, _)| index)
    }

    /// Every stay of a copy.
    fn stays(&self) -> Vec<Stay> {
        let copies = self.copies.iter().enumerate();
        let of_copies = copies.map(|(index, copy)| Stay {
            from: self.stands_since(index),
            until: copy.put_aside,
            what: WhatStood::Copy(index),
        });
        let mut stays: Vec<Stay> = of_copies.collect();
        for (index, record) in self.records.iter().enumerate() {
            let is_told = match record.event {
                StayEvent::Restored => self.is_void(record),
                StayEvent::Pruned => self.copy_kept(record).is_some(),
            };
            if is_told {
                continue;
            }
            stays.push(Stay {
                from: record.from,
                until: record.until.or_else(|| self.end_of_pruned(record)),
                what: self.with_rows_of(record, index),
            });
        }
        stays
    }

    /// Whether a restoration was not carried out.
    fn is_void(&self, record: &StayRecord) -> bool {
        let of_content = |copy: &&CopyTimes| copy.fingerprint == record.fingerprint;
        let is_standing = |copy: &CopyTimes| copy.put_aside.is_none();
        let mut copies = self.copies.iter().filter(of_content);
        let is_aside = copies.clone().any(|copy| copy.put_aside == record.until);
        is_aside && !copies.any(is_standing)
    }

    /// When the stay of a copy ended that stood when it was deleted. Until then the intervals gave
    /// its rows, or a copy that was written again from them. It ended when another copy was
    /// published or restored, or when that one was put aside.
    fn end_of_pruned(&self, record: &StayRecord) -> Option<DateTime<Utc>> {
        let is_it = |fingerprint| fingerprint == record.fingerprint;
        let of_copies = self.copies.iter().filter_map(|copy| match copy.published {
            None if is_it(copy.fingerprint) => copy.put_aside,
            published => published,
        });
        let of_records = self.records.iter().flat_map(|other| {
            let restored = (other.event == StayEvent::Restored).then_some(other.at);
            let until = other.until.filter(|_| is_it(other.fingerprint));
            [other.from, restored, until]
        });
        let ends = of_copies.chain(of_records.flatten());
        ends.filter(|end| *end > record.at).min()
    }

    /// A copy that has the rows of a record, or, if there is none, the record.
    fn with_rows_of(&self, record: &StayRecord, index: usize) -> WhatStood {
        let mut copies = self.copies.iter();
        // Damaged copies are put aside without a fingerprint.
        let is_same = |copy: &CopyTimes| {
            copy.fingerprint == record.fingerprint && copy.fingerprint != Fingerprint(0)
        };
        let same = copies.position(is_same);
        same.map_or(WhatStood::Pruned(index), WhatStood::Copy)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_700_000_000 + second, 0)
            .single()
            .expect("a time")
    }

    /// What happens to the copies of a date. Numbers choose among what there is.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Publish(u128),
        Drop,
        Restore(usize),
        PruneAside(usize),
        PruneStanding,
        Expand,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1u128..4).prop_map(Step::Publish),
            2 => Just(Step::Drop),
            2 => (0usize..4).prop_map(Step::Restore),
            1 => (0usize..4).prop_map(Step::PruneAside),
            1 => Just(Step::PruneStanding),
            1 => Just(Step::Expand),
        ];
        prop::collection::vec(step, 0..14)
    }

    /// Copies and records as the commands leave them, and beside them what stood at every second.
    #[derive(Default)]
    struct World {
        of_date: CopiesOfDate,
        /// The content that only the intervals have.
        derived: Option<Fingerprint>,
        /// What stood from each second on.
        stood: Vec<(i64, Option<Fingerprint>)>,
    }

    impl World {
        fn standing(&self) -> Option<usize> {
            let mut copies = self.of_date.copies.iter();
            copies.position(|copy| copy.put_aside.is_none())
        }

        fn aside(&self, number: usize) -> Option<usize> {
            let copies = self.of_date.copies.iter().enumerate();
            let aside: Vec<usize> = copies
                .filter(|(_, copy)| copy.put_aside.is_some())
                .map(|(index, _)| index)
                .collect();
            (!aside.is_empty()).then(|| aside[number % aside.len()])
        }

        fn record(&mut self, copy: usize, event: StayEvent, second: i64) {
            let CopyTimes {
                fingerprint,
                put_aside,
                ..
            } = self.of_date.copies[copy];
            let record = StayRecord {
                snapshot_date: NaiveDate::MIN,
                fingerprint,
                from: self.of_date.stands_since(copy),
                until: put_aside,
                event,
                at: at(second),
            };
            self.of_date.records.push(record);
        }

        fn step(&mut self, step: Step, second: i64) {
            let standing = self.standing();
            match step {
                Step::Publish(content) => {
                    let fingerprint = Fingerprint(content);
                    if let Some(old) = standing {
                        if self.of_date.copies[old].fingerprint == fingerprint {
                            return;
                        }
                        self.of_date.copies[old].put_aside = Some(at(second));
                    }
                    self.derived = None;
                    self.of_date.copies.push(CopyTimes {
                        fingerprint,
                        published: Some(at(second)),
                        put_aside: None,
                    });
                    self.stood.push((second, Some(fingerprint)));
                }
                Step::Drop => {
                    let Some(old) = standing else { return };
                    self.of_date.copies[old].put_aside = Some(at(second));
                    self.stood.push((second, None));
                }
                Step::Restore(number) => {
                    let (None, Some(copy)) = (standing, self.aside(number)) else {
                        return;
                    };
                    self.record(copy, StayEvent::Restored, second);
                    self.of_date.copies[copy].put_aside = None;
                    self.derived = None;
                    let content = self.of_date.copies[copy].fingerprint;
                    self.stood.push((second, Some(content)));
                }
                Step::PruneAside(number) => {
                    let Some(copy) = self.aside(number) else {
                        return;
                    };
                    self.record(copy, StayEvent::Pruned, second);
                    self.of_date.copies.remove(copy);
                }
                Step::PruneStanding => {
                    let Some(copy) = standing else { return };
                    self.record(copy, StayEvent::Pruned, second);
                    self.derived = Some(self.of_date.copies.remove(copy).fingerprint);
                }
                Step::Expand => {
                    let (None, Some(content)) = (standing, self.derived.take()) else {
                        return;
                    };
                    self.of_date.copies.push(CopyTimes {
                        fingerprint: content,
                        published: None,
                        put_aside: None,
                    });
                }
            }
        }

        fn stood_at(&self, second: i64) -> Option<Fingerprint> {
            let before = self.stood.iter().rev().find(|(from, _)| *from <= second);
            before.and_then(|(_, content)| *content)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_found_is_what_stood(
            steps in steps(),
            pauses in prop::collection::vec(1i64..4, 14),
        ) {
            let mut world = World::default();
            let mut second = 0;
            for (step, pause) in steps.iter().zip(&pauses) {
                second += pause;
                world.step(*step, second);
            }
            for now in 0..second + 2 {
                let stood = world.stood_at(now);
                let content = match world.of_date.standing_at(at(now)) {
                    WhatStood::Nothing => None,
                    WhatStood::Copy(copy) => Some(world.of_date.copies[copy].fingerprint),
                    WhatStood::Pruned(record) => Some(world.of_date.records[record].fingerprint),
                    // No answer, and never a wrong one: only if a copy was written again.
                    WhatStood::Unrecorded(copy) => {
                        prop_assert_eq!(world.of_date.copies[copy].published, None);
                        continue;
                    }
                };
                prop_assert_eq!(content, stood, "at {} of {:?}", now, world.of_date);
            }
        }
    }

    fn copy(content: u128, published: Option<i64>, put_aside: Option<i64>) -> CopyTimes {
        CopyTimes {
            fingerprint: Fingerprint(content),
            published: published.map(at),
            put_aside: put_aside.map(at),
        }
    }

    #[test]
    fn a_copy_stands_until_it_is_put_aside_though_the_next_footer_is_a_moment_earlier() {
        let of_date = CopiesOfDate {
            copies: vec![copy(2, Some(7), None), copy(1, Some(2), Some(9))],
            records: Vec::new(),
        };
        let stood = |second| of_date.standing_at(at(second));
        assert_eq!(stood(1), WhatStood::Nothing);
        assert_eq!(stood(2), WhatStood::Copy(1));
        assert_eq!(stood(8), WhatStood::Copy(1));
        assert_eq!(stood(9), WhatStood::Copy(0));
    }

    #[test]
    fn a_copy_without_a_time_is_no_answer_and_hides_no_other() {
        let of_date = CopiesOfDate {
            copies: vec![copy(1, None, None), copy(2, Some(3), Some(5))],
            records: Vec::new(),
        };
        assert_eq!(of_date.standing_at(at(4)), WhatStood::Copy(1));
        assert_eq!(of_date.standing_at(at(2)), WhatStood::Nothing);
        assert_eq!(of_date.standing_at(at(6)), WhatStood::Unrecorded(0));
    }

    #[test]
    fn a_restoration_that_was_not_carried_out_and_a_deletion_that_was_not_change_nothing() {
        let dropped = copy(1, Some(2), Some(5));
        let record = |event, until: Option<i64>| StayRecord {
            snapshot_date: NaiveDate::MIN,
            fingerprint: Fingerprint(1),
            from: Some(at(2)),
            until: until.map(at),
            event,
            at: at(8),
        };
        let of_date = |copies: &[CopyTimes], record| CopiesOfDate {
            copies: copies.to_vec(),
            records: vec![record],
        };
        let killed = of_date(&[dropped], record(StayEvent::Restored, Some(5)));
        assert_eq!(killed.standing_at(at(4)), WhatStood::Copy(0));
        assert_eq!(killed.standing_at(at(9)), WhatStood::Nothing);
        // It is in both places: it was published, and not removed.
        let both = [dropped, copy(1, Some(2), None)];
        let killed = of_date(&both, record(StayEvent::Restored, Some(5)));
        assert_eq!(killed.standing_at(at(6)), WhatStood::Nothing);
        assert_eq!(killed.standing_at(at(8)), WhatStood::Copy(1));
        let standing = copy(1, Some(2), None);
        let killed = of_date(&[standing], record(StayEvent::Pruned, None));
        assert_eq!(killed.standing_at(at(9)), WhatStood::Copy(0));
        // It was dropped later.
        let dropped = copy(1, Some(2), Some(10));
        let killed = of_date(&[dropped], record(StayEvent::Pruned, None));
        assert_eq!(killed.standing_at(at(11)), WhatStood::Nothing);
    }

    #[test]
    fn a_time_has_a_zone_or_is_the_end_of_a_day() {
        let parse = |text: &str| text.parse::<KnownAt>();
        let instant = |text: &str| KnownAt::At(text.parse().expect("an instant"));
        assert_eq!(
            parse("2024-03-01T02:00:00Z").expect("a time"),
            instant("2024-03-01T02:00:00Z")
        );
        assert_eq!(
            parse("2024-03-01T02:00:00.5+01:00").expect("a time"),
            instant("2024-03-01T01:00:00.5Z")
        );
        let day = "2024-03-01".parse().expect("a date");
        assert_eq!(
            parse("2024-03-01").expect("a day"),
            KnownAt::EndOf(Day::On(day))
        );
        assert_eq!(
            parse("yesterday").expect("a day"),
            KnownAt::EndOf(Day::Yesterday)
        );
        for local in ["2024-03-01T02:00:00", "2024-03-01 02:00"] {
            let error = parse(local).expect_err("a local time");
            assert_eq!(
                error.to_string(),
                format!("'{local}' does not say in which time zone it is")
            );
            assert_eq!(
                error.hints(),
                ["2024-03-01T02:00:00Z for UTC, or with an offset: 2024-03-01T02:00:00+01:00"]
            );
        }
        for other in ["noon", "latest", "2024-02-30T00:00:00Z", "1709258400"] {
            assert!(parse(other).is_err(), "{other}");
        }
    }
}
