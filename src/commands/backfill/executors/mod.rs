//! Executors: what computes the rows of a date once the job is bound to it.
//!
//! | executor | what it is told | where it runs |
//! | --- | --- | --- |
//! | [`LocalSql`](sql::LocalSql) | a query, relations opened as batches | this process, by DataFusion |
//! | [`LocalJoin`](join::LocalJoin) | events, and a build side for many dates | this process |
//! | [`ExternalCommand`](command::ExternalCommand) | places of files, in its environment | a process of its own |
//! | `SparkExecutor` | places of files, and a query over them | a cluster |
//!
//! Planning, staleness, the comparison of schemas, the footer and the atomic publication are the
//! same for all of them: an executor only fills a [`DateOutput`].
//!
//! Spark writes the rows itself, and the output is told of its files.

pub(super) mod command;
pub(super) mod input_files;
mod join;
#[cfg(feature = "spark")]
mod spark;
#[cfg(feature = "spark")]
mod spark_join;
#[cfg(feature = "spark")]
mod spark_relations;
#[cfg(feature = "sql")]
mod sql;

use std::collections::BTreeMap;

use chrono::NaiveDate;

use self::command::ExternalCommand;
use self::join::LocalJoin;
#[cfg(feature = "sql")]
use self::sql::LocalSql;
use super::bound::BoundJob;
use super::job::{ResolvedJob, Work};
use super::output::DateOutput;
use super::report::ServedBy;
use crate::commands::Workspace;
#[cfg(feature = "spark")]
use crate::commands::engine::connect;
#[cfg(not(feature = "spark"))]
use crate::commands::engine::no_spark;
use crate::error::Result;
use crate::model::TableName;
use crate::secret::Secret;

/// What an executor tells of a date, as far as it came.
#[derive(Default)]
pub(super) struct Execution {
    /// Where the rows of each table came from.
    pub(super) using: BTreeMap<String, ServedBy>,
    /// The events that were read, if it was a join.
    pub(super) events: Option<u64>,
    /// Those of them that met a row.
    pub(super) matched: Option<u64>,
}

impl Execution {
    /// Notes where rows of a table came from; a table that intervals served once was served by
    /// intervals.
    fn note(&mut self, table: &TableName, by: ServedBy) {
        let noted = self.using.entry(table.to_string()).or_insert(by);
        if by == ServedBy::Intervals {
            *noted = by;
        }
    }
}

/// Computes the rows of dates, of many in parallel.
pub(super) trait Executor: Sync {
    /// Checks the job against the columns and types of the date's inputs, and reads no more of
    /// them than it needs for that.
    ///
    /// # Errors
    /// What [`execute`](Executor::execute) would fail with before it computes a row.
    fn check(&self, bound: &BoundJob<'_>, told: &mut Execution) -> Result<()>;

    /// Writes the date's rows to its output.
    ///
    /// # Errors
    /// Whatever keeps the rows from being computed; nothing is published then.
    fn execute(
        &self,
        bound: &BoundJob<'_>,
        output: &mut DateOutput<'_>,
        told: &mut Execution,
    ) -> Result<()>;

    /// Tells the executor that `date` is run now, and `later` will be.
    fn prepare(&self, _date: NaiveDate, _later: NaiveDate) {}

    /// Tells the executor that a date needs nothing any more.
    fn finished(&self, _date: NaiveDate) {}
}

/// The executor of a job on a cluster.
///
/// # Errors
/// A usage error for a job that a cluster cannot run; a failure to connect.
#[cfg(feature = "spark")]
pub(super) fn on_spark<'a>(
    job: &'a ResolvedJob,
    workspace: &'a Workspace<'a>,
    remote: Option<&Secret>,
) -> Result<Box<dyn Executor + 'a>> {
    let server = connect(workspace, remote)?;
    let executor = spark::SparkExecutor::new(job, server, workspace.progress)?;
    Ok(Box::new(executor))
}

/// The executor of a job on a cluster, which this program was built without.
///
/// # Errors
/// The refusal.
#[cfg(not(feature = "spark"))]
pub(super) fn on_spark<'a>(
    _: &'a ResolvedJob,
    _: &'a Workspace<'a>,
    _: Option<&Secret>,
) -> Result<Box<dyn Executor + 'a>> {
    Err(no_spark())
}

/// The executor of a job on this machine, for the dates that are to be run.
pub(super) fn local<'a>(
    job: &'a ResolvedJob,
    workspace: &'a Workspace<'a>,
    dates: &[NaiveDate],
    many: bool,
    workers: usize,
) -> Box<dyn Executor + 'a> {
    match &job.work {
        #[cfg(feature = "sql")]
        Work::Sql(query) => Box::new(LocalSql::new(query, workspace.memory, workers)),
        Work::Join(spec, table) => Box::new(LocalJoin::new(
            job,
            spec,
            table,
            dates,
            many,
            workers,
            workspace.memory,
        )),
        Work::Command(work) => Box::new(ExternalCommand::new(work, workspace.progress)),
    }
}
