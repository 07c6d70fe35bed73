//! The order of rows by their keys.
//!
//! Keys are encoded so that their bytes sort as they do ([`KeyEncoder`]). Most of those bytes are
//! the same in all keys of a run: what says that a value is not null, the high bytes of a number,
//! the beginning of a code. Eight of the others, the first eight, are a row's *prefix*. It is
//! sorted as one number, together with where the row stands, so that a comparison reads nothing
//! else; and often it is all in which keys differ. Where it is not, rows of equal prefixes are told
//! apart by their whole keys.

use std::cmp::Ordering;

use arrow::array::RecordBatch;
use arrow::row::Rows;

use crate::domain::key::KeyEncoder;
use crate::error::Result;
use crate::parallel::map;

/// What the order of a row takes in memory: an [`Entry`], and half of one while they are merged.
pub(super) const BYTES_PER_ROW: usize = 24;

/// How many bytes a prefix has.
const PREFIX: usize = 8;

/// The number of a batch, and that of a row in it, in the high bits and the low ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowPlace(u64);

impl RowPlace {
    /// The number of the batch, and that of the row in it.
    pub(super) fn indices(self) -> (usize, usize) {
        ((self.0 >> 32) as usize, (self.0 & 0xffff_ffff) as usize)
    }
}

/// The prefix of a row's key and its place, in the high bits and the low ones. So rows with equal
/// prefixes are in the order in which they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u128);

impl Entry {
    fn new(prefix: u64, batch: usize, row: usize) -> Self {
        let place = (batch as u64) << 32 | row as u64;
        Entry(u128::from(prefix) << 64 | u128::from(place))
    }

    fn prefix(self) -> u128 {
        self.0 >> 64
    }

    fn place(self) -> RowPlace {
        RowPlace((self.0 & u128::from(u64::MAX)) as u64)
    }
}

/// The rows of batches in the order of their keys, rows with equal keys in the order in which they
/// came. `None` if they came in that order.
///
/// # Errors
/// An internal failure to encode keys.
pub(super) fn order(
    encoder: &KeyEncoder,
    batches: &[RecordBatch],
    threads: usize,
) -> Result<Option<Vec<RowPlace>>> {
    let looks: Vec<BatchKeys> = map(threads, batches, |batch| {
        BatchKeys::at(&encoder.encode(batch)?)
    })
    .into_iter()
    .collect::<Result<_>>()?;
    if looks.iter().all(|look| look.ascends)
        && looks.is_sorted_by(|before, after| before.last <= after.first)
    {
        return Ok(None);
    }
    let differing = differing_bytes(&looks);
    drop(looks);
    let keys = if differing.len() > PREFIX {
        let keys = map(threads, batches, |batch| encoder.encode(batch));
        Some(keys.into_iter().collect::<Result<Vec<_>>>()?)
    } else {
        None
    };
    let prefix = &differing[..differing.len().min(PREFIX)];
    let compare = |one: &Entry, other: &Entry| compare(keys.as_deref(), *one, *other);
    let share = batches.len().div_ceil(threads.max(1)).max(1);
    let starts: Vec<usize> = (0..batches.len()).step_by(share).collect();
    let sorted = map(threads, &starts, |start| -> Result<Vec<Entry>> {
        let batches = &batches[*start..(start + share).min(batches.len())];
        let mut entries = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for (number, batch) in (*start..).zip(batches) {
            match &keys {
                Some(keys) => add_entries(&mut entries, number, &keys[number], prefix),
                None => add_entries(&mut entries, number, &encoder.encode(batch)?, prefix),
            }
        }
        // The sort finds what is sorted already, as each batch is, and merges it.
        entries.sort_by(compare);
        Ok(entries)
    });
    let mut sorted = sorted.into_iter();
    let mut entries = sorted.next().unwrap_or_else(|| Ok(Vec::new()))?;
    for others in sorted {
        entries.append(&mut others?);
    }
    entries.sort_by(compare);
    Ok(Some(entries.into_iter().map(Entry::place).collect()))
}

fn add_entries(entries: &mut Vec<Entry>, batch: usize, keys: &Rows, prefix: &[usize]) {
    for (row, key) in keys.iter().enumerate() {
        let key = key.data();
        let prefix = prefix.iter().fold(0, |prefix, at| {
            prefix << 8 | u64::from(key.get(*at).copied().unwrap_or(0))
        });
        entries.push(Entry::new(prefix, batch, row));
    }
}

/// Compares two rows by their keys, where prefixes do not tell all of them, and else as they came.
fn compare(keys: Option<&[Rows]>, one: Entry, other: Entry) -> Ordering {
    let Some(keys) = keys else {
        return one.cmp(&other);
    };
    let key = |entry: Entry| {
        let (batch, row) = entry.place().indices();
        keys[batch].row(row)
    };
    let by_prefix = one.prefix().cmp(&other.prefix());
    by_prefix
        .then_with(|| key(one).cmp(&key(other)))
        .then(one.cmp(&other))
}

/// What is seen of the keys of one batch.
struct BatchKeys {
    ascends: bool,
    first: Vec<u8>,
    last: Vec<u8>,
    /// For each byte of a key, the bits in which keys differ from the first.
    differing: Vec<u8>,
}

impl BatchKeys {
    fn at(keys: &Rows) -> Result<Self> {
        let key = |row: Option<usize>| row.map_or_else(Vec::new, |row| keys.row(row).data().into());
        let mut look = BatchKeys {
            ascends: true,
            first: key((keys.num_rows() > 0).then_some(0)),
            last: key(keys.num_rows().checked_sub(1)),
            differing: Vec::new(),
        };
        let mut before: &[u8] = &[];
        for row in keys.iter() {
            let key = row.data();
            look.ascends &= before <= key;
            before = key;
            add_difference(&mut look.differing, &look.first, key);
        }
        Ok(look)
    }
}

/// The bytes of keys in which any two of them differ. A key that ends earlier counts as filled up
/// with zeros: no key is the beginning of another one, so that changes no order.
fn differing_bytes(looks: &[BatchKeys]) -> Vec<usize> {
    let mut differing = Vec::new();
    for look in looks {
        add_difference(&mut differing, &looks[0].first, &look.first);
        add_difference(&mut differing, &look.differing, &[]);
    }
    let is_differing = |(at, bits): (usize, u8)| (bits != 0).then_some(at);
    differing
        .into_iter()
        .enumerate()
        .filter_map(is_differing)
        .collect()
}

fn add_difference(bits: &mut Vec<u8>, one: &[u8], other: &[u8]) {
    let longest = one.len().max(other.len());
    if bits.len() < longest {
        bits.resize(longest, 0);
    }
    let both = one.len().min(other.len());
    for (bits, (one, other)) in bits.iter_mut().zip(one.iter().zip(other)) {
        *bits |= one ^ other;
    }
    let rest = one[both..].iter().chain(&other[both..]);
    for (bits, byte) in bits[both..].iter_mut().zip(rest) {
        *bits |= byte;
    }
}
