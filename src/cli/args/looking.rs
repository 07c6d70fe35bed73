//! Arguments of the commands that show what exists and change nothing.

use clap::{Args, ValueEnum};

use super::values::{day, known_at, latest_or_day};
use crate::domain::known_at::KnownAt;
use crate::model::Day;
use crate::storage::object_store::search::Strategy;

/// `asof show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The table, the job, or the path of a file of intervals
    pub table: String,
    /// The date [default: latest]
    #[arg(value_parser = latest_or_day, value_name = "DATE")]
    pub day: Option<Day>,
    /// The date, as an option
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with = "day")]
    pub date: Option<Day>,
    /// Show the copy of the date that a check refused
    #[arg(long)]
    pub refused: bool,
    /// Use the copies that stood at a time, such as 2024-03-09T02:00:00Z or, for its end,
    /// 2024-03-09
    #[arg(long, value_parser = known_at, value_name = "TIMESTAMP", conflicts_with = "refused")]
    pub known_at: Option<KnownAt>,
    /// A condition over the table's columns
    #[arg(long = "where", value_name = "EXPR")]
    pub condition: Option<String>,
    /// The columns to show [default: all]
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub select: Vec<String>,
    /// Write all rows to a .parquet, .csv or .ndjson file
    #[arg(long, value_name = "FILE")]
    pub out: Option<String>,
    /// The maximum number of rows to print
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
    /// Compare to the copy of this date that a check refused
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with_all = ["later", "to"])]
    pub refused: Option<Day>,
    /// The date to compare to [default: latest]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with_all = ["day", "later"])]
    pub to: Option<Day>,
    /// Use the copies that stood at a time, such as 2024-03-09T02:00:00Z or, for its end,
    /// 2024-03-09
    #[arg(long, value_parser = known_at, value_name = "TIMESTAMP", conflicts_with = "refused")]
    pub known_at: Option<KnownAt>,
    /// The maximum number of rows to print
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Print how the values of each column changed instead of rows
    #[arg(long)]
    pub summary: bool,
    /// The columns of the summary [default: all]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "COLUMN,...",
        requires = "summary"
    )]
    pub columns: Vec<String>,
    /// How many of the most frequent values of each date the summary has of each column
    #[arg(long, value_name = "N", default_value_t = 5, requires = "summary")]
    pub top: usize,
    /// Write all rows that differ to a .parquet, .csv or .ndjson file
    #[arg(long, value_name = "FILE")]
    pub out: Option<String>,
}

/// `asof describe`
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// The table, or the path of a file of intervals
    pub table: String,
    /// The date [default: latest]
    #[arg(value_parser = latest_or_day, value_name = "DATE")]
    pub day: Option<Day>,
    /// The date, as an option
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with = "day")]
    pub date: Option<Day>,
    /// The columns to describe [default: all]
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub columns: Vec<String>,
    /// How many of the most frequent values to print of each column
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub top: usize,
}

/// `asof history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The table, or the path of a file of intervals
    pub table: String,
    /// The key: a value for each of its columns, as asof show prints it
    #[arg(required = true, allow_negative_numbers = true)]
    pub key: Vec<String>,
    /// Write the key's rows of the intervals to a .parquet, .csv or .ndjson file
    #[arg(long, value_name = "FILE")]
    pub out: Option<String>,
}

/// `asof status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// A table or a job; by default all
    pub name: Option<String>,
    /// The first date of a job to look at [default: ten years before the last]
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Option<Day>,
    /// The last date of a job to look at [default: today]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub to: Option<Day>,
    /// Exit with 6 if something is not up to date: a date of a job is missing, stale, failed or
    /// orphaned; a snapshot is unreadable, not compacted, or was rewritten since; or a date has
    /// only a refused copy
    #[arg(long)]
    pub exit_code: bool,
}

/// `asof report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The tables and jobs; by default all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// The page to write, a path or URL that ends in .html [default: asof-report.html; with --json
    /// none]
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<String>,
    /// Exit with 6 if something needs attention, as asof status --exit-code does
    #[arg(long)]
    pub exit_code: bool,
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
    /// The tables, jobs, or paths of intervals or outputs; by default all tables and jobs
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Also run jobs anew, into a temporary folder, and compare the rows of their outputs
    #[arg(long)]
    pub recompute: bool,
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
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Day,
    /// The last date, included
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub to: Day,
    /// The search strategy; paths and listing exist for comparison
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
