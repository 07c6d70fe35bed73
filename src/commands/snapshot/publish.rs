//! Publishing a staged snapshot by one conditional write.

use arrow::datatypes::SchemaRef;

use super::plan::Plan;
use super::{IfExists, Outcome, SnapshotOptions};
use crate::commands::Workspace;
use crate::domain::digest::Fingerprint;
use crate::error::{Error, Result};
use crate::storage::lake::commit::{Published, Staged};
use crate::storage::lake::location::Location;
use crate::storage::parquet::footer::{Content, SnapshotFooter};
use crate::storage::parquet::object::ParquetObject;

/// Publishes the staged object by one conditional write.
pub(super) fn publish(
    workspace: &Workspace<'_>,
    plan: &Plan<'_>,
    options: &SnapshotOptions,
    staged: Staged,
    fingerprint: Fingerprint,
    schema: &SchemaRef,
) -> Result<Outcome> {
    let Plan {
        table, date, path, ..
    } = plan;
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
            (Published::Done, _) => Ok(Outcome::Published),
            (Published::Exists, IfExists::Keep) => Ok(Outcome::Kept),
            (Published::Exists, _) => Err(lost()),
        };
    }
    let standing = |path: &Location| -> Result<Option<SnapshotFooter>> {
        match ParquetObject::open(path)?
            .footer()?
            .map(|footer| footer.content)
        {
            Some(Content::Snapshot(footer)) => Ok(Some(footer)),
            _ => Ok(None),
        }
    };
    let old = standing(path)?;
    // Equal rows of another type are another snapshot: it may be retaken for no other reason.
    let same_columns = ParquetObject::open(path)?.schema() == schema;
    if same_columns
        && old
            .as_ref()
            .is_some_and(|old| old.fingerprint == fingerprint && old.key == table.key)
    {
        return Ok(Outcome::Kept);
    }
    let lake = workspace.lake()?;
    let old_fingerprint = old.as_ref().map_or(Fingerprint(0), |old| old.fingerprint);
    let aside =
        lake.superseded_snapshot(&table.name, *date, workspace.clock.now(), old_fingerprint);
    staged.publish_replacing(&aside, |place| {
        Ok(standing(place)?.map(|now| now.fingerprint) == old.as_ref().map(|old| old.fingerprint))
    })?;
    Ok(Outcome::Replaced)
}
