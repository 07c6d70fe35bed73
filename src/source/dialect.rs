//! How CSV and TSV are written: delimiter, quotes, encoding, notation of numbers and dates, and
//! what is null.
//!
//! A [`Dialect`] is what a user declares, in `[tables.item.csv]`, `[events.x.csv]` or `--csv`;
//! every setting may be left open. [`Form`] is what a file is read with: the declared settings, the
//! detected ones, and the defaults.
//!
//! Detected is only what cannot be mistaken. A byte order mark decides the encoding. The delimiter
//! of CSV is `;`, a tab or `|` if the header has it, has no comma and none of the other two, and
//! the row after it has it as often. Otherwise it is a comma.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::text_encoding::Encoding;
use crate::domain::notation::{Notation, TimeFormat};
use crate::domain::row_limits::Limits;
use crate::error::{Error, Result, toml_text, word};

/// What is declared of how CSV is written. What a user leaves open is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "DialectSettings")]
pub struct Dialect(Map<String, Value>);

/// Every setting, as the command line and asof.toml name it. `None` is what a user leaves open.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DialectSettings {
    /// The character between fields.
    delimiter: Option<String>,
    /// The character around fields, `"` by default; empty if there is none.
    quote: Option<String>,
    /// The character before a quote inside quotes; by default quotes are doubled.
    escape: Option<String>,
    /// Whether the first row has the names of the columns, which is the default.
    header: Option<bool>,
    /// The names of the columns, if there is no header.
    columns: Option<Vec<String>>,
    /// The character that begins a line that is passed over.
    comment: Option<String>,
    /// How many lines come before the header.
    skip: Option<u64>,
    /// The texts that are null; by default only the empty one.
    null: Option<Vec<String>>,
    /// The encoding, by default UTF-8.
    encoding: Option<String>,
    /// The character before the fraction of a number, by default a point.
    decimal: Option<String>,
    /// The character between groups of three digits.
    thousands: Option<String>,
    /// The format of dates, such as `%d.%m.%Y`.
    date_format: Option<String>,
    /// The format of timestamps, such as `%d.%m.%Y %H:%M`.
    timestamp_format: Option<String>,
    /// Whether white space around fields is dropped.
    trim: Option<bool>,
    /// What becomes of rows that are too short.
    ragged: Option<Ragged>,
}

/// What becomes of rows with fewer fields than columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ragged {
    /// They are refused.
    #[default]
    Refuse,
    /// The fields that they lack are null.
    Fill,
}

impl TryFrom<DialectSettings> for Dialect {
    type Error = serde_json::Error;

    fn try_from(settings: DialectSettings) -> serde_json::Result<Self> {
        let mut declared: Map<String, Value> =
            serde_json::from_value(serde_json::to_value(settings)?)?;
        declared.retain(|_, value| !value.is_null());
        Ok(Dialect(declared))
    }
}

/// The names of the settings, in their order.
fn names() -> Vec<String> {
    let all = serde_json::to_value(DialectSettings::default()).unwrap_or_default();
    all.as_object()
        .into_iter()
        .flat_map(Map::keys)
        .cloned()
        .collect()
}

/// The value of a setting, from the text that the command line has for it.
fn value_of(name: &str, text: &str) -> Result<Value> {
    let wrong = |what: &str| Error::usage(format!("{name} is {what}, not '{text}'"));
    Ok(match name {
        "columns" | "null" => text.split(',').collect(),
        "header" | "trim" => text
            .parse::<bool>()
            .map_err(|_| wrong("true or false"))?
            .into(),
        "skip" => text
            .parse::<u64>()
            .map_err(|_| wrong("a number of lines"))?
            .into(),
        "ragged" if !matches!(text, "refuse" | "fill") => return Err(wrong("refuse or fill")),
        _ => text.into(),
    })
}

impl Dialect {
    /// Whether nothing is declared.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads settings as the command line has them: `delimiter=;,decimal=,`. A comma ends a value
    /// only if the name of a setting and `=` follow it, so that a value can have commas.
    ///
    /// # Errors
    /// A usage error for a setting that is unknown or a value that it does not take.
    pub fn parse(text: &str) -> Result<Self> {
        let names = names();
        let is_setting = |text: &str| {
            names.iter().any(|name| {
                text.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('='))
            })
        };
        let mut starts: Vec<usize> = text
            .match_indices(',')
            .map(|(at, _)| at + 1)
            .filter(|at| is_setting(&text[*at..]))
            .collect();
        starts.insert(0, 0);
        let mut declared = Map::new();
        for (number, start) in starts.iter().enumerate() {
            let end = starts.get(number + 1).map_or(text.len(), |next| next - 1);
            let setting = &text[*start..end];
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                Error::usage(format!("'{setting}' is not SETTING=VALUE"))
                    .hint("--csv 'delimiter=;,encoding=latin-1'")
            })?;
            let name = name.trim();
            if !names.iter().any(|known| known == name) {
                let error = Error::usage(format!("unknown setting '{name}'"));
                return Err(
                    error.hint_nearest(name, names.iter().map(String::as_str), || {
                        format!("the settings are {}", names.join(", "))
                    }),
                );
            }
            declared.insert(name.to_owned(), value_of(name, value)?);
        }
        let dialect = Dialect(declared).or(Dialect::default());
        dialect.check()?;
        Ok(dialect)
    }

    /// These settings, and those of another dialect where these leave one open. They are in the
    /// order of `names`, since they are a part of hashes.
    #[must_use]
    pub fn or(mut self, mut other: Dialect) -> Dialect {
        Dialect(
            names()
                .into_iter()
                .filter_map(|name| self.0.remove_entry(&name).or(other.0.remove_entry(&name)))
                .collect(),
        )
    }

    /// Refuses values that no file can be read with.
    ///
    /// # Errors
    /// A usage error that names the setting.
    pub fn check(&self) -> Result<()> {
        Form::of(self, None).map(|_| ())
    }

    /// The dialect as one line: the settings that are declared.
    pub fn in_words(&self) -> String {
        self.0
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What files are read with.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// Nothing if the delimiter is to be detected.
    pub(super) delimiter: Option<u8>,
    /// Nothing if fields are never quoted.
    pub(super) quote: Option<u8>,
    /// Nothing if quotes are doubled.
    pub(super) escape: Option<u8>,
    /// The names of the columns, if there is no header.
    pub(super) columns: Option<Vec<String>>,
    pub(super) comment: Option<u8>,
    pub(super) skip: u64,
    pub(super) null: Vec<String>,
    /// Nothing if it is to be detected.
    pub(super) encoding: Option<Encoding>,
    pub(super) notation: Notation,
    pub(super) trim: bool,
    pub(super) ragged: Ragged,
    /// The section of asof.toml that declares it, for hints; empty if there is none.
    pub(super) section: String,
    /// How long a row may be, and how many columns there may be.
    pub(super) limits: Limits,
}

fn wrong(what: String) -> Error {
    Error::usage(format!("csv: {what}"))
}

/// The one character of a setting; `tab` is one, too.
fn character(name: &str, text: &Option<String>) -> Result<Option<char>> {
    let Some(text) = text else { return Ok(None) };
    let mut characters = text.chars();
    match (text.as_str(), characters.next(), characters.next()) {
        ("\\t" | "tab", ..) => Ok(Some('\t')),
        (_, Some(character), None) if !matches!(character, '\n' | '\r') => Ok(Some(character)),
        _ => Err(wrong(format!("{name} is one character, not '{text}'"))),
    }
}

/// The one ASCII sign of a setting.
fn sign(name: &str, text: &Option<String>) -> Result<Option<u8>> {
    let is_sign = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != 0;
    let Some(character) = character(name, text)? else {
        return Ok(None);
    };
    let byte = u8::try_from(character).ok().filter(is_sign);
    byte.map(Some).ok_or_else(|| {
        wrong(format!(
            "{name} is an ASCII character that is not a letter or digit, not '{character}'"
        ))
    })
}

fn encoding(name: &str) -> Result<Encoding> {
    Encoding::named(name).ok_or_else(|| {
        wrong(format!("unknown encoding '{name}'"))
            .hint("utf-8, utf-16, latin-1, windows-1252, or another name of the Encoding Standard")
    })
}

impl DialectSettings {
    /// The names of the columns of a file that has no header.
    fn columns_without_header(&self) -> Result<Option<Vec<String>>> {
        match (self.header, &self.columns) {
            (Some(false), Some(columns)) => Ok(Some(columns.clone())),
            (Some(false), None) => {
                let what = "a file without a header needs the names of its columns".to_owned();
                Err(wrong(what)
                    .hint("columns = [\"id\", \"name\"], or --csv header=false,columns=id,name"))
            }
            (_, Some(_)) => {
                let what = "columns are named if there is no header".to_owned();
                Err(wrong(what).hint("header = false"))
            }
            _ => Ok(None),
        }
    }

    fn notation(&self) -> Result<Notation> {
        Ok(Notation {
            decimal: character("decimal", &self.decimal)?.filter(|decimal| *decimal != '.'),
            thousands: character("thousands", &self.thousands)?,
            date: time_format("date_format", &self.date_format, TimeFormat::of_dates)?,
            timestamp: time_format(
                "timestamp_format",
                &self.timestamp_format,
                TimeFormat::of_timestamps,
            )?,
        })
    }
}

impl Form {
    /// What a dialect and a format's own delimiter say.
    ///
    /// # Errors
    /// A usage error for a setting that no file can be read with.
    pub(super) fn of(dialect: &Dialect, delimiter: Option<u8>) -> Result<Self> {
        let dialect =
            DialectSettings::deserialize(&dialect.0).map_err(|error| wrong(error.to_string()))?;
        let is_unquoted = dialect.quote.as_deref() == Some("");
        let quote = if is_unquoted {
            None
        } else {
            sign("quote", &dialect.quote)?.or(Some(b'"'))
        };
        let escape = sign("escape", &dialect.escape)?.filter(|escape| Some(*escape) != quote);
        let form = Form {
            delimiter: sign("delimiter", &dialect.delimiter)?.or(delimiter),
            quote,
            escape,
            columns: dialect.columns_without_header()?,
            comment: sign("comment", &dialect.comment)?,
            skip: dialect.skip.unwrap_or(0),
            null: dialect.null.clone().unwrap_or_else(|| vec![String::new()]),
            encoding: dialect.encoding.as_deref().map(encoding).transpose()?,
            notation: dialect.notation()?,
            trim: dialect.trim.unwrap_or(false),
            ragged: dialect.ragged.unwrap_or_default(),
            section: String::new(),
            limits: Limits::default(),
        };
        form.check()?;
        Ok(form)
    }

    /// Refuses signs that cannot be told apart.
    fn check(&self) -> Result<()> {
        let signs = [
            ("delimiter", self.delimiter),
            ("quote", self.quote),
            ("escape", self.escape),
            ("comment", self.comment),
        ];
        for (at, (name, sign)) in signs.iter().enumerate() {
            let same = signs[..at]
                .iter()
                .find(|(_, other)| other.is_some() && other == sign);
            if let Some((other, _)) = same {
                return Err(wrong(format!("{other} and {name} are the same character")));
            }
        }
        let Notation {
            decimal, thousands, ..
        } = &self.notation;
        if *thousands == Some(decimal.unwrap_or('.')) {
            return Err(
                wrong("decimal and thousands are the same character".to_owned())
                    .hint("decimal = \",\" with thousands = \".\""),
            );
        }
        let is_of_numbers = |sign: &Option<char>| {
            sign.is_some_and(|sign| sign.is_ascii_alphanumeric() || sign == '-')
        };
        let delimiter = self.delimiter.map(char::from);
        if decimal.is_some() && *decimal == delimiter {
            return Err(
                wrong("decimal and delimiter are the same character".to_owned())
                    .hint("decimal = \",\" with delimiter = \";\""),
            );
        }
        if is_of_numbers(decimal) || is_of_numbers(thousands) {
            return Err(wrong(
                "decimal and thousands are neither a letter, a digit nor a minus".to_owned(),
            ));
        }
        if self.escape.is_some() && self.quote.is_none() {
            return Err(wrong("escape requires a quote character".to_owned()));
        }
        Ok(())
    }

    /// The hint to declare a setting.
    pub(super) fn declare(&self, name: &str, value: &str) -> String {
        let section = if self.section.is_empty() {
            String::new()
        } else {
            format!("[{}] ", self.section)
        };
        let option = word(&format!("{name}={value}"));
        format!(
            "--csv {option}, or {section}csv = {{ {name} = {} }} in asof.toml",
            toml_text(value)
        )
    }

    /// Whether a field is null.
    pub(super) fn is_null(&self, text: &str) -> bool {
        self.null.iter().any(|null| null == text)
    }

    /// The delimiter that the first rows show, if it cannot be mistaken; `None` otherwise.
    /// `is_whole` says that nothing follows the text.
    pub(super) fn detect_delimiter(&self, text: &[u8], is_whole: bool) -> Option<u8> {
        const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];
        let mut rows: Vec<[usize; CANDIDATES.len()]> = Vec::new();
        let mut at = 0;
        while rows.len() < 2 && at < text.len() {
            let is_line_end = |byte: &u8| *byte == b'\n';
            if self.comment.is_some() && text.get(at) == self.comment.as_ref() {
                at += text[at..]
                    .iter()
                    .position(is_line_end)
                    .map_or(text.len() - at, |end| end + 1);
                continue;
            }
            let mut counts = [0; CANDIDATES.len()];
            let mut is_quoted = false;
            let start = at;
            while at < text.len() && (is_quoted || !matches!(text[at], b'\n' | b'\r')) {
                if Some(text[at]) == self.escape && is_quoted {
                    at += 1;
                } else if Some(text[at]) == self.quote {
                    is_quoted = !is_quoted;
                } else if let Some(candidate) = CANDIDATES
                    .iter()
                    .position(|candidate| *candidate == text[at] && !is_quoted)
                {
                    counts[candidate] += 1;
                }
                at += 1;
            }
            // A row that the text cuts off says nothing.
            if at > start && (at < text.len() || is_whole) {
                rows.push(counts);
            }
            at += 1;
        }
        let header = rows.first()?;
        let mut found = (0..CANDIDATES.len()).filter(|candidate| header[*candidate] > 0);
        let (Some(only), None) = (found.next(), found.next()) else {
            return None;
        };
        let is_usual = self
            .columns
            .as_ref()
            .is_none_or(|columns| columns.len() == header[only] + 1);
        let agrees = rows.get(1).is_none_or(|row| row[only] == header[only]);
        (only > 0 && is_usual && agrees).then_some(CANDIDATES[only])
    }
}

fn time_format(
    name: &str,
    format: &Option<String>,
    read: fn(&str) -> std::result::Result<TimeFormat, String>,
) -> Result<Option<TimeFormat>> {
    let Some(format) = format else {
        return Ok(None);
    };
    read(format)
        .map(Some)
        .map_err(|what| Error::usage(format!("csv: {name} = \"{format}\": {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_command_line_may_have_commas() {
        let dialect = Dialect::parse(
            r"delimiter=;,decimal=,,thousands=.,null=NA,\N,,columns=id,na me,header=false",
        )
        .expect("settings");
        let expected = serde_json::json!({
            "delimiter": ";", "header": false, "columns": ["id", "na me"], "null": ["NA", r"\N", ""], "decimal": ",", "thousands": ".",
        });
        assert_eq!(
            serde_json::to_string(&dialect).expect("JSON"),
            expected.to_string(),
            "in the order of the settings"
        );
        assert_eq!(
            Dialect::parse("delimiter=,").expect("a setting").in_words(),
            "delimiter = \",\""
        );
        let toml: Dialect =
            toml::from_str("delimiter = '\t'\nnull = ['NA']\nskip = 2\nragged = 'fill'")
                .expect("settings");
        assert_eq!(
            Dialect::parse("delimiter=\t,null=NA,skip=2,ragged=fill").expect("settings"),
            toml
        );
        let over = Dialect::parse("trim=true,null=-")
            .expect("settings")
            .or(toml);
        assert_eq!(
            over.in_words(),
            r#"delimiter = "\t", skip = 2, null = ["-"], trim = true, ragged = "fill""#
        );
        assert!(
            toml::from_str::<Dialect>("")
                .expect("no setting")
                .is_default()
        );
    }

    #[test]
    fn what_no_file_can_be_read_with_is_named() {
        for (text, what) in [
            ("delimeter=;", "unknown setting 'delimeter'"),
            (";", "not SETTING=VALUE"),
            ("delimiter=;;", "delimiter is one character"),
            ("delimiter=x", "not a letter or digit"),
            ("delimiter=\u{a6}", "ASCII"),
            (
                "quote=;,delimiter=;",
                "delimiter and quote are the same character",
            ),
            ("header=no", "true or false"),
            ("header=false", "needs the names of its columns"),
            ("columns=a,b", "if there is no header"),
            ("encoding=klingon", "unknown encoding 'klingon'"),
            (
                "thousands=.",
                "decimal and thousands are the same character",
            ),
            (
                "delimiter=;,decimal=;",
                "decimal and delimiter are the same character",
            ),
            ("decimal=5", "neither a letter"),
            ("date_format=%d.%m", "year, month and day"),
            ("timestamp_format=%d.%m.%Y", "hour and minute"),
            ("ragged=cut", "refuse or fill"),
            ("skip=-1", "a number of lines"),
            (r"quote=,escape=\", "escape requires a quote"),
        ] {
            let error = Dialect::parse(text).expect_err(text);
            assert!(
                error.to_string().contains(what) && error.kind() == crate::error::Kind::Usage,
                "{text}: {error}"
            );
        }
        assert!(toml::from_str::<Dialect>("delimeter = ';'").is_err());
    }

    #[test]
    fn a_delimiter_is_detected_only_if_it_cannot_be_mistaken() {
        let detect = |text: &str, dialect: &str| {
            let dialect = if dialect.is_empty() {
                Dialect::default()
            } else {
                Dialect::parse(dialect).expect("a dialect")
            };
            Form::of(&dialect, None)
                .expect("a form")
                .detect_delimiter(text.as_bytes(), true)
                .map(char::from)
        };
        for (text, expected) in [
            ("id;name\n1;a\n", Some(';')),
            ("id\tname\r\n1\ta,b\r\n", Some('\t')),
            ("id|name\n", Some('|')),
            ("id;name", Some(';')),
            ("\n\nid;price\n1;1,5\n", Some(';')),
            ("\"a,b\";c\n1;2\n", Some(';')),
            ("\"a;b\"\n1\n", None),
            ("id,name\n1,a;b\n", None),
            ("id;name,x\n", None),
            ("id;name|x\n", None),
            ("id;name\n1\n", None),
            ("id;name\n1;a;b\n", None),
            ("id\n1\n", None),
            ("", None),
        ] {
            assert_eq!(detect(text, ""), expected, "{text:?}");
        }
        assert_eq!(detect("# a, b\nid;n\n1;2\n", "comment=#"), Some(';'));
        assert_eq!(detect("1;2\n", "header=false,columns=a,b"), Some(';'));
        assert_eq!(detect("1;2\n", "header=false,columns=a"), None);
        let form = Form::of(&Dialect::default(), None).expect("a form");
        assert_eq!(
            form.detect_delimiter(b"id;name\n1", false),
            Some(b';'),
            "the row is cut off"
        );
        assert_eq!(
            form.detect_delimiter(b"id;na", false),
            None,
            "the header is cut off"
        );
    }
}
