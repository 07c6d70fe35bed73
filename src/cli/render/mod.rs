//! Reports in the formats that they are shown in.
//!
//! Every command returns a report: a serde struct that has all that is to be said and knows nothing
//! of formats. Its [`Render`] implementation, one file per command in this folder, adds the text.
//! [`render`] chooses: JSON is the report as serde writes it, text is [`Render::text`].
//!
//! A report carries everything that is shown: an implementation never asks the workspace, the lake
//! or the clock. The one report that is a page, of `asof report`, is in `report/`.

mod adopt;
mod backfill;
mod check;
mod compact;
mod describe;
mod diff;
mod expand;
mod history;
mod init;
mod join;
mod lake;
mod partitions;
mod plan;
mod project;
mod prune;
mod repair;
mod report;
mod schema;
mod show;
mod snapshot;
mod status;
mod undo;
mod verify;

use serde::Serialize;

use super::printer::{Printer, columns, number};
use crate::engine::selection::Selection;
use crate::error::Result;

pub(super) use self::partitions::TimedPartitions;
pub(super) use self::report::{ReportedLake, page};
pub(super) use self::status::StatusPage;

/// The most lines of a list; the rest is counted.
const MANY: usize = 40;

/// A command's report that can be shown in every format.
pub(super) trait Render: Serialize {
    /// Whether `--quiet` leaves the text out: the command's work is done without it.
    const IS_LEFT_OUT_IF_QUIET: bool;
    /// Whether the text may be long, and goes to a pager.
    const IS_PAGED: bool = false;

    /// Prints the report for people.
    ///
    /// # Errors
    /// A failure to write to standard output.
    fn text(&self, printer: &Printer) -> Result<()>;
}

/// Prints a report in the format that the command line asks for.
///
/// # Errors
/// A failure to write to standard output.
pub(super) fn render<R: Render + ?Sized>(printer: &Printer, report: &R) -> Result<()> {
    printer.clear();
    if printer.json {
        return printer.document(report);
    }
    if printer.quiet && R::IS_LEFT_OUT_IF_QUIET {
        return Ok(());
    }
    match R::IS_PAGED {
        true => printer.paged(|| report.text(printer)),
        false => report.text(printer),
    }
}

/// Prints lines with two spaces before each.
fn indented(printer: &Printer, text: &str) -> Result<()> {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    printer.line(lines.join("\n"))
}

/// Prints rows as aligned columns, two spaces from the left.
fn facts(printer: &Printer, facts: Vec<Vec<String>>, right: &[usize]) -> Result<()> {
    indented(printer, &columns(&[], facts, right))
}

/// Prints how many rows a `dedup` rule dropped, if it dropped any; `kept` are the others.
fn dropped_rows(printer: &Printer, table: &str, rule: &str, dropped: u64, kept: u64) -> Result<()> {
    if dropped == 0 {
        return Ok(());
    }
    let all = number(dropped + kept);
    let dropped = number(dropped);
    let by = rule.trim_start_matches("latest ");
    printer.line(format!(
        "  {table}: dropped {dropped} of {all} rows: not the latest of their key {by}"
    ))
}

/// The selection of intervals in words, if they do not hold all rows and columns.
fn selected(condition: Option<&str>, select: &[String]) -> Option<String> {
    let selection = Selection {
        condition: condition.map(str::to_owned),
        select: select.to_vec(),
    };
    (!selection.is_whole()).then(|| selection.in_words())
}
