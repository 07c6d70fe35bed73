//! Expressions, functions, windows and literals.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::Expr::{
    Array, CompoundIdentifier, Cube, Dictionary, GroupingSets, Identifier, IsDistinctFrom, IsFalse,
    IsNotDistinctFrom, IsNotFalse, IsNotNull, IsNotTrue, IsNotUnknown, IsNull, IsTrue, IsUnknown,
    Lambda, Map, Nested, QualifiedWildcard, Rollup, Subquery, Tuple, TypedString, Wildcard,
};
use datafusion::sql::sqlparser::ast::{
    CastKind, CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Interval, OrderByExpr, Value,
    ValueWithSpan, WindowSpec, WindowType,
};

use super::{
    ClauseCheck, DONE, ORDER_BY, Refusal, WHOLE_WINDOW, refuse, refuse_if, refuse_if_with,
    refuse_with,
};

/// Refuses an expression that is not carried out.
///
/// Every kind is named, so that a new one is decided about.
pub(super) fn check_expression(expression: &Expr) -> ClauseCheck {
    match expression {
        #[rustfmt::skip] // A line each says no more.
        Identifier(_) | CompoundIdentifier(_) | IsFalse(_) | IsNotFalse(_) | IsTrue(_)
        | IsNotTrue(_) | IsNull(_) | IsNotNull(_) | IsUnknown(_) | IsNotUnknown(_)
        | IsDistinctFrom(..) | IsNotDistinctFrom(..) | Nested(_) | Expr::Value(_)
        | TypedString(_) | Subquery(_) | GroupingSets(_) | Cube(_) | Rollup(_) | Tuple(_)
        | Dictionary(_) | Map(_) | Array(_) | Wildcard(_) | QualifiedWildcard(..) | Lambda(_)
        | Expr::CompoundFieldAccess { .. } | Expr::InList { .. } | Expr::InSubquery { .. }
        | Expr::Between { .. } | Expr::BinaryOp { .. } | Expr::SimilarTo { .. }
        | Expr::AnyOp { .. } | Expr::AllOp { .. } | Expr::UnaryOp { .. }
        | Expr::AtTimeZone { .. } | Expr::Extract { .. } | Expr::Position { .. }
        | Expr::Substring { .. } | Expr::Trim { .. } | Expr::Overlay { .. } | Expr::Case { .. }
        | Expr::Exists { .. } | Expr::Struct { .. } | Expr::Named { .. } => DONE,
        Expr::Like { any, .. } | Expr::ILike { any, .. } => refuse_if(*any, "LIKE ANY"),
        Expr::Cast {
            kind,
            expr: _,
            data_type: _,
            array,
            format,
        } => check_cast(kind, *array, format.is_some()),
        Expr::Ceil { expr: _, field } | Expr::Floor { expr: _, field } => check_rounding(field),
        Expr::Function(function) => check_function(function),
        Expr::Interval(interval) => check_interval(interval),
        Expr::JsonAccess { .. } => refuse("a JSON path"),
        Expr::IsNormalized { .. } => refuse("IS NORMALIZED"),
        Expr::InUnnest { .. } => refuse("IN UNNEST"),
        Expr::RLike { .. } => refuse_with("RLIKE or REGEXP", "write regexp_like(x, pattern)"),
        Expr::Convert { .. } => refuse_with("CONVERT", "write CAST(x AS type)"),
        Expr::Collate { .. } => refuse("COLLATE"),
        Expr::Prefixed { .. } => refuse("a literal with a prefix"),
        Expr::MatchAgainst { .. } => refuse("MATCH ... AGAINST"),
        Expr::OuterJoin(_) => refuse_with("(+)", "write LEFT JOIN"),
        Expr::Prior(_) => refuse("PRIOR"),
        Expr::MemberOf(_) => refuse("MEMBER OF"),
    }
}

fn check_cast(kind: &CastKind, array: bool, has_format: bool) -> ClauseCheck {
    match kind {
        CastKind::Cast | CastKind::TryCast | CastKind::SafeCast | CastKind::DoubleColon => {}
    }
    refuse_if(array, "CAST ... ARRAY")?;
    refuse_if(has_format, "CAST ... FORMAT")
}

fn check_rounding(field: &CeilFloorKind) -> ClauseCheck {
    match field {
        CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => DONE,
        CeilFloorKind::DateTimeField(_) => refuse_with(
            "CEIL or FLOOR to a unit of time",
            "write date_trunc('month', x)",
        ),
        CeilFloorKind::Scale(_) => {
            refuse_with("CEIL or FLOOR to a number of digits", "write round(x, n)")
        }
    }
}

fn check_interval(interval: &Interval) -> ClauseCheck {
    let Interval {
        value: _,
        leading_field: _,
        leading_precision,
        last_field,
        fractional_seconds_precision,
    } = interval;
    let is_there = leading_precision.is_some()
        || last_field.is_some()
        || fractional_seconds_precision.is_some();
    refuse_if(is_there, "a precision or a second unit of an INTERVAL")
}

pub(super) fn check_value(value: &ValueWithSpan) -> ClauseCheck {
    match &value.value {
        Value::Number(..)
        | Value::SingleQuotedString(_)
        | Value::DoubleQuotedString(_)
        | Value::DollarQuotedString(_)
        | Value::EscapedStringLiteral(_)
        | Value::HexStringLiteral(_)
        | Value::Boolean(_)
        | Value::Null => DONE,
        Value::Placeholder(name) => {
            let clause = format!("the parameter {name}");
            ControlFlow::Break(Refusal {
                clause,
                hint: Some("in a job, {date} is the date being run"),
            })
        }
        other => refuse(format!("the literal {other}")),
    }
}

fn check_function(function: &Function) -> ClauseCheck {
    let Function {
        name,
        uses_odbc_syntax: _,
        parameters,
        args,
        filter: _,
        null_treatment: _,
        over,
        within_group,
    } = function;
    if !matches!(parameters, FunctionArguments::None) {
        return refuse(format!("a second list of arguments of {name}"));
    }
    check_order(within_group)?;
    match args {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(_) => {
            return refuse(format!("a query as the argument of {name}"));
        }
        FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: _,
            args,
            clauses,
        }) => {
            args.iter().try_for_each(check_argument)?;
            for clause in clauses {
                match clause {
                    FunctionArgumentClause::IgnoreOrRespectNulls(_) => {}
                    FunctionArgumentClause::OrderBy(expressions) => check_order(expressions)?,
                    FunctionArgumentClause::Limit(_) => return refuse(format!("LIMIT in {name}")),
                    FunctionArgumentClause::OnOverflow(_) => {
                        return refuse(format!("ON OVERFLOW in {name}"));
                    }
                    FunctionArgumentClause::Having(_) => {
                        return refuse(format!("HAVING in {name}"));
                    }
                    FunctionArgumentClause::Separator(_) => {
                        return refuse_with("SEPARATOR", "write string_agg(x, ',' ORDER BY y)");
                    }
                    FunctionArgumentClause::JsonNullClause(_)
                    | FunctionArgumentClause::JsonReturningClause(_) => {
                        return refuse(format!("a JSON clause in {name}"));
                    }
                }
            }
        }
    }
    match over {
        Some(WindowType::WindowSpec(window)) => check_window(window),
        Some(WindowType::NamedWindow(_)) | None => DONE,
    }
}

pub(super) fn check_argument(argument: &FunctionArg) -> ClauseCheck {
    let (FunctionArg::Named { arg, .. }
    | FunctionArg::ExprNamed { arg, .. }
    | FunctionArg::Unnamed(arg)) = argument;
    match arg {
        FunctionArgExpr::Expr(_)
        | FunctionArgExpr::QualifiedWildcard(_)
        | FunctionArgExpr::Wildcard => DONE,
        FunctionArgExpr::WildcardWithOptions(_) => refuse("* with options as an argument"),
    }
}

pub(super) fn check_order(expressions: &[OrderByExpr]) -> ClauseCheck {
    expressions.iter().try_for_each(
        |OrderByExpr {
             expr: _,
             options: _,
             with_fill,
         }| refuse_if_with(with_fill.is_some(), "WITH FILL", ORDER_BY),
    )
}

pub(super) fn check_window(window: &WindowSpec) -> ClauseCheck {
    let WindowSpec {
        window_name,
        partition_by: _,
        order_by,
        window_frame: _,
    } = window;
    refuse_if_with(
        window_name.is_some(),
        "a window that extends a named one",
        WHOLE_WINDOW,
    )?;
    check_order(order_by)
}
