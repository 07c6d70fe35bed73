//! The one error type, defined by what the caller must do about it.
//!
//! A scheduler reads the exit code, a person reads the message and then types the hint. So an
//! [`Error`] is a [`Kind`] (which is the exit code), a sentence in lower case that names table,
//! date, column and value, and a list of hints, each of which can be typed or edited in.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use serde::ser::SerializeStruct;

use crate::did_you_mean::did_you_mean;
use crate::secret::concealed;

/// What the caller should do, and so the exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Reading or writing failed: try again (exit 1).
    Io,
    /// The command line or the configuration is wrong: trying again does not help (exit 2).
    Usage,
    /// The data was refused, by a key check, a guard, a gap, a schema or a proof: alert (exit 3).
    Refused,
    /// Another writer published first: try again (exit 4).
    Conflict,
    /// Some dates or tables failed and the others are published: run again (exit 5).
    Partial,
    /// An invariant of this program does not hold: report it, and do not try again (exit 70).
    Internal,
}

impl Kind {
    /// The exit code of the process, as docs/cli.md lists them.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Io => 1,
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::Conflict => 4,
            Kind::Partial => 5,
            Kind::Internal => 70,
        }
    }

    /// Its name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Io => "io",
            Kind::Usage => "usage",
            Kind::Refused => "refused",
            Kind::Conflict => "conflict",
            Kind::Partial => "partial",
            Kind::Internal => "internal",
        }
    }
}

impl serde::Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A failure: its kind, what was wrong, and what to type next.
///
/// The message is complete without its [`source`](StdError::source), which is there for programs.
/// Neither the message nor a hint holds a secret ([`crate::secret`]).
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    is_damage: bool,
    hints: Vec<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: concealed(&message.into()),
            is_damage: false,
            hints: Vec::new(),
            source: None,
        }
    }

    /// An invariant of this program that does not hold.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = format!("internal error: {}", message.into());
        Error::new(Kind::Internal, message)
            .hint("report this as a bug of asof, with the command; running it again does not help")
    }

    /// A failure of reading or writing.
    pub fn io(message: impl Into<String>) -> Self {
        Error::new(Kind::Io, message)
    }

    /// A command line or configuration that cannot be carried out.
    pub fn usage(message: impl Into<String>) -> Self {
        Error::new(Kind::Usage, message)
    }

    /// Data that must not be published.
    pub fn refused(message: impl Into<String>) -> Self {
        Error::new(Kind::Refused, message)
    }

    /// Data whose bytes cannot be those that were written: a refusal.
    pub fn damaged(message: impl Into<String>) -> Self {
        Error {
            is_damage: true,
            ..Error::refused(message)
        }
    }

    /// A lost race against another writer.
    pub fn conflict(message: impl Into<String>) -> Self {
        Error::new(Kind::Conflict, message)
    }

    /// Some dates failed.
    pub fn partial(message: impl Into<String>) -> Self {
        Error::new(Kind::Partial, message)
    }

    /// The error of a library, with what was being done before its words.
    fn of_library(
        kind: impl FnOnce(String) -> Error,
        doing: impl FnOnce() -> String,
        source: Box<dyn StdError + Send + Sync>,
    ) -> Self {
        let error = kind(format!("{}: {source}", doing()));
        Error {
            source: Some(Arc::from(source)),
            ..error
        }
    }

    /// The same error with the one that it tells of as its source, for programs.
    #[must_use]
    pub(crate) fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same error with one more thing to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(concealed(&hint.into()));
        self
    }

    /// The same error with the known name nearest to what was written, or, if none is near, another
    /// thing to try.
    #[must_use]
    pub fn hint_nearest<'a>(
        self,
        written: &str,
        known: impl IntoIterator<Item = &'a str>,
        otherwise: impl FnOnce() -> String,
    ) -> Self {
        self.hint(did_you_mean(written, known).unwrap_or_else(otherwise))
    }

    /// The same error with each hint as `rewrite` has it: where another command or setting has
    /// another option for the same.
    #[must_use]
    pub fn with_hints(mut self, rewrite: impl Fn(String) -> String) -> Self {
        self.hints = self
            .hints
            .into_iter()
            .map(|hint| concealed(&rewrite(hint)))
            .collect();
        self
    }

    /// The same error in other words, where those of another module name what the user does not
    /// know.
    #[must_use]
    pub fn reworded(mut self, rewrite: impl Fn(String) -> String) -> Self {
        self.message = concealed(&rewrite(self.message));
        self
    }

    /// The same error with `context: ` before its message, unless the message begins with it.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        let context = concealed(&format!("{context}: "));
        if !self.message.starts_with(&context) {
            self.message.insert_str(0, &context);
        }
        self
    }

    /// The same error once more, for a library that only lends it.
    pub(crate) fn duplicate(&self) -> Self {
        Error {
            kind: self.kind,
            message: self.message.clone(),
            is_damage: self.is_damage,
            hints: self.hints.clone(),
            source: self.source.clone(),
        }
    }

    /// The same error as a refusal of data, where it is the data that changed and not the command.
    #[must_use]
    pub fn into_refusal(self) -> Self {
        Error {
            kind: Kind::Refused,
            ..self
        }
    }

    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether an object is damaged, so that another copy of it would help.
    pub fn is_damage(&self) -> bool {
        self.is_damage
    }

    /// What to try next, most likely first.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Error", 4)?;
        document.serialize_field("kind", &self.kind)?;
        document.serialize_field("exit_code", &self.kind.exit_code())?;
        document.serialize_field("message", &self.message)?;
        document.serialize_field("hints", &self.hints)?;
        document.end()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_ref()
            .map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

/// Adds what was being done, and to what, to the error of a library.
pub trait Context<T> {
    /// Turns the error into an I/O failure whose message begins with `doing`, and whose source it
    /// is.
    fn io_context(self, doing: impl FnOnce() -> String) -> Result<T>;

    /// [`io_context`](Context::io_context) for the temporary folder. If it is full, or cannot be
    /// written to, another one has to be named: a usage error.
    fn temporary_context(self, doing: impl FnOnce() -> String) -> Result<T>;

    /// Turns the error into one of this program, which must not happen whatever the data is.
    fn internal_context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn io_context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            match system_error(error.as_ref()) {
                Some(ErrorKind::InvalidFilename) => {
                    Error::of_library(Error::usage, doing, error).hint(NAMES)
                }
                _ => Error::of_library(Error::io, doing, error),
            }
        })
    }

    fn temporary_context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            let hint = match system_error(error.as_ref()) {
                Some(
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge,
                ) => "TMPDIR=DIR, a folder on a disk with more room",
                Some(
                    ErrorKind::NotFound
                    | ErrorKind::NotADirectory
                    | ErrorKind::PermissionDenied
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::InvalidFilename,
                ) => "TMPDIR=DIR, a folder that can be written to",
                _ => return Error::of_library(Error::io, doing, error),
            };
            Error::of_library(Error::usage, doing, error).hint(hint)
        })
    }

    fn internal_context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::of_library(Error::internal, doing, error.into()))
    }
}

/// How many characters of a value messages show.
const SHOWN: usize = 60;
/// How many names messages list.
const LISTED: usize = 40;

/// What to do about a name that is too long.
const NAMES: &str = "shorten the name: it has at most 255 bytes, and a path at most 4,095";

/// The kind of the system's error that an error of a library carries, if it carries one.
fn system_error(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    let mut deeper = Some(error);
    while let Some(error) = deeper {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        deeper = error.source();
    }
    None
}

/// A value as one word of a command line, for hints.
pub fn word(value: &str) -> String {
    let plain = !value.is_empty()
        && value
            .chars()
            .all(|c| c.is_alphanumeric() || "_-.:/=".contains(c));
    if plain {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    }
}

/// A name as a key of TOML, quoted where it has to be, for hints.
pub fn toml_key(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_bare {
        name.to_owned()
    } else {
        toml_text(name)
    }
}

/// A text as a value of TOML, for hints.
pub fn toml_text(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A value as messages show it: at most 60 characters, on one line.
pub fn shorten(text: &str) -> String {
    let is_short = text.chars().nth(SHOWN).is_none();
    let kept = if is_short { SHOWN } else { SHOWN - 3 };
    let mut shown = String::new();
    for c in text.chars().take(kept) {
        match c {
            '\n' | '\r' => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown + if is_short { "" } else { "..." }
}

/// Names as messages list them: the first few, and how many more there are.
pub fn listed(names: &[&str]) -> String {
    let first = &names[..names.len().min(LISTED)];
    let more = names.len() - first.len();
    let first = first.join(", ");
    if more == 0 {
        first
    } else {
        format!("{first}, and {more} more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted_as_toml_wants_them() {
        assert_eq!([toml_key("price"), toml_key("a-b_1")], ["price", "a-b_1"]);
        for name in [
            "",
            "unit price",
            "shop.item",
            "Preis €",
            "say \"hi\"",
            "back\\slash",
            "two\nlines",
            "a=b,c",
            "tab\there",
        ] {
            let read: toml::Table =
                toml::from_str(&format!("{} = {}", toml_key(name), toml_text(name))).expect("TOML");
            assert_eq!(
                read.into_iter().collect::<Vec<_>>(),
                [(name.to_owned(), toml::Value::String(name.to_owned()))]
            );
        }
    }

    #[test]
    fn values_and_names_are_shown_on_one_line() {
        assert_eq!(shorten("a\nb\r\tc\\n"), "a\\nb\\r\tc\\n");
        assert_eq!(shorten(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(shorten(&"é".repeat(61)), "é".repeat(57) + "...");
        assert_eq!(listed(&["a", "b"]), "a, b");
        let many = listed(&["a"; 100_000]);
        assert!(
            many.ends_with("a, a, and 99960 more") && many.len() < 200,
            "{many}"
        );
    }

    #[test]
    fn the_error_of_a_library_is_the_source_of_an_error() {
        let failed: std::result::Result<(), _> = Err(std::io::Error::other("disk on fire"));
        let error = failed
            .io_context(|| "cannot read 'x'".into())
            .expect_err("it failed");
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            ("cannot read 'x': disk on fire", Kind::Io)
        );
        assert!(
            error
                .source()
                .is_some_and(|source| source.is::<std::io::Error>())
        );
        assert!(
            error.within("table t").duplicate().source().is_some(),
            "context keeps it"
        );
    }

    #[test]
    fn what_only_the_user_can_mend_is_a_usage_error() {
        let failed = |kind: ErrorKind| std::result::Result::<(), _>::Err(io::Error::from(kind));
        let doing = || "cannot write".to_owned();
        for (error, usage) in [
            (failed(ErrorKind::InvalidFilename).io_context(doing), true),
            (failed(ErrorKind::StorageFull).io_context(doing), false),
            (
                failed(ErrorKind::StorageFull).temporary_context(doing),
                true,
            ),
            (failed(ErrorKind::NotFound).temporary_context(doing), true),
            (
                failed(ErrorKind::Interrupted).temporary_context(doing),
                false,
            ),
        ] {
            let error = error.expect_err("it failed");
            let is_usage = error.kind() == Kind::Usage && !error.hints().is_empty();
            assert_eq!(is_usage, usage, "{error}");
        }
    }

    #[test]
    fn a_broken_invariant_is_not_to_be_retried() {
        let error = Error::internal("rows are missing");
        assert_eq!(
            (error.to_string().as_str(), error.kind().exit_code()),
            ("internal error: rows are missing", 70)
        );
        assert!(error.source().is_none() && error.hints()[0].starts_with("report this"));
    }
}
