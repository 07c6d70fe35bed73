//! Gaps: what a missing date means.
//!
//! A missing date is a job that did not run, not a mass delete. `carry` (the default) lets the last
//! copy hold until the next; `error` refuses any gap; `split` ends every interval at the last
//! observed date before the gap and starts anew after it, for tables where a missing day is
//! unknown.

use chrono::{Days, NaiveDate};

use crate::error::{Error, Result};

/// What a missing date between two observed ones means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapPolicy {
    /// The last copy holds until the next, over at most `max_gap` missing days if that is set.
    Carry {
        /// The most days that may be missing in a row.
        max_gap: Option<u32>,
    },
    /// Any missing date is refused.
    Error,
    /// Every interval ends before the gap and another begins after it.
    Split,
}

/// A run of missing dates: the observed dates on both of its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last observed date before the gap.
    pub before: NaiveDate,
    /// The first observed date after it.
    pub after: NaiveDate,
}

impl Gap {
    /// How many dates are missing; at least one.
    pub fn days(&self) -> u32 {
        u32::try_from((self.after - self.before).num_days() - 1).unwrap_or(0)
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.before + Days::new(1);
        let last = self.after - Days::new(1);
        match self.days() {
            1 => write!(f, "{first} (1 day)"),
            days => write!(f, "{first} to {last} ({days} days)"),
        }
    }
}

/// The gaps between ascending observed dates.
pub fn gaps(observed: &[NaiveDate]) -> impl Iterator<Item = Gap> + '_ {
    observed.windows(2).filter_map(|pair| {
        let gap = Gap {
            before: pair[0],
            after: pair[1],
        };
        (gap.days() > 0).then_some(gap)
    })
}

impl GapPolicy {
    /// Carry without a limit, the default of the command line.
    pub const CARRY: GapPolicy = GapPolicy::Carry { max_gap: None };

    /// The policy's name on the command line and in footers.
    pub fn name(self) -> &'static str {
        match self {
            GapPolicy::Carry { .. } => "carry",
            GapPolicy::Error => "error",
            GapPolicy::Split => "split",
        }
    }

    /// The most missing days in a row that the policy accepts, if it has a limit.
    pub fn max_gap(self) -> Option<u32> {
        match self {
            GapPolicy::Carry { max_gap } => max_gap,
            GapPolicy::Error => Some(0),
            GapPolicy::Split => None,
        }
    }

    /// Whether intervals run across the step from one observed date to the next.
    pub fn joins(self, before: NaiveDate, after: NaiveDate) -> bool {
        !matches!(self, GapPolicy::Split) || Gap { before, after }.days() == 0
    }

    /// The inclusive end of a run that was last seen on `last` when the next observed date is
    /// `next`.
    pub fn run_end(self, last: NaiveDate, next: NaiveDate) -> NaiveDate {
        match self {
            GapPolicy::Split => last,
            GapPolicy::Carry { .. } | GapPolicy::Error => next - Days::new(1),
        }
    }

    /// Refuses observed dates whose gaps the policy does not accept, and lists those gaps.
    ///
    /// # Errors
    /// A refusal that names the table and up to ten gaps.
    pub fn check(self, table: &str, observed: &[NaiveDate]) -> Result<()> {
        let Some(most) = self.max_gap() else {
            return Ok(());
        };
        let wrong: Vec<Gap> = gaps(observed).filter(|gap| gap.days() > most).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = wrong.iter().take(10).map(Gap::to_string).collect();
        let rest = wrong.len().saturating_sub(10);
        let more = if rest > 0 {
            format!(", and {rest} more")
        } else {
            String::new()
        };
        let limit = match most {
            0 => String::new(),
            1 => " longer than 1 day".to_owned(),
            days => format!(" longer than {days} days"),
        };
        let noun = if wrong.len() == 1 { "gap" } else { "gaps" };
        let longest = wrong.iter().map(Gap::days).max().unwrap_or(most);
        let error = Error::refused(format!(
            "table {table} has {} {noun}{limit}: {}{more}",
            wrong.len(),
            shown.join(", ")
        ))
        .hint(
            "take the missing snapshots with 'asof snapshot --date D --backdate' if the \
             data of those days is still available",
        );
        Err(match self {
            GapPolicy::Carry { .. } => error.hint(format!(
                "--max-gap {longest} accepts them; \
                 --gaps split ends intervals before a gap"
            )),
            _ => error.hint(
                "--gaps carry lets the last copy hold until the next; --gaps split \
                 ends intervals before a gap",
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    fn dates(texts: &[&str]) -> Vec<NaiveDate> {
        texts
            .iter()
            .map(|text| parse_date(text).expect("a date"))
            .collect()
    }

    #[test]
    fn a_gap_counts_the_missing_days_and_not_its_sides() {
        let observed = dates(&["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-10"]);
        let found: Vec<String> = gaps(&observed).map(|gap| gap.to_string()).collect();
        assert_eq!(
            found,
            ["2024-01-03 (1 day)", "2024-01-05 to 2024-01-09 (5 days)"]
        );
    }

    #[test]
    fn a_limit_is_the_most_that_is_accepted() {
        let observed = dates(&["2024-01-01", "2024-01-04"]);
        assert!(
            GapPolicy::Carry { max_gap: Some(2) }
                .check("item", &observed)
                .is_ok()
        );
        let error = GapPolicy::Carry { max_gap: Some(1) }
            .check("item", &observed)
            .expect_err("too long");
        assert_eq!(
            error.to_string(),
            "table item has 1 gap longer than 1 day: 2024-01-02 to 2024-01-03 (2 days)"
        );
        assert!(GapPolicy::Error.check("item", &observed).is_err());
        assert!(GapPolicy::Split.check("item", &observed).is_ok());
        assert!(
            GapPolicy::Error
                .check("item", &dates(&["2024-01-01", "2024-01-02"]))
                .is_ok()
        );
    }

    #[test]
    fn carry_ends_before_the_next_and_split_on_the_last() {
        let observed = dates(&["2024-01-01", "2024-01-04", "2024-01-05"]);
        let a = observed[0];
        let b = observed[1];
        let c = observed[2];
        assert_eq!(GapPolicy::CARRY.run_end(a, b).to_string(), "2024-01-03");
        assert_eq!(GapPolicy::Split.run_end(a, b), a);
        assert_eq!(
            GapPolicy::CARRY.run_end(b, c),
            GapPolicy::Split.run_end(b, c)
        );
        assert!(
            GapPolicy::CARRY.joins(a, b)
                && !GapPolicy::Split.joins(a, b)
                && GapPolicy::Split.joins(b, c)
        );
    }
}
