//! The text of JSON as pieces of whole lines, and the objects of those that have one each.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use jiter::{Jiter, Peek};

use super::SPILL;
use super::template::LineTemplate;
use crate::domain::text::json::{ColumnBuilder, Fields, JsonValue, repeated};
use crate::error::{Context, Result};
use crate::source::type_inference::ValuePlace;

/// How much text a piece has, if its last line is not longer.
pub(super) const PIECE: usize = 1 << 20;
/// No line of objects is this long, or it is not read a line at a time.
pub(super) const LONGEST_LINE: usize = 16 << 20;
/// How many arrays and objects lie inside of one another at most, or a line is not read here.
const DEEPEST: usize = 100;

/// An object, and where it stands.
pub(super) type PlacedObject<'a> = (ValuePlace, Fields<'a>);

/// Some lines of a file, or the beginning of one that is too long.
pub(super) struct LinesPiece {
    first: ValuePlace,
    text: Vec<u8>,
    /// How many lines end in the text.
    ended: usize,
    /// Whether the text is the beginning of a line that is not read here.
    is_cut: bool,
}

impl LinesPiece {
    /// Some lines, or the beginning of one that is too long.
    pub(super) fn new(first: ValuePlace, text: Vec<u8>, is_cut: bool) -> Self {
        LinesPiece {
            first,
            ended: memchr::memchr_iter(b'\n', &text).count(),
            text,
            is_cut,
        }
    }

    /// Whether there is no text.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Which line comes next.
    pub(super) fn next_line(&self) -> u64 {
        self.first.line + self.ended as u64
    }

    /// The objects as rows of some columns; null where one has no value. `is_taken` says whether a
    /// value may be in a column. `None` if a line is neither blank nor one object of these columns
    /// and of such values.
    pub(super) fn rows(
        &self,
        schema: &SchemaRef,
        is_taken: impl Fn(&JsonValue<'_>, usize) -> bool,
    ) -> Option<RecordBatch> {
        let mut rows = 0;
        // Blank lines are no rows, and a row has at least some bytes of a column.
        let width = schema.fields().len().max(1);
        let about = self.ended.min(self.text.len() / width) + 1;
        let of = schema.fields().iter();
        let mut columns: Vec<_> = of
            .map(|field| ColumnBuilder::new(field.data_type().clone(), about))
            .collect();
        let at = (0..columns.len()).map(|at| (schema.field(at).name().as_str(), at));
        let at: HashMap<&str, usize> = at.collect();
        let place = |name: &str, next: usize| {
            let likely = schema.fields().get(next);
            let is_next = likely.is_some_and(|likely| likely.name() == name);
            is_next.then_some(next).or_else(|| at.get(name).copied())
        };
        let mut template = LineTemplate::default();
        let mut scalars = Vec::with_capacity(columns.len());
        let has_templates = !has_controls(&self.text);
        for text in self.lines()? {
            if has_templates && template.find(text, &mut scalars) {
                // No field is there twice, since none was in the line before.
                for (at, scalar) in &scalars {
                    let value = scalar.value();
                    let is_added = is_taken(&value, *at) && columns[*at].add_borrowed(&value);
                    is_added.then_some(())?;
                }
            } else {
                let add = |at: usize, value| {
                    let column = &mut columns[at];
                    // A field that is there twice is not for here.
                    column.rows() == rows && is_taken(&value, at) && column.add(value)
                };
                let mut line = Line::new(text);
                line.object(place, add, &mut template)?;
                line.reader.finish().ok()?;
            }
            rows += 1;
            if template.fields() < columns.len() {
                let without = columns.iter_mut().filter(|column| column.rows() < rows);
                without.for_each(|column| {
                    let _ = column.add(JsonValue::Null);
                });
            }
        }
        let arrays = columns.into_iter().map(ColumnBuilder::finish);
        let arrays = arrays.collect::<Option<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), arrays, &options).ok()
    }

    /// The lines that are not blank; `None` if they are not text or were cut.
    fn lines(&self) -> Option<impl Iterator<Item = &str>> {
        let text = std::str::from_utf8(&self.text)
            .ok()
            .filter(|_| !self.is_cut)?;
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
        let mut start = 0;
        let lines = ends.map(move |end| {
            let line = &text[start..end];
            start = end + 1;
            line
        });
        Some(lines.filter(|line| !is_blank(line)))
    }

    /// Where the piece begins.
    pub(super) fn place(&self) -> ValuePlace {
        self.first
    }

    /// The objects of the lines; `None` if a line is neither one object nor blank.
    pub(super) fn objects(&self) -> Option<Vec<PlacedObject<'_>>> {
        if self.is_cut {
            return None;
        }
        let mut objects = Vec::new();
        let text = std::str::from_utf8(&self.text).ok()?;
        for (number, text) in (self.first.line..).zip(text.split('\n')) {
            if is_blank(text) {
                continue;
            }
            let place = ValuePlace {
                line: number,
                ..self.first
            };
            objects.push((place, object(text)?));
        }
        Some(objects)
    }
}

/// Whether there are control characters other than ends of lines.
fn has_controls(text: &[u8]) -> bool {
    // Each chunk is scanned without an early exit, so that the compiler can vectorize the loop.
    let mut has_returns = false;
    let has_others = text.chunks(PIECE >> 8).any(|chunk| {
        let mut found = false;
        for byte in chunk {
            found |= *byte < b' ' && *byte != b'\n' && *byte != b'\r';
            has_returns |= *byte == b'\r';
        }
        found
    });
    let ends_a_line = |at: usize| text.get(at + 1) == Some(&b'\n');
    has_others || has_returns && !memchr::memchr_iter(b'\r', text).all(ends_a_line)
}

fn is_blank(line: &str) -> bool {
    line.bytes()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// The fields of the object that a line has; `None` if it has anything else.
fn object(line: &str) -> Option<Fields<'_>> {
    let mut line = Line::new(line);
    match line.value(DEEPEST) {
        Some(JsonValue::Object(fields)) => line.reader.finish().is_ok().then_some(fields),
        _ => None,
    }
}

/// A line that is being read. Each value is `None` if the text is not JSON, is nested too deeply,
/// or has a field twice.
struct Line<'a> {
    text: &'a str,
    reader: Jiter<'a>,
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        Line {
            text,
            reader: Jiter::new(text.as_bytes()),
        }
    }

    /// Hands out each value of an object with the column that `place` finds by the name of its
    /// field; most likely it is the one that `place` is told. `None` if `add` does not take one.
    /// `template` becomes that of the line.
    fn object(
        &mut self,
        place: impl Fn(&str, usize) -> Option<usize>,
        mut add: impl FnMut(usize, JsonValue<'a>) -> bool,
        template: &mut LineTemplate<'a>,
    ) -> Option<()> {
        template.begin();
        if self.reader.peek().ok()? != Peek::Object {
            return None;
        }
        let first = self.reader.known_object().ok()?;
        let mut found = first.map(|name| place(name, 0));
        let mut end = 0;
        while let Some(at) = found {
            let at = at?;
            self.reader.peek().ok()?;
            let before = self.read_since(end)?;
            let value = self.value(DEEPEST - 1)?;
            end = self.reader.current_index();
            template.add(before, at, &value);
            add(at, value).then_some(())?;
            let next = self.reader.next_key().ok()?;
            found = next.map(|name| place(name, at + 1));
        }
        template.finish(&self.text[end..]);
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<JsonValue<'a>> {
        let peek = self.reader.peek().ok()?;
        Some(match peek {
            Peek::Null => {
                self.reader.known_null().ok()?;
                JsonValue::Null
            }
            Peek::True | Peek::False => JsonValue::Bool(self.reader.known_bool(peek).ok()?),
            Peek::String => {
                let start = self.reader.current_index();
                let length = self.reader.known_str().ok()?.len();
                JsonValue::String(string(self.read_since(start)?, length)?)
            }
            Peek::Array => JsonValue::Array(self.items(depth.checked_sub(1)?)?),
            Peek::Object => JsonValue::Object(self.fields(depth.checked_sub(1)?)?),
            _ => {
                let start = self.reader.current_index();
                self.reader.known_number_bytes(peek).ok()?;
                JsonValue::Number(self.read_since(start)?.into())
            }
        })
    }

    fn items(&mut self, depth: usize) -> Option<Vec<JsonValue<'a>>> {
        let mut items = Vec::new();
        let mut next = self.reader.known_array().ok()?;
        while next.is_some() {
            items.push(self.value(depth)?);
            next = self.reader.array_step().ok()?;
        }
        Some(items)
    }

    fn fields(&mut self, depth: usize) -> Option<Fields<'a>> {
        let mut fields = Fields::new();
        let mut start = self.reader.current_index();
        let mut length = self.reader.known_object().ok()?.map(str::len);
        while let Some(known) = length {
            let read = self.read_since(start)?;
            let (first, last) = (read.find('"')?, read.rfind('"')?);
            let name = string(&read[first..=last], known)?;
            fields.push((name, self.value(depth)?));
            start = self.reader.current_index();
            length = self.reader.next_key().ok()?.map(str::len);
        }
        repeated(&fields).is_none().then_some(fields)
    }

    /// The text that has been read since a place.
    fn read_since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.reader.current_index())
    }
}

/// The string in quotes, which has a length. It is the text itself, unless something is escaped.
fn string(quoted: &str, length: usize) -> Option<Cow<'_, str>> {
    if quoted.len() == length + 2 {
        return Some(quoted[1..=length].into());
    }
    let unescaped = Jiter::new(quoted.as_bytes()).next_str().ok()?.to_owned();
    Some(unescaped.into())
}

/// The pieces of the texts of all files, which stand in one.
pub(super) struct LinesPieces {
    file: File,
    /// Where the text of each file begins and ends.
    texts: Vec<Option<(u64, u64)>>,
    next: ValuePlace,
    /// How long a line may be to be read here.
    longest: usize,
}

impl LinesPieces {
    /// The pieces of texts whose objects have at most `most` bytes.
    pub(super) fn new(file: File, texts: Vec<Option<(u64, u64)>>, most: u64) -> Self {
        LinesPieces {
            file,
            texts,
            next: ValuePlace { file: 0, line: 1 },
            longest: usize::try_from(most)
                .unwrap_or(LONGEST_LINE)
                .min(LONGEST_LINE),
        }
    }

    fn next_piece(&mut self) -> Result<Option<LinesPiece>> {
        while let Some(text) = self.texts.get_mut(self.next.file) {
            let Some((start, end)) = text.filter(|(start, end)| start < end) else {
                self.next = ValuePlace {
                    file: self.next.file + 1,
                    line: 1,
                };
                continue;
            };
            let mut bytes = Vec::new();
            let mut length = PIECE.min(self.longest);
            let mut is_cut = false;
            loop {
                let left = usize::try_from(end - start).unwrap_or(usize::MAX);
                let known = bytes.len();
                bytes.resize(length.min(left), 0);
                self.file
                    .read_exact_at(&mut bytes[known..], start + known as u64)
                    .temporary_context(|| SPILL.into())?;
                if let Some(last) = memchr::memrchr(b'\n', &bytes).filter(|_| bytes.len() < left) {
                    bytes.truncate(last + 1);
                    break;
                }
                is_cut = length > self.longest;
                if is_cut || bytes.len() == left {
                    break;
                }
                length *= 2;
            }
            *text = Some((start + bytes.len() as u64, end));
            let first = self.next;
            let piece = LinesPiece::new(first, bytes, is_cut);
            self.next.line = piece.next_line();
            return Ok(Some(piece));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn blank_lines_take_no_memory_in_any_column() {
        let fields = (0..100).map(|at| Field::new(format!("c{at}"), DataType::Int64, true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let text = format!("{{\"c7\":7}}\n{}", "\n".repeat(1 << 17)).into_bytes();
        let piece = LinesPiece::new(ValuePlace { file: 0, line: 1 }, text, false);
        let rows = piece.rows(&schema, |_, _| true).expect("one object");
        assert_eq!(rows.num_rows(), 1);
        assert!(rows.get_array_memory_size() < 8 << 20);
        assert_eq!(piece.next_line(), (1 << 17) + 2);
    }

    #[test]
    fn ends_of_lines_are_no_control_characters() {
        for (text, expected) in [
            ("{}\n{}", false),
            ("{}\r\n{}\r\n", false),
            ("{\"a\":\"\t\"}", true),
            ("{\"a\":\"\r\"}", true),
            ("{}\r", true),
            ("\0", true),
        ] {
            assert_eq!(has_controls(text.as_bytes()), expected, "{text:?}");
            let behind = format!("{}{text}", " ".repeat(PIECE));
            assert_eq!(has_controls(behind.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_that_are_written_alike_are_read_as_others_are() {
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Utf8, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let rows = |text: &str| {
            let first = ValuePlace { file: 0, line: 1 };
            let piece = LinesPiece::new(first, text.into(), false);
            let rows = piece.rows(&schema, |_, _| true)?;
            let texts = rows.columns().iter().map(|column| {
                let texts = column.as_string::<i32>().iter();
                texts.map(|text| text.unwrap_or("-").to_owned()).collect()
            });
            Some(texts.collect::<Vec<Vec<String>>>())
        };
        let read = |a: [&str; 3], b: [&str; 3]| {
            Some(
                [a, b]
                    .map(|texts| texts.map(str::to_owned).to_vec())
                    .to_vec(),
            )
        };
        let first = "{\"a\":\"x\",\"b\":\"y\"}";
        for (second, third, expected) in [
            (
                "{\"a\":\"\",\"b\":null}",
                first,
                read(["x", "", "x"], ["y", "-", "y"]),
            ),
            (
                "{\"b\":\"2\",\"a\":\"1\"}",
                first,
                read(["x", "1", "x"], ["y", "2", "y"]),
            ),
            (
                "{\"b\":\"2\"}",
                "{\"b\":\"3\"}",
                read(["x", "-", "-"], ["y", "2", "3"]),
            ),
            (
                "{\"a\":\"\\t\",\"b\":\"\u{fc}\"}",
                first,
                read(["x", "\t", "x"], ["y", "\u{fc}", "y"]),
            ),
            ("{}", "{}", read(["x", "-", "-"], ["y", "-", "-"])),
            (
                " { \"a\" : \"1\" } ",
                " { \"a\" : \"2\" } ",
                read(["x", "1", "2"], ["y", "-", "-"]),
            ),
            ("{\"a\":\"\t\",\"b\":\"y\"}", first, None),
            ("{\"a\":\"x\",\"b\":\"y\"},", first, None),
            ("{\"a\":\"x\",\"b\":\"y\",\"a\":\"z\"}", first, None),
            ("{\"a\":\"x\",\"c\":\"y\"}", first, None),
            ("{\"a\":\"x\",\"b\":y}", first, None),
        ] {
            for end in ["\n", "\r\n"] {
                let text = [first, second, third].join(end);
                assert_eq!(rows(&text), expected, "{text}");
            }
        }
    }
}
