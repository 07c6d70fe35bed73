//! The names of types, as configurations, messages and footers have them.
//!
//! [`type_name`] names a type and [`parse_type`] reads the name. Footers store these names, so a
//! canonical type keeps its name for ever: `fixtures/type_names.txt` lists them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// The types without parameters, by name.
const PLAIN: [(&str, DataType); 15] = [
    ("null", DataType::Null),
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("text", DataType::Utf8),
    ("binary", DataType::Binary),
    ("date", DataType::Date32),
];

/// The names that configurations may use instead.
const OTHER_NAMES: [(&str, DataType); 7] = [
    ("string", DataType::Utf8),
    ("varchar", DataType::Utf8),
    ("boolean", DataType::Boolean),
    ("int", DataType::Int32),
    ("integer", DataType::Int32),
    ("bigint", DataType::Int64),
    ("double", DataType::Float64),
];

/// A type's name as users know it: `int64`, `text`, `timestamp(us, UTC)`, `list<text>`.
///
/// [`parse_type`] reads the name of a canonical type back as that type.
pub fn type_name(data_type: &DataType) -> String {
    use DataType as T;
    if let Some((name, _)) = PLAIN.iter().find(|(_, plain)| plain == data_type) {
        return (*name).to_owned();
    }
    match data_type {
        T::LargeUtf8 | T::Utf8View => "text".into(),
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "binary".into(),
        T::Date64 => "date".into(),
        T::Timestamp(unit, None) => format!("timestamp({})", unit_name(*unit)),
        T::Timestamp(unit, Some(_)) => format!("timestamp({}, UTC)", unit_name(*unit)),
        T::Time32(_) => "time(ms)".into(),
        T::Time64(_) => "time".into(),
        T::Duration(unit) => format!("duration({})", unit_name(*unit)),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            format!("decimal({p}, {s})")
        }
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        T::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|field| struct_field(field)).collect();
            format!("struct<{}>", fields.join(", "))
        }
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => format!(
                "map<{}, {}>",
                type_name(pair[0].data_type()),
                type_name(pair[1].data_type())
            ),
            other => format!("map<{}>", type_name(other)),
        },
        // Types that are not canonical appear in messages only.
        other => format!("{other}").to_lowercase(),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn struct_field(field: &Field) -> String {
    format!(
        "{}: {}",
        field_name(field.name()),
        type_name(field.data_type())
    )
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

/// Reads a declared type; `None` for one that is not in [`DECLARABLE`].
pub fn parse_type(text: &str) -> Option<DataType> {
    let mut rest = text;
    let data_type = next_type(&mut rest)?;
    rest.trim().is_empty().then_some(data_type)
}

/// Takes a type from the front of text.
fn next_type(rest: &mut &str) -> Option<DataType> {
    let word = next_word(rest).to_lowercase();
    let mut names = PLAIN.iter().chain(&OTHER_NAMES);
    if let Some((_, plain)) = names.find(|(name, _)| *name == word) {
        return Some(plain.clone());
    }
    match word.as_str() {
        "time" | "timestamp" | "timestamp_utc" | "timestamptz" | "duration" => {
            time_type(&word, &arguments(rest)?)
        }
        "decimal" | "numeric" => decimal_type(&arguments(rest)?),
        "list" => list_type(rest),
        "map" => map_type(rest),
        "struct" => struct_type(rest),
        _ => None,
    }
}

/// A type of time by its name and its arguments.
fn time_type(name: &str, arguments: &[&str]) -> Option<DataType> {
    use DataType as T;
    Some(match (name, arguments) {
        ("time", [] | ["ns"]) => T::Time64(TimeUnit::Nanosecond),
        ("time", ["ms"]) => T::Time32(TimeUnit::Millisecond),
        ("timestamp", []) => T::Timestamp(TimeUnit::Microsecond, None),
        ("timestamp", [name]) => T::Timestamp(unit(name)?, None),
        ("timestamp", [name, zone]) if zone.eq_ignore_ascii_case("utc") => {
            T::Timestamp(unit(name)?, Some("UTC".into()))
        }
        ("timestamp_utc" | "timestamptz", []) => {
            T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        ("duration", []) => T::Duration(TimeUnit::Microsecond),
        ("duration", ["s"]) => T::Duration(TimeUnit::Second),
        ("duration", [name]) => T::Duration(unit(name)?),
        _ => return None,
    })
}

/// A decimal of up to 38 digits, by its precision and scale.
pub(crate) fn decimal_type(arguments: &[&str]) -> Option<DataType> {
    let [precision, scale] = arguments else {
        return None;
    };
    let precision = precision.parse().ok()?;
    let scale = scale.parse().ok()?;
    let is_one = (1..=38).contains(&precision)
        && (-38..=38).contains(&scale)
        && i16::from(scale) <= i16::from(precision);
    is_one.then_some(DataType::Decimal128(precision, scale))
}

fn list_type(rest: &mut &str) -> Option<DataType> {
    expect(rest, '<')?;
    let item = next_type(rest)?;
    expect(rest, '>')?;
    Some(list_of(item))
}

fn map_type(rest: &mut &str) -> Option<DataType> {
    expect(rest, '<')?;
    let key = next_type(rest)?;
    expect(rest, ',')?;
    let value = next_type(rest)?;
    expect(rest, '>')?;
    Some(map_of(key, value))
}

fn struct_type(rest: &mut &str) -> Option<DataType> {
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
    Some(DataType::Struct(fields.into()))
}

/// The canonical type of lists of an item.
pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// The canonical type of maps from a key to a value.
pub(crate) fn map_of(key: DataType, value: DataType) -> DataType {
    let pair = Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ]);
    let entries = Field::new("entries", DataType::Struct(pair), false);
    DataType::Map(Arc::new(entries), false)
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
pub(crate) fn next_word<'a>(rest: &mut &'a str) -> &'a str {
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
pub(crate) fn expect(rest: &mut &str, character: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(character)?;
    Some(())
}

/// Takes `(a, b)` from the front of text; nothing means no arguments.
pub(crate) fn arguments<'a>(rest: &mut &'a str) -> Option<Vec<&'a str>> {
    let Some(inner) = rest.trim_start().strip_prefix('(') else {
        return Some(Vec::new());
    };
    let (inner, after) = inner.split_once(')')?;
    *rest = after;
    Some(inner.split(',').map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::super::canonical_types::canonical;
    use super::super::canonical_types::tests::every_type;
    use super::*;

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
