//! One bit of one file of a lake is flipped, over and over: each command gives the right result or
//! names the file.
//!
//! Every command that reads the file runs on the whole lake first. With the bit flipped, it must
//! print and write the same, or end with exit code 3 and name the file; dates that fail beside
//! others are exit code 5. `snapshot`, `schema` and `status` may go on without the file, and say
//! so. `ASOF_TEST_FLIPS=2000` flips more bits, and `ASOF_TEST_SEED` others.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::journeys::environment::{World, text};

const CONFIG: &str = r#"lake = "lake"

[tables.item]
source = "item.csv"
key = ["id"]

[tables.raw]
snapshots = "raw"
layout = "%Y-%m-%d.csv"
key = ["id"]

[events.sold]
path = "sold"
layout = "date=%Y-%m-%d"

[jobs.joined]
events = "sold"
table = "item"
on = ["item=id"]
how = "left"
output = "out/joined"

[jobs.counted]
sql = "SELECT i.status, COUNT(*) AS n FROM sold s JOIN item i ON s.item = i.id GROUP BY i.status ORDER BY 1"
output = "out/counted"
"#;

/// The copy of the last night.
const NIGHT: &str = "lake/item/snapshots/snapshot_date=2024-03-04/item.parquet";

/// A file that is damaged, and the commands that read it.
struct Target {
    path: &'static str,
    commands: &'static [&'static str],
}

const TARGETS: [Target; 6] = [
    Target {
        path: "lake/item/snapshots/snapshot_date=2024-03-02/item.parquet",
        commands: &[
            "show item 2024-03-02 --limit 3",
            "show item 2024-03-02 --where 'price > 880' --out rows.csv",
            "diff item 2024-03-01 2024-03-02",
            "diff item 2024-03-02 2024-03-03",
            "compact item --full",
            "backfill joined --from 2024-03-02 --to 2024-03-02 --only all --using snapshots",
            "backfill counted --from 2024-03-02 --to 2024-03-02 --only all --using snapshots",
            "join --events sales.csv --events-date-column day --table item --on item=id --using snapshots --out copies/joined.parquet",
            "verify item",
            "verify --recompute",
            "status",
        ],
    },
    Target {
        path: "lake/item/snapshots/snapshot_date=2024-03-03/item.parquet",
        commands: &[
            "snapshot item --date 2024-03-04",
            "schema item",
            "show item",
        ],
    },
    Target {
        path: "lake/item/intervals/item.parquet",
        commands: &[
            "show lake/item/intervals/item.parquet 2024-03-02 --limit 3",
            "history item 17",
            "compact item",
            "backfill joined --from 2024-03-02 --to 2024-03-02 --only all --using intervals",
            "backfill counted --from 2024-03-02 --to 2024-03-02 --only all --using intervals",
            "expand item --from 2024-03-02 --to 2024-03-03 --out copies",
            "join --events sales.csv --events-date-column day --table item --on item=id --using intervals --out copies/joined.parquet",
            "verify item",
            "status",
        ],
    },
    Target {
        path: "out/joined/date=2024-03-02/joined.parquet",
        commands: &[
            "show joined 2024-03-02 --limit 3",
            "backfill joined --from 2024-03-02 --to 2024-03-02",
            "verify joined",
            "verify out/joined/",
            "status joined",
        ],
    },
    Target {
        path: "lake/item/_changes/snapshot_date=2024-03-02/item.parquet",
        commands: &["compact item --full", "verify item"],
    },
    Target {
        path: "lake/raw/intervals/_raw.json",
        commands: &["compact raw"],
    },
];

/// What a command printed and left behind.
#[derive(PartialEq)]
struct Outcome {
    code: Option<i32>,
    printed: String,
    /// The copy of the night, if one was taken.
    taken: Option<Vec<String>>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Outcome {
    /// The files that are no hints.
    fn needed(&self) -> Vec<(&String, &Vec<u8>)> {
        let files = self.files.iter();
        files.filter(|(path, _)| !is_hint(path)).collect()
    }
}

/// The files below a folder.
fn files(folder: &Path, below: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder.join(below)) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{below}/{name}");
        if entry.path().is_dir() {
            files(folder, &path, found);
        } else {
            found.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

fn data(world: &World) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for root in ["lake", "out", "copies"] {
        files(&world.path(""), root, &mut found);
    }
    if let Ok(rows) = fs::read(world.path("rows.csv")) {
        found.insert("rows.csv".to_owned(), rows);
    }
    found
}

/// Whether a file saves work and is never needed.
fn is_hint(path: &str) -> bool {
    path.contains("/_")
}

/// Puts every file as it was.
fn restore(world: &World, whole: &BTreeMap<String, Vec<u8>>) {
    for path in data(world).keys().filter(|path| !whole.contains_key(*path)) {
        fs::remove_file(world.path(path)).unwrap();
    }
    for (path, bytes) in whole {
        if fs::read(world.path(path)).ok().as_ref() != Some(bytes) {
            fs::create_dir_all(world.path(path).parent().unwrap()).unwrap();
            fs::write(world.path(path), bytes).unwrap();
        }
    }
}

fn run(world: &World, line: &str) -> Outcome {
    let output = world.quietly(line);
    let taken = world.path(NIGHT).exists();
    Outcome {
        code: output.status.code(),
        printed: text(&output.stdout) + &text(&output.stderr),
        taken: taken.then(|| world.rows(NIGHT)),
        files: data(world),
    }
}

/// A lake with copies, changes, intervals and outputs, and with a table of another tool.
fn lake() -> World {
    let mut world = World::new();
    world.write("asof.toml", CONFIG);
    for day in 1..=4 {
        let mut items = "id,name,status,price\n".to_owned();
        for id in 0..9_000 {
            let status =
                ["ACTIVE", "PASSIVE", "NEW"][(id * 7 + usize::from(id % 50 == day) * day) % 3];
            items.push_str(&format!(
                "{id},name {:x},{status},{}\n",
                id * 7919,
                id % 1000
            ));
        }
        world.write("item.csv", items);
        world.write(
            &format!("raw/2024-03-0{day}.csv"),
            format!("id,n\n1,{day}\n2,5\n"),
        );
        if day < 4 {
            world.write(
                &format!("sold/date=2024-03-0{day}/sold.csv"),
                "event,item\n1,17\n2,500\n3,8999\n4,10000\n",
            );
            world.at(&format!("2024-03-0{day}"));
            let taken = run(&world, "snapshot item");
            assert_eq!(taken.code, Some(0), "{}", taken.printed);
        }
    }
    world.write(
        "sales.csv",
        "day,item\n2024-03-01,17\n2024-03-02,500\n2024-03-02,8999\n2024-03-03,17\n",
    );
    world.at("2024-03-04");
    for line in [
        "compact item",
        "compact raw",
        "backfill joined --from 2024-03-01 --to 2024-03-03",
        "backfill counted --from 2024-03-01 --to 2024-03-03",
    ] {
        let outcome = run(&world, line);
        assert_eq!(outcome.code, Some(0), "{line}: {}", outcome.printed);
    }
    world
}

/// A byte of one of the regions of a file: the header, the rows, what stands before the footer, the
/// footer, and the last bytes.
fn place(random: &mut StdRng, path: &str, bytes: &[u8]) -> usize {
    let size = bytes.len();
    if !path.ends_with(".parquet") {
        return random.random_range(0..size);
    }
    let length = u32::from_le_bytes(bytes[size - 8..size - 4].try_into().unwrap());
    let footer = size - 8 - usize::try_from(length).unwrap();
    let regions = [
        0..4,
        4..footer,
        footer.saturating_sub(600)..footer,
        footer..size - 8,
        size - 8..size,
    ];
    let region = random.random_range(0..regions.len());
    random.random_range(regions[region].clone())
}

#[test]
fn a_flipped_bit_is_told_by_whichever_command_reads_it() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let flips = variable("ASOF_TEST_FLIPS").unwrap_or(60);
    let mut random = StdRng::seed_from_u64(variable("ASOF_TEST_SEED").unwrap_or(15));
    let world = lake();
    let whole = data(&world);
    let mut expected: BTreeMap<&str, Outcome> = BTreeMap::new();
    for line in TARGETS.iter().flat_map(|target| target.commands) {
        if !expected.contains_key(line) {
            let outcome = run(&world, line);
            assert_eq!(outcome.code, Some(0), "{line}: {}", outcome.printed);
            expected.insert(line, outcome);
            restore(&world, &whole);
        }
    }
    let mut told = 0;
    let mut same = 0;
    for flip in 0..flips {
        let target = &TARGETS[flip as usize % TARGETS.len()];
        let mut bytes = whole[target.path].clone();
        let at = place(&mut random, target.path, &bytes);
        bytes[at] ^= 1 << random.random_range(0..8);
        for line in target.commands {
            fs::write(world.path(target.path), &bytes).unwrap();
            let outcome = run(&world, line);
            let case = format!("byte {at} of {}: {line}: {}", target.path, outcome.printed);
            let right = &expected[line];
            // Without a hint, the same comes of reading more.
            let is_right = match is_hint(target.path) {
                true => outcome.needed() == right.needed(),
                false => outcome.printed == right.printed,
            };
            if outcome.code == Some(0) && is_right {
                same += 1;
            } else {
                // A night is taken all the same, and the schema of the others is shown.
                let goes_on = match line.split(' ').next() {
                    Some("snapshot") => outcome.taken == right.taken,
                    Some("status") => outcome.printed.contains(target.path),
                    Some("schema") => outcome
                        .printed
                        .contains("cannot be read, the first of 2024-03-03"),
                    _ => false,
                };
                let is_named = outcome.printed.contains(target.path);
                match outcome.code {
                    Some(0) => assert!(goes_on, "not told: {case}"),
                    code => assert!(is_named && matches!(code, Some(3 | 5)), "{code:?}: {case}"),
                }
                told += 1;
            }
            for (path, stands) in &outcome.files {
                let is_known =
                    whole.get(path) == Some(stands) || right.files.get(path) == Some(stands);
                let is_damaged = path == target.path && *stands == bytes;
                let is_night = path == NIGHT;
                assert!(
                    is_known || is_damaged || is_night || is_hint(path),
                    "'{path}' is new: {case}"
                );
            }
            restore(&world, &whole);
        }
    }
    println!("{flips} flips: {told} commands told of the damage, {same} gave the right result");
    assert!(told > same, "{told} told, {same} right");
}
