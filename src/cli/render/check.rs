//! `check`: what is understood of a source, its columns, and its first rows.

use super::Render;
use super::show::table_of;
use crate::cli::printer::{BOLD, DIM, Printer, columns, count, number, paint, size};
use crate::commands::check::{CheckReport, TypeOrigin};
use crate::commands::shown_columns::ShownColumn;
use crate::error::Result;
use crate::source::ReadAs;

/// Where a type is from, in words.
fn in_words(origin: TypeOrigin) -> &'static str {
    match origin {
        TypeOrigin::Declared => "declared",
        TypeOrigin::Pinned => "last snapshot",
        TypeOrigin::Widened => "last snapshot, widened",
        TypeOrigin::Inferred => "values",
        TypeOrigin::File => "file",
        TypeOrigin::Database => "database",
        TypeOrigin::Folder => "folder",
    }
}

/// How files of text are written, with what was detected and is not the default.
fn written(read_as: &ReadAs) -> String {
    let compression = read_as
        .compression
        .map(|compression| compression.to_string());
    let mark = |what: &str| {
        if read_as.detected.contains(&what) {
            " (detected)"
        } else {
            ""
        }
    };
    let delimiter = read_as.delimiter.map(|delimiter| match delimiter {
        '\t' => format!("delimiter tab{}", mark("delimiter")),
        delimiter => format!("delimiter '{delimiter}'{}", mark("delimiter")),
    });
    let encoding = format!("{}{}", read_as.encoding, mark("encoding"));
    compression
        .into_iter()
        .chain([encoding])
        .chain(delimiter)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Render for CheckReport {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let date = self
            .date
            .map_or_else(String::new, |date| format!(", {date}"));
        printer.line(format!(
            "{} ({}) from {}{date}",
            paint(BOLD, &self.name),
            self.kind,
            self.source
        ))?;
        facts_of(printer, self)?;
        printer.line("")?;
        columns_of(printer, self)?;
        printer.line("")?;
        rows_of(printer, self)
    }
}

/// Prints what is understood of the files.
fn facts_of(printer: &Printer, report: &CheckReport) -> Result<()> {
    let first = match (&report.first_file, report.files) {
        (None, _) => String::new(),
        (Some(file), 1) => format!(": {file}"),
        (Some(file), _) => format!(", the first is {file}"),
    };
    let files = format!("{}, {}{first}", number(report.files), size(report.bytes));
    let mut facts = Vec::new();
    facts.extend(report.format.map(|_| ("files", files)));
    facts.extend(report.format.map(|format| ("format", format.to_string())));
    facts.extend(
        report
            .read_as
            .iter()
            .map(|read_as| ("written as", written(read_as))),
    );
    if !report.csv.is_default() {
        facts.push(("declared", report.csv.in_words()));
    }
    if !report.key.is_empty() {
        facts.push(("key", report.key.join(", ")));
    }
    if facts.is_empty() {
        return Ok(());
    }
    let rows = facts
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    super::facts(printer, rows, &[])
}

/// Prints the columns, with their types and where those are from.
fn columns_of(printer: &Printer, report: &CheckReport) -> Result<()> {
    let rows = report.columns.iter().map(|column| {
        let origin = in_words(column.type_from).to_owned();
        let role = if column.key { "key" } else { "" };
        vec![
            column.name.clone(),
            column.data_type.clone(),
            origin,
            number(column.nulls),
            role.to_owned(),
        ]
    });
    printer.line(columns(
        &["column", "type", "type from", "nulls", ""],
        rows.collect(),
        &[3],
    ))
}

/// Prints the first rows, and how many there are.
fn rows_of(printer: &Printer, report: &CheckReport) -> Result<()> {
    if !report.first_rows.is_empty() {
        let shown = report.columns.iter().map(|column| ShownColumn {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
        });
        printer.line(table_of(&shown.collect::<Vec<_>>(), &report.first_rows))?;
    }
    let all = count(report.rows, "row");
    let read = match report.first_rows.len() as u64 {
        shown if shown == report.rows => format!("{all} read"),
        shown => format!("the first {shown} of {all}, all of them read"),
    };
    let dropped = report.dropped_rows.map_or_else(String::new, |rows| {
        format!("; dedup drops {}", count(rows, "other row"))
    });
    printer.line(paint(DIM, read + &dropped))
}
