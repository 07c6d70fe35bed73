//! `partitions`: what was found, what is missing, and what it took to find out.

use std::time::Duration;

use serde::Serialize;

use super::status::span;
use super::{MANY, Render};
use crate::cli::printer::{Printer, columns, count, duration, size};
use crate::commands::Progress;
use crate::commands::partitions::PartitionsReport;
use crate::error::Result;

/// Partitions, and the time that it took to find them.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct TimedPartitions {
    #[serde(flatten)]
    report: PartitionsReport,
    seconds: f64,
}

impl TimedPartitions {
    /// A report that took this long.
    pub(in crate::cli) fn new(report: PartitionsReport, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        TimedPartitions { report, seconds }
    }
}

impl Render for TimedPartitions {
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        let report = &self.report;
        if let Some(scattered) = &report.scattered {
            Progress::note(printer, scattered);
        }
        found(printer, report)?;
        let took = duration(Duration::from_secs_f64(self.seconds));
        printer.line(format!("{} in {took}", count(report.requests, "request")))?;
        missing(printer, report)
    }
}

fn found(printer: &Printer, report: &PartitionsReport) -> Result<()> {
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
        let rest = (report.partitions.len() - MANY) as u64;
        printer.line(format!("... and {} more", count(rest, "partition")))?;
    }
    let missing = match report.missing_days {
        0 => "no date missing".to_owned(),
        days => format!("{} missing", count(days, "date")),
    };
    let held = if report.files > 0 {
        let files = count(report.files, "file");
        format!(" with {files} of {}", size(report.bytes))
    } else {
        String::new()
    };
    let partitions = count(report.partitions.len() as u64, "partition");
    printer.line(format!("{partitions} found{held}, {missing}"))
}

/// Prints the gaps, and what may be meant where nothing was found.
fn missing(printer: &Printer, report: &PartitionsReport) -> Result<()> {
    let hints = if report.partitions.is_empty() { 5 } else { 0 };
    for unrecognized in report.unrecognized_paths.iter().take(hints) {
        printer.line(format!(
            "  '{unrecognized}' exists, but does not match the layout '{}'",
            report.layout
        ))?;
    }
    if let Some(other) = &report.other_padding {
        printer.line(format!("  {other}"))?;
    }
    for gap in report.missing.iter().take(10) {
        printer.line(format!("  missing {}", span(gap)))?;
    }
    if report.missing.len() > 10 {
        printer.line(format!("  ... and {} more gaps", report.missing.len() - 10))?;
    }
    Ok(())
}
