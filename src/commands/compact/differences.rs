//! Comparing existing intervals with the copies that there are: how many of their dates still
//! agree, and which copies differ.
//!
//! A compaction needs the first difference, since it recomputes everything from there. `asof repair`
//! needs all of them, since it is asked about the copies of some dates.

use std::collections::BTreeMap;
use std::ops::Bound;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use serde::Serialize;

use super::plan::read_with;
use super::{CompactOptions, declared_types, prepared};
use crate::commands::Workspace;
use crate::domain::digest::Fingerprint;
use crate::domain::type_names::type_name;
use crate::engine::intervals::Intervals;
use crate::engine::table::{Partitions, SnapshotTable};
use crate::error::Result;
use crate::model::TableName;
use crate::parallel::{OrderedPool, Task};
use crate::storage::lake::fingerprint_cache::FingerprintRecall;
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::ObservedWire;

/// What became of a copy since intervals were made from it, or without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyChange {
    /// It came late: the intervals know later copies, and not this one.
    New,
    /// It has other rows now.
    Rewritten,
    /// It was dropped.
    Dropped,
}

impl CopyChange {
    /// What happened to the snapshot, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            CopyChange::New => "is new",
            CopyChange::Rewritten => "was rewritten",
            CopyChange::Dropped => "was dropped",
        }
    }
}

/// A copy that intervals no longer agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedCopy {
    /// The date of the copy.
    pub snapshot_date: NaiveDate,
    /// What became of it.
    pub change: CopyChange,
}

impl ChangedCopy {
    fn in_words(self) -> String {
        let date = self.snapshot_date;
        format!("the snapshot of {date} {}", self.change.in_words())
    }
}

/// The copies that the intervals of a table in the lake no longer agree with, by date. There is
/// none if there are no intervals. A copy that is later than all that the intervals know is not one
/// of them, and neither are settings and declared types that have changed.
///
/// # Errors
/// A refusal if the intervals are damaged; a failure to list or read copies.
pub(in crate::commands) fn changed_copies(
    workspace: &Workspace<'_>,
    name: &TableName,
) -> Result<Vec<ChangedCopy>> {
    let path = workspace.intervals_path(name, None)?;
    if !path.exists()? {
        return Ok(Vec::new());
    }
    let (table, existing) = prepared(workspace, name, &path, &CompactOptions::default())?;
    let Some(intervals) = existing.intervals else {
        return Ok(Vec::new());
    };
    let types = declared_types(&table);
    let mut recall = FingerprintRecall::beside(&path, read_with(&table, &types));
    let partitions = table.find(None)?.partitions;
    let mut comparison = IntervalComparison {
        table: &table,
        types: &types,
        recall: &mut recall,
    };
    comparison.changed_copies(&intervals, &partitions)
}

/// A comparison of intervals with the copies of their table.
pub(super) struct IntervalComparison<'a> {
    pub(super) table: &'a SnapshotTable,
    /// The types that are declared, by column.
    pub(super) types: &'a BTreeMap<String, String>,
    pub(super) recall: &'a mut FingerprintRecall,
}

impl IntervalComparison<'_> {
    /// How many of the first dates of existing intervals agree with the lake, and why the next one
    /// does not, if there is one.
    pub(super) fn agreeing(
        &mut self,
        existing: &Intervals,
        partitions: &Partitions,
        pruned: &[NaiveDate],
    ) -> Result<(usize, Option<String>)> {
        if self.table.own {
            self.read_fingerprints(existing, partitions)?;
        }
        // A column whose type is declared no longer, and that was read in that type.
        let undeclared = |name: &&String| {
            existing.footer.types.contains_key(*name) && !self.types.contains_key(*name)
        };
        let undeclared: Vec<&String> = existing.footer.types.keys().filter(undeclared).collect();
        for (index, observed) in existing.footer.observed.iter().enumerate() {
            let differs = |why: String| Ok((index, Some(why)));
            if let Some(late) = late_copies(existing, index, partitions).next_back() {
                return differs(late.in_words());
            }
            let schema = existing.schema_of(index)?;
            if let Some(why) = self.other_types(&schema, &undeclared) {
                return differs(why);
            }
            if let Some(changed) = self.changed(existing, observed, &schema, partitions)? {
                return differs(changed.in_words());
            }
            let is_there = partitions.contains_key(&observed.date);
            if !is_there && !pruned.contains(&observed.date) {
                return differs(format!(
                    "the snapshot of {} is outside of the range",
                    observed.date
                ));
            }
        }
        Ok((existing.footer.observed.len(), None))
    }

    /// All copies that the intervals no longer agree with, by date.
    fn changed_copies(
        &mut self,
        existing: &Intervals,
        partitions: &Partitions,
    ) -> Result<Vec<ChangedCopy>> {
        if self.table.own {
            self.read_fingerprints(existing, partitions)?;
        }
        let mut found = Vec::new();
        for (index, observed) in existing.footer.observed.iter().enumerate() {
            found.extend(late_copies(existing, index, partitions));
            let schema = existing.schema_of(index)?;
            found.extend(self.changed(existing, observed, &schema, partitions)?);
        }
        Ok(found)
    }

    /// What became of a copy that the intervals were made from, if something did.
    fn changed(
        &mut self,
        existing: &Intervals,
        observed: &ObservedWire,
        schema: &SchemaRef,
        partitions: &Partitions,
    ) -> Result<Option<ChangedCopy>> {
        let snapshot_date = observed.date;
        let changed = |change| {
            Ok(Some(ChangedCopy {
                snapshot_date,
                change,
            }))
        };
        match partitions.get(&snapshot_date) {
            // Text is read with the types that it had in the pass.
            Some(objects)
                if !observed.is(self.fingerprint(snapshot_date, objects, Some(schema))?) =>
            {
                changed(CopyChange::Rewritten)
            }
            None if existing.dropped.contains(&snapshot_date) => changed(CopyChange::Dropped),
            _ => Ok(None),
        }
    }

    /// Why the types of a snapshot in the intervals are not those that it would be read with now,
    /// if they are not.
    fn other_types(&self, schema: &SchemaRef, undeclared: &[&String]) -> Option<String> {
        let declared = self.table.as_declared(schema);
        let differs = schema
            .fields()
            .iter()
            .zip(declared.fields())
            .find(|(known, declared)| known.data_type() != declared.data_type());
        if let Some((known, declared)) = differs {
            let known_type = type_name(known.data_type());
            let declared = type_name(declared.data_type());
            return Some(format!(
                "column '{}' is {declared} now, and {known_type} in the intervals",
                known.name()
            ));
        }
        let undeclared = undeclared
            .iter()
            .find(|name| schema.field_with_name(name).is_ok())?;
        Some(format!(
            "the type of column '{undeclared}' is no longer declared"
        ))
    }

    /// Reads, in parallel, the footers of the snapshots that intervals were made from, as far as
    /// they are there and it is not known what they say.
    fn read_fingerprints(&mut self, existing: &Intervals, partitions: &Partitions) -> Result<()> {
        let there = existing
            .footer
            .observed
            .iter()
            .filter_map(|observed| Some((observed.date, partitions.get(&observed.date)?)));
        let unknown: Vec<_> = there
            .filter(|(date, objects)| self.recall.recall(*date, objects).is_none())
            .collect();
        let task = |(date, objects): &(NaiveDate, &Vec<Object>)| -> Task<Option<Fingerprint>> {
            let table = self.table.clone();
            let date = *date;
            let objects = (*objects).clone();
            // A snapshot that cannot be read is read again, and refused, when it is needed.
            Box::new(move || Ok(table.fingerprint(date, &objects, None).ok()))
        };
        let threads = self.table.footer_threads();
        let read: Vec<Option<Fingerprint>> =
            OrderedPool::new(threads, 2 * threads, unknown.iter().map(task))?
                .collect::<Result<_>>()?;
        for ((date, objects), fingerprint) in unknown.into_iter().zip(read) {
            if let Some(fingerprint) = fingerprint {
                self.recall.learn(date, objects, fingerprint);
            }
        }
        Ok(())
    }

    /// The fingerprint of a snapshot, remembered or read.
    fn fingerprint(
        &mut self,
        date: NaiveDate,
        objects: &[Object],
        pinned: Option<&SchemaRef>,
    ) -> Result<Fingerprint> {
        if let Some(known) = self.recall.recall(date, objects) {
            return Ok(known);
        }
        let fingerprint = self.table.fingerprint(date, objects, pinned)?;
        self.recall.learn(date, objects, fingerprint);
        Ok(fingerprint)
    }
}

/// The copies between one of the dates of intervals and the date before it, ascending.
fn late_copies<'a>(
    existing: &Intervals,
    index: usize,
    partitions: &'a Partitions,
) -> impl DoubleEndedIterator<Item = ChangedCopy> + use<'a> {
    let observed = &existing.footer.observed;
    let before = index.checked_sub(1).map(|before| observed[before].date);
    let after = before.map_or(Bound::Unbounded, Bound::Excluded);
    let between = partitions.range((after, Bound::Excluded(observed[index].date)));
    between.map(|(date, _)| ChangedCopy {
        snapshot_date: *date,
        change: CopyChange::New,
    })
}
