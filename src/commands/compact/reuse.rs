//! Reusing existing intervals as far as they agree with the snapshots that are found.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::CompactionMode;
use super::plan::Compaction;
use crate::domain::dedup::Dedup;
use crate::domain::digest::Fingerprint;
use crate::domain::missing_column::missing_column;
use crate::domain::type_names::type_name;
use crate::engine::compaction::{Base, Settings};
use crate::engine::intervals::Intervals;
use crate::engine::table::Partitions;
use crate::error::Result;
use crate::parallel::{OrderedPool, Task};
use crate::storage::lake::location::Object;

impl Compaction<'_> {
    /// Takes over as much of existing intervals as still agrees with the lake.
    pub(super) fn take_over(
        &mut self,
        existing: Intervals,
        partitions: &Partitions,
        pruned: &[NaiveDate],
    ) -> Result<()> {
        if Settings::of(&existing) != self.settings
            || existing.footer.dedup != self.dedup().map(Dedup::to_string)
        {
            self.refuse_pruned("a compaction with other settings", pruned)?;
            let why = "the settings differ from those of the existing intervals";
            let note = format!("{}: {why}; all snapshots are read", self.table.name);
            self.workspace.progress.note(&note);
            self.differs = Some(why.to_owned());
            return Ok(());
        }
        let (kept, reason) = self.agreeing(&existing, partitions, pruned)?;
        self.mode = CompactionMode::Incremental;
        if let Some(reason) = reason {
            let needed: Vec<NaiveDate> = pruned
                .iter()
                .copied()
                .filter(|date| kept == 0 || *date > existing.footer.observed[kept - 1].date)
                .collect();
            self.refuse_pruned("a recomputation", &needed)?;
            let from = existing.footer.observed[kept..]
                .first()
                .map(|observed| observed.date);
            self.mode = if kept == 0 {
                CompactionMode::Full
            } else {
                CompactionMode::Recomputed
            };
            self.workspace.progress.note(&format!(
                "{}: {reason}; intervals are recomputed from {}",
                self.table.name,
                from.map_or_else(|| "there".to_owned(), |from| from.to_string())
            ));
            self.differs = Some(reason);
        }
        if kept > 0 {
            self.base = Some(Base {
                intervals: Arc::new(existing),
                kept,
            });
        }
        Ok(())
    }

    /// How many of the first dates of existing intervals agree with the lake, and why the next one
    /// does not, if there is one.
    fn agreeing(
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
            let before = index
                .checked_sub(1)
                .map(|before| existing.footer.observed[before].date);
            let latest = partitions.range(..observed.date).next_back();
            if let Some((late, _)) =
                latest.filter(|(date, _)| before.is_none_or(|before| **date > before))
            {
                return differs(format!("the snapshot of {late} is new"));
            }
            let schema = existing.schema_of(index)?;
            if let Some(why) = self.other_types(&schema, &undeclared) {
                return differs(why);
            }
            if let Some(objects) = partitions.get(&observed.date) {
                // Text is read with the types that it had in the pass.
                if !observed.is(self.fingerprint(observed.date, objects, Some(&schema))?) {
                    return differs(format!("the snapshot of {} was rewritten", observed.date));
                }
            } else if existing.dropped.contains(&observed.date) {
                return differs(format!("the snapshot of {} was dropped", observed.date));
            } else if !pruned.contains(&observed.date) {
                return differs(format!(
                    "the snapshot of {} is outside of the range",
                    observed.date
                ));
            }
        }
        Ok((existing.footer.observed.len(), None))
    }

    /// Refuses a declared type of a column that no date has. `asof snapshot` looks at its source;
    /// of another tool's files a column may be absent on some dates.
    pub(super) fn check_declared(&self, schema: &SchemaRef) -> Result<()> {
        let is_absent = |name: &&String| !self.table.own && schema.field_with_name(name).is_err();
        match self.types.keys().find(is_absent) {
            Some(name) => Err(missing_column(
                name,
                schema,
                &format!("table {}", self.table.name),
            )),
            None => Ok(()),
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
