//! Every write has `--dry-run`, which prints the plan and leaves nothing.

use super::environment::World;

#[test]
fn a_dry_run_leaves_nothing() {
    let mut world = World::shop(2);
    world.night(3);
    let join = "--events item_events --table item --on item_id=id --out out --from 2024-03-01 \
     --to 2024-03-02";
    let lines = [
        "snapshot item --dry-run".to_owned(),
        "snapshot item --date 2024-03-02 --if-exists replace --backdate --dry-run".to_owned(),
        "snapshot other --source item.csv --key id --dry-run".to_owned(),
        "compact item --dry-run".to_owned(),
        "compact item --out elsewhere --dry-run".to_owned(),
        format!("backfill {join} --dry-run"),
    ];
    for line in &lines {
        world.refuses(0, line);
    }
    world.succeeds("compact item");
    world.succeeds("snapshot item");
    world.refuses(0, "compact item --dry-run");
    world.refuses(0, "compact item --full --dry-run");
    world.refuses(
        0,
        "expand item --from 2024-03-01 --to 2024-03-02 --out copies --dry-run",
    );
    world.succeeds(&format!("backfill {join}"));
    world.refuses(0, &format!("backfill {join} --dry-run"));
    world.refuses(0, &format!("backfill {join} --only all --dry-run"));
    world.tell("with no lake yet");
    let mut fresh = World::new();
    fresh.write("item.csv", "id\n1\n");
    fresh.refuses(
        0,
        "snapshot item --lake lake --source item.csv --key id --dry-run",
    );
    world.pin("dry_runs");
}

#[test]
fn a_dry_run_finds_the_mistakes_of_a_job() {
    let mut world = World::shop(2);
    let days = "--from 2024-03-01 --to 2024-03-02";
    let join = |on: &str, rest: &str| {
        format!(
            "backfill --events item_events --table item --on {on} --how left {rest} --out out \
             {days}"
        )
    };
    for line in [
        join("item_id=id", "--select statsu"),
        join("item_idd=id", ""),
        join("name=id", ""),
        join("item_id=id", "--where 'prise > 1'"),
        join("item_id=id", "--where 'price + 1'"),
    ] {
        world.refuses(2, &line);
        world.refuses(2, &format!("{line} --dry-run"));
    }
    #[cfg(feature = "sql")]
    for sql in [
        "select statsu from item",
        "select e.qty + i.name as x from item_events e join item i on i.id = e.item_id",
        "select nosuch(id) as x from item",
        "select qty from item_events prewhere qty > 1",
        "select '{ds}' as d, {ds} as e from item",
    ] {
        world.write("wrong.sql", sql);
        world.tell(sql);
        let line = format!("backfill --sql wrong.sql --out out {days}");
        world.refuses(2, &line);
        world.refuses(2, &format!("{line} --dry-run"));
    }
    world
        .tell("the last date's events lack a column, and their types are known from their footers");
    world.succeeds(&join("item_id=id", "--only all"));
    std::fs::create_dir_all(world.path("typed/date=2024-03-01")).expect("a folder");
    std::fs::copy(
        world.path("out/date=2024-03-01/out.parquet"),
        world.path("typed/date=2024-03-01/a.parquet"),
    )
    .expect("a copy");
    std::fs::create_dir_all(world.path("typed/date=2024-03-02")).expect("a folder");
    std::fs::copy(
        world.path("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet"),
        world.path("typed/date=2024-03-02/a.parquet"),
    )
    .expect("a copy");
    let line = format!(
        "backfill --events typed --events-layout date=%Y-%m-%d --table item --on item_id=id --how \
         left --select status --out more {days}"
    );
    world.refuses(5, &format!("{line} --dry-run"));
    assert_eq!(world.asof(&line), 5);
    world.pin("dry_runs_of_wrong_jobs");
}
