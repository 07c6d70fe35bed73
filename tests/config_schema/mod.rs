//! `docs/asof.schema.json` is what the program makes of asof.toml, in both directions.
//!
//! The schema is written by hand, since its descriptions are what an editor shows. What it says is
//! compared with the parser, and an independent validator reads it. After a key was added to or
//! removed from the configuration, `ASOF_UPDATE_DOCS=1` brings the keys and words of the schema up
//! to date; descriptions are still to be written.

mod nodes;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use asof::commands::Workspace;
use asof::commands::check::project::{ProjectCheckOptions, check_project};
use asof::config::Config;
use asof::error::Error;
use serde_json::{Map, Value, json};

use self::nodes::{Node, nodes};
use crate::journeys::environment::text;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/asof.schema.json");

fn schema() -> Value {
    let written = std::fs::read_to_string(SCHEMA).expect("docs/asof.schema.json");
    serde_json::from_str(&written).expect("JSON")
}

/// Brings a part of the schema up to date, if that is asked for.
fn updates() -> bool {
    std::env::var_os("ASOF_UPDATE_DOCS").is_some()
}

fn write(schema: &Value) {
    let pretty = serde_json::to_string_pretty(schema).expect("JSON") + "\n";
    std::fs::write(SCHEMA, pretty).expect("docs/asof.schema.json is written");
}

/// A document with a value at a place.
fn document(path: &[String], value: Value) -> Value {
    path.iter()
        .rev()
        .fold(value, |inner, key| json!({ key: inner }))
}

/// Adds what one document has to another; what both have stays.
fn merge(into: &mut Value, other: &Value) {
    if let (Value::Object(into), Value::Object(other)) = (into, other) {
        for (key, value) in other {
            match into.get_mut(key) {
                Some(known) => merge(known, value),
                None => drop(into.insert(key.clone(), value.clone())),
            }
        }
    }
}

/// A document as TOML.
fn toml_of(document: &Value) -> String {
    let table: toml::Table = serde_json::from_value(document.clone()).expect("TOML");
    table.to_string()
}

/// What the parser and `asof check` say of a file; nothing if it is right.
fn refusal(toml: &str) -> Option<Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("asof.toml");
    std::fs::write(&file, toml).expect("written");
    let check = || {
        let config = Config::load(&file)?;
        let variables = variables(toml).into_iter();
        let variables = variables.map(|name| (name, "sqlite:shop.db".to_owned()));
        let workspace = Workspace::builder(config).environment(variables).build()?;
        let report = check_project(&workspace, &ProjectCheckOptions::default())?;
        let problems = report.parts.into_iter().flat_map(|part| part.problems);
        problems.into_iter().next().map_or(Ok(()), Err)
    };
    check().err()
}

/// The names of the variables in a text.
fn variables(text: &str) -> BTreeSet<String> {
    let names = text
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split(['}', ':']).next());
    names.map(str::to_owned).collect()
}

/// What an independent validator says of documents.
fn validated(documents: &[Value]) -> Vec<Option<String>> {
    let python = std::env::var("ASOF_TEST_PYTHON").expect(
        "ASOF_TEST_PYTHON is not set: run the tests with tests/run, which installs jsonschema",
    );
    let mut child = Command::new(python)
        .args([&format!("{ROOT}/tests/config_schema/validate.py"), SCHEMA])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let input = serde_json::to_vec(documents).expect("JSON");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&input).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let errors: Vec<Option<String>> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(errors.len(), documents.len());
    errors
}

/// The names in backticks of what the parser expected instead.
fn expected_names(message: &str) -> Vec<String> {
    let (_, expected) = message.split_once("expected").expect(message);
    let names = expected.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

/// Held while the schema is brought up to date: tests run in parallel.
static WRITING: Mutex<()> = Mutex::new(());

#[test]
fn the_schema_has_the_keys_that_the_parser_knows() {
    let _writing = WRITING.lock();
    let mut schema = schema();
    let mut closed = 0;
    for node in nodes(&schema.clone())
        .iter()
        .filter(|node| node.is_closed())
    {
        let unknown = document(&node.path, json!({ "no_such_key": 1 }));
        let error = toml::from_str::<Config>(&toml_of(&unknown)).expect_err("an unknown key");
        assert!(
            error.message().contains("`no_such_key`"),
            "{}: {error}",
            node.shown()
        );
        let known = expected_names(error.message());
        let part = schema.pointer_mut(&node.pointer).expect("a part");
        if updates() {
            let keys = part["properties"].as_object_mut().expect("keys");
            keys.retain(|key, _| known.contains(key));
            for key in &known {
                keys.entry(key)
                    .or_insert_with(|| json!({ "description": "" }));
            }
        }
        let described: BTreeSet<&String> = part["properties"]
            .as_object()
            .expect("keys")
            .keys()
            .collect();
        assert_eq!(
            described,
            known.iter().collect(),
            "docs/asof.schema.json, [{}]: ASOF_UPDATE_DOCS=1 brings its keys up to date",
            node.shown()
        );
        closed += 1;
    }
    if updates() {
        write(&schema);
    }
    // The file, limits, openlineage, spark, tables, their CSV, columns, retention and table for a
    // warehouse, events, their CSV, and jobs.
    assert_eq!(closed, 12);
}

#[test]
fn the_schema_has_the_words_that_the_parser_knows() {
    let _writing = WRITING.lock();
    let mut schema = schema();
    let mut seen = 0;
    for node in nodes(&schema.clone()) {
        let Some(words) = node.schema.get("enum").cloned() else {
            continue;
        };
        let document = with_context(&node, json!("no such word"));
        let error = refusal(&toml_of(&document)).expect("an unknown word");
        let message = error.to_string();
        // The parser lists them in backticks, and a setting that it takes as text in its hint.
        let known = match message.contains("unknown variant") {
            true => expected_names(&message),
            false => {
                assert!(
                    message.contains("= \"no such word\" is unknown"),
                    "{message}"
                );
                let words = error.hints()[0].split('"').skip(1).step_by(2);
                words.map(str::to_owned).collect()
            }
        };
        let described: BTreeSet<&str> = words
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let found: BTreeSet<&str> = known.iter().map(String::as_str).collect();
        if updates() && described != found {
            schema.pointer_mut(&node.pointer).expect("a part")["enum"] = json!(known);
        } else {
            assert_eq!(described, found, "{}", node.shown());
        }
        seen += 1;
    }
    if updates() {
        write(&schema);
    }
    assert!(seen >= 11, "{seen}");
}

#[test]
fn a_key_is_described_in_a_sentence() {
    for node in nodes(&schema()) {
        let is_item = node
            .path
            .last()
            .is_some_and(|last| ["t", "e", "j", "c", "s3"].contains(&last.as_str()));
        let description = node
            .schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        assert!(
            is_item || description.ends_with('.') && description.len() > 20,
            "docs/asof.schema.json: {} needs a description: {description:?}",
            node.shown()
        );
        // An editor completes it, so it must be the default.
        if let Some(default) = node.schema.get("default") {
            assert!(!default.is_null(), "{}", node.shown());
        }
    }
}

/// What stands before the reference of keys in docs/configuration.md.
const MADE: &str = "<!-- Made by tests/config_schema from docs/asof.schema.json: \
                    ASOF_UPDATE_DOCS=1 tests/run --test journeys -- config_schema -->\n";

/// The keys of asof.toml, as tables of a page.
fn reference(schema: &Value) -> String {
    let mut page = String::new();
    let mut seen = BTreeSet::new();
    let all = nodes(schema);
    for node in all.iter().filter(|node| !node.keys().is_empty()) {
        // The CSV of events is that of tables.
        if !seen.insert(&node.pointer) {
            continue;
        }
        let chosen = |key: &String| match key.as_str() {
            "t" | "e" | "j" => "NAME".to_owned(),
            "c" => "COLUMN".to_owned(),
            other => other.to_owned(),
        };
        let path: Vec<String> = node.path.iter().map(chosen).collect();
        page += &match path.is_empty() {
            true => "\n### At the top\n".to_owned(),
            false => format!("\n### `[{}]`\n", path.join(".")),
        };
        page += "\n| key | default | means |\n| --- | --- | --- |\n";
        for key in node.keys() {
            let of_key = |one: &&Node| {
                one.path
                    .split_last()
                    .is_some_and(|(last, above)| *last == key && above == node.path)
            };
            let Some(one) = all.iter().find(of_key) else {
                continue;
            };
            let default = one.schema.get("default");
            let default = default.map_or_else(String::new, |default| format!("`{default}`"));
            let means = one.schema["description"].as_str().unwrap_or_default();
            page += &format!(
                "| `{key}` | {default} | {} |\n",
                means.replace('|', "\\|").replace('<', "\\<")
            );
        }
    }
    page
}

#[test]
fn the_reference_of_keys_is_made_from_the_schema() {
    let path = format!("{ROOT}/docs/configuration.md");
    let stored = std::fs::read_to_string(&path).expect("docs/configuration.md");
    let (before, _) = stored.split_once(MADE).expect("the mark");
    let made = format!("{before}{MADE}{}", reference(&schema()));
    if updates() {
        std::fs::write(&path, &made).expect("docs/configuration.md is written");
        return;
    }
    assert!(
        made == stored,
        "docs/configuration.md: run with ASOF_UPDATE_DOCS=1"
    );
}

/// What must stand beside a setting for it to be right, by the end of its path.
const CONTEXTS: [(&str, &str); 21] = [
    ("tables.t.layout", r#"{"tables":{"t":{"snapshots":"x"}}}"#),
    (
        "tables.t.snapshots",
        r#"{"tables":{"t":{"layout":"%Y-%m-%d"}}}"#,
    ),
    (
        "tables.t.date_column",
        r#"{"tables":{"t":{"snapshots":"x"}}}"#,
    ),
    (
        "tables.t.date_format",
        r#"{"tables":{"t":{"snapshots":"x","date_column":"d"}}}"#,
    ),
    (
        "tables.t.timezone",
        r#"{"tables":{"t":{"snapshots":"x","date_column":"d"}}}"#,
    ),
    (
        "tables.t.source_table",
        r#"{"tables":{"t":{"source":"sqlite:x.db"}}}"#,
    ),
    (
        "tables.t.query",
        r#"{"tables":{"t":{"source":"sqlite:x.db"}}}"#,
    ),
    ("csv.columns", r#"{"csv":{"header":false}}"#),
    ("csv.thousands", r#"{"csv":{"decimal":","}}"#),
    (
        "events.e.date_format",
        r#"{"events":{"e":{"path":"x","date_column":"d"}}}"#,
    ),
    (
        "events.e.timezone",
        r#"{"events":{"e":{"path":"x","date_column":"d"}}}"#,
    ),
    (
        "events.e.",
        r#"{"events":{"e":{"path":"x","layout":"%Y-%m-%d"}}}"#,
    ),
    ("jobs.j.output", r#"{"jobs":{"j":{"sql":"select 1"}}}"#),
    ("jobs.j.sql", r#"{"jobs":{"j":{"output":"o"}}}"#),
    ("jobs.j.command", r#"{"jobs":{"j":{"output":"o"}}}"#),
    (
        "jobs.j.tables",
        r#"{"jobs":{"j":{"output":"o","command":["x"]}}}"#,
    ),
    (
        "jobs.j.inputs",
        r#"{"jobs":{"j":{"output":"o","command":["x"]}}}"#,
    ),
    (
        "jobs.j.timeout",
        r#"{"jobs":{"j":{"output":"o","command":["x"]}}}"#,
    ),
    (
        "jobs.j.",
        r#"{"jobs":{"j":{"output":"o","table":"t","on":["id"]}}}"#,
    ),
    (
        "openlineage.endpoint",
        r#"{"openlineage":{"url":"https://x"}}"#,
    ),
    (
        "openlineage.api_key",
        r#"{"openlineage":{"url":"https://x"}}"#,
    ),
];

/// A document with a value at the place of a node, and what must stand beside it.
fn with_context(node: &Node, value: Value) -> Value {
    let mut path = node.path.clone();
    // An option is one of the services that its description begins with.
    let description = node
        .schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    for (service, section) in [("Google:", "gs"), ("Azure:", "az")] {
        if path[0] == "stores" && path.len() == 3 && description.starts_with(service) {
            path[1] = section.to_owned();
        }
    }
    let mut document = document(&path, value);
    let shown = node.shown();
    let contexts = CONTEXTS.iter().filter(|(of, _)| shown.contains(of));
    for (of, beside) in contexts {
        let beside: Value = serde_json::from_str(beside).expect("JSON");
        match of.strip_prefix("csv.") {
            Some(_) => {
                let at = &node.path[..node.path.len() - 2];
                merge(&mut document, &self::document(at, beside));
            }
            None => merge(&mut document, &beside),
        }
        // The first one that fits is all that it needs, unless it is of CSV.
        if !of.starts_with("csv.") {
            break;
        }
    }
    document
}

/// The values of a setting that the schema shows: they must be right.
fn shown_values(schema: &Map<String, Value>) -> Vec<Value> {
    let listed = |key: &str| {
        let values = schema.get(key).and_then(Value::as_array).cloned();
        values.unwrap_or_default()
    };
    let default = schema.get("default").cloned();
    [
        listed("examples"),
        listed("enum"),
        default.into_iter().collect(),
    ]
    .concat()
}

/// Values of every kind, most of which are wrong for a setting.
fn values_of_every_kind() -> Vec<Value> {
    vec![
        json!("no such word"),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(true),
        json!(["x"]),
        json!([7]),
        json!({}),
        json!({ "x": "y" }),
        json!({ "x": 7 }),
    ]
}

/// Settings whose text is more than a schema can judge.
const JUDGED_BY_ASOF: [&str; 7] = [
    "timezone",
    "encoding",
    "sql",
    "date_format",
    "timestamp_format",
    "where",
    "url",
];

#[test]
fn the_parser_and_the_schema_judge_every_value_alike() {
    let all = nodes(&schema());
    let values = all
        .iter()
        .filter(|node| !node.path.is_empty())
        .flat_map(|node| {
            let right = shown_values(&node.schema)
                .into_iter()
                .map(|value| (value, true));
            let others = values_of_every_kind()
                .into_iter()
                .map(|value| (value, false));
            right
                .chain(others)
                .map(move |(value, is_shown)| (node, value, is_shown))
        });
    let cases: Vec<(&Node, Value, bool)> = values.collect();
    let documents: Vec<Value> = cases
        .iter()
        .map(|(node, value, _)| with_context(node, value.clone()))
        .collect();
    let verdicts = validated(&documents);
    let mut wrong = Vec::new();
    for ((node, value, is_shown), (document, by_schema)) in
        cases.iter().zip(documents.iter().zip(&verdicts))
    {
        let shown = node.shown();
        let by_parser = refusal(&toml_of(document));
        let is_judged = shown.starts_with("stores.")
            || value.is_string() && JUDGED_BY_ASOF.iter().any(|of| shown.contains(of));
        // The parser takes a list for the values of a section, in the order of its keys.
        if value.is_array() && node.schema.get("type") == Some(&json!("object")) {
            continue;
        }
        let agree = match (by_schema, &by_parser) {
            (None, None) => true,
            (Some(_), Some(_)) => !is_shown,
            (None, Some(_)) => is_judged && !is_shown,
            (Some(_), None) => false,
        };
        if !agree {
            let parser = by_parser.map(|error| error.to_string());
            wrong.push(format!(
                "{shown} = {value}: the schema {by_schema:?}, the parser {parser:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(documents.len() > 1_000, "{}", documents.len());
}

#[test]
fn what_the_schema_requires_the_parser_requires() {
    let mut required = 0;
    for node in nodes(&schema()) {
        let names = node
            .schema
            .get("required")
            .and_then(Value::as_array)
            .cloned();
        for name in names.into_iter().flatten() {
            let toml = toml_of(&document(&node.path, json!({ "sql": "select 1" })));
            let error = refusal(&toml).expect("it is missing").to_string();
            assert!(error.contains(name.as_str().expect("a name")), "{error}");
            required += 1;
        }
        let needs = node
            .schema
            .get("dependencies")
            .and_then(Value::as_object)
            .cloned();
        for (name, needed) in needs.into_iter().flatten() {
            let value = if name == "timezone" {
                "UTC"
            } else {
                "%Y-%m-%d"
            };
            let toml = toml_of(&document(&node.path, json!({ &name: value })));
            let error = refusal(&toml).expect("it needs another").to_string();
            let needed = needed[0].as_str().expect("a name");
            assert!(error.contains(&format!("'{needed}'")), "{name}: {error}");
            required += 1;
        }
    }
    assert_eq!(required, 13);
}

/// Files that neither the parser nor the schema lets through, each for one reason.
const WRONG: [&str; 29] = [
    "lakes = 'lake'",
    "lake = 1",
    "lake = ['lake']",
    "on_refused = []",
    "on_refused = ''",
    "[limits]\nmax_row = '64 megs'",
    "[limits]\nmax_connections = 0",
    "[limits]\nmax_columns = '7'",
    "[openlineage]\napi_key = 'x'",
    "[openlineage]\nurls = 'x'",
    "[stores.s3]\nregion = ['x']",
    "[stores.ftp]\nregion = 'x'",
    "[tables.'my item']\nsource = 'x'",
    "[tables.t]\nkeys = ['id']",
    "[tables.t]\nkey = 5",
    "[tables.t]\nmax_delete = 20",
    "[tables.t]\nmax_delete = '20'",
    "[tables.t]\nlag = '1'",
    "[tables.t]\nkeep = {}",
    "[tables.t]\nkeep = { last = 0 }",
    "[tables.t]\nkeep = { within = '36h' }",
    "[tables.t]\ngaps = 'skip'",
    "[tables.t]\ntypes = { a = 'number' }",
    "[tables.t]\nlayout = '%Y-%m-%d'",
    "[tables.t.columns.c]\nmax_nulls = 0",
    "[tables.t.columns.c]",
    "[events.e]\npath = 'x'\nlayout = '%Y-%m-%d'\nformat = 'orc'",
    "[events.e]",
    "[jobs.j]\nsql = 'select 1'",
];

#[test]
fn wrong_files_are_refused_by_both() {
    let documents = WRONG.map(|toml| json_of(&toml.parse().expect(toml)));
    let verdicts = validated(&documents);
    for (toml, by_schema) in WRONG.iter().zip(verdicts) {
        assert!(by_schema.is_some(), "the schema lets through: {toml}");
        assert!(refusal(toml).is_some(), "the parser lets through: {toml}");
    }
}

/// A file of TOML as editors see it: a date is text.
fn json_of(table: &toml::Table) -> Value {
    fn value(toml: &toml::Value) -> Value {
        match toml {
            toml::Value::Datetime(date) => json!(date.to_string()),
            toml::Value::Array(items) => items.iter().map(value).collect(),
            toml::Value::Table(table) => json_of(table),
            other => serde_json::to_value(other).expect("JSON"),
        }
    }
    table
        .iter()
        .map(|(key, of)| (key.clone(), value(of)))
        .collect()
}

/// The files below a folder of the repository that have an ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![Path::new(ROOT).join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The texts in double quotes of Rust code that may be files of TOML.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some((_, after)) = rest.split_once('"') {
        let mut literal = String::new();
        let mut characters = after.chars();
        loop {
            match characters.next() {
                None | Some('"') => break,
                Some('\\') => match characters.next() {
                    Some('n') => literal.push('\n'),
                    Some('\n') => {
                        let trimmed = characters.as_str().trim_start();
                        characters = trimmed.chars();
                    }
                    Some(other) => literal.push(other),
                    None => break,
                },
                Some(other) => literal.push(other),
            }
        }
        rest = characters.as_str();
        found.push(literal);
    }
    found
}

#[test]
fn every_example_is_valid() {
    let mut examples: Vec<(String, toml::Table)> = Vec::new();
    let pages = files("docs", "md")
        .into_iter()
        .chain([Path::new(ROOT).join("README.md")]);
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("text");
        let blocks = text.split("```toml\n").skip(1);
        for block in blocks.filter_map(|rest| rest.split("```").next()) {
            // Two lines that stand for one another are no file.
            if let Ok(table) = block.parse() {
                examples.push((format!("{}:\n{block}", page.display()), table));
            }
        }
    }
    let in_pages = examples.len();
    let template = asof::commands::init::TEMPLATE;
    examples.push(("asof init".to_owned(), template.parse().expect("TOML")));
    for file in ["tests", "src", "examples", "benches"]
        .iter()
        .flat_map(|folder| files(folder, "rs"))
    {
        // The files of this test are wrong on purpose.
        if file.ends_with("config_schema/mod.rs") {
            continue;
        }
        let code = std::fs::read_to_string(&file).expect("text");
        for literal in literals(&code) {
            let Ok(table) = literal.parse::<toml::Table>() else {
                continue;
            };
            if !table.is_empty() && refusal(&literal).is_none() {
                examples.push((format!("{}:\n{literal}", file.display()), table));
            }
        }
    }
    let documents: Vec<Value> = examples.iter().map(|(_, table)| json_of(table)).collect();
    for ((example, table), error) in examples.iter().zip(validated(&documents)) {
        assert_eq!(error, None, "{example}");
        let parsed = toml::from_str::<Config>(&table.to_string());
        assert!(parsed.is_ok(), "{example}: {parsed:?}");
    }
    assert!(in_pages >= 20, "{in_pages}");
    assert!(examples.len() - in_pages >= 40, "{}", examples.len());
}
