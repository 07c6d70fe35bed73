//! What a job reads on a date, as views of a session of Spark.
//!
//! | relation | Spark is given |
//! | --- | --- |
//! | events in Parquet files | the files, with the columns that their folders hold |
//! | a snapshot of the lake, external copies in Parquet | the files |
//! | a table as of the date from intervals | the file, with the convention's condition |
//! | copies up to the date | each copy in one of these ways, with its date |
//! | intervals as known on the date | the file, with what was not known yet cut off |
//! | anything else: text, Avro, converted types, several rows for a key | the rows, sent along |
//!
//! A file is read in its own types, and cast to those that asof has, so both engines see the same
//! columns. Rows are sent only if they are few: they pass through this process.

use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;

use super::Execution;
use crate::commands::backfill::bound::{BoundEvents, BoundTable, EventRows, TableRows};
use crate::commands::backfill::relations::View;
use crate::domain::cast::conform;
use crate::engine::as_of::AsOfTable;
use crate::engine::intervals::Intervals;
use crate::engine::spark::{
    SparkRelation, SparkSession, cast_column, spark_name, spark_text, spark_type,
};
use crate::error::{Context, Error, Result};
use crate::source::{FolderValues, Format, folder_values};
use crate::storage::Batches;
use crate::storage::lake::location::{Location, Object};

/// The most bytes of rows that are sent along for one relation.
const SENT: usize = 64 << 20;

/// The views of a session.
pub(super) struct SparkViews<'a> {
    session: &'a SparkSession<'a>,
    /// How places are named.
    path: &'a dyn Fn(&Location) -> Result<String>,
    parts: AtomicUsize,
}

/// Rows as a query of Spark, with their columns in asof's types.
pub(super) struct SparkRows {
    pub(super) schema: SchemaRef,
    /// How many there are, if the files of events say so.
    pub(super) count: Option<u64>,
    pub(super) sql: String,
}

impl<'a> SparkViews<'a> {
    pub(super) fn new(
        session: &'a SparkSession<'a>,
        path: &'a dyn Fn(&Location) -> Result<String>,
    ) -> Self {
        SparkViews {
            session,
            path,
            parts: AtomicUsize::new(0),
        }
    }

    /// Names rows in the session.
    pub(super) fn name(&self, name: &str, rows: &SparkRows) -> Result<()> {
        self.session
            .name(name, &SparkRelation::sql(rows.sql.clone()))
    }

    /// Names a part of a relation, and returns its name in SQL.
    fn part(&self, rows: &SparkRelation) -> Result<String> {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let name = format!("_asof_part_{number}");
        self.session.name(&name, rows)?;
        Ok(name)
    }

    /// The events of the date; `keys` are those of a join, which leaves out other columns of
    /// folders, and `followed` the types in which text is read.
    pub(super) fn events(
        &self,
        events: &BoundEvents<'_>,
        keys: Option<&[String]>,
        followed: Option<SchemaRef>,
    ) -> Result<SparkRows> {
        let rows = events.open(keys, followed)?;
        let count = rows.count;
        let types = &events.source.types;
        if rows.format != Format::Parquet || !types.declared.is_empty() {
            let EventRows {
                schema, batches, ..
            } = rows;
            return self.sent(schema, batches, &events.place());
        }
        let groups = folder_values(events.files(), types)?;
        let rows = self.files(rows.schema, groups)?;
        Ok(SparkRows { count, ..rows })
    }

    /// A table on the date.
    pub(super) fn table(&self, table: &BoundTable<'_>, told: &mut Execution) -> Result<SparkRows> {
        let rows = match table.view {
            View::Snapshots => return self.copies(table, told),
            _ => table.open()?,
        };
        told.note(table.name, table.served_by(&rows));
        match (&rows, table.history.published_on(table.serving)) {
            (TableRows::AsOf(as_of), _) => self.as_of(as_of),
            (TableRows::Known(_), Ok(Some(published))) => {
                self.known(published, rows.schema(), table.serving)
            }
            _ => self.sent_table(table, &rows),
        }
    }

    /// Copies up to the date, each with its date.
    fn copies(&self, table: &BoundTable<'_>, told: &mut Execution) -> Result<SparkRows> {
        let rows = table.open()?;
        told.note(table.name, table.served_by(&rows));
        let TableRows::Copies(copies) = &rows else {
            return Err(Error::internal("copies were asked for"));
        };
        let schema = copies.schema.clone();
        let label = schema.fields().last().map(|field| field.name().clone());
        let label = label.unwrap_or_default();
        if copies.dates().is_empty() {
            return self.sent_table(table, &rows);
        }
        let selects = copies.parts().map(|(date, copy)| {
            let rows = self.as_of(copy)?;
            let columns = schema.fields().iter().map(|field| match field.name() {
                name if *name == label => format!("DATE '{date}' AS {}", spark_name(name)),
                name => cast_column(&rows.schema, name, field.data_type()),
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            Ok(format!("SELECT {columns} FROM ({})", rows.sql))
        });
        let sql = selects.collect::<Result<Vec<_>>>()?.join(" UNION ALL ");
        Ok(SparkRows {
            schema,
            count: None,
            sql,
        })
    }

    /// A table as of a date.
    fn as_of(&self, as_of: &AsOfTable) -> Result<SparkRows> {
        if let Some(intervals) = as_of.intervals() {
            let date = format!("DATE '{}'", as_of.observed);
            let condition = intervals.convention.condition_of(&date, spark_name);
            return self.of_intervals(intervals, &as_of.schema, &condition);
        }
        if let Some(object) = as_of.plain_object()? {
            let stored = as_of.schema.clone();
            return self.files(stored.clone(), vec![FolderValues::none(object, stored)]);
        }
        if as_of.is_plain_parquet()? {
            let groups = folder_values(as_of.objects(), &as_of.table().types)?;
            return self.files(as_of.schema.clone(), groups);
        }
        let columns = names(&as_of.schema);
        let place = format!("table {}, {}", as_of.table().name, as_of.observed);
        self.sent(as_of.schema.clone(), as_of.read(&columns)?, &place)
    }

    /// Rows of intervals in other types and with a condition.
    fn of_intervals(
        &self,
        intervals: &Intervals,
        schema: &SchemaRef,
        condition: &str,
    ) -> Result<SparkRows> {
        let stored = intervals.object().schema();
        let columns = schema.fields().iter();
        let columns = columns.map(|field| cast_column(stored, field.name(), field.data_type()));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let path = (self.path)(intervals.location())?;
        self.tell_cases_apart(stored)?;
        let part = self.part(&SparkRelation::parquet(&[path], stored)?)?;
        Ok(SparkRows {
            schema: schema.clone(),
            count: None,
            sql: format!("SELECT {columns} FROM {part} WHERE {condition}"),
        })
    }

    /// Intervals as they were known on the date of a copy: what held on it is open.
    fn known(
        &self,
        intervals: &Intervals,
        schema: &SchemaRef,
        serving: NaiveDate,
    ) -> Result<SparkRows> {
        let convention = &intervals.convention;
        let start = spark_name(&convention.start_column);
        let end = spark_name(&convention.end_column);
        let condition = format!("{start} <= DATE '{serving}'");
        let rows = self.of_intervals(intervals, schema, &condition)?;
        let open = convention
            .encode(None)
            .map_or("NULL".to_owned(), |open| format!("DATE '{open}'"));
        let last = match convention.exclusive {
            true => format!("DATE '{serving}'"),
            false => format!("DATE_SUB(DATE '{serving}', 1)"),
        };
        let columns = schema.fields().iter().map(|field| {
            let name = spark_name(field.name());
            match *field.name() == convention.end_column {
                true => format!("CASE WHEN {end} <= {last} THEN {end} ELSE {open} END AS {name}"),
                false => name,
            }
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        Ok(SparkRows {
            schema: rows.schema,
            count: None,
            sql: format!("SELECT {columns} FROM ({})", rows.sql),
        })
    }

    /// The rows of Parquet files, each group with the values that its folders hold.
    fn files(&self, schema: SchemaRef, groups: Vec<FolderValues>) -> Result<SparkRows> {
        self.tell_cases_apart(&schema)?;
        let selects = groups.iter().map(|group| {
            let wanted = group.stored.fields().iter();
            let wanted = wanted.filter(|field| schema.field_with_name(field.name()).is_ok());
            let stored = SchemaRef::new(Schema::new(wanted.cloned().collect::<Vec<_>>()));
            let files = group.files.iter();
            let paths = files.map(|file: &Object| (self.path)(&file.location));
            let paths = paths.collect::<Result<Vec<_>>>()?;
            let part = self.part(&SparkRelation::parquet(&paths, &stored)?)?;
            let columns = schema.fields().iter().map(|field| {
                let Some(value) = group.value(field.name()) else {
                    return cast_column(&stored, field.name(), field.data_type());
                };
                let value = value.map_or("NULL".to_owned(), spark_text);
                let of = spark_type(field.data_type()).unwrap_or_default();
                format!("CAST({value} AS {of}) AS {}", spark_name(field.name()))
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            Ok(format!("SELECT {columns} FROM {part}"))
        });
        let sql = selects.collect::<Result<Vec<_>>>()?.join(" UNION ALL ");
        Ok(SparkRows {
            schema,
            count: None,
            sql,
        })
    }

    /// Has the session tell names apart by their case, if columns are.
    fn tell_cases_apart(&self, schema: &Schema) -> Result<()> {
        let mut names: Vec<String> = names(schema)
            .iter()
            .map(|name| name.to_lowercase())
            .collect();
        names.sort();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => self.session.tell_cases_apart(),
            false => Ok(()),
        }
    }

    fn sent_table(&self, table: &BoundTable<'_>, rows: &TableRows) -> Result<SparkRows> {
        let schema = rows.schema().clone();
        let place = format!("table {}, {}", table.name, table.serving);
        self.sent(schema.clone(), rows.read(&names(&schema))?, &place)
    }

    /// Rows that are sent along.
    fn sent(&self, schema: SchemaRef, batches: Batches, place: &str) -> Result<SparkRows> {
        let is_typed = |at: &usize| schema.field(*at).data_type() != &DataType::Null;
        let typed: Vec<usize> = (0..schema.fields().len()).filter(is_typed).collect();
        let mut sent = Vec::new();
        let mut bytes = 0;
        for batch in batches {
            let batch = conform(&batch?, &schema)?;
            bytes += batch.get_array_memory_size();
            if bytes > SENT {
                let what = format!(
                    "{place}: Spark cannot read these files by asof's rules, and more than {} MiB \
                     of rows are not sent to it",
                    SENT >> 20
                );
                return Err(Error::refused(what).hint(
                    "keep them as Parquet, without declared types, or run the job on this \
                     machine: --engine local",
                ));
            }
            sent.push(
                batch
                    .project(&typed)
                    .io_context(|| "cannot select columns".into())?,
            );
        }
        self.tell_cases_apart(&schema)?;
        let stored = schema
            .project(&typed)
            .io_context(|| "cannot select columns".into())?;
        let stored = SchemaRef::new(stored);
        let part = self.part(&SparkRelation::rows(&stored, &sent)?)?;
        let columns = schema.fields().iter();
        let columns = columns.map(|field| cast_column(&stored, field.name(), field.data_type()));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {columns} FROM {part}");
        Ok(SparkRows {
            schema,
            count: None,
            sql,
        })
    }
}

fn names(schema: &Schema) -> Vec<String> {
    schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}
