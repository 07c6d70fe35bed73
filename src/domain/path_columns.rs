//! Columns that a partition's path has: readers of Hive-partitioned Parquet make `date=2024-01-31`
//! a column `date`.
//!
//! A file in that partition with a column of that name is one that pandas and pyarrow refuse and in
//! which DuckDB shows the path's value. If the column has the path's value in every row, it is left
//! to the path, as Hive does. If not, the data is refused: either way no reader sees another value
//! than the one that was written.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Int64Array, RecordBatch, RecordBatchOptions, Scalar, StringArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::compute::kernels::cmp::distinct;
use arrow::datatypes::{DataType, Date32Type, Schema, SchemaRef};
use chrono::NaiveDate;

use super::cast::quoted;
use super::layout::Layout;
use super::text;
use crate::error::{Context, Error, Result};

/// A column of rows whose name a part of the partition's path has.
struct PathColumn {
    /// The index of the column.
    index: usize,
    name: String,
    /// The value that the path has for it.
    value: String,
}

/// The columns of rows that a partition's path has too.
pub struct PathColumns {
    columns: Vec<PathColumn>,
    /// The indices of the others.
    others: Vec<usize>,
    schema: SchemaRef,
}

impl PathColumns {
    /// Compares columns with the path of a date. Names are compared without case, as Spark and
    /// DuckDB do.
    pub fn of(schema: &SchemaRef, layout: &Layout, date: NaiveDate) -> Self {
        let path = layout.path(date);
        let parts: Vec<(&str, &str)> = path
            .split('/')
            .filter_map(|part| part.split_once('='))
            .collect();
        let mut columns = Vec::new();
        let mut others = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            match parts
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(field.name()))
            {
                Some((_, value)) => columns.push(PathColumn {
                    index,
                    name: field.name().clone(),
                    value: (*value).to_owned(),
                }),
                None => others.push(index),
            }
        }
        let fields: Vec<_> = others
            .iter()
            .map(|index| schema.fields()[*index].clone())
            .collect();
        let schema = if columns.is_empty() {
            schema.clone()
        } else {
            Arc::new(Schema::new(fields))
        };
        PathColumns {
            columns,
            others,
            schema,
        }
    }

    /// The names of the columns that are left to the path.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The same names, each with the value of the path.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        let columns = self.columns.iter();
        columns.map(|column| (column.name.as_str(), column.value.as_str()))
    }

    /// The other columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The other columns of a batch.
    ///
    /// # Errors
    /// A refusal that names the first value that is not the path's.
    pub fn leave(&self, batch: RecordBatch) -> Result<RecordBatch> {
        for PathColumn { index, name, value } in &self.columns {
            let column = batch.column(*index);
            if let Some(row) = first_other(column, value)? {
                let held = if column.is_null(row) {
                    "null".to_owned()
                } else {
                    quoted(column.as_ref(), row)
                };
                return Err(Error::refused(format!(
                    "column '{name}' has the name of the partition, and holds {held} where the \
                     path says {value}: readers would take the path's value"
                )));
            }
        }
        if self.columns.is_empty() {
            return Ok(batch);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = self
            .others
            .iter()
            .map(|index| batch.column(*index).clone())
            .collect();
        let fields: Vec<_> = self
            .others
            .iter()
            .map(|index| batch.schema_ref().fields()[*index].clone())
            .collect();
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .internal_context(|| "cannot select columns".into())
    }
}

/// The layout with other names in its path, as a hint suggests it.
pub fn renamed(layout: &Layout) -> String {
    let template = layout.to_string();
    let parts: Vec<String> = template
        .split('/')
        .map(|part| {
            if part.contains('=') {
                format!("output_{part}")
            } else {
                part.to_owned()
            }
        })
        .collect();
    parts.join("/")
}

/// The first row of a written column whose value is not the one that a reader would take from a
/// path. Of types other than text, integers and dates, that is the first row: readers take no such
/// value from a path.
fn first_other(column: &ArrayRef, value: &str) -> Result<Option<usize>> {
    let data_type = match column.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    match data_type {
        DataType::Utf8 | DataType::Date32 => first_but(column, &[in_type(value, data_type)]),
        integer if integer.is_integer() => first_but(column, &[in_type(value, integer)]),
        _ => Ok((!column.is_empty()).then_some(0)),
    }
}

/// The first row of a column that was read, in files whose path says `text` of it, or null; `None`
/// if all rows agree with the path. `date` is what the text means if it is the date of the layout.
/// A timestamp of that day agrees with it, unless `is_exact`: then it has to be midnight.
///
/// # Errors
/// A failure of Arrow.
pub fn first_disagreeing(
    column: &ArrayRef,
    text: Option<&str>,
    date: Option<NaiveDate>,
    is_exact: bool,
) -> Result<Option<usize>> {
    let Some(text) = text else {
        return Ok((0..column.len()).find(|row| column.is_valid(*row)));
    };
    let day = |date: NaiveDate| {
        Arc::new(Date32Array::from(vec![Date32Type::from_naive_date(date)])) as ArrayRef
    };
    match (column.data_type(), date) {
        (DataType::Timestamp(_, Some(_)), Some(_)) if !is_exact => Ok(None),
        (DataType::Timestamp(..), Some(date)) if is_exact => {
            first_but(column, &[cast(&day(date), column.data_type()).ok()])
        }
        (DataType::Timestamp(..), Some(date)) => first_but(
            &cast(column, &DataType::Date32).internal_context(comparing)?,
            &[Some(day(date))],
        ),
        (DataType::Date32, Some(date)) => first_but(column, &[Some(day(date))]),
        (DataType::Utf8, Some(date)) => first_but(
            column,
            &[
                in_type(text, &DataType::Utf8),
                in_type(&date.to_string(), &DataType::Utf8),
            ],
        ),
        (data_type, _) => first_but(column, &[in_type(text, data_type)]),
    }
}

fn comparing() -> String {
    "cannot compare a column with the path".to_owned()
}

/// A part of a path as one value of a type, if it is one. A number in a path may have zeros before
/// it.
fn in_type(text: &str, data_type: &DataType) -> Option<ArrayRef> {
    match data_type {
        integer if integer.is_integer() => {
            let whole: ArrayRef = Arc::new(Int64Array::from(vec![text.parse::<i64>().ok()?]));
            cast(&whole, integer).ok().filter(|value| value.is_valid(0))
        }
        _ => text::column(&StringArray::from(vec![text]), data_type).ok(),
    }
}

/// The first row that is not one of some values, each of which is an array of one; a value of no
/// such type is none.
fn first_but(column: &ArrayRef, values: &[Option<ArrayRef>]) -> Result<Option<usize>> {
    let column = match column.data_type() {
        DataType::Dictionary(_, of) => &cast(column, of).internal_context(comparing)?,
        _ => column,
    };
    let mut others = BooleanBuffer::new_set(column.len());
    for value in values.iter().flatten() {
        others = &others
            & distinct(column, &Scalar::new(value))
                .internal_context(comparing)?
                .values();
    }
    Ok(others.set_indices().next())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, TimestampMicrosecondArray};

    use super::*;
    use crate::model::parse_date;

    fn leave(layout: &str, columns: &[(&str, ArrayRef)]) -> Result<Vec<String>> {
        let batch = RecordBatch::try_from_iter(columns.iter().cloned()).expect("a batch");
        let layout = Layout::parse(layout).expect("a layout");
        let path = PathColumns::of(
            &batch.schema(),
            &layout,
            parse_date("2024-01-31").expect("a date"),
        );
        let left = path.leave(batch)?;
        assert_eq!(&left.schema(), path.schema());
        Ok(left
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect())
    }

    #[test]
    fn a_column_with_the_value_of_the_path_is_left_to_it() {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let date: ArrayRef = Arc::new(Date32Array::from(vec![19_753, 19_753]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["2024-01-31"; 2]));
        let keys = cast(
            &text,
            &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        )
        .expect("a dictionary");
        for column in [date.clone(), text, keys] {
            assert_eq!(
                leave("date=%Y-%m-%d", &[("n", n.clone()), ("Date", column)]).expect("equal"),
                ["n"]
            );
        }
        let (year, month): (ArrayRef, ArrayRef) = (
            Arc::new(Int32Array::from(vec![2024; 2])),
            Arc::new(StringArray::from(vec!["01"; 2])),
        );
        let parts = [
            ("year", year.clone()),
            ("n", n.clone()),
            ("month", month),
            ("day", Arc::new(Int32Array::from(vec![31; 2])) as ArrayRef),
        ];
        assert_eq!(
            leave("year=%Y/month=%m/day=%d", &parts).expect("equal"),
            ["n"]
        );
        assert_eq!(
            leave("%Y/%m/%d", &[("n", n), ("date", date), ("year", year)]).expect("no names"),
            ["n", "date", "year"]
        );
    }

    #[test]
    fn a_column_with_another_value_is_refused() {
        let others: [(ArrayRef, &str); 6] = [
            (
                Arc::new(Date32Array::from(vec![Some(19_753), Some(19_752)])),
                "2024-01-30",
            ),
            (
                Arc::new(Date32Array::from(vec![Some(19_753), None])),
                "null",
            ),
            (
                Arc::new(StringArray::from(vec!["2024-01-31", "31.1.2024"])),
                "'31.1.2024'",
            ),
            (Arc::new(Int64Array::from(vec![20_240_131])), "20240131"),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![0])),
                "1970-01-01T00:00:00",
            ),
            (Arc::new(Date32Array::from(vec![i32::MAX])), "<"),
        ];
        for (column, held) in others {
            let error = leave("date=%Y-%m-%d", &[("date", column)])
                .expect_err(held)
                .to_string();
            assert!(
                error.starts_with(&format!(
                    "column 'date' has the name of the partition, and holds {held}"
                )),
                "{error}"
            );
        }
        let compact: ArrayRef = Arc::new(Date32Array::from(vec![19_753]));
        assert!(
            leave("date=%Y%m%d", &[("date", compact)]).is_err(),
            "a reader takes 20240131 for a number"
        );
    }

    #[test]
    fn another_layout_has_other_names() {
        for (layout, other) in [
            ("date=%Y-%m-%d", "output_date=%Y-%m-%d"),
            ("year=%Y/%m/day=%d", "output_year=%Y/%m/output_day=%d"),
        ] {
            assert_eq!(renamed(&Layout::parse(layout).expect("a layout")), other);
        }
    }
}
