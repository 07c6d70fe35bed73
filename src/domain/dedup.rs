//! Which row of a key counts, where a source has several.
//!
//! A change feed has a row for each change of a key. `latest by updated_at` keeps, of the rows of
//! one key, the one with the greatest value of that column; of several columns, the first decides,
//! then the next. Null is the earliest value, and NaN the greatest number.
//!
//! A rerun must give the same result, so the order of the source decides nothing. If the latest
//! value stands in several rows that are equal, one of them is kept. If they differ, nobody can
//! tell which is later, and the rows are refused.
//!
//! The rows come sorted by key and then by those columns, so that the last row of a key is the
//! latest. Memory: a batch, and one row of the batch before.

use std::fmt;
use std::str::FromStr;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::DataType;
use arrow::row::{OwnedRow, Rows};

use super::digest::row_digests;
use crate::error::{Context, Error, Result};

/// How many keys a refusal shows.
const SHOWN: usize = 5;

/// A rule, written `latest by COLUMN` or `latest by COLUMN, COLUMN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    latest_by: Vec<String>,
}

impl Dedup {
    /// The columns whose greatest values make a row the latest, in the order in which they decide.
    pub fn latest_by(&self) -> &[String] {
        &self.latest_by
    }

    /// The columns, as sentences name them.
    pub fn columns(&self) -> String {
        self.latest_by.join(", ")
    }
}

impl FromStr for Dedup {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::usage(what)
                .hint("dedup is written 'latest by COLUMN', or 'latest by COLUMN, COLUMN'")
        };
        let columns = text
            .trim()
            .strip_prefix("latest by ")
            .map(|columns| columns.split(',').map(|column| column.trim().to_owned()));
        let latest_by: Vec<String> = columns.map(Iterator::collect).unwrap_or_default();
        if latest_by.is_empty() || latest_by.iter().any(String::is_empty) {
            return Err(wrong(format!("'{text}' is not a valid dedup rule")));
        }
        if let Some(twice) =
            (1..latest_by.len()).find(|at| latest_by[..*at].contains(&latest_by[*at]))
        {
            return Err(wrong(format!(
                "the dedup rule '{text}' names column '{}' twice",
                latest_by[twice]
            )));
        }
        Ok(Dedup { latest_by })
    }
}

impl fmt::Display for Dedup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "latest by {}", self.columns())
    }
}

impl<'de> serde::Deserialize<'de> for Dedup {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|error: Error| {
                serde::de::Error::custom(format!("{error} ({})", error.hints().join("; ")))
            })
    }
}

/// Whether values of a canonical type say which of two rows is later.
pub fn is_ordered(data_type: &DataType) -> bool {
    use DataType as T;
    let is_time = matches!(
        data_type,
        T::Date32 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) | T::Duration(_)
    );
    is_time || data_type.is_numeric() || matches!(data_type, T::Utf8 | T::Null)
}

/// Keys with different rows that are all the latest.
#[derive(Default)]
pub struct Undecided {
    /// How many keys there are.
    pub count: u64,
    /// One row of each of the first.
    pub rows: Vec<RecordBatch>,
}

/// A batch of sorted rows, with the encodings of their keys and of the columns that order rows of
/// one key.
pub struct OrderedBatch {
    /// The rows.
    pub rows: RecordBatch,
    /// The keys of the rows.
    pub keys: Rows,
    /// The columns that order rows of one key.
    pub order: Rows,
}

/// Keeps the latest row of each key, batch by batch.
#[derive(Default)]
pub struct Latest {
    /// The latest row of the last key of the batches before.
    pending: Option<Pending>,
    /// How many rows were dropped.
    pub dropped: u64,
    /// The keys whose latest row is not known.
    pub undecided: Undecided,
}

struct Pending {
    row: RecordBatch,
    key: OwnedRow,
    order: OwnedRow,
    is_undecided: bool,
}

/// The latest row so far of the key that is looked at.
#[derive(Clone, Copy)]
struct LatestRow {
    /// The row's place in the batch; none for the pending row.
    row: Option<usize>,
    is_undecided: bool,
}

impl Latest {
    /// The latest rows of the keys that a batch ends.
    ///
    /// # Errors
    /// A refusal for a type that cannot be compared.
    pub fn take(&mut self, batch: OrderedBatch) -> Result<RecordBatch> {
        let OrderedBatch { rows, keys, order } = batch;
        let Some(last) = rows.num_rows().checked_sub(1) else {
            return Ok(rows);
        };
        let pending = self.pending.take();
        let mut current = LatestRow {
            row: pending.is_none().then_some(0),
            is_undecided: pending.as_ref().is_some_and(|pending| pending.is_undecided),
        };
        let mut digests = Digests {
            rows: &rows,
            pending: pending.as_ref().map(|pending| &pending.row),
            of_rows: None,
        };
        let mut kept = Vec::new();
        for row in (0..=last).skip(usize::from(pending.is_none())) {
            let (key, value) = match (current.row, &pending) {
                (None, Some(pending)) => (pending.key.row(), pending.order.row()),
                (at, _) => {
                    let at = at.unwrap_or_default();
                    (keys.row(at), order.row(at))
                }
            };
            let same_key = key == keys.row(row);
            if !same_key {
                kept.push(current);
            } else {
                self.dropped += 1;
            }
            if same_key && value == order.row(row) {
                current.is_undecided =
                    current.is_undecided || digests.of(current.row)? != digests.of(Some(row))?;
            } else {
                current = LatestRow {
                    row: Some(row),
                    is_undecided: false,
                };
            }
        }
        let latest = self.selected(&kept, &rows, pending.as_ref())?;
        let is_undecided = current.is_undecided;
        self.pending = Some(match (current.row, pending) {
            (None, Some(pending)) => Pending {
                is_undecided,
                ..pending
            },
            (row, _) => {
                let row = row.unwrap_or_default();
                Pending {
                    row: one_row(&rows, row)?,
                    key: keys.row(row).owned(),
                    order: order.row(row).owned(),
                    is_undecided,
                }
            }
        });
        Ok(latest)
    }

    /// The rows that were kept, of a batch and the pending one.
    fn selected(
        &mut self,
        kept: &[LatestRow],
        rows: &RecordBatch,
        pending: Option<&Pending>,
    ) -> Result<RecordBatch> {
        let place = |row: Option<usize>| row.map_or((1, 0), |row| (0, row));
        let mut sources = vec![rows];
        sources.extend(pending.map(|pending| &pending.row));
        for latest in kept.iter().filter(|latest| latest.is_undecided) {
            let (source, row) = place(latest.row);
            self.undecided.add(sources[source], row)?;
        }
        if kept.is_empty() {
            return Ok(rows.slice(0, 0));
        }
        let places: Vec<(usize, usize)> = kept.iter().map(|latest| place(latest.row)).collect();
        interleave_record_batch(&sources, &places).internal_context(|| "cannot select rows".into())
    }

    /// The latest row of the last key.
    ///
    /// # Errors
    /// An internal failure.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>> {
        let Some(pending) = self.pending.take() else {
            return Ok(None);
        };
        if pending.is_undecided {
            self.undecided.add(&pending.row, 0)?;
        }
        Ok(Some(pending.row))
    }
}

impl Undecided {
    fn add(&mut self, rows: &RecordBatch, row: usize) -> Result<()> {
        self.count += 1;
        if self.rows.len() < SHOWN {
            self.rows.push(one_row(rows, row)?);
        }
        Ok(())
    }
}

/// A copy of one row, which does not keep its batch alive.
fn one_row(rows: &RecordBatch, row: usize) -> Result<RecordBatch> {
    let row = u32::try_from(row).internal_context(|| "a batch is too large".into())?;
    take_record_batch(rows, &UInt32Array::from(vec![row]))
        .internal_context(|| "cannot select rows".into())
}

/// The digests of rows, of a batch all at once, and only if one is asked for.
struct Digests<'a> {
    rows: &'a RecordBatch,
    pending: Option<&'a RecordBatch>,
    of_rows: Option<Vec<u128>>,
}

impl Digests<'_> {
    /// The digest of a row of the batch, or of the pending one.
    fn of(&mut self, row: Option<usize>) -> Result<Option<u128>> {
        let all = |rows: &RecordBatch| {
            row_digests(
                rows,
                rows.schema_ref()
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str()),
            )
        };
        match (row, self.pending) {
            (None, Some(pending)) => Ok(all(pending)?.first().copied()),
            (row, _) => {
                if self.of_rows.is_none() {
                    self.of_rows = Some(all(self.rows)?);
                }
                Ok(self
                    .of_rows
                    .as_ref()
                    .and_then(|digests| digests.get(row.unwrap_or_default()).copied()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_columns_and_nothing_else_is_a_rule() {
        let rule: Dedup = "latest by updated_at".parse().expect("a rule");
        assert_eq!(rule.latest_by(), ["updated_at"]);
        let rule: Dedup = " latest by  day ,unit price ".parse().expect("a rule");
        assert_eq!(
            (rule.latest_by().join("|"), rule.to_string()),
            ("day|unit price".into(), "latest by day, unit price".into())
        );
        for wrong in [
            "",
            "latest",
            "latest by",
            "latest by ",
            "latest by a,",
            "latest by ,a",
            "first by a",
            "latestby a",
            "a",
            "latest by a, a",
        ] {
            let error = wrong.parse::<Dedup>().expect_err(wrong);
            assert_eq!(
                error.hints(),
                ["dedup is written 'latest by COLUMN', or 'latest by COLUMN, COLUMN'"],
                "{wrong}"
            );
        }
    }

    #[test]
    fn times_numbers_and_text_have_an_order_and_nothing_else_has() {
        use crate::domain::type_names::parse_type;
        let ordered = |name: &str| is_ordered(&parse_type(name).expect(name));
        for name in [
            "date",
            "time",
            "timestamp",
            "timestamp(ns, UTC)",
            "duration(us)",
            "int8",
            "uint64",
            "float32",
            "decimal(38, 2)",
            "text",
        ] {
            assert!(ordered(name), "{name}");
        }
        for name in [
            "bool",
            "binary",
            "list<int64>",
            "struct<a: int64>",
            "map<text, int64>",
        ] {
            assert!(!ordered(name), "{name}");
        }
    }
}
