//! Which copies of a table a query reads, from its conditions on `snapshot_date`.
//!
//! Known from the text alone, before anything is opened: for each place where the query names the
//! relation, the conditions beside it that compare `snapshot_date` with constants are evaluated for
//! every copy there is. They may use `=`, `<`, `>`, `BETWEEN`, `IN` and functions of dates, and
//! `AND` joins any number of them. A copy is read if it passes in one of these places.
//!
//! Conditions are looked for in the `WHERE` and the `ON` of the query that names the relation, as
//! far as they leave rows of the relation out: not in the `ON` of a join that keeps all of its
//! rows. A condition that holds for null is not used, since rows that an outer join fills up would
//! pass it. What is not understood leaves no copy out.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr as LogicalExpr;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Select,
    TableFactor, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::domain::days::to_days;
use crate::error::Result;
use crate::storage::lake::paths::SNAPSHOT_DATE;
use crate::storage::parquet::object::RowCondition;

/// The dates, of those that there are, whose copies a query reads of a relation.
///
/// # Errors
/// A usage error if the text is not one query.
pub fn dates_read(sql: &str, relation: &str, dates: &[NaiveDate]) -> Result<Vec<NaiveDate>> {
    let statement = super::parse(sql)?;
    let datafusion::sql::parser::Statement::Statement(statement) = statement else {
        return Ok(dates.to_vec());
    };
    let mut places = Places {
        relation,
        found: Vec::new(),
    };
    let _ = Visit::visit(statement.as_ref(), &mut places);
    let mut read = vec![false; dates.len()];
    for place in places.found {
        for (read, passes) in read.iter_mut().zip(place.passing(dates)) {
            *read |= passes;
        }
    }
    Ok(dates
        .iter()
        .zip(read)
        .filter(|(_, read)| *read)
        .map(|(date, _)| *date)
        .collect())
}

/// A place where a query names the relation.
struct Mention {
    /// The name by which its columns are told there; `None` if its columns have other names.
    qualifier: Option<String>,
    conditions: Vec<Expr>,
}

impl Mention {
    /// For each date, whether its copy passes the conditions.
    fn passing(&self, dates: &[NaiveDate]) -> Vec<bool> {
        let mut passing = vec![true; dates.len()];
        for mask in self
            .conditions
            .iter()
            .filter_map(|condition| self.mask(condition, dates))
        {
            passing
                .iter_mut()
                .zip(mask)
                .for_each(|(passing, holds)| *passing &= holds);
        }
        passing
    }

    /// For each date, whether a condition holds; nothing if it is about anything else.
    fn mask(&self, condition: &Expr, dates: &[NaiveDate]) -> Option<Vec<bool>> {
        let mut condition = condition.clone();
        let mut bare = Bare {
            qualifier: self.qualifier.as_deref()?,
            found: false,
        };
        if VisitMut::visit(&mut condition, &mut bare).is_break() || !bare.found {
            return None;
        }
        let text = condition.to_string();
        let condition = super::condition(&text, &date_schema(), &text).ok()?;
        let null = [None];
        let with_null =
            Date32Array::from_iter(dates.iter().map(|date| Some(to_days(*date))).chain(null));
        let batch = RecordBatch::try_new(date_schema(), vec![Arc::new(with_null)]).ok()?;
        let mask = condition.holds(&batch).ok()?;
        let holds_for_null = mask.value(dates.len());
        (!holds_for_null).then(|| (0..dates.len()).map(|at| mask.value(at)).collect())
    }
}

fn date_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        SNAPSHOT_DATE,
        DataType::Date32,
        true,
    )]))
}

fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

/// Takes the relation's name from `snapshot_date`, and stops at any other column and at queries.
struct Bare<'a> {
    qualifier: &'a str,
    found: bool,
}

impl VisitorMut for Bare<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let column = match expression {
            Expr::Identifier(column) => column,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [qualifier, column] if name_of(qualifier) == self.qualifier => column,
                _ => return ControlFlow::Break(()),
            },
            Expr::Subquery(_)
            | Expr::Exists { .. }
            | Expr::InSubquery { .. }
            | Expr::CompoundFieldAccess { .. } => {
                return ControlFlow::Break(());
            }
            _ => return ControlFlow::Continue(()),
        };
        if name_of(column) != SNAPSHOT_DATE {
            return ControlFlow::Break(());
        }
        *expression = Expr::Identifier(column.clone());
        self.found = true;
        ControlFlow::Continue(())
    }
}

/// Finds the places where a relation is named.
struct Places<'a> {
    relation: &'a str,
    found: Vec<Mention>,
}

impl Visitor for Places<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let mut named: Vec<Mention> = select.from.iter().flat_map(|from| self.of(from)).collect();
        if let Some(condition) = &select.selection {
            add(condition, &mut named);
        }
        self.found.extend(named);
        ControlFlow::Continue(())
    }
}

impl Places<'_> {
    fn of(&self, from: &TableWithJoins) -> Vec<Mention> {
        let mut named = self.of_factor(&from.relation);
        for Join {
            join_operator,
            relation,
            ..
        } in &from.joins
        {
            let mut right = self.of_factor(relation);
            let (constraint, filters_left, filters_right) = match join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::LeftSemi(constraint)
                | JoinOperator::RightSemi(constraint) => (Some(constraint), true, true),
                JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::LeftAnti(constraint) => (Some(constraint), false, true),
                JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::RightAnti(constraint) => (Some(constraint), true, false),
                _ => (None, false, false),
            };
            if let Some(JoinConstraint::On(condition)) = constraint {
                if filters_left {
                    add(condition, &mut named);
                }
                if filters_right {
                    add(condition, &mut right);
                }
            }
            named.append(&mut right);
        }
        named
    }

    fn of_factor(&self, factor: &TableFactor) -> Vec<Mention> {
        match factor {
            TableFactor::Table { name, alias, .. } if self.is(name) => {
                let qualifier = match alias {
                    None => Some(self.relation.to_owned()),
                    Some(alias) if alias.columns.is_empty() => Some(name_of(&alias.name)),
                    Some(_) => None,
                };
                vec![Mention {
                    qualifier,
                    conditions: Vec::new(),
                }]
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                let mut named = self.of(table_with_joins);
                if alias.is_some() {
                    named.iter_mut().for_each(|named| named.qualifier = None);
                }
                named
            }
            // Queries in the place of a table are visited by themselves.
            _ => Vec::new(),
        }
    }

    fn is(&self, name: &ObjectName) -> bool {
        match name.0.as_slice() {
            [part] => part
                .as_ident()
                .is_some_and(|ident| name_of(ident) == self.relation),
            _ => false,
        }
    }
}

/// Adds the parts of a condition, which all have to hold.
fn add(condition: &Expr, named: &mut [Mention]) {
    match condition {
        Expr::Nested(inner) => add(inner, named),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            add(left, named);
            add(right, named);
        }
        _ => named
            .iter_mut()
            .for_each(|named| named.conditions.push(condition.clone())),
    }
}

/// Whether a condition that is handed to a scan is about `snapshot_date` alone.
pub(super) fn is_on_date(filter: &LogicalExpr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty()
        && columns.iter().all(|column| column.name == SNAPSHOT_DATE)
        && !super::conditions::has_subquery(filter)
}

/// The dates for which every condition on `snapshot_date` holds that is handed to a scan.
pub(super) fn passing(
    state: &SessionState,
    filters: &[LogicalExpr],
    dates: &[NaiveDate],
) -> Vec<NaiveDate> {
    let Ok(schema) = DFSchema::try_from(date_schema().as_ref().clone()) else {
        return dates.to_vec();
    };
    let column = Date32Array::from_iter_values(dates.iter().map(|date| to_days(*date)));
    let Ok(batch) = RecordBatch::try_new(date_schema(), vec![Arc::new(column)]) else {
        return dates.to_vec();
    };
    let mut kept = vec![true; dates.len()];
    for filter in filters.iter().filter(|filter| is_on_date(filter)) {
        let expression = state.create_physical_expr(unnormalize_col(filter.clone()), &schema);
        let value = expression
            .and_then(|expression| expression.evaluate(&batch))
            .and_then(|value| value.into_array(dates.len()));
        let Some(mask) = value.ok().and_then(|mask| {
            mask.as_any()
                .downcast_ref::<arrow::array::BooleanArray>()
                .cloned()
        }) else {
            continue;
        };
        kept.iter_mut()
            .enumerate()
            .for_each(|(at, kept)| *kept &= mask.is_valid(at) && mask.value(at));
    }
    dates
        .iter()
        .zip(kept)
        .filter(|(_, kept)| *kept)
        .map(|(date, _)| *date)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_date;

    fn days(sql: &str) -> Vec<u32> {
        use chrono::Datelike;
        let dates: Vec<NaiveDate> = (1..=9)
            .map(|day| parse_date(&format!("2024-01-0{day}")).expect("a date"))
            .collect();
        dates_read(sql, "item_snapshots", &dates)
            .expect(sql)
            .iter()
            .map(|date| date.day())
            .collect()
    }

    #[test]
    fn conditions_on_the_date_decide_which_copies_are_read() {
        let of =
            |condition: &str| days(&format!("select id from item_snapshots where {condition}"));
        assert_eq!(of("snapshot_date = DATE '2024-01-03'"), [3]);
        assert_eq!(of("Item_Snapshots.Snapshot_Date = '2024-01-03'"), [3]);
        assert_eq!(
            of("snapshot_date in (DATE '2024-01-03', '2024-01-05', DATE '2025-01-01')"),
            [3, 5]
        );
        assert_eq!(
            of("snapshot_date between DATE '2024-01-03' and DATE '2024-01-05' and status = 'A'"),
            [3, 4, 5]
        );
        assert_eq!(
            of(
                "(snapshot_date > DATE '2024-01-03') and (x = 1 and (DATE '2024-01-06' >= \
                 snapshot_date))"
            ),
            [4, 5, 6]
        );
        assert_eq!(
            of("snapshot_date >= DATE '2024-01-09' - INTERVAL '2 days'"),
            [7, 8, 9]
        );
        assert_eq!(
            of("snapshot_date < TIMESTAMP '2024-01-02 12:00:00'"),
            [1, 2]
        );
        assert_eq!(
            of("snapshot_date = DATE '2024-01-03' or snapshot_date = DATE '2024-01-04'"),
            [3, 4]
        );
        assert_eq!(
            of("snapshot_date is not null and snapshot_date <> DATE '2024-01-03'"),
            [1, 2, 4, 5, 6, 7, 8, 9]
        );
        assert_eq!(of("extract(day from snapshot_date) = 8"), [8]);
        assert_eq!(of("snapshot_date > DATE '2024-02-03'"), [] as [u32; 0]);
    }

    #[test]
    fn what_is_not_understood_leaves_no_copy_out() {
        let all = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        for condition in [
            "true",
            "id = 3",
            "snapshot_date = created",
            "snapshot_date = DATE '2024-01-03' or id = 3",
            "snapshot_date = (select max(day) from days)",
            "snapshot_date in (select day from days)",
            "snapshot_date is null",
            "coalesce(snapshot_date, DATE '2024-01-03') = DATE '2024-01-03'",
            "other.snapshot_date = DATE '2024-01-03'",
            "snapshot_date = 'not a date'",
        ] {
            assert_eq!(
                days(&format!("select id from item_snapshots where {condition}")),
                all,
                "{condition}"
            );
        }
        assert_eq!(
            days(
                "select i.b from item_snapshots as i(snapshot_date, b) where i.snapshot_date = \
                 DATE '2024-01-03'"
            ),
            all
        );
    }

    #[test]
    fn each_place_counts_and_so_does_what_a_join_keeps() {
        let three = "DATE '2024-01-03'";
        let five = "DATE '2024-01-05'";
        let of = |join: &str| days(&format!("select 1 from item_snapshots a {join}"));
        let all = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(
            of(&format!(
                "join item_snapshots b on a.id = b.id and a.snapshot_date = {three} and \
                 b.snapshot_date = {five}"
            )),
            [3, 5]
        );
        assert_eq!(
            of(&format!(
                "left join ev on a.id = ev.id and a.snapshot_date = {three}"
            )),
            all
        );
        assert_eq!(
            of(&format!(
                "right join ev on a.id = ev.id and a.snapshot_date = {three}"
            )),
            [3]
        );
        assert_eq!(
            of(&format!(
                "full join ev on a.id = ev.id and a.snapshot_date = {three}"
            )),
            all
        );
        assert_eq!(
            of(&format!(
                "full join ev on a.id = ev.id where a.snapshot_date = {three}"
            )),
            [3]
        );
        assert_eq!(
            days(&format!(
                "select 1 from ev left join item_snapshots a on a.id = ev.id and snapshot_date = \
                 {three}"
            )),
            [3]
        );
        assert_eq!(
            days(
                "select 1 from ev left join item_snapshots a on a.id = ev.id where \
                 a.snapshot_date is null"
            ),
            all
        );
        assert_eq!(
            days(&format!(
                "with old as (select * from item_snapshots where snapshot_date < {three}) select \
                 1 from ev where id in \
                 (select id from item_snapshots where snapshot_date = {five} union select id \
                 from old)"
            )),
            [1, 2, 5]
        );
        assert_eq!(
            days("select 1 from item_snapshots.snapshot_date"),
            [] as [u32; 0]
        );
    }
}
