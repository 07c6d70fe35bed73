//! The rows of a query on one date: events and tables are its relations, tables as of the date.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::date::{DateRun, Output};
use super::job::{EventsSource, JobRelation, Reads};
use super::relations::TableRows;
use crate::domain::cast::conform;
use crate::engine::asof::TableHistory;
use crate::engine::sql::{
    JobDay, Open, QueryMemory, Relation, RelationCopies, bind, check, missing_column, run,
};
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
        let Bound {
            sql,
            relations,
            sources,
        } = self.bound(sql)?;
        output.sources.extend(sources);
        let memory = QueryMemory {
            budget: self.workspace.memory,
            queries: self.workers,
        };
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
        let sql = bind(
            sql,
            JobDay {
                date: self.date,
                zone: self.job.zone,
            },
        )?;
        let mut sources = Vec::new();
        let mut relations: Vec<(String, Relation)> = Vec::new();
        let mut tables: Vec<TableRelation<'_>> = Vec::new();
        let job = self.job;
        for relation in &job.relations {
            let JobRelation { name, reads } = relation;
            match reads {
                Reads::Events(own) => {
                    let events = job.events.iter().find(|events| events.name == *own);
                    let relation = self.events_relation(events.ok_or_else(|| {
                        Error::internal(format!("the events {own} are not known"))
                    })?)?;
                    sources.push((format!("events.{own}"), relation.schema.clone()));
                    relations.push((name.clone(), relation));
                }
                Reads::Table(table, view) => {
                    let (rows, history, serving) = self.table_rows(relation, table, *view)?;
                    let schema = rows.schema().clone();
                    sources.push((format!("tables.{table}"), schema.clone()));
                    tables.push(TableRelation {
                        name,
                        history,
                        serving,
                        rows,
                        schema,
                    });
                }
            }
        }
        self.absent_columns(&sql, &relations, &mut tables)?;
        relations.extend(tables.into_iter().map(TableRelation::into_relation));
        Ok(Bound {
            sql,
            relations,
            sources,
        })
    }

    /// The events of the date. A query may scan them twice: typed files are opened for each scan,
    /// with the columns that it asks for; text is read once and kept.
    fn events_relation(&self, events: &EventsSource) -> Result<Relation> {
        let rows = self.events_of(events, None, None)?;
        let open: Open = if rows.format.carries_types() {
            let objects = rows.objects;
            let format = rows.format;
            let types = events.types.clone();
            let place = format!("events {}, {}", events.name, self.date);
            Arc::new(move |columns: &[String]| {
                Ok(within(
                    read_columns(&objects, format, &types, columns, None)?,
                    place.clone(),
                ))
            })
        } else {
            let kept: Arc<Vec<RecordBatch>> = Arc::new(rows.batches.collect::<Result<_>>()?);
            Arc::new(move |columns: &[String]| select(&kept, columns))
        };
        Ok(Relation::new(rows.schema, open))
    }

    /// Adds to tables' columns those that the query names and that were absent on the date: nulls,
    /// of the type that they have elsewhere in the table's history.
    fn absent_columns(
        &self,
        sql: &str,
        relations: &[(String, Relation)],
        tables: &mut [TableRelation<'_>],
    ) -> Result<()> {
        let nothing: Open = Arc::new(|_| Ok(Box::new(std::iter::empty()) as Batches));
        for _ in 0..64 {
            let mut all = relations.to_vec();
            all.extend(tables.iter().map(|table| {
                (
                    table.name.to_owned(),
                    Relation::new(table.schema.clone(), nothing.clone()),
                )
            }));
            let Some((relation, column)) = missing_column(sql, all)? else {
                break;
            };
            let mut found = false;
            let is_named = relation
                .as_ref()
                .is_some_and(|relation| tables.iter().any(|table| table.name == relation));
            for table in tables.iter_mut() {
                if is_named && relation.as_deref() != Some(table.name) {
                    continue;
                }
                if table.schema.field_with_name(&column).is_err()
                    && let Ok(field) = table.every_column()?.field_with_name(&column)
                {
                    let fields: Vec<_> = table
                        .schema
                        .fields()
                        .iter()
                        .cloned()
                        .chain([Arc::new(field.clone())])
                        .collect();
                    table.schema = Arc::new(Schema::new(fields));
                    found = true;
                }
            }
            if !found {
                break;
            }
        }
        Ok(())
    }
}

/// What a query reads of a table under one name.
struct TableRelation<'a> {
    name: &'a str,
    history: &'a TableHistory,
    /// The observed date that serves the job's.
    serving: NaiveDate,
    rows: TableRows,
    /// Its columns, and those that it lacks and the query names.
    schema: SchemaRef,
}

impl TableRows {
    /// How a scan reads the rows, with columns that they lack as nulls.
    fn open(self, schema: &SchemaRef) -> Open {
        let schema = schema.clone();
        Arc::new(move |columns: &[String]| {
            let fields: Vec<_> = columns
                .iter()
                .filter_map(|name| schema.field_with_name(name).ok().cloned())
                .collect();
            let wanted: SchemaRef = Arc::new(Schema::new(fields));
            Ok(Box::new(
                self.read(columns)?
                    .map(move |batch| conform(&batch?, &wanted)),
            ))
        })
    }
}

impl TableRelation<'_> {
    /// Every column that the relation could have.
    fn every_column(&self) -> Result<SchemaRef> {
        match self.rows {
            TableRows::AsOf(_) => self.history.every_column(),
            TableRows::Copies(_) => self.history.columns_known(self.serving),
            TableRows::Known(_) => self.history.columns_of_intervals(self.serving),
        }
    }

    fn into_relation(self) -> (String, Relation) {
        let TableRelation {
            name, rows, schema, ..
        } = self;
        let copies = match &rows {
            TableRows::Copies(copies) => {
                let copies = copies.clone();
                let schema = schema.clone();
                let dates = copies.dates();
                let only = Arc::new(move |dates: &[NaiveDate]| {
                    TableRows::Copies(copies.only(dates)).open(&schema)
                });
                Some(RelationCopies { dates, only })
            }
            _ => None,
        };
        (
            name.to_owned(),
            Relation {
                open: rows.open(&schema),
                schema,
                copies,
            },
        )
    }
}

fn select(batches: &Arc<Vec<RecordBatch>>, columns: &[String]) -> Result<Batches> {
    let batches = batches.clone();
    let columns = columns.to_vec();
    Ok(Box::new((0..batches.len()).map(move |at| {
        let batch = &batches[at];
        let indices: Vec<usize> = columns
            .iter()
            .filter_map(|name| batch.schema_ref().index_of(name).ok())
            .collect();
        batch
            .project(&indices)
            .map_err(|error| Error::io(format!("cannot select columns: {error}")))
    })))
}
