//! What a report saw when it ran: copies as they stood at a time.

use std::path::Path;

use super::environment::World;

/// Three nights, a report of each day that ran on 2024-03-04, and two copies that were wrong.
fn shop() -> World {
    let mut world = World::shop(3);
    let config = String::from_utf8(world.bytes("asof.toml")).expect("text");
    world.write(
        "asof.toml",
        format!(
            "{config}\n[jobs.joined]\nevents = 'item_events'\ntable = 'item'\non = \
             ['item_id=id']\noutput = 'out'\n"
        ),
    );
    world.at("2024-03-04");
    for line in [
        "compact item",
        "backfill joined --from 2024-03-01 --to 2024-03-03",
    ] {
        assert_eq!(world.quietly(line).status.code(), Some(0), "{line}");
    }
    world.at("2024-03-05");
    replace(&mut world, 2, "1,Bolt,RIGHT,5\n2,Nut,RIGHT,6\n");
    world.at("2024-03-06");
    assert_eq!(world.quietly("drop item 2024-03-03").status.code(), Some(0));
    world.at("2024-03-07");
    world
}

fn replace(world: &mut World, night: u32, rows: &str) {
    world.write("item.csv", format!("id,name,status,price\n{rows}"));
    let line = format!("snapshot item --date 2024-03-0{night} --backdate --if-exists replace");
    let taken = world.quietly(&line);
    assert_eq!(taken.status.code(), Some(0), "{taken:?}");
}

const RANGE: &str = "--from 2024-03-01 --to 2024-03-03";

#[test]
fn a_report_is_made_again_as_it_was_when_it_ran() {
    let mut world = shop();
    let day = |root: &str, number: u32| format!("{root}/date=2024-03-0{number}/joined.parquet");
    let originals: Vec<Vec<String>> = (1..4)
        .map(|number| world.rows(&day("out", number)))
        .collect();
    world.tell("the copies of now, and those that stood when the report ran");
    world.succeeds("show item 2024-03-02");
    world.succeeds("show item 2024-03-02 --known-at 2024-03-04T02:00:00Z");
    world.succeeds("show item 2024-03-03 --known-at 2024-03-05");
    world.succeeds("show item 2024-03-03 --known-at 2024-03-06T02:00:00Z");
    world.succeeds("diff item 2024-03-02 2024-03-03 --known-at 2024-03-04");
    world.succeeds("diff item 2024-03-02 --known-at 2024-03-06T03:00:00+01:00");
    world.succeeds("--json show item 2024-03-02 --known-at 2024-03-04 --limit 1");
    world.tell("the report again, in another place");
    let ordinary = world.tree("out");
    let known = "--known-at 2024-03-04T02:00:00Z --out then";
    world.refuses(0, &format!("backfill joined {RANGE} {known} --dry-run"));
    world.succeeds(&format!("backfill joined {RANGE} {known}"));
    world.succeeds(&format!("backfill joined {RANGE} {known}"));
    for (number, original) in (1..4).zip(&originals) {
        assert_eq!(world.rows(&day("then", number)), *original);
    }
    let footer = world.footer(&day("then", 2));
    assert_eq!(footer["known_at"], "2024-03-04T02:00:00Z");
    assert!(world.footer(&day("out", 2)).get("known_at").is_none());
    world.tell("what was known at another time does not replace it, and neither does what is now");
    let other = "--known-at 2024-03-05T02:00:00Z --out then";
    let then = world.tree("then");
    assert_eq!(world.asof(&format!("backfill joined {RANGE} {other}")), 3);
    let described = "--events item_events --table item --on item_id=id --out";
    assert_eq!(
        world.asof(&format!(
            "backfill {described} plain --from 2024-03-01 --to 2024-03-01"
        )),
        0
    );
    let at = "--known-at 2024-03-04 --from 2024-03-01 --to 2024-03-01";
    assert_eq!(world.asof(&format!("backfill {described} plain {at}")), 3);
    let is_output = |path: &String| {
        Path::new(path)
            .extension()
            .is_some_and(|end| end == "parquet")
    };
    let outputs = |tree: super::environment::Tree| -> super::environment::Tree {
        tree.into_iter()
            .filter(|(path, _)| is_output(path))
            .collect()
    };
    assert_eq!(outputs(world.tree("then")), outputs(then));
    assert_eq!(world.tree("out"), ordinary);
    world.tell("the job's own outputs are what they were: stale, since copies have changed");
    world.asof(&format!("status joined {RANGE}"));
    world.pin("known_at");
}

#[test]
fn a_copy_that_was_restored_or_pruned_is_told_apart_from_one_that_stood() {
    let mut world = shop();
    world.at("2024-03-08");
    assert_eq!(world.asof("restore item 2024-03-03"), 0);
    world.tell("it did not stand for two days");
    world.succeeds("show item 2024-03-03 --known-at 2024-03-05 --limit 0");
    world.succeeds("show item 2024-03-03 --known-at 2024-03-06 --limit 0");
    world.succeeds("show item 2024-03-03 --known-at 2024-03-07 --limit 0");
    world.succeeds("show item 2024-03-03 --known-at 2024-03-08 --limit 0");
    world.tell("the intervals give back a copy that was pruned, and nothing gives back one that was replaced");
    world.at("2024-03-09");
    world.succeeds("compact item");
    world.succeeds("prune item --keep-last 1");
    world.succeeds("show item 2024-03-02 --known-at 2024-03-08");
    assert_eq!(world.asof("prune item --superseded"), 0);
    world.refuses(3, "show item 2024-03-02 --known-at 2024-03-04");
    world.succeeds("show item 2024-03-01 --known-at 2024-03-04 --limit 0");
    assert_eq!(
        world.asof(
            "backfill joined --from 2024-03-01 --to 2024-03-03 --known-at 2024-03-04 --out then"
        ),
        5
    );
    world.tell("before the first copy");
    world.refuses(3, "show item --known-at 2024-02-29");
    world.refuses(3, "diff item 2024-03-02 --known-at 2024-03-01T00:00:00Z");
    world.pin("known_at_of_restored_and_pruned_copies");
}

#[test]
fn what_was_known_is_asked_of_tables_at_a_time_that_has_come() {
    let mut world = shop();
    world.tell("times");
    world.refuses(2, "show item --known-at 2024-03-04T02:00:00");
    world.refuses(2, "show item --known-at noon");
    world.refuses(2, "show item --known-at 2024-03-07T02:00:01Z");
    world.refuses(2, "show item --known-at 2024-03-08");
    world.succeeds("show item --known-at today --limit 0");
    world.tell("what has no past");
    world.refuses(2, "show joined --known-at 2024-03-04");
    world.refuses(
        2,
        "show lake/item/intervals/item.parquet --known-at 2024-03-04",
    );
    world.refuses(2, "show item --refused --known-at 2024-03-04");
    world.refuses(2, "diff item --refused 2024-03-02 --known-at 2024-03-04");
    world.write("raw/2024-03-01.csv", "id,n\n1,2\n");
    let config = String::from_utf8(world.bytes("asof.toml")).expect("text");
    let external = "[tables.raw]\nsnapshots = 'raw'\nlayout = '%Y-%m-%d.csv'\nkey = ['id']\n";
    world.write("asof.toml", format!("{config}\n{external}"));
    world.refuses(2, "show raw --known-at 2024-03-04");
    world.tell("outputs of now are never replaced");
    let at = "--known-at 2024-03-04";
    world.refuses(2, &format!("backfill joined {RANGE} {at}"));
    world.refuses(2, &format!("backfill joined {RANGE} {at} --out out"));
    world.refuses(2, &format!("backfill joined {RANGE} {at} --out out/then"));
    world.refuses(2, &format!("backfill {RANGE} {at} --out then"));
    world.refuses(
        2,
        &format!("backfill joined {RANGE} {at} --out then --using intervals"),
    );
    world.refuses(
        2,
        &format!("backfill joined {RANGE} {at} --out then --accept"),
    );
    world.pin("known_at_refused");
}
