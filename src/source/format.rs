//! Formats of files, and how they are told: by what is declared, by names, by first bytes.

use super::compression;
use crate::error::{Context, Error, Result, toml_key};
use crate::model::TableName;
use crate::storage::lake::location::{Location, Object};
use crate::storage::lake::read::ObjectReader;

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// One JSON object a line.
    Ndjson,
    /// Arrow IPC, file or stream.
    Arrow,
    /// Apache Avro, an object container file.
    Avro,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Format::Parquet => "Parquet",
            Format::Csv => "CSV",
            Format::Tsv => "TSV",
            Format::Ndjson => "NDJSON",
            Format::Arrow => "Arrow IPC",
            Format::Avro => "Avro",
        })
    }
}

impl Format {
    /// The name in options and in asof.toml.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Ndjson => "ndjson",
            Format::Arrow => "arrow",
            Format::Avro => "avro",
        }
    }

    /// Whether files of it carry their types, so that they can be opened again at little cost.
    pub fn carries_types(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow | Format::Avro)
    }

    /// The format that a file's name says, behind the ending of a compression such as `.gz`.
    pub fn of(file: &Location) -> Option<Format> {
        Format::of_name(&file.name())
    }

    fn of_name(name: &str) -> Option<Format> {
        let name = name.to_lowercase();
        match compression::stem(&name).rsplit_once('.')?.1 {
            "parquet" | "pq" => Some(Format::Parquet),
            "csv" => Some(Format::Csv),
            "tsv" => Some(Format::Tsv),
            "ndjson" | "jsonl" | "json" => Some(Format::Ndjson),
            "arrow" | "ipc" | "feather" => Some(Format::Arrow),
            "avro" => Some(Format::Avro),
            _ => None,
        }
    }
}

/// How the format of files is found out.
#[derive(Clone, Debug, Default)]
pub struct FormatRule {
    /// The format that the user declares.
    pub declared: Option<Format>,
    /// What a user writes to declare it, as a hint.
    pub option: String,
}

impl FormatRule {
    /// The rule of a table in asof.toml.
    pub fn of_table(declared: Option<Format>, table: &TableName) -> Self {
        FormatRule {
            declared,
            option: format!(
                "[tables.{}] source_format = \"parquet\" in asof.toml; or csv, tsv, ndjson, \
                 arrow, avro",
                toml_key(table.as_str())
            ),
        }
    }

    /// The format of files: as declared, or as their names tell; of files whose names do not, as
    /// the first bytes of the first one tell.
    ///
    /// # Errors
    /// A usage error for a format that cannot be told; a refusal for files of different formats.
    pub fn of(&self, files: &[Object]) -> Result<Format> {
        match self.declared {
            Some(declared) => Ok(declared),
            None => common_format(files)?.map_err(|unknown| {
                Error::usage(format!(
                    "cannot determine the format of '{unknown}' from its name or its first bytes"
                ))
                .hint(&self.option)
            }),
        }
    }
}

/// The format of files by their names, and by the first bytes of the first file whose name does not
/// tell; or that file.
fn common_format(files: &[Object]) -> Result<Result<Format, Location>> {
    let mut common: Option<(Format, &Location)> = None;
    let mut nameless = None;
    for object in files {
        let Object { location, .. } = object;
        let format = match (Format::of(location), nameless) {
            (Some(format), _) | (None, Some(format)) => format,
            (None, None) => {
                let Some(sniffed) = sniff(object)? else {
                    return Ok(Err(location.clone()));
                };
                *nameless.insert(sniffed)
            }
        };
        match common {
            Some((other, first)) if other != format => {
                return Err(Error::refused(format!(
                    "'{first}' is {other} and '{location}' is {format}: the files of one table \
                     have one format"
                )));
            }
            _ => common = common.or(Some((format, location))),
        }
    }
    common
        .map(|(format, _)| Ok(format))
        .ok_or_else(|| Error::usage("there are no files to read"))
}

/// The format that the first bytes of a file tell, or the name of the one file in an archive.
fn sniff(object: &Object) -> Result<Option<Format>> {
    let mut first = [0u8; 6];
    let mut file = ObjectReader::open_listed(object)?.stream()?;
    let length = compression::fill(&mut file, &mut first)
        .io_context(|| format!("cannot read '{}'", object.location))?;
    Ok(match &first[..length] {
        bytes if bytes.starts_with(b"PAR1") => Some(Format::Parquet),
        b"ARROW1" => Some(Format::Arrow),
        bytes if bytes.starts_with(b"Obj\x01") => Some(Format::Avro),
        bytes if bytes.starts_with(b"PK\x03\x04") => {
            let inside = compression::name_in_archive(file, &format!("'{}'", object.location))?;
            Format::of_name(&inside).filter(|format| !format.carries_types())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;

    use super::*;
    use crate::source::testing::{file, typed_file};

    #[test]
    fn a_format_is_told_by_the_name_or_by_the_first_bytes() {
        use arrow::array::Int64Array;
        let folder = tempfile::tempdir().expect("a folder");
        let column = || vec![("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)];
        for (written, format) in [("x.parquet", Format::Parquet), ("x.arrow", Format::Arrow)] {
            typed_file(folder.path(), written, column());
            let nameless = folder.path().join("000000_0");
            std::fs::copy(folder.path().join(written), &nameless).expect("copied");
            assert_eq!(
                FormatRule::default()
                    .of(&[file(&nameless)])
                    .expect("its bytes tell"),
                format
            );
        }
        let text = folder.path().join("000001_0");
        std::fs::write(&text, "id\n1\n").expect("written");
        let rule = FormatRule {
            declared: None,
            option: "--source-format csv".to_owned(),
        };
        let error = rule.of(&[file(&text)]).expect_err("text tells nothing");
        assert_eq!(
            (error.kind(), error.hints()),
            (
                crate::error::Kind::Usage,
                ["--source-format csv".to_owned()].as_slice()
            )
        );
        assert_eq!(
            FormatRule {
                declared: Some(Format::Csv),
                ..rule
            }
            .of(&[file(&text)])
            .expect("declared"),
            Format::Csv
        );
        let mixed = [
            file(&folder.path().join("x.parquet")),
            file(&folder.path().join("x.arrow")),
        ];
        assert_eq!(
            FormatRule::default()
                .of(&mixed)
                .expect_err("two formats")
                .kind(),
            crate::error::Kind::Refused
        );
    }
}
