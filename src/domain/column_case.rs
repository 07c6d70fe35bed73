//! Names of columns that differ only in case.
//!
//! An export through Snowflake, Hive or BigQuery writes `Name` as `NAME` or `name`. That is one
//! column whose spelling changed: it keeps the name that the table has for it, and no row changes.
//! Two such columns in one table are kept, and told: Spark, Hive and BigQuery cannot tell them
//! apart.

use std::collections::HashMap;

use arrow::datatypes::Schema;

use super::schema::by_name;

/// The columns of `next` that `known` has in another spelling: by their name in `next`, with the
/// known one. A column with more than one such peer is none of them.
pub fn respelled(known: &Schema, next: &Schema) -> Vec<(String, String)> {
    let gone = by_lower_case(known, next);
    let new = by_lower_case(next, known);
    let respelled = new.iter().filter_map(|(lower, names)| {
        match (names.as_slice(), gone.get(lower).map(Vec::as_slice)) {
            ([(at, name)], Some([(_, known)])) => Some((*at, (*name).clone(), (*known).clone())),
            _ => None,
        }
    });
    let mut respelled: Vec<_> = respelled.collect();
    respelled.sort_unstable();
    respelled
        .into_iter()
        .map(|(_, name, known)| (name, known))
        .collect()
}

/// The columns of a schema that the other one lacks, and their positions, by their names in lower
/// case.
fn by_lower_case<'a>(
    schema: &'a Schema,
    other: &Schema,
) -> HashMap<String, Vec<(usize, &'a String)>> {
    let others = by_name(other);
    let mut all: HashMap<String, Vec<(usize, &String)>> = HashMap::new();
    for (at, field) in schema.fields().iter().enumerate() {
        if !others.contains_key(field.name().as_str()) {
            all.entry(field.name().to_lowercase())
                .or_default()
                .push((at, field.name()));
        }
    }
    all
}

/// Two columns of one schema that differ only in case.
pub fn twins(schema: &Schema) -> Option<(&str, &str)> {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let mut lower: Vec<(String, &str)> = names
        .iter()
        .map(|name| (name.to_lowercase(), *name))
        .collect();
    lower.sort_by(|one, other| one.0.cmp(&other.0));
    lower
        .windows(2)
        .find(|pair| pair[0].0 == pair[1].0)
        .map(|pair| (pair[0].1, pair[1].1))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn schema(names: &[&str]) -> Schema {
        Schema::new(
            names
                .iter()
                .map(|name| Field::new(*name, DataType::Utf8, true))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_column_whose_case_changed_is_that_column() {
        let of = |known: &[&str], next: &[&str]| respelled(&schema(known), &schema(next));
        let pair = |name: &str, known: &str| (name.to_owned(), known.to_owned());
        assert_eq!(
            of(&["id", "Name"], &["ID", "name", "more"]),
            [pair("ID", "id"), pair("name", "Name")]
        );
        assert_eq!(
            of(&["Straße"], &["STRASSE"]),
            [],
            "ß has no upper case of one letter"
        );
        assert_eq!(of(&["Größe"], &["GRÖSSE"]), []);
        assert_eq!(
            of(&["Änderung"], &["änderung"]),
            [pair("änderung", "Änderung")]
        );
        assert_eq!(of(&["Name"], &["Name", "name"]), [], "both are there");
        assert_eq!(of(&["Name", "NAME"], &["name"]), [], "it could be either");
        assert_eq!(of(&["Name"], &["name", "NAME"]), []);
    }

    #[test]
    fn columns_that_differ_only_in_case_are_found() {
        assert_eq!(
            twins(&schema(&["id", "Name", "x", "name"])),
            Some(("Name", "name"))
        );
        assert_eq!(twins(&schema(&["id", "Name", "names"])), None);
    }
}
