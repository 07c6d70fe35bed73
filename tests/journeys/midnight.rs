//! What today is: the hour around midnight, and the days on which clocks change.

use super::environment::World;

fn shop(zone: &str) -> World {
    let world = World::new();
    let config = "[tables.item]\nsource = 'item.csv'\nkey = ['id']\n\
                  [tables.order]\nsource = 'order.csv'\nkey = ['id']\n";
    world.write(
        "asof.toml",
        format!("lake = 'lake'\ntimezone = '{zone}'\n{config}"),
    );
    world.write("item.csv", "id\n1\n");
    world.write("order.csv", "id\n7\n");
    world
}

#[test]
fn the_zone_of_the_configuration_decides_the_date_of_every_table() {
    for (zone, nights) in [
        // East of UTC: clocks go back on the first, and forward on the second of these days.
        (
            "Pacific/Auckland",
            [
                ("2024-04-06T10:59:59Z", "2024-04-06"),
                ("2024-04-06T11:00:00Z", "2024-04-07"),
                ("2024-04-07T11:59:59Z", "2024-04-07"),
                ("2024-04-07T12:00:00Z", "2024-04-08"),
                ("2024-09-28T11:59:59Z", "2024-09-28"),
                ("2024-09-28T12:00:00Z", "2024-09-29"),
                ("2024-09-29T10:59:59Z", "2024-09-29"),
                ("2024-09-29T11:00:00Z", "2024-09-30"),
            ],
        ),
        // West of UTC: forward, then back.
        (
            "America/New_York",
            [
                ("2024-03-10T04:59:59Z", "2024-03-09"),
                ("2024-03-10T05:00:00Z", "2024-03-10"),
                ("2024-03-11T03:59:59Z", "2024-03-10"),
                ("2024-03-11T04:00:00Z", "2024-03-11"),
                ("2024-11-03T03:59:59Z", "2024-11-02"),
                ("2024-11-03T04:00:00Z", "2024-11-03"),
                ("2024-11-04T04:59:59Z", "2024-11-03"),
                ("2024-11-04T05:00:00Z", "2024-11-04"),
            ],
        ),
    ] {
        let mut world = shop(zone);
        for (instant, date) in nights {
            world.at_instant(instant);
            let run = world.json("snapshot --if-exists replace --force");
            for (number, table) in ["item", "order"].iter().enumerate() {
                let report = &run[number];
                assert_eq!(
                    (&report["table"], &report["snapshot_date"]),
                    (&(*table).into(), &date.into()),
                    "{zone} {instant}"
                );
            }
        }
        let status = world.json("status item");
        assert_eq!(status["tables"][0]["snapshots"], 8 - 2, "{zone}: {status}");
    }
}

#[test]
fn yesterday_is_the_day_before_however_long_it_is() {
    // The day before has 23 hours, 25 hours, or begins at one o'clock.
    for (zone, instant, yesterday) in [
        ("America/New_York", "2024-03-11T04:00:00Z", "2024-03-10"),
        ("America/New_York", "2024-11-04T05:00:00Z", "2024-11-03"),
        ("Pacific/Auckland", "2024-04-07T12:00:00Z", "2024-04-07"),
        ("America/Santiago", "2024-09-09T03:00:00Z", "2024-09-08"),
    ] {
        let mut world = shop(zone);
        world.at_instant(instant);
        let run = world.json("snapshot --date yesterday --backdate");
        for report in run.as_array().expect("a list") {
            assert_eq!(report["snapshot_date"], yesterday, "{zone} {instant}");
        }
    }
}

#[test]
fn a_number_of_days_ago_is_a_calendar_date_however_long_days_are() {
    // In each of these weeks clocks change, or a day is left out; the first instant of each pair is
    // the last moment of a day.
    for (zone, instant, from) in [
        ("America/New_York", "2024-03-14T03:59:59Z", "2024-03-06"),
        ("America/New_York", "2024-03-14T04:00:00Z", "2024-03-07"),
        ("America/New_York", "2024-11-07T04:59:59Z", "2024-10-30"),
        ("America/New_York", "2024-11-07T05:00:00Z", "2024-10-31"),
        ("Pacific/Auckland", "2024-04-09T11:59:59Z", "2024-04-02"),
        ("Pacific/Auckland", "2024-04-09T12:00:00Z", "2024-04-03"),
        ("America/Santiago", "2024-09-09T02:59:59Z", "2024-09-01"),
        ("America/Santiago", "2024-09-09T03:00:00Z", "2024-09-02"),
        ("Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-22"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-24"),
    ] {
        let mut world = shop(zone);
        world.at_instant(instant);
        world.write("events/none", "");
        let range = |from: &str| {
            let line = format!("partitions events --layout %Y-%m-%d --from {from} --to yesterday");
            let found = world.json(&line);
            assert_eq!(found["missing_days"], 7, "{zone} {instant}: {found}");
            found["from"].clone()
        };
        assert_eq!((range("7d"), range("1w")), (from.into(), from.into()));
    }
}

#[test]
fn the_last_week_is_made_up_and_only_what_is_missing_runs() {
    let mut world = World::shop(3);
    world.tell("three nights were copied, and their job never ran");
    let job = "backfill --events item_events --table item --on item_id=id --out out";
    world.at("2024-03-09");
    world.succeeds(&format!("{job} --from 7d --to yesterday"));
    world.at("2024-03-08");
    world.succeeds(&format!("{job} --from 7d --to yesterday"));
    world.succeeds(&format!("{job} --from 1w --to 5d"));
    world.tell("wherever a date is named");
    world.succeeds("show item 6d --limit 1");
    world.succeeds("diff item 7d 6d --limit 1");
    world.refuses(3, "show item 8d");
    world.refuses(3, "snapshot item --date 1d");
    world.tell("what is not a number of days");
    world.refuses(2, &format!("{job} --from yesterday --to 2d"));
    for wrong in ["7", "--from=-7d", "'7 days ago'", "7days", "-7d", "500000d"] {
        let from = match wrong.starts_with("--") {
            true => wrong.to_owned(),
            false => format!("--from {wrong}"),
        };
        world.refuses(2, &format!("{job} {from}"));
    }
    world.pin("days_ago");
}

#[test]
fn a_run_that_begins_before_midnight_keeps_its_date() {
    let mut world = shop("Europe/Berlin");
    world.at_instant("2024-03-30T22:59:59.999Z");
    let run = world.json("snapshot");
    for report in run.as_array().expect("a list") {
        assert_eq!(
            (&report["snapshot_date"], &report["taken_at"]),
            (&"2024-03-30".into(), &"2024-03-30T22:59:59Z".into())
        );
    }
    // The same run a moment later, when it is the next day.
    world.at_instant("2024-03-30T23:00:00Z");
    assert_eq!(world.json("snapshot")[1]["snapshot_date"], "2024-03-31");
}

#[test]
fn a_date_may_be_a_word_wherever_one_date_is_named() {
    let mut world = World::shop(3);
    world.succeeds("compact");
    world.succeeds("check item_events --date latest");
    world.succeeds("check item_events --date yesterday");
    world.succeeds("check item --date latest");
    world.refuses(2, "check item --date yesterday");
    world.succeeds("show item --date latest --limit 1");
    world.succeeds("show item latest --limit 1");
    world.succeeds("snapshot item --date latest");
    world.at("2024-03-05");
    world.tell("two days later, the latest copy is still that of the third");
    world.succeeds("snapshot item --date latest");
    world.refuses(3, "snapshot item --date latest --if-exists replace");
    world.succeeds("snapshot item --date yesterday --backdate");
    world.succeeds("diff item latest --limit 1");
    world.succeeds("partitions item_events --from 2024-03-01 --to latest");
    world.refuses(2, "partitions item_events --from latest --to today");
    world.succeeds(
        "backfill --events item_events --table item --on item_id=id --out out --from 2024-03-01 \
         --to latest",
    );
    world.tell("refused copies");
    world.refuses(2, "show item --refused");
    world.write("item.csv", "id,name\n1,a\n1,b\n");
    world.refuses(3, "snapshot item --date today");
    world.succeeds("show item --refused --limit 1");
    world.succeeds("show item latest --refused --limit 1");
    world.succeeds("diff item --refused latest");
    world.succeeds("snapshot item --discard latest");
    world.refuses(2, "snapshot item --discard latest");
    world.refuses(2, "snapshot nothing --date latest");
    world.refuses(2, "show item --date tomorrow");
    world.pin("dates_as_words");
}
