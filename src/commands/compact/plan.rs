//! Planning a compaction: the snapshots to read, and what would lose rows and is refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::NaiveDate;

use super::existing::Existing;
use super::{CompactOptions, CompactionMode, settings};
use crate::commands::Workspace;
use crate::commands::engine::Engine;
use crate::commands::pruned::{restoring, span};
use crate::domain::warehouse_columns::WarehouseColumns;
use crate::engine::compaction::{Base, Settings};
use crate::engine::intervals::Intervals;
use crate::engine::table::{Partitions, SnapshotTable};
use crate::error::{Error, Result};
use crate::model::DateRange;
use crate::storage::lake::fingerprint_cache::FingerprintRecall;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::Found;
use crate::storage::lake::standing::Standing;
use crate::storage::parquet::footer::ObservedWire;

/// One compaction, planned.
pub(super) struct Compaction<'a> {
    pub(super) workspace: &'a Workspace<'a>,
    pub(super) table: SnapshotTable,
    pub(super) settings: Settings,
    pub(super) path: Location,
    /// What stands there, as it was before anything was read.
    pub(super) standing: Standing,
    /// Files among the snapshots that are not whole.
    pub(super) leftovers: Vec<PathBuf>,
    pub(super) base: Option<Base>,
    /// The snapshots to take, ascending.
    pub(super) new: Vec<(NaiveDate, Vec<Object>)>,
    pub(super) mode: CompactionMode,
    pub(super) recall: FingerprintRecall,
    /// The dates of snapshots that must still be there when the intervals are published, since what
    /// stands has rows of them that the new intervals may lack.
    pub(super) relied_on: Vec<NaiveDate>,
    /// Why existing intervals are not reused as a whole, if they are not.
    pub(super) differs: Option<String>,
    /// Where intervals that cannot be read are kept when others take their place.
    pub(super) damaged_to: Option<Location>,
    /// The types that are declared, by column.
    pub(super) types: BTreeMap<String, String>,
    /// The columns of the table for a warehouse, which no other column may be named as.
    pub(super) columns_beside: Option<WarehouseColumns>,
    pub(super) dry_run: bool,
    /// What compares the copies.
    pub(super) engine: Engine,
}

impl<'a> Compaction<'a> {
    /// Decides which snapshots are read, and what of the existing intervals is reused.
    pub(super) fn plan(
        workspace: &'a Workspace<'a>,
        table: SnapshotTable,
        types: BTreeMap<String, String>,
        path: Location,
        existing: Existing,
        options: &CompactOptions,
    ) -> Result<Self> {
        let config = workspace.table_config(&table.name);
        let settings = settings::decide(&table.key, options, &config, existing.footer.as_ref())?;
        // Text that is not a condition is refused before anything is read.
        settings.selection.part()?;
        let (standing, existing) = (existing.standing, existing.intervals);
        let range = options.range()?;
        let outside = |date: &NaiveDate| range.is_some_and(|range| !range.contains(*date));
        let (mut found, lost) = snapshots_within(range, &table, existing.as_ref(), options)?;
        let dates = found.dates();
        if let Some(other) = found.other_padding.as_ref().filter(|_| !dates.is_empty()) {
            workspace
                .progress
                .note(&format!("table {}: {other}, and is not read", table.name));
        }
        // That all copies of another tool are gone is more likely a wrong path or layout.
        let has_rows = |known: &Intervals| table.own && !known.served().is_empty();
        if dates.is_empty() && !existing.as_ref().is_some_and(has_rows) {
            return Err(no_snapshots(&table, range, &found, existing.as_ref()));
        }
        let recall = FingerprintRecall::beside(&path, read_with(&table, &types));
        let mut run = Compaction {
            workspace,
            table,
            settings,
            path,
            standing,
            leftovers: found.leftovers,
            base: None,
            new: Vec::new(),
            mode: CompactionMode::Full,
            recall,
            relied_on: Vec::new(),
            differs: None,
            damaged_to: None,
            types,
            columns_beside: None,
            dry_run: options.dry_run,
            engine: Engine::Local,
        };
        let mut observed = dates;
        match existing {
            Some(existing) => {
                run.refuse_pruned("a compaction of this range", &lost)?;
                let gone = existing.served().into_iter();
                let gone = gone.filter(|date| !found.partitions.contains_key(date));
                let pruned: Vec<NaiveDate> = gone.filter(|date| !outside(date)).collect();
                observed.extend(&pruned);
                observed.sort();
                run.build_on(existing, &found.partitions, &pruned)?;
            }
            None if options.full => run.relied_on = run.refuse_to_lose()?,
            None => {}
        }
        let kept = run.base.as_ref().map(Base::last);
        let is_new = |date: &NaiveDate| kept.is_none_or(|kept| *date > kept);
        found.partitions.retain(|date, _| is_new(date));
        run.new = found.partitions.into_iter().collect();
        run.settings
            .policy
            .check(run.table.name.as_str(), &observed)?;
        Ok(run)
    }

    /// Reuses what it can of existing intervals. `pruned` are the dates that only they have.
    fn build_on(
        &mut self,
        existing: Intervals,
        partitions: &Partitions,
        pruned: &[NaiveDate],
    ) -> Result<()> {
        let mut relied_on = existing.served();
        relied_on.retain(|date| !pruned.contains(date));
        let removed = removed_by_hand(&existing, pruned);
        let again = restoring(self.workspace, &self.table, &existing, &removed);
        self.take_over(existing, partitions, pruned)?;
        self.note_removed(&removed, again.as_deref());
        // Otherwise what stands is a part of the new intervals.
        if !self.base.as_ref().is_some_and(Base::is_whole) {
            self.relied_on = relied_on;
        }
        Ok(())
    }

    /// Refuses a full compaction over intervals that know dates which the lake no longer has.
    /// Returns the dates that it has.
    fn refuse_to_lose(&mut self) -> Result<Vec<NaiveDate>> {
        match Intervals::open(&self.path) {
            Ok(None) => Ok(Vec::new()),
            Ok(Some(mut existing)) => {
                if self.table.own {
                    existing.mark_dropped(&self.workspace.dropped(&self.table.name)?);
                }
                let all = self.table.find(None)?;
                let served = existing.served().into_iter();
                let (kept, lost): (Vec<NaiveDate>, Vec<NaiveDate>) =
                    served.partition(|date| all.partitions.contains_key(date));
                self.refuse_pruned("a full compaction", &lost)?;
                Ok(kept)
            }
            Err(error)
                if self
                    .workspace
                    .intervals_path(&self.table.name, None)
                    .ok()
                    .as_ref()
                    != Some(&self.path) =>
            {
                // Elsewhere it may be anything, and whose it is cannot be told.
                Err(error.hint(format!(
                    "rm '{}', if it is not needed",
                    self.workspace.shown(&self.path)
                )))
            }
            Err(error) => {
                let when = self.workspace.clock.now().format("%Y%m%dT%H%M%SZ");
                let aside = format!("_{}-damaged-{when}.parquet", self.table.name);
                let aside = self.path.sibling(&aside);
                let note = format!(
                    "{}: the existing intervals cannot be read ({error}); they are kept as '{}', \
                     since a copy that is gone may exist only in them",
                    self.table.name,
                    self.workspace.shown(&aside)
                );
                self.workspace.progress.note(&note);
                self.damaged_to = Some(aside);
                Ok(Vec::new())
            }
        }
    }

    /// That the snapshots are still there whose rows the new intervals may lack. Had `asof prune`
    /// deleted one since, it would have relied on the intervals that are to be replaced.
    pub(super) fn check_relied_on(&self) -> Result<()> {
        if self.relied_on.is_empty() || !self.table.own {
            return Ok(());
        }
        let now = self.table.find(None)?.partitions;
        let gone = self.relied_on.iter().find(|date| !now.contains_key(date));
        gone.map_or(Ok(()), |date| {
            let what = format!(
                "table {}: the snapshot of {date} was removed while the intervals were computed",
                self.table.name
            );
            Err(Error::conflict(what).hint("run the same command again"))
        })
    }

    /// Refuses what needs the rows of snapshots that were removed.
    pub(super) fn refuse_pruned(&self, what: &str, dates: &[NaiveDate]) -> Result<()> {
        let [first, ..] = dates else { return Ok(()) };
        let more = if dates.len() > 1 {
            format!(" and {} more", dates.len() - 1)
        } else {
            String::new()
        };
        let name = &self.table.name;
        let what = format!(
            "table {name}: {what} needs the snapshot of {first}{more}, which was removed and \
             exists only in the intervals"
        );
        let mut error = Error::refused(what);
        if !self.table.own {
            // asof never writes among external copies.
            error = error.hint(format!(
                "put the copies of {} back, if they should be there",
                span(dates)
            ));
        } else if let Some(existing) = Intervals::open(&self.path).ok().flatten()
            && let Some(command) = restoring(self.workspace, &self.table, &existing, dates)
        {
            error = error.hint(format!("{command}, to restore them"));
        }
        Err(error.hint("--out FILE, to write intervals of the remaining snapshots elsewhere"))
    }
}

/// The dates whose snapshots are gone and were not pruned: somebody removed them by hand.
fn removed_by_hand(existing: &Intervals, gone: &[NaiveDate]) -> Vec<NaiveDate> {
    let is_pruned = |date: &NaiveDate| {
        let observed = existing.snapshot(*date);
        observed.is_some_and(ObservedWire::is_proven)
    };
    let removed = gone.iter().filter(|date| !is_pruned(date));
    removed.copied().collect()
}

/// The snapshots of a table within a range, and the dates of existing intervals outside of it that
/// the lake no longer has.
fn snapshots_within(
    range: Option<DateRange>,
    table: &SnapshotTable,
    existing: Option<&Intervals>,
    options: &CompactOptions,
) -> Result<(Found, Vec<NaiveDate>)> {
    let outside = |date: &NaiveDate| range.is_some_and(|range| !range.contains(*date));
    // What the range leaves out is dropped from the intervals, and must be had again from the
    // lake.
    let left_out: Vec<NaiveDate> = existing
        .into_iter()
        .flat_map(Intervals::served)
        .filter(outside)
        .collect();
    // A range that is open at one end has millions of dates: what there is is filtered instead.
    let is_narrow = left_out.is_empty()
        && (table.dated.is_some() || options.from.is_some() && options.to.is_some());
    let mut found = table.find(range.filter(|_| is_narrow))?;
    let lost: Vec<NaiveDate> = left_out
        .into_iter()
        .filter(|date| !found.partitions.contains_key(date))
        .collect();
    found.partitions.retain(|date, _| !outside(date));
    Ok((found, lost))
}

/// What decides how a snapshot is read: the declared types, and the rules for text and duplicates.
pub(super) fn read_with(
    table: &SnapshotTable,
    types: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut read_with = types.clone();
    if table.types.csv_as_text {
        // No column has this name.
        read_with.insert(String::new(), "csv_types = text".to_owned());
    }
    if !table.own && !table.types.csv.is_default() {
        read_with.insert(",".to_owned(), table.types.csv.in_words());
    }
    if let Some(rule) = table.dedup.as_ref().filter(|_| !table.own) {
        read_with.insert(",dedup".to_owned(), rule.to_string());
    }
    read_with
}

/// The refusal to compact a table of which no snapshot is found.
fn no_snapshots(
    table: &SnapshotTable,
    range: Option<DateRange>,
    found: &Found,
    existing: Option<&Intervals>,
) -> Error {
    let within = range.map_or(String::new(), |range| format!(" from {range}"));
    let error = Error::refused(format!(
        "table {} has no snapshots{within} to compact",
        table.name
    ));
    if let Some(other) = &found.other_padding {
        return error.hint(format!(
            "--layout '{}' reads '{}'",
            other.layout, other.path
        ));
    }
    if let Some(last) = existing.and_then(|known| known.dropped.last()) {
        return error.hint(format!(
            "asof restore {} {last}, to have a copy back that was dropped",
            table.name
        ));
    }
    match found.unrecognized_paths.as_slice() {
        [] if range.is_some() => {
            error.hint("choose another range with --from and --to, or leave them out")
        }
        [] if !table.own => error.hint(table.filling()),
        [] => error.hint(format!(
            "asof snapshot {} --source FILE --key COLUMN",
            table.name
        )),
        unrecognized_paths => error.hint(format!(
            "'{}' does not match the layout '{}'",
            unrecognized_paths[0], table.layout
        )),
    }
}
