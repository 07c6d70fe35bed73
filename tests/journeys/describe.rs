//! What the values of columns are, how they changed, and files of histories and differences.

use super::environment::{ASOF, World, text};

#[test]
fn columns_are_described_with_their_changes() {
    let mut world = World::shop(3);
    world.tell("without intervals");
    world.succeeds("describe item");
    assert_eq!(world.quietly("compact item").status.code(), Some(0));
    world.succeeds("describe item");
    world.tell("as of another date, some columns, fewer values");
    world.succeeds("describe item 2024-03-01 --columns status,price --top 1");
    world.succeeds("-q describe item --date 2024-03-02 --columns status --json");
    world.tell("what is refused");
    world.refuses(2, "describe itme");
    world.refuses(2, "describe item --columns stauts");
    world.refuses(2, "describe item --columns status,status");
    world.refuses(3, "describe item --date 2024-02-01");
    world.pin("describe");
}

#[test]
fn a_wide_table_is_described_a_line_a_column() {
    let mut world = World::new();
    let names: Vec<String> = (1..=300).map(|at| format!("column_{at:03}")).collect();
    let row = |id: usize| {
        let cells: Vec<String> = (1..=300).map(|at| (id * at % 7).to_string()).collect();
        format!("{id},{}\n", cells.join(","))
    };
    let rows: String = (1..=20).map(row).collect();
    world.write("wide.csv", format!("id,{}\n{rows}", names.join(",")));
    let taken = "--lake lake snapshot wide --date 2024-03-01 --source wide.csv --key id";
    assert_eq!(world.quietly(taken).status.code(), Some(0));
    let output = text(&world.quietly("--lake lake describe wide").stdout);
    assert_eq!(output.lines().count(), 304, "{output}");
    let widest = output.lines().map(|line| line.chars().count()).max();
    assert!(widest < Some(120), "{output}");
    world.succeeds("--lake lake describe wide --columns column_007,column_300 --top 2");
    world.pin("describe_wide");
}

#[test]
fn differences_are_summed_up_by_column() {
    let mut world = World::shop(3);
    world.succeeds("diff item 2024-03-01 2024-03-03 --summary");
    world.succeeds("diff item 2024-03-01 2024-03-02 --summary --columns price,name --top 1");
    world.succeeds("diff item 2024-03-02 2024-03-02 --summary --columns status");
    world.succeeds("diff item 2024-03-01 2024-03-02 --summary --columns status --json");
    world.refuses(2, "diff item 2024-03-01 2024-03-02 --columns status");
    world.refuses(
        2,
        "diff item 2024-03-01 2024-03-02 --summary --columns stauts",
    );
    world.pin("diff_summary");
}

#[test]
fn histories_and_differences_are_written_to_files() {
    let mut world = World::shop(3);
    assert_eq!(world.quietly("compact item").status.code(), Some(0));
    world.succeeds("diff item 2024-03-01 2024-03-03 --limit 1 --out out/differ.csv");
    world.tell(&text(&world.bytes("out/differ.csv")));
    world.succeeds("diff item 2024-03-01 2024-03-03 --limit 0 --out out/differ.parquet");
    let rows = world.rows("out/differ.parquet").join("\n");
    world.tell(&rows);
    world.tell("no difference, over a file that is there");
    world.succeeds("diff item 2024-03-01 2024-03-01 --out out/differ.csv");
    world.tell(&text(&world.bytes("out/differ.csv")));
    world.succeeds("history item 2 --out out/history.csv");
    world.tell(&text(&world.bytes("out/history.csv")));
    world.succeeds("history item 2 --out out/history.parquet --json");
    let rows = world.rows("out/history.parquet").join("\n");
    world.tell(&rows);
    world.tell("of a file of intervals");
    world.succeeds("history lake/item/intervals/item.parquet 2 --out out/alone.csv");
    assert_eq!(world.bytes("out/alone.csv"), world.bytes("out/history.csv"));
    let left: Vec<String> = world.listing("out");
    assert_eq!(left.len(), 5, "{left:?}");
    world.tell("what is refused");
    for command in ["diff item 2024-03-01 2024-03-02", "history item 2"] {
        world.refuses(2, &format!("{command} --out differ.xlsx"));
        world.refuses(2, &format!("{command} --out lake/item/snapshots/x.csv"));
        world.refuses(
            2,
            &format!("{command} --out lake/item/intervals/item.parquet"),
        );
        world.refuses(2, &format!("{command} --out item_events/x.csv"));
    }
    world.refuses(3, "history item 99 --out out/none.csv");
    world.pin("files_of_rows");
}

/// Statistics, changes and files are what polars and DuckDB find in the same files.
#[test]
fn other_tools_say_the_same_of_columns_and_their_changes() {
    let python = std::env::var("ASOF_TEST_PYTHON")
        .expect("ASOF_TEST_PYTHON is not set: run the tests with tests/run");
    let world = World::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/journeys/describe.py");
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
    assert!(found["compared"].as_u64() > Some(200), "{found}");
}
