//! A table's intervals as they were known on a date.
//!
//! Nothing later than the serving copy is visible. So what a job reads of the past is the same on
//! every run, whatever copies arrive later.
//!
//! The published intervals serve as long as they were made from the copies that exist, with the
//! settings of the table. Otherwise intervals are computed by a compaction into a temporary file,
//! once for all dates of a run. Either way a date sees the rows that start up to its serving copy,
//! in the columns and types that were known by then. A row that still held on that copy is shown
//! as open, whatever ended it later. So both give the same rows.
//!
//! External copies in CSV and NDJSON have no types of their own, and a later copy may decide that a
//! column is text. Their intervals are therefore computed for each serving copy by itself, from the
//! copies up to it, and published ones serve only where copies are gone.
//!
//! Memory: a batch of the intervals; for the compaction what every compaction needs.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use chrono::NaiveDate;
use tempfile::{NamedTempFile, TempPath};

use super::copies::in_even_batches;
use super::history::TableHistory;
use super::{RowSource, select};
use crate::engine::compaction::{Base, CompactionFacts, Pass, Settings, Sink};
use crate::engine::intervals::Intervals;
use crate::engine::table::SnapshotTable;
use crate::error::{Context, Error, Result};
use crate::interrupt::{Temporary, temporary};
use crate::memory::MemoryBudget;
use crate::storage::Batches;
use crate::storage::lake::location::Location;
use crate::storage::parquet::writer::ObjectWriter;

/// What a history is made with, beside the table's copies.
pub struct HistorySettings {
    /// How intervals are made and written.
    pub settings: Settings,
    /// About how much memory may be used.
    pub memory: MemoryBudget,
    /// How many threads decode.
    pub threads: usize,
}

/// Intervals that were computed for a run.
pub(super) struct RunIntervals {
    /// The last copy that they were made from.
    until: NaiveDate,
    /// Whether they serve that copy alone, since the types of text depend on the last copy.
    has_text: bool,
    intervals: Arc<Intervals>,
    /// The file that they are in.
    _file: Temporary<TempPath>,
}

/// The intervals as they were known on a copy.
#[derive(Clone)]
pub struct KnownIntervals {
    /// The table's columns and the interval's two.
    pub schema: SchemaRef,
    intervals: Arc<Intervals>,
    /// The place of the last copy among those that the intervals were made from.
    last: usize,
}

impl TableHistory {
    /// Makes the intervals of the table available, for jobs that read them.
    #[must_use]
    pub fn with_settings(mut self, settings: HistorySettings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// How the intervals of the table are made, if a job reads them.
    pub fn settings(&self) -> Option<&HistorySettings> {
        self.settings.as_ref()
    }

    /// The intervals as they were known on the serving copy.
    ///
    /// # Errors
    /// A refusal of gaps up to that copy, and of whatever a compaction refuses.
    pub fn known_on(&self, serving: NaiveDate) -> Result<KnownIntervals> {
        let made_with = self.made_with()?;
        let kept = self.kept_until(serving)?;
        let intervals = match (&self.published, kept == self.until(serving).len()) {
            (Some(published), true) => published.clone(),
            _ => self.computed(made_with, serving, kept)?,
        };
        let last = intervals
            .footer
            .observed
            .iter()
            .position(|seen| seen.date == serving);
        let last = last.ok_or_else(|| {
            self.table
                .refuse(serving, "the intervals do not hold the snapshot")
        })?;
        let schema = intervals.known_schema(last)?;
        Ok(KnownIntervals {
            schema,
            intervals,
            last,
        })
    }

    /// The published intervals, if they are those that were known on the serving copy. Nothing is
    /// computed.
    ///
    /// # Errors
    /// A refusal of gaps up to that copy; a failure or refusal of reading a footer.
    pub fn published_on(&self, serving: NaiveDate) -> Result<Option<&Intervals>> {
        let is_whole = self.kept_until(serving)? == self.until(serving).len();
        Ok(self.published.as_deref().filter(|_| is_whole))
    }

    fn made_with(&self) -> Result<&HistorySettings> {
        let settings = self.settings.as_ref();
        settings.ok_or_else(|| Error::internal("the settings of the intervals are not known"))
    }

    /// How many copies up to the serving one the published intervals know, as [`Self::kept`] says.
    fn kept_until(&self, serving: NaiveDate) -> Result<usize> {
        let settings = &self.made_with()?.settings;
        let dates = self.until(serving);
        settings.policy.check(self.table.name.as_str(), dates)?;
        self.kept(settings, dates)
    }

    /// How many copies, from the first one on, the published intervals were made from as they are
    /// now.
    fn kept(&self, settings: &Settings, dates: &[NaiveDate]) -> Result<usize> {
        let Some(published) = self
            .published
            .as_ref()
            .filter(|_| self.using != RowSource::Snapshots)
        else {
            return Ok(0);
        };
        if Settings::of(published) != *settings {
            return Ok(0);
        }
        for (index, (date, seen)) in dates.iter().zip(&published.footer.observed).enumerate() {
            let schema = published.schema_of(index)?;
            if *date != seen.date || self.table.as_declared(&schema) != schema {
                return Ok(index);
            }
            let Some(objects) = self
                .snapshots
                .get(date)
                .filter(|_| self.using != RowSource::Intervals)
            else {
                continue;
            };
            if !self.table.format_of(objects)?.carries_types() {
                return Ok(index);
            }
            let facts = self.facts(*date)?;
            let same_types = facts
                .schema
                .as_ref()
                .is_none_or(|columns| *columns == schema);
            let is_same = match self.table.own {
                true => seen.is(facts.fingerprint) || seen.is(facts.stored),
                false => seen.is(self.row_fingerprint(*date)?),
            };
            if !same_types || !is_same {
                return Ok(index);
            }
        }
        Ok(dates.len().min(published.footer.observed.len()))
    }

    /// Intervals of the copies up to the serving one at least, of which published ones know the
    /// first `kept`.
    fn computed(
        &self,
        made_with: &HistorySettings,
        serving: NaiveDate,
        kept: usize,
    ) -> Result<Arc<Intervals>> {
        let mut computed = self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = computed
            .iter()
            .find(|known| known.until == serving || (known.until > serving && !known.has_text))
        {
            return Ok(known.intervals.clone());
        }
        let has_text = self.has_text(&self.observed)?;
        let horizon = self.horizon(serving);
        // A later copy that cannot be read is not a failure of this date.
        let whole = if has_text || horizon == serving {
            None
        } else {
            self.compute(made_with, horizon, kept).ok()
        };
        let (until, (file, intervals)) = match whole {
            Some(whole) => (horizon, whole),
            None => (serving, self.compute(made_with, serving, kept)?),
        };
        let intervals = Arc::new(intervals);
        computed.push(RunIntervals {
            until,
            has_text,
            intervals: intervals.clone(),
            _file: file,
        });
        Ok(intervals)
    }

    fn compute(
        &self,
        made_with: &HistorySettings,
        until: NaiveDate,
        kept: usize,
    ) -> Result<(Temporary<TempPath>, Intervals)> {
        let dates = self.until(until);
        let gone = |date: &&NaiveDate| {
            self.using == RowSource::Intervals || !self.snapshots.contains_key(*date)
        };
        if let Some(date) = dates[kept..].iter().find(gone) {
            let what = format!(
                "the intervals have to be computed, and the snapshot of {date} is known only to \
                 the published ones"
            );
            return Err(Error::refused(format!("table {}: {what}", self.table.name))
                .hint(format!("asof compact {}", self.table.name)));
        }
        let days: Vec<_> = dates[kept..]
            .iter()
            .filter_map(|date| Some((*date, self.snapshots.get(date)?.clone())))
            .collect();
        let base = self
            .published
            .clone()
            .filter(|_| kept > 0)
            .map(|intervals| Base { intervals, kept });
        let mut table = self.table.clone();
        loop {
            let pass = Pass {
                table: &table,
                settings: &made_with.settings,
                base: base.as_ref(),
                part: None,
                memory: made_with.memory,
                threads: made_with.threads,
                step: &|_, _| {},
            };
            let mut output = TemporaryIntervals::new(&table, &made_with.settings)?;
            let facts = pass.run(&days, &mut output)?;
            if facts.as_text.is_empty() {
                return output.finish(&facts);
            }
            table.types.declared.extend(
                facts
                    .as_text
                    .into_iter()
                    .map(|column| (column, DataType::Utf8)),
            );
        }
    }

    /// The last copy that a date of the run may see.
    fn horizon(&self, serving: NaiveDate) -> NaiveDate {
        self.snapshots
            .keys()
            .next_back()
            .copied()
            .unwrap_or(serving)
            .max(serving)
    }
}

impl KnownIntervals {
    /// Whether the intervals are those that the lake has.
    pub fn is_published(&self, history: &TableHistory) -> bool {
        history
            .published
            .as_ref()
            .is_some_and(|published| Arc::ptr_eq(published, &self.intervals))
    }

    /// The rows with the named columns, in order of key and start.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn read(&self, columns: &[String]) -> Result<Batches> {
        let target = select(&self.schema, columns);
        Ok(in_even_batches(
            self.intervals.known_on(self.last, columns)?,
            target,
        ))
    }
}

/// Intervals on their way into a temporary file.
struct TemporaryIntervals<'a> {
    table: &'a SnapshotTable,
    settings: &'a Settings,
    file: Temporary<TempPath>,
    writer: Option<ObjectWriter>,
}

impl<'a> TemporaryIntervals<'a> {
    fn new(table: &'a SnapshotTable, settings: &'a Settings) -> Result<Self> {
        let file = temporary(|| {
            tempfile::Builder::new()
                .prefix("asof-intervals-")
                .suffix(".parquet")
                .tempfile()
        });
        let file = file
            .io_context(|| "cannot make a temporary file".into())?
            .map(NamedTempFile::into_temp_path);
        Ok(TemporaryIntervals {
            table,
            settings,
            file,
            writer: None,
        })
    }

    fn finish(self, facts: &CompactionFacts) -> Result<(Temporary<TempPath>, Intervals)> {
        let footer = self.settings.footer(self.table, facts, &BTreeMap::new());
        self.writer
            .ok_or_else(|| Error::internal("nothing was begun"))?
            .finish(&footer)?;
        let intervals = Intervals::open(&Location::local(self.file.to_path_buf()))?;
        Ok((
            self.file,
            intervals.ok_or_else(|| Error::internal("the temporary intervals are gone"))?,
        ))
    }
}

impl Sink for TemporaryIntervals<'_> {
    fn begin(&mut self, table: &SchemaRef, schema: &SchemaRef) -> Result<()> {
        self.settings.check(table, self.table)?;
        let file =
            File::create(&*self.file).io_context(|| "cannot write a temporary file".into())?;
        let mut sorted_by = self.table.key.clone();
        sorted_by.push(self.settings.convention.start_column.clone());
        self.writer = Some(ObjectWriter::create(
            file,
            schema,
            &sorted_by,
            &Location::local(self.file.to_path_buf()),
        )?);
        Ok(())
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.writer.as_mut().map_or_else(
            || Err(Error::internal("nothing was begun")),
            |writer| writer.write(rows),
        )
    }
}
