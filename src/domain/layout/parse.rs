//! Reads templates, and refuses those whose paths do not give their dates back.

use chrono::NaiveDate;
use chrono::format::{Fixed, Item, Numeric, StrftimeItems};
use glob::Pattern;

use super::{Layout, Unit};
use crate::error::{Error, Result};

/// Dates whose paths must read back: both ends of months, leap days, one- and two-digit days.
const PROBES: [(i32, u32, u32); 10] = [
    (1999, 12, 31),
    (2000, 1, 1),
    (2000, 2, 29),
    (2007, 7, 7),
    (2010, 10, 10),
    (2019, 12, 30),
    (2021, 1, 3),
    (2024, 11, 12),
    (2024, 12, 11),
    (2099, 9, 21),
];

impl Layout {
    /// Reads a template.
    ///
    /// # Errors
    /// A usage error that says why the template cannot be used: an unknown specifier, a wildcard
    /// that the date follows in one component, or a path that does not give its date back.
    pub fn parse(template: &str) -> Result<Self> {
        Layout::read(template.trim_matches('/')).map_err(|why| {
            Error::usage(format!("layout '{template}' {why}")).hint(
                "a layout is a path in strftime, such as 'snapshot_date=%Y-%m-%d' or \
                 'year=%Y/month=%m/day=%d'",
            )
        })
    }

    /// Reads the template of a place that asof writes to, in which every date has one path.
    ///
    /// # Errors
    /// As [`Layout::parse`]; and for a wildcard, a time of day, or a partition that is more than a
    /// date.
    pub fn parse_written(template: &str) -> Result<Self> {
        let layout = Layout::parse(template)?;
        if layout.is_plain() {
            return Ok(layout);
        }
        Err(Error::usage(format!(
            "layout '{template}' can be read, but not written: each date needs a path of its own"
        ))
        .hint("write a layout of days without wildcards, such as 'date=%Y-%m-%d'"))
    }

    /// Reads a template, or says what is wrong with it.
    fn read(template: &str) -> Result<Self, String> {
        let all: Vec<&str> = template.split('/').collect();
        for component in &all {
            check_component(component)?;
        }
        // Without a date, the probes below say what is wrong.
        let last = all.iter().rposition(has_date).unwrap_or(all.len() - 1);
        let (leaf, tail) = head_and_tail(all[last]);
        let above = all[..last].iter().map(|component| (*component).to_owned());
        let components: Vec<String> = above.chain([leaf]).collect();
        let mut layout = Layout {
            template: template.to_owned(),
            dated: components.join("/"),
            wildcards: wildcards(&components)?,
            components,
            tail: tail.as_deref().map(pattern).transpose()?,
            below: all[last + 1..]
                .iter()
                .map(|component| pattern(component))
                .collect::<Result<_, _>>()?,
            unit: Unit::Day,
        };
        layout.unit = layout.unit_of_paths();
        layout.check_probes()?;
        Ok(layout)
    }

    /// What one path is of: two days that have the same path are not told apart.
    fn unit_of_paths(&self) -> Unit {
        let path = |month, day| {
            NaiveDate::from_ymd_opt(2023, month, day).and_then(|date| self.try_path(date))
        };
        let same_days = [(1, 2), (8, 9), (14, 15), (27, 28)]
            .iter()
            .all(|(one, other)| path(3, *one) == path(3, *other));
        match same_days {
            true if path(3, 1) == path(8, 1) => Unit::Year,
            true => Unit::Month,
            false => Unit::Day,
        }
    }

    /// Checks that paths give their dates back.
    fn check_probes(&self) -> Result<(), String> {
        let dates = PROBES
            .iter()
            .filter_map(|(year, month, day)| NaiveDate::from_ymd_opt(*year, *month, *day));
        for probe in dates.map(|date| self.unit.first(date)) {
            let Some(path) = self.try_path(probe) else {
                return Err("cannot be written for a date".into());
            };
            if path.split('/').count() != self.components.len() {
                return Err("has a specifier that writes a '/'".into());
            }
            let how = match self.dated_part(&path) {
                Some((back, "")) if back == probe => continue,
                Some((back, "")) => format!("reads as {back}"),
                _ => "cannot be read back".to_owned(),
            };
            return Err(format!(
                "does not identify one date: {probe} becomes '{path}', which {how}"
            ));
        }
        Ok(())
    }
}

fn check_component(component: &str) -> Result<(), String> {
    if component.is_empty() || component.starts_with(['_', '.']) {
        return Err(format!(
            "has the component '{component}', which readers skip"
        ));
    }
    if StrftimeItems::new(component).any(|item| matches!(item, Item::Error)) {
        return Err(format!(
            "has a specifier in '{component}' that strftime does not support"
        ));
    }
    Ok(())
}

/// The component in which the date ends, cut behind the date if a pattern follows there.
fn head_and_tail(component: &str) -> (String, Option<String>) {
    let parts = pieces(component);
    let end = parts
        .iter()
        .rposition(has_date)
        .map_or(parts.len(), |at| at + 1);
    let tail = parts[end..].concat();
    if tail.contains('*') || has_time(&tail) {
        (parts[..end].concat(), Some(tail))
    } else {
        (component.to_owned(), None)
    }
}

/// The levels of the dated part that are wildcards, with their patterns.
fn wildcards(components: &[String]) -> Result<Vec<(usize, Pattern)>, String> {
    let mut wildcards = Vec::new();
    for (level, component) in components.iter().map(String::as_str).enumerate() {
        if has_time(component) {
            return Err(format!(
                "has a time of day before the date, in '{component}'"
            ));
        }
        if !component.contains('*') {
            continue;
        }
        if has_date(&component) {
            return Err(format!(
                "has a '*' and then a date in one component, '{component}'"
            ));
        }
        wildcards.push((level, pattern(component)?));
    }
    Ok(wildcards)
}

fn has_date(part: &&str) -> bool {
    StrftimeItems::new(part).any(|item| is_date(&item))
}

fn has_time(part: &str) -> bool {
    StrftimeItems::new(part).any(|item| is_time(&item))
}

/// Whether a specifier is of the time of day.
fn is_time(item: &Item<'_>) -> bool {
    use Numeric as N;
    match item {
        Item::Numeric(N::Hour | N::Hour12 | N::Minute | N::Second | N::Nanosecond, _) => true,
        Item::Fixed(fixed) => matches!(fixed, Fixed::LowerAmPm | Fixed::UpperAmPm),
        _ => false,
    }
}

/// Whether a specifier is of the date.
pub(super) fn is_date(item: &Item<'_>) -> bool {
    match item {
        Item::Numeric(..) => !is_time(item),
        Item::Fixed(fixed) => {
            matches!(
                fixed,
                Fixed::ShortMonthName
                    | Fixed::LongMonthName
                    | Fixed::ShortWeekdayName
                    | Fixed::LongWeekdayName
            )
        }
        _ => false,
    }
}

/// The specifiers of a template with the literal text between them, each as it is written.
fn pieces(template: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let end = match rest.strip_prefix('%') {
            None => rest.find('%').unwrap_or(rest.len()),
            Some(specifier) => {
                let modifiers = specifier.len()
                    - specifier
                        .trim_start_matches(['-', '_', '0', ':', '.', '#', '3', '6', '9'])
                        .len();
                let letter = specifier[modifiers..]
                    .chars()
                    .next()
                    .map_or(0, char::len_utf8);
                1 + modifiers + letter
            }
        };
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// The pattern of names that a part of a template without a date stands for.
fn pattern(part: &str) -> Result<Pattern, String> {
    let wrong = || format!("has a wrong pattern in '{part}'");
    let mut text = String::new();
    for piece in pieces(part) {
        match piece {
            "%%" => text.push('%'),
            _ if piece.starts_with('%') && StrftimeItems::new(piece).all(|item| is_time(&item)) => {
                text += "[0-9][0-9]"
            }
            _ if piece.starts_with('%') => return Err(wrong()),
            literal => literal.chars().for_each(|c| match c {
                '?' | '[' | ']' => text += &Pattern::escape(&c.to_string()),
                c => text.push(c),
            }),
        }
    }
    // In a path, `**` would be more than one component.
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Pattern::new(&text).map_err(|_| wrong())
}
