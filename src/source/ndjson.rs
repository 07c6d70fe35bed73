//! NDJSON: text is set aside decompressed, looked through for types, then decoded.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema;

use super::guess::Guess;
use super::{Input, Rows, TypeRules};
use crate::domain::schema::{canonical_schema, type_name, widen};
use crate::error::{Context, Error, Result};
use crate::storage::object::{BATCH_ROWS, to_canonical};

const SPILL: &str = "cannot set text aside in the temporary folder (TMPDIR)";

pub(super) fn read(inputs: &[Input], rules: &TypeRules) -> Result<Rows> {
    let name = inputs.first().map(|input| input.name.clone()).unwrap_or_default();
    let mut file = set_aside(inputs)?;
    let damaged = |error: arrow::error::ArrowError| Error::refused(format!("{name} is no whole NDJSON: {error}"));
    let (inferred, _) = infer_json_schema(BufReader::new(&file), None).map_err(damaged)?;
    file.rewind().io_context(|| SPILL.into())?;
    let inferred = canonical_schema(&inferred, &name)?;
    rules.check(&inferred, &name)?;
    let inferred = Arc::new(exact_numbers(&mut file, &inferred, rules, &name)?);
    let fields = inferred.fields().iter().map(|field| decide(field, rules, &name)).collect::<Result<Vec<_>>>()?;
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let reader = ReaderBuilder::new(schema.clone())
        .with_batch_size(BATCH_ROWS)
        .with_coerce_primitive(true)
        .build(BufReader::with_capacity(1 << 18, file));
    let reader = reader.map_err(damaged)?;
    let target = schema.clone();
    let batches = reader.map(move |batch| {
        let batch = batch.map_err(|error| Error::refused(format!("{name} is no whole NDJSON: {error}")))?;
        to_canonical(&batch, &target)
    });
    Ok(Rows { schema, batches: Box::new(batches) })
}

/// The inferred schema, in which columns that look like floats have been looked at as text: a whole number that no float
/// holds makes a column one of text, as in CSV, and not of rounded numbers. Numbers inside of nested values are not looked at.
fn exact_numbers(file: &mut File, inferred: &Schema, rules: &TypeRules, name: &str) -> Result<Schema> {
    let is_float = |field: &&Arc<Field>| field.data_type() == &DataType::Float64 && !rules.declared.contains_key(field.name());
    let floats: Vec<Field> =
        inferred.fields().iter().filter(is_float).map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
    if floats.is_empty() {
        return Ok(inferred.clone());
    }
    let damaged = |error: arrow::error::ArrowError| Error::refused(format!("{name} is no whole NDJSON: {error}"));
    let mut guesses = vec![Guess::default(); floats.len()];
    let builder = ReaderBuilder::new(Arc::new(Schema::new(floats))).with_batch_size(BATCH_ROWS).with_coerce_primitive(true);
    let mut line = 0;
    for batch in builder.build(BufReader::with_capacity(1 << 18, &*file)).map_err(damaged)? {
        let batch = batch.map_err(damaged)?;
        for (column, guess) in batch.columns().iter().zip(&mut guesses) {
            let values = column.as_string::<i32>();
            (0..values.len()).filter(|row| values.is_valid(*row)).for_each(|row| guess.see(values.value(row), line + row as u64 + 1));
        }
        line += batch.num_rows() as u64;
    }
    file.rewind().io_context(|| SPILL.into())?;
    let mut guesses = guesses.iter();
    let mut exact = |field: &Arc<Field>| match is_float(&field).then(|| guesses.next()).flatten() {
        None => Ok(field.as_ref().clone()),
        Some(guess) => Ok(Field::new(field.name(), guess.decide(field.name(), rules, name)?, true)),
    };
    let fields = inferred.fields().iter().map(&mut exact);
    Ok(Schema::new(fields.collect::<Result<Vec<_>>>()?))
}

fn set_aside(inputs: &[Input]) -> Result<File> {
    let mut writer = BufWriter::with_capacity(1 << 20, tempfile::tempfile().io_context(|| SPILL.into())?);
    for input in inputs {
        let mut text = input.open()?;
        let mut buffer = vec![0u8; 1 << 18];
        loop {
            let count = text.read(&mut buffer).map_err(|error| Error::refused(format!("{} is damaged: {error}", input.name)))?;
            if count == 0 {
                break;
            }
            writer.write_all(&buffer[..count]).io_context(|| SPILL.into())?;
        }
        writer.write_all(b"\n").io_context(|| SPILL.into())?;
    }
    let mut file = writer.into_inner().map_err(|error| error.into_error()).io_context(|| SPILL.into())?;
    file.rewind().io_context(|| SPILL.into())?;
    Ok(file)
}

/// The declared type; or the previous snapshot's, which JSON text is parsed into; or the inferred one.
fn decide(field: &Field, rules: &TypeRules, name: &str) -> Result<Field> {
    let inferred = field.data_type();
    let data_type = match (rules.declared.get(field.name()), rules.pinned(field.name())) {
        (Some(declared), _) => declared.clone(),
        (None, Some(pinned)) => match widen(pinned, inferred) {
            Some(wide) => wide,
            None if pinned == &DataType::Utf8 && !inferred.is_nested() => DataType::Utf8,
            None if inferred == &DataType::Utf8 && (pinned.is_temporal() || matches!(pinned, DataType::Decimal128(_, _))) => pinned.clone(),
            None if matches!(pinned, DataType::Decimal128(_, _)) && inferred.is_numeric() => pinned.clone(),
            None => {
                return Err(Error::refused(format!(
                    "{name}: column '{}' was {} in the previous snapshot, and is {} now",
                    field.name(),
                    type_name(pinned),
                    type_name(inferred)
                ))
                .hint("correct the source, or declare the column's type in asof.toml"));
            }
        },
        (None, None) => inferred.clone(),
    };
    Ok(Field::new(field.name(), data_type, true))
}
