//! Bad input: each a clear error with its exit code, and the lake as it was.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use crate::journeys::environment::{ASOF, World};

const NIGHT: &str = "snapshot item";

#[test]
fn keys() {
    let mut world = World::shop(1);
    world.at("2024-03-02");
    for (what, csv) in [
        ("a null in the key", "id,name\n1,a\n,b\n,c\n"),
        ("one null", "id,name\n1,a\n,b\n"),
        ("a key twice", "id,name\n1,a\n2,b\n1,c\n2,d\n3,e\n"),
        (
            "many keys twice",
            "id,name\n1,a\n2,a\n3,a\n4,a\n5,a\n6,a\n7,a\n1,b\n2,b\n3,b\n4,b\n5,b\n6,b\n7,b\n",
        ),
        ("no key column", "Id_,name\n1,a\n"),
    ] {
        world.tell(what);
        world.write("item.csv", csv);
        world.refuses(3, NIGHT);
    }
    world.write("item.csv", "id,name\n1,a\n");
    world.refuses(2, "snapshot other --source item.csv");
    world.refuses(2, "snapshot other --source item.csv --key nmae");
    world.tell("a key of two columns");
    world.write("pairs.csv", "a,b,c\n1,x,1\n1,y,2\n1,x,3\n");
    world.refuses(3, "snapshot pairs --source pairs.csv --key a,b");
    world.pin("errors_keys");
}

#[test]
fn sources() {
    let mut world = World::shop(1);
    world.at("2024-03-02");
    for (what, bytes) in [
        ("a ragged row", b"id,name\n1,a\n2\n".to_vec()),
        ("a row that is too long", b"id,name\n1,a\n2,b,c\n".to_vec()),
        ("bad UTF-8", b"id,name\n1,a\n2,\xff\xfe\n".to_vec()),
        ("bad UTF-8 in the header", b"id,n\xffme\n1,a\n".to_vec()),
        ("a header alone", b"id,name,status,price\n".to_vec()),
        ("nothing at all", Vec::new()),
        ("a header with a name twice", b"id,id\n1,2\n".to_vec()),
        (
            "a type that cannot widen",
            b"id,name,status,price\n1,Bolt,ACTIVE,cheap\n".to_vec(),
        ),
        (
            "a key of another type",
            b"id,name,status,price\nx,Bolt,ACTIVE,1.5\n".to_vec(),
        ),
    ] {
        world.tell(what);
        world.write("item.csv", bytes);
        world.refuses(3, NIGHT);
    }
    world.tell("JSON that is not whole");
    world.write("item.ndjson", "{\"id\":1}\n{\"id\":\n");
    world.refuses(3, "snapshot other --source item.ndjson --key id");
    world.write("item.ndjson", "[1]\n");
    world.refuses(3, "snapshot other --source item.ndjson --key id");
    world.tell("Parquet that is cut short, and a file that is none");
    let whole = world.bytes("lake/item/snapshots/snapshot_date=2024-03-01/item.parquet");
    world.write("cut.parquet", &whole[..whole.len() / 2]);
    world.refuses(3, "snapshot item --source cut.parquet");
    world.write("cut.parquet", "PAR1");
    world.refuses(3, "snapshot item --source cut.parquet");
    world.write("cut.csv.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2]);
    world.refuses(3, "snapshot item --source cut.csv.gz");
    world.tell("sources that are not there, or of no known format");
    world.write("item.xlsx", "x");
    world.write("empty/readme", "");
    for source in [
        "nowhere.csv",
        "'nowhere/*.csv'",
        "item.xlsx",
        "hdfs://bucket/item.csv",
        "empty",
    ] {
        let before = world.tree("");
        // A source that is not there yet may come: exit 1.
        assert!(
            (1..=2).contains(&world.asof(&format!("snapshot item --source {source}"))),
            "{source}"
        );
        assert_eq!(before, world.tree(""), "{source}");
    }
    world.tell("a list where there was text");
    world.write(
        "retyped.ndjson",
        "{\"id\":1,\"name\":[1],\"status\":\"A\",\"price\":1.5}\n",
    );
    world.refuses(3, "snapshot item --source retyped.ndjson");
    world.pin("errors_sources");
}

#[test]
fn a_file_that_ends_inside_a_quote() {
    let mut world = World::shop(0);
    world.write("item.csv", "id,name\n1,\"a\n2,b\n");
    world.refuses(3, NIGHT);
}

#[test]
fn names() {
    let mut world = World::shop(2);
    for line in [
        "snapshot itme",
        "compact itme",
        "show itme --date 2024-03-01",
        "show nothing --date 2024-03-01",
        "diff itme 2024-03-01 2024-03-02",
        "history itme 1",
        "verify itme",
        "status itme",
        "expand itme --from 2024-03-01 --to 2024-03-02 --out x",
        "snapshot ../item --source item.csv --key id",
        "show item --date 2024-03-01 --select statsu",
        "compact item --ignore pricee",
        "compact item --track pricee --full",
        "compact item --key nmae --full",
        "compact item --gaps carri",
        "compact item --end open",
        "compact item --open-end never",
        "compact item --start-column price --full",
        "compact item --start-column x --end-column x --full",
        "history item 1 2",
        "history item x",
        "history item 77",
        "backfill sold --from 2024-03-01 --to 2024-03-02",
        "backfill --from 2024-03-01 --to 2024-03-02",
        "backfill --events item_evnts --table item --on item_id=id --out x --from 2024-03-01 --to \
         2024-03-02",
        "backfill --events nowhere --events-layout date=%Y-%m-%d --table item --on item_id=id \
         --out x --from 2024-03-01 --to 2024-03-02",
        "backfill --events item_events --table itme --on item_id=id --out x --from 2024-03-01 \
         --to 2024-03-02",
        "backfill --events item_events --table item --out x --from 2024-03-01 --to 2024-03-02",
        "backfill --events item_events --table item --on itemid=id --out x --from 2024-03-01 --to \
         2024-03-01",
        "backfill --events item_events --table item --on item_id=name --out x --from 2024-03-01 \
         --to 2024-03-01",
        "backfill --events item_events --table item --on item_id=id --select prce --out x --from \
         2024-03-01 --to 2024-03-01",
        "backfill --events item_events --table item --on item_id=id --from 2024-03-01 --to \
         2024-03-01",
        "backfill --sql nowhere.sql --out x --from 2024-03-01 --to 2024-03-01",
        "backfill --events item_events --table item --on item_id=id --out x --workers 0 --from \
         2024-03-01 --to 2024-03-01",
    ] {
        let before = world.tree("lake");
        let code = world.asof(line);
        assert!(
            (2..=3).contains(&code) || line == "history item 77",
            "{line}: {code}"
        );
        assert_eq!(before, world.tree("lake"), "{line}");
    }
    assert!(
        !world
            .listing("")
            .iter()
            .any(|name| name.starts_with("x/date")),
        "nothing is published"
    );
    world.pin("errors_names");
}

#[test]
fn dates() {
    let mut world = World::shop(2);
    for line in [
        "compact item --from 2024-03-02 --to 2024-03-01",
        "backfill --events item_events --table item --on item_id=id --out x --from 2024-03-02 \
         --to 2024-03-01",
        "expand item --from 2024-03-02 --to 2024-03-01 --out x",
        "partitions item_events --layout year=%Y/month=%m/day=%d --from 2024-03-02 --to 2024-03-01",
        "status item --from 2024-03-02 --to 2024-03-01",
        "show item --date 2024-02-30",
        "show item --date 2024-3-1",
        "show item --date tomorrow",
        "snapshot item --date 2024-03-03",
        "show item --date 2024-02-01",
        "diff item 2024-02-01 2024-03-01",
        "diff item 2024-03-02 2024-03-01",
        "compact item --from 2025-01-01 --to 2025-01-02 --out x.parquet",
        "expand item --from 2025-01-01 --to 2025-01-02 --out x",
        "backfill --events item_events --table item --on item_id=id --out x --from 2025-03-01 \
         --to 2025-03-02",
    ] {
        let before = world.tree("");
        let code = world.asof(line);
        let tolerated = line.starts_with("status") || line.starts_with("diff item 2024-03-02");
        assert!((2..=3).contains(&code) || tolerated, "{line}: {code}");
        assert_eq!(before, world.tree(""), "{line}");
    }
    world.pin("errors_dates");
}

#[test]
fn layouts_and_external_copies() {
    let mut world = World::new();
    world.write("copies/2024-01-01.csv", "id,v\n1,a\n");
    world.write("copies/2024-01-02.csv", "id,v\n1,b\n");
    for layout in [
        "%m-%d.csv",
        "%d.csv",
        "copies",
        "%Y-%m-%d/../x.csv",
        "%Q.csv",
        "%y-%m-%d.csv",
        "%H-%Y-%m-%d.csv",
    ] {
        world.refuses(
            2,
            &format!("compact --snapshots copies --layout {layout} --key id --out out.parquet"),
        );
    }
    world.refuses(2, "compact --snapshots copies --key id --out out.parquet");
    world.refuses(
        2,
        "compact --snapshots copies --layout %Y-%m-%d.csv --out out.parquet",
    );
    world.refuses(
        2,
        "compact --snapshots copies --layout %Y-%m-%d.csv --key id",
    );
    world.refuses(
        2,
        "compact --snapshots nowhere --layout %Y-%m-%d.csv --key id --out out.parquet",
    );
    world.refuses(
        2,
        "compact --snapshots copies/2024-01-01.csv --layout %Y-%m-%d.csv --key id \
         --out out.parquet",
    );
    world.tell("no partition matches");
    let code =
        world.asof("compact --snapshots copies --layout date=%Y-%m-%d --key id --out out.parquet");
    assert!((2..=3).contains(&code));
    world.tell("two files of one date with types that no type holds");
    world.write(
        "types/snapshot_date=2024-01-01/a.ndjson",
        "{\"id\":1,\"v\":1}\n",
    );
    world.write(
        "types/snapshot_date=2024-01-01/b.ndjson",
        "{\"id\":2,\"v\":[1]}\n",
    );
    world.refuses(
        3,
        "compact --snapshots types --layout snapshot_date=%Y-%m-%d --key id --out out.parquet",
    );
    world.tell("a type that changes from one date to the next");
    world.write("retyped/2024-01-01.ndjson", "{\"id\":1,\"v\":1}\n");
    world.write("retyped/2024-01-02.ndjson", "{\"id\":1,\"v\":\"x\"}\n");
    world.refuses(
        3,
        "compact --snapshots retyped --layout %Y-%m-%d.ndjson --key id --out out.parquet",
    );
    world.tell("a key twice, a null in it, a ragged row");
    world.write("bad1/2024-01-01.csv", "id,v\n1,a\n1,b\n");
    world.refuses(
        3,
        "compact --snapshots bad1 --layout %Y-%m-%d.csv --key id --out out.parquet",
    );
    world.write("bad2/2024-01-01.csv", "id,v\n1,a\n,b\n");
    world.refuses(
        3,
        "compact --snapshots bad2 --layout %Y-%m-%d.csv --key id --out out.parquet",
    );
    world.write("bad3/2024-01-01.csv", "id,v\n1,a\n2\n");
    world.refuses(
        3,
        "compact --snapshots bad3 --layout %Y-%m-%d.csv --key id --out out.parquet",
    );
    world.pin("errors_layouts");
}

#[test]
fn lakes_and_configuration() {
    let mut world = World::new();
    world.write("item.csv", "id\n1\n");
    world.write("photos/holiday/sea.jpg", "x");
    world.write("file", "x");
    world.refuses(2, "snapshot item --source item.csv --key id");
    for lake in ["photos", "file", "file/under", "hdfs://bucket/dims", "''"] {
        let before = world.tree("");
        let code = world.asof(&format!(
            "snapshot item --lake {lake} --source item.csv --key id"
        ));
        assert!((1..=2).contains(&code), "{lake}: {code}");
        assert_eq!(before, world.tree(""));
    }
    for line in ["show item --date 2024-03-01", "compact", "verify", "status"] {
        let before = world.tree("");
        world.asof(&format!("{line} --lake nowhere"));
        assert_eq!(before, world.tree(""));
    }
    for config in [
        "lake = 'lake'\n[tables.item]\nkeys = ['id']\n",
        "lake = lake\n",
        "timezone = 'Europe/Berln'\n",
        "[tables.item]\nmax_delete = '20'\n",
        "[tables.item]\ntypes = { x = 'number' }\n",
        "[tables.item]\nlag = '1'\n",
        "[tables.item]\nschema = 'frozen'\n",
        "[tables.item]\nlayout = '%F'\n",
        "[tables.'a/b']\n",
        "[tables.item]\n[events.item]\npath = 'x'\nlayout = '%Y-%m-%d'\n",
        "lake = '${NOWHERE}/lake'\n",
        "lake = 'lake'\n[tables.item]\nsource = '${NOWHERE}'\nkey = ['id']\n",
    ] {
        world.tell(&config.trim_end().replace('\n', "\n# "));
        world.write("asof.toml", config);
        world.refuses(2, "snapshot item");
    }
    std::fs::remove_file(world.path("asof.toml")).expect("removed");
    let before = world.tree("");
    assert!((1..=2).contains(&world.asof("--config nowhere.toml status")));
    world.variable("ASOF_NOW", "noon");
    world.refuses(2, "snapshot item --source item.csv --key id --lake lake");
    assert_eq!(before, world.tree(""));
    world.pin("errors_lakes");
}

#[test]
fn command_lines() {
    let mut world = World::new();
    for line in [
        "",
        "snapshots",
        "snapshot --if-exists drop",
        "show",
        "show item",
        "backfill",
        "diff item 2024-03-01",
        "snapshot --dryrun",
        "history item",
        "completions tcsh",
    ] {
        world.refuses(2, line);
    }
    world.pin("errors_command_lines");
}

/// A process of the program as a user whom permissions bind: if the tests run as root, as nobody.
fn bound(world: &World, line: &str) -> std::process::Output {
    let owner = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata(world.path("")).expect("the folder"),
    );
    if owner != 0 {
        return world.quietly(line);
    }
    // Nobody may be unable to reach the build's folder.
    let program = world.path("asof-for-nobody");
    if !program.exists() && std::fs::hard_link(ASOF, &program).is_err() {
        std::fs::copy(ASOF, &program).expect("a copy of the program");
    }
    let words = crate::journeys::environment::words(&format!("--no-progress {line}"));
    let mut command = world.prepared(&program.display().to_string(), &words);
    command.uid(65534).gid(65534).output().expect("asof starts")
}

fn mode(world: &World, path: &str, mode: u32) {
    std::fs::set_permissions(world.path(path), std::fs::Permissions::from_mode(mode))
        .expect("permissions are set");
}

#[test]
fn no_permission() {
    let mut world = World::shop(1);
    world.night(2);
    mode(&world, "", 0o755);
    for folder in ["lake/item/snapshots", "lake/item"] {
        mode(&world, folder, 0o555);
    }
    let before = world.tree("lake");
    let refused = |world: &mut World, line: &str| {
        let output = bound(world, line);
        let code = world.record(&format!("asof {line}"), &output);
        assert_eq!(code, 1, "{line}");
    };
    refused(&mut world, "snapshot item");
    refused(&mut world, "compact item");
    mode(&world, "item.csv", 0o000);
    refused(&mut world, "snapshot other --source item.csv --key id");
    mode(
        &world,
        "lake/item/snapshots/snapshot_date=2024-03-01/item.parquet",
        0o000,
    );
    refused(&mut world, "show item --date 2024-03-01");
    mode(&world, "lake/item/snapshots", 0o000);
    refused(&mut world, "status item");
    refused(&mut world, "verify item");
    for (path, bits) in [
        ("lake/item/snapshots", 0o755),
        ("lake/item", 0o755),
        (
            "lake/item/snapshots/snapshot_date=2024-03-01/item.parquet",
            0o644,
        ),
        ("item.csv", 0o644),
    ] {
        mode(&world, path, bits);
    }
    assert_eq!(before, world.tree("lake"));
    world.succeeds("verify item");
    world.pin("errors_permission");
}

/// Runs a command under a limit on the size of the files it writes: `write` fails as on a full
/// disk, with EFBIG.
fn cramped(world: &mut World, blocks: usize, line: &str) -> i32 {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec '{ASOF}' --no-progress {line}");
    let output = world
        .prepared("sh", &["-c".to_owned(), script])
        .output()
        .expect("a shell");
    world.record(&format!("ulimit -f {blocks}; asof {line}"), &output)
}

#[test]
fn a_full_disk() {
    let mut world = World::shop(1);
    // The type of a new column is known when all of its values have been seen: they are set aside.
    let mut csv = "id,name,status,price,size\n".to_owned();
    for id in 0..5_000 {
        csv.push_str(&format!(
            "{id},name {},ACTIVE,{}.5,1\n",
            id * 7919 % 10_007,
            id * 31 % 977
        ));
    }
    world.at("2024-03-02");
    world.write("item.csv", csv);
    let before = world.tree("lake");
    // The temporary folder is full: another one has to be named.
    assert_eq!(cramped(&mut world, 8, "snapshot item --force"), 2);
    assert_eq!(before, world.tree("lake"), "the lake is as it was");
    world.succeeds("snapshot item --force");
    let before = world.tree("lake");
    assert_eq!(cramped(&mut world, 8, "compact item"), 1);
    assert_eq!(before, world.tree("lake"), "the lake is as it was");
    assert_eq!(
        cramped(
            &mut world,
            8,
            "show item --date 2024-03-02 --limit 0 --out shown.csv"
        ),
        1
    );
    world.tell("from Parquet, which needs no temporary file: the object itself does not fit");
    assert_eq!(
        world
            .quietly("show item --date 2024-03-02 --limit 0 --out source.parquet")
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        cramped(
            &mut world,
            8,
            "snapshot item --if-exists replace --force --source source.parquet"
        ),
        1
    );
    assert_eq!(before, world.tree("lake"), "the lake is as it was");
    world.succeeds("compact item");
    let before = world.tree("lake");
    assert_eq!(
        cramped(
            &mut world,
            8,
            "expand item --from 2024-03-01 --to 2024-03-02 --out copies"
        ),
        1
    );
    world.tell("standard output is full");
    let script = format!("exec '{ASOF}' --no-progress show item --date 2024-03-01 > /dev/full");
    let output = world
        .prepared("sh", &["-c".to_owned(), script])
        .output()
        .expect("a shell");
    assert_eq!(
        world.record("asof show item --date 2024-03-01 > /dev/full", &output),
        1
    );
    assert_eq!(before, world.tree("lake"), "the lake is as it was");
    let left = world
        .listing("")
        .into_iter()
        .filter(|name| name.contains("shown") || name.contains("copies/"))
        .collect::<Vec<_>>();
    assert!(left.is_empty(), "nothing is left beside the lake: {left:?}");
    world.pin("errors_full_disk");
}

#[test]
fn what_no_retry_mends_is_a_usage_error() {
    let mut world = World::shop(1);
    world.at("2024-03-02");
    let long = "a".repeat(300);
    for line in [
        format!("snapshot {long} --source item.csv --key id"),
        format!("snapshot item --source {long}.csv"),
        format!("--lake {long} snapshot item"),
        format!("compact item --out {long}.parquet"),
        format!("--config {long} status"),
        format!("check {long}"),
        "snapshot item --date 0000-01-01 --backdate".to_owned(),
        "show item --date 0000-01-01".to_owned(),
    ] {
        world.refuses(2, &line);
        let said = world
            .transcript()
            .rsplit("$ asof")
            .next()
            .unwrap_or_default();
        let has_a_hint = said.contains("hint: ") || said.contains("the first date is 0001-01-01");
        assert!(has_a_hint, "{said}");
    }
    world.write(
        "item.csv",
        "id,name,status,price,size\n1,Bolt,ACTIVE,1.5,1\n",
    );
    world.variable("TMPDIR", "/nowhere/at/all");
    world.refuses(2, "snapshot item --source item.csv");
    let said = world.transcript();
    assert!(
        said.contains("(TMPDIR)") && said.contains("hint: TMPDIR=DIR"),
        "{said}"
    );
}
