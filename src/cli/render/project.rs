//! `check` of asof.toml: one line for each part, and how many are right.

use super::Render;
use crate::cli::printer::{DIM, GREEN, Printer, RED, columns, count, number, paint};
use crate::commands::check::project::{
    CheckState, CheckedPart, NotChecked, ProjectPart, ProjectReport,
};
use crate::error::Result;

impl Render for ProjectReport {
    const IS_LEFT_OUT_IF_QUIET: bool = true;

    fn text(&self, printer: &Printer) -> Result<()> {
        let rows: Vec<Vec<String>> = self
            .parts
            .iter()
            .map(|part| row(part, self.connected))
            .collect();
        printer.line(columns(&[], rows, &[]))?;
        printer.line(summary(self))
    }
}

/// The line of a part.
fn row(part: &CheckedPart, connected: bool) -> Vec<String> {
    let state = match part.state {
        CheckState::Ok => paint(GREEN, "ok"),
        CheckState::Failed => paint(RED, "failed"),
        CheckState::Skipped => paint(DIM, "skipped"),
    };
    let details = match (&part.not_checked, part.state) {
        (Some(why), _) => reason(why),
        (None, CheckState::Ok) if connected => found(part),
        _ => String::new(),
    };
    vec![
        part.part.in_words().to_owned(),
        part.name.clone(),
        state,
        details,
    ]
}

/// Why a part was not looked at.
fn reason(why: &NotChecked) -> String {
    match why {
        NotChecked::StandardInput => "it is read from standard input".to_owned(),
        NotChecked::NoSource => "it has no source".to_owned(),
        NotChecked::NoPath => "it has no path in asof.toml".to_owned(),
        NotChecked::NeedsFailed(what) => format!("it needs {what}, which failed"),
    }
}

/// What was found of a part.
fn found(part: &CheckedPart) -> String {
    let columns = (!part.columns.is_empty()).then(|| count(part.columns.len() as u64, "column"));
    let files = part.files.map(|files| count(files, "file"));
    let key = (!part.key.is_empty()).then(|| format!("key {}", part.key.join(", ")));
    let date = part.date.map(|date| match part.part {
        ProjectPart::Job => format!("planned for {date}"),
        _ => format!("latest {date}"),
    });
    let planned = match (part.part, part.date) {
        (ProjectPart::Job, None) => Some("planned; no date can be run yet".to_owned()),
        _ => None,
    };
    let parts = [date, planned, columns, key, files, part.source.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// `asof.toml: 5 parts: 3 ok, 1 failed, 1 skipped`.
fn summary(report: &ProjectReport) -> String {
    let of_state = |state: CheckState, name: &str| {
        let parts = report.parts.iter().filter(|part| part.state == state);
        let parts = parts.count() as u64;
        (parts > 0).then(|| format!("{} {name}", number(parts)))
    };
    let counted = [
        of_state(CheckState::Ok, "ok"),
        of_state(CheckState::Failed, "failed"),
        of_state(CheckState::Skipped, "skipped"),
    ];
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    let file = report.config.as_deref().unwrap_or("asof.toml");
    let what = match report.connected {
        true => "",
        false => "; asof check --connect also opens every source and plans every job",
    };
    format!("{file}: {}{}", counted.join(", "), paint(DIM, what))
}
