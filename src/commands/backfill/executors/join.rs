//! Joins in this process: a date's events, each with what the table says of it as of the date.

use chrono::NaiveDate;

use super::{Execution, Executor};
use crate::commands::backfill::bound::{BoundEvents, BoundJob, EventRows, RelationRows};
use crate::commands::backfill::build_sides::{JoinBuildSides, Need, build_sides};
use crate::commands::backfill::job::ResolvedJob;
use crate::commands::backfill::output::DateOutput;
use crate::domain::join::JoinKind;
use crate::engine::join::JoinSpec;
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;
use crate::model::TableName;

/// Runs joins; build sides are shared by the dates of a run.
pub(super) struct LocalJoin<'a> {
    spec: &'a JoinSpec,
    table: &'a TableName,
    build_sides: Option<JoinBuildSides<'a>>,
}

impl<'a> LocalJoin<'a> {
    pub(super) fn new(
        job: &'a ResolvedJob,
        spec: &'a JoinSpec,
        table: &'a TableName,
        dates: &[NaiveDate],
        many: bool,
        workers: usize,
        memory: MemoryBudget,
    ) -> Self {
        let history = job.tables.get(table.as_str());
        let build_sides = history.map(|history| {
            let dates = dates.iter().copied();
            build_sides(spec, history, dates, many, workers, memory)
        });
        LocalJoin {
            spec,
            table,
            build_sides,
        }
    }

    fn open_events(&self, events: &BoundEvents<'_>, need: &Need) -> Result<EventRows> {
        let keys: Vec<String> = self
            .spec
            .on
            .iter()
            .map(|(events, _)| events.clone())
            .collect();
        events.open(Some(&keys), Some(need.columns.text_keys(self.spec)))
    }

    fn sides_and_events<'b>(
        &self,
        bound: &'b BoundJob<'_>,
    ) -> Result<(&JoinBuildSides<'a>, &'b BoundEvents<'b>)> {
        let events = bound
            .relations
            .iter()
            .find_map(|relation| match &relation.rows {
                RelationRows::Events(events) => Some(events),
                RelationRows::Table(_) => None,
            });
        match (&self.build_sides, events) {
            (Some(sides), Some(events)) => Ok((sides, events)),
            _ => Err(Error::usage("a join needs events and a table")),
        }
    }
}

impl Executor for LocalJoin<'_> {
    /// Checks the columns and types that the join names, and reads no rows of the table for it.
    fn check(&self, bound: &BoundJob<'_>, told: &mut Execution) -> Result<()> {
        let (sides, events) = self.sides_and_events(bound)?;
        let need = sides.need(bound.date)?;
        told.note(self.table, need.source.served_by());
        let schema = self.open_events(events, &need)?.schema;
        need.columns
            .output_schema(self.spec, &schema, &events.source.name, self.table)
            .map(|_| ())
    }

    fn execute(
        &self,
        bound: &BoundJob<'_>,
        output: &mut DateOutput<'_>,
        told: &mut Execution,
    ) -> Result<()> {
        let (sides, events) = self.sides_and_events(bound)?;
        let need = sides.need(bound.date)?;
        told.note(self.table, need.source.served_by());
        let table = sides.side(bound.date, &need)?;
        let rows = self.open_events(events, &need)?;
        let name = &events.source.name;
        let schema = need
            .columns
            .output_schema(self.spec, &rows.schema, name, self.table)?;
        output.sources.extend([
            (format!("events.{name}"), rows.schema.clone()),
            (format!("tables.{}", self.table), need.schema().clone()),
        ]);
        let table = table.on(need.observed);
        output.begin(&schema)?;
        let mut joined = table.join(self.spec, rows.batches, &schema);
        for batch in &mut joined {
            output.write(batch?)?;
        }
        told.events = Some(joined.read);
        told.matched = Some(joined.matched);
        if self.spec.how == JoinKind::Left && output.rows() != joined.read {
            return Err(Error::internal(format!(
                "a left join of {} events gave {} rows",
                joined.read,
                output.rows()
            )));
        }
        Ok(())
    }

    fn prepare(&self, date: NaiveDate, later: NaiveDate) {
        if let Some(sides) = &self.build_sides {
            sides.prepare(date, later);
        }
    }

    fn finished(&self, date: NaiveDate) {
        if let Some(sides) = &self.build_sides {
            sides.finished(date);
        }
    }
}
