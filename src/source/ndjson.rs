//! JSON: objects one after another, as lines or in one array, each a row.
//!
//! The text is set aside decompressed and read twice: once for what the values of each column have
//! in common ([`Shape`]), once for the values. Where nothing else is read meanwhile, and every line
//! has one object without faults, both are done a piece of some lines at a time, on all processors
//! ([`lines`]); any other text is read again from its beginning, by a reader that names what is
//! wrong.
//!
//! If the types of all columns of the first object are declared or known from the table's past, the
//! text is not set aside, and read once ([`expected`]). Where a line differs from
//! the last parsed one only in its values, only these are read ([`template`]).
//!
//! Numbers are digits until their type is known ([`crate::domain::text::json`]), and strings are
//! text, unless the column had another type so far or one is declared. A field that only some
//! objects have is null in the others. An object that never has a field is kept as its JSON text,
//! since Parquet has no type without fields.
//!
//! Memory: a batch of rows, twice, or a few pieces of lines; and what shapes hold, which is bounded
//! by the number of distinct fields.

mod expected;
mod lines;
mod shape;
mod template;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Take, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use struson::reader::{JsonReader, JsonStreamReader, ValueType};

use self::lines::{LinesPiece, LinesPieces, PlacedObject};
use self::shape::{Shape, TooMany, kind};
use super::type_inference::ValuePlace;
use super::{AS_UTF8, Input, SourceRows, TypeRules};
use crate::domain::canonical_types::canonical_schema;
use crate::domain::row_limits::Limits;
use crate::domain::text::json::{self, JsonValue, Wrong};
use crate::domain::type_names::type_name;
use crate::error::{Context, Error, Result, shorten};
use crate::parallel::each;
use crate::storage::Batches;
use crate::storage::parquet::object::BATCH_ROWS;

const SPILL: &str = "cannot write to the temporary folder (TMPDIR)";

/// A reader in the text of one file.
type Reader = JsonStreamReader<BufReader<RowText>>;

/// How much text is read ahead.
const READ_AHEAD: usize = 1 << 18;
/// How much of each file is looked at, if only the columns are wanted.
const HEAD_BYTES: u64 = 4 << 20;
/// How near its end a head may break off.
const HEAD_END: u64 = 1 << 20;
/// How many bytes the objects of a batch have, beside the last one.
const BATCH_BYTES: u64 = 16 << 20;

/// What is kept of a column that is declared text.
const JSON_TEXT: &str = "the column as its JSON text";

pub(super) fn read(inputs: &[Input], rules: &TypeRules) -> Result<SourceRows> {
    if let Some(expected) = rules.expected.as_ref().filter(|_| rules.is_alone)
        && let Some(rows) = expected::read(inputs, rules, expected)?
    {
        return Ok(rows);
    }
    let mut aside = set_aside(inputs, rules)?;
    let of_lines = match rules.is_alone {
        true => shape_of_lines(&aside, inputs, rules)?,
        false => None,
    };
    let are_lines = of_lines.is_some();
    let shape = match of_lines {
        Some(shape) => shape,
        None => shape_of_objects(&mut aside, inputs, rules)?,
    };
    let schema = decide(&shape, inputs, rules)?;
    let target = TargetColumns {
        schema: schema.clone(),
        inputs: inputs.to_vec(),
        rules: rules.clone(),
    };
    let batches: Batches = if are_lines {
        let batch = move |piece: LinesPiece| match piece.objects() {
            Some(objects) => target.batch(&objects),
            None => Err(Error::internal("lines that were read are not read again")),
        };
        Box::new(each(aside.pieces()?, batch)?)
    } else {
        aside.rewind();
        Box::new(Objects { aside, target })
    };
    Ok(SourceRows {
        schema,
        batches,
        count: None,
    })
}

/// What objects have in common, before one is seen.
fn shape_of_pinned(rules: &TypeRules) -> Shape {
    let pinned = rules.pinned.as_ref();
    let pinned = pinned.map(|schema| DataType::Struct(schema.fields().clone()));
    Shape::new(pinned.as_ref())
}

/// What objects have in common that stand on a line each, parsed on all processors; `None` if a
/// line is anything else than one object, or wrong.
fn shape_of_lines(
    aside: &ObjectsAside,
    inputs: &[Input],
    rules: &TypeRules,
) -> Result<Option<Shape>> {
    let most = rules.limits.columns;
    let mut shape = shape_of_pinned(rules);
    let of_piece = rules.clone();
    let shape_of_piece = move |piece: LinesPiece| {
        let place = piece.place();
        let Some(objects) = piece.objects() else {
            return Ok(None);
        };
        let mut shape = shape_of_pinned(&of_piece);
        for (place, fields) in &objects {
            let seen = shape.see_object(fields, *place, &of_piece.declared, most);
            if let Err(TooMany(fields)) = seen {
                return Ok(Some(Err((*place, fields))));
            }
        }
        Ok(Some(Ok((place, shape))))
    };
    let refusal =
        |(place, fields): (ValuePlace, usize)| too_many(&rules.limits, inputs, place, fields);
    for seen in each(aside.pieces()?, shape_of_piece)? {
        let Some(seen) = seen? else { return Ok(None) };
        let (place, later) = seen.map_err(refusal)?;
        let added = shape.add_later(later, most);
        added.map_err(|TooMany(fields)| refusal((place, fields)))?;
    }
    Ok(Some(shape))
}

/// What objects have in common, however they stand.
fn shape_of_objects(
    aside: &mut ObjectsAside,
    inputs: &[Input],
    rules: &TypeRules,
) -> Result<Shape> {
    let mut shape = shape_of_pinned(rules);
    loop {
        let read = match aside.read_object(inputs) {
            // The head of a file ends in the midst of an object.
            Err(_) if aside.is_at_end_of_head() => {
                aside.end_file();
                continue;
            }
            read => read?,
        };
        let Some((place, fields)) = read else {
            return Ok(shape);
        };
        let seen = shape.see_object(&fields, place, &rules.declared, rules.limits.columns);
        seen.map_err(|TooMany(fields)| too_many(&rules.limits, inputs, place, fields))?;
    }
}

/// The refusal of more fields than there may be.
fn too_many(limits: &Limits, inputs: &[Input], place: ValuePlace, fields: usize) -> Error {
    limits.too_many_fields(&place.in_words(inputs), fields)
}

/// The columns, with the types that are declared, or that the values decide.
fn decide(shape: &Shape, inputs: &[Input], rules: &TypeRules) -> Result<SchemaRef> {
    let name = inputs
        .first()
        .map_or("the source", |input| input.name.as_str());
    let fields = shape.fields.shapes.iter().map(|(column, shape)| {
        let data_type = match rules.declared.get(column) {
            Some(declared) => declared.clone(),
            None => rules.of_column(
                shape
                    .decide(column, inputs)
                    .map_err(|error| error.hint(rules.as_text(column, JSON_TEXT))),
            )?,
        };
        Ok(Field::new(column, data_type, true))
    });
    let names = shape.fields.shapes.iter().map(|(name, _)| name.as_str());
    rules.limits.check_columns(name, names)?;
    let schema = canonical_schema(&Schema::new(fields.collect::<Result<Vec<_>>>()?), name)?;
    rules.check(&schema, name)?;
    Ok(schema)
}

/// The decompressed text of all files, one behind the other.
struct ObjectsAside {
    file: File,
    /// Where the text of each file begins and ends; nothing of one that is blank.
    texts: Vec<Option<(u64, u64)>>,
    /// The file that is being read, and the reader in it.
    current: usize,
    reader: Option<Reader>,
    /// Whether the reader is inside of an array of objects.
    in_array: bool,
    /// How much of each file was set aside, if not all.
    head: Option<u64>,
    limits: Limits,
    /// Up to where the text of the current file may be read.
    readable: Arc<AtomicU64>,
    /// How many bytes the objects have that were read.
    bytes: u64,
}

/// The text of a file, as far as the object may go that is being read.
struct RowText {
    text: Take<File>,
    read: u64,
    readable: Arc<AtomicU64>,
}

impl Read for RowText {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read >= self.readable.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.text.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

fn set_aside(inputs: &[Input], rules: &TypeRules) -> Result<ObjectsAside> {
    let mut writer = BufWriter::with_capacity(
        1 << 20,
        tempfile::tempfile().temporary_context(|| SPILL.into())?,
    );
    let head = rules.only_columns.then_some(HEAD_BYTES);
    let mut texts = Vec::with_capacity(inputs.len());
    let mut end = 0u64;
    for input in inputs {
        let (text, read_as) = input.text(&input.reader()?, None)?;
        let mut text = text.take(head.unwrap_or(u64::MAX));
        rules.observed.note(read_as);
        let mut buffer = vec![0u8; 1 << 18];
        let start = end;
        let mut is_blank = true;
        loop {
            let count = text
                .read(&mut buffer)
                .map_err(|error| input.damaged(&error))?;
            if count == 0 {
                break;
            }
            let bytes = &buffer[..count];
            is_blank = is_blank && bytes.iter().all(u8::is_ascii_whitespace);
            writer.write_all(bytes).temporary_context(|| SPILL.into())?;
            end += bytes.len() as u64;
        }
        texts.push((!is_blank).then_some((start, end)));
    }
    let file = writer
        .into_inner()
        .map_err(|error| error.into_error())
        .temporary_context(|| SPILL.into())?;
    Ok(ObjectsAside {
        file,
        texts,
        current: 0,
        reader: None,
        in_array: false,
        head,
        limits: rules.limits,
        readable: Arc::default(),
        bytes: 0,
    })
}

impl ObjectsAside {
    /// Begins again with the first file.
    fn rewind(&mut self) {
        (self.current, self.reader, self.in_array) = (0, None, false);
    }

    /// Whether the reader is where the text of a file was cut off.
    fn is_at_end_of_head(&self) -> bool {
        let text = self.texts.get(self.current).copied().flatten();
        let length = text.map_or(0, |(start, end)| end - start);
        self.head
            .is_some_and(|head| length == head && self.position() + HEAD_END >= head)
    }

    /// Goes to the next file.
    fn end_file(&mut self) {
        (self.current, self.reader, self.in_array) = (self.current + 1, None, false);
    }

    /// The text from its beginning, in pieces of whole lines.
    fn pieces(&self) -> Result<LinesPieces> {
        let file = self.file.try_clone().temporary_context(|| SPILL.into())?;
        let most = self.limits.row_bytes;
        Ok(LinesPieces::new(file, self.texts.clone(), most))
    }

    /// Reads the next object, and says where it begins. `None` if there is none left.
    fn read_object(&mut self, inputs: &[Input]) -> Result<Option<PlacedObject<'static>>> {
        let place = self.next_object(inputs)?;
        let start = self.position();
        let (Some(place), Some(reader)) = (place, &mut self.reader) else {
            return Ok(None);
        };
        let read = JsonValue::read(reader);
        let bytes = self.position() - start;
        self.bytes += bytes;
        match read {
            Ok(_) if bytes > self.limits.row_bytes => {
                Err(self.limits.long_row(&place.in_words(inputs), None))
            }
            Ok(JsonValue::Object(fields)) => Ok(Some((place, fields))),
            Ok(_) => Err(Error::internal("an object has become another value")),
            Err(wrong) => Err(self.refusal(wrong, inputs, place)),
        }
    }

    /// Goes to the next object, and says where it begins. `None` if there is none left.
    fn next_object(&mut self, inputs: &[Input]) -> Result<Option<ValuePlace>> {
        loop {
            let is_new = self.reader.is_none();
            if is_new {
                let Some(text) = self.texts.get(self.current) else {
                    return Ok(None);
                };
                let Some((start, end)) = *text else {
                    self.current += 1;
                    continue;
                };
                let mut file = self.file.try_clone().temporary_context(|| SPILL.into())?;
                file.seek(SeekFrom::Start(start))
                    .temporary_context(|| SPILL.into())?;
                let text = RowText {
                    text: file.take(end - start),
                    read: 0,
                    readable: self.readable.clone(),
                };
                let text = BufReader::with_capacity(READ_AHEAD, text);
                self.reader = Some(json::reader(text));
            }
            let ahead = self.limits.row_bytes + READ_AHEAD as u64;
            let readable = self.position() + ahead;
            self.readable.store(readable, Ordering::Relaxed);
            let place = self.place();
            match self
                .peek(is_new)
                .map_err(|wrong| self.refusal(wrong, inputs, place))?
            {
                Some(ValueType::Object) => return Ok(Some(self.place())),
                Some(other) => {
                    let place = self.place().in_words(inputs);
                    return Err(Error::refused(format!(
                        "{place}: expected a JSON object, found {}",
                        kind(other)
                    ))
                    .hint("a row is written as an object: {\"id\": 1, \"name\": \"pen\"}"));
                }
                None => (self.current, self.reader) = (self.current + 1, None),
            }
        }
    }

    /// The kind of the next value of the file, which is in an array or is not.
    fn peek(&mut self, is_new: bool) -> Result<Option<ValueType>, Wrong> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        if is_new && reader.peek()? == ValueType::Array {
            reader.begin_array()?;
            self.in_array = true;
        } else if is_new {
            return Ok(Some(reader.peek()?));
        }
        if self.in_array && !reader.has_next()? {
            reader.end_array()?;
            self.in_array = false;
        }
        if reader.has_next()? {
            Ok(Some(reader.peek()?))
        } else {
            Ok(None)
        }
    }

    /// How many bytes of the current file come before the reader.
    fn position(&self) -> u64 {
        let position = |reader: &Reader| reader.current_position(false).data_pos;
        self.reader.as_ref().and_then(position).unwrap_or(0)
    }

    /// Where the reader is.
    fn place(&self) -> ValuePlace {
        let line = self
            .reader
            .as_ref()
            .and_then(|reader| reader.current_position(false).line_pos)
            .map_or(0, |position| position.line);
        ValuePlace {
            file: self.current,
            line: line + 1,
        }
    }

    /// What is wrong with the text, in words. `from` is where the object begins.
    fn refusal(&self, wrong: Wrong, inputs: &[Input], from: ValuePlace) -> Error {
        match wrong {
            Wrong::Io(error, column) if error.kind() == io::ErrorKind::FileTooLarge => self
                .limits
                .long_row(&from.in_words(inputs), column.as_deref()),
            Wrong::Io(error, _) if error.kind() == io::ErrorKind::InvalidData => {
                Error::refused(format!(
                    "{}: the file is not UTF-8 text",
                    self.place().in_words(inputs)
                ))
                .hint(AS_UTF8)
            }
            Wrong::Io(error, _) => Error::io(format!("{SPILL}: {error}")),
            Wrong::Syntax(what) => Error::refused(format!(
                "{}: invalid JSON: {what}",
                self.place().in_words(inputs)
            )),
            Wrong::Repeated(name) => Error::refused(format!(
                "{}: the object has the field '{name}' twice",
                from.in_words(inputs)
            )),
        }
    }
}

/// The columns that objects are brought into.
struct TargetColumns {
    schema: SchemaRef,
    inputs: Vec<Input>,
    rules: TypeRules,
}

impl TargetColumns {
    /// Objects as a batch. The schema takes all of their fields.
    fn batch(&self, objects: &[PlacedObject<'_>]) -> Result<RecordBatch> {
        let columns = self.schema.fields();
        let at: HashMap<&str, usize> = (0..columns.len())
            .map(|at| (columns[at].name().as_str(), at))
            .collect();
        let mut values: Vec<Vec<Option<&JsonValue<'_>>>> =
            vec![vec![None; objects.len()]; columns.len()];
        for (row, (_, fields)) in objects.iter().enumerate() {
            for (field, (name, value)) in fields.iter().enumerate() {
                // Most objects have all fields, in one order.
                let is_next = columns
                    .get(field)
                    .is_some_and(|column| column.name() == name);
                if let Some(at) = is_next
                    .then_some(field)
                    .or_else(|| at.get(name.as_ref()).copied())
                {
                    values[at][row] = Some(value);
                }
            }
        }
        let arrays = columns.iter().zip(&values).map(|(field, values)| {
            let of_rows = values.iter().map(|value| value.map(Cow::Borrowed));
            json::column(of_rows, field.data_type()).map_err(|row| {
                let place = objects[row].0;
                if let Some(mistyped) = &self.rules.mistyped {
                    mistyped.note(field.name());
                }
                self.refusal(field, place, values[row])
            })
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(objects.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Error::io(format!("cannot bring rows into one schema: {error}")))
    }

    /// The refusal of a value that is not of its column's type.
    fn refusal(&self, field: &Field, place: ValuePlace, value: Option<&JsonValue<'_>>) -> Error {
        let name = field.name();
        let place = place.in_words(&self.inputs);
        let value = shorten(&value.map(JsonValue::to_json).unwrap_or_default());
        let data_type = type_name(field.data_type());
        Error::refused(format!(
            "{place}: column '{name}' is {data_type}, and {value} is not a valid {data_type}"
        ))
        .hint(self.rules.as_text(name, JSON_TEXT))
    }
}

/// The objects as batches.
struct Objects {
    aside: ObjectsAside,
    target: TargetColumns,
}

impl Objects {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut objects = Vec::new();
        let full = self.aside.bytes + BATCH_BYTES;
        while objects.len() < BATCH_ROWS
            && self.aside.bytes < full
            && let Some(object) = self.aside.read_object(&self.target.inputs)?
        {
            objects.push(object);
        }
        if objects.is_empty() {
            return Ok(None);
        }
        self.target.batch(&objects).map(Some)
    }
}

impl Iterator for Objects {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
