//! `schema`: a line a column, and below it what happened to it after it appeared.

use super::Render;
use crate::cli::printer::{BOLD, DIM, Printer, columns, count, number, paint};
use crate::commands::schema::{ColumnEvent, ColumnHistory, SchemaReport};
use crate::commands::shown_columns::ShownColumn;
use crate::error::Result;

/// How many columns a line has at most.
const MOST_IN_A_LINE: usize = 100;

/// The first columns with their types, in one line.
pub(super) fn in_a_line(columns: &[ShownColumn]) -> String {
    let shown = columns.iter().take(MOST_IN_A_LINE);
    let shown = shown
        .map(|column| format!("{} {}", column.name, column.data_type))
        .collect::<Vec<_>>()
        .join(", ");
    match columns.len().saturating_sub(MOST_IN_A_LINE) {
        0 => shown,
        more => format!("{shown}, and {} more", number(more as u64)),
    }
}

impl Render for SchemaReport {
    const IS_LEFT_OUT_IF_QUIET: bool = false;

    fn text(&self, printer: &Printer) -> Result<()> {
        let snapshots = count(self.snapshots, "snapshot");
        printer.line(format!(
            "{}  {snapshots}, {} to {}",
            paint(BOLD, &self.table),
            self.first,
            self.last
        ))?;
        let row = |column: &ColumnHistory| {
            let roles = [
                (column.key, "key"),
                (column.declared, "declared"),
                (column.pinned, "pinned"),
            ];
            let roles: Vec<&str> = roles
                .into_iter()
                .filter(|(is, _)| *is)
                .map(|(_, role)| role)
                .collect();
            let dates = format!("{} to {}", column.first_date, column.last_date);
            vec![
                column.name.clone(),
                column.data_type.clone(),
                roles.join(", "),
                dates,
                changes(column),
            ]
        };
        let rows = self.columns.iter().map(row).collect();
        printer.line(columns(
            &["column", "type", "type is", "in snapshots", "changes"],
            rows,
            &[],
        ))?;
        if let Some(first) = self.unreadable.first() {
            let unreadable = count(self.unreadable.len() as u64, "snapshot");
            printer.line(paint(
                DIM,
                format!(
                    "  {unreadable} cannot be read, the first of {first}; asof verify {}",
                    self.table
                ),
            ))?;
        }
        Ok(())
    }
}

/// What happened to a column after it appeared.
fn changes(column: &ColumnHistory) -> String {
    let change = |change: &crate::commands::schema::SchemaChange| {
        let data_type = change.data_type.clone().unwrap_or_default();
        match change.event {
            ColumnEvent::Appeared => None,
            ColumnEvent::Changed => Some(format!("{} {data_type}", change.date)),
            ColumnEvent::Absent => Some(format!("{} absent", change.date)),
            ColumnEvent::Reappeared => Some(format!("{} again, {data_type}", change.date)),
        }
    };
    let first = column
        .changes
        .first()
        .filter(|_| column.changes.len() > 1)
        .and_then(|first| first.data_type.clone());
    first
        .into_iter()
        .chain(column.changes.iter().filter_map(change))
        .collect::<Vec<_>>()
        .join("; ")
}
