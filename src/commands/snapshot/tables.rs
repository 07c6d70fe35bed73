//! A run over several tables: all that asof.toml gives a source, or those that are named.
//!
//! A failure of one table stops no other. Tables are begun in order, and their reports are in
//! order, whichever ends first. All have the same date, that of the moment at which the run began.
//!
//! **In parallel.** As many tables as there are processors are taken at a time, but at least four
//! and at most eight: to read is to wait. No more than `[limits] max_connections` of them are read
//! from one database server, each through one connection and in a transaction of its own.
//!
//! **Memory.** Tables that are taken at a time share the memory equally. There are never more of
//! them than each can have the least that anything is tried with.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::report::{
    FailedTable, SkipReason, SkippedTable, SnapshotReport, SnapshotRun, TableResult,
};
use super::{SnapshotOptions, carry_out};
use crate::commands::Workspace;
use crate::commands::queue::{for_each_table, tables_at_a_time};
use crate::commands::sources::find_source;
use crate::commands::sources::{STANDARD_INPUT, server};
use crate::commands::workspace::Notes;
use crate::error::{Error, Kind, Result, word};
use crate::interrupt::wait_if_stopping;
use crate::model::TableName;

/// A table of the run.
enum RunEntry {
    /// It is to be taken.
    Take(TableName),
    /// It is left out.
    Skip(TableName, SkipReason),
}

/// Takes snapshots of several tables, in parallel: of those named, or, if none is, of all that
/// asof.toml gives a source. A failure of one stops no other, and is in the report.
///
/// # Errors
/// A usage error for options that are for one table, for a table that there is not, for a date in
/// the future, and if there is nothing to take.
pub fn snapshot_tables(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &SnapshotOptions,
) -> Result<SnapshotRun> {
    let entries = match tables {
        [] => configured(workspace, options)?,
        named => named_tables(workspace, named, options)?,
    };
    workspace.lake()?;
    let date = date_of_all(workspace, options)?;
    let options = SnapshotOptions {
        date: Some(date),
        ..options.clone()
    };
    let names: Vec<&TableName> = entries
        .iter()
        .filter_map(|entry| match entry {
            RunEntry::Take(name) => Some(name),
            RunEntry::Skip(..) => None,
        })
        .collect();
    workspace.progress.step("snapshot", 0, names.len() as u64);
    let mut taken = take_all(workspace, &names, date, &options).into_iter();
    let results = entries.iter().filter_map(|entry| match entry {
        RunEntry::Take(_) => taken.next(),
        RunEntry::Skip(name, reason) => Some(TableResult::Skipped(SkippedTable {
            table: name.clone(),
            reason: *reason,
        })),
    });
    Ok(SnapshotRun {
        tables: results.collect(),
    })
}

/// The one date of all tables.
fn date_of_all(workspace: &Workspace<'_>, options: &SnapshotOptions) -> Result<NaiveDate> {
    let today = workspace.clock.today();
    let date = options.date.unwrap_or(today);
    if date > today {
        let what = format!("{date} is in the future; today is {today}");
        return Err(Error::usage(what).hint(format!("--date {today}")));
    }
    Ok(date)
}

/// All tables of asof.toml; those without a source that can be read now are left out.
fn configured(workspace: &Workspace<'_>, options: &SnapshotOptions) -> Result<Vec<RunEntry>> {
    let mut entries = Vec::new();
    for (name, table) in &workspace.config.tables {
        let name: TableName = name.parse()?;
        entries.push(match table.source.as_deref() {
            _ if table.snapshots.is_some() => RunEntry::Skip(name, SkipReason::External),
            None => RunEntry::Skip(name, SkipReason::NoSource),
            Some(STANDARD_INPUT) => RunEntry::Skip(name, SkipReason::StandardInput),
            Some(_) => RunEntry::Take(name),
        });
    }
    let first = entries.iter().find_map(|entry| match entry {
        RunEntry::Take(name) => Some(name.as_str()),
        RunEntry::Skip(..) => None,
    });
    if let Some(option) = option_of_one_table(options) {
        return Err(requires_one_table(option, first));
    }
    if first.is_some() {
        return Ok(entries);
    }
    let error = Error::usage("no table is named, and asof.toml has none with a source");
    let piped = entries.iter().find_map(|entry| match entry {
        RunEntry::Skip(name, SkipReason::StandardInput) => Some(name),
        _ => None,
    });
    Err(match piped {
        Some(name) => error.hint(format!("asof snapshot {name} < FILE")),
        None => error.hint("asof snapshot TABLE --source FILE --key COLUMN"),
    })
}

/// The tables that the command line names, each once.
fn named_tables(
    workspace: &Workspace<'_>,
    tables: &[String],
    options: &SnapshotOptions,
) -> Result<Vec<RunEntry>> {
    if let Some(option) = one_place(options) {
        return Err(requires_one_table(
            option,
            tables.first().map(String::as_str),
        ));
    }
    let mut seen = BTreeSet::new();
    let names = tables.iter().filter(|name| seen.insert(*name));
    names
        .map(|name| workspace.known(name).map(RunEntry::Take))
        .collect()
}

/// The refusal of an option without a table or with several, with the command for one of them.
fn requires_one_table([option, value]: [String; 2], table: Option<&str>) -> Error {
    let table = table.unwrap_or("TABLE");
    let error = Error::usage(format!("{option} requires exactly one table name"))
        .hint(format!("asof snapshot {table} {option} {value}"));
    match option.as_str() {
        "--publish" | "--discard" => error.hint("asof status, to see the refused copies"),
        _ => error,
    }
}

/// The first option that makes no sense without the name of a table, with its value.
fn option_of_one_table(options: &SnapshotOptions) -> Option<[String; 2]> {
    let format = options.source.format.map(|format| format.name().to_owned());
    let key = (!options.key.is_empty()).then(|| options.key.join(","));
    let dedup = options.dedup.as_ref().map(ToString::to_string);
    let others = [
        ("--source-format", format),
        ("--key", key),
        ("--dedup", dedup),
    ];
    let others = others
        .into_iter()
        .find_map(|(option, value)| Some([option.to_owned(), word(&value?)]));
    one_place(options).or(others)
}

/// The first option that can be about one table only, with its value; that of a URL or a query may
/// be a secret, or long.
fn one_place(options: &SnapshotOptions) -> Option<[String; 2]> {
    let source = &options.source;
    let left_out = |given: &Option<String>| given.as_ref().map(|_| "...".to_owned());
    let given = [
        ("--publish", options.publish.map(|date| date.to_string())),
        ("--discard", options.discard.map(|date| date.to_string())),
        ("--adopt", options.adopt.as_ref().map(|layout| word(layout))),
        ("--source", left_out(&source.place)),
        ("--source-table", left_out(&source.table)),
        ("--query", left_out(&source.query)),
    ];
    given
        .into_iter()
        .find_map(|(option, value)| Some([option.to_owned(), value?]))
}

/// Takes the tables, and returns what became of each, in their order.
fn take_all(
    workspace: &Workspace<'_>,
    names: &[&TableName],
    date: NaiveDate,
    options: &SnapshotOptions,
) -> Vec<TableResult> {
    let servers = names.iter().map(|name| server(workspace, name)).collect();
    let parallel = tables_at_a_time(names.len()).min(workspace.memory.tables_in_parallel());
    let take = |number: usize| {
        let share = (parallel, names.len());
        let result = take_one(workspace, names[number], date, options, share);
        // An error of a run that is being stopped says nothing of the table.
        wait_if_stopping();
        result
    };
    let results = for_each_table(workspace, "snapshot", servers, parallel, take);
    let results = results.into_iter().zip(names);
    results
        .map(|(result, name)| {
            let result = result.unwrap_or_else(|| {
                let error = Error::internal(format!("table {name}: its thread ended early"));
                failed(name, date, error, Vec::new())
            });
            tell_notes(workspace, &result);
            result
        })
        .collect()
}

/// Takes one table; `parallel` are taken at a time, of `tables`.
fn take_one(
    workspace: &Workspace<'_>,
    name: &TableName,
    date: NaiveDate,
    options: &SnapshotOptions,
    (parallel, tables): (usize, usize),
) -> TableResult {
    let notes = Notes::new(workspace.progress);
    let part = workspace.part(parallel, &notes);
    let source = part.table_config(name).source;
    let taken = if tables > 1 && source.as_deref() == Some(STANDARD_INPUT) {
        let what = format!("table {name} is read from standard input, so it must be taken alone");
        Err(Error::usage(what).hint(format!("asof snapshot {name} < FILE")))
    } else {
        // Requests of one table cannot be told from those of others that are taken meanwhile.
        let taken = || {
            // Standard input is for a table that is taken alone.
            let mut stdin = std::io::empty();
            carry_out(&part, name, options, |workspace, date| {
                find_source(workspace, name, date, &options.source, &mut stdin)
            })
        };
        if parallel == 1 {
            part.counting(taken)
                .map(|(report, store_requests)| SnapshotReport {
                    store_requests,
                    ..report
                })
        } else {
            taken()
        }
    };
    drop(part);
    let notes = notes.into_inner();
    match taken {
        Ok(report) => TableResult::Done(Box::new(SnapshotReport { notes, ..report })),
        Err(error) => failed(name, date, error, notes),
    }
}

/// The result of a table that failed. The error names it.
fn failed(name: &TableName, date: NaiveDate, error: Error, notes: Vec<String>) -> TableResult {
    let names_it = error.to_string().starts_with(&format!("table {name}"));
    let error = if names_it {
        error
    } else {
        error.within(format!("table {name}, {date}"))
    };
    // A failure to read or write may be gone the next time.
    let error = match (error.kind(), error.hints()) {
        (Kind::Io, []) => error.hint(format!("asof snapshot {name}, to take it alone")),
        _ => error,
    };
    TableResult::Failed(FailedTable {
        table: name.clone(),
        snapshot_date: date,
        error,
        notes,
    })
}

/// Tells the notes of a table.
fn tell_notes(workspace: &Workspace<'_>, result: &TableResult) {
    let notes = match result {
        TableResult::Done(report) => report.notes.as_slice(),
        TableResult::Failed(failed) => failed.notes.as_slice(),
        TableResult::Skipped(_) => &[],
    };
    notes.iter().for_each(|note| workspace.progress.note(note));
}
