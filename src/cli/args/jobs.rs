//! Arguments of the commands that join events to tables.

use clap::{Args, ValueEnum};

use super::engine::EngineArgs;
use super::tables::FormatArg;
use super::values::{
    ColumnTypes, column_types, csv, day, days, known_at, latest_or_day, only, renamed,
};
use crate::domain::join::JoinKind;
use crate::domain::known_at::KnownAt;
use crate::domain::staleness::StateFilter;
use crate::engine::as_of::RowSource;
use crate::model::{Day, DaySpan};
use crate::source::Dialect;

/// `asof backfill`
#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// The jobs; by default all of asof.toml
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
    /// The first date, included
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Day,
    /// The last date, included [default: today]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub to: Option<Day>,
    /// Which dates to run: missing,stale,failed,orphaned or all; the outputs of orphaned dates,
    /// whose events are gone, are removed
    #[arg(long, value_name = "STATES", default_value = "missing,stale,failed,orphaned", value_parser = only)]
    pub only: StateFilter,
    /// Run nothing: record that outputs which are stale because the job has changed are still right
    #[arg(long, conflicts_with = "only")]
    pub accept: bool,
    /// Use the copies of tables that stood at a time, such as 2024-03-09T02:00:00Z or, for its end,
    /// 2024-03-09; the outputs go to --out
    #[arg(long, value_parser = known_at, value_name = "TIMESTAMP", requires = "out", conflicts_with = "accept")]
    pub known_at: Option<KnownAt>,
    /// The number of dates to run in parallel [default: the number of processors, plus two for a
    /// join]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// What runs the jobs.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// What `join` has too.
    #[command(flatten)]
    pub options: EventsOptions,
    /// A job that is not in asof.toml.
    #[command(flatten)]
    pub ad_hoc: AdHocArgs,
}

/// `asof plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The job of asof.toml
    #[arg(value_name = "JOB")]
    pub job: String,
    /// The first date, included
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Day,
    /// The last date, included [default: today]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub to: Option<Day>,
    /// Where tables' rows come from
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    pub using: UsingArg,
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
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Option<Day>,
    /// The last date, included [default: that of the last event]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub to: Option<Day>,
    /// What `backfill` has too.
    #[command(flatten)]
    pub options: EventsOptions,
}

/// What `backfill` and `join` share: how tables are looked up, and how events are read.
#[derive(Debug, Args)]
pub struct EventsOptions {
    /// Where tables' rows come from
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    pub using: UsingArg,
    /// Types of the events' columns, such as zip=text,price='decimal(10, 2)'; overrides asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of the events is written, such as 'delimiter=;,decimal=,'; overrides asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
    /// How much older than its label a snapshot may be, such as 3d; overrides asof.toml
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub tolerance: Option<DaySpan>,
    /// How many days the snapshot's label is before the events' date, such as 1d; overrides
    /// asof.toml
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub lag: Option<DaySpan>,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
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
    /// The root of the outputs; with --known-at also of a job of asof.toml
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
    /// Their format, if neither their names nor their first bytes show it
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
