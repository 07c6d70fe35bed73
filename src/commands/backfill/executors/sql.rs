//! Queries in this process: events and tables are their relations, tables as of the date.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::{Execution, Executor};
use crate::commands::backfill::bound::{
    BoundEvents, BoundJob, BoundTable, EventRows, RelationRows, TableRows,
};
use crate::commands::backfill::output::DateOutput;
use crate::domain::cast::conform;
use crate::domain::placeholders::JobDay;
use crate::domain::placeholders::sql::{SqlOf, bind};
use crate::engine::sql::{Open, QueryMemory, Relation, RelationCopies, check, missing_column, run};
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;
use crate::source::{ParquetFiles, read_columns};
use crate::storage::{Batches, within};

/// Runs queries by DataFusion.
pub(super) struct LocalSql<'a> {
    /// The query with its placeholders.
    query: &'a str,
    memory: QueryMemory,
}

/// The query of one date, with what it reads.
struct BoundQuery {
    sql: String,
    relations: Vec<(String, Relation)>,
    /// The schemas of what it reads, as outputs name them.
    sources: Vec<(String, SchemaRef)>,
}

impl<'a> LocalSql<'a> {
    /// An executor of a query, of which `queries` run in parallel.
    pub(super) fn new(query: &'a str, budget: MemoryBudget, queries: usize) -> Self {
        LocalSql {
            query,
            memory: QueryMemory { budget, queries },
        }
    }

    /// The query of the date with the relations that it reads.
    fn bind(&self, bound: &BoundJob<'_>, told: &mut Execution) -> Result<BoundQuery> {
        let day = JobDay {
            date: bound.date,
            zone: bound.job.zone,
        };
        let sql = bind(self.query, day, SqlOf::Job)?;
        let mut sources = Vec::new();
        let mut relations: Vec<(String, Relation)> = Vec::new();
        let mut tables: Vec<TableRelation<'_>> = Vec::new();
        for relation in &bound.relations {
            let name = &relation.relation.name;
            match &relation.rows {
                RelationRows::Events(events) => {
                    let relation = events_relation(events)?;
                    let own = &events.source.name;
                    sources.push((format!("events.{own}"), relation.schema.clone()));
                    relations.push((name.clone(), relation));
                }
                RelationRows::Table(table) => {
                    let rows = table.open()?;
                    told.note(table.name, table.served_by(&rows));
                    let schema = rows.schema().clone();
                    sources.push((format!("tables.{}", table.name), schema.clone()));
                    tables.push(TableRelation {
                        name,
                        bound: table,
                        rows,
                        schema,
                    });
                }
            }
        }
        add_absent_columns(&sql, &relations, &mut tables)?;
        relations.extend(tables.into_iter().map(TableRelation::into_relation));
        Ok(BoundQuery {
            sql,
            relations,
            sources,
        })
    }
}

impl Executor for LocalSql<'_> {
    /// Plans the query, which finds wrong columns and types, and reads no rows for it.
    fn check(&self, bound: &BoundJob<'_>, told: &mut Execution) -> Result<()> {
        let BoundQuery { sql, relations, .. } = self.bind(bound, told)?;
        check(&sql, relations)
    }

    fn execute(
        &self,
        bound: &BoundJob<'_>,
        output: &mut DateOutput<'_>,
        told: &mut Execution,
    ) -> Result<()> {
        let query = self.bind(bound, told)?;
        output.sources.extend(query.sources);
        run(
            &query.sql,
            query.relations,
            self.memory,
            &mut |schema, batch| {
                output.begin(schema)?;
                output.write(batch)
            },
        )
    }
}

/// The events of the date. A query may scan them twice: typed files are read for each scan, with
/// the columns and by the condition that it asks for; text is read once and kept.
fn events_relation(events: &BoundEvents<'_>) -> Result<Relation> {
    let EventRows {
        format,
        schema,
        batches,
        count,
    } = events.open(None, None)?;
    if !format.carries_types() {
        let kept: Arc<Vec<RecordBatch>> = Arc::new(batches.collect::<Result<_>>()?);
        let open: Open = Arc::new(move |scan| select(&kept, scan.columns));
        return Ok(Relation::new(schema, open));
    }
    let objects = events.files().to_vec();
    let types = events.source.types.clone();
    let place = events.place();
    let parquet =
        ParquetFiles::open(&objects, format, &types).map_err(|error| error.within(&place))?;
    let pieces = parquet
        .as_ref()
        .map(ParquetFiles::pieces)
        .unwrap_or_default();
    let number = pieces.len();
    let open: Open = Arc::new(move |scan| {
        let piece = scan.piece.and_then(|piece| pieces.get(piece).cloned());
        let rows = match &parquet {
            Some(files) => files.read(scan.columns, scan.condition, piece)?,
            None => read_columns(&objects, format, &types, scan.columns, scan.condition)?,
        };
        Ok(within(rows, place.clone()))
    });
    Ok(Relation {
        count,
        filters: true,
        pieces: number,
        ..Relation::new(schema, open)
    })
}

/// Adds to tables' columns those that the query names and that were absent on the date: nulls,
/// of the type that they have elsewhere in the table's history.
fn add_absent_columns(
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

/// What a query reads of a table under one name.
struct TableRelation<'a> {
    name: &'a str,
    bound: &'a BoundTable<'a>,
    rows: TableRows,
    /// Its columns, and those that it lacks and the query names.
    schema: SchemaRef,
}

/// How a scan reads rows of a table, with columns that they lack as nulls.
fn scan(rows: TableRows, schema: &SchemaRef) -> Open {
    let schema = schema.clone();
    Arc::new(move |asked| {
        let columns = asked.columns;
        let fields: Vec<_> = columns
            .iter()
            .filter_map(|name| schema.field_with_name(name).ok().cloned())
            .collect();
        let wanted: SchemaRef = Arc::new(Schema::new(fields));
        let batches = match (&rows, asked.condition) {
            (TableRows::AsOf(as_of), Some(condition)) => {
                let own = |name: &&String| as_of.schema.field_with_name(name).is_ok();
                let own: Vec<String> = columns.iter().filter(own).cloned().collect();
                as_of.read_where(&own, condition)?
            }
            _ => rows.read(columns)?,
        };
        Ok(Box::new(
            batches.map(move |batch| conform(&batch?, &wanted)),
        ))
    })
}

impl TableRelation<'_> {
    /// Every column that the relation could have.
    fn every_column(&self) -> Result<SchemaRef> {
        self.bound.every_column()
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
                    scan(TableRows::Copies(copies.only(dates)), &schema)
                });
                Some(RelationCopies { dates, only })
            }
            _ => None,
        };
        (
            name.to_owned(),
            Relation {
                count: rows.count(),
                filters: matches!(rows, TableRows::AsOf(_)),
                copies,
                ..Relation::new(schema.clone(), scan(rows, &schema))
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
