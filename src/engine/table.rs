//! One slowly changing table: where its snapshots are, and how they are opened.
//!
//! A table lives in the lake (a managed table), or where another tool writes, in any layout
//! and format. From here on both look alike: dates with objects, and rows of canonical types.

mod copy_content;
pub mod dedup;
mod key_errors;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use self::snapshot::SnapshotContent;
pub use self::snapshot::{Snapshot, convert};
use super::digests::{key_digests, row_digests};
use crate::domain::cast::display;
use crate::domain::dedup::Dedup;
use crate::domain::digest::{Fingerprint, RowSum};
use crate::domain::key_order::one_zero;
use crate::domain::layout::Layout;
use crate::domain::schema::with_types;
use crate::engine::dated::Dated;
use crate::error::{Error, Kind, Result, shorten, toml_key};
use crate::model::{DateRange, TableName};
use crate::parallel::footer_threads;
use crate::source::{self, Format, FormatRule, LayoutColumns, SourceRows, TypeRules};
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::partitions::{self, Found};
use crate::storage::parquet::footer::Content;
use crate::storage::parquet::object::ParquetObject;
use crate::storage::{Batches, within};

/// A table's snapshots and their place.
#[derive(Clone, Debug)]
pub struct SnapshotTable {
    /// Its name.
    pub name: TableName,
    /// Its key columns.
    pub key: Vec<String>,
    /// Whether the command line names them, so that a wrong one is the command's mistake and not
    /// the data's.
    pub key_is_given: bool,
    /// The root of its snapshots.
    pub root: Location,
    /// Their layout.
    pub layout: Layout,
    /// Whether they are asof's own, with footers, or another tool's.
    pub own: bool,
    /// Types that are declared. They apply to every snapshot: one that was written in other types
    /// is converted as it is read.
    pub types: TypeRules,
    /// The format of files that another tool wrote.
    pub format: FormatRule,
    /// The files that they are split from, if a column tells their dates. `layout`, `types` and
    /// `format` are those of the split rows.
    pub dated: Option<Arc<Dated>>,
    /// Which row of a key counts, if a source or an external copy may have several.
    pub dedup: Option<Dedup>,
    /// Whether the command line has the last word on it, so that a hint names the option.
    pub dedup_is_given: bool,
    /// Whether its source has a state for each date, so that a missing snapshot can be taken later.
    pub has_source_of_dates: bool,
}

impl SnapshotTable {
    /// Finds the snapshots of a range, or all of them.
    ///
    /// # Errors
    /// A usage error if there is no such place; a failure if it cannot be listed.
    pub fn find(&self, range: Option<DateRange>) -> Result<Found> {
        let found = self.find_any(range)?;
        if self.own {
            for (date, objects) in &found.partitions {
                if objects.len() > 1 {
                    return Err(self.refuse(
                        *date,
                        format!(
                            "expected one snapshot file, found {}: {}",
                            objects.len(),
                            objects[1].location
                        ),
                    ));
                }
            }
        }
        Ok(found)
    }

    /// Like [`SnapshotTable::find`], but a date of the lake may have several files.
    ///
    /// # Errors
    /// As [`SnapshotTable::find`].
    pub fn find_any(&self, range: Option<DateRange>) -> Result<Found> {
        match (&self.dated, self.own) {
            (_, true) => partitions::find_if_there(&self.root, &self.layout, range),
            (Some(dated), false) => dated.find(range),
            (None, false) => {
                let found = partitions::find(&self.root, &self.layout, range);
                found.map_err(|error| match error.kind() {
                    // There is no such folder.
                    Kind::Usage => error
                        .within(format!("table {}", self.name))
                        .hint(self.filling()),
                    _ => error,
                })
            }
        }
    }

    /// Finds the latest snapshot that is not after a date, and what lies near it: the month before
    /// the date, then the year, then all. If no snapshot is early enough, all there are.
    ///
    /// # Errors
    /// As [`SnapshotTable::find`].
    pub fn find_latest(&self, date: NaiveDate) -> Result<Partitions> {
        if self.dated.is_some() {
            return Ok(self.find(None)?.partitions);
        }
        partitions::find_latest(date, |range| self.find(range))
    }

    /// Columns in the types that are declared for the table.
    pub fn as_declared(&self, schema: &SchemaRef) -> SchemaRef {
        with_types(schema, |name| self.types.declared.get(name))
    }

    /// How many threads read the table's footers and other small things at a time.
    pub fn footer_threads(&self) -> usize {
        footer_threads(self.root.store().is_some())
    }

    /// A refusal that names the table and a date.
    pub fn refuse(&self, date: NaiveDate, what: impl std::fmt::Display) -> Error {
        Error::refused(format!("table {}, {date}: {what}", self.name))
    }

    /// Opens one snapshot. `pinned` are the types of the one before, for text formats.
    ///
    /// # Errors
    /// A refusal if it is damaged, lacks a key column, or, in the lake, its footer.
    pub fn open(
        &self,
        date: NaiveDate,
        objects: &[Object],
        pinned: Option<&SchemaRef>,
    ) -> Result<Snapshot> {
        let snapshot = if self.own {
            self.open_own(date, objects)?
        } else {
            self.open_external(date, objects, pinned)?
        };
        self.check_key_columns(&snapshot)?;
        match &self.dedup {
            Some(rule) => self.latest_of(snapshot, rule),
            None => Ok(snapshot),
        }
    }

    /// Opens a snapshot of the lake.
    fn open_own(&self, date: NaiveDate, objects: &[Object]) -> Result<Snapshot> {
        let place = format!("table {}, {date}", self.name);
        let at = |error: Error| error.within(&place);
        let [object] = objects else {
            return Err(self.refuse(date, "there is no snapshot"));
        };
        let object = ParquetObject::open_listed(object).map_err(at)?;
        let Some(Content::Snapshot(footer)) =
            object.footer().map_err(at)?.map(|footer| footer.content)
        else {
            let what = format!("'{}' was not written by asof snapshot", object.location());
            return Err(self.refuse(date, what));
        };
        if footer.snapshot_date != date || footer.table != self.name.as_str() {
            let what = format!(
                "'{}' says that it is {} of {}",
                object.location(),
                footer.table,
                footer.snapshot_date
            );
            return Err(self.refuse(date, what));
        }
        Ok(Snapshot {
            date,
            schema: self.as_declared(object.schema()),
            footer: Some(footer),
            dropped: None,
            table: self.name.clone(),
            content: SnapshotContent::Own(object),
        })
    }

    /// Opens a copy that another tool wrote.
    fn open_external(
        &self,
        date: NaiveDate,
        objects: &[Object],
        pinned: Option<&SchemaRef>,
    ) -> Result<Snapshot> {
        let place = format!("table {}, {date}", self.name);
        let at = |error: Error| error.within(&place);
        // A column may be absent on a date, though its type is declared.
        let rules = TypeRules {
            pinned: pinned.cloned(),
            external: true,
            layout: LayoutColumns::of_table(&self.layout),
            ..self.types.clone()
        };
        let format = self.format_of(objects).map_err(at)?;
        let rows = source::read(objects, format, &rules, None).map_err(at)?;
        let schema = rows.schema.clone();
        let rows = SourceRows {
            batches: within(rows.batches, place),
            ..rows
        };
        Ok(Snapshot {
            date,
            schema,
            footer: None,
            dropped: None,
            table: self.name.clone(),
            content: SnapshotContent::External(rows, objects.to_vec(), format, rules),
        })
    }

    /// Refuses a snapshot without one of the key's columns, and a key with the dates of the copies.
    fn check_key_columns(&self, snapshot: &Snapshot) -> Result<()> {
        let dates = self.dated.as_ref().map(|dated| &dated.column.name);
        for key in &self.key {
            if dates == Some(key) {
                let what = format!(
                    "table {}: column '{key}' holds the dates of the copies, and cannot be in the \
                     key",
                    self.name
                );
                return Err(Error::usage(what).hint(self.key_hint("COLUMN[,COLUMN]", "\"COLUMN\"")));
            }
            if snapshot.schema.field_with_name(key).is_err() {
                let what = format!("table {}, {}: the snapshot", self.name, snapshot.date);
                return Err(self.no_key_column(key, &snapshot.schema, &what));
            }
        }
        Ok(())
    }

    /// An external copy with the latest row of each key alone. Those of asof's own have no other.
    fn latest_of(&self, snapshot: Snapshot, rule: &Dedup) -> Result<Snapshot> {
        let date = snapshot.date;
        let SnapshotContent::External(rows, ..) = snapshot.content else {
            return Ok(snapshot);
        };
        dedup::check(
            self,
            rule,
            &rows.schema,
            &format!("table {}, {date}: the snapshot", self.name),
        )?;
        let (batches, dropped) =
            dedup::latest_of_copy(self, date, rule, &rows.schema, rows.batches);
        Ok(Snapshot {
            dropped: Some(dropped),
            content: SnapshotContent::Latest(SourceRows {
                batches,
                count: None,
                ..rows
            }),
            ..snapshot
        })
    }

    /// The format of the files of one snapshot.
    ///
    /// # Errors
    /// As [`FormatRule::of`].
    pub fn format_of(&self, objects: &[Object]) -> Result<Format> {
        if self.own {
            Ok(Format::Parquet)
        } else {
            self.format.of(objects)
        }
    }

    /// What to do if it has no snapshots.
    pub fn filling(&self) -> String {
        let name = &self.name;
        match self.own {
            true => format!("asof snapshot {name} --source FILE --key COLUMN"),
            false => {
                let (told_by, example) = match self.dated {
                    Some(_) => ("date column", "date_column = \"COLUMN\""),
                    None => ("layout", "layout = \"LAYOUT\""),
                };
                let section = toml_key(name.as_str());
                format!(
                    "check the path and the {told_by} of the copies: [tables.{section}] snapshots \
                     = \"PATH\", {example} in asof.toml"
                )
            }
        }
    }

    /// What to write to have the latest row of each key, by `rule`.
    pub fn dedup_hint(&self, rule: &str) -> String {
        match self.dedup_is_given {
            true => format!("--dedup '{rule}'"),
            false => format!(
                "[tables.{}] dedup = \"{rule}\" in asof.toml",
                toml_key(self.name.as_str())
            ),
        }
    }

    /// What to write if a change feed has several rows for one key.
    pub fn latest_hint(&self) -> String {
        format!(
            "to keep the latest row of each key: {}",
            self.dedup_hint("latest by COLUMN")
        )
    }

    /// What tells a snapshot from another one of its date: the fingerprint that its footer says, or
    /// else the one that its rows give.
    ///
    /// # Errors
    /// A failure or refusal of reading.
    pub fn fingerprint(
        &self,
        date: NaiveDate,
        objects: &[Object],
        pinned: Option<&SchemaRef>,
    ) -> Result<Fingerprint> {
        let snapshot = self.open(date, objects, pinned)?;
        if let Some(footer) = &snapshot.footer {
            return Ok(footer.fingerprint);
        }
        content(snapshot.read_as_dictionaries()?)
    }

    /// The key columns of a batch, in one form for equal values.
    ///
    /// # Errors
    /// A refusal that counts the rows with a null in their key and shows up to five.
    pub fn key_columns(&self, batch: &RecordBatch, date: NaiveDate) -> Result<Vec<ArrayRef>> {
        let columns: Vec<ArrayRef> = self
            .key
            .iter()
            .filter_map(|key| batch.column_by_name(key))
            .map(one_zero)
            .collect();
        if columns.iter().any(|column| column.logical_null_count() > 0) {
            self.keys(batch, date)?;
        }
        Ok(columns)
    }

    /// The digests of the keys of a batch.
    ///
    /// # Errors
    /// A refusal that counts the rows with a null in their key and shows up to five.
    pub fn keys(&self, batch: &RecordBatch, date: NaiveDate) -> Result<Vec<u128>> {
        let columns = self
            .key
            .iter()
            .filter_map(|key| batch.column_by_name(key).cloned())
            .collect::<Vec<_>>();
        let digests = key_digests(&columns)?;
        let nulls: Vec<usize> = (0..digests.len())
            .filter(|row| digests[*row].is_none())
            .collect();
        if nulls.is_empty() {
            return Ok(digests.into_iter().flatten().collect());
        }
        Err(self.null_keys(
            date,
            nulls.len() as u64,
            &nulls
                .iter()
                .take(5)
                .map(|row| show_row(batch, *row))
                .collect::<Vec<_>>(),
        ))
    }
}

/// The fingerprint of rows.
///
/// # Errors
/// A failure or refusal of reading.
pub fn content(rows: Batches) -> Result<Fingerprint> {
    let mut sum = RowSum::default();
    for batch in rows {
        sum.add(&all_digests(&batch?)?);
    }
    Ok(sum.fingerprint())
}

/// The digests of rows over all of their columns, which fingerprints are made of.
///
/// # Errors
/// A refusal for a type that cannot be compared.
pub fn all_digests(batch: &RecordBatch) -> Result<Vec<u128>> {
    row_digests(
        batch,
        batch
            .schema_ref()
            .fields()
            .iter()
            .map(|field| field.name().as_str()),
    )
}

/// The key of a row, as errors show it: `id=7` or `id=7, region=EU`.
pub fn show_key(batch: &RecordBatch, key: &[String], row: usize) -> String {
    let parts = key.iter().filter_map(|name| {
        Some(format!(
            "{name}={}",
            shorten(&display(batch.column_by_name(name)?, row))
        ))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The first columns of a row, as errors show it.
pub(crate) fn show_row(batch: &RecordBatch, row: usize) -> String {
    let cell = |(field, column): (&arrow::datatypes::FieldRef, &arrow::array::ArrayRef)| {
        let value = if column.is_null(row) {
            "null".to_owned()
        } else {
            shorten(&display(column, row))
        };
        format!("{}={value}", field.name())
    };
    batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .take(4)
        .map(cell)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The objects of each date.
pub type Partitions = BTreeMap<NaiveDate, Vec<Object>>;
