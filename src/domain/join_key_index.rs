//! Where each key of a join stands: the map from keys to numbers, and the filter before it.

use std::hash::{BuildHasher, Hash, RandomState};

use arrow::array::Array;
use arrow::buffer::NullBuffer;
use hashbrown::HashMap;

use super::join_keys::{GatheredKeys, JoinKeys, KeyKind};

/// In the place of a row's number: there is none.
pub const NO_ROW: u32 = u32::MAX;
/// An array over a range of integers is used if the range is at most this many times their number.
const SPARSEST: u64 = 8;

/// Where each key stands.
pub(super) enum JoinKeyIndex {
    /// At its distance from the least one.
    Close(i64),
    Integers(HashMap<i64, u32>, KeyFilter),
    Digests(HashMap<u128, u32>, KeyFilter),
}

impl JoinKeyIndex {
    /// A place for each different key, which is told to each row; and how many places there are.
    pub(super) fn of<'a>(
        keys: &GatheredKeys,
        rows: impl Iterator<Item = &'a mut u32>,
    ) -> (Self, usize) {
        match keys {
            GatheredKeys::Integers(keys) => JoinKeyIndex::of_integers(keys, rows),
            GatheredKeys::Digests(keys) => JoinKeyIndex::of_digests(keys, rows),
        }
    }

    fn of_integers<'a>(keys: &[i64], rows: impl Iterator<Item = &'a mut u32>) -> (Self, usize) {
        let least = keys.iter().copied().min().unwrap_or_default();
        let greatest = keys.iter().copied().max().unwrap_or_default();
        let range = greatest.abs_diff(least);
        match u32::try_from(range) {
            Ok(length) if range < SPARSEST * keys.len() as u64 && length < NO_ROW => {
                for (place, key) in rows.zip(keys) {
                    *place = u32::try_from(close(*key, least)).unwrap_or(NO_ROW);
                }
                (JoinKeyIndex::Close(least), length as usize + 1)
            }
            _ => {
                let places = numbered(keys, rows);
                #[allow(clippy::cast_sign_loss, reason = "bits are mixed")]
                let filter = KeyFilter::of(places.keys().map(|key| *key as u64));
                let count = places.len();
                (JoinKeyIndex::Integers(places, filter), count)
            }
        }
    }

    fn of_digests<'a>(keys: &[u128], rows: impl Iterator<Item = &'a mut u32>) -> (Self, usize) {
        let places = numbered(keys, rows);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a digest is random in every part"
        )]
        let filter = KeyFilter::of(places.keys().map(|key| *key as u64));
        let count = places.len();
        (JoinKeyIndex::Digests(places, filter), count)
    }

    pub(super) fn kind(&self) -> KeyKind {
        match self {
            JoinKeyIndex::Close(..) | JoinKeyIndex::Integers(..) => KeyKind::Integers,
            JoinKeyIndex::Digests(..) => KeyKind::Digests,
        }
    }

    /// The row that each key meets; `row` says which one an event meets at a key's place. A key
    /// that is null meets none.
    pub(super) fn met(&self, keys: &JoinKeys, row: impl Fn(usize, usize) -> u32) -> Vec<u32> {
        let put = |events: Vec<u32>, places: Vec<Option<u32>>| {
            let mut rows = vec![NO_ROW; keys.len()];
            for (event, place) in events.into_iter().zip(places) {
                let event = event as usize;
                rows[event] = place.map_or(NO_ROW, |place| row(event, place as usize));
            }
            rows
        };
        match (self, keys) {
            (JoinKeyIndex::Close(least), JoinKeys::Integers(keys)) => {
                let mut rows: Vec<u32> = keys
                    .values()
                    .iter()
                    .enumerate()
                    .map(|(event, key)| row(event, close(*key, *least)))
                    .collect();
                if let Some(nulls) = keys.nulls().filter(|nulls| nulls.null_count() > 0) {
                    for (row, is_valid) in rows.iter_mut().zip(nulls) {
                        *row = if is_valid { *row } else { NO_ROW };
                    }
                }
                rows
            }
            #[allow(clippy::cast_sign_loss, reason = "bits are mixed")]
            (JoinKeyIndex::Integers(places, filter), JoinKeys::Integers(keys)) => {
                let events = indices(
                    keys.values(),
                    |key| filter.may_hold(*key as u64),
                    keys.nulls(),
                );
                let found = events
                    .iter()
                    .map(|event| places.get(&keys.value(*event as usize)).copied())
                    .collect();
                put(events, found)
            }
            #[allow(
                clippy::cast_possible_truncation,
                reason = "a digest is random in every part"
            )]
            (JoinKeyIndex::Digests(places, filter), JoinKeys::Digests(keys)) => {
                let events = indices(
                    keys,
                    |key| key.is_some_and(|key| filter.may_hold(key as u64)),
                    None,
                );
                let found = events
                    .iter()
                    .map(|event| places.get(&keys[*event as usize]?).copied())
                    .collect();
                put(events, found)
            }
            _ => vec![NO_ROW; keys.len()],
        }
    }
}

/// Numbers keys, and tells each row the number of its own.
fn numbered<'a, K: Copy + Eq + Hash>(
    keys: &[K],
    rows: impl Iterator<Item = &'a mut u32>,
) -> HashMap<K, u32> {
    let mut numbers = HashMap::new();
    for (place, key) in rows.zip(keys) {
        let next = u32::try_from(numbers.len()).unwrap_or(NO_ROW);
        *place = *numbers.entry(*key).or_insert(next);
    }
    numbers
}

/// Where a key stands in an array that begins with the least one; out of the array for one below.
fn close(key: i64, least: i64) -> usize {
    #[allow(
        clippy::cast_sign_loss,
        reason = "a key below the least wraps, and is beyond every array"
    )]
    usize::try_from(key.wrapping_sub(least) as u64).unwrap_or(usize::MAX)
}

/// The indices of the items that are wanted and not null. There is no branch that depends on an
/// item.
fn indices<T>(items: &[T], wanted: impl Fn(&T) -> bool, nulls: Option<&NullBuffer>) -> Vec<u32> {
    let mut indices = vec![0; items.len()];
    let mut count = 0;
    for (index, item) in (0u32..).zip(items) {
        indices[count] = index;
        count += usize::from(wanted(item));
    }
    indices.truncate(count);
    if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
        indices.retain(|index| nulls.is_valid(*index as usize));
    }
    indices
}

/// Which keys may be there: a bit for each, in about sixteen times as many bits as there are keys.
/// It is small enough to stay close to the processor.
pub(super) struct KeyFilter {
    bits: Vec<u64>,
    /// What a key's hash is shifted by to be the number of a bit.
    shift: u32,
    seed: u64,
}

impl KeyFilter {
    fn of(keys: impl ExactSizeIterator<Item = u64>) -> Self {
        let bits = (keys.len() * 8)
            .next_power_of_two()
            .saturating_mul(2)
            .max(64);
        let mut filter = KeyFilter {
            bits: vec![0; bits / 64],
            shift: 64 - bits.ilog2(),
            seed: RandomState::new().hash_one(0u8),
        };
        for key in keys {
            let bit = filter.bit(key);
            filter.bits[bit / 64] |= 1 << (bit % 64);
        }
        filter
    }

    fn bit(&self, key: u64) -> usize {
        usize::try_from((key ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift)
            .unwrap_or(0)
    }

    fn may_hold(&self, key: u64) -> bool {
        let bit = self.bit(key);
        self.bits
            .get(bit / 64)
            .is_some_and(|bits| bits >> (bit % 64) & 1 == 1)
    }
}
