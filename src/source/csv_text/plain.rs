//! The records of a stretch of text without a quote: lines that are split at delimiters.
//!
//! Most text has no quotes, or few of them, and splitting it this way takes a fraction of what the
//! reader of records takes. A record that is not as it should be is left to that reader, which says
//! what is wrong with it. So rows and errors are the same, whichever of the two reads them.

use super::file::{CsvFile, TextRows};
use super::pieces::{END, RecordPiece};
use super::records::MARK;

/// How long a stretch is at least, unless the text ends with it. Behind it, the reader of records has
/// to be set up again, which takes a while.
const STRETCH: usize = if cfg!(test) { 8 } else { 16 << 10 };

/// How far some records were read.
pub(super) struct ReadOn {
    /// How many bytes of the text they have, with the ends of their lines.
    pub(super) bytes: usize,
    /// How many lines of the file have ended by then.
    pub(super) lines: u64,
}

impl ReadOn {
    /// Nothing of a piece.
    pub(super) fn begin(piece: &RecordPiece) -> Self {
        ReadOn {
            bytes: 0,
            lines: piece.lines,
        }
    }
}

/// What is ahead in text that begins with a record.
pub(super) struct Ahead {
    /// How many bytes are records without a quote; none if they are too few to be worth a stretch.
    pub(super) plain: usize,
    /// Where the first quote is, or the end of the text.
    pub(super) sign: usize,
}

impl Ahead {
    /// Looks for the first quote, or the first sign that escapes one.
    pub(super) fn of(file: &CsvFile, text: &[u8]) -> Self {
        let form = &file.form;
        let sign = match (form.quote, form.escape) {
            (None, None) => None,
            (Some(sign), None) | (None, Some(sign)) => memchr::memchr(sign, text),
            (Some(quote), Some(escape)) => memchr::memchr2(quote, escape, text),
        };
        let plain = match sign {
            _ if form.comment.is_some() => 0,
            None => text.len(),
            Some(sign) => {
                let line = memchr::memrchr2(b'\n', b'\r', &text[..sign]);
                line.map_or(0, |end| end + 1)
            }
        };
        let is_worth_it = plain >= STRETCH || plain == text.len();
        Ahead {
            plain: if is_worth_it { plain } else { 0 },
            sign: sign.unwrap_or(text.len()),
        }
    }
}

/// Reads records without a quote from the bytes of a stretch, before which some lines have ended, up
/// to the first one that is not as it should be. `is_last` says that the text of the file ends with
/// the stretch, and so does a record.
pub(super) fn read_plain(
    file: &CsvFile,
    bytes: &[u8],
    lines: u64,
    is_last: bool,
    rows: &mut TextRows<'_>,
) -> ReadOn {
    let mut read = ReadOn { bytes: 0, lines };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    let is_last = is_last && text.len() == bytes.len();
    let mut ends = Vec::new();
    let ends_line = |at: usize| text.as_bytes()[at] == b'\n';
    for at in memchr::memchr3_iter(file.delimiter, b'\n', b'\r', text.as_bytes()) {
        if text.as_bytes()[at] == file.delimiter {
            ends.push(at);
            continue;
        }
        // A blank line is no row.
        if at > read.bytes {
            ends.push(at);
            if !take(file, text, &read, &ends, rows) {
                return read;
            }
            ends.clear();
        }
        read.bytes = at + 1;
        read.lines += u64::from(ends_line(at));
    }
    if is_last && text.len() > read.bytes {
        ends.push(text.len());
        if take(file, text, &read, &ends, rows) {
            read.bytes = text.len();
        }
    }
    read
}

/// Takes the record behind what was read, whose fields end at some places. Returns whether it was
/// taken.
fn take(
    file: &CsvFile,
    text: &str,
    read: &ReadOn,
    ends: &[usize],
    rows: &mut TextRows<'_>,
) -> bool {
    let length = ends.last().map_or(0, |end| end - read.bytes);
    if rows.is_full()
        || !rows.fits(ends.len())
        || length as u64 > file.form.limits.row_bytes
        || text.as_bytes()[read.bytes..].starts_with(MARK)
    {
        return false;
    }
    let mut begin = read.bytes;
    let fields = ends.iter().map(|end| {
        let field = &text[begin..*end];
        begin = end + 1;
        field
    });
    rows.push(fields, read.lines + 1);
    true
}

/// The text of a piece without the mark of the end, and whether it had one.
pub(super) fn without_mark(text: &[u8]) -> (&[u8], bool) {
    match text.strip_suffix(END) {
        Some(text) => (text, true),
        None => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::error::Result;
    use crate::source::csv_text::aside::Placed;
    use crate::source::dialect::{Dialect, Form, Ragged};

    /// What is read of a piece: its rows with their lines, or why it is refused.
    fn shown(read: Result<Placed>) -> String {
        match read {
            Ok(placed) => {
                let lines: Vec<u64> = placed.places.iter().map(|place| place.line).collect();
                format!("{lines:?} {:?}", placed.rows)
            }
            Err(error) => format!("{error} {:?}", error.hints()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn rows_and_refusals_are_those_of_the_reader_of_records(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "bc,d\n", "e,f\r\n", "g,\n", ",", "\"", "\"\"", "\n", "\r\n", "\r", "#", "\\",
                "\u{feff}", " ", "\"x\ny\"", ",\"", "h,i\n\nj,k\n", "a long row,that is too long\n", "ä,é\n",
            ]), 0..30),
            broken in prop::option::of(0usize..60),
            (quote, escape, comment, trim, ragged) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
            (is_first, is_last) in (any::<bool>(), any::<bool>()),
            most in 0usize..20,
        ) {
            let mut form = Form::of(&Dialect::default(), Some(b',')).expect("a form");
            form.quote = quote.then_some(b'"');
            form.escape = (quote && escape).then_some(b'\\');
            form.comment = (comment && escape).then_some(b'#');
            form.trim = trim;
            form.ragged = if ragged { Ragged::Fill } else { Ragged::Refuse };
            form.limits.row_bytes = 20;
            let columns = ["x", "y"].map(|name| Field::new(name, DataType::Utf8, true));
            let schema = Arc::new(Schema::new(columns.to_vec()));
            let file = CsvFile {
                name: "x.csv".to_owned(),
                form: Arc::new(form),
                delimiter: b',',
                header: schema.clone(),
            };
            let columns = file.columns(&schema, 3).expect("columns");
            let mut text = parts.concat().into_bytes();
            if let Some(byte) = broken.and_then(|at| text.get_mut(at)) {
                *byte = 0xff;
            }
            if is_last {
                text.extend_from_slice(END);
            }
            let piece = RecordPiece { text, lines: 7, is_first };
            let read = shown(file.rows(&piece, &columns, most));
            prop_assert_eq!(read, shown(file.rows_as_if_quoted(&piece, &columns, most)));
        }
    }

    #[test]
    fn a_stretch_ends_before_the_record_of_a_quote() {
        let file = CsvFile {
            name: "x.csv".to_owned(),
            form: Arc::new(Form::of(&Dialect::default(), Some(b',')).expect("a form")),
            delimiter: b',',
            header: Arc::new(Schema::empty()),
        };
        let ahead = |text: &str| {
            let ahead = Ahead::of(&file, text.as_bytes());
            (ahead.plain, ahead.sign)
        };
        assert_eq!(ahead("a,b\nc,d\ne,f\ng,\"h\"\ni,j\n"), (12, 14));
        assert_eq!(ahead("a,b\nc,\"d\"\n"), (0, 6));
        assert_eq!(ahead("a,b\n"), (4, 4));
    }
}
