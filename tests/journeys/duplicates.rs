//! Sources and external copies with several rows for one key, such as change feeds.

use super::environment::World;

/// A change feed: 2 stands three times, 3 twice in one second, 4 has a change without a time.
const FEED: &str = "id,status,updated_at,seq\n\
                    2,NEW,2024-02-28T10:00:00,1\n\
                    1,ACTIVE,2024-02-27T09:00:00,2\n\
                    2,ACTIVE,2024-02-29T08:30:00,3\n\
                    2,PAUSED,2024-02-28T23:59:59,4\n\
                    3,NEW,2024-02-29T12:00:00,5\n\
                    3,GONE,2024-02-29T12:00:00,6\n\
                    4,ACTIVE,2024-01-01T00:00:00,7\n\
                    4,LOST,,8\n";

const COPY: &str = "lake/item/snapshots/snapshot_date=2024-03-01/item.parquet";

#[test]
fn the_latest_row_of_each_key_is_published() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n");
    world.write("feed.csv", FEED);
    world.tell("duplicate keys are refused, unless a rule says which row counts");
    world.refuses(3, "snapshot item --source feed.csv --key id");
    world.tell("two rows of one second differ: none of them is known to be later");
    world.refuses(
        3,
        "snapshot item --source feed.csv --key id --dedup 'latest by updated_at'",
    );
    world.succeeds(
        "snapshot item --source feed.csv --key id --dedup 'latest by updated_at, seq' --dry-run",
    );
    world.succeeds("snapshot item --source feed.csv --key id --dedup 'latest by updated_at, seq'");
    assert_eq!(
        world.rows(COPY),
        [
            "id|status|updated_at|seq",
            "1|ACTIVE|2024-02-27T09:00:00|2",
            "2|ACTIVE|2024-02-29T08:30:00|3",
            "3|GONE|2024-02-29T12:00:00|6",
            "4|ACTIVE|2024-01-01T00:00:00|7",
        ]
    );
    world.tell("equal rows are one row, whatever the order of the source");
    let first = world.bytes(COPY);
    let mut lines: Vec<&str> = FEED
        .lines()
        .skip(1)
        .chain(["3,GONE,2024-02-29T12:00:00,6"])
        .collect();
    lines.reverse();
    world.write(
        "feed.csv",
        format!("id,status,updated_at,seq\n{}\n", lines.join("\n")),
    );
    world.succeeds(
        "snapshot item --source feed.csv --dedup 'latest by updated_at, seq' --if-exists replace",
    );
    assert_eq!(world.bytes(COPY), first, "the same rows are kept");

    world.tell("what changed is counted, and guards are asked, after rows were dropped");
    world.at("2024-03-02");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'feed.csv'\nkey = ['id']\ndedup = 'latest by \
         updated_at, seq'\nmax_delete = '10%'\nmin_rows = 4\n",
    );
    world.write(
        "feed.csv",
        format!("{FEED}1,GONE,2024-03-01T00:00:00,9\n4,ACTIVE,2024-01-01T00:00:00,7\n"),
    );
    let report = world.json("snapshot item --dry-run");
    assert_eq!(
        (
            &report[0]["dedup"],
            &report[0]["dropped_rows"],
            &report[0]["rows"]
        ),
        (&"latest by updated_at, seq".into(), &6.into(), &4.into())
    );
    assert_eq!(
        (
            &report[0]["since"]["changed"],
            &report[0]["since"]["removed"]
        ),
        (&1.into(), &0.into())
    );
    world.succeeds("snapshot item");
    let footer = world.footer("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet");
    assert_eq!(
        (&footer["dedup"], &footer["dropped_rows"]),
        (&"latest by updated_at, seq".into(), &6.into())
    );
    assert_eq!(
        world.json("status item")["tables"][0]["last_snapshot"]["dropped_rows"],
        6
    );
    world.write("feed.csv", "id,status,updated_at,seq\n1,A,2024-03-02,1\n1,B,2024-03-03,1\n2,A,2024-03-02,1\n3,A,2024-03-02,1\n");
    world.at("2024-03-03");
    world.refuses(3, "snapshot item");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.pin("duplicates");
}

#[test]
fn a_rule_that_cannot_be_followed_is_a_usage_error() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n");
    world.parquet(
        "feed.parquet",
        &[
            (
                "id",
                std::sync::Arc::new(arrow::array::Int64Array::from(vec![1, 1])),
            ),
            (
                "active",
                std::sync::Arc::new(arrow::array::BooleanArray::from(vec![true, false])),
            ),
            (
                "updated_at",
                std::sync::Arc::new(arrow::array::Date32Array::from(vec![1, 2])),
            ),
        ],
    );
    let snapshot = "snapshot item --source feed.parquet --key id";
    for rule in [
        "latest by active",
        "latest by update_at",
        "latest by updated_at, id",
        "newest by updated_at",
        "latest by",
        "latest by updated_at,",
    ] {
        world.refuses(2, &format!("{snapshot} --dedup '{rule}'"));
    }
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nkey = ['id']\nsource = \
         'feed.parquet'\ndedup = 'updated_at'\n",
    );
    world.refuses(2, "snapshot item");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nkey = ['id']\nsource = 'feed.parquet'\n",
    );
    world.refuses(3, "snapshot item");
    world.refuses(2, "compact item --dedup 'latest by updated_at'");
    world.pin("duplicates_refused");
}

#[test]
fn copies_that_the_command_line_names_follow_a_rule_and_keep_it() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n");
    for day in 1..=3 {
        world.write(
            &format!("copies/2024-03-0{day}.csv"),
            format!("id,v,at\n2,old,2024-01-01\n1,a,2024-02-0{day}\n2,new,2024-02-01\n2,new,2024-02-01\n"),
        );
    }
    let compact = "compact --snapshots copies --layout %Y-%m-%d.csv --key id --out i.parquet";
    world.refuses(3, compact);
    world.succeeds(&format!("{compact} --dedup 'latest by at' --to 2024-03-02"));
    let rows = ["2|new|2024-02-01|2024-03-01|9999-12-31"];
    assert!(
        world.rows("i.parquet").contains(&rows[0].to_owned()),
        "{:?}",
        world.rows("i.parquet")
    );
    world.tell("the rule is that of the intervals that exist");
    world.succeeds(compact);
    let footer = world.footer("i.parquet");
    assert_eq!(
        (&footer["dedup"], &footer["observed"][2]["dropped_rows"]),
        (&"latest by at".into(), &2.into())
    );
    assert_eq!(world.json(compact)[0]["dropped_rows"], 6);
    world.tell("a copy in which two rows may be the latest");
    world.write(
        "copies/2024-03-04.csv",
        "id,v,at\n1,a,2024-02-01\n1,b,2024-02-01\n",
    );
    world.refuses(3, compact);
    world.write("copies/2024-03-04.csv", "id,v\n1,a\n");
    world.refuses(2, compact);
    world.pin("duplicates_named");
}
