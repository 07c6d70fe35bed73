//! Footers: what an object says of itself, on the wire.
//!
//! A Parquet footer's key-value metadata has one entry of ours, `asof`, whose value is a JSON
//! document. It carries what a catalog would. The structs here are that document and nothing else;
//! docs/format.md describes them. A reader refuses a version it does not know rather than guess.
//!
//! Rules: intervals and outputs carry no clock, so that the same rows give the same bytes; a secret
//! never gets here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::digest::Fingerprint;
use crate::domain::gaps::GapPolicy;
use crate::domain::interval::Convention;
use crate::domain::staleness::Inputs;
use crate::domain::type_names::type_name;
use crate::domain::warehouse_columns::WarehouseColumns;
use crate::error::{Context, Error, Result};
use crate::storage::parquet::stored_types::parse_stored_type;

/// The name of our entry in the key-value metadata.
pub const KEY: &str = "asof";
/// The version of the format that this program writes.
pub const VERSION: u32 = 1;

/// What the entry holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Footer {
    /// The version of the format.
    pub format_version: u32,
    /// What the object is, and its facts.
    #[serde(flatten)]
    pub content: Content,
    /// The columns that have no value yet, or parts without one, in their own types; the file has
    /// text in the place of what has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untyped: Vec<ColumnWire>,
    /// The columns of text that have no statistics, and how many bytes their texts have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub text_bytes: BTreeMap<String, u64>,
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// A whole table on one date.
    Snapshot(SnapshotFooter),
    /// A table's intervals.
    Intervals(IntervalsFooter),
    /// The output of a job for one date.
    Output(OutputFooter),
    /// Events of many dates, joined.
    Join(JoinFooter),
    /// What a snapshot changed.
    Changes(ChangesFooter),
    /// A table's intervals as a warehouse expects them.
    Scd2(Scd2Footer),
}

/// The facts of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotFooter {
    /// The table.
    pub table: String,
    /// The date whose events should see this state.
    pub snapshot_date: NaiveDate,
    /// The key columns.
    pub key: Vec<String>,
    /// How many rows there are.
    pub rows: u64,
    /// The content of the rows.
    pub fingerprint: Fingerprint,
    /// Where the rows came from, without secrets.
    pub source: Option<String>,
    /// The source on the date of the snapshot, if it has a state for each date: the path, or the
    /// URL of the database, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated_source: Option<String>,
    /// When they were read; absent in copies that `expand` writes.
    pub taken_at: Option<DateTime<Utc>>,
    /// When it was published, if that was not in the second in which its rows were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<DateTime<Utc>>,
    /// Whether somebody said that the source held the state of a past date.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backdated: bool,
    /// The guards that were overridden, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<String>,
    /// Why a check refused the copy, in words; of a copy that waits to be published or discarded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The columns that earlier snapshots had with values and this one lacks, in the types that
    /// they had last. Without the field nothing is known of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Vec<ColumnWire>>,
    /// Which row of a key was kept, such as `latest by updated_at`; absent if a second one was
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<String>,
    /// How many rows were dropped by that rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_rows: Option<u64>,
    /// The date of the snapshot before, if that could not be read to be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<NaiveDate>,
    /// The program that wrote it.
    pub asof_version: String,
}

impl SnapshotFooter {
    /// When it was published; nothing if that is not recorded, as by `expand`.
    pub fn published_at(&self) -> Option<DateTime<Utc>> {
        self.published_at.or(self.taken_at)
    }
}

/// The facts of what a snapshot changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangesFooter {
    /// The table.
    pub table: String,
    /// The date of the snapshot.
    pub snapshot_date: NaiveDate,
    /// The key columns.
    pub key: Vec<String>,
    /// The snapshot's content.
    pub fingerprint: Fingerprint,
    /// The date of the snapshot that it is compared with.
    pub previous_date: NaiveDate,
    /// The content of that one.
    pub previous_fingerprint: Fingerprint,
    /// How many rows that one has.
    pub previous_rows: u64,
    /// The sum of the digests of its rows, modulo 2^128, as fingerprints are written.
    pub previous_sum: Fingerprint,
    /// The program that wrote it.
    pub asof_version: String,
}

/// A column of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnWire {
    /// The name of the column.
    pub name: String,
    /// The name of the column's type.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// A schema on the wire.
pub fn write_schema(schema: &Schema) -> Vec<ColumnWire> {
    schema
        .fields()
        .iter()
        .map(|field| ColumnWire {
            name: field.name().clone(),
            data_type: type_name(field.data_type()),
        })
        .collect()
}

/// A schema from the wire.
///
/// # Errors
/// A refusal for a type that is unknown.
pub fn read_schema(columns: &[ColumnWire]) -> Result<SchemaRef> {
    let fields = columns
        .iter()
        .map(|column| {
            let data_type = parse_stored_type(&column.data_type).ok_or_else(|| {
                Error::refused(format!(
                    "a footer names the type '{}', which is unknown",
                    column.data_type
                ))
            })?;
            Ok(Field::new(&column.name, data_type, true))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// A snapshot that intervals were made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedWire {
    /// The date of the snapshot.
    pub date: NaiveDate,
    /// How many rows the snapshot had.
    pub rows: u64,
    /// The content of the rows, in the types of the snapshot's schema.
    pub fingerprint: Fingerprint,
    /// The content that the snapshot's own footer says, if a declared type turned it into another
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Fingerprint>,
    /// The index of its schema in `schemas`.
    pub schema: usize,
    /// How many more rows the snapshot had, which were dropped since each was not the latest of
    /// its key.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_rows: u64,
    /// The content of the rows that the intervals gave for the date when `asof prune` read them, to
    /// delete the snapshot; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Fingerprint>,
    /// The size in bytes that the snapshot had when `asof prune` recorded the proof; absent
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned_bytes: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ObservedWire {
    /// Whether a snapshot whose footer says this fingerprint is the one that was observed.
    pub fn is(&self, fingerprint: Fingerprint) -> bool {
        self.fingerprint == fingerprint || self.stored == Some(fingerprint)
    }

    /// Whether the intervals were proven to give the snapshot back, so that it may be gone because
    /// `asof prune` deleted it.
    pub fn is_proven(&self) -> bool {
        self.proven == Some(self.fingerprint)
    }
}

/// The facts of a table's intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalsFooter {
    /// The table.
    pub table: String,
    /// The key columns.
    pub key: Vec<String>,
    /// How many intervals there are.
    pub intervals: u64,
    /// How the columns are named and ends are written.
    #[serde(flatten)]
    pub convention: ConventionWire,
    /// What a missing date means.
    #[serde(flatten)]
    pub gaps: GapsWire,
    /// Columns that were left out of the comparison.
    pub ignore: Vec<String>,
    /// The only columns that were compared; empty for all.
    pub track: Vec<String>,
    /// The condition that rows had to meet; the others count as absent.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The columns that were selected; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
    /// The snapshots they were made from, ascending.
    pub observed: Vec<ObservedWire>,
    /// The schemas those snapshots had, with declared types in the place of their own.
    pub schemas: Vec<Vec<ColumnWire>>,
    /// The types that were declared, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// Which row of a key was kept, such as `latest by updated_at`; absent if a second one was
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<String>,
    /// The program that wrote it.
    pub asof_version: String,
}

/// The facts of a table's intervals as a warehouse expects them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scd2Footer {
    /// The table.
    pub table: String,
    /// The key columns.
    pub key: Vec<String>,
    /// How many rows there are.
    pub rows: u64,
    /// How many of them are records of deletions.
    pub deletion_records: u64,
    /// How the columns of dates are named and ends are written.
    #[serde(flatten)]
    pub convention: ConventionWire,
    /// The column that marks current rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_column: Option<String>,
    /// The column of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_column: Option<String>,
    /// The column of surrogate keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surrogate_key: Option<String>,
    /// The column that marks records of deletions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_column: Option<String>,
    /// What tells the intervals that the rows are from.
    pub made_from: Fingerprint,
    /// The program that wrote it.
    pub asof_version: String,
}

impl Scd2Footer {
    /// The columns beside those of the intervals.
    pub fn columns(&self) -> WarehouseColumns {
        WarehouseColumns {
            current: self.current_column.clone(),
            version: self.version_column.clone(),
            surrogate_key: self.surrogate_key.clone(),
            deleted: self.deleted_column.clone(),
        }
    }

    /// Whether both are of the same intervals and columns, and so of the same rows.
    pub fn is_of(&self, other: &Scd2Footer) -> bool {
        self.made_from == other.made_from && self.columns() == other.columns()
    }
}

/// [`Convention`] on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConventionWire {
    /// The name of the column of first dates.
    pub start_column: String,
    /// The name of the column of ends.
    pub end_column: String,
    /// `inclusive` or `exclusive`.
    pub end: String,
    /// `9999-12-31` or `null`.
    pub open_end: String,
}

impl From<&Convention> for ConventionWire {
    fn from(convention: &Convention) -> Self {
        ConventionWire {
            start_column: convention.start_column.clone(),
            end_column: convention.end_column.clone(),
            end: if convention.exclusive {
                "exclusive"
            } else {
                "inclusive"
            }
            .into(),
            open_end: if convention.open_null {
                "null"
            } else {
                "9999-12-31"
            }
            .into(),
        }
    }
}

impl ConventionWire {
    /// The convention in memory.
    pub fn read(&self) -> Convention {
        Convention {
            start_column: self.start_column.clone(),
            end_column: self.end_column.clone(),
            exclusive: self.end == "exclusive",
            open_null: self.open_end == "null",
        }
    }
}

/// [`GapPolicy`] on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapsWire {
    /// `carry`, `error` or `split`.
    pub gaps: String,
    /// The most missing days in a row, if `carry` has a limit.
    pub max_gap: Option<u32>,
}

impl From<GapPolicy> for GapsWire {
    fn from(policy: GapPolicy) -> Self {
        let max_gap = if let GapPolicy::Carry { max_gap } = policy {
            max_gap
        } else {
            None
        };
        GapsWire {
            gaps: policy.name().into(),
            max_gap,
        }
    }
}

impl GapsWire {
    /// The policy in memory.
    pub fn read(&self) -> GapPolicy {
        match self.gaps.as_str() {
            "split" => GapPolicy::Split,
            "error" => GapPolicy::Error,
            _ => GapPolicy::Carry {
                max_gap: self.max_gap,
            },
        }
    }
}

/// The facts of events of many dates, joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinFooter {
    /// How many rows there are.
    pub rows: u64,
    /// What they were made from.
    #[serde(flatten)]
    pub inputs: Inputs,
    /// The program that wrote it.
    pub asof_version: String,
}

/// The facts of an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputFooter {
    /// The job's name.
    pub job_name: String,
    /// The date.
    pub date: NaiveDate,
    /// How many rows there are.
    pub rows: u64,
    /// What they were made from.
    #[serde(flatten)]
    pub inputs: Inputs,
    /// The hash of the job that made the rows, if somebody accepted them as those of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// The program that wrote it.
    pub asof_version: String,
}

impl Footer {
    /// A footer of the version that this program writes.
    pub fn new(content: Content) -> Self {
        Footer {
            format_version: VERSION,
            content,
            untyped: Vec::new(),
            text_bytes: BTreeMap::new(),
        }
    }

    /// A footer of a snapshot of no particular rows.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Footer::new(Content::Snapshot(SnapshotFooter {
            table: "item".into(),
            snapshot_date: NaiveDate::MIN,
            key: vec!["id".into()],
            rows: 1,
            fingerprint: Fingerprint(1),
            source: None,
            dated_source: None,
            taken_at: None,
            published_at: None,
            backdated: false,
            forced: vec![],
            refused: Vec::new(),
            absent: None,
            dedup: None,
            dropped_rows: None,
            not_compared: None,
            asof_version: "0".into(),
        }))
    }

    /// The entry's value.
    ///
    /// # Errors
    /// An internal failure.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).internal_context(|| "cannot write a footer".into())
    }

    /// Reads the entry's value.
    ///
    /// # Errors
    /// A refusal for a version of the future, or a document that asof did not write.
    pub fn from_json(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct FormatVersion {
            format_version: u32,
        }
        let damaged =
            |error: serde_json::Error| Error::damaged(format!("its footer is damaged: {error}"));
        let version: FormatVersion = serde_json::from_str(text).map_err(damaged)?;
        if version.format_version > VERSION {
            return Err(Error::refused(format!(
                "it was written in format {}, and this asof reads up to {VERSION}",
                version.format_version
            ))
            .hint("cargo install asof"));
        }
        serde_json::from_str(text).map_err(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_reads_back() {
        let footer = Footer::new(Content::Intervals(IntervalsFooter {
            table: "item".into(),
            key: vec!["id".into()],
            intervals: 3,
            convention: (&Convention {
                open_null: true,
                exclusive: true,
                ..Convention::default()
            })
                .into(),
            gaps: GapPolicy::Carry { max_gap: Some(3) }.into(),
            ignore: vec![],
            track: vec!["status".into()],
            condition: Some("status = 'ACTIVE'".into()),
            select: vec!["id".into(), "status".into()],
            observed: vec![ObservedWire {
                date: NaiveDate::MIN,
                rows: 1,
                fingerprint: Fingerprint(9),
                stored: None,
                schema: 0,
                dropped_rows: 0,
                proven: None,
                pruned_bytes: None,
            }],
            schemas: vec![vec![ColumnWire {
                name: "id".into(),
                data_type: "Int64".into(),
            }]],
            types: BTreeMap::new(),
            dedup: None,
            asof_version: "0".into(),
        }));
        let text = footer.to_json().expect("json");
        let back = Footer::from_json(&text).expect("it reads");
        assert_eq!(back, footer);
        let Content::Intervals(intervals) = back.content else {
            panic!("intervals")
        };
        assert_eq!(intervals.gaps.read(), GapPolicy::Carry { max_gap: Some(3) });
        assert!(intervals.convention.read().exclusive && intervals.convention.read().open_null);
        for policy in [GapPolicy::Split, GapPolicy::Error, GapPolicy::CARRY] {
            assert_eq!(GapsWire::from(policy).read(), policy);
        }
    }

    #[test]
    fn a_footer_of_the_future_is_refused() {
        let error =
            Footer::from_json(r#"{"format_version": 2, "kind": "hologram"}"#).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "it was written in format 2, and this asof reads up to 1"
        );
    }
}
