//! Tables and events whose dates are in a column.

use super::environment::{World, text};

const CONFIG: &str = r#"lake = "lake"

[tables.item]
snapshots = "item_snapshot.csv"
date_column = "snapshot_date"
key = ["id"]
tolerance = "1d"

[events.orders]
path = "orders.csv"
date_column = "at"
timezone = "Europe/Helsinki"

[jobs.named]
events = "orders"
table = "item"
on = ["item_id=id"]
output = "named"
"#;

const ITEMS: &str = "id,name,snapshot_date\n1,pen,2024-09-13\n2,ink,2024-09-13\n2,oil,2024-09-14\n1,pen,2024-09-14\n1,nib,2024-09-15\n";

/// 22:30 in UTC is the next day in Helsinki.
const ORDERS: &str = "order_id,item_id,at\n11,1,2024-09-12T22:30:00Z\n12,2,2024-09-13T10:00:00Z\n13,2,2024-09-14T10:00:00Z\n\
                      14,1,2024-09-13T23:30:00Z\n15,1,2024-09-15T10:00:00Z\n16,2,2024-09-15T11:00:00Z\n";

fn shop() -> World {
    let world = World::new();
    world.write("asof.toml", CONFIG);
    world.write("item_snapshot.csv", ITEMS);
    world.write("orders.csv", ORDERS);
    world
}

/// Runs Python with the packages of the tests in the folder of a world.
pub(crate) fn python(world: &World, script: &str) {
    world.write("make.py", script);
    let python = std::env::var("ASOF_TEST_PYTHON").expect("tests/run sets it");
    let output = world
        .prepared(&python, &["make.py".to_owned()])
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_table_and_events_with_their_dates_in_a_column_are_like_any_other() {
    let mut world = shop();
    world.succeeds("show item --date 2024-09-14");
    world.succeeds("backfill named --from 2024-09-13 --to 2024-09-15");
    for day in ["13", "14", "15"] {
        world.tell(
            &world
                .rows(&format!("named/date=2024-09-{day}/named.parquet"))
                .join("\n"),
        );
    }
    world.succeeds("backfill named --from 2024-09-13 --to 2024-09-15");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.succeeds("history item 1");
    world.succeeds("diff item 2024-09-14 2024-09-15");
    world.succeeds("status item");
    world.succeeds("schema item");
    world.succeeds("status named --from 2024-09-01 --to 2024-09-30");
    world.pin("date_columns");
}

#[test]
fn events_of_one_date_are_stale_if_they_change_and_not_if_others_come() {
    let mut world = shop();
    let run = "backfill named --from 2024-09-13 --to 2024-09-16";
    world.succeeds(run);
    world.write("orders.csv", format!("{ORDERS}17,1,2024-09-16T10:00:00Z\n"));
    world.succeeds(run);
    world.write(
        "orders.csv",
        format!(
            "{}17,1,2024-09-16T10:00:00Z\n",
            ORDERS.replace("13,2,", "13,1,")
        ),
    );
    world.succeeds(run);
    world.write(
        "orders.csv",
        ORDERS
            .replace("15,1,2024-09-15T10:00:00Z\n16,2,2024-09-15T11:00:00Z\n", "")
            .replace("13,2,", "13,1,"),
    );
    world.succeeds(run);
    world.pin("date_columns_stale");
}

#[test]
fn what_is_wrong_with_a_column_of_dates_is_refused() {
    let mut world = shop();
    let backfill = |rest: &str| {
        format!(
            "backfill --table item --on item_id=id --out out --from 2024-09-13 --to 2024-09-15 \
             --events {rest}"
        )
    };
    world.refuses(2, &backfill("orders.csv"));
    world.refuses(2, &backfill("orders.csv --events-date-format %Y"));
    world.refuses(2, &backfill("orders.csv --events-date-column att"));
    world.refuses(2, &backfill("orders.csv --events-date-column item_id"));
    world.refuses(
        2,
        &backfill("orders.csv --events-date-column at --events-timezone Europe/Helsinky"),
    );
    world.refuses(
        3,
        &backfill("orders.csv --events-date-column at").replace("2024", "2025"),
    );
    world.write("late.csv", "item_id,day\n1,13/09/2024\n2,\n");
    world.refuses(
        3,
        &backfill("late.csv --events-date-column day --events-date-format %d/%m/%Y"),
    );
    world.write("typed.ndjson", "{\"item_id\":1,\"day\":\"31/02/2024\"}\n");
    world.refuses(
        3,
        &backfill("typed.ndjson --events-date-column day --events-date-format %d/%m/%Y"),
    );
    world.refuses(1, &backfill("missing.csv --events-date-column at"));
    world.refuses(
        2,
        "compact item --snapshots item_snapshot.csv --date-column snapshot_date \
         --key id,snapshot_date --out o.parquet",
    );
    world.refuses(
        3,
        "compact item --snapshots item_snapshot.csv --date-column snapshot_date \
         --key id --out o.parquet --from 2025-01-01",
    );
    world.refuses(2, "snapshot item --source item_snapshot.csv");
    for (section, line) in [
        ("tables.item", "snapshots = 'x'"),
        ("tables.item", "date_column = 'day'"),
        (
            "tables.item",
            "snapshots = 'x'\nlayout = '%Y-%m-%d'\ntimezone = 'UTC'",
        ),
        ("events.e", "path = 'x'"),
        ("events.e", "date_column = 'day'"),
        (
            "events.e",
            "path = 'x'\ndate_column = 'day'\ntimezone = 'Mars'",
        ),
    ] {
        world.write("asof.toml", format!("lake = 'lake'\n[{section}]\n{line}\n"));
        world.refuses(2, "status");
    }
    world.pin("date_columns_refused");
}

#[test]
fn of_a_year_of_events_in_one_file_only_the_row_groups_of_the_range_are_decoded() {
    let mut world = World::new();
    python(
        &world,
        "
import datetime, pyarrow as pa, pyarrow.parquet as pq
first = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
rows = [(first + datetime.timedelta(days=day, minutes=7 * n), n % 5, day * 100 + n) for day in \
         range(365) for n in range(100)]
frame = pa.table({'at': pa.array([row[0] for row in rows], pa.timestamp('us', 'UTC')), 'item_id': [row[1] for row in rows], 'n': [row[2] for row in rows]})
pq.write_table(frame, 'orders.parquet', row_group_size=100)
items = pa.table({'id': [0, 1, 2, 3], 'name': ['a', 'b', 'c', 'd'], 'day': [first.date()] * 4})
pq.write_table(items, 'items.parquet')
for day in range(60, 67):
    date = (first + datetime.timedelta(days=day)).date()
    import os
    os.makedirs(f'folders/{date}')
    pq.write_table(frame.slice(day * 100, 100), f'folders/{date}/x.parquet')
# Nothing but the row groups of a week is left: whoever decodes another one fails.
data, file = bytearray(open('orders.parquet', 'rb').read()), pq.ParquetFile('orders.parquet')
for group in range(file.num_row_groups):
    if not 60 <= group < 67:
        for column in range(3):
            chunk = file.metadata.row_group(group).column(column)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            data[start : start + chunk.total_compressed_size] = b'\\xff' * \
         chunk.total_compressed_size
open('orders.parquet', 'wb').write(data)
",
    );
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsnapshots = \
         'items.parquet'\ndate_column = 'day'\nkey = ['id']\n",
    );
    let join = "--table item --on item_id=id --tolerance 90d --from 2024-03-01 --to 2024-03-07";
    world.succeeds(&format!(
        "backfill --events orders.parquet --events-date-column at {join} --out one"
    ));
    world.succeeds(&format!(
        "backfill --events folders --events-layout %Y-%m-%d {join} --out many"
    ));
    for day in 1..=7 {
        let rows = |root: &str| world.rows(&format!("{root}/date=2024-03-0{day}/{root}.parquet"));
        assert_eq!(rows("one").len(), 101, "the header and a hundred events");
        assert_eq!(rows("one"), rows("many"), "March {day}");
    }
    // Another date cannot be decoded, which shows that the test would see it.
    let other = join.replace("03-01", "03-08").replace("03-07", "03-08");
    world.refuses(
        3,
        &format!("backfill --events orders.parquet --events-date-column at {other} --out one"),
    );
}

#[cfg(feature = "sql")]
#[test]
fn the_example_of_the_readme_runs_as_it_is() {
    let mut world = World::new();
    let readme = include_str!("../../README.md");
    let section = readme
        .split("## Three ways to ask for the past")
        .nth(1)
        .and_then(|text| text.split("\n## ").next())
        .expect("the section");
    let block = |language: &str, at: usize| {
        let found = section
            .split(&format!("```{language}\n"))
            .nth(at + 1)
            .and_then(|text| text.split("```").next());
        found.expect("a block").to_owned()
    };
    world.write("item_snapshot.csv", block("csv", 0));
    world.write("item_events.csv", block("csv", 1));
    world.write("asof.toml", block("toml", 0));
    for job in ["as_of", "by_snapshot", "by_interval"] {
        world.succeeds(&format!("backfill {job} --from 2024-09-13 --to 2024-09-15"));
        for day in ["13", "14", "15"] {
            world.tell(
                &world
                    .rows(&format!("{job}/date=2024-09-{day}/{job}.parquet"))
                    .join("\n"),
            );
        }
    }
    world.pin("date_columns_readme");
}

/// What DuckDB finds for events joined each to the copy of its own date.
const JOINED: &str = "
import duckdb
duckdb.sql(\"set timezone = 'UTC'\")
found = duckdb.sql('''
  select o.n, o.\"at\", o.item_id, i.name, i.price from 'orders.parquet' o
  left join 'items.parquet' i on i.id = o.item_id and i.day = cast(o.\"at\" as date) order by \
  n''').fetchall()
given = duckdb.sql('''select n, \"at\", item_id, name, price from 'joined.parquet' order by \
n''').fetchall()
assert found == given, [(a, b) for a, b in zip(found, given) if a != b][:3]
assert len(found) == 3000 and sum(row[3] is None for row in found) > 100
";

#[test]
fn events_of_many_dates_are_joined_in_one_pass_each_to_the_table_of_its_date() {
    let mut world = World::new();
    python(
        &world,
        "
import datetime, random, pyarrow as pa, pyarrow.parquet as pq
random.seed(11)
first = datetime.datetime(2024, 2, 1)
orders = [(first + datetime.timedelta(minutes=random.randrange(30 * 1440)), random.randrange(40)) \
         for _ in range(3000)]
pq.write_table(pa.table({'at': pa.array([at for at, _ in orders], pa.timestamp('us')), 'item_id': [item for _, item in orders], 'n': range(3000)}), 'orders.parquet', row_group_size=500)
items = [(item, f'n{random.randrange(3)}', random.randrange(2) / 4, first.date() + \
         datetime.timedelta(day)) for day in range(30) for item in range(38) if random.random() < .9]
random.shuffle(items)
pq.write_table(pa.table({'id': [row[0] for row in items], 'name': [row[1] for row in items], 'price': [row[2] for row in items], 'day': [row[3] for row in items]}), 'items.parquet')
",
    );
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsnapshots = \
         'items.parquet'\ndate_column = 'day'\nkey = ['id']\n",
    );
    let join = "join --events orders.parquet --events-date-column at --table item --on item_id=id \
     --out joined.parquet";
    world.succeeds(&format!("{join} --dry-run"));
    assert!(!world.path("joined.parquet").exists());
    world.succeeds(join);
    python(&world, JOINED);
    let rows = world.rows("joined.parquet");
    world.succeeds(join);
    world.succeeds("compact item");
    world.succeeds(&format!("{join} --using intervals").replace("joined.parquet", "again.parquet"));
    assert_eq!(
        world.rows("again.parquet"),
        rows,
        "in the order of the events, from snapshots and from intervals"
    );
    world.succeeds(&format!(
        "{join} --how inner --where 'price > 0' --select name --from 2024-02-10 --to 2024-02-12"
    ));
    world.succeeds(&format!("{join} --lag 1d --from 2024-02-02"));
    world.refuses(3, &format!("{join} --lag 1d"));
    world.refuses(3, &format!("{join} --from 2025-01-01"));
    world.refuses(2, &join.replace("joined.parquet", "joined"));
    world.refuses(
        2,
        &join.replace("--events-date-column at", "--events-layout %Y-%m-%d"),
    );
    world.refuses(2, &join.replace("item_id=id", "item=id"));
    world.refuses(2, &join.replace("joined.parquet", "orders.parquet"));
    world.refuses(2, &join.replace("joined.parquet", "lake/x.parquet"));
    std::fs::copy(world.path("items.parquet"), world.path("other.parquet")).expect("copied");
    world.refuses(3, &join.replace("joined.parquet", "other.parquet"));
    world.pin("join");
}

#[test]
fn a_join_of_many_dates_reads_own_snapshots_and_columns_that_come_and_widen() {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nkey = ['id']\nsource = 'item.csv'\n",
    );
    for (day, rows) in [
        ("2024-03-01", "id,v\nA,1\nB,2\n"),
        ("2024-03-02", "id,v,w\nA,1,x\nB,2.5,y\n"),
        ("2024-03-04", "id,v,w\nA,1,x\n"),
    ] {
        world.at(day);
        world.write("item.csv", rows);
        world.succeeds("snapshot item");
    }
    world.write(
        "ev/1.csv",
        "key,on\nB,2024-03-04\nA,2024-03-01\n,2024-03-01\n",
    );
    world.write(
        "ev/2.csv",
        "key,on\nB,2024-03-02\nB,2024-03-01\nA,2024-03-03\n",
    );
    let join = "join --events ev --events-date-column on --table item --on key=id --tolerance 1d \
     --out out.parquet";
    world.succeeds(join);
    let rows = world.rows("out.parquet");
    let expected = [
        "key|on|v|w",
        "B|2024-03-04|null|null",
        "A|2024-03-01|1.0|null",
        "null|2024-03-01|null|null",
    ];
    assert_eq!(rows[..4], expected);
    assert_eq!(
        rows[4..],
        [
            "B|2024-03-02|2.5|y",
            "B|2024-03-01|2.0|null",
            "A|2024-03-03|1.0|x"
        ]
    );
    world.succeeds(join);
    world.succeeds("compact item");
    world.succeeds(&format!("{join} --using intervals").replace("out.parquet", "again.parquet"));
    assert_eq!(world.rows("again.parquet"), rows);
    world.write("ev/2.csv", "key,on\nB,2024-03-02\nB,\nA,\n");
    let before = world.bytes("out.parquet");
    world.refuses(3, join);
    assert!(
        world.bytes("out.parquet") == before,
        "a refused join leaves what was there"
    );
    world.pin("join_own");
}

#[test]
fn dates_in_a_column_of_any_type_and_zone_lose_no_row() {
    let mut world = World::new();
    python(
        &world,
        "
import datetime, os, pyarrow as pa, pyarrow.parquet as pq
utc = datetime.timezone.utc
write = lambda path, **columns: (os.makedirs(os.path.dirname(path) or '.', exist_ok=True), \
         pq.write_table(pa.table(columns), path))
# Copies that are loaded at two o'clock in UTC are of the day before in New York.
for day in range(25, 30):
    at = pa.array([datetime.datetime(2024, 3, day, 2, tzinfo=utc)], pa.timestamp('us', 'UTC'))
    write(f'ny/date=2024-03-{day}/x.parquet', id=[1], v=[day - 1], loaded=at)
# One column as an integer and as text.
write('mix/a.parquet', n=[1, 2], id=[1, 1], ts=pa.array([20240326, 20240327], pa.int32()))
write('mix/b.parquet', n=[3, 4], id=[1, 1], ts=['20240326', '20240327'])
write('digits.parquet', n=[1, 2], id=[1, 1], ts=pa.array([20240326, 20240327], pa.uint32()))
write('texts.parquet', n=[1, 2], id=[1, 1], ts=['2024-03-26 11:00:00', '2024-03-27 11:00:00'])
write('floats.parquet', n=[1, 2], id=[1, 1], ts=[20240326.0, 20240327.0])
# Days outside of the years 1 to 9999, and beyond all years.
for name, last in [('open', 253402300799000), ('beyond', 8210266876799000)]:
    write(f'{name}.parquet', n=[1, 2], id=[1, 1], ts=pa.array([1711411200000, last], \
         pa.int64()).cast(pa.timestamp('ms', 'UTC')))
",
    );
    let toml = "lake = 'lake'\ntimezone = 'America/New_York'\n[tables.t]\nsnapshots = \
     'ny'\nlayout = 'date=%Y-%m-%d'\n\
                date_column = 'loaded'\ntolerance = '2d'\nkey = ['id']\n";
    world.write("asof.toml", toml);
    world.write("e.csv", "n,id,d\n1,1,2024-03-27\n");
    world.succeeds("join --events e.csv --events-date-column d --table t --on id --out e.parquet");
    assert_eq!(
        world.rows("e.parquet"),
        ["n|id|d|v", "1|1|2024-03-27|27"],
        "as of the day in New York"
    );
    let range = "--from 2024-03-26 --to 2024-03-27";
    let events = |rest: &str| {
        format!("--table t --on id --select v --events {rest} --events-date-column ts")
    };
    let digits = "--events-date-format %Y%m%d";
    for (name, options, rows) in [
        (
            "mix",
            format!("{} {digits} --types ts=text", events("mix")),
            vec![
                "1|1|20240326|26",
                "2|1|20240327|27",
                "3|1|20240326|26",
                "4|1|20240327|27",
            ],
        ),
        (
            "digits",
            format!("{} {digits}", events("digits.parquet")),
            vec!["1|1|20240326|26", "2|1|20240327|27"],
        ),
        (
            "floats",
            format!("{} {digits} --types ts=int64", events("floats.parquet")),
            vec!["1|1|20240326|26", "2|1|20240327|27"],
        ),
        (
            "texts",
            format!("{} --types ts=timestamp", events("texts.parquet")),
            vec!["1|1|2024-03-26T11:00:00|26", "2|1|2024-03-27T11:00:00|27"],
        ),
    ] {
        for range in ["", range] {
            world.succeeds(&format!("join {options} {range} --out {name}.out.parquet"));
            assert_eq!(
                world.rows(&format!("{name}.out.parquet"))[1..],
                rows,
                "{name} {range}"
            );
        }
        world.succeeds(&format!("backfill {options} {range} --out {name}_out"));
        let of = |day: u32| {
            world
                .rows(&format!("{name}_out/date=2024-03-{day}/{name}_out.parquet"))
                .split_off(1)
        };
        let mut of_days = [of(26), of(27)].concat();
        of_days.sort();
        assert_eq!(of_days, rows, "{name}, one file a date");
    }
    world.refuses(
        3,
        &format!(
            "join {} --out x.parquet",
            events("open.parquet --events-timezone Europe/Berlin")
        ),
    );
    world.refuses(
        3,
        &format!(
            "join {} --out x.parquet",
            events("beyond.parquet --events-timezone Asia/Tokyo")
        ),
    );
    world.refuses(
        3,
        &format!(
            "join {} {range} --out x.parquet",
            events("beyond.parquet --events-timezone Asia/Tokyo")
        ),
    );
    world.refuses(
        2,
        &format!("join {} --out x.parquet", events("floats.parquet")),
    );
    world.refuses(
        2,
        &format!(
            "join {} --events-date-format %H --out x.parquet",
            events("texts.parquet")
        ),
    );
    world.refuses(
        3,
        &format!("join {} --out x.parquet", events("texts.parquet")),
    );
    world.pin("date_columns_types");
}

#[test]
fn an_output_is_never_read_as_events() {
    let mut world = shop();
    world.write("g/1.csv", ORDERS);
    let events = "--events 'g/**/*' --events-date-column at --table item --on item_id=id";
    world.refuses(2, &format!("join {events} --out g/joined.parquet"));
    world.refuses(
        2,
        &format!("backfill {events} --out g/out --from 2024-09-13 --to 2024-09-14"),
    );
    world.refuses(
        2,
        &format!(
            "backfill {events} --out g/out --out-layout %Y-%m-%d --from 2024-09-13 --to 2024-09-14"
        ),
    );
    world.succeeds(&format!(
        "backfill {events} --out out --from 2024-09-13 --to 2024-09-14"
    ));
    world.succeeds(
        "join --events orders --events-date-column at --table item --on item_id=id \
         --out joined.parquet",
    );
    assert_eq!(
        world.rows("joined.parquet").len(),
        7,
        "the option replaces the date column of configured events"
    );
}

#[test]
fn digits_in_csv_meet_keys_of_text_as_in_folders() {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.t]\nsnapshots = 'codes.csv'\ndate_column = 'd'\nkey = ['code']\n",
    );
    world.write(
        "codes.csv",
        "code,name,d\n007,a,2024-03-25\n8,b,2024-03-25\n",
    );
    world.write("e.csv", "e,code,d\n1,8,2024-03-25\n2,7,2024-03-25\n");
    let join = "--events e.csv --events-date-column d --table t --on code";
    world.succeeds(&format!(
        "backfill {join} --from 2024-03-25 --to 2024-03-25 --out out"
    ));
    assert_eq!(
        world.rows("out/date=2024-03-25/out.parquet")[1..],
        ["1|8|2024-03-25|b", "2|7|2024-03-25|null"]
    );
    world.succeeds(&format!("join {join} --out joined.parquet"));
    assert_eq!(
        world.rows("joined.parquet")[1..],
        ["1|8|2024-03-25|b", "2|7|2024-03-25|null"]
    );
}
