//! Copies whose key has nulls, or whose columns are of another type: they are kept as they arrived.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::environment::{World, text};

const REFUSED: &str = "lake/item/_refused/snapshot_date=2024-03-02/item.parquet";

/// A table with a copy of the first night, on the second.
fn world(rows: &str) -> World {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n",
    );
    world.write("item.csv", rows);
    world.at("2024-03-01");
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world
}

/// The second hint and those after it, typed as they are up to what they are for.
fn type_hints(world: &mut World, line: &str) {
    let output = world.quietly(line);
    let printed = text(&output.stderr);
    let hints = printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("hint: asof "))
        .map(|hint| hint.split(", to ").next().unwrap().to_owned());
    for hint in hints.collect::<Vec<_>>() {
        world.asof(&hint);
    }
}

#[test]
fn one_null_key_in_a_million_rows_is_kept_in_bounded_memory() {
    const ROWS: u32 = 1_000_000;
    let copy = |null: Option<u32>| {
        let row = |n: u32| match null {
            Some(null) if null == n => format!(",code {n},{}\n", n % 7),
            _ => format!("{n},code {n},{}\n", n % 7),
        };
        let rows: Vec<String> = (0..ROWS).rev().map(row).collect();
        format!("id,code,v\n{}", rows.concat())
    };
    let mut world = world(&copy(None));
    let before = world.tree("lake");
    world.write("item.csv", copy(Some(500_000)));
    world.refuses(3, "--memory 128MiB snapshot item");
    world.succeeds("status item");
    world.tell("the hints, typed");
    type_hints(&mut world, "--memory 128MiB snapshot item");
    world.succeeds("show item 2024-03-02 --refused --where 'id is null'");
    let mut after = world.tree("lake");
    after.retain(|path, _| !path.contains("_refused/"));
    assert_eq!(before, after, "the lake is untouched");
    assert_eq!(world.rows(REFUSED).len(), 1 + ROWS as usize);
    world.tell("a key without nulls");
    world.refuses(3, "snapshot item --publish 2024-03-02 --force");
    world.refuses(2, "snapshot item --publish 2024-03-02 --key code");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['code']\n",
    );
    world.succeeds("snapshot item --publish 2024-03-02");
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    world.pin("quarantine_null_key");
}

#[test]
fn several_null_keys_are_kept_and_discarded() {
    let mut world = world("id,v\n1,a\n2,b\n");
    world.write("item.csv", "id,v\n1,a\n,b\n,b\n2,c\n");
    world.refuses(3, "snapshot item --dry-run");
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    world.refuses(3, "snapshot item");
    assert_eq!(
        world.rows(REFUSED),
        ["id|v", "null|b", "null|b", "1|a", "2|c"]
    );
    world.succeeds("diff item --refused 2024-03-02");
    world.succeeds("show item 2024-03-02 --refused");
    world.succeeds("snapshot item --discard 2024-03-02");
    world.tell("corrected");
    world.write("item.csv", "id,v\n1,a\n2,c\n");
    world.succeeds("snapshot item");
    world.pin("quarantine_null_keys");
}

#[test]
fn a_type_that_changed_overnight_is_kept_and_published_once_it_is_declared() {
    let mut world = world("id,price,name\n1,1.50,pen\n2,3,ink\n3,4.25,cap\n");
    let before = world.tree("lake");
    world.write(
        "item.csv",
        "id,price,name\n1,1.50,pen\n2,n/a,ink\n3,4.5,cap\n",
    );
    world.refuses(3, "snapshot item");
    let mut after = world.tree("lake");
    after.retain(|path, _| !path.contains("_refused/"));
    assert_eq!(before, after, "the lake is untouched");
    assert_eq!(
        world.rows(REFUSED),
        ["id|price|name", "1|1.50|pen", "2|n/a|ink", "3|4.5|cap"]
    );
    assert_eq!(world.column_type(REFUSED, "id"), "Int64");
    world.succeeds("status item");
    world.tell("the hints, typed: without the declaration it is refused again");
    type_hints(&mut world, "snapshot item");
    world.succeeds("show item 2024-03-02 --refused");
    world.refuses(3, "snapshot item --publish 2024-03-02 --force");
    world.tell("declared, a week later");
    world.at("2024-03-09");
    let config = text(&world.bytes("asof.toml"));
    world.write("asof.toml", config + "types = { price = 'text' }\n");
    world.succeeds("snapshot item --publish 2024-03-02");
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    world.succeeds("diff item 2024-03-01 2024-03-02");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.pin("quarantine_type");
}

#[test]
fn a_type_of_a_typed_file_that_changed_is_kept() {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.parquet'\nkey = ['id']\n",
    );
    let ids = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 2])) };
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![10, 20]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["10", "20 each"]));
    world.parquet("item.parquet", &[("id", ids()), ("v", numbers)]);
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.parquet("item.parquet", &[("id", ids()), ("v", texts.clone())]);
    world.refuses(3, "snapshot item");
    assert_eq!(world.rows(REFUSED), ["id|v", "1|10", "2|20 each"]);
    type_hints(&mut world, "snapshot item");
    world.tell("no history could hold both types, so asof.toml has to declare one for all copies");
    world.refuses(3, "snapshot item --publish 2024-03-02 --types v=text");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.parquet'\nkey = ['id']\ntypes = { v = 'text' }\n",
    );
    world.succeeds("snapshot item --publish 2024-03-02");
    world.succeeds("compact item");
    world.tell("the key itself");
    world.at("2024-03-03");
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["10", "2"]));
    world.parquet("item.parquet", &[("id", ids), ("v", texts)]);
    world.refuses(3, "snapshot item");
    world.succeeds("diff item 2024-03-01 --refused 2024-03-03");
    world.succeeds("snapshot item --discard 2024-03-03");
    world.pin("quarantine_typed");
}

#[test]
fn json_and_a_pipe_are_kept_too_and_so_is_what_is_not_of_the_declared_type() {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    let pipe = "snapshot item --source - --source-format ndjson --key id";
    assert_eq!(
        world.asof_reading(pipe, b"{\"id\": 1, \"v\": 1}\n{\"id\": 2, \"v\": 2}\n"),
        0
    );
    world.at("2024-03-02");
    let mixed = b"{\"id\": 1, \"v\": {\"a\": [1, 2]}}\n{\"id\": 2, \"v\": \"x\"}\n";
    assert_eq!(world.asof_reading(pipe, mixed), 3);
    assert_eq!(world.rows(REFUSED), ["id|v", "1|{\"a\":[1,2]}", "2|x"]);
    world.tell("a declared type");
    world.write("item.csv", "id,v\n1,1\n2,two\n");
    let csv = "snapshot item --source item.csv --key id --types v=int64";
    world.refuses(3, csv);
    assert_eq!(world.rows(REFUSED), ["id|v", "1|1", "2|two"]);
    world.succeeds("diff item --refused 2024-03-02");
    world.pin("quarantine_json");
}

/// A table with a copy of the first night, on the second, whose types are declared: `v` is int64
/// and `n` is int8.
fn declared(source: &str) -> World {
    let mut world = World::new();
    world.write(
        "asof.toml",
        format!(
            "lake = 'lake'\n[tables.item]\nsource = '{source}'\nkey = ['id']\n\
             types = {{ v = 'int64', n = 'int8' }}\n"
        ),
    );
    world.at("2024-03-02");
    world
}

#[test]
fn values_of_parquet_that_a_declared_type_does_not_hold_are_kept_in_their_own_type() {
    let mut world = declared("items");
    let ids = |ids: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(ids.to_vec())) };
    let texts = |texts: &[&str]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    // Two columns do not fit, one of them in the second file only.
    let [one, two] = ["items/1.parquet", "items/2.parquet"];
    world.parquet(
        one,
        &[
            ("id", ids(&[3, 1])),
            ("v", texts(&["30", "x"])),
            ("n", ids(&[3, 1])),
        ],
    );
    world.parquet(
        two,
        &[("id", ids(&[2])), ("v", texts(&["20"])), ("n", ids(&[200]))],
    );
    world.refuses(3, "snapshot item --dry-run");
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    world.refuses(3, "snapshot item");
    assert_eq!(
        world.rows(REFUSED),
        ["id|v|n", "1|x|1", "2|20|200", "3|30|3"]
    );
    assert_eq!(world.column_type(REFUSED, "n"), "Int64");
    let reasons = world.footer(REFUSED)["refused"].clone();
    assert_eq!(reasons.as_array().map(Vec::len), Some(2), "{reasons}");
    world.tell(
        "the hints, typed: the types are those that asof.toml declares, so it is refused again",
    );
    type_hints(&mut world, "snapshot item");
    world.tell("published with other types, a week later");
    world.at("2024-03-09");
    world.refuses(
        2,
        "snapshot item --publish 2024-03-02 --types v=text,n=int16",
    );
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'items'\nkey = ['id']\n\
         types = { v = 'text', n = 'int16' }\n",
    );
    world.succeeds("snapshot item --publish 2024-03-02");
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    world.tell("a guard that is for the declared type is not asked of another one");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.dated]\nsource = 'dated.parquet'\nkey = ['id']\n\
         types = { seen = 'date' }\ncolumns.seen = { max_age = '2d' }\n",
    );
    world.parquet(
        "dated.parquet",
        &[("id", ids(&[1])), ("seen", texts(&["soon"]))],
    );
    world.refuses(3, "snapshot dated");
    world.write("dated.csv", "id,seen\n1,soon\n");
    world.refuses(3, "snapshot dated --source dated.csv");
    world.pin("quarantine_declared");
}

#[test]
fn values_of_other_files_that_carry_types_are_kept_and_those_of_databases_are_not() {
    let mut world = declared("item.ndjson");
    world.write(
        "item.ndjson",
        "{\"id\": 1, \"v\": 1.50, \"n\": 7}\n{\"id\": 2, \"v\": {\"a\": 2}, \"n\": 8}\n",
    );
    world.refuses(3, "snapshot item");
    assert_eq!(
        world.rows(REFUSED),
        ["id|v|n", "1|1.50|7", "2|{\"a\":2}|8"],
        "digits as they came, and what fits in its declared type"
    );
    assert_eq!(world.column_type(REFUSED, "n"), "Int8");
    world.tell("a pipe");
    let input = b"{\"id\": 1, \"v\": 0, \"n\": 1}\n{\"id\": 2, \"v\": 0, \"n\": 128}\n";
    let pipe = "snapshot item --source - --source-format ndjson";
    assert_eq!(world.asof_reading(pipe, input), 3);
    assert_eq!(world.rows(REFUSED), ["id|v|n", "1|0|1", "2|0|128"]);
    world.tell("Arrow IPC");
    let column = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let columns = [("id", column(1)), ("v", column(0)), ("n", column(300))];
    let rows = arrow::array::RecordBatch::try_from_iter(columns).expect("rows");
    let mut writer =
        arrow::ipc::writer::FileWriter::try_new(Vec::new(), rows.schema_ref()).expect("a writer");
    writer.write(&rows).expect("written");
    world.write("item.arrow", writer.into_inner().expect("finished"));
    world.refuses(3, "snapshot item --source item.arrow");
    assert_eq!(world.rows(REFUSED), ["id|v|n", "1|0|300"]);
    world.tell("what is refused for another reason, too, is not kept");
    world.write(
        "item.ndjson",
        "{\"id\": 1, \"v\": 0, \"n\": 300}\n{\"id\": 2\n",
    );
    world.refuses(3, "snapshot item");
    assert_eq!(
        world.rows(REFUSED),
        ["id|v|n", "1|0|300"],
        "the copy before"
    );
    #[cfg(feature = "databases")]
    {
        world.tell("a database");
        world.succeeds("snapshot item --discard latest");
        let shop = rusqlite::Connection::open(world.path("shop.db")).expect("a database");
        let made = "CREATE TABLE item (id INTEGER, v INTEGER, n INTEGER);
                    INSERT INTO item VALUES (1, 0, 300)";
        shop.execute_batch(made).expect("a table");
        world.refuses(3, "snapshot item --source sqlite:shop.db");
        assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    }
    world.pin("quarantine_declared_elsewhere");
}

#[test]
fn what_cannot_be_read_to_its_end_is_not_kept_and_the_message_says_so() {
    let mut world = world("id,v\n1,a\n");
    for (what, rows) in [
        ("a row with another number of fields", "id,v\n1,a\n2,b,c\n"),
        ("a quote that is never closed", "id,v\n1,\"a\n2,b\n"),
    ] {
        world.tell(what);
        world.write("item.csv", rows);
        world.refuses(3, "snapshot item");
        let said = text(&world.quietly("snapshot item").stderr);
        assert!(said.contains("nothing of this copy was kept"), "{said}");
    }
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    world.succeeds("status item");
    world.pin("quarantine_nothing");
}

#[test]
fn the_program_of_on_refused_is_told_where_the_copy_is() {
    let mut world = world("id,v\n1,1\n");
    let config = text(&world.bytes("asof.toml"));
    world.write(
        "asof.toml",
        format!("on_refused = 'cat > told.json'\n{config}"),
    );
    world.write("item.csv", "id,v\n1,x\n,y\n");
    assert_eq!(world.asof("snapshot item"), 3);
    let told: serde_json::Value = serde_json::from_slice(&world.bytes("told.json")).expect("JSON");
    assert_eq!(told["rows"], 2);
    assert_eq!(told["path"], REFUSED);
    let footer = world.footer(REFUSED);
    let reasons = footer["refused"].as_array().expect("reasons");
    assert_eq!(reasons.len(), 2, "{reasons:?}");
}
