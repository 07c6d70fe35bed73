//! Conditions over the columns of one schema, outside of any query.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    EmptyRelation, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::failures::wrong;
use super::row_filter::RowFilter;
use super::session::session;
use super::{check_stable, syntax};
use crate::domain::type_names::type_name;
use crate::error::{Error, Result};

/// A condition over the columns of a schema.
///
/// # Errors
/// A usage error that says what is wrong with it.
pub(in crate::engine) fn condition(
    text: &str,
    schema: &SchemaRef,
    what: &str,
) -> Result<RowFilter> {
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
    let expression = as_filtered(&state, expression, &all, what)?;
    let named = expression.column_refs();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .filter(|field| named.iter().any(|column| column.name == *field.name()))
        .cloned()
        .collect();
    let its_own: SchemaRef = Arc::new(Schema::new(fields));
    let columns = DFSchema::try_from(its_own.as_ref().clone()).map_err(failed)?;
    let expression = context
        .create_physical_expr(expression, &columns)
        .map_err(failed)?;
    Ok(RowFilter::new(expression, its_own, what))
}

/// An expression with the types and functions that the rules for a filter of a plan give it.
fn as_filtered(
    state: &SessionState,
    expression: Expr,
    schema: &DFSchema,
    what: &str,
) -> Result<Expr> {
    let failed = |error: DataFusionError| wrong(&error, what);
    // The rules for a query's expressions apply to a plan: this is the smallest one that has it.
    let nothing = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(schema.clone()),
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
            .with_schema(Arc::new(schema.clone()))
            .build(),
    );
    simplifier.simplify(expression).map_err(failed)
}

/// The names in an expression that may be columns.
pub(in crate::engine) fn names_in(text: &str, what: &str) -> Result<Vec<String>> {
    let failed = |error: DataFusionError| wrong(&error, what);
    let state = session(None).map_err(failed)?.state();
    let parsed = state
        .sql_to_expr_with_alias(text, &state.config_options().sql_parser.dialect)
        .map_err(failed)?;
    Ok(syntax::names_in(&parsed.expr))
}

/// Whether an expression holds a query of its own.
pub(super) fn has_subquery(expression: &Expr) -> bool {
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
