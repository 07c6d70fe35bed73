//! Reports as people read them. Each function prints one command's report, as text or as JSON.

mod calendar;
mod check;
mod rows;
mod schema;

pub(super) use check::check;
pub(super) use rows::{diff, history, show};
pub(super) use schema::schema;

use std::time::Duration;

use super::printer::{
    BOLD, DIM, GREEN, Printer, RED, YELLOW, columns, count, duration, number, paint, size,
};
use crate::commands::Progress;
use crate::commands::backfill::{BackfillReport, DateAction};
use crate::commands::compact::{CompactReport, CompactionMode};
use crate::commands::expand::ExpandReport;
use crate::commands::job_status::JobStatus;
use crate::commands::join::{JoinAction, JoinReport};
use crate::commands::partitions::PartitionsReport;
use crate::commands::snapshot::{Outcome, SnapshotReport};
use crate::commands::status::StatusReport;
use crate::commands::verify::VerifyReport;
use crate::engine::selection::Selection;
use crate::error::{Error, Result};

/// The most dates that are listed one by one before only the interesting ones are.
const MANY: usize = 40;

pub(super) fn init(printer: &Printer, path: &str) -> Result<()> {
    if printer.json {
        return printer.document(&serde_json::json!({ "written": path }));
    }
    printer.line(format!("wrote {path}; edit it, then: asof snapshot"))
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Kept => paint(DIM, "already exists, kept"),
        Outcome::Published => paint(GREEN, "published"),
        Outcome::Replaced => paint(YELLOW, "replaced"),
        Outcome::Planned => "would publish".to_owned(),
    }
}

/// The same of a copy outside of the lake.
fn written(outcome: Outcome) -> String {
    match outcome {
        Outcome::Kept => paint(DIM, "already exists, kept"),
        Outcome::Published | Outcome::Replaced => paint(GREEN, "written"),
        Outcome::Planned => "would write".to_owned(),
    }
}

/// Says how many rows were dropped by a rule, if any were; `kept` are the others.
fn dropped_rows(printer: &Printer, table: &str, rule: &str, dropped: u64, kept: u64) -> Result<()> {
    if dropped == 0 {
        return Ok(());
    }
    let all = number(dropped + kept);
    let dropped = number(dropped);
    let by = rule.trim_start_matches("latest ");
    printer.line(format!(
        "  {table}: dropped {dropped} of {all} rows: not the latest of their key {by}"
    ))
}

pub(super) fn snapshot(printer: &Printer, reports: &[SnapshotReport]) -> Result<()> {
    if printer.json {
        return printer.document(&reports);
    }
    if printer.quiet {
        return Ok(());
    }
    let mut rows = Vec::new();
    for report in reports {
        let changes = match &report.since {
            None => String::new(),
            Some(since) if since.changes == Default::default() => {
                format!("unchanged since {}", since.snapshot_date)
            }
            Some(since) => format!(
                "+{} added  ~{} changed  -{} removed  since {}",
                number(since.changes.added),
                number(since.changes.changed),
                number(since.changes.removed),
                since.snapshot_date
            ),
        };
        rows.push(vec![
            report.table.to_string(),
            report.snapshot_date.to_string(),
            outcome(report.outcome),
            report
                .rows
                .map_or_else(String::new, |rows| count(rows, "row")),
            report.bytes.map_or_else(String::new, size),
            changes,
        ]);
    }
    printer.line(columns(&[], rows, &[3, 4]))?;
    for report in reports {
        if !report.schema.is_empty() && (report.since.is_none() || printer.verbose) {
            printer.line(format!(
                "  {}: {}",
                report.table,
                schema::in_a_line(&report.schema)
            ))?;
        }
        if let Some(schema) = report
            .since
            .as_ref()
            .and_then(|since| since.schema.as_ref())
        {
            printer.line(format!("  {}: {schema}", report.table))?;
        }
        for column in &report.left_to_path {
            printer.line(format!(
                "  {}: column '{column}' equals the snapshot's date in every row, so it is not \
                 stored: readers take it from the path",
                report.table
            ))?;
        }
        if let (Some(rule), Some(dropped), Some(rows)) =
            (&report.dedup, report.dropped_rows, report.rows)
        {
            dropped_rows(printer, report.table.as_str(), rule, dropped, rows)?;
        }
        for guard in &report.forced {
            printer.line(format!("  {}: forced, although {guard}", report.table))?;
        }
    }
    Ok(())
}

/// What intervals are of, if not of all rows and columns.
fn selected(condition: Option<&str>, select: &[String]) -> Option<String> {
    let selection = Selection {
        condition: condition.map(str::to_owned),
        select: select.to_vec(),
    };
    (!selection.is_whole()).then(|| selection.in_words())
}

pub(super) fn compact(printer: &Printer, reports: &[CompactReport]) -> Result<()> {
    if printer.json {
        return printer.document(&reports);
    }
    if printer.quiet {
        return Ok(());
    }
    for report in reports {
        let span = match (report.from, report.to) {
            (Some(from), Some(to)) => format!(" of {from} to {to}"),
            _ => String::new(),
        };
        let verb = if report.dry_run {
            "would compact"
        } else {
            "compacted"
        };
        let headline = if report.mode == CompactionMode::UpToDate {
            "is up to date:".to_owned()
        } else {
            format!("{verb} ({}):", report.mode.name())
        };
        let gaps = if report.gap_days > 0 {
            format!(", {} missing between them", count(report.gap_days, "date"))
        } else {
            String::new()
        };
        printer.line(format!(
            "{} {headline} {}{span}{gaps}",
            paint(BOLD, &report.table),
            count(report.snapshots, "snapshot")
        ))?;
        if let Some(selected) = selected(report.selected_rows.as_deref(), &report.select) {
            printer.line(format!("  of {selected}"))?;
        }
        if report.dry_run {
            continue;
        }
        let mut facts = vec![
            [
                "rows".to_owned(),
                number(report.snapshot_rows),
                "in all snapshots".to_owned(),
            ],
            [
                "intervals".to_owned(),
                number(report.intervals),
                format!("{} open", number(report.open)),
            ],
            ["size".to_owned(), size(report.bytes), report.path.clone()],
        ];
        if report.mode != CompactionMode::UpToDate {
            facts.insert(
                0,
                [
                    "read".to_owned(),
                    number(report.decoded),
                    format!(
                        "{}; {}{} unchanged (not read)",
                        if report.decoded == 1 {
                            "snapshot"
                        } else {
                            "snapshots"
                        },
                        if report.by_changes > 0 {
                            format!("{} read from change files, ", number(report.by_changes))
                        } else {
                            String::new()
                        },
                        number(report.unchanged)
                    ),
                ],
            );
        }
        let text = columns(&[], facts.into_iter().map(Vec::from).collect(), &[1]);
        printer.line(
            text.lines()
                .map(|line| format!("  {line}"))
                .collect::<Vec<_>>()
                .join("\n"),
        )?;
        if let (Some(rule), Some(dropped)) = (&report.dedup, report.dropped_rows) {
            dropped_rows(
                printer,
                report.table.as_str(),
                rule,
                dropped,
                report.snapshot_rows,
            )?;
        }
        printer.line(format!("  as of D: {}", report.condition))?;
    }
    Ok(())
}

/// Whether a date is shown even where there are many.
fn is_of_note(action: DateAction) -> bool {
    matches!(
        action,
        DateAction::Failed | DateAction::Removed | DateAction::PlannedRemoval
    )
}

pub(super) fn backfill(printer: &Printer, reports: &[BackfillReport]) -> Result<()> {
    if printer.json {
        return printer.document(&reports);
    }
    for report in reports
        .iter()
        .filter(|report| !printer.quiet || report.failure().is_some())
    {
        let job = if report.output.ends_with(&report.job) {
            String::new()
        } else {
            format!("{} to ", paint(BOLD, &report.job))
        };
        printer.line(format!(
            "{job}{}",
            if job.is_empty() {
                paint(BOLD, &report.output)
            } else {
                report.output.clone()
            }
        ))?;
        for (table, rule) in &report.rules {
            printer.line(format!("  {table}: {rule}"))?;
        }
        let all = report.dates.len() <= MANY;
        let shown = report
            .dates
            .iter()
            .filter(|date| all || is_of_note(date.action));
        let mut rows = Vec::new();
        for date in shown {
            let action = match date.action {
                DateAction::Written => paint(GREEN, "written"),
                DateAction::Failed => paint(RED, "failed"),
                DateAction::Planned => "would write".to_owned(),
                DateAction::Removed => paint(YELLOW, "removed"),
                DateAction::PlannedRemoval => "would remove".to_owned(),
                DateAction::UpToDate => paint(DIM, "up to date"),
                DateAction::Skipped => paint(DIM, "skipped"),
            };
            let tables = date
                .tables
                .iter()
                .map(|(name, observed)| match date.using.get(name) {
                    Some(using) => format!("{name} {observed} ({})", using.name()),
                    None => format!("{name} {observed}"),
                });
            let matched = match (date.events, date.matched) {
                (Some(events), Some(matched)) => {
                    format!("{} of {} matched", number(matched), number(events))
                }
                _ => String::new(),
            };
            let state = date
                .was
                .as_ref()
                .filter(|was| date.action != DateAction::UpToDate && was.name() != "missing")
                .map(|was| match was {
                    crate::domain::staleness::DateState::Stale(reason) => {
                        format!("was stale: {reason}")
                    }
                    crate::domain::staleness::DateState::Orphaned => {
                        "was orphaned: its events are gone".to_owned()
                    }
                    was => format!("was {}", was.name().replace('_', " ")),
                });
            rows.push(vec![
                format!("  {}", date.date),
                action,
                date.rows
                    .map_or_else(String::new, |rows| count(rows, "row")),
                matched,
                date.error
                    .clone()
                    .unwrap_or_else(|| tables.chain(state).collect::<Vec<_>>().join("  ")),
            ]);
        }
        if !rows.is_empty() {
            printer.line(columns(&[], rows, &[2, 3]))?;
        }
        let total: u64 = report.dates.iter().filter_map(|date| date.rows).sum();
        let mut parts: Vec<String> = [
            (DateAction::Written, "written"),
            (DateAction::Planned, "to be written"),
            (DateAction::UpToDate, "up to date"),
            (DateAction::Skipped, "skipped"),
            (DateAction::Failed, "failed"),
        ]
        .into_iter()
        .map(|(action, name)| (name, report.count(action)))
        .filter(|(_, dates)| *dates > 0)
        .map(|(name, dates)| format!("{} {name}", count(dates as u64, "date")))
        .collect();
        for (action, verb) in [
            (DateAction::Removed, "removed"),
            (DateAction::PlannedRemoval, "to be removed"),
        ] {
            let outputs = report.count(action) as u64;
            if outputs > 0 {
                parts.push(format!("{} {verb}", count(outputs, "orphaned output")));
            }
        }
        if report.without_events > 0 {
            parts.push(format!(
                "{} without events",
                count(report.without_events, "date")
            ));
        }
        let rows = if total > 0 {
            format!("; {}", count(total, "row"))
        } else {
            String::new()
        };
        printer.line(format!("  {}{rows}", parts.join(", ")))?;
    }
    Ok(())
}

pub(super) fn join(printer: &Printer, report: &JoinReport) -> Result<()> {
    if printer.json {
        return printer.document(report);
    }
    if printer.quiet {
        return Ok(());
    }
    let action = match report.action {
        JoinAction::Written => paint(GREEN, "written"),
        JoinAction::Planned => "would be written".to_owned(),
        JoinAction::UpToDate => paint(DIM, "up to date"),
    };
    let rows = report
        .rows
        .map_or_else(String::new, |rows| format!("  {}", count(rows, "row")));
    printer.line(format!("{}  {action}{rows}", paint(BOLD, &report.output)))?;
    printer.line(format!(
        "  {}: {}, from {}",
        report.table,
        report.rule,
        report.using.name()
    ))?;
    let dates = count(report.dates, "date");
    let events = count(report.events, "event");
    let matched = report.matched.map_or_else(String::new, |matched| {
        format!("; {} matched", number(matched))
    });
    printer.line(format!(
        "  {events} of {dates}, {} to {}{matched}",
        report.from, report.to
    ))
}

/// `named`: whether the command line names the table, so that its columns are told, too.
pub(super) fn status(
    printer: &Printer,
    tables: Option<&StatusReport>,
    named: bool,
    jobs: &[JobStatus],
) -> Result<()> {
    if printer.json {
        return printer
            .document(&serde_json::json!({ "tables": tables.map(|report| report.tables.as_slice()).unwrap_or_default(), "jobs": jobs }));
    }
    for table in tables.iter().flat_map(|report| &report.tables) {
        calendar::table(printer, table)?;
        if !table.columns.is_empty() && (named || printer.verbose) {
            printer.line(format!("  columns: {}", schema::in_a_line(&table.columns)))?;
        }
    }
    for job in jobs {
        calendar::job(printer, job)?;
    }
    Ok(())
}

pub(super) fn verify(printer: &Printer, report: &VerifyReport) -> Result<()> {
    if printer.json {
        return printer.document(report);
    }
    for table in report.tables.iter().filter(|_| !printer.quiet) {
        let is_ok = report
            .problems
            .iter()
            .all(|problem| problem.table != table.table);
        let verdict = if is_ok {
            paint(GREEN.bold(), "OK")
        } else {
            paint(RED.bold(), "FAILED")
        };
        printer.line(format!("{}: {verdict}", paint(BOLD, &table.table)))?;
        if !is_ok {
            continue;
        }
        printer.line(format!(
            "  {} with {}: keys unique, rows sorted, fingerprints as recorded",
            count(table.snapshots, "snapshot"),
            count(table.rows, "row")
        ))?;
        match table.intervals {
            None => printer.line(format!("  no intervals; run: asof compact {}", table.table))?,
            Some(intervals) => {
                printer.line(format!(
                    "  {}, none overlapping; {} verified: expand(intervals, D) = snapshot(D)",
                    count(intervals, "interval"),
                    count(table.round_trips, "round trip")
                ))?;
                if let Some(selected) = selected(table.selected_rows.as_deref(), &table.select) {
                    printer.line(format!("  intervals and snapshots compared in {selected}"))?;
                }
            }
        }
        if table.not_compacted > 0 {
            printer.line(format!(
                "  {} not compacted yet",
                count(table.not_compacted, "snapshot")
            ))?;
        }
        if table.pruned > 0 {
            printer.line(format!(
                "  {} of the round trips were compared with recorded fingerprints, since the \
                 snapshots are gone",
                number(table.pruned)
            ))?;
        }
        if table.unchecked > 0 {
            printer.line(format!(
                "  {} without a snapshot not checked, since the intervals do not have all rows",
                count(table.unchecked, "date")
            ))?;
        }
        for unrecognized in &table.unrecognized_paths {
            printer.line(format!("  ignored, not part of the layout: {unrecognized}"))?;
        }
        for leftover in &table.leftovers {
            printer.line(format!(
                "  left by an interrupted run; a later run removes it after a day: {leftover}"
            ))?;
        }
    }
    for problem in &report.problems {
        let date = problem
            .date
            .map_or_else(String::new, |date| format!(", {date}"));
        printer.line(format!(
            "{} {}{date}: {}",
            paint(RED, "problem:"),
            problem.table,
            problem.what
        ))?;
    }
    Ok(())
}

pub(super) fn expand(printer: &Printer, report: &ExpandReport) -> Result<()> {
    if printer.json {
        return printer.document(report);
    }
    if printer.quiet {
        return Ok(());
    }
    let rows = report.dates.iter().map(|date| {
        vec![
            date.snapshot_date.to_string(),
            written(date.outcome),
            count(date.rows, "row"),
            date.path.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.take(MANY).collect();
    printer.line(columns(&[], rows, &[2]))?;
    if report.dates.len() > MANY {
        printer.line(format!(
            "... and {} more",
            count((report.dates.len() - MANY) as u64, "date")
        ))?;
    }
    if report.missing_days > 0 {
        printer.line(format!(
            "{} of the range had no snapshot, and none is made up",
            count(report.missing_days, "date")
        ))?;
    }
    Ok(())
}

pub(super) fn partitions(
    printer: &Printer,
    report: &PartitionsReport,
    took: Duration,
) -> Result<()> {
    if printer.json {
        let mut document = serde_json::to_value(report)
            .map_err(|error| Error::io(format!("cannot write JSON: {error}")))?;
        if let Some(object) = document.as_object_mut() {
            object.insert("seconds".to_owned(), took.as_secs_f64().into());
        }
        return printer.document(&document);
    }
    if let Some(scattered) = &report.scattered {
        Progress::note(printer, scattered);
    }
    let rows = report.partitions.iter().map(|found| {
        vec![
            found.date.to_string(),
            count(found.files, "file"),
            size(found.bytes),
        ]
    });
    let rows: Vec<Vec<String>> = rows.take(MANY).collect();
    if !rows.is_empty() {
        printer.line(columns(&[], rows, &[1, 2]))?;
    }
    if report.partitions.len() > MANY {
        printer.line(format!(
            "... and {} more",
            count((report.partitions.len() - MANY) as u64, "partition")
        ))?;
    }
    let missing = match report.missing_days {
        0 => "no date missing".to_owned(),
        days => format!("{} missing", count(days, "date")),
    };
    let held = if report.files > 0 {
        format!(
            " with {} of {}",
            count(report.files, "file"),
            size(report.bytes)
        )
    } else {
        String::new()
    };
    printer.line(format!(
        "{} found{held}, {missing}",
        count(report.partitions.len() as u64, "partition")
    ))?;
    printer.line(format!(
        "{} in {}",
        count(report.requests, "request"),
        duration(took)
    ))?;
    for unrecognized in report
        .unrecognized_paths
        .iter()
        .take(if report.partitions.is_empty() { 5 } else { 0 })
    {
        printer.line(format!(
            "  '{unrecognized}' exists, but does not match the layout '{}'",
            report.layout
        ))?;
    }
    if let Some(other) = &report.other_padding {
        printer.line(format!("  {other}"))?;
    }
    for gap in report.missing.iter().take(10) {
        printer.line(format!("  missing {}", calendar::span(gap)))?;
    }
    if report.missing.len() > 10 {
        printer.line(format!("  ... and {} more gaps", report.missing.len() - 10))?;
    }
    Ok(())
}
