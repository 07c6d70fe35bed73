//! Copies that are dropped and brought back.

use super::environment::{World, text};

#[test]
fn a_copy_that_should_not_exist_is_dropped_and_all_that_came_of_it_follows() {
    let mut world = World::shop(3);
    world.write(
        "asof.toml",
        format!(
            "{}\n[jobs.joined]\nevents = 'item_events'\ntable = 'item'\non = \
             ['item_id=id']\noutput = 'out'\n",
            text(&world.bytes("asof.toml")).replace("key =", "tolerance = '2d'\nkey =")
        ),
    );
    world.succeeds("compact item");
    let range = "--from 2024-03-01 --to 2024-03-03";
    world.succeeds(&format!("backfill joined {range}"));
    let before = world.tree("");
    world.at("2024-03-09");
    world.tell("the copy of the second night is wrong");
    world.refuses(0, "drop item 2024-03-02 --dry-run");
    world.succeeds("drop item 2024-03-02");
    world.succeeds("drop item 2024-03-02");
    world.refuses(3, "snapshot item --date 2024-03-02");
    world.succeeds("status item");
    assert_eq!(world.asof(&format!("status joined {range} --exit-code")), 6);
    assert_eq!(world.asof("status item --exit-code"), 6);
    world.succeeds("verify");
    world.succeeds("show item 2024-03-02");
    world.succeeds("history item 1");
    world.refuses(
        3,
        "expand item --from 2024-03-02 --to 2024-03-02 --out copies",
    );
    world.succeeds("compact item");
    world.succeeds(&format!("backfill joined {range}"));
    world.succeeds("status item");
    world.succeeds("verify");
    world.tell("it was right after all");
    world.refuses(0, "restore item 2024-03-02 --dry-run");
    world.succeeds("restore item 2024-03-02");
    world.succeeds("restore item 2024-03-02");
    world.succeeds("compact item");
    world.succeeds(&format!("backfill joined {range}"));
    world.succeeds("verify");
    let mut after = world.tree("");
    // When the copy stood, which is what was lost of it.
    after.retain(|path, _| !path.contains("/_stays/"));
    // It holds the identity of files, and so their times.
    let hint = "lake/item/intervals/_item.json";
    assert!(after.remove(hint).is_some());
    after.insert(hint.to_owned(), before[hint].clone());
    assert_eq!(before, after);
    world.tell("what cannot be");
    world.refuses(2, "drop item 2024-02-01");
    world.refuses(2, "restore item 2024-02-01");
    world.refuses(2, "drop itme 2024-03-02");
    world.refuses(2, "drop item");
    world.pin("undo");
}

#[test]
fn the_latest_copy_is_dropped_and_brought_back_by_that_word() {
    let mut world = World::shop(3);
    world.tell("nothing was put aside yet");
    world.refuses(2, "restore item latest");
    world.refuses(0, "drop item latest --dry-run");
    world.succeeds("drop item latest");
    world.succeeds("restore item latest");
    world.tell("a copy of a later date was replaced, and that date has a snapshot");
    world.write("item.csv", "id,name,status,price\n1,Bolt,DRAFT,2\n");
    world.succeeds("snapshot item --if-exists replace --force");
    world.refuses(4, "restore item latest");
    world.succeeds("drop item 2024-03-02");
    world.refuses(0, "restore item latest --dry-run");
    world.succeeds("restore item latest");
    world.tell("other words");
    world.at("2024-03-04");
    world.succeeds("drop item yesterday");
    world.refuses(2, "restore item today");
    world.succeeds("restore item yesterday --copy 20240304");
    world.tell("what cannot be");
    world.refuses(2, "drop nothing latest");
    world.refuses(2, "restore nothing latest");
    world.refuses(2, "drop item last");
    world.pin("undo_of_the_latest");
}

#[test]
fn a_replaced_copy_is_brought_back() {
    let mut world = World::shop(2);
    world.tell("the copy is replaced by a wrong one");
    world.at("2024-03-02");
    let right = world.rows("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet");
    world.write("item.csv", "id,name,status,price\n1,Bolt,BROKEN,0\n");
    world.succeeds("snapshot item --if-exists replace");
    world.at("2024-03-04");
    world.refuses(4, "restore item 2024-03-02");
    world.succeeds("drop item 2024-03-02");
    world.refuses(2, "restore item 2024-03-02");
    world.refuses(2, "restore item 2024-03-02 --copy 2023");
    world.succeeds("restore item 2024-03-02 --copy 20240302T020000Z");
    assert_eq!(
        world.rows("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet"),
        right
    );
    world.succeeds("status item");
    world.refuses(4, "--json restore item 2024-03-02 --copy 20240302T020000Z");
    world.pin("undo_of_a_replacement");
}

#[test]
fn what_only_the_intervals_have_is_not_dropped() {
    let mut world = World::shop(3);
    world.succeeds("compact item");
    let removed = "lake/item/snapshots/snapshot_date=2024-03-02";
    std::fs::remove_dir_all(world.path(removed)).expect("removed");
    world.refuses(3, "drop item 2024-03-02");
    world.tell("a copy before it is dropped");
    world.succeeds("drop item 2024-03-01");
    world.refuses(3, "compact item");
    world.succeeds("show item 2024-03-02");
    world.tell("the hint");
    world.succeeds("expand item --from 2024-03-02 --to 2024-03-02 --out lake/item/snapshots");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.pin("undo_of_a_pruned_copy");
}

#[test]
fn an_external_copy_is_not_dropped() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\n[tables.item]\nsnapshots = 'copies'\nlayout = '%Y-%m-%d.csv'\nkey = ['id']\n");
    world.write("copies/2024-03-01.csv", "id\n1\n");
    world.refuses(2, "drop item 2024-03-01");
    world.refuses(2, "restore item 2024-03-01");
    world.refuses(2, "drop item latest");
    world.refuses(2, "restore item latest");
    world.pin("undo_external");
}

#[test]
fn the_json_of_undoing_is_one_document() {
    let world = World::shop(2);
    let dropped = world.json("drop item 2024-03-02");
    assert_eq!(
        (
            dropped["outcome"].as_str(),
            dropped["rows"].as_u64(),
            dropped["restore_with"].as_str()
        ),
        (
            Some("dropped"),
            Some(4),
            Some("asof restore item 2024-03-02")
        ),
        "{dropped}"
    );
    let status = world.json("status item");
    let table = &status["tables"][0];
    assert_eq!(
        table["dropped"][0]["snapshot_date"], "2024-03-02",
        "{status}"
    );
    let restored = world.json("restore item 2024-03-02");
    assert_eq!(
        (
            restored["outcome"].as_str(),
            restored["put_aside_by"].as_str()
        ),
        (Some("restored"), Some("drop")),
        "{restored}"
    );
}

/// Sixteen processes replace the copy of one date, or drop it.
#[test]
fn replacements_and_drops_that_race_lose_nothing() {
    let world = World::new();
    world.write("item.csv", "id,writer\n1,first\n");
    let first = world.quietly("snapshot item --lake lake --source item.csv --key id");
    assert_eq!(first.status.code(), Some(0));
    let children: Vec<_> = (0..16)
        .map(|writer| {
            world.write(&format!("item{writer}.csv"), format!("id,writer\n1,w{writer}\n"));
            let line = match writer % 4 {
                0 => "drop item 2024-03-01 --lake lake".to_owned(),
                _ => format!(
                    "snapshot item --lake lake --source item{writer}.csv --key id --if-exists replace"
                ),
            };
            let line = format!("--no-progress --json {line}");
            world.command(&line).spawn().expect("asof starts")
        })
        .collect();
    let mut published = vec!["first".to_owned()];
    for (writer, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().expect("it ends");
        let said = text(&output.stdout);
        match output.status.code() {
            Some(0) if writer % 4 != 0 => published.push(format!("w{writer}")),
            // A drop between two others may find nothing that was dropped yet.
            Some(0 | 4) => {}
            code => panic!("{code:?} {said}"),
        }
    }
    let listed = world.listing("lake");
    let copies = listed.iter().filter(|name| name.ends_with(".parquet"));
    let mut found: Vec<String> = copies
        .map(|name| world.rows(&format!("lake/{name}"))[1][2..].to_owned())
        .collect();
    found.sort();
    published.sort();
    // A drop may be first of all; every other copy that was published is there, and once.
    assert_eq!(found, published, "{listed:?}");
    assert!(
        !listed
            .iter()
            .any(|name| name.contains("_asof.lock") || name.contains(".asof-")),
        "{listed:?}"
    );
}

#[test]
fn a_killed_drop_or_restore_leaves_the_copy_whole() {
    let world = World::new();
    let rows = (0..20_000).fold("id,name\n".to_owned(), |text, id| {
        text + &format!("{id},row number {id}\n")
    });
    world.write("item.csv", rows);
    let taken = world.quietly("snapshot item --lake lake --source item.csv --key id");
    assert_eq!(taken.status.code(), Some(0));
    let object = "lake/item/snapshots/snapshot_date=2024-03-01/item.parquet";
    let whole = world.bytes(object);
    for step in 0..16_u64 {
        for line in ["drop item 2024-03-01", "restore item 2024-03-01"] {
            let mut child = world
                .command(&format!("--no-progress {line} --lake lake"))
                .spawn()
                .expect("asof starts");
            std::thread::sleep(std::time::Duration::from_millis(2 * step));
            child.kill().expect("killed");
            child.wait().expect("ended");
            let listed = world.listing("lake");
            let mut copies = listed.iter().filter(|name| name.ends_with(".parquet"));
            assert!(copies.clone().count() > 0, "{line}: {listed:?}");
            assert!(
                copies.all(|name| world.bytes(&format!("lake/{name}")) == whole),
                "{line}: {listed:?}"
            );
        }
    }
    for line in ["drop item 2024-03-01", "restore item 2024-03-01"] {
        let ended = world.quietly(&format!("{line} --lake lake"));
        assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    }
    assert!(world.bytes(object) == whole);
    // What a killed process had staged is removed when it is older than a day, and the file of its
    // lock by whoever locks the folder next.
    // Each restoration leaves a record of when the copy stood.
    let mut listed = world.listing("lake");
    listed.retain(|name| !name.contains("/.asof-") && !name.ends_with("/_asof.lock"));
    listed.retain(|name| !name.contains("/_stays/"));
    assert_eq!(listed, [&object[5..]]);
}
