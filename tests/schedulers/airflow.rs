//! The DAG, run by `airflow dags test`, which clears a run of the date that is there.

use super::{
    CONFIG, INTERVALS, OUTPUTS, SNAPSHOTS, add_a_table_that_fails, begin,
    find_another_writer_first, module, python, recipe, run, shop,
};
use crate::journeys::environment::World;

/// A shop with the DAG and an empty database of Airflow.
fn airflow() -> World {
    let mut world = shop();
    world.write("dags/asof_dag.py", recipe(&world, "asof_dag.py"));
    for (name, folder) in [
        ("AIRFLOW_HOME", "airflow"),
        ("AIRFLOW__CORE__DAGS_FOLDER", "dags"),
    ] {
        let folder = world.path(folder).display().to_string();
        world.variable(name, &folder);
    }
    world.variable("AIRFLOW__CORE__LOAD_EXAMPLES", "False");
    // This machine may be busy.
    world.variable("AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "200");
    let (code, said) = command(&world, &["db", "migrate"]);
    assert_eq!(code, 0, "{said}");
    world
}

fn command(world: &World, arguments: &[&str]) -> (i32, String) {
    let words: Vec<&str> = ["airflow"].iter().chain(arguments).copied().collect();
    run(module(world, &python("ASOF_TEST_AIRFLOW"), &words))
}

/// Clears the run of a date, if there is one, and runs it.
fn run_of(world: &World, date: &str, more: &[&str]) -> (i32, String) {
    let words: Vec<&str> = ["dags", "test", "shop", date]
        .iter()
        .chain(more)
        .copied()
        .collect();
    command(world, &words)
}

/// The commands of asof that a run began.
fn commands(said: &str) -> Vec<String> {
    let begun = said
        .lines()
        .filter_map(|line| line.split_once("Running command: ['asof', "));
    begun
        .map(|(_, line)| {
            line.split(']')
                .next()
                .unwrap_or_default()
                .replace(['\'', ','], "")
        })
        .collect()
}

fn backfill_of(date: &str) -> String {
    format!("backfill active_item_events --from {date} --to {date}")
}

#[test]
#[ignore = "needs Airflow: tests/run --schedulers"]
fn a_past_day_that_is_cleared_and_rerun_keeps_its_copy_and_writes_the_same_bytes() {
    let mut world = airflow();
    for day in 5..=7 {
        begin(&mut world, day);
        let date = format!("2024-01-0{day}");
        let (code, said) = run_of(&world, &date, &[]);
        assert_eq!(code, 0, "{said}");
        let snapshot = format!("snapshot --date {date}");
        assert_eq!(
            commands(&said),
            [snapshot.as_str(), "compact", &backfill_of(&date)]
        );
        assert!(said.contains(&format!("item  {date}  published")), "{said}");
        assert!(
            said.contains(&format!("  {date}  written  2 rows")),
            "{said}"
        );
    }
    let (snapshots, outputs) = (world.tree(SNAPSHOTS), world.tree(OUTPUTS));
    assert_eq!((snapshots.len(), outputs.len()), (3, 3), "{outputs:?}");

    // The day after, the table has other rows. First nothing is out of date; then an output is
    // gone.
    begin(&mut world, 8);
    let first = format!("{OUTPUTS}/date=2024-01-05/active_item_events.parquet");
    for outcome in ["up to date", "written  2 rows"] {
        let (code, said) = run_of(&world, "2024-01-05", &[]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(commands(&said).len(), 3);
        assert!(
            said.contains("item  2024-01-05  already exists, kept; taken 2024-01-05 00:30 UTC"),
            "{said}"
        );
        assert!(said.contains(&format!("  2024-01-05  {outcome}")), "{said}");
        assert_eq!(world.tree(SNAPSHOTS), snapshots);
        assert_eq!(world.tree(OUTPUTS), outputs);
        std::fs::remove_file(world.path(&first)).expect("the output is removed");
    }
}

#[test]
#[ignore = "needs Airflow: tests/run --schedulers"]
fn refused_data_fails_at_once_and_no_copy_of_a_past_day_is_taken_from_todays_table() {
    let mut world = airflow();
    begin(&mut world, 5);
    let (code, said) = run_of(&world, "2024-01-05", &[]);
    assert_eq!(code, 0, "{said}");

    // A guard: two of three rows are gone.
    begin(&mut world, 6);
    world.write("item.csv", "id,status\n1,ACTIVE\n");
    let (code, said) = run_of(&world, "2024-01-06", &[]);
    assert_eq!(code, 1, "{said}");
    // No retry.
    let all = [
        "snapshot --date 2024-01-06",
        "compact",
        &backfill_of("2024-01-06"),
    ];
    assert_eq!(commands(&said), all);
    assert!(
        said.contains("2 of 3 rows (66.67%) are gone, and max_delete is 60%"),
        "{said}"
    );
    assert!(
        said.contains("AirflowFailException: asof exited with 3: the data was refused."),
        "{said}"
    );

    // The day after, the table has other rows. The run of the day before is cleared.
    begin(&mut world, 7);
    let lake = world.tree(SNAPSHOTS);
    let (code, said) = run_of(&world, "2024-01-06", &[]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(commands(&said), all);
    for told in [
        "taking a snapshot of 2024-01-06, which is past, would label today's state as that day's",
        "asof snapshot item --publish 2024-01-06, to publish the copy of that day",
        "If 2024-01-06 is over and nothing holds its state any more",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(world.tree(SNAPSHOTS), lake);

    // As the message says: the day stays without a copy, and the table's tolerance decides.
    let go_on = ["--mark-success-pattern", "snapshot"];
    let (code, said) = run_of(&world, "2024-01-06", &go_on);
    assert_eq!(code, 1, "{said}");
    assert_eq!(commands(&said), ["compact", &backfill_of("2024-01-06")]);
    assert!(
        said.contains(
            "table item has no snapshot of 2024-01-06; the latest before it is 2024-01-05"
        ),
        "{said}"
    );
    let config = CONFIG.replace("[events", "tolerance = \"1d\"\n\n[events");
    world.write("asof.toml", config);
    let (code, said) = run_of(&world, "2024-01-06", &go_on);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("  2024-01-06  written  2 rows"), "{said}");
    assert!(said.contains("item 2024-01-05"), "{said}");
    assert_eq!(world.tree(SNAPSHOTS), lake);
}

#[test]
#[ignore = "needs Airflow: tests/run --schedulers"]
fn a_conflict_is_retried_and_a_zone_other_than_utc_has_its_own_days() {
    let mut world = airflow();
    let zoned = recipe(&world, "asof_dag.py")
        .replace("minutes=5", "seconds=1")
        .replace("timezone=\"UTC\"", "timezone=\"America/New_York\"")
        .replace(
            "{{ ds }}\"",
            "{{ logical_date.in_timezone('America/New_York') | ds }}\"",
        )
        .replace(
            "{{ logical_date.add",
            "{{ logical_date.in_timezone('America/New_York').add",
        );
    world.write("dags/asof_dag.py", zoned);
    world.write(
        "asof.toml",
        format!("timezone = 'America/New_York'\n{}", CONFIG),
    );
    // Late in the evening there, it is the next day in UTC.
    begin(&mut world, 5);
    world.at_instant("2024-01-06T04:30:00Z");
    find_another_writer_first(&mut world);
    let (code, said) = run_of(&world, "2024-01-05T23:30:00-05:00", &[]);
    assert_eq!(code, 0, "{said}");
    let snapshot = "snapshot --date 2024-01-05";
    assert_eq!(
        commands(&said),
        [snapshot, snapshot, "compact", &backfill_of("2024-01-05")]
    );
    assert!(
        said.contains("asof exited with 4: a retry may succeed"),
        "{said}"
    );
    // Half past three on the next day.
    assert!(said.contains("DateTime(2024, 1, 6, 8, 30"), "{said}");
}

#[test]
#[ignore = "needs Airflow: tests/run --schedulers"]
fn one_failed_table_fails_the_run_and_holds_back_no_other() {
    let mut world = airflow();
    let quick = recipe(&world, "asof_dag.py")
        .replace("\"retries\": 3", "\"retries\": 1")
        .replace("minutes=5", "seconds=1");
    world.write("dags/asof_dag.py", quick);
    add_a_table_that_fails(&world);
    begin(&mut world, 5);
    let (code, said) = run_of(&world, "2024-01-05", &[]);
    assert_eq!(code, 1, "the run fails: {said}");
    let snapshot = "snapshot --date 2024-01-05";
    let backfill = backfill_of("2024-01-05");
    assert_eq!(commands(&said), [snapshot, snapshot, "compact", &backfill]);
    for told in [
        "error: table broken, 2024-01-05",
        "asof exited with 5: a retry may succeed",
        "  2024-01-05  written  2 rows",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(world.rows(INTERVALS).len(), 4, "a header and three rows");
    world.write("broken.csv", "id\n1\n");
    let (code, said) = run_of(&world, "2024-01-05", &[]);
    assert_eq!(code, 0, "{said}");
}
