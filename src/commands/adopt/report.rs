//! What `asof adopt` found and did.

use chrono::NaiveDate;
use serde::Serialize;

use super::plan::AdoptPlan;
use crate::domain::days::from_days;
use crate::domain::scd2::{DayWindow, Scd2Preset};
use crate::engine::scd2::{AuditFinding, AuditKind, Scd2Columns, Scd2Findings};
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::storage::object_store::http::RequestCounts;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptOutcome {
    /// The table can be adopted; nothing was written.
    Adoptable,
    /// It cannot: something in it contradicts itself.
    Refused,
    /// It is adopted.
    Adopted,
    /// It was adopted before.
    AlreadyAdopted,
}

/// What was found, and what was done.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AdoptReport {
    /// The table that it becomes.
    pub table: TableName,
    /// Where the versions are.
    pub source: String,
    /// The tool that wrote them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Scd2Preset>,
    /// How it ended.
    pub outcome: AdoptOutcome,
    /// The columns of beginnings and of ends.
    pub start_column: String,
    /// The other one.
    pub end_column: String,
    /// The time zone that decides the day of an instant; absent if dates are as they are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The first date.
    pub from: Option<NaiveDate>,
    /// The last date, after which nothing is known.
    pub to: Option<NaiveDate>,
    /// How many of the dates between them the lake is to know.
    pub dates: u64,
    /// How many rows the table has.
    pub versions: u64,
    /// How many keys.
    pub keys: u64,
    /// How many rows it has on the last date.
    pub current: u64,
    /// How many intervals come of them.
    pub intervals: u64,
    /// What keeps it from being adopted.
    pub problems: Vec<AuditFinding>,
    /// What else was found.
    pub facts: Vec<AuditFinding>,
    /// The intervals, if they were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The dates whose copies were written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<NaiveDate>,
    /// What object stores were asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_requests: Option<RequestCounts>,
}

impl AdoptReport {
    pub(super) fn new(
        plan: &AdoptPlan,
        columns: &Scd2Columns,
        source: &str,
        versions: u64,
    ) -> Self {
        let zone = columns
            .depends_on_zone()
            .then(|| plan.zone.name().to_owned());
        AdoptReport {
            table: plan.table.name.clone(),
            source: source.to_owned(),
            preset: plan.preset,
            outcome: AdoptOutcome::Adoptable,
            start_column: columns.shape().start_column.clone(),
            end_column: columns.shape().end_column.clone(),
            timezone: zone,
            from: None,
            to: None,
            dates: 0,
            versions,
            keys: 0,
            current: 0,
            intervals: 0,
            problems: Vec::new(),
            facts: Vec::new(),
            path: None,
            copies: Vec::new(),
            store_requests: None,
        }
    }

    pub(super) fn take_findings(&mut self, findings: Scd2Findings) {
        (self.problems, self.facts) = findings.into_parts();
        if !self.problems.is_empty() {
            self.outcome = AdoptOutcome::Refused;
        }
    }

    pub(super) fn between(&mut self, window: DayWindow) -> Result<()> {
        self.from = Some(from_days(window.first)?);
        self.to = Some(from_days(window.last)?);
        Ok(())
    }

    /// The report of a table without a version that tells a date.
    ///
    /// # Errors
    /// A refusal if nothing else is wrong with it.
    pub(super) fn without_dates(self, plan: &AdoptPlan) -> Result<Self> {
        if self.is_adoptable() {
            let what = format!(
                "table {}: '{}' has no versions",
                plan.table.name, self.source
            );
            return Err(Error::refused(what).hint("choose another source"));
        }
        Ok(self)
    }

    /// Whether nothing keeps the table from being adopted.
    pub fn is_adoptable(&self) -> bool {
        self.problems.is_empty()
    }

    /// Why it cannot be adopted, if it cannot.
    pub fn refusal(&self) -> Option<Error> {
        if self.is_adoptable() {
            return None;
        }
        let sentence = |problem: &AuditFinding| {
            let [one, several] = problem.kind.in_words();
            let words = if problem.count == 1 { one } else { several };
            format!("{} {words}", problem.count)
        };
        let problems: Vec<String> = self.problems.iter().map(sentence).collect();
        let what = format!(
            "table {}: '{}' cannot be adopted: {}",
            self.table,
            self.source,
            problems.join("; ")
        );
        let error = Error::refused(what).hint("correct the source, and run the same command again");
        let is_future = |problem: &AuditFinding| problem.kind == AuditKind::Future;
        Some(match self.problems.iter().any(is_future) {
            true => error.hint("--open-end DATE, if ends from that date on are open"),
            false => error,
        })
    }
}
