//! Compaction of a part of a table into memory.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::facts::CompactionFacts;
use super::interval_columns::{NUMBER, START};
use super::pass::{Pass, Sink, Snapshots};
use super::settings::Settings;
use crate::domain::compared_columns::Comparison;
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::Convention;
use crate::engine::intervals::{IntervalBatch, split};
use crate::engine::selection::Selection;
use crate::engine::table::SnapshotTable;
use crate::engine::table_part::TablePart;
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;

/// Rows of a part of a table, each with the interval in which it is the same, in order of key and
/// start; nothing, if they are more than `limit` bytes.
///
/// Ends are those of [`GapPolicy::CARRY`]: of dates that are not among `days` nothing is said.
///
/// # Errors
/// As [`Pass::run`].
pub fn compact_in_memory(
    table: &SnapshotTable,
    days: Snapshots<'_>,
    part: &TablePart,
    memory: MemoryBudget,
    threads: usize,
    limit: Option<usize>,
) -> Result<Option<(Vec<IntervalBatch>, CompactionFacts)>> {
    let comparison = Comparison {
        key: table.key.clone(),
        ..Comparison::default()
    };
    // Names that no column of the table has.
    let convention = Convention {
        start_column: START.to_owned(),
        end_column: NUMBER.to_owned(),
        ..Convention::default()
    };
    let settings = Settings {
        policy: GapPolicy::CARRY,
        convention,
        comparison,
        selection: Selection::default(),
    };
    let pass = Pass {
        table,
        settings: &settings,
        base: None,
        part: Some(part),
        memory,
        threads,
        step: &|_, _| {},
    };
    let mut taken = RowsInMemory {
        convention: &settings.convention,
        rows: Vec::new(),
        bytes: 0,
        limit,
    };
    match pass.run(days, &mut taken) {
        Err(_) if taken.is_full() => Ok(None),
        facts => Ok(Some((taken.rows, facts?))),
    }
}

/// Takes rows into memory, up to a limit.
struct RowsInMemory<'a> {
    convention: &'a Convention,
    rows: Vec<IntervalBatch>,
    bytes: usize,
    limit: Option<usize>,
}

impl RowsInMemory<'_> {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.bytes > limit)
    }
}

impl Sink for RowsInMemory<'_> {
    fn begin(&mut self, _table: &SchemaRef, _schema: &SchemaRef) -> Result<()> {
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        // A piece of a batch holds all of it, and all of it is shared by the pieces.
        let bytes = rows
            .columns()
            .iter()
            .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
            .sum::<usize>();
        self.bytes += bytes;
        if self.is_full() {
            return Err(Error::refused(
                "there are more versions of rows than memory for them",
            ));
        }
        self.rows.push(split(&rows, self.convention)?);
        Ok(())
    }
}
