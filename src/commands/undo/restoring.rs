//! Bringing a copy back that was put aside.

use chrono::NaiveDate;

use super::{
    CopyFacts, PutAsideBy, RestoreOptions, RestoreOutcome, RestoreReport, footer_at,
    from_intervals, managed,
};
use crate::commands::Workspace;
use crate::commands::known_copies::copies_by_date;
use crate::domain::known_at::StayEvent;
use crate::error::{Error, Result, word};
use crate::interrupt::{published, uninterrupted};
use crate::model::{DateRange, TableName};
use crate::storage::lake::LakeRoot;
use crate::storage::lake::aside::{AsideCopy, aside_below, publish_copy};
use crate::storage::lake::commit::Published;
use crate::storage::lake::location::Location;
use crate::storage::lake::stays::record_stay;
use crate::storage::parquet::footer::SnapshotFooter;
use crate::storage::parquet::object::ParquetObject;

/// A copy that may be restored.
struct RestoreCandidate {
    copy: AsideCopy,
    by: PutAsideBy,
    /// The root of such copies.
    root: Location,
    /// What it says of itself; nothing if it is damaged.
    footer: Option<SnapshotFooter>,
}

/// Makes a copy that was put aside the snapshot of its date again.
///
/// # Errors
/// A usage error for an external table, for a date without such a copy, and for one with several of
/// which none is named; a refusal if the copy is damaged; a conflict if the date has another
/// snapshot.
pub fn restore(workspace: &Workspace<'_>, options: &RestoreOptions) -> Result<RestoreReport> {
    let table = managed(workspace, &options.table)?;
    let date = options.date;
    let lake = workspace.lake()?;
    let snapshot = lake.snapshot(&table, date);
    let candidates = candidates(lake, &table, date)?;
    let standing = match snapshot.is_taken()? {
        true => Some(footer_at(&snapshot)?),
        false => None,
    };
    let report = RestoreReport {
        table: table.clone(),
        snapshot_date: date,
        outcome: RestoreOutcome::AlreadyExists,
        path: workspace.shown(&snapshot),
        from: None,
        put_aside_by: None,
        put_aside_at: None,
        copy: CopyFacts::of(standing.as_ref().and_then(Option::as_ref)),
    };
    if candidates.is_empty() {
        return match standing {
            Some(_) => Ok(report),
            None => Err(none(workspace, lake, &table, date)?),
        };
    }
    let exists = || exists(&table, options, standing.as_ref());
    // A run that was killed may have published the copy, and not removed it.
    let is_published = |candidate: &&RestoreCandidate| {
        candidate.footer.is_some() && standing.as_ref() == Some(&candidate.footer)
    };
    let chosen = match (candidates.iter().find(is_published), &standing) {
        (Some(published), _) => published,
        (None, Some(_)) => return Err(exists()),
        (None, None) => choose(&table, &candidates, options)?,
    };
    let report = RestoreReport {
        outcome: match options.dry_run {
            true => RestoreOutcome::Planned,
            false => RestoreOutcome::Restored,
        },
        from: Some(workspace.shown(&chosen.copy.object.location)),
        put_aside_by: Some(chosen.by),
        put_aside_at: Some(chosen.copy.when),
        copy: CopyFacts::of(chosen.footer.as_ref()),
        ..report
    };
    check_whole(&table, date, chosen)?;
    if options.dry_run {
        return Ok(report);
    }
    workspace.check_writes_below(lake.root())?;
    if standing.is_none() {
        record(workspace, lake, &table, chosen)?;
    }
    if chosen.move_back(&snapshot, standing.is_none())? == Published::Exists {
        return Err(exists());
    }
    Ok(report)
}

/// Records that the copy did not stand for a while: once it is back, nothing else tells that.
fn record(
    workspace: &Workspace<'_>,
    lake: &LakeRoot,
    table: &TableName,
    chosen: &RestoreCandidate,
) -> Result<()> {
    let AsideCopy { date, object, .. } = &chosen.copy;
    let range = Some(DateRange::single(*date));
    let copies = copies_by_date(workspace, &workspace.configured_table(table)?, range)?;
    let at = workspace.clock.moment();
    let stay = copies
        .get(date)
        .and_then(|copies| copies.stay_of(&object.location, *date, StayEvent::Restored, at));
    let stay = stay.ok_or_else(|| {
        let what = format!("another process moved '{}' first", object.location);
        Error::conflict(what)
    })?;
    record_stay(&lake.stays(table), &stay)
}

/// The copies of a date that were put aside, by time.
fn candidates(
    lake: &LakeRoot,
    table: &TableName,
    date: NaiveDate,
) -> Result<Vec<RestoreCandidate>> {
    let mut candidates = Vec::new();
    for (by, root) in [
        (PutAsideBy::Drop, lake.dropped(table)),
        (PutAsideBy::Replacement, lake.superseded(table)),
    ] {
        for copy in aside_below(&root, Some(DateRange::single(date)))? {
            candidates.push(RestoreCandidate {
                footer: footer_at(&copy.object.location)?,
                copy,
                by,
                root: root.clone(),
            });
        }
    }
    candidates.sort_by_key(|candidate| candidate.copy.when);
    Ok(candidates)
}

/// The one candidate, or the one that the command line names.
fn choose<'c>(
    table: &TableName,
    candidates: &'c [RestoreCandidate],
    options: &RestoreOptions,
) -> Result<&'c RestoreCandidate> {
    let date = options.date;
    let named = options.copy.as_deref().unwrap_or_default();
    let is_named = |candidate: &&RestoreCandidate| candidate.copy.name().starts_with(named);
    let mut chosen = candidates.iter().filter(is_named);
    let error = match (chosen.next(), chosen.next()) {
        (Some(only), None) => return Ok(only),
        (None, _) => {
            format!("table {table}: no copy of {date} that was put aside is named '{named}'")
        }
        (Some(_), Some(_)) => format!(
            "table {table}: several copies of {date} were put aside, and --copy names none of them"
        ),
    };
    Err(candidates
        .iter()
        .fold(Error::usage(error), |error, candidate| {
            error.hint(candidate.hint(table, candidates))
        }))
}

impl RestoreCandidate {
    /// Publishes the copy as a snapshot, unless it is published, and removes it from where it was.
    fn move_back(&self, snapshot: &Location, is_new: bool) -> Result<Published> {
        uninterrupted(|| {
            let copy = &self.copy.object.location;
            if is_new && publish_copy(copy, snapshot)? == Published::Exists {
                return Ok(Published::Exists);
            }
            copy.remove()?;
            let above = self.root.parent();
            copy.remove_empty_folders(above.as_ref().unwrap_or(&self.root));
            let name = self.footer.as_ref().map(|footer| footer.table.as_str());
            published(
                name.unwrap_or_default(),
                Some(self.copy.date),
                snapshot.as_local(),
            );
            Ok(Published::Done)
        })
    }

    /// The command that restores this copy, and what the copy is.
    fn hint(&self, table: &TableName, candidates: &[RestoreCandidate]) -> String {
        let name = self.copy.name();
        let when = name.split('-').next().unwrap_or(&name);
        let is_same = |other: &&RestoreCandidate| other.copy.name().starts_with(when);
        let short = match candidates.iter().filter(is_same).count() {
            1 => when,
            _ => &name,
        };
        let by = match self.by {
            PutAsideBy::Drop => "dropped",
            PutAsideBy::Replacement => "replaced",
        };
        let what = match &self.footer {
            None => "a damaged copy".to_owned(),
            Some(footer) => {
                let rows = match footer.rows {
                    1 => "1 row".to_owned(),
                    rows => format!("{rows} rows"),
                };
                let taken = footer
                    .taken_at
                    .map(|at| at.format(" taken %Y-%m-%d %H:%M UTC"));
                let taken = taken.map_or_else(String::new, |taken| taken.to_string());
                format!("{rows}{taken}")
            }
        };
        format!(
            "asof restore {} {} --copy {short}, to restore {what}, {by} {}",
            word(table.as_str()),
            self.copy.date,
            self.copy.when.format("%Y-%m-%d %H:%M UTC")
        )
    }
}

/// Reads a copy to its end: a damaged one is not made a snapshot.
fn check_whole(table: &TableName, date: NaiveDate, candidate: &RestoreCandidate) -> Result<()> {
    let read = || {
        let object = ParquetObject::open(&candidate.copy.object.location)?;
        object.read(None)?.try_for_each(|batch| batch.map(|_| ()))?;
        object.verify_unread()
    };
    let place = format!("table {table}, {date}: the copy is not restored");
    read().map_err(|error: Error| error.within(place))?;
    match &candidate.footer {
        Some(footer) if footer.table == table.as_str() && footer.snapshot_date == date => Ok(()),
        _ => Err(Error::refused(format!(
            "table {table}, {date}: '{}' is not a snapshot of this table and date",
            candidate.copy.object.location
        ))),
    }
}

/// The conflict with the snapshot that the date has.
fn exists(
    table: &TableName,
    options: &RestoreOptions,
    standing: Option<&Option<SnapshotFooter>>,
) -> Error {
    let date = options.date;
    let taken = standing
        .and_then(|standing| standing.as_ref()?.taken_at)
        .map(|at| at.format(", taken %Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default();
    let name = word(table.as_str());
    let copy = match &options.copy {
        Some(copy) => format!(" --copy {}", word(copy)),
        None => String::new(),
    };
    Error::conflict(format!(
        "table {table} has a snapshot of {date} already{taken}"
    ))
    .hint(format!("asof drop {name} {date}, to put that one aside"))
    .hint(format!(
        "asof restore {name} {date}{copy}, to bring back the other one then"
    ))
}

/// That a date has no copy to restore, with the dates that have some.
fn none(
    workspace: &Workspace<'_>,
    lake: &LakeRoot,
    table: &TableName,
    date: NaiveDate,
) -> Result<Error> {
    let mut dates: Vec<NaiveDate> = Vec::new();
    for root in [lake.dropped(table), lake.superseded(table)] {
        dates.extend(aside_below(&root, None)?.iter().map(|copy| copy.date));
    }
    dates.sort();
    dates.dedup();
    let shown: Vec<String> = dates.iter().take(10).map(NaiveDate::to_string).collect();
    let error = Error::usage(format!("table {table}: no copy of {date} was put aside"));
    if let Some(command) = from_intervals(workspace, table, date) {
        return Ok(error.hint(format!(
            "{command}, to write the copy again from the intervals"
        )));
    }
    Ok(match shown.as_slice() {
        [] => error.hint(format!("asof status {}", word(table.as_str()))),
        dates => error.hint(format!("dates that have one: {}", dates.join(", "))),
    })
}
