//! Which syntax a query may use.
//!
//! The parser accepts the clauses of many databases, and the planner ignores some of those that it
//! does not carry out. A clause that is ignored changes the result without a word, so every clause
//! that is not known to be carried out is refused by name. Structs are taken apart field by field:
//! when a newer parser knows a new clause, this file does not compile until someone decides about
//! it.
//!
//! Two literals are rewritten on the way. `TIMESTAMP` without a precision is in microseconds, which
//! reach the year 9999, and in nanoseconds only where a literal has that many digits. A number with
//! an exponent is a `DOUBLE`, and any other number with a point is a decimal.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, CeilFloorKind, ConnectByKind, Cte, DataType, DateTimeField, Distinct, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    GroupByExpr, GroupByWithModifier, Ident, Interval, Join, JoinConstraint, JoinOperator,
    LimitClause, NamedWindowExpr, OrderBy, OrderByExpr, Query, Select, SelectFlavor, SelectItem,
    SetExpr, TableAlias, TableFactor, TableFunctionArgs, TimezoneInfo, TypedString, Value,
    ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut, WildcardAdditionalOptions, WindowSpec,
    WindowType, With,
};

use crate::error::{Error, Result};

/// Refuses syntax that would be ignored or cannot be carried out, and types literals; see the
/// module.
///
/// # Errors
/// A usage error that names the clause.
pub(super) fn check<T: Visit + VisitMut>(tree: &mut T) -> Result<()> {
    if let ControlFlow::Break(refusal) = Visit::visit(tree, &mut Supported) {
        let error = Error::usage(format!("{} is not supported", refusal.clause));
        return Err(refusal.hint.into_iter().fold(error, Error::hint));
    }
    let _ = VisitMut::visit(tree, &mut Literals);
    Ok(())
}

/// The names in an expression that may be columns, as they are looked up: without quotes in lower
/// case.
pub(super) fn names_in(expression: &Expr) -> Vec<String> {
    let mut names = Names(Vec::new());
    let _ = Visit::visit(expression, &mut names);
    names.0.sort();
    names.0.dedup();
    names.0
}

struct Names(Vec<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let parts = match expression {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(parts) => parts,
            _ => return ControlFlow::Continue(()),
        };
        let read = |name: &Ident| {
            if name.quote_style.is_some() {
                name.value.clone()
            } else {
                name.value.to_ascii_lowercase()
            }
        };
        self.0.extend(parts.iter().map(read));
        ControlFlow::Continue(())
    }
}

/// A clause that is not carried out.
struct Refusal {
    clause: String,
    hint: Option<&'static str>,
}

type Checked = ControlFlow<Refusal>;

fn refuse(clause: impl Into<String>) -> Checked {
    ControlFlow::Break(Refusal {
        clause: clause.into(),
        hint: None,
    })
}

fn refuse_with(clause: &str, hint: &'static str) -> Checked {
    ControlFlow::Break(Refusal {
        clause: clause.into(),
        hint: Some(hint),
    })
}

fn refuse_if_with(is_there: bool, clause: &str, hint: &'static str) -> Checked {
    if is_there {
        refuse_with(clause, hint)
    } else {
        ControlFlow::Continue(())
    }
}

fn refuse_if(is_there: bool, clause: &str) -> Checked {
    if is_there {
        refuse(clause)
    } else {
        ControlFlow::Continue(())
    }
}

const ORDER_BY: &str = "write ORDER BY";
const WHOLE_WINDOW: &str = "write the whole window: OVER (PARTITION BY x ORDER BY y)";
const DONE: Checked = ControlFlow::Continue(());

struct Supported;

impl Visitor for Supported {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> Checked {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if let Some(With {
            with_token: _,
            recursive: _,
            cte_tables,
        }) = with
        {
            for Cte {
                alias,
                query: _,
                from,
                materialized: _,
                closing_paren_token: _,
            } in cte_tables
            {
                check_alias(Some(alias))?;
                refuse_if(from.is_some(), "FROM after a common table expression")?;
            }
        }
        check_body(body)?;
        if let Some(OrderBy { kind, interpolate }) = order_by {
            refuse_if(interpolate.is_some(), "INTERPOLATE")?;
            if let datafusion::sql::sqlparser::ast::OrderByKind::Expressions(expressions) = kind {
                check_order(expressions)?;
            }
        }
        match limit_clause {
            Some(LimitClause::LimitOffset {
                limit: _,
                offset: _,
                limit_by,
            }) => {
                refuse_if_with(
                    !limit_by.is_empty(),
                    "LIMIT ... BY",
                    "write QUALIFY row_number() OVER (PARTITION BY x ORDER BY y) <= n",
                )?;
            }
            Some(LimitClause::OffsetCommaLimit { .. }) | None => {}
        }
        if fetch.is_some() {
            return refuse_with("FETCH", "write LIMIT n");
        }
        refuse_if(!locks.is_empty(), "FOR UPDATE or FOR SHARE")?;
        refuse_if(for_clause.is_some(), "FOR XML, FOR JSON or FOR BROWSE")?;
        refuse_if(settings.is_some(), "SETTINGS")?;
        refuse_if(format_clause.is_some(), "FORMAT")?;
        refuse_if(!pipe_operators.is_empty(), "the pipe operator |>")
    }

    fn pre_visit_select(&mut self, select: &Select) -> Checked {
        let Select {
            select_token: _,
            // Hints are comments.
            optimizer_hints: _,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window,
            qualify: _,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        match distinct {
            None | Some(Distinct::All | Distinct::Distinct | Distinct::On(_)) => {}
        }
        if let Some(modifiers) = select_modifiers
            && modifiers.is_any_set()
        {
            return refuse(format!("SELECT{modifiers}"));
        }
        if top.is_some() {
            return refuse_with("TOP", "write LIMIT n at the end of the query");
        }
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => {}
                SelectItem::ExprWithAliases { .. } => {
                    return refuse("a list of aliases for one expression");
                }
                SelectItem::QualifiedWildcard(_, options) | SelectItem::Wildcard(options) => {
                    check_wildcard(options)?
                }
            }
        }
        refuse_if(exclude.is_some(), "EXCLUDE after the columns")?;
        refuse_if(into.is_some(), "SELECT INTO")?;
        for table in from {
            check_joins(&table.joins)?;
        }
        refuse_if(!lateral_views.is_empty(), "LATERAL VIEW")?;
        if prewhere.is_some() {
            return refuse_with("PREWHERE", "write WHERE");
        }
        if let Some(clause) = connect_by.first() {
            let clause = match clause {
                ConnectByKind::ConnectBy { .. } => "CONNECT BY",
                ConnectByKind::StartWith { .. } => "START WITH",
            };
            return refuse_with(clause, "write WITH RECURSIVE");
        }
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
        if let Some(modifier) = modifiers.first() {
            return match modifier {
                GroupByWithModifier::Rollup => {
                    refuse_with("WITH ROLLUP", "write GROUP BY ROLLUP (a, b)")
                }
                GroupByWithModifier::Cube => refuse_with("WITH CUBE", "write GROUP BY CUBE (a, b)"),
                GroupByWithModifier::Totals => {
                    refuse_with("WITH TOTALS", "write GROUP BY GROUPING SETS ((a), ())")
                }
                GroupByWithModifier::GroupingSets(_) => refuse_with(
                    "GROUPING SETS after other groups",
                    "write GROUP BY GROUPING SETS ((a), ())",
                ),
            };
        }
        refuse_if_with(!cluster_by.is_empty(), "CLUSTER BY", ORDER_BY)?;
        refuse_if_with(!distribute_by.is_empty(), "DISTRIBUTE BY", ORDER_BY)?;
        refuse_if_with(!sort_by.is_empty(), "SORT BY", ORDER_BY)?;
        for window in named_window {
            match &window.1 {
                NamedWindowExpr::NamedWindow(_) => {
                    return refuse_with("a window that is named after another one", WHOLE_WINDOW);
                }
                NamedWindowExpr::WindowSpec(window) => check_window(window)?,
            }
        }
        refuse_if(value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE")?;
        match flavor {
            SelectFlavor::Standard | SelectFlavor::FromFirst => DONE,
            SelectFlavor::FromFirstNoSelect => {
                refuse_with("FROM without SELECT", "write SELECT * FROM")
            }
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Checked {
        match factor {
            TableFactor::Table {
                name: _,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                check_alias(alias.as_ref())?;
                if let Some(TableFunctionArgs { args, settings }) = args {
                    args.iter().try_for_each(check_argument)?;
                    refuse_if(settings.is_some(), "SETTINGS")?;
                }
                refuse_if(!with_hints.is_empty(), "WITH (...) after a table")?;
                if version.is_some() {
                    return refuse_with(
                        "FOR SYSTEM_TIME AS OF or VERSION AS OF",
                        "a job reads each table as of its date; tolerance and lag choose another \
                         snapshot",
                    );
                }
                refuse_if(*with_ordinality, "WITH ORDINALITY")?;
                refuse_if(!partitions.is_empty(), "PARTITION (...) after a table")?;
                refuse_if(json_path.is_some(), "a JSON path after a table")?;
                refuse_if(sample.is_some(), "TABLESAMPLE or SAMPLE")?;
                refuse_if(!index_hints.is_empty(), "an index hint")
            }
            TableFactor::Derived {
                lateral: _,
                subquery: _,
                alias,
                sample,
            } => {
                check_alias(alias.as_ref())?;
                refuse_if(sample.is_some(), "TABLESAMPLE or SAMPLE")
            }
            TableFactor::Function {
                lateral: _,
                name: _,
                args,
                with_ordinality,
                alias,
            } => {
                check_alias(alias.as_ref())?;
                args.iter().try_for_each(check_argument)?;
                refuse_if(*with_ordinality, "WITH ORDINALITY")
            }
            TableFactor::UNNEST {
                alias,
                array_exprs: _,
                with_offset,
                with_offset_alias,
                with_ordinality,
            } => {
                check_alias(alias.as_ref())?;
                refuse_if(*with_offset || with_offset_alias.is_some(), "WITH OFFSET")?;
                refuse_if(*with_ordinality, "WITH ORDINALITY")
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                check_alias(alias.as_ref())?;
                check_joins(&table_with_joins.joins)
            }
            TableFactor::TableFunction { .. } => refuse("TABLE (...)"),
            TableFactor::JsonTable { .. } => refuse("JSON_TABLE"),
            TableFactor::OpenJsonTable { .. } => refuse("OPENJSON"),
            TableFactor::Pivot { .. } => refuse("PIVOT"),
            TableFactor::Unpivot { .. } => refuse("UNPIVOT"),
            TableFactor::MatchRecognize { .. } => refuse("MATCH_RECOGNIZE"),
            TableFactor::XmlTable { .. } => refuse("XMLTABLE"),
            TableFactor::SemanticView { .. } => refuse("SEMANTIC_VIEW"),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> Checked {
        match expression {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::CompoundFieldAccess { .. }
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::BinaryOp { .. }
            | Expr::SimilarTo { .. }
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. }
            | Expr::UnaryOp { .. }
            | Expr::AtTimeZone { .. }
            | Expr::Extract { .. }
            | Expr::Position { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Overlay { .. }
            | Expr::Nested(_)
            | Expr::Value(_)
            | Expr::TypedString(_)
            | Expr::Case { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            | Expr::GroupingSets(_)
            | Expr::Cube(_)
            | Expr::Rollup(_)
            | Expr::Tuple(_)
            | Expr::Struct { .. }
            | Expr::Named { .. }
            | Expr::Dictionary(_)
            | Expr::Map(_)
            | Expr::Array(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..)
            | Expr::Lambda(_) => DONE,
            Expr::Like { any, .. } | Expr::ILike { any, .. } => refuse_if(*any, "LIKE ANY"),
            Expr::Cast {
                kind,
                expr: _,
                data_type: _,
                array,
                format,
            } => {
                match kind {
                    CastKind::Cast
                    | CastKind::TryCast
                    | CastKind::SafeCast
                    | CastKind::DoubleColon => {}
                }
                refuse_if(*array, "CAST ... ARRAY")?;
                refuse_if(format.is_some(), "CAST ... FORMAT")
            }
            Expr::Ceil { expr: _, field } | Expr::Floor { expr: _, field } => match field {
                CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => DONE,
                CeilFloorKind::DateTimeField(_) => refuse_with(
                    "CEIL or FLOOR to a unit of time",
                    "write date_trunc('month', x)",
                ),
                CeilFloorKind::Scale(_) => {
                    refuse_with("CEIL or FLOOR to a number of digits", "write round(x, n)")
                }
            },
            Expr::Function(function) => check_function(function),
            Expr::Interval(Interval {
                value: _,
                leading_field: _,
                leading_precision,
                last_field,
                fractional_seconds_precision,
            }) => {
                let is_there = leading_precision.is_some()
                    || last_field.is_some()
                    || fractional_seconds_precision.is_some();
                refuse_if(is_there, "a precision or a second unit of an INTERVAL")
            }
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

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> Checked {
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
}

fn check_body(body: &SetExpr) -> Checked {
    match body {
        // Both are visited by themselves.
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => DONE,
        SetExpr::SetOperation {
            left,
            op: _,
            set_quantifier: _,
            right,
        } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Table(_) => refuse_with("TABLE t", "write SELECT * FROM t"),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            refuse("a statement that writes")
        }
    }
}

fn check_order(expressions: &[OrderByExpr]) -> Checked {
    expressions.iter().try_for_each(
        |OrderByExpr {
             expr: _,
             options: _,
             with_fill,
         }| refuse_if_with(with_fill.is_some(), "WITH FILL", ORDER_BY),
    )
}

fn check_joins(joins: &[Join]) -> Checked {
    for Join {
        relation: _,
        global,
        join_operator,
    } in joins
    {
        refuse_if(*global, "GLOBAL JOIN")?;
        match join_operator {
            JoinOperator::Join(_)
            | JoinOperator::Inner(_)
            | JoinOperator::Left(_)
            | JoinOperator::LeftOuter(_)
            | JoinOperator::Right(_)
            | JoinOperator::RightOuter(_)
            | JoinOperator::FullOuter(_)
            | JoinOperator::LeftSemi(_)
            | JoinOperator::RightSemi(_)
            | JoinOperator::LeftAnti(_)
            | JoinOperator::RightAnti(_) => {}
            JoinOperator::CrossJoin(constraint) => {
                refuse_if(
                    !matches!(constraint, JoinConstraint::None),
                    "a condition of a CROSS JOIN",
                )?;
            }
            JoinOperator::Semi(_) => return refuse_with("SEMI JOIN", "write LEFT SEMI JOIN"),
            JoinOperator::Anti(_) => return refuse_with("ANTI JOIN", "write LEFT ANTI JOIN"),
            JoinOperator::CrossApply | JoinOperator::OuterApply => {
                return refuse_with("APPLY", "write JOIN LATERAL");
            }
            JoinOperator::AsOf { .. } => {
                return refuse_with(
                    "ASOF JOIN",
                    "a job reads each table as of its date, so that a join on the key is enough",
                );
            }
            JoinOperator::StraightJoin(_) => return refuse_with("STRAIGHT_JOIN", "write JOIN"),
            JoinOperator::ArrayJoin
            | JoinOperator::LeftArrayJoin
            | JoinOperator::InnerArrayJoin => {
                return refuse_with("ARRAY JOIN", "write CROSS JOIN UNNEST(x)");
            }
        }
    }
    DONE
}

/// Words of other databases that this parser reads as the alias of the table before them.
const NO_ALIASES: [&str; 9] = [
    "any",
    "asof",
    "final",
    "positional",
    "prewhere",
    "sample",
    "tablesample",
    "pivot",
    "unpivot",
];

fn check_alias(alias: Option<&TableAlias>) -> Checked {
    let Some(TableAlias {
        explicit,
        name,
        columns,
        at,
    }) = alias
    else {
        return DONE;
    };
    let written = name.value.to_lowercase();
    if !explicit && name.quote_style.is_none() && NO_ALIASES.contains(&written.as_str()) {
        let clause = written.to_uppercase();
        return ControlFlow::Break(Refusal {
            clause,
            hint: Some("if it is an alias of the table, write AS before it"),
        });
    }
    refuse_if(
        columns.iter().any(|column| column.data_type.is_some()),
        "a type in a table's alias",
    )?;
    refuse_if(at.is_some(), "AT after a table's alias")
}

fn check_wildcard(options: &WildcardAdditionalOptions) -> Checked {
    // The planner carries out the first three.
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_exclude: _,
        opt_except: _,
        opt_replace: _,
        opt_ilike,
        opt_rename,
        opt_alias,
    } = options;
    refuse_if(opt_ilike.is_some(), "* ILIKE")?;
    refuse_if(opt_rename.is_some(), "* RENAME")?;
    refuse_if(opt_alias.is_some(), "an alias of *")
}

fn check_function(function: &Function) -> Checked {
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

fn check_argument(argument: &FunctionArg) -> Checked {
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

fn check_window(window: &WindowSpec) -> Checked {
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

/// Gives literals their types; see the module.
struct Literals;

impl VisitorMut for Literals {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Value(ValueWithSpan {
                value: Value::Number(number, _),
                ..
            }) if number.contains(['e', 'E']) => {
                let text = Expr::value(Value::SingleQuotedString(std::mem::take(number)));
                *expression = Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(text),
                    data_type: DataType::DoublePrecision,
                    array: false,
                    format: None,
                };
            }
            Expr::TypedString(TypedString {
                data_type,
                value,
                uses_odbc_syntax: _,
            }) => {
                set_precision(data_type, text_of(&value.value));
            }
            Expr::Cast {
                expr, data_type, ..
            } => {
                let text = match expr.as_ref() {
                    Expr::Value(value) => text_of(&value.value),
                    _ => None,
                };
                set_precision(data_type, text);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::SingleQuotedString(text) => Some(text),
        _ => None,
    }
}

/// `TIMESTAMP` is in microseconds, or in nanoseconds if the literal has more digits.
fn set_precision(data_type: &mut DataType, literal: Option<&str>) {
    let zone = match data_type {
        DataType::Timestamp(None, zone) => *zone,
        DataType::Datetime(None) => TimezoneInfo::None,
        _ => return,
    };
    let digits = literal
        .and_then(|text| text.rsplit_once('.'))
        .map_or(0, |(_, fraction)| {
            let digits: &str = fraction
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap_or_default();
            digits.trim_end_matches('0').len()
        });
    *data_type = DataType::Timestamp(Some(if digits > 6 { 9 } else { 6 }), zone);
}
