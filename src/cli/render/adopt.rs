//! `adopt`: what was found in a table of versions, and what was written.

use super::{Render, facts, indented};
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, RED, count, number, paint};
use crate::commands::adopt::{AdoptOutcome, AdoptReport};
use crate::engine::scd2::{AuditExample, AuditFinding};
use crate::error::Result;

impl Render for AdoptReport {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        printer.line(headline(self))?;
        facts(printer, sizes(self), &[1])?;
        for problem in &self.problems {
            finding(printer, problem, true)?;
        }
        for fact in &self.facts {
            finding(printer, fact, printer.verbose)?;
        }
        written(printer, self)
    }
}

fn headline(report: &AdoptReport) -> String {
    let outcome = match report.outcome {
        AdoptOutcome::Adoptable => paint(GREEN, "can be adopted"),
        AdoptOutcome::Refused => paint(RED, "cannot be adopted"),
        AdoptOutcome::Adopted => paint(GREEN, "adopted"),
        AdoptOutcome::AlreadyAdopted => paint(DIM, "already adopted"),
    };
    let by = report.preset.map(|preset| format!("{}: ", preset.name()));
    format!(
        "{} {outcome}: {} ({}{} to {})",
        paint(BOLD, &report.table),
        report.source,
        by.unwrap_or_default(),
        report.start_column,
        report.end_column,
    )
}

fn sizes(report: &AdoptReport) -> Vec<Vec<String>> {
    let row = |name: &str, value: u64, note: String| vec![name.to_owned(), number(value), note];
    let keys = format!("of {}", count(report.keys, "key"));
    let mut rows = vec![row("versions", report.versions, keys)];
    if let (Some(from), Some(to), true) = (report.from, report.to, report.intervals > 0) {
        let zone = report.timezone.as_ref();
        let zone = zone.map_or_else(String::new, |zone| format!(", days in {zone}"));
        rows.push(row("dates", report.dates, format!("{from} to {to}{zone}")));
        let current = format!("{} open on the last date", number(report.current));
        rows.push(row("intervals", report.intervals, current));
    }
    rows
}

/// Prints what was found, and examples of it.
fn finding(printer: &Printer, finding: &AuditFinding, shows_all: bool) -> Result<()> {
    let [one, several] = finding.kind.in_words();
    let words = if finding.count == 1 { one } else { several };
    let words = match finding.kind.is_problem() {
        true => paint(RED, words),
        false => words.to_owned(),
    };
    printer.line(format!("  {} {words}", number(finding.count)))?;
    let most = if shows_all { usize::MAX } else { 1 };
    let examples = finding.examples.iter().take(most).map(example);
    let examples: Vec<String> = examples.collect();
    if !examples.is_empty() {
        indented(printer, &indent(&examples))?;
    }
    Ok(())
}

fn indent(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

fn example(example: &AuditExample) -> String {
    let value = match example.value.is_empty() {
        true => "null",
        false => &example.value,
    };
    let note = example.note.as_ref();
    let note = note.map_or_else(String::new, |note| format!("; {note}"));
    format!("{}: {} {value}{note}", example.key, example.column)
}

fn written(printer: &Printer, report: &AdoptReport) -> Result<()> {
    match (report.outcome, &report.path) {
        (AdoptOutcome::Adoptable, _) => {
            printer.line("  nothing was written; --write makes a table of the lake of it")
        }
        (AdoptOutcome::Adopted, Some(path)) => {
            let copies = match report.copies.as_slice() {
                [] => String::new(),
                [only] => format!(", and a copy of {only}"),
                [first, last] => format!(", and copies of {first} and {last}"),
                [first, .., last] => format!(
                    ", and {} copies of {first} to {last}",
                    number(report.copies.len() as u64)
                ),
            };
            printer.line(format!("  wrote {path}{copies}"))
        }
        _ => Ok(()),
    }
}
