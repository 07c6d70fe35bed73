//! `--metrics`: a file for node_exporter's textfile collector.

use super::environment::{World, text};

/// Adds the metrics to the transcript, without the time that the run took.
fn tell(world: &mut World, file: &str) {
    let metrics = text(&world.bytes(file));
    let lines = metrics.lines().map(|line| match line.split_once("} ") {
        Some((name, _)) if name.starts_with("asof_run_duration_seconds") => {
            format!("{name}}} [TIME]")
        }
        _ => line.to_owned(),
    });
    let lines: Vec<String> = lines.collect();
    world.tell(&format!("{file}\n{}", lines.join("\n")));
}

#[test]
fn metrics_say_what_the_lake_holds_after_a_run() {
    let mut world = World::shop(1);
    world.night(2);
    world.succeeds("--metrics prom/asof.prom snapshot item");
    tell(&mut world, "prom/asof.prom");
    assert_eq!(world.listing("prom"), ["asof.prom"]);
    world.succeeds("compact item --metrics prom/asof.prom");
    tell(&mut world, "prom/asof.prom");
    world.tell("a refused copy: the last success is that of the night before");
    world.night(3);
    world.write("item.csv", "id,name,status,price\n");
    assert_eq!(world.asof("snapshot --metrics prom/asof.prom"), 3);
    tell(&mut world, "prom/asof.prom");
    world.succeeds("--metrics prom/verify.prom verify");
    tell(&mut world, "prom/verify.prom");
    world.pin("metrics");
}

#[test]
fn metrics_tell_of_the_dates_of_jobs() {
    let mut world = World::shop(2);
    let config = text(&world.bytes("asof.toml"));
    let job =
        "[jobs.j]\nevents = 'item_events'\ntable = 'item'\non = ['item_id=id']\noutput = 'out'\n";
    world.write("asof.toml", format!("{config}\n{job}"));
    let code = world.asof("backfill j --from 2024-03-01 --to 2024-03-03 --metrics asof.prom");
    assert_eq!(code, 5);
    tell(&mut world, "asof.prom");
    world.succeeds("status j --metrics asof.prom");
    tell(&mut world, "asof.prom");
    world.pin("metrics_of_jobs");
}

#[test]
fn metrics_tell_of_a_run_that_could_not_begin() {
    let mut world = World::new();
    world.write("asof.toml", "lake = 'lake'\nno_such_setting = 1\n");
    assert_eq!(world.asof("snapshot --metrics asof.prom"), 2);
    tell(&mut world, "asof.prom");
    world.tell("a file that cannot be written changes no exit code");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n",
    );
    world.write("item.csv", "id\n1\n");
    world.succeeds("snapshot --metrics item.csv/asof.prom");
    world.pin("metrics_of_failures");
}
