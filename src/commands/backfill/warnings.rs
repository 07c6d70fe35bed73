//! What a run warns of: copies that know of later days, and intervals that leave columns out.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::job::ResolvedJob;
use super::report::{DateAction, DateReport, ServedBy};
use crate::commands::Workspace;
use crate::error::toml_key;
use crate::model::DaySpan;

impl ResolvedJob {
    /// Says so when files of events are in another padding than their layout.
    pub(super) fn tell_of_other_padding(&self, workspace: &Workspace<'_>) {
        for events in &self.events {
            if let Some(other) = &events.found.other_padding {
                let note = format!("events {}: {other}, and is not read", events.name);
                workspace.progress.note(&note);
            }
        }
    }

    /// Says so when events of a day were joined to a copy that was taken after the day had ended.
    pub(super) fn warn_of_leakage(&self, workspace: &Workspace<'_>, reports: &[DateReport]) {
        for (name, history) in &self.tables {
            if workspace.as_of_rule(&history.table.name).1 || history.rule.lag != DaySpan::default()
            {
                continue;
            }
            let leaks = reports.iter().filter(|report| {
                let Some(observed) = report
                    .tables
                    .get(name)
                    .filter(|observed| **observed == report.date)
                else {
                    return false;
                };
                let taken = history
                    .facts(*observed)
                    .ok()
                    .and_then(|facts| facts.taken_at);
                report.action == DateAction::Written
                    && taken.is_some_and(|taken| workspace.clock.date_of(taken) > report.date)
            });
            let leaks: Vec<NaiveDate> = leaks.map(|report| report.date).collect();
            if let [first, ..] = leaks.as_slice() {
                let more = if leaks.len() > 1 {
                    format!(" and {} more", leaks.len() - 1)
                } else {
                    String::new()
                };
                workspace.progress.note(&format!(
                    "the snapshot of {name} labelled {first}{more} was taken after that day had \
                     ended, so its events may see later changes; \
                     [tables.{}] lag = \"1d\" joins the copy of the day before, lag = \"0d\" \
                     confirms that this is intended",
                    toml_key(name)
                ));
            }
        }
    }

    /// Says so when columns were left to the path of the output.
    pub(super) fn tell_of_path_columns(&self, workspace: &Workspace<'_>, reports: &[DateReport]) {
        let left: BTreeSet<&String> = reports
            .iter()
            .flat_map(|report| &report.left_to_path)
            .collect();
        for column in left {
            workspace.progress.note(&format!(
                "column '{column}' has the value of the output's path in every row, so it is not \
                 stored: readers take it from the path ({})",
                self.layout
            ));
        }
    }

    /// Says so when intervals served that leave columns out of the comparison.
    pub(super) fn warn_of_first_days(&self, workspace: &Workspace<'_>, reports: &[DateReport]) {
        for (name, history) in &self.tables {
            let served = reports
                .iter()
                .any(|report| report.using.get(name) == Some(&ServedBy::Intervals));
            if let Some(columns) = history.not_compared().filter(|_| served) {
                workspace.progress.note(&format!(
                    "the intervals of {name} do not compare every column ({columns}): those have \
                     the values of each interval's first day; \
                     --using snapshots reads the values of the date"
                ));
            }
        }
    }
}
