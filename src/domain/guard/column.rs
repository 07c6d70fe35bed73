//! Guards of one column: nulls, accepted values, duplicates, and the age of the newest value.
//!
//! | setting | is broken by | null |
//! | --- | --- | --- |
//! | `max_null = "5%"` | nulls in more than that share of the rows | counts |
//! | `max_null = 0` | nulls in more rows than that | counts |
//! | `accepted = [..]` | a value that is not one of them | is accepted |
//! | `unique = true` | a value that several rows have | is not a duplicate |
//! | `max_age = "2d"` | a newest value that is older, or no value | is passed over |
//!
//! The names and the treatment of nulls are those of dbt's `accepted_values` and `unique` and of
//! Soda's `missing_percent`, `missing_count` and `freshness`.
//!
//! [`ColumnGuard::broken`] goes from counts to words. Rows are counted elsewhere, in
//! `engine::column_guards`.

use std::collections::HashSet;
use std::time::Duration;

use arrow::array::{Array as _, StringArray};
use arrow::datatypes::DataType;
use chrono::NaiveDateTime;

use super::{BrokenGuard, GuardKind, Share};
use crate::domain::digest::cell_digests;
use crate::domain::text;
use crate::domain::type_names::type_name;
use crate::error::{Error, Result, shorten, toml_key, toml_text};
use crate::model::{in_largest_unit, in_two_units};

/// The guards of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnGuard {
    /// The name of the column.
    pub column: String,
    /// The most rows in which it may be null.
    pub max_null: Option<NullLimit>,
    /// The only values that it may have.
    pub accepted: Option<Vec<AcceptedValue>>,
    /// Whether no two rows may have the same value.
    pub unique: bool,
    /// How old the newest value may be.
    pub max_age: Option<Duration>,
}

/// The most rows in which a column may be null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NullLimit {
    /// A share of the rows, such as `"5%"`.
    Share(Share),
    /// A number of rows.
    Rows(u64),
}

/// A value that a column may have, as `asof.toml` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedValue {
    /// The value as text.
    pub text: String,
    /// Whether it is written as text: a column of text has no other values.
    pub is_text: bool,
}

/// What was counted of a column that has guards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Whether the column is not there. Then nothing is counted.
    pub is_absent: bool,
    /// How many rows there are.
    pub rows: u64,
    /// Rows in which the column is null.
    pub nulls: Offenders,
    /// Rows with a value that is not accepted.
    pub unaccepted: Offenders,
    /// Duplicate values: how many values, and of the first, the keys of two rows.
    pub duplicates: Offenders,
    /// The newest value, as it is shown, and when it is. Nothing without values.
    pub newest: Option<(String, NaiveDateTime)>,
    /// What the newest value is compared with: the time of the snapshot, as the column has it.
    pub now: NaiveDateTime,
}

/// Rows, or values, that break a guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offenders {
    /// How many there are.
    pub count: u64,
    /// The first, and where it is: the key of its row.
    pub first: Option<Offender>,
}

/// A value that breaks a guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// The value, as it is shown.
    pub value: String,
    /// The keys of its rows, such as `id=7`.
    pub place: String,
}

impl Offenders {
    /// Counts some more; the first of them is looked at if it is the first of all.
    pub fn add(&mut self, count: u64, first: impl FnOnce() -> Offender) {
        if count > 0 && self.first.is_none() {
            self.first = Some(first());
        }
        self.count += count;
    }

    fn place(&self) -> &str {
        self.first.as_ref().map_or("", |first| &first.place)
    }

    fn value(&self) -> &str {
        self.first.as_ref().map_or("", |first| &first.value)
    }
}

impl ColumnGuard {
    /// The digests of the accepted values in the type of the column; nothing if any is accepted, or
    /// if the column has no value yet.
    ///
    /// # Errors
    /// A usage error for a value that no value of the column can equal.
    pub fn accepted_digests(&self, data_type: &DataType) -> Result<Option<HashSet<u128>>> {
        let Some(accepted) = &self.accepted else {
            return Ok(None);
        };
        if data_type == &DataType::Null {
            return Ok(None);
        }
        let texts = accepted.iter().map(|value| Some(value.text.as_str()));
        let texts: StringArray = texts.collect();
        let wrong = |row: usize| {
            let value = &accepted[row];
            let shown = match value.is_text {
                true => format!("'{}'", shorten(&value.text)),
                false => value.text.clone(),
            };
            let what = format!(
                "'accepted' has {shown}, and the column is {}",
                type_name(data_type)
            );
            let text = format!("types = {{ {} = \"text\" }}", toml_key(&self.column));
            Error::usage(what).hint(format!(
                "correct 'accepted', or {text} in asof.toml, if the column is text"
            ))
        };
        if data_type == &DataType::Utf8
            && let Some(row) = accepted.iter().position(|value| !value.is_text)
        {
            let quoted: Vec<String> = accepted
                .iter()
                .map(|value| toml_text(&value.text))
                .collect();
            let quoted = format!("accepted = [{}]", quoted.join(", "));
            return Err(wrong(row).with_hints(|_| quoted.clone()));
        }
        let values = text::column(&texts, data_type).map_err(wrong)?;
        if values.null_count() > 0 {
            return Err(Error::usage(format!(
                "'accepted' does not apply to a column of type {}",
                type_name(data_type)
            )));
        }
        Ok(Some(cell_digests(&values)?.into_iter().collect()))
    }

    /// The guards that a column breaks.
    pub fn broken(&self, facts: &ColumnFacts) -> Vec<BrokenGuard> {
        let name = &self.column;
        let broken = |guard, rows, reason| BrokenGuard {
            guard,
            column: Some(name.clone()),
            rows,
            reason,
        };
        if facts.is_absent {
            let reason = format!("column '{name}' is gone, and it has guards");
            return vec![broken(self.first_kind(), None, reason)];
        }
        let mut all = Vec::new();
        let of_rows = |count: u64| {
            let share = Share::of(count, facts.rows);
            format!("{count} of {} rows ({share})", facts.rows)
        };
        if let Some(limit) = self.max_null.filter(|limit| {
            facts.nulls.count > 0 && limit.is_exceeded(facts.nulls.count, facts.rows)
        }) {
            let reason = format!(
                "column '{name}' is null in {}, such as {}, and max_null is {limit}",
                of_rows(facts.nulls.count),
                facts.nulls.place()
            );
            all.push(broken(GuardKind::MaxNull, Some(facts.nulls.count), reason));
        }
        if facts.unaccepted.count > 0 {
            let reason = format!(
                "column '{name}' has a value that is not accepted in {}, such as '{}' in {}",
                of_rows(facts.unaccepted.count),
                facts.unaccepted.value(),
                facts.unaccepted.place()
            );
            let rows = Some(facts.unaccepted.count);
            all.push(broken(GuardKind::Accepted, rows, reason));
        }
        if facts.duplicates.count > 0 {
            let values = match facts.duplicates.count {
                1 => "1 duplicate value".to_owned(),
                count => format!("{count} duplicate values"),
            };
            let reason = format!(
                "column '{name}' has {values}, such as '{}' in {}, and it is unique",
                facts.duplicates.value(),
                facts.duplicates.place()
            );
            all.push(broken(GuardKind::Unique, None, reason));
        }
        all.extend(
            self.age_in_words(facts)
                .map(|reason| broken(GuardKind::MaxAge, None, reason)),
        );
        all
    }

    /// How old the newest value is, if it is too old.
    fn age_in_words(&self, facts: &ColumnFacts) -> Option<String> {
        let limit = self.max_age?;
        let name = &self.column;
        let limit_in_words = in_largest_unit(limit);
        let Some((shown, newest)) = &facts.newest else {
            let reason = format!("column '{name}' has no value, and max_age is {limit_in_words}");
            return (facts.rows > 0).then_some(reason);
        };
        // A value of the future is not old.
        let age = (facts.now - *newest).to_std().unwrap_or_default();
        (age > limit).then(|| {
            let age = in_two_units(age);
            format!("the newest value of column '{name}' is '{shown}', {age} old, and max_age is {limit_in_words}")
        })
    }

    /// The first guard that the column has.
    fn first_kind(&self) -> GuardKind {
        match self {
            guard if guard.max_null.is_some() => GuardKind::MaxNull,
            guard if guard.accepted.is_some() => GuardKind::Accepted,
            guard if guard.unique => GuardKind::Unique,
            _ => GuardKind::MaxAge,
        }
    }
}

impl NullLimit {
    fn is_exceeded(self, nulls: u64, rows: u64) -> bool {
        match self {
            NullLimit::Share(share) => Share::of(nulls, rows) > share,
            NullLimit::Rows(most) => nulls > most,
        }
    }
}

impl std::fmt::Display for NullLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NullLimit::Share(share) => share.fmt(f),
            NullLimit::Rows(most) => most.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array};
    use chrono::NaiveDate;
    use std::sync::Arc;

    use super::*;

    fn at(hour: u32) -> NaiveDateTime {
        let date = NaiveDate::from_ymd_opt(2024, 3, 4).expect("a date");
        date.and_hms_opt(hour, 0, 0).expect("a time")
    }

    fn offenders(count: u64, value: &str, place: &str) -> Offenders {
        let mut offenders = Offenders::default();
        offenders.add(count, || Offender {
            value: value.to_owned(),
            place: place.to_owned(),
        });
        offenders
    }

    fn reasons(guard: &ColumnGuard, facts: &ColumnFacts) -> Vec<String> {
        let broken = guard.broken(facts);
        broken.iter().map(BrokenGuard::to_string).collect()
    }

    fn accepted(values: &[(&str, bool)]) -> ColumnGuard {
        let value = |(text, is_text): &(&str, bool)| AcceptedValue {
            text: (*text).to_owned(),
            is_text: *is_text,
        };
        ColumnGuard {
            column: "c".into(),
            accepted: Some(values.iter().map(value).collect()),
            ..ColumnGuard::default()
        }
    }

    #[test]
    fn a_limit_of_nulls_is_a_share_or_a_number_of_rows() {
        let guard = |limit| ColumnGuard {
            column: "email".into(),
            max_null: Some(limit),
            ..ColumnGuard::default()
        };
        let facts = |nulls| ColumnFacts {
            rows: 40,
            nulls: offenders(nulls, "", "id=3"),
            ..ColumnFacts::default()
        };
        let share = guard(NullLimit::Share("5%".parse().expect("a share")));
        assert!(reasons(&share, &facts(2)).is_empty());
        assert_eq!(
            reasons(&share, &facts(3)),
            ["column 'email' is null in 3 of 40 rows (7.5%), such as id=3, and max_null is 5%"]
        );
        let rows = guard(NullLimit::Rows(0));
        assert!(reasons(&rows, &facts(0)).is_empty());
        assert_eq!(
            reasons(&rows, &facts(1)),
            ["column 'email' is null in 1 of 40 rows (2.5%), such as id=3, and max_null is 0"]
        );
    }

    #[test]
    fn accepted_values_equal_those_of_the_column_in_any_encoding() {
        let digests = |guard: &ColumnGuard, column: ArrayRef| {
            let accepted = guard.accepted_digests(column.data_type()).expect("values");
            let cells = cell_digests(&column).expect("digests");
            let accepted = accepted.expect("a set");
            cells
                .iter()
                .map(|cell| accepted.contains(cell))
                .collect::<Vec<_>>()
        };
        let numbers = accepted(&[("1", false), ("2.5", false)]);
        let floats = Arc::new(Float64Array::from(vec![1.0, 2.5, 2.0]));
        assert_eq!(digests(&numbers, floats), [true, true, false]);
        let decimals = Decimal128Array::from(vec![100, 250, 251]);
        let decimals = decimals.with_precision_and_scale(5, 2).expect("decimals");
        assert_eq!(digests(&numbers, Arc::new(decimals)), [true, true, false]);
        let dates = accepted(&[("1970-01-02", true)]);
        assert_eq!(
            digests(&dates, Arc::new(Date32Array::from(vec![1, 2]))),
            [true, false]
        );
        let words = accepted(&[("007", true)]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["007", "7"]));
        assert_eq!(digests(&words, texts), [true, false]);
        let ints = accepted(&[("7", true)]);
        assert_eq!(
            digests(&ints, Arc::new(Int32Array::from(vec![7, 8]))),
            [true, false]
        );
    }

    #[test]
    fn accepted_values_of_another_type_are_a_mistake_of_the_configuration() {
        let error = |guard: &ColumnGuard, data_type| {
            let error = guard.accepted_digests(&data_type).expect_err("wrong");
            (error.to_string(), error.hints().join("; "))
        };
        assert_eq!(
            error(&accepted(&[("1", false), ("x", true)]), DataType::Int64).0,
            "'accepted' has 'x', and the column is int64"
        );
        let (what, hint) = error(&accepted(&[("a", true), ("1", false)]), DataType::Utf8);
        assert_eq!(what, "'accepted' has 1, and the column is text");
        assert_eq!(hint, "accepted = [\"a\", \"1\"]");
    }

    #[test]
    fn values_that_break_a_guard_are_shown_with_their_place() {
        let guard = ColumnGuard {
            unique: true,
            ..accepted(&[("A", true)])
        };
        let facts = ColumnFacts {
            rows: 4,
            unaccepted: offenders(1, "X", "id=2"),
            duplicates: offenders(2, "a@b.c", "id=1 and id=7"),
            ..ColumnFacts::default()
        };
        assert_eq!(
            reasons(&guard, &facts),
            [
                "column 'c' has a value that is not accepted in 1 of 4 rows (25%), such as 'X' in id=2",
                "column 'c' has 2 duplicate values, such as 'a@b.c' in id=1 and id=7, and it is unique",
            ]
        );
        let absent = ColumnFacts {
            is_absent: true,
            ..facts
        };
        assert_eq!(
            reasons(&guard, &absent),
            ["column 'c' is gone, and it has guards"]
        );
    }

    #[test]
    fn the_newest_value_is_compared_with_the_time_of_the_snapshot() {
        let guard = ColumnGuard {
            column: "updated_at".into(),
            max_age: Some(Duration::from_secs(6 * 3600)),
            ..ColumnGuard::default()
        };
        let facts = |newest: Option<u32>| ColumnFacts {
            rows: 1,
            newest: newest.map(|hour| (format!("{hour}:00"), at(hour))),
            now: at(8),
            ..ColumnFacts::default()
        };
        assert!(reasons(&guard, &facts(Some(2))).is_empty());
        assert!(reasons(&guard, &facts(Some(23))).is_empty(), "the future");
        assert_eq!(
            reasons(&guard, &facts(Some(1))),
            ["the newest value of column 'updated_at' is '1:00', 7h old, and max_age is 6h"]
        );
        assert_eq!(
            reasons(&guard, &facts(None)),
            ["column 'updated_at' has no value, and max_age is 6h"]
        );
    }
}
