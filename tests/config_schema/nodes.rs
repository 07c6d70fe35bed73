//! The objects and values that the schema of asof.toml describes, each with a place in a file.

use serde_json::{Map, Value};

/// The name that stands for those that a user chooses, by the table of the file that has them.
const CHOSEN: [(&str, &str); 5] = [
    ("tables", "t"),
    ("events", "e"),
    ("jobs", "j"),
    ("stores", "s3"),
    ("columns", "c"),
];

/// A part of the schema.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The keys that lead to it from the top of a file.
    pub(super) path: Vec<String>,
    /// The parts of the schema that say what may stand there; references are replaced.
    pub(super) schema: Map<String, Value>,
    /// The same place in the schema's own document.
    pub(super) pointer: String,
}

impl Node {
    /// The path as messages have it.
    pub(super) fn shown(&self) -> String {
        self.path.join(".")
    }

    /// Whether the keys of the object are listed, and no others accepted.
    pub(super) fn is_closed(&self) -> bool {
        self.schema.get("additionalProperties") == Some(&Value::Bool(false))
    }

    /// The keys that it lists.
    pub(super) fn keys(&self) -> Vec<String> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties
            .map(|keys| keys.keys().cloned().collect())
            .unwrap_or_default()
    }
}

/// A part of the schema with what it refers to in its place, and where that stands.
fn resolved(root: &Value, pointer: &str) -> (Map<String, Value>, String) {
    let schema = root
        .pointer(pointer)
        .and_then(Value::as_object)
        .expect(pointer)
        .clone();
    let of_all = schema
        .get("allOf")
        .and_then(|all| all.get(0))
        .and_then(|one| one.get("$ref"));
    let Some(reference) = schema.get("$ref").or(of_all).and_then(Value::as_str) else {
        return (schema, pointer.to_owned());
    };
    let target = reference.strip_prefix('#').expect("a place in this file");
    let (mut merged, at) = resolved(root, target);
    merged.extend(
        schema
            .into_iter()
            .filter(|(key, _)| key != "allOf" && key != "$ref"),
    );
    (merged, at)
}

/// All parts of the schema that stand for something in a file, from the top down.
pub(super) fn nodes(root: &Value) -> Vec<Node> {
    let mut found = Vec::new();
    add(root, "", Vec::new(), &mut found);
    found
}

fn add(root: &Value, pointer: &str, path: Vec<String>, found: &mut Vec<Node>) {
    let (schema, at) = resolved(root, pointer);
    let below = |key: &str| {
        path.iter()
            .cloned()
            .chain([key.to_owned()])
            .collect::<Vec<_>>()
    };
    let keys = schema.get("properties").and_then(Value::as_object).cloned();
    let others = schema
        .get("additionalProperties")
        .is_some_and(Value::is_object);
    found.push(Node {
        path: path.clone(),
        schema,
        pointer: at.clone(),
    });
    for key in keys.iter().flat_map(Map::keys) {
        add(root, &format!("{at}/properties/{key}"), below(key), found);
    }
    let last = path.last().map_or("", String::as_str);
    let chosen = CHOSEN.iter().find(|(of, _)| *of == last);
    if let Some((_, name)) = chosen.filter(|_| others) {
        add(
            root,
            &format!("{at}/additionalProperties"),
            below(name),
            found,
        );
    }
}
