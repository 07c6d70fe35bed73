//! How much memory a command may use, and how its parts share it.
//!
//! | what is held | at most |
//! | --- | --- |
//! | rows of a source while they are sorted, before they spill | a quarter |
//! | columns that a guard wants to be unique, while they are sorted, before they spill | an eighth, together |
//! | rows of a compaction while they are sorted, before they spill | an eighth, and [`SORTER_BYTES`] |
//! | digests of keys and rows, of snapshots that are not sorted | half |
//! | recorded changes that are read | an eighth |
//! | keys of a table that changed, while a report counts how often | an eighth |
//! | the build side of a join, of which there are two | a quarter |
//! | the table's rows on all dates of `asof join` | half |
//! | the different values of columns that are counted | half |
//! | rows of a file of many dates, before they are divided by date | a sixteenth, and 64 MiB |
//! | one of several tables that are copied in parallel, for all of the above | the budget by the number of those tables |
//! | what one query holds | the budget by the number of queries that run in parallel |
//! | one row of a source | a thirty-second, and 1 GiB: [`crate::domain::row_limits`] |

use std::str::FromStr;

use crate::error::{Error, Result};

/// What a sorter gathers before it spills, in bytes, where no share of a budget says less.
pub const SORTER_BYTES: usize = 128 << 20;

/// The most that is held of a file of many dates before it is divided by date, in bytes.
pub const DATED_BYTES: usize = 64 << 20;

/// How much memory may be used, in bytes, written `512MiB`, `2GiB` or `2GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryBudget(pub u64);

impl MemoryBudget {
    /// The least with which anything is tried.
    pub(crate) const LEAST: u64 = 64 << 20;

    /// For rows of a source that are sorted.
    pub(crate) fn for_sorting_a_source(self) -> usize {
        self.share(4)
    }

    /// For each of the columns that a guard wants to be unique, which are sorted beside the key.
    pub(crate) fn for_each_unique_column(self, columns: usize) -> usize {
        self.share(8 * (columns as u64).max(1))
    }

    /// For rows of a compaction that are sorted.
    pub(crate) fn for_sorting_intervals(self) -> usize {
        self.share(8).min(SORTER_BYTES)
    }

    /// For a map from digests of keys to digests of rows.
    pub(crate) fn for_digests(self) -> usize {
        self.share(2)
    }

    /// For recorded changes.
    pub(crate) fn for_recorded_changes(self) -> usize {
        self.share(8)
    }

    /// For the keys that changed in a table, of which a report counts how often they did.
    #[cfg(feature = "frames")]
    pub(crate) fn for_changed_keys(self) -> usize {
        self.share(8)
    }

    /// For one of the two build sides of a backfill.
    pub(crate) fn for_a_build_side(self) -> usize {
        self.share(4)
    }

    /// For the rows that a table has on the dates of all events.
    pub(crate) fn for_rows_of_all_dates(self) -> usize {
        self.share(2)
    }

    /// For the different values of columns that are counted.
    #[cfg(feature = "frames")]
    pub(crate) fn for_statistics(self) -> usize {
        self.share(2)
    }

    /// For rows that are divided by date.
    pub(crate) fn for_rows_of_many_dates(self) -> usize {
        self.share(16).min(DATED_BYTES)
    }

    /// For each of some queries that run in parallel.
    #[cfg(feature = "sql")]
    pub(crate) fn for_each_of(self, queries: usize) -> usize {
        self.share(queries as u64)
    }

    /// For each of some tables that are taken in parallel.
    pub(crate) fn for_each_table_of(self, tables: usize) -> Self {
        MemoryBudget(self.0 / tables.max(1) as u64)
    }

    /// How many tables can be taken in parallel with at least [`MemoryBudget::LEAST`] each.
    pub(crate) fn tables_in_parallel(self) -> usize {
        let tables = self.0 / MemoryBudget::LEAST;
        usize::try_from(tables).unwrap_or(usize::MAX).max(1)
    }

    fn share(self, parts: u64) -> usize {
        usize::try_from(self.0 / parts.max(1)).unwrap_or(usize::MAX)
    }
}

impl Default for MemoryBudget {
    /// Two gigabytes, as if the machine had four.
    fn default() -> Self {
        MemoryBudget(2 << 30)
    }
}

impl FromStr for MemoryBudget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::usage(format!("'{text}' {why}")).hint("512MiB, 2GiB, 8GB");
        let bytes = text
            .trim()
            .parse::<bytesize::ByteSize>()
            .map_err(|_| wrong("is not an amount of memory"))?
            .as_u64();
        if bytes < MemoryBudget::LEAST {
            return Err(wrong(
                "is less memory than the least that is worked with, 64MiB",
            ));
        }
        Ok(MemoryBudget(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_written_with_its_unit() {
        let bytes = |text: &str| text.parse::<MemoryBudget>().map(|budget| budget.0).ok();
        assert_eq!(
            [bytes("2GiB"), bytes("512 MiB"), bytes("1GB")],
            [Some(2 << 30), Some(512 << 20), Some(1_000_000_000)]
        );
        assert_eq!(
            [bytes("1KiB"), bytes("much"), bytes("")],
            [None, None, None]
        );
    }
}
