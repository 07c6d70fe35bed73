//! JSON lines that are read once, as the types that their columns are expected to have.
//!
//! The columns are those of the first object. Each of their types is declared or known from the
//! table's past. A piece of some lines becomes a batch on any processor, a column at a time. Text
//! that is not one object a line, another column, or a value of another type ends that, and the
//! source is to be read again ([`ExpectedTypes`]).
//!
//! Memory: a few pieces of lines and their batches.

use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::lines::{LONGEST_LINE, LinesPiece, PIECE};
use super::shape::is_taken_by;
use crate::domain::canonical_types::canonical_schema;
use crate::error::{Error, Result};
use crate::parallel::each;
use crate::source::observed::Observed;
use crate::source::rules::ExpectedTypes;
use crate::source::type_inference::ValuePlace;
use crate::source::{Input, SourceRows, TypeRules};

/// Reads files as the types that their columns are expected to have; `None` if there is a column of
/// whose type nothing is known.
pub(super) fn read(
    inputs: &[Input],
    rules: &TypeRules,
    expected: &ExpectedTypes,
) -> Result<Option<SourceRows>> {
    let mut pieces = StreamedLines::new(inputs, rules);
    let Some(first) = pieces.next().transpose()? else {
        return Ok(None);
    };
    let name = inputs.first().map_or("the source", |input| &input.name);
    let columns = expected_schema(&first, rules).filter(|columns| is_allowed(columns, rules, name));
    let Some(schema) = columns else {
        return Ok(None);
    };
    let target = ExpectedColumns::new(schema.clone(), rules);
    let expected = expected.clone();
    let batch = move |piece: LinesPiece| {
        target.batch(&piece).ok_or_else(|| {
            expected.miss();
            Error::refused("a value is of another type than its column is expected to have")
        })
    };
    Ok(Some(SourceRows {
        schema,
        batches: Box::new(each(std::iter::once(Ok(first)).chain(pieces), batch)?),
        count: None,
    }))
}

/// The columns of the first object, if the type of each is declared or known so far.
fn expected_schema(piece: &LinesPiece, rules: &TypeRules) -> Option<SchemaRef> {
    let objects = piece.objects()?;
    let (_, fields) = objects.first()?;
    let pins = rules.pins();
    let fields = fields.iter().map(|(name, _)| {
        let known = rules.declared.get(name.as_ref()).or_else(|| pins.of(name));
        let known = known.filter(|known| **known != DataType::Null);
        Some(Field::new(name.as_ref(), known?.clone(), true))
    });
    Some(Arc::new(Schema::new(fields.collect::<Option<Vec<_>>>()?)))
}

/// Whether a table may have the columns, as they are. What is wrong with others is said by whoever
/// reads all values first.
fn is_allowed(columns: &SchemaRef, rules: &TypeRules, name: &str) -> bool {
    let names = columns.fields().iter().map(|field| field.name().as_str());
    rules.limits.check_columns(name, names).is_ok()
        && rules.check(columns, name).is_ok()
        && canonical_schema(columns, name).is_ok_and(|canonical| canonical == *columns)
}

/// Columns whose types are expected.
struct ExpectedColumns {
    schema: SchemaRef,
    /// Whether the type of each is declared. Any value of which a declared type can be made is of
    /// it; a type that is only known from the past takes fewer.
    are_declared: Vec<bool>,
}

impl ExpectedColumns {
    fn new(schema: SchemaRef, rules: &TypeRules) -> Self {
        let is_declared = |field: &Arc<Field>| rules.declared.contains_key(field.name());
        ExpectedColumns {
            are_declared: schema.fields().iter().map(is_declared).collect(),
            schema,
        }
    }

    /// The objects of some lines as a batch; `None` if anything is not as expected.
    fn batch(&self, piece: &LinesPiece) -> Option<RecordBatch> {
        piece.rows(&self.schema, |value, at| {
            self.are_declared[at] || is_taken_by(value, self.schema.field(at).data_type())
        })
    }
}

/// The lines of files in pieces, as they are read.
struct StreamedLines {
    inputs: Vec<Input>,
    observed: Observed,
    /// The text of the file that is being read.
    text: Option<Box<dyn Read + Send>>,
    /// What was read of it behind the last line of the piece before.
    rest: Vec<u8>,
    next: ValuePlace,
    /// How long a line may be to be read here.
    longest: usize,
}

impl StreamedLines {
    fn new(inputs: &[Input], rules: &TypeRules) -> Self {
        let most = usize::try_from(rules.limits.row_bytes).unwrap_or(LONGEST_LINE);
        StreamedLines {
            inputs: inputs.to_vec(),
            observed: rules.observed.clone(),
            text: None,
            rest: Vec::new(),
            next: ValuePlace { file: 0, line: 1 },
            longest: most.min(LONGEST_LINE),
        }
    }

    fn next_piece(&mut self) -> Result<Option<LinesPiece>> {
        loop {
            let Some(input) = self.inputs.get(self.next.file) else {
                return Ok(None);
            };
            let text = match &mut self.text {
                Some(text) => text,
                None => {
                    let (text, read_as) = input.text(&input.reader()?, None)?;
                    self.observed.note(read_as);
                    self.text.insert(text)
                }
            };
            let mut bytes = std::mem::take(&mut self.rest);
            let mut length = PIECE.min(self.longest);
            let (is_end, is_cut) = loop {
                let wanted = length.saturating_sub(bytes.len());
                bytes.reserve_exact(wanted);
                let read = text.take(wanted as u64).read_to_end(&mut bytes);
                read.map_err(|error| input.damaged(&error))?;
                if bytes.len() < length {
                    break (true, false);
                }
                if let Some(last) = memchr::memrchr(b'\n', &bytes) {
                    self.rest = bytes.split_off(last + 1);
                    break (false, false);
                }
                if length > self.longest {
                    break (false, true);
                }
                length *= 2;
            };
            let first = self.next;
            let piece = LinesPiece::new(first, bytes, is_cut);
            self.next.line = piece.next_line();
            if is_end {
                self.text = None;
                self.next = ValuePlace {
                    file: first.file + 1,
                    line: 1,
                };
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

impl Iterator for StreamedLines {
    type Item = Result<LinesPiece>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_piece().transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::testing::{known_types, outcome, scalar_types};

    fn types() -> Vec<DataType> {
        let field = |name: &str, of| Arc::new(Field::new(name, of, true));
        let list = |of| DataType::List(field("item", of));
        let object = |of| DataType::Struct(vec![field("a", of), field("b", DataType::Utf8)].into());
        let mut types = scalar_types();
        types.extend([
            list(DataType::Int64),
            list(DataType::Utf8),
            object(DataType::Int64),
            list(object(DataType::Float64)),
        ]);
        types
    }

    const VALUES: [&str; 40] = [
        "null",
        "null",
        "true",
        "\"true\"",
        "0",
        "-0",
        "7",
        "7.0",
        "-7",
        "300",
        "1.5",
        "1.50",
        "1e3",
        "1.125",
        "1000.00",
        "16777217",
        "9007199254740993",
        "99999999999999999999",
        "3.4e39",
        "\"\"",
        "\"7\"",
        "\"007\"",
        "\"1.5\"",
        "\"x\"",
        "\"\\u0078\\n\"",
        "\"2024-01-01\"",
        "\"2024-01-01T12:00:00.123\"",
        "\"2024-01-01 12:00:00.123456\"",
        "\"2024-01-01T12:00:00+02:00\"",
        "\"12:30:00\"",
        "\"0aff\"",
        "[]",
        "[1]",
        "[1.5, null]",
        "[\"x\", 2]",
        "{}",
        "{\"a\": 1}",
        "{\"a\": \"1\", \"b\": \"x\"}",
        "{\"b\": {\"c\": 1}}",
        "[{\"a\": 1}, {\"a\": 2.5}]",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn what_is_read_as_expected_is_what_all_values_decide(
            columns in prop::collection::vec(
                (
                    prop::sample::select(types()),
                    any::<bool>(),
                    prop::collection::vec(prop::option::weighted(0.9, 0..VALUES.len()), 3),
                ),
                1..4,
            ),
            later in prop::option::weighted(0.1, 0..4usize),
        ) {
            let name = |at: usize| format!("c{at}");
            let row = |row: usize| {
                let values = columns.iter().enumerate().filter_map(|(at, (_, _, values))| {
                    Some(format!("\"{}\": {}", name(at), VALUES[values[row]?]))
                });
                // A field that the first object may not have, or twice.
                let later = later.filter(|_| row == 2).map(|at| format!("\"{}\": 1", name(at)));
                format!("{{{}}}", values.chain(later).collect::<Vec<_>>().join(", "))
            };
            let text = (0..3).map(row).collect::<Vec<_>>().join("\n");
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("x.ndjson");
            std::fs::write(&path, &text).expect("written");
            let typed = || columns.iter().enumerate().map(|(at, column)| (name(at), column));
            let types: Vec<_> =
                typed().map(|(name, (of, is_declared, _))| (name, of.clone(), *is_declared)).collect();
            let rules = known_types(&types);
            let decided = outcome(&path, &rules);
            let expected = ExpectedTypes::default();
            let rules = TypeRules { expected: Some(expected.clone()), ..rules };
            let read = outcome(&path, &rules);
            if expected.are_missed() {
                let of_first = typed().filter(|(_, (_, _, values))| values[0].is_some());
                let known = of_first.map(|(name, (of, ..))| Field::new(name, of.clone(), true));
                let known = Schema::new(known.collect::<Vec<_>>());
                let is_known = decided.as_ref().is_ok_and(|(schema, _)| **schema == known);
                prop_assert!(read.is_err() && !is_known, "{text} {decided:?}");
            } else {
                prop_assert_eq!(read, decided, "{}", text);
            }
        }
    }
}
