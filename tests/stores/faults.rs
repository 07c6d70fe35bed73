//! Answers that are lost, servers that are busy, and processes that are killed: what stands is
//! whole, and whose it is is known.

use std::process::Output;
use std::time::{Duration, Instant};

use super::proxy::{Fault, Proxy, Request};
use super::servers::{Server, store_and_key};
use crate::journeys::environment::{World, text};

const OBJECT: &str = "item/snapshots/snapshot_date=2024-03-01/item.parquet";

/// A world whose program reaches a server through a proxy, and a lake of its own there.
struct Line {
    world: World,
    proxy: Proxy,
    server: Server,
    lake: String,
}

impl Line {
    fn to(server: Server) -> Line {
        let mut world = World::new();
        let proxy = Proxy::before(&server.address());
        let lake = server.prefix("faults");
        world.reaches_at(server, &proxy.address);
        world.variable("ASOF_LAKE", &lake);
        world.write("item.csv", "id,name\n1,mine\n2,mine\n");
        world.write("theirs.csv", "id,name\n1,theirs\n");
        Line {
            world,
            proxy,
            server,
            lake,
        }
    }

    fn run(&self, line: &str) -> Output {
        self.world.quietly(line)
    }

    /// Takes a snapshot that must end with a code; returns what became of it.
    #[track_caller]
    fn snapshot(&self, code: i32, options: &str) -> String {
        let output = self.run(&format!(
            "--json snapshot item --source item.csv --key id {options}"
        ));
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        let document: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("a document");
        document[0]["outcome"]
            .as_str()
            .or(document["error"]["kind"].as_str())
            .unwrap_or("?")
            .to_owned()
    }

    /// What stands under the name of the snapshot.
    fn stands(&self) -> Option<Vec<u8>> {
        self.server
            .at(&format!("{}/{OBJECT}", self.lake))
            .read_small()
            .expect("read")
    }

    fn keys(&self) -> Vec<String> {
        self.server
            .keys(&self.lake)
            .into_iter()
            .filter(|key| key != "_asof/store.json")
            .collect()
    }

    /// Something that writes what another writer would have.
    fn theirs(&self) -> (Vec<u8>, Fault) {
        let elsewhere = World::new();
        elsewhere.write("theirs.csv", "id,name\n1,theirs\n");
        assert_eq!(
            elsewhere
                .quietly("snapshot item --source theirs.csv --key id --lake lake")
                .status
                .code(),
            Some(0)
        );
        let bytes = elsewhere.bytes(&format!("lake/{OBJECT}"));
        let (store, key) = store_and_key(&self.server.at(&format!("{}/{OBJECT}", self.lake)));
        let written = bytes.clone();
        (
            bytes,
            Fault::Meanwhile(Box::new(move || {
                store.put(&key, written.clone()).expect("written")
            })),
        )
    }
}

fn puts_the_snapshot(request: &Request) -> bool {
    request.puts("item.parquet")
}

/// Whether a request is a part of the snapshot, and not of what tries the store out.
fn sends_a_part(request: &Request) -> bool {
    request.is_part() && request.target.contains("item.parquet")
}

fn completes_the_snapshot(request: &Request) -> bool {
    request.completes() && request.target.contains("item.parquet")
}

/// Rows of text that does not get shorter, so that their object goes up in parts.
fn large() -> String {
    let mut state = 1_u64;
    let mut csv = "id,text\n".to_owned();
    for id in 0..280 {
        csv.push_str(&format!("{id},"));
        for _ in 0..100_000 {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            csv.push(char::from(
                b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
                    [(state >> 58) as usize],
            ));
        }
        csv.push('\n');
    }
    csv
}

fn a_lost_reply_is_recognised(server: Server) {
    let line = Line::to(server);
    line.proxy.next(1, puts_the_snapshot, Fault::LoseReply);
    assert_eq!(line.snapshot(0, ""), "published");
    assert!(line.proxy.is_spent());
    assert_eq!(line.keys(), [OBJECT]);
    assert_eq!(line.snapshot(0, ""), "kept");
    // And so is that to a replacement.
    line.world
        .write("item.csv", "id,name\n1,corrected\n2,mine\n");
    line.proxy.next(1, puts_the_snapshot, Fault::LoseReply);
    assert_eq!(line.snapshot(0, "--if-exists replace"), "replaced");
    assert!(line.proxy.is_spent());
    assert_eq!(
        line.keys().len(),
        2,
        "the old one is aside: {:?}",
        line.keys()
    );
    assert_eq!(line.run("verify item").status.code(), Some(0));
}

#[test]
fn a_lost_reply_of_s3_is_recognised_as_published() {
    a_lost_reply_is_recognised(Server::S3);
}

#[test]
fn a_lost_reply_of_azure_is_recognised_as_published() {
    a_lost_reply_is_recognised(Server::Azure);
}

#[test]
fn a_lost_reply_of_google_is_recognised_as_published() {
    a_lost_reply_is_recognised(Server::Google);
}

#[test]
fn a_lost_request_is_sent_again() {
    let line = Line::to(Server::S3);
    line.proxy.next(2, puts_the_snapshot, Fault::LoseRequest);
    assert_eq!(line.snapshot(0, "--if-exists error"), "published");
    assert!(line.proxy.is_spent());
    assert_eq!(
        line.proxy
            .seen()
            .iter()
            .filter(|request| request.starts_with("PUT") && request.ends_with("item.parquet"))
            .count(),
        3
    );
}

#[test]
fn a_busy_server_and_a_conflict_of_the_moment_are_asked_again() {
    let line = Line::to(Server::S3);
    line.proxy.next(
        1,
        puts_the_snapshot,
        Fault::Answer(409, "ConditionalRequestConflict"),
    );
    line.proxy
        .next(1, puts_the_snapshot, Fault::Answer(500, "InternalError"));
    line.proxy
        .next(1, puts_the_snapshot, Fault::Answer(503, "SlowDown"));
    assert_eq!(line.snapshot(0, "--if-exists error"), "published");
    assert!(line.proxy.is_spent());
    line.proxy
        .next(3, Request::reads, Fault::Answer(503, "SlowDown"));
    line.proxy.next(1, Request::reads, Fault::LoseRequest);
    line.proxy.next(1, Request::reads, Fault::LoseReply);
    line.proxy
        .next(1, Request::reads, Fault::Delay(Duration::from_millis(300)));
    let shown = line.run("show item --date 2024-03-01");
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    assert!(
        text(&shown.stdout).contains("2 rows of item"),
        "{}",
        text(&shown.stdout)
    );
    assert!(line.proxy.is_spent());
    line.proxy.next(
        1,
        puts_the_snapshot,
        Fault::Answer(409, "ConditionalRequestConflict"),
    );
    line.world.write("item.csv", "id,name\n1,corrected\n");
    assert_eq!(line.snapshot(0, "--if-exists replace"), "replaced");
}

#[test]
fn after_a_lost_request_the_object_of_another_writer_is_left_alone() {
    for (options, code, outcome) in [("", 0, "kept"), ("--if-exists error", 4, "conflict")] {
        let line = Line::to(Server::S3);
        let (theirs, meanwhile) = line.theirs();
        line.proxy.next(1, puts_the_snapshot, meanwhile);
        assert_eq!(line.snapshot(code, options), outcome);
        assert!(line.stands() == Some(theirs), "their object is untouched");
        assert_eq!(line.keys(), [OBJECT]);
    }
    let line = Line::to(Server::S3);
    assert_eq!(line.snapshot(0, ""), "published");
    let mine = line.stands().expect("it stands");
    line.world.write("item.csv", "id,name\n1,corrected\n");
    let (theirs, meanwhile) = line.theirs();
    line.proxy.next(1, puts_the_snapshot, meanwhile);
    assert_eq!(line.snapshot(4, "--if-exists replace"), "conflict");
    assert!(line.stands() == Some(theirs), "their object is untouched");
    let aside: Vec<String> = line
        .keys()
        .into_iter()
        .filter(|key| key.contains("superseded"))
        .collect();
    assert!(aside.len() <= 1, "{aside:?}");
    for key in aside {
        assert!(
            line.server
                .at(&format!("{}/{key}", line.lake))
                .read_small()
                .expect("read")
                == Some(mine.clone()),
            "aside is what stood before"
        );
    }
}

#[test]
fn retries_have_a_limit_that_is_told() {
    let mut line = Line::to(Server::S3);
    line.world
        .write("asof.toml", "[stores.s3]\nmax_retries = 2\n");
    line.proxy
        .next(usize::MAX, Request::reads, Fault::Answer(503, "SlowDown"));
    let lake = line.lake.clone();
    let address = line.proxy.address.clone();
    line.world.call(&lake, "s3://asof-test/lake");
    line.world.call(&lake["s3://asof-test/".len()..], "lake");
    line.world.call(&address, "[SERVER]");
    let began = Instant::now();
    assert_eq!(line.world.asof("show item --date 2024-03-01"), 1);
    assert_eq!(
        line.world.asof("snapshot item --source item.csv --key id"),
        1
    );
    assert!(
        began.elapsed() < Duration::from_secs(180),
        "{:?}",
        began.elapsed()
    );
    let most = line.proxy.seen().len();
    assert!(
        most <= 6,
        "{most} requests of two commands, each the first and two more"
    );
    line.world.pin("stores_busy");
}

#[test]
fn a_large_snapshot_survives_lost_replies_and_a_kill() {
    let line = Line::to(Server::S3);
    line.world.write("item.csv", large());
    // Killed while its parts go up.
    line.proxy
        .next(1, sends_a_part, Fault::Delay(Duration::from_secs(3600)));
    let mut child = line
        .world
        .command("--no-progress snapshot item --source item.csv --key id")
        .spawn()
        .expect("asof starts");
    let began = Instant::now();
    while !line
        .proxy
        .seen()
        .iter()
        .any(|request| request.contains("item.parquet") && request.contains("uploadId="))
    {
        assert!(
            began.elapsed() < Duration::from_secs(120)
                && child.try_wait().expect("a child").is_none(),
            "no part was sent"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(
        line.keys(),
        Vec::<String>::new(),
        "a killed upload leaves no object"
    );
    // The next run publishes, though a part is lost, and the reply to its completion.
    line.proxy.next(1, sends_a_part, Fault::LoseRequest);
    line.proxy.next(1, completes_the_snapshot, Fault::LoseReply);
    assert_eq!(line.snapshot(0, "--if-exists error"), "published");
    assert!(line.proxy.is_spent());
    assert_eq!(line.keys(), [OBJECT]);
    let whole = line.stands().expect("it stands");
    assert!(whole.len() > 16 << 20, "{} bytes", whole.len());
    assert_eq!(line.run("verify item").status.code(), Some(0));
}

#[test]
fn of_a_large_snapshot_the_object_of_another_writer_is_left_alone() {
    let line = Line::to(Server::S3);
    line.world.write("item.csv", large());
    let (theirs, meanwhile) = line.theirs();
    line.proxy.next(1, completes_the_snapshot, meanwhile);
    assert_eq!(line.snapshot(0, ""), "kept");
    assert!(line.proxy.is_spent());
    assert!(line.stands() == Some(theirs), "their object is untouched");
    assert_eq!(line.keys(), [OBJECT]);
}

#[test]
fn a_large_snapshot_in_google_survives_the_lost_reply_of_its_copy() {
    let line = Line::to(Server::Google);
    line.world.write("item.csv", large());
    line.proxy.next(1, puts_the_snapshot, Fault::LoseReply);
    assert_eq!(line.snapshot(0, "--if-exists error"), "published");
    assert!(line.proxy.is_spent());
    assert_eq!(
        line.keys(),
        [OBJECT],
        "what the copy was made of is removed"
    );
}

#[test]
fn a_large_snapshot_in_azure_survives_the_lost_reply_of_its_completion() {
    let line = Line::to(Server::Azure);
    line.world.write("item.csv", large());
    line.proxy.next(1, completes_the_snapshot, Fault::LoseReply);
    assert_eq!(line.snapshot(0, "--if-exists error"), "published");
    assert!(line.proxy.is_spent());
    assert_eq!(line.keys(), [OBJECT]);
}

#[test]
fn a_lost_reply_to_what_is_put_aside_does_no_harm() {
    for (server, asides) in [(Server::S3, 2), (Server::Azure, 1), (Server::Google, 1)] {
        let line = Line::to(server);
        assert_eq!(line.snapshot(0, ""), "published");
        let old = line.stands().expect("it stands");
        line.world
            .write("item.csv", "id,name\n1,corrected\n2,mine\n");
        // In S3 it is an upload in parts, which begins and is completed.
        let is_aside = |request: &Request| {
            request.target.contains("/superseded/")
                && !request.reads()
                && request.method != "DELETE"
        };
        line.proxy.next(asides, is_aside, Fault::LoseReply);
        assert_eq!(
            line.snapshot(0, "--if-exists replace"),
            "replaced",
            "{server:?}"
        );
        assert!(line.proxy.is_spent(), "{server:?}: {:?}", line.proxy.seen());
        let aside: Vec<String> = line
            .keys()
            .into_iter()
            .filter(|key| key.contains("superseded"))
            .collect();
        assert_eq!(aside.len(), 1, "{server:?}: {aside:?}");
        assert!(
            line.server
                .at(&format!("{}/{}", line.lake, aside[0]))
                .read_small()
                .expect("read")
                == Some(old),
            "{server:?}"
        );
    }
}

#[test]
fn a_listing_of_many_pages_goes_on_after_a_page_that_failed() {
    let line = Line::to(Server::S3);
    let root = line.server.at(&format!("{}-events", line.lake));
    std::thread::scope(|scope| {
        for part in 0..8 {
            let root = &root;
            scope.spawn(move || {
                for file in 0..140 {
                    let (store, key) =
                        store_and_key(&root.join(&format!("date=2024-03-01/{part}-{file}.csv")));
                    store.put(&key, b"x".to_vec()).expect("written");
                }
            });
        }
    });
    line.proxy.next(
        1,
        |request| request.target.contains("continuation-token"),
        Fault::Answer(503, "SlowDown"),
    );
    line.proxy.next(
        1,
        |request| request.target.contains("list-type"),
        Fault::LoseReply,
    );
    let found = line.world.json(&format!(
        "partitions {root} --layout date=%Y-%m-%d --from 2024-03-01 --to 2024-03-02"
    ));
    assert!(line.proxy.is_spent());
    assert_eq!(found["files"], 1_120, "{found}");
    let pages = found["requests"].as_u64().expect("a count");
    assert_eq!(
        found["store_requests"]["list"],
        pages + 2,
        "two pages were asked for once more: {found}"
    );
}
