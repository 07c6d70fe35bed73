//! Build sides: each is built once for a window of dates, and let go when the last of them is done.
//!
//! A window is the next dates that are to be run whose tables come from the same place and have the
//! columns of the join in the same types. It is as long as [`FROM_INTERVALS`] or [`FROM_SNAPSHOTS`]
//! says, or shorter if its build side would be more than a quarter of the memory that may be used:
//! two windows are there at a time while dates of one are finished and the next one is built, and
//! building takes more than what is built. The build side of one date is built however large it is.
//!
//! A failure to build the build side of many dates may be that of one of them. So it is then built
//! for each alone, and the failure falls on its own date.
//!
//! Memory: two build sides ([`crate::engine::join`]), or, where so few dates fit one that workers
//! are at more of them at a time, as many as workers; whatever the length of the range.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::report::ServedBy;
use crate::engine::as_of::{AsOfTable, TableHistory, schema_on};
use crate::engine::expression::{Condition, columns_of};
use crate::engine::intervals::Intervals;
use crate::engine::join::{JoinColumns, JoinSpec, JoinTable, of_one_date};
use crate::engine::join_input::intervals::of_intervals;
use crate::engine::join_input::snapshots::versions_of_snapshots;
use crate::error::Result;
use crate::model::MemoryBudget;

/// The most dates of a window that intervals serve, which are read whole for each.
const FROM_INTERVALS: usize = 64;
/// The most dates of a window that snapshots serve, each of which is read once.
const FROM_SNAPSHOTS: usize = 64;

/// Where the table's rows of a date come from.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "there are few at a time")]
pub(in crate::commands) enum Source {
    /// The intervals.
    Intervals(Arc<Intervals>),
    /// A snapshot of asof's own.
    Own,
    /// A snapshot of another tool's, which is read for its date alone.
    External(AsOfTable),
}

impl Source {
    /// As reports name it.
    pub(in crate::commands) fn served_by(&self) -> ServedBy {
        match self {
            Source::Intervals(_) => ServedBy::Intervals,
            Source::Own | Source::External(_) => ServedBy::Snapshots,
        }
    }

    /// The most dates that one build side serves.
    fn reach(&self) -> usize {
        match self {
            Source::Intervals(_) => FROM_INTERVALS,
            Source::Own => FROM_SNAPSHOTS,
            Source::External(_) => 1,
        }
    }
}

/// What a date needs of the table.
#[derive(Clone)]
pub(in crate::commands) struct Need {
    /// The observed date that serves it.
    pub(in crate::commands) observed: NaiveDate,
    pub(in crate::commands) source: Source,
    pub(in crate::commands) columns: Arc<JoinColumns>,
}

impl Need {
    /// The columns of the table that the join reads.
    pub(in crate::commands) fn schema(&self) -> &SchemaRef {
        self.columns.schema()
    }

    /// The events' columns that are joined to keys of text, as text: a date whose codes are all
    /// digits has codes all the same.
    pub(in crate::commands) fn text_keys(&self, spec: &JoinSpec) -> SchemaRef {
        let is_text = |pair: &&((String, String), DataType)| pair.1 == DataType::Utf8;
        let pairs: Vec<_> = spec
            .on
            .iter()
            .cloned()
            .zip(self.columns.key_types())
            .collect();
        let fields = pairs
            .iter()
            .filter(is_text)
            .map(|((events, _), data_type)| Field::new(events, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn agrees(&self, other: &Need) -> bool {
        self.source.served_by() == other.source.served_by() && self.columns.agree(&other.columns)
    }
}

/// The build sides of a job's dates; see the module.
pub(in crate::commands) struct Sides<'a> {
    spec: &'a JoinSpec,
    history: &'a TableHistory,
    /// Whether other dates of the range ask for the table too.
    many: bool,
    workers: usize,
    memory: MemoryBudget,
    /// The most bytes of a build side that serves more than one date.
    limit: usize,
    /// What a join needs of tables that have certain columns.
    known: Mutex<Vec<(SchemaRef, Arc<JoinColumns>)>>,
    /// The dates that are to be run, but for those for which it fails already what they need.
    needs: BTreeMap<NaiveDate, Need>,
    open: Mutex<Open>,
}

/// A build side, once it is built.
type Slot = Arc<Mutex<Option<Arc<JoinTable>>>>;

struct Open {
    /// Build sides with the dates that are still to be served.
    sides: Vec<(BTreeSet<NaiveDate>, Slot)>,
    /// The most dates that were found to do with the memory.
    reach: usize,
    /// Up to this date each is served alone.
    alone_until: Option<NaiveDate>,
    /// Dates that need nothing any more.
    finished: BTreeSet<NaiveDate>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Sides<'a> {
    /// The build sides of `dates`, of a job that runs `many`.
    pub(in crate::commands) fn new(
        spec: &'a JoinSpec,
        history: &'a TableHistory,
        dates: impl Iterator<Item = NaiveDate>,
        many: bool,
        workers: usize,
        memory: MemoryBudget,
    ) -> Self {
        let open = Mutex::new(Open {
            sides: Vec::new(),
            reach: usize::MAX,
            alone_until: None,
            finished: BTreeSet::new(),
        });
        let known = Mutex::default();
        let needs = BTreeMap::new();
        let mut sides = Sides {
            spec,
            history,
            many,
            workers,
            memory,
            limit: memory.share(4),
            known,
            needs,
            open,
        };
        // External text is read whole to know of its columns: that is left to its own date.
        let known_by_footers = |date: &NaiveDate| {
            let intervals = history
                .resolve(*date)
                .and_then(|observed| history.intervals_for(observed, many));
            history.table.own || intervals.is_ok_and(|intervals| intervals.is_some())
        };
        sides.needs = dates
            .filter(known_by_footers)
            .filter_map(|date| Some((date, sides.need(date).ok()?)))
            .collect();
        sides
    }

    /// What a date needs.
    ///
    /// # Errors
    /// A refusal if no snapshot serves it; a usage error for columns or a condition that its table
    /// does not have.
    pub(in crate::commands) fn need(&self, date: NaiveDate) -> Result<Need> {
        if let Some(need) = self.needs.get(&date) {
            return Ok(need.clone());
        }
        let observed = self.history.resolve(date)?;
        let intervals = self.history.intervals_for(observed, self.many)?;
        let (source, schema) = match intervals {
            Some(intervals) => {
                let schema = schema_on(&intervals, observed)?;
                (Source::Intervals(intervals), schema)
            }
            None if self.history.table.own => (Source::Own, self.history.columns_on(observed)?),
            None => {
                let as_of = self.history.as_of(observed, false)?;
                let schema = as_of.schema.clone();
                (Source::External(as_of), schema)
            }
        };
        let known = locked(&self.known)
            .iter()
            .find(|(known, _)| *known == schema)
            .map(|(_, columns)| columns.clone());
        let columns = match known {
            Some(columns) => columns,
            None => {
                let table = &self.history.table;
                let named = with_named(&schema, self.spec, self.history)?;
                let columns =
                    Arc::new(JoinColumns::of(self.spec, &table.name, &table.key, &named)?);
                locked(&self.known).push((schema, columns.clone()));
                columns
            }
        };
        Ok(Need {
            observed,
            source,
            columns,
        })
    }

    /// The build side of a date.
    ///
    /// # Errors
    /// A failure or refusal of reading the table.
    pub(in crate::commands) fn table(
        &self,
        date: NaiveDate,
        need: &Need,
    ) -> Result<Arc<JoinTable>> {
        loop {
            let slot = self.slot(date, need);
            let mut built = locked(&slot);
            let Some(dates) = self.served_by(&slot).filter(|dates| dates.contains(&date)) else {
                continue;
            };
            if let Some(table) = built.as_ref() {
                return Ok(table.clone());
            }
            match self.build(&dates, need) {
                Ok(Some(table)) => return Ok(built.insert(Arc::new(table)).clone()),
                // Too large, or one of many fails: again for fewer.
                Ok(None) => self.cut(&slot, dates.len() / 2, None),
                Err(_) if dates.len() > 1 => self.cut(&slot, 1, dates.last().copied()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Builds the build side that a later date needs, so that it is there when that date comes;
    /// first that of `date` itself.
    pub(in crate::commands) fn prepare(&self, date: NaiveDate, later: NaiveDate) {
        {
            let open = locked(&self.open);
            let is_there = open.sides.iter().any(|(dates, _)| dates.contains(&later));
            let alone = open.alone_until.is_some_and(|until| later <= until);
            // There is no memory for build sides that are not in use yet, or it is done with.
            if open.reach == 1
                || alone
                || open.finished.contains(&later)
                || (open.sides.len() > 1 && !is_there)
            {
                return;
            }
        }
        for date in [date, later] {
            // A failure comes again when the date does.
            if let Some(need) = self.needs.get(&date)
                && self.table(date, need).is_err()
            {
                return;
            }
        }
    }

    /// Lets go of what only this date needed.
    pub(in crate::commands) fn finished(&self, date: NaiveDate) {
        let mut open = locked(&self.open);
        open.finished.insert(date);
        open.sides.retain_mut(|(dates, _)| {
            dates.remove(&date);
            !dates.is_empty()
        });
    }

    /// The place of the build side that serves a date; a new one, for as many dates from this one
    /// as it can be, if there is none.
    fn slot(&self, date: NaiveDate, need: &Need) -> Slot {
        let mut open = locked(&self.open);
        if let Some((_, slot)) = open.sides.iter().find(|(dates, _)| dates.contains(&date)) {
            return slot.clone();
        }
        let alone = open.alone_until.is_some_and(|until| date <= until);
        let reach = if alone {
            1
        } else {
            open.reach.min(need.source.reach())
        };
        let next = self
            .needs
            .range(date..)
            .take(reach)
            .filter(|(_, other)| other.agrees(need))
            .map(|(date, _)| *date);
        let free = next.filter(|date| {
            !open.finished.contains(date)
                && !open.sides.iter().any(|(dates, _)| dates.contains(date))
        });
        let dates = free.chain([date]).collect();
        let slot = Slot::default();
        open.sides.push((dates, slot.clone()));
        slot
    }

    /// The dates that a build side is for.
    fn served_by(&self, slot: &Slot) -> Option<BTreeSet<NaiveDate>> {
        locked(&self.open)
            .sides
            .iter()
            .find(|(_, other)| Arc::ptr_eq(slot, other))
            .map(|(dates, _)| dates.clone())
    }

    /// Leaves only the first dates to a build side.
    fn cut(&self, slot: &Slot, dates: usize, alone_until: Option<NaiveDate>) {
        let mut open = locked(&self.open);
        match alone_until {
            Some(_) => open.alone_until = alone_until,
            None => open.reach = open.reach.min(dates.max(1)),
        }
        if let Some((served, _)) = open
            .sides
            .iter_mut()
            .find(|(_, other)| Arc::ptr_eq(slot, other))
        {
            *served = std::mem::take(served)
                .into_iter()
                .take(dates.max(1))
                .collect();
        }
    }

    /// Builds the build side of dates that agree with `need`; `None` if it is too large for more
    /// than one.
    fn build(&self, dates: &BTreeSet<NaiveDate>, need: &Need) -> Result<Option<JoinTable>> {
        let observed: BTreeSet<NaiveDate> = dates
            .iter()
            .filter_map(|date| self.needs.get(date))
            .map(|need| need.observed)
            .chain([need.observed])
            .collect();
        let observed: Vec<NaiveDate> = observed.into_iter().collect();
        let table = &self.history.table;
        // Dates that one snapshot serves cannot do with less.
        let limit = (observed.len() > 1).then_some(self.limit);
        let rows = match &need.source {
            Source::Intervals(intervals) => of_intervals(intervals, &need.columns, &observed)?,
            Source::Own if observed.len() > 1 => {
                let snapshots = self.history.snapshots_of(&observed)?;
                match versions_of_snapshots(
                    table,
                    &snapshots,
                    &need.columns,
                    self.memory,
                    self.workers,
                    limit,
                )? {
                    Some(versions) => versions,
                    None => return Ok(None),
                }
            }
            Source::Own => of_one_date(
                self.history
                    .as_of(need.observed, false)?
                    .read(&need.columns.names())?,
            ),
            Source::External(as_of) => of_one_date(as_of.read(&need.columns.names())?),
        };
        JoinTable::build(&need.columns, rows, limit).map_err(|error| {
            // Which keys these are, a command tells that reads whole snapshots of the table.
            let command = if table.own { "verify" } else { "compact" };
            let hint = |hint: String| {
                if hint == "asof verify" {
                    format!("asof {command} {}", table.name)
                } else {
                    hint
                }
            };
            error
                .with_hints(hint)
                .within(format!("table {}, {}", table.name, need.observed))
        })
    }
}

/// The table's columns on a date, with those that the join names and that were absent then.
fn with_named(schema: &SchemaRef, spec: &JoinSpec, history: &TableHistory) -> Result<SchemaRef> {
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
