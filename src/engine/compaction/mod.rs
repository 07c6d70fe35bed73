//! Compaction of a table's snapshots, from files to sorted rows with their ends.
//!
//! A [`Pass`] begins with the [`Base`], the part of existing intervals that still agrees with the
//! snapshots; it takes every later snapshot in order of its date, and gives a [`Sink`] the rows of
//! all intervals, in order of key and start.
//!
//! | snapshots are | the pass | what it costs |
//! | --- | --- | --- |
//! | one Parquet object each, sorted by the key, as asof's own are | `sorted`: range of keys by range of keys, rows compared by value | decoding, little more; memory for a few ranges |
//! | anything else | `unsorted`: a map from the digests of keys to those of rows | digests of every row; memory for every key, or more passes |
//!
//! External objects are tried in order. If one is not sorted, that is seen by its row groups or on
//! the way, and the other pass begins anew.
//!
//! A snapshot whose footer has the fingerprint of the one before it is not decoded. Nor is one of
//! which it is recorded, and verified, what it changed ([`super::changes`]), if snapshots are
//! sorted: its changes are applied to what is known of the one before. A row that opens an interval
//! goes, with the interval's number and first date, to a sorter, which spills; once the ends are
//! known, each gets its own. Both passes give the same rows.

mod facts;
mod in_memory;
mod interval_columns;
mod observer;
mod pass;
mod settings;
mod sorted;
#[cfg(feature = "spark")]
mod spark;
#[cfg(test)]
mod tests;
mod unsorted;

pub use self::facts::{CompactionFacts, DayChanges};
pub use self::in_memory::compact_in_memory;
pub use self::interval_columns::with_interval as interval_schema;
pub use self::pass::{Base, Pass, Sink, Snapshots};
pub use self::settings::Settings;
#[cfg(feature = "spark")]
pub use self::spark::SparkPass;
use crate::error::Result;

impl Pass<'_> {
    /// Takes the snapshots, each later than those of the base, and gives the rows of all intervals.
    ///
    /// # Errors
    /// A failure or refusal of reading; a refusal of keys that are null or stand twice, and of a
    /// table without any snapshot; what the sink fails with.
    pub fn run(&self, days: Snapshots<'_>, sink: &mut dyn Sink) -> Result<CompactionFacts> {
        let selected = if self.part.is_none() {
            self.settings.selection.part()?
        } else {
            None
        };
        let pass = Pass {
            part: self.part.or(selected.as_ref()),
            ..*self
        };
        match sorted::run(&pass, days, sink)? {
            Some(facts) => Ok(facts),
            None => unsorted::run(&pass, days, sink),
        }
    }
}
