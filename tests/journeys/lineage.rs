//! OpenLineage: events of runs, in a file and to a server. They have the shape of the published
//! schema.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::environment::{World, text};

/// The needed part of OpenLineage 2-0-2.
const SCHEMA: &str = include_str!("../../fixtures/openlineage.schema.json");

/// What breaks a schema, each with its place.
fn breaks(schema: &Value, root: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").expect("a reference");
        return breaks(&root["$defs"][name], root, value, place);
    }
    let mut wrong = Vec::new();
    let is_of_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        _ => true,
    };
    if !is_of_type {
        return vec![format!("{place}: {value} is not {}", schema["type"])];
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        wrong.push(format!("{place}: {value} is none of {allowed:?}"));
    }
    if let (Some(format), Some(value)) = (schema["format"].as_str(), value.as_str()) {
        let holds = match format {
            "uuid" => {
                value.len() == 36
                    && value.split('-').map(str::len).eq([8, 4, 4, 4, 12])
                    && value.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
            }
            "date-time" => value.parse::<chrono::DateTime<chrono::Utc>>().is_ok(),
            "uri" => url::Url::parse(value).is_ok(),
            _ => panic!("an unknown format {format}"),
        };
        if !holds {
            wrong.push(format!("{place}: {value} is not a {format}"));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().expect("a name")).is_none() {
            wrong.push(format!("{place}: {name} is missing"));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let known = &schema["properties"][name];
        let place = format!("{place}/{name}");
        match schema.get("additionalProperties") {
            _ if !known.is_null() => wrong.extend(breaks(known, root, value, &place)),
            Some(Value::Bool(false)) => wrong.push(format!("{place} is unknown")),
            Some(other) if other.is_object() => wrong.extend(breaks(other, root, value, &place)),
            _ => {}
        }
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        wrong.extend(breaks(
            &schema["items"],
            root,
            item,
            &format!("{place}/{at}"),
        ));
    }
    wrong
}

/// The events of a file, each of which has the shape of the schema.
fn events(world: &World, file: &str) -> Vec<Value> {
    let schema: Value = serde_json::from_str(SCHEMA).expect("a schema");
    let events: Vec<Value> = text(&world.bytes(file))
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect();
    for event in &events {
        assert_eq!(
            breaks(&schema, &schema, event, ""),
            [] as [String; 0],
            "{event:#}"
        );
    }
    events
}

/// What is the same in every run.
fn pinned(world: &World, events: &[Value]) -> String {
    let mut events = events.to_vec();
    for event in &mut events {
        event["eventTime"] = "[TIME]".into();
        event["run"]["runId"] = "[ID]".into();
    }
    world.named(&serde_json::to_string_pretty(&events).expect("JSON"))
}

fn shop_with(settings: &str, nights: usize) -> World {
    let world = World::shop(nights);
    let config = text(&world.bytes("asof.toml"));
    let job =
        "[jobs.j]\nevents = 'item_events'\ntable = 'item'\non = ['item_id=id']\noutput = 'out'\n";
    world.write(
        "asof.toml",
        format!("{config}\n{job}\n[openlineage]\n{settings}\n"),
    );
    world
}

#[test]
fn runs_are_told_to_a_file_in_the_shape_of_openlineage() {
    let mut world = shop_with("file = 'lineage/events.ndjson'\nnamespace = 'shop'", 1);
    world.night(2);
    world.succeeds("snapshot item");
    world.succeeds("compact item");
    assert_eq!(
        world.asof("backfill j --from 2024-03-01 --to 2024-03-03"),
        5
    );
    world.night(3);
    world.write("item.csv", "id,name,status,price\n");
    assert_eq!(world.asof("snapshot item"), 3);
    let told = events(&world, "lineage/events.ndjson");
    let transitions: Vec<&str> = told
        .iter()
        .map(|event| event["eventType"].as_str().expect("a type"))
        .collect();
    let expected = [
        "START", "COMPLETE", "START", "COMPLETE", "START", "FAIL", "START", "FAIL",
    ];
    assert_eq!(transitions, expected);
    for pair in told.chunks(2) {
        assert_eq!(pair[0]["run"]["runId"], pair[1]["run"]["runId"]);
    }
    assert_ne!(told[0]["run"]["runId"], told[2]["run"]["runId"]);
    // The datasets of the three runs are connected.
    let snapshots = &told[1]["outputs"][0]["name"];
    assert_eq!(snapshots, &told[2]["inputs"][0]["name"]);
    assert_eq!(snapshots, &told[4]["inputs"][1]["name"]);
    let ended = [told[1].clone(), told[5].clone()];
    world.tell(&pinned(&world, &ended));
    world.tell("what writes nothing is not told");
    world.succeeds("snapshot item --date 2024-03-01");
    world.succeeds("compact item --dry-run");
    assert_eq!(events(&world, "lineage/events.ndjson").len(), told.len());
    world.pin("lineage");
}

/// A server that answers each request with a status, and gives each whole.
fn server(status: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let connection = connection.expect("a connection");
            let mut reader = BufReader::new(connection.try_clone().expect("a handle"));
            let mut request = String::new();
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).expect("a line") == 0 || line == "\r\n" {
                    break;
                }
                let lower = line.to_lowercase();
                if let Some(bytes) = lower.strip_prefix("content-length: ") {
                    length = bytes.trim().parse().expect("a length");
                }
                request += &line;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            request += &text(&body);
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            (&connection)
                .write_all(answer.as_bytes())
                .expect("answered");
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (url, told)
}

#[test]
fn runs_are_told_to_the_server_of_the_environment_with_its_key() {
    let mut world = World::shop(0);
    let (url, told) = server("201 Created");
    world.variable("OPENLINEAGE_URL", &url);
    world.variable("OPENLINEAGE_API_KEY", "hunter2");
    world.night(1);
    world.succeeds("snapshot item");
    for transition in ["START", "COMPLETE"] {
        let request = told.recv().expect("a request");
        assert!(
            request.starts_with("POST /api/v1/lineage HTTP/1.1"),
            "{request}"
        );
        assert!(
            request
                .to_lowercase()
                .contains("authorization: bearer hunter2"),
            "{request}"
        );
        assert!(
            request.contains(&format!("\"eventType\":\"{transition}\"")),
            "{request}"
        );
    }
    world.variable("OPENLINEAGE_DISABLED", "true");
    world.night(2);
    world.succeeds("snapshot item");
    assert!(told.try_recv().is_err());
}

#[test]
fn a_server_that_cannot_be_told_fails_nothing() {
    let mut world = shop_with("url = '${LINEAGE}'\napi_key = '${KEY}'", 0);
    world.variable("KEY", "hunter2");
    let (url, told) = server("503 Service Unavailable");
    world.variable("LINEAGE", &url);
    world.call(&url, "http://[HOST]");
    world.night(1);
    world.succeeds("snapshot item");
    // Twice, and then no more.
    assert_eq!(told.try_iter().count(), 2);
    world.tell("nobody listens");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    world.variable("LINEAGE", &nobody);
    world.call(&nobody, "http://[NOBODY]");
    world.succeeds("compact item");
    world.tell("settings that are wrong");
    world.variable("LINEAGE", "marquez:5000");
    world.refuses(2, "status item");
    world.write("asof.toml", "lake = 'lake'\n");
    world.variable("OPENLINEAGE_URL", "marquez:5000");
    world.succeeds("show item --limit 1");
    world.write(
        "asof.toml",
        "lake = 'lake'\n[openlineage]\napi_key = 'hunter2'\n",
    );
    world.refuses(2, "status item");
    assert!(!world.transcript().contains("hunter2"));
    world.pin("lineage_unreachable");
}
