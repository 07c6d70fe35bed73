//! What proves that the intervals give a snapshot back.
//!
//! The intervals are read to their end in this run: their bytes are those that were written, and
//! they break no invariant. Their rows add up, for **every** date that they know, to the
//! fingerprint that their footer recorded of that date's snapshot. If one date fails, the intervals
//! are not to be relied on, and nothing is pruned.
//!
//! For one snapshot, its own footer must tell the same fingerprint. Its rows are not read: what
//! they are is what the footer says, or they are damaged.
//!
//! Intervals of a condition, of some columns, or with columns that are not compared do not hold
//! every value. They prove nothing.

use chrono::NaiveDate;

use crate::commands::Workspace;
use crate::commands::compact::out_of_date;
use crate::commands::verify::expansions;
use crate::engine::as_of::sentence;
use crate::engine::intervals::Intervals;
use crate::error::{Error, Kind, Result, word};
use crate::model::TableName;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::standing::Standing;
use crate::storage::parquet::footer::{ObservedWire, SnapshotFooter};

/// Intervals that give every snapshot back that they know.
pub(super) struct ProvenIntervals {
    /// The intervals.
    pub(super) intervals: Intervals,
    /// Where they are.
    pub(super) path: Location,
    /// The version that was read.
    pub(super) standing: Standing,
}

impl ProvenIntervals {
    /// Reads and proves the intervals that stand, which must be up to date.
    ///
    /// # Errors
    /// A refusal if there are none, if they are out of date, or if they prove nothing.
    pub(super) fn read(workspace: &Workspace<'_>, name: &TableName) -> Result<Self> {
        // In this order: what is read is the version that stood, or a later one.
        let path = workspace.intervals_path(name, None)?;
        let standing = path.standing()?;
        let intervals = Self::proven_of(workspace, name)
            .map_err(|error| or_overtaken(workspace, name, (&path, &standing), error))?;
        Ok(ProvenIntervals {
            intervals,
            path,
            standing,
        })
    }

    /// A failure to read them, or the conflict that it comes from.
    pub(super) fn or_overtaken(&self, workspace: &Workspace<'_>, error: Error) -> Error {
        match self.intervals.footer.table.parse() {
            Ok(name) => or_overtaken(workspace, &name, (&self.path, &self.standing), error),
            Err(_) => error,
        }
    }

    fn proven_of(workspace: &Workspace<'_>, name: &TableName) -> Result<Intervals> {
        let compact = || format!("asof compact {}", word(name.as_str()));
        let Some(intervals) = workspace.intervals(name)? else {
            let what = format!("table {name} has no intervals that could give its copies back");
            return Err(Error::refused(what).hint(compact()));
        };
        check_lossless(name, &intervals)?;
        if let Some(why) = out_of_date(workspace, name)? {
            let what =
                format!("table {name}: the intervals are out of date, so nothing is pruned: {why}");
            return Err(Error::refused(what).hint(compact()));
        }
        prove(name, &intervals)?;
        Ok(intervals)
    }

    /// What the intervals record of the snapshot of a date, if they give it back: an object whose
    /// footer was read.
    ///
    /// # Errors
    /// Why the snapshot is to stay.
    pub(super) fn of_snapshot(
        &self,
        date: NaiveDate,
        object: &Object,
        footer: &Result<Option<SnapshotFooter>>,
    ) -> std::result::Result<&ObservedWire, Unproven> {
        let kept = |why: &str| Err(Unproven::Kept(why.to_owned()));
        let Some(observed) = self.intervals.snapshot(date) else {
            return kept("it is not compacted yet");
        };
        if self.intervals.dropped.contains(&date) {
            return kept("a dropped copy of this date is kept aside, and may be restored");
        }
        if observed.stored.is_some() {
            return kept("a declared type converts its values, and the intervals have the results");
        }
        let name = &self.intervals.footer.table;
        let refused = |why: String| Err(Unproven::Refused(why));
        let footer = match footer {
            Ok(Some(footer)) => footer,
            Ok(None) => {
                return refused(format!(
                    "'{}' was not written by asof snapshot",
                    object.location
                ));
            }
            Err(error) => {
                let name = name.parse().map(|name| sentence(error, &name));
                return refused(name.unwrap_or_else(|_| error.to_string()));
            }
        };
        if footer.table != *name || footer.snapshot_date != date {
            return refused(format!(
                "its footer says that it is {} of {}",
                footer.table, footer.snapshot_date
            ));
        }
        if footer.fingerprint != observed.fingerprint || footer.rows != observed.rows {
            return refused(format!(
                "its footer says fingerprint {}, and the intervals were made from {}",
                footer.fingerprint, observed.fingerprint
            ));
        }
        Ok(observed)
    }
}

/// A failure to read intervals, or the conflict that it comes from: another writer replaced them.
fn or_overtaken(
    workspace: &Workspace<'_>,
    name: &TableName,
    (path, standing): (&Location, &Standing),
    error: Error,
) -> Error {
    match path.standing() {
        Ok(now) if error.kind() == Kind::Io && now != *standing => overtaken(workspace, name),
        _ => error,
    }
}

/// The conflict with another writer of the intervals.
pub(super) fn overtaken(workspace: &Workspace<'_>, name: &TableName) -> Error {
    let path = workspace.intervals_path(name, None);
    let path = path.map_or_else(|_| String::new(), |path| workspace.shown(&path));
    let what = format!(
        "table {name}: another writer replaced '{path}' meanwhile, so the dates are to be proven anew"
    );
    Error::conflict(what).hint("run the same command again")
}

/// Why a snapshot stays that no rule keeps.
pub(super) enum Unproven {
    /// Nothing is wrong with it.
    Kept(String),
    /// Something is.
    Refused(String),
}

/// Refuses intervals that do not hold every value of every snapshot.
fn check_lossless(name: &TableName, intervals: &Intervals) -> Result<()> {
    if intervals.compares_all() {
        return Ok(());
    }
    let selection = intervals.selection();
    let why = match selection.is_whole() {
        false => format!("they are of {}", selection.in_words()),
        true => format!(
            "they leave {} out of the comparison",
            intervals
                .comparison()
                .not_compared_in_words()
                .unwrap_or_default()
        ),
    };
    let what = format!("table {name}: the intervals do not hold every value of every copy: {why}");
    Err(Error::refused(what).hint(format!(
        "asof compact {} --where '' --select '' --ignore '', if every value is to count",
        word(name.as_str())
    )))
}

/// Proves that intervals give back every snapshot that they know.
pub(super) fn prove(name: &TableName, intervals: &Intervals) -> Result<()> {
    let verify = || format!("asof verify {}", word(name.as_str()));
    let place = || format!("table {name}: the intervals prove nothing, so nothing is pruned");
    if intervals.footer.table != name.as_str() {
        let what = format!("they say that they are of table {}", intervals.footer.table);
        return Err(Error::refused(what).within(place()).hint(verify()));
    }
    let sums = expansions(intervals).map_err(|error| error.within(place()).hint(verify()))?;
    let observed = intervals.footer.observed.iter().zip(sums);
    let wrong = observed.filter(|(observed, sum)| {
        sum.rows() != observed.rows || sum.fingerprint() != observed.fingerprint
    });
    let wrong: Vec<NaiveDate> = wrong.map(|(observed, _)| observed.date).collect();
    let Some(first) = wrong.first() else {
        return Ok(());
    };
    let more = match wrong.len() {
        1 => String::new(),
        dates => format!(" and {} more", dates - 1),
    };
    let what = format!("they do not give back the snapshot of {first}{more}");
    Err(Error::refused(what).within(place()).hint(verify()))
}
