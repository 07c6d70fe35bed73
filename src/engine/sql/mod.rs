//! Users' SQL, run by DataFusion over relations that are bound to a date.
//!
//! A job is one query: statements that write or define are refused, and so are functions whose
//! value changes from run to run (`now()`, `random()`), since the result for a date may depend on
//! nothing but its events, its tables and the job. `{date}` and other placeholders stand for the
//! date ([`crate::domain::placeholders`]).
//!
//! Rows come in the same order on every run, on any number of processors: a query is one partition.
//! Only what needs one row at a time, such as a filter, or the side of a join that is streamed past
//! the other, is done in pieces, whose rows are put together in their order (`in_order`). They are
//! worked on by several threads if fewer dates run in parallel than there are processors. A
//! relation decodes only the columns that the query names.
//!
//! Memory: what a query holds back, to sort, group or join it, is at most its share of the memory
//! that may be used. One that needs more is refused, and does not go to a disk: rows that were set
//! aside come back in another order, and the result would depend on the memory.

mod alignment;
mod checked;
mod conditions;
mod copies;
mod failures;
mod functions;
mod in_order;
mod normal_form;
mod provider;
mod row_filter;
mod session;
mod syntax;
#[cfg(test)]
mod tests_of_values;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::prelude::{DataFrame, SQLOptions, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use futures::StreamExt;
use futures::future::poll_fn;

pub(super) use self::conditions::{condition, names_in};
pub use self::copies::dates_read;
pub(super) use self::failures::wrong;
pub use self::normal_form::normal_form;
use self::provider::Provider;
pub(super) use self::row_filter::RowFilter;
use self::session::session;
use crate::domain::canonical_batch::to_canonical;
use crate::domain::canonical_types::canonical_schema;
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;
use crate::parallel::processors;
use crate::phases::Phase;
use crate::storage::Batches;
use crate::storage::parquet::object::RowCondition;

/// How large the stack of a thread is: an expression is walked recursively.
const STACK: usize = 16 << 20;

/// What a query asks for of a relation's rows.
pub struct Scanned<'a> {
    /// The columns.
    pub columns: &'a [String],
    /// The condition that has to hold, which only a relation that filters is given.
    pub condition: Option<Arc<dyn RowCondition>>,
    /// The piece, if it is not all of them.
    pub piece: Option<usize>,
}

/// Opens a relation's rows.
pub type Open = Arc<dyn Fn(Scanned<'_>) -> Result<Batches> + Send + Sync>;

/// Something that a query can name: its columns, and how to read them.
#[derive(Clone)]
pub struct Relation {
    /// Its columns, in canonical types.
    pub schema: SchemaRef,
    /// How to read them.
    pub open: Open,
    /// How many there are, if that is known before they are read: a join holds the smaller side.
    pub count: Option<u64>,
    /// Whether the rows for which a condition holds can be read without the others.
    pub filters: bool,
    /// In how many pieces the rows can be read, which follow one another; 0 if only as a whole.
    pub pieces: usize,
    /// The copies that the rows are of, if they are of copies of several dates.
    pub copies: Option<RelationCopies>,
}

/// Copies of several dates, of which a scan may leave some out.
#[derive(Clone)]
pub struct RelationCopies {
    /// Their dates.
    pub dates: Vec<NaiveDate>,
    /// How to read those of some dates.
    pub only: OpenOnly,
}

/// How to read the copies of some dates.
pub type OpenOnly = Arc<dyn Fn(&[NaiveDate]) -> Open + Send + Sync>;

impl Relation {
    /// A relation whose rows are read whole; nobody knows how many there are.
    pub fn new(schema: SchemaRef, open: Open) -> Self {
        Relation {
            schema,
            open,
            count: None,
            filters: false,
            pieces: 0,
            copies: None,
        }
    }
}

impl fmt::Debug for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relation")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// The names of the relations that a query reads, without those it defines itself.
///
/// # Errors
/// A usage error if the text is not one query.
pub fn references(sql: &str) -> Result<Vec<String>> {
    let statement = parse(sql)?;
    let (tables, _) = resolve_table_references(&statement, true)
        .map_err(|error| wrong(&error, "the job's SQL"))?;
    Ok(tables
        .iter()
        .map(|table| table.to_string().trim_matches('"').to_owned())
        .collect())
}

fn parse(sql: &str) -> Result<Statement> {
    let what = "the job's SQL";
    let mut parser = DFParserBuilder::new(sql)
        .build()
        .map_err(|error| wrong(&error, what))?;
    let mut statements = parser
        .parse_statements()
        .map_err(|error| wrong(&error, what))?;
    let mut statement = statements
        .pop_front()
        .ok_or_else(|| Error::usage(format!("{what} is empty")))?;
    if !statements.is_empty() {
        return Err(Error::usage(format!(
            "{what} holds {} statements, and a job is one query",
            statements.len() + 1
        )));
    }
    match &mut statement {
        Statement::Statement(inner)
            if matches!(
                inner.as_ref(),
                datafusion::sql::sqlparser::ast::Statement::Query(_)
            ) =>
        {
            syntax::check(inner.as_mut()).map_err(|error| error.within(what))?;
            Ok(statement)
        }
        _ => Err(Error::usage(format!(
            "{what} writes or defines something, and a job is one query"
        ))
        .hint("begin it with SELECT or WITH")),
    }
}

/// How much memory a query may use: the budget, by the number of queries that run in parallel.
#[derive(Clone, Copy, Debug)]
pub struct QueryMemory {
    /// What all of them may use.
    pub budget: MemoryBudget,
    /// How many they are.
    pub queries: usize,
}

impl QueryMemory {
    fn bytes(self) -> usize {
        self.budget.for_each_of(self.queries)
    }

    /// How many threads a query may use: those that other dates leave.
    fn threads(self) -> usize {
        (processors() / self.queries.max(1)).max(1)
    }

    /// The refusal of a query that needs more.
    fn exceeded(self) -> Error {
        let share = self.bytes() >> 20;
        let twice = (self.budget.0 >> 29).max(1);
        let error = Error::refused(format!(
            "the job's SQL needs more than the {share} MiB of memory that a date may use"
        ));
        let error = error.hint(format!("--memory {twice}GiB"));
        if self.queries > 1 {
            error.hint("--workers 1")
        } else {
            error
        }
    }
}

/// Runs a query and hands its rows to `sink`, whose first argument is their schema. `sink` is
/// called at least once, with no rows if there are none.
///
/// # Errors
/// A usage error if the query is wrong, a refusal if a value cannot be computed or the memory does
/// not do, and whatever reading fails with.
pub fn run(
    sql: &str,
    relations: Vec<(String, Relation)>,
    memory: QueryMemory,
    sink: &mut dyn FnMut(&SchemaRef, RecordBatch) -> Result<()>,
) -> Result<()> {
    let runtime = match memory.threads() {
        1 => tokio::runtime::Builder::new_current_thread().build(),
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_stack_size(STACK)
            .build(),
    };
    runtime
        .map_err(|error| Error::io(format!("cannot run SQL: {error}")))?
        .block_on(run_async(sql, relations, memory, sink))
}

async fn run_async(
    sql: &str,
    relations: Vec<(String, Relation)>,
    memory: QueryMemory,
    sink: &mut dyn FnMut(&SchemaRef, RecordBatch) -> Result<()>,
) -> Result<()> {
    let failed = |error: DataFusionError| match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => memory.exceeded(),
        _ => wrong(&error, "the job's SQL"),
    };
    let (frame, schema) = planned(sql, relations, Some(memory.bytes())).await?;
    sink(&schema, RecordBatch::new_empty(schema.clone()))?;
    let mut stream = frame.execute_stream().await.map_err(failed)?;
    while let Some(batch) =
        poll_fn(|context| Phase::Query.spend(|| stream.poll_next_unpin(context))).await
    {
        sink(&schema, to_canonical(&batch.map_err(failed)?, &schema)?)?;
    }
    Ok(())
}

/// The query as DataFusion will run it, and the schema of its rows. No row is read for it.
async fn planned(
    sql: &str,
    relations: Vec<(String, Relation)>,
    memory: Option<usize>,
) -> Result<(DataFrame, SchemaRef)> {
    let failed = |error: DataFusionError| wrong(&error, "the job's SQL");
    let context = with_relations(relations, memory).map_err(failed)?;
    let plan = context
        .state()
        .statement_to_plan(parse(sql)?)
        .await
        .map_err(failed)?;
    let only_queries = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    only_queries.verify_plan(&plan).map_err(failed)?;
    check_plan(&plan)?;
    // Types are coerced here, so that the schema is the one that the rows will have.
    let state = context.state();
    let plan = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .map_err(failed)?;
    let frame = DataFrame::new(state, plan);
    let produced: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
    let schema = canonical_schema(&produced, "the job's result").map_err(|error| {
        Error::usage(error.to_string())
            .hint("name each column of the result: SELECT a.id AS a_id, b.id AS b_id")
    })?;
    Ok((frame, schema))
}

fn with_relations(
    relations: Vec<(String, Relation)>,
    memory: Option<usize>,
) -> datafusion::error::Result<SessionContext> {
    let context = session(memory)?;
    for (name, relation) in relations {
        context.register_table(
            datafusion::common::TableReference::bare(name),
            Arc::new(Provider(relation)),
        )?;
    }
    Ok(context)
}

/// Checks a query against the columns and types of its relations, and reads none of their rows.
///
/// # Errors
/// A usage error if the query is wrong.
pub fn check(sql: &str, relations: Vec<(String, Relation)>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Error::io(format!("cannot run SQL: {error}")))?;
    runtime.block_on(async {
        let (frame, _) = planned(sql, relations, None).await?;
        frame
            .create_physical_plan()
            .await
            .map_err(|error| wrong(&error, "the job's SQL"))?;
        Ok(())
    })
}

/// The first column that a query names and no relation has, with the relation if the query says
/// which. `None` if there is none, or if the query is wrong in another way, which [`run`] will
/// tell.
///
/// # Errors
/// A failure to start.
pub fn missing_column(
    sql: &str,
    relations: Vec<(String, Relation)>,
) -> Result<Option<(Option<String>, String)>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Error::io(format!("cannot run SQL: {error}")))?;
    let context =
        with_relations(relations, None).map_err(|error| wrong(&error, "the job's SQL"))?;
    let statement = parse(sql)?;
    let planned = runtime.block_on(context.state().statement_to_plan(statement));
    Ok(planned.err().and_then(|error| match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => match schema_error.as_ref() {
            datafusion::common::SchemaError::FieldNotFound { field, .. } => Some((
                field
                    .relation
                    .as_ref()
                    .map(|relation| relation.table().to_owned()),
                field.name.clone(),
            )),
            _ => None,
        },
        _ => None,
    }))
}

/// Refuses functions whose value is not a function of their arguments.
fn check_plan(plan: &LogicalPlan) -> Result<()> {
    let mut unstable = Ok(());
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            unstable = check_stable(expression);
            Ok(if unstable.is_err() {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        })
    });
    unstable.map_err(|error| error.within("the job's SQL"))
}

/// Refuses an expression that calls such a function.
///
/// # Errors
/// A usage error that names the function.
fn check_stable(expression: &Expr) -> Result<()> {
    let mut found = None;
    let _ = expression.apply(|node| {
        if let Expr::ScalarFunction(call) = node {
            let name = call.func.name();
            let clock = [
                "now",
                "current_date",
                "current_time",
                "today",
                "current_timestamp",
            ]
            .contains(&name);
            if clock || call.func.signature().volatility == Volatility::Volatile {
                found = Some(name.to_owned());
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match found {
        None => Ok(()),
        Some(name) => Err(Error::usage(format!(
            "{name}() is non-deterministic, and a rerun must give the same result"
        ))
        .hint("in a job, {date} is the date being run")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_query_names_what_it_reads_and_not_what_it_defines() {
        let sql = "with x as (select * from item) select * from x join Events e on x.id = e.id \
         where id in (select id from \"Other\")";
        assert_eq!(
            references(sql).expect("a query"),
            ["Other", "events", "item"]
        );
    }

    #[test]
    fn a_job_is_one_query() {
        for sql in [
            "delete from item",
            "create table x as select 1",
            "select 1; select 2",
            "",
            "insert into x values (1)",
            "copy t to 'x'",
            "set a = 1",
            "drop table item",
            "explain select 1",
        ] {
            assert_eq!(references(sql).expect_err(sql).kind(), Kind::Usage, "{sql}");
        }
    }

    #[test]
    fn functions_that_change_from_run_to_run_are_refused() {
        for sql in [
            "select now()",
            "select current_date",
            "select random()",
            "select 1 where (select count(*) from (select uuid())) > 0",
            "select current_timestamp",
        ] {
            let error = run(sql, vec![], ALL, &mut |_, _| Ok(())).expect_err(sql);
            assert!(
                error.to_string().contains("is non-deterministic"),
                "{sql}: {error}"
            );
        }
    }

    const ALL: QueryMemory = QueryMemory {
        budget: MemoryBudget(2 << 30),
        queries: 1,
    };

    /// Many rows with a number of their own each.
    fn numbers() -> Relation {
        let batch = |first: i64| {
            let ids: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(
                first..first + 8192,
            ));
            RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).expect("a batch")
        };
        let schema = batch(0).schema();
        Relation::new(
            schema,
            Arc::new(
                move |_| Ok(Box::new((0..500).map(move |at| Ok(batch(at * 8192)))) as Batches),
            ),
        )
    }

    #[test]
    fn a_query_that_needs_more_than_its_share_is_refused_and_one_that_streams_is_not() {
        let memory = QueryMemory {
            budget: MemoryBudget(64 << 20),
            queries: 4,
        };
        let of = |sql: &str| {
            let mut rows = 0;
            let done = run(
                sql,
                vec![("t".to_owned(), numbers())],
                memory,
                &mut |_, batch| {
                    rows += batch.num_rows();
                    Ok(())
                },
            );
            done.map(|()| rows)
        };
        assert_eq!(
            of("select id + 1 as n from t").expect("it streams"),
            500 * 8192
        );
        assert_eq!(
            of("select id % 10 as n, count(*) as c from t group by 1 order by 1")
                .expect("it is small"),
            10
        );
        for sql in [
            "select id, count(*) as c from t group by id",
            "select id from t order by -id",
            "select a.id from t a join t b on a.id = b.id",
        ] {
            let error = of(sql).expect_err(sql);
            assert_eq!(
                error.to_string(),
                "the job's SQL needs more than the 16 MiB of memory that a date may use",
                "{sql}"
            );
            assert_eq!(
                (error.kind(), error.hints()),
                (
                    Kind::Refused,
                    ["--memory 1GiB".to_owned(), "--workers 1".to_owned()].as_slice()
                )
            );
        }
    }
}
