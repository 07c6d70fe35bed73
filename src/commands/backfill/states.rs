//! Where the dates of a job stand: what each output was made from, what it would be made from now,
//! and the failures that are kept beside the outputs.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::job::ResolvedJob;
#[cfg(feature = "sql")]
use super::job::Work;
use super::job_output::{JobOutput, OutputRecord};
use super::relations::{JobRelation, Reads, View};
use crate::commands::known_copies::in_words;
use crate::domain::staleness::{DateState, Inputs, StaleReason, TableInput};
use crate::engine::as_of::TableHistory;
use crate::error::{Error, Kind, Result};
use crate::parallel::{self, decoding_threads, object_threads};
use crate::storage::lake::hints::{publish_hint, read_hint};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::paths;
use crate::storage::parquet::footer::Content;
use crate::storage::parquet::object::ParquetObject;

/// Why a date failed, kept beside the outputs.
#[derive(Serialize, Deserialize)]
struct Failure {
    date: NaiveDate,
    reason: String,
}

impl ResolvedJob {
    fn failure_path(&self, date: NaiveDate) -> Location {
        paths::failure(&self.output, &self.name, date)
    }

    /// The dates whose failure is kept beside the outputs.
    ///
    /// # Errors
    /// A failure to list them.
    pub(super) fn failures_below(output: &Location, name: &str) -> Result<BTreeSet<NaiveDate>> {
        let entries = paths::failures(output, name).entries()?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry.name.strip_suffix(".json")?.parse().ok())
            .collect())
    }

    /// What the output of a date would be made from now.
    pub(super) fn inputs(&self, date: NaiveDate) -> Result<Inputs> {
        let mut tables = BTreeMap::new();
        let mut copies = BTreeMap::new();
        for (name, history) in &self.tables {
            let serving = history.resolve(date)?;
            let input = |snapshot_date: NaiveDate| {
                let fingerprint = history.facts(snapshot_date)?.fingerprint;
                Ok(TableInput {
                    snapshot_date,
                    fingerprint,
                })
            };
            if self.reads_as_of(name) {
                tables.insert(name.clone(), input(serving)?);
            }
            let mut read = BTreeSet::new();
            for relation in &self.relations {
                if matches!(&relation.reads, Reads::Table(table, view) if table.as_str() == name && *view != View::AsOf)
                {
                    read.extend(self.copies_read(relation, history, serving, date)?);
                }
            }
            if !read.is_empty() {
                copies.insert(
                    name.clone(),
                    read.into_iter().map(input).collect::<Result<Vec<_>>>()?,
                );
            }
        }
        let events = self
            .events
            .iter()
            .map(|events| (events.name.clone(), events.identity(date)))
            .collect();
        Ok(Inputs {
            job: self.hash.current.clone(),
            tables,
            events,
            history: copies,
            known_at: self.known_at,
        })
    }

    /// Whether the job reads a table as of the date: a join does, and a query that names it.
    fn reads_as_of(&self, table: &str) -> bool {
        self.relations.iter().any(|relation| {
            matches!(&relation.reads, Reads::Table(name, View::AsOf) if name.as_str() == table)
        })
    }

    /// The dates of the copies that a relation with history needs for a date.
    #[cfg_attr(
        not(feature = "sql"),
        allow(unused_variables, reason = "only a query leaves copies out")
    )]
    pub(super) fn copies_read(
        &self,
        relation: &JobRelation,
        history: &TableHistory,
        serving: NaiveDate,
        date: NaiveDate,
    ) -> Result<Vec<NaiveDate>> {
        let visible = history.until(serving);
        match (&self.work, &relation.reads) {
            #[cfg(feature = "sql")]
            (Work::Sql(sql), Reads::Table(_, View::Snapshots)) => {
                use crate::domain::placeholders::JobDay;
                use crate::domain::placeholders::sql::{SqlOf, bind};
                use crate::engine::sql::dates_read;

                let zone = self.zone;
                let sql = bind(sql, JobDay { date, zone }, SqlOf::Job)?;
                dates_read(&sql, &relation.name, visible)
            }
            _ => Ok(visible.to_vec()),
        }
    }

    /// What the output of a date said that it was made from when the job began; `None` if there was
    /// none.
    pub(super) fn recorded(&self, date: NaiveDate) -> Result<Option<OutputRecord>> {
        let output = self.output_of(date)?;
        output.map(|output| output.record()).transpose()
    }

    /// The output of a date when the job began; `None` if there was none.
    pub(super) fn output_of(&self, date: NaiveDate) -> Result<Option<JobOutput>> {
        match self.outputs.get(&date) {
            Some(files) => JobOutput::among(&self.path(date), files),
            None => Ok(None),
        }
    }

    /// Refuses to replace an output that was made from the copies that stood at another time: what
    /// was known then is not a result that has become stale.
    ///
    /// # Errors
    /// The refusal; a failure to read the output.
    pub(super) fn check_known_at(&self, date: NaiveDate) -> Result<()> {
        let Some(recorded) = self.recorded(date)? else {
            return Ok(());
        };
        let was = recorded.footer.inputs.known_at;
        if was == self.known_at {
            return Ok(());
        }
        let made = match was {
            Some(at) => format!("the copies that stood at {}", in_words(at)),
            None => "the copies that stood when it ran".to_owned(),
        };
        Err(Error::refused(format!(
            "'{}' was made from {made}, and is not replaced by what was known at another time",
            self.path(date)
        ))
        .hint("choose another --out"))
    }

    /// Where dates stand, in their order.
    pub(in crate::commands) fn states(&self, dates: &[NaiveDate]) -> Vec<Result<DateState>> {
        self.states_and_schemas(dates)
            .into_iter()
            .map(|state| state.map(|(state, _)| state))
            .collect()
    }

    /// How many threads look at dates at a time. What is looked at is small, and waited for, but in
    /// external tables, which are read whole for it.
    pub(super) fn looking_threads(&self) -> usize {
        let is_external = |history: &TableHistory| !history.table.own;
        match self.tables.values().any(is_external) {
            true => decoding_threads(),
            false => self
                .tables
                .values()
                .map(|history| object_threads(history.table.root.store().is_some()))
                .chain([object_threads(self.output.store().is_some())])
                .max()
                .unwrap_or(1),
        }
    }

    /// Where dates stand, in their order, and the schemas of outputs that are up to date.
    pub(super) fn states_and_schemas(
        &self,
        dates: &[NaiveDate],
    ) -> Vec<Result<(DateState, Option<SchemaRef>)>> {
        let number = self.looking_threads();
        self.read_facts_of_history(dates);
        let mut states = parallel::map(number, dates, |date| self.state(*date));
        let known = dates
            .iter()
            .zip(&states)
            .filter_map(|(date, state)| Some((*date, state.as_ref().ok()?.1.as_ref()?)));
        let types = self.output_types(known);
        for (state, schema) in states.iter_mut().flatten() {
            if let Some(reason) = schema.as_ref().and_then(|schema| types.missed(schema)) {
                (*state, *schema) = (DateState::Stale(StaleReason::new(reason)), None);
            }
        }
        states
    }

    /// Reads, in parallel, what the footers of the copies say that the last date reads of tables'
    /// histories: earlier dates need most of them too. A failure comes again when a date needs the
    /// copy.
    pub(super) fn read_facts_of_history(&self, dates: &[NaiveDate]) {
        let Some(last) = dates.last() else { return };
        for relation in &self.relations {
            let Reads::Table(table, View::Snapshots | View::Intervals) = &relation.reads else {
                continue;
            };
            let Some(history) = self
                .tables
                .get(table.as_str())
                .filter(|history| history.table.own)
            else {
                continue;
            };
            let copies = history
                .resolve(*last)
                .and_then(|serving| self.copies_read(relation, history, serving, *last));
            parallel::map(
                object_threads(history.table.root.store().is_some()),
                &copies.unwrap_or_default(),
                |copy| history.facts(*copy).map(|_| ()),
            );
        }
    }

    /// Where a date stands, and the schema of its output if that is up to date.
    fn state(&self, date: NaiveDate) -> Result<(DateState, Option<SchemaRef>)> {
        let inputs = self.inputs(date)?;
        let recorded = self.recorded(date)?;
        let was = recorded
            .as_ref()
            .map(|recorded| self.as_recorded_now(&recorded.footer.inputs, &inputs))
            .transpose()?;
        let state = DateState::of(was.as_ref(), &inputs, self.failure(date));
        let schema = recorded
            .filter(|_| state == DateState::UpToDate)
            .map(|recorded| recorded.schema);
        Ok((state, schema))
    }

    /// What an output recorded, with the hash that it would record of the same job now, and the
    /// content of the same copies.
    pub(super) fn as_recorded_now(&self, recorded: &Inputs, now: &Inputs) -> Result<Inputs> {
        let mut inputs = recorded.clone();
        if self.hash.is(&inputs.job) {
            inputs.job.clone_from(&self.hash.current);
        }
        for (name, was) in &mut inputs.tables {
            if let Some(now) = now.tables.get(name) {
                self.same_copy(name, was, now)?;
            }
        }
        for (name, copies) in &mut inputs.history {
            let now = now.history.get(name).into_iter().flatten();
            let now: BTreeMap<_, _> = now.map(|copy| (copy.snapshot_date, copy)).collect();
            for was in copies {
                if let Some(now) = now.get(&was.snapshot_date) {
                    self.same_copy(name, was, now)?;
                }
            }
        }
        Ok(inputs)
    }

    /// Has an input name a copy as it is named now, if it is the same copy: intervals, and earlier
    /// programs, name an external one by its rows, and others by its files.
    fn same_copy(&self, table: &str, was: &mut TableInput, now: &TableInput) -> Result<()> {
        let (one, other) = (was.fingerprint, now.fingerprint);
        let history = self.tables.get(table).filter(|_| one != other);
        if let Some(history) = history.filter(|_| was.snapshot_date == now.snapshot_date)
            && history.are_of_one_copy(now.snapshot_date, one, other)?
        {
            was.fingerprint = other;
        }
        Ok(())
    }

    /// Why the last run of a date failed, if it did.
    fn failure(&self, date: NaiveDate) -> Option<String> {
        if !self.failures.contains(&date) {
            return None;
        }
        match read_hint::<Failure>(&self.failure_path(date)) {
            Ok(failure) => failure.map(|failure| failure.reason),
            Err(error) => Some(format!("the reason is not known: {error}")),
        }
    }

    /// Keeps a failure beside the outputs, for `--only failed` and `asof status`; failing that, it
    /// is told anyway.
    pub(super) fn remember(&self, date: NaiveDate, error: &Error) {
        publish_hint(
            &self.failure_path(date),
            &Failure {
                date,
                reason: error.to_string(),
            },
        );
    }

    /// Forgets the failure of a date that was written since.
    pub(super) fn forget_failure(&self, date: NaiveDate) {
        if self.failures.contains(&date) {
            let _ = self.failure_path(date).remove();
        }
    }
}

/// Opens an output.
///
/// # Errors
/// A refusal of an object that asof did not write; a failure to read it.
pub(super) fn recorded_in(object: &Object) -> Result<OutputRecord> {
    let external = || {
        Error::refused(format!(
            "'{}' was not written by asof, and will not be replaced",
            object.location
        ))
        .hint("remove it, or choose another --out or output")
    };
    let opened = ParquetObject::open(&object.location).map_err(|error| {
        if error.kind() == Kind::Io {
            error
        } else if error.is_damage() {
            error
                .reworded(|what| format!("{what}; it will not be replaced"))
                .hint(
                    "delete it if it is an output of this job, and the next run writes it anew; \
                     otherwise choose another --out or output",
                )
        } else {
            external()
        }
    })?;
    match opened.footer()?.map(|footer| footer.content) {
        Some(Content::Output(footer)) => Ok(OutputRecord {
            footer,
            schema: opened.schema().clone(),
        }),
        _ => Err(external()),
    }
}
