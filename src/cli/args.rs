//! The command line: names, flags and defaults are a contract, and docs/cli.md is made from them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::commands::snapshot::IfExists;
use crate::domain::dedup::Dedup;
use crate::domain::join::JoinKind;
use crate::domain::staleness::StateFilter;
use crate::domain::type_names::{DECLARABLE, parse_type};
use crate::engine::as_of::RowSource;
use crate::model::{Day, DaySpan, MemoryBudget};
use crate::source::{Dialect, Format};
use crate::storage::object_store::search::Strategy;

/// Dated copies of slowly changing tables, validity intervals, and backfills that see each day as
/// it was.
///
/// A job joins events to a table that changes slowly. Rerun last month's job today and it joins
/// last month's events to today's table. asof keeps a dated copy of the table each night, compacts
/// the copies into intervals, and runs the job of any past day against the table as it stood on
/// that day.
///
/// Exit codes: 0 done, or nothing to do; 1 I/O failure, retry; 2 wrong usage or configuration; 3
/// data refused; 4 another writer published first, retry; 5 some dates failed and the others are
/// published, retry; 70 a bug of asof, report it.
#[derive(Debug, Parser)]
#[command(name = "asof", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration; by default the nearest asof.toml, from here upward
    #[arg(long, global = true, value_name = "FILE", env = "ASOF_CONFIG")]
    pub config: Option<PathBuf>,
    /// The lake: the folder under which asof keeps its tables, a path or a URL of s3://, gs:// or
    /// az://
    #[arg(long, global = true, value_name = "URL", env = "ASOF_LAKE")]
    pub lake: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors, and what show, diff, history, status and partitions are asked for, and nothing
    /// else
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more output
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Show no progress bar
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// About how much memory to use at most, such as 2GiB [default: half of what the machine has]
    #[arg(long, global = true, value_name = "SIZE", env = "ASOF_MEMORY", value_parser = memory)]
    pub memory: Option<MemoryBudget>,
    /// Write to an object store that does not enforce conditional writes, where two writers at a
    /// time are not safe
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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented asof.toml
    Init,
    /// See the whole journey on bundled real data
    Demo(DemoArgs),
    /// Write one dated copy of each table into the lake
    Snapshot(Box<SnapshotArgs>),
    /// Show how a source is understood: format, dialect, columns, types and first rows
    Check(CheckArgs),
    /// Turn snapshots into validity intervals, losslessly
    Compact(Box<CompactArgs>),
    /// Run jobs for each date of a range, with the tables as of that date
    Backfill(Box<BackfillArgs>),
    /// Join events of many dates, each to the table as of its own date, into one file
    Join(Box<JoinArgs>),
    /// Show a table as of a date
    Show(ShowArgs),
    /// Show what changed in a table between two dates
    Diff(DiffArgs),
    /// Show every interval of one key
    History(HistoryArgs),
    /// Show what exists, what is missing and what is stale
    Status(StatusArgs),
    /// Show the history of a table's columns: their types, and when they appeared, changed and went
    Schema(SchemaArgs),
    /// Prove that snapshots are whole and that intervals give each of them back
    Verify(VerifyArgs),
    /// Write intervals back as dated copies
    Expand(ExpandArgs),
    /// Find the partitions of a range of dates
    Partitions(PartitionsArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// `asof demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where to put the demo's data and lake: a folder, or a URL of s3://, gs:// or az://
    #[arg(default_value = "asof-demo")]
    pub dir: String,
}

/// `asof snapshot`
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// The tables; by default all that asof.toml gives a source
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// The date whose events should see this state; by default today
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub date: Option<Day>,
    /// A file, a folder with its subfolders, a quoted glob, or - for standard input
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// The format, if neither the source's name nor its first bytes tell
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<FormatArg>,
    /// The key columns
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub key: Vec<String>,
    /// Types of columns, such as zip=text,price='decimal(10, 2)'; overrules asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of the source is written, such as 'delimiter=;,decimal=,'; overrules asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
    /// Which row of a key to keep, such as 'latest by updated_at'; by default duplicate keys are
    /// refused
    #[arg(long, value_parser = dedup, value_name = "RULE")]
    pub dedup: Option<Dedup>,
    /// What to do with a snapshot that exists
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub if_exists: IfExistsArg,
    /// The source really holds the state of a past date
    #[arg(long)]
    pub backdate: bool,
    /// Publish although a guard refuses; the footer will say so
    #[arg(long)]
    pub force: bool,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// `asof check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A table, or events of asof.toml
    #[arg(value_name = "TABLE|EVENTS")]
    pub name: String,
    /// A file, a folder with its subfolders, a quoted glob, or - for standard input; by default
    /// what asof.toml says
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// The format, if neither the source's name nor its first bytes tell
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<FormatArg>,
    /// The date of the events, or of the copy of an external table; by default the latest
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub date: Option<Day>,
    /// The key columns
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub key: Vec<String>,
    /// Which row of a key to keep, such as 'latest by updated_at'; by default duplicate keys are
    /// refused
    #[arg(long, value_parser = dedup, value_name = "RULE")]
    pub dedup: Option<Dedup>,
    /// Types of columns, such as zip=text,price='decimal(10, 2)'; overrules asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of the source is written, such as 'delimiter=;,decimal=,'; overrules asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
}

/// What to do with a snapshot that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IfExistsArg {
    /// Leave it, and succeed
    Keep,
    /// Put another in its place, and keep the old one aside
    Replace,
    /// Fail with exit code 4
    Error,
}

impl From<IfExistsArg> for IfExists {
    fn from(arg: IfExistsArg) -> Self {
        match arg {
            IfExistsArg::Keep => IfExists::Keep,
            IfExistsArg::Replace => IfExists::Replace,
            IfExistsArg::Error => IfExists::Error,
        }
    }
}

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// Apache Parquet
    Parquet,
    /// Comma-separated values with a header
    Csv,
    /// Tab-separated values with a header
    Tsv,
    /// One JSON object a line
    Ndjson,
    /// Arrow IPC, file or stream
    Arrow,
    /// Apache Avro
    Avro,
}

impl From<FormatArg> for Format {
    fn from(arg: FormatArg) -> Self {
        match arg {
            FormatArg::Parquet => Format::Parquet,
            FormatArg::Csv => Format::Csv,
            FormatArg::Tsv => Format::Tsv,
            FormatArg::Ndjson => Format::Ndjson,
            FormatArg::Arrow => Format::Arrow,
            FormatArg::Avro => Format::Avro,
        }
    }
}

/// `asof compact`
#[derive(Debug, Args)]
pub struct CompactArgs {
    /// The tables; by default all
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// The root of dated copies that another tool wrote
    #[arg(long, value_name = "PATH")]
    pub snapshots: Option<String>,
    /// The layout of those copies, such as 'snapshot_date=%Y-%m-%d'
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<String>,
    /// The column that holds the date of each row, if PATH is a file, folder or glob with many
    /// dates
    #[arg(long, value_name = "COLUMN", requires = "snapshots")]
    pub date_column: Option<String>,
    /// The format of dates that are text, such as '%d/%m/%Y' [default: %Y-%m-%d]
    #[arg(long, value_name = "FORMAT", requires = "date_column")]
    pub date_format: Option<String>,
    /// The time zone in which the day of a timestamp lies; by default that of asof.toml, or UTC
    #[arg(long, value_name = "ZONE", requires = "date_column")]
    pub timezone: Option<String>,
    /// The format of those copies, if neither their names nor their first bytes tell
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<FormatArg>,
    /// The key columns
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub key: Vec<String>,
    /// Types of columns, such as zip=text,price='decimal(10, 2)'; overrules asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of those copies is written, such as 'delimiter=;,decimal=,'; overrules asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
    /// Which row of a key of those copies to keep, such as 'latest by updated_at'; for a table of
    /// asof.toml, set dedup there
    #[arg(long, value_parser = dedup, value_name = "RULE", requires = "snapshots")]
    pub dedup: Option<Dedup>,
    /// Where the intervals go: a .parquet file or a folder; by default into the lake
    #[arg(long, value_name = "PATH")]
    pub out: Option<String>,
    /// The first date, included
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub from: Option<Day>,
    /// The last date, included
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub to: Option<Day>,
    /// What a missing date means: carry the last copy (default), error, or split intervals
    #[arg(long, value_name = "carry|error|split")]
    pub gaps: Option<String>,
    /// The most missing days in a row that are carried
    #[arg(long, value_name = "DAYS")]
    pub max_gap: Option<u32>,
    /// The name of the column of first dates [default: active_start]
    #[arg(long, value_name = "NAME")]
    pub start_column: Option<String>,
    /// The name of the column of ends [default: active_end]
    #[arg(long, value_name = "NAME")]
    pub end_column: Option<String>,
    /// Whether the end is the last date or the day after it [default: inclusive]
    #[arg(long, value_name = "inclusive|exclusive")]
    pub end: Option<String>,
    /// How an open end is written [default: 9999-12-31]
    #[arg(long, value_name = "9999-12-31|null")]
    pub open_end: Option<String>,
    /// Columns whose change ends no interval
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub ignore: Vec<String>,
    /// The only columns whose change ends an interval
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub track: Vec<String>,
    /// A SQL condition; rows that do not meet it count as absent
    #[arg(long = "where", value_name = "EXPR")]
    pub condition: Option<String>,
    /// The only columns of the intervals, beside the key
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub select: Vec<String>,
    /// Read every snapshot anew, with the settings of the intervals that exist
    #[arg(long)]
    pub full: bool,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// `asof backfill`
#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// The jobs; by default all of asof.toml
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
    /// The first date, included
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub from: Day,
    /// The last date, included [default: today]
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub to: Option<Day>,
    /// Which dates to run: missing,stale,failed,orphaned or all; the outputs of orphaned dates,
    /// whose events are gone, are removed
    #[arg(long, value_name = "STATES", default_value = "missing,stale,failed,orphaned", value_parser = only)]
    pub only: StateFilter,
    /// Where tables' rows come from
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    pub using: UsingArg,
    /// How many dates run in parallel [default: the number of processors, and of a join two more]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// What runs the jobs
    #[arg(long, value_name = "ENGINE", default_value = "local")]
    pub engine: EngineArg,
    /// Types of the events' columns, such as zip=text,price='decimal(10, 2)'; overrules asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of the events is written, such as 'delimiter=;,decimal=,'; overrules asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
    /// How much older than its label a snapshot may be, such as 3d; overrules asof.toml
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub tolerance: Option<DaySpan>,
    /// How many days before the events' date the snapshot's label lies, such as 1d; overrules
    /// asof.toml
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub lag: Option<DaySpan>,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// A job that is not in asof.toml.
    #[command(flatten)]
    pub ad_hoc: AdHocArgs,
}

/// A job that is not in the configuration.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "A job that is not in asof.toml")]
pub struct AdHocArgs {
    /// The join.
    #[command(flatten)]
    pub join: EventsJoinArgs,
    /// A file with a query instead of a join
    #[arg(long, value_name = "FILE")]
    pub sql: Option<String>,
    /// What the query calls relations, such as item=item_intervals
    #[arg(long, value_delimiter = ',', value_parser = renamed, value_name = "NAME=RELATION,...")]
    pub names: Vec<(String, String)>,
    /// The root of the outputs
    #[arg(long, value_name = "PATH")]
    pub out: Option<String>,
    /// Their layout [default: date=%Y-%m-%d]
    #[arg(long, value_name = "LAYOUT")]
    pub out_layout: Option<String>,
}

/// Events, and the table to which they are joined.
#[derive(Debug, Default, Args)]
pub struct EventsJoinArgs {
    /// The root of the events' partitions, or the name of events in asof.toml
    #[arg(long, value_name = "PATH")]
    pub events: Option<String>,
    /// Their layout, such as 'date=%Y-%m-%d' or 'country=*/date=%Y-%m-%d'
    #[arg(long, value_name = "LAYOUT")]
    pub events_layout: Option<String>,
    /// The column that holds the date of each event: a date, a timestamp or text
    #[arg(long, value_name = "COLUMN")]
    pub events_date_column: Option<String>,
    /// The format of dates that are text, such as '%d/%m/%Y' [default: %Y-%m-%d]
    #[arg(long, value_name = "FORMAT", requires = "events_date_column")]
    pub events_date_format: Option<String>,
    /// The time zone in which the day of a timestamp lies; by default that of asof.toml, or UTC
    #[arg(long, value_name = "ZONE", requires = "events_date_column")]
    pub events_timezone: Option<String>,
    /// Their format, if neither their names nor their first bytes tell
    #[arg(long, value_name = "FORMAT")]
    pub events_format: Option<FormatArg>,
    /// The table to join to
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// A pair of columns, or one name for both; once for each key column
    #[arg(long, value_name = "EVENTS_COLUMN=TABLE_COLUMN")]
    pub on: Vec<String>,
    /// What the join keeps [default: left]
    #[arg(long, value_name = "inner|left|semi|anti")]
    pub how: Option<HowArg>,
    /// A condition over the table's columns, applied before the join
    #[arg(long = "where", value_name = "EXPR")]
    pub condition: Option<String>,
    /// The table's columns to add [default: all but the key]
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub select: Vec<String>,
}

/// `asof join`
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The join.
    #[command(flatten)]
    pub join: EventsJoinArgs,
    /// The Parquet file to write
    #[arg(long, value_name = "FILE")]
    pub out: String,
    /// The first date of the events [default: that of the first event]
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub from: Option<Day>,
    /// The last date, included [default: that of the last event]
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub to: Option<Day>,
    /// Where the table's rows come from
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    pub using: UsingArg,
    /// Types of the events' columns, such as zip=text,price='decimal(10, 2)'; overrules asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of the events is written, such as 'delimiter=;,decimal=,'; overrules asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
    /// How much older than its label a snapshot may be, such as 3d; overrules asof.toml
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub tolerance: Option<DaySpan>,
    /// How many days before the events' date the snapshot's label lies, such as 1d; overrules
    /// asof.toml
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub lag: Option<DaySpan>,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// What a join keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HowArg {
    /// Events that have a row, with its columns
    Inner,
    /// Every event once, with nulls where there is no row
    Left,
    /// Events that have a row
    Semi,
    /// Events that have none
    Anti,
}

impl From<HowArg> for JoinKind {
    fn from(arg: HowArg) -> Self {
        match arg {
            HowArg::Inner => JoinKind::Inner,
            HowArg::Left => JoinKind::Left,
            HowArg::Semi => JoinKind::Semi,
            HowArg::Anti => JoinKind::Anti,
        }
    }
}

/// Where tables' rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsingArg {
    /// Intervals where they are known to agree and serve several dates, else snapshots
    Auto,
    /// Snapshots alone
    Snapshots,
    /// Intervals alone
    Intervals,
}

impl From<UsingArg> for RowSource {
    fn from(arg: UsingArg) -> Self {
        match arg {
            UsingArg::Auto => RowSource::Auto,
            UsingArg::Snapshots => RowSource::Snapshots,
            UsingArg::Intervals => RowSource::Intervals,
        }
    }
}

/// What runs jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// This machine
    Local,
}

/// `asof show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The table
    pub table: String,
    /// The date [default: latest]
    #[arg(value_parser = latest_or_day, value_name = "DATE")]
    pub day: Option<Day>,
    /// The same, as an option
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with = "day")]
    pub date: Option<Day>,
    /// A condition over the table's columns
    #[arg(long = "where", value_name = "EXPR")]
    pub condition: Option<String>,
    /// The columns to show [default: all]
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub select: Vec<String>,
    /// Write all rows to a .parquet, .csv or .ndjson file
    #[arg(long, value_name = "FILE")]
    pub out: Option<String>,
    /// How many rows to print
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// `asof diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The table
    pub table: String,
    /// The date to compare from; alone, the date to compare with the copy before it [default:
    /// latest]
    #[arg(value_parser = latest_or_day, value_name = "DATE1")]
    pub day: Option<Day>,
    /// The date to compare to
    #[arg(value_parser = latest_or_day, value_name = "DATE2")]
    pub later: Option<Day>,
    /// The date to compare from [default: that of the copy before]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with_all = ["day", "later"])]
    pub from: Option<Day>,
    /// The date to compare to [default: latest]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with_all = ["day", "later"])]
    pub to: Option<Day>,
    /// How many rows to print
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

/// `asof history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The table
    pub table: String,
    /// The key: a value for each of its columns, as asof show prints it
    #[arg(required = true, allow_negative_numbers = true)]
    pub key: Vec<String>,
}

/// `asof status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// A table or a job; by default all
    pub name: Option<String>,
    /// The first date of a job to look at [default: ten years before the last]
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub from: Option<Day>,
    /// The last date of a job to look at [default: today]
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub to: Option<Day>,
}

/// `asof schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The table
    pub table: String,
}

/// `asof verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The tables; by default all
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
}

/// `asof expand`
#[derive(Debug, Args)]
pub struct ExpandArgs {
    /// The table
    pub table: String,
    /// The first date, included
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub from: Day,
    /// The last date, included
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub to: Day,
    /// The root of the dated copies
    #[arg(long, value_name = "PATH")]
    pub out: String,
    /// An intervals file outside of the lake
    #[arg(long, value_name = "FILE")]
    pub intervals: Option<String>,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// `asof partitions`
#[derive(Debug, Args)]
pub struct PartitionsArgs {
    /// The root of the partitions, or the name of events in asof.toml
    pub path: String,
    /// Their layout, such as 'year=%Y/month=%m/day=%d' [default: that of the events]
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<String>,
    /// The first date, included
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub from: Day,
    /// The last date, included
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub to: Day,
    /// How to look for them; paths and listing are there to be compared with
    #[arg(long, value_enum, default_value = "guided", value_name = "STRATEGY")]
    pub strategy: StrategyArg,
}

/// How partitions are looked for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StrategyArg {
    /// The keys of the range, and no others
    Guided,
    /// Each date's path in turn
    Paths,
    /// Everything, filtered
    Listing,
}

impl From<StrategyArg> for Strategy {
    fn from(strategy: StrategyArg) -> Self {
        match strategy {
            StrategyArg::Guided => Strategy::Guided,
            StrategyArg::Paths => Strategy::Paths,
            StrategyArg::Listing => Strategy::Listing,
        }
    }
}

fn with_hints(error: &crate::error::Error) -> String {
    if error.hints().is_empty() {
        error.to_string()
    } else {
        format!("{error}; {}", error.hints().join("; "))
    }
}

fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|error| with_hints(&error))
}

/// Reads `latest` too, for commands that show the latest copy up to a date.
fn latest_or_day(text: &str) -> Result<Day, String> {
    if text == "latest" {
        Ok(Day::Today)
    } else {
        day(text)
    }
}

fn memory(text: &str) -> Result<MemoryBudget, String> {
    text.parse().map_err(|error| with_hints(&error))
}

fn days(text: &str) -> Result<DaySpan, String> {
    text.parse().map_err(|error| with_hints(&error))
}

/// Reads `item=item_intervals`.
fn renamed(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .filter(|(name, relation)| !name.trim().is_empty() && !relation.trim().is_empty());
    let (name, relation) =
        pair.ok_or_else(|| format!("'{text}' is not NAME=RELATION, such as item=item_intervals"))?;
    Ok((name.trim().to_owned(), relation.trim().to_owned()))
}

/// Types that the command line declares, by column.
pub type ColumnTypes = std::collections::BTreeMap<String, String>;

/// Reads `a=text,b=decimal(10, 2)`: commas inside of a type belong to it.
fn column_types(text: &str) -> Result<ColumnTypes, String> {
    let mut types = ColumnTypes::new();
    let mut depth = 0;
    let mut start = 0;
    let ends = text.char_indices().filter(|(_, c)| {
        match c {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            _ => {}
        }
        *c == ',' && depth == 0
    });
    for end in ends
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect::<Vec<_>>()
    {
        let part = text[start..end].trim();
        start = end + 1;
        let Some((column, data_type)) = part.split_once('=') else {
            return Err(format!("'{part}' is not COLUMN=TYPE, such as zip=text"));
        };
        let column = column.trim();
        let data_type = data_type.trim();
        if parse_type(data_type).is_none() {
            return Err(format!(
                "column '{column}': '{data_type}' is not a type; the types are {DECLARABLE}"
            ));
        }
        types.insert(column.to_owned(), data_type.to_owned());
    }
    Ok(types)
}

fn csv(text: &str) -> Result<Dialect, String> {
    Dialect::parse(text).map_err(|error| with_hints(&error))
}

fn dedup(text: &str) -> Result<Dedup, String> {
    text.parse().map_err(|error| with_hints(&error))
}

fn only(text: &str) -> Result<StateFilter, String> {
    text.parse().map_err(|error| with_hints(&error))
}
