//! Stores that are refused, and stores that are not reached: what is said, and how soon.

use std::time::{Duration, Instant};

use super::servers::Server;
use crate::journeys::environment::{World, text};

/// A world with a source, whose transcript shows a lake of this server under one name.
fn world(server: Server) -> (World, String) {
    let mut world = World::new();
    let lake = server.prefix("refusals");
    world.reaches(server);
    world.call(&lake, "s3://asof-test/lake");
    world.call(&server.address(), "[SERVER]");
    world.variable("ASOF_LAKE", &lake);
    world.write("item.csv", "id,name\n1,a\n");
    (world, lake)
}

#[test]
fn a_store_that_ignores_conditions_is_refused_unless_it_is_allowed() {
    let (mut world, lake) = world(Server::Unsafe);
    assert_eq!(world.asof("snapshot item --source item.csv --key id"), 2);
    assert_eq!(
        Server::Unsafe.keys(&lake),
        ["_asof/store.json"],
        "nothing else is written"
    );
    assert_eq!(world.asof("snapshot item --source item.csv --key id"), 2);
    world.succeeds("--allow-unsafe-store snapshot item --source item.csv --key id");
    assert_eq!(
        Server::Unsafe.keys(&lake),
        [
            "_asof/store.json",
            "item/snapshots/snapshot_date=2024-03-01/item.parquet"
        ]
    );
    world.succeeds("show item --date 2024-03-01");
    world.pin("stores_unsafe");
    // What was found out is remembered: the second refusal wrote and deleted nothing.
    let refused = world.quietly("-v snapshot other --source item.csv --key id");
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(!said.contains("PUT") && !said.contains("DELETE"), "{said}");
}

#[test]
fn what_was_found_out_of_a_store_is_remembered() {
    let (world, _) = world(Server::S3);
    let first = world.json("snapshot item --source item.csv --key id");
    let puts = |document: &serde_json::Value| {
        document[0]["store_requests"]["put"]
            .as_u64()
            .expect("a count")
    };
    assert_eq!(
        puts(&first),
        7,
        "three trials and two of parts, what was found, and the snapshot"
    );
    let second = world.json("snapshot other --source item.csv --key id");
    assert_eq!(
        (puts(&second), &second[0]["outcome"]),
        (1, &serde_json::json!("published"))
    );
}

#[test]
fn a_server_that_is_not_there_is_a_failure_after_a_while() {
    let (mut world, _) = world(Server::S3);
    // A port on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    world.call(&format!("127.0.0.1:{port}"), "[NOBODY]");
    world.write(
        "asof.toml",
        format!("[stores.s3]\nendpoint = 'http://127.0.0.1:{port}'\nmax_retries = 0\n"),
    );
    let began = Instant::now();
    assert_eq!(world.asof("snapshot item --source item.csv --key id"), 1);
    assert_eq!(
        world.asof(
            "partitions s3://asof-test/events --layout date=%Y-%m-%d --from \
             2024-01-01 --to 2024-01-02"
        ),
        1
    );
    assert!(
        began.elapsed() < Duration::from_secs(120),
        "{:?}",
        began.elapsed()
    );
    world.write(
        "asof.toml",
        format!("[stores.s3]\nendpoint = 'http://127.0.0.1:{port}'\nretry_timeout = '1s'\n"),
    );
    assert_eq!(world.asof("show item --date 2024-03-01"), 1);
    assert!(
        began.elapsed() < Duration::from_secs(180),
        "{:?}",
        began.elapsed()
    );
    world.pin("stores_nobody");
}

#[test]
fn what_is_configured_wrongly_is_refused() {
    let (mut world, _) = world(Server::S3);
    let bucket = "s3://no-such-bucket";
    let range = "--from 2024-01-01 --to 2024-01-02";
    assert_eq!(
        world.asof(&format!(
            "--lake {bucket}/lake snapshot item --source item.csv --key id"
        )),
        2
    );
    assert_eq!(
        world.asof(&format!("--lake {bucket}/lake show item --date 2024-03-01")),
        2
    );
    assert_eq!(
        world.asof(&format!(
            "snapshot item --source {bucket}/item.csv --key id"
        )),
        2
    );
    assert_eq!(
        world.asof(&format!(
            "partitions {bucket}/events --layout date=%Y-%m-%d {range}"
        )),
        2
    );
    assert_eq!(
        world.asof("snapshot item --source ftp://host/item.csv --key id"),
        2
    );
    for section in [
        "[stores.s3]\nregoin = 'x'",
        "[stores.s4]\nregion = 'x'",
        "[stores.s3]\nmax_retries = 'many'",
        "[stores.s3]\nsecret = '${NOT_SET}'",
    ] {
        world.write("asof.toml", section);
        world.tell(section);
        assert_eq!(world.asof("snapshot item --source item.csv --key id"), 2);
    }
    world.pin("stores_wrong");
}

#[test]
fn an_azure_container_and_a_google_bucket_that_are_not_there_are_refused() {
    for (server, bucket) in [
        (Server::Azure, "az://no-such-container"),
        (Server::Google, "gs://no-such-bucket"),
    ] {
        let mut world = World::new();
        world.reaches(server);
        world.write("item.csv", "id,name\n1,a\n");
        assert_eq!(
            world.asof(&format!(
                "--lake {bucket}/lake snapshot item --source item.csv --key id"
            )),
            2,
            "{}",
            world.transcript()
        );
        assert!(
            world
                .transcript()
                .contains("create the bucket or container first"),
            "{}",
            world.transcript()
        );
    }
}
