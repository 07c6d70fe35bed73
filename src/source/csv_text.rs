//! CSV and TSV: every value is read as text once, set aside, and cast when all have been seen.
//!
//! An empty field is null. A header is required; the first file's order of columns is the table's.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::guess::Guess;
use super::{Input, Rows, TypeRules, same_columns};
use crate::domain::cast::conform;
use crate::domain::schema::canonical_schema;
use crate::error::{Context, Error, Result};
use crate::storage::object::BATCH_ROWS;

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
    let mut aside: Option<Aside> = None;
    for input in inputs {
        let text = input.open()?.chain(END);
        // Rows of another length are refused below: the one that marks the end is one.
        let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text);
        let header = header(&mut reader, input)?;
        let aside = match &mut aside {
            Some(aside) => aside,
            none => none.insert(Aside::new(header.clone())?),
        };
        same_columns(&aside.schema, &header, &inputs[0].name, &input.name)?;
        let places: Vec<usize> = header.fields().iter().map(|field| aside.schema.index_of(field.name()).unwrap_or_default()).collect();
        take_rows(&mut reader, input, &places, aside)?;
    }
    let aside = aside.ok_or_else(|| Error::usage("there are no files to read"))?;
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

fn header<R: std::io::Read>(reader: &mut csv::Reader<R>, input: &Input) -> Result<SchemaRef> {
    let record = reader.byte_headers().map_err(|error| damaged(&error, input))?.clone();
    if record.is_empty() || is_end(&record) {
        return Err(Error::refused(format!("{} is empty: not even a header", input.name)));
    }
    let mut fields = Vec::with_capacity(record.len());
    for (position, name) in record.iter().enumerate() {
        let name = if position == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
        let name =
            std::str::from_utf8(name).map_err(|_| Error::refused(format!("{}, line 1: the header is not UTF-8 text", input.name)))?;
        fields.push(Field::new(name, DataType::Utf8, true));
    }
    canonical_schema(&Schema::new(fields), &input.name)
}

fn take_rows<R: std::io::Read>(reader: &mut csv::Reader<R>, input: &Input, places: &[usize], aside: &mut Aside) -> Result<()> {
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
