//! Build sides of joins: what the join of each date needs, which dates share a build side, and when
//! it is built and let go.
//!
//! | module | decides |
//! | --- | --- |
//! | [`needs`] | what a date needs of the table: its observed date, the place of its rows, its columns |
//! | [`cache`] | which dates one build side serves, when it is built, and when it is let go |
//! | [`builder`] | how a build side is built: from intervals, snapshots or an external copy |

mod builder;
mod cache;
mod needs;

use chrono::NaiveDate;

use self::builder::Builder;
use self::cache::BuildSides;
#[cfg(feature = "spark")]
pub(super) use self::needs::with_named;
pub(in crate::commands) use self::needs::{BuildSource, Need, Needs};
use crate::engine::as_of::TableHistory;
use crate::engine::join::JoinSpec;
use crate::memory::MemoryBudget;

/// The build sides of a job's dates.
pub(super) type JoinBuildSides<'a> = BuildSides<Builder<'a>>;

/// The build sides of `dates`, of a job that runs `many`.
pub(super) fn build_sides<'a>(
    spec: &'a JoinSpec,
    history: &'a TableHistory,
    dates: impl Iterator<Item = NaiveDate>,
    many: bool,
    workers: usize,
    memory: MemoryBudget,
) -> JoinBuildSides<'a> {
    let needs = Needs::new(spec, history, many);
    BuildSides::new(Builder::new(needs, dates, workers, memory))
}
