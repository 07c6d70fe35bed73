//! The order of rows by their keys.
//!
//! Keys are encoded so that their bytes sort as they do ([`KeyEncoder`]). Most of those bytes are
//! the same in all keys of a run: what says that a value is not null, the high bytes of a number,
//! the beginning of a code. Eight of the others, the first eight, are a row's *prefix*. It is
//! sorted as one number, together with where the row stands, so that a comparison reads nothing
//! else; and often it is all in which keys differ. Where it is not, rows of equal prefixes are told
//! apart by their whole keys. Where it is, and short, prefix and place are one number of 64 bits
//! ([`Packing`]), or else one of 128.

use std::cmp::Ordering;

use arrow::array::RecordBatch;
use arrow::row::Rows;

use crate::domain::key_order::KeyEncoder;
use crate::error::Result;
use crate::parallel::map;

/// What the order of a row takes in memory at most: a [`PrefixedPlace`], and half of one while they
/// are merged.
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
struct PrefixedPlace(u128);

impl PrefixedPlace {
    fn new(prefix: u64, batch: usize, row: usize) -> Self {
        let place = (batch as u64) << 32 | row as u64;
        PrefixedPlace(u128::from(prefix) << 64 | u128::from(place))
    }

    fn prefix(self) -> u128 {
        self.0 >> 64
    }

    fn place(self) -> RowPlace {
        RowPlace((self.0 & u128::from(u64::MAX)) as u64)
    }
}

/// How a prefix that is all in which keys differ and a place are packed into 64 bits, the place in
/// the low ones.
#[derive(Clone, Copy)]
struct Packing {
    /// How many bits the number of a row in its batch has.
    row_bits: u32,
    /// How many bits a place has.
    place_bits: u32,
}

impl Packing {
    /// The packing for keys that differ in so many bytes; `None` if 64 bits are too few.
    fn of(differing: usize, batches: &[RecordBatch]) -> Option<Self> {
        let bits = |count: usize| usize::BITS - count.saturating_sub(1).leading_zeros();
        let most_rows = batches.iter().map(RecordBatch::num_rows).max()?;
        let row_bits = bits(most_rows);
        let place_bits = row_bits + bits(batches.len());
        let prefix_bits = 8 * u32::try_from(differing).ok()?;
        (prefix_bits > 0 && place_bits + prefix_bits <= u64::BITS).then_some(Packing {
            row_bits,
            place_bits,
        })
    }

    fn pack(self, prefix: u64, batch: usize, row: usize) -> u64 {
        prefix << self.place_bits | (batch as u64) << self.row_bits | row as u64
    }

    fn place(self, packed: u64) -> RowPlace {
        let place = packed & ((1 << self.place_bits) - 1);
        let row = place & ((1 << self.row_bits) - 1);
        RowPlace(place >> self.row_bits << 32 | row)
    }
}

/// The rows of one batch in the order of their keys, rows with equal keys in the order in which
/// they came, and what was seen of the keys. No order if the rows came in it.
///
/// # Errors
/// An internal failure to encode keys.
pub(super) fn order_of_batch(
    encoder: &KeyEncoder,
    batch: &RecordBatch,
) -> Result<(Option<Vec<RowPlace>>, BatchKeys)> {
    let keys = encoder.encode(batch)?;
    let (mut seen, ascends) = BatchKeys::of(&keys);
    if ascends {
        return Ok((None, seen));
    }
    let differing = differing_bytes(std::slice::from_ref(&seen));
    let prefix = prefix_of(&differing);
    let places: Vec<RowPlace> = match Packing::of(differing.len(), std::slice::from_ref(batch)) {
        Some(packing) => {
            let mut entries = Vec::with_capacity(keys.num_rows());
            let pack = |prefix, row| packing.pack(prefix, 0, row);
            add_entries(&mut entries, &keys, prefix, pack);
            entries.sort_unstable();
            entries
                .into_iter()
                .map(|entry| packing.place(entry))
                .collect()
        }
        None => {
            let whole = (differing.len() > PREFIX).then_some(std::slice::from_ref(&keys));
            let mut entries = Vec::with_capacity(keys.num_rows());
            let entry = |prefix, row| PrefixedPlace::new(prefix, 0, row);
            add_entries(&mut entries, &keys, prefix, entry);
            entries.sort_by(|one, other| compare(whole, *one, *other));
            entries.into_iter().map(PrefixedPlace::place).collect()
        }
    };
    let key = |place: Option<&RowPlace>| {
        place.map_or_else(Vec::new, |place| keys.row(place.indices().1).data().into())
    };
    seen.first = key(places.first());
    seen.last = key(places.last());
    Ok((Some(places), seen))
}

/// The rows of batches, each of which is in the order of its keys, in the order of all keys, rows
/// with equal keys in the order in which they came. `None` if they came in that order.
///
/// # Errors
/// An internal failure to encode keys.
pub(super) fn order(
    encoder: &KeyEncoder,
    batches: &[RecordBatch],
    seen: &[BatchKeys],
    threads: usize,
) -> Result<Option<Vec<RowPlace>>> {
    if seen.is_sorted_by(|before, after| before.last <= after.first) {
        return Ok(None);
    }
    let differing = differing_bytes(seen);
    let keys = if differing.len() > PREFIX {
        let keys = map(threads, batches, |batch| encoder.encode(batch));
        Some(keys.into_iter().collect::<Result<Vec<_>>>()?)
    } else {
        None
    };
    let prefix = prefix_of(&differing);
    let packing = Packing::of(differing.len(), batches);
    Ok(Some(match packing.filter(|_| keys.is_none()) {
        Some(packing) => {
            let entries = sorted_entries(batches, threads, u64::cmp, |number, entries| {
                let pack = |prefix, row| packing.pack(prefix, number, row);
                let keys = encoder.encode(&batches[number])?;
                add_entries(entries, &keys, prefix, pack);
                Ok(())
            })?;
            entries
                .into_iter()
                .map(|entry| packing.place(entry))
                .collect()
        }
        None => {
            let compare =
                |one: &PrefixedPlace, other: &PrefixedPlace| compare(keys.as_deref(), *one, *other);
            let entries = sorted_entries(batches, threads, compare, |number, entries| {
                let entry = |prefix, row| PrefixedPlace::new(prefix, number, row);
                match &keys {
                    Some(keys) => add_entries(entries, &keys[number], prefix, entry),
                    None => {
                        let keys = encoder.encode(&batches[number])?;
                        add_entries(entries, &keys, prefix, entry);
                    }
                }
                Ok(())
            })?;
            entries.into_iter().map(PrefixedPlace::place).collect()
        }
    }))
}

/// The entries of all batches, sorted. `add` adds those of one, by its number.
fn sorted_entries<E: Send>(
    batches: &[RecordBatch],
    threads: usize,
    compare: impl Fn(&E, &E) -> Ordering + Sync,
    add: impl Fn(usize, &mut Vec<E>) -> Result<()> + Sync,
) -> Result<Vec<E>> {
    let share = batches.len().div_ceil(threads.max(1)).max(1);
    let starts: Vec<usize> = (0..batches.len()).step_by(share).collect();
    let sorted = map(threads, &starts, |start| -> Result<Vec<E>> {
        let numbers = *start..(start + share).min(batches.len());
        let rows = batches[numbers.clone()].iter().map(RecordBatch::num_rows);
        let mut entries = Vec::with_capacity(rows.sum());
        for number in numbers {
            add(number, &mut entries)?;
        }
        // The sort finds what is sorted already, as each batch is, and merges it.
        entries.sort_by(&compare);
        Ok(entries)
    });
    let mut sorted = sorted.into_iter();
    let mut entries = sorted.next().unwrap_or_else(|| Ok(Vec::new()))?;
    for others in sorted {
        entries.append(&mut others?);
    }
    entries.sort_by(compare);
    Ok(entries)
}

fn prefix_of(differing: &[usize]) -> &[usize] {
    &differing[..differing.len().min(PREFIX)]
}

/// Adds an entry for each row, which `entry` makes of the row's prefix and its number.
fn add_entries<E>(
    entries: &mut Vec<E>,
    keys: &Rows,
    prefix: &[usize],
    entry: impl Fn(u64, usize) -> E,
) {
    entries.extend(keys.iter().enumerate().map(|(row, key)| {
        let key = key.data();
        let prefix = prefix.iter().fold(0, |prefix, at| {
            prefix << 8 | u64::from(key.get(*at).copied().unwrap_or(0))
        });
        entry(prefix, row)
    }));
}

/// Compares two rows by their keys, where prefixes do not tell all of them, and else as they came.
fn compare(keys: Option<&[Rows]>, one: PrefixedPlace, other: PrefixedPlace) -> Ordering {
    let Some(keys) = keys else {
        return one.cmp(&other);
    };
    let key = |entry: PrefixedPlace| {
        let (batch, row) = entry.place().indices();
        keys[batch].row(row)
    };
    let by_prefix = one.prefix().cmp(&other.prefix());
    by_prefix
        .then_with(|| key(one).cmp(&key(other)))
        .then(one.cmp(&other))
}

/// What was seen of the keys of one batch.
pub(super) struct BatchKeys {
    /// The first in their order.
    first: Vec<u8>,
    /// The last in their order.
    last: Vec<u8>,
    /// One of them.
    sample: Vec<u8>,
    /// For each byte of a key, the bits in which keys differ from the sample.
    differing: Vec<u8>,
}

impl BatchKeys {
    /// What is seen of the keys of a batch that is in their order.
    ///
    /// # Errors
    /// An internal failure to encode keys.
    pub(super) fn of_sorted(encoder: &KeyEncoder, batch: &RecordBatch) -> Result<Self> {
        Ok(BatchKeys::of(&encoder.encode(batch)?).0)
    }

    /// What is seen of keys, the first and last of which are those that came first and last; and
    /// whether they ascend.
    fn of(keys: &Rows) -> (Self, bool) {
        let key = |row: Option<usize>| row.map_or_else(Vec::new, |row| keys.row(row).data().into());
        let first = key((keys.num_rows() > 0).then_some(0));
        let mut differing = Vec::new();
        let mut ascends = true;
        let mut before: &[u8] = &[];
        for row in keys.iter() {
            let key = row.data();
            ascends &= before <= key;
            before = key;
            add_difference(&mut differing, &first, key);
        }
        let seen = BatchKeys {
            sample: first.clone(),
            first,
            last: before.into(),
            differing,
        };
        (seen, ascends)
    }
}

/// The bytes of keys in which any two of them differ. A key that ends earlier counts as filled up
/// with zeros: no key is the beginning of another one, so that changes no order.
fn differing_bytes(seen: &[BatchKeys]) -> Vec<usize> {
    let mut differing = Vec::new();
    for keys in seen {
        add_difference(&mut differing, &seen[0].sample, &keys.sample);
        add_difference(&mut differing, &keys.differing, &[]);
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
