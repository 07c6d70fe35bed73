//! One file: how it is written, its header, and the rows of its pieces as text.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use csv::{ByteRecord, StringRecord};

use super::aside::Placed;
use super::pieces::{RecordPiece, RecordPieces};
use super::plain::{Ahead, ReadOn, read_plain, without_mark};
use super::records::{Records, damaged, is_end, is_unended, newlines, skip_line};
use crate::domain::canonical_types::canonical_schema;
use crate::domain::row_limits::Limits;
use crate::error::{Context, Error, Result};
use crate::source::Input;
use crate::source::dialect::{Form, Ragged};
use crate::source::observed::ReadAs;
use crate::source::type_inference::ValuePlace;
use crate::storage::lake::read::ObjectReader;

/// The most text that is looked at to detect a delimiter.
const HEAD: u64 = 1 << 16;

/// A file whose header is known.
pub(super) struct CsvFile {
    /// What errors call it.
    pub(super) name: String,
    pub(super) form: Arc<Form>,
    pub(super) delimiter: u8,
    pub(super) header: SchemaRef,
}

/// A file that has been opened, and its rows.
pub(super) struct OpenedCsv {
    pub(super) file: CsvFile,
    /// How it is read.
    pub(super) read_as: ReadAs,
    pub(super) rows: FilePieces,
}

/// Where the columns of a file stand among those of all files.
pub(super) struct FileColumns {
    /// The columns of all files, all of text.
    pub(super) schema: SchemaRef,
    places: Vec<usize>,
    /// Those that the file lacks.
    absent: Vec<usize>,
    /// The number of the file.
    number: usize,
}

/// The pieces of a file behind its header.
pub(super) struct FilePieces {
    first: Option<RecordPiece>,
    pieces: RecordPieces,
    name: String,
    form: Arc<Form>,
}

impl Iterator for FilePieces {
    type Item = Result<RecordPiece>;

    fn next(&mut self) -> Option<Result<RecordPiece>> {
        if let Some(piece) = self.first.take() {
            return Some(Ok(piece));
        }
        let piece = self.pieces.next()?;
        Some(piece.map_err(|(error, lines)| unread(error, &self.name, &self.form, lines)))
    }
}

/// The rows of a piece, as they are read.
pub(super) struct TextRows<'a> {
    file: &'a CsvFile,
    columns: &'a FileColumns,
    builders: Vec<StringBuilder>,
    places: Vec<ValuePlace>,
    most: usize,
}

impl<'a> TextRows<'a> {
    fn new(file: &'a CsvFile, piece: &RecordPiece, columns: &'a FileColumns, most: usize) -> Self {
        // Blank lines are no rows, and a row has a byte for each column, unless it is short.
        let fields = columns.schema.fields();
        let lines = usize::try_from(newlines(&piece.text)).unwrap_or(usize::MAX);
        let about = lines.min(piece.text.len() / fields.len().max(1)) + 1;
        let builder = |_| StringBuilder::with_capacity(about.min(most), 0);
        TextRows {
            file,
            columns,
            builders: fields.iter().map(builder).collect(),
            places: Vec::with_capacity(about.min(most)),
            most,
        }
    }

    /// Whether there are as many rows as are wanted.
    pub(super) fn is_full(&self) -> bool {
        self.places.len() == self.most
    }

    /// Whether a row may have so many fields.
    pub(super) fn fits(&self, fields: usize) -> bool {
        let all = self.columns.places.len();
        fields == all || fields < all && self.file.form.ragged != Ragged::Refuse
    }

    /// The name of the column of a field.
    fn column_at(&self, field: usize) -> &str {
        let place = self.columns.places.get(field);
        place.map_or("?", |place| self.columns.schema.field(*place).name())
    }

    /// Takes the fields of a row that begins on a line.
    pub(super) fn push<'t>(&mut self, fields: impl Iterator<Item = &'t str>, line: u64) {
        let FileColumns {
            places,
            absent,
            number,
            ..
        } = self.columns;
        let form = &self.file.form;
        let mut places = places.iter();
        for text in fields {
            let text = if form.trim { text.trim() } else { text };
            if let Some(place) = places.next() {
                self.builders[*place].append_option((!form.is_null(text)).then_some(text));
            }
        }
        for place in absent.iter().chain(places) {
            self.builders[*place].append_null();
        }
        self.places.push(ValuePlace {
            file: *number,
            line,
        });
    }

    fn finish(mut self) -> Result<Placed> {
        let columns = self.builders.iter_mut();
        let columns = columns.map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let rows = RecordBatch::try_new(self.columns.schema.clone(), columns.collect())
            .internal_context(|| "cannot take rows apart".into())?;
        Ok(Placed {
            rows,
            places: self.places,
        })
    }
}

/// The failure to read more of a file, in which some lines have ended.
fn unread(error: io::Error, name: &str, form: &Form, lines: u64) -> Error {
    if error.kind() == io::ErrorKind::InvalidData {
        return Error::refused(format!("{name}, line {}: {error}", lines + 1))
            .hint(form.declare("encoding", "NAME"));
    }
    damaged(&error.into(), name)
}

impl CsvFile {
    /// Opens a file and reads its header; `None` for a part without a single byte.
    pub(super) fn open(
        input: &Input,
        object: &ObjectReader,
        form: &Arc<Form>,
        is_part: bool,
    ) -> Result<Option<OpenedCsv>> {
        let name = &input.name;
        let (text, mut read_as) = input.text(object, form.encoding)?;
        let mut text = BufReader::with_capacity(HEAD as usize, text);
        let failed = |error: io::Error, lines: u64| unread(error, name, form, lines);
        let begin = text.fill_buf().map_err(|error| failed(error, 0))?;
        if begin.is_empty() && is_part {
            return Ok(None);
        }
        for skipped in 0..form.skip {
            skip_line(&mut text).map_err(|error| failed(error, skipped))?;
        }
        let mut head = Vec::new();
        let took = text.by_ref().take(HEAD).read_to_end(&mut head);
        took.map_err(|error| failed(error, form.skip + newlines(&head)))?;
        let delimiter = form.delimiter.or_else(|| {
            let detected = form.detect_delimiter(&head, (head.len() as u64) < HEAD)?;
            read_as.detected.push("delimiter");
            Some(detected)
        });
        let delimiter = delimiter.unwrap_or(b',');
        read_as.delimiter = Some(char::from(delimiter));
        let text = Box::new(Cursor::new(head).chain(text));
        let mut rows = FilePieces {
            first: None,
            pieces: RecordPieces::new(text, form, delimiter, form.skip),
            name: name.clone(),
            form: form.clone(),
        };
        let mut file = CsvFile {
            name: name.clone(),
            form: form.clone(),
            delimiter,
            header: Arc::new(Schema::empty()),
        };
        file.header = match &form.columns {
            Some(columns) => columns_of(columns.iter().map(String::as_str), name, &form.limits)?,
            None => {
                let first = rows.next().transpose()?;
                let mut first = first.ok_or_else(|| Error::internal("a file has no end"))?;
                let (header, read, lines) = file.read_header(&first)?;
                first.text.drain(..read);
                first.lines = lines;
                first.is_first = false;
                rows.first = Some(first);
                header
            }
        };
        rows.pieces.for_columns(file.header.fields().len());
        Ok(Some(OpenedCsv {
            file,
            read_as,
            rows,
        }))
    }

    /// The header, how many bytes of the first piece it has, and how many lines end there.
    fn read_header(&self, first: &RecordPiece) -> Result<(SchemaRef, usize, u64)> {
        let name = &self.name;
        let mut record = ByteRecord::new();
        let mut records = Records::new(self, &first.text, first.lines, first.is_first);
        let line = records.next(&mut record)?;
        let Some(line) = line.filter(|_| !record.is_empty() && !is_end(&record)) else {
            return Err(Error::refused(format!(
                "{name} is empty: not even a header"
            )));
        };
        let mut names = Vec::with_capacity(record.len());
        for column in &record {
            let column = std::str::from_utf8(column)
                .map_err(|_| not_utf8(&format!("{name}, line {line}: the header"), &self.form))?;
            if column.contains('\0') {
                let what = format!(
                    "{name}, line {line}: the header has NUL characters, as UTF-16 without a byte \
                     order mark has"
                );
                return Err(Error::refused(what).hint(self.form.declare("encoding", "utf-16le")));
            }
            names.push(if self.form.trim {
                column.trim()
            } else {
                column
            });
        }
        let header = columns_of(names.into_iter(), name, &self.form.limits)?;
        let (read, lines) = records.read();
        Ok((header, read, lines))
    }

    /// Where its columns stand in `schema`, the columns of all files; it is file `number`.
    pub(super) fn columns(&self, schema: &SchemaRef, number: usize) -> Result<FileColumns> {
        let fields = schema.fields().iter().enumerate();
        let mut at: HashMap<&str, usize> = fields
            .map(|(at, field)| (field.name().as_str(), at))
            .collect();
        let own = self.header.fields().iter();
        let places: Option<Vec<usize>> =
            own.map(|field| at.remove(field.name().as_str())).collect();
        let replaced = || Error::io(format!("{} was replaced while it was read", self.name));
        let mut absent: Vec<usize> = at.into_values().collect();
        absent.sort_unstable();
        Ok(FileColumns {
            schema: schema.clone(),
            places: places.ok_or_else(replaced)?,
            absent,
            number,
        })
    }

    /// The rows of a piece as text, and no more than `most`.
    ///
    /// # Errors
    /// A refusal of the first row that is wrong.
    pub(super) fn rows(
        &self,
        piece: &RecordPiece,
        columns: &FileColumns,
        most: usize,
    ) -> Result<Placed> {
        let mut rows = TextRows::new(self, piece, columns, most);
        let (text, is_last) = without_mark(&piece.text);
        let mut read = ReadOn::begin(piece);
        while read.bytes < text.len() && !rows.is_full() {
            let stretch = &text[read.bytes..];
            let stretch = &stretch[..Ahead::of(self, stretch).plain];
            if !stretch.is_empty() {
                let is_last = is_last && read.bytes + stretch.len() == text.len();
                let on = read_plain(self, stretch, read.lines, is_last, &mut rows);
                read.bytes += on.bytes;
                read.lines = on.lines;
            }
            if read.bytes < text.len() && !rows.is_full() {
                read = self.read_quoted(piece, read, &mut rows)?;
            }
        }
        rows.finish()
    }

    /// The same rows, if no stretch is known to have no quote.
    #[cfg(test)]
    pub(super) fn rows_as_if_quoted(
        &self,
        piece: &RecordPiece,
        columns: &FileColumns,
        most: usize,
    ) -> Result<Placed> {
        let mut rows = TextRows::new(self, piece, columns, most);
        let mut read = ReadOn::begin(piece);
        while read.bytes < piece.text.len() && !rows.is_full() {
            read = self.read_quoted(piece, read, &mut rows)?;
        }
        rows.finish()
    }

    /// Reads the records of a piece from a place on, up to a stretch without a quote.
    fn read_quoted(
        &self,
        piece: &RecordPiece,
        read: ReadOn,
        rows: &mut TextRows<'_>,
    ) -> Result<ReadOn> {
        let CsvFile { name, form, .. } = self;
        let text = &piece.text[read.bytes..];
        let is_first = piece.is_first && read.bytes == 0;
        let mut record = ByteRecord::new();
        let mut records = Records::new(self, text, read.lines, is_first);
        // Where the next quote is; after the first record, it is looked for.
        let mut sign = 0;
        while !rows.is_full()
            && let Some(line) = records.next(&mut record)?
            && !is_end(&record)
        {
            if is_unended(&record) {
                return Err(Error::refused(format!(
                    "{name} ends inside a quoted value, in the row that begins on line {line}"
                )));
            }
            if !rows.fits(record.len()) {
                return Err(self.wrong_length(line, record.len()));
            }
            let texts = StringRecord::from_byte_record(std::mem::take(&mut record));
            let texts = texts.map_err(|error| {
                let column = rows.column_at(error.utf8_error().field());
                not_utf8(&format!("{name}, line {line}: column '{column}'"), form)
            })?;
            rows.push(texts.iter(), line);
            record = texts.into_byte_record();
            let (bytes, lines) = records.read();
            if bytes > sign {
                let ahead = Ahead::of(self, &text[bytes..]);
                if ahead.plain > 0 {
                    return Ok(ReadOn {
                        bytes: read.bytes + bytes,
                        lines,
                    });
                }
                sign = bytes + ahead.sign;
            }
        }
        Ok(ReadOn {
            bytes: piece.text.len(),
            lines: records.read().1,
        })
    }

    fn wrong_length(&self, line: u64, found: usize) -> Error {
        let expected = self.header.fields().len();
        let noun = if expected == 1 { "field" } else { "fields" };
        let error = Error::refused(format!(
            "{}, line {line}: expected {expected} {noun}, found {found}",
            self.name
        ));
        match () {
            () if found < expected => error.hint(format!(
                "to read missing fields as null: {}",
                self.form.declare("ragged", "fill")
            )),
            () if expected == 1 && self.form.delimiter.is_none() => error.hint(format!(
                "if fields are not separated by commas: {}",
                self.form.declare("delimiter", ";")
            )),
            () => error.hint("write a field that contains the delimiter in quotes: \"a,b\""),
        }
    }
}

/// The columns of a file, all of text.
fn columns_of<'a>(
    names: impl ExactSizeIterator<Item = &'a str> + Clone,
    file: &str,
    limits: &Limits,
) -> Result<SchemaRef> {
    limits.check_columns(file, names.clone())?;
    let fields: Vec<Field> = names
        .map(|name| Field::new(name, DataType::Utf8, true))
        .collect();
    canonical_schema(&Schema::new(fields), file)
}

fn not_utf8(place: &str, form: &Form) -> Error {
    Error::refused(format!("{place} is not UTF-8 text")).hint(format!(
        "if it is Windows-1252: {}",
        form.declare("encoding", "windows-1252")
    ))
}
