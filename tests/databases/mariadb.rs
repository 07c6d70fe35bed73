//! MariaDB, which speaks the language of MySQL: every type, one state, and what goes wrong.

use std::io::{Read as _, Write as _, copy};
use std::net::{TcpListener, TcpStream};

use super::servers::{COPY, Database};
use crate::journeys::environment::text;

/// Columns with two values each, the type that asof gives them, and what the client prints as asof
/// does, with `{c}` in the place of the column.
const TYPES: [(&str, &str, &str, &str, &str); 34] = [
    ("tinyint", "-128", "127", "int8", "{c}"),
    ("bool", "true", "2", "int8", "{c}"),
    ("tinyint unsigned", "0", "255", "uint8", "{c}"),
    ("smallint", "-32768", "32767", "int16", "{c}"),
    ("smallint unsigned", "0", "65535", "uint16", "{c}"),
    ("mediumint", "-8388608", "8388607", "int32", "{c}"),
    ("mediumint unsigned", "0", "16777215", "uint32", "{c}"),
    ("int", "-2147483648", "2147483647", "int32", "{c}"),
    (
        "int unsigned zerofill",
        "7",
        "4294967295",
        "uint32",
        "{c} + 0",
    ),
    (
        "bigint",
        "-9223372036854775808",
        "9223372036854775807",
        "int64",
        "{c}",
    ),
    (
        "bigint unsigned",
        "0",
        "18446744073709551615",
        "uint64",
        "{c}",
    ),
    ("year", "1901", "2155", "int16", "{c}"),
    (
        "bit(1)",
        "b'1'",
        "b'0'",
        "bool",
        "CASE {c} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END",
    ),
    ("bit(10)", "b'1000000001'", "b'0'", "uint64", "{c} + 0"),
    ("float", "0.1", "-2.5", "float32", "{c}"),
    ("double", "0.1", "-1.7976931348623157", "float64", "{c}"),
    (
        "decimal(38, 10)",
        "-1234567890123456789012345678.0123456789",
        "0.0000000001",
        "decimal(38, 10)",
        "{c}",
    ),
    (
        "decimal(4, 0) unsigned",
        "9999",
        "0",
        "decimal(4, 0)",
        "{c}",
    ),
    ("char(4)", "'ab'", "''", "text", "{c}"),
    ("varchar(30)", "'ä \"quoted\", 😀'", "' x '", "text", "{c}"),
    ("text", "'t'", "''", "text", "{c}"),
    ("longtext", "'t'", "''", "text", "{c}"),
    ("enum('sad', 'so so')", "'sad'", "'so so'", "text", "{c}"),
    ("set('a', 'b')", "'a,b'", "''", "text", "{c}"),
    (
        "json",
        "'{\"b\": 1.00, \"a\":[1]}'",
        "'null'",
        "text",
        "{c}",
    ),
    (
        "uuid",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        "'00000000-0000-0000-0000-000000000000'",
        "text",
        "{c}",
    ),
    (
        "binary(3)",
        "x'00ff10'",
        "x'00'",
        "binary",
        "LOWER(HEX({c}))",
    ),
    (
        "varbinary(9)",
        "x'00ff10'",
        "''",
        "binary",
        "LOWER(HEX({c}))",
    ),
    ("blob", "x'00ff10'", "''", "binary", "LOWER(HEX({c}))"),
    ("date", "'0001-01-01'", "'9999-12-31'", "date", "{c}"),
    (
        "time(6)",
        "'00:00:00.000001'",
        "'23:59:59.999999'",
        "time",
        "{c}",
    ),
    (
        "datetime",
        "'0001-01-01 00:00:00'",
        "'9999-12-31 23:59:59'",
        "timestamp(us)",
        "REPLACE({c}, ' ', 'T')",
    ),
    (
        "datetime(6)",
        "'2024-03-31 02:30:00.000001'",
        "'9999-12-31 23:59:59.999999'",
        "timestamp(us)",
        "REPLACE({c}, ' ', 'T')",
    ),
    (
        "timestamp(6) NULL",
        "'2024-03-31 02:30:00.000001'",
        "'2038-01-19 03:14:07.999999'",
        "timestamp(us, UTC)",
        "CONCAT(REPLACE({c}, ' ', 'T'), 'Z')",
    ),
];

/// A database with a table `item` of two columns, `id` and `c`.
fn of_type(name: &str, data_type: &str, values: &[&str]) -> Database {
    let database = Database::mariadb(name);
    let mut sql =
        format!("SET sql_mode = ''; CREATE TABLE item (id int PRIMARY KEY, c {data_type});");
    for (id, value) in (1..).zip(values) {
        sql += &format!("INSERT INTO item VALUES ({id}, {value});");
    }
    database.run(&sql);
    database
}

#[test]
fn every_type_is_what_the_client_prints() {
    let database = Database::mariadb("types");
    let (mut columns, mut ones, mut others, mut printed) = (vec![], vec![], vec![], vec![]);
    for (at, (data_type, one, other, _, shown)) in TYPES.iter().enumerate() {
        columns.push(format!("c{at} {data_type}"));
        ones.push(*one);
        others.push(*other);
        printed.push(shown.replace("{c}", &format!("c{at}")));
    }
    let columns = columns.join(", ");
    let (ones, others) = (ones.join(", "), others.join(", "));
    database.run(&format!(
        "SET time_zone = '+00:00'; CREATE TABLE item (id int PRIMARY KEY, {columns});
         INSERT INTO item VALUES (1, {ones}), (2, {others}); INSERT INTO item (id) VALUES (3);"
    ));
    let expected = TYPES.iter().map(|(_, _, _, data_type, _)| *data_type);
    let printed = printed.join(", ");
    database.has_types_and_rows(
        expected,
        &format!("SET time_zone = '+00:00'; SELECT id, {printed} FROM item ORDER BY id"),
    );
}

#[test]
fn what_has_no_exact_type_is_refused_and_the_hint_reads_its_text() {
    for (at, (data_type, value)) in [
        ("decimal(65, 30)", "1.5"),
        ("date", "'0000-00-00'"),
        ("date", "'2024-00-10'"),
        ("datetime", "'0000-00-00 00:00:00'"),
        ("timestamp NULL", "'0000-00-00 00:00:00'"),
        ("time", "'24:00:00'"),
        ("time", "'-01:00:00'"),
    ]
    .into_iter()
    .enumerate()
    {
        let database = of_type(&format!("refused_{at}"), data_type, &[value]);
        database.is_read_as_text("SELECT * FROM item");
    }
    let point = of_type("refused_point", "point", &["ST_GeomFromText('POINT(1 1)')"]);
    point.is_read_as_text("SELECT id, ST_AsText(c) FROM item");
}

#[test]
fn what_goes_wrong_leaves_the_lake_as_it_is() {
    let database = of_type("wrong", "decimal(10, 2)", &["1.20", "4"]);
    database.run("CREATE VIEW dear AS SELECT * FROM item WHERE c > 2");
    let mut world = database.world();
    world.refuses(0, "check item");
    world.succeeds("snapshot item");
    world.succeeds("show item");
    world.at("2024-03-02");
    world.tell("a view, a query, and an instant");
    let source = format!("--source {} --key id", database.url);
    world.succeeds(&format!("snapshot dear {source} --source-table wrong.dear"));
    world.succeeds(&format!(
        "snapshot double {source} --query 'SELECT id, c * 2 AS c, NULL AS n FROM item;'"
    ));
    world.tell("a type that changed overnight");
    database.run("ALTER TABLE item MODIFY c text");
    world.refuses(3, "snapshot item");
    world.tell(
        "nobody at the port, and a database, a table, a column and an option that are not there",
    );
    world.refuses(1, "snapshot item --source mysql://asof@127.0.0.1:1/wrong");
    let (server, _) = database.url.rsplit_once('/').unwrap();
    let server = server.to_owned();
    world.refuses(2, &format!("snapshot item --source {server}/nothing"));
    world.refuses(2, "snapshot item --source-table itme");
    world.refuses(2, "snapshot item --query 'SELECT idd FROM item'");
    world.refuses(2, "snapshot item --query 'DELETE FROM item'");
    world.refuses(
        2,
        &format!("snapshot item --source '{}?ssl=1'", database.url),
    );
    world.tell("a wrong password, one in the URL, and no right to read the table");
    world.variable("MYSQL_PWD", "hunter2");
    world.refuses(2, "snapshot item");
    let told = database.url.replace("asof@", "asof:hunter2@");
    world.refuses(2, &format!("snapshot item --source {told}"));
    database.run("CREATE USER wrong_reader@'127.0.0.1' IDENTIFIED BY 'hunter2'; GRANT SELECT ON wrong.dear TO wrong_reader@'127.0.0.1'");
    let reader = database.url.replace("asof@", "wrong_reader@");
    world.refuses(
        2,
        &format!("snapshot item --source {reader} --query 'SELECT * FROM item'"),
    );
    assert!(
        !world
            .transcript()
            .replace("asof:hunter2@", "")
            .contains("hunter2")
    );
    world.pin("what_goes_wrong_with_mariadb");
}

#[test]
fn a_password_comes_from_my_cnf() {
    let database = of_type("my_cnf", "text", &["'x'"]);
    let mut world = database.world_without_password();
    world.refuses(2, "snapshot item");
    world.write("home/.my.cnf", "[client]\nuser = asof\npassword = 'asof'\n");
    world.variable("HOME", &world.path("home").display().to_string());
    let nobody = database.url.replace("asof@", "");
    world.succeeds(&format!("snapshot item --source {nobody}"));
}

#[test]
fn a_date_in_a_query_is_that_of_the_snapshot() {
    let database = Database::mariadb("dated_20240228");
    database.has_states_of_dates(
        r#"c <> 'it\'s {x}' and c <> "it's" # it's {ds}
           and `day` = '{date}'"#,
    );
}

#[test]
fn a_table_with_system_versions_is_read_as_of_the_date() {
    let database = Database::mariadb("versions");
    database.run(
        "SET @@timestamp = UNIX_TIMESTAMP('2024-02-28 12:00:00');
         CREATE TABLE item (id int PRIMARY KEY, c int) WITH SYSTEM VERSIONING;
         INSERT INTO item VALUES (1, 10);
         SET @@timestamp = UNIX_TIMESTAMP('2024-02-29 12:00:00');
         UPDATE item SET c = 20;",
    );
    let mut world = database.world();
    let query = "SELECT id, c FROM item FOR SYSTEM_TIME AS OF '{date} 23:59:59'";
    for (day, row) in [(28, "1|10"), (29, "1|20")] {
        world.succeeds(&format!(
            "snapshot item --date 2024-02-{day} --query \"{query}\""
        ));
        let copy = format!("lake/item/snapshots/snapshot_date=2024-02-{day}/item.parquet");
        assert_eq!(world.rows(&copy)[1], row);
    }
}

#[test]
fn one_read_sees_one_state() {
    let database = Database::mariadb("one_state");
    database.run("CREATE TABLE item (id int PRIMARY KEY, c decimal(10, 1)) SELECT seq AS id, 1.0 AS c FROM seq_1_to_100000");
    database.keeps_its_sum("START TRANSACTION");
}

#[test]
fn a_connection_that_breaks_publishes_nothing() {
    let database = Database::mariadb("broken");
    // Rows come slowly, so that the connection breaks in the midst of them.
    let query = "SELECT seq AS id, SLEEP(0.001) AS s FROM seq_1_to_1000000";
    database.breaks(query, || {
        let reading = "SELECT id FROM information_schema.processlist WHERE db = 'broken' AND info LIKE 'SELECT seq%'";
        let ids = database.run(reading);
        ids.iter().for_each(|id| drop(database.run(&format!("KILL {id}"))));
        !ids.is_empty()
    });
}

#[test]
fn a_certificate_is_looked_at_as_ssl_mode_says() {
    let database = of_type("certificates", "text", &["'x'"]);
    let authority = std::env::var("ASOF_TEST_MARIADB_CA").expect("tests/run sets it");
    let another = std::env::var("ASOF_TEST_POSTGRES_CA").expect("tests/run sets it");
    let mut world = database.world();
    let localhost = database.url.replace("127.0.0.1", "localhost");
    let source = |url: &str, options: &str| {
        format!("snapshot item --if-exists replace --source '{url}?{options}'")
    };
    let known = |mode: &str| format!("ssl-mode={mode}&ssl-ca={authority}");
    let encrypted = "SELECT 1 AS id, VARIABLE_VALUE <> '' AS is_encrypted FROM \
                     information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'";
    for (options, is_encrypted) in [
        ("ssl-mode=DISABLED", "1|0"),
        ("connect-timeout=30", "1|1"),
        ("ssl-mode=PREFERRED", "1|1"),
        ("ssl-mode=REQUIRED", "1|1"),
        (&known("VERIFY_CA"), "1|1"),
        (&known("VERIFY_IDENTITY"), "1|1"),
    ] {
        let line = source(&database.url, options);
        world.succeeds(&format!("{line} --query \"{encrypted}\""));
        assert_eq!(world.rows(COPY)[1..], [is_encrypted], "{options}");
    }
    world.tell("an authority that did not sign it");
    let refused = |line: &str, what: &str| {
        let output = world.quietly(line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        let tells = said.contains("cannot be reached by TLS") && said.contains(what);
        assert!(tells, "{line}: {said}");
    };
    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        let unknown = format!("ssl-mode={mode}");
        refused(&source(&database.url, &unknown), "UnknownIssuer");
        let wrong = format!("ssl-mode={mode}&ssl-ca={another}");
        refused(&source(&database.url, &wrong), "invalid peer certificate");
        let wrong = format!("ssl-mode={mode}&ssl-ca={another}");
        refused(&source(&localhost, &wrong), "invalid peer certificate");
    }
    refused(
        &source(&localhost, &known("VERIFY_IDENTITY")),
        "not valid for name \"localhost\"",
    );
    world.succeeds(&source(&localhost, &known("VERIFY_CA")));
    assert_eq!(world.rows(COPY)[1..], ["1|x"]);
}

/// The same database behind a server that says that it has no TLS.
fn without_tls(database: &Database) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (_, at) = database.url.split_once('@').expect("a host");
    let server = at.split_once('/').expect("a database").0.to_owned();
    let url = database.url.replace(&server, &format!("127.0.0.1:{port}"));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let behind = TcpStream::connect(&server).expect("the server is there");
            let mut greeting = [0; 1024];
            let length = (&behind).read(&mut greeting).expect("a greeting");
            // A header, the protocol, the version and its end, a thread, a nonce and its end; then
            // what the server can do, of which bit 3 of the second byte is TLS.
            let version = greeting[5..].iter().position(|byte| *byte == 0);
            let capabilities = 5 + version.expect("an end") + 1 + 4 + 8 + 1;
            greeting[capabilities + 1] &= !0x08;
            (&client).write_all(&greeting[..length]).expect("it waits");
            let (mut asked, mut to) = (client.try_clone().unwrap(), behind.try_clone().unwrap());
            std::thread::spawn(move || copy(&mut asked, &mut to));
            std::thread::spawn(move || copy(&mut &behind, &mut &client));
        }
    });
    url
}

#[test]
fn a_server_without_tls_is_refused_unless_it_may_be_without() {
    let database = of_type("unencrypted", "text", &["'x'"]);
    let world = database.world();
    let url = without_tls(&database);
    for (mode, exit) in [
        ("DISABLED", 0),
        ("PREFERRED", 0),
        ("REQUIRED", 2),
        ("VERIFY_CA", 2),
        ("VERIFY_IDENTITY", 2),
    ] {
        let line = format!("snapshot item --if-exists replace --source '{url}?ssl-mode={mode}'");
        let output = world.quietly(&line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{mode}: {said}");
        let tells = said.contains("the server does not support TLS");
        assert_eq!(tells, exit == 2, "{mode}: {said}");
    }
}

#[test]
fn a_socket_is_reached_without_tls() {
    let database = of_type("sockets", "text", &["'x'"]);
    database.run(
        "CREATE USER sockets@localhost IDENTIFIED BY 'asof'; GRANT SELECT ON sockets.* TO sockets@localhost",
    );
    let authority = std::env::var("ASOF_TEST_MARIADB_CA").expect("tests/run sets it");
    let (folder, _) = authority.rsplit_once('/').expect("a folder");
    let mut world = database.world();
    for mode in ["DISABLED", "PREFERRED", "VERIFY_IDENTITY"] {
        let source =
            format!("mysql://sockets@localhost/sockets?host={folder}/data/socket&ssl-mode={mode}");
        world.succeeds(&format!(
            "snapshot item --if-exists replace --source '{source}'"
        ));
    }
}
