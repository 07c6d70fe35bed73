//! `asof check --connect` of tables in databases: their columns, without their rows, and what is
//! said of servers that cannot be reached.

use std::io::Read as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::servers::{Database, PASSWORD};
use crate::journeys::environment::{World, text};

/// A world whose tables are read from both servers, with the database's name in both.
fn shop(postgres: &Database, mariadb: &Database) -> World {
    let mut world = postgres.world();
    world.write(
        "asof.toml",
        format!(
            "lake = 'lake'
[tables.item]
source = '{0}'
key = ['id']
types = {{ code = 'text' }}
columns.changed = {{ max_age = '2d' }}
[tables.price]
source = '{0}'
query = 'SELECT id, sum(price) AS price FROM item GROUP BY id'
key = ['id']
[tables.stock]
source = '{1}'
key = ['item_id']
[events.sales]
path = 'sales'
layout = 'date=%Y-%m-%d'
[jobs.revenue]
sql = 'select sum(qty * price) as revenue from sales join price on item_id = price.id'
output = 'revenue'
",
            postgres.url, mariadb.url
        ),
    );
    world.write("sales/date=2024-02-29/a.csv", "item_id,qty\n1,2\n");
    let (_, at) = mariadb.url.split_once('@').expect("a host");
    let (host, _) = at.split_once('/').expect("a database");
    world.call(host, "[MARIADB]");
    postgres.run(
        "CREATE TABLE item (id int PRIMARY KEY, code int, price numeric, changed timestamptz);
         INSERT INTO item SELECT n, n, n / 7.0, now() FROM generate_series(1, 1000) AS n",
    );
    mariadb.run("CREATE TABLE stock (item_id INT PRIMARY KEY, n DECIMAL(9, 2))");
    world
}

#[test]
fn columns_of_databases_are_checked_without_their_rows() {
    let (postgres, mariadb) = (
        Database::postgres("connects"),
        Database::mariadb("connects"),
    );
    let mut world = shop(&postgres, &mariadb);
    world.refuses(0, "check --connect");
    let report = world.json("check --connect price");
    let columns = &report["parts"][0]["columns"];
    assert_eq!(
        columns[1]["type"], "null",
        "only the values tell its digits"
    );
    world.tell("a row that a snapshot would refuse is not read");
    postgres.run("INSERT INTO item VALUES (1001, 1, 'NaN', now())");
    world.refuses(0, "check --connect item");
    world.refuses(3, "check item");
    world.tell("everything that can be wrong with them, at a time");
    world.write("wrong.db", "");
    let config = text(&world.bytes("asof.toml"));
    let wrong = config
        .replace("key = ['item_id']", "key = ['itemid']")
        .replace("code = 'text'", "cod = 'text'")
        .replace("sum(price)", "sum(prize)");
    world.write(
        "asof.toml",
        wrong + "[tables.gone]\nsource = 'sqlite:gone.db'\nkey = ['id']\n",
    );
    world.refuses(5, "check --connect");
    world.tell("a wrong password is the same for all tables of the server");
    world.write("asof.toml", config);
    world.variable("PGPASSWORD", "hunter2");
    world.refuses(5, "check --connect");
    world.variable("MYSQL_PWD", "hunter2");
    world.refuses(2, "check --connect stock");
    assert!(
        !world.transcript().contains("hunter2"),
        "{}",
        world.transcript()
    );
    world.pin("connects");
}

#[test]
fn the_three_commands_of_the_readme_work_when_typed() {
    let database = Database::postgres("readme");
    database.run("CREATE TABLE item (id int, name text); INSERT INTO item VALUES (1, 'pen')");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme = readme.expect("README.md");
    let (_, block) = readme
        .split_once("export PGPASSWORD=")
        .expect("the commands");
    let lines: Vec<&str> = block.lines().take_while(|line| *line != "```").collect();
    assert!(lines[0].starts_with("... ASOF_LAKE=lake "), "{}", lines[0]);
    let mut world = World::new();
    world.variable("PGPASSWORD", PASSWORD);
    world.variable("ASOF_LAKE", "lake");
    for line in &lines[1..] {
        let typed = line.replace("postgres://reader@db.example.com/shop", &database.url);
        world.succeeds(typed.strip_prefix("asof ").expect("a command"));
    }
    assert_eq!(lines.len(), 3);
    assert!(
        world.transcript().contains(" 1  pen\n"),
        "{}",
        world.transcript()
    );
}

#[test]
fn a_locked_table_is_waited_for_as_long_as_the_url_says() {
    let (postgres, mariadb) = (Database::postgres("locked"), Database::mariadb("locked"));
    let world = shop(&postgres, &mariadb);
    let config = text(&world.bytes("asof.toml"));
    let patient = config.replace("/locked'\nkey", "/locked?connect_timeout=2'\nkey");
    world.write("asof.toml", patient);
    let mut locker =
        postgres.begin("BEGIN; LOCK TABLE item; SELECT 1; SELECT pg_sleep(20); COMMIT;");
    let is_locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND \
                     relation = 'item'::regclass AND granted";
    while postgres.run(is_locked) != ["1"] {
        std::thread::sleep(Duration::from_millis(50));
    }
    let begun = Instant::now();
    let output = world.quietly("check --connect item");
    locker.kill().expect("it is ended");
    locker.wait().expect("it ends");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("does not answer within 2 s"), "{said}");
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn servers_that_do_not_answer_are_unreachable_within_their_time() {
    // One that refuses connections, and one that takes them and says nothing.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refusing = closed.local_addr().expect("an address").port();
    drop(closed);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in silent.incoming().flatten() {
            std::thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    let mut world = World::new();
    world.variable("PGPASSWORD", PASSWORD);
    world.call(&port.to_string(), "[SILENT]");
    world.call(&refusing.to_string(), "[REFUSING]");
    world.write(
        "asof.toml",
        format!(
            "lake = 'lake'
[tables.a]
source = 'postgres://u@127.0.0.1:{refusing}/d?connect_timeout=1'
[tables.b]
source = 'postgres://u@127.0.0.1:{port}/d?connect_timeout=1'
[tables.c]
source = 'mysql://u@127.0.0.1:{refusing}/d?connect-timeout=1'
[tables.d]
source = 'mysql://u@127.0.0.1:{port}/d?connect-timeout=1'
"
        ),
    );
    let begun = Instant::now();
    world.refuses(5, "check --connect");
    for table in ["a", "b", "c", "d"] {
        world.refuses(1, &format!("check --connect {table}"));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    world.pin("connects_to_nobody");
}
