//! One file a command: load, ask the domain for a plan, apply it, return a report.
//!
//! A report is a plain struct; `cli` decides whether it becomes a table or JSON. Commands print
//! nothing and ask nobody what time it is: they are given a [`Workspace`].

pub mod compact;
pub mod expand;
mod inspect;
pub mod partitions;
pub mod snapshot;
pub mod status;
pub mod verify;
pub mod workspace;

pub use workspace::{Progress, Workspace};
