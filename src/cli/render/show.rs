//! `show`: the rows of a table as of a date. Other reports show rows in the same way.

use chrono::{DateTime, Utc};

use super::Render;
use crate::cli::printer::{DIM, Printer, columns, count, number, paint};
use crate::commands::show::ShowReport;
use crate::commands::shown_columns::ShownColumn;
use crate::error::Result;

/// The most characters of a value that are shown.
const WIDE: usize = 40;

/// A text without ends of lines.
pub(super) fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// A value on one line, cut to a number of characters.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let cut = match text.chars().count() <= width {
        true => text.to_owned(),
        false => text.chars().take(width - 3).collect::<String>() + "...",
    };
    one_line(&cut)
}

/// A value as one short line of text.
pub(super) fn value(value: Option<&String>) -> String {
    value.map_or_else(|| "null".to_owned(), |text| shortened(text, WIDE))
}

/// Rows as a table, numbers at the right.
pub(super) fn table_of(schema: &[ShownColumn], rows: &[Vec<Option<String>>]) -> String {
    let header: Vec<&str> = schema.iter().map(|column| column.name.as_str()).collect();
    let numeric = |data_type: &str| {
        ["int", "uint", "float", "decimal"]
            .iter()
            .any(|prefix| data_type.starts_with(prefix))
    };
    let right: Vec<usize> = (0..schema.len())
        .filter(|at| numeric(&schema[*at].data_type))
        .collect();
    let rows = rows
        .iter()
        .map(|row| row.iter().map(|cell| value(cell.as_ref())).collect())
        .collect();
    columns(&header, rows, &right)
}

/// The time at which what is shown was known, if one was asked for.
pub(super) fn known(at: Option<DateTime<Utc>>) -> String {
    let at = at.map(|at| at.format(", as known at %Y-%m-%d %H:%M:%S UTC"));
    at.map_or_else(String::new, |at| at.to_string())
}

impl Render for ShowReport {
    const IS_LEFT_OUT_IF_QUIET: bool = false;
    const IS_PAGED: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let shown = self.rows.len() as u64;
        if !self.rows.is_empty() {
            printer.line(table_of(&self.schema, &self.rows))?;
        }
        let rest = self.total - shown.min(self.total);
        let more = match (rest, &self.out) {
            (0, _) => String::new(),
            (rest, Some(_)) => format!("; {} more", number(rest)),
            (rest, None) => format!("; {} more, use --out FILE to write all rows", number(rest)),
        };
        let served = if self.date == self.snapshot_date {
            String::new()
        } else {
            format!(", from the snapshot of {}", self.snapshot_date)
        };
        let known = known(self.known_at);
        printer.line(paint(
            DIM,
            format!(
                "{} of {} as of {}{served}{known}{more}",
                count(self.total, "row"),
                self.table,
                self.date
            ),
        ))?;
        if let Some(out) = &self.out {
            printer.line(format!("wrote {out}"))?;
        }
        Ok(())
    }
}
