//! How many rows hold on each observed date, counted from intervals.
//!
//! The count of each date must be the number of rows of its snapshot. So intervals that another
//! program computed, and rows that were lost or written twice on the way, are noticed before
//! anything is published. Each interval costs two searches among the dates.

use chrono::NaiveDate;

use super::interval::Interval;

/// Counts rows by observed date.
pub struct HeldRows {
    /// The observed dates, ascending.
    dates: Vec<NaiveDate>,
    /// How many more rows begin to hold on each date than ended before it.
    steps: Vec<i64>,
}

impl HeldRows {
    /// No rows yet, on dates that ascend.
    pub fn on(dates: Vec<NaiveDate>) -> Self {
        HeldRows {
            steps: vec![0; dates.len() + 1],
            dates,
        }
    }

    /// Counts a row.
    pub fn add(&mut self, interval: &Interval) {
        let from = self.dates.partition_point(|date| *date < interval.start);
        let to = match interval.end {
            Some(end) => self.dates.partition_point(|date| *date <= end),
            None => self.dates.len(),
        };
        if from < to {
            self.steps[from] += 1;
            self.steps[to] -= 1;
        }
    }

    /// The number of rows that hold on each date, ascending.
    pub fn counts(&self) -> impl Iterator<Item = (NaiveDate, u64)> + '_ {
        let mut held = 0;
        self.dates.iter().zip(&self.steps).map(move |(date, step)| {
            held += step;
            (*date, held.unsigned_abs())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    #[test]
    fn a_row_counts_on_the_observed_dates_on_which_it_holds() {
        let date = |day: u32| parse_date(&format!("2024-03-{day:02}")).expect("a date");
        let dates: Vec<NaiveDate> = [1, 3, 4, 9].map(date).to_vec();
        let rows = [
            (1, None),
            (1, Some(2)),
            (2, Some(3)),
            (4, Some(8)),
            (5, Some(8)),
            (9, None),
        ];
        let mut held = HeldRows::on(dates.clone());
        let rows = rows.map(|(start, end)| Interval {
            start: date(start),
            end: end.map(date),
        });
        rows.iter().for_each(|row| held.add(row));
        for (at, count) in held.counts() {
            let holding = rows.iter().filter(|row| row.holds(at)).count() as u64;
            assert_eq!(count, holding, "{at}");
        }
        assert_eq!(held.counts().map(|(at, _)| at).collect::<Vec<_>>(), dates);
    }
}
