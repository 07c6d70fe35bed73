//! `drop` and `restore`: what was moved, and what to do next.

use super::Render;
use crate::cli::printer::{DIM, GREEN, Printer, YELLOW, columns, count, paint};
use crate::commands::undo::{
    CopyFacts, DropOutcome, DropReport, PutAsideBy, RestoreOutcome, RestoreReport,
};
use crate::error::{Result, word};

impl Render for DropReport {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let outcome = match self.outcome {
            DropOutcome::Dropped => paint(YELLOW, "dropped"),
            DropOutcome::AlreadyDropped => paint(DIM, "already dropped"),
            DropOutcome::Planned => "would drop".to_owned(),
        };
        let row = vec![
            self.table.to_string(),
            self.snapshot_date.to_string(),
            outcome,
            rows(&self.copy),
            format!("to {}", self.path),
        ];
        printer.line(columns(&[], vec![row], &[]))?;
        if self.is_compacted {
            let table = word(self.table.as_str());
            printer.line(format!(
                "  the intervals were made from this copy: asof compact {table}"
            ))?;
        }
        printer.line(format!("  {} brings it back", self.restore_with))
    }
}

impl Render for RestoreReport {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let outcome = match self.outcome {
            RestoreOutcome::Restored => paint(GREEN, "restored"),
            RestoreOutcome::AlreadyExists => paint(DIM, "already exists, kept"),
            RestoreOutcome::Planned => "would restore".to_owned(),
        };
        let row = vec![
            self.table.to_string(),
            self.snapshot_date.to_string(),
            outcome,
            rows(&self.copy),
        ];
        printer.line(columns(&[], vec![row], &[]))?;
        if let Some(at) = self.copy.taken_at {
            let taken = at.format("%Y-%m-%d %H:%M UTC");
            let aside = match (self.put_aside_by, self.put_aside_at) {
                (Some(by), Some(at)) => {
                    let by = match by {
                        PutAsideBy::Drop => "dropped",
                        PutAsideBy::Replacement => "replaced",
                    };
                    format!(", {by} {}", at.format("%Y-%m-%d %H:%M UTC"))
                }
                _ => String::new(),
            };
            printer.line(format!("  taken {taken}{aside}"))?;
        }
        Ok(())
    }
}

fn rows(copy: &CopyFacts) -> String {
    copy.rows
        .map_or_else(String::new, |rows| count(rows, "row"))
}
