//! What is reported of each part of asof.toml.

use chrono::NaiveDate;
use serde::Serialize;

use crate::commands::shown_columns::ShownColumn;
use crate::error::{Error, Kind, toml_key};

/// What a part of asof.toml is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectPart {
    /// The lake.
    Lake,
    /// A table.
    Table,
    /// Events.
    Events,
    /// A job.
    Job,
}

impl ProjectPart {
    /// Its name in sentences.
    pub fn in_words(self) -> &'static str {
        match self {
            ProjectPart::Lake => "lake",
            ProjectPart::Table => "table",
            ProjectPart::Events => "events",
            ProjectPart::Job => "job",
        }
    }
}

/// How the check of a part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Nothing is wrong.
    Ok,
    /// Something is wrong.
    Failed,
    /// It was not looked at.
    Skipped,
}

/// Why a part was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason", content = "of")]
pub enum NotChecked {
    /// It is read from standard input.
    StandardInput,
    /// asof.toml gives it no source, and no copies of another tool.
    NoSource,
    /// asof.toml says nothing of where it is: the command line does.
    NoPath,
    /// What it needs failed, such as `table item`.
    NeedsFailed(String),
}

/// What was found out about one part.
#[derive(Debug, Serialize)]
pub struct CheckedPart {
    /// What it is.
    pub part: ProjectPart,
    /// Its name; the lake's is its place.
    pub name: String,
    /// How the check ended.
    pub state: CheckState,
    /// Why it was not looked at, if it was not.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub not_checked: Option<NotChecked>,
    /// Where it is read from, as asof.toml has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The date that was looked at: of a copy, of events, or the one that a job was planned on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<NaiveDate>,
    /// How many files there are, if it is made of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The key columns of a table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// The columns that were found. A type that only the values tell is `null`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ShownColumn>,
    /// What may not be as it is meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What is wrong, and what to try.
    pub problems: Vec<Error>,
}

impl CheckedPart {
    /// A part in which nothing is wrong so far.
    pub(super) fn new(part: ProjectPart, name: impl Into<String>) -> Self {
        CheckedPart {
            part,
            name: name.into(),
            state: CheckState::Ok,
            not_checked: None,
            source: None,
            date: None,
            files: None,
            key: Vec::new(),
            columns: Vec::new(),
            notes: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The same with something that is wrong.
    pub(super) fn with_problems(mut self, problems: impl IntoIterator<Item = Error>) -> Self {
        // An error that does not name the part is of no use beside others.
        let named = format!("{} {}", self.part.in_words(), self.name);
        let is_lake = self.part == ProjectPart::Lake;
        let section = match self.part {
            ProjectPart::Lake => "lake".to_owned(),
            ProjectPart::Table => format!("[tables.{}]", toml_key(&self.name)),
            ProjectPart::Events => format!("[events.{}]", toml_key(&self.name)),
            ProjectPart::Job => format!("[jobs.{}]", toml_key(&self.name)),
        };
        let within = |error: Error| {
            let error = match is_lake || error.to_string().contains(&named) {
                true => error,
                false => error.within(&named),
            };
            match error.hints() {
                [] => error.hint(format!("look at {section} in asof.toml")),
                _ => error,
            }
        };
        self.problems.extend(problems.into_iter().map(within));
        if !self.problems.is_empty() {
            self.state = CheckState::Failed;
        }
        self
    }

    /// The same as one that was not looked at.
    pub(super) fn skipped(mut self, why: NotChecked) -> Self {
        self.state = CheckState::Skipped;
        self.not_checked = Some(why);
        self
    }

    /// Whether something is wrong.
    pub fn has_failed(&self) -> bool {
        self.state == CheckState::Failed
    }
}

/// What was found out about asof.toml.
#[derive(Debug, Serialize)]
pub struct ProjectReport {
    /// The file.
    pub config: Option<String>,
    /// Whether sources, events, jobs and the lake were looked at, and not the settings alone.
    pub connected: bool,
    /// The parts: the lake, tables, events and jobs.
    pub parts: Vec<CheckedPart>,
}

impl ProjectReport {
    /// What the caller should do, if something is wrong. Settings are for a person to correct. Of
    /// what they lead to, it is what all failures ask for if they are alike and nothing was right,
    /// and otherwise [`Kind::Partial`], as of `asof snapshot` of several tables.
    pub fn failure(&self) -> Option<Kind> {
        let kind = |part: &CheckedPart| part.problems.first().map(Error::kind);
        let first = self.parts.iter().find_map(kind)?;
        let is_of_all = self.parts.iter().all(|part| match part.state {
            CheckState::Ok => false,
            CheckState::Failed => kind(part) == Some(first),
            CheckState::Skipped => true,
        });
        Some(if is_of_all || !self.connected {
            first
        } else {
            Kind::Partial
        })
    }
}
