//! The columns that warehouses expect of an SCD type 2 table, beside start and end: whether a row is
//! current, its number among those of its key, a surrogate key, and whether it is a record of a
//! deletion.
//!
//! A record of a deletion is a row more: it begins on the first observed date on which the key is
//! absent, ends when the key comes back, and has the values that the key had last, as the records
//! of dbt's `hard_deletes: new_record` do. It is never current.

use crate::error::{Error, Result};

/// The names of the columns; nothing of those that are not wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarehouseColumns {
    /// Whether a row holds on the last date.
    pub current: Option<String>,
    /// The number of a row among those of its key, from 1.
    pub version: Option<String>,
    /// The surrogate key.
    pub surrogate_key: Option<String>,
    /// Whether a row is a record of a deletion. Without it, there are no such rows.
    pub deleted: Option<String>,
}

impl WarehouseColumns {
    /// The columns, each with the option that names it, in the order in which they follow the
    /// interval's.
    pub fn named(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let columns = [
            (&self.current, "--current-column"),
            (&self.version, "--version-column"),
            (&self.surrogate_key, "--surrogate-key"),
            (&self.deleted, "--deleted-column"),
        ];
        let named = columns.into_iter();
        named.filter_map(|(name, option)| Some((name.as_deref()?, option)))
    }

    /// Refuses a name that another column has, in any case: warehouses tell names apart by their
    /// letters alone. `others` are the columns of the intervals.
    ///
    /// # Errors
    /// A usage error that names the column and the option that renames it.
    pub fn check<'a>(&self, table: &str, others: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut known: Vec<&str> = others.into_iter().collect();
        for (name, option) in self.named() {
            if known.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                let what = format!("table {table} has a column '{name}' already");
                return Err(Error::usage(what).hint(format!("{option} asof_{name}")));
            }
            known.push(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_another_column_has_is_refused_with_its_option() {
        let columns = WarehouseColumns {
            current: Some("is_current".to_owned()),
            version: Some("version".to_owned()),
            ..WarehouseColumns::default()
        };
        assert!(columns.check("item", ["id", "active_start"]).is_ok());
        let error = columns.check("item", ["id", "Version"]).expect_err("taken");
        assert_eq!(error.hints(), ["--version-column asof_version"]);
        let twice = WarehouseColumns {
            deleted: Some("is_current".to_owned()),
            ..columns
        };
        let error = twice.check("item", ["id"]).expect_err("twice");
        assert_eq!(error.hints(), ["--deleted-column asof_is_current"]);
    }
}
