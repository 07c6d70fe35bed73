//! The text of JSON as pieces of whole lines, and the objects of those that have one each.

use std::fs::File;
use std::os::unix::fs::FileExt;

use struson::reader::JsonReader;

use super::SPILL;
use crate::domain::text::json::{Fields, Value, reader};
use crate::error::{Context, Result};
use crate::source::type_inference::Place;

/// How much text a piece has, if its last line is not longer.
const PIECE: usize = 1 << 20;
/// No line of objects is this long, or it is not read a line at a time.
const LONGEST_LINE: usize = 16 << 20;

/// An object, and where it stands.
pub(super) type PlacedObject = (Place, Fields);

/// Some lines of a file, or the beginning of one that is too long.
pub(super) struct LinesPiece {
    first: Place,
    text: Vec<u8>,
}

impl LinesPiece {
    /// The objects of the lines; `None` if a line is neither one object nor blank.
    pub(super) fn objects(&self) -> Option<Vec<PlacedObject>> {
        if self.text.len() > LONGEST_LINE {
            return None;
        }
        let mut objects = Vec::new();
        for (number, text) in (self.first.line..).zip(self.text.split(|byte| *byte == b'\n')) {
            if text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                continue;
            }
            let place = Place {
                line: number,
                ..self.first
            };
            objects.push((place, object(text)?));
        }
        Some(objects)
    }
}

/// The fields of the object that a line has; `None` if it has anything else.
fn object(line: &[u8]) -> Option<Fields> {
    let mut reader = reader(line);
    match Value::read(&mut reader) {
        Ok(Value::Object(fields)) => (!reader.has_next().ok()?).then_some(fields),
        _ => None,
    }
}

/// The pieces of the texts of all files, which stand in one.
pub(super) struct LinesPieces {
    file: File,
    /// Where the text of each file begins and ends.
    texts: Vec<Option<(u64, u64)>>,
    next: Place,
}

impl LinesPieces {
    pub(super) fn new(file: File, texts: Vec<Option<(u64, u64)>>) -> Self {
        let next = Place { file: 0, line: 1 };
        LinesPieces { file, texts, next }
    }

    fn next_piece(&mut self) -> Result<Option<LinesPiece>> {
        while let Some(text) = self.texts.get_mut(self.next.file) {
            let Some((start, end)) = text.filter(|(start, end)| start < end) else {
                self.next = Place {
                    file: self.next.file + 1,
                    line: 1,
                };
                continue;
            };
            let mut bytes = Vec::new();
            let mut length = PIECE;
            loop {
                let left = usize::try_from(end - start).unwrap_or(usize::MAX);
                let known = bytes.len();
                bytes.resize(length.min(left), 0);
                self.file
                    .read_exact_at(&mut bytes[known..], start + known as u64)
                    .io_context(|| SPILL.into())?;
                if bytes.len() == left || bytes.len() > LONGEST_LINE {
                    break;
                }
                if let Some(last) = memchr::memrchr(b'\n', &bytes) {
                    bytes.truncate(last + 1);
                    break;
                }
                length *= 2;
            }
            *text = Some((start + bytes.len() as u64, end));
            let first = self.next;
            self.next.line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
            return Ok(Some(LinesPiece { first, text: bytes }));
        }
        Ok(None)
    }
}

impl Iterator for LinesPieces {
    type Item = Result<LinesPiece>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_piece().transpose()
    }
}
