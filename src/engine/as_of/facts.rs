//! What is known of a snapshot without reading its rows, where a footer tells it.

use std::sync::PoisonError;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, NaiveDate, Utc};

use super::RowSource;
use super::columns::schema_on;
use super::history::TableHistory;
use crate::domain::digest::Fingerprint;
use crate::engine::join_input::snapshots::DatedSnapshot;
use crate::engine::table::{Partitions, Snapshot, content};
use crate::error::Result;
use crate::model::DateRange;
use crate::storage::lake::location::Object;

/// What is known of one snapshot without reading its rows.
#[derive(Clone, Debug)]
pub struct SnapshotFacts {
    /// Its content, in the types that are declared for the table: that of its rows, or of the files
    /// of an external copy ([`SnapshotTable::content_of_copy`]).
    ///
    /// [`SnapshotTable::content_of_copy`]: crate::engine::table::SnapshotTable::content_of_copy
    pub fingerprint: Fingerprint,
    /// What its footer says, or else the same.
    pub(super) stored: Fingerprint,
    /// When it was taken, if that is recorded, and nothing says that the source had the state of
    /// the day: the copy was not backdated, and its source has not a state for each date.
    pub taken_at: Option<DateTime<Utc>>,
    /// Its columns, if its footer was read for this.
    pub(super) schema: Option<SchemaRef>,
}

impl TableHistory {
    /// What is known of an observed date's snapshot.
    ///
    /// # Errors
    /// A failure or refusal of reading it.
    pub fn facts(&self, observed: NaiveDate) -> Result<SnapshotFacts> {
        self.available(observed)?;
        let place = self
            .facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(observed)
            .or_default()
            .clone();
        let mut known = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known.as_ref() {
            return Ok(facts.clone());
        }
        let facts = match (self.using, self.snapshots.get(&observed), &self.intervals) {
            (RowSource::Auto | RowSource::Snapshots, Some(objects), _) => {
                // A footer tells without a row being read; external files are read for it, with
                // the types that the join will see.
                if self.table.own {
                    self.own_facts(self.table.open(observed, objects, None)?)?
                } else {
                    let pinned = self.pinned(observed)?;
                    let table = &self.table;
                    let (fingerprint, schema) =
                        table.content_of_copy(observed, objects, pinned.as_ref())?;
                    SnapshotFacts {
                        fingerprint,
                        stored: fingerprint,
                        taken_at: None,
                        schema,
                    }
                }
            }
            (_, _, Some(intervals)) => {
                let fingerprint = intervals
                    .fingerprint(observed)
                    .ok_or_else(|| self.table.refuse(observed, "there is no snapshot"))?;
                SnapshotFacts {
                    fingerprint,
                    stored: fingerprint,
                    taken_at: None,
                    schema: None,
                }
            }
            _ => return Err(self.table.refuse(observed, "there is no snapshot")),
        };
        *known = Some(facts.clone());
        Ok(facts)
    }

    /// The fingerprint of the rows of an observed date's snapshot, whatever files it has.
    ///
    /// # Errors
    /// As [`TableHistory::facts`].
    pub fn row_fingerprint(&self, observed: NaiveDate) -> Result<Fingerprint> {
        match self.external_copy(observed) {
            Some(objects) if self.using != RowSource::Intervals => {
                self.rows_of_copy(observed, objects)
            }
            _ => Ok(self.facts(observed)?.fingerprint),
        }
    }

    /// Whether two fingerprints are of the same external copy of an observed date: one of its files
    /// and the other of its rows.
    ///
    /// # Errors
    /// A failure or refusal of reading it.
    pub fn are_of_one_copy(
        &self,
        observed: NaiveDate,
        one: Fingerprint,
        other: Fingerprint,
    ) -> Result<bool> {
        let table = &self.table;
        let found = match self.snapshots.contains_key(&observed) || table.own {
            true => Partitions::new(),
            // Where intervals serve every date, no copies were looked for.
            false => table.find(Some(DateRange::single(observed)))?.partitions,
        };
        let copy = self
            .external_copy(observed)
            .or_else(|| found.get(&observed));
        let Some(objects) = copy else {
            return Ok(false);
        };
        // One that is told by its rows has no other fingerprint.
        if !table.is_told_by_files(objects)? {
            return Ok(false);
        }
        let pinned = self.pinned(observed)?;
        let (of_files, _) = table.content_of_copy(observed, objects, pinned.as_ref())?;
        let of_rows = match of_files {
            of_files if of_files == one => other,
            of_files if of_files == other => one,
            _ => return Ok(false),
        };
        Ok(self.rows_of_copy(observed, objects)? == of_rows)
    }

    fn external_copy(&self, observed: NaiveDate) -> Option<&Vec<Object>> {
        let objects = self.snapshots.get(&observed);
        objects.filter(|_| !self.table.own)
    }

    fn rows_of_copy(&self, observed: NaiveDate, objects: &[Object]) -> Result<Fingerprint> {
        let known = || {
            self.row_fingerprints
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(fingerprint) = known().get(&observed) {
            return Ok(*fingerprint);
        }
        let pinned = self.pinned(observed)?;
        let fingerprint = self.table.fingerprint(observed, objects, pinned.as_ref())?;
        known().insert(observed, fingerprint);
        Ok(fingerprint)
    }

    /// What a snapshot of asof's own tells. If declared types turn it into other values, its rows
    /// are read, unless the intervals were made from it with the same types.
    fn own_facts(&self, snapshot: Snapshot) -> Result<SnapshotFacts> {
        let observed = snapshot.date;
        let schema = snapshot.schema.clone();
        let unwritten = || self.table.refuse(observed, "there is no snapshot");
        let footer = snapshot.footer.clone().ok_or_else(unwritten)?;
        let stored = footer.fingerprint;
        let has_the_day = footer.backdated || footer.dated_source.is_some();
        let taken_at = footer.taken_at.filter(|_| !has_the_day);
        let fingerprint = match (snapshot.fingerprint(), &self.published) {
            (Some(fingerprint), _) => fingerprint,
            (None, Some(intervals))
                if intervals
                    .snapshot(observed)
                    .is_some_and(|seen| seen.stored == Some(stored))
                    && schema_on(intervals, observed)? == schema =>
            {
                intervals.fingerprint(observed).ok_or_else(unwritten)?
            }
            (None, _) => content(snapshot.read(None)?)?,
        };
        Ok(SnapshotFacts {
            fingerprint,
            stored,
            taken_at,
            schema: Some(schema),
        })
    }

    /// The snapshots of observed dates, to be read in one go.
    ///
    /// # Errors
    /// A refusal for a date without one; a failure or refusal of reading a footer.
    pub fn snapshots_of(&self, observed: &[NaiveDate]) -> Result<Vec<DatedSnapshot>> {
        let dated = |date: &NaiveDate| {
            let objects = self
                .snapshots
                .get(date)
                .ok_or_else(|| self.table.refuse(*date, "there is no snapshot"))?;
            Ok(DatedSnapshot {
                date: *date,
                objects: objects.clone(),
                fingerprint: self.facts(*date)?.stored,
            })
        };
        observed.iter().map(dated).collect()
    }
}
