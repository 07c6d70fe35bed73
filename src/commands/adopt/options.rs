//! What `asof adopt` is asked for.

use chrono::NaiveDate;
use serde::Serialize;

use crate::commands::sources::GivenSource;
use crate::domain::scd2::Scd2Preset;

/// Of which dates the lake is to know the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptedDates {
    /// Every day.
    #[default]
    Every,
    /// The days on which something changed, and the last.
    Changed,
}

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AdoptOptions {
    /// The table that it becomes.
    pub table: String,
    /// Where the versions are.
    pub source: GivenSource,
    /// The tool that wrote them.
    pub preset: Option<Scd2Preset>,
    /// The key columns.
    pub key: Vec<String>,
    /// The column of beginnings.
    pub start_column: Option<String>,
    /// The column of ends.
    pub end_column: Option<String>,
    /// Whether the end is the last day or instant of a version (`inclusive`), or the first one after
    /// it (`exclusive`).
    pub end: Option<String>,
    /// Ends on this date or later are open.
    pub open_end: Option<NaiveDate>,
    /// The column that marks records of deletions.
    pub deleted_column: Option<String>,
    /// Columns that are not attributes of the table's rows.
    pub leave_out: Vec<String>,
    /// The time zone of days.
    pub timezone: Option<String>,
    /// The first date.
    pub from: Option<NaiveDate>,
    /// The last date, after which nothing is known.
    pub to: Option<NaiveDate>,
    /// Of which dates the lake is to know the table.
    pub dates: AdoptedDates,
    /// Whether the table is to be written.
    pub write: bool,
    /// Whether a copy of each date is to be written, too.
    pub expand: bool,
}
