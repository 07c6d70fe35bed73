//! `--json`: one document on standard output, whatever happens. `completions` and `man` print what
//! a shell and `man` read, with or without it.

use super::environment::World;

#[test]
fn every_command_prints_one_document() {
    let mut world = World::shop(2);
    world.write(
        "asof.toml",
        format!(
            "{}\n[jobs.joined]\nevents = 'item_events'\ntable = 'item'\non = \
             ['item_id=id']\noutput = 'out'\n",
            super::environment::text(&world.bytes("asof.toml"))
        ),
    );
    world.night(3);
    for line in [
        "snapshot item --dry-run",
        "snapshot item",
        "snapshot item",
        "compact --dry-run",
        "compact",
        "backfill joined --from 2024-03-01 --to 2024-03-03 --dry-run",
        "backfill joined --from 2024-03-01 --to 2024-03-03",
        "show item --date 2024-03-02",
        "diff item 2024-03-01 2024-03-02",
        "history item 1",
        "status",
        "status item",
        "status joined --from 2024-03-01 --to 2024-03-03",
        "report",
        "verify",
        "expand item --from 2024-03-01 --to 2024-03-02 --out copies --dry-run",
        "expand item --from 2024-03-01 --to 2024-03-02 --out copies",
        "partitions item_events --layout year=%Y/month=%m/day=%d --from 2024-03-01 --to 2024-03-02",
    ] {
        let document = world.json(line);
        assert!(document.get("error").is_none(), "{line}: {document}");
    }
    let fresh = World::new();
    assert!(fresh.json("init").get("error").is_none());
    for (code, line) in [
        (2, "show itme --date 2024-03-02"),
        (2, "demo"),
        (3, "snapshot item --date 2024-02-01"),
        (4, "snapshot item --if-exists error"),
        (2, "init"),
    ] {
        let document = world.json(line);
        assert_eq!(document["error"]["exit_code"], code, "{line}: {document}");
    }
    world.succeeds("--json snapshot item");
    world.refuses(2, "--json show itme --date 2024-03-02");
    world.succeeds("--json history item 1");
    world.succeeds("--json diff item 2024-03-01 2024-03-02");
    world.succeeds("--json show item --date 2024-03-03");
    world.succeeds("--json compact");
    world.succeeds("--json verify");
    world.succeeds("--json backfill joined --from 2024-03-01 --to 2024-03-01 --only all");
    world.pin("json");
}

#[test]
fn a_command_line_that_is_wrong_is_a_document_too() {
    let world = World::new();
    let output = world.quietly("--json show item --date 2024-13-01");
    assert_eq!(output.status.code(), Some(2));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(document["error"]["exit_code"], 2);
    assert!(
        document["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("'2024-13-01' is not a date")),
        "{document}"
    );
}
