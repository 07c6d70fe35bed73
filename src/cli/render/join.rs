//! `join`: the file, the rule by which the table was looked up, and what matched.

use super::Render;
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, count, number, paint};
use crate::commands::join::{JoinAction, JoinReport};
use crate::error::Result;

impl Render for JoinReport {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let action = match self.action {
            JoinAction::Written => paint(GREEN, "written"),
            JoinAction::Planned => "would be written".to_owned(),
            JoinAction::UpToDate => paint(DIM, "up to date"),
        };
        let rows = self
            .rows
            .map_or_else(String::new, |rows| format!("  {}", count(rows, "row")));
        printer.line(format!("{}  {action}{rows}", paint(BOLD, &self.output)))?;
        printer.line(format!(
            "  {}: {}, from {}",
            self.table,
            self.rule,
            self.using.name()
        ))?;
        let dates = count(self.dates, "date");
        let events = count(self.events, "event");
        let matched = self.matched.map_or_else(String::new, |matched| {
            format!("; {} matched", number(matched))
        });
        printer.line(format!(
            "  {events} of {dates}, {} to {}{matched}",
            self.from, self.to
        ))
    }
}
