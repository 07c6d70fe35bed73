//! Journeys through the real binary, in one test binary, since linking the query engine is the slow
//! part.
//!
//! What the program prints is pinned under tests/snapshots. After a change of output that is meant:
//! `INSTA_UPDATE=always ASOF_UPDATE_DOCS=1 tests/run --test journeys`, then read `git diff`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]

mod architecture;
mod browser;
mod cli_reference;
mod config_schema;
mod damaged;
#[cfg(feature = "databases")]
mod databases;
#[cfg(feature = "sql")]
mod dialect;
mod errors;
mod exact;
mod frozen;
mod hints;
mod journeys;
mod model;
#[cfg(target_os = "linux")]
mod packaging;
mod readers;
#[cfg(feature = "sql")]
mod schedulers;
#[cfg(feature = "sql")]
mod sql;
mod stores;
mod types;
