//! The hash of a job: of all that its results depend on besides events and snapshots.
//!
//! The hash is in the footer of every output. So the document that is hashed stays what it is, to
//! the byte: a part that came later is only in it where a job has that part.
//!
//! Comments and white space in SQL do not count. Earlier programs hashed the text as it is written,
//! and outputs with that hash are of this job, too.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::job::{ResolvedJob, Work};
use crate::domain::type_names::type_name;
use crate::engine::as_of::TableHistory;
use crate::source::Dialect;
use crate::storage::parquet::footer::{ConventionWire, GapsWire};
use crate::storage::parquet::stored_types::arrow_name;

/// The hash of a job.
#[derive(Default)]
pub(super) struct JobHash {
    /// What outputs record.
    pub(super) current: String,
    /// What earlier programs recorded for the same text.
    former: String,
}

impl JobHash {
    /// What earlier programs recorded.
    #[cfg(all(test, feature = "sql"))]
    pub(super) fn former(&self) -> &str {
        &self.former
    }

    /// Whether what an output recorded is the hash of this job.
    pub(super) fn is(&self, recorded: &str) -> bool {
        recorded == self.current || recorded == self.former
    }
}

impl ResolvedJob {
    /// The hash of all that the result depends on besides events and snapshots.
    pub(super) fn hash(&self) -> JobHash {
        let one = |work: Value| {
            let hash = self.hash_of(&work, Value::Null);
            JobHash {
                former: hash.clone(),
                current: hash,
            }
        };
        match &self.work {
            #[cfg(feature = "sql")]
            Work::Sql(sql) => {
                let of = |sql: &str| self.hash_of(&json!({ "sql": sql }), self.zone_to_hash(sql));
                JobHash {
                    current: of(&crate::engine::sql::normal_form(sql)),
                    former: of(sql.trim()),
                }
            }
            Work::Join(spec, table) => one(json!({ "join": spec, "table": table })),
            Work::Command(work) => one(json!(work.definition)),
        }
    }

    fn hash_of(&self, work: &Value, zone: Value) -> String {
        let mut document = json!({
            "work": work,
            "events": self.event_types_to_hash(),
            "keys": self.keys_to_hash(),
        });
        let parts = [
            ("tables", self.table_types_to_hash()),
            ("csv_as_text", self.text_events_to_hash()),
            ("names", self.names_to_hash()),
            ("intervals", self.intervals_to_hash()),
            ("timezone", zone),
            ("csv", self.dialects_to_hash()),
            ("date_columns", self.date_columns_to_hash()),
        ];
        for (name, part) in parts.into_iter().filter(|(_, part)| !is_empty(part)) {
            document[name] = part;
        }
        format!("{:032x}", xxh3_128(document.to_string().as_bytes()))
    }

    fn event_types_to_hash(&self) -> Value {
        let types = |events: &BTreeMap<String, DataType>| -> BTreeMap<String, String> {
            events
                .iter()
                .map(|(name, data_type)| (name.clone(), type_name(data_type)))
                .collect()
        };
        let events = self.events.iter();
        let all: BTreeMap<&str, BTreeMap<String, String>> = events
            .map(|events| (events.name.as_str(), types(&events.types.declared)))
            .collect();
        json!(all)
    }

    fn keys_to_hash(&self) -> Value {
        let keys: BTreeMap<&str, &[String]> = self
            .tables
            .iter()
            .map(|(name, history)| (name.as_str(), history.table.key.as_slice()))
            .collect();
        json!(keys)
    }

    fn table_types_to_hash(&self) -> Value {
        let types = |history: &TableHistory| -> BTreeMap<String, String> {
            let declared = history.table.types.declared.iter();
            declared
                .map(|(name, data_type)| (name.clone(), arrow_name(data_type)))
                .collect()
        };
        let all: BTreeMap<&str, BTreeMap<String, String>> = self
            .tables
            .iter()
            .filter(|(_, history)| !history.table.types.declared.is_empty())
            .map(|(name, history)| (name.as_str(), types(history)))
            .collect();
        json!(all)
    }

    fn text_events_to_hash(&self) -> Value {
        let as_text: Vec<&str> = self
            .events
            .iter()
            .filter(|events| events.types.csv_as_text)
            .map(|events| events.name.as_str())
            .collect();
        json!(as_text)
    }

    fn names_to_hash(&self) -> Value {
        let renamed: BTreeMap<&str, String> = self
            .relations
            .iter()
            .map(|relation| (relation.name.as_str(), relation.reads.own_name()))
            .filter(|(name, own)| name != own)
            .collect();
        json!(renamed)
    }

    fn intervals_to_hash(&self) -> Value {
        let made = |history: &TableHistory| {
            let settings = &history.settings()?.settings;
            let mut made = vec![
                json!(ConventionWire::from(&settings.convention)),
                json!(GapsWire::from(settings.policy)),
                json!(settings.comparison.ignore),
                json!(settings.comparison.track),
            ];
            let selection = &settings.selection;
            if !selection.is_whole() {
                made.push(json!({ "where": selection.condition, "select": selection.select }));
            }
            Some(Value::Array(made))
        };
        let all: BTreeMap<&str, Value> = self
            .tables
            .iter()
            .filter_map(|(name, history)| Some((name.as_str(), made(history)?)))
            .collect();
        json!(all)
    }

    /// The zone, of a query that has placeholders for the beginning or the end of the day.
    #[cfg(feature = "sql")]
    fn zone_to_hash(&self, sql: &str) -> Value {
        let sql = sql.to_ascii_lowercase();
        if sql.contains("{start") || sql.contains("{end") {
            json!(self.zone.name())
        } else {
            Value::Null
        }
    }

    fn dialects_to_hash(&self) -> Value {
        let dialects: BTreeMap<&str, &Dialect> = self
            .events
            .iter()
            .filter(|events| !events.types.csv.is_default())
            .map(|events| (events.name.as_str(), events.types.csv.as_ref()))
            .collect();
        json!(dialects)
    }

    fn date_columns_to_hash(&self) -> Value {
        let dated: BTreeMap<&str, Value> = self
            .events
            .iter()
            .filter_map(|events| {
                let (dated, _) = events.dated.as_ref()?;
                Some((events.name.as_str(), dated.column.in_json()))
            })
            .collect();
        json!(dated)
    }
}

/// Whether a job does not have a part.
fn is_empty(part: &Value) -> bool {
    match part {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
