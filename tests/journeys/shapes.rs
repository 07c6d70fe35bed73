//! Tables and events in the shapes that other tools leave them in: columns in folders, wildcards,
//! months and hours.

use super::environment::World;

/// A lake with a table and events of three countries, whose names only the folders have.
fn world() -> World {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n");
    world.write("item.csv", "id,name\n1,Bolt\n2,Gear\n");
    for day in 1..=3 {
        world.at(&format!("2024-03-0{day}"));
        assert_eq!(
            world
                .quietly("snapshot item --source item.csv --key id")
                .status
                .code(),
            Some(0)
        );
        for (country, id) in [("US", 1), ("DE", 2), ("__HIVE_DEFAULT_PARTITION__", 3)] {
            let name = format!("country={country}/date=2024-03-0{day}/e.csv");
            world.write(
                &format!("above/{name}"),
                format!("n,item_id\n{day}{id},{id}\n"),
            );
            world.write(
                &format!("below/date=2024-03-0{day}/country={country}/e.csv"),
                format!("n,item_id\n{day}{id},{id}\n"),
            );
        }
    }
    world
}

const RANGE: &str = "--from 2024-03-01 --to 2024-03-02";

#[test]
fn columns_of_folders_are_columns_of_events() {
    let mut world = world();
    world.write(
        "q.sql",
        "select date, country, count(*) as n from ev where date = {DATE} group by date, country \
         order by country nulls last",
    );
    let mut read = Vec::new();
    for (root, layout) in [
        ("above", "country=*/date=%Y-%m-%d"),
        ("below", "date=%Y-%m-%d"),
        ("below", "date=%Y-%m-%d/country=*"),
    ] {
        std::fs::remove_dir_all(world.path("ev")).ok();
        std::fs::rename(world.path(root), world.path("ev")).expect("moved");
        let events = format!("--events ev --events-layout '{layout}' {RANGE}");
        world.succeeds(&format!("partitions ev --layout '{layout}' {RANGE}"));
        world.succeeds(&format!(
            "backfill {events} --table item --on item_id=id --how left --out out"
        ));
        world.succeeds(&format!("backfill {events} --sql q.sql --out sql"));
        world.succeeds(&format!("backfill {events} --sql q.sql --out sql"));
        let rows = |path: &str| {
            let mut rows = world.rows(path);
            rows[1..].sort();
            rows
        };
        read.push([
            rows("out/date=2024-03-02/out.parquet"),
            rows("sql/date=2024-03-02/sql.parquet"),
        ]);
        std::fs::rename(world.path("ev"), world.path(root)).expect("moved back");
        for folder in ["out", "sql"] {
            std::fs::remove_dir_all(world.path(folder)).expect("removed");
        }
    }
    let joined = [
        "n|item_id|country|name",
        "21|1|US|Bolt",
        "22|2|DE|Gear",
        "23|3|null|null",
    ];
    let counted = ["country|n", "DE|1", "US|1", "null|1"];
    for [join, sql] in read {
        assert_eq!(join, joined);
        assert_eq!(sql, counted, "the date is left to the output's path");
    }
    world.pin("shapes_events");
}

#[test]
fn a_column_of_a_folder_is_a_part_of_a_key() {
    let mut world = World::new();
    for day in 1..=2 {
        for region in ["eu", "us"] {
            for (root, path) in [
                ("above", format!("region={region}/dt=2024-03-0{day}")),
                ("below", format!("dt=2024-03-0{day}/region={region}")),
            ] {
                world.write(
                    &format!("{root}/{path}/a.csv"),
                    format!("id,v,dt\n1,{region},2024-03-0{day}\n"),
                );
            }
        }
    }
    for (root, layout) in [("above", "region=*/dt=%Y-%m-%d"), ("below", "dt=%Y-%m-%d")] {
        world.succeeds(&format!(
            "compact --snapshots {root} --layout '{layout}' --key region,id --out {root}.parquet"
        ));
        assert_eq!(
            world.rows(&format!("{root}.parquet")),
            [
                "id|v|region|active_start|active_end",
                "1|eu|eu|2024-03-01|9999-12-31",
                "1|us|us|2024-03-01|9999-12-31"
            ],
            "a column that repeats the date of its folder ends no interval"
        );
    }
    world.write(
        "above/region=us/dt=2024-03-03/a.csv",
        "id,v,region\n1,us,eu\n",
    );
    world.refuses(
        3,
        "compact --snapshots above --layout 'region=*/dt=%Y-%m-%d' --key region,id \
         --out above.parquet",
    );
    world.pin("shapes_keys");
}

#[test]
fn months_and_hours_are_partitions_too() {
    let mut world = World::new();
    for month in 1..=3 {
        world.write(
            &format!("months/month=2024-0{month}/a.csv"),
            format!("id,v\n1,{}\n", month / 2),
        );
    }
    world.succeeds("compact --snapshots months --layout month=%Y-%m --key id --out months.parquet");
    assert_eq!(
        world.rows("months.parquet")[1..],
        ["1|0|2024-01-01|2024-01-31", "1|1|2024-02-01|9999-12-31"]
    );
    for hour in ["00", "07", "23"] {
        world.write(
            &format!("hours/date=2024-03-01/hour={hour}/a.csv"),
            format!("n,id\n{hour},1\n"),
        );
        world.write(
            &format!("flat/2024-03-01-{hour}.csv"),
            format!("n,id\n{hour},1\n"),
        );
    }
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.t]\nkey = ['id']\nsnapshots = \
         'months'\nlayout = 'month=%Y-%m'\ntolerance = '31d'\n",
    );
    for (root, layout, columns) in [
        ("hours", "date=%Y-%m-%d/hour=%H", "n|id|hour|v"),
        ("flat", "%Y-%m-%d-%H.csv", "n|id|v"),
    ] {
        let job = format!(
            "backfill --events {root} --events-layout {layout} --table t --on id --out {root}-out \
             --from 2024-03-01 --to 2024-03-01"
        );
        world.succeeds(&job);
        let rows = world.rows(&format!("{root}-out/date=2024-03-01/{root}-out.parquet"));
        assert_eq!((rows[0].as_str(), rows.len()), (columns, 4), "{rows:?}");
    }
    world.refuses(
        2,
        "backfill --events flat --events-layout %Y-%m-%d-%H.csv --table t --on id \
         --out o --out-layout %Y-%m --from 2024-03-01 --to 2024-03-01",
    );
    world.pin("shapes_months_and_hours");
}
