//! JSON: objects one after another, as lines or in one array, each a row.
//!
//! The text is set aside decompressed and read twice: once for what the values of each column have
//! in common ([`Shape`]), once for the values. Numbers are digits until their type is known
//! ([`crate::domain::text::json`]), and strings are text, unless the column had another type so far or
//! one is declared. A field that only some objects have is null in the others. An object that never
//! has a field is kept as its JSON text, since Parquet has no type without fields.
//!
//! Memory: a batch of rows, twice; and what shapes hold, which is bounded by the number of distinct
//! fields.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use struson::reader::{JsonReader, JsonStreamReader, ValueType};

use super::type_inference::{Guess, Place, Written};
use super::{AS_UTF8, Input, Observed, Rows, TypeRules};
use crate::domain::canonical_types::canonical_schema;
use crate::domain::cast::shortened;
use crate::domain::text::json::{self, Value, Wrong};
use crate::domain::type_names::type_name;
use crate::domain::widening::widen;
use crate::error::{Context, Error, Result};
use crate::storage::parquet::object::BATCH_ROWS;

const SPILL: &str = "cannot write to the temporary folder (TMPDIR)";

/// What is kept of a column that is declared text.
const JSON_TEXT: &str = "the column as its JSON text";

pub(super) fn read(inputs: &[Input], rules: &TypeRules) -> Result<Rows> {
    let mut aside = set_aside(inputs, &rules.observed)?;
    let mut rows = Shape::new(
        rules
            .pinned
            .as_ref()
            .map(|schema| DataType::Struct(schema.fields().clone()))
            .as_ref(),
    );
    while let Some(place) = aside.next_object(inputs)? {
        let seen = rows.see_object(aside.reader()?, place, &rules.declared);
        seen.map_err(|wrong| aside.refusal(wrong, inputs, place))?;
    }
    let name = inputs
        .first()
        .map_or("the source", |input| input.name.as_str());
    let fields = rows.fields.shapes.iter().map(|(column, shape)| {
        let data_type = match rules.declared.get(column) {
            Some(declared) => declared.clone(),
            None => shape
                .decide(column, inputs)
                .map_err(|error| error.hint(rules.as_text(column, JSON_TEXT)))?,
        };
        Ok(Field::new(column, data_type, true))
    });
    let schema = canonical_schema(&Schema::new(fields.collect::<Result<Vec<_>>>()?), name)?;
    rules.check(&schema, name)?;
    aside.rewind();
    let batches = Objects {
        aside,
        schema: schema.clone(),
        inputs: inputs.to_vec(),
        rules: rules.clone(),
    };
    Ok(Rows {
        schema,
        batches: Box::new(batches),
    })
}

/// The decompressed text of all files, one behind the other.
struct Aside {
    file: File,
    /// Where the text of each file begins and ends; nothing of one that is blank.
    texts: Vec<Option<(u64, u64)>>,
    /// The file that is being read, and the reader in it.
    current: usize,
    reader: Option<Reader>,
    /// Whether the reader is inside of an array of objects.
    in_array: bool,
}

type Reader = JsonStreamReader<BufReader<std::io::Take<File>>>;

fn set_aside(inputs: &[Input], observed: &Observed) -> Result<Aside> {
    let mut writer =
        BufWriter::with_capacity(1 << 20, tempfile::tempfile().io_context(|| SPILL.into())?);
    let mut texts = Vec::with_capacity(inputs.len());
    let mut end = 0u64;
    for input in inputs {
        let (mut text, read_as) = input.text(&input.reader()?, None)?;
        observed.note(read_as);
        let mut buffer = vec![0u8; 1 << 18];
        let start = end;
        let mut is_blank = true;
        loop {
            let count = text
                .read(&mut buffer)
                .map_err(|error| Error::refused(format!("{} is damaged: {error}", input.name)))?;
            if count == 0 {
                break;
            }
            let bytes = &buffer[..count];
            is_blank = is_blank && bytes.iter().all(u8::is_ascii_whitespace);
            writer.write_all(bytes).io_context(|| SPILL.into())?;
            end += bytes.len() as u64;
        }
        texts.push((!is_blank).then_some((start, end)));
    }
    let file = writer
        .into_inner()
        .map_err(|error| error.into_error())
        .io_context(|| SPILL.into())?;
    Ok(Aside {
        file,
        texts,
        current: 0,
        reader: None,
        in_array: false,
    })
}

impl Aside {
    /// Begins again with the first file.
    fn rewind(&mut self) {
        (self.current, self.reader, self.in_array) = (0, None, false);
    }

    fn reader(&mut self) -> Result<&mut Reader> {
        self.reader
            .as_mut()
            .ok_or_else(|| Error::internal("no JSON is being read"))
    }

    /// Goes to the next object, and says where it begins. `None` if there is none left.
    fn next_object(&mut self, inputs: &[Input]) -> Result<Option<Place>> {
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
                let mut file = self.file.try_clone().io_context(|| SPILL.into())?;
                file.seek(SeekFrom::Start(start))
                    .io_context(|| SPILL.into())?;
                self.reader = Some(json::reader(BufReader::with_capacity(
                    1 << 18,
                    file.take(end - start),
                )));
            }
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

    /// Where the reader is.
    fn place(&self) -> Place {
        let line = self
            .reader
            .as_ref()
            .and_then(|reader| reader.current_position(false).line_pos)
            .map_or(0, |position| position.line);
        Place {
            file: self.current,
            line: line + 1,
        }
    }

    /// What is wrong with the text, in words. `from` is where the object begins.
    fn refusal(&self, wrong: Wrong, inputs: &[Input], from: Place) -> Error {
        match wrong {
            Wrong::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Error::refused(format!(
                    "{}: the file is not UTF-8 text",
                    self.place().in_words(inputs)
                ))
                .hint(AS_UTF8)
            }
            Wrong::Io(error) => Error::io(format!("{SPILL}: {error}")),
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

const KINDS: [ValueType; 5] = [
    ValueType::Boolean,
    ValueType::Number,
    ValueType::String,
    ValueType::Array,
    ValueType::Object,
];

fn kind(of: ValueType) -> &'static str {
    match of {
        ValueType::Array => "an array",
        ValueType::Object => "an object",
        ValueType::String => "a string",
        ValueType::Number => "a number",
        ValueType::Boolean => "true or false",
        ValueType::Null => "null",
    }
}

/// What the values of one column, of one field or of the items of one list have in common.
#[derive(Default)]
struct Shape {
    pinned: Option<DataType>,
    numbers: Guess,
    strings: Guess,
    /// The first value of each kind, by [`KINDS`], with what it is if it is neither a list nor an
    /// object.
    first: [Option<(Place, Option<String>)>; KINDS.len()],
    items: Option<Box<Shape>>,
    fields: ShapesOfFields,
}

/// The fields of objects, in the order of their first appearance.
#[derive(Default)]
struct ShapesOfFields {
    shapes: Vec<(String, Shape)>,
    at: HashMap<String, usize>,
    /// For each field the number of the object that had it last.
    last: Vec<u64>,
    /// How many objects there were.
    objects: u64,
}

impl ShapesOfFields {
    /// The number of the field of a name in the object that is being read, most likely the one
    /// after `before`.
    fn find(
        &mut self,
        name: &str,
        before: Option<usize>,
        pinned: Option<&DataType>,
    ) -> Result<usize, Wrong> {
        let next = before.map_or(0, |before| before + 1);
        let at = match self
            .shapes
            .get(next)
            .is_some_and(|(expected, _)| expected == name)
        {
            true => next,
            false => self.at.get(name).copied().unwrap_or(self.shapes.len()),
        };
        if at == self.shapes.len() {
            self.shapes
                .push((name.to_owned(), Shape::new(field_of(pinned, name))));
            self.last.push(0);
            self.at.insert(name.to_owned(), at);
        }
        if std::mem::replace(&mut self.last[at], self.objects) == self.objects {
            return Err(Wrong::Repeated(name.to_owned()));
        }
        Ok(at)
    }
}

/// The type that a field had so far.
fn field_of<'a>(pinned: Option<&'a DataType>, name: &str) -> Option<&'a DataType> {
    let Some(DataType::Struct(fields)) = pinned else {
        return None;
    };
    fields
        .iter()
        .find(|field| field.name() == name)
        .map(|field| field.data_type())
}

impl Shape {
    fn new(pinned: Option<&DataType>) -> Self {
        let pinned = pinned.filter(|pinned| *pinned != &DataType::Null);
        Shape {
            numbers: Guess::pinned(pinned, Written::JsonNumbers),
            strings: Guess::pinned(pinned, Written::JsonStrings),
            pinned: pinned.cloned(),
            ..Shape::default()
        }
    }

    /// Looks at the next value.
    fn see(&mut self, reader: &mut Reader, place: Place) -> Result<(), Wrong> {
        let of = reader.peek()?;
        if of == ValueType::Null {
            return Ok(reader.next_null()?);
        }
        let first = KINDS
            .iter()
            .position(|kind| *kind == of)
            .map(|at| &mut self.first[at]);
        let note = |value: Option<&str>| {
            if let Some(first) = first.filter(|first| first.is_none()) {
                *first = Some((place, value.map(str::to_owned)));
            }
        };
        match of {
            ValueType::Null => reader.next_null()?,
            ValueType::Boolean => note(Some(if reader.next_bool()? { "true" } else { "false" })),
            ValueType::Number => {
                let digits = reader.next_number_as_str()?;
                note(Some(digits));
                self.numbers.see(digits, place);
            }
            ValueType::String => {
                let text = reader.next_str()?;
                note(Some(text));
                self.strings.see(text, place);
            }
            ValueType::Array => {
                note(None);
                let item = match &self.pinned {
                    Some(DataType::List(item)) => Some(item.data_type()),
                    _ => None,
                };
                let items = self.items.get_or_insert_with(|| Box::new(Shape::new(item)));
                reader.begin_array()?;
                while reader.has_next()? {
                    items.see(reader, place)?;
                }
                reader.end_array()?;
            }
            ValueType::Object => {
                note(None);
                self.see_object(reader, place, &BTreeMap::new())?;
            }
        }
        Ok(())
    }

    /// Looks at the fields of the next value, which is an object, but not into those whose types
    /// are declared.
    fn see_object(
        &mut self,
        reader: &mut Reader,
        place: Place,
        declared: &BTreeMap<String, DataType>,
    ) -> Result<(), Wrong> {
        self.fields.objects += 1;
        let mut before = None;
        reader.begin_object()?;
        while reader.has_next()? {
            let name = reader.next_name()?;
            let is_declared = !declared.is_empty() && declared.contains_key(name);
            let at = self.fields.find(name, before, self.pinned.as_ref())?;
            before = Some(at);
            if is_declared {
                reader.skip_value()?
            } else {
                self.fields.shapes[at].1.see(reader, place)?
            }
        }
        Ok(reader.end_object()?)
    }

    /// The first value of a kind that a type does not take.
    fn first_but(&self, kinds: &[ValueType]) -> Option<(String, Place)> {
        let others = self.seen().filter(|(of, ..)| !kinds.contains(of));
        let (of, place, value) = others.min_by_key(|(_, place, _)| (place.file, place.line))?;
        let name = kind(of);
        let value = value.map(|value| format!(", '{}'", shortened(value)));
        Some((format!("{name}{}", value.unwrap_or_default()), place))
    }

    /// The kinds of its values, with the first of each.
    fn seen(&self) -> impl Iterator<Item = (ValueType, Place, Option<&String>)> {
        KINDS.iter().zip(&self.first).filter_map(|(of, first)| {
            first
                .as_ref()
                .map(|(place, value)| (*of, *place, value.as_ref()))
        })
    }

    /// The column's type: the one it had so far, or a wider one, or what the values have in common.
    fn decide(&self, column: &str, inputs: &[Input]) -> Result<DataType> {
        use ValueType as V;
        let Some(pinned) = &self.pinned else {
            return self.inferred(column, inputs);
        };
        let taken: &[V] = match pinned {
            DataType::Utf8 => &[V::String, V::Number, V::Boolean],
            DataType::Boolean => &[V::Boolean, V::String],
            DataType::List(_) => &[V::Array],
            DataType::Struct(_) | DataType::Map(..) => &[V::Object],
            data_type if data_type.is_numeric() => &[V::Number, V::String],
            _ => &[V::String],
        };
        if let Some((found, place)) = self.first_but(taken) {
            let place = place.in_words(inputs);
            let was = type_name(pinned);
            return Err(Error::refused(format!(
                "{place}: column '{column}' was {was} in the previous copy, and is {found} here"
            )));
        }
        match pinned {
            DataType::List(item) => match &self.items {
                None => Ok(pinned.clone()),
                Some(items) => Ok(list_of(widened(
                    item.data_type(),
                    items.decide(column, inputs)?,
                ))),
            },
            DataType::Struct(fields) => {
                let mut wide: Vec<Field> =
                    fields.iter().map(|field| field.as_ref().clone()).collect();
                for (name, shape) in &self.fields.shapes {
                    let data_type = shape.decide(&format!("{column}.{name}"), inputs)?;
                    match wide.iter_mut().find(|field| field.name() == name) {
                        Some(field) => {
                            *field = Field::new(name, widened(field.data_type(), data_type), true)
                        }
                        None => wide.push(Field::new(name, data_type, true)),
                    }
                }
                Ok(DataType::Struct(wide.into()))
            }
            DataType::Utf8 | DataType::Boolean if !self.strings.is_seen() => Ok(pinned.clone()),
            _ => {
                let strings = self.strings.decide(column, inputs)?;
                if self.numbers.is_seen() {
                    Ok(widened(&self.numbers.decide(column, inputs)?, strings))
                } else {
                    Ok(strings)
                }
            }
        }
    }

    /// What the values have in common.
    fn inferred(&self, column: &str, inputs: &[Input]) -> Result<DataType> {
        use ValueType as V;
        let only = |kinds: &[V]| self.first_but(kinds).is_none();
        Ok(match &self.items {
            _ if self.seen().next().is_none() => DataType::Null,
            _ if only(&[V::Boolean]) => DataType::Boolean,
            _ if only(&[V::Number]) => self.numbers.decide(column, inputs)?,
            _ if only(&[V::String, V::Number, V::Boolean]) => DataType::Utf8,
            Some(items) if only(&[V::Array]) => list_of(items.decide(column, inputs)?),
            _ if only(&[V::Object]) && self.fields.shapes.is_empty() => DataType::Utf8,
            _ if only(&[V::Object]) => {
                let fields = self.fields.shapes.iter();
                let fields = fields.map(|(name, shape)| {
                    Ok(Field::new(
                        name,
                        shape.decide(&format!("{column}.{name}"), inputs)?,
                        true,
                    ))
                });
                DataType::Struct(fields.collect::<Result<Vec<_>>>()?.into())
            }
            _ => {
                let mut kinds: Vec<_> = self
                    .seen()
                    .map(|(of, place, _)| (place.file, place.line, kind(of)))
                    .collect();
                kinds.sort_unstable();
                let (last, place) =
                    kinds
                        .last()
                        .map_or(("", Place::default()), |(file, line, name)| {
                            (
                                name,
                                Place {
                                    file: *file,
                                    line: *line,
                                },
                            )
                        });
                let first = kinds.first().map_or("", |(_, _, name)| name);
                let place = place.in_words(inputs);
                return Err(Error::refused(format!(
                    "{place}: column '{column}' is {last} here, and {first} in earlier rows"
                )));
            }
        })
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// The wider of two types, of which the second was decided with the first in mind.
fn widened(pinned: &DataType, decided: DataType) -> DataType {
    widen(pinned, &decided).unwrap_or(decided)
}

/// The objects as batches of a schema that takes all of their fields.
struct Objects {
    aside: Aside,
    schema: SchemaRef,
    inputs: Vec<Input>,
    rules: TypeRules,
}

impl Objects {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let at: HashMap<&String, usize> = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(at, field)| (field.name(), at))
            .collect();
        let mut columns: Vec<Vec<Option<Value>>> = vec![Vec::with_capacity(BATCH_ROWS); at.len()];
        let mut places = Vec::with_capacity(BATCH_ROWS);
        while places.len() < BATCH_ROWS
            && let Some(place) = self.aside.next_object(&self.inputs)?
        {
            let read = Value::read(self.aside.reader()?);
            let Value::Object(fields) =
                read.map_err(|wrong| self.aside.refusal(wrong, &self.inputs, place))?
            else {
                continue;
            };
            places.push(place);
            for (name, value) in fields {
                if let Some(at) = at.get(&name) {
                    columns[*at].push(Some(value));
                }
            }
            columns
                .iter_mut()
                .for_each(|column| column.resize(places.len(), None));
        }
        if places.is_empty() {
            return Ok(None);
        }
        let arrays = columns
            .iter()
            .zip(self.schema.fields())
            .map(|(values, field)| {
                json::column(
                    values.iter().map(|value| value.as_ref().map(Cow::Borrowed)),
                    field.data_type(),
                )
                .map_err(|row| {
                    let name = field.name();
                    let place = places[row].in_words(&self.inputs);
                    let value = values[row].as_ref().map(Value::to_json).unwrap_or_default();
                    let value = shortened(&value);
                    let data_type = type_name(field.data_type());
                    Error::refused(format!(
                        "{place}: column '{name}' is {data_type}, and {value} is \
                         not a valid {data_type}"
                    ))
                    .hint(self.rules.as_text(name, JSON_TEXT))
                })
            });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map(Some)
            .map_err(|error| Error::io(format!("cannot bring rows into one schema: {error}")))
    }
}

impl Iterator for Objects {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
