//! The units: systemd's own checks, and their commands in the environment that they say. No test
//! starts them, since systemd has to be the first process of the machine for that.

use std::process::Command;

use super::{INTERVALS, OUTPUTS, add_a_table_that_fails, begin, programs, recipe, run, shop};
use crate::journeys::environment::{World, words};

const UNITS: [&str; 4] = [
    "asof.service",
    "asof.timer",
    "asof-backfill.service",
    "asof-backfill.timer",
];

/// The values of a setting of a unit.
fn settings(world: &World, unit: &str, name: &str) -> Vec<String> {
    let unit = recipe(world, unit);
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

fn analyze(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new("systemd-analyze");
    command
        .args(arguments)
        .env("SYSTEMD_LOG_COLOR", "0")
        .env("TZ", "UTC");
    run(command)
}

#[test]
#[ignore = "needs systemd-analyze: tests/run --schedulers"]
fn systemd_finds_nothing_wrong_with_the_units() {
    let world = shop();
    let mut paths = Vec::new();
    for unit in UNITS {
        world.write(&format!("units/{unit}"), recipe(&world, unit));
        paths.push(world.path(&format!("units/{unit}")).display().to_string());
    }
    let arguments: Vec<&str> = ["verify", "--man=no"]
        .into_iter()
        .chain(paths.iter().map(String::as_str))
        .collect();
    assert_eq!(analyze(&arguments), (0, String::new()));
    // It would tell.
    world.write(
        "units/asof.service",
        recipe(&world, "asof.service").replace("Restart=", "Restrat="),
    );
    let (_, said) = analyze(&arguments);
    assert!(said.contains("Unknown key"), "{said}");
}

#[test]
#[ignore = "needs systemd-analyze: tests/run --schedulers"]
fn timers_elapse_at_their_time_in_every_zone() {
    let world = shop();
    for (timer, time) in [
        ("asof.timer", "00:30:00"),
        ("asof-backfill.timer", "03:30:00"),
    ] {
        let calendar = settings(&world, timer, "OnCalendar");
        assert_eq!(calendar, [format!("*-*-* {time} UTC")]);
        let base = "--base-time=2024-01-05 12:00:00 UTC";
        let (code, said) = analyze(&["calendar", base, &calendar[0]]);
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains(&format!("Sat 2024-01-06 {time} UTC")),
            "{said}"
        );
        let there = calendar[0].replace("UTC", "Europe/Berlin");
        let (code, said) = analyze(&["calendar", base, &there]);
        assert_eq!(code, 0, "{said}");
        let hour: i32 = time[..2].parse().expect("an hour");
        let utc = format!("{:02}{} UTC", (hour + 23) % 24, &time[2..]);
        assert!(said.contains(&utc), "{utc}: {said}");
    }
}

/// Runs the commands of a unit one after the other, as systemd does, until one fails; returns the
/// last exit code and what they printed.
fn start(world: &World, unit: &str, now: &str) -> (i32, String) {
    let folder = settings(world, unit, "WorkingDirectory");
    let mut printed = String::new();
    for line in settings(world, unit, "ExecStart") {
        // Of one dollar, systemd would make a variable.
        let words = words(&line.replace("$$", "$"));
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .current_dir(&folder[0])
            .env_clear();
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
            .env("LANG", "C.UTF-8")
            .env("USER", "asof")
            .env("HOME", world.path(""))
            .env("ASOF_NOW", now);
        let (code, said) = run(command);
        printed += &said;
        if code != 0 {
            return (code, printed);
        }
    }
    (0, printed)
}

#[test]
fn units_run_a_night_and_fail_with_the_exit_code_of_asof() {
    let mut world = shop();
    let program = format!("{}/asof ", programs());
    for (unit, commands) in [("asof.service", 2), ("asof-backfill.service", 1)] {
        let lines = settings(&world, unit, "ExecStart");
        assert_eq!(lines[0].matches(&program).count(), commands, "{lines:?}");
        assert!(!lines[0].replace("$$", "").contains('$'), "{lines:?}");
    }
    begin(&mut world, 5);
    let night = "2024-01-05T00:30:00Z";
    // A start by hand, or a retry, does no harm.
    for _ in 0..2 {
        assert_eq!(start(&world, "asof.service", night), (0, String::new()));
    }
    let later = "2024-01-06T03:30:00Z";
    assert_eq!(
        start(&world, "asof-backfill.service", later),
        (0, String::new())
    );
    let output = format!("{OUTPUTS}/date=2024-01-05/active_item_events.parquet");
    assert_eq!(world.rows(&output).len(), 3, "a header and two rows");

    world.write("item.csv", "id,status\n1,ACTIVE\n");
    let (code, said) = start(&world, "asof.service", "2024-01-06T00:30:00Z");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("error: table item, 2024-01-06"), "{said}");
}

#[test]
fn one_failed_table_fails_the_unit_and_holds_back_no_other() {
    let mut world = shop();
    add_a_table_that_fails(&world);
    let night = "2024-01-05T00:30:00Z";
    // Nothing can be copied, and so nothing compacted: the unit has the exit code of the copy.
    let (code, said) = start(&world, "asof.service", night);
    assert_eq!(code, 1, "{said}");
    begin(&mut world, 5);
    for _ in 0..2 {
        let (code, said) = start(&world, "asof.service", night);
        assert_eq!(code, 5, "{said}");
        assert!(said.contains("error: table broken, 2024-01-05"), "{said}");
        assert_eq!(world.rows(INTERVALS).len(), 4, "a header and three rows");
    }
    world.write("broken.csv", "id\n1\n");
    assert_eq!(start(&world, "asof.service", night), (0, String::new()));
    let damaged = world.bytes(INTERVALS)[1..].to_vec();
    world.write(INTERVALS, damaged);
    let (code, said) = start(&world, "asof.service", night);
    assert_ne!(code, 0, "a compaction that fails: {said}");
}
