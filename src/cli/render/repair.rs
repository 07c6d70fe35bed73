//! `repair`: the intervals and outputs that were recomputed, in the manner of `compact` and
//! `backfill`.

use super::{Render, backfill, compact};
use crate::cli::printer::{BOLD, Printer, RED, paint};
use crate::commands::compact::ChangedCopy;
use crate::commands::repair::{JobRepair, RepairReport, TableRepair};
use crate::error::Result;

impl Render for RepairReport {
    // A failed date is shown all the same.
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        let jobs = || self.jobs.iter();
        if printer.quiet {
            return jobs()
                .filter(|job| job.failure().is_some())
                .try_for_each(|repaired| job(printer, repaired));
        }
        if self.tables.is_empty() && self.jobs.is_empty() {
            return printer.line("nothing to repair");
        }
        self.tables
            .iter()
            .try_for_each(|repaired| table(printer, repaired))?;
        jobs().try_for_each(|repaired| job(printer, repaired))
    }
}

fn table(printer: &Printer, repaired: &TableRepair) -> Result<()> {
    match &repaired.compaction {
        Some(report) => compact::table(printer, report)?,
        None => failed(printer, repaired.table.as_str())?,
    }
    repaired.changed.iter().try_for_each(|copy| {
        let ChangedCopy {
            snapshot_date,
            change,
        } = copy;
        let what = change.in_words();
        printer.line(format!("  the snapshot of {snapshot_date} {what}"))
    })
}

fn job(printer: &Printer, repaired: &JobRepair) -> Result<()> {
    match &repaired.backfill {
        Some(report) => backfill::job(printer, report),
        None => failed(printer, &repaired.job),
    }
}

fn failed(printer: &Printer, name: &str) -> Result<()> {
    printer.line(format!("{} {}", paint(BOLD, name), paint(RED, "failed")))
}
