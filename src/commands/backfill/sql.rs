//! The rows of a query on one date: events and tables are its relations, tables as of the date.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::date::{DateRun, Output};
use super::job::EventsSource;
use crate::domain::cast::conform;
use crate::engine::asof::AsOfTable;
use crate::engine::sql::{Open, QueryMemory, Relation, bind_date, check, missing_column, run};
use crate::error::{Error, Result};
use crate::source::read_columns;
use crate::storage::{Batches, within};

/// A query of a date, with what it reads.
struct Bound {
    sql: String,
    relations: Vec<(String, Relation)>,
    /// The schemas of what it reads, as outputs name them.
    sources: Vec<(String, SchemaRef)>,
}

impl DateRun<'_> {
    /// Writes what the query gives on the date.
    pub(super) fn write_sql(&mut self, sql: &str, output: &mut Output<'_>) -> Result<()> {
        let Bound { sql, relations, sources } = self.bound(sql)?;
        output.sources.extend(sources);
        let memory = QueryMemory { budget: self.workspace.memory, queries: self.workers };
        run(&sql, relations, memory, &mut |schema, batch| {
            output.begin(schema)?;
            output.write(batch)
        })
    }

    /// Plans the query of the date, which finds wrong columns and types, and reads no rows for it.
    pub(super) fn check_sql(&mut self, sql: &str) -> Result<()> {
        let Bound { sql, relations, .. } = self.bound(sql)?;
        check(&sql, relations)
    }

    /// The query of the date with the relations that it reads.
    fn bound(&mut self, sql: &str) -> Result<Bound> {
        let mut sources = Vec::new();
        let mut relations: Vec<(String, Relation)> = Vec::new();
        for events in &self.job.events {
            let relation = self.events_relation(events)?;
            sources.push((format!("events.{}", events.name), relation.schema.clone()));
            relations.push((events.name.clone(), relation));
        }
        let mut tables: BTreeMap<String, AsOfTable> = BTreeMap::new();
        for (name, history) in &self.job.tables {
            let as_of = history.as_of(history.resolve(self.date)?, self.many)?;
            self.report.using.insert(name.clone(), if as_of.from_intervals() { "intervals" } else { "snapshots" });
            tables.insert(name.clone(), as_of);
        }
        let sql = bind_date(sql, self.date)?;
        let extra = self.absent_columns(&sql, &relations, &tables)?;
        for (name, as_of) in tables {
            let schema = extra.get(&name).cloned().unwrap_or_else(|| as_of.schema.clone());
            sources.push((format!("tables.{name}"), schema.clone()));
            let full = schema.clone();
            let open = Arc::new(move |columns: &[String]| read_with_nulls(&as_of, columns, &full));
            relations.push((name, Relation { schema, open }));
        }
        Ok(Bound { sql, relations, sources })
    }

    /// The events of the date. A query may scan them twice: typed files are opened for each scan, with the columns that
    /// it asks for; text is read once and kept.
    fn events_relation(&self, events: &EventsSource) -> Result<Relation> {
        let rows = self.events_of(events, None, None)?;
        let open: Open = if rows.format.carries_types() {
            let (objects, format, types) = (rows.objects, rows.format, events.types.clone());
            let place = format!("events {}, {}", events.name, self.date);
            Arc::new(move |columns: &[String]| Ok(within(read_columns(&objects, format, &types, columns, None)?, place.clone())))
        } else {
            let kept: Arc<Vec<RecordBatch>> = Arc::new(rows.batches.collect::<Result<_>>()?);
            Arc::new(move |columns: &[String]| select(&kept, columns))
        };
        Ok(Relation { schema: rows.schema, open })
    }

    /// Tables' columns with those that the query names and that were absent on the date: nulls, of the
    /// type that they have elsewhere in the table's history.
    fn absent_columns(
        &self,
        sql: &str,
        relations: &[(String, Relation)],
        tables: &BTreeMap<String, AsOfTable>,
    ) -> Result<BTreeMap<String, SchemaRef>> {
        let mut schemas: BTreeMap<String, SchemaRef> = tables.iter().map(|(name, as_of)| (name.clone(), as_of.schema.clone())).collect();
        let nothing: Open = Arc::new(|_| Ok(Box::new(std::iter::empty()) as Batches));
        for _ in 0..64 {
            let mut all = relations.to_vec();
            all.extend(schemas.iter().map(|(name, schema)| (name.clone(), Relation { schema: schema.clone(), open: nothing.clone() })));
            let Some((relation, column)) = missing_column(sql, all)? else { break };
            let mut found = false;
            for (name, history) in &self.job.tables {
                if relation.as_ref().is_some_and(|relation| relation != name && self.job.tables.contains_key(relation)) {
                    continue;
                }
                let every = history.every_column()?;
                let schema = schemas[name].clone();
                if let Ok(field) = every.field_with_name(&column)
                    && schema.field_with_name(&column).is_err()
                {
                    let fields: Vec<_> = schema.fields().iter().cloned().chain([Arc::new(field.clone())]).collect();
                    schemas.insert(name.clone(), Arc::new(Schema::new(fields)));
                    found = true;
                }
            }
            if !found {
                break;
            }
        }
        Ok(schemas)
    }
}

fn select(batches: &Arc<Vec<RecordBatch>>, columns: &[String]) -> Result<Batches> {
    let (batches, columns) = (batches.clone(), columns.to_vec());
    Ok(Box::new((0..batches.len()).map(move |at| {
        let batch = &batches[at];
        let indices: Vec<usize> = columns.iter().filter_map(|name| batch.schema_ref().index_of(name).ok()).collect();
        batch.project(&indices).map_err(|error| Error::io(format!("cannot select columns: {error}")))
    })))
}

/// The table's rows with the named columns, those that were absent as nulls.
fn read_with_nulls(as_of: &AsOfTable, columns: &[String], schema: &SchemaRef) -> Result<Batches> {
    let fields: Vec<_> = columns.iter().filter_map(|name| schema.field_with_name(name).ok().cloned()).collect();
    let wanted: SchemaRef = Arc::new(Schema::new(fields));
    Ok(Box::new(as_of.read(columns)?.map(move |batch| conform(&batch?, &wanted))))
}
