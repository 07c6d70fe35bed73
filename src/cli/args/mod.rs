//! The command line: names, flags and defaults are a contract, and docs/cli.md is made from them.

mod adopt;
mod engine;
mod jobs;
mod looking;
mod prune;
mod repair;
mod tables;
mod undo;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use self::adopt::{AdoptArgs, DatesArg, PresetArg};
pub use self::engine::{EngineArg, EngineArgs};
pub use self::jobs::{
    AdHocArgs, BackfillArgs, EventsJoinArgs, EventsOptions, HowArg, JoinArgs, PlanArgs, UsingArg,
};
pub use self::looking::{
    DescribeArgs, DiffArgs, HistoryArgs, PartitionsArgs, ReportArgs, SchemaArgs, ShowArgs,
    StatusArgs, StrategyArg, VerifyArgs,
};
pub use self::prune::PruneArgs;
pub use self::repair::RepairArgs;
pub use self::tables::{CheckArgs, CompactArgs, ExpandArgs, FormatArg, IfExistsArg, SnapshotArgs};
pub use self::undo::{DropArgs, RestoreArgs};
pub use self::values::ColumnTypes;

use self::values::memory;
use crate::memory::MemoryBudget;

/// Dated copies of slowly changing tables, validity intervals, and backfills that see each day as
/// it was.
///
/// A job joins events to a table that changes slowly. Rerun last month's job today and it joins
/// last month's events to today's table. asof keeps a dated copy of the table each night, compacts
/// the copies into intervals, and runs the job of any past day against the table as it was on that
/// day.
///
/// Exit codes: 0 done, or nothing to do; 1 I/O failure, retry; 2 wrong usage or configuration; 3
/// data refused; 4 another writer published first, retry; 5 some dates or tables failed and the
/// others are published, retry; 6 `status --exit-code` found something out of date; 70 a bug in
/// asof, report it; 129, 130 and 143 interrupted, run again.
#[derive(Debug, Parser)]
#[command(name = "asof", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// The global options.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration file [default: the nearest asof.toml, from this folder upward]
    #[arg(long, global = true, value_name = "FILE", env = "ASOF_CONFIG")]
    pub config: Option<PathBuf>,
    /// The lake: the folder under which asof keeps its tables, a path or a URL of s3://, gs:// or
    /// az://
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ASOF_LAKE",
        hide_env_values = true
    )]
    pub lake: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only errors, and the results of show, diff, describe, history, status and
    /// partitions
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more output; -vv also logs what asof skips or retries
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The format of what goes to standard error
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "ASOF_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// Hide the progress bar
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Do not show the results of show, diff and history in a pager, which is $ASOF_PAGER, else
    /// $PAGER, else less
    #[arg(long, global = true)]
    pub no_pager: bool,
    /// Write Prometheus metrics of the run to FILE, such as asof.prom in the folder of
    /// node_exporter's textfile collector
    #[arg(long, global = true, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Approximate memory limit, such as 2GiB [default: half of the machine's memory]
    #[arg(long, global = true, value_name = "SIZE", env = "ASOF_MEMORY", value_parser = memory)]
    pub memory: Option<MemoryBudget>,
    /// Write to an object store that does not enforce conditional writes, where concurrent
    /// writers are not safe
    #[arg(long, global = true)]
    pub allow_unsafe_store: bool,
    /// When to use color
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// When to use color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The format of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object on each line, without progress bars.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented asof.toml
    Init(InitArgs),
    /// Run a guided demo on bundled real data
    Demo(DemoArgs),
    /// Write one dated copy of each table into the lake
    Snapshot(Box<SnapshotArgs>),
    /// Check asof.toml, or show how asof reads a source: format, dialect, columns, types and first
    /// rows
    Check(CheckArgs),
    /// Audit an SCD type 2 table of another tool, and make a table of the lake of it
    Adopt(Box<AdoptArgs>),
    /// Turn snapshots into validity intervals, losslessly
    Compact(Box<CompactArgs>),
    /// Run jobs for each date of a range, with the tables as of that date
    Backfill(Box<BackfillArgs>),
    /// Show what another engine needs to run a job: files, table states and queries of each date
    Plan(PlanArgs),
    /// Join events of many dates, each to the table as of its own date, into one file
    Join(Box<JoinArgs>),
    /// Show a table as of a date
    Show(ShowArgs),
    /// Show what changed in a table between two dates
    Diff(DiffArgs),
    /// Show what the values of each column are, and how often they changed
    Describe(DescribeArgs),
    /// Show every interval of one key
    History(HistoryArgs),
    /// Show what exists, what is missing and what is stale
    Status(StatusArgs),
    /// Write one page that shows tables and jobs over time: coverage, changes, sizes and outputs
    Report(ReportArgs),
    /// Show the history of a table's columns: their types, and when they appeared, changed and
    /// disappeared
    Schema(SchemaArgs),
    /// Verify that snapshots and outputs are intact and that intervals reproduce each snapshot
    Verify(VerifyArgs),
    /// Write intervals back as dated copies
    Expand(ExpandArgs),
    /// Take the copy of a date out of a table; asof restore brings it back
    Drop(DropArgs),
    /// Bring back a copy that was dropped or replaced
    Restore(RestoreArgs),
    /// Delete snapshots that the intervals are proven to give back
    Prune(PruneArgs),
    /// Recompute the intervals and outputs that were made from copies that changed since
    Repair(RepairArgs),
    /// Find the partitions of a range of dates
    Partitions(PartitionsArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command
    Man {
        /// The folder for asof.1, and for one page of each command, such as asof-show.1
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl Command {
    /// The name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Init(_) => "init",
            Command::Demo(_) => "demo",
            Command::Snapshot(_) => "snapshot",
            Command::Check(_) => "check",
            Command::Adopt(_) => "adopt",
            Command::Compact(_) => "compact",
            Command::Backfill(_) => "backfill",
            Command::Plan(_) => "plan",
            Command::Join(_) => "join",
            Command::Show(_) => "show",
            Command::Diff(_) => "diff",
            Command::Describe(_) => "describe",
            Command::History(_) => "history",
            Command::Status(_) => "status",
            Command::Report(_) => "report",
            Command::Schema(_) => "schema",
            Command::Verify(_) => "verify",
            Command::Expand(_) => "expand",
            Command::Drop(_) => "drop",
            Command::Restore(_) => "restore",
            Command::Prune(_) => "prune",
            Command::Repair(_) => "repair",
            Command::Partitions(_) => "partitions",
            Command::Completions { .. } => "completions",
            Command::Man { .. } => "man",
        }
    }
}

/// `asof init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Also write asof.schema.json beside it, with which editors complete and explain asof.toml
    #[arg(long)]
    pub schema: bool,
}

/// `asof demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where to put the demo's data and lake: a folder, or a URL of s3://, gs:// or az://
    #[arg(default_value = "asof-demo")]
    pub dir: String,
}
