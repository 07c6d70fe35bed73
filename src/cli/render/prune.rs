//! `prune`: which copies go and which stay, why, and what that frees.

use super::{MANY, Render, indented};
use crate::cli::printer::{BOLD, DIM, Printer, RED, YELLOW, columns, count, number, paint, size};
use crate::commands::prune::{AsideKind, PruneOutcome, PruneReport, PruneRun, PrunedDate};
use crate::error::Result;

impl Render for PruneRun {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        self.tables
            .iter()
            .try_for_each(|report| table(printer, report))
    }
}

fn table(printer: &Printer, report: &PruneReport) -> Result<()> {
    let keep = report.keep.as_ref();
    let keep = keep.map_or_else(String::new, |rules| format!("  keep {rules}"));
    printer.line(format!("{}{keep}", paint(BOLD, &report.table)))?;
    // Each night the same copies are kept: a plan has them all, and a run those that it is about.
    let is_shown = |date: &&PrunedDate| {
        report.dry_run || printer.verbose || date.outcome != PruneOutcome::Kept
    };
    let dates: Vec<&PrunedDate> = report.dates.iter().filter(is_shown).collect();
    let most = match report.dry_run || printer.verbose {
        true => usize::MAX,
        false => MANY,
    };
    let rows = dates.iter().take(most).map(|date| {
        vec![
            date.snapshot_date.to_string(),
            outcome(date.outcome),
            size(date.bytes),
            date.reason.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if !rows.is_empty() {
        indented(printer, &columns(&[], rows, &[2]))?;
    }
    if let Some(rest) = dates.len().checked_sub(most).filter(|rest| *rest > 0) {
        let rest = count(rest as u64, "date");
        printer.line(format!("  ... and {rest} more; -v shows all"))?;
    }
    copies(printer, report)?;
    summary(printer, report)
}

/// Prints the copies that are not snapshots.
fn copies(printer: &Printer, report: &PruneReport) -> Result<()> {
    let rows = report.copies.iter().map(|copy| {
        vec![
            copy.snapshot_date.to_string(),
            outcome(copy.outcome),
            size(copy.bytes),
            copy.reason.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    match rows.is_empty() {
        true => Ok(()),
        false => indented(printer, &columns(&[], rows, &[2])),
    }
}

fn summary(printer: &Printer, report: &PruneReport) -> Result<()> {
    let mut parts = Vec::new();
    if report.keep.is_some() {
        let pruned = count(report.pruned, "snapshot");
        let kept = number(report.kept);
        parts.push(match report.dry_run {
            true => format!("would prune {pruned}, and keep {kept}"),
            false => format!("pruned {pruned}, kept {kept}"),
        });
    }
    for (kind, name) in [
        (AsideKind::Superseded, "replaced"),
        (AsideKind::Refused, "refused"),
    ] {
        let of_kind = report.copies.iter().filter(|copy| copy.kind == kind);
        let gone = of_kind
            .filter(|copy| matches!(copy.outcome, PruneOutcome::Pruned | PruneOutcome::Planned));
        let gone = gone.count();
        if gone > 0 {
            let verb = match report.dry_run {
                true => "would delete",
                false => "deleted",
            };
            let noun = if gone == 1 { "copy" } else { "copies" };
            parts.push(format!("{verb} {} {name} {noun}", number(gone as u64)));
        }
    }
    if parts.is_empty() {
        return printer.line("  nothing to delete");
    }
    let freed = match report.dry_run {
        true => "would free",
        false => "freed",
    };
    let bytes = size(report.bytes_freed);
    printer.line(format!("  {}; {freed} {bytes}", parts.join("; ")))
}

fn outcome(outcome: PruneOutcome) -> String {
    match outcome {
        PruneOutcome::Kept => paint(DIM, "kept"),
        PruneOutcome::Pruned => paint(YELLOW, "pruned"),
        PruneOutcome::Planned => "would prune".to_owned(),
        PruneOutcome::Refused | PruneOutcome::NotReached => paint(RED, "not pruned"),
    }
}
