//! A database of its own for each test, and the database's own client to look at it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::journeys::environment::{World, text};

/// The password of every user that the tests log in as.
pub(super) const PASSWORD: &str = "asof";

/// The copy of the table `item` that a test takes.
pub(super) const COPY: &str = "lake/item/snapshots/snapshot_date=2024-03-01/item.parquet";

/// A database on a server.
pub(super) struct Database {
    /// Its URL, without a password.
    pub(super) url: String,
    client: fn(&str) -> Command,
}

impl Database {
    /// An empty database of PostgreSQL.
    pub(super) fn postgres(name: &str) -> Self {
        Database::new("ASOF_TEST_POSTGRES", name, psql)
    }

    /// An empty database of MariaDB.
    pub(super) fn mariadb(name: &str) -> Self {
        Database::new("ASOF_TEST_MARIADB", name, mariadb)
    }

    fn new(variable: &str, name: &str, client: fn(&str) -> Command) -> Self {
        let server = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with tests/run"));
        let (at, _) = server.rsplit_once('/').expect("a database");
        let made = Database {
            url: server.clone(),
            client,
        };
        made.run(&format!("CREATE DATABASE {name}"));
        Database {
            url: format!("{at}/{name}"),
            client,
        }
    }

    /// Runs SQL, and returns the rows that it prints, with `|` between their values.
    pub(super) fn run(&self, sql: &str) -> Vec<String> {
        let output = self.begin(sql).wait_with_output().expect("it ends");
        assert!(output.status.success(), "{sql}: {}", text(&output.stderr));
        let printed = text(&output.stdout);
        let rows = printed.lines().map(|row| {
            let cells = row
                .split('\t')
                .map(|cell| if cell == "NULL" { "null" } else { cell });
            cells.collect::<Vec<_>>().join("|")
        });
        rows.collect()
    }

    /// Begins to run SQL.
    pub(super) fn begin(&self, sql: &str) -> std::process::Child {
        let mut client = (self.client)(&self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a client starts");
        let mut input = client.stdin.take().expect("a pipe");
        let sql = sql.to_owned();
        // A client that ends early closes the pipe.
        std::thread::spawn(move || input.write_all(sql.as_bytes()));
        client
    }

    /// The columns of `item` have these types behind the key, and the rows of its copy are those
    /// that the client prints for a query.
    pub(super) fn has_types_and_rows<'a>(&self, types: impl Iterator<Item = &'a str>, query: &str) {
        let mut world = self.world();
        world.succeeds("snapshot item");
        let report = world.json("schema item");
        let columns = report["columns"].as_array().expect("columns").iter();
        let found: Vec<&str> = columns
            .map(|column| column["type"].as_str().expect("a type"))
            .collect();
        assert_eq!(
            found,
            ["int32"].into_iter().chain(types).collect::<Vec<_>>()
        );
        assert_eq!(world.rows(COPY)[1..], self.run(query));
    }

    /// Column `c` of `item` is refused, and the first hint reads what the client prints for a
    /// query.
    #[track_caller]
    pub(super) fn is_read_as_text(&self, query: &str) {
        let mut world = self.world();
        world.refuses(3, "snapshot item");
        let transcript = world.transcript();
        assert!(transcript.contains("column 'c'"), "{transcript}");
        let hint = hint(&world.quietly("snapshot item"));
        world.succeeds(&format!("snapshot item {hint}"));
        assert_eq!(world.rows(COPY)[1..], self.run(query), "{hint}");
    }

    /// The date of the snapshot stands in a query, in quotes or not, in the name of a table, and in
    /// the name of a database; and nowhere where a quote is no quote. `tricky` is SQL in which a
    /// `'{date}'` stands behind what only this database reads so, and ends in a condition on it.
    pub(super) fn has_states_of_dates(&self, tricky: &str) {
        self.run(
            "CREATE TABLE item_history (id int, day date, c varchar(9));
             INSERT INTO item_history VALUES (1, '2024-02-28', 'old'), (1, '2024-02-29', 'new');
             CREATE TABLE item_20240228 (id int, c varchar(9));
             INSERT INTO item_20240228 VALUES (7, 'seven');",
        );
        let mut world = self.world();
        let rows = |world: &World, table: &str, day: u32| {
            world.rows(&format!(
                "lake/{table}/snapshots/snapshot_date=2024-02-{day}/{table}.parquet"
            ))
        };
        let config = text(&world.bytes("asof.toml"));
        for (number, condition) in [
            "day = '{date}'",
            "day = {date}",
            "day > '{yesterday}' and day <= {date}",
            "day = cast('{date:%Y%m%d}' as date)",
            tricky,
        ]
        .iter()
        .enumerate()
        {
            let table = format!("t{number}");
            let source = &self.url;
            world.write(
                "asof.toml",
                format!(
                    "{config}[tables.{table}]\nsource = '{source}'\nkey = ['id']\nquery = \"\"\"select \
                     id, c from item_history where {condition}\"\"\"\n",
                    condition = condition.replace('\\', "\\\\"),
                ),
            );
            for (day, value) in [(28, "old"), (29, "new")] {
                world.succeeds(&format!("snapshot {table} --date 2024-02-{day}"));
                let found = rows(&world, &table, day);
                assert_eq!(
                    found,
                    ["id|c".to_owned(), format!("1|{value}")],
                    "{condition}"
                );
            }
            world.refuses(0, &format!("check {table} --date 2024-02-28"));
        }
        world.write("asof.toml", config);
        let source = format!("--source {} --key id", self.url);
        world.succeeds(&format!(
            "snapshot named {source} --date 2024-02-28 --source-table item_{{date:%Y%m%d}}"
        ));
        assert_eq!(rows(&world, "named", 28)[1], "7|seven");
        let (server, database) = self.url.rsplit_once('/').expect("a database");
        let dated = format!("{server}/{}", database.replace("20240228", "{date:%Y%m%d}"));
        assert!(dated.contains('{'), "{dated}");
        world.succeeds(&format!(
            "snapshot far --source '{dated}' --key id --date 2024-02-28 --source-table \
             item_20240228"
        ));
        let footer = world.footer("lake/far/snapshots/snapshot_date=2024-02-28/far.parquet");
        assert_eq!(footer["dated_source"], self.url.as_str());
        world.tell("a name in braces that is none");
        world.refuses(
            2,
            &format!("snapshot t {source} --date 2024-02-28 --query \"select '{{ds}}' as id\""),
        );
        world.refuses(
            2,
            &format!("snapshot t {source} --date 2024-02-28 --query 'select {{end}} as id'"),
        );
    }

    /// A copy of `item`, whose 100,000 rows have a sum of 100,000 in `c`, has that sum although it
    /// is moved between them meanwhile. `begin` begins a transaction.
    pub(super) fn keeps_its_sum(&self, begin: &str) {
        let world = self.world();
        let moves: String = (0..100_000_i64)
            .map(|n| {
                let (from, to) = (1 + n * 7919 % 100_000, 100_000 - n * 104_729 % 100_000);
                format!("{begin}; UPDATE item SET c = c - 1.5 WHERE id = {from}; UPDATE item SET c = c + 1.5 WHERE id = {to}; COMMIT;\n")
            })
            .collect();
        let mut mover = self.begin(&moves);
        let output = world.quietly("snapshot item");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let ended = mover.try_wait().expect("it runs");
        assert!(ended.is_none(), "it moves to the end");
        mover.kill().expect("it stops");
        mover.wait().expect("it ends");
        let rows = world.rows(COPY);
        let sum = rows[1..]
            .iter()
            .map(|row| row.split('|').nth(1).unwrap().parse::<f64>().unwrap())
            .sum::<f64>();
        assert_eq!((rows.len(), sum), (100_001, 100_000.0));
    }

    /// A connection that breaks while it reads a query publishes nothing. `has_broken` breaks it
    /// once it reads, and says whether it did.
    pub(super) fn breaks(&self, query: &str, has_broken: impl Fn() -> bool) {
        let world = self.world();
        let child = world
            .command(&format!("--no-progress snapshot item --query '{query}'"))
            .spawn()
            .expect("asof starts");
        let begun = Instant::now();
        while !has_broken() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never reads");
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = child.wait_with_output().expect("it ends");
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        let names_the_rest =
            printed.contains("table item, 2024-03-01") && printed.contains("before the last row");
        assert!(names_the_rest, "{printed}");
        assert!(!world.path(COPY).exists());
    }

    /// A world whose table `item` has this database as its source, and the password in its
    /// environment.
    pub(super) fn world(&self) -> World {
        let mut world = self.world_without_password();
        for variable in ["PGPASSWORD", "MYSQL_PWD"] {
            world.variable(variable, PASSWORD);
        }
        world
    }

    /// The same with nothing in its environment.
    pub(super) fn world_without_password(&self) -> World {
        let mut world = World::new();
        world.at("2024-03-01");
        let source = &self.url;
        world.write(
            "asof.toml",
            format!("lake = 'lake'\n[tables.item]\nsource = '{source}'\nkey = ['id']\n"),
        );
        let (_, at) = self.url.split_once('@').expect("a host");
        let (host, _) = at.split_once('/').expect("a database");
        world.call(host, "[HOST]");
        world
    }
}

fn psql(url: &str) -> Command {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-t", "-P", "null=null"])
        .args(["-v", "ON_ERROR_STOP=1", url])
        .env("PGPASSWORD", PASSWORD);
    psql
}

fn mariadb(url: &str) -> Command {
    let (_, at) = url.split_once('@').expect("a host");
    let (host, database) = at.split_once('/').expect("a database");
    let (host, port) = host.split_once(':').expect("a port");
    let mut mariadb = Command::new("mariadb");
    mariadb
        .args([
            "--no-defaults",
            "-N",
            "-B",
            "-r",
            "--default-character-set=utf8mb4",
        ])
        .args(["-h", host, "-P", port, "-u", PASSWORD, database])
        .env("MYSQL_PWD", PASSWORD);
    mariadb
}

/// The first hint that a command printed.
fn hint(output: &Output) -> String {
    let printed = text(&output.stderr);
    let hint = printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("hint: "));
    hint.unwrap_or_else(|| panic!("no hint: {printed}"))
        .to_owned()
}
