//! `verify`: a verdict per table, what was checked, and what is wrong.

use super::{Render, selected};
use crate::cli::printer::{BOLD, GREEN, Printer, RED, YELLOW, count, number, paint};
use crate::commands::verify::{TableProof, Verdict, VerifyReport};
use crate::error::Result;

impl Render for VerifyReport {
    // Problems are shown all the same.
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        for table in self.tables.iter().filter(|_| !printer.quiet) {
            let verdict = self.verdict(&table.table);
            let shown = match verdict {
                Verdict::Ok => paint(GREEN.bold(), "OK"),
                Verdict::OutOfDate => paint(YELLOW.bold(), "out of date"),
                Verdict::Failed => paint(RED.bold(), "FAILED"),
            };
            printer.line(format!("{}: {shown}", paint(BOLD, &table.table)))?;
            if verdict != Verdict::Failed {
                checked(printer, table)?;
            }
        }
        for problem in &self.problems {
            let date = problem
                .date
                .map_or_else(String::new, |date| format!(", {date}"));
            let label = if problem.kind.is_damage() {
                paint(RED, "problem:")
            } else {
                paint(YELLOW, "out of date:")
            };
            printer.line(format!("{label} {}{date}: {}", problem.table, problem.what))?;
        }
        Ok(())
    }
}

/// Prints what was checked of a table.
fn checked(printer: &Printer, table: &TableProof) -> Result<()> {
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
        let snapshots = count(table.not_compacted, "snapshot");
        printer.line(format!("  {snapshots} not compacted yet"))?;
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
    Ok(())
}
