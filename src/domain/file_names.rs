//! What the names of files and folders say: whether they are data, whether asof is still writing
//! them, and whether they belong to a table of Delta Lake, Iceberg or Hudi.

/// Whether a name is data, by the convention that every engine follows.
pub fn is_data(name: &str) -> bool {
    !name.starts_with(['_', '.'])
}

/// How the names of files begin that are not published yet; no reader takes them for data.
pub const STAGED_PREFIX: &str = ".asof-";
/// How such names end.
pub const STAGED_SUFFIX: &str = ".tmp";

/// Whether a file was staged: a killed process may have left it behind.
pub fn is_staged(name: &str) -> bool {
    name.starts_with(STAGED_PREFIX) && name.ends_with(STAGED_SUFFIX)
}

/// A format of tables that have a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Delta Lake, by its folder `_delta_log`.
    Delta,
    /// Apache Iceberg, by files `metadata/*.metadata.json`.
    Iceberg,
    /// Apache Hudi, by its folder `.hoodie`.
    Hudi,
}

/// The folder of an Iceberg table in which its metadata is.
pub const ICEBERG_FOLDER: &str = "metadata";

/// Whether a file of that folder is metadata of Iceberg.
pub fn is_iceberg_metadata(name: &str) -> bool {
    name.ends_with(".metadata.json")
}

impl TableFormat {
    /// The format that the name of a folder or file tells. `metadata` alone tells nothing.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "_delta_log" => Some(TableFormat::Delta),
            ".hoodie" | ".hoodie_partition_metadata" => Some(TableFormat::Hudi),
            _ => None,
        }
    }

    /// The table that a path with `/` lies in, as its format and the path of its folder.
    pub fn of_path(path: &str) -> Option<(Self, &str)> {
        let mut start = 0;
        let mut folder: Option<(&str, usize)> = None;
        for part in path.split('/') {
            let before = path[..start].trim_end_matches('/');
            if let Some(format) = TableFormat::of_name(part) {
                return Some((format, before));
            }
            if is_iceberg_metadata(part)
                && let Some((ICEBERG_FOLDER, end)) = folder
            {
                return Some((TableFormat::Iceberg, path[..end].trim_end_matches('/')));
            }
            folder = Some((part, start));
            start += part.len() + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_the_table_that_it_lies_in() {
        for (path, expected) in [
            (
                "a/dim/_delta_log/00000000000000000000.json",
                Some((TableFormat::Delta, "a/dim")),
            ),
            ("_delta_log/", Some((TableFormat::Delta, ""))),
            (
                "dim/metadata/v1.metadata.json",
                Some((TableFormat::Iceberg, "dim")),
            ),
            (
                "metadata/00000-0f.metadata.json",
                Some((TableFormat::Iceberg, "")),
            ),
            (
                "dim/.hoodie/hoodie.properties",
                Some((TableFormat::Hudi, "dim")),
            ),
            (
                "dim/date=2024-01-01/.hoodie_partition_metadata",
                Some((TableFormat::Hudi, "dim/date=2024-01-01")),
            ),
            ("dim/metadata/x.parquet", None),
            ("dim/x.metadata.json", None),
            ("dim/data/x.parquet", None),
        ] {
            assert_eq!(TableFormat::of_path(path), expected, "{path}");
        }
    }
}
