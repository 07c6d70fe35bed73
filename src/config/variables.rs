//! `${VAR}` and `${VAR:-DEFAULT}` in `asof.toml`, as a shell has them.
//!
//! | written | is |
//! | --- | --- |
//! | `${VAR}` | the value of the variable; a usage error if it is not set |
//! | `${VAR:-DEFAULT}` | the value, or the default if the variable is not set or empty |
//!
//! A default is text up to the next `}`, and holds no variable of its own. It stands in the file,
//! so it is not a place for a secret: [`with_defaults`] is what a reader of the file sees of a
//! text.

use crate::error::{Error, Result};
use crate::secret::{Secret, conceal_variable};

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextPart<'a> {
    /// What stands as it is.
    Plain(&'a str),
    /// A variable, with its default if it has one.
    Variable {
        name: &'a str,
        default: Option<&'a str>,
        /// What follows it.
        after: &'a str,
    },
}

/// Whether a text is the name of a variable: letters, digits and `_`, and no digit first.
fn is_name(text: &str) -> bool {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty()
        && text.chars().all(is_of_a_name)
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The parts of a text, which errors call `shown`.
fn parts<'a>(text: &'a str, shown: &str) -> Result<Vec<TextPart<'a>>> {
    let wrong = |why: &str| {
        Error::usage(format!("{shown} {why}")).hint("${VAR}, or ${VAR:-DEFAULT} with a default")
    };
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, after) = after
            .split_once('}')
            .ok_or_else(|| wrong("has '${' without '}'"))?;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            return Err(wrong("has '${' without the name of a variable after it"));
        }
        if default.is_some_and(|default| default.contains("${")) {
            return Err(wrong("has a variable inside of a default"));
        }
        parts.push(TextPart::Plain(before));
        parts.push(TextPart::Variable {
            name,
            default,
            after,
        });
        rest = after;
    }
    parts.push(TextPart::Plain(rest));
    Ok(parts)
}

/// Puts the values of environment variables in the place of `${VAR}` in a path, which messages then
/// show as it is written.
///
/// # Errors
/// A usage error that names a variable that is not set and has no default.
pub fn expand_path(text: &str, variable: &dyn Fn(&str) -> Option<Secret>) -> Result<String> {
    expand(text, &format!("'{text}'"), variable, conceal_variable)
}

/// Puts the values of environment variables in the place of `${VAR}`, and tells `note` of each:
/// what is written before it, its name, its value, and what is written after it. `shown` is what
/// errors call the text.
pub(super) fn expand(
    text: &str,
    shown: &str,
    variable: &dyn Fn(&str) -> Option<Secret>,
    note: impl Fn(&str, &str, &str, &str),
) -> Result<String> {
    let mut expanded = String::new();
    let mut before = "";
    for part in parts(text, shown)? {
        let (name, default, after) = match part {
            TextPart::Plain(plain) => {
                expanded.push_str(plain);
                before = plain;
                continue;
            }
            TextPart::Variable {
                name,
                default,
                after,
            } => (name, default, after),
        };
        let value = variable(name);
        match (value, default) {
            (Some(value), None) => {
                note(before, name, value.expose(), after);
                expanded.push_str(value.expose());
            }
            (Some(value), Some(_)) if !value.expose().is_empty() => {
                note(before, name, value.expose(), after);
                expanded.push_str(value.expose());
            }
            (_, Some(default)) => expanded.push_str(default),
            (None, None) => {
                return Err(
                    Error::usage(format!("the environment variable {name} is not set"))
                        .hint(format!("export {name}=...")),
                );
            }
        }
    }
    Ok(expanded)
}

/// A text with the defaults of its variables in their places, and `${VAR}` for those without one:
/// what everybody can see who can read the file.
pub fn with_defaults(text: &str) -> String {
    let Ok(parts) = parts(text, "") else {
        return text.to_owned();
    };
    let shown = parts.iter().map(|part| match part {
        TextPart::Plain(plain) => (*plain).to_owned(),
        TextPart::Variable { name, default, .. } => {
            default.map_or_else(|| format!("${{{name}}}"), str::to_owned)
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_from_the_environment_and_missing_ones_are_named() {
        let variable = |name: &str| (name == "HOME_OF").then(|| "x".into());
        assert_eq!(
            expand_path("a/${HOME_OF}/b$c", &variable).expect("set"),
            "a/x/b$c"
        );
        assert_eq!(
            expand_path("${NOPE}", &variable)
                .expect_err("unset")
                .to_string(),
            "the environment variable NOPE is not set"
        );
    }

    #[test]
    fn a_default_stands_for_a_variable_that_is_unset_or_empty() {
        let variable = |name: &str| match name {
            "SET" => Some("value of SET".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        };
        for (text, expanded) in [
            ("${SET:-y}/${NOPE:-y}", "value of SET/y"),
            ("${EMPTY:-y}${EMPTY}", "y"),
            ("${NOPE:-}", ""),
            ("a${NOPE:-s3://b/c:-d}e", "as3://b/c:-de"),
            ("$NOPE ${SET}} $", "$NOPE value of SET} $"),
        ] {
            assert_eq!(expand_path(text, &variable).expect(text), expanded);
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for (text, why) in [
            ("${NOPE", "has '${' without '}'"),
            ("a${}", "has '${' without the name of a variable after it"),
            ("${A-b}", "has '${' without the name of a variable after it"),
            ("${1A}", "has '${' without the name of a variable after it"),
            ("${ A }", "has '${' without the name of a variable after it"),
            ("${A:-${B}}", "has a variable inside of a default"),
        ] {
            let error = expand_path(text, &|_| None).expect_err(text);
            assert_eq!(error.to_string(), format!("'{text}' {why}"));
            assert_eq!(error.hints().len(), 1);
        }
    }

    #[test]
    fn a_reader_of_the_file_sees_defaults() {
        for (written, seen) in [
            ("postgres://u:${PW:-hunter2}@h", "postgres://u:hunter2@h"),
            ("${URL:-postgres://u:pw@h}", "postgres://u:pw@h"),
            ("a/${B}/c", "a/${B}/c"),
            ("${", "${"),
        ] {
            assert_eq!(with_defaults(written), seen);
        }
    }
}
