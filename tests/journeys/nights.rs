//! The nightly job, the compaction of its snapshots, and looking at what there is.

use super::environment::World;

#[test]
fn the_first_nights_and_a_correction() {
    let mut world = World::shop(0);
    world.tell("the first night");
    world.night(1);
    world.succeeds("snapshot item");
    world.tell("the second");
    world.night(2);
    world.succeeds("snapshot");
    world.tell("once more");
    world.succeeds("snapshot item");
    world.tell("the third, and then a rerun of a night that failed");
    world.night(3);
    world.succeeds("snapshot item --date 2024-03-03");
    world.refuses(3, "snapshot item --date 2024-02-29");
    world.succeeds("snapshot item --date 2024-02-29 --backdate");
    world.refuses(4, "snapshot item --if-exists error");
    world.refuses(3, "snapshot item --date 2024-03-01 --if-exists replace");
    world.tell("a correction, which keeps the old snapshot aside");
    let old = world.bytes("lake/item/snapshots/snapshot_date=2024-03-03/item.parquet");
    world.write(
        "item.csv",
        "id,name,status,price\n2,Nut,PAUSED,0.3\n3,Gear,ACTIVE,12\n4,Washer,ACTIVE,0.05\n",
    );
    world.succeeds("snapshot item --if-exists replace");
    world.tell("and nothing new");
    world.succeeds("snapshot item --if-exists replace");
    let aside = world.listing("lake/item/superseded");
    assert!(!aside.is_empty());
    assert!(
        aside
            .iter()
            .any(|name| world.bytes(&format!("lake/item/superseded/{name}")) == old),
        "{aside:?}"
    );
    world.at("2024-03-04");
    world.succeeds("-q snapshot item");
    world.succeeds("-v snapshot item");
    let names = world.listing("lake").join("\n");
    world.tell(&format!("the lake:\n{names}"));
    world.pin("nights");
}

#[test]
fn compaction_takes_up_where_it_stopped() {
    let mut world = World::shop(2);
    world.succeeds("compact item");
    world.succeeds("compact item");
    world.night(3);
    world.succeeds("snapshot");
    world.succeeds("compact");
    let incremental = world.bytes("lake/item/intervals/item.parquet");
    world.succeeds("compact item --full");
    assert_eq!(
        incremental,
        world.bytes("lake/item/intervals/item.parquet"),
        "an incremental run gives the bytes of a full one"
    );
    world.tell(&format!(
        "the intervals:\n{}",
        world.rows("lake/item/intervals/item.parquet").join("\n")
    ));
    world.succeeds(
        "compact item --out exclusive.parquet --end exclusive --open-end null \
         --start-column valid_from --end-column valid_to",
    );
    world.tell(&format!(
        "as dbt has them:\n{}",
        world.rows("exclusive.parquet").join("\n")
    ));
    world.succeeds("compact item --out tracked.parquet --track status");
    world.tell(&format!(
        "only the status counts:\n{}",
        world.rows("tracked.parquet").join("\n")
    ));
    world.succeeds(
        "compact item --out range.parquet --from 2024-03-02 --to 2024-03-03 --ignore price",
    );
    world.pin("compaction");
}

/// A row of a table, one in 500 of which changes from night to night. The status is a text of which
/// there are few, or null.
fn item(id: u32, night: u32) -> String {
    let price = if id % 500 < night { night } else { 0 };
    let status = match (price, id % 3) {
        (0, 0) => String::new(),
        (0, _) => format!("new{}", id % 5),
        (night, _) => format!("sold{night}"),
    };
    format!("{id},item {id},{price},{status}\n")
}

#[test]
fn what_a_night_changed_is_recorded_and_serves_in_place_of_its_snapshot() {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    for night in 1..=4_u32 {
        world.at(&format!("2024-03-0{night}"));
        let kept = (0..9_000 + night).filter(|id| id % 3_000 != night);
        let rows: Vec<String> = kept.map(|id| item(id, night)).collect();
        world.write(
            "item.csv",
            format!("id,name,price,status\n{}", rows.concat()),
        );
        assert_eq!(
            world
                .quietly("snapshot item --source item.csv --key id")
                .status
                .code(),
            Some(0)
        );
        let events: Vec<String> = (0..2_000)
            .map(|event| format!("{event},{}\n", event * 7 % 9_010))
            .collect();
        world.write(
            &format!("events/date=2024-03-0{night}/events.csv"),
            format!("event,item_id\n{}", events.concat()),
        );
    }
    let recorded = world.listing("lake/item/_changes");
    assert_eq!(
        recorded,
        ["02", "03", "04"].map(|day| format!("snapshot_date=2024-03-{day}/item.parquet"))
    );
    // 3 rows came back or went on each side, and one is new; those that changed are there twice.
    let rows = world.rows("lake/item/_changes/snapshot_date=2024-03-02/item.parquet");
    let of = |what: &str| rows.iter().filter(|row| row.contains(what)).count();
    assert_eq!((of("insert"), of("delete")), (4, 3), "{rows:?}");
    assert!(
        of("update_preimage") >= 18 && of("update_preimage") == of("update_postimage"),
        "{rows:?}"
    );
    for row in &rows[1..] {
        let (values, what) = row.rsplit_once('|').expect("what was done");
        let night = if ["delete", "update_preimage"].contains(&what) {
            1
        } else {
            2
        };
        let id = values.split('|').next().expect("a key").parse();
        let expected = item(id.expect("a number"), night).replace(',', "|");
        assert_eq!(values.replace("null", ""), expected.trim_end(), "{row}");
    }

    let compacted = world.json("compact item");
    assert_eq!(
        (&compacted[0]["decoded"], &compacted[0]["by_changes"]),
        (&1.into(), &3.into()),
        "{compacted}"
    );
    let intervals = world.bytes("lake/item/intervals/item.parquet");
    let outputs = |world: &World, using: &str, out: &str| {
        let job =
            "--events events --events-layout date=%Y-%m-%d --table item --on item_id=id --how left";
        let line = format!(
            "backfill {job} --out {out}/job --from 2024-03-01 --to 2024-03-04 --using {using}"
        );
        assert_eq!(world.quietly(&line).status.code(), Some(0));
        world
            .listing(out)
            .iter()
            .map(|name| world.rows(&format!("{out}/{name}")))
            .collect::<Vec<_>>()
    };
    let by_intervals = outputs(&world, "intervals", "one");
    assert_eq!(by_intervals, outputs(&world, "snapshots", "two"));
    assert_eq!(world.quietly("verify item").status.code(), Some(0));

    // Whatever happens to them, results are the same.
    world.write(
        "lake/item/_changes/snapshot_date=2024-03-03/item.parquet",
        "no changes",
    );
    let compacted = world.json("compact item --full");
    // The one before it is decoded, too, to be compared with.
    assert_eq!(
        (&compacted[0]["decoded"], &compacted[0]["by_changes"]),
        (&3.into(), &1.into()),
        "{compacted}"
    );
    assert!(world.bytes("lake/item/intervals/item.parquet") == intervals);
    std::fs::remove_dir_all(world.path("lake/item/_changes")).expect("removed");
    assert_eq!(world.json("compact item --full")[0]["decoded"], 4);
    assert!(world.bytes("lake/item/intervals/item.parquet") == intervals);
    assert_eq!(by_intervals, outputs(&world, "snapshots", "three"));
}

#[test]
fn gaps_are_carried_refused_or_split() {
    let mut world = World::shop(1);
    world.at("2024-03-04");
    world.succeeds("snapshot item");
    world.succeeds("compact item");
    world.succeeds("status item");
    world.refuses(3, "compact item --gaps error");
    world.refuses(3, "compact item --max-gap 1 --full");
    world.succeeds("compact item --gaps split --out split");
    world.tell(&world.rows("split/item.parquet").join("\n"));
    world.pin("gaps");
}

#[test]
fn looking_at_a_table() {
    let mut world = World::shop(3);
    world.succeeds("show item --date 2024-03-02");
    world.succeeds("compact");
    world.succeeds("show item --date 2024-03-01");
    world.succeeds("show item --date 2024-03-02 --limit 2 --select name,price");
    world.succeeds("show item --date 2024-03-02 --out shown.csv");
    world.tell(&String::from_utf8(world.bytes("shown.csv")).expect("text"));
    world.succeeds("show item --date 2024-03-02 --out shown.ndjson --limit 0");
    world.tell(&String::from_utf8(world.bytes("shown.ndjson")).expect("text"));
    world.succeeds("show item --date 2024-03-02 --out shown.parquet --limit 0");
    assert_eq!(world.rows("shown.parquet").len(), 5);
    world.succeeds("diff item 2024-03-01 2024-03-02");
    world.succeeds("diff item 2024-03-01 2024-03-03");
    world.succeeds("diff item 2024-03-02 2024-03-02");
    world.succeeds("history item 1");
    world.succeeds("history item 3");
    world.succeeds("history item 4");
    world.succeeds("status");
    world.succeeds("verify");
    world.succeeds("expand item --from 2024-03-01 --to 2024-03-03 --out copies");
    world.tell(&world.listing("copies").join("\n"));
    world.succeeds(
        "partitions item_events --layout 'year=%Y/month=%m/day=%d' --from 2024-03-02 \
         --to 2024-03-09",
    );
    world.succeeds(
        "partitions item_events --layout 'year=%Y/month=%m/day=%d' --from 2025-03-02 \
         --to 2025-03-09",
    );
    world.pin("looking");
    for date in ["2024-03-01", "2024-03-02", "2024-03-03"] {
        let original = format!("lake/item/snapshots/snapshot_date={date}/item.parquet");
        let copy = world
            .listing("copies")
            .into_iter()
            .find(|name| name.contains(date))
            .expect("a copy");
        assert_eq!(
            world.rows(&original),
            world.rows(&format!("copies/{copy}")),
            "{date}"
        );
    }
}

#[cfg(feature = "sql")]
#[test]
fn a_condition_picks_rows() {
    let mut world = World::shop(2);
    world.succeeds("show item --date 2024-03-02 --where \"status = 'ACTIVE' and price < 1\"");
    world.succeeds("show item --date 2024-03-02 --where 'price > 100'");
    world.refuses(2, "show item --date 2024-03-02 --where 'prise > 1'");
    world.refuses(2, "show item --date 2024-03-02 --where 'price >'");
    world.refuses(2, "show item --date 2024-03-02 --where 'price + 1'");
    world.refuses(2, "show item --date 2024-03-02 --where 'random() < 0.5'");
    world.pin("conditions");
}

#[test]
fn a_snapshot_from_standard_input_and_of_a_pattern() {
    let mut world = World::new();
    world.refuses(2, "snapshot item --lake lake --source - --key id");
    assert_eq!(
        world.asof_reading(
            "snapshot item --lake lake --source - --source-format csv --key id",
            b"id,v\n1,a\n2,b\n"
        ),
        0
    );
    world.at("2024-03-02");
    assert_eq!(
        world.asof_reading(
            "snapshot item --lake lake --source - --source-format ndjson",
            b"{\"id\":1,\"v\":\"a\"}\n{\"id\":3,\"v\":null}\n"
        ),
        0
    );
    world.at("2024-03-03");
    world.write("parts/a.csv", "id,v\n1,a\n");
    world.write("parts/b.csv", "id,v\n7,b\n");
    world.succeeds("snapshot item --lake lake --source 'parts/*.csv'");
    world.variable("ASOF_LAKE", "lake");
    world.succeeds("show item --date 2024-03-03");
    world.succeeds("diff item 2024-03-01 2024-03-03");
    world.pin("standard_input");
}

#[test]
fn a_new_project() {
    let mut world = World::new();
    world.succeeds("init");
    world.refuses(2, "init");
    let uncommented =
        super::environment::text(&world.bytes("asof.toml")).replace("\n# lag", "\nlag");
    world.write("asof.toml", uncommented);
    world.write("item.csv", "id,status\n1,ACTIVE\n");
    world.succeeds("snapshot item");
    world.pin("init");
    let script = world.quietly("completions bash");
    assert!(
        script.status.success()
            && super::environment::text(&script.stdout).contains("complete -F _asof")
    );
    let page = world.quietly("man");
    assert!(page.status.success() && super::environment::text(&page.stdout).contains(".TH asof 1"));
}

#[test]
fn dates_may_be_words_and_left_out() {
    let mut world = World::shop(3);
    world.succeeds("show item");
    world.succeeds("show item latest --limit 1");
    world.succeeds("show item 2024-03-02 --select name");
    world.succeeds("show item --date yesterday --select name");
    world.succeeds("diff item");
    world.succeeds("diff item 2024-03-02");
    world.succeeds("diff item 2024-03-01 latest");
    world.succeeds("diff item --from 2024-03-01 --to 2024-03-02");
    world.refuses(3, "diff item 2024-03-01");
    world.refuses(2, "diff item 2024-03-01 --from 2024-03-02");
    world.refuses(2, "show item tomorrow");
    world.succeeds("partitions item_events --from 2024-03-01 --to today");
    world.refuses(2, "partitions item_evnts --from 2024-03-01 --to today");
    world.succeeds(
        "backfill --events item_events --table item --on item_id=id --out out --from yesterday",
    );
    world.pin("words_for_dates");
}
