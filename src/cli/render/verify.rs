//! `verify`: a verdict per table and job, what was checked, and what is wrong.

use super::{Render, selected};
use crate::cli::printer::{BOLD, GREEN, Printer, RED, YELLOW, count, number, paint};
use crate::commands::verify::{OutputProof, Subject, TableProof, Verdict, VerifyReport};
use crate::error::Result;

impl Render for VerifyReport {
    // Problems are shown all the same.
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        for table in self.tables.iter().filter(|_| !printer.quiet) {
            let of = Subject::Table(table.table.clone());
            if verdict(printer, self, &of)? != Verdict::Failed {
                checked(printer, table)?;
            }
        }
        for outputs in self.outputs.iter().filter(|_| !printer.quiet) {
            if verdict(printer, self, &outputs.of)? != Verdict::Failed {
                checked_outputs(printer, outputs)?;
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
            let of = named(&problem.of);
            printer.line(format!("{label} {of}{date}: {}", problem.what))?;
        }
        Ok(())
    }
}

fn named(of: &Subject) -> String {
    match of {
        Subject::Table(table) => table.to_string(),
        Subject::Job(job) => format!("job {job}"),
        Subject::Outputs(path) => path.clone(),
    }
}

/// Prints what was found of a table or a job.
fn verdict(printer: &Printer, report: &VerifyReport, of: &Subject) -> Result<Verdict> {
    let verdict = report.verdict(of);
    let shown = match verdict {
        Verdict::Ok => paint(GREEN.bold(), "OK"),
        Verdict::OutOfDate => paint(YELLOW.bold(), "out of date"),
        Verdict::Failed => paint(RED.bold(), "FAILED"),
    };
    printer.line(format!("{}: {shown}", paint(BOLD, named(of))))?;
    Ok(verdict)
}

/// Prints what was checked of a job's outputs.
fn checked_outputs(printer: &Printer, outputs: &OutputProof) -> Result<()> {
    let up_to_date = outputs.up_to_date.map_or_else(String::new, |outputs| {
        format!(": {} up to date", number(outputs))
    });
    printer.line(format!(
        "  {} with {}{up_to_date}",
        count(outputs.outputs, "output"),
        count(outputs.rows, "row")
    ))?;
    if outputs.not_compared > 0 {
        let outputs = count(outputs.not_compared, "output");
        printer.line(format!("  {outputs} not compared: the inputs are damaged"))?;
    }
    if let Some(recomputed) = outputs.recomputed {
        let recomputed = count(recomputed, "output");
        printer.line(format!("  {recomputed} with the same rows as a fresh run"))?;
    }
    without_checksums(printer, outputs.without_checksums)
}

/// Prints how many objects have no checksums, if any.
fn without_checksums(printer: &Printer, objects: u64) -> Result<()> {
    if objects == 0 {
        return Ok(());
    }
    let objects = count(objects, "object");
    printer.line(format!(
        "  {objects} without checksums, as earlier programs wrote them"
    ))
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
    if table.set_aside > 0 {
        let copies = count(table.set_aside, "copy");
        printer.line(format!(
            "  {copies} set aside (replaced, dropped or refused): whole"
        ))?;
    }
    without_checksums(printer, table.without_checksums)?;
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
