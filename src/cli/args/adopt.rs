//! Arguments of `asof adopt`.

use chrono::NaiveDate;
use clap::{Args, ValueEnum};

use super::tables::FormatArg;
use super::values::{ColumnTypes, calendar_date, column_types, csv, day};
use crate::commands::adopt::AdoptedDates;
use crate::commands::sources::GivenSource;
use crate::domain::scd2::Scd2Preset;
use crate::model::Day;
use crate::source::Dialect;

/// `asof adopt`
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The table that it becomes
    pub table: String,
    /// Where the versions are: a file, a folder with its subfolders, a quoted glob, a database such
    /// as postgres://reader@host/shop, or - for standard input
    pub source: String,
    /// The tool that wrote them, which says how their columns are named and what their ends mean
    #[arg(long, value_name = "TOOL")]
    pub preset: Option<PresetArg>,
    /// The key columns of the table, without the start
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub key: Vec<String>,
    /// The column that holds the start of a version [default: that of the preset]
    #[arg(long, value_name = "COLUMN")]
    pub start_column: Option<String>,
    /// The column that holds the end of a version [default: that of the preset]
    #[arg(long, value_name = "COLUMN")]
    pub end_column: Option<String>,
    /// Whether a version still holds at its end [default: that of the preset, or exclusive]
    #[arg(long, value_name = "inclusive|exclusive")]
    pub end: Option<String>,
    /// Ends on this date or later are open, as nulls are [default: 9999-01-01]
    #[arg(long, value_parser = calendar_date, value_name = "DATE")]
    pub open_end: Option<NaiveDate>,
    /// The column that marks records of deletions [default: dbt_is_deleted for dbt]
    #[arg(long, value_name = "COLUMN")]
    pub deleted_column: Option<String>,
    /// More columns that are not attributes of rows, such as a surrogate key or a flag of current
    /// versions
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...")]
    pub leave_out: Vec<String>,
    /// The time zone in which the day of a timestamp lies; by default that of asof.toml, or UTC
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// The first date; earlier versions count from then on [default: that of the first start]
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Option<Day>,
    /// The last date that the source knows, such as that of its last run [default: that of the
    /// last start or end]
    #[arg(long, value_parser = day, value_name = "DATE")]
    pub to: Option<Day>,
    /// Of which dates the lake is to know the table
    #[arg(long, value_name = "WHICH", default_value = "every")]
    pub dates: DatesArg,
    /// The format of the files, if neither their names nor their first bytes show it
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<FormatArg>,
    /// The table or view of the database [default: TABLE]
    #[arg(long, value_name = "NAME")]
    pub source_table: Option<String>,
    /// A query in the database's own SQL, instead of a table
    #[arg(long, value_name = "SQL", conflicts_with = "source_table")]
    pub query: Option<String>,
    /// Types of columns, such as zip=text,price='decimal(10, 2)'; overrides asof.toml
    #[arg(long, value_parser = column_types, value_name = "COLUMN=TYPE,...")]
    pub types: Option<ColumnTypes>,
    /// How the CSV of the source is written, such as 'delimiter=;,decimal=,'; overrides asof.toml
    #[arg(long, value_parser = csv, value_name = "SETTING=VALUE,...")]
    pub csv: Vec<Dialect>,
    /// Write the table to the lake; without it, asof only reports what it finds
    #[arg(long)]
    pub write: bool,
    /// Also write a copy of each date
    #[arg(long, requires = "write")]
    pub expand: bool,
}

impl AdoptArgs {
    /// The source that they name.
    pub fn given(&self) -> GivenSource {
        GivenSource {
            place: Some(self.source.clone()),
            format: self.source_format.map(Into::into),
            table: self.source_table.clone(),
            query: self.query.clone(),
            is_rows: false,
        }
    }
}

/// A tool that writes SCD type 2 tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    /// dbt snapshots: dbt_valid_from, dbt_valid_to
    Dbt,
    /// SQLMesh SCD_TYPE_2 models: valid_from, valid_to
    Sqlmesh,
    /// dlt with the strategy scd2: _dlt_valid_from, _dlt_valid_to
    Dlt,
    /// Fivetran history mode: _fivetran_start, _fivetran_end
    Fivetran,
}

impl From<PresetArg> for Scd2Preset {
    fn from(arg: PresetArg) -> Self {
        match arg {
            PresetArg::Dbt => Scd2Preset::Dbt,
            PresetArg::Sqlmesh => Scd2Preset::Sqlmesh,
            PresetArg::Dlt => Scd2Preset::Dlt,
            PresetArg::Fivetran => Scd2Preset::Fivetran,
        }
    }
}

/// Of which dates the lake is to know a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatesArg {
    /// Every day from the first to the last
    Every,
    /// The days on which something changed, and the last
    Changed,
}

impl From<DatesArg> for AdoptedDates {
    fn from(arg: DatesArg) -> Self {
        match arg {
            DatesArg::Every => AdoptedDates::Every,
            DatesArg::Changed => AdoptedDates::Changed,
        }
    }
}
