//! Copies that a check refused: they are kept, looked at, and published or discarded.

use super::environment::{World, text};

const NIGHTS: [&str; 2] = ["2024-03-01", "2024-03-02"];

/// A table with a copy of the first night, whose second night would lose half of the rows.
fn refused() -> World {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\nmax_delete = '20%'\n",
    );
    world.at(NIGHTS[0]);
    world.write(
        "item.csv",
        "id,price,at\n1,1.50,2024-03-01T00:00:00Z\n2,2.50,\n3,3.50,\n4,,\n",
    );
    world.succeeds("snapshot item");
    world.at(NIGHTS[1]);
    world.write(
        "item.csv",
        "id,price,at\n1,1.75,2024-03-02T01:02:03Z\n2,2.50,\n",
    );
    world.refuses(3, "snapshot item");
    world
}

#[test]
fn a_refused_copy_is_published_later_as_it_was() {
    let mut world = refused();
    world.tell("it is no snapshot");
    world.succeeds("status item");
    world.succeeds("show item 2024-03-02");
    world.succeeds("compact item");
    world.tell("it can be looked at");
    world.succeeds("show item 2024-03-02 --refused");
    world.succeeds("diff item 2024-03-01 --refused 2024-03-02");
    world.succeeds("diff item --refused 2024-03-02");
    world.tell("a week later it is the true state, and the source is another one");
    world.write("item.csv", "id,price,at\n9,9.99,\n");
    world.at("2024-03-09");
    world.refuses(3, "snapshot item --date 2024-03-02");
    world.refuses(3, "snapshot item --publish 2024-03-02");
    world.succeeds("snapshot item --publish 2024-03-02 --force");
    let footer = world.footer("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet");
    assert_eq!(footer["source"], "item.csv");
    assert!(
        footer["taken_at"]
            .as_str()
            .unwrap()
            .starts_with("2024-03-02")
    );
    assert!(footer["forced"].is_array());
    assert!(footer.get("refused").is_none() && footer.get("backdated").is_none());
    world.succeeds("show item 2024-03-02");
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    world.refuses(2, "snapshot item --publish 2024-03-02");
    world.succeeds("verify item");
    world.pin("refused");
}

#[test]
fn a_refused_copy_is_discarded() {
    let mut world = refused();
    world.refuses(2, "snapshot item --discard 2024-03-01");
    world.refuses(2, "show item 2024-03-01 --refused");
    world.refuses(2, "snapshot --discard 2024-03-02");
    world.succeeds("snapshot item --discard 2024-03-02");
    world.succeeds("status item");
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
    world.tell("the same night, with a source that is right again");
    world.write("item.csv", "id,price,at\n1,1.75,\n2,2.50,\n3,3.50,\n4,,\n");
    world.succeeds("snapshot item");
    world.pin("refused_discarded");
}

#[test]
fn a_refused_copy_does_not_replace_a_snapshot_unasked() {
    let mut world = refused();
    world.write("item.csv", "id,price,at\n1,1.75,\n2,2.50,\n3,3.50,\n4,,\n");
    world.succeeds("snapshot item");
    world.refuses(4, "snapshot item --publish 2024-03-02 --force");
    world.succeeds("snapshot item --publish 2024-03-02 --force --if-exists replace");
    assert_eq!(
        world
            .rows("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet")
            .len(),
        3
    );
    world.pin("refused_replaces");
}

#[test]
fn duplicate_keys_are_kept_until_a_rule_says_which_row_counts() {
    let mut world = World::new();
    world.variable("ASOF_LAKE", "lake");
    world.at(NIGHTS[0]);
    world.write(
        "item.csv",
        "id,price,seen\n1,1.50,2024-01-02\n1,1.75,2024-01-05\n2,2.50,2024-01-01\n",
    );
    world.refuses(3, "snapshot item --source item.csv --key id");
    world.succeeds("status");
    world.succeeds("show item 2024-03-01 --refused");
    world.at(NIGHTS[1]);
    world.refuses(3, "snapshot item --publish 2024-03-01");
    world.succeeds("snapshot item --publish 2024-03-01 --dedup 'latest by seen'");
    world.succeeds("show item 2024-03-01");
    world.pin("refused_duplicates");
}

#[test]
fn a_dry_run_keeps_no_refused_copy() {
    let world = refused();
    world.quietly("snapshot item --discard 2024-03-02");
    let tried = world.quietly("snapshot item --dry-run");
    assert_eq!(tried.status.code(), Some(3));
    assert!(text(&tried.stderr).contains("hint: --force"));
    assert_eq!(world.listing("lake/item/_refused"), [] as [String; 0]);
}
