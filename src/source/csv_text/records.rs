//! The records of a file in bytes: where they begin and end, and how long they are.

use std::io::{self, BufRead, Chain, Read};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use csv_core::ReadFieldResult;

use super::file::CsvFile;
use super::pieces::END;
use super::quotes::quote_fault;
use crate::error::{Error, Result};
use crate::source::dialect::Form;

/// The byte order mark, which only the first piece of a file may begin with.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// The records of text, one by one.
pub(super) struct Records<'a> {
    file: &'a CsvFile,
    text: &'a [u8],
    /// How many bytes the reader has that come before the text.
    lead: u64,
    /// How many bytes of the text are its byte order mark.
    mark: usize,
    reader: csv::Reader<Chain<&'a [u8], &'a [u8]>>,
    /// How many lines have ended before the next record, or the blank lines before it.
    lines: u64,
}

impl<'a> Records<'a> {
    /// Those of text before which some lines of the file have ended; `is_first` says that the file
    /// begins with it.
    pub(super) fn new(file: &'a CsvFile, text: &'a [u8], lines: u64, is_first: bool) -> Self {
        // The reader takes what looks like a byte order mark for one. Behind a blank line it is
        // text.
        let has_mark = text.starts_with(MARK);
        let (lead, mark): (&[u8], _) = match is_first {
            true if has_mark => (b"", MARK.len()),
            false if has_mark => (b"\n", 0),
            _ => (b"", 0),
        };
        Records {
            file,
            text,
            lead: lead.len() as u64,
            mark,
            reader: reader_of(lead.chain(text), &file.form, file.delimiter),
            lines,
        }
    }

    /// The bytes from one position of the reader to another.
    fn between(&self, from: u64, to: u64) -> &'a [u8] {
        let at = |position: u64| {
            let at = usize::try_from(position.saturating_sub(self.lead)).unwrap_or(usize::MAX);
            at.min(self.text.len())
        };
        &self.text[at(from)..at(to)]
    }

    /// How much of the text has been read, and how many lines have ended in the file by then.
    pub(super) fn read(&self) -> (usize, u64) {
        let read = self.between(0, self.reader.position().byte()).len();
        (read, self.lines)
    }

    /// Reads the next record, and returns the line on which it begins.
    ///
    /// # Errors
    /// A refusal of a record that is too long, or that programs read in different ways.
    pub(super) fn next(&mut self, record: &mut ByteRecord) -> Result<Option<u64>> {
        let from = self.reader.position().byte();
        let CsvFile {
            name,
            form,
            delimiter,
            ..
        } = self.file;
        match self.reader.read_byte_record(record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(damaged(&error, name)),
        }
        let bytes = self.between(from, self.reader.position().byte());
        let mark = std::mem::take(&mut self.mark);
        let bytes = bytes.get(mark..).unwrap_or_default();
        let (before, bytes) = bytes.split_at(begin_of_record(bytes, form.comment));
        let line = self.lines + newlines(before) + 1;
        if without_end(bytes).len() as u64 > form.limits.row_bytes {
            return Err(self.long_row(bytes, line));
        }
        self.lines = line - 1 + newlines(bytes);
        let has = |sign: Option<u8>| sign.is_some_and(|sign| memchr::memchr(sign, bytes).is_some());
        let fault = if has(form.quote) || has(form.escape) {
            quote_fault(bytes, *delimiter, form)
        } else {
            None
        };
        match fault {
            Some(fault) if !is_unended(record) => {
                Err(fault.refusal(&format!("{name}, line {line}"), form, bytes))
            }
            _ => Ok(Some(line)),
        }
    }

    /// The refusal of a record that is too long.
    fn long_row(&self, bytes: &[u8], line: u64) -> Error {
        let CsvFile {
            name,
            form,
            delimiter,
            header,
        } = self.file;
        let most = usize::try_from(form.limits.row_bytes).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(most)];
        let at = longest_field(bytes, form, *delimiter);
        let column = header.fields().get(at).map(|field| field.name().as_str());
        let error = form
            .limits
            .long_row(&format!("{name}, line {line}"), column);
        let has_quote = |quote| memchr::memchr(quote, bytes).is_some();
        if form.quote.is_some_and(has_quote) {
            error.hint("if a quote in this row is never closed, correct the source")
        } else {
            error
        }
    }
}

/// Whether a row is the mark of the end.
pub(super) fn is_end(record: &ByteRecord) -> bool {
    record.len() == 1 && record.get(0) == Some(&END[1..])
}

/// Whether a row has swallowed the mark of the end, since a quoted value of it has none.
pub(super) fn is_unended(record: &ByteRecord) -> bool {
    let last = record.iter().next_back();
    last.is_some_and(|field| field.ends_with(&END[1..]))
}

/// The refusal of a file that the reader of records cannot read.
pub(super) fn damaged(error: &csv::Error, name: &str) -> Error {
    match error.kind() {
        ErrorKind::Io(error)
            if error.kind() != io::ErrorKind::InvalidInput
                && error.kind() != io::ErrorKind::UnexpectedEof =>
        {
            Error::io(format!("cannot read {name}: {error}"))
        }
        _ => Error::refused(format!("{name} is damaged: {error}")),
    }
}

/// A reader of records whose lengths may differ, in a form and with a delimiter.
fn reader_of<R: Read>(text: R, form: &Form, delimiter: u8) -> csv::Reader<R> {
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
    builder.from_reader(text)
}

/// The number of the longest field in the first bytes of a record.
fn longest_field(mut bytes: &[u8], form: &Form, delimiter: u8) -> usize {
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
fn begin_of_record(bytes: &[u8], comment: Option<u8>) -> usize {
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
fn without_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    &bytes[..end.map_or(0, |last| last + 1)]
}
