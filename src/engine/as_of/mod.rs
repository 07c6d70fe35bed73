//! A table as of a date: which snapshot serves, and whether its rows come from the snapshot or from
//! the intervals.
//!
//! [`TableHistory`] puts a table's snapshots and intervals together. It answers in two ways:
//!
//! - **strictly**, for jobs: [`TableHistory::resolve`] applies the table's lag and tolerance, and
//!   [`TableHistory::as_of`] refuses what would not be exact;
//! - **the latest**, for looking: [`TableHistory::resolve_latest`] takes the latest snapshot on or
//!   before the date, however old, and [`TableHistory::latest`] opens it.
//!
//! [`TableInventory`] is the third way, for `verify` and `status`: it takes everything as it is
//! found, and reports damage instead of stopping at it.
//!
//! Snapshots and intervals give the same rows, in the same order, in the columns and types that the
//! snapshot had. A job that reads many dates prefers intervals, since they hold each unchanged row
//! once, but only where they are known to agree: their footer records the fingerprint that the
//! snapshot has, and they compare every column. A date that has no snapshot any more is served by
//! the intervals alone.
//!
//! | file | holds |
//! | --- | --- |
//! | `history` | opening a table, and which observed date serves a date |
//! | `as_of_table` | the table on one observed date, and reading its rows |
//! | `facts` | fingerprints and times of snapshots, without reading rows where footers tell |
//! | `columns` | the columns of one date, and of all dates |
//! | `copies` | several snapshots at once, for queries of a table's history |
//! | `known_intervals` | the intervals as they were known on a date |
//! | `inventory` | everything that exists of a table, damaged or not |

mod as_of_table;
mod columns;
mod copies;
mod facts;
mod history;
mod inventory;
mod known_intervals;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

pub use self::as_of_table::{AsOfTable, Origin};
pub use self::columns::schema_on;
pub use self::copies::Copies;
pub use self::facts::SnapshotFacts;
pub use self::history::TableHistory;
pub use self::inventory::{TableInventory, footer_of, last_key, sentence};
pub use self::known_intervals::{HistorySettings, KnownIntervals};

/// Where rows may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowSource {
    /// Whichever is cheaper and known to be right.
    #[default]
    Auto,
    /// Snapshots alone.
    Snapshots,
    /// Intervals alone.
    Intervals,
}

/// The named columns of a schema, in its order.
fn select(schema: &Schema, columns: &[String]) -> SchemaRef {
    let columns: HashSet<&String> = columns.iter().collect();
    let fields = schema
        .fields()
        .iter()
        .filter(|field| columns.contains(field.name()))
        .cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
