//! What tests of sources share.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{FormatRule, SourceRows, TypeRules, read};
use crate::error::Result;
use crate::storage::lake::location::Object;
use crate::storage::lake::partitions::local_object;

/// A file of a local disk.
pub(super) fn file(path: &Path) -> Object {
    local_object(path).expect("a file")
}

/// Reads files in the format that they tell.
pub(super) fn read_all(
    files: &[Object],
    rules: &TypeRules,
    name: Option<&str>,
) -> Result<SourceRows> {
    read(files, FormatRule::default().of(files)?, rules, name)
}

/// The rows of a batch, their values with `|` between them.
pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
    let cells = |row| {
        batch
            .columns()
            .iter()
            .map(|column| crate::domain::cast::display(column, row))
            .collect::<Vec<_>>()
    };
    (0..batch.num_rows())
        .map(|row| cells(row).join("|"))
        .collect()
}

/// What reading a file gives: its columns and rows, or why it is refused.
pub(super) fn outcome(
    path: &Path,
    rules: &TypeRules,
) -> std::result::Result<(SchemaRef, Vec<String>), String> {
    let rows = read_all(&[file(path)], rules, None);
    let read = rows.and_then(|rows| {
        let mut all = Vec::new();
        for batch in rows.batches {
            all.extend(lines(&batch?));
        }
        Ok((rows.schema, all))
    });
    read.map_err(|error| error.to_string())
}

/// Rules for text that is read alone: the types of some columns are declared, and those of the
/// others are known from the past.
pub(super) fn known_types(columns: &[(String, DataType, bool)]) -> TypeRules {
    let pinned = columns.iter().filter(|(.., is_declared)| !is_declared);
    let pinned = pinned.map(|(name, of, _)| Field::new(name, of.clone(), true));
    let declared = columns.iter();
    let declared = declared.filter(|(_, of, is_declared)| *is_declared && !of.is_null());
    TypeRules {
        pinned: Some(Arc::new(Schema::new(pinned.collect::<Vec<_>>()))),
        declared: declared
            .map(|(name, of, _)| (name.clone(), of.clone()))
            .collect(),
        is_alone: true,
        ..TypeRules::default()
    }
}

/// Types of each kind that values of text may have.
pub(super) fn scalar_types() -> Vec<DataType> {
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    vec![
        DataType::Null,
        DataType::Utf8,
        DataType::Boolean,
        DataType::Int8,
        DataType::Int64,
        DataType::UInt32,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(5, 2),
        DataType::Date32,
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        utc(TimeUnit::Nanosecond),
        DataType::Binary,
    ]
}

/// Writes columns as a Parquet or an Arrow IPC file.
pub(super) fn typed_file(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> Object {
    let path = folder.join(name);
    let rows = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .expect("columns");
    let out = std::fs::File::create(&path).expect("a file");
    if name.ends_with(".parquet") {
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(out, rows.schema(), None).expect("a writer");
        writer.write(&rows).expect("written");
        writer.close().expect("closed");
    } else {
        let mut writer =
            arrow::ipc::writer::FileWriter::try_new(out, &rows.schema()).expect("a writer");
        writer.write(&rows).expect("written");
        writer.finish().expect("closed");
    }
    file(&path)
}
