//! The kernels, one by one, for those who change them: `cargo bench --bench kernels [NAME]`.
//!
//! Everything is in memory: no files, no threads. Rows a second are what to look at.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use asof::domain::digest::{key_digests, row_digests};
use asof::domain::gaps::GapPolicy;
use asof::domain::hash_compaction::HashCompaction;
use asof::domain::interval::Interval;
use asof::domain::join::{JoinKeys, JoinKind, KeyKind, VersionsBuilder};
use asof::domain::merge_compaction::{MergeCompaction, SortedRows};
use chrono::{Days, NaiveDate};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

/// Rows of a snapshot, and of one piece of it.
const ROWS: i64 = 262_144;
const PIECE: i64 = 8192;

fn main() {
    divan::main();
}

fn day(number: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date") + Days::new(number)
}

/// A number that looks random.
fn mix(key: i64, salt: i64) -> i64 {
    let x = (key ^ salt.wrapping_mul(0x1e37_79b9_7f4a_7c15)).wrapping_mul(0x3f58_476d_1ce4_e5b9);
    (x ^ (x >> 31)).wrapping_mul(0x14d0_49bb_1331_11eb) >> 33
}

/// What the key is made of.
#[derive(Clone, Copy, Debug)]
enum Key {
    Integer,
    Text,
    Composite,
}

const KEYS: [Key; 3] = [Key::Integer, Key::Text, Key::Composite];

fn keys(kind: Key, ids: std::ops::Range<i64>) -> Vec<ArrayRef> {
    let integers: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone()));
    let texts = |ids: std::ops::Range<i64>| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            ids.map(|id| format!("SKU-{id:012}")),
        ))
    };
    match kind {
        Key::Integer => vec![integers],
        Key::Text => vec![texts(ids)],
        Key::Composite => {
            vec![
                Arc::new(Int32Array::from_iter_values(
                    ids.clone()
                        .map(|id| i32::try_from(id / 1000).expect("small")),
                )),
                texts(ids),
            ]
        }
    }
}

/// Six columns beside the key; `changed` rows of 1,000 have another price than on day 0.
fn values(ids: std::ops::Range<i64>, changed: i64) -> Vec<ArrayRef> {
    let price = |id: i64| mix(id, i64::from(mix(id, 77).rem_euclid(1000) < changed)) % 100_000;
    #[allow(clippy::cast_precision_loss, reason = "a price")]
    let prices = Float64Array::from_iter_values(ids.clone().map(|id| price(id) as f64 / 100.0));
    vec![
        Arc::new(StringArray::from_iter_values(
            ids.clone().map(|id| format!("item number {id}")),
        )),
        Arc::new(StringArray::from_iter_values(ids.clone().map(|id| {
            ["ACTIVE", "PAUSED", "GONE"][usize::try_from(id % 3).expect("small")]
        }))),
        Arc::new(prices),
        Arc::new(Int32Array::from_iter_values(ids.clone().map(|id| {
            i32::try_from(mix(id, 3).rem_euclid(1000)).expect("small")
        }))),
        Arc::new(StringArray::from_iter_values(
            ids.clone()
                .map(|id| format!("category {}", mix(id, 4).rem_euclid(500))),
        )),
        Arc::new(Date32Array::from_iter_values(
            ids.map(|id| 19_000 + i32::try_from(id % 100).expect("small")),
        )),
    ]
}

fn snapshot(kind: Key, changed: i64) -> Vec<SortedRows> {
    let piece = |start: i64| SortedRows {
        keys: keys(kind, start..start + PIECE),
        values: values(start..start + PIECE, changed),
    };
    (0..ROWS)
        .step_by(usize::try_from(PIECE).expect("small"))
        .map(piece)
        .collect()
}

/// A snapshot beside the one before, of whose rows some in a thousand have changed.
#[divan::bench(args = [0, 1, 10, 100])]
fn merge_changed_per_thousand(bencher: Bencher<'_, '_>, changed: i64) {
    merge(
        bencher,
        snapshot(Key::Integer, 0),
        snapshot(Key::Integer, changed),
    );
}

#[divan::bench(args = KEYS)]
fn merge_keys(bencher: Bencher<'_, '_>, key: Key) {
    merge(bencher, snapshot(key, 0), snapshot(key, 1));
}

fn merge(bencher: Bencher<'_, '_>, before: Vec<SortedRows>, after: Vec<SortedRows>) {
    let begun = || {
        let mut merge = MergeCompaction::after(GapPolicy::CARRY, Vec::new());
        merge.take(day(0), before.clone(), &[]).expect("sorted");
        (merge, after.clone())
    };
    let bencher = bencher.counter(ItemsCount::new(ROWS.unsigned_abs()));
    bencher
        .with_inputs(begun)
        .bench_local_values(|(mut merge, after)| {
            black_box(merge.take(day(1), after, &[]).expect("sorted"))
        });
}

/// The same with a map from digests of keys to those of rows, as for snapshots that are not sorted.
#[divan::bench]
fn map(bencher: Bencher<'_, '_>) {
    let (keys, rows): (Vec<u128>, Vec<u128>) =
        (0..ROWS).map(|id| (digest(id, 1), digest(id, 2))).unzip();
    let begun = || {
        let mut pass = HashCompaction::new(GapPolicy::CARRY);
        pass.begin(day(0));
        pass.take(&keys, &rows, None, &mut Vec::new())
            .expect("no duplicates");
        pass.end(day(0));
        pass.begin(day(1));
        pass
    };
    let bencher = bencher.counter(ItemsCount::new(ROWS.unsigned_abs()));
    bencher
        .with_inputs(begun)
        .bench_local_values(|mut pass| black_box(pass.take(&keys, &rows, None, &mut Vec::new())));
}

fn digest(id: i64, salt: i64) -> u128 {
    u128::from(mix(id, salt).unsigned_abs()) << 64 | u128::from(mix(id, salt + 1).unsigned_abs())
}

/// Digests of rows, of which fingerprints are made.
#[divan::bench]
fn digest_rows(bencher: Bencher<'_, '_>) {
    let columns = keys(Key::Integer, 0..PIECE)
        .into_iter()
        .chain(values(0..PIECE, 0));
    let names = [
        "id",
        "name",
        "status",
        "price",
        "stock",
        "category",
        "changed_on",
    ];
    let batch = RecordBatch::try_from_iter(names.into_iter().zip(columns)).expect("a batch");
    let bencher = bencher.counter(ItemsCount::new(PIECE.unsigned_abs()));
    bencher.bench_local(|| row_digests(black_box(&batch), names).expect("digests"));
}

#[divan::bench(args = KEYS)]
fn digest_keys(bencher: Bencher<'_, '_>, key: Key) {
    let columns = keys(key, 0..PIECE);
    bencher
        .counter(ItemsCount::new(PIECE.unsigned_abs()))
        .bench_local(|| key_digests(black_box(&columns)).expect("digests"));
}

/// Events looked up in a build side whose keys are close integers, integers that are not, or
/// digests; every fourth key is there.
#[divan::bench(args = [(KeyKind::Integers, 4), (KeyKind::Integers, 1_000), (KeyKind::Digests, 4)])]
fn probe(bencher: Bencher<'_, '_>, (kind, apart): (KeyKind, i64)) {
    let column = |ids: Vec<i64>| -> [ArrayRef; 1] { [Arc::new(Int64Array::from(ids))] };
    let mut builder = VersionsBuilder::new(kind);
    let always = Interval {
        start: day(0),
        end: None,
    };
    let table = column((0..ROWS).map(|id| id * apart).collect());
    let keys = JoinKeys::of(kind, &table).expect("keys");
    builder
        .push(&keys, &vec![always; table[0].len()])
        .expect("no nulls");
    let versions = builder.finish().expect("no key stands twice");
    let on = versions.on(day(1));
    let met = |event: i64| mix(event, 3) % ROWS * apart + i64::from(mix(event, 4) % 4 != 0);
    let events = column((0..PIECE).map(met).collect());
    let bencher = bencher.counter(ItemsCount::new(PIECE.unsigned_abs()));
    bencher.bench_local(|| {
        on.probe(
            JoinKind::Inner,
            &JoinKeys::of(kind, black_box(&events)).expect("keys"),
        )
    });
}
