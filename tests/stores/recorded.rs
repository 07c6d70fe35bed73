//! What the footer of an output records is what its rows were made from, even while others replace
//! the inputs: events, managed and external snapshots, and intervals, on a disk and in a store.
//!
//! Every input has two versions, A and B, which are put in one another's place all the time, while
//! backfills run. Each row of an output says which version it came from, and so must the footer. A
//! date may fail, but only by saying that an input was replaced.
//!
//! `ASOF_TEST_CHECKS` says how many inputs of outputs are checked, 200 by default.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::servers::{Server, store_and_key};
use crate::journeys::environment::{World, text};

const DATES: u32 = 8;

/// The jobs, with the options that each is run with.
const JOBS: [(&str, &str); 4] = [
    ("query", ""),
    ("past", ""),
    ("joined", "--using snapshots"),
    ("bridged", "--using intervals"),
];

const CONFIG: &str = r#"
[tables.item]
key = ["id"]
[tables.ext]
key = ["id"]
snapshots = "ROOT/ext"
layout = "date=%Y-%m-%d"
[events.ev]
path = "ROOT/ev"
layout = "date=%Y-%m-%d"
[jobs.query]
sql = "select e.v as ev, i.v as item, x.v as ext from ev e join item i on e.id = i.id join ext x on e.id = x.id"
output = "out/query"
[jobs.past]
sql = "select e.v as ev, s.snapshot_date as day, s.v as item from ev e join item_snapshots s on e.id = s.id"
output = "out/past"
[jobs.joined]
events = "ev"
table = "ext"
on = ["id=id"]
output = "out/joined"
[jobs.bridged]
events = "ev"
table = "item"
on = ["id=id"]
output = "out/bridged"
"#;

fn checks() -> usize {
    std::env::var("ASOF_TEST_CHECKS").map_or(200, |text| {
        text.parse().expect("ASOF_TEST_CHECKS is a number")
    })
}

fn date(day: u32) -> String {
    format!("2024-01-{day:02}")
}

/// What a footer records of one input, as text, and the version that has it.
type Versions = BTreeMap<String, char>;

/// The inputs of the jobs, in their two versions.
struct Inputs {
    world: World,
    server: Option<Server>,
    /// Where the lake, the external copies and the events are.
    root: String,
    paths: Vec<String>,
}

impl Inputs {
    fn new(server: Option<Server>) -> Self {
        let mut world = World::new();
        let root = match server {
            None => ".".to_owned(),
            Some(server) => {
                world.reaches(server);
                server.prefix("recorded")
            }
        };
        let config = CONFIG.replace("ROOT", &root);
        world.write("asof.toml", format!("lake = \"{root}/lake\"\n{config}"));
        let mut paths = vec!["lake/item/intervals/item.parquet".to_owned()];
        for day in 1..=DATES {
            let date = date(day);
            paths.extend([
                format!("lake/item/snapshots/snapshot_date={date}/item.parquet"),
                format!("ext/date={date}/x.csv"),
                format!("ev/date={date}/e.csv"),
            ]);
        }
        Inputs {
            world,
            server,
            root,
            paths,
        }
    }

    fn succeeds(&self, line: &str) -> Value {
        let output = self.world.quietly(&format!("--json {line}"));
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Makes a version of every input, and keeps it aside.
    fn make(&self, version: char) {
        for day in 1..=DATES {
            let date = date(day);
            // Of other sizes, since the times of files that are made at once may be the same.
            let value = format!("{version}{day}").repeat(1 + usize::from(version == 'B'));
            let rows = format!("id,v\n1,{value}\n");
            for (path, made) in [
                (
                    format!("ev/date={date}/e.csv"),
                    format!("made/ev{value}.csv"),
                ),
                (
                    format!("ext/date={date}/x.csv"),
                    format!("made/ext{value}.csv"),
                ),
            ] {
                self.world.write(&made, &rows);
                self.put(&path, &made);
            }
            self.world.write("made.csv", &rows);
            let options = "--key id --backdate --if-exists replace";
            self.succeeds(&format!(
                "snapshot item --source made.csv --date {date} {options}"
            ));
        }
        self.succeeds("compact item --full");
        for path in &self.paths {
            let kept = self.world.path(&format!("versions/{version}/{path}"));
            std::fs::create_dir_all(kept.parent().expect("a folder")).expect("made");
            match self.server {
                None => std::fs::hard_link(self.world.path(path), kept).expect("linked"),
                Some(server) => {
                    let place = server.at(&format!("{}/{path}", self.root));
                    let bytes = place.read_small().expect("read").expect("it is there");
                    std::fs::write(kept, bytes).expect("written");
                }
            }
        }
    }

    /// Puts a file in the place of an input: on a disk the very file, with its times.
    fn put(&self, path: &str, from: &str) {
        let from = self.world.path(from);
        match self.server {
            None => {
                let path = self.world.path(path);
                let folder = path.parent().expect("a folder");
                std::fs::create_dir_all(folder).expect("made");
                let beside = folder.join(".other");
                std::fs::hard_link(from, &beside).expect("linked");
                std::fs::rename(&beside, path).expect("renamed");
                // Renaming one link over another of the same file leaves both.
                let _ = std::fs::remove_file(beside);
            }
            Some(server) => {
                let (store, key) = store_and_key(&server.at(&format!("{}/{path}", self.root)));
                store
                    .put(&key, std::fs::read(from).expect("read"))
                    .expect("put");
            }
        }
    }

    fn put_version(&self, path: &str, version: char) {
        self.put(path, &format!("versions/{version}/{path}"));
    }

    fn put_all(&self, version: char) {
        self.paths
            .iter()
            .for_each(|path| self.put_version(path, version));
    }

    /// Puts versions of inputs in one another's place until it is told to end.
    fn swap_until(&self, ended: &AtomicBool) {
        let pause = Duration::from_millis(if self.server.is_some() { 20 } else { 4 });
        while !ended.load(Ordering::Relaxed) {
            let at = rand::random_range(0..self.paths.len());
            let version = if rand::random() { 'A' } else { 'B' };
            self.put_version(&self.paths[at], version);
            std::thread::sleep(pause);
        }
    }

    /// Runs a job for all dates, whatever comes of it but for a failure that is no race's.
    fn race(&self, job: &str, options: &str) {
        let line = format!("--json backfill {job} {options} {} --only all", range());
        let output = self.world.quietly(&line);
        let said = text(&output.stdout);
        let document: Value = serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("{error}: {said}{}", text(&output.stderr)));
        let mut failures: Vec<String> = Vec::new();
        for report in dates_of(&document) {
            failures.extend(report["error"].as_str().map(str::to_owned));
        }
        failures.extend(document["error"]["message"].as_str().map(str::to_owned));
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1 | 5)), "{said}");
        assert_eq!(code == Some(0), failures.is_empty(), "{said}");
        for failure in failures {
            assert!(failure.contains("was replaced while"), "{failure}");
        }
    }

    /// Each input of each output: what the footer records of it, and the version that the rows are
    /// of.
    fn recorded(&self) -> Vec<(String, char)> {
        let mut recorded = Vec::new();
        for (job, _) in JOBS {
            for day in 1..=DATES {
                let path = format!("out/{job}/date={}/{job}.parquet", date(day));
                if self.world.path(&path).exists() {
                    recorded.extend(self.inputs_of(&path));
                }
            }
        }
        recorded
    }

    fn inputs_of(&self, path: &str) -> Vec<(String, char)> {
        let footer = self.world.footer(path);
        let rows = self.world.rows(path);
        let names: Vec<&str> = rows[0].split('|').collect();
        let mut found = Vec::new();
        for row in &rows[1..] {
            let cells: BTreeMap<&str, &str> = names.iter().copied().zip(row.split('|')).collect();
            let version = |name: &str| cells[name].chars().next().expect("a version");
            let table = if path.contains("/joined/") {
                "ext"
            } else {
                "item"
            };
            let of_events = cells.get("ev").map_or("v", |_| "ev");
            found.push((footer["events"]["ev"].to_string(), version(of_events)));
            for (name, input) in footer["tables"].as_object().expect("tables") {
                let column = if cells.contains_key("v") { "v_" } else { "" };
                let column = format!("{column}{name}");
                found.push((input["fingerprint"].to_string(), version(&column)));
            }
            for copy in footer["history"][table].as_array().into_iter().flatten() {
                if Some(&copy["snapshot_date"].as_str().expect("a date")) == cells.get("day") {
                    found.push((copy["fingerprint"].to_string(), version("item")));
                }
            }
        }
        found
    }

    /// What the footers record of each version, when nobody disturbs.
    fn learn(&self, versions: &mut Versions, version: char) {
        for (job, options) in JOBS {
            self.succeeds(&format!("backfill {job} {options} {}", range()));
        }
        for (input, of) in self.recorded() {
            assert_eq!(of, version, "{input}");
            let before = versions.insert(input, version);
            assert!(before.is_none_or(|before| before == version));
        }
    }
}

fn range() -> String {
    format!("--from {} --to {}", date(1), date(DATES))
}

fn dates_of(document: &Value) -> impl Iterator<Item = &Value> {
    let reports = document.as_array().into_iter().flatten();
    reports.flat_map(|report| report["dates"].as_array().into_iter().flatten())
}

fn records_what_it_read(server: Option<Server>) {
    let inputs = Inputs::new(server);
    let mut versions = Versions::new();
    for version in ['A', 'B'] {
        inputs.make(version);
        inputs.learn(&mut versions, version);
    }
    let ended = AtomicBool::new(false);
    let mut checked = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| inputs.swap_until(&ended));
        let _ending = Ending(&ended);
        while checked < checks() {
            for (job, options) in JOBS {
                let out = inputs.world.path(&format!("out/{job}"));
                let _ = std::fs::remove_dir_all(out);
                inputs.race(job, options);
            }
            for (input, of) in inputs.recorded() {
                assert_eq!(versions[&input], of, "{input}, after {checked} checks");
                checked += 1;
            }
        }
    });
    inputs.put_all('A');
    for (job, options) in JOBS {
        inputs.succeeds(&format!("backfill {job} {options} {}", range()));
    }
    for (input, of) in inputs.recorded() {
        assert_eq!((versions[&input], of), ('A', 'A'), "{input}");
    }
}

/// Ends the swaps, also when a check fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn on_a_disk_a_footer_names_the_inputs_that_its_rows_came_from() {
    records_what_it_read(None);
}

#[test]
fn in_s3_a_footer_names_the_inputs_that_its_rows_came_from() {
    records_what_it_read(Some(Server::S3));
}
