//! `report`: one page that needs nothing else, and on the terminal where it is.
//!
//! The page holds the report as a JSON document, the library that draws charts
//! (`assets/echarts/README.md`), and our own script and styles. Without scripts it shows a table in
//! the place of each chart. A policy in its head forbids every request, and every script but these.
//! Texts of the lake stand in the page escaped, or are set as text by the script.

mod html;
mod sections;
mod table_part;
mod tables;

use serde::Serialize;

use self::html::{escaped, script_data};
use super::Render;
use crate::cli::printer::{BOLD, DIM, GREEN, Printer, YELLOW, count, number, paint, size};
use crate::commands::report::{Attention, LakeReport};
use crate::error::{Context, Result};

/// The most that is listed of what needs attention.
const MOST_ATTENTION: usize = 10;

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
const CHARTS: &str = include_str!("assets/echarts/echarts.min.js");

/// The report, and the page that was made of it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct ReportedLake {
    /// The report.
    #[serde(flatten)]
    pub(in crate::cli) report: LakeReport,
    /// The page and its size in bytes, if one was written.
    #[serde(skip)]
    pub(in crate::cli) written: Option<(String, u64)>,
}

impl Render for ReportedLake {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let report = &self.report;
        if let Some((path, bytes)) = &self.written {
            let tables = count(report.tables.len() as u64, "table");
            let jobs = count(report.jobs.len() as u64, "job");
            let path = paint(BOLD, path);
            printer.line(format!("{path}: {tables}, {jobs}, {}", size(*bytes)))?;
        }
        if report.attention.is_empty() {
            return printer.line(format!("  {}", paint(GREEN, "nothing needs attention")));
        }
        needs_attention(printer, &report.attention)
    }
}

/// Prints what needs attention, and the command to run.
pub(super) fn needs_attention(printer: &Printer, attention: &[Attention]) -> Result<()> {
    for attention in attention.iter().take(MOST_ATTENTION) {
        let of = paint(YELLOW, &attention.of);
        printer.line(format!("  {of}: {}", in_words(attention)))?;
        if let Some(command) = &attention.try_with {
            printer.line(format!("    {}", paint(DIM, command)))?;
        }
    }
    match attention.len().saturating_sub(MOST_ATTENTION) {
        0 => Ok(()),
        rest => printer.line(format!(
            "  ... and {} more; -v shows all",
            number(rest as u64)
        )),
    }
}

/// What needs attention, in words: `3 dates stale, 2024-03-01 to 2024-03-05`.
fn in_words(attention: &Attention) -> String {
    use crate::commands::report::AttentionKind as Kind;
    let Attention {
        kind,
        range,
        dates,
        what,
        ..
    } = attention;
    let when = match range {
        None => return what.clone(),
        Some(range) if range.len() == 1 => range.from().to_string(),
        Some(range) => range.to_string(),
    };
    match kind {
        Kind::Unreadable => format!("{when} unreadable: {what}"),
        Kind::Refused => format!("{when} refused: {what}"),
        Kind::Rewritten | Kind::Dropped | Kind::Retyped | Kind::NotCompacted => {
            format!("{} {what}: {when}", count(*dates, "snapshot"))
        }
        _ => format!("{} {what}: {when}", count(*dates, "output")),
    }
}

/// The page.
///
/// # Errors
/// None is expected.
pub(in crate::cli) fn page(report: &LakeReport) -> Result<String> {
    let json = serde_json::to_string(report).internal_context(|| "cannot write JSON".into())?;
    let json = script_data(&json);
    // Nobody who can name a column knows the hash of a document that has the name in it.
    let nonce = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(json.as_bytes()));
    let lake = report.lake.as_deref().unwrap_or("external tables");
    let title = escaped(lake);
    let version = report.asof_version;
    let body = sections::body(report);
    let made = report.made_at.format("%Y-%m-%d %H:%M UTC");
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"asof {version}\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title} · asof report</title>\n<style>\n{STYLE}</style>\n\
         <script nonce=\"{nonce}\">document.documentElement.classList.add(\"js\");</script>\n\
         </head>\n<body>\n{body}\
         <footer>Made by asof {version} on {made}. Charts by Apache ECharts 6.1.0 (Apache-2.0), \
         which includes ZRender (BSD-3-Clause). This page makes no requests.</footer>\n\
         <script type=\"application/json\" id=\"report\">{json}</script>\n\
         <script nonce=\"{nonce}\">{CHARTS}</script>\n\
         <script nonce=\"{nonce}\">\n{SCRIPT}</script>\n\
         </body>\n</html>\n"
    ))
}

#[cfg(test)]
mod tests;
