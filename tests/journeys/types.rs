//! Types across dates: what is declared, pinned and inferred, and what is told of it.

use super::environment::World;

fn zips() -> World {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    world.at("2024-03-31");
    for (day, rows) in [
        ("01", "1,90210,5\n2,2134,6\n"),
        ("02", "1,90210,5\n2,2134,7\n"),
    ] {
        world.write("shop.csv", format!("id,zip,n\n{rows}"));
        world.succeeds(&format!(
            "snapshot shop --source shop.csv --key id --date 2024-03-{day} --backdate"
        ));
    }
    world.succeeds("compact shop");
    world.write("shop.csv", "id,zip,n\n1,90210,5\n2,02134,7\n");
    world
}

#[test]
fn declaring_a_type_settles_a_conflict_in_the_whole_history() {
    let mut world = zips();
    world.write("ev/date=2024-03-01/e.csv", "e,id\n1,2\n");
    world.tell("the type is declared, and applies to every snapshot");
    world.write("asof.toml", "[tables.shop]\ntypes = { zip = 'text' }\n");
    world.succeeds("status shop");
    world.succeeds("snapshot shop --source shop.csv --date 2024-03-03 --backdate");
    world.succeeds("show shop --date 2024-03-01");
    world.succeeds("diff shop 2024-03-01 2024-03-03");
    let job = "backfill --events ev --events-layout date=%Y-%m-%d --table shop --on id --from \
     2024-03-01 --to 2024-03-01";
    world.succeeds(&format!("{job} --out before"));
    world.succeeds("compact shop");
    let recomputed = world.bytes("lake/shop/intervals/shop.parquet");
    assert_eq!(world.quietly("compact shop --full").status.code(), Some(0));
    assert_eq!(recomputed, world.bytes("lake/shop/intervals/shop.parquet"));
    world.tell(&world.rows("lake/shop/intervals/shop.parquet").join("\n"));
    world.succeeds("history shop 2");
    world.succeeds("verify shop");
    world.succeeds("compact shop");
    world.tell("outputs do not depend on whether snapshots or intervals served");
    world.succeeds(&format!("{job} --out before"));
    for day in ["02", "03"] {
        world.write(&format!("ev/date=2024-03-{day}/e.csv"), "e,id\n1,2\n");
    }
    let job = "backfill --events ev --events-layout date=%Y-%m-%d --table shop --on id --from \
     2024-03-01 --to 2024-03-03";
    for using in ["snapshots", "intervals"] {
        assert_eq!(
            world
                .quietly(&format!("{job} --out {using}/out --using {using}"))
                .status
                .code(),
            Some(0)
        );
        for (day, row) in [
            ("01", "1|2|2134|6"),
            ("02", "1|2|2134|7"),
            ("03", "1|2|02134|7"),
        ] {
            assert_eq!(
                world.rows(&format!("{using}/out/date=2024-03-{day}/out.parquet")),
                ["e|id|zip|n", row]
            );
        }
    }
    assert_eq!(
        world
            .quietly("expand shop --from 2024-03-01 --to 2024-03-03 --out back")
            .status
            .code(),
        Some(0)
    );
    let back = |day: &str| world.rows(&format!("back/snapshot_date=2024-03-{day}/shop.parquet"));
    assert_eq!(
        (back("01"), back("03")),
        (
            vec!["id|zip|n".into(), "1|90210|5".into(), "2|2134|6".into()],
            vec!["id|zip|n".into(), "1|90210|5".into(), "2|02134|7".into()]
        )
    );
    world.succeeds("schema shop");
    world.pin("types_declared");
}

#[test]
fn an_output_whose_rows_a_declared_type_changed_is_stale() {
    let mut world = zips();
    world.write("ev/date=2024-03-01/e.csv", "e,id\n1,2\n");
    let job = "backfill --events ev --events-layout date=%Y-%m-%d --table shop --on id --from \
     2024-03-01 --to 2024-03-01 --out o";
    assert_eq!(world.quietly(job).status.code(), Some(0));
    world.write("asof.toml", "[tables.shop]\ntypes = { n = 'int32' }\n");
    world.tell("a declared type is part of the job");
    world.succeeds(job);
    world.write("asof.toml", "[tables.shop]\ntypes = { n = 'text' }\n");
    world.succeeds(job);
    world.succeeds("compact shop");
    world.tell("the intervals tell the same of the snapshot as its rows");
    world.succeeds(job);
    world.pin("types_stale");
}

#[test]
fn the_history_of_columns_is_shown() {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    world.at("2024-03-31");
    let days = [
        ("01", "id,code\n1,007\n"),
        ("02", "id,n\n1,5\n"),
        ("03", "id,code,n\n1,7,5.5\n"),
        ("04", "id,code,n\n1,8,\n"),
    ];
    for (day, csv) in days {
        world.write("t.csv", csv);
        world.succeeds(&format!(
            "snapshot t --source t.csv --key id --date 2024-03-{day} --backdate"
        ));
    }
    let more = world.quietly("-v snapshot t --source t.csv --date 2024-03-05 --backdate");
    let told = String::from_utf8_lossy(&more.stdout).into_owned();
    assert!(
        told.contains("  t: id int64, code text, n float64"),
        "{told}"
    );
    world.succeeds("schema t");
    world.succeeds("--json schema t");
    world.refuses(2, "schema nothing");
    world.pin("types_history");
}

#[test]
fn codes_that_are_digits_on_one_day_stay_codes() {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    for (day, code) in [("01", "7"), ("02", "A7"), ("03", "7")] {
        world.write(
            &format!("copies/2024-03-{day}.csv"),
            format!("code,name\n{code},x\n"),
        );
        world.write(
            &format!("ev/date=2024-03-{day}/e.csv"),
            format!("e,code\n1,{code}\n"),
        );
    }
    world.write(
        "asof.toml",
        "[tables.c]\nkey = ['code']\nsnapshots = 'copies'\nlayout = '%Y-%m-%d.csv'\n",
    );
    world.succeeds("compact c --to 2024-03-01");
    world.succeeds("compact c");
    world.succeeds("compact c");
    world.succeeds("verify c");
    world.succeeds("schema c");
    let job = "backfill --events ev --events-layout date=%Y-%m-%d --table c --on code --how inner \
     --from 2024-03-01 --to 2024-03-03 --out o";
    world.succeeds(job);
    for (day, code) in [("01", "7"), ("02", "A7"), ("03", "7")] {
        assert_eq!(
            world.rows(&format!("o/date=2024-03-{day}/o.parquet")),
            ["e|code|name".to_owned(), format!("1|{code}|x")]
        );
    }
    world.pin("types_external");
}
