//! `asof plan`: what another engine needs to run a job.
//!
//! For each date it names the files of the events, the files of each table as of the date, the
//! query or the join, and the output that asof would write. Files of a table are its snapshot, or
//! its intervals with the condition that selects the date. Reads listings and footers, as a dry run
//! of a backfill does, and neither events nor rows of tables.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;

use super::bound::{BoundEvents, BoundRelation, BoundTable, RelationRows};
use super::job::{ResolvedJob, Work};
use super::options::BackfillOptions;
use super::relations::View;
use super::report::{ServedBy, first_hints};
use crate::commands::Workspace;
use crate::domain::join::JoinKind;
use crate::domain::staleness::{DateState, Inputs};
use crate::domain::type_names::type_name;
use crate::engine::intervals::Intervals;
use crate::engine::join::JoinSpec;
use crate::error::{Kind, Result};
use crate::secret::without_credentials;
use crate::storage::lake::location::{Location, Object};

/// What another engine needs to run a job.
#[derive(Clone, Debug, Serialize)]
pub struct EnginePlan {
    /// The job.
    pub job: String,
    /// What the job computes.
    pub work: PlannedWork,
    /// The root of its outputs.
    pub output: String,
    /// The layout of its outputs.
    pub layout: String,
    /// How each table is looked up, in words.
    pub rules: BTreeMap<String, String>,
    /// Every date of the range that has events.
    pub dates: Vec<DatePlan>,
}

/// What a job computes.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlannedWork {
    /// A query, which each date has with its placeholders filled in.
    Sql,
    /// A join of the first relation to the second one.
    Join {
        /// Pairs of an events column and a key column of the table.
        on: Vec<(String, String)>,
        /// What the join keeps.
        how: JoinKind,
        /// A condition over the table's columns, applied before the join.
        #[serde(rename = "where")]
        condition: Option<String>,
        /// The table's columns to add; all but the key if there are none.
        select: Vec<String>,
    },
    /// A program, which reads the relations as files.
    Command,
}

/// One date of a job.
#[derive(Clone, Debug, Serialize)]
pub struct DatePlan {
    /// The date.
    pub date: NaiveDate,
    /// Where its output stands.
    #[serde(flatten)]
    pub state: Option<DateState>,
    /// The query, if the job is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// What the job reads, by the names that the query uses.
    pub relations: Vec<RelationPlan>,
    /// The object that asof would write.
    pub output: String,
    /// What the output is made from, as asof records it in a footer.
    pub inputs: Option<Inputs>,
    /// Why the date cannot be run.
    pub error: Option<String>,
    /// What kind of failure that is.
    #[serde(skip)]
    pub kind: Option<Kind>,
    /// What to try.
    #[serde(skip)]
    pub hints: Vec<String>,
}

/// A relation on one date.
#[derive(Clone, Debug, Serialize)]
pub struct RelationPlan {
    /// The name in the query.
    pub name: String,
    /// What it reads.
    #[serde(flatten)]
    pub reads: RelationFiles,
}

/// What a relation reads.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RelationFiles {
    /// All rows of some files.
    Events {
        /// The format of the files.
        format: String,
        /// The types that are declared for columns of text formats.
        types: BTreeMap<String, String>,
        /// The files.
        files: Vec<FilePlan>,
    },
    /// A table as of the date.
    Table {
        /// The table.
        table: String,
        /// The copy.
        #[serde(flatten)]
        copy: CopyPlan,
    },
    /// Every copy of a table up to the date, each with its date in the column `snapshot_date`.
    Snapshots {
        /// The table.
        table: String,
        /// The copies, ascending.
        copies: Vec<CopyPlan>,
    },
    /// The intervals of a table as they were known on a date.
    Intervals {
        /// The table.
        table: String,
        /// The last copy that counts. Rows that still held on it are open.
        known_on: NaiveDate,
        /// The intervals, if the published ones were made from the copies that exist.
        file: Option<FilePlan>,
        /// The condition that selects what was known, if there is a file.
        #[serde(rename = "where")]
        condition: Option<String>,
        /// The copies to compute them from, if there is no file.
        copies: Vec<CopyPlan>,
    },
}

/// One copy of a table.
#[derive(Clone, Debug, Serialize)]
pub struct CopyPlan {
    /// The date of the copy.
    pub snapshot_date: NaiveDate,
    /// What has its rows.
    pub from: ServedBy,
    /// The files that have its rows.
    pub files: Vec<FilePlan>,
    /// The condition that selects its rows, if the files are the intervals.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Its columns and their types. What else the files have is not part of the copy.
    pub columns: Vec<ColumnPlan>,
}

/// A column of a copy.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnPlan {
    /// The name.
    pub name: String,
    /// The type, as asof spells it.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// A file, with what changes when it is rewritten.
#[derive(Clone, Debug, Serialize)]
pub struct FilePlan {
    /// The path or URL.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The ETag in a store, the modification time on a disk; nothing for intervals, whose footer
    /// says what they were made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl EnginePlan {
    /// What to try, for the dates that cannot be run.
    pub fn hints(&self) -> Vec<String> {
        first_hints(self.dates.iter().flat_map(|date| &date.hints))
    }

    /// What the scheduler should do, if some dates cannot be run.
    pub fn failure(&self) -> Option<Kind> {
        let first = self.dates.iter().find_map(|date| date.kind)?;
        let alike = self.dates.iter().all(|date| date.kind == Some(first));
        Some(if alike { first } else { Kind::Partial })
    }
}

/// Plans a job for another engine.
///
/// # Errors
/// What keeps the job from starting; a date that cannot be run has its error in the plan.
pub fn plan_for_engine(
    workspace: &Workspace<'_>,
    job: &str,
    options: &BackfillOptions,
) -> Result<EnginePlan> {
    let job = ResolvedJob::resolve(workspace, job, options)?;
    let dates = job.dates(options.range);
    let many = dates.len() > 1;
    let states = job.states(&dates);
    let dates = dates.iter().zip(states);
    let planner = Planner { job: &job, many };
    let rules = job.tables.iter();
    Ok(EnginePlan {
        work: planned_work(&job.work),
        output: address(&job.output),
        layout: job.layout.to_string(),
        rules: rules
            .map(|(name, history)| (name.clone(), history.rule.in_words()))
            .collect(),
        dates: dates
            .map(|(date, state)| planner.date(*date, state))
            .collect(),
        job: job.name,
    })
}

fn planned_work(work: &Work) -> PlannedWork {
    match work {
        #[cfg(feature = "sql")]
        Work::Sql(_) => PlannedWork::Sql,
        Work::Join(spec, _) => {
            let JoinSpec {
                on,
                how,
                condition,
                select,
            } = spec.clone();
            PlannedWork::Join {
                on,
                how,
                condition,
                select,
            }
        }
        Work::Command(_) => PlannedWork::Command,
    }
}

/// What the dates of a plan share.
struct Planner<'a> {
    job: &'a ResolvedJob,
    /// Whether there are other dates, for which intervals serve better than one snapshot each.
    many: bool,
}

impl Planner<'_> {
    /// One date; what keeps it from being run is part of its plan.
    fn date(&self, date: NaiveDate, state: Result<DateState>) -> DatePlan {
        let mut plan = DatePlan {
            date,
            state: None,
            query: None,
            relations: Vec::new(),
            output: address(&self.job.path(date)),
            inputs: None,
            error: None,
            kind: None,
            hints: Vec::new(),
        };
        if let Err(error) = state.and_then(|state| self.fill(&mut plan, state)) {
            plan.error = Some(error.to_string());
            plan.kind = Some(error.kind());
            plan.hints = error.hints().to_vec();
        }
        plan
    }

    fn fill(&self, plan: &mut DatePlan, state: DateState) -> Result<()> {
        let inputs = self.job.inputs(plan.date)?;
        let bound = self.job.bind(plan.date, inputs, self.many)?;
        plan.state = Some(state);
        plan.query = self.query(plan.date)?;
        let relations = bound
            .relations
            .iter()
            .map(|relation| self.relation(relation));
        plan.relations = relations.collect::<Result<_>>()?;
        plan.inputs = Some(bound.inputs);
        Ok(())
    }

    #[cfg(feature = "sql")]
    fn query(&self, date: NaiveDate) -> Result<Option<String>> {
        use crate::domain::placeholders::JobDay;
        use crate::domain::placeholders::sql::{SqlOf, bind};

        let Work::Sql(sql) = &self.job.work else {
            return Ok(None);
        };
        let zone = self.job.zone;
        bind(sql, JobDay { date, zone }, SqlOf::Job).map(Some)
    }

    #[cfg(not(feature = "sql"))]
    fn query(&self, _: NaiveDate) -> Result<Option<String>> {
        Ok(None)
    }

    fn relation(&self, relation: &BoundRelation<'_>) -> Result<RelationPlan> {
        Ok(RelationPlan {
            name: relation.relation.name.clone(),
            reads: match &relation.rows {
                RelationRows::Events(events) => self.events(events)?,
                RelationRows::Table(table) => self.table(table)?,
            },
        })
    }

    fn events(&self, events: &BoundEvents<'_>) -> Result<RelationFiles> {
        let files = events.files();
        let source = events.source;
        if files.is_empty() {
            return Err(events.nothing());
        }
        let format = source
            .format
            .of(files)
            .map_err(|error| error.within(events.place()))?;
        let types = source.types.declared.iter();
        Ok(RelationFiles::Events {
            format: format.name().to_owned(),
            types: types
                .map(|(name, of)| (name.clone(), type_name(of)))
                .collect(),
            files: files_of(files),
        })
    }

    fn table(&self, bound: &BoundTable<'_>) -> Result<RelationFiles> {
        let table = bound.name.to_string();
        Ok(match bound.view {
            View::AsOf => RelationFiles::Table {
                table,
                copy: self.copy(bound, bound.serving)?,
            },
            View::Snapshots => RelationFiles::Snapshots {
                table,
                copies: self.copies(bound)?,
            },
            View::Intervals => match bound.history.published_on(bound.serving)? {
                Some(intervals) => RelationFiles::Intervals {
                    table,
                    known_on: bound.serving,
                    file: Some(intervals_file(intervals)),
                    condition: Some(format!(
                        "{} <= DATE '{}'",
                        intervals.convention.start_column, bound.serving
                    )),
                    copies: Vec::new(),
                },
                None => RelationFiles::Intervals {
                    table,
                    known_on: bound.serving,
                    file: None,
                    condition: None,
                    copies: self.copies(bound)?,
                },
            },
        })
    }

    /// The copies of a relation that reads a table's past.
    fn copies(&self, bound: &BoundTable<'_>) -> Result<Vec<CopyPlan>> {
        let dates = match bound.view {
            View::Intervals => bound.history.until(bound.serving),
            View::AsOf | View::Snapshots => &bound.copies,
        };
        dates.iter().map(|date| self.copy(bound, *date)).collect()
    }

    fn copy(&self, bound: &BoundTable<'_>, date: NaiveDate) -> Result<CopyPlan> {
        let table = bound.history.as_of(date, self.many)?;
        let columns = table.schema.fields().iter().map(|field| ColumnPlan {
            name: field.name().clone(),
            data_type: type_name(field.data_type()),
        });
        let columns = columns.collect();
        Ok(match table.intervals() {
            None => CopyPlan {
                snapshot_date: date,
                from: ServedBy::Snapshots,
                files: files_of(table.objects()),
                condition: None,
                columns,
            },
            Some(intervals) => CopyPlan {
                snapshot_date: date,
                from: ServedBy::Intervals,
                files: vec![intervals_file(intervals)],
                condition: Some(intervals.convention.condition(&format!("DATE '{date}'"))),
                columns,
            },
        })
    }
}

/// A path or a URL as another program can open it: absolute, without the credentials that it was
/// expanded with.
fn address(location: &Location) -> String {
    without_credentials(&location.to_string())
}

fn intervals_file(intervals: &Intervals) -> FilePlan {
    FilePlan {
        path: address(intervals.location()),
        size: intervals.bytes(),
        etag: None,
    }
}

fn files_of(objects: &[Object]) -> Vec<FilePlan> {
    let files = objects.iter().map(|object| FilePlan {
        path: address(&object.location),
        size: object.size,
        etag: Some(object.etag.clone()),
    });
    files.collect()
}
