//! Columns that a partition's path has: readers of Hive-partitioned Parquet make `date=2024-01-31` a column `date`.
//!
//! A file in that partition with a column of that name is one that pandas and pyarrow refuse and in which DuckDB shows the path's
//! value. If the column has the path's value in every row, it is left to the path, as Hive does. If not, the data is refused:
//! either way no reader sees another value than the one that was written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, Schema, SchemaRef};
use chrono::NaiveDate;

use super::cast::quoted;
use super::layout::Layout;
use crate::error::{Context, Error, Result};

/// A column of rows whose name a part of the partition's path has.
struct PathColumn {
    /// Its index among the columns.
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
    /// Compares columns with the path of a date. Names are compared without case, as Spark and DuckDB do.
    pub fn of(schema: &SchemaRef, layout: &Layout, date: NaiveDate) -> Self {
        let path = layout.path(date);
        let parts: Vec<(&str, &str)> = path.split('/').filter_map(|part| part.split_once('=')).collect();
        let mut columns = Vec::new();
        let mut others = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            match parts.iter().find(|(name, _)| name.eq_ignore_ascii_case(field.name())) {
                Some((_, value)) => columns.push(PathColumn { index, name: field.name().clone(), value: (*value).to_owned() }),
                None => others.push(index),
            }
        }
        let fields: Vec<_> = others.iter().map(|index| schema.fields()[*index].clone()).collect();
        let schema = if columns.is_empty() { schema.clone() } else { Arc::new(Schema::new(fields)) };
        PathColumns { columns, others, schema }
    }

    /// The names of the columns that are left to the path.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
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
                let held = if column.is_null(row) { "null".to_owned() } else { quoted(column.as_ref(), row) };
                return Err(Error::refused(format!(
                    "column '{name}' has the name of the partition, and holds {held} where the path says {value}: readers would take the path's value"
                )));
            }
        }
        if self.columns.is_empty() {
            return Ok(batch);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = self.others.iter().map(|index| batch.column(*index).clone()).collect();
        let fields: Vec<_> = self.others.iter().map(|index| batch.schema_ref().fields()[*index].clone()).collect();
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).io_context(|| "cannot select columns".into())
    }
}

/// The layout with other names in its path, as a hint suggests it.
pub fn renamed(layout: &Layout) -> String {
    let template = layout.to_string();
    let parts: Vec<String> =
        template.split('/').map(|part| if part.contains('=') { format!("output_{part}") } else { part.to_owned() }).collect();
    parts.join("/")
}

/// The first row whose value is not the one that a reader would take from a path.
///
/// # Errors
/// A failure of Arrow.
pub fn first_other(column: &ArrayRef, value: &str) -> Result<Option<usize>> {
    let doing = || "cannot compare a column with the path".to_owned();
    let first = |same: &dyn Fn(usize) -> bool| (0..column.len()).find(|row| column.is_null(*row) || !same(*row));
    let data_type = match column.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    Ok(match data_type {
        DataType::Utf8 => {
            let texts = cast(column, &DataType::Utf8).io_context(doing)?;
            let texts = texts.as_string::<i32>();
            first(&|row| texts.is_valid(row) && texts.value(row) == value)
        }
        data_type if data_type.is_integer() => {
            let whole = value.parse::<i64>().ok();
            let integers = cast(column, &DataType::Int64).io_context(doing)?;
            let integers = integers.as_primitive::<Int64Type>();
            first(&|row| integers.is_valid(row) && Some(integers.value(row)) == whole)
        }
        DataType::Date32 => {
            let date = value.parse::<NaiveDate>().ok();
            let dates = column.as_primitive::<Date32Type>();
            first(&|row| dates.value_as_date(row) == date && date.is_some())
        }
        _ => first(&|_| false),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;
    use crate::model::parse_date;

    fn leave(layout: &str, columns: &[(&str, ArrayRef)]) -> Result<Vec<String>> {
        let batch = RecordBatch::try_from_iter(columns.iter().cloned()).expect("a batch");
        let layout = Layout::parse(layout).expect("a layout");
        let path = PathColumns::of(&batch.schema(), &layout, parse_date("2024-01-31").expect("a date"));
        let left = path.leave(batch)?;
        assert_eq!(&left.schema(), path.schema());
        Ok(left.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    #[test]
    fn a_column_with_the_value_of_the_path_is_left_to_it() {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let date: ArrayRef = Arc::new(Date32Array::from(vec![19_753, 19_753]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["2024-01-31"; 2]));
        let keys = cast(&text, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))).expect("a dictionary");
        for column in [date.clone(), text, keys] {
            assert_eq!(leave("date=%Y-%m-%d", &[("n", n.clone()), ("Date", column)]).expect("equal"), ["n"]);
        }
        let (year, month): (ArrayRef, ArrayRef) = (Arc::new(Int32Array::from(vec![2024; 2])), Arc::new(StringArray::from(vec!["01"; 2])));
        let parts =
            [("year", year.clone()), ("n", n.clone()), ("month", month), ("day", Arc::new(Int32Array::from(vec![31; 2])) as ArrayRef)];
        assert_eq!(leave("year=%Y/month=%m/day=%d", &parts).expect("equal"), ["n"]);
        assert_eq!(leave("%Y/%m/%d", &[("n", n), ("date", date), ("year", year)]).expect("no names"), ["n", "date", "year"]);
    }

    #[test]
    fn a_column_with_another_value_is_refused() {
        let others: [(ArrayRef, &str); 6] = [
            (Arc::new(Date32Array::from(vec![Some(19_753), Some(19_752)])), "2024-01-30"),
            (Arc::new(Date32Array::from(vec![Some(19_753), None])), "null"),
            (Arc::new(StringArray::from(vec!["2024-01-31", "31.1.2024"])), "'31.1.2024'"),
            (Arc::new(Int64Array::from(vec![20_240_131])), "20240131"),
            (Arc::new(TimestampMicrosecondArray::from(vec![0])), "1970-01-01T00:00:00"),
            (Arc::new(Date32Array::from(vec![i32::MAX])), "<"),
        ];
        for (column, held) in others {
            let error = leave("date=%Y-%m-%d", &[("date", column)]).expect_err(held).to_string();
            assert!(error.starts_with(&format!("column 'date' has the name of the partition, and holds {held}")), "{error}");
        }
        let compact: ArrayRef = Arc::new(Date32Array::from(vec![19_753]));
        assert!(leave("date=%Y%m%d", &[("date", compact)]).is_err(), "a reader takes 20240131 for a number");
    }

    #[test]
    fn another_layout_has_other_names() {
        for (layout, other) in [("date=%Y-%m-%d", "output_date=%Y-%m-%d"), ("year=%Y/%m/day=%d", "output_year=%Y/%m/output_day=%d")] {
            assert_eq!(renamed(&Layout::parse(layout).expect("a layout")), other);
        }
    }
}
