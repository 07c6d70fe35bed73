//! A lake that an earlier program wrote, `fixtures/lake-v1`, is read by this one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

/// A copy of the frozen lake, to do with as one likes.
pub(crate) struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lake-v1"),
            folder.path(),
        );
        Copy { folder }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn snapshot(&self, date: &str) -> PathBuf {
        self.path(&format!(
            "lake/shop/snapshots/snapshot_date={date}/shop.parquet"
        ))
    }

    pub(crate) fn intervals(&self) -> PathBuf {
        self.path("lake/shop/intervals/shop.parquet")
    }

    /// Runs the program in the copy's folder.
    pub(crate) fn asof(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_asof"));
        for name in ["ASOF_LAKE", "ASOF_CONFIG"] {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("ASOF_NOW", "2024-03-07T02:00:00Z")
            .output()
            .unwrap()
    }

    /// The events of the lake's output, and when they were written.
    fn events(&self) -> (File, SystemTime) {
        let footer = footer(&self.path("out/date=2024-03-02/sales_by_shop.parquet"));
        let events = &footer["events"]["sales"][0];
        let nanoseconds = u64::from_str_radix(events["etag"].as_str().unwrap(), 16).unwrap();
        let path = self.path("sales").join(events["path"].as_str().unwrap());
        let file = File::options().write(true).open(path).unwrap();
        (file, UNIX_EPOCH + Duration::from_nanos(nanoseconds))
    }

    /// The JSON document of a command that succeeds.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.asof(&[&["--json"], arguments].concat());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// The footer's JSON document, read without the program.
pub(crate) fn footer(path: &Path) -> Value {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let entries = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .clone();
    let entry = entries
        .into_iter()
        .find(|entry| entry.key == "asof")
        .unwrap();
    serde_json::from_str(&entry.value.unwrap()).unwrap()
}

#[test]
fn a_lake_of_version_1_is_ok() {
    let copy = Copy::new();
    let (events, written) = copy.events();
    events.set_modified(written).unwrap();
    let proof = copy.json(&["verify"]);
    let table = &proof["tables"][0];
    assert_eq!(proof["problems"], json!([]));
    assert_eq!(
        (&table["snapshots"], &table["rows"], &table["round_trips"]),
        (&json!(4), &json!(11), &json!(4))
    );
    assert_eq!(table["without_checksums"], 5, "nothing had checksums then");
    let outputs = &proof["outputs"][0];
    assert_eq!(
        (&outputs["outputs"], &outputs["up_to_date"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn a_lake_of_version_1_tells_its_history() {
    let history = Copy::new().json(&["history", "shop", "2"]);
    let spans = history["intervals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|interval| (interval["start"].clone(), interval["end"].clone()));
    let expected = [
        ("2024-03-01", json!("2024-03-01")),
        ("2024-03-02", json!("2024-03-02")),
        ("2024-03-03", Value::Null),
    ]
    .map(|(a, b)| (json!(a), b));
    assert_eq!(spans.collect::<Vec<_>>(), expected);
    assert_eq!(
        history["intervals"][1]["values"],
        json!([{ "name": "status", "old": "open", "new": "closed" }])
    );
}

#[test]
fn a_lake_of_version_1_shows_each_date() {
    let copy = Copy::new();
    let rows = |date: &str| copy.json(&["show", "shop", "--date", date])["rows"].clone();
    let anna = |rating: &str| json!(["1", "Anna's", "open", rating, "2019-05-01"]);
    let bakery = |status: &str| json!(["2", "Bakery", status, null, "2020-01-31"]);
    assert_eq!(
        rows("2024-03-02"),
        json!([
            anna("4.5"),
            bakery("closed"),
            ["3", "Corner", "closed", "-0.0", "2021-11-12"]
        ])
    );
    assert_eq!(rows("2024-03-03"), json!([anna("4.5"), bakery("open")]));
    let last = json!([
        anna("4.75"),
        bakery("open"),
        ["3", "Corner", "open", "3.25", "2021-11-12"]
    ]);
    assert_eq!(rows("2024-03-05"), last);
    std::fs::remove_dir_all(copy.snapshot("2024-03-05").parent().unwrap()).unwrap();
    assert_eq!(rows("2024-03-05"), last, "the intervals alone tell it too");
}

#[test]
fn the_intervals_of_version_1_are_up_to_date() {
    let copy = Copy::new();
    let before = std::fs::read(copy.intervals()).unwrap();
    let report = copy.json(&["compact"]);
    assert_eq!(
        (&report[0]["mode"], &report[0]["decoded"]),
        (&json!("up_to_date"), &json!(0))
    );
    assert_eq!(std::fs::read(copy.intervals()).unwrap(), before);
}

/// An output knows its events by path, size and time of modification; a checkout has the first two.
#[test]
fn the_output_of_version_1_is_up_to_date_once_its_events_have_their_time_again() {
    let copy = Copy::new();
    let (events, written) = copy.events();
    let run = || {
        copy.json(&[
            "backfill",
            "--from",
            "2024-03-02",
            "--to",
            "2024-03-02",
            "--dry-run",
        ])[0]["dates"][0]
            .clone()
    };
    events
        .set_modified(written + Duration::from_secs(1))
        .unwrap();
    assert_eq!(
        run()["was"],
        json!({ "state": "stale", "reason": "the events sales were rewritten" })
    );
    events.set_modified(written).unwrap();
    assert_eq!(run()["action"], json!("up_to_date"));
}

#[test]
fn the_footers_of_version_1_say_what_they_said() {
    let copy = Copy::new();
    let snapshot = json!({
        "format_version": 1,
        "kind": "snapshot",
        "table": "shop",
        "snapshot_date": "2024-03-02",
        "key": ["id"],
        "rows": 3,
        "fingerprint": "e2c44d375e60c6fd54a6364ec3df1924",
        "source": "source.csv",
        "taken_at": "2024-03-06T02:00:00Z",
        "backdated": true,
        "asof_version": "0.1.0"
    });
    assert_eq!(footer(&copy.snapshot("2024-03-02")), snapshot);
    let intervals = footer(&copy.intervals());
    let dates: Vec<&Value> = intervals["observed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|observed| &observed["date"])
        .collect();
    assert_eq!(
        dates,
        ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-05"]
    );
    assert_eq!(
        intervals["observed"][1],
        json!({ "date": "2024-03-02", "rows": 3, "fingerprint": snapshot["fingerprint"], "schema": 0 })
    );
    let pinned = [
        ("format_version", json!(1)),
        ("kind", json!("intervals")),
        ("intervals", json!(7)),
        ("start_column", json!("active_start")),
        ("end_column", json!("active_end")),
        ("end", json!("inclusive")),
        ("open_end", json!("9999-12-31")),
        ("gaps", json!("carry")),
        ("max_gap", Value::Null),
        ("ignore", json!([])),
        ("track", json!([])),
    ];
    for (name, value) in pinned {
        assert_eq!(intervals[name], value, "{name}");
    }
    let output = footer(&copy.path("out/date=2024-03-02/sales_by_shop.parquet"));
    assert_eq!(
        (&output["kind"], &output["job_name"], &output["rows"]),
        (&json!("output"), &json!("sales_by_shop"), &json!(5))
    );
    assert_eq!(output["job"], json!("cf951efa711ca599d0897d6b0e56b66b"));
    assert_eq!(
        output["tables"],
        json!({ "shop": { "snapshot_date": "2024-03-02", "fingerprint": snapshot["fingerprint"] } })
    );
    assert_eq!(
        (
            &output["events"]["sales"][0]["path"],
            &output["events"]["sales"][0]["size"]
        ),
        (&json!("day=2024-03-02/sales.csv"), &json!(54))
    );
}
