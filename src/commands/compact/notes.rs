//! What a compaction says of snapshots that are gone, and of columns that end intervals without
//! much being changed.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use chrono::NaiveDate;

use super::Compaction;
use crate::domain::schema::by_name;
use crate::engine::compaction::{CompactionFacts, DayChanges};
use crate::engine::digests::{digests_by_column, key_digests};
use crate::engine::intervals::Intervals;
use crate::error::{Result, toml_key, toml_text, word};

/// How many intervals are looked at to tell which columns change.
const SAMPLE: u64 = 8192;
/// From how many snapshots on it can be told that a column changes on every date.
const SNAPSHOTS: usize = 3;
/// The share of rows that change, and of the changed rows in which a column does, from which it is
/// nearly all of them.
const NEARLY_ALL: u64 = 90;

impl Compaction<'_> {
    /// Tells which snapshots the intervals were made from and are not there any more, and with
    /// which command they are written again.
    pub(super) fn note_removed(&self, dates: &[NaiveDate], again: Option<&str>) {
        let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
            return;
        };
        let which = match dates.len() {
            1 => format!("the snapshot of {first} is gone"),
            number => format!("{number} snapshots from {first} to {last} are gone"),
        };
        let (its, it) = match dates.len() {
            1 => ("its", "it"),
            _ => ("their", "them"),
        };
        let from = match self.table.own {
            true => String::new(),
            false => format!(" from '{}'", self.table.root),
        };
        let again = again
            .map(|command| format!("; {command} writes {it} again"))
            .unwrap_or_default();
        self.workspace.progress.note(&format!(
            "{}: {which}{from}, and the intervals keep {its} rows{again}",
            self.table.name
        ));
    }

    /// Says so if intervals end for no other reason than that columns appeared.
    pub(super) fn note_new_columns(&self, facts: &CompactionFacts) {
        for day in facts
            .days
            .iter()
            .filter(|day| day.changes.by_new_columns > 0)
        {
            let names = self.appeared(facts, day.date);
            let noun = if day.changes.by_new_columns == 1 {
                "interval ends"
            } else {
                "intervals end"
            };
            let (column, appear) = if names.len() == 1 {
                ("column", "appears")
            } else {
                ("columns", "appear")
            };
            let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            self.workspace.progress.note(&format!(
                "{}: {} {noun} before {} only because {column} {} {appear} with values; --ignore \
                 {} leaves {} out",
                self.table.name,
                day.changes.by_new_columns,
                day.date,
                quoted.join(", "),
                names.join(","),
                if names.len() == 1 { "it" } else { "them" }
            ));
        }
    }

    /// The compared columns of a date that the date before did not have.
    fn appeared(&self, facts: &CompactionFacts, date: NaiveDate) -> Vec<String> {
        let Ok(at) = facts
            .observed
            .binary_search_by_key(&date, |observed| observed.date)
        else {
            return Vec::new();
        };
        let schema = |at: usize| {
            facts
                .observed
                .get(at)
                .and_then(|observed| facts.schemas.get(observed.schema))
        };
        let (Some(before), Some(now)) = (at.checked_sub(1).and_then(schema), schema(at)) else {
            return Vec::new();
        };
        let is_compared = |name: &str| {
            self.settings.comparison.covers(name) && self.settings.selection.keeps(name)
        };
        let before = by_name(before);
        let is_new = |name: &&String| is_compared(name) && !before.contains_key(name.as_str());
        Schema::fields(now)
            .iter()
            .map(|field| field.name())
            .filter(is_new)
            .cloned()
            .collect()
    }

    /// The columns that change in nearly every row on every date, if rows change so often, and says
    /// so.
    pub(super) fn note_volatile_columns(&self, facts: &CompactionFacts) -> Vec<String> {
        if facts.observed.len() < SNAPSHOTS || !nearly_all_change(facts) {
            return Vec::new();
        }
        // A note is not worth a failure: the intervals are published.
        let columns = self
            .volatile_columns(facts.observed.len())
            .unwrap_or_default();
        if !columns.is_empty() {
            let (column, change, them) = if columns.len() == 1 {
                ("column", "changes", "it")
            } else {
                ("columns", "change", "them")
            };
            let quoted: Vec<String> = columns.iter().map(|name| format!("'{name}'")).collect();
            let listed: Vec<String> = columns.iter().map(|name| toml_text(name)).collect();
            self.workspace.progress.note(&format!(
                "{}: {column} {} {change} in nearly every row on every date, so nearly every row \
                 begins a new interval; --ignore {}, or \
                 [tables.{}] ignore = [{}] in asof.toml, leaves {them} out of the comparison",
                self.table.name,
                quoted.join(", "),
                word(&columns.join(",")),
                toml_key(self.table.name.as_str()),
                listed.join(", ")
            ));
        }
        columns
    }

    /// The compared columns that differ between nearly all neighbouring intervals of a key, of the
    /// first intervals, if most keys have nearly one interval a snapshot.
    fn volatile_columns(&self, snapshots: usize) -> Result<Vec<String>> {
        let Some(intervals) = Intervals::open(&self.path)? else {
            return Ok(Vec::new());
        };
        let comparison = &self.settings.comparison;
        let is_compared =
            |name: &&String| comparison.covers(name) && !comparison.key.contains(name);
        let schema = intervals.table_schema();
        let columns: Vec<String> = Schema::fields(&schema)
            .iter()
            .map(|field| field.name())
            .filter(is_compared)
            .cloned()
            .collect();
        let mut rows = 0;
        let mut pairs = 0;
        let mut differing = vec![0; columns.len()];
        for batch in intervals.read_rows(None, &(0..SAMPLE.min(intervals.rows())))? {
            let batch = batch?.rows;
            rows += batch.num_rows() as u64;
            count(
                &batch,
                &comparison.key,
                &columns,
                &mut pairs,
                &mut differing,
            )?;
        }
        let most = (rows - pairs) * (snapshots as u64 - 1);
        let is_volatile = |differing: u64| {
            pairs * 2 >= most && differing > 0 && differing * 100 >= pairs * NEARLY_ALL
        };
        Ok(columns
            .into_iter()
            .zip(differing)
            .filter(|(_, differing)| is_volatile(*differing))
            .map(|(name, _)| name)
            .collect())
    }
}

/// Whether nearly every row that was there before changed, over the snapshots of a run that have
/// the columns of the one before.
fn nearly_all_change(facts: &CompactionFacts) -> bool {
    let names = |at: usize| -> Option<Vec<&String>> {
        let schema = facts.schemas.get(facts.observed.get(at)?.schema)?;
        Some(schema.fields().iter().map(|field| field.name()).collect())
    };
    let mut changed = 0;
    let mut stayed = 0;
    for DayChanges { date, changes } in &facts.days {
        let Ok(at) = facts
            .observed
            .binary_search_by_key(date, |observed| observed.date)
        else {
            continue;
        };
        if at.checked_sub(1).and_then(names) == names(at) {
            changed += changes.changed;
            stayed += facts.observed[at].rows.saturating_sub(changes.added);
        }
    }
    changed > 0 && changed * 100 >= stayed * NEARLY_ALL
}

/// Counts neighbouring rows of one key, and by column those in which they differ.
fn count(
    rows: &RecordBatch,
    key: &[String],
    columns: &[String],
    pairs: &mut u64,
    differing: &mut [u64],
) -> Result<()> {
    let keys: Vec<_> = key
        .iter()
        .filter_map(|name| rows.column_by_name(name).cloned())
        .collect();
    let keys = key_digests(&keys)?;
    let is_pair = |row: &usize| keys[row - 1] == keys[*row];
    let neighbours: Vec<usize> = (1..rows.num_rows()).filter(is_pair).collect();
    *pairs += neighbours.len() as u64;
    let digests = digests_by_column(rows, columns.iter().map(String::as_str))?;
    for (cells, differing) in digests.iter().zip(differing) {
        *differing += neighbours
            .iter()
            .filter(|row| cells[**row - 1] != cells[**row])
            .count() as u64;
    }
    Ok(())
}
