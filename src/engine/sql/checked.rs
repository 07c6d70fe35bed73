//! Arithmetic that never wraps: each operation on integers or decimals that could is replaced by
//! one that refuses a result that does not fit.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::functions::{Arithmetic, WithoutRange};

/// The rule; it comes after the coercion of types.
#[derive(Debug)]
pub(super) struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &checked, &Ok)
    }

    fn name(&self) -> &str {
        "checked_arithmetic"
    }
}

/// Rewrites a plan from its leaves up, and in each node first its expressions, from their leaves
/// up. Names of columns stay as they are.
pub(super) fn rewrite(
    plan: LogicalPlan,
    expressions: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
    node: &dyn Fn(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(&DFSchema::try_from_qualified_schema(
                scan.table_name.clone(),
                &scan.source.schema(),
            )?);
        }
        let names = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten =
                expression.transform_up(|expression| expressions(expression, &schema))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })?;
        rewritten
            .map_data(node)?
            .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(rewritten.data)
}

fn checked(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_checked(op) => {
            let left_type = left.get_type(schema)?;
            let right_type = right.get_type(schema)?;
            let is_shift = matches!(op, Operator::BitwiseShiftLeft | Operator::BitwiseShiftRight);
            let decimals = matches!(
                (&left_type, &right_type),
                (DataType::Decimal128(..), DataType::Decimal128(..))
            ) && !is_shift;
            if decimals || (left_type == right_type && left_type.is_integer()) {
                return Ok(Transformed::yes(call(
                    Arithmetic::udf(op),
                    vec![*left, *right],
                )));
            }
            Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr {
                left,
                op,
                right,
            })))
        }
        Expr::Negative(inner) => {
            let data_type = inner.get_type(schema)?;
            if data_type.is_integer() {
                let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
                return Ok(Transformed::yes(call(
                    Arithmetic::udf(Operator::Minus),
                    vec![zero, *inner],
                )));
            }
            Ok(Transformed::no(Expr::Negative(inner)))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "date_part" => {
            let of_nanoseconds = match args.last() {
                Some(argument) => matches!(
                    argument.get_type(schema)?,
                    DataType::Timestamp(TimeUnit::Nanosecond, _)
                ),
                None => false,
            };
            let func = if of_nanoseconds {
                WithoutRange::udf(func).into()
            } else {
                func
            };
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction {
                func,
                args,
            })))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_checked(operator: Operator) -> bool {
    use Operator::{BitwiseShiftLeft, BitwiseShiftRight, Minus, Multiply, Plus};
    matches!(
        operator,
        Plus | Minus | Multiply | BitwiseShiftLeft | BitwiseShiftRight
    )
}

fn call(function: datafusion::logical_expr::ScalarUDF, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function.into(), args))
}
