//! `diff`: how many rows changed, in which columns, and the first of them.

use super::Render;
use super::show::{known, value};
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, RED, YELLOW, count, number, paint};
use crate::commands::ColumnChange;
use crate::commands::diff::{ChangeKind, DiffReport, DiffSide, RowChange};
use crate::error::Result;

impl Render for DiffReport {
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        let side = |side: &DiffSide| {
            if side.date == side.snapshot_date {
                side.date.to_string()
            } else {
                format!("{} (snapshot of {})", side.date, side.snapshot_date)
            }
        };
        printer.line(format!(
            "{} from {} to {}{}",
            paint(BOLD, &self.table),
            side(&self.from),
            side(&self.to),
            known(self.known_at)
        ))?;
        printer.line(format!(
            "  {}  {}  {}",
            paint(GREEN, format!("+{} added", number(self.added))),
            paint(YELLOW, format!("~{} changed", number(self.changed))),
            paint(RED, format!("-{} removed", number(self.removed)))
        ))?;
        if let Some(schema) = &self.schema {
            printer.line(format!("  schema: {schema}"))?;
        }
        if !self.not_compared.is_empty() {
            printer.line(format!(
                "  not compared, because one of the dates exists only in the intervals: {}",
                self.not_compared.join(", ")
            ))?;
        }
        if !self.columns.is_empty() {
            let parts: Vec<String> = self
                .columns
                .iter()
                .map(|column| format!("{} {}", column.name, number(column.changed)))
                .collect();
            printer.line(format!("  changed columns: {}", parts.join(", ")))?;
        }
        for row in &self.rows {
            printer.line(row_change(row, printer.verbose))?;
        }
        let rest = self.added + self.removed + self.changed - self.rows.len() as u64;
        if rest > 0 {
            printer.line(paint(
                DIM,
                format!(
                    "... and {} more; --limit {} shows all",
                    count(rest, "row"),
                    self.rows.len() as u64 + rest
                ),
            ))?;
        }
        Ok(())
    }
}

/// The most values of an added or removed row in a line, unless all are asked for.
const MOST_VALUES: usize = 6;

fn row_change(row: &RowChange, shows_all: bool) -> String {
    let key = row.key.join(", ");
    let values = |columns: &[ColumnChange], new: bool| {
        let shown = match shows_all {
            true => columns.len(),
            false => columns.len().min(MOST_VALUES),
        };
        let of_side = |column: &ColumnChange| {
            let side = if new { &column.new } else { &column.old };
            format!("{}={}", column.name, value(side.as_ref()))
        };
        let mut values: Vec<String> = columns[..shown].iter().map(of_side).collect();
        let rest = (columns.len() - shown) as u64;
        if rest > 0 {
            let more = format!("... {}, -v shows all", count(rest, "more column"));
            values.push(paint(DIM, more));
        }
        values.join("  ")
    };
    match row.kind {
        ChangeKind::Added => format!(
            "{} {key}  {}",
            paint(GREEN, "+"),
            values(&row.columns, true)
        ),
        ChangeKind::Removed => {
            format!("{} {key}  {}", paint(RED, "-"), values(&row.columns, false))
        }
        ChangeKind::Changed => format!("{} {key}  {}", paint(YELLOW, "~"), changes(&row.columns)),
    }
}

/// Changed columns with their old and new values.
pub(super) fn changes(columns: &[ColumnChange]) -> String {
    columns
        .iter()
        .map(|column| {
            format!(
                "{}: {} -> {}",
                column.name,
                value(column.old.as_ref()),
                value(column.new.as_ref())
            )
        })
        .collect::<Vec<_>>()
        .join("; ")
}
