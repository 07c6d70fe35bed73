//! What JSON values have in common, and the type that follows from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use struson::reader::ValueType;

use crate::domain::text::is_whole;
use crate::domain::text::json::{self, JsonValue};
use crate::domain::type_names::type_name;
use crate::domain::widening::widen;
use crate::error::{Error, Result, shorten};
use crate::source::Input;
use crate::source::type_inference::{Guess, ValuePlace, Written};

const KINDS: [ValueType; 5] = [
    ValueType::Boolean,
    ValueType::Number,
    ValueType::String,
    ValueType::Array,
    ValueType::Object,
];

/// What a message calls a value of a kind.
pub(super) fn kind(of: ValueType) -> &'static str {
    match of {
        ValueType::Array => "an array",
        ValueType::Object => "an object",
        ValueType::String => "a string",
        ValueType::Number => "a number",
        ValueType::Boolean => "true or false",
        ValueType::Null => "null",
    }
}

/// The kind of a value; nothing of a null.
fn kind_of(value: &JsonValue<'_>) -> Option<ValueType> {
    match value {
        JsonValue::Null => None,
        JsonValue::Bool(_) => Some(ValueType::Boolean),
        JsonValue::Number(_) => Some(ValueType::Number),
        JsonValue::String(_) => Some(ValueType::String),
        JsonValue::Array(_) => Some(ValueType::Array),
        JsonValue::Object(_) => Some(ValueType::Object),
    }
}

/// Whether a value is of a kind that a type known from the past takes.
pub(super) fn is_taken_by(value: &JsonValue<'_>, data_type: &DataType) -> bool {
    kind_of(value).is_none_or(|of| kinds_of(data_type).contains(&of))
        && match (value, data_type) {
            (JsonValue::Array(items), DataType::List(item)) => items
                .iter()
                .all(|value| is_taken_by(value, item.data_type())),
            (JsonValue::Object(own), DataType::Struct(fields)) => {
                own.iter().all(|(name, value)| {
                    let field = fields.iter().find(|field| field.name() == name);
                    field.is_some_and(|field| is_taken_by(value, field.data_type()))
                })
            }
            // Nothing says that a text is bytes unless that is declared.
            (JsonValue::String(_), DataType::Binary) => false,
            // `1e3` makes a column of whole numbers one of floats.
            (JsonValue::Number(digits), integer) if integer.is_integer() => is_whole(digits),
            _ => true,
        }
}

/// What the values of one column, of one field or of the items of one list have in common.
#[derive(Default)]
pub(super) struct Shape {
    pinned: Option<DataType>,
    numbers: Guess,
    strings: Guess,
    /// The first value of each kind, by [`KINDS`], with what it is if it is neither a list nor an
    /// object.
    first: [Option<(ValuePlace, Option<String>)>; KINDS.len()],
    items: Option<Box<Shape>>,
    /// What the fields of its objects have in common.
    pub(super) fields: ShapesOfFields,
}

/// The fields of objects, in the order of their first appearance.
#[derive(Default)]
pub(super) struct ShapesOfFields {
    /// Each field's name and shape.
    pub(super) shapes: Vec<(String, Shape)>,
    at: HashMap<String, usize>,
    /// The types that fields had so far.
    pinned: HashMap<String, DataType>,
}

/// There are more fields than there may be.
#[derive(Debug)]
pub(super) struct TooMany(pub(super) usize);

impl ShapesOfFields {
    /// The fields of objects that were of a type so far.
    fn of(pinned: Option<&DataType>) -> Self {
        let mut types = HashMap::new();
        if let Some(DataType::Struct(fields)) = pinned {
            for field in fields {
                types.insert(field.name().clone(), field.data_type().clone());
            }
        }
        ShapesOfFields {
            pinned: types,
            ..ShapesOfFields::default()
        }
    }

    /// The number of the field of a name in the object that is being read, most likely the one
    /// after `before`.
    fn find(&mut self, name: &str, before: Option<usize>, most: usize) -> Result<usize, TooMany> {
        let next = before.map_or(0, |before| before + 1);
        if let Some((expected, _)) = self.shapes.get(next)
            && expected == name
        {
            return Ok(next);
        }
        if let Some(at) = self.at.get(name) {
            return Ok(*at);
        }
        self.push(name.to_owned(), Shape::new(self.pinned.get(name)), most)
    }

    /// Adds a field, and returns its number.
    fn push(&mut self, name: String, shape: Shape, most: usize) -> Result<usize, TooMany> {
        let at = self.shapes.len();
        if at >= most {
            return Err(TooMany(at + 1));
        }
        self.at.insert(name.clone(), at);
        self.shapes.push((name, shape));
        Ok(at)
    }

    fn add_later(&mut self, later: ShapesOfFields, most: usize) -> Result<(), TooMany> {
        for (name, shape) in later.shapes {
            match self.at.get(&name) {
                Some(at) => self.shapes[*at].1.add_later(shape, most)?,
                None => {
                    self.push(name, shape, most)?;
                }
            }
        }
        Ok(())
    }
}

impl Shape {
    /// The shape of values that had a type so far, or none.
    pub(super) fn new(pinned: Option<&DataType>) -> Self {
        let pinned = pinned.filter(|pinned| *pinned != &DataType::Null);
        Shape {
            numbers: Guess::pinned(pinned, Written::JsonNumbers),
            strings: Guess::pinned(pinned, Written::JsonStrings),
            fields: ShapesOfFields::of(pinned),
            pinned: pinned.cloned(),
            ..Shape::default()
        }
    }

    /// Looks at a value. `most` is how many fields an object may have.
    fn see(
        &mut self,
        value: &JsonValue<'_>,
        place: ValuePlace,
        most: usize,
    ) -> Result<(), TooMany> {
        let Some(of) = kind_of(value) else {
            return Ok(());
        };
        let first = KINDS
            .iter()
            .position(|kind| *kind == of)
            .map(|at| &mut self.first[at]);
        let note = |value: Option<&str>| {
            if let Some(first) = first.filter(|first| first.is_none()) {
                *first = Some((place, value.map(shorten)));
            }
        };
        match value {
            JsonValue::Null => {}
            JsonValue::Bool(value) => note(Some(if *value { "true" } else { "false" })),
            JsonValue::Number(digits) => {
                note(Some(digits));
                self.numbers.see(digits, place);
            }
            JsonValue::String(text) => {
                note(Some(text));
                self.strings.see(text, place);
            }
            JsonValue::Array(values) => {
                note(None);
                let item = match &self.pinned {
                    Some(DataType::List(item)) => Some(item.data_type()),
                    _ => None,
                };
                let items = self.items.get_or_insert_with(|| Box::new(Shape::new(item)));
                values
                    .iter()
                    .try_for_each(|value| items.see(value, place, most))?;
            }
            JsonValue::Object(fields) => {
                note(None);
                self.see_object(fields, place, &BTreeMap::new(), most)?;
            }
        }
        Ok(())
    }

    /// Looks at the fields of an object, but not into those whose types are declared.
    pub(super) fn see_object(
        &mut self,
        fields: &json::Fields<'_>,
        place: ValuePlace,
        declared: &BTreeMap<String, DataType>,
        most: usize,
    ) -> Result<(), TooMany> {
        let mut before = None;
        for (name, value) in fields {
            let at = self.fields.find(name, before, most)?;
            before = Some(at);
            if !declared.contains_key(name.as_ref()) {
                self.fields.shapes[at].1.see(value, place, most)?;
            }
        }
        Ok(())
    }

    /// Adds what the values of the piece that comes next have in common.
    pub(super) fn add_later(&mut self, later: Shape, most: usize) -> Result<(), TooMany> {
        self.numbers.add_later(later.numbers);
        self.strings.add_later(later.strings);
        for (first, later) in self.first.iter_mut().zip(later.first) {
            if first.is_none() {
                *first = later;
            }
        }
        match (&mut self.items, later.items) {
            (Some(items), Some(later)) => items.add_later(*later, most)?,
            (None, later) => self.items = later,
            (Some(_), None) => {}
        }
        self.fields.add_later(later.fields, most)
    }

    /// The first value of a kind that a type does not take.
    fn first_but(&self, kinds: &[ValueType]) -> Option<(String, ValuePlace)> {
        let others = self.seen().filter(|(of, ..)| !kinds.contains(of));
        let (of, place, value) = others.min_by_key(|(_, place, _)| (place.file, place.line))?;
        let name = kind(of);
        let value = value.map(|value| format!(", '{}'", shorten(value)));
        Some((format!("{name}{}", value.unwrap_or_default()), place))
    }

    /// The kinds of its values, with the first of each.
    fn seen(&self) -> impl Iterator<Item = (ValueType, ValuePlace, Option<&String>)> {
        KINDS.iter().zip(&self.first).filter_map(|(of, first)| {
            first
                .as_ref()
                .map(|(place, value)| (*of, *place, value.as_ref()))
        })
    }

    /// The column's type: the one it had so far, or a wider one, or what the values have in common.
    pub(super) fn decide(&self, column: &str, inputs: &[Input]) -> Result<DataType> {
        let Some(pinned) = &self.pinned else {
            return self.inferred(column, inputs);
        };
        if let Some((found, place)) = self.first_but(kinds_of(pinned)) {
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
            DataType::Struct(fields) => self.decide_fields(fields, column, inputs),
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

    /// The type of objects whose fields had types so far: those, or wider ones, and new fields.
    fn decide_fields(&self, fields: &Fields, column: &str, inputs: &[Input]) -> Result<DataType> {
        let mut wide: Vec<Field> = fields.iter().map(|field| field.as_ref().clone()).collect();
        let at: HashMap<&String, usize> = (0..fields.len())
            .map(|at| (fields[at].name(), at))
            .collect();
        for (name, shape) in &self.fields.shapes {
            let data_type = shape.decide(&format!("{column}.{name}"), inputs)?;
            match at.get(name) {
                Some(at) => {
                    let wider = widened(wide[*at].data_type(), data_type);
                    wide[*at] = Field::new(name, wider, true);
                }
                None => wide.push(Field::new(name, data_type, true)),
            }
        }
        Ok(DataType::Struct(wide.into()))
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
            _ => return Err(self.mixed(column, inputs)),
        })
    }

    /// The refusal of values that have no type in common.
    fn mixed(&self, column: &str, inputs: &[Input]) -> Error {
        let mut kinds: Vec<_> = self
            .seen()
            .map(|(of, place, _)| (place.file, place.line, kind(of)))
            .collect();
        kinds.sort_unstable();
        let (last, place) =
            kinds
                .last()
                .map_or(("", ValuePlace::default()), |(file, line, name)| {
                    (
                        name,
                        ValuePlace {
                            file: *file,
                            line: *line,
                        },
                    )
                });
        let first = kinds.first().map_or("", |(_, _, name)| name);
        let place = place.in_words(inputs);
        Error::refused(format!(
            "{place}: column '{column}' is {last} here, and {first} in earlier rows"
        ))
    }
}

/// The kinds of values that a type takes.
fn kinds_of(pinned: &DataType) -> &'static [ValueType] {
    use ValueType as V;
    match pinned {
        DataType::Utf8 => &[V::String, V::Number, V::Boolean],
        DataType::Boolean => &[V::Boolean, V::String],
        DataType::List(_) => &[V::Array],
        DataType::Struct(_) | DataType::Map(..) => &[V::Object],
        data_type if data_type.is_numeric() => &[V::Number, V::String],
        _ => &[V::String],
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// The wider of two types, of which the second was decided with the first in mind.
fn widened(pinned: &DataType, decided: DataType) -> DataType {
    widen(pinned, &decided).unwrap_or(decided)
}
