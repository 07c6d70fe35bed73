//! Compaction of a large lake against a plain read of the same files, in the same run.
//!
//! `cargo bench --bench compaction` makes a lake of 60 daily snapshots of 1,000,000 keys and 8 columns, of which 1 % of
//! the rows change, 0.1 % go and 0.1 % come each day (`ASOF_BENCH_DAYS`, `ASOF_BENCH_KEYS` for other sizes), then runs, in turn
//! and as processes of their own, a decode of every column of every snapshot and `asof compact --full`. It
//! prints wall time, peak memory (by `/usr/bin/time`) and the ratio, and what an incremental night costs.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use asof::domain::digest::RowSum;
use asof::engine::table::all_digests;
use asof::storage::footer::{Content, Footer, SnapshotFooter};
use asof::storage::location::Location;
use asof::storage::object::{ObjectWriter, ParquetObject};
use chrono::{Days, NaiveDate};

/// Rows made at a time.
const PIECE: u64 = 65_536;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--read") {
        read_everything(Path::new(&arguments[at + 1]));
        return;
    }
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (days, keys) = (number("ASOF_BENCH_DAYS", 60), number("ASOF_BENCH_KEYS", 1_000_000));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = folder.path().join("lake");
    println!("{days} snapshots of about {keys} keys and 8 columns");
    for day in 0..days {
        write_snapshot(&lake, day, keys);
    }
    let myself = std::env::current_exe().expect("this program");
    let asof = PathBuf::from(env!("CARGO_BIN_EXE_asof"));
    let lake_text = lake.display().to_string();
    println!("{:<28} {:>9} {:>9} {:>9}", "", "wall s", "CPU s", "peak MiB");
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let read = measure("plain read", &myself, &["--read", &lake_text]);
        let compact = measure("asof compact --full", &asof, &["--lake", &lake_text, "--no-progress", "compact", "item", "--full"]);
        ratios.push([compact.0 / read.0, compact.1 / read.1]);
    }
    for (what, pick) in [("wall time", 0), ("CPU time", 1)] {
        let mut of: Vec<f64> = ratios.iter().map(|ratio: &[f64; 2]| ratio[pick]).collect();
        of.sort_by(f64::total_cmp);
        println!(
            "compaction / plain read, {what}: {:.2} (median of {}, {:.2} to {:.2})",
            of[of.len() / 2],
            of.len(),
            of[0],
            of[of.len() - 1]
        );
    }
    write_snapshot(&lake, days, keys);
    measure("one more night, incremental", &asof, &["--lake", &lake_text, "--no-progress", "compact", "item"]);
    measure("nothing new", &asof, &["--lake", &lake_text, "--no-progress", "compact", "item"]);
    measure("asof verify", &asof, &["--lake", &lake_text, "--no-progress", "verify", "item"]);
}

/// Runs a program to its end and prints how long it took, by the wall and by the processors, and how much memory
/// it held; returns the two times.
fn measure(what: &str, program: &Path, arguments: &[&str]) -> (f64, f64) {
    let started = Instant::now();
    let output = Command::new("/usr/bin/time").args(["-f", "%M %U %S"]).arg(program).args(arguments).output().expect("/usr/bin/time");
    let seconds = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
    let numbers: Vec<f64> = said.lines().last().unwrap_or_default().split(' ').filter_map(|number| number.parse().ok()).collect();
    let [peak, user, system] = numbers[..] else { panic!("{what}: {said}") };
    println!("{what:<28} {seconds:>9.2} {:>9.2} {:>9.0}", user + system, peak / 1024.0);
    (seconds, user + system)
}

/// Decodes every column of every snapshot and does nothing with it.
fn read_everything(lake: &Path) {
    let mut rows = 0;
    for folder in std::fs::read_dir(lake.join("item/snapshots")).expect("snapshots") {
        let object = ParquetObject::open(&Location::local(folder.expect("a folder").path().join("item.parquet"))).expect("an object");
        for batch in object.read(None).expect("rows") {
            rows += batch.expect("a batch").num_rows();
        }
    }
    println!("{rows} rows");
}

/// A number that looks random and is the same on every run.
fn mix(key: u64, salt: u64) -> u64 {
    let mut x = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 29)
}

/// The last day, up to `day`, on which the row of a key changed: 1 % change each day.
fn version(key: u64, day: u64) -> u64 {
    (0..=day).rev().find(|day| mix(key, day + 1000).is_multiple_of(100)).unwrap_or(0)
}

/// Whether a key is there: each comes and goes around days of its own.
fn present(key: u64, keys: u64, day: u64) -> bool {
    let comes = if key < keys { 0 } else { (key - keys) * 1000 / keys };
    let goes = if mix(key, 7).is_multiple_of(10) { mix(key, 8) % 1000 } else { u64::MAX };
    comes <= day && (day < goes || goes < 1)
}

fn write_snapshot(lake: &Path, day: u64, keys: u64) {
    let date = NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date") + Days::new(day);
    let path = lake.join(format!("item/snapshots/snapshot_date={date}/item.parquet"));
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut writer: Option<ObjectWriter> = None;
    let mut sum = RowSum::default();
    let all = keys + keys * (day + 1) / 1000;
    for start in (0..all).step_by(usize::try_from(PIECE).expect("small")) {
        let batch = rows(start..(start + PIECE).min(all), keys, day);
        sum.add(&all_digests(&batch).expect("digests"));
        let writer = writer.get_or_insert_with(|| {
            ObjectWriter::create(File::create(&path).expect("a file"), &batch.schema(), &["id".to_owned()], &Location::local(&path))
                .expect("a writer")
        });
        writer.write(batch).expect("written");
    }
    let footer = SnapshotFooter {
        table: "item".into(),
        snapshot_date: date,
        key: vec!["id".into()],
        rows: sum.rows(),
        fingerprint: sum.fingerprint(),
        source: None,
        taken_at: None,
        backdated: false,
        forced: vec![],
        asof_version: "bench".into(),
    };
    writer.expect("rows").finish(&Footer::new(Content::Snapshot(footer))).expect("finished");
}

fn rows(range: std::ops::Range<u64>, keys: u64, day: u64) -> RecordBatch {
    let present: Vec<(u64, u64)> = range.filter(|key| present(*key, keys, day)).map(|key| (key, version(key, day))).collect();
    let each = |salt: u64| present.iter().map(move |(key, version)| mix(*key, *version * 16 + salt)).collect::<Vec<u64>>();
    let small = |value: u64| i32::try_from(value % 1_000_000).expect("small");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(present.iter().map(|(key, _)| i64::try_from(*key).expect("small"))))),
        ("name", Arc::new(StringArray::from_iter_values(present.iter().map(|(key, _)| format!("item number {key}"))))),
        (
            "status",
            Arc::new(StringArray::from_iter_values(
                each(1).iter().map(|value| ["ACTIVE", "PAUSED", "SOLD OUT", "GONE"][usize::try_from(value % 4).expect("small")]),
            )),
        ),
        ("price", Arc::new(Float64Array::from_iter_values(each(2).iter().map(|value| f64::from(small(*value)) / 100.0)))),
        ("stock", Arc::new(Int32Array::from_iter_values(each(3).iter().map(|value| small(*value) % 1000)))),
        ("category", Arc::new(StringArray::from_iter_values(each(4).iter().map(|value| format!("category {}", value % 500))))),
        (
            "changed_on",
            Arc::new(Date32Array::from_iter_values(present.iter().map(|(_, version)| 19_000 + i32::try_from(*version).expect("small")))),
        ),
        ("listed", Arc::new(BooleanArray::from_iter(each(5).iter().map(|value| Some(!value.is_multiple_of(3)))))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).expect("a batch")
}
