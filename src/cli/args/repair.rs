//! Arguments of `asof repair`.

use clap::Args;

use super::values::{day, latest_or_day};
use crate::model::Day;

/// `asof repair`
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// The dates of the copies that were replaced, dropped or added later [default: every date]
    #[arg(value_name = "DATE", value_parser = day, conflicts_with_all = ["from", "to"])]
    pub dates: Vec<Day>,
    /// The first date of a range of such copies, included [default: that of the first copy]
    #[arg(long, value_parser = day, value_name = "DATE", allow_hyphen_values = true)]
    pub from: Option<Day>,
    /// The last date of the range, included [default: that of the last copy]
    #[arg(long, value_parser = latest_or_day, value_name = "DATE")]
    pub to: Option<Day>,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}
