//! `asof snapshot` without a table, or with several: a failure of one stops no other.

use std::process::Stdio;

use super::environment::{World, send, text};
use super::kills::wait_until;

const CONFIG: &str = "lake = 'lake'

[tables.customer]
source = 'customer.csv'
key = ['id']

[tables.feed]
source = '-'
source_format = 'csv'
key = ['id']

[tables.item]
source = 'item.csv'
key = ['id']

[tables.order]
source = 'order.csv'
key = ['id']

[tables.partner]
snapshots = 'partner'
layout = '%Y-%m-%d.csv'
key = ['id']

[tables.price]
key = ['id']
";

fn shop() -> World {
    let world = World::new();
    world.write("asof.toml", CONFIG);
    world.write("customer.csv", "id;name\n1;Ann\n2;Ben\n");
    world.write("item.csv", "id,name\n1,Bolt\n2,Nut\n");
    world.write("order.csv", "id,total\n1,10\n2,20\n");
    world
}

#[test]
fn a_night_of_every_table() {
    let mut world = shop();
    world.tell("the first night");
    world.succeeds("snapshot");
    world.tell("the second, on which two sources are wrong");
    world.at("2024-03-02");
    world.write("customer.csv", "id;name\n1;Ann\n1;Ben\n");
    std::fs::remove_file(world.path("order.csv")).expect("removed");
    world.write("item.csv", "id,name\n1,Bolt\n3,Gear\n");
    assert_eq!(world.asof("snapshot --dry-run"), 5);
    assert_eq!(world.asof("snapshot"), 5);
    world.tell("the same run again takes only what failed");
    world.write("order.csv", "id,total\n1,10\n");
    assert_eq!(world.asof("snapshot"), 5);
    world.tell("errors alone");
    world.refuses(5, "-q snapshot");
    world.tell("the refused copy is published, and nothing is left to do");
    world.succeeds("snapshot customer --publish latest --dedup 'latest by name'");
    world.succeeds("snapshot");
    world.tell("tables that are named, in the order of their names on the command line");
    world.at("2024-03-03");
    world.succeeds("snapshot order item order");
    world.refuses(5, "snapshot item feed partner");
    world.tell("all fail for one reason");
    world.refuses(3, "snapshot --date 2024-02-28");
    world.pin("every_table");
}

#[test]
fn a_table_that_cannot_be_compacted_stops_no_other() {
    let mut world = shop();
    world.write(
        "asof.toml",
        CONFIG.replacen("key = ['id']", "key = ['id']\ngaps = 'error'", 1)
            + "\n[tables.stock]\nsource = 'order.csv'\nkey = ['id']\n",
    );
    world.succeeds("snapshot");
    world.at("2024-03-03");
    world.tell("after a night without copies, of which one table allows none");
    world.succeeds("snapshot");
    assert_eq!(world.asof("compact"), 5);
    let document = world.json("compact");
    assert_eq!(document[0]["table"], "customer");
    assert_eq!(document[0]["mode"], "failed");
    assert_eq!(document[0]["error"]["exit_code"], 3, "{document}");
    assert_eq!(document[1]["mode"], "up_to_date");
    assert_eq!(world.asof("-q compact customer item"), 5);
    world.tell("alone, and with another one that fails alike");
    assert_eq!(world.asof("compact customer"), 3);
    assert_eq!(world.asof("compact customer stock --gaps error --full"), 3);
    assert_eq!(world.asof("compact customer nothing"), 2);
    world.pin("every_table_compacted");
}

#[test]
fn the_document_of_a_run_has_every_table_and_what_is_wrong_with_it() {
    let world = shop();
    world.write("customer.csv", "id;name;Name\n1;Ann;A\n");
    world.write("item.csv", "id,name\n1,Bolt\n1,Nut\n");
    let output = world.quietly("--json snapshot");
    assert_eq!(output.status.code(), Some(5));
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    let of = |field: &str| {
        let tables = run.as_array().expect("a list").iter();
        let told = tables.map(|table| table[field].as_str().unwrap_or("-").to_owned());
        told.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("table"), "customer feed item order partner price");
    assert_eq!(
        of("outcome"),
        "published skipped failed published skipped skipped"
    );
    assert_eq!(of("reason"), "- standard_input - - external no_source");
    assert_eq!(
        of("snapshot_date"),
        "2024-03-01 - 2024-03-01 2024-03-01 - -"
    );
    let error = &run[2]["error"];
    assert_eq!(
        (&error["kind"], &error["exit_code"]),
        (&"refused".into(), &3.into())
    );
    assert_eq!(
        error["message"],
        "table item, 2024-03-01: duplicate key (id): id=1"
    );
    let hints = error["hints"].as_array().expect("hints");
    assert!(
        hints.contains(&"asof show item 2024-03-01 --refused, to look at it".into()),
        "{hints:?}"
    );
    let note = run[0]["notes"][0].as_str().expect("a note");
    assert!(
        note.starts_with("customer: columns 'name' and 'Name'"),
        "{note}"
    );
    assert!(
        text(&output.stderr).contains(note),
        "the same is told to people"
    );
}

#[test]
fn options_of_one_table_are_refused_without_its_name() {
    let mut world = shop();
    for option in [
        "--source x.csv",
        "--source-table x",
        "--query 'SELECT 1'",
        "--source-format csv",
        "--key id,name",
        "--dedup 'latest by name'",
        "--types id=text",
        "--csv delimiter=|",
        "--publish 2024-03-01",
        "--publish latest",
        "--discard 2024-03-01",
        "--date latest",
        "--date 2024-03-02",
    ] {
        world.refuses(2, &format!("snapshot {option}"));
    }
    world.refuses(2, "snapshot item order --source x.csv");
    world.refuses(2, "snapshot item ordr");
    world.tell("nothing has a source that can be read now");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.feed]\nsource = '-'\n[tables.price]\nkey = ['id']\n",
    );
    world.refuses(2, "snapshot");
    world.write("asof.toml", "lake = 'lake'\n[tables.price]\nkey = ['id']\n");
    world.refuses(2, "snapshot");
    world.write(
        "asof.toml",
        "[tables.item]\nsource = 'item.csv'\nkey = ['id']\n",
    );
    world.refuses(2, "snapshot");
    world.pin("every_table_refusals");
}

#[test]
fn tables_are_the_same_whether_they_are_taken_together_or_alone() {
    let many = |tables: usize| {
        let mut world = World::new();
        let mut config = "lake = 'lake'\n".to_owned();
        for table in 0..tables {
            let name = format!("t{table:02}");
            config += &format!("[tables.{name}]\nsource = '{name}.csv'\nkey = ['id']\n");
            // The first is the largest, and ends last.
            let rows = (0..200 * (tables - table).pow(2)).rev();
            let rows: String = rows.map(|id| format!("{id},{name} {id}\n")).collect();
            world.write(&format!("{name}.csv"), format!("id,name\n{rows}"));
        }
        world.write("asof.toml", config);
        world.at("2024-03-02");
        world
    };
    let together = many(12);
    let run = together.json("snapshot");
    let tables = run.as_array().expect("a list").iter();
    let names: Vec<&str> = tables
        .map(|table| table["table"].as_str().expect("a name"))
        .collect();
    assert!(names.len() == 12 && names.is_sorted(), "{names:?}");
    let alone = many(12);
    for name in &names {
        assert!(alone.quietly(&format!("snapshot {name}")).status.success());
    }
    assert_eq!(together.tree("lake"), alone.tree("lake"));
    let small = many(12);
    assert!(small.quietly("--memory 64MiB snapshot").status.success());
    assert_eq!(together.tree("lake"), small.tree("lake"));
}

#[test]
fn an_interrupted_run_tells_which_tables_it_published() {
    let world = shop();
    assert!(world.quietly("snapshot order").status.success());
    world.write("order.csv", "id,total\n1,11\n");
    // The replacement of this table waits, and the others are taken.
    let folder = "lake/order/snapshots/snapshot_date=2024-03-01";
    let lock = std::fs::File::create(world.path(&format!("{folder}/_asof.lock"))).expect("a lock");
    lock.lock().expect("the lock is held");
    let mut command = world.command("--no-progress --json snapshot --if-exists replace --force");
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("asof starts");
    let object = |table: &str| {
        let path = format!("lake/{table}/snapshots/snapshot_date=2024-03-01/{table}.parquet");
        world.path(&path).exists()
    };
    let is_staged = || {
        let names = world.listing(folder);
        names.iter().any(|name| name.starts_with(".asof-"))
    };
    wait_until(|| object("customer") && object("item") && is_staged());
    send("TERM", &child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(143));
    let said = text(&output.stderr);
    let expected =
        "interrupted by SIGTERM; published before that: customer 2024-03-01; item 2024-03-01";
    assert!(said.contains(expected), "{said}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    let published = &document["error"]["published"];
    assert_eq!(published["item"][0], "2024-03-01");
    assert!(published["order"].is_null(), "{published}");
    assert!(!is_staged());
}

#[test]
fn verbose_output_tells_what_each_table_is_at() {
    let world = shop();
    let output = world.quietly("-v snapshot");
    let said = text(&output.stderr);
    for line in [
        "snapshot: 0 of 3",
        "customer: reading",
        "item: reading",
        "item: writing",
        "order: writing",
        "snapshot: 3 of 3",
    ] {
        assert!(said.lines().any(|told| told == line), "{line}: {said}");
    }
}
