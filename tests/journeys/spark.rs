//! Jobs and compactions on a Spark cluster: `tests/run --spark`, which starts one.
//!
//! `model` compares both engines over random histories. Here is what people meet beside the rows: a
//! job's life on the cluster, what it reads, what is refused, and what is left when something dies.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, StructArray, TimestampNanosecondArray, UInt8Array};
use arrow::datatypes::{DataType, Field};

use super::environment::{World, send, text};

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests with tests/run --spark"))
}

/// A world whose commands find the cluster.
fn on_cluster(mut world: World) -> World {
    world.variable("SPARK_REMOTE", &variable("ASOF_TEST_SPARK_REMOTE"));
    world
}

/// The files of a date's output that have rows.
fn parts(world: &World, folder: &str) -> Vec<String> {
    let names = world.listing(folder).into_iter();
    let names = names.filter(|name| !name.split('/').any(|part| part.starts_with(['.', '_'])));
    names.map(|name| format!("{folder}/{name}")).collect()
}

/// The rows of a date's output in any order, with the types of their columns.
fn rows(world: &World, folder: &str) -> (Vec<String>, Vec<String>) {
    let mut all = Vec::new();
    let mut types = Vec::new();
    for part in parts(world, folder) {
        let mut rows = world.rows(&part);
        if rows.is_empty() {
            continue;
        }
        let header = rows.remove(0);
        let of = |column: &str| format!("{column} {}", world.column_type(&part, column));
        types = header.split('|').map(of).collect();
        all.extend(rows);
    }
    all.sort();
    (types, all)
}

/// Runs a job on both engines, and compares each date.
fn both(world: &mut World, job: &str, range: &str) -> BTreeMap<String, usize> {
    world.succeeds(&format!("backfill {job} {range}"));
    let dates: Vec<String> = world
        .listing(job)
        .iter()
        .filter_map(|path| Some(path.split_once('/')?.0.to_owned()))
        .filter(|folder| folder.starts_with("date="))
        .collect();
    let here: BTreeMap<String, _> = dates
        .iter()
        .map(|date| (date.clone(), rows(world, &format!("{job}/{date}"))))
        .collect();
    world.succeeds(&format!("backfill {job} {range} --only all --engine spark"));
    for (date, expected) in &here {
        let found = rows(world, &format!("{job}/{date}"));
        assert_eq!(found, *expected, "{job} {date}, on Spark and here");
        let names = parts(world, &format!("{job}/{date}"));
        assert!(
            names
                .iter()
                .all(|name| !name.ends_with(&format!("/{job}.parquet"))),
            "{names:?}"
        );
    }
    world.succeeds(&format!("verify {job} --recompute"));
    here.into_iter()
        .map(|(date, (_, rows))| (date, rows.len()))
        .collect()
}

const RANGE: &str = "--from 2024-03-01 --to 2024-03-03";

/// The shop with jobs of each kind.
fn shop(jobs: &str) -> World {
    let world = World::shop(3);
    let config = std::fs::read_to_string(world.path("asof.toml")).expect("asof.toml");
    world.write("asof.toml", format!("{config}\n{jobs}"));
    on_cluster(world)
}

#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn the_demo_s_job_gives_the_same_rows_on_spark() {
    let mut world = on_cluster(World::new());
    world.at("2026-11-01");
    world.succeeds("demo");
    let config = std::fs::read_to_string(world.path("asof-demo/asof.toml")).expect("asof.toml");
    let config = config.replace("\"lake\"", "\"asof-demo/lake\"");
    let config = config.replace("path = \"flights\"", "path = \"asof-demo/flights\"");
    world.write("asof.toml", config);
    let counts = both(
        &mut world,
        "passengers",
        "--from 2020-11-01 --to 2026-09-30",
    );
    assert_eq!(counts.len(), 10, "{counts:?}");
    assert!(counts.values().all(|rows| *rows > 0), "{counts:?}");
}

#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn queries_and_joins_read_what_they_read_here() {
    let mut world = shop(
        "
[jobs.on_history]
sql = \"\"\"SELECT i.status, i.active_start, i.active_end, count(*) AS events, count(s.id) AS copies
FROM item_events e JOIN item_intervals i ON e.item_id = i.id
LEFT JOIN item_snapshots s ON s.id = i.id AND s.snapshot_date <= {date} GROUP BY ALL\"\"\"
output = 'on_history'

[jobs.on_names]
sql = \"\"\"SELECT \\\"event_id\\\", NAME AS name, {date} AS day, {start} AS begun FROM item_events\"\"\"
output = 'on_names'

[jobs.on_condition]
events = 'item_events'
table = 'item'
on = ['item_id=id']
how = 'left'
where = \"status = 'ACTIVE' AND price > 1\"
output = 'on_condition'
",
    );
    // Without intervals, with them, and when they are behind.
    for step in [
        "snapshot",
        "compact item",
        "compact item --to 2024-03-02 --full",
    ] {
        if step != "snapshot" {
            world.succeeds(step);
        }
        for job in ["on_history", "on_names", "on_condition"] {
            let _ = std::fs::remove_dir_all(world.path(job));
            let counts = both(&mut world, job, RANGE);
            assert_eq!(counts.len(), 3, "{job} after {step}");
        }
    }
}

#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn columns_of_folders_and_of_other_dates_are_there_on_spark() {
    let mut world = shop(
        "
[events.sales]
path = 'sales'
layout = 'country=*/date=%Y-%m-%d'

[jobs.on_folders]
sql = \"SELECT country, date, sum(qty) AS qty FROM sales GROUP BY country, date\"
layout = 'day=%Y-%m-%d'
output = 'on_folders'

[jobs.on_path]
sql = \"SELECT item_id, qty, date FROM sales\"
output = 'on_path'

[jobs.on_other_path]
sql = \"SELECT item_id, DATE '2020-01-01' AS date FROM sales\"
output = 'on_other_path'

[jobs.on_absent]
sql = \"SELECT s.item_id, i.colour FROM sales s JOIN item i ON i.id = s.item_id\"
output = 'on_absent'
",
    );
    for (country, day, item) in [("AT", 1, 1), ("AT", 2, 2), ("CH %", 2, 1), ("CH %", 3, 3)] {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![item, 2, 3]));
        let qty: ArrayRef = Arc::new(Int64Array::from(vec![Some(4), None, Some(6)]));
        let path = format!("sales/country={country}/date=2024-03-0{day}/part [1].parquet");
        world.parquet(&path, &[("item_id", ids), ("qty", qty)]);
    }
    // The last copy has a column that earlier ones do not have.
    world.at("2024-03-03");
    world.write(
        "item.csv",
        "id,name,status,price,colour\n1,a,ACTIVE,1.5,red\n2,b,OLD,2,blue\n",
    );
    world.succeeds("snapshot item --if-exists replace --force");
    world.succeeds("compact item");
    for job in ["on_path", "on_absent"] {
        assert_eq!(both(&mut world, job, RANGE).len(), 3, "{job}");
    }
    world.succeeds(&format!("backfill on_folders {RANGE}"));
    let here = rows(&world, "on_folders/day=2024-03-02");
    world.succeeds(&format!(
        "backfill on_folders {RANGE} --only all --engine spark"
    ));
    assert_eq!(rows(&world, "on_folders/day=2024-03-02"), here);
    assert!(
        here.1.iter().any(|row| row.starts_with("CH %|2024-03-02")),
        "{here:?}"
    );
    let refused = world.quietly(&format!("backfill on_other_path {RANGE} --engine spark"));
    let told = text(&refused.stdout) + &text(&refused.stderr);
    assert!(
        told.contains("column 'date' has the name of the partition"),
        "{told}"
    );
    // A task that Spark stops late makes an empty folder anew.
    let stay = parts(&world, "on_other_path").into_iter();
    let stay: Vec<String> = stay.filter(|name| !name.ends_with('/')).collect();
    assert_eq!(stay, [""; 0], "no file of it stays");
}

/// Structs whose fields stand in another order from night to night, names that differ in their case
/// alone, and files of one date in different types.
#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn shapes_that_change_from_file_to_file_come_out_the_same_on_spark() {
    let mut world = on_cluster(World::new());
    world.write(
        "asof.toml",
        "
lake = 'lake'

[tables.item]
key = ['id']
source = 'item.parquet'

[events.sales]
path = 'sales'
layout = 'date=%Y-%m-%d'

[jobs.shapes]
events = 'sales'
table = 'item'
on = ['item=id']
how = 'left'
select = ['Name', 'name']
output = 'shapes'
",
    );
    let int = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let part = |name: &str, values: &[i64]| {
        (
            Arc::new(Field::new(name, DataType::Int64, true)),
            int(values),
        )
    };
    for (day, fields) in [(1, ["a", "b"]), (2, ["b", "a"]), (3, ["b", "a"])] {
        let values = |name: &str| if name == "a" { [1, 10 + day] } else { [2, 20] };
        let fields = fields.map(|name| part(name, &values(name)));
        let point: ArrayRef = Arc::new(StructArray::from(fields.to_vec()));
        let columns = [
            ("id", int(&[1, 2])),
            ("Name", int(&[3, 4])),
            ("name", int(&[5, 6])),
        ];
        let columns: Vec<_> = columns.into_iter().chain([("point", point)]).collect();
        world.parquet("item.parquet", &columns);
        world.at(&format!("2024-03-0{day}"));
        world.succeeds("snapshot item");
        let wide: ArrayRef = Arc::new(UInt8Array::from(vec![1, 200]));
        world.parquet(
            &format!("sales/date=2024-03-0{day}/a.parquet"),
            &[("item", int(&[1, 3])), ("qty", wide)],
        );
        world.parquet(
            &format!("sales/date=2024-03-0{day}/b.parquet"),
            &[("qty", int(&[-7, 1 << 40])), ("item", int(&[2, 2]))],
        );
    }
    for using in ["snapshots", "intervals"] {
        if using == "intervals" {
            world.succeeds("compact item --full --out here.parquet");
            world.succeeds("compact item --engine spark");
            let there = world.bytes("lake/item/intervals/item.parquet");
            assert!(
                world.bytes("here.parquet") == there,
                "the bytes of intervals differ"
            );
            let _ = std::fs::remove_dir_all(world.path("shapes"));
        }
        let counts = both(&mut world, "shapes", &format!("{RANGE} --using {using}"));
        assert_eq!(counts.values().sum::<usize>(), 12, "{counts:?}");
    }
}

/// Outputs of both engines take each other's place, and every command reads both.
#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn outputs_of_both_engines_are_one_job_s() {
    let job = "
[jobs.daily]
sql = \"SELECT item_id, sum(qty) AS qty FROM item_events GROUP BY item_id\"
output = 'daily'
";
    let mut world = shop(job);
    world.succeeds(&format!("backfill daily {RANGE} --engine spark"));
    let again = world.json(&format!("backfill daily {RANGE} --json"));
    let dates = again[0]["dates"].as_array().expect("dates");
    assert!(
        dates.iter().all(|date| date["action"] == "up_to_date"),
        "{again}"
    );
    let first = world.listing("daily");
    assert!(
        first
            .iter()
            .any(|name| name == "date=2024-03-01/_asof.json"),
        "{first:?}"
    );
    // A date whose files are other ones counts as missing, and is written anew.
    let part = parts(&world, "daily/date=2024-03-02").remove(0);
    std::fs::copy(
        world.path(&part),
        world.path(&part.replace("-00000-", "-00001-")),
    )
    .expect("a copy");
    std::fs::remove_file(world.path("daily/date=2024-03-03/_asof.json")).expect("removed");
    let planned = world.json(&format!("backfill daily {RANGE} --dry-run --json"));
    let was: Vec<_> = planned[0]["dates"]
        .as_array()
        .expect("dates")
        .iter()
        .map(|date| date["was"]["state"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(was, ["up_to_date", "missing", "missing"], "{planned}");
    world.succeeds(&format!("backfill daily {RANGE} --engine spark"));
    assert_eq!(parts(&world, "daily/date=2024-03-02").len(), 1);
    world.succeeds("verify daily --recompute");
    world.succeeds("verify daily");
    world.succeeds("status daily");
    world.succeeds("show daily --date 2024-03-01");
    // A change that does not matter is accepted without Spark.
    let config = std::fs::read_to_string(world.path("asof.toml")).expect("asof.toml");
    world.write(
        "asof.toml",
        config.replace("SELECT item_id, sum", "select item_id, sum"),
    );
    world.succeeds(&format!("backfill daily {RANGE} --accept"));
    world.succeeds(&format!("backfill daily {RANGE}"));
    // Another file among them is nobody's.
    world.write("daily/date=2024-03-01/other.parquet", "x");
    assert_eq!(
        world.asof(&format!("backfill daily {RANGE} --only all --engine spark")),
        5
    );
    std::fs::remove_file(world.path("daily/date=2024-03-01/other.parquet")).expect("removed");
    // This machine takes over, and leaves nothing of Spark's.
    world.succeeds(&format!("backfill daily {RANGE} --only all"));
    let names: Vec<String> = world.listing("daily");
    let of_spark = |name: &&String| name.ends_with("_asof.json") || name.contains(".zstd.");
    assert_eq!(names.iter().find(of_spark), None, "{names:?}");
    // Events that are gone take Spark's files with them.
    world.succeeds(&format!("backfill daily {RANGE} --only all --engine spark"));
    std::fs::remove_dir_all(world.path("item_events/year=2024/month=03/day=02")).expect("removed");
    world.succeeds(&format!("backfill daily {RANGE}"));
    assert!(world.listing("daily/date=2024-03-02").is_empty());
}

#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn what_spark_cannot_do_is_refused_by_name() {
    let world = shop(
        "
[events.ticks]
path = 'ticks'
layout = 'date=%Y-%m-%d'

[jobs.on_nanoseconds]
sql = 'SELECT at FROM ticks'
output = 'on_nanoseconds'

[jobs.on_mistake]
sql = 'SELECT qtyy FROM item_events'
output = 'on_mistake'

[jobs.on_command]
command = ['true']
events = ['item_events']
output = 'on_command'

[jobs.on_files]
sql = 'SELECT qty FROM item_events'
layout = '%Y-%m-%d.parquet'
output = 'on_files'

[jobs.on_overflow]
sql = 'SELECT 9223372036854775807 + qty AS n FROM item_events'
output = 'on_overflow'
",
    );
    let at: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1]));
    world.parquet("ticks/date=2024-03-01/t.parquet", &[("at", at)]);
    let refusal = |job: &str, code: i32, told: &str| {
        let output = world.quietly(&format!(
            "backfill {job} --from 2024-03-01 --to 2024-03-01 --engine spark"
        ));
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains(told), "{job}: {said}");
        assert_eq!(output.status.code(), Some(code), "{job}: {said}");
        assert!(parts(&world, job).is_empty(), "{job}: nothing is left");
    };
    refusal(
        "on_nanoseconds",
        3,
        "column 'at' is timestamp(ns), which cannot be handed to Spark",
    );
    refusal("on_mistake", 2, "`qtyy`");
    refusal(
        "on_command",
        2,
        "job on_command is a command, which Spark cannot run",
    );
    refusal(
        "on_files",
        2,
        "names one file for each date, and Spark writes a folder",
    );
    refusal("on_overflow", 3, "overflow");
}

/// A server that tells a version, and takes no other token than one.
struct FakeServer {
    process: Child,
    remote: String,
}

impl FakeServer {
    fn start(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spark/fake_server.py");
        let mut process = Command::new(variable("ASOF_TEST_SPARK_PYTHON"))
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut port = String::new();
        let told = process.stdout.take().expect("its output");
        BufReader::new(told).read_line(&mut port).expect("a port");
        FakeServer {
            process,
            remote: format!("sc://127.0.0.1:{}", port.trim()),
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn an_unreachable_host_a_wrong_token_and_an_old_version_fail_within_ten_seconds() {
    let world = shop("[jobs.daily]\nsql = 'SELECT qty FROM item_events'\noutput = 'daily'\n");
    let old = FakeServer::start(&["3.5.6"]);
    let with_token = FakeServer::start(&["4.1.0", "right"]);
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = |of: &std::net::TcpListener| of.local_addr().expect("an address").port();
    let listening = listen();
    let silent = port(&listening);
    let closed = port(&listen());
    for (remote, code, told) in [
        (
            format!("sc://127.0.0.1:{closed}"),
            1,
            "cannot reach Spark at sc://127.0.0.1:",
        ),
        (
            "sc://no-such-host.invalid:15002".to_owned(),
            1,
            "cannot reach Spark at sc://no-such-host",
        ),
        (
            format!("sc://127.0.0.1:{silent}"),
            1,
            "Spark at sc://127.0.0.1:",
        ),
        (
            old.remote.clone(),
            2,
            "is version 3.5.6; asof needs 4.0 or later",
        ),
        (with_token.remote.clone(), 2, "wants a token"),
        (
            format!("{}/;token=wrong", with_token.remote),
            2,
            "refuses the token",
        ),
        (
            "localhost:15002".to_owned(),
            2,
            "not of the form 'sc://HOST:PORT'",
        ),
    ] {
        for command in [format!("backfill daily {RANGE}"), "compact item".to_owned()] {
            let begun = Instant::now();
            let output = world.quietly(&format!("{command} --engine spark --remote '{remote}'"));
            let said = text(&output.stderr);
            assert!(
                said.contains(told) && !said.contains("wrong"),
                "{remote}: {said}"
            );
            assert_eq!(output.status.code(), Some(code), "{remote}: {said}");
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{remote}: {:?}",
                begun.elapsed()
            );
        }
    }
    assert!(parts(&world, "daily").is_empty() && parts(&world, "lake/item/intervals").is_empty());
}

/// A shop whose job takes some seconds for each of three dates.
fn long_shop() -> World {
    let world = shop(
        "
[events.ticks]
path = 'ticks'
layout = 'date=%Y-%m-%d'

[jobs.long]
sql = \"\"\"SELECT a.n % 7 AS n, count(*) AS triples, max(xxhash64(a.n, b.n, c.n)) AS greatest
FROM ticks a CROSS JOIN ticks b CROSS JOIN ticks c GROUP BY a.n % 7\"\"\"
output = 'long'
",
    );
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..220));
    for day in 1..=3 {
        let path = format!("ticks/date=2024-03-0{day}/ticks.parquet");
        world.parquet(&path, &[("n", n.clone())]);
    }
    world
}

/// A long backfill that has begun to run on the cluster.
fn begun(world: &World) -> Child {
    let line = format!("backfill long {RANGE} --engine spark --workers 1");
    let child = world
        .command(&line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("it starts");
    let first = world.path("long/date=2024-03-01/_asof.json");
    let begun = Instant::now();
    while !first.exists() {
        let ended = child.try_wait().expect("a process");
        assert!(ended.is_none(), "it ended: {ended:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "the first date does not come"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // Into the second date.
    std::thread::sleep(Duration::from_millis(500));
    child
}

fn kill(process: &str) {
    let killed = Command::new("kill")
        .args(["-9", process])
        .status()
        .expect("kill runs");
    assert!(killed.success(), "{process}");
}

/// The executors of the cluster: children of its workers.
fn executors() -> Vec<String> {
    let run = variable("ASOF_TEST_SPARK_RUN");
    let workers: Vec<String> = ["worker1.pid", "worker2.pid"]
        .iter()
        .filter_map(|name| std::fs::read_to_string(Path::new(&run).join(name)).ok())
        .map(|pid| pid.trim().to_owned())
        .collect();
    let processes = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().into_string().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(1)?
                .to_owned();
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let is_executor = text(&line).contains("CoarseGrainedExecutorBackend");
            (is_executor && workers.contains(&parent)).then_some(pid)
        });
    processes.collect()
}

#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn a_backfill_survives_the_death_of_an_executor() {
    let world = long_shop();
    let child = begun(&world);
    let executors = executors();
    assert!(!executors.is_empty(), "there are executors");
    executors.iter().for_each(|executor| kill(executor));
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    for date in ["2024-03-01", "2024-03-02", "2024-03-03"] {
        assert!(
            world.path(&format!("long/date={date}/_asof.json")).exists(),
            "{date}"
        );
    }
}

#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn a_rerun_after_the_death_of_the_server_does_the_missing_dates_alone() {
    let mut world = long_shop();
    let child = begun(&world);
    let first = world.tree("long/date=2024-03-01");
    let pid = Path::new(&variable("ASOF_TEST_SPARK_RUN")).join("connect.pid");
    kill(std::fs::read_to_string(pid).expect("a process id").trim());
    let output = child.wait_with_output().expect("it ends");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        said.contains("the connection to Spark at sc://127.0.0.1"),
        "{said}"
    );
    let back = Command::new(variable("ASOF_TEST_SPARK_CONNECT")).status();
    assert!(back.expect("it starts").success(), "the server is back");
    let again = world.json(&format!("backfill long {RANGE} --engine spark --json"));
    let done: Vec<_> = again[0]["dates"]
        .as_array()
        .expect("dates")
        .iter()
        .map(|date| date["action"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(done, ["up_to_date", "written", "written"], "{again}");
    assert_eq!(
        world.tree("long/date=2024-03-01"),
        first,
        "the first date is untouched"
    );
    world.succeeds("verify long");
}

#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn an_interrupted_backfill_stops_spark_and_leaves_the_date_missing() {
    let mut world = long_shop();
    let child = begun(&world);
    let interrupted = Instant::now();
    send("INT", &child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(
        interrupted.elapsed() < Duration::from_secs(8),
        "{:?}",
        interrupted.elapsed()
    );
    let planned = world.json(&format!(
        "backfill long {RANGE} --dry-run --json --engine spark"
    ));
    let was = &planned[0]["dates"][2]["was"]["state"];
    assert_eq!(was, "missing", "{planned}");
    world.succeeds(&format!("backfill long {RANGE} --engine spark"));
    world.succeeds("verify long");
}

/// Compactions on Spark publish the bytes of those here, and leave nothing beside them.
#[test]
#[ignore = "needs a Spark cluster: tests/run --spark"]
fn a_compaction_on_spark_is_the_same_object() {
    let mut world = on_cluster(World::new());
    world.at("2026-11-01");
    world.succeeds("demo");
    world.variable(
        "ASOF_LAKE",
        world.path("asof-demo/lake").to_str().expect("a path"),
    );
    for options in [
        "",
        "--end exclusive --open-end null",
        "--gaps split",
        "--ignore lat,lon",
    ] {
        for before in ["here.parquet", "there.parquet"] {
            let _ = std::fs::remove_file(world.path(before));
        }
        world.succeeds(&format!(
            "compact airport --full --out here.parquet {options}"
        ));
        for to in ["2022-06-08", "2024-02-02", "2026-09-05"] {
            world.succeeds(&format!(
                "compact airport --out there.parquet --to {to} --engine spark {options}"
            ));
        }
        let is_same = world.bytes("here.parquet") == world.bytes("there.parquet");
        assert!(is_same, "the bytes differ with '{options}'");
    }
    let left = world.listing("");
    assert!(
        left.iter().all(|name| !name.contains("_spark-")),
        "{left:?}"
    );
    for (options, told) in [
        (
            "--where \"country = 'UZ'\"",
            "rows and columns are selected on this machine",
        ),
        (
            "--select name",
            "rows and columns are selected on this machine",
        ),
    ] {
        let output = world.quietly(&format!(
            "compact airport --out x.parquet --engine spark {options}"
        ));
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text(&output.stderr).contains(told),
            "{}",
            text(&output.stderr)
        );
    }
}
