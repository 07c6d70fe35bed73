//! A table as of a date: which snapshot serves, and whether its rows come from the snapshot itself
//! or from the intervals.
//!
//! Both give the same rows, in the same order, in the columns and types that the snapshot had.
//! Intervals are preferred when many dates are asked for, since they hold each unchanged row once,
//! but only where they are known to agree: their footer records the fingerprint that the snapshot
//! has, and they compare every column. What only they still know (a pruned date) they serve alone.

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use chrono::{DateTime, NaiveDate, Utc};

pub use self::history::{Copies, HistorySettings, KnownIntervals, SNAPSHOT_DATE};
use super::intervals::Intervals;
use super::table::{Partitions, Snapshot, Table, content};
use crate::domain::asof::{AsOfRule, NoSnapshot, latest};
use crate::domain::cast::conform;
use crate::domain::digest::Fingerprint;
use crate::domain::schema::unify;
use crate::engine::join_input::snapshots::Dated;
use crate::error::{Error, Result, toml_key};
use crate::storage::Batches;
use crate::storage::lake::location::Object;

/// Where rows may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowSource {
    /// Whichever is cheaper and known to be right.
    #[default]
    Auto,
    /// Snapshots alone.
    Snapshots,
    /// Intervals alone.
    Intervals,
}

/// What is known of one snapshot without reading its rows.
#[derive(Clone, Debug)]
pub struct SnapshotFacts {
    /// Its content, in the types that are declared for the table.
    pub fingerprint: Fingerprint,
    /// What its footer says, or else the same.
    stored: Fingerprint,
    /// When it was taken, if that is recorded and the copy was not backdated.
    pub taken_at: Option<DateTime<Utc>>,
    /// Its columns, if its footer was read for this.
    schema: Option<SchemaRef>,
}

/// All that can be asked of a table's past.
pub struct TableHistory {
    /// The table.
    pub table: Table,
    /// How it is looked up.
    pub rule: AsOfRule,
    /// Those that can serve the dates that are asked for; of others nothing is known.
    snapshots: Partitions,
    /// All there are, once somebody had to know.
    every_snapshot: OnceLock<Partitions>,
    /// Those that serve dates: they are of all rows and columns.
    intervals: Option<Arc<Intervals>>,
    /// The intervals of the table, whatever they are of.
    published: Option<Arc<Intervals>>,
    observed: Vec<NaiveDate>,
    using: RowSource,
    /// By observed date; whoever works one out holds its own lock meanwhile, so that no snapshot is
    /// read twice at a time.
    facts: Mutex<BTreeMap<NaiveDate, Arc<Mutex<Option<SnapshotFacts>>>>>,
    every_column: Mutex<Option<SchemaRef>>,
    /// How intervals are made, for a job that reads them.
    settings: Option<HistorySettings>,
    /// Those that were computed for this run.
    computed: Mutex<Vec<history::Computed>>,
}

/// A table as of one observed date: its columns, and how to read them.
#[derive(Clone)]
pub struct AsOfTable {
    /// The observed date.
    pub observed: NaiveDate,
    /// The columns that the snapshot had.
    pub schema: SchemaRef,
    source: Source,
}

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "there are few at a time")]
enum Source {
    Snapshot(Box<Table>, Vec<Object>),
    Intervals(Arc<Intervals>),
}

impl TableHistory {
    /// Puts together what the lake and the intervals know; `snapshots` are those of the labels that
    /// will be asked for.
    ///
    /// # Errors
    /// A usage error if `using` asks for intervals that are not there.
    pub fn new(
        table: Table,
        rule: AsOfRule,
        snapshots: Partitions,
        intervals: Option<Intervals>,
        using: RowSource,
    ) -> Result<Self> {
        let published = intervals.map(Arc::new);
        let intervals = published.clone().filter(|intervals| intervals.is_whole());
        if let (RowSource::Intervals, Some(published), None) = (using, &published, &intervals) {
            let selected = published.selection().in_words();
            let what = format!(
                "the intervals of table {} are of {selected}, and cannot serve the table as of \
                 a date",
                table.name
            );
            return Err(Error::usage(what).hint("--using snapshots"));
        }
        if using == RowSource::Intervals && intervals.is_none() {
            return Err(
                Error::usage(format!("table {} has no intervals", table.name))
                    .hint(format!("asof compact {}", table.name)),
            );
        }
        let mut observed: Vec<NaiveDate> = Vec::new();
        if using != RowSource::Intervals {
            observed.extend(snapshots.keys());
        }
        if using != RowSource::Snapshots {
            observed.extend(intervals.iter().flat_map(|intervals| intervals.observed()));
        }
        observed.sort();
        observed.dedup();
        let every_snapshot = OnceLock::new();
        Ok(TableHistory {
            table,
            rule,
            snapshots,
            every_snapshot,
            intervals,
            published,
            observed,
            using,
            facts: Mutex::default(),
            every_column: Mutex::default(),
            settings: None,
            computed: Mutex::default(),
        })
    }

    /// All snapshots of the table: only refusals, and columns that were absent, need to know of
    /// those that serve no date.
    fn every_snapshot(&self) -> Result<&Partitions> {
        if let Some(found) = self.every_snapshot.get() {
            return Ok(found);
        }
        let found = if self.using == RowSource::Intervals {
            Partitions::new()
        } else {
            self.table.find(None)?.partitions
        };
        Ok(self.every_snapshot.get_or_init(|| found))
    }

    /// Why no snapshot serves a date, of all that there are.
    fn reason(&self, date: NaiveDate) -> Result<(NoSnapshot, Option<NaiveDate>)> {
        let mut observed = self.observed.clone();
        observed.extend(self.every_snapshot()?.keys());
        observed.sort();
        observed.dedup();
        let reason = self
            .rule
            .resolve(&observed, date)
            .err()
            .unwrap_or(NoSnapshot::Before);
        Ok((reason, observed.first().copied()))
    }

    /// The observed date that serves the events of `date`.
    ///
    /// # Errors
    /// A refusal that names the table, the label that lacks, and the option that would take an
    /// older one.
    pub fn resolve(&self, date: NaiveDate) -> Result<NaiveDate> {
        let name = &self.table.name;
        let label = self.rule.label(date);
        if let Ok(observed) = self.rule.resolve(&self.observed, date) {
            return Ok(observed);
        }
        let (reason, first) = self.reason(date)?;
        Err(match reason {
            NoSnapshot::Before => match first {
                None => Error::refused(format!("table {name} has no snapshots"))
                    .hint(self.table.filling()),
                Some(first) => {
                    let error = Error::refused(format!(
                        "table {name} has no snapshot of {label} or before; its first is {first}"
                    ));
                    error.hint(match self.table.own {
                        true => {
                            format!(
                                "asof snapshot {name} --date {label} --backdate --source \
                                 FILE, if that day's data is still available"
                            )
                        }
                        false => self.table.filling(),
                    })
                }
            },
            NoSnapshot::TooOld(found) => {
                let age = (label - found).num_days();
                let days = if age == 1 { "day" } else { "days" };
                Error::refused(format!(
                    "table {name} has no snapshot of {label}; the latest before it is {found}, \
                     {age} {days} older"
                ))
                .hint(format!(
                    "--tolerance {age}d, or [tables.{}] tolerance = \"{age}d\", takes the \
                     older one",
                    toml_key(name.as_str())
                ))
            }
        })
    }

    /// What is known of an observed date's snapshot.
    ///
    /// # Errors
    /// A failure or refusal of reading it.
    pub fn facts(&self, observed: NaiveDate) -> Result<SnapshotFacts> {
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
                // A footer tells without a row being read; external rows are read for it, with the
                // types that the join will see.
                if self.table.own {
                    self.own_facts(self.table.open(observed, objects, None)?)?
                } else {
                    let pinned = self.pinned(observed)?;
                    let fingerprint = self.table.fingerprint(observed, objects, pinned.as_ref())?;
                    SnapshotFacts {
                        fingerprint,
                        stored: fingerprint,
                        taken_at: None,
                        schema: None,
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

    /// What a snapshot of asof's own tells. If declared types turn it into other values, its rows
    /// are read, unless the intervals were made from it with the same types.
    fn own_facts(&self, snapshot: Snapshot) -> Result<SnapshotFacts> {
        let observed = snapshot.date;
        let schema = snapshot.schema.clone();
        let unwritten = || self.table.refuse(observed, "there is no snapshot");
        let footer = snapshot.footer.clone().ok_or_else(unwritten)?;
        let stored = footer.fingerprint;
        let taken_at = footer.taken_at.filter(|_| !footer.backdated);
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

    /// The intervals, if they are to serve this date; `many` says that other dates will be asked
    /// for too.
    ///
    /// # Errors
    /// A failure or refusal of reading a footer.
    pub fn intervals_for(&self, observed: NaiveDate, many: bool) -> Result<Option<Arc<Intervals>>> {
        let Some(intervals) = self
            .intervals
            .as_ref()
            .filter(|_| self.using != RowSource::Snapshots)
        else {
            return Ok(None);
        };
        let Some(recorded) = intervals.fingerprint(observed) else {
            return Ok(None);
        };
        let recorded_schema = schema_on(intervals, observed)?;
        let has_declared_types = self.table.as_declared(&recorded_schema) == recorded_schema;
        if self.using == RowSource::Intervals || !self.snapshots.contains_key(&observed) {
            if !has_declared_types {
                let error = self.table.refuse(
                    observed,
                    "the intervals have other types than those that are declared",
                );
                return Err(error.hint(format!("asof compact {}", self.table.name)));
            }
            return Ok(Some(intervals.clone()));
        }
        if !has_declared_types {
            return Ok(None);
        }
        if !many || !self.table.own || !intervals.compares_all() {
            return Ok(None);
        }
        Ok((self.facts(observed)?.fingerprint == recorded).then(|| intervals.clone()))
    }

    /// The table as of an observed date.
    ///
    /// # Errors
    /// A failure or refusal of reading a footer.
    pub fn as_of(&self, observed: NaiveDate, many: bool) -> Result<AsOfTable> {
        if let Some(intervals) = self.intervals_for(observed, many)? {
            let schema = schema_on(&intervals, observed)?;
            return Ok(AsOfTable {
                observed,
                schema,
                source: Source::Intervals(intervals),
            });
        }
        let objects = self
            .snapshots
            .get(&observed)
            .ok_or_else(|| self.table.refuse(observed, "there is no snapshot"))?;
        let schema = self
            .table
            .open(observed, objects, self.pinned(observed)?.as_ref())?
            .schema;
        Ok(AsOfTable {
            observed,
            schema,
            source: Source::Snapshot(Box::new(self.table.clone()), objects.clone()),
        })
    }

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

    /// The snapshots of observed dates, to be read in one go.
    ///
    /// # Errors
    /// A refusal for a date without one; a failure or refusal of reading a footer.
    pub fn snapshots_of(&self, observed: &[NaiveDate]) -> Result<Vec<Dated>> {
        let dated = |date: &NaiveDate| {
            let objects = self
                .snapshots
                .get(date)
                .ok_or_else(|| self.table.refuse(*date, "there is no snapshot"))?;
            Ok(Dated {
                date: *date,
                objects: objects.clone(),
                fingerprint: self.facts(*date)?.stored,
            })
        };
        observed.iter().map(dated).collect()
    }

    /// The types that external text is read with: those of the snapshots before it, as far as
    /// intervals know them, so that a snapshot reads as it did when it was compacted.
    fn pinned(&self, observed: NaiveDate) -> Result<Option<SchemaRef>> {
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

    /// What the intervals do not compare, in words, if they leave anything out: its values are
    /// those of each interval's first day.
    pub fn uncompared(&self) -> Option<String> {
        let intervals = self
            .intervals
            .as_ref()
            .filter(|intervals| !intervals.compares_all())?;
        let ignore = &intervals.footer.ignore;
        let track = &intervals.footer.track;
        Some(if track.is_empty() {
            ignore.join(", ")
        } else {
            format!("all but {}", track.join(", "))
        })
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
                add(
                    self.table
                        .as_declared(&intervals.schema_of(index)?)
                        .as_ref(),
                    observed.date,
                )?;
            }
        }
        for (date, objects) in self.every_snapshot()? {
            if self
                .intervals
                .as_ref()
                .is_none_or(|intervals| intervals.fingerprint(*date).is_none())
            {
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
}

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

impl AsOfTable {
    /// Whether the rows come from intervals.
    pub fn from_intervals(&self) -> bool {
        matches!(self.source, Source::Intervals(_))
    }

    /// The one Parquet object of asof's own that holds these rows as it is stored, if there is one.
    ///
    /// # Errors
    /// A failure or refusal of reading its footer.
    pub fn plain_object(&self) -> Result<Option<Object>> {
        let Source::Snapshot(table, objects) = &self.source else {
            return Ok(None);
        };
        let ([object], true) = (objects.as_slice(), table.own) else {
            return Ok(None);
        };
        let snapshot = table.open(self.observed, objects, None)?;
        Ok((*snapshot.stored_schema() == self.schema).then(|| object.clone()))
    }

    /// The rows, with the named columns in their order; a name that the snapshot did not have is
    /// left out. Own snapshots and intervals come in order of the key.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read(&self, columns: &[String]) -> Result<Batches> {
        let present: Vec<String> = columns
            .iter()
            .filter(|name| self.schema.field_with_name(name).is_ok())
            .cloned()
            .collect();
        let fields: Vec<_> = present
            .iter()
            .filter_map(|name| self.schema.field_with_name(name).ok().cloned())
            .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let batches = match &self.source {
            Source::Snapshot(table, objects) => table
                .open(self.observed, objects, Some(&self.schema))?
                .read(Some(&present))?,
            Source::Intervals(intervals) => intervals.as_of(self.observed, Some(&present))?,
        };
        Ok(Box::new(
            batches.map(move |batch| conform(&batch?, &schema)),
        ))
    }
}
