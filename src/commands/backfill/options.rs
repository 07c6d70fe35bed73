//! What the command line asks of a backfill.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};

use crate::commands::engine::Engine;
use crate::config::JobConfig;
use crate::domain::staleness::StateFilter;
use crate::engine::as_of::RowSource;
use crate::model::{DateRange, DaySpan};
use crate::source::Format;

/// What the command line asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackfillOptions {
    /// The dates.
    pub range: DateRange,
    /// Which of them; all if `None`. If some are left out, no orphaned output is removed.
    pub dates: Option<BTreeSet<NaiveDate>>,
    /// Which states are run.
    pub only: StateFilter,
    /// Where tables' rows come from.
    pub using: RowSource,
    /// What runs the job.
    pub engine: Engine,
    /// How many dates run in parallel; nothing for what suits the job.
    pub workers: Option<usize>,
    /// Overrules the tables' tolerance.
    pub tolerance: Option<DaySpan>,
    /// Overrules the tables' lag.
    pub lag: Option<DaySpan>,
    /// Whether nothing is run, and outputs that are stale because the job has changed are taken for
    /// outputs of the job of now.
    pub accept: bool,
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// The time at which the copies stood that are read; those of now if `None`. A job of the
    /// configuration then needs another place for its outputs.
    pub known_at: Option<DateTime<Utc>>,
    /// The root of the outputs of the one job that is named, in the place of its own.
    pub out: Option<String>,
    /// A job that the command line describes.
    pub ad_hoc: Option<AdHoc>,
}

impl BackfillOptions {
    /// All that has to be done in a range.
    pub(crate) fn of_range(range: DateRange) -> Self {
        BackfillOptions {
            range,
            dates: None,
            only: StateFilter::default(),
            using: RowSource::default(),
            engine: Engine::Local,
            workers: None,
            tolerance: None,
            lag: None,
            accept: false,
            dry_run: false,
            known_at: None,
            out: None,
            ad_hoc: None,
        }
    }

    /// Whether a date of the range is one of those that are run.
    pub(super) fn covers(&self, date: NaiveDate) -> bool {
        self.dates
            .as_ref()
            .is_none_or(|dates| dates.contains(&date))
    }
}

/// A job that is not in the configuration.
#[derive(Clone, Debug, Default)]
pub struct AdHoc {
    /// The root of the events, or the name of configured ones.
    pub events: Option<String>,
    /// Their layout.
    pub events_layout: Option<String>,
    /// The column that holds their dates.
    pub events_dates: DatesInColumn,
    /// Their format.
    pub events_format: Option<Format>,
    /// The rest, as the configuration would have it, with paths from the current folder.
    pub job: JobConfig,
}

/// A column of dates that the command line names.
#[derive(Clone, Debug, Default)]
pub struct DatesInColumn {
    /// Its name, if one is named.
    pub column: Option<String>,
    /// The format of its text.
    pub format: Option<String>,
    /// The zone in which the day of its instants lies.
    pub timezone: Option<String>,
}
