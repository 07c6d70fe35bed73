//! One schema for all outputs of a job: see [`crate::domain::output_types`].
//!
//! A date's output is compared with those that stand and are up to date, and with those of earlier
//! dates of the same run: dates take their turn for that, so that which one is refused does not
//! depend on which thread is faster. Of text, whose types are inferred, the nearest outputs before
//! and after the range are compared too.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use chrono::{Days, NaiveDate};

use super::events::EventsSource;
use super::job::{ResolvedJob, Work};
use super::job_output::{JobOutput, OutputRecord};
use crate::domain::output_types::{OutputClash, OutputTypes};
use crate::domain::type_names::type_name;
use crate::error::{Error, Result};
use crate::model::DateRange;
use crate::storage::lake::location::Object;

/// How many days before and after a range are looked at for outputs.
const AROUND: u64 = 31;

/// The dates of a run whose schemas have not been compared yet, and what is known.
pub(super) struct Turns {
    types: Mutex<OutputTypes>,
    waiting: Mutex<BTreeSet<NaiveDate>>,
    moved: Condvar,
}

/// Lets later dates go on when a date has ended, however it did.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    date: NaiveDate,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.waiting().remove(&self.date);
        self.turns.moved.notify_all();
    }
}

impl Turns {
    /// The turns of dates that are to be run, in a job with outputs of these types.
    pub(super) fn new(types: OutputTypes, dates: impl Iterator<Item = NaiveDate>) -> Self {
        Turns {
            types: Mutex::new(types),
            waiting: Mutex::new(dates.collect()),
            moved: Condvar::new(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<NaiveDate>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of a date, which ends when it is dropped.
    pub(super) fn of(&self, date: NaiveDate) -> Turn<'_> {
        Turn { turns: self, date }
    }

    /// Whether a column without values has a type in another output.
    pub(super) fn missed(&self, schema: &SchemaRef) -> bool {
        self.types
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .missed(schema)
            .is_some()
    }

    /// Compares the schema of a date's output with those of others, when no earlier date is still
    /// to be compared.
    ///
    /// # Errors
    /// The first column of another type.
    pub(super) fn admit(
        &self,
        schema: &SchemaRef,
        date: NaiveDate,
    ) -> Result<SchemaRef, OutputClash> {
        let mut waiting = self.waiting();
        while waiting.first().is_some_and(|first| *first < date) {
            waiting = self
                .moved
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let admitted = self
            .types
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(schema, date);
        waiting.remove(&date);
        self.moved.notify_all();
        admitted
    }
}

/// The refusal of a clash; `sources` are the columns of what the output is made from, each with its
/// section of asof.toml.
pub(super) fn refusal(clash: &OutputClash, sources: &[(String, SchemaRef)], work: &Work) -> Error {
    let has = |schema: &SchemaRef, name: &str| {
        schema
            .field_with_name(name)
            .is_ok_and(|field| field.data_type() == &clash.found)
    };
    let declare = |(section, schema): &(String, SchemaRef)| {
        let table = section.rsplit('.').next().unwrap_or_default();
        let suffixed = clash
            .column
            .strip_suffix(table)
            .and_then(|name| name.strip_suffix('_'));
        let column = [Some(clash.column.as_str()), suffixed]
            .into_iter()
            .flatten()
            .find(|name| has(schema, name))?;
        Some(format!(
            "[{section}.types] {column} = \"{}\" in asof.toml, and run all dates again",
            type_name(&clash.way_out())
        ))
    };
    let error = Error::refused(format!(
        "{}: all outputs of a job have one schema",
        clash.in_words()
    ));
    error.hint(match (sources.iter().find_map(declare), work) {
        (Some(declared), _) => declared,
        (None, Work::Command(_)) => format!(
            "have the command write column '{}' as {}",
            clash.column,
            type_name(&clash.way_out())
        ),
        (None, _) => format!("cast column '{}' in the job's SQL", clash.column),
    })
}

/// The range in which outputs are looked for: with some days around it, if the events are text.
pub(super) fn around(range: DateRange, events: &[EventsSource]) -> Result<DateRange> {
    if !events.iter().any(EventsSource::is_text) {
        return Ok(range);
    }
    let from = range
        .from()
        .checked_sub_days(Days::new(AROUND))
        .unwrap_or(range.from());
    DateRange::new(
        from,
        range
            .to()
            .checked_add_days(Days::new(AROUND))
            .unwrap_or(range.to()),
    )
}

impl ResolvedJob {
    /// The types that the job's outputs have: of those with `schemas`, and of the nearest ones
    /// before and after them.
    pub(super) fn output_types<'a>(
        &self,
        schemas: impl Iterator<Item = (NaiveDate, &'a SchemaRef)>,
    ) -> OutputTypes {
        let mut types = OutputTypes::default();
        for (date, schema) in schemas {
            // Outputs that were written before types were compared may differ: the first one
            // counts.
            let _ = types.admit(schema, date);
        }
        for (date, schema) in &self.nearest {
            let _ = types.admit(schema, *date);
        }
        types
    }

    /// The schema of the nearest output before the range, and of the nearest after it, if this very
    /// job wrote them.
    pub(super) fn nearest_outputs<'a>(
        &self,
        before: Option<(&NaiveDate, &'a Vec<Object>)>,
        after: Option<(&NaiveDate, &'a Vec<Object>)>,
    ) -> Vec<(NaiveDate, SchemaRef)> {
        let schema = |(date, objects): (&NaiveDate, &Vec<Object>)| {
            let output = JobOutput::among(&self.path(*date), objects).ok()??;
            let OutputRecord { footer, schema } = output.record().ok()?;
            (self.hash.is(&footer.inputs.job) && footer.job_name == self.name)
                .then_some((*date, schema))
        };
        before.into_iter().chain(after).filter_map(schema).collect()
    }
}
