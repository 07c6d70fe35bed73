//! Values in files that have types, written without asof.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::ipc::writer::FileWriter;
use asof::domain::text;
use asof::domain::type_names::parse_type;
use asof::source::Format;
use parquet::arrow::ArrowWriter;

use super::value::Value;
use super::{TYPES, rows_of};

pub(super) fn write_parquet(path: &Path, rows: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(File::create(path).expect("a file"), rows.schema(), None)
        .expect("a writer");
    writer.write(rows).expect("written");
    writer.close().expect("closed");
}

pub(super) fn write(path: &Path, format: Format, column: &ArrayRef) {
    let rows = rows_of(column);
    if format == Format::Parquet {
        return write_parquet(path, &rows);
    }
    let mut writer =
        FileWriter::try_new(File::create(path).expect("a file"), &rows.schema()).expect("a writer");
    writer.write(&rows).expect("written");
    writer.finish().expect("finished");
}

/// Each value in a column of one value, of each type that holds it: that it does is checked here
/// once more.
pub(super) fn columns(values: &[Value]) -> Vec<(Value, ArrayRef)> {
    let mut columns = Vec::new();
    for value in values {
        for name in TYPES {
            let data_type = parse_type(name).expect(name);
            let Ok(column) =
                text::column(&StringArray::from(vec![value.text.as_str()]), &data_type)
            else {
                continue;
            };
            // What a float holds is the shortest text that is it.
            let is_shortest = match column.data_type() {
                DataType::Float32 => value.is_number(&format!(
                    "{:e}",
                    column.as_primitive::<Float32Type>().value(0)
                )),
                DataType::Float64 => value.is_number(&format!(
                    "{:e}",
                    column.as_primitive::<Float64Type>().value(0)
                )),
                _ => true,
            };
            if column.is_valid(0) && is_shortest && value.is(column.as_ref(), 0, false) {
                columns.push((value.clone(), column));
            }
        }
    }
    columns
}
