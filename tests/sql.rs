//! Jobs in SQL: the query that asof was made for, and probes whose answers are worked out by hand.

use crate::journeys::environment::{World, text};

/// The first query, unchanged.
const FIRST: &str = "SELECT * FROM item_events WHERE item_events.item_id in (SELECT id FROM item \
 WHERE item.status='ACTIVE')";

const DAYS: &str = "--from 2024-03-01 --to 2024-03-03";

fn shop() -> World {
    let world = World::shop(3);
    assert_eq!(world.quietly("compact item").status.code(), Some(0));
    world
}

/// The rows that a query gives on a date, without the header, the same from snapshots and from
/// intervals.
#[track_caller]
fn answer(world: &World, sql: &str, date: &str) -> Vec<String> {
    world.write("probe.sql", sql);
    let run = |using: &str| {
        let _ = std::fs::remove_dir_all(world.path("probe"));
        let output = world.quietly(&format!(
            "backfill --sql probe.sql --out probe --from {date} --to {date} --using {using}"
        ));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{sql}\n{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        let path = format!("probe/date={date}/probe.parquet");
        (world.bytes(&path), world.rows(&path))
    };
    let (bytes, rows) = run("snapshots");
    assert_eq!(
        bytes,
        run("intervals").0,
        "{sql}: from intervals as from snapshots"
    );
    rows.into_iter().skip(1).collect()
}

/// Adds a query's refusal to the transcript.
#[track_caller]
fn refused(world: &mut World, code: i32, sql: &str) {
    world.write("probe.sql", sql);
    world.tell(sql);
    let ended =
        world.asof("backfill --sql probe.sql --out refused --from 2024-03-01 --to 2024-03-01");
    assert_eq!(ended, code, "{sql}");
    assert!(
        !world
            .listing("refused")
            .iter()
            .any(|name| name.ends_with(".parquet")),
        "{sql}: nothing is published"
    );
}

#[test]
fn the_first_query_sees_the_status_of_each_day() {
    let mut world = shop();
    let config = text(&world.bytes("asof.toml"));
    world.write(
        "asof.toml",
        config
            + &format!(
                "\n[jobs.active_item_events]\nsql = \"{FIRST}\"\noutput = \"active_item_events\"\n"
            ),
    );
    world.succeeds(&format!(
        "backfill active_item_events {DAYS} --using snapshots"
    ));
    let events = |day: u32| -> Vec<String> {
        let rows = world.rows(&format!(
            "active_item_events/date=2024-03-0{day}/active_item_events.parquet"
        ));
        rows.iter()
            .skip(1)
            .map(|row| row.split('|').next().unwrap_or_default().to_owned())
            .collect()
    };
    // Day 1: 1 and 2 are active, 3 is a draft. Day 2: all four are. Day 3: 3 and 4; 1 is gone and 2
    // is paused.
    assert_eq!(
        [events(1), events(2), events(3)],
        [vec!["a1"], vec!["b1", "b2", "b3"], vec!["c3"]]
    );
    let tree = world.tree("active_item_events");
    std::fs::remove_dir_all(world.path("active_item_events")).expect("removed");
    world.succeeds(&format!(
        "backfill active_item_events {DAYS} --using intervals"
    ));
    assert_eq!(tree, world.tree("active_item_events"), "byte for byte");
    world.succeeds(&format!("backfill active_item_events {DAYS}"));
    world.pin("first_query");
}

#[test]
fn a_left_join_keeps_events_that_a_condition_in_on_leaves_alone() {
    let sql = "select e.event_id, i.status from item_events e left join item i on e.item_id = \
     i.id and i.status = 'ACTIVE' order by 1";
    assert_eq!(
        answer(&shop(), sql, "2024-03-01"),
        ["a1|ACTIVE", "a2|null", "a3|null", "a4|null"]
    );
}

#[test]
fn a_common_table_expression_shadows_a_table() {
    let sql = "with item as (select 7 as id) select id from item";
    assert_eq!(answer(&shop(), sql, "2024-03-01"), ["7"]);
    // Inside its own definition the name is still the table's.
    let sql = "with item as (select id from item where status = 'DRAFT') select id from item";
    assert_eq!(answer(&shop(), sql, "2024-03-01"), ["3"]);
}

#[test]
fn a_running_sum_gives_ties_the_same_value() {
    // By place, the quantities are app 5, app 1, web 2, web 1: app's peers sum to 6, web's to 9.
    let sql =
        "select event_id, sum(qty) over (order by name) as s from item_events order by event_id";
    assert_eq!(
        answer(&shop(), sql, "2024-03-01"),
        ["a1|9", "a2|9", "a3|6", "a4|6"]
    );
    let sql = "select event_id, sum(qty) over (order by event_id rows between 1 preceding and \
     current row) as s from item_events order by 1";
    assert_eq!(
        answer(&shop(), sql, "2024-03-01"),
        ["a1|2", "a2|3", "a3|6", "a4|6"]
    );
}

#[test]
fn not_in_with_a_null_in_the_list_is_never_true() {
    let world = shop();
    assert!(
        answer(
            &world,
            "select id from item where id not in (select item_id from item_events)",
            "2024-03-01"
        )
        .is_empty()
    );
    let sql = "select id from item where id not in (select item_id from item_events where item_id \
     is not null)";
    assert_eq!(answer(&world, sql, "2024-03-01"), ["2"]);
    // And a null on the left is in no answer.
    let sql =
        "select event_id from item_events where item_id not in (select id from item) order by 1";
    assert_eq!(answer(&world, sql, "2024-03-01"), ["a3"]);
}

#[test]
fn exists_may_compare_by_more_than_equality() {
    // On day 2 the prices are 1.75, 0.25, 12, 0.05: only 12 has none above it.
    let sql =
        "select id from item a where not exists (select 1 from item b where b.price > a.price)";
    assert_eq!(answer(&shop(), sql, "2024-03-02"), ["3"]);
    let sql = "select id from item a where exists (select 1 from item b where b.id = a.id + 1 and \
     b.price > a.price) order by id";
    assert_eq!(answer(&shop(), sql, "2024-03-02"), ["2"]);
}

#[test]
fn a_scalar_subquery_is_one_value() {
    let sql = "select event_id, qty - (select max(id) from item) as d from item_events order by 1";
    assert_eq!(
        answer(&shop(), sql, "2024-03-02"),
        ["b1|-3", "b2|-2", "b3|3"]
    );
    let sql = "select e.event_id, (select max(i.name) from item i where i.id = e.item_id) as item \
     from item_events e order by 1";
    assert_eq!(
        answer(&shop(), sql, "2024-03-01"),
        ["a1|Bolt", "a2|Gear", "a3|null", "a4|null"]
    );
}

#[test]
fn a_join_may_be_by_range() {
    let sql = "select e.event_id, i.id from item_events e join item i on e.qty between i.id and \
     i.id + 1 order by 1, 2";
    // Quantities 2, 1, 5, 1 against ids 1 to 3.
    assert_eq!(
        answer(&shop(), sql, "2024-03-01"),
        ["a1|1", "a1|2", "a2|1", "a4|1"]
    );
}

#[test]
fn integers_divide_to_integers_and_names_have_no_case() {
    let world = shop();
    assert_eq!(
        answer(
            &world,
            "select 7 / 2 as q, -7 / 2 as n, 7 % 3 as r, 7 / 2.0 as f",
            "2024-03-01"
        ),
        ["3|-3|1|3.5"]
    );
    assert_eq!(
        answer(
            &world,
            "SELECT E.Event_ID FROM Item_Events E WHERE E.QTY > 4",
            "2024-03-01"
        ),
        ["a3"]
    );
}

#[test]
fn the_date_is_a_literal() {
    let world = shop();
    let sql = "select {date} as d, 'on {date}' as t, date_trunc('month', {date}) as m, {date} - \
     interval '1 day' as y";
    assert_eq!(
        answer(&world, sql, "2024-03-02"),
        ["2024-03-02|on 2024-03-02|2024-03-01T00:00:00|2024-03-01"]
    );
    let sql = "select count(*) as n from item where {date} = DATE '2024-03-02'";
    assert_eq!(
        [
            answer(&world, sql, "2024-03-02"),
            answer(&world, sql, "2024-03-01")
        ],
        [["4"], ["0"]]
    );
}

#[test]
fn each_table_of_a_query_has_its_own_lag_and_tolerance() {
    let mut world = shop();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nkey = ['id']\nlag = '1d'\n[tables.rate]\nkey = \
         ['code']\ntolerance = '2d'\n\
         [events.item_events]\npath = 'item_events'\nlayout = 'year=%Y/month=%m/day=%d'\n\
         [jobs.both]\noutput = 'both'\nsql = '''select e.event_id, i.status, r.rate from \
         item_events e\n\
         join item i on i.id = e.item_id left join rate r on r.code = i.status order by 1'''\n",
    );
    world.write("rate.csv", "code,rate\nACTIVE,10\nDRAFT,20\n");
    world.succeeds("snapshot rate --source rate.csv --date 2024-03-01 --backdate");
    world.succeeds("backfill both --from 2024-03-02 --to 2024-03-03");
    // By the items of the day before, and the rates of the first day.
    assert_eq!(
        world.rows("both/date=2024-03-02/both.parquet")[1..],
        ["b1|ACTIVE|10", "b2|DRAFT|20"]
    );
    assert_eq!(
        world.rows("both/date=2024-03-03/both.parquet")[1..],
        ["c1|ACTIVE|10", "c2|ACTIVE|10", "c3|ACTIVE|10"]
    );
    world.tell("the day before the first has no items");
    assert_eq!(
        world.asof("backfill both --from 2024-03-01 --to 2024-03-03"),
        5
    );
    world.pin("lag_and_tolerance");
}

#[test]
fn a_column_that_was_absent_on_the_date_is_null() {
    let mut world = shop();
    world.at("2024-03-04");
    world.write(
        "item.csv",
        "id,name,status,price,colour\n3,Gear,ACTIVE,12,red\n",
    );
    world.succeeds("snapshot item");
    world.succeeds("compact item");
    world.write(
        "item_events/year=2024/month=03/day=04/events.csv",
        "event_id,item_id,qty,name\nd1,3,1,web\n",
    );
    let sql = "select i.id, i.colour from item i where i.id = 3";
    assert_eq!(answer(&world, sql, "2024-03-02"), ["3|null"]);
    assert_eq!(answer(&world, sql, "2024-03-04"), ["3|red"]);
    assert_eq!(
        answer(
            &world,
            "select * from item where id = 3 and colour is null",
            "2024-03-02"
        )
        .len(),
        1
    );
}

#[test]
fn what_is_no_query_is_refused() {
    let mut world = shop();
    for sql in [
        "delete from item",
        "create table x as select 1",
        "insert into item select * from item",
        "copy item to 'x'",
        "select 1; select 2",
        "",
        "selec * from item",
        "select now() as n from item",
        "select random() as r",
        "select current_date as d",
        "select * from itme",
        "select statsu from item",
        "select i.prize from item i",
        "select nosuch(id) as n from item",
        "select i.id, e.id from item i join item e on i.id = e.id",
        "select e.name, i.name from item_events e join item i on i.id = e.item_id",
        "select * from read_csv('item.csv')",
        // The engine asks for an aggregate here: it does not see that the key gives one row at
        // most.
        "select (select i.name from item i where i.id = e.item_id) as item from item_events e",
    ] {
        refused(&mut world, 2, sql);
    }
    refused(&mut world, 3, "select 1 / 0 as x");
    refused(&mut world, 3, "select cast(name as int) as x from item");
    world.pin("refused_sql");
}

/// A text that few rows differ in stands in a dictionary, where a condition compares each text once.
#[test]
fn conditions_on_texts_in_dictionaries_are_those_on_texts() {
    let mut world = World::new();
    world.at("2024-03-01");
    let statuses = ["ACTIVE", "", "\"\"", "DRAFT", "active", "Ä"];
    let places = ["ACTIVE", "DRAFT", "B"];
    let rows = (0..40_usize).map(|id| {
        let (status, place) = (statuses[id % 6], places[id % 3]);
        format!("{id},{status},{place},{}\n", id % 5)
    });
    let rows: String = rows.collect();
    world.write("item.csv", format!("id,status,place,n\n{rows}"));
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = 'id'\ncsv = { null = ['B', ''] }\n",
    );
    world.succeeds("snapshot item");
    world.succeeds("compact item");
    for condition in [
        "status = 'ACTIVE'",
        "status <> 'ACTIVE'",
        "'DRAFT' < status",
        "status <= 'DRAFT' and n = 2",
        "status between 'B' and 'a'",
        "status is null",
        "status is not null or n > 3",
        "status in ('ACTIVE', 'Ä')",
        "status not in ('ACTIVE', 'Ä', 'x', 'y', 'z')",
        "status is distinct from 'ACTIVE'",
        "status is not distinct from place",
        "status = place",
        "status <> place and place <> 'DRAFT'",
        "not (status = 'ACTIVE' or place = 'DRAFT')",
        "status = null",
        "status like 'A%'",
    ] {
        let pushed = format!("select id from item where {condition} order by id");
        let kept = format!(
            "select id from item where case when {condition} then n >= 0 else n < 0 end order by id"
        );
        let pushed = answer(&world, &pushed, "2024-03-01");
        assert_eq!(pushed, answer(&world, &kept, "2024-03-01"), "{condition}");
        assert_eq!(
            pushed.is_empty(),
            condition == "status = null",
            "{condition}"
        );
    }
}
