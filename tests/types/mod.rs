//! Files of pyarrow, pandas, polars and DuckDB, value by value.

use crate::journeys::environment::{ASOF, World, text};

/// A value comes out of a snapshot, of intervals, of their expansion and of joins as it is in the
/// file, or the file is refused with the name of the column.
#[test]
fn values_of_other_tools_come_out_as_they_went_in() {
    let python = std::env::var("ASOF_TEST_PYTHON")
        .expect("ASOF_TEST_PYTHON is not set: run the tests with tests/run");
    let world = World::new();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/types/files_of_other_tools.py"
    );
    let output = world
        .prepared(&python, &[script.to_owned(), ASOF.to_owned()])
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(
        found["failures"],
        serde_json::json!([]),
        "{} in all",
        found["failed"]
    );
    assert!(
        found["types"].as_u64() >= Some(60) && found["compared"].as_u64() > Some(50_000),
        "{found}"
    );
}
