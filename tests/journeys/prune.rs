//! Copies that are pruned, and every date that shows what it did.
//!
//! `ASOF_TEST_KILLS=1000` kills a thousand runs, where otherwise eight are.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use super::environment::{Tree, World, text};

const DAYS: u32 = 6;

/// A lake with a copy of each of six nights, and intervals of them; the next night has come.
fn six_nights() -> World {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n",
    );
    for day in 1..=DAYS {
        world.at(&format!("2024-03-0{day}"));
        world.write(
            "item.csv",
            format!(
                "id,name,price\n1,Bolt,{day}\n2,Nut,{}\n{day}0,New,1\n",
                day / 3
            ),
        );
        assert_eq!(world.quietly("snapshot item").status.code(), Some(0));
    }
    assert_eq!(world.quietly("compact item").status.code(), Some(0));
    world
}

fn copies(world: &World) -> Vec<String> {
    let mut names = world.listing("lake/item/snapshots");
    names.retain(|name| name.ends_with(".parquet"));
    names
}

/// What commands say of each date, and not from where they have it.
fn answers(world: &World) -> Vec<Value> {
    let mut answers = Vec::new();
    for day in 1..=DAYS {
        let mut shown = world.json(&format!("show item 2024-03-0{day} --limit 100000"));
        shown.as_object_mut().expect("a report").remove("source");
        answers.push(shown);
        if day > 1 {
            let mut changed = world.json(&format!("diff item 2024-03-0{} 2024-03-0{day}", day - 1));
            for end in ["from", "to"] {
                changed[end]
                    .as_object_mut()
                    .expect("a date")
                    .remove("source");
            }
            answers.push(changed);
        }
    }
    answers.push(world.json("history item 1"));
    answers.push(world.json("schema item"));
    answers.push(world.json("status item")["tables"][0]["observed"].clone());
    answers
}

#[test]
fn old_copies_are_pruned_and_every_date_answers_as_before() {
    let mut world = six_nights();
    let before = answers(&world);
    world.tell("no rule says what stays");
    world.refuses(2, "prune item");
    world.refuses(2, "prune");
    world.refuses(2, "prune item --keep-last 0");
    world.refuses(2, "prune item --keep-within 90");
    world.refuses(2, "prune --keep-last 2");
    world.refuses(2, "prune itme --keep-last 2");
    world.tell("the plan, and what is done");
    world.refuses(0, "prune item --keep-last 2 --dry-run");
    world.succeeds("prune item --keep-last 2");
    assert_eq!(copies(&world).len(), 3);
    assert_eq!(answers(&world), before);
    world.refuses(0, "prune item --keep-last 2");
    world.tell("no date is missing");
    world.succeeds("status item");
    world.succeeds("verify item");
    world.succeeds("compact item");
    world.refuses(0, "snapshot item --date 2024-03-03");
    world.refuses(
        4,
        "snapshot item --date 2024-03-03 --backdate --if-exists error",
    );
    world.refuses(3, "drop item 2024-03-03");
    world.refuses(2, "restore item 2024-03-03");
    world.refuses(3, "compact item --full");
    world.refuses(3, "compact item --ignore price");
    let footer = world.footer("lake/item/intervals/item.parquet");
    for (at, observed) in footer["observed"]
        .as_array()
        .expect("dates")
        .iter()
        .enumerate()
    {
        let is_proven = observed["proven"] == observed["fingerprint"];
        assert_eq!(is_proven, (1..=3).contains(&at), "{observed}");
    }
    world.tell("the next nights, by the rules of asof.toml");
    let config = text(&world.bytes("asof.toml"));
    world.write(
        "asof.toml",
        format!("{config}keep = {{ last = 2, weekly = 1 }}\n"),
    );
    for day in 7..=8 {
        world.at(&format!("2024-03-0{day}"));
        world.write(
            "item.csv",
            format!("id,name,price\n1,Bolt,{day}\n2,Nut,2\n"),
        );
        world.succeeds("snapshot");
        world.succeeds("compact");
        world.succeeds("prune");
    }
    // What is told of all dates together tells of the new nights, too.
    let of_dates = before.len() - 3;
    assert_eq!(answers(&world)[..of_dates], before[..of_dates]);
    world.succeeds("status item");
    world.succeeds("--json prune --dry-run");
    world.tell("back again");
    world.succeeds("expand item --from 2024-03-02 --to 2024-03-04 --out lake/item/snapshots");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.pin("prune");
}

#[test]
fn a_job_gives_the_same_rows_and_its_outputs_stay_up_to_date() {
    let mut world = six_nights();
    let config = text(&world.bytes("asof.toml"));
    world.write(
        "asof.toml",
        format!(
            "{config}[events.sold]\npath = 'sold.csv'\ndate_column = 'day'\n[jobs.sold]\nevents = \
             'sold'\ntable = 'item'\non = ['id']\noutput = 'out'\n"
        ),
    );
    let sold: String = (1..=DAYS)
        .map(|day| format!("2024-03-0{day},1\n2024-03-0{day},2\n"))
        .collect();
    world.write("sold.csv", format!("day,id\n{sold}"));
    let range = format!("--from 2024-03-01 --to 2024-03-0{DAYS}");
    let run = |world: &World, line: &str| world.json(&format!("backfill sold {range} {line}"));
    run(&world, "");
    let before = world.tree("out");
    assert_eq!(
        world.quietly("prune item --keep-last 1").status.code(),
        Some(0)
    );
    world.succeeds(&format!("backfill sold {range}"));
    assert_eq!(world.tree("out"), before);
    world.succeeds(&format!("backfill sold {range} --only all"));
    world.succeeds("verify");
    for day in 1..=DAYS {
        let output = format!("out/date=2024-03-0{day}/sold.parquet");
        assert_eq!(world.rows(&output).len(), 3, "{output}");
    }
    assert_eq!(world.tree("out"), before, "the very bytes");
    world.pin("prune_and_jobs");
}

#[test]
fn what_the_intervals_do_not_prove_is_not_pruned() {
    let mut world = six_nights();
    let line = "prune item --keep-last 1";
    world.tell("a value of the intervals is damaged");
    let intervals = "lake/item/intervals/item.parquet";
    let whole = world.bytes(intervals);
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    world.write(intervals, &damaged);
    world.refuses(3, line);
    world.write(intervals, &whole);
    world.tell("a copy was rewritten since");
    world.write("item.csv", "id,name,price\n1,Bolt,77\n2,Nut,7\n60,New,1\n");
    world.succeeds("snapshot item --if-exists replace");
    world.refuses(3, line);
    world.tell("a column is not compared");
    world.succeeds("compact item --ignore price");
    world.refuses(3, line);
    world.tell("there are no intervals");
    std::fs::remove_dir_all(world.path("lake/item/intervals")).expect("removed");
    world.refuses(3, line);
    world.refuses(3, "--json prune item --keep-last 1");
    world.tell("copies of another tool");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsnapshots = 'copies'\nlayout = '%Y-%m-%d.csv'\nkey = ['id']\n",
    );
    world.write("copies/2024-03-01.csv", "id\n1\n");
    world.refuses(2, line);
    let config = text(&world.bytes("asof.toml"));
    for keep in [
        "{ last = 1 }",
        "{}",
        "{ last = 0 }",
        "{ hourly = 1 }",
        "{ within = '3h' }",
    ] {
        world.write("asof.toml", format!("{config}keep = {keep}\n"));
        world.refuses(2, "prune");
    }
    world.pin("prune_refused");
}

#[test]
fn replaced_and_refused_copies_are_pruned_if_that_is_asked_for() {
    let mut world = six_nights();
    world.write("item.csv", "id,name,price\n1,Bolt,77\n");
    world.succeeds("snapshot item --if-exists replace --force");
    world.write("item.csv", "id,name,price\n1,Bolt,77\n1,Bolt,78\n");
    world.refuses(3, "snapshot item --if-exists replace");
    world.at("2024-03-07");
    world.refuses(3, "snapshot item");
    world.refuses(0, "prune item --superseded --refused --dry-run");
    world.refuses(0, "prune item --superseded --keep-within 7d --keep-last 9");
    world.succeeds("prune item --superseded --refused");
    assert!(world.listing("lake/item/superseded").is_empty());
    assert_eq!(
        world.listing("lake/item/_refused"),
        ["snapshot_date=2024-03-07/item.parquet"]
    );
    world.refuses(2, "prune --superseded");
    world.succeeds("status item");
    world.pin("prune_aside");
}

/// Copies a folder and what is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

/// The rows of every date, as a reader of the lake has them.
fn rows(world: &World) -> Vec<Value> {
    (1..=DAYS)
        .map(|day| {
            let shown = world.json(&format!("show item 2024-03-0{day} --limit 100000"));
            assert_eq!(shown["snapshot_date"], format!("2024-03-0{day}"), "{shown}");
            shown["rows"].clone()
        })
        .collect()
}

/// What runs beside a pruning.
const BESIDE: [&str; 5] = [
    "",
    "compact item",
    "compact item --full",
    "compact item --ignore name",
    "compact item --from 2024-03-04",
];

#[test]
fn no_date_is_lost_whatever_damages_races_or_kills_a_pruning() {
    let mut world = six_nights();
    let many: String = (100..4_000).map(|id| format!("{id},Row,{id}\n")).collect();
    for day in 1..=DAYS {
        world.at(&format!("2024-03-0{day}"));
        world.write("item.csv", format!("id,name,price\n1,Bolt,{day}\n{many}"));
        let line = "snapshot item --if-exists replace --force";
        assert_eq!(world.quietly(line).status.code(), Some(0));
    }
    world.quietly("compact item");
    world.at("2024-03-07");
    world.write("item.csv", format!("id,name,price\n1,Bolt,7\n{many}"));
    world.quietly("snapshot item");
    let expected = rows(&world);
    copy(&world.path("lake"), &world.path("kept"));
    let began = Instant::now();
    let line = "prune item --keep-last 2";
    assert_eq!(world.quietly(line).status.code(), Some(0));
    let whole = began.elapsed();
    assert_eq!(copies(&world).len(), 3);
    let kills = std::env::var("ASOF_TEST_KILLS").ok();
    let kills: u32 = kills.and_then(|text| text.parse().ok()).unwrap_or(8);
    let (mut killed, mut raced) = (0, 0);
    for step in 0..kills.max(5) * 2 {
        std::fs::remove_dir_all(world.path("lake")).expect("removed");
        copy(&world.path("kept"), &world.path("lake"));
        let is_damaged = step % 7 == 6;
        let intervals = "lake/item/intervals/item.parquet";
        let undamaged = world.bytes(intervals);
        if is_damaged {
            let mut bytes = undamaged.clone();
            let at = (step as usize * 7919) % bytes.len();
            bytes[at] ^= 1;
            world.write(intervals, bytes);
        }
        let beside = BESIDE[(step / 2) as usize % BESIDE.len()];
        let before: Tree = world.tree("lake/item/snapshots");
        let other = (!beside.is_empty() && !is_damaged).then(|| {
            let mut command = world.command(&format!("--no-progress {beside}"));
            command.spawn().expect("asof starts")
        });
        let mut command = world.command(&format!("--no-progress {line}"));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("asof starts");
        if step % 2 == 0 {
            std::thread::sleep(whole * (step % kills + 1) / (kills + 1));
            killed += u32::from(child.try_wait().expect("a child").is_none());
            child.kill().expect("killed");
        }
        let pruned = child.wait_with_output().expect("it ends");
        let other = other.map(|child| child.wait_with_output().expect("it ends"));
        let said = text(&pruned.stderr);
        if is_damaged {
            assert!(matches!(pruned.status.code(), None | Some(3)), "{said}");
            assert_eq!(world.tree("lake/item/snapshots"), before, "{said}");
            world.write(intervals, undamaged);
        } else {
            assert!(
                matches!(pruned.status.code(), None | Some(0 | 3 | 4)),
                "{said}"
            );
        }
        if let Some(other) = &other {
            let said = text(&other.stderr);
            assert!(matches!(other.status.code(), Some(0 | 1 | 3 | 4)), "{said}");
            raced += u32::from(matches!(other.status.code(), Some(4)));
            raced += u32::from(matches!(pruned.status.code(), Some(4)));
        }
        let place = format!(
            "step {step}, beside '{beside}', {} copies",
            copies(&world).len()
        );
        assert!(rows(&world) == expected, "{place}: other rows\n{said}");
        let is_as_before = beside.is_empty() || beside == "compact item";
        if is_as_before && !is_damaged {
            assert_eq!(world.quietly(line).status.code(), Some(0), "{place}");
            assert_eq!(copies(&world).len(), 3, "{place}");
            let verified = world.quietly("verify item");
            assert_eq!(
                verified.status.code(),
                Some(0),
                "{place}: {}",
                text(&verified.stdout)
            );
        }
    }
    assert!(killed > 0, "no run was killed at work");
    eprintln!("{killed} killed, {raced} lost a race");
}
