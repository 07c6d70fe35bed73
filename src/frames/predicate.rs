//! Filters of lazy frames as conditions of asof: those parts that both judge alike.
//!
//! A part is a comparison of integers, text, dates or truth values with a constant, a test for
//! nulls, or such parts joined by and, or and not. For each row it is true, false or null in both.
//! What is not such a part is left out, so that a condition holds wherever the filter does. Floats
//! are left out, too: where NaN stands is a rule of each engine's own.

use chrono::NaiveDate;
use polars_core::prelude::{AnyValue, DataType, PlSmallStr, Schema};
use polars_plan::dsl::{BooleanFunction, Expr, FunctionExpr, Operator};
use polars_plan::plans::{DynLiteralValue, LiteralValue};

/// A condition that holds wherever the filter does; nothing if that is every row.
pub fn condition_of(filter: &Expr, schema: &Schema) -> Option<String> {
    let mut parts = Vec::new();
    gather(filter, schema, &mut parts);
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

/// Adds the parts that all have to hold.
fn gather(filter: &Expr, schema: &Schema, parts: &mut Vec<String>) {
    match filter {
        Expr::BinaryExpr {
            left,
            op: Operator::And | Operator::LogicalAnd,
            right,
        } => {
            gather(left, schema, parts);
            gather(right, schema, parts);
        }
        part => parts.extend(translated(part, schema).map(|part| format!("({part})"))),
    }
}

/// The condition that is true, false or null for the same rows, if one is known.
fn translated(part: &Expr, schema: &Schema) -> Option<String> {
    match part {
        Expr::BinaryExpr { left, op, right } => {
            let both = |word: &str| {
                let (left, right) = (translated(left, schema)?, translated(right, schema)?);
                Some(format!("({left}) {word} ({right})"))
            };
            match op {
                Operator::And | Operator::LogicalAnd => both("AND"),
                Operator::Or | Operator::LogicalOr => both("OR"),
                op => comparison(left, *op, right, schema)
                    .or_else(|| comparison(right, mirrored(*op), left, schema)),
            }
        }
        Expr::Column(name) if schema.get(name) == Some(&DataType::Boolean) => Some(quoted(name)),
        Expr::Function {
            input,
            function: FunctionExpr::Boolean(function),
        } => {
            let [inner] = input.as_slice() else {
                return None;
            };
            match (function, inner) {
                (BooleanFunction::Not, inner) => {
                    translated(inner, schema).map(|inner| format!("NOT ({inner})"))
                }
                (BooleanFunction::IsNull, Expr::Column(name)) if schema.contains(name) => {
                    Some(format!("{} IS NULL", quoted(name)))
                }
                (BooleanFunction::IsNotNull, Expr::Column(name)) if schema.contains(name) => {
                    Some(format!("{} IS NOT NULL", quoted(name)))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The comparison of a column with a constant.
fn comparison(column: &Expr, op: Operator, constant: &Expr, schema: &Schema) -> Option<String> {
    let (Expr::Column(name), Expr::Literal(constant)) = (column, constant) else {
        return None;
    };
    let constant = literal(constant, schema.get(name)?)?;
    let op = match op {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::EqValidity => "IS NOT DISTINCT FROM",
        Operator::NotEqValidity => "IS DISTINCT FROM",
        _ => return None,
    };
    Some(format!("{} {op} {constant}", quoted(name)))
}

/// The operator with its sides exchanged.
fn mirrored(op: Operator) -> Operator {
    match op {
        Operator::Lt => Operator::Gt,
        Operator::LtEq => Operator::GtEq,
        Operator::Gt => Operator::Lt,
        Operator::GtEq => Operator::LtEq,
        op => op,
    }
}

fn quoted(name: &PlSmallStr) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A constant in SQL, if it is of the kind of a column's type.
fn literal(constant: &LiteralValue, data_type: &DataType) -> Option<String> {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match (constant, data_type) {
        (LiteralValue::Dyn(DynLiteralValue::Int(number)), column) if column.is_integer() => {
            i64::try_from(*number).ok().map(|number| number.to_string())
        }
        (LiteralValue::Dyn(DynLiteralValue::Str(value)), DataType::String) => Some(text(value)),
        (LiteralValue::Scalar(scalar), column) => match (scalar.value(), column) {
            (AnyValue::String(value), DataType::String) => Some(text(value)),
            (AnyValue::StringOwned(value), DataType::String) => Some(text(value)),
            (AnyValue::Boolean(value), DataType::Boolean) => Some(value.to_string()),
            (AnyValue::Date(days), DataType::Date) => {
                let date = NaiveDate::from_epoch_days(*days)?;
                Some(format!("DATE '{date}'"))
            }
            (number, column) if column.is_integer() && number.dtype().is_integer() => {
                number.extract::<i64>().map(|number| number.to_string())
            }
            _ => None,
        },
        _ => None,
    }
}
