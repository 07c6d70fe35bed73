//! Which columns' changes end an interval.
//!
//! All of them by default. `ignore` names those that do not count, `track` the only ones that do;
//! the two exclude one another. Key columns always count: within a key they cannot change.

use arrow::datatypes::Schema;

/// The columns that are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The key columns.
    pub key: Vec<String>,
    /// Columns that are left out.
    pub ignore: Vec<String>,
    /// The only columns beside the key; empty for all.
    pub track: Vec<String>,
}

impl Comparison {
    /// Whether a change of a column ends an interval.
    pub fn covers(&self, column: &str) -> bool {
        let among = |names: &[String]| names.iter().any(|name| name == column);
        among(&self.key)
            || if self.track.is_empty() {
                !among(&self.ignore)
            } else {
                among(&self.track)
            }
    }

    /// Whether every column is compared, whatever columns there are.
    pub fn covers_all(&self) -> bool {
        self.ignore.is_empty() && self.track.is_empty()
    }

    /// The names of a schema's columns that are compared, in their order.
    pub fn columns(&self, schema: &Schema) -> Vec<String> {
        schema
            .fields()
            .iter()
            .map(|field| field.name())
            .filter(|name| self.covers(name))
            .cloned()
            .collect()
    }

    /// The names of a schema's columns that are not compared, in their order.
    pub fn not_compared(&self, schema: &Schema) -> Vec<String> {
        let names = schema.fields().iter().map(|field| field.name());
        names.filter(|name| !self.covers(name)).cloned().collect()
    }

    /// The columns that are not compared, in words that need no schema; nothing if all are.
    pub fn not_compared_in_words(&self) -> Option<String> {
        match (self.ignore.as_slice(), self.track.as_slice()) {
            ([], []) => None,
            (ignore, []) => Some(ignore.join(", ")),
            (_, track) => Some(format!("all but {}", track.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn columns(ignore: &[&str], track: &[&str]) -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let fields: Vec<Field> = ["id", "a", "b"]
            .iter()
            .map(|name| Field::new(*name, DataType::Int64, true))
            .collect();
        Comparison {
            key: own(&["id"]),
            ignore: own(ignore),
            track: own(track),
        }
        .columns(&Schema::new(fields))
    }

    #[test]
    fn the_key_always_counts_and_the_rest_by_ignore_or_track() {
        assert_eq!(columns(&[], &[]), ["id", "a", "b"]);
        assert_eq!(columns(&["b"], &[]), ["id", "a"]);
        assert_eq!(columns(&[], &["b"]), ["id", "b"]);
    }

    #[test]
    fn all_is_covered_only_when_nothing_is_named() {
        let one = vec!["a".to_owned()];
        assert!(
            Comparison {
                key: one.clone(),
                ..Comparison::default()
            }
            .covers_all()
        );
        assert!(
            !Comparison {
                ignore: one.clone(),
                ..Comparison::default()
            }
            .covers_all()
        );
        assert!(
            !Comparison {
                track: one,
                ..Comparison::default()
            }
            .covers_all()
        );
    }
}
