//! Avro object container files, decoded by `arrow-avro`: a batch at a time.
//!
//! A file is opened for its schema, and once more when its rows are read. Between the two it is not
//! held open. The decoder is given damaged files too, so its panics are refusals
//! ([`crate::storage::parquet::untrusted`]).
//!
//! The decoder takes the end of a file within a block for the end of its rows. So [`WholeFile`]
//! follows the blocks as they are read, and fails if the file ends within one.

use std::io::{BufReader, Error as IoError, ErrorKind, Read};

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_avro::reader::{Reader, ReaderBuilder};

use super::Input;
use crate::domain::canonical_batch::to_canonical;
use crate::domain::canonical_types::canonical_schema;
use crate::error::{Error, Result};
use crate::storage::Batches;
use crate::storage::lake::read::{ObjectReader, ObjectStream};
use crate::storage::parquet::object::BATCH_ROWS;
use crate::storage::parquet::untrusted::{CheckedItems, decode};

/// An Avro file whose schema has been read.
pub(super) struct AvroFile {
    reader: ObjectReader,
    name: String,
    /// The schema in canonical types.
    pub(super) schema: SchemaRef,
}

impl AvroFile {
    pub(super) fn open(input: &Input) -> Result<Self> {
        let mut reader = input.reader()?;
        let name = input.name.clone();
        let schema = canonical_schema(&begin(&reader, &name)?.schema(), &name)?;
        reader.release();
        Ok(AvroFile {
            reader,
            name,
            schema,
        })
    }

    /// Reads every row, in canonical types.
    pub(super) fn read(&self) -> Result<Batches> {
        let name = self.name.clone();
        let schema = self.schema.clone();
        let reader = self.reader.held()?;
        let rows = begin(&reader, &self.name)?.map(move |batch| {
            let batch = batch.map_err(|error| of_arrow(&name, &error))?;
            to_canonical(&batch, &schema).map_err(|error| error.within(&name))
        });
        let name = self.name.clone();
        let rows = CheckedItems::new(rows, move |why: &str| damaged(&name, &why));
        Ok(Box::new(reader.unchanged(rows)))
    }
}

/// Reads the header of a file.
fn begin(reader: &ObjectReader, name: &str) -> Result<Reader<BufReader<WholeFile<ObjectStream>>>> {
    let file = BufReader::new(WholeFile::new(reader.clone().stream()?));
    decode(
        |why| damaged(name, &why),
        || {
            ReaderBuilder::new()
                .with_batch_size(BATCH_ROWS)
                .build(file)
                .map_err(|error| of_arrow(name, &error))
        },
    )
}

/// The refusal of a file, in the words of whoever found out.
fn of_arrow(name: &str, error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(cause) => damaged(name, cause),
        other => damaged(name, other),
    }
}

fn damaged(name: &str, why: &dyn std::fmt::Display) -> Error {
    Error::refused(format!(
        "{name} is not a valid or complete Avro file: {why}"
    ))
}

/// A file that must end where a block ends.
struct WholeFile<R> {
    file: R,
    at: AvroPlace,
    /// The number that is being read, and how many of its bits are known.
    number: (u64, u32),
}

/// What comes next in a file: a header with a map of bytes, and blocks; see the specification of
/// Avro's object container files.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AvroPlace {
    /// So many bytes that are not looked at, and what follows them.
    Bytes(u64, After),
    /// How many entries a part of the map has; none ends it.
    Entries,
    /// The size of a part of the map, which has so many entries.
    PartSize(u64),
    /// The length of a key, or then of its value, with so many entries to come.
    Key(u64),
    Value(u64),
    /// How many rows a block has. A file may end here.
    Rows,
    /// How many bytes they take.
    BlockSize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    Entries,
    Value(u64),
    Key(u64),
    Rows,
}

/// The length of the marker that follows the header and each block.
const MARKER: u64 = 16;

impl<R> WholeFile<R> {
    fn new(file: R) -> Self {
        WholeFile {
            file,
            at: AvroPlace::Bytes(4, After::Entries),
            number: (0, 0),
        }
    }

    /// Follows bytes that were read. A number that makes no sense is left to the decoder to refuse.
    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if let AvroPlace::Bytes(left, after) = self.at {
                let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[skipped..];
                self.at = match (left - skipped as u64, after) {
                    (0, After::Entries) => AvroPlace::Entries,
                    (0, After::Value(entries)) => AvroPlace::Value(entries),
                    (0, After::Key(entries)) => AvroPlace::Key(entries),
                    (0, After::Rows) => AvroPlace::Rows,
                    (left, after) => AvroPlace::Bytes(left, after),
                };
                continue;
            }
            bytes = rest;
            let (value, bits) = self.number;
            let value = value | u64::from(first & 0x7f).checked_shl(bits).unwrap_or(0);
            self.number = (value, bits + 7);
            if first & 0x80 == 0 {
                self.number = (0, 0);
                // Zigzag: 0, -1, 1, -2, ...
                let is_negative = value & 1 == 1;
                self.at = self.at.after(value.div_ceil(2), is_negative);
            }
        }
    }
}

impl AvroPlace {
    /// What follows a number.
    fn after(self, number: u64, is_negative: bool) -> AvroPlace {
        let skip = |bytes: u64, after: After| AvroPlace::Bytes(bytes, after);
        match self {
            AvroPlace::Entries if number == 0 => skip(MARKER, After::Rows),
            AvroPlace::Entries if is_negative => AvroPlace::PartSize(number),
            AvroPlace::Entries | AvroPlace::PartSize(_) => {
                AvroPlace::Key(if let AvroPlace::PartSize(entries) = self {
                    entries
                } else {
                    number
                })
            }
            // An empty key or value has no bytes to skip.
            AvroPlace::Key(entries) if number == 0 => AvroPlace::Value(entries),
            AvroPlace::Key(entries) => skip(number, After::Value(entries)),
            AvroPlace::Value(entries) => {
                let next = if entries > 1 {
                    After::Key(entries - 1)
                } else {
                    After::Entries
                };
                match (number, next) {
                    (0, After::Key(entries)) => AvroPlace::Key(entries),
                    (0, _) => AvroPlace::Entries,
                    (length, next) => skip(length, next),
                }
            }
            AvroPlace::Rows => AvroPlace::BlockSize,
            AvroPlace::BlockSize => skip(number + MARKER, After::Rows),
            AvroPlace::Bytes(..) => self,
        }
    }
}

impl<R: Read> Read for WholeFile<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read == 0 && !buffer.is_empty() && (self.at, self.number) != (AvroPlace::Rows, (0, 0)) {
            return Err(IoError::new(
                ErrorKind::UnexpectedEof,
                "the file is truncated",
            ));
        }
        self.follow(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of two blocks, whose header has two entries in parts, one of them with its size.
    fn file() -> Vec<u8> {
        let mut file = b"Obj\x01".to_vec();
        file.extend(b"\x02\x02k\x04vv");
        // Minus one entry, in five bytes.
        file.extend(b"\x01\x0a\x02q\x02w\x00");
        file.extend([7; 16]);
        for length in [3u8, 100] {
            file.extend([4, length * 2]);
            file.truncate(file.len() - 1);
            // A length of 100 takes two bytes.
            if length == 100 {
                file.extend([0xc8, 0x01])
            } else {
                file.push(length * 2)
            }
            file.extend(vec![9; usize::from(length)]);
            file.extend([7; 16]);
        }
        file
    }

    #[test]
    fn a_file_ends_where_a_block_ends() {
        let file = file();
        let header = 4 + 6 + 7 + 16;
        let ends = [header, header + 2 + 3 + 16, file.len()];
        for length in 0..=file.len() {
            for step in [1, 7, 1000] {
                let mut whole = WholeFile::new(&file[..length]);
                let mut buffer = vec![0; step];
                let read = loop {
                    match whole.read(&mut buffer) {
                        Ok(0) => break Ok(()),
                        Ok(_) => {}
                        Err(error) => break Err(error),
                    }
                };
                assert_eq!(
                    read.is_ok(),
                    ends.contains(&length),
                    "{length} of {} bytes, {step} at a time",
                    file.len()
                );
            }
        }
    }
}
