//! `backfill`: what was done about each date, and why.

use super::show::known;
use super::{MANY, Render};
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, RED, YELLOW, columns, count, number, paint};
use crate::commands::backfill::{BackfillReport, DateAction, DateReport};
use crate::domain::staleness::DateState;
use crate::error::Result;

impl Render for [BackfillReport] {
    // A failed job is shown all the same.
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        self.iter()
            .filter(|report| !printer.quiet || report.failure().is_some())
            .try_for_each(|report| job(printer, report))
    }
}

pub(super) fn job(printer: &Printer, report: &BackfillReport) -> Result<()> {
    let name = paint(BOLD, &report.job);
    if report.output == report.job {
        printer.line(name)?;
    } else {
        printer.line(format!("{name}  {}", report.output))?;
    }
    for (table, rule) in &report.rules {
        printer.line(format!("  {table}: {rule}{}", known(report.known_at)))?;
    }
    dates(printer, &report.dates)?;
    printer.line(format!("  {}", summary(report)))
}

/// Prints the dates: all if they are few or `--verbose` asks for them, else those about which
/// something was done, the failed ones first of all. `--quiet` leaves the failed ones alone.
fn dates(printer: &Printer, dates: &[DateReport]) -> Result<()> {
    let all = dates.len() <= MANY || printer.verbose;
    let is_failed = |date: &&DateReport| date.action == DateAction::Failed;
    let is_idle =
        |date: &DateReport| matches!(date.action, DateAction::UpToDate | DateAction::Skipped);
    let is_shown = |date: &&DateReport| match printer.quiet {
        true => is_failed(date),
        false => all || !is_idle(date),
    };
    let mut shown: Vec<&DateReport> = dates.iter().filter(is_shown).collect();
    let of_note = shown.len();
    if !all {
        // No failure is cut off by dates that were written.
        let failed = shown.iter().filter(|date| is_failed(date)).count();
        let mut room = MANY.saturating_sub(failed);
        shown.retain(|date| {
            let fits = room > 0;
            if !is_failed(date) {
                room = room.saturating_sub(1);
            }
            is_failed(date) || fits
        });
    }
    if !shown.is_empty() {
        let rows = shown.iter().map(|date| row(date)).collect();
        printer.line(columns(&[], rows, &[2, 3]))?;
    }
    let rest = (of_note - shown.len()) as u64;
    if rest > 0 {
        printer.line(paint(
            DIM,
            format!("  ... and {}; -v lists all", count(rest, "more date")),
        ))?;
    }
    Ok(())
}

fn row(date: &DateReport) -> Vec<String> {
    let matched = match (date.events, date.matched) {
        (Some(events), Some(matched)) => {
            format!("{} of {} matched", number(matched), number(events))
        }
        _ => String::new(),
    };
    vec![
        format!("  {}", date.date),
        action(date.action),
        date.rows
            .map_or_else(String::new, |rows| count(rows, "row")),
        matched,
        date.error.clone().unwrap_or_else(|| inputs(date)),
    ]
}

fn action(action: DateAction) -> String {
    match action {
        DateAction::Written => paint(GREEN, "written"),
        DateAction::Failed => paint(RED, "failed"),
        DateAction::Accepted => paint(GREEN, "accepted"),
        DateAction::PlannedAcceptance => "would accept".to_owned(),
        DateAction::Planned => "would write".to_owned(),
        DateAction::Removed => paint(YELLOW, "removed"),
        DateAction::PlannedRemoval => "would remove".to_owned(),
        DateAction::UpToDate => paint(DIM, "up to date"),
        DateAction::Skipped => paint(DIM, "skipped"),
    }
}

/// The copy that served each table, and why the date was run again.
fn inputs(date: &DateReport) -> String {
    let tables = date
        .tables
        .iter()
        .map(|(name, observed)| match date.using.get(name) {
            Some(using) => format!("{name} {observed} ({})", using.name()),
            None => format!("{name} {observed}"),
        });
    let was = date
        .was
        .as_ref()
        .filter(|_| date.action != DateAction::UpToDate)
        .and_then(|was| match was {
            DateState::Missing => None,
            DateState::Stale(reason) => Some(format!("was stale: {reason}")),
            DateState::Orphaned => Some("was orphaned: its events are gone".to_owned()),
            was => Some(format!("was {}", was.name().replace('_', " "))),
        });
    tables.chain(was).collect::<Vec<_>>().join("  ")
}

fn summary(report: &BackfillReport) -> String {
    let dates = [
        (DateAction::Written, "written"),
        (DateAction::Planned, "to be written"),
        (DateAction::Accepted, "accepted"),
        (DateAction::PlannedAcceptance, "to be accepted"),
        (DateAction::UpToDate, "up to date"),
        (DateAction::Skipped, "skipped"),
        (DateAction::Failed, "failed"),
    ];
    let outputs = [
        (DateAction::Removed, "removed"),
        (DateAction::PlannedRemoval, "to be removed"),
    ];
    let counted = |noun: &str, actions: &[(DateAction, &str)]| {
        actions
            .iter()
            .map(|(action, name)| (report.count(*action) as u64, name))
            .filter(|(number, _)| *number > 0)
            .map(|(number, name)| format!("{} {name}", count(number, noun)))
            .collect::<Vec<_>>()
    };
    let mut parts = counted("date", &dates);
    parts.extend(counted("orphaned output", &outputs));
    if report.without_events > 0 {
        let dates = count(report.without_events, "date");
        parts.push(format!("{dates} without events"));
    }
    let rows: u64 = report.dates.iter().filter_map(|date| date.rows).sum();
    let rows = if rows > 0 {
        format!("; {}", count(rows, "row"))
    } else {
        String::new()
    };
    format!("{}{rows}", parts.join(", "))
}
