//! How an embedder sets options: each method sets one and returns them.

use chrono::NaiveDate;

use crate::commands::backfill::BackfillOptions;
use crate::commands::compact::CompactOptions;
use crate::commands::engine::Engine;
use crate::commands::snapshot::{IfExists, SnapshotOptions};
use crate::domain::staleness::StateFilter;
use crate::error::Result;
use crate::model::{DateRange, DaySpan};

impl SnapshotOptions {
    /// Options with every default: today's date, and source and key as `asof.toml` says.
    #[must_use]
    pub fn new() -> Self {
        SnapshotOptions::default()
    }

    /// Sets the label; by default today's date in the time zone of `asof.toml`, or else in UTC.
    #[must_use]
    pub fn date(mut self, date: NaiveDate) -> Self {
        self.date = Some(date);
        self
    }

    /// Sets where the rows are: a file, a pattern or a URL, which may be that of a database.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source.place = Some(source.into());
        self
    }

    /// Sets the table of the database, if it has another name than the table in the lake.
    #[must_use]
    pub fn source_table(mut self, table: impl Into<String>) -> Self {
        self.source.table = Some(table.into());
        self
    }

    /// Sets a query of the database, in place of a table.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.source.query = Some(query.into());
        self
    }

    /// Sets the columns that identify a row.
    #[must_use]
    pub fn key<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what happens to a snapshot that the date has.
    #[must_use]
    pub fn if_exists(mut self, what: IfExists) -> Self {
        self.if_exists = what;
        self
    }

    /// States that the source really holds the state of a past date.
    #[must_use]
    pub fn backdate(mut self, backdate: bool) -> Self {
        self.backdate = backdate;
        self
    }

    /// Overrides the guards; the snapshot records which.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Checks everything and publishes nothing.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

impl CompactOptions {
    /// Options with every default: all snapshots, as `asof.toml` and the intervals that exist say.
    #[must_use]
    pub fn new() -> Self {
        CompactOptions::default()
    }

    /// Sets the file or URL that the intervals go to, instead of their place in the lake.
    #[must_use]
    pub fn out(mut self, out: impl Into<String>) -> Self {
        self.out = Some(out.into());
        self
    }

    /// Reads every snapshot again, whatever intervals exist.
    #[must_use]
    pub fn full(mut self, full: bool) -> Self {
        self.full = full;
        self
    }

    /// Sets what compares the copies.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Plans and writes nothing.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

impl BackfillOptions {
    /// Options for the dates from the first to the last, both included, with every default: dates
    /// that are missing, stale or failed are run.
    ///
    /// # Errors
    /// A [`Usage`](crate::Kind::Usage) error if the last date is before the first.
    pub fn between(from: NaiveDate, to: NaiveDate) -> Result<Self> {
        Ok(BackfillOptions::of_range(DateRange::new(from, to)?))
    }

    /// Sets which dates are run, by the state of their output.
    #[must_use]
    pub fn only(mut self, states: StateFilter) -> Self {
        self.only = states;
        self
    }

    /// Sets what runs the jobs.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Sets how many days older than its label a snapshot may be.
    #[must_use]
    pub fn tolerance(mut self, days: u32) -> Self {
        self.tolerance = Some(DaySpan(days));
        self
    }

    /// Sets how many days before the events' date the label lies.
    #[must_use]
    pub fn lag(mut self, days: u32) -> Self {
        self.lag = Some(DaySpan(days));
        self
    }

    /// Sets how many dates run in parallel.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// Plans and writes nothing.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}
