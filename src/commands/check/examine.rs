//! Reading the rows of a source: its columns, its first rows, its keys, and what would be refused.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::{CheckOptions, CheckReport, CheckedColumn, Opened, SHOWN, TypeOrigin};
use crate::commands::Workspace;
use crate::commands::cells::cell;
use crate::commands::snapshot::count_null_keys;
use crate::domain::column_case::twins;
use crate::domain::key_order::KeyEncoder;
use crate::domain::row_limits::Limits;
use crate::domain::schema::unify;
use crate::domain::type_names::type_name;
use crate::engine::duplicate_keys::DuplicateKeys;
use crate::engine::pins::Watch;
use crate::engine::table::dedup::{self, Dropped};
use crate::engine::table::{SnapshotTable, show_row};
use crate::error::{Context, Error, Result};
use crate::memory::SORTER_BYTES;
use crate::source::{Dialect, Format, SourceRows, TypeRules};
use crate::storage::Batches;
use crate::storage::sorter::Sorter;

/// Looks for nulls in the key, for keys that are too long, and for duplicate keys.
struct KeyCheck<'a> {
    key: &'a [String],
    columns: Vec<usize>,
    sorter: Sorter,
    nulls: u64,
    shown: Vec<String>,
    limits: Limits,
    /// The first key that is too long, as messages show it.
    long: Option<String>,
}

impl<'a> KeyCheck<'a> {
    fn new(key: &'a [String], schema: &Schema, limits: Limits) -> Option<Self> {
        let columns = key
            .iter()
            .map(|name| schema.index_of(name).ok())
            .collect::<Option<Vec<_>>>()?;
        (!key.is_empty()).then(|| KeyCheck {
            key,
            columns,
            sorter: Sorter::new(key, SORTER_BYTES),
            nulls: 0,
            shown: Vec::new(),
            limits,
            long: None,
        })
    }

    fn see(&mut self, batch: &RecordBatch) -> Result<()> {
        count_null_keys(batch, self.key, &mut self.nulls, &mut self.shown);
        let keys = batch.project(&self.columns);
        let keys = keys.io_context(|| "cannot select the key".into())?;
        if self.long.is_none() {
            let long = self.limits.first_long_key(&keys);
            self.long = long.map(|row| show_row(&keys, row));
        }
        self.sorter.push(keys)
    }

    /// What is wrong with the keys of a table, if something is.
    fn problem(
        self,
        table: &SnapshotTable,
        date: NaiveDate,
        schema: &Schema,
    ) -> Result<Option<Error>> {
        if self.nulls > 0 {
            return Ok(Some(table.null_keys(date, self.nulls, &self.shown)));
        }
        if let Some(shown) = self.long {
            return Ok(Some(table.long_key(date, &shown)));
        }
        let schema = Arc::new(
            schema
                .project(&self.columns)
                .io_context(|| "cannot select the key".into())?,
        );
        let encoder = KeyEncoder::new(&schema, self.key)?;
        let mut duplicates = DuplicateKeys::default();
        for batch in self.sorter.finish(&schema)? {
            let batch = batch?;
            duplicates.look(&batch, &encoder.encode(&batch)?, self.key);
        }
        Ok(duplicates.refusal(table, date))
    }
}

/// What is found while the rows are read.
struct Findings {
    rows: u64,
    first_rows: Vec<Vec<Option<String>>>,
    /// How many values are null, by column.
    nulls: Vec<u64>,
}

impl Findings {
    fn new(columns: usize) -> Self {
        Findings {
            rows: 0,
            first_rows: Vec::new(),
            nulls: vec![0; columns],
        }
    }

    fn see(&mut self, batch: &RecordBatch) {
        let shown = batch.num_rows().min(SHOWN - self.first_rows.len());
        self.first_rows.extend((0..shown).map(|row| {
            let columns = batch.columns().iter();
            columns.map(|column| cell(column, row)).collect()
        }));
        for (nulls, column) in self.nulls.iter_mut().zip(batch.columns()) {
            *nulls += column.logical_null_count() as u64;
        }
        self.rows += batch.num_rows() as u64;
    }
}

/// What is wrong with the key columns of a table before a row is read.
pub(super) fn missing_key_columns(
    table: &SnapshotTable,
    schema: &SchemaRef,
    what: &str,
) -> Vec<Error> {
    let is_missing = |name: &&String| schema.field_with_name(name).is_err();
    let missing = table.key.iter().filter(is_missing);
    missing
        .map(|name| table.no_key_column(name, schema, &format!("{what}: the source")))
        .collect()
}

/// The rows that count by the table's rule for duplicate keys; all of them if it has no rule or its
/// key is not there.
fn rows_that_count(
    table: Option<&SnapshotTable>,
    has_key: bool,
    label: NaiveDate,
    rows: SourceRows,
    what: &str,
) -> Result<(Batches, Option<Dropped>)> {
    match table.and_then(|table| Some((table, table.dedup.as_ref()?))) {
        Some((table, rule)) if has_key => {
            dedup::check(table, rule, &rows.schema, &format!("{what}: the source"))?;
            let (batches, dropped) =
                dedup::latest_of_copy(table, label, rule, &rows.schema, rows.batches);
            Ok((batches, Some(dropped)))
        }
        _ => Ok((rows.batches, None)),
    }
}

/// Where the type of a column comes from; `read` is the column as it was read.
fn type_origin(
    field: &Field,
    read: &Field,
    pinned: &Schema,
    rules: &TypeRules,
    format: Option<Format>,
) -> TypeOrigin {
    let carries_types = format.is_none_or(Format::carries_types);
    let pinned = pinned
        .field_with_name(field.name())
        .map(|pinned| pinned.data_type());
    match pinned {
        _ if rules.declared.contains_key(field.name()) => TypeOrigin::Declared,
        _ if rules.observed.in_folders().contains(field.name()) => TypeOrigin::Folder,
        _ if rules.csv_as_text && format.is_some_and(is_csv) => TypeOrigin::Declared,
        Ok(pinned)
            if pinned == field.data_type() && (!carries_types || read.data_type() != pinned) =>
        {
            TypeOrigin::Pinned
        }
        Ok(pinned) if pinned != &DataType::Null && !carries_types => TypeOrigin::Widened,
        _ if format.is_none() => TypeOrigin::Database,
        _ if carries_types => TypeOrigin::File,
        _ => TypeOrigin::Inferred,
    }
}

fn is_csv(format: Format) -> bool {
    matches!(format, Format::Csv | Format::Tsv)
}

/// Reads the rows.
///
/// # Errors
/// What cannot be read. What a snapshot would refuse is in the report.
pub(super) fn examine(
    workspace: &Workspace<'_>,
    options: &CheckOptions,
    mut opened: Opened,
) -> Result<CheckReport> {
    let table = opened.table.take();
    let kind = if table.is_some() { "table" } else { "events" };
    let date = opened
        .date
        .map_or_else(String::new, |date| format!(", {date}"));
    let what = format!("{kind} {}{date}", options.name);
    let label = opened.date.unwrap_or_else(|| workspace.clock.today());
    let rows = opened.take_rows();
    let read = rows.schema.clone();
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let key = table.as_ref().map(|table| table.key.clone());
    let key = key.unwrap_or_default();
    if let Some(table) = &table {
        problems.extend(missing_key_columns(table, &read, &what));
        if key.is_empty() {
            let hint = "--key COLUMN, or key = [\"COLUMN\"] in asof.toml";
            notes.push(format!("the key is unknown: {hint}"));
        }
    }
    let mut keys = KeyCheck::new(&key, &read, opened.rules.limits);
    let (batches, dropped) = rows_that_count(table.as_ref(), keys.is_some(), label, rows, &what)?;
    let pinned = opened.rules.pinned.clone();
    let pinned = pinned.unwrap_or_else(|| SchemaRef::new(Schema::empty()));
    let mut watch = table
        .as_ref()
        .map(|table| Watch::new(&read, &pinned, table));
    let mut findings = Findings::new(read.fields().len());
    for batch in batches {
        let batch = batch.map_err(|error| error.within(&what))?;
        findings.see(&batch);
        watch.iter_mut().for_each(|watch| watch.see(&batch));
        keys.iter_mut().try_for_each(|keys| keys.see(&batch))?;
    }
    let schema = watch.map_or_else(|| read.clone(), |watch| watch.schema());
    if let Some(table) = &table {
        if let Err(clash) = unify(&pinned, &schema) {
            problems.push(clash.refusal(table.name.as_str(), label));
        }
        let of_keys = keys.map(|keys| keys.problem(table, label, &read));
        problems.extend(of_keys.transpose()?.flatten());
    }
    if let Some((one, other)) = twins(&schema) {
        notes.push(format!(
            "columns '{one}' and '{other}' differ only in case; Spark, Hive and \
             BigQuery cannot distinguish them"
        ));
    }
    notes.extend(opened.rules.observed.notes());
    let dropped_rows = dropped.map(|dropped| dropped.rows());
    let columns = checked_columns(&opened, &schema, &read, &pinned, &key, &findings.nulls);
    Ok(CheckReport {
        columns,
        key,
        rows: findings.rows,
        dropped_rows,
        first_rows: findings.first_rows,
        notes,
        problems,
        ..of_files(workspace, options, kind, opened)
    })
}

/// The columns, with where their types come from.
fn checked_columns(
    opened: &Opened,
    schema: &Schema,
    read: &Schema,
    pinned: &Schema,
    key: &[String],
    nulls: &[u64],
) -> Vec<CheckedColumn> {
    let fields = schema.fields().iter().zip(read.fields()).zip(nulls);
    fields
        .map(|((field, read), nulls)| CheckedColumn {
            name: field.name().clone(),
            data_type: type_name(field.data_type()),
            type_from: type_origin(field, read, pinned, &opened.rules, opened.format),
            key: key.contains(field.name()),
            nulls: *nulls,
        })
        .collect()
}

/// What a report says of the files, without their rows.
fn of_files(
    workspace: &Workspace<'_>,
    options: &CheckOptions,
    kind: &'static str,
    opened: Opened,
) -> CheckReport {
    let first = opened
        .files
        .first()
        .filter(|_| !opened.is_standard_input)
        .map(|file| workspace.shown(&file.location));
    CheckReport {
        name: options.name.clone(),
        kind,
        source: opened.source,
        date: opened.date,
        files: opened.files.len() as u64,
        first_file: first,
        bytes: opened.files.iter().map(|file| file.size).sum(),
        format: opened.format,
        csv: if opened.format.is_some_and(is_csv) {
            opened.rules.csv.as_ref().clone()
        } else {
            Dialect::default()
        },
        read_as: opened.rules.observed.all(),
        columns: Vec::new(),
        key: Vec::new(),
        rows: 0,
        dropped_rows: None,
        first_rows: Vec::new(),
        notes: Vec::new(),
        problems: Vec::new(),
    }
}
