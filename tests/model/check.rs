//! What is compared of one history.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use asof::commands::backfill::DateAction;
use asof::commands::compact::CompactionMode;
use asof::commands::engine::Engine;
use asof::engine::as_of::RowSource;
use asof::model::DateRange;
use chrono::{Days, NaiveDate};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom, SliceRandom};

use super::arrow_io::{Read, read_parquet};
use super::history::{History, How, Kind, Place, Policy, Row, Snapshot, generator};
use super::lake::{Join, Lake};
use super::oracle::{self, Event, Interval, part};
use super::value::Value;

/// Makes the history of a seed and compares everything. An engine that is not the local one
/// compacts into the lake, which must give the same bytes, and runs the second of two backfills.
pub(super) fn history(seed: u64, engine: Engine) {
    let mut rng = generator(seed);
    let mut history = History::random(&mut rng);
    let mut lake = Lake::of(&history, engine);
    let keys = key_names(&history);
    let late = (history.policy != Policy::Error && rng.random_bool(0.5))
        .then(|| rng.random_range(1..history.snapshots.len()));
    let complete = history.snapshots.clone();
    let mut longest = history.longest_gap();
    if let Some(late) = late {
        history.snapshots.remove(late);
        longest = longest.max(history.longest_gap());
    }
    let bounded = history.policy == Policy::Carry && rng.random_bool(0.3);
    if bounded {
        lake.limit_gap(longest);
    }
    for (at, snapshot) in history.snapshots.iter().enumerate() {
        lake.put(&mut rng, snapshot, &keys);
        if at > 0 && rng.random_bool(0.4) {
            lake.compact(None);
        }
    }
    intervals(&lake, &history, "in batches");
    if let Some(late) = late {
        history.snapshots = complete;
        lake.put(&mut rng, &history.snapshots[late], &keys);
        intervals(&lake, &history, "after a late date");
    }
    if rng.random_bool(0.6) {
        let past = rng.random_range(0..history.snapshots.len());
        history.rewrite(&mut rng, past);
        lake.put(&mut rng, &history.snapshots[past], &keys);
        intervals(&lake, &history, "after a rewritten date");
    }
    expansion(&lake, &history);
    soundness(&lake, &history);
    backfills(&mut rng, &lake, &history, seed);
    if bounded && history.longest_gap() > 0 {
        lake.limit_gap(history.longest_gap() - 1);
        assert!(
            lake.refused_compact().contains("table t"),
            "a gap that is too long is refused"
        );
    }
}

fn key_names(history: &History) -> Vec<String> {
    history
        .key
        .iter()
        .map(|column| column.name.clone())
        .collect()
}

fn model(history: &History) -> Vec<Interval> {
    oracle::intervals(&history.snapshots, history.policy, |name| {
        history.counts(name)
    })
}

/// Incremental equals full, byte for byte, and both equal the model.
fn intervals(lake: &Lake, history: &History, when: &str) {
    lake.compact(None);
    let full = lake.compact(Some("full"));
    assert_eq!(full.mode, CompactionMode::Full);
    let path = lake.path("lake/t/intervals/t.parquet");
    let bytes = std::fs::read(&path).unwrap();
    let read = read_parquet(&path);
    let found = found(history, &read);
    let expected = model(history);
    assert_same(&found, &expected, &format!("{when}, the intervals"));
    let mut columns = oracle::columns(&history.snapshots);
    columns.extend([
        history.convention.start.clone(),
        history.convention.end.clone(),
    ]);
    assert_eq!(read.names(), columns, "{when}, the columns");
    assert!(
        bytes == std::fs::read(lake.path("full/t.parquet")).unwrap(),
        "{when}, an incremental run and a full one differ in bytes"
    );
    assert_eq!(lake.compact(None).mode, CompactionMode::UpToDate);
    let open = expected
        .iter()
        .filter(|interval| interval.end.is_none())
        .count();
    assert_eq!(
        (full.intervals, full.open),
        (expected.len() as u64, open as u64),
        "{when}, the report"
    );
}

fn assert_same<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T], what: &str) {
    for (at, pair) in found.iter().zip(expected).enumerate() {
        assert_eq!(pair.0, pair.1, "{what} differ at {at} (found, expected)");
    }
    assert_eq!(
        found.len(),
        expected.len(),
        "{what}: {:?}",
        found.get(expected.len()).or(expected.get(found.len()))
    );
}

/// The intervals of an object, in its order.
fn found(history: &History, read: &Read) -> Vec<Interval> {
    let convention = &history.convention;
    let date = |value: &Value| match value {
        Value::Time(micros) => {
            NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()
                + chrono::Duration::days(micros / 86_400_000_000)
        }
        other => panic!("{other:?} is not a date"),
    };
    let interval = |row: &Row| {
        let mut row = row.clone();
        let start = date(&row.remove(&convention.start).expect("a start"));
        let written = row.remove(&convention.end).map(|end| date(&end));
        assert!(
            written.is_some() || convention.open_null,
            "an open end is not null"
        );
        let open = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap();
        let end = written
            .filter(|end| *end != open)
            .map(|end| end - Days::new(convention.exclusive.into()));
        let (key, row) = split(history, row);
        Interval {
            key,
            start,
            end,
            row,
        }
    };
    let found: Vec<Interval> = read.rows.iter().map(interval).collect();
    for pair in found.windows(2) {
        assert!(
            (&pair[0].key, pair[0].start) < (&pair[1].key, pair[1].start),
            "not sorted by key and start: {pair:?}"
        );
        assert!(
            pair[0].key != pair[1].key || pair[0].end.is_some_and(|end| end < pair[1].start),
            "they overlap: {pair:?}"
        );
    }
    found
}

/// A row as its key and the rest.
fn split(history: &History, mut row: Row) -> (Vec<Value>, Row) {
    let key = history
        .key
        .iter()
        .map(|column| row.remove(&column.name).unwrap_or(Value::Null))
        .collect();
    (key, row)
}

/// Intervals give every snapshot back.
fn expansion(lake: &Lake, history: &History) {
    let first = history.snapshots[0].date;
    let last = history.snapshots[history.snapshots.len() - 1].date;
    assert_eq!(
        lake.expand("expanded", first, last),
        history.snapshots.len()
    );
    let intervals = model(history);
    for snapshot in &history.snapshots {
        let below = format!("snapshot_date={}/t.parquet", snapshot.date);
        let read = read_parquet(&lake.path("expanded").join(&below));
        let names: Vec<&String> = snapshot.columns.iter().map(|(name, _)| name).collect();
        assert_eq!(
            read.names().iter().collect::<Vec<_>>(),
            names,
            "expanded columns of {}",
            snapshot.date
        );
        let own = lake.path("lake/t/snapshots").join(&below);
        if own.exists() {
            assert_eq!(
                types(&read.schema),
                types(&read_parquet(&own).schema),
                "expanded types of {}",
                snapshot.date
            );
        }
        let rows: Vec<(Vec<Value>, Row)> = read
            .rows
            .into_iter()
            .map(|row| split(history, row))
            .collect();
        let expected: Vec<_> = oracle::expand(&intervals, snapshot).into_iter().collect();
        assert_same(&rows, &expected, &format!("rows of {}", snapshot.date));
        let compared = |row: &Row| part(row, |name| history.counts(name));
        let given: Vec<_> = rows
            .iter()
            .map(|(key, row)| (key.clone(), compared(row)))
            .collect();
        let stood: Vec<_> = snapshot
            .rows
            .iter()
            .map(|(key, row)| (key.clone(), compared(row)))
            .collect();
        assert_same(
            &given,
            &stood,
            &format!("compared columns of {}", snapshot.date),
        );
    }
}

fn types(schema: &SchemaRef) -> Vec<&DataType> {
    schema
        .fields()
        .iter()
        .map(|field| field.data_type())
        .collect()
}

fn soundness(lake: &Lake, history: &History) {
    let report = lake.verify();
    assert!(report.is_ok(), "{:?}", report.problems);
    let proof = &report.tables[0];
    assert_eq!(
        (proof.round_trips, proof.intervals),
        (
            history.snapshots.len() as u64,
            Some(model(history).len() as u64)
        )
    );
}

/// A backfill by snapshots equals the one by intervals, byte for byte, and both the model's.
fn backfills(rng: &mut StdRng, lake: &Lake, history: &History, seed: u64) {
    let first = history.snapshots[0].date;
    let last = history.snapshots[history.snapshots.len() - 1].date;
    let range = DateRange::new(first - Days::new(2), last + Days::new(3)).unwrap();
    let shape = EventsShape::random(rng, history);
    let mut events: BTreeMap<NaiveDate, Vec<Event>> = BTreeMap::new();
    for date in range.dates() {
        if date == first || rng.random_bool(0.4) {
            let some: Vec<Event> = (0..rng.random_range(0..9))
                .map(|number| shape.event(rng, history, number))
                .collect();
            lake.put_events(date, &shape.columns, &some);
            events.insert(date, some);
        }
    }
    for number in 0..rng.random_range(1..3) {
        let join = random_join(rng, history, &shape);
        let by_snapshots = format!("{number}/snapshots/out");
        let by_intervals = format!("{number}/intervals/out");
        let snapshots = outputs(range, &by_snapshots, |range, out| {
            lake.join(&join, range, RowSource::Snapshots, out)
        });
        if lake.is_on_cluster() && shape.may_round(history) {
            continue;
        }
        let intervals = outputs(range, &by_intervals, |range, out| {
            lake.join(&join, range, RowSource::Intervals, out)
        });
        let failed = snapshots.failed.clone();
        assert_eq!(
            (&failed, &snapshots.dates),
            (&intervals.failed, &intervals.dates)
        );
        assert_eq!(failed, expected_failures(history, &events, &join));
        for (date, events) in events.iter().filter(|(date, _)| !failed.contains(date)) {
            let read = same_bytes(lake, snapshots.of(*date), intervals.of(*date), *date);
            let snapshot =
                oracle::as_of(&history.snapshots, *date, join.lag, join.tolerance).unwrap();
            let (names, renamed) = output_columns(history, &shape, &join, snapshot);
            assert_eq!(
                read.names(),
                names,
                "columns of the {:?} join of {date}",
                join.how
            );
            let expected = oracle::join(events, join.how, snapshot, &renamed);
            assert_same(
                &read.rows,
                &expected,
                &format!("rows of the {:?} join of {date}", join.how),
            );
            assert!(
                join.how != How::Left || read.rows.len() == events.len(),
                "a left join keeps every event once"
            );
        }
    }
    // A query engine orders zeros by their sign.
    if seed.is_multiple_of(8)
        && history.counts_all()
        && history.key.iter().all(|column| column.kind != Kind::Real)
    {
        queries(rng, lake, history, &shape, range);
    }
}

/// What a run over a range left.
struct Outputs {
    root: String,
    dates: Vec<NaiveDate>,
    failed: Vec<NaiveDate>,
    /// Outputs of a root of their own.
    alone: BTreeMap<NaiveDate, String>,
}

impl Outputs {
    /// The root of a date's output.
    fn of(&self, date: NaiveDate) -> &str {
        self.alone.get(&date).unwrap_or(&self.root)
    }
}

/// Runs a range; and each date alone, below a root of its own, whose columns are of other types
/// than those of the dates before it: outputs below one root have one schema.
fn outputs(
    range: DateRange,
    root: &str,
    run: impl Fn(DateRange, &str) -> asof::commands::backfill::BackfillReport,
) -> Outputs {
    let mut report = run(range, root);
    let mut alone = BTreeMap::new();
    for date in &mut report.dates {
        if date
            .error
            .as_ref()
            .is_some_and(|why| why.contains("all outputs of a job have one schema"))
        {
            let own = root.replace("/out", &format!("/{}/out", date.date));
            *date = run(DateRange::single(date.date), &own).dates.remove(0);
            alone.insert(date.date, own);
        }
    }
    let dates = report.dates.iter().map(|date| date.date).collect();
    Outputs {
        root: root.to_owned(),
        dates,
        failed: reported(&report),
        alone,
    }
}

/// The dates that failed.
fn reported(report: &asof::commands::backfill::BackfillReport) -> Vec<NaiveDate> {
    for date in &report.dates {
        let why = date.error.as_deref().unwrap_or_default();
        assert!(
            date.action == DateAction::Written || why.contains("no snapshot"),
            "{} {:?}: {why}",
            date.date,
            date.action
        );
    }
    report
        .dates
        .iter()
        .filter(|date| date.action == DateAction::Failed)
        .map(|date| date.date)
        .collect()
}

fn expected_failures(
    history: &History,
    events: &BTreeMap<NaiveDate, Vec<Event>>,
    join: &Join,
) -> Vec<NaiveDate> {
    let fails = |date: &&NaiveDate| {
        oracle::as_of(&history.snapshots, **date, join.lag, join.tolerance).is_none()
    };
    events.keys().filter(fails).copied().collect()
}

/// Reads an output of a date that two ways of making it agree on.
fn same_bytes(lake: &Lake, one: &str, other: &str, date: NaiveDate) -> Read {
    let path = |root: &str| lake.path(&format!("{root}/date={date}/out.parquet"));
    let bytes = |path: &Path| {
        std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let one = path(one);
    let read = read_parquet(&one);
    if lake.is_on_cluster() {
        same_rows(&read, &lake.path(&format!("{other}/date={date}")), date);
        return read;
    }
    let other = path(other);
    if bytes(&one) == bytes(&other) {
        return read;
    }
    let peer = read_parquet(&other);
    assert_eq!(
        read.names(),
        peer.names(),
        "{date}, by snapshots and by intervals"
    );
    assert_same(
        &read.rows,
        &peer.rows,
        &format!("{date}, by snapshots and by intervals"),
    );
    assert_eq!(
        types(&read.schema),
        types(&peer.schema),
        "{date}, by snapshots and by intervals"
    );
    // What may differ is the sign of a zero, which intervals keep from their first day; and the
    // name of an external copy in the footer, which is of its files or of its rows.
    let zeros = read.rows.iter().flat_map(Row::values).any(is_zero);
    let is_named_by_files = matches!(lake.place, Place::Parquet(_));
    assert!(
        zeros || is_named_by_files,
        "{date}: bytes by snapshots and by intervals differ"
    );
    read
}

/// Compares an output with the files that a cluster wrote: the same rows in any order, in the types
/// that docs/scale.md names.
fn same_rows(read: &Read, folder: &Path, date: NaiveDate) {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|file| {
            !file
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(['.', '_'])
        })
        .collect();
    files.sort();
    let parts: Vec<Read> = files.iter().map(|file| read_parquet(file)).collect();
    let first = parts
        .first()
        .unwrap_or_else(|| panic!("{date}: no file of the cluster"));
    let kept = |schema: &SchemaRef| -> Vec<(String, DataType)> {
        let fields = schema.fields().iter();
        fields
            .map(|field| (field.name().clone(), on_cluster(field.data_type())))
            .collect()
    };
    assert_eq!(
        kept(&first.schema),
        kept(&read.schema),
        "{date}, on a cluster and here"
    );
    let mut rows: Vec<Row> = parts.iter().flat_map(|part| part.rows.clone()).collect();
    let mut here = read.rows.clone();
    rows.sort();
    here.sort();
    assert_same(&rows, &here, &format!("{date}, on a cluster and here"));
}

/// The type of a column that a cluster writes where this process writes another one.
fn on_cluster(data_type: &DataType) -> DataType {
    use DataType as T;
    match data_type {
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Timestamp(_, zone) => T::Timestamp(TimeUnit::Microsecond, zone.clone()),
        T::Null => T::Utf8,
        T::List(item) => T::List(Field::new("item", on_cluster(item.data_type()), true).into()),
        T::Struct(fields) => T::Struct(
            fields
                .iter()
                .map(|field| Field::new(field.name(), on_cluster(field.data_type()), true))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn is_zero(value: &Value) -> bool {
    matches!(value, Value::Real(real) if *real == 0.0)
}

/// The columns of events.
struct EventsShape {
    keys: Vec<String>,
    columns: Vec<(String, DataType)>,
}

impl EventsShape {
    fn random(rng: &mut StdRng, history: &History) -> Self {
        let same_names = rng.random_bool(0.4);
        let name = |column: &super::history::Column| {
            if same_names {
                column.name.clone()
            } else {
                format!("e_{}", column.name)
            }
        };
        let keys: Vec<String> = history.key.iter().map(name).collect();
        let mut columns: Vec<(String, DataType)> = keys
            .iter()
            .zip(&history.key)
            .map(|(name, column)| (name.clone(), column.types.choose(rng).unwrap().clone()))
            .collect();
        columns.push(("n".into(), DataType::Int64));
        if rng.random_bool(0.4) {
            columns.push(("c0".into(), DataType::Utf8));
        }
        columns.shuffle(rng);
        EventsShape { keys, columns }
    }

    /// Whether a float may be joined to an integer, which a cluster refuses.
    fn may_round(&self, history: &History) -> bool {
        let of_events = |name: &String| {
            let mut columns = self.columns.iter();
            columns.any(|(column, data_type)| column == name && data_type.is_floating())
        };
        let mut pairs = self.keys.iter().zip(&history.key);
        pairs.any(|(name, column)| {
            let is_float = of_events(name);
            column.types.iter().any(|of| of.is_floating() != is_float)
        })
    }

    /// An event of a known key, an unknown one, or none.
    fn event(&self, rng: &mut StdRng, history: &History, number: i64) -> Event {
        let mut key = history.pool.choose(rng).unwrap().clone();
        if rng.random_bool(0.15) {
            *key.choose_mut(rng).unwrap() = Value::Null;
        }
        let mut row: Row = self.keys.iter().cloned().zip(key.iter().cloned()).collect();
        row.insert("n".into(), Value::Int(number / 2));
        row.insert("c0".into(), Value::Text("an event's".into()));
        row.retain(|name, _| self.columns.iter().any(|(column, _)| column == name));
        Event { key, row }
    }
}

fn random_join(rng: &mut StdRng, history: &History, shape: &EventsShape) -> Join {
    let mut how = *[How::Inner, How::Left, How::Semi, How::Anti]
        .choose(rng)
        .unwrap();
    let mut select: Vec<String> = oracle::columns(&history.snapshots);
    select.retain(|name| {
        history.counts(name) && history.key.iter().all(|column| column.name != *name)
    });
    select.shuffle(rng);
    select.truncate(rng.random_range(1..4));
    // Columns that are not compared are those of the snapshot or of the interval's first day.
    if select.is_empty() && !history.counts_all() {
        how = How::Semi;
    }
    if matches!(how, How::Semi | How::Anti) || (history.counts_all() && rng.random_bool(0.5)) {
        select.clear();
    }
    let on = shape
        .keys
        .iter()
        .zip(&history.key)
        .map(|(event, column)| format!("{event}={}", column.name));
    let mut on: Vec<String> = on.collect();
    on.shuffle(rng);
    Join {
        how,
        on,
        select,
        lag: rng.random_range(0..3),
        tolerance: *[0, 1, 3, 30].choose(rng).unwrap(),
    }
}

/// The names of a join's output, and what each of the table's columns is called there.
fn output_columns(
    history: &History,
    shape: &EventsShape,
    join: &Join,
    snapshot: &Snapshot,
) -> (Vec<String>, BTreeMap<String, String>) {
    let mut names: Vec<String> = shape.columns.iter().map(|(name, _)| name.clone()).collect();
    let mut renamed = BTreeMap::new();
    if matches!(join.how, How::Semi | How::Anti) {
        return (names, renamed);
    }
    let is_key = |name: &str| history.key.iter().any(|column| column.name == name);
    let all = || {
        snapshot
            .columns
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| !is_key(name))
            .collect()
    };
    let selected: Vec<String> = if join.select.is_empty() {
        all()
    } else {
        join.select.clone()
    };
    for name in selected {
        let called = if names.contains(&name) {
            format!("{name}_t")
        } else {
            name.clone()
        };
        renamed.insert(name, called.clone());
        names.push(called);
    }
    (names, renamed)
}

#[cfg(not(feature = "sql"))]
fn queries(_: &mut StdRng, _: &Lake, _: &History, _: &EventsShape, _: DateRange) {}

/// Queries by snapshots and by intervals agree.
#[cfg(feature = "sql")]
fn queries(
    rng: &mut StdRng,
    lake: &Lake,
    history: &History,
    shape: &EventsShape,
    range: DateRange,
) {
    let key = key_names(history).join(", ");
    let pairs = shape
        .keys
        .iter()
        .zip(&history.key)
        .map(|(event, column)| format!("e.{event} = t.{}", column.name));
    let on = pairs.collect::<Vec<_>>().join(" and ");
    let whole =
        format!("select * from t where exists (select 1 from events) or true order by {key}");
    let counted = format!(
        "select e.n, count(t.{}) as met from events e left join t on {on} group by e.n order \
         by e.n",
        history.key[0].name
    );
    let mut join = random_join(rng, history, shape);
    join.tolerance = 30;
    for (number, sql) in [whole, counted].iter().enumerate() {
        let one = format!("sql{number}/snapshots/out");
        let other = format!("sql{number}/intervals/out");
        let snapshots = outputs(range, &one, |range, out| {
            lake.query(sql, &join, range, RowSource::Snapshots, out)
        });
        let intervals = outputs(range, &other, |range, out| {
            lake.query(sql, &join, range, RowSource::Intervals, out)
        });
        assert_eq!(snapshots.failed, intervals.failed);
        for date in snapshots
            .dates
            .iter()
            .copied()
            .filter(|date| !snapshots.failed.contains(date))
        {
            let read = same_bytes(lake, snapshots.of(date), intervals.of(date), date);
            let snapshot =
                oracle::as_of(&history.snapshots, date, join.lag, join.tolerance).unwrap();
            if number == 0 {
                let rows: Vec<_> = read
                    .rows
                    .into_iter()
                    .map(|row| split(history, row))
                    .collect();
                let expected: Vec<_> = snapshot
                    .rows
                    .iter()
                    .map(|(key, row)| (key.clone(), part(row, |_| true)))
                    .collect();
                assert_same(&rows, &expected, &format!("the whole table as of {date}"));
            }
        }
    }
}
