//! Conditions over a table's columns: what `--where` says, in every command alike.
//!
//! A condition knows which columns it names, and is evaluated on those alone. Given to a Parquet
//! object as a [`RowCondition`], it also tells by the statistics which row groups cannot hold a row
//! of it.

#[cfg(not(feature = "sql"))]
use std::convert::Infallible as RowFilter;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

#[cfg(feature = "sql")]
use super::sql::RowFilter;
#[cfg(not(feature = "sql"))]
use crate::error::Error;
use crate::error::Result;
use crate::storage::parquet::object::{GroupStatistics, RowCondition};

/// A condition, ready for batches that have its columns. Without SQL there is none.
pub struct Condition(RowFilter);

impl Condition {
    /// Reads a SQL expression over the columns of `schema`.
    ///
    /// # Errors
    /// A usage error that says what is wrong with it: syntax, an unknown column, a type that is not
    /// a truth value, a function whose value is not the same on every run.
    #[cfg(feature = "sql")]
    pub fn parse(text: &str, schema: &SchemaRef) -> Result<Self> {
        super::sql::condition(text, schema, &format!("--where \"{text}\"")).map(Condition)
    }

    /// Refused: this program was built without the feature `sql`.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "sql"))]
    pub fn parse(text: &str, _schema: &SchemaRef) -> Result<Self> {
        Err(Error::usage(format!(
            "--where \"{text}\": this asof was built without SQL"
        ))
        .hint("cargo install asof --features sql"))
    }

    /// Which rows of a batch it holds for; a condition that is null does not hold. A column that
    /// the batch does not have is null.
    ///
    /// # Errors
    /// A refusal if a value cannot be computed, such as a division by zero.
    pub fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        self.holds(batch)
    }
}

#[cfg(feature = "sql")]
impl RowCondition for Condition {
    fn columns(&self) -> &[String] {
        self.0.columns()
    }

    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool> {
        self.0.may_hold(groups)
    }

    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        self.0.holds(batch)
    }
}

#[cfg(not(feature = "sql"))]
impl RowCondition for Condition {
    fn columns(&self) -> &[String] {
        match self.0 {}
    }

    fn may_hold(&self, _: &GroupStatistics<'_>) -> Vec<bool> {
        match self.0 {}
    }

    fn holds(&self, _: &RecordBatch) -> Result<BooleanArray> {
        match self.0 {}
    }
}

/// The names in a condition that may be columns, before it is known which columns there are.
///
/// # Errors
/// A usage error for text that is not an expression.
#[cfg(feature = "sql")]
pub fn names_in(text: &str) -> Result<Vec<String>> {
    super::sql::names_in(text, &format!("--where \"{text}\""))
}

/// Refused: this program was built without the feature `sql`.
///
/// # Errors
/// Always.
#[cfg(not(feature = "sql"))]
pub fn names_in(text: &str) -> Result<Vec<String>> {
    Condition::parse(
        text,
        &std::sync::Arc::new(arrow::datatypes::Schema::empty()),
    )
    .map(|condition| condition.columns().to_vec())
}

/// The columns that a condition names, of those in `schema`.
///
/// # Errors
/// As [`Condition::parse`].
pub fn columns_of(text: &str, schema: &SchemaRef) -> Result<Vec<String>> {
    Ok(Condition::parse(text, schema)?.columns().to_vec())
}

#[cfg(all(test, feature = "sql"))]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};
    use arrow::compute::{concat_batches, filter_record_batch};
    use proptest::prelude::*;

    use super::*;
    use crate::storage::lake::location::Location;
    use crate::storage::object_store::registry::Stores;
    use crate::storage::parquet::footer::Footer;
    use crate::storage::parquet::object::ParquetObject;
    use crate::storage::parquet::writer::ObjectWriter;

    /// Rows whose columns are in order, scattered, with nulls, and with NaN: four row groups and a
    /// bit.
    fn rows() -> RecordBatch {
        let scattered = |row: i64| row.wrapping_mul(2_654_435_761) % 1_000;
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..270_000));
        let groups: ArrayRef = Arc::new(Int64Array::from_iter(
            (0..270_000).map(|row| (row % 7 != 0).then_some(row / 10_000)),
        ));
        let names: ArrayRef =
            Arc::new(StringArray::from_iter((0..270_000).map(|row| {
                (row % 11 != 0).then(|| format!("n{:03}", scattered(row)))
            })));
        let days: ArrayRef = Arc::new(Date32Array::from_iter_values(
            (0..270_000).map(|row| 19_000 + row / 3_000),
        ));
        let prices: ArrayRef =
            Arc::new(Float64Array::from_iter_values((0..270_000).map(
                |row| match row {
                    200_000 => f64::NAN,
                    row => f64::from(i32::try_from(scattered(row)).unwrap_or(0)),
                },
            )));
        let columns = [
            ("id", ids),
            ("g", groups),
            ("name", names),
            ("day", days),
            ("price", prices),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .expect("a batch")
    }

    fn written(batch: &RecordBatch) -> (tempfile::TempDir, Vec<ParquetObject>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let local = Location::local(&path);
        let file = std::fs::File::create(&path).expect("a file");
        let mut writer = ObjectWriter::create(file, &batch.schema(), &["id".to_owned()], &local)
            .expect("a writer");
        writer.write(batch.clone()).expect("written");
        writer.finish(&Footer::sample()).expect("finished");
        let stores = Stores::new(Vec::new(), Default::default()).expect("stores");
        let store = stores.in_memory("memory://test");
        store
            .put("x.parquet", std::fs::read(&path).expect("the bytes"))
            .expect("written");
        let remote = Location::remote(store, "x.parquet");
        (
            folder,
            [local, remote]
                .iter()
                .map(|location| ParquetObject::open(location).expect("it opens"))
                .collect(),
        )
    }

    fn found(object: &ParquetObject, text: &str, columns: &[String]) -> RecordBatch {
        let condition = Arc::new(Condition::parse(text, object.schema()).expect(text));
        let batches: Vec<RecordBatch> = object
            .read_where(Some(columns), Some(condition))
            .expect("a stream")
            .collect::<Result<_>>()
            .expect("rows");
        let schema = object.schema();
        let indices: Vec<usize> = (0..schema.fields().len())
            .filter(|at| columns.contains(schema.field(*at).name()))
            .collect();
        concat_batches(
            &Arc::new(schema.project(&indices).expect("columns")),
            &batches,
        )
        .expect("one batch")
    }

    #[test]
    fn what_is_passed_over_holds_no_row_that_is_wanted() {
        let rows = rows();
        let (_folder, objects) = written(&rows);
        let columns = ["name".to_owned(), "price".to_owned()];
        for text in [
            "id = 123456",
            "id in (5, 269999)",
            "id > 265000 and name is null",
            "g = 13",
            "g is null and id < 100",
            "name = 'n123'",
            "name like 'n99%'",
            "day between date '2022-02-01' and date '2022-02-03'",
            "price > 998",
            "price <> price or id = 7",
            "not (id > 3)",
            "id < 0",
            "g = 3 or name = 'n001'",
            "coalesce(g, 0) = 26",
        ] {
            let mask = Condition::parse(text, &rows.schema())
                .and_then(|condition| condition.mask(&rows))
                .expect(text);
            let expected = filter_record_batch(&rows, &mask)
                .and_then(|rows| rows.project(&[2, 4]))
                .expect("rows");
            for object in &objects {
                let found = found(object, text, &columns);
                assert_eq!(
                    format!("{found:?}"),
                    format!("{expected:?}"),
                    "{text} in {}",
                    object.location()
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_range_is_found_wherever_it_lies(from in -10i64..270_010, length in 0i64..70_000, group in 0i64..30) {
            thread_local! {
                static WRITTEN: (RecordBatch, (tempfile::TempDir, Vec<ParquetObject>)) = { let rows = rows(); let written = written(&rows); (rows, written) };
            }
            let text = format!("id between {from} and {} or g = {group} and id < {from}", from + length);
            WRITTEN.with(|(rows, (_, objects))| {
                let mask = Condition::parse(&text, &rows.schema()).and_then(|condition| condition.mask(rows)).expect("a mask");
                for object in objects {
                    assert_eq!(found(object, &text, &["id".to_owned()]).num_rows(), mask.true_count(), "{text}");
                }
            });
        }
    }

    #[test]
    fn a_declared_type_is_not_judged_by_the_order_of_the_files_own() {
        let codes: ArrayRef = Arc::new(StringArray::from(vec!["10", "9", "50"]));
        let (_folder, objects) = written(
            &RecordBatch::try_from_iter_with_nullable([("code", codes, true)]).expect("a batch"),
        );
        let declared = Arc::new(arrow::datatypes::Schema::new(vec![
            arrow::datatypes::Field::new("code", arrow::datatypes::DataType::Int64, true),
        ]));
        for object in &objects {
            let condition =
                Arc::new(Condition::parse("code = 50", &declared).expect("a condition"));
            let found: Vec<RecordBatch> = object
                .read_where(None, Some(condition))
                .expect("a stream")
                .collect::<Result<_>>()
                .expect("rows");
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
        }
    }

    #[test]
    fn a_value_that_cannot_be_computed_is_refused_as_itself() {
        let (_folder, objects) = written(&rows().slice(0, 100));
        for object in &objects {
            let condition = Arc::new(
                Condition::parse("1 / (id - 50) = 1", object.schema()).expect("a condition"),
            );
            let error = object
                .read_where(None, Some(condition))
                .and_then(|rows| rows.collect::<Result<Vec<_>>>())
                .expect_err("division by zero");
            assert_eq!(error.kind(), crate::error::Kind::Refused);
            assert!(
                error.to_string().contains("--where") && !error.to_string().contains("Parquet"),
                "{error}"
            );
        }
    }
}
