//! Every type of asof's tables, crossing in both directions and compared value by value.

use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Int64Array, LargeListArray,
    LargeStringArray, ListArray, MapArray, NullArray, RecordBatch, RecordBatchOptions, StringArray,
    StringViewArray, StructArray, make_array, new_empty_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields};
use polars_core::prelude::{
    AnyValue, ChunkAgg, Column, DataFrame, DataType as PolarsDataType, IntoSeries, NamedFrom,
    Series, TimeUnit as PolarsTimeUnit, TimeZone,
};

use super::{to_batches, to_frame};
use crate::domain::type_names::parse_type;

/// The names of every canonical type, as lakes have them.
const NAMES: &str = include_str!("../../fixtures/type_names.txt");

/// The types of [`NAMES`] whose values polars has no type for.
const REFUSED: [&str; 6] = [
    "time(ms)",
    "duration(s)",
    "decimal(5, -3)",
    "map<text, int64>",
    "map<text, map<int64, list<timestamp(us)>>>",
    "struct<tags: map<text, null>>",
];

/// How many values a sample has: more than a byte of bits.
const LENGTH: usize = 37;

/// Values of a type, every fifth of which is null if `nulls`.
fn sample(data_type: &DataType, length: usize, nulls: bool) -> ArrayRef {
    use DataType as T;
    let is_valid = |at: usize| !nulls || at % 5 != 2;
    let validity = || nulls.then(|| (0..length).map(is_valid).collect::<NullBuffer>());
    let numbers = |factor: i64| -> ArrayRef {
        let number = |at: usize| is_valid(at).then_some((at as i64 - 7) * factor);
        Arc::new((0..length).map(number).collect::<Int64Array>())
    };
    let text = |at: usize| match at % 3 {
        0 => String::new(),
        1 => format!("größe {at}"),
        _ => "a text that no view holds inline ".repeat(at),
    };
    match data_type {
        T::Null => Arc::new(NullArray::new(length)),
        T::Boolean => Arc::new(
            (0..length)
                .map(|at| is_valid(at).then_some(at % 3 == 0))
                .collect::<BooleanArray>(),
        ),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
            let number = |at: usize| is_valid(at).then_some(at as i64);
            let all: ArrayRef = Arc::new((0..length).map(number).collect::<Int64Array>());
            cast(&all, data_type).expect("small")
        }
        T::Int8 | T::Int16 | T::Int32 | T::Date32 => {
            let narrow = cast(&numbers(1), &T::Int32).expect("small");
            cast(&narrow, data_type).expect("small")
        }
        T::Int64 | T::Timestamp(..) | T::Duration(_) => {
            cast(&numbers(1_234_567_890_123), data_type).expect("64 bits")
        }
        T::Time64(_) => {
            let number = |at: usize| is_valid(at).then_some(at as i64 * 1_000_000_007);
            let all: ArrayRef = Arc::new((0..length).map(number).collect::<Int64Array>());
            cast(&all, data_type).expect("64 bits")
        }
        T::Float32 | T::Float64 => cast(&numbers(3), data_type).expect("floats"),
        T::Utf8 => Arc::new(
            (0..length)
                .map(|at| is_valid(at).then(|| text(at)))
                .collect::<StringArray>(),
        ),
        T::Binary => Arc::new(
            (0..length)
                .map(|at| is_valid(at).then(|| [text(at).as_bytes(), b"\xff\x00"].concat()))
                .collect::<BinaryArray>(),
        ),
        T::Decimal128(precision, scale) => {
            let most = 10i128.pow(u32::from(*precision)) - 1;
            let number = |at: usize| {
                let most = if at.is_multiple_of(2) { most } else { -most };
                is_valid(at).then_some(most / (at as i128 + 1))
            };
            let all = (0..length).map(number).collect::<Decimal128Array>();
            Arc::new(
                all.with_precision_and_scale(*precision, *scale)
                    .expect("a decimal"),
            )
        }
        T::List(item) => {
            let lengths: Vec<usize> = (0..length).map(|at| at % 4).collect();
            let items = sample(item.data_type(), lengths.iter().sum(), nulls);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(item.clone(), offsets, items, validity()))
        }
        T::Struct(fields) if fields.is_empty() => {
            Arc::new(StructArray::new_empty_fields(length, validity()))
        }
        T::Struct(fields) => {
            let columns = fields
                .iter()
                .map(|field| sample(field.data_type(), length, nulls));
            Arc::new(StructArray::new(
                fields.clone(),
                columns.collect(),
                validity(),
            ))
        }
        other => panic!("no sample of {other}"),
    }
}

/// Some values of an array, with nulls whose bits begin at another place in a byte than theirs do.
fn other_nulls(values: &ArrayRef) -> ArrayRef {
    let nulls: NullBuffer = (0..LENGTH).map(|at| at % 4 != 1).collect();
    let data = values.slice(3, 20).to_data().into_builder();
    let data = data.nulls(Some(nulls.slice(5, 20))).build();
    make_array(data.expect("values and nulls of one length"))
}

/// A batch of one column.
fn batch(column: ArrayRef) -> RecordBatch {
    let field = Field::new("x", column.data_type().clone(), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).expect("a batch")
}

fn frame_of(batches: &[RecordBatch]) -> DataFrame {
    let schema = batches[0].schema();
    to_frame(&schema, batches.iter().cloned().map(Ok), "table t").expect("a frame")
}

/// Sends batches of one column there and back, and compares each value and where batches end.
#[track_caller]
fn comes_back(batches: &[RecordBatch]) {
    holds(frame_of(batches), batches);
}

/// Compares each value of a frame, and where its chunks end, with those of batches of one column.
#[track_caller]
fn holds(frame: DataFrame, batches: &[RecordBatch]) {
    let data_type = batches[0].schema().field(0).data_type().clone();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(frame.shape(), (rows, 1));
    let (schema, back) = to_batches(&frame).expect("batches");
    // The rows outlive it.
    drop(frame);
    let lengths = |batches: &[RecordBatch]| -> Vec<usize> {
        let lengths = batches.iter().map(RecordBatch::num_rows);
        lengths.filter(|rows| *rows > 0).collect()
    };
    // Polars keeps no chunks of a column that has no values.
    if data_type != DataType::Null {
        assert_eq!(lengths(&back), lengths(batches), "{data_type}");
    }
    let whole = |schema: &SchemaRef, batches: &[RecordBatch]| {
        let whole = arrow::compute::concat_batches(schema, batches).expect("one batch");
        cast(whole.column(0), &data_type).expect("the same type in another encoding")
    };
    let (there, back) = (whole(&batches[0].schema(), batches), whole(&schema, &back));
    assert_eq!(back.len(), rows);
    assert_eq!(&back, &there, "{data_type}");
    for row in 0..rows {
        assert_eq!(
            back.is_null(row),
            there.is_null(row),
            "{data_type}, row {row}"
        );
    }
}

#[test]
fn every_canonical_type_crosses_both_ways_or_is_refused_by_name() {
    let names = NAMES
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, _)| name);
    let mut refused = Vec::new();
    let mut count = 0;
    for name in names {
        count += 1;
        let data_type = parse_type(name).expect(name);
        let schema = Schema::new(vec![Field::new("x", data_type.clone(), true)]);
        if REFUSED.contains(&name) {
            let error = to_frame(&schema, [], "table t")
                .expect_err(name)
                .to_string();
            let inside = format!("table t: column 'x' is {name}: ");
            assert!(error.starts_with(&inside), "{error}");
            refused.push(name);
            continue;
        }
        for nulls in [false, true] {
            let all = batch(sample(&data_type, LENGTH, nulls));
            comes_back(std::slice::from_ref(&all));
            comes_back(&[all.slice(0, 0)]);
            // Neither begins nor ends at a whole byte of bits.
            comes_back(&[all.slice(3, 13)]);
            comes_back(&[
                all.slice(0, 9),
                all.slice(9, 0),
                all.slice(9, 1),
                all.slice(10, 27),
            ]);
            // Polars cuts the same slices, of a frame that outlives its rows.
            for (begin, length) in [(0, 0), (3, 13), (8, 16), (36, 1), (37, 0)] {
                let frame = frame_of(&[batch(sample(&data_type, LENGTH, nulls))]);
                holds(
                    frame.slice(begin as i64, length),
                    &[all.slice(begin, length)],
                );
            }
        }
        if data_type != DataType::Null {
            comes_back(&[batch(other_nulls(&sample(&data_type, LENGTH, false)))]);
        }
        comes_back(&[batch(new_empty_array(&data_type))]);
    }
    assert_eq!((count, refused.as_slice()), (44, &REFUSED[..]));
}

#[test]
fn values_are_the_same_on_the_other_side() {
    let micros = 1_725_000_000_123_456_i64;
    let cases: Vec<(&str, ArrayRef, AnyValue<'_>)> = vec![
        (
            "int8",
            sample(&DataType::Int8, 1, false),
            AnyValue::Int8(-7),
        ),
        (
            "uint16",
            cast(&Int64Array::from(vec![65535]), &DataType::UInt16).expect("small"),
            AnyValue::UInt16(65535),
        ),
        (
            "uint64",
            Arc::new(arrow::array::UInt64Array::from(vec![u64::MAX])),
            AnyValue::UInt64(u64::MAX),
        ),
        (
            "float64",
            Arc::new(arrow::array::Float64Array::from(vec![-0.5])),
            AnyValue::Float64(-0.5),
        ),
        (
            "text",
            Arc::new(StringArray::from(vec!["größe"])),
            AnyValue::String("größe"),
        ),
        (
            "binary",
            Arc::new(BinaryArray::from(vec![&b"\xff\x00"[..]])),
            AnyValue::Binary(b"\xff\x00"),
        ),
        (
            "date",
            cast(
                &arrow::array::Int32Array::from(vec![19_000]),
                &DataType::Date32,
            )
            .expect("days"),
            AnyValue::Date(19_000),
        ),
        (
            "time",
            cast(
                &Int64Array::from(vec![86_399_999_999_999]),
                &DataType::Time64(TimeUnit::Nanosecond),
            )
            .expect("a time"),
            AnyValue::Time(86_399_999_999_999),
        ),
        (
            "timestamp(us)",
            cast(
                &Int64Array::from(vec![micros]),
                &DataType::Timestamp(TimeUnit::Microsecond, None),
            )
            .expect("a time"),
            AnyValue::Datetime(micros, PolarsTimeUnit::Microseconds, None),
        ),
        (
            "duration(ms)",
            cast(
                &Int64Array::from(vec![-5]),
                &DataType::Duration(TimeUnit::Millisecond),
            )
            .expect("a span"),
            AnyValue::Duration(-5, PolarsTimeUnit::Milliseconds),
        ),
        (
            "decimal(10, 2)",
            Arc::new(
                Decimal128Array::from(vec![-12_345])
                    .with_precision_and_scale(10, 2)
                    .expect("a decimal"),
            ),
            AnyValue::Decimal(-12_345, 10, 2),
        ),
    ];
    for (name, column, expected) in cases {
        let frame = frame_of(&[batch(column)]);
        let value = frame.columns()[0].get(0).expect("a row");
        assert_eq!(value, expected, "{name}");
        assert_eq!(value.dtype(), expected.dtype(), "{name}");
    }
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let frame = frame_of(&[batch(
        cast(&Int64Array::from(vec![5]), &utc).expect("a time"),
    )]);
    let zone = TimeZone::opt_try_new(Some("UTC")).expect("a zone");
    let expected = PolarsDataType::Datetime(PolarsTimeUnit::Milliseconds, zone);
    assert_eq!(frame.columns()[0].dtype(), &expected);
}

#[test]
fn other_encodings_of_a_type_cross_as_that_type() {
    let texts = sample(&DataType::Utf8, LENGTH, true);
    let as_dictionary = |keys| DataType::Dictionary(Box::new(keys), Box::new(DataType::Utf8));
    for encoded in [
        DataType::LargeUtf8,
        DataType::Utf8View,
        as_dictionary(DataType::Int8),
        as_dictionary(DataType::UInt64),
    ] {
        let encoded = batch(cast(&texts, &encoded).expect("texts"));
        comes_back(&[encoded.slice(0, 10), encoded.slice(10, 27)]);
    }
    for encoded in [DataType::LargeBinary, DataType::BinaryView] {
        let bytes = sample(&DataType::Binary, LENGTH, true);
        comes_back(&[batch(cast(&bytes, &encoded).expect("bytes")).slice(5, 20)]);
    }
    let item = Arc::new(Field::new("element", as_dictionary(DataType::Int32), false));
    let values = cast(&sample(&DataType::Utf8, LENGTH, false), item.data_type()).expect("texts");
    let offsets = OffsetBuffer::from_lengths([20, 0, 17]);
    comes_back(&[batch(Arc::new(LargeListArray::new(
        item, offsets, values, None,
    )))]);
}

#[test]
fn long_texts_and_many_buffers_cross() {
    let long = "x".repeat(1 << 20);
    let texts: ArrayRef = Arc::new(LargeStringArray::from(vec![
        Some(long.as_str()),
        None,
        Some(""),
    ]));
    comes_back(&[batch(texts)]);
    // Views into several buffers, which a builder closes when they are full.
    let mut views = arrow::array::StringViewBuilder::new().with_fixed_block_size(64);
    (0..1000).for_each(|at| views.append_value(format!("a text that is not inline, {at}")));
    let views: StringViewArray = views.finish();
    assert!(views.data_buffers().len() > 100);
    comes_back(&[batch(Arc::new(views.slice(100, 800)))]);
}

#[test]
fn types_that_polars_would_change_are_refused() {
    use DataType as T;
    let item = |data_type: T| Arc::new(Field::new("item", data_type, true));
    for (data_type, shown) in [
        (T::Time32(TimeUnit::Second), "Time32(s)"),
        (T::Time64(TimeUnit::Microsecond), "Time64(µs)"),
        (T::Date64, "Date64"),
        (T::Timestamp(TimeUnit::Second, None), "Timestamp(s)"),
        (
            T::Timestamp(TimeUnit::Microsecond, Some("Europe/Paris".into())),
            "Timestamp(µs, \"Europe/Paris\")",
        ),
        (T::Decimal32(5, 2), "Decimal32(5, 2)"),
        (T::Decimal64(15, 2), "Decimal64(15, 2)"),
        (T::Decimal128(38, -1), "decimal(38, -1)"),
        (T::Decimal256(76, 10), "Decimal256(76, 10)"),
        (T::Float16, "Float16"),
        (T::FixedSizeBinary(16), "FixedSizeBinary(16)"),
        (
            T::FixedSizeList(item(T::Int64), 2),
            "FixedSizeList(2 x Int64)",
        ),
        (T::ListView(item(T::Int64)), "ListView(Int64)"),
        (
            T::Interval(IntervalUnit::MonthDayNano),
            "Interval(MonthDayNano)",
        ),
        (
            T::Union(UnionFields::empty(), arrow::datatypes::UnionMode::Sparse),
            "Union(Sparse)",
        ),
    ] {
        for nested in [data_type.clone(), T::List(item(data_type.clone()))] {
            let fields = vec![
                Field::new("id", T::Int64, true),
                Field::new("x", nested.clone(), true),
            ];
            let error = to_frame(&Schema::new(fields), [], "table t").expect_err(shown);
            let message = error.to_string();
            assert!(message.starts_with("table t: column 'x' is "), "{message}");
            assert!(message.contains(shown), "{message}");
            assert!(
                message.ends_with("polars has no type with these values"),
                "{message}"
            );
            assert_eq!(error.hints(), ["name the other columns: &[\"id\"]"]);
        }
    }
    let maps = parse_type("map<text, int64>").expect("maps");
    let maps: ArrayRef = Arc::new(MapArray::from(new_empty_array(&maps).to_data()));
    let schema = batch(maps).schema();
    let error = to_frame(&schema, [], "table t").expect_err("maps");
    assert!(error.to_string().contains("column 'x' is map<text, int64>"));
    assert!(error.hints().is_empty());
}

#[test]
fn a_type_that_no_table_has_is_refused_by_name() {
    let wide = Series::new("wide".into(), [1i64])
        .cast(&PolarsDataType::Int128)
        .expect("128 bits");
    let frame = DataFrame::new(1, vec![Column::from(wide)]).expect("a frame");
    let error = to_batches(&frame).expect_err("128 bits").to_string();
    assert_eq!(
        error,
        "column 'wide' of the frame is i128: tables have no such type"
    );
}

#[test]
fn keys_in_polars_encoding_are_refused() {
    let keys = Series::new("key".into(), ["a", "b", "c", "d"]);
    let encoded = keys.row_encode_unordered().expect("bytes").into_series();
    let frame = DataFrame::new(2, vec![Column::from(encoded.slice(2, 2))]).expect("a frame");
    let error = to_batches(&frame).expect_err("offsets").to_string();
    let why = "column 'key' of the frame is binary[offset]: tables have no such type";
    assert_eq!(error, why);
}

#[test]
fn chunks_that_end_at_different_rows_end_batches() {
    let mut numbers = Series::new("n".into(), [1i64, 2, 3]);
    numbers
        .append(&Series::new("n".into(), [4i64, 5]))
        .expect("the same type");
    let mut texts = Series::new("t".into(), ["a"]);
    texts
        .append(&Series::new(
            "t".into(),
            [Some("b"), None, Some("d"), Some("e")],
        ))
        .expect("the same type");
    let none = Series::new_null("none".into(), 5);
    let columns = [numbers, texts, none].map(Column::from).to_vec();
    let frame = DataFrame::new(5, columns).expect("a frame");
    let (schema, batches) = to_batches(&frame).expect("batches");
    let lengths: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(lengths, [1, 2, 2]);
    let back = to_frame(&schema, batches.into_iter().map(Ok), "frame").expect("a frame");
    assert!(back.equals_missing(&frame));
    // A slice is the rows that it shows, not those that it stands on.
    let (_, batches) = to_batches(&frame.slice(2, 2)).expect("batches");
    let lengths: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(lengths, [1, 1]);
}

#[test]
fn frames_without_rows_or_columns_cross() {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Utf8, true)]));
    let frame = to_frame(&schema, [], "table t").expect("a frame");
    assert_eq!(
        (frame.shape(), frame.columns()[0].dtype()),
        ((0, 1), &PolarsDataType::String)
    );
    let (types, batches) = to_batches(&frame).expect("batches");
    assert_eq!(
        (types.field(0).data_type(), batches.len()),
        (&DataType::Utf8View, 0)
    );

    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options);
    let frame = frame_of(&[none.expect("rows")]);
    assert_eq!(frame.shape(), (3, 0));
    let (_, batches) = to_batches(&frame).expect("batches");
    assert_eq!((batches.len(), batches[0].num_rows()), (1, 3));
}

/// The address of the numbers of a column.
fn address(numbers: &[i64]) -> usize {
    numbers.as_ptr() as usize
}

#[test]
fn no_number_is_copied_and_each_side_outlives_the_other() {
    let numbers = Int64Array::from((0..10_000).collect::<Vec<i64>>());
    let there = address(numbers.values());
    let frame = frame_of(&[batch(Arc::new(numbers))]);
    let column = frame.columns()[0].i64().expect("numbers");
    assert_eq!(address(column.cont_slice().expect("one chunk")), there);
    assert_eq!(column.sum(), Some(49_995_000));

    let (_, batches) = to_batches(&frame).expect("batches");
    drop(frame);
    let back = batches[0]
        .column(0)
        .as_any()
        .downcast_ref::<Int64Array>()
        .expect("numbers");
    assert_eq!(address(back.values()), there);
    assert_eq!(arrow::compute::sum(back), Some(49_995_000));
}

#[test]
fn a_frame_that_is_changed_leaves_the_batch_as_it_was() {
    let rows = batch(Arc::new(Int64Array::from(vec![1, 2, 3])));
    let frame = frame_of(std::slice::from_ref(&rows));
    let column = frame.columns()[0].as_materialized_series().clone();
    drop(frame);
    // Polars adds in place where it may: here the batch still owns the numbers.
    let more = column + 1i64;
    assert_eq!(more.i64().expect("numbers").get(0), Some(2));
    assert_eq!(rows, batch(Arc::new(Int64Array::from(vec![1, 2, 3]))));
}

#[test]
fn frames_are_used_and_dropped_on_other_threads() {
    let types = [
        "text",
        "list<text>",
        "struct<a: int64, b: text>",
        "list<null>",
    ];
    let columns = types.map(|name| (name, sample(&parse_type(name).expect(name), LENGTH, true)));
    let rows = RecordBatch::try_from_iter_with_nullable(
        columns.map(|(name, column)| (name, column, true)),
    );
    let rows = rows.expect("a batch");
    let frame = frame_of(std::slice::from_ref(&rows));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let frame = frame.clone();
            std::thread::spawn(move || {
                let (_, batches) = to_batches(&frame).expect("batches");
                drop(frame);
                batches
            })
        })
        .collect();
    drop(frame);
    drop(rows);
    let back: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("it ran"))
        .collect();
    assert!(back.iter().all(|batches| *batches == back[0]));
    std::thread::spawn(move || drop(back))
        .join()
        .expect("it ran");
}

/// How many KiB of this process are in memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number of KiB")
}

/// Says that this process runs one test alone.
const ALONE: &str = "ASOF_TEST_FRAMES_ALONE";

#[test]
#[cfg(target_os = "linux")]
fn memory_stays_flat_over_ten_thousand_frames_each_way() {
    // Other tests of this process take memory meanwhile: look at it in one of its own.
    if std::env::var_os(ALONE).is_none() {
        let name = "frames::tests::memory_stays_flat_over_ten_thousand_frames_each_way";
        let run = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .expect("it runs");
        let output = String::from_utf8_lossy(&run.stdout);
        assert!(
            run.status.success() && output.contains("1 passed"),
            "{output}"
        );
        return;
    }
    let types = [
        "null",
        "int64",
        "text",
        "decimal(10, 2)",
        "timestamp(us, UTC)",
        "list<text>",
        "struct<a: int64, b: text>",
    ];
    let columns = types.map(|name| {
        (
            name,
            sample(&parse_type(name).expect(name), 100, true),
            true,
        )
    });
    let rows = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let mut after = Vec::new();
    for round in 0..10_000 {
        let frame = frame_of(std::slice::from_ref(&rows));
        let (_, back) = to_batches(&frame).expect("batches");
        assert_eq!(back[0].num_rows(), 100);
        if round % 1000 == 999 {
            after.push(resident());
        }
    }
    // What one frame allocates of its own is more than ten KiB.
    let (least, most) = (after.iter().min(), after.iter().max());
    let grown = most.expect("rounds") - least.expect("rounds");
    assert!(grown < 4096, "KiB after each thousand frames: {after:?}");
}
