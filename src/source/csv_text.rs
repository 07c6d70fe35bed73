//! CSV and TSV: every value is read as text once, set aside, and cast when all have been seen.
//!
//! An empty field is null. A header is required, but of a part without a byte; columns are in the order in which they first appear.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::guess::Guess;
use super::{Input, Rows, TypeRules, unify_parts};
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
    fn new(schema: SchemaRef) -> Result<Self> {
        let file = tempfile::tempfile().io_context(|| SPILL.into())?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), &schema).io_context(|| SPILL.into())?;
        let columns = schema.fields().len();
        Ok(Aside {
            guesses: vec![Guess::default(); columns],
            builders: (0..columns).map(|_| StringBuilder::new()).collect(),
            schema,
            rows: 0,
            writer,
        })
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
    // A part may lack a column, so the headers of all of them come first; and an empty one has no header.
    let mut opened = Vec::with_capacity(inputs.len());
    for input in inputs {
        let mut object = input.reader()?;
        let header = header(&mut text_of(&object, input, delimiter)?, input)?;
        object.release();
        opened.extend(header.map(|header| (object, input, header)));
    }
    let schemas: Vec<(SchemaRef, &str)> = opened.iter().map(|(_, input, header)| (header.clone(), input.name.as_str())).collect();
    if let (true, Some(first)) = (schemas.is_empty(), inputs.first()) {
        return Err(Error::refused(format!("{} is empty: not even a header", first.name)));
    }
    let mut aside = Aside::new(unify_parts(&schemas)?)?;
    for (object, input, header) in &opened {
        let mut reader = text_of(object, input, delimiter)?;
        reader.byte_headers().map_err(|error| damaged(&error, input))?;
        let places: Vec<usize> = header.fields().iter().map(|field| aside.schema.index_of(field.name()).unwrap_or_default()).collect();
        take_rows(&mut reader, input, &places, &mut aside)?;
    }
    rules.check(&aside.schema, &inputs[0].name)?;
    let (reader, guesses) = aside.into_reader()?;
    let text = reader.schema();
    let fields = text
        .fields()
        .iter()
        .zip(&guesses)
        .map(|(field, guess)| Ok(Field::new(field.name(), guess.decide(field.name(), rules, &inputs[0].name)?, true)))
        .collect::<Result<Vec<_>>>()?;
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let (target, name) = (schema.clone(), inputs[0].name.clone());
    let batches = reader.map(move |batch| conform(&batch.io_context(|| SPILL.into())?, &target).map_err(|error| error.within(&name)));
    Ok(Rows { schema, batches: Box::new(batches) })
}

/// A reader of the records of a file, from its beginning.
fn text_of(object: &ObjectReader, input: &Input, delimiter: u8) -> Result<csv::Reader<impl Read>> {
    let text = input.decompressed(object)?.chain(END);
    // Rows of another length are refused below: the one that marks the end is one.
    Ok(ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text))
}

/// The columns that a file has; nothing if it is empty.
fn header<R: std::io::Read>(reader: &mut csv::Reader<R>, input: &Input) -> Result<Option<SchemaRef>> {
    let record = reader.byte_headers().map_err(|error| damaged(&error, input))?.clone();
    if record.is_empty() || is_end(&record) {
        return Ok(None);
    }
    let mut fields = Vec::with_capacity(record.len());
    for (position, name) in record.iter().enumerate() {
        let name = if position == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
        let name =
            std::str::from_utf8(name).map_err(|_| Error::refused(format!("{}, line 1: the header is not UTF-8 text", input.name)))?;
        fields.push(Field::new(name, DataType::Utf8, true));
    }
    canonical_schema(&Schema::new(fields), &input.name).map(Some)
}

fn take_rows<R: std::io::Read>(reader: &mut csv::Reader<R>, input: &Input, places: &[usize], aside: &mut Aside) -> Result<()> {
    let absent: Vec<usize> = (0..aside.builders.len()).filter(|place| !places.contains(place)).collect();
    let mut record = ByteRecord::new();
    let mut line = 1;
    while reader.read_byte_record(&mut record).map_err(|error| damaged(&error, input))? {
        if is_end(&record) {
            return Ok(());
        }
        line = record.position().map_or(0, csv::Position::line);
        if record.iter().next_back().is_some_and(|field| field.ends_with(&END[1..])) {
            break;
        }
        if record.len() != places.len() {
            let noun = if record.len() == 1 { "field" } else { "fields" };
            let (name, fields, columns) = (&input.name, record.len(), places.len());
            return Err(Error::refused(format!("{name}, line {line}: a row of {fields} {noun} under a header of {columns}")));
        }
        for place in &absent {
            aside.builders[*place].append_null();
        }
        for (field, place) in record.iter().zip(places) {
            if field.is_empty() {
                aside.builders[*place].append_null();
                continue;
            }
            let text = std::str::from_utf8(field).map_err(|_| {
                Error::refused(format!("{}, line {line}: column '{}' is not UTF-8 text", input.name, aside.schema.field(*place).name()))
                    .hint("iconv -f latin1 -t utf-8 FILE")
            })?;
            aside.guesses[*place].see(text, line);
            aside.builders[*place].append_value(text);
        }
        aside.rows += 1;
        if aside.rows == BATCH_ROWS {
            aside.flush()?;
        }
    }
    Err(Error::refused(format!("{} ends inside a quoted value, in the row that begins on line {line}", input.name)))
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
