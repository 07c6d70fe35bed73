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

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::types::{Date32Type, TimestampNanosecondType};
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

use super::checked::rewrite;
use super::functions::{INSTANT, Instant, Microseconds, nanoseconds_in};

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
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    use Purpose::{Combine, Compare};
    let aligned = match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let [left, right] = match op {
                Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom => {
                    together([*left, *right], schema, Compare)?
                }
                Operator::Divide => divided([*left, *right], schema)?,
                Operator::Minus => together([*left, *right], schema, Combine)?,
                Operator::Plus | Operator::Multiply | Operator::Modulo => {
                    numbers([*left, *right], schema)?
                }
                _ => [*left, *right],
            };
            Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
        }
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
        Expr::Cast(Cast { expr, field }) => {
            let data_type = expr.get_type(schema)?;
            let from_more_digits = matches!(
                data_type,
                DataType::Timestamp(TimeUnit::Nanosecond, None) | DataType::Utf8
            );
            let to_microseconds = matches!(
                field.data_type(),
                DataType::Timestamp(TimeUnit::Microsecond, None)
            );
            if from_more_digits && to_microseconds {
                microseconds(*expr)
            } else {
                Expr::Cast(Cast { expr, field })
            }
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let args = match func.name() {
                "coalesce" | "greatest" | "least" | "nvl" | "nullif" | "make_array" => {
                    aligned(args, schema, Combine)?
                }
                "nvl2" => {
                    let mut args = args;
                    let rest = aligned(args.split_off(1), schema, Combine)?;
                    args.into_iter().chain(rest).collect()
                }
                "date_trunc" => args
                    .into_iter()
                    .map(|argument| of_microseconds(argument, schema))
                    .collect::<Result<_>>()?,
                _ => args,
            };
            Expr::ScalarFunction(ScalarFunction { func, args })
        }
        other => return Ok(Transformed::no(other)),
    };
    Ok(Transformed::yes(aligned))
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

/// Whether a type is one of points in time.
fn is_point(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

fn zone_of(data_type: &DataType) -> Option<Arc<str>> {
    match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    }
}

/// An expression among dates and timestamps.
enum Point {
    /// A moment in nanoseconds that is known, and whether it is a day.
    Known {
        moment: i128,
        is_day: bool,
        zone: Option<Arc<str>>,
    },
    /// Whatever the expression gives.
    Unknown(DataType),
    Null,
}

/// Dates and timestamps beside one another, of several types or beside literals.
fn align_points(exprs: Vec<Expr>, types: &[DataType], purpose: Purpose) -> Vec<Expr> {
    let points: Option<Vec<Point>> = exprs
        .iter()
        .zip(types)
        .map(|(expr, data_type)| point(expr, data_type))
        .collect();
    let Some(points) = points else { return exprs };
    if !types.iter().any(is_point) {
        return exprs;
    }
    let mut unknown: Vec<&DataType> = points
        .iter()
        .filter_map(|point| {
            if let Point::Unknown(of) = point {
                Some(of)
            } else {
                None
            }
        })
        .collect();
    unknown.dedup();
    let zones = points.iter().filter_map(|point| match point {
        Point::Known { zone, is_day, .. } if !is_day => Some(zone.clone()),
        Point::Unknown(data_type @ DataType::Timestamp(..)) => Some(zone_of(data_type)),
        _ => None,
    });
    let zone = zones.clone().flatten().next();
    let known = || {
        points.iter().filter_map(|point| {
            if let Point::Known { moment, is_day, .. } = point {
                Some((*moment, *is_day))
            } else {
                None
            }
        })
    };
    // The type that all of them have already, or that literals can take exactly.
    let same = match unknown.as_slice() {
        [] => {
            let days = known().all(|(_, is_day)| is_day);
            Some(if days {
                DataType::Date32
            } else {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            })
        }
        [one] => Some((*one).clone()),
        _ => None,
    };
    let fits =
        |data_type: &DataType| known().all(|(moment, _)| literal(moment, data_type).is_some());
    let target = match same {
        Some(data_type) if fits(&data_type) && zone_of(&data_type) == zone => Some(data_type),
        _ => None,
    };
    let microseconds_of = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    let finest_is_coarse = unknown
        .iter()
        .all(|data_type| !matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _)));
    let target = match (target, purpose) {
        (Some(target), _) => Some(target),
        // Nothing of these loses anything in microseconds.
        (None, _) if finest_is_coarse && fits(&microseconds_of) => Some(microseconds_of),
        (None, Purpose::Compare) => None,
        (None, Purpose::Combine) if fits(&microseconds_of) => Some(microseconds_of),
        (None, Purpose::Combine) => return exprs,
    };
    let rewritten = exprs
        .into_iter()
        .zip(points)
        .map(|(expr, point)| match (point, &target) {
            (Point::Null, Some(target)) => cast_to(expr, target),
            (Point::Null, None) => cast_to(expr, &INSTANT),
            (Point::Known { moment, .. }, Some(target)) => literal(moment, target).unwrap_or(expr),
            (Point::Known { moment, .. }, None) => {
                Expr::Literal(ScalarValue::Decimal128(Some(moment), 38, 0), None)
            }
            (Point::Unknown(data_type), Some(target)) if data_type == *target => expr,
            (Point::Unknown(data_type), Some(target)) => combined(expr, &data_type, target),
            (Point::Unknown(_), None) => instant(expr),
        });
    rewritten.collect()
}

/// What is known of an expression as a point in time; `None` if it is not one.
fn point(expr: &Expr, data_type: &DataType) -> Option<Point> {
    let known = match expr {
        Expr::Literal(scalar, _) if scalar.is_null() => return Some(Point::Null),
        Expr::Literal(scalar, _) => moment_of(scalar, None),
        Expr::Cast(Cast { expr, field }) => match expr.as_ref() {
            Expr::Literal(scalar, _) if is_point(field.data_type()) => {
                moment_of(scalar, Some(field.data_type()))
            }
            _ => None,
        },
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "microseconds" => {
            match args.as_slice() {
                [Expr::Literal(scalar, _)] => moment_of(scalar, Some(data_type)),
                _ => None,
            }
        }
        _ => None,
    };
    match known {
        Some(known) => Some(known),
        None if is_point(data_type) => Some(Point::Unknown(data_type.clone())),
        None => None,
    }
}

/// The moment of a literal, which may be text that is read as `wanted`, or as whatever it is.
fn moment_of(scalar: &ScalarValue, wanted: Option<&DataType>) -> Option<Point> {
    let known = |moment, is_day, zone| {
        Some(Point::Known {
            moment,
            is_day,
            zone,
        })
    };
    const DAY: i128 = 86_400_000_000_000;
    match scalar {
        ScalarValue::Utf8(Some(text)) => {
            let text = text.trim();
            let zone = wanted.and_then(zone_of);
            let is_day = !text.contains([':', 'T', ' ']);
            let day = |text: &str| {
                read(text, &DataType::Date32)
                    .map(|array| i128::from(array.as_primitive::<Date32Type>().value(0)) * DAY)
            };
            match wanted {
                Some(DataType::Date32) => known(day(text)?, true, None),
                _ if is_day => known(day(text)?, wanted.is_none(), zone),
                _ => known(moment_of_text(text)?, false, zone),
            }
        }
        ScalarValue::Date32(Some(days)) => known(i128::from(*days) * DAY, true, None),
        ScalarValue::TimestampSecond(Some(value), zone) => {
            known(i128::from(*value) * 1_000_000_000, false, zone.clone())
        }
        ScalarValue::TimestampMillisecond(Some(value), zone) => {
            known(i128::from(*value) * 1_000_000, false, zone.clone())
        }
        ScalarValue::TimestampMicrosecond(Some(value), zone) => {
            known(i128::from(*value) * 1_000, false, zone.clone())
        }
        ScalarValue::TimestampNanosecond(Some(value), zone) => {
            known(i128::from(*value), false, zone.clone())
        }
        _ => None,
    }
}

fn read(text: &str, data_type: &DataType) -> Option<arrow::array::ArrayRef> {
    let options = arrow::compute::CastOptions {
        safe: false,
        ..Default::default()
    };
    arrow::compute::cast_with_options(
        &arrow::array::StringArray::from(vec![text]),
        data_type,
        &options,
    )
    .ok()
}

/// The moment of a date with a time, in nanoseconds.
fn moment_of_text(text: &str) -> Option<i128> {
    if let Some(array) = read(text, &DataType::Timestamp(TimeUnit::Nanosecond, None)) {
        return Some(i128::from(
            array.as_primitive::<TimestampNanosecondType>().value(0),
        ));
    }
    // Beyond the range of nanoseconds: whole seconds, and the digits after them.
    let whole = text.split('.').next().unwrap_or(text);
    let seconds = read(whole, &DataType::Timestamp(TimeUnit::Second, None))?;
    let seconds = i128::from(
        seconds
            .as_primitive::<arrow::array::types::TimestampSecondType>()
            .value(0),
    ) * 1_000_000_000;
    let fraction = match text.split_once('.') {
        None => 0,
        Some((_, digits))
            if digits.len() <= 9 && digits.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            format!("{digits:0<9}").parse().ok()?
        }
        Some(_) => return None,
    };
    Some(seconds + fraction)
}

/// A moment as a literal of a type, if the type holds it exactly.
fn literal(moment: i128, data_type: &DataType) -> Option<Expr> {
    let of = |nanoseconds: i128| (moment % nanoseconds == 0).then_some(moment / nanoseconds);
    let scalar = match data_type {
        DataType::Date32 => ScalarValue::Date32(Some(i32::try_from(of(86_400_000_000_000)?).ok()?)),
        DataType::Timestamp(unit, zone) => {
            let value = Some(i64::try_from(of(nanoseconds_in(*unit))?).ok()?);
            match unit {
                TimeUnit::Second => ScalarValue::TimestampSecond(value, zone.clone()),
                TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(value, zone.clone()),
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(value, zone.clone()),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(value, zone.clone()),
            }
        }
        _ => return None,
    };
    Some(Expr::Literal(scalar, None))
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
