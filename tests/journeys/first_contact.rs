//! What the program says to those who use it for the first time.

use super::environment::{SHOP, World};

#[test]
fn status_groups_dates_by_reason_and_tells_by_its_exit_code() {
    let mut world = World::shop(3);
    world.write(
        "asof.toml",
        "lake = 'lake'\n[tables.item]\nsource = 'item.csv'\nkey = ['id']\n[events.item_events]\npath \
         = 'item_events'\nlayout = 'year=%Y/month=%m/day=%d'\n[jobs.joined]\nevents = \
         'item_events'\ntable = 'item'\non = ['item_id=id']\nhow = 'left'\noutput = 'joined'\n",
    );
    world.succeeds("compact item");
    world.refuses(
        6,
        "status joined --from 2024-03-01 --to 2024-03-03 --exit-code",
    );
    world.succeeds("backfill joined --from 2024-03-01 --to 2024-03-03");
    world.succeeds("status --from 2024-03-01 --to 2024-03-03 --exit-code");
    world.tell("two snapshots are replaced");
    for date in ["2024-03-01", "2024-03-02"] {
        world.write("item.csv", "id,name,status\n1,pen,GONE\n");
        world.succeeds(&format!(
            "snapshot item --date {date} --backdate --if-exists replace --force"
        ));
    }
    world.refuses(
        6,
        "status joined --from 2024-03-01 --to 2024-03-03 --exit-code",
    );
    world.succeeds("status joined --from 2024-03-01 --to 2024-03-03");
    world.tell("the intervals are out of date, which is not a failure");
    world.succeeds("verify item");
    world.refuses(6, "status item --exit-code");
    world.succeeds("backfill joined --from 2024-03-01 --to 2024-03-03");
    world.succeeds("compact item");
    world.succeeds("verify item");
    world.succeeds("status item --exit-code");
    world.pin("first_contact");
}

#[test]
fn intervals_for_dbt_have_its_columns_and_ends() {
    let mut world = World::shop(3);
    world.succeeds("compact item --out plain.parquet");
    world.succeeds("compact item --dbt --out dbt.parquet");
    world.refuses(
        2,
        "compact item --dbt --end-column valid_to --out mixed.parquet",
    );
    let plain = world.rows("plain.parquet");
    assert!(plain[0].contains("active_start|active_end"), "{plain:?}");
    let dbt = world.rows("dbt.parquet");
    assert!(dbt[0].contains("dbt_valid_from|dbt_valid_to"), "{dbt:?}");
    let is_open = |row: &&String| row.contains("9999-12-31");
    let open = plain.iter().filter(is_open).count();
    assert_eq!(dbt.iter().filter(is_open).count(), 0, "{dbt:?}");
    let is_null = |row: &&String| row.split('|').any(|value| value == "null");
    assert_eq!(dbt.iter().filter(is_null).count(), open, "{dbt:?}");
    world.pin("intervals_for_dbt");
}

#[test]
fn a_file_of_intervals_is_read_without_its_lake() {
    let mut world = World::shop(3);
    world.succeeds("compact item --out files/item_intervals.parquet");
    for date in ["2024-03-01", "2024-03-02", "2024-03-03"] {
        world.succeeds(&format!("show item {date} --out of_lake_{date}.csv"));
    }
    world.tell("the lake and its configuration are gone");
    std::fs::rename(world.path("lake"), world.path("gone")).unwrap();
    std::fs::remove_file(world.path("asof.toml")).unwrap();
    for date in ["2024-03-01", "2024-03-02", "2024-03-03"] {
        world.succeeds(&format!(
            "show files/item_intervals.parquet {date} --out of_file_{date}.csv"
        ));
        let read = |name: String| std::fs::read_to_string(world.path(&name)).unwrap();
        assert_eq!(
            read(format!("of_file_{date}.csv")),
            read(format!("of_lake_{date}.csv"))
        );
    }
    world.succeeds("show files/item_intervals.parquet");
    world.succeeds("history files/item_intervals.parquet 2");
    world.succeeds("verify files/item_intervals.parquet");
    world.refuses(3, "show files/item_intervals.parquet 2024-02-01");
    world.refuses(2, "show files/other.parquet");
    world.refuses(2, "verify other.parquet");
    let file = world.path("files/item_intervals.parquet");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    world.refuses(3, "verify files/item_intervals.parquet");
    world.pin("intervals_file");
}

#[test]
fn a_table_may_have_the_name_of_a_file() {
    let world = World::new();
    world.write("item.csv", "id,v\n1,a\n");
    let taken = world.quietly("snapshot odd.parquet --lake lake --source item.csv --key id");
    assert_eq!(taken.status.code(), Some(0));
    for line in [
        "show odd.parquet --lake lake",
        "verify odd.parquet --lake lake",
    ] {
        assert_eq!(world.quietly(line).status.code(), Some(0), "{line}");
    }
}

#[test]
fn the_output_of_a_job_is_shown_by_its_name() {
    let mut world = World::shop(3);
    let job = "[jobs.active_item_events]\nsql = \"select * from item_events where item_id in (select \
               id from item where status = 'ACTIVE')\"\noutput = 'active_item_events'\n";
    world.write("asof.toml", format!("{SHOP}{job}"));
    world.refuses(3, "show active_item_events");
    world.succeeds("backfill active_item_events --from 2024-03-01 --to 2024-03-02");
    world.succeeds("show active_item_events");
    world.succeeds("show active_item_events 2024-03-01");
    world.refuses(3, "show active_item_events 2024-03-03");
    world.refuses(2, "show active_item_event");
    world.tell("an output that is a file");
    world.write(
        "asof.toml",
        format!(
            "{SHOP}{}",
            job.replace("output = 'active_item_events'", "output = 'asof.toml'")
        ),
    );
    world.refuses(
        2,
        "backfill active_item_events --from 2024-03-01 --to 2024-03-02",
    );
    world.tell("a job whose SQL is wrong is named once");
    world.write(
        "asof.toml",
        format!("{SHOP}{}", job.replace("'ACTIVE'", "{ds}")),
    );
    world.succeeds("status");
    world.pin("show_job");
}

#[test]
fn help_describes_global_options_once() {
    let world = World::new();
    let help = |line: &str| {
        let output = world.quietly(line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(help("--help").contains("--allow-unsafe-store"));
    for line in ["snapshot --help", "backfill -h"] {
        let text = help(line);
        assert!(!text.contains("--allow-unsafe-store"), "{text}");
        assert!(text.contains("asof --help"), "{text}");
    }
    // They are understood all the same.
    let output = world.quietly("snapshot item --lake lake --json");
    assert!(output.stdout.starts_with(b"{"));
}
