//! As of: which snapshot serves a date.
//!
//! `snapshot_date = D` means "the state that events of day D should see". A table whose copy is
//! taken at the start of the day has a lag of one day: events of D join the copy labelled D-1. When
//! the date that is asked for has no snapshot, the latest earlier one serves, but only within the
//! tolerance, since an older state is another answer. The dates after the last snapshot are no
//! exception: an open end promises nothing past the last observed date.

use chrono::NaiveDate;

use crate::model::DaySpan;

/// How a table is looked up for the events of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AsOfRule {
    /// How many days before the events' date the label lies.
    pub lag: DaySpan,
    /// How many days older than that the snapshot may be.
    pub tolerance: DaySpan,
}

/// Why no snapshot serves a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSnapshot {
    /// There is none on or before the date.
    Before,
    /// The latest one is older than the tolerance.
    TooOld(NaiveDate),
}

impl AsOfRule {
    /// The label that events of `date` ask for.
    pub fn label(&self, date: NaiveDate) -> NaiveDate {
        self.lag.before(date)
    }

    /// The earliest label that the tolerance admits for events of `date`.
    pub fn earliest(&self, date: NaiveDate) -> NaiveDate {
        self.tolerance.before(self.label(date))
    }

    /// The observed date whose snapshot serves the events of `date`. `observed` is ascending.
    ///
    /// # Errors
    /// Whether there is no snapshot at all or only one too old.
    pub fn resolve(
        &self,
        observed: &[NaiveDate],
        date: NaiveDate,
    ) -> Result<NaiveDate, NoSnapshot> {
        let label = self.label(date);
        let found = latest(observed, label).ok_or(NoSnapshot::Before)?;
        if (label - found).num_days() > i64::from(self.tolerance.0) {
            return Err(NoSnapshot::TooOld(found));
        }
        Ok(found)
    }

    /// The rule in words, for explanations.
    pub fn in_words(&self) -> String {
        let label = match self.lag.0 {
            0 => "events of D see the snapshot labelled D".to_owned(),
            1 => "events of D see the snapshot labelled D-1".to_owned(),
            days => format!("events of D see the snapshot labelled D-{days}"),
        };
        match self.tolerance.0 {
            0 => label,
            1 => format!("{label}, or the day before it"),
            days => format!("{label}, or the latest of the {days} days before it"),
        }
    }
}

/// The latest observed date that is not after `date`. `observed` is ascending.
pub fn latest(observed: &[NaiveDate], date: NaiveDate) -> Option<NaiveDate> {
    observed[..observed.partition_point(|seen| *seen <= date)]
        .last()
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn rule(lag: u32, tolerance: u32) -> AsOfRule {
        AsOfRule {
            lag: DaySpan(lag),
            tolerance: DaySpan(tolerance),
        }
    }

    #[test]
    fn a_date_is_served_by_its_own_snapshot_and_by_no_other_unless_told() {
        let observed = [date("2024-01-01"), date("2024-01-03")];
        assert_eq!(
            rule(0, 0).resolve(&observed, date("2024-01-03")),
            Ok(date("2024-01-03"))
        );
        assert_eq!(
            rule(0, 0).resolve(&observed, date("2024-01-02")),
            Err(NoSnapshot::TooOld(date("2024-01-01")))
        );
        assert_eq!(
            rule(0, 1).resolve(&observed, date("2024-01-02")),
            Ok(date("2024-01-01"))
        );
        assert_eq!(
            rule(0, 9).resolve(&observed, date("2023-12-31")),
            Err(NoSnapshot::Before)
        );
    }

    #[test]
    fn tolerance_counts_from_the_label_and_holds_past_the_last_snapshot() {
        let observed = [date("2024-01-03")];
        assert_eq!(
            rule(0, 2).resolve(&observed, date("2024-01-05")),
            Ok(date("2024-01-03"))
        );
        assert_eq!(
            rule(0, 2).resolve(&observed, date("2024-01-06")),
            Err(NoSnapshot::TooOld(date("2024-01-03")))
        );
        assert_eq!(
            rule(1, 2).resolve(&observed, date("2024-01-06")),
            Ok(date("2024-01-03"))
        );
    }

    #[test]
    fn the_rule_is_said_in_words() {
        assert_eq!(
            rule(0, 0).in_words(),
            "events of D see the snapshot labelled D"
        );
        assert_eq!(
            rule(1, 1).in_words(),
            "events of D see the snapshot labelled D-1, or the day before it"
        );
        assert_eq!(
            rule(2, 7).in_words(),
            "events of D see the snapshot labelled D-2, or the latest of the 7 days before it"
        );
    }

    #[test]
    fn a_lag_joins_the_copy_of_the_day_before() {
        let observed = [date("2024-01-01"), date("2024-01-02")];
        assert_eq!(
            rule(1, 0).resolve(&observed, date("2024-01-02")),
            Ok(date("2024-01-01"))
        );
        assert_eq!(
            rule(1, 0).resolve(&observed, date("2024-01-01")),
            Err(NoSnapshot::Before)
        );
    }
}
