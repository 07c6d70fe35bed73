//! What is longer than the limits, in every format.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::TypeRules;
use super::testing::{file, lines, read_all, typed_file};
use crate::domain::row_limits::Limits;
use crate::error::{Error, Kind, Result};
use crate::storage::lake::location::Object;

/// The rows of a file whose rows may have 100 bytes and that may have 5 columns, read on one thread
/// and on all.
fn read(object: &Object) -> Result<Vec<String>> {
    let read = |is_alone| {
        let rules = TypeRules {
            limits: Limits {
                row_bytes: 100,
                columns: 5,
                ..Limits::default()
            },
            is_alone,
            ..TypeRules::default()
        };
        let batches = read_all(std::slice::from_ref(object), &rules, Some("the file"))?.batches;
        let rows = batches.map(|batch| batch.map(|batch| lines(&batch)));
        Ok(rows.collect::<Result<Vec<_>>>()?.concat())
    };
    let (one, all): (Result<Vec<String>>, _) = (read(false), read(true));
    let told = |rows: &Result<Vec<String>>| rows.as_ref().map_err(Error::to_string).cloned();
    assert_eq!(told(&one), told(&all));
    all
}

fn read_text(name: &str, text: &str) -> Result<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    read(&file(&path))
}

#[track_caller]
fn refused(rows: Result<Vec<String>>, message: &str, hints: &[&str]) {
    let error = rows.expect_err(message);
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        (message, Kind::Refused)
    );
    assert_eq!(error.hints(), hints);
}

const RAISE: &str = "[limits] max_row = \"200B\" in asof.toml";

#[test]
fn a_row_at_the_limit_is_read_and_a_longer_one_is_refused_with_its_place() {
    let x = |count: usize| "x".repeat(count);
    let csv = |note: &str| format!("id,note,name\n1,a,b\n\n2,{note},b\n");
    assert_eq!(read_text("a.csv", &csv(&x(96))).expect("rows").len(), 2);
    let place = "the file, line 4, column 'note': the row is longer than 100B";
    refused(read_text("a.csv", &csv(&x(97))), place, &[RAISE]);
    // Far more than is read at a time.
    refused(read_text("a.csv", &csv(&x(1 << 20))), place, &[RAISE]);
    let row = |note: &str| format!("{{\"id\":1,\"note\":\"{note}\"}}");
    let json = |note: &str| format!("{}\n\n{}\n", row("a"), row(note));
    assert_eq!(read_text("a.ndjson", &json(&x(82))).expect("rows").len(), 2);
    let place = "the file, line 3: the row is longer than 100B";
    refused(read_text("a.ndjson", &json(&x(83))), place, &[RAISE]);
    let place = "the file, line 3, column 'note': the row is longer than 100B";
    refused(read_text("a.ndjson", &json(&x(1 << 20))), place, &[RAISE]);
    // A line is not a row: an array may have all of its rows on one.
    let array = format!("[{}]", vec![row(&x(80)); 5000].join(","));
    assert_eq!(read_text("a.json", &array).expect("rows").len(), 5000);
}

#[test]
fn a_quote_that_is_never_closed_is_named_as_the_likely_cause() {
    let rest = "3,c,d\n".repeat(100);
    refused(
        read_text(
            "a.csv",
            &format!("id,note,name\n1,\"a\n,b\",b\n2,\"b,b\n{rest}"),
        ),
        "the file, line 4, column 'note': the row is longer than 100B",
        &[
            RAISE,
            "if a quote in this row is never closed, correct the source",
        ],
    );
}

#[test]
fn lines_before_the_header_are_passed_over_however_long_they_are() {
    use crate::source::Dialect;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.csv");
    std::fs::write(&path, format!("{}\nid\n1\n", "x".repeat(1 << 20))).expect("written");
    let rules = TypeRules {
        limits: Limits {
            row_bytes: 100,
            ..Limits::default()
        },
        csv: Arc::new(Dialect::parse("skip=1").expect("a dialect")),
        ..TypeRules::default()
    };
    let rows = read_all(&[file(&path)], &rules, None).expect("it is read");
    assert_eq!(rows.batches.count(), 1);
}

#[test]
fn rows_of_files_with_types_are_held_to_the_same_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let notes = |length: usize| -> Vec<(&str, ArrayRef)> {
        let ids = Int64Array::from_iter_values(0..9000);
        let note = |row| {
            if row == 8500 {
                "x".repeat(length)
            } else {
                "x".to_owned()
            }
        };
        let notes = StringArray::from_iter_values((0..9000).map(note));
        vec![("id", Arc::new(ids)), ("note", Arc::new(notes))]
    };
    for name in ["a.parquet", "a.arrow"] {
        let rows = read(&typed_file(folder.path(), name, notes(100)));
        assert_eq!(rows.expect("rows").len(), 9000);
        refused(
            read(&typed_file(folder.path(), name, notes(101))),
            "the file, row 8501, column 'note': the row is longer than 100B",
            &[RAISE],
        );
    }
}

#[test]
fn more_columns_than_the_limit_are_refused_in_every_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let hint = ["[limits] max_columns = 6 in asof.toml"];
    let message = "the file: there are 6 columns, and the most is 5";
    assert!(read_text("a.csv", "a,b,c,d,e\n1,2,3,4,5\n").is_ok());
    refused(read_text("a.csv", "a,b,c,d,e,f\n"), message, &hint);
    let column = |name| (name, Arc::new(Int64Array::from(vec![1])) as ArrayRef);
    for name in ["a.parquet", "a.arrow"] {
        let five: Vec<_> = ["a", "b", "c", "d", "e"].map(column).into();
        assert!(read(&typed_file(folder.path(), name, five)).is_ok());
        let six: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(column).into();
        refused(read(&typed_file(folder.path(), name, six)), message, &hint);
    }
    // Each row of JSON may have other fields, and so may each nested object.
    let each = |from: &str, to: &str| -> String {
        (0..6)
            .map(|at| format!("{from}\"k{at}\":1{to}\n"))
            .collect()
    };
    let hint = ["[limits] max_columns = 10 in asof.toml"];
    let message = |line| {
        format!(
            "the file, line {line}: the objects up to here have 6 different fields, and the most \
             is 5"
        )
    };
    let five: String = each("{", "}").lines().take(5).collect();
    assert_eq!(read_text("a.json", &five).expect("rows").len(), 5);
    refused(read_text("a.json", &each("{", "}")), &message(6), &hint);
    refused(
        read_text("a.json", &each("{\"m\":{", "}}")),
        &message(6),
        &hint,
    );
    refused(
        read_text("a.json", &each("{\"m\":[{", "}]}")),
        &message(6),
        &hint,
    );
}

#[test]
fn a_name_that_is_a_text_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = "n".repeat(5000);
    let columns: Vec<(&str, ArrayRef)> = vec![(&long, Arc::new(Int64Array::from(vec![1])))];
    let error = read(&typed_file(folder.path(), "a.parquet", columns)).expect_err("too long");
    let message = error.to_string();
    assert!(
        message.starts_with("the file: the name of a column is longer than 4KiB: 'nnn")
            && message.len() < 200,
        "{message}"
    );
}
