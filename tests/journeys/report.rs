//! `asof report`: the page, and the document that is in it.

use serde_json::Value;

use super::environment::{World, text};

/// The document that a page holds.
fn embedded(page: &str) -> Value {
    let begin = "<script type=\"application/json\" id=\"report\">";
    let (_, rest) = page.split_once(begin).expect("a document");
    let (document, _) = rest.split_once("</script>").expect("its end");
    serde_json::from_str(document).expect("JSON")
}

fn page(world: &World, path: &str) -> String {
    text(&world.bytes(path))
}

/// A shop of three nights, compacted, with a job that ran for two of its days.
fn shop() -> World {
    let mut world = World::shop(3);
    let config = page(&world, "asof.toml");
    world.write(
        "asof.toml",
        format!(
            "{config}\n[jobs.joined]\nevents = 'item_events'\ntable = 'item'\non = \
             ['item_id=id']\noutput = 'out'\n"
        ),
    );
    world.at("2024-03-04");
    assert_eq!(world.quietly("compact").status.code(), Some(0));
    let backfilled = world.quietly("backfill joined --from 2024-03-01 --to 2024-03-02");
    assert_eq!(backfilled.status.code(), Some(0));
    world
}

#[test]
fn the_page_holds_the_document_that_json_prints() {
    let mut world = shop();
    for (arguments, name) in [("report", "[SIZE]"), ("report item", "[SIZE OF ITEM]")] {
        world.quietly(arguments);
        let kilobytes = world.bytes("asof-report.html").len() as f64 / 1000.0;
        world.call(&format!("{kilobytes:.1} kB"), name);
    }
    world.succeeds("report");
    let printed = world.json("report");
    assert_eq!(embedded(&page(&world, "asof-report.html")), printed);
    world.tell("with --json a page is written only if it is named");
    std::fs::remove_file(world.path("asof-report.html")).expect("removed");
    let before = world.listing("");
    world.json("report");
    assert_eq!(before, world.listing(""));
    assert_eq!(world.json("report --out pages/lake.html"), printed);
    assert_eq!(embedded(&page(&world, "pages/lake.html")), printed);
    assert_eq!(
        printed["tables"][0]["days"]["changed"],
        serde_json::json!([null, 2, 1])
    );
    assert_eq!(printed["jobs"][0]["dates"][2]["state"], "missing");
    world.tell("a table or a job alone");
    world.succeeds("report item --out item.html");
    let alone = embedded(&page(&world, "item.html"));
    assert_eq!(
        (alone["tables"].clone(), &alone["jobs"]),
        (printed["tables"].clone(), &serde_json::json!([]))
    );
    world.succeeds("-q report joined --out joined.html");
    assert_eq!(
        embedded(&page(&world, "joined.html"))["tables"],
        serde_json::json!([])
    );
    world.refuses(2, "report itme");
    world.refuses(2, "report --out lake/page.html");
    world.refuses(2, "report --out item_events/page.html");
    world.refuses(2, "report --out page.pdf");
    world.pin("report");
}

#[test]
fn the_page_asks_for_nothing_and_has_tables_without_scripts() {
    let world = shop();
    assert_eq!(
        world.quietly("report --out page.html").status.code(),
        Some(0)
    );
    let page = page(&world, "page.html");
    assert!(page.contains("default-src 'none'"));
    let (head, _) = page
        .split_once("<script type=\"application/json\"")
        .expect("a document");
    for word in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!head.contains(word), "{word}");
    }
    // What was added, changed and removed on the second night.
    assert!(head.contains("<td>2024-03-02</td><td>1</td><td>2</td><td>0</td>"));
}

#[test]
fn the_exit_code_tells_of_damage_and_the_page_names_it() {
    let world = World::shop(3);
    assert_eq!(world.quietly("compact").status.code(), Some(0));
    assert_eq!(world.quietly("report --exit-code").status.code(), Some(0));
    world.write(
        "lake/item/snapshots/snapshot_date=2024-03-02/item.parquet",
        "PAR1",
    );
    assert_eq!(world.quietly("report").status.code(), Some(0));
    let output = world.quietly("report --exit-code --out page.html");
    assert_eq!(output.status.code(), Some(6));
    let document = embedded(&page(&world, "page.html"));
    assert_eq!(document["is_up_to_date"], false);
    assert_eq!(document["attention"][0]["kind"], "unreadable");
    assert_eq!(document["tables"][0]["coverage"][1]["state"], "unreadable");
    assert!(page(&world, "page.html").contains("2024-03-02 unreadable: "));
}

#[test]
fn pruning_saves_what_the_copies_took() {
    let world = World::shop(3);
    assert_eq!(world.quietly("compact").status.code(), Some(0));
    let before = world.json("report");
    assert_eq!(
        world.quietly("prune item --keep-last 1").status.code(),
        Some(0)
    );
    let after = world.json("report");
    let (before, after) = (&before["tables"][0], &after["tables"][0]);
    let bytes = before["days"]["bytes"][1].as_u64().expect("a size");
    assert_eq!(
        after["pruned"],
        serde_json::json!({"snapshots": 1, "bytes": bytes, "of_unknown_size": 0})
    );
    assert_eq!(
        after["days"]["pruned_bytes"],
        serde_json::json!([null, bytes, null])
    );
    for same in ["rows", "added", "changed", "removed"] {
        assert_eq!(before["days"][same], after["days"][same], "{same}");
    }
    assert_eq!(after["coverage"][1]["state"], "derived");
    assert_eq!(before["most_changed_keys"], after["most_changed_keys"]);
    // The next night keeps what is known.
    let mut world = world;
    world.at("2024-03-04");
    assert_eq!(world.quietly("snapshot item").status.code(), Some(0));
    assert_eq!(world.quietly("compact").status.code(), Some(0));
    assert_eq!(world.json("report")["tables"][0]["pruned"]["bytes"], bytes);
}

#[test]
fn a_lake_of_many_tables_is_a_line_each() {
    let mut world = World::shop(0);
    let config = page(&world, "asof.toml");
    world.write(
        "asof.toml",
        format!(
            "{config}\n[tables.shop]\nsource = 'item.csv'\nkey = ['id']\n[tables.later]\nsource = 'none.csv'\nkey = ['id']\n\
             [jobs.joined]\nevents = 'item_events'\ntable = 'item'\non = ['item_id=id']\noutput = 'out'\n"
        ),
    );
    for night in 1..=3 {
        world.night(night);
        world.quietly("snapshot item");
        if night != 2 {
            world.quietly("snapshot shop");
        }
    }
    world.quietly("compact item");
    world.quietly("backfill joined --from 2024-03-01 --to 2024-03-02");
    world.at("2024-03-05");
    world.succeeds("status");
    world.tell("without the jobs' dates that are up to date, of one by its name");
    world.succeeds("status item");
    world.pin("lake_at_a_glance");
}
