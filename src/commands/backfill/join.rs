//! The rows of a join on one date: its events, each with what the table says of it as of the date.

use super::build_side_cache::Sides;
use super::date::{DateRun, Output};
use super::job::EventsSource;
use crate::domain::join::JoinKind;
use crate::engine::join::JoinSpec;
use crate::error::{Error, Result};
use crate::model::TableName;

impl<'a> DateRun<'a> {
    /// Writes the date's events joined to the table as of the date.
    pub(super) fn write_join(
        &mut self,
        spec: &JoinSpec,
        name: &TableName,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let (sides, events) = self.join_inputs()?;
        let need = sides.need(self.date)?;
        self.report
            .using
            .insert(name.to_string(), need.source.name());
        let table = sides.table(self.date, &need)?;
        let keys: Vec<String> = spec.on.iter().map(|(column, _)| column.clone()).collect();
        let rows = self.events_of(events, Some(&keys), Some(need.text_keys(spec)))?;
        let schema = need
            .columns
            .output_schema(spec, &rows.schema, &events.name, name)?;
        output
            .sources
            .push((format!("events.{}", events.name), rows.schema.clone()));
        output
            .sources
            .push((format!("tables.{name}"), need.schema().clone()));
        let table = table.on(need.observed);
        output.begin(&schema)?;
        let mut joined = table.join(spec, rows.batches, &schema);
        for batch in &mut joined {
            output.write(batch?)?;
        }
        let read = joined.read;
        let matched = joined.matched;
        self.report.events = Some(read);
        self.report.matched = Some(matched);
        if spec.how == JoinKind::Left && output.rows() != read {
            return Err(Error::internal(format!(
                "a left join of {read} events gave {} rows",
                output.rows()
            )));
        }
        Ok(())
    }

    /// Checks the columns and types that the join names against those of the date, and reads no
    /// rows of the table for it.
    pub(super) fn check_join(&mut self, spec: &JoinSpec, name: &TableName) -> Result<()> {
        let (sides, events) = self.join_inputs()?;
        let need = sides.need(self.date)?;
        self.report
            .using
            .insert(name.to_string(), need.source.name());
        let keys: Vec<String> = spec.on.iter().map(|(column, _)| column.clone()).collect();
        let events_schema = self
            .events_of(events, Some(&keys), Some(need.text_keys(spec)))?
            .schema;
        need.columns
            .output_schema(spec, &events_schema, &events.name, name)
            .map(|_| ())
    }

    fn join_inputs(&self) -> Result<(&'a Sides<'a>, &'a EventsSource)> {
        match (self.sides, self.job.events.first()) {
            (Some(sides), Some(events)) => Ok((sides, events)),
            _ => Err(Error::usage("a join needs events and a table")),
        }
    }
}
