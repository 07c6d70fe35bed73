//! CSV and TSV: every value is read as text once, set aside, and read as its column's type when all have been seen.
//!
//! An empty field is null. A header is required; the first file's order of columns is the table's, with the columns that only later
//! files have at the end. In files that lack a column it is null. Of several files, those without a single byte have no rows: programs that
//! write in parallel leave such parts.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::guess::{Guess, Place};
use super::{AS_UTF8, Input, Rows, TypeRules};
use crate::domain::cast::conform;
use crate::domain::schema::canonical_schema;
use crate::error::{Context, Error, Result};
use crate::storage::object::BATCH_ROWS;
use crate::storage::read::ObjectReader;

/// Appended to every file. It stands in a row of its own, unless the file ends inside a quoted value and swallows it.
const END: &[u8] = b"\n\x01asof end of file\x01";
const SPILL: &str = "cannot set text aside in the temporary folder (TMPDIR)";

/// Text on its way to the temporary file.
struct Aside {
    schema: SchemaRef,
    guesses: Vec<Guess>,
    builders: Vec<StringBuilder>,
    rows: usize,
    writer: StreamWriter<BufWriter<File>>,
}

impl Aside {
    fn new(schema: SchemaRef, rules: &TypeRules) -> Result<Self> {
        let file = tempfile::tempfile().io_context(|| SPILL.into())?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), &schema).io_context(|| SPILL.into())?;
        let guesses = schema.fields().iter().map(|field| Guess::of(field.name(), rules)).collect();
        let builders = schema.fields().iter().map(|_| StringBuilder::new()).collect();
        Ok(Aside { guesses, builders, schema, rows: 0, writer })
    }

    fn flush(&mut self) -> Result<()> {
        let columns = self.builders.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect();
        self.rows = 0;
        let batch = RecordBatch::try_new(self.schema.clone(), columns).io_context(|| SPILL.into())?;
        self.writer.write(&batch).io_context(|| SPILL.into())
    }

    fn into_reader(mut self) -> Result<(StreamReader<BufReader<File>>, Vec<Guess>)> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.writer.finish().io_context(|| SPILL.into())?;
        let file = self.writer.into_inner().io_context(|| SPILL.into())?.into_inner();
        let mut file = file.map_err(|error| error.into_error()).io_context(|| SPILL.into())?;
        file.rewind().io_context(|| SPILL.into())?;
        let reader = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None).io_context(|| SPILL.into())?;
        Ok((reader, self.guesses))
    }
}

pub(super) fn read(inputs: &[Input], delimiter: u8, rules: &TypeRules) -> Result<Rows> {
    let is_part = inputs.len() > 1;
    // Many parts may be more than the files that may be open.
    let released = |input: &Input| input.reader().map(|mut object| (object.release(), object).1);
    let objects = inputs.iter().map(released).collect::<Result<Vec<_>>>()?;
    let mut aside = if is_part { Some(Aside::new(columns_of_all(inputs, &objects, delimiter)?, rules)?) } else { None };
    for (file, (input, object)) in inputs.iter().zip(&objects).enumerate() {
        let Some(mut text) = Text::open(input, object, delimiter, is_part)? else { continue };
        let aside = match &mut aside {
            Some(aside) => aside,
            none => none.insert(Aside::new(text.header.clone(), rules)?),
        };
        text.take_rows(file, aside)?;
    }
    let aside = aside.ok_or_else(|| Error::usage("there are no files to read"))?;
    rules.check(&aside.schema, &inputs[0].name)?;
    let (reader, guesses) = aside.into_reader()?;
    let text = reader.schema();
    let fields = text.fields().iter().zip(&guesses);
    let fields = fields.map(|(field, guess)| {
        let data_type = guess.decide(field.name(), inputs).map_err(|error| error.hint(rules.as_text(field.name(), "the text as it is")))?;
        Ok(Field::new(field.name(), data_type, true))
    });
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
    let (target, name) = (schema.clone(), inputs[0].name.clone());
    let batches = reader.map(move |batch| conform(&batch.io_context(|| SPILL.into())?, &target).map_err(|error| error.within(&name)));
    Ok(Rows { schema, batches: Box::new(batches) })
}

/// The columns of all files, in the order of their first appearance.
fn columns_of_all(inputs: &[Input], objects: &[ObjectReader], delimiter: u8) -> Result<SchemaRef> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut seen = HashSet::new();
    let mut is_all_empty = true;
    for (input, object) in inputs.iter().zip(objects) {
        let Some(text) = Text::open(input, object, delimiter, true)? else { continue };
        is_all_empty = false;
        fields.extend(text.header.fields().iter().filter(|field| seen.insert(field.name().clone())).cloned());
    }
    if is_all_empty {
        let name = inputs.first().map_or("the source", |input| input.name.as_str());
        return Err(Error::refused(format!("all {} files are empty, without even a header; {name} is the first", inputs.len())));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The bytes of a file on their way to the reader, kept until the record that they are of has been looked at.
struct Kept {
    from: Box<dyn Read + Send>,
    bytes: Vec<u8>,
    /// Where in the file the kept bytes begin.
    start: u64,
}

impl Read for Kept {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl Kept {
    /// The bytes from one position in the file to another; those before them are let go.
    fn between(&mut self, from: u64, to: u64) -> &[u8] {
        let at = |position: u64, kept: &Kept| usize::try_from(position.saturating_sub(kept.start)).unwrap_or(0).min(kept.bytes.len());
        if at(from, self) > 1 << 20 {
            self.bytes.drain(..at(from, self));
            self.start = from;
        }
        &self.bytes[at(from, self)..at(to, self)]
    }
}

/// A file whose header has been read.
struct Text<'a> {
    input: &'a Input,
    delimiter: u8,
    header: SchemaRef,
    reader: csv::Reader<Kept>,
    /// How many lines have ended before the next record, or the blank lines before it.
    lines: u64,
}

impl<'a> Text<'a> {
    /// Opens a file and reads its header; `None` for a part without a single byte.
    fn open(input: &'a Input, object: &ObjectReader, delimiter: u8, is_part: bool) -> Result<Option<Self>> {
        let mut start = BufReader::with_capacity(1 << 16, input.decompressed(object)?);
        let is_empty = start.fill_buf().map_err(|error| damaged(&error.into(), input))?.is_empty();
        if is_empty && is_part {
            return Ok(None);
        }
        // Rows of another length are refused below: the one that marks the end is one.
        let kept = Kept { from: Box::new(start.chain(END)), bytes: Vec::new(), start: 0 };
        let reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).buffer_capacity(1 << 16).from_reader(kept);
        let mut text = Text { input, delimiter, header: Arc::new(Schema::empty()), reader, lines: 0 };
        let mut record = ByteRecord::new();
        let line = text.next(&mut record)?;
        let Some(line) = line.filter(|_| !record.is_empty() && !is_end(&record)) else {
            return Err(Error::refused(format!("{} is empty: not even a header", input.name)));
        };
        let mut fields = Vec::with_capacity(record.len());
        for (position, name) in record.iter().enumerate() {
            let name = if position == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
            let name = std::str::from_utf8(name)
                .map_err(|_| Error::refused(format!("{}, line {line}: the header is not UTF-8 text", input.name)).hint(AS_UTF8))?;
            fields.push(Field::new(name, DataType::Utf8, true));
        }
        text.header = canonical_schema(&Schema::new(fields), &input.name)?;
        Ok(Some(text))
    }

    /// Reads the next record, and returns the line on which it begins.
    fn next(&mut self, record: &mut ByteRecord) -> Result<Option<u64>> {
        let from = self.reader.position().byte();
        if !self.reader.read_byte_record(record).map_err(|error| damaged(&error, self.input))? {
            return Ok(None);
        }
        let to = self.reader.position().byte();
        let delimiter = self.delimiter;
        let bytes = self.reader.get_mut().between(from, to);
        // Blank lines come first, and what is left of the end of the line before.
        let blank = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
        let (blank, bytes) = bytes.split_at(blank);
        let ends = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count() as u64;
        let line = self.lines + ends(blank) + 1;
        self.lines = line - 1 + ends(bytes);
        let is_wrong = memchr::memchr(b'"', bytes).is_some() && !quotes_are_right(bytes, delimiter);
        if is_wrong && !record.iter().next_back().is_some_and(|field| field.ends_with(&END[1..])) {
            let place = format!("{}, line {line}", self.input.name);
            return Err(Error::refused(format!("{place}: a quoted value goes on after its closing quote"))
                .hint("inside a quoted value, write a quote twice: \"a \"\"b\"\" c\""));
        }
        Ok(Some(line))
    }

    fn take_rows(&mut self, file: usize, aside: &mut Aside) -> Result<()> {
        let name = &self.input.name.clone();
        let mut record = ByteRecord::new();
        let at: HashMap<&String, usize> = aside.schema.fields().iter().enumerate().map(|(at, field)| (field.name(), at)).collect();
        let places = self.header.fields().iter().map(|field| at.get(field.name()).copied()).collect::<Option<Vec<usize>>>();
        let places = places.ok_or_else(|| Error::io(format!("{name} was replaced while it was read")))?;
        let present: HashSet<usize> = places.iter().copied().collect();
        let absent: Vec<usize> = (0..aside.builders.len()).filter(|at| !present.contains(at)).collect();
        drop(at);
        let mut last = 1;
        while let Some(line) = self.next(&mut record)? {
            if is_end(&record) {
                return Ok(());
            }
            last = line;
            if record.iter().next_back().is_some_and(|field| field.ends_with(&END[1..])) {
                break;
            }
            if record.len() != places.len() {
                let noun = if record.len() == 1 { "field" } else { "fields" };
                let (fields, columns) = (record.len(), places.len());
                return Err(Error::refused(format!("{name}, line {line}: a row of {fields} {noun} under a header of {columns}")));
            }
            for (field, place) in record.iter().zip(&places) {
                if field.is_empty() {
                    aside.builders[*place].append_null();
                    continue;
                }
                let text = std::str::from_utf8(field).map_err(|_| {
                    let column = aside.schema.field(*place).name();
                    Error::refused(format!("{name}, line {line}: column '{column}' is not UTF-8 text")).hint(AS_UTF8)
                })?;
                aside.guesses[*place].see(text, Place { file, line });
                aside.builders[*place].append_value(text);
            }
            for place in &absent {
                aside.builders[*place].append_null();
            }
            aside.rows += 1;
            if aside.rows == BATCH_ROWS {
                aside.flush()?;
            }
        }
        Err(Error::refused(format!("{name} ends inside a quoted value, in the row that begins on line {last}")))
    }
}

/// Whether each quoted value of a record ends where its closing quote is. A program that puts a backslash before a quote, and not another
/// quote, writes one that does not.
fn quotes_are_right(record: &[u8], delimiter: u8) -> bool {
    let mut at = 0;
    while at < record.len() {
        if record[at] == b'"' {
            loop {
                let Some(quote) = memchr::memchr(b'"', &record[at + 1..]) else { return true };
                at += quote + 1;
                match record.get(at + 1) {
                    Some(b'"') => at += 1,
                    Some(b'\r' | b'\n') | None => return true,
                    Some(byte) if *byte == delimiter => break,
                    Some(_) => return false,
                }
            }
        }
        match memchr::memchr(delimiter, &record[at..]) {
            Some(next) => at += next + 1,
            None => return true,
        }
    }
    true
}

/// Whether a row is the mark of the end.
fn is_end(record: &ByteRecord) -> bool {
    record.len() == 1 && record.get(0) == Some(&END[1..])
}

fn damaged(error: &csv::Error, input: &Input) -> Error {
    match error.kind() {
        ErrorKind::Io(error) if error.kind() != std::io::ErrorKind::InvalidInput && error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Error::io(format!("cannot read {}: {error}", input.name))
        }
        _ => Error::refused(format!("{} is damaged: {error}", input.name)),
    }
}
