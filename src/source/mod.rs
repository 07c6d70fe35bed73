//! Sources: rows from files that other tools wrote, in any format, as batches of canonical types.
//!
//! | format | endings | read |
//! | --- | --- | --- |
//! | Parquet | `.parquet`, `.pq` | in place, a batch at a time |
//! | Arrow IPC | `.arrow`, `.ipc`, `.feather` | in place, a batch at a time |
//! | Avro | `.avro` | in place, a batch at a time |
//! | CSV, TSV | `.csv`, `.tsv` | once; text is set aside until types are known |
//! | NDJSON | `.ndjson`, `.jsonl`, `.json` | once; text is set aside until types are known |
//!
//! Text may be compressed (`compression`), which its first bytes tell. CSV may be of any dialect
//! (`dialect`). A source is read once: what has to be looked at twice is set aside in an unnamed
//! temporary file, so that a source that changes meanwhile cannot give half of one state and half
//! of another. Memory is a batch, whatever the format; or a few, and a row group of Parquet, for
//! each processor, if nothing else is read meanwhile ([`TypeRules::is_alone`]).
//!
//! Text has no types, so they are decided in this order ([`TypeRules`]): the declared one; the one
//! the previous snapshot had, so that a code `007` stays text if it was text; what all values agree
//! on. Whichever it is, a value that it does not hold exactly is refused with its file and line
//! ([`crate::domain::text`]).

mod arrow_ipc;
#[cfg(feature = "avro")]
mod avro;
mod compression;
mod csv_text;
#[cfg(feature = "databases")]
pub mod database;
mod dialect;
mod files;
mod format;
mod given_rows;
#[cfg(test)]
mod limits_tests;
mod ndjson;
mod observed;
mod parquet_files;
mod parts;
mod path_columns;
mod pins;
mod rules;
mod snapshot_source;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text_encoding;
mod type_inference;

use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

pub use self::compression::Compression;
pub use self::dialect::Dialect;
pub use self::files::files_of;
pub use self::format::{Format, FormatRule};
pub use self::given_rows::GivenRows;
pub use self::observed::{Observed, ReadAs};
pub use self::parquet_files::ParquetFiles;
use self::parts::Parts;
use self::path_columns::FolderColumns;
pub use self::path_columns::LayoutColumns;
pub use self::rules::{ExpectedTypes, HEAD_FILES, HEAD_ROWS, MistypedColumns, TypeRules};
pub use self::snapshot_source::{
    FileSource, FilesRead, SnapshotSource, StandardInput, is_database,
};
pub use self::text_encoding::Encoding;
use crate::domain::schema::by_name;
use crate::error::{Context, Error, Result};
#[cfg(feature = "spark")]
use crate::parallel::{self, object_threads};
use crate::storage::Batches;
use crate::storage::lake::location::Object;
use crate::storage::lake::read::ObjectReader;
#[cfg(feature = "spark")]
use crate::storage::parquet::object::ParquetObject;
use crate::storage::parquet::object::{RowCondition, with_dictionaries};

/// What to do about text in another encoding.
const AS_UTF8: &str = "convert it first, for example: iconv -f latin1 -t utf-8 FILE > NEW_FILE";

/// Rows of one schema, which is canonical.
pub struct SourceRows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows, in the order of the files and within them.
    pub batches: Batches,
    /// How many there are, if the files say so.
    pub count: Option<u64>,
}

/// A file with the name that users know it by.
#[derive(Clone, Debug)]
struct Input {
    object: Object,
    name: String,
}

impl Input {
    fn reader(&self) -> Result<ObjectReader> {
        ObjectReader::open_listed(&self.object)
    }

    /// Opens the file as text in UTF-8, and says how it is written. If no encoding is `declared`,
    /// the byte order mark tells it.
    fn text(
        &self,
        reader: &ObjectReader,
        declared: Option<Encoding>,
    ) -> Result<(Box<dyn Read + Send>, ReadAs)> {
        let (text, compression) = compression::decompressed(reader.clone().stream()?, &self.name)?;
        let (text, encoding) =
            text_encoding::decoded(text, declared).map_err(|error| match error.kind() {
                ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
                    self.damaged(&error)
                }
                _ => Error::io(format!("cannot read {}: {error}", self.name)),
            })?;
        let is_detected = declared.is_none() && encoding != Encoding::Utf8;
        let detected = if is_detected {
            vec!["encoding"]
        } else {
            Vec::new()
        };
        Ok((
            text,
            ReadAs {
                compression,
                encoding: encoding.name(),
                delimiter: None,
                detected,
            },
        ))
    }

    /// The refusal of text that cannot be read to its end.
    fn damaged(&self, error: &io::Error) -> Error {
        Error::refused(format!("{} is damaged: {error}", self.name))
    }
}

/// Reads files as one table.
///
/// `name` is what errors call a single file, if not its path.
///
/// # Errors
/// A refusal for files that are damaged, or whose columns do not unify, naming file and column.
pub fn read(
    files: &[Object],
    format: Format,
    rules: &TypeRules,
    name: Option<&str>,
) -> Result<SourceRows> {
    let files = files_that_tell(files, rules);
    let folders = FolderColumns::of(files, rules)?;
    if folders.is_empty() {
        return read_files(files, format, rules, name);
    }
    let rules = folders.rules_of_files(rules);
    let schema_of = |files: &Schema| {
        let schema = folders.schema(files);
        let own = by_name(files);
        let added = schema
            .fields()
            .iter()
            .filter(|field| !own.contains_key(field.name().as_str()));
        rules
            .observed
            .note_folders(added.map(|field| field.name().clone()));
        schema
    };
    if folders.are_constant() {
        let rows = read_files(files, format, &rules, name)?;
        let schema = schema_of(&rows.schema);
        let target = schema.clone();
        let batches = rows
            .batches
            .map(move |batch| folders.added(&batch?, 0, &target));
        return Ok(SourceRows {
            schema,
            batches: Box::new(batches),
            count: rows.count,
        });
    }
    // Types are those that all files agree on. So they are all looked at, and then read by folder,
    // with types known.
    let whole = read_files(files, format, &rules, name)?;
    let (count, whole) = (whole.count, whole.schema);
    let schema = schema_of(&whole);
    let known = TypeRules {
        declared: Default::default(),
        pinned: Some(whole),
        ..rules
    };
    let groups = groups(&folders, files.len());
    let files = files.to_vec();
    let target = schema.clone();
    let folders = Arc::new(folders);
    let batches = groups.into_iter().flat_map(move |group| {
        let folders = folders.clone();
        let target = target.clone();
        let file = group.start;
        match read_files(&files[group], format, &known, None) {
            Ok(rows) => Box::new(
                rows.batches
                    .map(move |batch| folders.added(&batch?, file, &target)),
            ) as Batches,
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });
    Ok(SourceRows {
        schema,
        batches: Box::new(batches),
        count,
    })
}

/// The files that are read: all, or the first ones if only the columns are wanted.
fn files_that_tell<'a>(files: &'a [Object], rules: &TypeRules) -> &'a [Object] {
    match rules.only_columns {
        true => &files[..files.len().min(HEAD_FILES)],
        false => files,
    }
}

/// The files that follow one another and have the same values in their folders.
fn groups(folders: &FolderColumns, files: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for file in 0..files {
        match groups.last_mut() {
            Some(group) if folders.are_same(group.start, file) => group.end = file + 1,
            _ => groups.push(file..file + 1),
        }
    }
    groups
}

/// [`read`] without the columns that folders hold.
fn read_files(
    files: &[Object],
    format: Format,
    rules: &TypeRules,
    name: Option<&str>,
) -> Result<SourceRows> {
    let inputs: Vec<Input> = files
        .iter()
        .map(|object| Input {
            object: object.clone(),
            name: name.map_or_else(|| format!("'{}'", object.location), str::to_owned),
        })
        .collect();
    match format {
        Format::Csv => csv_text::read(&inputs, None, rules),
        Format::Tsv => csv_text::read(&inputs, Some(b'\t'), rules),
        Format::Ndjson => {
            rules.check_csv(format, &inputs[0].name)?;
            ndjson::read(&inputs, rules)
        }
        Format::Parquet | Format::Arrow | Format::Avro => {
            let parts = Arc::new(Parts::open(&inputs, format, rules)?);
            let schema = parts.schema.clone();
            let is_alone = rules.is_alone;
            Ok(SourceRows {
                count: parts.count(),
                batches: parts.read(schema.clone(), true, move |_, part| part.read(is_alone)),
                schema,
            })
        }
    }
}

/// Whether the rows of files are other ones than the files have: folders add columns to them, or
/// leave some out.
///
/// # Errors
/// As [`read`].
pub fn has_path_columns(files: &[Object], own: &Schema, rules: &TypeRules) -> Result<bool> {
    let folders = FolderColumns::of(files, rules)?;
    Ok(folders.adds(own)
        || own.fields().iter().any(|field| {
            folders
                .names()
                .any(|name| name.eq_ignore_ascii_case(field.name()))
        }))
}

/// Parquet files of the same columns, whose folders add the same values to their rows.
#[cfg(feature = "spark")]
pub struct FolderValues {
    /// The files.
    pub files: Vec<Object>,
    /// The columns of each, in its own types.
    pub stored: SchemaRef,
    values: Vec<path_columns::FolderValue>,
}

#[cfg(feature = "spark")]
impl FolderValues {
    /// A file to whose rows no folder adds anything.
    pub fn none(file: Object, stored: SchemaRef) -> Self {
        FolderValues {
            files: vec![file],
            stored,
            values: Vec::new(),
        }
    }

    /// The value of a column as text, if the folders add it: `Some(None)` is a null.
    pub fn value(&self, column: &str) -> Option<Option<&str>> {
        let value = self.values.iter().find(|(name, _)| name == column)?;
        Some(value.1.as_deref())
    }
}

/// Parquet files by their columns, and by what folders add to their rows. Every footer is read.
///
/// # Errors
/// As [`read`].
#[cfg(feature = "spark")]
pub fn folder_values(files: &[Object], rules: &TypeRules) -> Result<Vec<FolderValues>> {
    let folders = FolderColumns::of(files, rules)?;
    let remote = files
        .first()
        .is_some_and(|file| file.location.store().is_some());
    let opened = parallel::map(object_threads(remote), files, ParquetObject::open_listed);
    let mut groups: Vec<FolderValues> = Vec::new();
    for (at, (file, opened)) in files.iter().zip(opened).enumerate() {
        let stored = opened?.schema().clone();
        let values = folders.added_to(at, &stored)?;
        let is_of = |group: &FolderValues| group.values == values && group.stored == stored;
        match groups.iter().position(is_of) {
            Some(place) => groups[place].files.push(file.clone()),
            None => groups.push(FolderValues {
                files: vec![file.clone()],
                stored,
                values,
            }),
        }
    }
    Ok(groups)
}

/// Reads files as one table, like [`read`], but for texts that Parquet files have in short
/// dictionaries: those come as dictionaries, unless they are one of the columns `but`. The schema
/// is the one that [`read`] gives.
///
/// # Errors
/// As [`read`].
pub fn read_as_dictionaries(
    files: &[Object],
    format: Format,
    rules: &TypeRules,
    but: &[String],
) -> Result<SourceRows> {
    let folders = FolderColumns::of(files, rules)?;
    if format != Format::Parquet || !folders.are_constant() {
        return read(files, format, rules, None);
    }
    let rules_of_files = folders.rules_of_files(rules);
    let parts = Arc::new(Parts::open(&inputs_of(files), format, &rules_of_files)?);
    let is_in_folder = |name: &str| {
        folders
            .names()
            .any(|folder| folder.eq_ignore_ascii_case(name))
    };
    let is_text = |field: &&FieldRef| {
        field.data_type() == &DataType::Utf8
            && !rules.declared.contains_key(field.name())
            && !is_in_folder(field.name())
    };
    let mut texts: Vec<String> = parts
        .schema
        .fields()
        .iter()
        .filter(is_text)
        .map(|field| field.name().clone())
        .collect();
    texts.retain(|text| !but.contains(text) && parts.have_in_dictionaries(text));
    let of_files = parts.schema.clone();
    let schema = folders.schema(&of_files);
    let target = with_dictionaries(&schema, &texts);
    let count = parts.count();
    let batches = parts.read(
        with_dictionaries(&of_files, &texts),
        true,
        move |_, part| part.read_as_dictionaries(&texts),
    );
    if folders.is_empty() {
        return Ok(SourceRows {
            schema,
            batches,
            count,
        });
    }
    Ok(SourceRows {
        schema,
        batches: Box::new(batches.map(move |batch| folders.added(&batch?, 0, &target))),
        count,
    })
}

/// Reads the named columns of files, in their order; of Parquet, only those are decoded, and only
/// rows for which the condition holds, if there is one.
///
/// # Errors
/// As [`read`].
pub fn read_columns(
    files: &[Object],
    format: Format,
    rules: &TypeRules,
    columns: &[String],
    condition: Option<Arc<dyn RowCondition>>,
) -> Result<Batches> {
    let folders = FolderColumns::of(files, rules)?;
    let conditioned = condition
        .as_ref()
        .map_or(&[][..], |condition| condition.columns());
    let is_in_folder = |name: &String| {
        folders
            .names()
            .any(|folder| folder.eq_ignore_ascii_case(name))
    };
    if format != Format::Parquet
        || !folders.are_constant() && columns.iter().chain(conditioned).any(is_in_folder)
    {
        let rows = read(files, format, rules, None)?;
        let indices: Vec<usize> = columns
            .iter()
            .filter_map(|name| rows.schema.index_of(name).ok())
            .collect();
        return Ok(Box::new(rows.batches.map(move |batch| {
            let mut batch = batch?;
            if let Some(condition) = &condition {
                let holds = condition.holds(&batch)?;
                batch = filter_record_batch(&batch, &holds)
                    .io_context(|| "cannot select rows".into())?;
            }
            batch
                .project(&indices)
                .io_context(|| "cannot select columns".into())
        })));
    }
    ParquetFiles::of(files, rules, folders)?.read(columns, condition, None)
}

fn inputs_of(files: &[Object]) -> Vec<Input> {
    files
        .iter()
        .map(|object| Input {
            object: object.clone(),
            name: format!("'{}'", object.location),
        })
        .collect()
}
