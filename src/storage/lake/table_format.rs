//! Folders that are tables of Delta Lake, Iceberg or Hudi.
//!
//! Such a table has a log that says which of its files hold its rows. Files that were deleted or
//! replaced stay in the folder, so reading all of them returns rows that the table does not have.
//! asof refuses these folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::domain::file_names::{ICEBERG_FOLDER, TableFormat, is_iceberg_metadata};
use crate::error::{Error, Result};
use crate::storage::lake::location::Location;

/// The format of the table that a folder on a local disk is, by the names in it.
pub(crate) fn format_of_names<'a>(
    folder: &Path,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<TableFormat> {
    names.into_iter().find_map(|name| match name {
        ICEBERG_FOLDER if is_iceberg(&folder.join(name)) => Some(TableFormat::Iceberg),
        name => TableFormat::of_name(name),
    })
}

fn format_of_folder(folder: &Path) -> Option<TableFormat> {
    let has = |name: &&str| folder.join(name).exists();
    format_of_names(
        folder,
        ["_delta_log", ".hoodie", ICEBERG_FOLDER]
            .iter()
            .filter(|name| has(name))
            .copied(),
    )
}

/// The refusal of a table.
pub(crate) fn refusal(format: TableFormat, table: &Location) -> Error {
    let name = Some(table.name())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "table".to_owned());
    let export = |scan: &str| {
        format!("export it first: duckdb -c \"copy (from {scan}('{table}')) to '{name}.parquet'\"")
    };
    let (what, hint) = match format {
        TableFormat::Delta => ("a Delta Lake table", export("delta_scan")),
        TableFormat::Iceberg => ("an Iceberg table", export("iceberg_scan")),
        TableFormat::Hudi => (
            "a Hudi table",
            format!(
                "export it first, in Spark: spark.read.format(\"hudi\").load(\"{table}\").write.parquet(\"{name}_copy\")"
            ),
        ),
    };
    Error::refused(format!(
        "'{table}' is {what}, which asof does not read: the folder also holds files that \
         the table no longer uses"
    ))
    .hint(hint)
}

fn is_iceberg(metadata: &Path) -> bool {
    let names = fs::read_dir(metadata)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .into_iter()
        .any(|name| is_iceberg_metadata(&name.to_string_lossy()))
}

/// Refuses a folder on a local disk that is a table, or lies in one. `known` are folders that were
/// looked at.
///
/// # Errors
/// A refusal that says what it is and how to export it.
pub fn refuse_tables(folder: &Path, known: &mut BTreeSet<std::path::PathBuf>) -> Result<()> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    for ancestor in absolute.ancestors() {
        if !known.insert(ancestor.to_owned()) {
            break;
        }
        if let Some(format) = format_of_folder(ancestor) {
            let shown = if ancestor == absolute {
                folder
            } else {
                ancestor
            };
            return Err(refusal(format, &Location::local(shown)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_a_table_is_refused_and_one_beside_it_is_not() {
        let root = tempfile::tempdir().expect("a folder");
        for file in [
            "delta/_delta_log/0.json",
            "delta/day=1/x",
            "ice/metadata/v1.metadata.json",
            "ice/data/x",
            "hudi/.hoodie/a",
            "plain/metadata/x",
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, "x").expect("written");
        }
        let refused = |folder: &str| {
            refuse_tables(&root.path().join(folder), &mut BTreeSet::new())
                .err()
                .map(|error| error.to_string())
        };
        for (folder, kind) in [
            ("delta", "a Delta Lake table"),
            ("delta/day=1", "a Delta Lake table"),
            ("ice", "an Iceberg table"),
            ("ice/data", "an Iceberg table"),
            ("hudi", "a Hudi table"),
        ] {
            assert!(
                refused(folder).is_some_and(|error| error.contains(kind)),
                "{folder}"
            );
        }
        assert_eq!(refused("plain/metadata"), None);
    }
}
