//! Joins as queries of Spark.

use arrow::datatypes::{Schema, SchemaRef};

use super::Execution;
use super::spark::PlannedQuery;
use super::spark_relations::{SparkRows, SparkViews};
use crate::commands::backfill::bound::{BoundEvents, BoundJob, BoundTable, RelationRows};
use crate::commands::backfill::build_sides::with_named;
use crate::domain::join::JoinKind;
use crate::engine::join::{JoinColumns, JoinSpec};
use crate::engine::spark::{SparkRelation, SparkSession, spark_name, spark_type};
use crate::error::{Error, Result};

/// The view of the events.
const EVENTS: &str = "_asof_events";
/// The view of the table.
const TABLE: &str = "_asof_table";

/// Names what a join reads, and plans it.
///
/// # Errors
/// A usage error for columns that there are not or that never match, and for keys that Spark would
/// round; a refusal of types that Spark does not have; a failure of the server.
pub(super) fn plan_join(
    spec: &JoinSpec,
    session: &SparkSession<'_>,
    views: &SparkViews<'_>,
    bound: &BoundJob<'_>,
    told: &mut Execution,
) -> Result<PlannedQuery> {
    let (events, table) = of_join(bound)?;
    let table_rows = views.table(table, told)?;
    let of_table = with_named(&table_rows.schema, spec, table.history)?;
    let key = &table.history.table.key;
    let needed = JoinColumns::of(spec, table.name, key, &of_table)?;
    let keys: Vec<String> = spec.on.iter().map(|(column, _)| column.clone()).collect();
    let texts = needed.text_keys(spec);
    let event_rows = views.events(events, Some(&keys), Some(texts))?;
    let of_events = &event_rows.schema;
    let output = needed.output_schema(spec, of_events, &events.source.name, table.name)?;
    refuse_inexact_keys(spec, of_events, &of_table)?;
    let sql = query(spec, of_events, needed.selected(), &output);
    views.name(EVENTS, &event_rows)?;
    let condition = spec.condition.as_ref();
    let condition = condition.map_or(String::new(), |condition| format!(" WHERE ({condition})"));
    let with_absent = with_absent(&table_rows, &of_table);
    let rows = event_rows.count.filter(|_| spec.how == JoinKind::Left);
    let table_rows = SparkRows {
        count: None,
        sql: format!("SELECT * FROM ({with_absent}){condition}"),
        schema: of_table.clone(),
    };
    views.name(TABLE, &table_rows)?;
    Ok(PlannedQuery {
        schema: session.columns(&SparkRelation::sql(sql.clone()))?,
        sql,
        rows,
        sources: vec![
            (format!("events.{}", events.source.name), of_events.clone()),
            (format!("tables.{}", table.name), of_table),
        ],
    })
}

/// The query: every column of the events, then the selected ones of the table by their names in the
/// output.
fn query(spec: &JoinSpec, events: &Schema, selected: &SchemaRef, output: &Schema) -> String {
    let own = events.fields().iter();
    let mut columns: Vec<String> = own
        .map(|field| format!("e.{}", spark_name(field.name())))
        .collect();
    if spec.how.adds_columns() {
        let named = output.fields().iter().skip(events.fields().len());
        columns.extend(selected.fields().iter().zip(named).map(|(own, output)| {
            let (own, output) = (spark_name(own.name()), spark_name(output.name()));
            format!("t.{own} AS {output}")
        }));
    }
    let on = spec.on.iter();
    let on =
        on.map(|(event, column)| format!("e.{} = t.{}", spark_name(event), spark_name(column)));
    let how = match spec.how {
        JoinKind::Inner => "INNER",
        JoinKind::Left => "LEFT",
        JoinKind::Semi => "LEFT SEMI",
        JoinKind::Anti => "LEFT ANTI",
    };
    format!(
        "SELECT {} FROM {EVENTS} e {how} JOIN {TABLE} t ON {}",
        columns.join(", "),
        on.collect::<Vec<_>>().join(" AND ")
    )
}

/// The events and the table of a join.
fn of_join<'b>(bound: &'b BoundJob<'_>) -> Result<(&'b BoundEvents<'b>, &'b BoundTable<'b>)> {
    let mut events = None;
    let mut table = None;
    for relation in &bound.relations {
        match &relation.rows {
            RelationRows::Events(one) => events = Some(one),
            RelationRows::Table(one) => table = Some(one),
        }
    }
    events
        .zip(table)
        .ok_or_else(|| Error::usage("a join needs events and a table"))
}

/// The rows of a table with the columns that a join names and that were absent on the date.
fn with_absent(rows: &SparkRows, of_table: &Schema) -> String {
    let absent = of_table.fields().iter().filter_map(|field| {
        let of = spark_type(field.data_type())?;
        let is_absent = rows.schema.field_with_name(field.name()).is_err();
        is_absent.then(|| format!("CAST(NULL AS {of}) AS {}", spark_name(field.name())))
    });
    let columns: Vec<String> = ["*".to_owned()].into_iter().chain(absent).collect();
    format!("SELECT {} FROM ({})", columns.join(", "), rows.sql)
}

/// Refuses keys that Spark would compare as floats: an integer or a decimal on one side alone.
fn refuse_inexact_keys(spec: &JoinSpec, events: &Schema, table: &Schema) -> Result<()> {
    let is_float = |schema: &Schema, name: &str| {
        let field = schema.field_with_name(name);
        field.is_ok_and(|field| field.data_type().is_floating())
    };
    let pair = spec
        .on
        .iter()
        .find(|(event, column)| is_float(events, event) != is_float(table, column));
    match pair {
        None => Ok(()),
        Some((event, column)) => Err(Error::usage(format!(
            "one of the events column '{event}' and the key column '{column}' is a float, and \
             Spark would round the other to compare them"
        ))
        .hint("run the job on this machine: --engine local")),
    }
}
