//! What is logged, and to whom.

use std::process::Output;

use serde_json::Value;

use super::environment::World;

/// A shop whose remembered fingerprints cannot be read.
fn with_a_damaged_hint() -> World {
    let mut world = World::shop(3);
    world.succeeds("compact item");
    world.write("lake/item/intervals/_item.json", "{");
    world
}

fn errors_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON objects on standard error.
fn events_of(output: &Output) -> Vec<Value> {
    let lines = errors_of(output);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

#[test]
fn what_is_passed_over_is_logged_for_who_asks() {
    let world = with_a_damaged_hint();
    let passed_over = "remembered fingerprints are passed over";
    for quiet in ["compact item --dry-run", "-v compact item --dry-run"] {
        let errors = errors_of(&world.quietly(quiet));
        assert!(!errors.contains(passed_over), "{errors}");
    }
    let errors = errors_of(&world.quietly("-vv compact item --dry-run"));
    assert!(errors.contains(passed_over), "{errors}");
    let mut world = world;
    world.variable("ASOF_LOG", "asof::storage=debug");
    let errors = errors_of(&world.quietly("compact item --dry-run"));
    assert!(errors.contains(passed_over), "{errors}");
}

#[test]
fn a_filter_that_cannot_be_read_is_a_usage_error() {
    let mut world = World::shop(1);
    world.variable("ASOF_LOG", "asof=loud");
    let output = world.quietly("status");
    assert_eq!(output.status.code(), Some(2));
    let errors = errors_of(&output);
    assert!(errors.contains("hint: ASOF_LOG=asof=debug"), "{errors}");
}

#[test]
fn each_line_of_a_json_log_is_an_object() {
    let world = with_a_damaged_hint();
    let events = events_of(&world.quietly("-vv --log-format json compact item --dry-run"));
    let levels: Vec<&str> = events
        .iter()
        .filter_map(|event| event["level"].as_str())
        .collect();
    assert!(levels.contains(&"DEBUG"), "{events:?}");
    assert!(levels.contains(&"INFO"), "{events:?}");
    let failed = world.quietly("--log-format json show item --date 2020-01-01");
    let [error] = &events_of(&failed)[..] else {
        panic!("one error: {failed:?}");
    };
    assert_eq!(error["level"], "ERROR");
    assert_eq!(error["kind"], "refused");
    assert_eq!(error["exit_code"], 3);
    assert!(
        error["hints"]
            .as_str()
            .is_some_and(|hint| hint.contains("asof show item --date")),
        "{error}"
    );
}

#[test]
fn no_filter_takes_errors_out_of_a_json_log() {
    let mut world = World::shop(1);
    world.variable("ASOF_LOG", "off");
    let events = events_of(&world.quietly("--log-format json show nothing"));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["level"], "ERROR");
}

#[test]
fn a_wrong_command_line_is_an_event_of_a_json_log() {
    let world = World::new();
    for line in ["--log-format json shw", "--log-format=json status --nope"] {
        let output = world.quietly(line);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let events = events_of(&output);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["kind"], "usage");
    }
}
