//! The lines of the crontab, run by `sh -c` in the environment that cron gives.

use std::process::Command;

use super::{INTERVALS, OUTPUTS, add_a_table_that_fails, begin, recipe, run, shop};
use crate::journeys::environment::World;

/// A crontab: its variables, and its lines, each with the five fields of its times and its command.
struct Crontab {
    variables: Vec<(String, String)>,
    lines: Vec<(Vec<String>, String)>,
}

impl Crontab {
    fn of(world: &World) -> Self {
        let mut crontab = Crontab {
            variables: Vec::new(),
            lines: Vec::new(),
        };
        for line in recipe(world, "crontab").lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((name, value)) = line.split_once('=')
                && name.bytes().all(|letter| letter.is_ascii_uppercase())
            {
                crontab.variables.push((name.to_owned(), value.to_owned()));
                continue;
            }
            let mut rest = line;
            let mut times = Vec::new();
            for _ in 0..5 {
                let (time, after) = rest.split_once(' ').expect("five fields and a command");
                times.push(time.to_owned());
                rest = after.trim_start();
            }
            // What follows a % is standard input, unless a backslash stands before it.
            assert!(!rest.contains('%'), "{rest}");
            crontab.lines.push((times, rest.to_owned()));
        }
        crontab
    }

    /// The command of the line that runs a command of asof.
    fn line(&self, command: &str) -> &str {
        let words = format!("asof -q {command}");
        let lines: Vec<&str> = self
            .lines
            .iter()
            .map(|(_, line)| line.as_str())
            .filter(|line| line.contains(&words))
            .collect();
        assert_eq!(lines.len(), 1, "{command}: {lines:?}");
        lines[0]
    }

    /// Runs that line as cron does, at an instant; returns its exit code and what would be mailed.
    fn run(&self, world: &World, command: &str, now: &str) -> (i32, String) {
        let shell = self.variables.iter().find(|(name, _)| name == "SHELL");
        let mut process = Command::new(&shell.expect("a shell").1);
        process
            .args(["-c", self.line(command)])
            .current_dir("/")
            .env_clear();
        process.env("HOME", world.path("")).env("LOGNAME", "asof");
        process.envs(self.variables.iter().map(|(name, value)| (name, value)));
        process.env("ASOF_NOW", now);
        run(process)
    }
}

#[test]
fn times_of_the_crontab_are_those_of_cron() {
    let world = shop();
    let crontab = Crontab::of(&world);
    assert_eq!(crontab.lines.len(), 3);
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    for (times, _) in &crontab.lines {
        for (field, (least, most)) in times.iter().zip(bounds) {
            for time in field.split(',').filter(|time| *time != "*") {
                let time: u32 = time.parse().expect("a number");
                assert!((least..=most).contains(&time), "{times:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs flock: tests/run --schedulers"]
fn a_night_by_cron_mails_nothing_unless_something_is_wrong() {
    let mut world = shop();
    let crontab = Crontab::of(&world);
    for day in 5..=6 {
        begin(&mut world, day);
        let early = format!("2024-01-0{day}T00:30:00Z");
        for line in ["snapshot", "snapshot", "compact"] {
            assert_eq!(
                crontab.run(&world, line, &early),
                (0, String::new()),
                "{line}"
            );
        }
        let later = format!("2024-01-0{}T03:30:00Z", day + 1);
        assert_eq!(crontab.run(&world, "backfill", &later), (0, String::new()));
        let output = format!("{OUTPUTS}/date=2024-01-0{day}/active_item_events.parquet");
        assert_eq!(world.rows(&output).len(), 3, "a header and two rows");
    }

    world.write("item.csv", "id,status\n1,ACTIVE\n");
    let (_, mail) = crontab.run(&world, "snapshot", "2024-01-07T00:30:00Z");
    assert!(
        mail.contains("error: table item, 2024-01-07: the snapshot was not published"),
        "{mail}"
    );
    assert!(mail.contains("asof snapshot: exit code 3\n"), "{mail}");
    let (_, mail) = crontab.run(&world, "backfill", "2024-01-08T03:30:00Z");
    assert!(
        mail.contains("table item has no snapshot of 2024-01-07"),
        "{mail}"
    );
    // The day before is up to date.
    assert!(mail.contains("asof backfill: exit code 5\n"), "{mail}");
}

#[test]
#[ignore = "needs flock: tests/run --schedulers"]
fn one_failed_table_is_mailed_and_holds_back_no_other() {
    let mut world = shop();
    add_a_table_that_fails(&world);
    begin(&mut world, 5);
    let crontab = Crontab::of(&world);
    for _ in 0..2 {
        let (_, mail) = crontab.run(&world, "snapshot", "2024-01-05T00:30:00Z");
        assert!(mail.contains("error: table broken, 2024-01-05"), "{mail}");
        assert!(mail.contains("asof snapshot: exit code 5\n"), "{mail}");
    }
    for (line, now) in [("compact", "05T03:00"), ("backfill", "06T03:30")] {
        let mail = crontab.run(&world, line, &format!("2024-01-{now}:00Z"));
        assert_eq!(mail, (0, String::new()), "{line}");
    }
    assert_eq!(world.rows(INTERVALS).len(), 4, "a header and three rows");
}

#[test]
#[ignore = "needs flock: tests/run --schedulers"]
fn the_job_makes_up_the_days_of_a_week() {
    let mut world = shop();
    let crontab = Crontab::of(&world);
    for day in 5..=8 {
        begin(&mut world, day);
        let early = format!("2024-01-0{day}T00:30:00Z");
        let mail = crontab.run(&world, "snapshot", &early);
        assert_eq!(mail, (0, String::new()));
    }
    // The eighth is the first of the seven days before the fifteenth.
    for (now, outputs) in [("15T03:30", 1), ("13T03:30", 3)] {
        let mail = crontab.run(&world, "backfill", &format!("2024-01-{now}:00Z"));
        assert_eq!(mail, (0, String::new()), "{now}");
        let written = world.listing(OUTPUTS);
        let written = written.iter().filter(|path| path.ends_with("parquet"));
        assert_eq!(written.count(), outputs, "{now}");
    }
}

#[test]
#[ignore = "needs flock: tests/run --schedulers"]
fn a_line_that_waits_for_another_one_says_so_when_it_gives_up() {
    let mut world = shop();
    begin(&mut world, 5);
    let mut crontab = Crontab::of(&world);
    for (_, line) in &mut crontab.lines {
        assert!(line.contains("flock -w 1800 asof.lock"), "{line}");
        *line = line.replace("-w 1800", "-w 0");
    }
    let lock = std::fs::File::create(world.path("asof.lock")).expect("a lock");
    lock.lock().expect("the lock is held");
    let (_, mail) = crontab.run(&world, "snapshot", "2024-01-05T00:30:00Z");
    assert_eq!(mail, "asof snapshot: exit code 1\n");
    drop(lock);
    let mail = crontab.run(&world, "snapshot", "2024-01-05T00:30:00Z");
    assert_eq!(mail, (0, String::new()));
}
