//! The dates of a job that a repair runs again, since the copies of some dates decide them.
//!
//! An output of another job may be the events of this one. If that is written again, so is what was
//! made from it.
//!
//! Read: a listing of the job's outputs and failures; the footers of the outputs that are not
//! earlier than the copies, since no output depends on a later copy; and, for those that may be
//! affected, what `asof status` reads of them. No rows.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::job::{ResolvedJob, layout_of};
use super::job_output::{JobOutput, OutputRecord};
use super::options::BackfillOptions;
use super::outputs::outputs_below;
use super::relations::{Reads, View};
use super::resolve::{DescribedJob, ResolvedWork};
use crate::commands::Workspace;
use crate::domain::repair::{LabelWindow, OutputFacts, RepairScope};
use crate::domain::staleness::{EventsInput, Inputs, StateFilter};
use crate::error::{Kind, Result};
use crate::model::DateRange;
use crate::parallel::{self, object_threads};
use crate::storage::lake::location::{Location, Object};

/// What changes for jobs: the copies of a scope, and outputs that are written again.
pub(in crate::commands) struct JobChanges {
    /// The dates of the copies.
    pub(in crate::commands) scope: RepairScope,
    /// The places of the outputs.
    pub(in crate::commands) outputs: BTreeSet<String>,
}

/// Where a job writes, and where its events are.
pub(in crate::commands) struct JobPlaces {
    output: Location,
    events: Vec<Location>,
}

impl JobPlaces {
    /// Those of a job of asof.toml.
    ///
    /// # Errors
    /// Whatever is wrong with the description of the job.
    pub(in crate::commands) fn of(workspace: &Workspace<'_>, name: &str) -> Result<Self> {
        let options = BackfillOptions::of_range(DateRange::single(workspace.clock.today()));
        let described = DescribedJob::of(workspace, name, &options)?;
        let events = described.work()?.events.into_iter();
        Ok(JobPlaces {
            events: events.map(|events| events.root).collect(),
            output: described.output,
        })
    }

    /// Whether the outputs of this job may be events of another one.
    pub(in crate::commands) fn feed(&self, other: &JobPlaces) -> bool {
        let is_fed =
            |events: &Location| events.is_within(&self.output) || self.output.is_within(events);
        other.events.iter().any(is_fed)
    }
}

/// The dates of a job of asof.toml whose outputs the changes affect; none if there are none.
///
/// # Errors
/// Whatever keeps the job from being planned.
pub(in crate::commands) fn affected_dates(
    workspace: &Workspace<'_>,
    name: &str,
    changes: &JobChanges,
) -> Result<Option<AffectedDates>> {
    let scope = &changes.scope;
    let today = DateRange::single(workspace.clock.today());
    let options = BackfillOptions::of_range(today);
    let described = DescribedJob::of(workspace, name, &options)?;
    let work = described.work()?;
    let windows = windows(workspace, &work);
    if windows.is_empty() && changes.outputs.is_empty() {
        return Ok(None);
    }
    let layout = layout_of(described.config)?;
    let failures = ResolvedJob::failures_below(&described.output, name)?;
    let outputs = outputs_below(&described.output, &layout, name)?;
    // The output of a month may be made from outputs of its days.
    let first = scope.first().filter(|_| changes.outputs.is_empty());
    let is_early = |date: &NaiveDate| first.is_some_and(|first| *date < first);
    let outputs: Vec<(NaiveDate, JobOutput)> = outputs
        .into_iter()
        .filter(|(date, _)| !is_early(date))
        .collect();
    let may_read = |date: NaiveDate| windows.iter().any(|window| window.admits(scope, date));
    let threads = object_threads(described.output.store().is_some());
    let candidates = parallel::map(threads, &outputs, |(date, output)| {
        // What cannot be read may be affected, and is told of by the run.
        may_read(*date)
            || output.record().map_or(true, |recorded| {
                recorded.names_a_copy_of(scope) || recorded.names_an_output(&work, changes)
            })
    });
    let candidates = outputs.iter().zip(candidates).filter(|(_, may_be)| *may_be);
    let mut candidates: BTreeSet<NaiveDate> = candidates.map(|((date, _), _)| *date).collect();
    candidates.extend(failures.into_iter().filter(|date| may_read(*date)));
    let (Some(from), Some(to)) = (candidates.first(), candidates.last()) else {
        return Ok(None);
    };
    let range = DateRange::new(*from, *to)?;
    let job = ResolvedJob::resolve_to_look(workspace, name, range)?;
    let mut dates = job.dates(range);
    dates.retain(|date| candidates.contains(date));
    let dates = job.affected(&dates, changes, &windows)?;
    let places = dates.iter().map(|date| job.places(*date));
    let outputs = places.collect::<Result<Vec<_>>>()?.concat();
    let outputs = outputs.into_iter().collect();
    AffectedDates::of(dates, outputs)
}

/// Dates of a job that a repair runs again.
pub(in crate::commands) struct AffectedDates {
    /// From the first to the last of them.
    range: DateRange,
    dates: BTreeSet<NaiveDate>,
    /// The places of their outputs.
    pub(in crate::commands) outputs: BTreeSet<String>,
}

impl AffectedDates {
    fn of(dates: BTreeSet<NaiveDate>, outputs: BTreeSet<String>) -> Result<Option<Self>> {
        let (Some(from), Some(to)) = (dates.first(), dates.last()) else {
            return Ok(None);
        };
        let range = DateRange::new(*from, *to)?;
        Ok(Some(AffectedDates {
            range,
            dates,
            outputs,
        }))
    }

    /// The options of a run of these dates and no others. A plan has all of them: those whose
    /// events another job is to write are up to date until then.
    pub(in crate::commands) fn options(self, dry_run: bool) -> BackfillOptions {
        let AffectedDates { range, dates, .. } = self;
        BackfillOptions {
            dates: Some(dates),
            only: StateFilter {
                up_to_date: dry_run,
                ..StateFilter::default()
            },
            dry_run,
            ..BackfillOptions::of_range(range)
        }
    }
}

/// The labels by which a job may read its tables.
fn windows(workspace: &Workspace<'_>, work: &ResolvedWork) -> Vec<LabelWindow> {
    let windows = work.relations.iter().filter_map(|relation| {
        let Reads::Table(table, view) = &relation.reads else {
            return None;
        };
        Some(LabelWindow {
            rule: workspace.as_of_rule(table).0,
            reads_history: *view != View::AsOf,
        })
    });
    windows.collect()
}

impl OutputRecord {
    fn names_a_copy_of(&self, scope: &RepairScope) -> bool {
        let Inputs {
            tables, history, ..
        } = &self.footer.inputs;
        let mut copies = tables.values().chain(history.values().flatten());
        copies.any(|copy| scope.covers(copy.snapshot_date))
    }

    /// Whether an output that changes was among the events.
    fn names_an_output(&self, work: &ResolvedWork, changes: &JobChanges) -> bool {
        let is_changed = |root: &Location, objects: &[EventsInput]| {
            let mut places = objects.iter().map(|object| root.join(&object.path));
            places.any(|place| changes.outputs.contains(&place.to_string()))
        };
        let recorded = &self.footer.inputs.events;
        let mut events = work.events.iter();
        events.any(|events| {
            let objects = recorded.get(&events.name);
            objects.is_some_and(|objects| is_changed(&events.root, objects))
        })
    }
}

impl ResolvedJob {
    /// Those of some dates that the changes affect.
    fn affected(
        &self,
        dates: &[NaiveDate],
        changes: &JobChanges,
        windows: &[LabelWindow],
    ) -> Result<BTreeSet<NaiveDate>> {
        self.read_facts_of_history(dates);
        let looked_at = parallel::map(self.looking_threads(), dates, |date| {
            let mut events = self.events.iter().flat_map(|events| events.files_of(*date));
            let is_changed =
                |object: &Object| changes.outputs.contains(&object.location.to_string());
            Ok(events.any(is_changed) || self.is_affected(*date, &changes.scope, windows)?)
        });
        let looked_at = dates.iter().zip(looked_at);
        let affected = looked_at.filter_map(|(date, is_affected)| match is_affected {
            Ok(is_affected) => is_affected.then_some(Ok(*date)),
            Err(error) => Some(Err(error)),
        });
        affected.collect()
    }

    fn is_affected(
        &self,
        date: NaiveDate,
        scope: &RepairScope,
        windows: &[LabelWindow],
    ) -> Result<bool> {
        let now = match self.inputs(date) {
            Ok(inputs) => Some(inputs),
            Err(error) if error.kind() == Kind::Io => return Err(error),
            // The run tells why.
            Err(_) => None,
        };
        let recorded = match self.recorded(date) {
            Ok(recorded) => recorded.map(|recorded| recorded.footer.inputs),
            Err(error) if error.kind() == Kind::Io => return Err(error),
            Err(_) => return Ok(windows.iter().any(|window| window.admits(scope, date))),
        };
        let recorded = match (recorded, &now) {
            (Some(recorded), Some(now)) => Some(self.as_recorded_now(&recorded, now)?),
            (recorded, _) => recorded,
        };
        let facts = OutputFacts {
            date,
            recorded: recorded.as_ref(),
            now: now.as_ref(),
            has_failed: self.failures.contains(&date),
        };
        Ok(facts.is_affected(scope, windows))
    }
}
