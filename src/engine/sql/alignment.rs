//! Which type two values are compared or combined in, where DataFusion's own choice loses values.
//!
//! - **A float and a decimal** meet as `float64`. DataFusion takes a decimal with 15 digits after
//!   the point, which rounds small floats and refuses large ones.
//! - **A division with a decimal** is one of `float64`. DataFusion's keeps four more digits than
//!   the dividend has.
//! - **Dates and timestamps** are compared as moments, in whatever units they are. DataFusion
//!   converts both to nanoseconds, which end in 2262, and the open end of a history is in 9999.
//! - **Dates and timestamps that make one column**, in `coalesce`, `CASE`, `UNION` and the like,
//!   are in microseconds if their units differ. A value with more digits is refused.
//! - **Text beside a date or timestamp** is read as one, if it is a literal.
//!
//! The rule comes before DataFusion's coercion of types, which then finds nothing to do here.

mod points;

use std::sync::Arc;

use arrow::datatypes::{DataType, Decimal128Type, DecimalType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder,
    Operator, Subquery, Union,
};
use datafusion::optimizer::AnalyzerRule;

use self::points::{Point, align_points, is_point, literal, point, zone_of};
use super::checked::rewrite;
use super::functions::{Instant, Microseconds};

/// The rule; see the module.
#[derive(Debug)]
pub(super) struct Alignment;

impl AnalyzerRule for Alignment {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &align, &|plan| match plan {
            LogicalPlan::Join(join) => align_join(join),
            LogicalPlan::Union(union) => align_union(union),
            other => Ok(other),
        })
    }

    fn name(&self) -> &str {
        "exact_alignment"
    }
}

/// What values are brought together for.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    /// Their comparison: no value of them is kept.
    Compare,
    /// One column of all of them.
    Combine,
}

fn align(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    use Purpose::Compare;
    let aligned = match expression {
        Expr::BinaryExpr(binary) => align_binary(binary, schema)?,
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            let [expr, low, high] = together([*expr, *low, *high], schema, Compare)?;
            Expr::Between(Between::new(
                Box::new(expr),
                negated,
                Box::new(low),
                Box::new(high),
            ))
        }
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => {
            let mut all = aligned(
                std::iter::once(*expr).chain(list).collect(),
                schema,
                Compare,
            )?;
            let expr = all.remove(0);
            Expr::InList(InList::new(Box::new(expr), all, negated))
        }
        Expr::InSubquery(InSubquery {
            expr,
            subquery,
            negated,
        }) => {
            let (expr, subquery) = align_subquery(*expr, subquery, schema)?;
            Expr::InSubquery(InSubquery::new(Box::new(expr), subquery, negated))
        }
        Expr::Case(case) => align_case(case, schema)?,
        Expr::Cast(cast) => align_cast(cast, schema)?,
        Expr::ScalarFunction(call) => align_call(call, schema)?,
        other => return Ok(Transformed::no(other)),
    };
    Ok(Transformed::yes(aligned))
}

fn align_binary(binary: BinaryExpr, schema: &DFSchema) -> Result<Expr> {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    let BinaryExpr { left, op, right } = binary;
    let [left, right] = match op {
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom => {
            together([*left, *right], schema, Purpose::Compare)?
        }
        Operator::Divide => divided([*left, *right], schema)?,
        Operator::Minus => together([*left, *right], schema, Purpose::Combine)?,
        Operator::Plus | Operator::Multiply | Operator::Modulo => numbers([*left, *right], schema)?,
        _ => [*left, *right],
    };
    Ok(Expr::BinaryExpr(BinaryExpr::new(
        Box::new(left),
        op,
        Box::new(right),
    )))
}

/// A cast to microseconds, which refuses more digits; any other cast as it is.
fn align_cast(cast: Cast, schema: &DFSchema) -> Result<Expr> {
    let from_more_digits = matches!(
        cast.expr.get_type(schema)?,
        DataType::Timestamp(TimeUnit::Nanosecond, None) | DataType::Utf8
    );
    let to_microseconds = matches!(
        cast.field.data_type(),
        DataType::Timestamp(TimeUnit::Microsecond, None)
    );
    Ok(if from_more_digits && to_microseconds {
        microseconds(*cast.expr)
    } else {
        Expr::Cast(cast)
    })
}

fn align_call(call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let ScalarFunction { func, mut args } = call;
    let args = match func.name() {
        "coalesce" | "greatest" | "least" | "nvl" | "nullif" | "make_array" => {
            aligned(args, schema, Purpose::Combine)?
        }
        "nvl2" => {
            let rest = aligned(args.split_off(1), schema, Purpose::Combine)?;
            args.into_iter().chain(rest).collect()
        }
        "date_trunc" => args
            .into_iter()
            .map(|argument| of_microseconds(argument, schema))
            .collect::<Result<_>>()?,
        _ => args,
    };
    Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
}

fn align_case(case: Case, schema: &DFSchema) -> Result<Expr> {
    let Case {
        expr,
        when_then_expr,
        else_expr,
    } = case;
    let (mut whens, mut thens): (Vec<Expr>, Vec<Expr>) = when_then_expr
        .into_iter()
        .map(|(when, then)| (*when, *then))
        .unzip();
    let mut base = None;
    if let Some(expr) = expr {
        whens.insert(0, *expr);
        whens = aligned(whens, schema, Purpose::Compare)?;
        base = Some(Box::new(whens.remove(0)));
    }
    let has_else = else_expr.is_some();
    thens.extend(else_expr.map(|expr| *expr));
    thens = aligned(thens, schema, Purpose::Combine)?;
    let otherwise = if has_else {
        thens.pop().map(Box::new)
    } else {
        None
    };
    let pairs = whens
        .into_iter()
        .zip(thens)
        .map(|(when, then)| (Box::new(when), Box::new(then)))
        .collect();
    Ok(Expr::Case(Case::new(base, pairs, otherwise)))
}

fn align_subquery(expr: Expr, subquery: Subquery, schema: &DFSchema) -> Result<(Expr, Subquery)> {
    let Some((relation, field)) = subquery.subquery.schema().iter().next() else {
        return Ok((expr, subquery));
    };
    let column = Expr::Column(Column::new(relation.cloned(), field.name()));
    let inner = column.get_type(subquery.subquery.schema())?;
    let outer = expr.get_type(schema)?;
    // The types are known apart, since a column of both may have one name.
    let (outer, inner) = match common_type(&[outer, inner]) {
        Some(Common::Instants) => (instant(expr), instant(column.clone())),
        Some(Common::Type(data_type)) => (
            cast_to(expr, &data_type),
            cast_to(column.clone(), &data_type),
        ),
        None => return Ok((expr, subquery)),
    };
    if inner == column {
        return Ok((outer, subquery));
    }
    let name = field.name().clone();
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .project([inner.alias(name)])?
        .build()?;
    Ok((outer, subquery.with_plan(Arc::new(plan))))
}

fn align_join(join: Join) -> Result<LogicalPlan> {
    let on = join.on.into_iter().map(|(left, right)| {
        let types = [
            left.get_type(join.left.schema())?,
            right.get_type(join.right.schema())?,
        ];
        Ok(match common_type(&types) {
            Some(Common::Instants) => (instant(left), instant(right)),
            Some(Common::Type(data_type)) => {
                (cast_to(left, &data_type), cast_to(right, &data_type))
            }
            None => (left, right),
        })
    });
    let on = on.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Join(Join { on, ..join }))
}

/// Puts each column of a union into a type that keeps the values of all its inputs.
fn align_union(union: Union) -> Result<LogicalPlan> {
    let width = union.schema.fields().len();
    let types = |at: usize| {
        union
            .inputs
            .iter()
            .map(|input| input.schema().field(at).data_type().clone())
            .collect::<Vec<_>>()
    };
    let targets: Vec<Option<DataType>> = (0..width).map(|at| combined_type(&types(at))).collect();
    if targets.iter().all(Option::is_none) {
        return Ok(LogicalPlan::Union(union));
    }
    let inputs = union.inputs.iter().map(|input| {
        let columns = input
            .schema()
            .iter()
            .zip(&targets)
            .map(|((relation, field), target)| {
                let column = Expr::Column(Column::new(relation.cloned(), field.name()));
                match target {
                    Some(target) if target != field.data_type() => {
                        combined(column, field.data_type(), target).alias(field.name())
                    }
                    _ => column,
                }
            });
        Ok(Arc::new(
            LogicalPlanBuilder::from(input.as_ref().clone())
                .project(columns.collect::<Vec<_>>())?
                .build()?,
        ))
    });
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(
        inputs.collect::<Result<_>>()?,
    )?))
}

/// A type to compare two columns in, where DataFusion's own would lose values.
enum Common {
    Instants,
    Type(DataType),
}

fn common_type(types: &[DataType; 2]) -> Option<Common> {
    match types {
        [left, right] if left == right => None,
        [left, right] if is_point(left) && is_point(right) && zone_of(left) == zone_of(right) => {
            Some(Common::Instants)
        }
        [left, right]
            if (left.is_floating() && is_decimal(right))
                || (is_decimal(left) && right.is_floating()) =>
        {
            Some(Common::Type(DataType::Float64))
        }
        _ => None,
    }
}

/// The type of a column that holds the values of columns of several types, where DataFusion's own
/// would lose some.
fn combined_type(types: &[DataType]) -> Option<DataType> {
    let of: Vec<&DataType> = types
        .iter()
        .filter(|data_type| !data_type.is_null())
        .collect();
    let first = of.first()?;
    if of.iter().all(|data_type| data_type == first) {
        return None;
    }
    if of.iter().all(|data_type| is_point(data_type)) {
        let zone = of.iter().find_map(|data_type| zone_of(data_type));
        return Some(DataType::Timestamp(TimeUnit::Microsecond, zone));
    }
    let has = |is: fn(&DataType) -> bool| of.iter().any(|data_type| is(data_type));
    (has(DataType::is_floating)
        && has(is_decimal)
        && of.iter().all(|data_type| data_type.is_numeric()))
    .then_some(DataType::Float64)
}

/// A value of a column of [`combined_type`].
fn combined(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    match (from, to) {
        (
            DataType::Timestamp(TimeUnit::Nanosecond, zone),
            DataType::Timestamp(TimeUnit::Microsecond, wanted),
        ) => {
            let exact = microseconds(expr);
            if zone == wanted {
                exact
            } else {
                cast_to(exact, to)
            }
        }
        _ => cast_to(expr, to),
    }
}

fn together<const N: usize>(
    exprs: [Expr; N],
    schema: &DFSchema,
    purpose: Purpose,
) -> Result<[Expr; N]> {
    let all = aligned(exprs.to_vec(), schema, purpose)?;
    Ok(all.try_into().unwrap_or(exprs))
}

fn numbers<const N: usize>(exprs: [Expr; N], schema: &DFSchema) -> Result<[Expr; N]> {
    let types = types_of(&exprs, schema)?;
    let all = align_numbers(exprs.to_vec(), &types, Purpose::Combine);
    Ok(all.try_into().unwrap_or(exprs))
}

/// A division with a decimal, in `float64`.
fn divided(exprs: [Expr; 2], schema: &DFSchema) -> Result<[Expr; 2]> {
    let types = types_of(&exprs, schema)?;
    let numeric = types.iter().all(DataType::is_numeric);
    Ok(if numeric && types.iter().any(is_decimal) {
        exprs.map(|expr| floating(expr, &DataType::Float64))
    } else {
        exprs
    })
}

fn types_of(exprs: &[Expr], schema: &DFSchema) -> Result<Vec<DataType>> {
    exprs.iter().map(|expr| expr.get_type(schema)).collect()
}

/// Brings expressions to types in which they can be compared or combined.
fn aligned(exprs: Vec<Expr>, schema: &DFSchema, purpose: Purpose) -> Result<Vec<Expr>> {
    let types = types_of(&exprs, schema)?;
    let exprs = align_numbers(exprs, &types, purpose);
    Ok(align_points(exprs, &types, purpose))
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

/// Floats beside decimals: all decimals become floats.
fn align_numbers(exprs: Vec<Expr>, types: &[DataType], purpose: Purpose) -> Vec<Expr> {
    if !types.iter().any(DataType::is_floating) || !types.iter().any(is_decimal) {
        return exprs;
    }
    // Against float32 alone, the literal 0.1 is the float32 that is nearest to it.
    let is_literal = |expr: &Expr| matches!(expr, Expr::Literal(..));
    let narrow = purpose == Purpose::Compare
        && types.iter().zip(&exprs).all(|(data_type, expr)| {
            *data_type == DataType::Float32 || (is_decimal(data_type) && is_literal(expr))
        });
    let to = if narrow {
        DataType::Float32
    } else {
        DataType::Float64
    };
    exprs
        .into_iter()
        .zip(types)
        .map(|(expr, data_type)| {
            if is_decimal(data_type) {
                floating(expr, &to)
            } else {
                expr
            }
        })
        .collect()
}

/// A number as a float; a literal is the float that is nearest to its text.
fn floating(expr: Expr, to: &DataType) -> Expr {
    let text = match &expr {
        Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), _) => {
            Some(Decimal128Type::format_decimal(*value, *precision, *scale))
        }
        _ => None,
    };
    let scalar = text.and_then(|text| match to {
        DataType::Float32 => text
            .parse()
            .ok()
            .map(|value| ScalarValue::Float32(Some(value))),
        _ => text
            .parse()
            .ok()
            .map(|value| ScalarValue::Float64(Some(value))),
    });
    match scalar {
        Some(scalar) => Expr::Literal(scalar, None),
        None => cast_to(expr, to),
    }
}

/// A date, or text that is one, as a timestamp in microseconds; anything else as it is.
fn of_microseconds(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
    Ok(match expr.get_type(schema)? {
        DataType::Date32 => cast_to(expr, &wanted),
        DataType::Utf8 => match point(&expr, &DataType::Utf8) {
            Some(Point::Known { moment, .. }) => literal(moment, &wanted).unwrap_or(expr),
            _ => expr,
        },
        _ => expr,
    })
}

fn cast_to(expr: Expr, data_type: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), data_type.clone()))
}

fn instant(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Instant::udf().into(), vec![expr]))
}

fn microseconds(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Microseconds::udf().into(),
        vec![expr],
    ))
}
