//! The SQL dialect against DuckDB's: thousands of generated expressions and a list of queries,
//! value by value.

use std::process::Command;

use crate::journeys::environment::{ASOF, World, text};

/// The generator, the comparison, and the table of known differences.
const COMPARE: &str = include_str!("compare.py");

#[test]
fn every_value_equals_duckdbs_or_the_difference_is_documented() {
    let world = World::new();
    world.write("compare.py", COMPARE);
    let python = std::env::var("ASOF_TEST_PYTHON").expect(
        "ASOF_TEST_PYTHON is not set: run the tests with tests/run, which installs DuckDB \
         and pandas",
    );
    let arguments = ["-W", "ignore", "compare.py", ASOF, "2000"];
    let output = Command::new(python)
        .args(arguments)
        .current_dir(world.path(""))
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let unknown = found["unknown"].as_array().expect("a list");
    assert!(
        unknown.is_empty(),
        "{} differences are not known: {}",
        unknown.len(),
        serde_json::to_string_pretty(&unknown).expect("JSON")
    );
    assert_eq!(
        found["not_met"],
        serde_json::json!([]),
        "known differences that are none any more"
    );
    assert!(
        found["compared"].as_u64().expect("a number") >= 2_050,
        "{found}"
    );
    assert!(
        found["queries"].as_u64().expect("a number") >= 50,
        "{found}"
    );
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sql.md"))
        .expect("docs/sql.md");
    for section in found["sections"].as_array().expect("a list") {
        let heading = format!("\n## {}\n", section.as_str().expect("a name"));
        assert!(
            page.contains(&heading),
            "docs/sql.md has no section{heading}"
        );
    }
}
