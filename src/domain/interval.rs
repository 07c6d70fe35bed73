//! Intervals: where they begin and end, and how an end is written.
//!
//! In memory an end is always inclusive, or `None` while the run reaches the last observed date.
//! On disk it is what the user's queries expect ([`Convention`]): inclusive with `9999-12-31` for
//! open by default, so that `active_start <= D AND active_end >= D` is right verbatim; exclusive
//! (`valid_from <= D AND D < valid_to`) and `null` for open as dbt has them.

use chrono::{Days, NaiveDate};

use crate::error::{Error, Result};

/// The date that stands for "open" unless `null` is asked for.
pub const OPEN_END: NaiveDate = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a date");

/// How the ends of intervals are named and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convention {
    /// The name of the column that holds a run's first date.
    pub start_column: String,
    /// The name of the column that holds its end.
    pub end_column: String,
    /// Whether the end is the first date on which the row no longer holds.
    pub exclusive: bool,
    /// Whether an open end is null rather than [`OPEN_END`].
    pub open_null: bool,
}

impl Default for Convention {
    fn default() -> Self {
        Convention {
            start_column: "active_start".into(),
            end_column: "active_end".into(),
            exclusive: false,
            open_null: false,
        }
    }
}

impl Convention {
    /// The value to write for an inclusive end, or for an open one.
    pub fn encode(&self, end: Option<NaiveDate>) -> Option<NaiveDate> {
        match end {
            Some(end) if self.exclusive => Some(end + Days::new(1)),
            Some(end) => Some(end),
            None => (!self.open_null).then_some(OPEN_END),
        }
    }

    /// The inclusive end that a written value stands for; `None` is open.
    pub fn decode(&self, written: Option<NaiveDate>) -> Option<NaiveDate> {
        match written {
            None => None,
            Some(written) if !self.open_null && written == OPEN_END => None,
            Some(written) if self.exclusive => Some(written - Days::new(1)),
            Some(written) => Some(written),
        }
    }

    /// The condition that selects the rows as of a date, to be shown to users.
    pub fn condition(&self, date: &str) -> String {
        self.condition_of(date, str::to_owned)
    }

    /// The same condition with its columns quoted.
    pub fn condition_of(&self, date: &str, quoted: impl Fn(&str) -> String) -> String {
        let start = quoted(&self.start_column);
        let end = quoted(&self.end_column);
        let comparison = if self.exclusive { ">" } else { ">=" };
        if self.open_null {
            format!("{start} <= {date} AND ({end} {comparison} {date} OR {end} IS NULL)")
        } else {
            format!("{start} <= {date} AND {end} {comparison} {date}")
        }
    }

    /// Refuses a table whose own columns have the names of the interval's.
    ///
    /// # Errors
    /// A usage error that names the column and the option that renames it.
    pub fn check_columns<'a>(
        &self,
        table: &str,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Result<()> {
        if self.start_column == self.end_column {
            return Err(Error::usage(format!(
                "the start and the end column are both named '{}'",
                self.start_column
            )));
        }
        for column in columns {
            for (name, option) in [
                (&self.start_column, "--start-column"),
                (&self.end_column, "--end-column"),
            ] {
                if column == name {
                    return Err(Error::usage(format!(
                        "table {table} has a column '{column}' of its own, the name of an \
                         interval's column"
                    ))
                    .hint(format!("{option} asof_{column}")));
                }
            }
        }
        Ok(())
    }
}

/// One key's unchanged row over `[start, end]`, both inclusive; an end of `None` is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first date.
    pub start: NaiveDate,
    /// The last date, or `None` while the row still holds.
    pub end: Option<NaiveDate>,
}

impl Interval {
    /// Whether the row holds on `date`.
    pub fn holds(&self, date: NaiveDate) -> bool {
        self.start <= date && self.end.is_none_or(|end| date <= end)
    }

    /// Whether `next`, of the same key, begins after this one ends.
    pub fn precedes(&self, next: &Interval) -> bool {
        self.end.is_some_and(|end| end < next.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::parse_date;

    fn date(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    proptest! {
        #[test]
        fn a_written_end_reads_back(exclusive: bool, open_null: bool, day in proptest::option::of(0i64..9000)) {
            let convention = Convention { exclusive, open_null, ..Convention::default() };
            let end = day.map(|day| date("2001-01-01") + chrono::Duration::days(day));
            prop_assert_eq!(convention.decode(convention.encode(end)), end);
        }
    }

    #[test]
    fn an_inclusive_interval_holds_on_both_of_its_ends() {
        let closed = Interval {
            start: date("2024-01-02"),
            end: Some(date("2024-01-04")),
        };
        let held: Vec<bool> = (1..=5)
            .map(|day| closed.holds(date(&format!("2024-01-0{day}"))))
            .collect();
        assert_eq!(held, [false, true, true, true, false]);
        let open = Interval {
            start: date("2024-01-05"),
            end: None,
        };
        assert!(open.holds(date("2150-01-01")) && !open.holds(date("2024-01-04")));
        assert!(closed.precedes(&open) && !open.precedes(&closed) && !closed.precedes(&closed));
        assert!(!closed.precedes(&Interval {
            start: date("2024-01-04"),
            end: None
        }));
    }

    #[test]
    fn an_exclusive_end_is_the_day_after() {
        let dbt = Convention {
            exclusive: true,
            open_null: true,
            ..Convention::default()
        };
        assert_eq!(
            dbt.encode(Some(date("2024-02-29"))),
            Some(date("2024-03-01"))
        );
        assert_eq!(dbt.encode(None), None);
        assert_eq!(Convention::default().encode(None), Some(OPEN_END));
    }

    #[test]
    fn a_column_that_is_already_there_is_refused_with_the_option() {
        let error = Convention::default()
            .check_columns("item", ["id", "active_end"])
            .expect_err("a clash");
        assert_eq!(error.hints(), ["--end-column asof_active_end"]);
    }
}
