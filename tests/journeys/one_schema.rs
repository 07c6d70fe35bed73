//! All outputs of a job have one schema, whatever their events look like from day to day.

use super::environment::{Tree, World};

/// A table and three days of events: `x` looks like whole numbers, then like fractions.
fn world(days: [&str; 3]) -> World {
    let mut world = World::new();
    for (day, rows) in (1..).zip(days) {
        world.at(&format!("2024-03-0{day}"));
        world.write("item.csv", "id,name\n1,pen\n");
        assert_eq!(
            world
                .quietly("snapshot item --lake lake --source item.csv --key id")
                .status
                .code(),
            Some(0)
        );
        world.write(
            &format!("ev/date=2024-03-0{day}/a.csv"),
            format!("id,x\n{rows}"),
        );
    }
    world
}

fn join(from: u8, to: u8, out: &str) -> String {
    format!(
        "backfill --lake lake --events ev --events-layout date=%Y-%m-%d --table item --on id \
         --from 2024-03-0{from} --to 2024-03-0{to} --out {out}"
    )
}

fn outputs(world: &World, out: &str) -> Tree {
    world
        .tree(out)
        .into_iter()
        .filter(|(name, _)| name.ends_with(".parquet"))
        .collect()
}

#[test]
fn a_date_of_another_type_is_refused_until_the_type_is_declared() {
    let mut world = world(["1,5\n", "1,5.5\n", "1,7\n"]);
    assert_eq!(world.asof(&join(1, 3, "out")), 5);
    assert_eq!(world.asof(&join(1, 3, "out")), 5);
    world.tell("a date alone is compared with the nearest outputs");
    assert_eq!(world.asof(&join(2, 2, "out")), 3);
    world.tell("what the hint says");
    world.write("asof.toml", "[events.ev.types]\nx = \"float64\"\n");
    world.succeeds(&join(1, 3, "out"));
    world.succeeds(&join(2, 2, "out"));
    world.tell("the other way round, it is another date that is refused");
    std::fs::remove_file(world.path("asof.toml")).expect("removed");
    world.succeeds(&join(2, 2, "other"));
    assert_eq!(world.asof(&join(1, 3, "other")), 5);
    world.pin("one_schema");
}

#[test]
fn a_column_without_values_ends_up_with_the_type_of_the_others_in_any_order() {
    let mut trees = Vec::new();
    for order in [[1, 2, 3], [3, 2, 1], [2, 1, 3], [2, 3, 1]] {
        let world = world(["1,\n", "1,5\n", "1,\n"]);
        for day in order {
            assert_eq!(
                world.quietly(&join(day, day, "out")).status.code(),
                Some(0),
                "{order:?}"
            );
        }
        assert_eq!(world.quietly(&join(1, 3, "out")).status.code(), Some(0));
        let done = world.json(&join(1, 3, "out"));
        assert!(
            (0..3).all(|at| done[0]["dates"][at]["action"] == "up_to_date"),
            "{done}"
        );
        let types: Vec<String> = (1..=3)
            .map(|day| world.column_type(&format!("out/date=2024-03-0{day}/out.parquet"), "x"))
            .collect();
        assert_eq!(types, ["Int64"; 3], "{order:?}");
        trees.push(outputs(&world, "out"));
    }
    // Footers name the events' modification times, which differ; the sizes do not.
    let sizes = |tree: &Tree| {
        tree.values()
            .map(|file| file.split(',').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert!(
        trees
            .windows(2)
            .all(|pair| sizes(&pair[0]) == sizes(&pair[1]))
    );
    let mut world = world(["1,\n", "1,5\n", "1,\n"]);
    world.succeeds(&join(1, 1, "out"));
    world.succeeds(&join(2, 3, "out"));
    world.succeeds(&join(1, 3, "out"));
    world.succeeds(&join(1, 3, "out"));
    world.tell("in one run");
    world.succeeds(&join(1, 3, "once"));
    let types: Vec<String> = (1..=3)
        .map(|day| world.column_type(&format!("once/date=2024-03-0{day}/once.parquet"), "x"))
        .collect();
    assert_eq!(types, ["Int64"; 3]);
    world.succeeds(&join(1, 3, "once"));
    world.pin("untyped_outputs");
}

#[cfg(feature = "sql")]
#[test]
fn queries_have_one_schema_too() {
    let mut world = world(["1,5\n", "1,5.5\n", "1,\n"]);
    world.write("job.sql", "select id, x, x * 2 as twice from ev");
    let job = "backfill --lake lake --events ev --events-layout date=%Y-%m-%d --sql job.sql \
     --from 2024-03-01 --to 2024-03-03 --out out";
    assert_eq!(world.asof(job), 5);
    world.write("asof.toml", "[events.ev.types]\nx = \"float64\"\n");
    world.succeeds(job);
    world.write("other.sql", "select id, cast(x as double) as x from ev");
    std::fs::remove_file(world.path("asof.toml")).expect("removed");
    world.succeeds(
        &job.replace("job.sql", "other.sql")
            .replace("--out out", "--out other"),
    );
    world.pin("one_schema_sql");
}

#[test]
fn a_column_of_the_table_that_widens_is_declared_with_the_table() {
    let mut world = World::shop(0);
    for (day, price) in [(1, "5"), (2, "5.5")] {
        world.at(&format!("2024-03-0{day}"));
        world.write("item.csv", format!("id,name,price\n1,pen,{price}\n"));
        assert_eq!(world.quietly("snapshot item").status.code(), Some(0));
    }
    let job = "backfill --events item_events --table item --on item_id=id --from 2024-03-01 --to \
     2024-03-02 --out out";
    assert_eq!(world.asof(job), 5);
    world.pin("one_schema_table");
}
