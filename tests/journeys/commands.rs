//! Jobs that are programs: the examples of docs/jobs.md, and every way in which a program can fail.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::environment::{World, send, text};

/// A shop whose PATH has the Python of the tests as `python3`, and a `duckdb` that understands
/// `-c`.
fn shop() -> World {
    let mut world = World::shop(3);
    let python = std::env::var("ASOF_TEST_PYTHON").expect(
        "ASOF_TEST_PYTHON is not set: run the tests with tests/run, which installs \
         polars, pandas and DuckDB",
    );
    world.write(
        "bin/python3",
        format!("#!/bin/sh\nexec '{python}' \"$@\"\n"),
    );
    world.write(
        "bin/duckdb",
        format!(
            "#!/bin/sh\nexec '{python}' -c 'import duckdb, sys; duckdb.sql(sys.argv[2])' \"$@\"\n"
        ),
    );
    for program in ["bin/python3", "bin/duckdb"] {
        std::fs::set_permissions(world.path(program), std::fs::Permissions::from_mode(0o755))
            .expect("executable");
    }
    let path = format!(
        "{}:{}",
        world.path("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    world.variable("PATH", &path);
    // So that what is left behind can be seen.
    std::fs::create_dir(world.path("tmp")).expect("made");
    let temporary = world.path("tmp").display().to_string();
    world.variable("TMPDIR", &temporary);
    world
}

fn configure(world: &World, more: &str) {
    world.write("asof.toml", super::environment::SHOP.to_owned() + more);
}

/// The code blocks of docs/jobs.md from the examples on, in their order.
fn examples() -> Vec<(&'static str, &'static str)> {
    let examples = include_str!("../../docs/jobs.md")
        .split("## Examples")
        .nth(1)
        .expect("the section");
    let blocks = examples.split("```").skip(1).step_by(2);
    blocks
        .map(|block| block.split_once('\n').expect("a language"))
        .collect()
}

#[test]
fn the_examples_in_every_language_give_the_same() {
    let mut world = shop();
    let mut config = String::new();
    let mut scripts = 0;
    for (language, code) in examples() {
        if language == "toml" {
            config += code;
        } else {
            let name = code
                .lines()
                .find_map(|line| line.strip_prefix("# "))
                .expect("the name of the file");
            world.write(name, code);
            scripts += 1;
        }
    }
    configure(&world, &config);
    assert_eq!(scripts, 4);
    for (day, rows) in (1..).zip(["1,2\n3,1\n9,5\n", "1,1\n3,2\n4,7\n", "1,4\n2,1\n3,3\n"]) {
        world.write(
            &format!("item_events/year=2024/month=03/day=0{day}/events.csv"),
            format!("item_id,qty\n{rows}"),
        );
    }
    world.succeeds("backfill --from 2024-03-01 --to 2024-03-03");
    // By hand: the events of a day by the prices of the copy of that day.
    let expected = [
        vec!["name|revenue", "Bolt|3.0", "Gear|12.0"],
        vec![
            "name|revenue",
            "Bolt|1.75",
            "Gear|24.0",
            "Washer|0.35000000000000003",
        ],
        vec!["name|revenue", "Gear|36.0", "Nut|0.25"],
    ];
    for job in ["with_polars", "with_pandas", "with_duckdb", "with_shell"] {
        for (day, expected) in (1..).zip(&expected) {
            assert_eq!(
                world.rows(&format!("{job}/date=2024-03-0{day}/{job}.parquet")),
                *expected,
                "{job}, day {day}"
            );
        }
    }
    world.tell("nothing is run again, until a file of the command or a copy of the table changes");
    world.succeeds("backfill with_shell --from 2024-03-01 --to 2024-03-03");
    let script = text(&world.bytes("shell_job.sh"));
    world.write(
        "shell_job.sh",
        script.replace("as revenue", "+ 1 as revenue"),
    );
    world.succeeds("backfill with_shell --from 2024-03-01 --to 2024-03-02");
    assert_eq!(
        world.rows("with_shell/date=2024-03-01/with_shell.parquet")[1],
        "Bolt|4.0"
    );
    world.write(
        "item.csv",
        "id,name,status,price\n1,Bolt,ACTIVE,2\n2,Nut,ACTIVE,0.25\n3,Gear,DRAFT,12\n",
    );
    world.succeeds("snapshot item --date 2024-03-01 --if-exists replace --backdate");
    world.succeeds("backfill with_polars --from 2024-03-01 --to 2024-03-03");
    assert_eq!(world.listing("tmp"), [] as [String; 0]);
    world.pin("commands");
}

#[test]
fn a_command_is_given_what_a_query_would_see() {
    let mut world = shop();
    world.write(
        "look.py",
        "import os, json, pyarrow.parquet as pq
def of(name): return pq.read_table(os.environ[name]).to_pylist()
print('on stdout')
rows = [
    {'what': name, 'rows': json.dumps(of(name), default=str), 'link': os.path.islink(os.environ[name]), 'same': os.environ[name] == os.environ[name.upper()]}
    for name in ['ASOF_EVENTS_item_events', 'ASOF_TABLE_item', 'ASOF_TABLE_item_snapshots', \
         'ASOF_TABLE_old_item']
]
mode = oct(os.stat(os.path.dirname(os.path.dirname(os.environ['ASOF_OUTPUT']))).st_mode & 0o777)
rows.append({'what': os.environ['ASOF_DATE'], 'rows': mode, 'same': not os.path.exists(os.environ['ASOF_OUTPUT'])})
with open(os.path.join(os.path.dirname(os.environ['ASOF_OUTPUT']), 'rows.ndjson'), 'w') as file:
    for row in rows: file.write(json.dumps(row) + '\\n')
",
    );
    configure(
        &world,
        "[jobs.look]\ncommand = ['python3', 'look.py']\ninputs = 'look.py'\nevents = \
         'item_events'\n\
         tables = ['item', 'item_snapshots', 'old-item']\nnames = \
         { old-item = 'item_intervals' }\noutput = 'look'\n",
    );
    // An event file that need not be copied.
    let events: Vec<(&str, arrow::array::ArrayRef)> = vec![
        (
            "event_id",
            std::sync::Arc::new(arrow::array::StringArray::from(vec!["b1", "b2"])),
        ),
        (
            "item_id",
            std::sync::Arc::new(arrow::array::Int64Array::from(vec![1, 3])),
        ),
    ];
    std::fs::remove_file(world.path("item_events/year=2024/month=03/day=02/events.csv"))
        .expect("removed");
    world.parquet(
        "item_events/year=2024/month=03/day=02/events.parquet",
        &events,
    );
    world.succeeds("backfill look --from 2024-03-02 --to 2024-03-02");
    world.tell(&world.rows("look/date=2024-03-02/look.parquet").join("\n"));
    let before = world.tree("look");
    world.tell("the same from published intervals");
    world.succeeds("compact item");
    world.succeeds("backfill look --from 2024-03-02 --to 2024-03-02 --only all");
    assert_eq!(before, world.tree("look"));
    world.pin("command_relations");
}

#[test]
fn nothing_is_published_of_a_command_that_does_not_succeed() {
    let mut world = shop();
    let jobs = [
        (
            "fails",
            "echo on stdout; echo 'Traceback: line 3' >&2; echo 'KeyError: price' >&2; echo 1 > \
             $ASOF_OUTPUT; exit 3",
        ),
        ("is_killed", "echo 1 > $ASOF_OUTPUT; kill -9 $$"),
        (
            "hangs",
            "trap '' TERM; echo half > $ASOF_OUTPUT; while true; do sleep 0.1; done",
        ),
        ("writes_nothing", "true"),
        (
            "writes_two",
            "cd $(dirname $ASOF_OUTPUT); echo a > a.csv; echo b > b.csv",
        ),
        ("writes_rubbish", "echo rubbish > $ASOF_OUTPUT"),
        (
            "replaces_input",
            "cd $(dirname $ASOF_OUTPUT); f=$(readlink $ASOF_TABLE_item); cp $f ../x; mv ../x $f; \
             echo a > a.csv",
        ),
    ];
    let job = |(name, script): &(&str, &str)| {
        let timeout = if *name == "hangs" {
            "timeout = '1s'\n"
        } else {
            ""
        };
        format!(
            "[jobs.{name}]\ncommand = ['sh', '-c', '''{script}''']\ntables = \
             ['item']\n{timeout}output = 'out/{name}'\n"
        )
    };
    let missing = "[jobs.missing]\ncommand = ['no-such-program']\noutput = 'out/missing'\n";
    configure(
        &world,
        &(jobs.iter().map(job).collect::<String>() + missing),
    );
    for (name, _) in jobs {
        let code = if name.starts_with("writes") { 3 } else { 1 };
        assert_eq!(
            world.asof(&format!(
                "backfill {name} --from 2024-03-01 --to 2024-03-01"
            )),
            code,
            "{name}\n{}",
            world.transcript()
        );
        let status = world.json(&format!("status {name} --from 2024-03-01 --to 2024-03-01"));
        assert_eq!(
            status["jobs"][0]["dates"][0]["state"].as_str(),
            Some("failed"),
            "{status}"
        );
    }
    assert_eq!(
        world.asof("backfill missing --from 2024-03-01 --to 2024-03-03"),
        2
    );
    assert!(
        !world
            .listing("out")
            .iter()
            .any(|name| name.ends_with(".parquet")),
        "{:?}",
        world.listing("out")
    );
    assert_eq!(world.listing("tmp"), [] as [String; 0]);
    world.tell("the other dates are published");
    configure(
        &world,
        "[jobs.some]\ncommand = ['sh', 'some.sh']\ntables = ['item']\noutput = 'some'\n",
    );
    world.write(
        "some.sh",
        "test $ASOF_DATE != 2024-03-02 || exit 9\nprintf 'day\\n%s\\n' \
         $ASOF_DATE > $(dirname $ASOF_OUTPUT)/d.csv\n",
    );
    assert_eq!(
        world.asof("backfill some --from 2024-03-01 --to 2024-03-03"),
        5
    );
    assert_eq!(
        world.rows("some/date=2024-03-03/some.parquet"),
        ["day", "2024-03-03"]
    );
    world.tell("what is wrong in the configuration");
    for more in [
        "tables = ['item_events']",
        "events = ['item']",
        "tables = ['itme']",
        "inputs = ['none.py']",
        "timeout = '10'",
        "tables = ['item']\nnames = { items = 'item' }",
        "tables = ['a-b', 'a_b']\nnames = { a-b = 'item', a_b = 'item' }",
        "sql = 'select 1'",
        "how = 'left'",
    ] {
        configure(
            &world,
            &format!("[jobs.wrong]\ncommand = ['true']\n{more}\noutput = 'out'\n"),
        );
        world.refuses(2, "backfill wrong --from 2024-03-01 --to 2024-03-01");
    }
    world.pin("command_failures");
}

#[test]
fn a_date_fails_if_an_input_of_its_command_changes_while_it_runs() {
    for (change, last) in [
        // The same content, in another file.
        (
            "cp rate.txt other; mv other rate.txt",
            "was changed while the command ran",
        ),
        ("echo 3 > rate.txt", "was changed since the run began"),
        ("rm rate.txt", "was changed since the run began"),
    ] {
        let mut world = shop();
        world.write("rate.txt", "2\n");
        let script = |change: &str| {
            format!(
                "cd $(dirname $0); test $ASOF_DATE != 2024-03-02 || {{ {change}; }}\nprintf \
                 'rate\\n%s\\n' \"$(cat rate.txt)\" > $(dirname $ASOF_OUTPUT)/r.csv\n"
            )
        };
        world.write("job.sh", script(change));
        configure(
            &world,
            "[jobs.rated]\ncommand = ['sh', 'job.sh']\ninputs = 'rate.txt'\noutput = 'rated'\n",
        );
        let run = "backfill rated --from 2024-03-01 --to 2024-03-02 --workers 1";
        assert_eq!(world.asof(run), 5, "{}", world.transcript());
        let said = world.transcript();
        assert!(
            said.contains("/rate.txt', one of the command's inputs,"),
            "{said}"
        );
        assert!(said.contains(last), "{said}");
        assert!(!world.path("rated/date=2024-03-02").exists(), "{said}");
        // The next run repeats it, with the content of now for all dates.
        world.write("job.sh", script("true"));
        world.write("rate.txt", "4\n");
        world.succeeds(run);
        for day in 1..=2 {
            assert_eq!(
                world.rows(&format!("rated/date=2024-03-0{day}/rated.parquet")),
                ["rate", "4"]
            );
        }
    }
}

#[test]
fn an_interrupted_run_ends_its_commands_and_publishes_nothing() {
    for signal in ["INT", "TERM"] {
        let world = shop();
        // A child of the command goes on unless the whole group is ended.
        world.write(
            "slow.sh",
            "(sleep 3; echo late > late.txt) & echo x > started.txt; sleep 30; printf 'a\\n1\\n' \
             > $(dirname $ASOF_OUTPUT)/a.csv",
        );
        configure(
            &world,
            "[jobs.slow]\ncommand = ['sh', 'slow.sh']\ntables = ['item']\noutput = 'slow'\n",
        );
        let mut child = world
            .command("backfill slow --from 2024-03-01 --to 2024-03-01")
            .spawn()
            .expect("asof starts");
        for _ in 0..600 {
            if world.path("started.txt").exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        send(signal, &child);
        let status = child.wait().expect("it ends");
        assert_eq!(
            status.code(),
            Some(if signal == "INT" { 130 } else { 143 }),
            "{status:?}"
        );
        std::thread::sleep(Duration::from_millis(3500));
        assert!(
            !world.path("late.txt").exists(),
            "a child of the command went on"
        );
        assert_eq!(
            world.listing("slow"),
            [] as [String; 0],
            "something was left"
        );
        assert_eq!(world.listing("tmp"), [] as [String; 0]);
    }
}
