//! `asof check` of the whole of asof.toml, by its settings and, with `--connect`, by what they lead
//! to. Nothing is written: `refuses` compares every file before and after.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::environment::{World, text};

/// A job for each way to read, beside the shop's table and events.
const JOBS: &str = "
[jobs.active]
sql = \"select * from item_events where item_id in (select id from item where status = 'ACTIVE')\"
output = 'active'

[jobs.joined]
events = 'item_events'
table = 'item'
on = ['item_id=id']
select = ['status']
output = 'joined'

[jobs.history]
sql = 'select id, count(*) as n from item_snapshots where snapshot_date <= {date} group by id'
output = 'history'

[jobs.command]
command = ['true']
events = 'item_events'
tables = 'item'
output = 'command'
";

/// The shop with its jobs.
fn shop(nights: usize) -> World {
    let world = World::shop(nights);
    add(&world, JOBS);
    world
}

/// Adds to asof.toml.
fn add(world: &World, settings: &str) {
    let config = text(&world.bytes("asof.toml"));
    world.write("asof.toml", config + settings);
}

#[test]
fn a_project_is_checked_before_its_first_night_and_after_it() {
    let mut world = shop(0);
    world.write("item.csv", "id,name,status,price\n1,Bolt,ACTIVE,1.5\n");
    world.tell("the settings alone");
    world.refuses(0, "check");
    world.tell("nothing was copied yet: jobs are planned against the columns of sources");
    world.refuses(0, "check --connect");
    world.night(1);
    world.succeeds("snapshot");
    world.night(2);
    world.succeeds("snapshot");
    world.tell("after two nights, on the latest date that has events and a copy");
    world.refuses(0, "check --connect");
    world.refuses(0, "check --connect item");
    world.refuses(0, "check --connect history");
    world.succeeds("backfill active joined history --from 2024-03-01 --to 2024-03-02");
    world.succeeds("compact");
    world.tell("with intervals and outputs");
    world.refuses(0, "check --connect");
    let report = world.json("check --connect");
    let parts = report["parts"].as_array().expect("parts");
    let found: Vec<String> = parts
        .iter()
        .map(|part| format!("{} {} {}", part["part"], part["name"], part["state"]).replace('"', ""))
        .collect();
    assert_eq!(
        found,
        [
            "lake lake ok",
            "table item ok",
            "events item_events ok",
            "job active ok",
            "job command ok",
            "job history ok",
            "job joined ok",
        ]
    );
    assert_eq!(report["connected"], true);
    assert_eq!(parts[1]["columns"][3]["type"], "float64", "{report}");
    assert_eq!(parts[2]["date"], "2024-03-02", "{report}");
    assert_eq!(parts[3]["date"], "2024-03-02", "{report}");
    world.pin("projects");
}

#[test]
fn everything_is_checked_even_if_much_is_wrong() {
    let mut world = shop(2);
    world.write("stock.csv", "item_id,n,seen\n1,5,yes\n");
    world.write(
        "codes.ndjson",
        "{\"code\": \"a\", \"n\": 1}\n{\"code\": \"b\", \"n\": 2}\n",
    );
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from(vec![1]))),
        ("name", Arc::new(StringArray::from(vec!["pen"]))),
    ];
    world.parquet("copies/2024-02-28.parquet", &columns);
    world.write("dated.csv", "id,day\n1,2024-02-28\n");
    world.write("clicks/day=2024-02-28/a.csv", "id,at\n1,x\n");
    add(
        &world,
        "
[tables.stock]
source = 'stock.csv'
key = ['id']
types = { n = 'int32' }
dedup = 'latest by at'
where = 'm > 1'
ignore = ['loaded_at']
[tables.stock.columns]
seen = { max_age = '2d' }
sold = { unique = true }
[tables.codes]
source = 'codes.ndjson'
key = ['code']
types = { m = 'int64' }
[tables.fresh]
source = 'stock.csv'
[tables.feed]
source = '-'
source_format = 'csv'
key = ['id']
[tables.known]
key = ['id']
[tables.absent]
source = 'absent.csv'
key = ['id']
[tables.copies]
snapshots = 'copies'
layout = '%Y-%m-%d.parquet'
key = ['id']
[tables.never]
snapshots = 'copies'
layout = 'day=%Y-%m-%d'
key = ['id']
[tables.dated]
snapshots = 'dated.csv'
date_column = 'day'
key = ['id']
[tables.undated]
snapshots = 'dated.csv'
date_column = 'dya'
key = ['id']
[events.clicks]
path = 'clicks'
layout = 'day=%Y-%m-%d'
types = { when = 'date' }
[events.views]
path = 'clicks'
layout = 'date=%Y-%m-%d'
[events.typed]
types = { id = 'text' }
[jobs.wrong_column]
sql = 'select qty, prize from item_events join item on item_id = id'
output = 'a'
[jobs.wrong_table]
sql = 'select * from itme'
output = 'b'
[jobs.of_views]
sql = 'select * from views'
output = 'c'
[jobs.of_absent]
sql = 'select * from item_events join absent on item_id = id'
output = 'd'
[jobs.of_copies]
sql = 'select copies.name from item_events join copies on item_id = copies.id join dated on dated.id = copies.id'
output = 'e'
[jobs.into_events]
sql = 'select * from item_events'
output = 'item_events'
",
    );
    world.refuses(5, "check --connect");
    world.tell("parts alone");
    world.refuses(2, "check --connect wrong_column");
    world.refuses(1, "check --connect absent");
    world.refuses(3, "check --connect stock");
    world.refuses(0, "check --connect feed");
    world.refuses(2, "check --connect itm");
    world.tell("in JSON");
    let report = world.json("check --connect absent");
    let part = &report["parts"][0];
    assert_eq!(
        (&part["state"], &part["problems"][0]["kind"]),
        (&"failed".into(), &"io".into())
    );
    let report = world.json("check --connect of_absent");
    let part = &report["parts"][0];
    assert_eq!(
        (&part["reason"], &part["of"]),
        (&"needs_failed".into(), &"table absent".into())
    );
    let report = world.json("check --connect feed");
    assert_eq!(report["parts"][0]["reason"], "standard_input");
    world.pin("projects_wrong");
}

#[test]
fn settings_that_contradict_the_program_are_found_without_a_look_at_anything() {
    let mut world = World::new();
    world.tell("no asof.toml, and options of one table");
    world.refuses(2, "check");
    world.write("asof.toml", "lake = 'lake'\n");
    world.refuses(0, "check");
    world.refuses(2, "check --source item.csv");
    world.refuses(2, "check --connect --key id");
    world.tell("settings");
    world.write(
        "asof.toml",
        "lake = '${LAKE:-lake}'
[tables.item]
source = '${SHOP_URL}'
key = ['id']
[tables.stock]
source = 'postgres://reader:hunter2@host/shop'
[tables.order]
source = '${SHOP:-postgres://reader:hunter2@host/shop}'
[tables.copies]
snapshots = 'copies'
layout = 'copy'
[events.clicks]
path = 'clicks'
layout = '%Y'
[jobs.nothing]
output = 'a'
[jobs.nowhere]
sql = 'select 1'
[jobs.wrong]
sql = 'selct 1'
output = 'b'
[jobs.join]
table = 'item'
events = 'clicks'
output = 'c'
",
    );
    world.refuses(2, "check");
    assert!(
        !world.transcript().contains("hunter2"),
        "{}",
        world.transcript()
    );
    world.tell("a job is no table");
    world.refuses(2, "check wrong");
    world.pin("projects_settings");
}

#[test]
fn a_variable_has_a_default() {
    let mut world = World::shop(0);
    world.write(
        "asof.toml",
        "lake = '${LAKE:-lake}/dims'\n[tables.item]\nsource = '${ITEMS:-item.csv}'\nkey = ['id']\n",
    );
    world.night(1);
    world.succeeds("snapshot item");
    assert!(world.path("lake/dims/item/snapshots").exists());
    let footer = world.footer("lake/dims/item/snapshots/snapshot_date=2024-03-01/item.parquet");
    assert!(
        footer.to_string().contains("${ITEMS:-item.csv}"),
        "{footer}"
    );
    world.variable("LAKE", "elsewhere");
    world.variable("ITEMS", "");
    world.succeeds("snapshot item");
    assert!(world.path("elsewhere/dims/item/snapshots").exists());
    world.write("asof.toml", "lake = '${LAKE-lake}'\n");
    world.refuses(2, "status");
    world.pin("variables");
}

#[test]
fn large_files_are_looked_at_and_not_read() {
    let mut world = World::new();
    world.at("2024-03-01");
    world.write(
        "asof.toml",
        "lake = 'lake'
[tables.rows]
source = 'rows.csv'
key = ['id']
[tables.objects]
source = 'objects.json'
key = ['id']
[tables.lines]
source = 'lines.ndjson'
key = ['id']
[tables.parts]
source = 'parts'
key = ['id']
",
    );
    // What is wrong after the first rows is not for a look to find.
    let rows: String = (0..3_000).map(|id| format!("{id},x\n")).collect();
    world.write("rows.csv", format!("id,name\n{rows}1,2,3\n"));
    let object = |id: usize| format!("{{\"id\": {id}, \"name\": \"{}\"}}", "x".repeat(1_000));
    let objects: Vec<String> = (0..9_000).map(object).collect();
    world.write("objects.json", format!("[{}, broken]", objects.join(",\n")));
    world.write("lines.ndjson", objects.join("\n") + "\nbroken\n");
    for part in 0..20 {
        world.write(&format!("parts/{part:02}.csv"), format!("id\n{part}\n"));
    }
    world.refuses(0, "check --connect");
    for table in ["rows", "objects", "lines"] {
        assert_eq!(
            world.quietly(&format!("check {table}")).status.code(),
            Some(3),
            "{table}"
        );
    }
    world.pin("projects_large");
}

#[test]
fn editors_are_given_the_schema_of_the_program() {
    let mut world = World::new();
    world.succeeds("init --schema");
    let schema = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/asof.schema.json"
    ));
    assert_eq!(world.bytes("asof.schema.json"), schema.expect("the schema"));
    assert!(text(&world.bytes("asof.toml")).starts_with("#:schema ./asof.schema.json\n"));
    world.tell("again, and beside an asof.toml that does not name it");
    world.succeeds("init --schema");
    world.write("asof.toml", "lake = 'lake'\n");
    world.succeeds("init --schema");
    world.refuses(2, "init");
    assert_eq!(text(&world.bytes("asof.toml")), "lake = 'lake'\n");
    world.pin("init_schema");
}
