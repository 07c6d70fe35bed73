//! Damage to a lake that `asof verify` must catch, done by code to copies of `fixtures/lake-v1`.

mod files;
mod flips;
mod mutations;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Date32Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::frozen::{Copy, footer};

const DAY: &str = "2024-03-02";

/// What `verify` says of a lake that is damaged; it must be exit code 3, and name the table.
fn complaint(copy: &Copy) -> String {
    let output = copy.asof(&["verify"]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("shop"), "no table is named: {said}");
    said
}

fn assert_names(copy: &Copy, words: &[&str]) {
    let said = complaint(copy);
    for word in words {
        assert!(said.contains(word), "'{word}' is not named: {said}");
    }
}

fn rows_of(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = Arc::new(Schema::new(builder.schema().fields().clone()));
    let batches: Vec<RecordBatch> = builder
        .build()
        .unwrap()
        .map(|batch| {
            RecordBatch::try_new(schema.clone(), batch.unwrap().columns().to_vec()).unwrap()
        })
        .collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Writes a whole Parquet file of other rows, with a footer or without.
fn write(path: &Path, rows: &RecordBatch, footer: Option<&Value>) {
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    if let Some(footer) = footer {
        writer.append_key_value_metadata(KeyValue::new("asof".to_owned(), footer.to_string()));
    }
    writer.close().unwrap();
}

/// Puts rows in another order, or leaves some out, and keeps the footer.
fn rearrange(path: &Path, order: Vec<u32>) {
    let rows = rows_of(path);
    let footer = footer(path);
    write(
        path,
        &take_record_batch(&rows, &UInt32Array::from(order)).unwrap(),
        Some(&footer),
    );
}

fn with_column(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of(name).unwrap()] = column;
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

#[test]
fn a_copy_that_is_only_written_anew_is_ok() {
    let copy = Copy::new();
    rearrange(&copy.snapshot(DAY), vec![0, 1, 2]);
    rearrange(&copy.intervals(), (0..7).collect());
    assert!(
        copy.asof(&["verify"]).status.success(),
        "the ways of damaging do no damage themselves"
    );
}

#[test]
fn a_truncated_snapshot_is_caught() {
    let size = fs::metadata(Copy::new().snapshot(DAY)).unwrap().len();
    for left in [0, 4, 11, size / 2, size - 8, size - 1] {
        let copy = Copy::new();
        File::options()
            .write(true)
            .open(copy.snapshot(DAY))
            .unwrap()
            .set_len(left)
            .unwrap();
        assert_names(&copy, &[DAY]);
    }
}

/// Some bits of a page stand for nothing, such as those that fill up the last byte of packed
/// numbers.
#[test]
fn a_flipped_byte_in_the_data_is_caught_or_changes_no_row() {
    let copy = Copy::new();
    let path = copy.snapshot(DAY);
    let whole = fs::read(&path).unwrap();
    let rows = rows_of(&path);
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let first = reader.metadata().row_group(0).column(0).byte_range();
    let last = reader.metadata().row_group(0).column(4).byte_range();
    let mut caught = 0;
    for at in (first.0..last.0 + last.1).step_by(5) {
        let mut bytes = whole.clone();
        bytes[usize::try_from(at).unwrap()] ^= 0x11;
        fs::write(&path, bytes).unwrap();
        if copy.asof(&["verify"]).status.success() {
            assert_eq!(
                rows_of(&path),
                rows,
                "byte {at} changed rows, and nothing was said"
            );
        } else {
            assert_names(&copy, &[DAY]);
            caught += 1;
        }
    }
    assert!(caught > 20, "{caught} were caught");
}

#[test]
fn a_snapshot_of_another_date_is_caught() {
    let copy = Copy::new();
    fs::copy(copy.snapshot("2024-03-03"), copy.snapshot(DAY)).unwrap();
    assert_names(&copy, &[DAY, "2024-03-03"]);
}

#[test]
fn swapped_rows_are_caught() {
    let copy = Copy::new();
    rearrange(&copy.snapshot(DAY), vec![1, 0, 2]);
    assert_names(&copy, &[DAY]);
}

#[test]
fn a_row_that_stands_twice_or_lacks_is_caught() {
    for order in [vec![0, 1, 1], vec![0, 1, 2, 2], vec![0, 1]] {
        let copy = Copy::new();
        rearrange(&copy.snapshot(DAY), order);
        assert_names(&copy, &[DAY]);
    }
}

#[test]
fn values_that_trade_places_are_caught() {
    let copy = Copy::new();
    let path = copy.snapshot(DAY);
    let rows = rows_of(&path);
    let footer = footer(&path);
    let names = rows.column_by_name("name").unwrap();
    let traded = arrow::compute::take(names, &UInt32Array::from(vec![1, 0, 2]), None).unwrap();
    write(&path, &with_column(&rows, "name", traded), Some(&footer));
    assert_names(&copy, &[DAY]);
}

#[test]
fn a_snapshot_without_its_footer_is_caught() {
    let copy = Copy::new();
    write(&copy.snapshot(DAY), &rows_of(&copy.snapshot(DAY)), None);
    assert_names(&copy, &[DAY]);
}

#[test]
fn a_future_version_of_the_format_is_caught() {
    let copy = Copy::new();
    for path in [copy.snapshot(DAY), copy.intervals()] {
        let rows = rows_of(&path);
        let mut footer = footer(&path);
        footer["format_version"] = 2.into();
        write(&path, &rows, Some(&footer));
    }
    assert_names(&copy, &[DAY, "format 2", "the intervals cannot be read"]);
}

#[test]
fn intervals_that_are_cut_are_caught() {
    let copy = Copy::new();
    rearrange(&copy.intervals(), (0..6).collect());
    assert_names(&copy, &["2024-03-05", "7 intervals"]);
    let bytes = fs::read(copy.intervals()).unwrap();
    fs::write(copy.intervals(), &bytes[..bytes.len() / 2]).unwrap();
    assert_names(&copy, &["the intervals cannot be read"]);
}

#[test]
fn intervals_out_of_order_are_caught() {
    let copy = Copy::new();
    rearrange(&copy.intervals(), vec![1, 0, 2, 3, 4, 5, 6]);
    assert_names(&copy, &["order of key and start", "id=1"]);
}

/// Moves the end of the interval of shop 3 that ends on 2024-03-02.
fn move_end(copy: &Copy, days: i32) {
    let path = copy.intervals();
    let rows = rows_of(&path);
    let footer = footer(&path);
    let ends = rows
        .column_by_name("active_end")
        .unwrap()
        .as_primitive::<Date32Type>()
        .clone();
    let (moved, ends): (Vec<bool>, Vec<i32>) = (0..ends.len())
        .map(|row| {
            (
                row == 5,
                if row == 5 {
                    ends.value(row) + days
                } else {
                    ends.value(row)
                },
            )
        })
        .unzip();
    assert!(moved.contains(&true));
    write(
        &path,
        &with_column(&rows, "active_end", Arc::new(Date32Array::from(ends))),
        Some(&footer),
    );
}

#[test]
fn an_altered_end_is_caught() {
    let copy = Copy::new();
    move_end(&copy, 1);
    assert_names(&copy, &["2024-03-03", "id=3"]);
    let copy = Copy::new();
    move_end(&copy, -1);
    assert_names(&copy, &[DAY, "id=3"]);
    let copy = Copy::new();
    move_end(&copy, -10);
    assert_names(&copy, &["ends before it starts", "id=3"]);
}

#[test]
fn a_missing_snapshot_is_no_damage_and_a_second_file_is() {
    let copy = Copy::new();
    fs::remove_dir_all(copy.snapshot(DAY).parent().unwrap()).unwrap();
    assert!(
        copy.asof(&["verify"]).status.success(),
        "the intervals reproduce it"
    );
    let copy = Copy::new();
    fs::copy(
        copy.snapshot(DAY),
        copy.snapshot(DAY).with_file_name("shop-2.parquet"),
    )
    .unwrap();
    assert_names(&copy, &[DAY]);
}

#[test]
fn leftovers_are_ignored() {
    let copy = Copy::new();
    for name in [".asof-abc123.tmp", "_temporary.parquet", ".hidden"] {
        fs::write(copy.snapshot(DAY).with_file_name(name), b"half of someth").unwrap();
        fs::write(copy.intervals().with_file_name(name), b"half of someth").unwrap();
    }
    let output = copy.asof(&["verify"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
