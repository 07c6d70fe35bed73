//! DuckDB and pandas read what asof writes, as it lies.

use std::process::Command;

use crate::journeys::environment::{World, text};

/// Runs Python in the world's folder and reads the JSON document that it prints.
fn python(world: &World, script: &str) -> serde_json::Value {
    let python = std::env::var("ASOF_TEST_PYTHON")
        .expect("ASOF_TEST_PYTHON is not set: run the tests with tests/run, which installs DuckDB and pandas");
    let output = Command::new(python).arg("-c").arg(script).current_dir(world.path("")).output().expect("Python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

fn shop() -> World {
    let mut world = World::shop(3);
    world.succeeds("compact item");
    world.succeeds("backfill --events item_events --table item --on item_id=id --how left --out joined --from 2024-03-01 --to 2024-03-03");
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
    assert_eq!(counts, serde_json::json!([["2024-03-01", 3], ["2024-03-02", 4], ["2024-03-03", 3]]));
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
        found.append(duckdb.sql(f'select count(*) from (({one}) except all ({other}))').fetchall()[0][0])
types = dict(duckdb.sql(\"select column_name, column_type from (describe select * from 'lake/item/intervals/item.parquet')\").fetchall())
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
for path in ['lake/item/snapshots/snapshot_date=2024-03-02/item.parquet', 'lake/item/intervals/item.parquet', 'joined/date=2024-03-02/joined.parquet']:
    rows = duckdb.sql(f\"select decode(value) from parquet_kv_metadata('{path}') where decode(key) = 'asof'\").fetchall()
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
    crate::journeys::environment::pin("footers", &serde_json::to_string_pretty(&footers).expect("JSON"));
}

#[test]
fn duckdb_and_pandas_read_outputs() {
    let outputs = python(
        &shop(),
        "import duckdb, json, pandas
counts = duckdb.sql(\"select count(*), count(price) from read_parquet('joined/*/*.parquet', hive_partitioning=true)\").fetchall()[0]
frame = pandas.read_parquet('joined/date=2024-03-01/joined.parquet')
print(json.dumps([counts, list(frame.columns), len(frame), int(frame['price'].notna().sum())]))",
    );
    let columns = ["event_id", "item_id", "qty", "name", "name_item", "status", "price"];
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
    assert_eq!(world.quietly("snapshot thing --lake lake --source thing.ndjson --key id").status.code(), Some(0));
    assert_eq!(world.quietly("compact thing --lake lake").status.code(), Some(0));
    let types = python(
        &world,
        "import json, pandas, pyarrow.parquet
frame = pandas.read_parquet('lake/thing/snapshots/snapshot_date=2024-03-01/thing.parquet')
schema = pyarrow.parquet.read_schema('lake/thing/intervals/thing.parquet')
first = frame.iloc[0]
print(json.dumps([{name: str(kind) for name, kind in frame.dtypes.items()}, {name: str(schema.field(name).type) for name in schema.names},
    first['at'], list(first['tags']), bool(frame['never'].isna().all())]))",
    );
    crate::journeys::environment::pin("types_in_python", &serde_json::to_string_pretty(&types).expect("JSON"));
}
