//! Counting what the guards of columns are about, as rows go by.
//!
//! Nulls, values that are not accepted, and the newest value are found batch by batch, in no memory
//! to speak of. Duplicate values of a column that is not the key are found by sorting the column,
//! with the key of each row, in a sorter of its own, which spills beyond its budget. Values are
//! compared as keys are: exactly, with one zero and one NaN. A null is not a duplicate.
//!
//! Memory: of each column that is `unique`, the sorter's budget; all budgets together are an eighth
//! of what may be used. Columns without guards cost nothing.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, filter_record_batch, is_not_null, max};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

use super::table::{SnapshotTable, show_key};
use crate::clock::Clock;
use crate::domain::cast::{cast_exactly, display};
use crate::domain::days::from_days;
use crate::domain::digest::cell_digests;
use crate::domain::guard::column::{ColumnFacts, ColumnGuard, Offender, Offenders};
use crate::domain::key_order::KeyEncoder;
use crate::domain::type_names::type_name;
use crate::error::{Context, Error, Result, listed, shorten, toml_key};
use crate::memory::MemoryBudget;
use crate::storage::sorter::Sorter;

/// When a snapshot was taken, for the age of its newest values.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotTime {
    /// The label.
    pub date: NaiveDate,
    /// When the rows were read, but not after the end of the label's day.
    pub instant: DateTime<Utc>,
    /// The zone in which a timestamp without zone is read.
    pub clock: Clock,
}

impl SnapshotTime {
    /// The time of the snapshot of `date` whose rows were read at `taken_at`.
    pub fn of(clock: Clock, date: NaiveDate, taken_at: DateTime<Utc>) -> Self {
        SnapshotTime {
            date,
            instant: taken_at.min(clock.end_of(date)),
            clock,
        }
    }

    /// The time as a column of a type has it: the day, the instant, or the time on the wall.
    fn of_type(&self, data_type: &DataType) -> NaiveDateTime {
        match data_type {
            DataType::Timestamp(_, Some(_)) => self.instant.naive_utc(),
            DataType::Timestamp(_, None) => self.clock.local(self.instant),
            _ => self.date.and_time(NaiveTime::MIN),
        }
    }
}

/// Counts what the guards of a table's columns are about.
pub struct ColumnCounter {
    key: Vec<String>,
    columns: Vec<CountedColumn>,
}

/// One column, and what was counted of it.
struct CountedColumn {
    name: String,
    /// Nothing of a column that is gone.
    present: Option<PresentColumn>,
    facts: ColumnFacts,
}

/// A column of the snapshot.
struct PresentColumn {
    at: usize,
    data_type: DataType,
    counts_nulls: bool,
    accepted: Option<HashSet<u128>>,
    sorter: Option<Sorter>,
    /// The newest value as the type stores it, if the age matters.
    newest: Option<Newest>,
}

#[derive(Default)]
struct Newest(Option<i64>);

impl ColumnCounter {
    /// A counter for rows of `schema`. `pinned` are the columns that the table had before.
    ///
    /// # Errors
    /// A usage error for a column that is neither in the rows nor among those before, and for a
    /// guard that does not apply to the type of its column.
    pub fn new(
        guards: &[ColumnGuard],
        table: &SnapshotTable,
        schema: &Schema,
        pinned: &Schema,
        time: SnapshotTime,
        memory: MemoryBudget,
    ) -> Result<Self> {
        let unique = guards.iter().filter(|guard| guard.unique).count();
        let budget = memory.for_each_unique_column(unique);
        let columns = guards.iter().map(|guard| {
            let name = &guard.column;
            let present = match schema.index_of(name) {
                Ok(at) => {
                    let field = schema.field(at);
                    let column = PresentColumn::new(guard, table, at, field, budget);
                    Some(column.map_err(|error| {
                        error.within(format!("table {}, column '{name}'", table.name))
                    })?)
                }
                Err(_) if pinned.index_of(name).is_ok() => None,
                Err(_) => return Err(unknown_column(table, name, schema)),
            };
            let facts = ColumnFacts {
                is_absent: present.is_none(),
                now: present
                    .as_ref()
                    .map(|column| time.of_type(&column.data_type))
                    .unwrap_or_default(),
                ..ColumnFacts::default()
            };
            Ok(CountedColumn {
                name: name.clone(),
                present,
                facts,
            })
        });
        Ok(ColumnCounter {
            key: table.key.clone(),
            columns: columns.collect::<Result<_>>()?,
        })
    }

    /// Looks at the next rows.
    ///
    /// # Errors
    /// A failure of the temporary disk.
    pub fn see(&mut self, batch: &RecordBatch) -> Result<()> {
        let key = &self.key;
        for column in &mut self.columns {
            if let Some(present) = &mut column.present {
                present.see(batch, &column.name, key, &mut column.facts)?;
            }
        }
        Ok(())
    }

    /// What was counted, in the order of the guards.
    ///
    /// # Errors
    /// A failure of the temporary disk.
    pub fn finish(self) -> Result<Vec<ColumnFacts>> {
        let ColumnCounter { key, columns } = self;
        let facts = columns.into_iter().map(|column| {
            let CountedColumn {
                name,
                present,
                mut facts,
            } = column;
            if let Some(present) = present {
                if let Some(Newest(Some(newest))) = present.newest {
                    facts.newest = Some(moment(newest, &present.data_type)?);
                }
                if let Some(sorter) = present.sorter {
                    facts.duplicates = duplicates(sorter, &name, &key)?;
                }
            }
            Ok(facts)
        });
        facts.collect()
    }
}

/// The error of a guard of a column that there is not.
fn unknown_column(table: &SnapshotTable, name: &str, schema: &Schema) -> Error {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let what = format!(
        "table {}: asof.toml has guards of column '{name}', and the source has no such column",
        table.name
    );
    Error::usage(what).hint_nearest(name, names.iter().copied(), || {
        format!("the columns are {}", listed(&names))
    })
}

impl PresentColumn {
    fn new(
        guard: &ColumnGuard,
        table: &SnapshotTable,
        at: usize,
        field: &Field,
        budget: usize,
    ) -> Result<Self> {
        let data_type = field.data_type().clone();
        let has_times = matches!(
            data_type,
            DataType::Date32 | DataType::Timestamp(..) | DataType::Null
        );
        if guard.max_age.is_some() && !has_times {
            let what = format!(
                "'max_age' is for dates and timestamps, and the column is {}",
                type_name(&data_type)
            );
            let name = toml_key(&guard.column);
            return Err(Error::usage(what).hint(format!(
                "types = {{ {name} = \"timestamp\" }} in asof.toml, if its values are timestamps"
            )));
        }
        // The check of the key finds duplicates of a column that is the whole key.
        let is_key = table.key == std::slice::from_ref(&guard.column);
        let sorter = if guard.unique && !is_key {
            let schema: SchemaRef = Arc::new(Schema::new(vec![field.clone()]));
            KeyEncoder::new(&schema, std::slice::from_ref(&guard.column)).map_err(|_| {
                Error::usage(format!(
                    "'unique' does not apply to a column of type {}",
                    type_name(&data_type)
                ))
                .hint("leave out 'unique'")
            })?;
            Some(Sorter::new(std::slice::from_ref(&guard.column), budget))
        } else {
            None
        };
        Ok(PresentColumn {
            at,
            counts_nulls: guard.max_null.is_some(),
            accepted: guard.accepted_digests(&data_type)?,
            sorter,
            newest: guard.max_age.map(|_| Newest::default()),
            data_type,
        })
    }

    fn see(
        &mut self,
        batch: &RecordBatch,
        name: &str,
        key: &[String],
        facts: &mut ColumnFacts,
    ) -> Result<()> {
        let values = cast_exactly(batch.column(self.at), &self.data_type, name)?;
        let offender = |row: usize| Offender {
            value: shorten(&display(&values, row)),
            place: show_key(batch, key, row),
        };
        facts.rows += batch.num_rows() as u64;
        if self.counts_nulls {
            let nulls = values.logical_nulls();
            let count = values.logical_null_count() as u64;
            facts.nulls.add(count, || {
                let is_null = |row: &usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row));
                offender((0..batch.num_rows()).find(is_null).unwrap_or_default())
            });
        }
        if let Some(accepted) = &self.accepted {
            // The digest of a null is zero.
            let cells = cell_digests(&values)?;
            for (row, cell) in cells.iter().enumerate() {
                if *cell != 0 && !accepted.contains(cell) {
                    facts.unaccepted.add(1, || offender(row));
                }
            }
        }
        if let (Some(Newest(newest)), DataType::Date32 | DataType::Timestamp(..)) =
            (&mut self.newest, &self.data_type)
        {
            let instants = in_integers(&values)?;
            *newest = (*newest).max(max(&instants));
        }
        match &mut self.sorter {
            Some(sorter) => push(sorter, &values, name, batch, key),
            None => Ok(()),
        }
    }
}

/// Dates or timestamps as the numbers that they are stored as.
fn in_integers(values: &ArrayRef) -> Result<Int64Array> {
    let instants =
        cast(values, &DataType::Int64).internal_context(|| "cannot compare times".into())?;
    Ok(instants.as_primitive::<Int64Type>().clone())
}

/// Gives a sorter the values of a column that are not null, each with the key of its row.
fn push(
    sorter: &mut Sorter,
    values: &ArrayRef,
    name: &str,
    batch: &RecordBatch,
    key: &[String],
) -> Result<()> {
    let schema = batch.schema_ref();
    let mut fields = vec![Field::new(name, values.data_type().clone(), true)];
    let mut columns = vec![values.clone()];
    for part in key.iter().filter(|part| *part != name) {
        if let Ok(at) = schema.index_of(part) {
            fields.push(schema.field(at).clone());
            columns.push(batch.column(at).clone());
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let doing = || "cannot take columns apart".to_owned();
    let schema = Arc::new(Schema::new(fields));
    let mut rows =
        RecordBatch::try_new_with_options(schema, columns, &options).internal_context(doing)?;
    if values.logical_null_count() > 0 {
        let present = is_not_null(values).internal_context(doing)?;
        rows = filter_record_batch(&rows, &present).internal_context(doing)?;
    }
    sorter.push(rows)
}

/// The values that several of the sorted rows have.
fn duplicates(sorter: Sorter, name: &str, key: &[String]) -> Result<Offenders> {
    let mut found = Offenders::default();
    let Some(schema) = sorter.schema().cloned() else {
        return Ok(found);
    };
    let column = [name.to_owned()];
    let encoder = KeyEncoder::new(&schema, &column)?;
    let mut last: Option<(Vec<u8>, String)> = None;
    let mut last_repeats = false;
    for batch in sorter.finish(&schema)? {
        let batch = batch?;
        let values = encoder.encode(&batch)?;
        for row in 0..batch.num_rows() {
            let value = values.row(row);
            let repeats = match (row.checked_sub(1), &last) {
                (Some(before), _) => values.row(before) == value,
                (None, Some((before, _))) => before.as_slice() == value.as_ref(),
                (None, None) => false,
            };
            if repeats && !last_repeats {
                let before = match (row.checked_sub(1), &last) {
                    (Some(before), _) => show_key(&batch, key, before),
                    (None, last) => last
                        .as_ref()
                        .map_or_else(String::new, |(_, key)| key.clone()),
                };
                found.add(1, || Offender {
                    value: shorten(&display(batch.column(0), row)),
                    place: format!("{before} and {}", show_key(&batch, key, row)),
                });
            }
            last_repeats = repeats;
        }
        if let Some(row) = batch.num_rows().checked_sub(1) {
            last = Some((
                values.row(row).as_ref().to_owned(),
                show_key(&batch, key, row),
            ));
        }
    }
    Ok(found)
}

/// A value of a type as it is shown, and when it is.
fn moment(value: i64, data_type: &DataType) -> Result<(String, NaiveDateTime)> {
    let stored: ArrayRef = Arc::new(Int64Array::from(vec![value]));
    let doing = || "cannot show a time".to_owned();
    let values = match data_type {
        DataType::Date32 => cast(&stored, &DataType::Int32).and_then(|days| cast(&days, data_type)),
        _ => cast(&stored, data_type),
    };
    let values = values.internal_context(doing)?;
    let when = match data_type {
        DataType::Timestamp(unit, _) => {
            let instant = match unit {
                TimeUnit::Second => DateTime::from_timestamp(value, 0),
                TimeUnit::Millisecond => DateTime::from_timestamp_millis(value),
                TimeUnit::Microsecond => DateTime::from_timestamp_micros(value),
                TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(value)),
            };
            instant.map(|instant| instant.naive_utc())
        }
        _ => {
            let days = i32::try_from(value).unwrap_or(i32::MAX);
            Some(from_days(days)?.and_time(NaiveTime::MIN))
        }
    };
    let when = when.ok_or_else(|| Error::refused("a timestamp is out of range"))?;
    Ok((display(&values, 0), when))
}
