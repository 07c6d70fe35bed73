//! What the join of each date needs of the table.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use crate::commands::backfill::report::ServedBy;
use crate::engine::as_of::{AsOfTable, TableHistory, schema_on};
use crate::engine::expression::{Condition, columns_of};
use crate::engine::intervals::Intervals;
use crate::engine::join::{JoinColumns, JoinSpec};
use crate::error::Result;

/// Where the table's rows of a date come from.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "there are few at a time")]
pub(in crate::commands) enum BuildSource {
    /// The intervals.
    Intervals(Arc<Intervals>),
    /// A snapshot of asof's own.
    Snapshot,
    /// A snapshot of another tool's, which is read for its date alone.
    ExternalCopy(AsOfTable),
}

impl BuildSource {
    /// As reports name it.
    pub(in crate::commands) fn served_by(&self) -> ServedBy {
        match self {
            BuildSource::Intervals(_) => ServedBy::Intervals,
            BuildSource::Snapshot | BuildSource::ExternalCopy(_) => ServedBy::Snapshots,
        }
    }
}

/// What a date needs of the table.
#[derive(Clone)]
pub(in crate::commands) struct Need {
    /// The observed date that serves it.
    pub(in crate::commands) observed: NaiveDate,
    pub(in crate::commands) source: BuildSource,
    pub(in crate::commands) columns: Arc<JoinColumns>,
}

impl Need {
    /// The columns of the table that the join reads.
    pub(in crate::commands) fn schema(&self) -> &SchemaRef {
        self.columns.schema()
    }

    /// Whether one build side can serve both dates.
    pub(super) fn agrees(&self, other: &Need) -> bool {
        self.source.served_by() == other.source.served_by() && self.columns.agree(&other.columns)
    }
}

/// Finds what dates need. Dates whose tables have the same columns share what is derived from them.
pub(in crate::commands) struct Needs<'a> {
    spec: &'a JoinSpec,
    pub(super) history: &'a TableHistory,
    /// Whether other dates of the range ask for the table too.
    many: bool,
    /// What a join needs of tables that have certain columns.
    known: Mutex<Vec<(SchemaRef, Arc<JoinColumns>)>>,
}

impl<'a> Needs<'a> {
    /// The needs of a job that runs `many` dates.
    pub(in crate::commands) fn new(
        spec: &'a JoinSpec,
        history: &'a TableHistory,
        many: bool,
    ) -> Self {
        Needs {
            spec,
            history,
            many,
            known: Mutex::default(),
        }
    }

    /// What a date needs.
    ///
    /// # Errors
    /// A refusal if no snapshot serves it; a usage error for columns or a condition that its table
    /// does not have.
    pub(in crate::commands) fn of(&self, date: NaiveDate) -> Result<Need> {
        let observed = self.history.resolve(date)?;
        let intervals = self.history.intervals_for(observed, self.many)?;
        let (source, schema) = match intervals {
            Some(intervals) => {
                let schema = schema_on(&intervals, observed)?;
                (BuildSource::Intervals(intervals), schema)
            }
            None if self.history.table.own => {
                let schema = self.history.columns_on(observed)?;
                (BuildSource::Snapshot, schema)
            }
            None => {
                let as_of = self.history.as_of(observed, false)?;
                let schema = as_of.schema.clone();
                (BuildSource::ExternalCopy(as_of), schema)
            }
        };
        Ok(Need {
            observed,
            source,
            columns: self.columns_for(schema)?,
        })
    }

    /// Whether what a date needs is known without reading rows: text of external copies is read
    /// whole to know of its columns.
    pub(super) fn is_known_by_footers(&self, date: NaiveDate) -> bool {
        let intervals = self
            .history
            .resolve(date)
            .and_then(|observed| self.history.intervals_for(observed, self.many));
        self.history.table.own || intervals.is_ok_and(|intervals| intervals.is_some())
    }

    fn columns_for(&self, schema: SchemaRef) -> Result<Arc<JoinColumns>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known()
            .iter()
            .find(|(other, _)| *other == schema)
            .map(|(_, columns)| columns.clone());
        if let Some(columns) = found {
            return Ok(columns);
        }
        let table = &self.history.table;
        let named = with_named(&schema, self.spec, self.history)?;
        let columns = Arc::new(JoinColumns::of(self.spec, &table.name, &table.key, &named)?);
        known().push((schema, columns.clone()));
        Ok(columns)
    }
}

/// The table's columns on a date, with those that the join names and that were absent then.
pub(in crate::commands::backfill) fn with_named(
    schema: &SchemaRef,
    spec: &JoinSpec,
    history: &TableHistory,
) -> Result<SchemaRef> {
    let mut named: Vec<String> = spec.select.clone();
    if let Some(condition) = &spec.condition {
        // Which columns a condition names is found by reading it against every column there ever
        // was.
        if Condition::parse(condition, schema).is_err() {
            let every = history.every_column()?;
            named.extend(columns_of(condition, &every)?);
        }
    }
    let absent: Vec<&String> = named
        .iter()
        .filter(|name| schema.field_with_name(name).is_err())
        .collect();
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
