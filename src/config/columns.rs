//! `[tables.NAME.columns.COLUMN]` of `asof.toml`: the guards of one column.
//!
//! Values are taken as TOML has them and read here, so that what is wrong is told with the table,
//! the column and the value.

use std::time::Duration;

use serde::Deserialize;
use toml::Value;

use crate::domain::guard::column::{AcceptedValue, ColumnGuard, NullLimit};
use crate::error::{Error, Result, shorten, toml_key};
use crate::model::parse_duration;

/// The guards of one column.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnConfig {
    /// The largest share of rows in which it may be null, such as `"5%"`, or their number.
    pub max_null: Option<Value>,
    /// The only values that it may have, beside null.
    pub accepted: Option<Value>,
    /// Whether no two rows may have the same value.
    pub unique: Option<Value>,
    /// How old its newest value may be, such as `"2d"` or `"6h"`.
    pub max_age: Option<Value>,
}

impl ColumnConfig {
    /// The guards of the column of this name.
    ///
    /// # Errors
    /// A usage error that names the column and the value that is wrong.
    pub fn guard(&self, column: &str) -> Result<ColumnGuard> {
        let read = || {
            let guard = ColumnGuard {
                column: column.to_owned(),
                max_null: self.max_null.as_ref().map(null_limit).transpose()?,
                accepted: self.accepted.as_ref().map(accepted).transpose()?,
                unique: self.unique.as_ref().map_or(Ok(false), truth)?,
                max_age: self.max_age.as_ref().map(age).transpose()?,
            };
            let is_given = guard.max_null.is_some()
                || guard.accepted.is_some()
                || self.unique.is_some()
                || guard.max_age.is_some();
            match is_given {
                true => Ok(guard),
                false => Err(Error::usage("there is no guard")
                    .hint("max_null = \"5%\", accepted = [\"A\", \"B\"], unique = true or max_age = \"2d\"")),
            }
        };
        read().map_err(|error: Error| error.within(format!("columns.{}", toml_key(column))))
    }
}

/// The error of a setting whose value is wrong.
fn wrong(setting: &str, value: &Value, why: &str, hint: &str) -> Error {
    let shown = shorten(&value.to_string());
    Error::usage(format!("{setting} = {shown} {why}")).hint(hint)
}

fn null_limit(value: &Value) -> Result<NullLimit> {
    let hint = "max_null = \"5%\", a share of the rows, or max_null = 0, a number of rows";
    let wrong = |why: &str| wrong("max_null", value, why, hint);
    match value {
        Value::Integer(rows) => u64::try_from(*rows)
            .map(NullLimit::Rows)
            .map_err(|_| wrong("is negative")),
        Value::String(share) => share
            .parse()
            .map(NullLimit::Share)
            .map_err(|_| wrong("is not a share of rows")),
        _ => Err(wrong("is neither a share nor a number of rows")),
    }
}

fn accepted(value: &Value) -> Result<Vec<AcceptedValue>> {
    let hint = "accepted = [\"ACTIVE\", \"PASSIVE\"]";
    let Value::Array(values) = value else {
        return Err(wrong("accepted", value, "is not a list of values", hint));
    };
    if values.is_empty() {
        return Err(wrong("accepted", value, "accepts no value", hint));
    }
    let read = |one: &Value| match one {
        Value::String(text) => Ok(AcceptedValue {
            text: text.clone(),
            is_text: true,
        }),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            Ok(AcceptedValue {
                text: one.to_string(),
                is_text: false,
            })
        }
        Value::Array(_) | Value::Table(_) => {
            let why = format!("holds {}, which is not a value", shorten(&one.to_string()));
            Err(wrong("accepted", value, &why, hint))
        }
    };
    values.iter().map(read).collect()
}

fn truth(value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| {
        wrong(
            "unique",
            value,
            "is neither true nor false",
            "unique = true",
        )
    })
}

fn age(value: &Value) -> Result<Duration> {
    let hint = "max_age = \"2d\", or \"36h\"";
    let text = value
        .as_str()
        .ok_or_else(|| wrong("max_age", value, "is not a duration", hint))?;
    parse_duration(text).map_err(|_| wrong("max_age", value, "is not a duration", hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(text: &str) -> Result<ColumnGuard> {
        toml::from_str::<ColumnConfig>(text)
            .expect("TOML")
            .guard("status")
    }

    #[test]
    fn guards_of_a_column_are_read() {
        let guard = guard(
            "max_null = '5%'\naccepted = ['A', 1, 2.5, 2024-01-31]\nunique = true\nmax_age = '36h'\n",
        );
        let guard = guard.expect("guards");
        assert_eq!(guard.max_null.expect("a limit").to_string(), "5%");
        let texts: Vec<(String, bool)> = guard
            .accepted
            .expect("values")
            .into_iter()
            .map(|value| (value.text, value.is_text))
            .collect();
        let expected = [
            ("A", true),
            ("1", false),
            ("2.5", false),
            ("2024-01-31", false),
        ];
        assert_eq!(
            texts,
            expected.map(|(text, is_text)| (text.to_owned(), is_text))
        );
        assert!(guard.unique);
        assert_eq!(guard.max_age, Some(Duration::from_secs(36 * 3600)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_column() {
        for (text, why) in [
            ("max_null = -1", "max_null = -1 is negative"),
            ("max_null = '5'", "max_null = \"5\" is not a share of rows"),
            (
                "max_null = 0.05",
                "max_null = 0.05 is neither a share nor a number of rows",
            ),
            ("accepted = 'A'", "accepted = \"A\" is not a list of values"),
            ("accepted = []", "accepted = [] accepts no value"),
            (
                "accepted = ['A', ['B']]",
                "accepted = [\"A\", [\"B\"]] holds [\"B\"], which is not a value",
            ),
            (
                "unique = 'yes'",
                "unique = \"yes\" is neither true nor false",
            ),
            (
                "max_age = '2 days'",
                "max_age = \"2 days\" is not a duration",
            ),
            ("max_age = 2", "max_age = 2 is not a duration"),
            ("max_age = '-1d'", "max_age = \"-1d\" is not a duration"),
            ("", "there is no guard"),
        ] {
            let error = guard(text).expect_err(text);
            assert_eq!(error.to_string(), format!("columns.status: {why}"));
            assert_eq!(error.hints().len(), 1, "{error}");
        }
    }
}
