//! Pinned types: a column keeps the type that it had in the last snapshot in which it had values.
//!
//! Snapshots that lack a column, or in which it has no value, say nothing of its type. The footer
//! of a snapshot carries forward the types of columns that it lacks, so that one footer tells all.
//! Snapshots by an asof that did not do so yet are looked through from the last one backwards.
//!
//! Text is read as the pinned type ([`crate::source::TypeRules`]). Files that carry their types
//! have a type of their own, which must widen with the pinned one. It gives way to the pinned type
//! in two cases, in which no value changes: where the column has no value, and where only the unit
//! of timestamps differs and the pinned unit holds every value.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::NaiveDate;

use super::intervals::{read_schema, write_schema};
use super::table::{Snapshot, SnapshotTable};
use super::units::UnitSource;
use crate::domain::canonical_types::in_microseconds;
use crate::domain::cast::cast_exactly;
use crate::domain::schema::{by_name, with_types};
use crate::error::{Kind, Result};
use crate::storage::parquet::footer::ColumnWire;

/// The pinned types of a table's columns as of a snapshot: those that it has, and those that it
/// lacks.
///
/// # Errors
/// A failure of reading earlier snapshots, where their footers do not tell.
pub fn pins(table: &SnapshotTable, last: &Snapshot) -> Result<SchemaRef> {
    let mut pinned = Pinned::default();
    if !pinned.add(last)? {
        pinned.add_before(table, last.date)?;
    }
    Ok(pinned.schema())
}

/// The pinned types of a table's columns as of the last snapshot before a date that can be read.
///
/// # Errors
/// As [`pins`].
pub fn pins_before(table: &SnapshotTable, date: NaiveDate) -> Result<SchemaRef> {
    let mut pinned = Pinned::default();
    pinned.add_before(table, date)?;
    Ok(pinned.schema())
}

#[derive(Default)]
struct Pinned {
    fields: Vec<Field>,
    names: HashSet<String>,
}

impl Pinned {
    /// Adds what the snapshots before a date tell, from the last one backwards, until one tells of
    /// every column.
    fn add_before(&mut self, table: &SnapshotTable, date: NaiveDate) -> Result<()> {
        let earlier = table.find(None)?.partitions;
        for (date, objects) in earlier.range(..date).rev() {
            match table
                .open(*date, objects, None)
                .and_then(|snapshot| self.add(&snapshot))
            {
                Ok(true) => break,
                Err(error) if error.kind() == Kind::Io => return Err(error),
                // One that is damaged tells nothing.
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds what a snapshot tells that is earlier than all before; says whether it tells of every
    /// column.
    fn add(&mut self, snapshot: &Snapshot) -> Result<bool> {
        let absent = snapshot
            .footer
            .as_ref()
            .and_then(|footer| footer.absent.as_ref());
        let told = absent.map(|columns| read_schema(columns)).transpose()?;
        let fields = snapshot
            .schema
            .fields()
            .iter()
            .chain(told.iter().flat_map(|schema| schema.fields()));
        for field in fields.filter(|field| field.data_type() != &DataType::Null) {
            if self.names.insert(field.name().clone()) {
                self.fields.push(field.as_ref().clone());
            }
        }
        Ok(told.is_some())
    }

    fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.fields))
    }
}

/// What a footer says of the pinned columns that a snapshot of `schema` lacks.
pub fn absent_columns(pinned: &Schema, schema: &Schema) -> Vec<ColumnWire> {
    let present = by_name(schema);
    let fields = pinned
        .fields()
        .iter()
        .filter(|field| !present.contains_key(field.name().as_str()));
    write_schema(&Schema::new(fields.cloned().collect::<Vec<_>>()))
}

/// Looks at the values of columns whose types are not the pinned ones.
pub struct Watch {
    schema: SchemaRef,
    columns: BTreeMap<String, Watched>,
}

struct Watched {
    pinned: DataType,
    has_values: bool,
    /// Whether both types are timestamps.
    differs_in_unit: bool,
    /// Why the values do not fit other types, by type; nothing while they do. Only of timestamps
    /// and dates.
    misfits: Vec<(DataType, Option<String>)>,
}

impl Watch {
    /// Watches columns of a source; those whose types are declared are what they are.
    pub fn new(schema: &SchemaRef, pinned: &Schema, table: &SnapshotTable) -> Self {
        let pinned = by_name(pinned);
        let watched = |field: &Arc<Field>| {
            let own = field.data_type();
            let pinned = pinned.get(field.name().as_str())?.data_type();
            let is_free = own != pinned && !table.types.declared.contains_key(field.name());
            let others = [pinned.clone(), in_nanoseconds(own), in_microseconds(own)];
            let differs_in_unit = matches!(
                (own, pinned),
                (DataType::Timestamp(..), DataType::Timestamp(..))
            );
            let is_point = |data_type: &DataType| {
                matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
            };
            let others = others
                .into_iter()
                .filter(|other| is_point(own) && is_point(pinned) && other != own);
            let misfits = others.map(|other| (other, None)).collect();
            is_free.then(|| {
                (
                    field.name().clone(),
                    Watched {
                        pinned: pinned.clone(),
                        has_values: false,
                        differs_in_unit,
                        misfits,
                    },
                )
            })
        };
        Watch {
            schema: schema.clone(),
            columns: schema.fields().iter().filter_map(watched).collect(),
        }
    }

    /// Looks at a batch.
    pub fn see(&mut self, batch: &RecordBatch) {
        for (name, watched) in &mut self.columns {
            let Some(column) = batch.column_by_name(name) else {
                continue;
            };
            watched.see(column, name);
        }
    }

    /// The columns of the source in the types that they are written in.
    pub fn schema(&self) -> SchemaRef {
        with_types(&self.schema, |name| {
            self.columns
                .get(name)
                .filter(|watched| watched.gives_way())
                .map(|watched| &watched.pinned)
        })
    }

    /// The values, for [`super::units::settle`].
    pub fn units(&self, date: NaiveDate) -> UnitSource<'_> {
        let misfit = |column: &str, to: &DataType| {
            let of = |watched: &Watched| {
                watched
                    .misfits
                    .iter()
                    .find(|(other, _)| other == to)
                    .and_then(|(_, why)| why.clone())
            };
            Ok(self.columns.get(column).and_then(of))
        };
        UnitSource {
            date,
            schema: self.schema(),
            misfit: Box::new(misfit),
        }
    }
}

impl Watched {
    fn see(&mut self, column: &ArrayRef, name: &str) {
        self.has_values |= column.logical_null_count() < column.len();
        for (other, why) in self.misfits.iter_mut().filter(|(_, why)| why.is_none()) {
            *why = cast_exactly(column, other, name)
                .err()
                .map(|error| error.to_string());
        }
    }

    /// Whether the pinned type takes the place of the source's own.
    fn gives_way(&self) -> bool {
        let fits = || {
            self.misfits
                .iter()
                .any(|(other, why)| other == &self.pinned && why.is_none())
        };
        !self.has_values || self.differs_in_unit && fits()
    }
}

fn in_nanoseconds(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
        DataType::Date32 => DataType::Timestamp(TimeUnit::Nanosecond, None),
        other => other.clone(),
    }
}
