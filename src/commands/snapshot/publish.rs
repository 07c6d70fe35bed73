//! Publishing a staged snapshot by one conditional write.

use arrow::datatypes::SchemaRef;

use super::plan::SnapshotPlan;
use super::{IfExists, Outcome, SnapshotOptions};
use crate::commands::Workspace;
use crate::domain::digest::Fingerprint;
use crate::error::{Error, Result};
use crate::interrupt::{published, uninterrupted};
use crate::model::DateRange;
use crate::storage::lake::aside::{aside_below, is_being_dropped, move_copy, overtaken};
use crate::storage::lake::commit::{Published, Staged};
use crate::storage::lake::location::Location;
use crate::storage::lake::paths;
use crate::storage::parquet::footer::{Content, SnapshotFooter};
use crate::storage::parquet::object::ParquetObject;

/// Publishes the staged object by one conditional write, and notes that for an interruption.
pub(super) fn publish(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    options: &SnapshotOptions,
    staged: Staged,
    fingerprint: Fingerprint,
    schema: &SchemaRef,
) -> Result<Outcome> {
    let SnapshotPlan {
        table, date, path, ..
    } = plan;
    let publish = || {
        if options.dry_run {
            return Ok(Outcome::Planned);
        }
        let lost = || {
            Error::conflict(format!(
                "table {}: another writer published {date} first",
                table.name
            ))
        };
        if !plan.replaces {
            return match (staged.publish_new()?, options.if_exists) {
                (Published::Done, _) => {
                    supersede_dropped(workspace, plan, fingerprint)?;
                    Ok(Outcome::Published)
                }
                (Published::Exists, IfExists::Keep) => Ok(Outcome::Kept),
                (Published::Exists, _) => Err(lost()),
            };
        }
        let old = standing(path)?;
        // Equal rows of another type are another snapshot: it may be retaken for no other reason.
        let is_same = |old: &StandingSnapshot| {
            old.footer.fingerprint == fingerprint
                && old.footer.key == table.key
                && old.object.schema() == schema
        };
        let is_damaged = match &old {
            Some(old) if is_same(old) && old.is_whole()? => return Ok(Outcome::Kept),
            // One that is replaced at this moment is not known to be damaged.
            Some(old) => matches!(old.is_whole(), Ok(false)),
            None => true,
        };
        let lake = workspace.lake()?;
        let old = old.map(|old| old.footer.fingerprint);
        let aside = paths::aside(
            &lake.superseded(&table.name),
            *date,
            workspace.clock.moment(),
            // A damaged copy is known by its name: nobody expects to have its rows back.
            old.filter(|_| !is_damaged).unwrap_or(Fingerprint(0)),
        );
        staged.publish_replacing(&aside, |place| {
            // Somebody dropped it. The marker is not a copy, and is not kept aside.
            if !place.is_taken()? || is_being_dropped(place)? {
                return Ok(false);
            }
            Ok(standing(place)?.map(|now| now.footer.fingerprint) == old)
        })?;
        Ok(Outcome::Replaced)
    };
    uninterrupted(|| {
        let outcome = publish()?;
        if matches!(outcome, Outcome::Published | Outcome::Replaced) {
            published(table.name.as_str(), Some(*date), path.as_local());
        }
        Ok(outcome)
    })
}

/// Moves the dropped copies of a date that have the rows of the snapshot that was just published to
/// those that were superseded. A copy with these rows is wanted again: were it to stay among the
/// dropped ones, intervals that are made of the snapshot would be taken for ones of the dropped
/// copy as soon as the snapshot is removed.
fn supersede_dropped(
    workspace: &Workspace<'_>,
    plan: &SnapshotPlan<'_>,
    fingerprint: Fingerprint,
) -> Result<()> {
    let (name, date) = (&plan.table.name, plan.date);
    let lake = workspace.lake()?;
    let root = lake.dropped(name);
    for copy in aside_below(&root, Some(DateRange::single(date)))? {
        if copy.may_be(|content| content == fingerprint) {
            let superseded = lake.superseded(name);
            let to = paths::aside(&superseded, date, copy.when, copy.fingerprint);
            move_copy(&copy.object.location, &to)?;
            let table = root.parent().unwrap_or_else(|| root.clone());
            copy.object.location.remove_empty_folders(&table);
        }
    }
    Ok(())
}

/// The conflict with a process that drops the snapshot at a path of an object store.
pub(super) fn being_dropped(path: &Location) -> Error {
    Error::conflict(format!("another process is dropping or pruning '{path}'"))
        .hint("if that process was killed, run the same 'asof drop' or 'asof prune' again")
}

/// A snapshot that stands under the name of the one that is to be published.
struct StandingSnapshot {
    object: ParquetObject,
    footer: SnapshotFooter,
}

impl StandingSnapshot {
    /// Whether all of its bytes are as they were written: one that is not is to be replaced, though
    /// it says that it has the same rows.
    fn is_whole(&self) -> Result<bool> {
        let mut rows = self.object.read(None)?;
        let read = rows.try_for_each(|batch| batch.map(|_| ()));
        match read.and_then(|()| self.object.verify_unread()) {
            Err(error) if error.is_damage() => Ok(false),
            read => read.map(|()| true),
        }
    }
}

/// What stands somewhere; nothing if it is not a snapshot, or is damaged.
fn standing(path: &Location) -> Result<Option<StandingSnapshot>> {
    let opened = ParquetObject::open(path).and_then(|object| {
        let footer = object.footer()?;
        Ok((object, footer))
    });
    match opened {
        Err(error) if error.is_damage() && is_being_dropped(path)? => Err(being_dropped(path)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(overtaken(path, error)),
        Ok((object, footer)) => Ok(match footer.map(|footer| footer.content) {
            Some(Content::Snapshot(footer)) => Some(StandingSnapshot { object, footer }),
            _ => None,
        }),
    }
}
