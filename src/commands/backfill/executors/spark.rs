//! Spark as an executor: asof binds a job to a date, and the cluster reads, computes and writes.
//!
//! For each date there is a session of its own, with the job's relations as views
//! ([`SparkViews`]). The query, or the join as a query, is planned first, and its columns are
//! compared with those of other outputs. Then Spark writes its rows as Parquet files into the
//! date's folder, under names that tell the run. Last come the removal of what these files replace,
//! and `_asof.json` ([`DateOutput::take_folder`]). A run that does not come that far leaves files
//! that no `_asof.json` names: the date counts as missing, and the next run removes them.
//!
//! Memory: of this process, the rows of relations that are sent along.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::spark_join::plan_join;
use super::spark_relations::{SparkRows, SparkViews};
use super::{Execution, Executor};
use crate::commands::Progress;
use crate::commands::backfill::bound::{BoundJob, BoundTable, RelationRows};
use crate::commands::backfill::job::{ResolvedJob, Work};
use crate::commands::backfill::job_output::{engine_prefix, open_all, remove_file};
use crate::commands::backfill::output::{AdmittedColumns, DateOutput, WrittenFolder};
use crate::domain::placeholders::JobDay;
use crate::domain::placeholders::sql::{SqlOf, bind};
use crate::engine::spark::{
    SparkRelation, SparkServer, SparkSession, SparkWrite, refuse_nondeterministic, spark_name,
    spark_text, spark_type,
};
use crate::error::{Error, Result};
use crate::storage::lake::folders::Entry;
use crate::storage::lake::location::{Location, Object};

/// Where Spark puts files until all of a job's are written.
const TEMPORARY: &str = "_temporary";
/// After a failure, asof checks at most so many times whether Spark has removed that folder.
const ATTEMPTS: usize = 40;
/// How long asof waits between two checks.
const STEP: Duration = Duration::from_millis(50);
/// So many checks in a row must find it removed: a task that still runs can make it again.
const SETTLED: usize = 4;

/// Runs a job's dates on a cluster.
pub(super) struct SparkExecutor<'a> {
    job: &'a ResolvedJob,
    server: SparkServer,
    progress: &'a dyn Progress,
}

/// A date's query, planned.
pub(super) struct PlannedQuery {
    pub(super) sql: String,
    pub(super) schema: SchemaRef,
    /// How many rows it must give, if that is known.
    pub(super) rows: Option<u64>,
    /// The columns of what it reads, as outputs name them.
    pub(super) sources: Vec<(String, SchemaRef)>,
}

impl<'a> SparkExecutor<'a> {
    /// An executor of a job.
    ///
    /// # Errors
    /// A usage error for a job that is a program, or whose layout names a file for each date.
    pub(super) fn new(
        job: &'a ResolvedJob,
        server: SparkServer,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        if matches!(job.work, Work::Command(_)) {
            let what = format!("job {} is a command, which Spark cannot run", job.name);
            return Err(Error::usage(what).hint("run it on this machine: --engine local"));
        }
        if job.layout.to_string().ends_with(".parquet") {
            let what = format!(
                "the layout '{}' names one file for each date, and Spark writes a folder",
                job.layout
            );
            return Err(Error::usage(what).hint("layout = \"date=%Y-%m-%d\" in asof.toml"));
        }
        Ok(SparkExecutor {
            job,
            server,
            progress,
        })
    }

    fn session(&self) -> Result<SparkSession<'_>> {
        self.server.session()
    }

    /// Names what the job reads, and plans its query.
    fn plan(
        &self,
        session: &SparkSession<'_>,
        bound: &BoundJob<'_>,
        told: &mut Execution,
    ) -> Result<PlannedQuery> {
        let path = |location: &Location| self.server.remote().path(location);
        let views = SparkViews::new(session, &path);
        match &self.job.work {
            Work::Sql(sql) => self.plan_sql(sql, session, &views, bound, told),
            Work::Join(spec, _) => plan_join(spec, session, &views, bound, told),
            Work::Command(_) => Err(Error::internal("Spark cannot run a command")),
        }
    }

    fn plan_sql(
        &self,
        sql: &str,
        session: &SparkSession<'_>,
        views: &SparkViews<'_>,
        bound: &BoundJob<'_>,
        told: &mut Execution,
    ) -> Result<PlannedQuery> {
        let day = JobDay {
            date: bound.date,
            zone: self.job.zone,
        };
        let sql = bind(sql, day, SqlOf::JobOnSpark)?;
        refuse_nondeterministic(&sql)?;
        let mut sources = Vec::new();
        let mut tables: Vec<(&str, &BoundTable<'_>, SparkRows)> = Vec::new();
        for relation in &bound.relations {
            let name = relation.relation.name.as_str();
            let rows = match &relation.rows {
                RelationRows::Events(events) => {
                    let rows = views.events(events, None, None)?;
                    sources.push((
                        format!("events.{}", events.source.name),
                        rows.schema.clone(),
                    ));
                    rows
                }
                RelationRows::Table(table) => {
                    let rows = views.table(table, told)?;
                    sources.push((format!("tables.{}", table.name), rows.schema.clone()));
                    views.name(name, &rows)?;
                    tables.push((name, table, rows));
                    continue;
                }
            };
            views.name(name, &rows)?;
        }
        let relation = SparkRelation::sql(sql.clone());
        let schema = session.columns(&relation).or_else(|error| {
            // A query may name columns that its tables had on other dates only.
            match add_absent_columns(&sql, views, &tables)? {
                true => session.columns(&relation),
                false => Err(error),
            }
        })?;
        Ok(PlannedQuery {
            sql,
            schema,
            rows: None,
            sources,
        })
    }

    /// Writes the planned query's rows to the date's folder.
    fn write(
        &self,
        session: &SparkSession<'_>,
        bound: &BoundJob<'_>,
        query: &PlannedQuery,
        admitted: AdmittedColumns,
    ) -> Result<WrittenFolder> {
        let folder = bound.output.parent();
        let folder = folder.ok_or_else(|| Error::internal("the output has no folder"))?;
        let prefix = engine_prefix(&bound.output, RandomState::new().hash_one(bound.date));
        let write = SparkWrite {
            rows: &SparkRelation::sql(of_columns(query, &admitted)),
            folder: &self.server.remote().path(&folder)?,
            prefix: &prefix,
        };
        let doing = format!("{} {}", self.job.name, bound.date);
        let mut tell = |done, all| self.progress.step(&doing, done, all);
        let written = session.write(&write, &mut tell);
        let files: Vec<Object> = self.job.standing(bound.date)?;
        let is_new = |file: &Object| file.location.name().starts_with(&prefix);
        let files: Vec<Object> = files.into_iter().filter(is_new).collect();
        let taken = written.and_then(|()| {
            if files.is_empty() {
                let what = format!(
                    "Spark wrote its files where asof does not find them: '{}'",
                    write.folder
                );
                return Err(Error::refused(what)
                    .hint("[spark] paths in asof.toml says how Spark names asof's places"));
            }
            let opened = open_all(&files)?;
            let rows: Vec<u64> = opened.iter().map(|object| object.rows()).collect();
            let written: u64 = rows.iter().sum();
            if let Some(wanted) = query.rows.filter(|wanted| *wanted != written) {
                return Err(Error::io(format!(
                    "a left join of {wanted} events gave {written} rows on Spark"
                ))
                .hint("run the same command again"));
            }
            Ok(WrittenFolder {
                engine: format!("spark {}", self.server.version),
                schema: match opened.first() {
                    Some(file) => with_untyped(file.schema(), &admitted.schema),
                    None => admitted.schema,
                },
                files: files.iter().cloned().zip(rows).collect(),
                left_to_path: admitted.columns.names().map(str::to_owned).collect(),
            })
        });
        taken.inspect_err(|_| self.tidy_up(bound, &folder, &files))
    }

    /// Removes what a run wrote that failed, and the folder if nothing was there before.
    fn tidy_up(&self, bound: &BoundJob<'_>, folder: &Location, files: &[Object]) {
        for file in files {
            let _ = remove_file(file);
        }
        let mut removed = 0;
        for _ in 0..ATTEMPTS {
            bound.output.remove_empty_folders(&self.job.output);
            // Spark tells of the failure, and then stops its tasks and removes its own folder.
            let is_spark_s = |entries: Vec<Entry>| {
                !entries.is_empty() && entries.iter().all(|entry| entry.name == TEMPORARY)
            };
            match folder.entries().is_ok_and(is_spark_s) {
                true => removed = 0,
                false => removed += 1,
            }
            if removed == SETTLED {
                break;
            }
            std::thread::sleep(STEP);
        }
    }
}

impl Executor for SparkExecutor<'_> {
    fn check(&self, bound: &BoundJob<'_>, told: &mut Execution) -> Result<()> {
        let session = self.session()?;
        self.plan(&session, bound, told).map(|_| ())
    }

    fn execute(
        &self,
        bound: &BoundJob<'_>,
        output: &mut DateOutput<'_>,
        told: &mut Execution,
    ) -> Result<()> {
        let session = self.session()?;
        let query = self.plan(&session, bound, told)?;
        output.sources.extend(query.sources.iter().cloned());
        let admitted = output.admit(&query.schema)?;
        let written = self.write(&session, bound, &query, admitted)?;
        output.take_folder(written);
        Ok(())
    }
}

/// Adds to the views of tables the columns that the query names and that were absent on the date.
/// Returns whether there were any.
fn add_absent_columns(
    sql: &str,
    views: &SparkViews<'_>,
    tables: &[(&str, &BoundTable<'_>, SparkRows)],
) -> Result<bool> {
    let sql = sql.to_lowercase();
    let mut found = false;
    for (name, table, rows) in tables {
        let every = table.every_column()?;
        let is_named = |field: &&Arc<Field>| {
            rows.schema.field_with_name(field.name()).is_err()
                && sql.contains(&field.name().to_lowercase())
        };
        let absent: Vec<String> = every
            .fields()
            .iter()
            .filter(is_named)
            .filter_map(|field| {
                let of = spark_type(field.data_type())?;
                Some(format!(
                    "CAST(NULL AS {of}) AS {}",
                    spark_name(field.name())
                ))
            })
            .collect();
        if !absent.is_empty() {
            found = true;
            let with_them = SparkRows {
                schema: rows.schema.clone(),
                count: None,
                sql: format!("SELECT *, {} FROM ({})", absent.join(", "), rows.sql),
            };
            views.name(name, &with_them)?;
        }
    }
    Ok(found)
}

/// The columns of files, with those that have no type yet: Spark writes text in the place of what
/// has none, as asof does.
fn with_untyped(files: &SchemaRef, admitted: &SchemaRef) -> SchemaRef {
    let fields = files.fields().iter().map(|field| {
        let is_untyped = admitted
            .field_with_name(field.name())
            .is_ok_and(|admitted| admitted.data_type() == &DataType::Null);
        match is_untyped {
            true => field.as_ref().clone().with_data_type(DataType::Null),
            false => field.as_ref().clone(),
        }
    });
    SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of a query that the output has, in its types. A column that the output's path has
/// is left out, if every value is the path's.
fn of_columns(query: &PlannedQuery, admitted: &AdmittedColumns) -> String {
    let columns = admitted.schema.fields().iter().map(|field| {
        let name = spark_name(field.name());
        let planned = query.schema.field_with_name(field.name());
        match (planned, spark_type(field.data_type())) {
            (Ok(planned), Some(of)) if planned.data_type() == &DataType::Null => {
                format!("CAST({name} AS {of}) AS {name}")
            }
            _ => name,
        }
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let conditions: Vec<String> = admitted
        .columns
        .values()
        .map(|(name, value)| {
            let why = spark_text(&format!(
                "column '{name}' has the name of the partition, and holds another value than \
                 {value}: readers would take the path's value"
            ));
            let (name, value) = (spark_name(name), spark_text(value));
            format!("(CAST({name} AS STRING) <=> {value} OR CAST(raise_error({why}) AS BOOLEAN))")
        })
        .collect();
    let sql = query.sql.trim_end().trim_end_matches(';');
    match conditions.is_empty() {
        true => format!("SELECT {columns} FROM (\n{sql}\n)"),
        false => format!(
            "SELECT {columns} FROM (\n{sql}\n) WHERE {}",
            conditions.join(" AND ")
        ),
    }
}
