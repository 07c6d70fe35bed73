//! What tests of sources share.

use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch};

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
