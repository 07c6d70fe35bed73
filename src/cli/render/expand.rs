//! `expand`: the copies that were written.

use super::{MANY, Render};
use crate::cli::printer::{DIM, GREEN, Printer, columns, count, paint};
use crate::commands::expand::ExpandReport;
use crate::commands::snapshot::Outcome;
use crate::error::Result;

impl Render for ExpandReport {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let rows = self.dates.iter().map(|date| {
            vec![
                date.snapshot_date.to_string(),
                outcome(date.outcome),
                count(date.rows, "row"),
                date.path.clone(),
            ]
        });
        printer.line(columns(&[], rows.take(MANY).collect(), &[2]))?;
        if self.dates.len() > MANY {
            let rest = (self.dates.len() - MANY) as u64;
            printer.line(format!("... and {} more", count(rest, "date")))?;
        }
        if self.missing_days > 0 {
            let dates = count(self.missing_days, "date");
            printer.line(format!(
                "{dates} of the range had no snapshot, and got no copy"
            ))?;
        }
        Ok(())
    }
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Kept => paint(DIM, "already exists, kept"),
        Outcome::Published | Outcome::Replaced | Outcome::Discarded => paint(GREEN, "written"),
        Outcome::Planned => "would write".to_owned(),
    }
}
