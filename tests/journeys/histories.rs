//! Queries that look at the past of a table: the textbook's three, the examples of docs/sql.md, and
//! which copies are opened.

use super::environment::{World, text};

const DAYS: [&str; 3] = ["2024-09-13", "2024-09-14", "2024-09-15"];

/// The items of the README, whose three copies also have an item that comes later and one that
/// goes.
fn items() -> World {
    let mut world = World::new();
    world.write("asof.toml", CONFIG.to_owned() + &readme_jobs());
    let copies = [
        "1,itemA,ACTIVE\n2,itemB,PASSIVE\n3,itemC,ACTIVE\n",
        "1,itemA,ACTIVE\n2,itemB,PASSIVE\n3,itemC,PASSIVE\n",
        "1,itemA,PASSIVE\n2,itemB,ACTIVE\n4,itemD,ACTIVE\n",
    ];
    for (day, rows) in DAYS.iter().zip(copies) {
        world.at(day);
        world.write("item.csv", format!("id,name,status\n{rows}"));
        assert_eq!(world.quietly("snapshot item").status.code(), Some(0));
        let events: String = (1..=4)
            .map(|id| format!("{}{id},{id},{day}\n", &day[8..]))
            .collect();
        world.write(
            &format!("item_events/date={day}/events.csv"),
            format!("event_id,item_id,date\n{events}"),
        );
    }
    world
}

const CONFIG: &str = r#"lake = "lake"

[events.item_events]
path = "item_events"
layout = "date=%Y-%m-%d"

[tables.item]
source = "item.csv"
key = ["id"]
start_column = "active_start_date"
end_column = "active_end_date"

"#;

/// The jobs as the README has them.
fn readme_jobs() -> String {
    let readme = include_str!("../../README.md");
    let section = readme
        .split("## Three ways to ask for the past")
        .nth(1)
        .expect("the section");
    let toml = section
        .split("```toml\n")
        .nth(1)
        .and_then(|text| text.split("```").next())
        .expect("its configuration");
    toml[toml.find("[jobs.as_of]").expect("the first job")..].to_owned()
}

/// The events of an output of each day.
fn events(world: &World, job: &str) -> Vec<Vec<String>> {
    let of = |day: &&str| {
        world
            .rows(&format!("{job}/date={day}/{job}.parquet"))
            .into_iter()
            .skip(1)
            .collect()
    };
    DAYS.iter().map(of).collect()
}

/// The three queries must be those of the textbook, to the letter.
const QUERIES: [&str; 3] = [
    "SELECT * FROM item_events WHERE item_events.item_id in (SELECT id FROM item WHERE \
     item.status='ACTIVE') AND item_events.date = {DATE}",
    "SELECT * FROM item_events WHERE item_events.item_id in (SELECT id FROM item_snapshot WHERE \
     item_snapshot.status='ACTIVE' AND snapshot_date={DATE}) AND item_events.date = {DATE}",
    "SELECT * FROM item_events WHERE item_events.item_id in (SELECT id FROM item WHERE \
     item.status='ACTIVE' OR (item.active_start_date<={DATE} AND item.active_end_date>={DATE})) \
     AND item_events.date = {DATE}",
];

#[test]
fn the_three_queries_run_as_written_from_snapshots_and_from_intervals() {
    let mut world = items();
    let jobs = readme_jobs();
    for query in QUERIES {
        assert!(jobs.contains(query), "{query}");
    }
    // Worked out by hand. The third asks for what is active, or known at all on the day: an item
    // that was ever active counts from then on.
    let active = vec![
        vec!["131|1", "133|3"],
        vec!["141|1"],
        vec!["152|2", "154|4"],
    ];
    let ever = vec![
        vec!["131|1", "132|2", "133|3"],
        vec!["141|1", "142|2", "143|3"],
        vec!["151|1", "152|2", "153|3", "154|4"],
    ];
    let range = "--from 2024-09-13 --to 2024-09-15";
    let mut trees = Vec::new();
    for using in ["snapshots", "auto", "auto", "intervals"] {
        if trees.len() == 2 {
            world.succeeds("compact item");
        }
        assert_eq!(
            world
                .quietly(&format!("backfill {range} --using {using}"))
                .status
                .code(),
            Some(0)
        );
        assert_eq!(events(&world, "as_of"), active, "{using}");
        assert_eq!(events(&world, "by_snapshot"), active, "{using}");
        assert_eq!(events(&world, "by_interval"), ever, "{using}");
        trees.push(["as_of", "by_snapshot", "by_interval"].map(|job| world.tree(job)));
        ["as_of", "by_snapshot", "by_interval"]
            .iter()
            .for_each(|job| std::fs::remove_dir_all(world.path(job)).expect("removed"));
    }
    assert!(trees.iter().all(|tree| *tree == trees[0]));
}

#[test]
fn the_third_query_runs_as_written_over_intervals_of_a_condition() {
    let mut world = items();
    let config = text(&world.bytes("asof.toml"));
    let of_active = "[tables.item]\nwhere = \"status = 'ACTIVE'\"\nselect = [\"id\", \"status\"]\n";
    world.write("asof.toml", config.replace("[tables.item]\n", of_active));
    // Every row is of an item that was active, and an item counts from its first such day on.
    let expected = vec![
        vec!["131|1", "133|3"],
        vec!["141|1", "143|3"],
        vec!["151|1", "152|2", "153|3", "154|4"],
    ];
    let range = "--from 2024-09-13 --to 2024-09-15";
    let mut trees = Vec::new();
    for _ in 0..2 {
        // From snapshots, and then from published intervals.
        assert_eq!(
            world.quietly(&format!("backfill {range}")).status.code(),
            Some(0)
        );
        assert_eq!(events(&world, "by_interval"), expected);
        assert_eq!(
            events(&world, "as_of"),
            vec![
                vec!["131|1", "133|3"],
                vec!["141|1"],
                vec!["152|2", "154|4"]
            ]
        );
        trees.push(["as_of", "by_interval"].map(|job| world.tree(job)));
        world.succeeds("compact item");
        ["as_of", "by_interval"]
            .iter()
            .for_each(|job| std::fs::remove_dir_all(world.path(job)).expect("removed"));
    }
    assert_eq!(trees[0], trees[1]);
    assert_eq!(
        world.rows("lake/item/intervals/item.parquet"),
        [
            "id|status|active_start_date|active_end_date",
            "1|ACTIVE|2024-09-13|2024-09-14",
            "2|ACTIVE|2024-09-15|9999-12-31",
            "3|ACTIVE|2024-09-13|2024-09-13",
            "4|ACTIVE|2024-09-15|9999-12-31"
        ]
    );
    // The interval alone then says what is active on the day.
    world.write(
        "q.sql",
        "select id from item where active_start_date <= {DATE} and \
         active_end_date >= {DATE} order by id",
    );
    assert_eq!(
        world
            .quietly(&format!(
                "backfill --sql q.sql --names item=item_intervals --out q {range}"
            ))
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        events(&world, "q"),
        vec![vec!["1", "3"], vec!["1"], vec!["2", "4"]]
    );
    // Another condition is another job.
    world.write(
        "asof.toml",
        config.replace(
            "[tables.item]\n",
            &of_active.replace("= 'ACTIVE'", "= 'PASSIVE'"),
        ),
    );
    assert_eq!(
        world
            .quietly(&format!(
                "backfill --sql q.sql --names item=item_intervals --out q {range}"
            ))
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        events(&world, "q"),
        vec![vec!["2"], vec!["2", "3"], vec!["1"]]
    );
}

#[test]
fn names_and_history_are_told_when_they_are_wrong() {
    let mut world = items();
    let day = "--from 2024-09-14 --to 2024-09-14 --out out";
    world.write(
        "q.sql",
        "select id, status, active_end_date as until from item order by id",
    );
    world.succeeds(&format!(
        "backfill --sql q.sql --names item=item_intervals {day}"
    ));
    world.tell(&world.rows("out/date=2024-09-14/out.parquet").join("\n"));
    world.refuses(
        2,
        &format!("backfill --sql q.sql --names item=item_interval {day}"),
    );
    world.refuses(2, &format!("backfill --sql q.sql --names items=item {day}"));
    world.refuses(2, &format!("backfill --sql q.sql --names item {day}"));
    world.refuses(
        2,
        &format!(
            "backfill --events item_events --table item --on item_id=id --names item=item {day}"
        ),
    );
    world.write("q.sql", "select * from item_history");
    world.refuses(2, &format!("backfill --sql q.sql {day}"));
    world.write(
        "q.sql",
        "select * from item_snapshots where snapshot_date = {ds}",
    );
    world.refuses(2, &format!("backfill --sql q.sql {day}"));
    world.write(
        "q.sql",
        "select * from item_snapshots where snapshot_date = '{date:%H}'",
    );
    world.refuses(2, &format!("backfill --sql q.sql {day}"));
    world.tell("a table of that name comes first");
    world.write("item.csv", "id,name,status\n9,other,NONE\n");
    world.succeeds(
        "snapshot item_snapshots --source item.csv --key id --date 2024-09-14 --backdate",
    );
    world.write("q.sql", "select * from item_snapshots");
    world.succeeds(&format!("backfill --sql q.sql {day}"));
    world.tell(&world.rows("out/date=2024-09-14/out.parquet").join("\n"));
    world.pin("history_names");
}

/// The dates of the copies that an output says it was made from.
fn recorded(world: &World, path: &str) -> Vec<String> {
    let bytes = bytes::Bytes::from(world.bytes(path));
    let reader = parquet::file::reader::SerializedFileReader::new(bytes).expect("Parquet");
    use parquet::file::reader::FileReader as _;
    let metadata = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .expect("a footer")
        .clone();
    let footer = metadata
        .iter()
        .find(|pair| pair.key == "asof")
        .and_then(|pair| pair.value.clone())
        .expect("asof's");
    let footer: serde_json::Value = serde_json::from_str(&footer).expect("JSON");
    let copies = footer["history"]["item"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    copies
        .iter()
        .map(|copy| copy["snapshot_date"].as_str().expect("a date").to_owned())
        .collect()
}

#[test]
fn only_the_copies_that_are_asked_for_are_opened_and_recorded() {
    let mut world = items();
    let run = |sql: &str| {
        format!(
            "backfill --sql {sql} --from 2024-09-15 --to 2024-09-15 --out {}",
            sql.trim_end_matches(".sql")
        )
    };
    world.write(
        "two.sql",
        "select * from item_snapshots where snapshot_date in ({date}, \
         {yesterday}) and status = 'ACTIVE'",
    );
    world.write(
        "all.sql",
        "select snapshot_date, count(*) as n from item_snapshots group by 1 order by 1",
    );
    // A copy that is not asked for is not even opened.
    let first = "lake/item/snapshots/snapshot_date=2024-09-13/item.parquet";
    let good = world.bytes(first);
    world.write(first, "damaged");
    assert_eq!(world.quietly(&run("two.sql")).status.code(), Some(0));
    assert_eq!(
        recorded(&world, "two/date=2024-09-15/two.parquet"),
        ["2024-09-14", "2024-09-15"]
    );
    assert_eq!(
        world.rows("two/date=2024-09-15/two.parquet"),
        [
            "id|name|status|snapshot_date",
            "1|itemA|ACTIVE|2024-09-14",
            "2|itemB|ACTIVE|2024-09-15",
            "4|itemD|ACTIVE|2024-09-15"
        ]
    );
    assert_eq!(world.quietly(&run("all.sql")).status.code(), Some(3));
    world.write(first, good);
    assert_eq!(world.quietly(&run("all.sql")).status.code(), Some(0));
    assert_eq!(recorded(&world, "all/date=2024-09-15/all.parquet"), DAYS);
    world.tell("a copy that one query read and the other did not is rewritten");
    world.write("item.csv", "id,name,status\n1,itemA,DRAFT\n");
    world.succeeds("snapshot item --date 2024-09-13 --if-exists replace --backdate");
    world.succeeds(&run("two.sql"));
    world.succeeds(&run("all.sql"));
    world.tell("a copy comes late");
    world.write("item.csv", "id,name,status\n1,itemA,DRAFT\n");
    world.succeeds("snapshot item --date 2024-09-12 --backdate");
    world.succeeds(&run("two.sql"));
    world.succeeds(&run("all.sql"));
    world.tell("later copies change nothing");
    world.at("2024-09-16");
    world.succeeds("snapshot item --force");
    world.succeeds(&run("two.sql"));
    world.succeeds(&run("all.sql"));
    world.pin("history_inputs");
}

#[test]
fn a_later_copy_that_cannot_be_read_is_no_failure_of_earlier_dates() {
    let mut world = items();
    world.write("q.sql", "select * from item_intervals");
    let run =
        |out: &str| format!("backfill --sql q.sql --from 2024-09-13 --to 2024-09-15 --out {out}");
    world.succeeds(&run("good"));
    world.write(
        "lake/item/snapshots/snapshot_date=2024-09-15/item.parquet",
        "damaged",
    );
    assert_eq!(world.asof(&run("bad")), 5, "{}", world.transcript());
    for day in &DAYS[..2] {
        assert_eq!(
            world.rows(&format!("bad/date={day}/bad.parquet")),
            world.rows(&format!("good/date={day}/good.parquet"))
        );
    }
    assert!(!world.path("bad/date=2024-09-15/bad.parquet").exists());
}

#[test]
fn columns_and_types_of_old_copies_are_brought_together() {
    let mut world = World::new();
    for (day, rows) in [
        ("2024-03-01", "id,price\n1,5\n"),
        ("2024-03-02", "id,price,tag\n1,5.5,x\n"),
        ("2024-03-03", "id,price,size\n1,6,L\n"),
    ] {
        world.at(day);
        world.write("item.csv", rows);
        world.succeeds("snapshot item --lake lake --source item.csv --key id");
    }
    world.write("q.sql", "select * from item_snapshots");
    world.succeeds("backfill --lake lake --sql q.sql --from 2024-03-02 --to 2024-03-02 --out out");
    world.tell(&world.rows("out/date=2024-03-02/out.parquet").join("\n"));
    world.write(
        "q.sql",
        "select snapshot_date, size from item_snapshots where snapshot_date < {date}",
    );
    world
        .succeeds("backfill --lake lake --sql q.sql --from 2024-03-02 --to 2024-03-02 --out named");
    world.tell(&world.rows("named/date=2024-03-02/named.parquet").join("\n"));
    world.tell("copies in CSV have no types of their own, and a code stays a code");
    for (day, code) in [
        ("2024-03-01", "7"),
        ("2024-03-02", "007"),
        ("2024-03-03", "8"),
    ] {
        world.write(
            &format!("codes/day={day}/a.csv"),
            format!("id,code\n1,{code}\n"),
        );
    }
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.code]\nsnapshots = 'codes'\nlayout = \
         'day=%Y-%m-%d'\nkey = ['id']\n",
    );
    for relation in ["code_snapshots", "code_intervals"] {
        world.write("q.sql", format!("select * from {relation}"));
        world.succeeds(&format!(
            "backfill --sql q.sql --from 2024-03-02 --to 2024-03-02 --out {relation}"
        ));
        world.tell(
            &world
                .rows(&format!("{relation}/date=2024-03-02/{relation}.parquet"))
                .join("\n"),
        );
    }
    world.tell("the copy's own column must agree with its label");
    world.write(
        "dated/day=2024-03-02/a.csv",
        "id,snapshot_date\n1,2024-03-02\n",
    );
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.dated]\nsnapshots = 'dated'\nlayout = \
         'day=%Y-%m-%d'\nkey = ['id']\n",
    );
    world.write("q.sql", "select * from dated_snapshots");
    world.succeeds("backfill --sql q.sql --from 2024-03-02 --to 2024-03-02 --out dates");
    world.tell(&world.rows("dates/date=2024-03-02/dates.parquet").join("\n"));
    world.write(
        "dated/day=2024-03-02/a.csv",
        "id,snapshot_date\n1,2024-03-02\n2,2024-03-01\n",
    );
    assert_eq!(
        world.asof("backfill --sql q.sql --from 2024-03-02 --to 2024-03-02 --out dates"),
        3
    );
    world.pin("history_columns");
}

#[test]
fn the_bounds_of_a_day_lie_in_the_zone_of_the_job() {
    let world = World::new();
    world.write(
        "asof.toml",
        "timezone = 'America/New_York'\n[events.ev]\npath = 'ev'\nlayout = 'date=%Y-%m-%d'\n\
         [jobs.utc]\nsql = 'select e from ev where at >= {start} and at < {end} order by \
         e'\ntimezone = 'UTC'\noutput = 'utc'\n\
         [jobs.berlin]\nsql = 'select e from ev where at >= {start} and at < {end} order by \
         e'\ntimezone = 'Europe/Berlin'\noutput = 'berlin'\n\
         [jobs.naive]\nsql = 'select e from ev where plain >= {start} and plain < {end} order by \
         e'\ntimezone = 'Europe/Berlin'\noutput = 'naive'\n\
         [jobs.here]\nsql = \"select e, '{start:%Y-%m-%d %H:%M %z}' as s from ev where at >= \
         {start} and at < {end} order by e\"\noutput = 'here'\n",
    );
    let times = [
        "2024-01-30T22:59:59",
        "2024-01-30T23:00:00",
        "2024-01-31T00:00:00",
        "2024-01-31T22:59:59",
        "2024-01-31T23:00:00",
        "2024-02-01T04:59:59",
        "2024-02-01T05:00:00",
    ];
    let rows: String = times
        .iter()
        .enumerate()
        .map(|(at, time)| format!("{at},{time}Z,{time}\n"))
        .collect();
    world.write("ev/date=2024-01-31/e.csv", format!("e,at,plain\n{rows}"));
    assert_eq!(
        world
            .quietly("backfill --from 2024-01-31 --to 2024-01-31")
            .status
            .code(),
        Some(0)
    );
    let of = |job: &str| world.rows(&format!("{job}/date=2024-01-31/{job}.parquet"))[1..].to_vec();
    assert_eq!(of("utc"), ["2", "3", "4"]);
    assert_eq!(of("berlin"), ["1", "2", "3"]);
    assert_eq!(of("naive"), ["1", "2", "3"]);
    let here = ["3", "4", "5"].map(|event| format!("{event}|2024-01-31 00:00 -0500"));
    assert_eq!(of("here"), here);
}

/// The queries of the examples in docs/sql.md.
fn documented() -> Vec<String> {
    let section = include_str!("../../docs/sql.md")
        .split("### Examples")
        .nth(1)
        .expect("the section");
    let section = section.split("### Other names").next().expect("its end");
    section
        .split("```sql\n")
        .skip(1)
        .map(|text| text.split("```").next().expect("an end").to_owned())
        .collect()
}

#[test]
fn the_documented_examples_run() {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n[events.sales]\npath = \
         'sales'\nlayout = 'date=%Y-%m-%d'\n",
    );
    for (day, rows) in [
        ("2024-03-01", "1,pen,NEW\n2,ink,NEW\n"),
        ("2024-03-09", "1,pen,SOLD\n2,ink,NEW\n"),
        ("2024-03-10", "1,pen,SOLD\n2,ink,GONE\n3,pad,NEW\n"),
        ("2024-03-11", "1,pen,LATER\n2,ink,LATER\n3,pad,LATER\n"),
    ] {
        world.at(day);
        world.write("item.csv", format!("id,name,status\n{rows}"));
        world.succeeds("snapshot item");
    }
    world.write(
        "sales/date=2024-03-10/a.csv",
        "id,item_id,first_sold\n7,1,2024-03-01\n8,1,2024-03-09\n9,2,2024-03-10\n",
    );
    let expected = [
        vec![
            "id|name|status|active_start",
            "1|pen|SOLD|2024-03-09",
            "2|ink|GONE|2024-03-10",
            "3|pad|NEW|2024-03-10",
        ],
        vec!["id|item_id|status", "7|1|NEW", "8|1|SOLD", "9|2|GONE"],
        vec!["id|was|now", "2|NEW|GONE", "3|null|NEW"],
    ];
    let documented = documented();
    assert_eq!(documented.len(), expected.len());
    for (at, (query, expected)) in documented.iter().zip(expected).enumerate() {
        world.write("q.sql", query);
        world.succeeds(&format!(
            "backfill --sql q.sql --from 2024-03-10 --to 2024-03-10 --out out{at}"
        ));
        assert_eq!(
            world.rows(&format!("out{at}/date=2024-03-10/out{at}.parquet")),
            expected,
            "{query}"
        );
    }
}

#[test]
fn a_column_that_is_not_selected_is_no_column_of_the_intervals() {
    let mut world = items();
    let config = CONFIG.replace(
        "key = [\"id\"]\n",
        "key = [\"id\"]\nwhere = \"status = 'ACTIVE'\"\nselect = [\"id\"]\n",
    );
    world.write("asof.toml", config);
    world.write("kept.sql", "select id from item_intervals");
    world.write("left.sql", "select id, status from item_intervals");
    world.succeeds("backfill --sql kept.sql --out kept --from 2024-09-15 --to 2024-09-15");
    world.refuses(
        2,
        "backfill --sql left.sql --out left --from 2024-09-15 --to 2024-09-15",
    );
    world.succeeds("compact item --where \"status = 'ACTVE'\" --out none.parquet");
    world.pin("selections_in_sql");
}
