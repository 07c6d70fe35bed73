//! The latest row of each key of a snapshot: [`crate::domain::dedup`] has the rule.
//!
//! **Who reads what.** `asof snapshot` drops rows once, when it takes a copy; what is published has
//! one row for each key, and readers of the lake know nothing of a rule. External copies are never
//! written, so their rows are dropped each time a copy is opened ([`SnapshotTable::open`]), for
//! every command alike. A copy is then sorted before its first row is read, and all of its columns
//! are read, since rows that are equal in some columns may differ in others.
//!
//! **What is held.** The sorter's budget, twice while it sorts. Copies are read by several threads
//! at a time, so theirs is smaller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;

use super::SnapshotTable;
use crate::domain::cast::display;
use crate::domain::dedup::{Dedup, Latest, OrderedBatch, is_ordered};
use crate::domain::key_order::KeyEncoder;
use crate::domain::missing_column::missing_column;
use crate::domain::type_names::type_name;
use crate::error::{Error, Result, shorten};
use crate::storage::Batches;
use crate::storage::sorter::Sorter;

/// What a copy of an external table gathers before it spills, in bytes of Arrow buffers.
const EXTERNAL_BUDGET: usize = 32 << 20;

/// How many rows were dropped, once all are read.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Refuses a rule that rows of `schema` cannot follow. `what` has those rows, such as
/// `table item, 2024-01-01: the source`.
///
/// # Errors
/// A usage error for a column that is absent, a part of the key, or of a type without an order.
pub fn check(table: &SnapshotTable, dedup: &Dedup, schema: &Schema, what: &str) -> Result<()> {
    for column in dedup.latest_by() {
        if table.key.contains(column) {
            return Err(Error::usage(format!(
                "{what}: dedup names '{column}', which is a key column and is the same in all \
                 rows of a key"
            ))
            .hint(table.dedup_hint("latest by COLUMN")));
        }
        let field = schema
            .field_with_name(column)
            .map_err(|_| missing_column(column, schema, what))?;
        if !is_ordered(field.data_type()) {
            let name = field.name();
            let of = type_name(field.data_type());
            return Err(Error::usage(format!(
                "{what}: column '{name}' is {of}, which has no order to choose the latest row by"
            ))
            .hint("dedup takes columns of dates, times, timestamps, numbers and text"));
        }
    }
    Ok(())
}

/// The columns by which rows are sorted, so that the last row of each key is its latest.
pub fn sorted_by(table: &SnapshotTable, dedup: &Dedup) -> Vec<String> {
    table.key.iter().chain(dedup.latest_by()).cloned().collect()
}

/// The latest row of each key, of rows of `schema` in the order of [`sorted_by`]; and how many rows
/// were dropped, once all are read.
///
/// # Errors
/// A refusal for a type that has no order. The rows end with a refusal if the latest row of a key
/// is not known.
pub fn latest(
    table: &SnapshotTable,
    date: NaiveDate,
    dedup: &Dedup,
    schema: &SchemaRef,
    sorted: Batches,
) -> Result<(Batches, Dropped)> {
    let dropped = Dropped::default();
    let rows = LatestRows::new(table, date, dedup, schema, sorted, dropped.clone())?;
    Ok((Box::new(rows), dropped))
}

/// The latest row of each key of an external copy, in order of the key; it is sorted when the first
/// row is read.
pub fn latest_of_copy(
    table: &SnapshotTable,
    date: NaiveDate,
    dedup: &Dedup,
    schema: &SchemaRef,
    rows: Batches,
) -> (Batches, Dropped) {
    latest_in_memory(table, date, dedup, schema, rows, EXTERNAL_BUDGET)
}

fn latest_in_memory(
    table: &SnapshotTable,
    date: NaiveDate,
    dedup: &Dedup,
    schema: &SchemaRef,
    rows: Batches,
    budget: usize,
) -> (Batches, Dropped) {
    let dropped = Dropped::default();
    let table = table.clone();
    let dedup = dedup.clone();
    let schema = schema.clone();
    let counted = dropped.clone();
    let sorted = move || -> Result<Batches> {
        let mut sorter = Sorter::new(&sorted_by(&table, &dedup), budget);
        for batch in rows {
            sorter.push(batch?)?;
        }
        Ok(Box::new(LatestRows::new(
            &table,
            date,
            &dedup,
            &schema,
            sorter.finish(&schema)?,
            counted,
        )?))
    };
    let once = std::iter::once_with(move || {
        sorted().unwrap_or_else(|error| Box::new(std::iter::once(Err(error))))
    });
    (Box::new(once.flatten()), dropped)
}

struct LatestRows {
    keys: KeyEncoder,
    order: KeyEncoder,
    table: SnapshotTable,
    date: NaiveDate,
    dedup: Dedup,
    /// Nothing after the end.
    sorted: Option<Batches>,
    latest: Latest,
    dropped: Dropped,
}

impl LatestRows {
    fn new(
        table: &SnapshotTable,
        date: NaiveDate,
        dedup: &Dedup,
        schema: &SchemaRef,
        sorted: Batches,
        dropped: Dropped,
    ) -> Result<Self> {
        Ok(LatestRows {
            keys: KeyEncoder::new(schema, &table.key)?,
            order: KeyEncoder::new(schema, dedup.latest_by())?,
            table: table.clone(),
            date,
            dedup: dedup.clone(),
            sorted: Some(sorted),
            latest: Latest::default(),
            dropped,
        })
    }

    fn next_rows(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(sorted) = &mut self.sorted {
            let Some(rows) = sorted.next().transpose()? else {
                self.sorted = None;
                let last = self.latest.finish()?;
                return if self.latest.undecided.count > 0 {
                    Err(self.undecided())
                } else {
                    Ok(last)
                };
            };
            let keys = self.keys.encode(&rows)?;
            let order = self.order.encode(&rows)?;
            let latest = self.latest.take(OrderedBatch { rows, keys, order })?;
            self.dropped.0.store(self.latest.dropped, Ordering::Relaxed);
            if latest.num_rows() > 0 {
                return Ok(Some(latest));
            }
        }
        Ok(None)
    }

    /// The refusal of keys whose latest row is not known.
    fn undecided(&self) -> Error {
        let undecided = &self.latest.undecided;
        let columns = self.dedup.columns();
        let keys = if undecided.count == 1 {
            "key has"
        } else {
            "keys have"
        };
        let named = sorted_by(&self.table, &self.dedup);
        let shown: Vec<String> = undecided.rows.iter().map(|row| show(row, &named)).collect();
        let count = undecided.count;
        self.table
            .refuse(
                self.date,
                format!(
                    "ambiguous latest row: {count} {keys} different rows with the same latest \
                     {columns}: {}",
                    shown.join("; ")
                ),
            )
            .hint(format!(
                "correct the source, or add a column that breaks the tie: {}",
                self.table.dedup_hint(&format!("{}, COLUMN", self.dedup))
            ))
    }
}

impl Iterator for LatestRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_rows().transpose()
    }
}

/// The named columns of the first row.
fn show(row: &RecordBatch, columns: &[String]) -> String {
    let cell = |name: &String| {
        let column = row.column_by_name(name)?;
        let is_null = column.data_type() == &DataType::Null || column.is_null(0);
        Some(format!(
            "{name}={}",
            if is_null {
                "null".to_owned()
            } else {
                shorten(&display(column, 0))
            }
        ))
    };
    columns
        .iter()
        .filter_map(cell)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Float64Type, Int64Type};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::layout::Layout;
    use crate::error::Kind;
    use crate::source::{FormatRule, TypeRules};
    use crate::storage::lake::location::Location;

    /// A row: key, two columns that order it, and a column that does not.
    type Row = (i64, Option<f64>, Option<String>, i64);

    fn table() -> SnapshotTable {
        SnapshotTable {
            name: "feed".parse().expect("a name"),
            key: vec!["id".into()],
            key_is_given: false,
            root: Location::local("nowhere"),
            layout: Layout::parse("d=%Y-%m-%d").expect("a layout"),
            own: false,
            types: TypeRules::default(),
            format: FormatRule::default(),
            dated: None,
            dedup: None,
            dedup_is_given: true,
            has_source_of_dates: false,
        }
    }

    fn batch(rows: &[Row]) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let at: ArrayRef = Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.1)));
        let seq: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.clone())));
        let value: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3)));
        RecordBatch::try_from_iter_with_nullable([
            ("id", ids, true),
            ("at", at, true),
            ("seq", seq, true),
            ("v", value, true),
        ])
        .expect("a batch")
    }

    fn rows(batch: &RecordBatch) -> Vec<Row> {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let at = batch.column(1).as_primitive::<Float64Type>();
        let seq = batch.column(2).as_string::<i32>();
        let value = batch.column(3).as_primitive::<Int64Type>();
        let text = |row: usize| seq.is_valid(row).then(|| seq.value(row).to_owned());
        (0..batch.num_rows())
            .map(|row| {
                (
                    ids.value(row),
                    at.is_valid(row).then(|| at.value(row)),
                    text(row),
                    value.value(row),
                )
            })
            .collect()
    }

    /// Whether one row is later than another: null is the earliest, NaN the greatest, and zeros are
    /// equal.
    fn later(one: &Row, other: &Row) -> std::cmp::Ordering {
        let number = |value: Option<f64>| {
            value.map(|value| {
                if value.is_nan() {
                    f64::INFINITY
                } else {
                    value + 0.0
                }
            })
        };
        number(one.1)
            .partial_cmp(&number(other.1))
            .expect("an order")
            .then_with(|| one.2.cmp(&other.2))
    }

    /// Whether rows are equal, as snapshots compare them.
    fn same(one: &Row, other: &Row) -> bool {
        later(one, other).is_eq() && (one.0, one.3) == (other.0, other.3)
    }

    fn latest_of(chunks: &[&[Row]], rule: &str, budget: usize) -> (Result<Vec<Row>>, u64) {
        let rule = rule.parse().expect("a rule");
        let batches: Vec<Result<RecordBatch>> = chunks.iter().map(|rows| Ok(batch(rows))).collect();
        let schema = batch(&[]).schema();
        let date = NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date");
        let (latest, dropped) = latest_in_memory(
            &table(),
            date,
            &rule,
            &schema,
            Box::new(batches.into_iter()),
            budget,
        );
        let kept = latest
            .collect::<Result<Vec<RecordBatch>>>()
            .map(|batches| batches.iter().flat_map(rows).collect());
        (kept, dropped.rows())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_latest_row_of_each_key_is_kept_and_ties_are_refused(
            all in prop::collection::vec((
                0i64..12,
                prop::option::of(prop::sample::select(vec![-1.5, -0.0, 0.0, 2.0, 3.0, 4.0, f64::NAN])),
                prop::option::of("[ab]{0,2}"),
                0i64..3,
            ), 0..120),
            size in 1usize..40,
            budget in prop::sample::select(vec![0usize, 3000, 1 << 30]),
        ) {
            let mut expected: BTreeMap<i64, Vec<&Row>> = BTreeMap::new();
            for row in &all {
                let best = expected.entry(row.0).or_default();
                match best.first().map(|first| later(row, first)) {
                    Some(std::cmp::Ordering::Less) => {}
                    Some(std::cmp::Ordering::Equal) => best.push(row),
                    _ => *best = vec![row],
                }
            }
            let undecided = expected.values().filter(|rows| rows.iter().any(|row| !same(row, rows[0]))).count();
            let chunks: Vec<&[Row]> = all.chunks(size).collect();
            let (kept, dropped) = latest_of(&chunks, "latest by at, seq", budget);
            match kept {
                Ok(kept) => {
                    prop_assert_eq!(undecided, 0);
                    prop_assert_eq!(dropped as usize, all.len() - kept.len());
                    prop_assert_eq!(kept.len(), expected.len());
                    for (row, best) in kept.iter().zip(expected.values()) {
                        prop_assert!(same(row, best[0]), "{:?} {:?}", row, best);
                    }
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), Kind::Refused);
                    let keys = if undecided == 1 { "1 key has".to_owned() } else { format!("{undecided} keys have") };
                    prop_assert!(error.to_string().contains(&keys), "{} {}", error, undecided);
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_keys_and_values_and_a_rule_that_may_help() {
        let of = |id: i64, at: Option<f64>, v: i64| (id, at, None, v);
        let all = [
            of(1, Some(2.0), 1),
            of(1, Some(2.0), 2),
            of(2, None, 1),
            of(2, None, 2),
            of(3, Some(1.0), 1),
            of(3, Some(1.0), 1),
        ];
        let error = latest_of(&[&all], "latest by at", 1 << 30)
            .0
            .expect_err("two keys are undecided");
        assert_eq!(
            error.to_string(),
            "table feed, 2024-01-01: ambiguous latest row: 2 keys have different rows with the \
             same latest at: id=1, at=2.0; id=2, at=null"
        );
        assert_eq!(
            error.hints(),
            [
                "correct the source, or add a column that breaks the tie: --dedup 'latest \
                 by at, COLUMN'"
            ]
        );
        let later = [all.as_slice(), &[of(1, Some(3.0), 9), of(2, Some(0.0), 8)]].concat();
        let (kept, dropped) = latest_of(&[&later], "latest by at", 0);
        assert_eq!(
            kept.expect("decided"),
            [
                of(1, Some(3.0), 9),
                of(2, Some(0.0), 8),
                of(3, Some(1.0), 1)
            ]
        );
        assert_eq!(dropped, 5);
    }

    #[test]
    fn columns_that_order_nothing_are_refused() {
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(vec![1]))),
            ("updated_at", Arc::new(Int64Array::from(vec![1]))),
            ("active", Arc::new(BooleanArray::from(vec![true]))),
        ];
        let schema = RecordBatch::try_from_iter(columns)
            .expect("a batch")
            .schema();
        let check = |rule: &str| {
            check(
                &table(),
                &rule.parse().expect("a rule"),
                &schema,
                "table feed",
            )
        };
        check("latest by updated_at").expect("an integer has an order");
        for (rule, message, hint) in [
            (
                "latest by active",
                "is bool, which has no order to choose the latest row by",
                "dates, times",
            ),
            (
                "latest by updated_at, id",
                "'id', which is a key column",
                "--dedup 'latest by COLUMN'",
            ),
            (
                "latest by update_at",
                "has no column 'update_at'",
                "did you mean 'updated_at'?",
            ),
        ] {
            let error = check(rule).expect_err(rule);
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(message), "{error}");
            assert!(error.hints()[0].contains(hint), "{error:?}");
        }
    }
}
