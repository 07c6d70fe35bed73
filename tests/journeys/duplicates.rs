//! Sources and external copies with several rows for one key, such as change feeds.

use super::environment::{World, text};

/// A change feed: 2 stands three times, 3 twice in one second, 4 has a change without a time.
const FEED: &str = "id,status,updated_at,seq\n\
                    2,NEW,2024-02-28T10:00:00,1\n\
                    1,ACTIVE,2024-02-27T09:00:00,2\n\
                    2,ACTIVE,2024-02-29T08:30:00,3\n\
                    2,PAUSED,2024-02-28T23:59:59,4\n\
                    3,NEW,2024-02-29T12:00:00,5\n\
                    3,GONE,2024-02-29T12:00:00,6\n\
                    4,ACTIVE,2024-01-01T00:00:00,7\n\
                    4,LOST,,8\n";

const COPY: &str = "lake/item/snapshots/snapshot_date=2024-03-01/item.parquet";

/// Runs a script of Python; gives what it prints.
fn python(world: &World, script: &str) -> String {
    world.write("make.py", script);
    let python = std::env::var("ASOF_TEST_PYTHON").expect("tests/run sets it");
    let output = world.prepared(&python, &["make.py".to_owned()]).output().expect("python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_latest_row_of_each_key_is_published() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n");
    world.write("feed.csv", FEED);
    world.tell("duplicate keys are refused, unless a rule says which row counts");
    world.refuses(3, "snapshot item --source feed.csv --key id");
    world.tell("two rows of one second differ: none of them is known to be later");
    world.refuses(3, "snapshot item --source feed.csv --key id --dedup 'latest by updated_at'");
    world.succeeds("snapshot item --source feed.csv --key id --dedup 'latest by updated_at, seq' --dry-run");
    world.succeeds("snapshot item --source feed.csv --key id --dedup 'latest by updated_at, seq'");
    assert_eq!(
        world.rows(COPY),
        [
            "id|status|updated_at|seq",
            "1|ACTIVE|2024-02-27T09:00:00|2",
            "2|ACTIVE|2024-02-29T08:30:00|3",
            "3|GONE|2024-02-29T12:00:00|6",
            "4|ACTIVE|2024-01-01T00:00:00|7",
        ]
    );
    world.tell("equal rows are one row, whatever the order of the source");
    let first = world.bytes(COPY);
    let mut lines: Vec<&str> = FEED.lines().skip(1).chain(["3,GONE,2024-02-29T12:00:00,6"]).collect();
    lines.reverse();
    world.write("feed.csv", format!("id,status,updated_at,seq\n{}\n", lines.join("\n")));
    world.succeeds("snapshot item --source feed.csv --dedup 'latest by updated_at, seq' --if-exists replace");
    assert_eq!(world.bytes(COPY), first, "the same rows are kept");

    world.tell("what changed is counted, and guards are asked, after rows were dropped");
    world.at("2024-03-02");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'feed.csv'\nkey = ['id']\ndedup = 'latest by updated_at, seq'\nmax_delete = '10%'\nmin_rows = 4\n",
    );
    world.write("feed.csv", format!("{FEED}1,GONE,2024-03-01T00:00:00,9\n4,ACTIVE,2024-01-01T00:00:00,7\n"));
    let report = world.json("snapshot item --dry-run");
    assert_eq!(
        (&report[0]["dedup"], &report[0]["dropped_rows"], &report[0]["rows"]),
        (&"latest by updated_at, seq".into(), &6.into(), &4.into())
    );
    assert_eq!((&report[0]["since"]["changed"], &report[0]["since"]["removed"]), (&1.into(), &0.into()));
    world.succeeds("snapshot item");
    let footer = world.footer("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet");
    assert_eq!((&footer["dedup"], &footer["dropped_rows"]), (&"latest by updated_at, seq".into(), &6.into()));
    assert_eq!(world.json("status item")["tables"][0]["last_snapshot"]["dropped_rows"], 6);
    world.write("feed.csv", "id,status,updated_at,seq\n1,A,2024-03-02,1\n1,B,2024-03-03,1\n2,A,2024-03-02,1\n3,A,2024-03-02,1\n");
    world.at("2024-03-03");
    world.refuses(3, "snapshot item");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.pin("duplicates");
}

#[test]
fn a_rule_that_cannot_be_followed_is_a_usage_error() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n");
    world.parquet(
        "feed.parquet",
        &[
            ("id", std::sync::Arc::new(arrow::array::Int64Array::from(vec![1, 1]))),
            ("active", std::sync::Arc::new(arrow::array::BooleanArray::from(vec![true, false]))),
            ("updated_at", std::sync::Arc::new(arrow::array::Date32Array::from(vec![1, 2]))),
        ],
    );
    let snapshot = "snapshot item --source feed.parquet --key id";
    for rule in [
        "latest by active",
        "latest by update_at",
        "latest by updated_at, id",
        "newest by updated_at",
        "latest by",
        "latest by updated_at,",
    ] {
        world.refuses(2, &format!("{snapshot} --dedup '{rule}'"));
    }
    world.write("asof.toml", "lake = 'lake'\n[tables.item]\nkey = ['id']\nsource = 'feed.parquet'\ndedup = 'updated_at'\n");
    world.refuses(2, "snapshot item");
    world.write("asof.toml", "lake = 'lake'\n[tables.item]\nkey = ['id']\nsource = 'feed.parquet'\n");
    world.refuses(3, "snapshot item");
    world.refuses(2, "compact item --dedup 'latest by updated_at'");
    world.pin("duplicates_refused");
}

/// Writes a feed of some days as polars, pandas and pyarrow have it, in folders of a date each, and in one file; and prints
/// what DuckDB finds to be the latest rows.
const MAKE: &str = "
import datetime, json, random, duckdb, pandas as pd, polars as pl, pyarrow as pa, pyarrow.parquet as pq
random.seed(11)
everything = []
for day in range(1, 4):
    rows = [(f'{random.randrange(40):03}', random.choice(['A', 'B', 'C']), n) for n in range(300)]
    random.shuffle(rows)
    at = [datetime.datetime(2024, 3, day) + datetime.timedelta(seconds=n) if n % 7 else None for _, _, n in rows]
    columns = {'id': [r[0] for r in rows], 'status': [r[1] for r in rows], 'updated_at': at, 'n': [r[2] for r in rows]}
    import os
    os.makedirs(f'copies/d=2024-03-0{day}')
    path = f'copies/d=2024-03-0{day}/part'
    if day == 1:
        pl.DataFrame(columns).write_parquet(path + '.parquet')
    elif day == 2:
        frame = pd.DataFrame(columns)
        frame.iloc[:150].to_parquet(path + '1.parquet')
        frame.iloc[150:].to_parquet(path + '2.parquet')
    else:
        pq.write_table(pa.table(columns), path + '.parquet', row_group_size=50)
    everything += [(datetime.date(2024, 3, day), *row) for row in zip(*columns.values())]
names = ['seen', 'id', 'status', 'updated_at', 'n']
feed = pl.DataFrame(everything, schema=names, orient='row')
feed.sample(fraction=1, shuffle=True, seed=3).write_parquet('many.parquet')
latest = duckdb.sql('''select seen, id, status, n from feed
  qualify row_number() over (partition by seen, id order by updated_at desc nulls last, n desc) = 1 order by 1, 2''').fetchall()
for row in latest:
    print('|'.join(str(value) for value in row))
";

#[test]
#[cfg(feature = "sql")]
fn external_copies_have_the_latest_rows_for_every_command() {
    let mut world = World::new();
    let latest: Vec<String> = python(&world, MAKE).lines().map(str::to_owned).collect();
    let rule = "dedup = 'latest by updated_at, n'";
    world.write(
        "asof.toml",
        format!(
            "lake = 'lake'\n[tables.item]\nkey = ['id']\nsnapshots = 'copies'\nlayout = 'd=%Y-%m-%d'\n{rule}\n\
             [tables.many]\nkey = ['id']\nsnapshots = 'many.parquet'\ndate_column = 'seen'\n{rule}\n\
             [tables.bare]\nkey = ['id']\nsnapshots = 'copies'\nlayout = 'd=%Y-%m-%d'\n"
        ),
    );
    let on = |day: usize, rows: &[String]| -> Vec<String> {
        let day = format!("2024-03-0{day}|");
        rows.iter().filter_map(|row| row.strip_prefix(&day)).map(str::to_owned).collect()
    };
    assert!((1..=3).all(|day| on(day, &latest).len() == 40));
    world.refuses(3, "compact bare");
    let show = |world: &World, line: &str| assert_eq!(world.quietly(&format!("show {line}")).status.code(), Some(0), "{line}");
    for table in ["item", "many"] {
        for day in 1..=3 {
            show(&world, &format!("{table} --date 2024-03-0{day} --select id,status,n --out {table}{day}.parquet"));
            assert_eq!(world.rows(&format!("{table}{day}.parquet"))[1..], on(day, &latest), "{table} on {day}");
            show(
                &world,
                &format!("{table} --date 2024-03-0{day} --where \"status = 'A'\" --select id,status,n --out a{table}{day}.parquet"),
            );
            let active: Vec<String> = on(day, &latest).into_iter().filter(|row| row.contains("|A|")).collect();
            assert_eq!(world.rows(&format!("a{table}{day}.parquet"))[1..], active, "a condition sees the latest rows alone");
        }
        world.succeeds(&format!("compact {table}"));
        world.succeeds(&format!("verify {table}"));
        world.succeeds(&format!("compact {table}"));
    }
    for day in 1..=3 {
        let ids: Vec<String> = (0..40).map(|id| format!("{id:03}")).collect();
        world.write(&format!("ev/date=2024-03-0{day}/e.csv"), format!("id\n{}\n", ids.join("\n")));
    }
    world.write("q.sql", "select i.id, i.status, i.n from ev join item i on i.id = ev.id order by 1");
    world.write("h.sql", "select id, status, n from item_snapshots where snapshot_date = {DATE} order by 1");
    let events = "--events ev --events-layout date=%Y-%m-%d --types id=text --from 2024-03-01 --to 2024-03-03";
    for using in ["snapshots", "intervals"] {
        world.succeeds(&format!("backfill {events} --table item --on id --select status,n --using {using} --only all --out joined"));
        world.succeeds(&format!("backfill {events} --sql q.sql --using {using} --only all --out queried"));
        world.succeeds(&format!("backfill {events} --sql h.sql --using {using} --only all --out history"));
        for (day, out) in [(1, "joined"), (2, "joined"), (3, "joined"), (2, "queried"), (2, "history"), (3, "history")] {
            let rows = world.rows(&format!("{out}/date=2024-03-0{day}/{out}.parquet"));
            assert_eq!(rows[1..], on(day, &latest), "{out} of {day} from {using}");
        }
    }
    world.tell("another rule is another table");
    let other = std::fs::read_to_string(world.path("asof.toml")).expect("text").replace("updated_at, n", "n");
    world.write("asof.toml", other);
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.pin("duplicates_external");
}

#[test]
fn copies_that_the_command_line_names_follow_a_rule_and_keep_it() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n");
    for day in 1..=3 {
        world.write(
            &format!("copies/2024-03-0{day}.csv"),
            format!("id,v,at\n2,old,2024-01-01\n1,a,2024-02-0{day}\n2,new,2024-02-01\n2,new,2024-02-01\n"),
        );
    }
    let compact = "compact --snapshots copies --layout %Y-%m-%d.csv --key id --out i.parquet";
    world.refuses(3, compact);
    world.succeeds(&format!("{compact} --dedup 'latest by at' --to 2024-03-02"));
    let rows = ["2|new|2024-02-01|2024-03-01|9999-12-31"];
    assert!(world.rows("i.parquet").contains(&rows[0].to_owned()), "{:?}", world.rows("i.parquet"));
    world.tell("the rule is that of the intervals that exist");
    world.succeeds(compact);
    let footer = world.footer("i.parquet");
    assert_eq!((&footer["dedup"], &footer["observed"][2]["dropped_rows"]), (&"latest by at".into(), &2.into()));
    assert_eq!(world.json(compact)[0]["dropped_rows"], 6);
    world.tell("a copy in which two rows may be the latest");
    world.write("copies/2024-03-04.csv", "id,v,at\n1,a,2024-02-01\n1,b,2024-02-01\n");
    world.refuses(3, compact);
    world.write("copies/2024-03-04.csv", "id,v\n1,a\n");
    world.refuses(2, compact);
    world.pin("duplicates_named");
}
