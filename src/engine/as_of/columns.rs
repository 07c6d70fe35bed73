//! The columns of a table: those of one date, of all dates, and those that were known by a date.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::history::TableHistory;
use crate::domain::as_of_rule::latest;
use crate::domain::schema::{by_name, unify};
use crate::engine::intervals::Intervals;
use crate::error::Result;

/// The columns that the snapshot of an observed date had.
///
/// # Errors
/// A refusal if the intervals were not made from such a snapshot.
pub fn schema_on(intervals: &Intervals, observed: NaiveDate) -> Result<SchemaRef> {
    let index = intervals
        .footer
        .observed
        .iter()
        .position(|seen| seen.date == observed);
    intervals.schema_of(index.unwrap_or(usize::MAX))
}

impl TableHistory {
    /// The columns of an observed date's own snapshot.
    ///
    /// # Errors
    /// A failure or refusal of reading its footer.
    pub fn columns_on(&self, observed: NaiveDate) -> Result<SchemaRef> {
        match self.facts(observed)?.schema {
            Some(schema) => Ok(schema),
            None => Ok(self.as_of(observed, false)?.schema),
        }
    }

    /// The columns of the last observed date that is not after `date`; nothing if there is none.
    ///
    /// # Errors
    /// As [`TableHistory::columns_on`].
    pub fn columns_until(&self, date: NaiveDate) -> Result<Option<SchemaRef>> {
        latest(&self.observed, self.rule.label(date))
            .map(|observed| self.columns_on(observed))
            .transpose()
    }

    /// The types that external text is read with: those of the snapshots before it, as far as
    /// intervals know them, so that a snapshot reads as it did when it was compacted.
    pub(super) fn pinned(&self, observed: NaiveDate) -> Result<Option<SchemaRef>> {
        let Some(intervals) = self.published.as_ref().filter(|_| !self.table.own) else {
            return Ok(None);
        };
        let mut pinned: Option<SchemaRef> = None;
        let mut known = BTreeSet::new();
        if intervals.snapshot(observed).is_some() {
            return schema_on(intervals, observed).map(Some);
        }
        for (index, seen) in intervals
            .footer
            .observed
            .iter()
            .enumerate()
            .take_while(|(_, seen)| seen.date < observed)
        {
            if !known.insert(seen.schema) {
                continue;
            }
            let schema = intervals.schema_of(index)?;
            pinned = Some(match &pinned {
                None => schema,
                Some(wide) => {
                    unify(wide, &schema)
                        .map_err(|clash| clash.refusal(self.table.name.as_str(), observed))?
                        .0
                }
            });
        }
        Ok(pinned)
    }

    /// Every column that the table ever had, in the widest type: an absent column is a column of
    /// nulls, of the type that it has elsewhere.
    ///
    /// # Errors
    /// A failure or refusal of reading footers, or types that do not widen.
    pub fn every_column(&self) -> Result<SchemaRef> {
        let mut every = self
            .every_column
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = every.as_ref() {
            return Ok(known.clone());
        }
        let mut all: SchemaRef = Arc::new(Schema::empty());
        let mut add = |schema: &Schema, date: NaiveDate| -> Result<()> {
            all = unify(&all, schema)
                .map_err(|clash| clash.refusal(self.table.name.as_str(), date))?
                .0;
            Ok(())
        };
        if let Some(intervals) = &self.intervals {
            for (index, observed) in intervals.footer.observed.iter().enumerate() {
                if intervals.dropped.contains(&observed.date) {
                    continue;
                }
                add(
                    self.table
                        .as_declared(&intervals.schema_of(index)?)
                        .as_ref(),
                    observed.date,
                )?;
            }
        }
        for (date, objects) in self.every_snapshot()? {
            if self.intervals.as_ref().is_none_or(|intervals| {
                intervals.fingerprint(*date).is_none() || intervals.dropped.contains(date)
            }) {
                add(
                    self.table
                        .open(*date, objects, self.pinned(*date)?.as_ref())?
                        .schema
                        .as_ref(),
                    *date,
                )?;
            }
        }
        *every = Some(all.clone());
        Ok(all)
    }

    /// Every column that was known up to the serving copy, and then those that only later copies
    /// have, in the type of the first of them.
    ///
    /// # Errors
    /// A failure or refusal of reading footers, or types that do not widen.
    pub fn columns_known(&self, serving: NaiveDate) -> Result<SchemaRef> {
        let mut all: SchemaRef = Arc::new(Schema::empty());
        let every = self.every_snapshot()?;
        let intervals = self
            .intervals
            .as_ref()
            .map(|intervals| intervals.served())
            .unwrap_or_default();
        let dates: BTreeSet<NaiveDate> = self
            .observed
            .iter()
            .chain(every.keys())
            .chain(&intervals)
            .copied()
            .collect();
        for date in dates {
            let schema = match (every.get(&date), &self.intervals) {
                (Some(objects), _) => {
                    self.table
                        .open(date, objects, self.pinned(date)?.as_ref())?
                        .schema
                }
                (None, Some(intervals)) => self.table.as_declared(&schema_on(intervals, date)?),
                (None, None) => continue,
            };
            if date <= serving {
                all = unify(&all, &schema)
                    .map_err(|clash| clash.refusal(self.table.name.as_str(), date))?
                    .0;
            } else {
                let known = by_name(&all);
                let is_new = |field: &&Arc<Field>| !known.contains_key(field.name().as_str());
                let fields: Vec<_> = all
                    .fields()
                    .iter()
                    .chain(schema.fields().iter().filter(is_new))
                    .cloned()
                    .collect();
                all = Arc::new(Schema::new(fields));
            }
        }
        Ok(all)
    }

    /// The same, of the columns that intervals have: those that are selected.
    ///
    /// # Errors
    /// As [`TableHistory::columns_known`].
    pub fn columns_of_intervals(&self, serving: NaiveDate) -> Result<SchemaRef> {
        let known = self.columns_known(serving)?;
        Ok(self.settings.as_ref().map_or_else(
            || known.clone(),
            |made_with| made_with.settings.selection.kept(&known),
        ))
    }
}
