//! Sources: rows from files that other tools wrote, in any format, as batches of canonical types.
//!
//! | format | endings | read |
//! | --- | --- | --- |
//! | Parquet | `.parquet`, `.pq` | in place, a batch at a time |
//! | Arrow IPC | `.arrow`, `.ipc`, `.feather` | in place, a batch at a time |
//! | CSV, TSV | `.csv`, `.tsv` | once; text is set aside until types are known |
//! | NDJSON | `.ndjson`, `.jsonl`, `.json` | once; text is set aside until types are known |
//!
//! Text may be compressed by gzip or zstd, which is seen by its first bytes. A source is read once: what
//! has to be looked at twice is set aside in an unnamed temporary file, so that a source that changes
//! meanwhile cannot give half of one state and half of another. Memory is a batch, whatever the format.
//!
//! Text has no types, so they are decided in this order ([`TypeRules`]): the declared one; the one the
//! previous snapshot had, so that a code `007` stays text if it was text; what all values agree on.

mod csv_text;
mod guess;
mod ndjson;

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use crate::domain::schema::{canonical_schema, type_name};
use crate::error::{Context, Error, Result};
use crate::storage::Batches;
use crate::storage::location::{Location, Object, is_data};
use crate::storage::object::{ParquetObject, RowCondition, to_canonical, with_dictionaries};
use crate::storage::partitions::local_object;
use crate::storage::read::{ObjectReader, ObjectStream};

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

impl Format {
    /// The format that a file's name says, behind `.gz` or `.zst`.
    pub fn of(file: &Location) -> Option<Format> {
        let name = file.name().to_lowercase();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
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
    /// The schema of the previous snapshot.
    pub pinned: Option<SchemaRef>,
}

impl TypeRules {
    fn pinned(&self, column: &str) -> Option<&DataType> {
        let field = self.pinned.as_ref()?.fields().iter().find(|field| field.name() == column)?;
        (field.data_type() != &DataType::Null).then(|| field.data_type())
    }

    /// Refuses a declaration for a column that is not there.
    fn check(&self, schema: &Schema, what: &str) -> Result<()> {
        for name in self.declared.keys() {
            if schema.field_with_name(name).is_err() {
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
    fn stream(&self) -> Result<ObjectStream> {
        ObjectReader::open_listed(&self.object)?.stream()
    }

    /// Opens the file, decompressed, and says what its first bytes are.
    fn open(&self) -> Result<Box<dyn Read + Send>> {
        let doing = || format!("cannot read {}", self.name);
        let mut file = self.stream()?;
        let mut magic = [0u8; 4];
        let got = file.read(&mut magic).io_context(doing)?;
        file.rewind().io_context(doing)?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(match &magic[..got] {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::with_buffer(file).io_context(doing)?),
            _ => Box::new(file),
        })
    }
}

/// The files that a path or a glob names, sorted. A folder stands for the data files in it.
///
/// # Errors
/// A failure if there are none: a nightly source may not have come yet.
pub fn files_of(pattern: &Location) -> Result<Vec<Object>> {
    let mut files = match pattern.as_local() {
        Some(path) => local_files_of(path)?,
        None => pattern.objects_like()?,
    };
    files.retain(|object| is_data(&object.location.name()));
    if files.is_empty() {
        let text = if pattern.is_folder()? { format!("{pattern}/*") } else { pattern.to_string() };
        return Err(Error::io(format!("no file matches '{text}'")));
    }
    files.sort_by(|one, other| one.relative.cmp(&other.relative));
    Ok(files)
}

fn local_files_of(pattern: &Path) -> Result<Vec<Object>> {
    let is_folder = pattern.is_dir();
    // The name of a folder is no pattern, whatever it is made of.
    let text =
        if is_folder { format!("{}/*", glob::Pattern::escape(&pattern.to_string_lossy())) } else { pattern.to_string_lossy().into() };
    let is_glob = is_folder || text.contains(['*', '?', '[']) && !pattern.exists();
    let mut files = Vec::new();
    if is_glob {
        let paths = glob::glob(&text).map_err(|error| Error::usage(format!("'{text}' is no pattern of files: {error}")))?;
        for path in paths {
            let path = path.io_context(|| format!("cannot list '{text}'"))?;
            if path.is_file() {
                files.push(local_object(&path)?);
            }
        }
    } else if pattern.is_file() {
        files.push(local_object(pattern)?);
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
/// `format` overrules the files' endings. `name` is what errors call a single file, if not its path.
///
/// # Errors
/// A usage error for a format that cannot be told; a refusal for files that are damaged or differ in
/// their columns, naming file and column.
pub fn read(files: &[Object], format: Option<Format>, rules: &TypeRules, name: Option<&str>) -> Result<Rows> {
    let inputs: Vec<Input> = files
        .iter()
        .map(|object| Input { object: object.clone(), name: name.map_or_else(|| format!("'{}'", object.location), str::to_owned) })
        .collect();
    let format = match format {
        Some(format) => format,
        None => common_format(files)?,
    };
    match format {
        Format::Csv => csv_text::read(&inputs, b',', rules),
        Format::Tsv => csv_text::read(&inputs, b'\t', rules),
        Format::Ndjson => ndjson::read(&inputs, rules),
        Format::Parquet => typed(&inputs, rules, open_parquet),
        Format::Arrow => typed(&inputs, rules, open_arrow),
    }
}

/// Reads files as one table, like [`read`], but for texts that Parquet files have in short dictionaries: those come as dictionaries, unless they
/// are one of the columns `but`. The schema is the one that [`read`] gives.
///
/// # Errors
/// As [`read`].
pub fn read_as_dictionaries(files: &[Object], format: Option<Format>, rules: &TypeRules, but: &[String]) -> Result<Rows> {
    if format.map_or_else(|| common_format(files), Ok)? != Format::Parquet {
        return read(files, format, rules, None);
    }
    let objects = files.iter().map(ParquetObject::open_listed).collect::<Result<Vec<_>>>()?;
    let Some((first, others)) = objects.split_first() else { return Err(Error::usage("there are no files to read")) };
    let name = |object: &ParquetObject| format!("'{}'", object.location());
    let mut texts = first.texts_in_dictionaries();
    texts.retain(|text| !but.contains(text) && !rules.declared.contains_key(text));
    for other in others {
        same_columns(first.schema(), other.schema(), &name(first), &name(other))?;
        let known = other.texts_in_dictionaries();
        texts.retain(|text| known.contains(text));
    }
    rules.check(first.schema(), &name(first))?;
    let schema = declared_schema(first.schema(), rules);
    let target = with_dictionaries(&schema, &texts);
    let streams = objects.iter().map(|object| object.read_as_dictionaries(&texts)).collect::<Result<Vec<_>>>()?;
    let batches = streams.into_iter().flatten().map(move |batch| crate::domain::cast::conform(&batch?, &target));
    Ok(Rows { schema, batches: Box::new(batches) })
}

/// Reads the named columns of files, in their order; of Parquet, only those are decoded, and only rows for which the condition
/// holds, if there is one.
///
/// # Errors
/// As [`read`].
pub fn read_columns(
    files: &[Object],
    format: Option<Format>,
    rules: &TypeRules,
    columns: &[String],
    condition: Option<Arc<dyn RowCondition>>,
) -> Result<Batches> {
    if format.map_or_else(|| common_format(files), Ok)? != Format::Parquet {
        let rows = read(files, format, rules, None)?;
        let indices: Vec<usize> = columns.iter().filter_map(|name| rows.schema.index_of(name).ok()).collect();
        return Ok(Box::new(rows.batches.map(move |batch| batch?.project(&indices).io_context(|| "cannot select columns".into()))));
    }
    let objects = files.iter().map(ParquetObject::open_listed).collect::<Result<Vec<_>>>()?;
    let Some(first) = objects.first() else { return Err(Error::usage("there are no files to read")) };
    let whole = declared_schema(first.schema(), rules);
    let fields: Vec<_> = columns.iter().filter_map(|name| whole.field_with_name(name).ok().cloned()).collect();
    let schema: SchemaRef = std::sync::Arc::new(Schema::new(fields));
    let streams = objects.iter().map(|object| object.read_where(Some(columns), condition.clone())).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(streams.into_iter().flatten().map(move |batch| crate::domain::cast::conform(&batch?, &schema))))
}

/// Whether files are Parquet by their names.
///
/// # Errors
/// A usage error for a format that cannot be told.
pub fn is_parquet(files: &[Object]) -> Result<bool> {
    Ok(common_format(files)? == Format::Parquet)
}

/// Whether files carry their types, so that they can be opened again at little cost.
///
/// # Errors
/// A usage error for a format that cannot be told.
pub fn carries_types(files: &[Object], format: Option<Format>) -> Result<bool> {
    Ok(matches!(format.map_or_else(|| common_format(files), Ok)?, Format::Parquet | Format::Arrow))
}

fn common_format(files: &[Object]) -> Result<Format> {
    let mut common = None;
    for Object { location, .. } in files {
        let Some(format) = Format::of(location) else {
            return Err(Error::usage(format!("the name of '{location}' does not tell its format"))
                .hint("--source-format parquet|csv|tsv|ndjson|arrow"));
        };
        if common.is_some_and(|common| common != format) {
            return Err(Error::refused(format!("'{}' and '{location}' are of different formats", files[0].location)));
        }
        common = Some(format);
    }
    common.ok_or_else(|| Error::usage("there are no files to read"))
}

/// Reads files that carry their types; all must have the same columns.
fn typed(inputs: &[Input], rules: &TypeRules, open: fn(&Input) -> Result<Rows>) -> Result<Rows> {
    let mut schema: Option<SchemaRef> = None;
    let mut streams = Vec::new();
    for input in inputs {
        let rows = open(input)?;
        match &schema {
            None => schema = Some(rows.schema),
            Some(first) => same_columns(first, &rows.schema, &inputs[0].name, &input.name)?,
        }
        streams.push(rows.batches);
    }
    let schema = schema.ok_or_else(|| Error::usage("there are no files to read"))?;
    rules.check(&schema, &inputs[0].name)?;
    let target = declared_schema(&schema, rules);
    let cast = target.clone();
    let batches = streams.into_iter().flatten().map(move |batch| crate::domain::cast::conform(&batch?, &cast));
    Ok(Rows { schema: target, batches: Box::new(batches) })
}

/// The schema with declared types in the place of its own.
fn declared_schema(schema: &SchemaRef, rules: &TypeRules) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match rules.declared.get(field.name()) {
        Some(data_type) => field.as_ref().clone().with_data_type(data_type.clone()),
        None => field.as_ref().clone(),
    });
    std::sync::Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Refuses two files of one date whose columns differ in name or type; their order may.
fn same_columns(first: &Schema, other: &Schema, first_name: &str, other_name: &str) -> Result<()> {
    let differ = |what: String| Error::refused(format!("{first_name} and {other_name} are files of one table and differ: {what}"));
    for field in first.fields() {
        match other.field_with_name(field.name()) {
            Err(_) => return Err(differ(format!("only the first has a column '{}'", field.name()))),
            Ok(found) if found.data_type() != field.data_type() => {
                return Err(differ(format!(
                    "column '{}' is {} in the first and {} in the second",
                    field.name(),
                    type_name(field.data_type()),
                    type_name(found.data_type())
                )));
            }
            Ok(_) => {}
        }
    }
    match other.fields().iter().find(|field| first.field_with_name(field.name()).is_err()) {
        Some(extra) => Err(differ(format!("only the second has a column '{}'", extra.name()))),
        None => Ok(()),
    }
}

fn open_parquet(input: &Input) -> Result<Rows> {
    let object = ParquetObject::open_listed(&input.object)?;
    Ok(Rows { schema: object.schema().clone(), batches: object.read(None)? })
}

fn open_arrow(input: &Input) -> Result<Rows> {
    let damaged = |error: ArrowError| Error::refused(format!("{} is no whole Arrow IPC file: {error}", input.name));
    let doing = || format!("cannot read {}", input.name);
    let mut file = input.stream()?;
    let mut magic = [0u8; 6];
    let is_file = file.read_exact(&mut magic).is_ok() && &magic == b"ARROW1";
    file.rewind().io_context(doing)?;
    let (schema, batches): (SchemaRef, Box<dyn Iterator<Item = Result<_, ArrowError>> + Send>) = if is_file {
        let reader = FileReader::try_new(BufReader::new(file), None).map_err(damaged)?;
        (reader.schema(), Box::new(reader))
    } else {
        let reader = StreamReader::try_new(BufReader::new(file), None).map_err(damaged)?;
        (reader.schema(), Box::new(reader))
    };
    let schema = canonical_schema(&schema, &input.name)?;
    let (canonical, name) = (schema.clone(), input.name.clone());
    let batches = batches.map(move |batch| {
        let batch = batch.map_err(|error| Error::refused(format!("{name} is no whole Arrow IPC file: {error}")))?;
        to_canonical(&batch, &canonical)
    });
    Ok(Rows { schema, batches: Box::new(batches) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) -> Object {
        local_object(path).expect("a file")
    }

    fn read_text(name: &str, text: &str, rules: &TypeRules) -> Result<(Vec<String>, Vec<String>)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        let rows = read(&[file(&path)], None, rules, Some("the file"))?;
        let types = rows.schema.fields().iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect();
        let mut lines = Vec::new();
        for batch in rows.batches {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let cells: Vec<String> = batch.columns().iter().map(|column| crate::domain::cast::display(column, row)).collect();
                lines.push(cells.join("|"));
            }
        }
        Ok((types, lines))
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
        let (types, lines) = read_text("x.csv", "code,price,n\n7,450,007\n", &rules).expect("it reads");
        assert_eq!((types, lines), (vec!["code text".into(), "price float64".into(), "n int64".into()], vec!["7|450.0|7".into()]));
    }

    #[test]
    fn an_integer_column_may_become_a_float_and_no_text() {
        let rules = pinned(&[("n", DataType::Int64)]);
        assert_eq!(read_text("x.csv", "n\n1.5\n", &rules).expect("it widens").0, ["n float64"]);
        let error = read_text("x.csv", "n\n1\nA7\n", &rules).expect_err("text");
        assert_eq!(error.to_string(), "the file, line 3: column 'n' was int64 in the previous snapshot, and 'A7' is none");
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
        assert_eq!(error.to_string(), "the file, line 2: column 'n' was float64 in the previous snapshot, and '9007199254740993' is none");
        let declared = TypeRules { declared: [("n".to_owned(), DataType::Float64)].into(), ..TypeRules::default() };
        assert!(read_text("x.csv", "n\n9007199254740993\n", &declared).is_err());
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
        assert_eq!(message("x.csv", "a,b\n1,2\n3\n"), "the file, line 3: a row of 1 field under a header of 2");
        assert_eq!(message("x.csv", "a,b\n1,2,3\n"), "the file, line 2: a row of 3 fields under a header of 2");
        assert_eq!(message("x.csv", "a,a\n1,2\n"), "the file has two columns named 'a'");
        assert!(message("x.ndjson", "{\"a\":1}\n{\"a\":\n").starts_with("the file is no whole NDJSON"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.csv");
        std::fs::write(&path, b"a,b\n1,caf\xe9\n").expect("written");
        let error = read(&[file(&path)], None, &TypeRules::default(), Some("the file")).err().expect("no UTF-8");
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
        let rows = read(&[a.clone(), b], None, &TypeRules::default(), None).expect("order may differ");
        assert_eq!(type_name(rows.schema.field(1).data_type()), "float64", "types are decided over all files");
        let error = read(&[a, c], None, &TypeRules::default(), None).err().expect("they differ");
        assert!(error.to_string().contains("only the first has a column 'n'"), "{error}");
        assert_eq!(files_of(&Location::local(folder.path().join("*.csv"))).expect("files").len(), 3);
        assert_eq!(files_of(&Location::local(folder.path())).expect("files").len(), 3);
        assert_eq!(files_of(&Location::local(folder.path().join("*.parquet"))).expect_err("none").kind(), crate::error::Kind::Io);
    }

    #[test]
    fn texts_that_all_files_have_in_short_dictionaries_come_as_dictionaries() {
        use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
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
            let plain = read(&files, None, &rules, None).expect("they read");
            let rows = read_as_dictionaries(&files, None, &rules, &["key".to_owned()]).expect("they read");
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
            let rows = read(&[file(&path)], None, &TypeRules::default(), None).expect("it reads");
            assert_eq!(rows.batches.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), 1);
        }
    }
}
