//! Dated copies of another tool that asof adopts, and the nights after them.

use super::environment::World;

const ADOPT: &str = "snapshot item --source copies --adopt dt=%Y-%m-%d";

fn copies() -> World {
    let world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n",
    );
    for (day, rows) in [
        ("27", "1,a\n2,b\n"),
        ("28", "1,a\n2,c\n3,d\n"),
        // A gap before it.
        ("30", "1,a\n2,c\n"),
    ] {
        world.write(
            &format!("copies/dt=2024-01-{day}/country=US/part.csv"),
            format!("id,v\n{rows}"),
        );
    }
    world
}

#[test]
fn external_copies_are_adopted_and_the_nights_go_on_from_them() {
    let mut world = copies();
    world.at("2024-01-31");
    world.refuses(0, &format!("{ADOPT} --dry-run"));
    world.succeeds(ADOPT);
    world.tell("once more");
    world.refuses(0, ADOPT);
    world.succeeds("compact item");
    world.succeeds(
        "compact --snapshots copies --layout dt=%Y-%m-%d --key id --out external.parquet",
    );
    assert_eq!(
        world.rows("lake/item/intervals/item.parquet"),
        world.rows("external.parquet"),
    );
    world.tell("the next night");
    world.write("item.csv", "id,v,country\n1,a,US\n2,c,US\n4,e,US\n");
    world.succeeds("snapshot item");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.succeeds("status item");
    let footer = world.footer("lake/item/snapshots/snapshot_date=2024-01-28/item.parquet");
    assert_eq!(
        (footer["source"].as_str(), footer["backdated"].as_bool()),
        (Some("copies/dt=2024-01-28/country=US/part.csv"), Some(true))
    );
    world.pin("adopt");
}

#[test]
fn adopting_goes_on_where_a_copy_was_refused() {
    let mut world = copies();
    world.at("2024-01-31");
    world.write("copies/dt=2024-01-28/country=US/part.csv", "id,v\n");
    assert_eq!(world.asof(ADOPT), 3);
    world.succeeds("snapshot item --discard 2024-01-28");
    world.write("copies/dt=2024-01-28/country=US/part.csv", "id,v\n1,a\n");
    world.succeeds(ADOPT);
    world.tell("what cannot be");
    world.refuses(3, "snapshot item --source copies --adopt day=%Y-%m-%d");
    world.refuses(2, "snapshot item --source copies --adopt day");
    world.refuses(2, "snapshot item --source - --adopt dt=%Y-%m-%d");
    world.refuses(2, "snapshot --adopt dt=%Y-%m-%d");
    world.pin("adopt_refused");
}
