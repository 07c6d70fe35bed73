//! Processes that are killed, and processes that race: the lake holds whole objects, old or new.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::environment::{World, text};

const ROWS: usize = 20_000;

/// Enough rows that a command takes a while; `salt` is in every one.
fn many(salt: usize) -> String {
    let mut csv = "id,salt,name\n".to_owned();
    for id in 0..ROWS {
        csv.push_str(&format!("{id},{salt},row number {id} of night {salt}\n"));
    }
    csv
}

/// Starts a command, kills it after a while, and says whether it was still at work.
fn kill_after(world: &World, line: &str, delay: Duration) -> bool {
    let mut child = world
        .command(&format!("--no-progress {line}"))
        .spawn()
        .expect("asof starts");
    std::thread::sleep(delay);
    let at_work = child.try_wait().expect("a child").is_none();
    // SIGKILL on Unix.
    child.kill().expect("killed");
    child.wait().expect("ended");
    at_work
}

fn visible(world: &World, under: &str) -> Vec<String> {
    let hidden = |name: &str| name.split('/').any(|part| part.starts_with(['_', '.']));
    world
        .listing(under)
        .into_iter()
        .filter(|name| !hidden(name) && !name.ends_with('/'))
        .collect()
}

#[test]
fn a_killed_process_leaves_the_old_object_or_the_new_one() {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    world.write("item.csv", many(0));
    let began = Instant::now();
    assert_eq!(
        world
            .quietly("snapshot item --source item.csv --key id")
            .status
            .code(),
        Some(0)
    );
    let whole = began.elapsed();
    assert_eq!(world.quietly("compact item").status.code(), Some(0));
    let object = "lake/item/snapshots/snapshot_date=2024-03-01/item.parquet";
    let intervals = "lake/item/intervals/item.parquet";
    let mut killed = 0;
    for step in 1..=8_u32 {
        let delay = whole * step / 8;
        // A replacement of the snapshot.
        let old = world.bytes(object);
        world.write("item.csv", many(step as usize));
        killed += u32::from(kill_after(
            &world,
            "snapshot item --source item.csv --if-exists replace",
            delay,
        ));
        let now = world.bytes(object);
        let rows = world.rows(object);
        assert_eq!(rows.len(), ROWS + 1, "the snapshot is whole");
        assert!(
            now == old || rows[1].contains(&format!("|{step}|")),
            "it is the old one or the new one: {}",
            rows[1]
        );
        // The intervals of it.
        killed += u32::from(kill_after(&world, "compact item --full", delay));
        assert_eq!(
            world.rows(intervals).len(),
            ROWS + 1,
            "the intervals are whole"
        );
        let seen = visible(&world, "lake");
        let (aside, objects): (Vec<_>, Vec<_>) =
            seen.iter().partition(|name| name.contains("superseded"));
        assert_eq!(
            objects,
            [
                "item/intervals/item.parquet",
                "item/snapshots/snapshot_date=2024-03-01/item.parquet"
            ]
        );
        for name in aside {
            assert_eq!(
                world.rows(&format!("lake/{name}")).len(),
                ROWS + 1,
                "what was put aside is whole: {name}"
            );
        }
    }
    assert!(killed > 0, "no process was killed at work");
    assert_eq!(world.quietly("compact item").status.code(), Some(0));
    let verified = world.quietly("verify item");
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}{}",
        text(&verified.stdout),
        text(&verified.stderr)
    );
    // Once they are old, the next run of the same command removes what the killed ones left.
    for name in world.listing("lake").iter().filter(|name| {
        name.rsplit('/')
            .next()
            .is_some_and(|last| last.starts_with(['_', '.']))
    }) {
        let file = std::fs::File::options()
            .write(true)
            .open(world.path("lake").join(name))
            .expect("a leftover");
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        file.set_modified(long_ago).expect("its time is set");
    }
    assert_eq!(
        world
            .quietly("snapshot item --source item.csv --if-exists replace")
            .status
            .code(),
        Some(0)
    );
    let folder = world.listing("lake/item/snapshots/snapshot_date=2024-03-01");
    assert_eq!(
        folder,
        ["item.parquet"],
        "old leftovers are swept, and the lock goes with the replacement"
    );
}

#[test]
fn a_killed_first_snapshot_leaves_nothing_that_a_reader_would_take() {
    let world = World::new();
    world.write("item.csv", many(0));
    for step in 1..=5_u64 {
        kill_after(
            &world,
            "snapshot item --lake lake --source item.csv --key id",
            Duration::from_millis(40 * step),
        );
        let seen = visible(&world, "lake");
        assert!(
            seen.is_empty() || seen == ["item/snapshots/snapshot_date=2024-03-01/item.parquet"],
            "{seen:?}"
        );
    }
    assert_eq!(
        world
            .quietly("snapshot item --lake lake --source item.csv --key id")
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        world.quietly("verify item --lake lake").status.code(),
        Some(0)
    );
}

/// How sixteen processes that publish one date at once end: by exit code and outcome.
fn race(option: &str) -> (World, BTreeMap<String, usize>) {
    let world = World::new();
    for writer in 0..16 {
        world.write(
            &format!("item{writer}.csv"),
            format!("id,writer\n1,{writer}\n2,{writer}\n"),
        );
    }
    let children: Vec<_> = (0..16)
        .map(|writer| {
            let line = format!(
                "--no-progress --json snapshot item --lake lake --source \
                 item{writer}.csv --key id {option}"
            );
            world.command(&line).spawn().expect("asof starts")
        })
        .collect();
    let mut ends = BTreeMap::new();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let document: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("a document");
        let outcome = document[0]["outcome"]
            .as_str()
            .or(document["error"]["kind"].as_str())
            .unwrap_or("?")
            .to_owned();
        *ends
            .entry(format!("{} {outcome}", output.status.code().unwrap_or(-1)))
            .or_insert(0) += 1;
    }
    assert_eq!(
        world.listing("lake"),
        ["item/snapshots/snapshot_date=2024-03-01/item.parquet"]
    );
    assert_eq!(
        world
            .rows("lake/item/snapshots/snapshot_date=2024-03-01/item.parquet")
            .len(),
        3
    );
    assert_eq!(
        world.quietly("verify item --lake lake").status.code(),
        Some(0)
    );
    (world, ends)
}

#[test]
fn of_sixteen_writers_one_wins_and_the_others_keep_its_snapshot() {
    let (_world, ends) = race("");
    assert_eq!(
        ends,
        BTreeMap::from([("0 kept".to_owned(), 15), ("0 published".to_owned(), 1)])
    );
}

#[test]
fn of_sixteen_writers_that_want_to_be_first_one_wins_and_the_others_conflict() {
    let (_world, ends) = race("--if-exists error");
    assert_eq!(
        ends,
        BTreeMap::from([("0 published".to_owned(), 1), ("4 conflict".to_owned(), 15)])
    );
}

#[test]
fn replacements_that_race_put_each_other_aside_and_lose_nothing() {
    let world = World::new();
    world.write("item.csv", "id,writer\n1,first\n");
    assert_eq!(
        world
            .quietly("snapshot item --lake lake --source item.csv --key id")
            .status
            .code(),
        Some(0)
    );
    for writer in 0..16 {
        world.write(
            &format!("item{writer}.csv"),
            format!("id,writer\n1,w{writer}\n"),
        );
    }
    let start = |writer: usize| {
        let line = format!(
            "--no-progress snapshot item --lake lake --source item{writer}.csv --if-exists replace"
        );
        world.command(&line).spawn().expect("asof starts")
    };
    let children: Vec<_> = (0..16).map(start).collect();
    let mut replaced = vec!["first".to_owned()];
    for (writer, child) in children.into_iter().enumerate() {
        match child.wait_with_output().expect("it ends").status.code() {
            Some(0) => replaced.push(format!("w{writer}")),
            code => assert_eq!(code, Some(4), "a loser is told of the conflict"),
        }
    }
    let mut found: Vec<String> = visible(&world, "lake")
        .iter()
        .map(|name| world.rows(&format!("lake/{name}"))[1][2..].to_owned())
        .collect();
    found.sort();
    replaced.sort();
    assert!(replaced.len() > 1);
    assert_eq!(found, replaced, "each that won stands or was put aside");
}
