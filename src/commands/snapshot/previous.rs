//! The snapshot before the one that is taken: what it is compared with.

use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;

use super::plan::{SnapshotPlan, repair};
use crate::commands::Workspace;
use crate::engine::as_of::sentence;
use crate::engine::pins::{pins, pins_before};
use crate::engine::table::{Snapshot, SnapshotTable};
use crate::error::{Error, Result};
use crate::storage::lake::location::Object;
use crate::storage::parquet::footer::SnapshotFooter;

/// The snapshot before, opened.
pub(super) struct Previous {
    pub(super) date: NaiveDate,
    pub(super) objects: Vec<Object>,
    pub(super) snapshot: Snapshot,
}

impl Previous {
    pub(super) fn footer(&self) -> Option<SnapshotFooter> {
        self.snapshot.footer.clone()
    }
}

/// What there is to compare a new snapshot with. One that is damaged must not keep the next nights
/// from being taken: what they would have held is lost for good, and a damaged copy is not.
pub(super) enum Before {
    /// The latest snapshot before, opened.
    Readable(Box<Previous>),
    /// The latest snapshot before is damaged.
    Unreadable(DamagedSnapshot),
    /// There is none.
    None,
}

impl Before {
    pub(super) fn of(table: &SnapshotTable, date: NaiveDate) -> Result<Self> {
        let found = table.find_latest(date.pred_opt().unwrap_or(date))?;
        let Some((before, objects)) = found.range(..date).next_back() else {
            return Ok(Before::None);
        };
        match table.open(*before, objects, None) {
            Ok(snapshot) => Ok(Before::Readable(Box::new(Previous {
                date: *before,
                objects: objects.clone(),
                snapshot,
            }))),
            Err(why) if why.is_damage() => {
                Ok(Before::Unreadable(DamagedSnapshot { date: *before, why }))
            }
            Err(error) => Err(error),
        }
    }

    /// The one that can be read, and the one that cannot.
    pub(super) fn into_parts(self) -> (Option<Previous>, Option<DamagedSnapshot>) {
        match self {
            Before::Readable(previous) => (Some(*previous), None),
            Before::Unreadable(unreadable) => (None, Some(unreadable)),
            Before::None => (None, None),
        }
    }

    /// The types that the table's columns have.
    pub(super) fn pins(&self, table: &SnapshotTable) -> Result<SchemaRef> {
        match self {
            Before::Readable(previous) => pins(table, &previous.snapshot),
            Before::Unreadable(unreadable) => pins_before(table, unreadable.date),
            Before::None => Ok(SchemaRef::new(Schema::empty())),
        }
    }

    pub(super) fn readable(&self) -> Option<&Previous> {
        match self {
            Before::Readable(previous) => Some(previous),
            _ => None,
        }
    }
}

/// A snapshot before that is damaged.
pub(super) struct DamagedSnapshot {
    date: NaiveDate,
    why: Error,
}

impl DamagedSnapshot {
    pub(super) fn new(date: NaiveDate, why: Error) -> Self {
        DamagedSnapshot { date, why }
    }

    /// Warns that a snapshot is not compared with this one, and says how this one is mended.
    /// Returns its date.
    pub(super) fn tell(&self, workspace: &Workspace<'_>, plan: &SnapshotPlan<'_>) -> NaiveDate {
        let DamagedSnapshot { date, why } = self;
        let table = &plan.table.name;
        let note = format!(
            "{table}: {} was not compared with {date}, which cannot be read: {}; if a source holds \
             the state of that day, this replaces the damaged copy: {} --source FILE",
            plan.date,
            sentence(why, table),
            repair(table, *date, workspace.clock.today())
        );
        workspace.progress.note(&note);
        *date
    }
}
