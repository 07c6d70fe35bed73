//! SCD type 2 tables: those of other tools, adopted; and those that asof writes for a warehouse.
//!
//! `fixtures/dbt` was made by dbt-duckdb. `tests/run --dbt` makes it anew with the dbt that it
//! installs.

use std::path::Path;
use std::process::Command;

use super::environment::{World, text};

const DBT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/dbt");
const DAYS: [&str; 5] = [
    "2024-09-13",
    "2024-09-14",
    "2024-09-15",
    "2024-09-16",
    "2024-09-17",
];
/// The shape of the second table of `fixtures/dbt`, where nothing has dbt's own names.
const RECORDS: &str = "adopt records item_records.parquet --preset dbt --key id --start-column \
                       start_date --end-column end_date --deleted-column gone --leave-out \
                       scd_id,changed_at";

/// What dbt made of five nights, on the day after them.
fn nights_of_dbt(made: &Path) -> World {
    let mut world = World::new();
    world.at("2024-09-18");
    world.write("asof.toml", "lake = 'lake'\n");
    for file in DAYS.into_iter().chain(["item_history", "item_records"]) {
        let name = format!("{file}.parquet");
        world.write(&name, std::fs::read(made.join(&name)).expect("a file"));
    }
    world
}

/// Each day of a table is what the source held on it.
#[track_caller]
fn every_day_is_as_it_was(world: &World, table: &str) {
    for day in DAYS {
        let out = format!("shown-{table}-{day}.parquet");
        let shown = world.quietly(&format!("show {table} {day} --out {out}"));
        assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
        assert_eq!(
            world.rows(&out),
            world.rows(&format!("{day}.parquet")),
            "{table} on {day}"
        );
        std::fs::remove_file(world.path(&out)).expect("removed");
    }
}

fn adopt_what_dbt_made(world: &mut World) {
    world.refuses(0, "adopt item item_history.parquet --preset dbt --key id");
    world.succeeds("adopt item item_history.parquet --preset dbt --key id --write");
    every_day_is_as_it_was(world, "item");
    world.succeeds("verify item");
    world.succeeds("status item");
    world.succeeds("history item 2");
    world.succeeds("diff item 2024-09-15 2024-09-16");
    world.tell("once more");
    world.refuses(
        0,
        "adopt item item_history.parquet --preset dbt --key id --write",
    );
    world.tell(
        "other names, records of deletions, a date in the place of null, and a copy of each day",
    );
    world.succeeds(&format!("{RECORDS} --write --expand"));
    every_day_is_as_it_was(world, "records");
    world.succeeds("verify records");
    world.refuses(0, "compact records");
}

#[test]
fn a_table_of_dbt_is_adopted_and_each_day_is_as_it_was() {
    let mut world = nights_of_dbt(Path::new(DBT));
    adopt_what_dbt_made(&mut world);
    world.pin("scd2_adopted");
}

#[test]
#[ignore = "needs dbt: tests/run --dbt"]
fn what_dbt_makes_today_is_adopted_too() {
    let python = std::env::var("ASOF_TEST_DBT").expect("ASOF_TEST_DBT is not set: tests/run --dbt");
    let folder = tempfile::tempdir().expect("a folder");
    let made = Command::new(python)
        .arg(Path::new(DBT).join("make.py"))
        .arg(folder.path())
        .output()
        .expect("Python starts");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let mut world = nights_of_dbt(folder.path());
    adopt_what_dbt_made(&mut world);
}

#[test]
fn the_nights_go_on_from_an_adopted_table() {
    let mut world = nights_of_dbt(Path::new(DBT));
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\nmax_delete = '50%'\n",
    );
    world.succeeds("-q adopt item item_history.parquet --preset dbt --write");
    world.tell("the first night is compared with the last adopted date");
    world.write("item.csv", "id,name,status,price\n1,Bolt,ACTIVE,1.5\n");
    world.refuses(3, "snapshot item");
    world.write(
        "item.csv",
        "id,name,status,price\n1,Bolt,ACTIVE,1.5\n2,Nut,OLD,0.5\n4,Pin,NEW,2.0\n5,Rod,NEW,7\n",
    );
    world.succeeds("snapshot item");
    world.succeeds("compact item");
    every_day_is_as_it_was(&world, "item");
    world.succeeds("history item 2");
    world.succeeds("verify item");
    world.succeeds("prune item --keep-last 1 --dry-run");
    world.tell("the adopted dates are those of no copy, so nothing can compute them anew");
    world.refuses(3, "compact item --full");
    world.tell("jobs of adopted dates");
    world.write("sales/date=2024-09-14/s.csv", "sale,item\n1,1\n2,2\n3,3\n");
    world.succeeds(
        "backfill --events sales --events-layout date=%Y-%m-%d --table item --on item=id --how left \
         --select status,price --out out --from 2024-09-14 --to 2024-09-14",
    );
    assert_eq!(
        world.rows("out/date=2024-09-14/out.parquet"),
        [
            "sale|item|status|price",
            "1|1|ACTIVE|1.75",
            "2|2|null|null",
            "3|3|null|3.0"
        ]
    );
    world.tell("later, the adoption is still what it was");
    world.refuses(0, "adopt item item_history.parquet --preset dbt --write");
    world.tell("its copies again");
    world.succeeds("expand item --from 2024-09-14 --to 2024-09-16 --out lake/item/snapshots");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.pin("scd2_nights");
}

const DAMAGED: &str = "\
id,name,valid_from,valid_to
1,Bolt,2024-01-01 10:00:00,2024-01-04 10:00:00
1,Bolt 2,2024-01-03 10:00:00,
2,Nut,2024-01-02 10:00:00,2024-01-01 10:00:00
3,Cog,2024-01-02 10:00:00,
3,Cog,2024-01-02 10:00:00,
,Rod,2024-01-02 10:00:00,
5,Pin,,
6,Cap,2024-01-02 10:00:00,2099-01-01 00:00:00
7,Hub,2024-01-02 10:00:00,2024-01-03 10:00:00
7,Hub,2024-01-05 10:00:00,2024-01-05 11:00:00
7,Hub 2,2024-01-05 11:00:00,2024-01-05 12:00:00
7,Hub 2,2024-01-05 12:00:00,
";

#[test]
fn a_damaged_table_is_refused_with_what_is_wrong_and_where() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n");
    world.write("item.csv", DAMAGED);
    let adopt = "adopt item item.csv --preset sqlmesh --key id";
    world.refuses(3, adopt);
    world.refuses(3, &format!("{adopt} --write -v"));
    let report = world.json(adopt);
    let problems = report["problems"].as_array().expect("problems");
    let kinds: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem["kind"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "null_key",
            "null_start",
            "end_before_start",
            "overlap",
            "duplicate",
            "future"
        ]
    );
    assert_eq!(
        problems[3]["examples"][0],
        serde_json::json!({
            "key": "id=1",
            "column": "valid_from",
            "value": "2024-01-03T10:00:00",
            "note": "another version holds from 2024-01-01T10:00:00 to before 2024-01-04T10:00:00"
        })
    );
    world.tell("what is not known");
    world.refuses(2, "adopt item item.csv --key id");
    world.refuses(2, "adopt item item.csv --preset sqlmesh");
    world.refuses(2, "adopt item item.csv --preset dbt --key id");
    world.refuses(2, "adopt item item.csv --preset sqlmesh --key idd");
    world.refuses(2, "adopt item item.csv --preset sqlmesh --key valid_from");
    world.refuses(2, &format!("{adopt} --end-column name"));
    world.refuses(2, &format!("{adopt} --to 2030-01-01"));
    world.refuses(2, &format!("{adopt} --end both"));
    world.refuses(2, &format!("{adopt} --expand"));
    world.refuses(3, &format!("{adopt} --deleted-column name"));
    world.refuses(1, "adopt item itm.csv --preset sqlmesh --key id");
    world.tell("ends that are open, and what is left");
    world.write(
        "right.csv",
        "id,name,valid_from,valid_to\n6,Cap,2024-01-02 10:00:00,2099-01-01 00:00:00\n",
    );
    world.refuses(3, "adopt item right.csv --preset sqlmesh --key id");
    world.refuses(
        0,
        "adopt item right.csv --preset sqlmesh --key id --open-end 2099-01-01",
    );
    world.write("none.csv", "id,name,valid_from,valid_to\n");
    world.refuses(3, "adopt item none.csv --preset sqlmesh --key id");
    world.write(
        "old.csv",
        "id,name,valid_from,valid_to\n6,Cap,1600-01-02 10:00:00,2024-01-01 00:00:00\n",
    );
    world.refuses(3, "adopt item old.csv --preset sqlmesh --key id");
    world.pin("scd2_damaged");
}

#[test]
fn inclusive_ends_marks_and_copies_in_the_way() {
    let mut world = World::new();
    world.at("2024-02-01");
    world.write("asof.toml", "lake = 'lake'\n");
    world.write(
        "fivetran.csv",
        "id,name,_fivetran_start,_fivetran_end,_fivetran_active,_fivetran_synced\n\
         1,Bolt,2024-01-01T08:00:00.000Z,2024-01-03T07:59:59.999Z,false,2024-01-03T09:00:00Z\n\
         1,Bolt 2,2024-01-03T08:00:00.000Z,9999-12-31T23:59:59.999Z,true,2024-01-03T09:00:00Z\n\
         2,Nut,2024-01-01T08:00:00.000Z,9999-12-31T23:59:59.999Z,false,2024-01-03T09:00:00Z\n",
    );
    world.tell("a mark that contradicts an end");
    world.refuses(3, "adopt item fivetran.csv --preset fivetran --key id");
    world.tell("days, inclusive, without a preset");
    world.write(
        "days.csv",
        "region,id,name,active_from,active_to,sk\n\
         EU,1,Bolt,2024-01-01,2024-01-02,a\n\
         EU,1,Bolt 2,2024-01-03,9999-12-31,b\n\
         US,1,Nut,2024-01-02,2024-01-02,c\n",
    );
    let adopt = "adopt days days.csv --start-column active_from --end-column active_to --end \
                 inclusive --key region,id --leave-out sk";
    world.succeeds(&format!("{adopt} --write --to 2024-01-31"));
    assert_eq!(
        world.rows("lake/days/intervals/days.parquet"),
        [
            "region|id|name|active_start|active_end",
            "EU|1|Bolt|2024-01-01|2024-01-02",
            "EU|1|Bolt 2|2024-01-03|9999-12-31",
            "US|1|Nut|2024-01-02|2024-01-02",
        ]
    );
    world.succeeds("show days latest");
    world.tell("copies and intervals that are in the way");
    world.refuses(3, &format!("{adopt} --write --from 2024-01-02"));
    world.write("item.csv", "region,id,name\nEU,1,Bolt\n");
    world.succeeds("snapshot other --source item.csv --key region,id --date 2024-01-02 --backdate");
    let other = adopt.replace("adopt days", "adopt other");
    world.refuses(3, &format!("{other} --write"));
    world.succeeds(&format!("{other} --write --to 2024-01-01 --dates changed"));
    world.succeeds("compact other");
    world.succeeds("verify");
    world.pin("scd2_inclusive");
}

/// Runs Python with DuckDB in the world's folder, and reads the JSON document that it prints.
fn python(world: &World, script: &str) -> serde_json::Value {
    let python = std::env::var("ASOF_TEST_PYTHON").expect("ASOF_TEST_PYTHON: tests/run sets it");
    let output = Command::new(python)
        .arg("-c")
        .arg(script)
        .current_dir(world.path(""))
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Five nights of dbt's source, as copies of asof's own.
fn five_nights() -> World {
    let mut world = nights_of_dbt(Path::new(DBT));
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nkey = ['id']\n[tables.item.scd2]\ncurrent_column = \
         'is_current'\nversion_column = 'version'\nsurrogate_key = 'item_sk'\ndeleted_column = \
         'is_deleted'\n",
    );
    for day in DAYS {
        world.at(day);
        world.succeeds(&format!("-q snapshot item --source {day}.parquet"));
    }
    world
}

#[test]
fn a_warehouse_gets_the_columns_that_it_expects() {
    let mut world = five_nights();
    world.succeeds("compact item");
    let rows = world.rows("lake/item/scd2/item.parquet");
    let header =
        "id|name|status|price|active_start|active_end|is_current|version|item_sk|is_deleted";
    assert_eq!(rows[0], header);
    let without_key = |row: &String| {
        let mut cells: Vec<&str> = row.split('|').collect();
        cells.remove(8);
        cells.join("|")
    };
    let rows: Vec<String> = rows[1..].iter().map(without_key).collect();
    assert_eq!(
        rows,
        [
            "1|Bolt|ACTIVE|1.5|2024-09-13|2024-09-13|false|1|false",
            "1|Bolt|ACTIVE|1.75|2024-09-14|2024-09-15|false|2|false",
            "1|Bolt|ACTIVE|1.5|2024-09-16|9999-12-31|true|3|false",
            "2|Nut|ACTIVE|0.25|2024-09-13|2024-09-13|false|1|false",
            "2|Nut|ACTIVE|0.25|2024-09-14|2024-09-15|false|2|true",
            "2|Nut|ACTIVE|0.25|2024-09-16|2024-09-16|false|3|false",
            "2|Nut|OLD|0.25|2024-09-17|9999-12-31|true|4|false",
            "3|Cog|null|3.0|2024-09-13|2024-09-14|false|1|false",
            "3|Cog|GONE|3.0|2024-09-15|2024-09-15|false|2|false",
            "3|Cog|GONE|3.0|2024-09-16|9999-12-31|false|3|true",
            "4|Pin|NEW|null|2024-09-15|2024-09-16|false|1|false",
            "4|Pin|NEW|2.0|2024-09-17|9999-12-31|true|2|false",
        ]
    );
    world.tell("the intervals have none of these columns");
    world.succeeds("show item latest");
    world.succeeds("verify item");
    world.refuses(0, "compact item");
    let read = python(
        &world,
        "import duckdb, json
item = duckdb.read_parquet('lake/item/scd2/item.parquet')
print(json.dumps([
    duckdb.sql('select count(*) from item where is_current').fetchall()[0][0],
    duckdb.sql(\"select count(*) from item where item_sk = md5(concat_ws('|', id, active_start))\").fetchall()[0][0],
    duckdb.sql('select count(distinct item_sk) from item').fetchall()[0][0],
    [str(type) for type in item.types[6:]],
]))",
    );
    assert_eq!(
        read,
        serde_json::json!([3, 12, 12, ["BOOLEAN", "BIGINT", "VARCHAR", "BOOLEAN"]])
    );
    world.pin("scd2_warehouse");
}

#[test]
fn night_after_night_gives_a_warehouse_the_bytes_of_a_full_run() {
    let mut nightly = nights_of_dbt(Path::new(DBT));
    let mut config = "lake = 'lake'\n[tables.item]\nkey = ['id']\n".to_owned();
    nightly.write("asof.toml", &config);
    for day in DAYS {
        nightly.at(day);
        nightly.succeeds(&format!("-q snapshot item --source {day}.parquet"));
        // The first night says it, and the others keep it.
        nightly.succeeds(match day == DAYS[0] {
            true => {
                "-q compact item --current-column is_current --version-column version \
                 --surrogate-key item_sk --deleted-column is_deleted"
            }
            false => "-q compact item",
        });
    }
    let mut full = five_nights();
    full.succeeds("-q compact item --full");
    let table = "lake/item/scd2/item.parquet";
    assert!(nightly.bytes(table) == full.bytes(table));
    nightly.succeeds("-q compact item --full");
    assert!(nightly.bytes(table) == full.bytes(table));
    nightly.tell("a column less, and another place");
    nightly.succeeds("compact item --surrogate-key ''");
    assert!(!nightly.rows(table)[0].contains("item_sk"));
    config.push_str("scd2 = { path = 'bi', current_column = 'is_current' }\n");
    nightly.write("asof.toml", &config);
    nightly.refuses(0, "compact item --dry-run");
    nightly.succeeds("compact item");
    assert_eq!(
        nightly.rows("bi/item.parquet")[0],
        "id|name|status|price|active_start|active_end|is_current"
    );
    nightly.tell("of intervals that are elsewhere");
    nightly.succeeds(
        "compact item --out out.parquet --end exclusive --open-end null --scd2 out-scd2.parquet \
         --deleted-column is_deleted",
    );
    assert!(
        nightly
            .rows("out-scd2.parquet")
            .contains(&"2|Nut|ACTIVE|0.25|2024-09-14|2024-09-16|true".to_owned())
    );
    nightly.tell("names and places that are taken");
    nightly.refuses(2, "compact item --full --current-column Status");
    nightly.refuses(2, "compact item --version-column active_end");
    nightly.refuses(2, "compact item --current-column x --version-column x");
    nightly.refuses(2, "compact item --out out.parquet --current-column x");
    nightly.refuses(2, "compact item --out out.parquet --scd2 out.parquet");
    nightly.refuses(2, "compact item --scd2 2024-09-13.parquet");
    nightly.refuses(2, "compact item --scd2 lake/item/intervals/x.parquet");
    nightly.refuses(2, "compact item --scd2 item.csv");
    nightly.pin("scd2_nightly");
}
