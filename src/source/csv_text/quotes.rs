//! Quotes of CSV records that programs read in different ways, and are therefore refused.

use crate::error::Error;
use crate::source::dialect::Form;

/// What is wrong with the quotes of a record, so that programs read different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuoteFault {
    /// A quoted value goes on after its closing quote, as where a program puts a backslash before a
    /// quote.
    GoesOn,
    /// White space comes before an opening quote, and is to be dropped.
    SpaceBefore,
    /// The escape character comes before a character that needs none.
    NeedlessEscape,
    /// The escape character comes before a special character outside of quotes.
    EscapeOutside,
}

impl QuoteFault {
    /// The refusal of a record at a place, with what to do about it.
    pub(super) fn refusal(self, place: &str, form: &Form, record: &[u8]) -> Error {
        let escape = form.escape.map(char::from).unwrap_or_default();
        let has_backslash =
            form.escape.is_none() && memchr::memmem::find(record, b"\\\"").is_some();
        let (what, hint) = match self {
            QuoteFault::GoesOn => {
                let hint = match form.escape {
                    _ if has_backslash => format!(
                        "if a backslash precedes a quote: {}",
                        form.declare("escape", "\\")
                    ),
                    Some(_) => format!(
                        "inside a quoted value, write {escape} before a quote: \"a \
                         {escape}\"b{escape}\" c\""
                    ),
                    None => {
                        "inside a quoted value, write a quote twice: \"a \"\"b\"\" c\"".to_owned()
                    }
                };
                (
                    "a quoted value goes on after its closing quote".to_owned(),
                    hint,
                )
            }
            QuoteFault::SpaceBefore => (
                "there is white space before an opening quote".to_owned(),
                "remove the white space, or the quotes".to_owned(),
            ),
            QuoteFault::NeedlessEscape => (
                format!(
                    "inside quotes, the escape character {escape} precedes neither a quote nor \
                     another {escape}"
                ),
                format!("write {escape}{escape} for one {escape}"),
            ),
            QuoteFault::EscapeOutside => (
                format!(
                    "outside quotes, the escape character {escape} precedes a special character"
                ),
                "write the value in quotes: without them, programs read different values"
                    .to_owned(),
            ),
        };
        Error::refused(format!("{place}: {what}")).hint(hint)
    }
}

/// Whether each quoted value of a record ends where its closing quote is, and every escape
/// character says what it means.
pub(super) fn quote_fault(record: &[u8], delimiter: u8, form: &Form) -> Option<QuoteFault> {
    let end = record
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'))
        .map_or(0, |last| last + 1);
    let mut at = 0;
    while at < record.len() {
        let spaces = record[at..]
            .iter()
            .take_while(|byte| form.trim && matches!(byte, b' ' | b'\t') && **byte != delimiter)
            .count();
        if form.quote.is_some() && record.get(at + spaces) == form.quote.as_ref() {
            if spaces > 0 {
                return Some(QuoteFault::SpaceBefore);
            }
            match quoted_value(record, at, delimiter, form) {
                Ok(Some(next)) => at = next,
                Ok(None) => return None,
                Err(fault) => return Some(fault),
            }
            continue;
        }
        let next = memchr::memchr(delimiter, &record[at..]).map_or(record.len(), |next| at + next);
        if let Some(escape) = form.escape {
            let escaped = memchr::memchr_iter(escape, &record[at..next])
                .map(|found| record.get(at + found + 1).filter(|_| at + found + 1 < end));
            let is_special =
                |byte: &u8| Some(*byte) == form.quote || *byte == escape || *byte == delimiter;
            if escaped.into_iter().any(|byte| byte.is_none_or(is_special)) {
                return Some(QuoteFault::EscapeOutside);
            }
        }
        at = next + 1;
    }
    None
}

/// Goes from an opening quote to the field behind it; `None` at the end of the record.
fn quoted_value(
    record: &[u8],
    opening: usize,
    delimiter: u8,
    form: &Form,
) -> std::result::Result<Option<usize>, QuoteFault> {
    let Some(quote) = form.quote else {
        return Ok(None);
    };
    let mut at = opening + 1;
    loop {
        let found = match form.escape {
            Some(escape) => memchr::memchr2(quote, escape, &record[at..]),
            None => memchr::memchr(quote, &record[at..]),
        };
        let Some(found) = found else { return Ok(None) };
        at += found;
        let next = record.get(at + 1);
        if record[at] != quote {
            if !next.is_some_and(|next| *next == quote || *next == record[at]) {
                return Err(QuoteFault::NeedlessEscape);
            }
            at += 2;
            continue;
        }
        match next {
            Some(next) if *next == quote && form.escape.is_none() => at += 2,
            Some(b'\r' | b'\n') | None => return Ok(None),
            Some(next) if *next == delimiter => return Ok(Some(at + 2)),
            Some(_) => return Err(QuoteFault::GoesOn),
        }
    }
}
