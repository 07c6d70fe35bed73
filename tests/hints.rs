//! Every hint that the pinned transcripts show works when it is typed: its options are those of the
//! command that gave it, its commands parse, and its lines of asof.toml are read.

use clap::{CommandFactory as _, Parser as _};

use asof::cli::args::Cli;
use asof::config::Config;

use crate::journeys::environment::{World, text, words};

/// A hint with the line of the command that gave it.
struct Hint {
    file: String,
    command: String,
    text: String,
}

/// The hints of the pinned transcripts.
fn hints() -> Vec<Hint> {
    let mut hints = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"))
        .expect("a folder")
    {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let mut command = String::new();
        for line in text.lines() {
            if let Some((_, typed)) = line
                .strip_prefix("$ ")
                .and_then(|line| line.split_once("asof "))
            {
                command = typed.to_owned();
            } else if let Some((_, hint)) = line.split_once("hint: ") {
                let file = path
                    .file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned();
                hints.push(Hint {
                    file,
                    command: command.clone(),
                    text: hint.to_owned(),
                });
            }
        }
    }
    hints
}

/// The subcommand that a line begins with, after options of the program.
fn subcommand(line: &str) -> Option<clap::Command> {
    let command = Cli::command();
    let found = words(line)
        .iter()
        .find_map(|word| command.find_subcommand(word).cloned());
    found.map(|found| {
        let global = command
            .get_arguments()
            .filter(|argument| argument.is_global_set())
            .cloned()
            .collect::<Vec<_>>();
        global.into_iter().fold(found, clap::Command::arg)
    })
}

/// The options that a text names, each with the `asof` command before it, if there is one.
fn options(text: &str) -> Vec<(Option<String>, String)> {
    let mut of: Option<String> = None;
    let mut options = Vec::new();
    let parts: Vec<&str> = text.split([' ', '\'', '"', '(', ')', ',', ';']).collect();
    for (at, part) in parts.iter().enumerate() {
        if *part == "asof" {
            of = parts.get(at + 1).map(|next| (*next).to_owned());
        } else if let Some(option) = part.strip_prefix("--").filter(|option| !option.is_empty()) {
            options.push((
                of.clone(),
                option.split('=').next().unwrap_or(option).to_owned(),
            ));
        }
    }
    options
}

/// Whether it is for another program.
fn is_of_another_program(text: &str) -> bool {
    ["cargo ", "aws ", "eval ", "iconv ", "ls ", "rm ", "export "]
        .iter()
        .any(|program| text.starts_with(program))
}

#[test]
fn options_in_hints_are_options_of_the_command() {
    let hints = hints();
    assert!(hints.len() > 100, "{}", hints.len());
    let mut checked = 0;
    for Hint {
        file,
        command,
        text,
    } in hints
        .iter()
        .filter(|hint| !is_of_another_program(&hint.text))
    {
        for (of, option) in options(text) {
            let line = of.as_deref().unwrap_or(command);
            let Some(subcommand) = subcommand(line) else {
                panic!("{file}: '{text}': which command is '{line}'?")
            };
            let knows = subcommand
                .get_arguments()
                .any(|argument| argument.get_long() == Some(option.as_str()));
            assert!(
                knows,
                "{file}: asof {command}\n  hint: {text}\n  asof {} has no --{option}",
                subcommand.get_name()
            );
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn commands_in_hints_parse() {
    let mut checked = 0;
    for Hint { file, text, .. } in &hints() {
        if !text.starts_with("asof ") {
            continue;
        }
        // What follows a comma says what the command is for.
        let typed = text
            .split(", to ")
            .next()
            .and_then(|text| text.split(", if ").next())
            .and_then(|text| text.split(", or [").next())
            .unwrap_or(text);
        let dated = typed.replace("--from D --to D", "--from 2024-01-01 --to 2024-01-02");
        if let Err(error) = Cli::try_parse_from(words(&dated)) {
            panic!("{file}: {text}\n{error}");
        }
        checked += 1;
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn lines_of_the_configuration_in_hints_are_read() {
    let mut checked = 0;
    for Hint { file, text, .. } in hints() {
        let Some(settings) = text
            .split(" in asof.toml")
            .next()
            .and_then(|text| Some(&text[text.find("[")?..]))
        else {
            continue;
        };
        let Some((table, settings)) = settings
            .split_once("] ")
            .filter(|(_, settings)| settings.contains(" = "))
        else {
            continue;
        };
        // What follows a value and a comma is another setting, or says what the setting is for.
        let settings = settings.replace("\", layout", "\"\nlayout");
        let ends = settings
            .match_indices("\", ")
            .map(|(at, _)| at + 1)
            .chain([settings.len()]);
        let is_read = |end: usize| {
            toml::from_str::<Config>(&format!("{table}]\n{}", &settings[..end])).is_ok()
        };
        assert!(ends.into_iter().any(is_read), "{file}: {text}");
        checked += 1;
    }
    assert!(checked > 2, "{checked}");
}

#[test]
fn commands_that_read_tables_give_hints_that_are_theirs() {
    let mut world = World::shop(2);
    let external = "\n[tables.copies]\nsnapshots = 'copies'\nlayout = 'day=%Y-%m-%d'\n";
    let config = text(&world.bytes("asof.toml"));
    for (what, key, rows) in [
        ("no key is known", "", "id,v\n1,a\n"),
        (
            "a key column that is not there",
            "key = ['code']\n",
            "id,v\n1,a\n",
        ),
        ("a null in the key", "key = ['id']\n", "id,v\n1,a\n,b\n"),
        (
            "a duplicate key with a long value",
            "key = ['id']\n",
            &format!("id,v\n{0},a\n{0},b\n", "x".repeat(300)),
        ),
    ] {
        world.tell(what);
        world.write("asof.toml", format!("{config}{external}{key}"));
        for day in 1..=2 {
            world.write(&format!("copies/day=2024-03-0{day}/a.csv"), rows);
        }
        for line in [
            "show copies --date 2024-03-01",
            "diff copies 2024-03-01 2024-03-02",
            "verify copies",
            "compact copies",
            "compact copies --key other",
            "backfill --events item_events --table copies --on item_id=id --out x --from \
             2024-03-01 --to 2024-03-01",
        ] {
            world.asof(line);
        }
    }
    world.tell("events whose format cannot be told");
    world.write("unnamed/date=2024-03-01/part-0", "id\n1\n");
    world.write(
        "asof.toml",
        format!("{config}\n[events.unnamed]\npath = 'unnamed'\nlayout = 'date=%Y-%m-%d'\n"),
    );
    let range = "--table item --on id --out x --from 2024-03-01 --to 2024-03-01";
    world.refuses(
        2,
        &format!("backfill --events unnamed {range} --dry-run --only stale,orphaned --workers 0"),
    );
    assert_ne!(world.asof(&format!("backfill --events unnamed {range}")), 0);
    assert_ne!(
        world.asof(&format!(
            "backfill --events unnamed --events-layout date=%Y-%m-%d {range}"
        )),
        0
    );
    world.succeeds(&format!(
        "backfill --events unnamed --events-layout date=%Y-%m-%d --events-format csv {range}"
    ));
    world.tell("keys of another type: the hint says what to write, and it helps");
    world.write("asof.toml", &config);
    world.write("codes/date=2024-03-01/a.ndjson", "{\"code\":\"1\"}\n");
    world.write("t.csv", "code,name\n1,x\n");
    world.at("2024-03-01");
    assert_eq!(
        world
            .quietly("snapshot t --source t.csv --key code")
            .status
            .code(),
        Some(0)
    );
    let join = "backfill --events codes --events-layout date=%Y-%m-%d --table t --on code --out y \
     --from 2024-03-01 --to 2024-03-01";
    assert_eq!(world.asof(join), 2);
    world.write(
        "asof.toml",
        format!("{config}\n[events.codes.types]\ncode = 'int64'\n"),
    );
    world.succeeds(join);
    world.tell("events that are only typed are nowhere");
    world.refuses(
        2,
        "backfill --events codes --table t --on code --out y --from 2024-03-01 --to 2024-03-01",
    );
    world.tell("intervals that another tool wrote");
    world.succeeds("compact item");
    std::fs::copy(
        world.path("y/date=2024-03-01/y.parquet"),
        world.path("lake/item/intervals/item.parquet"),
    )
    .expect("a copy");
    for line in [
        "show item --date 2024-03-01",
        "diff item 2024-03-01 2024-03-02",
        "history item 1",
        "verify item",
        "status item",
        "compact item",
        "expand item --from 2024-03-01 --to 2024-03-02 --out z",
        "backfill --events item_events --table item --on item_id=id --out x --from 2024-03-01 \
         --to 2024-03-01",
    ] {
        world.asof(line);
    }
    world.succeeds("compact item --full");
    world.pin("hints");
}

/// The hint that a refused line printed: its option, if it has one, and its line of asof.toml.
fn keeping_as_text(world: &World, line: &str) -> (Option<String>, String) {
    let output = world.quietly(line);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{line}: {said}");
    let hint = said
        .lines()
        .find_map(|line| line.split_once("hint: "))
        .unwrap_or_else(|| panic!("{line}: {said}"))
        .1;
    let hint = hint.split_once(": ").unwrap_or_else(|| panic!("{hint}")).1;
    let hint = hint
        .strip_suffix(" in asof.toml")
        .unwrap_or_else(|| panic!("{hint}"));
    let at = hint.find("[").unwrap_or_else(|| panic!("{hint}"));
    let (section, setting) = hint[at..]
        .split_once("] ")
        .unwrap_or_else(|| panic!("{hint}"));
    let option = hint[..at].strip_suffix(", or ").map(str::to_owned);
    (option, format!("{section}]\n{setting}\n"))
}

#[test]
fn the_hint_to_keep_a_column_as_text_works_for_every_name() {
    let names = [
        "price",
        "unit price",
        "item.name",
        "a,b",
        "x=y",
        "say \"hi\"",
        "it's",
        "Preis €",
        "back\\slash",
        "-dash",
        "f(x)",
        " padded",
    ];
    // A column of numbers, then one value of another kind: as CSV, as JSON, and as a field inside a
    // column of JSON.
    let csv =
        |name: &str, value: &str| format!("id,\"{}\"\n1,{value}\n", name.replace('"', "\"\""));
    let json = |name: &str, value: &str| {
        format!(
            "{{\"id\": 1, {}: {value}}}\n",
            serde_json::Value::from(name)
        )
    };
    let nested = |name: &str, value: &str| json(name, &format!("{{\"inner part\": {value}}}"));
    type Written<'a> = &'a dyn Fn(&str, &str) -> String;
    let formats: [(&str, Written<'_>, &str); 3] = [
        ("csv", &csv, "n/a"),
        ("ndjson", &json, "\"n/a\""),
        ("ndjson", &nested, "\"n/a\""),
    ];
    for name in names {
        for (ending, written, other) in &formats {
            let mut world = World::new();
            world.write("asof.toml", "lake = 'lake'\n");
            let config = |added: &str| format!("lake = 'lake'\n{added}");
            world.write(&format!("1.{ending}"), written(name, "5"));
            world.write(&format!("2.{ending}"), written(name, other));
            world.at("2024-03-01");
            world.succeeds(&format!("snapshot shop.item --source 1.{ending} --key id"));
            world.at("2024-03-02");
            let line = format!("snapshot shop.item --source 2.{ending} --key id");
            // No history could hold both types, unless asof.toml declares one for all copies.
            let (option, settings) = keeping_as_text(&world, &line);
            assert_eq!(option, None, "{name}");
            world.at("2024-03-03");
            world.write("asof.toml", config(&settings));
            world.succeeds(&line);
            let shown = world.json("show shop.item --date 2024-03-03 --json");
            assert!(shown.to_string().contains("n/a"), "{shown}");

            // The same of events, whose types no snapshot pins: one date alone has both kinds.
            world.write("asof.toml", config(""));
            let is_text = *ending == "csv";
            if !is_text {
                // So has the first copy of a table.
                let second = written(name, "[1]").replacen("\"id\": 1", "\"id\": 2", 1);
                world.write("3.ndjson", written(name, "5") + &second);
                let line = "snapshot shop.first --source 3.ndjson --key id";
                let (option, _) = keeping_as_text(&world, line);
                assert_eq!(
                    option.is_none(),
                    ["a,b", "x=y", "-dash", "f(x)", " padded"].contains(&name),
                    "{name}: {option:?}"
                );
                if let Some(option) = option {
                    world.succeeds(&format!("{line} {option}"));
                }
                world.write(
                    "events/date=2024-03-03/e.ndjson",
                    written(name, "5") + &written(name, "[1]"),
                );
                let job = "backfill --events events --events-layout date=%Y-%m-%d --table \
                 shop.item --on id --select id --out out \
                           --from 2024-03-03 --to 2024-03-03";
                let output = text(&world.quietly(job).stderr);
                assert!(output.contains("[events.events] types = "), "{output}");
                let settings = output
                    .split_once("[events.events] ")
                    .expect("a hint")
                    .1
                    .split(" in asof.toml")
                    .next()
                    .expect("a setting");
                world.write(
                    "asof.toml",
                    config(&format!("[events.events]\n{settings}\n")),
                );
                world.succeeds(job);
            }
        }
    }
}
