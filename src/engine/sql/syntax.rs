//! Which syntax a query may use.
//!
//! The parser accepts the clauses of many databases, and the planner ignores some of those that it
//! does not carry out. A clause that is ignored changes the result without a word, so every clause
//! that is not known to be carried out is refused by name. Structs are taken apart field by field:
//! when a newer parser knows a new clause, this module does not compile until someone decides
//! about it.
//!
//! Two literals are rewritten on the way. `TIMESTAMP` without a precision is in microseconds, which
//! reach the year 9999, and in nanoseconds only where a literal has that many digits. A number with
//! an exponent is a `DOUBLE`, and any other number with a point is a decimal.

mod expressions;
mod literals;
mod queries;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, TableFactor, ValueWithSpan, Visit, VisitMut, Visitor,
};

use self::expressions::{check_expression, check_value};
use self::literals::Literals;
use self::queries::{check_query, check_select, check_table};
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

type ClauseCheck = ControlFlow<Refusal>;

fn refuse(clause: impl Into<String>) -> ClauseCheck {
    ControlFlow::Break(Refusal {
        clause: clause.into(),
        hint: None,
    })
}

fn refuse_with(clause: &str, hint: &'static str) -> ClauseCheck {
    ControlFlow::Break(Refusal {
        clause: clause.into(),
        hint: Some(hint),
    })
}

fn refuse_if_with(is_there: bool, clause: &str, hint: &'static str) -> ClauseCheck {
    if is_there {
        refuse_with(clause, hint)
    } else {
        ControlFlow::Continue(())
    }
}

fn refuse_if(is_there: bool, clause: &str) -> ClauseCheck {
    if is_there {
        refuse(clause)
    } else {
        ControlFlow::Continue(())
    }
}

const ORDER_BY: &str = "write ORDER BY";
const WHOLE_WINDOW: &str = "write the whole window: OVER (PARTITION BY x ORDER BY y)";
const DONE: ClauseCheck = ControlFlow::Continue(());

struct Supported;

impl Visitor for Supported {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> ClauseCheck {
        check_query(query)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ClauseCheck {
        check_select(select)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ClauseCheck {
        check_table(factor)
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ClauseCheck {
        check_expression(expression)
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ClauseCheck {
        check_value(value)
    }
}
