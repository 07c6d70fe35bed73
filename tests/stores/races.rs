//! Processes that publish one date at the same moment, on a disk and in stores: one wins, and
//! nothing else is left.
//!
//! `ASOF_TEST_ROUNDS` says how many rounds; each has a date of its own.

use std::collections::BTreeMap;

use super::servers::Server;
use crate::journeys::environment::{World, text};

const WRITERS: usize = 16;

/// How many rounds are raced.
fn rounds() -> u64 {
    std::env::var("ASOF_TEST_ROUNDS").map_or(5, |text| {
        text.parse().expect("ASOF_TEST_ROUNDS is a number")
    })
}

/// Where a race takes place.
struct Course {
    world: World,
    server: Option<Server>,
    lake: String,
}

impl Course {
    fn new(server: Option<Server>, name: &str) -> Course {
        let mut world = World::new();
        for writer in 0..WRITERS {
            world.write(
                &format!("item{writer}.csv"),
                format!("id,writer\n1,w{writer}\n2,w{writer}\n"),
            );
        }
        let lake = match server {
            None => "lake".to_owned(),
            Some(server) => {
                world.reaches(server);
                server.prefix(name)
            }
        };
        world.variable("ASOF_LAKE", &lake);
        world.variable("TOKIO_WORKER_THREADS", "1");
        Course {
            world,
            server,
            lake,
        }
    }

    /// Everything that lies in the lake but for what is remembered of the store.
    fn leftovers(&self) -> Vec<String> {
        match self.server {
            None => self.world.listing("lake"),
            Some(server) => {
                let mut keys = server.keys(&self.lake);
                let before = keys.len();
                keys.retain(|key| key != "_asof/store.json");
                assert_eq!(
                    keys.len() + 1,
                    before,
                    "what was found out of the store is remembered"
                );
                keys
            }
        }
    }

    /// What stands under a key of the lake: the writer of its first row.
    fn writer_of(&self, key: &str) -> String {
        let path = match self.server {
            None => format!("lake/{key}"),
            Some(server) => {
                let bytes = server
                    .at(&format!("{}/{key}", self.lake))
                    .read_small()
                    .expect("read")
                    .expect("it is there");
                self.world.write("fetched.parquet", bytes);
                "fetched.parquet".to_owned()
            }
        };
        self.world.rows(&path)[1]
            .trim_start_matches("1|")
            .to_owned()
    }

    /// Sixteen processes at once; how they ended, by exit code and outcome.
    fn race(&self, date: &str, option: &str) -> BTreeMap<String, usize> {
        let start = |writer| {
            let source = format!("--source item{writer}.csv --key id --date {date} --backdate");
            self.world
                .command(&format!(
                    "--no-progress --json snapshot item {source} {option}"
                ))
                .spawn()
                .expect("asof starts")
        };
        let children: Vec<_> = (0..WRITERS).map(start).collect();
        let mut ends = BTreeMap::new();
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            let document: serde_json::Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| {
                    panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr))
                });
            let outcome = outcome(&document);
            *ends
                .entry(format!("{} {outcome}", output.status.code().unwrap_or(-1)))
                .or_insert(0) += 1;
        }
        ends
    }
}

/// What became of the one table, or the kind of the error.
fn outcome(document: &serde_json::Value) -> String {
    let report = document
        .get(0)
        .or_else(|| document["tables"].get(0))
        .unwrap_or(document);
    report["outcome"]
        .as_str()
        .or(document["error"]["kind"].as_str())
        .unwrap_or("?")
        .to_owned()
}

/// Rounds in which the others keep the winner's snapshot, or fail, in turn.
fn one_wins(server: Option<Server>, name: &str) {
    let course = Course::new(server, name);
    let mut expected = Vec::new();
    for round in 1..=rounds() {
        let date = (chrono::NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date")
            + chrono::Days::new(round % 50))
        .to_string();
        let (option, others) = if round % 2 == 1 {
            ("", "0 kept")
        } else {
            ("--if-exists error", "4 conflict")
        };
        let ends = course.race(&date, option);
        assert_eq!(
            ends,
            BTreeMap::from([
                ("0 published".to_owned(), 1),
                (others.to_owned(), WRITERS - 1)
            ]),
            "round {round}"
        );
        expected.push(format!("item/snapshots/snapshot_date={date}/item.parquet"));
        expected.sort();
        assert_eq!(course.leftovers(), expected, "round {round}");
    }
    let verified = course.world.quietly("verify item");
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}{}",
        text(&verified.stdout),
        text(&verified.stderr)
    );
}

#[test]
fn on_a_disk_one_of_sixteen_processes_wins() {
    one_wins(None, "race");
}

#[test]
fn in_s3_one_of_sixteen_processes_wins() {
    one_wins(Some(Server::S3), "race");
}

#[test]
fn in_azure_one_of_sixteen_processes_wins() {
    one_wins(Some(Server::Azure), "race");
}

#[test]
fn in_google_one_of_sixteen_processes_wins() {
    one_wins(Some(Server::Google), "race");
}

/// Sixteen processes replace one snapshot at once: each that was told so stands or is aside, and
/// nothing is lost.
fn none_loses_anothers_snapshot(server: Server) {
    let course = Course::new(Some(server), "replace");
    course.world.write("first.csv", "id,writer\n1,first\n");
    let first = course
        .world
        .quietly("snapshot item --source first.csv --key id");
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let start = |writer| {
        course
            .world
            .command(&format!(
                "--no-progress snapshot item --source item{writer}.csv --if-exists replace"
            ))
            .spawn()
            .expect("asof starts")
    };
    let children: Vec<_> = (0..WRITERS).map(start).collect();
    let mut published = vec!["first".to_owned()];
    for (writer, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().expect("it ends");
        match output.status.code() {
            Some(0) => published.push(format!("w{writer}")),
            code => assert_eq!(
                code,
                Some(4),
                "a loser is told of the conflict: {}",
                text(&output.stderr)
            ),
        }
    }
    assert!(published.len() > 1, "nobody won");
    // A loser's copy of what still stands may be aside, too.
    let mut found: Vec<String> = course
        .leftovers()
        .iter()
        .map(|key| course.writer_of(key))
        .collect();
    found.sort();
    found.dedup();
    published.sort();
    assert_eq!(found, published, "each that won stands or was put aside");
    assert_eq!(course.world.quietly("verify item").status.code(), Some(0));
}

#[test]
fn in_s3_sixteen_replacements_lose_nothing() {
    none_loses_anothers_snapshot(Server::S3);
}

#[test]
fn in_azure_sixteen_replacements_lose_nothing() {
    none_loses_anothers_snapshot(Server::Azure);
}

#[test]
fn in_google_sixteen_replacements_lose_nothing() {
    none_loses_anothers_snapshot(Server::Google);
}
