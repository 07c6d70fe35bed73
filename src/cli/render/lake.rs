//! `status` of a whole lake: a line for each table and job, and what needs attention.

use chrono::{Datelike, Months, NaiveDate};

use super::StatusPage;
use super::report::needs_attention;
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, RED, YELLOW, columns, number, paint, size};
use crate::commands::job_status::JobStatus;
use crate::commands::report::{attention_of_job, attention_of_table};
use crate::commands::status::TableStatus;
use crate::error::Result;

/// How many months are shown.
const MONTHS: u32 = 12;

/// Prints a line for each table and job, and what needs attention.
pub(super) fn overview(printer: &Printer, page: &StatusPage) -> Result<()> {
    let tables = page
        .tables
        .iter()
        .map(|status| table(status, page.today))
        .collect();
    let header = [
        "table",
        "12 months",
        "covered",
        "last copy",
        "age",
        "copies",
        "rows",
        "size",
    ];
    printer.line(columns(&header, tables, &[2, 5, 6, 7]))?;
    if !page.jobs.is_empty() {
        let jobs = page
            .jobs
            .iter()
            .map(|status| job(status, page.today))
            .collect();
        let header = [
            "job",
            "12 months",
            "written",
            "last date",
            "stale",
            "missing",
            "failed",
        ];
        printer.line(format!("\n{}", columns(&header, jobs, &[2, 4, 5, 6])))?;
    }
    let legend = "# every date   + some   . none   ! unreadable, refused or failed";
    printer.line(paint(
        DIM,
        format!("\n{legend}; asof status NAME shows each date"),
    ))?;
    let tables = page.tables.iter().flat_map(attention_of_table);
    let attention: Vec<_> = tables
        .chain(page.jobs.iter().flat_map(attention_of_job))
        .collect();
    match attention.is_empty() {
        true => Ok(()),
        false => {
            printer.line("")?;
            needs_attention(printer, &attention)
        }
    }
}

fn table(status: &TableStatus, today: NaiveDate) -> Vec<String> {
    let name = paint(BOLD, &status.table);
    let (Some(first), Some(last)) = (status.first, status.last) else {
        return vec![name, String::new(), String::new(), "no copy yet".to_owned()];
    };
    let observed = status.observed.len() as u64;
    let share = 100 * observed / (observed + status.missing_days).max(1);
    let style = if status.missing_days == 0 {
        GREEN
    } else {
        YELLOW
    };
    let is_wrong = |date: NaiveDate| {
        let is_unreadable = status
            .unreadable
            .iter()
            .any(|object| object.date == Some(date));
        let refused = || status.refused.iter().filter(|copy| !copy.has_snapshot);
        is_unreadable || refused().any(|copy| copy.copy.snapshot_date == date)
    };
    let of_date = |date: NaiveDate| match status.observed.binary_search(&date) {
        _ if is_wrong(date) => Some(DayState::Wrong),
        Ok(_) => Some(DayState::There),
        Err(_) => (first..=last).contains(&date).then_some(DayState::Lacking),
    };
    vec![
        name,
        strip(today, &of_date),
        paint(style, format!("{share}%")),
        last.to_string(),
        age(last, today),
        number(status.snapshots),
        status
            .last_snapshot
            .as_ref()
            .map_or_else(String::new, |last| number(last.rows)),
        size(status.bytes),
    ]
}

fn job(status: &JobStatus, today: NaiveDate) -> Vec<String> {
    let of_date = |date: NaiveDate| {
        let at = status
            .dates
            .binary_search_by_key(&date, |date| date.date)
            .ok()?;
        Some(match status.dates[at].state.name() {
            "up_to_date" => DayState::There,
            "failed" => DayState::Wrong,
            _ => DayState::Lacking,
        })
    };
    let counted = |state: &str, style| match status.count(state) {
        0 => "0".to_owned(),
        dates => paint(style, number(dates)),
    };
    vec![
        paint(BOLD, &status.job),
        strip(today, &of_date),
        number(status.count("up_to_date")),
        status
            .dates
            .last()
            .map_or_else(|| "no events".to_owned(), |last| last.date.to_string()),
        counted("stale", YELLOW),
        counted("missing", RED),
        counted("failed", RED),
    ]
}

/// What there is of a date.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DayState {
    There,
    Lacking,
    Wrong,
}

/// A letter for each of the last months.
fn strip(today: NaiveDate, of_date: &dyn Fn(NaiveDate) -> Option<DayState>) -> String {
    let this = today.with_day(1).unwrap_or(today);
    let months = (0..MONTHS).rev().map(|ago| this - Months::new(ago));
    months.map(|month| in_month(month, of_date)).collect()
}

fn in_month(month: NaiveDate, of_date: &dyn Fn(NaiveDate) -> Option<DayState>) -> String {
    let dates = month
        .iter_days()
        .take_while(|date| date.month() == month.month());
    let days: Vec<DayState> = dates.filter_map(of_date).collect();
    let count = |day: DayState| days.iter().filter(|other| **other == day).count();
    match (count(DayState::Wrong), count(DayState::There)) {
        _ if days.is_empty() => " ".to_owned(),
        (0, 0) => paint(RED, "."),
        (0, there) if there == days.len() => paint(GREEN, "#"),
        (0, _) => paint(YELLOW, "+"),
        _ => paint(RED, "!"),
    }
}

fn age(last: NaiveDate, today: NaiveDate) -> String {
    match (today - last).num_days() {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days if days > 1 => format!("{} days", number(days.unsigned_abs())),
        days => format!("in {} days", number(days.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Days;

    use super::*;

    #[test]
    fn a_month_is_a_letter() {
        let date = |month, day| NaiveDate::from_ymd_opt(2024, month, day).expect("a date");
        let plain = |of_date: &dyn Fn(NaiveDate) -> Option<DayState>| {
            anstream::adapter::strip_str(&strip(date(4, 2), of_date)).to_string()
        };
        assert_eq!(plain(&|_| None), " ".repeat(12));
        let of_date = |day: NaiveDate| match (day.month(), day.day()) {
            _ if day.year() < 2024 || day > date(4, 2) => None,
            (1, _) => Some(DayState::Lacking),
            (2, _) => Some(DayState::There),
            (3, 3..) => Some(DayState::There),
            (4, 1) => Some(DayState::Wrong),
            _ => Some(DayState::Lacking),
        };
        assert_eq!(plain(&of_date), "        .#+!");
        assert_eq!(age(date(4, 1), date(4, 2)), "yesterday");
        assert_eq!(age(date(4, 2) - Days::new(30), date(4, 2)), "30 days");
    }
}
