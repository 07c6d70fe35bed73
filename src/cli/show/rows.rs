//! Reports that show rows: `show`, `diff` and `history`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Days;

use super::super::printer::{
    BOLD, DIM, GREEN, Printer, RED, YELLOW, columns, count, number, paint,
};
use super::selected;
use crate::commands::ColumnChange;
use crate::commands::diff::{ChangeKind, DiffReport, DiffSide, RowChange};
use crate::commands::history::{Event, HistoryInterval, HistoryReport};
use crate::commands::show::{ShowReport, ShownColumn};
use crate::error::Result;

/// The most characters of a value that are shown.
const WIDE: usize = 40;

fn short(text: &str) -> String {
    if text.chars().count() <= WIDE {
        return text.replace(['\n', '\r', '\t'], " ");
    }
    text.chars()
        .take(WIDE - 3)
        .collect::<String>()
        .replace(['\n', '\r', '\t'], " ")
        + "..."
}

fn value(value: Option<&String>) -> String {
    value.map_or_else(|| "null".to_owned(), |text| short(text))
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

pub(in crate::cli) fn show(printer: &Printer, report: &ShowReport) -> Result<()> {
    if printer.json {
        return printer.document(report);
    }
    let shown = report.rows.len() as u64;
    if !report.rows.is_empty() {
        printer.line(table_of(&report.schema, &report.rows))?;
    }
    let rest = report.total - shown.min(report.total);
    let more = match (rest, &report.out) {
        (0, _) => String::new(),
        (rest, Some(_)) => format!("; {} more", number(rest)),
        (rest, None) => format!("; {} more, use --out FILE to write all rows", number(rest)),
    };
    let served = if report.date == report.snapshot_date {
        String::new()
    } else {
        format!(", from the snapshot of {}", report.snapshot_date)
    };
    printer.line(paint(
        DIM,
        format!(
            "{} of {} as of {}{served}{more}",
            count(report.total, "row"),
            report.table,
            report.date
        ),
    ))?;
    if let Some(out) = &report.out {
        printer.line(format!("wrote {out}"))?;
    }
    Ok(())
}

pub(in crate::cli) fn diff(printer: &Printer, report: &DiffReport) -> Result<()> {
    if printer.json {
        return printer.document(report);
    }
    let side = |side: &DiffSide| {
        if side.date == side.snapshot_date {
            side.date.to_string()
        } else {
            format!("{} (snapshot of {})", side.date, side.snapshot_date)
        }
    };
    printer.line(format!(
        "{} from {} to {}",
        paint(BOLD, &report.table),
        side(&report.from),
        side(&report.to)
    ))?;
    printer.line(format!(
        "  {}  {}  {}",
        paint(GREEN, format!("+{} added", number(report.added))),
        paint(YELLOW, format!("~{} changed", number(report.changed))),
        paint(RED, format!("-{} removed", number(report.removed)))
    ))?;
    if let Some(schema) = &report.schema {
        printer.line(format!("  schema: {schema}"))?;
    }
    if !report.not_compared.is_empty() {
        printer.line(format!(
            "  not compared, because one of the dates exists only in the intervals: {}",
            report.not_compared.join(", ")
        ))?;
    }
    if !report.columns.is_empty() {
        let parts: Vec<String> = report
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, number(column.changed)))
            .collect();
        printer.line(format!("  changed columns: {}", parts.join(", ")))?;
    }
    for row in &report.rows {
        printer.line(row_change(row))?;
    }
    let rest = report.added + report.removed + report.changed - report.rows.len() as u64;
    if rest > 0 {
        printer.line(paint(
            DIM,
            format!(
                "... and {} more; --limit {} shows all",
                count(rest, "row"),
                report.rows.len() as u64 + rest
            ),
        ))?;
    }
    Ok(())
}

fn row_change(row: &RowChange) -> String {
    let key = row.key.join(", ");
    let values = |columns: &[ColumnChange], new: bool| {
        columns
            .iter()
            .take(6)
            .map(|column| {
                format!(
                    "{}={}",
                    column.name,
                    value(if new {
                        column.new.as_ref()
                    } else {
                        column.old.as_ref()
                    })
                )
            })
            .collect::<Vec<_>>()
            .join("  ")
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

fn changes(columns: &[ColumnChange]) -> String {
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

pub(in crate::cli) fn history(printer: &Printer, report: &HistoryReport) -> Result<()> {
    if printer.json {
        return printer.document(report);
    }
    let key: Vec<String> = report
        .key
        .iter()
        .map(|part| format!("{} {}", part.name, part.value))
        .collect();
    printer.line(format!(
        "{} {}: {} in snapshots of {} to {}",
        paint(BOLD, &report.table),
        paint(BOLD, key.join(", ")),
        count(report.intervals.len() as u64, "interval"),
        report.first_observed,
        report.last_observed
    ))?;
    if let Some(selected) = selected(report.selected_rows.as_deref(), &report.select) {
        printer.line(format!("  of {selected}"))?;
    }
    let mut rows = Vec::new();
    let mut values: Values = BTreeMap::new();
    for interval in &report.intervals {
        rows.push(interval_row(interval, &mut values));
        let gone = interval.end.and_then(|end| {
            report
                .absent
                .iter()
                .find(|absence| absence.from == end + Days::new(1))
        });
        if let Some(absence) = gone {
            let until = absence.to.map_or_else(String::new, |to| to.to_string());
            rows.push(vec![
                format!("  {}", absence.from),
                until,
                paint(RED, "gone"),
                String::new(),
            ]);
        }
    }
    printer.line(columns(&["  from", "to", "", ""], rows, &[]))?;
    if report.newer_snapshots > 0 {
        let are = if report.newer_snapshots == 1 {
            "is"
        } else {
            "are"
        };
        printer.line(format!(
            "  {} {are} newer than the intervals; run: asof compact {}",
            count(report.newer_snapshots, "snapshot"),
            report.table
        ))?;
    }
    Ok(())
}

/// A key's values so far, by column; null ones are not in it.
type Values<'a> = BTreeMap<&'a str, &'a String>;

/// One line of the timeline: all values where the key is first seen, and then only what is another
/// value.
fn interval_row<'a>(interval: &'a HistoryInterval, values: &mut Values<'a>) -> Vec<String> {
    let before = values.clone();
    if interval.event != Event::Changed {
        values.clear();
    }
    for column in &interval.values {
        match &column.new {
            Some(new) => values.insert(&column.name, new),
            None => values.remove(column.name.as_str()),
        };
    }
    let (event, what) = match interval.event {
        Event::FirstSeen => (paint(GREEN, "first seen"), whole(&interval.values)),
        Event::Returned if before == *values => (paint(GREEN, "returned"), "as it was".to_owned()),
        Event::Returned => (paint(GREEN, "returned"), differences(&before, values)),
        Event::Reappeared => (paint(DIM, "reappeared"), String::new()),
        Event::Changed => (paint(YELLOW, "changed"), changes(&interval.values)),
    };
    vec![
        format!("  {}", interval.start),
        interval
            .end
            .map_or_else(|| "now".to_owned(), |end| end.to_string()),
        event,
        what,
    ]
}

fn differences(before: &Values<'_>, now: &Values<'_>) -> String {
    let names: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    let changed = names
        .into_iter()
        .filter(|name| before.get(name) != now.get(name));
    changed
        .map(|name| {
            format!(
                "{name}: {} -> {}",
                value(before.get(name).copied()),
                value(now.get(name).copied())
            )
        })
        .collect::<Vec<_>>()
        .join("; ")
}

fn whole(columns: &[ColumnChange]) -> String {
    columns
        .iter()
        .map(|column| format!("{}={}", column.name, value(column.new.as_ref())))
        .collect::<Vec<_>>()
        .join("  ")
}
