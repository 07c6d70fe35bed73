//! `status`: coverage as a calendar, so that a gap is seen at a glance.
//!
//! A lake of several tables is a line each ([`super::lake`]), unless `-v` asks for more.
//!
//! Up to two years are shown a line a month and a cell a day; longer spans a line a year and, for
//! each month, how many of its days are there.

use chrono::{Datelike, Months, NaiveDate};

use serde::Serialize;

use super::{Render, lake, schema, selected};
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, RED, YELLOW, columns, count, paint, size};
use crate::commands::job_status::JobStatus;
use crate::commands::pruned;
use crate::commands::status::TableStatus;
use crate::domain::staleness::DateState;
use crate::error::Result;
use crate::model::DateRange;

/// Tables and jobs as they stand.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct StatusPage {
    /// The tables that were asked for.
    pub(in crate::cli) tables: Vec<TableStatus>,
    /// The jobs that were asked for.
    pub(in crate::cli) jobs: Vec<JobStatus>,
    /// Whether one table or job was asked for by name, so that the text has all that is known of
    /// it.
    #[serde(skip)]
    pub(in crate::cli) is_of_one: bool,
    /// The date it is.
    #[serde(skip)]
    pub(in crate::cli) today: NaiveDate,
}

impl Render for StatusPage {
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        if self.tables.len() > 1 && !self.is_of_one && !printer.verbose {
            return lake::overview(printer, self);
        }
        for status in &self.tables {
            table(printer, status)?;
            if !status.columns.is_empty() && (self.is_of_one || printer.verbose) {
                let columns = schema::in_a_line(&status.columns);
                printer.line(format!("  columns: {columns}"))?;
            }
        }
        self.jobs.iter().try_for_each(|status| job(printer, status))
    }
}

/// The most reasons that are listed for dates that are not up to date.
const MOST_REASONS: usize = 10;

/// The most months that are shown day by day.
const MONTHS_BY_DAY: usize = 24;

/// What stands in a cell: a letter that reads without colour, and its colour.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Done,
    Derived,
    Stale,
    Missing,
    Failed,
    Orphaned,
    Outside,
}

impl Cell {
    fn painted(self) -> String {
        match self {
            Cell::Done => paint(GREEN, "#"),
            Cell::Derived => paint(GREEN, "i"),
            Cell::Stale => paint(YELLOW, "s"),
            Cell::Missing => paint(RED, "."),
            Cell::Failed => paint(RED, "F"),
            Cell::Orphaned => paint(YELLOW, "o"),
            Cell::Outside => " ".to_owned(),
        }
    }
}

/// A run of dates as people read it.
pub(super) fn span(range: &DateRange) -> String {
    match range.len() {
        1 => range.from().to_string(),
        days => format!(
            "{} to {} ({})",
            range.from(),
            range.to(),
            count(days as u64, "day")
        ),
    }
}

fn table(printer: &Printer, status: &TableStatus) -> Result<()> {
    printer.line(format!(
        "{}  key {}  {}",
        paint(BOLD, &status.table),
        status.key.join(", "),
        status.root
    ))?;
    let (Some(first), Some(last)) = (status.first, status.last) else {
        printer.line("  no snapshots")?;
        return set_aside(printer, status);
    };
    let rows = status
        .rows
        .map_or_else(String::new, |rows| format!(", {}", count(rows, "row")));
    printer.line(format!(
        "  {}, {first} to {last}, {}{rows}",
        count(status.snapshots, "snapshot"),
        size(status.bytes)
    ))?;
    if let Some(intervals) = &status.intervals {
        printer.line(format!(
            "  {} of {}, {}",
            count(intervals.intervals, "interval"),
            count(intervals.snapshots, "snapshot"),
            size(intervals.bytes)
        ))?;
        if let Some(selected) = selected(intervals.selected_rows.as_deref(), &intervals.select) {
            printer.line(format!("    of {selected}"))?;
        }
    }
    notes(printer, status)?;
    let stale = status.stale.clone().unwrap_or_default();
    let cell = |date: NaiveDate| match status.observed.binary_search(&date) {
        Ok(_) if stale.contains(&date) || status.retyped.contains(&date) => Cell::Stale,
        Ok(_) if status.pruned.contains(&date) => Cell::Derived,
        Ok(_) => Cell::Done,
        Err(_) => Cell::Missing,
    };
    draw(printer, first, last, &cell)?;
    table_gaps(printer, status)
}

/// Prints how many snapshots the intervals do not agree with, and what cannot be read.
fn notes(printer: &Printer, status: &TableStatus) -> Result<()> {
    let not_compacted = match status.intervals {
        Some(_) => status.not_compacted.len(),
        None => 0,
    };
    let stale = status.stale.as_ref().map_or(0, Vec::len);
    let removed = status.pruned.iter();
    let removed = removed.filter(|date| !status.derived.contains(date));
    let removed: Vec<NaiveDate> = removed.copied().collect();
    let notes = [
        (not_compacted as u64, "not compacted yet"),
        (stale as u64, "rewritten since the compaction"),
        (
            status.dropped_since.len() as u64,
            "dropped since the compaction",
        ),
        (
            status.retyped.len() as u64,
            "with types that were declared differently since the compaction",
        ),
        (
            status.derived.len() as u64,
            &format!(
                "given back by the intervals: {}",
                pruned::span(&status.derived)
            ),
        ),
        (
            removed.len() as u64,
            &format!("only in the intervals: {}", pruned::span(&removed)),
        ),
        (status.superseded, "superseded and kept aside"),
    ];
    for (snapshots, what) in notes.into_iter().filter(|(snapshots, _)| *snapshots > 0) {
        printer.line(format!("  {} {what}", count(snapshots, "snapshot")))?;
    }
    set_aside(printer, status)?;
    if let Some(command) = &status.restore_with {
        let them = match status.pruned.len() {
            1 => "it",
            _ => "them",
        };
        printer.line(format!("    {command} writes {them}"))?;
    }
    for unreadable in &status.unreadable {
        let label = paint(RED, "unreadable:");
        printer.line(format!("  {label} {}", unreadable.what))?;
    }
    Ok(())
}

/// Prints the copies that a check refused, and why, and those that somebody dropped.
fn set_aside(printer: &Printer, status: &TableStatus) -> Result<()> {
    for copy in &status.dropped {
        let label = paint(YELLOW, "dropped:");
        printer.line(format!(
            "  {label} {}, on {}; {} brings it back",
            copy.snapshot_date,
            copy.dropped_at.format("%Y-%m-%d %H:%M UTC"),
            copy.restore_with
        ))?;
    }
    for waiting in &status.refused {
        let label = paint(YELLOW, "refused:");
        let reasons = waiting.copy.reasons.join("; ");
        let date = waiting.copy.snapshot_date;
        printer.line(format!("  {label} {date}: {reasons}"))?;
        let next = match waiting.has_snapshot {
            true => format!(
                "{date} has a snapshot; {} removes the refused copy",
                waiting.discard_with
            ),
            false => format!(
                "{} looks at it; {} publishes it; --discard {date} removes it",
                waiting.look_with, waiting.publish_with
            ),
        };
        printer.line(format!("    {next}"))?;
    }
    Ok(())
}

/// Prints how many dates have no snapshot, and each gap if there are few.
fn table_gaps(printer: &Printer, status: &TableStatus) -> Result<()> {
    let missing = match status.missing_days {
        0 => "no date missing".to_owned(),
        days => format!(
            "{} missing in {}",
            count(days, "date"),
            count(status.gaps.len() as u64, "gap")
        ),
    };
    printer.line(format!("  {missing}"))?;
    if status.gaps.len() <= 10 {
        for gap in &status.gaps {
            printer.line(format!("    {}", span(gap)))?;
        }
    }
    Ok(())
}

fn job(printer: &Printer, status: &JobStatus) -> Result<()> {
    printer.line(format!("{}  {}", paint(BOLD, &status.job), status.output))?;
    let (Some(first), Some(last)) = (status.dates.first(), status.dates.last()) else {
        return printer.line(format!(
            "  no events from {} to {}; --from DATE looks further back",
            status.range.from(),
            status.range.to()
        ));
    };
    let cell = |date: NaiveDate| match status.dates.binary_search_by_key(&date, |date| date.date) {
        Err(_) => Cell::Outside,
        Ok(at) => match &status.dates[at].state {
            DateState::UpToDate => Cell::Done,
            DateState::Stale(_) => Cell::Stale,
            DateState::Failed(_) => Cell::Failed,
            DateState::Orphaned => Cell::Orphaned,
            DateState::Missing => Cell::Missing,
        },
    };
    draw(printer, first.date, last.date, &cell)?;
    let counts = ["up_to_date", "stale", "missing", "failed", "orphaned"]
        .into_iter()
        .map(|state| (state, status.count(state)));
    let counts: Vec<String> = counts
        .filter(|(_, dates)| *dates > 0)
        .map(|(state, dates)| format!("{} {}", count(dates, "date"), state.replace('_', " ")))
        .collect();
    printer.line(format!("  {}", counts.join(", ")))?;
    let groups = by_reason(status);
    for group in groups.iter().take(MOST_REASONS) {
        printer.line(format!("    {}", group.in_words(printer.verbose)))?;
    }
    if groups.len() > MOST_REASONS {
        let rest = (groups.len() - MOST_REASONS) as u64;
        printer.line(format!("    ... and {}", count(rest, "more reason")))?;
    }
    Ok(())
}

/// The dates of a job that are in one state for one reason.
struct SameReason<'a> {
    state: &'a DateState,
    cause: String,
    dates: Vec<NaiveDate>,
}

impl SameReason<'_> {
    /// One date with its own reason, or the number of dates with their common one.
    fn in_words(&self, lists_dates: bool) -> String {
        let name = self.state.name();
        if let [date] = self.dates.as_slice() {
            return match self.state {
                DateState::Stale(reason) => format!("{date} {name}: {reason}"),
                _ => format!("{date} {name}: {}", self.cause),
            };
        }
        let (first, last) = (self.dates.first(), self.dates.last());
        let which = match (first, last) {
            _ if lists_dates => {
                let dates: Vec<String> = self.dates.iter().map(NaiveDate::to_string).collect();
                format!(" ({})", dates.join(", "))
            }
            (Some(first), Some(last)) => format!(", {first} to {last}"),
            _ => String::new(),
        };
        let dates = count(self.dates.len() as u64, "date");
        format!("{dates} {name}{which}: {}", self.cause)
    }
}

/// The dates that are not simply up to date or missing, by state and cause, the largest group
/// first.
fn by_reason(status: &JobStatus) -> Vec<SameReason<'_>> {
    let mut groups: Vec<SameReason<'_>> = Vec::new();
    for date in &status.dates {
        let cause = match &date.state {
            DateState::Stale(reason) => reason.cause().to_owned(),
            DateState::Failed(reason) => reason.clone(),
            DateState::Orphaned => "its events are gone".to_owned(),
            DateState::UpToDate | DateState::Missing => continue,
        };
        let name = date.state.name();
        match groups
            .iter_mut()
            .find(|group| group.state.name() == name && group.cause == cause)
        {
            Some(group) => group.dates.push(date.date),
            None => groups.push(SameReason {
                state: &date.state,
                cause,
                dates: vec![date.date],
            }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.dates.len()));
    groups
}

fn draw(
    printer: &Printer,
    first: NaiveDate,
    last: NaiveDate,
    cell: &dyn Fn(NaiveDate) -> Cell,
) -> Result<()> {
    let cell = |date: NaiveDate| {
        if date < first || date > last {
            Cell::Outside
        } else {
            cell(date)
        }
    };
    let months = (last.year() - first.year()) * 12 + i32::try_from(last.month()).unwrap_or(0)
        - i32::try_from(first.month()).unwrap_or(0)
        + 1;
    if usize::try_from(months).unwrap_or(0) <= MONTHS_BY_DAY {
        by_day(printer, first, last, &cell)
    } else {
        by_month(printer, first, last, &cell)
    }
}

fn by_day(
    printer: &Printer,
    first: NaiveDate,
    last: NaiveDate,
    cell: &dyn Fn(NaiveDate) -> Cell,
) -> Result<()> {
    let days: String = (1..=31)
        .map(|day| {
            if day % 5 == 0 {
                format!("{day:>5}")
            } else {
                String::new()
            }
        })
        .collect();
    printer.line(paint(DIM, format!("           {days}")))?;
    let mut month = first.with_day(1).unwrap_or(first);
    let mut seen = Vec::new();
    while month <= last {
        let dates = month
            .iter_days()
            .take_while(|date| date.month() == month.month());
        let cells: Vec<Cell> = dates.map(cell).collect();
        let line: String = cells.iter().map(|cell| cell.painted()).collect();
        seen.extend(cells);
        printer.line(format!("  {}  {}", month.format("%Y-%m"), line.trim_end()))?;
        month = month + Months::new(1);
    }
    let legend = [
        (Cell::Done, "# present"),
        (Cell::Derived, "i only in the intervals"),
        (Cell::Stale, "s stale"),
        (Cell::Missing, ". missing"),
        (Cell::Failed, "F failed"),
        (Cell::Orphaned, "o orphaned"),
    ];
    let legend: Vec<&str> = legend
        .into_iter()
        .filter(|(cell, _)| seen.contains(cell))
        .map(|(_, text)| text)
        .collect();
    printer.line(paint(DIM, format!("  {}", legend.join("   "))))
}

fn by_month(
    printer: &Printer,
    first: NaiveDate,
    last: NaiveDate,
    cell: &dyn Fn(NaiveDate) -> Cell,
) -> Result<()> {
    let mut rows = Vec::new();
    let mut has_derived = false;
    for year in first.year()..=last.year() {
        let mut row = vec![format!("  {year}")];
        for month in 1..=12 {
            let start = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or(first);
            let cells: Vec<Cell> = start
                .iter_days()
                .take_while(|date| date.month() == month)
                .map(cell)
                .collect();
            let of = |wanted: Cell| cells.iter().filter(|cell| **cell == wanted).count();
            let expected = cells.len() - of(Cell::Outside);
            let text = match (of(Cell::Done) + of(Cell::Derived), expected) {
                (_, 0) => String::new(),
                _ if of(Cell::Failed) > 0 => paint(RED, format!("{}F", of(Cell::Failed))),
                _ if of(Cell::Orphaned) > 0 => paint(YELLOW, format!("{}o", of(Cell::Orphaned))),
                _ if of(Cell::Stale) > 0 => paint(YELLOW, format!("{}s", of(Cell::Stale))),
                (0, _) => paint(RED, "."),
                (there, all) => {
                    let style = if there == all { GREEN } else { YELLOW };
                    paint(style, in_month(of(Cell::Done), of(Cell::Derived)))
                }
            };
            has_derived |= of(Cell::Derived) > 0;
            row.push(text);
        }
        rows.push(row);
    }
    let header = [
        "", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    printer.line(columns(
        &header,
        rows,
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    ))?;
    let derived = match has_derived {
        true => "; i only in the intervals",
        false => "",
    };
    let legend = format!("  days present in each month; . none{derived}");
    printer.line(paint(DIM, legend))
}

/// How many days of a month have a snapshot, and how many only the intervals have: `2+1i`.
fn in_month(there: usize, derived: usize) -> String {
    match (there, derived) {
        (there, 0) => there.to_string(),
        (0, derived) => format!("{derived}i"),
        (there, derived) => format!("{there}+{derived}i"),
    }
}
