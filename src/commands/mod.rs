//! One file a command: load, ask the domain for a plan, apply it, return a report.
//!
//! A report is a plain struct; `cli` decides whether it becomes a table or JSON. Commands print
//! nothing and ask nobody what time it is: they are given a [`Workspace`].

pub mod adopt;
pub mod backfill;
mod cells;
pub mod check;
pub mod compact;
pub mod describe;
#[cfg(all(test, feature = "frames"))]
mod describe_tests;
pub mod diff;
pub mod engine;
pub mod expand;
mod forbidden_places;
pub mod history;
pub mod init;
pub mod job_status;
pub mod join;
#[cfg(test)]
mod known_at_tests;
mod known_copies;
pub mod latest;
pub(crate) mod lookup;
mod out_file;
pub mod partitions;
pub mod prune;
pub(crate) mod pruned;
mod queue;
pub mod repair;
pub mod report;
pub mod schema;
pub mod show;
pub mod shown_columns;
pub mod snapshot;
pub mod sources;
pub mod status;
pub mod table_facts;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod types_tests;
pub mod undo;
pub mod verify;
pub mod workspace;

pub use cells::ColumnChange;
pub use workspace::{DeclaredTypes, PartState, Progress, Workspace, WorkspaceBuilder};
