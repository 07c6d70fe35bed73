//! `asof report`: everything that is known of a lake over time, for one page.
//!
//! What is read: what `status` reads, which is listings, the footers of snapshots, intervals and
//! outputs; the rows of the intervals, once, for what changed on each day; and recorded changes of
//! the days that the intervals do not have. Snapshots are not decoded. So a day of which neither
//! intervals nor recorded changes tell is unknown, and the report says so.
//!
//! Memory: a few words a date, a batch of intervals a thread, and a row for each key that changed,
//! up to an eighth of `--memory`.

mod attention;
mod changes;
mod coverage;
#[cfg(feature = "frames")]
mod most_changed;
#[cfg(test)]
mod tests;
mod volume;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use self::attention::attention_of_failure;
pub use self::attention::{attention_of_job, attention_of_table};
use self::changes::{TableChanges, changes_of};
use self::coverage::coverage_of;
use self::volume::days_of;
use super::Workspace;
use super::forbidden_places::Destination;
use super::job_status::{JobStatus, job_status};
use super::schema::{ColumnHistory, column_histories};
use super::status::TableLook;
use crate::error::{Error, Result};
use crate::model::{DateRange, TableName};
use crate::storage::lake::commit::{Staged, sweep, write_error};
use crate::storage::lake::location::Location;

/// The version of the JSON document.
const VERSION: u32 = 1;

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct LakeReportOptions {
    /// The tables and jobs; empty for all.
    pub names: Vec<String>,
}

/// A lake over time.
#[derive(Clone, Debug, Serialize)]
pub struct LakeReport {
    /// The version of this document.
    pub report_version: u32,
    /// The program that made it.
    pub asof_version: &'static str,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// The date that it was then, in the zone of the configuration.
    pub today: NaiveDate,
    /// The lake; none if only external tables are reported.
    pub lake: Option<String>,
    /// Whether nothing needs attention.
    pub is_up_to_date: bool,
    /// What needs attention, by table and job.
    pub attention: Vec<Attention>,
    /// The tables.
    pub tables: Vec<TableHistoryReport>,
    /// The jobs.
    pub jobs: Vec<JobHistoryReport>,
}

/// What a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// The table or job.
    pub of: String,
    /// Whether it is a table or a job.
    pub part: AttentionPart,
    /// What kind of thing it is.
    pub kind: AttentionKind,
    /// The dates, from the first to the last; none of a table or job as a whole.
    #[serde(flatten)]
    pub range: Option<DateRange>,
    /// How many dates these are.
    pub dates: u64,
    /// What is the matter, in words.
    pub what: String,
    /// The command to run, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub try_with: Option<String>,
}

/// What needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionPart {
    /// A table.
    Table,
    /// A job.
    Job,
}

/// Why something needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionKind {
    /// An object cannot be read.
    Unreadable,
    /// A check refused the copy of a date, and the date has no other.
    Refused,
    /// Snapshots were rewritten since they were compacted.
    Rewritten,
    /// Snapshots were dropped since they were compacted.
    Dropped,
    /// Declared types have changed since the compaction.
    Retyped,
    /// Snapshots are not compacted yet.
    NotCompacted,
    /// Outputs are out of date.
    Stale,
    /// Outputs are missing.
    Missing,
    /// Outputs failed.
    Failed,
    /// Outputs whose events are gone.
    Orphaned,
}

/// One table over time.
#[derive(Clone, Debug, Serialize)]
pub struct TableHistoryReport {
    /// The table.
    pub table: TableName,
    /// Its key.
    pub key: Vec<String>,
    /// Whether its snapshots are asof's own, or another tool's.
    pub own: bool,
    /// The root of its snapshots.
    pub root: String,
    /// The first observed date.
    pub first: Option<NaiveDate>,
    /// The last observed date.
    pub last: Option<NaiveDate>,
    /// How many days ago that was; negative for a date to come.
    pub age_days: Option<i64>,
    /// Whether nothing of it needs attention.
    pub is_up_to_date: bool,
    /// How many dates are observed.
    pub observed: u64,
    /// How many of them have a snapshot.
    pub snapshots: u64,
    /// How many of them only the intervals have.
    pub derived: u64,
    /// How many dates between the first and the last are not observed.
    pub gap_days: u64,
    /// The rows on the last observed date, if they are known.
    pub rows: Option<u64>,
    /// The size of the snapshots.
    pub bytes: u64,
    /// The intervals.
    pub intervals: Option<IntervalsVolume>,
    /// What pruning has saved.
    pub pruned: PrunedVolume,
    /// The state of each date from the first to the last, in runs.
    pub coverage: Vec<CoverageRun>,
    /// What is known of each observed date, a list for each column.
    pub days: DaysTable,
    /// How many of those dates it is unknown for what changed, of all but the first.
    pub unknown_days: u64,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_because: Option<String>,
    /// The columns that are not compared, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<String>,
    /// The columns in which most rows changed; none if this build lacks the feature `frames`.
    pub most_changed_columns: Option<Vec<ChangedColumn>>,
    /// The keys that changed on most dates; none if this build lacks the feature `frames`, or if
    /// more keys changed than fit into memory.
    pub most_changed_keys: Option<Vec<ChangedKey>>,
    /// The history of each column.
    pub columns: Vec<ColumnHistory>,
}

/// The size of a table's intervals.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct IntervalsVolume {
    /// How many there are.
    pub intervals: u64,
    /// How many dates they stand for.
    pub dates: u64,
    /// Their size.
    pub bytes: u64,
}

/// What pruning has saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PrunedVolume {
    /// How many snapshots were deleted, since the intervals give them back.
    pub snapshots: u64,
    /// The size that they had.
    pub bytes: u64,
    /// How many of them were deleted by an earlier program, which did not record their size.
    pub of_unknown_size: u64,
}

/// What there is of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CoverageState {
    /// A snapshot, as it was first published.
    Observed,
    /// A snapshot that replaced another one of its date.
    Rewritten,
    /// No snapshot any more, but the intervals give it back.
    Derived,
    /// A snapshot that cannot be read.
    Unreadable,
    /// Only a copy that a check refused.
    Refused,
    /// Nothing.
    Gap,
}

/// Dates in a row that are in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CoverageRun {
    /// The state.
    pub state: CoverageState,
    /// The dates.
    #[serde(flatten)]
    pub range: DateRange,
}

/// The observed dates of a table: columns of one length, of which `null` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DaysTable {
    /// The dates, ascending.
    pub date: Vec<NaiveDate>,
    /// The rows.
    pub rows: Vec<Option<u64>>,
    /// The size of the snapshot; unknown where there is none.
    pub bytes: Vec<Option<u64>>,
    /// The size that the snapshot had when it was pruned; left out if none was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pruned_bytes: Vec<Option<u64>>,
    /// Keys that the observed date before did not have.
    pub added: Vec<Option<u64>>,
    /// Keys whose rows are not the same as on the observed date before.
    pub changed: Vec<Option<u64>>,
    /// Keys that only the observed date before had.
    pub removed: Vec<Option<u64>>,
}

/// How often a column changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedColumn {
    /// The column.
    pub name: String,
    /// In how many changed rows its values differ, over all dates.
    pub changed: u64,
    /// The last date on which one did.
    pub last_date: NaiveDate,
}

/// How often a key changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedKey {
    /// The key, a value a column.
    pub key: Vec<String>,
    /// On how many dates it was added, changed or removed.
    pub changes: u64,
    /// The last of them.
    pub last_date: NaiveDate,
}

/// One job over time.
#[derive(Clone, Debug, Serialize)]
pub struct JobHistoryReport {
    /// The job.
    pub job: String,
    /// Where its dates stand; none if it cannot be planned.
    #[serde(flatten)]
    pub status: Option<JobStatus>,
    /// Why it cannot be planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Makes the report.
///
/// # Errors
/// A usage error for a name that is neither a table nor a job, and what concerns a table as a
/// whole. An object that cannot be read stands in the report.
pub fn report(workspace: &Workspace<'_>, options: &LakeReportOptions) -> Result<LakeReport> {
    let configured = &workspace.config.jobs;
    let (jobs, tables): (Vec<&String>, Vec<String>) = match options.names.is_empty() {
        true => (configured.keys().collect(), Vec::new()),
        false => (
            options
                .names
                .iter()
                .filter(|name| configured.contains_key(*name))
                .collect(),
            options
                .names
                .iter()
                .filter(|name| !configured.contains_key(*name))
                .cloned()
                .collect(),
        ),
    };
    let names = match options.names.is_empty() || !tables.is_empty() {
        true => workspace.tables(&tables)?,
        false => Vec::new(),
    };
    let total = (names.len() + jobs.len()) as u64;
    let mut report = LakeReport {
        report_version: VERSION,
        asof_version: env!("CARGO_PKG_VERSION"),
        made_at: workspace.clock.now(),
        today: workspace.clock.today(),
        lake: match workspace.has_lake() {
            true => Some(workspace.shown(workspace.lake()?.root())),
            false => None,
        },
        is_up_to_date: true,
        attention: Vec::new(),
        tables: Vec::new(),
        jobs: Vec::new(),
    };
    for (done, name) in names.iter().enumerate() {
        workspace.progress.step("report", done as u64, total);
        report.add_table(workspace, name)?;
    }
    for (done, name) in jobs.into_iter().enumerate() {
        workspace
            .progress
            .step("report", (names.len() + done) as u64, total);
        report.add_job(workspace, name);
    }
    workspace.progress.step("report", total, total);
    Ok(report)
}

impl LakeReport {
    fn add_table(&mut self, workspace: &Workspace<'_>, name: &TableName) -> Result<()> {
        let mut look = TableLook::at(workspace, name)?;
        let changes = changes_of(&look, workspace.memory)?;
        look.status.unreadable.extend(changes.unreadable.clone());
        let attention = attention_of_table(&look.status);
        let table = table(&look, changes, self.today)?;
        self.is_up_to_date &= table.is_up_to_date;
        self.attention.extend(attention);
        self.tables.push(table);
        Ok(())
    }

    fn add_job(&mut self, workspace: &Workspace<'_>, name: &str) {
        let (status, error) = match job_status(workspace, name, None, None) {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut attention: Vec<Attention> = status.iter().flat_map(attention_of_job).collect();
        attention.extend(error.iter().map(|error| attention_of_failure(name, error)));
        self.is_up_to_date &= attention.is_empty();
        self.attention.extend(attention);
        self.jobs.push(JobHistoryReport {
            job: name.to_owned(),
            status,
            error,
        });
    }
}

fn table(look: &TableLook, changes: TableChanges, today: NaiveDate) -> Result<TableHistoryReport> {
    let TableLook {
        inventory, status, ..
    } = look;
    let intervals = inventory.intervals.as_ref().ok().and_then(Option::as_ref);
    let is_compacted = |date: &NaiveDate| {
        let footer = look.footers.get(date);
        let known = intervals.and_then(|intervals| intervals.snapshot(*date));
        footer
            .zip(known)
            .is_some_and(|(footer, known)| known.is(footer.fingerprint))
    };
    let (days, pruned) = days_of(look, &changes.by_date);
    Ok(TableHistoryReport {
        table: status.table.clone(),
        key: status.key.clone(),
        own: status.own,
        root: status.root.clone(),
        first: status.first,
        last: status.last,
        age_days: status.last.map(|last| (today - last).num_days()),
        is_up_to_date: status.is_up_to_date(),
        observed: status.observed.len() as u64,
        snapshots: status.snapshots,
        derived: status.pruned.len() as u64,
        gap_days: status.missing_days,
        rows: days.rows.last().copied().flatten(),
        bytes: status.bytes,
        intervals: status.intervals.as_ref().map(|intervals| IntervalsVolume {
            intervals: intervals.intervals,
            dates: intervals.snapshots,
            bytes: intervals.bytes,
        }),
        pruned,
        coverage: coverage_of(look)?,
        unknown_days: days
            .added
            .iter()
            .skip(1)
            .filter(|added| added.is_none())
            .count() as u64,
        unknown_because: changes.unknown_because,
        not_compared: changes.not_compared,
        most_changed_columns: changes.columns,
        most_changed_keys: changes.keys,
        columns: column_histories(inventory, is_compacted)?,
        days,
    })
}

/// A place where a page may be written.
///
/// # Errors
/// A usage error for a place in the lake, in an external table or among events, or a name that does
/// not end in `.html`.
pub fn page_target(workspace: &Workspace<'_>, out: &str) -> Result<Location> {
    let place = workspace.here(out)?;
    if !["html", "htm"].contains(&place.ending().as_str()) {
        let what = format!("the name of '{out}' does not end in .html");
        return Err(Error::usage(what).hint("--out FILE.html"));
    }
    let destination = Destination {
        place: &place,
        object: &place,
        what: "the page",
        hint: "--out FILE.html, in another folder",
    };
    destination.check_tables(workspace)?;
    destination.check_configured_events(workspace)?;
    Ok(place)
}

/// Writes a page, in the place of the one that is there.
///
/// # Errors
/// A failure of the disk or the store; the page that was there is then unchanged.
pub fn write_page(workspace: &Workspace<'_>, place: &Location, page: &str) -> Result<()> {
    if let Some(folder) = place.parent() {
        sweep(&folder, workspace.clock.now());
    }
    let staged = Staged::create(place)?;
    std::io::Write::write_all(&mut staged.writer()?, page.as_bytes())
        .map_err(|error| write_error(error, place))?;
    staged.publish_over().map(|_| ())
}
