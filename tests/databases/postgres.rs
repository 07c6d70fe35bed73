//! PostgreSQL: every type, one state, and everything that can go wrong between two nights.

use super::servers::{COPY, Database, PASSWORD};
use crate::journeys::environment::text;

/// Columns with two values each, the type that asof gives them, and what psql prints as asof does.
const TYPES: [(&str, &str, &str, &str, &str); 33] = [
    ("bool", "true", "false", "bool", "c::text"),
    ("int2", "-32768", "32767", "int16", "c::text"),
    ("int4", "-2147483648", "2147483647", "int32", "c::text"),
    (
        "int8",
        "-9223372036854775808",
        "9223372036854775807",
        "int64",
        "c::text",
    ),
    ("oid", "0", "4294967295", "uint32", "c::text"),
    ("float4", "0.1", "-2.5", "float32", "c::text"),
    ("float8", "0.1", "-1.7976931348623157", "float64", "c::text"),
    (
        "numeric(38, 10)",
        "-1234567890123456789012345678.0123456789",
        "0.0000000001",
        "decimal(38, 10)",
        "c::text",
    ),
    ("numeric(4)", "9999", "-1", "decimal(4, 0)", "c::text"),
    (
        "numeric(3, -2)",
        "12300",
        "-99900",
        "decimal(5, 0)",
        "c::text",
    ),
    (
        "numeric",
        "12345678901234567890.5",
        "0.00001",
        "decimal(25, 5)",
        "round(c, 5)::text",
    ),
    ("numeric(60, 2)", "-7.25", "100", "decimal(5, 2)", "c::text"),
    ("text", "'ä \"quoted\", 😀'", "''", "text", "c"),
    ("varchar(9)", "' x '", "'y'", "text", "c"),
    (
        "char(4)",
        "'ab'",
        "'abcd'",
        "text",
        "c::bpchar || repeat(' ', 4 - length(c))",
    ),
    ("name", "'n'", "'m'", "text", "c::text"),
    ("\"char\"", "'c'", "''", "text", "c::text"),
    ("bytea", "'\\x00ff10'", "''", "binary", "encode(c, 'hex')"),
    ("date", "'0001-01-01'", "'9999-12-31'", "date", "c::text"),
    ("time", "'00:00:00'", "'23:59:59.999999'", "time", "c::text"),
    (
        "timestamp",
        "'0001-01-01 00:00:00'",
        "'2024-02-29 23:59:59.999999'",
        "timestamp(us)",
        "replace(c::text, ' ', 'T')",
    ),
    (
        "timestamptz",
        "'2024-03-31 02:30:00+01'",
        "'9999-12-31 20:59:59.999999-02'",
        "timestamp(us, UTC)",
        "replace((c AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'",
    ),
    (
        "uuid",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        "'00000000-0000-0000-0000-000000000000'",
        "text",
        "c::text",
    ),
    (
        "json",
        "'{\"b\": 1.00, \"a\":[1]}'",
        "'null'",
        "text",
        "c::text",
    ),
    (
        "jsonb",
        "'{\"b\": 1.00, \"a\":[1]}'",
        "'\"x\"'",
        "text",
        "c::text",
    ),
    ("mood", "'sad'", "'so so'", "text", "c::text"),
    ("price", "1.5", "-99999.999", "decimal(8, 3)", "c::text"),
    ("int4[]", "'{1,NULL,-3}'", "'{}'", "list<int32>", LIST),
    (
        "text[]",
        "'{a,\"b,c\",\"\"}'",
        "'{NULL}'",
        "list<text>",
        LIST,
    ),
    (
        "numeric[]",
        "'{1.5,-22}'",
        "'{0.125}'",
        "list<decimal(5, 3)>",
        "CASE WHEN c IS NOT NULL THEN '[' || array_to_string(ARRAY(SELECT round(x, 3) FROM unnest(c) x), ', ') || ']' END",
    ),
    ("mood[]", "'{sad}'", "'{\"so so\",sad}'", "list<text>", LIST),
    ("date[]", "'{2024-02-29}'", "'{}'", "list<date>", LIST),
    (
        "uuid[]",
        "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'",
        "'{}'",
        "list<text>",
        LIST,
    ),
];
const LIST: &str = "'[' || array_to_string(c, ', ', '') || ']'";

/// A database with a table `item` of two columns, `id` and `c`.
fn of_type(name: &str, data_type: &str, values: &[&str]) -> Database {
    let database = Database::postgres(name);
    database.run(&format!(
        "CREATE TABLE item (id int PRIMARY KEY, c {data_type})"
    ));
    for (id, value) in (1..).zip(values) {
        database.run(&format!("INSERT INTO item VALUES ({id}, {value})"));
    }
    database
}

#[test]
fn every_type_is_what_psql_prints() {
    let database = Database::postgres("types");
    let mut sql =
        "CREATE TYPE mood AS ENUM ('sad', 'so so'); CREATE DOMAIN price AS numeric(8, 3);"
            .to_owned();
    let (mut columns, mut ones, mut others, mut printed) = (vec![], vec![], vec![], vec![]);
    for (at, (data_type, one, other, _, shown)) in TYPES.iter().enumerate() {
        columns.push(format!("c{at} {data_type}"));
        ones.push(*one);
        others.push(*other);
        printed.push(format!(
            "(SELECT {shown} FROM (SELECT c{at} AS c) AS value)"
        ));
    }
    sql += &format!(
        "CREATE TABLE item (id int PRIMARY KEY, {});",
        columns.join(", ")
    );
    sql += &format!(
        "INSERT INTO item VALUES (1, {}), (2, {});",
        ones.join(", "),
        others.join(", ")
    );
    sql += "INSERT INTO item (id) VALUES (3);";
    database.run(&sql);
    let expected = TYPES.iter().map(|(_, _, _, data_type, _)| *data_type);
    let printed = printed.join(", ");
    database.has_types_and_rows(
        expected,
        &format!("SELECT id, {printed} FROM item ORDER BY id"),
    );
}

#[test]
fn a_type_without_an_exact_one_is_refused_and_the_hint_reads_its_text() {
    for (at, (data_type, value)) in [
        ("interval", "'1 month 2 days'"),
        ("timetz", "'10:00+02'"),
        ("inet", "'10.0.0.1/8'"),
        ("money", "'1.20'"),
        ("int4range", "'[1,3)'"),
        ("bit(3)", "'101'"),
        ("point", "'(1,2)'"),
        ("int4[]", "'{{1,2},{3,4}}'"),
        ("int4[]", "'[0:1]={1,2}'"),
        ("time", "'24:00:00'"),
        ("numeric(10, 2)", "'NaN'"),
        ("numeric", "'Infinity'"),
        ("numeric", "12345678901234567890123456789012345678.5"),
    ]
    .into_iter()
    .enumerate()
    {
        let database = of_type(&format!("refused_{at}"), data_type, &[value]);
        database.is_read_as_text("SELECT id, c::text FROM item");
    }
}

#[test]
fn dates_that_no_calendar_has_are_refused_by_name() {
    for (at, (data_type, value)) in [
        ("date", "'infinity'"),
        ("timestamp", "'-infinity'"),
        ("timestamptz", "'infinity'"),
        ("date[]", "'{2024-01-01,infinity}'"),
        ("timestamp", "'294276-12-31'"),
    ]
    .into_iter()
    .enumerate()
    {
        let database = of_type(&format!("infinity_{at}"), data_type, &[value]);
        let mut world = database.world();
        world.refuses(3, "snapshot item");
        let name = value.trim_matches(|c| c == '\'' || c == '{' || c == '}');
        let name = name.rsplit(',').next().unwrap();
        if !name.contains("294276") {
            assert!(
                world.transcript().contains(&format!("'c' holds {name}")),
                "{}",
                world.transcript()
            );
        }
        world.succeeds("snapshot item --query 'SELECT id, NULL::date AS c FROM item'");
    }
}

#[test]
fn a_table_of_postgres_is_copied_each_night() {
    let database = of_type("nights", "numeric", &["1.20", "4", "NULL"]);
    database.run("CREATE SCHEMA shop; CREATE TABLE shop.\"Order\" (id int, at timestamptz); CREATE VIEW dear AS SELECT * FROM item WHERE c > 2");
    let mut world = database.world();
    world.refuses(0, "check item");
    world.succeeds("snapshot item");
    world.tell("a price has changed, a row is gone, and no price has a fraction");
    database.run("UPDATE item SET c = 13 WHERE id = 1; DELETE FROM item WHERE id = 2");
    world.at("2024-03-02");
    world.succeeds("snapshot item");
    world.succeeds("compact item");
    world.succeeds("history item 1");
    world.tell("an empty table of a schema, a view, and a query");
    let source = format!("--source {} --key id", database.url);
    world.refuses(
        3,
        &format!("snapshot order {source} --source-table shop.Order"),
    );
    world.succeeds(&format!(
        "snapshot order {source} --source-table shop.Order --force"
    ));
    world.succeeds(&format!("snapshot dear {source}"));
    world.succeeds(&format!(
        "snapshot double {source} --query 'SELECT id, c * 2 AS c FROM item -- twice'"
    ));
    world.succeeds("show double");
    world.pin("a_table_of_postgres_is_copied_each_night");
}

#[test]
fn a_date_in_a_query_is_that_of_the_snapshot() {
    let database = Database::postgres("dated_20240228");
    database.has_states_of_dates(
        r#"c <> E'it\'s {ds2}' and c <> $q$it's {x}$q$ and '{1,2}' <> '{a,b}' and day = '{date}'::date"#,
    );
}

#[test]
fn one_server_is_asked_through_no_more_connections_than_are_allowed() {
    let database = Database::postgres("connections");
    // The row says how many connections were reading when it was made.
    let query = "SELECT 1 AS id, pg_sleep(0.3)::text AS slept, (SELECT count(*) FROM \
                 pg_stat_activity WHERE state = 'active' AND datname = current_database()) AS busy";
    let most_busy = |limits: &str| {
        let world = database.world();
        let mut config = format!("lake = 'lake'\n{limits}");
        for table in 0..6 {
            let source = &database.url;
            config += &format!(
                "[tables.t{table}]\nsource = '{source}'\nquery = \"{query}\"\nkey = ['id']\n"
            );
        }
        world.write("asof.toml", config);
        let output = world.quietly("snapshot");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let busy = (0..6).map(|table| {
            let path = format!("lake/t{table}/snapshots/snapshot_date=2024-03-01/t{table}.parquet");
            let row = world.rows(&path)[1].clone();
            row.rsplit('|').next().unwrap().parse::<u32>().unwrap()
        });
        busy.max().unwrap()
    };
    assert_eq!(most_busy("[limits]\nmax_connections = 1\n"), 1);
    assert_eq!(most_busy("[limits]\nmax_connections = 2\n"), 2);
    let by_default = most_busy("");
    assert!((2..=4).contains(&by_default), "{by_default}");
}

#[test]
fn what_goes_wrong_leaves_the_lake_as_it_is() {
    let database = of_type("wrong", "numeric(10, 2)", &["1.20", "4"]);
    let mut world = database.world();
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.tell("a type that changed overnight");
    database.run("ALTER TABLE item ALTER c TYPE text");
    world.refuses(3, "snapshot item");
    database.run("ALTER TABLE item ALTER c TYPE numeric(10, 2) USING c::numeric");
    world.tell(
        "nobody at the port, and a database, a table, a column and an option that are not there",
    );
    world.refuses(
        1,
        "snapshot item --source postgres://asof@127.0.0.1:1/wrong",
    );
    let (server, _) = database.url.rsplit_once('/').unwrap();
    let server = server.to_owned();
    world.refuses(2, &format!("snapshot item --source {server}/nothing"));
    world.refuses(2, "snapshot item --source-table itme");
    world.refuses(2, "snapshot item --query 'SELECT idd FROM item'");
    world.refuses(2, "snapshot item --query 'DELETE FROM item RETURNING id'");
    world.refuses(
        2,
        &format!("snapshot item --source '{}?ssl_mode=require'", database.url),
    );
    world.tell("no right to read the table");
    database.run("CREATE USER wrong_reader PASSWORD 'asof'");
    let reader = database.url.replace("asof@", "wrong_reader@");
    world.refuses(2, &format!("snapshot item --source {reader}"));
    world.pin("what_goes_wrong_with_postgres");
}

#[test]
fn a_password_comes_from_many_places_and_reaches_none() {
    let database = of_type("passwords", "text", &["'x'"]);
    database.run("CREATE USER secretive PASSWORD 'hunter2@/:%'; GRANT SELECT ON item TO secretive");
    let url = database.url.replace("asof@", "secretive@");
    let told = database.url.replace("asof@", "secretive:hunter2@");
    let mut world = database.world();
    let tells_nothing = |world: &crate::journeys::environment::World, line: &str| {
        let output = world.quietly(&format!("-vv {line}"));
        for printed in [text(&output.stdout), text(&output.stderr)] {
            assert!(!printed.contains("hunter2"), "{line}: {printed}");
        }
        output.status.code()
    };
    assert_eq!(
        tells_nothing(&world, &format!("snapshot item --source {url}")),
        Some(2),
        "wrong"
    );
    assert_eq!(
        tells_nothing(&world, &format!("snapshot item --source {told}")),
        Some(2),
        "told"
    );
    world.write(
        "asof.toml",
        format!("lake = 'lake'\n[tables.item]\nsource = '{told}'\nkey = ['id']\n"),
    );
    assert_eq!(tells_nothing(&world, "snapshot item"), Some(2), "told");
    assert!(world.listing("lake").is_empty());
    let variable = database.url.replace("asof@", "secretive:${SHOP_PW}@");
    world.write(
        "asof.toml",
        format!("lake = 'lake'\n[tables.item]\nsource = '{variable}'\nkey = ['id']\n"),
    );
    world.variable("SHOP_PW", "hunter2@/:%");
    assert_eq!(
        tells_nothing(&world, "snapshot item"),
        Some(0),
        "a variable"
    );
    assert_eq!(world.footer(COPY)["source"], serde_json::json!(variable));
    world.variable("PGPASSWORD", "hunter2@/:%");
    assert_eq!(
        tells_nothing(
            &world,
            &format!("snapshot other --key id --source-table item --source {url}")
        ),
        Some(0),
        "PGPASSWORD"
    );
    world.variable(
        "DATABASE_URL",
        &told.replace("hunter2@", "hunter2%40%2F%3A%25@"),
    );
    world.variable("PGPASSWORD", "wrong");
    world.write("asof.toml", "lake = 'lake'\n[tables.whole]\nsource = '${DATABASE_URL}'\nsource_table = 'item'\nkey = ['id']\n");
    assert_eq!(
        tells_nothing(&world, "snapshot whole"),
        Some(0),
        "a whole URL"
    );
    assert_eq!(PASSWORD, "asof");
}

#[test]
fn one_read_sees_one_state() {
    let database = Database::postgres("one_state");
    database.run("CREATE TABLE item (id int PRIMARY KEY, c numeric); INSERT INTO item SELECT i, 1 FROM generate_series(1, 100000) i");
    database.keeps_its_sum("BEGIN");
}

#[test]
fn a_connection_that_breaks_publishes_nothing() {
    let database = Database::postgres("broken");
    // Rows come slowly, so that the connection breaks in the midst of them.
    database.run("CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.001); RETURN i; END'");
    database.breaks("SELECT slow(i) AS id FROM generate_series(1, 1000000) i", || {
        let ended = database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'asof' AND query LIKE 'COPY%' AND datname = 'broken'");
        !ended.is_empty()
    });
}

#[test]
fn a_certificate_is_looked_at_as_sslmode_says() {
    let database = of_type("certificates", "text", &["'x'"]);
    let authority = std::env::var("ASOF_TEST_POSTGRES_CA").expect("tests/run sets it");
    let mut world = database.world();
    let localhost = database.url.replace("127.0.0.1", "localhost");
    let source = |url: &str, options: &str| {
        format!("snapshot item --if-exists replace --source '{url}?{options}'")
    };
    for mode in ["disable", "prefer", "require"] {
        world.succeeds(&source(&database.url, &format!("sslmode={mode}")));
    }
    let encrypted = "SELECT 1 AS id, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (mode, is_encrypted) in [("disable", "1|false"), ("prefer", "1|true")] {
        let line = source(&database.url, &format!("sslmode={mode}"));
        world.succeeds(&format!("{line} --query '{encrypted}'"));
        assert_eq!(world.rows(COPY)[1..], [is_encrypted], "{mode}");
    }
    for mode in ["verify-ca", "verify-full"] {
        world.refuses(2, &source(&database.url, &format!("sslmode={mode}")));
        assert!(world.transcript().contains("cannot be reached by TLS"));
        let known = format!("sslmode={mode}&sslrootcert={authority}");
        world.succeeds(&source(&database.url, &known));
    }
    let known = |mode: &str| format!("sslmode={mode}&sslrootcert={authority}");
    world.succeeds(&source(&localhost, &known("verify-ca")));
    world.refuses(2, &source(&localhost, &known("verify-full")));
}
