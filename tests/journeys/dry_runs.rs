//! Every write has `--dry-run`, which prints the plan and leaves nothing.

use super::environment::World;

#[test]
fn a_dry_run_leaves_nothing() {
    let mut world = World::shop(2);
    world.night(3);
    let join = "--events item_events --table item --on item_id=id --out out --from 2024-03-01 --to 2024-03-02";
    let lines = [
        "snapshot item --dry-run".to_owned(),
        "snapshot item --date 2024-03-02 --if-exists replace --backdate --dry-run".to_owned(),
        "snapshot other --source item.csv --key id --dry-run".to_owned(),
        "compact item --dry-run".to_owned(),
        "compact item --out elsewhere --dry-run".to_owned(),
        format!("backfill {join} --dry-run"),
    ];
    for line in &lines {
        world.refuses(0, line);
    }
    world.succeeds("compact item");
    world.succeeds("snapshot item");
    world.refuses(0, "compact item --dry-run");
    world.refuses(0, "compact item --full --dry-run");
    world.refuses(0, "expand item --from 2024-03-01 --to 2024-03-02 --out copies --dry-run");
    world.succeeds(&format!("backfill {join}"));
    world.refuses(0, &format!("backfill {join} --dry-run"));
    world.refuses(0, &format!("backfill {join} --only all --dry-run"));
    world.tell("with no lake yet");
    let mut fresh = World::new();
    fresh.write("item.csv", "id\n1\n");
    fresh.refuses(0, "snapshot item --lake lake --source item.csv --key id --dry-run");
    world.pin("dry_runs");
}
