//! Arrow IPC, file and stream: batches one at a time, from messages whose lengths were checked
//! against the file.
//!
//! A file is opened for its schema, and once more when its rows are read. Between the two it is not
//! held open.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::reader::{read_dictionary, read_footer_length, read_record_batch};

use super::Input;
use crate::domain::canonical_batch::to_canonical;
use crate::domain::canonical_types::canonical_schema;
use crate::error::{Context, Error, Result};
use crate::storage::Batches;
use crate::storage::lake::read::{ObjectReader, ObjectStream};
use crate::storage::parquet::embedded_schema;
use crate::storage::parquet::untrusted::CheckedItems;

const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xff; 4];
/// The most bytes that one compressed byte can stand for, with room to spare: zstd repeats up to
/// 128 KiB in four bytes.
const GREATEST_RATIO: u64 = 1 << 17;

/// An Arrow IPC file whose schema has been read.
pub(super) struct ArrowFile {
    reader: ObjectReader,
    name: String,
    /// The schema as it is in the file.
    written: SchemaRef,
    /// The schema in canonical types.
    pub(super) schema: SchemaRef,
    messages: Messages,
}

/// Where the messages are.
#[derive(Clone)]
enum Messages {
    /// In these blocks, as the footer of the file says: dictionaries first.
    In(Vec<ipc::Block>),
    /// One after the other from this position, up to the end of the stream.
    From(u64),
}

impl ArrowFile {
    pub(super) fn open(input: &Input) -> Result<Self> {
        let mut reader = input.reader()?;
        let name = input.name.clone();
        let mut stream = IpcStream::new(&reader, &name)?;
        let mut magic = [0u8; MAGIC.len()];
        let is_file = stream.size >= 18 && stream.read_at(0, &mut magic).is_ok() && magic == MAGIC;
        if magic.starts_with(b"FEA1") {
            return Err(Error::refused(format!(
                "{name} is a Feather file of version 1, which asof does not read"
            ))
            .hint("write it as version 2: pyarrow.feather.write_feather(table, FILE)"));
        }
        let (written, messages) = if is_file {
            stream.footer()?
        } else {
            stream.header()?
        };
        let schema = canonical_schema(&written, &name)?;
        reader.release();
        Ok(ArrowFile {
            reader,
            name,
            written,
            schema,
            messages,
        })
    }

    /// Reads every row, in canonical types.
    pub(super) fn read(&self) -> Result<Batches> {
        let reader = self.reader.held()?;
        let stream = IpcStream::new(&reader, &self.name)?;
        let name = self.name.clone();
        let batches = FileBatches {
            stream,
            written: self.written.clone(),
            messages: self.messages.clone(),
            next: 0,
            dictionaries: HashMap::new(),
        };
        let canonical = self.schema.clone();
        let place = name.clone();
        let rows = batches.map(move |batch| {
            to_canonical(&batch?, &canonical).map_err(|error| error.within(&place))
        });
        let rows = CheckedItems::new(rows, move |why: &str| damaged(&name, &why));
        Ok(Box::new(reader.unchanged(rows)))
    }
}

fn damaged(name: &str, why: &dyn std::fmt::Display) -> Error {
    Error::refused(format!(
        "{name} is not a valid or complete Arrow IPC file: {why}"
    ))
}

/// A message: its header, and the position of its body.
struct Message {
    header: Vec<u8>,
    body: u64,
    end: u64,
}

impl Message {
    fn parsed(&self) -> Result<ipc::Message<'_>, ArrowError> {
        ipc::root_as_message(&self.header)
            .map_err(|error| ArrowError::ParseError(error.to_string()))
    }
}

/// A file that is read at positions that it names itself.
struct IpcStream {
    file: ObjectStream,
    size: u64,
    name: String,
}

impl IpcStream {
    fn new(reader: &ObjectReader, name: &str) -> Result<Self> {
        Ok(IpcStream {
            size: reader.size(),
            file: reader.clone().stream()?,
            name: name.to_owned(),
        })
    }

    fn damaged(&self, why: impl std::fmt::Display) -> Error {
        damaged(&self.name, &why)
    }

    fn read_at(&mut self, position: u64, bytes: &mut [u8]) -> Result<()> {
        let end = position.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(self.damaged(format!(
                "it ends after {} bytes, within a message",
                self.size
            )));
        }
        let read = self
            .file
            .seek(SeekFrom::Start(position))
            .and_then(|_| self.file.read_exact(bytes));
        read.io_context(|| format!("cannot read {}", self.name))
    }

    /// So many bytes from a position on, which are checked to be there before room is made for
    /// them.
    fn bytes_at(&mut self, position: u64, length: u64) -> Result<MutableBuffer> {
        let end = position.checked_add(length);
        let (Some(_), Ok(length)) = (end.filter(|end| *end <= self.size), usize::try_from(length))
        else {
            return Err(self.damaged(format!(
                "it has {} bytes, and {length} bytes at {position} do not fit",
                self.size
            )));
        };
        let mut bytes = MutableBuffer::from_len_zeroed(length);
        self.read_at(position, &mut bytes)?;
        Ok(bytes)
    }

    /// The schema and the positions of messages that the footer of a file has.
    fn footer(&mut self) -> Result<(SchemaRef, Messages)> {
        let mut tail = [0u8; 10];
        self.read_at(self.size - 10, &mut tail)?;
        let length = read_footer_length(tail).map_err(|error| self.damaged(error))? as u64;
        let Some(start) = (self.size - 10).checked_sub(length) else {
            return Err(self.damaged("its footer is longer than the file"));
        };
        let bytes = self.bytes_at(start, length)?;
        let footer = ipc::root_as_footer(&bytes).map_err(|error| self.damaged(error))?;
        let schema = footer
            .schema()
            .ok_or_else(|| self.damaged("it has no schema"))?;
        let schema = embedded_schema::schema(schema, &self.name)?;
        let blocks = footer
            .dictionaries()
            .into_iter()
            .flatten()
            .chain(footer.recordBatches().into_iter().flatten());
        Ok((Arc::new(schema), Messages::In(blocks.copied().collect())))
    }

    /// The schema with which a stream begins, and where it ends.
    fn header(&mut self) -> Result<(SchemaRef, Messages)> {
        let Some(message) = self.message(0)? else {
            return Err(self.damaged("it has no schema"));
        };
        let parsed = message.parsed().map_err(|error| self.damaged(error))?;
        let schema = parsed
            .header_as_schema()
            .ok_or_else(|| self.damaged("it does not begin with a schema"))?;
        Ok((
            Arc::new(embedded_schema::schema(schema, &self.name)?),
            Messages::From(message.end),
        ))
    }

    /// The message at a position; nothing at the end of a stream.
    fn message(&mut self, position: u64) -> Result<Option<Message>> {
        if position >= self.size {
            return Ok(None);
        }
        let mut length = [0u8; 4];
        self.read_at(position, &mut length)?;
        let mut start = position + 4;
        // Files of versions before 0.15 have no mark before the length.
        if length == CONTINUATION {
            self.read_at(start, &mut length)?;
            start += 4;
        }
        let length = u64::try_from(i32::from_le_bytes(length))
            .map_err(|_| self.damaged("a message has a length below zero"))?;
        if length == 0 {
            return Ok(None);
        }
        let header = self.bytes_at(start, length)?.to_vec();
        let mut message = Message {
            header,
            body: start + length,
            end: 0,
        };
        let body = message
            .parsed()
            .map_err(|error| self.damaged(error))?
            .bodyLength();
        let end = u64::try_from(body)
            .ok()
            .and_then(|body| message.body.checked_add(body))
            .filter(|end| *end <= self.size);
        message.end = end.ok_or_else(|| {
            self.damaged(format!(
                "it has {} bytes, and a message of {body} bytes does not fit",
                self.size
            ))
        })?;
        Ok(Some(message))
    }
}

/// The batches of a file, and the dictionaries that they need.
struct FileBatches {
    stream: IpcStream,
    written: SchemaRef,
    messages: Messages,
    /// Which of the blocks comes next.
    next: usize,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl FileBatches {
    fn next_message(&mut self) -> Result<Option<Message>> {
        match &mut self.messages {
            Messages::In(blocks) => {
                let Some(block) = blocks.get(self.next) else {
                    return Ok(None);
                };
                self.next += 1;
                let position = u64::try_from(block.offset()).unwrap_or(u64::MAX);
                let is_block = |message: &Message| {
                    u64::try_from(block.metaDataLength()) == Ok(message.body - position)
                        && u64::try_from(block.bodyLength()) == Ok(message.end - message.body)
                };
                match self.stream.message(position)? {
                    Some(message) if is_block(&message) => Ok(Some(message)),
                    _ => Err(self.stream.damaged("its footer and its messages disagree")),
                }
            }
            Messages::From(position) => {
                let message = self.stream.message(*position)?;
                *position = message.as_ref().map_or(*position, |message| message.end);
                Ok(message)
            }
        }
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(message) = self.next_message()? {
            let parsed = message
                .parsed()
                .map_err(|error| self.stream.damaged(error))?;
            let body: Buffer = self
                .stream
                .bytes_at(message.body, message.end - message.body)?
                .into();
            let version = parsed.version();
            if let Some(batch) = parsed.header_as_record_batch() {
                check_lengths(&batch, &body).map_err(|why| self.stream.damaged(why))?;
                let batch = read_record_batch(
                    &body,
                    batch,
                    self.written.clone(),
                    &self.dictionaries,
                    None,
                    &version,
                );
                return batch.map(Some).map_err(|error| self.stream.damaged(error));
            }
            let Some(dictionary) = parsed.header_as_dictionary_batch() else {
                return Err(self
                    .stream
                    .damaged("it has a message that is neither rows nor a dictionary"));
            };
            let values = dictionary
                .data()
                .ok_or_else(|| self.stream.damaged("a dictionary has no values"))?;
            check_lengths(&values, &body).map_err(|why| self.stream.damaged(why))?;
            read_dictionary(
                &body,
                dictionary,
                &self.written,
                &mut self.dictionaries,
                &version,
            )
            .map_err(|error| self.stream.damaged(error))?;
        }
        Ok(None)
    }
}

impl Iterator for FileBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

/// Refuses lengths that do not fit the body of a message, or that no compression can have: room
/// would be made for them.
fn check_lengths(batch: &ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), String> {
    let nodes = batch.nodes().into_iter().flatten();
    let lengths = nodes
        .flat_map(|node| [node.length(), node.null_count()])
        .chain([batch.length()]);
    if lengths.into_iter().any(|length| length < 0) {
        return Err("a column has a length below zero".to_owned());
    }
    for buffer in batch.buffers().into_iter().flatten() {
        let range = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok());
        let bytes = range.and_then(|(start, length)| body.get(start..start.checked_add(length)?));
        let Some(bytes) = bytes else {
            return Err("a column is outside of its message".to_owned());
        };
        if batch.compression().is_none() || bytes.is_empty() {
            continue;
        }
        let Some((length, compressed)) = bytes.split_first_chunk() else {
            return Err("a compressed column is cut".to_owned());
        };
        let length = i64::from_le_bytes(*length);
        let greatest = (compressed.len() as u64).saturating_mul(GREATEST_RATIO);
        // A length of -1 says that the bytes are not compressed.
        if length < -1 || u64::try_from(length).is_ok_and(|length| length > greatest) {
            return Err(format!(
                "a column of {} compressed bytes cannot have {length}",
                compressed.len()
            ));
        }
    }
    Ok(())
}
