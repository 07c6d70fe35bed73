//! OpenLineage events: what a run read and wrote, in the shape of OpenLineage 2-0-2.
//!
//! A run has two events. START has what the run is for; COMPLETE or FAIL has what came of it. The
//! names of datasets follow OpenLineage's conventions: a file has the namespace `file` and its
//! absolute path, an object the URL of its bucket and its key.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

/// What wrote the events.
const PRODUCER: &str = concat!("urn:asof:", env!("CARGO_PKG_VERSION"));
/// The schema of an event.
const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// The transition of a run that an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunTransition {
    /// It begins.
    Start,
    /// It succeeded.
    Complete,
    /// It failed.
    Fail,
}

impl RunTransition {
    fn name(self) -> &'static str {
        match self {
            RunTransition::Start => "START",
            RunTransition::Complete => "COMPLETE",
            RunTransition::Fail => "FAIL",
        }
    }
}

/// A run of a job, in OpenLineage's sense: of a command for one table, or of a job of `asof.toml`.
#[derive(Clone, Debug)]
pub struct LineageRun {
    /// The id, a UUID.
    pub id: String,
    /// The namespace of the job.
    pub namespace: String,
    /// The name of the job, such as `snapshot.item`.
    pub name: String,
    /// What kind of job it is, such as `SNAPSHOT`.
    pub kind: &'static str,
    /// The first and the last date that it is for.
    pub dates: Option<(NaiveDate, NaiveDate)>,
}

/// A dataset that a run reads or writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineageDataset {
    /// The namespace, such as `file` or `s3://bucket`.
    pub namespace: String,
    /// The name within it.
    pub name: String,
    /// The columns, each with its type; empty if they are not known.
    pub columns: Vec<(String, String)>,
    /// How many rows were read or written, if that is known.
    pub rows: Option<u64>,
    /// How many bytes they have.
    pub bytes: Option<u64>,
    /// In how many files they are.
    pub files: Option<u64>,
}

impl LineageRun {
    /// The event of a transition at a time.
    pub fn event(
        &self,
        transition: RunTransition,
        at: DateTime<Utc>,
        inputs: &[LineageDataset],
        outputs: &[LineageDataset],
        error: Option<&str>,
    ) -> Value {
        let mut of_run = Map::new();
        let engine = json!({ "version": env!("CARGO_PKG_VERSION"), "name": "asof" });
        of_run.insert(
            "processing_engine".into(),
            facet("1-1-1", "ProcessingEngineRunFacet", engine),
        );
        if let Some((from, to)) = self.dates {
            // The dates are whole days, the last one included.
            let end = to.succ_opt().unwrap_or(to);
            let times = json!({
                "nominalStartTime": format!("{from}T00:00:00Z"), "nominalEndTime": format!("{end}T00:00:00Z")
            });
            of_run.insert(
                "nominalTime".into(),
                facet("1-0-1", "NominalTimeRunFacet", times),
            );
        }
        if let Some(message) = error {
            let message = json!({ "message": message, "programmingLanguage": "Rust" });
            of_run.insert(
                "errorMessage".into(),
                facet("1-0-1", "ErrorMessageRunFacet", message),
            );
        }
        let kind =
            json!({ "processingType": "BATCH", "integration": "ASOF", "jobType": self.kind });
        json!({
            "eventType": transition.name(),
            "eventTime": at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "run": { "runId": self.id, "facets": of_run },
            "job": {
                "namespace": self.namespace,
                "name": self.name,
                "facets": { "jobType": facet("2-0-4", "JobTypeJobFacet", kind) }
            },
            "inputs": inputs.iter().map(LineageDataset::as_input).collect::<Vec<_>>(),
            "outputs": outputs.iter().map(LineageDataset::as_output).collect::<Vec<_>>(),
            "producer": PRODUCER,
            "schemaURL": EVENT,
        })
    }
}

impl LineageDataset {
    fn as_input(&self) -> Value {
        let name = "InputStatisticsInputDatasetFacet";
        self.with("inputFacets", "inputStatistics", "1-0-0", name)
    }

    fn as_output(&self) -> Value {
        let name = "OutputStatisticsOutputDatasetFacet";
        self.with("outputFacets", "outputStatistics", "1-0-2", name)
    }

    /// The dataset with its statistics under a name.
    fn with(&self, facets: &str, statistics: &str, version: &str, name: &str) -> Value {
        let mut dataset = Map::new();
        dataset.insert("namespace".into(), json!(self.namespace));
        dataset.insert("name".into(), json!(self.name));
        if !self.columns.is_empty() {
            let fields: Vec<Value> = self
                .columns
                .iter()
                .map(|(name, data_type)| json!({ "name": name, "type": data_type }))
                .collect();
            let schema = facet("1-2-0", "SchemaDatasetFacet", json!({ "fields": fields }));
            dataset.insert("facets".into(), json!({ "schema": schema }));
        }
        let counts = [
            ("rowCount", self.rows),
            ("size", self.bytes),
            ("fileCount", self.files),
        ];
        let counts: Map<String, Value> = counts
            .into_iter()
            .filter_map(|(name, count)| Some((name.to_owned(), json!(count?))))
            .collect();
        if !counts.is_empty() {
            let counts = facet(version, name, Value::Object(counts));
            dataset.insert(facets.into(), json!({ statistics: counts }));
        }
        Value::Object(dataset)
    }
}

/// A facet of a version of its own.
fn facet(version: &str, name: &str, content: Value) -> Value {
    let mut facet = json!({
        "_producer": PRODUCER,
        "_schemaURL": format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}"),
    });
    if let (Some(facet), Value::Object(content)) = (facet.as_object_mut(), content) {
        facet.extend(content);
    }
    facet
}

/// A UUID of version 7: the time in milliseconds, and 74 of the bits of a random number.
pub fn run_id(at: DateTime<Utc>, random: u128) -> String {
    let milliseconds = u128::from(at.timestamp_millis().unsigned_abs()) & 0xffff_ffff_ffff;
    let first = (random >> 64) & 0xfff;
    let second = random & 0x3fff_ffff_ffff_ffff;
    let all = milliseconds << 80 | 0x7 << 76 | first << 64 | 0x8 << 60 | second;
    let digits = format!("{all:032x}");
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_time_the_version_and_the_variant() {
        let at = "2024-03-01T02:00:00Z".parse().expect("a time");
        assert_eq!(run_id(at, 0), "018df7bd-6100-7000-8000-000000000000");
        assert_eq!(
            run_id(at, u128::MAX),
            "018df7bd-6100-7fff-bfff-ffffffffffff"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let dataset = LineageDataset {
            namespace: "file".into(),
            name: "/lake/item".into(),
            ..LineageDataset::default()
        };
        assert_eq!(
            dataset.as_output(),
            json!({ "namespace": "file", "name": "/lake/item" })
        );
        let counted = LineageDataset {
            rows: Some(3),
            ..dataset
        };
        assert_eq!(
            counted.as_output()["outputFacets"]["outputStatistics"]["rowCount"],
            3
        );
    }
}
