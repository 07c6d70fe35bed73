//! What a program that embeds asof works with: a [`Lake`], its [`Table`]s, and backfills.
//!
//! This is a thin layer over [`crate::commands`], which the command line calls too. So the same
//! rules hold, the same refusals are made, and what one writes the other reads. What is public here
//! is the crate's interface; everything below it may change at any time.

mod backfill;
#[cfg(feature = "frames")]
mod frames;
mod history;
mod join;
mod lake;
#[cfg(feature = "lazy")]
mod lazy;
mod options;
mod table;
#[cfg(test)]
mod tests;

pub use self::backfill::Job;
pub use self::history::{KeyHistory, TableDiff, TableIntervals};
pub use self::join::{JoinAsOf, JoinedRows};
pub use self::lake::{Lake, LakeOptions};
pub use self::table::{Rows, Table};

use crate::error::{Error, Result};

/// The one report of a command that was asked about one table or job.
fn only<T>(reports: Vec<T>) -> Result<T> {
    let mut reports = reports.into_iter();
    match (reports.next(), reports.next()) {
        (Some(report), None) => Ok(report),
        _ => Err(Error::internal(
            "a command about one table or job has no or several reports",
        )),
    }
}
