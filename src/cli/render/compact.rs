//! `compact`: what was read, and what the intervals hold.

use super::{Render, dropped_rows, facts, selected};
use crate::cli::printer::{BOLD, Printer, RED, count, number, paint, size};
use crate::commands::compact::{
    CompactReport, CompactionMode, CompactionRun, Scd2Outcome, Scd2Report, TableCompaction,
};
use crate::error::Result;

impl Render for CompactionRun {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        self.tables
            .iter()
            .try_for_each(|compacted| match compacted {
                TableCompaction::Done(report) => table(printer, report),
                TableCompaction::Failed(failed) => printer.line(format!(
                    "{} {}",
                    paint(BOLD, failed.table.as_str()),
                    paint(RED, "failed")
                )),
            })
    }
}

pub(super) fn table(printer: &Printer, report: &CompactReport) -> Result<()> {
    printer.line(headline(report))?;
    if let Some(selected) = selected(report.selected_rows.as_deref(), &report.select) {
        printer.line(format!("  only {selected}"))?;
    }
    if report.dry_run {
        return match &report.scd2 {
            Some(scd2) => printer.line(format!("  would write {} of the intervals", scd2.path)),
            None => Ok(()),
        };
    }
    let mut rows = Vec::new();
    if report.mode != CompactionMode::UpToDate {
        rows.push(vec![
            "read".to_owned(),
            number(report.decoded),
            read(report),
        ]);
    }
    rows.push(vec![
        "rows".to_owned(),
        number(report.snapshot_rows),
        "in all snapshots".to_owned(),
    ]);
    rows.push(vec![
        "intervals".to_owned(),
        number(report.intervals),
        format!("{} open", number(report.open)),
    ]);
    rows.push(vec![
        "size".to_owned(),
        size(report.bytes),
        report.path.clone(),
    ]);
    rows.extend(report.scd2.as_ref().map(scd2));
    facts(printer, rows, &[1])?;
    if let (Some(rule), Some(dropped)) = (&report.dedup, report.dropped_rows) {
        let table = report.table.as_str();
        dropped_rows(printer, table, rule, dropped, report.snapshot_rows)?;
    }
    printer.line(format!("  as of D: {}", report.condition))
}

/// The table for a warehouse.
fn scd2(report: &Scd2Report) -> Vec<String> {
    let deletions = report.deletion_records.filter(|records| *records > 0);
    let deletions =
        deletions.map(|records| format!(", {} of them records of deletions", number(records)));
    let up_to_date = match report.outcome {
        Scd2Outcome::UpToDate => ", up to date",
        Scd2Outcome::Written | Scd2Outcome::Planned => "",
    };
    vec![
        "scd2".to_owned(),
        report.rows.map(number).unwrap_or_default(),
        format!(
            "rows{}: {}{up_to_date}",
            deletions.unwrap_or_default(),
            report.path
        ),
    ]
}

fn headline(report: &CompactReport) -> String {
    let what = match (report.mode, report.dry_run) {
        (CompactionMode::UpToDate, _) => "is up to date:".to_owned(),
        (mode, true) => format!("would compact ({}):", mode.name()),
        (mode, false) => format!("compacted ({}):", mode.name()),
    };
    let span = match (report.from, report.to) {
        (Some(from), Some(to)) => format!(" of {from} to {to}"),
        _ => String::new(),
    };
    let gaps = if report.gap_days > 0 {
        format!(", {} missing between them", count(report.gap_days, "date"))
    } else {
        String::new()
    };
    format!(
        "{} {what} {}{span}{gaps}",
        paint(BOLD, &report.table),
        count(report.snapshots, "snapshot")
    )
}

/// How the snapshots were read.
fn read(report: &CompactReport) -> String {
    let snapshots = if report.decoded == 1 {
        "snapshot"
    } else {
        "snapshots"
    };
    let by_changes = if report.by_changes > 0 {
        format!("{} read from change files, ", number(report.by_changes))
    } else {
        String::new()
    };
    let unchanged = number(report.unchanged);
    format!("{snapshots}; {by_changes}{unchanged} unchanged (not read)")
}
