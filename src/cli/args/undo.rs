//! Arguments of the commands that undo.

use clap::Args;

use super::values::day;
use crate::model::Day;

/// `asof drop`
#[derive(Debug, Args)]
pub struct DropArgs {
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The date of the copy
    #[arg(value_name = "DATE", value_parser = day)]
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
    /// The date of the copy
    #[arg(value_name = "DATE", value_parser = day)]
    pub date: Day,
    /// Which copy, if several were put aside: when that was, such as 20240913T020000Z
    #[arg(long, value_name = "WHEN")]
    pub copy: Option<String>,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}
