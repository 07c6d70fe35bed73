//! Where asof refuses to write, by whichever path it is told the place: among tables, events and
//! copies of other tools.

use super::environment::World;

#[test]
fn no_link_leads_what_is_written_among_what_is_read() {
    let mut world = World::shop(1);
    world.write("copies/date=2024-02-01/x.csv", "id,name\n1,a\n");
    let config = String::from_utf8(world.bytes("asof.toml")).expect("text");
    world.write(
        "asof.toml",
        format!("{config}\n[tables.ext]\nkey = [\"id\"]\nsnapshots = \"copies\"\nlayout = \"date=%Y-%m-%d\"\n"),
    );
    world.succeeds("compact item");
    for (to, link) in [
        ("lake", "lake.link"),
        ("item_events", "events.link"),
        ("copies", "copies.link"),
        ("lake/item", "item.link"),
    ] {
        std::os::unix::fs::symlink(to, world.path(link)).expect("linked");
    }
    let ad_hoc = "backfill --events item_events --table item --on item_id=id --how inner \
                  --from 2024-03-01 --to 2024-03-01 --out";
    let expand = "expand item --from 2024-03-01 --to 2024-03-01 --out";
    for (command, places) in [
        (
            ad_hoc,
            [
                "lake.link/x",
                "events.link/x",
                "copies.link/x",
                "item.link/../x",
                "lake/../lake/x",
            ],
        ),
        (
            expand,
            [
                "lake.link",
                "events.link",
                "copies.link",
                "item.link/x",
                "item.link/..",
            ],
        ),
        (
            "compact item --out",
            [
                "lake.link/item/snapshots/x.parquet",
                "events.link/x.parquet",
                "copies.link/x.parquet",
                "item.link/snapshots/x.parquet",
                "item.link/../x.parquet",
            ],
        ),
        (
            "show item --date 2024-03-01 --out",
            [
                "lake.link/x.parquet",
                "events.link/x.parquet",
                "copies.link/x.csv",
                "item.link/snapshots/x.parquet",
                "item.link/../x.parquet",
            ],
        ),
    ] {
        for place in places {
            world.refuses(2, &format!("{command} {place}"));
        }
    }
    // The table's own snapshots and intervals are where they are, by any path.
    world.succeeds(&format!("{expand} item.link/snapshots"));
    world.succeeds("compact item --out item.link/intervals/item.parquet");
    world.pin("places");
}

#[test]
fn copies_are_not_written_into_a_folder_of_other_data() {
    let mut world = World::shop(1);
    world.succeeds("compact item");
    world.write("other/date=2024-03-01/e.csv", "id\n1\n");
    world.write("files/e.parquet", "");
    world.write("noted/README.md", "copies");
    let expand = "expand item --from 2024-03-01 --to 2024-03-01 --out";
    world.refuses(2, &format!("{expand} other"));
    world.refuses(2, &format!("{expand} files"));
    world.succeeds(&format!("{expand} noted"));
    world.succeeds(&format!("{expand} noted"));
}
