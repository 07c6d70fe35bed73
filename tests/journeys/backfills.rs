//! Backfills: each date of a range against the table as of that date.

use super::environment::{World, text};

const RANGE: &str = "--from 2024-03-01 --to 2024-03-03";
const EVENTS: &str = "--events item_events --table item --on item_id=id";

fn outputs(world: &World, out: &str) -> String {
    let mut text = String::new();
    for day in 1..=3 {
        text.push_str(&format!(
            "2024-03-0{day}\n{}\n",
            world
                .rows(&format!("{out}/date=2024-03-0{day}/{out}.parquet"))
                .join("\n")
        ));
    }
    text.trim_end().to_owned()
}

#[test]
fn the_four_joins_are_the_same_from_snapshots_and_from_intervals() {
    let mut world = World::shop(3);
    world.succeeds("compact item");
    for how in ["inner", "left", "semi", "anti"] {
        world.succeeds(&format!(
            "backfill {EVENTS} --how {how} --out {how} {RANGE} --using snapshots"
        ));
        world.tell(&outputs(&world, how));
        let from_snapshots = world.tree(how);
        std::fs::remove_dir_all(world.path(how)).expect("removed");
        assert_eq!(
            world
                .quietly(&format!(
                    "backfill {EVENTS} --how {how} --out {how} {RANGE} --using intervals"
                ))
                .status
                .code(),
            Some(0)
        );
        assert_eq!(from_snapshots, world.tree(how), "{how}");
        std::fs::remove_dir_all(world.path(how)).expect("removed");
        assert_eq!(
            world
                .quietly(&format!(
                    "backfill {EVENTS} --how {how} --out {how} {RANGE} --workers 1"
                ))
                .status
                .code(),
            Some(0)
        );
        assert_eq!(from_snapshots, world.tree(how), "{how}, automatically");
    }
    world.pin("joins");
}

#[test]
fn columns_are_picked_and_a_clash_gets_a_suffix() {
    let mut world = World::shop(3);
    world.succeeds(&format!(
        "backfill {EVENTS} --select status,name --out picked {RANGE}"
    ));
    world.tell(&outputs(&world, "picked"));
    world.pin("join_columns");
}

#[cfg(feature = "sql")]
#[test]
fn a_condition_is_applied_before_the_join() {
    let mut world = World::shop(3);
    for how in ["left", "semi", "anti"] {
        world.succeeds(&format!(
            "backfill {EVENTS} --how {how} --where \"status = 'ACTIVE'\" --out {how} {RANGE}"
        ));
        world.tell(&outputs(&world, how));
    }
    assert_eq!(
        world.asof(&format!(
            "backfill {EVENTS} --how left --where \"statsu = 'ACTIVE'\" --out x {RANGE}"
        )),
        2
    );
    assert!(
        !world
            .listing("x")
            .iter()
            .any(|name| name.ends_with(".parquet"))
    );
    world.pin("join_condition");
}

fn with_job(world: &World) {
    let config = text(&world.bytes("asof.toml"));
    world.write(
        "asof.toml",
        config
            + "\n[jobs.sold]\nevents = 'item_events'\ntable = 'item'\non = \
         ['item_id=id']\nselect = ['price']\noutput = 'sold'\n",
    );
}

#[test]
fn a_rerun_does_what_is_missing_or_stale_and_nothing_else() {
    let mut world = World::shop(3);
    with_job(&world);
    world.tell("two of three days");
    world.succeeds("backfill sold --from 2024-03-01 --to 2024-03-02");
    world.succeeds(&format!("backfill {RANGE}"));
    world.succeeds(&format!("backfill sold {RANGE}"));
    let first = world.bytes("sold/date=2024-03-01/sold.parquet");
    world.tell("a snapshot is rewritten");
    world.write(
        "item.csv",
        "id,name,status,price\n1,Bolt,ACTIVE,2\n2,Nut,ACTIVE,0.25\n3,Gear,ACTIVE,12\n",
    );
    world.succeeds("snapshot item --date 2024-03-02 --if-exists replace --backdate");
    world.succeeds(&format!("status sold {RANGE}"));
    world.succeeds(&format!("backfill sold {RANGE} --only missing"));
    world.succeeds(&format!("backfill sold {RANGE}"));
    assert_eq!(first, world.bytes("sold/date=2024-03-01/sold.parquet"));
    world.tell("the events of a day are rewritten, and an output is removed");
    world.write(
        "item_events/year=2024/month=03/day=03/events.csv",
        "event_id,item_id,qty,name\nc1,2,100,web\n",
    );
    std::fs::remove_file(world.path("sold/date=2024-03-01/sold.parquet")).expect("removed");
    world.succeeds(&format!("backfill sold {RANGE} --dry-run"));
    world.succeeds(&format!("backfill sold {RANGE} --only stale"));
    world.succeeds(&format!("backfill sold {RANGE}"));
    world.succeeds(&format!("backfill sold {RANGE} --only all"));
    world.succeeds(&format!("status sold {RANGE}"));
    world.refuses(2, &format!("backfill sold {RANGE} --only new"));
    world.pin("reruns");
}

#[test]
fn a_missing_snapshot_is_refused_unless_a_tolerance_says_otherwise() {
    let mut world = World::shop(1);
    with_job(&world);
    world.night(3);
    world.succeeds("snapshot item");
    world.tell("2024-03-02 has none");
    assert_eq!(world.asof(&format!("backfill sold {RANGE}")), 5);
    world.succeeds(&format!("status sold {RANGE}"));
    assert_eq!(world.asof(&format!("backfill sold {RANGE}")), 5);
    assert_eq!(
        world.asof("backfill sold --from 2024-03-02 --to 2024-03-02"),
        3
    );
    world.tell("only the failed date runs again");
    world.succeeds(&format!("backfill sold {RANGE} --tolerance 1d"));
    world.succeeds(&format!("backfill sold {RANGE} --tolerance 1d"));
    world.tell(&outputs(&world, "sold"));
    world.tell("a copy taken at the start of the day");
    assert_eq!(
        world.asof(&format!(
            "backfill {EVENTS} --how inner --out lagged {RANGE} --lag 1d"
        )),
        5
    );
    world.succeeds(&format!(
        "backfill {EVENTS} --how inner --out lagged --from 2024-03-02 --to \
         2024-03-03 --lag 1d --tolerance 5d"
    ));
    world.tell(
        &world
            .rows("lagged/date=2024-03-03/lagged.parquet")
            .join("\n"),
    );
    world.refuses(2, &format!("backfill sold {RANGE} --tolerance 1"));
    world.tell("intervals know what they observed");
    world.succeeds("compact item");
    assert_eq!(
        world.asof(&format!(
            "backfill {EVENTS} --how inner --out strict {RANGE} --using intervals"
        )),
        5
    );
    world.pin("tolerance");
}

#[test]
fn a_date_that_fails_runs_again_and_the_others_do_not() {
    let mut world = World::shop(3);
    with_job(&world);
    world.write(
        "item_events/year=2024/month=03/day=02/events.csv",
        "event_id,item_id,qty,name\nb1,1,1\n",
    );
    assert_eq!(world.asof(&format!("backfill sold {RANGE}")), 5);
    let stands = world.tree("sold/date=2024-03-01");
    assert_eq!(
        world
            .listing("sold")
            .iter()
            .filter(|name| name.ends_with(".parquet"))
            .count(),
        2
    );
    world.write(
        "item_events/year=2024/month=03/day=02/events.csv",
        "event_id,item_id,qty,name\nb1,1,1,web\n",
    );
    world.succeeds(&format!("backfill sold {RANGE}"));
    assert_eq!(stands, world.tree("sold/date=2024-03-01"));
    world.tell(&world.listing("sold").join("\n"));
    world.pin("failed_dates");
}

#[test]
fn a_damaged_snapshot_fails_its_own_date_and_no_other() {
    let world = World::shop(3);
    let path = world.path("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet");
    let mut bytes = std::fs::read(&path).expect("the snapshot");
    bytes[4..40].fill(0xff);
    std::fs::write(&path, bytes).expect("damaged");
    let output = world.quietly(&format!(
        "backfill {EVENTS} --out x {RANGE} --using snapshots"
    ));
    assert_eq!(output.status.code(), Some(5));
    let written = world.listing("x");
    let of = |day: u8| {
        written
            .iter()
            .any(|name| name.ends_with(&format!("date=2024-03-0{day}/x.parquet")))
    };
    assert_eq!([of(1), of(2), of(3)], [true, false, true], "{written:?}");
}

#[test]
fn outputs_of_others_are_not_replaced() {
    let mut world = World::shop(1);
    with_job(&world);
    world.write("sold/date=2024-03-01/sold.parquet", "mine");
    assert_eq!(
        world.asof("backfill sold --from 2024-03-01 --to 2024-03-01"),
        3
    );
    assert_eq!(world.bytes("sold/date=2024-03-01/sold.parquet"), b"mine");
    std::fs::rename(
        world.path("sold/date=2024-03-01/sold.parquet"),
        world.path("sold/date=2024-03-01/other.parquet"),
    )
    .expect("moved");
    assert_eq!(
        world.asof("backfill sold --from 2024-03-01 --to 2024-03-01"),
        3
    );
    assert_eq!(world.bytes("sold/date=2024-03-01/other.parquet"), b"mine");
    world.pin("outputs_of_others");
}

#[test]
fn outputs_whose_events_are_gone_are_removed() {
    let mut world = World::shop(3);
    with_job(&world);
    world.succeeds(&format!("backfill sold {RANGE}"));
    let kept = world.tree("sold/date=2024-03-01");
    std::fs::remove_dir_all(world.path("item_events/year=2024/month=03/day=02")).expect("removed");
    world.tell(
        "objects that this job did not write for their date, where there are no events either",
    );
    std::fs::create_dir_all(world.path("sold/date=2024-03-05")).expect("a folder");
    std::fs::copy(
        world.path("sold/date=2024-03-01/sold.parquet"),
        world.path("sold/date=2024-03-05/sold.parquet"),
    )
    .expect("a copy");
    world.write("sold/date=2024-03-04/sold.parquet", "mine");
    world.write("sold/date=2024-03-02/other.parquet", "mine");
    let range = "--from 2024-03-01 --to 2024-03-06";
    world.succeeds(&format!("status sold {range}"));
    assert_eq!(
        world.json(&format!("status sold {range}"))["jobs"][0]["dates"][1]["state"],
        "orphaned"
    );
    world.refuses(0, &format!("backfill sold {range} --dry-run"));
    world.refuses(0, &format!("backfill sold {range} --only missing"));
    world.succeeds(&format!("backfill sold {range}"));
    let left = [
        "sold/date=2024-03-02/other.parquet",
        "sold/date=2024-03-04/sold.parquet",
        "sold/date=2024-03-05/sold.parquet",
    ];
    assert!(left.iter().all(|path| world.path(path).exists()));
    assert!(!world.path("sold/date=2024-03-02/sold.parquet").exists());
    assert_eq!(kept, world.tree("sold/date=2024-03-01"));
    world.succeeds(&format!("backfill sold {range}"));
    let again = world.json(&format!("backfill sold {range} --only all"));
    assert_eq!(
        (
            &again[0]["without_events"],
            again[0]["dates"].as_array().map(Vec::len)
        ),
        (&4.into(), Some(2))
    );
    world.tell("all events of the range are gone");
    std::fs::remove_dir_all(world.path("item_events/year=2024/month=03/day=03")).expect("removed");
    world.refuses(3, "backfill sold --from 2024-03-03 --to 2024-03-03");
    world.refuses(
        0,
        "backfill sold --from 2024-03-03 --to 2024-03-03 --only orphaned --dry-run",
    );
    world.succeeds("backfill sold --from 2024-03-03 --to 2024-03-03 --only orphaned");
    assert!(
        !world.path("sold/date=2024-03-03").exists(),
        "a folder that is empty now goes too"
    );
    world.tell("the events are somewhere else");
    let moved =
        text(&world.bytes("asof.toml")).replace("path = \"item_events\"", "path = \"elsewhere\"");
    world.write("asof.toml", moved);
    std::fs::create_dir_all(world.path("elsewhere")).expect("a folder");
    world.refuses(3, &format!("backfill sold {RANGE}"));
    world.refuses(3, &format!("backfill sold {RANGE} --only orphaned"));
    world.pin("orphans");
}

#[test]
fn keys_that_are_whole_numbers_meet_whatever_their_type() {
    use arrow::array::{
        ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray, UInt64Array,
    };
    use std::sync::Arc;
    let decimal = |values: [i128; 3], scale| -> ArrayRef {
        Arc::new(
            Decimal128Array::from(values.to_vec())
                .with_precision_and_scale(38, scale)
                .expect("decimals"),
        )
    };
    let columns: [(&str, ArrayRef); 6] = [
        ("int32", Arc::new(Int32Array::from(vec![-1, 2, 3]))),
        ("int64", Arc::new(Int64Array::from(vec![-1, 2, 3]))),
        (
            "float64",
            Arc::new(Float64Array::from(vec![-1.0, 2.0, 3.0])),
        ),
        ("decimal0", decimal([-1, 2, 3], 0)),
        ("decimal0b", decimal([-1, 2, 3], 0)),
        ("uint64", Arc::new(UInt64Array::from(vec![1, 2, 3]))),
    ];
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    for (table, keys) in &columns {
        let world = World::new();
        world.parquet(
            "t.parquet",
            &[("id", keys.clone()), ("name", names.clone())],
        );
        assert_eq!(
            world
                .quietly("snapshot t --lake lake --source t.parquet --key id")
                .status
                .code(),
            Some(0),
            "{table}"
        );
        for (events, keys) in &columns {
            world.parquet(
                &format!("{events}/date=2024-03-01/a.parquet"),
                &[("id", keys.clone())],
            );
            let line = format!(
                "--json backfill --lake lake --events {events} --events-layout date=%Y-%m-%d \
                 --table t --on id --out out-{events} --from 2024-03-01 --to 2024-03-01"
            );
            let output = world.quietly(&line);
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let expected = if (*table == "uint64") == (*events == "uint64") {
                3
            } else {
                2
            };
            assert_eq!(
                report[0]["dates"][0]["matched"], expected,
                "{table} and {events}: {report}"
            );
        }
    }
}

#[test]
fn integers_and_decimals_widen_into_one_another() {
    use arrow::array::{ArrayRef, Decimal128Array, Int64Array};
    use std::sync::Arc;
    let mut world = World::new();
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![-1, i64::MAX]));
    let decimals: ArrayRef = Arc::new(
        Decimal128Array::from(vec![-1, i128::from(i64::MAX)])
            .with_precision_and_scale(20, 0)
            .expect("decimals"),
    );
    let n: ArrayRef = Arc::new(
        Decimal128Array::from(vec![100, 250])
            .with_precision_and_scale(10, 2)
            .expect("decimals"),
    );
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    for (day, id, n) in [
        (1, &integers, &n),
        (2, &decimals, &whole),
        (3, &integers, &n),
    ] {
        world.at(&format!("2024-03-0{day}"));
        world.parquet("t.parquet", &[("id", id.clone()), ("n", n.clone())]);
        world.succeeds("snapshot t --lake lake --source t.parquet --key id");
    }
    world.succeeds("compact t --lake lake");
    world.succeeds("verify t --lake lake");
    world.succeeds("history t --lake lake -1");
    world.succeeds("history t --lake lake 9223372036854775807");
    world.refuses(3, "history t -2 --lake lake");
    world.refuses(2, "history t -x --lake lake");
    world.pin("integers_and_decimals");
}

#[cfg(feature = "sql")]
#[test]
fn outputs_are_accepted_after_a_change_of_the_job_that_does_not_matter() {
    let mut world = World::shop(3);
    let config = text(&world.bytes("asof.toml"));
    let job = |world: &World, sql: &str| {
        let job = format!("\n[jobs.sold]\nsql = \"{sql}\"\noutput = 'sold'\n");
        world.write("asof.toml", format!("{config}{job}"));
    };
    let join = "join item i on i.id = e.item_id order by event_id";
    job(
        &world,
        &format!("select event_id, i.name from item_events e {join}"),
    );
    world.succeeds(&format!("backfill sold {RANGE}"));
    let rows = outputs(&world, "sold");
    let first = world.footer("sold/date=2024-03-01/sold.parquet");
    world.tell("only comments and white space change");
    job(
        &world,
        &format!("select event_id,i.name from item_events e /* sold */ {join}"),
    );
    world.refuses(0, &format!("backfill sold {RANGE}"));
    world.tell("another way to write the same");
    job(
        &world,
        &format!("select event_id, i.name from item_events as e inner {join}"),
    );
    world.succeeds(&format!("status sold {RANGE}"));
    world.write(
        "item_events/year=2024/month=03/day=03/events.csv",
        "event_id,item_id,qty,name\nc9,2,4,web\n",
    );
    world.refuses(0, &format!("backfill sold {RANGE} --accept --dry-run"));
    world.succeeds(&format!("backfill sold {RANGE} --accept"));
    world.refuses(0, &format!("backfill sold {RANGE} --accept"));
    let accepted = world.footer("sold/date=2024-03-01/sold.parquet");
    assert_eq!(accepted["made_by"], first["job"]);
    assert_ne!(accepted["job"], first["job"]);
    assert_eq!(outputs(&world, "sold"), rows);
    world.tell("the date whose events changed is still to be run");
    world.succeeds(&format!("backfill sold {RANGE}"));
    world.succeeds("verify sold --recompute");
    world.tell("a change that does matter, accepted all the same");
    job(
        &world,
        &format!("select event_id, i.name || '!' as name from item_events e {join}"),
    );
    world.succeeds(&format!("backfill sold {RANGE} --accept"));
    world.succeeds(&format!("backfill sold {RANGE}"));
    assert_eq!(world.asof("verify sold --recompute"), 3);
    world.succeeds(&format!("backfill sold {RANGE} --only all"));
    world.succeeds("verify sold --recompute");
    assert!(
        world
            .footer("sold/date=2024-03-01/sold.parquet")
            .get("made_by")
            .is_none()
    );
    world.pin("accepted_outputs");
}
