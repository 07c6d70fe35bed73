//! `describe` and `diff --summary` against a naive model, over random tables of every type.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::FileWriter;
use proptest::prelude::*;

use super::cells::cell;
use super::compact::CompactOptions;
use super::describe::{ColumnDescription, DescribeOptions, DescribeReport, describe};
use super::diff::{DiffOptions, DiffReport, diff};
use super::testing::{TestLake, date};
use crate::domain::column_changes::ColumnChangeCount;
use crate::domain::text;
use crate::domain::type_names::parse_type;
use crate::engine::statistics::{StatisticsOptions, statistics};
use crate::error::{Kind, Result};
use crate::memory::MemoryBudget;
use crate::storage::Batches;

/// The names of every canonical type, as lakes have them.
const NAMES: &str = include_str!("../../fixtures/type_names.txt");

/// How many keys there are at most.
const KEYS: i64 = 9;
/// How many of the most frequent values are asked for.
const TOP: usize = 2;
const DAYS: [&str; 3] = ["2024-01-01", "2024-01-02", "2024-01-04"];

/// Every type of a table, and two lists of floats, for what is not a number in them.
fn types() -> Vec<DataType> {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split('\t').next());
    let types = names.map(|name| parse_type(name).unwrap_or(DataType::Null));
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    types
        .filter(|data_type| !data_type.is_null())
        .chain([list(DataType::Float64), list(DataType::Float32)])
        .collect()
}

/// Those of them that Parquet holds.
fn stored_types() -> Vec<DataType> {
    let is_stored = |data_type: &DataType| match data_type {
        DataType::Decimal128(_, scale) => *scale >= 0,
        DataType::Struct(fields) => !fields.is_empty(),
        _ => true,
    };
    types().into_iter().filter(is_stored).collect()
}

/// What a cell is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seed {
    Null,
    /// Not a number, where there is such a value.
    Nan,
    /// `-0.0`, where there is such a value.
    NegativeZero,
    /// The greater the number, the greater the value.
    Number(i64),
}

fn seed() -> impl Strategy<Value = Seed> {
    prop_oneof![
        2 => Just(Seed::Null),
        1 => Just(Seed::Nan),
        1 => Just(Seed::NegativeZero),
        6 => (0i64..4).prop_map(Seed::Number),
    ]
}

/// The JSON text of a value of a type.
fn json(data_type: &DataType, number: i64) -> String {
    use DataType as T;
    match data_type {
        T::Null => "null".into(),
        T::Boolean => (number % 2 == 1).to_string(),
        T::Float32 | T::Float64 if number == 0 => "0.0".into(),
        T::Float32 | T::Float64 => format!("{number}.5"),
        T::Decimal128(_, scale) if *scale < 0 => {
            (number * 10i64.pow(u32::from(scale.unsigned_abs()))).to_string()
        }
        T::Decimal128(_, 0) => number.to_string(),
        T::Decimal128(precision, scale) if i16::from(*precision) == i16::from(*scale) => {
            format!("0.{number}")
        }
        T::Decimal128(..) => format!("{number}.5"),
        T::Utf8 => format!("\"{}\"", "t".repeat(number as usize)),
        T::Binary => format!("\"0{number}\""),
        T::Date32 => format!("\"2024-01-0{}\"", number + 1),
        T::Time32(_) | T::Time64(_) => format!("\"00:00:0{number}\""),
        T::Timestamp(_, None) => format!("\"2024-01-0{} 00:00:00\"", number + 1),
        T::Timestamp(_, Some(_)) => format!("\"2024-01-0{} 00:00:00Z\"", number + 1),
        T::List(item) => {
            let item = |number| json(item.data_type(), number);
            format!("[{}, null, {}]", item(number), item(1))
        }
        T::Struct(fields) => {
            let field = |field: &Arc<Field>| {
                let name = serde_json::to_string(field.name()).expect("a name");
                format!("{name}: {}", json(field.data_type(), number))
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("{{{}}}", fields.join(", "))
        }
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) => format!("{{\"{number}\": {}}}", json(pair[1].data_type(), number)),
            other => unreachable!("{other}"),
        },
        _ => number.to_string(),
    }
}

/// A column of one value.
fn one(data_type: &DataType, seed: Seed) -> ArrayRef {
    let special = match seed {
        Seed::Nan => Some(f64::NAN),
        Seed::NegativeZero => Some(-0.0),
        Seed::Null | Seed::Number(_) => None,
    };
    let number = match seed {
        Seed::Number(number) => number,
        Seed::Null | Seed::Nan | Seed::NegativeZero => 0,
    };
    match (data_type, special) {
        (data_type, Some(special)) if data_type.is_floating() => {
            let float: ArrayRef = Arc::new(Float64Array::from(vec![special]));
            cast(&float, data_type).expect("a float")
        }
        (DataType::List(item), Some(special)) if item.data_type().is_floating() => {
            let float: ArrayRef = Arc::new(Float64Array::from(vec![special, 1.0]));
            let floats = cast(&float, item.data_type()).expect("floats");
            let offsets = OffsetBuffer::from_lengths([2]);
            Arc::new(ListArray::new(item.clone(), offsets, floats, None))
        }
        (DataType::Duration(_), _) if seed != Seed::Null => {
            let number: ArrayRef = Arc::new(Int64Array::from(vec![number]));
            cast(&number, data_type).expect("a duration")
        }
        _ => {
            let written = json(data_type, number);
            let written = match data_type.is_nested() {
                true => written,
                false => written.trim_matches('"').to_owned(),
            };
            let written = (seed != Seed::Null).then_some(written);
            text::column(&StringArray::from(vec![written]), data_type).expect("a value")
        }
    }
}

/// A table on one day: of each key that is there a cell for each type.
type Day = BTreeMap<i64, Vec<Seed>>;

fn days(width: usize) -> impl Strategy<Value = Vec<Day>> {
    let row = prop::collection::vec(seed(), width);
    let day = prop::collection::btree_map(0..KEYS, row, 1..KEYS as usize);
    prop::collection::vec(day, DAYS.len())
}

fn names(width: usize) -> Vec<String> {
    (0..width).map(|at| format!("c{at}")).collect()
}

/// A column of a day.
fn array(data_type: &DataType, day: &Day, at: usize) -> ArrayRef {
    let cells: Vec<ArrayRef> = day.values().map(|row| one(data_type, row[at])).collect();
    let cells: Vec<&dyn Array> = cells.iter().map(AsRef::as_ref).collect();
    concat(&cells).expect("one type")
}

/// Takes the copy of a day from a file of another tool.
fn take(lake: &TestLake, day: &str, rows: &Day, types: &[DataType]) {
    let mut fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("nothing", DataType::Null, true),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(rows.keys().copied().collect::<Int64Array>()),
        Arc::new(NullArray::new(rows.len())),
    ];
    for ((at, data_type), name) in types.iter().enumerate().zip(names(types.len())) {
        fields.push(Field::new(name, data_type.clone(), true));
        columns.push(array(data_type, rows, at));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("rows");
    let source = lake.path().join("source.arrow");
    let mut writer =
        FileWriter::try_new(File::create(&source).expect("a file"), &schema).expect("a writer");
    writer.write(&batch).expect("written");
    writer.finish().expect("finished");
    lake.snapshot_of("item", day, "id", &source);
}

/// A cell as text: the same for values that are the same.
fn shown(data_type: &DataType, seed: Seed) -> Option<String> {
    let text = cell(&one(data_type, seed), 0)?;
    let of_items = matches!(data_type, DataType::List(item) if item.data_type().is_floating());
    Some(match data_type.is_floating() || of_items {
        true => text.replace("-0.0", "0.0"),
        false => text,
    })
}

/// What a naive reader says of a column.
#[derive(Debug, PartialEq)]
struct Naive {
    nulls: u64,
    nans: Option<u64>,
    distinct: u64,
    min: Option<String>,
    max: Option<String>,
    mean: Option<f64>,
}

/// The cells of a column on one day, in the order of the key.
fn cells(day: &Day, at: usize) -> Vec<Seed> {
    day.values().map(|row| row[at]).collect()
}

fn naive(data_type: &DataType, cells: &[Seed]) -> Naive {
    let is_nan = |seed: &Seed| data_type.is_floating() && *seed == Seed::Nan;
    let is_null = |seed: &Seed| *seed == Seed::Null;
    // What is not a number, and the negative zero, are zero where there are none.
    let number = |seed: &Seed| match seed {
        Seed::Number(number) => *number,
        Seed::Null | Seed::Nan | Seed::NegativeZero => 0,
    };
    let mut ordered: Vec<Seed> = cells
        .iter()
        .filter(|seed| !is_null(seed) && !is_nan(seed))
        .copied()
        .collect();
    ordered.sort_by_key(|seed| match data_type {
        DataType::Boolean => number(seed) % 2,
        _ => number(seed),
    });
    let extreme = |seed: Option<&Seed>| {
        let seed = seed.filter(|_| !data_type.is_nested())?;
        shown(data_type, *seed)
    };
    let values = ordered.iter().filter_map(|seed| {
        let text = shown(data_type, *seed).filter(|_| data_type.is_numeric())?;
        text.parse::<f64>().ok()
    });
    let values: Vec<f64> = values.collect();
    let different: BTreeSet<String> = cells
        .iter()
        .filter_map(|seed| shown(data_type, *seed))
        .collect();
    Naive {
        nulls: cells.iter().filter(|seed| is_null(seed)).count() as u64,
        nans: data_type
            .is_floating()
            .then(|| cells.iter().filter(|seed| is_nan(seed)).count() as u64),
        distinct: different.len() as u64,
        min: extreme(ordered.first()),
        max: extreme(ordered.last()),
        mean: (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64),
    }
}

fn found(values: &super::describe::Distribution) -> Naive {
    Naive {
        nulls: values.nulls,
        nans: values.nans,
        distinct: values.distinct,
        min: values.min.clone(),
        max: values.max.clone(),
        mean: values.mean,
    }
}

/// Whether both say the same; means are equal but for how sums are rounded.
fn same(found: &Naive, expected: &Naive) -> bool {
    let close = match (found.mean, expected.mean) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-9,
        (one, other) => one == other,
    };
    let but_mean = |naive: &Naive| {
        let Naive {
            nulls,
            nans,
            distinct,
            ..
        } = naive;
        (
            *nulls,
            *nans,
            *distinct,
            naive.min.clone(),
            naive.max.clone(),
        )
    };
    close && but_mean(found) == but_mean(expected)
}

/// The most frequent values of each side, with how often they occur on every side.
fn naive_frequent(data_type: &DataType, sides: &[Vec<Seed>]) -> Vec<(String, Vec<u64>)> {
    let mut all: Vec<(String, Vec<u64>)> = Vec::new();
    for (side, cells) in sides.iter().enumerate() {
        for value in cells.iter().filter_map(|seed| shown(data_type, *seed)) {
            let at = all.iter().position(|(known, _)| *known == value);
            let at = at.unwrap_or_else(|| {
                all.push((value, vec![0; sides.len()]));
                all.len() - 1
            });
            all[at].1[side] += 1;
        }
    }
    let mut chosen = BTreeSet::new();
    for side in 0..sides.len() {
        let mut order: Vec<usize> = (0..all.len()).filter(|at| all[*at].1[side] > 0).collect();
        order.sort_by_key(|at| std::cmp::Reverse(all[*at].1[side]));
        chosen.extend(order.into_iter().take(TOP));
    }
    let mut chosen: Vec<usize> = chosen.into_iter().collect();
    chosen.sort_by_key(|at| std::cmp::Reverse(all[*at].1.iter().sum::<u64>()));
    chosen.into_iter().map(|at| all[at].clone()).collect()
}

fn naive_changes(data_type: &DataType, days: &[Day], at: usize) -> ColumnChangeCount {
    let mut keys = BTreeSet::new();
    let mut found = ColumnChangeCount::default();
    for (number, pair) in days.windows(2).enumerate() {
        for (key, row) in &pair[1] {
            let Some(before) = pair[0].get(key) else {
                continue;
            };
            if shown(data_type, before[at]) != shown(data_type, row[at]) {
                keys.insert(*key);
                found.changes += 1;
                found.last = Some(date(DAYS[number + 1]));
            }
        }
    }
    found.keys = keys.len() as u64;
    found
}

fn described(lake: &TestLake, day: &str) -> DescribeReport {
    let options = DescribeOptions {
        table: "item".into(),
        date: Some(date(day)),
        top: TOP,
        ..DescribeOptions::default()
    };
    describe(&lake.workspace(), &options).expect("described")
}

fn column<'a>(report: &'a DescribeReport, name: &str) -> &'a ColumnDescription {
    let column = report.columns.iter().find(|column| column.name == name);
    column.expect("a column")
}

/// The values of lists of floats are shown as they were first met.
fn with_one_zero(values: Vec<(String, Vec<u64>)>) -> Vec<(String, Vec<u64>)> {
    let one_zero = |(value, counts): (String, Vec<u64>)| (value.replace("-0.0", "0.0"), counts);
    values.into_iter().map(one_zero).collect()
}

fn check_described(report: &DescribeReport, days: &[Day], types: &[DataType]) {
    let today = days.last().expect("a day");
    assert_eq!(report.rows, today.len() as u64);
    let keys: BTreeSet<i64> = days.iter().flat_map(|day| day.keys().copied()).collect();
    let history = report.history.as_ref().expect("intervals");
    assert_eq!(
        (history.keys, history.snapshots, history.newer_snapshots),
        (keys.len() as u64, days.len() as u64, 0)
    );
    let id = column(report, "id");
    let text = |key: Option<&i64>| key.map(ToString::to_string);
    assert_eq!(
        (id.values.distinct, id.values.nulls, id.changes.clone()),
        (today.len() as u64, 0, None)
    );
    assert_eq!(
        (id.values.min.clone(), id.values.max.clone()),
        (text(today.keys().next()), text(today.keys().next_back()))
    );
    let nothing = &column(report, "nothing").values;
    assert_eq!((nothing.nulls, nothing.distinct), (report.rows, 0));
    for ((at, data_type), name) in types.iter().enumerate().zip(names(types.len())) {
        let told = column(report, &name);
        let cells = cells(today, at);
        let (found, expected) = (found(&told.values), naive(data_type, &cells));
        assert!(
            same(&found, &expected),
            "{data_type}: {found:?} {expected:?} {cells:?}"
        );
        let frequent = told.frequent.iter();
        let frequent = frequent.map(|value| (value.value.clone(), vec![value.rows]));
        assert_eq!(
            with_one_zero(frequent.collect()),
            naive_frequent(data_type, &[cells]),
            "{data_type}"
        );
        let changes = naive_changes(data_type, days, at);
        assert_eq!(told.changes, Some(changes), "{data_type}: {days:?}");
    }
}

fn check_summary(report: &DiffReport, sides: [&Day; 2], types: &[DataType]) {
    let summary = report.summary.as_ref().expect("a summary");
    let days = sides.map(Clone::clone);
    for ((at, data_type), name) in types.iter().enumerate().zip(names(types.len())) {
        let told = summary.iter().find(|column| column.name == name);
        let told = told.expect("a column");
        let cells = sides.map(|day| cells(day, at));
        for (values, cells) in [&told.old, &told.new].into_iter().zip(&cells) {
            let (found, expected) = (found(values), naive(data_type, cells));
            assert!(
                same(&found, &expected),
                "{data_type}: {found:?} {expected:?}"
            );
        }
        let frequent = told.frequent.iter();
        let frequent = frequent.map(|value| (value.value.clone(), vec![value.old, value.new]));
        assert_eq!(
            with_one_zero(frequent.collect()),
            naive_frequent(data_type, &cells),
            "{data_type}"
        );
        assert_eq!(
            told.changed,
            Some(naive_changes(data_type, &days, at).keys),
            "{data_type}"
        );
    }
}

fn summed_up(lake: &TestLake, from: &str, to: &str) -> DiffReport {
    let options = DiffOptions {
        table: "item".into(),
        from: Some(date(from)),
        to: date(to),
        summary: true,
        top: TOP,
        ..DiffOptions::default()
    };
    diff(&lake.workspace(), &options).expect("compared")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn columns_of_every_type_are_described_as_a_naive_reader_would(
        days in days(stored_types().len()),
    ) {
        let types = stored_types();
        let lake = TestLake::new();
        for (day, rows) in DAYS.iter().zip(&days) {
            take(&lake, day, rows, &types);
        }
        lake.compact("item");
        for (number, day) in DAYS.iter().enumerate() {
            check_described(&described(&lake, day), &days[..=number], &types);
        }
        check_summary(&summed_up(&lake, DAYS[0], DAYS[1]), [&days[0], &days[1]], &types);
        // From intervals alone.
        lake.forget("item", DAYS[0]);
        check_described(&described(&lake, DAYS[0]), &days[..1], &types);
        check_summary(&summed_up(&lake, DAYS[2], DAYS[0]), [&days[2], &days[0]], &types);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn values_of_every_type_are_counted_in_whatever_batches_they_come(
        days in days(types().len()),
        length in 1usize..4,
    ) {
        let types = types();
        let fields: Vec<Field> = types
            .iter()
            .zip(names(types.len()))
            .map(|(data_type, name)| Field::new(name, data_type.clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let read = |day: &Day| -> Result<Batches> {
            let columns = types.iter().enumerate();
            let columns = columns.map(|(at, data_type)| array(data_type, day, at)).collect();
            let rows = RecordBatch::try_new(schema.clone(), columns).expect("rows");
            let begins = (0..rows.num_rows()).step_by(length);
            let pieces = begins.map(|begin| {
                Ok(rows.slice(begin, length.min(rows.num_rows() - begin)))
            });
            Ok(Box::new(pieces.collect::<Vec<_>>().into_iter()))
        };
        let options = StatisticsOptions {
            columns: schema.fields(),
            unique: None,
            most: TOP,
            memory: MemoryBudget::default(),
            what: "rows",
        };
        let found = statistics(&options, &[&|_| read(&days[0]), &|_| read(&days[1])]);
        for ((at, data_type), found) in types.iter().enumerate().zip(found.expect("counted")) {
            let cells = [0, 1].map(|side| cells(&days[side], at));
            for (side, cells) in found.sides.iter().zip(&cells) {
                let told = super::describe::distribution(data_type, Some(side));
                let (told, expected) = (self::found(&told), naive(data_type, cells));
                prop_assert!(same(&told, &expected), "{}: {:?} {:?}", data_type, told, expected);
            }
            let frequent = (0..found.frequent.len()).zip(&found.counts);
            let frequent = frequent.map(|(row, counts)| {
                (cell(&found.frequent, row).expect("a value"), counts.clone())
            });
            prop_assert_eq!(
                with_one_zero(frequent.collect()),
                naive_frequent(data_type, &cells),
                "{}", data_type
            );
        }
    }
}

#[test]
fn a_key_that_returns_with_another_value_changes_no_column() {
    let lake = TestLake::filled();
    lake.compact("item");
    let report = described(&lake, "2024-01-05");
    let changes = |name: &str| column(&report, name).changes.clone().expect("compared");
    // Key 3 was gone on the second day. The gap after it is no absence.
    assert_eq!(
        changes("price"),
        ColumnChangeCount {
            keys: 1,
            changes: 1,
            last: Some(date("2024-01-02"))
        }
    );
    assert_eq!(
        changes("tag"),
        ColumnChangeCount {
            keys: 1,
            changes: 1,
            last: Some(date("2024-01-05"))
        }
    );
    // What comes later is not visible.
    let earlier = described(&lake, "2024-01-01");
    assert_eq!(
        column(&earlier, "price").changes,
        Some(ColumnChangeCount::default())
    );
    assert_eq!(earlier.history.map(|history| history.keys), Some(3));
}

#[test]
fn columns_that_are_not_compared_and_tables_without_intervals_have_no_changes() {
    let lake = TestLake::filled();
    let report = described(&lake, "2024-01-05");
    assert_eq!(
        (report.history.clone(), &column(&report, "price").changes),
        (None, &None)
    );
    let options = CompactOptions {
        ignore: vec!["price".into()],
        ..CompactOptions::default()
    };
    lake.compact_with("item", &options);
    let report = described(&lake, "2024-01-05");
    assert_eq!(column(&report, "price").changes, None);
    assert!(column(&report, "tag").changes.is_some());
    let history = report.history.expect("intervals");
    assert_eq!(history.not_compared, ["price"]);
}

#[test]
fn snapshots_that_are_newer_than_the_intervals_are_counted() {
    let lake = TestLake::filled();
    lake.compact("item");
    lake.take("2024-01-06", "id,price,tag\n1,99,\n");
    lake.take("2024-01-07", "id,price,tag\n1,98,\n");
    let newer = |day: &str| {
        described(&lake, day)
            .history
            .map(|history| history.newer_snapshots)
    };
    assert_eq!(
        [
            newer("2024-01-05"),
            newer("2024-01-06"),
            newer("2024-02-01")
        ],
        [Some(0), Some(1), Some(2)]
    );
}

#[test]
fn columns_are_chosen_by_name_and_unknown_ones_refused_with_the_nearest() {
    let lake = TestLake::filled();
    let with = |columns: &[&str]| {
        let options = DescribeOptions {
            table: "item".into(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            top: TOP,
            ..DescribeOptions::default()
        };
        describe(&lake.workspace(), &options)
    };
    let report = with(&["tag", "id"]).expect("described");
    let found: Vec<&str> = report
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!((found, report.other_columns), (vec!["tag", "id"], 1));
    let error = with(&["pirce"]).expect_err("unknown");
    assert_eq!(
        (error.kind(), error.to_string().as_str(), error.hints()),
        (
            Kind::Usage,
            "table item as of 2024-01-05 has no column 'pirce'",
            ["did you mean 'price'?".to_owned()].as_slice()
        )
    );
    let error = with(&["tag", "tag"]).expect_err("twice");
    assert_eq!(error.to_string(), "column 'tag' is selected twice");
}

#[test]
fn columns_that_do_not_fit_into_memory_together_are_counted_one_after_the_other() {
    use std::fmt::Write;
    let lake = TestLake::new();
    let mut csv = "id,a,b,c\n".to_owned();
    (0..20_000).for_each(|id| writeln!(csv, "{id},{id},{},{id}", id % 7).expect("text"));
    lake.take("2024-01-01", &csv);
    let with = |bytes: u64| {
        let mut workspace = lake.workspace();
        workspace.memory = MemoryBudget(bytes);
        let options = DescribeOptions {
            table: "item".into(),
            top: TOP,
            ..DescribeOptions::default()
        };
        describe(&workspace, &options)
    };
    let whole = with(1 << 30).expect("described");
    assert_eq!(column(&whole, "a").values.distinct, 20_000);
    assert_eq!(column(&whole, "b").values.distinct, 7);
    assert_eq!(with(7 << 20).expect("described").columns, whole.columns);
    let error = with(2 << 20).expect_err("refused");
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(
        error.to_string(),
        "table item as of 2024-01-01: counting the values of column 'a' needs more than 1 MiB of \
         memory"
    );
}
