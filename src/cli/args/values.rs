//! Values of options, read from text.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::domain::dedup::Dedup;
use crate::domain::known_at::KnownAt;
use crate::domain::retention::{KeepCount, KeepSpan};
use crate::domain::staleness::StateFilter;
use crate::domain::type_names::{DECLARABLE, parse_type};
use crate::error::Error;
use crate::memory::MemoryBudget;
use crate::model::{Day, DaySpan, parse_date};
use crate::source::Dialect;

fn with_hints(error: &Error) -> String {
    if error.hints().is_empty() {
        error.to_string()
    } else {
        format!("{error}; {}", error.hints().join("; "))
    }
}

pub(super) fn day(text: &str) -> Result<Day, String> {
    if text == "latest" {
        return Err(
            "a range begins at a date, today, yesterday, or 7d for seven days ago".to_owned(),
        );
    }
    text.parse().map_err(|error| with_hints(&error))
}

/// Reads a day, or `latest`: for an option that takes one date, or the end of a range.
pub(super) fn latest_or_day(text: &str) -> Result<Day, String> {
    if text == "latest" {
        Ok(Day::Latest)
    } else {
        day(text)
    }
}

/// Reads a date of the calendar, and no word such as `today`.
pub(super) fn calendar_date(text: &str) -> Result<NaiveDate, String> {
    parse_date(text).map_err(|error| with_hints(&error))
}

pub(super) fn memory(text: &str) -> Result<MemoryBudget, String> {
    text.parse().map_err(|error| with_hints(&error))
}

pub(super) fn known_at(text: &str) -> Result<KnownAt, String> {
    text.parse().map_err(|error| with_hints(&error))
}

pub(super) fn days(text: &str) -> Result<DaySpan, String> {
    text.parse().map_err(|error| with_hints(&error))
}

pub(super) fn keep_count(text: &str) -> Result<KeepCount, String> {
    text.parse().map_err(|error| with_hints(&error))
}

pub(super) fn keep_span(text: &str) -> Result<KeepSpan, String> {
    text.parse().map_err(|error| with_hints(&error))
}

/// Reads `item=item_intervals`.
pub(super) fn renamed(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .filter(|(name, relation)| !name.trim().is_empty() && !relation.trim().is_empty());
    let (name, relation) =
        pair.ok_or_else(|| format!("'{text}' is not NAME=RELATION, such as item=item_intervals"))?;
    Ok((name.trim().to_owned(), relation.trim().to_owned()))
}

/// Types that the command line declares, by column.
pub type ColumnTypes = BTreeMap<String, String>;

/// Reads `a=text,b=decimal(10, 2)`: commas inside of a type belong to it.
pub(super) fn column_types(text: &str) -> Result<ColumnTypes, String> {
    let mut types = ColumnTypes::new();
    let mut depth = 0;
    let mut start = 0;
    let ends = text.char_indices().filter(|(_, c)| {
        match c {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            _ => {}
        }
        *c == ',' && depth == 0
    });
    for end in ends
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect::<Vec<_>>()
    {
        let part = text[start..end].trim();
        start = end + 1;
        let Some((column, data_type)) = part.split_once('=') else {
            return Err(format!("'{part}' is not COLUMN=TYPE, such as zip=text"));
        };
        let column = column.trim();
        let data_type = data_type.trim();
        if parse_type(data_type).is_none() {
            return Err(format!(
                "column '{column}': '{data_type}' is not a type; the types are {DECLARABLE}"
            ));
        }
        types.insert(column.to_owned(), data_type.to_owned());
    }
    Ok(types)
}

pub(super) fn csv(text: &str) -> Result<Dialect, String> {
    Dialect::parse(text).map_err(|error| with_hints(&error))
}

pub(super) fn dedup(text: &str) -> Result<Dedup, String> {
    text.parse().map_err(|error| with_hints(&error))
}

pub(super) fn only(text: &str) -> Result<StateFilter, String> {
    text.parse().map_err(|error| with_hints(&error))
}
