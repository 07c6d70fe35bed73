//! The tables that stand in the page in the place of charts: by date if there are few, else by
//! month.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

use super::html::{escaped, table};
use crate::cli::printer::{number, size};
use crate::commands::job_status::JobStatus;
use crate::commands::report::{CoverageRun, CoverageState, DaysTable};
use crate::domain::staleness::DateState;

/// The most dates that have a line each.
const MOST_DATES: usize = 62;

/// Whether the tables of a history have a line for each month.
pub(super) fn is_by_month(days: &DaysTable) -> bool {
    days.date.len() > MOST_DATES
}

fn month_of(date: NaiveDate) -> String {
    format!("{}-{:02}", date.year(), date.month())
}

/// The positions of the dates of each line, the latest first.
fn lines(days: &DaysTable) -> Vec<(String, Vec<usize>)> {
    let is_by_month = is_by_month(days);
    let mut lines: Vec<(String, Vec<usize>)> = Vec::new();
    for (at, date) in days.date.iter().enumerate().rev() {
        let name = match is_by_month {
            true => month_of(*date),
            false => date.to_string(),
        };
        match lines.last_mut() {
            Some((last, places)) if *last == name => places.push(at),
            _ => lines.push((name, vec![at])),
        }
    }
    lines
}

fn heading(days: &DaysTable) -> &'static str {
    match is_by_month(days) {
        true => "month",
        false => "date",
    }
}

fn shown(value: Option<u64>, show: fn(u64) -> String) -> String {
    value.map_or_else(|| "unknown".to_owned(), show)
}

/// The sum of what is known; nothing if nothing is.
fn sum(values: &[Option<u64>], places: &[usize]) -> Option<u64> {
    let known = places
        .iter()
        .filter_map(|at| values.get(*at).copied().flatten());
    known.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

/// Keys added, changed and removed.
pub(super) fn changes(days: &DaysTable) -> String {
    let row = |(name, places): (String, Vec<usize>)| {
        let of = |values: &[Option<u64>]| shown(sum(values, &places), number);
        vec![name, of(&days.added), of(&days.changed), of(&days.removed)]
    };
    let rows: Vec<_> = lines(days).into_iter().map(row).collect();
    table(
        &[heading(days), "added", "changed", "removed"],
        &rows,
        &[1, 2, 3],
    )
}

/// The rows; those of a month are those of its last date.
pub(super) fn rows(days: &DaysTable) -> String {
    let row = |(name, places): (String, Vec<usize>)| {
        let last = places.first().and_then(|at| days.rows[*at]);
        vec![name, shown(last, number)]
    };
    let rows: Vec<_> = lines(days).into_iter().map(row).collect();
    table(&[heading(days), "rows"], &rows, &[1])
}

/// The size of the snapshots, and of those that were pruned.
pub(super) fn bytes(days: &DaysTable) -> String {
    let none = |value: Option<u64>| value.map_or_else(String::new, size);
    let row = |(name, places): (String, Vec<usize>)| {
        let mut row = vec![name, none(sum(&days.bytes, &places))];
        if !days.pruned_bytes.is_empty() {
            row.push(none(sum(&days.pruned_bytes, &places)));
        }
        row
    };
    let rows: Vec<_> = lines(days).into_iter().map(row).collect();
    match days.pruned_bytes.is_empty() {
        true => table(&[heading(days), "snapshot"], &rows, &[1]),
        false => table(
            &[heading(days), "snapshot", "saved by pruning"],
            &rows,
            &[1, 2],
        ),
    }
}

/// What there is of each date: in runs if there are few, else counted by month.
pub(super) fn coverage(runs: &[CoverageRun]) -> String {
    if runs.len() <= MOST_DATES {
        let row = |run: &CoverageRun| {
            let (from, to) = (run.range.from(), run.range.to());
            let state = state_name(run.state).to_owned();
            vec![
                from.to_string(),
                to.to_string(),
                state,
                number(run.range.len() as u64),
            ]
        };
        let rows: Vec<_> = runs.iter().rev().map(row).collect();
        return table(&["from", "to", "state", "days"], &rows, &[3]);
    }
    let dates = runs
        .iter()
        .flat_map(|run| run.range.dates().map(|date| (date, state_name(run.state))));
    by_month(dates, &STATES.map(state_name))
}

/// Where the outputs of a job stand, by month.
pub(super) fn outputs(status: &JobStatus) -> String {
    let dates = status
        .dates
        .iter()
        .map(|date| (date.date, output_name(&date.state)));
    by_month(
        dates,
        &["written", "stale", "failed", "missing", "orphaned"],
    )
}

/// How often each state occurs in each month; states that do not occur have no column.
fn by_month(
    dates: impl Iterator<Item = (NaiveDate, &'static str)>,
    states: &[&'static str],
) -> String {
    let mut months: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    for (date, state) in dates {
        *months
            .entry(month_of(date))
            .or_default()
            .entry(state)
            .or_default() += 1;
    }
    let occurs = |state: &&&str| months.values().any(|counts| counts.contains_key(**state));
    let states: Vec<&str> = states.iter().filter(occurs).copied().collect();
    let row = |(month, counts): (&String, &BTreeMap<&str, u64>)| {
        let count = |state: &&str| number(counts.get(*state).copied().unwrap_or(0));
        [month.clone()]
            .into_iter()
            .chain(states.iter().map(count))
            .collect()
    };
    let rows: Vec<Vec<String>> = months.iter().rev().map(row).collect();
    let header: Vec<&str> = ["month"]
        .into_iter()
        .chain(states.iter().copied())
        .collect();
    let right: Vec<usize> = (1..header.len()).collect();
    table(&header, &rows, &right)
}

const STATES: [CoverageState; 6] = [
    CoverageState::Observed,
    CoverageState::Rewritten,
    CoverageState::Derived,
    CoverageState::Refused,
    CoverageState::Unreadable,
    CoverageState::Gap,
];

fn state_name(state: CoverageState) -> &'static str {
    match state {
        CoverageState::Observed => "observed",
        CoverageState::Rewritten => "rewritten",
        CoverageState::Derived => "derived",
        CoverageState::Refused => "refused",
        CoverageState::Unreadable => "unreadable",
        CoverageState::Gap => "gap",
    }
}

fn output_name(state: &DateState) -> &'static str {
    match state.name() {
        "up_to_date" => "written",
        name => name,
    }
}

/// A ranking: names, how often each changed with a bar as long, and the last date.
pub(super) fn ranking(heading: &str, rows: &[(String, u64, NaiveDate)]) -> String {
    let most = rows
        .iter()
        .map(|(_, changes, _)| *changes)
        .max()
        .unwrap_or(1)
        .max(1);
    let mut html = format!(
        "<div class=\"scroll\"><table><thead><tr><th>{heading}</th><th class=\"n\">changes</th><th></th>\
         <th class=\"n\">last</th></tr></thead><tbody>"
    );
    for (name, changes, last) in rows {
        #[allow(clippy::cast_precision_loss, reason = "a width on the screen")]
        let share = *changes as f64 * 100.0 / most as f64;
        html.push_str(&format!(
            "<tr><td class=\"wrap\">{}</td><td class=\"n\">{}</td><td class=\"bar\"><i style=\"width:{share:.1}%\"></i>\
             </td><td class=\"n\">{last}</td></tr>",
            escaped(name),
            number(*changes)
        ));
    }
    html.push_str("</tbody></table></div>");
    html
}
