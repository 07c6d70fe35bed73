//! Which columns and keys changed most, as polars counts them.
//!
//! Events are gathered as rows of a data frame and grouped there: by column, and by the digest of
//! the key, so that keys are equal under the rules of the table and not as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, RecordBatch, StringArray, StringBuilder, UInt64Array,
};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, UInt64Type};
use chrono::NaiveDate;
use polars_core::prelude::{DataFrame, PlSmallStr, PolarsResult, SortMultipleOptions};

use super::{ChangedColumn, ChangedKey};
use crate::commands::cells::cell;
use crate::domain::days::{from_days, to_days};
use crate::error::{Context, Result, shorten};
use crate::frames::{to_batches, to_frame};

/// How many columns and keys are told.
const MOST: usize = 10;

/// How many events are gathered before they become rows of the frame.
const GATHERED: usize = 65_536;

/// Counts in how many rows each column changed.
#[derive(Default)]
pub(super) struct ColumnTally(BTreeMap<String, BTreeMap<NaiveDate, u64>>);

impl ColumnTally {
    /// Counts a row in which a column changed.
    pub(super) fn see(&mut self, name: &str, date: NaiveDate) {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), BTreeMap::new());
        }
        if let Some(days) = self.0.get_mut(name) {
            *days.entry(date).or_default() += 1;
        }
    }

    /// The columns that changed in most rows.
    pub(super) fn finish(self) -> Result<Vec<ChangedColumn>> {
        let rows = || {
            let columns = self.0.iter();
            columns.flat_map(|(name, days)| days.iter().map(move |day| (name, day)))
        };
        let columns: [(&str, ArrayRef); 3] = [
            (
                "name",
                Arc::new(rows().map(|(name, _)| Some(name)).collect::<StringArray>()),
            ),
            (
                "last",
                Arc::new(
                    rows()
                        .map(|(_, (date, _))| Some(to_days(*date)))
                        .collect::<Date32Array>(),
                ),
            ),
            (
                "changes",
                Arc::new(
                    rows()
                        .map(|(_, (_, changed))| Some(*changed))
                        .collect::<UInt64Array>(),
                ),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).internal_context(doing)?;
        let frame = to_frame(&batch.schema(), [Ok(batch)], "changed columns")?;
        let top = top(&frame, &["name"], &[]).internal_context(doing)?;
        let (_, batches) = to_batches(&top)?;
        let told = batches.iter().flat_map(|batch| {
            let counts = Counts::of(batch);
            let names = text(batch, "name");
            (0..batch.num_rows()).map(move |row| ChangedColumn {
                name: names(row),
                changed: counts.changes(row),
                last_date: counts.last(row),
            })
        });
        Ok(told.collect())
    }
}

/// Counts how often each key changed: a row for each key is held.
pub(super) struct KeyTally {
    schema: SchemaRef,
    digests: Vec<u128>,
    dates: Vec<i32>,
    values: Vec<StringBuilder>,
    frame: Option<DataFrame>,
    /// How many rows the frame had when it was last grouped.
    grouped: usize,
    /// How many bytes it may have.
    most_bytes: usize,
    is_over: bool,
}

impl KeyTally {
    /// Of keys of a number of columns.
    pub(super) fn new(columns: usize, most_bytes: usize) -> Self {
        let fixed = [
            ("high", DataType::UInt64),
            ("low", DataType::UInt64),
            ("last", DataType::Date32),
            ("changes", DataType::UInt64),
        ];
        let fixed = fixed.map(|(name, data_type)| Field::new(name, data_type, true));
        let values = (0..columns).map(|at| Field::new(format!("value_{at}"), DataType::Utf8, true));
        KeyTally {
            schema: Arc::new(Schema::new(
                fixed.into_iter().chain(values).collect::<Vec<_>>(),
            )),
            digests: Vec::new(),
            dates: Vec::new(),
            values: (0..columns).map(|_| StringBuilder::new()).collect(),
            frame: None,
            grouped: 0,
            most_bytes,
            is_over: false,
        }
    }

    /// Counts that something happened to a key on a date.
    pub(super) fn see(
        &mut self,
        digest: u128,
        key: &[ArrayRef],
        row: usize,
        date: NaiveDate,
    ) -> Result<()> {
        if self.is_over {
            return Ok(());
        }
        self.digests.push(digest);
        self.dates.push(to_days(date));
        for (values, column) in self.values.iter_mut().zip(key) {
            values.append_value(shorten(&cell(column, row).unwrap_or_default()));
        }
        match self.digests.len() >= GATHERED {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Adds what was gathered to the frame, and groups it if it has doubled.
    fn flush(&mut self) -> Result<()> {
        let digests = std::mem::take(&mut self.digests);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "each half is wanted by itself"
        )]
        let half = |shift: u32| -> ArrayRef {
            Arc::new(
                digests
                    .iter()
                    .map(|digest| Some((digest >> shift) as u64))
                    .collect::<UInt64Array>(),
            )
        };
        let mut columns: Vec<ArrayRef> = vec![
            half(64),
            half(0),
            Arc::new(Date32Array::from(std::mem::take(&mut self.dates))),
            Arc::new(UInt64Array::from(vec![1; digests.len()])),
        ];
        columns.extend(
            self.values
                .iter_mut()
                .map(|values| Arc::new(values.finish()) as ArrayRef),
        );
        let batch = RecordBatch::try_new(self.schema.clone(), columns).internal_context(doing)?;
        let new = to_frame(&self.schema, [Ok(batch)], "changed keys")?;
        let mut all = match self.frame.take() {
            None => new,
            Some(mut frame) => {
                frame.vstack_mut(&new).internal_context(doing)?;
                frame
            }
        };
        if all.height() > 2 * self.grouped + GATHERED {
            all = grouped(&all, &["high", "low"], &self.value_names()).internal_context(doing)?;
            self.grouped = all.height();
            self.is_over = all.estimated_size() > self.most_bytes;
        }
        self.frame = (!self.is_over).then_some(all);
        Ok(())
    }

    fn value_names(&self) -> Vec<String> {
        let fields = self.schema.fields().iter().skip(4);
        fields.map(|field| field.name().clone()).collect()
    }

    /// The keys that changed on most dates; none if too many changed.
    pub(super) fn finish(mut self) -> Result<Option<Vec<ChangedKey>>> {
        if !self.is_over {
            self.flush()?;
        }
        let Some(frame) = &self.frame else {
            return Ok(None);
        };
        let names = self.value_names();
        let top = top(frame, &["high", "low"], &names).internal_context(doing)?;
        let (_, batches) = to_batches(&top)?;
        let told = batches.iter().flat_map(|batch| {
            let counts = Counts::of(batch);
            let values: Vec<_> = names.iter().map(|name| text(batch, name)).collect();
            (0..batch.num_rows()).map(move |row| ChangedKey {
                key: values.iter().map(|value| value(row)).collect(),
                changes: counts.changes(row),
                last_date: counts.last(row),
            })
        });
        Ok(Some(told.collect()))
    }
}

fn doing() -> String {
    "cannot count what changed most".to_owned()
}

/// One row for each group: the sum of `changes`, the greatest `last`, and the first of each of the
/// other columns, under the same names.
#[expect(
    deprecated,
    reason = "a frame's own aggregations; those of polars-lazy bring a query engine"
)]
fn grouped(frame: &DataFrame, by: &[&str], first: &[String]) -> PolarsResult<DataFrame> {
    let groups = frame.group_by_stable(by.iter().copied())?;
    let mut all = groups.clone().select(["changes"]).sum()?;
    all.rename("changes_sum", "changes".into())?;
    let mut last = groups.clone().select(["last"]).max()?;
    last.rename("last_max", "last".into())?;
    let mut columns = vec![last.column("last")?.clone()];
    if !first.is_empty() {
        let mut firsts = groups.select(first.iter().map(String::as_str)).first()?;
        for name in first {
            firsts.rename(&format!("{name}_first"), name.as_str().into())?;
            columns.push(firsts.column(name)?.clone());
        }
    }
    all.hstack_mut(&columns)?;
    let names: Vec<PlSmallStr> = frame.get_column_names_owned();
    all.select(names)
}

/// The groups with most changes, and of those with as many the one that changed last.
fn top(frame: &DataFrame, by: &[&str], first: &[String]) -> PolarsResult<DataFrame> {
    let grouped = grouped(frame, by, first)?;
    let names = by.iter().filter(|_| first.is_empty()).copied();
    let names: Vec<&str> = names.chain(first.iter().map(String::as_str)).collect();
    let order: Vec<&str> = ["changes", "last"]
        .into_iter()
        .chain(names.iter().copied())
        .collect();
    let descending: Vec<bool> = (0..order.len()).map(|at| at < 2).collect();
    let options = SortMultipleOptions::default().with_order_descending_multi(descending);
    Ok(grouped.sort(order, options)?.head(Some(MOST)))
}

/// The counts of a batch of groups.
struct Counts {
    changes: UInt64Array,
    last: Date32Array,
}

impl Counts {
    fn of(batch: &RecordBatch) -> Self {
        let column = |name: &str| batch.column_by_name(name);
        let changes = column("changes").and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let last = column("last").and_then(|column| column.as_primitive_opt::<Date32Type>());
        Counts {
            changes: changes
                .cloned()
                .unwrap_or_else(|| UInt64Array::from(vec![0; batch.num_rows()])),
            last: last
                .cloned()
                .unwrap_or_else(|| Date32Array::from(vec![0; batch.num_rows()])),
        }
    }

    fn changes(&self, row: usize) -> u64 {
        self.changes.value(row)
    }

    fn last(&self, row: usize) -> NaiveDate {
        from_days(self.last.value(row)).unwrap_or_default()
    }
}

/// The texts of a column.
fn text<'a>(batch: &'a RecordBatch, name: &str) -> impl Fn(usize) -> String + use<'a> {
    let column = batch.column_by_name(name);
    move |row| {
        column
            .and_then(|column| cell(column, row))
            .unwrap_or_default()
    }
}
