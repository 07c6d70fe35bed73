//! Processes that are killed, interrupted or race: the lake holds whole objects, old or new.
//!
//! `ASOF_TEST_KILLS=1000` kills a thousand processes, where otherwise sixteen are.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::environment::{World, send, text};

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

pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come to that");
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
    let kills = std::env::var("ASOF_TEST_KILLS").ok();
    let kills: u32 = kills.and_then(|text| text.parse().ok()).unwrap_or(16);
    let steps = kills / 2;
    let mut checked = BTreeSet::new();
    for step in 1..=steps {
        let delay = whole * step / steps;
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
            let is_new = checked.insert(name.clone());
            assert!(
                !is_new || world.rows(&format!("lake/{name}")).len() == ROWS + 1,
                "what was put aside is whole: {name}"
            );
        }
    }
    println!("{killed} of {kills} processes were killed at work");
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

/// Starts a command, sends it a signal after a while, and returns its exit code and what it said.
fn interrupt_after(
    world: &World,
    line: &str,
    signal: &str,
    delay: impl FnOnce(),
) -> (Option<i32>, String) {
    let mut command = world.command(&format!("--no-progress {line}"));
    let child = command.stderr(Stdio::piped()).spawn().expect("asof starts");
    delay();
    send(signal, &child);
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), text(&output.stderr))
}

#[test]
fn an_interrupted_process_leaves_nothing_half_written() {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    let temporary = world.path("tmp");
    std::fs::create_dir(&temporary).expect("a folder");
    world.variable("TMPDIR", temporary.to_str().expect("a path"));
    world.write("item.csv", many(0));
    world.write(
        "asof.toml",
        "[tables.item]\ntolerance = '30d'\n[events.sold]\npath = 'sold.csv'\ndate_column = 'day'\n\
         [jobs.sold]\nevents = 'sold'\ntable = 'item'\non = ['id']\noutput = 'out'\n",
    );
    let mut sold = "day,id,piece\n".to_owned();
    for day in 1..=20 {
        for id in 0..1000 {
            sold.push_str(&format!("2024-03-{day:02},{id},{day}\n"));
        }
    }
    world.write("sold.csv", sold);
    assert_eq!(
        world
            .quietly("snapshot item --source item.csv --key id --date 2024-03-01 --backdate")
            .status
            .code(),
        Some(0)
    );
    let mut interrupted = 0;
    for step in 1..=12_u64 {
        world.write("item.csv", many(step as usize));
        let line = match step % 3 {
            0 => "compact item --full",
            1 => "snapshot item --if-exists replace --source item.csv --date 2024-03-01 --backdate",
            _ => "backfill sold --from 2024-03-01 --to 2024-03-20 --only all",
        };
        let (signal, code) = if step % 2 == 0 {
            ("INT", 130)
        } else {
            ("TERM", 143)
        };
        let delay = Duration::from_millis(30 * step);
        let (ended, said) = interrupt_after(&world, line, signal, || std::thread::sleep(delay));
        if ended == Some(code) {
            interrupted += 1;
            assert!(
                said.contains(&format!("interrupted by SIG{signal}; ")),
                "{said}"
            );
        } else {
            // It was not listening yet, or was done.
            assert!(matches!(ended, None | Some(0)), "{line}: {ended:?} {said}");
        }
        let left = |name: &String| name.contains("asof-");
        let names = [
            world.listing("lake"),
            world.listing("out"),
            world.listing("tmp"),
        ];
        let left: Vec<&String> = names.iter().flatten().filter(|name| left(name)).collect();
        assert!(left.is_empty(), "{line}: {left:?}");
    }
    assert!(interrupted > 0, "no process was interrupted at work");
    assert_eq!(
        world
            .quietly("backfill sold --from 2024-03-01 --to 2024-03-20")
            .status
            .code(),
        Some(0)
    );
    let verified = world.quietly("verify");
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        text(&verified.stdout)
    );
}

#[test]
fn a_replacement_that_waits_for_others_is_interrupted_all_the_same() {
    let world = World::new();
    world.write("item.csv", "id\n1\n");
    world.quietly("snapshot item --lake lake --source item.csv --key id");
    world.write("item.csv", "id\n2\n");
    let folder = "lake/item/snapshots/snapshot_date=2024-03-01";
    let lock = std::fs::File::create(world.path(&format!("{folder}/_asof.lock"))).expect("a lock");
    lock.lock().expect("the lock is held");
    let is_staged = || {
        let names = world.listing(folder);
        names.iter().any(|name| name.starts_with(".asof-"))
    };
    let (ended, said) = interrupt_after(
        &world,
        "--json snapshot item --lake lake --source item.csv --if-exists replace --force",
        "TERM",
        || wait_until(is_staged),
    );
    assert_eq!(ended, Some(143), "{said}");
    assert!(!is_staged());
    assert_eq!(world.rows(&format!("{folder}/item.parquet"))[1], "1");
}

#[test]
fn an_interrupted_backfill_tells_which_dates_it_published() {
    let world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[jobs.slow]\ncommand = ['sh', 'slow.sh']\noutput = 'slow'\n",
    );
    // All dates but the third are quick.
    world.write(
        "slow.sh",
        "[ $ASOF_DATE = 2024-03-03 ] && { echo > started.txt; sleep 30; }\n\
         printf 'a\\n1\\n' > $(dirname $ASOF_OUTPUT)/a.csv",
    );
    let started = || world.path("started.txt").exists();
    let line = "--json backfill slow --from 2024-03-01 --to 2024-03-03 --workers 1";
    let mut command = world.command(&format!("--no-progress {line}"));
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("asof starts");
    wait_until(started);
    send("INT", &child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let said = text(&output.stderr);
    let expected = "interrupted by SIGINT; published before that: slow 2024-03-01, 2024-03-02";
    assert!(said.contains(expected), "{said}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    let error = &document["error"];
    assert_eq!(error["kind"], "interrupted");
    assert_eq!(error["exit_code"], 130);
    assert_eq!(error["published"]["slow"][1], "2024-03-02");
    assert_eq!(
        visible(&world, "slow"),
        [
            "date=2024-03-01/slow.parquet",
            "date=2024-03-02/slow.parquet"
        ]
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
