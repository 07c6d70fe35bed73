//! What people do with asof, where everything lies in object stores.

use std::io::Write as _;

use super::servers::{Server, store_and_key};
use crate::journeys::environment::{EVENTS, World, text};

const RANGE: &str = "--from 2024-03-01 --to 2024-03-03";

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A world with a prefix of its own in a store.
struct Remote {
    world: World,
    server: Server,
    root: String,
}

impl Remote {
    fn new(server: Server, name: &str) -> Remote {
        let mut world = World::new();
        world.reaches(server);
        let root = server.prefix(name);
        let bucket = root.rsplit_once('/').expect("a bucket").0;
        world.call(&root, &format!("{bucket}/{name}"));
        Remote {
            world,
            server,
            root,
        }
    }

    /// The shop of the journeys, with lake, events and outputs in the store, and so many nights.
    fn shop(name: &str, nights: usize) -> Remote {
        let mut remote = Remote::new(Server::S3, name);
        let root = remote.root.clone();
        remote.world.write("asof.toml", SHOP.replace("ROOT", &root));
        for (day, rows) in (1..).zip(EVENTS) {
            remote.put(
                &format!("events/year=2024/month=03/day=0{day}/events.csv"),
                format!("event_id,item_id,qty,name\n{rows}"),
            );
        }
        for night in 1..=nights {
            remote.world.night(night);
            let taken = remote.world.quietly("snapshot item");
            assert_eq!(taken.status.code(), Some(0), "{}", text(&taken.stderr));
        }
        remote
    }

    /// Writes an object below the root, as another tool would.
    fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let (store, key) = store_and_key(&self.server.at(&format!("{}/{path}", self.root)));
        store.put(&key, bytes.as_ref().to_vec()).expect("written");
    }

    fn remove(&self, path: &str) {
        self.server
            .at(&format!("{}/{path}", self.root))
            .remove()
            .expect("removed");
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        self.server
            .at(&format!("{}/{path}", self.root))
            .read_small()
            .expect("read")
            .unwrap_or_else(|| panic!("there is no {path}"))
    }

    /// The rows of a Parquet object as text.
    fn rows(&self, path: &str) -> Vec<String> {
        self.world.write("fetched.parquet", self.bytes(path));
        self.world.rows("fetched.parquet")
    }

    fn outputs(&self, out: &str) -> String {
        let name = out.rsplit('/').next().expect("a name");
        let days = (1..=3).map(|day| {
            format!(
                "2024-03-0{day}\n{}",
                self.rows(&format!("{out}/date=2024-03-0{day}/{name}.parquet"))
                    .join("\n")
            )
        });
        days.collect::<Vec<_>>().join("\n")
    }

    /// Runs a command that must end with a code and leave every object as it was.
    #[track_caller]
    fn refuses(&mut self, code: i32, line: &str) {
        let before = self.server.objects(&self.root);
        assert_eq!(self.world.asof(line), code, "{}", self.world.transcript());
        assert_eq!(
            before,
            self.server.objects(&self.root),
            "asof {line} left something behind"
        );
    }
}

const SHOP: &str = r#"lake = "ROOT/lake"

[tables.item]
source = "item.csv"
key = ["id"]

[events.item_events]
path = "ROOT/events"
layout = "year=%Y/month=%m/day=%d"

[jobs.joined]
events = "item_events"
table = "item"
on = ["item_id=id"]
output = "ROOT/joined"

[jobs.active]
sql_file = "ROOT/active.sql"
output = "ROOT/active"
"#;

const SQL: &str = "select event_id, qty, {date} as day from item_events join item on item.id = \
 item_id where status = 'ACTIVE' order by event_id";

#[cfg(feature = "sql")]
#[test]
fn the_demonstration_is_the_same_in_every_store() {
    let mut local = World::new();
    local.at("2026-11-20");
    let told = local.quietly("demo");
    assert_eq!(told.status.code(), Some(0));
    let expected = local.named(&text(&told.stdout));
    for server in [Server::S3, Server::Azure, Server::Google] {
        let mut world = World::new();
        world.at("2026-11-20");
        world.reaches(server);
        let root = server.prefix("demo");
        let told = world.quietly(&format!("demo {root}"));
        assert_eq!(
            told.status.code(),
            Some(0),
            "{root}: {}{}",
            text(&told.stdout),
            text(&told.stderr)
        );
        let scheme = root.split("://").next().expect("a scheme");
        let told = world
            .named(&text(&told.stdout))
            .replace(&format!("{root}/"), "")
            .replace(&format!("asof-demo-{scheme}"), "asof-demo")
            // The output is shown beside the job where its place is not the job's name.
            .replace("passengers  passengers\n", "passengers\n");
        assert_eq!(told, expected, "{root}");
        let keys = server.keys(&root);
        assert_eq!(
            keys.iter()
                .filter(|key| key.ends_with("/airport.parquet"))
                .count(),
            28,
            "{keys:?}"
        );
        assert_eq!(
            keys.iter()
                .filter(|key| key.ends_with("/passengers.parquet"))
                .count(),
            10,
            "{keys:?}"
        );
        assert!(
            !keys
                .iter()
                .any(|key| key.contains(".asof-") || key.contains("probe-")),
            "{keys:?}"
        );
    }
}

#[test]
fn the_first_nights_and_a_correction() {
    let mut shop = Remote::shop("nights", 0);
    shop.world.tell("the first night");
    shop.world.night(1);
    shop.world.succeeds("snapshot item");
    shop.world.tell("the second");
    shop.world.night(2);
    shop.world.succeeds("snapshot");
    shop.world.tell("once more");
    shop.world.succeeds("snapshot item");
    shop.world
        .tell("the third, and then a rerun of a night that failed");
    shop.world.night(3);
    shop.world.succeeds("snapshot item --date 2024-03-03");
    shop.refuses(3, "snapshot item --date 2024-02-29");
    shop.world
        .succeeds("snapshot item --date 2024-02-29 --backdate");
    shop.refuses(4, "snapshot item --if-exists error");
    shop.refuses(3, "snapshot item --date 2024-03-01 --if-exists replace");
    shop.refuses(0, "snapshot item --if-exists replace --dry-run");
    shop.world
        .tell("a correction, which keeps the old snapshot aside");
    let old = shop.bytes("lake/item/snapshots/snapshot_date=2024-03-03/item.parquet");
    shop.world.write(
        "item.csv",
        "id,name,status,price\n2,Nut,PAUSED,0.3\n3,Gear,ACTIVE,12\n4,Washer,ACTIVE,0.05\n",
    );
    shop.world.succeeds("snapshot item --if-exists replace");
    shop.world.tell("and nothing new");
    shop.refuses(0, "snapshot item --if-exists replace");
    let keys = shop.server.keys(&format!("{}/lake", shop.root));
    let aside: Vec<&String> = keys
        .iter()
        .filter(|key| key.contains("superseded"))
        .collect();
    assert!(
        aside.len() == 1 && shop.bytes(&format!("lake/{}", aside[0])) == old,
        "{aside:?}"
    );
    shop.world.at("2024-03-04");
    shop.world.succeeds("-q snapshot item");
    shop.world.tell(&format!(
        "the lake:\n{}",
        shop.server.keys(&format!("{}/lake", shop.root)).join("\n")
    ));
    shop.world.pin("stores_nights");
}

#[test]
fn a_copy_is_dropped_and_restored_in_every_store() {
    for server in [Server::S3, Server::Azure, Server::Google] {
        let mut remote = Remote::new(server, "undo");
        let lake = format!("{}/lake", remote.root);
        remote.world.variable("ASOF_LAKE", &lake);
        for night in 1..=3 {
            remote.world.night(night);
            let taken = remote
                .world
                .quietly("snapshot item --source item.csv --key id");
            assert_eq!(taken.status.code(), Some(0), "{}", text(&taken.stderr));
        }
        let runs = |lines: &[&str]| {
            for line in lines {
                let ended = remote.world.quietly(line);
                assert_eq!(
                    ended.status.code(),
                    Some(0),
                    "{line}: {}",
                    text(&ended.stderr)
                );
            }
        };
        runs(&["compact item"]);
        let hint = |key: &String| key.contains("/_asof/") || key.contains("_item.json");
        let content = || {
            let mut keys = server.keys(&lake);
            // How long copies stood is kept for `--known-at`.
            keys.retain(|key| !hint(key) && !key.contains("/_stays/"));
            keys
        };
        let (before, intervals) = (content(), "lake/item/intervals/item.parquet");
        let whole = remote.bytes(intervals);
        runs(&[
            "drop item 2024-03-02",
            "drop item 2024-03-02",
            "compact item",
        ]);
        let dropped: Vec<String> = content()
            .into_iter()
            .filter(|key| key.contains("2024-03-02"))
            .collect();
        assert!(
            dropped.len() == 1 && dropped[0].contains("_dropped/"),
            "{server:?}: {dropped:?}"
        );
        assert!(remote.bytes(intervals) != whole);
        runs(&[
            "verify item",
            "restore item 2024-03-02",
            "compact item",
            "verify item",
        ]);
        assert_eq!(content(), before, "{server:?}");
        assert!(remote.bytes(intervals) == whole);
    }
}

#[test]
fn copies_are_pruned_in_every_store_and_a_run_that_was_killed_is_finished() {
    use asof::storage::lake::aside::PRUNED;
    for server in [Server::S3, Server::Azure, Server::Google] {
        let mut remote = Remote::new(server, "prune");
        let lake = format!("{}/lake", remote.root);
        remote.world.variable("ASOF_LAKE", &lake);
        for night in 1..=3 {
            remote.world.night(night);
            let line = "snapshot item --source item.csv --key id";
            assert_eq!(remote.world.quietly(line).status.code(), Some(0));
        }
        let runs = |code: i32, line: &str| {
            let ended = remote.world.quietly(line);
            let said = text(&ended.stderr);
            assert_eq!(
                ended.status.code(),
                Some(code),
                "{server:?}, {line}: {said}"
            );
            text(&ended.stdout)
        };
        let left = || {
            let mut keys = server.keys(&lake);
            keys.retain(|key| key.contains("2024-03-02") && !key.contains("/_stays/"));
            keys
        };
        runs(0, "compact item");
        let shown = remote.world.json("show item 2024-03-02")["rows"].clone();
        runs(0, "prune item --keep-last 1");
        assert!(left().is_empty(), "{server:?}: {:?}", left());
        let again = remote.world.json("show item 2024-03-02")["rows"].clone();
        assert_eq!(again, shown, "{server:?}");
        runs(0, "verify item");
        runs(0, "compact item");
        let copy = "lake/item/snapshots/snapshot_date=2024-03-02/item.parquet";
        remote.put(copy, PRUNED);
        runs(4, "drop item 2024-03-02");
        runs(
            4,
            "snapshot item --date 2024-03-02 --backdate --source item.csv",
        );
        runs(0, "prune item --keep-last 1");
        assert!(left().is_empty(), "{server:?}: {:?}", left());
        runs(0, "verify item");
    }
}

#[test]
fn a_lake_in_a_store_is_the_lake_on_a_disk() {
    let mut shop = Remote::shop("same", 2);
    let local = World::shop(2);
    assert_eq!(local.quietly("compact item").status.code(), Some(0));
    shop.world.succeeds("compact item");
    shop.world.night(3);
    let mut local = local;
    local.night(3);
    for world in [&local, &shop.world] {
        assert_eq!(world.quietly("snapshot item").status.code(), Some(0));
    }
    shop.world.succeeds("compact item");
    assert_eq!(local.quietly("compact item").status.code(), Some(0));
    let intervals = "lake/item/intervals/item.parquet";
    assert!(
        shop.bytes(intervals) == local.bytes(intervals),
        "the intervals have the same bytes"
    );
    shop.refuses(0, "compact item");
    let incremental = shop.bytes(intervals);
    shop.world.succeeds("compact item --full");
    assert!(
        incremental == shop.bytes(intervals),
        "an incremental run gives the bytes of a full one"
    );
    for line in [
        "show item --date 2024-03-02",
        "diff item 2024-03-01 2024-03-03",
        "history item 1",
        "history item 3",
        "verify item",
    ] {
        let here = local.quietly(line);
        let there = shop.world.quietly(line);
        assert_eq!(text(&here.stdout), text(&there.stdout), "{line}");
        assert_eq!(
            there.status.code(),
            Some(0),
            "{line}: {}",
            text(&there.stderr)
        );
    }
    shop.world.succeeds("status");
    shop.world.succeeds("status item");
    let root = shop.root.clone();
    for format in ["csv", "ndjson", "parquet"] {
        shop.world.succeeds(&format!(
            "show item --date 2024-03-02 --out {root}/shown/item.{format} --limit 0"
        ));
    }
    shop.world.tell(&text(&shop.bytes("shown/item.csv")));
    shop.world.tell(&text(&shop.bytes("shown/item.ndjson")));
    assert_eq!(shop.rows("shown/item.parquet").len(), 5);
    shop.world
        .succeeds(&format!("expand item {RANGE} --out {root}/copies"));
    shop.refuses(0, &format!("expand item {RANGE} --out {root}/copies"));
    for day in 1..=3 {
        let snapshot = shop.rows(&format!(
            "lake/item/snapshots/snapshot_date=2024-03-0{day}/item.parquet"
        ));
        let copies = shop.server.keys(&format!("{root}/copies"));
        let copy = copies
            .iter()
            .find(|key| key.contains(&format!("2024-03-0{day}")))
            .expect("a copy");
        assert_eq!(snapshot, shop.rows(&format!("copies/{copy}")));
    }
    shop.world.pin("stores_looking");
}

#[test]
fn a_backfill_in_a_store_is_run_once() {
    let mut shop = Remote::shop("backfill", 3);
    shop.put("active.sql", SQL);
    shop.world.succeeds("compact item");
    let jobs: &[&str] = if cfg!(feature = "sql") {
        &["joined", "active"]
    } else {
        &["joined"]
    };
    for job in jobs {
        shop.world.succeeds(&format!("backfill {job} {RANGE}"));
        shop.refuses(0, &format!("backfill {job} {RANGE}"));
        let told = shop.outputs(job);
        shop.world.tell(&told);
    }
    shop.world.tell("the events of a day are rewritten");
    shop.put(
        "events/year=2024/month=03/day=03/events.csv",
        "event_id,item_id,qty,name\nc1,2,100,web\n",
    );
    shop.world.succeeds(&format!("status joined {RANGE}"));
    shop.world.succeeds(&format!("backfill joined {RANGE}"));
    shop.world.tell("a day cannot be read");
    shop.put(
        "events/year=2024/month=03/day=02/events.csv",
        "event_id,item_id,qty,name\nb1,1,1\n",
    );
    let before = shop.bytes("joined/date=2024-03-02/joined.parquet");
    assert_eq!(
        shop.world
            .asof(&format!("backfill joined {RANGE} --only all")),
        5
    );
    assert!(
        before == shop.bytes("joined/date=2024-03-02/joined.parquet"),
        "what stood there stands"
    );
    shop.world.tell("and then it can: only that one is run");
    shop.put(
        "events/year=2024/month=03/day=02/events.csv",
        "event_id,item_id,qty,name\nb1,1,1,web\n",
    );
    shop.world.succeeds(&format!("status joined {RANGE}"));
    shop.world
        .succeeds(&format!("backfill joined {RANGE} --only failed"));
    shop.world.succeeds(&format!("backfill joined {RANGE}"));
    shop.world.tell("the events of a day are gone");
    shop.remove("events/year=2024/month=03/day=01/events.csv");
    shop.world.succeeds(&format!("status joined {RANGE}"));
    shop.refuses(0, &format!("backfill joined {RANGE} --dry-run"));
    shop.world.succeeds(&format!("backfill joined {RANGE}"));
    assert!(
        !shop
            .server
            .keys(&shop.root)
            .iter()
            .any(|key| key.contains("joined/date=2024-03-01"))
    );
    shop.world.tell("an output of somebody else");
    shop.put("joined/date=2024-03-02/joined.parquet", "mine");
    assert_eq!(
        shop.world
            .asof(&format!("backfill joined {RANGE} --only all")),
        5
    );
    assert_eq!(shop.bytes("joined/date=2024-03-02/joined.parquet"), b"mine");
    shop.world.pin("stores_backfill");
}

#[test]
fn events_and_outputs_may_lie_apart() {
    let mut shop = Remote::shop("apart", 3);
    let root = shop.root.clone();
    let job = format!("--events item_events --table item --on item_id=id {RANGE}");
    shop.world.succeeds(&format!("backfill {job} --out here"));
    shop.world.succeeds(&format!("backfill {job} --out here"));
    for (day, rows) in (1..).zip(EVENTS) {
        shop.world.write(
            &format!("events/year=2024/month=03/day=0{day}/events.csv"),
            format!("event_id,item_id,qty,name\n{rows}"),
        );
    }
    let job = format!(
        "--events events --events-layout year=%Y/month=%m/day=%d --table item --on item_id=id \
         {RANGE}"
    );
    shop.world
        .succeeds(&format!("backfill {job} --out {root}/here"));
    shop.world
        .succeeds(&format!("backfill {job} --out {root}/here"));
    for day in 1..=3 {
        let path = format!("here/date=2024-03-0{day}/here.parquet");
        assert_eq!(shop.rows(&path), shop.world.rows(&path));
    }
    shop.world.pin("stores_apart");
}

#[test]
fn copies_of_other_tools_are_compacted_where_they_lie() {
    let days = ["2024-01-01", "2024-01-02", "2024-01-04"];
    let rows = [
        vec![("A", "x"), ("B", "y")],
        vec![("A", "x"), ("B", "z")],
        vec![("A", "x")],
    ];
    let mut shop = Remote::new(Server::S3, "external");
    let root = shop.root.clone();
    for (day, rows) in days.iter().zip(&rows) {
        let csv = rows
            .iter()
            .fold("code,name\n".to_owned(), |text, (code, name)| {
                text + &format!("{code},{name}\n")
            });
        let ndjson = rows.iter().fold(String::new(), |text, (code, name)| {
            text + &format!("{{\"code\":\"{code}\",\"name\":\"{name}\"}}\n")
        });
        let column =
            |pick: fn(&(&'static str, &'static str)) -> &'static str| -> arrow::array::ArrayRef {
                std::sync::Arc::new(arrow::array::StringArray::from_iter_values(
                    rows.iter().map(pick),
                ))
            };
        let batch = arrow::array::RecordBatch::try_from_iter([
            ("code", column(|row| row.0)),
            ("name", column(|row| row.1)),
        ])
        .expect("columns");
        let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None)
            .expect("a writer");
        writer.write(&batch).expect("written");
        shop.put(
            &format!("copies/parquet/{day}.parquet"),
            writer.into_inner().expect("finished"),
        );
        let mut writer =
            arrow::ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
        writer.write(&batch).expect("written");
        shop.put(
            &format!("copies/arrow/{day}.arrow"),
            writer.into_inner().expect("finished"),
        );
        shop.put(&format!("copies/csv/{day}.csv"), &csv);
        shop.put(&format!("copies/csv.gz/{day}.csv.gz"), zipped(&csv));
        shop.put(&format!("copies/ndjson/{day}.ndjson"), ndjson);
    }
    let before = shop.server.objects(&format!("{root}/copies"));
    for format in ["csv", "csv.gz", "ndjson", "parquet", "arrow"] {
        let line = format!(
            "compact --snapshots {root}/copies/{format} --layout %Y-%m-%d.{format} --key code \
             --out {root}/intervals/{format}.parquet"
        );
        shop.world.succeeds(&line);
        let told = shop.rows(&format!("intervals/{format}.parquet"));
        assert_eq!(told.len(), 4, "{told:?}");
        if format == "csv" {
            shop.world.tell(&told.join("\n"));
        } else {
            assert_eq!(told, shop.rows("intervals/csv.parquet"), "{format}");
        }
        shop.refuses(0, &line);
    }
    assert_eq!(
        before,
        shop.server.objects(&format!("{root}/copies")),
        "an external table is never written to"
    );
    shop.world.write(
        "asof.toml",
        format!(
            "lake = '{root}/lake'\n[tables.place]\nkey = ['code']\nsnapshots = \
             '{root}/copies/csv.gz'\nlayout = '%Y-%m-%d.csv.gz'\n"
        ),
    );
    for line in [
        "compact place",
        "show place --date 2024-01-02",
        "history place B",
        "verify place",
        "status place",
    ] {
        shop.world.succeeds(line);
    }
    shop.world.pin("stores_external");
}

#[test]
fn a_source_may_be_objects() {
    let mut shop = Remote::new(Server::S3, "source");
    let root = shop.root.clone();
    shop.put("in/a.csv", "id,v\n1,a\n");
    shop.put("in/b.csv", "id,v\n7,b\n");
    shop.put("in/_SUCCESS", "");
    shop.put("zipped/item.csv.gz", zipped("id,v\n1,a\n7,z\n"));
    shop.world.variable("ASOF_LAKE", "lake");
    shop.world
        .succeeds(&format!("snapshot item --source {root}/in/*.csv --key id"));
    shop.world.at("2024-03-02");
    shop.world
        .succeeds(&format!("snapshot item --source {root}/zipped/item.csv.gz"));
    shop.world.at("2024-03-03");
    shop.world
        .succeeds(&format!("snapshot item --source {root}/in"));
    shop.world.succeeds("diff item 2024-03-01 2024-03-02");
    shop.world.succeeds("diff item 2024-03-01 2024-03-03");
    shop.world.refuses(
        1,
        &format!("snapshot other --source {root}/none/*.csv --key id"),
    );
    shop.world.refuses(
        1,
        &format!("snapshot other --source {root}/none.csv --key id"),
    );
    shop.world.pin("stores_source");
}

#[test]
fn partitions_are_found_by_each_strategy() {
    let mut shop = Remote::new(Server::S3, "partitions");
    let root = shop.root.clone();
    for day in [
        "2024-02-29",
        "2024-03-01",
        "2024-03-02",
        "2024-03-04",
        "2024-04-01",
    ] {
        shop.put(&format!("iso/date={day}/part-0.csv"), "x\n1\n");
        shop.put(&format!("iso/date={day}/_SUCCESS"), "");
        let year = &day[..4];
        let month = &day[5..7];
        let date = &day[8..];
        shop.put(
            &format!("turned/{date}-{month}-{year}/part-0.csv"),
            "x\n1\n",
        );
    }
    for (path, layout) in [("iso", "date=%Y-%m-%d"), ("turned", "%d-%m-%Y")] {
        for strategy in ["guided", "paths", "listing"] {
            shop.world.succeeds(&format!(
                "partitions {root}/{path} --layout {layout} --from 2024-03-01 \
                 --to 2024-03-05 --strategy {strategy}"
            ));
        }
    }
    shop.world.succeeds(&format!(
        "partitions {root}/iso --layout day=%Y-%m-%d --from 2024-03-01 --to 2024-03-05"
    ));
    shop.refuses(
        2,
        &format!("partitions {root}/none --layout date=%Y-%m-%d --from 2024-03-01 --to 2024-03-05"),
    );
    shop.world.pin("stores_partitions");
}

#[test]
fn a_secret_of_the_configuration_is_never_shown() {
    const KEY: &str = "AKIASECRETKEY0123456";
    const SECRET: &str = "verysecret/0123456789abcdef+verysecret";
    let root = Server::S3.prefix("secrets");
    let mut world = World::new();
    world.variable("ARCHIVE_KEY", KEY);
    world.variable("ARCHIVE_SECRET", SECRET);
    let config = |endpoint: &str, more: &str| {
        let keys = "access_key_id = '${ARCHIVE_KEY}'\nsecret_access_key = '${ARCHIVE_SECRET}'";
        format!(
            "lake = '{root}/lake'\n[stores.\"s3://asof-test\"]\nendpoint = \
             '{endpoint}'\n{keys}\nregion = 'eu-central-1'\n{more}"
        )
    };
    world.write("asof.toml", config(&Server::S3.address(), ""));
    world.write("item.csv", "id,v\n1,a\n");
    world.write("events/date=2024-03-01/e.csv", "n,id\n1,1\n");
    for line in [
        "-v snapshot item --source item.csv --key id",
        "-v compact item",
        "--json -v show item --date 2024-03-01",
        "-v status",
        "-v verify",
        &format!(
            "-v backfill --events events --events-layout date=%Y-%m-%d --table item --on id --out \
             {root}/out --from 2024-03-01 --to 2024-03-01"
        ),
    ] {
        world.succeeds(line);
    }
    for wrong in [
        "max_retries = 'x'",
        "timeout = 'x'",
        "skip_signature = 'x'",
        "secret_access_kye = '${ARCHIVE_SECRET}'",
    ] {
        world.write("asof.toml", config(&Server::S3.address(), wrong));
        assert_ne!(world.asof("-v show item --date 2024-03-01"), 0, "{wrong}");
    }
    world.write("asof.toml", config("http://127.0.0.1:9", "max_retries = 0"));
    assert_eq!(world.asof("-v show item --date 2024-03-01"), 1);
    world.write("asof.toml", config("no URL", "max_retries = 0"));
    assert_ne!(world.asof("-v show item --date 2024-03-01"), 0);
    for secret in [KEY, SECRET, "verysecret"] {
        assert!(
            !world.transcript().contains(secret),
            "{}",
            world.transcript()
        );
        for key in Server::S3.keys(&root) {
            let bytes = Server::S3
                .at(&format!("{root}/{key}"))
                .read_small()
                .expect("read")
                .expect("it is there");
            assert!(
                !bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes()),
                "{key} has {secret}"
            );
        }
    }
    assert!(Server::S3.keys(&root).len() >= 4);
}

#[cfg(feature = "sql")]
#[test]
fn a_project_in_a_store_is_checked_and_no_object_is_written() {
    let mut shop = Remote::shop("check", 0);
    shop.put("active.sql", SQL);
    let config = text(&shop.world.bytes("asof.toml"));
    let root = shop.root.clone();
    shop.world.night(1);
    shop.world.tell("before the first night");
    shop.refuses(0, "check --connect");
    shop.world.succeeds("snapshot item");
    shop.world.tell("after it");
    shop.refuses(0, "check --connect");
    shop.world
        .tell("what is not there, or not as asof.toml says");
    let wrong = config.replace("item.csv", &format!("{root}/item.csv"))
        + &format!(
            "[tables.price]\nsource = '{root}/prices/{{date}}.csv'\nkey = ['code']\n\
             [tables.stock]\nsnapshots = '{root}/stock'\nlayout = '%Y-%m-%d.csv'\nkey = ['id']\n\
             [tables.elsewhere]\nsource = 's3://no-such-bucket/item.csv'\nkey = ['id']\n\
             [events.clicks]\npath = '{root}/clicks'\nlayout = 'date=%Y-%m-%d'\n"
        );
    shop.put("prices/2024-02-28.csv", "id,price\n1,2\n");
    shop.world.write("asof.toml", wrong);
    shop.refuses(5, "check --connect");
    shop.world.tell("a lake in a bucket that there is not");
    let elsewhere = config.replace(&format!("{root}/lake"), "s3://no-such-bucket/lake");
    shop.world.write("asof.toml", elsewhere);
    shop.refuses(5, "check --connect");
    shop.world.pin("stores_check");
}
