//! Arguments of `asof prune`.

use clap::Args;

use super::values::{keep_count, keep_span};
use crate::domain::retention::{KeepCount, KeepRules, KeepSpan};

/// `asof prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The tables; by default all for which asof.toml says which copies to keep
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Keep the last N copies, or unlimited; any --keep option replaces the keep of asof.toml
    #[arg(long, value_name = "N", value_parser = keep_count)]
    pub keep_last: Option<KeepCount>,
    /// Keep the last copy of each of the last N days that have one
    #[arg(long, value_name = "N", value_parser = keep_count)]
    pub keep_daily: Option<KeepCount>,
    /// Keep the last copy of each of the last N weeks that have one
    #[arg(long, value_name = "N", value_parser = keep_count)]
    pub keep_weekly: Option<KeepCount>,
    /// Keep the last copy of each of the last N months that have one
    #[arg(long, value_name = "N", value_parser = keep_count)]
    pub keep_monthly: Option<KeepCount>,
    /// Keep the last copy of each of the last N years that have one
    #[arg(long, value_name = "N", value_parser = keep_count)]
    pub keep_yearly: Option<KeepCount>,
    /// Keep all copies of this span before the newest, such as 90d, 2w, 6m or 1y6m
    #[arg(long, value_name = "SPAN", value_parser = keep_span)]
    pub keep_within: Option<KeepSpan>,
    /// Delete copies that were replaced, but those replaced within --keep-within; without a --keep
    /// option, no snapshots
    #[arg(long)]
    pub superseded: bool,
    /// Delete refused copies of dates that have a snapshot, and damaged ones; without a --keep
    /// option, no snapshots
    #[arg(long)]
    pub refused: bool,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

impl PruneArgs {
    /// The rules that the options give.
    pub fn keep(&self) -> KeepRules {
        KeepRules {
            last: self.keep_last,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
        }
    }
}
