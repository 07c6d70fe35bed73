//! Users' SQL, run by DataFusion over relations that are bound to a date.
//!
//! A job is one query: statements that write or define are refused, and so are functions whose
//! value changes from run to run (`now()`, `random()`), since the result for a date may depend on
//! nothing but its events, its tables and the job. `{date}` and other placeholders stand for the
//! date (`placeholders`).
//!
//! One partition and one thread a query, so that rows come in the same order on every run; dates
//! run in parallel instead. A relation decodes only the columns that the query names.
//!
//! Memory: what a query holds back, to sort, group or join it, is at most its share of the memory
//! that may be used. One that needs more is refused, and does not go to a disk: rows that were set
//! aside come back in another order, and the result would depend on the memory.

mod alignment;
mod checked;
mod copies;
mod functions;
mod placeholders;
mod session;
mod syntax;
#[cfg(test)]
mod tests_of_values;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    EmptyRelation, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
    TableProviderFilterPushDown, TableType, Volatility,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::{DataFrame, SQLOptions, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use futures::StreamExt;
use futures::future::poll_fn;

pub use self::copies::dates_read;
pub use self::placeholders::{JobDay, bind};
use self::session::session;
use crate::domain::canonical_types::canonical_schema;
use crate::domain::cast::conform;
use crate::domain::type_names::type_name;
use crate::error::{Error, Kind, Result, nearest};
use crate::model::MemoryBudget;
use crate::phases::Phase;
use crate::storage::Batches;
use crate::storage::parquet::object::to_canonical;

/// Opens a relation's rows, with the named columns.
pub type Open = Arc<dyn Fn(&[String]) -> Result<Batches> + Send + Sync>;

/// Something that a query can name: its columns, and how to read them.
#[derive(Clone)]
pub struct Relation {
    /// Its columns, in canonical types.
    pub schema: SchemaRef,
    /// How to read them.
    pub open: Open,
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
    /// A relation whose rows are read whole.
    pub fn new(schema: SchemaRef, open: Open) -> Self {
        Relation {
            schema,
            open,
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
        self.budget.share(self.queries as u64)
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Error::io(format!("cannot run SQL: {error}")))?;
    runtime.block_on(run_async(sql, relations, memory, sink))
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

/// The rows of a batch for which a condition holds; where it is null, it does not.
///
/// # Errors
/// A refusal if a value cannot be computed, such as a division by zero.
pub(super) fn rows_that_hold(
    condition: &dyn PhysicalExpr,
    batch: &RecordBatch,
    what: &str,
) -> Result<BooleanArray> {
    let value = condition
        .evaluate(batch)
        .and_then(|value| value.into_array(batch.num_rows()))
        .map_err(|error| wrong(&error, what))?;
    let truth = value
        .as_boolean_opt()
        .ok_or_else(|| Error::refused(format!("{what} is not true or false")))?;
    Ok(match truth.nulls() {
        None => truth.clone(),
        Some(nulls) => BooleanArray::from(truth.values() & nulls.inner()),
    })
}

/// A condition over the columns of a schema as DataFusion will compute it, and the columns that it
/// names.
///
/// # Errors
/// A usage error that says what is wrong with it.
pub(super) fn condition(
    text: &str,
    schema: &SchemaRef,
    what: &str,
) -> Result<(Arc<dyn PhysicalExpr>, Vec<String>)> {
    let failed = |error: DataFusionError| wrong(&error, what);
    let context = session(None).map_err(failed)?;
    let state = context.state();
    let all = DFSchema::try_from(schema.as_ref().clone()).map_err(failed)?;
    let mut parsed = state
        .sql_to_expr_with_alias(text, &state.config_options().sql_parser.dialect)
        .map_err(failed)?;
    syntax::check(&mut parsed.expr).map_err(|error| error.within(what))?;
    let expression = state
        .create_logical_expr_from_sql_expr(parsed, &all)
        .map_err(failed)?;
    check_stable(&expression).map_err(|error| error.within(what))?;
    if has_subquery(&expression) {
        return Err(Error::usage(format!(
            "{what}: a condition over a table's columns can hold no query"
        ))
        .hint("write the job in SQL: --sql FILE, or sql = \"...\" in asof.toml"));
    }
    if let Ok(data_type) = expression.get_type(&all)
        && !matches!(data_type, DataType::Boolean | DataType::Null)
    {
        return Err(Error::usage(format!(
            "{what} is {}, and not true or false",
            type_name(&data_type)
        )));
    }
    // The rules for a query's expressions apply to a plan: this is the smallest one that has it.
    let nothing = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(all.clone()),
    });
    let plan = LogicalPlanBuilder::from(nothing)
        .filter(expression)
        .and_then(LogicalPlanBuilder::build);
    let plan = plan
        .and_then(|plan| {
            state
                .analyzer()
                .execute_and_check(plan, state.config_options(), |_, _| {})
        })
        .map_err(failed)?;
    let LogicalPlan::Filter(filter) = plan else {
        return Err(Error::usage(format!("{what} is empty")));
    };
    let expression = filter.predicate;
    // Some functions, such as coalesce, are known to the simplifier alone.
    let simplifier = ExprSimplifier::new(
        SimplifyContext::builder()
            .with_schema(Arc::new(all))
            .build(),
    );
    let expression = simplifier.simplify(expression).map_err(failed)?;
    let named = expression.column_refs();
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .filter(|name| named.iter().any(|column| column.name == *name))
        .collect();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .filter(|field| columns.contains(field.name()))
        .cloned()
        .collect();
    let its_own = DFSchema::try_from(Schema::new(fields)).map_err(failed)?;
    Ok((
        context
            .create_physical_expr(expression, &its_own)
            .map_err(failed)?,
        columns,
    ))
}

/// The names in an expression that may be columns.
pub(super) fn names_in(text: &str, what: &str) -> Result<Vec<String>> {
    let failed = |error: DataFusionError| wrong(&error, what);
    let state = session(None).map_err(failed)?.state();
    let parsed = state
        .sql_to_expr_with_alias(text, &state.config_options().sql_parser.dialect)
        .map_err(failed)?;
    Ok(syntax::names_in(&parsed.expr))
}

/// Whether an expression holds a query of its own.
fn has_subquery(expression: &Expr) -> bool {
    let is_query = |node: &Expr| {
        Ok(matches!(
            node,
            Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
        ))
    };
    expression.exists(is_query).unwrap_or(true)
}

/// A failure of DataFusion's as one of ours: what the user wrote, what a value refused, or what
/// failed.
pub(super) fn wrong(error: &DataFusionError, what: &str) -> Error {
    let root = error.find_root();
    if let DataFusionError::External(inner) = root
        && let Some(ours) = inner.downcast_ref::<Error>()
    {
        return ours.duplicate();
    }
    if let DataFusionError::SchemaError(schema_error, _) = root
        && let SchemaError::FieldNotFound {
            field,
            valid_fields,
        } = schema_error.as_ref()
    {
        let error = Error::usage(format!("{what}: there is no column '{}'", field.name));
        let names: Vec<&str> = valid_fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let upper = valid_fields.iter().find(|valid| {
            valid.name != field.name && valid.name.to_lowercase() == field.name.to_lowercase()
        });
        return match (upper, nearest(&field.name, names.iter().copied())) {
            (Some(upper), _) => error.hint(format!(
                "a name without quotes is read in lower case; write \"{}\"",
                upper.name
            )),
            (None, Some(near)) => error.hint(format!("did you mean '{near}'?")),
            (None, None) => error.hint(format!("the columns are {}", names.join(", "))),
        };
    }
    if let DataFusionError::SQL(parser_error, _) = root {
        use datafusion::sql::sqlparser::parser::ParserError::{
            ParserError, RecursionLimitExceeded, TokenizerError,
        };
        let why = match parser_error.as_ref() {
            ParserError(why) | TokenizerError(why) => why.clone(),
            RecursionLimitExceeded => "it is nested too deeply".to_owned(),
        };
        return Error::usage(format!("{what}: {why}"));
    }
    let message = root.strip_backtrace();
    let message = [
        "SQL error: ",
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "Compute error: ",
        "Cast error: ",
        "This feature is not implemented: ",
    ]
    .iter()
    .fold(message.as_str(), |text, prefix| {
        text.strip_prefix(prefix).unwrap_or(text)
    });
    let no_function = message
        .split_once("No function matches the given name and argument types '")
        .and_then(|(_, rest)| rest.split_once('\''));
    if let Some((call, _)) = no_function {
        return Error::usage(format!("{what}: there is no function {call}"))
            .hint("write CAST(x AS type) where a type is not the intended one");
    }
    if message.contains("Physical plan does not support logical expression") {
        return Error::usage(format!("{what}: this correlated subquery is not supported"))
            .hint("write a join or a window function");
    }
    let kind = match root {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => Kind::Usage,
        DataFusionError::IoError(_) | DataFusionError::ResourcesExhausted(_) => Kind::Io,
        _ => Kind::Refused,
    };
    match kind {
        Kind::Usage => {
            let error = Error::usage(format!(
                "{what}: {}",
                sentence(message).trim_end_matches('.')
            ));
            match message
                .lines()
                .find_map(|line| line.strip_prefix("Did you mean "))
            {
                Some(near) => error.hint(format!("did you mean {near}")),
                None => error,
            }
        }
        Kind::Refused => Error::refused(format!(
            "{what}: {}",
            message.lines().next().unwrap_or(message)
        )),
        _ => Error::io(format!("{what}: {message}")),
    }
}

/// The first line of a message of DataFusion's, without dumps of syntax trees.
fn sentence(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    // A dump begins with a name and a bracket, as in `Function(Function {` or `Some(Ident`.
    let mut end = first.len();
    for (at, character) in first.char_indices() {
        if !matches!(character, '(' | '{') {
            continue;
        }
        let before = first[..at].trim_end();
        let word = before
            .rsplit(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap_or_default();
        let inside = first[at + 1..].trim_start();
        let is_type = word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().any(|c| c.is_ascii_lowercase());
        let opens = [
            "Some(",
            "None",
            "Ident",
            "Function {",
            "ObjectName",
            "Value",
            "Identifier",
            "CompoundIdentifier",
        ];
        let is_field = character == '{'
            && inside
                .split_once(':')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        if is_type && (is_field || opens.iter().any(|open| inside.starts_with(open))) {
            end = before.len() - word.len();
            break;
        }
    }
    let text = first[..end]
        .trim_end()
        .trim_end_matches([':', ',', '(', '['])
        .trim_end();
    match (end == first.len(), text.is_empty()) {
        (_, true) => "a part of the query is not supported".to_owned(),
        (true, false) => text.to_owned(),
        (false, false) => format!("this is not supported: {text}"),
    }
}

/// A relation as DataFusion wants it.
#[derive(Debug)]
struct Provider(Relation);

#[async_trait::async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match self.0.copies.is_some() && copies::is_on_date(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(indices) => Arc::new(self.0.schema.project(indices)?),
            None => self.0.schema.clone(),
        };
        let mut relation = self.0.clone();
        if let (Some(copies), Some(state)) = (
            &self.0.copies,
            state.as_any().downcast_ref::<SessionState>(),
        ) {
            relation.open = (copies.only)(&copies::passing(state, filters, &copies.dates));
        }
        let scan = Arc::new(Scan {
            relation,
            schema: schema.clone(),
        });
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            vec![scan],
            None,
            vec![],
            false,
            limit,
        )?))
    }
}

/// The projected columns of a relation.
#[derive(Debug)]
struct Scan {
    relation: Relation,
    schema: SchemaRef,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let columns: Vec<String> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let external = |error: Error| DataFusionError::External(Box::new(error));
        let schema = self.schema.clone();
        let batches: Box<dyn Iterator<Item = datafusion::error::Result<RecordBatch>> + Send> =
            match (self.relation.open)(&columns) {
                Err(error) => Box::new(std::iter::once(Err(external(error)))),
                Ok(batches) => Box::new(batches.map(move |batch| {
                    batch
                        .and_then(|batch| conform(&batch, &schema))
                        .map_err(external)
                })),
            };
        Box::pin(RecordBatchStreamAdapter::new(
            self.schema.clone(),
            futures::stream::iter(batches),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
