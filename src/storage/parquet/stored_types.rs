//! The names of types on disk. They are this program's own and never change, so that every version
//! reads the lakes of every other. `fixtures/type_names.txt` lists them.
//!
//! A type has two names on disk:
//!
//! | name | stored in |
//! | --- | --- |
//! | [`type_name`]: `int64`, `list<text>` | schemas of footers, declared types |
//! | [`arrow_name`]: `Int64`, `List(Utf8)` | `untyped` columns of footers, hashes of jobs, the schemas of the first footers |
//!
//! The second are what Arrow printed when they were first stored. Arrow has changed its names
//! several times since, so nothing here asks Arrow for a name. [`parse_stored_type`] reads both.

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use crate::domain::type_names::{
    arguments, decimal_type, expect, list_of, map_of, next_word, parse_type, type_name,
};

/// The types without parameters, by their names in Arrow.
const PLAIN: [(&str, DataType); 15] = [
    ("Null", DataType::Null),
    ("Boolean", DataType::Boolean),
    ("Int8", DataType::Int8),
    ("Int16", DataType::Int16),
    ("Int32", DataType::Int32),
    ("Int64", DataType::Int64),
    ("UInt8", DataType::UInt8),
    ("UInt16", DataType::UInt16),
    ("UInt32", DataType::UInt32),
    ("UInt64", DataType::UInt64),
    ("Float32", DataType::Float32),
    ("Float64", DataType::Float64),
    ("Utf8", DataType::Utf8),
    ("Binary", DataType::Binary),
    ("Date32", DataType::Date32),
];

/// The name that Arrow had for a canonical type when it was first stored.
///
/// A type that is not canonical is never stored; of such a one, the name is the user's.
pub fn arrow_name(data_type: &DataType) -> String {
    use DataType as T;
    if let Some((name, _)) = PLAIN.iter().find(|(_, plain)| plain == data_type) {
        return (*name).to_owned();
    }
    match data_type {
        T::Time32(unit) => format!("Time32({})", unit_name(*unit)),
        T::Time64(unit) => format!("Time64({})", unit_name(*unit)),
        T::Duration(unit) => format!("Duration({})", unit_name(*unit)),
        T::Timestamp(unit, None) => format!("Timestamp({})", unit_name(*unit)),
        T::Timestamp(unit, Some(zone)) => format!("Timestamp({}, {zone:?})", unit_name(*unit)),
        T::Decimal128(precision, scale) => format!("Decimal128({precision}, {scale})"),
        T::List(item) => format!("List({})", nullable_name(item)),
        T::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|field| field_name(field)).collect();
            format!("Struct({})", fields.join(", "))
        }
        T::Map(entries, _) => format!("Map({}, unsorted)", field_name(entries)),
        other => type_name(other),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "µs",
        TimeUnit::Nanosecond => "ns",
    }
}

fn field_name(field: &Field) -> String {
    format!("{:?}: {}", field.name(), nullable_name(field))
}

fn nullable_name(field: &Field) -> String {
    let nullability = if field.is_nullable() { "" } else { "non-null " };
    format!("{nullability}{}", arrow_name(field.data_type()))
}

/// Reads either name of a type; `None` for any other name.
pub fn parse_stored_type(text: &str) -> Option<DataType> {
    let parse_arrow_name = || {
        let mut rest = text;
        let data_type = next_type(&mut rest)?;
        rest.trim().is_empty().then_some(data_type)
    };
    parse_type(text).or_else(parse_arrow_name)
}

/// Takes a type by its name in Arrow from the front of text.
fn next_type(rest: &mut &str) -> Option<DataType> {
    use DataType as T;
    let word = next_word(rest);
    if let Some((_, plain)) = PLAIN.iter().find(|(name, _)| *name == word) {
        return Some(plain.clone());
    }
    match word {
        "Time32" | "Time64" | "Duration" => time_type(word, &arguments(rest)?),
        "Timestamp" => timestamp_type(rest),
        "Decimal128" => decimal_type(&arguments(rest)?),
        "List" => {
            expect(rest, '(')?;
            let (item, _) = next_nullable(rest)?;
            expect(rest, ')')?;
            Some(list_of(item))
        }
        "Struct" => Some(T::Struct(next_fields(rest)?)),
        "Map" => map_type(rest),
        _ => None,
    }
}

fn time_type(word: &str, arguments: &[&str]) -> Option<DataType> {
    let [unit] = arguments else {
        return None;
    };
    Some(match (word, parse_unit(unit)?) {
        ("Time32", unit @ TimeUnit::Millisecond) => DataType::Time32(unit),
        ("Time64", unit @ TimeUnit::Nanosecond) => DataType::Time64(unit),
        ("Duration", unit) => DataType::Duration(unit),
        _ => return None,
    })
}

/// `Timestamp(µs)`, `Timestamp(µs, "UTC")`; once `Timestamp(Microsecond, None)` and
/// `Timestamp(Microsecond, Some("UTC"))`.
fn timestamp_type(rest: &mut &str) -> Option<DataType> {
    expect(rest, '(')?;
    let unit = parse_unit(next_word(rest))?;
    let mut zone = None;
    if expect(rest, ',').is_some() {
        let is_quoted = rest.trim_start().starts_with('"');
        let word = next_word(rest);
        if is_quoted || word == "Some" {
            let in_brackets = expect(rest, '(').is_some();
            zone = Some(next_quoted(rest)?).filter(|zone| zone == "UTC");
            if zone.is_none() || in_brackets && expect(rest, ')').is_none() {
                return None;
            }
        } else if word != "None" {
            return None;
        }
    }
    expect(rest, ')')?;
    Some(DataType::Timestamp(unit, zone.map(Into::into)))
}

fn parse_unit(name: &str) -> Option<TimeUnit> {
    Some(match name {
        "s" | "Second" => TimeUnit::Second,
        "ms" | "Millisecond" => TimeUnit::Millisecond,
        "µs" | "us" | "Microsecond" => TimeUnit::Microsecond,
        "ns" | "Nanosecond" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

/// `Map("entries": non-null Struct("key": non-null Utf8, "value": Int64), unsorted)`.
fn map_type(rest: &mut &str) -> Option<DataType> {
    expect(rest, '(')?;
    let entries = next_field(rest)?;
    expect(rest, ',')?;
    if next_word(rest) != "unsorted" {
        return None;
    }
    expect(rest, ')')?;
    match entries.data_type() {
        DataType::Struct(pair) if pair.len() == 2 => Some(map_of(
            pair[0].data_type().clone(),
            pair[1].data_type().clone(),
        )),
        _ => None,
    }
}

/// `("a": Int64, "b": Utf8)`.
fn next_fields(rest: &mut &str) -> Option<Fields> {
    expect(rest, '(')?;
    let mut fields = Vec::new();
    while expect(rest, ')').is_none() {
        if !fields.is_empty() {
            expect(rest, ',')?;
        }
        fields.push(next_field(rest)?);
    }
    Some(Fields::from(fields))
}

fn next_field(rest: &mut &str) -> Option<Field> {
    let name = next_quoted(rest)?;
    expect(rest, ':')?;
    let (data_type, is_nullable) = next_nullable(rest)?;
    Some(Field::new(name, data_type, is_nullable))
}

/// Takes a type from the front of text, and whether it may be null.
fn next_nullable(rest: &mut &str) -> Option<(DataType, bool)> {
    let non_null = rest.trim_start().strip_prefix("non-null ");
    *rest = non_null.unwrap_or(rest);
    Some((next_type(rest)?, non_null.is_none()))
}

/// Takes a text in quotes from the front of text, as Rust prints it.
fn next_quoted(rest: &mut &str) -> Option<String> {
    let quoted = rest.trim_start().strip_prefix('"')?;
    let mut text = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                *rest = &quoted[at + 1..];
                return Some(text);
            }
            '\\' => text.push(match letters.next()?.1 {
                't' => '\t',
                'r' => '\r',
                'n' => '\n',
                '0' => '\0',
                'u' => {
                    let code: String = letters
                        .by_ref()
                        .map(|(_, letter)| letter)
                        .take_while(|letter| *letter != '}')
                        .filter(|letter| *letter != '{')
                        .collect();
                    char::from_u32(u32::from_str_radix(&code, 16).ok()?)?
                }
                letter => letter,
            }),
            letter => text.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::canonical_types::canonical;
    use crate::domain::canonical_types::tests::every_type;

    /// Both names of every canonical type, as lakes have them.
    const FROZEN: &str = include_str!("../../../fixtures/type_names.txt");

    /// The lines of the fixture, each as a user's name and Arrow's.
    fn frozen() -> impl Iterator<Item = (&'static str, &'static str)> {
        FROZEN
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once('\t').expect("two names"))
    }

    #[test]
    fn names_on_disk_are_what_they_were() {
        for (name, of_arrow) in frozen() {
            let data_type = parse_stored_type(name).expect(name);
            assert_eq!(canonical(&data_type).as_ref(), Some(&data_type), "{name}");
            assert_eq!(parse_stored_type(of_arrow).as_ref(), Some(&data_type));
            assert_eq!(
                [type_name(&data_type), arrow_name(&data_type)],
                [name, of_arrow]
            );
        }
        for data_type in every_type() {
            let name = type_name(&data_type);
            assert!(frozen().any(|(known, _)| known == name), "{name}");
        }
    }

    #[test]
    fn older_names_of_timestamps_are_read() {
        for (older, name) in [
            ("Timestamp(Nanosecond, None)", "timestamp(ns)"),
            (
                "Timestamp(Microsecond, Some(\"UTC\"))",
                "timestamp(us, UTC)",
            ),
            ("Timestamp(us)", "timestamp(us)"),
            ("Time64(Nanosecond)", "time"),
            ("Duration(Second)", "duration(s)"),
        ] {
            assert_eq!(parse_stored_type(older), parse_type(name), "{older}");
        }
        for wrong in [
            "",
            "Int128",
            "Int64 Int64",
            "Timestamp(µs, \"CET\")",
            "Timestamp(µs, \"UTC\"",
            "Time64(ms)",
            "Decimal128(39, 2)",
            "List()",
            "Struct(a: Int64)",
            "Map(\"entries\": Int64, unsorted)",
        ] {
            assert_eq!(parse_stored_type(wrong), None, "{wrong}");
        }
    }

    fn any_type() -> impl Strategy<Value = DataType> {
        let decimal = (1u8..=38).prop_flat_map(|precision| {
            let most = i8::try_from(precision).expect("small");
            (Just(precision), -38..=most)
        });
        let leaf = prop_oneof![
            proptest::sample::select(every_type()),
            decimal.prop_map(|(precision, scale)| DataType::Decimal128(precision, scale)),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            let named = proptest::collection::btree_map(any::<String>(), inner.clone(), 0..4);
            prop_oneof![
                inner.clone().prop_map(list_of),
                (inner.clone(), inner).prop_map(|(key, value)| map_of(key, value)),
                named.prop_map(|fields| DataType::Struct(
                    fields
                        .into_iter()
                        .map(|(name, data_type)| Field::new(name, data_type, true))
                        .collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn both_names_of_a_type_read_back_as_the_type(data_type in any_type()) {
            for name in [type_name(&data_type), arrow_name(&data_type)] {
                prop_assert_eq!(parse_stored_type(&name), Some(data_type.clone()), "{}", name);
            }
        }
    }
}
