//! The demonstration, which is the first thing that most people run.

use super::environment::World;

#[test]
fn the_demonstration_tells_the_story_of_the_data() {
    let mut world = World::new();
    world.at("2026-11-20");
    world.succeeds("demo");
    world.succeeds("demo");
    world.write("mine/file", "");
    world.refuses(2, "demo mine");
    world.pin("demo");

    let history = |code: &str| {
        world.json(&format!(
            "--config asof-demo/asof.toml history airport {code}"
        ))
    };
    // Each interval's start and, without those of the first, the columns that changed with it.
    let intervals = |document: &serde_json::Value| -> Vec<String> {
        let describe = |interval: &serde_json::Value| {
            let start = interval["start"].as_str().expect("a date");
            if interval["event"] == "first_seen" {
                return start.to_owned();
            }
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("null").to_owned();
            let values = interval["values"].as_array().expect("values").iter();
            let told = values.map(|change| {
                format!(
                    "{} {} to {}",
                    text(&change["name"]),
                    text(&change["old"]),
                    text(&change["new"])
                )
            });
            format!("{start}: {}", told.collect::<Vec<_>>().join(", "))
        };
        document["intervals"]
            .as_array()
            .expect("intervals")
            .iter()
            .map(describe)
            .collect()
    };
    let tashkent = history("UTTT");
    let told = intervals(&tashkent);
    assert_eq!(
        told[..2],
        [
            "2020-11-06",
            "2024-04-15: lat 41.257900238 to 41.2579, lon 69.2811965942 to 69.2812"
        ]
    );
    assert!(
        told.len() == 3 && told[2].starts_with("2025-05-23: "),
        "{told:?}"
    );
    assert_eq!(
        tashkent["absent"],
        serde_json::json!([{ "from": "2025-02-04", "to": "2025-05-22" }, { "from": "2026-03-04", "to": null }])
    );
    let san_juan = intervals(&history("TJSJ"));
    assert_eq!(
        san_juan.iter().map(|text| &text[..10]).collect::<Vec<_>>(),
        ["2020-11-06", "2022-11-21", "2024-04-15", "2026-03-04"]
    );
    for change in [
        "country PR to US",
        "lid null to SJU",
        "elevation 9.0 to 9.6",
    ] {
        assert!(san_juan[1].contains(change), "{}", san_juan[1]);
    }
    let kyiv = intervals(&history("UKBB"));
    assert_eq!(
        kyiv.iter().map(|text| &text[..10]).collect::<Vec<_>>(),
        ["2020-11-06", "2023-10-17", "2024-04-15"]
    );
    for change in ["city Kiev to Kyiv", "tz Europe/Kiev to Europe/Kyiv"] {
        assert!(kyiv[1].contains(change), "{}", kyiv[1]);
    }
    let mut world = world;
    for code in ["TJSJ", "UKBB"] {
        world.succeeds(&format!(
            "--config asof-demo/asof.toml history airport {code}"
        ));
    }
    world.succeeds("--config asof-demo/asof.toml diff airport 2022-10-17 2022-11-21 --limit 3");
    world.succeeds(
        "--config asof-demo/asof.toml show airport --date 2021-06-01 --where \"country \
         = 'UZ'\" --select icao,name,city",
    );
    world.pin("demo_and_after");
}
