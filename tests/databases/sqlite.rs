//! Snapshots of tables in databases.

use rusqlite::Connection;

use crate::journeys::environment::World;

/// A database of a shop, `shop.db`, with the table of a lake that takes its snapshots from it.
fn shop() -> World {
    let mut world = World::new();
    world.at("2024-03-01");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'sqlite:shop.db'\nkey = ['id']\n",
    );
    run(
        &world,
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price DECIMAL(10, 2), sold BOOLEAN);
         INSERT INTO item VALUES (1, 'pen', 1.20, 1), (2, 'ink', 4, 0), (3, NULL, 2.5, NULL);",
    );
    world
}

/// Runs SQL in the database.
fn run(world: &World, sql: &str) {
    let database = Connection::open(world.path("shop.db")).expect("a database");
    database.execute_batch(sql).expect("it runs");
}

#[test]
fn a_table_of_sqlite_is_copied_each_night() {
    let mut world = shop();
    world.refuses(0, "check item");
    world.refuses(0, "check other --source sqlite:shop.db --source-table item");
    world.succeeds("snapshot item");
    world.tell("the next night, a price has changed and a row is gone");
    run(
        &world,
        "UPDATE item SET price = 1.3 WHERE id = 1; DELETE FROM item WHERE id = 3;",
    );
    world.at("2024-03-02");
    world.succeeds("snapshot item");
    world.succeeds("compact item");
    world.succeeds("history item 1");
    world.succeeds("show item --date 2024-03-01");
    world.tell("a query, and a table of another name");
    world.succeeds(
        "snapshot dear --source sqlite:shop.db --query 'SELECT id, price FROM item WHERE price > 2' --key id",
    );
    world.succeeds("snapshot items --source sqlite:shop.db --source-table item --key id");
    world.pin("a_table_of_sqlite_is_copied_each_night");
}

#[test]
fn a_database_in_wal_mode_is_read_without_a_trace() {
    let mut world = shop();
    run(&world, "PRAGMA journal_mode = WAL");
    world.tell("no other program has it open");
    world.refuses(0, "check --connect");
    world.refuses(0, "check item");
    world.succeeds("snapshot item");
    assert_eq!(
        world
            .listing("")
            .iter()
            .filter(|path| path.starts_with("shop.db"))
            .count(),
        1,
        "{:?}",
        world.listing("")
    );
    world
        .tell("another connection holds the log, with rows that are committed and one that is not");
    let shop = Connection::open(world.path("shop.db")).expect("a database");
    shop.execute_batch("INSERT INTO item VALUES (4, 'cap', 1, 1); ALTER TABLE item ADD size TEXT")
        .expect("committed");
    shop.execute_batch("BEGIN IMMEDIATE; INSERT INTO item VALUES (5, 'map', 1, 1, 'A4')")
        .expect("not committed");
    let files = |world: &World| {
        let mut tree = world.tree("");
        // The shared memory by which readers and writers agree.
        assert!(tree.remove("shop.db-shm").is_some(), "{:?}", tree.keys());
        assert!(tree.contains_key("shop.db-wal"), "{:?}", tree.keys());
        tree
    };
    let before = files(&world);
    world.succeeds("check --connect");
    world.succeeds("check item");
    assert_eq!(before, files(&world));
    world.at("2024-03-02");
    world.succeeds("snapshot item");
    let copied = world.rows("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet");
    assert_eq!(copied.len(), 5, "a header and four rows: {copied:?}");
    drop(shop);
    world.tell("a column that is not there");
    let config = crate::journeys::environment::text(&world.bytes("asof.toml"));
    world.write("asof.toml", config + "types = { colour = 'text' }\n");
    world.refuses(2, "check --connect item");
    world.pin("a_database_in_wal_mode");
}

#[test]
fn what_sqlite_refuses_leaves_the_lake_as_it_is() {
    let mut world = shop();
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.tell("a value that its column does not hold, and the hint, typed");
    run(&world, "INSERT INTO item VALUES (4, 'cap', 'dear', 1)");
    world.refuses(3, "snapshot item");
    world.succeeds(
        "snapshot free --source sqlite:shop.db --source-table item --key id --types price=text",
    );
    world.tell("a type that changed overnight");
    run(
        &world,
        "ALTER TABLE item RENAME TO old; CREATE TABLE item (id INTEGER, name TEXT, price TEXT, sold BOOLEAN)",
    );
    run(&world, "INSERT INTO item VALUES (1, 'pen', '1.20', 1)");
    world.refuses(3, "snapshot item");
    world.tell("a null in the key");
    run(
        &world,
        "DROP TABLE item; CREATE TABLE item (id INT, price DECIMAL(10, 2)); INSERT INTO item VALUES (NULL, 1)",
    );
    world.refuses(3, "snapshot item");
    world.tell("a table, a file and a column that are not there, and options of other sources");
    world.refuses(2, "snapshot itme --source sqlite:shop.db --key id");
    world.refuses(1, "snapshot item --source sqlite:nothing.db");
    world.refuses(2, "snapshot item --query 'SELECT idd FROM item'");
    world.refuses(2, "snapshot item --query 'DELETE FROM item'");
    world.refuses(2, "snapshot item --source-format csv");
    world.refuses(2, "snapshot item --source item.csv --query 'SELECT 1'");
    world.refuses(2, "snapshot --query 'SELECT 1'");
    for source in ["", "source = 'item.csv'\n"] {
        let config = format!("lake = 'lake'\n[tables.item]\n{source}query = 'SELECT 1'\n");
        world.write("asof.toml", config);
        world.refuses(2, "snapshot item");
    }
    world.pin("what_sqlite_refuses_leaves_the_lake_as_it_is");
}

#[test]
fn one_read_sees_one_state() {
    let world = shop();
    run(
        &world,
        "PRAGMA journal_mode = WAL; DELETE FROM item;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
         INSERT INTO item SELECT i, 'x', 1, 0 FROM n;",
    );
    let mut asof = world
        .command("--no-progress snapshot item")
        .spawn()
        .expect("asof starts");
    let mover = Connection::open(world.path("shop.db")).expect("a database");
    let mut moves = 0;
    while asof.try_wait().expect("it runs").is_none() {
        let (from, to) = (1 + moves * 7 % 60_000, 60_000 - moves * 11 % 60_000);
        mover
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; UPDATE item SET price = price - 1 WHERE id = {from};
                 UPDATE item SET price = price + 1 WHERE id = {to}; COMMIT"
            ))
            .expect("a move");
        moves += 1;
    }
    assert!(asof.wait().expect("it ends").success() && moves > 0);
    let rows = world.rows("lake/item/snapshots/snapshot_date=2024-03-01/item.parquet");
    let prices = rows.iter().skip(1).map(|row| {
        let price = row.split('|').nth(2).expect("a price");
        price.parse::<f64>().expect("a number")
    });
    assert_eq!(
        (prices.clone().count(), prices.sum::<f64>()),
        (60_000, 60_000.0)
    );
}

#[test]
fn databases_have_states_of_dates_in_queries_tables_and_files() {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    world.at("2024-03-04");
    let run = |world: &World, file: &str, sql: &str| {
        let database = Connection::open(world.path(file)).expect("a database");
        database.execute_batch(sql).expect("it runs");
    };
    run(
        &world,
        "shop.db",
        "CREATE TABLE history (id INTEGER, name TEXT, day TEXT);
         INSERT INTO history VALUES (1, 'one', '2024-03-01'), (1, 'two', '2024-03-02');
         CREATE TABLE item_20240301 (id INTEGER, name TEXT);
         INSERT INTO item_20240301 VALUES (7, 'seven');",
    );
    run(
        &world,
        "shop_2024-03-02.db",
        "CREATE TABLE item (id INTEGER, name TEXT); INSERT INTO item VALUES (8, 'eight');",
    );
    let copy = |table: &str, day: u32| {
        format!("lake/{table}/snapshots/snapshot_date=2024-03-0{day}/{table}.parquet")
    };
    for (table, day) in [("quoted", "'{date}'"), ("literal", "{date}")] {
        for (number, name) in [(1, "one"), (2, "two")] {
            world.succeeds(&format!(
                "snapshot {table} --key id --date 2024-03-0{number} --source sqlite:shop.db --query \
                 \"select id, name from history where day = {day}\""
            ));
            assert_eq!(world.rows(&copy(table, number))[1], format!("1|{name}"));
            let footer = world.footer(&copy(table, number));
            assert_eq!(footer["dated_source"], "sqlite:shop.db");
        }
    }
    world.tell("a table, and a file, of each date");
    world.succeeds(
        "snapshot named --key id --date 2024-03-01 --source sqlite:shop.db --source-table \
         item_{date:%Y%m%d}",
    );
    assert_eq!(world.rows(&copy("named", 1))[1], "7|seven");
    let file = "snapshot item --key id --source sqlite:shop_{date}.db --date";
    world.succeeds(&format!("{file} 2024-03-02"));
    assert_eq!(world.rows(&copy("item", 2))[1], "8|eight");
    let footer = world.footer(&copy("item", 2));
    assert_eq!(footer["dated_source"], "sqlite:shop_2024-03-02.db");
    world.refuses(1, &format!("{file} 2024-03-03"));
    world.tell("names in braces that are none");
    world.refuses(
        2,
        "snapshot item --key id --source sqlite:shop.db --query 'select {start}'",
    );
    world.refuses(
        2,
        "snapshot item --key id --date 2024-03-01 --source sqlite:shop.db --query \
         \"select * from history where day = '{ds}'\"",
    );
    world.pin("dated_sources_of_databases");
}
