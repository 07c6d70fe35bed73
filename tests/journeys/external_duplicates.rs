//! External copies with several rows for one key, read by every command.

use super::environment::{World, text};

/// Runs a script of Python; gives what it prints.
fn python(world: &World, script: &str) -> String {
    world.write("make.py", script);
    let python = std::env::var("ASOF_TEST_PYTHON").expect("tests/run sets it");
    let output = world
        .prepared(&python, &["make.py".to_owned()])
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Writes a feed of some days as polars, pandas and pyarrow have it, in folders of a date each, and
/// in one file; and prints what DuckDB finds to be the latest rows.
const MAKE: &str = "
import datetime, json, random, duckdb, pandas as pd, polars as pl, pyarrow as pa, pyarrow.parquet \
as pq
random.seed(11)
everything = []
for day in range(1, 4):
    rows = [(f'{random.randrange(40):03}', random.choice(['A', 'B', 'C']), n) for n in range(300)]
    random.shuffle(rows)
    at = [datetime.datetime(2024, 3, day) + datetime.timedelta(seconds=n) if n % 7 else None for \
    _, _, n in rows]
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
  qualify row_number() over (partition by seen, id order by updated_at desc nulls last, n desc) = \
  1 order by 1, 2''').fetchall()
for row in latest:
    print('|'.join(str(value) for value in row))
";

#[test]
fn external_copies_have_the_latest_rows_for_every_command() {
    let mut world = World::new();
    let latest: Vec<String> = python(&world, MAKE).lines().map(str::to_owned).collect();
    let rule = "dedup = 'latest by updated_at, n'";
    world.write(
        "asof.toml",
        format!(
            "lake = 'lake'\n[tables.item]\nkey = ['id']\nsnapshots = 'copies'\nlayout = \
             'd=%Y-%m-%d'\n{rule}\n\
             [tables.many]\nkey = ['id']\nsnapshots = 'many.parquet'\ndate_column = \
             'seen'\n{rule}\n\
             [tables.bare]\nkey = ['id']\nsnapshots = 'copies'\nlayout = 'd=%Y-%m-%d'\n"
        ),
    );
    let on = |day: usize, rows: &[String]| -> Vec<String> {
        let day = format!("2024-03-0{day}|");
        rows.iter()
            .filter_map(|row| row.strip_prefix(&day))
            .map(str::to_owned)
            .collect()
    };
    assert!((1..=3).all(|day| on(day, &latest).len() == 40));
    world.refuses(3, "compact bare");
    let show = |world: &World, line: &str| {
        assert_eq!(
            world.quietly(&format!("show {line}")).status.code(),
            Some(0),
            "{line}"
        )
    };
    for table in ["item", "many"] {
        for day in 1..=3 {
            show(
                &world,
                &format!(
                    "{table} --date 2024-03-0{day} --select id,status,n --out {table}{day}.parquet"
                ),
            );
            assert_eq!(
                world.rows(&format!("{table}{day}.parquet"))[1..],
                on(day, &latest),
                "{table} on {day}"
            );
            show(
                &world,
                &format!(
                    "{table} --date 2024-03-0{day} --where \"status = 'A'\" --select id,status,n \
                     --out a{table}{day}.parquet"
                ),
            );
            let active: Vec<String> = on(day, &latest)
                .into_iter()
                .filter(|row| row.contains("|A|"))
                .collect();
            assert_eq!(
                world.rows(&format!("a{table}{day}.parquet"))[1..],
                active,
                "a condition sees the latest rows alone"
            );
        }
        world.succeeds(&format!("compact {table}"));
        world.succeeds(&format!("verify {table}"));
        world.succeeds(&format!("compact {table}"));
    }
    for day in 1..=3 {
        let ids: Vec<String> = (0..40).map(|id| format!("{id:03}")).collect();
        world.write(
            &format!("ev/date=2024-03-0{day}/e.csv"),
            format!("id\n{}\n", ids.join("\n")),
        );
    }
    world.write(
        "q.sql",
        "select i.id, i.status, i.n from ev join item i on i.id = ev.id order by 1",
    );
    world.write(
        "h.sql",
        "select id, status, n from item_snapshots where snapshot_date = {DATE} order by 1",
    );
    let events = "--events ev --events-layout date=%Y-%m-%d --types id=text --from 2024-03-01 \
     --to 2024-03-03";
    for using in ["snapshots", "intervals"] {
        world.succeeds(&format!(
            "backfill {events} --table item --on id --select status,n --using \
             {using} --only all --out joined"
        ));
        world.succeeds(&format!(
            "backfill {events} --sql q.sql --using {using} --only all --out queried"
        ));
        world.succeeds(&format!(
            "backfill {events} --sql h.sql --using {using} --only all --out history"
        ));
        for (day, out) in [
            (1, "joined"),
            (2, "joined"),
            (3, "joined"),
            (2, "queried"),
            (2, "history"),
            (3, "history"),
        ] {
            let rows = world.rows(&format!("{out}/date=2024-03-0{day}/{out}.parquet"));
            assert_eq!(rows[1..], on(day, &latest), "{out} of {day} from {using}");
        }
    }
    let rows: Vec<String> = (1..=3)
        .flat_map(|day| (0..40).map(move |id| format!("{id:03},2024-03-0{day}")))
        .collect();
    world.write("many.csv", format!("id,date\n{}\n", rows.join("\n")));
    for table in ["item", "many"] {
        world.succeeds(&format!(
            "join --events many.csv --events-date-column date --types id=text --table {table} \
             --on id --select status,n --out j.parquet"
        ));
        let joined: Vec<String> = (1..=3)
            .flat_map(|day| {
                let dated = move |row: String| row.replacen('|', &format!("|2024-03-0{day}|"), 1);
                on(day, &latest).into_iter().map(dated)
            })
            .collect();
        assert_eq!(
            world.rows("j.parquet")[1..],
            joined,
            "{table}: each event meets the latest row of its date"
        );
    }
    world.tell("another rule is another table");
    let other = std::fs::read_to_string(world.path("asof.toml"))
        .expect("text")
        .replace("updated_at, n", "n");
    world.write("asof.toml", other);
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.pin("duplicates_external");
}
