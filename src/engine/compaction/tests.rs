#[cfg(feature = "sql")]
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "sql")]
use arrow::array::Array;
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, SchemaRef};
use chrono::{Days, NaiveDate};

use super::*;
use crate::domain::compared_columns::Comparison;
use crate::domain::digest::RowSum;
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::Convention;
use crate::domain::layout::Layout;
use crate::engine::changes;
#[cfg(feature = "sql")]
use crate::engine::intervals::split;
use crate::engine::intervals::{IntervalBatch, Intervals};
use crate::engine::selection::Selection;
use crate::engine::table::{SnapshotTable, all_digests};
use crate::engine::table_part::{ChooseRows, TablePart};
use crate::error::Context;
use crate::memory::MemoryBudget;
use crate::source::TypeRules;
use crate::storage::lake::LakeRoot;
use crate::storage::lake::location::{Location, Object};
use crate::storage::parquet::footer::{Content, Footer, IntervalsFooter, SnapshotFooter};
use crate::storage::parquet::writer::ObjectWriter;

const DAYS: u64 = 5;

fn day(number: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date") + Days::new(number)
}

/// A number that looks random.
fn mix(key: u64, salt: u64) -> u64 {
    let x = (key ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33
}

/// The rows of a day, in order of the key `(region, id)`: some change, some come and go, and from
/// the fourth day on there is a column more, and `price` is wider.
fn rows(number: u64, keys: u64) -> RecordBatch {
    rows_of(number, 0..keys, keys)
}

/// The same of some keys.
fn rows_of(number: u64, some: std::ops::Range<u64>, keys: u64) -> RecordBatch {
    let changes = |key: u64| {
        (0..=number)
            .rev()
            .find(|day| mix(key, *day).is_multiple_of(50))
            .unwrap_or(0)
    };
    let present: Vec<u64> = some
        .filter(|key| !mix(*key, 1000 + number).is_multiple_of(100))
        .collect();
    let price = |key: &u64| i32::try_from(mix(*key, 7000 + changes(*key)) % 1000).expect("small");
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (
            "region",
            Arc::new(StringArray::from_iter_values(
                present
                    .iter()
                    .map(|key| if key * 3 < keys { "east" } else { "west" }),
            )),
        ),
        (
            "id",
            Arc::new(Int64Array::from_iter_values(
                present
                    .iter()
                    .map(|key| i64::try_from(*key).expect("small") * 3),
            )),
        ),
        (
            "name",
            Arc::new(
                present
                    .iter()
                    .map(|key| (key % 7 > 0).then(|| format!("name {}", mix(*key, 5))))
                    .collect::<StringArray>(),
            ),
        ),
    ];
    if number < 3 {
        columns.push((
            "price",
            Arc::new(Int32Array::from_iter_values(present.iter().map(price))),
        ));
    } else {
        columns.push((
            "price",
            Arc::new(Float64Array::from_iter_values(
                present.iter().map(|key| f64::from(price(key))),
            )),
        ));
        columns.push((
            "tag",
            Arc::new(
                present
                    .iter()
                    .map(|key| (key % 90 == 0).then(|| key.to_string()))
                    .collect::<StringArray>(),
            ),
        ));
    }
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .expect("a batch")
}

fn key() -> Vec<String> {
    vec!["region".to_owned(), "id".to_owned()]
}

fn write(path: &Path, batch: RecordBatch, footer: Content) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let file = File::create(path).expect("a file");
    let mut writer =
        ObjectWriter::create(file, &batch.schema(), &[], &Location::local(path)).expect("a writer");
    writer.write(batch).expect("written");
    writer.finish(&Footer::new(footer)).expect("finished");
}

/// A lake of own snapshots; the third day equals the second.
struct Fixture {
    folder: tempfile::TempDir,
    table: SnapshotTable,
    settings: Settings,
    part: Option<TablePart>,
}

impl Fixture {
    fn new(keys: u64, policy: GapPolicy, ignore: &[&str]) -> Self {
        Fixture::of(policy, ignore, |number| rows(number, keys))
    }

    fn of(policy: GapPolicy, ignore: &[&str], rows: impl Fn(u64) -> RecordBatch) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..DAYS {
            let batch = rows(if number == 2 { 1 } else { number });
            let mut sum = RowSum::default();
            sum.add(&all_digests(&batch).expect("digests"));
            let date = day(number * 2);
            let footer = SnapshotFooter {
                table: "item".into(),
                snapshot_date: date,
                key: key(),
                rows: sum.rows(),
                fingerprint: sum.fingerprint(),
                source: None,
                dated_source: None,
                taken_at: None,
                published_at: None,
                backdated: false,
                forced: vec![],
                refused: Vec::new(),
                absent: None,
                dedup: None,
                dropped_rows: None,
                not_compared: None,
                asof_version: "test".into(),
            };
            let path = folder
                .path()
                .join(format!("item/snapshots/snapshot_date={date}/item.parquet"));
            write(&path, batch, Content::Snapshot(footer));
        }
        let table = SnapshotTable {
            dedup: None,
            dedup_is_given: false,
            has_source_of_dates: false,
            name: "item".parse().expect("a name"),
            key: key(),
            key_is_given: false,
            root: Location::local(folder.path().join("item/snapshots")),
            layout: LakeRoot::layout().expect("a layout"),
            own: true,
            types: TypeRules::default(),
            format: crate::source::FormatRule::default(),
            dated: None,
        };
        let ignore = ignore.iter().map(|name| (*name).to_owned()).collect();
        let comparison = Comparison {
            key: key(),
            ignore,
            track: vec![],
        };
        let part = None;
        Fixture {
            folder,
            table,
            part,
            settings: Settings {
                policy,
                convention: Convention::default(),
                comparison,
                selection: Selection::default(),
            },
        }
    }

    fn days(&self) -> Vec<(NaiveDate, Vec<Object>)> {
        self.table
            .find(None)
            .expect("found")
            .partitions
            .into_iter()
            .collect()
    }

    fn pass<'a>(&'a self, base: Option<&'a Base>, memory: u64) -> Pass<'a> {
        let part = self.part.as_ref();
        Pass {
            table: &self.table,
            settings: &self.settings,
            base,
            part,
            memory: MemoryBudget(memory),
            threads: 2,
            step: &|_, _| {},
        }
    }

    /// The same, of some rows and columns.
    #[cfg(feature = "sql")]
    fn selecting(mut self, condition: Option<&str>, select: &[&str]) -> Self {
        let select: Vec<String> = select.iter().map(|name| (*name).to_owned()).collect();
        self.settings.selection = Selection::new(condition.map(str::to_owned), &select, &key());
        self.part = self.settings.selection.part().expect("an expression");
        self
    }

    /// The intervals of the first days, as a later pass takes them over.
    fn base(&self, days: usize) -> Base {
        let mut taken = Taken::default();
        let facts = self
            .pass(None, 1 << 30)
            .run(&self.days()[..days], &mut taken)
            .expect("compacted");
        let path = self.folder.path().join("item/intervals/item.parquet");
        let Settings {
            policy,
            convention,
            comparison,
            selection,
        } = &self.settings;
        let footer = IntervalsFooter {
            dedup: None,
            table: "item".into(),
            key: comparison.key.clone(),
            intervals: facts.intervals,
            convention: convention.into(),
            gaps: (*policy).into(),
            ignore: comparison.ignore.clone(),
            track: vec![],
            condition: selection.condition.clone(),
            select: selection.select.clone(),
            observed: facts.observed.clone(),
            schemas: facts
                .schemas
                .iter()
                .map(|schema| crate::engine::intervals::write_schema(schema))
                .collect(),
            types: std::collections::BTreeMap::new(),
            asof_version: "test".into(),
        };
        write(&path, taken.all(), Content::Intervals(footer));
        let intervals = Intervals::open(&Location::local(path))
            .expect("opened")
            .expect("there");
        Base {
            intervals: Arc::new(intervals),
            kept: days,
        }
    }
}

/// Keeps rows, and counts how often they began.
#[derive(Default)]
struct Taken {
    schema: Option<SchemaRef>,
    rows: Vec<RecordBatch>,
}

impl Sink for Taken {
    fn begin(&mut self, _table: &SchemaRef, schema: &SchemaRef) -> Result<()> {
        self.schema = Some(schema.clone());
        self.rows.clear();
        Ok(())
    }

    fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.rows.push(rows);
        Ok(())
    }
}

impl Taken {
    fn all(&self) -> RecordBatch {
        arrow::compute::concat_batches(self.schema.as_ref().expect("begun"), &self.rows)
            .expect("one schema")
    }
}

/// What both passes find must be one and the same.
fn facts_of(facts: &CompactionFacts) -> String {
    format!("{facts:?}")
}

#[test]
fn both_passes_give_the_same_rows_and_facts_in_one_range_or_many_and_in_one_part_or_many() {
    for (policy, ignore) in [
        (GapPolicy::CARRY, vec![]),
        (GapPolicy::Split, vec![]),
        (GapPolicy::CARRY, vec!["name"]),
    ] {
        let fixture = Fixture::new(6_000, policy, &ignore);
        let days = fixture.days();
        let mut expected = Taken::default();
        let facts =
            unsorted::run(&fixture.pass(None, 1 << 30), &days, &mut expected).expect("compacted");
        assert_eq!(facts.unchanged, u64::from(policy == GapPolicy::CARRY));
        assert!(
            facts.intervals > facts.open
                && facts.days.iter().any(|day| day.changes.by_new_columns > 0)
                    == (policy == GapPolicy::CARRY)
        );
        for memory in [1 << 18, 1 << 30] {
            let mut sorted = Taken::default();
            let found = sorted::run(&fixture.pass(None, memory), &days, &mut sorted)
                .expect("compacted")
                .expect("sorted");
            assert_eq!(facts_of(&found), facts_of(&facts));
            assert!(
                sorted.all() == expected.all(),
                "the rows differ with {memory} bytes"
            );
        }
        let mut in_parts = Taken::default();
        let found =
            unsorted::run(&fixture.pass(None, 1 << 18), &days, &mut in_parts).expect("compacted");
        assert_eq!(facts_of(&found), facts_of(&facts));
        assert!(in_parts.all() == expected.all(), "the rows differ in parts");
    }
}

/// What both passes give, in one range and in many, as text if it differs.
fn assert_both_agree(fixture: &Fixture, base: Option<&Base>) {
    let days = &fixture.days()[base.map_or(0, |base| base.kept)..];
    let mut expected = Taken::default();
    let facts =
        unsorted::run(&fixture.pass(base, 1 << 30), days, &mut expected).expect("compacted");
    for memory in [1 << 18, 1 << 30] {
        let mut sorted = Taken::default();
        let found = sorted::run(&fixture.pass(base, memory), days, &mut sorted)
            .expect("compacted")
            .expect("sorted");
        assert_eq!(facts_of(&found), facts_of(&facts));
        assert!(
            sorted.all() == expected.all(),
            "the rows differ with {memory} bytes"
        );
    }
}

#[test]
fn keys_may_come_at_the_end_go_from_the_beginning_or_move_altogether() {
    type Keys = fn(u64) -> std::ops::Range<u64>;
    let grows: Keys = |number| 0..600 * (number + 1);
    let shrinks: Keys = |number| 0..600 * (DAYS - number);
    let rolls: Keys = |number| 2_000 * number..2_000 * number + 3_000;
    let others: Keys = |number| 20_000 * number..20_000 * number + 1_500;
    let vanishes: Keys = |number| if number == 3 { 0..0 } else { 0..1_000 };
    let single: Keys = |number| number..number + 1;
    for keys in [grows, shrinks, rolls, others, vanishes, single] {
        let fixture = Fixture::of(GapPolicy::CARRY, &[], |number| {
            rows_of(number, keys(number), 100_000)
        });
        assert_both_agree(&fixture, None);
        let mut base = fixture.base(4);
        for kept in [1, 4] {
            base.kept = kept;
            assert_both_agree(&fixture, Some(&base));
        }
    }
}

#[test]
fn no_range_is_much_larger_than_wanted_however_keys_move() {
    let fixture = Fixture::of(GapPolicy::CARRY, &[], |number| {
        rows_of(number, 20_000 * number..20_000 * number + 3_000, 200_000)
    });
    let pass = fixture.pass(None, 1 << 18);
    let days = fixture.days();
    let open = |(date, objects): &(NaiveDate, Vec<Object>)| {
        fixture.table.open(*date, objects, None).expect("opened")
    };
    let rows = rows(4, 10).schema();
    let sorted = |day| {
        sorted::ranges::SortedObject::new(
            Arc::new(open(day).into_object().expect("read").expect("one")),
            &key(),
            &rows,
            &rows,
            true,
        )
    };
    let objects: Vec<_> = days
        .iter()
        .map(|day| Arc::new(sorted(day).expect("a key")))
        .collect();
    let (boundaries, cuts) = sorted::ranges::cut(&pass, &objects)
        .expect("cut")
        .expect("sorted");
    assert!(boundaries.ranges() > 5 * 3);
    assert!(
        cuts.iter()
            .flat_map(|cuts| cuts.windows(2))
            .all(|ends| ends[1] - ends[0] <= 600),
        "{cuts:?}"
    );
}

#[test]
fn a_rewritten_day_that_had_widened_a_type_is_forgotten_with_its_values() {
    let narrow = |number: u64| rows(number.min(1), 500);
    let wide = |number: u64| {
        let batch = rows(number.min(1), 500);
        let halves = Float64Array::from_iter_values(
            (0..batch.num_rows()).map(|row| f64::from(u32::try_from(row).expect("few")) + 0.5),
        );
        let columns =
            batch
                .schema_ref()
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| {
                    let column = if number == 4 && field.name() == "price" {
                        Arc::new(halves.clone())
                    } else {
                        column.clone()
                    };
                    (field.name().clone(), column, true)
                });
        RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
    };
    let with_halves = Fixture::of(GapPolicy::CARRY, &[], wide);
    let mut base = with_halves.base(5);
    base.kept = 4;
    assert_both_agree(&Fixture::of(GapPolicy::CARRY, &[], narrow), Some(&base));
}

#[test]
fn a_pass_that_takes_intervals_over_gives_what_a_full_one_gives() {
    for policy in [GapPolicy::CARRY, GapPolicy::Split] {
        let fixture = Fixture::new(6_000, policy, &[]);
        let days = fixture.days();
        let mut expected = Taken::default();
        let full = fixture
            .pass(None, 1 << 30)
            .run(&days, &mut expected)
            .expect("compacted");
        for kept in [1, 2, 4] {
            let mut base = fixture.base(4);
            base.kept = kept;
            for memory in [1 << 18, 1 << 30] {
                let pass = fixture.pass(Some(&base), memory);
                let mut sorted = Taken::default();
                let facts = sorted::run(&pass, &days[kept..], &mut sorted)
                    .expect("compacted")
                    .expect("sorted");
                assert_eq!((facts.intervals, facts.open), (full.intervals, full.open));
                assert_eq!(facts.observed, full.observed);
                assert!(
                    sorted.all() == expected.all(),
                    "{kept} kept, {memory} bytes"
                );
                let mut unsorted = Taken::default();
                unsorted::run(&pass, &days[kept..], &mut unsorted).expect("compacted");
                assert!(
                    unsorted.all() == expected.all(),
                    "{kept} kept, {memory} bytes, unsorted"
                );
            }
        }
    }
}

#[test]
fn rows_that_are_not_in_order_are_noticed_and_taken_all_the_same() {
    let fixture = Fixture::new(6_000, GapPolicy::CARRY, &[]);
    let mut expected = Taken::default();
    fixture
        .pass(None, 1 << 30)
        .run(&fixture.days(), &mut expected)
        .expect("compacted");
    // The same rows as another tool's, where one day has two rows in each other's place.
    for (number, swapped) in [(0u64, [5u32, 5_800]), (3, [4_000, 4_001]), (4, [0, 5_800])] {
        let folder = tempfile::tempdir().expect("a folder");
        for other in 0..DAYS {
            let mut batch = rows(if other == 2 { 1 } else { other }, 6_000);
            if other == number {
                let mut order: Vec<u32> =
                    (0..u32::try_from(batch.num_rows()).expect("few")).collect();
                order.swap(swapped[0] as usize, swapped[1] as usize);
                batch = arrow::compute::take_record_batch(
                    &batch,
                    &arrow::array::UInt32Array::from(order),
                )
                .expect("taken");
            }
            let path = folder.path().join(format!("{}.parquet", day(other * 2)));
            write(&path, batch, Footer::sample().content);
        }
        let layout = Layout::parse("%Y-%m-%d.parquet").expect("a layout");
        let table = SnapshotTable {
            root: Location::local(folder.path()),
            layout,
            own: false,
            ..fixture.table.clone()
        };
        let days: Vec<_> = table
            .find(None)
            .expect("found")
            .partitions
            .into_iter()
            .collect();
        let settings = fixture.settings.clone();
        for memory in [1 << 18, 1 << 30] {
            let pass = Pass {
                table: &table,
                settings: &settings,
                ..fixture.pass(None, memory)
            };
            assert!(
                sorted::run(&pass, &days, &mut Taken::default())
                    .expect("no failure")
                    .is_none(),
                "day {number}"
            );
            let mut taken = Taken::default();
            pass.run(&days, &mut taken).expect("compacted");
            assert!(taken.all() == expected.all(), "day {number}");
        }
    }
}

#[test]
fn the_versions_of_a_part_are_those_of_the_rows_in_it() {
    let fixture = Fixture::new(6_000, GapPolicy::CARRY, &[]);
    let days = fixture.days();
    let choose: ChooseRows = Arc::new(|batch: &RecordBatch| {
        let ids = batch
            .column_by_name("id")
            .expect("a column")
            .as_primitive::<arrow::datatypes::Int64Type>();
        let even: arrow::array::BooleanArray =
            ids.iter().map(|id| id.map(|id| id % 2 == 0)).collect();
        let rows = arrow::compute::filter_record_batch(batch, &even)
            .io_context(|| "cannot filter".into())?;
        Ok((rows, Some(even)))
    });
    let columns = vec!["region".to_owned(), "id".to_owned(), "name".to_owned()];
    let part = TablePart {
        columns: Some(columns.clone()),
        kept: Some(columns.clone()),
        rows: choose.clone(),
        observes: false,
    };
    let of = |limit| {
        compact_in_memory(
            &fixture.table,
            &days,
            &part,
            MemoryBudget(1 << 18),
            2,
            limit,
        )
        .expect("compacted")
    };
    assert!(of(Some(10_000)).is_none());
    let (versions, _) = of(Some(10_000_000)).expect("they are few");
    for (date, objects) in &days {
        let held: u64 = versions
            .iter()
            .flat_map(|batch| &batch.intervals)
            .filter(|interval| interval.holds(*date))
            .count() as u64;
        let read = fixture
            .table
            .open(*date, objects, None)
            .expect("opened")
            .read(Some(&columns))
            .expect("read");
        let expected: u64 = read
            .map(|batch| {
                choose(&batch.expect("a batch"))
                    .expect("chosen")
                    .0
                    .num_rows() as u64
            })
            .sum();
        assert_eq!(held, expected, "{date}");
        assert!(versions.iter().all(|batch| batch.rows.num_columns() == 3));
    }
}

/// Recorded changes by the number of the day, which can be there or not.
struct Records {
    files: Vec<(u64, std::path::PathBuf, Vec<u8>)>,
}

impl Records {
    fn of(fixture: &Fixture) -> Self {
        let days = fixture.days();
        let open = |day: &(NaiveDate, Vec<Object>)| {
            fixture.table.open(day.0, &day.1, None).expect("opened")
        };
        days.windows(2).for_each(|pair| {
            changes::record(&fixture.table, open(&pair[0]), open(&pair[1])).expect("recorded")
        });
        let path = |number: u64| {
            fixture.folder.path().join(format!(
                "item/_changes/snapshot_date={}/item.parquet",
                day(number * 2)
            ))
        };
        let files = (0..DAYS)
            .filter_map(|number| Some((number, path(number), std::fs::read(path(number)).ok()?)));
        Records {
            files: files.collect(),
        }
    }

    /// Leaves those that are wanted, and returns how many those are.
    fn leave(&self, wanted: impl Fn(u64) -> bool) -> u64 {
        for (number, path, bytes) in &self.files {
            if wanted(*number) {
                std::fs::write(path, bytes).expect("written");
            } else if path.exists() {
                std::fs::remove_file(path).expect("removed");
            }
        }
        self.files
            .iter()
            .filter(|(number, ..)| wanted(*number))
            .count() as u64
    }
}

#[test]
fn recorded_changes_give_what_decoding_gives_whichever_days_have_them() {
    for (policy, ignore) in [
        (GapPolicy::CARRY, vec![]),
        (GapPolicy::Split, vec![]),
        (GapPolicy::CARRY, vec!["name", "tag"]),
    ] {
        let fixture = Fixture::new(9_000, policy, &ignore);
        let days = fixture.days();
        let mut base = fixture.base(4);
        let records = Records::of(&fixture);
        // The third day equals the second.
        assert_eq!(
            records
                .files
                .iter()
                .map(|(number, ..)| *number)
                .collect::<Vec<_>>(),
            [1, 3, 4]
        );
        for kept in [0, 1, 2, 4] {
            base.kept = kept.max(1);
            let base = (kept > 0).then_some(&base);
            let mut expected = Taken::default();
            records.leave(|_| false);
            let decoded = fixture
                .pass(base, 1 << 30)
                .run(&days[kept..], &mut expected)
                .expect("compacted");
            for mask in 1..8u64 {
                let there = |number: u64| {
                    mask & [0, 1, 0, 2, 4][usize::try_from(number).expect("small")] > 0
                };
                records.leave(there);
                let used = |number: usize| {
                    there(number as u64) && number >= kept && policy == GapPolicy::CARRY
                };
                // The last one before a day that is decoded is decoded, too; the third day equals
                // the second.
                let next = |number: usize| [None, Some(3), None, Some(4), None][number];
                let is_enough = |number: &usize| used(*number) && next(*number).is_none_or(used);
                // In a few ranges, or in one.
                let memory = if mask % 2 == 0 { 1 << 24 } else { 1 << 30 };
                let mut taken = Taken::default();
                let mut facts = fixture
                    .pass(base, memory)
                    .run(&days[kept..], &mut taken)
                    .expect("compacted");
                assert_eq!(
                    facts.by_changes,
                    (0..5).filter(is_enough).count() as u64,
                    "{mask} {kept}"
                );
                assert_eq!(facts.decoded + facts.by_changes, decoded.decoded);
                (facts.decoded, facts.by_changes) = (decoded.decoded, 0);
                assert_eq!(facts_of(&facts), facts_of(&decoded), "{mask} {kept}");
                assert!(taken.all() == expected.all(), "{mask} {kept} {memory}");
            }
        }
    }
}

#[test]
fn changes_of_other_snapshots_and_changes_that_are_damaged_are_not_used() {
    let fixture = Fixture::new(12_000, GapPolicy::CARRY, &[]);
    let days = fixture.days();
    let mut expected = Taken::default();
    fixture
        .pass(None, 1 << 30)
        .run(&days, &mut expected)
        .expect("compacted");
    let records = Records::of(&fixture);
    let by_changes = || {
        let mut taken = Taken::default();
        let facts = fixture
            .pass(None, 1 << 30)
            .run(&days, &mut taken)
            .expect("compacted");
        assert!(taken.all() == expected.all());
        facts.by_changes
    };
    assert_eq!(by_changes(), 3);
    let [(_, first, bytes), .., (_, last, _)] = records.files.as_slice() else {
        panic!("there are three")
    };
    std::fs::write(last, bytes).expect("written");
    assert_eq!(
        by_changes(),
        1,
        "they are another day's, and the day before is decoded, too"
    );
    std::fs::write(last, &bytes[..bytes.len() / 2]).expect("written");
    assert_eq!(by_changes(), 1, "they are cut");
    // One row less, with the footer as it was: the sum does not give the snapshot's fingerprint.
    let object = crate::storage::parquet::object::ParquetObject::open(&Location::local(first))
        .expect("opened");
    let footer = object.footer().expect("read").expect("there").content;
    let rows: Vec<RecordBatch> = object
        .read(None)
        .expect("read")
        .collect::<Result<_>>()
        .expect("rows");
    let footer_of_first = footer.clone();
    write(first, rows[0].slice(1, rows[0].num_rows() - 1), footer);
    assert_eq!(by_changes(), 0, "a row is missing");
    // The sums are right, and the order is not.
    write(
        first,
        arrow::compute::concat_batches(
            &rows[0].schema(),
            &[
                rows[0].slice(5, rows[0].num_rows() - 5),
                rows[0].slice(0, 5),
            ],
        )
        .expect("rows"),
        footer_of_first,
    );
    assert_eq!(by_changes(), 0, "rows are out of order");
    records.leave(|_| true);
    assert_eq!(by_changes(), 3);
}

#[test]
fn a_table_most_of_which_changes_has_no_recorded_changes() {
    let fixture = Fixture::of(GapPolicy::CARRY, &[], |number| {
        rows_of(number, 0..12_000 + 4_000 * number, 1_000_000)
    });
    let recorded: Vec<u64> = Records::of(&fixture)
        .files
        .iter()
        .map(|(number, ..)| *number)
        .collect();
    assert_eq!(recorded, [4], "a quarter at most is worth it");
    let small = Fixture::new(6_000, GapPolicy::CARRY, &[]);
    assert!(
        Records::of(&small).files.is_empty(),
        "so few rows are decoded as fast"
    );
}

#[test]
fn the_versions_of_a_part_are_the_same_by_recorded_changes() {
    let fixture = Fixture::new(12_000, GapPolicy::CARRY, &[]);
    let days = fixture.days();
    // Rows change so that some come to meet the condition, and some no longer do.
    let choose: ChooseRows = Arc::new(|batch: &RecordBatch| {
        let price = arrow::compute::cast(
            batch.column_by_name("price").expect("a column"),
            &DataType::Float64,
        )
        .expect("a number");
        let low: BooleanArray = price
            .as_primitive::<arrow::datatypes::Float64Type>()
            .iter()
            .map(|price| Some(price? < 500.0))
            .collect();
        let rows = arrow::compute::filter_record_batch(batch, &low)
            .io_context(|| "cannot filter".into())?;
        Ok((rows, Some(low)))
    });
    let columns = ["region", "id", "price"].map(str::to_owned).to_vec();
    let part = TablePart {
        columns: Some(columns.clone()),
        kept: Some(columns),
        rows: choose,
        observes: false,
    };
    let of = || {
        compact_in_memory(&fixture.table, &days, &part, MemoryBudget(1 << 24), 2, None)
            .expect("compacted")
            .expect("no limit")
    };
    let all = |versions: Vec<IntervalBatch>| {
        let intervals: Vec<_> = versions
            .iter()
            .flat_map(|batch| batch.intervals.clone())
            .collect();
        let rows: Vec<_> = versions.into_iter().map(|batch| batch.rows).collect();
        (
            arrow::compute::concat_batches(&rows[0].schema(), &rows).expect("one schema"),
            intervals,
        )
    };
    let (decoded, facts) = of();
    assert_eq!(facts.by_changes, 0);
    Records::of(&fixture);
    let (by_changes, facts) = of();
    assert_eq!((facts.by_changes, facts.decoded), (3, 1));
    assert!(all(decoded) == all(by_changes));
}

#[test]
fn the_fingerprints_of_external_snapshots_are_those_of_their_rows() {
    for (policy, ignore) in [
        (GapPolicy::CARRY, vec![]),
        (GapPolicy::Split, vec![]),
        (GapPolicy::CARRY, vec!["name"]),
    ] {
        let fixture = Fixture::new(6_000, policy, &ignore);
        let own = fixture.days();
        let folder = tempfile::tempdir().expect("a folder");
        for (number, (date, _)) in (0..).zip(&own) {
            let batch = rows(if number == 2 { 1 } else { number }, 6_000);
            write(
                &folder.path().join(format!("{date}.parquet")),
                batch,
                Footer::sample().content,
            );
        }
        let layout = Layout::parse("%Y-%m-%d.parquet").expect("a layout");
        let table = SnapshotTable {
            root: Location::local(folder.path()),
            layout,
            own: false,
            ..fixture.table.clone()
        };
        let days: Vec<_> = table
            .find(None)
            .expect("found")
            .partitions
            .into_iter()
            .collect();
        let mut expected = Taken::default();
        let of_own = fixture
            .pass(None, 1 << 30)
            .run(&own, &mut expected)
            .expect("compacted");
        let mut base = fixture.base(4);
        for kept in [0, 1, 3, 4] {
            base.kept = kept.max(1);
            for memory in [1 << 18, 1 << 30] {
                let pass = Pass {
                    table: &table,
                    ..fixture.pass((kept > 0).then_some(&base), memory)
                };
                let mut taken = Taken::default();
                let facts = sorted::run(&pass, &days[kept..], &mut taken)
                    .expect("compacted")
                    .expect("sorted");
                assert_eq!(
                    facts.observed, of_own.observed,
                    "{kept} kept, {memory} bytes"
                );
                assert!(taken.all() == expected.all(), "{kept} kept, {memory} bytes");
            }
        }
    }
}

/// One row of a day, as the conditions below look at it.
#[cfg(feature = "sql")]
struct Row {
    region: String,
    id: i64,
    name: Option<String>,
    price: f64,
    /// Whether the column of prices has integers on the day.
    is_integer: bool,
    tag: Option<String>,
}

#[cfg(feature = "sql")]
impl Row {
    fn of_day(number: u64, keys: u64) -> Vec<Row> {
        let batch = rows(if number == 2 { 1 } else { number }, keys);
        let text = |name: &str, row: usize| {
            let column = batch.column_by_name(name)?.as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let ids = batch
            .column_by_name("id")
            .expect("a column")
            .as_primitive::<arrow::datatypes::Int64Type>();
        let prices = batch.column_by_name("price").expect("a column");
        let as_floats = arrow::compute::cast(prices, &DataType::Float64).expect("numbers");
        let as_floats = as_floats.as_primitive::<arrow::datatypes::Float64Type>();
        let row = |row: usize| Row {
            region: text("region", row).expect("a key"),
            id: ids.value(row),
            name: text("name", row),
            price: as_floats.value(row),
            is_integer: prices.data_type() == &DataType::Int32,
            tag: text("tag", row),
        };
        (0..batch.num_rows()).map(row).collect()
    }

    /// The columns of the result, in words.
    fn shown(&self, select: &[&str]) -> String {
        let null = || "-".to_owned();
        let of = |name: &str| match name {
            "name" => self.name.clone().unwrap_or_else(null),
            "price" => self.price.to_string(),
            _ => self.tag.clone().unwrap_or_else(null),
        };
        let shown = ["name", "price", "tag"]
            .into_iter()
            .filter(|name| select.is_empty() || select.contains(name))
            .map(of);
        shown.collect::<Vec<_>>().join("|")
    }
}

/// A condition in SQL and in Rust, and the selected columns.
#[cfg(feature = "sql")]
type Case = (&'static str, fn(&Row) -> bool, &'static [&'static str]);

#[cfg(feature = "sql")]
const CASES: [Case; 7] = [
    ("price > 500", |row| row.price > 500.0, &[]),
    ("price > 500", |row| row.price > 500.0, &["id"]),
    (
        "tag is null and region = 'east'",
        |row| row.tag.is_none() && row.region == "east",
        &["name"],
    ),
    (
        "price / 2 = 250",
        |row| {
            if row.is_integer {
                (500.0..502.0).contains(&row.price)
            } else {
                row.price == 500.0
            }
        },
        &["tag", "price"],
    ),
    (
        "name < 'name 5'",
        |row| row.name.as_deref().is_some_and(|name| name < "name 5"),
        &["price"],
    ),
    ("id < 0", |row| row.id < 0, &[]),
    ("true", |_| true, &["name"]),
];

/// Keys with their rows, first and last dates: runs of days on which a row is selected and stays
/// the same.
#[cfg(feature = "sql")]
fn runs(
    case: &Case,
    policy: GapPolicy,
    keys: u64,
) -> Vec<(String, i64, String, NaiveDate, Option<NaiveDate>)> {
    let mut by_key: BTreeMap<(String, i64), Vec<Option<String>>> = BTreeMap::new();
    for number in 0..DAYS {
        for row in Row::of_day(number, keys)
            .into_iter()
            .filter(|row| case.1(row))
        {
            let days = by_key
                .entry((row.region.clone(), row.id))
                .or_insert_with(|| vec![None; usize::try_from(DAYS).expect("few")]);
            days[usize::try_from(number).expect("small")] = Some(row.shown(case.2));
        }
    }
    let date = |number: usize| day(number as u64 * 2);
    let mut runs = Vec::new();
    for ((region, id), days) in by_key {
        let mut first = 0;
        for number in 0..days.len() {
            let goes_on = policy == GapPolicy::CARRY
                && days
                    .get(number + 1)
                    .is_some_and(|next| *next == days[number]);
            if goes_on {
                continue;
            }
            if let Some(shown) = &days[number] {
                // The last copy is of the last day; before it there is a gap of a day after each.
                let end = (number + 1 < days.len())
                    .then(|| date(number) + Days::new(u64::from(policy == GapPolicy::CARRY)));
                runs.push((region.clone(), id, shown.clone(), date(first), end));
            }
            first = number + 1;
        }
    }
    runs
}

/// The same of what a pass gave.
#[cfg(feature = "sql")]
fn given(
    taken: &Taken,
    select: &[&str],
) -> Vec<(String, i64, String, NaiveDate, Option<NaiveDate>)> {
    let batch = split(&taken.all(), &Convention::default()).expect("intervals");
    let columns: Vec<&str> = ["name", "price", "tag"]
        .into_iter()
        .filter(|name| select.is_empty() || select.contains(name))
        .collect();
    let expected: Vec<&str> = ["region", "id"]
        .into_iter()
        .chain(columns.iter().copied())
        .collect();
    let found: Vec<String> = batch
        .rows
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(found, expected);
    let ids = batch
        .rows
        .column(1)
        .as_primitive::<arrow::datatypes::Int64Type>();
    let regions = batch.rows.column(0).as_string::<i32>();
    let cell = |name: &str, row: usize| {
        let column = batch.rows.column_by_name(name).expect("a column");
        match name {
            _ if column.is_null(row) => "-".to_owned(),
            "price" => column
                .as_primitive::<arrow::datatypes::Float64Type>()
                .value(row)
                .to_string(),
            _ => column.as_string::<i32>().value(row).to_owned(),
        }
    };
    let row = |row: usize| {
        let shown = columns
            .iter()
            .map(|name| cell(name, row))
            .collect::<Vec<_>>()
            .join("|");
        (
            regions.value(row).to_owned(),
            ids.value(row),
            shown,
            batch.intervals[row].start,
            batch.intervals[row].end,
        )
    };
    (0..batch.rows.num_rows()).map(row).collect()
}

#[cfg(feature = "sql")]
#[test]
fn intervals_of_a_condition_are_the_runs_of_days_on_which_it_holds() {
    const KEYS: u64 = 1_000;
    for case in CASES {
        let (condition, _, select) = case;
        for policy in [GapPolicy::CARRY, GapPolicy::Split] {
            let fixture = Fixture::new(KEYS, policy, &[]).selecting(Some(condition), select);
            let mut taken = Taken::default();
            let days = fixture.days();
            let facts = fixture
                .pass(None, 1 << 30)
                .run(&days, &mut taken)
                .expect("compacted");
            let expected = runs(&case, policy, KEYS);
            assert_eq!(given(&taken, select), expected, "{condition} {select:?}");
            assert_eq!(
                (facts.intervals, facts.open),
                (
                    expected.len() as u64,
                    expected.iter().filter(|run| run.4.is_none()).count() as u64
                )
            );
            assert_both_agree(&fixture, None);
            let mut base = fixture.base(4);
            for kept in [1, 2, 4] {
                base.kept = kept;
                assert_both_agree(&fixture, Some(&base));
                let mut taken = Taken::default();
                let resumed = fixture
                    .pass(Some(&base), 1 << 18)
                    .run(&days[kept..], &mut taken)
                    .expect("compacted");
                assert_eq!(
                    given(&taken, select),
                    expected,
                    "{condition} {select:?} after {kept}"
                );
                assert_eq!(resumed.observed, facts.observed);
            }
        }
    }
}

#[cfg(feature = "sql")]
#[test]
fn recorded_changes_of_a_condition_give_what_decoding_gives() {
    for (condition, _, select) in CASES {
        let fixture = Fixture::new(9_000, GapPolicy::CARRY, &[]).selecting(Some(condition), select);
        let days = fixture.days();
        let records = Records::of(&fixture);
        records.leave(|_| false);
        let mut expected = Taken::default();
        let decoded = fixture
            .pass(None, 1 << 30)
            .run(&days, &mut expected)
            .expect("compacted");
        records.leave(|_| true);
        for memory in [1 << 24, 1 << 30] {
            let mut taken = Taken::default();
            let facts = fixture
                .pass(None, memory)
                .run(&days, &mut taken)
                .expect("compacted");
            // The columns of the fourth day are not those of the third: it is decoded, and the one
            // before with it.
            assert_eq!(
                (facts.by_changes, facts.decoded, decoded.decoded),
                (1, 3, 4),
                "{condition}"
            );
            assert!(taken.all() == expected.all(), "{condition}");
        }
    }
}

#[cfg(feature = "sql")]
#[test]
fn copies_of_another_tool_are_observed_whole_though_a_part_of_them_is_wanted() {
    for swapped in [false, true] {
        let own = Fixture::new(2_000, GapPolicy::CARRY, &[]);
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..DAYS {
            let mut batch = rows(if number == 2 { 1 } else { number }, 2_000);
            if swapped {
                let order = arrow::array::UInt32Array::from_iter_values(
                    (0..u32::try_from(batch.num_rows()).expect("few")).rev(),
                );
                batch = arrow::compute::take_record_batch(&batch, &order).expect("taken");
            }
            write(
                &folder.path().join(format!("{}.parquet", day(number * 2))),
                batch,
                Footer::sample().content,
            );
        }
        let layout = Layout::parse("%Y-%m-%d.parquet").expect("a layout");
        let own_days = own.days();
        let observed = |days: Snapshots<'_>, fixture: &Fixture| {
            let mut taken = Taken::default();
            let facts = fixture
                .pass(None, 1 << 20)
                .run(days, &mut taken)
                .expect("compacted");
            (facts.observed, taken)
        };
        let (expected, _) = observed(&own_days, &own);
        let own = own.selecting(Some("price > 500"), &["id"]);
        let (_, rows_of_own) = observed(&own_days, &own);
        let table = SnapshotTable {
            root: Location::local(folder.path()),
            layout,
            own: false,
            ..own.table.clone()
        };
        let days: Vec<_> = table
            .find(None)
            .expect("found")
            .partitions
            .into_iter()
            .collect();
        let external = Fixture { table, ..own };
        let (found, rows_of_external) = observed(&days, &external);
        assert_eq!(found, expected, "{swapped}");
        assert!(rows_of_external.all() == rows_of_own.all(), "{swapped}");
    }
}
