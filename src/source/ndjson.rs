//! NDJSON: text is set aside decompressed, looked through for types, then decoded.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema;

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
                    "{name}: column '{}' was {} in the previous snapshot, and is {} now, which is no widening",
                    field.name(),
                    type_name(pinned),
                    type_name(inferred)
                ))
                .hint(format!(
                    "correct the source, or declare the type: [tables.TABLE.types] {} = \"{}\"",
                    field.name(),
                    type_name(pinned)
                )));
            }
        },
        (None, None) => inferred.clone(),
    };
    Ok(Field::new(field.name(), data_type, true))
}
