//! Rows, keys and tables that are larger than the limits, and what they cost.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use super::environment::World;

/// The most memory that a process had, in bytes, until it ended.
fn peak_memory(process: &mut std::process::Child) -> u64 {
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    while process.try_wait().expect("it can be waited for").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kilobytes.map_or(0, |kilobytes: u64| kilobytes << 10));
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// Zstandard of a text, one of many bytes, and a text.
fn compressed(before: &str, mebibytes: usize, after: &str) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.write_all(before.as_bytes()).expect("written");
    for _ in 0..mebibytes {
        encoder.write_all(&[b'x'; 1 << 20]).expect("written");
    }
    encoder.write_all(after.as_bytes()).expect("written");
    encoder.finish().expect("finished")
}

#[test]
fn a_field_that_is_larger_than_memory_is_refused_and_never_held() {
    let world = World::new();
    let csv = compressed("id,note\n1,a\n2,", 600, "\n");
    let json = compressed("{\"id\":1}\n{\"id\":2,\"note\":\"", 600, "\"}\n");
    assert!(csv.len() < 1 << 20, "{} bytes", csv.len());
    world.write("item.csv.zst", csv);
    world.write("item.ndjson.zst", json);
    for name in ["item.csv.zst", "item.ndjson.zst"] {
        let line = format!("--memory 64MiB --lake lake snapshot item --key id --source {name}");
        let mut process = world
            .command(&line)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let peak = peak_memory(&mut process);
        let output = process.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{told}");
        let line = if name.contains("csv") { 3 } else { 2 };
        let expected = format!("line {line}, column 'note': the row is longer than 2MiB");
        assert!(told.contains(&expected) && told.len() < 1000, "{told}");
        assert!(peak < 256 << 20, "{name}: {} MiB", peak >> 20);
    }
}

#[test]
fn limits_are_told_and_the_hints_raise_them() {
    let mut world = World::new();
    let small = "lake = 'lake'\n[tables.item]\nkey = ['id']\nsource = 'item.csv'\n[limits]\n";
    let with = |limits: &str| format!("{small}{limits}\n");
    let note = "x".repeat(1500);
    world.write("item.csv", format!("id,note\n1,{note}\n{note},a\n"));
    for (told, limits) in [
        ("a row", "max_row = '1KiB'"),
        ("raised", "max_row = '2KiB'"),
        ("a key", "max_key = '1KiB'"),
        ("columns", "max_columns = 1"),
        ("no limit at all", "max_row = '4GiB'"),
        ("a setting that does not exist", "max_rows = '1GiB'"),
    ] {
        world.write("asof.toml", with(limits));
        world.tell(&format!("{told}: {limits}"));
        world.asof("snapshot item --dry-run");
        if told == "a key" {
            world.asof("check item");
        }
    }
    world.pin("limits");
}

#[test]
fn a_table_of_20_000_columns_is_copied_compacted_and_shown() {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nkey = ['id']\nsource = 'item.csv'\n",
    );
    let names: Vec<String> = (0..20_000).map(|column| format!("c{column}")).collect();
    for (night, odd) in [("2024-03-01", 1), ("2024-03-02", 2)] {
        world.at(night);
        let mut text = format!("id,{}\n", names.join(","));
        for id in 0..3 {
            let values = (0..20_000).map(|column| match (id, column) {
                (1, 12_345) => odd.to_string(),
                _ => (id + column).to_string(),
            });
            let values: Vec<String> = values.collect();
            writeln!(text, "{id},{}", values.join(",")).expect("written");
        }
        world.write("item.csv", text);
        assert!(world.quietly("snapshot item").status.success());
    }
    assert!(world.quietly("compact item").status.success());
    for line in ["diff item 2024-03-01 2024-03-02", "history item 1"] {
        let output = world.quietly(line);
        let told = String::from_utf8_lossy(&output.stdout);
        let last = told.lines().last().unwrap_or_default();
        assert!(last.ends_with("c12345: 1 -> 2"), "{line}: {last}");
    }
}
