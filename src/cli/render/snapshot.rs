//! `snapshot`: one line per table, and below it what a reader should notice.

use super::{Render, dropped_rows, schema};
use crate::cli::printer::{DIM, GREEN, Printer, RED, YELLOW, columns, count, number, paint, size};
use crate::commands::snapshot::{
    Outcome, Since, SkipReason, SkippedTable, SnapshotReport, SnapshotRun, SourceSince, TableResult,
};
use crate::domain::hash_compaction::Changes;
use crate::error::Result;

impl Render for SnapshotRun {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let rows: Vec<_> = self.tables.iter().filter_map(row).collect();
        printer.line(columns(&[], rows, &[3, 4]))?;
        for table in &self.tables {
            if let TableResult::Done(report) = table {
                details(printer, report)?;
            }
        }
        if self.tables.len() > 1 {
            printer.line(summary(self))?;
        }
        Ok(())
    }
}

/// The line of a table; none of one that was left out.
fn row(table: &TableResult) -> Option<Vec<String>> {
    let mut row = match table {
        TableResult::Skipped(_) => return None,
        TableResult::Failed(failed) => vec![
            failed.table.to_string(),
            failed.snapshot_date.to_string(),
            paint(RED, "failed"),
        ],
        TableResult::Done(report) => vec![
            report.table.to_string(),
            report.snapshot_date.to_string(),
            outcome(report),
            report
                .rows
                .map_or_else(String::new, |rows| count(rows, "row")),
            report.bytes.map_or_else(String::new, size),
            report.since.as_ref().map_or_else(String::new, changes),
        ],
    };
    row.resize(6, String::new());
    Some(row)
}

/// `3 tables: 2 published, 1 failed; skipped: feed (external)`; of copies that were adopted, `3
/// dates: 3 published`.
fn summary(run: &SnapshotRun) -> String {
    let published = |outcome: Outcome, name: &'static str| {
        let is_so = |table: &&TableResult| match table {
            TableResult::Done(report) => report.outcome == outcome,
            _ => false,
        };
        (run.tables.iter().filter(is_so).count(), name)
    };
    let counted = [
        published(Outcome::Published, "published"),
        published(Outcome::Replaced, "replaced"),
        published(Outcome::Planned, "to be published"),
        published(Outcome::Kept, "kept"),
        (run.failures().count(), "failed"),
    ];
    let counted = counted.iter().filter(|(tables, _)| *tables > 0);
    let parts: Vec<String> = counted
        .map(|(tables, name)| format!("{} {name}", number(*tables as u64)))
        .collect();
    let skipped = run.tables.iter().filter_map(|table| match table {
        TableResult::Skipped(skipped) => Some(reason(skipped)),
        _ => None,
    });
    let skipped: Vec<String> = skipped.collect();
    let what = match run.is_of_one_table() {
        true => "date",
        false => "table",
    };
    let taken = count((run.tables.len() - skipped.len()) as u64, what);
    let mut text = format!("{taken}: {}", parts.join(", "));
    if !skipped.is_empty() {
        text += &paint(DIM, format!("; skipped {}", skipped.join(", ")));
    }
    text
}

/// A table that was left out, and why.
fn reason(skipped: &SkippedTable) -> String {
    let why = match skipped.reason {
        SkipReason::External => "external",
        SkipReason::NoSource => "no source",
        SkipReason::StandardInput => "standard input",
    };
    format!("{} ({why})", skipped.table)
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
