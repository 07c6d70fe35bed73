//! `snapshot`: one line per table, and below it what a reader should notice.

use super::{Render, dropped_rows, schema};
use crate::cli::printer::{DIM, GREEN, Printer, YELLOW, columns, count, number, paint, size};
use crate::commands::snapshot::{Outcome, Since, SnapshotReport, SourceSince};
use crate::domain::hash_compaction::Changes;
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
    format!("{}  since {}", counts(&since.changes), since.snapshot_date)
}

fn counts(changes: &Changes) -> String {
    format!(
        "+{} added  ~{} changed  -{} removed",
        number(changes.added),
        number(changes.changed),
        number(changes.removed)
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
    if let Some(compare) = &report.compare_with {
        let since = match report.source_since {
            Some(SourceSince::Written) => "the source was written to since",
            _ => "whether the source has changed since is not known",
        };
        printer.line(format!("  {table}: {since}; {compare} compares them"))?;
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
    if let Some(since) = &report.since_replaced {
        let changes = counts(&since.changes);
        printer.line(format!(
            "  {table}: {changes}  since the copy that it replaces"
        ))?;
    }
    for change in &report.unguarded {
        printer.line(format!("  {table}: {} {change}", paint(YELLOW, "warning:")))?;
    }
    for guard in &report.forced {
        printer.line(format!("  {table}: forced, although {guard}"))?;
    }
    Ok(())
}
