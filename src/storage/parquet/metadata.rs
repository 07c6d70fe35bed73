//! The footer of a Parquet file: read and checked, and what is wrong with a file.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FooterTail, PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder,
};

use crate::domain::canonical_types::written;
use crate::domain::schema::by_name;
use crate::error::{Error, Result};
use crate::storage::lake::checksums::Checksums;
use crate::storage::lake::location::Location;
use crate::storage::lake::read::ObjectReader;
use crate::storage::parquet::footer::{Footer, KEY, read_schema};
use crate::storage::parquet::seal;

/// The metadata of a file whose columns are decoded in the types of `schema`, or else in those that
/// the file suggests.
pub(super) fn with_types(
    metadata: Arc<ParquetMetaData>,
    schema: Option<SchemaRef>,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new();
    ArrowReaderMetadata::try_new(
        metadata,
        match schema {
            Some(schema) => options.with_schema(schema),
            None => options,
        },
    )
}

/// Reads the footer of a file, after a look at whether the file is as long as the footer says, and
/// the checksums that stand before it.
pub(super) fn footer_of(reader: &ObjectReader) -> Result<(ParquetMetaData, Option<Checksums>)> {
    const TAIL: u64 = seal::TAIL as u64;
    let location = reader.location();
    let unreadable = |error: ParquetError| unreadable(location, &error);
    let size = reader.size();
    let mut decoder = ParquetMetaDataPushDecoder::try_new(size)
        .map_err(unreadable)?
        .with_page_index_policy(PageIndexPolicy::Skip);
    let tail = fetch(reader, size - TAIL..size)?;
    let length = FooterTail::try_from(tail.as_ref())
        .map_err(unreadable)?
        .metadata_length() as u64;
    let Some(footer_start) = (size - TAIL).checked_sub(length) else {
        return Err(damaged(
            location,
            &format!("it has {size} bytes, and says that its footer has {length}"),
        ));
    };
    let from = footer_start.saturating_sub(seal::longest_table(size));
    let bytes = fetch(reader, from..size)?;
    let (before, footer) = bytes.split_at(usize::try_from(footer_start - from).unwrap_or(0));
    let wrong = |what: &str| Error::damaged(format!("'{location}' is damaged: {what}"));
    let checksums = seal::open(before, footer, footer_start).map_err(wrong)?;
    let footer = bytes.slice(bytes.len() - footer.len()..);
    decoder
        .push_range(footer_start..size, footer)
        .map_err(unreadable)?;
    let metadata = decode_metadata(reader, decoder)?;
    let created_by = metadata.file_metadata().created_by();
    let is_sealed = created_by.is_some_and(|program| program.ends_with(seal::SEALED));
    if is_sealed && checksums.is_none() {
        return Err(wrong("its checksums are missing"));
    }
    Ok((metadata, checksums))
}

/// The bytes of one range.
fn fetch(reader: &ObjectReader, range: Range<u64>) -> Result<Bytes> {
    let bytes = reader.fetch(std::slice::from_ref(&range))?.pop();
    Ok(bytes.unwrap_or_default())
}

/// Runs a decoder of metadata on the bytes that it asks for.
pub(super) fn decode_metadata(
    reader: &ObjectReader,
    mut decoder: ParquetMetaDataPushDecoder,
) -> Result<ParquetMetaData> {
    loop {
        match decoder
            .try_decode()
            .map_err(|error| unreadable(reader.location(), &error))?
        {
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::Finished => return Err(damaged(reader.location(), &"it has no footer")),
            DecodeResult::NeedsData(ranges) => {
                let bytes = reader.fetch(&ranges)?;
                decoder
                    .push_ranges(ranges, bytes)
                    .map_err(|error| unreadable(reader.location(), &error))?;
            }
        }
    }
}

/// The value of the entry that is asof's own.
pub(super) fn footer_entry(metadata: &ArrowReaderMetadata) -> Option<&str> {
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    entries
        .and_then(|entries| entries.iter().find(|entry| entry.key == KEY))
        .and_then(|entry| entry.value.as_deref())
}

/// How many bytes the texts of columns without statistics have, as the footer says.
pub(super) fn text_bytes(metadata: &ArrowReaderMetadata) -> BTreeMap<String, u64> {
    let entry = footer_entry(metadata).filter(|entry| entry.contains("\"text_bytes\""));
    let footer = entry.and_then(|entry| Footer::from_json(entry).ok());
    footer.map_or_else(BTreeMap::new, |footer| footer.text_bytes)
}

/// The schema with the types that the footer says of columns without values.
pub(super) fn untyped(metadata: &ArrowReaderMetadata, schema: SchemaRef) -> Result<SchemaRef> {
    // Few objects have such columns, and a footer may be long.
    let Some(entry) = footer_entry(metadata).filter(|entry| entry.contains("\"untyped\"")) else {
        return Ok(schema);
    };
    let own = read_schema(&Footer::from_json(entry)?.untyped)?;
    let own = by_name(&own);
    let fields = schema
        .fields()
        .iter()
        .map(|field| match own.get(field.name().as_str()) {
            Some(own) if written(own.data_type()) == *field.data_type() => (*own).clone(),
            _ => field.clone(),
        });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// An error of our own that a library carried, or else what the library says of the file.
pub(super) fn unreadable(location: &Location, error: &(impl std::error::Error + 'static)) -> Error {
    let mut deeper: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = deeper {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.duplicate();
        }
        // Arrow hides what it carries from `source`.
        deeper = match error.downcast_ref::<ArrowError>() {
            Some(ArrowError::ExternalError(inner)) => Some(inner.as_ref()),
            _ => match error.downcast_ref::<ParquetError>() {
                Some(ParquetError::External(inner)) => Some(inner.as_ref()),
                _ => error.downcast_ref::<io::Error>().and_then(carried),
            },
        };
    }
    damaged(location, error)
}

/// The error that one of I/O was made of.
fn carried(error: &io::Error) -> Option<&(dyn std::error::Error + 'static)> {
    let inner = error.get_ref()?;
    Some(inner)
}

pub(super) fn damaged(location: &Location, why: &dyn std::fmt::Display) -> Error {
    let why = why.to_string();
    Error::damaged(format!(
        "'{location}' is not a valid or complete Parquet file: {}",
        why.trim_start_matches("Parquet error: ")
    ))
}
