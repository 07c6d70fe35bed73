//! `asof prune`: deletes snapshots that the intervals give back, and copies that nobody needs.
//!
//! **Which dates go.** The rules of retention say which copies stay
//! ([`KeepRules`](crate::domain::retention::KeepRules)). Of the others, only those go that the
//! intervals are proven to give back, in this run (`proof`).
//!
//! **The order of work** (`dates`, `applying`). All intervals are read and proven, and all footers
//! of the copies are read, before anything is written. Then the proof is recorded in the footer of
//! the intervals, by a conditional write, and what is published is read and proven once more. Then
//! the copies are deleted one by one, the earliest first, each only if the intervals that were
//! proven are still those that stand, and the copy is the one whose footer was read.
//!
//! **A run that is killed** has deleted the first of the copies, or none. Each of them is proven in
//! the intervals that stand. The same command deletes the rest.
//!
//! **What is read.** The intervals, twice if something is deleted; the footers of the copies.
//! Memory: one sum for each date, and a batch.

mod applying;
mod aside;
mod dates;
mod proof;
mod stays;
#[cfg(test)]
mod tests;

use chrono::NaiveDate;
use serde::Serialize;

use super::Workspace;
use super::undo::managed;
use crate::domain::retention::{KeepReason, KeepRules};
use crate::error::{Error, Kind, Result, toml_key, word};
use crate::model::TableName;

/// What `asof prune` is asked for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PruneOptions {
    /// Which copies stay; without a rule, those of the configuration.
    pub keep: KeepRules,
    /// Whether copies go that others replaced.
    pub superseded: bool,
    /// Whether copies go that a check refused.
    pub refused: bool,
    /// Whether nothing is to be deleted.
    pub dry_run: bool,
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneOutcome {
    /// It stays.
    Kept,
    /// It is deleted.
    Pruned,
    /// It would be deleted.
    Planned,
    /// It stays, because something is wrong with it.
    Refused,
    /// It stays for now: the run ended before it.
    NotReached,
}

impl PruneOutcome {
    /// The outcome of what is to be deleted and is not yet.
    fn to_be_deleted(dry_run: bool) -> Self {
        match dry_run {
            true => PruneOutcome::Planned,
            false => PruneOutcome::NotReached,
        }
    }

    fn is_gone(self) -> bool {
        matches!(self, PruneOutcome::Pruned | PruneOutcome::Planned)
    }
}

/// One date that has a copy.
#[derive(Clone, Debug, Serialize)]
pub struct PrunedDate {
    /// The date.
    pub snapshot_date: NaiveDate,
    /// What became of the copy.
    pub outcome: PruneOutcome,
    /// The rules that keep it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_by: Vec<KeepReason>,
    /// Why, in words.
    pub reason: String,
    /// The size of the copy.
    pub bytes: u64,
}

/// Which copies are not snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AsideKind {
    /// Another copy of the date replaced it.
    Superseded,
    /// A check refused it.
    Refused,
}

/// One copy that is not a snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct PrunedCopy {
    /// Which kind of copy.
    pub kind: AsideKind,
    /// Its date.
    pub snapshot_date: NaiveDate,
    /// The object.
    pub path: String,
    /// What was done with it.
    pub outcome: PruneOutcome,
    /// Why, in words.
    pub reason: String,
    /// Its size.
    pub bytes: u64,
}

/// What was done to one table, or would be.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PruneReport {
    /// The table.
    pub table: TableName,
    /// Whether nothing was deleted because a dry run was asked for.
    pub dry_run: bool,
    /// The rules that say which copies stay, in words; nothing if no snapshot is to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<String>,
    /// One a snapshot, ascending.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dates: Vec<PrunedDate>,
    /// The other copies that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<PrunedCopy>,
    /// How many snapshots are deleted, or would be.
    pub pruned: u64,
    /// How many snapshots stay.
    pub kept: u64,
    /// How many bytes are freed, or would be.
    pub bytes_freed: u64,
    /// Why the table could not be pruned, or not to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

impl PruneReport {
    fn new(table: &TableName, dry_run: bool) -> Self {
        PruneReport {
            table: table.clone(),
            dry_run,
            keep: None,
            dates: Vec::new(),
            copies: Vec::new(),
            pruned: 0,
            kept: 0,
            bytes_freed: 0,
            error: None,
        }
    }

    fn count(&mut self) {
        let dates = self.dates.iter().map(|date| (date.outcome, date.bytes));
        let copies = self.copies.iter().map(|copy| (copy.outcome, copy.bytes));
        let gone = dates.clone().filter(|(outcome, _)| outcome.is_gone());
        self.pruned = gone.count() as u64;
        self.kept = self.dates.len() as u64 - self.pruned;
        let freed = dates.chain(copies).filter(|(outcome, _)| outcome.is_gone());
        self.bytes_freed = freed.map(|(_, bytes)| bytes).sum();
    }
}

/// What a run did about each of its tables, in their order.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct PruneRun {
    /// The tables.
    pub tables: Vec<PruneReport>,
}

impl PruneRun {
    /// Why tables were not pruned, or not to the end.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        self.tables.iter().filter_map(|table| table.error.as_ref())
    }

    /// What the scheduler should do, if something failed: what all failures ask for if they are
    /// alike, and otherwise to run the rest again.
    pub fn failure(&self) -> Option<Kind> {
        let first = self.errors().next()?.kind();
        let is_of_all = self.errors().count() == self.tables.len()
            && self.errors().all(|error| error.kind() == first);
        Some(if is_of_all { first } else { Kind::Partial })
    }
}

/// Prunes tables, one after the other; without a name, those with `keep` in the configuration. What
/// fails of one table is in its report, and stops no other.
///
/// # Errors
/// A usage error for a table that there is not, and if no rule says what stays.
pub fn prune(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &PruneOptions,
) -> Result<PruneRun> {
    let tables: Vec<TableName> = match tables {
        [] => configured(workspace, options)?,
        named => named
            .iter()
            .map(|name| managed(workspace, name))
            .collect::<Result<_>>()?,
    };
    let planned = tables.iter().map(|name| {
        let rules = rules_of(workspace, name, options)?;
        Ok((name, rules))
    });
    let planned = planned.collect::<Result<Vec<_>>>()?;
    let tables = planned
        .into_iter()
        .map(|(name, rules)| of_table(workspace, name, rules, options))
        .collect();
    Ok(PruneRun { tables })
}

/// The tables that have rules in the configuration.
fn configured(workspace: &Workspace<'_>, options: &PruneOptions) -> Result<Vec<TableName>> {
    let given = [
        ("--keep-last 7", !options.keep.is_empty()),
        ("--superseded", options.superseded),
        ("--refused", options.refused),
    ];
    if let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given) {
        let what = "options that say which copies go or stay require the name of a table";
        return Err(Error::usage(what).hint(format!("asof prune TABLE {option}")));
    }
    let tables = workspace.config.tables.iter();
    let with_rules = tables.filter(|(_, config)| config.keep.is_some());
    let names = with_rules.map(|(name, _)| managed(workspace, name));
    let names: Vec<TableName> = names.collect::<Result<_>>()?;
    match names.is_empty() {
        true => Err(
            Error::usage("no table of asof.toml says which copies to keep")
                .hint("asof prune TABLE --keep-last 7 --keep-monthly 24")
                .hint("[tables.item] keep = { last = 7, monthly = 24 } in asof.toml"),
        ),
        false => Ok(names),
    }
}

/// The rules that say which copies of a table stay; nothing if only other copies are to go.
fn rules_of(
    workspace: &Workspace<'_>,
    name: &TableName,
    options: &PruneOptions,
) -> Result<Option<KeepRules>> {
    if !options.keep.is_empty() {
        return Ok(Some(options.keep.clone()));
    }
    if options.superseded || options.refused {
        return Ok(None);
    }
    let configured = workspace.table_config(name).keep;
    configured.map(Some).ok_or_else(|| {
        let table = word(name.as_str());
        let section = toml_key(name.as_str());
        Error::usage(format!("table {name}: no rule says which copies to keep"))
            .hint(format!(
                "asof prune {table} --keep-last 7 --keep-monthly 24 --dry-run, to see what would go"
            ))
            .hint(format!(
                "[tables.{section}] keep = {{ last = 7, monthly = 24 }} in asof.toml"
            ))
    })
}

fn of_table(
    workspace: &Workspace<'_>,
    name: &TableName,
    rules: Option<KeepRules>,
    options: &PruneOptions,
) -> PruneReport {
    let mut report = PruneReport::new(name, options.dry_run);
    let done = fill(workspace, rules, options, &mut report);
    if let Err(error) = done {
        let is_named = error.to_string().contains(&format!("table {name}"));
        report.error = Some(match is_named {
            true => error,
            false => error.within(format!("table {name}")),
        });
    }
    report.count();
    report
}

fn fill(
    workspace: &Workspace<'_>,
    rules: Option<KeepRules>,
    options: &PruneOptions,
    report: &mut PruneReport,
) -> Result<()> {
    if options.superseded || options.refused {
        aside::prune_copies(workspace, options, report)?;
    }
    if let Some(rules) = rules {
        report.keep = Some(rules.to_string());
        dates::prune_dates(workspace, &rules, report)?;
    }
    let refused = report
        .dates
        .iter()
        .find(|date| date.outcome == PruneOutcome::Refused);
    refused.map_or(Ok(()), |date| {
        let table = &report.table;
        let what = format!(
            "table {table}, {}: the copy was not pruned: {}",
            date.snapshot_date, date.reason
        );
        Err(Error::refused(what).hint(format!("asof verify {}", word(table.as_str()))))
    })
}
