//! Arguments of the commands that take snapshots and turn them into intervals and back.

use clap::{Args, ValueEnum};

use super::engine::EngineArgs;
use super::values::{ColumnTypes, column_types, csv, day, dedup, latest_or_day};
use crate::commands::snapshot::IfExists;
use crate::commands::sources::GivenSource;
use crate::domain::dedup::Dedup;
use crate::model::Day;
use crate::source::{Dialect, Format};

/// `asof snapshot`
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// The tables; by default all that asof.toml gives a source
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// The date to label this copy with [default: today]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub date: Option<Day>,
    /// Where the rows are
    #[command(flatten)]
    pub source: SourceArgs,
    /// The key columns
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub key: Vec<String>,
    /// Types of columns, such as zip=text,price='decimal(10, 2)'; must agree with asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of the source is written, such as 'delimiter=;,decimal=,'; overrides asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
    /// Which row of a key to keep, such as 'latest by updated_at'; by default duplicate keys are
    /// refused
    #[arg(long, value_parser = dedup, value_name = "RULE")]
    pub dedup: Option<Dedup>,
    /// How to handle a snapshot that already exists
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub if_exists: IfExistsArg,
    /// Confirm that the source holds the state of the past date; a source with {date} needs no such
    /// word
    #[arg(long)]
    pub backdate: bool,
    /// Publish despite a guard (recorded in the Parquet footer)
    #[arg(long)]
    pub force: bool,
    /// Publish the copy of this date that a check refused; with --force despite a guard, or with
    /// --dedup or --key
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with_all = ["source", "source_table", "query", "date", "backdate"])]
    pub publish: Option<Day>,
    /// Make snapshots of the dated copies that another tool wrote below the source, by their
    /// layout, such as 'dt=%Y-%m-%d'
    #[arg(long, value_name = "LAYOUT", conflicts_with_all = ["source_table", "query", "date", "publish", "discard"])]
    pub adopt: Option<String>,
    /// Remove the copy of this date that a check refused
    #[arg(long, value_parser = latest_or_day, value_name = "DATE", conflicts_with_all = ["source", "source_table", "query", "date", "backdate", "force", "dry_run", "publish"])]
    pub discard: Option<Day>,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Where the rows of a table come from; by default what asof.toml says.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// A file, a folder with its subfolders, a quoted glob, a database such as sqlite:shop.db, or -
    /// for standard input; {date} in it is the date of the snapshot; by default what asof.toml says
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// The format of the files, if neither their names nor their first bytes show it
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<FormatArg>,
    /// The table or view of the database [default: TABLE]
    #[arg(long, value_name = "NAME")]
    pub source_table: Option<String>,
    /// A query in the database's own SQL, instead of a table
    #[arg(long, value_name = "SQL", conflicts_with = "source_table")]
    pub query: Option<String>,
}

impl SourceArgs {
    /// The source that they name.
    pub fn given(&self) -> GivenSource {
        GivenSource {
            place: self.source.clone(),
            format: self.source_format.map(Into::into),
            table: self.source_table.clone(),
            query: self.query.clone(),
            is_rows: false,
        }
    }
}

/// `asof check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A table, events of asof.toml, or a file; with --connect also a job. By default the whole of
    /// asof.toml is checked
    #[arg(value_name = "TABLE|EVENTS|FILE")]
    pub name: Option<String>,
    /// Connect to every source, events and the lake, compare their columns with asof.toml, and plan
    /// every job; reads no more than it takes to know the columns, and writes nothing
    #[arg(long, conflicts_with_all = ["source", "source_format", "source_table", "query", "date", "key", "dedup", "types", "csv"])]
    pub connect: bool,
    /// Where the rows are
    #[command(flatten)]
    pub source: SourceArgs,
    /// The date of the events, of the copy of an external table, or of a source with {date}; by
    /// default the latest
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub date: Option<Day>,
    /// The key columns
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub key: Vec<String>,
    /// Which row of a key to keep, such as 'latest by updated_at'; by default duplicate keys are
    /// refused
    #[arg(long, value_parser = dedup, value_name = "RULE")]
    pub dedup: Option<Dedup>,
    /// Types of columns, such as zip=text,price='decimal(10, 2)'; overrides asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of the source is written, such as 'delimiter=;,decimal=,'; overrides asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
}

impl CheckArgs {
    /// The first option that is given and is about the rows of one source.
    pub fn source_option(&self) -> Option<&'static str> {
        let source = &self.source;
        let given = [
            ("--source", source.source.is_some()),
            ("--source-format", source.source_format.is_some()),
            ("--source-table", source.source_table.is_some()),
            ("--query", source.query.is_some()),
            ("--date", self.date.is_some()),
            ("--key", !self.key.is_empty()),
            ("--dedup", self.dedup.is_some()),
            ("--types", self.types.is_some()),
            ("--csv", !self.csv.is_empty()),
        ];
        let first = given.into_iter().find(|(_, is_given)| *is_given);
        first.map(|(option, _)| option)
    }
}

/// How to treat a snapshot that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IfExistsArg {
    /// Keep it, and exit with 0
    Keep,
    /// Replace it, and keep the old one under superseded/
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
    /// One JSON object per line
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
    /// The format of those copies, if neither their names nor their first bytes show it
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<FormatArg>,
    /// The key columns
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub key: Vec<String>,
    /// Types of columns, such as zip=text,price='decimal(10, 2)'; overrides asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of those copies is written, such as 'delimiter=;,decimal=,'; overrides asof.toml
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
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Option<Day>,
    /// The last date, included
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub to: Option<Day>,
    /// What a missing date means: carry the last copy (default), error, or split intervals
    #[arg(long, value_name = "carry|error|split")]
    pub gaps: Option<String>,
    /// The most missing days in a row that are carried
    #[arg(long, value_name = "DAYS")]
    pub max_gap: Option<u32>,
    /// The name of the column of start dates [default: active_start]
    #[arg(long, value_name = "NAME")]
    pub start_column: Option<String>,
    /// The name of the column of end dates [default: active_end]
    #[arg(long, value_name = "NAME")]
    pub end_column: Option<String>,
    /// Whether the end is the last date or the day after it [default: inclusive]
    #[arg(long, value_name = "inclusive|exclusive")]
    pub end: Option<String>,
    /// How an open end is written [default: 9999-12-31]
    #[arg(long, value_name = "9999-12-31|null")]
    pub open_end: Option<String>,
    /// Write ends as a dbt snapshot does: dbt_valid_from and dbt_valid_to, exclusive, null where
    /// open
    #[arg(long, conflicts_with_all = ["start_column", "end_column", "end", "open_end"])]
    pub dbt: bool,
    /// Columns whose changes do not end an interval
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub ignore: Vec<String>,
    /// The only columns whose changes end an interval
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub track: Vec<String>,
    /// A SQL condition; rows that do not meet it count as absent
    #[arg(long = "where", value_name = "EXPR")]
    pub condition: Option<String>,
    /// The only columns of the intervals, besides the key
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub select: Vec<String>,
    /// Where to write the intervals once more, as a table for a warehouse: a .parquet file or a
    /// folder; by default into the lake, below scd2, if one of the columns below is named
    #[arg(long, value_name = "PATH", help_heading = "A table for a warehouse")]
    pub scd2: Option<String>,
    /// Its column that marks the rows that hold on the last date, such as is_current
    #[arg(long, value_name = "NAME", help_heading = "A table for a warehouse")]
    pub current_column: Option<String>,
    /// Its column that numbers the rows of each key, from 1
    #[arg(long, value_name = "NAME", help_heading = "A table for a warehouse")]
    pub version_column: Option<String>,
    /// Its column that holds the MD5 of key and start
    #[arg(long, value_name = "NAME", help_heading = "A table for a warehouse")]
    pub surrogate_key: Option<String>,
    /// Its column that marks records of deletions; each is a row more, from when a key is gone
    /// until it returns
    #[arg(long, value_name = "NAME", help_heading = "A table for a warehouse")]
    pub deleted_column: Option<String>,
    /// Rebuild from all snapshots, with the settings of the existing intervals
    #[arg(long)]
    pub full: bool,
    /// What compares the copies.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// `asof expand`
#[derive(Debug, Args)]
pub struct ExpandArgs {
    /// The table
    pub table: String,
    /// The first date, included
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Day,
    /// The last date, included
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
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
