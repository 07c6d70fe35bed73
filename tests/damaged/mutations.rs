//! Whatever is read, mutated at random: each command carries out its work or refuses, and never
//! panics, aborts or hangs.
//!
//! Each target runs for `ASOF_TEST_MUTATION_SECONDS`, by default two, and begins from the seed
//! `ASOF_TEST_MUTATION_SEED`. A finding names seed and trial, and leaves the file in the temporary
//! folder.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use asof::config::Config;
use asof::domain::layout::Layout;
use asof::error::{Kind, Result};
use asof::storage::parquet::untrusted::silence_decoders;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::files::{read_whole, write_corpus};
use super::{rows_of, write};
use crate::frozen::footer;
use crate::journeys::environment::{ASOF, World};

/// How much address space a command may take. Room for a length that a file only claims is more.
const ADDRESS_SPACE_KIB: u64 = 16 << 20;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}

/// Texts that readers treat as something special.
const WORDS: [&str; 28] = [
    "\"",
    "\n",
    "\r\n",
    ",",
    ";",
    "\t",
    "\0",
    "{",
    "}",
    "[",
    "]",
    ":",
    "-",
    "%Y",
    "%j",
    "*",
    "=",
    "null",
    "NaN",
    "9999-12-31",
    "0000-01-01",
    "1e999",
    "99999999999999999999",
    "\u{feff}",
    "é",
    "select",
    "(",
    "\\u0000",
];

/// Changes a few places of some bytes.
fn mutated(whole: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..=16)).min(bytes.len());
        match random.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let word = WORDS[random.random_range(0..WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            6 => {
                let word = WORDS[random.random_range(0..WORDS.len())];
                bytes.splice(at..end, word.bytes());
            }
            _ => {
                let number: i32 = [-1, 0, i32::MAX, i32::MIN][random.random_range(0..4)];
                let end = (at + 4).min(bytes.len());
                bytes.splice(at..end, number.to_le_bytes());
            }
        }
    }
    bytes
}

/// Mutates `whole` until the time is over. `trial` says what is wrong with the bytes, if anything
/// is.
fn mutate(name: &str, whole: &[u8], trial: impl Fn(&[u8]) -> Option<String>) {
    let seed = number("ASOF_TEST_MUTATION_SEED", 11);
    let time = Duration::from_secs(number("ASOF_TEST_MUTATION_SECONDS", 2));
    let mut random = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let mut trials = 0;
    while began.elapsed() < time {
        trials += 1;
        let bytes = mutated(whole, &mut random);
        if let Some(finding) = trial(&bytes) {
            let left = std::env::temp_dir().join(format!("asof-finding-{name}"));
            fs::write(&left, &bytes).unwrap();
            panic!(
                "{name}, seed {seed}, trial {trials}, {}: {finding}",
                left.display()
            );
        }
    }
    println!("{name}: {trials} trials in {:?}", began.elapsed());
}

/// What is wrong with how something in this process ended: data that is not read is refused.
fn wrong<T>(expected: Kind, run: impl FnOnce() -> Result<T>) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(_)) => None,
        Ok(Err(error)) if error.kind() == expected => None,
        Ok(Err(error)) => Some(format!("{:?}: {error}", error.kind())),
        Err(_) => Some("it panics".to_owned()),
    }
}

#[test]
fn files_of_rows() {
    silence_decoders();
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for name in write_corpus(folder.path()) {
            let folder = folder.path();
            scope.spawn(move || {
                let whole = fs::read(folder.join(&name)).unwrap();
                let path = folder.join(format!("mutated-{name}"));
                mutate(&name, &whole, |bytes| {
                    fs::write(&path, bytes).unwrap();
                    wrong(Kind::Refused, || read_whole(&path))
                });
            });
        }
    });
}

#[test]
fn layouts() {
    let layouts = "year=%Y/month=%m/day=%d\n%Y%m%d.csv\ndt=%Y-%m-%d/h=*/x\n%Y/%j\nrun=*/%F";
    mutate("layouts", layouts.as_bytes(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        text.split('\n').find_map(|line| {
            wrong(Kind::Usage, || {
                let layout = Layout::parse(line)?;
                for date in ["0001-01-01", "2024-02-29", "9999-12-31"] {
                    layout.path(date.parse().unwrap());
                }
                Ok(())
            })
        })
    });
}

#[test]
fn configurations() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asof.toml");
    let text = include_str!("../../fixtures/mutations/asof.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path).unwrap();
    mutate("asof.toml", text.as_bytes(), |bytes| {
        // Bytes that are no text are a failure to read.
        fs::write(&path, String::from_utf8_lossy(bytes).as_bytes()).unwrap();
        wrong(Kind::Usage, || Config::load(&path))
    });
}

/// Runs a command with a bound on its address space, and says what is wrong with how it ends.
fn ends_wrongly(world: &World, line: &str) -> Option<String> {
    let script =
        format!("ulimit -v {ADDRESS_SPACE_KIB}; exec '{ASOF}' --no-progress -q {line} 2>&1");
    let output = world
        .prepared("sh", &["-c".to_owned(), script])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0 | 2 | 3 | 5) if !said.contains("panicked") => None,
        code => Some(format!("asof {line}: {code:?}: {said}")),
    }
}

/// What of a file is mutated.
#[derive(Clone, Copy)]
enum Part {
    /// Every byte.
    Whole,
    /// The text that asof has in the footer of a Parquet file; rows stay as they are.
    Footer,
}

/// A shop with so many items that changes are recorded, with intervals and a job's outputs.
fn shop_with_changes() -> World {
    let mut world = World::shop(0);
    let job = "[jobs.joined]\nevents = 'item_events'\ntable = 'item'\non = ['item_id=id']\n\
               how = 'left'\noutput = 'joined'\n";
    let config = fs::read_to_string(world.path("asof.toml")).unwrap();
    world.write("asof.toml", format!("{config}\n{job}"));
    for (night, price) in [("2024-03-01", 1), ("2024-03-02", 2)] {
        world.at(night);
        // Few rows change, which is when changes are recorded.
        let items = (1..=9_000).map(|id| {
            let price = if id % 1_000 == 7 { price } else { 3 };
            format!("{id},item {id},ACTIVE,{price}\n")
        });
        let items: String = items.collect();
        world.write("item.csv", format!("id,name,status,price\n{items}"));
        assert!(world.quietly("snapshot item").status.success());
    }
    for line in ["compact item", BACKFILL] {
        let output = world.quietly(line);
        assert!(output.status.success(), "{line}: {output:?}");
    }
    world
}

/// Mutates a file of a shop, and runs the commands that read it or a file beside it.
fn of_a_shop(name: &str, path: &str, part: Part, readers: &[&str]) {
    let world = shop_with_changes();
    let kept = world.path("kept");
    let path = world.path(path);
    let whole = match part {
        Part::Whole => fs::read(&path).unwrap(),
        Part::Footer => footer(&path).to_string().into_bytes(),
    };
    for folder in ["lake", "joined"] {
        copy(&world.path(folder), &kept.join(folder));
    }
    mutate(name, &whole, |bytes| {
        for folder in ["lake", "joined"] {
            fs::remove_dir_all(world.path(folder)).unwrap();
            copy(&kept.join(folder), &world.path(folder));
        }
        match part {
            Part::Whole => fs::write(&path, bytes).unwrap(),
            Part::Footer => {
                // What is no JSON is written as a text, which is no footer either.
                let text = String::from_utf8_lossy(bytes).into_owned();
                let footer = serde_json::from_str(&text).unwrap_or(Value::String(text));
                write(&path, &rows_of(&path), Some(&footer));
            }
        }
        readers.iter().find_map(|line| ends_wrongly(&world, line))
    });
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

const BACKFILL: &str = "backfill joined --from 2024-03-01 --to 2024-03-02";

/// Commands that read a lake, and write to it last.
const READERS: [&str; 7] = [
    "status item",
    "show item --date 2024-03-02",
    "diff item 2024-03-01 2024-03-02",
    "history item 1",
    "verify item",
    "compact item",
    "compact item --full",
];

/// Commands that read the outputs of a job, and write to them last.
const READERS_OF_OUTPUTS: [&str; 6] = [
    "status joined",
    "show joined --date 2024-03-02",
    "verify joined",
    "verify joined/ --recompute",
    BACKFILL,
    "backfill joined --from 2024-03-01 --to 2024-03-02 --only all",
];

const SNAPSHOT: &str = "lake/item/snapshots/snapshot_date=2024-03-02/item.parquet";
const CHANGES: &str = "lake/item/_changes/snapshot_date=2024-03-02/item.parquet";
const INTERVALS: &str = "lake/item/intervals/item.parquet";
const OUTPUT: &str = "joined/date=2024-03-02/joined.parquet";

#[test]
fn snapshots() {
    of_a_shop("snapshot", SNAPSHOT, Part::Whole, &READERS);
    of_a_shop("footer-of-a-snapshot", SNAPSHOT, Part::Footer, &READERS);
}

#[test]
fn changes() {
    of_a_shop("changes", CHANGES, Part::Whole, &READERS);
    of_a_shop("footer-of-changes", CHANGES, Part::Footer, &READERS);
}

#[test]
fn intervals() {
    of_a_shop("intervals", INTERVALS, Part::Whole, &READERS);
    of_a_shop("footer-of-intervals", INTERVALS, Part::Footer, &READERS);
}

#[test]
fn outputs() {
    let readers = &READERS_OF_OUTPUTS;
    of_a_shop("output", OUTPUT, Part::Whole, readers);
    of_a_shop("footer-of-an-output", OUTPUT, Part::Footer, readers);
}

#[test]
fn hints() {
    of_a_shop(
        "hint-file",
        "lake/item/intervals/_item.json",
        Part::Whole,
        &READERS,
    );
}

#[cfg(feature = "sql")]
#[test]
fn queries() {
    let world = World::shop(3);
    let query = include_str!("../../fixtures/mutations/job.sql");
    let config = fs::read_to_string(world.path("asof.toml")).unwrap();
    mutate("job-sql", query.as_bytes(), |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let text = toml::Value::from(text);
        let job = format!("[jobs.mutated]\noutput = 'mutated'\nsql = {text}\n");
        world.write("asof.toml", format!("{config}\n{job}"));
        // No query makes outputs before the first trial.
        let _ = fs::remove_dir_all(world.path("mutated"));
        ends_wrongly(&world, "backfill mutated --from 2024-03-01 --to 2024-03-02")
    });
}
