//! CSV and TSV: a file is divided into pieces of whole records, and each value is read as text, and
//! then as its column's type.
//!
//! If the types of all columns are declared or known from the table's past, a piece is read as
//! these types as soon as it has been taken apart. A value of another type ends that, and the
//! source is to be read again ([`ExpectedTypes`]). Otherwise text is set aside until all values
//! have been seen, and their types are known.
//!
//! How a file is written is its dialect ([`super::dialect`]). The first file's order of columns is
//! the table's, with the columns that only later files have at the end. In files that lack a column
//! it is null. Of several files, those without a single byte have no rows: programs that write in
//! parallel leave such parts.
//!
//! Text is set aside as it is written. Where numbers or dates have a notation of their own, they
//! are rewritten when their types are known, so that text stays as it is and errors show what the
//! file has.
//!
//! Records without quotes are split at delimiters (`plain`); the others are read by the `csv` crate.
//!
//! Pieces are worked on by all processors if nothing else is read meanwhile. Memory: as many pieces
//! as there are processors and two more, each as text and as arrays.

mod aside;
mod file;
mod pieces;
mod plain;
mod quotes;
mod records;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::datatypes::{Field, Schema, SchemaRef};

use self::aside::{Placed, TextAside};
use self::file::{CsvFile, FileColumns, FilePieces};
use self::pieces::RecordPiece;
use super::dialect::Form;
use super::type_inference::{Guess, is_understood};
use super::{ExpectedTypes, HEAD_ROWS, Input, SourceRows, TypeRules};
use crate::domain::cast::conform;
use crate::domain::notation::Notation;
use crate::error::{Context, Error, Result};
use crate::parallel::each;
use crate::storage::Batches;
use crate::storage::lake::read::ObjectReader;

const SPILL: &str = "cannot write to the temporary folder (TMPDIR)";

/// Reads files with a declared delimiter, the `delimiter` of their format, or one that is detected.
pub(super) fn read(
    inputs: &[Input],
    delimiter: Option<u8>,
    rules: &TypeRules,
) -> Result<SourceRows> {
    let form = Arc::new(Form {
        section: rules.section.clone(),
        limits: rules.limits,
        ..Form::of(&rules.csv, delimiter)?
    });
    let files = Files::open(inputs, form, rules)?;
    if let Some(expected) = rules.expected.as_ref().filter(|_| rules.is_alone)
        && let Some(schema) = expected_types(&files.schema, rules)
    {
        rules.check(&files.schema, &inputs[0].name)?;
        return read_as_expected(files, schema, expected.clone());
    }
    read_aside(files, rules)
}

/// The columns in the types that are declared or that they had so far, if each of them has one that
/// text is read as.
fn expected_types(text: &Schema, rules: &TypeRules) -> Option<SchemaRef> {
    let pins = rules.pins();
    let fields = text.fields().iter().map(|field| {
        let pinned = || pins.of(field.name()).filter(|pinned| is_understood(pinned));
        let data_type = rules.declared(field.name()).or_else(pinned)?;
        Some(Field::new(field.name(), data_type.clone(), true))
    });
    Some(Arc::new(Schema::new(fields.collect::<Option<Vec<_>>>()?)))
}

/// Reads files as the types that their columns are expected to have.
fn read_as_expected(
    files: Files,
    schema: SchemaRef,
    expected: ExpectedTypes,
) -> Result<SourceRows> {
    let notation = files.form.notation.clone();
    let target = schema.clone();
    let typed = move |(file, piece): (Arc<OpenFile>, RecordPiece)| {
        let text = file.rows(&piece)?.rows;
        let values = in_types(&text, &target, &notation);
        own_text(&values.inspect_err(|_| expected.miss())?)
    };
    Ok(SourceRows {
        schema,
        batches: Box::new(each(files, typed)?),
        count: None,
    })
}

/// Reads files as text, and then as the types that all values have.
fn read_aside(mut files: Files, rules: &TypeRules) -> Result<SourceRows> {
    let mut aside = TextAside::new(files.schema.clone(), rules, &files.form)?;
    let rows = |(file, piece): (Arc<OpenFile>, RecordPiece)| file.rows(&piece);
    if rules.is_alone {
        let mut pieces = each(files.by_ref(), rows)?;
        pieces.try_for_each(|placed| aside.take(placed?))?;
    } else {
        files.try_for_each(|piece| aside.take(rows(piece?)?))?;
    }
    let Files {
        inputs,
        form,
        is_comma_free,
        ..
    } = files;
    rules.check(&aside.schema, &inputs[0].name)?;
    let text = aside.schema.clone();
    let (texts, guesses) = aside.into_rows()?;
    let schema = decide(&text, &guesses, &inputs, rules)?;
    for (field, guess) in schema.fields().iter().zip(&guesses) {
        if let Some((commas, example)) = guess.commas().filter(|_| is_comma_free) {
            rules.observed.note_commas(field.name(), commas, example);
        }
    }
    let (target, name) = (schema.clone(), inputs[0].name.clone());
    let convert = move |batch: RecordBatch| {
        let values = in_types(&batch, &target, &form.notation);
        values.map_err(|error| error.within(&name))
    };
    let batches: Batches = if rules.is_alone {
        Box::new(each(texts, move |batch| own_text(&convert(batch)?))?)
    } else {
        Box::new(texts.map(move |batch| convert(batch?)))
    };
    Ok(SourceRows {
        schema,
        batches,
        count: None,
    })
}

/// The columns in the types that are declared, or that their values decide.
fn decide(
    text: &SchemaRef,
    guesses: &[Guess],
    inputs: &[Input],
    rules: &TypeRules,
) -> Result<SchemaRef> {
    let fields = text.fields().iter().zip(guesses).map(|(field, guess)| {
        let decided = guess
            .decide(field.name(), inputs)
            .map_err(|error| error.hint(rules.as_text(field.name(), "the text as it is")));
        let data_type = rules.of_column(decided)?;
        Ok(Field::new(field.name(), data_type, true))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// A file that is read, and where its columns stand among those of all files.
struct OpenFile {
    file: CsvFile,
    columns: FileColumns,
    /// The most rows of it that are read.
    most: usize,
}

impl OpenFile {
    fn rows(&self, piece: &RecordPiece) -> Result<Placed> {
        self.file.rows(piece, &self.columns, self.most)
    }
}

/// The pieces of all files, each of which is opened when those before it have been read.
struct Files {
    inputs: Vec<Input>,
    objects: Vec<ObjectReader>,
    form: Arc<Form>,
    rules: TypeRules,
    /// The columns of all files, all of text.
    schema: SchemaRef,
    /// How many files have been opened.
    opened: usize,
    current: Option<(Arc<OpenFile>, FilePieces)>,
    /// Whether no file has the comma as its delimiter.
    is_comma_free: bool,
}

impl Files {
    /// Looks at the columns of all files, and opens the first.
    fn open(inputs: &[Input], form: Arc<Form>, rules: &TypeRules) -> Result<Self> {
        // Many parts may be more than the files that may be open.
        let released = |input: &Input| {
            let object = input.reader();
            object.map(|mut object| (object.release(), object).1)
        };
        let objects = inputs.iter().map(released).collect::<Result<Vec<_>>>()?;
        let mut files = Files {
            inputs: inputs.to_vec(),
            objects,
            form,
            rules: rules.clone(),
            schema: Arc::new(Schema::empty()),
            opened: 0,
            current: None,
            is_comma_free: true,
        };
        if inputs.is_empty() {
            return Err(Error::usage("there are no files to read"));
        }
        if files.are_parts() {
            files.schema = columns_of_all(&files)?;
        } else {
            files.open_next()?;
        }
        Ok(files)
    }

    fn are_parts(&self) -> bool {
        self.inputs.len() > 1
    }

    /// Opens the next file, if there is one; `false` if not.
    fn open_next(&mut self) -> Result<bool> {
        let number = self.opened;
        let Some((input, object)) = self.inputs.get(number).zip(self.objects.get(number)) else {
            return Ok(false);
        };
        self.opened += 1;
        let Some(opened) = CsvFile::open(input, object, &self.form, self.are_parts())? else {
            return Ok(true);
        };
        let file = opened.file;
        self.rules.observed.note(opened.read_as);
        self.is_comma_free &= file.delimiter != b',';
        if !self.are_parts() {
            self.schema = file.header.clone();
        }
        let columns = file.columns(&self.schema, number)?;
        let most = match self.rules.only_columns {
            true => HEAD_ROWS,
            false => usize::MAX,
        };
        let file = OpenFile {
            file,
            columns,
            most,
        };
        self.current = Some((Arc::new(file), opened.rows));
        Ok(true)
    }

    fn next_piece(&mut self) -> Result<Option<(Arc<OpenFile>, RecordPiece)>> {
        loop {
            if let Some((file, pieces)) = &mut self.current
                && let Some(piece) = pieces.next()
            {
                let next = (file.clone(), piece?);
                if self.rules.only_columns {
                    // Its first piece is enough.
                    self.current = None;
                }
                return Ok(Some(next));
            }
            self.current = None;
            if !self.open_next()? {
                return Ok(None);
            }
        }
    }
}

impl Iterator for Files {
    type Item = Result<(Arc<OpenFile>, RecordPiece)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_piece().transpose()
    }
}

/// The values of a batch of text, of which each is known to be of its type, or an error.
fn in_types(text: &RecordBatch, target: &SchemaRef, notation: &Notation) -> Result<RecordBatch> {
    if notation.is_standard() {
        return conform(text, target);
    }
    conform(&in_standard_notation(text, target, notation)?, target)
}

/// The text of a batch with every value in the standard spelling of its type.
fn in_standard_notation(
    batch: &RecordBatch,
    target: &SchemaRef,
    notation: &Notation,
) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(target.fields())
        .map(|(column, field)| {
            let standard = notation.standard_column(column.as_string(), field.data_type());
            // Every value was seen to be of the type.
            standard
                .map(|texts| Arc::new(texts) as ArrayRef)
                .map_err(|_| Error::io(format!("column '{}' has changed", field.name())))
        });
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_>>()?)
        .io_context(|| "cannot rewrite text".into())
}

/// The batch with text of its own, and no room for more. Text that was set aside is a part of a
/// buffer that has the text of all columns, and would keep all of it in memory.
fn own_text(batch: &RecordBatch) -> Result<RecordBatch> {
    let doing = || "cannot copy text".to_owned();
    let columns = batch.columns().iter().map(|column| {
        let Some(texts) = column.as_string_opt::<i32>() else {
            return Ok(column.clone());
        };
        let mut own = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        own.append_array(texts).internal_context(doing)?;
        Ok(Arc::new(own.finish()) as ArrayRef)
    });
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_>>()?).internal_context(doing)
}

/// The columns of all files, in the order of their first appearance.
fn columns_of_all(files: &Files) -> Result<SchemaRef> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut seen = HashSet::new();
    let mut is_all_empty = true;
    for (input, object) in files.inputs.iter().zip(&files.objects) {
        let Some(opened) = CsvFile::open(input, object, &files.form, true)? else {
            continue;
        };
        is_all_empty = false;
        let header = opened.file.header;
        let new = header.fields().iter();
        fields.extend(
            new.filter(|field| seen.insert(field.name().clone()))
                .cloned(),
        );
    }
    if is_all_empty {
        let name = files.inputs.first();
        let name = name.map_or("the source", |input| input.name.as_str());
        return Err(Error::refused(format!(
            "all {} files are empty, without even a header; {name} is the first",
            files.inputs.len()
        )));
    }
    Ok(Arc::new(Schema::new(fields)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{known_types, outcome, scalar_types};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn what_is_read_as_expected_is_what_all_values_decide(
            columns in prop::collection::vec(
                (prop::sample::select(scalar_types()), any::<bool>(), prop::collection::vec(
                    prop::sample::select(vec![
                        "", "", "0", "1", "-1", "-0", "007", "+1", " 1", "300", "1.5", "1.50", "1.125",
                        "999.99", "1000.00", "1e3", "NaN", "inf", "1,5", "16777217", "4294967296",
                        "9007199254740993", "99999999999999999999", "0.1", "3.4e39", "true", "TRUE", "t",
                        "2024-01-01", "2024-02-30", "2024-01-01 00:00:00", "2024-01-01T12:00:00.123",
                        "2024-01-01 12:00:00.123456", "2024-01-01 12:00:00.123456789Z",
                        "2024-01-01T12:00:00+02:00", "1500-01-01 00:00:00", "12:30:00", "12:30:00.5",
                        "0aff", "x",
                    ]), 3)),
                1..4),
        ) {
            let header: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
            let row = |row: usize| {
                let values: Vec<String> =
                    columns.iter().map(|(_, _, values)| format!("\"{}\"", values[row])).collect();
                values.join(",")
            };
            let text: Vec<String> = std::iter::once(header.join(",")).chain((0..3).map(row)).collect();
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("x.csv");
            std::fs::write(&path, text.join("\n")).expect("written");
            let typed = || header.iter().zip(&columns);
            let types: Vec<_> = typed()
                .map(|(name, (of, is_declared, _))| (name.clone(), of.clone(), *is_declared))
                .collect();
            let rules = known_types(&types);
            let decided = outcome(&path, &rules);
            let expected = ExpectedTypes::default();
            let rules = TypeRules { expected: Some(expected.clone()), ..rules };
            let read = outcome(&path, &rules);
            if expected.are_missed() {
                let known = Schema::new(typed().map(|(name, (of, ..))| {
                    Field::new(name, of.clone(), true)
                }).collect::<Vec<_>>());
                let is_known = decided.as_ref().is_ok_and(|(schema, _)| **schema == known);
                prop_assert!(read.is_err() && !is_known, "{text:?} {decided:?}");
            } else {
                prop_assert_eq!(read, decided, "{:?}", text);
            }
        }
    }
}
