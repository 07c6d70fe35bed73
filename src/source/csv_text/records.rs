//! The records of a file in bytes: where they begin and end, and how long they are.

use std::io::{self, BufRead, Read};

use csv::ReaderBuilder;
use csv_core::ReadFieldResult;

use crate::source::dialect::Form;

/// The bytes of a file on their way to the reader, kept until the record that they are of has been
/// looked at.
pub(super) struct Kept {
    pub(super) from: Box<dyn Read + Send>,
    pub(super) bytes: Vec<u8>,
    /// Where in the file the kept bytes begin.
    pub(super) start: u64,
    /// Where the record begins that is being read, and how many bytes it may have.
    pub(super) record: u64,
    pub(super) most: u64,
}

impl Read for Kept {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.from.read(buffer)?;
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl Kept {
    /// Whether the record is longer than it may be, as far as it has been read.
    pub(super) fn is_over(&self) -> bool {
        self.start + self.bytes.len() as u64 > self.record + self.most
    }

    /// The bytes from one position in the file to another; those before them are let go.
    pub(super) fn between(&mut self, from: u64, to: u64) -> &[u8] {
        let at = |position: u64, kept: &Kept| {
            usize::try_from(position.saturating_sub(kept.start))
                .unwrap_or(0)
                .min(kept.bytes.len())
        };
        if at(from, self) > 1 << 20 {
            self.bytes.drain(..at(from, self));
            self.start = from;
        }
        &self.bytes[at(from, self)..at(to, self)]
    }
}

/// A reader of records whose lengths may differ, in a form and with a delimiter.
pub(super) fn reader_of(kept: Kept, form: &Form, delimiter: u8) -> csv::Reader<Kept> {
    let mut builder = ReaderBuilder::new();
    builder
        .delimiter(delimiter)
        .flexible(true)
        .has_headers(false)
        .buffer_capacity(1 << 16)
        .comment(form.comment);
    builder
        .quoting(form.quote.is_some())
        .quote(form.quote.unwrap_or(b'"'));
    builder
        .double_quote(form.escape.is_none())
        .escape(form.escape);
    builder.from_reader(kept)
}

/// The number of the longest field in the first bytes of a record.
pub(super) fn longest_field(mut bytes: &[u8], form: &Form, delimiter: u8) -> usize {
    let mut builder = csv_core::ReaderBuilder::new();
    builder
        .delimiter(delimiter)
        .quoting(form.quote.is_some())
        .quote(form.quote.unwrap_or(b'"'))
        .double_quote(form.escape.is_none())
        .escape(form.escape);
    let mut reader = builder.build();
    let mut text = [0; 4096];
    let (mut field, mut length) = (0, 0);
    let mut longest = (0, 0);
    while !bytes.is_empty() {
        let (result, read, written) = reader.read_field(bytes, &mut text);
        length += written;
        if length > longest.1 {
            longest = (field, length);
        }
        if matches!(result, ReadFieldResult::Field { .. }) {
            (field, length) = (field + 1, 0);
        }
        bytes = &bytes[read..];
    }
    longest.0
}

/// Passes over a line, of which nothing is kept.
pub(super) fn skip_line(text: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = text.fill_buf()?;
        let end = memchr::memchr(b'\n', bytes);
        let length = end.map_or(bytes.len(), |end| end + 1);
        let is_over = end.is_some() || bytes.is_empty();
        text.consume(length);
        if is_over {
            return Ok(());
        }
    }
}

pub(super) fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Where a record begins, behind the blank lines and comments before it, and what is left of the
/// end of the line before.
pub(super) fn begin_of_record(bytes: &[u8], comment: Option<u8>) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\r' | b'\n' => at += 1,
            byte if comment == Some(*byte) => {
                at += memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len() - at, |end| end + 1)
            }
            _ => break,
        }
    }
    at
}

/// A record without the end of its line.
pub(super) fn without_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    &bytes[..end.map_or(0, |last| last + 1)]
}
