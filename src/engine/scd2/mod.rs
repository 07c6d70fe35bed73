//! SCD type 2 tables of other tools, read, audited and turned into intervals.
//!
//! [`Scd2Columns`] reads the time of each version ([`crate::domain::scd2`] has the rules).
//! [`gather()`] reads the table once: it sets aside, in the order of key and beginning, what can be
//! put in order, and counts the rest. [`walk()`] goes through it in that order,
//! compares each version with those of its key before it, and gives the rows of the intervals.
//!
//! Memory: the sorter's budget, a batch, and one sum for each day on which something changed.

mod audit;
mod columns;
mod gather;
mod runs;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod walk;

pub use self::audit::{AuditExample, AuditFinding, AuditKind, Scd2Findings};
pub use self::columns::{Scd2Columns, column_of};
pub use self::gather::{GatheredVersions, gather};
pub use self::walk::{WalkedVersions, walk};
