//! Tables and jobs as they are read: snapshots and intervals as of a date, joins, and users' SQL.

pub mod as_of;
pub mod changes;
pub mod column_guards;
pub mod command;
pub mod compaction;
pub mod dated;
pub mod digests;
pub mod duplicate_keys;
pub mod expression;
pub mod intervals;
pub mod join;
pub mod join_input;
pub mod pins;
pub mod scd2;
pub mod selection;
#[cfg(feature = "spark")]
pub mod spark;
#[cfg(feature = "sql")]
pub mod sql;
pub mod statistics;
pub mod table;
pub mod table_part;
pub mod units;
pub mod warehouse;
