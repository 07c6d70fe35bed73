//! The recipes of docs/schedulers.md. What needs Airflow, Dagster or systemd's own checks runs by
//! `tests/run --schedulers`, and is ignored otherwise.

mod airflow;
mod cron;
mod dagster;
mod systemd;

use std::path::Path;
use std::process::Command;

use crate::journeys::environment::{ASOF, World, text};

/// Every recipe, by its name below `examples/schedulers`.
const RECIPES: [&str; 7] = [
    "asof_dag.py",
    "assets.py",
    "crontab",
    "asof.service",
    "asof.timer",
    "asof-backfill.service",
    "asof-backfill.timer",
];

const CONFIG: &str = r#"lake = "lake"

[tables.item]
source = "item.csv"
key = ["id"]
max_delete = "60%"

[events.item_events]
path = "item_events"
layout = "year=%Y/month=%m/day=%d"

[jobs.active_item_events]
sql = """
  select * from item_events
  where item_id in (select id from item where status = 'ACTIVE')
"""
output = "active_item_events"
layout = "date=%Y-%m-%d"
"#;

/// Where the job writes.
const OUTPUTS: &str = "active_item_events";

/// The copies of the table.
const SNAPSHOTS: &str = "lake/item/snapshots";

/// What the table and the events hold on the first days of January 2024, from the fifth on.
const DAYS: [(&str, &str); 4] = [
    ("1,ACTIVE\n2,ACTIVE\n3,DRAFT\n", "a1,1\na2,2\na3,3\n"),
    ("1,ACTIVE\n2,PAUSED\n3,ACTIVE\n", "b1,1\nb2,2\nb3,3\n"),
    ("2,PAUSED\n3,ACTIVE\n4,ACTIVE\n", "c1,1\nc3,3\nc4,4\n"),
    ("2,ACTIVE\n3,ACTIVE\n4,PAUSED\n", "d2,2\nd3,3\nd4,4\n"),
];

/// A shop without copies, where `asof` on the `PATH` is the program under test.
fn shop() -> World {
    let mut world = World::new();
    world.write("asof.toml", CONFIG);
    for (day, (_, events)) in (5..).zip(DAYS) {
        world.write(
            &format!("item_events/year=2024/month=01/day=0{day}/events.csv"),
            format!("event_id,item_id\n{events}"),
        );
    }
    let path = std::env::var("PATH").expect("a PATH");
    world.variable("PATH", &format!("{}:{path}", programs()));
    world
}

/// Begins a day: the table has its rows of that day, and it is half past midnight.
fn begin(world: &mut World, day: u8) {
    let rows = DAYS[usize::from(day - 5)].0;
    world.write("item.csv", format!("id,status\n{rows}"));
    world.at_instant(&format!("2024-01-0{day}T00:30:00Z"));
}

/// Where the intervals of the table are.
const INTERVALS: &str = "lake/item/intervals/item.parquet";

/// Adds a table whose source is not there, so that its copy fails every night. It comes before the
/// other one in every list.
fn add_a_table_that_fails(world: &World) {
    let config = text(&world.bytes("asof.toml"));
    let table = "\n[tables.broken]\nsource = \"broken.csv\"\nkey = [\"id\"]\n";
    world.write("asof.toml", config + table);
}

/// The folder of the program under test.
fn programs() -> String {
    let folder = Path::new(ASOF).parent().expect("a folder");
    folder.display().to_string()
}

/// A recipe as it is in the repository.
fn original(name: &str) -> String {
    let path = format!("{}/examples/schedulers/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A recipe with the folders of this machine in the place of those that it is written for.
fn recipe(world: &World, name: &str) -> String {
    let shop = world.path("").display().to_string();
    original(name)
        .replace("/srv/shop", shop.trim_end_matches('/'))
        .replace("/usr/local/bin", &programs())
}

/// Writes a script on the `PATH` in the place of the program: it exits with 4 the first time, as if
/// another writer had been first, and is the program from then on.
fn find_another_writer_first(world: &mut World) {
    use std::os::unix::fs::PermissionsExt as _;
    let script = world.path("bin/asof");
    world.write("busy", "");
    world.write(
        "bin/asof",
        format!("#!/bin/sh\nrm busy 2>/dev/null && exit 4\nexec {ASOF} \"$@\"\n"),
    );
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("it may be run");
    let path = std::env::var("PATH").expect("a PATH");
    world.variable("PATH", &format!("{}:{path}", world.path("bin").display()));
}

/// The Python of a scheduler, which `tests/run --schedulers` installs.
fn python(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: run this test with tests/run --schedulers, which installs it"
        )
    })
}

/// Runs a command. Returns its exit code and all that it printed.
fn run(mut command: Command) -> (i32, String) {
    let output = command.output().expect("it starts");
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.code().unwrap_or(-1), said)
}

/// A program of a Python package, stopped after four minutes: one that waits for a retry that
/// should not be made takes five.
fn module(world: &World, python: &str, arguments: &[&str]) -> Command {
    let words: Vec<String> = ["240", python, "-m"]
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect();
    let mut command = world.prepared("timeout", &words);
    command.env("HOME", world.path(""));
    command
}

/// A document's blocks, each with the name in the comment before it: `<!-- examples/schedulers/NAME
/// -->`.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let parts = document.split("<!-- examples/schedulers/").skip(1);
    parts
        .map(|part| {
            let (name, rest) = part.split_once(" -->\n\n```").expect("a block");
            let (_, rest) = rest.split_once('\n').expect("a line");
            let (block, _) = rest.split_once("```\n").expect("its end");
            (name, block)
        })
        .collect()
}

#[test]
fn the_document_shows_the_recipes_as_they_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schedulers.md");
    let mut document = std::fs::read_to_string(path).expect("the document");
    if std::env::var_os("ASOF_UPDATE_DOCS").is_some() {
        for (name, block) in blocks(&document.clone()) {
            document = document.replace(block, &original(name));
        }
        std::fs::write(path, &document).expect("the document is written");
    }
    let shown = blocks(&document);
    let names: Vec<&str> = shown.iter().map(|(name, _)| *name).collect();
    for name in RECIPES {
        assert!(names.contains(&name), "{name} is not in the document");
    }
    for (name, block) in shown {
        assert!(
            block == original(name),
            "docs/schedulers.md does not show {name} as it is; run with ASOF_UPDATE_DOCS=1"
        );
    }
}

#[test]
fn recipes_fail_at_once_on_the_exit_codes_that_the_readme_does_not_retry() {
    let readme = include_str!("../../README.md");
    let section = readme.split("## In a scheduler").nth(1).expect("a section");
    let rows = section.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let code = cells.get(1)?.parse::<u8>().ok()?;
        Some((code, (*cells.get(3)?).to_owned()))
    });
    let is_final = |advice: &str| {
        ["fail", "alert", "report"]
            .iter()
            .any(|word| advice.starts_with(word))
    };
    let codes: Vec<u8> = rows
        .filter(|(_, advice)| is_final(advice))
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, [2, 3, 70]);
    for name in ["asof_dag.py", "assets.py"] {
        let recipe = original(name);
        let lines = recipe.split("FINAL = {\n").nth(1).expect("the codes");
        let lines = lines.split('}').next().expect("their end").lines();
        let told: Vec<u8> = lines
            .filter_map(|line| line.trim().split(':').next()?.parse().ok())
            .collect();
        assert_eq!(told, codes, "{name}");
    }
    let words: Vec<String> = codes.iter().map(u8::to_string).collect();
    let setting = format!("\nRestartPreventExitStatus={}\n", words.join(" "));
    for name in ["asof.service", "asof-backfill.service"] {
        assert!(original(name).contains(&setting), "{name}");
    }
}
