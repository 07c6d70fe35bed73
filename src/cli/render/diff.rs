//! `diff`: how many rows changed, in which columns, and the first of them or a summary by column.

use super::describe::{bar, facts};
use super::show::{known, one_line, value};
use super::{MANY, Render};
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, RED, YELLOW, columns, count, number, paint};
use crate::commands::ColumnChange;
use crate::commands::diff::{ChangeKind, ColumnSummary, DiffReport, DiffSide, RowChange};
use crate::error::Result;

impl Render for DiffReport {
    const IS_LEFT_OUT_IF_QUIET: bool = false;
    const IS_PAGED: bool = true;

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
        if !self.rows.is_empty() {
            let rows = self.rows.iter();
            let rows = rows.map(|row| row_change(row, printer.verbose));
            printer.line(columns(&[], rows.collect(), &[]))?;
        }
        if let Some(summary) = &self.summary {
            summed_up(printer, self, summary)?;
        }
        let rest = self.added + self.removed + self.changed - self.rows.len() as u64;
        if rest > 0 && self.summary.is_none() && self.out.is_none() {
            printer.line(paint(
                DIM,
                format!(
                    "... and {} more; --limit {} shows all",
                    count(rest, "row"),
                    self.rows.len() as u64 + rest
                ),
            ))?;
        }
        if let Some(out) = &self.out {
            printer.line(format!("wrote {out}"))?;
        }
        Ok(())
    }
}

/// The columns whose values are not spread as before, or that keys changed, and which are the same.
fn summed_up(printer: &Printer, report: &DiffReport, summary: &[ColumnSummary]) -> Result<()> {
    let is_same = |column: &&ColumnSummary| {
        column.changed.unwrap_or(0) == 0
            && column.old == column.new
            && column.frequent.iter().all(|value| value.old == value.new)
    };
    let (same, other): (Vec<&ColumnSummary>, Vec<&ColumnSummary>) =
        summary.iter().partition(is_same);
    for column in other.iter().take(MANY) {
        one_column(printer, report, column)?;
    }
    if other.len() > MANY {
        let more = count((other.len() - MANY) as u64, "more column");
        let more = format!("... {more}; --columns COLUMN,... shows some, --json shows all");
        printer.line(paint(DIM, more))?;
    }
    if !same.is_empty() {
        let names: Vec<&str> = same
            .iter()
            .take(MANY)
            .map(|one| one.name.as_str())
            .collect();
        let more = match same.len().saturating_sub(MANY) {
            0 => String::new(),
            more => format!(", and {} more", number(more as u64)),
        };
        printer.line(format!("\nsame values: {}{more}", names.join(", ")))?;
    }
    Ok(())
}

/// One column's values on both dates.
fn one_column(printer: &Printer, report: &DiffReport, column: &ColumnSummary) -> Result<()> {
    let changed = match column.changed {
        Some(changed) => format!(", {} changed", count(changed, "key")),
        None if column.key => ", key".to_owned(),
        None => ", not compared".to_owned(),
    };
    printer.line(format!(
        "\n{}  {}{changed}",
        paint(BOLD, &column.name),
        column.data_type
    ))?;
    let (old, new) = (&column.old, &column.new);
    let mut rows: Vec<Vec<String>> = facts(old)
        .into_iter()
        .zip(facts(new))
        .map(|((name, old), (_, new))| {
            vec![format!("  {name}"), old, String::new(), new, String::new()]
        })
        .collect();
    // Not those that say the same on both sides.
    rows.retain(|row| !row[1].is_empty() || !row[3].is_empty());
    let most = column.frequent.iter().map(|value| value.old.max(value.new));
    let most = most.max().unwrap_or_default();
    rows.extend(column.frequent.iter().map(|frequent| {
        vec![
            format!("  {}", value(Some(&frequent.value))),
            number(frequent.old),
            bar(frequent.old, most),
            number(frequent.new),
            bar(frequent.new, most),
        ]
    }));
    let dates = [&report.from, &report.to].map(|side| side.date.to_string());
    let header = ["", dates[0].as_str(), "", dates[1].as_str(), ""];
    printer.line(columns(&header, rows, &[1, 3]))
}

/// The most values of an added or removed row in a line, unless all are asked for.
const MOST_VALUES: usize = 6;

/// A line of the differences: what happened and the first column of the key, its other columns, and
/// the values.
fn row_change(row: &RowChange, shows_all: bool) -> Vec<String> {
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
    let (mark, values) = match row.kind {
        ChangeKind::Added => (paint(GREEN, "+"), values(&row.columns, true)),
        ChangeKind::Removed => (paint(RED, "-"), values(&row.columns, false)),
        ChangeKind::Changed => (paint(YELLOW, "~"), changes(&row.columns)),
    };
    let mut cells: Vec<String> = row.key.iter().map(|part| one_line(part)).collect();
    match cells.first_mut() {
        Some(first) => *first = format!("{mark} {first}"),
        None => cells.push(mark),
    }
    cells.push(values);
    cells
}

/// Changed columns with their old and new values.
pub(super) fn changes(columns: &[ColumnChange]) -> String {
    columns
        .iter()
        .map(|column| {
            format!(
                "{}: {} -> {}",
                column.name,
                paint(RED, value(column.old.as_ref())),
                paint(GREEN, value(column.new.as_ref()))
            )
        })
        .collect::<Vec<_>>()
        .join("; ")
}
