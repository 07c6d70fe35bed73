//! Dates as Arrow writes them: days since 1970-01-01.

use chrono::{Datelike, NaiveDate};

use crate::error::{Error, Result};

/// Days from the common era's first day to 1970-01-01.
pub const EPOCH_DAYS: i32 = 719_163;

/// Days since 1970-01-01, as Arrow writes dates.
pub fn to_days(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - EPOCH_DAYS
}

/// A date from days since 1970-01-01.
///
/// # Errors
/// A refusal for a number that is not a date.
pub fn from_days(days: i32) -> Result<NaiveDate> {
    days.checked_add(EPOCH_DAYS)
        .and_then(NaiveDate::from_num_days_from_ce_opt)
        .ok_or_else(|| Error::refused(format!("{days} days since 1970 is not a date")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        let date = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a date");
        assert_eq!(
            to_days(NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date")),
            0
        );
        assert_eq!(from_days(to_days(date)).expect("a date"), date);
        assert!(from_days(i32::MAX).is_err());
    }
}
