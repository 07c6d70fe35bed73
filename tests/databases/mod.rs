//! Databases as sources, against real servers.
//!
//! The servers are those of `tests/run`; a test that does not find its own fails. Each test makes a
//! database of its own.

mod connect;
mod mariadb;
mod postgres;
mod servers;
mod silence;
mod sqlite;
