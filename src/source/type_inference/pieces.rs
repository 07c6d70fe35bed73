//! What the values of a column have in common, from what those of each of its pieces have.
//!
//! Pieces of a source are looked at on all processors, each by a [`Guess`] of its own that begins
//! with what is known of the column. They are put together in the order of the source, so the first
//! value that is not of a type is the first of the first piece that has one.

use super::{CommaWatch, Guess};

impl Guess {
    /// Adds what the values of the piece that comes next have shown.
    pub(in crate::source) fn add_later(&mut self, later: Guess) {
        self.seen |= later.seen;
        for (first, later) in [
            (&mut self.not_fixed, later.not_fixed),
            (&mut self.not_whole, later.not_whole),
            (&mut self.not_number, later.not_number),
            (&mut self.not_float64, later.not_float64),
            (&mut self.not_float32, later.not_float32),
            (&mut self.not_decimal, later.not_decimal),
            (&mut self.not_bool, later.not_bool),
            (&mut self.not_date, later.not_date),
            (&mut self.not_day, later.not_day),
            (&mut self.not_timestamp, later.not_timestamp),
            (&mut self.not_utc, later.not_utc),
            (&mut self.finer_than_us, later.finer_than_us),
            (&mut self.beyond_ns, later.beyond_ns),
            (&mut self.finer_than_ms, later.finer_than_ms),
        ] {
            if first.is_none() {
                *first = later;
            }
        }
        // Of equal numbers the first counts, as within a piece.
        if let Some(later) = later.least
            && self.least.is_none_or(|least| later.0 < least.0)
        {
            self.least = Some(later);
        }
        if let Some(later) = later.most
            && self.most.is_none_or(|most| later.0 > most.0)
        {
            self.most = Some(later);
        }
        let most = (
            self.decimal_digits.0.max(later.decimal_digits.0),
            self.decimal_digits.1.max(later.decimal_digits.1),
        );
        if most != self.decimal_digits {
            (self.decimal_digits, self.longest) = (most, later.longest);
        }
        self.has_exponent |= later.has_exponent;
        self.has_fraction |= later.has_fraction;
        self.commas.add_later(later.commas);
    }
}

impl CommaWatch {
    fn add_later(&mut self, later: CommaWatch) {
        self.is_text |= later.is_text;
        self.has_points |= later.has_points;
        self.has_decimals |= later.has_decimals;
        if self.example.is_none() {
            self.example = later.example;
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use proptest::prelude::*;

    use super::super::{ValuePlace, Written};
    use super::*;
    use crate::source::Input;

    /// What is decided of values, and what is said of those that do not fit.
    fn decided(guess: &Guess) -> String {
        let inputs: [Input; 0] = [];
        match guess.decide("c", &inputs) {
            Ok(data_type) => format!("{data_type}, {:?}", guess.commas()),
            Err(error) => error.to_string(),
        }
    }

    fn of(values: &[(u64, &str)], pinned: Option<&DataType>, written: Written) -> Guess {
        let mut guess = Guess::pinned(pinned, written);
        for (line, value) in values {
            let place = ValuePlace {
                file: 0,
                line: *line,
            };
            guess.see(value, place);
        }
        guess
    }

    #[test]
    fn a_fraction_after_all_else_is_known_counts_in_every_piece() {
        let long = "99999999999999999999999999999999999999";
        let values: Vec<(u64, &str)> = (1..).zip(["1", "16777217", "1e3", long, "1.5"]).collect();
        let pinned = Some(&DataType::Int32);
        for cut in 0..values.len() {
            let (before, after) = values.split_at(cut);
            let mut pieces = of(before, pinned, Written::JsonNumbers);
            pieces.add_later(of(after, pinned, Written::JsonNumbers));
            let whole = of(&values, pinned, Written::JsonNumbers);
            assert_eq!(decided(&pieces), decided(&whole), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn pieces_decide_as_the_whole_does(
            values in prop::collection::vec(prop::sample::select(vec![
                "1", "-7", "007", "9223372036854775808", "1.5", "1e3", "1,5", "1.234,5", "true", "x",
                "2024-01-31", "2024-01-31T10:00:00", "2024-01-31T10:00:00.1234567Z", "9999-12-31T00:00:00",
                "16777217", "99999999999999999999999999999999999999",
            ]), 0..12),
            cut in 0usize..12,
            column in prop::sample::select(vec![
                (None, Written::Plain), (None, Written::JsonStrings), (Some(DataType::Int32), Written::JsonNumbers),
                (Some(DataType::Float64), Written::JsonNumbers), (Some(DataType::Date32), Written::Plain),
                (Some(DataType::Utf8), Written::Plain), (Some(DataType::Boolean), Written::JsonStrings),
            ]),
        ) {
            let values: Vec<(u64, &str)> = (1..).zip(values).collect();
            let (pinned, written) = column;
            let (before, after) = values.split_at(cut.min(values.len()));
            let mut pieces = of(before, pinned.as_ref(), written);
            pieces.add_later(of(after, pinned.as_ref(), written));
            prop_assert_eq!(decided(&pieces), decided(&of(&values, pinned.as_ref(), written)));
        }
    }
}
