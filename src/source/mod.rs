//! Sources: rows from files that other tools wrote, in any format, as batches of canonical types.
//!
//! | format | endings | read |
//! | --- | --- | --- |
//! | Parquet | `.parquet`, `.pq` | in place, a batch at a time |
//! | Arrow IPC | `.arrow`, `.ipc`, `.feather` | in place, a batch at a time |
//! | CSV, TSV | `.csv`, `.tsv` | once; text is set aside until types are known |
//! | NDJSON | `.ndjson`, `.jsonl`, `.json` | once; text is set aside until types are known |
//!
//! Text may be compressed (`compression`), which its first bytes tell. CSV may be of any dialect (`dialect`). A source is read once: what
//! has to be looked at twice is set aside in an unnamed temporary file, so that a source that changes
//! meanwhile cannot give half of one state and half of another. Memory is a batch, whatever the format.
//!
//! Text has no types, so they are decided in this order ([`TypeRules`]): the declared one; the one the
//! previous snapshot had, so that a code `007` stays text if it was text; what all values agree on. Whichever it is, a value
//! that it does not hold exactly is refused with its file and line ([`crate::domain::text`]).

mod arrow_ipc;
mod compression;
mod csv_text;
mod dialect;
mod encoding;
mod guess;
mod ndjson;
mod path_columns;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};

use self::arrow_ipc::ArrowFile;
pub use self::compression::Compression;
pub use self::dialect::{Dialect, Observed, Ragged, ReadAs};
pub use self::encoding::Encoding;
pub use self::path_columns::LayoutColumns;
use self::path_columns::PathColumns;
use crate::domain::cast::{cast_exactly, conform};
use crate::domain::schema::{type_name, unify, widen};
use crate::error::{Context, Error, Result, toml_key, word};
use crate::model::TableName;
use crate::storage::Batches;
use crate::storage::location::{Location, Object, is_data};
use crate::storage::object::{ParquetObject, RowCondition, with_dictionaries};
use crate::storage::partitions::{local_object, local_objects_below};
use crate::storage::read::ObjectReader;
use crate::storage::table_format::refuse_tables;

/// What to do about text in another encoding.
const AS_UTF8: &str = "convert it first, for example: iconv -f latin1 -t utf-8 FILE > NEW_FILE";

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
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Format::Parquet => "Parquet",
            Format::Csv => "CSV",
            Format::Tsv => "TSV",
            Format::Ndjson => "NDJSON",
            Format::Arrow => "Arrow IPC",
        })
    }
}

impl Format {
    /// Whether files of it carry their types, so that they can be opened again at little cost.
    pub fn carries_types(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow)
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
            _ => None,
        }
    }
}

/// What is known of columns' types before a text format is read.
#[derive(Clone, Debug, Default)]
pub struct TypeRules {
    /// Types that the configuration declares, by column.
    pub declared: BTreeMap<String, DataType>,
    /// What the date of the files' layout is to their rows.
    pub layout: LayoutColumns,
    /// Columns that folders hold, so that files need not have them.
    pub in_folders: Vec<String>,
    /// The section of asof.toml that declares them, for hints, such as `tables.item`.
    pub section: String,
    /// Whether every other column of CSV is text.
    pub csv_as_text: bool,
    /// The types that columns had in the last snapshot in which they had values.
    pub pinned: Option<SchemaRef>,
    /// Whether the files are one snapshot of many that another tool wrote: a declared column may be absent on their date,
    /// and a column of CSV that is not of the type that it had so far is text.
    pub external: bool,
    /// How CSV and TSV are written.
    pub csv: Arc<Dialect>,
    /// How text was read with these rules. Whoever clones them sees it too.
    pub observed: Observed,
}

impl TypeRules {
    /// The type that is declared for a column of text.
    fn declared(&self, column: &str) -> Option<&DataType> {
        self.declared.get(column).or(if self.csv_as_text { Some(&DataType::Utf8) } else { None })
    }

    fn pinned(&self, column: &str) -> Option<&DataType> {
        let fields = self.pinned.as_ref()?.fields();
        let spelled = || fields.iter().find(|field| field.name().to_lowercase() == column.to_lowercase());
        let field = fields.iter().find(|field| field.name() == column).or_else(spelled)?;
        (field.data_type() != &DataType::Null).then(|| field.data_type())
    }

    /// The hint that a column can be kept as text. `what` says which text that is.
    fn as_text(&self, column: &str, what: &str) -> String {
        let section = if self.section.is_empty() { String::new() } else { format!("[{}] ", self.section) };
        let configured = format!("{section}types = {{ {} = \"text\" }} in asof.toml", toml_key(column));
        // In an option, these characters would end the name.
        let is_plain = column == column.trim() && !column.starts_with('-') && !column.contains([',', '=', '(', ')', '<', '>']);
        let option = if is_plain { format!("--types {}, or ", word(&format!("{column}=text"))) } else { String::new() };
        format!("correct the source, or keep {what}: {option}{configured}")
    }

    /// Refuses a declaration for a column that is not there, and was not there before.
    fn check(&self, schema: &Schema, what: &str) -> Result<()> {
        for name in self.declared.keys().filter(|_| !self.external) {
            if schema.field_with_name(name).is_err() && self.pinned(name).is_none() && !self.in_folders.contains(name) {
                return Err(no_column(name, schema, what));
            }
        }
        Ok(())
    }
}

/// The error for a column that is not there, with the nearest one as a hint.
pub fn no_column(name: &str, schema: &Schema, what: &str) -> Error {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let error = Error::usage(format!("{what} has no column '{name}'"));
    error.hint_nearest(name, names.iter().copied(), || format!("its columns are {}", names.join(", ")))
}

/// Rows of one schema, which is canonical.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows, in the order of the files and within them.
    pub batches: Batches,
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

    /// Opens the file as text in UTF-8, and says how it is written. If no encoding is `declared`, the byte order mark tells it.
    fn text(&self, reader: &ObjectReader, declared: Option<Encoding>) -> Result<(Box<dyn Read + Send>, ReadAs)> {
        let (text, compression) = compression::decompressed(reader.clone().stream()?, &self.name)?;
        let (text, encoding) = encoding::decoded(text, declared).map_err(|error| match error.kind() {
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
                Error::refused(format!("{} is damaged: {error}", self.name))
            }
            _ => Error::io(format!("cannot read {}: {error}", self.name)),
        })?;
        let is_detected = declared.is_none() && encoding != Encoding::Utf8;
        let detected = if is_detected { vec!["encoding"] } else { Vec::new() };
        Ok((text, ReadAs { compression, encoding: encoding.name(), delimiter: None, detected }))
    }
}

/// The files that a path or a glob names, sorted. A folder stands for the data files in it and in its folders.
///
/// # Errors
/// A failure if there are none: a nightly source may not have come yet. A refusal for a folder that is a table of another format.
pub fn files_of(pattern: &Location) -> Result<Vec<Object>> {
    let mut files = match pattern.as_local() {
        Some(path) => local_files_of(path)?,
        None => pattern.objects_like()?,
    };
    let text = pattern.to_string();
    let above = text.find(['*', '?', '[']).map_or(text.as_str(), |wildcard| &text[..text[..wildcard].rfind('/').map_or(0, |at| at + 1)]);
    files.retain(|object| {
        let name = object.location.to_string();
        name.strip_prefix(above).unwrap_or(&name).split('/').all(is_data) && is_data(&object.location.name())
    });
    if files.is_empty() {
        let text = if pattern.is_folder()? { format!("{pattern}/*") } else { pattern.to_string() };
        return Err(Error::io(format!("no file matches '{text}'")));
    }
    files.sort_by(|one, other| one.relative.cmp(&other.relative));
    Ok(files)
}

fn local_files_of(pattern: &Path) -> Result<Vec<Object>> {
    let mut known = BTreeSet::new();
    if pattern.is_dir() {
        refuse_tables(pattern, &mut known)?;
        return local_objects_below(pattern);
    }
    let text = pattern.to_string_lossy();
    let Some(wildcard) = text.find(['*', '?', '[']).filter(|_| !pattern.exists()) else {
        return if pattern.is_file() { Ok(vec![local_object(pattern)?]) } else { Ok(Vec::new()) };
    };
    let above = Path::new(&text[..text[..wildcard].rfind('/').map_or(0, |at| at + 1)]);
    let paths = glob::glob(&text).map_err(|error| Error::usage(format!("'{text}' is no pattern of files: {error}")))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.io_context(|| format!("cannot list '{text}'"))?;
        if path.is_file() {
            refuse_tables(path.parent().unwrap_or(&path), &mut known)?;
            let below = path.strip_prefix(above).unwrap_or(&path).display().to_string();
            files.push(Object { below, ..local_object(&path)? });
        }
    }
    Ok(files)
}

/// Sets standard input aside in a temporary file.
///
/// # Errors
/// A failure of the temporary disk.
pub fn stage(input: &mut dyn Read) -> Result<tempfile::TempPath> {
    let doing = || "cannot set standard input aside in the temporary folder (TMPDIR)".to_owned();
    let mut file = tempfile::NamedTempFile::new().io_context(doing)?;
    std::io::copy(input, &mut file).io_context(doing)?;
    file.flush().io_context(doing)?;
    Ok(file.into_temp_path())
}

/// Reads files as one table.
///
/// `name` is what errors call a single file, if not its path.
///
/// # Errors
/// A refusal for files that are damaged, or whose columns do not unify, naming file and column.
pub fn read(files: &[Object], format: Format, rules: &TypeRules, name: Option<&str>) -> Result<Rows> {
    let folders = PathColumns::of(files, rules)?;
    if folders.is_empty() {
        return read_files(files, format, rules, name);
    }
    let rules = folders.rules_of_files(rules);
    if folders.are_constant() {
        let rows = read_files(files, format, &rules, name)?;
        let schema = folders.schema(&rows.schema);
        let target = schema.clone();
        let batches = rows.batches.map(move |batch| folders.added(&batch?, 0, &target));
        return Ok(Rows { schema, batches: Box::new(batches) });
    }
    // Types are those that all files agree on. So they are all looked at, and then read by folder, with types known.
    let whole = read_files(files, format, &rules, name)?.schema;
    let schema = folders.schema(&whole);
    let known = TypeRules { declared: BTreeMap::new(), pinned: Some(whole), ..rules };
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    for file in 0..files.len() {
        match groups.last_mut() {
            Some(group) if folders.are_same(group.start, file) => group.end = file + 1,
            _ => groups.push(file..file + 1),
        }
    }
    let (files, target) = (files.to_vec(), schema.clone());
    let folders = Arc::new(folders);
    let batches = groups.into_iter().flat_map(move |group| {
        let (folders, target, file) = (folders.clone(), target.clone(), group.start);
        match read_files(&files[group], format, &known, None) {
            Ok(rows) => Box::new(rows.batches.map(move |batch| folders.added(&batch?, file, &target))) as Batches,
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });
    Ok(Rows { schema, batches: Box::new(batches) })
}

/// [`read`] without the columns that folders hold.
fn read_files(files: &[Object], format: Format, rules: &TypeRules, name: Option<&str>) -> Result<Rows> {
    let inputs: Vec<Input> = files
        .iter()
        .map(|object| Input { object: object.clone(), name: name.map_or_else(|| format!("'{}'", object.location), str::to_owned) })
        .collect();
    match format {
        Format::Csv => csv_text::read(&inputs, None, rules),
        Format::Tsv => csv_text::read(&inputs, Some(b'\t'), rules),
        Format::Ndjson => ndjson::read(&inputs, rules),
        Format::Parquet | Format::Arrow => {
            let parts = Parts::open(&inputs, format, rules)?;
            let schema = parts.schema.clone();
            Ok(Rows { batches: parts.read(schema.clone(), true, Part::read), schema })
        }
    }
}

/// Whether the rows of files are other ones than the files have: folders add columns to them, or leave some out.
///
/// # Errors
/// As [`read`].
pub fn has_path_columns(files: &[Object], own: &Schema, rules: &TypeRules) -> Result<bool> {
    let folders = PathColumns::of(files, rules)?;
    Ok(folders.adds(own) || own.fields().iter().any(|field| folders.names().any(|name| name.eq_ignore_ascii_case(field.name()))))
}

/// Reads files as one table, like [`read`], but for texts that Parquet files have in short dictionaries: those come as dictionaries, unless they
/// are one of the columns `but`. The schema is the one that [`read`] gives.
///
/// # Errors
/// As [`read`].
pub fn read_as_dictionaries(files: &[Object], format: Format, rules: &TypeRules, but: &[String]) -> Result<Rows> {
    let folders = PathColumns::of(files, rules)?;
    if format != Format::Parquet || !folders.are_constant() {
        return read(files, format, rules, None);
    }
    let parts = Parts::open(&inputs_of(files), format, &folders.rules_of_files(rules))?;
    let is_in_folder = |name: &str| folders.names().any(|folder| folder.eq_ignore_ascii_case(name));
    let is_text = |field: &&FieldRef| {
        field.data_type() == &DataType::Utf8 && !rules.declared.contains_key(field.name()) && !is_in_folder(field.name())
    };
    let mut texts: Vec<String> = parts.schema.fields().iter().filter(is_text).map(|field| field.name().clone()).collect();
    texts.retain(|text| !but.contains(text) && parts.have_in_dictionaries(text));
    let of_files = parts.schema.clone();
    let schema = folders.schema(&of_files);
    let target = with_dictionaries(&schema, &texts);
    let batches = parts.read(with_dictionaries(&of_files, &texts), true, move |part| part.read_as_dictionaries(&texts));
    if folders.is_empty() {
        return Ok(Rows { schema, batches });
    }
    Ok(Rows { schema, batches: Box::new(batches.map(move |batch| folders.added(&batch?, 0, &target))) })
}

/// Reads the named columns of files, in their order; of Parquet, only those are decoded, and only rows for which the condition
/// holds, if there is one.
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
    let folders = PathColumns::of(files, rules)?;
    let conditioned = condition.as_ref().map_or(&[][..], |condition| condition.columns());
    let is_in_folder = |name: &String| folders.names().any(|folder| folder.eq_ignore_ascii_case(name));
    if format != Format::Parquet || columns.iter().chain(conditioned).any(is_in_folder) && !(folders.are_constant() && condition.is_none())
    {
        let rows = read(files, format, rules, None)?;
        let indices: Vec<usize> = columns.iter().filter_map(|name| rows.schema.index_of(name).ok()).collect();
        return Ok(Box::new(rows.batches.map(move |batch| {
            let mut batch = batch?;
            if let Some(condition) = &condition {
                let holds = condition.holds(&batch)?;
                batch = filter_record_batch(&batch, &holds).io_context(|| "cannot select rows".into())?;
            }
            batch.project(&indices).io_context(|| "cannot select columns".into())
        })));
    }
    let parts = Parts::open(&inputs_of(files), format, &folders.rules_of_files(rules))?;
    let whole = folders.schema(&parts.schema);
    let target = columns.iter().filter_map(|name| whole.field_with_name(name).ok().cloned()).collect::<Vec<_>>();
    let fields: Vec<_> = columns.iter().filter_map(|name| parts.schema.field_with_name(name).ok().cloned()).collect();
    let columns = columns.to_vec();
    let is_all = condition.is_none();
    let is_whole = fields.len() == target.len();
    let batches = parts.read(Arc::new(Schema::new(fields)), is_all, move |part| part.read_where(&columns, condition.as_ref()));
    if is_whole && !target.iter().any(|field| is_in_folder(field.name())) {
        return Ok(batches);
    }
    let target: SchemaRef = Arc::new(Schema::new(target));
    Ok(Box::new(batches.map(move |batch| folders.added(&batch?, 0, &target))))
}

fn inputs_of(files: &[Object]) -> Vec<Input> {
    files.iter().map(|object| Input { object: object.clone(), name: format!("'{}'", object.location) }).collect()
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
            option: format!("[tables.{}] source_format = \"parquet\" in asof.toml; or csv, tsv, ndjson, arrow", toml_key(table.as_str())),
        }
    }

    /// The format of files: as declared, or as their names tell; of files whose names do not, as the first bytes of the first one tell.
    ///
    /// # Errors
    /// A usage error for a format that cannot be told; a refusal for files of different formats.
    pub fn of(&self, files: &[Object]) -> Result<Format> {
        match self.declared {
            Some(declared) => Ok(declared),
            None => common_format(files)?.map_err(|unknown| {
                Error::usage(format!("neither the name of '{unknown}' nor its first bytes tell its format")).hint(&self.option)
            }),
        }
    }
}

/// The format of files by their names, and by the first bytes of the first file whose name does not tell; or that file.
fn common_format(files: &[Object]) -> Result<Result<Format, Location>> {
    let mut common: Option<(Format, &Location)> = None;
    let mut nameless = None;
    for object in files {
        let Object { location, .. } = object;
        let format = match (Format::of(location), nameless) {
            (Some(format), _) | (None, Some(format)) => format,
            (None, None) => {
                let Some(sniffed) = sniff(object)? else { return Ok(Err(location.clone())) };
                *nameless.insert(sniffed)
            }
        };
        match common {
            Some((other, first)) if other != format => {
                return Err(Error::refused(format!(
                    "'{first}' is {other} and '{location}' is {format}: the files of one table have one format"
                )));
            }
            _ => common = common.or(Some((format, location))),
        }
    }
    common.map(|(format, _)| Ok(format)).ok_or_else(|| Error::usage("there are no files to read"))
}

/// The format that the first bytes of a file tell, or the name of the one file in an archive.
fn sniff(object: &Object) -> Result<Option<Format>> {
    let mut first = [0u8; 6];
    let mut file = ObjectReader::open_listed(object)?.stream()?;
    let length = compression::fill(&mut file, &mut first).io_context(|| format!("cannot read '{}'", object.location))?;
    Ok(match &first[..length] {
        bytes if bytes.starts_with(b"PAR1") => Some(Format::Parquet),
        b"ARROW1" => Some(Format::Arrow),
        bytes if bytes.starts_with(b"PK\x03\x04") => {
            let inside = compression::name_in_archive(file, &format!("'{}'", object.location))?;
            Format::of_name(&inside).filter(|format| !format.carries_types())
        }
        _ => None,
    })
}

/// A file that carries its types, opened for its schema. It is not held open.
enum Part {
    Parquet(Box<ParquetObject>),
    Arrow(Box<ArrowFile>),
}

impl Part {
    fn open(input: &Input, format: Format) -> Result<Self> {
        match format {
            Format::Arrow => Ok(Part::Arrow(Box::new(ArrowFile::open(input)?))),
            _ => Ok(Part::Parquet(Box::new(ParquetObject::open_listed(&input.object)?))),
        }
    }

    fn schema(&self) -> &SchemaRef {
        match self {
            Part::Parquet(object) => object.schema(),
            Part::Arrow(file) => &file.schema,
        }
    }

    fn read(&self) -> Result<Batches> {
        match self {
            Part::Parquet(object) => object.read(None),
            Part::Arrow(file) => file.read(),
        }
    }

    fn read_as_dictionaries(&self, texts: &[String]) -> Result<Batches> {
        match self {
            Part::Parquet(object) => {
                let known = object.texts_in_dictionaries();
                object.read_as_dictionaries(&known.into_iter().filter(|text| texts.contains(text)).collect::<Vec<_>>())
            }
            Part::Arrow(file) => file.read(),
        }
    }

    fn read_where(&self, columns: &[String], condition: Option<&Arc<dyn RowCondition>>) -> Result<Batches> {
        match self {
            Part::Parquet(object) => object.read_where(Some(columns), condition.cloned()),
            Part::Arrow(file) => file.read(),
        }
    }
}

/// The files of one table that carry their types, and the schema that holds all of them.
struct Parts {
    parts: Vec<(Part, String)>,
    schema: SchemaRef,
}

impl Parts {
    fn open(inputs: &[Input], format: Format, rules: &TypeRules) -> Result<Self> {
        let mut parts = Vec::with_capacity(inputs.len());
        for input in inputs {
            parts.push((Part::open(input, format)?, input.name.clone()));
        }
        let schemas: Vec<(SchemaRef, &str)> =
            parts.iter().map(|(part, name)| (declared_schema(part.schema(), rules), name.as_str())).collect();
        let schema = unify_parts(&schemas, rules)?;
        rules.check(&schema, &inputs[0].name)?;
        let schema = in_settled_units(&parts, &schema, rules)?;
        Ok(Parts { schema, parts })
    }

    /// Whether each file has a text column in short dictionaries, or has no text in it.
    fn have_in_dictionaries(&self, text: &String) -> bool {
        self.parts.iter().all(|(part, _)| match part {
            Part::Parquet(object) => match object.schema().field_with_name(text) {
                Ok(field) => field.data_type() == &DataType::Null || object.texts_in_dictionaries().contains(text),
                Err(_) => true,
            },
            Part::Arrow(_) => false,
        })
    }

    /// Reads one file after the other, each brought into `target`. A file is opened when the one before it ends. `is_all` says that
    /// every row is read, so that a refusal can tell its number.
    fn read(self, target: SchemaRef, is_all: bool, read: impl Fn(&Part) -> Result<Batches> + Send + 'static) -> Batches {
        let batches = self.parts.into_iter().flat_map(move |(part, name)| {
            let (target, rows) = (target.clone(), read(&part));
            let rows: Batches = rows.unwrap_or_else(|error| Box::new(std::iter::once(Err(error))));
            let mut before = 0;
            rows.map(move |batch| {
                let batch = batch?;
                let conformed = conform(&batch, &target).map_err(|error| {
                    let numbered = is_all.then(|| refused_row(&batch, &target, before, &name)).flatten();
                    numbered.unwrap_or_else(|| error.within(&name))
                });
                before += batch.num_rows();
                conformed
            })
        });
        Box::new(batches)
    }
}

/// The schema in which times of several units are in microseconds, if files have one beyond the years that nanoseconds hold: only then
/// is it read for that. Digits below microseconds in other files are refused when they come.
fn in_settled_units(parts: &[(Part, String)], schema: &SchemaRef, rules: &TypeRules) -> Result<SchemaRef> {
    let settled = schema.fields().iter().map(|field| {
        let DataType::Timestamp(TimeUnit::Nanosecond, zone) = field.data_type() else { return Ok(field.clone()) };
        let coarser = |part: &Part| part.schema().field_with_name(field.name()).is_ok_and(|own| own.data_type() != field.data_type());
        if rules.declared.contains_key(field.name()) {
            return Ok(field.clone());
        }
        let name = std::slice::from_ref(field.name());
        for (part, _) in parts.iter().filter(|(part, _)| coarser(part)) {
            for batch in part.read_where(name, None)? {
                let batch = batch?;
                let times = batch.column_by_name(field.name());
                if times.is_some_and(|times| cast_exactly(times, field.data_type(), field.name()).is_err()) {
                    let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                    return Ok(Arc::new(field.as_ref().clone().with_data_type(micros)));
                }
            }
        }
        Ok(field.clone())
    });
    Ok(Arc::new(Schema::new(settled.collect::<Result<Vec<_>>>()?)))
}

/// The refusal of the first row of a batch that cannot be brought into a schema, with its number, after so many rows of its file.
fn refused_row(batch: &RecordBatch, target: &SchemaRef, before: usize, name: &str) -> Option<Error> {
    let refused =
        |row: usize| conform(&batch.slice(row, 1), target).err().map(|error| error.within(format!("{name}, row {}", before + row + 1)));
    (0..batch.num_rows()).find_map(refused)
}

/// The schema that holds the schemas of the files of one table, as the schemas of dates are unified.
fn unify_parts(schemas: &[(SchemaRef, &str)], rules: &TypeRules) -> Result<SchemaRef> {
    let Some(((first, _), others)) = schemas.split_first() else { return Err(Error::usage("there are no files to read")) };
    let mut all = first.clone();
    for (at, (schema, name)) in others.iter().enumerate() {
        let unified = unify(&all, schema).map_err(|clashes| {
            let clash = &clashes.0[0];
            let type_in = |schema: &SchemaRef| schema.field_with_name(&clash.column).ok().map(|field| field.data_type().clone());
            let typed = schemas[..=at].iter().filter_map(|(schema, name)| Some((type_in(schema)?, *name)));
            let (from, other) = typed
                .clone()
                .find(|(data_type, _)| widen(data_type, &clash.to).is_none())
                .or_else(|| typed.clone().next_back())
                .unwrap_or((clash.from.clone(), schemas[0].1));
            Error::refused(format!(
                "column '{}' is {} in {other} and {} in {name}, and no type holds both",
                clash.column,
                type_name(&from),
                type_name(&clash.to)
            ))
            .hint(rules.as_text(&clash.column, "the values as text"))
        })?;
        all = unified.0;
    }
    Ok(all)
}

/// The schema with declared types in the place of its own.
fn declared_schema(schema: &SchemaRef, rules: &TypeRules) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match rules.declared.get(field.name()) {
        Some(data_type) => field.as_ref().clone().with_data_type(data_type.clone()),
        None => field.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;

    use super::*;

    fn file(path: &Path) -> Object {
        local_object(path).expect("a file")
    }

    fn read_all(files: &[Object], rules: &TypeRules, name: Option<&str>) -> Result<Rows> {
        read(files, FormatRule::default().of(files)?, rules, name)
    }

    fn read_text(name: &str, text: &str, rules: &TypeRules) -> Result<(Vec<String>, Vec<String>)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        let rows = read_all(&[file(&path)], rules, Some("the file"))?;
        let types = rows.schema.fields().iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect();
        let mut shown = Vec::new();
        for batch in rows.batches {
            shown.extend(lines(&batch?));
        }
        Ok((types, shown))
    }

    fn lines(batch: &arrow::array::RecordBatch) -> Vec<String> {
        let cells = |row| batch.columns().iter().map(|column| crate::domain::cast::display(column, row)).collect::<Vec<_>>();
        (0..batch.num_rows()).map(|row| cells(row).join("|")).collect()
    }

    fn pinned(columns: &[(&str, DataType)]) -> TypeRules {
        let fields: Vec<_> = columns.iter().map(|(name, data_type)| arrow::datatypes::Field::new(*name, data_type.clone(), true)).collect();
        TypeRules { pinned: Some(std::sync::Arc::new(Schema::new(fields))), ..TypeRules::default() }
    }

    #[test]
    fn csv_types_are_what_all_values_agree_on() {
        let text = "id,code,price,ok,day,at,zoned,empty\n1,007,450.0,true,2024-01-31,2024-01-31 10:00:00,2024-01-31T10:00:00Z,\n-2,8,3,False,1999-12-31,2024-01-31T10:00:00.5,2024-01-31T10:00:00+01:00,\n";
        let (types, lines) = read_text("x.csv", text, &TypeRules::default()).expect("it reads");
        assert_eq!(
            types,
            ["id int64", "code text", "price float64", "ok bool", "day date", "at timestamp(us)", "zoned timestamp(us, UTC)", "empty null"]
        );
        assert_eq!(lines[1], "-2|8|3.0|false|1999-12-31|2024-01-31T10:00:00.500|2024-01-31T09:00:00Z|");
    }

    #[test]
    fn a_code_stays_text_if_it_was_text_and_a_float_stays_a_float() {
        let rules = pinned(&[("code", DataType::Utf8), ("price", DataType::Float64), ("n", DataType::Int64)]);
        let (types, lines) = read_text("x.csv", "code,price,n\n7,450,70\n", &rules).expect("it reads");
        assert_eq!((types, lines), (vec!["code text".into(), "price float64".into(), "n int64".into()], vec!["7|450.0|70".into()]));
    }

    #[test]
    fn an_integer_column_may_become_a_float_and_no_text() {
        let rules = pinned(&[("n", DataType::Int64)]);
        assert_eq!(read_text("x.csv", "n\n1.5\n", &rules).expect("it widens").0, ["n float64"]);
        let error = read_text("x.csv", "n\n1\nA7\n", &rules).expect_err("text");
        assert_eq!(error.to_string(), "the file, line 3: column 'n' was int64 in the copy before, and 'A7' is not a valid int64");
        assert_eq!(error.kind(), crate::error::Kind::Refused);
    }

    #[test]
    fn a_long_number_is_never_rounded() {
        let text = "id,n\n1,9007199254740993\n2,1.5\n";
        assert_eq!(read_text("x.csv", text, &TypeRules::default()).expect("text").0, ["id int64", "n text"]);
        let json = "{\"id\":1,\"n\":12345678901234567890}\n{\"id\":2,\"n\":1.5}\n";
        let (types, lines) = read_text("x.ndjson", json, &TypeRules::default()).expect("text");
        assert_eq!((types[1].as_str(), lines[0].as_str()), ("n text", "1|12345678901234567890"));
        let error = read_text("x.csv", "n\n9007199254740993\n", &pinned(&[("n", DataType::Float64)])).expect_err("too long");
        assert_eq!(
            error.to_string(),
            "the file, line 2: column 'n' was float64 in the copy before, and '9007199254740993' is not a valid float64"
        );
        let declared = TypeRules { declared: [("n".to_owned(), DataType::Float64)].into(), ..TypeRules::default() };
        assert!(read_text("x.csv", "n\n9007199254740993\n", &declared).is_err());
    }

    #[test]
    fn text_that_is_not_the_canonical_form_of_its_type_is_refused_or_text() {
        let first_day = |values: &str| read_text("x.csv", &format!("x\n{values}\n"), &TypeRules::default()).expect("it reads").0[0].clone();
        for codes in ["90210\n02134", "1\n+1", "5\n12E3", "1\n1e400", "1.5\n0.12345678901234567890123", "1\n18446744073709551616"] {
            assert_eq!(first_day(codes), "x text", "{codes}");
        }
        assert_eq!(first_day("1.5\n1e+20\n-0.0"), "x float64");
        assert_eq!(first_day("2024-01-31\n9999-12-31 00:00:00\n0001-01-01 00:00:00"), "x timestamp(us)");
        assert_eq!(first_day("2024-12-31 10:00:00.123456789"), "x timestamp(ns)");
        assert_eq!(first_day("2024-12-31 10:00:00.123456789\n9999-12-31 00:00:00"), "x text");
        assert_eq!(first_day("2024-01-01 10:00:00 America/New_York\n2024-01-01 10:00:00 UTC"), "x timestamp(us, UTC)");
        assert_eq!(first_day("2024-01-01 10:00:00 America/New_York\n2024-01-01 10:00:00"), "x text");
        let second_day = |pinned_type: &str, value: &str| {
            let rules = pinned(&[("x", crate::domain::schema::parse_type(pinned_type).expect("a type"))]);
            read_text("x.csv", &format!("x\n{value}\n"), &rules).map(|(types, lines)| format!("{} = {}", types[0], lines[0]))
        };
        for (pinned_type, value, expected) in [
            ("int32", "3000000000", "x int64 = 3000000000"),
            ("uint64", "18446744073709551615", "x uint64 = 18446744073709551615"),
            ("uint8", "-1", "x int64 = -1"),
            ("timestamp(ms)", "2024-01-01 00:00:00.000001", "x timestamp(us) = 2024-01-01T00:00:00.000001"),
            ("timestamp(ms)", "2024-01-01", "x timestamp(ms) = 2024-01-01T00:00:00"),
            ("timestamp(ns)", "9999-12-31 00:00:00", "x timestamp(us) = 9999-12-31T00:00:00"),
            ("date", "2024-01-01 00:00:00", "x date = 2024-01-01"),
            ("date", "2024-01-01 23:30:00", "x timestamp(us) = 2024-01-01T23:30:00"),
            ("decimal(10, 2)", "1.205", "x decimal(11, 3) = 1.205"),
            ("decimal(38, 2)", "1E-2", "x decimal(38, 2) = 0.01"),
            ("float32", "0.1", "x float32 = 0.1"),
            ("float32", "16777217", "x float64 = 16777217.0"),
            ("float64", "NaN", "x float64 = NaN"),
            ("list<int64>", "\"[1, null]\"", "x list<int64> = [1, null]"),
            ("time", "10:00:00.000999", "x time = 10:00:00.000999"),
        ] {
            assert_eq!(second_day(pinned_type, value).expect(value), expected);
        }
        for (pinned_type, value) in [
            ("int64", "02134"),
            ("int64", "+447700900123"),
            ("int64", "12E3"),
            ("int64", "9223372036854775808"),
            ("uint64", "-1"),
            ("float64", "1e400"),
            ("float64", "1e-400"),
            ("float64", "007"),
            ("float64", "9007199254740993"),
            ("decimal(38, 0)", "1.5"),
            ("decimal(38, 2)", "1.239"),
            ("date", "2024-01-01T23:00:00-05:00"),
            ("timestamp(us)", "2024-01-01 10:00:00 America/New_York"),
            ("timestamp(us)", "9999-12-31 23:59:59.9999999"),
            ("timestamp(us, UTC)", "2024-01-01 10:00:00"),
            ("time(ms)", "10:00:00.000999"),
            ("list<int64>", "\"[1, NULL]\""),
            ("list<text>", "[x]"),
            ("binary", "6162"),
            ("duration(us)", "5"),
        ] {
            let error = second_day(pinned_type, value).expect_err(value);
            assert_eq!(error.kind(), crate::error::Kind::Refused);
            assert!(error.to_string().starts_with("the file, line 2: column 'x' was"), "{error}");
        }
    }

    #[test]
    fn a_declared_type_overrules_all() {
        let rules = TypeRules { declared: [("n".to_owned(), DataType::Utf8)].into(), ..pinned(&[("n", DataType::Int64)]) };
        assert_eq!(read_text("x.csv", "n\n007\n", &rules).expect("text").1, ["007"]);
        let rules = TypeRules { declared: [("cod".to_owned(), DataType::Utf8)].into(), ..TypeRules::default() };
        let error = read_text("x.csv", "code\n007\n", &rules).expect_err("no column cod");
        assert_eq!((error.to_string().as_str(), error.hints()[0].as_str()), ("the file has no column 'cod'", "did you mean 'code'?"));
    }

    #[test]
    fn damaged_text_is_refused_with_its_line() {
        let message = |name: &str, text: &str| read_text(name, text, &TypeRules::default()).expect_err("damaged").to_string();
        assert_eq!(message("x.csv", "a,b\n1,2\n3\n"), "the file, line 3: expected 2 fields, found 1");
        assert_eq!(message("x.csv", "a,b\n1,2,3\n"), "the file, line 2: expected 2 fields, found 3");
        assert_eq!(message("x.csv", "a,a\n1,2\n"), "the file has two columns named 'a'");
        assert_eq!(message("x.csv", "\r\n\r\na,b\r\n1,2\r\n\r\n\"x\r\ny\",2\r\n3\r\n"), "the file, line 8: expected 2 fields, found 1");
        assert_eq!(message("x.csv", "a,b\n1,\"2\n"), "the file ends inside a quoted value, in the row that begins on line 2");
        let escaped = "the file, line 3: a quoted value goes on after its closing quote";
        assert_eq!(message("x.csv", "a,b\n\"1\"\"\",\"2\"\n3,\"4 \\\"5\\\" 6\"\n"), escaped);
        assert_eq!(message("x.ndjson", "{\"a\":1}\n{\"a\":\n"), "the file, line 3: invalid JSON: incomplete document");
        assert_eq!(message("x.ndjson", "{\"a\":1}\n\n{\"a\":3,}\n"), "the file, line 3: invalid JSON: trailing comma not enabled");
        assert_eq!(message("x.ndjson", "{\"a\":1}\n{\"a\":1,\"a\":2}\n"), "the file, line 2: the object has the field 'a' twice");
        assert_eq!(message("x.ndjson", "[1]"), "the file, line 1: expected a JSON object, found a number");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.csv");
        std::fs::write(&path, b"a,b\n1,caf\xe9\n").expect("written");
        let error = read_all(&[file(&path)], &TypeRules::default(), Some("the file")).err().expect("no UTF-8");
        assert_eq!(error.to_string(), "the file, line 2: column 'b' is not UTF-8 text");
    }

    #[test]
    fn ndjson_keeps_nested_values() {
        let (types, lines) =
            read_text("x.jsonl", "{\"id\":1,\"tags\":[\"a\",null],\"at\":{\"x\":1.5}}\n{\"id\":2}\n", &TypeRules::default())
                .expect("it reads");
        assert_eq!(types, ["id int64", "tags list<text>", "at struct<x: float64>"]);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn files_of_one_table_must_agree() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            file(&path)
        };
        let (a, b, c) = (path("a.csv", "id,n\n1,2\n"), path("b.csv", "n,id\n2.5,3\n"), path("c.csv", "id\n1\n"));
        let rows = read_all(&[a.clone(), b], &TypeRules::default(), None).expect("order may differ");
        assert_eq!(type_name(rows.schema.field(1).data_type()), "float64", "types are decided over all files");
        let parts = [a, c, path("d.csv", ""), path("e.csv", "m,n\n7,8\n")];
        let rows = read_all(&parts, &TypeRules::default(), None).expect("they unify");
        let shown: Vec<String> = rows.batches.map(|batch| lines(&batch.expect("rows")).join(";")).collect();
        assert_eq!(shown, ["1|2|;1||;|8|7"], "an absent column is one of nulls, and an empty part has no rows");
        assert_eq!(files_of(&Location::local(folder.path().join("*.csv"))).expect("files").len(), 5);
        assert_eq!(files_of(&Location::local(folder.path())).expect("files").len(), 5);
        assert_eq!(files_of(&Location::local(folder.path().join("*.parquet"))).expect_err("none").kind(), crate::error::Kind::Io);
    }

    /// Writes columns as a Parquet or an Arrow IPC file.
    fn typed_file(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> Object {
        let path = folder.join(name);
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).expect("columns");
        let out = std::fs::File::create(&path).expect("a file");
        if name.ends_with(".parquet") {
            let mut writer = parquet::arrow::ArrowWriter::try_new(out, rows.schema(), None).expect("a writer");
            writer.write(&rows).expect("written");
            writer.close().expect("closed");
        } else {
            let mut writer = arrow::ipc::writer::FileWriter::try_new(out, &rows.schema()).expect("a writer");
            writer.write(&rows).expect("written");
            writer.finish().expect("closed");
        }
        file(&path)
    }

    #[test]
    fn files_of_one_table_unify_as_dates_do() {
        use arrow::array::{
            Decimal128Array, Int32Array, Int64Array, NullArray, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
        };
        let decimal = |value, precision, scale| -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).expect("a decimal"))
        };
        let pairs: Vec<(ArrayRef, Option<ArrayRef>, &str, [&str; 2])> = vec![
            (Arc::new(NullArray::new(1)), Some(Arc::new(StringArray::from(vec!["y"]))), "text", ["", "y"]),
            (Arc::new(Int32Array::from(vec![1])), Some(Arc::new(Int64Array::from(vec![1 << 40]))), "int64", ["1", "1099511627776"]),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1])),
                Some(Arc::new(TimestampNanosecondArray::from(vec![1]))),
                "timestamp(ns)",
                ["1970-01-01T00:00:00.000001", "1970-01-01T00:00:00.000000001"],
            ),
            (decimal(15, 3, 1), Some(decimal(12_345, 5, 2)), "decimal(5, 2)", ["1.50", "123.45"]),
            (Arc::new(StringArray::from(vec!["x"])), None, "text", ["x", ""]),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        for ending in ["parquet", "arrow"] {
            for (one, other, expected, texts) in &pairs {
                for turned in [false, true] {
                    let id = || -> ArrayRef { Arc::new(Int64Array::from(vec![7])) };
                    let mut parts = [
                        vec![("id", id()), ("v", one.clone())],
                        [vec![("id", id())], other.iter().map(|other| ("v", other.clone())).collect()].concat(),
                    ];
                    let mut texts = *texts;
                    if turned {
                        parts.reverse();
                        texts.reverse();
                    }
                    let [first, second] = parts;
                    let files = [
                        typed_file(folder.path(), &format!("a.{ending}"), first),
                        typed_file(folder.path(), &format!("b.{ending}"), second),
                    ];
                    let format = FormatRule::default().of(&files).expect("a format");
                    let rules = TypeRules::default();
                    let column = ["v".to_owned()];
                    let whole = read(&files, format, &rules, None).expect("they unify");
                    assert_eq!(type_name(whole.schema.field_with_name("v").expect("v").data_type()), *expected);
                    let few = read_as_dictionaries(&files, format, &rules, &[]).expect("they unify");
                    assert_eq!(few.schema, whole.schema);
                    let one_column = read_columns(&files, format, &rules, &column, None).expect("they unify");
                    for batches in [whole.batches, few.batches, one_column] {
                        let found: Vec<String> = batches
                            .map(|batch| crate::domain::cast::display(batch.expect("rows").column_by_name("v").expect("v"), 0))
                            .collect();
                        assert_eq!(found, texts, "{ending}, {expected}");
                    }
                }
            }
            let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
            let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
            let null: ArrayRef = Arc::new(NullArray::new(1));
            let files = [("0", null), ("1", text), ("2", number)]
                .map(|(name, column)| typed_file(folder.path(), &format!("{name}.{ending}"), vec![("v", column)]));
            let error = read_all(&files, &TypeRules::default(), None).err().expect("no type holds both");
            let said = error.to_string();
            assert!(said.contains("column 'v' is text in") && said.contains(&format!("1.{ending}' and int32 in")), "{said}");
            let declared = TypeRules { declared: [("v".to_owned(), DataType::Utf8)].into(), ..TypeRules::default() };
            assert_eq!(read_all(&files, &declared, None).expect("declared").batches.count(), 3);
        }
    }

    #[test]
    fn times_of_several_units_are_in_the_unit_that_holds_them() {
        use arrow::array::{TimestampMicrosecondArray, TimestampNanosecondArray};
        const YEAR_9999: i64 = 253_402_300_799_000_000;
        let folder = tempfile::tempdir().expect("a folder");
        for ending in ["parquet", "arrow"] {
            let files = |micros: i64, nanos: i64| {
                let columns: [(&str, ArrayRef); 2] = [
                    ("a", Arc::new(TimestampMicrosecondArray::from(vec![micros]))),
                    ("b", Arc::new(TimestampNanosecondArray::from(vec![nanos]))),
                ];
                columns.map(|(name, column)| typed_file(folder.path(), &format!("{name}.{ending}"), vec![("at", column)]))
            };
            let shown = |micros: i64, nanos: i64| {
                let rows = read_all(&files(micros, nanos), &TypeRules::default(), None)?;
                rows.batches.map(|batch| Ok(lines(&batch?).join(""))).collect::<Result<Vec<_>>>()
            };
            assert_eq!(shown(YEAR_9999, 1000).expect("microseconds hold both"), ["9999-12-31T23:59:59", "1970-01-01T00:00:00.000001"]);
            assert_eq!(shown(1, 1).expect("nanoseconds hold both"), ["1970-01-01T00:00:00.000001", "1970-01-01T00:00:00.000000001"]);
            let error = shown(YEAR_9999, 1).expect_err("no unit holds both").to_string();
            assert!(error.contains(&format!("b.{ending}', row 1: column 'at': the value 1970-01-01T00:00:00.000000001")), "{error}");
        }
    }

    #[test]
    fn a_part_without_a_byte_has_no_rows_and_a_file_without_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let zipped = |bytes: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            gzip.write_all(bytes).expect("compressed");
            gzip.finish().expect("compressed")
        };
        let parts: [(&str, Vec<u8>); 5] = [
            ("a.csv", vec![]),
            ("b.csv", b"id,v\n1,x\n".to_vec()),
            ("c.csv", vec![]),
            ("d.csv", b"id\n2\n".to_vec()),
            ("e.csv", zipped(b"")),
        ];
        let files = parts.map(|(name, bytes)| {
            std::fs::write(folder.path().join(name), bytes).expect("written");
            file(&folder.path().join(name))
        });
        let rows = read_all(&files, &TypeRules::default(), None).expect("two parts have rows");
        assert_eq!(rows.batches.flat_map(|batch| lines(&batch.expect("rows"))).collect::<Vec<_>>(), ["1|x", "2|"]);
        for empty in [&files[..1], &files[4..]] {
            assert_eq!(read_all(empty, &TypeRules::default(), None).err().expect("empty").kind(), crate::error::Kind::Refused);
        }
    }

    #[test]
    fn a_format_is_told_by_the_name_or_by_the_first_bytes() {
        use arrow::array::Int64Array;
        let folder = tempfile::tempdir().expect("a folder");
        let column = || vec![("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)];
        for (written, format) in [("x.parquet", Format::Parquet), ("x.arrow", Format::Arrow)] {
            typed_file(folder.path(), written, column());
            let nameless = folder.path().join("000000_0");
            std::fs::copy(folder.path().join(written), &nameless).expect("copied");
            assert_eq!(FormatRule::default().of(&[file(&nameless)]).expect("its bytes tell"), format);
        }
        let text = folder.path().join("000001_0");
        std::fs::write(&text, "id\n1\n").expect("written");
        let rule = FormatRule { declared: None, option: "--source-format csv".to_owned() };
        let error = rule.of(&[file(&text)]).expect_err("text tells nothing");
        assert_eq!((error.kind(), error.hints()), (crate::error::Kind::Usage, ["--source-format csv".to_owned()].as_slice()));
        assert_eq!(FormatRule { declared: Some(Format::Csv), ..rule }.of(&[file(&text)]).expect("declared"), Format::Csv);
        let mixed = [file(&folder.path().join("x.parquet")), file(&folder.path().join("x.arrow"))];
        assert_eq!(FormatRule::default().of(&mixed).expect_err("two formats").kind(), crate::error::Kind::Refused);
    }

    #[test]
    fn a_folder_stands_for_all_that_is_below_it_and_is_not_hidden() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = crate::storage::stores::Stores::new(Vec::new(), Default::default()).expect("stores").in_memory("memory://test");
        for path in ["in/a.csv", "in/eu/b.csv", "in/eu/deep/c.csv", "in/_tmp/d.csv", "in/eu/.hidden/e.csv", "in/_SUCCESS", "into/f.csv"] {
            let local = folder.path().join(path);
            std::fs::create_dir_all(local.parent().expect("a folder")).expect("made");
            std::fs::write(local, "id\n1\n").expect("written");
            store.put(path, b"id\n1\n".to_vec()).expect("written");
        }
        store.put("in/eu", Vec::new()).expect("the marker of a folder");
        for root in [Location::local(folder.path()), Location::remote(store, "")] {
            let names = |pattern: &str| -> Vec<String> {
                files_of(&root.join(pattern)).expect("files").iter().filter_map(|object| object.location.below(&root)).collect()
            };
            assert_eq!(names("in"), ["in/a.csv", "in/eu/b.csv", "in/eu/deep/c.csv"]);
            assert_eq!(names("in/**/*.csv"), ["in/a.csv", "in/eu/b.csv", "in/eu/deep/c.csv"]);
            assert_eq!(names("in/*.csv"), ["in/a.csv"]);
        }
    }

    #[test]
    fn folders_hold_columns() {
        use crate::domain::layout::Layout;
        use crate::storage::partitions::find;
        use arrow::array::Int64Array;
        let folder = tempfile::tempdir().expect("a folder");
        let store = crate::storage::stores::Stores::new(Vec::new(), Default::default()).expect("stores").in_memory("memory://test");
        let files = [
            ("country=DE/hour=7", 1),
            ("country=US/hour=07", 2),
            ("country=__HIVE_DEFAULT_PARTITION__/hour=8", 3),
            ("country=a%2Fb/plain", 4),
        ];
        for (ending, root) in [("csv", "text"), ("ndjson", "json"), ("parquet", "typed"), ("arrow", "ipc")] {
            for (path, id) in files {
                let path = format!("{root}/date=2024-01-01/{path}/x.{ending}");
                let local = folder.path().join(&path);
                std::fs::create_dir_all(local.parent().expect("a folder")).expect("made");
                match ending {
                    "csv" => std::fs::write(&local, format!("id\n{id}\n")).expect("written"),
                    "ndjson" => std::fs::write(&local, format!("{{\"id\":{id}}}\n")).expect("written"),
                    _ => drop(typed_file(
                        local.parent().expect("a folder"),
                        &format!("x.{ending}"),
                        vec![("id", Arc::new(Int64Array::from(vec![id])))],
                    )),
                }
                store.put(&path, std::fs::read(local).expect("its bytes")).expect("written");
            }
            let layout = Layout::parse("date=%Y-%m-%d").expect("a layout");
            for place in [Location::local(folder.path()), Location::remote(store.clone(), "")] {
                let partition = find(&place.join(root), &layout, None).expect("found").partitions.into_values().next().expect("one date");
                let source = files_of(&place.join(root).join("date=2024-01-01")).expect("files");
                let glob = files_of(&place.join(root).join("date=2024-01-01/**/*.*")).expect("files");
                for objects in [partition, source, glob] {
                    let rules = TypeRules { layout: LayoutColumns::of_table(&layout), ..TypeRules::default() };
                    let rows = read_all(&objects, &rules, None).expect("it reads");
                    let types: Vec<_> =
                        rows.schema.fields().iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect();
                    assert_eq!(types, ["id int64", "country text", "hour text"], "07 is a code");
                    let mut all: Vec<String> = rows.batches.flat_map(|batch| lines(&batch.expect("rows"))).collect();
                    all.sort();
                    assert_eq!(all, ["1|DE|7", "2|US|07", "3||8", "4|a/b|"], "{place}, {ending}");
                    let columns = ["country".to_owned()];
                    let read = read_columns(&objects, Format::of(&objects[0].location).expect("a format"), &rules, &columns, None);
                    let mut all: Vec<String> = read.expect("it reads").flat_map(|batch| lines(&batch.expect("rows"))).collect();
                    all.sort();
                    assert_eq!(all, ["", "DE", "US", "a/b"]);
                }
            }
        }
        let objects = files_of(&Location::local(folder.path().join("text/date=2024-01-01/country=DE"))).expect("files");
        let rules = TypeRules { declared: [("hour".to_owned(), DataType::Int32)].into(), ..TypeRules::default() };
        assert_eq!(read_all(&objects, &TypeRules::default(), None).expect("it reads").schema.field(1).data_type(), &DataType::Utf8);
        assert_eq!(read_all(&objects, &rules, None).expect("it reads").schema.field(1).data_type(), &DataType::Int32);
        let own = |text: &str| {
            std::fs::write(folder.path().join("text/date=2024-01-01/country=DE/hour=7/x.csv"), text).expect("written");
            let rows = read_all(&objects, &TypeRules::default(), None).expect("it reads");
            rows.batches.collect::<Result<Vec<_>>>().map(|batches| batches.iter().flat_map(lines).collect::<Vec<_>>())
        };
        assert_eq!(own("hour,id\n7,1\n").expect("both agree"), ["7|1"], "the file's own column is read");
        let error = own("hour,id\n7,1\n8,2\n").expect_err("both must agree").to_string();
        assert!(error.ends_with("country=DE/hour=7': column 'hour' holds 8, and its folder says '7'"), "{error}");
        let error = own("hour,id\n7,1\n,2\n").expect_err("both must agree").to_string();
        assert!(error.ends_with("column 'hour' holds null, and its folder says '7'"), "{error}");
    }

    #[test]
    fn the_date_of_a_layout_is_a_column_of_events_and_none_of_a_table() {
        use crate::domain::layout::Layout;
        use crate::storage::partitions::find;
        use arrow::array::{Date32Array, Int32Array, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray};
        let day = 19_723;
        let midnight = i64::from(day) * 86_400_000_000;
        // What a file's own column is in a table and in events: left out, kept as it is, or refused.
        let cases: [(&str, ArrayRef, Option<&str>, Option<&str>); 7] = [
            ("dt=%Y-%m-%d", Arc::new(Date32Array::from(vec![day])), Some(""), Some("2024-01-01")),
            ("dt=%Y-%m-%d", Arc::new(StringArray::from(vec!["2024-01-01"])), Some(""), Some("2024-01-01")),
            ("dt=%Y%m%d", Arc::new(StringArray::from(vec!["2024-01-01"])), Some(""), Some("2024-01-01")),
            ("dt=%Y%m%d", Arc::new(Int32Array::from(vec![20_240_101])), Some(""), Some("20240101")),
            ("dt=%Y-%m-%d", Arc::new(TimestampMillisecondArray::from(vec![midnight / 1000])), Some(""), Some("2024-01-01T00:00:00")),
            ("dt=%Y-%m-%d", Arc::new(TimestampMicrosecondArray::from(vec![midnight + 1])), None, Some("2024-01-01T00:00:00.000001")),
            ("dt=%Y-%m-%d", Arc::new(Date32Array::from(vec![day + 1])), None, None),
        ];
        for (template, own, in_table, in_events) in cases {
            let layout = Layout::parse(template).expect("a layout");
            let folder = tempfile::tempdir().expect("a folder");
            let partition = folder.path().join(layout.path(crate::model::parse_date("2024-01-01").expect("a date")));
            std::fs::create_dir_all(&partition).expect("made");
            let shown = |own: Option<ArrayRef>, columns: LayoutColumns| {
                let id: ArrayRef = Arc::new(Int32Array::from(vec![1]));
                typed_file(&partition, "x.parquet", [("id", id)].into_iter().chain(own.map(|own| ("dt", own))).collect());
                let found = find(&Location::local(folder.path()), &layout, None).expect("found").partitions;
                let objects = found.into_values().next().expect("one date");
                let rows = read_all(&objects, &TypeRules { layout: columns, ..TypeRules::default() }, None).expect("it opens");
                let width = rows.schema.fields().len();
                let batches = rows.batches.collect::<Result<Vec<_>>>().ok()?;
                let batch = &batches[0];
                assert_eq!(batch.num_columns(), width);
                Some(batch.columns().iter().skip(1).map(|column| crate::domain::cast::display(column, 0)).collect::<Vec<_>>().join(","))
            };
            assert_eq!(shown(Some(own.clone()), LayoutColumns::of_table(&layout)).as_deref(), in_table, "{template}, {own:?}");
            assert_eq!(shown(Some(own.clone()), LayoutColumns::of_events(&layout)).as_deref(), in_events, "{template}, {own:?}");
            assert_eq!(shown(None, LayoutColumns::of_table(&layout)).as_deref(), Some(""));
            assert_eq!(shown(None, LayoutColumns::of_events(&layout)).as_deref(), Some("2024-01-01"));
            let unwanted = LayoutColumns::of_events(&layout).without(vec!["dt".to_owned()]);
            assert_eq!(shown(None, unwanted).as_deref(), Some(""));
        }
    }

    #[test]
    fn a_folder_that_is_a_table_of_another_format_is_refused() {
        use crate::domain::layout::Layout;
        use crate::storage::partitions::find;
        let date = |text| crate::model::parse_date(text).expect("a date");
        let range = crate::model::DateRange::new(date("2024-01-01"), date("2024-01-02")).expect("a range");
        for (log, name) in [
            ("_delta_log/00000000000000000000.json", "Delta Lake"),
            (".hoodie/hoodie.properties", "Hudi"),
            ("metadata/00000-1.metadata.json", "Iceberg"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let store = crate::storage::stores::Stores::new(Vec::new(), Default::default()).expect("stores").in_memory("memory://test");
            for path in [
                "dim/date=2024-01-01/a.parquet".to_owned(),
                format!("dim/{log}"),
                "plain/date=2024-01-01/a.parquet".to_owned(),
                format!("dated/date=2024-01-02/{log}"),
                "dated/date=2024-01-02/a.parquet".to_owned(),
            ] {
                let local = folder.path().join(&path);
                std::fs::create_dir_all(local.parent().expect("a folder")).expect("made");
                std::fs::write(local, "x").expect("written");
                store.put(&path, b"x".to_vec()).expect("written");
            }
            for root in [Location::local(folder.path()), Location::remote(store, "")] {
                let layout = Layout::parse("date=%Y-%m-%d").expect("a layout");
                let refusals = [
                    files_of(&root.join("dim")).err(),
                    files_of(&root.join("dim/**/*.parquet")).err(),
                    find(&root.join("dim"), &layout, Some(range)).err(),
                    find(&root.join("dated"), &layout, Some(range)).err(),
                ];
                for (at, refusal) in refusals.into_iter().enumerate() {
                    let refusal = refusal.unwrap_or_else(|| panic!("{name}, {at} in {root} was read"));
                    assert_eq!(refusal.kind(), crate::error::Kind::Refused, "{refusal}");
                    assert!(refusal.to_string().contains(name) && refusal.hints()[0].starts_with("export it first"), "{refusal}");
                }
                assert_eq!(files_of(&root.join("plain")).expect("a plain folder").len(), 1);
                assert_eq!(find(&root.join("plain"), &layout, Some(range)).expect("a plain folder").dates().len(), 1);
            }
        }
    }

    #[test]
    fn texts_that_all_files_have_in_short_dictionaries_come_as_dictionaries() {
        use arrow::array::{AsArray, StringArray};
        use parquet::arrow::ArrowWriter;
        use parquet::file::properties::WriterProperties;
        let folder = tempfile::tempdir().expect("a folder");
        let texts = |of: &dyn Fn(u32) -> Option<String>| -> ArrayRef { Arc::new((0..3000).map(of).collect::<StringArray>()) };
        let few = || texts(&|row| (row % 7 > 0).then(|| format!("kind {}", row % 7)));
        let columns = |odd: ArrayRef| {
            let many = texts(&|row| Some(format!("{row} of many, which are longer than a short dictionary has room for: {row:>32}")));
            let large: ArrayRef = Arc::new(arrow::compute::cast(&few(), &DataType::LargeUtf8).expect("texts"));
            RecordBatch::try_from_iter([
                ("key", few()),
                ("few", few()),
                ("odd", odd),
                ("many", many),
                ("large", large),
                ("declared", few()),
            ])
        };
        let written = |name: &str, has_dictionary: bool, columns: RecordBatch| {
            let path = folder.path().join(name);
            let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1100));
            let properties = properties.set_column_dictionary_enabled("odd".into(), has_dictionary).build();
            let file = std::fs::File::create(&path).expect("a file");
            let mut writer = ArrowWriter::try_new(file, columns.schema(), Some(properties)).expect("a writer");
            writer.write(&columns).expect("written");
            writer.close().expect("closed");
            local_object(&path).expect("a file")
        };
        let one = written("a.parquet", true, columns(few()).expect("columns"));
        let other = written("b.parquet", false, columns(few()).expect("columns"));
        let rules = TypeRules { declared: [("declared".to_owned(), DataType::Utf8)].into(), ..TypeRules::default() };
        for (files, expected) in [(vec![one.clone()], vec!["few", "odd", "large"]), (vec![one, other], vec!["few", "large"])] {
            let plain = read_all(&files, &rules, None).expect("they read");
            let rows = read_as_dictionaries(&files, Format::Parquet, &rules, &["key".to_owned()]).expect("they read");
            assert_eq!(rows.schema, plain.schema);
            let batches = rows.batches.collect::<Result<Vec<_>>>().expect("rows");
            let plain = plain.batches.collect::<Result<Vec<_>>>().expect("rows");
            for name in ["key", "few", "odd", "many", "large", "declared"] {
                let values = |batches: &[RecordBatch]| -> Vec<Option<String>> {
                    let texts = |batch: &RecordBatch| {
                        let column = batch.column_by_name(name).expect("a column");
                        assert!(expected.contains(&name) || column.data_type() == &DataType::Utf8, "{name}");
                        arrow::compute::cast(column, &DataType::Utf8).expect("texts")
                    };
                    let all: Vec<ArrayRef> = batches.iter().map(texts).collect();
                    all.iter()
                        .flat_map(|texts| texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>())
                        .collect()
                };
                assert_eq!(values(&batches), values(&plain), "{name}");
                let is_dictionary =
                    |batch: &RecordBatch| matches!(batch.column_by_name(name).expect("a column").data_type(), DataType::Dictionary(..));
                assert!(batches.iter().all(|batch| is_dictionary(batch) == expected.contains(&name)), "{name}");
            }
        }
    }

    #[test]
    fn compression_is_seen_by_the_first_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"a\n1\n").expect("compressed");
        let gzip = gzip.finish().expect("compressed");
        let zstd = zstd::encode_all(b"a\n1\n".as_slice(), 3).expect("compressed");
        for (name, bytes) in [("x.csv.gz", gzip), ("x.csv.zst", zstd)] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            let rows = read_all(&[file(&path)], &TypeRules::default(), None).expect("it reads");
            assert_eq!(rows.batches.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), 1);
        }
    }
}
