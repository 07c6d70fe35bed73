//! `asof plan`: another engine that does what a plan says gets the rows that `backfill` writes.

use serde_json::json;

use super::environment::World;
use crate::readers::python;

/// Runs every date of a plan in DuckDB, and compares the rows with those of asof's outputs.
const DUCKDB: &str = r#"
import duckdb, json

READERS = {"csv": "read_csv", "parquet": "read_parquet"}

def rows_of(copy):
    names = ", ".join('"%s"' % column["name"] for column in copy["columns"])
    files = [file["path"] for file in copy["files"]]
    where = " WHERE " + copy["where"] if "where" in copy else ""
    return f"SELECT {names} FROM read_parquet({files}){where}"

def relation(reads):
    if reads["kind"] == "events":
        files = [file["path"] for file in reads["files"]]
        return f"SELECT event_id, item_id, qty FROM {READERS[reads['format']]}({files})"
    if reads["kind"] == "table":
        return rows_of(reads)
    if reads["kind"] == "snapshots":
        copies = (f"SELECT *, DATE '{copy['snapshot_date']}' AS snapshot_date FROM ({rows_of(copy)})"
                  for copy in reads["copies"])
        return " UNION ALL BY NAME ".join(copies)
    known, file = reads["known_on"], reads["file"]["path"]
    return (f"SELECT * REPLACE (CASE WHEN active_end >= DATE '{known}' THEN DATE '9999-12-31' "
            f"ELSE active_end END AS active_end) FROM read_parquet('{file}') WHERE {reads['where']}")

counts = []
plan = json.load(open("plan.json"))
for date in plan["dates"]:
    connection = duckdb.connect()
    names = []
    for each in date["relations"]:
        names.append(each["name"])
        connection.execute(f'CREATE TEMP TABLE "{each["name"]}" AS {relation(each)}')
    work = plan["work"]
    if work["kind"] == "sql":
        query = date["query"]
    else:
        events, table = names
        on = " AND ".join(f"e.{left} = t.{right}" for left, right in work["on"])
        query = f"SELECT e.*, t.status, t.price FROM {events} e {work['how'].upper()} JOIN {table} t ON {on}"
    connection.execute(f"CREATE TEMP TABLE found AS {query}")
    columns = ", ".join(row[0] for row in connection.sql("DESCRIBE found").fetchall())
    written = f"SELECT {columns} FROM read_parquet('{date['output']}')"
    found = f"SELECT {columns} FROM found"
    for one, other in [(found, written), (written, found)]:
        differing = connection.sql(f"SELECT count(*) FROM (({one}) EXCEPT ALL ({other}))").fetchall()
        assert differing == [(0,)], (date["date"], differing)
    counts.append([date["date"], date["state"], connection.sql("SELECT count(*) FROM found").fetchall()[0][0]])
print(json.dumps(counts))
"#;

/// A shop with three jobs over its three days.
fn shop() -> World {
    let world = World::shop(3);
    let config = std::fs::read_to_string(world.path("asof.toml")).expect("asof.toml");
    let jobs = "
[jobs.planned_join]
events = 'item_events'
table = 'item'
on = ['item_id=id']
how = 'left'
select = ['status', 'price']
output = 'planned_join'

[jobs.planned_sql]
sql = \"SELECT status, sum(qty) AS qty FROM item_events e JOIN item i ON e.item_id = i.id GROUP BY status\"
output = 'planned_sql'

[jobs.planned_history]
sql = \"\"\"SELECT i.status, count(*) AS events, count(s.id) AS copies
FROM item_events e JOIN item_intervals i ON e.item_id = i.id
LEFT JOIN item_snapshots s ON s.id = i.id GROUP BY i.status\"\"\"
output = 'planned_history'
";
    world.write("asof.toml", format!("{config}\n{jobs}"));
    world
}

const JOBS: [&str; 3] = ["planned_join", "planned_sql", "planned_history"];

#[test]
fn another_engine_gets_the_rows_that_asof_writes() {
    let mut world = shop();
    world.succeeds("compact item");
    for job in JOBS {
        let range = "--from 2024-03-01 --to 2024-03-03";
        world.succeeds(&format!("backfill {job} {range}"));
        // Without published intervals, a plan has the copies to compute them from.
        let sources: &[&str] = match job {
            "planned_history" => &["auto"],
            _ => &["auto", "snapshots", "intervals"],
        };
        for using in sources {
            let plan = world.quietly(&format!("plan {job} {range} --using {using} --json"));
            assert!(plan.status.success(), "{job}: {plan:?}");
            world.write("plan.json", &plan.stdout);
            let counts = python(&world, DUCKDB);
            let dates = counts.as_array().expect("dates");
            assert_eq!(dates.len(), 3, "{job} using {using}: {counts}");
            for date in dates {
                assert_eq!(date[1], json!("up_to_date"), "{job} using {using}");
                assert_ne!(date[2], json!(0), "{job} using {using}");
            }
        }
    }
}

#[test]
fn a_plan_says_which_files_a_date_reads_and_writes_nothing() {
    let mut world = shop();
    let before = world.tree("");
    world.succeeds("plan planned_join --from 2024-03-01 --to 2024-03-02");
    world.refuses(
        2,
        "plan planned_join --from 2024-03-01 --to 2024-03-02 --using intervals",
    );
    world.refuses(2, "plan joind --from 2024-03-01 --to 2024-03-02");
    // Intervals that are not there are not computed: the plan has the copies to compute them from.
    world.succeeds("plan planned_history --from 2024-03-02 --to 2024-03-02");
    assert_eq!(world.tree(""), before);
    world.succeeds("compact item");
    world.succeeds("plan planned_history --from 2024-03-02 --to 2024-03-03");
    world.pin("plan");
}
