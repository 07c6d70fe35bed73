//! Arrow schemas as files carry them. Arrow's decoder panics at a type that it does not know; here
//! the column of that type is found.

use arrow::datatypes::{Field, Schema};
use arrow::ipc;
use base64::Engine;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::file::metadata::ParquetMetaData;

use crate::error::{Error, Result};
use crate::storage::parquet::untrusted::decode;

/// Reads the schema of an Arrow IPC message or footer.
///
/// # Errors
/// A refusal that names a column whose type Arrow's decoder does not know.
pub fn schema(schema: ipc::Schema<'_>, what: &str) -> Result<Schema> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(Error::refused(format!(
            "{what} has big-endian values, which asof does not read"
        )));
    }
    let cannot_be_read =
        |why: &str| Error::refused(format!("{what} has a schema that cannot be read: {why}"));
    decode(
        |why| unknown_type(schema, what).unwrap_or_else(|| cannot_be_read(why)),
        || Ok(ipc::convert::fb_to_schema(schema)),
    )
}

/// The refusal of a Parquet file whose embedded Arrow schema has a type that Arrow's decoder does
/// not know.
pub(crate) fn unknown_type_in(metadata: &ParquetMetaData, what: &str) -> Option<Error> {
    let entry = metadata
        .file_metadata()
        .key_value_metadata()?
        .iter()
        .find(|entry| entry.key == ARROW_SCHEMA_META_KEY)?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(entry.value.as_deref()?)
        .ok()?;
    let message = if bytes.len() > 8 && bytes[..4] == [0xff; 4] {
        &bytes[8..]
    } else {
        &bytes[..]
    };
    unknown_type(
        ipc::root_as_message(message).ok()?.header_as_schema()?,
        what,
    )
}

/// The refusal of the first column whose type Arrow's decoder does not know.
fn unknown_type(schema: ipc::Schema<'_>, what: &str) -> Option<Error> {
    schema.fields().into_iter().flatten().find_map(|field| {
        let name = field.name().unwrap_or_default();
        let refused = |_: &str| {
            let data_type = odd_integer(&field).unwrap_or_else(|| {
                field
                    .type_type()
                    .variant_name()
                    .unwrap_or("unknown")
                    .to_lowercase()
            });
            Error::refused(format!(
                "{what}: column '{name}' is {data_type}, a type that asof does not keep"
            ))
        };
        decode(refused, || Ok(Field::from(field))).err()
    })
}

/// The name of an integer type of an unusual width, of a field or of one below it.
fn odd_integer(field: &ipc::Field<'_>) -> Option<String> {
    let int = field
        .type_as_int()
        .filter(|int| ![8, 16, 32, 64].contains(&int.bitWidth()));
    let name = int.map(|int| {
        format!(
            "{}int{}",
            if int.is_signed() { "" } else { "u" },
            int.bitWidth()
        )
    });
    name.or_else(|| {
        field
            .children()
            .into_iter()
            .flatten()
            .find_map(|child| odd_integer(&child))
    })
}
