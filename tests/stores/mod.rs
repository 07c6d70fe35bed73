//! Object stores: the same rules on every one of them, and what happens when they fail.
//!
//! The servers are those of `tests/run`; a test that does not find its own fails. Each takes a
//! prefix of its own.

mod conformance;
mod faults;
mod journeys;
mod proxy;
mod races;
#[cfg(feature = "sql")]
mod recorded;
mod refusals;
mod requests;
mod servers;
