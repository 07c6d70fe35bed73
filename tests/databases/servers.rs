//! A database of its own for each test, and the database's own client to look at it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::journeys::environment::{World, text};

/// The password of every user that the tests log in as.
pub(super) const PASSWORD: &str = "asof";

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
pub(super) fn hint(output: &Output) -> String {
    let printed = text(&output.stderr);
    let hint = printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("hint: "));
    hint.unwrap_or_else(|| panic!("no hint: {printed}"))
        .to_owned()
}
