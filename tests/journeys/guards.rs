//! What keeps a wrong copy from being published.

use super::environment::World;

fn guarded(guards: &str) -> World {
    let world = World::shop(0);
    world.write(
        "asof.toml",
        format!("lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n{guards}\n"),
    );
    world
}

#[test]
fn guards_refuse_and_force_overrides_them_and_is_recorded() {
    let mut world =
        guarded("min_rows = 2\nmax_delete = '20%'\nmax_change = '50%'\nschema = 'freeze'");
    world.write("item.csv", "id,v\n1,a\n");
    world.refuses(3, "snapshot item");
    world.write("item.csv", "id,v\n1,a\n2,b\n3,c\n4,d\n");
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.tell("an empty source");
    world.write("item.csv", "id,v\n");
    world.refuses(3, "snapshot item");
    world.tell("half of the rows are gone");
    world.write("item.csv", "id,v\n1,a\n2,b\n");
    world.refuses(3, "snapshot item");
    world.tell("most of the rows changed");
    world.write("item.csv", "id,v\n1,x\n2,x\n3,x\n4,d\n");
    world.refuses(3, "snapshot item");
    world.tell("a column is new");
    world.write("item.csv", "id,v,w\n1,a,1\n2,b,1\n3,c,1\n4,d,1\n");
    world.refuses(3, "snapshot item");
    world.tell("all of it, and meant");
    world.write("item.csv", "id,w\n1,1\n");
    world.refuses(3, "snapshot item --dry-run");
    world.refuses(3, "snapshot item");
    world.succeeds("snapshot item --force");
    assert!(
        world.footer("lake/item/snapshots/snapshot_date=2024-03-02/item.parquet")["forced"]
            .is_array()
    );
    world.succeeds("verify item");
    world.pin("guards");
}

#[test]
fn a_guard_of_one_table_leaves_those_before_it_published() {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.a]\nsource = 'a.csv'\nkey = \
         ['id']\n[tables.b]\nsource = 'b.csv'\nkey = ['id']\n",
    );
    world.write("a.csv", "id\n1\n");
    world.write("b.csv", "id\n");
    assert_eq!(world.asof("snapshot"), 3);
    assert_eq!(
        world.listing("lake"),
        [
            "a/snapshots/snapshot_date=2024-03-01/a.parquet",
            "b/_refused/snapshot_date=2024-03-01/b.parquet"
        ]
    );
    world.write("b.csv", "id\n1\n");
    world.succeeds("snapshot");
    world.pin("guard_of_one_table");
}

#[test]
fn a_loss_of_most_rows_that_no_guard_limits_is_published_with_a_warning() {
    let mut world = guarded("");
    let rows =
        |count: u32| (1..=count).fold("id,v\n".to_owned(), |text, id| text + &format!("{id},a\n"));
    world.write("item.csv", rows(50));
    world.succeeds("snapshot item");
    world.at("2024-03-02");
    world.write("item.csv", rows(4));
    world.succeeds("snapshot item --dry-run");
    let report = world.json("snapshot item --dry-run");
    assert_eq!(
        report[0]["unguarded"],
        serde_json::json!([
            "46 of 50 rows (92%) are gone; max_delete = \"20%\" would refuse such a snapshot"
        ]),
        "{report}"
    );
    world.tell("the guard that the warning names");
    let guarded = guarded("max_delete = \"20%\"");
    world.write(
        "asof.toml",
        std::fs::read(guarded.path("asof.toml")).expect("read"),
    );
    world.refuses(3, "snapshot item");
    world.pin("guards_missing");
}
