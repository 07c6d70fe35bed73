//! The text of a file as pieces of whole records, which can be taken apart in parallel.
//!
//! A record ends where a line ends outside of quotes. So all that has to be known of the text
//! before a place is whether a quoted value was left open, and to know it only quotes have to be
//! looked for. What a quote means is the rule of `csv_core`, which takes the pieces apart: one that
//! begins a field opens a value, and within a value two of them, or an escape character and
//! anything, are part of it.
//!
//! Memory: the piece that is being read, of about as many bytes as were asked for, or a record that
//! is longer, up to the limit of a row.

use std::io::{self, Read};

use crate::source::dialect::Form;

use super::records::{MARK, newlines};

/// Appended to every file. It is a row of its own, unless the file ends inside a quoted value and
/// swallows it. No text has its first two bytes, which are not valid in UTF-8, and no delimiter or
/// quote is in it.
pub(super) const END: &[u8] = b"\n\xff\xffasofEndOfFile";

/// How much text a piece has, beside a last record that is longer.
const PIECE: usize = 1 << 20;
/// The most text that a piece has for the sake of its many columns.
const MOST: usize = 32 << 20;
/// About how many bytes of each column a piece has, so that arrays are not made for a few values.
const OF_COLUMN: usize = 512;
/// How much is read at a time.
const READ: usize = 1 << 18;

/// Some records of a file, one behind the other, or the beginning of one that is too long.
pub(super) struct RecordPiece {
    pub(super) text: Vec<u8>,
    /// How many lines of the file have ended before it.
    pub(super) lines: u64,
    /// Whether the file begins with it.
    pub(super) is_first: bool,
}

/// What the text is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Record,
    Quotes,
    Comment,
}

/// The pieces of a file.
pub(super) struct RecordPieces {
    from: Box<dyn Read + Send>,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<u8>,
    delimiter: u8,
    /// How many bytes a piece should have, and a record may.
    wanted: usize,
    longest: usize,
    /// How much is read at a time.
    at_once: usize,
    /// What is left of the text after the piece before: it begins with a record.
    text: Vec<u8>,
    /// How much of it has been looked at, and where the last record in it ends.
    seen: usize,
    end: usize,
    within: Within,
    /// How many lines have ended before the text.
    lines: u64,
    is_first: bool,
    /// Why there is no more text.
    over: Option<Over>,
}

/// How the text of a file ends.
enum Over {
    /// With its last byte, of which all pieces have been told.
    End,
    /// With a failure, which is told after the records before it.
    Failure(io::Error),
}

impl RecordPieces {
    /// The pieces of text in a form, before which some lines have ended.
    pub(super) fn new(from: Box<dyn Read + Send>, form: &Form, delimiter: u8, lines: u64) -> Self {
        RecordPieces {
            from,
            quote: form.quote,
            escape: form.escape,
            comment: form.comment,
            delimiter,
            wanted: PIECE,
            longest: usize::try_from(form.limits.row_bytes).unwrap_or(usize::MAX),
            at_once: READ,
            text: Vec::new(),
            seen: 0,
            end: 0,
            within: Within::Record,
            lines,
            is_first: true,
            over: None,
        }
    }

    /// Makes pieces large enough for a number of columns.
    pub(super) fn for_columns(&mut self, columns: usize) {
        self.wanted = columns.saturating_mul(OF_COLUMN).clamp(PIECE, MOST);
    }

    /// The next piece, or the failure to read it, with the number of lines that ended before that.
    pub(super) fn next(&mut self) -> Option<Result<RecordPiece, (io::Error, u64)>> {
        while self.over.is_none() {
            if self.text.len() >= self.wanted && self.end > 0
                || self.text.len() - self.end > self.longest.saturating_add(self.at_once)
            {
                return Some(Ok(self.cut()));
            }
            match self.read() {
                Ok(0) => {
                    self.over = Some(Over::End);
                    self.text.extend_from_slice(END);
                    self.end = self.text.len();
                    return Some(Ok(self.cut()));
                }
                Ok(_) => self.scan(),
                Err(error) => self.over = Some(Over::Failure(error)),
            }
        }
        if self.end > 0 {
            return Some(Ok(self.cut()));
        }
        match self.over.replace(Over::End) {
            Some(Over::Failure(error)) => Some(Err((error, self.lines + newlines(&self.text)))),
            _ => None,
        }
    }

    /// Reads on, and returns how many bytes there were.
    fn read(&mut self) -> io::Result<usize> {
        let known = self.text.len();
        let missing = self.wanted.saturating_sub(known).max(self.at_once);
        self.text.reserve(missing);
        let mut some = self.from.by_ref().take(missing as u64);
        let read = some.read_to_end(&mut self.text);
        let count = self.text.len() - known;
        match read {
            Err(error) if count > 0 => {
                // What came before the failure is looked at first.
                self.over = Some(Over::Failure(error));
                Ok(count)
            }
            read => read,
        }
    }

    /// Takes the text up to the end of its last record; all of it if there is none.
    fn cut(&mut self) -> RecordPiece {
        let end = if self.end == 0 {
            self.text.len()
        } else {
            self.end
        };
        let rest = self.text.split_off(end);
        let text = std::mem::replace(&mut self.text, rest);
        let piece = RecordPiece {
            lines: self.lines,
            is_first: std::mem::take(&mut self.is_first),
            text,
        };
        self.lines += newlines(&piece.text);
        self.seen = self.seen.saturating_sub(end);
        self.end = 0;
        piece
    }

    /// Looks at the text that is new.
    fn scan(&mut self) {
        if self.is_first && self.seen == 0 {
            match self.text.as_slice() {
                text if text.starts_with(MARK) => self.seen = MARK.len(),
                text if MARK.starts_with(text) => return,
                _ => {}
            }
        }
        while let Some(rest) = self.text.get(self.seen..).filter(|rest| !rest.is_empty()) {
            let went_on = match self.within {
                Within::Record if self.comment.is_some() => self.scan_line(rest),
                Within::Record => self.scan_records(rest),
                Within::Quotes => self.scan_value(rest),
                Within::Comment => match memchr::memchr(b'\n', rest) {
                    Some(end) => Step::record(end + 1),
                    None => Step::within(Within::Comment, rest.len()),
                },
            };
            let Step {
                within,
                bytes,
                record_end,
            } = went_on;
            if let Some(end) = record_end {
                self.end = self.seen + end;
            }
            self.within = within;
            if bytes == 0 {
                return;
            }
            self.seen += bytes;
        }
    }

    /// Whether a line begins at a place of the text, if that is outside of quotes.
    fn begins_line(&self, at: usize) -> bool {
        let before = &self.text[..at];
        before.is_empty()
            || before.ends_with(b"\n")
            || before.ends_with(b"\r")
            || self.is_first && before == MARK
    }

    /// Whether a quote at a place of the text, outside of quotes, begins a value.
    fn opens(&self, at: usize) -> bool {
        self.begins_line(at) || self.text[..at].ends_with(&[self.delimiter])
    }

    /// Goes to the next quote outside of quotes, behind any number of records.
    fn scan_records(&self, rest: &[u8]) -> Step {
        let quote = self.quote.and_then(|quote| memchr::memchr(quote, rest));
        let before = quote.unwrap_or(rest.len());
        let record_end = memchr::memrchr2(b'\n', b'\r', &rest[..before]).map(|end| end + 1);
        let within = match quote {
            Some(at) if self.opens(self.seen + at) => Within::Quotes,
            _ => Within::Record,
        };
        Step {
            within,
            bytes: (before + 1).min(rest.len()),
            record_end,
        }
    }

    /// Goes to the next quote or the end of the line, where a line may be a comment.
    fn scan_line(&self, rest: &[u8]) -> Step {
        if self.begins_line(self.seen) && self.comment == Some(rest[0]) {
            return Step::within(Within::Comment, 1);
        }
        let quote = self.quote.unwrap_or(b'\n');
        match memchr::memchr3(quote, b'\n', b'\r', rest) {
            None => Step::within(Within::Record, rest.len()),
            Some(at) if matches!(rest[at], b'\n' | b'\r') => Step::record(at + 1),
            Some(at) if self.opens(self.seen + at) => Step::within(Within::Quotes, at + 1),
            Some(at) => Step::within(Within::Record, at + 1),
        }
    }

    /// Goes to the end of a quoted value.
    fn scan_value(&self, rest: &[u8]) -> Step {
        let quote = self.quote.unwrap_or(b'"');
        let found = match self.escape {
            Some(escape) => memchr::memchr2(quote, escape, rest),
            None => memchr::memchr(quote, rest),
        };
        let Some(at) = found else {
            return Step::within(Within::Quotes, rest.len());
        };
        match rest.get(at + 1) {
            // What it means is known when the next byte is.
            None => Step::within(Within::Quotes, at),
            Some(_) if rest[at] != quote => Step::within(Within::Quotes, at + 2),
            Some(next) if *next == quote && self.escape.is_none() => {
                Step::within(Within::Quotes, at + 2)
            }
            Some(_) => Step::within(Within::Record, at + 1),
        }
    }
}

/// How far a scan has gone, and what it is inside of then.
struct Step {
    within: Within,
    bytes: usize,
    /// Where the last record ended on the way.
    record_end: Option<usize>,
}

impl Step {
    fn within(within: Within, bytes: usize) -> Self {
        Step {
            within,
            bytes,
            record_end: None,
        }
    }

    /// A record has ended after so many bytes.
    fn record(bytes: usize) -> Self {
        Step {
            record_end: Some(bytes),
            ..Step::within(Within::Record, bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use csv::ByteRecord;
    use proptest::prelude::*;

    use super::super::file::CsvFile;
    use super::super::records::{Records, is_end};
    use super::*;
    use crate::source::dialect::Dialect;

    fn form(quote: bool, escape: bool, comment: bool, row_bytes: u64) -> Form {
        let mut form = Form::of(&Dialect::default(), Some(b',')).expect("a form");
        form.quote = quote.then_some(b'"');
        form.escape = escape.then_some(b'\\');
        form.comment = comment.then_some(b'#');
        form.limits.row_bytes = row_bytes;
        form
    }

    /// The records of pieces of some size, each with its line, up to the first that is refused.
    fn records(text: &str, form: Form, size: usize) -> Vec<String> {
        let file = CsvFile {
            name: "x.csv".to_owned(),
            form: Arc::new(form),
            delimiter: b',',
            header: Arc::new(Schema::empty()),
        };
        let from = Box::new(io::Cursor::new(text.to_owned()));
        let mut pieces = RecordPieces::new(from, &file.form, b',', 0);
        (pieces.wanted, pieces.at_once) = (size, size);
        let mut found = Vec::new();
        while let Some(piece) = pieces.next() {
            let piece = piece.expect("text");
            let mut records = Records::new(&file, &piece.text, piece.lines, piece.is_first);
            let mut record = ByteRecord::new();
            loop {
                match records.next(&mut record) {
                    Ok(Some(_)) if is_end(&record) => break,
                    Ok(Some(line)) => found.push(format!("{line}: {record:?}")),
                    Ok(None) => break,
                    Err(error) => {
                        found.push(error.to_string());
                        return found;
                    }
                }
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn pieces_have_the_records_of_the_whole(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "bc", ",", ",", "\"", "\"\"", "\n", "\r\n", "\r", "#", "\\", "\u{feff}", " ", "\"x\ny\"", ",\"",
            ]), 0..60),
            size in 1usize..40,
            quote in any::<bool>(), escape in any::<bool>(), comment in any::<bool>(),
        ) {
            let text = parts.concat();
            let whole = records(&text, form(quote, escape, comment, 1 << 20), 1 << 20);
            let pieces = records(&text, form(quote, escape, comment, 1 << 20), size);
            prop_assert_eq!(pieces, whole, "{:?}", text);
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_refused_before_all_of_it_is_read() {
        let text = format!("a,b\n\"{}", "x\n".repeat(10_000));
        let form = form(true, false, false, 100);
        let found = records(&text, form, 64);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with("x.csv, line 2"), "{found:?}");
        let from = Box::new(io::Cursor::new(text));
        let mut pieces = RecordPieces::new(from, &self::form(true, false, false, 100), b',', 0);
        (pieces.wanted, pieces.at_once) = (64, 64);
        let most =
            std::iter::from_fn(|| pieces.next()).map(|piece| piece.expect("text").text.len());
        assert!(most.max().expect("pieces") < 400);
    }

    #[test]
    fn records_before_a_failure_come_first() {
        struct Failing(&'static [u8]);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::ErrorKind::InvalidData.into()),
                    count => Ok(count),
                }
            }
        }
        let from = Box::new(Failing(b"a,b\n1,2\n3,"));
        let mut pieces = RecordPieces::new(from, &form(true, false, false, 100), b',', 1);
        let piece = pieces.next().expect("a piece").expect("text");
        assert_eq!(
            (piece.text.as_slice(), piece.lines),
            (&b"a,b\n1,2\n"[..], 1)
        );
        let (error, lines) = pieces.next().expect("a failure").err().expect("a failure");
        assert_eq!((error.kind(), lines), (io::ErrorKind::InvalidData, 3));
        assert!(pieces.next().is_none());
    }
}
