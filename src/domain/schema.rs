//! Schemas: when two types are one type, and which type may become which.
//!
//! **Canonical types.** Encodings of one thing are one type: text is text whether offsets are 32 or
//! 64 bits wide, views or dictionaries; a time zone is a way of printing an instant. What is left
//! is [`canonical`]. Types that no Parquet reader shares (intervals, unions) are refused.
//!
//! **Widening.** A type may become a wider one of its family, if every value survives exactly:
//! integers to wider integers, integers to `float64` as far as each value is exact, integers to
//! decimals that hold them, `float32` to `float64`, dates to timestamps, timestamps to finer units,
//! decimals to more digits, lists and structs element by element and field by field (a new field is
//! one of nulls), and null (a column that never had a value) to anything. Every other change is
//! refused with both types named.
//!
//! **Absence.** An absent column is a column of nulls, before it appears and after it goes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::error::{Error, Result, toml_key};

/// The type that stands for all encodings of `data_type`, or `None` if asof does not take it.
pub fn canonical(data_type: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match data_type {
        T::Null | T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 => data_type.clone(),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 | T::Float32 | T::Float64 => data_type.clone(),
        T::Float16 => T::Float32,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date32 | T::Date64 => T::Date32,
        T::Time32(_) => T::Time32(TimeUnit::Millisecond),
        T::Time64(_) => T::Time64(TimeUnit::Nanosecond),
        T::Timestamp(unit, zone) => {
            let unit = if *unit == TimeUnit::Second {
                TimeUnit::Millisecond
            } else {
                *unit
            };
            T::Timestamp(unit, zone.as_ref().map(|_| "UTC".into()))
        }
        T::Duration(unit) => T::Duration(*unit),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale) => T::Decimal128(*precision, *scale),
        T::Dictionary(_, values) => canonical(values)?,
        T::RunEndEncoded(_, values) => canonical(values.data_type())?,
        T::List(item)
        | T::LargeList(item)
        | T::FixedSizeList(item, _)
        | T::ListView(item)
        | T::LargeListView(item) => T::List(Arc::new(Field::new(
            "item",
            canonical(item.data_type())?,
            true,
        ))),
        T::Struct(fields) => T::Struct(canonical_fields(fields)?),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => {
                let key = Field::new("key", canonical(pair[0].data_type())?, false);
                let value = Field::new("value", canonical(pair[1].data_type())?, true);
                T::Map(
                    Arc::new(Field::new(
                        "entries",
                        T::Struct(Fields::from(vec![key, value])),
                        false,
                    )),
                    false,
                )
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn canonical_fields(fields: &Fields) -> Option<Fields> {
    fields
        .iter()
        .map(|field| {
            Some(Field::new(
                field.name(),
                canonical(field.data_type())?,
                true,
            ))
        })
        .collect()
}

/// The schema with every type canonical, every column nullable, and no metadata.
///
/// # Errors
/// A refusal that names a column whose type asof does not take, or a name that stands twice.
pub fn canonical_schema(schema: &Schema, what: &str) -> Result<SchemaRef> {
    let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
    let mut names = std::collections::HashSet::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if !names.insert(field.name()) {
            return Err(Error::refused(format!(
                "{what} has two columns named '{}'",
                field.name()
            )));
        }
        let data_type = canonical(field.data_type()).ok_or_else(|| {
            Error::refused(format!(
                "{what}: column '{}' is {}, a type that asof does not keep",
                field.name(),
                type_name(field.data_type())
            ))
        })?;
        fields.push(Field::new(field.name(), data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A type's name as users know it: `int64`, `text`, `timestamp(us, UTC)`, `list<text>`.
///
/// [`parse_type`] reads the name of a canonical type back as that type.
pub fn type_name(data_type: &DataType) -> String {
    use DataType as T;
    let unit_name = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    match data_type {
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "text".into(),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "binary".into(),
        T::Boolean => "bool".into(),
        T::Date32 | T::Date64 => "date".into(),
        T::Timestamp(unit, None) => format!("timestamp({})", unit_name(unit)),
        T::Timestamp(unit, Some(_)) => format!("timestamp({}, UTC)", unit_name(unit)),
        T::Time32(_) => "time(ms)".into(),
        T::Time64(_) => "time".into(),
        T::Duration(unit) => format!("duration({})", unit_name(unit)),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            format!("decimal({p}, {s})")
        }
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        T::Struct(fields) => {
            let field = |field: &Arc<Field>| {
                format!(
                    "{}: {}",
                    field_name(field.name()),
                    type_name(field.data_type())
                )
            };
            format!(
                "struct<{}>",
                fields.iter().map(field).collect::<Vec<_>>().join(", ")
            )
        }
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => format!(
                "map<{}, {}>",
                type_name(pair[0].data_type()),
                type_name(pair[1].data_type())
            ),
            other => format!("map<{}>", type_name(other)),
        },
        other => format!("{other}").to_lowercase(),
    }
}

/// A field's name in the name of a struct, in quotes if it is more than letters, digits and `_`.
fn field_name(name: &str) -> String {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// The types that a configuration can declare for a column.
pub const DECLARABLE: &str = "text, bool, int8, int16, int32, int64, uint8, uint16, uint32, \
 uint64, float32, float64, decimal(P, S), date, time, \
     timestamp, timestamp(ms), timestamp(ns), timestamp_utc, timestamp(ns, UTC), duration(us), \
     binary, list<TYPE>, struct<NAME: TYPE, ...>, \
     map<TYPE, TYPE>";

/// Reads a declared type; `None` if it is none of [`DECLARABLE`].
pub fn parse_type(text: &str) -> Option<DataType> {
    let mut rest = text;
    let data_type = next_type(&mut rest)?;
    rest.trim().is_empty().then_some(data_type)
}

/// Takes a type from the front of text.
fn next_type(rest: &mut &str) -> Option<DataType> {
    use DataType as T;
    let word = next_word(rest);
    let item = |name: &str, data_type: T| Arc::new(Field::new(name, data_type, true));
    Some(match word.to_lowercase().as_str() {
        "null" => T::Null,
        "text" | "string" | "varchar" => T::Utf8,
        "bool" | "boolean" => T::Boolean,
        "int8" => T::Int8,
        "int16" => T::Int16,
        "int32" | "int" | "integer" => T::Int32,
        "int64" | "bigint" => T::Int64,
        "uint8" => T::UInt8,
        "uint16" => T::UInt16,
        "uint32" => T::UInt32,
        "uint64" => T::UInt64,
        "float32" => T::Float32,
        "float64" | "double" => T::Float64,
        "date" => T::Date32,
        "binary" => T::Binary,
        "time" => match arguments(rest)?.as_slice() {
            [] | ["ns"] => T::Time64(TimeUnit::Nanosecond),
            ["ms"] => T::Time32(TimeUnit::Millisecond),
            _ => return None,
        },
        "timestamp" => match arguments(rest)?.as_slice() {
            [] => T::Timestamp(TimeUnit::Microsecond, None),
            [name] => T::Timestamp(unit(name)?, None),
            [name, zone] if zone.eq_ignore_ascii_case("utc") => {
                T::Timestamp(unit(name)?, Some("UTC".into()))
            }
            _ => return None,
        },
        "timestamp_utc" | "timestamptz" => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "duration" => match arguments(rest)?.as_slice() {
            [] => T::Duration(TimeUnit::Microsecond),
            ["s"] => T::Duration(TimeUnit::Second),
            [name] => T::Duration(unit(name)?),
            _ => return None,
        },
        "decimal" | "numeric" => match arguments(rest)?.as_slice() {
            [precision, scale] => {
                let precision = precision.parse().ok()?;
                let scale = scale.parse().ok()?;
                let is_one = (1..=38).contains(&precision)
                    && (-38..=38).contains(&scale)
                    && i16::from(scale) <= i16::from(precision);
                is_one.then_some(T::Decimal128(precision, scale))?
            }
            _ => return None,
        },
        "list" => {
            expect(rest, '<')?;
            let inner = next_type(rest)?;
            expect(rest, '>')?;
            T::List(item("item", inner))
        }
        "map" => {
            expect(rest, '<')?;
            let key = next_type(rest)?;
            expect(rest, ',')?;
            let value = next_type(rest)?;
            expect(rest, '>')?;
            let pair = Fields::from(vec![
                Field::new("key", key, false),
                Field::new("value", value, true),
            ]);
            T::Map(
                Arc::new(Field::new("entries", T::Struct(pair), false)),
                false,
            )
        }
        "struct" => {
            expect(rest, '<')?;
            let mut fields: Vec<Field> = Vec::new();
            while expect(rest, '>').is_none() {
                if !fields.is_empty() {
                    expect(rest, ',')?;
                }
                let name = next_field_name(rest)?;
                expect(rest, ':')?;
                let data_type = next_type(rest)?;
                if fields.iter().any(|field| field.name() == &name) {
                    return None;
                }
                fields.push(Field::new(name, data_type, true));
            }
            T::Struct(fields.into())
        }
        _ => return None,
    })
}

fn unit(name: &str) -> Option<TimeUnit> {
    Some(match name {
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

/// Takes letters, digits and `_` from the front of text.
fn next_word<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_start();
    let (word, after) = text.split_at(
        text.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len()),
    );
    *rest = after;
    word
}

fn next_field_name(rest: &mut &str) -> Option<String> {
    let text = rest.trim_start();
    let Some(mut quoted) = text.strip_prefix('"') else {
        return Some(next_word(rest).to_owned()).filter(|name| !name.is_empty());
    };
    let mut name = String::new();
    loop {
        let (part, after) = quoted.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => (name, quoted) = (name + "\"", after),
            None => {
                *rest = after;
                return Some(name);
            }
        }
    }
}

/// Takes one character from the front of text, if it is the expected one.
fn expect(rest: &mut &str, character: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(character)?;
    Some(())
}

/// Takes `(a, b)` from the front of text; nothing is no arguments.
fn arguments<'a>(rest: &mut &'a str) -> Option<Vec<&'a str>> {
    let Some(inner) = rest.trim_start().strip_prefix('(') else {
        return Some(Vec::new());
    };
    let (inner, after) = inner.split_once(')')?;
    *rest = after;
    Some(inner.split(',').map(str::trim).collect())
}

/// The type that a file has for a column: where there was no value yet, text, since readers trip
/// over Parquet's type without values.
pub fn written(data_type: &DataType) -> DataType {
    use DataType as T;
    let inside = |field: &Field| field.clone().with_data_type(written(field.data_type()));
    match data_type {
        T::Null => T::Utf8,
        T::List(item) => T::List(Arc::new(inside(item))),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| inside(field)).collect()),
        T::Map(entries, sorted) => T::Map(Arc::new(inside(entries)), *sorted),
        other => other.clone(),
    }
}

/// Width in bits and signedness of an integer type.
pub(super) fn integer(data_type: &DataType) -> Option<(u32, bool)> {
    use DataType as T;
    Some(match data_type {
        T::Int8 => (8, true),
        T::Int16 => (16, true),
        T::Int32 => (32, true),
        T::Int64 => (64, true),
        T::UInt8 => (8, false),
        T::UInt16 => (16, false),
        T::UInt32 => (32, false),
        T::UInt64 => (64, false),
        _ => return None,
    })
}

/// The narrowest type that holds the values of both, or `None` if asof refuses to mix them.
///
/// Both are canonical. The result is the same whichever comes first, but for the order of a
/// struct's fields.
pub fn widen(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    if one == other {
        return Some(one.clone());
    }
    match (one, other) {
        (T::Null, wide) | (wide, T::Null) => return Some(wide.clone()),
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => return Some(T::Float64),
        (T::Timestamp(a, zone_a), T::Timestamp(b, zone_b)) if zone_a == zone_b => {
            return Some(T::Timestamp(*a.max(b), zone_a.clone()));
        }
        (T::Date32, T::Timestamp(unit, None)) | (T::Timestamp(unit, None), T::Date32) => {
            return Some(T::Timestamp(*unit, None));
        }
        (T::Duration(a), T::Duration(b)) => return Some(T::Duration(*a.max(b))),
        (T::Time32(_), T::Time64(unit)) | (T::Time64(unit), T::Time32(_)) => {
            return Some(T::Time64(*unit));
        }
        (T::List(a), T::List(b)) => {
            return Some(T::List(Arc::new(Field::new(
                "item",
                widen(a.data_type(), b.data_type())?,
                true,
            ))));
        }
        (T::Struct(a), T::Struct(b)) => return Some(T::Struct(widen_fields(a, b)?)),
        (T::Decimal128(p1, s1), T::Decimal128(p2, s2)) => {
            let scale = *s1.max(s2);
            let whole = (i16::from(*p1) - i16::from(*s1)).max(i16::from(*p2) - i16::from(*s2));
            let precision = u8::try_from(whole + i16::from(scale)).ok()?;
            return (precision <= 38).then_some(T::Decimal128(precision, scale));
        }
        _ => {}
    }
    match (integer(one), integer(other)) {
        (Some((bits_a, signed_a)), Some((bits_b, signed_b))) => {
            if signed_a == signed_b {
                return Some(if bits_a > bits_b {
                    one.clone()
                } else {
                    other.clone()
                });
            }
            let unsigned_bits = if signed_a { bits_b } else { bits_a };
            let signed_bits = if signed_a { bits_a } else { bits_b };
            match signed_bits.max(unsigned_bits * 2) {
                16 => Some(T::Int16),
                32 => Some(T::Int32),
                64 => Some(T::Int64),
                _ => None,
            }
        }
        (Some(integer), None) if matches!(other, T::Decimal128(..)) => with_digits(integer, other),
        (None, Some(integer)) if matches!(one, T::Decimal128(..)) => with_digits(integer, one),
        (Some(_), None) if matches!(other, T::Float32 | T::Float64) => Some(T::Float64),
        (None, Some(_)) if matches!(one, T::Float32 | T::Float64) => Some(T::Float64),
        _ => None,
    }
}

/// The decimal that also holds every integer of some bits and signedness.
fn with_digits((bits, signed): (u32, bool), decimal: &DataType) -> Option<DataType> {
    let DataType::Decimal128(precision, scale) = decimal else {
        return None;
    };
    let digits = match (bits, signed) {
        (8, _) => 3,
        (16, _) => 5,
        (32, _) => 10,
        (_, true) => 19,
        (_, false) => 20,
    };
    let scale = (*scale).max(0);
    let whole = (i16::from(*precision) - i16::from(scale)).max(digits);
    let precision = u8::try_from(whole + i16::from(scale)).ok()?;
    (precision <= 38).then_some(DataType::Decimal128(precision, scale))
}

/// The fields of both, in the order of the first and then of the second's own, each widened.
fn widen_fields(one: &Fields, other: &Fields) -> Option<Fields> {
    let peer = |field: &Field, fields: &Fields| {
        fields
            .iter()
            .find(|peer| peer.name() == field.name())
            .map(|peer| peer.data_type().clone())
    };
    let mut fields = Vec::new();
    for field in one {
        let wide = match peer(field, other) {
            Some(data_type) => widen(field.data_type(), &data_type)?,
            None => field.data_type().clone(),
        };
        fields.push(Field::new(field.name(), wide, true));
    }
    fields.extend(
        other
            .iter()
            .filter(|field| peer(field, one).is_none())
            .map(|field| field.as_ref().clone()),
    );
    Some(Fields::from(fields))
}

/// Whether values that convert exactly from one type to the other stay the same values: they have
/// equal digests, and their order does not change. Both types are canonical.
pub fn keeps_values(from: &DataType, to: &DataType) -> bool {
    widen(from, to).is_some()
}

/// The type with timestamps in microseconds where it has them in nanoseconds.
pub fn in_microseconds(data_type: &DataType) -> DataType {
    use DataType as T;
    let inside = |field: &Field| {
        field
            .clone()
            .with_data_type(in_microseconds(field.data_type()))
    };
    match data_type {
        T::Timestamp(TimeUnit::Nanosecond, zone) => {
            T::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        T::List(item) => T::List(Arc::new(inside(item))),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| inside(field)).collect()),
        T::Map(entries, sorted) => T::Map(Arc::new(inside(entries)), *sorted),
        other => other.clone(),
    }
}

/// The columns of `schema` in the types of `types`, where it names them.
pub fn with_types<'a>(
    schema: &SchemaRef,
    types: impl Fn(&str) -> Option<&'a DataType>,
) -> SchemaRef {
    let differs = |field: &Arc<Field>| {
        types(field.name()).is_some_and(|data_type| data_type != field.data_type())
    };
    if !schema.fields().iter().any(differs) {
        return schema.clone();
    }
    let fields = schema
        .fields()
        .iter()
        .map(|field| match types(field.name()) {
            Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type.clone())),
            None => field.clone(),
        });
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

/// What a new schema changed in the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Columns that were not there before.
    pub added: Vec<String>,
    /// Columns that are gone; they read as null from now on.
    pub absent: Vec<String>,
    /// Columns whose type became wider: name, old type, new type.
    pub widened: Vec<(String, DataType, DataType)>,
    /// Columns whose name changed its case: the new name, and the one that they keep.
    pub respelled: Vec<(String, String)>,
}

impl Drift {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.absent.is_empty()
            && self.widened.is_empty()
            && self.respelled.is_empty()
    }

    /// The changes in words: `column lid appears (text), column x is gone`.
    pub fn in_words(&self) -> String {
        let appeared = self
            .added
            .iter()
            .map(|name| format!("column '{name}' appears"));
        let gone = self
            .absent
            .iter()
            .map(|name| format!("column '{name}' is gone"));
        let wider = self.widened.iter().map(|(name, from, to)| {
            format!(
                "column '{name}' widens from {} to {}",
                type_name(from),
                type_name(to)
            )
        });
        let spelled = self.respelled.iter().map(|(now, kept)| {
            format!("column '{kept}' is now '{now}', and keeps its name: only the case differs")
        });
        appeared
            .chain(gone)
            .chain(wider)
            .chain(spelled)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A change of type that is not a safe widening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeClash {
    /// The column.
    pub column: String,
    /// Its type so far.
    pub from: DataType,
    /// Its type now.
    pub to: DataType,
}

/// A type into which the values of both convert exactly, so that declaring it settles a clash;
/// `None` if there is none.
fn holding(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    if let Some(wide) = widen(one, other) {
        return Some(wide);
    }
    match (one, other) {
        (T::List(a), T::List(b)) => holding(a.data_type(), b.data_type())
            .map(|item| T::List(Arc::new(Field::new("item", item, true)))),
        // Bytes have no text that all programs agree on.
        (T::Binary, _) | (_, T::Binary) => None,
        _ => Some(T::Utf8),
    }
}

/// Every column whose types do not widen into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeClashes(pub Vec<TypeClash>);

impl TypeClashes {
    /// The refusal, naming the table, the date on which types changed, and every column.
    pub fn refusal(&self, table: &str, date: impl std::fmt::Display) -> Error {
        let change = |clash: &TypeClash| {
            format!(
                "column '{}' changes from {} to {}",
                clash.column,
                type_name(&clash.from),
                type_name(&clash.to)
            )
        };
        let changes: Vec<String> = self.0.iter().map(change).collect();
        let which = if changes.len() == 1 {
            "which is not a safe widening"
        } else {
            "none of which is a safe widening"
        };
        let error = Error::refused(format!(
            "table {table}, {date}: {}, {which}",
            changes.join(", ")
        ));
        let settles =
            |clash: &TypeClash| Some((clash.column.clone(), holding(&clash.from, &clash.to)?));
        match self.0.iter().map(settles).collect::<Option<Vec<_>>>() {
            Some(types) => error.hint(declaration(table, &types)),
            None => error.hint("correct the source"),
        }
    }
}

/// The hint that declaring types settles a clash: a declared type applies to every snapshot of the
/// table.
pub fn declaration(table: &str, types: &[(String, DataType)]) -> String {
    let types: Vec<String> = types
        .iter()
        .map(|(column, data_type)| format!("{} = \"{}\"", toml_key(column), type_name(data_type)))
        .collect();
    let (noun, it) = if types.len() == 1 {
        ("column", "it")
    } else {
        ("columns", "them")
    };
    let table = toml_key(table);
    let types = types.join(", ");
    format!(
        "[tables.{table}] types = {{ {types} }} in asof.toml reads the {noun} so on every date, \
         or correct {it} in the source"
    )
}

/// The schema that holds both, with columns in the order of their first appearance, and what `next`
/// changed against `so_far`. Both are canonical.
///
/// # Errors
/// Every column whose types do not widen into one.
pub fn unify(so_far: &Schema, next: &Schema) -> Result<(SchemaRef, Drift), TypeClashes> {
    let mut drift = Drift::default();
    let mut clashes = Vec::new();
    let mut fields: Vec<Field> = Vec::new();
    for field in so_far.fields() {
        let Ok(now) = next.field_with_name(field.name()) else {
            drift.absent.push(field.name().clone());
            fields.push(field.as_ref().clone());
            continue;
        };
        let Some(wide) = widen(field.data_type(), now.data_type()) else {
            let from = field.data_type().clone();
            let to = now.data_type().clone();
            clashes.push(TypeClash {
                column: field.name().clone(),
                from,
                to,
            });
            continue;
        };
        if &wide != field.data_type() {
            drift.widened.push((
                field.name().clone(),
                field.data_type().clone(),
                wide.clone(),
            ));
        }
        fields.push(Field::new(field.name(), wide, true));
    }
    for field in next.fields() {
        if so_far.field_with_name(field.name()).is_err() {
            drift.added.push(field.name().clone());
            fields.push(field.as_ref().clone());
        }
    }
    if !clashes.is_empty() {
        return Err(TypeClashes(clashes));
    }
    Ok((Arc::new(Schema::new(fields)), drift))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> Vec<DataType> {
        use DataType as T;
        let mut types = vec![
            T::Null,
            T::Boolean,
            T::Int8,
            T::Int16,
            T::Int32,
            T::Int64,
            T::UInt8,
            T::UInt16,
            T::UInt32,
            T::UInt64,
            T::Float32,
            T::Float64,
            T::Utf8,
            T::Binary,
            T::Date32,
            T::Decimal128(10, 2),
            T::Decimal128(12, 4),
            T::Duration(TimeUnit::Second),
        ];
        for unit in [
            TimeUnit::Millisecond,
            TimeUnit::Microsecond,
            TimeUnit::Nanosecond,
        ] {
            types.push(T::Timestamp(unit, None));
            types.push(T::Timestamp(unit, Some("UTC".into())));
        }
        types
    }

    #[test]
    fn widening_is_symmetric_idempotent_and_upward() {
        for a in every_type() {
            assert_eq!(canonical(&a), Some(a.clone()), "{a} is canonical");
            for b in every_type() {
                let wide = widen(&a, &b);
                assert_eq!(wide, widen(&b, &a), "{a} and {b}");
                if let Some(wide) = wide {
                    assert_eq!(
                        widen(&wide, &a).as_ref(),
                        Some(&wide),
                        "{a} goes into {wide}"
                    );
                    assert_eq!(
                        widen(&wide, &b).as_ref(),
                        Some(&wide),
                        "{b} goes into {wide}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_the_listed_widenings_are_taken() {
        use DataType as T;
        let some = [
            (T::Int32, T::Int64, T::Int64),
            (T::Int64, T::Float64, T::Float64),
            (T::Int32, T::Float32, T::Float64),
            (T::UInt32, T::Int32, T::Int64),
            (T::UInt8, T::Int64, T::Int64),
            (T::Null, T::Utf8, T::Utf8),
            (
                T::Date32,
                T::Timestamp(TimeUnit::Microsecond, None),
                T::Timestamp(TimeUnit::Microsecond, None),
            ),
            (
                T::Decimal128(10, 2),
                T::Decimal128(12, 4),
                T::Decimal128(12, 4),
            ),
            (
                T::Decimal128(10, 0),
                T::Decimal128(5, 4),
                T::Decimal128(14, 4),
            ),
        ];
        for (a, b, wide) in some {
            assert_eq!(widen(&a, &b), Some(wide), "{a} and {b}");
        }
        let none = [
            (T::Utf8, T::Int64),
            (T::Boolean, T::Int64),
            (T::UInt64, T::Int64),
            (
                T::Date32,
                T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (
                T::Timestamp(TimeUnit::Microsecond, None),
                T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (T::Utf8, T::Date32),
            (T::Decimal128(10, 2), T::Float64),
            (T::Decimal128(38, 0), T::Decimal128(38, 38)),
            (T::Utf8, T::Binary),
        ];
        for (a, b) in none {
            assert_eq!(widen(&a, &b), None, "{a} and {b}");
        }
    }

    #[test]
    fn nested_types_widen_inside() {
        let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
        let of = |fields: &[(&str, DataType)]| {
            DataType::Struct(
                fields
                    .iter()
                    .map(|(name, t)| Field::new(*name, t.clone(), true))
                    .collect(),
            )
        };
        assert_eq!(
            widen(&list(DataType::Null), &list(DataType::Utf8)),
            Some(list(DataType::Utf8))
        );
        assert_eq!(widen(&list(DataType::Int64), &list(DataType::Utf8)), None);
        let a = of(&[("x", DataType::Int32), ("y", DataType::Utf8)]);
        let b = of(&[("z", DataType::Boolean), ("x", DataType::Int64)]);
        assert_eq!(
            widen(&a, &b),
            Some(of(&[
                ("x", DataType::Int64),
                ("y", DataType::Utf8),
                ("z", DataType::Boolean)
            ]))
        );
        assert_eq!(widen(&a, &of(&[("x", DataType::Utf8)])), None);
    }

    #[test]
    fn encodings_of_one_thing_are_one_type() {
        use DataType as T;
        let dictionary = T::Dictionary(Box::new(T::Int32), Box::new(T::LargeUtf8));
        assert_eq!(canonical(&dictionary), Some(T::Utf8));
        let paris = T::Timestamp(TimeUnit::Second, Some("Europe/Paris".into()));
        assert_eq!(
            canonical(&paris),
            Some(T::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))
        );
        let list = T::LargeList(Arc::new(Field::new("element", T::Utf8View, false)));
        assert_eq!(
            canonical(&list),
            Some(T::List(Arc::new(Field::new("item", T::Utf8, true))))
        );
        assert_eq!(
            canonical(&T::Interval(arrow::datatypes::IntervalUnit::DayTime)),
            None
        );
    }

    #[test]
    fn columns_keep_the_order_of_their_first_appearance() {
        let old = Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("gone", DataType::Utf8, true),
        ]);
        let new = Schema::new(vec![
            Field::new("fresh", DataType::Utf8, true),
            Field::new("id", DataType::Int64, true),
        ]);
        let (wide, drift) = unify(&old, &new).expect("it widens");
        let names: Vec<&str> = wide
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["id", "gone", "fresh"]);
        assert_eq!(
            drift.in_words(),
            "column 'fresh' appears, column 'gone' is gone, column 'id' widens from int32 to int64"
        );
        assert_eq!(unify(&wide, &wide).expect("itself").1, Drift::default());
    }

    #[test]
    fn the_name_of_a_type_reads_back_as_the_type() {
        use DataType as T;
        let item = |data_type: T| Arc::new(Field::new("item", data_type, true));
        let mut types = every_type();
        types.extend([
            T::Time32(TimeUnit::Millisecond),
            T::Time64(TimeUnit::Nanosecond),
            T::Duration(TimeUnit::Nanosecond),
        ]);
        types.extend([T::Decimal128(38, 0), T::Decimal128(5, -2), T::Float32]);
        let plain = types.clone();
        types.extend(
            plain
                .iter()
                .map(|data_type| T::List(item(T::List(item(data_type.clone()))))),
        );
        let fields = |names: &[&str]| {
            names
                .iter()
                .zip(&plain)
                .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
                .collect()
        };
        types.push(T::Struct(fields(&[
            "a",
            "Größe",
            "two words",
            "a\"b",
            "",
            "x>y: z",
            "decimal",
        ])));
        types.push(T::Struct(Fields::empty()));
        for name in [
            "map<text, list<struct<a: int8>>>",
            "map<decimal(3, 1), timestamp(ns, UTC)>",
        ] {
            types.push(parse_type(name).expect(name));
        }
        for data_type in types {
            assert_eq!(canonical(&data_type).as_ref(), Some(&data_type));
            assert_eq!(
                parse_type(&type_name(&data_type)),
                Some(data_type.clone()),
                "{}",
                type_name(&data_type)
            );
        }
    }

    #[test]
    fn every_declarable_type_is_canonical() {
        let sample = DECLARABLE
            .replace("P, S", "10, 2")
            .replace("NAME: TYPE, ...", "x: text")
            .replace("TYPE", "int64");
        let mut rest = sample.as_str();
        let mut count = 0;
        while !rest.trim().is_empty() {
            let data_type = next_type(&mut rest).unwrap_or_else(|| panic!("{rest}"));
            assert_eq!(canonical(&data_type), Some(data_type));
            count += 1;
            if !rest.trim().is_empty() {
                expect(&mut rest, ',').expect("a comma");
            }
        }
        assert_eq!(count, 25);
        assert_eq!(
            parse_type("Decimal(10, 2)"),
            Some(DataType::Decimal128(10, 2))
        );
        for wrong in [
            "decimal(39, 2)",
            "decimal(2, 3)",
            "list<>",
            "struct<a: int64, a: text>",
            "timestamp(m)",
            "text text",
            "number",
            "timestamp(us, CET)",
        ] {
            assert_eq!(parse_type(wrong), None, "{wrong}");
        }
    }
}
