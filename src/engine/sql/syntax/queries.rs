//! Queries, their tables and joins.

use datafusion::sql::sqlparser::ast::{
    ConnectByKind, Cte, Distinct, GroupByExpr, GroupByWithModifier, Join, JoinConstraint,
    JoinOperator, LimitClause, NamedWindowDefinition, NamedWindowExpr, OrderBy, OrderByKind, Query,
    Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor, TableFunctionArgs,
    WildcardAdditionalOptions, With,
};

use super::expressions::{check_argument, check_order, check_window};
use super::{
    ClauseCheck, DONE, ORDER_BY, Refusal, WHOLE_WINDOW, refuse, refuse_if, refuse_if_with,
    refuse_with,
};
use std::ops::ControlFlow;

pub(super) fn check_query(query: &Query) -> ClauseCheck {
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
        if let OrderByKind::Expressions(expressions) = kind {
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

pub(super) fn check_select(select: &Select) -> ClauseCheck {
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
    refuse_if_with(
        top.is_some(),
        "TOP",
        "write LIMIT n at the end of the query",
    )?;
    projection.iter().try_for_each(check_item)?;
    refuse_if(exclude.is_some(), "EXCLUDE after the columns")?;
    refuse_if(into.is_some(), "SELECT INTO")?;
    from.iter()
        .try_for_each(|table| check_joins(&table.joins))?;
    refuse_if(!lateral_views.is_empty(), "LATERAL VIEW")?;
    refuse_if_with(prewhere.is_some(), "PREWHERE", "write WHERE")?;
    check_connect_by(connect_by)?;
    check_group_by(group_by)?;
    refuse_if_with(!cluster_by.is_empty(), "CLUSTER BY", ORDER_BY)?;
    refuse_if_with(!distribute_by.is_empty(), "DISTRIBUTE BY", ORDER_BY)?;
    refuse_if_with(!sort_by.is_empty(), "SORT BY", ORDER_BY)?;
    named_window.iter().try_for_each(check_named_window)?;
    refuse_if(value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE")?;
    match flavor {
        SelectFlavor::Standard | SelectFlavor::FromFirst => DONE,
        SelectFlavor::FromFirstNoSelect => {
            refuse_with("FROM without SELECT", "write SELECT * FROM")
        }
    }
}

fn check_item(item: &SelectItem) -> ClauseCheck {
    match item {
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => DONE,
        SelectItem::ExprWithAliases { .. } => refuse("a list of aliases for one expression"),
        SelectItem::QualifiedWildcard(_, options) | SelectItem::Wildcard(options) => {
            check_wildcard(options)
        }
    }
}

fn check_connect_by(connect_by: &[ConnectByKind]) -> ClauseCheck {
    let clause = match connect_by.first() {
        None => return DONE,
        Some(ConnectByKind::ConnectBy { .. }) => "CONNECT BY",
        Some(ConnectByKind::StartWith { .. }) => "START WITH",
    };
    refuse_with(clause, "write WITH RECURSIVE")
}

fn check_group_by(group_by: &GroupByExpr) -> ClauseCheck {
    let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
    match modifiers.first() {
        None => DONE,
        Some(GroupByWithModifier::Rollup) => {
            refuse_with("WITH ROLLUP", "write GROUP BY ROLLUP (a, b)")
        }
        Some(GroupByWithModifier::Cube) => refuse_with("WITH CUBE", "write GROUP BY CUBE (a, b)"),
        Some(GroupByWithModifier::Totals) => {
            refuse_with("WITH TOTALS", "write GROUP BY GROUPING SETS ((a), ())")
        }
        Some(GroupByWithModifier::GroupingSets(_)) => refuse_with(
            "GROUPING SETS after other groups",
            "write GROUP BY GROUPING SETS ((a), ())",
        ),
    }
}

fn check_named_window(window: &NamedWindowDefinition) -> ClauseCheck {
    match &window.1 {
        NamedWindowExpr::NamedWindow(_) => {
            refuse_with("a window that is named after another one", WHOLE_WINDOW)
        }
        NamedWindowExpr::WindowSpec(window) => check_window(window),
    }
}

pub(super) fn check_table(factor: &TableFactor) -> ClauseCheck {
    match factor {
        TableFactor::Table { .. } => check_plain_table(factor),
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

fn check_plain_table(factor: &TableFactor) -> ClauseCheck {
    let TableFactor::Table {
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
    } = factor
    else {
        return DONE;
    };
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

fn check_body(body: &SetExpr) -> ClauseCheck {
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

fn check_joins(joins: &[Join]) -> ClauseCheck {
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

fn check_alias(alias: Option<&TableAlias>) -> ClauseCheck {
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

fn check_wildcard(options: &WildcardAdditionalOptions) -> ClauseCheck {
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
