//! What is asked of a store: no more than the question needs, whatever else lies there.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use asof::storage::lake::commit::Staged;
use asof::storage::lake::location::Location;
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use super::servers::{Server, store_and_key};
use crate::journeys::environment::World;

fn world() -> (World, String) {
    let mut world = World::new();
    let root = Server::S3.prefix("requests");
    world.reaches(Server::S3);
    world.variable("ASOF_LAKE", &format!("{root}/lake"));
    (world, root)
}

fn asked(document: &Value) -> &Value {
    let report = document.get(0).unwrap_or(document);
    assert!(document.get("error").is_none(), "{document}");
    &report["store_requests"]
}

fn count(document: &Value, what: &str) -> u64 {
    asked(document)[what]
        .as_u64()
        .unwrap_or_else(|| panic!("no {what}: {document}"))
}

fn total(document: &Value) -> u64 {
    ["list", "get", "head", "put", "copy", "delete", "other"]
        .iter()
        .map(|verb| count(document, verb))
        .sum()
}

/// A Parquet file of rows whose key ascends.
fn parquet(rows: i64) -> Vec<u8> {
    let mut state = 1_u64;
    let mut random = || {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        state >> 20
    };
    let ids: Vec<i64> = (0..rows).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        (
            "name",
            Arc::new(StringArray::from_iter_values(
                ids.iter().map(|id| format!("item {id} {:x}", random())),
            )),
        ),
        (
            "text",
            Arc::new(StringArray::from_iter_values(
                ids.iter().map(|_| format!("{:x}{:x}", random(), random())),
            )),
        ),
        (
            "price",
            Arc::new(Float64Array::from_iter_values(
                ids.iter().map(|_| random() as f64 / 1000.0),
            )),
        ),
        (
            "stock",
            Arc::new(Int64Array::from_iter_values(
                ids.iter().map(|_| i64::try_from(random()).expect("small")),
            )),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("finished")
}

#[test]
fn one_key_of_a_large_table_costs_a_small_part_of_it() {
    let (world, _) = world();
    world.write("item.parquet", parquet(400_000));
    let taken = world.json("snapshot item --source item.parquet --key id");
    let size = taken[0]["bytes"]
        .as_u64()
        .unwrap_or_else(|| panic!("{taken}"));
    if cfg!(feature = "sql") {
        let shown = world.json("show item --date 2024-03-01 --where 'id = 234567'");
        assert_eq!(
            shown["rows"]
                .as_array()
                .map_or_else(|| shown["rows"].as_u64(), |rows| Some(rows.len() as u64)),
            Some(1),
            "{shown}"
        );
        let received = count(&shown, "bytes_received");
        assert!(received * 20 < size, "{received} bytes of {size}");
    }
    let compacted = world.json("compact item");
    let size = compacted[0]["bytes"]
        .as_u64()
        .unwrap_or_else(|| panic!("{compacted}"));
    let history = world.json("history item 234567");
    assert_eq!(
        history["intervals"].as_array().map(Vec::len),
        Some(1),
        "{history}"
    );
    let received = count(&history, "bytes_received");
    assert!(received * 20 < size, "{received} bytes of {size}");
}

#[test]
fn a_nights_compaction_costs_the_same_after_many_nights() {
    let (mut world, _) = world();
    let mut costs = Vec::new();
    for night in 1..=24_u32 {
        world.at(&format!("2024-03-{night:02}"));
        world.write("item.csv", format!("id,name\n1,a{night}\n2,b\n"));
        assert_eq!(
            world
                .quietly("snapshot item --source item.csv --key id")
                .status
                .code(),
            Some(0)
        );
        if night == 1 || night % 8 >= 7 || night % 8 == 0 {
            let compacted = world.json("compact item");
            if night % 8 == 0 {
                costs.push((total(&compacted), count(&compacted, "get")));
            }
        }
    }
    assert!(
        costs.iter().all(|cost| *cost == costs[0]),
        "requests and reads after 8, 16 and 24 nights: {costs:?}"
    );
    let again = world.json("compact item");
    assert!(total(&again) <= costs[0].0, "{again}");
}

/// Writes objects as another tool does, from several threads.
fn put_all(root: &str, paths: &[String], text: &str) {
    let root = Server::S3.at(root);
    std::thread::scope(|scope| {
        for chunk in paths.chunks(paths.len().div_ceil(8)) {
            let root = &root;
            scope.spawn(move || {
                for path in chunk {
                    let (store, key) = store_and_key(&root.join(path));
                    store.put(&key, text.into()).expect("written");
                }
            });
        }
    });
}

fn days(count: u64, files: usize) -> Vec<String> {
    let first = chrono::NaiveDate::from_ymd_opt(2023, 1, 1).expect("a date");
    let days = (0..count).map(|day| first + chrono::Days::new(day));
    days.flat_map(|day| {
        (0..files)
            .map(move |file| format!("{}/part-{file}.csv", day.format("year=%Y/month=%m/day=%d")))
    })
    .collect()
}

#[test]
fn a_week_of_a_large_lake_is_found_by_a_request_or_two() {
    let (world, root) = world();
    put_all(&format!("{root}/events"), &days(600, 5), "id\n1\n");
    let line = format!(
        "partitions {root}/events --layout year=%Y/month=%m/day=%d --from 2024-03-04 --to \
         2024-03-10"
    );
    let guided = world.json(&line);
    assert_eq!(
        (guided["files"].as_u64(), guided["missing_days"].as_u64()),
        (Some(35), Some(0)),
        "{guided}"
    );
    assert!(
        guided["requests"]
            .as_u64()
            .is_some_and(|requests| requests <= 2),
        "{guided}"
    );
    assert!(total(&guided) <= 2, "{guided}");
    let listing = world.json(&format!("{line} --strategy listing"));
    assert_eq!(
        (listing["files"].as_u64(), listing["requests"].as_u64()),
        (Some(35), Some(3)),
        "{listing}"
    );
    let paths = world.json(&format!("{line} --strategy paths"));
    assert_eq!(
        (paths["files"].as_u64(), paths["requests"].as_u64()),
        (Some(35), Some(7)),
        "{paths}"
    );
}

#[test]
fn a_wildcard_costs_a_listing_of_its_values_and_a_search_for_each() {
    let (world, root) = world();
    let countries = ["DE", "FR", "US"];
    for country in countries {
        let keys: Vec<String> = days(400, 3)
            .iter()
            .map(|key| key.replace("year=", ""))
            .collect();
        put_all(
            &format!("{root}/events/country={country}"),
            &keys,
            "id\n1\n",
        );
    }
    let requests = |layout: &str, path: &str| {
        let found = world.json(&format!(
            "partitions {root}/{path} --layout '{layout}' --from 2024-01-04 --to 2024-01-10"
        ));
        assert_eq!(found["missing_days"].as_u64(), Some(0), "{found}");
        (
            found["files"].as_u64().expect("a number"),
            found["requests"].as_u64().expect("a number"),
        )
    };
    let dates = "%Y/month=%m/day=%d";
    let (files, one) = requests(dates, "events/country=DE");
    let (all_files, all) = requests(&format!("country=*/{dates}"), "events");
    assert_eq!(all_files, files * countries.len() as u64);
    assert!(
        one <= 2 && all <= 1 + one * countries.len() as u64,
        "{one} requests for one country, and {all} for all"
    );
}

#[test]
fn a_backfill_does_not_ask_for_other_dates() {
    let cost = |other_days: u64| {
        let (mut world, root) = world();
        put_all(
            &format!("{root}/events"),
            &days(other_days, 1),
            "event_id,item_id\ne1,1\ne2,2\n",
        );
        for night in 1..=3 {
            world.at(&format!("2023-01-0{night}"));
            world.write("item.csv", format!("id,name\n1,a{night}\n2,b\n"));
            assert_eq!(
                world
                    .quietly("snapshot item --source item.csv --key id")
                    .status
                    .code(),
                Some(0)
            );
        }
        let events = format!("--events {root}/events --events-layout year=%Y/month=%m/day=%d");
        let line = format!(
            "backfill {events} --table item --on item_id=id --out {root}/out --from 2023-01-01 \
             --to 2023-01-03 --workers 1"
        );
        let first = world.json(&line);
        let again = world.json(&line);
        assert!(
            again[0]["dates"]
                .as_array()
                .is_some_and(|dates| dates.len() == 3
                    && dates.iter().all(|date| date["action"] == "up_to_date")),
            "{again}"
        );
        (total(&first), total(&again))
    };
    let few = cost(3);
    let many = cost(900);
    assert_eq!(few, many, "requests of a backfill and of the same again");
    assert!(few.1 < few.0);
}

#[test]
fn the_bytes_of_a_staged_object_are_sent_once() {
    let (world, root) = world();
    let file: Location = Server::S3.at(&format!("{root}/source.csv"));
    let staged = Staged::create(&file).expect("staged");
    staged
        .writer()
        .expect("a writer")
        .write_all(b"id,name\n1,a\n2,b\n")
        .expect("written");
    staged.publish_over().expect("published");
    // The first writes try the store out.
    assert_eq!(
        world
            .quietly(&format!(
                "snapshot other --source {root}/source.csv --key id"
            ))
            .status
            .code(),
        Some(0)
    );
    let taken = world.json(&format!(
        "snapshot item --source {root}/source.csv --key id"
    ));
    let sent = count(&taken, "bytes_sent");
    let size = taken[0]["bytes"].as_u64().expect("bytes");
    assert_eq!(sent, size);
}
