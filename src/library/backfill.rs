//! [`Job`]: what a backfill runs for each date.

use crate::commands::backfill::{AdHoc, BackfillOptions};
use crate::domain::join::JoinKind;

/// A job that is described in code rather than in `asof.toml`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Job(AdHoc);

impl Job {
    /// A join of events to a table on the table's key. `events` is the root of their files, or the
    /// name of events in `asof.toml`. By default each event is kept once, with the table's columns
    /// null where there is no row: [`JoinKind::Left`].
    pub fn join(events: impl Into<String>, table: impl Into<String>) -> Self {
        let mut described = AdHoc {
            events: Some(events.into()),
            ..AdHoc::default()
        };
        described.job.table = Some(table.into());
        described.job.how = Some(JoinKind::Left);
        Job(described)
    }

    /// A query over events and tables of `asof.toml`, in the SQL of DataFusion; `{date}` is the
    /// date. It needs the feature `sql`.
    pub fn sql(query: impl Into<String>) -> Self {
        let mut described = AdHoc::default();
        described.job.sql = Some(query.into());
        Job(described)
    }

    /// Sets the layout of the events' files, such as `year=%Y/month=%m/day=%d`.
    pub fn events_layout(self, layout: impl Into<String>) -> Self {
        self.with(|described| described.events_layout = Some(layout.into()))
    }

    /// Names the column that holds the date of each event, where no layout tells it.
    pub fn events_date_column(self, column: impl Into<String>) -> Self {
        self.with(|described| described.events_dates.column = Some(column.into()))
    }

    /// Sets the columns that are joined on, as pairs of the events' column and the table's.
    pub fn on<'a>(self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs
            .into_iter()
            .map(|(event, table)| format!("{event}={table}"));
        let pairs = pairs.collect();
        self.with(|described| described.job.on = pairs)
    }

    /// Sets what the join keeps.
    pub fn how(self, how: JoinKind) -> Self {
        self.with(|described| described.job.how = Some(how))
    }

    /// Sets a condition on the table's columns: rows that do not meet it count as absent. It needs
    /// the feature `sql`.
    pub fn condition(self, condition: impl Into<String>) -> Self {
        self.with(|described| described.job.condition = Some(condition.into()))
    }

    /// Sets which of the table's columns are added; by default all but the key.
    pub fn select<T: Into<String>>(self, columns: impl IntoIterator<Item = T>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        self.with(|described| described.job.select = columns)
    }

    /// Sets where the outputs go, one file per date: a folder or a URL.
    pub fn output(self, root: impl Into<String>) -> Self {
        self.with(|described| described.job.output = root.into())
    }

    /// Sets the layout of the outputs; by default that of the events.
    pub fn output_layout(self, layout: impl Into<String>) -> Self {
        self.with(|described| described.job.layout = Some(layout.into()))
    }

    fn with(mut self, change: impl FnOnce(&mut AdHoc)) -> Self {
        change(&mut self.0);
        self
    }

    /// The options of a backfill of this job.
    pub(super) fn described(&self, options: &BackfillOptions) -> BackfillOptions {
        BackfillOptions {
            ad_hoc: Some(self.0.clone()),
            ..options.clone()
        }
    }
}
