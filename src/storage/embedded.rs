//! Arrow schemas as files carry them, checked before the decoder takes them.

use arrow::datatypes::{Field, Schema};
use arrow::ipc;
use base64::Engine;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::file::metadata::ParquetMetaData;

use super::untrusted::decode;
use crate::error::{Error, Result};

/// Reads the schema of an Arrow IPC message or footer.
///
/// # Errors
/// A refusal that names a column whose type Arrow's decoder does not know.
pub fn schema(schema: ipc::Schema<'_>, what: &str) -> Result<Schema> {
    check(schema, what)?;
    decode(|why| Error::refused(format!("{what} has a schema that cannot be read: {why}")), || Ok(ipc::convert::fb_to_schema(schema)))
}

/// Refuses a Parquet file whose embedded Arrow schema has a type that Arrow's decoder does not know. A schema that cannot be parsed is
/// left to the decoder.
///
/// # Errors
/// A refusal that names the column and its type.
pub(super) fn check_parquet(metadata: &ParquetMetaData, what: &str) -> Result<()> {
    let entries = metadata.file_metadata().key_value_metadata();
    let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.key == ARROW_SCHEMA_META_KEY));
    let Some(text) = entry.and_then(|entry| entry.value.as_deref()) else { return Ok(()) };
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) else { return Ok(()) };
    let message = if bytes.len() > 8 && bytes[..4] == [0xff; 4] { &bytes[8..] } else { &bytes[..] };
    match ipc::root_as_message(message).ok().and_then(|message| message.header_as_schema()) {
        Some(schema) => check(schema, what),
        None => Ok(()),
    }
}

fn check(schema: ipc::Schema<'_>, what: &str) -> Result<()> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(Error::refused(format!("{what} has big-endian values, which asof does not read")));
    }
    for field in schema.fields().into_iter().flatten() {
        let name = field.name().unwrap_or_default();
        let refused = |_: &str| {
            let data_type = unknown(&field).unwrap_or_else(|| field.type_type().variant_name().unwrap_or("unknown").to_lowercase());
            Error::refused(format!("{what}: column '{name}' is {data_type}, a type that asof does not keep"))
        };
        decode(refused, || Ok(Field::from(field))).map(drop)?;
    }
    Ok(())
}

/// The name of an integer type of an unusual width, of a field or of one below it.
fn unknown(field: &ipc::Field<'_>) -> Option<String> {
    let int = field.type_as_int().filter(|int| ![8, 16, 32, 64].contains(&int.bitWidth()));
    let name = int.map(|int| format!("{}int{}", if int.is_signed() { "" } else { "u" }, int.bitWidth()));
    name.or_else(|| field.children().into_iter().flatten().find_map(|child| unknown(&child)))
}
