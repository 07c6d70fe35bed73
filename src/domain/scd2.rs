//! SCD type 2 tables of other tools: how they write versions, and what the versions of a key are
//! together.
//!
//! Such a table holds a version of a row with the instant at which it began and, unless it is
//! current, the instant at which it ended. asof knows days. So a version counts on a day if it holds
//! at the end of that day, in one time zone: the state that a nightly copy would have found. Of
//! several versions in a day, the last one counts.
//!
//! | tool | columns | an end is | open is written | a deletion |
//! | --- | --- | --- | --- | --- |
//! | dbt | `dbt_valid_from`, `dbt_valid_to` | exclusive | null, or what `dbt_valid_to_current` says | closes the version; `hard_deletes: new_record` adds a version with `dbt_is_deleted` |
//! | SQLMesh | `valid_from`, `valid_to` | exclusive | null | closes the version |
//! | dlt | `_dlt_valid_from`, `_dlt_valid_to` | exclusive | null, or `active_record_timestamp` | closes the version |
//! | Fivetran | `_fivetran_start`, `_fivetran_end` | inclusive, to the millisecond | the greatest timestamp, `9999-12-31T23:59:59.999Z` | closes the version |
//!
//! Sources: docs/adopt.md names the pages of each tool's documentation.

use chrono::NaiveDate;

/// The first date that no tool means: an end from then on is open.
pub const NEVER: NaiveDate = NaiveDate::from_ymd_opt(9999, 1, 1).expect("a date");
/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// A tool that writes SCD type 2 tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scd2Preset {
    /// `dbt snapshot`.
    Dbt,
    /// SQLMesh's `SCD_TYPE_2_BY_TIME` and `SCD_TYPE_2_BY_COLUMN`.
    Sqlmesh,
    /// dlt's merge strategy `scd2`.
    Dlt,
    /// Fivetran's history mode.
    Fivetran,
}

impl Scd2Preset {
    /// All of them.
    pub const ALL: [Scd2Preset; 4] = [
        Scd2Preset::Dbt,
        Scd2Preset::Sqlmesh,
        Scd2Preset::Dlt,
        Scd2Preset::Fivetran,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scd2Preset::Dbt => "dbt",
            Scd2Preset::Sqlmesh => "sqlmesh",
            Scd2Preset::Dlt => "dlt",
            Scd2Preset::Fivetran => "fivetran",
        }
    }

    /// How the tool writes versions.
    pub fn shape(self) -> Scd2Shape {
        let shape = |start: &str, end: &str, left_out: &[&str]| Scd2Shape {
            start_column: start.to_owned(),
            end_column: end.to_owned(),
            end: VersionEnd::Exclusive,
            open_from: NEVER,
            deleted_column: None,
            current_column: None,
            left_out: left_out.iter().map(|name| (*name).to_owned()).collect(),
            plain_is_utc: true,
            epoch_is_unknown: false,
        };
        match self {
            Scd2Preset::Dbt => Scd2Shape {
                deleted_column: Some("dbt_is_deleted".to_owned()),
                ..shape(
                    "dbt_valid_from",
                    "dbt_valid_to",
                    &["dbt_scd_id", "dbt_updated_at"],
                )
            },
            Scd2Preset::Sqlmesh => Scd2Shape {
                epoch_is_unknown: true,
                ..shape("valid_from", "valid_to", &[])
            },
            Scd2Preset::Dlt => shape(
                "_dlt_valid_from",
                "_dlt_valid_to",
                &["_dlt_id", "_dlt_load_id"],
            ),
            Scd2Preset::Fivetran => Scd2Shape {
                end: VersionEnd::LastMillisecond,
                current_column: Some("_fivetran_active".to_owned()),
                ..shape("_fivetran_start", "_fivetran_end", &["_fivetran_synced"])
            },
        }
    }
}

/// How a table writes versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scd2Shape {
    /// The column of beginnings.
    pub start_column: String,
    /// The column of ends.
    pub end_column: String,
    /// Whether a version still holds at its end.
    pub end: VersionEnd,
    /// Ends on this date or later, and nulls, are open.
    pub open_from: NaiveDate,
    /// The column that marks versions that say that the key was deleted, which a table may lack.
    pub deleted_column: Option<String>,
    /// The column that marks current versions.
    pub current_column: Option<String>,
    /// The tool's other columns, which a table may lack. They are not attributes of rows.
    pub left_out: Vec<String>,
    /// Whether a timestamp without a time zone is in UTC. Otherwise it counts as it is written.
    pub plain_is_utc: bool,
    /// Whether a version that begins at 1970-01-01 00:00:00 began before the first run of the tool,
    /// nobody knows when.
    pub epoch_is_unknown: bool,
}

/// Whether a version still holds at the end that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionEnd {
    /// It is the first instant, or day, at which it no longer holds.
    Exclusive,
    /// It is the last millisecond of the version.
    LastMillisecond,
    /// It is the last instant, or day: the second if it is a whole one, else the millisecond, or
    /// the microsecond.
    Inclusive,
}

impl VersionEnd {
    /// The first instant after a version with this end.
    pub fn after(self, end: i128) -> i128 {
        match self {
            VersionEnd::Exclusive => end,
            VersionEnd::LastMillisecond => end + SECOND / 1_000,
            VersionEnd::Inclusive => {
                let units = [SECOND, SECOND / 1_000, SECOND / 1_000_000];
                let unit = units.into_iter().find(|unit| end.rem_euclid(*unit) == 0);
                end + unit.unwrap_or(1)
            }
        }
    }

    /// The first day after a version whose end is a date.
    pub fn day_after(self, end: i32) -> i32 {
        match self {
            VersionEnd::Exclusive => end,
            VersionEnd::LastMillisecond | VersionEnd::Inclusive => end.saturating_add(1),
        }
    }
}

/// When a version holds. Instants are nanoseconds since 1970-01-01 UTC, or as they are written if
/// no time zone is known; days are days since 1970-01-01 in the time zone of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionTime {
    /// The first instant.
    pub start: i128,
    /// The first instant after it; nothing if it is open.
    pub after: Option<i128>,
    /// The first day at whose end it holds, if it holds at the end of any.
    pub start_day: i32,
    /// The first day after at whose end it does not hold.
    pub after_day: Option<i32>,
}

impl VersionTime {
    /// Whether it holds at no instant: it ended as it began.
    pub fn is_empty(&self) -> bool {
        self.after == Some(self.start)
    }

    /// Whether it ends before it begins.
    pub fn is_backwards(&self) -> bool {
        self.after.is_some_and(|after| after < self.start)
    }

    /// Whether it still holds when `next`, which begins no earlier, begins.
    fn overlaps(&self, next: &VersionTime) -> bool {
        self.after.is_none_or(|after| after > next.start)
    }

    /// Whether there is an instant between it and `next` at which neither holds.
    fn leaves_a_gap_to(&self, next: &VersionTime) -> bool {
        self.after.is_some_and(|after| after < next.start)
    }
}

/// The days of which the history is wanted, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayWindow {
    /// The first day.
    pub first: i32,
    /// The last day.
    pub last: i32,
}

/// On which days of a window a version counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionDays {
    /// On these, up to before the second, or from the first on as far as is known.
    Held(i32, Option<i32>),
    /// On none: it ended on the day on which it began.
    WithinADay,
    /// On none: it ended before the window.
    Before,
    /// On none: it began after the window.
    After,
}

impl DayWindow {
    /// The days of the window at whose end a version holds.
    pub fn days(&self, time: &VersionTime) -> VersionDays {
        if time.after_day.is_some_and(|after| after <= time.start_day) {
            return VersionDays::WithinADay;
        }
        if time.start_day > self.last {
            return VersionDays::After;
        }
        if time.after_day.is_some_and(|after| after <= self.first) {
            return VersionDays::Before;
        }
        let after = time.after_day.filter(|after| *after <= self.last);
        VersionDays::Held(time.start_day.max(self.first), after)
    }
}

/// A version of a key.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// When it holds.
    pub time: VersionTime,
    /// The digest of its attributes.
    pub row: u128,
    /// The digest of all of its columns, those of the tool too.
    pub whole: u128,
    /// Whether it says that the key was deleted.
    pub is_deletion: bool,
}

/// What a version is beside those of its key before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionVerdict {
    /// It is the row before it once more, in every column.
    pub is_duplicate: bool,
    /// It begins before this one ends.
    pub overlapped: Option<VersionTime>,
    /// It goes on where the one before it ended, with the same attributes.
    pub changes_nothing: bool,
    /// The key was absent at the end of these days, from the first to before the second.
    pub absent: Option<(i32, i32)>,
}

/// The versions of one key after the other, each in the order of its beginnings.
#[derive(Debug, Default)]
pub struct VersionSequence {
    /// The one before, and the one of the key that holds longest.
    last: Option<Version>,
    longest: Option<VersionTime>,
    /// The first day on which the key was absent again; nothing while it is present, or if it never
    /// was.
    absent_from: Option<i32>,
}

impl VersionSequence {
    /// What the next version is. `is_new_key` says that the one before is of another key.
    pub fn next(&mut self, version: &Version, is_new_key: bool) -> VersionVerdict {
        if is_new_key {
            (self.last, self.longest, self.absent_from) = (None, None, None);
        }
        let mut verdict = VersionVerdict::default();
        if let Some(last) = &self.last {
            if last.whole == version.whole {
                verdict.is_duplicate = true;
                return verdict;
            }
            let longest = self.longest.unwrap_or(last.time);
            let overlaps = longest.overlaps(&version.time);
            verdict.overlapped = overlaps.then_some(longest);
            verdict.changes_nothing = !overlaps
                && last.row == version.row
                && last.is_deletion == version.is_deletion
                && !last.time.leaves_a_gap_to(&version.time);
        }
        let is_within_a_day = version
            .time
            .after_day
            .is_some_and(|after| after <= version.time.start_day);
        if !version.is_deletion && !is_within_a_day {
            let began = version.time.start_day;
            verdict.absent = self
                .absent_from
                .filter(|from| *from < began)
                .map(|from| (from, began));
            self.absent_from = version.time.after_day;
        }
        let longest = match self.longest {
            Some(longest) if longest.after.is_none() => longest,
            Some(longest)
                if version
                    .time
                    .after
                    .is_some_and(|after| Some(after) < longest.after) =>
            {
                longest
            }
            _ => version.time,
        };
        self.longest = Some(longest);
        self.last = Some(*version);
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i128 = 86_400 * SECOND;

    /// A version from one hour to another, counted from 1970-01-01.
    fn version(row: u128, start: i128, end: Option<i128>) -> Version {
        let day = |hour: i128| i32::try_from(hour.div_euclid(24)).expect("small");
        let instant = |hour: i128| hour * 3600 * SECOND;
        Version {
            time: VersionTime {
                start: instant(start),
                after: end.map(instant),
                start_day: day(start),
                after_day: end.map(day),
            },
            row,
            whole: row * 1000 + u128::try_from(start).expect("positive"),
            is_deletion: false,
        }
    }

    #[test]
    fn the_version_at_the_end_of_a_day_counts_on_that_day() {
        let window = DayWindow { first: 1, last: 9 };
        let days = |start, end| window.days(&version(1, start, end).time);
        assert_eq!(days(30, Some(60)), VersionDays::Held(1, Some(2)));
        assert_eq!(days(48, Some(72)), VersionDays::Held(2, Some(3)));
        assert_eq!(days(50, Some(60)), VersionDays::WithinADay);
        assert_eq!(days(0, Some(20)), VersionDays::WithinADay);
        assert_eq!(days(0, Some(24)), VersionDays::Before);
        assert_eq!(days(0, Some(48)), VersionDays::Held(1, Some(2)));
        assert_eq!(days(9 * 24, None), VersionDays::Held(9, None));
        assert_eq!(days(9 * 24, Some(900)), VersionDays::Held(9, None));
        assert_eq!(days(10 * 24, None), VersionDays::After);
    }

    #[test]
    fn versions_follow_one_another_overlap_or_leave_days_out() {
        let mut sequence = VersionSequence::default();
        let first = sequence.next(&version(1, 10, Some(30)), true);
        assert_eq!(first, VersionVerdict::default());
        let same = sequence.next(&version(1, 30, Some(50)), false);
        assert!(same.changes_nothing && same.absent.is_none());
        let back = sequence.next(&version(1, 100, None), false);
        assert_eq!((back.absent, back.changes_nothing), (Some((2, 4)), false));
        let overlapping = sequence.next(&version(2, 120, Some(130)), false);
        assert_eq!(
            overlapping.overlapped,
            Some(version(1, 100, None).time),
            "it is still open"
        );
        // The longest of the key counts, and not only the last.
        assert!(
            sequence
                .next(&version(3, 140, None), false)
                .overlapped
                .is_some()
        );
        assert_eq!(
            sequence.next(&version(3, 140, None), false),
            VersionVerdict {
                is_duplicate: true,
                ..VersionVerdict::default()
            }
        );
        assert_eq!(
            sequence.next(&version(3, 150, None), true),
            VersionVerdict::default()
        );
    }

    #[test]
    fn an_inclusive_end_is_as_precise_as_it_is_written() {
        let after = |end: VersionEnd, nanoseconds: i128| end.after(nanoseconds) - nanoseconds;
        let ends = [
            VersionEnd::Exclusive,
            VersionEnd::LastMillisecond,
            VersionEnd::Inclusive,
        ];
        let at = |instant: i128| ends.map(|end| after(end, instant));
        assert_eq!(at(7 * SECOND), [0, 1_000_000, SECOND]);
        assert_eq!(at(7 * SECOND + 5_000_000), [0, 1_000_000, 1_000_000]);
        assert_eq!(at(7 * SECOND + 5_000), [0, 1_000_000, 1_000]);
        assert_eq!(at(7 * SECOND + 5), [0, 1_000_000, 1]);
        assert_eq!(ends.map(|end| end.day_after(5)), [5, 6, 6]);
    }

    #[test]
    fn a_deletion_record_is_an_absence() {
        let mut sequence = VersionSequence::default();
        sequence.next(&version(1, 0, Some(48)), true);
        let deleted = Version {
            is_deletion: true,
            ..version(1, 48, Some(96))
        };
        let verdict = sequence.next(&deleted, false);
        assert!(!verdict.changes_nothing && verdict.absent.is_none());
        let back = sequence.next(&version(1, 96, None), false);
        assert_eq!((back.absent, back.changes_nothing), (Some((2, 4)), false));
    }

    #[test]
    fn empty_and_backward_versions_are_told_apart() {
        let time = |after: i128| VersionTime {
            start: DAY,
            after: Some(after),
            start_day: 1,
            after_day: Some(1),
        };
        assert!(time(DAY).is_empty() && !time(DAY).is_backwards());
        assert!(time(DAY - 1).is_backwards() && !time(DAY + 1).is_empty());
    }
}
