//! CSV and TSV: every value is read as text once, set aside, and read as its column's type when all
//! have been seen.
//!
//! How a file is written is its dialect ([`super::dialect`]). The first file's order of columns is
//! the table's, with the columns that only later files have at the end. In files that lack a column
//! it is null. Of several files, those without a single byte have no rows: programs that write in
//! parallel leave such parts.
//!
//! Text is set aside as it is written. Where numbers or dates have a notation of their own, they
//! are rewritten when their types are known, so that text stays as it is and errors show what the
//! file has.

mod aside;
mod quotes;
mod records;

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use csv::{ByteRecord, ErrorKind};

use self::aside::TextAside;
use self::quotes::quote_fault;
use self::records::{
    Kept, begin_of_record, longest_field, newlines, reader_of, skip_line, without_end,
};
use super::dialect::{Form, Ragged};
use super::observed::ReadAs;
use super::type_inference::ValuePlace;
use super::{HEAD_ROWS, Input, SourceRows, TypeRules};
use crate::domain::canonical_types::canonical_schema;
use crate::domain::cast::conform;
use crate::domain::notation::Notation;
use crate::domain::row_limits::Limits;
use crate::error::{Context, Error, Result};
use crate::parallel::each;
use crate::storage::Batches;
use crate::storage::lake::read::ObjectReader;

/// Appended to every file. It is a row of its own, unless the file ends inside a quoted value and
/// swallows it. No text has its first two bytes, which are not valid in UTF-8, and no delimiter or
/// quote is in it.
const END: &[u8] = b"\n\xff\xffasofEndOfFile";
/// The most text that is looked at to detect a delimiter.
const HEAD: u64 = 1 << 16;
const SPILL: &str = "cannot write to the temporary folder (TMPDIR)";

/// Reads files with a declared delimiter, the `delimiter` of their format, or one that is detected.
pub(super) fn read(
    inputs: &[Input],
    delimiter: Option<u8>,
    rules: &TypeRules,
) -> Result<SourceRows> {
    let form = Form {
        section: rules.section.clone(),
        limits: rules.limits,
        ..Form::of(&rules.csv, delimiter)?
    };
    let (aside, is_comma_free) = set_aside(inputs, &form, rules)?;
    rules.check(&aside.schema, &inputs[0].name)?;
    let (reader, guesses) = aside.into_reader()?;
    let text = reader.schema();
    let fields = text.fields().iter().zip(&guesses);
    let fields = fields.map(|(field, guess)| {
        let decided = guess
            .decide(field.name(), inputs)
            .map_err(|error| error.hint(rules.as_text(field.name(), "the text as it is")));
        let data_type = rules.of_column(decided)?;
        if let Some((commas, example)) = guess.commas().filter(|_| is_comma_free) {
            rules.observed.note_commas(field.name(), commas, example);
        }
        Ok(Field::new(field.name(), data_type, true))
    });
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
    let target = schema.clone();
    let name = inputs[0].name.clone();
    let notation = form.notation;
    let texts = reader.map(|batch| batch.temporary_context(|| SPILL.into()));
    let convert = move |batch: RecordBatch| {
        let batch = if notation.is_standard() {
            batch
        } else {
            in_standard_notation(&batch, &target, &notation)?
        };
        conform(&batch, &target).map_err(|error| error.within(&name))
    };
    let batches: Batches = if rules.is_alone {
        Box::new(each(texts, move |batch| own_text(&convert(batch)?))?)
    } else {
        Box::new(texts.map(move |batch| convert(batch?)))
    };
    Ok(SourceRows {
        schema,
        batches,
        count: None,
    })
}

/// The text of all files, and whether no file has the comma as its delimiter.
fn set_aside(inputs: &[Input], form: &Form, rules: &TypeRules) -> Result<(TextAside, bool)> {
    let is_part = inputs.len() > 1;
    // Many parts may be more than the files that may be open.
    let released = |input: &Input| {
        input
            .reader()
            .map(|mut object| (object.release(), object).1)
    };
    let objects = inputs.iter().map(released).collect::<Result<Vec<_>>>()?;
    let mut is_comma_free = true;
    let mut aside = if is_part {
        Some(TextAside::new(
            columns_of_all(inputs, &objects, form)?,
            rules,
            form,
        )?)
    } else {
        None
    };
    for (file, (input, object)) in inputs.iter().zip(&objects).enumerate() {
        let Some(mut text) = Text::open(input, object, form, is_part)? else {
            continue;
        };
        rules.observed.note(text.read_as());
        is_comma_free &= text.delimiter != b',';
        let aside = match &mut aside {
            Some(aside) => aside,
            none => none.insert(TextAside::new(text.header.clone(), rules, form)?),
        };
        let most = rules.only_columns.then_some(HEAD_ROWS);
        text.take_rows(file, aside, most)?;
    }
    let aside = aside.ok_or_else(|| Error::usage("there are no files to read"))?;
    Ok((aside, is_comma_free))
}

/// The text of a batch with every value in the standard spelling of its type.
fn in_standard_notation(
    batch: &RecordBatch,
    target: &SchemaRef,
    notation: &Notation,
) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(target.fields())
        .map(|(column, field)| {
            let standard = notation.standard_column(column.as_string(), field.data_type());
            // Every value was seen to be of the type.
            standard
                .map(|texts| Arc::new(texts) as ArrayRef)
                .map_err(|_| Error::io(format!("column '{}' has changed", field.name())))
        });
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_>>()?)
        .io_context(|| "cannot rewrite text".into())
}

/// The batch with text of its own. Text that was set aside is a part of a buffer that has the text
/// of all columns, and would keep all of it in memory.
fn own_text(batch: &RecordBatch) -> Result<RecordBatch> {
    let doing = || "cannot copy text".to_owned();
    let columns = batch.columns().iter().map(|column| {
        let Some(texts) = column.as_string_opt::<i32>() else {
            return Ok(column.clone());
        };
        let mut own = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        own.append_array(texts).internal_context(doing)?;
        Ok(Arc::new(own.finish()) as ArrayRef)
    });
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_>>()?).internal_context(doing)
}

/// The columns of all files, in the order of their first appearance.
fn columns_of_all(inputs: &[Input], objects: &[ObjectReader], form: &Form) -> Result<SchemaRef> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut seen = HashSet::new();
    let mut is_all_empty = true;
    for (input, object) in inputs.iter().zip(objects) {
        let Some(text) = Text::open(input, object, form, true)? else {
            continue;
        };
        is_all_empty = false;
        fields.extend(
            text.header
                .fields()
                .iter()
                .filter(|field| seen.insert(field.name().clone()))
                .cloned(),
        );
    }
    if is_all_empty {
        let name = inputs
            .first()
            .map_or("the source", |input| input.name.as_str());
        return Err(Error::refused(format!(
            "all {} files are empty, without even a header; {name} is the first",
            inputs.len()
        )));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A file whose header has been read.
struct Text<'a> {
    input: &'a Input,
    form: &'a Form,
    read_as: ReadAs,
    delimiter: u8,
    header: SchemaRef,
    reader: csv::Reader<Kept>,
    /// How many lines have ended before the next record, or the blank lines before it.
    lines: u64,
}

impl<'a> Text<'a> {
    /// Opens a file and reads its header; `None` for a part without a single byte.
    fn open(
        input: &'a Input,
        object: &ObjectReader,
        form: &'a Form,
        is_part: bool,
    ) -> Result<Option<Self>> {
        let (text, mut read_as) = input.text(object, form.encoding)?;
        let mut text = BufReader::with_capacity(1 << 16, text);
        let failed = |error: io::Error, lines: u64| {
            wrong_bytes(&error, input, form, lines + 1)
                .unwrap_or_else(|| damaged(&error.into(), input))
        };
        if text
            .fill_buf()
            .map_err(|error| failed(error, 0))?
            .is_empty()
            && is_part
        {
            return Ok(None);
        }
        for skipped in 0..form.skip {
            skip_line(&mut text).map_err(|error| failed(error, skipped))?;
        }
        let mut head = Vec::new();
        let took = text.by_ref().take(HEAD).read_to_end(&mut head);
        took.map_err(|error| failed(error, form.skip + newlines(&head)))?;
        let delimiter = form.delimiter.or_else(|| {
            let detected = form.detect_delimiter(&head, (head.len() as u64) < HEAD)?;
            read_as.detected.push("delimiter");
            Some(detected)
        });
        let delimiter = delimiter.unwrap_or(b',');
        read_as.delimiter = Some(char::from(delimiter));
        // Rows of another length are refused below: the one that marks the end is one.
        let kept = Kept {
            from: Box::new(Cursor::new(head).chain(text).chain(END)),
            bytes: Vec::new(),
            start: 0,
            record: 0,
            most: form.limits.row_bytes,
        };
        let reader = reader_of(kept, form, delimiter);
        let mut text = Text {
            input,
            form,
            read_as,
            delimiter,
            header: Arc::new(Schema::empty()),
            reader,
            lines: form.skip,
        };
        text.header = match &form.columns {
            Some(columns) => columns_of(columns.iter().map(String::as_str), input, &form.limits)?,
            None => text.read_header()?,
        };
        Ok(Some(text))
    }

    fn read_header(&mut self) -> Result<SchemaRef> {
        let input = self.input;
        let mut record = ByteRecord::new();
        let line = self.next(&mut record)?;
        let Some(line) = line.filter(|_| !record.is_empty() && !is_end(&record)) else {
            return Err(Error::refused(format!(
                "{} is empty: not even a header",
                input.name
            )));
        };
        let mut names = Vec::with_capacity(record.len());
        for name in &record {
            let name = std::str::from_utf8(name).map_err(|_| {
                not_utf8(
                    &format!("{}, line {line}: the header", input.name),
                    self.form,
                )
            })?;
            if name.contains('\0') {
                let what = format!(
                    "{}, line {line}: the header has NUL characters, as UTF-16 without a byte \
                     order mark has",
                    input.name
                );
                return Err(Error::refused(what).hint(self.form.declare("encoding", "utf-16le")));
            }
            names.push(if self.form.trim { name.trim() } else { name });
        }
        columns_of(names.into_iter(), input, &self.form.limits)
    }

    /// How the file is read.
    fn read_as(&self) -> ReadAs {
        self.read_as.clone()
    }

    /// Reads the next record, and returns the line on which it begins.
    fn next(&mut self, record: &mut ByteRecord) -> Result<Option<u64>> {
        let from = self.reader.position().byte();
        self.reader.get_mut().record = from;
        match self.reader.read_byte_record(record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(_) if self.reader.get_ref().is_over() => return Err(self.long_row(from, u64::MAX)),
            Err(error) => {
                let lines = self.lines + newlines(self.reader.get_mut().between(from, u64::MAX));
                let bytes = if let ErrorKind::Io(error) = error.kind() {
                    wrong_bytes(error, self.input, self.form, lines + 1)
                } else {
                    None
                };
                return Err(bytes.unwrap_or_else(|| damaged(&error, self.input)));
            }
        }
        let to = self.reader.position().byte();
        let form = self.form;
        let delimiter = self.delimiter;
        let bytes = self.reader.get_mut().between(from, to);
        let (before, bytes) = bytes.split_at(begin_of_record(bytes, form.comment));
        if without_end(bytes).len() as u64 > form.limits.row_bytes {
            return Err(self.long_row(from, to));
        }
        let line = self.lines + newlines(before) + 1;
        self.lines = line - 1 + newlines(bytes);
        let has = |sign: Option<u8>| sign.is_some_and(|sign| memchr::memchr(sign, bytes).is_some());
        let fault = if has(form.quote) || has(form.escape) {
            quote_fault(bytes, delimiter, form)
        } else {
            None
        };
        match fault {
            Some(fault)
                if !record
                    .iter()
                    .next_back()
                    .is_some_and(|field| field.ends_with(&END[1..])) =>
            {
                Err(fault.refusal(&format!("{}, line {line}", self.input.name), form, bytes))
            }
            _ => Ok(Some(line)),
        }
    }

    /// The refusal of a record that is too long, of which the bytes between two positions are known.
    fn long_row(&mut self, from: u64, to: u64) -> Error {
        let bytes = self.reader.get_mut().between(from, to);
        let (before, bytes) = bytes.split_at(begin_of_record(bytes, self.form.comment));
        let line = self.lines + newlines(before) + 1;
        let most = usize::try_from(self.form.limits.row_bytes).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(most)];
        let at = longest_field(bytes, self.form, self.delimiter);
        let column = self
            .header
            .fields()
            .get(at)
            .map(|field| field.name().as_str());
        let place = format!("{}, line {line}", self.input.name);
        let error = self.form.limits.long_row(&place, column);
        let has_quote = |quote| memchr::memchr(quote, bytes).is_some();
        if self.form.quote.is_some_and(has_quote) {
            error.hint("if a quote in this row is never closed, correct the source")
        } else {
            error
        }
    }

    /// Takes the rows, or the first ones if there is a `most`.
    fn take_rows(&mut self, file: usize, aside: &mut TextAside, most: Option<u64>) -> Result<()> {
        let name = &self.input.name.clone();
        let form = self.form;
        let mut record = ByteRecord::new();
        let at: HashMap<&String, usize> = aside
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(at, field)| (field.name(), at))
            .collect();
        let places = self
            .header
            .fields()
            .iter()
            .map(|field| at.get(field.name()).copied())
            .collect::<Option<Vec<usize>>>();
        let places =
            places.ok_or_else(|| Error::io(format!("{name} was replaced while it was read")))?;
        let present: HashSet<usize> = places.iter().copied().collect();
        let absent: Vec<usize> = (0..aside.schema.fields().len())
            .filter(|at| !present.contains(at))
            .collect();
        drop(at);
        let (mut last, mut taken) = (1, 0);
        while let Some(line) = self.next(&mut record)? {
            if is_end(&record) || most == Some(taken) {
                return Ok(());
            }
            taken += 1;
            last = line;
            if record
                .iter()
                .next_back()
                .is_some_and(|field| field.ends_with(&END[1..]))
            {
                break;
            }
            if record.len() > places.len()
                || record.len() < places.len() && form.ragged == Ragged::Refuse
            {
                return Err(self.wrong_length(line, record.len()));
            }
            for (field, place) in record.iter().zip(&places) {
                let text = std::str::from_utf8(field).map_err(|_| {
                    let column = aside.schema.field(*place).name();
                    not_utf8(&format!("{name}, line {line}: column '{column}'"), form)
                })?;
                let text = if form.trim { text.trim() } else { text };
                aside.append(*place, (!form.is_null(text)).then_some(text));
            }
            for place in absent.iter().chain(&places[record.len()..]) {
                aside.append(*place, None);
            }
            aside.end_row(ValuePlace { file, line })?;
        }
        Err(Error::refused(format!(
            "{name} ends inside a quoted value, in the row that begins on line {last}"
        )))
    }

    fn wrong_length(&self, line: u64, found: usize) -> Error {
        let expected = self.header.fields().len();
        let noun = if expected == 1 { "field" } else { "fields" };
        let error = Error::refused(format!(
            "{}, line {line}: expected {expected} {noun}, found {found}",
            self.input.name
        ));
        match () {
            () if found < expected => error.hint(format!(
                "to read missing fields as null: {}",
                self.form.declare("ragged", "fill")
            )),
            () if expected == 1 && self.form.delimiter.is_none() => error.hint(format!(
                "if fields are not separated by commas: {}",
                self.form.declare("delimiter", ";")
            )),
            () => error.hint("write a field that contains the delimiter in quotes: \"a,b\""),
        }
    }
}

/// The columns of a file, all of text.
fn columns_of<'a>(
    names: impl ExactSizeIterator<Item = &'a str> + Clone,
    input: &Input,
    limits: &Limits,
) -> Result<SchemaRef> {
    limits.check_columns(&input.name, names.clone())?;
    let fields: Vec<Field> = names
        .map(|name| Field::new(name, DataType::Utf8, true))
        .collect();
    canonical_schema(&Schema::new(fields), &input.name)
}

/// Whether a row is the mark of the end.
fn is_end(record: &ByteRecord) -> bool {
    record.len() == 1 && record.get(0) == Some(&END[1..])
}

fn not_utf8(place: &str, form: &Form) -> Error {
    Error::refused(format!("{place} is not UTF-8 text")).hint(format!(
        "if it is Windows-1252: {}",
        form.declare("encoding", "windows-1252")
    ))
}

/// The refusal of bytes that an encoding does not have.
fn wrong_bytes(error: &io::Error, input: &Input, form: &Form, line: u64) -> Option<Error> {
    let is_wrong = error.kind() == io::ErrorKind::InvalidData;
    is_wrong.then(|| {
        Error::refused(format!("{}, line {line}: {error}", input.name))
            .hint(form.declare("encoding", "NAME"))
    })
}

fn damaged(error: &csv::Error, input: &Input) -> Error {
    match error.kind() {
        ErrorKind::Io(error)
            if error.kind() != std::io::ErrorKind::InvalidInput
                && error.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            Error::io(format!("cannot read {}: {error}", input.name))
        }
        _ => Error::refused(format!("{} is damaged: {error}", input.name)),
    }
}
