//! Sources that have a state for each date: `{date}` stands in their path, table or query.

use super::environment::{World, text};

/// Exports of three days, of which one is missing, on the day after the last.
fn exports() -> World {
    let mut world = World::new();
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'exports/item_{date}.csv'\nkey = ['id']\n\
         max_delete = '20%'\n",
    );
    for (day, price) in [("01", 1), ("02", 2), ("04", 4)] {
        world.write(
            &format!("exports/item_2024-03-{day}.csv"),
            format!("id,price\n1,{price}\n2,5\n"),
        );
    }
    world.at("2024-03-04");
    world
}

fn copy(day: u32) -> String {
    format!("lake/item/snapshots/snapshot_date=2024-03-0{day}/item.parquet")
}

#[test]
fn a_source_of_each_date_is_caught_up_without_backdate() {
    let mut world = exports();
    world.tell("today, and then what a scheduler catches up");
    world.succeeds("snapshot item");
    world.succeeds("snapshot item --date 2024-03-01");
    world.succeeds("snapshot --date 2024-03-02");
    world.tell("a day without a file");
    world.refuses(1, "snapshot item --date 2024-03-03");
    world.refuses(2, "snapshot item --date 2024-03-05");
    for day in [1, 2, 4] {
        assert_eq!(world.rows(&copy(day))[1], format!("1|{day}"));
        let footer = world.footer(&copy(day));
        assert_eq!(footer["source"], "exports/item_{date}.csv");
        let path = format!("exports/item_2024-03-0{day}.csv");
        assert_eq!(footer["dated_source"], path);
        assert!(footer.get("backdated").is_none());
    }
    world.succeeds("verify item");
    world.pin("dated_sources");
}

#[test]
fn a_past_copy_is_compared_with_the_file_of_its_day() {
    let mut world = exports();
    world.succeeds("snapshot item --date 2024-03-01");
    world.tell("nothing was written since");
    world.succeeds("snapshot item --date 2024-03-01");
    world.tell("a correction of the file");
    std::thread::sleep(std::time::Duration::from_millis(20));
    world.write("exports/item_2024-03-01.csv", "id,price\n1,7\n2,5\n");
    let kept = world.quietly("snapshot item --date 2024-03-01");
    assert!(
        text(&kept.stdout).contains(
            "written to since; asof snapshot item --date 2024-03-01 --if-exists replace --dry-run"
        ),
        "{}",
        text(&kept.stdout)
    );
    world.succeeds("snapshot item --date 2024-03-01 --if-exists replace --dry-run");
    world.succeeds("snapshot item --date 2024-03-01 --if-exists replace");
    assert_eq!(world.rows(&copy(1))[1], "1|7");
    world.tell("a file that is gone");
    std::fs::remove_file(world.path("exports/item_2024-03-01.csv")).expect("removed");
    world.succeeds("snapshot item --date 2024-03-01");
    world.pin("dated_sources_kept");
}

#[test]
fn outputs_of_a_past_copy_are_no_leak_and_become_stale_with_it() {
    let mut world = exports();
    world.write("clicks/2024-03-01.csv", "click,item\n1,1\n");
    let backfill = "backfill --events clicks --events-layout %Y-%m-%d.csv --table item --on \
                    item=id --out out --from 2024-03-01 --to 2024-03-01";
    world.succeeds("snapshot item --date 2024-03-01");
    world.succeeds(backfill);
    world.write("exports/item_2024-03-01.csv", "id,price\n1,7\n2,5\n");
    world.succeeds("snapshot item --date 2024-03-01 --if-exists replace");
    world.succeeds(backfill);
    let transcript = world.transcript();
    assert!(transcript.contains("stale"), "{transcript}");
    assert!(!transcript.contains("taken after"), "{transcript}");
}

#[test]
fn a_job_that_lacks_a_copy_is_told_to_take_it_from_the_file_of_its_day() {
    let mut world = exports();
    for day in 1..=2 {
        let events = format!("clicks/2024-03-0{day}.csv");
        world.write(&events, "click,item\n1,1\n");
    }
    let backfill = "backfill --events clicks --events-layout %Y-%m-%d.csv --table item --on \
                    item=id --out out --from 2024-03-01 --to 2024-03-02";
    world.succeeds("snapshot item --date 2024-03-01");
    assert_eq!(world.asof(backfill), 5);
    world.succeeds("snapshot item --date 2024-03-02");
    world.succeeds(backfill);
    world.pin("dated_source_of_a_job");
}

#[test]
fn a_refused_copy_of_a_date_is_published_with_its_path() {
    let mut world = exports();
    world.succeeds("snapshot item --date 2024-03-01");
    world.write("exports/item_2024-03-02.csv", "id,price\n1,2\n");
    world.refuses(3, "snapshot item --date 2024-03-02");
    world.succeeds("snapshot item --publish 2024-03-02 --force");
    let footer = world.footer(&copy(2));
    assert_eq!(footer["dated_source"], "exports/item_2024-03-02.csv");
}

#[test]
fn folders_globs_and_formats_have_dates_too() {
    let mut world = exports();
    world.write("in/2024/03/01/a.csv", "id,v\n1,a\n");
    world.write("in/2024/03/01/b.csv", "id,v\n2,b\n");
    world.write("in/2024/03/03/a.csv", "id,v\n3,c\n");
    let at = "snapshot part --key id --date";
    world.succeeds(&format!(
        "{at} 2024-03-01 --source in/{{date:%Y/%m/%d}}/*.csv"
    ));
    world.succeeds(&format!(
        "{at} 2024-03-02 --source in/{{yesterday:%Y/%m/%d}}"
    ));
    world.refuses(
        1,
        &format!("{at} 2024-03-03 --source in/{{yesterday:%Y/%m/%d}}"),
    );
    let part = "lake/part/snapshots/snapshot_date=2024-03-02/part.parquet";
    assert_eq!(world.rows(part), ["id|v", "1|a", "2|b"]);
    world.tell("braces that stand for no date");
    for source in [
        "exports/item_{ds}.csv",
        "exports/{prod}/item.csv",
        "x_{date:%H}.csv",
    ] {
        world.refuses(2, &format!("{at} 2024-03-04 --source {source}"));
    }
    world.write("exports/{prod}/item.csv", "id,v\n1,a\n");
    world.tell("the hint, typed");
    world.succeeds("snapshot part --key id --source 'exports/[{]prod}/item.csv'");
    world.tell("a configuration with another name in braces");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'exports/item_{day}.csv'\nkey = ['id']\n",
    );
    world.refuses(2, "snapshot");
    world.refuses(2, "check item");
    world.pin("dated_sources_forms");
}

#[test]
fn check_reads_the_state_of_a_date() {
    let mut world = exports();
    world.tell("the latest, which is not of today");
    world.at("2024-03-09");
    world.refuses(0, "check item");
    world.refuses(0, "check item --date 2024-03-02");
    world.refuses(1, "check item --date 2024-03-03");
    world.tell("a past date of a source without dates");
    world.refuses(
        2,
        "check item --date 2024-03-02 --source exports/item_2024-03-02.csv",
    );
    world.refuses(
        3,
        "snapshot x --key id --date 2024-03-02 --source exports/item_2024-03-02.csv",
    );
    world.tell("dated copies of another tool have their dates from a layout");
    world.refuses(2, "snapshot item --adopt item_%Y-%m-%d.csv");
    world.succeeds("snapshot item --source exports --adopt item_%Y-%m-%d.csv");
    world.pin("dated_sources_checked");
}
