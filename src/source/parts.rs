//! Files that carry their types, Parquet, Arrow IPC and Avro: opened for their schemas, unified,
//! and read one after the other.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

use super::arrow_ipc::ArrowFile;
#[cfg(feature = "avro")]
use super::avro::AvroFile;
use super::{Format, Input, TypeRules};
use crate::domain::cast::{cast_exactly, conform};
use crate::domain::schema::unify;
use crate::domain::type_names::type_name;
use crate::domain::widening::widen;
use crate::error::{Error, Result};
use crate::storage::Batches;
use crate::storage::parquet::object::{ParquetObject, RowCondition};

/// A file that carries its types, opened for its schema. It is not held open.
pub(super) enum Part {
    Parquet(Box<ParquetObject>),
    Arrow(Box<ArrowFile>),
    #[cfg(feature = "avro")]
    Avro(Box<AvroFile>),
}

impl Part {
    fn open(input: &Input, format: Format) -> Result<Self> {
        match format {
            Format::Arrow => Ok(Part::Arrow(Box::new(ArrowFile::open(input)?))),
            #[cfg(feature = "avro")]
            Format::Avro => Ok(Part::Avro(Box::new(AvroFile::open(input)?))),
            #[cfg(not(feature = "avro"))]
            Format::Avro => Err(Error::usage(format!(
                "{} is an Avro file, and this asof was built without Avro",
                input.name
            ))
            .hint("cargo install asof --features avro")),
            _ => Ok(Part::Parquet(Box::new(ParquetObject::open_listed(
                &input.object,
            )?))),
        }
    }

    fn schema(&self) -> &SchemaRef {
        match self {
            Part::Parquet(object) => object.schema(),
            Part::Arrow(file) => &file.schema,
            #[cfg(feature = "avro")]
            Part::Avro(file) => &file.schema,
        }
    }

    /// Reads every row; on all processors, if the rules say that nothing else is read meanwhile.
    pub(super) fn read(&self, is_alone: bool) -> Result<Batches> {
        match self {
            Part::Parquet(object) if is_alone => object.read_on_all_processors(None),
            Part::Parquet(object) => object.read(None),
            Part::Arrow(file) => file.read(),
            #[cfg(feature = "avro")]
            Part::Avro(file) => file.read(),
        }
    }

    pub(super) fn read_as_dictionaries(&self, texts: &[String]) -> Result<Batches> {
        match self {
            Part::Parquet(object) => {
                let mut known = object.texts_in_dictionaries();
                known.retain(|text| texts.contains(text));
                object.in_dictionaries(&known)?.read(None)
            }
            Part::Arrow(file) => file.read(),
            #[cfg(feature = "avro")]
            Part::Avro(file) => file.read(),
        }
    }

    /// Reads the named columns; of Parquet only rows for which the condition holds, and only those
    /// of some row groups, if these are told.
    pub(super) fn read_where(
        &self,
        columns: &[String],
        condition: Option<&Arc<dyn RowCondition>>,
        groups: Option<Range<usize>>,
    ) -> Result<Batches> {
        match self {
            Part::Parquet(object) => {
                let mut may_hold = object.groups_where(condition);
                if let Some(groups) = groups {
                    may_hold.retain(|group| groups.contains(group));
                }
                object.read_groups_where(Some(columns), condition.cloned(), may_hold)
            }
            Part::Arrow(file) => file.read(),
            #[cfg(feature = "avro")]
            Part::Avro(file) => file.read(),
        }
    }
}

/// The files of one table that carry their types, and the schema that holds all of them.
pub(super) struct Parts {
    parts: Vec<(Part, String)>,
    pub(super) schema: SchemaRef,
    rules: TypeRules,
}

impl Parts {
    pub(super) fn open(inputs: &[Input], format: Format, rules: &TypeRules) -> Result<Self> {
        if let Some(input) = inputs.first() {
            rules.check_csv(format, &input.name)?;
        }
        let mut parts = Vec::with_capacity(inputs.len());
        for input in inputs {
            let part = Part::open(input, format)?;
            let columns = part.schema().fields().iter();
            let names = columns.map(|field| field.name().as_str());
            rules.limits.check_columns(&input.name, names)?;
            parts.push((part, input.name.clone()));
        }
        let schemas: Vec<(SchemaRef, &str)> = parts
            .iter()
            .map(|(part, name)| (declared_schema(part.schema(), rules), name.as_str()))
            .collect();
        let schema = unify_parts(&schemas, rules)?;
        rules.check(&schema, &inputs[0].name)?;
        let schema = in_settled_units(&parts, &schema, rules)?;
        Ok(Parts {
            schema,
            parts,
            rules: rules.clone(),
        })
    }

    /// The number of rows of all files; `None` if a footer does not record it.
    pub(super) fn count(&self) -> Option<u64> {
        let rows = |(part, _): &(Part, String)| match part {
            Part::Parquet(object) => Some(object.rows()),
            _ => None,
        };
        self.parts.iter().map(rows).sum()
    }

    /// How many rows each row group of each file has.
    pub(super) fn groups(&self) -> Vec<Vec<u64>> {
        let groups = |(part, _): &(Part, String)| match part {
            Part::Parquet(object) => object.rows_of_groups(),
            _ => Vec::new(),
        };
        self.parts.iter().map(groups).collect()
    }

    /// Whether each file has a text column in short dictionaries, or has no text in it.
    pub(super) fn have_in_dictionaries(&self, text: &String) -> bool {
        self.parts.iter().all(|(part, _)| match part {
            Part::Parquet(object) => match object.schema().field_with_name(text) {
                Ok(field) => {
                    field.data_type() == &DataType::Null
                        || object.texts_in_dictionaries().contains(text)
                }
                Err(_) => true,
            },
            _ => false,
        })
    }

    /// Reads one file after the other, each brought into `target`. A file is opened when the one
    /// before it ends. `is_all` says that every row is read, so that a refusal can tell its number.
    /// `read` is also given the number of the file.
    pub(super) fn read(
        self: Arc<Self>,
        target: SchemaRef,
        is_all: bool,
        read: impl Fn(usize, &Part) -> Result<Batches> + Send + 'static,
    ) -> Batches {
        let batches = (0..self.parts.len()).flat_map(move |at| {
            let (part, name) = &self.parts[at];
            let name = name.clone();
            let target = target.clone();
            let rows = read(at, part);
            let rows: Batches = rows.unwrap_or_else(|error| Box::new(std::iter::once(Err(error))));
            conformed(rows, target, name, is_all, &self.rules)
        });
        Box::new(batches)
    }
}

/// Rows of a source that carries types, brought into `target`. Messages call the source `name`, and
/// tell the number of a row if `is_all`: every row of the source is read.
pub(super) fn conformed(
    rows: Batches,
    target: SchemaRef,
    name: String,
    is_all: bool,
    rules: &TypeRules,
) -> Batches {
    let mut before = 0;
    let limits = rules.limits;
    let mistyped = rules.mistyped.clone();
    Box::new(rows.map(move |batch| {
        let batch = batch?;
        if let Some((row, column)) = limits.first_long_row(&batch) {
            let place = if is_all {
                format!("{name}, row {}", before + row + 1)
            } else {
                name.clone()
            };
            return Err(limits.long_row(&place, Some(column)));
        }
        let conformed = conform(&batch, &target).map_err(|error| {
            if let Some(mistyped) = &mistyped {
                mistyped.note_columns(&batch, &target);
            }
            let numbered = is_all
                .then(|| refused_row(&batch, &target, before, &name))
                .flatten();
            numbered.unwrap_or_else(|| error.within(&name))
        });
        before += batch.num_rows();
        conformed
    }))
}

/// The schema in which times of several units are in microseconds, if files have one beyond the
/// years that nanoseconds hold: only then is it read for that. Digits below microseconds in other
/// files are refused when they come.
fn in_settled_units(
    parts: &[(Part, String)],
    schema: &SchemaRef,
    rules: &TypeRules,
) -> Result<SchemaRef> {
    let settled = schema.fields().iter().map(|field| {
        let DataType::Timestamp(TimeUnit::Nanosecond, zone) = field.data_type() else {
            return Ok(field.clone());
        };
        let coarser = |part: &Part| {
            part.schema()
                .field_with_name(field.name())
                .is_ok_and(|own| own.data_type() != field.data_type())
        };
        if rules.declared.contains_key(field.name()) {
            return Ok(field.clone());
        }
        let name = std::slice::from_ref(field.name());
        for (part, _) in parts.iter().filter(|(part, _)| coarser(part)) {
            for batch in part.read_where(name, None, None)? {
                let batch = batch?;
                let times = batch.column_by_name(field.name());
                if times.is_some_and(|times| {
                    cast_exactly(times, field.data_type(), field.name()).is_err()
                }) {
                    let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                    return Ok(Arc::new(field.as_ref().clone().with_data_type(micros)));
                }
            }
        }
        Ok(field.clone())
    });
    Ok(Arc::new(Schema::new(settled.collect::<Result<Vec<_>>>()?)))
}

/// The refusal of the first row of a batch that cannot be brought into a schema, with its number,
/// after so many rows of its file.
pub(super) fn refused_row(
    batch: &RecordBatch,
    target: &SchemaRef,
    before: usize,
    name: &str,
) -> Option<Error> {
    let refused = |row: usize| {
        conform(&batch.slice(row, 1), target)
            .err()
            .map(|error| error.within(format!("{name}, row {}", before + row + 1)))
    };
    (0..batch.num_rows()).find_map(refused)
}

/// The schema that holds the schemas of the files of one table, as the schemas of dates are
/// unified.
fn unify_parts(schemas: &[(SchemaRef, &str)], rules: &TypeRules) -> Result<SchemaRef> {
    let Some(((first, _), others)) = schemas.split_first() else {
        return Err(Error::usage("there are no files to read"));
    };
    let mut all = first.clone();
    for (at, (schema, name)) in others.iter().enumerate() {
        let unified = unify(&all, schema).map_err(|clashes| {
            let clash = &clashes.0[0];
            let type_in = |schema: &SchemaRef| {
                schema
                    .field_with_name(&clash.column)
                    .ok()
                    .map(|field| field.data_type().clone())
            };
            let typed = schemas[..=at]
                .iter()
                .filter_map(|(schema, name)| Some((type_in(schema)?, *name)));
            let (from, other) = typed
                .clone()
                .find(|(data_type, _)| widen(data_type, &clash.to).is_none())
                .or_else(|| typed.clone().next_back())
                .unwrap_or((clash.from.clone(), schemas[0].1));
            Error::refused(format!(
                "column '{}' is {} in {other} and {} in {name}, and no type holds both",
                clash.column,
                type_name(&from),
                type_name(&clash.to)
            ))
            .hint(rules.as_text(&clash.column, "the values as text"))
        })?;
        all = unified.0;
    }
    Ok(all)
}

/// The schema with declared types in the place of its own.
pub(super) fn declared_schema(schema: &SchemaRef, rules: &TypeRules) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| match rules.declared.get(field.name()) {
            Some(data_type) => field.as_ref().clone().with_data_type(data_type.clone()),
            None => field.as_ref().clone(),
        });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;

    use super::*;
    use crate::source::testing::{lines, read_all, typed_file};
    use crate::source::{FormatRule, read, read_as_dictionaries, read_columns};
    use crate::storage::lake::partitions::local_object;

    #[test]
    fn files_of_one_table_unify_as_dates_do() {
        use arrow::array::{
            Decimal128Array, Int32Array, Int64Array, NullArray, StringArray,
            TimestampMicrosecondArray, TimestampNanosecondArray,
        };
        let decimal = |value, precision, scale| -> ArrayRef {
            Arc::new(
                Decimal128Array::from(vec![value])
                    .with_precision_and_scale(precision, scale)
                    .expect("a decimal"),
            )
        };
        let pairs: Vec<(ArrayRef, Option<ArrayRef>, &str, [&str; 2])> = vec![
            (
                Arc::new(NullArray::new(1)),
                Some(Arc::new(StringArray::from(vec!["y"]))),
                "text",
                ["", "y"],
            ),
            (
                Arc::new(Int32Array::from(vec![1])),
                Some(Arc::new(Int64Array::from(vec![1 << 40]))),
                "int64",
                ["1", "1099511627776"],
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1])),
                Some(Arc::new(TimestampNanosecondArray::from(vec![1]))),
                "timestamp(ns)",
                [
                    "1970-01-01T00:00:00.000001",
                    "1970-01-01T00:00:00.000000001",
                ],
            ),
            (
                decimal(15, 3, 1),
                Some(decimal(12_345, 5, 2)),
                "decimal(5, 2)",
                ["1.50", "123.45"],
            ),
            (
                Arc::new(StringArray::from(vec!["x"])),
                None,
                "text",
                ["x", ""],
            ),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        for ending in ["parquet", "arrow"] {
            for (one, other, expected, texts) in &pairs {
                for turned in [false, true] {
                    let id = || -> ArrayRef { Arc::new(Int64Array::from(vec![7])) };
                    let mut parts = [
                        vec![("id", id()), ("v", one.clone())],
                        [
                            vec![("id", id())],
                            other.iter().map(|other| ("v", other.clone())).collect(),
                        ]
                        .concat(),
                    ];
                    let mut texts = *texts;
                    if turned {
                        parts.reverse();
                        texts.reverse();
                    }
                    let [first, second] = parts;
                    let files = [
                        typed_file(folder.path(), &format!("a.{ending}"), first),
                        typed_file(folder.path(), &format!("b.{ending}"), second),
                    ];
                    let format = FormatRule::default().of(&files).expect("a format");
                    let rules = TypeRules::default();
                    let column = ["v".to_owned()];
                    let whole = read(&files, format, &rules, None).expect("they unify");
                    assert_eq!(
                        type_name(whole.schema.field_with_name("v").expect("v").data_type()),
                        *expected
                    );
                    let few =
                        read_as_dictionaries(&files, format, &rules, &[]).expect("they unify");
                    assert_eq!(few.schema, whole.schema);
                    let one_column =
                        read_columns(&files, format, &rules, &column, None).expect("they unify");
                    for batches in [whole.batches, few.batches, one_column] {
                        let found: Vec<String> = batches
                            .map(|batch| {
                                crate::domain::cast::display(
                                    batch.expect("rows").column_by_name("v").expect("v"),
                                    0,
                                )
                            })
                            .collect();
                        assert_eq!(found, texts, "{ending}, {expected}");
                    }
                }
            }
            let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
            let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
            let null: ArrayRef = Arc::new(NullArray::new(1));
            let files = [("0", null), ("1", text), ("2", number)].map(|(name, column)| {
                typed_file(
                    folder.path(),
                    &format!("{name}.{ending}"),
                    vec![("v", column)],
                )
            });
            let error = read_all(&files, &TypeRules::default(), None)
                .err()
                .expect("no type holds both");
            let said = error.to_string();
            assert!(
                said.contains("column 'v' is text in")
                    && said.contains(&format!("1.{ending}' and int32 in")),
                "{said}"
            );
            let declared = TypeRules {
                declared: [("v".to_owned(), DataType::Utf8)].into(),
                ..TypeRules::default()
            };
            assert_eq!(
                read_all(&files, &declared, None)
                    .expect("declared")
                    .batches
                    .count(),
                3
            );
        }
    }

    #[test]
    fn times_of_several_units_are_in_the_unit_that_holds_them() {
        use arrow::array::{TimestampMicrosecondArray, TimestampNanosecondArray};
        const YEAR_9999: i64 = 253_402_300_799_000_000;
        let folder = tempfile::tempdir().expect("a folder");
        for ending in ["parquet", "arrow"] {
            let files = |micros: i64, nanos: i64| {
                let columns: [(&str, ArrayRef); 2] = [
                    ("a", Arc::new(TimestampMicrosecondArray::from(vec![micros]))),
                    ("b", Arc::new(TimestampNanosecondArray::from(vec![nanos]))),
                ];
                columns.map(|(name, column)| {
                    typed_file(
                        folder.path(),
                        &format!("{name}.{ending}"),
                        vec![("at", column)],
                    )
                })
            };
            let shown = |micros: i64, nanos: i64| {
                let rows = read_all(&files(micros, nanos), &TypeRules::default(), None)?;
                rows.batches
                    .map(|batch| Ok(lines(&batch?).join("")))
                    .collect::<Result<Vec<_>>>()
            };
            assert_eq!(
                shown(YEAR_9999, 1000).expect("microseconds hold both"),
                ["9999-12-31T23:59:59", "1970-01-01T00:00:00.000001"]
            );
            assert_eq!(
                shown(1, 1).expect("nanoseconds hold both"),
                [
                    "1970-01-01T00:00:00.000001",
                    "1970-01-01T00:00:00.000000001"
                ]
            );
            let error = shown(YEAR_9999, 1)
                .expect_err("no unit holds both")
                .to_string();
            assert!(
                error.contains(&format!(
                    "b.{ending}', row 1: column 'at': the value 1970-01-01T00:00:00.000000001"
                )),
                "{error}"
            );
        }
    }

    #[test]
    fn texts_that_all_files_have_in_short_dictionaries_come_as_dictionaries() {
        use arrow::array::{AsArray, StringArray};
        use parquet::arrow::ArrowWriter;
        use parquet::file::properties::WriterProperties;
        let folder = tempfile::tempdir().expect("a folder");
        let texts = |of: &dyn Fn(u32) -> Option<String>| -> ArrayRef {
            Arc::new((0..3000).map(of).collect::<StringArray>())
        };
        let few = || texts(&|row| (row % 7 > 0).then(|| format!("kind {}", row % 7)));
        let columns = |odd: ArrayRef| {
            let many = texts(&|row| {
                Some(format!(
                    "{row} of many, which are longer than a short dictionary has room for: \
                     {row:>32}"
                ))
            });
            let large: ArrayRef =
                Arc::new(arrow::compute::cast(&few(), &DataType::LargeUtf8).expect("texts"));
            RecordBatch::try_from_iter([
                ("key", few()),
                ("few", few()),
                ("odd", odd),
                ("many", many),
                ("large", large),
                ("declared", few()),
            ])
        };
        let written = |name: &str, has_dictionary: bool, columns: RecordBatch| {
            let path = folder.path().join(name);
            let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1100));
            let properties = properties
                .set_column_dictionary_enabled("odd".into(), has_dictionary)
                .build();
            let file = std::fs::File::create(&path).expect("a file");
            let mut writer =
                ArrowWriter::try_new(file, columns.schema(), Some(properties)).expect("a writer");
            writer.write(&columns).expect("written");
            writer.close().expect("closed");
            local_object(&path).expect("a file")
        };
        let one = written("a.parquet", true, columns(few()).expect("columns"));
        let other = written("b.parquet", false, columns(few()).expect("columns"));
        let rules = TypeRules {
            declared: [("declared".to_owned(), DataType::Utf8)].into(),
            ..TypeRules::default()
        };
        for (files, expected) in [
            (vec![one.clone()], vec!["few", "odd", "large"]),
            (vec![one, other], vec!["few", "large"]),
        ] {
            let plain = read_all(&files, &rules, None).expect("they read");
            let rows = read_as_dictionaries(&files, Format::Parquet, &rules, &["key".to_owned()])
                .expect("they read");
            assert_eq!(rows.schema, plain.schema);
            let batches = rows.batches.collect::<Result<Vec<_>>>().expect("rows");
            let plain = plain.batches.collect::<Result<Vec<_>>>().expect("rows");
            for name in ["key", "few", "odd", "many", "large", "declared"] {
                let values = |batches: &[RecordBatch]| -> Vec<Option<String>> {
                    let texts = |batch: &RecordBatch| {
                        let column = batch.column_by_name(name).expect("a column");
                        assert!(
                            expected.contains(&name) || column.data_type() == &DataType::Utf8,
                            "{name}"
                        );
                        arrow::compute::cast(column, &DataType::Utf8).expect("texts")
                    };
                    let all: Vec<ArrayRef> = batches.iter().map(texts).collect();
                    all.iter()
                        .flat_map(|texts| {
                            texts
                                .as_string::<i32>()
                                .iter()
                                .map(|text| text.map(str::to_owned))
                                .collect::<Vec<_>>()
                        })
                        .collect()
                };
                assert_eq!(values(&batches), values(&plain), "{name}");
                let is_dictionary = |batch: &RecordBatch| {
                    matches!(
                        batch.column_by_name(name).expect("a column").data_type(),
                        DataType::Dictionary(..)
                    )
                };
                assert!(
                    batches
                        .iter()
                        .all(|batch| is_dictionary(batch) == expected.contains(&name)),
                    "{name}"
                );
            }
        }
    }
}
