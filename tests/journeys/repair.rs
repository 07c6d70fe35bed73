//! Copies that are replaced, dropped or added later, and all that was made from them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;

use super::environment::World;

const DAYS: u32 = 6;

const CONFIG: &str = "\
lake = 'lake'

[tables.item]
source = 'item.csv'
key = ['id']

[tables.price]
source = 'item.csv'
key = ['id']
lag = '1d'

[tables.slow]
source = 'item.csv'
key = ['id']
tolerance = '2d'

[events.clicks]
path = 'clicks'
layout = 'date=%Y-%m-%d'

[events.visits]
path = 'visits'
layout = 'month=%Y-%m'

[events.joined_clicks]
path = 'out/joined'
layout = 'date=%Y-%m-%d'

[jobs.again]
sql = 'select item, price from joined_clicks'
output = 'out/again'

[jobs.joined]
events = 'clicks'
table = 'item'
on = ['item=id']
output = 'out/joined'

[jobs.lagged]
events = 'clicks'
table = 'price'
on = ['item=id']
output = 'out/lagged'

[jobs.tolerant]
events = 'clicks'
table = 'slow'
on = ['item=id']
output = 'out/tolerant'

[jobs.monthly]
events = 'visits'
table = 'item'
on = ['item=id']
output = 'out/monthly'

[jobs.history]
sql = 'select c.item, count(s.price) as prices from clicks c join item_snapshots s on s.id = c.item \
       group by c.item order by c.item'
output = 'out/history'

[jobs.alone]
sql = 'select item from clicks'
output = 'out/alone'
";

/// The options of a range of all dates.
const RANGE: &str = "--from 2024-03-01 --to 2024-03-06";

fn day(number: u32) -> String {
    format!("2024-03-0{number}")
}

/// Six nights of three tables, one of which has a copy every second day, and outputs of all jobs.
fn shop() -> World {
    let mut world = World::new();
    world.write("asof.toml", CONFIG);
    world.write("visits/month=2024-03/visits.csv", "item\n1\n2\n");
    for number in 1..=DAYS {
        world.write(
            &format!("clicks/date={}/clicks.csv", day(number)),
            "item\n1\n2\n",
        );
        world.write("item.csv", format!("id,price\n1,{number}\n2,20\n"));
        world.at(&day(number));
        let tables = match number % 2 {
            0 => "item price",
            _ => "item price slow",
        };
        let taken = world.quietly(&format!("snapshot {tables}"));
        assert_eq!(taken.status.code(), Some(0));
    }
    world.quietly("compact");
    // A table with a lag has no copy for the first day.
    assert_eq!(
        world
            .quietly(&format!("backfill joined {RANGE}"))
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        world.quietly(&format!("backfill {RANGE}")).status.code(),
        Some(5)
    );
    world.at("2024-03-09");
    world
}

/// Which object each path below the outputs and the intervals is.
fn objects(world: &World) -> BTreeMap<String, (u64, i64, i64)> {
    let mut objects = BTreeMap::new();
    for root in ["out", "lake"] {
        for path in world.listing(root) {
            let is_made = root == "out" || path.contains("/intervals/");
            if is_made && path.ends_with(".parquet") {
                let path = match path.starts_with(root) {
                    true => path,
                    false => format!("{root}/{path}"),
                };
                let file = std::fs::metadata(world.path(&path)).expect("a file");
                objects.insert(path, (file.ino(), file.mtime(), file.mtime_nsec()));
            }
        }
    }
    objects
}

/// The outputs and intervals that a command wrote anew or removed, without the names of files.
fn touched(world: &mut World, code: i32, line: &str) -> BTreeSet<String> {
    let before = objects(world);
    assert_eq!(world.asof(line), code, "{line}");
    let after = objects(world);
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let touched = paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path));
    touched
        .map(|path| {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            folder.to_owned()
        })
        .collect()
}

fn outputs(of: &[(&str, &[u32])]) -> BTreeSet<String> {
    let dates = |(job, days): &(&str, &[u32])| -> Vec<String> {
        let path = |number: &u32| format!("out/{job}/date={}", day(*number));
        days.iter().map(path).collect()
    };
    of.iter().flat_map(dates).collect()
}

/// The dates of each job that are stale, as `asof status` tells them.
fn stale(world: &World) -> BTreeSet<String> {
    let status = world.json(&format!("status {RANGE}"));
    let mut stale = BTreeSet::new();
    for job in status["jobs"].as_array().expect("jobs") {
        let name = job["job"].as_str().expect("a name");
        for date in job["dates"].as_array().expect("dates") {
            if date["state"] == "stale" {
                let date = date["date"].as_str().expect("a date");
                stale.insert(format!("out/{name}/date={date}"));
            }
        }
    }
    stale
}

/// The dates that a plan would write, in the same form.
fn planned(report: &Value) -> BTreeSet<String> {
    let mut planned = BTreeSet::new();
    for job in report.as_array().expect("reports") {
        let name = job["job"].as_str().expect("a name");
        for date in job["dates"].as_array().expect("dates") {
            if date["action"] == "planned" {
                let date = date["date"].as_str().expect("a date");
                planned.insert(format!("out/{name}/date={date}"));
            }
        }
    }
    planned
}

/// Replaces the copy of a day by one with another price.
fn replace(world: &mut World, table: &str, number: u32) {
    world.write("item.csv", "id,price\n1,77\n2,20\n");
    let date = day(number);
    let line = format!("snapshot {table} --date {date} --backdate --if-exists replace");
    assert_eq!(world.asof(&line), 0);
}

#[test]
fn a_replaced_copy_has_exactly_what_was_made_from_it_recomputed() {
    let mut world = shop();
    world.tell("nothing has changed");
    world.succeeds("repair");
    world.tell("the copy of the third night was wrong");
    replace(&mut world, "item", 3);
    let expected = outputs(&[("joined", &[3]), ("history", &[3, 4, 5, 6])]);
    assert_eq!(stale(&world), expected);
    assert_eq!(
        planned(&world.json(&format!("backfill {RANGE} --only stale --dry-run"))),
        expected
    );
    assert_eq!(world.asof("status item --exit-code"), 6);
    world.tell("no other date is affected");
    world.refuses(0, "repair 2024-03-02 2024-03-04");
    world.tell("the plan, and what is done");
    world.refuses(0, "repair 2024-03-03 --dry-run");
    let mut repaired = outputs(&[
        ("joined", &[3]),
        ("again", &[3]),
        ("history", &[3, 4, 5, 6]),
    ]);
    repaired.insert("lake/item/intervals".into());
    assert_eq!(touched(&mut world, 0, "repair 2024-03-03"), repaired);
    world.tell("a rerun does nothing");
    world.refuses(0, "repair 2024-03-03");
    world.refuses(0, "repair");
    assert_eq!(stale(&world), BTreeSet::new());
    assert_eq!(world.asof("status item --exit-code"), 0);
    world.tell("the first night serves the month, and a table with a lag the next day");
    replace(&mut world, "item", 1);
    replace(&mut world, "price", 2);
    let mut repaired = outputs(&[
        ("joined", &[1]),
        ("again", &[1]),
        ("history", &[1, 2, 3, 4, 5, 6]),
        ("monthly", &[1]),
        ("lagged", &[3]),
    ]);
    repaired.extend(["item", "price"].map(|table| format!("lake/{table}/intervals")));
    assert_eq!(
        touched(&mut world, 0, "repair --from 2024-03-01 --to 2024-03-02"),
        repaired
    );
    world.succeeds("verify");
    world.pin("repair");
}

#[test]
fn a_dropped_copy_and_one_that_came_late_are_repaired() {
    let mut world = shop();
    world.tell("a copy that should not exist: one date has no other within the tolerance");
    assert_eq!(world.asof("drop slow 2024-03-03"), 0);
    let mut repaired = outputs(&[("tolerant", &[3])]);
    repaired.insert("lake/slow/intervals".into());
    assert_eq!(touched(&mut world, 5, "repair 2024-03-03"), repaired);
    world.tell("what failed is tried again, and nothing else");
    assert_eq!(touched(&mut world, 3, "repair"), BTreeSet::new());
    world.tell("it was right after all");
    assert_eq!(world.asof("restore slow 2024-03-03"), 0);
    let mut repaired = outputs(&[("tolerant", &[3, 4])]);
    repaired.insert("lake/slow/intervals".into());
    assert_eq!(touched(&mut world, 0, "repair"), repaired);
    world.tell("a copy comes late");
    let late = "snapshot slow --date 2024-03-04 --backdate";
    assert_eq!(world.asof(late), 0);
    let expected = outputs(&[("tolerant", &[4])]);
    assert_eq!(stale(&world), expected);
    let mut repaired = expected;
    repaired.insert("lake/slow/intervals".into());
    assert_eq!(touched(&mut world, 0, "repair 2024-03-04"), repaired);
    world.refuses(0, "repair");
    world.pin("repair_of_dropped_and_late_copies");
}

#[test]
fn what_a_repair_cannot_do_stops_nothing_else() {
    let mut world = shop();
    replace(&mut world, "item", 3);
    world.tell("an output that asof did not write is in the way");
    world.write("out/joined/date=2024-03-03/joined.parquet", "mine");
    let repaired = touched(&mut world, 5, "repair 2024-03-03");
    let mut expected = outputs(&[("history", &[3, 4, 5, 6])]);
    expected.insert("lake/item/intervals".into());
    assert_eq!(repaired, expected);
    world.refuses(3, "repair 2024-03-03 --dry-run");
    std::fs::remove_file(world.path("out/joined/date=2024-03-03/joined.parquet")).expect("removed");
    world.tell("a change of the job is not what a repair is about");
    let config = CONFIG.replace("select item from", "select item, 1 as one from");
    world.write(
        "asof.toml",
        config.replace(
            "output = 'out/monthly'",
            "how = 'inner'\noutput = 'out/monthly'",
        ),
    );
    world.succeeds("repair");
    world.tell("intervals that cannot be read, and jobs that cannot be planned");
    replace(&mut world, "price", 2);
    world.write("lake/slow/intervals/slow.parquet", "PAR1");
    world.write(
        "asof.toml",
        CONFIG.replace("events = 'visits'", "events = 'visit'"),
    );
    world.asof("repair 2024-03-02");
    world.asof("--json repair 2024-03-02");
    world.tell("what cannot be");
    world.refuses(2, "repair 2024-13-01");
    world.refuses(2, "repair latest");
    world.refuses(2, "repair 2024-03-01 --from 2024-03-01");
    world.refuses(2, "repair --from 2024-03-02 --to 2024-03-01");
    world.pin("repair_failures");
}
