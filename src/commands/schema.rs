//! `asof schema`: the history of each column of a table.
//!
//! What is read: the footers of the snapshots in the lake, in parallel, and of the intervals,
//! which know the columns of the snapshots that they were made from. Of another tool's files of
//! text that are not compacted yet, the rows.
//!
//! Memory: one schema a date.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::{DataType, SchemaRef};
use chrono::NaiveDate;
use serde::Serialize;

use super::Workspace;
use super::lookup::inventory;
use crate::domain::schema::by_name;
use crate::domain::type_names::type_name;
use crate::engine::as_of::TableInventory;
use crate::engine::table::SnapshotTable;
use crate::error::{Error, Result};
use crate::model::TableName;
use crate::parallel::{self, object_threads};

/// What happened to a column on a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnEvent {
    /// The first snapshot that has it.
    Appeared,
    /// Another type than in the last snapshot that has it.
    Changed,
    /// The first snapshot that lacks it.
    Absent,
    /// The first snapshot that has it again.
    Reappeared,
}

/// One event in the history of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaChange {
    /// The date of the snapshot.
    pub date: NaiveDate,
    /// What happened.
    pub event: ColumnEvent,
    /// The type from then on; none of an absent column.
    #[serde(rename = "type")]
    pub data_type: Option<String>,
}

/// The history of one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnHistory {
    /// Its name.
    pub name: String,
    /// Its type in the last snapshot that has it; `null` if it never had a value.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it belongs to the key.
    pub key: bool,
    /// Whether its type is declared.
    pub declared: bool,
    /// Whether the next snapshot is held to its type, because an earlier one had values in it; not
    /// of another tool's.
    pub pinned: bool,
    /// The first snapshot that has it.
    pub first_date: NaiveDate,
    /// The last snapshot that has it.
    pub last_date: NaiveDate,
    /// What happened to it, in order.
    pub changes: Vec<SchemaChange>,
}

/// The history of a table's columns.
#[derive(Clone, Debug, Serialize)]
pub struct SchemaReport {
    /// The table.
    pub table: TableName,
    /// How many snapshots were looked at.
    pub snapshots: u64,
    /// The first of them.
    pub first: NaiveDate,
    /// The last of them.
    pub last: NaiveDate,
    /// The columns, in the order of their first appearance.
    pub columns: Vec<ColumnHistory>,
    /// The dates whose snapshots cannot be read.
    pub unreadable: Vec<NaiveDate>,
}

/// Tells the history of a table's columns.
///
/// # Errors
/// A usage error for a table that there is not; a refusal of one without snapshots.
pub fn schema(workspace: &Workspace<'_>, table: &str) -> Result<SchemaReport> {
    let name = workspace.known(table)?;
    let inventory = inventory(workspace, &name)?;
    let (schemas, unreadable) = schemas(&inventory, |_| false)?;
    let (Some((first, _)), Some((last, _))) = (schemas.first_key_value(), schemas.last_key_value())
    else {
        let error = Error::refused(format!("table {name} has no snapshots"));
        return Err(error.hint(inventory.table.filling()));
    };
    Ok(SchemaReport {
        table: name,
        snapshots: schemas.len() as u64,
        first: *first,
        last: *last,
        columns: of_table(&inventory.table, &schemas),
        unreadable,
    })
}

/// The histories of a table's columns. The copies of dates for which `is_compacted` holds are not
/// opened: the intervals were made from them as they are, and know their columns.
///
/// # Errors
/// A refusal if the footer of the intervals names a type that is unknown.
pub(super) fn column_histories(
    inventory: &TableInventory,
    is_compacted: impl Fn(&NaiveDate) -> bool,
) -> Result<Vec<ColumnHistory>> {
    let (schemas, _) = schemas(inventory, is_compacted)?;
    Ok(of_table(&inventory.table, &schemas))
}

fn of_table(table: &SnapshotTable, schemas: &BTreeMap<NaiveDate, SchemaRef>) -> Vec<ColumnHistory> {
    let mut columns = histories(schemas);
    for column in &mut columns {
        column.key = table.key.contains(&column.name);
        column.declared = table.types.declared.contains_key(&column.name);
        column.pinned =
            table.own && !column.declared && column.data_type != type_name(&DataType::Null);
    }
    columns
}

/// The columns of each snapshot, of those in the lake and of those that only the intervals know;
/// and the dates whose snapshots cannot be read.
fn schemas(
    inventory: &TableInventory,
    is_compacted: impl Fn(&NaiveDate) -> bool,
) -> Result<(BTreeMap<NaiveDate, SchemaRef>, Vec<NaiveDate>)> {
    let TableInventory {
        table,
        found,
        intervals,
        ..
    } = inventory;
    let mut schemas = BTreeMap::new();
    for intervals in intervals.iter().flatten() {
        for (index, date) in intervals.observed().into_iter().enumerate() {
            if intervals.dropped.contains(&date) {
                continue;
            }
            schemas.insert(date, table.as_declared(&intervals.schema_of(index)?));
        }
    }
    // A footer is the snapshot's own word; another tool's files of text have none.
    let is_asked = |date: &NaiveDate| match schemas.contains_key(date) {
        true => table.own && !is_compacted(date),
        false => true,
    };
    let dates: Vec<_> = found
        .partitions
        .iter()
        .filter(|(date, _)| is_asked(date))
        .collect();
    let before = |date: &NaiveDate| {
        schemas
            .range(..date)
            .next_back()
            .map(|(_, schema)| schema.clone())
    };
    let opened = parallel::map(
        object_threads(table.root.store().is_some()),
        &dates,
        |(date, objects)| {
            table
                .open(**date, objects, before(date).as_ref())
                .map(|snapshot| snapshot.schema)
        },
    );
    let opened: Vec<_> = dates.iter().map(|(date, _)| **date).zip(opened).collect();
    let mut unreadable = Vec::new();
    for (date, schema) in opened {
        match schema {
            Ok(schema) => {
                schemas.insert(date, schema);
            }
            Err(_) => unreadable.push(date),
        }
    }
    Ok((schemas, unreadable))
}

/// The history of each column, in the order of their first appearance.
fn histories(schemas: &BTreeMap<NaiveDate, SchemaRef>) -> Vec<ColumnHistory> {
    let mut columns: Vec<ColumnHistory> = Vec::new();
    let mut known: HashSet<&str> = HashSet::new();
    for (date, schema) in schemas {
        let fields = by_name(schema);
        for column in &mut columns {
            let is_absent = column
                .changes
                .last()
                .is_some_and(|change| change.event == ColumnEvent::Absent);
            let Some(field) = fields.get(column.name.as_str()) else {
                if !is_absent {
                    column.changes.push(SchemaChange {
                        date: *date,
                        event: ColumnEvent::Absent,
                        data_type: None,
                    });
                }
                continue;
            };
            let data_type = type_name(field.data_type());
            let event = match (is_absent, data_type == column.data_type) {
                (true, _) => Some(ColumnEvent::Reappeared),
                (false, false) => Some(ColumnEvent::Changed),
                (false, true) => None,
            };
            let change = event.map(|event| SchemaChange {
                date: *date,
                event,
                data_type: Some(data_type.clone()),
            });
            column.changes.extend(change);
            (column.data_type, column.last_date) = (data_type, *date);
        }
        for field in schema.fields() {
            if !known.insert(field.name()) {
                continue;
            }
            let data_type = type_name(field.data_type());
            let appeared = SchemaChange {
                date: *date,
                event: ColumnEvent::Appeared,
                data_type: Some(data_type.clone()),
            };
            columns.push(ColumnHistory {
                name: field.name().clone(),
                data_type,
                key: false,
                declared: false,
                pinned: false,
                first_date: *date,
                last_date: *date,
                changes: vec![appeared],
            });
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::model::parse_date;

    #[test]
    fn a_column_appears_changes_goes_and_comes_back() {
        let of = |fields: &[(&str, DataType)]| -> SchemaRef {
            Arc::new(Schema::new(
                fields
                    .iter()
                    .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
                    .collect::<Vec<_>>(),
            ))
        };
        let day = |day: u32| parse_date(&format!("2024-01-0{day}")).expect("a date");
        let id = || ("id", DataType::Int64);
        let schemas = [
            (day(1), of(&[id(), ("n", DataType::Int64)])),
            (day(2), of(&[id(), ("n", DataType::Float64)])),
            (day(3), of(&[id()])),
            (day(4), of(&[id()])),
            (day(5), of(&[("n", DataType::Float64), id()])),
        ];
        let columns = histories(&schemas.into_iter().collect());
        assert_eq!(
            columns
                .iter()
                .map(|column| column.name.as_str())
                .collect::<Vec<_>>(),
            ["id", "n"]
        );
        assert_eq!(columns[0].changes.len(), 1);
        let events: Vec<_> = columns[1]
            .changes
            .iter()
            .map(|change| (change.date, change.event, change.data_type.as_deref()))
            .collect();
        use ColumnEvent::{Absent, Appeared, Changed, Reappeared};
        let expected = [
            (day(1), Appeared, Some("int64")),
            (day(2), Changed, Some("float64")),
            (day(3), Absent, None),
            (day(5), Reappeared, Some("float64")),
        ];
        assert_eq!(events, expected);
        assert_eq!(
            (columns[1].first_date, columns[1].last_date),
            (day(1), day(5))
        );
    }
}
