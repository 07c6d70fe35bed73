//! Versions of a table's rows over a window of dates, from its snapshots: each snapshot is read once, and a row is given once for as
//! long as it stays the same.
//!
//! Of each snapshot the columns that a join needs are read, and only rows for which its condition holds count. Two rows are the same if
//! the digests of these columns are ([`crate::domain::digest`]). A snapshot whose footer has the fingerprint of the one before is not read.
//!
//! Memory: the rows that are given, since it is the last snapshot that tells how long they hold; per key that is present 48 bytes and the
//! map's slack; per thread the rows of a snapshot.

use chrono::NaiveDate;
use hashbrown::HashMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::join::{JoinColumns, Timed};
use super::table::Table;
use crate::domain::digest::{Fingerprint, row_digests};
use crate::domain::interval::Interval;
use crate::error::{Context, Error, Result};
use crate::phases::Phase;
use crate::storage::location::Object;

/// A snapshot that is to be read.
pub struct Dated {
    /// Its date.
    pub date: NaiveDate,
    /// Where it is.
    pub objects: Vec<Object>,
    /// Its content.
    pub fingerprint: Fingerprint,
}

/// A row that is present, by its key.
struct Present {
    row: u128,
    /// The number of its version.
    version: u32,
    /// The snapshot it was last seen in.
    seen: u32,
}

/// The versions of own snapshots, which come in order of their dates. A version holds up to the last of these dates on which it was
/// seen; of dates in between that have no snapshot here nothing is said.
///
/// # Errors
/// A failure or refusal of reading any of the snapshots; a refusal for a key that stands twice in one.
pub fn versions_of_snapshots(table: &Table, snapshots: &[Dated], columns: &JoinColumns, threads: usize) -> Result<Timed> {
    let mut present: HashMap<u128, Present> = HashMap::new();
    let mut last_seen: Vec<u32> = Vec::new();
    let mut opened: Vec<(u32, RecordBatch)> = Vec::new();
    let dates: Vec<NaiveDate> = snapshots.iter().map(|snapshot| snapshot.date).collect();
    let same = |at: usize| at > 0 && snapshots[at - 1].fingerprint == snapshots[at].fingerprint;
    let all: Vec<usize> = (0..snapshots.len()).collect();
    for group in all.chunks(threads.max(1)) {
        let read = |at: &usize| if same(*at) { Ok(None) } else { rows_of(table, &snapshots[*at], columns).map(Some) };
        let each: Vec<Result<Option<Vec<Digested>>>> = std::thread::scope(|scope| {
            let handles: Vec<_> = group.iter().map(|at| scope.spawn(move || read(at))).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        for (at, rows) in group.iter().zip(each) {
            let today = u32::try_from(*at).unwrap_or(u32::MAX);
            match rows? {
                Some(rows) => Phase::Compare.spend(|| take(today, rows, &mut present, &mut last_seen, &mut opened))?,
                // Whoever was there yesterday is there today.
                None => present.values_mut().filter(|present| present.seen + 1 == today).for_each(|present| {
                    present.seen = today;
                    last_seen[present.version as usize] = today;
                }),
            }
        }
    }
    let mut number = 0;
    Ok(Box::new(opened.into_iter().map(move |(from, batch)| {
        let start = dates[from as usize];
        let intervals =
            (number..number + batch.num_rows()).map(|version| Interval { start, end: Some(dates[last_seen[version] as usize]) });
        let timed = (batch.clone(), intervals.collect());
        number += batch.num_rows();
        Ok(timed)
    })))
}

/// Rows with the digests of their keys and of themselves.
type Digested = (RecordBatch, Vec<u128>, Vec<u128>);

/// The rows of a snapshot that count.
fn rows_of(table: &Table, snapshot: &Dated, columns: &JoinColumns) -> Result<Vec<Digested>> {
    let opened = table.open(snapshot.date, &snapshot.objects, None)?;
    if opened.footer.as_ref().is_none_or(|footer| footer.fingerprint != snapshot.fingerprint) {
        return Err(Error::io(format!("table {}, {}: the snapshot was replaced meanwhile", table.name, snapshot.date)).hint("run it again"));
    }
    let mut rows = Vec::new();
    let names = columns.names();
    let batches = match columns.condition() {
        Some(condition) => opened.read_where(&names, condition)?,
        None => opened.read(Some(&names))?,
    };
    for batch in batches {
        let (batch, _) = columns.matching(&batch?)?;
        let digests = row_digests(&batch, batch.schema_ref().fields().iter().map(|field| field.name().as_str()))?;
        rows.push((batch.clone(), table.keys(&batch, snapshot.date)?, digests));
    }
    Ok(rows)
}

/// Takes the rows of the snapshot `today`; those that are new or another than yesterday open a version.
fn take(
    today: u32,
    rows: Vec<Digested>,
    present: &mut HashMap<u128, Present>,
    last_seen: &mut Vec<u32>,
    opened: &mut Vec<(u32, RecordBatch)>,
) -> Result<()> {
    for (batch, keys, digests) in rows {
        let mut new = Vec::new();
        for (at, (key, row)) in (0u32..).zip(keys.into_iter().zip(digests)) {
            if let Some(known) = present.get_mut(&key) {
                if known.seen == today {
                    return Err(Error::refused("two rows of one key hold on one date").hint("asof verify"));
                }
                if known.row == row && known.seen + 1 == today {
                    known.seen = today;
                    last_seen[known.version as usize] = today;
                    continue;
                }
            }
            let version = u32::try_from(last_seen.len()).map_err(|_| Error::refused("more than 4,294,967,295 versions in one join"))?;
            present.insert(key, Present { row, version, seen: today });
            last_seen.push(today);
            new.push(at);
        }
        if !new.is_empty() {
            let batch = take_record_batch(&batch, &UInt32Array::from(new)).io_context(|| "cannot select rows".into())?;
            opened.push((today, batch));
        }
    }
    Ok(())
}
