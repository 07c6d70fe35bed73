//! `asof check`: what is understood of a source, before anything is written.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::environment::World;

fn world() -> World {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    world.at("2024-03-31");
    world
}

/// Runs a command that must succeed and leave every file as it was.
#[track_caller]
fn looks(world: &mut World, line: &str) {
    world.refuses(0, line);
}

#[test]
fn a_source_is_described_and_the_suggested_setting_reads_it() {
    let mut world = world();
    world.write("item.csv", "id;name;price\n1;Stift;1,50\n2;Heft;12,00\n");
    looks(&mut world, "check item --source item.csv --key id");
    world.tell("what the note says, typed");
    looks(
        &mut world,
        "check item --source item.csv --key id --csv decimal=,",
    );
    world.tell("thousands too, in a file with four rows, of which three are shown");
    world.write("item.csv", "id;price\n1;1.234,50\n2;7\n3;\n4;0,5\n");
    looks(&mut world, "check item --source item.csv --key id");
    looks(
        &mut world,
        "check item --source item.csv --key id --csv decimal=,,thousands=. --types id=text",
    );
    world.tell("snapshot and compact say it too");
    world.succeeds("snapshot item --source item.csv --key id");
    world.write("copies/2024-03-01.csv", "id;price\n1;1,5\n");
    world.succeeds("compact --snapshots copies --layout %Y-%m-%d.csv --key id --out item.parquet");
    let report = world.json("check item --source item.csv --csv decimal=,,thousands=.");
    assert_eq!(
        report["columns"][1]["type_from"], "pinned",
        "the last snapshot has it as text"
    );
    let report = world.json("check other --source item.csv --key id");
    assert_eq!(report["rows"], 4);
    assert_eq!(report["format"], "csv");
    assert_eq!(
        report["read_as"],
        serde_json::json!([{ "encoding": "UTF-8", "delimiter": ";", "detected": ["delimiter"] }])
    );
    assert_eq!(report["columns"][1]["nulls"], 1);
    assert_eq!(report["first_rows"].as_array().map(Vec::len), Some(3));
    assert_eq!(report["first_rows"][2], serde_json::json!(["3", null]));
    assert!(
        report["notes"][0]
            .as_str()
            .is_some_and(|note| note.ends_with(": --csv decimal=,,thousands=.")),
        "{report}"
    );
    world.pin("check_sources");
}

#[test]
fn a_check_says_where_types_come_from() {
    let mut world = world();
    world.write(
        "asof.toml",
        "[tables.item]\nsource = 'in/**/*.csv'\nkey = ['id']\ntypes = { zip = 'text' }\n",
    );
    world.write("in/country=DE/a.csv", "id,zip,n,price\n1,02134,1,2\n");
    world.write("in/country=FR/b.csv", "id,zip,n,price\n2,75001,2,3\n");
    world.succeeds("snapshot item");
    world.at("2024-04-01");
    world.write(
        "in/country=FR/b.csv",
        "id,zip,n,price,new\n2,75001,2,3.5,x\n",
    );
    looks(&mut world, "check item");
    let report = world.json("check item");
    let from = report["columns"].as_array().expect("columns").iter();
    let from: Vec<_> = from
        .map(|column| format!("{} {}", column["name"], column["type_from"]).replace('"', ""))
        .collect();
    assert_eq!(
        from,
        [
            "id pinned",
            "zip declared",
            "n pinned",
            "price widened",
            "new inferred",
            "country folder"
        ]
    );
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("name", Arc::new(StringArray::from(vec![Some("a"), None]))),
    ];
    world.parquet("typed.parquet", &columns);
    looks(&mut world, "check typed --source typed.parquet --key id");
    world.tell("without a key");
    looks(&mut world, "check typed --source typed.parquet");
    world.pin("check_types");
}

#[test]
fn copies_and_events_are_checked_on_one_date() {
    let mut world = world();
    world.write(
        "asof.toml",
        "[tables.item]\nsnapshots = 'copies'\nlayout = '%Y-%m-%d.csv'\nkey = ['id']\n\
         [tables.stock]\nsnapshots = 'stock.csv'\ndate_column = 'day'\nkey = ['id']\n\
         [events.clicks]\npath = 'clicks'\nlayout = 'date=%Y-%m-%d'\n\
         [events.visits]\npath = 'visits.csv'\ndate_column = 'at'\n",
    );
    world.write("copies/2024-01-01.csv", "id,name\n1,old\n");
    world.write("copies/2024-03-30.csv", "id,name\n1,new\n2,new\n");
    world.write(
        "stock.csv",
        "id,n,day\n1,5,2024-03-01\n1,6,2024-03-02\n2,7,2024-03-02\n",
    );
    world.write("clicks/date=2024-03-29/a.csv", "id\tx\n1\t2\n");
    world.write("clicks/date=2024-03-30/a.csv", "id\tx\n3\t4\n");
    world.write(
        "visits.csv",
        "id,at\n1,2024-03-01 10:00:00\n2,2024-03-02 11:00:00\n",
    );
    for line in [
        "check item",
        "check item --date 2024-01-01",
        "check stock",
        "check stock --date 2024-03-01",
        "check clicks",
        "check clicks --date 2024-03-29",
        "check clicks --source clicks/date=2024-03-29/a.csv --types x=text",
        "check visits",
    ] {
        looks(&mut world, line);
    }
    world.refuses(3, "check item --date 2024-01-02");
    world.refuses(3, "check visits --date 2024-01-02");
    world.refuses(2, "check clicks --key id");
    world.pin("check_dates");
}

#[test]
fn a_check_finds_what_a_snapshot_would_refuse() {
    let mut world = world();
    world.tell("keys");
    world.write("twice.csv", "id,a\n1,x\n2,y\n1,z\n");
    world.write("null.csv", "id,a\n1,x\n,y\n");
    world.refuses(3, "check t --source twice.csv --key id");
    world.refuses(3, "check t --source null.csv --key id");
    world.refuses(2, "check t --source twice.csv --key idd");
    world.tell("a rule says which row of a key counts");
    let latest = "check t --source twice.csv --key id --dedup 'latest by a'";
    looks(&mut world, latest);
    let report = world.json(latest);
    assert_eq!(
        (&report["rows"], &report["dropped_rows"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        report["first_rows"],
        serde_json::json!([["1", "z"], ["2", "y"]])
    );
    world.refuses(
        2,
        "check t --source twice.csv --key id --dedup 'latest by b'",
    );
    world.tell("values and types");
    world.write("x.csv", "id,a\n1,7\n");
    world.succeeds("snapshot t --source x.csv --key id");
    world.write("x.csv", "id,a\n1,seven\n");
    world.refuses(3, "check t --source x.csv");
    world.parquet(
        "x.parquet",
        &[
            ("id", Arc::new(Int64Array::from(vec![1]))),
            ("a", Arc::new(StringArray::from(vec!["seven"]))),
        ],
    );
    world.refuses(3, "check t --source x.parquet");
    let report = world.json("check t --source x.parquet");
    assert_eq!(
        (
            &report["problems"][0]["kind"],
            &report["problems"][0]["exit_code"]
        ),
        (&"refused".into(), &3.into())
    );
    world.tell("command lines");
    world.refuses(2, "check nothing");
    world.refuses(2, "check t --source x.csv --date 2024-01-01");
    world.refuses(1, "check t --source absent.csv");
    world.pin("check_refused");
}

#[test]
fn a_dialect_for_files_that_have_none_is_refused() {
    let mut world = world();
    let rows = || -> Vec<(&str, ArrayRef)> { vec![("id", Arc::new(Int64Array::from(vec![1])))] };
    world.parquet("x.parquet", &rows());
    world.write("x.ndjson", "{\"id\": 1}\n");
    for source in ["x.parquet", "x.ndjson"] {
        world.refuses(
            2,
            &format!("check t --source {source} --key id --csv delimiter=;"),
        );
        world.refuses(
            2,
            &format!("snapshot t --source {source} --key id --csv delimiter=;"),
        );
    }
    world.parquet("copies/2024-03-01.parquet", &rows());
    world.refuses(
        2,
        "compact --snapshots copies --layout %Y-%m-%d.parquet --key id --out \
         t.parquet --csv delimiter=;",
    );
    world.succeeds("snapshot t --source x.parquet --key id");
    world.refuses(2, "compact t --csv delimiter=;");
    world.parquet("events/date=2024-03-31/e.parquet", &rows());
    let events = "backfill --events events --events-layout date=%Y-%m-%d --table t --on id --from \
     2024-03-31 --to 2024-03-31 --out out";
    world.refuses(2, &format!("{events} --csv delimiter=;"));
    world.tell("a dialect in asof.toml is that of the files that have one");
    world.write(
        "asof.toml",
        "[tables.t.csv]\ndelimiter = ';'\n[events.events.csv]\ndelimiter = ';'\n",
    );
    world.succeeds(events);
    world.tell("what was detected of events is in the report");
    world.write("clicks/date=2024-03-31/e.csv", "id\ta\n1\tx\n");
    let report = world.json(
        "backfill --events clicks --events-layout date=%Y-%m-%d --table t --on id --from \
         2024-03-31 --to 2024-03-31 --out clicked",
    );
    let expected = serde_json::json!({ "clicks": [{ "encoding": "UTF-8", "delimiter": "\t", "detected": ["delimiter"] }] });
    assert_eq!(report[0]["detected"], expected);
    world.pin("check_csv_of_others");
}

#[test]
fn a_file_is_checked_by_its_name_without_a_lake() {
    let mut world = World::new();
    world.at("2024-03-31");
    world.write("exports/item.2024.csv", "id,name\n1,pen\n1,ink\n");
    looks(&mut world, "check exports/item.2024.csv");
    world.refuses(3, "check exports/item.2024.csv --key id");
    looks(&mut world, "check item --source exports/item.2024.csv");
    world.tell("a file that does not exist");
    world.refuses(1, "check exports/item.2O24.csv");
    world.pin("check_files");
}
