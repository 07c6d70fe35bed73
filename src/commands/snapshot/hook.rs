//! `on_refused`: a program of the user's own that is told of a refused copy, to alert somebody.
//!
//! It is run as the program of a job is: in the folder of `asof.toml`, with asof's environment and
//! two variables more, in a process group of its own. A command line goes to `sh -c`; a list is run
//! as it is. The report is on its standard input, as one JSON document. What it prints is shown if
//! it fails. A program that fails, hangs or is not there changes nothing: it is told, and the exit
//! code stays that of the refusal.

use std::ffi::OsString;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::SnapshotOptions;
use super::plan::SnapshotPlan;
use super::refused::RefusedSnapshot;
use crate::commands::Workspace;
use crate::config::HookCommand;
use crate::domain::guard::BrokenGuard;
use crate::engine::command::{Failed, Program};
use crate::error::{Context, Kind, Result, shorten};

/// The longest that the program may run.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the program is told of a copy that was refused.
#[derive(Serialize)]
struct RefusalReport<'a> {
    /// Always `snapshot_refused`.
    event: &'static str,
    /// The table.
    table: &'a str,
    /// The date that the copy would have had.
    snapshot_date: NaiveDate,
    /// When it was refused.
    refused_at: DateTime<Utc>,
    /// Where the rows are from, without secrets.
    source: &'a str,
    /// The rows of the copy; null if it was refused before all of them were read.
    rows: Option<u64>,
    /// The guards that it breaks; none if it was refused for another reason.
    guards: &'a [BrokenGuard],
    /// Why it was refused, in words.
    message: String,
    /// What can be done now.
    hints: &'a [String],
    /// Where the copy is kept; null if it is not.
    path: Option<String>,
    /// This program's version.
    asof_version: &'static str,
}

/// Tells the program of `on_refused`, if there is one, that a copy was refused.
pub(super) fn tell(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    options: &SnapshotOptions,
    refused: &RefusedSnapshot,
) {
    let is_seen_by_a_person = options.dry_run || options.publish.is_some();
    if refused.error.kind() != Kind::Refused || is_seen_by_a_person {
        return;
    }
    let name = &plan.table.name;
    let of_table = workspace.table_config(name).on_refused;
    let Some(hook) = of_table.or_else(|| workspace.config.on_refused.clone()) else {
        return;
    };
    if let Err(failed) = run(workspace, &hook, plan, refused) {
        let mut note = format!("{name}: on_refused: {}", failed.error);
        for hint in failed.error.hints() {
            note += &format!(" ({hint})");
        }
        if failed.printed.len() > 1 {
            for line in &failed.printed {
                note += &format!("\n  {}", shorten(line));
            }
        }
        workspace.progress.note(&note);
    }
}

/// Runs the program with the report on its standard input.
fn run(
    workspace: &Workspace<'_>,
    hook: &HookCommand,
    plan: &SnapshotPlan<'_>,
    refused: &RefusedSnapshot,
) -> Result<(), Failed> {
    let report = RefusalReport {
        event: "snapshot_refused",
        table: plan.table.name.as_str(),
        snapshot_date: plan.date,
        refused_at: workspace.clock.now(),
        source: plan.source.name(),
        rows: refused.rows,
        guards: &refused.guards,
        message: refused.error.to_string(),
        hints: refused.error.hints(),
        path: refused.path.as_ref().map(|path| workspace.shown(path)),
        asof_version: env!("CARGO_PKG_VERSION"),
    };
    let input = serde_json::to_vec(&report).internal_context(|| "cannot write JSON".into())?;
    let folder = std::path::absolute(&workspace.config.base)
        .io_context(|| "cannot find the folder of asof.toml".into())?;
    let program = Program {
        arguments: hook.arguments(),
        folder,
        timeout: Some(TIMEOUT),
        input: Some(input),
    };
    let variables: [(String, OsString); 2] = [
        ("ASOF_TABLE".into(), plan.table.name.as_str().into()),
        ("ASOF_DATE".into(), plan.date.to_string().into()),
    ];
    program.run(&variables)
}
