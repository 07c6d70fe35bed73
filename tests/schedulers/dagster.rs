//! The assets, materialized by `dagster asset materialize`.

use super::{
    INTERVALS, OUTPUTS, SNAPSHOTS, add_a_table_that_fails, begin, find_another_writer_first,
    module, python, recipe, run, shop,
};
use crate::journeys::environment::{World, text};

/// A shop with the assets.
fn dagster() -> World {
    let mut world = shop();
    world.write("assets.py", recipe(&world, "assets.py"));
    world.write("dagster/dagster.yaml", "telemetry:\n  enabled: false\n");
    let home = world.path("dagster").display().to_string();
    world.variable("DAGSTER_HOME", &home);
    world
}

/// Materializes assets; `which` says of which days.
fn materialize(world: &World, assets: &str, which: &[&str]) -> (i32, String) {
    let words = [
        "dagster",
        "asset",
        "materialize",
        "-f",
        "assets.py",
        "--select",
        assets,
    ];
    let words: Vec<&str> = words.iter().chain(which).copied().collect();
    run(module(world, &python("ASOF_TEST_DAGSTER"), &words))
}

#[test]
#[ignore = "needs Dagster: tests/run --schedulers"]
fn a_past_partition_that_is_materialized_again_keeps_its_copy_and_writes_the_same_bytes() {
    let mut world = dagster();
    for day in 5..=7 {
        begin(&mut world, day);
        let date = format!("2024-01-0{day}");
        let (code, said) = materialize(&world, "*", &["--partition", &date]);
        assert_eq!(code, 0, "{said}");
        for told in [
            format!("item  {date}  published"),
            "item compacted".to_owned(),
            format!("  {date}  written  2 rows"),
        ] {
            assert!(said.contains(&told), "{told}: {said}");
        }
    }
    let (snapshots, outputs) = (world.tree(SNAPSHOTS), world.tree(OUTPUTS));
    assert_eq!((snapshots.len(), outputs.len()), (3, 3), "{outputs:?}");

    begin(&mut world, 8);
    let first = format!("{OUTPUTS}/date=2024-01-05/active_item_events.parquet");
    std::fs::remove_file(world.path(&first)).expect("the output is removed");
    let (code, said) = materialize(&world, "*", &["--partition", "2024-01-05"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("item  2024-01-05  already exists, kept"),
        "{said}"
    );
    assert!(said.contains("  2024-01-05  written  2 rows"), "{said}");

    // A range of days is one command.
    std::fs::remove_dir_all(world.path(OUTPUTS)).expect("the outputs are removed");
    let range = ["--partition-range", "2024-01-05...2024-01-07"];
    let (code, said) = materialize(&world, "active_item_events", &range);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 dates written; 6 rows"), "{said}");
    assert_eq!(world.tree(SNAPSHOTS), snapshots);
    assert_eq!(world.tree(OUTPUTS), outputs);
}

#[test]
#[ignore = "needs Dagster: tests/run --schedulers"]
fn refused_data_fails_at_once_and_a_conflict_is_retried() {
    let mut world = dagster();
    let quick = recipe(&world, "assets.py").replace("delay=300", "delay=1");
    world.write("assets.py", quick);
    begin(&mut world, 5);
    find_another_writer_first(&mut world);
    let (code, said) = materialize(&world, "snapshots", &["--partition", "2024-01-05"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("STEP_UP_FOR_RETRY").count(), 1, "{said}");
    assert!(
        said.contains("asof exited with 4: a retry may succeed"),
        "{said}"
    );

    // A guard, and then a past day without a copy.
    begin(&mut world, 6);
    world.write("item.csv", "id,status\n1,ACTIVE\n");
    let lake = world.tree(SNAPSHOTS);
    for (now, told) in [
        (6, "2 of 3 rows (66.67%) are gone, and max_delete is 60%"),
        (
            7,
            "If 2024-01-06 is over and nothing holds its state any more",
        ),
    ] {
        world.at_instant(&format!("2024-01-0{now}T00:30:00Z"));
        let (code, said) = materialize(&world, "snapshots", &["--partition", "2024-01-06"]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.contains("asof exited with 3: the data was refused"),
            "{said}"
        );
        assert!(said.contains(told), "{said}");
        assert!(!said.contains("STEP_UP_FOR_RETRY"), "{said}");
    }
    assert_eq!(world.tree(SNAPSHOTS), lake);
}

#[test]
#[ignore = "needs Dagster: tests/run --schedulers"]
fn one_failed_table_fails_the_run_and_holds_back_no_other() {
    let mut world = dagster();
    let quick = recipe(&world, "assets.py")
        .replace("max_retries=3", "max_retries=1")
        .replace("delay=300", "delay=1");
    world.write("assets.py", quick);
    add_a_table_that_fails(&world);
    let copies = "snapshots,intervals";
    // Nothing can be copied, and so nothing compacted: the retry is that of the copy.
    world.at_instant("2024-01-05T00:30:00Z");
    let (code, said) = materialize(&world, copies, &["--partition", "2024-01-05"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(said.matches("STEP_UP_FOR_RETRY").count(), 1, "{said}");
    begin(&mut world, 5);
    let (code, said) = materialize(&world, copies, &["--partition", "2024-01-05"]);
    assert_eq!(code, 1, "the run fails: {said}");
    for told in [
        "error: table broken, 2024-01-05",
        "asof exited with 5: a retry may succeed",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(world.rows(INTERVALS).len(), 4, "a header and three rows");
    let day = ["--partition", "2024-01-05"];
    let (code, said) = materialize(&world, "active_item_events", &day);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("  2024-01-05  written  2 rows"), "{said}");
    world.write("broken.csv", "id\n1\n");
    let (code, said) = materialize(&world, copies, &day);
    assert_eq!(code, 0, "{said}");
}

/// Prints the partition that each schedule asks for at a time.
const SCHEDULED: &str = "
import datetime, zoneinfo
import dagster, assets
zone = zoneinfo.ZoneInfo(assets.ZONE)
for schedule in (assets.early_on_the_day, assets.when_the_day_is_over):
    minute, hour = schedule.cron_schedule.split()[:2]
    at = datetime.datetime(2024, 1, 6, int(hour), int(minute), tzinfo=zone)
    context = dagster.build_schedule_context(scheduled_execution_time=at)
    print(schedule.execution_timezone, schedule(context).partition_key)
";

#[test]
#[ignore = "needs Dagster: tests/run --schedulers"]
fn schedules_ask_for_the_copy_of_today_and_the_job_of_yesterday_in_every_zone() {
    let world = dagster();
    for zone in ["UTC", "Pacific/Auckland", "America/New_York"] {
        let zoned =
            recipe(&world, "assets.py").replace("ZONE = \"UTC\"", &format!("ZONE = \"{zone}\""));
        world.write("assets.py", zoned);
        // Two of these files have the same length. Written within a second, Python takes the compiled
        // form of one for the other, unless `-B` keeps it from writing any.
        let words = ["-B", "-W", "ignore", "-c", SCHEDULED].map(str::to_owned);
        let output = world
            .prepared(&python("ASOF_TEST_DAGSTER"), &words)
            .output();
        let output = output.expect("Python starts");
        let expected = format!("{zone} 2024-01-06\n{zone} 2024-01-05\n");
        assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    }
}
