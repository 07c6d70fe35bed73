//! Opening the snapshots of a pass: every footer is read before a row is.

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use crate::domain::digest::Fingerprint;
use crate::engine::compaction::pass::{Pass, Snapshots};
use crate::engine::table::{Snapshot, SnapshotTable};
use crate::error::Result;
use crate::parallel::{OrderedPool, Task};
use crate::source::Format;
use crate::storage::parquet::object::ParquetObject;

/// A snapshot whose footer has been read.
pub(in crate::engine::compaction) struct OpenedSnapshot {
    pub(in crate::engine::compaction) date: NaiveDate,
    pub(in crate::engine::compaction) schema: SchemaRef,
    /// The content of its rows as they are read, if the footer tells it, and as they are stored.
    pub(in crate::engine::compaction) known: Option<Fingerprint>,
    pub(super) stored: Option<Fingerprint>,
    pub(in crate::engine::compaction) object: ParquetObject,
}

/// Reads every footer; nothing, if a snapshot cannot be read by ranges of the key.
pub(in crate::engine::compaction) fn open(
    pass: &Pass<'_>,
    days: Snapshots<'_>,
) -> Result<Option<Vec<OpenedSnapshot>>> {
    let single = |objects: &[_]| {
        objects.len() == 1
            && pass
                .table
                .format_of(objects)
                .is_ok_and(|format| format == Format::Parquet)
    };
    if !days.iter().all(|(_, objects)| single(objects)) {
        return Ok(None);
    }
    let task = |(date, objects): &(NaiveDate, Vec<_>)| -> Task<Option<OpenedSnapshot>> {
        let table = pass.table.clone();
        let date = *date;
        let objects = objects.clone();
        Box::new(move || open_one(&table, date, table.open(date, &objects, None)?))
    };
    let waiting = pass.table.footer_threads();
    let opened = OrderedPool::new(waiting, 2 * waiting, days.iter().map(task))?;
    opened.collect()
}

fn open_one(
    table: &SnapshotTable,
    date: NaiveDate,
    snapshot: Snapshot,
) -> Result<Option<OpenedSnapshot>> {
    let schema = snapshot.schema.clone();
    let footer = snapshot.footer.as_ref();
    let known = snapshot.fingerprint();
    let stored = footer.map(|footer| footer.fingerprint);
    let recorded_rows = footer.map(|footer| footer.rows);
    // Its rows are in the order of the key that it was written with.
    if footer.is_some_and(|footer| footer.key != table.key) {
        return Ok(None);
    }
    let Some(object) = snapshot.into_object()? else {
        return Ok(None);
    };
    if let Some(rows) = recorded_rows.filter(|rows| *rows != object.rows()) {
        let error = table.refuse(
            date,
            format!(
                "its footer says {rows} rows, and there are {}",
                object.rows()
            ),
        );
        return Err(error.hint(format!("asof verify {}", table.name)));
    }
    Ok(Some(OpenedSnapshot {
        date,
        schema,
        known,
        stored,
        object,
    }))
}
