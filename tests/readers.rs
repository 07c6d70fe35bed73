//! DuckDB and pandas read what asof writes, as it lies.

use std::process::Command;

use crate::journeys::environment::{World, text};

/// Runs Python in the world's folder and reads the JSON document that it prints.
pub(crate) fn python(world: &World, script: &str) -> serde_json::Value {
    let python = std::env::var("ASOF_TEST_PYTHON").expect(
        "ASOF_TEST_PYTHON is not set: run the tests with tests/run, which installs DuckDB \
         and pandas",
    );
    let output = Command::new(python)
        .arg("-c")
        .arg(script)
        .current_dir(world.path(""))
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

fn shop() -> World {
    let mut world = World::shop(3);
    world.succeeds("compact item");
    world.succeeds(
        "backfill --events item_events --table item --on item_id=id --how left --out \
         joined --from 2024-03-01 --to 2024-03-03",
    );
    world
}

#[test]
fn duckdb_reads_snapshots_by_date() {
    let counts = python(
        &shop(),
        "import duckdb, json
rows = duckdb.sql(\"\"\"select snapshot_date, count(*) from read_parquet('lake/item/snapshots/*/*.parquet', hive_partitioning=true)
    group by 1 order by 1\"\"\").fetchall()
print(json.dumps([[str(date), count] for date, count in rows]))",
    );
    assert_eq!(
        counts,
        serde_json::json!([["2024-03-01", 3], ["2024-03-02", 4], ["2024-03-03", 3]])
    );
}

#[test]
fn duckdb_gets_each_snapshot_back_from_intervals() {
    let differences = python(
        &shop(),
        "import duckdb, json
found = []
for day in ['2024-03-01', '2024-03-02', '2024-03-03']:
    snapshot = f\"select id, name, status, price from 'lake/item/snapshots/snapshot_date={day}/item.parquet'\"
    interval = f\"\"\"select id, name, status, price from 'lake/item/intervals/item.parquet'
        where active_start <= DATE '{day}' and active_end >= DATE '{day}'\"\"\"
    for one, other in [(snapshot, interval), (interval, snapshot)]:
        found.append(duckdb.sql(f'select count(*) from (({one}) except all \
         ({other}))').fetchall()[0][0])
types = dict(duckdb.sql(\"select column_name, column_type from (describe select * from \
         'lake/item/intervals/item.parquet')\").fetchall())
print(json.dumps([found, types]))",
    );
    assert_eq!(
        differences,
        serde_json::json!([
            [0, 0, 0, 0, 0, 0],
            { "id": "BIGINT", "name": "VARCHAR", "status": "VARCHAR", "price": "DOUBLE", "active_start": "DATE", "active_end": "DATE" }
        ])
    );
}

#[test]
fn duckdb_finds_the_footer() {
    let mut footers = python(
        &shop(),
        "import duckdb, json
found = []
for path in ['lake/item/snapshots/snapshot_date=2024-03-02/item.parquet', \
         'lake/item/intervals/item.parquet', 'joined/date=2024-03-02/joined.parquet']:
    rows = duckdb.sql(f\"select decode(value) from parquet_kv_metadata('{path}') where \
         decode(key) = 'asof'\").fetchall()
    found.append(json.loads(rows[0][0]))
print(json.dumps(found))",
    );
    assert_eq!(footers.as_array().expect("three footers").len(), 3);
    // The time of writing is in the tag of a file on a local disk.
    footers[2]["events"]["item_events"][0]["etag"] = "[ETAG]".into();
    for footer in footers.as_array_mut().expect("three footers") {
        assert_eq!(footer["asof_version"], env!("CARGO_PKG_VERSION"));
        footer["asof_version"] = "[VERSION]".into();
    }
    crate::journeys::environment::pin(
        "footers",
        &serde_json::to_string_pretty(&footers).expect("JSON"),
    );
}

#[test]
fn duckdb_and_pandas_read_outputs() {
    let outputs = python(
        &shop(),
        "import duckdb, json, pandas
counts = duckdb.sql(\"select count(*), count(price) from read_parquet('joined/*/*.parquet', \
         hive_partitioning=true)\").fetchall()[0]
frame = pandas.read_parquet('joined/date=2024-03-01/joined.parquet')
print(json.dumps([counts, list(frame.columns), len(frame), int(frame['price'].notna().sum())]))",
    );
    let columns = [
        "event_id",
        "item_id",
        "qty",
        "name",
        "name_item",
        "status",
        "price",
    ];
    assert_eq!(outputs, serde_json::json!([[10, 7], columns, 4, 2]));
}

#[test]
fn pandas_reads_types_as_they_are() {
    let world = World::new();
    world.write(
        "thing.ndjson",
        "{\"id\":1,\"name\":\"a\",\"at\":{\"lat\":1.5,\"lon\":2},\"tags\":[\"x\",\"y\"],\"on\":true,\"day\":\"2024-01-31\",\"never\":null}\n\
         {\"id\":2,\"name\":null,\"at\":null,\"tags\":[],\"on\":null,\"day\":null,\"never\":null}\n",
    );
    assert_eq!(
        world
            .quietly("snapshot thing --lake lake --source thing.ndjson --key id")
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        world.quietly("compact thing --lake lake").status.code(),
        Some(0)
    );
    let types = python(
        &world,
        "import json, pandas, pyarrow.parquet
frame = pandas.read_parquet('lake/thing/snapshots/snapshot_date=2024-03-01/thing.parquet')
schema = pyarrow.parquet.read_schema('lake/thing/intervals/thing.parquet')
first = frame.iloc[0]
print(json.dumps([{name: str(kind) for name, kind in frame.dtypes.items()}, \
         {name: str(schema.field(name).type) for name in schema.names},
    first['at'], list(first['tags']), bool(frame['never'].isna().all())]))",
    );
    crate::journeys::environment::pin(
        "types_in_python",
        &serde_json::to_string_pretty(&types).expect("JSON"),
    );
}

/// The code of a language in the README's section on reading.
fn snippets(language: &str) -> String {
    let readme = include_str!("../README.md");
    let section = readme
        .split("## Reading what it writes")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("a section");
    let blocks = section.split("```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A lake with the README's table, on whose second day one column gets its first value, another one
/// a fraction, and one appears.
fn changed() -> World {
    let mut world = World::new();
    let days = [
        "id,lid,price\n1,,5\n2,,6\n",
        "id,lid,price,new\n1,,5,a\n2,X1,5.6,b\n",
        "id,lid,price,new\n2,X1,5.6,c\n",
    ];
    for (day, csv) in (13..).zip(days) {
        world.at(&format!("2024-09-{day}"));
        world.write("item.csv", csv);
        assert_eq!(
            world
                .quietly("snapshot item --lake lake --source item.csv --key id")
                .status
                .code(),
            Some(0),
            "{day}"
        );
    }
    assert_eq!(
        world.quietly("compact item --lake lake").status.code(),
        Some(0)
    );
    world
}

#[test]
fn the_readme_reads_a_lake_whose_columns_change() {
    let world = changed();
    let sql = serde_json::to_string(&snippets("sql")).expect("JSON");
    let found = python(
        &world,
        &format!(
            "import duckdb, json
print(json.dumps([sorted(map(str, duckdb.sql(query).fetchall())) for query in {sql}.split(';') if \
             query.strip()]))"
        ),
    );
    let second = [
        "(1, None, 5.0, 'a', datetime.date(2024, 9, 14))",
        "(2, 'X1', 5.6, 'b', datetime.date(2024, 9, 14))",
    ];
    let dated = [
        "(1, None, 5.0, 'a', datetime.date(2024, 9, 14), datetime.date(2024, 9, 14))",
        "(2, 'X1', 5.6, 'b', datetime.date(2024, 9, 14), datetime.date(2024, 9, 14))",
    ];
    let counts = [
        "(datetime.date(2024, 9, 13), 2)",
        "(datetime.date(2024, 9, 14), 2)",
        "(datetime.date(2024, 9, 15), 1)",
    ];
    assert_eq!(found, serde_json::json!([dated, second, counts]));
    let pandas =
        serde_json::to_string(&snippets("python").split("import asof").next()).expect("JSON");
    let found = python(
        &world,
        &format!(
            "import json
shown, scope = [], {{}}
for line in {pandas}.splitlines():
    exec(line, scope)
    if line.startswith('items'):
        items = scope['items'].sort_values('id')
        shown.append([items[name].astype(object).where(items[name].notna(), None).tolist() for \
             name in ['id', 'lid', 'price', 'new']])
print(json.dumps(shown))"
        ),
    );
    let second = serde_json::json!([[1, 2], [null, "X1"], [5.0, 5.6], ["a", "b"]]);
    assert_eq!(found, serde_json::json!([second, second]));
}

#[test]
fn a_column_without_values_is_one_of_text_to_other_readers_and_has_no_type_to_asof() {
    let mut world = changed();
    let types = python(
        &world,
        "import duckdb, json, pandas, pyarrow.parquet
path = 'lake/item/snapshots/snapshot_date=2024-09-13/item.parquet'
everything = pandas.read_parquet('lake/item/snapshots', columns=['id', 'lid'], \
         filters=[('snapshot_date', '>=', '2024-09-13')])
print(json.dumps([str(pyarrow.parquet.read_schema(path).field('lid').type), \
         everything['lid'].isna().sum().item(),
    duckdb.sql(f\"select typeof(lid) from '{path}'\").fetchall()[0][0]]))",
    );
    assert_eq!(types, serde_json::json!(["string", 3, "VARCHAR"]));
    world.write("item.csv", "id,lid,price\n1,7,5\n");
    world.at("2024-09-13");
    let retyped = world.quietly("snapshot other --lake lake --source item.csv --key id");
    assert_eq!(retyped.status.code(), Some(0));
    for (day, lid) in [(14, ""), (15, "7"), (16, "")] {
        world.at(&format!("2024-09-{day}"));
        world.write("never.csv", format!("id,lid\n1,{lid}\n"));
        assert_eq!(
            world
                .quietly("snapshot never --lake lake --source never.csv --key id")
                .status
                .code(),
            Some(0),
            "{day}"
        );
    }
    world.succeeds("compact never --lake lake");
    world.succeeds("verify never --lake lake");
    world.succeeds("history never 1 --lake lake");
    world.pin("untyped");
}

#[test]
fn a_column_with_the_name_of_the_partition_breaks_no_reader() {
    let mut world = World::new();
    for day in 1..=2 {
        world.at(&format!("2024-03-0{day}"));
        world.write("s.csv", format!("id,snapshot_date,v\n1,2024-03-0{day},a\n"));
        world.succeeds("snapshot s --lake lake --source s.csv --key id");
    }
    world.at("2024-03-03");
    world.refuses(3, "snapshot s --lake lake --source s.csv --key id");
    world.refuses(
        3,
        "snapshot other --lake lake --source s.csv --key id,snapshot_date",
    );
    world.succeeds("compact s --lake lake");
    for day in 1..=2 {
        world.write(
            &format!("ev/date=2024-03-0{day}/a.csv"),
            format!("e,id,date\n{day},1,2024-03-0{day}\n"),
        );
        world.write(
            &format!("late/day=2024-03-0{day}/a.csv"),
            format!("e,id,date\n{day},1,2024-03-01\n"),
        );
    }
    let join = "--events-layout date=%Y-%m-%d --table s --on id --from 2024-03-01 --to 2024-03-02 \
     --lake lake";
    world.succeeds(&format!("backfill --events ev {join} --out out"));
    let late = join.replace("date=%Y", "day=%Y");
    assert_eq!(
        world.asof(&format!("backfill --events late {late} --out late-out")),
        5
    );
    world.succeeds(&format!(
        "backfill --events late {late} --out other --out-layout output_date=%Y-%m-%d"
    ));
    world.succeeds(&format!(
        "backfill --events late {late} --out other2 --out-layout %Y/%m/%d"
    ));
    world.write(
        "wrong/date=2024-03-02/a.csv",
        "e,id,date\n1,1,2024-03-02\n2,1,2024-03-01\n",
    );
    assert_eq!(
        world.asof(&format!("backfill --events wrong {join} --out wrong-out")),
        3
    );
    let read = python(
        &world,
        "import duckdb, json, pandas
def pandas_reads(path, column):
    frame = pandas.read_parquet(path)
    return sorted(map(str, frame[column]))
def duckdb_reads(path, column):
    return sorted(str(row[0]) for row in duckdb.sql(f\"select {column} from \
         read_parquet('{path}/*/*.parquet', hive_partitioning = true)\").fetchall())
print(json.dumps([[read(path, column) for read in [pandas_reads, duckdb_reads]]
    for path, column in [('lake/s/snapshots', 'snapshot_date'), ('out', 'date'), ('other', \
         'date'), ('other', 'output_date')]]))",
    );
    let dates = ["2024-03-01", "2024-03-02"];
    let same = ["2024-03-01", "2024-03-01"];
    assert_eq!(
        read,
        serde_json::json!([[dates, dates], [dates, dates], [same, same], [dates, dates]])
    );
    world.pin("partition_columns");
}
