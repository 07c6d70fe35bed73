use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use chrono::Days;
use proptest::prelude::*;

use super::super::hash_compaction::HashCompaction;
use super::*;

fn day(number: usize) -> NaiveDate {
    NaiveDate::default() + Days::new(number as u64)
}

/// Rows (key, value); the key is two columns.
fn piece(rows: &[(u8, u8)]) -> SortedRows {
    SortedRows {
        keys: vec![
            Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|(key, _)| i64::from(key / 4)),
            )),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|(key, _)| "x".repeat(usize::from(key % 4))),
            )),
        ],
        values: vec![Arc::new(
            rows.iter()
                .map(|(_, value)| (*value > 0).then_some(i64::from(*value)))
                .collect::<Int64Array>(),
        )],
    }
}

fn pieces(rows: &[(u8, u8)], size: usize) -> Vec<SortedRows> {
    rows.chunks(size).map(piece).collect()
}

/// Every interval as key, value, first day and end.
type Intervals = Vec<(u8, u8, usize, Option<NaiveDate>)>;

/// The keys that differ, with the rows of those that are there, and what was done to them.
fn edits(before: &BTreeMap<u8, u8>, after: &BTreeMap<u8, u8>) -> (Vec<(u8, u8)>, Vec<Edit>) {
    let keys: BTreeSet<u8> = before.keys().chain(after.keys()).copied().collect();
    let edit = |key: u8| match (before.get(&key), after.get(&key)) {
        (None, Some(value)) => Some(((key, *value), Edit::Added)),
        (Some(value), None) => Some(((key, *value), Edit::Removed)),
        (one, other) if one != other => Some(((key, *other?), Edit::Changed)),
        _ => None,
    };
    keys.into_iter().filter_map(edit).unzip()
}

/// Takes each snapshot by its rows, or, where `by_edits` says so and no gap comes before, by
/// what it changed.
fn merged(
    policy: GapPolicy,
    days: &[(usize, BTreeMap<u8, u8>)],
    size: usize,
    resume_after: usize,
    by_edits: &[bool],
) -> (Intervals, Vec<Changes>) {
    let mut pass = MergeCompaction::after(policy, Vec::new());
    let mut rows = Vec::new();
    let mut changes = Vec::new();
    for (index, (date, snapshot)) in days.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &days[before]);
        let joins = before.is_some_and(|(before, _)| policy.joins(day(*before), day(*date)));
        let before = before.map(|(_, rows)| rows.clone()).unwrap_or_default();
        let (taken, given, size) = if joins && by_edits[index] {
            let (given, edits) = edits(&before, snapshot);
            (
                pass.apply(day(*date), &piece(&given).keys, &edits)
                    .expect("edits"),
                given,
                usize::MAX,
            )
        } else {
            if joins && pass.edited.is_some() {
                let known: Vec<(u8, u8)> = before.into_iter().collect();
                pass.settle(pieces(&known, size)).expect("those rows");
            }
            let given: Vec<(u8, u8)> = snapshot.iter().map(|(key, value)| (*key, *value)).collect();
            (
                pass.take(day(*date), pieces(&given, size), &[])
                    .expect("sorted"),
                given,
                size,
            )
        };
        changes.push(taken.changes);
        for (piece, opened) in taken.opened.iter().enumerate() {
            rows.extend(
                opened
                    .iter()
                    .map(|row| (given[piece.wrapping_mul(size) + *row as usize], *date)),
            );
        }
        if index + 1 == resume_after {
            // Begin anew from the intervals so far.
            let ends = pass.finish();
            let mut known: Vec<_> = (0u32..)
                .zip(&rows)
                .map(|(number, (row, date))| (*row, *date, ends.end(number)))
                .collect();
            known.sort();
            let observed = days[..=index].iter().map(|(date, _)| day(*date)).collect();
            pass = MergeCompaction::after(policy, observed);
            let open: Vec<(u8, u8)> = known
                .iter()
                .filter(|(_, _, end)| end.is_none())
                .map(|(row, ..)| *row)
                .collect();
            let ends: Vec<Option<NaiveDate>> = known.iter().map(|(_, _, end)| *end).collect();
            rows = known
                .into_iter()
                .map(|(row, date, _)| (row, date))
                .collect();
            pass.resume(&ends, piece(&open)).expect("resumed");
        }
    }
    let ends = pass.finish();
    let mut all: Intervals = (0u32..)
        .zip(rows)
        .map(|(number, ((key, value), date))| (key, value, date, ends.end(number)))
        .collect();
    all.sort();
    (all, changes)
}

fn hashed(policy: GapPolicy, days: &[(usize, BTreeMap<u8, u8>)]) -> (Intervals, Vec<Changes>) {
    let mut pass = HashCompaction::new(policy);
    let mut rows = Vec::new();
    let mut changes = Vec::new();
    for (date, snapshot) in days {
        let (keys, values): (Vec<u128>, Vec<u128>) = snapshot
            .iter()
            .map(|(key, value)| (u128::from(*key), u128::from(*value)))
            .unzip();
        let mut opened = Vec::new();
        pass.begin(day(*date));
        pass.take(&keys, &values, None, &mut opened)
            .expect("no duplicates");
        changes.push(pass.end(day(*date)));
        rows.extend(
            opened
                .iter()
                .map(|row| (keys[*row as usize], values[*row as usize], *date)),
        );
    }
    let ends = pass.finish();
    let small = |value: u128| u8::try_from(value).expect("small");
    let mut all: Intervals = (0u32..)
        .zip(rows)
        .map(|(number, (key, value, date))| (small(key), small(value), date, ends.end(number)))
        .collect();
    all.sort();
    (all, changes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_merge_gives_the_intervals_that_a_map_gives(
        snapshots in prop::collection::vec((1usize..3, prop::collection::btree_map(0u8..200, 0u8..2, 0..200)), 1..6),
        size in 1usize..90, split in any::<bool>(), resume_after in 0usize..6,
        by_edits in prop::collection::vec(any::<bool>(), 6),
    ) {
        let mut date = 0;
        let days: Vec<(usize, BTreeMap<u8, u8>)> = snapshots.into_iter().map(|(step, rows)| { date += step; (date, rows) }).collect();
        let policy = if split { GapPolicy::Split } else { GapPolicy::CARRY };
        let (expected, changes) = hashed(policy, &days);
        let (merged, merged_changes) = merged(policy, &days, size, resume_after, &by_edits);
        prop_assert_eq!(merged, expected);
        prop_assert_eq!(merged_changes, changes);
    }
}

#[test]
fn keys_that_stand_twice_or_do_not_ascend_are_noticed_wherever_they_are() {
    let sorted: Vec<(u8, u8)> = (0..200).map(|key| (key, 1)).collect();
    for at in [1usize, 63, 64, 65, 130, 199] {
        for first in [false, true] {
            let mut pass = MergeCompaction::after(GapPolicy::CARRY, Vec::new());
            if !first {
                pass.take(day(0), pieces(&sorted, 64), &[]).expect("sorted");
            }
            let mut twice = sorted.clone();
            twice[at].0 = twice[at - 1].0;
            let found = pass
                .take(day(1), pieces(&twice, 50), &[])
                .expect_err("twice");
            assert!(
                matches!(found, MergeError::Duplicate { piece, row } if piece * 50 + row == at),
                "{at}: {found:?}"
            );

            let mut pass = MergeCompaction::after(GapPolicy::CARRY, Vec::new());
            if !first {
                pass.take(day(0), pieces(&sorted, 64), &[]).expect("sorted");
            }
            let mut swapped = sorted.clone();
            swapped.swap(at - 1, at);
            assert!(
                matches!(
                    pass.take(day(1), pieces(&swapped, 50), &[]),
                    Err(MergeError::Unordered)
                ),
                "{at}"
            );
        }
    }
}

#[test]
fn a_change_in_a_column_that_appeared_is_told_from_others() {
    let rows = |values: Vec<Option<i64>>, new: Vec<Option<i64>>| SortedRows {
        keys: vec![Arc::new(Int64Array::from_iter_values(
            0..values.len() as i64,
        ))],
        values: vec![
            Arc::new(Int64Array::from(values)),
            Arc::new(Int64Array::from(new)),
        ],
    };
    let mut pass = MergeCompaction::after(GapPolicy::CARRY, Vec::new());
    pass.take(day(0), vec![rows(vec![Some(1); 4], vec![None; 4])], &[])
        .expect("sorted");
    let second = rows(
        vec![Some(1), Some(2), Some(1), Some(2)],
        vec![None, None, Some(5), Some(5)],
    );
    let taken = pass.take(day(1), vec![second], &[1]).expect("sorted");
    assert_eq!(
        taken.changes,
        Changes {
            changed: 3,
            by_new_columns: 1,
            ..Changes::default()
        }
    );
    assert_eq!(
        (taken.opened, pass.intervals(), pass.open_intervals()),
        (vec![vec![1, 2, 3]], 7, 4)
    );
}

#[test]
fn edits_and_rows_that_do_not_fit_are_noticed() {
    let snapshot: Vec<(u8, u8)> = (0..40).map(|key| (2 * key, 1)).collect();
    let pass = || {
        let mut pass = MergeCompaction::after(GapPolicy::CARRY, Vec::new());
        pass.take(day(0), pieces(&snapshot, 7), &[])
            .expect("sorted");
        pass
    };
    let apply = |pass: &mut MergeCompaction, number: usize, key: u8, edit: Edit| {
        pass.apply(day(number), &piece(&[(key, 2)]).keys, &[edit])
    };
    for (key, edit) in [
        (4, Edit::Added),
        (5, Edit::Removed),
        (5, Edit::Changed),
        (200, Edit::Changed),
    ] {
        assert!(
            matches!(apply(&mut pass(), 1, key, edit), Err(MergeError::Unfit)),
            "{key} {edit:?}"
        );
    }
    let mut gone = pass();
    apply(&mut gone, 1, 4, Edit::Removed).expect("it was there");
    assert_eq!(gone.open_intervals(), 39);
    assert!(matches!(
        gone.settle(pieces(&snapshot, 40)),
        Err(MergeError::Unfit)
    ));
    let mut gone = pass();
    apply(&mut gone, 1, 4, Edit::Removed).expect("it was there");
    assert!(matches!(
        gone.take(day(2), pieces(&snapshot, 40), &[]),
        Err(MergeError::Failed(_))
    ));
    let mut first = MergeCompaction::after(GapPolicy::CARRY, Vec::new());
    assert!(matches!(
        apply(&mut first, 0, 4, Edit::Added),
        Err(MergeError::Unfit)
    ));
}

#[test]
fn two_open_intervals_of_one_key_are_noticed() {
    let mut pass = MergeCompaction::after(GapPolicy::CARRY, vec![day(0)]);
    assert!(matches!(
        pass.resume(&[None, None], piece(&[(1, 1), (1, 2)])),
        Err(MergeError::Duplicate { .. })
    ));
}
