//! Every value is kept exactly or refused: formats × declared, pinned and inferred types × values.
//!
//! A trial is one value in a file of one row, read by the rules of one column. Either the column
//! holds exactly what was written, as [`value::Value`] says without asof's help, or the value is
//! refused with its file, line, column and text. There is no third outcome. What was taken goes
//! through `asof snapshot` and `asof show` too, many values a table.

mod typed;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use asof::domain::type_names::{parse_type, type_name};
use asof::error::{Error, Kind};
use asof::source::{Format, TypeRules, read};
use asof::storage::lake::partitions::local_object;

use self::value::{Value, values};
use super::journeys::environment::World;

/// The types that columns are declared to be of, or had so far.
const TYPES: [&str; 26] = [
    "text",
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "decimal(5, 2)",
    "decimal(38, 0)",
    "decimal(38, 38)",
    "date",
    "time",
    "time(ms)",
    "timestamp(ms)",
    "timestamp(us)",
    "timestamp(ns)",
    "timestamp(us, UTC)",
    "timestamp(ns, UTC)",
    "duration(us)",
    "binary",
    "list<int64>",
];

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Text {
    Csv,
    Tsv,
    JsonString,
    JsonNumber,
}

/// What is known of the column before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Inferred,
    Declared(&'static str),
    Pinned(&'static str),
}

impl Rule {
    fn all() -> impl Iterator<Item = Rule> {
        let known = TYPES
            .iter()
            .flat_map(|name| [Rule::Declared(name), Rule::Pinned(name)]);
        std::iter::once(Rule::Inferred).chain(known)
    }

    fn types(self) -> TypeRules {
        let data_type = |name: &str| parse_type(name).expect(name);
        match self {
            Rule::Inferred => TypeRules::default(),
            Rule::Declared(name) => TypeRules {
                declared: [("x".to_owned(), data_type(name))].into(),
                ..TypeRules::default()
            },
            Rule::Pinned(name) => {
                let fields = vec![
                    Field::new("id", DataType::Int64, true),
                    Field::new("x", data_type(name), true),
                ];
                TypeRules {
                    pinned: Some(Arc::new(Schema::new(fields))),
                    ..TypeRules::default()
                }
            }
        }
    }
}

impl Text {
    const ALL: [Text; 4] = [Text::Csv, Text::Tsv, Text::JsonString, Text::JsonNumber];

    fn format(self) -> Format {
        match self {
            Text::Csv => Format::Csv,
            Text::Tsv => Format::Tsv,
            Text::JsonString | Text::JsonNumber => Format::Ndjson,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Text::Csv => "x.csv",
            Text::Tsv => "x.tsv",
            Text::JsonString | Text::JsonNumber => "x.ndjson",
        }
    }

    /// A file of rows with the columns `id` and `x`; `None` if a value cannot be written so.
    fn file(self, texts: &[&str]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Text::Csv | Text::Tsv => {
                let delimiter = if self == Text::Csv { b',' } else { b'\t' };
                let mut writer = csv::WriterBuilder::new()
                    .delimiter(delimiter)
                    .from_writer(&mut bytes);
                writer.write_record(["id", "x"]).expect("written");
                for (id, text) in texts.iter().enumerate() {
                    writer
                        .write_record([&id.to_string(), *text])
                        .expect("written");
                }
                drop(writer);
            }
            Text::JsonString | Text::JsonNumber => {
                for (id, text) in texts.iter().enumerate() {
                    let value = match self {
                        Text::JsonString => serde_json::Value::from(*text).to_string(),
                        _ if is_json_number(text) => (*text).to_owned(),
                        _ => return None,
                    };
                    bytes.extend(format!("{{\"id\":{id},\"x\":{value}}}\n").bytes());
                }
            }
        }
        Some(bytes)
    }

    fn line(self) -> &'static str {
        if matches!(self, Text::Csv | Text::Tsv) {
            "line 2"
        } else {
            "line 1"
        }
    }
}

/// The grammar of RFC 8259.
fn is_json_number(text: &str) -> bool {
    if text.contains(char::is_whitespace) {
        return false;
    }
    serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_number())
        || text
            .trim_start_matches('-')
            .starts_with(|c: char| c.is_ascii_digit())
            && serde_json::from_str::<serde_json::Value>(&format!("[{text}]"))
                .err()
                .is_some_and(|error| error.to_string().contains("out of range"))
}

/// Reads the column `x` of a file.
fn read_x(path: &Path, format: Format, types: &TypeRules) -> Result<ArrayRef, Error> {
    let rows = read(&[local_object(path)?], format, types, None)?;
    let batches = rows.batches.collect::<Result<Vec<RecordBatch>, Error>>()?;
    let all = arrow::compute::concat_batches(&rows.schema, &batches).expect("one schema");
    Ok(all.column_by_name("x").expect("the column").clone())
}

/// A refusal names the file, the line, the column and the value.
fn check_refusal(error: &Error, file: &str, line: &str, value: &str) -> Result<(), String> {
    let message = error.to_string();
    let shown: String = value.chars().take(57).collect();
    let is_named = error.kind() == Kind::Refused
        && message.contains(file)
        && message.contains(line)
        && message.contains("column 'x'");
    // JSON shows a value as it is written, with its escapes.
    let escaped: String = serde_json::Value::from(value)
        .to_string()
        .trim_matches('"')
        .chars()
        .take(50)
        .collect();
    let has_value = message.contains(&shown) || message.contains(&escaped);
    if is_named && has_value && !error.hints().is_empty() {
        Ok(())
    } else {
        Err(format!("{error:?}"))
    }
}

/// What one thread has tried.
#[derive(Default)]
struct Tried {
    trials: usize,
    /// Values that were taken, by how they were written, the rule and the type that came of it.
    taken: BTreeMap<(Text, Rule, String), Vec<Value>>,
    wrong: Vec<String>,
}

fn try_value(folder: &Path, value: &Value, tried: &mut Tried) {
    for text in Text::ALL {
        let Some(bytes) = text.file(&[&value.text]) else {
            continue;
        };
        let path = folder.join(text.name());
        std::fs::write(&path, bytes).expect("written");
        for rule in Rule::all() {
            tried.trials += 1;
            let failed = match read_x(&path, text.format(), &rule.types()) {
                Ok(column) if value.is(column.as_ref(), 0, text == Text::JsonNumber) => {
                    let key = (text, rule, type_name(column.data_type()));
                    tried.taken.entry(key).or_default().push(value.clone());
                    continue;
                }
                Ok(column) => format!(
                    "is {} {}",
                    type_name(column.data_type()),
                    asof::domain::cast::display(column.as_ref(), 0)
                ),
                Err(error) => match check_refusal(&error, text.name(), text.line(), &value.text) {
                    Ok(()) if rule == Rule::Inferred => {
                        format!("is refused in a new column: {error}")
                    }
                    Ok(()) => continue,
                    Err(error) => error,
                },
            };
            tried.wrong.push(format!(
                "{text:?}, {rule:?}: {:?} {failed}",
                value.text.chars().take(80).collect::<String>()
            ));
        }
    }
}

/// As many as the machine has processors, each with a part of the values.
fn try_all(values: &[Value]) -> Tried {
    let next = AtomicUsize::new(0);
    let work = || {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tried = Tried::default();
        while let Some(value) = values.get(next.fetch_add(1, Ordering::Relaxed)) {
            try_value(folder.path(), value, &mut tried);
        }
        tried
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Tried> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let mut all = Tried::default();
    for part in parts {
        all.trials += part.trials;
        all.wrong.extend(part.wrong);
        for (key, values) in part.taken {
            all.taken.entry(key).or_default().extend(values);
        }
    }
    all
}

fn run(world: &World, line: &str) -> Result<(), String> {
    let output = world.quietly(&format!("--lake lake {line}"));
    if output.status.success() {
        Ok(())
    } else {
        Err(format!(
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// Takes values through a snapshot, and shows them.
fn journey(text: Text, rule: Rule, values: &[Value]) -> Result<(), String> {
    let world = World::new();
    let texts: Vec<&str> = values.iter().map(|value| value.text.as_str()).collect();
    world.write(
        text.name(),
        text.file(&texts).expect("each was written before"),
    );
    let mut command = format!(
        "snapshot t --source {} --key id --date 2024-01-02 --backdate",
        text.name()
    );
    match rule {
        Rule::Inferred => {}
        Rule::Declared(name) => command += &format!(" --types 'x={name}'"),
        Rule::Pinned(name) => {
            let nulls = new_null_array(&parse_type(name).expect(name), 1);
            let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
            let rows =
                RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("x", nulls, true)])
                    .expect("rows");
            typed::write_parquet(&world.path("before.parquet"), &rows);
            run(
                &world,
                "snapshot t --source before.parquet --key id --date 2024-01-01 --backdate",
            )?;
        }
    }
    run(&world, &command)?;
    run(&world, "show t --date 2024-01-02 --out shown.parquet")?;
    let shown = read_x(
        &world.path("shown.parquet"),
        Format::Parquet,
        &TypeRules::default(),
    )
    .map_err(|error| error.to_string())?;
    if shown.len() != values.len() {
        return Err(format!("{} rows of {}", shown.len(), values.len()));
    }
    match (0..values.len())
        .find(|row| !values[*row].is(shown.as_ref(), *row, text == Text::JsonNumber))
    {
        None => Ok(()),
        Some(row) => Err(format!(
            "{:?} is shown as {}",
            values[row].text,
            asof::domain::cast::display(shown.as_ref(), row)
        )),
    }
}

fn assert_none(wrong: &[String], trials: usize) {
    let shown: Vec<&String> = wrong.iter().take(40).collect();
    assert!(
        wrong.is_empty(),
        "{} of {trials} trials are wrong:\n{shown:#?}",
        wrong.len()
    );
}

#[test]
fn every_value_is_kept_exactly_or_refused_with_its_place() {
    let values = values(240);
    let mut tried = try_all(&values);
    println!(
        "{} trials, {} groups of values that were taken",
        tried.trials,
        tried.taken.len()
    );
    assert!(tried.trials >= 100_000, "{} trials", tried.trials);
    for ((text, rule, data_type), values) in &tried.taken {
        // Values of one group may be of a wider type together, or, in a new column, of none but
        // text.
        if let Err(what) = journey(*text, *rule, values) {
            tried
                .wrong
                .push(format!("{text:?}, {rule:?}, {data_type}: {what}"));
        }
    }
    assert_none(&tried.wrong, tried.trials);
}

#[test]
fn every_typed_value_is_kept_exactly_or_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut trials = 0;
    let mut wrong = Vec::new();
    for (value, column) in typed::columns(&values(8)) {
        for (name, format) in [("x.parquet", Format::Parquet), ("x.arrow", Format::Arrow)] {
            let path: PathBuf = folder.path().join(name);
            typed::write(&path, format, &column);
            for rule in Rule::all() {
                trials += 1;
                let from = type_name(column.data_type());
                match read_x(&path, format, &rule.types()) {
                    Ok(read) if value.is_from_type(read.as_ref(), 0) => {}
                    Ok(read) => wrong.push(format!(
                        "{name}, {from} to {rule:?}: {:?} is {} {}",
                        value.text,
                        type_name(read.data_type()),
                        asof::domain::cast::display(read.as_ref(), 0)
                    )),
                    Err(error) => {
                        let message = error.to_string();
                        let is_named = error.kind() == Kind::Refused
                            && message.contains(name)
                            && message.contains("column 'x'");
                        if !is_named {
                            wrong.push(format!("{name}, {from} to {rule:?}: {error:?}"));
                        }
                    }
                }
            }
        }
    }
    println!("{trials} trials");
    assert_none(&wrong, trials);
}

/// One column as rows with an `id`.
fn rows_of(column: &ArrayRef) -> RecordBatch {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..column.len()).map(|id| id.to_string()),
    ));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("x", column.clone(), true)])
        .expect("rows")
}
