//! What an audit of versions finds: how often, and a few examples that name key, column and value.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::Serialize;

use crate::domain::cast::display;
use crate::engine::table::show_key;
use crate::error::shorten;

/// How many examples are shown.
const SHOWN: usize = 5;

/// What is found. The first ones keep a table from being adopted; the others are facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// A version without a key.
    NullKey,
    /// A version without a beginning.
    NullStart,
    /// A version that ends before it begins.
    EndBeforeStart,
    /// A version that begins before another one of its key ends.
    Overlap,
    /// A row that is there twice, in every column.
    Duplicate,
    /// A mark of current versions that contradicts the end.
    WrongCurrentMark,
    /// A version that begins or ends after today.
    Future,
    /// A key that was absent at the end of some days, and came back.
    Absence,
    /// A version that says that its key was deleted.
    DeletionRecord,
    /// A key without a version on the last day.
    DeletedKey,
    /// A version that did not hold at the end of any day.
    WithinADay,
    /// A version that ended as it began.
    Empty,
    /// A version with the attributes of the one before, which it follows at once.
    Unchanged,
    /// A version that began before the tool's first run, at an instant that is not known.
    UnknownStart,
    /// A version outside of the range of dates that is asked for.
    OutsideOfRange,
}

impl AuditKind {
    /// Whether it keeps a table from being adopted.
    pub fn is_problem(self) -> bool {
        self <= AuditKind::Future
    }

    /// What is said of one, and of several.
    pub fn in_words(self) -> [&'static str; 2] {
        match self {
            AuditKind::NullKey => [
                "version has a null in its key",
                "versions have a null in their key",
            ],
            AuditKind::NullStart => ["version has no start", "versions have no start"],
            AuditKind::EndBeforeStart => [
                "version ends before it starts",
                "versions end before they start",
            ],
            AuditKind::Overlap => [
                "version starts before another one of its key ends",
                "versions start before another one of their key ends",
            ],
            AuditKind::Duplicate => [
                "row repeats another one in every column",
                "rows repeat another one in every column",
            ],
            AuditKind::WrongCurrentMark => [
                "version has a mark that contradicts its end",
                "versions have a mark that contradicts their end",
            ],
            AuditKind::Future => [
                "version starts or ends after today",
                "versions start or end after today",
            ],
            AuditKind::Absence => [
                "absence: the key was deleted and came back",
                "absences: keys were deleted and came back",
            ],
            AuditKind::DeletionRecord => ["record of a deletion", "records of deletions"],
            AuditKind::DeletedKey => [
                "key is gone on the last date",
                "keys are gone on the last date",
            ],
            AuditKind::WithinADay => [
                "version did not last to the end of a day; the last one of the day counts",
                "versions did not last to the end of a day; the last one of the day counts",
            ],
            AuditKind::Empty => [
                "version ended as it started",
                "versions ended as they started",
            ],
            AuditKind::Unchanged => [
                "version changes nothing, and goes on the one before it",
                "versions change nothing, and go on the one before them",
            ],
            AuditKind::UnknownStart => [
                "version starts at 1970-01-01, before the first run",
                "versions start at 1970-01-01, before the first run",
            ],
            AuditKind::OutsideOfRange => [
                "version is outside of the range of dates",
                "versions are outside of the range of dates",
            ],
        }
    }
}

/// One of what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditExample {
    /// The key, such as `id=7`; the first columns of the row if it has none.
    pub key: String,
    /// The column that tells it.
    pub column: String,
    /// The value of that column; empty for null.
    pub value: String,
    /// What it contradicts, or what follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// All of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditFinding {
    /// The kind.
    pub kind: AuditKind,
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<AuditExample>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Scd2Findings(BTreeMap<AuditKind, AuditFinding>);

impl Scd2Findings {
    /// Counts one; the example is made only if it is shown.
    pub(super) fn add(&mut self, kind: AuditKind, example: impl FnOnce() -> AuditExample) {
        let example = self.shows(kind).then(example);
        self.add_example(kind, example);
    }

    /// Whether one more of a kind would be shown.
    pub(super) fn shows(&self, kind: AuditKind) -> bool {
        let finding = self.0.get(&kind);
        finding.is_none_or(|finding| finding.examples.len() < SHOWN)
    }

    /// Counts one.
    pub(super) fn add_example(&mut self, kind: AuditKind, example: Option<AuditExample>) {
        let finding = self.0.entry(kind).or_insert_with(|| AuditFinding {
            kind,
            count: 0,
            examples: Vec::new(),
        });
        finding.count += 1;
        finding.examples.extend(example);
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: AuditKind) -> u64 {
        self.0.get(&kind).map_or(0, |finding| finding.count)
    }

    /// What keeps the table from being adopted, and what does not.
    pub fn into_parts(self) -> (Vec<AuditFinding>, Vec<AuditFinding>) {
        let findings = self.0.into_values();
        findings.partition(|finding| finding.kind.is_problem())
    }
}

/// An example of a row.
pub(super) fn example(
    batch: &RecordBatch,
    key: &[String],
    row: usize,
    column: &str,
    note: Option<String>,
) -> AuditExample {
    let value = batch.column_by_name(column);
    AuditExample {
        key: show_key(batch, key, row),
        column: column.to_owned(),
        value: value.map_or_else(String::new, |value| shorten(&display(value, row))),
        note,
    }
}
