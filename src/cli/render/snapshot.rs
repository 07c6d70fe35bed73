//! `snapshot`: one line per table, and below it what a reader should notice.

use super::{Render, dropped_rows, schema};
use crate::cli::printer::{DIM, GREEN, Printer, YELLOW, columns, count, number, paint, size};
use crate::commands::snapshot::{Outcome, Since, SnapshotReport};
use crate::error::Result;

impl Render for [SnapshotReport] {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        printer.line(columns(&[], self.iter().map(row).collect(), &[3, 4]))?;
        self.iter().try_for_each(|report| details(printer, report))
    }
}

fn row(report: &SnapshotReport) -> Vec<String> {
    vec![
        report.table.to_string(),
        report.snapshot_date.to_string(),
        outcome(report),
        report
            .rows
            .map_or_else(String::new, |rows| count(rows, "row")),
        report.bytes.map_or_else(String::new, size),
        report.since.as_ref().map_or_else(String::new, changes),
    ]
}

fn outcome(report: &SnapshotReport) -> String {
    match report.outcome {
        Outcome::Kept => {
            let taken = report
                .taken_at
                .map(|at| at.format("; taken %Y-%m-%d %H:%M UTC"));
            let taken = taken.map_or_else(String::new, |taken| taken.to_string());
            paint(DIM, format!("already exists, kept{taken}"))
        }
        Outcome::Published => paint(GREEN, "published"),
        Outcome::Replaced => paint(YELLOW, "replaced"),
        Outcome::Planned => "would publish".to_owned(),
        Outcome::Discarded => paint(YELLOW, "discarded"),
    }
}

fn changes(since: &Since) -> String {
    if since.changes == Default::default() {
        return format!("unchanged since {}", since.snapshot_date);
    }
    format!(
        "+{} added  ~{} changed  -{} removed  since {}",
        number(since.changes.added),
        number(since.changes.changed),
        number(since.changes.removed),
        since.snapshot_date
    )
}

/// Prints the types of a first snapshot, and what else is particular about this one.
fn details(printer: &Printer, report: &SnapshotReport) -> Result<()> {
    let table = &report.table;
    if !report.schema.is_empty() && (report.since.is_none() || printer.verbose) {
        printer.line(format!("  {table}: {}", schema::in_a_line(&report.schema)))?;
    }
    let drift = report
        .since
        .as_ref()
        .and_then(|since| since.schema.as_ref());
    if let Some(drift) = drift {
        printer.line(format!("  {table}: {drift}"))?;
    }
    for column in &report.left_to_path {
        printer.line(format!(
            "  {table}: column '{column}' equals the snapshot's date in every row, so it is not \
             stored: readers take it from the path"
        ))?;
    }
    if let (Some(rule), Some(dropped), Some(rows)) =
        (&report.dedup, report.dropped_rows, report.rows)
    {
        dropped_rows(printer, table.as_str(), rule, dropped, rows)?;
    }
    for change in &report.unguarded {
        printer.line(format!("  {table}: {} {change}", paint(YELLOW, "warning:")))?;
    }
    for guard in &report.forced {
        printer.line(format!("  {table}: forced, although {guard}"))?;
    }
    Ok(())
}
