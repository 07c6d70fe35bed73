//! Failures of DataFusion's as errors of this program.

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::did_you_mean::nearest;
use crate::error::{Error, listed};

/// A failure of DataFusion's as one of ours: what the user wrote, what a value refused, or what
/// failed.
pub(in crate::engine) fn wrong(error: &DataFusionError, what: &str) -> Error {
    let root = error.find_root();
    match root {
        DataFusionError::External(inner) => {
            if let Some(ours) = inner.downcast_ref::<Error>() {
                return ours.duplicate();
            }
        }
        DataFusionError::SchemaError(schema_error, _) => {
            if let SchemaError::FieldNotFound {
                field,
                valid_fields,
            } = schema_error.as_ref()
            {
                return no_column(field, valid_fields, what);
            }
        }
        DataFusionError::SQL(parser_error, _) => return unreadable(parser_error, what),
        _ => {}
    }
    let message = root.strip_backtrace();
    let message = PREFIXES.iter().fold(message.as_str(), |text, prefix| {
        text.strip_prefix(prefix).unwrap_or(text)
    });
    let no_function = message
        .split_once("No function matches the given name and argument types '")
        .and_then(|(_, rest)| rest.split_once('\''));
    if let Some((call, _)) = no_function {
        return Error::usage(format!("{what}: there is no function {call}"))
            .hint("write CAST(x AS type) where a type is not the intended one");
    }
    if message.contains("Physical plan does not support logical expression") {
        return Error::usage(format!("{what}: this correlated subquery is not supported"))
            .hint("write a join or a window function");
    }
    match root {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => wrong_query(message, what),
        DataFusionError::IoError(_) | DataFusionError::ResourcesExhausted(_) => {
            Error::io(format!("{what}: {message}"))
        }
        _ => Error::refused(format!(
            "{what}: {}",
            message.lines().next().unwrap_or(message)
        )),
    }
}

/// What DataFusion writes before a message.
const PREFIXES: [&str; 8] = [
    "SQL error: ",
    "Error during planning: ",
    "Schema error: ",
    "Execution error: ",
    "Arrow error: ",
    "Compute error: ",
    "Cast error: ",
    "This feature is not implemented: ",
];

/// The usage error for a column that no relation has.
fn no_column(field: &Column, valid_fields: &[Column], what: &str) -> Error {
    let error = Error::usage(format!("{what}: there is no column '{}'", field.name));
    let names: Vec<&str> = valid_fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    let upper = valid_fields.iter().find(|valid| {
        valid.name != field.name && valid.name.to_lowercase() == field.name.to_lowercase()
    });
    match (upper, nearest(&field.name, names.iter().copied())) {
        (Some(upper), _) => error.hint(format!(
            "a name without quotes is read in lower case; write \"{}\"",
            upper.name
        )),
        (None, Some(near)) => error.hint(format!("did you mean '{near}'?")),
        (None, None) => error
            .hint(format!("the columns are {}", listed(&names)))
            .hint(format!("text is in single quotes: '{}'", field.name)),
    }
}

/// The usage error for text that is no SQL.
fn unreadable(error: &ParserError, what: &str) -> Error {
    let why = match error {
        ParserError::ParserError(why) | ParserError::TokenizerError(why) => why,
        ParserError::RecursionLimitExceeded => "it is nested too deeply",
    };
    Error::usage(format!("{what}: {why}"))
}

/// The usage error for a query that cannot be planned.
fn wrong_query(message: &str, what: &str) -> Error {
    let error = Error::usage(format!(
        "{what}: {}",
        sentence(message).trim_end_matches('.')
    ));
    match message
        .lines()
        .find_map(|line| line.strip_prefix("Did you mean "))
    {
        Some(near) => error.hint(format!("did you mean {near}")),
        None => error,
    }
}

/// The first line of a message of DataFusion's, without dumps of syntax trees.
fn sentence(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    // A dump begins with a name and a bracket, as in `Function(Function {` or `Some(Ident`.
    let mut end = first.len();
    for (at, character) in first.char_indices() {
        if !matches!(character, '(' | '{') {
            continue;
        }
        let before = first[..at].trim_end();
        let word = before
            .rsplit(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap_or_default();
        let inside = first[at + 1..].trim_start();
        let is_type = word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().any(|c| c.is_ascii_lowercase());
        let opens = [
            "Some(",
            "None",
            "Ident",
            "Function {",
            "ObjectName",
            "Value",
            "Identifier",
            "CompoundIdentifier",
        ];
        let is_field = character == '{'
            && inside
                .split_once(':')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        if is_type && (is_field || opens.iter().any(|open| inside.starts_with(open))) {
            end = before.len() - word.len();
            break;
        }
    }
    let text = first[..end]
        .trim_end()
        .trim_end_matches([':', ',', '(', '['])
        .trim_end();
    match (end == first.len(), text.is_empty()) {
        (_, true) => "a part of the query is not supported".to_owned(),
        (true, false) => text.to_owned(),
        (false, false) => format!("this is not supported: {text}"),
    }
}
