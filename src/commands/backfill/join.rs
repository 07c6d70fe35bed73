//! The rows of a join on one date: its events, each with what the table says of it as of the date.

use std::sync::{Arc, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::date::{DateRun, Output};
use crate::domain::join::JoinKind;
use crate::engine::asof::{TableHistory, schema_on};
use crate::engine::expression::{Condition, columns_of};
use crate::engine::intervals::Intervals;
use crate::engine::join::{JoinSpec, JoinTable};
use crate::error::{Error, Result};
use crate::model::TableName;

impl DateRun<'_> {
    /// Writes the date's events joined to the table as of the date.
    pub(super) fn write_join(&mut self, spec: &JoinSpec, name: &TableName, output: &mut Output<'_>) -> Result<()> {
        let (Some(history), Some(events)) = (self.job.tables.get(name.as_str()), self.job.events.first()) else {
            return Err(Error::usage("a join needs events and a table"));
        };
        let observed = history.resolve(self.date)?;
        let intervals = history.intervals_for(observed, self.many())?;
        self.report.using.insert(name.to_string(), if intervals.is_some() { "intervals" } else { "snapshots" });
        let key = &history.table.key;
        let table = match intervals {
            Some(intervals) => self.join_table(spec, history, &intervals, observed)?,
            None => {
                let as_of = history.as_of(observed, false)?;
                let schema = with_named(&as_of.schema, spec, history)?;
                Arc::new(JoinTable::of_snapshot(spec, name, key, &schema, |columns| as_of.read(columns))?)
            }
        };
        let rows = self.events_of(events)?;
        let schema = table.output_schema(spec, &rows.schema, &events.name, name)?;
        let (mut read, mut matched) = (0, 0);
        output.begin(&schema)?;
        for batch in rows.take()? {
            let batch = batch?;
            read += batch.num_rows() as u64;
            let (joined, met) = table.join(spec, &batch, observed, &schema)?;
            matched += met;
            output.write(joined)?;
        }
        self.report.events = Some(read);
        self.report.matched = Some(matched);
        if spec.how == JoinKind::Left && output.rows() != read {
            return Err(Error::io(format!("a left join of {read} events gave {} rows", output.rows())));
        }
        Ok(())
    }

    /// The table side for every date whose snapshot had the same columns, built once.
    fn join_table(&self, spec: &JoinSpec, history: &TableHistory, intervals: &Intervals, observed: NaiveDate) -> Result<Arc<JoinTable>> {
        let wire = &intervals.footer.observed;
        let Some(index) = wire.iter().find(|seen| seen.date == observed).map(|seen| seen.schema) else {
            return Err(history.table.refuse(observed, "there is no snapshot"));
        };
        let mut built = self.job.join_tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = built.get(&index) {
            return Ok(table.clone());
        }
        let mut alike: Vec<NaiveDate> = self
            .dates
            .iter()
            .filter_map(|date| history.resolve(*date).ok())
            .filter(|date| wire.iter().any(|seen| seen.date == *date && seen.schema == index))
            .collect();
        alike.sort();
        alike.dedup();
        let schema = with_named(&schema_on(intervals, observed)?, spec, history)?;
        let table = Arc::new(JoinTable::of_intervals(spec, &history.table.name, &history.table.key, &schema, intervals, &alike)?);
        built.insert(index, table.clone());
        Ok(table)
    }
}

/// The table's columns on a date, with those that the join names and that were absent then.
fn with_named(schema: &SchemaRef, spec: &JoinSpec, history: &TableHistory) -> Result<SchemaRef> {
    let mut named: Vec<String> = spec.select.clone();
    if let Some(condition) = &spec.condition {
        // Which columns a condition names is found by reading it against every column there ever was.
        if Condition::parse(condition, schema).is_err() {
            let every = history.every_column()?;
            named.extend(columns_of(condition, &every)?);
        }
    }
    let absent: Vec<&String> = named.iter().filter(|name| schema.field_with_name(name).is_err()).collect();
    if absent.is_empty() {
        return Ok(schema.clone());
    }
    let every = history.every_column()?;
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    for name in absent {
        if let Ok(field) = every.field_with_name(name)
            && !fields.iter().any(|known| known.name() == name)
        {
            fields.push(Arc::new(field.clone()));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}
