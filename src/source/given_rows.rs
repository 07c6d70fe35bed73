//! Rows that the calling program holds, such as those of a data frame, as the source of a snapshot.
//!
//! They carry types, as Parquet and Arrow IPC do, and go the same way from there on: canonical
//! types, declared types, limits. They are read once, as they come, and nothing is set aside.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};

use super::parts::{conformed, declared_schema};
use super::{FilesRead, SnapshotSource, SourceRows, TypeRules};
use crate::domain::canonical_batch::to_canonical;
use crate::domain::canonical_types::canonical_schema;
use crate::error::{Context, Error, Result};
use crate::interrupt::check_cancelled;
use crate::storage::Batches;
use crate::storage::parquet::BATCH_ROWS;

/// What footers record as the source.
const NAME: &str = "frame";
/// What messages call the rows.
const PLACE: &str = "the frame";

/// Rows that the calling program holds.
///
/// Their types may be any that asof keeps, in any encoding: views, dictionaries and 64-bit offsets
/// are converted.
pub struct GivenRows {
    schema: SchemaRef,
    batches: Option<Batches>,
}

impl GivenRows {
    /// Rows of a schema, in batches of any size. They are read once, on the thread that takes the
    /// snapshot.
    pub fn new(
        schema: SchemaRef,
        batches: impl IntoIterator<Item = Result<RecordBatch>, IntoIter: Send + 'static>,
    ) -> Self {
        GivenRows {
            schema,
            batches: Some(Box::new(batches.into_iter())),
        }
    }

    /// The columns, as they are given.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl std::fmt::Debug for GivenRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GivenRows")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl SnapshotSource for GivenRows {
    fn name(&self) -> &str {
        NAME
    }

    fn read(&mut self, rules: &TypeRules) -> Result<SourceRows> {
        let batches = self
            .batches
            .take()
            .ok_or_else(|| Error::internal("given rows are read a second time"))?;
        let canonical = canonical_schema(&self.schema, PLACE)?;
        let names = canonical.fields().iter().map(|field| field.name().as_str());
        rules.limits.check_columns(PLACE, names)?;
        let schema = declared_schema(&canonical, rules);
        rules.check(&schema, PLACE)?;
        let rows = pieces(batches).map(move |piece| {
            check_cancelled()?;
            to_canonical(&owned(&piece?)?, &canonical)
        });
        Ok(SourceRows {
            batches: conformed(
                Box::new(rows),
                schema.clone(),
                PLACE.to_owned(),
                true,
                rules,
            ),
            schema,
            count: None,
        })
    }

    fn files(&self) -> Option<FilesRead<'_>> {
        None
    }
}

/// Batches in pieces of the size that everything else is read in: a frame may be one batch.
fn pieces(batches: Batches) -> impl Iterator<Item = Result<RecordBatch>> + Send {
    batches.flat_map(|batch| {
        let (batch, error) = match batch {
            Ok(batch) => (Some(batch), None),
            Err(error) => (None, Some(Err(error))),
        };
        let pieces = batch.into_iter().flat_map(|batch| {
            let rows = batch.num_rows();
            let begins = (0..rows).step_by(BATCH_ROWS);
            begins.map(move |begin| Ok(batch.slice(begin, BATCH_ROWS.min(rows - begin))))
        });
        pieces.chain(error)
    })
}

/// A piece without what it shares with the others, where a conversion would convert all of it: the
/// items of a slice of lists are those of the whole column, and so are the bytes of long texts.
fn owned(piece: &RecordBatch) -> Result<RecordBatch> {
    let shares = |data_type: &DataType| {
        data_type.is_nested() || matches!(data_type, DataType::LargeUtf8 | DataType::LargeBinary)
    };
    let fields = piece.schema_ref().fields();
    if !fields.iter().any(|field| shares(field.data_type())) {
        return Ok(piece.clone());
    }
    let rows: UInt64Array = (0..piece.num_rows() as u64).map(Some).collect();
    let columns = piece.columns().iter().zip(fields);
    let columns = columns.map(|(column, field)| -> Result<ArrayRef> {
        if !shares(column.data_type()) {
            return Ok(Arc::clone(column));
        }
        take(column, &rows, None).internal_context(|| format!("column '{}'", field.name()))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(piece.num_rows()));
    RecordBatch::try_new_with_options(piece.schema(), columns.collect::<Result<_>>()?, &options)
        .internal_context(|| "cannot take rows of the frame".into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{
        AsArray, DictionaryArray, Int64Array, LargeListBuilder, LargeStringArray, StringArray,
        StringBuilder, StringViewArray,
    };
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .expect("a batch")
    }

    fn read(batch: &RecordBatch, rules: &TypeRules) -> Result<RecordBatch> {
        let mut given = GivenRows::new(batch.schema(), vec![Ok(batch.clone())]);
        let rows = given.read(rules)?;
        let batches = rows.batches.collect::<Result<Vec<_>>>()?;
        assert!(batches.iter().all(|batch| batch.num_rows() <= BATCH_ROWS));
        Ok(concat_batches(&rows.schema, &batches).expect("one batch"))
    }

    #[test]
    fn every_encoding_of_a_value_is_that_value() {
        let count = 2 * BATCH_ROWS + 5;
        let texts: Vec<String> = (0..count)
            .map(|row| format!("the text of row {row}"))
            .collect();
        let mut lists = LargeListBuilder::new(StringBuilder::new());
        for text in &texts {
            lists.append_value([Some(text), None]);
        }
        let lists = lists.finish();
        let codes: DictionaryArray<Int32Type> =
            (0..count).map(|row| ["a", "b", "c"][row % 3]).collect();
        let given = batch(vec![
            (
                "id",
                Arc::new(Int64Array::from_iter_values(0..count as i64)) as ArrayRef,
            ),
            ("view", Arc::new(StringViewArray::from_iter_values(&texts))),
            (
                "large",
                Arc::new(LargeStringArray::from_iter_values(&texts)),
            ),
            ("lists", Arc::new(lists)),
            ("code", Arc::new(codes)),
        ]);
        // A slice, as frames are: whatever is before its begin is not its own.
        let given = given.slice(3, count - 3);
        let rows = read(&given, &TypeRules::default()).expect("rows");
        let types: Vec<_> = rows.schema_ref().fields().iter().collect();
        assert_eq!(types[1].data_type(), &DataType::Utf8);
        assert_eq!(types[4].data_type(), &DataType::Utf8);
        for row in [0, 1, BATCH_ROWS - 1, BATCH_ROWS, count - 4] {
            let text = &texts[row + 3];
            assert_eq!(
                rows["id"].as_primitive::<Int64Type>().value(row),
                row as i64 + 3
            );
            for name in ["view", "large"] {
                assert_eq!(rows[name].as_string::<i32>().value(row), text, "{name}");
            }
            let items = rows["lists"].as_list::<i32>().value(row);
            let items: Vec<_> = items.as_string::<i32>().iter().collect();
            assert_eq!(items, [Some(text.as_str()), None]);
            assert_eq!(
                rows["code"].as_string::<i32>().value(row),
                ["a", "b", "c"][(row + 3) % 3]
            );
        }
    }

    #[test]
    fn a_value_that_a_declared_type_does_not_hold_is_named_with_its_row() {
        let given = batch(vec![(
            "price",
            Arc::new(StringArray::from(vec!["1.5", "2", "three"])) as ArrayRef,
        )]);
        let rules = TypeRules {
            declared: BTreeMap::from([("price".to_owned(), DataType::Float64)]),
            ..TypeRules::default()
        };
        let error = read(&given, &rules).expect_err("a refusal");
        assert!(
            error.to_string().starts_with("the frame, row 3: "),
            "{error}"
        );
        assert!(error.to_string().contains("three"), "{error}");
        let rows = read(&given.slice(0, 2), &rules).expect("rows");
        assert_eq!(
            rows["price"].as_primitive::<Float64Type>().values(),
            &[1.5, 2.0]
        );
    }

    #[test]
    fn a_declared_column_that_is_not_there_and_a_type_that_no_table_has_are_refused() {
        let given = batch(vec![(
            "id",
            Arc::new(Int64Array::from(vec![1])) as ArrayRef,
        )]);
        let rules = TypeRules {
            declared: BTreeMap::from([("price".to_owned(), DataType::Float64)]),
            ..TypeRules::default()
        };
        let error = read(&given, &rules).expect_err("a refusal");
        assert!(error.to_string().contains("'price'"), "{error}");

        let months = arrow::array::IntervalYearMonthArray::from(vec![1]);
        let given = batch(vec![("every", Arc::new(months) as ArrayRef)]);
        let error = read(&given, &TypeRules::default()).expect_err("a refusal");
        assert!(
            error
                .to_string()
                .starts_with("the frame: column 'every' is "),
            "{error}"
        );
    }
}
