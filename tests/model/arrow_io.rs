//! Rows to files and back, by the libraries that write and read them, without the program.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    ListBuilder, NullArray, RecordBatch, StringArray, StringBuilder, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Fields, Float64Type, Int64Type, Schema, SchemaRef,
    TimeUnit,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::history::Row;
use super::value::Value;

/// A column of values in a type that holds each of them.
pub(super) fn encode(values: &[Value], data_type: &DataType) -> ArrayRef {
    use DataType as T;
    let plain: ArrayRef = match data_type {
        T::Null => Arc::new(NullArray::new(values.len())),
        T::Boolean => Arc::new(BooleanArray::from_iter(values.iter().map(|value| {
            if let Value::Bool(x) = value {
                Some(*x)
            } else {
                None
            }
        }))),
        T::Float32 | T::Float64 => Arc::new(Float64Array::from_iter(values.iter().map(real))),
        T::Date32 => {
            Arc::new(Date32Array::from_iter(values.iter().map(|value| {
                time(value).map(|x| (x.div_euclid(86_400_000_000)) as i32)
            })))
        }
        T::Timestamp(_, None) => Arc::new(TimestampMicrosecondArray::from_iter(
            values.iter().map(time),
        )),
        T::Timestamp(_, Some(zone)) => Arc::new(
            TimestampMicrosecondArray::from_iter(values.iter().map(time))
                .with_timezone(zone.clone()),
        ),
        T::Decimal128(precision, scale) => {
            let shrink = 10i128.pow(4 - u32::from(scale.unsigned_abs()));
            let decimals = values.iter().map(|value| {
                if let Value::Decimal(x) = value {
                    Some(x / shrink)
                } else {
                    None
                }
            });
            Arc::new(
                Decimal128Array::from_iter(decimals)
                    .with_precision_and_scale(*precision, *scale)
                    .unwrap(),
            )
        }
        T::Utf8 | T::LargeUtf8 | T::Dictionary(..) => {
            Arc::new(StringArray::from_iter(values.iter().map(text)))
        }
        T::List(_) => lists(values),
        T::Struct(fields) => structs(values, fields),
        _ => Arc::new(Int64Array::from_iter(values.iter().map(|value| {
            if let Value::Int(x) = value {
                Some(*x)
            } else {
                None
            }
        }))),
    };
    cast(&plain, data_type).unwrap()
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Int(whole) => Some(*whole as f64),
        Value::Real(real) => Some(*real),
        _ => None,
    }
}

fn time(value: &Value) -> Option<i64> {
    if let Value::Time(micros) = value {
        Some(*micros)
    } else {
        None
    }
}

fn text(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value {
        Some(text)
    } else {
        None
    }
}

fn lists(values: &[Value]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for value in values {
        if let Value::List(items) = value {
            items
                .iter()
                .for_each(|item| builder.values().append_option(text(item)));
        }
        builder.append(!value.is_null());
    }
    Arc::new(builder.finish())
}

fn structs(values: &[Value], fields: &Fields) -> ArrayRef {
    let of = |value: &Value, at: usize| {
        if let Value::Struct(inner) = value {
            inner[at].clone()
        } else {
            Value::Null
        }
    };
    let column = |(at, field): (usize, &Arc<Field>)| {
        encode(
            &values.iter().map(|value| of(value, at)).collect::<Vec<_>>(),
            field.data_type(),
        )
    };
    let columns = fields.iter().enumerate().map(column).collect();
    let nulls = NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
    Arc::new(StructArray::new(fields.clone(), columns, Some(nulls)))
}

/// The values of a column.
fn decode(array: &ArrayRef) -> Vec<Value> {
    use DataType as T;
    let to = |data_type: &DataType| cast(array, data_type).unwrap();
    let value: Box<dyn Fn(usize) -> Value> = match array.data_type() {
        T::Null => Box::new(|_| Value::Null),
        T::Boolean => Box::new(|row| Value::Bool(array.as_boolean().value(row))),
        T::Float32 | T::Float64 => {
            let reals = to(&T::Float64);
            Box::new(move |row| Value::Real(reals.as_primitive::<Float64Type>().value(row)))
        }
        T::Date32 => Box::new(|row| {
            Value::Time(i64::from(array.as_primitive::<Date32Type>().value(row)) * 86_400_000_000)
        }),
        T::Timestamp(_, zone) => {
            let micros = cast(
                &to(&T::Timestamp(TimeUnit::Microsecond, zone.clone())),
                &T::Int64,
            )
            .unwrap();
            Box::new(move |row| Value::Time(micros.as_primitive::<Int64Type>().value(row)))
        }
        T::Decimal128(_, scale) => {
            let grow = 10i128.pow(4 - u32::from(scale.unsigned_abs()));
            Box::new(move |row| {
                Value::Decimal(array.as_primitive::<Decimal128Type>().value(row) * grow)
            })
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Dictionary(..) => {
            let texts = to(&T::Utf8);
            Box::new(move |row| Value::Text(texts.as_string::<i32>().value(row).to_owned()))
        }
        T::List(_) => Box::new(|row| Value::List(decode(&array.as_list::<i32>().value(row)))),
        T::Struct(_) => {
            let columns: Vec<Vec<Value>> = array.as_struct().columns().iter().map(decode).collect();
            Box::new(move |row| {
                Value::Struct(columns.iter().map(|column| column[row].clone()).collect())
            })
        }
        _ => {
            let whole = to(&T::Int64);
            Box::new(move |row| Value::Int(whole.as_primitive::<Int64Type>().value(row)))
        }
    };
    (0..array.len())
        .map(|row| {
            if array.is_null(row) {
                Value::Null
            } else {
                value(row)
            }
        })
        .collect()
}

/// Writes rows to a Parquet file.
pub(super) fn write_parquet(path: &Path, columns: &[(String, DataType)], rows: &[Row]) {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, data_type)| Field::new(name, data_type.clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let array = |(name, data_type): &(String, DataType)| {
        let values: Vec<Value> = rows
            .iter()
            .map(|row| row.get(name).cloned().unwrap_or(Value::Null))
            .collect();
        encode(&values, data_type)
    };
    let batch = RecordBatch::try_new(schema.clone(), columns.iter().map(array).collect()).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Writes rows to a CSV file.
pub(super) fn write_csv(path: &Path, columns: &[(String, DataType)], rows: &[Row]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = csv::Writer::from_path(path).unwrap();
    writer
        .write_record(columns.iter().map(|(name, _)| name))
        .unwrap();
    for row in rows {
        writer
            .write_record(
                columns
                    .iter()
                    .map(|(name, _)| csv_text(row.get(name).unwrap_or(&Value::Null))),
            )
            .unwrap();
    }
    writer.flush().unwrap();
}

fn csv_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Time(micros) => {
            let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
            (epoch + chrono::Duration::days(micros / 86_400_000_000)).to_string()
        }
        Value::Decimal(value) => format!(
            "{}{}.{:02}",
            if *value < 0 { "-" } else { "" },
            value.abs() / 10_000,
            value.abs() % 10_000 / 100
        ),
        Value::List(_) | Value::Struct(_) => unreachable!("not in a CSV"),
    }
}

/// A Parquet file: its columns, and its rows without nulls.
pub(super) struct Read {
    pub(super) schema: SchemaRef,
    pub(super) rows: Vec<Row>,
}

impl Read {
    pub(super) fn names(&self) -> Vec<String> {
        self.schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    }
}

/// Reads a Parquet file.
pub(super) fn read_parquet(path: &Path) -> Read {
    let file = File::open(path).unwrap_or_else(|error| panic!("'{}': {error}", path.display()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = builder.schema().clone();
    let mut rows = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let mut read: Vec<Row> = vec![BTreeMap::new(); batch.num_rows()];
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            for (row, value) in read.iter_mut().zip(decode(column)) {
                if !value.is_null() {
                    row.insert(field.name().clone(), value);
                }
            }
        }
        rows.extend(read);
    }
    Read { schema, rows }
}
