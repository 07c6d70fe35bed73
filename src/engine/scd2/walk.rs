//! Going through the versions of a table in order: the rest of the audit, and the intervals.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::audit::{AuditExample, AuditKind, Scd2Findings, example};
use super::columns::Scd2Columns;
use super::gather::GatheredVersions;
use super::runs::Runs;
use crate::domain::days::from_days;
use crate::domain::digest::RowSum;
use crate::domain::interval::Convention;
use crate::domain::key_order::{KeyEncoder, KeySequence, KeyStep};
use crate::domain::scd2::{
    DayWindow, Version, VersionDays, VersionSequence, VersionTime, VersionVerdict,
};
use crate::engine::table::all_digests;
use crate::error::{Error, Result};

/// What a walk found out.
pub struct WalkedVersions {
    /// Everything that was found.
    pub findings: Scd2Findings,
    /// How many keys there are.
    pub keys: u64,
    /// How many intervals there are.
    pub intervals: u64,
    /// How many of them reach the last day.
    pub open: u64,
    /// What comes and goes on each day on which something does: one added to the other, these are
    /// the rows of each day.
    pub steps: BTreeMap<i32, RowSum>,
}

/// Goes through the versions in order, and gives the rows of intervals within a window of days.
///
/// # Errors
/// A failure of the temporary disk; what `out` fails with.
pub fn walk(
    gathered: GatheredVersions,
    columns: &Scd2Columns,
    window: DayWindow,
    convention: &Convention,
    out: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<WalkedVersions> {
    let encoder = KeyEncoder::new(&gathered.schema, &columns.key)?;
    let mut walk = Walk {
        columns,
        window,
        runs: Runs::new(columns.table(), convention, out),
        keys: KeySequence::default(),
        sequence: VersionSequence::default(),
        key: None,
        walked: WalkedVersions {
            findings: gathered.findings,
            keys: 0,
            intervals: 0,
            open: 0,
            steps: BTreeMap::new(),
        },
    };
    for batch in gathered.sorted {
        walk.batch(&batch?, &encoder)?;
    }
    walk.key_ends();
    walk.runs.finish()?;
    let Walk {
        runs, mut walked, ..
    } = walk;
    (walked.intervals, walked.open) = (runs.intervals, runs.open_intervals);
    Ok(walked)
}

/// The key at hand.
#[derive(Default)]
struct KeyInHand {
    /// An example of it, if it is gone on the last day and one more is to be shown.
    last: Option<AuditExample>,
    /// Whether it was there on some day, and is not on the last one.
    is_gone: bool,
}

struct Walk<'a> {
    columns: &'a Scd2Columns,
    window: DayWindow,
    runs: Runs<'a>,
    keys: KeySequence,
    sequence: VersionSequence,
    key: Option<KeyInHand>,
    walked: WalkedVersions,
}

impl Walk<'_> {
    fn batch(&mut self, batch: &RecordBatch, encoder: &KeyEncoder) -> Result<()> {
        let attributes = self.columns.attributes(batch)?;
        let rows = all_digests(&attributes)?;
        let whole = all_digests(batch)?;
        let deletions = self.columns.deletions(batch)?;
        let steps = self.keys.steps(&encoder.encode(batch)?);
        for (row, time) in self.columns.times(batch)?.into_iter().enumerate() {
            let Some(time) = time else {
                return Err(Error::internal("a version without a start was kept"));
            };
            let version = Version {
                time,
                row: rows[row],
                whole: whole[row],
                is_deletion: deletions.as_ref().is_some_and(|deletions| deletions[row]),
            };
            self.version(batch, row, &version, steps[row] != KeyStep::Repeats)?;
        }
        self.runs.batch_ends(&attributes)
    }

    fn version(
        &mut self,
        batch: &RecordBatch,
        row: usize,
        version: &Version,
        is_new_key: bool,
    ) -> Result<()> {
        if is_new_key {
            self.key_ends();
            self.walked.keys += 1;
        }
        let verdict = self.sequence.next(version, is_new_key);
        self.tell(batch, row, version, &verdict)?;
        if !verdict.is_duplicate {
            let held = self.count_days(batch, row, version);
            let is_gone = held == Some(false);
            let is_shown = is_gone && self.walked.findings.shows(AuditKind::DeletedKey);
            let end = &self.columns.shape().end_column;
            let last = is_shown.then(|| example(batch, &self.columns.key, row, end, None));
            let key = self.key.get_or_insert_default();
            if held.is_some() {
                *key = KeyInHand { last, is_gone };
            }
        }
        Ok(())
    }

    /// Counts a version on its days; says whether it is there on the last one, if it is on any.
    fn count_days(&mut self, batch: &RecordBatch, row: usize, version: &Version) -> Option<bool> {
        let kind = match self.window.days(&version.time) {
            _ if version.is_deletion => AuditKind::DeletionRecord,
            VersionDays::Held(start, after) => {
                let mut added = RowSum::default();
                added.add(&[version.row]);
                let steps = &mut self.walked.steps;
                steps.entry(start).or_default().merge(added);
                if let Some(after) = after {
                    steps.entry(after).or_default().take(version.row);
                }
                let at = u32::try_from(row).unwrap_or(u32::MAX);
                self.runs.add(at, version.row, (start, after));
                return Some(after.is_none());
            }
            VersionDays::WithinADay => AuditKind::WithinADay,
            VersionDays::Before | VersionDays::After => AuditKind::OutsideOfRange,
        };
        let key = &self.columns.key;
        let shape = self.columns.shape();
        self.walked.findings.add(kind, || {
            let (start, end) = (&shape.start_column, &shape.end_column);
            let ended = version
                .time
                .after
                .map(|_| example(batch, key, row, end, None));
            let note = ended.map(|ended| format!("it ended at {}", ended.value));
            example(batch, key, row, start, note)
        });
        None
    }

    /// Records what a version is beside the others of its key.
    fn tell(
        &mut self,
        batch: &RecordBatch,
        row: usize,
        version: &Version,
        verdict: &VersionVerdict,
    ) -> Result<()> {
        let key = &self.columns.key;
        let start = &self.columns.shape().start_column;
        let at = |note: Option<String>| example(batch, key, row, start, note);
        let findings = &mut self.walked.findings;
        if verdict.is_duplicate {
            findings.add(AuditKind::Duplicate, || at(None));
        }
        if let Some(other) = verdict.overlapped {
            findings.add(AuditKind::Overlap, || at(Some(self.columns.span(&other))));
        }
        if verdict.changes_nothing && !version.is_deletion {
            findings.add(AuditKind::Unchanged, || at(None));
        }
        if let Some((from, back)) = verdict.absent {
            let (from, to) = (from_days(from)?, from_days(back - 1)?);
            findings.add(AuditKind::Absence, || {
                at(Some(format!("absent from {from} to {to}")))
            });
        }
        Ok(())
    }

    /// Records that a key is gone, if it is.
    fn key_ends(&mut self) {
        if let Some(key) = self.key.take().filter(|key| key.is_gone) {
            let findings = &mut self.walked.findings;
            findings.add_example(AuditKind::DeletedKey, key.last);
        }
    }
}

impl Scd2Columns {
    /// The other version that one begins in, in words.
    fn span(&self, other: &VersionTime) -> String {
        let start = self.instant_in_words(other.start);
        match other.after {
            None => format!("another version holds from {start} and is open"),
            Some(after) => format!(
                "another version holds from {start} to before {}",
                self.instant_in_words(after)
            ),
        }
    }
}
