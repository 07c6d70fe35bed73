//! Arguments of the commands that undo.

use clap::Args;

use super::values::latest_or_day;
use crate::model::Day;

/// `asof drop`
#[derive(Debug, Args)]
pub struct DropArgs {
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The date of the copy; latest is the latest one that there is
    #[arg(value_name = "DATE", value_parser = latest_or_day)]
    pub date: Day,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// `asof restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The date of the copy; latest is the latest one without a snapshot that has a copy to restore
    #[arg(value_name = "DATE", value_parser = latest_or_day)]
    pub date: Day,
    /// Which copy, if several were put aside: when that was, such as 20240913T020000Z
    #[arg(long, value_name = "WHEN")]
    pub copy: Option<String>,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}
