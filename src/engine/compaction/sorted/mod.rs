//! The pass over snapshots that are sorted by the key: range of keys by range of keys, each
//! snapshot decoded once.
//!
//! All footers are read first, so that the table's columns are known before a row is. Then, for
//! each range of keys ([`ranges`]), the rows of every snapshot in it are merged with those
//! of the one before ([`crate::domain::merge_compaction`]), in order of the dates. The ends of a
//! range's intervals are known when its last snapshot has been merged: its rows, nearly all of
//! which are in order, are put in order and handed on, and the next range begins. The order of keys
//! and starts over the whole is the order of the ranges.
//!
//! Of a snapshot whose changes are recorded those are applied instead ([`change_replay`]). If the
//! next one must be decoded, its rows are decoded too, so that there are rows to compare with.
//!
//! Decoding is nearly all of the work, and nothing in it depends on the order of the dates: threads
//! decode the next snapshots of the range, and the first of the next one, while this thread merges
//! ([`crate::parallel`]).
//!
//! Memory: two decoded ranges a thread and three more, and as many pieces of a range as threads
//! while its rows are put in order, each of about [`RANGE_BYTES`], or less with a small budget; of
//! a range of an external table 16 bytes an interval, for digests; the sorter's budget for the rows
//! that open intervals in a range; the recorded changes that are applied, up to an eighth of what
//! may be used, beyond which snapshots are decoded; and the footers of all snapshots, which is all
//! that grows with their number. It does not depend on how many keys there are.

mod change_replay;
mod decode;
mod execute;
mod open;
mod plan;
mod range_output;
pub(super) mod ranges;
mod refusals;
mod skipping;

#[cfg(feature = "spark")]
pub(super) use self::open::OpenedSnapshot;
pub(super) use self::open::open;
use self::plan::PassPlan;
#[cfg(feature = "spark")]
pub(super) use self::plan::{observe, settled};
use super::facts::CompactionFacts;
use super::pass::{Pass, Sink, Snapshots};
use crate::error::Result;

/// Does the pass, unless a snapshot is not a single Parquet object, or is not sorted by the key:
/// then nothing that the sink was given counts.
pub(super) fn run(
    pass: &Pass<'_>,
    days: Snapshots<'_>,
    sink: &mut dyn Sink,
) -> Result<Option<CompactionFacts>> {
    let Some(opened) = open(pass, days)? else {
        return Ok(None);
    };
    let Some(plan) = PassPlan::new(pass, opened)? else {
        return Ok(None);
    };
    execute::run(pass, plan, sink)
}
